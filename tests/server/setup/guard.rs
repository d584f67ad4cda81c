//! The guard around a snapshot's text, with the psql that kwild runs: whatever is set in the database, the role, the
//! environment or a psqlrc, all rows are loaded as they are, or none.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use kwil_formats::{dump::guard, formats::Family};

use super::{flags, fresh_name, with};
use crate::common::{GuardedRecording, Party, Process, guarded, server};

/// Every setting that the guard pins with SET, and another value than its own. Where waiting matters, the text waits longer.
const TURNED: [(&str, &str); 25] = [
    ("statement_timeout", "300"),
    ("lock_timeout", "1"),
    ("idle_in_transaction_session_timeout", "200"),
    ("idle_session_timeout", "200"),
    ("client_encoding", "LATIN1"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "on"),
    ("search_path", "odd"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("client_min_messages", "debug1"),
    ("check_function_bodies", "on"),
    ("row_security", "on"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("DateStyle", "German"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Asia/Tokyo"),
    ("xmloption", "document"),
    ("default_tablespace", "elsewhere"),
    ("default_table_access_method", "heap2"),
    ("session_replication_role", "replica"),
];

/// Set only where the server has it.
const TURNED_SINCE_17: (&str, &str) = ("transaction_timeout", "300");

/// What a psqlrc may hold.
const START_FILES: [&str; 22] = [
    "\\set AUTOCOMMIT off",
    "\\set AUTOCOMMIT off\nSELECT 1;\nSET client_encoding = 'LATIN1';",
    "\\set ON_ERROR_ROLLBACK on",
    "\\set ON_ERROR_ROLLBACK interactive",
    "\\unset ON_ERROR_STOP",
    "\\set ON_ERROR_STOP on\nSELECT 1/0;",
    "\\set SINGLELINE on",
    "\\set SINGLESTEP on",
    "\\set FETCH_COUNT 1",
    "\\encoding LATIN1",
    "\\encoding SJIS",
    "BEGIN READ ONLY;",
    "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1/0;",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;",
    "SET search_path = odd;\nSET array_nulls = off;\nSET standard_conforming_strings = off;",
    "\\o nowhere\n\\pset format html\n\\timing on",
    "\\set QUIET 1\n\\set VERBOSITY verbose\n\\set ECHO all",
    "\\set IGNOREEOF 10\n\\set HISTFILE /dev/null\n\\set PROMPT1 x",
    "\\if false\nSELECT 1;",
    "SELECT 'never ended",
    "\\set stdin x\n\\set name y",
    "PREPARE p AS SELECT 1;\nCREATE TEMPORARY TABLE t (a int);",
];

/// Rows and definitions that some setting changes, in a schema of the recording.
const SENSITIVE: &str = "CREATE TABLE main.sensitive (\n    id bigint NOT NULL,\n    t text DEFAULT 'a\\b'::text,\n    a text[],\n    \
    b bytea,\n    CONSTRAINT never CHECK ((t = NULL) IS NULL)\n);\n";
const SENSITIVE_ROWS: &str = "COPY main.sensitive (id, t, a, b) FROM stdin;\n1\tGrüße, 日本 \\\\ ¥\t{NULL,\"NULL\",\"é\"}\t\\\\x00ff27\n\
    2\t\\N\t{}\t\\\\x\n3\t\\ttab\\nline\t\\N\t\\N\n\\.\n";

/// A guarded text with rows that settings could change.
fn text() -> String {
    let recording = GuardedRecording::of(Family::V010, "v0.10/worlds/solo/kwild-snapshot");
    let text = String::from_utf8(recording.text.clone()).unwrap();
    let table = text.find("\nCREATE TABLE ").unwrap() + 1;
    let rows = text.find("\nCOPY ").unwrap() + 1;
    [&text[..table], SENSITIVE, &text[table..rows], SENSITIVE_ROWS, &text[rows..]].concat()
}

/// psql as kwild calls it: with its start file and its environment, and the text on its standard input, which pauses in the
/// middle where that is asked for.
fn psql(home: &Path, user: &str, dbname: &str, environment: &[(&str, &str)], text: &str, pause: Duration) -> Output {
    let mut command = Command::new(server().program("psql"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    let port = server().port().to_string();
    command.args(["--username", user, "--host", "127.0.0.1", "--port", &port, "--dbname", dbname, "--no-password"]);
    command.env("HOME", home).current_dir(home).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let middle = text.find("\nCOPY ").unwrap_or(0);
            // A psql that stops early closes its input.
            let _ = stdin.write_all(&text.as_bytes()[..middle]);
            let _ = stdin.flush();
            thread::sleep(pause);
            let _ = stdin.write_all(&text.as_bytes()[middle..]);
        });
        child.wait_with_output().unwrap()
    })
}

/// Every row and what a table is made of, as a session with no setting of anybody's sees them.
const CONTENTS: &str = r#"
SET search_path = '';
CREATE TEMPORARY TABLE of_text AS SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltablespace, a.amname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public', 'odd') AND c.relkind IN ('r', 'v', 'i', 'S');
SELECT nspname, relname, relkind, reltablespace, amname FROM pg_temp.of_text ORDER BY 1, 2;
SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k JOIN pg_temp.of_text c ON c.oid = k.conrelid
  ORDER BY 1, 2;
SELECT c.relname, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
  JOIN pg_temp.of_text c ON c.oid = d.adrelid ORDER BY 1, 2;
SELECT p.oid::pg_catalog.regproc, p.prosrc FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public', 'odd') ORDER BY 1, 2;
SELECT pg_catalog.format('SELECT %L, whole_row::text FROM %I.%I whole_row ORDER BY whole_row::text COLLATE "C"', nspname || '.' || relname, nspname, relname)
  FROM pg_temp.of_text WHERE relkind = 'r' ORDER BY nspname, relname
\gexec
"#;

fn contents(dbname: &str) -> String {
    server().query("postgres", &format!("ALTER DATABASE {dbname} RESET ALL")).unwrap();
    server().query(dbname, CONTENTS).unwrap()
}

/// A database with a place of its own for tables, another access method and another schema.
fn database() -> String {
    let name = fresh_name();
    server().create_database(&name).unwrap();
    let sql = "CREATE SCHEMA odd; CREATE DOMAIN odd.text AS pg_catalog.text CHECK (false);
        CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;";
    server().query(&name, sql).unwrap();
    name
}

/// A tablespace for the whole server.
fn make_tablespace() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let sql = "SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION '';";
        server().query("postgres", sql).unwrap();
    });
}

