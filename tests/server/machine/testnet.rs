//! `setup testnet` beside the recordings of Kwil's own commands, and as a rehearsal of a migration.

use std::{collections::BTreeMap, fs};

use kwil_formats::formats::{
    Family,
    genesis::{
        Genesis,
        fresh::{Fresh, V010_CHAIN_ID},
    },
};
use serde_json::Value;

use crate::common::{Party, data, mode, names, server, unzip};

fn recorded(fork: &str) -> Value {
    serde_json::from_slice(&fs::read(data(&format!("{fork}/setup-other/cases.json"))).unwrap()).unwrap()
}

/// `section.key = value`, quotes of either kind alike; comments and blank lines left out.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines().map(|line| line.trim().replace('"', "'")) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            found.insert(format!("{section}{key}"), value.to_owned());
        }
    }
    found
}

/// Node ids in a list of peers.
fn without_ids(value: &str) -> String {
    let mut text = value.to_owned();
    while let Some(at) = text.find("#secp256k1@") {
        let begin = text[..at].rfind(|c: char| !c.is_ascii_hexdigit()).map_or(0, |n| n + 1);
        text.replace_range(begin..at + "#secp256k1@".len(), "ID-");
    }
    text
}

#[test]
fn v010_makes_what_kwils_own_commands_made() {
    for fork in ["v0.10", "truf"] {
        let cases = recorded(fork);
        for case in ["testnet_default", "testnet_4_unique", "testnet_with_gas", "testnet_hostnames"] {
            let recorded = &cases[case];
            // As typed, but for the directory.
            let mut args: Vec<&str> =
                recorded["args"].as_array().unwrap()[3..].iter().map(|arg| arg.as_str().unwrap()).collect();
            if let Some(at) = args.iter().position(|arg| *arg == "-o") {
                args.drain(at..at + 2);
            }
            let party = Party::new();
            let run = party.run(&[&["setup", "testnet", "--out-dir", "net"], &args[..]].concat()).done();
            assert!(run.stdout.starts_with("Generated testnet configuration in "), "{run:?}");
            // The listing, and its modes.
            if let Some(tree) = recorded["tree"].as_array() {
                for entry in tree.iter().map(|entry| entry.as_str().unwrap()) {
                    let mut parts = entry.splitn(4, ' ');
                    let (kind, bits) = (parts.next().unwrap(), parts.next().unwrap());
                    let path = party.path("net").join(parts.nth(1).unwrap());
                    assert_eq!(fs::metadata(&path).unwrap().is_dir(), kind == "d", "{path:?}");
                    assert_eq!(mode(&path), u32::from_str_radix(bits, 8).unwrap(), "{path:?}");
                }
            }
            // The genesis, the same everywhere.
            let genesis = party.read("net/node0/genesis.json");
            let theirs: Value = serde_json::from_str(recorded["genesis"].as_str().unwrap()).unwrap();
            let mut ours: Value = serde_json::from_slice(&genesis).unwrap();
            assert_eq!(ours["validators"].as_array().unwrap().len(), theirs["validators"].as_array().unwrap().len());
            assert_eq!(ours["leader"]["key"], ours["validators"][0]["pubkey"]);
            let given_owner = args.contains(&"--db-owner");
            assert!(given_owner || ours["db_owner"].as_str().unwrap().starts_with("0x"));
            for key in ["validators", "leader"].iter().chain(if given_owner { &[][..] } else { &["db_owner"] }) {
                ours[*key] = theirs[*key].clone();
            }
            assert_eq!(ours, theirs, "{fork} {case}");
            assert_eq!(
                ours.as_object().unwrap().keys().collect::<Vec<_>>(),
                theirs.as_object().unwrap().keys().collect::<Vec<_>>()
            );
            // Each node's configuration; what differs is stated in the help: ports and a database of their own.
            for (node, text) in recorded["config"].as_object().unwrap() {
                assert_eq!(party.read(&format!("net/{node}/genesis.json")), genesis);
                let text: String = text.as_str().unwrap().to_owned();
                let (mut theirs, mut ours) = (
                    settings(&text),
                    settings(&String::from_utf8(party.read(&format!("net/{node}/config.toml"))).unwrap()),
                );
                let hosts = args.contains(&"-H");
                if !hosts && !args.contains(&"-u") {
                    assert_eq!(ours.remove("db.dbname").unwrap(), format!("'kwild{}'", &node[4..]));
                    theirs.remove("db.dbname").unwrap();
                }
                if !hosts && !args.contains(&"-u") {
                    for key in ["p2p.listen", "rpc.listen", "admin.listen", "p2p.bootnodes"] {
                        theirs.remove(key).unwrap();
                        ours.remove(key).unwrap();
                    }
                }
                for map in [&mut theirs, &mut ours] {
                    if let Some(list) = map.get_mut("p2p.bootnodes") {
                        *list = without_ids(list);
                    }
                }
                // TRUF's own keys have defaults in its kwild.
                theirs.retain(|key, _| fork != "truf" || ours.contains_key(key));
                assert_eq!(ours, theirs, "{fork} {case} {node}");
            }
        }
    }
}

