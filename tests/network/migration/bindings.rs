//! Access by membership: nodes of validators, by the keys that they hold or by the word of keys that stay elsewhere, and nobody else.

use kwil_formats::formats::{
    Family,
    key::{PrivateKey, PublicKey},
};
use nix::sys::signal::Signal;
use regenesis::{manifest::Binding, swarm::short_peer};

use super::ready::quartet;
use crate::common::{LOOPBACK, Party, validator_key};

/// The peer id that a directory's node will have.
fn peer_id(party: &Party, of: &[&str]) -> String {
    party.run(&[&["key", "peer"], of].concat()).done().stdout.trim().to_owned()
}

/// Somebody who has a validator's key, far from every node, binds a node to it; gives the file.
fn bind(family: Family, number: usize, peer: &str, more: &[&str]) -> Vec<u8> {
    let office = Party::new();
    office.take_key(family, number, "node.key");
    office.run(&[&["key", "bind", "--key-file", "node.key", "--peer", peer, "-o", "binding"], more].concat()).done();
    office.read("binding")
}

/// The same with an end that has passed.
fn over(family: Family, number: usize, peer: &str) -> Vec<u8> {
    let key = PrivateKey::parse_file(&std::fs::read(validator_key(family, number)).unwrap()).unwrap().0;
    let node = PublicKey::from_peer_id(peer).unwrap();
    let binding = Binding { node, created_unix_seconds: 1, not_after_unix_seconds: 2, new_chain_id: None };
    binding.sign(&key).unwrap()
}

#[test]
fn only_validators_get_in_by_their_keys_or_by_bindings_and_others_hear_why_not() {
    for family in [Family::V09, Family::V010] {
        let numbers = quartet(family);
        let lead = Party::new();
        lead.take_recording(family, "snaps");
        let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--allow", "validators"]);
        let ticket = publish.ticket();

        // A machine that has no key, and the word of a validator that never saw it.
        let machine = Party::new();
        let peer = peer_id(&machine, &["--dir", "relay"]);
        assert_eq!(peer_id(&machine, &["--dir", "relay"]), peer, "it stays the same");
        machine.write("node.binding", bind(family, numbers[1], &peer, &[]));
        let relay = machine.swarm(&["relay", &ticket, "--dir", "relay", "--binding", "node.binding"]);
        relay.wait_for_words("everything is here, as it was signed");
        publish.wait_for_words(&format!("peer {} is validator", short_peer(&peer)));

        // Who holds the key shows nothing else.
        let party = Party::new();
        party.take_key(family, numbers[2], "node.key");
        party.join(&ticket, "root", &["--key-file", "node.key"]).finish().done();

        // Who has the ticket and is nobody's.
        let other = Party::new();
        let own = peer_id(&other, &["--dir", "files"]);
        let run = other.swarm(&["fetch", &ticket, "--dir", "files", "--timeout", "4s"]).finish();
        run.failed(5, &["does not let this node in", "only validators of the manifest", "key bind", "--binding FILE"]);
        publish.wait_for_words(&format!("{} at 127.0.0.1", short_peer(&own)));
        publish.wait_for_words("is not let in: only validators of the manifest are let in here");
        // A copied binding is of another node, and one that is over or for elsewhere is of none.
        other.write("copied", machine.read("node.binding"));
        other.write("over", over(family, numbers[1], &own));
        other.write("elsewhere", bind(family, numbers[1], &own, &["--chain-id", "elsewhere-1"]));
        other.write("none", "no binding");
        for (file, words) in [
            ("copied", &["it is about another node", &peer, &format!("--peer {own}")][..]),
            ("over", &["it ended at", "this machine's clock says"]),
            ("elsewhere", &["the swarm of another network, elsewhere-1"]),
            ("none", &["no statement of this kind"]),
        ] {
            let args = ["fetch", ticket.as_str(), "--dir", "files", "--binding", file];
            other.swarm(&args).finish().failed(3, words);
        }
        // Of a key that is no validator's, it is good and lets nobody in.
        other.run(&["key", "gen", "ed25519", "--family", "v0.9", "-o", "own.key"]).done();
        let bind_own = ["key", "bind", "--key-file", "own.key", "--peer", own.as_str(), "-o", "own"];
        other.run(&bind_own).done();
        let args = ["fetch", ticket.as_str(), "--dir", "files", "--binding", "own", "--timeout", "4s"];
        other.swarm(&args).finish().failed(5, &["is none of them"]);

        relay.stop(Signal::SIGTERM).done();
        let run = publish.stop(Signal::SIGTERM).done();
        assert!(!other.path("files/genesis.json").exists(), "{}", run.stderr);
    }
}

