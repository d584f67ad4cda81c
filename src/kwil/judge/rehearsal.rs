//! Reading a rehearsal of kwild's restore: which statements a snapshot's text consists of and where, what psql complained
//! of, and which complaints belong to every restore.
//!
//! psql names the line where a statement ends (of a COPY that fails in its rows: the line `\.`), so a complaint belongs to
//! the last statement that begins at or before its line. Where a COPY is refused, psql reads its rows as statements; all
//! that comes of it belongs to that COPY.

use serde::Serialize;

use crate::{
    base::{Error, text::escape},
    dump::{
        guard::RowsEnd,
        sql::{Follows, Sink, SplitError, Splitter, Statement, short},
        token::{CopyHeader, Token, Tokens},
    },
    formats::Family,
};

/// Bytes of statements that are kept; of those beyond only the lines are known.
const STATEMENTS_BYTES_MAX: usize = 64 << 20;
/// Statements that are named; a snapshot that fails more often is bad enough.
const FAILED_MAX: usize = 1000;
/// The most bytes of one line of psql's that are kept.
const MESSAGE_BYTES_MAX: usize = 1000;
/// What the server refuses in every restore of a snapshot with votes: the voters stand in the genesis.
const EXPECTED_CONSTRAINT: &str = "votes_voter_id_fkey";

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    line: u64,
    /// Its beginning; empty past the bound.
    text: Box<str>,
    /// The case in which the statement may fail; `None` where it never may.
    may_fail: Option<MayFail>,
    /// A command to psql itself.
    command: bool,
}

/// What a statement is that fails where it does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MayFail {
    /// It makes the constraint that cannot be made where there are votes.
    VotersKey,
    /// It gives privileges to a role of another machine.
    Privileges,
}

/// Where which statement of a text stands.
#[derive(Debug)]
pub struct Outline {
    splitter: Splitter,
    entries: Entries,
}

#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    bytes: usize,
    /// Where the rows of the open COPY block end.
    rows: RowsEnd,
}

impl Default for Outline {
    fn default() -> Self {
        Self::new()
    }
}

/// The text cannot be cut into statements.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the snapshot's text: {reason}")]
pub struct OutlineError {
    line: u64,
    reason: &'static str,
}

impl From<SplitError> for OutlineError {
    fn from(e: SplitError) -> Self {
        OutlineError { line: e.line, reason: e.reason }
    }
}

impl From<OutlineError> for Error {
    fn from(e: OutlineError) -> Self {
        Error::verify(e.to_string()).hint("is this a snapshot of a Kwil network, whole and unchanged?")
    }
}

impl Outline {
    /// An outline that waits for the text's first byte.
    pub fn new() -> Self {
        Outline { splitter: Splitter::new(), entries: Entries::default() }
    }

    /// Takes any piece of the text.
    ///
    /// # Errors
    /// When it is none of SQL.
    pub fn push(&mut self, text: &[u8]) -> Result<(), OutlineError> {
        self.splitter.push(text, &mut self.entries, &mut Vec::new())
    }

    fn at(&self, line: u64) -> Option<&Entry> {
        let after = self.entries.list.partition_point(|entry| entry.line <= line);
        self.entries.list.get(after.checked_sub(1)?)
    }
}

impl Sink for Entries {
    type Error = OutlineError;

    fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), OutlineError> {
        Ok(())
    }

    fn command(&mut self, line: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), OutlineError> {
        self.add(line, text, None, true);
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, OutlineError> {
        let text = String::from_utf8_lossy(statement.text);
        let tokens: Vec<Token<'_>> = Tokens::new(&text).map_while(Result::ok).collect();
        self.add(statement.line, statement.text, may_fail(&tokens), false);
        // As the server of a network would: a COPY that is refused ends where its rows end all the same.
        if CopyHeader::read(&tokens).is_some() {
            self.rows = RowsEnd::default();
            return Ok(Follows::CopyData);
        }
        Ok(Follows::Statement)
    }

    fn data(&mut self, _: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, OutlineError> {
        Ok(self.rows.take(data))
    }
}

impl Entries {
    fn add(&mut self, line: u64, text: &[u8], may_fail: Option<MayFail>, command: bool) {
        let text = if self.bytes < STATEMENTS_BYTES_MAX { short(text) } else { String::new() };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.bytes += text.len();
        self.list.push(Entry { line, text: text.into(), may_fail, command });
    }
}

/// `ALTER TABLE ONLY kwild_voting.votes ADD CONSTRAINT votes_voter_id_fkey …`, or privileges.
fn may_fail(tokens: &[Token<'_>]) -> Option<MayFail> {
    let first = tokens.first()?;
    if first.is("GRANT") || first.is("REVOKE") || (first.is("ALTER") && tokens.get(1)?.is("DEFAULT")) {
        return Some(MayFail::Privileges);
    }
    let words = ["ALTER", "TABLE", "ONLY", "kwild_voting", ".", "votes", "ADD", "CONSTRAINT", EXPECTED_CONSTRAINT];
    let key = tokens.len() > words.len()
        && words
            .iter()
            .zip(tokens)
            .all(|(word, token)| if *word == "." { token.is_symbol(".") } else { token.is(word) });
    key.then_some(MayFail::VotersKey)
}

/// A statement that psql could not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedStatement {
    /// Where it begins in the snapshot's text, from 1.
    pub line: u64,
    /// Its beginning.
    pub statement: String,
    /// The server's (or psql's) words for the first thing that was wrong.
    pub message: String,
    /// PostgreSQL's code for it, where the server said it.
    pub sqlstate: Option<String>,
    /// What else was wrong with it; of a COPY that was refused, its rows read as statements.
    pub more: u64,
    /// Every restore of such a snapshot has it, and it does no harm.
    pub expected: bool,
}

/// Takes psql's error output line by line, as `psql -f - -v VERBOSITY=verbose` prints it.
#[derive(Debug, Default)]
pub struct Complaints {
    /// Line, code, message.
    found: Vec<Complaint>,
    /// Not kept, by their count.
    beyond: u64,
    last_line: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    line: u64,
    sqlstate: Option<String>,
    message: String,
}

impl Complaints {
    /// Takes a line.
    pub fn push(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(MESSAGE_BYTES_MAX)]);
        let line = line.trim_end();
        if let Some(complaint) = read_complaint(line) {
            // A cascade has one for each row: the first of its statement is what matters.
            if self.found.len() < 20 * FAILED_MAX {
                self.found.push(complaint);
            } else {
                self.beyond += 1;
            }
        } else if !line.is_empty() {
            self.last_line = Some(escape(line));
        }
    }

    /// Whether a statement failed.
    pub fn any(&self) -> bool {
        !self.found.is_empty()
    }

    /// The last line that was none of a statement's: why psql ended, where it did.
    pub fn last_words(&self) -> Option<&str> {
        self.last_line.as_deref()
    }

    /// What failed, by statement, in the text's order; and how many complaints there were beyond those kept.
    pub fn by_statement(&self, outline: &Outline, votes_rows: u64) -> (Vec<FailedStatement>, u64) {
        let mut failed: Vec<FailedStatement> = Vec::new();
        let mut beyond = self.beyond;
        for complaint in &self.found {
            let entry = outline.at(complaint.line);
            let line = entry.map_or(complaint.line, |entry| entry.line);
            if let Some(known) = failed.last_mut().filter(|known| known.line == line) {
                known.more += 1;
                continue;
            }
            if failed.len() == FAILED_MAX {
                beyond += 1;
                continue;
            }
            let expected = entry.is_some_and(|entry| {
                // A psql older than the pg_dump that wrote the line; both restore the same rows.
                let unknown_command = entry.command && complaint.message.starts_with("invalid command \\");
                // The key that is missing, nothing else.
                let no_voters = entry.may_fail == Some(MayFail::VotersKey)
                    && votes_rows > 0
                    && complaint.sqlstate.as_deref() == Some("23503");
                let no_role =
                    entry.may_fail == Some(MayFail::Privileges) && complaint.sqlstate.as_deref() == Some("42704");
                unknown_command || no_voters || no_role
            });
            failed.push(FailedStatement {
                line,
                statement: entry.map(|entry| escape(&entry.text)).unwrap_or_default(),
                message: complaint.message.clone(),
                sqlstate: complaint.sqlstate.clone(),
                more: 0,
                expected,
            });
        }
        (failed, beyond)
    }
}

/// `psql:<stdin>:LINE: SEVERITY:  SQLSTATE: message`, or psql's own `psql:<stdin>:LINE: error: message`.
fn read_complaint(text: &str) -> Option<Complaint> {
    let rest = text.strip_prefix("psql:<stdin>:")?;
    let (line, rest) = rest.split_once(": ")?;
    let line = line.parse().ok()?;
    if let Some(message) = rest.strip_prefix("error: ") {
        return Some(Complaint { line, sqlstate: None, message: escape(message) });
    }
    // The word for the severity may be in the server's language; the code is not.
    let (severity, rest) = rest.split_once(":  ")?;
    let (code, message) = rest.split_once(": ")?;
    let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if !is_code || severity.contains(' ') {
        return None;
    }
    // Successes, warnings, and notices: not failures.
    if ["00", "01", "02"].contains(&&code[..2]) || ["NOTICE", "WARNING", "INFO", "LOG", "DEBUG"].contains(&severity) {
        return None;
    }
    Some(Complaint { line, sqlstate: Some(code.to_owned()), message: escape(message) })
}

/// SQL that makes what kwild has made in the new node's database when it begins to restore: in v0.9 the type of every
/// `uint256` column, in v0.10 nothing.
pub fn objects_before_restore(family: Family) -> &'static str {
    match family {
        Family::V09 => {
            "CREATE DOMAIN public.uint256 AS numeric(78,0) CHECK (VALUE >= 0) CHECK (VALUE <= \
             115792089237316195423570985008687907853269984665640564039457584007913129639935) CHECK (scale(VALUE) = 0)"
        }
        Family::V010 => "",
    }
}

