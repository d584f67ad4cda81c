//! What `snapshot verify --deep` asks beyond what every check does: in go the facts of a text and perhaps a manifest,
//! out come findings, or an error where the text is not as complete as Kwil's tools write it or does not hold the rows
//! that its manifest counts.

use std::path::{Path, PathBuf};

use kwil_formats::dump::{digest::TextDigest, scan::ScanReport};

use super::digest::check_signed;
use crate::{
    base::{Context, Error, Finding, Level, Result, Sha256Hash, durable, files::read_bounded, limits, text},
    manifest::{MANIFEST_FILE_NAME, SignedManifest, TableDigest},
};

/// Tables that one message names; of more it gives the number.
const NAMED_MAX: usize = 5;

/// The path of the manifest that lies beside a snapshot; `None` where none does.
pub(super) fn beside(snapshot: &Path) -> Option<PathBuf> {
    Some(durable::parent(snapshot).join(MANIFEST_FILE_NAME)).filter(|path| path.exists())
}

/// A manifest that was read, and the path of its file.
#[derive(Debug, Clone)]
pub struct ManifestFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says. Its signatures were not checked.
    pub signed: SignedManifest,
}

impl ManifestFile {
    /// Reads a manifest file, or the one in a directory. Who signed it is the question of `manifest verify`.
    ///
    /// # Errors
    /// `Kind::Verify` when it is no manifest or larger than any; `Kind::Failed` when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(MANIFEST_FILE_NAME) } else { path.to_owned() };
        let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
        let signed =
            SignedManifest::decode(&bytes).or_verify(|| format!("{} is no manifest", path.display())).map_err(|e| {
                e.hint(format!(
                    "give the {MANIFEST_FILE_NAME} that the lead signed, or its directory; what is none must not lie there \
                     under that name"
                ))
            })?;
        Ok(ManifestFile { signed, path })
    }

    /// Compares the text with what the manifest says of it; a
    /// finding where they agree, `Kind::Verify` where they do not.
    pub(super) fn compare(
        &self,
        state_hash: Sha256Hash,
        bytes: u64,
        report: &ScanReport,
        digest: Option<&TextDigest>,
    ) -> Result<Finding> {
        let differs = |what: String| {
            Err(Error::verify(format!("the snapshot is not the one of {}: {what}", self.path.display()))
                .hint("use the manifest that was signed for this snapshot, or fetch both again"))
        };
        let manifest = self.signed.manifest();
        if state_hash != manifest.state_hash {
            return differs(format!("its state hash is {}, not {}", state_hash, manifest.state_hash));
        }
        if bytes != manifest.text_size_bytes {
            return differs(format!("its text has {} bytes, not {}", bytes, manifest.text_size_bytes));
        }
        let Some(signed) = &manifest.state_digest else {
            return Ok(Finding::new(
                Level::Note,
                "manifest",
                format!("{} describes this text; it counts no rows to compare", self.path.display()),
            ));
        };
        let differing = differing_rows(&signed.tables, report);
        if !differing.is_empty() {
            return differs(text::first_few(&differing, NAMED_MAX));
        }
        if let Some(digest) = digest {
            check_signed(digest, manifest)?;
        }
        Ok(Finding::new(
            Level::Note,
            "manifest",
            format!(
                "{} describes this text, and the rows of {} are {}; its signature was not checked",
                self.path.display(),
                text::count(signed.tables.len() as u64, "table"),
                if digest.is_some() { "those that it says" } else { "as many as it says" },
            ),
        ))
    }
}

/// In words, each table whose number of rows is not the manifest's. The voters are left out: they are in the genesis.
fn differing_rows(tables: &[TableDigest], report: &ScanReport) -> Vec<String> {
    let mut differing = Vec::new();
    for table in tables.iter().filter(|table| table.name != "kwild_voting.voters") {
        match report.table_rows.get(&table.name) {
            Some(rows) if *rows == table.rows => {}
            Some(rows) => {
                differing.push(format!("{} has {}, not {}", table.name, text::count(*rows, "row"), table.rows));
            }
            None => differing.push(format!("{} is missing", table.name)),
        }
    }
    differing
}

