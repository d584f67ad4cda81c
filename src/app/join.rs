//! Joining: fetch into the directory that becomes the root, check, set up, and say what to do next.

mod agree;
mod next;
mod own_keys;
mod preflight;
mod then;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use kwil_formats::formats::{
    Family, GENESIS_FILE_NAME,
    config::{CONFIG_FILE_NAME, DatabaseSettings, Difference, Setting},
    key::PublicKey,
};
use serde::Serialize;
use tokio::runtime::Handle;

pub use self::agree::OldState;
pub use self::then::Program;
use self::{agree::Agreeing, next::NextSteps, preflight::Preflight};
use super::{
    bundle::JoinMedia,
    check::{self, MachineReport},
    clean,
    fetch::{self, Complete, FetchOptions, Serving, Signed},
    files::read_private_key,
    meet::{self, WaitFor},
    node::{Node, SwarmOptions},
    node_database::NodeDatabase,
    peers::{self, Company, PeersOf},
    state::StateDirectory,
};
use crate::{
    base::{
        Advice, Blake3Hash, Context, Error, Next, Notice, Progress, Result, Sha256Hash, clock, durable,
        files::read_bounded, limits, task::CancellationToken, text,
    },
    manifest::{MANIFEST_FILE_NAME, SignedManifest, Tally, Ticket, VerifyError},
    setup::{self, GenesisSource, InitOptions, Initialised, KeySource, NodeConfig, SnapshotSource},
    store::PrivateDirectory,
};

/// Values for the new config.toml; which flags mean something depends on the family, which the manifest tells.
pub type ConfigOf = Box<dyn Fn(Family) -> Result<NodeConfig> + Send + Sync>;

/// What an operator gives to `join`.
pub struct JoinOptions {
    /// The ticket.
    pub ticket: Ticket,
    /// The root to make.
    pub root: PathBuf,
    /// The node's key.
    pub key: KeySource,
    /// Values for the new config.toml.
    pub config: ConfigOf,
    /// How to enter the swarm.
    pub swarm: SwarmOptions,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
    /// Where others reach this node's kwild, each `host:port`; empty: as its configuration and the swarm tell.
    pub node_address: Vec<String>,
    /// The kwild that will run, which is asked for its version; the others are told it.
    pub kwild: Option<PathBuf>,
    /// Before the result is told, these others must be ready.
    pub wait: Option<WaitFor>,
    /// The node's database is made where it is missing.
    pub create_database: bool,
    /// A key that does not vote is right: the node shall only follow.
    pub follow: bool,
    /// On a finished root: what the configuration flags say is written into its config.toml.
    pub reconfigure: bool,
    /// The old node's database, where its root is named.
    pub old_database: Option<DatabaseSettings>,
    /// How the signed state is compared with the old node's database.
    pub old: OldState,
    /// Files of this machine whose equal chunks are not fetched.
    pub reuse: Vec<PathBuf>,
    /// Media whose chunks are taken before anyone is asked for the rest.
    pub media: Option<JoinMedia>,
}

impl fmt::Debug for JoinOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinOptions").field("ticket", &self.ticket).field("root", &self.root).finish_non_exhaustive()
    }
}

