//! Files that may be incomplete, opened for reading only, also while another process fills them.

use std::{io, path::Path, sync::Mutex};

use super::{Contents, Disk, FileSystem, JOURNAL_NAME, OpenDisk, Piece, Slot, Stamp, Store, edited_file, journal};
use crate::{
    base::{
        Context, Result,
        durable::{self, PRIVATE_DIRECTORY_NAME},
        files::read_bounded,
    },
    manifest::ChunkSet,
};

/// Bytes of a journal that is looked at; beyond them every chunk is looked for.
const JOURNAL_SIZE_BYTES_MAX: usize = 64 << 20;

impl Store {
    /// Opens what is there of the files, and gives the chunks that may be there. Every chunk is checked when it is read. `lent`: pieces of
    /// artifacts that the directory itself has not, as [`Store::open_lent`] takes them.
    ///
    /// # Errors
    /// When a file of a final name has another length than the one that was signed, or what is there cannot be opened.
    pub fn open_reading(
        directory: &Path,
        contents: Contents,
        lent: Vec<Option<Vec<Piece>>>,
    ) -> Result<(Store, ChunkSet)> {
        let count = contents.chunk_count();
        let journal = directory.join(PRIVATE_DIRECTORY_NAME).join(JOURNAL_NAME);
        let entries = read_bounded(&journal, JOURNAL_SIZE_BYTES_MAX, "journal")
            .ok()
            .and_then(|bytes| journal::read(&bytes, &contents.manifest_id(), count));
        let mut maybe = ChunkSet::empty(count);
        let mut slots = Vec::with_capacity(contents.files().len());
        let lent = lent.into_iter().chain(std::iter::repeat(None));
        for ((artifact, file), pieces) in contents.files().iter().enumerate().zip(lent) {
            let final_path = directory.join(&file.name);
            if let Some(pieces) = pieces {
                slots.push(Slot::lent(final_path, pieces)?);
                contents.chunks_of(artifact).for_each(|chunk| _ = maybe.insert(chunk));
                continue;
            }
            let part = durable::part_path(&final_path);
            let (path, is_final) = match final_path.symlink_metadata() {
                Ok(_) => (&final_path, true),
                Err(_) => (&part, false),
            };
            let disk: Box<dyn Disk> = match FileSystem.open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Box::new(Nothing),
                opened => opened.or_failed(|| format!("cannot open {}", path.display()))?,
            };
            let found = disk.stamp().ok().map(|stamp| stamp.size_bytes);
            let slot = Slot { disk, final_path: path.clone(), sealed: Mutex::new(None), lent: None };
            let expected = file.layout.size_bytes();
            match found {
                Some(found) if is_final && found != expected => {
                    return Err(edited_file(&slot, format!("it has {found} bytes, not {expected}")));
                }
                Some(found) if found == expected => {
                    let claimed = |chunk: &u32| match &entries {
                        Some(e) if !is_final => e.synced.contains(*chunk) || e.written.contains(*chunk),
                        _ => true,
                    };
                    contents.chunks_of(artifact).filter(claimed).for_each(|chunk| _ = maybe.insert(chunk));
                }
                _ => {}
            }
            slots.push(slot);
        }
        Ok((Store::new(contents, slots, ChunkSet::full(count)), maybe))
    }
}

/// The file that is not there.
#[derive(Debug)]
struct Nothing;

impl Nothing {
    fn error<T>() -> io::Result<T> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Nothing {
    fn read_at(&self, _buf: &mut [u8], _offset: u64) -> io::Result<()> {
        Self::error()
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Self::error()
    }

    fn sync(&self) -> io::Result<()> {
        Self::error()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Self::error()
    }
}
