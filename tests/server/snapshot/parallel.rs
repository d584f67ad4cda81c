//! Rows over several connections: the same bytes as pg_dump alone gives, and what happens when a connection fails.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use kwil_formats::{
    dump::{
        filter::{DumpFilter, LineRules},
        guard::Arranger,
    },
    formats::Family,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use regenesis::{
    base::{Progress, task::CancellationToken},
    database::{
        RowOptions,
        scratch::{Scratch, ScratchOptions},
    },
    snapshot::{CreateOptions, create},
};
use serde_json::Value;

use super::support::{Place, Run, database, fresh_name, read, server, unzip, wait_for};

const SOLO: &str = "v0.10/worlds/solo/database.sql.gz";

/// What tables can be that a Kwil network's are not, beside what they are.
const EDGES: &str = r#"
INSERT INTO kwild_engine.namespaces (name, type) VALUES ('Ed"ge TO stdout;', 'USER'), ('plain', 'USER');
CREATE SCHEMA plain;
CREATE SCHEMA "Ed""ge TO stdout;";
SET search_path = "Ed""ge TO stdout;";
CREATE TABLE empty (a int, b text);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 3000);
CREATE TABLE generated (id bigint GENERATED ALWAYS AS IDENTITY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text);
INSERT INTO generated (a, b) SELECT i, repeat(chr(97 + i % 26), i % 300) FROM generate_series(1, 5000) i;
CREATE TABLE "a (quoted) ""name"" FROM stdin;" ("col, umn" text, "FROM" int, "ü)" uuid);
INSERT INTO "a (quoted) ""name"" FROM stdin;" SELECT E'tab\t new\n back\\ ' || i, nullif(i % 7, 0), md5(i::text)::uuid
  FROM generate_series(1, 4000) i;
