//! PURE: the signed manifest: layout, canonical bytes, signatures, trust rules, statements, ticket.
//!
//! Bytes of a stranger come in; a [`VerifiedManifest`] comes out, or the numbered step that failed. Whoever holds one
//! knows which bytes each chunk must have, and by whose word. This room opens no file and reads no clock; generated
//! protobuf types do not leave `wire.rs`.

mod ballot;
mod binding;
pub mod certificate;
pub mod chunk;
mod chunk_set;
pub mod evidence;
pub mod layout;
pub mod phrase;
mod roster;
mod signed;
mod signing;
pub mod statement;
pub mod ticket;
mod trust;
pub mod verify;
mod wire;

use std::{cmp::Ordering, fmt};

pub use ballot::{Ballot, Tally, Verdict, Voice, Vote};
pub use binding::{Binding, BindingError};
pub use certificate::Certificate;
pub use chunk::{ArtifactDescription, ArtifactHasher, ChunkError, ChunkHasher, ChunkVerifier, VerifiedChunk, chunk_id};
pub use chunk_set::{ChunkSet, ranges};
pub use evidence::{Equivocation, Evidence, HeadSignatures};
use kwil_formats::{
    formats::{
        Family, GENESIS_FILE_NAME, Validator,
        config::PeerAddress,
        genesis::{Genesis, GenesisError},
        key::{PrivateKey, PublicKey},
    },
    judge::collation::Collation,
};
pub use layout::{ChunkIndex, Layout, LayoutError};
pub use roster::{Roster, Word};
use serde::Serialize;
pub use signed::{Signature, SignedManifest, SignerError, Signers};
pub use signing::{Refusal, Signing, Standing, Taken};
pub use ticket::Ticket;
pub use trust::{Attestations, Threshold, TrustRules, Weight};
pub use verify::{Step, TrustPolicy, VerifiedManifest, VerifyError};
pub use wire::DecodeError;

use crate::base::{Blake3Hash, Sha256Hash, limits};

/// The manifest's name beside the files it describes.
pub const MANIFEST_FILE_NAME: &str = "manifest.regenesis";

/// The name of an artifact, of which there is a fixed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtifactName {
    /// The new genesis.
    Genesis,
    /// The gzip file of SQL text.
    Snapshot,
}

impl ArtifactName {
    /// Every artifact, in the manifest's order.
    pub const ALL: [ArtifactName; 2] = [ArtifactName::Genesis, ArtifactName::Snapshot];

    /// The file's name in a snapshot directory.
    pub fn file_name(self, family: Family) -> &'static str {
        match self {
            ArtifactName::Genesis => GENESIS_FILE_NAME,
            ArtifactName::Snapshot => family.snapshot_file_name(),
        }
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ArtifactName::Genesis => "genesis",
            ArtifactName::Snapshot => "snapshot",
        })
    }
}

impl Serialize for ArtifactName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Which of the snapshot's files this is.
    pub name: ArtifactName,
    /// Its size in bytes, and how it is cut into chunks.
    pub layout: Layout,
    /// BLAKE3 of the file, as `b3sum` prints it.
    pub root: Blake3Hash,
    /// SHA-256 of the file.
    pub sha256: Sha256Hash,
    /// The ids of its chunks, in the file's order.
    pub chunk_ids: Vec<Blake3Hash>,
}

impl Artifact {
    /// The artifact that these bytes are.
    pub fn new(name: ArtifactName, description: ArtifactDescription) -> Self {
        let ArtifactDescription { layout, root, sha256, chunk_ids } = description;
        Artifact { name, layout, root, sha256, chunk_ids }
    }

    /// The id of a chunk; of its layout's index there is always one.
    pub fn chunk_id(&self, index: ChunkIndex) -> Option<&Blake3Hash> {
        self.chunk_ids.get(index.get() as usize)
    }

