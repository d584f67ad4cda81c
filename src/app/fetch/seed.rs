//! Serving: a directory that has everything, to whoever has its ticket.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kwil_formats::formats::GENESIS_FILE_NAME;
use tokio::task::JoinHandle;

use super::{keep_ticket, signed::read_manifest, tell_manifest, tell_rule};
use crate::{
    app::{
        bundle, manifest as manifests,
        meet::{self, WaitFor},
        node::{self, Node, SwarmOptions},
        state::StateDirectory,
    },
    base::{Context, Error, Next, Progress, Result, clock, files::read_bounded, limits, task::CancellationToken},
    manifest::{
        ArtifactName, ChunkSet, MANIFEST_FILE_NAME, SignedManifest, Ticket, TrustPolicy, VerifiedManifest, VerifyError,
    },
    snapshot::SnapshotFacts,
    store::{PrivateDirectory, Store},
    swarm::{Charter, Content},
};

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
    /// How long missing signatures are waited for.
    give_up: Option<Duration>,
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
    let keys = vec![signed.manifest().trust.lead];
    let trust = TrustPolicy { keys, proposals: true, ..TrustPolicy::default() };
    let manifest = state.verify(&bytes, &trust, clock::unix_seconds())?;
    let in_root = node::is_root(directory);
    let contents = node::contents(&manifest, in_root);
    let signed_root = manifest.manifest().artifact(ArtifactName::Snapshot).root;
    let is_known = known.is_some_and(|known| known.description.root == signed_root);
    // Chunks that were imported in place are on their media.
    let lent = bundle::lent(directory, &contents)?;
    let store = Arc::new(Store::open_lent(directory, contents, lent)?);
    let place = manifest.manifest().artifacts.iter().position(|a| a.name == ArtifactName::Genesis).unwrap_or_default();
    // It is small, and everything else hangs on it: an edited one is said before anyone is served.
    store.contents().chunks_of(place).try_for_each(|chunk| store.read(chunk).map(drop))?;
    let genesis_bytes = read_bounded(&directory.join(GENESIS_FILE_NAME), limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    manifest.check_genesis(&genesis_bytes)?;
    let secret = if swarm.public { None } else { Some(manifests::swarm_secret(&private)?) };
    let ticket = Ticket { secret, ..manifests::ticket(&signed) };
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
    let (directory, give_up) = (directory.to_owned(), swarm.timeout);
    Ok(Serving { node, ticket, manifest, directory, give_up, proof, ends, _private: private })
}

/// Nothing is made where a directory with files is meant.
pub(in crate::app) fn require_directory(directory: &Path) -> Result<()> {
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
        let (directory, give_up) = (self.directory.clone(), self.give_up);
        self.serve_while(async |node: &mut Node, _: &VerifiedManifest| {
            meet::serve_until(node, (until, give_up), &directory, progress, cancel).await
        })
        .await
    }

    /// Serves as long as `work` goes on with the node, and ends the node with it.
    ///
    /// # Errors
    /// Those of the work; when the files are not what was signed.
    pub(in crate::app) async fn serve_while<T>(
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