#[test]
fn v09_makes_what_kwils_own_command_made() {
    let party = Party::new();
    let run = party
        .run(&[
            "setup",
            "testnet",
            "--family",
            "v0.9",
            "-v",
            "4",
            "--gas",
            "-i",
            "700ms",
            "-o",
            "net",
            "--chain-id",
            "k9-quartet-1",
        ])
        .done();
    assert!(run.stdout.starts_with("Successfully initialized 4 node directories: "), "{run:?}");
    assert_eq!(names(&party.path("net")), ["node0", "node1", "node2", "node3"]);
    for node in ["node0", "node1", "node2", "node3"] {
        assert_eq!(names(&party.path(&format!("net/{node}"))), ["abci", "config.toml", "genesis.json", "private_key"]);
        assert_eq!(names(&party.path(&format!("net/{node}/abci"))), ["data"]);
        // Kwil leaves 644, for everybody to read.
        assert_eq!(mode(&party.path(&format!("net/{node}/private_key"))), 0o600);
        let ours = settings(&String::from_utf8(party.read(&format!("net/{node}/config.toml"))).unwrap());
        assert_eq!(ours["chain.consensus.timeout_commit"], "'700ms'");
        assert_eq!(ours["app.pg_db_name"], format!("'kwild{}'", &node[4..]));
    }
    // The bytes of the genesis follow from keys, name and time.
    let bytes = party.read("net/node0/genesis.json");
    assert_eq!(party.read("net/node3/genesis.json"), bytes);
    let Genesis::V09(read) = Genesis::parse(&bytes).unwrap() else { panic!() };
    let mut fresh = Fresh::new(Family::V09, "k9-quartet-1", &read.genesis_time);
    for validator in Genesis::parse(&bytes).unwrap().validators().unwrap() {
        fresh.validator(validator.key);
    }
    fresh.fund_validators();
    assert_eq!(String::from_utf8(fresh.build().unwrap().to_bytes()).unwrap(), String::from_utf8(bytes).unwrap());
}