CREATE TABLE huge (id int, b bytea);
INSERT INTO huge SELECT i, decode(repeat(md5(i::text), 100000), 'hex') FROM generate_series(1, 5) i;
CREATE TABLE parent (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_a PARTITION OF parent FOR VALUES FROM (0) TO (1000);
CREATE TABLE part_b PARTITION OF parent FOR VALUES FROM (1000) TO (5000);
INSERT INTO parent SELECT i, md5(i::text) FROM generate_series(0, 4999) i;
CREATE TABLE base (a int, b text);
CREATE TABLE derived (c numeric(78, 0)) INHERITS (base);
INSERT INTO base SELECT i, 'base' FROM generate_series(1, 1500) i;
INSERT INTO derived SELECT i, 'derived', power(10::numeric, i % 70) FROM generate_series(1, 1500) i;
CREATE TABLE holes (id int, gone text, t timestamptz, x text[]);
INSERT INTO holes SELECT i, 'x', '2024-03-31 00:30:00+00'::timestamptz + i * interval '1 hour', ARRAY[i::text, NULL, 'a,b']
  FROM generate_series(1, 6000) i;
ALTER TABLE holes DROP COLUMN gone;
DELETE FROM holes WHERE id % 3 = 0;
UPDATE holes SET x = NULL WHERE id % 5 = 0;
CREATE TABLE looks_like_kwils (line text);
INSERT INTO looks_like_kwils VALUES (''), ('-- not a comment'), ('\.'), (E'\\.'), ('COPY a FROM stdin;'), (NULL), ('SET x = 1;');
CREATE TABLE plain.same (a int); INSERT INTO plain.same SELECT generate_series(1, 20000);
CREATE VIEW plain.seen AS SELECT a FROM plain.same;
CREATE SEQUENCE plain.numbers; SELECT nextval('plain.numbers');
SELECT lo_from_bytea(0, decode(repeat('abcd', 3000), 'hex'));
ANALYZE;
"#;

fn edges() -> String {
    let db = database(SOLO);
    server().query(&db, EDGES).unwrap();
    db
}

/// A pg_dump that notes its arguments.
pub(crate) fn noting_pg_dump(place: &Place, server: &Scratch) -> String {
    let real = server.program("pg_dump");
    let script = format!(
        "[ \"$1\" = --version ] || printf '%s\\0' \"$@\" > '{}'\nexec '{}' \"$@\"",
        place.home.path().join("arguments").display(),
        real.display()
    );
    place.script("pg_dump", &script).display().to_string()
}

/// What pg_dump writes with the noted arguments, talking to the server itself.
fn plain_pg_dump(place: &Place, server: &Scratch) -> Vec<u8> {
    let noted = fs::read_to_string(place.home.path().join("arguments")).unwrap();
    let mut arguments: Vec<&str> = noted.trim_end_matches('\0').split('\0').collect();
    for flag in ["--snapshot", "--host"] {
        let at = arguments.iter().position(|a| *a == flag).unwrap();
        arguments.drain(at..at + 2);
    }
    let mut command = Command::new(server.program("pg_dump"));
    command.args(arguments).args(["--host", "127.0.0.1"]).env("PGTZ", "UTC");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The snapshot's text by way of plain pg_dump.
pub(crate) fn expected(place: &Place, server: &Scratch, family: Family, height: i64) -> Vec<u8> {
    let (mut arranger, mut first, mut last) = (Arranger::default(), Vec::new(), Vec::new());
    arranger.push(&plain_pg_dump(place, server), &mut first, &mut last).unwrap();
    arranger.finish().unwrap();
    let mut filter = DumpFilter::new(family, LineRules::Faithful);
    let mut text = Vec::new();
    filter.push(&first, &mut text).unwrap();
    filter.push(&last, &mut text).unwrap();
    filter.finish(height, &mut text).unwrap();
    text
}

#[track_caller]
pub(crate) fn same_text(ours: &[u8], expected: &[u8], what: &str) {
    if ours == expected {
        return;
    }
    let different = ours.split(|b| *b == b'\n').zip(expected.split(|b| *b == b'\n')).position(|(a, b)| a != b);
    panic!("{what}: {} bytes instead of {}, first difference in line {different:?}", ours.len(), expected.len());
}

#[test]
fn every_world_and_the_edge_database_give_plain_pg_dumps_bytes() {
    let worlds = ["v0.9/worlds/solo", "v0.9/worlds/quartet", "v0.10/worlds/quartet", "truf/worlds/solo"];
    let databases = worlds.map(|world| database(&format!("{world}/database.sql.gz")));
    for db in databases.into_iter().chain([edges()]) {
        for jobs in ["1", "5"] {
            let place = Place::new();
            let pg_dump = noting_pg_dump(&place, server());
            let created = place.create_json(&db, &["--jobs", jobs, "--pg-dump", &pg_dump]);
            let family = created["family"].as_str().unwrap().parse().unwrap();
            let ours = unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap());
            let expected = expected(&place, server(), family, created["height"].as_i64().unwrap());
            same_text(&ours, &expected, &db);
        }
    }
}

#[test]
fn ranges_of_one_page_give_the_same_bytes() {
    let db = edges();
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut options = CreateOptions::new(&place.snapdir);
    options.pg_dump = Some(noting_pg_dump(&place, server()).into());
    options.read = Some(RowOptions { connections: 3, range_bytes: 1, binary_bytes_min: 1 });
    let settings = server().settings(&db);
    let progress = Progress::silent();
    let created = runtime.block_on(create(&settings, options, &progress, CancellationToken::new())).unwrap();
    let ours = unzip(&fs::read(created.snapshot).unwrap());
    same_text(&ours, &expected(&place, server(), created.family, created.height), "ranges of one page");
}

/// A database that takes a while, on `server`.
pub(crate) fn large(server: &Scratch) -> String {
    let db = fresh_name();
    server.load(&db, &read(SOLO)).unwrap();
    let sql = "INSERT INTO kwild_engine.namespaces (name, type) VALUES ('big', 'USER'); CREATE SCHEMA big;
         CREATE TABLE big.rows (id int, t text);
         INSERT INTO big.rows SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 100000) i";
    server.query(&db, sql).unwrap();
    db
}

