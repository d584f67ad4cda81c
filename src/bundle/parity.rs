//! Parity over volumes: of N volumes with data and K with parity any K may be lost, broken or late; and where bad blocks are
//! scattered over all of them, any K members of each stripe may be bad.
//!
//! ```text
//!              data 0   data 1   ...  data N-1 | parity 0  ...  parity K-1
//! stripe 0     slot 0   slot 0        slot 0   | shard 0        shard 0
//! stripe 1     slot 1   slot 1        (none)   | shard 1        shard 1
//! ```
//!
//! A slot is one chunk; a volume that has fewer than the others gives zeros for those it lacks, and a chunk that is shorter
//! than the longest of its stripe is filled up with zeros. So a stripe is lost only when more than K of its own members are, however many
//! there are on each medium, and what is known of a chunk is what the manifest signs: no part of this has to be trusted. A shard's id says which
//! shards are worth using, and a chunk that was restored counts once the manifest's id has proved it.
//!
//! Everything here is arithmetic over bytes that a [`Members`] gives; it opens no file.

mod code;
mod cost;
mod index;
mod make;
mod need;
mod restore;
mod stripes;
#[cfg(test)]
mod tests;
mod wire;

pub use cost::{Cost, cost};
pub use index::{ParityIndex, ParityIndexError, ShardFiles};
pub use make::{ShardSink, make};
pub use need::{Need, Volumes, need};
pub use restore::{Outcome, Take, restore};
pub use stripes::{Member, Stripes, StripesError};

use crate::base::{Result, limits};

/// How many volumes hold data and how many hold parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    data: usize,
    parity: usize,
}

/// Numbers of volumes that parity cannot be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// There is nothing to protect, or nothing to protect it with.
    #[error("parity takes at least one volume of data and one of parity, not {data} and {parity}")]
    None {
        /// Volumes with data.
        data: usize,
        /// Volumes with parity.
        parity: usize,
    },
    /// More volumes than one set may have.
    #[error(
        "{data} volumes of data and {parity} of parity are more than the {max} volumes of one set",
        max = limits::SET_VOLUMES_MAX
    )]
    TooMany {
        /// Volumes with data.
        data: usize,
        /// Volumes with parity.
        parity: usize,
    },
}

impl Shape {
    /// So many volumes of data and of parity.
    ///
    /// # Errors
    /// When one of them is none, or both together are more than [`limits::SET_VOLUMES_MAX`].
    pub fn new(data: usize, parity: usize) -> std::result::Result<Self, ShapeError> {
        if data == 0 || parity == 0 {
            return Err(ShapeError::None { data, parity });
        }
        if data.saturating_add(parity) > limits::SET_VOLUMES_MAX {
            return Err(ShapeError::TooMany { data, parity });
        }
        Ok(Shape { data, parity })
    }

    /// Volumes that hold chunks.
    pub fn data(&self) -> usize {
        self.data
    }

    /// Volumes that hold parity; as many of all may be lost.
    pub fn parity(&self) -> usize {
        self.parity
    }

    /// How many bytes of each member of a stripe are worked on at once, so that all of them together stay within
    /// [`limits::PARITY_MEMORY_BYTES`].
    fn piece(&self) -> usize {
        let each = limits::PARITY_MEMORY_BYTES / (self.data + self.parity);
        (each / code::ALIGN * code::ALIGN).clamp(code::ALIGN, limits::PARITY_PIECE_BYTES_MAX)
    }
}

/// Gives the bytes of a stripe's members.
pub trait Members {
    /// Fills `into` with the bytes of a chunk from `at` on; there are as many.
    ///
    /// # Errors
    /// When they cannot be read.
    fn chunk(&mut self, chunk: u32, at: usize, into: &mut [u8]) -> Result<()>;

    /// Fills `into` with the bytes from `at` on of the shard that a parity volume has for a stripe. Whatever they are, they are checked.
    ///
    /// # Errors
    /// When they cannot be read: the shard then counts as bad.
    fn shard(&mut self, volume: usize, stripe: u32, at: usize, into: &mut [u8]) -> Result<()>;
}

/// The pieces of `len` bytes, each of at most `piece`: where each begins and ends.
fn pieces(len: usize, piece: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..len).step_by(piece).map(move |at| at..len.min(at + piece))
}
