//! The statement check. psql runs a snapshot's text as a superuser on every validator's machine, and kwild later calls its
//! functions and reads its views. So the text is parsed and not trusted: our splitter cuts it as psql does, PostgreSQL's own
//! parser reads each statement, and whatever the table of allowed parts does not name is refused with its line and the reason.
//!
//! # What a text may contain, and why it is harmless
//!
//! | part | bound by | why it is harmless |
//! |---|---|---|
//! | the guard's lines, to the byte | [`guard`](super::guard) | they only make psql stricter; nothing between them can be one |
//! | `CREATE SCHEMA` | not `public`, `pg_…`, `information_schema`, one node's own schemas, or a name that the usual roles have, which would capture names without a schema; v0.9: only Kwil's and `ds_…` | an empty container |
//! | `CREATE TYPE … AS ENUM` | literals | values only |
//! | `CREATE TABLE`, `ALTER TABLE`, `CREATE INDEX` | columns of Kwil's types; defaults, checks and index expressions of listed nodes, functions and operators that only compute; keys between tables of the text | what fails ends the restore, because of the guard; what does not fail computes and stores |
//! | the same in Kwil's own schemas | checks, keys, indexes and defaults that Kwil makes, known by their trees | nobody can add a rule that rejects rows |
//! | `COPY … FROM stdin` and rows | once for each table of the text, with exactly its columns, before any key or index of it; each row with as many columns, UTF-8, pg_dump's escapes only; none for the voters | data |
//! | `CREATE SEQUENCE`, `ALTER SEQUENCE … OWNED BY`, `setval` | sequences of the text | numbers |
//! | `CREATE VIEW` and v0.10's functions | equal to one that Kwil makes, by their trees | the same code that every kwild runs |
//! | v0.9's functions in `ds_…` | plpgsql of listed nodes; tables and functions of the same schema; no text run as SQL but Kwil's own call of another procedure; dotted names must be declared | they read and write the tables of their own dataset |
//! | the closing `UPDATE` of `kwild_voting.resolutions` | its form | lowers a number |
//! | `GRANT`, `REVOKE`, `ALTER DEFAULT PRIVILEGES` on parts of the text | only without a guard, in Kwil's own files, which no join takes | privileges on the text's own tables |
//!
//! Every statement kind, node type, field, function, type and operator that is not listed is refused: triggers, rules,
//! extensions, casts, operators, domains, aggregates, other languages, `SET`, `DO`, `COPY` in any other form, large objects,
//! every psql command, comments, literals with a prefix, bytes outside of ASCII where no quotes are.
//!
//! No expression is evaluated, and nothing is proved about types: a statement that the server refuses ends a guarded restore,
//! and nothing of it is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use memchr::memchr_iter;

use super::{
    guard::{self, LAST_SCHEMA as VOTING},
    sql::{Follows, Sink, SplitError, Splitter, Statement, short},
    token::Name,
    tree,
};
use crate::{
    base::{Error, Next, text::escape},
    formats::Family,
};

mod body;
#[doc(hidden)]
pub mod inside;
mod known;
mod names;
pub(super) mod plain;
mod rows;
mod rules;
mod statement;
#[cfg(test)]
mod tests;
mod walk;

use rows::Rows;
use statement::Accepted;
use walk::{Source, Use};

pub(super) use known::name as known_name;
pub use tree::STACK_BYTES;

/// Why a text is not a snapshot that psql may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// The line of the text at which the statement begins, or of the row at fault, counted from 1.
    pub line: u64,
    /// The statement's beginning as it stands in the file, or which rows are at fault; empty where the whole text is.
    pub statement: String,
    /// Why it is refused.
    pub reason: String,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, escape(&self.reason))?;
        if !self.statement.is_empty() {
            write!(f, ": {}", escape(&self.statement))?;
        }
        Ok(())
    }
}

impl std::error::Error for ScanError {}

impl From<SplitError> for ScanError {
    fn from(e: SplitError) -> Self {
        ScanError { line: e.line, statement: e.text, reason: e.reason.to_owned() }
    }
}

impl From<ScanError> for Error {
    fn from(e: ScanError) -> Self {
        Error::verify(format!("the snapshot holds what no Kwil dump holds, {e}")).hint(Next::SnapshotOfLead)
    }
}

/// What a text holds that has passed the statement check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReport {
    /// The family: v0.10 where the text makes the schema `kwild_engine`.
    pub family: Family,
    /// Whether the text has the guard, which makes psql stop at the first failing statement and load all or nothing.
    pub guarded: bool,
    /// The number of tables made.
    pub tables: u64,
    /// The number of rows in all COPY blocks.
    pub rows: u64,
    /// The number of rows in each COPY block, by `schema.table`.
    pub table_rows: BTreeMap<String, u64>,
    /// The height in the closing UPDATE; `None` where there is no such statement.
    pub height: Option<i64>,
    /// The names of the schemas made.
    pub schemas: BTreeSet<String>,
    /// The number of rows of the voters table: always 0, because other texts are refused.
    pub voters_rows: u64,
    /// The tables (`schema.table`) that are made but have no COPY block; pg_dump writes one for each, also without
    /// rows.
    pub tables_without_rows: Vec<String>,
}

