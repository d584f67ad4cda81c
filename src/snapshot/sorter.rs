//! Sorts any number of hashes in a bounded piece of memory: in go hashes list by list, out comes each list's BLAKE3
//! sum. Sorted runs go to a temporary file without a name, and are merged from there through buffers that share a piece
//! of memory of the same size. One list is merged, on a thread of its own, while the next one fills.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use kwil_formats::dump::digest::{HashList, Sum};

use super::hash_log::{HashLog, Place};
use crate::base::{Advice, Blake3Hash, Error, Next, Result};

type Hash = [u8; 32];

/// Hashes held in memory while a list fills, and as many while one is merged: 2 MiB each.
const HELD_MAX: usize = (2 << 20) / size_of::<Hash>();
/// Hashes that are read from one run at once (32 KiB), or fewer where fewer may be in memory.
const READ_HASHES: usize = (32 << 10) / size_of::<Hash>();

/// The sorter: a list that is filled and summed again and again. Dropping it ends its merging thread.
#[derive(Debug)]
pub(crate) struct HashSorter {
    directory: PathBuf,
    /// Hashes that may be held in memory, at least three.
    held_max: usize,
    /// Hashes of the list that are in memory, unsorted.
    held: Vec<Hash>,
    /// Sorted runs of the list on the disk; `None` while all of it fits into memory.
    spilled: Option<Runs>,
    /// The way to the merging thread; `None` until the first list is too long for the memory.
    merger: Option<SyncSender<Order>>,
    /// Where the sorted hashes of tables are kept for later; `None` where only their sums are wanted.
    log: Option<Arc<HashLog>>,
}

/// Runs that are to be merged and summed, and where the sum is awaited.
#[derive(Debug)]
struct Order {
    runs: Runs,
    into: Destination,
    done: SyncSender<Result<Blake3Hash>>,
}

/// Where a list's sorted hashes go: into its sum and, where they are kept, into the log.
#[derive(Debug)]
struct Destination {
    hasher: blake3::Hasher,
    place: Option<Place>,
}

impl Destination {
    fn take(&mut self, hashes: &[Hash]) -> Result<()> {
        self.hasher.update(hashes.as_flattened());
        self.place.as_mut().map_or(Ok(()), |place| place.write(hashes))
    }

    fn finish(&self) -> Blake3Hash {
        Blake3Hash::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

/// A list's sum: at hand already, or awaited from the merging thread.
#[derive(Debug)]
pub(crate) enum SorterSum {
    Done(Blake3Hash),
    UnderWay(Receiver<Result<Blake3Hash>>),
}

impl Sum for SorterSum {
    fn wait(self) -> Result<Blake3Hash> {
        match self {
            SorterSum::Done(hash) => Ok(hash),
            SorterSum::UnderWay(done) => done.recv().map_err(|_| merger_ended())?,
        }
    }
}

fn merger_ended() -> Error {
    Error::failed("sorting the rows' hashes ended early")
}

/// Sorted runs of one list, one after the other in a file without a name.
#[derive(Debug)]
struct Runs {
    file: File,
    /// The number of hashes of each run.
    lengths: Vec<u64>,
    /// The number of hashes of all runs.
    length: u64,
}

impl HashSorter {
    /// An empty list, whose runs go to files in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_memory(directory, HELD_MAX)
    }

    /// [`HashSorter::new`], but with this many hashes (at least three) held in memory.
    pub(crate) fn with_memory(directory: &Path, held_max: usize) -> Self {
        let directory = directory.to_owned();
        HashSorter { directory, held_max: held_max.max(3), held: Vec::new(), spilled: None, merger: None, log: None }
    }

    /// [`HashSorter::new`], which also keeps the sorted hashes of tables in `log`.
    pub(crate) fn keeping(directory: &Path, log: Arc<HashLog>) -> Self {
        HashSorter { log: Some(log), ..Self::new(directory) }
    }

    /// Sorts the hashes in memory and writes them to the disk as one more run.
    fn spill(&mut self) -> Result<()> {
        sort_hashes(&mut self.held);
        let runs = match &mut self.spilled {
            Some(runs) => runs,
            None => self.spilled.insert(Runs::new(&self.directory)?),
        };
        runs.begin();
        runs.append(&self.held).map_err(|e| cannot("write", &self.directory, e))?;
        self.held.clear();
        Ok(())
    }

    /// Gives runs to the merging thread. Waits until it is free:
    /// no more than one list is merged while another one fills.
    fn merge(&mut self, order: Order) -> Result<()> {
        let merger = match &self.merger {
            Some(merger) => merger,
            None => {
                let merger = Merger { directory: self.directory.clone(), held_max: self.held_max };
                let (orders, take_order) = sync_channel::<Order>(0);
                let work = move || {
                    for Order { runs, into, done } in take_order {
                        // Nobody waits any more where the digest failed.
                        let _ = done.send(merger.sum(runs, into));
                    }
                };
                let name = "digest-merge".to_owned();
                thread::Builder::new().name(name).spawn(work).map_err(|e| merger_ended().because(e))?;
                self.merger.insert(orders)
            }
        };
        merger.send(order).map_err(|_| merger_ended())
    }
}

impl HashList for HashSorter {
    type Sum = SorterSum;

