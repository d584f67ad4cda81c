//! Chunks on disk. Verified chunks go in, a complete set of files comes out.
//!
//! A file is written in place as `NAME.part`, its space taken first; the have-journal says what of it is synced. So a
//! crash at any instant loses at most the unsynced tail, which is hashed again and never trusted. A file gets its final
//! name when every chunk of it is verified and synced. The store knows nothing of peers: blame is the swarm's business.

mod arrivals;
mod buffers;
mod contents;
mod disk;
mod frontier;
mod journal;
mod lent;
mod look;
mod parts;
mod private;
mod reading;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use arrivals::{Arrival, Untrusted};
pub use buffers::Buffers;
pub use contents::{ArtifactFile, Contents};
pub use disk::{Disk, FileSystem, OpenDisk, Stamp};
pub use frontier::{ArtifactReader, Frontier};
pub use lent::Piece;
use lent::Pieces;
pub use look::look;
pub use parts::{PIECE_BYTES, Scratch};
pub use private::PrivateDirectory;
pub use writer::{Outcome, Writer};

use crate::{
    base::{Blake3Hash, Context, Error, Next, Progress, Result, durable, task::CancellationToken},
    manifest::{ChunkHasher, ChunkIndex, ChunkSet, ChunkVerifier, Layout, VerifiedChunk, chunk_id, ranges},
};

const JOURNAL_NAME: &str = "journal";

/// An artifact's open file.
struct Slot {
    disk: Box<dyn Disk>,
    final_path: PathBuf,
    /// How the file looked when it was last known to be whole; set once it has its final name.
    sealed: Mutex<Option<Stamp>>,
    /// Where its bytes lie, where that is in files of others.
    lent: Option<Arc<Pieces>>,
}

impl Slot {
    /// An artifact that would be there, and lies in pieces of other files.
    fn lent(final_path: PathBuf, pieces: Vec<Piece>) -> Result<Self> {
        let pieces = Arc::new(Pieces::look(pieces)?);
        Ok(Slot { disk: Box::new(pieces.clone()), final_path, sealed: Mutex::new(None), lent: Some(pieces) })
    }

    fn sealed(&self) -> MutexGuard<'_, Option<Stamp>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_sealed(&self) -> bool {
        self.sealed().is_some()
    }

    /// Why the disk did not give what was read, in words.
    fn explain(&self, read: io::Result<()>) -> Result<()> {
        let read = read.or_failed(|| format!("cannot read {}", self.final_path.display()));
        read.map_err(|e| if self.lent.is_some() { e.hint(Next::MediumBack) } else { e })
    }
}

/// Where a chunk lies.
struct Place<'a> {
    slot: &'a Slot,
    layout: &'a Layout,
    artifact: usize,
    index: ChunkIndex,
    chunk: u32,
}

impl Place<'_> {
    /// Bytes of the chunk.
    fn len(&self) -> usize {
        self.layout.len(self.index)
    }

    /// Fills `into` with bytes of the chunk from `at` on, whatever they are.
    fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        self.slot.disk.read_at(into, self.layout.offset(self.index) + at as u64)
    }
}

/// Why a chunk that is there cannot be had.
#[derive(Debug)]
pub enum ReadError {
    /// Its bytes are not what was signed, or the disk does not give them; others may be sound.
    Chunk(Error),
    /// The file is not the one that was opened.
    File(Error),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Chunk(e) | ReadError::File(e) => e,
        }
    }
}

/// The files of one manifest in one directory, open for reading and, while incomplete, for writing.
pub struct Store {
    contents: Contents,
    slots: Vec<Slot>,
    /// Chunks that are checked when they are next read: nobody has looked at them since they were written, the file was touched
    /// since, or somebody complained.
    doubted: Mutex<ChunkSet>,
    /// A chunk was read that is not what it must be.
    damaged: AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("manifest_id", &self.contents.manifest_id()).finish_non_exhaustive()
    }
}