/// The statement check, over a text that comes in pieces. It parses on a stack of [`STACK_BYTES`]: a thread of its own with
/// that much spares it from making one for each statement.
#[derive(Debug)]
pub struct StatementScanner {
    splitter: Splitter,
    state: State,
}

impl Default for StatementScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl StatementScanner {
    /// A scanner at the text's first byte.
    pub fn new() -> Self {
        StatementScanner { splitter: Splitter::new(), state: State::default() }
    }

    /// Takes any piece of the uncompressed text. Holds at most one statement, never a row.
    ///
    /// # Errors
    /// At the first statement or row that does not belong.
    pub fn push(&mut self, text: &[u8]) -> Result<(), ScanError> {
        self.splitter.push(text, &mut self.state, &mut Vec::new())
    }

    /// The family; `None` until all schemas but the last have been made.
    pub fn family(&self) -> Option<Family> {
        self.state.schemas_complete.then(|| self.state.made.family())
    }

    /// Ends the text, and says what it holds.
    ///
    /// # Errors
    /// When it ends in the middle of something or is no snapshot at all.
    pub fn finish(self) -> Result<ScanReport, ScanError> {
        self.splitter.finish()?;
        let state = self.state;
        let refuse = |line: u64, reason: String| Err(ScanError { line, statement: String::new(), reason });
        let guarded = match state.guard {
            Guard::Committed => true,
            Guard::None => false,
            Guard::Begin | Guard::Prologue(_) => {
                return refuse(state.last_line, "the text holds no statement".to_owned());
            }
            Guard::Batch => {
                return refuse(state.last_line, "the text ends without the guard's COMMIT: it was cut".to_owned());
            }
        };
        if !state.made.schemas.contains(VOTING) {
            return refuse(state.last_line, NO_VOTING.to_owned());
        }
        if let Some((used, line)) = state.uses.iter().find(|(used, _)| !state.made.declares(used)) {
            return refuse(*line, format!("a function's body names the field {}, which nothing declares", used.field));
        }
        let mut table_rows = BTreeMap::new();
        let mut tables_without_rows = Vec::new();
        for (name, table) in &state.made.tables {
            match table.rows {
                Some(rows) => drop(table_rows.insert(name.to_string(), rows)),
                None => tables_without_rows.push(name.to_string()),
            }
        }
        Ok(ScanReport {
            family: state.made.family(),
            guarded,
            tables: state.made.tables.len() as u64,
            rows: table_rows.values().sum(),
            table_rows,
            height: state.height,
            schemas: state.made.schemas,
            voters_rows: 0,
            tables_without_rows,
        })
    }
}

const NO_VOTING: &str = "no schema kwild_voting is made: this is no Kwil snapshot";

/// Where the text stands with regard to its guard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A check that waits for the text's first byte.
    #[default]
    Begin,
    /// So many lines of the prologue have passed.
    Prologue(usize),
    /// Between BEGIN and COMMIT.
    Batch,
    /// After COMMIT.
    Committed,
    /// The text has no guard.
    None,
}

/// What the statements so far have made.
#[derive(Debug, Default)]
struct Made {
    schemas: BTreeSet<String>,
    tables: BTreeMap<Name, Table>,
    types: BTreeSet<Name>,
    sequences: BTreeSet<Name>,
    /// Functions of v0.9's datasets with the fields of what they return; of several of one name, those that all of them have.
    functions: BTreeMap<Name, BTreeSet<String>>,
}

/// A table that this file makes.
#[derive(Debug, Default)]
struct Table {
    columns: Vec<String>,
    /// The number of rows in its COPY block, once that is over.
    rows: Option<u64>,
    copied: bool,
    /// It has a key, index or late check, so that no rows may come: pg_dump writes those after the rows.
    closed: bool,
}

impl Made {
    fn family(&self) -> Family {
        if self.schemas.contains("kwild_engine") { Family::V010 } else { Family::V09 }
    }

    /// Whether a text is the name of a sequence of this file, as `setval` and `nextval` have it.
    fn is_sequence(&self, text: &str) -> bool {
        Name::read(text).is_some_and(|name| self.sequences.contains(&name))
    }

    fn declares(&self, used: &Use) -> bool {
        match &used.source {
            Source::Row | Source::Fields(_) => true,
            Source::Table(name) => self.tables.get(name).is_some_and(|table| table.columns.contains(&used.field)),
            Source::Function(name) => self.functions.get(name).is_some_and(|fields| fields.contains(&used.field)),
        }
    }
}

