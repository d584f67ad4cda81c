//! ALTER TABLE and CREATE INDEX: keys, checks and defaults that come after the tables.

use super::{
    super::token::{Name, Token},
    State,
    cursor::{Cursor, Reason, names},
    expression::Place,
    grammar::Accepted,
    proof,
};

impl State {
    pub(super) fn alter_table(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        cursor.eat(&["ONLY"]);
        let (table, made) = self.own_table(&mut cursor)?;
        let (columns, types) = (&made.columns, &self.types);
        let (mut index, mut unproven) = (None, None);
        if cursor.eat(&["REPLICA", "IDENTITY"]) {
            if cursor.eat(&["USING", "INDEX"]) {
                cursor.name()?;
            } else if !(cursor.eat(&["FULL"]) || cursor.eat(&["NOTHING"]) || cursor.eat(&["DEFAULT"])) {
                return Err("no such replica identity".to_owned());
            }
        } else if cursor.eat(&["ADD", "CONSTRAINT"]) {
            let name = cursor.name()?;
            if cursor.eat(&["PRIMARY", "KEY"]) || cursor.eat(&["UNIQUE"]) {
                index = Some(name);
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
            let name = cursor.name()?;
            cursor.expect(&["SET", "DEFAULT"])?;
            if cursor.eat(&["nextval"]) {
                self.next_value(cursor.parenthesis()?)?;
            } else {
                self.expression(cursor.rest, Place::Default)?;
                let column = columns.iter().find(|c| c.name == name);
                unproven = column.and_then(|column| proof::default(cursor.rest, column, types).err());
                cursor.rest = &[];
            }
        }
        cursor.end()?;
        if let Some(object) = index {
            self.reserve(Name { schema: table.schema.clone(), object })?;
        }
        if let (Some(reason), Some(made)) = (unproven, self.tables.get_mut(&table)) {
            made.unproven.get_or_insert(reason);
        }
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

    pub(super) fn create_index(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        let object = cursor.name()?;
        cursor.expect(&["ON"])?;
        let (table, made) = self.own_table(&mut cursor)?;
        let columns = &made.columns;
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
        self.reserve(Name { schema: table.schema, object })?;
        Ok(Accepted::Plain)
    }
}
