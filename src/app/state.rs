//! What this machine remembers of each network: the newest manifest it saw, and proofs of a lead that signed two with
//! one sequence. The files prove themselves: they are the signed manifests.
//!
//! ```text
//! STATE/networks/<hash of new chain id and lead>/newest.regenesis
//!                                                equivocation-<sequence>/first.regenesis, second.regenesis
//! ```

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use kwil_formats::formats::key::PublicKey;

use crate::{
    base::{
        Blake3Hash, Context, Error, Next, Result,
        durable::{self, Lock},
        files::read_bounded,
        limits,
    },
    manifest::{SignedManifest, TrustPolicy, VerifiedManifest, VerifyError, verify},
};

const NEWEST: &str = "newest.regenesis";
const EQUIVOCATION: &str = "equivocation-";

/// The directory in which this machine remembers manifests (`--state-dir`).
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
    /// The operator takes the manifest of this sequence although a newer one was seen.
    allowed_rollback: Option<u64>,
}

/// What was seen of one network and lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The sequence and id of the newest manifest; `None` where none was seen.
    pub newest: Option<(u64, Blake3Hash)>,
    /// The highest sequence of which two manifests were seen; `None` where there is none.
    pub equivocated: Option<u64>,
}

impl Seen {
    /// The highest sequence seen, which a new manifest's must be above; `None` where any will do.
    pub fn highest(&self) -> Option<u64> {
        self.newest.map(|(sequence, _)| sequence).max(self.equivocated)
    }
}

impl StateDirectory {
    /// The directory that was given, or the XDG default. It is made when something is to be remembered.
    ///
    /// # Errors
    /// When none is given and neither `XDG_STATE_HOME` nor `HOME` says where.
    pub fn new(given: Option<&Path>) -> Result<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let path = match given {
            Some(path) => path.to_owned(),
            None => absolute("XDG_STATE_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
                .map(|base| base.join("regenesis"))
                .ok_or_else(|| {
                    Error::usage("there is no place for the state: neither XDG_STATE_HOME nor HOME is set")
                        .hint(Next::GiveStateDirectory)
                })?,
        };
        Ok(StateDirectory { path, allowed_rollback: None })
    }

    /// Takes the manifest of this sequence although a newer one was seen; what was seen stays.
    pub fn allowing_rollback(self, sequence: Option<u64>) -> Self {
        StateDirectory { allowed_rollback: sequence, ..self }
    }

    /// The path of the directory, which need not be there yet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn network(&self, chain_id: &str, lead: &PublicKey) -> PathBuf {
        // A chain id is a stranger's text: only its hash becomes a name.
        let mut hasher = blake3::Hasher::new();
        hasher.update(lead.to_string().as_bytes()).update(b"\0").update(chain_id.as_bytes());
        self.path.join("networks").join(&hasher.finalize().to_hex()[..32])
    }

    /// What was seen of the network with this new chain id and lead.
    ///
    /// # Errors
    /// When the directory cannot be read, or what is remembered is damaged.
    pub fn seen(&self, chain_id: &str, lead: &PublicKey) -> Result<Seen> {
        let directory = self.network(chain_id, lead);
        let newest = read_newest(&directory)?.map(|newest| (newest.manifest().sequence, newest.id()));
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Seen::default()),
            entries => entries.or_failed(|| format!("cannot read {}", directory.display()))?,
        };
        let mut equivocated = None;
        for entry in entries {
            let name = entry.or_failed(|| format!("cannot read {}", directory.display()))?.file_name();
            let sequence = name.to_str().and_then(|n| n.strip_prefix(EQUIVOCATION)).and_then(|n| n.parse().ok());
            equivocated = equivocated.max(sequence);
        }
        Ok(Seen { newest, equivocated })
    }

    /// Verifies a manifest against `policy` and what was seen before, and remembers it. Of two manifests with one
    /// sequence both are kept as proof, and both are refused from then on.
    ///
    /// # Errors
    /// When a step fails, or the state cannot be read or written.
    pub fn verify(&self, bytes: &[u8], policy: &TrustPolicy, now_unix_seconds: u64) -> Result<VerifiedManifest> {
        let mut policy = TrustPolicy { allowed_rollback: self.allowed_rollback, ..policy.clone() };
        // Unreadable bytes fail in the steps below, with their number.
        if let Ok(signed) = SignedManifest::decode(bytes) {
            let seen = self.seen(&signed.manifest().network.new_chain_id, &signed.manifest().trust.lead)?;
            policy.highest_sequence_seen = policy.highest_sequence_seen.max(seen.newest);
            policy.equivocated_sequence = policy.equivocated_sequence.max(seen.equivocated);
        }
        match verify::verify(bytes, &policy, now_unix_seconds) {
            Ok(verified) => {
                self.remember(verified.bytes())?;
                Ok(verified)
            }
            Err(error @ VerifyError::Equivocation { .. }) => {
                let error = Error::from(error);
                Err(match self.keep_proof(bytes)? {
                    Some(proof) => error.or_hint(format!("both are kept in {}", proof.display())),
                    None => error,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers a manifest that is ours or was verified, unless a newer one is known.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub fn remember(&self, bytes: &[u8]) -> Result<()> {
        let signed = SignedManifest::decode(bytes).or_verify(|| "cannot remember this manifest")?;
        let (directory, _lock) = self.open(&signed)?;
        match read_newest(&directory)? {
            Some(newest) if newest.manifest().sequence >= signed.manifest().sequence => Ok(()),
            _ => durable::write_atomically(&directory.join(NEWEST), bytes, 0o600),
        }
    }

    /// Keeps the newest manifest and this other one of the same sequence. `None`: the other one is not ours to prove.
    fn keep_proof(&self, second: &[u8]) -> Result<Option<PathBuf>> {
        let signed = SignedManifest::decode(second).or_verify(|| "cannot keep this manifest as proof")?;
        let sequence = signed.manifest().sequence;
        let (directory, _lock) = self.open(&signed)?;
        let Some(first) = read_newest(&directory)?.filter(|f| f.manifest().sequence == sequence) else {
            return Ok(None);
        };
        let proof = directory.join(format!("{EQUIVOCATION}{sequence}"));
        if !proof.exists() {
            let part = durable::part_path(&proof);
            durable::create_directory(&part, 0o700)?;
            durable::write_atomically(&part.join("first.regenesis"), &first.to_bytes(), 0o600)?;
            durable::write_atomically(&part.join("second.regenesis"), second, 0o600)?;
            durable::rename(&part, &proof)?;
        }
        Ok(Some(proof))
    }

    fn open(&self, signed: &SignedManifest) -> Result<(PathBuf, Lock)> {
        let manifest = signed.manifest();
        let directory = self.network(&manifest.network.new_chain_id, &manifest.trust.lead);
        durable::create_directory(&directory, 0o700)?;
        let lock = Lock::wait(&directory.join(durable::LOCK_FILE_NAME))?;
        Ok((directory, lock))
    }
}

fn read_newest(directory: &Path) -> Result<Option<SignedManifest>> {
    let path = directory.join(NEWEST);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "remembered manifest")?;
    SignedManifest::decode(&bytes).map(Some).map_err(|e| {
        Error::failed(format!("what is remembered in {} is damaged", path.display())).because(e).hint(
            "remove that file only if you know which manifest was the newest: without it a rollback goes unnoticed",
        )
    })
}
