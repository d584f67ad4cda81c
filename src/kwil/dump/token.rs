//! Tokens of one SQL statement, read strictly: whatever two versions of psql or the server could read in different ways
//! is refused instead of guessed.

use std::fmt;

/// One token of an SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An unquoted word; pg_dump writes names in lower case and most keywords in upper case.
    Word(&'a str),
    /// A quoted identifier, without its quotes.
    Quoted(String),
    /// A string literal: what stands between its quotes, undecoded.
    Literal(&'a str),
    /// A number, as the statement writes it.
    Number(&'a str),
    /// What stands between the tags of a dollar-quoted body.
    Body(&'a str),
    /// Punctuation or an operator.
    Symbol(&'a str),
}

impl Token<'_> {
    /// Whether this is the keyword, which SQL reads without regard to case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(w) if w.eq_ignore_ascii_case(keyword))
    }

    /// Whether this is the symbol.
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self, Token::Symbol(s) if *s == symbol)
    }

    /// The name that this token is as an identifier, an unquoted word in small letters; `None` where it is none.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Token::Word(w) => Some(w.to_ascii_lowercase()),
            Token::Quoted(q) => Some(q.clone()),
            _ => None,
        }
    }
}

/// A schema-qualified name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) schema: String,
    pub(crate) object: String,
}

impl Name {
    pub(crate) fn is(&self, schema: &str, object: &str) -> bool {
        self.schema == schema && self.object == object
    }

    /// Reads `schema.object` as SQL writes it, with or without quotes; `None` for any other text.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let tokens: Vec<Token<'_>> = Tokens::new(text).collect::<Result<_, _>>().ok()?;
        if tokens.len() == 3 { qualified_name(&tokens) } else { None }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.object)
    }
}

