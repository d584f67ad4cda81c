//! Functions and views: what kwild runs later.

use super::{
    super::token::Token,
    State, body,
    cursor::{Cursor, Reason},
    expression::Place,
    grammar::Accepted,
};

impl State {
    pub(super) fn create_function(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        // psql counts a BEGIN here up to its END, and passes over semicolons until then.
        if cursor.rest.iter().any(|t| t.is("BEGIN")) {
            return Err("BEGIN stands outside a function's body".to_owned());
        }
        let name = self.own(&mut cursor)?;
        if !self.is_known_function(&name) {
            return Err(format!("Kwil makes no function {name}"));
        }
        signature(cursor.parenthesis()?)?;
        cursor.expect(&["RETURNS"])?;
        let language = cursor.rest.iter().position(|t| t.is("LANGUAGE")).ok_or("a function without a language")?;
        signature(&cursor.rest[..language])?;
        cursor.rest = &cursor.rest[language + 1..];
        let language = cursor.name()?;
        if language != "plpgsql" && language != "sql" {
            return Err(format!("a function in the language {language}"));
        }
        while ["IMMUTABLE", "STABLE", "STRICT"].iter().any(|word| cursor.eat(&[word])) {}
        cursor.expect(&["AS"]).map_err(|_| "a function with a property that Kwil gives none".to_owned())?;
        let Some(Token::Body(text)) = cursor.next() else {
            return Err("a function whose body is not dollar-quoted".to_owned());
        };
        cursor.end()?;
        body::check(text)?;
        Ok(Accepted::Plain)
    }

    pub(super) fn create_view(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        let name = self.new_relation(&mut cursor)?;
        if name.schema != "info" {
            return Err("Kwil makes views in the schema info only".to_owned());
        }
        cursor.expect(&["AS"])?;
        if !cursor.rest.first().is_some_and(|t| t.is("SELECT") || t.is("WITH")) {
            return Err("a view that is no query".to_owned());
        }
        const WRITES: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "TABLESAMPLE"];
        if let Some(word) = WRITES.iter().find(|w| cursor.rest.iter().any(|t| t.is(w))) {
            return Err(format!("a view with {word}"));
        }
        self.expression(cursor.rest, Place::View)?;
        Ok(Accepted::Plain)
    }
}

/// Names and types of arguments: no defaults, which would be expressions.
pub(super) fn signature(tokens: &[Token<'_>]) -> Result<(), Reason> {
    let plain = |t: &Token<'_>| match t {
        Token::Word(w) => !["DEFAULT", "SECURITY", "SET", "AS"].iter().any(|k| w.eq_ignore_ascii_case(k)),
        Token::Quoted(_) | Token::Number(_) => true,
        Token::Symbol(s) => ["(", ")", "[", "]", ",", "."].contains(s),
        _ => false,
    };
    if tokens.iter().all(plain) {
        Ok(())
    } else {
        Err("a function's arguments hold more than names and types".to_owned())
    }
}
