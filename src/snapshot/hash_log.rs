//! The sorted hashes of tables' rows in a file without a name.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::base::{Context, Error, Result};

type Hash = [u8; 32];

/// Read at once.
const READ_HASHES: usize = 2048;

/// Hashes by table.
#[derive(Debug)]
pub(super) struct HashLog {
    file: File,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    hashes: u64,
    /// Where a table's begin, and how many they are.
    tables: BTreeMap<String, (u64, u64)>,
}

/// Where the hashes of a table go.
#[derive(Debug)]
pub(super) struct Place {
    log: Arc<HashLog>,
    at: u64,
}

impl HashLog {
    /// An empty one in a directory.
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory)
            .or_failed(|| format!("cannot make a temporary file in {}", directory.display()))
            .map_err(room)?;
        Ok(HashLog { file, places: Mutex::default() })
    }

    /// A place for so many hashes of a table; of one that comes twice the last counts.
    pub(super) fn place(self: &Arc<Self>, table: &str, count: u64) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let at = places.hashes;
        places.hashes += count;
        places.tables.insert(table.to_owned(), (at, count));
        Place { log: self.clone(), at }
    }

    /// A table's hashes; none of one that is not there.
    pub(super) fn rows(&self, table: &str) -> Rows<'_> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, count) = places.tables.get(table).copied().unwrap_or((0, 0));
        Rows { file: &self.file, at: start, end: start + count, held: Vec::new(), next: 0 }
    }
}

impl Place {
    /// The next hashes.
    pub(super) fn write(&mut self, hashes: &[Hash]) -> Result<()> {
        let written = self.log.file.write_all_at(hashes.as_flattened(), offset(self.at));
        self.at += hashes.len() as u64;
        written.or_failed(|| "cannot keep the rows' hashes in a temporary file").map_err(room)
    }
}

fn room(e: Error) -> Error {
    e.hint("make room there, 96 bytes for each row of both states, or name a directory with room in TMPDIR")
}

fn offset(hashes: u64) -> u64 {
    hashes * size_of::<Hash>() as u64
}

/// Hashes of a table, one after the other.
pub(super) struct Rows<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    held: Vec<Hash>,
    next: usize,
}

impl Rows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Hash>> {
        if self.next == self.held.len() {
            let wanted = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(READ_HASHES);
            self.held.resize(wanted, [0; 32]);
            self.fill().or_failed(|| "cannot read the rows' hashes back")?;
            self.at += wanted as u64;
            self.next = 0;
        }
        let hash = self.held.get(self.next).copied();
        self.next += usize::from(hash.is_some());
        Ok(hash)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.file.read_exact_at(self.held.as_flattened_mut(), offset(self.at))
    }
}