fn major() -> u32 {
    server().query("postgres", "SHOW server_version_num").unwrap().trim().parse::<u32>().unwrap() / 10_000
}

/// The settings of this server, each turned.
fn turned() -> Vec<(&'static str, &'static str)> {
    make_tablespace();
    TURNED.into_iter().chain((major() >= 17).then_some(TURNED_SINCE_17)).collect()
}

/// Loads the text and compares everything with a load in which nothing was turned.
#[track_caller]
fn loads_whole(what: &str, user: &str, dbname: &str, home: &Path, environment: &[(&str, &str)]) {
    let waits = what.contains("timeout");
    // A statement that takes longer than any of the times that are turned.
    let text = if waits { text().replacen("\nCOPY ", "\nSELECT pg_catalog.pg_sleep(0.6);\nCOPY ", 1) } else { text() };
    let pause = Duration::from_millis(if waits { 500 } else { 0 });
    let output = psql(home, user, dbname, environment, &text, pause);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}: {said}", output.status);
    assert!(contents(dbname) == untouched(), "{what}: other rows or definitions: {said}");
}

/// What the text gives where nothing was turned.
fn untouched() -> &'static str {
    static CONTENTS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CONTENTS.get_or_init(|| {
        let (name, party) = (database(), Party::new());
        let output = psql(&party.path("."), "postgres", &name, &[], &text(), Duration::ZERO);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let contents = contents(&name);
        assert!(contents.contains("Grüße, 日本") && contents.contains("{NULL,\"\"NULL\"\",é}"), "{contents}");
        contents
    })
}

#[test]
fn every_line_of_the_guard_is_turned_in_turn() {
    let pinned: Vec<&str> =
        guard::PROLOGUE.lines().filter_map(|line| line.strip_prefix("SET ")?.split(" = ").next()).collect();
    let turned: Vec<&str> = TURNED.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("session_")).collect();
    assert_eq!(
        {
            let mut p = pinned;
            p.sort_unstable();
            p
        },
        {
            let mut t = turned;
            t.sort_unstable();
            t
        }
    );
    for name in guard::PROLOGUE.lines().filter_map(|line| line.strip_prefix("\\set ")?.split(' ').next()) {
        assert!(START_FILES.iter().any(|file| file.contains(name)), "{name}");
    }
}