/// A create that was stopped while rows come, and the backends that bring them.
pub(crate) fn stopped_half_way(server: &Scratch, command: &mut Command) -> (Child, Pid, Vec<String>) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let mut backends = Vec::new();
    wait_for("rows to come", || {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'regenesis %' AND query LIKE 'COPY (SELECT%ctid >= %'";
        let found = server.query("postgres", sql).unwrap();
        backends = found.lines().map(str::to_owned).collect();
        !backends.is_empty()
    });
    kill(pid, Signal::SIGSTOP).unwrap();
    (child, pid, backends)
}

pub(crate) fn finished(child: Child, pid: Pid) -> Run {
    kill(pid, Signal::SIGCONT).unwrap();
    Run::of(child.wait_with_output().unwrap())
}

fn sessions(server: &Scratch, db: &str) -> usize {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{db}'");
    server.query("postgres", &sql).unwrap().trim().parse().unwrap()
}

#[track_caller]
pub(crate) fn no_session_is_left(server: &Scratch, db: &str) {
    wait_for("the server's sessions to end", || sessions(server, db) == 0);
}

pub(crate) fn own_server() -> Scratch {
    Scratch::start(ScratchOptions::default()).unwrap()
}

/// `snapshot create` on a server of the test's own.
pub(crate) fn on(place: &Place, server: &Scratch, db: &str, flags: &[&str]) -> Command {
    let mut command = super::support::program(place.home.path());
    command.args(["snapshot", "create", "--snapdir"]).arg(&place.snapdir);
    command.args(["--host", "127.0.0.1", "--port", &server.port().to_string(), "--dbname", db]).args(flags);
    command.env("PGUSER", "postgres");
    command
}

#[test]
fn a_connection_that_is_lost_is_made_again_and_nothing_is_lost_with_it() {
    let server = own_server();
    let db = large(&server);
    let undisturbed = Place::new();
    let whole = Run::of(on(&undisturbed, &server, &db, &["--output", "json"]).output().unwrap()).result();
    let place = Place::new();
    let (child, pid, backends) = stopped_half_way(&server, &mut on(&place, &server, &db, &["--output", "json"]));
    server.query("postgres", &format!("SELECT pg_terminate_backend({})", backends[0])).unwrap();
    let created = finished(child, pid).result();
    assert_eq!(created["state_hash"], whole["state_hash"]);
    no_session_is_left(&server, &db);
}

#[test]
fn a_server_that_goes_away_ends_it_and_nothing_is_left() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let (child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &[]));
    server.stop().unwrap();
    finished(child, pid).failed(1, &["while reading big.rows", "is the server still running"]);
    place.is_untouched();
}

#[test]
fn a_signal_while_rows_come_ends_every_session() {
    let server = own_server();
    let db = large(&server);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let place = Place::new();
        let (child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &[]));
        kill(pid, signal).unwrap();
        finished(child, pid).failed(code, &["interrupted"]);
        place.is_untouched();
        no_session_is_left(&server, &db);
    }
}

#[test]
fn kill_9_leaves_no_session_and_no_final_file() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let (mut child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &[]));
    kill(pid, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    no_session_is_left(&server, &db);
    assert_eq!(place.files(), ["snapshot.sql.gz.part"]);
    let again = Run::of(on(&place, &server, &db, &[]).output().unwrap());
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(place.files(), ["genesis.json", "snapshot.sql.gz"]);
}

/// A role that may read everything and is no superuser: limits hold for it.
fn reader(db: &str, options: &str) -> String {
    let role = fresh_name();
    server().query(db, &format!("CREATE ROLE {role} LOGIN {options}; GRANT pg_read_all_data TO {role}")).unwrap();
    role
}

