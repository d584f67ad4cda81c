//! From pg_dump's plain text to the text of a snapshot, as a stream cut anywhere.
//!
//! Two sets of rules:
//!
//! * [`LineRules::Faithful`]: between `COPY … FROM stdin;` and `\.` every byte passes, and so does every line that begins
//!   inside a string literal, a quoted name or a dollar-quoted body. Outside, Kwil's line rules hold: blank lines, comment
//!   lines and the session's leading `SET`/`SELECT`/`\connect`/`CREATE DATABASE` go. The guard is put around it
//!   ([`guard`]), and what belongs to one machine or fails in every restore is left out ([`Omitted`]). The text must come in
//!   the guard's order, as [`guard::Arranger`] gives it.
//! * [`LineRules::Compat`]: Kwil's own rules for every line, data or not, with their losses. Where they would take data
//!   for the voters table (a forged validator), or tear a literal open by dropping the line that ends it, the filter
//!   refuses.
//!
//! With both, the real voters table's rows become the genesis' validators and its block is emptied, psql's
//! `\restrict`/`\unrestrict` lines (a random token) go, and so do statements about the database itself, which would change
//! the database of a validator: the one point where the compat text is not Kwil's. TRUF's `kwild_internal.sentry_seq`,
//! which honest nodes differ in and kwild makes again, goes in faithful mode only, as does the mark of a table that an
//! operator has had sorted (`CLUSTER`).
//!
//! A text that has gone through goes through again unchanged but for the guard, so a file of Kwil's own tools can be given
//! the guard in the same way ([`DumpFilter::of_snapshot`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    guard,
    sql::{Follows, Sink, SplitError, Splitter, Statement, short},
    token::{CopyHeader, Token, Tokens, qualified_name},
};
use crate::{
    base::{
        Advice, Error, Kind, Next,
        text::{self, escape},
    },
    formats::{Family, VoterRow},
};

mod omitted;
mod rows;
mod rules;
#[cfg(test)]
mod tests;
mod tuning;
mod voters;

pub use omitted::Omitted;
use rows::{CompatRows, FaithfulRows};
use rules::{KwilRules, Verdict};
use tuning::{Untuned, untuned};
use voters::VoterReader;

/// The rules that say which lines of a dump stay in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineRules {
    /// No row and no line of a literal or body is lost, and the guard is put around the text.
    Faithful,
    /// Kwil's own rules, losses included.
    Compat,
}

/// Why a dump gives no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is not what pg_dump writes, or ends too early.
    #[error("line {line} of the dump: {reason}: {}", escape(.text))]
    Unexpected {
        /// The line of the dump, counted from 1.
        line: u64,
        /// The beginning of the statement or line.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A row of the voters table cannot be read.
    #[error("line {line} of the dump: the voters table {reason}")]
    Voters {
        /// The line of the dump, counted from 1.
        line: u64,
        /// What is wrong; it goes on from "the voters table".
        reason: String,
    },
    /// Kwil's rules would take data for the voters table.
    #[error(
        "line {line} of the dump: {place} looks like the voters table to Kwil's own rules, which would make validators of \
         the lines after it: {}", escape(.text)
    )]
    Forgery {
        /// The line of the dump, counted from 1.
        line: u64,
        /// In what the line stands, in words.
        place: &'static str,
        /// The line's beginning.
        text: String,
    },
    /// Kwil's rules would drop a line on which a literal or body begins or ends.
    #[error("line {line} of the dump: Kwil's own rules drop a line on which a literal begins or ends: {}", escape(.text))]
    TornLiteral {
        /// The line of the dump, counted from 1.
        line: u64,
        /// The line's beginning.
        text: String,
    },
    /// The chain has no blocks, so that no height can be taken off.
    #[error("the chain has no height ({height}): it has made no block")]
    NoBlocks {
        /// The chain's height, as the caller gave it.
        height: i64,
    },
}

impl From<SplitError> for FilterError {
    fn from(e: SplitError) -> Self {
        FilterError::Unexpected { line: e.line, text: e.text, reason: e.reason }
    }
}

