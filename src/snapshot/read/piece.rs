//! A piece of a snapshot's text, in memory that is used again: fresh memory would have to be zeroed before each piece.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
};

/// Memory that waits for its next use: as much as pieces are on their way at once, as a rule.
const WAITING_MAX: usize = 16;

/// Where the memory of pieces waits for its next use.
#[derive(Debug, Clone, Default)]
pub(super) struct PiecePool(Arc<Mutex<Vec<Vec<u8>>>>);

impl PiecePool {
    /// A piece of so many bytes; they are whatever stood there before.
    pub(super) fn piece(&self, len: usize) -> TextPiece {
        let waiting = self.0.lock().ok().and_then(|mut waiting| waiting.pop());
        let mut memory = waiting.unwrap_or_default();
        if memory.len() < len {
            memory.resize(len, 0);
        }
        TextPiece { memory, len, pool: Some(self.clone()) }
    }
}

/// Some of a snapshot's text, cut anywhere.
pub struct TextPiece {
    /// At least as long as the text.
    memory: Vec<u8>,
    len: usize,
    /// Where the memory goes when nobody needs the text any more.
    pool: Option<PiecePool>,
}

impl TextPiece {
    /// Forgets the bytes from there on.
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
