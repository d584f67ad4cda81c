//! Bodies of functions. kwild calls them as a superuser, so they may read and write tables, but not do what only the
//! server's administrator may: no DDL, no COPY, no text run as SQL but Kwil's own form, no catalogue and file functions.

use super::super::token::{Token, Tokens};
use super::cursor::{Cursor, Reason};

/// Statements that no Kwil procedure consists of.
const STATEMENTS: &[&str] = &[
    "ALTER",
    "ANALYZE",
    "CALL",
    "CHECKPOINT",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DISCARD",
    "DO",
    "DROP",
    "EXPLAIN",
    "GRANT",
    "IMPORT",
    "LISTEN",
    "LOAD",
    "LOCK",
    "NOTIFY",
    "PREPARE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SHOW",
    "TRUNCATE",
    "UNLISTEN",
    "VACUUM",
];

/// Words after which a statement may begin.
const OPENERS: &[&str] =
    &["BEGIN", "THEN", "ELSE", "LOOP", "QUERY", "IN", "FOR", "use_column", "use_variable", "error"];

/// Functions that reach files, other servers or the server's settings, or run text as SQL; with `pg_` and `lo_`.
const FUNCTIONS: &[&str] = &[
    "binary_upgrade",
    "copy",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "dblink",
    "loread",
    "lowrite",
    "nextval",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "setval",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
];

/// Checks a body.
pub(super) fn check(body: &str) -> Result<(), Reason> {
    let tokens: Vec<Token<'_>> =
        Tokens::of_body(body).collect::<Result<_, _>>().map_err(|e| format!("in the function's body, {e}"))?;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|i| tokens.get(i));
        let opens =
            before.is_none_or(|t| t.is_symbol(";") || t.is_symbol(">>") || OPENERS.iter().any(|opener| t.is(opener)));
        let after = &tokens[at + 1..];
        if let Token::Body(_) = token {
            return Err("the function's body holds another dollar-quoted text".to_owned());
        }
        let Some(name) = token.name() else { continue };
        if opens && STATEMENTS.iter().any(|s| token.is(s)) {
            return Err(format!("the function's body runs {}", name.to_uppercase()));
        }
        if token.is("EXECUTE") && !is_foreign_call(after) {
            return Err("the function's body runs text as SQL".to_owned());
        }
        if token.is("SET") && opens && !is_context_setting(after) {
            return Err("the function's body changes a setting of the server".to_owned());
        }
        // The server's settings decide what it runs; Kwil's own are `ctx.`.
        if name == "set_config" && !matches!(after, [_, Token::Literal(s), ..] if s.starts_with("ctx.")) {
            return Err("the function's body changes a setting of the server".to_owned());
        }
        let called = after.first().is_some_and(|t| t.is_symbol("("));
        if called && (FUNCTIONS.contains(&name.as_str()) || name.starts_with("lo_") || name.starts_with("dblink")) {
            return Err(format!("the function's body calls {name}"));
        }
        if name.starts_with("pg_") && name != "pg_catalog" {
            return Err(format!("the function's body names {name} of the server's catalogue"));
        }
        if name == "pg_catalog" && !matches!(after, [_, function, ..] if function.is("format_type")) {
            return Err("the function's body reaches into the server's catalogue".to_owned());
        }
    }
    Ok(())
}

/// Kwil's call of another schema's procedure: `EXECUTE format('SELECT * FROM ds_%I.%I($1, $2)', …`.
fn is_foreign_call(after: &[Token<'_>]) -> bool {
    let [format, open, Token::Literal(text), comma, ..] = after else { return false };
    // Nothing may be added to what it gives.
    let mut cursor = Cursor::new(&after[1..]);
    let ends = cursor.parenthesis().is_ok()
        && cursor.rest.first().is_some_and(|t| t.is_symbol(";") || t.is("INTO") || t.is("USING") || t.is("LOOP"));
    let arguments = ["SELECT * FROM ds_%I.%I(", "SELECT ds_%I.%I("].iter().find_map(|form| text.strip_prefix(form));
    ends && format.is("format")
        && open.is_symbol("(")
        && comma.is_symbol(",")
        && arguments.and_then(|a| a.strip_suffix(')')).is_some_and(|a| a.bytes().all(|b| b"$0123456789, ".contains(&b)))
}

/// `SET LOCAL ctx.name = …`.
fn is_context_setting(after: &[Token<'_>]) -> bool {
    matches!(after, [local, ctx, dot, ..] if local.is("LOCAL") && ctx.is("ctx") && dot.is_symbol("."))
}
