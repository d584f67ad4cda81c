//! What this machine remembers of each network: the newest manifest it saw, and what it knows against manifests: that there is a
//! newer one, that a lead signed two with one sequence, that one was revoked. The files prove themselves.
//!
//! ```text
//! STATE/networks/<hash of new chain id and lead>/newest.regenesis
//!                                                issue.evidence, equivocation.evidence, revocation.evidence
//!                                                proposal.evidence: of a manifest that lacked signatures; it raises no mark
//! STATE/media.secret                             what the keys of encrypted media are made of
//! ```
//!
//! Of each kind of evidence the one with the highest sequence is kept: it says what those before it said.

use std::{
    env,
    path::{Path, PathBuf},
};

use kwil_formats::formats::key::PublicKey;
use rand::TryRngCore;
use zeroize::Zeroizing;

use crate::{
    base::{
        Blake3Hash, Context, Error, Next, Result,
        durable::{self, Lock},
        files::read_bounded,
        limits,
    },
    manifest::{Equivocation, Evidence, SignedManifest, TrustPolicy, VerifiedManifest, VerifyError, verify},
};

mod exclusions;

const MEDIA_SECRET: &str = "media.secret";
const NEWEST: &str = "newest.regenesis";
const KINDS: [&str; 4] = ["issue.evidence", "equivocation.evidence", "revocation.evidence", "proposal.evidence"];

/// The directory in which this machine remembers manifests (`--state-dir`).
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
    /// The operator takes the manifest of this sequence although a newer one was seen.
    allowed_rollback: Option<u64>,
}

/// What was seen of one network and lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The sequence and id of the newest manifest; `None` where none was seen.
    pub newest: Option<(u64, Blake3Hash)>,
    /// What is known against its manifests, at most one of each kind.
    pub evidence: Vec<Evidence>,
}

