//! The statements, one function each.

use super::{
    super::token::{CopyHeader, Name, Token, Tokens},
    State, body,
    cursor::{Cursor, Reason, names, split_commas},
    expression::{self, Place},
};

/// What a statement turned out to be, where the scanner has to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Plain,
    Copy(Name),
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
        if self.family.is_some() {
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
    fn own(&self, cursor: &mut Cursor<'_, '_>) -> Result<Name, Reason> {
        let name = cursor.qualified()?;
        if self.schemas.contains(&name.schema) {
            Ok(name)
        } else {
            Err(format!("{name} stands in a schema that this file does not make"))
        }
    }

    /// A new name among tables, views, sequences and types.
    fn new_relation(&mut self, cursor: &mut Cursor<'_, '_>) -> Result<Name, Reason> {
        let name = self.own(cursor)?;
        if self.relations.insert(name.clone()) { Ok(name) } else { Err(format!("{name} is made twice")) }
    }

    fn own_table(&self, cursor: &mut Cursor<'_, '_>) -> Result<(Name, &[String]), Reason> {
        let name = self.own(cursor)?;
        match self.tables.get(&name) {
            Some(columns) => Ok((name, columns)),
            None => Err(format!("{name} is no table that this file makes")),
        }
    }

    fn has_type(&self, schema: &str, object: &str) -> bool {
        let name = Name { schema: schema.to_owned(), object: object.to_owned() };
        self.types.contains(&name) || name.is("public", "uint256")
    }

    fn expression(&self, tokens: &[Token<'_>], place: Place<'_>) -> Result<(), Reason> {
        expression::check(tokens, place, &|schema, object| self.has_type(schema, object))
    }

    fn create_table(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];
        const COLUMNS_MAX: usize = 1600;
        let table = self.new_relation(&mut cursor)?;
        if table.is("kwild_internal", "sentry") {
            return Err("kwild_internal.sentry is one node's own table".to_owned());
        }
        let parts = split_commas(cursor.parenthesis()?);
        cursor.end()?;
        let mut columns: Vec<String> = Vec::new();
        let mut constraints: Vec<Cursor<'_, '_>> = Vec::new();
        for part in parts {
            let mut part = Cursor::new(part);
            if part.eat(&["CONSTRAINT"]) {
                constraints.push(part);
                continue;
            }
            let column = part.name()?;
            if SYSTEM_COLUMNS.contains(&column.as_str()) || columns.contains(&column) || columns.len() >= COLUMNS_MAX {
                return Err(format!("the column {column} cannot be made"));
            }
            self.column(&mut part)?;
            columns.push(column);
        }
        let mut seen: Vec<String> = Vec::new();
        for mut constraint in constraints {
            let name = constraint.name()?;
            constraint.expect(&["CHECK"])?;
            self.expression(constraint.parenthesis()?, Place::Table(&columns))?;
            constraint.end()?;
            if seen.contains(&name) {
                return Err(format!("the constraint {name} is made twice"));
            }
            seen.push(name);
        }
        self.tables.insert(table, columns);
        Ok(Accepted::Plain)
    }

    /// A column after its name: type, collation, default, NOT NULL.
    fn column(&self, part: &mut Cursor<'_, '_>) -> Result<(), Reason> {
        if part.rest.get(1).is_some_and(|t| t.is_symbol(".")) {
            let name = part.qualified()?;
            if !self.has_type(&name.schema, &name.object) {
                return Err(format!("the type {name} is not made by this file"));
            }
        } else {
            let name = part.name()?;
            if !expression::is_column_type(&name) {
                return Err(format!("no Kwil table has columns of type {name}"));
            }
            if name == "numeric" && part.rest.first().is_some_and(|t| t.is_symbol("(")) {
                numeric_modifier(part.parenthesis()?)?;
            }
        }
        while part.eat_symbol("[") {
            part.expect_symbol("]")?;
        }
        if part.eat(&["COLLATE", "public"]) {
            part.expect_symbol(".")?;
            part.expect(&["nocase"])?;
        }
        if part.eat(&["DEFAULT"]) {
            let value = match part.rest {
                [value @ .., not, null] if not.is("NOT") && null.is("NULL") => value,
                value => value,
            };
            self.expression(value, Place::Default)?;
            part.rest = &part.rest[value.len()..];
        }
        part.eat(&["NOT", "NULL"]);
        part.end()
    }

    fn copy(&mut self, tokens: &[Token<'_>]) -> Result<Accepted, Reason> {
        let header = CopyHeader::read(tokens).ok_or("a COPY other than from this file's own lines")?;
        let table = header.table;
        // psql would read the rows as statements if the server refused the COPY.
        match self.tables.get(&table) {
            None => Err(format!("rows for {table}, which this file does not make")),
            Some(columns) if *columns != header.columns => Err(format!("the columns are not those of {table}")),
            Some(_) if !self.copied.insert(table.clone()) => Err(format!("rows for {table} come twice")),
            Some(_) => Ok(Accepted::Copy(table)),
        }
    }

    fn alter_table(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        cursor.eat(&["ONLY"]);
        let (_, columns) = self.own_table(&mut cursor)?;
        if cursor.eat(&["REPLICA", "IDENTITY"]) {
            if cursor.eat(&["USING", "INDEX"]) {
                cursor.name()?;
            } else if !(cursor.eat(&["FULL"]) || cursor.eat(&["NOTHING"]) || cursor.eat(&["DEFAULT"])) {
                return Err("no such replica identity".to_owned());
            }
        } else if cursor.eat(&["ADD", "CONSTRAINT"]) {
            cursor.name()?;
            if cursor.eat(&["PRIMARY", "KEY"]) || cursor.eat(&["UNIQUE"]) {
                cursor.eat(&["NULLS", "NOT", "DISTINCT"]);
                names(cursor.parenthesis()?)?;
            } else if cursor.eat(&["CHECK"]) {
                self.expression(cursor.parenthesis()?, Place::Table(columns))?;
                cursor.eat(&["NOT", "VALID"]);
            } else {
                self.foreign_key(&mut cursor)?;
            }
        } else {
            cursor
                .expect(&["ALTER", "COLUMN"])
                .map_err(|_| "this change of a table is none of pg_dump's".to_owned())?;
            cursor.name()?;
            cursor.expect(&["SET", "DEFAULT"])?;
            if cursor.eat(&["nextval"]) {
                self.next_value(cursor.parenthesis()?)?;
            } else {
                self.expression(cursor.rest, Place::Default)?;
                cursor.rest = &[];
            }
        }
        cursor.end()?;
        Ok(Accepted::Plain)
    }

    fn foreign_key(&self, cursor: &mut Cursor<'_, '_>) -> Result<(), Reason> {
        cursor.expect(&["FOREIGN", "KEY"]).map_err(|_| "this constraint is none of pg_dump's".to_owned())?;
        names(cursor.parenthesis()?)?;
        cursor.expect(&["REFERENCES"])?;
        self.own_table(cursor)?;
        names(cursor.parenthesis()?)?;
        while cursor.eat(&["ON"]) {
            if !(cursor.eat(&["UPDATE"]) || cursor.eat(&["DELETE"])) {
                return Err("expected UPDATE or DELETE".to_owned());
            }
            let actions: [&[&str]; 5] =
                [&["CASCADE"], &["RESTRICT"], &["NO", "ACTION"], &["SET", "NULL"], &["SET", "DEFAULT"]];
            if !actions.iter().any(|action| cursor.eat(action)) {
                return Err("no such action of a foreign key".to_owned());
            }
        }
        if cursor.eat(&["DEFERRABLE"]) {
            cursor.eat(&["INITIALLY", "DEFERRED"]);
        }
        cursor.eat(&["NOT", "VALID"]);
        Ok(())
    }

    /// `'schema.sequence'::regclass`
    fn next_value(&self, tokens: &[Token<'_>]) -> Result<(), Reason> {
        let mut cursor = Cursor::new(tokens);
        self.own_sequence(cursor.literal()?)?;
        cursor.expect_symbol("::")?;
        cursor.expect(&["regclass"])?;
        cursor.end()
    }

    /// A sequence by the text of its name.
    fn own_sequence(&self, text: &str) -> Result<(), Reason> {
        let tokens: Vec<Token<'_>> = Tokens::new(text).collect::<Result<_, _>>()?;
        let mut cursor = Cursor::new(&tokens);
        let name = self.own(&mut cursor)?;
        cursor.end()?;
        if self.sequences.contains(&name) { Ok(()) } else { Err(format!("{name} is no sequence that this file makes")) }
    }

    fn create_index(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        cursor.name()?;
        cursor.expect(&["ON"])?;
        let (_, columns) = self.own_table(&mut cursor)?;
        cursor.expect(&["USING"])?;
        let method = cursor.name()?;
        if !["btree", "gin", "hash"].contains(&method.as_str()) {
            return Err(format!("no Kwil index uses {method}"));
        }
        self.expression(cursor.parenthesis()?, Place::Table(columns))?;
        if cursor.eat(&["INCLUDE"]) {
            names(cursor.parenthesis()?)?;
        }
        cursor.eat(&["NULLS", "NOT", "DISTINCT"]);
        if cursor.eat(&["WHERE"]) {
            self.expression(cursor.rest, Place::Table(columns))?;
            cursor.rest = &[];
        }
        cursor.end()?;
        Ok(Accepted::Plain)
    }

    fn create_type(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        let name = self.new_relation(&mut cursor)?;
        cursor.expect(&["AS", "ENUM"]).map_err(|_| "a type other than a list of values".to_owned())?;
        for value in split_commas(cursor.parenthesis()?) {
            let mut value = Cursor::new(value);
            value.literal()?;
            value.end()?;
        }
        cursor.end()?;
        self.types.insert(name);
        Ok(Accepted::Plain)
    }

    fn create_function(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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

    fn create_view(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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

    fn create_sequence(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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

    fn alter_sequence(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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

    /// After `SELECT pg_catalog`.
    fn select(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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
    fn large_object(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
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

    /// After GRANT or REVOKE: privileges on an object of this file, never a role.
    fn grant(&self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        cursor.eat(&["GRANT", "OPTION", "FOR"]);
        privileges(&mut cursor)?;
        if cursor.eat(&["DATABASE"]) {
            return Err("a privilege on the database itself, not on what is in it".to_owned());
        }
        if cursor.eat(&["SCHEMA"]) {
            let schema = cursor.name()?;
            if !self.schemas.contains(&schema) {
                return Err(format!("a privilege on {schema}, a schema that this file does not make"));
            }
        } else {
            let function = cursor.eat(&["FUNCTION"]);
            if !function && !cursor.eat(&["TABLE"]) && !cursor.eat(&["SEQUENCE"]) {
                cursor.eat(&["TYPE"]);
            }
            self.own(&mut cursor)?;
            if function {
                signature(cursor.parenthesis()?)?;
            }
        }
        roles(&mut cursor)
    }

    /// After ALTER DEFAULT PRIVILEGES.
    fn default_privileges(&self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        if cursor.eat(&["FOR", "ROLE"]) {
            cursor.name()?;
        }
        cursor.expect(&["IN", "SCHEMA"])?;
        let schema = cursor.name()?;
        if !self.schemas.contains(&schema) {
            return Err(format!("privileges in {schema}, a schema that this file does not make"));
        }
        if !(cursor.eat(&["GRANT"]) || cursor.eat(&["REVOKE"])) {
            return Err("expected GRANT or REVOKE".to_owned());
        }
        privileges(&mut cursor)?;
        cursor.name()?;
        roles(&mut cursor)
    }
}

/// Words and commas up to ON; columns may stand in parentheses.
fn privileges(cursor: &mut Cursor<'_, '_>) -> Result<(), Reason> {
    const PRIVILEGES: &[&str] = &[
        "ALL",
        "CREATE",
        "DELETE",
        "EXECUTE",
        "INSERT",
        "MAINTAIN",
        "PRIVILEGES",
        "REFERENCES",
        "SELECT",
        "TRIGGER",
        "TRUNCATE",
        "UPDATE",
        "USAGE",
        "CONNECT",
        "TEMPORARY",
    ];
    while !cursor.eat(&["ON"]) {
        if cursor.rest.first().is_some_and(|t| t.is_symbol("(")) {
            names(cursor.parenthesis()?)?;
        } else if !cursor.eat_symbol(",") && !PRIVILEGES.iter().any(|p| cursor.eat(&[p])) {
            return Err("a role or an unknown privilege is granted".to_owned());
        }
    }
    Ok(())
}

/// TO or FROM one role, the statement's end.
fn roles(cursor: &mut Cursor<'_, '_>) -> Result<Accepted, Reason> {
    if !(cursor.eat(&["TO"]) || cursor.eat(&["FROM"])) {
        return Err("expected TO or FROM".to_owned());
    }
    cursor.name()?;
    cursor.eat(&["WITH", "GRANT", "OPTION"]);
    cursor.end()?;
    Ok(Accepted::Plain)
}

/// Names and types of arguments: no defaults, which would be expressions.
fn signature(tokens: &[Token<'_>]) -> Result<(), Reason> {
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

/// `(precision, scale)` in the server's bounds: beyond them the table would not be made.
fn numeric_modifier(tokens: &[Token<'_>]) -> Result<(), Reason> {
    let bad = || "a numeric type that the server does not have".to_owned();
    let mut cursor = Cursor::new(tokens);
    let precision: u32 = cursor.number()?.parse().map_err(|_| bad())?;
    let mut scale = 0;
    if cursor.eat_symbol(",") {
        cursor.eat_symbol("-");
        scale = cursor.number()?.parse().map_err(|_| bad())?;
    }
    cursor.end()?;
    if (1..=1000).contains(&precision) && scale <= 1000 { Ok(()) } else { Err(bad()) }
}

fn large_object_id(arguments: &mut Cursor<'_, '_>) -> Result<(), Reason> {
    arguments.literal()?.parse::<u32>().map(drop).map_err(|_| "a large object without a number".to_owned())
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