impl From<FilterError> for Error {
    fn from(e: FilterError) -> Self {
        let (kind, advice): (Kind, Advice) = match &e {
            FilterError::Unexpected { .. } => {
                (Kind::Failed, "check that pg_dump is 15 or newer and ended without an error, then try again".into())
            }
            FilterError::Voters { .. } => (Kind::Verify, Next::RightFamily.into()),
            FilterError::Forgery { .. } | FilterError::TornLiteral { .. } => (Kind::Refused, Next::DefaultRules.into()),
            FilterError::NoBlocks { .. } => {
                (Kind::Refused, "make the snapshot from a network that has made blocks".into())
            }
        };
        Error::new(kind, e.to_string()).hint(advice)
    }
}

/// What a filter let through and left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterReport {
    /// Rows of the voters table, in the table's order.
    pub voters: Vec<VoterRow>,
    /// The number of COPY blocks, the emptied one of the voters included.
    pub tables: u64,
    /// The number of COPY rows written.
    pub rows: u64,
    /// By `schema.table`, how many rows stayed that Kwil's own rules would have dropped; only with
    /// [`LineRules::Faithful`].
    pub rescued_rows: BTreeMap<String, u64>,
    /// By object, how many lines of literals, quoted names and bodies stayed that Kwil's own rules would have dropped;
    /// only with [`LineRules::Faithful`].
    pub rescued_lines: BTreeMap<String, u64>,
    /// How many statements were left out of a guarded text, by the reason. What no snapshot has (the session's
    /// settings, what is about the database) does not count.
    pub omitted: BTreeMap<Omitted, u64>,
    /// The tables and indexes that somebody had tuned, which was left out; only with [`LineRules::Faithful`].
    pub tuned: BTreeSet<String>,
}

impl FilterReport {
    /// A sentence for each sort of statement that was left out.
    pub fn omitted_notes(&self) -> impl Iterator<Item = String> {
        let statements = |n: u64| text::count(n, "statement");
        self.omitted.iter().map(move |(what, count)| format!("Left out: {what} ({})", statements(*count)))
    }
}

/// Takes pg_dump's text, or that of an unguarded snapshot, in any pieces, and writes a snapshot's.
#[derive(Debug)]
pub struct DumpFilter {
    splitter: Splitter,
    core: Core,
}

impl DumpFilter {
    /// A filter at the dump's first byte.
    pub fn new(family: Family, rules: LineRules) -> Self {
        let core = Core {
            family,
            rules,
            kwil: KwilRules::default(),
            report: FilterReport::default(),
            block: None,
            voters_seen: false,
            batches: guard::Batches::default(),
            begun: rules == LineRules::Compat,
            votes: 0,
        };
        DumpFilter { splitter: Splitter::new(), core }
    }

    /// A filter for the text of a snapshot without a guard. It ends with [`DumpFilter::finish_snapshot`], because the
    /// text has its closing UPDATE already.
    pub fn of_snapshot(family: Family) -> Self {
        DumpFilter::new(family, LineRules::Faithful)
    }

    /// Takes any piece of pg_dump's text and appends what stays to `out`. Holds at most one statement, never a row.
    ///
    /// # Errors
    /// When the text is not pg_dump's or a rule refuses; `out` is of no use then.
    pub fn push(&mut self, dump: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.core.begin(out);
        self.splitter.push(dump, &mut self.core, out)
    }

    /// The number of COPY rows written so far.
    pub fn rows(&self) -> u64 {
        let open = match &self.core.block {
            Some((_, Block::Faithful(rows))) => rows.rows(),
            Some((_, Block::Compat(rows))) => rows.rows(),
            _ => 0,
        };
        self.core.report.rows + open
    }