/// The check's state between statements.
#[derive(Debug, Default)]
struct State {
    guard: Guard,
    made: Made,
    /// Another statement than CREATE SCHEMA was seen.
    schemas_complete: bool,
    /// Dotted names in bodies, each with the line of a function that has it.
    uses: BTreeMap<Use, u64>,
    block: Option<Block>,
    /// The height in the closing UPDATE, once that was seen.
    height: Option<i64>,
    last_line: u64,
}

/// The rows that are being read.
#[derive(Debug)]
struct Block {
    table: Name,
    /// The line of its COPY.
    line: u64,
    rows: Rows,
}

/// Whether a line is `\restrict TOKEN` or `\unrestrict TOKEN`, to the byte.
fn is_restrict(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let token = line.strip_prefix(b"\\restrict ").or_else(|| line.strip_prefix(b"\\unrestrict "));
    token.is_some_and(|t| !t.is_empty() && t.iter().all(u8::is_ascii_alphanumeric))
}

impl State {
    /// Whether the piece is a line of the guard.
    ///
    /// # Errors
    /// Where another line should stand.
    fn take_guard(&mut self, piece: &[u8]) -> Result<bool, String> {
        let line = |number: usize| guard::PROLOGUE.split_inclusive('\n').nth(number).map(str::as_bytes);
        self.guard = match self.guard {
            Guard::Begin if line(0) == Some(piece) => Guard::Prologue(1),
            Guard::Begin => {
                self.guard = Guard::None;
                return Ok(false);
            }
            Guard::Prologue(number) if line(number) == Some(piece) => {
                if line(number + 1).is_some() {
                    Guard::Prologue(number + 1)
                } else {
                    Guard::Batch
                }
            }
            Guard::Prologue(_) => {
                return Err("the guard is not whole, or not the one that this version writes".to_owned());
            }
            Guard::Batch if piece == guard::EPILOGUE.as_bytes() => Guard::Committed,
            Guard::Committed
                if self.height.is_none()
                    && guard::NEXT_BATCH.as_bytes().strip_prefix(guard::EPILOGUE.as_bytes()) == Some(piece) =>
            {
                if self.made.schemas.contains(VOTING) {
                    return Err(
                        "another transaction after that of kwild_voting: a cut restore would be started on".to_owned()
                    );
                }
                Guard::Batch
            }
            Guard::Committed => return Err("text after the guard's COMMIT".to_owned()),
            Guard::Batch | Guard::None => return Ok(false),
        };
        Ok(true)
    }
}

impl Sink for State {
    type Error = ScanError;

    fn blank(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
        if plain::check_blank(text).is_ok() && matches!(self.guard, Guard::Batch | Guard::None) {
            return Ok(());
        }
        Err(ScanError { line, statement: short(text), reason: "a comment, or an empty line in the guard".to_owned() })
    }

    fn command(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
        self.last_line = line;
        let refuse = |reason: String| ScanError { line, statement: short(text), reason };
        let is_guard = self.take_guard(text).map_err(refuse)?;
        if is_guard || (self.guard == Guard::None && self.height.is_none() && is_restrict(text)) {
            return Ok(());
        }
        Err(refuse("psql would run a command".to_owned()))
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, ScanError> {
        self.last_line = statement.line;
        let refuse = |reason: String| ScanError { line: statement.line, statement: short(statement.text), reason };
        if self.take_guard(statement.text).map_err(refuse)? {
            return Ok(Follows::Statement);
        }
        let text = statement.text.strip_suffix(b"\n").unwrap_or(statement.text);
        plain::check(text).map_err(refuse)?;
        let text = std::str::from_utf8(text).map_err(|_| refuse("text that is not UTF-8".to_owned()))?;
        match self.accept(text, statement.line).map_err(refuse)? {
            Accepted::Plain => Ok(Follows::Statement),
            Accepted::Copy { table, columns } => {
                let rows = if table.is(VOTING, "voters") { Rows::none() } else { Rows::new(columns) };
                self.block = Some(Block { table, line: statement.line, rows });
                Ok(Follows::CopyData)
            }
        }
    }

    fn data(&mut self, line: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, ScanError> {
        let Some(block) = &mut self.block else { return Ok(Some(0)) };
        let end = block.rows.take(data).map_err(|fault| ScanError {
            line: line + memchr_iter(b'\n', &data[..fault.offset]).count() as u64,
            statement: format!("rows of {}, from line {} on", block.table, block.line + 1),
            reason: fault.reason.to_owned(),
        })?;
        if end.is_some()
            && let Some(block) = self.block.take()
            && let Some(table) = self.made.tables.get_mut(&block.table)
        {
            table.rows = Some(block.rows.rows());
        }
        Ok(end)
    }
}
