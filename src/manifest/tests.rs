//! One fixed manifest, committed as bytes, and one case for each way to be wrong.

use kwil_formats::formats::key::KeyType;
use proptest::prelude::*;

use super::*;
use crate::base::{Error, Kind};

const GENESIS: &[u8] = include_bytes!("../../tests/vectors/manifest/genesis.json");
const GOLDEN: &[u8] = include_bytes!("../../tests/vectors/manifest/good.regenesis");
const GOLDEN_ID: &str = include_str!("../../tests/vectors/manifest/good.id");
const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
}

fn secp(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Secp256k1, &[seed; 32]).unwrap()
}

fn describe(bytes: &[u8]) -> ArtifactDescription {
    let mut hasher = ArtifactHasher::default();
    hasher.update(bytes);
    hasher.finish(Layout::for_size(bytes.len() as u64).unwrap()).unwrap()
}

/// Stands for the gzip file: three chunks, the last one short.
fn snapshot() -> Vec<u8> {
    (0..(2 * (256 << 10) + 5_u32)).map(|i| (i % 253) as u8).collect()
}

/// Every field set.
fn manifest() -> Manifest {
    let genesis = Genesis::parse(GENESIS).unwrap();
    let mut cosigners = vec![secp(2).public(), key(3).public()];
    cosigners.sort();
    let table = |name: &str, rows| TableDigest {
        name: name.into(),
        columns: vec!["id".into(), "name".into()],
        rows,
        digest: Blake3Hash::from_bytes([4; 32]),
    };
    let mut old_validators: Vec<_> =
        [secp(21), key(22)].iter().map(|k| Validator { key: k.public(), power: 7 }).collect();
    old_validators.sort_by_key(|v| v.key);
    Manifest {
        network: Network {
            family: Family::V010,
            old_chain_id: Some("the-old-one".into()),
            new_chain_id: genesis.chain_id().into(),
            height: 76,
        },
        sequence: NOW - 100,
        created_unix_seconds: NOW - 101,
        not_after_unix_seconds: Some(NOW + 1000),
        artifacts: vec![
            Artifact::new(ArtifactName::Genesis, describe(GENESIS)),
            Artifact::new(ArtifactName::Snapshot, describe(&snapshot())),
        ],
        state_hash: genesis.state_hash().unwrap(),
        text_size_bytes: 12_345,
        state_digest: Some(StateDigest {
            digest: Blake3Hash::from_bytes([5; 32]),
            schema_digest: Blake3Hash::from_bytes([6; 32]),
            server_major: 16,
            dump_major: 17,
            tables: vec![table("kwild_voting.voters", 4), table("shop.orders", 0)],
        }),
        old_validators,
        new_validators: genesis_validators(&genesis).unwrap(),
        trust: TrustRules {
            lead: key(1).public(),
            threshold: Threshold::Count(2),
            cosigners,
            attestations: Attestations::LeaderAndMajority { leader: secp(21).public() },
        },
        supersedes: Some(Blake3Hash::from_bytes([8; 32])),
        node_addresses: vec![
            PeerAddress::of_key(Family::V010, &secp(21).public(), "10.0.0.5:6600").unwrap(),
            PeerAddress::of_key(Family::V010, &secp(21).public(), "kwil.example:6601").unwrap(),
        ],
        collation: Some(Collation {
            encoding: "UTF8".into(),
            provider: "icu".into(),
            collate: "C.UTF-8".into(),
            ctype: "C.UTF-8".into(),
            icu_locale: "en-US".into(),
            icu_rules: String::new(),
            version: "153.14".into(),
            server_major: 16,
            text_keys: 2,
            text_key_tables: vec!["shop.orders".into(), "shop.people".into()],
        }),
        new_leader: genesis.leader().copied(),
    }
}

fn sign(manifest: &Manifest) -> SignedManifest {
    let mut signed = manifest.sign(&key(1)).unwrap();
    signed.add_signature(&secp(2)).unwrap();
    signed
}

fn policy() -> TrustPolicy {
    TrustPolicy { keys: vec![key(1).public()], ..TrustPolicy::default() }
}

