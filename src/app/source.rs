//! What the lead knows of the old network beside its snapshot, kept in the lead's state directory by the snapshot's state hash:
//! who signs or publishes it later need not be told again. The snapshot's own directory holds what others get, nothing else.

use std::path::{Path, PathBuf};

use kwil_formats::{
    formats::{Validator, config::PeerAddress, key::PublicKey},
    judge::collation::Collation,
};
use serde::{Deserialize, Serialize};

use super::state::StateDirectory;
use crate::{
    base::{Progress, Result, Sha256Hash, durable, files::read_bounded},
    database::{Settings, collation},
    setup,
};

/// Where in the state directory.
const DIRECTORY_NAME: &str = "sources";
/// Far above what any network's validators and addresses take.
const FILE_SIZE_BYTES_MAX: usize = 16 << 20;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The state hash of the snapshot that this is about, in hex.
    state_hash: String,
    /// Id of the old network.
    pub old_chain_id: Option<String>,
    /// Its validators, as `hex#type`, with their power.
    old_validators: Vec<Validator>,
    /// The key that leads it (v0.10).
    pub old_leader: Option<PublicKey>,
    /// How its database orders text.
    pub collation: Option<Collation>,
    /// Where its nodes are dialled, as its family writes it.
    node_addresses: Vec<String>,
    /// Majors of the server and of pg_dump.
    pub majors: Option<(u32, u32)>,
}

impl Source {
    /// What the old database and, where there is one, the old root tell. What cannot be found out is left out and said.
    pub async fn of(settings: &Settings, old_root: Option<&Path>, progress: &Progress) -> Self {
        let collation = match collation::look(settings).await {
            Ok(found) if found.is_plain() => Some(found),
            Ok(found) => {
                let words = found.words();
                progress.warning(format!("the manifest will not say how the old database orders text: {words}"));
                None
            }
            Err(e) => {
                progress.warning(format!("the manifest will not say how the old database orders text: {}", e.chain()));
                None
            }
        };
        Source { collation, node_addresses: addresses(old_root, progress), ..Source::default() }
    }

    /// The same, with what the snapshot's making told.
    #[must_use]
    pub fn about(
        mut self,
        state_hash: Sha256Hash,
        old_chain_id: Option<String>,
        old_validators: &[Validator],
        majors: (u32, u32),
    ) -> Self {
        self.state_hash = state_hash.to_string();
        self.old_chain_id = old_chain_id;
        self.old_validators = old_validators.to_vec();
        self.majors = Some(majors);
        self
    }

    /// The old network's validators.
    pub fn old_validators(&self) -> &[Validator] {
        &self.old_validators
    }

    /// Where its nodes are dialled.
    pub fn node_addresses(&self, family: kwil_formats::formats::Family) -> Vec<PeerAddress> {
        self.node_addresses.iter().filter_map(|text| PeerAddress::parse(family, text).ok()).collect()
    }

    /// Keeps it for whoever signs the snapshot on this machine.
    pub fn keep(&self, progress: &Progress) {
        let kept = directory().and_then(|directory| {
            durable::create_directory(&directory, 0o700)?;
            let text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
            durable::write_atomically(&directory.join(&self.state_hash), &text, 0o600)
        });
        if let Err(e) = kept {
            progress.note(format!("what the old network is like is not kept for a later signing: {}", e.chain()));
        }
    }

    /// What was kept about the snapshot with this state hash; where nothing was, or nothing readable, nothing.
    pub fn read(state_hash: Sha256Hash) -> Self {
        let path = directory().map(|directory| directory.join(state_hash.to_string()));
        let bytes = path.and_then(|path| read_bounded(&path, FILE_SIZE_BYTES_MAX, "what was kept of the old network"));
        let found: Option<Source> = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut found = found.filter(|source| source.state_hash == state_hash.to_string()).unwrap_or_default();
        found.collation = found.collation.filter(Collation::is_plain);
        found
    }
}

/// The operator's own, whatever `--state-dir` says of manifests: it is no memory of what was seen.
fn directory() -> Result<PathBuf> {
    Ok(StateDirectory::new(None)?.path().join(DIRECTORY_NAME))
}

/// Where an old root's config.toml says that its own node and its peers are.
pub fn addresses(old_root: Option<&Path>, progress: &Progress) -> Vec<String> {
    match old_root.map(setup::addresses_in_root) {
        None => Vec::new(),
        Some(Ok(addresses)) => addresses.iter().map(ToString::to_string).collect(),
        Some(Err(e)) => {
            progress.warning(format!("the manifest will not say where the old root's nodes are: {}", e.chain()));
            Vec::new()
        }
    }
}
