//! The chunks of a volume, as they are found on its medium.

use std::{fs::File, os::unix::fs::FileExt};

pub use super::medium::Trouble;
use super::{
    INDEX_COPY_NAME, INDEX_NAME, Index, Medium, PARITY_NAME, data_name,
    index::DataFile,
    parity::{ParityIndex, ShardFiles},
    seal::{self, DataKey, SEALED_NAME},
    shards_name,
};
use crate::{
    base::{Context, Error, Result, limits, task::CancellationToken},
    store::Contents,
};

/// Places of one file that cannot be read, after which the rest of it is not tried.
const BAD_PLACES_MAX: u32 = 64;

/// A medium whose index could be read. What it says is not proved.
#[derive(Debug)]
pub struct Volume {
    medium: Medium,
    /// What it says that it holds.
    pub index: Index,
    /// What is wrong with it, although it can be used.
    pub troubles: Vec<Trouble>,
}

/// What is done with the chunks that are read.
pub trait ReadChunks {
    /// Whether this one is to be read.
    fn is_wanted(&mut self, chunk: u32) -> bool;
    /// An empty buffer for a chunk of this length.
    fn buffer(&mut self, len: usize) -> Vec<u8>;
    /// A chunk's bytes, as they were found: nothing is proved.
    ///
    /// # Errors
    /// What ends the whole work, because it is not the medium's fault.
    fn take(&mut self, chunk: u32, data: Vec<u8>) -> Result<()>;
}

impl Volume {
    /// Reads the index of a medium, or its copy.
    ///
    /// # Errors
    /// When neither can be used: what is wrong with the first one that is there.
    pub fn open(medium: Medium) -> Result<Self, Trouble> {
        let mut troubles = Vec::new();
        for name in [INDEX_NAME, INDEX_COPY_NAME] {
            let read = medium.read(name, limits::BUNDLE_INDEX_SIZE_BYTES_MAX).and_then(|bytes| match bytes {
                Some(bytes) => Index::decode(&bytes).map_err(|e| Trouble(format!("{name}: {e}"))),
                None => Err(Trouble(format!("there is no {name}: it is no complete volume of this program"))),
            });
            match read {
                Ok(index) if index.key_mark != medium.key().map(DataKey::mark) => {
                    let what = match medium.key() {
                        None => format!("it is encrypted, and {SEALED_NAME}, which has its key, is missing"),
                        Some(_) => format!("its chunks are encrypted with another key than the one in {SEALED_NAME}"),
                    };
                    return Err(Trouble(what));
                }
                Ok(index) => return Ok(Volume { medium, index, troubles }),
                Err(trouble) => troubles.push(trouble),
            }
        }
        Err(troubles.swap_remove(0))
    }

    /// The medium.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// What the volume says of its parity; `None` where it has none.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parity(&self) -> Result<Option<ParityIndex>, Trouble> {
        let bytes = self.medium.read(PARITY_NAME, limits::PARITY_INDEX_SIZE_BYTES_MAX)?;
        let decode = |bytes: Vec<u8>| ParityIndex::decode(&bytes).map_err(|e| Trouble(format!("{PARITY_NAME}: {e}")));
        bytes.map(decode).transpose()
    }

    /// The volume's files of shards, as far as they are there.
    pub fn shards(&self, files: ShardFiles) -> ShardReader {
        let open =
            (0..files.sizes().len()).map(|number| self.medium.file(&shards_name(number)).ok().flatten()).collect();
        ShardReader { files, open }
    }

    /// Reads the chunks that are wanted, in the order in which they lie there; `contents` says how long each one is, and
    /// [`Index::check`] has passed. Gives what is wrong with the files; everything else was read.
    ///
    /// # Errors
    /// Those of `reader`; interrupted by a signal.
    pub fn read_chunks(
        &self,
        contents: &Contents,
        reader: &mut dyn ReadChunks,
        cancel: &CancellationToken,
    ) -> Result<Vec<Trouble>> {
        let mut troubles = Vec::new();
        for (number, file) in self.index.files.iter().enumerate() {
            if let Err(trouble) = self.read_file(number, file, contents, reader, cancel)? {
                troubles.push(trouble);
            }
        }
        Ok(troubles)
    }

    fn read_file(
        &self,
        number: usize,
        planned: &DataFile,
        contents: &Contents,
        reader: &mut dyn ReadChunks,
        cancel: &CancellationToken,
    ) -> Result<Result<(), Trouble>> {
        let name = data_name(number);
        let file = match self.medium.file(&name) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Err(Trouble(format!("{name} is missing")))),
            Err(trouble) => return Ok(Err(trouble)),
        };
        let before = match require_length(&file, planned.size_bytes, &name) {
            Ok(before) => before,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let (mut at, mut bad) = (0, 0);
        let mut first_bad = None;
        for chunk in planned.iter() {
            if cancel.is_cancelled() {
                return Err(Error::interrupted("while media were read").hint("run the same command again"));
            }
            let len = contents.chunk_len(chunk);
            if reader.is_wanted(chunk) {
                let mut data = reader.buffer(len);
                data.resize(len, 0);
                match file.read_exact_at(&mut data, at) {
                    Ok(()) => {
                        seal::apply(self.medium.key(), chunk, 0, &mut data);
                        reader.take(chunk, data)?;
                    }
                    Err(e) => {
                        bad += 1;
                        first_bad.get_or_insert(Trouble(format!("{name} cannot be read at byte {at}: {e}")));
                        if bad == BAD_PLACES_MAX {
                            break;
                        }
                    }
                }
            }
            at += len as u64;
        }
        // One that somebody writes to meanwhile is said to be that: its chunks count all the same where they are proved.
        let after = require_length(&file, planned.size_bytes, &name);
        let whole = after.and_then(|after| match after == before {
            true => Ok(()),
            false => Err(Trouble(format!("{name} was changed while it was read"))),
        });
        Ok(first_bad.map_or(whole, Err))
    }
}

/// What tells a file that was written to.
type Touched = std::time::SystemTime;

fn require_length(file: &File, size_bytes: u64, name: &str) -> Result<Option<Touched>, Trouble> {
    let data = file.metadata().map_err(|e| Trouble(format!("{name} cannot be looked at: {e}")))?;
    if data.len() != size_bytes {
        return Err(Trouble(format!("{name} has {} bytes, not {size_bytes} as its index says", data.len())));
    }
    Ok(data.modified().ok())
}

/// The shards of a volume with parity, as they are found: nothing is proved.
#[derive(Debug)]
pub struct ShardReader {
    files: ShardFiles,
    open: Vec<Option<File>>,
}

impl ShardReader {
    /// Fills `into` with the bytes from `at` on of the shard of a stripe.
    ///
    /// # Errors
    /// When they are not there, or cannot be read.
    pub fn read(&self, stripe: u32, at: usize, into: &mut [u8]) -> Result<()> {
        let there = self.files.place(stripe).and_then(|(file, offset)| Some((self.open.get(file)?.as_ref()?, offset)));
        let (file, offset) = there.ok_or_else(|| Error::failed("a file of shards is missing"))?;
        file.read_exact_at(into, offset + at as u64).or_failed(|| "a shard cannot be read")
    }
}
