//! Media into a directory: any volumes, in any order, beside what a swarm gave. Every chunk is proved by the signed manifest
//! before it counts; a medium that is wrong is said by name, and the work goes on with the others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use kwil_formats::formats::{GENESIS_FILE_NAME, key::PublicKey};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{lead_itself, words_of};
use crate::{
    app::{
        fetch::{self, Checking, Signed, interrupted, read_manifest, tell_manifest},
        meet,
        node::{self, STATEMENTS_NAME as KEPT_NAME},
        state::StateDirectory,
        status::Board,
    },
    base::{
        Blake3Hash, Context, Error, Next, Notice, Progress, Result, clock, durable, files::read_bounded, limits,
        task::CancellationToken, text,
    },
    bundle::{
        CERTIFICATE_NAME, EVIDENCE_NAMES, Index, Medium, ReadChunks, STATEMENTS_NAME, SetId, Trouble, Volume, label,
    },
    manifest::{
        ArtifactName, Ballot, ChunkSet, Evidence, MANIFEST_FILE_NAME, Roster, SignedManifest, Ticket, TrustPolicy,
        VerifiedManifest, VerifyError, ranges, statement, verify::check_evidence,
    },
    store::{Buffers, FileSystem, Outcome, PrivateDirectory, Store, Untrusted, Writer},
};

/// What is imported, and whose word is taken for it.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The media's directories.
    pub from: Vec<PathBuf>,
    /// Where the files go.
    pub directory: PathBuf,
    /// The directory is to become a node root.
    pub in_root: bool,
    /// What the reader trusts; `None`: whoever carries only takes the lead that the manifest itself names.
    pub trust: Option<TrustPolicy>,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
}

impl ImportOptions {
    /// What a ticket makes of the reader's trust.
    pub fn trust_of(ticket: &Ticket) -> TrustPolicy {
        fetch::policy(ticket)
    }
}

/// What came of one medium.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MediumReport {
    /// Where it was.
    pub directory: PathBuf,
    /// Its label, where its index could be read.
    pub label: Option<String>,
    /// Why nothing of it was taken.
    pub refused: Option<String>,
    /// Chunks that were taken from it.
    pub taken_chunks: u32,
    /// Bytes of them.
    pub taken_bytes: u64,
    /// Chunks on it that are not what was signed.
    pub bad_chunks: u32,
    /// What else is wrong with it.
    pub troubles: Vec<String>,
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
    /// Labels of the volumes that hold what is lacking.
    pub needed: Vec<String>,
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

/// A medium that was looked at.
struct Seen {
    report: MediumReport,
    medium: Option<Medium>,
    volume: Option<Volume>,
    manifest: Option<Named>,
}

/// Which manifest one is: all of it would be megabytes for each medium.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    id: Blake3Hash,
    chain_id: String,
    lead: PublicKey,
    sequence: u64,
}

impl Named {
    fn of(signed: &SignedManifest) -> Self {
        let manifest = signed.manifest();
        Named {
            id: signed.id(),
            chain_id: manifest.network.new_chain_id.clone(),
            lead: manifest.trust.lead,
            sequence: manifest.sequence,
        }
    }

    fn is_of_network(&self, other: &Named) -> bool {
        self.chain_id == other.chain_id && self.lead == other.lead
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "manifest {} of {}", self.sequence, text::escape(&self.chain_id))
    }
}

