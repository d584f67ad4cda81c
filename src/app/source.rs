//! What the lead knows of the old network beside its snapshot, kept with it: who signs or publishes the directory later need not
//! be told again.

use std::path::Path;

use kwil_formats::{
    formats::{config::PeerAddress, key::PublicKey},
    judge::collation::Collation,
};
use serde::{Deserialize, Serialize};

use crate::{
    base::{Progress, Result, Sha256Hash},
    database::{Settings, collation},
    setup,
    store::PrivateDirectory,
};

const FILE_NAME: &str = "source.json";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Of the snapshot that it is about, in hex.
    state_hash: String,
    /// Id of the old network.
    pub old_chain_id: Option<String>,
    /// Its validators, as `hex#type`, with their power.
    old_validators: Vec<(String, u64)>,
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
        old_validators: &[(PublicKey, u64)],
        majors: (u32, u32),
    ) -> Self {
        self.state_hash = state_hash.to_string();
        self.old_chain_id = old_chain_id;
        self.old_validators = old_validators.iter().map(|(key, power)| (key.to_string(), *power)).collect();
        self.majors = Some(majors);
        self
    }

    /// The old network's validators.
    pub fn old_validators(&self) -> Vec<(PublicKey, u64)> {
        self.old_validators.iter().filter_map(|(key, power)| Some((key.parse().ok()?, *power))).collect()
    }

    /// Where its nodes are dialled.
    pub fn node_addresses(&self, family: kwil_formats::formats::Family) -> Vec<PeerAddress> {
        self.node_addresses.iter().filter_map(|text| PeerAddress::parse(family, text).ok()).collect()
    }

    /// Keeps it with the snapshot in `directory`.
    pub fn keep(&self, directory: &Path, progress: &Progress) {
        let kept = PrivateDirectory::lock(directory).and_then(|private| {
            let text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
            private.write(FILE_NAME, &text)
        });
        if let Err(e) = kept {
            progress.warning(format!("what the old network is like is not kept beside the snapshot: {}", e.chain()));
        }
    }

    /// What was kept about the snapshot with this state hash; of another one, or nothing readable, nothing.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(private: &PrivateDirectory, state_hash: Sha256Hash) -> Result<Self> {
        let found: Option<Source> = private.read(FILE_NAME)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut found = found.filter(|source| source.state_hash == state_hash.to_string()).unwrap_or_default();
        found.collation = found.collation.filter(Collation::is_plain);
        Ok(found)
    }
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
