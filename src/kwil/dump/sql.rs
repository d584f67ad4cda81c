//! Cuts SQL text into statements, psql's commands and COPY data, as psql would: quote-aware, streaming, one statement in
//! memory at a time and never a row.

use memchr::memchr;

use super::row_length::{RowLengths, TOO_LONG};
use crate::base::limits::SQL_STATEMENT_SIZE_BYTES_MAX;

/// Where the lexer stands between two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Code,
    LineComment,
    /// Inside block comments; how many of them are open in each other.
    BlockComment(u32),
    Literal {
        escapes: bool,
    },
    /// After a quote that may be the first of a doubled one.
    LiteralQuote {
        escapes: bool,
    },
    /// After a backslash in an E'' literal.
    LiteralEscape,
    Identifier,
    /// Inside a dollar-quoted body; how many bytes of the end tag have been seen.
    Body(usize),
}

/// What the lexer saw in a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// The `;` that ends a statement.
    End,
    /// A backslash outside everything, before the statement's first token: a psql command.
    Command,
}

/// The state between bytes of one statement.
#[derive(Debug)]
struct Lexer {
    mode: Mode,
    previous: u8,
    /// Length and first byte of the word that ends here; `E'` starts a literal with escapes only as a word of its own.
    word_len: usize,
    word_first: u8,
    /// An opening `$tag` being read, then the whole `$tag$` that closes the body.
    tag: Vec<u8>,
    parentheses: u32,
    /// Something other than blanks and comments was seen.
    started: bool,
}

impl Lexer {
    fn new() -> Self {
        Lexer {
            mode: Mode::Code,
            previous: b' ',
            word_len: 0,
            word_first: 0,
            tag: Vec::new(),
            parentheses: 0,
            started: false,
        }
    }

    /// Whether the lexer stands inside a literal, a quoted identifier or a dollar-quoted body, whose bytes are data.
    fn in_data(&self) -> bool {
        matches!(
            self.mode,
            Mode::Literal { .. } | Mode::LiteralQuote { .. } | Mode::LiteralEscape | Mode::Identifier | Mode::Body(_)
        )
    }

    fn step(&mut self, b: u8) -> Seen {
        match self.mode {
            Mode::Code => return self.code(b),
            Mode::LineComment => {
                if b == b'\n' {
                    self.code_again();
                }
            }
            Mode::BlockComment(depth) => {
                let (mut depth, mut kept) = (depth, b);
                match (self.previous, b) {
                    (b'/', b'*') => (depth, kept) = (depth.saturating_add(1), b' '),
                    (b'*', b'/') => (depth, kept) = (depth - 1, b' '),
                    _ => {}
                }
                self.previous = kept;
                if depth == 0 {
                    self.code_again();
                } else {
                    self.mode = Mode::BlockComment(depth);
                }
            }
            Mode::Literal { escapes } => match b {
                b'\'' => self.mode = Mode::LiteralQuote { escapes },
                b'\\' if escapes => self.mode = Mode::LiteralEscape,
                _ => {}
            },
            Mode::LiteralEscape => self.mode = Mode::Literal { escapes: true },
            Mode::LiteralQuote { escapes } => {
                if b == b'\'' {
                    self.mode = Mode::Literal { escapes };
                } else {
                    self.code_again();
                    return self.code(b);
                }
            }
            // A doubled quote ends the identifier and starts another at once: the same to us.
            Mode::Identifier => {
                if b == b'"' {
                    self.code_again();
                }
            }
            Mode::Body(matched) => {
                let matched = match self.tag.get(matched) {
                    Some(&want) if want == b => matched + 1,
                    _ => usize::from(b == b'$'),
                };
                if matched == self.tag.len() {
                    self.tag.clear();
                    self.code_again();
                } else {
                    self.mode = Mode::Body(matched);
                }
            }
        }
        Seen::Nothing
    }

    fn code_again(&mut self) {
        self.mode = Mode::Code;
        self.previous = b' ';
        self.word_len = 0;
    }

