//! Sequences and large objects, and the calls that pg_dump sets them with.

use super::{
    super::token::{Token, Tokens},
    State,
    cursor::{Cursor, Reason},
    grammar::Accepted,
};

impl State {
    pub(super) fn create_sequence(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        const WORDS: &[&str] = &[
            "AS",
            "bigint",
            "BY",
            "CACHE",
            "CYCLE",
            "INCREMENT",
            "integer",
            "MAXVALUE",
            "MINVALUE",
            "NO",
            "smallint",
            "START",
            "WITH",
        ];
        let name = self.new_relation(&mut cursor)?;
        let known =
            |t: &Token<'_>| matches!(t, Token::Number(_)) || t.is_symbol("-") || WORDS.iter().any(|word| t.is(word));
        if !cursor.rest.iter().all(known) {
            return Err("an unknown property of a sequence".to_owned());
        }
        self.sequences.insert(name);
        Ok(Accepted::Plain)
    }

    pub(super) fn alter_sequence(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        let name = self.own(&mut cursor)?;
        cursor.expect(&["OWNED", "BY"])?;
        self.own_table(&mut cursor)?;
        cursor.expect_symbol(".")?;
        cursor.name()?;
        cursor.end()?;
        if self.sequences.contains(&name) {
            Ok(Accepted::Plain)
        } else {
            Err(format!("{name} is no sequence that this file makes"))
        }
    }

    /// A sequence by the text of its name.
    pub(super) fn own_sequence(&self, text: &str) -> Result<(), Reason> {
        let tokens: Vec<Token<'_>> = Tokens::new(text).collect::<Result<_, _>>()?;
        let mut cursor = Cursor::new(&tokens);
        let name = self.own(&mut cursor)?;
        cursor.end()?;
        if self.sequences.contains(&name) { Ok(()) } else { Err(format!("{name} is no sequence that this file makes")) }
    }

    /// After `SELECT pg_catalog`.
    pub(super) fn select(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        cursor.expect_symbol(".")?;
        let function = cursor.name()?;
        let arguments = cursor.parenthesis()?;
        cursor.end()?;
        let mut arguments = Cursor::new(arguments);
        match function.as_str() {
            "setval" => {
                self.own_sequence(arguments.literal()?)?;
                arguments.expect_symbol(",")?;
                arguments.eat_symbol("-");
                arguments.number()?;
                arguments.expect_symbol(",")?;
                if !(arguments.eat(&["true"]) || arguments.eat(&["false"])) {
                    return Err("expected true or false".to_owned());
                }
            }
            "lo_create" => large_object_id(&mut arguments)?,
            _ => return Err(format!("a call of pg_catalog.{function}")),
        }
        arguments.end()?;
        Ok(Accepted::Plain)
    }

    /// Between BEGIN and COMMIT: `lo_open`, `lowrite` and `lo_close` as pg_dump writes them.
    pub(super) fn large_object(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        if cursor.eat(&["COMMIT"]) {
            self.in_large_object = false;
            return cursor.end().map(|()| Accepted::Plain);
        }
        cursor
            .expect(&["SELECT", "pg_catalog"])
            .map_err(|_| "a transaction that does more than write large objects".to_owned())?;
        cursor.expect_symbol(".")?;
        let function = cursor.name()?;
        let mut arguments = Cursor::new(cursor.parenthesis()?);
        cursor.end()?;
        match function.as_str() {
            "lo_open" => {
                large_object_id(&mut arguments)?;
                arguments.expect_symbol(",")?;
                arguments.number()?;
            }
            "lowrite" => {
                arguments.number()?;
                arguments.expect_symbol(",")?;
                arguments.literal()?;
            }
            "lo_close" => {
                arguments.number()?;
            }
            _ => return Err(format!("a call of pg_catalog.{function}")),
        }
        arguments.end()?;
        Ok(Accepted::Plain)
    }
}

fn large_object_id(arguments: &mut Cursor<'_, '_>) -> Result<(), Reason> {
    arguments.literal()?.parse::<u32>().map(drop).map_err(|_| "a large object without a number".to_owned())
}
