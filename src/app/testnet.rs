//! `setup testnet`: the roots of a whole network at once, new or from a snapshot; all of them or none. Databases are only
//! looked at: the command that makes a missing one is told.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kwil_formats::{
    formats::{
        Family,
        genesis::{Genesis, fresh::Fresh, testnet::key_type},
        key::PrivateKey,
    },
    judge::collation::Collation,
};
use rand::{TryRngCore, rngs::OsRng};
use serde::Serialize;

use super::{files::read_manifest, node_database::NodeDatabase, setup::init, source::Source};
use crate::{
    base::{Advice, Context, Error, Next, Progress, Result, durable, task::CancellationToken},
    manifest::MANIFEST_FILE_NAME,
    setup::{
        self, GenesisSource, InitOptions, KeySource, NodeConfig, SnapshotSource, key_file_name,
        testnet::{Hosts, Layout, Node, check_count, own_keys, plan},
    },
};

/// The end of the name under which the network is put together, behind a dot and the name of its directory.
const STAGING_SUFFIX: &str = ".regenesis-part";
const LOCK_FILE_NAME: &str = ".lock";
const KEY_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;

/// What the network begins with.
#[derive(Debug)]
pub enum Beginning {
    /// Kwil's defaults and what the operator says; its validators are filled in.
    Fresh(Box<Fresh>),
    /// An existing network's genesis, and the snapshot that it pins.
    Genesis {
        /// The genesis; its validators are replaced.
        genesis: Box<Genesis>,
        /// The network's new chain id; `None`: the genesis' own with `-testnet` behind it.
        chain_id: Option<String>,
        /// The snapshot file; `None` where there is none.
        snapshot: Option<PathBuf>,
    },
}

/// What `setup testnet` is asked for.
#[derive(Debug)]
pub struct TestnetOptions {
    /// The directory of the nodes' roots.
    pub output: PathBuf,
    /// The number of nodes that vote.
    pub validators: usize,
    /// The number of nodes that do not vote.
    pub non_validators: usize,
    /// Where the nodes are, their ports, and what they are called.
    pub layout: Layout,
    /// What the network begins with.
    pub beginning: Beginning,
    /// Whether each validator of a new network gets a balance, and transactions cost gas.
    pub fund_validators: bool,
    /// Keys and values for the config.toml of every node.
    pub config: Vec<(String, String)>,
    /// How the databases are to order text: as the old network's, where that is known.
    pub collation: Option<Collation>,
    /// Where progress goes.
    pub progress: Progress,
    /// Ends the work.
    pub cancel: CancellationToken,
}

/// One node that was made.
#[derive(Debug, Serialize)]
pub struct TestnetNode {
    /// The node's root.
    pub root: PathBuf,
    /// The node id by which peers name it.
    pub node_id: String,
    /// Where peers reach it: a host and port.
    pub address: String,
    /// Whether it votes.
    pub validator: bool,
    /// v0.10: whether it proposes the blocks.
    pub leader: bool,
    /// The name of its database.
    pub dbname: String,
    /// What is in that database, or why nobody knows.
    pub database: String,
    /// The shell command that makes it; `None` where it is there.
    pub create: Option<String>,
    /// The port of its RPC server.
    pub rpc_port: u16,
    /// The shell command that starts it.
    pub start: String,
    /// What its operator does next, in order.
    #[serde(skip)]
    pub next: Vec<Advice>,
}

/// What `setup testnet` made.
#[derive(Debug, Serialize)]
pub struct Testnet {
    /// The directory of the roots.
    pub directory: PathBuf,
    /// The family of the nodes.
    pub family: Family,
    /// The network's chain id.
    pub chain_id: String,
    /// The state hash that the genesis pins; `None` where it pins none.
    pub state_hash: Option<String>,
    /// The nodes that were made.
    pub nodes: Vec<TestnetNode>,
    /// Whether all nodes are to run on this machine.
    #[serde(skip)]
    pub shared: bool,
    /// Whether the genesis is an existing network's but for its validators and chain id.
    pub rehearsal: bool,
}

/// How the database of an existing network orders text: by the manifest that was signed with its genesis, the one that is named
/// or the one that lies beside the genesis, else by what was kept when its snapshot was made on this machine; `None` where
/// none of them tells.
///
/// # Errors
/// When the manifest cannot be read; refused where it was signed for another state.
pub fn old_collation(path: &Path, genesis: &Genesis, manifest: Option<&Path>) -> Result<Option<Collation>> {
    let beside = durable::parent(path).join(MANIFEST_FILE_NAME);
    let Some(path) = manifest.or(beside.is_file().then_some(beside.as_path())) else {
        return Ok(genesis.state_hash().and_then(|hash| Source::read(hash).collation));
    };
    let signed = read_manifest(path)?;
    if genesis.state_hash() != Some(signed.state_hash) {
        return Err(Error::refused(format!("{} was signed for another state than the genesis pins", path.display()))
            .hint("give the genesis and the manifest that belong together"));
    }
    Ok(signed.collation)
}