    fn code(&mut self, b: u8) -> Seen {
        let previous = std::mem::replace(&mut self.previous, b);
        if !self.tag.is_empty() {
            // `$` was seen: a tag goes on, closes, or was none.
            if b == b'$' {
                self.tag.push(b);
                self.mode = Mode::Body(0);
                return Seen::Nothing;
            }
            let first = self.tag.len() == 1;
            if is_word(b) && !(first && b.is_ascii_digit()) {
                self.tag.push(b);
                return Seen::Nothing;
            }
            self.tag.clear();
        }
        match b {
            b'-' if previous == b'-' => {
                self.mode = Mode::LineComment;
                return Seen::Nothing;
            }
            b'*' if previous == b'/' => {
                self.mode = Mode::BlockComment(1);
                self.previous = b' ';
                return Seen::Nothing;
            }
            b'\'' => {
                let escapes = self.word_len == 1 && self.word_first.eq_ignore_ascii_case(&b'e');
                self.mode = Mode::Literal { escapes };
            }
            b'"' => self.mode = Mode::Identifier,
            b'$' if self.word_len == 0 => self.tag.push(b),
            b'(' => self.parentheses = self.parentheses.saturating_add(1),
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b';' if self.parentheses == 0 => return Seen::End,
            b'\\' if !self.started => return Seen::Command,
            _ => {}
        }
        if is_word(b) || (b == b'$' && self.word_len > 0) {
            if self.word_len == 0 {
                self.word_first = b;
            }
            self.word_len += 1;
        } else {
            self.word_len = 0;
        }
        // The first byte of a comment may still turn out to be one; both cannot begin a statement otherwise.
        if !b.is_ascii_whitespace() && b != b'-' && b != b'/' {
            self.started = true;
        }
        Seen::Nothing
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// One line of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The offset in bytes at which the line begins in the statement's text.
    pub(crate) start: usize,
    /// Whether the line begins inside a literal, a quoted identifier or a dollar-quoted body.
    pub(crate) begins_in_data: bool,
    /// Whether the line ends inside one of these.
    pub(crate) ends_in_data: bool,
    /// Whether some of the line stands outside of all of these.
    pub(crate) touches_code: bool,
}

/// A whole statement: whole lines, from the line of its first token to the line of its `;`.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) lines: &'a [Line],
    /// The number of its first line in the whole text, counted from 1.
    pub(crate) line: u64,
}

impl Statement<'_> {
    /// The statement's lines, each with its text and line end.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Line, &[u8])> {
        let ends = self.lines.iter().skip(1).map(|l| l.start).chain([self.text.len()]);
        self.lines.iter().zip(ends).map(|(line, end)| (*line, &self.text[line.start..end]))
    }
}

/// Why a text cannot be cut into statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SplitError {
    pub(crate) line: u64,
    pub(crate) text: String,
    pub(crate) reason: &'static str,
}

/// What follows a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    Statement,
    CopyData,
}

/// What takes the parts that a [`Splitter`] cuts, in the text's order. Each method may append to `out`.
pub(crate) trait Sink {
    type Error: From<SplitError>;