#[test]
fn one_validator_or_peer_can_be_named_and_a_root_is_known_before_it_is_made() {
    let family = Family::V010;
    let numbers = quartet(family);
    let (party, friend, other) = (Party::new(), Party::new(), Party::new());
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let own = peer_id(&party, &["--root-dir", "root"]);
    let file = peer_id(&friend, &["--identity", "node.identity"]);
    party.take_key(family, numbers[1], "node.key");
    let info = party.run(&["key", "info", "--key-file", "node.key", "--output", "json"]).result();
    let named = info["public_key_hex"].as_str().unwrap();
    let publish =
        lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--allow", named, "--allow", file.as_str()]);
    let ticket = publish.ticket();
    party.join(&ticket, "root", &["--key-file", "node.key"]).finish().done();
    publish.wait_for_words(&short_peer(&own));
    assert_eq!(peer_id(&party, &["--root-dir", "root"]), own, "the root took it with it");
    let args = ["fetch", ticket.as_str(), "--dir", "files", "--linger", "none", "--identity", "node.identity"];
    friend.swarm(&args).finish().done();
    other.take_key(family, numbers[2], "node.key");
    let args = ["join", ticket.as_str(), "--root-dir", "root", "--key-file", "node.key", "--timeout", "4s"];
    other.swarm(&args).finish().failed(5, &["only some validators are let in here"]);
    publish.stop(Signal::SIGTERM).done();
    let run = lead.spawn(&[&["seed", "--dir", "snaps", "--allow", "nobody"], &LOOPBACK[..]].concat()).finish();
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn a_validator_that_is_revoked_loses_access_in_a_running_swarm_under_every_identity() {
    let family = Family::V010;
    let numbers = quartet(family);
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--allow", "validators"]);
    let ticket = publish.ticket();
    let relay_of = |number: usize| {
        let machine = Party::new();
        let peer = peer_id(&machine, &["--dir", "relay"]);
        machine.write("node.binding", bind(family, number, &peer, &[]));
        let relay = machine.swarm(&["relay", &ticket, "--dir", "relay", "--binding", "node.binding"]);
        relay.wait_for_words("everything is here, as it was signed");
        (machine, relay)
    };
    let (_stolen_at, stolen) = relay_of(numbers[1]);
    let (_other_at, other) = relay_of(numbers[2]);

    let validator = |number: usize| {
        let party = Party::new();
        party.take_key(family, number, "node.key");
        let info = party.run(&["key", "info", "--key-file", "node.key", "--output", "json"]).result();
        info["validator_id"].as_str().unwrap().to_owned()
    };
    let (key, named) = (validator(numbers[1]), ["manifest", "revoke", "snaps", "--state-dir", "state"]);
    let revoke = |more: &[&str]| lead.run(&[&named[..], more].concat());
    let not_listed = format!("{}#ed25519", "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
    revoke(&["--key", "lead.key", "--validator", &not_listed]).failed(4, &["no validator of the manifest"]);
    lead.take_key(family, numbers[2], "stranger.key");
    revoke(&["--key", "stranger.key", "--validator", &key]).failed(4, &["neither as its lead nor as a co-signer"]);
    let run = revoke(&["--key", "lead.key", "--validator", &key, "-o", "excluded"]).done();
    assert!(run.stdout.contains("its access is taken back"), "{run:?}");

    // The running lead finds it, and everyone hears it.
    let words = format!("the access of validator {} to this swarm was taken back", &key[..8]);
    publish.wait_for_words(&words);
    other.wait_for_words(&words);
    let refused = format!("the lead has taken the access of validator {} back", &key[..8]);
    stolen.wait_for_words(&format!("session with validator {}", &validator(numbers[0])[..8]));
    stolen.wait_for_words(&refused);
    // A fresh machine of whoever has the key, which shows it.
    let fresh = Party::new();
    fresh.take_key(family, numbers[1], "node.key");
    let args = ["join", ticket.as_str(), "--root-dir", "root", "--key-file", "node.key", "--timeout", "4s"];
    fresh.swarm(&args).finish().failed(5, &[&refused]);
    // The others go on, and the manifest counts as before.
    let last = Party::new();
    last.take_key(family, numbers[3], "node.key");
    last.join(&ticket, "root", &["--key-file", "node.key"]).finish().done();
    other.stop(Signal::SIGTERM).done();
    publish.stop(Signal::SIGTERM).done();

    let verify = ["evidence", "verify", "excluded", "--manifest", "snaps"];
    let shown = lead.run(&[&verify[..], &["--output", "json"]].concat()).result();
    assert_eq!((&shown["kind"], &shown["validator"]), (&"exclusion".into(), &key.as_str().into()));
    let mut forged = lead.read("excluded");
    *forged.last_mut().unwrap() ^= 1;
    lead.write("excluded", forged);
    assert_eq!(lead.run(&verify).code, 3);
    // What is remembered holds after a new start, too.
    let seed = lead.spawn(&[&["seed", "--dir", "snaps", "--state-dir", "state"], &LOOPBACK[..]].concat());
    seed.wait_for_words(&words);
    seed.stop(Signal::SIGTERM).done();
}
