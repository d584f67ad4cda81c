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

use kwil_formats::judge::readiness::shell_word;
use serde::Serialize;
use zeroize::Zeroizing;

pub use apply::{STAGING_LOCK_NAME, init};
pub use key::{check_key, family_of_key, read_key_file};
use kwil_formats::formats::{
    Family,
    config::{Fate, PeerAddress, Setting},
    genesis::Genesis,
    key::PublicKey,
};
pub use look::{Looked, holds_blocks, look};
pub use node_config::NodeConfig;
pub use peers::{PeersInRoot, addresses_in_root, change_config, merge_peers};
pub use plan::{STAGING_SUFFIX, staging_directory};

use crate::base::{Error, Progress, Result, Sha256Hash, files::read_bounded, limits, task::CancellationToken};

/// Reads a snapshot file (gzip) to its end and fails unless it is the one that the genesis pins; gives its state hash.
/// With a genesis that pins none yet, whatever belongs to its family is good.
pub type CheckSnapshot<'a> = &'a (dyn Fn(&mut dyn Read, &Genesis) -> Result<Sha256Hash> + Sync);

/// Makes a genesis for a node's key and, where there is one, for the snapshot of this state hash.
pub type MakeGenesis = dyn Fn(&PublicKey, Option<Sha256Hash>) -> Result<Genesis> + Send + Sync;

/// Where the genesis comes from.
#[derive(Debug, Clone)]
pub enum GenesisSource {
    /// A file.
    File(PathBuf),
    /// Its bytes, already at hand.
    Bytes(Vec<u8>),
    /// It is made with the root.
    New(NewGenesis),
}

/// A genesis that is made with the root.
#[derive(Clone)]
pub struct NewGenesis {
    family: Family,
    make: Arc<MakeGenesis>,
}

impl NewGenesis {
    /// `make` gives one of this family.
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

/// Where the snapshot comes from.
#[derive(Debug, Clone)]
pub enum SnapshotSource {
    /// A file, gzip or plain SQL: copied, plain SQL compressed.
    File(PathBuf),
    /// Already inside [`staging_directory`] under this name, and checked against this genesis while it was fetched: it
    /// only gets its final name. Everything else that lies there becomes part of the root too.
    Verified(String),
}

/// Where the node's key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A key file of the family, copied.
    File(PathBuf),
    /// A fresh key.
    New,
    /// The key that already lies in the root.
    InRoot,
}

/// What `setup init` is told.
#[derive(Debug)]
pub struct InitOptions {
    /// The root to make.
    pub root: PathBuf,
    /// The genesis.
    pub genesis: GenesisSource,
    /// The snapshot; must be there exactly if the genesis pins one. A new genesis pins the one that is there.
    pub snapshot: Option<SnapshotSource>,
    /// The node's key.
    pub key: KeySource,
    /// What its config.toml holds.
    pub config: NodeConfig,
    /// What the operator says the family is.
    pub family: Option<Family>,
    /// Where progress goes.
    pub progress: Progress,
    /// Ends the work.
    pub cancel: CancellationToken,
}

/// A validator's place in the genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seat {
    /// Its power.
    pub power: i64,
    /// All validators' power.
    pub total_power: i64,
    /// v0.10: whether it proposes the blocks.
    pub leader: bool,
}

/// What `setup init` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialised {
    /// The root, absolute.
    pub root: PathBuf,
    /// Its family.
    pub family: Family,
    /// Id of the network.
    pub chain_id: String,
    /// What the genesis pins.
    pub state_hash: Option<Sha256Hash>,
    /// How peers name this node.
    pub node_id: String,
    /// The node's public key.
    pub public_key: PublicKey,
    /// Its place among the validators, if it has one.
    pub validator: Option<Seat>,
    /// Names in the root.
    pub files: Vec<String>,
    /// The genesis was made here, and every other node needs the same file.
    pub new_genesis: bool,
    /// Whom the node dials.
    pub peers: Vec<PeerAddress>,
    /// What became of an old node's settings, each key once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

