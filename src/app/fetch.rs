//! Fetching: from a ticket to complete, verified files; the node keeps serving them.

mod check;
mod relay;
mod seed;
mod signed;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kwil_formats::formats::genesis::Genesis;
use tokio::task::JoinHandle;

pub(super) use self::{
    check::Checking,
    seed::require_directory,
    signed::{known_manifest, manifest_from_peers, policy, read_manifest, refuse_another},
};
pub use self::{
    relay::{RelayEnds, relay},
    seed::{Serving, seed},
    signed::{Signed, ask_for_manifest},
};
use super::{
    attest::Attesting,
    manifest::NO_ATTESTATIONS,
    meet,
    node::{self, Heard, Node, Patience, SwarmOptions, TICKET_NAME},
    reuse,
    state::StateDirectory,
    status::Board,
    voices::Voices,
};
use crate::{
    base::{
        Context, Error, Kind, Progress, Result, clock, durable, files::read_bounded, limits, task::CancellationToken,
        text,
    },
    manifest::{ArtifactName, Attestations, Ticket, VerifiedManifest, phrase},
    snapshot::{CompleteSnapshot, Verified},
    store::{FileSystem, OpenDisk, Opened, Outcome, PrivateDirectory, Store, Writer},
    swarm::{Content, Sink},
};

/// Looks at what was signed before the first chunk of the snapshot is fetched. Where this node has a say about the old network's
/// state, it gives the comparison that it has begun.
pub type Accept<'a> = &'a (dyn Fn(&Signed, &PrivateDirectory) -> Result<Option<Attesting>> + Sync);

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Where the files go.
    pub directory: PathBuf,
    /// The directory is to become a node root: the snapshot gets the name that kwild looks for.
    pub in_root: bool,
    /// What to fetch and from whom.
    pub ticket: Ticket,
    /// Files of this machine, or directories with a snapshot, whose equal chunks are not fetched.
    pub reuse: Vec<PathBuf>,
    /// How to enter the swarm.
    pub swarm: SwarmOptions,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
}

/// A fetch that is complete and checked; its node still serves.
#[derive(Debug)]
pub struct Complete {
    /// The node.
    pub node: Node,
    /// What was fetched.
    pub manifest: VerifiedManifest,
    /// The genesis that it names.
    pub genesis: Genesis,
    /// Where the files are.
    pub directory: PathBuf,
    /// What the check of the snapshot's text found.
    pub verified: Verified,
    /// The snapshot's file in that directory.
    pub snapshot: CompleteSnapshot,
    /// Bytes of the artifacts that came from peers.
    pub received_bytes: u64,
    /// Bytes that were there before and were not fetched again.
    pub resumed_bytes: u64,
    /// Peers that gave something.
    pub sources: usize,
    /// Seconds from the start to the last check.
    pub seconds: f64,
    private: PrivateDirectory,
}

impl Complete {
    /// Path of an artifact.
    pub fn artifact(&self, name: ArtifactName, in_root: bool) -> PathBuf {
        self.directory.join(node::artifact_name(name, self.manifest.manifest().network.family, in_root))
    }

