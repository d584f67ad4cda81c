//! Which chunk stands in which stripe.

use std::ops::Range;

use super::code::ALIGN;
use crate::{base::limits, manifest::ChunkSet};

/// Volumes and the chunks that each holds, as a medium says it, that are no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StripesError {
    /// A volume has a range without a chunk, or with one that the manifest does not have.
    #[error("volume {volume} is said to hold the chunks {start} to {end}, and there are {count}")]
    Range {
        /// Which volume, counted from 0.
        volume: usize,
        /// The first chunk.
        start: u32,
        /// The chunk after the last.
        end: u32,
        /// Chunks of the manifest.
        count: u32,
    },
    /// A chunk stands on two volumes, or twice on one.
    #[error("chunk {chunk} is said to stand in two places")]
    Twice {
        /// Which chunk.
        chunk: u32,
    },
    /// More ranges than one set may be made of.
    #[error("the volumes are made of {0} ranges of chunks, more than {max}", max = limits::SET_RANGES_MAX)]
    TooManyRanges(usize),
    /// More volumes than one set may have.
    #[error("there are {0} volumes, more than {max}", max = limits::SET_VOLUMES_MAX)]
    TooManyVolumes(usize),
}

/// One volume's chunks in the order in which it holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slots {
    ranges: Vec<Range<u32>>,
    /// The slot at which each range begins.
    firsts: Vec<u32>,
    count: u32,
}

/// A member of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The volume has nothing in this stripe, which counts as zeros.
    Nothing,
    /// A chunk.
    Chunk(u32),
}

/// The data volumes of one set, slot by slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripes {
    volumes: Vec<Slots>,
    /// Every range by its first chunk: volume, and slot of that chunk.
    places: Vec<(Range<u32>, usize, u32)>,
    count: u32,
}

impl Stripes {
    /// The stripes of volumes that hold these ranges, each in its order, of a manifest with `chunk_count` chunks.
    ///
    /// # Errors
    /// When a range is empty or not of this manifest, a chunk stands in two places, or there are too many volumes or ranges.
    pub fn new(volumes: &[Vec<Range<u32>>], chunk_count: u32) -> Result<Self, StripesError> {
        if volumes.len() > limits::SET_VOLUMES_MAX {
            return Err(StripesError::TooManyVolumes(volumes.len()));
        }
        let range_count = volumes.iter().map(Vec::len).sum();
        if range_count > limits::SET_RANGES_MAX {
            return Err(StripesError::TooManyRanges(range_count));
        }
        let mut places = Vec::with_capacity(range_count);
        let mut all = Vec::with_capacity(volumes.len());
        for (volume, ranges) in volumes.iter().enumerate() {
            let (mut firsts, mut count) = (Vec::with_capacity(ranges.len()), 0_u32);
            for range in ranges {
                if range.start >= range.end || range.end > chunk_count {
                    let Range { start, end } = *range;
                    return Err(StripesError::Range { volume, start, end, count: chunk_count });
                }
                firsts.push(count);
                places.push((range.clone(), volume, count));
                // Ranges that overlap may add up to more than there are; that they do is found out below.
                count = count.saturating_add(range.end - range.start);
            }
            all.push(Slots { ranges: ranges.clone(), firsts, count });
        }
        places.sort_by_key(|(range, ..)| range.start);
        if let Some(pair) = places.windows(2).find(|pair| pair[1].0.start < pair[0].0.end) {
            return Err(StripesError::Twice { chunk: pair[1].0.start });
        }
        let count = all.iter().map(|slots| slots.count).max().unwrap_or(0);
        Ok(Stripes { volumes: all, places, count })
    }

    /// How many volumes hold chunks.
    pub fn volume_count(&self) -> usize {
        self.volumes.len()
    }

    /// How many stripes there are: as many as the volume with most chunks has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many chunks a volume holds; none for one that does not exist.
    pub fn chunks_on(&self, volume: usize) -> u32 {
        self.volumes.get(volume).map_or(0, |slots| slots.count)
    }

    /// What a volume has in a stripe.
    pub fn member(&self, stripe: u32, volume: usize) -> Member {
        let Some(slots) = self.volumes.get(volume).filter(|slots| stripe < slots.count) else { return Member::Nothing };
        let at = slots.firsts.partition_point(|first| *first <= stripe) - 1;
        Member::Chunk(slots.ranges[at].start + (stripe - slots.firsts[at]))
    }

    /// The volume and the stripe of a chunk, where the set has it.
    pub fn place(&self, chunk: u32) -> Option<(usize, u32)> {
        let at = self.places.partition_point(|(range, ..)| range.start <= chunk).checked_sub(1)?;
        let (range, volume, first) = &self.places[at];
        range.contains(&chunk).then(|| (*volume, first + (chunk - range.start)))
    }

    /// The members of a stripe, volume by volume.
    pub fn members(&self, stripe: u32) -> impl Iterator<Item = Member> + '_ {
        (0..self.volumes.len()).map(move |volume| self.member(stripe, volume))
    }

    /// The bytes of a stripe's shards: those of its longest chunk, filled up to what the code works on.
    pub fn shard_len(&self, stripe: u32, chunk_len: &dyn Fn(u32) -> usize) -> usize {
        let longest = self.members(stripe).map(|member| match member {
            Member::Nothing => 0,
            Member::Chunk(chunk) => chunk_len(chunk),
        });
        longest.max().unwrap_or(0).next_multiple_of(ALIGN)
    }

    /// The stripes in which a chunk of the set is not in `have`, ascending.
    pub(super) fn incomplete(&self, have: &ChunkSet) -> Vec<u32> {
        let mut stripes = ChunkSet::empty(self.count);
        let mut chunk = 0;
        while let Some(missing) = have.first_missing(chunk) {
            if let Some((_, stripe)) = self.place(missing) {
                stripes.insert(stripe);
            }
            chunk = missing + 1;
        }
        stripes.iter().collect()
    }
}
