//! Certificates and proofs, committed as bytes, and one case for each way to be wrong.

use kwil_formats::formats::{
    genesis::Genesis,
    key::{KeyType, PrivateKey},
};
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    base::{Kind, Sha256Hash},
    manifest::{
        MANIFEST_FILE_NAME, Manifest, Threshold,
        certificate::{CERTIFICATE_FILE_NAME, CertificateError, Certified},
        statement::{Attestation, DifferingPart, Readiness, Stage, StatementError},
    },
};

const GENESIS: &[u8] = include_bytes!("../../../tests/vectors/evidence/genesis.json");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/vectors/evidence/certificate.evidence");
const EQUIVOCATION: &[u8] = include_bytes!("../../../tests/vectors/evidence/equivocation.evidence");
const ISSUE: &[u8] = include_bytes!("../../../tests/vectors/evidence/issue.evidence");
const REVOCATION: &[u8] = include_bytes!("../../../tests/vectors/evidence/revocation.evidence");
const MANIFEST: &[u8] = include_bytes!("../../../tests/vectors/manifest/good.regenesis");
const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);
const NOW: u64 = 1_800_000_000;

fn ed(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
}

fn secp(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Secp256k1, &[seed; 32]).unwrap()
}

/// The genesis' validators: the leader has power 1, the others 2, 3 and 4.
fn validators() -> [PrivateKey; 4] {
    [secp(31), ed(32), secp(33), ed(34)]
}

fn genesis_sha256() -> Sha256Hash {
    Sha256Hash::from_bytes(Sha256::digest(GENESIS).into())
}

fn readiness() -> Readiness {
    Readiness {
        manifest_id: ID,
        genesis_sha256: genesis_sha256(),
        stage: Stage::RootReady,
        kwild_version: Some("0.10.2".to_owned()),
        places: vec!["10.0.0.5:6600".to_owned(), "kwil.example:6600".to_owned()],
        created_unix_seconds: NOW,
        swarm: None,
        differs: vec![],
    }
}

fn sorted(keys: &[PrivateKey]) -> Vec<&PrivateKey> {
    let mut keys: Vec<&PrivateKey> = keys.iter().collect();
    keys.sort_by_key(|key| key.public());
    keys
}

fn certificate_of(statements: Vec<Vec<u8>>) -> Certificate {
    Certificate { manifest_id: ID, genesis_sha256: genesis_sha256(), statements }
}

/// A certificate by these keys, each of which says what it is told to say.
fn signed_by(keys: &[PrivateKey], said: impl Fn(&PrivateKey) -> Readiness) -> Certificate {
    certificate_of(sorted(keys).into_iter().map(|key| said(key).sign(key)).collect())
}

fn whole() -> Certificate {
    let [leader, second, _, fourth] = validators();
    let later = second.public();
    signed_by(&[leader, second, fourth], |key| match key.public() == later {
        true => Readiness { created_unix_seconds: NOW + 5, kwild_version: None, places: vec![], ..readiness() },
        false => readiness(),
    })
}

/// What comes of reading and judging the bytes.
fn judged(bytes: &[u8]) -> Result<Certified, String> {
    match Evidence::decode(bytes).map_err(|e| e.to_string())? {
        Evidence::Certificate(certificate) => {
            let certified = certificate.judge(GENESIS).map_err(|e| e.to_string())?;
            certified.require_quorum().map_err(|e| e.to_string())?;
            Ok(certified)
        }
        _ => Err("a proof, not a certificate".to_owned()),
    }
}

fn two() -> (SignedManifest, SignedManifest) {
    let first = SignedManifest::decode(MANIFEST).unwrap();
    let mut other = first.manifest().clone();
    other.network.height += 1;
    (first, other.sign(&ed(1)).unwrap())
}

