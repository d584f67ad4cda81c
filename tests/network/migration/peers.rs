//! Whom a new node dials: from the manifest, from the old root, from flags, and from what the swarm's members say.

use kwil_formats::formats::{
    Family,
    config::{PeerSettings, peers_key},
    key::PrivateKey,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{Party, Process, Run, validator_key};

/// The recorded quartet's validators; of v0.10's number 3 had left.
fn quartet(family: Family) -> [usize; 4] {
    match family {
        Family::V09 => [0, 1, 2, 3],
        Family::V010 => [0, 1, 2, 4],
    }
}

fn id(family: Family, number: usize) -> String {
    let (key, _) = PrivateKey::parse_file(&std::fs::read(validator_key(family, number)).unwrap()).unwrap();
    key.public().node_id(family)
}

fn listen_flag(family: Family, port: u16) -> [String; 2] {
    match family {
        Family::V09 => ["--chain.p2p.listen-addr".to_owned(), format!("tcp://0.0.0.0:{port}")],
        Family::V010 => ["--p2p.listen".to_owned(), format!("0.0.0.0:{port}")],
    }
}

fn peers_flag(family: Family) -> String {
    format!("--{}", peers_key(family).replace('_', "-"))
}

/// Whom a root's config.toml makes its node dial, sorted.
fn dials(party: &Party, root: &str) -> Vec<String> {
    let text = String::from_utf8(party.read(&format!("{root}/config.toml"))).unwrap();
    let mut dials: Vec<String> = PeerSettings::parse(&text).unwrap().dials.iter().map(ToString::to_string).collect();
    dials.sort();
    dials
}

fn sorted<const N: usize>(mut peers: [String; N]) -> [String; N] {
    peers.sort();
    peers
}

/// A validator of the quartet that joins.
fn join(party: &Party, ticket: &str, family: Family, number: usize, flags: &[&str]) -> Process {
    party.take_key(family, number, "node.key");
    party.join(ticket, "root", &[&["--key-file", "node.key", "--output", "json"], flags].concat())
}

fn check_peers(party: &Party) -> (Run, Vec<Value>) {
    let run = party.run(&["setup", "check", "-r", "root", "--output", "json", "--connect-timeout", "100ms"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let all = json["result"]["checks"].as_array().unwrap().clone();
    (run, all.into_iter().filter(|check| check["code"] == "peers").collect())
}

/// Four joins at once, no peer flag: each config names the other three, where the swarm saw them.
fn four_know_each_other(family: Family) {
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let validators: Vec<(usize, Party)> = quartet(family).into_iter().map(|number| (number, Party::new())).collect();
    let address = |number: usize| format!("{}@127.0.0.1:{}", id(family, number), 30_000 + number);
    let joining: Vec<Process> = validators
        .iter()
        .map(|(number, party)| {
            let [flag, value] = listen_flag(family, 30_000 + *number as u16);
            join(party, &ticket, family, *number, &[&flag, &value, "--wait", "everyone"])
        })
        .collect();
    for ((number, party), process) in validators.iter().zip(joining) {
        let joined = process.finish().result();
        let others: Vec<usize> = quartet(family).into_iter().filter(|other| other != number).collect();
        let wanted = sorted([address(others[0]), address(others[1]), address(others[2])]);
        assert_eq!(dials(party, "root"), wanted, "of {number}");
        assert_eq!(
            (&joined["peers"]["others"], &joined["peers"]["without_address"]),
            (&3.into(), &Value::Array(vec![]))
        );
        let (_, peers) = check_peers(party);
        assert!(peers[0]["level"] == "note" && peers[0]["text"].as_str().unwrap().contains("3 of 3"), "{peers:?}");
        // Nothing else of the file changed, and a second look changes nothing.
        let before = party.read("root/config.toml");
        party.join(&ticket, "root", &["--wait", "quorum", "--timeout", "60s"]).finish().done();
        assert_eq!(party.read("root/config.toml"), before);
    }
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn four_v0_9_validators_that_join_know_each_other() {
    four_know_each_other(Family::V09);
}

#[test]
fn four_v0_10_validators_that_join_know_each_other() {
    four_know_each_other(Family::V010);
}

/// What the manifest, the old root, a flag and the swarm say comes together: each once, no stranger, never the node itself.
fn sources_come_together(family: Family) {
    let [me, lead_number, third, fourth] = quartet(family);
    let stranger = match family {
        Family::V09 => "00112233445566778899aabbccddeeff00112233".to_owned(),
        Family::V010 => "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5#secp256k1".to_owned(),
    };
    let at = |number: usize, place: &str| format!("{}@{place}", id(family, number));
    let strange = format!("{stranger}@10.9.9.9:1");
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    // An old root of the lead's: where it is, whom it dials, itself among them.
    lead.take_key(family, lead_number, if family == Family::V09 { "old/private_key" } else { "old/nodekey.json" });
    let listed = [at(third, "10.0.0.3:1"), at(lead_number, "10.0.0.77:1"), strange.clone()];
    lead.write(
        "old/config.toml",
        match family {
            Family::V09 => format!(
                "[app]\n[chain.p2p]\nexternal_address = 'tcp://lead.localhost:7000'\npersistent_peers = '{}'\n",
                listed.join(", ")
            ),
            Family::V010 => {
                format!("[p2p]\nexternal_address = 'localhost:7000'\nbootnodes = ['{}']\n", listed.join("', '"))
            }
        },
    );
    let more = at(me, "10.0.0.99:1");
    let publish = lead.swarm(&[
        "publish",
        "--dir",
        "snaps",
        "--key",
        "lead.key",
        "--from-root",
        "old",
        "--node-address",
        &more,
        "--node-address",
        &strange,
    ]);
    publish.wait_for_words("is no validator of the new genesis");
    let ticket = publish.ticket();
    let host = if family == Family::V09 { "lead.localhost" } else { "localhost" };
    let lead_at = at(lead_number, &format!("{host}:7000"));
    let shown = lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    let mut wanted =
        vec![lead_at.clone(), at(lead_number, "10.0.0.77:1"), at(third, "10.0.0.3:1"), more, strange.clone()];
    if family == Family::V010 {
        // The address of its own machine says less than the one that others can dial.
        wanted.retain(|address| *address != lead_at);
    }
    wanted.sort();
    assert_eq!(shown["node_addresses"], serde_json::to_value(&wanted).unwrap());

    let party = Party::new();
    party.write(
        "old/config.toml",
        match family {
            Family::V09 => format!("[app]\n[chain.p2p]\npersistent_peers = '{},{strange}'\n", at(fourth, "10.0.0.4:1")),
            Family::V010 => format!("[p2p]\nbootnodes = ['{}', '{strange}']\n", at(fourth, "10.0.0.4:1")),
        },
    );
    let flag = peers_flag(family);
    let given = at(third, "10.0.0.33:1");
    let database = if family == Family::V09 { "--app.pg-db-name" } else { "--db.dbname" };
    let flags = ["--from-root", "old", &flag, &given, "--node-address", "10.0.0.1:5", database, "new"];
    let joined = join(&party, &ticket, family, me, &flags).finish().result();
    let mut all =
        vec![given.clone(), at(fourth, "10.0.0.4:1"), at(lead_number, "10.0.0.77:1"), at(third, "10.0.0.3:1")];
    if family == Family::V09 {
        all.push(lead_at);
    }
    all.sort();
    assert_eq!(dials(&party, "root"), all);
    let told = joined["settings"].to_string();
    assert!(told.contains("which the new genesis does not have as validators"), "{told}");
    let (_, peers) = check_peers(&party);
    assert!(peers.iter().any(|peer| peer["text"].as_str().unwrap().contains("3 of 3")), "{peers:?}");

    // Asked for, strangers are taken; and the swarm has the first one's own word about itself.
    let other = Party::new();
    other.take_key(family, third, "node.key");
    let flags = ["--key-file", "node.key", "--all-peers", "--wait", "everyone", "--timeout", "1s"];
    let joined = other.join(&ticket, "root", &flags).finish();
    joined.failed(5, &["2 of 4 validators ready", "run the same command again"]);
    let dialled = dials(&other, "root");
    assert!(dialled.contains(&strange) && dialled.contains(&at(me, "10.0.0.1:5")), "{dialled:?}");
    // Whoever serves them tells them by the validators that they are.
    let served = publish.stop(Signal::SIGTERM).done();
    let key = PrivateKey::parse_file(&std::fs::read(validator_key(family, me)).unwrap()).unwrap().0.public();
    let named = format!("validator {} at 127.0.0.1:", key.to_string().get(..8).unwrap());
    assert!(served.stderr.contains(&named), "no {named:?} in {served:?}");
}

#[test]
fn v0_9_peers_come_from_the_manifest_the_old_root_a_flag_and_the_swarm() {
    sources_come_together(Family::V09);
}

#[test]
fn v0_10_peers_come_from_the_manifest_the_old_root_a_flag_and_the_swarm() {
    sources_come_together(Family::V010);
}

#[test]
fn a_root_that_would_stay_alone_is_no_ready_one() {
    for family in [Family::V09, Family::V010] {
        let lead = Party::new();
        lead.take_recording(family, "snaps");
        let publish = lead.publish("snaps");
        let party = Party::new();
        let joined = join(&party, &publish.ticket(), family, 1, &[]).finish().result();
        assert!(joined["next"][0].as_str().unwrap().contains("--wait quorum"), "{joined}");
        let (run, peers) = check_peers(&party);
        assert_eq!(run.code, 4);
        let text = peers[0]["text"].as_str().unwrap();
        assert!(
            peers[0]["level"] == "error" && text.contains("names nobody to dial") && text.contains(peers_key(family)),
            "{text}"
        );
        publish.stop(Signal::SIGTERM).done();
    }
}

#[test]
fn an_address_that_nobody_can_dial_is_refused_before_anybody_is_asked() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    for (address, words) in [
        ("10.0.0.1:6600", "before the @"),
        ("02ab@10.0.0.1:6600", "before the @"),
        (&format!("{}@0.0.0.0:6600", id(Family::V010, 0)), "nobody can be dialled"),
        (&format!("{}@a'b:6600", id(Family::V010, 0)), "behind the @"),
    ] {
        let run = lead.run(&[
            "manifest",
            "sign",
            "--snapdir",
            "snaps",
            "--key",
            "lead.key",
            "--state-dir",
            "state",
            "--node-address",
            address,
        ]);
        run.failed(2, &["is no node's address", words, "write it like"]);
    }
    let ticket = lead.publish("snaps").ticket();
    let party = Party::new();
    for place in ["host", "host:0", "0.0.0.0:6600", "[fe80::1]:6600", "a b:1"] {
        party.join(&ticket, "root", &["--new-key", "--node-address", place]).finish().failed(2, &["write it like"]);
    }
    assert!(!party.path("root").exists());
}
