//! The media of one command: what each says of itself, which manifest is meant, what validators said on them, and what they lack.

use std::path::{Path, PathBuf};

use kwil_formats::formats::{GENESIS_FILE_NAME, key::PublicKey};
use serde::Serialize;

use super::{
    lead_itself,
    needed::{ParitySet, StillNeeded},
    noted,
};
use crate::{
    app::{
        fetch::{Signed, read_manifest},
        meet,
        node::STATEMENTS_NAME as KEPT_NAME,
        state::StateDirectory,
    },
    base::{Blake3Hash, Error, Next, Progress, Result, clock, durable, files::read_bounded, limits, text},
    bundle::{CERTIFICATE_NAME, EVIDENCE_NAMES, Index, Medium, STATEMENTS_NAME, Trouble, Unseal, Volume, label},
    manifest::{
        Ballot, ChunkSet, Evidence, MANIFEST_FILE_NAME, Roster, SignedManifest, TrustPolicy, VerifiedManifest,
        VerifyError, statement, verify::check_evidence,
    },
    store::{Contents, PrivateDirectory},
};

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

/// A medium that was looked at.
pub(super) struct Seen {
    pub(super) report: MediumReport,
    medium: Option<Medium>,
    pub(super) volume: Option<Volume>,
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

/// Media that were looked at, and the manifest that is meant.
pub(super) struct Media {
    pub(super) seen: Vec<Seen>,
    pub(super) signed: Signed,
    /// Somebody's word was given for the manifest.
    pub(super) trusted: bool,
    /// The sets with parity, once it was looked what of it is at hand.
    pub(super) sets: Vec<ParitySet>,
}

impl Media {
    /// Looks which manifest is meant, of those on the media and the one in `directory`, and that nothing speaks against it.
    ///
    /// # Errors
    /// When none can be used, or it counts no more.
    pub(super) fn look(
        from: &[PathBuf],
        directory: Option<&Path>,
        trust: Option<&TrustPolicy>,
        keys: &Unseal,
        state: &StateDirectory,
    ) -> Result<Self> {
        let seen: Vec<Seen> = from.iter().map(|directory| look(directory, keys)).collect();
        let manifest = choose(directory, trust, &seen, state)?;
        take_evidence(&seen, &manifest, state)?;
        let genesis = genesis_of(directory, &seen, &manifest)?;
        Ok(Media { seen, signed: Signed::of(manifest, genesis)?, trusted: trust.is_some(), sets: Vec::new() })
    }

    /// Keeps what is not chunks in the directory that is filled: manifest, genesis, what validators said. Says of each medium whether it is
    /// used.
    pub(super) fn keep(
        &mut self,
        directory: &Path,
        private: &PrivateDirectory,
        contents: &Contents,
        progress: &Progress,
    ) -> Result<()> {
        self.signed.keep(directory)?;
        self.judge(contents, progress);
        keep_statements(&self.seen, &self.signed.manifest, directory, private)
    }

    /// Says of each medium whether it is used.
    pub(super) fn judge(&mut self, contents: &Contents, progress: &Progress) {
        let manifest = &self.signed.manifest;
        self.seen.iter_mut().for_each(|seen| seen.judge(manifest, contents, progress));
    }

    /// The sets with parity that the media belong to; what is wrong with parity that is at hand is said in the report of its medium.
    pub(super) fn parity_sets(&mut self, contents: &Contents, progress: &Progress) -> Vec<ParitySet> {
        let (sets, problems) = ParitySet::find(&used(&self.seen), contents);
        for (directory, problem) in problems {
            self.trouble(&directory, problem, progress);
        }
        sets
    }

    /// Says what is wrong with a medium, and keeps it in its report.
    pub(super) fn trouble(&mut self, directory: &Path, problem: String, progress: &Progress) {
        progress.warning(format!("{}: {problem}", directory.display()));
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.report.directory == directory) {
            seen.report.troubles.push(problem);
        }
    }