/// Whether the text is as much as Kwil's tools always write: an
/// error where the closing UPDATE is missing, else findings.
pub(super) fn is_complete(report: &ScanReport) -> Result<Vec<Finding>> {
    if report.height.is_none() {
        return Err(Error::verify("the snapshot does not end with the UPDATE that Kwil's tools write last")
            .hint("its end may have been cut off before it was packed: ask the lead for the file that was made"));
    }
    let mut findings = vec![Finding::new(Level::Note, "columns", "every row has as many columns as its COPY names")];
    if !report.tables_without_rows.is_empty() {
        findings.push(Finding::new(
            Level::Warning,
            "no-copy",
            format!(
                "without a COPY block, which pg_dump writes for empty tables, too: {}",
                text::first_few(&report.tables_without_rows, NAMED_MAX)
            ),
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use super::*;
    use crate::{
        base::{Blake3Hash, Kind, Progress},
        manifest::{
            Artifact, ArtifactHasher, ArtifactName, Attestations, Layout, Manifest, Network, StateDigest, Threshold,
            TrustRules, genesis_validators,
        },
        snapshot::{Verified, VerifyOptions, read_genesis, verify},
    };
    use kwil_formats::formats::key::{KeyType, PrivateKey};

    struct World(tempfile::TempDir);

    impl World {
        /// A recorded snapshot with its genesis in a directory of its own.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v0.10/worlds/quartet/kwild-snapshot");
            for name in ["snapshot.sql.gz", "genesis.json"] {
                fs::copy(recorded.join(name), dir.path().join(name)).unwrap();
            }
            World(dir)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn check(&self, options: &VerifyOptions) -> Result<Verified> {
            verify(&self.path("snapshot.sql.gz"), &self.path("genesis.json"), options, &Progress::silent())
        }

        /// Replaces the text, and pins it.
        fn write(&self, change: impl FnOnce(String) -> String) {
            let mut text = String::new();
            let file = fs::File::open(self.path("snapshot.sql.gz")).unwrap();
            flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
            let text = change(text).into_bytes();
            let mut writer = crate::snapshot::gzip::MemberWriter::new(Default::default());
            fs::write(self.path("snapshot.sql.gz"), writer.member(&text).unwrap()).unwrap();
            let mut genesis = read_genesis(&self.path("genesis.json")).unwrap();
            use sha2::Digest;
            genesis.set_state_hash(Sha256Hash::from_bytes(sha2::Sha256::digest(&text).into()));
            fs::write(self.path("genesis.json"), genesis.to_bytes()).unwrap();
        }

        /// Signs a manifest for what lies there, as changed.
        fn sign(&self, name: &str, change: impl FnOnce(&mut Manifest)) {
            let verified = self.check(&deep()).unwrap();
            let genesis = read_genesis(&self.path("genesis.json")).unwrap();
            let describe = |name, file: &str| {
                let bytes = fs::read(self.path(file)).unwrap();
                let mut hasher = ArtifactHasher::default();
                hasher.update(&bytes);
                Artifact::new(name, hasher.finish(Layout::for_size(bytes.len() as u64).unwrap()).unwrap())
            };
            let key = PrivateKey::from_seed(KeyType::Ed25519, &[1; 32]).unwrap();
            let digest = |n| Blake3Hash::from_bytes([n; 32]);
            let tables = verified.table_rows.unwrap().into_iter().map(|(name, rows)| TableDigest {
                // The voters of the database, where the snapshot has none.
                rows: if name == "kwild_voting.voters" { 4 } else { rows },
                columns: vec!["a".to_owned()],
                digest: digest(3),
                name,
            });
            let mut manifest = Manifest {
                network: Network {
                    family: verified.family,
                    old_chain_id: None,
                    new_chain_id: genesis.chain_id().to_owned(),
                    height: verified.height.unwrap(),
                },
                sequence: 1_800_000_000,
                created_unix_seconds: 1_800_000_000,
                not_after_unix_seconds: None,
                artifacts: vec![
                    describe(ArtifactName::Genesis, "genesis.json"),
                    describe(ArtifactName::Snapshot, "snapshot.sql.gz"),
                ],
                state_hash: verified.state_hash,
                text_size_bytes: verified.bytes,
                state_digest: Some(StateDigest {
                    digest: digest(1),
                    schema_digest: digest(2),
                    server_major: 16,
                    dump_major: 16,
                    tables: tables.collect(),
                }),
                old_validators: Vec::new(),
                new_validators: genesis_validators(&genesis).unwrap(),
                trust: TrustRules {
                    lead: key.public(),
                    threshold: Threshold::Count(1),
                    cosigners: Vec::new(),
                    attestations: Attestations::None,
                },
                supersedes: None,
                node_addresses: Vec::new(),
                collation: None,
                new_leader: genesis.leader().copied(),
            };
            change(&mut manifest);
            fs::write(self.path(name), manifest.sign(&key).unwrap().to_bytes()).unwrap();
        }

        #[track_caller]
        fn refused(&self, options: &VerifyOptions, words: &str) {
            let e = self.check(options).unwrap_err();
            assert_eq!(e.kind(), Kind::Verify, "{}", e.chain());
            assert!(e.chain().contains(words), "{}", e.chain());
        }
    }

    fn deep() -> VerifyOptions {
        VerifyOptions { deep: true, ..VerifyOptions::default() }
    }

    fn codes(verified: &Verified) -> Vec<&'static str> {
        verified.findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_recorded_snapshot_is_complete_and_as_its_manifest_counts() {
        let world = World::new();
        assert!(codes(&world.check(&deep()).unwrap()).contains(&"columns"));
        world.sign(MANIFEST_FILE_NAME, |_| {});
        let verified = world.check(&deep()).unwrap();
        let finding = verified.findings.iter().find(|finding| finding.code == "manifest").unwrap();
        assert!(finding.text.contains("as many as it says"), "{}", finding.text);
        // Not asked for, not looked at.
        assert!(!codes(&world.check(&VerifyOptions::default()).unwrap()).contains(&"manifest"));
        // By name, also without --deep.
        let named = VerifyOptions { manifest: Some(world.0.path().to_owned()), ..VerifyOptions::default() };
        assert!(codes(&world.check(&named).unwrap()).contains(&"manifest"));
    }

    #[test]
    fn a_manifest_that_says_otherwise_is_an_error() {
        let world = World::new();
        world.sign(MANIFEST_FILE_NAME, |manifest| manifest.state_digest = None);
        let verified = world.check(&deep()).unwrap();
        assert!(verified.findings.iter().any(|finding| finding.text.contains("counts no rows")));
        world.sign(MANIFEST_FILE_NAME, |manifest| {
            let tables = &mut manifest.state_digest.as_mut().unwrap().tables;
            tables.iter_mut().find(|table| table.name == "ledger.accts").unwrap().rows += 1;
        });
        world.refused(&deep(), "ledger.accts has");
        fs::remove_file(world.path(MANIFEST_FILE_NAME)).unwrap();
        world.sign("other", |manifest| manifest.text_size_bytes += 1);
        let other = VerifyOptions { manifest: Some(world.path("other")), ..deep() };
        world.refused(&other, "its text has");
        world.sign("other", |manifest| manifest.state_hash = Sha256Hash::from_bytes([7; 32]));
        world.refused(&other, "its state hash is");
        fs::write(world.path("other"), "no manifest").unwrap();
        world.refused(&other, "is no manifest");
        let missing = VerifyOptions { manifest: Some(world.path("missing")), ..deep() };
        assert_eq!(world.check(&missing).unwrap_err().kind(), Kind::Failed);
    }

    #[test]
    fn a_text_that_kwil_would_not_have_written_so_is_told() {
        let world = World::new();
        world.write(|text| text[..text.find("UPDATE kwild_voting.resolutions SET").unwrap()].to_owned());
        assert!(codes(&world.check(&VerifyOptions::default()).unwrap()).contains(&"no-height"));
        world.refused(&deep(), "UPDATE");
        let world = World::new();
        world.write(|text| {
            let from = text.find("COPY ledger.moves").unwrap();
            let to = from + text[from..].find("\n\\.\n").unwrap() + 4;
            [&text[..from], &text[to..]].concat()
        });
        let verified = world.check(&deep()).unwrap();
        let finding = verified.findings.iter().find(|finding| finding.code == "no-copy").unwrap();
        assert!(finding.text.ends_with(": ledger.moves"), "{}", finding.text);
        let world = World::new();
        world.write(|text| {
            let rows = text.find("COPY ledger.accts").unwrap();
            let row = rows + text[rows..].find('\n').unwrap() + 1;
            let tab = row + text[row..].find('\t').unwrap();
            [&text[..tab], &text[tab + 1..]].concat()
        });
        world.refused(&VerifyOptions::default(), "columns");
    }
}
