//! The statement check against real servers and a real psql. No expression is proved: a statement that the server refuses ends
//! a guarded restore, and nothing is left of it. So what passes must be harmless where the server takes it, and the guard
//! must hold where it does not.

mod catalogue;
mod definitions;
#[path = "../../fuzz/mod.rs"]
mod fuzz;
mod harm;
mod hostile;
mod psql;
mod split;

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use kwil_formats::dump::{
    guard::{EPILOGUE, PROLOGUE},
    scan::{ScanError, ScanReport, StatementScanner},
};
use regenesis::database::scratch::{Scratch, ScratchOptions};

/// The server; it ends with this process.
fn server() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| Scratch::start(ScratchOptions::default()).unwrap())
}

/// A database as kwild v0.9 hands it to psql: empty but for its domain.
fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server().create_database(&name).unwrap();
    let domain = "CREATE DOMAIN public.uint256 AS numeric(78,0) CHECK (VALUE >= 0) CHECK (scale(VALUE) = 0)";
    server().query(&name, domain).unwrap();
    name
}

/// What a database holds beyond PostgreSQL's own, a name a line.
fn contents(db: &str) -> String {
    let mut query = Vec::new();
    for (catalogue, name) in
        [("pg_namespace", "nspname"), ("pg_class", "relname"), ("pg_proc", "proname"), ("pg_type", "typname")]
    {
        query.push(format!("SELECT '{catalogue} ' || {name} FROM {catalogue} WHERE oid >= 16384"));
    }
    query.push("SELECT 'large object' FROM pg_largeobject_metadata".to_owned());
    server().query(db, &format!("{} ORDER BY 1", query.join(" UNION ALL "))).unwrap()
}

/// The schema by which kwild tells an initialised database; in a guarded text it comes last.
const VOTING: &str = "CREATE SCHEMA kwild_voting;\n";

fn guarded(text: &str) -> String {
    format!("{PROLOGUE}{text}{VOTING}{EPILOGUE}")
}

/// Restores a text as kwild does. Gives psql's exit status and what it said.
fn restore(db: &str, text: &str) -> (Option<i32>, String) {
    restore_on(server(), db, text)
}

fn restore_on(server: &Scratch, db: &str, text: &str) -> (Option<i32>, String) {
    let mut command = Command::new(server.program("psql"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").env("LC_ALL", "C").arg("--host").arg(server.socket_directory());
    command.args(["--port", &server.port().to_string(), "--username", "postgres", "--dbname", db, "--no-password"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // psql that stops early closes its input.
            let _ = input.write_all(text.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    })
}

/// Restores a guarded text: all of it is there, or nothing. Says whether it is.
#[track_caller]
fn all_or_nothing(db: &str, text: &str) -> bool {
    let before = contents(db);
    let (status, said) = restore(db, text);
    let after = contents(db);
    match status {
        Some(0) => assert!(after.contains("pg_namespace kwild_voting\n"), "{text}"),
        Some(3) => assert_eq!(after, before, "{text}"),
        status => panic!("psql ended with {status:?}: {said}"),
    }
    status == Some(0)
}

/// Takes away what a test's texts make.
fn clear(db: &str) {
    let schemas =
        "DROP SCHEMA IF EXISTS ds_x, ds_y, s, info, kwild_accts, kwild_engine, kwild_internal, kwild_voting CASCADE";
    server()
        .query(db, &format!("SET client_min_messages = error; {schemas}; DROP TABLE IF EXISTS public.harm"))
        .unwrap();
}

fn scan(text: &str) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    scanner.push(text.as_bytes())?;
    scanner.finish()
}
