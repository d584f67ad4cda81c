//! Sorts any number of hashes in a bounded piece of memory: sorted runs go to a temporary file without a name, and are
//! merged from there through buffers that share the same memory.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    base::{Error, Result},
    kwil::digest::HashList,
};

type Hash = [u8; 32];

/// Hashes held in memory: 8 MiB.
const HELD_MAX: usize = (8 << 20) / size_of::<Hash>();
/// Hashes read from a run at once: 64 KiB, where there are not many in memory in all.
const READ_HASHES: usize = (64 << 10) / size_of::<Hash>();

/// The sorter, as a list that is filled and drained again and again.
#[derive(Debug)]
pub(crate) struct HashSorter {
    directory: PathBuf,
    /// How many may be held, at least three.
    held_max: usize,
    held: Vec<Hash>,
    spilled: Option<Runs>,
}

/// Sorted runs, one after the other in a file.
#[derive(Debug)]
struct Runs {
    file: File,
    /// How many hashes each run has.
    lengths: Vec<u64>,
    length: u64,
}

impl HashSorter {
    /// An empty list that spills into `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_memory(directory, HELD_MAX)
    }

    /// [`HashSorter::new`] with another bound.
    pub(crate) fn with_memory(directory: &Path, held_max: usize) -> Self {
        HashSorter { directory: directory.to_owned(), held_max: held_max.max(3), held: Vec::new(), spilled: None }
    }

    /// Runs merged at once.
    fn fan_in(&self) -> usize {
        (self.held_max / READ_HASHES).saturating_sub(1).max(2)
    }

    fn spill(&mut self) -> Result<()> {
        sort(&mut self.held);
        let runs = match &mut self.spilled {
            Some(runs) => runs,
            None => self.spilled.insert(Runs::new(&self.directory)?),
        };
        runs.begin();
        runs.append(&self.held).map_err(|e| cannot("write", &self.directory, e))?;
        self.held.clear();
        Ok(())
    }

    /// Merges a group of runs into one, over and over, until one merge is enough.
    fn reduce(&mut self, runs: Runs) -> Result<Runs> {
        let (mut runs, fan_in) = (runs, self.fan_in());
        while runs.lengths.len() > fan_in {
            let mut merged = Runs::new(&self.directory)?;
            let mut start = 0;
            for group in runs.lengths.chunks(fan_in) {
                merged.begin();
                let mut failed = Ok(());
                self.merge(&runs.file, start, group, &mut |hashes| {
                    if failed.is_ok() {
                        failed = merged.append(hashes);
                    }
                })?;
                failed.map_err(|e| cannot("write", &self.directory, e))?;
                start += group.iter().sum::<u64>();
            }
            runs = merged;
        }
        Ok(runs)
    }

    /// Merges runs that lie one after the other from `start` on.
    fn merge(&mut self, file: &File, start: u64, lengths: &[u64], give: &mut dyn FnMut(&[Hash])) -> Result<()> {
        self.held.clear();
        self.held.resize(self.held_max, [0; 32]);
        let failed = |e| cannot("read", &self.directory, e);
        let mut buffers = self.held.chunks_mut(self.held_max / (lengths.len() + 1));
        let mut at = start;
        let mut cursors = Vec::with_capacity(lengths.len());
        let mut heads = BinaryHeap::with_capacity(lengths.len());
        for (length, buffer) in lengths.iter().zip(&mut buffers) {
            let mut cursor = Cursor { file, at, end: at + length, buffer, next: 0, filled: 0 };
            at = cursor.end;
            if let Some(head) = cursor.next().map_err(failed)? {
                heads.push(Reverse((head, cursors.len())));
            }
            cursors.push(cursor);
        }
        let out = buffers.next().unwrap_or_default();
        let mut filled = 0;
        while let Some(mut top) = heads.peek_mut() {
            let Reverse((head, run)) = &mut *top;
            out[filled] = head.bytes();
            filled += 1;
            if filled == out.len() {
                give(out);
                filled = 0;
            }
            match cursors[*run].next().map_err(failed)? {
                Some(next) => *head = next,
                None => {
                    PeekMut::pop(top);
                }
            }
        }
        give(&out[..filled]);
        self.held.clear();
        Ok(())
    }
}

impl HashList for HashSorter {
    fn push(&mut self, hash: Hash) -> Result<()> {
        if self.held.len() == self.held_max {
            self.spill()?;
        }
        self.held.push(hash);
        Ok(())
    }

    fn drain(&mut self, give: &mut dyn FnMut(&[Hash])) -> Result<()> {
        if self.spilled.is_none() {
            sort(&mut self.held);
            give(&self.held);
            self.held.clear();
            return Ok(());
        }
        self.spill()?;
        let Some(runs) = self.spilled.take() else { return Ok(()) };
        let runs = self.reduce(runs)?;
        self.merge(&runs.file, 0, &runs.lengths, give)
    }
}

impl Runs {
    fn new(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(|e| cannot("make", directory, e))?;
        Ok(Runs { file, lengths: Vec::new(), length: 0 })
    }

    fn begin(&mut self) {
        self.lengths.push(0);
    }

