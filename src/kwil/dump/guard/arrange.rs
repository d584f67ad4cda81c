//! A dump's text in the guard's order: everything of `kwild_voting` behind everything else.

use memchr::memmem;

use super::{
    super::{
        sql::{Follows, Sink, SplitError, Splitter, Statement},
        token::{CopyHeader, Token, Tokens},
    },
    LAST_SCHEMA, RowsEnd,
};
use crate::base::{Error, text::escape};

/// Why a text cannot be arranged: it cannot be cut into statements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the text: {reason}: {}", escape(.text))]
pub struct ArrangeError {
    line: u64,
    text: String,
    reason: &'static str,
}

impl From<SplitError> for ArrangeError {
    fn from(e: SplitError) -> Self {
        ArrangeError { line: e.line, text: e.text, reason: e.reason }
    }
}

impl From<ArrangeError> for Error {
    fn from(e: ArrangeError) -> Self {
        Error::verify(e.to_string()).hint("is this a snapshot of a Kwil network, whole and unchanged?")
    }
}

/// Parts a text in two, cut anywhere and in order: what stands first, and what of [`LAST_SCHEMA`] stands behind it.
#[derive(Debug)]
pub struct Arranger {
    splitter: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    last: Vec<u8>,
    /// For each COPY block, in the text's order, whether it stands in the last part.
    blocks: Vec<bool>,
    rows: RowsEnd,
}

impl Default for Arranger {
    fn default() -> Self {
        Arranger { splitter: Splitter::new(), state: State::default() }
    }
}

impl Arranger {
    /// Takes any piece of the text; appends what stands first and what stands last. Holds at most one statement, never a
    /// row.
    ///
    /// # Errors
    /// When the text is none of pg_dump's.
    pub fn push(&mut self, text: &[u8], first: &mut Vec<u8>, last: &mut Vec<u8>) -> Result<(), ArrangeError> {
        std::mem::swap(&mut self.state.last, last);
        let pushed = self.splitter.push(text, &mut self.state, first);
        std::mem::swap(&mut self.state.last, last);
        pushed
    }

    /// Ends the text, and tells of each COPY block, in the text's order, whether it stands in the last part.
    ///
    /// # Errors
    /// When it ends in the middle of something.
    pub fn finish(self) -> Result<Vec<bool>, ArrangeError> {
        self.splitter.finish()?;
        Ok(self.state.blocks)
    }
}

impl Sink for State {
    type Error = ArrangeError;

    fn blank(&mut self, _: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), ArrangeError> {
        out.extend_from_slice(text);
        Ok(())
    }

    fn command(&mut self, _: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), ArrangeError> {
        out.extend_from_slice(text);
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>, out: &mut Vec<u8>) -> Result<Follows, ArrangeError> {
        let copy = statement.text.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"COPY"));
        let named = memmem::find(statement.text, LAST_SCHEMA.as_bytes()).is_some();
        let text = if copy || named { String::from_utf8_lossy(statement.text) } else { "".into() };
        let tokens: Vec<Token<'_>> = Tokens::new(&text).map_while(Result::ok).collect();
        let is_last = named && is_last(&tokens);
        if is_last { &mut self.last } else { out }.extend_from_slice(statement.text);
        if copy && CopyHeader::read(&tokens).is_some() {
            self.blocks.push(is_last);
            self.rows = RowsEnd::default();
            return Ok(Follows::CopyData);
        }
        Ok(Follows::Statement)
    }

    fn data(&mut self, _: u64, data: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, ArrangeError> {
        let end = self.rows.take(data);
        let is_last = self.blocks.last().copied().unwrap_or_default();
        if is_last { &mut self.last } else { out }.extend_from_slice(&data[..end.unwrap_or(data.len())]);
        Ok(end)
    }
}

