use std::{fs, io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::*;
use crate::base::Kind;

fn scan(text: &[u8], cut: usize) -> Result<ScanReport, ScanError> {
    scan_with(StatementScanner::new(), text, cut)
}

fn scan_with(mut scanner: StatementScanner, text: &[u8], cut: usize) -> Result<ScanReport, ScanError> {
    for piece in text.chunks(cut) {
        scanner.push(piece)?;
    }
    scanner.finish()
}

/// Every snapshot that real Kwil made, but for the one of the odd database.
fn recorded() -> Vec<(String, Vec<u8>)> {
    fn walk(at: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                walk(&path, found);
            } else if name.ends_with("snapshot.sql.gz") && !name.contains("odd-database") {
                found.push((name, unzip(&path)));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut found);
    assert_eq!(found.len(), 16);
    found
}

fn unzip(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text
}

const SMALL: &str = "CREATE SCHEMA info;\nCREATE SCHEMA kwild_accts;\nCREATE SCHEMA kwild_engine;\n\
    CREATE SCHEMA kwild_voting;\nCREATE SCHEMA s;\n\
    CREATE TABLE kwild_voting.voters (\n    id bytea NOT NULL,\n    name bytea NOT NULL,\n    power bigint NOT NULL\n);\n\
    CREATE TABLE s.t (\n    a text DEFAULT 'x; \\! ls\n'::text NOT NULL,\n    \"B c\" numeric(10,2)\n);\n\
    COPY kwild_voting.voters (id, name, power) FROM stdin;\n\\.\n\
    COPY s.t (a, \"B c\") FROM stdin;\n\\\\! ls\t1\n; DROP TABLE x;\t\\N\n\\.\n";
const END: &str = "UPDATE kwild_voting.resolutions SET expiration = expiration-42;\n";

#[test]
fn every_recorded_snapshot_passes() {
    for (name, text) in recorded() {
        let report = scan(&text, 1 << 16).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.family, if name.contains("/v0.9/") { Family::V09 } else { Family::V010 }, "{name}");
        assert!(report.height.is_some_and(|h| h > 0));
        assert!(report.tables > 5 && report.rows > 5);
        assert_eq!(report.tables_without_rows, Vec::<String>::new(), "{name}");
        for cut in [1, 7, 1000] {
            assert_eq!(scan(&text, cut).unwrap(), report, "{name}");
        }
    }
}

#[test]
fn a_small_snapshot_is_counted() {
    let report = scan(format!("{SMALL}{END}").as_bytes(), 3).unwrap();
    assert_eq!((report.tables, report.rows, report.height), (2, 2, Some(42)));
    assert_eq!(report.table_rows["s.t"], 2);
    assert_eq!(scan(SMALL.as_bytes(), 100).unwrap().height, None);
}

#[test]
fn the_odd_databases_settings_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v0.10/odd-database/kwild-snapshot.sql.gz");
    let error = scan(&unzip(&path), 1 << 16).unwrap_err();
    assert_eq!(error.line, 1);
    assert!(error.statement.starts_with("ALTER DATABASE k10_odd CONNECTION LIMIT"), "{error}");
    let error = Error::from(error);
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.advice().is_some());
}

