//! A piece of a snapshot's text, in memory that is used again: fresh memory would have to be zeroed before each piece.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
};

/// Buffers that wait for their next use at most: as a rule as many as pieces are on their way at once.
const WAITING_MAX: usize = 16;

/// Where the buffers of pieces wait for their next use; clones share the buffers.
#[derive(Debug, Clone, Default)]
pub(super) struct PiecePool(Arc<Mutex<Vec<Vec<u8>>>>);

impl PiecePool {
    /// A piece of `len` bytes, whose contents are whatever stood in its buffer before: the caller must fill it.
    pub(super) fn piece(&self, len: usize) -> TextPiece {
        let waiting = self.0.lock().ok().and_then(|mut waiting| waiting.pop());
        let mut memory = waiting.unwrap_or_default();
        if memory.len() < len {
            memory.resize(len, 0);
        }
        TextPiece { memory, len, pool: Some(self.clone()) }
    }
}

/// Some of a snapshot's uncompressed text, cut anywhere. Dropping it gives its buffer back to the pool.
pub struct TextPiece {
    /// The buffer, which is at least as long as the text.
    memory: Vec<u8>,
    /// Bytes of the text, from the buffer's front.
    len: usize,
    /// Where the buffer goes when this is dropped; `None`: it is simply freed.
    pool: Option<PiecePool>,
}

impl TextPiece {
    /// Shortens the text to `len` bytes, if it is longer.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl From<Vec<u8>> for TextPiece {
    fn from(memory: Vec<u8>) -> Self {
        TextPiece { len: memory.len(), memory, pool: None }
    }
}

impl Deref for TextPiece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl DerefMut for TextPiece {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

impl AsRef<[u8]> for TextPiece {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for TextPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextPiece({} bytes)", self.len)
    }
}

impl Drop for TextPiece {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if let Ok(mut waiting) = pool.0.lock()
            && waiting.len() < WAITING_MAX
        {
            waiting.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_shows_nothing_beyond_the_piece() {
        let pool = PiecePool::default();
        let mut piece = pool.piece(5);
        piece.copy_from_slice(b"first");
        let at = piece.as_ptr();
        drop(piece);
        let mut piece = pool.piece(3);
        assert_eq!((piece.as_ptr(), piece.len()), (at, 3));
        piece.truncate(7);
        assert_eq!(piece.len(), 3);
        piece.truncate(0);
        assert!(piece.is_empty());
    }

    #[test]
    fn memory_that_waits_has_a_bound() {
        let pool = PiecePool::default();
        let many: Vec<TextPiece> = (0..3 * WAITING_MAX).map(|_| pool.piece(10)).collect();
        drop(many);
        assert_eq!(pool.0.lock().unwrap().len(), WAITING_MAX);
    }
}
