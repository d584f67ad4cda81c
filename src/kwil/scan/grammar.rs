//! The statements, one function each.

use std::collections::BTreeSet;

use super::{
    super::token::{Name, Token},
    State, Table,
    cursor::{Cursor, NAME_BYTES_MAX, Reason, split_commas},
    expression::{self, Place},
};

/// What a statement turned out to be, where the scanner has to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Plain,
    /// Rows follow; where they must not, with the reason.
    Copy {
        table: Name,
        must_be_empty: Option<Reason>,
    },
    /// The closing UPDATE with its height.
    Update(i64),
}

/// Schemas of PostgreSQL itself and of one node's private state; a snapshot that filled them would corrupt the new node.
fn is_forbidden_schema(name: &str) -> bool {
    const PRIVATE: &[&str] =
        &["public", "information_schema", "kwild_chain", "kwild_events", "kwild_migrations", "kwild_peers"];
    PRIVATE.contains(&name) || name.starts_with("pg_")
}

impl State {
    /// Accepts one of the statements of a Kwil dump or says why not.
    pub(super) fn accept(&mut self, tokens: &[Token<'_>]) -> Result<Accepted, Reason> {
        let Some((end, inside)) = tokens.split_last() else { return Err("an empty statement".to_owned()) };
        if !end.is_symbol(";") || inside.iter().any(|t| t.is_symbol(";")) {
            return Err("a semicolon stands inside a statement".to_owned());
        }
        let mut cursor = Cursor::new(inside);
        if cursor.eat(&["CREATE", "SCHEMA"]) {
            return self.create_schema(cursor);
        }
        self.schemas_are_complete()?;
        if self.in_large_object {
            return self.large_object(cursor);
        }
        if cursor.eat(&["CREATE", "TABLE"]) {
            self.create_table(cursor)
        } else if inside.first().is_some_and(|t| t.is("COPY")) {
            self.copy(tokens)
        } else if cursor.eat(&["ALTER", "TABLE"]) {
            self.alter_table(cursor)
        } else if cursor.eat(&["CREATE", "INDEX"]) || cursor.eat(&["CREATE", "UNIQUE", "INDEX"]) {
            self.create_index(cursor)
        } else if cursor.eat(&["CREATE", "TYPE"]) {
            self.create_type(cursor)
        } else if cursor.eat(&["CREATE", "FUNCTION"]) {
            self.create_function(cursor)
        } else if cursor.eat(&["CREATE", "VIEW"]) {
            self.create_view(cursor)
        } else if cursor.eat(&["CREATE", "SEQUENCE"]) {
            self.create_sequence(cursor)
        } else if cursor.eat(&["ALTER", "SEQUENCE"]) {
            self.alter_sequence(cursor)
        } else if cursor.eat(&["SELECT", "pg_catalog"]) {
            self.select(cursor)
        } else if cursor.eat(&["BEGIN"]) {
            self.in_large_object = true;
            cursor.end().map(|()| Accepted::Plain)
        } else if cursor.eat(&["GRANT"]) || cursor.eat(&["REVOKE"]) {
            self.grant(cursor)
        } else if cursor.eat(&["ALTER", "DEFAULT", "PRIVILEGES"]) {
            self.default_privileges(cursor)
        } else if cursor.eat(&["UPDATE"]) {
            update(cursor)
        } else {
            Err(refusal(inside))
        }
    }

    fn create_schema(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        if self.guard > 0 {
            cursor.eat(&["IF", "NOT", "EXISTS"]);
        } else if self.family.is_some() {
            return Err("a schema is made after the first object".to_owned());
        }
        let name = cursor.name()?;
        cursor.end()?;
        if is_forbidden_schema(&name) {
            return Err(format!("the schema {name} does not belong into a snapshot"));
        }
        if !self.schemas.insert(name.clone()) {
            return Err(format!("the schema {name} is made twice"));
        }
        Ok(Accepted::Plain)
    }

    /// A name in a schema of this file; nothing else may be made or changed.
    pub(super) fn own(&self, cursor: &mut Cursor<'_, '_>) -> Result<Name, Reason> {
        let name = cursor.qualified()?;
        if self.schemas.contains(&name.schema) {
            Ok(name)
        } else {
            Err(format!("{name} stands in a schema that this file does not make"))
        }
    }

    /// A new name among tables, views, sequences and types.
    pub(super) fn new_relation(&mut self, cursor: &mut Cursor<'_, '_>) -> Result<Name, Reason> {
        let name = self.own(cursor)?;
        self.reserve(name.clone())?;
        Ok(name)
    }

    /// Indexes too: a table of the same name could not be made.
    pub(super) fn reserve(&mut self, name: Name) -> Result<(), Reason> {
        let said = format!("{name} is made twice");
        if self.relations.insert(name) { Ok(()) } else { Err(said) }
    }

    pub(super) fn own_table(&self, cursor: &mut Cursor<'_, '_>) -> Result<(Name, &Table), Reason> {
        let name = self.own(cursor)?;
        match self.tables.get(&name) {
            Some(table) => Ok((name, table)),
            None => Err(format!("{name} is no table that this file makes")),
        }
    }

    /// Refuses an expression that could do harm.
    pub(super) fn expression(&self, tokens: &[Token<'_>], place: Place<'_>) -> Result<(), Reason> {
        expression::check(tokens, place, &self.types)
    }

    /// A list of values.
    fn create_type(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        let name = self.new_relation(&mut cursor)?;
        cursor.expect(&["AS", "ENUM"]).map_err(|_| "a type other than a list of values".to_owned())?;
        let mut labels = BTreeSet::new();
        for value in split_commas(cursor.parenthesis()?) {
            let mut value = Cursor::new(value);
            let label = value.literal()?;
            value.end()?;
            if label.replace("''", "'").len() > NAME_BYTES_MAX || !labels.insert(label.to_owned()) {
                return Err("a value that the type cannot have".to_owned());
            }
        }
        cursor.end()?;
        self.types.enums.insert(name, labels);
        Ok(Accepted::Plain)
    }
}

/// `UPDATE kwild_voting.resolutions SET expiration = expiration-<height>;`
fn update(mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
    let only = || "an UPDATE other than the one that Kwil's tool ends a snapshot with".to_owned();
    let table = cursor.qualified()?;
    if !table.is("kwild_voting", "resolutions") || !cursor.eat(&["SET", "expiration"]) || !cursor.eat_symbol("=") {
        return Err(only());
    }
    if !cursor.eat(&["expiration"]) || !cursor.eat_symbol("-") {
        return Err(only());
    }
    let height = cursor.number()?.parse().map_err(|_| only())?;
    cursor.end().map_err(|_| only())?;
    Ok(Accepted::Update(height))
}

/// What to say about a statement that no dump holds.
fn refusal(tokens: &[Token<'_>]) -> Reason {
    const KNOWN: &[(&[&str], &str)] = &[
        (&["ALTER", "DATABASE"], "it changes the database itself, not what is in it"),
        (&["CREATE", "DATABASE"], "it makes a database"),
        (&["DO"], "it runs code"),
        (&["CREATE", "EXTENSION"], "it installs an extension"),
        (&["CREATE", "LANGUAGE"], "it installs a language"),
        (&["CREATE", "ROLE"], "it makes a role"),
        (&["CREATE", "USER"], "it makes a role"),
        (&["ALTER", "ROLE"], "it changes a role"),
        (&["ALTER", "USER"], "it changes a role"),
        (&["ALTER", "SYSTEM"], "it changes the server's settings"),
        (&["SET"], "it changes a setting of the session"),
        (&["CREATE", "TRIGGER"], "Kwil makes no triggers"),
        (&["CREATE", "EVENT"], "Kwil's dumps hold no event triggers"),
        (&["CREATE", "RULE"], "Kwil makes no rules"),
        (&["CREATE", "MATERIALIZED"], "Kwil makes no materialized views"),
        (&["SELECT"], "a query other than pg_dump's own"),
    ];
    let said =
        KNOWN.iter().find(|(words, _)| words.iter().zip(tokens).all(|(w, t)| t.is(w)) && tokens.len() >= words.len());
    said.map_or("no statement of a Kwil dump", |(_, reason)| reason).to_owned()
}
