//! One throw-away server for all tests of this binary, and the program to be tested.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use regenesis::database::scratch::{Scratch, ScratchOptions};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::wait::wait_for;

/// A database whose kwild seems to run: made before the others, since a slot waits for every transaction of the server.
pub(crate) const DATABASE_WITH_SLOT: &str = "with_slot";

/// The server; it ends with this process.
pub(crate) fn server() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Scratch::start(ScratchOptions::default()).unwrap();
        server.load(DATABASE_WITH_SLOT, &read("v0.10/worlds/quartet/database.sql.gz")).unwrap();
        server
            .query(DATABASE_WITH_SLOT, "SELECT pg_create_logical_replication_slot('kwild_replabcd1234', 'pgoutput')")
            .unwrap();
        server
    })
}

pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    fs::read(data(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn unzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

/// A database of its own, filled with a recorded world.
pub(crate) fn database(world: &str) -> String {
    let name = fresh_name();
    server().load(&name, &read(world)).unwrap();
    name
}

/// A name that no other database has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn major() -> u32 {
    let number = server().query("postgres", "SHOW server_version_num").unwrap();
    number.trim().parse::<u32>().unwrap() / 10_000
}

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The result of a run with `--output json` that went well.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        let json: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(json["error"], "");
        json["result"].clone()
    }

    /// The run failed with this code, says these words, and what to do next.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "stdout carries results only");
        for word in words.iter().chain(&["error: ", "next: "]) {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }
}

/// The program, with nothing of the caller's environment that it would obey.
pub(crate) fn program(home: &Path) -> Command {
    // What a shell started behind ignores SIGINT, and the program keeps to that: these tests send it all the same.
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_regenesis")]);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") || name.as_encoded_bytes().starts_with(b"REGENESIS") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

/// A directory to work in, and the snapshot directory in it.
pub(crate) struct Place {
    pub(crate) home: TempDir,
    pub(crate) snapdir: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let snapdir = home.path().join("snaps");
        Place { home, snapdir }
    }

    /// `snapshot create` on a database of the server.
    pub(crate) fn command(&self, dbname: &str, flags: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.args(["snapshot", "create", "--progress", "none", "--snapdir"]).arg(&self.snapdir);
        command.args(["--host", "127.0.0.1", "--port", &server().port().to_string()]);
        command.env("PGUSER", "postgres").args(["--dbname", dbname]).args(flags);
        command
    }

    pub(crate) fn create(&self, dbname: &str, flags: &[&str]) -> Run {
        Run::of(self.command(dbname, flags).output().unwrap())
    }

    pub(crate) fn create_json(&self, dbname: &str, flags: &[&str]) -> Value {
        let all: Vec<&str> = flags.iter().copied().chain(["--output", "json"]).collect();
        self.create(dbname, &all).result()
    }

    pub(crate) fn verify(&self, flags: &[&str]) -> Run {
        let mut command = program(self.home.path());
        command.args(["snapshot", "verify", "--progress", "none"]).args(flags);
        Run::of(command.output().unwrap())
    }

    /// Nothing was left behind, not even the directory.
    #[track_caller]
    pub(crate) fn is_untouched(&self) {
        assert!(!self.snapdir.exists(), "left: {:?}", self.files());
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.snapdir)
            .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    /// An executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}