    /// Whether bytes that were described are this artifact's.
    pub fn matches(&self, description: &ArtifactDescription) -> bool {
        self.layout.size_bytes() == description.layout.size_bytes()
            && self.root == description.root
            && self.sha256 == description.sha256
    }
}

/// Which networks the migration goes between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Which Kwil formats apply.
    pub family: Family,
    /// Chain id of the old network, where the lead knew it.
    pub old_chain_id: Option<String>,
    /// Chain id of the new genesis.
    pub new_chain_id: String,
    /// The number of the old chain's last block.
    pub height: i64,
}

/// Digest of the rows and the schema; equal for two databases in the same logical state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateDigest {
    /// The state digest, over all tables and the validators.
    pub digest: Blake3Hash,
    /// The schema digest, over the statements that make the schema.
    pub schema_digest: Blake3Hash,
    /// Major version of the Postgres server; 0 where it is not known.
    pub server_major: u32,
    /// Major version of pg_dump; 0 where it is not known.
    pub dump_major: u32,
    /// The tables, sorted by their names.
    pub tables: Vec<TableDigest>,
}

/// One table of a [`StateDigest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDigest {
    /// The table's name as `schema.table`.
    pub name: String,
    /// Columns of the COPY, in its order.
    pub columns: Vec<String>,
    /// The number of rows.
    pub rows: u64,
    /// The table digest, over the sorted hashes of its rows.
    pub digest: Blake3Hash,
}

/// What the lead signs: the files, the networks, and the rules by which others trust them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Old and new network.
    pub network: Network,
    /// `max(last + 1, UNIX seconds)`: later manifests replace earlier ones.
    pub sequence: u64,
    /// When it was made, in UNIX seconds.
    pub created_unix_seconds: u64,
    /// The UNIX second after which it is refused; `None`: never.
    pub not_after_unix_seconds: Option<u64>,
    /// Each of [`ArtifactName::ALL`], in that order.
    pub artifacts: Vec<Artifact>,
    /// SHA-256 of the uncompressed SQL text; what the genesis pins.
    pub state_hash: Sha256Hash,
    /// The length of that uncompressed text in bytes.
    pub text_size_bytes: u64,
    /// What validators compare with their own databases; `None`: not computed.
    pub state_digest: Option<StateDigest>,
    /// Validators of the old network, who may attest. Sorted by key.
    pub old_validators: Vec<Validator>,
    /// Validators of the new genesis. Sorted by key.
    pub new_validators: Vec<Validator>,
    /// Who must have signed, who must attest.
    pub trust: TrustRules,
    /// The id of the manifest that this one replaces; `None` where it replaces none.
    pub supersedes: Option<Blake3Hash>,
    /// Where nodes of the new network can be dialled. Sorted, each once.
    pub node_addresses: Vec<PeerAddress>,
    /// How the old network's database orders text; `None`: the lead does not know.
    pub collation: Option<Collation>,
    /// The key that leads the new network, as its genesis says; `None`: the genesis names none, as in v0.9.
    pub new_leader: Option<PublicKey>,
}

impl Manifest {
    /// What the manifest says about one artifact.
    ///
    /// # Panics
    /// When a manifest was put together by hand without it; one that was read or signed has each.
    pub fn artifact(&self, name: ArtifactName) -> &Artifact {
        self.artifacts.iter().find(|a| a.name == name).expect("checked when it was read or signed")
    }

    /// How many bytes all artifacts have together, the snapshot compressed as it is sent.
    pub fn size_bytes(&self) -> u64 {
        self.artifacts.iter().map(|a| a.layout.size_bytes()).sum()
    }

    /// The number of chunks that all artifacts have together.
    pub fn chunk_count(&self) -> u32 {
        self.artifacts.iter().map(|a| a.layout.chunk_count()).sum()
    }

    /// Signs the manifest. What is signed can be read: the rules of the reader hold for the writer.
    ///
    /// # Errors
    /// When a reader would refuse it.
    pub fn sign(&self, key: &PrivateKey) -> Result<SignedManifest, DecodeError> {
        SignedManifest::sign(self, key)
    }

