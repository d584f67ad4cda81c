//! Fetching: from a ticket to complete, verified files; the node keeps serving them.

mod signed;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kwil_formats::formats::{GENESIS_FILE_NAME, genesis::Genesis};
use tokio::task::JoinHandle;

use self::signed::read_manifest;
pub use self::signed::{Signed, ask_for_manifest};
pub(super) use self::signed::{known_manifest, manifest_from_peers};
use super::{
    attest::Attesting,
    manifest::NO_ATTESTATIONS,
    meet::{self, WaitFor},
    node::{self, Heard, Node, Patience, SwarmOptions, TICKET_NAME},
    state::StateDirectory,
    status::Board,
    voices::Voices,
};
use crate::{
    base::{
        Context, Error, Kind, Next, Notice, Progress, Result, clock, durable, files::read_bounded, limits,
        task::CancellationToken, text,
    },
    manifest::{
        ArtifactName, Attestations, ChunkSet, MANIFEST_FILE_NAME, SignedManifest, Ticket, TrustPolicy,
        VerifiedManifest, VerifyError, phrase,
    },
    snapshot::{self, CompleteSnapshot, ReadOptions, SnapshotFacts, Verified, VerifyOptions, digest::check_signed},
    store::{ArtifactReader, FileSystem, OpenDisk, Opened, Outcome, PrivateDirectory, Store, Writer},
    swarm::{Charter, Content, Sink},
};

/// Looks at what was signed before the first chunk of the snapshot is fetched. Where this node has a say about the old network's
/// state, it gives the comparison that it has begun.
pub type Accept<'a> = &'a (dyn Fn(&Signed) -> Result<Option<Attesting>> + Sync);

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Where the files go.
    pub directory: PathBuf,
    /// The directory is to become a node root: the snapshot gets the name that kwild looks for.
    pub in_root: bool,
    /// What to fetch and from whom.
    pub ticket: Ticket,
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
    let FetchOptions { directory, in_root, ticket, swarm, state } = options;
    let private = PrivateDirectory::lock(&directory)?;
    if let Some(secret) = &ticket.secret {
        private.write(durable::SECRET_FILE_NAME, &secret[..])?;
    }
    progress.note(format!("the ticket's six words, as the lead has them: {}", phrase::of_ticket(&ticket)));
    keep_ticket(&private, &ticket)?;
    let known = known_manifest(&directory, &ticket, &state)?;
    let mut node = Node::start(&private, &ticket, &swarm, &state, progress).await?;
    let outcome = async {
        let signed = match known {
            Some(signed) => signed,
            None => manifest_from_peers(&mut node, &ticket, &state, swarm.timeout, progress, cancel).await?,
        };
        signed.keep(&directory)?;
        let manifest = &signed.manifest;
        tell_manifest(manifest, progress);
        node.hear_validators(manifest);
        if let Some(attesting) = accept(&signed)? {
            node.attest(attesting);
        }
        tell_rule(&node, progress);
        let fetching = Fetching {
            signed: &signed,
            directory: &directory,
            in_root,
            private: &private,
            disks,
            give_up: swarm.timeout,
            board: &swarm.board,
            progress,
            cancel,
        };
        let got = fetching.run(&mut node).await?;
        Ok((signed, got))
    };
    match outcome.await {
        Ok((signed, got)) => {
            let told = if signed.is_new { signed.genesis_bytes.len() as u64 } else { 0 };
            let received_bytes = node.status().received_bytes + told;
            Ok(Complete {
                node,
                manifest: signed.manifest,
                genesis: signed.genesis,
                directory,
                verified: got.verified,
                snapshot: got.snapshot,
                received_bytes,
                resumed_bytes: got.resumed_bytes,
                sources: got.sources,
                seconds: clock::now().duration_since(began).as_secs_f64(),
                private,
            })
        }
        Err(error) => {
            node.stop().await;
            Err(error)
        }
    }
}

/// Keeps the ticket for whoever waits with the directory, while this process has it.
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

fn keep_ticket(private: &PrivateDirectory, ticket: &Ticket) -> Result<()> {
    private.write(TICKET_NAME, zeroize::Zeroizing::new(ticket.to_text()?).as_bytes())
}