/// Whether a statement makes the last schema, or names something in it. A function's body that names it does not count.
fn is_last(tokens: &[Token<'_>]) -> bool {
    let is_schema = |token: &Token<'_>| token.name().is_some_and(|name| name == LAST_SCHEMA);
    match tokens {
        [create, schema, rest @ ..] if create.is("CREATE") && schema.is("SCHEMA") => rest.iter().any(is_schema),
        // SELECT pg_catalog.setval('kwild_voting.…', …)
        [select, _, _, _, _, Token::Literal(name), ..] if select.is("SELECT") => {
            let schema = name.split('.').next().unwrap_or_default();
            schema.trim_matches('"') == LAST_SCHEMA
        }
        _ => tokens.windows(2).any(|pair| is_schema(&pair[0]) && pair[1].is_symbol(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- c\n\\restrict x\nCREATE SCHEMA a;\nCREATE SCHEMA kwild_voting;\nCREATE SCHEMA z;\n\
        CREATE FUNCTION a.f() RETURNS void LANGUAGE plpgsql AS $$\n  SELECT kwild_voting.g();\n$$;\n\
        CREATE TABLE kwild_voting.votes (a int);\nCREATE TABLE a.t (kwild_voting text);\n\
        COPY a.t (kwild_voting) FROM stdin;\nCREATE TABLE kwild_voting.x (\n\\.\nCOPY kwild_voting.votes (a) FROM stdin;\n\
        1\n2\n\\.\nCOPY z.t (a) FROM stdin;\n\\.\nSELECT pg_catalog.setval('kwild_voting.s', 1, true);\n\
        SELECT pg_catalog.setval('a.kwild_voting', 1, true);\n\
        CREATE INDEX i ON kwild_voting.votes USING btree (a);\nALTER TABLE ONLY \"kwild_voting\".votes\n    ADD x;\n\
        ALTER TABLE ONLY a.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES kwild_voting.votes(a);\n\
        ALTER TABLE z.t REPLICA IDENTITY FULL;\nUPDATE kwild_voting.resolutions SET expiration = expiration-7;\n";

    fn parts(pieces: usize) -> (String, String, Vec<bool>) {
        let (mut arranger, mut first, mut last) = (Arranger::default(), Vec::new(), Vec::new());
        for piece in TEXT.as_bytes().chunks(pieces) {
            arranger.push(piece, &mut first, &mut last).unwrap();
        }
        let blocks = arranger.finish().unwrap();
        (String::from_utf8(first).unwrap(), String::from_utf8(last).unwrap(), blocks)
    }

    #[test]
    fn what_is_kwild_votings_goes_last_and_nothing_else() {
        let (first, last, blocks) = parts(TEXT.len());
        assert_eq!(blocks, [false, true, false]);
        assert_eq!(
            last,
            "CREATE SCHEMA kwild_voting;\nCREATE TABLE kwild_voting.votes (a int);\n\
             COPY kwild_voting.votes (a) FROM stdin;\n1\n2\n\\.\nSELECT pg_catalog.setval('kwild_voting.s', 1, true);\n\
             CREATE INDEX i ON kwild_voting.votes USING btree (a);\nALTER TABLE ONLY \"kwild_voting\".votes\n    ADD x;\n\
             ALTER TABLE ONLY a.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES kwild_voting.votes(a);\n\
             UPDATE kwild_voting.resolutions SET expiration = expiration-7;\n"
        );
        assert_eq!(first.len() + last.len(), TEXT.len());
        assert!(first.contains("SELECT kwild_voting.g();") && first.contains("\nCREATE TABLE kwild_voting.x (\n\\.\n"));
        for pieces in 1..60 {
            assert_eq!(parts(pieces), (first.clone(), last.clone(), blocks.clone()), "pieces of {pieces}");
        }
    }

    #[test]
    fn a_text_that_is_cut_is_an_error() {
        let mut arranger = Arranger::default();
        arranger.push(b"COPY a.t (b) FROM stdin;\n1\n", &mut Vec::new(), &mut Vec::new()).unwrap();
        assert!(arranger.finish().is_err());
    }
}
