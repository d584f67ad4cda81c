//! Chunks in order of how many have them: the rarest is at hand, and a chunk that one more has, or one less, moves by one exchange.

use rand::{Rng, rngs::SmallRng};

/// A place that there is none.
const NOWHERE: u32 = u32::MAX;

/// Some chunks, each at the level of how many have it.
#[derive(Debug)]
pub(super) struct Rarity {
    /// The chunks, those of a lower level before those of a higher one.
    order: Vec<u32>,
    /// Where each chunk is in `order`.
    place: Vec<u32>,
    /// The level of each chunk; kept for those that are not in `order`, too.
    level: Vec<u16>,
    /// Where each level ends in `order`.
    ends: Vec<u32>,
}

impl Rarity {
    pub(super) fn new(chunks: u32) -> Self {
        Rarity {
            order: Vec::new(),
            place: vec![NOWHERE; chunks as usize],
            level: vec![0; chunks as usize],
            ends: vec![0],
        }
    }

    pub(super) fn contains(&self, chunk: u32) -> bool {
        self.place[chunk as usize] != NOWHERE
    }

    pub(super) fn level(&self, chunk: u32) -> u16 {
        self.level[chunk as usize]
    }

    /// The chunks of `level` and above, the rarest first.
    pub(super) fn at_least(&self, level: u16) -> &[u32] {
        let start = if level == 0 { 0 } else { self.end(level - 1) };
        &self.order[start..]
    }

    /// How many chunks are below `level`.
    pub(super) fn below(&self, level: u16) -> usize {
        if level == 0 { 0 } else { self.end(level - 1) }
    }

    fn end(&self, level: u16) -> usize {
        self.ends.get(usize::from(level)).map_or(self.order.len(), |end| *end as usize)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.place[self.order[a] as usize] = a as u32;
        self.place[self.order[b] as usize] = b as u32;
    }

    /// Puts a chunk in, at a random place among those of its level: not everyone shall take the same one first.
    pub(super) fn insert(&mut self, chunk: u32, rng: &mut SmallRng) {
        if self.contains(chunk) {
            return;
        }
        let level = usize::from(self.level[chunk as usize]);
        let len = self.order.len() as u32;
        while self.ends.len() <= level {
            self.ends.push(len);
        }
        let mut hole = self.order.len();
        self.order.push(chunk);
        self.place[chunk as usize] = hole as u32;
        for above in (level + 1..self.ends.len()).rev() {
            let first = self.ends[above - 1] as usize;
            self.swap(hole, first);
            self.ends[above] += 1;
            hole = first;
        }
        self.ends[level] += 1;
        let start = if level == 0 { 0 } else { self.ends[level - 1] as usize };
        self.swap(hole, rng.random_range(start..=hole));
    }

    pub(super) fn remove(&mut self, chunk: u32) {
        if !self.contains(chunk) {
            return;
        }
        let mut hole = self.place[chunk as usize] as usize;
        for level in usize::from(self.level[chunk as usize])..self.ends.len() {
            self.ends[level] -= 1;
            let last = self.ends[level] as usize;
            self.swap(hole, last);
            hole = last;
        }
        self.order.pop();
        self.place[chunk as usize] = NOWHERE;
    }

    /// One more has it.
    pub(super) fn raise(&mut self, chunk: u32) {
        let level = usize::from(self.level[chunk as usize]);
        self.level[chunk as usize] += 1;
        if !self.contains(chunk) {
            return;
        }
        if self.ends.len() == level + 1 {
            self.ends.push(self.order.len() as u32);
        }
        let last = self.ends[level] as usize - 1;
        self.swap(self.place[chunk as usize] as usize, last);
        self.ends[level] -= 1;
    }

    /// One less has it.
    pub(super) fn lower(&mut self, chunk: u32) {
        let level = usize::from(self.level[chunk as usize]);
        if level == 0 {
            return;
        }
        self.level[chunk as usize] -= 1;
        if !self.contains(chunk) {
            return;
        }
        let first = self.ends[level - 1] as usize;
        self.swap(self.place[chunk as usize] as usize, first);
        self.ends[level - 1] += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_sort(seed: u64, steps in proptest::collection::vec((0u32..40, 0u8..4), 0..400)) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut rarity = Rarity::new(40);
            let (mut inside, mut levels) = ([false; 40], [0u16; 40]);
            for (chunk, what) in steps {
                let at = chunk as usize;
                match what {
                    0 => { rarity.insert(chunk, &mut rng); inside[at] = true; }
                    1 => { rarity.remove(chunk); inside[at] = false; }
                    2 => { rarity.raise(chunk); levels[at] += 1; }
                    _ => { rarity.lower(chunk); levels[at] = levels[at].saturating_sub(1); }
                }
                let order = rarity.at_least(0);
                prop_assert!(order.is_sorted_by_key(|c| levels[*c as usize]));
                prop_assert_eq!(order.len(), inside.iter().filter(|i| **i).count());
                for chunk in 0..40u32 {
                    prop_assert_eq!(rarity.contains(chunk), inside[chunk as usize]);
                    prop_assert_eq!(rarity.level(chunk), levels[chunk as usize]);
                    prop_assert_eq!(order.contains(&chunk), inside[chunk as usize]);
                }
                for level in 0..6 {
                    prop_assert_eq!(rarity.below(level), order.iter().filter(|c| levels[**c as usize] < level).count());
                }
            }
        }
    }
}
