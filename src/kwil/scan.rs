//! The statement allow-list. psql runs a snapshot's text as a superuser on every validator's machine, so the text is read
//! here first, and whatever a Kwil dump does not consist of is refused with its line and the reason.
//!
//! # Grammar
//!
//! `NAME` is an identifier of at most 63 bytes, quoted or not; not quoted, it is none of PostgreSQL 16's reserved words.
//! `QN` is `NAME.NAME` in a schema that this file makes; `TABLE`, `SEQUENCE` are `QN`s that it made before, and tables,
//! views, sequences, indexes, primary keys, unique constraints and types share one space of names, each made once.
//! Keywords in any case. Every statement ends with `;` and a line end.
//!
//! ```text
//! file      := restrict* schema+ restrict? statement* restrict* update? end
//! restrict  := "\restrict" TOKEN | "\unrestrict" TOKEN              TOKEN := letters and digits; psql only gets stricter
//! schema    := CREATE SCHEMA NAME
//!              not public, information_schema, pg_*, kwild_chain, kwild_events, kwild_migrations, kwild_peers;
//!              without kwild_engine (v0.9) only kwild_accts, kwild_internal, kwild_voting and ds_*; kwild_voting always
//! statement := CREATE TYPE QN AS ENUM (literal, …)                  literals of at most 63 bytes, none twice
//!            | CREATE FUNCTION QN (names and types) RETURNS type LANGUAGE plpgsql|sql [IMMUTABLE|STABLE|STRICT] AS $…$
//!              kwild_voting.insert_resolution; v0.10: kwild_engine.format_type, .format_pg_type; v0.9: any in ds_*;
//!              no word BEGIN outside the body
//!            | CREATE TABLE QN (column, …, CONSTRAINT NAME CHECK (expression), …)
//!              column := NAME type [COLLATE public.nocase] [DEFAULT expression] [NOT NULL]
//!              type   := bigint boolean bytea integer numeric[(p,s)] smallint text uuid, an enum of this file,
//!                        v0.9: public.uint256; each with [] or without
//!            | CREATE VIEW info.NAME AS query                     of the catalogue only what describes tables
//!            | CREATE SEQUENCE QN words and numbers | ALTER SEQUENCE SEQUENCE OWNED BY TABLE.NAME
//!            | ALTER TABLE [ONLY] TABLE (REPLICA IDENTITY … | ALTER COLUMN NAME SET DEFAULT expression or nextval
//!              | ADD CONSTRAINT NAME (PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY … REFERENCES TABLE …))
//!            | CREATE [UNIQUE] INDEX NAME ON TABLE USING btree|hash|gin (expression, …) [INCLUDE (…)] [WHERE expression]
//!            | COPY TABLE (exactly its columns) FROM stdin         then rows, then "\."; once a table; no rows where the
//!              table is kwild_voting.voters or not proven; never after GRANT, REVOKE or ALTER DEFAULT PRIVILEGES
//!            | SELECT pg_catalog.setval('SEQUENCE', n, true|false) | SELECT pg_catalog.lo_create('n')
//!            | BEGIN, then SELECT pg_catalog.lo_open|lowrite|lo_close(…) only, then COMMIT
//!            | GRANT|REVOKE privileges ON [TABLE|SEQUENCE|FUNCTION|TYPE] QN or SCHEMA NAME TO|FROM NAME
//!            | ALTER DEFAULT PRIVILEGES [FOR ROLE NAME] IN SCHEMA NAME GRANT|REVOKE privileges ON word TO|FROM NAME
//! update    := UPDATE kwild_voting.resolutions SET expiration = expiration-N        nothing follows
//! ```
//!
//! Outside literals, quoted names and bodies only ASCII stands, no comment, no backslash, no carriage return, no `:name`
//! that psql would fill in, and nothing that two versions of psql cut into different tokens; literals have no prefix, and a
//! backslash in them stands for itself, as kwild demands of its servers. Expressions in tables and indexes name the
//! table's columns and call functions that only compute; literals with a cast must be values of the type. Bodies hold no
//! DDL, no COPY, no text run as SQL but Kwil's own form, no catalogue or file functions. Rows are UTF-8 with pg_dump's
//! escapes only.
//!
//! # Proven tables
//!
//! psql does not stop at an error. Where the server refuses a `COPY`, psql reads its rows as statements and commands, and
//! no rule about rows helps there: what pg_dump writes for a tab runs a program if backquotes follow. The server refuses a
//! `COPY` when the table is not there, so a table is proven when its `CREATE TABLE` cannot fail (and its defaults, which
//! some servers compute when rows begin):
//!
//! ```text
//! check   := ( expression ), boolean            default := value | primary of the column's type that cannot raise an error
//! expression := primary | NOT primary | sign primary | primary operator primary | primary (AND primary)+ | primary (OR primary)+
//!            | primary IS [NOT] (NULL | TRUE | FALSE | UNKNOWN | DISTINCT FROM primary) | primary operator ANY|ALL (expression)
//! primary := (NAME | ( expression )) [ "[" expression [: expression] "]" ] (:: type)* | number (:: type)* | literal (:: type)+
//!            | TRUE | FALSE | NULL :: type | ARRAY[expression, …] | CASE … END | [pg_catalog.]function(expression, …)
//!            | COALESCE, GREATEST, LEAST, NULLIF, OVERLAY, POSITION, SUBSTRING and TRIM in SQL's forms
//! ```
//!
//! with the operands' types exactly as one of PostgreSQL's operators and functions has them. pg_dump prints every operator
//! in parentheses and every cast, so it needs no more. Functions and collations of `public` prove nothing: kwild makes them
//! only after it has restored. Indexes and later constraints may fail, since no rows depend on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use memchr::{memchr, memchr_iter};

