//! The sorted hashes of every row beside a digest: how many signed rows are missing elsewhere, and how many are new there.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex},
};

use super::super::sorter::HashSorter;
use crate::{
    base::{Context, Error, Result},
    kwil::{confirm::StateFacts, digest::HashList},
};

type Hash = [u8; 32];

/// Read at once of each side.
const READ_HASHES: usize = 2048;

/// What was written so far.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    hashes: u64,
    tables: BTreeMap<String, (u64, u64)>,
}

/// A sorter that keeps what it gives.
#[derive(Debug)]
pub(super) struct Recorder {
    sorter: HashSorter,
    log: Option<Arc<Mutex<Log>>>,
    table: Option<String>,
}

impl Recorder {
    /// Keeps nothing.
    pub(super) fn plain(sorter: HashSorter) -> Self {
        Recorder { sorter, log: None, table: None }
    }

    /// Keeps the hashes of every table in a file without a name.
    pub(super) fn keeping(sorter: HashSorter, spill: &Path) -> Result<(Self, Arc<Mutex<Log>>)> {
        let file = tempfile::tempfile_in(spill)
            .or_failed(|| format!("cannot make a temporary file in {}", spill.display()))
            .map_err(room)?;
        let log = Arc::new(Mutex::new(Log { file, hashes: 0, tables: BTreeMap::new() }));
        Ok((Recorder { sorter, log: Some(log.clone()), table: None }, log))
    }
}

fn room(e: Error) -> Error {
    e.hint("make room there, 96 bytes for each row of both states, or name a directory with room in TMPDIR")
}

impl HashList for Recorder {
    fn push(&mut self, hash: Hash) -> Result<()> {
        self.sorter.push(hash)
    }

    fn of_table(&mut self, name: &str) {
        self.table = Some(name.to_owned());
    }

    fn drain(&mut self, give: &mut dyn FnMut(&[Hash])) -> Result<()> {
        let (Some(log), Some(table)) = (&self.log, self.table.take()) else { return self.sorter.drain(give) };
        let mut log = log.lock().map_err(|_| Error::failed("a thread of the digest ended early"))?;
        let start = log.hashes;
        let mut failed: io::Result<()> = Ok(());
        self.sorter.drain(&mut |hashes| {
            give(hashes);
            if failed.is_ok() {
                failed = log.file.write_all_at(hashes.as_flattened(), offset(log.hashes));
                log.hashes += hashes.len() as u64;
            }
        })?;
        failed.or_failed(|| "cannot keep the rows' hashes in a temporary file").map_err(room)?;
        let count = log.hashes - start;
        log.tables.insert(table, (start, count));
        Ok(())
    }
}

fn offset(hashes: u64) -> u64 {
    hashes * size_of::<Hash>() as u64
}

/// What is known of a state beyond its digest.
#[derive(Debug)]
pub struct Witness {
    log: Log,
    /// What its text tells.
    pub facts: StateFacts,
}

impl Witness {
    pub(super) fn new(log: Arc<Mutex<Log>>, facts: StateFacts) -> Result<Self> {
        let gone = || Error::failed("the rows' hashes are still being written");
        let log = Arc::into_inner(log).ok_or_else(gone)?.into_inner().map_err(|_| gone())?;
        Ok(Witness { log, facts })
    }

    /// Rows of a table that are here and not there, and there and not here; equal rows count as often as they come.
    ///
    /// # Errors
    /// When the hashes cannot be read back.
    pub fn compare(&self, there: &Witness, table: &str) -> Result<(u64, u64)> {
        let (mut ours, mut theirs) = (self.rows(table), there.rows(table));
        let (mut only_here, mut only_there) = (0, 0);
        let (mut a, mut b) = (ours.next()?, theirs.next()?);
        loop {
            match (a, b) {
                (None, None) => return Ok((only_here, only_there)),
                (Some(x), Some(y)) if x.cmp(&y) == Ordering::Equal => (a, b) = (ours.next()?, theirs.next()?),
                (Some(x), Some(y)) if x < y => (only_here, a) = (only_here + 1, ours.next()?),
                (Some(_), None) => (only_here, a) = (only_here + 1, ours.next()?),
                (_, Some(_)) => (only_there, b) = (only_there + 1, theirs.next()?),
            }
        }
    }

    fn rows(&self, table: &str) -> Rows<'_> {
        let (start, count) = self.log.tables.get(table).copied().unwrap_or((0, 0));
        Rows { file: &self.log.file, at: start, end: start + count, held: Vec::new(), next: 0 }
    }
}

struct Rows<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    held: Vec<Hash>,
    next: usize,
}

impl Rows<'_> {
    fn next(&mut self) -> Result<Option<Hash>> {
        if self.next == self.held.len() {
            let wanted = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(READ_HASHES);
            self.held.resize(wanted, [0; 32]);
            let read = self.file.read_exact_at(self.held.as_flattened_mut(), offset(self.at));
            read.or_failed(|| "cannot read the rows' hashes back")?;
            self.at += wanted as u64;
            self.next = 0;
        }
        let hash = self.held.get(self.next).copied();
        self.next += 1;
        if hash.is_none() {
            self.next = 0;
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::digest::StateDigester;

    fn witness(rows: &[&str]) -> Witness {
        let spill = tempfile::tempdir().unwrap();
        let mut digester = StateDigester::witnessing(spill.path()).unwrap();
        let text = format!("CREATE SCHEMA kwild_voting;\nCOPY a.t (x) FROM stdin;\n{}\\.\n", rows.concat());
        digester.push(text.as_bytes()).unwrap();
        digester.finish_witnessed().unwrap().1
    }

    #[test]
    fn rows_are_counted_on_both_sides() {
        let here = witness(&["1\n", "2\n", "2\n", "3\n"]);
        assert_eq!(here.compare(&witness(&["3\n", "2\n", "1\n", "2\n"]), "a.t").unwrap(), (0, 0));
        assert_eq!(here.compare(&witness(&["1\n", "2\n", "4\n", "5\n", "6\n"]), "a.t").unwrap(), (2, 3));
        assert_eq!(here.compare(&witness(&[]), "a.t").unwrap(), (4, 0));
        assert_eq!(witness(&[]).compare(&here, "a.t").unwrap(), (0, 4));
        assert_eq!(here.compare(&here, "no.table").unwrap(), (0, 0));
    }

    #[test]
    fn more_rows_than_are_read_at_once() {
        let many: Vec<String> = (0..5000).map(|n| format!("{n}\n")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(witness(&all).compare(&witness(&all[7..]), "a.t").unwrap(), (7, 0));
        assert_eq!(witness(&all[9..]).compare(&witness(&all), "a.t").unwrap(), (0, 9));
    }
}