fn verified(bytes: &[u8]) -> Result<VerifiedManifest, VerifyError> {
    verify::verify(bytes, &policy(), NOW)
}

/// Verifies a manifest that is signed as it should be after a change, and gives the failing step.
fn step_after(change: impl FnOnce(&mut Manifest)) -> Result<(), (Step, String)> {
    let mut manifest = manifest();
    change(&mut manifest);
    // Sign what the writer's own check would refuse.
    let bytes = sign_unchecked(&wire::encode_manifest(&manifest), &[key(1), secp(2)]);
    let done = verified(&bytes).and_then(|m| m.check_genesis(GENESIS));
    done.map(|_| ()).map_err(|e| (e.step(), e.to_string()))
}

fn sign_unchecked(payload: &[u8], keys: &[PrivateKey]) -> Vec<u8> {
    let input = head_of(payload);
    let signatures: Vec<_> = keys.iter().map(|k| Signature::new(k, &input)).collect();
    wire::encode_signed(payload, &signatures)
}

/// What is signed of a payload; of one that cannot be read, something that nobody compares.
fn head_of(payload: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"regenesis/manifest/v1\0").update(payload);
    let manifest = wire::decode_manifest(payload).unwrap_or_else(|_| manifest());
    let head = signed::Head {
        manifest_id: Blake3Hash::from_bytes(*hasher.finalize().as_bytes()),
        sequence: manifest.sequence,
        new_chain_id: &manifest.network.new_chain_id,
        lead: &manifest.trust.lead,
    };
    head.message()
}

fn fails(step: Step, words: &str, result: Result<(), (Step, String)>) {
    let (got, text) = result.expect_err(words);
    assert_eq!(got, step, "{text}");
    assert!(text.contains(words), "{text}");
}

fn plain(result: Result<VerifiedManifest, VerifyError>) -> Result<(), (Step, String)> {
    result.map(|_| ()).map_err(|e| (e.step(), e.to_string()))
}

#[test]
fn golden_bytes_and_id_do_not_change() {
    let signed = sign(&manifest());
    assert_eq!(hex::encode(signed.to_bytes()), hex::encode(GOLDEN));
    assert_eq!(signed.id().to_string(), GOLDEN_ID.trim());
}

#[test]
fn golden_manifest_verifies_and_says_what_was_signed() {
    let verified = verified(GOLDEN).unwrap();
    assert_eq!(*verified.manifest(), manifest());
    assert_eq!(verified.bytes(), GOLDEN);
    assert_eq!(verified.id().to_string(), GOLDEN_ID.trim());
    assert_eq!(verified.signers().count(), 2);
    assert_eq!(verified.check_genesis(GENESIS).unwrap().chain_id(), verified.manifest().network.new_chain_id);
    let (bytes, snapshot) = (snapshot(), verified.manifest().artifact(ArtifactName::Snapshot));
    let index = snapshot.layout.index(2).unwrap();
    let last = &bytes[2 * (256 << 10)..];
    assert_eq!((snapshot.chunk_id(index), last.len()), (Some(&chunk_id(&snapshot.layout, index, last)), 5));
}

#[test]
fn signatures_do_not_change_the_id() {
    let mut signed = manifest().sign(&key(1)).unwrap();
    let before = signed.id();
    signed.add_signature(&key(3)).unwrap();
    signed.add_signature(&key(3)).unwrap();
    assert_eq!((signed.id(), signed.signatures().len()), (before, 2));
    let error = signed.add_signature(&key(99)).unwrap_err();
    assert!(error.to_string().contains("neither lead nor co-signer"));
}

