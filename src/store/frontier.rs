//! Reading a file from its beginning while it is still being filled: each chunk is waited for.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::Store;
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
    data: Vec<u8>,
    at: usize,
}

impl ArtifactReader {
    /// Reads the artifact at that place in the manifest.
    pub fn new(store: Arc<Store>, frontier: Arc<Frontier>, artifact: usize) -> Self {
        let chunks = store.contents().chunks_of(artifact);
        ArtifactReader { store, frontier, chunks, data: Vec::new(), at: 0 }
    }
}

impl io::Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.data.len() {
            let Some(chunk) = self.chunks.next() else { return Ok(0) };
            if !self.frontier.wait(chunk) {
                return Err(io::Error::other("the fetch ended before every chunk was here"));
            }
            self.store.read_into(chunk, &mut self.data).map_err(|e| io::Error::other(Error::from(e).chain()))?;
            self.at = 0;
        }
        let n = buffer.len().min(self.data.len() - self.at);
        buffer[..n].copy_from_slice(&self.data[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
