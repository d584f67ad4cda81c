//! Makes a volume: data files first, each under its final name only when it is whole, synced and read back, which is done while the
//! rest of it is still written; its index last.
//! An interrupted one goes on: what is there already is proved chunk by chunk and kept.

mod read_back;
mod shards;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use super::{
    BLAKE3_LIST_NAME, INDEX_COPY_NAME, INDEX_NAME, Index, Medium, PLAN_NAME, SHA256_LIST_NAME, data_name,
    index::DataFile,
    seal::{self, DataKey},
};
use crate::{
    base::{Context, Error, Result, durable, limits, task::CancellationToken},
    manifest::ChunkHasher,
    store::{PIECE_BYTES, Store},
};

use read_back::ReadBack;
pub use shards::ShardWriter;

/// A small file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub bytes: Vec<u8>,
}

/// What becomes a volume.
pub struct VolumeWriter<'a> {
    /// The directory, which is there.
    pub directory: &'a Path,
    /// What it shall hold.
    pub index: &'a Index,
    /// Where the chunks are.
    pub store: &'a Store,
    /// What its chunks are encrypted with, where they are.
    pub key: Option<&'a DataKey>,
    /// What stands beside the data.
    pub papers: &'a [Paper],
    /// Is told how many bytes more are done: written, or proved to be there.
    pub told: &'a (dyn Fn(u64) + Sync),
    /// Ends the work; it can go on later.
    pub cancel: &'a CancellationToken,
}

impl std::fmt::Debug for VolumeWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeWriter").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of data that were written now.
    pub written_bytes: u64,
    /// Bytes of data that an earlier run had written.
    pub kept_bytes: u64,
}

/// The volume that stands in a directory, or that one was begun to be made there: its index, and whether it is complete.
///
/// # Errors
/// Refused when there is an index that cannot be read.
pub fn begun(directory: &Path) -> Result<Option<(Index, bool)>> {
    let refuse = |problem: String| {
        Error::refused(format!("{}: {problem}", directory.display())).hint(
            "look at what is on that medium; where nobody needs it, remove its files, and run the same command again",
        )
    };
    let medium = Medium::open(directory).map_err(|e| refuse(e.0))?;
    for (name, complete) in [(INDEX_NAME, true), (PLAN_NAME, false)] {
        let bytes = medium.read(name, limits::BUNDLE_INDEX_SIZE_BYTES_MAX).map_err(|e| refuse(e.0))?;
        if let Some(bytes) = bytes {
            let index = Index::decode(&bytes).map_err(|e| refuse(format!("{name}: {e}")))?;
            return Ok(Some((index, complete)));
        }
    }
    Ok(None)
}

/// Both hashes of a file, for those who check it with other programs.
#[derive(Debug, Clone, Default)]
struct Sums {
    sha256: Sha256,
    blake3: blake3::Hasher,
}

impl Sums {
    fn of(bytes: &[u8]) -> Self {
        let mut sums = Sums::default();
        sums.update(bytes);
        sums
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
    }
}

/// The lines of the two lists of hashes.
#[derive(Debug, Default)]
struct Lists {
    sha256: String,
    blake3: String,
}

impl Lists {
    fn add(&mut self, name: &str, sums: Sums) {
        self.sha256 += &format!("{}  {name}\n", hex::encode(sums.sha256.finalize()));
        self.blake3 += &format!("{}  {name}\n", sums.blake3.finalize().to_hex());
    }
}

