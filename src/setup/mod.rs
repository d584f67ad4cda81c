//! A node's root: genesis, snapshot, key and configuration go in, a directory that kwild starts on comes out.
//! Everything is complete and synced under a temporary name before anything stands under its final one; a killed run
//! leaves only that temporary name, which the next run recognises. This room opens no socket and no database.

mod apply;
mod key;
mod look;
mod node_config;
mod peers;
mod plan;
mod snapshot;
pub mod testnet;

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use kwil_formats::judge::quote::shell_word;
use serde::Serialize;
use zeroize::Zeroizing;

pub use apply::{STAGING_LOCK_NAME, init};
pub use key::{check_key, family_of_key, read_key_file};
use kwil_formats::formats::{
    Family,
    config::{PeerAddress, Setting},
    genesis::Genesis,
    key::PublicKey,
};
pub use look::{Looked, holds_blocks, look};
pub use node_config::NodeConfig;
pub use peers::{PeersInRoot, addresses_in_root, change_config, merge_peers};
pub use plan::{STAGING_SUFFIX, is_staging, root_of, staging_directory};

use crate::{
    base::{Error, Progress, Result, Sha256Hash, files::read_bounded, limits, task::CancellationToken},
    snapshot::{CheckedText, CompleteSnapshot},
};

/// Reads a snapshot file (gzip) to its end and fails unless it is the one that the genesis pins.
/// Where the genesis pins no snapshot yet, any snapshot of its family is good.
pub type CheckSnapshot<'a> = &'a (dyn Fn(&mut dyn Read, &Genesis) -> Result<CheckedText> + Sync);

/// Makes a genesis for a node's key and, where there is one, for the snapshot with this state hash.
pub type MakeGenesis = dyn Fn(&PublicKey, Option<Sha256Hash>) -> Result<Genesis> + Send + Sync;

/// Where the genesis of a new root comes from.
#[derive(Debug, Clone)]
pub enum GenesisSource {
    /// The path of a genesis file.
    File(PathBuf),
    /// The bytes of a genesis that is already at hand.
    Bytes(Vec<u8>),
    /// A genesis that is made together with the root.
    New(NewGenesis),
}

/// How the genesis of a network is made that begins with this root.
#[derive(Clone)]
pub struct NewGenesis {
    family: Family,
    make: Arc<MakeGenesis>,
}

impl NewGenesis {
    /// `make` must give a genesis of this family.
    pub fn new(
        family: Family,
        make: impl Fn(&PublicKey, Option<Sha256Hash>) -> Result<Genesis> + Send + Sync + 'static,
    ) -> Self {
        NewGenesis { family, make: Arc::new(make) }
    }
}

impl fmt::Debug for NewGenesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewGenesis").field("family", &self.family).finish_non_exhaustive()
    }
}

/// Where the snapshot of a new root comes from.
#[derive(Debug, Clone)]
pub enum SnapshotSource {
    /// The path of a file, gzip or plain SQL, that is copied; plain SQL is compressed.
    File(PathBuf),
    /// Already inside [`staging_directory`]: it only gets its final name.
    /// Everything else that lies there becomes part of the root, too.
    Complete(CompleteSnapshot),
}

/// Where the key of a new root's node comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The path of a key file of the family, which is copied.
    File(PathBuf),
    /// A fresh key, which is made for the root.
    New,
    /// The key file that already lies in the root.
    InRoot,
}

/// What `setup init` is told to make.
#[derive(Debug)]
pub struct InitOptions {
    /// The path of the root to make.
    pub root: PathBuf,
    /// Where the genesis comes from.
    pub genesis: GenesisSource,
    /// The snapshot; it must be there exactly if the genesis pins
    /// one. A genesis that is made here pins the one that is there.
    pub snapshot: Option<SnapshotSource>,
    /// Where the node's key comes from.
    pub key: KeySource,
    /// What the node's config.toml holds.
    pub config: NodeConfig,
    /// The family that the operator says; a genesis of the other one is refused. `None`: whichever the genesis is of.
    pub family: Option<Family>,
    /// Where progress, notes and warnings go.
    pub progress: Progress,
    /// Token that ends the work with an error when it is cancelled.
    pub cancel: CancellationToken,
}

/// A validator's place in the genesis, as its power there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seat {
    /// The validator's voting power.
    pub power: u64,
    /// The sum of all validators' voting power.
    pub total_power: u64,
    /// v0.10: whether the validator is the leader, who proposes the blocks.
    pub leader: bool,
}