/// SQL that makes what a digest of a database asks for and no snapshot holds: the chain's height, and parameters.
pub fn chain_after_restore(family: Family) -> &'static str {
    match family {
        Family::V09 => {
            "CREATE SCHEMA kwild_chain; CREATE TABLE kwild_chain.chain (height int8 NOT NULL, app_hash bytea); INSERT INTO \
             kwild_chain.chain VALUES (1, '\\x00'); CREATE TABLE kwild_chain.consensus_params (param_name text, param_value bytea)"
        }
        Family::V010 => {
            "CREATE SCHEMA kwild_chain; CREATE TABLE kwild_chain.chain (height int8 NOT NULL, app_hash bytea, dirty bool); INSERT \
             INTO kwild_chain.chain VALUES (1, '\\x00', false); CREATE TABLE kwild_chain.params (params bytea); INSERT INTO \
             kwild_chain.params VALUES ('{}')"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "CREATE SCHEMA a;\nCREATE TABLE a.t (\n  a int,\n  b text\n);\nCOPY a.t (a, b) FROM stdin;\n1\tx\n\
        z\ty\n\\.\n\n\nALTER TABLE ONLY kwild_voting.votes\n    ADD CONSTRAINT votes_voter_id_fkey FOREIGN KEY (a);\n\
        COPY a.nope (a) FROM stdin;\n5\n6\n\\.\nSELECT 1;\n\\restrict abc\nSELECT 2;\n";

    fn outline(pieces: usize) -> Outline {
        let mut outline = Outline::new();
        for piece in TEXT.as_bytes().chunks(pieces) {
            outline.push(piece).unwrap();
        }
        outline
    }

    fn failed(said: &str, votes: u64) -> Vec<FailedStatement> {
        let mut complaints = Complaints::default();
        said.lines().for_each(|line| complaints.push(line.as_bytes()));
        complaints.by_statement(&outline(1000), votes).0
    }

    #[test]
    fn statements_are_found_however_the_text_is_cut() {
        let whole = outline(10_000).entries.list;
        assert_eq!(whole.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 2, 6, 12, 14, 18, 19, 20]);
        for pieces in 1..40 {
            assert_eq!(outline(pieces).entries.list, whole, "pieces of {pieces}");
        }
    }

    #[test]
    fn an_empty_block_ends_at_once() {
        let mut outline = Outline::new();
        outline.push(b"COPY a.t (a) FROM stdin;\n\\.\nSELECT 1;\n").unwrap();
        assert_eq!(outline.entries.list.len(), 2);
    }

    #[test]
    fn complaints_are_told_by_their_statement() {
        let failed = failed(
            "psql:<stdin>:9: ERROR:  22P02: invalid input syntax for type integer: \"z\"\nCONTEXT:  COPY t, line 2\n\
             psql:<stdin>:13: FEHLER:  23503: insert or update on table \"votes\" violates foreign key\n\
             psql:<stdin>:14: ERROR:  42P01: relation \"a.nope\" does not exist\npsql:<stdin>:17: error: invalid command \\.\n\
             psql:<stdin>:18: ERROR:  42601: syntax error at or near \"5\"\npsql:<stdin>:18: STATEMENT:  5\n\
             psql:<stdin>:18: WARNING:  01000: x\npsql:<stdin>:19: error: invalid command \\restrict\n",
            1,
        );
        let lines: Vec<(u64, bool, u64)> = failed.iter().map(|f| (f.line, f.expected, f.more)).collect();
        // The statement behind a refused COPY was swallowed with its rows, and says so itself.
        assert_eq!(lines, [(6, false, 0), (12, true, 0), (14, false, 1), (18, false, 0), (19, true, 0)]);
        assert_eq!(failed[0].statement, "COPY a.t (a, b) FROM stdin;");
        assert_eq!(failed[0].message, "invalid input syntax for type integer: \"z\"");
        assert_eq!(failed[2].sqlstate.as_deref(), Some("42P01"));
    }

    #[test]
    fn the_key_of_votes_is_expected_only_for_what_every_restore_has() {
        let violated = "psql:<stdin>:13: ERROR:  23503: violates foreign key constraint\n";
        assert!(failed(violated, 3)[0].expected);
        assert!(!failed(violated, 0)[0].expected, "without votes nothing can be violated");
        assert!(
            !failed("psql:<stdin>:13: ERROR:  42P01: relation \"kwild_voting.votes\" does not exist\n", 3)[0].expected
        );
    }

    #[test]
    fn other_lines_are_last_words() {
        let mut complaints = Complaints::default();
        complaints.push(b"psql: error: connection to server failed: \x1b[1mno\n");
        assert_eq!(complaints.last_words(), Some("psql: error: connection to server failed: \\u{1b}[1mno"));
    }

    #[test]
    fn a_cascade_is_bounded() {
        let mut complaints = Complaints::default();
        for line in 0..30_000 {
            complaints.push(format!("psql:<stdin>:{line}: ERROR:  42601: syntax error").as_bytes());
        }
        let (failed, beyond) = complaints.by_statement(&Outline::new(), 0);
        assert_eq!((failed.len(), beyond), (1000, 29_000));
    }
}