/// Takes what media have of a migration into a directory. With `check`, a complete set is checked as a fetch checks it and gets its
/// final names; without, it stays as an unfinished fetch leaves it, for who goes on from there.
///
/// # Errors
/// When no manifest can be used, the directory fails, or what is complete is not what was signed; what was taken stays.
pub async fn import(
    options: ImportOptions,
    check: bool,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Imported> {
    let began = clock::now();
    let mut media: Vec<Seen> = options.from.iter().map(|directory| look(directory)).collect();
    let (manifest, trusted) = choose(&options, &media)?;
    take_evidence(&media, &manifest, &options.state)?;
    let genesis = genesis_of(&options, &media, &manifest)?;
    let named = Signed::of(manifest.clone(), genesis)?;
    let private = PrivateDirectory::lock(&options.directory)?;
    let contents = node::contents(&manifest, options.in_root);
    let signed = SignedManifest::decode(manifest.bytes()).map_err(VerifyError::Decode)?;
    let words = words_of(&signed);
    progress.note(format!("the manifest's six words, as the lead has them: {words}"));
    if !trusted {
        let text = "nobody's word was given for this manifest: only its own lead's signature was checked";
        progress.warning(Notice::from(text).next(Next::TrustWhenJoining));
    }
    tell_manifest(&manifest, progress);
    named.keep(&options.directory)?;
    let chain_id = manifest.manifest().network.new_chain_id.clone();
    for seen in &mut media {
        seen.judge(&manifest, &contents, progress);
    }
    keep_statements(&media, &manifest, &options.directory, &private)?;
    let opened = tokio::task::block_in_place(|| {
        Store::open(&options.directory, &private, contents, &FileSystem, progress, cancel)
    })?;
    let (store, have) = (opened.store.clone(), opened.have.clone());
    let resumed_chunks = have.count();
    let board = Board::default();
    let checking = Checking {
        signed: &named,
        directory: &options.directory,
        guarded_only: options.in_root,
        board: &board,
        progress,
        cancel,
    };
    let checked = check.then(|| checking.start(&opened, have.is_full()));
    let (sender, outcomes) = mpsc::channel::<Outcome>(256);
    let writer = Writer::start(opened, sender)?;
    let mut taking = Taking::new(&store, &writer, outcomes, have, progress);
    let read = tokio::task::block_in_place(|| {
        media
            .iter_mut()
            .filter(|seen| seen.report.refused.is_none())
            .try_for_each(|seen| seen.take(&mut taking, cancel))
    });
    progress.done("import");
    let have = taking.have.clone();
    drop(taking);
    let complete = match (read, checked) {
        (Ok(()), Some(checked)) if have.is_full() => {
            progress.step("checking the snapshot: its hash, and every statement");
            let checked = tokio::select! {
                () = cancel.cancelled() => Err(interrupted()),
                checked = checked => checked.or_failed(|| "the check panicked").and_then(|checked| checked),
            };
            let finish = checked.is_ok();
            let ended = tokio::task::spawn_blocking(move || if finish { writer.finish() } else { writer.stop() });
            checked?;
            ended.await.or_failed(|| "the writer panicked")??;
            true
        }
        (read, _) => {
            let ended = tokio::task::spawn_blocking(move || writer.stop()).await.or_failed(|| "the writer panicked")?;
            // The writer's own error is the cause.
            ended.and(read.map(drop))?;
            false
        }
    };
    let (needed, unknown_chunks) = still_needed(&media, &have, &chain_id);
    let artifact = |name| {
        let name = node::artifact_name(name, manifest.manifest().network.family, options.in_root);
        complete.then(|| options.directory.join(name))
    };
    let lacking = (0..have.len()).filter(|chunk| !have.contains(*chunk));
    Ok(Imported {
        complete,
        manifest_id: manifest.id(),
        chain_id,
        words,
        trusted,
        chunks: have.len(),
        have_chunks: have.count(),
        resumed_chunks,
        lacking_bytes: lacking.map(|chunk| store.contents().chunk_len(chunk) as u64).sum(),
        needed,
        unknown_chunks,
        media: media.into_iter().map(|seen| seen.report).collect(),
        genesis: artifact(ArtifactName::Genesis),
        snapshot: artifact(ArtifactName::Snapshot),
        directory: options.directory,
        seconds: clock::now().duration_since(began).as_secs_f64(),
    })
}

/// Looks what a medium says of itself.
fn look(directory: &Path) -> Seen {
    let mut report = MediumReport { directory: directory.to_owned(), ..MediumReport::default() };
    let medium = match Medium::open(directory) {
        Ok(medium) => medium,
        Err(trouble) => {
            report.refused = Some(trouble.0);
            return Seen { report, medium: None, volume: None, manifest: None };
        }
    };
    let manifest = match medium.read(MANIFEST_FILE_NAME, limits::MANIFEST_SIZE_BYTES_MAX) {
        Ok(Some(bytes)) => match SignedManifest::decode(&bytes) {
            Ok(signed) => Some(Named::of(&signed)),
            Err(e) => {
                report.troubles.push(format!("{MANIFEST_FILE_NAME}: {e}"));
                None
            }
        },
        Ok(None) => {
            report.troubles.push(format!("{MANIFEST_FILE_NAME} is missing"));
            None
        }
        Err(trouble) => {
            report.troubles.push(trouble.0);
            None
        }
    };
    let volume = match Medium::open(directory).and_then(Volume::open) {
        Ok(volume) => {
            report.troubles.extend(volume.troubles.iter().map(Trouble::to_string));
            Some(volume)
        }
        Err(trouble) => {
            report.refused = Some(trouble.0);
            None
        }
    };
    Seen { report, medium: Some(medium), volume, manifest }
}

/// The manifest that is meant: the one that the reader's trust names, or the directory's own, or the newest of the media.
fn choose(options: &ImportOptions, media: &[Seen]) -> Result<(VerifiedManifest, bool)> {
    let path = options.directory.join(MANIFEST_FILE_NAME);
    let own = match path.exists() {
        true => SignedManifest::decode(&read_manifest(&path)?).ok().map(|signed| Named::of(&signed)),
        false => None,
    };
    let wanted = |named: &Named| match &options.trust {
        None => own.as_ref().is_none_or(|own| own.is_of_network(named)),
        Some(trust) => {
            trust.manifest_id.is_none_or(|id| id == named.id)
                && trust.chain_id.as_ref().is_none_or(|id| *id == named.chain_id)
                && trust.keys.contains(&named.lead)
        }
    };
    let all = own.iter().map(|named| (named, None));
    let all = all.chain(media.iter().filter_map(|seen| Some((seen.manifest.as_ref()?, seen.medium.as_ref()))));
    let candidates: Vec<(&Named, Option<&Medium>)> = all.filter(|(named, _)| wanted(named)).collect();
    let Some((newest, medium)) = candidates.iter().copied().max_by_key(|(named, _)| named.sequence) else {
        let why: Vec<String> = media
            .iter()
            .map(|seen| {
                let report = &seen.report;
                let what = match (&seen.manifest, &report.refused) {
                    (Some(named), _) => format!("holds {named}, which is another migration"),
                    (None, Some(refused)) => refused.clone(),
                    (None, None) => report.troubles.join(", "),
                };
                format!("{}: {what}", report.directory.display())
            })
            .collect();
        return Err(Error::verify(format!("no medium has a manifest that can be used: {}", why.join("; ")))
            .hint(Next::TicketOfMedia));
    };
    if options.trust.is_none() && candidates.iter().any(|(named, _)| !named.is_of_network(newest)) {
        return Err(Error::usage("these media are of different networks").hint(Next::TicketOfMedia));
    }
    let bytes = match medium {
        None => read_manifest(&path)?,
        Some(medium) => {
            let read = medium.read(MANIFEST_FILE_NAME, limits::MANIFEST_SIZE_BYTES_MAX);
            read.ok().flatten().ok_or_else(|| Error::failed("a medium was pulled while it was read"))?
        }
    };
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    let trust = options.trust.clone().unwrap_or_else(|| lead_itself(&signed));
    let verified = options.state.verify(&bytes, &trust, clock::unix_seconds())?;
    Ok((verified, options.trust.is_some()))
}

/// Remembers what media tell against the manifest, and refuses one that counts no more.
fn take_evidence(media: &[Seen], manifest: &VerifiedManifest, state: &StateDirectory) -> Result<()> {
    let subject = (manifest.manifest().network.new_chain_id.as_str(), &manifest.manifest().trust.lead);
    for medium in media.iter().filter_map(|seen| seen.medium.as_ref()) {
        for name in EVIDENCE_NAMES {
            // What cannot be read there is only lost: it stands on other media, too.
            let bytes = medium.read(name, limits::EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX).ok().flatten();
            let Some(evidence) = bytes.and_then(|bytes| Evidence::decode(&bytes).ok()) else { continue };
            if evidence.subject() != Some(subject) || !evidence.ends(manifest.manifest(), manifest.id()) {
                continue;
            }
            let kept = state.keep(&evidence)?;
            check_evidence(manifest.manifest(), manifest.id(), &evidence, state.allowed_rollback()).map_err(|e| {
                match kept {
                    Some(path) => Error::from(e).or_hint(format!("the proof is kept in {}", path.display())),
                    None => e.into(),
                }
            })?;
        }
    }
    Ok(())
}

/// The genesis of the manifest, from the directory or from any medium that has it whole.
fn genesis_of(options: &ImportOptions, media: &[Seen], manifest: &VerifiedManifest) -> Result<Vec<u8>> {
    let own = read_bounded(&options.directory.join(GENESIS_FILE_NAME), limits::GENESIS_SIZE_BYTES_MAX, "genesis").ok();
    let on_media = media
        .iter()
        .filter_map(|seen| seen.medium.as_ref())
        .filter_map(|medium| medium.read(GENESIS_FILE_NAME, limits::GENESIS_SIZE_BYTES_MAX).ok().flatten());
    own.into_iter().chain(on_media).find(|bytes| manifest.check_genesis(bytes).is_ok()).ok_or_else(|| {
        Error::verify(format!("no medium has {GENESIS_FILE_NAME} as it was signed")).hint(Next::ImportOther)
    })
}

impl Seen {
    /// Refuses what does not belong to the manifest.
    fn judge(&mut self, manifest: &VerifiedManifest, contents: &crate::store::Contents, progress: &Progress) {
        let chain_id = &manifest.manifest().network.new_chain_id;
        if let Some(volume) = &self.volume {
            if volume.index.manifest_id == manifest.id() {
                self.report.label = Some(label(chain_id, &volume.index.set, volume.index.number));
            }
            if let Err(e) = volume.index.check(contents) {
                self.report.refused = Some(e.to_string());
            }
        }
        let ours = Named {
            id: manifest.id(),
            chain_id: chain_id.clone(),
            lead: manifest.manifest().trust.lead,
            sequence: manifest.manifest().sequence,
        };
        if let Some(other) = self.manifest.as_ref().filter(|named| named.id != ours.id) {
            self.report.refused = Some(match other.is_of_network(&ours) && other.sequence < ours.sequence {
                true => format!("it is older: {other}, and {} is known", ours.sequence),
                false => format!("it is of another migration: {other}"),
            });
        }
        let name = self.report.label.clone().unwrap_or_else(|| "medium".to_owned());
        let at = self.report.directory.display();
        if let Some(refused) = &self.report.refused {
            progress.warning(format!("{name} at {at} is not used: {refused}"));
        }
        for trouble in &self.report.troubles {
            progress.warning(format!("{name} at {at}: {trouble}"));
        }
    }

    /// Takes the chunks of one medium.
    fn take(&mut self, taking: &mut Taking<'_>, cancel: &CancellationToken) -> Result<()> {
        let Some(volume) = &self.volume else { return Ok(()) };
        let name = self.report.label.clone().unwrap_or_default();
        taking.progress.step(format!("reading {name} at {}", self.report.directory.display()));
        taking.begin(volume.index.chunks(taking.have.len()));
        let store = taking.store.clone();
        let read = volume.read_chunks(store.contents(), taking, cancel);
        // Also after a signal: what was taken in is counted.
        taking.settle()?;
        let troubles = read?;
        self.report.taken_chunks = taking.taken_chunks;
        self.report.taken_bytes = taking.taken_bytes;
        self.report.bad_chunks = u32::try_from(taking.bad.len()).unwrap_or(u32::MAX);
        let bad = (!taking.bad.is_empty()).then(|| {
            taking.bad.sort_unstable();
            let words = text::first_few(ranges(taking.bad.iter().copied()).into_iter().map(words_of_range), 6);
            format!("{} not what was signed: {words}", text::count(taking.bad.len() as u64, "chunk"))
        });
        for trouble in troubles.into_iter().map(|trouble| trouble.0).chain(bad) {
            taking.progress.warning(format!("{name} at {}: {trouble}", self.report.directory.display()));
            self.report.troubles.push(trouble);
        }
        Ok(())
    }
}

pub(super) fn words_of_range(range: std::ops::Range<u32>) -> String {
    match range.len() {
        1 => range.start.to_string(),
        _ => format!("{}-{}", range.start, range.end - 1),
    }
}

/// Gives chunks to the store, and hears what became of them.
struct Taking<'a> {
    store: Arc<Store>,
    queue: mpsc::Sender<Untrusted>,
    outcomes: mpsc::Receiver<Outcome>,
    buffers: Arc<Buffers>,
    progress: &'a Progress,
    have: ChunkSet,
    have_bytes: u64,
    /// Given to the store, and not answered yet.
    asked: u32,
    /// Those and the ones that were bad on the medium that is read: not to be read from it again.
    tried: ChunkSet,
    bad: Vec<u32>,
    taken_chunks: u32,
    taken_bytes: u64,
}

