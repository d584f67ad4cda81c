//! Restores the chunks that are lost from those that are there and from parity.

use std::ops::Range;

use super::{
    Member, Members, Shape, Stripes,
    code::{Decoder, Place},
    make::fill,
    pieces,
};
use crate::{
    base::{Blake3Hash, Error, Result, limits, task::CancellationToken},
    manifest::ChunkSet,
};

/// Bytes of a shard that are hashed at once.
const PROVED_BYTES: usize = 256 << 10;

/// Takes what is restored.
pub trait Take {
    /// An empty buffer for a chunk of this length.
    fn buffer(&mut self, len: usize) -> Vec<u8>;

    /// Bytes that should be a chunk. True if they are: the manifest's id proved it.
    ///
    /// # Errors
    /// When the chunk cannot be kept, which ends the work.
    fn chunk(&mut self, chunk: u32, data: Vec<u8>) -> Result<bool>;
}

/// What became of the chunks that were lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Chunks that are there again.
    pub restored: u32,
    /// Stripes in which a chunk is still lost.
    pub incomplete: Vec<u32>,
    /// For each parity volume the stripes whose shard could not be read, or is not what its index says.
    pub bad_shards: Vec<Vec<u32>>,
    /// Parity volumes whose shards are as their index says, and are not the parity of these chunks.
    pub false_volumes: Vec<usize>,
}

/// Restores every chunk of the set that is not in `have`, as far as parity goes. `shard_id` says what a parity volume's index has for a
/// stripe, and nothing for a volume that is not at hand.
///
/// A volume whose index is a lie makes chunks that the manifest's id refuses. Then others are tried in its place, where there are
/// more than are needed, and it comes last from then on; two such liars at once are not told apart.
///
/// # Errors
/// When a chunk of `have` cannot be read or `take` fails; [`crate::base::Kind::Interrupted`] when `cancel` ends it.
#[allow(clippy::too_many_arguments)] // what is at hand, where it stands, and who gets it
pub fn restore(
    shape: Shape,
    stripes: &Stripes,
    have: &ChunkSet,
    chunk_len: &dyn Fn(u32) -> usize,
    shard_id: &dyn Fn(usize, u32) -> Option<Blake3Hash>,
    members: &mut dyn Members,
    take: &mut dyn Take,
    cancel: &CancellationToken,
) -> Result<Outcome> {
    debug_assert_eq!(stripes.volume_count(), shape.data);
    let outcome = Outcome { bad_shards: vec![Vec::new(); shape.parity], ..Outcome::default() };
    let (decoder, member) = (Decoder::new(shape), Vec::new());
    let mut work = Work { shape, stripes, chunk_len, shard_id, members, take, cancel, outcome, decoder, member };
    for stripe in stripes.incomplete(have) {
        let mut lost = Vec::new();
        let mut known = Vec::new();
        for (volume, member) in stripes.members(stripe).enumerate() {
            match member {
                Member::Chunk(chunk) if !have.contains(chunk) => lost.push((volume, chunk)),
                _ => known.push(volume),
            }
        }
        work.stripe(stripe, lost, &known)?;
    }
    work.outcome.false_volumes.sort_unstable();
    Ok(work.outcome)
}

struct Work<'a> {
    shape: Shape,
    stripes: &'a Stripes,
    chunk_len: &'a dyn Fn(u32) -> usize,
    shard_id: &'a dyn Fn(usize, u32) -> Option<Blake3Hash>,
    members: &'a mut dyn Members,
    take: &'a mut dyn Take,
    cancel: &'a CancellationToken,
    outcome: Outcome,
    decoder: Decoder,
    /// The piece of a member that is read.
    member: Vec<u8>,
}