    /// Notes in the directory that is filled which other volumes there are.
    pub(super) fn note(&self, directory: &Path) {
        let manifest = &self.signed.manifest;
        let indexes = used(&self.seen).into_iter().map(|(_, volume)| &volume.index);
        noted::named(directory, manifest.id(), &manifest.manifest().network.new_chain_id, indexes);
    }

    /// Which volumes complete what is there. What was read now and gave nothing is no help.
    pub(super) fn still_needed(&self, have: &ChunkSet) -> StillNeeded {
        let chain_id = &self.signed.manifest.manifest().network.new_chain_id;
        let indexes: Vec<&Index> = used(&self.seen).into_iter().map(|(_, volume)| &volume.index).collect();
        StillNeeded::of(chain_id, have, &indexes, &self.sets)
    }
}

/// The volumes that are used, and where each is.
pub(super) fn used(seen: &[Seen]) -> Vec<(&Path, &Volume)> {
    let used = seen.iter().filter(|seen| seen.report.refused.is_none());
    used.filter_map(|seen| Some((seen.report.directory.as_path(), seen.volume.as_ref()?))).collect()
}

/// Looks what a medium says of itself.
fn look(directory: &Path, keys: &Unseal) -> Seen {
    let mut report = MediumReport { directory: directory.to_owned(), ..MediumReport::default() };
    let medium = match Medium::open_with(directory, keys) {
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
    let volume = match Volume::open(medium.clone()) {
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
fn choose(
    directory: Option<&Path>,
    trust: Option<&TrustPolicy>,
    media: &[Seen],
    state: &StateDirectory,
) -> Result<VerifiedManifest> {
    let path = directory.map(|directory| directory.join(MANIFEST_FILE_NAME)).filter(|path| path.exists());
    let kept = path.map(|path| read_manifest(&path)).transpose()?;
    let own = kept.as_ref().and_then(|bytes| SignedManifest::decode(bytes).ok()).map(|signed| Named::of(&signed));
    let wanted = |named: &Named| match trust {
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
            .hint(if media.iter().any(Seen::is_locked) { Next::KeyOfMedia } else { Next::TicketOfMedia }));
    };
    if trust.is_none() && candidates.iter().any(|(named, _)| !named.is_of_network(newest)) {
        return Err(Error::usage("these media are of different networks").hint(Next::TicketOfMedia));
    }
    let read = |medium: &Medium| medium.read(MANIFEST_FILE_NAME, limits::MANIFEST_SIZE_BYTES_MAX).ok().flatten();
    let bytes = medium.map_or(kept, read).ok_or_else(|| Error::failed("a medium was pulled while it was read"))?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    let policy = trust.cloned().unwrap_or_else(|| lead_itself(&signed));
    state.verify(&bytes, &policy, clock::unix_seconds())
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
fn genesis_of(directory: Option<&Path>, media: &[Seen], manifest: &VerifiedManifest) -> Result<Vec<u8>> {
    let read = |directory: &Path| {
        read_bounded(&directory.join(GENESIS_FILE_NAME), limits::GENESIS_SIZE_BYTES_MAX, "genesis").ok()
    };
    let own = directory.and_then(read);
    let on_media = media
        .iter()
        .filter_map(|seen| seen.medium.as_ref())
        .filter_map(|medium| medium.read(GENESIS_FILE_NAME, limits::GENESIS_SIZE_BYTES_MAX).ok().flatten());
    own.into_iter().chain(on_media).find(|bytes| manifest.check_genesis(bytes).is_ok()).ok_or_else(|| {
        Error::verify(format!("no medium has {GENESIS_FILE_NAME} as it was signed")).hint(Next::ImportOther)
    })
}

impl Seen {
    /// It is encrypted, and could not be opened.
    fn is_locked(&self) -> bool {
        self.medium.is_none() && Medium::open(&self.report.directory).is_ok()
    }

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
        Ok(Evidence::Certificate(certificate)) => Some(certificate.statement_bytes().to_vec()),
        _ => None,
    });
    list.into_iter().chain(certificate).collect()
}