    fn push(&mut self, hash: Hash) -> Result<()> {
        if self.held.len() == self.held_max {
            self.spill()?;
        }
        self.held.push(hash);
        Ok(())
    }

    fn sum(&mut self, table: Option<&str>, hasher: blake3::Hasher) -> Result<SorterSum> {
        let count = self.held.len() as u64 + self.spilled.as_ref().map_or(0, |runs| runs.length);
        let place = self.log.as_ref().zip(table).map(|(log, table)| log.place(table, count));
        let mut into = Destination { hasher, place };
        if self.spilled.is_some() {
            self.spill()?;
        }
        if let Some(runs) = self.spilled.take() {
            let (done, sum) = sync_channel(1);
            self.merge(Order { runs, into, done })?;
            return Ok(SorterSum::UnderWay(sum));
        }
        sort_hashes(&mut self.held);
        into.take(&self.held)?;
        self.held.clear();
        Ok(SorterSum::Done(into.finish()))
    }
}

/// Merges runs through a piece of memory of `held_max` hashes; temporary files are made in `directory`.
#[derive(Debug)]
struct Merger {
    directory: PathBuf,
    held_max: usize,
}

impl Merger {
    fn sum(&self, runs: Runs, mut into: Destination) -> Result<Blake3Hash> {
        let mut memory = vec![[0; 32]; self.held_max];
        let runs = self.reduce(runs, &mut memory)?;
        let mut failed = Ok(());
        self.merge(&mut memory, &runs.file, 0, &runs.lengths, &mut |hashes| {
            if failed.is_ok() {
                failed = into.take(hashes);
            }
        })?;
        failed.map(|()| into.finish())
    }

    /// The number of runs that are merged at once, at least two: each has a buffer, and so has what is written.
    fn fan_in(&self) -> usize {
        (self.held_max / READ_HASHES).saturating_sub(1).max(2)
    }