fn tell_manifest(manifest: &VerifiedManifest, progress: &Progress) {
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

struct Got {
    verified: Verified,
    snapshot: CompleteSnapshot,
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

impl Fetching<'_> {
    /// Fetches what is missing and reads the text behind it as its chunks come, so that the check ends soon after the
    /// last chunk.
    async fn run(&self, node: &mut Node) -> Result<Got> {
        let contents = node::contents(&self.signed.manifest, self.in_root);
        let opened = tokio::task::block_in_place(|| {
            Store::open(self.directory, self.private, contents, self.disks, self.progress, self.cancel)
        })?;
        let (store, have) = (opened.store.clone(), opened.have.clone());
        let resumed_bytes = self.tell_resumed(&opened);
        let complete = have.is_full();
        let mut check = self.start_check(&opened, complete);
        let (outcome_sender, outcomes) = tokio::sync::mpsc::channel::<Outcome>(256);
        let writer = Writer::start(opened, outcome_sender)?;
        let sink = (!complete).then(|| Sink { buffers: writer.buffers(), queue: writer.queue(), outcomes });
        let content = Content { store, have, charter: self.signed.charter(), sink };
        node.handle().activate(content).await?;
        let fetched = async {
            let early = if complete { None } else { self.wait_for_chunks(node, &mut check).await? };
            match early {
                Some(verified) => Ok(verified),
                None => {
                    self.progress.step("checking the snapshot: its hash, and every statement");
                    node.serve_while(check).await?.or_failed(|| "the check panicked")?
                }
            }
        };
        let verified = match fetched.await {
            Ok(verified) => verified,
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
        let name = node::artifact_name(ArtifactName::Snapshot, verified.family, self.in_root);
        let snapshot = CompleteSnapshot::new(name, verified.text);
        Ok(Got { verified, snapshot, resumed_bytes, sources: node.status().sources })
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

    /// The snapshot's text against the genesis, on a thread of its own.
    fn start_check(&self, opened: &Opened, complete: bool) -> JoinHandle<Result<Verified>> {
        let reader = |artifact| ArtifactReader::new(opened.store.clone(), opened.frontier.clone(), artifact);
        let manifest = self.signed.manifest.manifest().clone();
        let place = manifest.artifacts.iter().position(|artifact| artifact.name == ArtifactName::Snapshot);
        let snapshot = reader(place.unwrap_or_default());
        let options = VerifyOptions {
            read: ReadOptions { max_bytes: manifest.text_size_bytes, cancel: self.cancel.clone() },
            // Beside what is fetched: there must be room for it anyway.
            spill: manifest.state_digest.as_ref().map(|_| self.directory.to_owned()),
            // kwild will be started on it.
            guarded_only: self.in_root,
            ..VerifyOptions::default()
        };
        let told = self.progress.clone();
        // While chunks come, their progress says enough.
        let progress = if complete { self.progress.clone() } else { self.board.tap(&Progress::silent()) };
        let genesis = self.signed.genesis.clone();
        tokio::task::spawn_blocking(move || {
            let verified = snapshot::verify_reader(snapshot, &genesis, &options, &progress)?;
            for finding in verified.findings.iter().filter(|finding| finding.code == "unguarded") {
                told.warning(Notice { text: finding.text.clone(), next: finding.fix.clone() });
            }
            // The file is what was attested, or it is not used.
            if let Some(text) = &verified.digest {
                check_signed(text, &manifest)?;
            }
            Ok(verified)
        })
    }

    /// Waits for the last chunk, or for the check to fail; the check may also be done by then.
    async fn wait_for_chunks(
        &self,
        node: &mut Node,
        check: &mut JoinHandle<Result<Verified>>,
    ) -> Result<Option<Verified>> {
        self.progress.step("fetching");
        let mut patience = Patience::new(self.give_up);
        let mut verified = None;
        loop {
            let heard = tokio::select! {
                () = self.cancel.cancelled() => return Err(interrupted()),
                checked = &mut *check, if verified.is_none() => {
                    verified = Some(checked.or_failed(|| "the check panicked")??);
                    continue;
                }
                heard = node.next() => heard?,
            };
            let status = node.status();
            node::tell_progress(self.progress, &status);
            if let Heard::Complete = heard {
                self.progress.done("fetch");
                return Ok(verified);
            }
            patience.check(&status)?;
        }
    }
}

/// What a first signal makes of work that can go on later.
pub fn interrupted() -> Error {
    Error::interrupted("before all was there").hint("run the same command again: it goes on where it stopped")
}

/// Serves a complete set of files.
#[derive(Debug)]
pub struct Serving {
    /// The node.
    pub node: Node,
    /// The ticket that brings others here.
    pub ticket: Ticket,
    /// What is served.
    pub manifest: VerifiedManifest,
    directory: PathBuf,
    /// The check of the files, which goes on while they are served; none where it is done.
    proof: Option<JoinHandle<Result<()>>>,
    /// Ends that check.
    ends: CancellationToken,
    _private: PrivateDirectory,
}

/// Begins to serve a complete directory. Each chunk is checked against the manifest before it first goes out, and all of them
/// beside it, unless this process has just read or written the snapshot, as `known` says.
///
/// # Errors
/// [`Kind::Verify`] when a file is missing or has another length than the one that was signed; refused when another process serves
/// the directory.
pub async fn seed(
    directory: &Path,
    known: Option<&SnapshotFacts>,
    swarm: &SwarmOptions,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Serving> {
    require_directory(directory)?;
    let private = PrivateDirectory::lock(directory)?;
    let bytes = read_manifest(&directory.join(MANIFEST_FILE_NAME)).map_err(|e| e.hint(Next::SignDirectory))?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    // Our own files: pinned is whoever signed them; a validator pins the lead by the ticket.
    let trust = TrustPolicy { keys: vec![signed.manifest().trust.lead], ..TrustPolicy::default() };
    let manifest = state.verify(&bytes, &trust, clock::unix_seconds())?;
    let in_root = node::is_root(directory);
    let contents = node::contents(&manifest, in_root);
    let signed_root = manifest.manifest().artifact(ArtifactName::Snapshot).root;
    let is_known = known.is_some_and(|known| known.description.root == signed_root);
    let store = Arc::new(Store::open_complete(directory, contents)?);
    let place = manifest.manifest().artifacts.iter().position(|a| a.name == ArtifactName::Genesis).unwrap_or_default();
    // It is small, and everything else hangs on it: an edited one is said before anyone is served.
    store.contents().chunks_of(place).try_for_each(|chunk| store.read(chunk).map(drop))?;
    let genesis_bytes = read_bounded(&directory.join(GENESIS_FILE_NAME), limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    manifest.check_genesis(&genesis_bytes)?;
    let secret = if swarm.public { None } else { Some(super::manifest::swarm_secret(&private)?) };
    let ticket = Ticket { secret, ..super::manifest::ticket(&signed) };
    let mut node = Node::start(&private, &ticket, swarm, state, progress).await?;
    node.hear_validators(&manifest);
    let have = ChunkSet::full(store.contents().chunk_count());
    let charter = Charter { manifest: Arc::new(bytes), genesis: Arc::new(genesis_bytes) };
    let content = Content { store: store.clone(), have, charter, sink: None };
    // First: whoever still has an older ticket's peers among its own is none the less complete.
    node.handle().activate(content).await?;
    let ticket = node.ticket(&ticket).await?;
    keep_ticket(&private, &ticket)?;
    tell_manifest(&manifest, progress);
    tell_rule(&node, progress);
    let ends = cancel.child_token();
    let proof = (!is_known).then(|| {
        let (progress, ends) = (progress.clone(), ends.clone());
        tokio::task::spawn_blocking(move || store.prove(&progress, &ends))
    });
    Ok(Serving { node, ticket, manifest, directory: directory.to_owned(), proof, ends, _private: private })
}

/// Nothing is made where a directory with files is meant.
pub(super) fn require_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    Err(Error::failed(format!("there is no directory {}", directory.display()))
        .hint("name the one that was published, fetched or joined into"))
}

impl Serving {
    /// Serves until every byte of the files was checked.
    ///
    /// # Errors
    /// [`Kind::Verify`] when one is not what was signed; [`Kind::Interrupted`] after a signal; when the files cannot be read any
    /// more.
    pub async fn proved(&mut self) -> Result<()> {
        match self.proof.take() {
            Some(proof) => self.node.serve_while(proof).await?.or_failed(|| "the check of the files panicked")?,
            None => Ok(()),
        }
    }

    /// Serves until it is so (`None`: for ever) or until a signal comes; both are good ends.
    ///
    /// # Errors
    /// When the files are not what was signed, or cannot be read any more.
    pub async fn run(self, until: Option<WaitFor>, progress: &Progress, cancel: &CancellationToken) -> Result<()> {
        let directory = self.directory.clone();
        self.serve_while(async |node: &mut Node, _: &VerifiedManifest| {
            meet::serve_until(node, until, &directory, progress, cancel).await
        })
        .await
    }

    /// Serves as long as `work` goes on with the node, and ends the node with it.
    ///
    /// # Errors
    /// Those of the work; when the files are not what was signed.
    pub(super) async fn serve_while<T>(
        mut self,
        work: impl AsyncFnOnce(&mut Node, &VerifiedManifest) -> Result<T>,
    ) -> Result<T> {
        let proof = self.proof.take();
        let done = tokio::select! {
            biased;
            done = work(&mut self.node, &self.manifest) => done,
            error = failure_of(proof) => Err(error),
        };
        self.ends.cancel();
        self.node.stop().await;
        done
    }
}

/// Waits for the check to fail.
async fn failure_of(proof: Option<JoinHandle<Result<()>>>) -> Error {
    let proved = match proof {
        Some(proof) => proof.await.or_failed(|| "the check of the files panicked"),
        None => Ok(Ok(())),
    };
    match proved {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) | Err(error) => error,
    }
}