/// What `join` made.
#[derive(Debug, Clone, Serialize)]
pub struct Joined {
    /// The root.
    pub root: PathBuf,
    /// Which formats.
    pub family: Family,
    /// Id of the new network.
    pub chain_id: String,
    /// What genesis pins and the snapshot has.
    pub state_hash: Sha256Hash,
    /// What was fetched.
    pub manifest_id: Blake3Hash,
    /// How peers name this node.
    pub node_id: String,
    /// This key's voting power in the genesis; null: it is no validator there.
    pub power: Option<u64>,
    /// Whether this key leads the new network (v0.10).
    pub leader: bool,
    /// The root was complete before.
    pub already_joined: bool,
    /// Bytes of the artifacts.
    pub bytes: u64,
    /// Bytes that came from peers.
    pub received_bytes: u64,
    /// Bytes that were there and not fetched again.
    pub resumed_bytes: u64,
    /// Peers that gave something.
    pub sources: usize,
    /// Until everything was fetched.
    pub fetch_seconds: f64,
    /// Until the root was complete.
    pub seconds: f64,
    /// What stands in the target database, or why that is not known.
    pub database: String,
    /// Whether kwild may be started as it is.
    pub database_ready: bool,
    /// Whom the node dials.
    pub peers: PeersOf,
    /// What the old network's validators said of the state.
    pub attestations: Tally,
    /// What proves that enough validators are ready to make blocks; null: as far as this node heard, they are not.
    pub certificate: Option<PathBuf>,
    /// Whether starting kwild on the root would not go wrong for certain.
    pub may_start: bool,
    /// What to do next, in order.
    #[serde(skip)]
    pub next: Vec<Advice>,
    /// What became of an old node's settings, each key once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// A join that is done and still serves.
#[derive(Debug)]
pub struct Joining {
    served: Served,
    company: Company,
    progress: Progress,
    /// How many are ready in the certificate that was written last.
    certified: usize,
}

/// Writes the certificate into the root's private directory when it has become one, or covers more.
fn keep_certificate(root: &Path, node: &Node, certified: &mut usize) -> Result<()> {
    let ready = node.roster().map_or(0, |roster| roster.ready().count());
    if ready > *certified && meet::write_certificate(&meet::certificate_path(root), node)? {
        *certified = ready;
    }
    Ok(())
}

#[derive(Debug)]
enum Served {
    /// Fetched just now.
    Fetched(Box<Complete>),
    /// Was complete; serves.
    Serving(Box<Serving>),
}

impl Served {
    fn node(&mut self) -> &mut Node {
        match self {
            Served::Fetched(complete) => &mut complete.node,
            Served::Serving(serving) => &mut serving.node,
        }
    }

    async fn stop(self) {
        match self {
            Served::Fetched(complete) => complete.abandon().await,
            Served::Serving(serving) => drop(serving.node.stop().await),
        }
    }
}

impl Joining {
    /// Where the certificate is; `None`: there is none yet.
    fn certificate(&self) -> Option<PathBuf> {
        (self.certified > 0).then(|| meet::certificate_path(self.company.root()))
    }

    /// Says that this root is ready, takes what others have said, and waits for those that are asked for.
    async fn meet(
        &mut self,
        wait: Option<WaitFor>,
        give_up: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        // A finished root may have been copied; where it was set up here, this was so before.
        meet::wait_signed(self.served.node(), give_up, &self.progress, cancel).await?;
        self.company.update(self.served.node(), &self.progress).await?;
        match wait {
            Some(wait) => self.wait(wait, give_up, cancel).await,
            None => Ok(()),
        }
    }

    /// Waits until the others are ready; their addresses go into config.toml as they come.
    ///
    /// # Errors
    /// As [`meet::wait_until`]; the root is complete and stays.
    async fn wait(&mut self, wait: WaitFor, give_up: Option<Duration>, cancel: &CancellationToken) -> Result<()> {
        let Joining { served, company, progress, certified } = self;
        let update = async |node: &mut Node| company.update(node, progress).await;
        meet::wait_until(served.node(), wait, (clock::now(), give_up), progress, cancel, update).await?;
        keep_certificate(company.root(), served.node(), certified)
    }

    /// Ends the node at once.
    pub async fn leave(self) {
        self.served.stop().await;
    }

    /// Serves others for a while, then ends. What validators say of their kwild meanwhile still goes into config.toml.
    ///
    /// # Errors
    /// When the files cannot be read any more.
    pub async fn linger(mut self, linger: Duration, cancel: &CancellationToken) -> Result<()> {
        let began = clock::now();
        let served = async {
            self.served.node().tell_where();
            loop {
                self.company.update(self.served.node(), &self.progress).await?;
                keep_certificate(self.company.root(), self.served.node(), &mut self.certified)?;
                if clock::now().duration_since(began) >= linger {
                    return Ok(());
                }
                tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    heard = self.served.node().next() => self.served.node().tell_served(&heard?),
                }
            }
        };
        let served = served.await;
        self.served.stop().await;
        served
    }
}