    /// Waits until enough have signed the manifest, and serves meanwhile; where that fails, the node ends.
    ///
    /// # Errors
    /// [`Kind::GaveUp`], [`Kind::Interrupted`]; what was fetched stays.
    pub async fn signed(
        mut self,
        give_up: Option<Duration>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        match meet::wait_signed(&mut self.node, give_up, progress, cancel).await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Serves for `linger` (`None`: until a signal), then ends the node.
    ///
    /// # Errors
    /// When the files cannot be read any more.
    pub async fn linger(mut self, linger: Option<Duration>, cancel: &CancellationToken) -> Result<()> {
        let served = self.node.serve(linger, cancel).await;
        self.node.stop().await;
        drop(self.private);
        served
    }

    /// Ends the node after what came next has failed.
    pub async fn abandon(self) {
        self.node.stop().await;
    }
}

/// Fetches and checks everything, or goes on where an earlier fetch stopped.
///
/// # Errors
/// [`Kind::GaveUp`] when nobody is reached in time, [`Kind::Verify`] when something is not what was signed,
/// [`Kind::Interrupted`] after a signal; all resumable.
pub async fn fetch(
    options: FetchOptions,
    accept: Accept<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Complete> {
    fetch_onto(options, accept, &FileSystem, progress, cancel).await
}

/// [`fetch`] onto any kind of disk.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_onto(
    options: FetchOptions,
    accept: Accept<'_>,
    disks: &dyn OpenDisk,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Complete> {
    let began = clock::now();
    let mut entered = enter(&options, accept, progress, cancel).await?;
    let checking = Checking {
        signed: &entered.signed,
        directory: &options.directory,
        guarded_only: options.in_root,
        board: &options.swarm.board,
        progress,
        cancel,
    };
    let check = |opened: &Opened, complete| Check {
        task: checking.start(&opened.store, &opened.frontier, complete),
        words: Some("checking the snapshot: its hash, and every statement"),
    };
    let fetching = Fetching::of(&options, &entered.signed, &entered.private, disks, progress, cancel);
    match fetching.run(&mut entered.node, check).await {
        Ok(Got { found: verified, resumed_bytes, sources }) => {
            let Entered { node, signed, private } = entered;
            let told = if signed.is_new { signed.genesis_bytes.len() as u64 } else { 0 };
            let received_bytes = node.status().received_bytes + told;
            let name = node::artifact_name(ArtifactName::Snapshot, verified.family, options.in_root);
            Ok(Complete {
                node,
                manifest: signed.manifest,
                genesis: signed.genesis,
                directory: options.directory,
                snapshot: CompleteSnapshot::new(name, verified.text),
                verified,
                received_bytes,
                resumed_bytes,
                sources,
                seconds: clock::now().duration_since(began).as_secs_f64(),
                private,
            })
        }
        Err(error) => {
            entered.node.refuse_manifest(&options.swarm.own_keys, &error).await;
            entered.node.stop().await;
            Err(error)
        }
    }
}

/// A node that is in the swarm and knows what was signed.
struct Entered {
    node: Node,
    signed: Signed,
    private: PrivateDirectory,
}

/// Enters the ticket's swarm and asks for what was signed, which is kept in the directory.
async fn enter(
    options: &FetchOptions,
    accept: Accept<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Entered> {
    let (private, mut node) = begin(options, progress).await?;
    match ask((&mut node, &private), options, accept, progress, cancel).await {
        Ok(signed) => Ok(Entered { node, signed, private }),
        Err(error) => {
            node.refuse_manifest(&options.swarm.own_keys, &error).await;
            node.stop().await;
            Err(error)
        }
    }
}

/// Starts the node of the directory.
async fn begin(options: &FetchOptions, progress: &Progress) -> Result<(PrivateDirectory, Node)> {
    let ticket = &options.ticket;
    let private = PrivateDirectory::lock(&options.directory)?;
    refuse_another(&options.directory, ticket)?;
    if let Some(secret) = &ticket.secret {
        private.write(durable::SECRET_FILE_NAME, &secret[..])?;
    }
    progress.note(format!("the ticket's six words, as the lead has them: {}", phrase::of_ticket(ticket)));
    keep_ticket(&private, ticket)?;
    let node = Node::start(&private, ticket, &options.swarm, &options.state, progress).await?;
    Ok((private, node))
}

/// What was signed: as the directory has it from an earlier time, or as members say.
async fn ask(
    (node, private): (&mut Node, &PrivateDirectory),
    options: &FetchOptions,
    accept: Accept<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Signed> {
    let FetchOptions { directory, ticket, swarm, state, .. } = options;
    let signed = match known_manifest(directory, ticket, state)? {
        Some(signed) => signed,
        None => manifest_from_peers(node, ticket, state, swarm.timeout, progress, cancel).await?,
    };
    signed.keep(directory)?;
    tell_manifest(&signed.manifest, progress);
    node.hear_validators(&signed.manifest);
    if let Some(attesting) = accept(&signed, private)? {
        node.attest(attesting);
    }
    if !options.reuse.is_empty() {
        tokio::task::block_in_place(|| reuse::reuse(options, &signed, private, progress, cancel))?;
    }
    tell_rule(node, progress);
    Ok(signed)
}

/// The ticket that leads into the swarm of the directory whose private one this is; `None`: none is kept.
///
/// # Errors
/// When what is kept is no ticket or cannot be read.
pub(super) fn kept_ticket(private: &Path) -> Result<Option<Ticket>> {
    let path = private.join(TICKET_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = zeroize::Zeroizing::new(read_bounded(&path, limits::TICKET_SIZE_BYTES_MAX, "kept ticket")?);
    Ok(Some(String::from_utf8_lossy(&bytes).parse()?))
}

/// Keeps the ticket for whoever waits with the directory, while this process has it.
fn keep_ticket(private: &PrivateDirectory, ticket: &Ticket) -> Result<()> {
    private.write(TICKET_NAME, zeroize::Zeroizing::new(ticket.to_text()?).as_bytes())
}

pub(super) fn tell_manifest(manifest: &VerifiedManifest, progress: &Progress) {
    for line in node::manifest_words(manifest.manifest(), clock::unix_seconds()) {
        progress.note(line);
    }
    let manifest = manifest.manifest();
    if manifest.trust.attestations == Attestations::None && manifest.old_validators.len() != 1 {
        progress.warning(NO_ATTESTATIONS);
    }
}

/// Says who of the old network has to confirm the state.
fn tell_rule(node: &Node, progress: &Progress) {
    if let Some(words) = node.voices().and_then(Voices::rule_words) {
        progress.note(words);
    }
}

/// A check that runs beside the fetch.
struct Check<T> {
    task: JoinHandle<Result<T>>,
    /// What is said when it is still waited for after the last chunk.
    words: Option<&'static str>,
}

struct Got<T> {
    /// What the check found.
    found: T,
    resumed_bytes: u64,
    sources: usize,
}

/// What stays the same while chunks come.
struct Fetching<'a> {
    signed: &'a Signed,
    directory: &'a Path,
    in_root: bool,
    private: &'a PrivateDirectory,
    disks: &'a dyn OpenDisk,
    give_up: Option<Duration>,
    board: &'a Board,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl<'a> Fetching<'a> {
    fn of(
        options: &'a FetchOptions,
        signed: &'a Signed,
        private: &'a PrivateDirectory,
        disks: &'a dyn OpenDisk,
        progress: &'a Progress,
        cancel: &'a CancellationToken,
    ) -> Self {
        Fetching {
            signed,
            directory: &options.directory,
            in_root: options.in_root,
            private,
            disks,
            give_up: options.swarm.timeout,
            board: &options.swarm.board,
            progress,
            cancel,
        }
    }

    /// Fetches what is missing, while the check reads what comes, so that it ends soon after the last chunk.
    async fn run<T: Send + 'static>(
        &self,
        node: &mut Node,
        check: impl FnOnce(&Opened, bool) -> Check<T>,
    ) -> Result<Got<T>> {
        let contents = node::contents(&self.signed.manifest, self.in_root);
        let opened = tokio::task::block_in_place(|| {
            Store::open(self.directory, self.private, contents, self.disks, self.progress, self.cancel)
        })?;
        let (store, have) = (opened.store.clone(), opened.have.clone());
        let resumed_bytes = self.tell_resumed(&opened);
        let complete = have.is_full();
        let Check { task: mut check, words } = check(&opened, complete);
        let (outcome_sender, outcomes) = tokio::sync::mpsc::channel::<Outcome>(256);
        let writer = Writer::start(opened, outcome_sender)?;
        let sink = (!complete).then(|| Sink { buffers: writer.buffers(), queue: writer.queue(), outcomes });
        let content = Content { store, have, charter: self.signed.charter(), sink };
        node.handle().activate(content).await?;
        let fetched = async {
            let early = if complete { None } else { self.wait_for_chunks(node, &mut check).await? };
            match early {
                Some(found) => Ok(found),
                None => {
                    words.into_iter().for_each(|words| self.progress.step(words));
                    node.serve_while(check).await?.or_failed(|| "the check panicked")?
                }
            }
        };
        let found = match fetched.await {
            Ok(found) => found,
            Err(error) => {
                // The writer keeps what it has; its own error, if any, is the cause and says more.
                let stopped = node.handle().deactivate().await;
                let written = tokio::task::spawn_blocking(move || writer.stop()).await;
                stopped?;
                return Err(match written.or_failed(|| "the writer panicked")? {
                    Err(cause) if error.kind() == Kind::Failed => cause,
                    _ => error,
                });
            }
        };
        // Only what was checked gets a final name. A slow disk holds up neither a signal nor those who are served meanwhile.
        let finishing = tokio::task::spawn_blocking(move || writer.finish());
        tokio::select! {
            () = self.cancel.cancelled() => return Err(interrupted()),
            finished = node.serve_while(finishing) => finished?.or_failed(|| "the writer panicked")??,
        };
        self.board.ended("verify");
        Ok(Got { found, resumed_bytes, sources: node.status().sources })
    }

    /// Says how much need not be fetched again, and gives its bytes: the genesis is here already, of whoever it came.
    fn tell_resumed(&self, opened: &Opened) -> u64 {
        let told = if self.signed.is_new { self.signed.genesis_bytes.len() as u64 } else { 0 };
        let [resumed, hashed] = [opened.resumed_bytes, opened.rehashed_bytes].map(|bytes| bytes.saturating_sub(told));
        if resumed > 0 {
            let (resumed, hashed) = (text::bytes(resumed), text::bytes(hashed));
            self.progress
                .note(format!("going on with {resumed} that are already here; {hashed} of them were hashed again"));
        }
        resumed
    }

    /// Waits for the last chunk, or for the check to fail; the check may also be done by then.
    async fn wait_for_chunks<T>(&self, node: &mut Node, check: &mut JoinHandle<Result<T>>) -> Result<Option<T>> {
        self.progress.step("fetching");
        let mut patience = Patience::new(self.give_up);
        let mut found = None;
        loop {
            let heard = tokio::select! {
                () = self.cancel.cancelled() => return Err(interrupted()),
                checked = &mut *check, if found.is_none() => {
                    found = Some(checked.or_failed(|| "the check panicked")??);
                    continue;
                }
                heard = node.next() => heard?,
            };
            let status = node.status();
            node::tell_progress(self.progress, &status);
            if let Heard::Complete = heard {
                self.progress.done("fetch");
                return Ok(found);
            }
            patience.check(&status)?;
        }
    }
}

/// What a first signal makes of work that can go on later.
pub fn interrupted() -> Error {
    Error::interrupted("before all was there").hint("run the same command again: it goes on where it stopped")
}
