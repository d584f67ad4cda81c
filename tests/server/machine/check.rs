//! What a server, a root and an environment can have wrong, and what `setup check` says of it.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, sync::OnceLock};

use kwil_formats::formats::Family;
use regenesis::database::scratch::{Scratch, ScratchOptions};
use serde_json::Value;

use crate::common::{Party, Run, data};

/// Longer than any answer takes on a busy machine.
const PATIENT: [&str; 2] = ["--connect-timeout", "60s"];

/// A server with the settings that kwild demands; its version is what this machine has.
fn ready() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| {
        let parameters = [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("wal_level", "logical"),
            ("max_connections", "50"),
            ("max_wal_senders", "10"),
            ("max_replication_slots", "10"),
            ("max_prepared_transactions", "200"),
            ("wal_sender_timeout", "0"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Scratch::start(ScratchOptions { parameters, ..ScratchOptions::default() }).unwrap()
    })
}

/// `setup check` on a database of that server.
fn check(server: &Scratch, dbname: &str, user: &str, more: &[&str]) -> Run {
    let port = server.port().to_string();
    let server = ["setup", "check", "--port", &port, "--dbname", dbname, "--user", user, "--output", "json"];
    Party::new().run(&[&server, &PATIENT[..], more].concat())
}

fn result(run: &Run) -> Value {
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    json["result"].clone()
}

/// Level, code, path and text of every finding.
fn findings(run: &Run) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let list = result(run)["findings"].as_array().unwrap().clone();
    list.iter().map(|f| (text(&f["level"]), text(&f["code"]), text(&f["path"]), text(&f["text"]))).collect()
}

#[track_caller]
fn has(run: &Run, level: &str, code: &str, words: &[&str]) {
    let found = findings(run);
    let fits = |(l, c, path, text): &(String, String, String, String)| {
        l == level && c == code && words.iter().all(|word| text.contains(word) || path.contains(word))
    };
    assert!(found.iter().any(fits), "no {level} {code} with {words:?} in {found:#?}");
}

#[track_caller]
fn has_none(run: &Run, codes: &[&str]) {
    let found = findings(run);
    assert!(!found.iter().any(|(_, code, ..)| codes.contains(&code.as_str())), "{found:#?}");
}

#[test]
fn a_server_with_kwilds_settings_lacks_its_version_at_most() {
    let server = ready();
    server.create_database("ready").unwrap();
    let run = check(server, "ready", "postgres", &["--size", "1M"]);
    if server.query("ready", "SHOW server_version").unwrap().starts_with("16.") {
        has_none(&run, &["server-version"]);
    } else {
        assert_eq!(run.code, 4, "{run:?}");
        has(&run, "error", "server-version", &["and kwild demands 16.1"]);
        assert!(run.stderr.contains("kwild would not start") && run.stderr.contains("next: "), "{run:?}");
    }
    has_none(
        &run,
        &["server", "server-setting", "role", "database", "database-content", "database-state", "extensions"],
    );
    assert!(result(&run)["checks"].as_array().unwrap().iter().any(|line| line["code"] == "disk-database"));
}

