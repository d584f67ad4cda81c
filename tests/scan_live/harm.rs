//! Texts whose rows psql would run, shown by running them, and that the scanner refuses them.

use super::{database, scan, server};

const HEAD: &str = "CREATE SCHEMA ds_x;\nCREATE SCHEMA kwild_voting;\n";
const HEAD_V010: &str = "CREATE SCHEMA kwild_engine;\nCREATE SCHEMA kwild_voting;\nCREATE SCHEMA ds_x;\n";
/// What the row does.
const ROW: &str = "CREATE TABLE public.harm ();";

/// Definitions of `ds_x.t` that the server refuses, with a part of the scanner's reason.
const DEFINITIONS: &[(&str, &str)] = &[
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));", "no operator text > integer"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (length(a)));", "integer where boolean is needed"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((abs(a) = a)));", "no function abs(text)"),
    (
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((length(a, a, a) > 1)));",
        "no function length(text, text, text)",
    ),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::text 5)));", "form that pg_dump does not write"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a AND a)));", "text where boolean is needed"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > a > a)));", "form that pg_dump does not write"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((count(a) > 1)));", "no function count"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((unnest(a) = a)));", "no function unnest"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((public.digest(a, a) = a)));", "of the schema public"),
    (
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::text), (a = a)));",
        "form that pg_dump does not write",
    ),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((\"coalesce\"(a, a) = a)));", "no function coalesce"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((position(a, a) = 1)));", "form that pg_dump does not write"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((ARRAY[] = a)));", "form that pg_dump does not write"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a[1] = a)));", "no array"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (((a)::boolean[1] = a)));", "expected ]"),
    ("CREATE TABLE ds_x.t (a text, b uuid, CONSTRAINT c CHECK (((b)::bigint = 1)));", "no cast from uuid to bigint"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = '5'::bigint)));", "no operator text = bigint"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::bigint)));", "no value of type bigint"),
    ("CREATE TABLE ds_x.t (a text DEFAULT 5::bigint[]);", "no cast from integer to bigint[]"),
    ("CREATE TABLE ds_x.t (a bytea DEFAULT 5);", "default of type integer"),
    ("CREATE TABLE ds_x.t (a boolean DEFAULT 'maybe'::boolean);", "no value of type boolean"),
    ("CREATE TABLE ds_x.t (a text DEFAULT length('x'::text) = 1 AND true);", "form that pg_dump does not write"),
    ("CREATE TABLE ds_x.t (a integer[] DEFAULT '{1,x}'::integer[]);", "no value of type integer[]"),
    ("CREATE TABLE ds_x.t (a integer[] DEFAULT '{1,2'::integer[]);", "no value of type integer[]"),
    (
        "CREATE TYPE ds_x.e AS ENUM ('A');\nCREATE TABLE ds_x.t (a ds_x.e DEFAULT 'B'::ds_x.e);",
        "no value of type ds_x.e",
    ),
    ("CREATE TYPE ds_x.e AS ENUM ('A', 'A');\nCREATE TABLE ds_x.t (a ds_x.e);", "cannot have"),
    ("CREATE TABLE ds_x.t (a bigint COLLATE public.nocase);", "public.nocase"),
    ("CREATE TABLE ds_x.t (a text COLLATE public.nocase);", "public.nocase"),
    ("CREATE TABLE ds_x.t (a \"integer\");", "expected a type"),
    ("CREATE TABLE ds_x.t (a text, user text);", "user is a word of SQL"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT check CHECK (true));", "check is a word of SQL"),
    ("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (true), CONSTRAINT c CHECK (true));", "made twice"),
    (
        "CREATE TABLE ds_x.u (a text);\nCREATE INDEX t ON ds_x.u USING btree (a);\nCREATE TABLE ds_x.t (a text);",
        "made twice",
    ),
    (
        "CREATE TABLE ds_x.u (a text);\nALTER TABLE ONLY ds_x.u ADD CONSTRAINT t PRIMARY KEY (a);\nCREATE TABLE ds_x.t (a text);",
        "made twice",
    ),
];

/// The definition, then the row for it.
fn with_row(head: &str, definition: &str) -> String {
    let columns: Vec<&str> = [("a ", "a"), (" b ", "b"), (" user ", "\"user\"")]
        .into_iter()
        .filter(|(column, _)| definition.rsplit("ds_x.t (").next().unwrap().contains(column))
        .map(|(_, name)| name)
        .collect();
    format!("{head}{definition}\nCOPY ds_x.t ({}) FROM stdin;\n{ROW}\n\\.\n", columns.join(", "))
}

