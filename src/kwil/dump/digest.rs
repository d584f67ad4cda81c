//! State digest and schema digest of a snapshot's text: equal for two nodes in the same logical state, whatever the order
//! of their rows, their restarts, and the height at which they stopped. A stream cut anywhere goes in.
//!
//! # Definition
//!
//! Written so that a stranger can compute both; `tests/vectors/digest/digest.py` does so, and made the vectors beside it.
//!
//! The *text* is what `snapshot create` writes: statements, each from the line of its first word to the line of the `;`
//! that ends it, and between `COPY … FROM stdin;` and the line `\.` the rows, one a line. Blank lines, comment lines and
//! psql's commands (lines that begin with a backslash) are nothing, and so are the guard's lines and order: a text has the
//! same digests with and without the guard. A row, and a statement, includes its last newline.
//!
//! `u64(n)` is eight bytes, big-endian; `str(s)` is `u64(length)` and the bytes of `s`; `‖` joins. `\0` is a zero byte.
//!
//! **Row.** Its hash is SHA-256 over the row as it stands in the text, newline included. Rows of nine tables of
//! `kwild_engine` are first rewritten, because honest nodes differ in their surrogate ids. Fields are what stands between
//! TABs. The field `id` becomes empty; a reference becomes the name of what it refers to:
//!
//! | table | field | becomes |
//! |---|---|---|
//! | `parameters`, `return_fields` | `action_id` | the action's fields `namespace`, TAB, `name` |
//! | `initialized_extensions` | `namespace_id` | the namespace's field `name` |
//! | `extension_initialization_parameters` | `extension_id` | the `name` of the namespace of the row in `initialized_extensions` |
//! | `role_privileges` | `role_id`, `namespace_id` | the role's `name`, the namespace's `name` |
//! | `user_roles` | `role_id` | the role's `name` |
//! | `actions`, `namespaces`, `roles` | | only `id` becomes empty |
//!
//! A null (`\N`) stays; a reference to nothing becomes `\?`, which no row can hold otherwise (kwild's `user_roles` may
//! outlive a role). There is no digest where an id or reference is not a plain decimal number or an id appears twice in its
//! table, since the server might read them in another way; and where a reference to nothing is above the value that
//! `setval` gives the sequence of that table's `id`, since a row made later would be what it refers to. Columns are found by their names in the COPY's list; other columns pass.
//!
//! **Table.** One for each COPY block, also the always empty one of `kwild_voting.voters`.
//!
//! ```text
//! table digest = BLAKE3("regenesis/table/v1\0" ‖ the row hashes, sorted as bytes, equal ones as often as they come)
//! ```
//!
//! **State.** Tables are sorted by the bytes of `schema.table`, names without SQL's quotes; columns stand as in the COPY.
//! Validators are the genesis' (the database's voters), sorted by type, key and power; the type is `ed25519` or
//! `secp256k1`, the key its bytes without any prefix.
//!
//! ```text
//! state digest = BLAKE3("regenesis/state/v1\0"
//!     ‖ u64(number of tables)
//!     ‖ for each: str(schema) ‖ str(table) ‖ u64(number of columns) ‖ str(column) … ‖ u64(rows) ‖ table digest
//!     ‖ u64(number of validators)
//!     ‖ for each: str(type) ‖ str(key) ‖ u64(power))
//! ```
//!
//! Height, the closing UPDATE, values of sequences and large objects (which no Kwil network makes) are not in it.
//!
//! **Schema.** Every statement that makes a part of it: all but `SET`, `SELECT`, `COPY`, `UPDATE`, transactions, privileges,
//! comments, owners, what is about the database itself, the mark of a sorted table (`CLUSTER ON`), the sequence
//! `kwild_internal.sentry_seq`, and the constraint `votes_voter_id_fkey`, which no restore of a state with votes makes.
//! `CREATE SCHEMA IF NOT EXISTS` counts as `CREATE SCHEMA`.
//!
//! A part's digest is over its statement's syntax tree, as PostgreSQL 18's own parser has it, without defaults and without
//! places in the text (`tree.rs`), so that another spelling of the same statement is the same part: schemas dumped by pg_dump
//! 15 to 18 agree wherever the trees do. What Kwil itself makes has one digest in every form that a version of PostgreSQL or
//! Kwil gives it (`scan/known.txt`): `BLAKE3("regenesis/known/v1\0" ‖ its name there)`.
//!
//! ```text
//! schema digest = BLAKE3("regenesis/schema/v2\0" ‖ the parts' digests, sorted as bytes)
//! ```
//!
//! Why sorted lists and not sums: who chooses rows can forge a sum of hashes.

