//! Signatures that come one by one, by number and by power, and what is no signature.

use kwil_formats::formats::{Validator, key::KeyType};

use super::*;
use crate::manifest::{Attestations, Threshold, TrustPolicy, VerifyError, verify};

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
}

/// The committed manifest under other rules, signed by its lead alone.
fn proposal(threshold: Threshold, cosigners: &[u8], old: &[(u8, u64)]) -> SignedManifest {
    let golden = SignedManifest::decode(include_bytes!("../../../tests/vectors/manifest/good.regenesis")).unwrap();
    let mut manifest = golden.manifest().clone();
    manifest.trust.lead = key(1).public();
    manifest.trust.threshold = threshold;
    manifest.trust.cosigners = cosigners.iter().map(|seed| key(*seed).public()).collect();
    manifest.trust.cosigners.sort();
    manifest.trust.attestations = Attestations::None;
    manifest.old_validators =
        old.iter().map(|(seed, power)| Validator { key: key(*seed).public(), power: *power }).collect();
    manifest.old_validators.sort_by_key(|validator| validator.key);
    manifest.sign(&key(1)).unwrap()
}

fn three() -> SignedManifest {
    proposal(Threshold::Count(3), &[2, 3, 4], &[])
}

fn signing(signed: &SignedManifest) -> Signing {
    Signing::new(signed).unwrap()
}

#[test]
fn signatures_come_one_by_one_and_each_key_counts_once() {
    let (signed, mut other) = (three(), signing(&three()));
    let mut node = signing(&signed);
    assert!(!node.is_enough());
    assert_eq!(node.standing().missing.len(), 3);
    let second = other.sign(&key(2)).unwrap();
    assert_eq!(other.sign(&key(2)), None);
    assert_eq!(node.take(&[second.clone(), second.clone()]), Taken { kept: vec![second.clone()], is_any_false: false });
    assert_eq!(node.take(&[second]), Taken::default());
    let third = other.sign(&key(3)).unwrap();
    assert_eq!(node.take(&[third]).kept.len(), 1);
    assert!(node.is_enough());
    assert_eq!(node.standing().weight.to_string(), "3 of 3 signatures");
    assert_eq!(node.standing().missing, [key(4).public()]);
    // The id is the one that the lead signed, and whoever reads the file takes it.
    assert_eq!(node.signed().id(), signed.id());
    let policy = TrustPolicy { keys: vec![key(1).public()], ..TrustPolicy::default() };
    let now = signed.manifest().sequence;
    verify::verify(&node.signed().to_bytes(), &policy, now).unwrap();
    let short = verify::verify(&signed.to_bytes(), &policy, now).unwrap_err();
    assert!(matches!(short, VerifyError::Threshold(weight) if weight.signatures == 1), "{short}");
    // A late one hears all of it from what is told, or from the file.
    let mut late = signing(&signed);
    assert_eq!(late.take(&node.statements()).kept.len(), 2);
    assert!(late.is_enough());
    assert_eq!(signing(&signed).merge(node.signed()).len(), 2);
}

#[test]
fn what_is_no_signature_of_this_manifest_is_told_from_what_is_about_something_else() {
    let mut node = signing(&three());
    let is_false = |node: &mut Signing, bytes: Vec<u8>| {
        let taken = node.take(&[bytes]);
        assert!(taken.kept.is_empty());
        taken.is_any_false
    };
    let good = signing(&three()).sign(&key(2)).unwrap();
    let (payload, mut signature) = wire::decode_statement(&good).unwrap();
    signature.signature[3] ^= 1;
    assert!(is_false(&mut node, wire::encode_statement(&payload, &signature)));
    // By a key that may not sign, and by one that says it is another.
    let stranger = Signature::new(&key(9), &node.signed.head().message());
    assert!(is_false(&mut node, wire::encode_statement(&payload, &stranger)));
    let posing = Signature { key: key(3).public(), ..Signature::new(&key(2), &node.signed.head().message()) };
    assert!(is_false(&mut node, wire::encode_statement(&payload, &posing)));
    // The signature that takes a manifest back is none that makes it count.
    let revoking = Signature::new(&key(2), &node.signed.head().revocation());
    assert!(is_false(&mut node, wire::encode_statement(&payload, &revoking)));
    // Another manifest's says nothing here.
    let elsewhere = proposal(Threshold::Count(2), &[2, 3, 4], &[]);
    assert!(!is_false(&mut node, signing(&elsewhere).sign(&key(2)).unwrap()));
    assert!(!is_false(&mut node, vec![7; 40]));
    assert!(!is_false(&mut node, vec![0; STATEMENT_SIZE_BYTES_MAX + 1]));
    assert_eq!(node.standing().signed, [key(1).public()]);
    // The right one is still taken, and a wrong one by the same key is wrong afterwards, too.
    assert_eq!(node.take(&[good]).kept.len(), 1);
    assert!(is_false(&mut node, wire::encode_statement(&payload, &posing)));
}

#[test]
fn no_byte_of_a_signature_or_refusal_can_change() {
    let statements = [signing(&three()).sign(&key(2)).unwrap(), signing(&three()).refuse(&key(2), "no", 5).unwrap()];
    for good in statements {
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(signing(&three()).take(&[changed]).kept.is_empty(), "byte {at}");
        }
        assert_eq!(signing(&three()).take(&[good]).kept.len(), 1);
    }
}