#[test]
fn settings_of_the_database_change_nothing() {
    let party = Party::new();
    for (name, value) in turned() {
        let dbname = database();
        server().query("postgres", &format!("ALTER DATABASE {dbname} SET {name} = '{value}'")).unwrap();
        loads_whole(&format!("database's {name}"), "postgres", &dbname, &party.path("."), &[]);
    }
}

#[test]
fn settings_of_the_role_change_nothing() {
    let party = Party::new();
    for (name, value) in turned() {
        let dbname = database();
        let role = format!("role_of_{dbname}");
        let sql = format!("CREATE ROLE {role} SUPERUSER LOGIN; ALTER ROLE {role} SET {name} = '{value}';");
        server().query("postgres", &sql).unwrap();
        loads_whole(&format!("role's {name}"), &role, &dbname, &party.path("."), &[]);
    }
}

#[test]
fn the_environment_changes_nothing() {
    let party = Party::new();
    for (name, value) in turned() {
        let options = format!("-c {name}={}", value.replace(' ', "\\ "));
        loads_whole(
            &format!("PGOPTIONS {name}"),
            "postgres",
            &database(),
            &party.path("."),
            &[("PGOPTIONS", &options)],
        );
    }
    for variable in
        [("PGCLIENTENCODING", "LATIN1"), ("PGTZ", "Asia/Tokyo"), ("PGDATESTYLE", "German"), ("PGAPPNAME", "x")]
    {
        loads_whole(variable.0, "postgres", &database(), &party.path("."), &[variable]);
    }
}

#[test]
fn a_start_file_changes_nothing() {
    for file in START_FILES {
        let party = Party::new();
        party.write(".psqlrc", format!("{file}\n"));
        loads_whole(file, "postgres", &database(), &party.path("."), &[]);
    }
}

#[test]
fn without_the_guard_rows_would_be_others() {
    let party = Party::new();
    let text = text();
    let bare = text.strip_prefix(guard::PROLOGUE).unwrap().strip_suffix(guard::EPILOGUE).unwrap();
    for variable in [("PGCLIENTENCODING", "LATIN1"), ("PGOPTIONS", "-c array_nulls=off")] {
        let name = database();
        let output = psql(&party.path("."), "postgres", &name, &[variable], bare, Duration::ZERO);
        assert!(output.status.success());
        assert!(contents(&name) != untouched(), "{variable:?}");
    }
}

#[test]
fn a_role_that_is_no_superuser_passes_the_guard() {
    let (party, name) = (Party::new(), database());
    let role = format!("humble_{name}");
    server().query("postgres", &format!("CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role};")).unwrap();
    let output = psql(&party.path("."), &role, &name, &[], &text(), Duration::ZERO);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(contents(&name) == untouched());
}

