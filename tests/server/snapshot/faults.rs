//! What can be wrong, by name: the exit code, the words, and that nothing is left.

use std::{fs, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::support::{DATABASE_WITH_SLOT, Place, Run, database, fresh_name, program, read, server, wait_for};

const QUARTET: &str = "v0.10/worlds/quartet/database.sql.gz";

fn real_pg_dump() -> String {
    server().program("pg_dump").display().to_string()
}

#[test]
fn unreachable_server() {
    let place = Place::new();
    let mut command = program(place.home.path());
    command.args(["snapshot", "create", "--host", "127.0.0.1", "--port", "1", "--snapdir"]).arg(&place.snapdir);
    Run::of(command.output().unwrap()).failed(1, &["cannot reach Postgres at 127.0.0.1:1", "--host"]);
    let mut command = program(place.home.path());
    command.args(["snapshot", "create", "--host", "/nonexistent/socket", "--snapdir"]).arg(&place.snapdir);
    Run::of(command.output().unwrap()).failed(1, &["cannot reach Postgres at /nonexistent/socket/.s.PGSQL.5432"]);
    place.is_untouched();
}

#[test]
fn errors_are_one_json_object_where_asked_for() {
    let place = Place::new();
    let run = place.create("no_such_database", &["--output", "json"]);
    assert_eq!(run.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["result"], serde_json::Value::Null);
    assert!(json["error"].as_str().unwrap().contains("no_such_database"), "{json}");
}

#[test]
fn wrong_database() {
    let place = Place::new();
    place.create("no_such_database", &[]).failed(1, &["there is no database \"no_such_database\"", "--dbname"]);
    place.is_untouched();
}

#[test]
fn no_kwil_schemas() {
    let place = Place::new();
    place.create("postgres", &[]).failed(1, &["holds no Kwil schemas", "--dbname"]);
    place.is_untouched();
}

#[test]
fn another_family_than_expected() {
    let place = Place::new();
    place.create(&database(QUARTET), &["--family", "v0.9"]).failed(4, &["is of family v0.10, not v0.9"]);
    place.is_untouched();
}

#[test]
fn an_encoding_other_than_utf8() {
    let name = fresh_name();
    let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    server().query("postgres", &sql).unwrap();
    let place = Place::new();
    place.create(&name, &[]).failed(1, &["encoding LATIN1"]);
    place.is_untouched();
}

#[test]
fn permission_denied() {
    let db = database(QUARTET);
    let role = fresh_name();
    server().query(&db, &format!("CREATE ROLE {role} LOGIN")).unwrap();
    let place = Place::new();
    place
        .create(&db, &["--user", &role])
        .failed(1, &["may not read the chain's height", "permission denied", "--user"]);
    place.is_untouched();
}

#[test]
fn an_empty_chain() {
    let db = database(QUARTET);
    server().query(&db, "DELETE FROM kwild_chain.chain").unwrap();
    let place = Place::new();
    place.create(&db, &[]).failed(1, &["no height"]);
    place.is_untouched();
}

#[test]
fn a_running_node_by_its_replication_slot() {
    let place = Place::new();
    place.create(DATABASE_WITH_SLOT, &[]).failed(4, &["kwild_replabcd1234", "stop kwild", "--allow-live"]);
    place.is_untouched();
    let run = place.create(DATABASE_WITH_SLOT, &["--allow-live"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("warning: kwild is running"), "{}", run.stderr);
}

#[test]
fn a_block_in_flight_by_its_prepared_transaction() {
    let db = database(QUARTET);
    server()
        .query(&db, "BEGIN; INSERT INTO kwild_voting.processed VALUES ('\\x00'); PREPARE TRANSACTION 'abcdefghij'")
        .unwrap();
    let place = Place::new();
    let run = place.create(&db, &[]);
    let allowed = place.create(&db, &["--allow-live"]);
    server().query(&db, "ROLLBACK PREPARED 'abcdefghij'").unwrap();
    run.failed(4, &["prepared transaction abcdefghij", "start kwild once more", "--allow-live"]);
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
}

#[test]
fn an_unfinished_block_by_its_mark() {
    let place = Place::new();
    let db = database(QUARTET);
    server().query(&db, "UPDATE kwild_chain.chain SET dirty = true").unwrap();
    place.create(&db, &[]).failed(4, &["marked dirty", "start kwild once more"]);
    let db = database("v0.9/worlds/solo/database.sql.gz");
    server().query(&db, "UPDATE kwild_chain.chain SET app_hash = '\\x42'").unwrap();
    place.create(&db, &[]).failed(4, &["mark 42", "start kwild once more"]);
    place.is_untouched();
}

#[test]
fn a_height_that_moves_meanwhile() {
    let db = database(QUARTET);
    let place = Place::new();
    let psql = server().program("psql").display().to_string();
    let socket = server().socket_directory().display().to_string();
    let (port, real) = (server().port(), real_pg_dump());
    let wrapper = place.script(
        "pg_dump",
        &format!(
            "[ \"$1\" = --version ] || '{psql}' -X -q -h '{socket}' -p {port} -U postgres -d {db} -c \
             'UPDATE kwild_chain.chain SET height = height + 1' || exit 9\nexec '{real}' \"$@\""
        ),
    );
    let flags = ["--pg-dump", wrapper.to_str().unwrap()];
    let height = || server().query(&db, "SELECT height FROM kwild_chain.chain").unwrap().trim().parse::<i64>().unwrap();
    let before = height();
    place.create(&db, &flags).failed(4, &[&format!("the height went from {before} to {}", before + 1)]);
    place.is_untouched();
    let created = place.create_json(&db, &[flags[0], flags[1], "--allow-live"]);
    assert_eq!(created["height"], before + 1, "of the cut, not of what came after");
    assert_eq!(height(), before + 2);
}

#[test]
fn pg_dump_missing_or_not_one() {
    let db = database(QUARTET);
    let place = Place::new();
    place.create(&db, &["--pg-dump", "/nonexistent/pg_dump"]).failed(1, &["/nonexistent/pg_dump", "--pg-dump"]);
    place.create(&db, &["--pg-dump", "/bin/echo"]).failed(1, &["is not a pg_dump"]);
    place.is_untouched();
}

#[test]
fn pg_dump_too_old() {
    let db = database(QUARTET);
    let place = Place::new();
    let old = place.script("pg_dump", "echo 'pg_dump (PostgreSQL) 14.9'");
    place.create(&db, &["--pg-dump", old.to_str().unwrap()]).failed(1, &["14.9", "too old", "install"]);
    place.is_untouched();
}

#[test]
fn pg_dump_killed_half_way() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    let place = Place::new();
    let real = real_pg_dump();
    let wrapper = place.script(
        "pg_dump",
        &format!("[ \"$1\" = --version ] && exec '{real}' \"$@\"\n'{real}' \"$@\" | head -c 30000\nkill -KILL $$"),
    );
    place.create(&db, &["--pg-dump", wrapper.to_str().unwrap()]).failed(1, &["pg_dump was ended by signal 9"]);
    place.is_untouched();
}

#[test]
fn pg_dump_that_fails_is_quoted() {
    let db = database(QUARTET);
    let place = Place::new();
    let real = real_pg_dump();
    let wrapper = place.script(
        "pg_dump",
        &format!("[ \"$1\" = --version ] && exec '{real}' \"$@\"\necho 'pg_dump: error: out of luck' >&2\nexit 3"),
    );
    place.create(&db, &["--pg-dump", wrapper.to_str().unwrap()]).failed(1, &["exit code 3", "out of luck"]);
    place.is_untouched();
}

#[test]
fn a_signal_ends_everything() {
    let db = database(QUARTET);
    let place = Place::new();
    let (real, mark) = (real_pg_dump(), place.home.path().join("pid"));
    let wrapper = place.script(
        "pg_dump",
        &format!(
            "[ \"$1\" = --version ] && exec '{real}' \"$@\"\n'{real}' \"$@\" | head -c 9000\necho $$ > '{}.new'\n\
             mv '{}.new' '{}'\nexec sleep 600",
            mark.display(),
            mark.display(),
            mark.display()
        ),
    );
    let mut command = place.command(&db, &["--pg-dump", wrapper.to_str().unwrap()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("pg_dump to begin", || mark.exists());
    assert_eq!(place.files(), ["snapshot.sql.gz.part"]);
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    run.failed(143, &["interrupted"]);
    place.is_untouched();
    let pid: i32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    wait_for("pg_dump to end", || !alive(pid));
}

/// Whether a process runs; one that only waits to be collected does not.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_row_that_looks_like_the_voters_table() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    server()
        .query(
            &db,
            "CREATE TABLE main.lookalike (a text, b text, c text);
             INSERT INTO main.lookalike VALUES ('COPY kwild_voting.voters (id, name, power) FROM stdin;', '', ''),
               ('\\x00', '\\x0100000003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8', '1000');",
        )
        .unwrap();
    let place = Place::new();
    place.create(&db, &["--kwil-compat"]).failed(4, &["looks like the voters table", "--kwil-compat"]);
    place.is_untouched();
    let created = place.create_json(&db, &[]);
    assert_eq!(created["validators"], 1, "no row makes a validator");
    let genesis = fs::read_to_string(created["genesis"].as_str().unwrap()).unwrap();
    assert!(!genesis.contains("03a107bff3ce10be"), "{genesis}");
}

#[test]
fn a_catalogue_that_names_a_private_schema() {
    let db = database(QUARTET);
    server().query(&db, "INSERT INTO kwild_engine.namespaces (name, type) VALUES ('kwild_chain', 'USER')").unwrap();
    let place = Place::new();
    place.create(&db, &[]).failed(4, &["\"kwild_chain\"", "must not leave"]);
    place.is_untouched();
}

#[test]
fn files_that_exist_are_kept_without_force() {
    let db = database(QUARTET);
    let place = Place::new();
    fs::create_dir(&place.snapdir).unwrap();
    let genesis = place.snapdir.join("genesis.json");
    fs::write(&genesis, "mine").unwrap();
    place.create(&db, &[]).failed(4, &["genesis.json exists already", "--force"]);
    assert_eq!(fs::read_to_string(&genesis).unwrap(), "mine");
    assert_eq!(place.files(), ["genesis.json"]);
    let run = place.create(&db, &["--force"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(place.files(), ["genesis.json", "snapshot.sql.gz"]);
    assert_ne!(fs::read_to_string(&genesis).unwrap(), "mine");
}

#[test]
fn a_directory_that_cannot_be_made() {
    let db = database(QUARTET);
    let place = Place::new();
    fs::write(&place.snapdir, "a file").unwrap();
    let run = place.create(&db, &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(fs::read_to_string(&place.snapdir).unwrap(), "a file");
}

#[test]
fn usage_errors_are_exit_2() {
    let place = Place::new();
    for flags in [["--family", "v0.11"], ["--compress", "tiny"], ["--port", "many"], ["--sslmode", "maybe"]] {
        let mut command = program(place.home.path());
        command.args(["snapshot", "create"]).args(flags);
        assert_eq!(command.output().unwrap().status.code(), Some(2), "{flags:?}");
    }
    let bad_time = place.create(&database("v0.9/worlds/solo/database.sql.gz"), &["--genesis-time", "tomorrow"]);
    assert_ne!(bad_time.code, Some(0));
    place.is_untouched();
}

#[test]
fn a_snapshot_with_a_foreign_statement_is_refused_with_its_line() {
    use sha2::{Digest, Sha256};
    let place = Place::new();
    let mut text = super::support::unzip(&read("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"));
    let lines = text.iter().filter(|b| **b == b'\n').count();
    text.extend_from_slice(b"\\! touch /tmp/pwned\n");
    let hash = hex::encode(Sha256::digest(&text));
    let genesis = String::from_utf8(read("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap();
    let mut genesis: serde_json::Value = serde_json::from_str(&genesis).unwrap();
    genesis["state_hash"] = hash.into();
    let (file, genesis_file) = (place.home.path().join("s.sql"), place.home.path().join("g.json"));
    fs::write(&file, &text).unwrap();
    fs::write(&genesis_file, serde_json::to_string_pretty(&genesis).unwrap()).unwrap();
    let run = place.verify(&[file.to_str().unwrap(), "--genesis", genesis_file.to_str().unwrap()]);
    run.failed(3, &[&format!("line {}", lines + 1), "\\! touch"]);
}
