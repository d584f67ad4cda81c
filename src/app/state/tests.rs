//! What manifests that lack signatures do to what a machine remembers: nothing, but that two of one number are found out.

use kwil_formats::formats::key::{KeyType, PrivateKey};

use super::*;
use crate::{base::Kind, manifest::Threshold};

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
}

/// A manifest that its lead and one co-signer must sign, signed by its lead; `height` tells one from another.
fn proposal(sequence: u64, height: i64) -> SignedManifest {
    let golden = SignedManifest::decode(include_bytes!("../../../tests/vectors/manifest/good.regenesis")).unwrap();
    let mut manifest = golden.manifest().clone();
    manifest.trust.lead = key(1).public();
    manifest.trust.threshold = Threshold::Count(2);
    manifest.trust.cosigners = vec![key(2).public()];
    (manifest.sequence, manifest.network.height) = (sequence, height);
    (manifest.created_unix_seconds, manifest.not_after_unix_seconds) = (sequence, None);
    manifest.sign(&key(1)).unwrap()
}

fn cosigned(mut signed: SignedManifest) -> SignedManifest {
    signed.add_signature(&key(2)).unwrap();
    signed
}

fn policy(proposals: bool) -> TrustPolicy {
    TrustPolicy { keys: vec![key(1).public()], proposals, ..TrustPolicy::default() }
}

fn state() -> (tempfile::TempDir, StateDirectory) {
    let place = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(Some(place.path())).unwrap();
    (place, state)
}

#[test]
fn a_proposal_raises_no_mark_and_two_of_one_number_are_found_out() {
    let (_place, state) = state();
    let verify = |signed: &SignedManifest, proposals| state.verify(&signed.to_bytes(), &policy(proposals), NOW);
    let good = cosigned(proposal(NOW - 10, 1));
    assert!(!verify(&good, false).unwrap().is_proposal());
    // Somebody has the lead's key and nothing else.
    let stolen = proposal(NOW + 1000, 2);
    assert!(verify(&stolen, false).unwrap_err().to_string().contains("step 4"));
    assert!(verify(&stolen, true).unwrap().is_proposal());
    verify(&good, false).unwrap();
    verify(&good, true).unwrap();
    // A second one with its number is the lead's second face, and the proof is kept.
    let second = verify(&proposal(NOW + 1000, 3), true).unwrap_err();
    assert!(second.kind() == Kind::Verify && second.to_string().contains("two different manifests"), "{second}");
    assert!(format!("{:?}", second.advice()).contains("proof is kept"), "{:?}", second.advice());
    // Once it has its signatures, it counts as any other.
    let (_other, state) = self::state();
    let verify = |signed: &SignedManifest| state.verify(&signed.to_bytes(), &policy(true), NOW);
    verify(&cosigned(stolen)).unwrap();
    assert_eq!(verify(&good).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn a_key_signs_one_manifest_of_a_number() {
    let (_place, state) = state();
    let first = proposal(NOW, 1);
    state.remember_signing(&first).unwrap();
    state.remember_signing(&cosigned(first)).unwrap();
    let second = state.remember_signing(&proposal(NOW, 2)).unwrap_err();
    assert!(second.kind() == Kind::Verify && second.to_string().contains("two different manifests"), "{second}");
    let older = state.remember_signing(&proposal(NOW - 1, 2)).unwrap_err();
    assert!(older.kind() == Kind::Refused && older.to_string().contains("a rollback"), "{older}");
    state.clone().allowing_rollback(Some(NOW - 1)).remember_signing(&proposal(NOW - 1, 2)).unwrap();
    state.remember_signing(&proposal(NOW + 1, 2)).unwrap();
}
