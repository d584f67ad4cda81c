use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use kwil_formats::formats::{Family, genesis::Genesis};

use crate::common::{Party, mode, names};

#[test]
fn a_genesis_is_edited_in_place_and_every_change_is_said() {
    let party = Party::new();
    party.take_recording(Family::V010, "new");
    let ran = party
        .run(&["genesis", "set", "new/genesis.json", "chain_id=net-2", "initial_height=76", "disabled_gas_costs=false"])
        .done();
    for part in [
        "chain_id: \"kwil-testnet\" -> \"net-2\"",
        "initial_height: 0 -> 76",
        "disabled_gas_costs: true -> false",
        "written: ",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    let genesis = Genesis::parse(&party.read("new/genesis.json")).unwrap();
    assert_eq!((genesis.chain_id(), genesis.initial_height()), ("net-2", 76));
    assert_eq!(names(&party.path("new")), ["genesis.json", "snapshot.sql.gz"]);
    let again = party.run(&["genesis", "set", "new", "chain_id=net-2"]).done();
    assert!(again.stdout.contains("nothing changed"), "{}", again.stdout);
    let json = party.run(&["genesis", "set", "new", "max_votes_per_tx=9", "--output", "json"]).result();
    assert_eq!(json["changes"], serde_json::json!([{"path": "max_votes_per_tx", "old": "200", "new": "9"}]));
}

#[test]
fn another_file_is_written_only_where_there_is_none() {
    let party = Party::new();
    party.take_recording(Family::V09, "new");
    let before = party.read("new/genesis.json");
    let args = ["genesis", "set", "new/genesis.json", "join_expiry=5", "genesis_time=now", "-o", "other.json"];
    party.run(&args).done();
    assert_eq!(party.read("new/genesis.json"), before);
    let other = party.read("other.json");
    assert!(String::from_utf8_lossy(&other).contains("\"join_expiry\": 5"));
    party.run(&args).failed(4, &["other.json already exists"]);
    assert_eq!(party.read("other.json"), other);
}

#[test]
fn what_is_refused_leaves_the_file_as_it_was() {
    let party = Party::new();
    party.take_recording(Family::V010, "new");
    party.take_recording(Family::V09, "old");
    let leader = Genesis::parse(&party.read("new/genesis.json")).unwrap().leader().unwrap().to_string();
    let before = (party.read("new/genesis.json"), party.read("old/genesis.json"));
    let secp = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798:1";
    let long = format!("chain_id={}", "x".repeat(51));
    for (args, code, words) in [
        (vec!["old", "--add-validator", secp], 4, "ed25519 only"),
        (vec!["old", &long], 4, "50 characters"),
        (vec!["old", "leader=x#ed25519"], 4, "is a key of v0.10"),
        (vec!["old", "vote_expiry=0"], 4, "greater than 0"),
        (vec!["new", "--remove-validator", &leader], 4, "is the leader"),
        (vec!["new", "state_hash=00"], 4, "not for typing"),
        (vec!["new", "max_blok_size=5"], 2, "max_block_size?"),
        (vec!["new", "max_votes_per_tx=5", "join_expiry=never"], 2, "join_expiry"),
        (vec!["new"], 2, "nothing to change"),
        (vec!["new", "--set-power", "nobody:5"], 2, "no validator"),
    ] {
        party.run(&[&["genesis", "set"][..], &args].concat()).failed(code, &[words]);
        assert_eq!((party.read("new/genesis.json"), party.read("old/genesis.json")), before, "{args:?}");
    }
    let ran = party.run(&["genesis", "set", "new", "no-equals-sign"]);
    assert!(ran.code == 2 && ran.stderr.contains("KEY=VALUE"), "{ran:?}");
}

#[test]
fn a_link_stays_one_and_the_mode_is_kept() {
    let party = Party::new();
    party.take_recording(Family::V010, "new");
    let file = party.path("new/genesis.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, party.path("link.json")).unwrap();
    party.run(&["genesis", "set", "link.json", "chain_id=net-3"]).done();
    assert!(party.path("link.json").is_symlink());
    assert_eq!(mode(&file), 0o640);
    assert!(String::from_utf8(party.read("new/genesis.json")).unwrap().contains("net-3"));
}

#[test]
fn a_signed_genesis_must_be_signed_again() {
    let party = Party::new();
    party.take_recording(Family::V010, "new");
    party.run(&["manifest", "sign", "--snapdir", "new", "--key", "lead.key", "--state-dir", "state"]).done();
    let ran = party.run(&["genesis", "set", "new", "chain_id=net-4"]).done();
    assert!(ran.stderr.contains("sign again"), "{}", ran.stderr);
    let elsewhere = party.run(&["genesis", "set", "new", "chain_id=net-5", "-o", "copy.json"]).done();
    assert!(!elsewhere.stderr.contains("sign again"), "{}", elsewhere.stderr);
}

#[test]
fn keys_that_vanish_are_named() {
    let party = Party::new();
    party.take_recording(Family::V09, "old");
    let text = String::from_utf8(party.read("old/genesis.json")).unwrap();
    party.write("g.json", text.replacen('{', "{\n  \"comment\": \"x\",", 1));
    let ran = party.run(&["genesis", "set", "g.json", "chain_id=net-6"]).done();
    assert!(ran.stderr.contains("comment") && ran.stderr.contains("not in the file that is written"), "{}", ran.stderr);
    assert!(!String::from_utf8(party.read("g.json")).unwrap().contains("comment"));
}
