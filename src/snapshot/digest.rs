//! The digests of a text that streams by, in bounded memory: hashes that are too many to hold wait on disk. In go
//! pieces of a snapshot's text, out come a digest of the state, one of the schema, and what differs from another state.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use kwil_formats::{
    dump::digest::{SchemaPart, TextDigest, TextDigester},
    formats::{Family, Validator},
    judge::confirm::FactsReader,
};
use serde::{Deserialize, Serialize};

use super::{hash_log::HashLog, read::Pieces, sorter::HashSorter};
use crate::{
    base::{Blake3Hash, Error, Result},
    manifest::{self, Manifest, StateDigest},
};

mod compare;
mod database;
mod witness;

pub use compare::{Comparison, Other};
pub use database::{
    DatabaseDigestOptions, OldNetworkState, WitnessedDatabase, digest_database, read_network, read_old_network,
    validators_of, witness_database,
};
pub use witness::Witness;

/// Hashes of statements that are held in memory; statements are few, and more hashes than these wait on disk.
const STATEMENTS_HELD_MAX: usize = 1 << 14;

/// The directory where hashes wait that are too many to hold: `TMPDIR`, else the system's place for large temporary
/// files, since `/tmp` is often memory.
pub fn spill_directory() -> PathBuf {
    let large = Path::new("/var/tmp");
    if env::var_os("TMPDIR").is_none() && large.is_dir() { large.to_owned() } else { env::temp_dir() }
}

/// Digests a snapshot's text that comes in pieces.
#[derive(Debug)]
pub struct StateDigester {
    text: TextDigester<HashSorter>,
    /// What is kept beside the digest, where a [`Witness`] is wanted: the text's facts and every row's hash.
    witness: Option<(FactsReader, Arc<HashLog>)>,
}

impl StateDigester {
    /// A digester that keeps what it cannot hold in memory in files without a name in the directory `spill`.
    pub fn new(spill: &Path) -> Self {
        Self::with_sorters(HashSorter::new(spill), HashSorter::with_memory(spill, STATEMENTS_HELD_MAX))
    }

    fn with_sorters(rows: HashSorter, statements: HashSorter) -> Self {
        StateDigester { text: TextDigester::new(rows, statements), witness: None }
    }

    /// A digester that also keeps every row's hash and the facts that the text tells, for a [`Witness`].
    ///
    /// # Errors
    /// When no file can be made in the directory `spill`.
    pub fn witnessing(spill: &Path) -> Result<Self> {
        let log = Arc::new(HashLog::new(spill)?);
        let rows = HashSorter::keeping(spill, log.clone());
        let statements = HashSorter::with_memory(spill, STATEMENTS_HELD_MAX);
        Ok(StateDigester { text: TextDigester::new(rows, statements), witness: Some((FactsReader::new(), log)) })
    }

    /// Takes the next piece of the text, cut anywhere.
    ///
    /// # Errors
    /// `Kind::Verify` when the text is none that has a digest; `Kind::Failed` when hashes cannot be kept on the disk.
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        if let Some((facts, _)) = &mut self.witness {
            facts.push(text)?;
        }
        Ok(self.text.push(text)?)
    }

    /// Says that the text is over; gives its digest, to which the validators are still to be added.
    ///
    /// # Errors
    /// As [`StateDigester::push`], and when the text ends in the middle of something.
    pub fn finish_text(self) -> Result<TextDigest> {
        Ok(self.text.finish()?)
    }

    /// As [`StateDigester::finish_text`], for one that was made with [`StateDigester::witnessing`].
    ///
    /// # Errors
    /// As [`StateDigester::finish_text`].
    pub fn finish_witnessed(self) -> Result<(TextDigest, Witness)> {
        let text = self.text.finish()?;
        let (facts, log) = self.witness.ok_or_else(|| Error::failed("the rows' hashes were not kept"))?;
        Ok((text, Witness::new(log, facts.finish())))
    }

    /// Says that the text is over, and gives the whole digest with these validators of the network.
    ///
    /// # Errors
    /// As [`StateDigester::finish_text`].
    pub fn finish(self, validators: &[Validator]) -> Result<Digest> {
        Ok(Digest::new(&self.finish_text()?, validators))
    }
}

/// Feeds a digester with the pieces that come, until there are no more; the digester is still to be finished.
///
/// # Errors
/// As [`StateDigester::push`], at the first piece that fails: no piece is taken after it.
pub fn digest_pieces<P: AsRef<[u8]>>(pieces: Pieces<P>, mut digester: StateDigester) -> Result<StateDigester> {
    for piece in pieces {
        digester.push((*piece).as_ref())?;
    }
    Ok(digester)
}

