//! `setup init`: a root from files, checked as every snapshot is, and against a manifest where there is one.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use kwil_formats::formats::{Family, config::PeerAddress};

use crate::{
    base::{Blake3Hash, Context, Error, Next, Notice, Result, clock, files::read_bounded, limits},
    manifest::{ArtifactName, MANIFEST_FILE_NAME, SignedManifest, TrustPolicy, VerifiedManifest, VerifyError, verify},
    setup::{self, GenesisSource, InitOptions, Initialised, SnapshotSource},
    snapshot::{self, ReadOptions, VerifyOptions, digest::spill_directory},
};

/// A manifest that genesis and snapshot shall be those of.
#[derive(Debug)]
pub struct Described {
    path: PathBuf,
    manifest: VerifiedManifest,
}

impl Described {
    /// Reads a manifest, or the one in a directory. Its signatures must hold; whom to trust is not asked here.
    ///
    /// # Errors
    /// When it is no manifest, or not one that its own rules let pass.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(MANIFEST_FILE_NAME) } else { path.to_owned() };
        let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")
            .map_err(|e| e.hint("give the manifest.regenesis that was signed for these files"))?;
        let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
        let policy = TrustPolicy { keys: vec![signed.manifest().trust.lead], ..TrustPolicy::default() };
        let manifest = verify::verify(&bytes, &policy, clock::unix_seconds())?;
        Ok(Described { path, manifest })
    }

    /// Which formats.
    pub fn family(&self) -> Family {
        self.manifest.manifest().network.family
    }

    /// Where nodes of its network can be dialled.
    pub fn node_addresses(&self) -> &[PeerAddress] {
        &self.manifest.manifest().node_addresses
    }
}

/// Makes a root; hash, guard and every statement of the snapshot are checked while it is copied.
///
/// # Errors
/// As [`setup::init`] and [`snapshot::verify_reader`].
pub fn init(options: &InitOptions) -> Result<Initialised> {
    init_described(options, None)
}

/// [`init`] with files that a manifest must describe.
///
/// # Errors
/// As [`init`], and when a file is not the manifest's.
pub fn init_described(options: &InitOptions, described: Option<&Described>) -> Result<Initialised> {
    let read = ReadOptions::until(&options.cancel);
    let mut verify = VerifyOptions { read, guarded_only: true, ..VerifyOptions::default() };
    let mut file_root = None;
    if let Some(described) = described {
        let (bytes, snapshot) = match (&options.genesis, &options.snapshot) {
            (GenesisSource::Bytes(bytes), Some(SnapshotSource::File(path))) => (bytes.clone(), path),
            (GenesisSource::File(genesis), Some(SnapshotSource::File(path))) => {
                (read_bounded(genesis, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?, path)
            }
            _ => {
                return Err(Error::usage("a manifest describes a genesis and a snapshot, and both must be given")
                    .hint(Next::PairOrNoManifest));
            }
        };
        described.manifest.check_genesis(&bytes)?;
        verify.manifest = Some(described.path.clone());
        let manifest = described.manifest.manifest();
        if manifest.state_digest.is_some() {
            verify.spill = Some(spill_directory());
        }
        // Plain SQL is compressed anew: then only its text can be the manifest's.
        if is_gzip(snapshot)? {
            file_root = Some(manifest.artifact(ArtifactName::Snapshot).root);
        }
    }
    let made = setup::init(options, &|file, genesis| {
        let mut file = Hashed { file, hasher: file_root.map(|_| blake3::Hasher::new()) };
        let text = if genesis.state_hash().is_some() {
            snapshot::verify_reader(&mut file, genesis, &verify, &options.progress)?.text
        } else {
            snapshot::verify_for_new_genesis(&mut file, genesis.family(), &verify, &options.progress)?
        };
        file.check(file_root)?;
        Ok(text)
    })?;
    if let Some(described) = described {
        let lead = described.manifest.manifest().trust.lead;
        let id = described.manifest.id();
        let text = format!(
            "genesis and snapshot are those of manifest {id}, which {lead} signed; whether to trust that key is not checked here"
        );
        options.progress.note(Notice::from(text).next(Next::VerifyTrust));
    }
    Ok(made)
}

fn is_gzip(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let cannot = || format!("cannot read the snapshot {}", path.display());
    let hint = |e: Error| e.hint("check the path and that this user may read it");
    File::open(path)
        .or_failed(cannot)
        .map_err(hint)?
        .take(2)
        .read_to_end(&mut magic)
        .or_failed(cannot)
        .map_err(hint)?;
    Ok(magic == [0x1f, 0x8b])
}

/// A snapshot file whose bytes are hashed as they are read.
struct Hashed<'a> {
    file: &'a mut dyn Read,
    hasher: Option<blake3::Hasher>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl Hashed<'_> {
    /// The whole file is the one that was signed, not only its text.
    fn check(mut self, expected: Option<Blake3Hash>) -> Result<()> {
        let Some(expected) = expected else { return Ok(()) };
        io::copy(&mut self, &mut io::sink()).or_failed(|| "cannot read the snapshot")?;
        let got = self.hasher.map(|hasher| Blake3Hash::from_bytes(*hasher.finalize().as_bytes()));
        if got == Some(expected) {
            return Ok(());
        }
        Err(Error::verify(format!("the snapshot's text is the manifest's, but its file is not: not BLAKE3 {expected}"))
            .hint("somebody packed it anew; take the very file that was signed"))
    }
}
