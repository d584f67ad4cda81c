//! A node's root: genesis, snapshot, key and configuration go in, a directory that kwild starts on comes out.
//! Everything is complete and synced under a temporary name before anything stands under its final one; a killed run
//! leaves only that temporary name, which the next run recognises. This room opens no socket and no database.

mod apply;
mod look;
mod plan;
pub mod testnet;

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use apply::{check_key, init};
pub use look::{Looked, look};
pub use plan::staging_directory;

use crate::{
    base::{Context, Error, Progress, Result, Sha256Hash, limits, task::CancellationToken},
    kwil::{Family, config::Config, genesis::Genesis, key::PublicKey},
};

/// Reads a snapshot file (gzip) to its end and fails unless it is the one that the genesis pins.
pub type CheckSnapshot<'a> = &'a (dyn Fn(&mut dyn Read, &Genesis) -> Result<()> + Sync);

/// Where the genesis comes from.
#[derive(Debug, Clone)]
pub enum GenesisSource {
    /// A file.
    File(PathBuf),
    /// Its bytes, already at hand.
    Bytes(Vec<u8>),
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
    /// The snapshot; must be there exactly if the genesis pins one.
    pub snapshot: Option<SnapshotSource>,
    /// The node's key.
    pub key: KeySource,
    /// Configuration values as (`section.key`, text).
    pub config: Vec<(String, String)>,
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
        writeln!(f, "Start it on an empty database with: {}", self.start_command())
    }
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

/// The command that starts kwild on a root, as it can be pasted into a shell.
pub fn start_command(family: Family, root: &Path) -> String {
    let root = root.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    let quoted = if root.chars().all(plain) { root.into_owned() } else { format!("'{}'", root.replace('\'', r"'\''")) };
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

impl GenesisSource {
    /// Its bytes, and what they say.
    fn read(&self) -> Result<(Vec<u8>, Genesis)> {
        match self {
            GenesisSource::Bytes(bytes) => Ok((bytes.clone(), Genesis::parse(bytes)?)),
            GenesisSource::File(path) => read_genesis(path),
        }
    }
}

/// Reads a genesis file: its bytes and what they say.
///
/// # Errors
/// When it cannot be read or is no genesis.
pub fn read_genesis(path: &Path) -> Result<(Vec<u8>, Genesis)> {
    let bytes = read_limited(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
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

/// Reads a small file, and says when it is not small.
fn read_limited(path: &Path, size_bytes_max: usize, what: &str) -> Result<Vec<u8>> {
    let unreadable = || format!("cannot read the {what} file {}", path.display());
    let file = fs::File::open(path)
        .or_failed(unreadable)
        .map_err(|e| e.hint("check the path and that this user may read it"))?;
    if file.metadata().or_failed(unreadable)?.is_dir() {
        return Err(Error::failed(format!("{} is a directory, not the {what} file", path.display()))
            .hint("name the file inside it"));
    }
    let mut bytes = Vec::new();
    file.take(size_bytes_max as u64 + 1).read_to_end(&mut bytes).or_failed(unreadable)?;
    if bytes.len() > size_bytes_max {
        return Err(Error::verify(format!("{} is larger than any {what} file", path.display()))
            .hint("this is something else: check the path"));
    }
    Ok(bytes)
}

/// Says what is wrong with configuration values for this family, before anything is made.
///
/// # Errors
/// When the family has no such key, or the key takes no such value.
pub fn check_config(family: Family, values: &[(String, String)]) -> Result<()> {
    config_of(family, values).map(drop)
}

fn config_of(family: Family, values: &[(String, String)]) -> Result<Config> {
    let mut config = Config::new(family);
    for (key, value) in values {
        config.set(key, value)?;
    }
    Ok(config)
}

/// The configuration that the options ask for.
fn configuration(family: Family, options: &InitOptions) -> Result<Config> {
    let mut config = config_of(family, &options.config)?;
    if options.snapshot.is_some() {
        config.set_genesis_state(crate::kwil::GENESIS_STATE_FILE_NAME);
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