use std::{collections::BTreeSet, fmt};

use super::{
    sql::{Follows, Sink, SplitError, Splitter, Statement, short},
    token::{CopyHeader, Name, Token, Tokens},
};
use crate::{
    base::{
        Blake3Hash, Error,
        limits::{DIGEST_SCHEMA_SIZE_BYTES_MAX, DIGEST_TABLES_SIZE_BYTES_MAX},
        text::escape,
    },
    formats::{Family, Validator},
};

mod engine;
mod rows;
mod schema;

use engine::{Engine, EngineRows};
use rows::PlainRows;

pub use schema::SchemaPart;

const TABLE_DOMAIN: &[u8] = b"regenesis/table/v1\0";
const STATE_DOMAIN: &[u8] = b"regenesis/state/v1\0";
const SCHEMA_DOMAIN: &[u8] = b"regenesis/schema/v2\0";

/// A list in which hashes wait to be sorted: in memory, or on disk past a bound.
pub trait HashList {
    /// The digest of a whole list, which may still be worked on.
    type Sum: Sum;

    /// Adds one hash; they come in any order.
    ///
    /// # Errors
    /// When there is no room for it.
    fn push(&mut self, hash: [u8; 32]) -> Result<(), Error>;

    /// Begins to feed all hashes to the hasher in ascending order, equal ones as often as they came; the list is empty
    /// then. `table` is the `schema.table` whose rows they are, `None` for the schema's statements. A table whose rows
    /// waited for names comes twice, the second time with them.
    ///
    /// # Errors
    /// When the list cannot be sorted or put away.
    fn sum(&mut self, table: Option<&str>, hasher: blake3::Hasher) -> Result<Self::Sum, Error>;
}

/// A digest that may still be worked on.
pub trait Sum {
    /// Waits for the digest.
    ///
    /// # Errors
    /// When the list cannot be read back.
    fn wait(self) -> Result<Blake3Hash, Error>;
}

impl Sum for Blake3Hash {
    fn wait(self) -> Result<Blake3Hash, Error> {
        Ok(self)
    }
}

/// Why a text has no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// A statement or row of the text is not what a snapshot holds.
    #[error("line {line} of the snapshot's text: {}", escape(.reason))]
    Text {
        /// The line of the text, counted from 1.
        line: u64,
        /// What is wrong on that line.
        reason: String,
    },
    /// The list of hashes could not be kept or sorted.
    #[error("the rows' hashes cannot be sorted")]
    List(#[source] Error),
}

impl From<SplitError> for DigestError {
    fn from(e: SplitError) -> Self {
        let reason = if e.text.is_empty() { e.reason.to_owned() } else { format!("{}: {}", e.reason, e.text) };
        DigestError::Text { line: e.line, reason }
    }
}

impl From<DigestError> for Error {
    fn from(e: DigestError) -> Self {
        match e {
            DigestError::List(e) => e,
            DigestError::Text { .. } => Error::verify("the state has no digest")
                .because(e)
                .hint("is this a snapshot of a Kwil network, whole and unchanged?"),
        }
    }
}

/// A table of a text, with the digest of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table's schema.
    pub schema: String,
    /// The table's own name.
    pub table: String,
    /// The columns in the COPY's order.
    pub columns: Vec<String>,
    /// The number of rows.
    pub rows: u64,
    /// The table digest, over the sorted hashes of the rows.
    pub digest: Blake3Hash,
}

impl TableRows {
    /// The table's name as `schema.table`, without SQL's quotes.
    pub fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// The digests of a whole text. The state digest needs the validators, too, which stand in the genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDigest {
    /// The family: v0.10 where the text makes the schema `kwild_engine`.
    pub family: Family,
    /// The tables, sorted by their names.
    pub tables: Vec<TableRows>,
    /// The schema digest, over the sorted digests of the schema's parts.
    pub schema_digest: Blake3Hash,
    /// The parts of the schema, sorted; `None` where they take too much memory to be held.
    pub schema: Option<Vec<SchemaPart>>,
    /// The height that the closing UPDATE names, part of no digest; `None` where there is no such statement.
    pub height: Option<i64>,
}