#[test]
fn golden_bytes_do_not_change_and_say_what_was_signed() {
    let certificate = Evidence::Certificate(whole());
    assert_eq!(hex::encode(certificate.to_bytes()), hex::encode(CERTIFICATE));
    assert_eq!(Evidence::decode(CERTIFICATE), Ok(certificate));
    let certified = judged(CERTIFICATE).unwrap();
    assert_eq!((certified.ready_power(), certified.total_power(), certified.last_unix_seconds()), (7, 10, NOW + 5));
    assert_eq!(certified.missing.iter().map(|v| v.key).collect::<Vec<_>>(), [secp(33).public()]);
    let leader = certified.ready.iter().find(|ready| ready.validator.key == secp(31).public()).unwrap();
    assert_eq!(leader.statement, readiness());
    assert_eq!(certified.words(), "3 validators with power 7 of 10 ready for kwil-testnet (v0.10)");

    let (first, second) = two();
    let proof = Equivocation::between(&first, &second).unwrap();
    assert_eq!(Equivocation::between(&second, &first), Some(proof.clone()), "in whatever order they were seen");
    assert_eq!(hex::encode(Evidence::Equivocation(proof.clone()).to_bytes()), hex::encode(EQUIVOCATION));
    assert_eq!(Evidence::decode(EQUIVOCATION), Ok(Evidence::Equivocation(proof.clone())));
    assert!(EQUIVOCATION.len() <= limits::EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX);
    let ids = proof.heads().map(|head| head.manifest_id);
    assert!(ids.contains(&first.id()) && ids.contains(&second.id()) && ids[0] != ids[1]);
    assert_eq!((proof.sequence(), *proof.lead()), (first.manifest().sequence, ed(1).public()));
    assert!(proof.words().contains("signed two different manifests with sequence 1799999900 for network kwil-testnet"));
    assert_eq!((MANIFEST_FILE_NAME, CERTIFICATE_FILE_NAME), ("manifest.regenesis", "certificate.evidence"));
}

/// The manifest of the vectors, and one of the same lead and network with this number.
fn with_sequence(sequence: u64) -> SignedManifest {
    let mut other = two().0.manifest().clone();
    other.sequence = sequence;
    other.sign(&ed(1)).unwrap()
}

fn revocation_by(keys: &[PrivateKey]) -> HeadSignatures {
    let signed = two().0;
    let by = |before: Option<HeadSignatures>, key| Some(Evidence::revocation(&signed, key, before.as_ref()).unwrap());
    keys.iter().fold(None, by).unwrap()
}

#[test]
fn golden_bytes_of_heads_do_not_change() {
    let (signed, _) = two();
    let issue = Evidence::issue_of(&signed).unwrap();
    assert_eq!(hex::encode(issue.to_bytes()), hex::encode(ISSUE));
    assert_eq!(Evidence::decode(ISSUE), Ok(issue));
    let revocation = Evidence::Revocation(revocation_by(&[secp(2), ed(1), secp(2)]));
    assert_eq!(hex::encode(revocation.to_bytes()), hex::encode(REVOCATION));
    assert_eq!(Evidence::decode(REVOCATION), Ok(revocation));
    // The largest that can be: the longest chain id, and every co-signer there may be.
    let head = Head { new_chain_id: &"x".repeat(limits::CHAIN_ID_SIZE_BYTES_MAX), ..signed.head() };
    let all = (0..=limits::COSIGNERS_MAX).fold(None, |before: Option<HeadSignatures>, seed| {
        Some(HeadSignatures::with(&head, Said::Revoked, &secp(1 + seed as u8), before.as_ref()))
    });
    let largest = Evidence::Revocation(all.unwrap()).to_bytes().len();
    assert!(largest <= limits::EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX, "{largest}");
}

#[test]
fn a_newer_manifest_ends_older_ones_of_its_lead_and_network_alone() {
    let (old, _) = two();
    let ends = |signed: &SignedManifest| Evidence::issue_of(signed).unwrap().ends(old.manifest(), old.id());
    let sequence = old.manifest().sequence;
    assert_eq!(old.manifest().trust.threshold, Threshold::Count(2), "the lead alone does not suffice");
    let mut newer = with_sequence(sequence + 1);
    assert!(!ends(&newer), "by one of the two keys that the old one needs");
    newer.add_signature(&secp(2)).unwrap();
    assert!(ends(&newer));
    let mut older = with_sequence(sequence - 1);
    older.add_signature(&secp(2)).unwrap();
    assert!(!ends(&older) && !ends(&old));
    // With our number it is the lead's second face, whoever else has signed it.
    let (_, second) = two();
    assert!(ends(&second));
    let mut other = newer.manifest().clone();
    other.network.new_chain_id = "another".into();
    let mut other = other.sign(&ed(1)).unwrap();
    other.add_signature(&secp(2)).unwrap();
    assert!(!ends(&other), "another network");
    // Without the lead's own signature it is no issue of its.
    let by_cosigner = newer.manifest().sign(&secp(2)).unwrap();
    assert_eq!(Evidence::issue_of(&by_cosigner), None);
    let forged = Evidence::Issue(HeadSignatures::issue(&by_cosigner));
    assert_eq!(Evidence::decode(&forged.to_bytes()), Err(EvidenceError::NotByLead(ed(1).public())));
}

