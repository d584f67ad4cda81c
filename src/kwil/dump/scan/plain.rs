//! Statements that every version of psql and of the server cuts alike.
//!
//! psql looks for a statement's end with a lexer of its own and sends what stands before it; the server reads that once more.
//! Where the two could disagree, or two versions of one of them, nobody can say what would run. pg_dump writes nothing of the
//! kind, so all of it is refused: comments, backslashes, literals with a prefix, psql's variables, bytes outside ASCII.

use memchr::{memchr, memmem};

use crate::{base::limits::SQL_STATEMENT_TOKENS_MAX, dump::tree::Depth};

/// Checks a line that stands outside of statements.
///
/// # Errors
/// When there is more on it than blanks.
pub(super) fn check_blank(line: &[u8]) -> Result<(), &'static str> {
    if line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\n')) { Ok(()) } else { Err("a comment") }
}

/// Checks a statement from its first word to its semicolon, and that it is no longer than its first semicolon.
///
/// # Errors
/// With what two readers could read in two ways.
pub(crate) fn check(statement: &[u8]) -> Result<(), String> {
    Reader { text: statement, at: 0, open: 0, depth: Depth::new(SQL_STATEMENT_TOKENS_MAX), words: 0, routine: false }
        .check()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The number of open parentheses.
    open: usize,
    depth: Depth,
    /// The number of words so far, quoted ones and numbers left out.
    words: usize,
    /// The statement makes a function: psql passes over semicolons between BEGIN and END there.
    routine: bool,
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// What begins with a digit must be digits, and an exponent: where one version sees `0x1F`, another sees 0 and a name.
fn is_number_or_name(word: &[u8]) -> bool {
    let digits = word.iter().take_while(|b| b.is_ascii_digit()).count();
    match &word[digits..] {
        [] => true,
        [b'e' | b'E', power @ ..] => digits == 0 || power.iter().all(u8::is_ascii_digit),
        _ => digits == 0,
    }
}

impl<'a> Reader<'a> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn check(mut self) -> Result<(), String> {
        if !self.byte(0).is_some_and(|b| b.is_ascii_alphabetic()) {
            return Err("a statement that begins with no word".to_owned());
        }
        if memchr(0, self.text).is_some() {
            // psql's line ends there.
            return Err("a zero byte".to_owned());
        }
        while let Some(b) = self.byte(self.at) {
            if !matches!(b, b' ' | b'\n' | b'\t') {
                self.depth.token(b)?;
            }
            match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => self.word()?,
                b'\'' | b'"' => self.quoted(b)?,
                b'$' => self.body()?,
                b'-' if self.byte(self.at + 1) == Some(b'-') => return Err("a comment".to_owned()),
                b'/' if self.byte(self.at + 1) == Some(b'*') => return Err("a comment".to_owned()),
                b':' if self.byte(self.at + 1) == Some(b':') && self.byte(self.at + 2) != Some(b':') => self.at += 2,
                // An array's slice; psql's variables have names that begin otherwise.
                b':' if matches!(self.byte(self.at + 1), Some(b'(' | b']' | b'0'..=b'9')) => self.at += 1,
                b':' => return Err("a colon, after which psql fills in a variable".to_owned()),
                b'(' => (self.open, self.at) = (self.open + 1, self.at + 1),
                b')' => {
                    self.open = self.open.checked_sub(1).ok_or("a parenthesis that nothing opened")?;
                    self.at += 1;
                }
                b';' if self.open > 0 => return Err("a semicolon in parentheses".to_owned()),
                b';' if self.at + 1 == self.text.len() => return Ok(()),
                b';' => return Err("text after the statement's end".to_owned()),
                b'\\' => return Err("a backslash outside quotes".to_owned()),
                b' ' | b'\n' | b'\t' | 0x21..=0x7e => self.at += 1,
                _ => return Err(format!("the byte {b:#04x} outside quotes")),
            }
        }
        Err("a statement without an end".to_owned())
    }

    fn word(&mut self) -> Result<(), String> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|b| is_word(**b)).count();
        let word = &rest[..length];
        if !is_number_or_name(word) {
            return Err("a number that versions read in different ways".to_owned());
        }
        self.words += usize::from(!word[0].is_ascii_digit());
        // psql looks for CREATE, then FUNCTION, PROCEDURE or OR REPLACE, among the words without quotes.
        let second = ["FUNCTION", "PROCEDURE", "OR"].iter().any(|second| word.eq_ignore_ascii_case(second.as_bytes()));
        self.routine |=
            self.words == 2 && second && self.text[..6.min(self.text.len())].eq_ignore_ascii_case(b"CREATE");
        if self.routine && self.open == 0 && word.eq_ignore_ascii_case(b"BEGIN") {
            return Err("the word BEGIN outside a function's body".to_owned());
        }
        self.at += length;
        match self.byte(self.at) {
            Some(b'\'' | b'"') => Err("a quoted text with a prefix".to_owned()),
            Some(b'$') => Err("a dollar sign in a word".to_owned()),
            Some(b'&') if word.eq_ignore_ascii_case(b"U") => Err("a quoted text with a prefix".to_owned()),
            _ => Ok(()),
        }
    }

    /// A literal or a quoted name; a doubled quote in it stands for one.
    fn quoted(&mut self, quote: u8) -> Result<(), String> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            self.at += memchr(quote, rest).ok_or("a quote that does not end")? + 1;
            match self.byte(self.at) {
                Some(b) if b == quote => self.at += 1,
                Some(b) if is_word(b) || b >= 0x80 || b == b'$' => {
                    return Err("a word glued to a quoted text".to_owned());
                }
                _ => return Ok(()),
            }
        }
    }

    /// A body between `$$` or `$tag$`.
    fn body(&mut self) -> Result<(), String> {
        let rest = &self.text[self.at..];
        let tag = rest[1..].iter().take_while(|b| is_word(**b)).count();
        let open = &rest[..(tag + 2).min(rest.len())];
        if open.len() < 2 || open[open.len() - 1] != b'$' || open[1].is_ascii_digit() {
            return Err("a dollar sign that opens no body".to_owned());
        }
        let inside = self.at + open.len();
        let length = memmem::find(&self.text[inside..], open).ok_or("a body that does not end")?;
        self.at = inside + length + open.len();
        match self.byte(self.at) {
            Some(b) if is_word(b) || b >= 0x80 || b == b'$' => Err("a word glued to a body".to_owned()),
            _ => Ok(()),
        }
    }
}
