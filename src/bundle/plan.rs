//! Which chunk goes onto which volume, and into which of its files. PURE.

use crate::{manifest::ChunkSet, store::Contents};

use super::index::DataFile;

/// Bytes of a data file at most: what FAT32 takes, less than 4 GiB, with some room for counters that are off by little.
pub const DATA_FILE_SIZE_BYTES_MAX: u64 = (4 << 30) - (64 << 10);
/// What data may take on one medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free for them.
    pub bytes: u64,
    /// Bytes that the file system deals out at once: each file may take that much more than its length.
    pub cluster_bytes: u64,
}

impl Room {
    fn holds(&self, data_bytes: u64) -> bool {
        // Files are cut where a chunk does not fit, and where an artifact ends: none but the last ones are shorter than half.
        let files = data_bytes / (DATA_FILE_SIZE_BYTES_MAX / 2) + 2;
        data_bytes + files * self.cluster_bytes <= self.bytes
    }
}

/// Deals chunks out in their order to volumes with so much room each; gives what each one gets, and what found no room.
pub fn deal(contents: &Contents, chunks: &ChunkSet, rooms: &[Room]) -> (Vec<ChunkSet>, ChunkSet) {
    let mut dealt = vec![ChunkSet::empty(contents.chunk_count()); rooms.len()];
    let mut rest = ChunkSet::empty(contents.chunk_count());
    let (mut volume, mut bytes) = (0, 0);
    for chunk in chunks.iter() {
        let len = contents.chunk_len(chunk) as u64;
        while volume < rooms.len() && !rooms[volume].holds(bytes + len) {
            (volume, bytes) = (volume + 1, 0);
        }
        match dealt.get_mut(volume) {
            Some(set) => {
                set.insert(chunk);
                bytes += len;
            }
            None => _ = rest.insert(chunk),
        }
    }
    (dealt, rest)
}

/// The data files of a volume with these chunks: each of one artifact, none above `max` bytes.
pub fn files(contents: &Contents, chunks: &ChunkSet, max: u64) -> Vec<DataFile> {
    let mut files: Vec<DataFile> = Vec::new();
    let mut last_artifact = None;
    for chunk in chunks.iter() {
        let Some((artifact, _)) = contents.locate(chunk) else { continue };
        let len = contents.chunk_len(chunk) as u64;
        let same = last_artifact.replace(artifact) == Some(artifact);
        let has_room = |file: &DataFile| same && file.size_bytes + len <= max;
        match files.last_mut().filter(|file| has_room(file)) {
            Some(file) => {
                file.size_bytes += len;
                match file.chunks.last_mut().filter(|range| range.end == chunk) {
                    Some(range) => range.end = chunk + 1,
                    None => file.chunks.push(chunk..chunk + 1),
                }
            }
            None => files.push(DataFile { size_bytes: len, chunks: vec![chunk..chunk + 1] }),
        }
    }
    files
}
