//! What is judged before the first chunk: key, database, disk, and what `next:` says when a root is there.

use std::fs;

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{Party, Process, Run, data, server};

struct World {
    _lead: Party,
    publish: Process,
    ticket: String,
    party: Party,
}

impl World {
    /// A lead of that family's recorded quartet, serving what it took from its database, and a validator of it.
    fn new(family: Family, old: &str) -> Self {
        let world = if family == Family::V09 { "v0.9/worlds/quartet" } else { "v0.10/worlds/quartet" };
        server().load(old, &fs::read(data(&format!("{world}/database.sql.gz"))).unwrap()).unwrap();
        let lead = Party::new();
        lead.take_key(family, 0, "lead.key");
        let genesis = data(&format!("{world}/genesis.original.json"));
        let publish = super::publish(&lead, old, &genesis, &["--attestations", "none"]);
        let party = Party::new();
        party.take_key(family, 1, "node.key");
        World { ticket: publish.ticket(), _lead: lead, publish, party }
    }

    /// A join onto a database of the server.
    fn join(&self, root: &str, dbname: &str, flags: &[&str]) -> Run {
        let port = server().port().to_string();
        let database = ["--db.host", "127.0.0.1", "--db.port", &port, "--db.user", "postgres", "--db.dbname", dbname];
        self.party.join(&self.ticket, root, &[&database, flags].concat()).finish()
    }

    /// The lead's last words.
    fn end(self) -> String {
        self.publish.stop(Signal::SIGTERM).done().stderr
    }
}

const KEY: [&str; 2] = ["--key-file", "node.key"];

