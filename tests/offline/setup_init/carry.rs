//! An old node's settings in the new root, as an operator asks for them; and flags, spelt as both families do.

use std::fs;

use kwil_formats::formats::Family;
use serde_json::Value;

use crate::common::{Party, data, mode};

/// A party with a recorded snapshot, its genesis and a validator's key.
fn party(family: Family) -> Party {
    let party = Party::new();
    party.take_recording(family, "snaps");
    party.take_key(family, 1, "key");
    party
}

fn args<'a>(root: &'a str, snapshot: &'a str) -> Vec<&'a str> {
    vec!["setup", "init", "-r", root, "-g", "snaps/genesis.json", "-s", snapshot, "-k", "key"]
}

fn config(party: &Party, root: &str) -> String {
    String::from_utf8(party.read(&format!("{root}/config.toml"))).unwrap()
}

fn fate<'a>(made: &'a Value, key: &str) -> (&'a str, &'a Value) {
    let settings = made["settings"].as_array().unwrap();
    let one = settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key}: {made}"));
    (one["fate"].as_str().unwrap(), &one["why"])
}

#[test]
fn settings_of_the_same_family_are_carried_over() {
    let party = party(Family::V010);
    let snapshot = "snaps/snapshot.sql.gz";
    let old = fs::read_to_string(data("v0.10/restart/solo/config.kv.txt")).unwrap();
    party.write("old/config.toml", format!("{old}\n[unheard]\nof = 1\n"));
    let more = ["--from-root", "old", "--db.port", "6000", "--output", "json"];
    let run = party.run(&[&args("new", snapshot)[..], &more].concat());
    let made = run.result();
    assert_eq!(fate(&made, "rpc.listen").0, "carried");
    assert_eq!(fate(&made, "db.port").0, "flag");
    assert_eq!(fate(&made, "genesis_state").0, "dropped");
    assert_eq!(fate(&made, "unheard.of").0, "dropped");
    assert_eq!(fate(&made, "p2p.pex").0, "default");
    assert!(fate(&made, "db.dbname").1.as_str().unwrap().contains("the OLD node's database"));
    let text = config(&party, "new");
    for line in ["listen = '127.0.0.1:18488'", "port = '6000'", "pass = 'kwild'", "dbname = 'k10_solo2'"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.starts_with("genesis_state = 'genesis-state.sql.gz'\n") && !text.contains("unheard"), "{text}");
    // Its password is there for the node alone, and is never shown.
    assert_eq!(mode(&party.path("new/config.toml")), 0o600);
    let pass = made["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "db.pass").unwrap();
    assert_eq!((&pass["fate"], &pass["value"]), (&"carried".into(), &Value::Null));
    // In words.
    let told = party.run(&[&args("again", snapshot)[..], &["--from-root=~/old"]].concat()).done().stdout;
    for words in [
        "Carried over from the old node:\n",
        "Not carried over:\n",
        "  unheard.of  (v0.10 has no such key",
        "Kwil's default, as before: ",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains("  db.pass\n"), "{told}");
}

#[test]
fn settings_of_the_other_family_are_listed_and_left() {
    for (family, other, key, value) in [
        (Family::V010, "v0.9/worlds/solo/restart/config.kv", "app.pg_db_port", "\"5519\""),
        (Family::V09, "v0.10/restart/solo/config.kv.txt", "db.port", "'5536'"),
    ] {
        let party = party(family);
        party.write("old/config.toml", fs::read(data(other)).unwrap());
        let snapshot = format!("snaps/{}", family.snapshot_file_name());
        let run = party.run(&[&args("new", &snapshot)[..], &["--from-root", "old", "--output", "json"]].concat());
        let made = run.result();
        assert_eq!(fate(&made, key).0, "by-hand");
        let setting = made["settings"].as_array().unwrap().iter().find(|s| s["key"] == key).unwrap();
        assert_eq!(setting["value"], value);
        assert!(!made.to_string().contains("carried"), "{made}");
        party.run(&args("plain", &snapshot)).done();
        assert_eq!(config(&party, "new"), config(&party, "plain"));
        let told = party.run(&[&args("words", &snapshot)[..], &["--from-root", "old"]].concat()).done().stdout;
        assert!(told.contains("The old node is of the other family; set by hand"), "{told}");
    }
}

#[test]
fn an_old_root_that_tells_nothing_is_refused_before_anything_is_made() {
    let party = party(Family::V010);
    party.write("toml/config.toml", "[db]\npass = 'hunter2\n");
    party.write("words/config.toml", "x = 1\n");
    party.write("large/config.toml", "#".repeat((1 << 20) + 1));
    party.write("bytes/config.toml", [0xff, 0xfe, 0x00]);
    for (root, code, words) in [
        ("none", 1, "cannot read the configuration none/config.toml"),
        ("toml", 3, "no valid TOML, line 2"),
        ("words", 3, "of neither family"),
        ("large", 3, "it is no configuration"),
        ("bytes", 1, "bytes/config.toml"),
    ] {
        let run = party.run(&[&args("new", "snaps/snapshot.sql.gz")[..], &["--from-root", root]].concat());
        run.failed(code, &[words]);
        assert!(!run.stderr.contains("hunter2"), "{run:?}");
        assert!(!party.path("new").exists());
    }
}

#[test]
fn flags_are_taken_as_they_are_meant() {
    // kwil-admin cannot set a value to nothing or false, and writes files that cannot be read.
    let party = party(Family::V09);
    let peers = "56475aa75463474c0285df5dbf2bcab73da65135@h:1,cf9641f826b052592f4488726fd0efef02266dba@h:2";
    let flags = [
        "--chain.p2p.pex=false",
        "--chain.moniker",
        "m",
        "--chain.p2p.persistent-peers",
        peers,
        "--app.pg-db-name",
        "we\"ird\\name",
    ];
    party.run(&[&args("r", "snaps/kwildb-snapshot.sql.gz")[..], &flags, &["-p", "-l", "debug"]].concat()).done();
    let text = config(&party, "r");
    for line in [
        "pex = false",
        "moniker = \"m\"",
        "pg_db_name = \"we\\\"ird\\\\name\"",
        "private_mode = true",
        "level = \"debug\"",
        &format!("persistent_peers = \"{peers}\""),
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Near misses are answered with the flag that was meant.
    let run = party.run(&[&args("x", "snaps/kwildb-snapshot.sql.gz")[..], &["--app.pg-db-nam", "x"]].concat());
    assert!(run.code == 2 && run.stderr.contains("'--app.pg-db-name'"), "{run:?}");
    let run =
        party.run(&[&args("x", "snaps/kwildb-snapshot.sql.gz")[..], &["--app.pg-db-pass", "hunter2"]].concat()).done();
    assert!(run.stderr.contains("a password on the command line"), "{run:?}");
    assert!(!run.stderr.contains("hunter2") && !run.stdout.contains("hunter2"), "{run:?}");
    assert_eq!(mode(&party.path("x/config.toml")), 0o600);
    party.run(&["setup", "init", "-r", "y", "--family", "v0.9", "--truf"]).failed(2, &["--truf is for v0.10"]);
    party.run(&["setup", "init", "-r", "y", "--app.pg-db-port", "1", "--leader", "x"]).failed(2, &["--leader"]);
    party.run(&["setup", "init", "-r", "y", "--validator", "x:1"]).failed(2, &["--validator"]);
    party.run(&["setup", "init", "-r", "y", "--join-expiry", "7"]).failed(2, &["--join-expiry", "168h"]);
    party
        .run(&["setup", "init", "-r", "y", "--app.pg-db-port", "1", "--join-expiry", "7h"])
        .failed(2, &["number of blocks"]);
    assert!(!party.path("y").exists());
    // The family of a new network: a flag's, or a key's.
    let made = party.run(&["setup", "init", "-r", "y", "--app.pg-db-port", "1", "--output", "json"]).result();
    assert_eq!(made["family"], "v0.9");
    let made = party.run(&["setup", "init", "-r", "z", "-k", "key", "--output", "json"]).result();
    assert_eq!((&made["family"], &made["new_genesis"]), (&"v0.9".into(), &true.into()));
}

#[test]
fn a_manifest_says_which_files_these_must_be() {
    for family in [Family::V09, Family::V010] {
        let party = party(family);
        party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "state"]).done();
        let snapshot = format!("snaps/{}", family.snapshot_file_name());
        let with = |root: &str, genesis: &str, snapshot: &str| {
            party.run(&["setup", "init", "-r", root, "-g", genesis, "-s", snapshot, "-k", "key", "--manifest", "snaps"])
        };
        let made = with("root", "snaps/genesis.json", &snapshot).done();
        assert!(made.stderr.contains("are those of manifest") && made.stderr.contains("--trust"), "{}", made.stderr);
        // The same text, packed anew: the state is right, the file is another.
        party.write("plain.sql", crate::common::unzip(&party.path(&snapshot)));
        with("from-plain", "snaps/genesis.json", "plain.sql").done();
        party
            .run(&["setup", "init", "-r", "repacked", "-g", "snaps/genesis.json", "-s", "plain.sql", "-k", "key"])
            .done();
        let repacked = "repacked/genesis-state.sql.gz";
        with("a", "snaps/genesis.json", repacked).failed(3, &["its file is not", "packed it anew"]);
        // Another genesis, valid in itself.
        let genesis = String::from_utf8(party.read("snaps/genesis.json")).unwrap();
        let id = genesis.split("\"chain_id\": \"").nth(1).unwrap().split('"').next().unwrap();
        party.write("other.json", genesis.replace(id, "other-chain"));
        with("b", "other.json", &snapshot).failed(3, &["genesis"]);
        let manifest = party.read("snaps/manifest.regenesis");
        for (bytes, words) in [(&manifest[..manifest.len() - 1], "manifest"), (b"words".as_slice(), "manifest")] {
            party.write("snaps/manifest.regenesis", bytes);
            with("c", "snaps/genesis.json", &snapshot).failed(3, &[words]);
        }
        fs::remove_file(party.path("snaps/manifest.regenesis")).unwrap();
        with("d", "snaps/genesis.json", &snapshot).failed(1, &["cannot read the manifest"]);
        let run = party.run(&["setup", "init", "-r", "e", "-k", "key", "--manifest", "snaps"]);
        assert!(run.code == 2 && run.stderr.contains("--genesis"), "{run:?}");
        for root in ["a", "b", "c", "d", "e"] {
            assert!(!party.path(root).exists(), "{root}");
        }
    }
}
