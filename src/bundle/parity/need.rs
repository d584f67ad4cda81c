//! Which volumes are still needed.

use super::{Member, Shape, Stripes};
use crate::manifest::ChunkSet;

/// What is at hand of a set's volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volumes {
    /// Which data volumes were read; what they have that is sound is among the chunks that are had.
    pub data: Vec<bool>,
    /// For each parity volume that was read, the stripes whose shard is of no use; nothing for one that was not.
    pub parity: Vec<Option<ChunkSet>>,
}

/// What completes a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Every chunk is there.
    Nothing,
    /// Parity that is at hand restores the rest.
    Restoring,
    /// Volumes that were not read yet: any so many of those named, by number, data volumes first and parity volumes after them.
    Volumes {
        /// How many of them.
        any: usize,
        /// Those that help.
        of: Vec<usize>,
    },
    /// More members of some stripe are bad on the volumes that were read than parity makes up for, even with all that were not: these
    /// volumes have to be made anew, or read where they can be read better.
    Anew {
        /// Volumes with bad members in such stripes, by number as above.
        volumes: Vec<usize>,
    },
}

/// What completes the set, with the chunks of `have`.
pub fn need(shape: Shape, stripes: &Stripes, have: &ChunkSet, at_hand: &Volumes) -> Need {
    let incomplete = stripes.incomplete(have);
    if incomplete.is_empty() {
        return Need::Nothing;
    }
    let mut short = Vec::new();
    let mut anew = Vec::new();
    for stripe in incomplete {
        let state = Stripe::of(shape, stripes, have, at_hand, stripe);
        if state.deficit == 0 {
            continue;
        }
        if state.deficit > state.helpers.len() {
            anew.extend(state.bad);
        }
        short.push((state.deficit, state.helpers));
    }
    if !anew.is_empty() {
        anew.sort_unstable();
        anew.dedup();
        return Need::Anew { volumes: anew };
    }
    let mut of: Vec<usize> = short.iter().flat_map(|(_, helpers)| helpers.iter().copied()).collect();
    of.sort_unstable();
    of.dedup();
    // Whichever are chosen, those left out may be the ones that help a stripe.
    let worst = short.iter().map(|(deficit, helpers)| deficit + of.len() - helpers.len());
    match worst.max() {
        None => Need::Restoring,
        Some(any) => Need::Volumes { any, of },
    }
}

/// A stripe with a chunk that is not there.
struct Stripe {
    /// Members that are lacking beyond what parity at hand makes up for.
    deficit: usize,
    /// Volumes not read yet that have a member that helps.
    helpers: Vec<usize>,
    /// Volumes that were read and whose member is bad.
    bad: Vec<usize>,
}

impl Stripe {
    fn of(shape: Shape, stripes: &Stripes, have: &ChunkSet, at_hand: &Volumes, stripe: u32) -> Self {
        let (mut lost, mut sound_shards) = (0_usize, 0);
        let (mut helpers, mut bad) = (Vec::new(), Vec::new());
        for (volume, member) in stripes.members(stripe).enumerate() {
            if matches!(member, Member::Chunk(chunk) if !have.contains(chunk)) {
                lost += 1;
                let seen = at_hand.data.get(volume).copied().unwrap_or(false);
                if seen { &mut bad } else { &mut helpers }.push(volume);
            }
        }
        for volume in 0..shape.parity {
            let number = shape.data + volume;
            match at_hand.parity.get(volume).and_then(Option::as_ref) {
                None => helpers.push(number),
                Some(bad_stripes) if bad_stripes.contains(stripe) => bad.push(number),
                Some(_) => sound_shards += 1,
            }
        }
        Stripe { deficit: lost.saturating_sub(sound_shards), helpers, bad }
    }
}
