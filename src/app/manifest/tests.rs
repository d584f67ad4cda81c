//! Signing a directory of files and checking them again.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use flate2::{Compression, write::GzEncoder};
use kwil_formats::{dump::guard, formats::key::KeyType};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    base::{Blake3Hash, Kind, progress::Item},
    manifest::{Evidence, Step},
};

const GENESIS: &str = include_str!("../../../tests/vectors/manifest/genesis.json");

struct World {
    dir: TempDir,
    state: StateDirectory,
    key: PrivateKey,
    said: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// A snapshot of two gzip members and the genesis that pins it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(Some(&dir.path().join("state"))).unwrap();
        let key = PrivateKey::from_seed(KeyType::Ed25519, &[7; 32]).unwrap();
        let world = World { dir, state, key, said: Arc::default() };
        world.write_snapshot("a row\n");
        world
    }

    /// A snapshot of one table with many such rows.
    fn write_snapshot(&self, row: &str) {
        self.write_snapshot_with(row, "");
    }

    fn write_snapshot_with(&self, row: &str, statement: &str) {
        let statements = format!(
            "CREATE SCHEMA kwild_engine;\nCREATE SCHEMA main;\nCREATE TABLE main.t (\n    x text\n);\n\
             COPY main.t (x) FROM stdin;\n{}\\.\n{statement}CREATE SCHEMA kwild_voting;\n\
             CREATE TABLE kwild_voting.resolutions (\n    expiration bigint NOT NULL\n);\n\
             UPDATE kwild_voting.resolutions SET expiration = expiration-76;\n",
            row.repeat(50_000)
        );
        self.write_text(&format!("{}{statements}{}", guard::PROLOGUE, guard::EPILOGUE));
    }

    fn write_text(&self, text: &str) {
        let (first, second) = text.split_at(text.len() / 2);
        let file: Vec<u8> = [first, second].iter().flat_map(|t| gzip(t.as_bytes())).collect();
        fs::write(self.snapshot(), file).unwrap();
        let mut genesis = Genesis::parse(GENESIS.as_bytes()).unwrap();
        genesis.set_state_hash(Sha256Hash::from_bytes(Sha256::digest(text.as_bytes()).into()));
        fs::write(self.genesis(), genesis.to_bytes()).unwrap();
    }

    /// The text as it was before there was a guard.
    fn text_without_guard(&self) -> String {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(File::open(self.snapshot()).unwrap()).read_to_string(&mut text).unwrap();
        text.strip_prefix(guard::PROLOGUE).unwrap().strip_suffix(guard::EPILOGUE).unwrap().to_owned()
    }

    fn genesis(&self) -> PathBuf {
        self.dir.path().join("genesis.json")
    }

    fn snapshot(&self) -> PathBuf {
        self.dir.path().join("snapshot.sql.gz")
    }

    fn sign(&self, options: &SignOptions) -> Result<SignedDirectory> {
        let said = self.said.clone();
        let progress = Progress::new(move |item| {
            if let Item::Note(notice) | Item::Warning(notice) = item {
                said.lock().unwrap().push(notice.text);
            }
        });
        sign(self.dir.path(), None, &self.key, options, &self.state, &progress, &CancellationToken::new())
    }

    fn verify(&self, bytes: &[u8]) -> Result<Checked> {
        let policy = TrustPolicy { keys: vec![self.key.public()], ..TrustPolicy::default() };
        let (genesis, snapshot) = (self.genesis(), self.snapshot());
        let cancel = CancellationToken::new();
        verify(bytes, &policy, Some(&genesis), Some(&snapshot), &self.state, &Progress::silent(), &cancel)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_text_without_the_guard_is_not_signed() {
    let world = World::new();
    world.write_text(
        &world
            .text_without_guard()
            .replacen("CREATE SCHEMA main;\n", "CREATE SCHEMA main;\nCREATE SCHEMA kwild_voting;\n", 1)
            .replacen("\\.\nCREATE SCHEMA kwild_voting;\n", "\\.\n", 1),
    );
    let e = world.sign(&SignOptions::default()).unwrap_err();
    assert_eq!(e.kind(), Kind::Verify, "{}", e.chain());
    assert!(e.to_string().contains("has no guard"), "{}", e.chain());
    assert!(format!("{:?}", e.advice()).contains("GuardSnapshot"), "{:?}", e.advice());
    assert!(!world.dir.path().join(MANIFEST_FILE_NAME).exists());
}

#[test]
fn what_is_signed_verifies_with_its_files() {
    let world = World::new();
    let signed = world.sign(&SignOptions::default()).unwrap();
    assert!(!signed.reused);
    let manifest = signed.manifest.manifest();
    let guard_size_bytes = (guard::PROLOGUE.len() + guard::EPILOGUE.len()) as u64;
    assert_eq!((manifest.network.height, manifest.text_size_bytes), (76, 50_000 * 6 + 281 + guard_size_bytes));
    let bytes = fs::read(&signed.path).unwrap();
    let checked = world.verify(&bytes).unwrap();
    assert_eq!(checked.manifest.id(), signed.manifest.id());

    let private = world.dir.path().join(".regenesis");
    assert_eq!((mode(&signed.path), mode(&private), mode(&private.join("secret"))), (0o644, 0o700, 0o600));
    let ticket: Ticket = signed.ticket().to_text().unwrap().parse().unwrap();
    assert_eq!(ticket.manifest_id, signed.manifest.id());
    assert!(ticket.secret.is_none() && ticket.addresses.is_empty());
}

#[test]
fn signing_again_changes_nothing_until_something_changed() {
    let world = World::new();
    let first = world.sign(&SignOptions::default()).unwrap();
    let secret = swarm_secret(&PrivateDirectory::lock(world.dir.path()).unwrap()).unwrap();
    let again = world.sign(&SignOptions::default()).unwrap();
    assert!(again.reused);
    assert_eq!(again.manifest, first.manifest);

    let superseding = world.sign(&SignOptions { supersede: true, ..SignOptions::default() }).unwrap();
    assert!(!superseding.reused);
    assert_eq!(superseding.manifest.manifest().supersedes, Some(first.manifest.id()));

    world.write_snapshot("another row\n");
    let edited = world.sign(&SignOptions::default()).unwrap();
    assert!(!edited.reused);
    let sequence = |s: &SignedDirectory| s.manifest.manifest().sequence;
    assert!(sequence(&edited) > sequence(&superseding) && sequence(&superseding) > sequence(&first));
    assert_eq!(*swarm_secret(&PrivateDirectory::lock(world.dir.path()).unwrap()).unwrap(), *secret);

    // Another rule is another manifest; an expiry given again is not.
    let month = SignOptions { expires: Some(Duration::from_secs(30 * 86_400)), ..SignOptions::default() };
    assert!(!world.sign(&month).unwrap().reused);
    assert!(world.sign(&month).unwrap().reused);
}

#[test]
fn the_sequence_goes_on_although_the_manifest_was_removed() {
    let world = World::new();
    let ahead = SignOptions { sequence: Some(clock::unix_seconds() + 3600), ..SignOptions::default() };
    let first = world.sign(&ahead).unwrap();
    fs::remove_file(&first.path).unwrap();
    let second = world.sign(&SignOptions::default()).unwrap();
    assert_eq!(second.manifest.manifest().sequence, first.manifest.manifest().sequence + 1);
    // The older one is a rollback now.
    let error = world.verify(&first.manifest.to_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.chain().contains("step 6 (sequence)"), "{}", error.chain());
    let low = SignOptions { sequence: Some(5), ..SignOptions::default() };
    assert_eq!(world.sign(&low).unwrap_err().kind(), Kind::Refused);
    let far = SignOptions { sequence: Some(u64::MAX), ..SignOptions::default() };
    assert_eq!(world.sign(&far).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn two_manifests_of_one_sequence_are_both_refused_and_kept() {
    let world = World::new();
    let first = world.sign(&SignOptions::default()).unwrap().manifest;
    let mut other = first.manifest().clone();
    other.network.height += 1;
    let second = other.sign(&world.key).unwrap();
    let error = world.verify(&second.to_bytes()).unwrap_err();
    assert!(error.chain().contains("two different manifests"), "{}", error.chain());
    assert!(format!("{:?}", error.advice()).contains("the proof is kept in"));
    // From now on the first one is no better, and the second not either.
    for bytes in [first.to_bytes(), second.to_bytes()] {
        let error = world.verify(&bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        assert!(error.chain().contains("neither is good"), "{}", error.chain());
    }
    let seen = world.state.seen(&first.manifest().network.new_chain_id, &world.key.public()).unwrap();
    let proof = seen.evidence.iter().find(|known| matches!(known, Evidence::Equivocation(_))).unwrap();
    assert_eq!(proof.sequence(), Some(first.manifest().sequence));
    assert!(walk(world.state.path()).iter().any(|p| p.ends_with("equivocation.evidence")));
    // A higher one heals; signing knows that it must not re-use.
    let healed = world.sign(&SignOptions::default()).unwrap();
    assert!(!healed.reused);
    world.verify(&healed.manifest.to_bytes()).unwrap();
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_genesis_that_pins_another_snapshot_is_not_signed() {
    let world = World::new();
    fs::write(world.genesis(), GENESIS).unwrap();
    let error = world.sign(&SignOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.chain().contains("pins state hash 58256e86") && error.chain().contains("has "), "{}", error.chain());
    assert!(!world.dir.path().join("manifest.regenesis").exists());
}

#[test]
fn damaged_missing_and_foreign_files_are_said() {
    let world = World::new();
    let whole = fs::read(world.snapshot()).unwrap();
    for bytes in [&whole[..whole.len() - 9], b"plain text", b"", &[&whole[..], b"more"].concat()] {
        fs::write(world.snapshot(), bytes).unwrap();
        let error = world.sign(&SignOptions::default()).unwrap_err();
        assert!(error.kind() == Kind::Verify && error.chain().contains("no whole gzip file"), "{}", error.chain());
    }
    fs::remove_file(world.snapshot()).unwrap();
    let error = world.sign(&SignOptions::default()).unwrap_err();
    assert!(error.kind() == Kind::Failed && error.chain().contains("snapshot.sql.gz"), "{}", error.chain());
    fs::write(world.snapshot(), gzip(b"a row\n")).unwrap();
    fs::remove_file(world.genesis()).unwrap();
    let error = world.sign(&SignOptions::default()).unwrap_err();
    assert!(error.advice().unwrap().names(&crate::base::Next::GiveSnapdir));
}

#[test]
fn files_that_changed_after_signing_fail_by_name() {
    let world = World::new();
    let bytes = world.sign(&SignOptions::default()).unwrap().manifest.to_bytes();
    let whole = fs::read(world.snapshot()).unwrap();
    fs::write(world.snapshot(), [&whole[..], &[0]].concat()).unwrap();
    let error = world.verify(&bytes).unwrap_err();
    assert!(error.kind() == Kind::Verify && error.chain().contains("its size is"), "{}", error.chain());
    // The time in a gzip header: the text inside is the same.
    let mut touched = whole;
    touched[4] ^= 1;
    fs::write(world.snapshot(), touched).unwrap();
    let error = world.verify(&bytes).unwrap_err();
    assert!(error.kind() == Kind::Verify && error.chain().contains("its BLAKE3 is"), "{}", error.chain());
    let genesis = fs::read_to_string(world.genesis()).unwrap();
    fs::write(world.genesis(), format!("{genesis}\n")).unwrap();
    let error = world.verify(&bytes).unwrap_err();
    let step = format!("step {} ({})", Step::Genesis.number(), Step::Genesis.name());
    assert!(error.kind() == Kind::Verify && error.chain().contains(&step), "{}", error.chain());
}

#[test]
fn rules_that_can_never_be_met_are_not_signed() {
    let world = World::new();
    let needs = SignOptions { attestations: Some("2/3".parse().unwrap()), ..SignOptions::default() };
    let error = world.sign(&needs).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.chain().contains("names no validators"), "{}", error.chain());
    let threshold = SignOptions { threshold: Threshold::Count(2), ..SignOptions::default() };
    assert_eq!(world.sign(&threshold).unwrap_err().kind(), Kind::Usage);
    let cosigners = vec![PrivateKey::from_seed(KeyType::Ed25519, &[8; 32]).unwrap().public()];
    world.sign(&SignOptions { cosigners, ..threshold }).unwrap();
    assert!(world.said.lock().unwrap().iter().any(|t| t.contains("1 of 2 signatures")));
    let old = SignOptions { old_validators: vec![Validator { key: world.key.public(), power: 3 }], ..needs };
    assert_eq!(world.sign(&old).unwrap().manifest.manifest().old_validators.len(), 1);
}

#[test]
fn an_unreadable_manifest_is_replaced_with_a_word() {
    let world = World::new();
    fs::write(world.dir.path().join("manifest.regenesis"), "not one").unwrap();
    assert!(!world.sign(&SignOptions::default()).unwrap().reused);
    assert!(world.said.lock().unwrap().iter().any(|t| t.contains("cannot be read and is replaced")));
}

#[test]
fn a_directory_in_use_is_not_signed() {
    let world = World::new();
    let _held = PrivateDirectory::lock(world.dir.path()).unwrap();
    let error = world.sign(&SignOptions::default()).unwrap_err();
    assert!(error.kind() == Kind::Refused && error.chain().contains("in use by process"), "{}", error.chain());
}

#[test]
fn a_cancelled_pass_leaves_no_manifest() {
    let world = World::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let options = SignOptions::default();
    let done = sign(world.dir.path(), None, &world.key, &options, &world.state, &Progress::silent(), &cancel);
    assert!(matches!(done.unwrap_err().kind(), Kind::Interrupted(_)));
    assert!(!world.dir.path().join("manifest.regenesis").exists());
}

#[test]
fn a_damaged_secret_or_state_is_said() {
    let world = World::new();
    let signed = world.sign(&SignOptions::default()).unwrap();
    fs::write(world.dir.path().join(".regenesis/secret"), "short").unwrap();
    assert!(swarm_secret(&PrivateDirectory::lock(world.dir.path()).unwrap()).unwrap_err().chain().contains("secret"));
    let newest = walk(world.state.path()).into_iter().find(|p| p.ends_with("newest.regenesis")).unwrap();
    fs::write(newest, "x").unwrap();
    let error = world.verify(&signed.manifest.to_bytes()).unwrap_err();
    assert!(error.chain().contains("is damaged") && error.advice().is_some(), "{}", error.chain());
}

#[test]
fn a_text_that_everyone_would_refuse_is_not_signed() {
    let world = World::new();
    world.write_snapshot_with("a row\n", "DROP TABLE main.t;\n");
    let error = world.sign(&SignOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.chain().contains("DROP TABLE"), "{}", error.chain());
    assert!(!world.dir.path().join("manifest.regenesis").exists());
}

#[test]
fn the_signed_state_is_the_files_and_another_is_refused_by_its_table() {
    let world = World::new();
    let signed = world.sign(&SignOptions { majors: Some((16, 17)), ..SignOptions::default() }).unwrap().manifest;
    let digest = signed.manifest().state_digest.clone().unwrap();
    assert_eq!((digest.server_major, digest.dump_major), (16, 17));
    let tables: Vec<_> = digest.tables.iter().map(|t| (&*t.name, t.rows, t.columns.join(","))).collect();
    assert_eq!(tables, [("main.t", 50_000, "x".to_owned())]);
    world.verify(&signed.to_bytes()).unwrap();

    // A lead that signs another state than its file's.
    let lie = |change: &dyn Fn(&mut StateDigest), words: &str| {
        let mut manifest = signed.manifest().clone();
        manifest.sequence += 1;
        change(manifest.state_digest.as_mut().unwrap());
        let other = World { key: world.key.clone(), ..World::new() };
        let error = other.verify(&manifest.sign(&world.key).unwrap().to_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        assert!(error.chain().contains(words), "{}", error.chain());
    };
    let other = Blake3Hash::from_bytes([1; 32]);
    lie(&|d| d.tables[0].rows += 1, "main.t: 50000 rows in the snapshot, 50001 in the manifest");
    lie(&|d| d.tables[0].digest = other, "main.t: other contents");
    lie(&|d| d.tables[0].columns = vec!["y".to_owned()], "main.t: other columns");
    lie(&|d| d.tables[0].name = "main.u".to_owned(), "main.t is only in the snapshot; main.u is only in the manifest");
    lie(&|d| d.tables.clear(), "main.t is only in the snapshot");
    lie(&|d| d.digest = other, "the validators");
    lie(&|d| d.schema_digest = other, "the schema");

    let without = world.sign(&SignOptions { digest: false, ..SignOptions::default() }).unwrap();
    assert_eq!(without.manifest.manifest().state_digest, None);
}

#[test]
fn what_the_database_told_stays_signed_when_the_genesis_is_edited() {
    let world = World::new();
    let genesis = Genesis::parse(&fs::read(world.genesis()).unwrap()).unwrap();
    let validators = genesis_validators(&genesis).unwrap();
    let published = SignOptions {
        old_validators: validators.clone(),
        state_validators: validators,
        old_chain_id: Some("before-1".to_owned()),
        majors: Some((16, 16)),
        ..SignOptions::default()
    };
    let first = world.sign(&published).unwrap().manifest;
    // Served again from the directory: nothing changed.
    assert!(world.sign(&SignOptions::default()).unwrap().reused);

    let text = fs::read_to_string(world.genesis()).unwrap();
    assert!(text.contains("\"power\": 1\n"));
    fs::write(world.genesis(), text.replacen("\"power\": 1\n", "\"power\": 5\n", 1)).unwrap();
    let edited = world.sign(&SignOptions::default()).unwrap();
    let (before, after) = (first.manifest(), edited.manifest.manifest());
    assert_ne!(after.new_validators, before.new_validators);
    assert_eq!(after.old_validators, before.old_validators);
    assert_eq!((&after.network, &after.state_digest), (&before.network, &before.state_digest));
    world.verify(&edited.manifest.to_bytes()).unwrap();

    // Under another name it is another network, and the old one is what it was.
    let text = fs::read_to_string(world.genesis()).unwrap();
    fs::write(world.genesis(), text.replacen(&format!("\"{}\"", genesis.chain_id()), "\"after-2\"", 1)).unwrap();
    let renamed = world.sign(&SignOptions::default()).unwrap().manifest;
    let named = renamed.manifest();
    assert_eq!((named.network.new_chain_id.as_str(), named.supersedes), ("after-2", None));
    assert_eq!(named.network.old_chain_id, before.network.old_chain_id);
    assert_eq!((&named.old_validators, &named.state_digest), (&before.old_validators, &before.state_digest));
    // Another lead knows nothing of what this one said.
    let other = World { key: PrivateKey::from_seed(KeyType::Ed25519, &[8; 32]).unwrap(), ..world };
    let theirs = other.sign(&SignOptions::default()).unwrap().manifest;
    assert_eq!(theirs.manifest().network.old_chain_id, None);
    let world = World { key: PrivateKey::from_seed(KeyType::Ed25519, &[7; 32]).unwrap(), ..other };
    fs::write(world.dir.path().join("manifest.regenesis"), renamed.to_bytes()).unwrap();

    // Another text is another state.
    world.write_snapshot("another row\n");
    let other = world.sign(&SignOptions::default()).unwrap();
    assert_eq!((other.manifest.manifest().network.old_chain_id.as_deref()), None);
    assert!(other.manifest.manifest().old_validators.is_empty());
}

#[test]
fn the_old_leader_must_confirm_also_where_the_new_genesis_names_another() {
    let world = World::new();
    let [leader, other] = [71, 72].map(|seed| PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap().public());
    let old_validators = [leader, other].map(|key| Validator { key, power: 1 }).to_vec();
    let options = SignOptions { old_validators, old_leader: Some(leader), ..SignOptions::default() };
    let rule = |options: &SignOptions| world.sign(options).unwrap().manifest.manifest().trust.attestations.clone();
    assert_eq!(rule(&options), Attestations::LeaderAndMajority { leader });
    // Signed again by somebody who is not told of it any more.
    let options = SignOptions { old_leader: None, supersede: true, ..options };
    assert_eq!(rule(&options), Attestations::LeaderAndMajority { leader });
}
