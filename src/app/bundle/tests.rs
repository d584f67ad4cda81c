//! Directories of one migration that hear each other only by what is carried.

use std::{fs, path::PathBuf};

use kwil_formats::formats::{
    Validator,
    key::{KeyType, PrivateKey},
};
use tempfile::TempDir;

use super::*;
use crate::{
    app::kept::KeptStatements,
    base::{Blake3Hash, Kind, durable::PRIVATE_DIRECTORY_NAME},
    bundle::missing as list,
    manifest::{
        Attestations, Evidence, Roster, SignedManifest, TrustRules, Verdict, Word,
        statement::{Attestation, DifferingPart, Stage, from_file},
    },
};

const GOLDEN: &[u8] = include_bytes!("../../../tests/vectors/manifest/good.regenesis");

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
}

/// A manifest whose old validators have the keys 11 to 13 and whose new ones have 21 to 24, of which 21 leads.
fn signed(sequence_before_now: u64) -> SignedManifest {
    let mut manifest = SignedManifest::decode(GOLDEN).unwrap().manifest().clone();
    let validators = |seeds: std::ops::RangeInclusive<u8>| {
        let mut all: Vec<_> = seeds.map(|seed| Validator { key: key(seed).public(), power: 1 }).collect();
        all.sort_by_key(|validator| validator.key);
        all
    };
    manifest.sequence = clock::unix_seconds() - sequence_before_now;
    manifest.created_unix_seconds = manifest.sequence;
    manifest.not_after_unix_seconds = None;
    manifest.old_validators = validators(11..=13);
    manifest.new_validators = validators(21..=24);
    manifest.new_leader = Some(key(21).public());
    manifest.node_addresses = Vec::new();
    manifest.trust = TrustRules { attestations: Attestations::Count(2), ..TrustRules::lead_alone(key(1).public()) };
    manifest.sign(&key(1)).unwrap()
}

fn directory(signed: &SignedManifest) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(MANIFEST_FILE_NAME), signed.to_bytes()).unwrap();
    dir
}

fn ready(signed: &SignedManifest, seed: u8) -> Vec<u8> {
    let word = Word { stage: Stage::RootReady, kwild_version: None, places: Vec::new(), differs: Vec::new() };
    let mut roster = Roster::new(signed.id(), signed.manifest());
    roster.say(&key(seed), &word, clock::unix_seconds(), |_| None).unwrap()
}

fn attests(signed: &SignedManifest, seed: u8, agrees: bool) -> Vec<u8> {
    let state_digest = signed.manifest().state_digest.as_ref().unwrap().digest;
    Attestation {
        manifest_id: signed.id(),
        state_digest: if agrees { state_digest } else { Blake3Hash::from_bytes([9; 32]) },
        height: 76,
        created_unix_seconds: clock::unix_seconds(),
        differs: if agrees { Vec::new() } else { vec![DifferingPart::new("shop.orders", 3)] },
    }
    .sign(&key(seed))
}

fn source(name: &str, bytes: Vec<u8>) -> Source {
    Source { name: name.to_owned(), bytes }
}

fn certificate(dir: &TempDir) -> PathBuf {
    dir.path().join(PRIVATE_DIRECTORY_NAME).join("certificate.evidence")
}

#[test]
fn a_quorums_certificate_forms_across_the_gap_and_is_carried_back() {
    let signed = signed(100);
    let (here, island) = (directory(&signed), directory(&signed));
    let said =
        |seeds: &[u8]| -> Vec<Source> { seeds.iter().map(|seed| source("ready", ready(&signed, *seed))).collect() };
    let mine = carry(here.path(), &said(&[21, 22])).unwrap();
    assert_eq!((mine.ready, mine.validators, mine.quorum, &mine.certificate), (2, 4, false, &None));
    assert_eq!(mine.words.split(' ').count(), 6);
    carry(island.path(), &said(&[23])).unwrap();
    carry(island.path(), &[source("old", attests(&signed, 12, true))]).unwrap();

    let theirs = carry(island.path(), &[source("stick", mine.file)]).unwrap();
    assert_eq!((theirs.taken[0].new, theirs.taken[0].known, theirs.taken[0].unused), (2, 0, 0));
    assert!(theirs.quorum && theirs.ready == 3);
    let formed = fs::read(certificate(&island)).unwrap();
    assert_eq!(theirs.certificate.as_ref(), Some(&certificate(&island)));
    assert!(matches!(Evidence::decode(&formed), Ok(Evidence::Certificate(_))));

    // Back by the file, and by the certificate alone.
    let back = carry(here.path(), &[source("stick", theirs.file.clone())]).unwrap();
    assert_eq!((back.taken[0].new, back.taken[0].known), (2, 2));
    assert_eq!((back.attested.agree, back.verdict), (1, Verdict::Open));
    assert_eq!(fs::read(certificate(&here)).unwrap(), formed);
    assert_eq!(back.file, theirs.file);
    let third = directory(&signed);
    let by_certificate = carry(third.path(), &[source("certificate", formed.clone())]).unwrap();
    assert!(by_certificate.quorum && by_certificate.statements == 3);
    // A node that is started there, and whoever asks the directory, hears of it.
    let kept = KeptStatements::new(third.path().join(PRIVATE_DIRECTORY_NAME).join("statements")).read();
    assert_eq!(from_file(&by_certificate.file).unwrap(), kept);
    // Taken twice, nothing changes.
    let again = carry(third.path(), &[source("certificate", formed)]).unwrap();
    assert_eq!((again.taken[0].new, again.taken[0].known, again.statements), (0, 3, 3));
}