impl fmt::Display for Initialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "root ready: {}", self.root.display())?;
        writeln!(f, "  network     {} ({})", crate::base::text::escape(&self.chain_id), self.family)?;
        if let Some(hash) = &self.state_hash {
            writeln!(f, "  state hash  {hash}")?;
        }
        writeln!(f, "  node id     {}", self.node_id)?;
        writeln!(f, "  files       {}", self.files.join(", "))?;
        match &self.validator {
            Some(seat) => writeln!(
                f,
                "This key is {} in the genesis, with power {} of {}.",
                if seat.leader { "the leader" } else { "a validator" },
                seat.power,
                seat.total_power
            ),
            None => writeln!(f, "This key is no validator in the genesis: the node will follow, but not vote."),
        }?;
        if self.new_genesis {
            writeln!(f, "The genesis is new: give this very file to every other node of the network.")?;
        }
        fmt_settings(&self.settings, f)?;
        writeln!(f, "Start it on an empty database with: {}", self.start_command())
    }
}

/// An old node's settings in words: what went over, what did not and why, what is to be set by hand.
///
/// # Errors
/// When the text cannot be written.
pub fn fmt_settings(settings: &[Setting], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fate, title) in [
        (Fate::Carried, "Carried over from the old node:"),
        (Fate::Flag, "Set by flags instead:"),
        (Fate::Dropped, "Not carried over:"),
        (Fate::ByHand, "The old node is of the other family; set by hand what you still want:"),
    ] {
        let mut found = settings.iter().filter(|setting| setting.fate == fate).peekable();
        if found.peek().is_some() {
            writeln!(f, "{title}")?;
        }
        for setting in found {
            write!(f, "  {}", setting.key)?;
            if let Some(value) = &setting.value {
                write!(f, " = {value}")?;
            }
            match &setting.why {
                Some(why) => writeln!(f, "  ({why})")?,
                None => writeln!(f)?,
            }
        }
    }
    let defaults: Vec<&str> =
        settings.iter().filter(|setting| setting.fate == Fate::Default).map(|setting| setting.key.as_str()).collect();
    if !defaults.is_empty() {
        writeln!(f, "Kwil's default, as before: {}", defaults.join(", "))?;
    }
    Ok(())
}

/// The key file's name in a root.
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

    /// Where the key stands in the genesis.
    pub fn seat(genesis: &Genesis, key: &PublicKey) -> Result<Option<Seat>> {
        let validators = genesis.validators()?;
        let total_power = validators.iter().fold(0i64, |sum, validator| sum.saturating_add(validator.power));
        let own = validators.iter().find(|validator| validator.key == *key);
        Ok(own.map(|own| Seat { power: own.power, total_power, leader: genesis.leader() == Some(key) }))
    }
}

/// A genesis, or how it will come to be.
enum GenesisAtHand<'a> {
    /// Its bytes, and what they say.
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

/// Reads a genesis file: its bytes and what they say.
///
/// # Errors
/// When it cannot be read or is no genesis.
pub fn read_genesis(path: &Path) -> Result<(Vec<u8>, Genesis)> {
    let bytes = read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    let genesis = Genesis::parse(&bytes).map_err(|e| in_file(path, e))?;
    Ok((bytes, genesis))
}

/// An error about a file's content, with the file's name in front.
fn in_file(path: &Path, error: impl Into<Error>) -> Error {
    let error: Error = error.into();
    let told = Error::new(error.kind(), format!("{}: {}", path.display(), error.chain()));
    match error.advice() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Reads a node's config.toml, which may hold a password.
///
/// # Errors
/// When it cannot be read, is larger than any configuration, or no text.
pub fn read_config(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(read_bounded(path, limits::CONFIG_SIZE_BYTES_MAX, "configuration")?);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::failed(format!("{} is not UTF-8", path.display())).hint("give a node's config.toml")),
    }
}

#[cfg(test)]
mod tests;
