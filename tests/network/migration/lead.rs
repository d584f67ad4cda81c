//! A malicious lead: right hashes, right signature, hostile text.

use std::io::Write;

use kwil_formats::formats::{
    Family,
    genesis::Genesis,
    key::{KeyType, PrivateKey},
};
use regenesis::{
    base::Sha256Hash,
    manifest::{
        Artifact, ArtifactDescription, ArtifactHasher, ArtifactName, Attestations, Layout, Manifest, Network,
        StateDigest, TrustRules, genesis_validators,
    },
    snapshot::digest::StateDigester,
};
use sha2::{Digest, Sha256};

use crate::common::{Party, data, guarded, names, unzip};

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// Puts this text as a v0.10 snapshot into `snaps`, with a genesis that pins it.
pub(crate) fn write_pinned(party: &Party, text: &[u8]) -> Genesis {
    let recorded = std::fs::read(data("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap();
    let mut genesis = Genesis::parse(&recorded).unwrap();
    genesis.set_state_hash(Sha256Hash::from_bytes(Sha256::digest(text).into()));
    party.write("snaps/genesis.json", genesis.to_bytes());
    party.write("snaps/snapshot.sql.gz", gzip(text));
    genesis
}

fn describe(bytes: &[u8]) -> ArtifactDescription {
    let mut hasher = ArtifactHasher::default();
    hasher.update(bytes);
    hasher.finish(Layout::for_size(bytes.len() as u64).unwrap()).unwrap()
}

/// Signs what lies in `snaps` as a program would that looks at nothing.
fn sign_blindly(party: &Party, genesis: &Genesis, text: &[u8], attestations: Attestations) {
    sign_state_blindly(party, genesis, text, attestations, None);
}

fn sign_state_blindly(
    party: &Party,
    genesis: &Genesis,
    text: &[u8],
    attestations: Attestations,
    state_digest: Option<StateDigest>,
) {
    let key = PrivateKey::from_seed(KeyType::Ed25519, &[66; 32]).unwrap();
    let validators = genesis_validators(genesis).unwrap();
    let manifest = Manifest {
        network: Network {
            family: Family::V010,
            old_chain_id: None,
            new_chain_id: genesis.chain_id().to_owned(),
            height: 49,
        },
        sequence: 1,
        created_unix_seconds: 1,
        not_after_unix_seconds: None,
        artifacts: vec![
            Artifact::new(ArtifactName::Genesis, describe(&party.read("snaps/genesis.json"))),
            Artifact::new(ArtifactName::Snapshot, describe(&party.read("snaps/snapshot.sql.gz"))),
        ],
        state_hash: genesis.state_hash().unwrap(),
        text_size_bytes: text.len() as u64,
        state_digest,
        old_validators: validators.clone(),
        new_validators: validators,
        trust: TrustRules { attestations, ..TrustRules::lead_alone(key.public()) },
        supersedes: None,
        node_addresses: Vec::new(),
        collation: None,
        new_leader: genesis.leader().copied(),
    };
    party.write("snaps/manifest.regenesis", manifest.sign(&key).unwrap().to_bytes());
}

fn honest_text() -> Vec<u8> {
    guarded(Family::V010, &unzip(&data("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz")))
}

#[test]
fn hostile_text_with_right_hashes_is_neither_signed_nor_joined() {
    let hostile = "COPY ledger.accts TO PROGRAM 'touch /tmp/owned';";
    let mut text = honest_text();
    let before = text.len() - text.split_inclusive(|b| *b == b'\n').next_back().unwrap().len();
    text.splice(before..before, format!("{hostile}\n").into_bytes());
    let line = text[..before].iter().filter(|b| **b == b'\n').count() + 1;
    let said = [format!("line {line}: "), hostile.trim_end_matches(';').to_owned()];
    let words: Vec<&str> = said.iter().map(String::as_str).collect();

    let lead = Party::new();
    let genesis = write_pinned(&lead, &text);
    lead.take_key(Family::V010, 0, "lead.key");
    lead.publish("snaps").finish().failed(3, &words);
    let sign = ["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "state"];
    lead.run(&sign).failed(3, &words);
    assert!(!lead.path("snaps/manifest.regenesis").exists());

    sign_blindly(&lead, &genesis, &text, Attestations::None);
    let seed = lead.seed("snaps");
    let ticket = seed.ticket();
    let victim = Party::new();
    victim.join(&ticket, "root", &["--new-key"]).finish().failed(3, &words);
    assert!(!victim.path("root").exists());
    // Nor inside a root that was there before.
    victim.take_key(Family::V010, 1, "early/nodekey.json");
    victim.join(&ticket, "early", &[]).finish().failed(3, &words);
    assert!(!victim.path("early/genesis.json").exists(), "{:?}", names(&victim.path("early")));
    victim.fetch(&ticket, "files").finish().failed(3, &words);
}

#[test]
fn a_text_without_the_guard_is_neither_signed_nor_joined() {
    let text = unzip(&data("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"));
    let lead = Party::new();
    let genesis = write_pinned(&lead, &text);
    lead.take_key(Family::V010, 0, "lead.key");
    lead.publish("snaps").finish().failed(3, &["has no guard", "snapshot guard snaps/snapshot.sql.gz"]);
    let sign = ["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "state"];
    lead.run(&sign).failed(3, &["has no guard"]);
    assert!(!lead.path("snaps/manifest.regenesis").exists());

    // A lead that signs it all the same: looked at, it is said what it is; nobody's root is made of it.
    sign_blindly(&lead, &genesis, &text, Attestations::None);
    let seed = lead.seed("snaps");
    let ticket = seed.ticket();
    let victim = Party::new();
    victim.join(&ticket, "root", &["--new-key"]).finish().failed(3, &["has no guard", "the lead does so"]);
    assert!(!victim.path("root").exists());
    let fetched = victim.fetch(&ticket, "files").finish().done();
    assert!(fetched.stderr.contains("has no guard"), "{fetched:?}");
}

#[test]
fn a_snapshot_that_the_genesis_does_not_pin_is_not_joined() {
    let lead = Party::new();
    let text = honest_text();
    let genesis = write_pinned(&lead, &text);
    // Another text than the one whose hash genesis and manifest agree on.
    let mut other = text.clone();
    let digit = other.iter().position(|b| *b == b'9').unwrap();
    other[digit] = b'8';
    lead.write("snaps/snapshot.sql.gz", gzip(&other));
    sign_blindly(&lead, &genesis, &text, Attestations::None);
    let seed = lead.seed("snaps");
    let victim = Party::new();
    let got = hex::encode(Sha256::digest(&other));
    let pinned = genesis.state_hash().unwrap().to_string();
    victim.join(&seed.ticket(), "root", &["--new-key"]).finish().failed(3, &[&got, &pinned]);
    assert!(!victim.path("root").exists());
}

#[test]
fn a_file_in_another_state_than_the_one_to_be_attested_is_not_joined() {
    let text = honest_text();
    let spill = tempfile::tempdir().unwrap();
    let mut digester = StateDigester::new(spill.path());
    digester.push(&text).unwrap();
    let lead = Party::new();
    let honest = write_pinned(&lead, &text);
    let honest_state = digester.finish(&genesis_validators(&honest).unwrap()).unwrap().to_manifest();
    // What the old validators would find in their own databases: it is joined.
    sign_state_blindly(&lead, &honest, &text, Attestations::None, Some(honest_state.clone()));
    let seed = lead.seed("snaps");
    let validator = Party::new();
    validator.fetch(&seed.ticket(), "files").finish().done();

    // One balance more, with hashes that are right.
    let at = text.windows(13).position(|w| w == b"COPY kwild_ac").unwrap();
    let row = at + text[at..].iter().position(|b| *b == b'\n').unwrap() + 1;
    let digit = row + text[row..].iter().position(|b| *b == b'\t').unwrap() + 1;
    let digit = digit + text[digit..].iter().position(|b| *b == b'\t').unwrap() + 1;
    assert!(text[digit].is_ascii_digit());
    let mut richer = text.clone();
    richer[digit] = if richer[digit] == b'9' { b'8' } else { b'9' };
    let thief = Party::new();
    let genesis = write_pinned(&thief, &richer);
    sign_state_blindly(&thief, &genesis, &richer, Attestations::None, Some(honest_state));
    let seed = thief.seed("snaps");
    let ticket = seed.ticket();
    let victim = Party::new();
    let words = ["the snapshot's state is not the manifest's", "kwild_accts.accounts: other contents"];
    victim.join(&ticket, "root", &["--new-key"]).finish().failed(3, &words);
    assert!(!victim.path("root").exists());
    victim.fetch(&ticket, "files").finish().failed(3, &words);
    let verify = ["manifest", "verify", "snaps", "--dir", "snaps", "--state-dir", "state", &ticket];
    thief.run(&verify).failed(3, &words);
    thief.run(&["snapshot", "verify", "snaps/snapshot.sql.gz"]).done();
    thief.run(&["snapshot", "verify", "snaps/snapshot.sql.gz", "--deep"]).failed(3, &words);
    let deep = lead.run(&["snapshot", "verify", "snaps/snapshot.sql.gz", "--deep"]).done();
    assert!(deep.stdout.contains("are those that it says") && deep.stdout.contains("  digest      "), "{deep:?}");
}

#[test]
fn a_manifest_that_asks_for_attestations_is_not_joined_without_them() {
    let lead = Party::new();
    let text = honest_text();
    let genesis = write_pinned(&lead, &text);
    sign_blindly(&lead, &genesis, &text, Attestations::Count(2));
    let seed = lead.seed("snaps");
    let validator = Party::new();
    let run = validator.join(&seed.ticket(), "root", &["--new-key", "--timeout", "2s"]).finish();
    run.failed(5, &["after 2s of waiting", "validators confirm the state"]);
    assert!(!validator.path("root").exists());
}