/// The schemas that a text made.
fn schemas(dbname: &str) -> Vec<String> {
    let sql = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public', \
               'odd') ORDER BY 1";
    server().query(dbname, sql).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_statement_that_fails_ends_the_restore_and_leaves_nothing() {
    let (party, text) = (Party::new(), text());
    let short_row = text.replacen("2\t\\N\t{}\t\\\\x\n", "2\t\\N\n", 1);
    let no_table = text.replacen(SENSITIVE, "", 1).replacen("1\tGr", "\\! touch harm\n1\tGr", 1);
    let in_the_last = text.replacen("\nCREATE TABLE kwild_voting.", "\nSELECT 1/0;\nCREATE TABLE kwild_voting.", 1);
    let at_the_end = text.replace("UPDATE kwild_voting.resolutions", "UPDATE kwild_voting.nothing");
    for (what, bad) in [("row", short_row), ("table", no_table), ("last part", in_the_last), ("update", at_the_end)] {
        assert_ne!(bad, text, "{what}");
        let name = database();
        // As after a kwild whose restore failed before.
        server()
            .query(&name, "CREATE SCHEMA kwild_internal; CREATE TABLE kwild_internal.sentry (seq bigint);")
            .unwrap();
        let output = psql(&party.path("."), "postgres", &name, &[], &bad, Duration::ZERO);
        assert_eq!(output.status.code(), Some(3), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(schemas(&name), ["kwild_internal"], "{what}");
        assert!(!party.path("harm").exists());
        // The next start begins anew.
        let output = psql(&party.path("."), "postgres", &name, &[], &text, Duration::ZERO);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        server().query(&name, "DROP TABLE kwild_internal.sentry").unwrap();
        assert!(contents(&name) == untouched(), "{what}");
    }
}

#[test]
fn a_text_that_is_cut_leaves_nothing() {
    let (party, text) = (Party::new(), text());
    let end = text.len() - guard::EPILOGUE.len();
    let mut cuts: Vec<usize> = (1..24).map(|n| n * text.len() / 24).collect();
    // In the closing UPDATE, before the last line, and in it.
    cuts.extend([end - 30, end - 2, end - 1, end, end + 3]);
    for cut in cuts {
        let cut = (cut..).find(|cut| text.is_char_boundary(*cut)).unwrap();
        let name = database();
        psql(&party.path("."), "postgres", &name, &[], &text[..cut], Duration::ZERO);
        assert_eq!(schemas(&name), [""; 0], "cut at {cut} of {}", text.len());
    }
}

/// A guarded text with this many tables more.
fn large(tables: usize) -> String {
    let recording = GuardedRecording::of(Family::V010, "v0.10/worlds/solo/kwild-snapshot");
    let text = String::from_utf8(recording.text.clone()).unwrap();
    let inside = text.strip_prefix(guard::PROLOGUE).unwrap().strip_suffix(guard::EPILOGUE).unwrap();
    let table = inside.find("\nCREATE TABLE ").unwrap() + 1;
    let rows = inside.find("\nCOPY ").unwrap() + 1;
    let made: String = (0..tables)
        .map(|n| format!("CREATE TABLE main.many{n} (\n    id bigint NOT NULL,\n    t text\n);\n"))
        .collect();
    let filled: String = (0..tables).map(|n| format!("COPY main.many{n} (id, t) FROM stdin;\n{n}\tx\n\\.\n")).collect();
    let keyed: String = (0..tables)
        .map(|n| format!("ALTER TABLE ONLY main.many{n}\n    ADD CONSTRAINT many{n}_pkey PRIMARY KEY (id);\n"))
        .collect();
    let key = rows + inside[rows..].find("\nALTER TABLE ").unwrap() + 1;
    let unguarded =
        [&inside[..table], &made, &inside[table..rows], &filled, &inside[rows..key], &keyed, &inside[key..]].concat();
    String::from_utf8(guarded(Family::V010, unguarded.as_bytes())).unwrap()
}

#[test]
fn many_relations_are_loaded_in_batches_and_kwild_voting_in_the_last() {
    let party = Party::new();
    let text = large(2600);
    assert!(text.matches(guard::NEXT_BATCH).count() > 8, "{}", text.matches(guard::NEXT_BATCH).count());
    let whole = database();
    let output = psql(&party.path("."), "postgres", &whole, &[], &text, Duration::ZERO);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted = server().query(
        &whole,
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE relname LIKE 'many%'",
    );
    assert_eq!(counted.unwrap().trim(), "2600");
    assert_eq!(server().query(&whole, "SELECT id FROM main.many2599").unwrap().trim(), "2599");

    // Cut after the second batch: kwild never takes this for a node's state.
    let half = database();
    let (second, _) = text.match_indices(guard::NEXT_BATCH).nth(1).unwrap();
    psql(&party.path("."), "postgres", &half, &[], &text[..second + guard::NEXT_BATCH.len()], Duration::ZERO);
    let left = schemas(&half);
    assert!(left.contains(&"kwild_engine".to_owned()) && !left.contains(&"kwild_voting".to_owned()), "{left:?}");
    // The next restore does nothing to it, and what to do is said.
    let output = psql(&party.path("."), "postgres", &half, &[], &text, Duration::ZERO);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(schemas(&half), left);
    let flags = flags(&half);
    let args = with(&["setup", "check", "--output", "json", "--connect-timeout", "60s"], &flags);
    let run = Process::spawn(party.command(&args)).finish();
    assert_eq!(run.code, 4, "{run:?}");
    let fix = format!("DROP DATABASE \\\"{half}\\\"; CREATE DATABASE \\\"{half}\\\" OWNER");
    assert!(run.stdout.contains("a restore ended half-way") && run.stdout.contains(&fix), "{run:?}");
}