impl TextDigest {
    /// The state digest with these validators, in any order.
    pub fn state_digest(&self, validators: &[Validator]) -> Blake3Hash {
        let mut encoder = Encoder::new(STATE_DOMAIN);
        encoder.number(self.tables.len() as u64);
        for table in &self.tables {
            encoder.text(table.schema.as_bytes());
            encoder.text(table.table.as_bytes());
            encoder.number(table.columns.len() as u64);
            for column in &table.columns {
                encoder.text(column.as_bytes());
            }
            encoder.number(table.rows);
            encoder.hasher.update(table.digest.as_bytes());
        }
        let mut validators: Vec<(String, &[u8], u64)> =
            validators.iter().map(|v| (v.key.key_type().to_string(), v.key.bytes(), v.power)).collect();
        validators.sort_unstable();
        encoder.number(validators.len() as u64);
        for (kind, key, power) in validators {
            encoder.text(kind.as_bytes());
            encoder.text(key);
            encoder.number(power);
        }
        encoder.finish()
    }
}

/// Feeds a hasher with lengths before contents, so that two lists never encode alike.
struct Encoder {
    hasher: blake3::Hasher,
}

impl Encoder {
    fn new(domain: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(domain);
        Encoder { hasher }
    }

    fn number(&mut self, n: u64) {
        self.hasher.update(&n.to_be_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.hasher.update(text);
    }

    fn finish(&self) -> Blake3Hash {
        Blake3Hash::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

/// Begins the digest of everything in a list, which is empty then.
fn digest_of<L: HashList>(list: &mut L, table: Option<&str>, domain: &[u8]) -> Result<L::Sum, DigestError> {
    list.sum(table, Encoder::new(domain).hasher).map_err(DigestError::List)
}

/// Takes a snapshot's text in any pieces, and gives its digests.
pub struct TextDigester<L: HashList> {
    splitter: Splitter,
    core: Core<L>,
}

impl<L: HashList> fmt::Debug for TextDigester<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextDigester").field("tables", &self.core.tables.len()).finish_non_exhaustive()
    }
}

impl<L: HashList> TextDigester<L> {
    /// A digester at the text's first byte, with two empty lists: for a table's rows and for the schema's statements.
    pub fn new(rows: L, statements: L) -> Self {
        let core = Core {
            rows,
            statements,
            engine: Engine::default(),
            block: None,
            seen: BTreeSet::new(),
            names_size_bytes: 0,
            schema: Some(Vec::new()),
            parts_size_bytes: 0,
            tables: Vec::new(),
            sums: Vec::new(),
            family: Family::V09,
            height: None,
            last_line: 1,
        };
        TextDigester { splitter: Splitter::new(), core }
    }

    /// Takes any piece of the text. Holds one statement, and of rows only those of `kwild_engine` that wait for a name.
    ///
    /// # Errors
    /// When the text has no digest, or the lists fail.
    pub fn push(&mut self, text: &[u8]) -> Result<(), DigestError> {
        self.splitter.push(text, &mut self.core, &mut Vec::new())
    }

    /// Ends the text, and gives its digests.
    ///
    /// # Errors
    /// As [`TextDigester::push`], and when the text ends in the middle of something.
    pub fn finish(self) -> Result<TextDigest, DigestError> {
        self.splitter.finish()?;
        let Core { mut rows, mut statements, engine, mut tables, sums, family, height, last_line, mut schema, .. } =
            self.core;
        if let Some(parts) = &mut schema {
            parts.sort();
        }
        for (table, sum) in tables.iter_mut().zip(sums) {
            table.digest = sum.wait().map_err(DigestError::List)?;
        }
        engine.finish(last_line, |table, hashes| {
            for hash in hashes {
                rows.push(hash?).map_err(DigestError::List)?;
            }
            let sum = digest_of(&mut rows, Some(&tables[table].name()), TABLE_DOMAIN)?;
            tables[table].digest = sum.wait().map_err(DigestError::List)?;
            Ok(())
        })?;
        tables.sort_by_cached_key(TableRows::name);
        let schema_digest = digest_of(&mut statements, None, SCHEMA_DOMAIN)?.wait().map_err(DigestError::List)?;
        Ok(TextDigest { family, tables, schema_digest, schema, height })
    }
}

/// An open COPY block.
#[derive(Debug)]
enum Rows {
    Plain(PlainRows),
    Engine(EngineRows),
}

struct Core<L: HashList> {
    rows: L,
    statements: L,
    engine: Engine,
    block: Option<(CopyHeader, Rows)>,
    /// The `schema.table` of each block so far: no two may be shown alike.
    seen: BTreeSet<String>,
    names_size_bytes: usize,
    /// The parts of the schema; `None` once they take too much memory.
    schema: Option<Vec<SchemaPart>>,
    parts_size_bytes: usize,
    tables: Vec<TableRows>,
    /// The digest of each table, in the order of `tables`, perhaps still worked on.
    sums: Vec<L::Sum>,
    family: Family,
    height: Option<i64>,
    /// The line at which the last statement begins.
    last_line: u64,
}

impl<L: HashList> Core<L> {
    fn open(&mut self, header: CopyHeader) -> Result<(), String> {
        let name = header.table.to_string();
        self.names_size_bytes += 2 * name.len() + header.columns.iter().map(String::len).sum::<usize>();
        if self.names_size_bytes > DIGEST_TABLES_SIZE_BYTES_MAX {
            return Err("the names of tables and columns take more than 24 MiB".to_owned());
        }
        if !self.seen.insert(name) {
            return Err(format!("rows for {} come twice", header.table));
        }
        let rows = match self.engine.open(&header)? {
            Some(rows) => Rows::Engine(rows),
            None => Rows::Plain(PlainRows::default()),
        };
        self.block = Some((header, rows));
        Ok(())
    }