/// What a state is, in one hash, with the parts of it that tell where two states differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// BLAKE3 over all tables' digests and the validators: equal for equal states, in whatever order their rows lie.
    pub state_digest: Blake3Hash,
    /// BLAKE3 over the parsed statements that make the schema; other major versions may write other statements.
    pub schema_digest: Blake3Hash,
    /// Major version of the server that was read; `None` where it is not known, as of a file.
    pub server_major: Option<u32>,
    /// Major version of the pg_dump that wrote the statements; `None` where it is not known, as of a file.
    pub dump_major: Option<u32>,
    /// Height of the last block that the database holds, or that the text's last
    /// line names; `None` without such a line. It is not part of the digest.
    pub height: Option<i64>,
    /// Whether the state is a v0.9 or a v0.10 network's.
    pub family: Family,
    /// The validators with their power, sorted by key.
    pub validators: Vec<Validator>,
    /// Where the validators stand.
    pub validators_of: ValidatorsOf,
    /// The tables with their digests, sorted by name.
    pub tables: Vec<TableDigest>,
    /// The parts of the schema, sorted; `None` where they are too many to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Vec<SchemaPart>>,
}

/// Where the validators of a [`Digest`] stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValidatorsOf {
    /// In the state itself.
    Database,
    /// In a snapshot's genesis, since no snapshot holds them: who edits it for the new network changes no state.
    Genesis,
}

/// A table in a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    /// The table's name as `schema.table`, without quotes.
    pub name: String,
    /// The columns of the table's COPY, in its order.
    pub columns: Vec<String>,
    /// The number of the table's rows.
    pub rows: u64,
    /// BLAKE3 over the sorted SHA-256 hashes of the table's rows.
    pub digest: Blake3Hash,
}

impl Digest {
    /// The digest of a text and the validators of its genesis, without the majors, which a text does not tell.
    pub fn new(text: &TextDigest, validators: &[Validator]) -> Self {
        let table = |t: &kwil_formats::dump::digest::TableRows| TableDigest {
            name: t.name(),
            columns: t.columns.clone(),
            rows: t.rows,
            digest: t.digest,
        };
        let mut validators = validators.to_vec();
        validators.sort_unstable();
        Digest {
            state_digest: text.state_digest(&validators),
            schema_digest: text.schema_digest,
            server_major: None,
            dump_major: None,
            height: text.height,
            family: text.family,
            validators,
            validators_of: ValidatorsOf::Genesis,
            tables: text.tables.iter().map(table).collect(),
            schema: text.schema.clone(),
        }
    }

    /// The digest as a manifest holds it, where 0 stands for a major version that is not known.
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

/// Refuses a text whose state is not the one that the manifest names; accepts any where the manifest names none.
///
/// # Errors
/// `Kind::Verify`, which names the tables that differ.
pub fn check_signed(text: &TextDigest, manifest: &Manifest) -> Result<()> {
    let Some(signed) = &manifest.state_digest else { return Ok(()) };
    let digest = |validators: &[Validator]| Digest::new(text, validators);
    // The old network's where the lead had them from its database, else those of the genesis.
    let old = digest(&manifest.old_validators).check(signed);
    if old.is_ok() { old } else { digest(&manifest.new_validators).check(signed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: u64) -> String {
        let mut text =
            String::from("CREATE SCHEMA kwild_voting;\nCOPY kwild_accts.accounts (id, balance) FROM stdin;\n");
        for row in 0..rows {
            text.push_str(&format!("{row}\t{}\n", row % 7));
        }
        text.push_str("\\.\nCREATE SCHEMA a;\nCREATE SCHEMA b;\nCREATE SCHEMA c;\nCREATE SCHEMA d;\n");
        text
    }

    #[test]
    fn hashes_that_went_to_disk_give_the_same_digest() {
        let spill = tempfile::tempdir().unwrap();
        let text = text(5000);
        let whole = {
            let mut digester = StateDigester::new(spill.path());
            digester.push(text.as_bytes()).unwrap();
            digester.finish(&[]).unwrap()
        };
        let sorter = || HashSorter::with_memory(spill.path(), 3);
        let mut digester = StateDigester::with_sorters(sorter(), sorter());
        for piece in text.as_bytes().chunks(1000) {
            digester.push(piece).unwrap();
        }
        assert_eq!(digester.finish(&[]).unwrap(), whole);
        assert_eq!(whole.tables[0].rows, 5000);
    }

    #[test]
    fn a_full_disk_is_no_digest_and_not_a_hang() {
        let sorter = || HashSorter::with_memory(Path::new("/proc/nowhere"), 3);
        let mut digester = StateDigester::with_sorters(sorter(), sorter());
        let e = digester.push(text(100).as_bytes()).unwrap_err();
        assert!(e.chain().contains("/proc/nowhere"), "{}", e.chain());
    }

    #[test]
    fn a_signed_state_that_is_another_is_refused_by_its_table() {
        let spill = tempfile::tempdir().unwrap();
        let of = |rows| {
            let mut digester = StateDigester::new(spill.path());
            digester.push(text(rows).as_bytes()).unwrap();
            digester.finish(&[]).unwrap()
        };
        let signed = of(10).to_manifest();
        of(10).check(&signed).unwrap();
        let e = of(11).check(&signed).unwrap_err();
        assert!(e.to_string().contains("kwild_accts.accounts: 11 rows in the snapshot, 10 in the manifest"), "{e}");
        assert_eq!(e.kind().exit_code(), 3);
    }
}