#[test]
fn a_revocation_counts_when_as_many_have_signed_as_the_manifest_needed() {
    let (signed, other) = two();
    let ends = |keys: &[PrivateKey]| Evidence::Revocation(revocation_by(keys)).ends(signed.manifest(), signed.id());
    assert!(!ends(&[ed(1)]), "a lead alone, whose key may be stolen");
    assert!(!ends(&[secp(2), secp(2)]), "one key twice");
    assert!(ends(&[secp(2), ed(3)]), "the co-signers, without the lead");
    assert!(
        !Evidence::Revocation(revocation_by(&[ed(1), ed(3)])).ends(other.manifest(), other.id()),
        "another manifest"
    );
    let before = revocation_by(&[ed(1)]);
    assert!(Evidence::revocation(&other, &ed(1), Some(&before)).is_err(), "about another manifest");
    assert!(Evidence::revocation(&signed, &ed(99), None).is_err(), "a stranger");
    // A stranger's signature may stand there, and does not count.
    let foreign = HeadSignatures::with(&signed.head(), Said::Revoked, &ed(99), Some(&before));
    assert_eq!(foreign.weight_under(signed.manifest()).signatures, 1);
    // Over other bytes, in another domain, not sorted, none at all.
    let changed = |change: fn(&mut HeadSignatures)| {
        let mut other = revocation_by(&[secp(2), ed(1)]);
        change(&mut other);
        Evidence::decode(&Evidence::Revocation(other).to_bytes()).unwrap_err().to_string()
    };
    for (change, words) in [
        ((|e| e.sequence += 1) as fn(&mut HeadSignatures), "does not hold"),
        (|e| e.new_chain_id.push('x'), "does not hold"),
        (|e| e.lead = ed(9).public(), "does not hold"),
        (|e| e.manifest_id = ID, "does not hold"),
        (|e| e.signatures = two().0.signatures().to_vec(), "does not hold"),
        (|e| e.signatures.reverse(), "not sorted"),
        (|e| e.signatures.clear(), "signatures is missing"),
        (|e| e.new_chain_id = "x".repeat(129), "too long"),
    ] {
        let error = changed(change);
        assert!(error.contains(words), "{words}: {error}");
    }
    let seed = |n: usize| [&n.to_le_bytes()[..], &[0; 24]].concat();
    let many: Vec<PrivateKey> = (0..=limits::SIGNATURES_MAX)
        .map(|n| PrivateKey::from_seed(KeyType::Ed25519, &seed(n).try_into().unwrap()).unwrap())
        .collect();
    let head = signed.head();
    let many = many.iter().fold(None, |before: Option<HeadSignatures>, key| {
        Some(HeadSignatures::with(&head, Said::Revoked, key, before.as_ref()))
    });
    let error = Evidence::decode(&Evidence::Revocation(many.unwrap()).to_bytes()).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

#[test]
fn any_flipped_bit_of_a_byte_and_any_cut_is_found() {
    for (golden, is_good) in [
        (CERTIFICATE, (|bytes| judged(bytes).is_ok()) as fn(&[u8]) -> bool),
        (EQUIVOCATION, |bytes| Evidence::decode(bytes).is_ok()),
        (ISSUE, |bytes| Evidence::decode(bytes).is_ok()),
        (REVOCATION, |bytes| Evidence::decode(bytes).is_ok()),
    ] {
        assert!(is_good(golden));
        for i in 0..golden.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = golden.to_vec();
                bytes[i] ^= bit;
                assert!(!is_good(&bytes), "byte {i}");
            }
            assert!(!is_good(&golden[..i]), "cut at {i}");
        }
        for more in [&b"\0"[..], b"\n", &[0x98, 0x06, 0x01], golden] {
            assert!(!is_good(&[golden, more].concat()), "followed by {} bytes", more.len());
        }
    }
}