    /// What the fields must be among themselves, beyond what each is alone.
    fn check(&self) -> Result<(), DecodeError> {
        let rule = |field, problem| Err(DecodeError::Rule { field, problem });
        let names: Vec<_> = self.artifacts.iter().map(|a| a.name).collect();
        if names != ArtifactName::ALL {
            return rule("artifacts", "not exactly genesis and snapshot, in this order");
        }
        for artifact in &self.artifacts {
            let (expected, got) = (artifact.layout.chunk_count() as usize, artifact.chunk_ids.len());
            if expected != got {
                return Err(DecodeError::ChunkCount { artifact: artifact.name, expected, got });
            }
        }
        let genesis = self.artifact(ArtifactName::Genesis).layout.size_bytes();
        if genesis > limits::GENESIS_SIZE_BYTES_MAX as u64 {
            return rule("artifacts", "the genesis is larger than any genesis may be");
        }
        check_chain_id("network.new_chain_id", &self.network.new_chain_id)?;
        if let Some(old) = &self.network.old_chain_id {
            check_chain_id("network.old_chain_id", old)?;
            if *old == self.network.new_chain_id {
                return rule("network.new_chain_id", "the same as the old network's");
            }
        }
        if self.network.height < 0 {
            return rule("network.height", "below 0");
        }
        if !strictly_sorted(&self.node_addresses, Ord::cmp) {
            return Err(DecodeError::NotSorted("node_addresses"));
        }
        check_validators("old_validators", &self.old_validators)?;
        check_validators("new_validators", &self.new_validators)?;
        if self.new_validators.is_empty() {
            return rule("new_validators", "empty: the new network could not make a block");
        }
        if self.new_leader.is_some() && self.network.family == Family::V09 {
            return rule("new_leader", "named, but a network of v0.9 has none");
        }
        if let Some(digest) = &self.state_digest
            && !strictly_sorted(&digest.tables, |a, b| a.name.cmp(&b.name))
        {
            return Err(DecodeError::NotSorted("state_digest.tables"));
        }
        self.trust.check(&self.old_validators)
    }
}

fn check_chain_id(field: &'static str, id: &str) -> Result<(), DecodeError> {
    if id.is_empty() || id.len() > limits::CHAIN_ID_SIZE_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(DecodeError::Rule { field, problem: "empty, too long, or with control characters" });
    }
    Ok(())
}

fn check_validators(field: &'static str, validators: &[Validator]) -> Result<(), DecodeError> {
    if !strictly_sorted(validators, |a, b| a.key.cmp(&b.key)) {
        return Err(DecodeError::NotSorted(field));
    }
    if validators.iter().any(|v| v.power == 0) {
        return Err(DecodeError::Rule { field, problem: "a validator without power" });
    }
    // Sums of power must fit Kwil's own integers.
    let total = validators.iter().try_fold(0_u64, |sum, v| sum.checked_add(v.power));
    if total.is_none_or(|t| i64::try_from(t).is_err()) {
        return Err(DecodeError::Rule { field, problem: "more power than a number holds" });
    }
    Ok(())
}

/// The validators of a genesis, as a manifest lists them.
///
/// # Errors
/// When one has a key that is none, or no power.
pub fn genesis_validators(genesis: &Genesis) -> Result<Vec<Validator>, GenesisError> {
    let mut validators = genesis.validators()?;
    validators.sort_by_key(|v| v.key);
    Ok(validators)
}

/// Whether the items are sorted and each is there once.
fn strictly_sorted<T>(items: &[T], compare: impl Fn(&T, &T) -> Ordering) -> bool {
    items.windows(2).all(|pair| compare(&pair[0], &pair[1]) == Ordering::Less)
}

#[cfg(test)]
mod crowd;
#[cfg(test)]
mod tests;