impl<'a> Taking<'a> {
    fn new(
        store: &Arc<Store>,
        writer: &Writer,
        outcomes: mpsc::Receiver<Outcome>,
        have: ChunkSet,
        progress: &'a Progress,
    ) -> Self {
        Taking {
            queue: writer.queue(),
            buffers: writer.buffers(),
            store: store.clone(),
            outcomes,
            progress,
            have_bytes: have.iter().map(|chunk| store.contents().chunk_len(chunk) as u64).sum(),
            tried: ChunkSet::empty(have.len()),
            have,
            asked: 0,
            bad: Vec::new(),
            taken_chunks: 0,
            taken_bytes: 0,
        }
    }

    /// Begins with another medium.
    fn begin(&mut self, chunks: ChunkSet) {
        self.tried = ChunkSet::empty(chunks.len());
        self.bad.clear();
        (self.taken_chunks, self.taken_bytes) = (0, 0);
    }

    fn hear(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Stored { chunk, .. } => {
                let len = self.store.contents().chunk_len(chunk) as u64;
                self.asked -= 1;
                self.have.insert(chunk);
                self.taken_chunks += 1;
                self.taken_bytes += len;
                self.have_bytes += len;
                self.progress.bytes("import", self.have_bytes, Some(self.store.contents().size_bytes()), "");
            }
            Outcome::Bad { chunk, .. } => {
                self.asked -= 1;
                self.bad.push(chunk);
            }
            Outcome::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits until the store has answered for everything.
    fn settle(&mut self) -> Result<()> {
        while self.asked > 0 {
            let outcome = futures::executor::block_on(self.outcomes.recv());
            self.hear(outcome.ok_or_else(|| Error::failed("the writer ended"))?)?;
        }
        Ok(())
    }
}

impl ReadChunks for Taking<'_> {
    fn is_wanted(&mut self, chunk: u32) -> bool {
        !self.have.contains(chunk) && self.tried.insert(chunk)
    }

    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }

    fn take(&mut self, chunk: u32, data: Vec<u8>) -> Result<()> {
        let sent = futures::executor::block_on(self.queue.send(Untrusted { source: 0, chunk, data }));
        if sent.is_ok() {
            self.asked += 1;
        }
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.hear(outcome)?;
        }
        sent.map_err(|_| Error::failed("the writer ended"))
    }
}

