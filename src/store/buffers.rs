//! Buffers of pieces of chunks, used again: an allocator gives such large ones back to the system late, thread by thread.

use std::sync::{Mutex, PoisonError};

/// Buffers kept; more are let go.
const KEPT: usize = 16;

/// Buffers that were used and may be used again. Their old bytes are of no meaning.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer with room for that many bytes. The room is only asked for: what is not filled takes no memory.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(len);
        buffer
    }

    /// Gives a buffer back.
    pub fn put(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}