    /// Ends the dump: appends the line that takes the height off the resolutions' expiry, as Kwil's tool does in both
    /// families, and the guard's end where there is a guard.
    ///
    /// # Errors
    /// When the dump ends in the middle of something, or the chain has no blocks.
    pub fn finish(mut self, height: i64, out: &mut Vec<u8>) -> Result<FilterReport, FilterError> {
        self.splitter.finish()?;
        // Kwil writes `expiration--1;` for an empty chain: a comment that swallows the statement's end.
        if height < -1 || (height < 0 && self.core.rules == LineRules::Faithful) {
            return Err(FilterError::NoBlocks { height });
        }
        self.core.begin(out);
        out.extend_from_slice(
            format!("UPDATE kwild_voting.resolutions SET expiration = expiration-{height};\n").as_bytes(),
        );
        if self.core.rules == LineRules::Faithful {
            out.extend_from_slice(guard::EPILOGUE.as_bytes());
        }
        Ok(self.core.report)
    }

    /// Ends the text of a snapshot, whose own closing UPDATE has gone through: appends the guard's end.
    ///
    /// # Errors
    /// When it ends in the middle of something.
    pub fn finish_snapshot(mut self, out: &mut Vec<u8>) -> Result<FilterReport, FilterError> {
        self.splitter.finish()?;
        self.core.begin(out);
        out.extend_from_slice(guard::EPILOGUE.as_bytes());
        Ok(self.core.report)
    }
}

/// An open COPY block.
#[derive(Debug)]
enum Block {
    Voters(VoterReader),
    Faithful(FaithfulRows),
    Compat(CompatRows),
}

#[derive(Debug)]
struct Core {
    family: Family,
    rules: LineRules,
    kwil: KwilRules,
    report: FilterReport,
    block: Option<(String, Block)>,
    voters_seen: bool,
    batches: guard::Batches,
    /// The guard's first lines have been written, or there is no guard.
    begun: bool,
    /// The number of rows of `kwild_voting.votes`.
    votes: u64,
}

/// What a statement is to the filter.
enum Role {
    Keep {
        /// Whether a new batch begins before the statement.
        ends_batch: bool,
        /// The header of the rows that follow; `None` where none do.
        copy: Option<CopyHeader>,
    },
    Drop,
    /// It makes `kwild_internal`, which may be there: a kwild whose restore failed leaves that schema behind.
    Internal,
}