/// Statements that may stand nowhere, with a part of the reason.
const HOSTILE: &[(&str, &str)] = &[
    ("\\! rm -rf /", "psql would run"),
    ("\\copy s.t from program 'id'", "psql would run"),
    ("\\i /etc/passwd", "psql would run"),
    ("\\connect other", "psql would run"),
    ("\\restrict a b", "psql would run"),
    ("\\restrict `id`", "psql would run"),
    ("GRANT SELECT ON TABLE s.t TO x \\! id\n;", "backslash"),
    ("GRANT SELECT ON TABLE s.t TO x \\g /tmp/x\n;", "backslash"),
    ("GRANT SELECT ON TABLE s.t TO :x;", "variable"),
    ("GRANT SELECT ON TABLE s.t TO :\"x\";", "variable"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT :'x';", "variable"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'a'::::text;", "variable"),
    ("COPY s.t (a, \"B c\") FROM PROGRAM 'id';", "COPY"),
    ("COPY s.t (a, \"B c\") FROM '/etc/passwd';", "COPY"),
    ("COPY s.t (a, \"B c\") TO '/tmp/x';", "COPY"),
    ("COPY s.t (a, \"B c\") FROM stdin WITH (FORMAT csv);", "COPY"),
    ("COPY s.t (a, \"B c\") FROM stdin;\n\\.", "come twice"),
    ("COPY s.missing (a) FROM stdin;\nDROP TABLE x;\n\\.", "does not make"),
    ("COPY pg_catalog.pg_authid (rolname) FROM stdin;\n\\.", "does not make"),
    ("DO $$begin end$$;", "runs code"),
    ("CREATE EXTENSION dblink;", "extension"),
    ("CREATE LANGUAGE c;", "language"),
    ("CREATE ROLE x SUPERUSER;", "role"),
    ("ALTER ROLE x SUPERUSER;", "role"),
    ("GRANT pg_execute_server_program TO x;", "role"),
    ("ALTER SYSTEM SET archive_command = 'id';", "settings"),
    ("SET session_replication_role = replica;", "setting"),
    ("ALTER DATABASE x SET a = 'b';", "database"),
    ("CREATE DATABASE x;", "database"),
    ("GRANT CONNECT ON DATABASE x TO y;", "database"),
    ("CREATE TRIGGER t BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();", "trigger"),
    ("CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f();", "event trigger"),
    ("CREATE RULE r AS ON INSERT TO s.t DO NOTHING;", "rule"),
    ("CREATE MATERIALIZED VIEW s.m AS SELECT 1;", "materialized"),
    ("SELECT pg_read_file('/etc/passwd');", "query"),
    ("SELECT pg_catalog.lo_import('/etc/passwd');", "lo_import"),
    ("SELECT pg_catalog.lo_export(1, '/tmp/x');", "lo_export"),
    ("SELECT pg_catalog.set_config('a', 'b', false);", "set_config"),
    ("SELECT pg_catalog.setval('public.x', 1, true);", "does not make"),
    ("SELECT pg_catalog.setval('s.t', 1, true);", "no sequence"),
    ("SELECT pg_catalog.setval(pg_catalog.pg_read_file('x'), 1, true);", "literal"),
    ("BEGIN;\nDROP TABLE s.t;", "large objects"),
    ("INSERT INTO s.t VALUES (1);", "no statement"),
    ("DROP TABLE s.t;", "no statement"),
    ("VACUUM;", "no statement"),
    (";", "no statement"),
    ("UPDATE kwild_voting.resolutions SET expiration = expiration-1 WHERE true;", "UPDATE"),
    ("UPDATE s.t SET a = '';", "UPDATE"),
    ("UPDATE kwild_voting.resolutions SET expiration = expiration--1;", "comment"),
    ("CREATE SCHEMA later;", "after the first object"),
    ("CREATE TABLE public.t (a text);", "does not make"),
    ("CREATE TABLE kwild_chain.chain (height bigint);", "does not make"),
    ("CREATE TABLE s.t (a text);", "twice"),
    ("CREATE TABLE s.u (a text, a text);", "cannot be made"),
    ("CREATE TABLE s.u (ctid text);", "cannot be made"),
    ("CREATE TABLE s.u (a point);", "type"),
    ("CREATE TABLE s.u (a s.missing);", "type"),
    ("CREATE TABLE s.u (a numeric(2000,0));", "numeric"),
    ("CREATE TABLE s.u (a text) INHERITS (s.t);", "more follows"),
    ("CREATE TABLE s.u (a bigint DEFAULT 'x'::bigint);", "no value"),
    ("CREATE TABLE s.u (a text DEFAULT pg_catalog.pg_read_file('x'::text));", "pg_read_file"),
    ("CREATE TABLE s.u (a text DEFAULT \"pg_read_file\"('x'::text));", "pg_read_file"),
    (
        "CREATE TABLE s.u (a text, CONSTRAINT c CHECK ((kwild_voting.insert_resolution(a) > 0)));",
        "kwild_voting is neither",
    ),
    ("CREATE TABLE s.u (a text, CONSTRAINT c CHECK ((a > missing)));", "neither a column"),
    ("CREATE TABLE s.u (a text, CONSTRAINT c CHECK ((SELECT true)));", "neither a column"),
    ("CREATE INDEX i ON s.t USING btree (lo_import(a));", "lo_import"),
    ("CREATE INDEX i ON s.t USING gist (a);", "gist"),
    ("ALTER TABLE ONLY s.t OWNER TO x;", "none of pg_dump"),
    ("ALTER TABLE ONLY s.t ENABLE ROW LEVEL SECURITY;", "none of pg_dump"),
    ("ALTER TABLE ONLY s.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES public.x(a);", "does not make"),
    ("CREATE VIEW info.v AS SELECT pg_read_file('/etc/passwd');", "pg_read_file"),
    ("CREATE VIEW info.v AS SELECT dblink('x'::text);", "dblink"),
    ("CREATE VIEW s.v AS SELECT 1;", "info only"),
    ("CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql AS $$begin end$$;", "no function"),
    ("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE c AS $$x$$;", "language c"),
    ("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpython3u AS $$x$$;", "language plpython3u"),
    ("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE internal AS 'x';", "language internal"),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$begin end$$;",
        "property",
    ),
    ("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1;", "property"),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN COPY s.t TO PROGRAM 'id'; END$$;",
        "runs COPY",
    ),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN x; ALTER ROLE a SUPERUSER; END$$;",
        "runs ALTER",
    ),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP TABLE x'; END$$;",
        "text as SQL",
    ),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_read_file('x'); END$$;",
        "pg_read_file",
    ),
    (
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET ROLE x; END$$;",
        "setting",
    ),
    ("CREATE SEQUENCE s.q OWNED BY NONE;", "property"),
    ("CREATE TYPE s.e AS (a text);", "list of values"),
    ("-- a comment", "comment"),
    ("/* a comment */", "comment"),
    ("GRANT SELECT ON TABLE s.t TO x; -- y", "follows a statement"),
    ("GRANT SELECT /* y */ ON TABLE s.t TO x;", "comment"),
    ("GRANT SELECT ON TABLE s.t TO x; DROP TABLE y;", "follows a statement"),
    ("GRANT SELECT ON TABLE s.t TO x\r;", "carriage return"),
    ("GRANT SELECT ON TABLE s.t TO \u{e9};", "outside ASCII"),
    ("GRANT SELECT ON TABLE s.t TO x$$;$$;", "follows a statement"),
    ("GRANT SELECT ON TABLE s.t TO x$y;", "dollar"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT U&'x';", "Unicode literal"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT B'1';", "before a quote"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1E'x';", "number"),
    ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT E'x\\''\n'y';", "one after the other"),
];

