//! What a volume says of itself: which chunks lie in which of its files, and what its sisters hold. PURE.

use std::ops::Range;

use super::{seal::KeyMark, wire};
use crate::{
    base::{Blake3Hash, limits},
    manifest::{ChunkSet, DecodeError},
    store::Contents,
};

/// What tells the volumes of one export from those of another.
pub type SetId = [u8; 8];

/// One data file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its length.
    pub size_bytes: u64,
    /// The chunks in it, in this order.
    pub chunks: Vec<Range<u32>>,
}

impl DataFile {
    /// The numbers of its chunks, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().cloned().flatten()
    }
}

/// A volume of the same set, as it was known when this one was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherVolume {
    /// Its number.
    pub number: u32,
    /// The chunks that it is to hold.
    pub chunks: Vec<Range<u32>>,
}

/// What one volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Whose chunks.
    pub manifest_id: Blake3Hash,
    /// Of which export.
    pub set: SetId,
    /// The number of the volume in it, from 1.
    pub number: u32,
    /// Its data files.
    pub files: Vec<DataFile>,
    /// Its sisters.
    pub others: Vec<OtherVolume>,
    /// Which key its chunks are encrypted with, as all of its set; `None`: they are not.
    pub key_mark: Option<KeyMark>,
}

/// Why an index cannot be one of its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It names another manifest.
    #[error("it belongs to another migration: its manifest is {0}")]
    OtherManifest(Blake3Hash),
    /// It names a chunk that the manifest has not.
    #[error("its index names chunks that the manifest does not have")]
    NoSuchChunk,
    /// A data file would mix artifacts.
    #[error("its index puts two artifacts into one file")]
    MixedFile,
    /// The length of a data file is not that of its chunks.
    #[error("its index lies about the length of {}: {said} bytes are said, its chunks have {have}", super::data_name(*.file))]
    Length {
        /// Which file.
        file: usize,
        /// What the index says.
        said: u64,
        /// What its chunks have.
        have: u64,
    },
}

impl Index {
    /// Reads `index.bin`, strictly.
    ///
    /// # Errors
    /// When the bytes are damaged, or are not what this program writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::BUNDLE_INDEX_SIZE_BYTES_MAX {
            return Err(DecodeError::TooLarge { size: bytes.len(), max: limits::BUNDLE_INDEX_SIZE_BYTES_MAX });
        }
        let index = wire::decode(bytes)?;
        let rule = |field, problem| Err(DecodeError::Rule { field, problem });
        if index.number == 0 || index.number > limits::BUNDLE_VOLUMES_MAX {
            return rule("number", "not a number of a volume");
        }
        if index.files.len() > limits::BUNDLE_FILES_MAX || index.others.len() > limits::BUNDLE_VOLUMES_MAX as usize {
            return rule("files or others", "too many");
        }
        let of_files = index.files.iter().map(|file| file.chunks.len());
        if of_files.chain(index.others.iter().map(|other| other.chunks.len())).sum::<usize>() > limits::SET_RANGES_MAX {
            return rule("chunks", "too many ranges");
        }
        let mut next = 0;
        for file in &index.files {
            // From file to file chunks may follow each other closely, within one they would be one range.
            if file.chunks.is_empty() || file.chunks[0].start < next || !is_apart(&file.chunks) {
                return rule("files", "their chunks do not ascend");
            }
            next = file.chunks.last().map_or(next, |range| range.end);
        }
        let mut before = 0;
        for other in &index.others {
            if other.number <= before || other.number > limits::BUNDLE_VOLUMES_MAX || other.number == index.number {
                return rule("others", "their numbers do not ascend, or one is the volume's own");
            }
            before = other.number;
            if !is_apart(&other.chunks) {
                return rule("others", "their chunks do not ascend");
            }
        }
        Ok(index)
    }

    /// The bytes of `index.bin`.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Whether it can be what it says, by the manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, contents: &Contents) -> Result<(), IndexError> {
        if self.manifest_id != contents.manifest_id() {
            return Err(IndexError::OtherManifest(self.manifest_id));
        }
        let fits = |ranges: &[Range<u32>]| ranges.last().is_none_or(|last| last.end <= contents.chunk_count());
        if !self.files.iter().all(|f| fits(&f.chunks)) || !self.others.iter().all(|o| fits(&o.chunks)) {
            return Err(IndexError::NoSuchChunk);
        }
        for (number, file) in self.files.iter().enumerate() {
            let artifact = |chunk| contents.locate(chunk).map(|(artifact, _)| artifact);
            let (first, last) = (file.chunks.first(), file.chunks.last());
            if first.and_then(|r| artifact(r.start)) != last.and_then(|r| artifact(r.end - 1)) {
                return Err(IndexError::MixedFile);
            }
            let have = file.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum();
            if have != file.size_bytes {
                return Err(IndexError::Length { file: number, said: file.size_bytes, have });
            }
        }
        Ok(())
    }

    /// The chunks that the volume is said to hold, of `count` in all.
    pub fn chunks(&self, count: u32) -> ChunkSet {
        let mut set = ChunkSet::empty(count);
        self.files.iter().flat_map(|file| file.chunks.iter().cloned()).for_each(|range| set.insert_range(range));
        set
    }

    /// Bytes of all its data files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// Whether ranges ascend and none is empty or touches another.
fn is_apart(ranges: &[Range<u32>]) -> bool {
    ranges.iter().all(|range| range.start < range.end) && ranges.windows(2).all(|pair| pair[0].end < pair[1].start)
}

/// The label of a volume, as it is written on the medium and asked for: the network, four digits of the set, the number.
pub fn label(new_chain_id: &str, set: &SetId, number: u32) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = new_chain_id.chars().take(24).map(plain).collect();
    format!("{name}-{}-{number}", hex::encode(&set[..2]))
}