impl Seen {
    /// The highest sequence seen, which a new manifest's must be above; `None` where any will do.
    pub fn highest(&self) -> Option<u64> {
        let known = self.evidence.iter().filter_map(Evidence::sequence).max();
        self.newest.map(|(sequence, _)| sequence).max(known)
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

    /// The sequence of the manifest that is taken although a newer one was seen.
    pub fn allowed_rollback(&self) -> Option<u64> {
        self.allowed_rollback
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
        let newest =
            read_newest(&self.network(chain_id, lead))?.map(|newest| (newest.manifest().sequence, newest.id()));
        Ok(Seen { newest, evidence: self.evidence(chain_id, lead)? })
    }

    /// What is known against manifests of this lead for the network with this new chain id, at most one of each kind.
    ///
    /// # Errors
    /// When the directory cannot be read, or what is remembered is damaged.
    pub fn evidence(&self, chain_id: &str, lead: &PublicKey) -> Result<Vec<Evidence>> {
        let directory = self.network(chain_id, lead);
        let read = KINDS.iter().map(|name| read_evidence(&directory.join(name)));
        read.filter_map(Result::transpose).collect()
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
            policy.evidence.extend(seen.evidence);
        }
        match verify::verify(bytes, &policy, now_unix_seconds) {
            Ok(verified) => {
                match verified.is_proposal() {
                    // One key alone must not keep anyone from what all of them have signed.
                    true => self.note_proposal(verified.signed())?,
                    false => self.remember(verified.bytes())?,
                }
                Ok(verified)
            }
            Err(error @ VerifyError::Equivocation { .. }) => {
                let error = Error::from(error);
                Err(match self.keep_proof(bytes)? {
                    Some(proof) => error.or_hint(format!("the proof is kept in {}", proof.display())),
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
        let manifest = signed.manifest();
        let (directory, lock) = self.open(&manifest.network.new_chain_id, &manifest.trust.lead)?;
        match read_newest(&directory)? {
            Some(newest) if newest.manifest().sequence >= manifest.sequence => {}
            _ => durable::write_atomically(&directory.join(NEWEST), bytes, 0o600)?,
        }
        drop(lock);
        if let Some(issue) = Evidence::issue_of(&signed) {
            self.keep(&issue)?;
        }
        Ok(())
    }

    /// Keeps that a manifest was proposed, so that a second one with its number is found out.
    fn note_proposal(&self, signed: &SignedManifest) -> Result<()> {
        let Some(issue) = Evidence::issue_of(signed) else { return Ok(()) };
        let manifest = signed.manifest();
        let (directory, _lock) = self.open(&manifest.network.new_chain_id, &manifest.trust.lead)?;
        let path = directory.join(KINDS[3]);
        let there = read_evidence(&path)?;
        if there.is_none_or(|there| issue.says_more_than(&there)) {
            durable::write_atomically(&path, &issue.to_bytes(), 0o600)?;
        }
        Ok(())
    }

    /// Remembers a manifest that a key of this machine is about to sign.
    ///
    /// # Errors
    /// `Kind::Verify` where one of its number was signed before, refused where a newer one was; when the state cannot be read or
    /// written.
    pub fn remember_signing(&self, signed: &SignedManifest) -> Result<()> {
        let manifest = signed.manifest();
        let (lead, got) = (manifest.trust.lead, manifest.sequence);
        let newest = self.seen(&manifest.network.new_chain_id, &lead)?.newest;
        match newest {
            Some((sequence, first)) if sequence == got && first != signed.id() => {
                Err(VerifyError::Equivocation { lead, sequence, first, second: signed.id() }.into())
            }
            Some((seen, _)) if seen > got && self.allowed_rollback != Some(got) => {
                Err(VerifyError::Rollback { seen, got }.into())
            }
            _ => self.remember(&signed.to_bytes()),
        }
    }

    /// Keeps the proof that the newest manifest and this other one have one sequence. `None`: there is nothing to prove.
    fn keep_proof(&self, second: &[u8]) -> Result<Option<PathBuf>> {
        let signed = SignedManifest::decode(second).or_verify(|| "cannot keep this manifest as proof")?;
        let manifest = signed.manifest();
        let (chain_id, lead) = (&manifest.network.new_chain_id, &manifest.trust.lead);
        let beside_issue = |known: &Evidence| match known {
            Evidence::Issue(head) => Equivocation::beside(&signed, head),
            _ => None,
        };
        let newest = read_newest(&self.network(chain_id, lead))?;
        let proof = match newest.and_then(|first| Equivocation::between(&first, &signed)) {
            None => self.evidence(chain_id, lead)?.iter().find_map(beside_issue),
            proof => proof,
        };
        match proof {
            Some(proof) => self.keep(&Evidence::Equivocation(proof)),
            None => Ok(None),
        }
    }

    /// Keeps evidence against manifests, unless what is there says as much; gives where it is. `None`: a certificate is against
    /// nothing. Whether the signers of a revocation or an exclusion may sign it must have been found out before.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub fn keep(&self, evidence: &Evidence) -> Result<Option<PathBuf>> {
        let Some((chain_id, lead)) = evidence.subject() else { return Ok(None) };
        let (directory, _lock) = self.open(chain_id, lead)?;
        let path = directory.join(match evidence {
            Evidence::Exclusion(exclusion) => return exclusions::keep(&directory, exclusion),
            Evidence::Issue(_) | Evidence::Certificate(_) => KINDS[0],
            Evidence::Equivocation(_) => KINDS[1],
            Evidence::Revocation(_) => KINDS[2],
        });
        let there = read_evidence(&path)?;
        if there.is_none_or(|there| evidence.says_more_than(&there)) {
            durable::write_atomically(&path, &evidence.to_bytes(), 0o600)?;
        }
        Ok(Some(path))
    }

    /// The secret of this machine from which the keys of encrypted media follow, so that an export that was interrupted goes on with its own
    /// key. It is made when it is first asked for.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    pub fn media_secret(&self) -> Result<Zeroizing<[u8; 32]>> {
        durable::create_directory(&self.path, 0o700)?;
        let _lock = Lock::wait(&self.path.join(durable::LOCK_FILE_NAME))?;
        let path = self.path.join(MEDIA_SECRET);
        let mut secret = Zeroizing::new([0; 32]);
        if path.exists() {
            let bytes = Zeroizing::new(read_bounded(&path, 64, "secret of media")?);
            let whole = (bytes.len() == secret.len()).then(|| secret.copy_from_slice(&bytes));
            whole.ok_or_else(|| {
                Error::failed(format!("{} is damaged", path.display()))
                    .hint("remove it, and begin exports that are encrypted and not complete anew, on empty media")
            })?;
        } else {
            rand::rngs::OsRng.try_fill_bytes(&mut secret[..]).or_failed(|| "the system gives no randomness")?;
            durable::write_atomically(&path, &secret[..], 0o600)?;
        }
        Ok(secret)
    }

    fn open(&self, chain_id: &str, lead: &PublicKey) -> Result<(PathBuf, Lock)> {
        let directory = self.network(chain_id, lead);
        durable::create_directory(&directory, 0o700)?;
        let lock = Lock::wait(&directory.join(durable::LOCK_FILE_NAME))?;
        Ok((directory, lock))
    }
}

fn read_evidence(path: &Path) -> Result<Option<Evidence>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, limits::EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX, "remembered evidence")?;
    Evidence::decode(&bytes).map(Some).map_err(|e| {
        Error::failed(format!("what is remembered in {} is damaged", path.display())).because(e).hint(
            "remove that file only if you know that no manifest you use was revoked, replaced or signed twice: without it that \
             goes unnoticed",
        )
    })
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

#[cfg(test)]
mod tests;