/// Makes every root, gives the directory its name, and looks at the nodes' databases where they are on this machine.
///
/// # Errors
/// When the directory is there already, or any root cannot be made; then nothing stands under its name.
pub async fn testnet(options: TestnetOptions) -> Result<Testnet> {
    let (like, progress, cancel) = (options.collation.clone(), options.progress.clone(), options.cancel.clone());
    let mut made =
        tokio::task::spawn_blocking(move || make(options)).await.or_failed(|| "making the roots was ended")??;
    let (family, mut not_looked_at) = (made.family, None);
    if !made.shared {
        not_looked_at = Some("not looked at: the node runs on another machine");
    }
    for node in &mut made.nodes {
        let look = NodeDatabase::look(family, &node.root, like.as_ref(), &progress);
        let database = match not_looked_at {
            Some(why) => NodeDatabase::unknown(family, &node.root, why, like.as_ref()),
            None => match cancel.run_until_cancelled(look).await {
                Some(database) => database,
                None => NodeDatabase::unknown(family, &node.root, "not looked at: interrupted", like.as_ref()),
            },
        };
        if database.is_unknown() {
            // Whoever waited once for a server that is silent need not do so for each node.
            not_looked_at = Some("not looked at: nor was the one before");
        }
        node.next = database.advice().into_iter().collect();
        if !database.is_anothers() {
            let root = setup::shell_path(&node.root);
            node.next.extend([Next::CheckRoot { root }.into(), setup::start_command(family, &node.root).into()]);
        }
        node.create = database.createdb().map(str::to_owned);
        node.database = database.words;
    }
    Ok(made)
}

/// Makes every root, then gives the directory its name.
///
/// # Errors
/// When the directory is there already, or any root cannot be made; then nothing stands under its name.
fn make(options: TestnetOptions) -> Result<Testnet> {
    let output = std::path::absolute(&options.output).or_failed(|| "cannot find the current directory")?;
    let family = options.layout.family;
    if options.validators == 0 {
        return Err(Error::usage("a network needs at least one validator").hint(Next::OneNode));
    }
    if let Some((key, _)) = options.config.iter().find(|(key, _)| own_keys(&options.layout).contains(&key.as_str())) {
        return Err(Error::usage(format!("{key} is each node's own and cannot be the same in all of them"))
            .hint("leave that flag out, and edit the config.toml of the node afterwards"));
    }
    refuse_existing(&output)?;
    let count = options.validators.saturating_add(options.non_validators);
    check_count(count)?;
    let keys: Vec<PrivateKey> =
        (0..count).map(|_| PrivateKey::generate(key_type(family), &mut OsRng.unwrap_err())).collect();
    let public: Vec<_> = keys.iter().map(PrivateKey::public).collect();
    let nodes = plan(&options.layout, &public)?;
    let validators = &public[..options.validators];
    let (genesis, snapshot, rehearsal) = match options.beginning {
        Beginning::Fresh(mut fresh) => {
            for key in validators {
                fresh.validator(*key);
            }
            if options.fund_validators {
                fresh.fund_validators();
            }
            (fresh.build()?, None, false)
        }
        Beginning::Genesis { genesis, chain_id, snapshot } => {
            (genesis.for_testnet(validators, chain_id.as_deref())?, snapshot, true)
        }
    };
    let work = Work {
        family,
        genesis: genesis.to_bytes(),
        snapshot,
        config: options.config,
        progress: options.progress,
        cancel: options.cancel,
    };
    let staging = Staging::open(&output)?;
    let made = work.all(&staging.path, &nodes, &keys).inspect_err(|_| {
        let _ = fs::remove_dir_all(&staging.path);
    })?;
    staging.finish(&output)?;
    Ok(Testnet {
        family,
        chain_id: genesis.chain_id().to_owned(),
        state_hash: genesis.state_hash().map(|hash| hash.to_string()),
        shared: options.layout.hosts == Hosts::Here,
        rehearsal,
        nodes: nodes
            .iter()
            .zip(&made)
            .map(|(node, made)| {
                let root = output.join(&node.name);
                TestnetNode {
                    start: setup::start_command(family, &root),
                    root,
                    node_id: made.node_id.clone(),
                    address: node.address.clone(),
                    validator: made.validator.is_some(),
                    leader: made.validator.as_ref().is_some_and(|seat| seat.leader),
                    dbname: node.dbname.clone(),
                    database: String::new(),
                    create: None,
                    next: Vec::new(),
                    rpc_port: node.ports.iter().find(|(what, _)| *what == "rpc").map_or(0, |(_, port)| *port),
                }
            })
            .collect(),
        directory: output,
    })
}

/// Refuses a place where something is, which is never touched; an empty directory may be the place.
fn refuse_existing(output: &Path) -> Result<()> {
    let empty = match fs::symlink_metadata(output) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::failed(format!("cannot look at {}", output.display())).because(e)),
        Ok(data) if !data.is_dir() => {
            return Err(Error::refused(format!("{} exists and is no directory", output.display()))
                .hint(Next::ChooseNetworkDirectory));
        }
        Ok(_) => {
            fs::read_dir(output).or_failed(|| format!("cannot read directory {}", output.display()))?.next().is_none()
        }
    };
    if empty {
        return Ok(());
    }
    Err(Error::refused(format!("{} is not empty: an existing network is never overwritten", output.display()))
        .hint(Next::ChooseNetworkDirectoryOrRemove))
}

