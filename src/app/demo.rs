//! A whole migration on this machine: a throw-away Postgres with a recorded network, the lead and the other validators
//! as processes of their own on loopback, and a root for each in the end. Nothing is left running, and no file unless
//! asked for.

mod compare;
mod gap;
mod guardian;
mod kwild;
mod member;
mod migrate;
mod nodes;
pub mod told;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kwil_formats::formats::Family;
use serde::Serialize;
use tempfile::TempDir;

use self::{guardian::Guardian, kwild::Kwilds, member::Talk, migrate::Migrating, nodes::Nodes, told::Told};
use crate::{
    base::{Context, Error, Next, Progress, Result, Sha256Hash, clock, durable, task::CancellationToken},
    database::scratch,
};

/// The fewest nodes of a demo: the lead's and one that fetches from it.
pub const NODES_MIN: usize = 2;
/// The most nodes of a demo. The recorded networks have four validators; nodes beyond follow.
pub const NODES_MAX: usize = 16;
/// Validators of a recorded network; the new one makes blocks with all of them.
const VALIDATORS: usize = 4;
/// The only major version of PostgreSQL that kwild starts on.
const SERVER_MAJOR: u32 = 16;

/// Where a demo tells what it does.
pub type Tell = Arc<dyn Fn(Told) + Send + Sync>;

/// What the demo is asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The number of nodes, the lead's included.
    pub nodes: usize,
    /// How many bytes the compressed snapshot shall have, about, for which rows are added; `None` adds none.
    pub size_bytes: Option<u64>,
    /// The families whose recorded networks are moved, in this order.
    pub families: Vec<Family>,
    /// The directory in which all files stay to be looked at; `None`: they are removed.
    pub keep: Option<PathBuf>,
    /// A real kwild of v0.9, which is started on the roots of that family; `None`: none is.
    pub kwild_v09: Option<PathBuf>,
    /// The same of v0.10.
    pub kwild_v010: Option<PathBuf>,
    /// Over an air gap: with media and an island in the place of a swarm of all.
    pub air_gap: bool,
    /// The directory of the PostgreSQL server's programs; `None`: that which kwild wants, or else the newest installed.
    pub binaries: Option<PathBuf>,
}

impl DemoOptions {
    fn kwild(&self, family: Family) -> Option<&Path> {
        match family {
            Family::V09 => self.kwild_v09.as_deref(),
            Family::V010 => self.kwild_v010.as_deref(),
        }
    }
}

/// What a demo did.
#[derive(Debug, Clone, Serialize)]
pub struct Demonstration {
    /// The migrations, one for each family.
    pub families: Vec<Migration>,
    /// Seconds until everything was done.
    pub seconds: f64,
    /// The directory of the files; `None` where they were removed.
    pub kept: Option<PathBuf>,
}

/// What the move of one network came to.
#[derive(Debug, Clone, Serialize)]
pub struct Migration {
    /// The network's family.
    pub family: Family,
    /// The chain id of the recorded network.
    pub old_chain_id: String,
    /// The chain id of the new network.
    pub chain_id: String,
    /// The snapshot's state hash (SHA-256 of the uncompressed text), the same for everyone.
    pub state_hash: Sha256Hash,
    /// Bytes of the genesis and the compressed snapshot, which every validator but the lead fetched.
    pub bytes: u64,
    /// Seconds from the start of the first process to the last root.
    pub seconds: f64,
    /// Where the lead's snapshot, genesis and manifest are.
    pub snapdir: PathBuf,
    /// What each node has in the end, the lead's first.
    pub nodes: Vec<DemoNode>,
}

/// What one node has in the end.
#[derive(Debug, Clone, Serialize)]
pub struct DemoNode {
    /// Its name, such as `validator 2`.
    pub who: String,
    /// Whether it is the lead's, who published.
    pub lead: bool,
    /// Seconds until the root was complete and the others were ready.
    pub seconds: f64,
    /// Bytes that came from peers.
    pub received_bytes: u64,
    /// The rate of the fetch in megabytes (10^6 bytes) a second.
    pub megabytes_per_second: f64,
    /// The number of peers that gave something.
    pub sources: usize,
    /// The state hash that this node's own check gave.
    pub state_hash: Sha256Hash,
    /// The node's root.
    pub root: PathBuf,
    /// The node id by which peers name the node.
    pub node_id: String,
    /// The height at which its database was confirmed to hold what was signed; `None`: no kwild was started.
    pub height: Option<i64>,
}

