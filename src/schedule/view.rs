//! What can be seen of the swarm from one node, for people. It is looked at once a second at most and decides nothing, so that it may walk
//! all chunks.

use std::{ops::Range, time::Duration};

use super::{PeerId, Scheduler};
use crate::manifest::ChunkSet;

/// Pieces into which the chunks are cut for a picture, at most.
const CELLS_MAX: u32 = 128;

/// How the chunks are spread over the nodes that are seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// Chunks in all.
    pub chunks: u32,
    /// Those that one node has and no other, this one counted.
    pub single: u32,
    /// Those that fewer than two nodes beside this one have: with none of them any one node may leave.
    pub thin: u32,
    /// Of what this node lacks, what only those have that came with everything.
    pub behind_seeds: u32,
    /// Of what this node lacks, what nobody has who is here.
    pub nowhere: u32,
    /// A picture of it: the chunks in order, some to a cell.
    pub cells: Vec<Cell>,
}

/// Some chunks that follow on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// How many ninths of them this node has: 9 is all, and 0 none or nearly none.
    pub own: u8,
    /// How many other nodes have the one of them that fewest have; 9 is nine or more.
    pub others: u8,
}

/// One peer, as the scheduler knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerSpread {
    /// Chunks that it says it has.
    pub chunks: u32,
    /// The time from a request of ours to its chunk, smoothed; `None` where none came yet.
    pub flight: Option<Duration>,
}

/// The chunks in order, cut into pieces for a picture.
pub fn cells(chunks: u32) -> impl Iterator<Item = Range<u32>> {
    let cells = chunks.min(CELLS_MAX);
    let begin = move |cell: u32| (u64::from(cell) * u64::from(chunks) / u64::from(cells)) as u32;
    (0..cells).map(move |cell| begin(cell)..begin(cell + 1))
}

/// How many chunks of each cell came from somebody: as small for many chunks as for few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(Vec<u32>);

impl Parts {
    /// One of so many chunks came.
    pub fn add(&mut self, chunks: u32, chunk: u32) {
        let cells = u64::from(chunks.min(CELLS_MAX));
        self.0.resize(cells as usize, 0);
        // The last cell that does not begin behind it.
        let cell = ((u64::from(chunk) + 1) * cells).saturating_sub(1) / u64::from(chunks.max(1));
        if let Some(count) = self.0.get_mut(cell as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// The chunks of each cell, in the order of [`cells`]; nothing where none came.
    pub fn counts(&self) -> &[u32] {
        &self.0
    }
}

/// How many ninths of some chunks are there.
pub fn ninths(have: &ChunkSet, range: Range<u32>) -> u8 {
    let count = range.clone().filter(|chunk| have.contains(*chunk)).count();
    (count * 9 / range.len().max(1)) as u8
}

impl Scheduler {
    /// How the chunks are spread.
    pub fn spread(&self) -> Spread {
        let chunks = self.have.len();
        let complete = self.peers.values().filter(|p| p.came_complete && p.is_seed()).count();
        let others = |chunk| usize::from(self.missing.level(chunk)) + complete;
        let mut spread = Spread { chunks, nowhere: self.nowhere(), ..Spread::default() };
        for chunk in 0..chunks {
            let own = self.have.contains(chunk);
            spread.single += u32::from(others(chunk) + usize::from(own) == 1);
            spread.thin += u32::from(others(chunk) < 2);
            spread.behind_seeds += u32::from(!own && complete > 0 && self.missing.level(chunk) == 0);
        }
        let others_of = |range: Range<u32>| range.map(others).min().unwrap_or(0).min(9) as u8;
        spread.cells = cells(chunks)
            .map(|range| Cell { own: ninths(&self.have, range.clone()), others: others_of(range) })
            .collect();
        spread
    }

    /// What is known of a peer; `None`: it is not here.
    pub fn peer_spread(&self, id: PeerId) -> Option<PeerSpread> {
        let peer = self.peers.get(&id)?;
        Some(PeerSpread { chunks: peer.has.count(), flight: (!peer.flight.is_zero()).then_some(peer.flight) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Effect, Input};

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_seed_sees_when_it_may_leave_as_the_scheduler_judges_it() {
        let mut seed = Scheduler::new(ChunkSet::full(300), 1, 64, 7);
        assert_eq!((seed.spread().single, seed.spread().thin), (300, 300));
        for id in [1, 2] {
            seed.handle(at(1), Input::Connected(id));
        }
        seed.handle(at(2), Input::Haves(1, vec![0..300]));
        let spread = seed.spread();
        assert_eq!((spread.single, spread.thin), (0, 300), "one other has all of it");
        seed.handle(at(3), Input::Haves(2, vec![0..100]));
        let spread = seed.spread();
        assert_eq!((spread.thin, spread.cells.len()), (200, CELLS_MAX as usize));
        assert_eq!(spread.cells[0], Cell { own: 9, others: 2 });
        assert_eq!(spread.cells.last(), Some(&Cell { own: 9, others: 1 }));
        seed.handle(at(4), Input::Haves(2, vec![100..300]));
        seed.handle(at(200), Input::Tick);
        let judged = std::iter::from_fn(|| seed.poll_effect()).any(|effect| effect == Effect::EveryChunkOut(true));
        assert!(judged && seed.spread().thin == 0);
        assert_eq!(seed.peer_spread(2), Some(PeerSpread { chunks: 300, flight: None }));
        seed.handle(at(201), Input::Gone(2));
        assert_eq!((seed.spread().thin, seed.peer_spread(2)), (300, None));
    }

    #[test]
    fn a_chunk_counts_in_the_cell_that_holds_it() {
        for chunks in [1, 2, 127, 128, 129, 629, 100_000] {
            let mut parts = Parts::default();
            (0..chunks).for_each(|chunk| parts.add(chunks, chunk));
            let sizes: Vec<u32> = cells(chunks).map(|range| range.len() as u32).collect();
            assert_eq!(parts.counts(), sizes, "{chunks}");
        }
        let mut none = Parts::default();
        none.add(0, 0);
        none.add(5, 9);
        assert_eq!(none.counts(), [0; 5]);
    }

    #[test]
    fn a_fetcher_sees_what_only_seeds_have_and_what_nobody_has() {
        let mut node = Scheduler::new(ChunkSet::empty(10), 1, 64, 7);
        assert_eq!((node.spread().nowhere, node.spread().single), (10, 0));
        node.handle(at(1), Input::Connected(1));
        node.handle(at(1), Input::Haves(1, vec![0..10]));
        node.handle(at(1), Input::Connected(2));
        node.handle(at(1), Input::Haves(2, vec![0..4]));
        let spread = node.spread();
        assert_eq!((spread.behind_seeds, spread.nowhere, spread.single), (6, 0, 6));
        assert_eq!(spread.cells[0], Cell { own: 0, others: 2 });
        assert!(Scheduler::new(ChunkSet::empty(0), 1, 64, 7).spread().cells.is_empty());
    }
}