#[test]
fn steps_are_numbered_from_one() {
    let numbers: Vec<_> = Step::ALL.iter().map(|s| s.number()).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

#[test]
fn too_large() {
    let bytes = vec![0; limits::MANIFEST_SIZE_BYTES_MAX + 1];
    fails(Step::Size, "at most", plain(verified(&bytes)));
}

#[test]
fn cut_at_every_place() {
    for end in 0..GOLDEN.len() {
        let error = verified(&GOLDEN[..end]).unwrap_err();
        // Cut between two signatures it still reads, but lacks one.
        assert!(matches!(error.step(), Step::Decode | Step::Threshold), "{end}: {error}");
    }
}

#[test]
fn padded() {
    for pad in [&b"\0"[..], b"\n", b"\x0a\x00", b"\x12\x00"] {
        let error = verified(&[GOLDEN, pad].concat()).unwrap_err();
        assert_eq!(error.step(), Step::Decode, "{error}");
    }
}

#[test]
fn unknown_field() {
    // Field 99, varint 1: a reader that ignored it would give one manifest two ids.
    let outside = [GOLDEN, &[0x98, 0x06, 0x01]].concat();
    fails(Step::Decode, "something was added", plain(verified(&outside)));
    let mut payload = wire::encode_manifest(&manifest());
    payload.extend([0x98, 0x06, 0x01]);
    let inside = sign_unchecked(&payload, &[key(1), secp(2)]);
    fails(Step::Decode, "something was added", plain(verified(&inside)));
}

#[test]
fn newer_format_says_so_even_with_fields_of_its_own() {
    let mut payload = wire::encode_manifest(&manifest());
    assert_eq!(payload[..2], [0x08, 0x01]);
    payload[1] = 2;
    payload.extend([0x98, 0x06, 0x01]);
    let error = verified(&sign_unchecked(&payload, &[key(1)])).unwrap_err();
    assert_eq!(error.step(), Step::Decode);
    assert!(error.to_string().contains("made by a newer regenesis"), "{error}");
    assert!(format!("{:?}", Error::from(error).advice()).contains("same version"));
}

#[test]
fn not_a_manifest_at_all() {
    for text in [&b""[..], b"hello", GENESIS, &[0x1f, 0x8b, 8, 0]] {
        assert_eq!(verified(text).unwrap_err().step(), Step::Decode);
    }
}

#[test]
fn unsorted_or_doubled_signatures() {
    let payload = wire::encode_manifest(&manifest());
    fails(Step::Decode, "not sorted", plain(verified(&sign_unchecked(&payload, &[secp(2), key(1)]))));
    fails(Step::Decode, "twice", plain(verified(&sign_unchecked(&payload, &[key(1), key(1)]))));
    fails(Step::Decode, "signatures is missing", plain(verified(&sign_unchecked(&payload, &[]))));
}

#[test]
fn foreign_keys() {
    // By someone the manifest does not name.
    let payload = wire::encode_manifest(&manifest());
    fails(Step::Signature, "neither its lead", plain(verified(&sign_unchecked(&payload, &[key(66)]))));
    // Whole and well signed, but by a lead nobody pinned.
    let mut foreign = manifest();
    foreign.trust = TrustRules::lead_alone(key(66).public());
    let bytes = foreign.sign(&key(66)).unwrap().to_bytes();
    fails(Step::Signature, "not by the pinned", plain(verified(&bytes)));
    let nobody = TrustPolicy::default();
    fails(Step::Signature, "pinned none", plain(verify::verify(GOLDEN, &nobody, NOW)));
}

#[test]
fn a_signature_over_other_bytes() {
    let mut other = manifest();
    other.network.height += 1;
    let signature = Signature::new(&key(1), &head_of(&wire::encode_manifest(&other)));
    let bytes = wire::encode_signed(&wire::encode_manifest(&manifest()), &[signature]);
    fails(Step::Signature, "does not hold", plain(verified(&bytes)));
    // The same head signed without the domain.
    let domain = b"regenesis/manifest-head/v1\0".len();
    let bare = Signature::new(&key(1), &head_of(&wire::encode_manifest(&manifest()))[domain..]);
    let bytes = wire::encode_signed(&wire::encode_manifest(&manifest()), &[bare]);
    fails(Step::Signature, "does not hold", plain(verified(&bytes)));
}

#[test]
fn too_few_distinct_keys() {
    let one = manifest().sign(&key(1)).unwrap().to_bytes();
    fails(Step::Threshold, "1 of 2 signatures", plain(verified(&one)));
}

#[test]
fn other_network_and_other_manifest() {
    let policy = TrustPolicy { chain_id: Some("elsewhere".into()), ..policy() };
    fails(Step::Network, "not elsewhere", plain(verify::verify(GOLDEN, &policy, NOW)));
    let policy = TrustPolicy { manifest_id: Some(Blake3Hash::from_bytes([1; 32])), ..self::policy() };
    fails(Step::Network, "it is manifest", plain(verify::verify(GOLDEN, &policy, NOW)));
    let policy = TrustPolicy { manifest_id: GOLDEN_ID.trim().parse().ok(), ..self::policy() };
    assert!(policy.manifest_id.is_some() && verify::verify(GOLDEN, &policy, NOW).is_ok());
}

/// The proof that the lead has two manifests with this number.
fn two_faces(sequence: u64) -> Evidence {
    let [one, other] = [1, 2].map(|height| {
        let mut manifest = manifest();
        manifest.sequence = sequence;
        manifest.network.height += height;
        manifest.sign(&key(1)).unwrap()
    });
    Evidence::Equivocation(crate::manifest::Equivocation::between(&one, &other).unwrap())
}

#[test]
fn sequences() {
    let (sequence, id) = (manifest().sequence, GOLDEN_ID.trim().parse().unwrap());
    let other = Blake3Hash::from_bytes([1; 32]);
    let seen = |sequence, id| TrustPolicy { highest_sequence_seen: Some((sequence, id)), ..policy() };
    let check = |policy: &TrustPolicy| plain(verify::verify(GOLDEN, policy, NOW));
    // The same again, and a higher one, are fine.
    check(&seen(sequence, id)).unwrap();
    check(&seen(sequence - 1, other)).unwrap();
    fails(Step::Sequence, "a rollback", check(&seen(sequence + 1, other)));
    // An operator names the one that is taken all the same; two of one number stay refused.
    let named = |allowed| TrustPolicy { allowed_rollback: Some(allowed), ..seen(sequence + 1, other) };
    check(&named(sequence)).unwrap();
    fails(Step::Sequence, "a rollback", check(&named(sequence + 1)));
    let two = TrustPolicy { evidence: vec![two_faces(sequence)], ..named(sequence) };
    fails(Step::Sequence, "neither is good", check(&two));
    fails(Step::Sequence, "two different manifests", check(&seen(sequence, other)));
    let known = TrustPolicy { evidence: vec![two_faces(sequence)], ..seen(sequence, id) };
    fails(Step::Sequence, "neither is good", check(&known));
    check(&TrustPolicy { evidence: vec![two_faces(sequence - 1)], ..policy() }).unwrap();
    let later = TrustPolicy { evidence: vec![two_faces(sequence + 1)], ..policy() };
    fails(Step::Sequence, "a rollback", check(&later));
    // A rollback is a safety rule; the others are faults of the manifest.
    let kind = |policy: &TrustPolicy| Error::from(verify::verify(GOLDEN, policy, NOW).unwrap_err()).kind();
    assert_eq!(kind(&seen(sequence + 1, other)), Kind::Refused);
    assert_eq!(kind(&seen(sequence, other)), Kind::Verify);
}

#[test]
fn from_the_future() {
    let early = |now| plain(verify::verify(GOLDEN, &policy(), now));
    let day = 24 * 3600;
    early(manifest().sequence - day).unwrap();
    fails(Step::Sequence, "ahead of this machine's clock", early(manifest().sequence - day - 1));
    // A counter near the end must not lock everyone else out, nor overflow.
    fails(Step::Sequence, "ahead", step_after(|m| m.sequence = u64::MAX));
}

#[test]
fn expired() {
    let at = |now| plain(verify::verify(GOLDEN, &policy(), now));
    at(NOW + 1000).unwrap();
    fails(Step::Expiry, "it expired at 2027-01-15T08:16:40Z", at(NOW + 1001));
    step_after(|m| m.not_after_unix_seconds = None).unwrap();
}

#[test]
fn wrong_root_and_wrong_ids() {
    let swap = |m: &mut Manifest| m.artifacts[1].chunk_ids.swap(0, 1);
    fails(Step::Chunks, "of the snapshot merge to", step_after(swap));
    fails(Step::Chunks, "of the snapshot", step_after(|m| m.artifacts[1].root = Blake3Hash::from_bytes([1; 32])));
    fails(
        Step::Chunks,
        "of the genesis",
        step_after(|m| m.artifacts[0].chunk_ids[0] = Blake3Hash::from_bytes([1; 32])),
    );
}

#[test]
fn fields_that_cannot_be() {
    let id = Blake3Hash::from_bytes([1; 32]);
    type Change = Box<dyn Fn(&mut Manifest)>;
    let cases: Vec<(&str, Change)> = vec![
        ("has 2 chunk ids, but its size makes 3", Box::new(|m| m.artifacts[1].chunk_ids.truncate(2))),
        ("has 4 chunk ids", Box::new(move |m| m.artifacts[1].chunk_ids.push(id))),
        ("in this order", Box::new(|m| m.artifacts.reverse())),
        ("not exactly genesis and snapshot", Box::new(|m| m.artifacts.truncate(1))),
        ("not exactly genesis and snapshot", Box::new(|m| m.artifacts.push(m.artifacts[1].clone()))),
        ("new_chain_id", Box::new(|m| m.network.new_chain_id.clear())),
        ("control characters", Box::new(|m| m.network.new_chain_id = "a\u{1b}[2J".into())),
        ("too long", Box::new(|m| m.network.new_chain_id = "a".repeat(129))),
        ("the same as the old", Box::new(|m| m.network.old_chain_id = Some(m.network.new_chain_id.clone()))),
        ("height: below 0", Box::new(|m| m.network.height = -1)),
        ("new_validators are not sorted", Box::new(|m| m.new_validators.reverse())),
        ("new_validators are not sorted", Box::new(|m| m.new_validators.push(*m.new_validators.last().unwrap()))),
        ("a network of v0.9 has none", Box::new(|m| (m.network.family, m.node_addresses) = (Family::V09, Vec::new()))),
        ("new_validators: empty", Box::new(|m| m.new_validators.clear())),
        ("without power", Box::new(|m| m.new_validators[0].power = 0)),
        ("more power than", Box::new(|m| m.new_validators[0].power = u64::MAX)),
        ("old_validators are not sorted", Box::new(|m| m.old_validators.reverse())),
        ("state_digest.tables are not sorted", Box::new(|m| m.state_digest.as_mut().unwrap().tables.reverse())),
        ("cosigners are not sorted", Box::new(|m| m.trust.cosigners.reverse())),
        ("the lead is among them", Box::new(|m| m.trust.cosigners = vec![m.trust.lead])),
        ("threshold", Box::new(|m| m.trust.threshold = Threshold::Count(0))),
        ("threshold", Box::new(|m| m.trust.threshold = Threshold::Count(4))),
        ("names no validators of the old", Box::new(|m| m.old_validators.clear())),
        (
            "the old leader is not",
            Box::new(|m| {
                m.trust.attestations = Attestations::LeaderAndMajority { leader: key(1).public() };
            }),
        ),
        ("more than there are", Box::new(|m| m.trust.attestations = Attestations::Count(3))),
        ("say none", Box::new(|m| m.trust.attestations = Attestations::Count(0))),
        (
            "could never be met",
            Box::new(|m| {
                m.trust.attestations = Attestations::PowerOver { numerator: 1, denominator: 1 };
            }),
        ),
    ];
    for (words, change) in cases {
        fails(Step::Decode, words, step_after(&change));
        // What no reader takes is not signed either.
        let mut manifest = manifest();
        change(&mut manifest);
        assert!(manifest.sign(&key(1)).is_err(), "{words}");
    }
}

/// Replaces bytes in the payload and signs it again: what no writer of ours can make.
fn patched(from: &[u8], to: &[u8]) -> Result<(), (Step, String)> {
    let payload = wire::encode_manifest(&manifest());
    let at = payload.windows(from.len()).position(|w| w == from).expect("in the payload");
    let changed = [&payload[..at], to, &payload[at + from.len()..]].concat();
    plain(verified(&sign_unchecked(&changed, &[key(1), secp(2)])))
}

#[test]
fn values_that_no_writer_makes() {
    // Network: family, then the old chain id.
    fails(
        Step::Decode,
        "network.family has the unknown value 9",
        patched(b"\x08\x02\x12\x0bthe", b"\x08\x09\x12\x0bthe"),
    );
    // Chunk size 256 KiB as a varint, to 512 KiB less 128 bytes.
    fails(Step::Decode, "not a power of two", patched(b"\x28\x80\x80\x10", b"\x28\x80\xff\x1f"));
    // The lead's key, of a curve without a name.
    let lead = [&b"\x08\x01\x12\x20"[..], &key(1).public().bytes()[..4]].concat();
    let unknown = [&b"\x08\x07\x12\x20"[..], &key(1).public().bytes()[..4]].concat();
    fails(Step::Decode, "trust.lead has the unknown value 7", patched(&lead, &unknown));
    // The same number in more bytes than it needs.
    let sequence = manifest().sequence;
    let mut varint = vec![0x18];
    prost_varint(sequence, &mut varint);
    let mut longer = varint.clone();
    *longer.last_mut().unwrap() |= 0x80;
    longer.push(0);
    fails(Step::Decode, "not the ones that regenesis writes", patched(&varint, &longer));
}

fn prost_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn genesis_mismatch() {
    let golden = verified(GOLDEN).unwrap();
    let error = golden.check_genesis(b"{}").unwrap_err();
    assert_eq!(error.step(), Step::Genesis, "{error}");
    // A file that the manifest does name, but that is no genesis.
    let with_genesis = |bytes: &[u8], change: &dyn Fn(&mut Manifest)| {
        let mut manifest = manifest();
        manifest.artifacts[0] = Artifact::new(ArtifactName::Genesis, describe(bytes));
        change(&mut manifest);
        let error = verified(&sign(&manifest).to_bytes()).unwrap().check_genesis(bytes).unwrap_err();
        (error.step(), Error::from(error).chain())
    };
    let (step, text) = with_genesis(b"{\"chain_id\":", &|_| {});
    assert_eq!(step, Step::Genesis, "{text}");
    let genesis = Genesis::parse(GENESIS).unwrap();
    let edited = |change: &dyn Fn(&mut Genesis)| {
        let mut genesis = genesis.clone();
        change(&mut genesis);
        genesis.to_bytes()
    };
    let state = Sha256Hash::from_bytes([9; 32]);
    let (step, text) = with_genesis(&edited(&|g| g.set_state_hash(state)), &|_| {});
    assert!(step == Step::State && text.contains("pins state hash 0909"), "{text}");
    let (step, text) = with_genesis(&edited(&|g| g.set_chain_id("other")), &|_| {});
    assert!(step == Step::State && text.contains("chain id of the genesis is not the manifest's: other"), "{text}");
    let (step, text) = with_genesis(GENESIS, &|m| {
        (m.network.family, m.node_addresses, m.new_leader) = (Family::V09, vec![], None);
    });
    assert!(step == Step::State && text.contains("family"), "{text}");
    let (step, text) = with_genesis(GENESIS, &|m| m.new_leader = Some(key(1).public()));
    assert!(step == Step::State && text.contains("leader of the genesis is not the manifest's"), "{text}");
    let (step, text) = with_genesis(GENESIS, &|m| m.new_validators[0].power += 1);
    assert!(step == Step::State && text.contains("validator set"), "{text}");
    let stranger = String::from_utf8_lossy(GENESIS).replacen("\"max_block_size\": 6291456", "\"max_block_size\": 0", 1);
    let (step, text) = with_genesis(stranger.as_bytes(), &|_| {});
    assert!(step == Step::Genesis && text.contains("cannot be used"), "{text}");
}

#[test]
fn addresses_and_collations_of_a_hostile_lead_are_refused() {
    fails(Step::Decode, "node_addresses are not sorted", step_after(|m| m.node_addresses.reverse()));
    fails(Step::Decode, "node_addresses", step_after(|m| m.network.family = Family::V09));
    let flood = |m: &mut Manifest| {
        let of = |n: u32| PeerAddress::of_key(Family::V010, &secp(21).public(), &format!("h{n:05}:1")).unwrap();
        m.node_addresses = (0..300).map(of).collect();
    };
    fails(Step::Decode, "more than a configuration takes", step_after(flood));
    let collation = |change: fn(&mut Collation)| step_after(move |m| m.collation.iter_mut().for_each(change));
    for change in [
        (|c: &mut Collation| c.collate = "C'; DROP DATABASE x; --".into()) as fn(&mut Collation),
        |c| c.icu_locale = "a\nb".into(),
        |c| c.provider = "builtin".into(),
        |c| c.version = "9".repeat(200),
        |c| c.text_key_tables = vec!["t".into(); 17],
    ] {
        fails(Step::Decode, "collation", collation(change));
    }
    assert_eq!(step_after(|m| (m.collation, m.node_addresses) = (None, vec![])), Ok(()));
    // An address that is written in another way would give one manifest two ids.
    let payload = wire::encode_manifest(&manifest());
    let other = String::from_utf8_lossy(b"10.0.0.5:6600").replace("6600", "0660");
    let at = payload.windows(13).position(|w| w == b"10.0.0.5:6600").unwrap();
    let changed = [&payload[..at], other.as_bytes(), &payload[at + 13..]].concat();
    fails(Step::Decode, "node_addresses", plain(verified(&sign_unchecked(&changed, &[key(1), secp(2)]))));
}

#[test]
fn errors_name_the_step_and_what_to_do() {
    let mut bytes = GOLDEN.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let error = Error::from(verified(&bytes).unwrap_err());
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.chain().starts_with("the manifest fails step 3 (signature by a pinned key): "), "{}", error.chain());
    assert!(error.advice().is_some());
}

