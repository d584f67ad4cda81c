//! Media into a directory: any volumes, in any order, beside what a swarm gave. Every chunk is proved by the signed manifest
//! before it counts; a medium that is wrong is said by name, and the work goes on with the others.

use std::path::PathBuf;

use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    in_place,
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
    manifest::{ArtifactName, ChunkSet, Ticket, TrustPolicy},
    snapshot::Verified,
    store::{Contents, FileSystem, Outcome, PrivateDirectory, Store, Writer},
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
    /// The chunks stay on the media, from where they are served.
    pub in_place: bool,
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
    /// The chunks stay on the media.
    pub in_place: bool,
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
    /// Chunks that are lacking and that an import with a copy would make from parity at hand.
    pub made_good_chunks: u32,
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
    let ImportOptions { from, directory, trust, keys, state, in_place } = options;
    let mut media = Media::look(&from, Some(&directory), trust.as_ref(), &keys, &state)?;
    let private = PrivateDirectory::lock(&directory)?;
    let manifest = media.signed.manifest.clone();
    progress.note(format!("the manifest's six words, as the lead has them: {}", words_of(&manifest)));
    if !media.trusted {
        let text = "nobody's word was given for this manifest: only its own lead's signature was checked";
        progress.warning(Notice::from(text).next(Next::TrustWhenJoining));
    }
    tell_manifest(&manifest, progress);
    let contents = node::contents(&manifest, false);
    media.keep(&directory, &private, &contents, progress)?;
    if in_place {
        let have = in_place::take(&mut media, &directory, &private, &contents, progress, cancel).await?;
        let seconds = clock::now().duration_since(began).as_secs_f64();
        return Ok(Imported { in_place, seconds, ..Imported::of(media, directory, &contents, &have) });
    }
    let opened =
        tokio::task::block_in_place(|| Store::open(&directory, &private, contents, &FileSystem, progress, cancel))?;
    let (store, have) = (opened.store.clone(), opened.have.clone());
    let resumed_chunks = have.count();
    let (board, signed) = (Board::default(), media.signed.clone());
    let checking =
        Checking { signed: &signed, directory: &directory, guarded_only: false, board: &board, progress, cancel };
    let checked = checking.start(&opened.store, &opened.frontier, have.is_full());
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
    let seconds = clock::now().duration_since(began).as_secs_f64();
    Ok(Imported {
        resumed_chunks,
        restored_chunks,
        seconds,
        ..Imported::of(media, directory.clone(), store.contents(), &have)
    })
}

impl Imported {
    /// What is there now; what the work itself knows is left open.
    fn of(media: Media, directory: PathBuf, contents: &Contents, have: &ChunkSet) -> Self {
        let manifest = &media.signed.manifest;
        let complete = have.is_full();
        let needed = media.still_needed(have);
        media.note(&directory);
        let artifact = |name| {
            let path = directory.join(node::artifact_name(name, manifest.manifest().network.family, false));
            Some(path).filter(|path| complete && path.exists())
        };
        let lacking = (0..have.len()).filter(|chunk| !have.contains(*chunk));
        Imported {
            complete,
            in_place: false,
            manifest_id: manifest.id(),
            chain_id: manifest.manifest().network.new_chain_id.clone(),
            words: words_of(manifest),
            trusted: media.trusted,
            chunks: have.len(),
            have_chunks: have.count(),
            resumed_chunks: 0,
            lacking_bytes: lacking.map(|chunk| contents.chunk_len(chunk) as u64).sum(),
            restored_chunks: 0,
            made_good_chunks: needed.made_good,
            needed_any: needed.any,
            needed: needed.labels,
            needed_anew: needed.anew,
            unknown_chunks: needed.unknown,
            genesis: artifact(ArtifactName::Genesis),
            snapshot: artifact(ArtifactName::Snapshot),
            media: media.seen.into_iter().map(|seen| seen.report).collect(),
            directory,
            seconds: 0.0,
        }
    }
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