#[test]
fn a_stock_server_is_told_each_setting() {
    let parameters = [("wal_level", "replica"), ("max_prepared_transactions", "0"), ("fsync", "off")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = Scratch::start(ScratchOptions { parameters, ..ScratchOptions::default() }).unwrap();
    server.create_database("stock").unwrap();
    let run = check(&server, "stock", "postgres", &["--fix", "--family", "v0.10"]);
    assert_eq!(run.code, 4);
    for name in ["fsync", "wal_level", "max_prepared_transactions", "wal_sender_timeout"] {
        has(&run, "error", "server-setting", &[name]);
    }
    let fixes = result(&run)["fixes"].clone();
    let lines = |key: &str| -> Vec<String> {
        fixes[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    };
    // The throw-away server has its settings from its command line, but for the defaults.
    let sql = ["ALTER SYSTEM SET wal_sender_timeout = '0';".to_owned(), "SELECT pg_reload_conf();".to_owned()];
    assert_eq!(lines("sql"), sql);
    assert!(lines("shell").contains(&"# start the server with -c wal_level=logical".to_owned()), "{fixes}");
    // Nothing was applied.
    assert_eq!(server.query("stock", "SHOW wal_sender_timeout").unwrap().trim(), "1min");
    assert_eq!(
        server
            .query("stock", "SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'")
            .unwrap()
            .trim(),
        "0"
    );
}

#[test]
fn settings_of_a_database_count() {
    let server = ready();
    server.create_database("own_setting").unwrap();
    server.query("postgres", "ALTER DATABASE own_setting SET backslash_quote = 'on'").unwrap();
    let run = check(server, "own_setting", "postgres", &["--fix"]);
    has(&run, "error", "server-setting", &["backslash_quote", "from: database"]);
    let fixes = result(&run)["fixes"]["sql"].to_string();
    assert!(fixes.contains("ALTER DATABASE \\\"own_setting\\\" RESET backslash_quote;"), "{fixes}");
}

#[test]
fn a_state_in_the_database_comes_first() {
    let server = ready();
    server.create_database("old_state").unwrap();
    server.query("old_state", "CREATE SCHEMA kwild_voting").unwrap();
    let run = check(server, "old_state", "postgres", &[]);
    let first = findings(&run).remove(0);
    assert_eq!((first.0.as_str(), first.1.as_str()), ("error", "database-state"));
    assert!(first.3.contains("without a word"), "{first:?}");
    let checks = result(&run)["checks"].clone();
    assert_eq!(checks[0]["code"], "database-state");
}

#[test]
fn leftovers_and_strangers_in_the_database() {
    let server = ready();
    server.create_database("leftovers").unwrap();
    server.query("leftovers", "CREATE SCHEMA ds_abc; CREATE TABLE ds_abc.t (a int)").unwrap();
    has(&check(server, "leftovers", "postgres", &[]), "error", "database-content", &["ds_abc"]);
    server.create_database("strangers").unwrap();
    server.query("strangers", "CREATE TABLE t (a int)").unwrap();
    has(&check(server, "strangers", "postgres", &[]), "warning", "database-content", &["public"]);
    // What kwild itself makes before it loads does no harm.
    server.create_database("domain_only").unwrap();
    server.query("domain_only", "CREATE DOMAIN public.uint256 AS NUMERIC(78)").unwrap();
    has_none(&check(server, "domain_only", "postgres", &[]), &["database-content"]);
}

#[test]
fn a_database_that_is_not_there_or_of_another_encoding() {
    let server = ready();
    let run = check(server, "no such database", "postgres", &["--fix"]);
    has(&run, "error", "database", &["no database no such database"]);
    has_none(&run, &["server", "server-setting"]);
    assert!(result(&run)["fixes"]["sql"].to_string().contains("CREATE DATABASE"), "{run:?}");
    server
        .query("postgres", "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
        .unwrap();
    has(&check(server, "ascii", "postgres", &[]), "error", "database-encoding", &["SQL_ASCII"]);
}

#[test]
fn a_role_without_rights_still_sees_the_rest() {
    let server = ready();
    server
        .query("postgres", "CREATE ROLE weak LOGIN; CREATE DATABASE weak OWNER weak TEMPLATE template0 ENCODING 'UTF8'")
        .unwrap();
    let run = check(server, "weak", "weak", &["--fix"]);
    has(&run, "error", "role", &["weak lacks SUPERUSER REPLICATION"]);
    has_none(&run, &["server", "server-setting", "database-content", "extensions"]);
    has(&run, "note", "disk-database", &["cannot be seen"]);
    let fixes = result(&run)["fixes"]["sql"].to_string();
    assert!(fixes.contains("ALTER ROLE \\\"weak\\\" SUPERUSER REPLICATION;"), "{fixes}");
    // Nothing was applied.
    assert_eq!(server.query("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'weak'").unwrap().trim(), "f");
    let stranger = check(server, "weak", "nobody_here", &[]);
    has(&stranger, "error", "server", &["nobody_here"]);
}

#[test]
fn a_prepared_transaction_that_nobody_ended() {
    let server = Scratch::start(ScratchOptions {
        parameters: vec![("max_prepared_transactions".into(), "5".into())],
        ..ScratchOptions::default()
    })
    .unwrap();
    server.create_database("left").unwrap();
    server.query("left", "BEGIN; CREATE TABLE t (a int); PREPARE TRANSACTION 'forgotten'").unwrap();
    has(&check(&server, "left", "postgres", &[]), "error", "prepared-transactions", &["forgotten", "wait for ever"]);
    server.create_database("beside").unwrap();
    has(&check(&server, "beside", "postgres", &[]), "warning", "prepared-transactions", &["left"]);
    // Another node's database of the same role.
    has(&check(&server, "beside", "postgres", &["--family", "v0.9"]), "warning", "other-nodes", &["left", "v0.9"]);
    server.query("left", "ROLLBACK PREPARED 'forgotten'").unwrap();
}

#[test]
fn a_server_that_is_not_there_or_does_not_speak() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let run = Party::new().run(&["setup", "check", "--port", &port, "--connect-timeout", "300ms", "--output", "json"]);
    assert_eq!(run.code, 4);
    has(&run, "error", "server", &["does not answer: waited 300ms"]);
    drop(silent);
    let run = Party::new().run(&["setup", "check", "--port", &port]);
    assert_eq!(run.code, 4);
    assert!(run.stdout.contains("error    server") && run.stdout.contains("fix: start the server"), "{run:?}");
    // The other checks were made all the same.
    assert!(run.stdout.contains("pg_dump") && run.stdout.contains("ports"), "{run:?}");
}

#[test]
fn passwords_are_not_shown() {
    let party = Party::new();
    let mut command =
        party.command(&["setup", "check", "--port", "1", "--fix", "--output", "json", "--password", "hunter2"]);
    command.env("PGPASSWORD", "hunter2").env("PGCLIENTENCODING", "LATIN1");
    let run = crate::common::Process::spawn(command).finish();
    assert_eq!(run.code, 4);
    assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{run:?}");
    let first = findings(&run).remove(0);
    assert_eq!((first.1.as_str(), first.2.as_str()), ("environment", "PGCLIENTENCODING"), "silent ones come first");
}

/// A root of the recorded quartet, made by `setup init`.
fn root(party: &Party, family: Family) {
    party.take_recording(family, "files");
    party.take_key(family, 0, "node.key");
    let snapshot = format!("files/{}", family.snapshot_file_name());
    let init = ["setup", "init", "-r", "root", "-g", "files/genesis.json", "-s", &snapshot, "-k", "node.key"];
    let flags: &[&str] = match family {
        Family::V09 => &[
            "--app.jsonrpc-listen-addr",
            "127.0.0.1:0",
            "--chain.p2p.listen-addr",
            "tcp://127.0.0.1:0",
            "--chain.rpc.listen-addr",
            "tcp://127.0.0.1:0",
            "--app.admin-listen-addr",
            "/nowhere/s",
            "--app.pg-db-port",
            "1",
        ],
        Family::V010 => &[
            "--rpc.listen",
            "127.0.0.1:0",
            "--p2p.listen",
            "127.0.0.1:0",
            "--admin.listen",
            "/nowhere/s",
            "--db.port",
            "1",
        ],
    };
    party.run(&[&init[..], flags].concat()).done();
}

fn check_root(party: &Party) -> Run {
    party.run(&["setup", "check", "-r", "root", "--output", "json"])
}

#[test]
fn a_root_of_setup_init_is_good() {
    for family in [Family::V09, Family::V010] {
        let party = Party::new();
        root(&party, family);
        let run = check_root(&party);
        assert_eq!(result(&run)["family"], family.as_str());
        assert_eq!(result(&run)["server"], "127.0.0.1:1", "the root's config.toml says where the server is");
        has_none(
            &run,
            &["root", "config", "genesis", "family", "state-hash", "snapshot-file", "node-key", "key-mode", "ports"],
        );
    }
}

#[test]
fn what_a_root_can_lack() {
    let party = Party::new();
    root(&party, Family::V010);
    let genesis = fs::read_to_string(party.path("root/genesis.json")).unwrap();
    let config = fs::read_to_string(party.path("root/config.toml")).unwrap();
    let snapshot = party.read("root/genesis-state.sql.gz");

    let no_hash: String =
        genesis.lines().filter(|line| !line.contains("state_hash")).map(|line| format!("{line}\n")).collect();
    party.write("root/genesis.json", no_hash);
    let first = findings(&check_root(&party)).remove(0);
    assert_eq!((first.0.as_str(), first.1.as_str()), ("error", "state-hash"), "{first:?}");
    assert!(first.3.contains("EMPTY chain"));
    party.write("root/genesis.json", "{");
    has(&check_root(&party), "error", "genesis", &["genesis.json"]);
    fs::remove_file(party.path("root/genesis.json")).unwrap();
    has(&check_root(&party), "error", "genesis", &["no genesis.json"]);
    party.write("root/genesis.json", fs::read(data("v0.9/worlds/quartet/kwil-admin/genesis.json")).unwrap());
    has(&check_root(&party), "error", "family", &["v0.9", "v0.10"]);
    party.write("root/genesis.json", &genesis);

    party.write("root/genesis-state.sql.gz", "SELECT 1;\n");
    has(&check_root(&party), "error", "snapshot-file", &["no gzip file"]);
    fs::remove_file(party.path("root/genesis-state.sql.gz")).unwrap();
    has(&check_root(&party), "error", "snapshot-file", &["cannot be read"]);
    party.write("root/genesis-state.sql.gz", &snapshot);
    party.write("root/config.toml", config.replace("genesis-state.sql.gz", ""));
    has(&check_root(&party), "error", "snapshot-file", &["names none"]);
    party.write("root/config.toml", format!("nonsense = 1\n{config}"));
    has(&check_root(&party), "error", "config", &["nonsense"]);
    party.write("root/config.toml", "[db\n");
    has(&check_root(&party), "error", "config", &["line 1"]);
    party.write("root/config.toml", &config);

    let key = party.path("root/nodekey.json");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    has(&check_root(&party), "warning", "key-mode", &["nodekey.json", "644"]);
    fs::remove_file(&key).unwrap();
    has(&check_root(&party), "error", "node-key", &["no such file"]);

    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap().to_string();
    party.write("root/config.toml", config.replace("127.0.0.1:0", &taken));
    has(&check_root(&party), "error", "ports", &["another program listens", &taken]);
}

#[test]
fn a_root_that_is_none() {
    let party = Party::new();
    party.write("root", "a file");
    has(&check_root(&party), "error", "root", &["no directory"]);
    let run = party.run(&["setup", "check", "-r", "missing", "--output", "json"]);
    has(&run, "error", "root", &["No such file"]);
}

/// A program that answers with these words.
fn program(party: &Party, name: &str, words: &str) {
    party.write(name, format!("#!/bin/sh\necho '{words}'\n"));
    fs::set_permissions(party.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn programs_are_asked_for_their_version() {
    let party = Party::new();
    program(&party, "bin/pg_dump", "pg_dump (PostgreSQL) 17.2");
    program(&party, "bin/psql", "psql (PostgreSQL) 16.9 (Debian)");
    program(&party, "kwild", "kwild version 0.9.4");
    let mut command = party
        .command(&["setup", "check", "--port", "1", "--family", "v0.10", "--kwild", "./kwild", "--output", "json"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", party.path("bin").display()));
    let run = crate::common::Process::spawn(command).finish();
    has(&run, "error", "pg_dump", &["17.2", "major 16"]);
    has_none(&run, &["psql"]);
    has(&run, "error", "kwild", &["0.9.4 (v0.9)", "v0.10"]);
    let mut command = party.command(&["setup", "check", "--port", "1", "--kwild", "./none", "--output", "json"]);
    command.env("PATH", party.path("empty"));
    let run = crate::common::Process::spawn(command).finish();
    has(&run, "error", "pg_dump", &["no pg_dump on PATH"]);
    has(&run, "error", "psql", &["no psql on PATH"]);
    has(&run, "error", "kwild", &["does not say its version"]);
}

#[test]
fn start_files_of_psql_are_read() {
    let party = Party::new();
    party.write(".psqlrc", "\\set ON_ERROR_STOP on\n");
    let run = party.run(&["setup", "check", "--port", "1", "--output", "json"]);
    has(&run, "error", "psqlrc", &[".psqlrc", "ON_ERROR_STOP"]);
    party.write(".psqlrc", "\\timing\n");
    has_none(&party.run(&["setup", "check", "--port", "1", "--output", "json"]), &["psqlrc"]);
}