#[test]
fn a_refusal_is_named_until_its_key_signs() {
    let mut node = signing(&three());
    let mut own = signing(&three());
    let long = format!("its old database\n{}", "x".repeat(500));
    let refusal = own.refuse(&key(2), &long, 100).unwrap();
    assert_eq!(own.refuse(&key(2), &long, 101), None, "it was said");
    assert_eq!(own.refuse(&key(9), &long, 101), None, "it may not sign");
    assert_eq!(node.take(std::slice::from_ref(&refusal)).kept.len(), 1);
    let (who, why) = &node.standing().refused[0];
    assert!(*who == key(2).public() && why.starts_with("its old database?xxx") && why.len() <= 100, "{why}");
    assert_eq!(node.standing().missing.len(), 2);
    // A later one counts, an older one does not.
    let later = own.refuse(&key(2), "another table", 90).unwrap();
    assert_eq!(node.take(&[later]).kept.len(), 1);
    assert!(node.take(&[refusal]).kept.is_empty());
    assert_eq!(node.standing().refused[0].1, "another table");
    // Somebody else's word for it is false.
    let forged = statement::sign(
        b"regenesis/attestation/v1\0",
        &wire::encode_refusal(&Refusal { manifest_id: node.id, created_unix_seconds: 200, reason: "no".into() }),
        &key(3),
    );
    assert!(node.take(&[forged]).is_any_false);
    let signature = own.sign(&key(2)).unwrap();
    assert_eq!(own.refuse(&key(2), "again", 300), None, "it has signed");
    assert_eq!(node.take(&[signature]).kept.len(), 1);
    assert!(node.standing().refused.is_empty());
    assert_eq!(node.statements().len(), 2);
}

#[test]
fn refusals_of_one_key_are_few() {
    let (mut node, mut own) = (signing(&three()), signing(&three()));
    let said: Vec<_> = (0..100).filter_map(|n| own.refuse(&key(2), &n.to_string(), n)).collect();
    assert_eq!(said.len(), 100);
    assert_eq!(node.take(&said).kept.len(), STATEMENTS_OF_VALIDATOR_MAX as usize);
    assert_eq!(node.statements().len(), 2);
}

#[test]
fn the_old_networks_power_counts_and_not_the_number_of_keys() {
    let rule = Threshold::PowerOver { numerator: 2, denominator: 3 };
    // The lead is no validator: its signature has no power.
    let signed = proposal(rule, &[], &[(2, 40), (3, 20), (4, 20), (5, 10)]);
    let mut node = signing(&signed);
    let mut sign = |seed| node.sign(&key(seed)).map(|_| (node.is_enough(), node.standing().weight.power));
    assert_eq!(sign(9), None, "no validator");
    assert_eq!(sign(2), Some((false, 40)));
    assert_eq!(sign(3), Some((false, 60)), "just two thirds are not more than that");
    assert_eq!(sign(5), Some((true, 70)));
    assert_eq!(node.standing().weight.to_string(), "4 signatures with power 70 of 90, more than 2/3 needed");
    assert_eq!(node.standing().missing, [key(4).public()]);
    let again = SignedManifest::decode(&node.signed().to_bytes()).unwrap();
    assert_eq!(again.signers().unwrap().weight(), node.weight());
    // A lead who is one needs the others all the same.
    let alone = signing(&proposal(rule, &[], &[(1, 2), (2, 1)]));
    assert!(!alone.is_enough() && alone.standing().weight.power == 2);
    assert!(signing(&proposal(rule, &[], &[(1, 3), (2, 1)])).is_enough());
}

#[test]
fn rules_by_power_that_no_reader_takes_are_not_signed() {
    let rule = Threshold::PowerOver { numerator: 2, denominator: 3 };
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = proposal(rule, &[], &[(2, 1)]).manifest().clone();
        change(&mut manifest);
        manifest.sign(&key(1)).unwrap_err().to_string()
    };
    assert!(refused(&|m| m.old_validators.clear()).contains("no validators of it are named"));
    assert!(refused(&|m| m.trust.cosigners.push(key(3).public())).contains("by their power"));
    let whole = Threshold::PowerOver { numerator: 3, denominator: 3 };
    assert!(refused(&|m| m.trust.threshold = whole).contains("below 1"));
}

#[test]
fn a_lead_alone_has_nothing_to_tell() {
    let node = signing(&proposal(Threshold::Count(1), &[], &[]));
    assert!(node.is_enough() && node.statements().is_empty());
}

/// A manifest that counts by power, what one of its validators signs of it, and how another one refuses: as an independent reader in
/// another language gets them.
#[test]
fn golden_statements_do_not_change() {
    let second = PrivateKey::from_seed(KeyType::Secp256k1, &[3; 32]).unwrap();
    let mut by_power = proposal(Threshold::PowerOver { numerator: 2, denominator: 3 }, &[], &[(2, 5), (4, 4)]);
    let mut manifest = by_power.manifest().clone();
    manifest.old_validators.push(Validator { key: second.public(), power: 7 });
    manifest.old_validators.sort_by_key(|validator| validator.key);
    by_power = manifest.sign(&key(1)).unwrap();
    let mut node = signing(&by_power);
    let signature = node.sign(&second).unwrap();
    assert_eq!((node.standing().weight.power, node.standing().weight.power_of_all, node.is_enough()), (7, 16, false));
    node.sign(&key(2)).unwrap();
    assert!(node.is_enough());
    let refusal = signing(&by_power).refuse(&key(4), "rows are missing", 1_800_000_000).unwrap();
    let golden = |name: &str| {
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
    };
    let files = [
        ("manifest/power.regenesis", node.signed().to_bytes()),
        ("evidence/manifest.signature", signature),
        ("evidence/manifest.refusal", refusal),
    ];
    for (name, bytes) in files {
        assert_eq!(hex::encode(bytes), hex::encode(golden(name)), "{name}");
    }
}
