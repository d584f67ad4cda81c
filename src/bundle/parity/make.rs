//! Makes the parity volumes of a set.

use super::{Member, Members, Shape, Stripes, code::Encoder, pieces};
use crate::base::{Blake3Hash, Error, Result, task::CancellationToken};

/// Takes what is made.
pub trait ShardSink {
    /// The next bytes, from `at` on, of the shard that a parity volume has for a stripe.
    ///
    /// # Errors
    /// When they cannot be written, which ends the work.
    fn piece(&mut self, volume: usize, stripe: u32, at: usize, bytes: &[u8]) -> Result<()>;

    /// The shards of a stripe are all there; `ids` has one for each parity volume.
    ///
    /// # Errors
    /// When they cannot be kept, which ends the work.
    fn stripe(&mut self, stripe: u32, ids: &[Blake3Hash]) -> Result<()>;
}

/// Makes the shards of every stripe from `first` on; those before were made by an export that was interrupted.
///
/// # Errors
/// When a chunk cannot be read or the sink fails; [`crate::base::Kind::Interrupted`] when `cancel` ends it.
pub fn make(
    shape: Shape,
    stripes: &Stripes,
    first: u32,
    chunk_len: &dyn Fn(u32) -> usize,
    members: &mut dyn Members,
    sink: &mut dyn ShardSink,
    cancel: &CancellationToken,
) -> Result<()> {
    debug_assert_eq!(stripes.volume_count(), shape.data);
    let mut encoder = Encoder::new(shape);
    let mut data = vec![Vec::new(); shape.data];
    let mut parity = vec![Vec::new(); shape.parity];
    for stripe in first..stripes.count() {
        let shard_len = stripes.shard_len(stripe, chunk_len);
        let mut hashers = vec![blake3::Hasher::new(); shape.parity];
        for piece in pieces(shard_len, shape.piece()) {
            if cancel.is_cancelled() {
                return Err(Error::interrupted("while parity was made").hint("run the same command again: it goes on"));
            }
            for (member, buffer) in stripes.members(stripe).zip(&mut data) {
                fill(member, piece.start, piece.len(), chunk_len, members, buffer)?;
            }
            parity.iter_mut().for_each(|buffer| buffer.resize(piece.len(), 0));
            encoder.encode(piece.len(), &data, &mut parity);
            for (volume, (bytes, hasher)) in parity.iter().zip(&mut hashers).enumerate() {
                hasher.update(bytes);
                sink.piece(volume, stripe, piece.start, bytes)?;
            }
        }
        let ids: Vec<_> = hashers.iter().map(|h| Blake3Hash::from_bytes(*h.finalize().as_bytes())).collect();
        sink.stripe(stripe, &ids)?;
    }
    Ok(())
}

/// Puts `len` bytes of a member, from `at` on, into `buffer`: zeros behind the chunk's end.
pub(super) fn fill(
    member: Member,
    at: usize,
    len: usize,
    chunk_len: &dyn Fn(u32) -> usize,
    members: &mut dyn Members,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let Member::Chunk(chunk) = member else {
        buffer.clear();
        buffer.resize(len, 0);
        return Ok(());
    };
    let there = chunk_len(chunk).saturating_sub(at).min(len);
    buffer.resize(len, 0);
    buffer[there..].fill(0);
    if there > 0 {
        members.chunk(chunk, at, &mut buffer[..there])?;
    }
    Ok(())
}