impl Core {
    /// Writes the guard's first lines, once.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(guard::PROLOGUE.as_bytes());
        }
    }

    fn role(&mut self, statement: &Statement<'_>) -> Result<Role, FilterError> {
        // What the strict reader stops at is no statement that matters here.
        let text = String::from_utf8_lossy(statement.text);
        let tokens: Vec<Token<'_>> = Tokens::new(&text).map_while(Result::ok).collect();
        if is_about_database(&tokens) {
            return Ok(Role::Drop);
        }
        let mut ends_batch = false;
        if self.rules == LineRules::Faithful {
            if is_sentry_sequence(&tokens) || is_cluster_mark(&tokens) {
                return Ok(Role::Drop);
            }
            if let Some(omitted) = Omitted::of(&tokens, self.votes) {
                *self.report.omitted.entry(omitted).or_default() += 1;
                return Ok(Role::Drop);
            }
            if is_internal_schema(&tokens) {
                return Ok(Role::Internal);
            }
            ends_batch = self.batches.next(&tokens);
        }
        if tokens.first().is_some_and(|t| t.is("COPY")) {
            let header = CopyHeader::read(&tokens).ok_or_else(|| FilterError::Unexpected {
                line: statement.line,
                text: short(statement.text),
                reason: "a COPY statement of another form than pg_dump's",
            })?;
            return Ok(Role::Keep { ends_batch, copy: Some(header) });
        }
        Ok(Role::Keep { ends_batch, copy: None })
    }

    /// [`Core::write_faithful`] without what a DBA tuned.
    fn write_untuned(&mut self, statement: &Statement<'_>, ends_batch: bool, out: &mut Vec<u8>) {
        match untuned(statement) {
            Untuned::Same => self.write_faithful(statement, ends_batch, out),
            Untuned::Nothing { object } => {
                self.report.tuned.insert(object);
                if ends_batch {
                    out.extend_from_slice(guard::NEXT_BATCH.as_bytes());
                }
            }
            Untuned::Less { object, text, lines } => {
                self.report.tuned.insert(object);
                self.write_faithful(&Statement { text: &text, lines: &lines, line: statement.line }, ends_batch, out);
            }
        }
    }

    fn write_faithful(&mut self, statement: &Statement<'_>, ends_batch: bool, out: &mut Vec<u8>) {
        let mut rescued = 0;
        let before = out.len();
        if ends_batch {
            out.extend_from_slice(guard::NEXT_BATCH.as_bytes());
        }
        for (i, (line, text)) in statement.lines().enumerate() {
            let verdict = self.kwil.verdict(text);
            if line.begins_in_data {
                rescued += u64::from(verdict == Verdict::Drop);
            } else if verdict == Verdict::Drop {
                // The session's leading statements go as a whole, also where a value has line breaks.
                if i == 0 && !rules::is_blank_or_comment(text) {
                    out.truncate(before);
                    return;
                }
                continue;
            } else {
                self.kwil.keep(text);
            }
            out.extend_from_slice(text);
        }
        if rescued > 0 {
            let object = String::from_utf8_lossy(statement.text);
            *self.report.rescued_lines.entry(object_name(&object)).or_default() += rescued;
        }
    }

    fn write_compat(
        &mut self,
        statement: &Statement<'_>,
        header: Option<&CopyHeader>,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        let voters = header.is_some_and(|h| h.table.is("kwild_voting", "voters")) && statement.lines.len() == 1;
        for (number, (line, text)) in (statement.line..).zip(statement.lines()) {
            if self.kwil.verdict(text) == Verdict::Drop {
                let torn = line.begins_in_data != line.ends_in_data || (line.begins_in_data && line.touches_code);
                if torn {
                    return Err(FilterError::TornLiteral { line: number, text: short(text) });
                }
                continue;
            }
            if rules::looks_like_voters(text) && !voters {
                let place = if line.begins_in_data { "text inside a literal or body" } else { "another statement" };
                return Err(FilterError::Forgery { line: number, place, text: short(text) });
            }
            self.kwil.keep(text);
            out.extend_from_slice(text);
        }
        Ok(())
    }

    fn open_block(&mut self, header: CopyHeader, line: u64) -> Result<(), FilterError> {
        self.report.tables += 1;
        let table = header.table.to_string();
        let block = if header.table.is("kwild_voting", "voters") {
            if std::mem::replace(&mut self.voters_seen, true) {
                return Err(FilterError::Voters { line, reason: "appears twice".to_owned() });
            }
            Block::Voters(VoterReader::new(self.family, &header.columns, line)?)
        } else {
            match self.rules {
                LineRules::Faithful => Block::Faithful(FaithfulRows::default()),
                LineRules::Compat => Block::Compat(CompatRows::default()),
            }
        };
        self.block = Some((table, block));
        Ok(())
    }
}

impl Sink for Core {
    type Error = FilterError;

    fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), FilterError> {
        Ok(())
    }

    fn command(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), FilterError> {
        let word = text.split(|b| b.is_ascii_whitespace()).find(|w| !w.is_empty()).unwrap_or_default();
        match word {
            b"\\restrict" | b"\\unrestrict" => Ok(()),
            b"\\connect" if !self.kwil.started() => Ok(()),
            _ => Err(FilterError::Unexpected {
                line,
                text: short(text),
                reason: "a psql command that pg_dump does not write",
            }),
        }
    }

    fn statement(&mut self, statement: &Statement<'_>, out: &mut Vec<u8>) -> Result<Follows, FilterError> {
        let (ends_batch, header) = match self.role(statement)? {
            Role::Drop => return Ok(Follows::Statement),
            Role::Internal => {
                self.kwil.keep(statement.text);
                out.extend_from_slice(guard::INTERNAL_SCHEMA.as_bytes());
                return Ok(Follows::Statement);
            }
            Role::Keep { ends_batch, copy } => (ends_batch, copy),
        };
        match self.rules {
            LineRules::Faithful => self.write_untuned(statement, ends_batch, out),
            LineRules::Compat => self.write_compat(statement, header.as_ref(), out)?,
        }
        let Some(header) = header else { return Ok(Follows::Statement) };
        self.open_block(header, statement.line)?;
        Ok(Follows::CopyData)
    }

    fn data(&mut self, line: u64, data: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, FilterError> {
        let Some((table, block)) = &mut self.block else { return Ok(Some(0)) };
        let end = match block {
            Block::Voters(voters) => voters.take(line, data, &mut self.report.voters)?,
            Block::Faithful(rows) => rows.take(data, out),
            Block::Compat(rows) => rows.take(line, data, &self.kwil, out)?,
        };
        if end.is_some() {
            match block {
                Block::Voters(_) => out.extend_from_slice(b"\\.\n"),
                Block::Faithful(rows) => {
                    self.report.rows += rows.rows();
                    if table == VOTES_TABLE {
                        self.votes += rows.rows();
                    }
                    if rows.rescued() > 0 {
                        *self.report.rescued_rows.entry(table.clone()).or_default() += rows.rescued();
                    }
                }
                Block::Compat(rows) => self.report.rows += rows.rows(),
            }
            self.block = None;
        }
        Ok(end)
    }
}