impl Work<'_> {
    /// Restores the `lost` chunks of a stripe, of which the data volumes `known` have theirs.
    fn stripe(&mut self, stripe: u32, mut lost: Vec<(usize, u32)>, known: &[usize]) -> Result<()> {
        let shard_len = self.stripes.shard_len(stripe, self.chunk_len);
        let mut candidates: Vec<usize> = (0..self.shape.parity).collect();
        candidates.sort_by_key(|volume| self.outcome.false_volumes.contains(volume));
        let mut candidates = candidates.into_iter();
        let mut used = Vec::with_capacity(lost.len());
        while used.len() < lost.len() {
            let Some(volume) = self.next_sound(stripe, shard_len, &mut candidates)? else {
                self.outcome.incomplete.push(stripe);
                return Ok(());
            };
            used.push(volume);
        }
        self.attempt(stripe, shard_len, known, &used, &mut lost)?;
        // One of those used may lie: another one in its place shows which.
        let mut attempts = 1;
        while !lost.is_empty() && attempts < limits::PARITY_ATTEMPTS_MAX {
            let Some(spare) = self.next_sound(stripe, shard_len, &mut candidates)? else { break };
            for at in 0..used.len() {
                let without = std::mem::replace(&mut used[at], spare);
                self.attempt(stripe, shard_len, known, &used, &mut lost)?;
                attempts += 1;
                if lost.is_empty() {
                    self.is_false(without);
                    break;
                }
                used[at] = without;
            }
        }
        if !lost.is_empty() {
            self.outcome.incomplete.push(stripe);
        }
        Ok(())
    }

    fn is_false(&mut self, volume: usize) {
        if !self.outcome.false_volumes.contains(&volume) {
            self.outcome.false_volumes.push(volume);
        }
    }

    /// The next parity volume whose shard of this stripe is what its index says.
    fn next_sound(
        &mut self,
        stripe: u32,
        shard_len: usize,
        candidates: &mut impl Iterator<Item = usize>,
    ) -> Result<Option<usize>> {
        for volume in candidates {
            let Some(id) = (self.shard_id)(volume, stripe) else { continue };
            if self.is_sound(volume, stripe, shard_len, &id)? {
                return Ok(Some(volume));
            }
            self.outcome.bad_shards[volume].push(stripe);
        }
        Ok(None)
    }

    fn is_sound(&mut self, volume: usize, stripe: u32, shard_len: usize, id: &Blake3Hash) -> Result<bool> {
        let mut hasher = blake3::Hasher::new();
        for piece in pieces(shard_len, PROVED_BYTES) {
            self.go_on()?;
            self.member.resize(piece.len(), 0);
            if self.members.shard(volume, stripe, piece.start, &mut self.member).is_err() {
                return Ok(false);
            }
            hasher.update(&self.member);
        }
        Ok(hasher.finalize().as_bytes() == id.as_bytes())
    }

    fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::interrupted("while chunks were restored from parity"));
        }
        Ok(())
    }

    /// Makes the `lost` chunks with the shards of the parity volumes in `used`, as many as are lost; those that prove themselves leave `lost`.
    fn attempt(
        &mut self,
        stripe: u32,
        shard_len: usize,
        known: &[usize],
        used: &[usize],
        lost: &mut Vec<(usize, u32)>,
    ) -> Result<()> {
        let places = || known.iter().map(|v| Place::Data(*v)).chain(used.iter().map(|v| Place::Parity(*v)));
        // Chunks are proved whole; where all that are lost would take too much memory, some are made after the others.
        let at_once = (limits::PARITY_RESTORED_BYTES / shard_len.max(1)).max(1);
        for some in std::mem::take(lost).chunks(at_once) {
            let mut made: Vec<_> = some.iter().map(|(volume, _)| (*volume, self.take.buffer(shard_len))).collect();
            for column in pieces(shard_len, self.decoder.column()) {
                self.go_on()?;
                if !self.fill(stripe, column, places())? {
                    // It was sound when it was looked at: the medium is going away.
                    lost.extend_from_slice(some);
                    made.clear();
                    break;
                }
                self.decoder.restore(&mut made);
            }
            for ((volume, chunk), (_, mut data)) in some.iter().zip(made) {
                data.truncate((self.chunk_len)(*chunk));
                if self.take.chunk(*chunk, data)? {
                    self.outcome.restored += 1;
                } else {
                    lost.push((*volume, *chunk));
                }
            }
        }
        Ok(())
    }

    /// Gives the code the same column of every member that is used; false when parity cannot be read.
    fn fill(&mut self, stripe: u32, column: Range<usize>, places: impl Iterator<Item = Place>) -> Result<bool> {
        let (at, len) = (column.start, column.len());
        self.decoder.begin(len);
        for place in places {
            match place {
                Place::Data(volume) => {
                    let member = self.stripes.member(stripe, volume);
                    fill(member, at, len, self.chunk_len, self.members, &mut self.member)?;
                }
                Place::Parity(volume) => {
                    self.member.resize(len, 0);
                    if self.members.shard(volume, stripe, at, &mut self.member).is_err() {
                        return Ok(false);
                    }
                }
            }
            self.decoder.add(place, &self.member);
        }
        Ok(true)
    }
}
