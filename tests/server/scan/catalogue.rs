//! The names that pass, by the server's own catalogue: none of them does more than compute.

use std::collections::BTreeSet;

use kwil_formats::dump::scan::inside;

use super::{database, server};

/// Functions of which the server says that their value may depend on more than their arguments, and why they only compute.
const STABLE_FUNCTIONS: &[(&str, &str)] = &[
    ("array_to_string", "writes each element as its type does, which may follow DateStyle or TimeZone"),
    ("concat", "the same for each argument"),
    ("concat_ws", "the same for each argument"),
    (
        "convert_from",
        "the conversion between two encodings is found by a name; those of a database are PostgreSQL's own",
    ),
    ("convert_to", "the same"),
    ("format", "the same as concat"),
    ("generate_series", "days of a time zone have different lengths"),
    ("length", "of bytes in an encoding, which is found by its name"),
    ("numeric", "of money, which is read as the server's language writes it"),
    ("quote_literal", "the same as concat"),
    ("quote_nullable", "the same as concat"),
    ("to_char", "writes names of days and signs as the server's language does"),
    ("to_number", "reads them so"),
];

/// The same for operators, by what their signatures hold.
const STABLE_OPERATORS: &[(&str, &str)] = &[
    ("timestamp with time zone", "days of a time zone have different lengths"),
    ("(text,anynonarray)", "writes a value as its type does, which may follow DateStyle or TimeZone"),
    ("(anynonarray,text)", "the same"),
];

/// Functions that the oldest servers do not have.
const NEWER_FUNCTIONS: &[&str] = &["any_value", "erf", "erfc"];

/// Those that kwild makes itself in the schema `public`.
const KWILDS_OWN: &[&str] =
    &["error", "format_unix_timestamp", "generate_dbid", "notice", "parse_unix_timestamp", "uuid_generate_kwil"];

/// The rows of a query, by their columns.
fn rows(db: &str, query: &str) -> Vec<Vec<String>> {
    let lines = server().query(db, query).unwrap();
    lines.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// The names as an array of texts.
fn array<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("'{name}'")).collect();
    format!("ARRAY[{}]", quoted.join(", "))
}

#[test]
fn every_function_that_passes_only_computes() {
    let db = database();
    let names = inside::functions();
    let found = rows(
        &db,
        &format!(
            "SELECT p.proname, p.provolatile, \
             1 = (SELECT count(*) FROM unnest(p.proargmodes) AS mode WHERE mode IN ('o', 'b', 't')), p.prosecdef, \
             'internal'::regtype = ANY (p.proargtypes::oid[] || p.prorettype), l.lanname, p.oid::regprocedure \
             FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang \
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ({}) ORDER BY 1, 7",
            array(&names)
        ),
    );
    let mut wrong = Vec::new();
    for row in &found {
        let [name, volatile, outs, definer, internal, language, signature] = &row[..] else { panic!("{row:?}") };
        let excused = STABLE_FUNCTIONS.iter().any(|(function, _)| function == name);
        if volatile != "i" && !(volatile == "s" && excused) {
            wrong.push(format!("{signature} is {volatile}"));
        }
        // A function in FROM that has one named result calls its column so, which the walk does not know.
        if outs == "t" || definer == "t" || internal == "t" || !["internal", "sql"].contains(&language.as_str()) {
            wrong.push(format!("{signature}: {row:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let known: BTreeSet<&str> = found.iter().map(|row| row[0].as_str()).collect();
    let missing: Vec<&str> =
        names.iter().filter(|name| !known.contains(**name) && !NEWER_FUNCTIONS.contains(name)).copied().collect();
    assert!(missing.is_empty(), "the server has no {missing:?}");
    let idle: Vec<&str> = STABLE_FUNCTIONS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !found.iter().any(|row| row[0] == *name && row[1] == "s"))
        .collect();
    assert!(idle.is_empty(), "{idle:?} need no excuse");
}

#[test]
fn every_function_of_an_extension_that_passes_only_computes() {
    let db = database();
    server().query(&db, "CREATE EXTENSION pgcrypto; CREATE EXTENSION \"uuid-ossp\"").unwrap();
    for name in inside::public_functions().iter().filter(|name| !KWILDS_OWN.contains(name)) {
        let found = rows(
            &db,
            &format!(
                "SELECT provolatile, 'internal'::regtype = ANY (proargtypes::oid[]) FROM pg_proc \
                 WHERE pronamespace = 'public'::regnamespace AND proname = '{name}'"
            ),
        );
        assert!(!found.is_empty() && found.iter().all(|row| row[..] == ["i", "f"]), "{name}: {found:?}");
    }
}

#[test]
fn every_operator_that_passes_only_computes() {
    let db = database();
    let names: Vec<&str> = inside::operators()
        .iter()
        .filter(|name| !name.starts_with(|c: char| c.is_ascii_uppercase()))
        .copied()
        .collect();
    let found = rows(
        &db,
        &format!(
            "SELECT p.provolatile, 'internal'::regtype = ANY (p.proargtypes::oid[]), o.oid::regoperator \
             FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode \
             WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname = ANY ({}) ORDER BY 3",
            array(&names)
        ),
    );
    let mut wrong = Vec::new();
    for row in &found {
        // An operator's own name may hold what stands between columns.
        let [volatile, internal, signature @ ..] = &row[..] else { panic!("{row:?}") };
        let signature = signature.join("|");
        let excused = STABLE_OPERATORS.iter().any(|(part, _)| signature.contains(part));
        if internal == "t" || (volatile != "i" && !(volatile == "s" && excused)) {
            wrong.push(format!("{signature} is {volatile}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found.len() > 300, "{}", found.len());
}

#[test]
fn every_type_that_passes_is_made_of_its_text_alone() {
    let db = database();
    let found = rows(
        &db,
        &format!(
            "SELECT t.typname, t.typtype, i.provolatile, o.provolatile FROM pg_type AS t \
             JOIN pg_proc AS i ON i.oid = t.typinput JOIN pg_proc AS o ON o.oid = t.typoutput \
             WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY ({})",
            array(inside::types())
        ),
    );
    assert_eq!(found.len(), inside::types().len());
    for row in &found {
        // A record is read and written by the functions of its columns' types, and has no text of its own.
        let pure = row[0] == "record" || row[2..] == ["i", "i"];
        let plain = row[1] == "b" || ["record", "void"].contains(&row[0].as_str());
        assert!(pure && plain, "{row:?}");
    }
}
