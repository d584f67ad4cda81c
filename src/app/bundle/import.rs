//! Media into a directory: any volumes, in any order, beside what a swarm gave. Every chunk is proved by the signed manifest
//! before it counts; a medium that is wrong is said by name, and the work goes on with the others.

use std::path::PathBuf;

use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    media::{Media, MediumReport},
    taking::Taking,
    words_of,
};
use crate::{
    app::{
        fetch::{self, Checking, interrupted, tell_manifest},
        node,
        state::StateDirectory,
        status::Board,
    },
    base::{Blake3Hash, Context, Next, Notice, Progress, Result, clock, task::CancellationToken},
    bundle::Unseal,
    manifest::{ArtifactName, Ticket, TrustPolicy},
    snapshot::Verified,
    store::{FileSystem, Outcome, PrivateDirectory, Store, Writer},
};

/// What is imported, and whose word is taken for it.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The media's directories.
    pub from: Vec<PathBuf>,
    /// Where the files go.
    pub directory: PathBuf,
    /// What the reader trusts; `None`: whoever carries only takes the lead that the manifest itself names.
    pub trust: Option<TrustPolicy>,
    /// What opens media that are encrypted.
    pub keys: Unseal,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
}

impl ImportOptions {
    /// What a ticket makes of the reader's trust.
    pub fn trust_of(ticket: &Ticket) -> TrustPolicy {
        fetch::policy(ticket)
    }
}

/// What became of an import.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Everything is there, was checked, and has its final name.
    pub complete: bool,
    /// Where the files are.
    pub directory: PathBuf,
    /// What they belong to.
    pub manifest_id: Blake3Hash,
    /// The new network.
    pub chain_id: String,
    /// The manifest's six words.
    pub words: String,
    /// Somebody's word was given for the manifest; otherwise only its own lead's signature was checked.
    pub trusted: bool,
    /// Chunks in all.
    pub chunks: u32,
    /// Chunks that are there now.
    pub have_chunks: u32,
    /// Chunks that were there before.
    pub resumed_chunks: u32,
    /// Bytes that are still lacking.
    pub lacking_bytes: u64,
    /// Chunks that were made from parity.
    pub restored_chunks: u32,
    /// Labels of the volumes that complete it.
    pub needed: Vec<String>,
    /// So many of those suffice, whichever they are; `None`: all are needed.
    pub needed_any: Option<usize>,
    /// Labels of volumes that were read and are so damaged that no others make up for it: they are made anew, or read elsewhere.
    pub needed_anew: Vec<String>,
    /// Chunks that are lacking and on no volume that is known.
    pub unknown_chunks: u32,
    /// The media, as they were given.
    pub media: Vec<MediumReport>,
    /// The genesis, once it is complete.
    pub genesis: Option<PathBuf>,
    /// The snapshot, once it is complete.
    pub snapshot: Option<PathBuf>,
    /// How long it took.
    pub seconds: f64,
}

/// Takes what media have of a migration into a directory. A complete set is checked as a fetch checks it and gets its final names.
///
/// # Errors
/// When no manifest can be used, the directory fails, or what is complete is not what was signed; what was taken stays.
pub async fn import(options: ImportOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Imported> {
    let began = clock::now();
    let ImportOptions { from, directory, trust, keys, state } = options;
    let mut media = Media::look(&from, Some(&directory), trust.as_ref(), &keys, &state)?;
    let private = PrivateDirectory::lock(&directory)?;
    let manifest = media.signed.manifest.clone();
    let words = words_of(&manifest);
    progress.note(format!("the manifest's six words, as the lead has them: {words}"));
    if !media.trusted {
        let text = "nobody's word was given for this manifest: only its own lead's signature was checked";
        progress.warning(Notice::from(text).next(Next::TrustWhenJoining));
    }
    tell_manifest(&manifest, progress);
    let contents = node::contents(&manifest, false);
    media.keep(&directory, &private, &contents, progress)?;
    let opened =
        tokio::task::block_in_place(|| Store::open(&directory, &private, contents, &FileSystem, progress, cancel))?;
    let (store, have) = (opened.store.clone(), opened.have.clone());
    let resumed_chunks = have.count();
    let (board, signed) = (Board::default(), media.signed.clone());
    let checking =
        Checking { signed: &signed, directory: &directory, guarded_only: false, board: &board, progress, cancel };
    let checked = checking.start(&opened, have.is_full());
    let (sender, outcomes) = mpsc::channel::<Outcome>(256);
    let writer = Writer::start(opened, sender)?;
    let mut taking = Taking::new(&store, &writer, outcomes, have, progress);
    let read = tokio::task::block_in_place(|| {
        media.seen.iter_mut().try_for_each(|seen| taking.medium(seen, cancel))?;
        media.restore(&mut taking, progress, cancel)
    });
    progress.done("import");
    let have = taking.have.clone();
    drop(taking);
    let complete = read.is_ok() && have.is_full();
    let restored_chunks = read.as_ref().copied().unwrap_or_default();
    match complete {
        true => finish(checked, writer, progress, cancel).await?,
        false => {
            let ended = tokio::task::spawn_blocking(move || writer.stop()).await.or_failed(|| "the writer panicked")?;
            // The writer's own error is the cause.
            ended.and(read.map(drop))?;
        }
    }
    let needed = media.still_needed(&have);
    let artifact = |name| {
        let name = node::artifact_name(name, manifest.manifest().network.family, false);
        complete.then(|| directory.join(name))
    };
    let lacking = (0..have.len()).filter(|chunk| !have.contains(*chunk));
    Ok(Imported {
        complete,
        manifest_id: manifest.id(),
        chain_id: manifest.manifest().network.new_chain_id.clone(),
        words,
        trusted: media.trusted,
        chunks: have.len(),
        have_chunks: have.count(),
        resumed_chunks,
        lacking_bytes: lacking.map(|chunk| store.contents().chunk_len(chunk) as u64).sum(),
        restored_chunks,
        needed_any: needed.any,
        needed: needed.labels,
        needed_anew: needed.anew,
        unknown_chunks: needed.unknown,
        media: media.seen.into_iter().map(|seen| seen.report).collect(),
        genesis: artifact(ArtifactName::Genesis),
        snapshot: artifact(ArtifactName::Snapshot),
        directory,
        seconds: clock::now().duration_since(began).as_secs_f64(),
    })
}

/// Waits for the check of a complete set; only what passes it gets final names.
async fn finish(
    checked: JoinHandle<Result<Verified>>,
    writer: Writer,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    progress.step("checking the snapshot: its hash, and every statement");
    let checked = tokio::select! {
        () = cancel.cancelled() => Err(interrupted()),
        checked = checked => checked.or_failed(|| "the check panicked").and_then(|checked| checked),
    };
    let good = checked.is_ok();
    let ended = tokio::task::spawn_blocking(move || if good { writer.finish() } else { writer.stop() });
    checked?;
    ended.await.or_failed(|| "the writer panicked")?.map(drop)
}
