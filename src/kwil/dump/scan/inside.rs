//! What the tests that compare readers need to see of the check: how it cuts a text, and the names that it lets pass. Nothing
//! of the product calls this.

use super::{names, plain};
use crate::dump::sql::{Follows, Sink, SplitError, Splitter, Statement};

/// A piece of a text, as psql is held to cut it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A statement, from its first word to its semicolon.
    Statement(Vec<u8>),
    /// The rows of a `COPY … FROM stdin`, without the line that ends them.
    Rows(Vec<u8>),
}

/// Cuts a text that holds statements and rows only, and judges no more of it than how it is cut: `COPY … FROM stdin;` is told
/// by its first and last words.
///
/// # Errors
/// With the reason, where two readers could cut the text in two ways.
pub fn cut(text: &[u8]) -> Result<Vec<Piece>, String> {
    let mut splitter = Splitter::new();
    let mut pieces = Pieces::default();
    splitter
        .push(text, &mut pieces, &mut Vec::new())
        .and_then(|()| splitter.finish().map_err(Refusal::from))
        .map_err(|e| e.0)?;
    Ok(pieces.found)
}

/// Whether rows follow a statement, by the words that it begins and ends with.
pub fn is_copy(statement: &[u8]) -> bool {
    statement.starts_with(b"COPY ") && statement.ends_with(b" FROM stdin;")
}

/// The functions of `pg_catalog` that the check lets pass.
pub fn functions() -> Vec<&'static str> {
    names::FUNCTIONS.iter().copied().collect()
}

/// The functions of the schema `public` that the check lets pass.
pub fn public_functions() -> &'static [&'static str] {
    names::PUBLIC_FUNCTIONS
}

/// The types that the check lets pass.
pub fn types() -> &'static [&'static str] {
    names::TYPES
}

/// The operators that the check lets pass.
pub fn operators() -> &'static [&'static str] {
    names::OPERATORS
}

struct Refusal(String);

impl From<SplitError> for Refusal {
    fn from(e: SplitError) -> Self {
        Refusal(e.reason.to_owned())
    }
}

#[derive(Default)]
struct Pieces {
    found: Vec<Piece>,
    rows: super::Rows,
    text: Vec<u8>,
}

impl Sink for Pieces {
    type Error = Refusal;

    fn blank(&mut self, _: u64, text: &[u8], _: &mut Vec<u8>) -> Result<(), Refusal> {
        plain::check_blank(text).map_err(|e| Refusal(e.to_owned()))
    }

    fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), Refusal> {
        Err(Refusal("psql would run a command".to_owned()))
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, Refusal> {
        let text = statement.text.strip_suffix(b"\n").unwrap_or(statement.text);
        plain::check(text).map_err(Refusal)?;
        std::str::from_utf8(text).map_err(|e| Refusal(e.to_string()))?;
        self.found.push(Piece::Statement(text.to_vec()));
        if !is_copy(text) {
            return Ok(Follows::Statement);
        }
        self.rows = super::Rows::new(1);
        Ok(Follows::CopyData)
    }

    fn data(&mut self, _: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let end = self.rows.take(data).map_err(|fault| Refusal(fault.reason.to_owned()))?;
        self.text.extend_from_slice(&data[..end.unwrap_or(data.len())]);
        if end.is_some() {
            let mut text = std::mem::take(&mut self.text);
            text.truncate(text.len() - b"\\.\n".len());
            self.found.push(Piece::Rows(text));
        }
        Ok(end)
    }
}
