//! The sorted hashes of tables' rows in a file without a name: written table by table while a state is digested, and
//! read back when two states are compared.

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

/// Hashes that are read back at once.
const READ_HASHES: usize = 2048;

/// The hashes of tables' rows, 32 bytes each, by the table's name.
#[derive(Debug)]
pub(super) struct HashLog {
    file: File,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    hashes: u64,
    /// Of each table, the number of hashes before its own, and the number of its own.
    tables: BTreeMap<String, (u64, u64)>,
}

/// The room for one table's hashes in the file, and how far it is filled.
#[derive(Debug)]
pub(super) struct Place {
    log: Arc<HashLog>,
    /// The number of hashes in the file before the next one that is written here.
    at: u64,
}

impl HashLog {
    /// An empty log, whose file is made in this directory; an error where that cannot be done.
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory)
            .or_failed(|| format!("cannot make a temporary file in {}", directory.display()))
            .map_err(out_of_room)?;
        Ok(HashLog { file, places: Mutex::default() })
    }

    /// Room for `count` hashes of a table. Where a table comes twice, the second room counts.
    pub(super) fn place(self: &Arc<Self>, table: &str, count: u64) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let at = places.hashes;
        places.hashes += count;
        places.tables.insert(table.to_owned(), (at, count));
        Place { log: self.clone(), at }
    }

    /// A table's hashes in the order in which they were written; none where the table was never given room.
    pub(super) fn rows(&self, table: &str) -> Rows<'_> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, count) = places.tables.get(table).copied().unwrap_or((0, 0));
        Rows { file: &self.file, at: start, end: start + count, held: Vec::new(), next: 0 }
    }
}

impl Place {
    /// Writes the next hashes; an error where the disk fails or is full.
    pub(super) fn write(&mut self, hashes: &[Hash]) -> Result<()> {
        let written = self.log.file.write_all_at(hashes.as_flattened(), byte_offset(self.at));
        self.at += hashes.len() as u64;
        written.or_failed(|| "cannot keep the rows' hashes in a temporary file").map_err(out_of_room)
    }
}

fn out_of_room(e: Error) -> Error {
    e.hint("make room there, 96 bytes for each row of both states, or name a directory with room in TMPDIR")
}

fn byte_offset(hashes: u64) -> u64 {
    hashes * size_of::<Hash>() as u64
}

/// The hashes of one table, given out one after the other.
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
        self.file.read_exact_at(self.held.as_flattened_mut(), byte_offset(self.at))
    }
}
