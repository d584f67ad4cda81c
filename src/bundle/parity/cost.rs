//! What parity costs, said before it is made.

use super::{Shape, Stripes};

/// What the parity of a set takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes on each parity volume.
    pub volume_bytes: u64,
    /// Bytes on all parity volumes.
    pub parity_bytes: u64,
    /// Bytes of chunks that are read for it.
    pub read_bytes: u64,
}

impl Cost {
    /// Seconds that it takes at best where so many bytes a second are read, and written to each parity volume at the same time.
    pub fn seconds(&self, read_bytes_per_second: u64, write_bytes_per_second: u64) -> u64 {
        let reading = self.read_bytes.div_ceil(read_bytes_per_second.max(1));
        let writing = self.volume_bytes.div_ceil(write_bytes_per_second.max(1));
        reading.max(writing)
    }
}

/// What the parity of these volumes costs.
pub fn cost(shape: Shape, stripes: &Stripes, chunk_len: &dyn Fn(u32) -> usize) -> Cost {
    let volume_bytes = (0..stripes.count()).map(|stripe| stripes.shard_len(stripe, chunk_len) as u64).sum();
    let members = (0..stripes.count()).flat_map(|stripe| stripes.members(stripe));
    let read_bytes = members
        .map(|member| match member {
            super::Member::Nothing => 0,
            super::Member::Chunk(chunk) => chunk_len(chunk) as u64,
        })
        .sum();
    Cost { volume_bytes, parity_bytes: volume_bytes * shape.parity() as u64, read_bytes }
}