#[test]
fn dissent_crosses_the_gap_and_is_not_hushed_up_by_older_words() {
    let signed = signed(100);
    let (here, island) = (directory(&signed), directory(&signed));
    let dissent = [11, 12].map(|seed| source("no", attests(&signed, seed, false)));
    let theirs = carry(island.path(), &dissent).unwrap();
    assert_eq!((theirs.attested.dissent, theirs.verdict), (2, Verdict::Lost));
    let mine = carry(here.path(), &[source("stick", theirs.file)]).unwrap();
    assert_eq!((mine.attested.dissent, mine.verdict), (2, Verdict::Lost));
}

#[test]
fn what_strangers_carry_counts_for_nothing_and_takes_nothing_away() {
    let signed = signed(100);
    let other = super::tests::signed(50);
    let dir = directory(&signed);
    let known = carry(dir.path(), &[source("mine", ready(&signed, 21))]).unwrap();

    let refused = |bytes: Vec<u8>, says: &str| {
        let good = source("good", ready(&signed, 22));
        let error = carry(dir.path(), &[good, source("bad", bytes)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        assert!(error.chain().contains(says) && error.chain().starts_with("bad cannot be used"), "{}", error.chain());
        assert!(error.advice().is_some());
        assert_eq!(carry(dir.path(), &[]).unwrap().file, known.file, "nothing of it was taken");
    };
    refused(Vec::new(), "no validator's statement is in it");
    refused(vec![0xff; 4000], "no validator's statement is in it");
    refused(GOLDEN.to_vec(), "no validator's statement is in it");
    refused(ready(&other, 21), "none of its 1 statements is by a validator about this manifest");
    refused(attests(&other, 11, true), "none of its 1 statements");
    // A key that is nobody's there.
    refused(attests(&signed, 99, true), "none of its 1 statements");
    // One whose signature does not hold.
    let mut forged = ready(&signed, 23);
    *forged.last_mut().unwrap() ^= 1;
    refused(forged.clone(), "none of its 1 statements");
    // Other people's certificate.
    let foreign = include_bytes!("../../../tests/vectors/evidence/certificate.evidence").to_vec();
    refused(foreign, "none of its 3 statements");
    // Among bad ones a good one counts.
    let mixed = crate::manifest::statement::to_file(&[forged, ready(&other, 24), ready(&signed, 24), vec![1, 2, 3]]);
    let taken = carry(dir.path(), &[source("mixed", mixed)]).unwrap();
    assert_eq!((taken.taken[0].new, taken.taken[0].unused, taken.ready), (1, 2, 2));
}

#[test]
fn a_directory_with_nothing_but_the_manifest_lacks_everything() {
    let signed = signed(100);
    let dir = directory(&signed);
    let missing = missing(dir.path()).unwrap();
    assert_eq!((missing.missing_chunks, missing.chunks), (4, 4));
    assert_eq!(missing.missing_bytes, signed.manifest().size_bytes());
    let manifest = own_manifest(dir.path()).unwrap();
    let contents = crate::app::node::contents(&manifest, false);
    let again = read_missing("file", &missing.file, &contents).unwrap();
    assert!(again.is_full());
    assert_eq!(list::from_lines(&missing.lines.join("\n")).unwrap(), missing.file);
    let error = super::missing(&dir.path().join("nowhere")).unwrap_err();
    assert!(error.chain().contains("it has no manifest") && error.advice().is_some(), "{}", error.chain());
}