#[test]
fn what_is_no_evidence_is_told_by_its_reason() {
    let large = vec![0; limits::EVIDENCE_SIZE_BYTES_MAX + 1];
    let mut newer = CERTIFICATE.to_vec();
    assert_eq!(newer[..2], [0x08, 0x01]);
    newer[1] = 2;
    for (bytes, words) in [
        (&b""[..], "it is empty"),
        (b"hello", "no evidence"),
        (MANIFEST, "no evidence"),
        (&CERTIFICATE[..2], "what it is evidence of is missing"),
        (&large, "at most"),
        (&newer, "made by a newer regenesis"),
    ] {
        let error = Evidence::decode(bytes).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(Error::from(error).kind(), Kind::Verify);
    }
}

#[test]
fn every_fault_of_a_certificate_is_an_error_of_its_own() {
    let [leader, second, third, fourth] = validators();
    let other_manifest = |key: &PrivateKey| {
        let manifest_id =
            if key.public() == second.public() { Blake3Hash::from_bytes([8; 32]) } else { readiness().manifest_id };
        Readiness { manifest_id, ..readiness() }
    };
    let other_genesis = |key: &PrivateKey| {
        let genesis_sha256 =
            if key.public() == second.public() { Sha256Hash::from_bytes([8; 32]) } else { genesis_sha256() };
        Readiness { genesis_sha256, ..readiness() }
    };
    let three = [leader.clone(), second.clone(), fourth.clone()];
    let mut reversed = whole();
    reversed.statements.reverse();
    let mut doubled = whole();
    doubled.statements.insert(0, doubled.statements[0].clone());
    let mut forged = whole();
    *forged.statements[1].last_mut().unwrap() ^= 1;
    let mut foreign_kind = whole();
    let said = Attestation { manifest_id: ID, state_digest: ID, height: 1, created_unix_seconds: NOW, differs: vec![] };
    foreign_kind.statements[0] = said.sign(&leader);
    let differs = |key: &PrivateKey| match key.public() == second.public() {
        true => Readiness { stage: Stage::Differs, differs: vec![DifferingPart::new("a.b", 1)], ..readiness() },
        false => readiness(),
    };
    let cases: [(Certificate, &str); 11] = [
        (certificate_of(Vec::new()), "statements is missing"),
        (reversed, "statements are not sorted"),
        (doubled, "or one stands there twice"),
        (forged, "does not hold"),
        (foreign_kind, "does not hold"),
        (signed_by(&three, other_manifest), "is about another manifest"),
        (signed_by(&three, differs), "does not hold what was signed"),
        (signed_by(&three, other_genesis), "is about another genesis"),
        (signed_by(&[leader.clone(), second.clone(), ed(99)], |_| readiness()), "is no validator of this genesis"),
        (signed_by(&[leader, second.clone(), third.clone()], |_| readiness()), "power 6 of 10 are ready"),
        (signed_by(&[second, third, fourth], |_| readiness()), "the leader "),
    ];
    for (certificate, words) in cases {
        let bytes = Evidence::Certificate(certificate).to_bytes();
        let error = judged(&bytes).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    let certificate = whole();
    let Err(error) = certificate.judge(b"{}") else { panic!("no genesis") };
    assert!(matches!(error, CertificateError::WrongGenesis { .. }), "{error}");
    let other = Certificate { genesis_sha256: Sha256Hash::from_bytes(Sha256::digest(b"{}").into()), ..whole() };
    assert!(matches!(other.judge(b"{}"), Err(CertificateError::OtherGenesis(_))));
    let nonsense = b"{\"chain_id\":";
    let sha256 = Sha256Hash::from_bytes(Sha256::digest(nonsense).into());
    let mut about_nonsense = signed_by(&three, |_| Readiness { genesis_sha256: sha256, ..readiness() });
    about_nonsense.genesis_sha256 = sha256;
    assert!(matches!(about_nonsense.judge(nonsense), Err(CertificateError::Genesis(_))));
}

#[test]
fn more_statements_than_any_network_has_are_not_checked() {
    let many = certificate_of(vec![readiness().sign(&ed(32)); limits::CERTIFICATE_STATEMENTS_MAX + 1]);
    assert!(many.judge(GENESIS).unwrap_err().to_string().contains("too many"));
}

#[test]
fn no_field_of_a_statement_can_be_what_no_writer_makes() {
    let key = ed(32);
    let verified = |said: Readiness| Readiness::verify(&said.sign(&key));
    verified(readiness()).unwrap();
    for version in ["0".repeat(65), "0.10\n".to_owned(), "\u{1b}[2J".to_owned(), "вер".to_owned()] {
        let error = verified(Readiness { kwild_version: Some(version), ..readiness() }).unwrap_err();
        assert!(error.to_string().contains("kwild_version"), "{error}");
    }
    let never = Readiness { created_unix_seconds: limits::UNIX_SECONDS_MAX + 1, ..readiness() };
    assert!(verified(never).unwrap_err().to_string().contains("after the year 9999"));
    let part = || vec![DifferingPart::new("a.b", 1)];
    for said in [
        Readiness { stage: Stage::Differs, ..readiness() },
        Readiness { differs: part(), ..readiness() },
        Readiness { stage: Stage::Differs, differs: vec![DifferingPart::new("a.b", 1); 7], ..readiness() },
        Readiness {
            stage: Stage::Differs,
            differs: vec![DifferingPart { name: "a\n".into(), rows: 1 }],
            ..readiness()
        },
    ] {
        assert!(verified(said).unwrap_err().to_string().contains("differs"));
    }
    // An unknown stage, and an unknown field, signed as they are.
    let payload = wire::encode_readiness(&readiness());
    let at = payload.windows(2).position(|w| w == b"\x28\x01").unwrap();
    let mut unknown = payload.clone();
    unknown[at + 1] = 9;
    let more = [&payload[..], &[0x98, 0x06, 0x01]].concat();
    for (payload, words) in [(unknown, "stage has the unknown value 9"), (more, "something was added")] {
        let signature = crate::manifest::Signature::new(&key, &[b"regenesis/readiness/v1\0", &payload[..]].concat());
        let error = Readiness::verify(&wire::encode_statement(&payload, &signature)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!matches!(error, StatementError::Signature(_)));
    }
}

#[test]
fn only_a_leads_own_two_signatures_prove_anything() {
    let (first, second) = two();
    let changed = |change: fn(&mut Manifest)| {
        let mut other = second.manifest().clone();
        change(&mut other);
        other.sign(&ed(1)).unwrap()
    };
    assert_eq!(Equivocation::between(&first, &first), None, "one and the same");
    assert_eq!(Equivocation::between(&first, &changed(|m| m.sequence += 1)), None, "a later one");
    assert_eq!(Equivocation::between(&first, &changed(|m| m.network.new_chain_id = "other".into())), None);
    // By a co-signer alone: that is not the lead's doing.
    let cosigned = second.manifest().sign(&secp(2)).unwrap();
    assert_eq!(Equivocation::between(&first, &cosigned), None);

    let Ok(Evidence::Equivocation(proof)) = Evidence::decode(EQUIVOCATION) else { panic!("the proof") };
    let forged = |change: fn(&mut Equivocation)| {
        let mut other = proof.clone();
        change(&mut other);
        Evidence::decode(&Evidence::Equivocation(other).to_bytes()).unwrap_err()
    };
    let holds_not = |error: &EvidenceError| matches!(error, EvidenceError::Signature { .. });
    for change in [
        (|e: &mut Equivocation| e.lead = ed(9).public()) as fn(&mut Equivocation),
        |e| e.lead = secp(2).public(),
        |e| e.sequence += 1,
        |e| e.new_chain_id = "other".into(),
        |e| e.heads[1].manifest_id = Blake3Hash::from_bytes([0xff; 32]),
        |e| e.heads[0].signature = e.heads[1].signature,
        // What the lead signed in another domain.
        |e| {
            let said = Readiness { manifest_id: e.heads[0].manifest_id, ..readiness() }.sign(&ed(1));
            e.heads[0].signature.copy_from_slice(&said[said.len() - 64..]);
        },
    ] {
        let error = forged(change);
        assert!(holds_not(&error), "{error}");
    }
    assert!(matches!(forged(|e| e.heads[1] = e.heads[0]), EvidenceError::OneManifest(_)));
    assert!(forged(|e| e.heads.reverse()).to_string().contains("not sorted"));
    assert!(forged(|e| e.new_chain_id = "x".repeat(129)).to_string().contains("too long"));
    assert!(forged(|e| e.new_chain_id = "a\u{1b}".into()).to_string().contains("control characters"));
}

#[test]
fn the_vectors_genesis_has_the_validators_that_sign() {
    let genesis = Genesis::parse(GENESIS).unwrap();
    let mut keys = validators().map(|key| key.public());
    keys.sort();
    let named = crate::manifest::genesis_validators(&genesis).unwrap();
    assert_eq!(named.iter().map(|v| v.key).collect::<Vec<_>>(), keys);
    assert_eq!(genesis.leader(), Some(&secp(31).public()));
}