use super::{
    Family,
    guard::PROLOGUE,
    sql::{Next, Sink, SplitError, Splitter, Statement, short},
    token::{Name, Token, Tokens},
};
use crate::base::{Error, text::escape};

mod body;
mod constant;
mod constraint;
mod cursor;
mod expression;
mod grammar;
mod keyword;
mod privilege;
mod proof;
mod routine;
mod rows;
mod sequence;
mod signature;
mod table;
#[cfg(test)]
mod tests;
mod types;

use grammar::Accepted;
use rows::{Columns, Rows, Utf8};
use types::{Column, Types};

/// The text is not a snapshot that psql may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// Line of the text, from 1: where the statement begins.
    pub line: u64,
    /// The statement's beginning, as it stands in the file.
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
        Error::verify(format!("the snapshot holds what no Kwil dump holds, {e}"))
            .hint("do not start kwild on it; ask the lead for a snapshot made by `regenesis snapshot create`")
    }
}

/// What the text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReport {
    /// Told by the schema `kwild_engine`.
    pub family: Family,
    /// Tables made.
    pub tables: u64,
    /// Rows of all COPY blocks.
    pub rows: u64,
    /// Rows by `schema.table`, for each COPY block.
    pub table_rows: BTreeMap<String, u64>,
    /// The height in the closing UPDATE, where there is one.
    pub height: Option<i64>,
    /// Schemas made.
    pub schemas: BTreeSet<String>,
    /// Rows of the voters table: always 0, other texts are refused.
    pub voters_rows: u64,
    /// Tables that are made but have no COPY block; pg_dump writes one for each, also without rows.
    pub tables_without_rows: Vec<String>,
    /// It has the guard around it.
    pub guarded: bool,
}

/// The scanner.
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

    /// Refuses a row, too, that has not as many columns as its COPY names. That does no harm but to its table, which would
    /// stay empty.
    #[must_use]
    pub fn counting_columns(mut self) -> Self {
        self.state.counts_columns = true;
        self
    }

    /// Takes any piece of the uncompressed text. Holds at most one statement, never a row.
    ///
    /// # Errors
    /// At the first statement or row that does not belong.
    pub fn push(&mut self, text: &[u8]) -> Result<(), ScanError> {
        self.splitter.push(text, &mut self.state, &mut Vec::new())
    }

    /// The text is over.
    ///
    /// # Errors
    /// When it ends in the middle of something or is no snapshot at all.
    pub fn finish(self) -> Result<ScanReport, ScanError> {
        self.splitter.finish()?;
        let mut state = self.state;
        if state.guard > 0 && !state.committed {
            let reason = "a guarded text without its last line".to_owned();
            return Err(ScanError { line: state.last_line, statement: String::new(), reason });
        }
        state.committed = false;
        let whole = |reason: String| ScanError { line: state.last_line, statement: String::new(), reason };
        if state.in_large_object {
            return Err(whole("the text ends inside a transaction".to_owned()));
        }
        if state.guard > 0 && !state.schemas.contains("kwild_voting") {
            return Err(whole("no schema kwild_voting is made: this is no Kwil snapshot".to_owned()));
        }
        state.schemas_are_complete().map_err(|reason| ScanError {
            line: state.last_line,
            statement: String::new(),
            reason,
        })?;
        let without_rows = state.tables.keys().filter(|table| !state.copied.contains(table));
        Ok(ScanReport {
            tables_without_rows: without_rows.map(Name::to_string).collect(),
            family: state.family.unwrap_or(Family::V09),
            tables: state.tables.len() as u64,
            rows: state.table_rows.values().sum(),
            table_rows: state.table_rows,
            height: state.height,
            schemas: state.schemas,
            voters_rows: 0,
            guarded: state.guard > 0,
        })
    }
}

