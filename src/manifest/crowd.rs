//! The largest network that is planned for: what its two hundred validators of each side sign is little, and everyone has all of it soon.

use kwil_formats::formats::{
    Validator,
    key::{KeyType, PrivateKey},
};

use super::{
    Attestations, Ballot, Binding, Manifest, Roster, SignedManifest, Verdict, Word,
    statement::{Attestation, DifferingPart, Stage},
};
use crate::base::{
    Blake3Hash,
    limits::{
        DIFFERING_PARTS_MAX, KWILD_VERSION_CHARS_MAX, STATEMENT_SIZE_BYTES_MAX, STATEMENTS_OF_SESSION_BYTES_MAX,
        UNIX_SECONDS_MAX,
    },
};

const VALIDATORS: u8 = 200;
const NODES: usize = 10;
const NOW: u64 = 1_800_000_000;
const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);

/// Keys of either curve, in turn.
fn keys() -> Vec<PrivateKey> {
    let kind = |seed: u8| if seed.is_multiple_of(2) { KeyType::Ed25519 } else { KeyType::Secp256k1 };
    (1..=VALIDATORS).map(|seed| PrivateKey::from_seed(kind(seed), &[seed; 32]).unwrap()).collect()
}

fn manifest() -> Manifest {
    let golden = include_bytes!("../../tests/vectors/manifest/good.regenesis");
    let mut manifest = SignedManifest::decode(golden).unwrap().manifest().clone();
    let mut validators: Vec<_> = keys().iter().map(|key| Validator { key: key.public(), power: 1 }).collect();
    validators.sort_by_key(|validator| validator.key);
    (manifest.old_validators, manifest.new_validators) = (validators.clone(), validators);
    manifest.trust.attestations = Attestations::PowerOver { numerator: 2, denominator: 3 };
    manifest
}

/// What a validator signs, as large as it can be: a dissent in every part that it may name, and all of its places.
fn largest(manifest: &Manifest, key: &PrivateKey) -> [Vec<u8>; 2] {
    let name = "x".repeat(200);
    let differs = (0..DIFFERING_PARTS_MAX as u64).map(|n| DifferingPart::new(&name, u64::MAX - n)).collect();
    let dissent =
        Attestation { manifest_id: ID, state_digest: ID, height: i64::MAX, created_unix_seconds: NOW, differs };
    let host = vec!["a".repeat(60); 4].join(".");
    let word = Word {
        stage: Stage::RootReady,
        kwild_version: Some("9".repeat(KWILD_VERSION_CHARS_MAX)),
        places: (0..4).map(|n| format!("{}:6600", &host[n..])).collect(),
        differs: vec![],
    };
    let node = PrivateKey::from_seed(KeyType::Ed25519, &[250; 32]).unwrap();
    let vouch = |message: &[u8]| Some((node.public().bytes().try_into().unwrap(), node.sign(message)));
    let ready = Roster::new(ID, manifest).say(key, &word, NOW, vouch).unwrap();
    [dissent.sign(key), ready]
}

/// A node, as far as it judges what validators say.
struct Node {
    ballot: Ballot,
    roster: Roster,
    /// What it has kept and not yet passed on.
    untold: Vec<Vec<u8>>,
    heard: usize,
}

impl Node {
    fn hear(&mut self, all: &[Vec<u8>]) {
        self.heard += all.iter().map(Vec::len).sum::<usize>();
        self.untold.extend(self.ballot.take(all));
        self.untold.extend(self.roster.take(all.to_vec()));
    }

    fn kept(&self) -> Vec<Vec<u8>> {
        [self.ballot.statements(), self.roster.statements()].concat()
    }
}

#[test]
fn all_that_two_hundred_validators_say_is_with_everyone_in_a_few_steps_and_below_a_mebibyte() {
    let manifest = manifest();
    let new =
        || Node { ballot: Ballot::new(ID, &manifest), roster: Roster::new(ID, &manifest), untold: vec![], heard: 0 };
    let mut nodes: Vec<Node> = (0..NODES).map(|_| new()).collect();
    for (n, key) in keys().iter().enumerate() {
        nodes[n % NODES].hear(&largest(&manifest, key));
    }
    // Each node has four neighbours only; whoever has something new tells it to all of its own.
    let mut steps = 0;
    while nodes.iter().any(|node| !node.untold.is_empty()) {
        let told: Vec<_> = nodes.iter_mut().map(|node| std::mem::take(&mut node.untold)).collect();
        for (from, news) in told.iter().enumerate() {
            for by in [1, 3, NODES - 3, NODES - 1] {
                nodes[(from + by) % NODES].hear(news);
            }
        }
        steps += 1;
    }
    assert!(steps <= 5, "{steps}");
    let largest = STATEMENT_SIZE_BYTES_MAX * 2 * usize::from(VALIDATORS);
    for node in &nodes {
        let kept = node.kept();
        let bytes: usize = kept.iter().map(Vec::len).sum();
        assert_eq!(kept.len(), 2 * usize::from(VALIDATORS));
        assert!(bytes > largest / 2 && bytes <= largest && bytes < 1 << 20, "{bytes}");
        // With the neighbours' doubles, and what each message costs beside.
        assert!(node.heard / 4 + kept.len() * 128 <= STATEMENTS_OF_SESSION_BYTES_MAX, "{}", node.heard);
        assert_eq!(node.ballot.verdict(), Verdict::Lost);
        assert!(node.roster.is_quorum());
        assert_eq!(kept, nodes[0].kept(), "everyone has the same");
    }
}

#[test]
fn what_all_of_them_say_again_and_again_costs_nobody_more() {
    let manifest = manifest();
    let mut node =
        Node { ballot: Ballot::new(ID, &manifest), roster: Roster::new(ID, &manifest), untold: vec![], heard: 0 };
    let all: Vec<Vec<u8>> = keys().iter().take(10).flat_map(|key| largest(&manifest, key)).collect();
    node.hear(&all);
    let kept = node.kept();
    node.untold.clear();
    for _ in 0..500 {
        node.hear(&all);
    }
    assert!(node.untold.is_empty() && node.kept() == kept, "ten thousand replays");
    // Of another manifest nothing counts, however often it is said, nor does a binding, which is nobody's to pass on.
    let other = Blake3Hash::from_bytes([8; 32]);
    let mut elsewhere =
        Node { ballot: Ballot::new(other, &manifest), roster: Roster::new(other, &manifest), untold: vec![], heard: 0 };
    elsewhere.hear(&all);
    let key = &keys()[1];
    let binding = Binding {
        node: key.public(),
        created_unix_seconds: NOW,
        not_after_unix_seconds: UNIX_SECONDS_MAX,
        new_chain_id: None,
    };
    elsewhere.hear(&[binding.sign(key).unwrap()]);
    assert!(elsewhere.kept().is_empty());
}