/// A store that is being filled.
#[derive(Debug)]
pub struct Opened {
    /// The files.
    pub store: Arc<Store>,
    /// What is there already.
    pub have: ChunkSet,
    /// Bytes that need not be fetched again.
    pub resumed_bytes: u64,
    /// Bytes among these that had to be hashed again.
    pub rehashed_bytes: u64,
    /// What reads the files in order while they are filled.
    pub frontier: Arc<Frontier>,
    journal: writer::Journal,
}

impl Store {
    /// Opens or begins the files of `contents` in `directory`, and finds out what of them is there.
    ///
    /// # Errors
    /// When the disk has not the space, a file of a final name is not the artifact, or the directory cannot be written;
    /// [`Kind::Interrupted`] when `cancel` ends the hashing.
    pub fn open(
        directory: &Path,
        private: &PrivateDirectory,
        contents: Contents,
        disks: &dyn OpenDisk,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Opened> {
        require_room(directory, &contents)?;
        let journal_bytes = private.read(JOURNAL_NAME)?;
        let entries = journal_bytes.and_then(|b| journal::read(&b, &contents.manifest_id(), contents.chunk_count()));
        // Before they are opened for writing, which may change them.
        let parts = contents.files().iter().map(|file| part_stamp(&directory.join(&file.name)));
        let parts = digest_of(parts);
        let closed = entries.as_ref().is_some_and(|e| e.closed == Some(parts));
        let mut have = ChunkSet::empty(contents.chunk_count());
        let mut to_hash = Vec::new();
        let mut slots = Vec::with_capacity(contents.files().len());
        let mut finals = Vec::new();
        for (i, file) in contents.files().iter().enumerate() {
            let final_path = directory.join(&file.name);
            let part = durable::part_path(&final_path);
            let size = file.layout.size_bytes();
            let disk = if final_path.symlink_metadata().is_ok() {
                finals.push(i);
                to_hash.extend(contents.chunks_of(i));
                let disk = disks.open(&final_path).or_failed(|| format!("cannot open {}", final_path.display()))?;
                let found = disk.stamp().or_failed(|| format!("cannot read {}", final_path.display()))?.size_bytes;
                if found != size {
                    return Err(not_the_artifact(&final_path, format!("it has {found} bytes, not {size}")));
                }
                disk
            } else {
                let resumed = part.symlink_metadata().is_ok();
                if resumed {
                    let chunks = contents.chunks_of(i);
                    match &entries {
                        Some(e) if closed => {
                            for chunk in chunks.clone().filter(|c| e.synced.contains(*c)) {
                                have.insert(chunk);
                            }
                            to_hash.extend(chunks.filter(|c| e.written.contains(*c)));
                        }
                        // It was killed, or somebody has touched the files since: the journal says where to look, no more.
                        Some(e) => to_hash.extend(chunks.filter(|c| e.synced.contains(*c) || e.written.contains(*c))),
                        // Without a journal of this manifest nothing is known, but much may be right.
                        None => to_hash.extend(chunks),
                    }
                }
                disks.create(&part, size).or_failed(|| format!("cannot create {}", part.display()))?
            };
            slots.push(Slot { disk, final_path, sealed: Mutex::new(None), lent: None });
        }
        // What the journal vouches for is looked at when it is first read.
        let store = Store::new(contents, slots, have.clone());
        let rehashed_bytes = store.rehash(&to_hash, &mut have, progress, cancel)?;
        for i in finals {
            let slot = &store.slots[i];
            if let Some(bad) = store.contents.chunks_of(i).find(|c| !have.contains(*c)) {
                let first = store.contents.chunks_of(i).start;
                return Err(not_the_artifact(&slot.final_path, format!("chunk {} differs", bad - first)));
            }
            store.seal(slot)?;
        }
        let resumed_bytes = have.iter().map(|c| store.contents.chunk_len(c) as u64).sum();
        let journal = writer::Journal::begin(private, JOURNAL_NAME, &store, &have)?;
        let frontier = Arc::new(Frontier::new(have.clone()));
        Ok(Opened { store: Arc::new(store), have, resumed_bytes, rehashed_bytes, frontier, journal })
    }

    /// A store of these files in which nothing is, and nothing will be: of a node that only watches.
    pub fn absent(contents: Contents) -> Store {
        let nothing = ChunkSet::empty(contents.chunk_count());
        Store::new(contents, Vec::new(), nothing)
    }

    /// Opens complete files for serving. Nothing is read now: each chunk is checked against the manifest before it is first given
    /// out, so that an edited file is its owner's error and not a lie told to others. [`Store::prove`] checks all of them.
    ///
    /// # Errors
    /// [`crate::base::Kind::Verify`] when a file is missing or has another length than the one that was signed.
    pub fn open_complete(directory: &Path, contents: Contents) -> Result<Store> {
        Self::open_lent(directory, contents, Vec::new())
    }

    /// Checks every chunk of complete files that is in doubt, while others may be read.
    ///
    /// # Errors
    /// [`crate::base::Kind::Verify`] with the first chunk that is not what was signed; when the disk fails or the work is
    /// cancelled.
    pub fn prove(&self, progress: &Progress, cancel: &CancellationToken) -> Result<()> {
        let total = (0..self.contents.chunk_count()).map(|chunk| self.contents.chunk_len(chunk) as u64).sum();
        let mut done = 0;
        for chunk in 0..self.contents.chunk_count() {
            if cancel.is_cancelled() {
                return Err(Error::interrupted("while the files were checked"));
            }
            if self.is_doubted(chunk) {
                self.make_sure(chunk)?;
            }
            done += self.contents.chunk_len(chunk) as u64;
            progress.bytes("check", done, Some(total), "");
        }
        progress.done("check");
        Ok(())
    }

    fn is_doubted(&self, chunk: u32) -> bool {
        self.doubted().contains(chunk)
    }

    fn new(contents: Contents, slots: Vec<Slot>, doubted: ChunkSet) -> Self {
        Store { contents, slots, doubted: Mutex::new(doubted), damaged: AtomicBool::new(false) }
    }

    fn doubted(&self) -> MutexGuard<'_, ChunkSet> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens complete files, none of which may change from now on.
    fn open_sealed(directory: &Path, contents: Contents, lent: Vec<Option<Vec<Piece>>>) -> Result<Store> {
        let mut slots = Vec::with_capacity(contents.files().len());
        let lent = lent.into_iter().chain(std::iter::repeat(None));
        for (file, pieces) in contents.files().iter().zip(lent) {
            let final_path = directory.join(&file.name);
            if let Some(pieces) = pieces {
                slots.push(Slot::lent(final_path, pieces)?);
                continue;
            }
            let disk = match FileSystem.open(&final_path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::verify(format!(
                        "{} is not the file that was signed: it is missing",
                        final_path.display()
                    ))
                    .hint(Next::SignedFileOrAnew));
                }
                opened => opened.or_failed(|| format!("cannot open {}", final_path.display()))?,
            };
            slots.push(Slot { disk, final_path, sealed: Mutex::new(None), lent: None });
        }
        let nothing = ChunkSet::empty(contents.chunk_count());
        let store = Store::new(contents, slots, nothing);
        for (i, slot) in store.slots.iter().enumerate() {
            let found = store.stamp(slot)?.size_bytes;
            let expected = store.contents.files()[i].layout.size_bytes();
            if found != expected {
                return Err(edited_file(slot, format!("it has {found} bytes, not {expected}")));
            }
            store.seal(slot)?;
        }
        Ok(store)
    }

    /// What the files are.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Reads a chunk that is there.
    ///
    /// # Errors
    /// As [`Store::read_into`].
    pub fn read(&self, chunk: u32) -> std::result::Result<Vec<u8>, ReadError> {
        let mut data = Vec::new();
        self.read_into(chunk, &mut data)?;
        Ok(data)
    }

    /// [`Store::read`] into a buffer that is used again. Of a file that was touched since it was last looked at, each chunk is checked
    /// before it is given out.
    ///
    /// # Errors
    /// [`ReadError::Chunk`] when the disk does not give the chunk that was signed, [`ReadError::File`] when the file has another length:
    /// then nothing of it is served any more.
    pub fn read_into(&self, chunk: u32, data: &mut Vec<u8>) -> std::result::Result<(), ReadError> {
        let place = self.place(chunk)?;
        data.resize(place.len(), 0);
        self.read_whole(&place, data)
    }

    /// Fills `data` with all of a chunk.
    fn read_whole(&self, place: &Place<'_>, data: &mut [u8]) -> std::result::Result<(), ReadError> {
        let read = place.read(0, data);
        // After the reading: what was written to the file before it shows now.
        self.notice_change(place)?;
        let checked = place.slot.explain(read).and_then(|()| match place.slot.lent {
            // Nothing tells that files of others were touched.
            None if !self.is_doubted(place.chunk) => Ok(()),
            _ => self.prove_chunk(place, chunk_id(place.layout, place.index, data)),
        });
        checked.map_err(|e| self.is_damage(place, e))
    }

    /// Gives the bytes of a chunk in their order to `take`, as many at a time as `buffer` holds, which is all that is kept of them. They are
    /// proved when all were given: until this has ended well, nobody may count on them.
    ///
    /// # Errors
    /// As [`Store::read_into`], and what `take` says, which ends the reading.
    pub fn read_pieces<E: From<ReadError>>(
        &self,
        chunk: u32,
        buffer: &mut [u8],
        mut take: impl FnMut(usize, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let place = self.place(chunk)?;
        let (mut hasher, mut at) = (ChunkHasher::new(place.layout, place.index), 0);
        while at < place.len() {
            let len = buffer.len().min(place.len() - at);
            let piece = &mut buffer[..len];
            place.slot.explain(place.read(at, piece)).map_err(|e| self.is_damage(&place, e))?;
            hasher.update(piece);
            take(at, piece)?;
            at += len;
        }
        self.notice_change(&place)?;
        // Its pieces were read one after the other: whether the file was touched in between, their hash says.
        self.prove_chunk(&place, hasher.finish()).map_err(|e| self.is_damage(&place, e))?;
        Ok(())
    }

    /// Where a chunk lies.
    fn place(&self, chunk: u32) -> std::result::Result<Place<'_>, ReadError> {
        let no = |what| ReadError::Chunk(Error::failed(format!("chunk {chunk} {what}")));
        let (artifact, index) = self.contents.locate(chunk).ok_or_else(|| no("is none of the manifest's"))?;
        let slot = self.slots.get(artifact).ok_or_else(|| no("is not kept here"))?;
        Ok(Place { slot, layout: &self.contents.files()[artifact].layout, artifact, index, chunk })
    }

    /// A chunk is not what it must be, or the disk does not give it: what comes in its place is to be written.
    fn is_damage(&self, place: &Place<'_>, error: Error) -> ReadError {
        self.damaged.store(true, Ordering::Relaxed);
        self.doubt(place.chunk);
        ReadError::Chunk(error)
    }

    /// Looks whether a complete file was touched since it was last looked at: then every chunk of it is in doubt.
    fn notice_change(&self, place: &Place<'_>) -> std::result::Result<(), ReadError> {
        let slot = place.slot;
        let mut sealed = slot.sealed();
        let Some(known) = *sealed else { return Ok(()) };
        let found = self.stamp(slot).map_err(ReadError::File)?;
        if found.size_bytes != known.size_bytes {
            let text = format!("{} was changed while it was being served", slot.final_path.display());
            return Err(ReadError::File(Error::verify(text).hint(Next::StopAndSignAnew)));
        }
        if found != known {
            self.doubted().insert_range(self.contents.chunks_of(place.artifact));
            *sealed = Some(found);
        }
        Ok(())
    }

    /// Makes sure of a chunk when it is next read.
    pub fn doubt(&self, chunk: u32) {
        self.doubted().insert(chunk);
    }

    /// Whether a chunk was read that is not what it must be.
    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Compares the id of what was read with the one that was signed.
    fn prove_chunk(&self, place: &Place<'_>, id: Blake3Hash) -> Result<()> {
        if id != *self.contents.chunk_id(place.artifact, place.index) {
            let detail = format!("chunk {} differs", place.index.get());
            return Err(match &place.slot.lent {
                Some(pieces) => pieces.is_not_signed(place.layout.offset(place.index), &detail),
                None => edited_file(place.slot, detail),
            });
        }
        self.doubted().remove(place.chunk);
        Ok(())
    }

    /// Writes bytes of a chunk where they belong. They count once all of it is proved: [`Store::is_stored`].
    fn write(&self, place: &Place<'_>, at: usize, bytes: &[u8]) -> Result<()> {
        let slot = place.slot;
        let written = slot.disk.write_at(bytes, place.layout.offset(place.index) + at as u64);
        written.map_err(|e| disk_error("cannot write", &slot.final_path, e))
    }

    /// The bytes that were written of a chunk are all of it, and proved.
    fn is_stored(&self, artifact: usize, chunk: VerifiedChunk) {
        self.doubted().remove(self.contents.chunks_of(artifact).start + chunk.index().get());
    }

    /// How the files look that have no final name yet; `None` if one cannot be looked at.
    fn stamps_of_parts(&self) -> Option<[u8; 8]> {
        let stamps = self.slots.iter().map(|slot| match slot.is_sealed() {
            true => Some(None),
            false => self.stamp(slot).ok().map(Some),
        });
        Some(digest_of(stamps.collect::<Option<Vec<_>>>()?.into_iter()))
    }

    fn sync(&self) -> Result<()> {
        for (i, slot) in self.slots.iter().enumerate().filter(|(_, s)| !s.is_sealed()) {
            slot.disk.sync().map_err(|e| disk_error("cannot sync", &slot.final_path, e))?;
            self.is_in_place(i, slot)?;
        }
        Ok(())
    }

    /// Makes sure that the incomplete file that is written is still the one under its name, as long as it was made.
    fn is_in_place(&self, artifact: usize, slot: &Slot) -> Result<()> {
        let part = durable::part_path(&slot.final_path);
        let written = self.stamp(slot)?;
        let is_whole = written.size_bytes == self.contents.files()[artifact].layout.size_bytes();
        match is_whole && part.symlink_metadata().is_ok_and(|data| Stamp::of(&data).is_same_file(&written)) {
            true => Ok(()),
            false => Err(not_left_alone(&part)),
        }
    }

    /// Makes sure of an incomplete file that takes less room than its bytes, though they were all written and their room was taken at first:
    /// it was cut, and has grown again over a hole. File systems that compress look the same, so all of it is read.
    fn has_no_hole(&self, artifact: usize, slot: &Slot) -> Result<()> {
        let part = durable::part_path(&slot.final_path);
        let data = part.symlink_metadata().or_failed(|| format!("cannot read {}", part.display()))?;
        if data.blocks() * 512 >= data.len() {
            return Ok(());
        }
        let chunks: Vec<u32> = self.contents.chunks_of(artifact).collect();
        let mut right = ChunkSet::empty(self.contents.chunk_count());
        self.rehash(&chunks, &mut right, &Progress::silent(), &CancellationToken::new())?;
        match chunks.iter().all(|chunk| right.contains(*chunk)) {
            true => Ok(()),
            false => Err(not_left_alone(&part)),
        }
    }

    /// Gives the complete and synced files their final names.
    fn finish(&self) -> Result<()> {
        for (i, slot) in self.slots.iter().enumerate().filter(|(_, s)| !s.is_sealed()) {
            self.is_in_place(i, slot)?;
            self.has_no_hole(i, slot)?;
            if slot.final_path.symlink_metadata().is_ok() {
                let text =
                    format!("{} has appeared while it was fetched, and is left as it is", slot.final_path.display());
                return Err(Error::refused(text).hint("move it away and run the same command again"));
            }
            durable::rename(&durable::part_path(&slot.final_path), &slot.final_path)?;
            self.seal(slot)?;
        }
        Ok(())
    }

    fn seal(&self, slot: &Slot) -> Result<()> {
        let stamp = self.stamp(slot)?;
        slot.sealed().get_or_insert(stamp);
        Ok(())
    }

    fn stamp(&self, slot: &Slot) -> Result<Stamp> {
        slot.disk.stamp().or_failed(|| format!("cannot read {}", slot.final_path.display()))
    }

    /// Adds to `have` those of `chunks` whose bytes on disk are right; gives how many bytes were read. Where the disk does not give bytes of
    /// an incomplete file, that chunk is not there: it comes again, and is written anew.
    fn rehash(
        &self,
        chunks: &[u32],
        have: &mut ChunkSet,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<u64> {
        let total: u64 = chunks.iter().map(|c| self.contents.chunk_len(*c) as u64).sum();
        let mut done = 0;
        let mut buffer = vec![0; PIECE_BYTES];
        let mut unreadable = 0;
        for chunk in chunks {
            if cancel.is_cancelled() {
                return Err(Error::interrupted("while files were checked").hint("run the same command again"));
            }
            let Ok(place) = self.place(*chunk) else { continue };
            let id = self.contents.chunk_id(place.artifact, place.index);
            let mut verifier = ChunkVerifier::new(place.layout, id, place.index);
            while verifier.taken() < place.len() {
                let piece = &mut buffer[..PIECE_BYTES.min(place.len() - verifier.taken())];
                if let Err(error) = place.read(verifier.taken(), piece) {
                    let part = durable::part_path(&place.slot.final_path);
                    if part.symlink_metadata().is_err() {
                        return Err(error).or_failed(|| format!("cannot read {}", place.slot.final_path.display()));
                    }
                    unreadable += 1;
                    if unreadable == 1 {
                        let text = format!(
                            "{}: chunk {} cannot be read ({error}): it is fetched again. The disk may be failing",
                            part.display(),
                            place.index.get()
                        );
                        progress.warning(text);
                    }
                    break;
                }
                if verifier.update(piece).is_err() {
                    break;
                }
            }
            done += place.len() as u64;
            if verifier.finish().is_ok() {
                have.insert(*chunk);
            }
            progress.bytes("check", done, Some(total), "");
        }
        progress.done("check");
        Ok(done)
    }
}