/// Keeps what the media's statements say that holds and counts, beside what is known; the certificate, too, once there is one.
fn keep_statements(
    media: &[Seen],
    manifest: &VerifiedManifest,
    directory: &Path,
    private: &PrivateDirectory,
) -> Result<()> {
    let mut roster = Roster::new(manifest.id(), manifest.manifest());
    let mut ballot = Ballot::new(manifest.id(), manifest.manifest());
    let known = read_bounded(&private.file(KEPT_NAME), limits::STATEMENTS_FILE_SIZE_BYTES_MAX, "list of statements");
    let known = known.ok().and_then(|bytes| statement::from_file(&bytes).ok()).unwrap_or_default();
    let said = media.iter().filter(|seen| seen.manifest.as_ref().is_some_and(|named| named.id == manifest.id()));
    for all in std::iter::once(known).chain(said.filter_map(|seen| seen.medium.as_ref()).flat_map(statements_on)) {
        ballot.take(&all);
        roster.take(all);
    }
    let all: Vec<Vec<u8>> = ballot.statements().into_iter().chain(roster.statements()).collect();
    if !all.is_empty() {
        private.write(KEPT_NAME, &statement::to_file(&all))?;
    }
    match roster.certificate() {
        Some(certificate) => {
            let bytes = Evidence::Certificate(certificate).to_bytes();
            durable::write_atomically(&meet::certificate_path(directory), &bytes, 0o600)
        }
        None => Ok(()),
    }
}