    /// Adds to the last run.
    fn append(&mut self, hashes: &[Hash]) -> io::Result<()> {
        self.file.write_all_at(hashes.as_flattened(), offset(self.length))?;
        self.length += hashes.len() as u64;
        if let Some(last) = self.lengths.last_mut() {
            *last += hashes.len() as u64;
        }
        Ok(())
    }
}

fn offset(hashes: u64) -> u64 {
    hashes * size_of::<Hash>() as u64
}

fn cannot(what: &str, directory: &Path, e: io::Error) -> Error {
    let full = matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let what = if full {
        format!("{} is full: the rows' hashes cannot be sorted there", directory.display())
    } else {
        format!("cannot {what} a temporary file for the rows' hashes in {}", directory.display())
    };
    Error::failed(what).because(e).hint(
        "make room there, 64 bytes for each row, or name a directory with room in TMPDIR; `snapshot create` can leave \
         the digest out (--no-digest)",
    )
}

/// Part of a run in memory.
struct Cursor<'a> {
    file: &'a File,
    /// Of the next hash that is not in the buffer, and behind the run's last one.
    at: u64,
    end: u64,
    buffer: &'a mut [Hash],
    next: usize,
    filled: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> io::Result<Option<Head>> {
        if self.next == self.filled {
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            self.filled = left.min(self.buffer.len());
            if self.filled == 0 {
                return Ok(None);
            }
            self.file.read_exact_at(self.buffer[..self.filled].as_flattened_mut(), offset(self.at))?;
            self.at += self.filled as u64;
            self.next = 0;
        }
        self.next += 1;
        Ok(Some(Head::new(&self.buffer[self.next - 1])))
    }
}

/// A hash as four numbers, which compare faster than bytes and in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head([u64; 4]);

impl Head {
    fn new(hash: &Hash) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Head(words)
    }

    fn bytes(&self) -> Hash {
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        hash
    }
}

fn sort(hashes: &mut [Hash]) {
    let first = |hash: &Hash| Head::new(hash).0[0];
    hashes.sort_unstable_by(|a, b| match first(a).cmp(&first(b)) {
        Ordering::Equal => a.cmp(b),
        order => order,
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn drained(sorter: &mut HashSorter) -> Vec<Hash> {
        let mut all = Vec::new();
        sorter.drain(&mut |hashes| all.extend_from_slice(hashes)).unwrap();
        all
    }

    fn hash(n: u64) -> Hash {
        Sha256::digest(n.to_be_bytes()).into()
    }

    proptest! {
        #[test]
        fn any_list_comes_out_sorted_and_whole(
            numbers in prop::collection::vec(0_u64..50, 0..400),
            alike in any::<bool>(),
            held_max in 0_usize..40,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let mut sorter = HashSorter::with_memory(directory.path(), held_max);
            // Also hashes that differ only in their last bytes.
            let hashes: Vec<Hash> = numbers.iter().map(|n| if alike {
                let mut bytes = [7; 32];
                bytes[24..].copy_from_slice(&n.to_be_bytes());
                bytes
            } else {
                hash(*n)
            }).collect();
            let mut expected = hashes.clone();
            expected.sort_unstable();
            // Twice: a list is used again.
            for _ in 0..2 {
                for hash in &hashes {
                    sorter.push(*hash).unwrap();
                }
                prop_assert_eq!(&drained(&mut sorter), &expected);
            }
            prop_assert!(drained(&mut sorter).is_empty());
        }
    }

    #[test]
    fn several_passes_merge_many_runs() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = HashSorter::with_memory(directory.path(), 3);
        let mut expected: Vec<Hash> = (0..1000).map(hash).collect();
        for hash in &expected {
            sorter.push(*hash).unwrap();
        }
        assert!(sorter.spilled.as_ref().unwrap().lengths.len() > 300 && sorter.fan_in() == 2);
        expected.sort_unstable();
        assert_eq!(drained(&mut sorter), expected);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn what_is_held_never_grows_past_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = HashSorter::with_memory(directory.path(), 1 << 12);
        let mut last = [0; 32];
        for n in 0..100_000 {
            sorter.push(hash(n)).unwrap();
        }
        let mut count = 0;
        sorter
            .drain(&mut |hashes| {
                assert!(hashes.is_sorted() && hashes.first().is_none_or(|first| *first >= last));
                last = hashes.last().copied().unwrap_or(last);
                count += hashes.len();
            })
            .unwrap();
        assert_eq!(count, 100_000);
        assert!(sorter.held.capacity() <= 1 << 12, "{}", sorter.held.capacity());
    }

    #[test]
    fn a_directory_without_room_is_named() {
        let missing = Path::new("/proc/nowhere");
        let mut sorter = HashSorter::with_memory(missing, 3);
        let e = (0..10).find_map(|n| sorter.push(hash(n)).err()).unwrap();
        assert!(e.chain().contains("/proc/nowhere"), "{}", e.chain());
        let full = cannot("write", missing, io::Error::from(io::ErrorKind::StorageFull));
        assert!(full.chain().starts_with("/proc/nowhere is full"), "{}", full.chain());
        assert!(full.advice().unwrap().contains("TMPDIR"));
    }
}