fn does_harm(text: &str) -> bool {
    let db = database();
    server().restore(&db, text.as_bytes()).unwrap();
    server().query(&db, "SELECT to_regclass('public.harm') IS NOT NULL").unwrap().trim() == "t"
}

#[test]
fn rows_of_a_table_that_the_server_refuses_are_refused() {
    for (definition, want) in DEFINITIONS {
        let text = with_row(HEAD, definition);
        assert!(does_harm(&text), "psql did not run the row: {definition}");
        let error = scan(&text).expect_err(definition);
        assert!(error.reason.contains(want), "{definition}: {error}");
    }
}

#[test]
fn the_domain_of_one_family_is_no_type_of_the_other() {
    let definition = "CREATE TABLE ds_x.t (a public.uint256);";
    assert!(scan(&with_row(HEAD, definition)).is_ok());
    assert!(scan(&with_row(HEAD_V010, definition)).unwrap_err().reason.contains("public.uint256 is not made"));
}

#[test]
fn a_table_that_may_not_be_made_passes_without_rows() {
    let text = "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));\nCOPY ds_x.t (a) FROM stdin;\n\\.\n";
    assert!(scan(&format!("{HEAD}{text}")).is_ok());
    // psql complains of the block's end, and goes on.
    assert!(does_harm(&format!("{HEAD}{text}{ROW}\n")));
}

/// Why no row at all may stand there: what pg_dump itself writes for a tab is a command to psql, and runs programs.
#[test]
fn pg_dumps_own_escapes_run_programs_where_rows_are_statements() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("mark");
    let row = format!("\\t `touch {}`", mark.display());
    let text = format!(
        "{HEAD}CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));\nCOPY ds_x.t (a) FROM stdin;\n{row}\n\\.\n"
    );
    server().restore(&database(), text.as_bytes()).unwrap();
    assert!(mark.exists());
    assert!(scan(&text).unwrap_err().reason.contains("read them as statements"));
    assert!(scan(&text.replace(", CONSTRAINT c CHECK ((a > 5))", "")).is_ok());
}

#[test]
fn a_word_of_sql_among_the_columns_of_rows_is_refused() {
    let text = format!("{HEAD}CREATE TABLE ds_x.t (\"user\" text);\nCOPY ds_x.t (user) FROM stdin;\n{ROW}\n\\.\n");
    assert!(does_harm(&text));
    assert!(scan(&text).unwrap_err().reason.contains("user is a word of SQL"));
    assert!(scan(&text.replace("(user)", "(\"user\")")).is_ok());
}

/// psql counts an unquoted BEGIN in CREATE FUNCTION and passes over the semicolons after it: the COPY is never sent.
#[test]
fn a_function_named_begin_is_refused() {
    let text = format!(
        "{HEAD}CREATE FUNCTION ds_x.begin() RETURNS void\n    LANGUAGE plpgsql\n    AS $$BEGIN END$$;\n\
         CREATE TABLE ds_x.t (a text);\nCOPY ds_x.t (a) FROM stdin;\nend; {ROW}\n\\.\n"
    );
    assert!(does_harm(&text));
    assert!(scan(&text).unwrap_err().reason.contains("BEGIN stands outside"));
    // Quoted it is a name.
    let quoted = text.replace("ds_x.begin", "ds_x.\"begin\"");
    assert!(!does_harm(&quoted));
    assert!(scan(&quoted).is_ok());
}

/// A row that breaks a check, or a value of no type of its column, ends the COPY; psql passes over the rest of its rows.
#[test]
fn rows_that_the_server_refuses_are_not_run() {
    for definition in [
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((length(a) < 3)));",
        "CREATE TABLE ds_x.t (a bigint);",
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (((length(a) / 0) = 1)));",
    ] {
        let many = format!("{ROW}\n").repeat(20_000);
        let text = format!("{HEAD}{definition}\nCOPY ds_x.t (a) FROM stdin;\n{many}\\.\n");
        assert!(scan(&text).is_ok(), "{definition}");
        assert!(!does_harm(&text), "{definition}");
    }
}