/// The table whose rows decide whether a restore can make its foreign key to the voters.
const VOTES_TABLE: &str = "kwild_voting.votes";

/// Whether this is `CREATE SCHEMA kwild_internal;`, also in the form that a guarded text has it.
fn is_internal_schema(tokens: &[Token<'_>]) -> bool {
    matches!(tokens, [create, schema, .., name, _] if create.is("CREATE") && schema.is("SCHEMA")
        && name.name().is_some_and(|name| name == "kwild_internal"))
}

/// Whether this is `ALTER DATABASE`, or `COMMENT`, `SECURITY LABEL`, `GRANT`, `REVOKE` … `ON DATABASE`.
fn is_about_database(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [alter, database, ..] if alter.is("ALTER") && database.is("DATABASE") => true,
        [first, ..] if ["COMMENT", "SECURITY", "GRANT", "REVOKE"].iter().any(|w| first.is(w)) => {
            let on = tokens.iter().position(|t| t.is("ON"));
            on.is_some_and(|at| tokens.get(at + 1).is_some_and(|t| t.is("DATABASE")))
        }
        _ => false,
    }
}

/// Whether this is `ALTER TABLE … CLUSTER ON index`: the order in which one operator's server had laid the rows.
pub(super) fn is_cluster_mark(tokens: &[Token<'_>]) -> bool {
    matches!(tokens, [alter, table, .., cluster, on, _, end]
        if alter.is("ALTER") && table.is("TABLE") && cluster.is("CLUSTER") && on.is("ON") && end.is_symbol(";"))
}

/// Whether this is one of the statements about TRUF's `kwild_internal.sentry_seq`.
pub(super) fn is_sentry_sequence(tokens: &[Token<'_>]) -> bool {
    let is_sentry = |tokens| qualified_name(tokens).is_some_and(|n| n.is("kwild_internal", "sentry_seq"));
    match tokens {
        [verb, sequence, rest @ ..] if (verb.is("CREATE") || verb.is("ALTER")) && sequence.is("SEQUENCE") => {
            is_sentry(rest)
        }
        [select, schema, dot, setval, open, Token::Literal(name), ..] => {
            select.is("SELECT")
                && schema.is("pg_catalog")
                && dot.is_symbol(".")
                && setval.is("setval")
                && open.is_symbol("(")
                && *name == "kwild_internal.sentry_seq"
        }
        [first, ..] if first.is("GRANT") || first.is("REVOKE") => tokens
            .iter()
            .position(|t| t.is("ON"))
            .is_some_and(|at| tokens.get(at + 1).is_some_and(|t| t.is("SEQUENCE")) && is_sentry(&tokens[at + 2..])),
        _ => false,
    }
}

/// The object a statement is about: its first qualified name.
fn object_name(text: &str) -> String {
    let tokens: Vec<Token<'_>> = Tokens::new(text).map_while(Result::ok).collect();
    (0..tokens.len())
        .find_map(|at| qualified_name(&tokens[at..]))
        .map_or_else(|| short(text.as_bytes()), |name| name.to_string())
}