    /// Merges groups of runs into longer runs, over and over, until one merge is enough.
    fn reduce(&self, runs: Runs, memory: &mut [Hash]) -> Result<Runs> {
        let (mut runs, fan_in) = (runs, self.fan_in());
        while runs.lengths.len() > fan_in {
            let mut merged = Runs::new(&self.directory)?;
            let mut start = 0;
            for group in runs.lengths.chunks(fan_in) {
                merged.begin();
                let mut failed = Ok(());
                self.merge(memory, &runs.file, start, group, &mut |hashes| {
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

    /// Merges runs that lie in `file` one after the other from the hash with
    /// the number `start` on, and gives their hashes in order, many at once.
    fn merge(
        &self,
        memory: &mut [Hash],
        file: &File,
        start: u64,
        lengths: &[u64],
        give: &mut dyn FnMut(&[Hash]),
    ) -> Result<()> {
        let failed = |e| cannot("read", &self.directory, e);
        let mut buffers = memory.chunks_mut(self.held_max / (lengths.len() + 1));
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
        Ok(())
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

    /// Appends hashes to the last run.
    fn append(&mut self, hashes: &[Hash]) -> io::Result<()> {
        self.file.write_all_at(hashes.as_flattened(), byte_offset(self.length))?;
        self.length += hashes.len() as u64;
        if let Some(last) = self.lengths.last_mut() {
            *last += hashes.len() as u64;
        }
        Ok(())
    }
}

fn byte_offset(hashes: u64) -> u64 {
    hashes * size_of::<Hash>() as u64
}

fn cannot(what: &str, directory: &Path, e: io::Error) -> Error {
    let full = matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let what = if full {
        format!("{} is full: the rows' hashes cannot be sorted there", directory.display())
    } else {
        format!("cannot {what} a temporary file for the rows' hashes in {}", directory.display())
    };
    let room = "make room there, 64 bytes for each row, or name a directory with room in TMPDIR";
    Error::failed(what).because(e).hint(Advice::from(room).and(Next::WithoutDigest))
}

/// A run that is being merged, part of it in memory.
struct Cursor<'a> {
    file: &'a File,
    /// The number of the run's next hash in the file that is not in the buffer, and of the one behind its last.
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
            self.file.read_exact_at(self.buffer[..self.filled].as_flattened_mut(), byte_offset(self.at))?;
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

fn sort_hashes(hashes: &mut [Hash]) {
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

    /// What the list's sum is over.
    fn sum_of(sorter: &mut HashSorter) -> Blake3Hash {
        sorter.sum(None, blake3::Hasher::new()).unwrap().wait().unwrap()
    }

    fn expected(hashes: &[Hash]) -> Blake3Hash {
        let mut sorted = hashes.to_vec();
        sorted.sort_unstable();
        Blake3Hash::from_bytes(*blake3::hash(sorted.as_flattened()).as_bytes())
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
            // Twice: a list is used again, here while the first one may still be merged.
            let sums: Vec<SorterSum> = (0..2)
                .map(|_| {
                    for hash in &hashes {
                        sorter.push(*hash).unwrap();
                    }
                    sorter.sum(None, blake3::Hasher::new()).unwrap()
                })
                .collect();
            for sum in sums {
                prop_assert_eq!(sum.wait().unwrap(), expected(&hashes));
            }
            prop_assert_eq!(sum_of(&mut sorter), expected(&[]));
        }
    }

    #[test]
    fn several_passes_merge_many_runs() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = HashSorter::with_memory(directory.path(), 3);
        let hashes: Vec<Hash> = (0..1000).map(hash).collect();
        for hash in &hashes {
            sorter.push(*hash).unwrap();
        }
        assert!(sorter.spilled.as_ref().unwrap().lengths.len() > 300);
        let merger = Merger { directory: directory.path().to_owned(), held_max: 3 };
        assert_eq!(merger.fan_in(), 2);
        assert_eq!(sum_of(&mut sorter), expected(&hashes));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn what_is_held_never_grows_past_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = HashSorter::with_memory(directory.path(), 1 << 12);
        let hashes: Vec<Hash> = (0..100_000).map(hash).collect();
        for hash in &hashes {
            sorter.push(*hash).unwrap();
        }
        assert!(sorter.held.capacity() <= 1 << 12, "{}", sorter.held.capacity());
        assert_eq!(sum_of(&mut sorter), expected(&hashes));
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
        assert!(format!("{:?}", full.advice()).contains("TMPDIR"));
    }
}