#[test]
fn fewer_connections_than_wanted_are_enough_and_said() {
    let db = edges();
    let place = Place::new();
    let role = reader(&db, "CONNECTION LIMIT 3");
    server().query(&db, "SELECT lo_unlink(oid) FROM pg_largeobject_metadata").unwrap();
    let run = place.create(&db, &["--user", &role, "--jobs", "4"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("no more than 1 connection left"), "{}", run.stderr);
    let none = reader(&db, "CONNECTION LIMIT 2");
    let other = Place::new();
    other.create(&db, &["--user", &none]).failed(1, &["no connection left"]);
    other.is_untouched();
}

#[test]
fn a_roles_time_limits_and_formats_change_nothing() {
    let db = edges();
    let place = Place::new();
    let whole = place.create_json(&db, &[]);
    let role = reader(&db, "SUPERUSER");
    for setting in [
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "bytea_output = 'escape'",
        "TimeZone = 'Asia/Tokyo'",
        "DateStyle = 'German'",
        "extra_float_digits = 0",
        "synchronize_seqscans = on",
        "search_path = plain",
    ] {
        server().query(&db, &format!("ALTER ROLE {role} SET {setting}")).unwrap();
    }
    let other = Place::new();
    let created = other.create_json(&db, &["--user", &role]);
    assert_eq!(created["state_hash"], whole["state_hash"]);
}

#[test]
fn a_table_that_may_not_be_read_is_named() {
    let db = edges();
    let role = fresh_name();
    let sql = format!(
        "CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}; REVOKE pg_read_all_data FROM {role};
         DO $$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' LOOP
         EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA %I TO {role}', s, s);
         END LOOP; END $$; REVOKE SELECT ON plain.same FROM {role}"
    );
    server().query(&db, &sql).unwrap();
    let place = Place::new();
    place.create(&db, &["--user", &role]).failed(1, &["permission denied", "same", "--user"]);
    place.is_untouched();
}

#[test]
fn a_table_dropped_before_it_was_locked_is_named() {
    let db = edges();
    let place = Place::new();
    let psql = server().program("psql");
    let script = format!(
        "[ \"$1\" = --version ] || '{}' -q -X -h 127.0.0.1 -p {} -U postgres -d {db} -c 'DROP TABLE plain.same CASCADE'\n\
         exec '{}' \"$@\"",
        psql.display(),
        server().port(),
        server().program("pg_dump").display()
    );
    let wrapper = place.script("pg_dump", &script);
    place.create(&db, &["--pg-dump", wrapper.to_str().unwrap()]).failed(1, &["plain.same", "does not exist"]);
    place.is_untouched();
}

#[test]
fn tables_cannot_go_while_their_rows_are_read() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let (child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &["--output", "json"]));
    let drop = server.query(&db, "SET lock_timeout = '50ms'; DROP TABLE kwild_voting.processed");
    assert!(drop.is_err(), "pg_dump's locks are kept: {drop:?}");
    finished(child, pid).result();
}

#[test]
fn a_directory_for_sockets_with_a_long_name_is_no_obstacle() {
    let db = edges();
    let place = Place::new();
    let long = place.home.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    let mut command = place.command(&db, &["--output", "json"]);
    command.env("TMPDIR", &long);
    let _: Value = Run::of(command.output().unwrap()).result();
    assert_eq!(left(&long), 0);
}

fn left(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn progress_names_bytes_rows_and_the_table() {
    let server = own_server();
    let db = large(&server);
    server.query(&db, "ANALYZE").unwrap();
    let place = Place::new();
    let mut command = on(&place, &server, &db, &["--progress", "json"]);
    let run = Run::of(command.output().unwrap());
    assert_eq!(run.code, Some(0), "{run:?}");
    let items: Vec<Value> = run.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_large = |item: &&Value| item["detail"].as_str().is_some_and(|d| d.contains("big.rows"));
    // Before a hundredth is done nobody knows how much it will be.
    let large = items.iter().filter(of_large).find(|item| item["total"].is_u64());
    let item = large.unwrap_or_else(|| panic!("no progress of the large table in {}", run.stderr));
    assert!(item["done"].as_u64() > Some(0) && item["total"].as_u64() >= item["done"].as_u64(), "{item}");
    assert!(item["detail"].as_str().unwrap().contains(" of about 10"), "{item}");
}

/// A file that may not grow further is to the program what a full disk is.
#[test]
fn a_disk_that_is_full_ends_it_and_nothing_is_left() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let create = on(&place, &server, &db, &[]);
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""])
        .arg(create.get_program())
        .args(create.get_args());
    command.current_dir(place.home.path()).env("HOME", place.home.path()).env("PGUSER", "postgres");
    Run::of(command.output().unwrap()).failed(1, &["cannot write", "snapshot.sql.gz"]);
    place.is_untouched();
    no_session_is_left(&server, &db);
}