/// What every root is made from.
struct Work {
    family: Family,
    genesis: Vec<u8>,
    snapshot: Option<PathBuf>,
    config: Vec<(String, String)>,
    progress: Progress,
    cancel: CancellationToken,
}

impl Work {
    fn all(&self, staging: &Path, nodes: &[Node], keys: &[PrivateKey]) -> Result<Vec<setup::Initialised>> {
        let mut made: Vec<setup::Initialised> = Vec::with_capacity(nodes.len());
        for (node, key) in nodes.iter().zip(keys) {
            if self.cancel.is_cancelled() {
                return Err(Error::interrupted("before the network was made").hint("run the same command again"));
            }
            let root = self.one(&staging.join(&node.name), node, key, made.first())?;
            made.push(root);
        }
        Ok(made)
    }

    /// Makes one root with its key in it; the snapshot is checked for the first root, the others share its bytes.
    fn one(
        &self,
        root: &Path,
        node: &Node,
        key: &PrivateKey,
        first: Option<&setup::Initialised>,
    ) -> Result<setup::Initialised> {
        durable::create_directory(root, DIRECTORY_MODE)?;
        durable::write_atomically(&root.join(key_file_name(self.family)), &key.to_file(self.family)?, KEY_MODE)?;
        let first = first.and_then(|first| first.snapshot.as_ref().map(|snapshot| (first, snapshot)));
        let snapshot = match (&self.snapshot, first) {
            (None, _) => None,
            (Some(source), None) => Some(SnapshotSource::File(source.clone())),
            (Some(_), Some((first, snapshot))) => {
                let directory = setup::staging_directory(root)?;
                durable::create_directory(&directory, 0o700)?;
                share(&first.root.join(snapshot.file_name()), &directory.join(snapshot.file_name()))?;
                Some(SnapshotSource::Complete(snapshot.clone()))
            }
        };
        let mut config = self.config.clone();
        // What is the node's own counts more; a value that the operator gave counts more than the plan's taste.
        config.extend(node.config.iter().filter(|(key, _)| self.config.iter().all(|(given, _)| given != key)).cloned());
        init(&InitOptions {
            root: root.to_owned(),
            genesis: GenesisSource::Bytes(self.genesis.clone()),
            snapshot,
            key: KeySource::InRoot,
            config: NodeConfig { flags: config, ..NodeConfig::default() },
            family: Some(self.family),
            progress: self.progress.clone(),
            cancel: self.cancel.clone(),
        })
    }
}

/// Gives a file's bytes a second name, or copies them where that cannot be; kwild only reads them.
fn share(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let what = || format!("cannot copy the snapshot to {}", to.display());
    durable::require_space(to, fs::metadata(from).or_failed(what)?.len(), "the snapshot")?;
    fs::copy(from, to).map(drop).or_failed(what)
}

/// The directory in which the network is put together; another process cannot do so at the same time.
struct Staging {
    path: PathBuf,
    lock: durable::Lock,
}

impl Staging {
    fn open(output: &Path) -> Result<Self> {
        let name = output.file_name().ok_or_else(|| {
            Error::usage(format!("{} cannot be the network's directory", output.display())).hint("name a new one")
        })?;
        let mut staging = OsString::from(".");
        staging.push(name);
        staging.push(STAGING_SUFFIX);
        let parent = durable::parent(output);
        durable::create_directory(parent, DIRECTORY_MODE)?;
        let path = parent.join(staging);
        if fs::symlink_metadata(&path).is_ok_and(|data| !data.is_dir()) {
            return Err(Error::refused(format!("{} is in the way and is no directory", path.display()))
                .hint("remove it, then try again"));
        }
        durable::create_directory(&path, 0o700)?;
        let lock =
            durable::Lock::acquire(&path.join(LOCK_FILE_NAME), &format!("the unfinished network {}", path.display()))?;
        let unreadable = || format!("cannot clear {}", path.display());
        // What a killed run left.
        for entry in fs::read_dir(&path).or_failed(unreadable)? {
            let entry = entry.or_failed(unreadable)?;
            if entry.file_name() == LOCK_FILE_NAME {
                continue;
            }
            let place = entry.path();
            let removed = if entry.file_type().or_failed(unreadable)?.is_dir() {
                fs::remove_dir_all(&place)
            } else {
                fs::remove_file(&place)
            };
            removed.or_failed(unreadable)?;
        }
        Ok(Staging { path, lock })
    }

    fn finish(self, output: &Path) -> Result<()> {
        let what = || format!("cannot finish {}", self.path.display());
        fs::remove_file(self.path.join(LOCK_FILE_NAME)).or_failed(what)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(DIRECTORY_MODE)).or_failed(what)?;
        durable::sync_directory(&self.path)?;
        // Whoever put something there meanwhile keeps it.
        refuse_existing(output)?;
        durable::rename(&self.path, output)?;
        drop(self.lock);
        Ok(())
    }
}
