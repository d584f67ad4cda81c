//! Walks the tokens of one statement.

use super::{
    super::token::{Name, Token, qualified_name},
    keyword::is_reserved,
};

/// Longer names are cut by the server.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// Why a statement is refused.
pub(super) type Reason = String;

/// The tokens of a statement without its `;`, and how far they are read.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a, 't> {
    pub(super) rest: &'t [Token<'a>],
}

impl<'a, 't> Cursor<'a, 't> {
    pub(super) fn new(tokens: &'t [Token<'a>]) -> Self {
        Cursor { rest: tokens }
    }

    pub(super) fn next(&mut self) -> Option<&'t Token<'a>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes the keywords if they come next, all of them.
    pub(super) fn eat(&mut self, keywords: &[&str]) -> bool {
        let here = self.rest.len() >= keywords.len() && self.rest.iter().zip(keywords).all(|(t, k)| t.is(k));
        if here {
            self.rest = &self.rest[keywords.len()..];
        }
        here
    }

    pub(super) fn expect(&mut self, keywords: &[&str]) -> Result<(), Reason> {
        if self.eat(keywords) { Ok(()) } else { Err(format!("expected {}", keywords.join(" "))) }
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let here = self.rest.first().is_some_and(|t| t.is_symbol(symbol));
        if here {
            self.rest = &self.rest[1..];
        }
        here
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), Reason> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(format!("expected {symbol}")) }
    }

    /// One identifier, at most as long as the server keeps them; what is a word of SQL must be quoted.
    pub(super) fn name(&mut self) -> Result<String, Reason> {
        let token = self.next();
        if let Some(Token::Word(word)) = token
            && is_reserved(word)
        {
            return Err(format!("the name {word} is a word of SQL and not quoted"));
        }
        let name = token.and_then(Token::name).ok_or("expected a name")?;
        if name.len() > NAME_BYTES_MAX {
            return Err("a name is longer than 63 bytes".to_owned());
        }
        Ok(name)
    }

    /// `schema.object`.
    pub(super) fn qualified(&mut self) -> Result<Name, Reason> {
        if qualified_name(self.rest).is_none() {
            return Err("expected a name with its schema".to_owned());
        }
        let schema = self.name()?;
        self.expect_symbol(".")?;
        Ok(Name { schema, object: self.name()? })
    }

    pub(super) fn literal(&mut self) -> Result<&'a str, Reason> {
        match self.next() {
            Some(Token::Literal(text)) => Ok(text),
            _ => Err("expected a string literal".to_owned()),
        }
    }

    pub(super) fn number(&mut self) -> Result<&'a str, Reason> {
        match self.next() {
            Some(Token::Number(text)) => Ok(text),
            _ => Err("expected a number".to_owned()),
        }
    }

    /// What stands between `(` here and its `)`.
    pub(super) fn parenthesis(&mut self) -> Result<&'t [Token<'a>], Reason> {
        let inside = matching(self.rest).ok_or("expected something in parentheses")?;
        self.rest = &self.rest[inside.len() + 2..];
        Ok(inside)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Reason> {
        if self.rest.is_empty() { Ok(()) } else { Err("more follows than pg_dump writes".to_owned()) }
    }
}

/// What stands between the `(` that the tokens begin with and its `)`.
fn matching<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    if !tokens.first()?.is_symbol("(") {
        return None;
    }
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth -= 1;
            if depth == 0 {
                return Some(&tokens[1..at]);
            }
        }
    }
    None
}

/// Splits at commas outside parentheses and brackets.
pub(super) fn split_commas<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") || token.is_symbol("[") {
            depth += 1;
        } else if token.is_symbol(")") || token.is_symbol("]") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is_symbol(",") {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    if start < tokens.len() || !parts.is_empty() {
        parts.push(&tokens[start..]);
    }
    parts
}

/// A list of plain names such as a key's columns.
pub(super) fn names(tokens: &[Token<'_>]) -> Result<Vec<String>, Reason> {
    split_commas(tokens)
        .into_iter()
        .map(|part| {
            let mut cursor = Cursor::new(part);
            let name = cursor.name()?;
            cursor.end()?;
            Ok(name)
        })
        .collect()
}