impl VolumeWriter<'_> {
    /// Writes what is not there yet. Afterwards the medium may be pulled.
    ///
    /// # Errors
    /// When the medium is full, cannot be written, or does not give back what was written; when a chunk is not what was signed.
    /// What was written stays and is kept by the next run.
    pub fn write(&self) -> Result<Written> {
        self.begin()?;
        let (mut written, mut lists) = (Written::default(), Lists::default());
        for (number, file) in self.index.files.iter().enumerate() {
            let sums = self.write_data(&data_name(number), file, &mut written)?;
            lists.add(&data_name(number), sums);
        }
        self.finish(lists, &[])?;
        Ok(written)
    }

    /// Says on the medium what it is to become.
    fn begin(&self) -> Result<()> {
        durable::write_on_medium(&self.path(PLAN_NAME), &self.index.to_bytes()).map_err(|e| self.explain(e))
    }

    /// Writes all but the data, whose hashes are in `lists`, with these papers more; then it is a volume.
    fn finish(&self, mut lists: Lists, more: &[Paper]) -> Result<()> {
        let index = self.index.to_bytes();
        let copies = [INDEX_COPY_NAME, INDEX_NAME];
        let papers = || self.papers.iter().chain(more);
        papers().for_each(|paper| lists.add(&paper.name, Sums::of(&paper.bytes)));
        copies.iter().for_each(|name| lists.add(name, Sums::of(&index)));
        let papers = papers().map(|paper| (paper.name.as_str(), paper.bytes.as_slice()));
        let small = papers.chain([
            (SHA256_LIST_NAME, lists.sha256.as_bytes()),
            (BLAKE3_LIST_NAME, lists.blake3.as_bytes()),
            (INDEX_COPY_NAME, index.as_slice()),
        ]);
        for (name, bytes) in small {
            let path = self.path(name);
            durable::write_on_medium(&path, bytes).map_err(|e| self.explain(e))?;
            self.read_back(&path, bytes)?;
        }
        let path = self.path(PLAN_NAME);
        self.read_back(&path, &index)?;
        // From now on it is a volume.
        durable::rename(&path, &self.path(INDEX_NAME)).map_err(|e| self.explain(e))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write_data(&self, name: &str, planned: &DataFile, written: &mut Written) -> Result<Sums> {
        let (path, whole) = (durable::part_path(&self.path(name)), self.path(name));
        let cannot =
            |what: &str, e| self.explain(Error::failed(format!("cannot {what} {}", path.display())).because(e));
        if whole.symlink_metadata().is_ok() {
            // It has its name: it was whole once. Whatever it is now, it is looked at as a part.
            durable::rename(&whole, &path)?;
        }
        let mut file = open_part(&path).map_err(|e| cannot("open", e))?;
        // What an earlier run wrote is looked for on the medium itself, too.
        durable::sync_file(&file, &path).map_err(|e| self.explain(e))?;
        durable::forget_cached(&file, &(0..0));
        let mut sums = Sums::default();
        let mut chunks = planned.iter().peekable();
        let kept = self.keep(&mut file, &mut chunks, &mut sums)?;
        file.set_len(kept).and_then(|()| file.seek(SeekFrom::Start(kept))).map_err(|e| cannot("write", e))?;
        written.kept_bytes += kept;
        let begun = ReadBack::begin(&file, &path, kept, sums, self.cancel);
        let mut read_back = begun.map_err(|e| cannot("read back", e))?;
        let mut buffer = vec![0; PIECE_BYTES];
        for chunk in chunks {
            go_on(self.cancel)?;
            // What turns out to be no chunk in the end stands in a part that gets no name, and the next run writes it anew.
            self.store.read_pieces(chunk, &mut buffer, |at, piece| {
                seal::apply(self.key, chunk, at, piece);
                file.write_all(piece).map_err(|e| cannot("write", e))?;
                read_back.written(piece).map_err(|e| self.explain(e))?;
                written.written_bytes += piece.len() as u64;
                (self.told)(piece.len() as u64);
                Ok::<_, Error>(())
            })?;
        }
        let sums = read_back.end().map_err(|e| self.explain(e))?;
        durable::rename(&path, &whole).map_err(|e| self.explain(e))?;
        Ok(sums)
    }

    /// Proves the chunks at the beginning of a part, takes them from `chunks`, and gives their length.
    fn keep(
        &self,
        file: &mut File,
        chunks: &mut std::iter::Peekable<impl Iterator<Item = u32>>,
        sums: &mut Sums,
    ) -> Result<u64> {
        let contents = self.store.contents();
        let (mut kept, mut buffer) = (0, vec![0; PIECE_BYTES]);
        while let Some(chunk) = chunks.peek().copied() {
            let Some((artifact, index)) = contents.locate(chunk) else { break };
            go_on(self.cancel)?;
            let layout = &contents.files()[artifact].layout;
            let (mut hasher, mut found, mut at) = (ChunkHasher::new(layout, index), sums.clone(), 0);
            while at < layout.len(index) {
                let len = buffer.len().min(layout.len(index) - at);
                let piece = &mut buffer[..len];
                if file.read_exact(piece).is_err() {
                    return Ok(kept);
                }
                found.update(piece);
                seal::apply(self.key, chunk, at, piece);
                hasher.update(piece);
                at += len;
            }
            if hasher.finish() != *contents.chunk_id(artifact, index) {
                break;
            }
            *sums = found;
            kept += at as u64;
            (self.told)(at as u64);
            chunks.next();
        }
        Ok(kept)
    }

    /// Reads a small synced file from the medium itself, as far as the system lets.
    fn read_back(&self, path: &Path, expected: &[u8]) -> Result<()> {
        let cannot = |e| Error::failed(format!("cannot read {} back", path.display())).because(e);
        let file = open_for_reading(path)?;
        durable::forget_cached(&file, &(0..0));
        let mut found = Vec::with_capacity(expected.len());
        file.take(expected.len() as u64 + 1).read_to_end(&mut found).map_err(cannot)?;
        match found == expected {
            true => Ok(()),
            false => Err(not_given_back(path)),
        }
    }

    /// What the system says of a medium, in words of its own where there is something to do.
    fn explain(&self, error: Error) -> Error {
        let kind = std::iter::successors(std::error::Error::source(&error), |e| e.source())
            .find_map(|e| e.downcast_ref::<io::Error>().map(io::Error::kind));
        let at = self.directory.display();
        match kind {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Error::failed(format!("the medium at {at} is full")).because(error).hint(
                    "take away what else is on it, or use a larger one, and run the same command again: it goes on",
                )
            }
            Some(io::ErrorKind::ReadOnlyFilesystem) => Error::failed(format!("the medium at {at} cannot be written"))
                .because(error)
                .hint("mount it for writing, or move the switch at its side"),
            Some(io::ErrorKind::FileTooLarge) => {
                Error::failed(format!("the medium at {at} takes no file as large as this")).because(error)
            }
            _ => error,
        }
    }
}

fn go_on(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(Error::interrupted("while media were written").hint("run the same command again: it goes on"));
    }
    Ok(())
}

fn not_given_back(path: &Path) -> Error {
    Error::failed(format!("{} does not give back what was written to it", path.display()))
        .hint("the medium is worn or lies about its size: use another one")
}

/// Opens a part for going on with it; whatever else stands under its name is taken away.
fn open_part(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|data| !data.is_file()) {
        fs::remove_file(path)?;
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags.bits()).open(path)
}

fn open_for_reading(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .or_failed(|| format!("cannot open {}", path.display()))
}