    /// Keeps a part of the schema; all are given up once they take more than any but the largest networks' do.
    fn keep_part(&mut self, part: SchemaPart) {
        self.parts_size_bytes += size_of::<SchemaPart>() + part.name.len();
        match &mut self.schema {
            Some(_) if self.parts_size_bytes > DIGEST_SCHEMA_SIZE_BYTES_MAX => self.schema = None,
            Some(parts) => parts.push(part),
            None => {}
        }
    }

    fn close(&mut self) -> Result<(), DigestError> {
        let Some((header, rows)) = self.block.take() else { return Ok(()) };
        let CopyHeader { table: Name { schema, object: table }, columns } = header;
        let count = match rows {
            Rows::Plain(rows) => rows.count(),
            Rows::Engine(rows) => self.engine.close(rows, self.tables.len()),
        };
        // Of a table whose rows still wait it is the digest of none, and set at the end.
        self.sums.push(digest_of(&mut self.rows, Some(&format!("{schema}.{table}")), TABLE_DOMAIN)?);
        let digest = Blake3Hash::from_bytes([0; 32]);
        self.tables.push(TableRows { schema, table, columns, rows: count, digest });
        Ok(())
    }
}

impl<L: HashList> Sink for Core<L> {
    type Error = DigestError;

    fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), DigestError> {
        Ok(())
    }

    fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), DigestError> {
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, DigestError> {
        let refuse = |reason: String| DigestError::Text { line: statement.line, reason };
        let text = std::str::from_utf8(statement.text).map_err(|_| refuse("text that is not UTF-8".to_owned()))?;
        let tokens: Vec<Token<'_>> = Tokens::new(text).map_while(Result::ok).collect();
        self.last_line = statement.line;
        let copy = tokens.first().is_some_and(|t| t.is("COPY"));
        if copy {
            let header = CopyHeader::read(&tokens).ok_or_else(|| {
                refuse(format!("a COPY statement of another form than pg_dump's: {}", short(statement.text)))
            })?;
            self.open(header).map_err(refuse)?;
            return Ok(Follows::CopyData);
        }
        if let [create, schema, name, _] = &*tokens
            && create.is("CREATE")
            && schema.is("SCHEMA")
            && name.name().is_some_and(|n| n == "kwild_engine")
        {
            self.family = Family::V010;
        }
        if let Some(part) = schema::part(text).map_err(refuse)? {
            self.statements.push(*part.digest.as_bytes()).map_err(DigestError::List)?;
            self.keep_part(part);
        } else if tokens.first().is_some_and(|t| t.is("SELECT")) {
            self.engine.set_sequence(&tokens);
        } else if tokens.first().is_some_and(|t| t.is("UPDATE")) {
            self.height = height(&tokens);
        }
        Ok(Follows::Statement)
    }

    fn data(&mut self, line: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, DigestError> {
        let Some((_, rows)) = &mut self.block else { return Ok(Some(0)) };
        let end = match rows {
            Rows::Plain(rows) => rows.take(data, &mut self.rows)?,
            Rows::Engine(rows) => self.engine.take(rows, line, data, &mut self.rows)?,
        };
        if end.is_some() {
            self.close()?;
        }
        Ok(end)
    }
}

/// The height at the end of the closing UPDATE; `None` where none stands there.
fn height(tokens: &[Token<'_>]) -> Option<i64> {
    match tokens {
        [.., minus, Token::Number(height), _] if minus.is_symbol("-") => height.parse().ok(),
        _ => None,
    }
}