#[test]
fn every_hostile_statement_is_refused_with_its_reason() {
    let line = SMALL.lines().count() as u64 + 1;
    let mut wrong = Vec::new();
    for (statement, want) in HOSTILE {
        let text = format!("{SMALL}{statement}\n{END}");
        let error = scan(text.as_bytes(), usize::MAX).expect_err(statement);
        if !error.reason.contains(want) || error.line < line {
            wrong.push(format!("{statement} ({want}): {error}"));
        }
        // How much of a bad line is shown may depend on the cut, the verdict not.
        let cut = scan(text.as_bytes(), 1).unwrap_err();
        assert_eq!((cut.line, cut.reason), (error.line, error.reason.clone()), "{statement}");
        // Also after the closing UPDATE.
        assert!(scan(format!("{SMALL}{END}{statement}\n").as_bytes(), 64).is_err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rows_and_ends_are_checked() {
    let head = SMALL.split("COPY kwild_voting").next().unwrap();
    let copy = "COPY s.t (a, \"B c\") FROM stdin;\n";
    for (rest, want) in [
        (format!("{copy}x\t1\n"), "inside a COPY block"),
        (format!("{copy}\\! id\n\\.\n"), "backslash in a row"),
        (format!("{copy}x\\.\n\\.\n"), "backslash in a row"),
        (format!("{copy}\\.x\n\\.\n"), "follows the end"),
        (format!("{copy}x\r\n\\.\n"), "carriage return"),
        (format!("{copy}x\0\n\\.\n"), "zero byte"),
        (
            "COPY kwild_voting.voters (id, name, power) FROM stdin;\nx\ty\t1\n\\.\n".to_owned(),
            "voters table holds rows",
        ),
        ("COPY s.t (a) FROM stdin;\n\\.\n".to_owned(), "columns are not"),
        ("CREATE TABLE s.x (\n".to_owned(), "inside a line or statement"),
        (format!("{END}{END}"), "follows the closing UPDATE"),
        (format!("{END}\\restrict abc\n"), "psql would run"),
    ] {
        let text = format!("{head}{rest}");
        let error = scan(text.as_bytes(), usize::MAX).expect_err(&rest);
        assert!(error.reason.contains(want), "{rest}: {error}");
        assert_eq!(scan(text.as_bytes(), 1).unwrap_err().reason, error.reason, "{rest}");
    }
    let mut text = format!("{head}{copy}").into_bytes();
    text.extend_from_slice(b"\xc3\n\\.\n");
    assert!(scan(&text, 1).unwrap_err().reason.contains("UTF-8"));
    assert!(scan(b"", 1).unwrap_err().reason.contains("no Kwil snapshot"));
    for schema in ["public", "pg_toast", "kwild_chain", "kwild_events", "kwild_peers", "kwild_migrations"] {
        assert!(scan(format!("CREATE SCHEMA {schema};\n").as_bytes(), 9).is_err(), "{schema}");
    }
}

#[test]
fn columns_are_counted_where_asked_for() {
    let counting = |text: &str, cut| scan_with(StatementScanner::new().counting_columns(), text.as_bytes(), cut);
    for (_, text) in recorded() {
        scan_with(StatementScanner::new().counting_columns(), &text, 1000).unwrap();
    }
    let head = SMALL.split("COPY s.t").next().unwrap();
    let line = head.lines().count() as u64 + 3;
    for (rows, good) in
        [("", true), ("a\tb\n", true), ("a\\tb\tc\n", true), ("ab\n", false), ("a\tb\tc\n", false), ("\n", false)]
    {
        for cut in 1..9 {
            let text = format!("{head}COPY s.t (a, \"B c\") FROM stdin;\nx\ty\n{rows}\\.\n{END}");
            assert!(scan(text.as_bytes(), cut).is_ok(), "{rows}");
            match counting(&text, cut) {
                Ok(_) => assert!(good, "{rows}"),
                Err(e) => assert!(!good && e.line == line && e.reason.contains("columns"), "{rows}: {e}"),
            }
        }
    }
}

#[test]
fn a_hostile_statement_is_refused_at_every_line_of_a_recording() {
    let (_, text) = recorded().into_iter().find(|(n, _)| n.contains("v0.10/worlds/quartet/kwild-snapshot/")).unwrap();
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    let mut in_copy = false;
    for (at, line) in lines.iter().enumerate() {
        // At a statement's begin, where the line is not inside a block.
        if !in_copy && line[0].is_ascii_uppercase() {
            let hostile: [&[u8]; 2] = [b"DROP TABLE x;\n", b"\\! id\n"];
            for hostile in hostile {
                let changed = [&lines[..at], &[hostile], &lines[at..]].concat().concat();
                let inside_body = std::str::from_utf8(&lines[..at].concat()).unwrap().matches("$$").count() % 2 == 1;
                assert!(inside_body || scan(&changed, 1 << 20).is_err(), "line {}", at + 1);
            }
        }
        in_copy = line.starts_with(b"COPY ") || (in_copy && *line != b"\\.\n");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_recordings_never_panic_and_cuts_do_not_matter(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), delete in 0usize..30, cut in 1usize..5000,
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/v0.9/worlds/solo/kwil-admin/kwildb-snapshot.sql.gz");
        let mut text = unzip(&path);
        let at = at.index(text.len());
        text.drain(at..(at + delete).min(text.len()));
        text.insert(at.min(text.len()), byte);
        let whole = scan(&text, usize::MAX);
        let pieces = scan(&text, cut);
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(whole, pieces);
        }
    }
}
