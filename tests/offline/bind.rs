//! `key peer`, `key bind`, `key binding`: who a node is in the swarm, and whose, without any swarm.

use std::os::unix::fs::PermissionsExt;

use kwil_formats::formats::Family;

use super::common::Party;

#[test]
fn a_binding_says_whose_a_node_is_with_a_key_of_either_family() {
    for family in [Family::V09, Family::V010] {
        let party = Party::new();
        party.take_key(family, 1, "node.key");
        let known = party.run(&["key", "peer", "--dir", "files", "--output", "json"]).result();
        assert_eq!(known["made"], true);
        let again = party.run(&["key", "peer", "--dir", "files", "--output", "json"]).result();
        assert_eq!((&again["made"], &again["peer_id"]), (&false.into(), &known["peer_id"]));
        let mode = std::fs::metadata(party.path("files/.regenesis/identity")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let peer = known["peer_id"].as_str().unwrap();
        let bind = ["key", "bind", "--key-file", "node.key", "--peer", peer, "--chain-id", "kwil-2", "-o", "b"];
        party.run(&bind).done();
        let said = party.run(&["key", "binding", "b", "--output", "json"]).result();
        let info = party.run(&["key", "info", "--key-file", "node.key", "--output", "json"]).result();
        assert_eq!((&said["validator"], said["peer_id"].as_str()), (&info["validator_id"], Some(peer)));
        assert_eq!((&said["new_chain_id"], &said["is_over"]), (&"kwil-2".into(), &false.into()));
        let span = said["not_after_unix_seconds"].as_u64().unwrap() - said["created_unix_seconds"].as_u64().unwrap();
        assert_eq!(span, 90 * 86_400);
        let shown = party.run(&["key", "binding", "b"]).done().stdout;
        assert!(shown.contains(peer) && shown.contains("kwil-2"), "{shown}");
        // Nothing of the key is in it.
        let key = party.read("node.key");
        let seed = String::from_utf8_lossy(&key).chars().filter(char::is_ascii_hexdigit).take(32).collect::<String>();
        assert!(!hex::encode(party.read("b")).contains(&seed));
        let mut forged = party.read("b");
        *forged.last_mut().unwrap() ^= 1;
        party.write("forged", forged);
        party.run(&["key", "binding", "forged"]).failed(3, &["does not hold"]);
    }
}

#[test]
fn what_is_no_peer_of_a_swarm_is_not_bound() {
    let party = Party::new();
    party.run(&["key", "gen", "secp256k1", "-o", "node.key"]).done();
    let info = party.run(&["key", "info", "--key-file", "node.key", "--output", "json"]).result();
    // A node of kwild's with a secp256k1 key, a validator's key, nothing.
    for peer in [info["peer_id"].as_str().unwrap(), info["public_key_hex"].as_str().unwrap(), ""] {
        let run = party.run(&["key", "bind", "--key-file", "node.key", "--peer", peer, "-o", "b"]);
        run.failed(2, &["peer id", "key peer --dir"]);
        assert!(!party.path("b").exists());
    }
    // That of the key itself is kwild's.
    party.take_key(Family::V09, 1, "node.key");
    let info = party.run(&["key", "info", "--key-file", "node.key", "--output", "json"]).result();
    let own = info["peer_id"].as_str().unwrap();
    let run = party.run(&["key", "bind", "--key-file", "node.key", "--peer", own, "-o", "b"]);
    run.failed(2, &["the validator's own key", "key peer --dir"]);
    // A root is known by the place where the join works, and moves with it; one that cannot be made has none.
    let first = party.run(&["key", "peer", "--root-dir", "root"]).done().stdout;
    assert_eq!(party.run(&["key", "peer", "--root-dir", "root"]).done().stdout, first);
    assert!(!party.path("root").exists());
    party.write("taken/genesis.json", "{}");
    party.run(&["key", "peer", "--root-dir", "taken"]).failed(4, &["already holds"]);
}