/// The lists of statements on a medium. What cannot be read there is only lost: nothing hangs on a single one.
fn statements_on(medium: &Medium) -> Vec<Vec<Vec<u8>>> {
    let list = medium.read(STATEMENTS_NAME, limits::STATEMENTS_FILE_SIZE_BYTES_MAX).ok().flatten();
    let list = list.and_then(|bytes| statement::from_file(&bytes).ok());
    let certificate = medium.read(CERTIFICATE_NAME, limits::EVIDENCE_SIZE_BYTES_MAX).ok().flatten();
    let certificate = certificate.and_then(|bytes| match Evidence::decode(&bytes) {
        Ok(Evidence::Certificate(certificate)) => Some(certificate.into_statements()),
        _ => None,
    });
    list.into_iter().chain(certificate).collect()
}

/// Labels of the volumes that hold what is lacking, and how many chunks no known volume holds. What was read now and gave
/// nothing is no help.
fn still_needed(media: &[Seen], have: &ChunkSet, chain_id: &str) -> (Vec<String>, u32) {
    let mut lacking = ChunkSet::full(have.len());
    lacking.remove_all(have);
    let used = || media.iter().filter(|seen| seen.report.refused.is_none()).filter_map(|seen| seen.volume.as_ref());
    let is_here = |set: &SetId, number: u32| used().any(|v| v.index.set == *set && v.index.number == number);
    let mut unknown = lacking.clone();
    let mut needed: BTreeMap<(SetId, u32), String> = BTreeMap::new();
    for Index { set, others, .. } in used().map(|volume| &volume.index) {
        for other in others.iter().filter(|other| !is_here(set, other.number)) {
            let mut helps = false;
            for chunk in other.chunks.iter().cloned().flatten().filter(|chunk| lacking.contains(*chunk)) {
                helps = true;
                unknown.remove(chunk);
            }
            if helps {
                needed.insert((*set, other.number), label(chain_id, set, other.number));
            }
        }
    }
    (needed.into_values().collect(), unknown.count())
}
