//! The digests of a text that streams by, in bounded memory: hashes that are too many to hold wait on disk.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
};

use serde::{Deserialize, Serialize};

use super::sorter::HashSorter;
use crate::{
    base::{Blake3Hash, Result, text},
    kwil::{
        Family,
        digest::{TextDigest, TextDigester},
        key::PublicKey,
    },
    manifest::{self, StateDigest},
};

/// Statements are few; more than these hashes wait on disk.
const STATEMENTS_HELD_MAX: usize = 1 << 14;

/// Where hashes wait that are too many to hold: `TMPDIR`, or the system's place for large temporary files, since `/tmp` is
/// often memory.
pub fn spill_directory() -> PathBuf {
    let large = Path::new("/var/tmp");
    if env::var_os("TMPDIR").is_none() && large.is_dir() { large.to_owned() } else { env::temp_dir() }
}

/// Digests a text.
#[derive(Debug)]
pub struct StateDigester(TextDigester<HashSorter>);

impl StateDigester {
    /// A digester that keeps what it cannot hold in a file without a name in `spill`.
    pub fn new(spill: &Path) -> Self {
        Self::with_sorters(HashSorter::new(spill), HashSorter::with_memory(spill, STATEMENTS_HELD_MAX))
    }

    fn with_sorters(rows: HashSorter, statements: HashSorter) -> Self {
        StateDigester(TextDigester::new(rows, statements))
    }

    /// Takes any piece of the text.
    ///
    /// # Errors
    /// When the text has no digest, or the disk fails.
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        Ok(self.0.push(text)?)
    }

    /// The text is over; validators are still to come.
    ///
    /// # Errors
    /// As [`StateDigester::push`], and when the text ends in the middle of something.
    pub fn finish_text(self) -> Result<TextDigest> {
        Ok(self.0.finish()?)
    }

    /// The text is over, and these are the network's validators.
    ///
    /// # Errors
    /// As [`StateDigester::finish_text`].
    pub fn finish(self, validators: &[(PublicKey, u64)]) -> Result<Digest> {
        Ok(Digest::new(&self.finish_text()?, validators))
    }
}

/// Digests the pieces that come, until there are no more.
pub(crate) fn digest_pieces(pieces: &Receiver<Arc<Vec<u8>>>, spill: &Path) -> Result<TextDigest> {
    let mut digester = StateDigester::new(spill);
    for piece in pieces {
        digester.push(&piece)?;
    }
    digester.finish_text()
}

/// What a state is, in one hash, and the parts of it that tell where two states differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// Over all rows and the validators.
    pub state_digest: Blake3Hash,
    /// Over the DDL; compared only between equal majors.
    pub schema_digest: Blake3Hash,
    /// Major version of the server, where it is known.
    pub server_major: Option<u32>,
    /// Major version of pg_dump, where it is known.
    pub dump_major: Option<u32>,
    /// Last block; not part of the digest.
    pub height: Option<i64>,
    /// Which formats.
    pub family: Family,
    /// Sorted.
    pub validators: Vec<ValidatorPower>,
    /// Sorted by name.
    pub tables: Vec<TableDigest>,
}

/// A validator in a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValidatorPower {
    /// `hex#type`
    pub key: String,
    /// Its voting power.
    pub power: u64,
}

/// A table in a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    /// `schema.table`
    pub name: String,
    /// Columns of the COPY, in its order.
    pub columns: Vec<String>,
    /// How many rows.
    pub rows: u64,
    /// Over their sorted hashes.
    pub digest: Blake3Hash,
}

impl Digest {
    /// The digest of a text and the validators that belong to it.
    pub fn new(text: &TextDigest, validators: &[(PublicKey, u64)]) -> Self {
        let table = |t: &crate::kwil::digest::TableRows| TableDigest {
            name: t.name(),
            columns: t.columns.clone(),
            rows: t.rows,
            digest: t.digest,
        };
        let mut powers: Vec<ValidatorPower> =
            validators.iter().map(|(key, power)| ValidatorPower { key: key.to_string(), power: *power }).collect();
        powers.sort();
        Digest {
            state_digest: text.state_digest(validators),
            schema_digest: text.schema_digest,
            server_major: None,
            dump_major: None,
            height: text.height,
            family: text.family,
            validators: powers,
            tables: text.tables.iter().map(table).collect(),
        }
    }

    /// The digest as a manifest holds it; 0 stands for a major version that is not known.
    pub fn to_manifest(&self) -> StateDigest {
        let table = |t: &TableDigest| manifest::TableDigest {
            name: t.name.clone(),
            columns: t.columns.clone(),
            rows: t.rows,
            digest: t.digest,
        };
        StateDigest {
            digest: self.state_digest,
            schema_digest: self.schema_digest,
            server_major: self.server_major.unwrap_or(0),
            dump_major: self.dump_major.unwrap_or(0),
            tables: self.tables.iter().map(table).collect(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let major = |major: Option<u32>| major.map_or_else(|| "not known".to_owned(), |m| m.to_string());
        writeln!(f, "state digest   {}", self.state_digest)?;
        writeln!(f, "schema digest  {}", self.schema_digest)?;
        writeln!(f, "  server       PostgreSQL {}, pg_dump {}", major(self.server_major), major(self.dump_major))?;
        writeln!(f, "  family       {}", self.family)?;
        match self.height {
            Some(height) => writeln!(f, "  height       {height} (not part of the digest)")?,
            None => writeln!(f, "  height       not known")?,
        }
        writeln!(f, "  validators   {}", self.validators.len())?;
        let rows = self.tables.iter().map(|t| t.rows).sum();
        writeln!(
            f,
            "  data         {} in {}",
            text::count(rows, "row"),
            text::count(self.tables.len() as u64, "table")
        )?;
        for table in &self.tables {
            writeln!(f, "    {:>12}  {}  {}", table.rows, table.digest.short(), text::escape(&table.name))?;
        }
        Ok(())
    }
}