#[test]
fn a_rehearsal_begins_with_the_networks_state() {
    for family in [Family::V09, Family::V010] {
        let party = Party::new();
        party.take_recording(family, "files");
        let snapshot = format!("files/{}", family.snapshot_file_name());
        let run = party.run(&[
            "setup",
            "testnet",
            "-v",
            "2",
            "-n",
            "1",
            "-o",
            "net",
            "-g",
            "files/genesis.json",
            "-s",
            &snapshot,
            "--output",
            "json",
        ]);
        let result = run.result();
        let old = Genesis::parse(&party.read("files/genesis.json")).unwrap();
        assert_eq!(result["chain_id"], format!("{}-testnet", old.chain_id()));
        assert_eq!(result["state_hash"], old.state_hash().unwrap().to_string());
        assert_eq!(result["rehearsal"], true);
        let votes: Vec<bool> =
            result["nodes"].as_array().unwrap().iter().map(|node| node["validator"].as_bool().unwrap()).collect();
        assert_eq!(votes, [true, true, false]);
        for node in ["node0", "node1", "node2"] {
            assert_eq!(party.read(&format!("net/{node}/genesis-state.sql.gz")), party.read(&snapshot));
            let config = settings(&String::from_utf8(party.read(&format!("net/{node}/config.toml"))).unwrap());
            let key = if family == Family::V09 { "app.genesis_state" } else { "genesis_state" };
            assert_eq!(config[key], "'genesis-state.sql.gz'", "relative, so that the network can be moved");
            let check = party.run(&["setup", "check", "-r", &format!("net/{node}"), "--port", "1", "--output", "json"]);
            let json: Value = serde_json::from_str(&check.stdout).unwrap();
            let codes: Vec<&str> =
                json["result"]["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
            for good in ["root", "config", "genesis", "state-hash", "snapshot-file", "key-mode"] {
                assert!(!codes.contains(&good), "{good}: {}", check.stdout);
            }
        }
        let left: Vec<String> =
            names(&party.path(".")).into_iter().filter(|name| name.contains("regenesis-part")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_missing_database_is_offered_as_the_old_networks_is_and_one_with_a_state_is_never_started_on() {
    let (server, old) = (server(), "testnet_old");
    let icu = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C'";
    server.query("postgres", &format!("CREATE DATABASE {old} {icu}")).unwrap();
    let text = String::from_utf8(unzip(&data("v0.10/worlds/quartet/database.sql.gz"))).unwrap();
    server.query(old, &text).unwrap();
    let (party, port) = (Party::new(), server.port().to_string());
    let reach = ["--host", "127.0.0.1", "--port", &port, "--user", "postgres", "--dbname", old];
    party.run(&[&["snapshot", "create", "--chain-id", "next", "--snapdir", "snaps"], &reach[..]].concat()).done();
    let database = ["--db.port", &port, "--db.user", "postgres", "--database-prefix", "testnet_new"];
    let testnet = |place: &str, output: &str| {
        let from = ["-g", "snaps/genesis.json", "-s", "snaps/snapshot.sql.gz", "-v", "1", "-o", place];
        party.run(&[&["setup", "testnet", "--output", output], &from[..], &database].concat())
    };
    let node = |place: &str| testnet(place, "json").result()["nodes"][0].clone();
    let ordered =
        |createdb: &str| createdb.contains("--locale-provider icu --icu-locale de-AT --lc-collate C --lc-ctype C");

    // Nothing was signed yet: how the old database orders text was kept when the snapshot was made.
    let first = node("first");
    let createdb = first["create"].as_str().unwrap();
    assert!(createdb.starts_with("createdb --host 127.0.0.1 ") && ordered(createdb), "{first}");
    assert!(createdb.ends_with(
        " --encoding UTF8 --locale-provider icu --icu-locale de-AT --lc-collate C --lc-ctype C -- testnet_new0"
    ));
    // Elsewhere the manifest tells.
    party.take_key(Family::V010, 0, "lead.key");
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "state"]).done();
    fs::remove_dir_all(party.path(".local")).unwrap();
    let told = testnet("second", "text").done().stdout;
    assert!(told.contains("does not exist yet") && told.contains(&format!("\n  {createdb}\n")), "{told}");
    assert!(told.contains("regenesis setup check -r ") && told.contains("\n  kwild start -r "), "{told}");

    // As printed, by a shell.
    let made = std::process::Command::new("sh").args(["-c", createdb]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let query = "SELECT daticulocale, datcollate, encoding = 6 FROM pg_database WHERE datname = 'testnet_new0'";
    assert_eq!(server.query("postgres", query).unwrap().trim(), "de-AT|C|t");
    let third = node("third");
    assert!(third["create"].is_null() && third["database"].as_str().unwrap().contains("is there and empty"), "{third}");

    server.query("testnet_new0", "CREATE SCHEMA kwild_voting").unwrap();
    let run = testnet("fourth", "text").done();
    assert!(run.stderr.contains("ALREADY HOLDS a node's state"), "{run:?}");
    assert!(run.stdout.contains("name a new database in [db] dbname"), "{run:?}");
    assert!(!run.stdout.contains("kwild start") && !run.stdout.contains("createdb"), "{run:?}");

    // A manifest of another state is not asked how this one's database orders text.
    party.take_recording(Family::V010, "snaps2");
    let other = ["setup", "testnet", "-g", "snaps2/genesis.json", "--manifest", "snaps", "-o", "fifth"];
    party.run(&other).failed(4, &["signed for another state"]);
    assert!(!party.path("fifth").exists());
}

#[test]
fn all_roots_or_none() {
    let party = Party::new();
    party.take_recording(Family::V010, "files");
    party.write("bad.sql.gz", "not the snapshot");
    let net = ["setup", "testnet", "-o", "net", "-g", "files/genesis.json"];
    party.run(&[&net[..], &["-s", "bad.sql.gz"]].concat()).failed(3, &[]);
    party.run(&net).failed(4, &["none is given"]);
    assert_eq!(names(&party.path(".")).iter().filter(|name| name.contains("net")).count(), 0);
    // What is there is never touched.
    party.write("net/mine", "x");
    party.run(&["setup", "testnet", "-o", "net"]).failed(4, &["not empty"]);
    assert_eq!(names(&party.path("net")), ["mine"]);
    party.write("file", "x");
    party.run(&["setup", "testnet", "-o", "file"]).failed(4, &["no directory"]);
    // What a killed run left is cleared.
    party.write(".fresh.regenesis-part/node0/nodekey.json", "half");
    party.run(&["setup", "testnet", "-o", "fresh", "-v", "1"]).done();
    assert_eq!(names(&party.path("fresh")), ["node0"]);
    assert_eq!(Genesis::parse(&party.read("fresh/node0/genesis.json")).unwrap().chain_id(), V010_CHAIN_ID);
}

#[test]
fn flags_that_cannot_be() {
    let party = Party::new();
    party.take_recording(Family::V09, "files");
    for (args, words) in [
        (&["-v", "0"][..], "at least one validator"),
        (&["-v", "9999"], "9999 nodes"),
        (&["-H", "a", "-v", "2"], "there are more nodes than host names, which are 1"),
        (&["--db.dbname", "x"], "db.dbname is each node's own"),
        (&["-u", "--db.port", "1"], "db.port is each node's own"),
        (&["-i", "1s"], "--block-interval is no flag of v0.10"),
        (&["--family", "v0.9", "--unique-ports"], "--unique-ports is no flag of v0.9"),
        (&["-g", "files/genesis.json", "--gas"], "--gas changes nothing beside --genesis"),
        (&["--join-expiry", "100800"], "join_expiry"),
        (&["--alloc", "nonsense"], "--alloc"),
        (&["-p", "65535"], "65536 does not exist"),
        (&["--family", "v0.9", "-p", "26660", "-v", "4"], "port 26658"),
    ] {
        let run = party.run(&[&["setup", "testnet", "-o", "net"], args].concat());
        assert!(run.code == 2 || run.code == 3 || run.code == 4, "{args:?}: {run:?}");
        assert!(run.stderr.contains(words), "{args:?}: {run:?}");
        assert!(!party.path("net").exists(), "{args:?}");
    }
    party.run(&["setup", "testnet", "-o", "net", "--family", "v0.10", "-g", "files/genesis.json"]).failed(4, &["v0.9"]);
}