/// What the statements so far have made.
#[derive(Debug, Default)]
struct State {
    /// Known when the schemas are complete.
    family: Option<Family>,
    schemas: BTreeSet<String>,
    /// Tables, views, sequences, indexes and types share one space of names.
    relations: BTreeSet<Name>,
    tables: BTreeMap<Name, Table>,
    types: Types,
    sequences: BTreeSet<Name>,
    copied: BTreeSet<Name>,
    in_large_object: bool,
    /// Bytes of the guard's first lines that were read.
    guard: usize,
    /// A batch has ended.
    committed: bool,
    block: Option<Block>,
    counts_columns: bool,
    /// A GRANT or REVOKE was seen.
    privileges_seen: bool,
    table_rows: BTreeMap<String, u64>,
    height: Option<i64>,
    last_line: u64,
}

/// A table that this file makes.
#[derive(Debug)]
struct Table {
    columns: Vec<Column>,
    /// Why the server might not make it.
    unproven: Option<String>,
}

/// The rows that are being read.
#[derive(Debug)]
struct Block {
    table: Name,
    /// Line of its COPY.
    line: u64,
    rows: Rows,
    utf8: Utf8,
    /// Where each row's columns are counted.
    columns: Option<Columns>,
    /// Why there must be none.
    must_be_empty: Option<String>,
    /// How much of the end was read where there must be none.
    ended: usize,
}

