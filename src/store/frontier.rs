//! Reading a file from its beginning while it is still being filled: each chunk is waited for.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{PIECE_BYTES, Scratch, Store};
use crate::{base::Error, manifest::ChunkSet};

/// Which chunks are written, for those who wait for one.
#[derive(Debug)]
pub struct Frontier {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    have: ChunkSet,
    /// Nothing more will be written.
    ended: bool,
}

impl Frontier {
    pub(super) fn new(have: ChunkSet) -> Self {
        let ended = have.is_full();
        Frontier { state: Mutex::new(State { have, ended }), changed: Condvar::new() }
    }

    /// All chunks, of which there are so many, are there.
    pub fn complete(chunk_count: u32) -> Self {
        Self::new(ChunkSet::full(chunk_count))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk was written.
    pub(super) fn add(&self, chunk: u32) {
        self.state().have.insert(chunk);
        self.changed.notify_all();
    }

    /// Nothing more will be written.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Waits for a chunk; false when it will not come.
    fn wait(&self, chunk: u32) -> bool {
        let mut state = self.state();
        while !state.have.contains(chunk) && !state.ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.have.contains(chunk)
    }
}

/// An artifact's bytes in order, verified chunk by chunk as they come. Blocking.
#[derive(Debug)]
pub struct ArtifactReader {
    store: Arc<Store>,
    frontier: Arc<Frontier>,
    chunks: std::ops::Range<u32>,
    /// The chunk that is read, and how many of its bytes were.
    chunk: Option<(u32, usize)>,
    part: Vec<u8>,
    at: usize,
    scratch: Scratch,
}

impl ArtifactReader {
    /// Reads the artifact at that place in the manifest.
    pub fn new(store: Arc<Store>, frontier: Arc<Frontier>, artifact: usize) -> Self {
        let chunks = store.contents().chunks_of(artifact);
        ArtifactReader { store, frontier, chunks, chunk: None, part: Vec::new(), at: 0, scratch: Scratch::default() }
    }

    /// Reads the next part; false at the artifact's end.
    fn next_part(&mut self) -> io::Result<bool> {
        let (chunk, done) = match self.chunk.take() {
            Some(begun) => begun,
            None => {
                let Some(chunk) = self.chunks.next() else { return Ok(false) };
                if !self.frontier.wait(chunk) {
                    return Err(io::Error::other("the fetch ended before every chunk was here"));
                }
                (chunk, 0)
            }
        };
        let left = self.store.contents().chunk_len(chunk) - done;
        self.part.resize(left.min(PIECE_BYTES), 0);
        self.store
            .read_part(chunk, done, &mut self.part, &mut self.scratch)
            .map_err(|e| io::Error::other(Error::from(e).chain()))?;
        self.chunk = (left > self.part.len()).then_some((chunk, done + self.part.len()));
        self.at = 0;
        Ok(true)
    }
}

impl io::Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.part.len() {
            if !self.next_part()? {
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.part.len() - self.at);
        buffer[..n].copy_from_slice(&self.part[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
