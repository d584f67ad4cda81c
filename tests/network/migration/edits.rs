//! Manifest and genesis that are not what was signed: for who serves, who verifies, and who comes with an old ticket.

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{Party, change, data, server};

/// A directory `snaps` that is signed, and the ticket that identifies it.
fn signed(party: &Party, family: Family) -> Value {
    party.take_recording(family, "snaps");
    sign(party, "snaps")
}

fn sign(party: &Party, directory: &str) -> Value {
    let flags = ["--key", "lead.key", "--state-dir", "state", "--output", "json"];
    party.run(&[&["manifest", "sign", "--snapdir", directory], &flags[..]].concat()).result()
}

/// What `seed` and `manifest verify` say about the manifest as it lies there.
fn both_refuse(party: &Party, ticket: &str, words: &[&str]) {
    party.seed("snaps").finish().failed(3, words);
    let verify = ["manifest", "verify", "snaps", "--dir", "snaps", "--state-dir", "state", ticket];
    party.run(&verify).failed(3, words);
}

#[test]
fn a_cut_padded_or_bit_flipped_manifest_is_refused_by_step() {
    let lead = Party::new();
    let ticket = signed(&lead, Family::V010)["ticket"].as_str().unwrap().to_owned();
    let good = lead.read("snaps/manifest.regenesis");
    let with = |bytes: &[u8]| lead.write("snaps/manifest.regenesis", bytes);

    with(&good[..good.len() - 7]);
    both_refuse(&lead, &ticket, &["step 2 (decoding)"]);
    with(&[]);
    both_refuse(&lead, &ticket, &["step 2 (decoding)"]);
    with(&[&good[..], b"\0"].concat());
    both_refuse(&lead, &ticket, &["step 2 (decoding)"]);
    // The last byte belongs to the signature.
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    with(&flipped);
    both_refuse(&lead, &ticket, &["step 3 (signature by a pinned key)", "changed after it was signed"]);
    with(&vec![b'x'; (16 << 20) + 1]);
    both_refuse(&lead, &ticket, &["larger than"]);

    with(&good);
    let served = lead.seed("snaps");
    served.ticket();
    served.stop(Signal::SIGTERM).done();
}

#[test]
fn a_foreign_manifest_is_refused_by_file_and_by_step() {
    let (lead, other) = (Party::new(), Party::new());
    let ticket = signed(&lead, Family::V010)["ticket"].as_str().unwrap().to_owned();
    // Another lead's, of the other family: this directory has not even its files.
    signed(&other, Family::V09);
    lead.write("snaps/manifest.regenesis", other.read("snaps/manifest.regenesis"));
    lead.seed("snaps").finish().failed(3, &["snaps/", "is not the file that was signed"]);
    let verify = ["manifest", "verify", "snaps", "--dir", "snaps", "--state-dir", "state", &ticket];
    lead.run(&verify).failed(3, &["step 3 (signature by a pinned key)", "not by the pinned"]);
    // A file that is missing altogether.
    sign(&lead, "snaps");
    std::fs::remove_file(lead.path("snaps/snapshot.sql.gz")).unwrap();
    lead.seed("snaps").finish().failed(3, &["snapshot.sql.gz", "missing"]);
}