fn next(joined: &Value) -> Vec<String> {
    joined["next"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn exists(dbname: &str) -> bool {
    !server()
        .query("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{dbname}'"))
        .unwrap()
        .trim()
        .is_empty()
}

#[test]
fn the_old_database_ends_a_join_before_its_first_chunk() {
    let world = World::new(Family::V010, "preflight_old");
    world.join("root", "preflight_old", &KEY).failed(
        4,
        &[
            "nothing was fetched",
            "preflight_old",
            "already has a schema kwild_voting",
            "--db.dbname NAME",
            "--create-db",
        ],
    );
    // The old root says which one it is, even where nobody answers.
    world.party.write("old/config.toml", "[db]\ndbname = 'kwild'\nport = '1'\n");
    let flags = ["--from-root", "old", "--key-file", "node.key"];
    world
        .party
        .join(&world.ticket, "root", &flags)
        .finish()
        .failed(4, &["is the OLD node's database", "--db.dbname NAME"]);
    server().create_database("preflight_latin").unwrap();
    let text = "UPDATE pg_database SET encoding = 8 WHERE datname = 'preflight_latin'";
    server().query("postgres", text).unwrap();
    world.join("root", "preflight_latin", &KEY).failed(4, &["is encoded in LATIN1", "--db.dbname NAME"]);
    assert!(!world.party.path("root").exists());
    let said = world.end();
    assert!(!said.contains(": sent "), "a chunk went out: {said}");
}

#[test]
fn what_is_right_or_can_be_put_right_is_no_hindrance() {
    let world = World::new(Family::V010, "preflight_source");
    server().create_database("preflight_empty").unwrap();
    let joined = world.join("one", "preflight_empty", &[&KEY[..], &["--output", "json"]].concat()).result();
    assert_eq!(joined["database_ready"], true);
    assert!(next(&joined).last().unwrap().starts_with("kwild start -r "), "{joined}");
    let joined = world.join("two", "preflight_missing", &[&KEY[..], &["--output", "json"]].concat()).result();
    assert_eq!(joined["database_ready"], false);
    let lines = next(&joined);
    let createdb = &lines[lines.len() - 2];
    for part in
        ["createdb --host 127.0.0.1 ", "--owner postgres", "--template template0", "--encoding UTF8", "--lc-collate C"]
    {
        assert!(createdb.contains(part), "{part}: {createdb}");
    }
    assert!(createdb.ends_with(" -- preflight_missing") && !exists("preflight_missing"), "{createdb}");
    // Made as the old network's: the same order of text.
    let joined =
        world.join("three", "preflight_made", &[&KEY[..], &["--output", "json", "--create-db"]].concat()).result();
    assert!(joined["database_ready"] == true && exists("preflight_made"), "{joined}");
    // A server that does not answer may do so later.
    let flags = ["--db.port", "1", "--key-file", "node.key", "--output", "json"];
    let joined = world.party.join(&world.ticket, "four", &flags).finish().result();
    assert!(joined["database"].as_str().unwrap().contains("could not be looked at"), "{joined}");
    assert!(next(&joined).iter().any(|line| line.contains("exists and is empty; this makes it: createdb")), "{joined}");
    world.end();
}

#[test]
fn a_database_that_orders_text_otherwise_is_refused() {
    let world = World::new(Family::V010, "preflight_order");
    let icu = "CREATE DATABASE preflight_icu TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C'";
    server().query("postgres", icu).unwrap();
    world.join("root", "preflight_icu", &KEY).failed(
        4,
        &[
            "preflight_icu orders text by ICU de-AT",
            "(libc): ORDER BY gives other rows here",
            "name a new database with --db.dbname NAME; --create-db makes it",
        ],
    );
    assert!(!world.party.path("root").exists());
    world.end();
}

#[test]
fn a_key_that_does_not_vote_is_never_sent_on_to_kwild() {
    let world = World::new(Family::V010, "preflight_key");
    server().create_database("preflight_follower").unwrap();
    let joined = world.join("root", "preflight_follower", &["--new-key", "--output", "json"]).result();
    let lines = next(&joined);
    assert!(lines[0].contains("--key-file FILE") && lines[0].contains("--follow"), "{joined}");
    assert!(!lines.iter().any(|line| line.starts_with("kwild")), "{joined}");
    let joined = world.join("root", "preflight_follower", &["--follow", "--output", "json"]).result();
    assert!(joined["already_joined"] == true && next(&joined).last().unwrap().starts_with("kwild start"), "{joined}");
    // The database was filled by somebody else meanwhile: kwild would go on with that.
    server().query("preflight_follower", "CREATE SCHEMA kwild_voting").unwrap();
    let joined = world.join("root", "preflight_follower", &["--follow", "--output", "json"]).result();
    let lines = next(&joined);
    assert!(lines.iter().any(|line| line.contains("name a new database in [db] dbname")), "{joined}");
    assert!(!lines.iter().any(|line| line.starts_with("kwild")), "{joined}");
    world.end();
}

#[test]
fn a_check_fetches_and_makes_nothing() {
    let world = World::new(Family::V010, "preflight_check");
    server().create_database("preflight_checked").unwrap();
    let check = |dbname: &str, flags: &[&str]| {
        let run = world.join("root", dbname, &[flags, &["--check", "--output", "json"]].concat());
        let result =
            serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"))["result"].clone();
        (run.code, result["checks"].as_array().unwrap().clone())
    };
    let line = |checks: &[Value], code: &str| {
        let found =
            checks.iter().find(|check| check["code"] == code).unwrap_or_else(|| panic!("no {code} in {checks:?}"));
        (found["level"].as_str().unwrap().to_owned(), found["text"].as_str().unwrap().to_owned())
    };
    let (_, checks) = check("preflight_checked", &KEY);
    assert!(line(&checks, "node-key").1.contains("is a validator of the new genesis, with power 1 of 4"), "{checks:?}");
    assert_eq!(line(&checks, "database-content").0, "ok");
    assert_eq!(line(&checks, "collation").0, "ok");
    assert_eq!(line(&checks, "disk-root").0, "ok");
    let (code, checks) = check("preflight_check", &["--new-key"]);
    assert_eq!(code, 4);
    assert_eq!(checks[0]["code"], "database-state", "first what kwild would be silent about");
    assert_eq!(line(&checks, "node-key").0, "warning");
    let (code, checks) = check("preflight_absent", &KEY);
    assert_eq!((code, line(&checks, "database").0.as_str()), (4, "error"));
    let (_, checks) = check("preflight_absent", &[&KEY[..], &["--create-db"]].concat());
    assert_eq!(
        line(&checks, "database"),
        ("ok".into(), "the node's database is not there yet: the join makes it".into())
    );
    assert!(!exists("preflight_absent"));
    let left: Vec<String> =
        fs::read_dir(world.party.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| name == "node.key" || name == "state"), "{left:?}");
    let said = world.end();
    assert!(!said.contains(": sent "), "a chunk went out: {said}");
}
