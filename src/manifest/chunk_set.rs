//! A set of chunks of one manifest, by number, kept as bits and said as ranges.

use std::ops::Range;

/// Chunk numbers below a fixed count.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl ChunkSet {
    /// A set that has none of `len` chunks.
    pub fn empty(len: u32) -> Self {
        ChunkSet { words: vec![0; (len as usize).div_ceil(64)], len, count: 0 }
    }

    /// A set that has every one of `len` chunks.
    pub fn full(len: u32) -> Self {
        let mut set = Self::empty(len);
        set.insert_range(0..len);
        set
    }

    /// How many chunks there are in all.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether none is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every one is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether `chunk` is in the set; false for numbers that do not exist.
    pub fn contains(&self, chunk: u32) -> bool {
        chunk < self.len && self.words[chunk as usize / 64] >> (chunk % 64) & 1 == 1
    }

    /// Adds a chunk; true if it was not there. Numbers that do not exist are ignored.
    pub fn insert(&mut self, chunk: u32) -> bool {
        let new = chunk < self.len && !self.contains(chunk);
        if new {
            self.words[chunk as usize / 64] |= 1 << (chunk % 64);
            self.count += 1;
        }
        new
    }

    /// Takes a chunk out; true if it was there.
    pub fn remove(&mut self, chunk: u32) -> bool {
        let there = self.contains(chunk);
        if there {
            self.words[chunk as usize / 64] &= !(1 << (chunk % 64));
            self.count -= 1;
        }
        there
    }

    /// Adds every chunk of another set of as many chunks.
    pub fn insert_all(&mut self, other: &ChunkSet) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word |= theirs;
        }
        self.recount();
    }

    /// Takes every chunk of another set of as many chunks out.
    pub fn remove_all(&mut self, other: &ChunkSet) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= !theirs;
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// Adds a range, cut at the number of chunks.
    pub fn insert_range(&mut self, range: Range<u32>) {
        for chunk in range.start..range.end.min(self.len) {
            self.insert(chunk);
        }
    }

    /// The chunks in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(i as u32 * 64 + bit)
            })
        })
    }

    /// First chunk at or after `from` that is *not* in the set.
    pub fn first_missing(&self, from: u32) -> Option<u32> {
        let mut chunk = from;
        while chunk < self.len {
            let word = !self.words[chunk as usize / 64] >> (chunk % 64);
            if word != 0 {
                let found = chunk + word.trailing_zeros();
                return (found < self.len).then_some(found);
            }
            chunk = (chunk / 64 + 1) * 64;
        }
        None
    }

    /// First chunk at or after `from` that is in this set and not in `other`, of as many chunks.
    pub fn first_not_in(&self, other: &ChunkSet, from: u32) -> Option<u32> {
        let first = from as usize / 64;
        let words = self.words.iter().zip(&other.words).enumerate().skip(first);
        words
            .map(|(i, (mine, theirs))| {
                let word = mine & !theirs;
                (i, if i == first { word >> (from % 64) << (from % 64) } else { word })
            })
            .find(|(_, word)| *word != 0)
            .map(|(i, word)| i as u32 * 64 + word.trailing_zeros())
    }

    /// The set as ranges, ascending, none touching the next.
    pub fn ranges(&self) -> Vec<Range<u32>> {
        ranges(self.iter())
    }
}

/// Ascending numbers as ranges.
pub fn ranges(chunks: impl IntoIterator<Item = u32>) -> Vec<Range<u32>> {
    let mut out: Vec<Range<u32>> = Vec::new();
    for chunk in chunks {
        match out.last_mut() {
            Some(last) if last.end == chunk => last.end += 1,
            _ => out.push(chunk..chunk + 1),
        }
    }
    out
}

impl std::fmt::Debug for ChunkSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkSet({} of {}: {:?})", self.count, self.len, self.ranges())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_say_the_same_set(len in 1u32..300, chunks in proptest::collection::vec(0u32..320, 0..200)) {
            let mut set = ChunkSet::empty(len);
            for c in &chunks { set.insert(*c); }
            let mut again = ChunkSet::empty(len);
            for r in set.ranges() { again.insert_range(r); }
            prop_assert_eq!(&set, &again);
            prop_assert_eq!(set.count() as usize, set.iter().count());
            for pair in set.ranges().windows(2) { prop_assert!(pair[0].end < pair[1].start); }
        }

        #[test]
        fn first_missing_agrees_with_a_plain_search(len in 1u32..200, chunks in proptest::collection::vec(0u32..200, 0..200), from in 0u32..220) {
            let mut set = ChunkSet::empty(len);
            for c in &chunks { set.insert(*c); }
            prop_assert_eq!(set.first_missing(from), (from..len).find(|c| !set.contains(*c)));
        }
    }

    proptest! {
        #[test]
        fn first_not_in_agrees_with_a_plain_search(len in 1u32..200, a in proptest::collection::vec(0u32..200, 0..200), b in proptest::collection::vec(0u32..200, 0..200), from in 0u32..220) {
            let (mut mine, mut theirs) = (ChunkSet::empty(len), ChunkSet::empty(len));
            for c in a { mine.insert(c); }
            for c in b { theirs.insert(c); }
            let plain = (from..len).find(|c| mine.contains(*c) && !theirs.contains(*c));
            prop_assert_eq!(mine.first_not_in(&theirs, from), plain);
        }
    }

    #[test]
    fn numbers_that_do_not_exist_stay_out() {
        let mut set = ChunkSet::empty(65);
        assert!(!set.insert(65));
        set.insert_range(60..1000);
        assert_eq!(set.count(), 5);
        assert!(ChunkSet::full(65).is_full());
        assert!(set.remove(64) && !set.remove(64));
    }
}