/// What `setup init` made, as it tells it in words and as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialised {
    /// The root's absolute path.
    pub root: PathBuf,
    /// Whether the root is a v0.9 or a v0.10 node's.
    pub family: Family,
    /// Chain id of the network.
    pub chain_id: String,
    /// The state hash that the genesis pins; `None` where the network begins without a snapshot.
    pub state_hash: Option<Sha256Hash>,
    /// The name by which peers know this node, in its family's form.
    pub node_id: String,
    /// The node's public key.
    pub public_key: PublicKey,
    /// The node's place among the genesis' validators; `None` if it is no validator.
    pub validator: Option<Seat>,
    /// Names of the files and directories in the root, sorted.
    pub files: Vec<String>,
    /// The snapshot in the root; `None` where the network begins without one.
    #[serde(skip)]
    pub snapshot: Option<CompleteSnapshot>,
    /// Whether the genesis was made here, so that every other node needs the same file.
    pub new_genesis: bool,
    /// Whom the node dials.
    pub peers: Vec<PeerAddress>,
    /// What became of each of an old node's settings; empty without an old node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// The name of the node's key file in a root of this family.
pub fn key_file_name(family: Family) -> &'static str {
    match family {
        Family::V09 => "private_key",
        Family::V010 => "nodekey.json",
    }
}

/// Whether the root holds a node key of either family.
pub fn key_in_root(root: &Path) -> bool {
    [Family::V09, Family::V010].iter().any(|family| root.join(key_file_name(*family)).exists())
}

/// A path as it can be pasted into a shell.
pub fn shell_path(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// The command that starts kwild on a root, as it can be pasted into a shell.
pub fn start_command(family: Family, root: &Path) -> String {
    let quoted = shell_path(root);
    match family {
        Family::V09 => format!("kwild --root-dir {quoted}"),
        Family::V010 => format!("kwild start -r {quoted}"),
    }
}

impl Initialised {
    /// The command that starts kwild on this root.
    pub fn start_command(&self) -> String {
        start_command(self.family, &self.root)
    }

    /// The place of a key among the genesis' validators; `None` where it has none.
    pub fn seat(genesis: &Genesis, key: &PublicKey) -> Result<Option<Seat>> {
        let validators = genesis.validators()?;
        let total_power = validators.iter().fold(0u64, |sum, validator| sum.saturating_add(validator.power));
        let own = validators.iter().find(|validator| validator.key == *key);
        Ok(own.map(|own| Seat { power: own.power, total_power, leader: genesis.leader() == Some(key) }))
    }
}

/// A genesis that was read, or how one will be made.
enum GenesisAtHand<'a> {
    /// The genesis file's bytes, and what they say.
    Read(Vec<u8>, Box<Genesis>),
    New(&'a NewGenesis),
}

impl GenesisAtHand<'_> {
    fn family(&self) -> Family {
        match self {
            GenesisAtHand::Read(_, genesis) => genesis.family(),
            GenesisAtHand::New(new) => new.family,
        }
    }
}

impl GenesisSource {
    fn read(&self) -> Result<GenesisAtHand<'_>> {
        match self {
            GenesisSource::Bytes(bytes) => Ok(GenesisAtHand::Read(bytes.clone(), Box::new(Genesis::parse(bytes)?))),
            GenesisSource::File(path) => {
                let (bytes, genesis) = read_genesis(path)?;
                Ok(GenesisAtHand::Read(bytes, Box::new(genesis)))
            }
            GenesisSource::New(new) => Ok(GenesisAtHand::New(new)),
        }
    }
}

/// Reads a genesis file of a bounded size: its bytes and what they say.
///
/// # Errors
/// When the file cannot be read or is no genesis.
pub fn read_genesis(path: &Path) -> Result<(Vec<u8>, Genesis)> {
    let bytes = read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    let genesis = Genesis::parse(&bytes).map_err(|e| in_file(path, e))?;
    Ok((bytes, genesis))
}

/// An error about a file's content, with the file's path in front.
fn in_file(path: &Path, error: impl Into<Error>) -> Error {
    let error: Error = error.into();
    let told = Error::new(error.kind(), format!("{}: {}", path.display(), error.chain()));
    match error.advice() {
        Some(advice) => told.hint(advice.clone()),
        None => told,
    }
}

/// Reads a node's config.toml, which may hold a password.
///
/// # Errors
/// When it cannot be read, is larger than any configuration, or is not UTF-8.
pub fn read_config(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(read_bounded(path, limits::CONFIG_SIZE_BYTES_MAX, "configuration")?);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::failed(format!("{} is not UTF-8", path.display())).hint("give a node's config.toml")),
    }
}

#[cfg(test)]
mod tests;
