//! GRANT, REVOKE and default privileges: on what this file makes, never a role.

use super::{
    State,
    cursor::{Cursor, Reason, names},
    grammar::Accepted,
    routine::signature,
};

impl State {
    /// After GRANT or REVOKE: privileges on an object of this file, never a role.
    pub(super) fn grant(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        self.privileges_seen = true;
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
    pub(super) fn default_privileges(&mut self, mut cursor: Cursor<'_, '_>) -> Result<Accepted, Reason> {
        self.privileges_seen = true;
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