/// Runs the demo.
///
/// # Errors
/// When there is no Postgres, a process fails, or hashes or roots are not equal. Nothing is left running then either.
pub async fn run(
    options: DemoOptions,
    tell: Tell,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Demonstration> {
    if !(NODES_MIN..=NODES_MAX).contains(&options.nodes) {
        return Err(Error::usage(format!("the demo takes {NODES_MIN} to {NODES_MAX} nodes")));
    }
    let mut options = options;
    if options.air_gap {
        if options.nodes < VALIDATORS {
            return Err(Error::usage(format!("the demo over an air gap takes all {VALIDATORS} validators")));
        }
        options.size_bytes.get_or_insert(gap::SIZE_BYTES);
    }
    for kwild in [&mut options.kwild_v09, &mut options.kwild_v010].into_iter().flatten() {
        *kwild = kwild::program(kwild)?;
    }
    if options.families.iter().any(|family| options.kwild(*family).is_some()) {
        if options.nodes < VALIDATORS {
            return Err(Error::usage(format!("the network makes blocks with all of its {VALIDATORS} validators only")));
        }
        options.binaries = options.binaries.or_else(|| scratch::binaries_of(SERVER_MAJOR));
    }
    let path = migrate::path_with(options.binaries.as_deref());
    let began = clock::now();
    let place = Place::new(options.keep.as_deref())?;
    let mut families = Vec::new();
    for family in &options.families {
        let directory = place.path().join(family.to_string());
        durable::create_directory(&directory, 0o700)?;
        let kwild = options.kwild(*family).map(Path::to_owned);
        let mut migrating = Migrating {
            nodes: Nodes::new(world::world(*family), directory, options.nodes, kwild.is_some())?,
            kwild,
            path: path.clone(),
            talk: Talk::new(progress.clone()),
            progress: progress.clone(),
            tell: tell.clone(),
            members: Vec::new(),
            kwilds: Kwilds::default(),
        };
        families.push(migrating.run(&options, cancel).await?);
    }
    let kept = place.close()?;
    Ok(Demonstration { families, seconds: clock::now().duration_since(began).as_secs_f64(), kept })
}

/// Where the demo's files are.
#[derive(Debug)]
enum Place {
    Kept(PathBuf),
    Temporary {
        directory: TempDir,
        /// Removes the directory should this process be killed.
        _guardian: Guardian,
    },
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(keep) = keep else {
            let what = || format!("cannot make a directory in {}", std::env::temp_dir().display());
            let directory = tempfile::Builder::new().prefix("regenesis-demo-").tempdir().or_failed(what)?;
            let _guardian = Guardian::of_directory(directory.path())?;
            return Ok(Place::Temporary { directory, _guardian });
        };
        let keep = std::path::absolute(keep).or_failed(|| "cannot find the current directory")?;
        durable::create_directory(&keep, 0o700)?;
        let what = || format!("cannot read {}", keep.display());
        if fs::read_dir(&keep).or_failed(what)?.next().is_some() {
            return Err(Error::refused(format!("{} is not empty", keep.display())).hint(Next::KeepNewDirectory));
        }
        Ok(Place::Kept(keep))
    }

    fn path(&self) -> &Path {
        match self {
            Place::Kept(path) => path,
            Place::Temporary { directory, .. } => directory.path(),
        }
    }

    fn close(self) -> Result<Option<PathBuf>> {
        match self {
            Place::Kept(path) => Ok(Some(path)),
            Place::Temporary { directory, .. } => {
                directory.close().or_failed(|| "cannot remove the demo's temporary directory")?;
                Ok(None)
            }
        }
    }
}

fn interrupted() -> Error {
    Error::interrupted("in the middle of the demo")
}

/// Runs work that blocks on a thread that is not one of the runtime's own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_failed(|| "a part of the demo panicked")?
}
