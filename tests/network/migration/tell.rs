//! After the start: what a validator finds in its new node's database is signed and told to the others.

use std::fs;

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;

use crate::common::{GuardedRecording, Party, data, server};

/// What real kwild made of the recorded snapshot, as the one validator of an edited genesis.
const PLACE: &str = "v0.10/restart/quartet-alone";

#[test]
fn what_a_started_node_holds_is_told_to_the_swarm() {
    let lead = Party::new();
    lead.take_key(Family::V010, 0, "lead.key");
    let recording = GuardedRecording::of(Family::V010, "v0.10/worlds/quartet/kwild-snapshot");
    let genesis = fs::read_to_string(data(PLACE).join("genesis.json")).unwrap();
    lead.write("snaps/genesis.json", recording.renew(&genesis));
    lead.write("snaps/snapshot.sql.gz", &recording.file);
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();

    let validator = Party::new();
    validator.take_key(Family::V010, 0, "node.key");
    let (database, port) = ("tell_new", server().port().to_string());
    server().query("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")).unwrap();
    let settings = ["--db.user", "postgres", "--db.port", &port, "--db.dbname", database];
    let join = validator.join_and_stay(&ticket, "root", &[&["--key-file", "node.key"], &settings[..]].concat());
    join.wait_for_words("others reach this node at");
    // kwild starts: this is what it leaves.
    server().query("postgres", &format!("DROP DATABASE {database}")).unwrap();
    server().load(database, &fs::read(data(PLACE).join("database.sql.gz")).unwrap()).unwrap();

    let confirm = ["setup", "confirm", "--root-dir", "root", "--state-dir", "state"];
    let found = validator.run(&confirm).done();
    assert!(found.stderr.contains("the process that serves this root tells the others"), "{found:?}");
    publish.wait_for_words("confirmed: the started node of ");
    let change = |by: &str| {
        let sql = format!("UPDATE ledger.accts SET amount = amount {by} WHERE id = (SELECT min(id) FROM ledger.accts)");
        server().query(database, &sql).unwrap();
    };
    change("+ 1");
    let found = validator.run(&confirm);
    assert!(found.code == 3 && found.stderr.contains("ledger.accts"), "{found:?}");
    publish.wait_for_words("does NOT hold what was signed: ledger.accts");
    let status = lead.run(&["status", "--dir", "snaps"]).done();
    assert!(status.stdout.contains("ALARM") && status.stdout.contains("0 of 1 validator"), "{}", status.stdout);
    // Nothing is said where that is not wanted.
    change("- 1");
    let silent = validator.run(&[&confirm[..], &["--no-tell"]].concat()).done();
    assert!(!silent.stderr.contains("signed"), "{silent:?}");
    // The process that served the root has ended: the finding goes there by itself.
    join.stop(Signal::SIGTERM).done();
    let found = validator.run(&confirm).done();
    assert!(found.stderr.contains("signed, and told to the swarm"), "{found:?}");
    let status = lead.run(&["status", "--dir", "snaps", "--output", "json"]).result();
    assert_eq!(status["readiness"]["ready"], 1, "{status}");
    let log = publish.stop(Signal::SIGTERM).done().stderr;
    assert_eq!(log.matches("confirmed: the started node of ").count(), 2, "{log}");
    // Nobody is there, and it is kept.
    let found = validator.run(&confirm).done();
    assert!(found.stderr.contains("nobody of the swarm is there"), "{found:?}");
}