/// Reads tokens until the text ends or something is not allowed outside quotes.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    after_literal: bool,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Tokens { text, at: 0, after_literal: false }
    }

    /// The offset in the text, in bytes, behind the last token.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + offset).copied()
    }

    fn take(&mut self, length: usize) -> &'a str {
        let taken = &self.text[self.at..self.at + length];
        self.at += length;
        taken
    }

    /// How many bytes in a row, from the offset `from` behind the last token on, `wanted` holds for.
    fn run(&self, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
        self.text.as_bytes()[self.at + from..].iter().take_while(|b| wanted(**b)).count()
    }

    fn number(&mut self) -> Result<Token<'a>, &'static str> {
        let mut length = self.run(0, |b| b.is_ascii_digit());
        if self.byte(length) == Some(b'.') && self.byte(length + 1).is_some_and(|b| b.is_ascii_digit()) {
            length += 1 + self.run(length + 1, |b| b.is_ascii_digit());
        }
        if matches!(self.byte(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(length + 1), Some(b'+' | b'-')));
            let digits = self.run(length + 1 + sign, |b| b.is_ascii_digit());
            if digits > 0 {
                length += 1 + sign + digits;
            }
        }
        if self
            .byte(length)
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'"' | b'\'' | b'.'))
        {
            return Err("a number runs into other text");
        }
        Ok(Token::Number(self.take(length)))
    }

    fn literal(&mut self) -> Result<Token<'a>, &'static str> {
        if self.after_literal {
            return Err("two string literals stand one after the other");
        }
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut end = start;
        loop {
            match bytes.get(end) {
                None => return Err("a string literal does not end"),
                Some(b'\'') if bytes.get(end + 1) == Some(&b'\'') => end += 2,
                Some(b'\'') => break,
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        Ok(Token::Literal(&self.text[start..end]))
    }

    fn quoted(&mut self) -> Result<Token<'a>, &'static str> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut end = start;
        loop {
            match bytes.get(end) {
                None => return Err("a quoted name does not end"),
                Some(b'"') if bytes.get(end + 1) == Some(&b'"') => end += 2,
                Some(b'"') => break,
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        if start == end {
            return Err("a name is empty");
        }
        Ok(Token::Quoted(self.text[start..end].replace("\"\"", "\"")))
    }

    fn body(&mut self) -> Result<Token<'a>, &'static str> {
        let tag = self.run(1, |b| b.is_ascii_alphanumeric() || b == b'_');
        if self.byte(1 + tag) != Some(b'$') || self.byte(1).is_some_and(|b| b.is_ascii_digit()) {
            return Err("a dollar sign stands outside quotes");
        }
        let delimiter = self.take(tag + 2);
        let rest = &self.text[self.at..];
        let Some(end) = rest.find(delimiter) else {
            return Err("a dollar-quoted body does not end");
        };
        self.at += end + delimiter.len();
        Ok(Token::Body(&rest[..end]))
    }

    fn next_token(&mut self) -> Option<Result<Token<'a>, &'static str>> {
        self.at += self.run(0, |b| matches!(b, b' ' | b'\n' | b'\t'));
        let b = self.byte(0)?;
        let second = self.byte(1);
        let symbol = |tokens: &mut Self, length| Some(Ok(Token::Symbol(tokens.take(length))));
        match b {
            b'\'' => Some(self.literal()),
            // pg_dump writes none where backslashes stand for themselves, as kwild's servers must have it.
            b'e' | b'E' if second == Some(b'\'') => Some(Err("a literal with escapes")),
            b'"' => Some(self.quoted()),
            b'$' => Some(self.body()),
            b'0'..=b'9' => Some(self.number()),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = self.run(0, |b| b.is_ascii_alphanumeric() || b == b'_');
                match self.byte(length) {
                    Some(b'\'' | b'"') => Some(Err("a word stands directly before a quote")),
                    Some(b'&') if self.byte(length + 1).is_some_and(|b| matches!(b, b'\'' | b'"')) => {
                        Some(Err("a Unicode literal is not allowed"))
                    }
                    Some(b'$') => Some(Err("a dollar sign stands inside a word")),
                    _ => Some(Ok(Token::Word(self.take(length)))),
                }
            }
            b':' if second == Some(b':') && self.byte(2) != Some(b':') => symbol(self, 2),
            // Array slices; psql reads `:name`, `:'name'`, `:"name"` and `:{?name}` as variables.
            b':' if second.is_some_and(|b| matches!(b, b'(' | b']') || b.is_ascii_digit()) => symbol(self, 1),
            b':' => Some(Err("a colon that psql would read as a variable")),
            b'\\' => Some(Err("a backslash stands outside quotes: psql would run a command")),
            b'-' if second == Some(b'-') => Some(Err("a comment")),
            b'/' if second == Some(b'*') => Some(Err("a comment")),
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' => symbol(self, 1),
            b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|'
            | b'?' => {
                let mut length = self.run(0, |b| b"+-*/<>=~!@#%^&|?".contains(&b));
                let run = &self.text[self.at..self.at + length];
                // A comment may begin inside a run of operator characters.
                for comment in ["--", "/*"] {
                    if let Some(at) = run.find(comment) {
                        length = length.min(at);
                    }
                }
                symbol(self, length)
            }
            0x80.. => Some(Err("a character outside ASCII stands outside quotes")),
            b'\r' => Some(Err("a carriage return stands outside quotes")),
            _ => Some(Err("a character that no dump holds outside quotes")),
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.next_token();
        self.after_literal = matches!(token, Some(Ok(Token::Literal(_))));
        if matches!(token, Some(Err(_))) {
            self.at = self.text.len();
        }
        token
    }
}

/// Reads `schema.object` from the first three tokens; `None` where they are no such name.
pub(crate) fn qualified_name(tokens: &[Token<'_>]) -> Option<Name> {
    match tokens {
        [schema, dot, object, ..] if dot.is_symbol(".") => {
            Some(Name { schema: schema.name()?, object: object.name()? })
        }
        _ => None,
    }
}

/// The header `COPY schema.table (columns) FROM stdin;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyHeader {
    pub(crate) table: Name,
    pub(crate) columns: Vec<String>,
}

impl CopyHeader {
    /// Reads the tokens of exactly that form; `None` for any others.
    pub(crate) fn read(tokens: &[Token<'_>]) -> Option<Self> {
        let [copy, rest @ ..] = tokens else { return None };
        if !copy.is("COPY") {
            return None;
        }
        let table = qualified_name(rest)?;
        // pg_dump leaves the list out for a table without columns.
        let mut rest = &rest[3..];
        let mut columns = Vec::new();
        if rest.first().is_some_and(|t| t.is_symbol("(")) {
            loop {
                let [before, column, after, ..] = rest else { return None };
                if !(before.is_symbol("(") || before.is_symbol(",")) {
                    return None;
                }
                columns.push(column.name()?);
                if after.is_symbol(")") {
                    rest = &rest[3..];
                    break;
                }
                rest = &rest[2..];
            }
        }
        match rest {
            [from, stdin, end] if from.is("FROM") && stdin.is("stdin") && end.is_symbol(";") => {
                Some(CopyHeader { table, columns })
            }
            _ => None,
        }
    }
}