/// How an incomplete file looks, if it is there.
fn part_stamp(final_path: &Path) -> Option<Stamp> {
    if final_path.symlink_metadata().is_ok() {
        return None;
    }
    durable::part_path(final_path).symlink_metadata().ok().map(|data| Stamp::of(&data))
}

fn digest_of(stamps: impl Iterator<Item = Option<Stamp>>) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for stamp in stamps {
        hasher.update(&stamp.map_or([0; 48], Stamp::to_bytes));
    }
    let mut out = [0; 8];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    out
}

fn require_room(directory: &Path, contents: &Contents) -> Result<()> {
    let mut needed = 0;
    for file in contents.files() {
        let path = directory.join(&file.name);
        // Blocks of 512 bytes that are taken already.
        let taken = [durable::part_path(&path), path]
            .iter()
            .filter_map(|p| fs::symlink_metadata(p).ok())
            .map(|m| m.blocks() * 512)
            .max()
            .unwrap_or(0);
        needed += file.layout.size_bytes().saturating_sub(taken);
    }
    durable::require_space(directory, needed, "what the manifest describes")
}

fn not_left_alone(part: &Path) -> Error {
    Error::failed(format!("{} was moved, replaced or cut while it was written", part.display()))
        .hint("leave it alone and run the same command again: what is right of what is there is kept")
}

/// A complete file that is not what the manifest describes.
fn edited_file(slot: &Slot, detail: String) -> Error {
    Error::verify(format!("{} is not the file that was signed: {detail}", slot.final_path.display()))
        .hint(Next::SignedFileOrAnew)
}

fn not_the_artifact(path: &Path, detail: String) -> Error {
    Error::refused(format!("{} is already there and is not what the manifest describes: {detail}", path.display()))
        .hint("move it away or choose an empty directory")
}

/// A full disk has its own words: nothing is lost and the work can go on.
fn disk_error(what: &str, path: &Path, error: io::Error) -> Error {
    let full = error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded;
    let e = Error::failed(if full {
        format!("paused: the disk of {} is full", path.display())
    } else {
        format!("{what} {}", path.display())
    });
    let e = e.because(error);
    if full { e.hint("free some space and run the same command again: it goes on where it stopped") } else { e }
}

/// The set as journal ranges.
fn synced_ranges(have: &ChunkSet) -> Vec<std::ops::Range<u32>> {
    ranges(have.iter())
}
