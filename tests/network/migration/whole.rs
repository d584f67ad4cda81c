//! publish from a database, three joins at once, and a root that brings the next validator in.

use std::{fs, path::Path};

use kwil_formats::formats::{Family, genesis::Genesis};
use nix::sys::signal::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{Party, Process, data, mode, names, server, unzip};

/// A root's files and their bytes: what must be equal on every node.
fn files(root: &Path, port: &str) -> Vec<(String, Vec<u8>)> {
    let own = ["private_key", "nodekey.json", ".regenesis", "abci"];
    names(root)
        .into_iter()
        .filter(|name| !own.contains(&name.as_str()))
        .map(|name| {
            let bytes = fs::read(root.join(&name)).unwrap();
            if name != "config.toml" {
                return (name, bytes);
            }
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(port), "{text}");
            // Whom each one dials is its own; another test looks at that.
            let of_peers = |line: &&str| line.starts_with("persistent_peers = ") || line.starts_with("bootnodes = ");
            let text = text.lines().filter(|line| !of_peers(line)).collect::<Vec<_>>().join("\n");
            (name, text.replace(port, "PORT").into_bytes())
        })
        .collect()
}

fn check_modes(root: &Path, key: &str) {
    assert_eq!(mode(&root.join(key)), 0o600);
    assert_eq!(mode(&root.join(".regenesis")), 0o700);
    for name in names(&root.join(".regenesis")) {
        assert_eq!(mode(&root.join(".regenesis").join(&name)), 0o600, "{name}");
    }
    for name in ["config.toml", "genesis.json", "genesis-state.sql.gz", "manifest.regenesis"] {
        assert_eq!(mode(&root.join(name)) & 0o133, 0, "{name} is executable or writable by others");
    }
}

fn migrate(family: Family, world: &str, keys: [usize; 3], port_flag: &str, port_value: fn(usize) -> String) {
    let database = format!("whole_{}", world.replace(['.', '/'], "_"));
    server().load(&database, &fs::read(data(&format!("{world}/database.sql.gz"))).unwrap()).unwrap();
    let lead = Party::new();
    lead.take_key(family, 0, "lead.key");
    let old_genesis = data(&format!("{world}/genesis.original.json"));
    let publish = super::publish(&lead, &database, &old_genesis, &["--progress", "json"]);
    let ticket = publish.ticket();

    // Three at once, each with its own key and port.
    let validators = keys.map(|_| Party::new());
    let joining: Vec<Process> = validators
        .iter()
        .enumerate()
        .map(|(i, party)| {
            party.take_key(family, keys[i], "node.key");
            let port = server().port().to_string();
            let old =
                ["--old-dbname", &database, "--old-host", "127.0.0.1", "--old-port", &port, "--old-user", "postgres"];
            let flags = ["--key-file", "node.key", port_flag, &port_value(i), "--output", "json"];
            party.join(&ticket, "root", &[&flags[..], &old].concat())
        })
        .collect();
    let joined: Vec<Value> = joining.into_iter().map(|p| p.finish().result()).collect();

    let genesis_bytes = lead.read("snaps/genesis.json");
    let genesis = Genesis::parse(&genesis_bytes).unwrap();
    let state_hash = genesis.state_hash().unwrap();
    let key_name = if family == Family::V09 { "private_key" } else { "nodekey.json" };
    let shown = lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    let reference = files(&validators[0].path("root"), &port_value(0));
    for (i, (party, joined)) in validators.iter().zip(&joined).enumerate() {
        let root = party.path("root");
        assert_eq!(names(&party.path("")).iter().filter(|n| n.contains("regenesis-part")).count(), 0);
        assert!(files(&root, &port_value(i)) == reference, "root {i} differs");
        assert_eq!(fs::read(root.join("genesis.json")).unwrap(), genesis_bytes);
        let snapshot = root.join("genesis-state.sql.gz");
        assert_eq!(Sha256::digest(unzip(&snapshot))[..], state_hash.as_bytes()[..]);
        // What `b3sum` prints is what the manifest says.
        let b3sum = |name: &str| blake3::hash(&fs::read(root.join(name)).unwrap()).to_hex().to_string();
        assert_eq!(shown["artifacts"][0]["root"], b3sum("genesis.json"));
        assert_eq!(shown["artifacts"][1]["root"], b3sum("genesis-state.sql.gz"));
        check_modes(&root, key_name);
        assert_eq!(joined["state_hash"], state_hash.to_string());
        assert_eq!(joined["family"], family.to_string());
        assert_eq!(joined["already_joined"], false);
        assert!(joined["power"].as_i64().unwrap() > 0, "{joined}");
        assert!(joined["received_bytes"].as_u64() >= joined["bytes"].as_u64(), "{joined}");
    }
    let ids: std::collections::BTreeSet<&str> = joined.iter().map(|j| j["node_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);

    // On its own finished root: check, serve, exit 0; nothing is fetched.
    let before = files(&validators[0].path("root"), &port_value(0));
    let again = validators[0].join(&ticket, "root", &["--output", "json"]).finish().result();
    assert_eq!((&again["already_joined"], &again["received_bytes"]), (&true.into(), &0.into()), "{again}");
    assert!(files(&validators[0].path("root"), &port_value(0)) == before);

    // The lead stops, cleanly, and has said the ticket and nothing else on stdout.
    let published = publish.stop(Signal::SIGTERM).done();
    assert_eq!(published.stdout, format!("{ticket}\n"));
    assert!(published.stderr.contains(": sent ") && published.stderr.contains("received"), "{}", published.stderr);

    // A root serves as well: the next one comes in although the lead is gone.
    let seed = validators[1].seed("root");
    let ticket = seed.ticket();
    let late = Party::new();
    let fetched = late.fetch(&ticket, "files").finish().done();
    assert!(fetched.stdout.contains("from 1 peer"), "{}", fetched.stdout);
    let follower = Party::new();
    let joined = follower.join(&ticket, "root", &["--new-key", "--output", "json"]).finish().result();
    assert_eq!(joined["power"], Value::Null, "a new key is no validator: {joined}");
    assert_eq!(follower.read("root/genesis.json"), genesis_bytes);
    let snapshot = format!("files/{}", family.snapshot_file_name());
    assert!(follower.read("root/genesis-state.sql.gz") == late.read(&snapshot));
    assert_eq!(seed.stop(Signal::SIGINT).done().stdout, format!("{ticket}\n"));
}

#[test]
fn a_v0_9_quartet_moves_from_its_database_to_new_roots() {
    migrate(Family::V09, "v0.9/worlds/quartet", [1, 2, 3], "--chain.p2p.listen-addr", |i| {
        format!("tcp://0.0.0.0:2700{i}")
    });
}

#[test]
fn a_v0_10_quartet_moves_from_its_database_to_new_roots() {
    // Number 3 had left the network before the snapshot.
    migrate(Family::V010, "v0.10/worlds/quartet", [1, 2, 4], "--p2p.listen", |i| format!("0.0.0.0:661{i}"));
}
