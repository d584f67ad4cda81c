//! CREATE TABLE and COPY. psql does not stop at an error: where the server refuses a `COPY`, psql reads its rows as
//! statements, and pg_dump's own escapes are commands to it (`\\t` with a text in backquotes behind it runs a program). So
//! rows may only follow for a table that the server is sure to make.

use std::collections::BTreeSet;

use super::{
    super::token::{CopyHeader, Token},
    State, Table,
    cursor::{Cursor, Reason, split_commas},
    expression::Place,
    grammar::Accepted,
    keyword::is_reserved,
    proof,
    types::{Base, Column},
};

impl State {
    pub(super) fn create_table(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];
        const COLUMNS_MAX: usize = 1600;
        let table = self.new_relation(&mut cursor)?;
        if table.is("kwild_internal", "sentry") {
            return Err("kwild_internal.sentry is one node's own table".to_owned());
        }
        let parts = split_commas(cursor.parenthesis()?);
        cursor.end()?;
        let mut columns: Vec<Column> = Vec::new();
        let mut constraints: Vec<Cursor<'_, '_>> = Vec::new();
        let mut unproven = None;
        for part in parts {
            let mut part = Cursor::new(part);
            if part.eat(&["CONSTRAINT"]) {
                constraints.push(part);
                continue;
            }
            let name = part.name()?;
            if SYSTEM_COLUMNS.contains(&name.as_str())
                || columns.iter().any(|c| c.name == name)
                || columns.len() >= COLUMNS_MAX
            {
                return Err(format!("the column {name} cannot be made"));
            }
            columns.push(self.column(name, &mut part, &mut unproven)?);
        }
        let mut seen = BTreeSet::new();
        for mut constraint in constraints {
            let name = constraint.name()?;
            constraint.expect(&["CHECK"])?;
            let expression = constraint.parenthesis()?;
            self.expression(expression, Place::Table(&columns))?;
            constraint.end()?;
            unproven = unproven.or_else(|| proof::check(expression, &columns, &self.types).err());
            if !seen.insert(name.clone()) {
                return Err(format!("the constraint {name} is made twice"));
            }
        }
        self.tables.insert(table, Table { columns, unproven });
        Ok(Accepted::Plain)
    }

    /// A column after its name: type, collation, default, NOT NULL.
    fn column(&self, name: String, part: &mut Cursor<'_, '_>, unproven: &mut Option<Reason>) -> Result<Column, Reason> {
        let (kind, precision) = self.types.read(part)?;
        let column = Column { name, kind, precision };
        if column.kind.base == Base::Double {
            return Err(format!("no Kwil table has columns of type {}", column.kind));
        }
        if part.eat(&["COLLATE", "public"]) {
            part.expect_symbol(".")?;
            part.expect(&["nocase"])?;
            unproven.get_or_insert_with(|| "kwild makes the collation public.nocase only afterwards".to_owned());
        }
        if part.eat(&["DEFAULT"]) {
            let value = match part.rest {
                [value @ .., not, null] if not.is("NOT") && null.is("NULL") => value,
                value => value,
            };
            self.expression(value, Place::Default)?;
            if let Err(reason) = proof::default(value, &column, &self.types) {
                unproven.get_or_insert(reason);
            }
            part.rest = &part.rest[value.len()..];
        }
        part.eat(&["NOT", "NULL"]);
        part.end()?;
        Ok(column)
    }

    /// The header of rows.
    pub(super) fn copy(&mut self, tokens: &[Token<'_>]) -> Result<Accepted, Reason> {
        let header = CopyHeader::read(tokens).ok_or("a COPY other than from this file's own lines")?;
        let names = tokens.get(1..tokens.len().saturating_sub(3)).unwrap_or_default();
        if let Some(Token::Word(word)) = names.iter().find(|t| matches!(t, Token::Word(w) if is_reserved(w))) {
            return Err(format!("the name {word} is a word of SQL and not quoted"));
        }
        if self.privileges_seen {
            return Err("rows come after privileges, which could forbid them".to_owned());
        }
        let table = header.table;
        // psql would read the rows as statements if the server refused the COPY.
        let Some(made) = self.tables.get(&table) else {
            return Err(format!("rows for {table}, which this file does not make"));
        };
        if !made.columns.iter().map(|c| &c.name).eq(&header.columns) {
            return Err(format!("the columns are not those of {table}"));
        }
        let must_be_empty = if table.is("kwild_voting", "voters") {
            Some("the voters table holds rows: they would stay validators beside the genesis'".to_owned())
        } else {
            made.unproven.as_ref().map(|why| {
                format!(
                    "rows of a table that the server may not make, so that psql would read them as statements ({why})"
                )
            })
        };
        if !self.copied.insert(table.clone()) {
            return Err(format!("rows for {table} come twice"));
        }
        Ok(Accepted::Copy { table, must_be_empty })
    }
}