#[test]
fn any_flipped_bit_of_a_byte_is_found() {
    for i in 0..GOLDEN.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = GOLDEN.to_vec();
            bytes[i] ^= bit;
            assert!(verified(&bytes).is_err(), "byte {i}");
        }
    }
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let sizes = (0..5_000_u32, any::<i64>(), any::<u64>(), any::<Option<u64>>());
    let texts = ("[a-zA-Z0-9-]{1,50}", proptest::option::of("\\PC{1,30}"), 0..20_usize, any::<bool>());
    (sizes, texts, any::<[u8; 32]>()).prop_map(|(sizes, texts, hash)| {
        let ((size, height, sequence, not_after), (new, old, validators, digest)) = (sizes, texts);
        let mut manifest = manifest();
        manifest.network.old_chain_id = old.filter(|o| *o != new && o.len() <= 128);
        manifest.network.new_chain_id = new;
        manifest.network.height = height & i64::MAX;
        manifest.sequence = sequence;
        manifest.not_after_unix_seconds = not_after.filter(|n| *n > 0);
        manifest.artifacts[1] = Artifact::new(ArtifactName::Snapshot, describe(&vec![hash[0]; size as usize]));
        manifest.state_hash = Sha256Hash::from_bytes(hash);
        manifest.new_validators =
            (0..=validators as u8).map(|i| Validator { key: key(i).public(), power: 3 }).collect();
        manifest.new_validators.sort_by_key(|v| v.key);
        manifest.supersedes = digest.then_some(Blake3Hash::from_bytes(hash));
        manifest.state_digest = manifest.state_digest.filter(|_| digest);
        manifest
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn manifests_round_trip(manifest in any_manifest()) {
        let signed = manifest.sign(&key(1)).unwrap();
        let again = SignedManifest::decode(&signed.to_bytes()).unwrap();
        prop_assert_eq!(again.manifest(), &manifest);
        prop_assert_eq!(again.id(), signed.id());
        prop_assert_eq!(again.signers().unwrap().count(), 1);
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..GOLDEN.len()) {
        let _ = verified(&bytes);
        let mixed = [&GOLDEN[..cut], &bytes[..]].concat();
        prop_assert!(verified(&mixed).is_err() || mixed == GOLDEN);
        // Signed nonsense reaches the inner reader.
        prop_assert!(verified(&sign_unchecked(&bytes, &[key(1)])).is_err());
    }
}