#[test]
fn an_edited_genesis_stops_a_seed_and_is_signed_anew_by_publish() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let first = lead.publish("snaps");
    let old_ticket = first.ticket();
    first.stop(Signal::SIGINT).done();
    let shown = |key: &str| lead.run(&["manifest", "show", "snaps", "--output", "json"]).result()[key].clone();
    let (old_sequence, old_id) = (shown("sequence"), shown("id"));

    let genesis = String::from_utf8(lead.read("snaps/genesis.json")).unwrap();
    assert!(genesis.contains("\"max_votes_per_tx\": 200"));
    lead.write("snaps/genesis.json", genesis.replace("\"max_votes_per_tx\": 200", "\"max_votes_per_tx\": 201"));
    lead.seed("snaps").finish().failed(3, &["genesis.json is not the file that was signed", "publish --dir"]);

    let second = lead.publish("snaps");
    let ticket = second.ticket();
    assert_ne!(ticket, old_ticket);
    assert!(shown("sequence").as_u64() > old_sequence.as_u64());
    assert_eq!(shown("supersedes"), old_id);

    // Whoever comes with the old ticket, to where the new one is served, hears that it is old.
    let late = Party::new();
    let addresses = ticket.parse::<regenesis::manifest::Ticket>().unwrap().addresses;
    let stale = change(&old_ticket, |t| t.addresses = addresses);
    let run = late.swarm(&["fetch", &stale, "--dir", "files", "--timeout", "2s"]).finish();
    run.failed(3, &["the ticket is stale", "ask the lead for the current ticket"]);
    assert!(!late.path("files/manifest.regenesis").exists());
    second.wait_for_words("it has a ticket of another manifest");
    let fetched = late.fetch(&ticket, "files").finish().done();
    assert!(fetched.stdout.contains("fetched and verified"));
    assert!(late.read("files/genesis.json") == lead.read("snaps/genesis.json"));

    // A root or directory of the newer manifest never goes back.
    late.fetch(&stale, "elsewhere").finish().failed(3, &["stale"]);
    second.stop(Signal::SIGTERM).done();
    // Nothing changed: the manifest and so the ticket's id stay.
    let third = lead.publish("snaps");
    let again: regenesis::manifest::Ticket = third.ticket().parse().unwrap();
    assert_eq!(again.manifest_id, ticket.parse::<regenesis::manifest::Ticket>().unwrap().manifest_id);
    third.stop(Signal::SIGHUP).done();
}

#[test]
fn a_genesis_that_is_edited_to_the_next_chain_id_keeps_what_is_known_of_the_old_network() {
    let lead = Party::new();
    lead.take_key(Family::V010, 0, "lead.key");
    let database = "edited_to_the_next";
    server().load(database, &std::fs::read(data("v0.10/worlds/quartet/database.sql.gz")).unwrap()).unwrap();
    let old_genesis = data("v0.10/worlds/quartet/genesis.original.json");
    let node = "5235f2f8846098edc3cabb7333a44307fb024bdbef5f7fcf5e014bc6efef1936#ed25519@127.0.0.1:6600";
    let first = super::publish(&lead, database, &old_genesis, &["--node-address", node]);
    first.ticket();
    first.stop(Signal::SIGTERM).done();
    let shown = || lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    let before = shown();
    assert!(before["old_chain_id"].is_string() && before["collation"].is_object(), "{before}");

    // On another machine, where nothing was kept of the old database.
    std::fs::remove_dir_all(lead.path(".local")).unwrap();
    lead.run(&["genesis", "set", "snaps/genesis.json", "chain_id=edited-2", "max_votes_per_tx=201"]).done();
    let second = lead.publish("snaps");
    let ticket = second.ticket().parse::<regenesis::manifest::Ticket>().unwrap();
    second.stop(Signal::SIGTERM).done();
    let after = shown();
    assert_eq!((ticket.new_chain_id.as_str(), after["new_chain_id"].as_str()), ("edited-2", Some("edited-2")));
    assert_ne!(after["id"], before["id"]);
    for kept in ["old_chain_id", "old_validators", "height", "state_digest", "node_addresses", "collation"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
}

#[test]
fn a_changed_snapshot_is_not_signed_with_a_genesis_that_pins_another() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let whole = lead.read("snaps/snapshot.sql.gz");
    lead.write("snaps/snapshot.sql.gz", &whole[..whole.len() - 9]);
    lead.publish("snaps").finish().failed(3, &["snapshot.sql.gz"]);
    let text = crate::common::unzip(&crate::common::data("v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz"));
    lead.write("snaps/snapshot.sql.gz", super::lead::gzip(&text));
    lead.publish("snaps").finish().failed(3, &["genesis.json pins state hash", "do not belong together"]);
    assert!(!lead.path("snaps/manifest.regenesis").exists());
}

#[test]
fn an_edited_snapshot_ends_its_seed() {
    let lead = Party::new();
    signed(&lead, Family::V010);
    let mut snapshot = lead.read("snaps/snapshot.sql.gz");
    let middle = snapshot.len() / 2;
    snapshot[middle] ^= 1;
    lead.write("snaps/snapshot.sql.gz", snapshot);
    // It serves while it looks through its files, but never the chunk that differs.
    let run = lead.seed("snaps").finish();
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("snapshot.sql.gz is not the file that was signed: chunk 0 differs"), "{run:?}");
    assert!(run.stderr.contains("publish --dir"), "{run:?}");
}
