//! What stands where the root shall be, which key the node gets, and which database it will find.

use std::{fs, net::TcpListener};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use regenesis::swarm::Identity;

use crate::common::{Party, Process, change, data, mode};

/// A lead of that family's recorded quartet, serving.
fn serving(family: Family) -> (Party, Process, String) {
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    (lead, publish, ticket)
}

/// A ticket that leads nowhere: whatever is refused with it was refused before anybody was asked.
fn nowhere() -> String {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    publish.ticket()
}

#[test]
fn a_place_or_key_that_cannot_be_used_is_said_before_anybody_is_asked() {
    let ticket = nowhere();
    let party = Party::new();
    let refused = |root: &str, flags: &[&str], code: i32, words: &[&str]| {
        party.join(&ticket, root, flags).finish().failed(code, words);
    };
    refused("root", &[], 2, &["no node key is given", "--key-file", "--new-key"]);
    refused("root", &["--key-file", "missing"], 1, &["cannot read the key file missing", "check the path"]);
    fs::create_dir(party.path("directory")).unwrap();
    refused("root", &["--key-file", "directory"], 1, &["directory"]);
    party.write("words", "no key at all");
    refused("root", &["--key-file", "words"], 3, &["words holds no key"]);
    refused("words", &["--new-key"], 4, &["exists and is no directory"]);
    party.write("old/config.toml", "x = 1\n");
    refused("old", &["--new-key"], 4, &["already holds \"config.toml\"", "never overwritten"]);
    assert_eq!(party.read("old/config.toml"), b"x = 1\n");
    assert!(!party.path("root").exists());
}

#[test]
fn a_key_or_flag_of_the_other_family_is_refused_before_a_chunk_is_fetched() {
    let (_lead, publish, ticket) = serving(Family::V010);
    let party = Party::new();
    party.take_key(Family::V09, 1, "old.key");
    party.take_key(Family::V09, 1, "rooted/private_key");
    party.take_key(Family::V010, 1, "full/nodekey.json");
    party.take_key(Family::V010, 2, "other.json");
    let refused = |root: &str, flags: &[&str], code: i32, words: &[&str]| {
        party.join(&ticket, root, flags).finish().failed(code, words);
    };
    refused("root", &["--key-file", "old.key"], 4, &["old.key is a key file of v0.9, but the genesis is of v0.10"]);
    refused("rooted", &[], 4, &["private_key is a key of v0.9"]);
    refused("full", &["--key-file", "other.json"], 4, &["already holds another key"]);
    refused("full", &["--new-key"], 4, &["already holds a key"]);
    refused("root", &["--new-key", "--app.pg-db-name", "x"], 2, &["--app.pg-db-name is no flag of v0.10"]);
    refused("root", &["--new-key", "--db.port", "many"], 2, &["db.port: many is not a port number"]);
    refused("root", &["--new-key", "--p2p.pex=perhaps"], 2, &["p2p.pex: perhaps is not true or false"]);
    assert!(!party.path("root").exists());
    let published = publish.stop(Signal::SIGTERM).done();
    assert!(!published.stderr.contains(": sent "), "a chunk went out: {}", published.stderr);

    let (_lead, _publish, ticket) = serving(Family::V09);
    party.join(&ticket, "root", &["--key-file", "other.json"]).finish().failed(4, &["v0.9", "v0.10"]);
    party
        .join(&ticket, "root", &["--new-key", "--db.dbname", "x"])
        .finish()
        .failed(2, &["--db.dbname is no flag of v0.9"]);
}

#[test]
fn a_root_that_holds_only_the_key_keeps_it_and_serves_afterwards() {
    let (_lead, publish, ticket) = serving(Family::V010);
    let party = Party::new();
    party.take_key(Family::V010, 1, "root/nodekey.json");
    let key = party.read("root/nodekey.json");
    let joined = party.join(&ticket, "root", &["--output", "json"]).finish().result();
    assert_eq!(joined["power"], 1);
    assert_eq!(party.read("root/nodekey.json"), key);
    assert_eq!(mode(&party.path("root/nodekey.json")), 0o600);
    assert!(party.path("root/genesis-state.sql.gz").exists());
    // With a ticket of another manifest the finished root stays what it is.
    let (_other, _serving, other) = serving(Family::V09);
    party.join(&other, "root", &[]).finish().failed(4, &["was set up from another manifest"]);
    publish.stop(Signal::SIGTERM).done();
    let seed = party.seed("root");
    let next = Party::new();
    next.join(&seed.ticket(), "root", &["--new-key"]).finish().done();
    assert_eq!(mode(&next.path("root/nodekey.json")), 0o600);
    // A finished root whose files were changed is neither served nor called finished.
    drop(seed);
    let genesis = String::from_utf8(next.read("root/genesis.json")).unwrap();
    next.write("root/genesis.json", genesis.replace("kwil-testnet", "kwil-tastnet"));
    next.join(&ticket, "root", &[]).finish().failed(3, &["genesis.json is not the file that was signed"]);
}