/// Judges what can be judged before a join: of the swarm's bytes only the manifest is fetched, and nothing is made.
///
/// # Errors
/// As [`join`], before its first chunk.
pub async fn preflight(
    mut options: JoinOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<MachineReport> {
    let root = std::path::absolute(&options.root).or_failed(|| "cannot find the current directory")?;
    if is_finished(&root) {
        return Err(Error::refused(format!("{} is complete: there is nothing to fetch", root.display()))
            .hint(Next::CheckRoot { root: setup::shell_path(&root) }));
    }
    own_keys::take(&mut options, &root)?;
    setup::staging_directory(&root)?;
    let (ticket, swarm) = (&options.ticket, &options.swarm);
    let signed = fetch::ask_for_manifest(ticket, swarm, &options.state, progress, cancel).await?;
    let family = signed.manifest.manifest().network.family;
    (options.config)(family)?.check(family)?;
    setup::check_key(&root, family, &options.key)?;
    let found = Preflight { options: &options, root: &root, signed: &signed }.look().await?;
    Ok(match options.create_database {
        true => found.settled("database", "the node's database is not there yet: the join makes it"),
        false => found,
    })
}

/// Makes a root from a ticket. On its own finished root it checks and serves.
///
/// # Errors
/// As [`fetch::fetch`] and [`setup::init`]; resumable until the root stands under its name.
pub async fn join(
    mut options: JoinOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Joined, Joining)> {
    let began = clock::now();
    let root = std::path::absolute(&options.root).or_failed(|| "cannot find the current directory")?;
    own_keys::take(&mut options, &root)?;
    if is_finished(&root) {
        return on_finished_root(root, options, progress, cancel).await;
    }
    let staging = setup::staging_directory(&root)?;
    tell_left(&root, &staging, progress);
    let mut complete = fetch_checked(&options, &root, &staging, progress, cancel).await?;
    let made = set_root_up(&mut complete, &options, &root, &staging, progress, cancel).await;
    let initialised = match made {
        Ok(initialised) => initialised,
        Err(error) => {
            complete.abandon().await;
            return Err(error);
        }
    };
    complete.node.moved_to(root.join(durable::PRIVATE_DIRECTORY_NAME));
    complete.directory = root;
    let version = check::kwild_version(options.kwild.as_deref(), progress).await;
    let all_peers = (options.config)(initialised.family)?.all_peers;
    let company = Company::new(&complete.directory, true, &options.node_address, version, all_peers)?;
    let served = Served::Fetched(Box::new(complete));
    let mut joining = Joining { served, company, progress: progress.clone(), certified: 0 };
    if let Err(error) = joining.meet(options.wait, options.swarm.timeout, cancel).await {
        joining.served.stop().await;
        return Err(error);
    }
    let joined = result_of(&joining, initialised, options.follow, began, progress).await;
    Ok((joined, joining))
}

/// Fetches what the ticket names into `staging`, refusing before the first byte what could not be set up here, and makes sure that this
/// validator's old state agrees with it.
async fn fetch_checked(
    options: &JoinOptions,
    root: &Path,
    staging: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Complete> {
    let genesis_judged = AtomicBool::new(false);
    let accept = |signed: &Signed, private: &PrivateDirectory| {
        let family = signed.manifest.manifest().network.family;
        (options.config)(family)?.check(family)?;
        setup::check_key(root, family, &options.key)?;
        let preflight = Preflight { options, root, signed };
        let judged = tokio::task::block_in_place(|| Handle::current().block_on(preflight.require(progress)))?;
        genesis_judged.store(judged, Ordering::Relaxed);
        if let Some(media) = &options.media {
            let swarm = &options.swarm;
            let alone = options.ticket.addresses.is_empty() && swarm.connect.is_empty() && !swarm.lan;
            tokio::task::block_in_place(|| media.take((staging, private), alone, progress, cancel))?;
        }
        agree::begin(&options.old, &signed.manifest, progress, cancel)
    };
    if let Some(media) = &options.media {
        media.begin(staging, progress)?;
    }
    let fetch = FetchOptions {
        directory: staging.to_owned(),
        in_root: true,
        ticket: options.ticket.clone(),
        reuse: options.reuse.clone(),
        swarm: options.swarm.clone(),
        state: options.state.clone(),
    };
    let mut complete = fetch::fetch(fetch, &accept, progress, cancel).await?;
    let genesis = complete.genesis.clone();
    let agreeing = Agreeing {
        old: &options.old,
        genesis: (!genesis_judged.load(Ordering::Relaxed)).then_some(&genesis),
        give_up: options.swarm.timeout,
        own_keys: &options.swarm.own_keys,
        progress,
        cancel,
    };
    if let Err(error) = agreeing.agree(&mut complete.node).await {
        complete.node.refuse_manifest(&options.swarm.own_keys, &error).await;
        complete.abandon().await;
        return Err(error);
    }
    Ok(complete)
}

/// Makes the root of what was fetched, while the node goes on serving.
async fn set_root_up(
    complete: &mut Complete,
    options: &JoinOptions,
    root: &Path,
    staging: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Initialised> {
    let manifest = complete.manifest.manifest();
    let mut config = (options.config)(manifest.network.family)?;
    config.peers.extend(peers::that_resolve(manifest.network.family, &manifest.node_addresses, progress).await);
    complete.node.require_manifest().await?;
    progress.step("setting the root up");
    let stop = cancel.child_token();
    let init = InitOptions {
        root: root.to_owned(),
        genesis: GenesisSource::File(staging.join(GENESIS_FILE_NAME)),
        snapshot: Some(SnapshotSource::Complete(complete.snapshot.clone())),
        key: options.key.clone(),
        config,
        family: None,
        progress: progress.clone(),
        cancel: stop.clone(),
    };
    // Where the node ends meanwhile, as when the manifest counts no more, no root is finished behind it.
    let mut work = tokio::task::spawn_blocking(move || super::setup::init(&init));
    match complete.node.serve_while(&mut work).await {
        Ok(made) => made.or_failed(|| "setting up panicked")?,
        Err(error) => {
            stop.cancel();
            let _ = work.await;
            Err(error)
        }
    }
}

/// Names what other joins have left beside the root.
fn tell_left(root: &Path, staging: &Path, progress: &Progress) {
    for left in clean::left_beside(root, staging) {
        let text = format!("an unfinished root was left at {}: the join of that root goes on there", left.display());
        let directory = setup::shell_path(durable::parent(&left));
        progress.note(Notice::from(text).next(Next::CleanDirectory { directory }));
    }
}

/// What came of a join that fetched, and what its operator does next.
async fn result_of(
    joining: &Joining,
    initialised: Initialised,
    follow: bool,
    began: Instant,
    progress: &Progress,
) -> Joined {
    let Served::Fetched(complete) = &joining.served else { unreachable!("it was fetched just now") };
    let manifest = complete.manifest.manifest();
    let database =
        NodeDatabase::look(initialised.family, &initialised.root, manifest.collation.as_ref(), progress).await;
    let peers = joining.company.peers().clone();
    let steps = NextSteps {
        family: initialised.family,
        root: &initialised.root,
        peers: &peers,
        database: &database,
        is_validator: initialised.validator.is_some(),
        follow,
    };
    Joined {
        next: steps.advice(),
        may_start: steps.may_start(),
        certificate: joining.certificate(),
        database_ready: database.is_ready(),
        database: database.words,
        peers,
        attestations: complete.node.tally(),
        family: initialised.family,
        chain_id: initialised.chain_id.clone(),
        state_hash: manifest.state_hash,
        manifest_id: complete.manifest.id(),
        power: initialised.validator.as_ref().map(|seat| seat.power),
        leader: initialised.validator.as_ref().is_some_and(|seat| seat.leader),
        node_id: initialised.node_id,
        root: initialised.root,
        already_joined: false,
        bytes: manifest.size_bytes(),
        received_bytes: complete.received_bytes,
        resumed_bytes: complete.resumed_bytes,
        sources: complete.sources,
        fetch_seconds: complete.seconds,
        seconds: clock::now().duration_since(began).as_secs_f64(),
        settings: initialised.settings,
    }
}

/// A root that `join` made: it has everything that kwild starts on, and the manifest.
fn is_finished(root: &Path) -> bool {
    [MANIFEST_FILE_NAME, GENESIS_FILE_NAME, CONFIG_FILE_NAME].iter().all(|name| root.join(name).exists())
}

/// The manifest and the node's key of a finished root, which must be those that the operator means.
fn read_finished(root: &Path, options: &JoinOptions) -> Result<(SignedManifest, PublicKey)> {
    let bytes = read_bounded(&root.join(MANIFEST_FILE_NAME), limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    if signed.id() != options.ticket.manifest_id {
        return Err(Error::refused(format!("{} was set up from another manifest, {}", root.display(), signed.id()))
            .hint("choose a new root for the new ticket; a root is never overwritten"));
    }
    let key = read_private_key(&root.join(setup::key_file_name(signed.manifest().network.family)))?.public();
    let other_key = match &options.key {
        KeySource::File(path) => read_private_key(path)?.public() != key,
        KeySource::New => true,
        KeySource::InRoot => false,
    };
    if other_key {
        return Err(Error::refused(format!("{} is complete and holds another key than the one given", root.display()))
            .hint(Next::KeyOfFinishedRoot));
    }
    Ok((signed, key))
}

async fn on_finished_root(
    root: PathBuf,
    options: JoinOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Joined, Joining)> {
    let began = clock::now();
    let (signed, key) = read_finished(&root, &options)?;
    let family = signed.manifest().network.family;
    reconfigure(&root, &(options.config)(family)?.flags, options.reconfigure, progress)?;
    let mut swarm = options.swarm;
    swarm.public = options.ticket.secret.is_none();
    swarm.connect.extend(options.ticket.addresses.iter().cloned());
    let give_up = swarm.timeout;
    let mut serving = fetch::seed(&root, None, &swarm, &options.state, progress, cancel).await?;
    // Others may still wait for this validator's word.
    if let Some(attesting) = agree::begin(&options.old, &serving.manifest, progress, cancel)? {
        serving.node.attest(attesting);
    }
    // What is said to be checked was checked to its end; others are served meanwhile.
    if let Err(error) = serving.proved().await {
        serving.node.stop().await;
        return Err(error);
    }
    let version = check::kwild_version(options.kwild.as_deref(), progress).await;
    let company = Company::new(&root, false, &options.node_address, version, (options.config)(family)?.all_peers)?;
    let served = Served::Serving(Box::new(serving));
    let mut joining = Joining { served, company, progress: progress.clone(), certified: 0 };
    if let Err(error) = joining.meet(options.wait, give_up, cancel).await {
        joining.served.stop().await;
        return Err(error);
    }
    let genesis = crate::snapshot::read_genesis(&root.join(GENESIS_FILE_NAME))?;
    let seat = Initialised::seat(&genesis, &key)?;
    let manifest = signed.manifest();
    let database = NodeDatabase::look(family, &root, manifest.collation.as_ref(), progress).await;
    let peers = joining.company.peers().clone();
    let steps = NextSteps {
        family,
        root: &root,
        peers: &peers,
        database: &database,
        is_validator: seat.is_some(),
        follow: options.follow,
    };
    let joined = Joined {
        next: steps.advice(),
        may_start: steps.may_start(),
        certificate: joining.certificate(),
        database_ready: database.is_ready(),
        database: database.words,
        peers,
        attestations: joining.served.node().tally(),
        family,
        chain_id: manifest.network.new_chain_id.clone(),
        state_hash: manifest.state_hash,
        manifest_id: signed.id(),
        node_id: key.node_id(family),
        power: seat.as_ref().map(|s| s.power),
        leader: seat.as_ref().is_some_and(|s| s.leader),
        root,
        already_joined: true,
        bytes: manifest.size_bytes(),
        received_bytes: 0,
        resumed_bytes: manifest.size_bytes(),
        sources: 0,
        fetch_seconds: 0.0,
        seconds: clock::now().duration_since(began).as_secs_f64(),
        settings: Vec::new(),
    };
    Ok((joined, joining))
}

/// Flags that a finished root's config.toml does not have are not passed over.
fn reconfigure(root: &Path, flags: &[(String, String)], apply: bool, progress: &Progress) -> Result<()> {
    let differences = setup::change_config(root, flags, apply)?;
    let told: Vec<String> = differences
        .iter()
        .map(|Difference { key, there, flag }| match (there, flag) {
            (there, Some(flag)) => {
                let there = there.as_deref().unwrap_or("nothing");
                format!("{key}: {} there, {} by flag", text::escape(there), text::escape(flag))
            }
            (_, None) => format!("{key}: another secret"),
        })
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let config = root.join(CONFIG_FILE_NAME);
    if apply {
        progress.note(format!("changed in {}: {}", config.display(), told.join("; ")));
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} is complete, and flags differ from its config.toml: {}",
        root.display(),
        told.join("; ")
    ))
    .hint(Next::Reconfigure))
}
