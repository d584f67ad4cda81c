//! Chunks on their way in, piece by piece, from sources that may lie, fall silent, or bring the same chunk at the same time.
//!
//! The pieces are written where the chunk belongs as they come, so that nobody holds a whole one in memory. What stands there is no chunk
//! until the last piece has proved all of it. Only one source writes there at a time, and none where a chunk is or was: other copies stand
//! in a nameless file until they are proved, and whoever is overtaken writes nothing any more.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{Outcome, PIECE_BYTES, Place, Store, disk_error};
use crate::{
    base::{Context, Error, Result},
    manifest::{ChunkSet, ChunkVerifier},
};

/// One source's copy of a chunk. Whoever brings its pieces holds it, and each piece that waits does; when nobody holds it any more, nothing
/// more of it comes.
#[derive(Debug)]
pub struct Arrival {
    source: u64,
    chunk: u32,
    taken: Mutex<Taken>,
}

/// What was taken in of a copy.
#[derive(Debug)]
struct Taken {
    verifier: Option<ChunkVerifier>,
    stands: Stands,
}

/// Where the bytes of a copy stand.
#[derive(Debug)]
enum Stands {
    /// Where the chunk belongs, as long as no other copy was proved.
    InPlace,
    /// In a file of its own, because another source's stand there.
    Beside(File),
    /// Nowhere: the chunk is there, or this is none. Whether it lied is still found out.
    Nowhere,
}

impl Arrival {
    /// Nothing has come yet. `source`: who gives it; comes back in the [`Outcome`].
    pub fn new(source: u64, chunk: u32) -> Arc<Self> {
        let taken = Mutex::new(Taken { verifier: None, stands: Stands::InPlace });
        Arc::new(Arrival { source, chunk, taken })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes from a peer or a medium that are said to be the next of a chunk.
#[derive(Debug)]
pub struct Untrusted {
    /// Of which copy of which chunk.
    pub arrival: Arc<Arrival>,
    /// The bytes.
    pub data: Vec<u8>,
    /// None are to come behind them.
    pub is_last: bool,
}

impl Untrusted {
    /// A chunk in one piece.
    pub fn whole(source: u64, chunk: u32, data: Vec<u8>) -> Self {
        Untrusted { arrival: Arrival::new(source, chunk), data, is_last: true }
    }
}

/// Who writes what where.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// By chunk, whose bytes stand where it belongs.
    in_place: HashMap<u32, Weak<Arrival>>,
    /// Chunks that were there once.
    stored: ChunkSet,
    /// Where files without a name are made.
    directory: PathBuf,
}

impl Arrivals {
    /// `have`: chunks that are there.
    pub(super) fn new(have: ChunkSet, directory: PathBuf) -> Self {
        Arrivals { in_place: HashMap::new(), stored: have, directory }
    }

    /// Takes the next piece of a copy; with the last one, what became of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn take(&mut self, store: &Store, piece: &Untrusted) -> Result<Option<Outcome>> {
        let Untrusted { arrival, data, is_last } = piece;
        let (source, chunk) = (arrival.source, arrival.chunk);
        let Ok(place) = store.place(chunk) else { return Ok(None) };
        let mut taken = arrival.taken();
        let Taken { verifier, stands } = &mut *taken;
        let is_first = verifier.is_none();
        let id = store.contents().chunk_id(place.artifact, place.index);
        let verifier = verifier.get_or_insert_with(|| ChunkVerifier::new(place.layout, id, place.index));
        let at = verifier.taken();
        let checked = verifier.update(data).and_then(|()| is_last.then(|| verifier.finish()).transpose());
        let verified = match checked {
            Ok(verified) => verified,
            Err(error) => {
                if self.is_in_place(arrival) {
                    self.in_place.remove(&chunk);
                }
                *stands = Stands::Nowhere;
                return Ok(Some(Outcome::Bad { source, chunk, error }));
            }
        };
        if *is_last && is_first {
            // Proved before a byte of it is written: it takes nobody's place.
        } else if is_first {
            *stands = self.begin(store, arrival)?;
        } else if matches!(stands, Stands::InPlace) && !self.is_in_place(arrival) {
            *stands = Stands::Nowhere;
        }
        match stands {
            Stands::InPlace => store.write(&place, at, data)?,
            Stands::Beside(file) => file.write_all_at(data, at as u64).map_err(|e| self.failed(e))?,
            Stands::Nowhere => {}
        }
        let Some(verified) = verified else { return Ok(None) };
        if let Stands::Beside(file) = stands {
            self.move_in(store, &place, file)?;
        }
        // Whose bytes stood there is overtaken.
        self.in_place.remove(&chunk);
        self.stored.insert(chunk);
        store.is_stored(place.artifact, verified);
        Ok(Some(Outcome::Stored { source, chunk }))
    }

    /// Where a copy that comes in pieces stands until it is proved.
    fn begin(&mut self, store: &Store, arrival: &Arc<Arrival>) -> Result<Stands> {
        let chunk = arrival.chunk;
        let was_there = self.stored.contains(chunk);
        if was_there && !store.is_doubted(chunk) {
            // It was asked for before another one's copy was proved.
            return Ok(Stands::Nowhere);
        }
        self.in_place.retain(|_, other| other.strong_count() > 0);
        // What was there may be read while it is made sure of.
        if was_there || self.in_place.contains_key(&chunk) {
            let file = tempfile::tempfile_in(&self.directory).map_err(|e| self.failed(e))?;
            return Ok(Stands::Beside(file));
        }
        self.in_place.insert(chunk, Arc::downgrade(arrival));
        Ok(Stands::InPlace)
    }

    fn is_in_place(&self, arrival: &Arc<Arrival>) -> bool {
        self.in_place.get(&arrival.chunk).is_some_and(|there| there.as_ptr() == Arc::as_ptr(arrival))
    }

    /// Writes a copy that was proved where the chunk belongs.
    fn move_in(&self, store: &Store, place: &Place<'_>, copy: &File) -> Result<()> {
        let id = store.contents().chunk_id(place.artifact, place.index);
        let mut verifier = ChunkVerifier::new(place.layout, id, place.index);
        let mut buffer = vec![0; PIECE_BYTES.min(place.len())];
        while verifier.taken() < place.len() {
            let at = verifier.taken();
            let len = buffer.len().min(place.len() - at);
            let piece = &mut buffer[..len];
            copy.read_exact_at(piece, at as u64).map_err(|e| self.failed(e))?;
            store.write(place, at, piece)?;
            // Its length was that of the chunk.
            let _ = verifier.update(piece);
        }
        verifier
            .finish()
            .map(drop)
            .or_failed(|| format!("the disk of {} does not give back what was written to it", self.directory.display()))
    }

    fn failed(&self, error: io::Error) -> Error {
        disk_error("cannot write in", &self.directory, error)
    }
}