impl Block {
    /// Takes data of a block without rows: only its end may come.
    fn take_end(&mut self, data: &[u8], reason: &str) -> Result<Option<usize>, ScanError> {
        const END: &[u8] = b"\\.\n";
        for (at, byte) in data.iter().enumerate() {
            if END.get(self.ended) != Some(byte) {
                let statement = format!("COPY {}", self.table);
                return Err(ScanError { line: self.line, statement, reason: reason.to_owned() });
            }
            self.ended += 1;
            if self.ended == END.len() {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }
}

impl State {
    /// The first statement that makes no schema: from here on the family is known.
    fn schemas_are_complete(&mut self) -> Result<(), String> {
        if self.family.is_some() {
            return Ok(());
        }
        if self.guard == 0 && !self.schemas.contains("kwild_voting") {
            return Err("no schema kwild_voting is made: this is no Kwil snapshot".to_owned());
        }
        let family = if self.schemas.contains("kwild_engine") { Family::V010 } else { Family::V09 };
        let is_v09 = |s: &str| ["kwild_accts", "kwild_internal", "kwild_voting"].contains(&s) || s.starts_with("ds_");
        if family == Family::V09
            && let Some(foreign) = self.schemas.iter().find(|s| !is_v09(s))
        {
            return Err(format!("the schema {foreign} is none of Kwil {family}, and kwild_engine is missing"));
        }
        self.family = Some(family);
        self.types.uint256 = family == Family::V09;
        Ok(())
    }

    fn is_known_function(&self, name: &Name) -> bool {
        let v09 = self.family == Some(Family::V09);
        name.is("kwild_voting", "insert_resolution")
            || (v09 && name.schema.starts_with("ds_"))
            || (!v09 && (name.is("kwild_engine", "format_type") || name.is("kwild_engine", "format_pg_type")))
    }
}

/// `\restrict TOKEN` or `\unrestrict TOKEN`, to the byte.
fn is_restrict(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let token = line.strip_prefix(b"\\restrict ").or_else(|| line.strip_prefix(b"\\unrestrict "));
    token.is_some_and(|t| !t.is_empty() && t.iter().all(u8::is_ascii_alphanumeric))
}

impl State {
    /// A line of the guard.
    fn is_guard(&mut self, text: &[u8]) -> bool {
        if PROLOGUE.as_bytes()[self.guard..].starts_with(text) {
            self.guard += text.len();
            return true;
        }
        if self.guard != PROLOGUE.len() || self.block.is_some() {
            return false;
        }
        let was = self.committed;
        match text {
            b"COMMIT;\n" => self.committed = true,
            b"BEGIN;\n" => self.committed = false,
            _ => return false,
        }
        was != self.committed
    }
}

impl Sink for State {
    type Error = ScanError;

    fn blank(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
        if text.iter().all(|b| matches!(b, b' ' | b'\t' | b'\n')) {
            return Ok(());
        }
        let reason = "a comment or stray characters between statements".to_owned();
        Err(ScanError { line, statement: short(text), reason })
    }

    fn command(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
        self.last_line = line;
        if self.is_guard(text) {
            return Ok(());
        }
        if is_restrict(text) && self.height.is_none() && !self.in_large_object {
            return Ok(());
        }
        let reason = "psql would run this command".to_owned();
        Err(ScanError { line, statement: short(text), reason })
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Next, ScanError> {
        self.last_line = statement.line;
        let refuse = |reason: String| ScanError { line: statement.line, statement: short(statement.text), reason };
        if self.is_guard(statement.text) {
            return Ok(Next::Statement);
        }
        if self.committed || (self.guard != 0 && self.guard != PROLOGUE.len()) {
            return Err(refuse("it does not stand inside the guard".to_owned()));
        }
        if self.height.is_some() {
            return Err(refuse("a statement follows the closing UPDATE".to_owned()));
        }
        let text = std::str::from_utf8(statement.text).map_err(|_| refuse("text that is not UTF-8".to_owned()))?;
        if text.contains('\0') {
            return Err(refuse("a zero byte".to_owned()));
        }
        let tokens: Vec<Token<'_>> =
            Tokens::new(text).collect::<Result<_, _>>().map_err(|reason| refuse(reason.to_owned()))?;
        match self.accept(&tokens).map_err(refuse)? {
            Accepted::Plain => Ok(Next::Statement),
            Accepted::Update(height) => {
                self.height = Some(height);
                Ok(Next::Statement)
            }
            Accepted::Copy { table, must_be_empty } => {
                let count = self.tables.get(&table).map_or(0, |table| table.columns.len());
                self.block = Some(Block {
                    table,
                    line: statement.line,
                    rows: Rows::default(),
                    utf8: Utf8::default(),
                    columns: self.counts_columns.then(|| Columns::new(count)),
                    must_be_empty,
                    ended: 0,
                });
                Ok(Next::CopyData)
            }
        }
    }

    fn data(&mut self, line: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, ScanError> {
        let Some(block) = &mut self.block else { return Ok(Some(0)) };
        let end = if let Some(reason) = block.must_be_empty.clone() {
            block.take_end(data, &reason)?
        } else {
            let Block { table, rows, utf8, columns, .. } = block;
            let before = rows.rows;
            let refuse = |reason: &str, rows: &Rows| ScanError {
                line: line + (rows.rows - before),
                statement: format!("rows of {table}"),
                reason: reason.to_owned(),
            };
            let end = rows.take(data).map_err(|reason| refuse(reason, rows))?;
            let taken = &data[..end.unwrap_or(data.len())];
            utf8.take(taken).map_err(|reason| {
                let whole = std::str::from_utf8(taken).map_or_else(|e| e.valid_up_to(), |_| 0);
                let bad = memchr(0, taken).unwrap_or(whole);
                let line = line + memchr_iter(b'\n', &taken[..bad]).count() as u64;
                ScanError { line, statement: format!("rows of {table}"), reason: reason.to_owned() }
            })?;
            if let Some(columns) = columns {
                let before = columns.rows;
                // The last line feed is that of the block's end.
                let of_rows = &taken[..taken.len() - usize::from(end.is_some())];
                columns.take(of_rows).map_err(|reason| ScanError {
                    line: line + (columns.rows - before),
                    statement: format!("rows of {table}"),
                    reason: reason.to_owned(),
                })?;
            }
            if end.is_some() && !utf8.is_whole() {
                return Err(refuse("text that is not UTF-8", rows));
            }
            end
        };
        if end.is_some() {
            self.table_rows.insert(block.table.to_string(), block.rows.rows);
            self.block = None;
        }
        Ok(end)
    }
}
