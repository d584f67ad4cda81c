//! Measures what it costs to judge the largest network that is planned for: a manifest with 100,000 chunks and 200 validators
//! on both sides, and everything that they sign. `scripts/bench.sh manifest` runs it.

use std::time::Duration;

use kwil_formats::formats::{
    Validator,
    genesis::Genesis,
    key::{KeyType, PrivateKey},
};
use regenesis::{
    base::{Blake3Hash, Sha256Hash, clock},
    manifest::{
        Artifact, ArtifactHasher, ArtifactName, Attestations, Ballot, Layout, Manifest, Roster, SignedManifest,
        TrustPolicy, TrustRules, Verdict, VerifiedManifest, Word, chunk,
        statement::{Attestation, Stage},
        verify,
    },
};

const VALIDATORS: u8 = 200;
const CHUNKS: u64 = 100_000;
const ROUNDS: usize = 11;
const NOW: u64 = 1_800_000_000;

/// A key of either family, in turn.
fn key(seed: u8) -> PrivateKey {
    let kind = if seed.is_multiple_of(2) { KeyType::Ed25519 } else { KeyType::Secp256k1 };
    PrivateKey::from_seed(kind, &[seed; 32]).expect("any such seed is a key")
}

fn keys() -> impl Iterator<Item = PrivateKey> {
    (1..=VALIDATORS).map(key)
}

/// The tests' genesis with as many validators.
fn genesis() -> Vec<u8> {
    let text = include_bytes!("../../tests/vectors/manifest/genesis.json");
    let mut genesis: serde_json::Value = serde_json::from_slice(text).expect("the tests read it, too");
    let validator = |key: PrivateKey| {
        let key = key.public();
        serde_json::json!({ "pubkey": hex::encode(key.bytes()), "type": key.key_type().to_string(), "power": 1 })
    };
    genesis["validators"] = keys().map(validator).collect();
    genesis["leader"] = serde_json::json!({ "type": "secp256k1", "key": hex::encode(key(1).public().bytes()) });
    serde_json::to_vec_pretty(&genesis).expect("JSON can be written")
}

fn manifest(genesis_bytes: &[u8]) -> SignedManifest {
    let golden = include_bytes!("../../tests/vectors/manifest/good.regenesis");
    let golden = SignedManifest::decode(golden).expect("the tests read it, too").manifest().clone();
    let mut hasher = ArtifactHasher::default();
    hasher.update(genesis_bytes);
    let layout = Layout::for_size(genesis_bytes.len() as u64).expect("a genesis is small");
    let genesis = Artifact::new(ArtifactName::Genesis, hasher.finish(layout).expect("it is as long as it is"));
    let chunk_bytes = 4 << 20;
    let layout = Layout::new(CHUNKS * chunk_bytes, chunk_bytes).expect("within the bounds");
    let chunk_ids: Vec<_> =
        (0..CHUNKS).map(|n| Blake3Hash::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
    let root = chunk::merge(&layout, &chunk_ids);
    let sha256 = Sha256Hash::from_bytes([3; 32]);
    let snapshot = Artifact { name: ArtifactName::Snapshot, layout, root, sha256, chunk_ids };
    let mut validators: Vec<_> = keys().map(|key| Validator { key: key.public(), power: 1 }).collect();
    validators.sort_by_key(|validator| validator.key);
    let manifest = Manifest {
        sequence: NOW,
        not_after_unix_seconds: None,
        artifacts: vec![genesis, snapshot],
        old_validators: validators.clone(),
        new_validators: validators,
        new_leader: Some(key(1).public()),
        trust: TrustRules {
            attestations: Attestations::PowerOver { numerator: 2, denominator: 3 },
            ..TrustRules::lead_alone(key(1).public())
        },
        node_addresses: vec![],
        ..golden
    };
    manifest.sign(&key(1)).expect("a reader takes it")
}

/// Everything that the validators sign.
fn statements(manifest: &Manifest, id: Blake3Hash) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let state_digest = manifest.state_digest.as_ref().expect("the golden one has a digest").digest;
    let attested =
        Attestation { manifest_id: id, state_digest, height: 76, created_unix_seconds: NOW, differs: vec![] };
    let attested = keys().map(|key| attested.sign(&key)).collect();
    let word = Word {
        stage: Stage::RootReady,
        kwild_version: Some("0.10.2".into()),
        places: vec!["10.0.0.5:6600".into()],
        differs: vec![],
    };
    let mut roster = Roster::new(id, manifest);
    let node = PrivateKey::from_seed(KeyType::Ed25519, &[250; 32]).expect("any such seed is a key");
    let vouch = |message: &[u8]| Some((node.public().bytes().try_into().ok()?, node.sign(message)));
    let ready = keys().filter_map(|key| roster.say(&key, &word, NOW, vouch)).collect();
    (attested, ready)
}

/// The middle of all rounds in milliseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = clock::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2].as_secs_f64() * 1000.0
}

#[allow(clippy::print_stdout, reason = "its result is what it prints")]
fn main() {
    let genesis_bytes = genesis();
    let signed = manifest(&genesis_bytes);
    let (bytes, id) = (signed.to_bytes(), signed.id());
    let (attested, ready) = statements(signed.manifest(), id);
    let policy = TrustPolicy { keys: vec![key(1).public()], ..TrustPolicy::default() };
    let verified = || -> VerifiedManifest { verify::verify(&bytes, &policy, NOW).expect("it is as it must be") };
    let whole: Genesis = verified().check_genesis(&genesis_bytes).expect("it is the manifest's");
    assert_eq!(whole.validators().expect("the check read them").len(), usize::from(VALIDATORS));

    let of_manifest = median(|| drop(verified()));
    let checked = verified();
    let of_genesis = median(|| drop(checked.check_genesis(&genesis_bytes)));
    let of_attestations = median(|| {
        let mut ballot = Ballot::new(id, signed.manifest());
        assert_eq!(ballot.take(&attested).len(), attested.len());
        assert_eq!(ballot.verdict(), Verdict::Met);
    });
    let of_readiness = median(|| {
        let mut roster = Roster::new(id, signed.manifest());
        assert_eq!(roster.take(ready.clone()).len(), ready.len());
        assert!(roster.is_quorum());
    });
    let all = of_manifest + of_genesis + of_attestations + of_readiness;
    let statement_bytes: usize = attested.iter().chain(&ready).map(Vec::len).sum();
    println!("| judged, median of {ROUNDS} | ms |\n|---|---|");
    println!("| manifest with {CHUNKS} chunks, {} bytes: steps 1 to 8 | {of_manifest:.1} |", bytes.len());
    println!("| genesis with {VALIDATORS} validators: steps 9 and 10 | {of_genesis:.1} |");
    println!("| {VALIDATORS} attestations | {of_attestations:.1} |");
    println!("| {VALIDATORS} readiness statements, each with its node's signature | {of_readiness:.1} |");
    println!("| all of it; statements have {statement_bytes} bytes | **{all:.1}** |");
}
