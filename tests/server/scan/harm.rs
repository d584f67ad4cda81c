//! Texts whose rows psql runs as statements, shown by running them without the guard; and that the guard ends each of them with
//! nothing run and nothing left.

use super::{all_or_nothing, clear, contents, database, guarded, restore, scan, server};

const HEAD: &str = "CREATE SCHEMA ds_x;\n";
/// What the row does.
const ROW: &str = "CREATE TABLE public.harm ();";

/// Definitions of `ds_x.t` that the server refuses.
const DEFINITIONS: &[&str] = &[
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (length(a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((abs(a) = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((length(a, a, a) > 1)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::text 5)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a AND a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > a > a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((count(a) > 1)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((unnest(a) = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((public.digest(a, a) = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::text), (a = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((\"coalesce\"(a, a) = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((position(a, a) = 1)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((ARRAY[] = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a[1] = a)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (((a)::boolean[1] = a)));",
    "CREATE TABLE ds_x.t (a text, b uuid, CONSTRAINT c CHECK (((b)::bigint = 1)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = '5'::bigint)));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a = 'x'::bigint)));",
    "CREATE TABLE ds_x.t (a text DEFAULT 5::bigint[]);",
    "CREATE TABLE ds_x.t (a bytea DEFAULT 5);",
    "CREATE TABLE ds_x.t (a boolean DEFAULT 'maybe'::boolean);",
    "CREATE TABLE ds_x.t (a text DEFAULT length('x'::text) = 1 AND true);",
    "CREATE TABLE ds_x.t (a integer[] DEFAULT '{1,x}'::integer[]);",
    "CREATE TABLE ds_x.t (a integer[] DEFAULT '{1,2'::integer[]);",
    "CREATE TYPE ds_x.e AS ENUM ('A');\nCREATE TABLE ds_x.t (a ds_x.e DEFAULT 'B'::ds_x.e);",
    "CREATE TYPE ds_x.e AS ENUM ('A', 'A');\nCREATE TABLE ds_x.t (a ds_x.e);",
    "CREATE TABLE ds_x.t (a bigint COLLATE public.nocase);",
    "CREATE TABLE ds_x.t (a text COLLATE public.nocase);",
    "CREATE TABLE ds_x.t (a \"integer\");",
    "CREATE TABLE ds_x.t (a text, user text);",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT check CHECK (true));",
    "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (true), CONSTRAINT c CHECK (true));",
    "CREATE TABLE ds_x.u (a text);\nCREATE INDEX t ON ds_x.u USING btree (a);\nCREATE TABLE ds_x.t (a text);",
    "CREATE TABLE ds_x.u (a text);\nALTER TABLE ONLY ds_x.u ADD CONSTRAINT t PRIMARY KEY (a);\nCREATE TABLE ds_x.t (a text);",
];

/// The definition, then the row for it.
fn with_row(definition: &str, row: &str) -> String {
    let columns: Vec<&str> = [("a ", "a"), (" b ", "b"), (" user ", "\"user\"")]
        .into_iter()
        .filter(|(column, _)| definition.rsplit("ds_x.t (").next().unwrap().contains(column))
        .map(|(_, name)| name)
        .collect();
    format!("{HEAD}{definition}\nCOPY ds_x.t ({}) FROM stdin;\n{row}\n\\.\n", columns.join(", "))
}

fn does_harm(db: &str, text: &str) -> bool {
    server().restore(db, text.as_bytes()).unwrap();
    let harm = server().query(db, "SELECT to_regclass('public.harm') IS NOT NULL").unwrap().trim() == "t";
    clear(db);
    harm
}

#[test]
fn rows_of_a_table_that_the_server_refuses_are_run_without_the_guard_and_with_it_nothing_is_left() {
    let db = database();
    let mut passed = 0;
    for definition in DEFINITIONS {
        let text = with_row(definition, ROW);
        assert!(does_harm(&db, &text), "psql did not run the row: {definition}");
        let guarded = guarded(&text);
        passed += usize::from(scan(&guarded).is_ok());
        let before = contents(&db);
        let (status, said) = restore(&db, &guarded);
        assert_eq!(status, Some(3), "{definition}: {said}");
        assert_eq!(contents(&db), before, "{definition}");
    }
    // The check need not know what the server will make of an expression; much of this passes it.
    assert!(passed > 10, "{passed}");
}

#[test]
fn the_domain_of_one_family_is_no_type_of_the_other() {
    let text = with_row("CREATE TABLE ds_x.t (a public.uint256);", "5");
    assert!(scan(&guarded(&text)).is_ok());
    let error = scan(&guarded(&format!("CREATE SCHEMA kwild_engine;\n{text}"))).unwrap_err();
    assert!(error.reason.contains("the type public.uint256"), "{error}");
}

/// psql complains of the end of a block that the server did not want, and goes on, but for the guard.
#[test]
fn a_table_that_may_not_be_made_passes_without_rows() {
    let text = "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));\nCOPY ds_x.t (a) FROM stdin;\n\\.\n";
    let db = database();
    assert!(does_harm(&db, &format!("{HEAD}{text}{ROW}\n")));
    let guarded = guarded(&format!("{HEAD}{text}CREATE SCHEMA ds_y;\n")).replace("CREATE SCHEMA ds_y;\n", "");
    assert!(scan(&guarded).is_ok());
    assert!(!all_or_nothing(&db, &guarded));
}

/// What pg_dump itself writes for a tab is a command to psql, and runs programs where rows are statements.
#[test]
fn pg_dumps_own_escapes_run_no_program_behind_the_guard() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("mark");
    let row = format!("\\t `touch {}`", mark.display());
    let text = with_row("CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((a > 5)));", &row);
    let db = database();
    let guarded = guarded(&text);
    assert!(scan(&guarded).is_ok());
    assert!(!all_or_nothing(&db, &guarded));
    assert!(!mark.exists());
    server().restore(&db, text.as_bytes()).unwrap();
    assert!(mark.exists(), "psql did not run the row");
}

#[test]
fn a_word_of_sql_among_the_columns_of_rows_is_refused() {
    let text = format!("{HEAD}CREATE TABLE ds_x.t (\"user\" text);\nCOPY ds_x.t (user) FROM stdin;\n{ROW}\n\\.\n");
    let db = database();
    assert!(does_harm(&db, &text));
    assert!(scan(&guarded(&text)).unwrap_err().reason.contains("syntax error at or near \"user\""));
    assert!(scan(&guarded(&text.replace("(user)", "(\"user\")"))).is_ok());
}

/// psql counts an unquoted BEGIN in CREATE FUNCTION and passes over the semicolons after it: the COPY is never sent.
#[test]
fn a_function_named_begin_is_refused() {
    let text = format!(
        "{HEAD}CREATE FUNCTION ds_x.begin() RETURNS void\n    LANGUAGE plpgsql\n    AS $$BEGIN END$$;\n\
         CREATE TABLE ds_x.t (a text);\nCOPY ds_x.t (a) FROM stdin;\nend; {ROW}\n\\.\n"
    );
    let db = database();
    assert!(does_harm(&db, &text));
    assert!(scan(&guarded(&text)).unwrap_err().reason.contains("BEGIN outside a function's body"));
    // Quoted it is a name.
    let quoted = guarded(&text.replace("ds_x.begin", "ds_x.\"begin\""));
    assert!(scan(&quoted).is_ok());
    assert!(all_or_nothing(&db, &quoted));
    assert_eq!(server().query(&db, "SELECT to_regclass('public.harm') IS NULL").unwrap().trim(), "t");
}

/// A row that breaks a check, or a value of no type of its column, ends the COPY, and with the guard the restore.
#[test]
fn rows_that_the_server_refuses_are_not_run() {
    let db = database();
    for definition in [
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK ((length(a) < 3)));",
        "CREATE TABLE ds_x.t (a bigint);",
        "CREATE TABLE ds_x.t (a text, CONSTRAINT c CHECK (((length(a) / 0) = 1)));",
    ] {
        let text = with_row(definition, &format!("{ROW}\n").repeat(20_000));
        let text = text.replace("\n\n\\.", "\n\\.");
        assert!(scan(&guarded(&text)).is_ok(), "{definition}");
        assert!(!does_harm(&db, &text), "{definition}");
        assert!(!all_or_nothing(&db, &guarded(&text)), "{definition}");
    }
}