    /// Takes a line outside statements that is blank or holds comments only; with its line end.
    fn blank(&mut self, line: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), Self::Error>;
    /// Takes a line that is a psql command; with its line end.
    fn command(&mut self, line: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), Self::Error>;
    /// Takes a whole statement, and says whether rows follow it.
    fn statement(&mut self, statement: &Statement<'_>, out: &mut Vec<u8>) -> Result<Follows, Self::Error>;
    /// Takes any piece of a COPY block; the answer is how many of its bytes belong to the block where that ends in it,
    /// or `None` while the block goes on.
    fn data(&mut self, line: u64, data: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Self::Error>;
}

/// Cuts a text that comes in any pieces, and gives its parts to a [`Sink`].
#[derive(Debug)]
pub(crate) struct Splitter {
    lexer: Lexer,
    buffer: Vec<u8>,
    lines: Vec<Line>,
    /// The number of the line that is being read and, beside it, of the statement's first line, counted from 1.
    line: u64,
    first_line: u64,
    /// The statement's `;` was seen: only blanks may follow on its line.
    ended: bool,
    command: bool,
    in_copy: bool,
    /// The lengths of the open COPY block's rows and, beside them, the beginning of its statement.
    rows: RowLengths,
    copy: String,
}

impl Splitter {
    pub(crate) fn new() -> Self {
        Splitter {
            lexer: Lexer::new(),
            buffer: Vec::new(),
            lines: Vec::new(),
            line: 1,
            first_line: 1,
            ended: false,
            command: false,
            in_copy: false,
            rows: RowLengths::default(),
            copy: String::new(),
        }
    }

    pub(crate) fn push<S: Sink>(&mut self, mut text: &[u8], sink: &mut S, out: &mut Vec<u8>) -> Result<(), S::Error> {
        while !text.is_empty() {
            if self.in_copy {
                let done = sink.data(self.line, text, out)?;
                let taken = done.unwrap_or(text.len());
                self.measure(&text[..taken])?;
                self.line += memchr::memchr_iter(b'\n', &text[..taken]).count() as u64;
                self.in_copy = done.is_none();
                text = &text[taken..];
                continue;
            }
            let (piece, whole_line) = match memchr(b'\n', text) {
                Some(at) => (&text[..=at], true),
                None => (text, false),
            };
            text = &text[piece.len()..];
            self.piece(piece)?;
            if whole_line {
                self.end_line(sink, out)?;
            }
        }
        Ok(())
    }

    /// Takes a line or a part of one.
    fn piece(&mut self, piece: &[u8]) -> Result<(), SplitError> {
        if self.buffer.is_empty() {
            self.first_line = self.line;
        }
        if self.at_line_start() {
            let begins_in_data = self.lexer.in_data();
            self.lines.push(Line {
                start: self.buffer.len(),
                begins_in_data,
                ends_in_data: begins_in_data,
                touches_code: !begins_in_data,
            });
        }
        if self.buffer.len() + piece.len() > SQL_STATEMENT_SIZE_BYTES_MAX {
            return Err(self.error("a statement is longer than 16 MiB"));
        }
        let mut touches_code = false;
        for &b in piece {
            if self.command {
                break;
            }
            if self.ended {
                if !b.is_ascii_whitespace() {
                    self.buffer.extend_from_slice(piece);
                    return Err(self.error("text follows a statement on its line"));
                }
                continue;
            }
            match self.lexer.step(b) {
                Seen::Nothing => {}
                Seen::End => self.ended = true,
                Seen::Command => self.command = true,
            }
            touches_code |= !self.lexer.in_data();
        }
        if let Some(line) = self.lines.last_mut() {
            line.touches_code |= touches_code;
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    fn measure(&mut self, rows: &[u8]) -> Result<(), SplitError> {
        self.rows.push(rows).map_err(|column| SplitError {
            line: self.line,
            text: format!("{} a row that begins with {column}", self.copy),
            reason: TOO_LONG,
        })
    }

    fn at_line_start(&self) -> bool {
        self.buffer.last().is_none_or(|b| *b == b'\n')
    }

    fn end_line<S: Sink>(&mut self, sink: &mut S, out: &mut Vec<u8>) -> Result<(), S::Error> {
        let in_data = self.lexer.in_data();
        if let Some(line) = self.lines.last_mut() {
            line.ends_in_data = in_data;
        }
        self.line += 1;
        let bare = !self.lexer.started && self.lexer.mode == Mode::Code;
        if self.command {
            sink.command(self.first_line, &self.buffer, out)?;
        } else if self.ended {
            let statement = Statement { text: &self.buffer, lines: &self.lines, line: self.first_line };
            self.in_copy = sink.statement(&statement, out)? == Follows::CopyData;
            if self.in_copy {
                self.rows = RowLengths::default();
                self.copy = short(&self.buffer);
            }
        } else if bare {
            sink.blank(self.first_line, &self.buffer, out)?;
        } else {
            return Ok(());
        }
        self.lexer = Lexer::new();
        self.buffer.clear();
        self.lines.clear();
        self.ended = false;
        self.command = false;
        Ok(())
    }

    fn error(&self, reason: &'static str) -> SplitError {
        SplitError { line: self.first_line, text: short(&self.buffer), reason }
    }

    /// Ends the text; an error where a line, a statement or a COPY block is still open.
    pub(crate) fn finish(&self) -> Result<(), SplitError> {
        if self.in_copy {
            return Err(SplitError {
                line: self.line,
                text: String::new(),
                reason: "the text ends inside a COPY block",
            });
        }
        if !self.buffer.is_empty() {
            return Err(self.error("the text ends inside a line or statement"));
        }
        Ok(())
    }
}

/// The first 120 bytes of a text, for messages, with `…` where there is more.
pub(crate) fn short(text: &[u8]) -> String {
    const SHOWN_BYTES: usize = 120;
    let cut = &text[..text.len().min(SHOWN_BYTES)];
    let mut shown = String::from_utf8_lossy(cut).trim().to_owned();
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}