#[test]
fn an_old_nodes_settings_are_carried_over() {
    let (_lead, _publish, ticket) = serving(Family::V010);
    let party = Party::new();
    party.write("old/config.toml", fs::read(data("v0.10/restart/solo/config.kv.txt")).unwrap());
    party.join(&ticket, "root", &["--new-key", "--from-root", "none"]).finish().failed(1, &["none/config.toml"]);
    let flags = ["--new-key", "--from-root", "old", "--db.dbname", "new", "--output", "json"];
    let joined = party.join(&ticket, "root", &flags).finish().result();
    let settings = joined["settings"].as_array().unwrap();
    let fate = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap()["fate"].clone();
    assert_eq!((fate("rpc.listen"), fate("db.dbname")), ("carried".into(), "flag".into()));
    let config = String::from_utf8(party.read("root/config.toml")).unwrap();
    assert!(config.contains("dbname = 'new'") && config.contains("listen = '127.0.0.1:18488'"), "{config}");
    assert!(config.contains("genesis_state = 'genesis-state.sql.gz'"), "{config}");
}

#[test]
fn other_flags_on_a_finished_root_are_told_and_written_when_asked() {
    let (_lead, _publish, ticket) = serving(Family::V010);
    let party = Party::new();
    // What a killed join of another root left is named, and stays.
    fs::create_dir(party.path(".older.regenesis-part")).unwrap();
    let run = party.join(&ticket, "root", &["--new-key", "--db.dbname", "first"]).finish().done();
    assert!(run.stderr.contains(".older.regenesis-part") && run.stderr.contains("regenesis clean"), "{}", run.stderr);
    let before = party.read("root/config.toml");
    party.join(&ticket, "root", &["--db.dbname", "first"]).finish().done();
    let other = ["--db.dbname", "second", "--db.pass", "hunter2"];
    let run = party.join(&ticket, "root", &other).finish();
    run.failed(4, &["db.dbname: 'first' there, second by flag", "db.pass: another secret", "--reconfigure"]);
    assert!(!run.stderr.contains("hunter2") && party.read("root/config.toml") == before);
    party.join(&ticket, "root", &[&other[..], &["--reconfigure"]].concat()).finish().done();
    let config = String::from_utf8(party.read("root/config.toml")).unwrap();
    assert!(config.contains("dbname = 'second'") && config.contains("pass = 'hunter2'"), "{config}");
    party.join(&ticket, "root", &other).finish().done();
    let cleaned = party.run(&["clean", "--output", "json"]).result();
    assert!(cleaned["left"][0]["path"].as_str().unwrap().ends_with(".older.regenesis-part"), "{cleaned}");
    party.run(&["clean", "--yes"]).done();
    assert!(!party.path(".older.regenesis-part").exists() && party.path("root/genesis.json").exists());
}

#[test]
fn a_public_swarm_stays_public_on_the_finished_root() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--public"]);
    let ticket = publish.ticket();
    assert!(ticket.parse::<regenesis::manifest::Ticket>().unwrap().secret.is_none());
    let party = Party::new();
    party.join(&ticket, "root", &["--new-key"]).finish().done();
    publish.stop(Signal::SIGTERM).done();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let again = party.spawn(&["join", &ticket, "--root-dir", "root", "--linger", "1h", "--listen", &listen]);
    again.wait_for_words("serving others");
    let identity = Identity::from_bytes(&party.read("root/.regenesis/identity")).unwrap();
    let address = format!("{listen}/p2p/{}", identity.peer_id());
    let next = Party::new();
    next.fetch(&change(&ticket, |t| t.addresses = vec![address]), "files").finish().done();
    again.stop(Signal::SIGTERM).done();
}
