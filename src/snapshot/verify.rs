//! The one-pass check of a snapshot: in go a file and its genesis, out comes a verdict on the text's hash, its
//! statements and, if asked for, its digest. The same check for `snapshot verify`, `join` and `setup init`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Read,
    path::{Path, PathBuf},
};

use kwil_formats::{
    dump::{
        digest::TextDigest,
        scan::{ScanError, ScanReport},
    },
    formats::{Family, genesis::Genesis},
};
use serde::Serialize;

use super::{
    deep::{self, ManifestFile},
    digest::{StateDigester, digest_pieces},
    read::{ReadOptions, SnapshotText, TextFacts},
};
use crate::base::{
    Blake3Hash, Error, Finding, Level, Next, Progress, Result, Sha256Hash, files::read_bounded,
    limits::GENESIS_SIZE_BYTES_MAX, text,
};
use crate::manifest::genesis_validators;

/// How a snapshot is checked, beyond its hash and its statements.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Whether the result lists every table with its rows, and the check also asks for the closing UPDATE and compares
    /// the text with the manifest beside the file.
    pub deep: bool,
    /// The manifest to compare the text with, or its directory; `None`: with `deep` the one beside the file, else none.
    pub manifest: Option<PathBuf>,
    /// The bounds of the pass over the file.
    pub read: ReadOptions,
    /// Directory for the hashes of a digest that are too many to hold in memory; `None`: no digest is made.
    pub spill: Option<PathBuf>,
    /// Whether a text without the guard is refused; otherwise that is a finding.
    pub guarded_only: bool,
}

/// A text that passed the check, by its hash. Only the check makes one, so that whoever has it need not check again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedText {
    state_hash: Sha256Hash,
}

impl CheckedText {
    /// A value for tests, of a text that no check has seen.
    #[cfg(test)]
    pub(crate) fn unchecked(state_hash: Sha256Hash) -> Self {
        CheckedText { state_hash }
    }

    /// SHA-256 of the uncompressed text.
    pub fn state_hash(self) -> Sha256Hash {
        self.state_hash
    }
}

/// A whole snapshot file that is not read again before kwild reads it: its
/// text passed the check, and the file lies on the disk as it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteSnapshot {
    file_name: String,
    text: CheckedText,
}

impl CompleteSnapshot {
    /// The caller's word: the file of this name, in a directory that whoever takes the value knows, holds exactly the
    /// checked text and will not change, because its writer has finished or it was copied from a complete one.
    pub fn new(file_name: impl Into<String>, text: CheckedText) -> Self {
        CompleteSnapshot { file_name: file_name.into(), text }
    }

    /// The file's name, without a directory.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The checked text in the file.
    pub fn text(&self) -> CheckedText {
        self.text
    }
}

/// What is known of a snapshot that passed the check, as `snapshot verify` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Always true: what does not pass is an error.
    pub ok: bool,
    /// Whether the network is of v0.9 or v0.10.
    pub family: Family,
    /// SHA-256 of the uncompressed text.
    pub state_hash: Sha256Hash,
    /// The state hash that the genesis pins, which is the same.
    pub expected: Sha256Hash,
    /// Height of the old network's last block, as the text's last
    /// line or else the genesis says it; `None` where neither does.
    pub height: Option<i64>,
    /// Bytes of the uncompressed text.
    pub bytes: u64,
    /// Tables that the text makes.
    pub tables: u64,
    /// Rows in the text's COPY blocks.
    pub rows: u64,
    /// The number of rows of each table with a COPY block; `None` unless [`VerifyOptions::deep`] was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_rows: Option<BTreeMap<String, u64>>,
    /// Whether the text has the guard, by which psql loads all of it or nothing.
    pub guarded: bool,
    /// What an operator should know of the snapshot, although it passed.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// The digest of the state with the genesis' validators; `None` where no digest was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<Blake3Hash>,
    /// The digest of the text, from which the state's was made; `None` where no digest was asked for.
    #[serde(skip)]
    pub digest: Option<TextDigest>,
    /// The checked text, for those who go on with it.
    #[serde(skip)]
    pub text: CheckedText,
}

/// Reads a genesis file of a bounded size.
///
/// # Errors
/// When it cannot be read, or is no genesis.
pub fn read_genesis(path: &Path) -> Result<Genesis> {
    Ok(Genesis::parse(&read_bounded(path, GENESIS_SIZE_BYTES_MAX, "genesis")?)?)
}

/// Checks a snapshot file against a genesis file, and against a manifest where the options name one. Blocking.
///
/// # Errors
/// `Kind::Verify` with both hashes, with the line and the statement that no Kwil dump has, or where the text differs
/// from the manifest; `Kind::Failed` when a file cannot be read; `Kind::Interrupted` when the token was cancelled.
pub fn verify(snapshot: &Path, genesis: &Path, options: &VerifyOptions, progress: &Progress) -> Result<Verified> {
    let genesis = read_genesis(genesis)?;
    let snapshot_text = SnapshotText::open(snapshot)?;
    let gzip = snapshot_text.is_gzip();
    // kwild decides by the name, and reads the wrong bytes where it does not fit.
    let named_gzip = snapshot.extension() == Some(OsStr::new("gz"));
    if named_gzip && !gzip {
        return Err(Error::verify(format!("{} is named .gz but is no gzip file", snapshot.display()))
            .hint("fetch it again; plain SQL text must have a name that ends in .sql"));
    }
    let manifest = match &options.manifest {
        None if options.deep => deep::beside(snapshot),
        named => named.clone(),
    };
    let manifest = manifest.map(|path| ManifestFile::read(&path)).transpose()?;
    let mut verified = verify_text(snapshot_text, &genesis, manifest.as_ref(), options, progress)?;
    if gzip && !named_gzip {
        verified.findings.push(Finding::new(Level::Warning, "name", format!(
                "{} is a gzip file, but kwild unpacks only a file whose name ends in .gz: rename it before kwild reads it",
                snapshot.display()
            )));
    }
    Ok(verified)
}

/// Checks a snapshot, gzip or plain, that comes from any reader; what the file is called plays no part. Blocking.
///
/// # Errors
/// As [`verify`].
pub fn verify_reader(
    reader: impl Read,
    genesis: &Genesis,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Verified> {
    let snapshot_text = SnapshotText::new(reader)?;
    let manifest = options.manifest.as_ref().map(|path| ManifestFile::read(path)).transpose()?;
    verify_text(snapshot_text, genesis, manifest.as_ref(), options, progress)
}

fn verify_text(
    snapshot_text: SnapshotText<impl Read>,
    genesis: &Genesis,
    manifest: Option<&ManifestFile>,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Verified> {
    // Before hours of reading.
    let expected = pinned_by(genesis)?;
    let digest = options.spill.as_deref();
    let digest = digest.map(|spill| |pieces| digest_pieces(pieces, StateDigester::new(spill))?.finish_text());
    let told = |bytes| progress.bytes("verify", bytes, None, "");
    let (read, digest) = snapshot_text.read_heard(&options.read, told, digest)?;
    progress.done("verify");
    let (state_hash, bytes) = (read.state_hash, read.bytes);
    let report = read.pinned_by(genesis)?;
    if options.guarded_only {
        require_guard(&report)?;
    }
    let digest = digest.transpose()?;
    let mut findings = findings(&report);
    if options.deep {
        findings.extend(deep::is_complete(&report)?);
    }
    if let Some(manifest) = manifest {
        findings.push(manifest.compare(state_hash, bytes, &report, digest.as_ref())?);
    }
    let height = old_height(&report, genesis);
    let state_digest = match &digest {
        Some(text) => Some(text.state_digest(&genesis_validators(genesis)?)),
        None => None,
    };
    Ok(Verified {
        ok: true,
        family: report.family,
        state_hash,
        expected,
        height,
        state_digest,
        digest,
        text: CheckedText { state_hash },
        bytes,
        tables: report.tables,
        rows: report.rows,
        guarded: report.guarded,
        findings,
        table_rows: options.deep.then_some(report.table_rows),
    })
}

/// The state hash that the genesis pins; `Kind::Verify` where it pins none.
pub(super) fn pinned_by(genesis: &Genesis) -> Result<Sha256Hash> {
    genesis.state_hash().ok_or_else(|| {
        Error::verify("the genesis pins no state hash, so no snapshot belongs to it")
            .hint("use the genesis that was made with the snapshot")
    })
}

impl TextFacts {
    /// What the text holds, if it is the text that the genesis pins.
    ///
    /// # Errors
    /// `Kind::Verify` with both hashes, with a statement that does not belong, or when the text is of another family.
    pub fn pinned_by(self, genesis: &Genesis) -> Result<ScanReport> {
        let expected = pinned_by(genesis)?;
        if self.state_hash != expected {
            return Err(mismatch(self.state_hash, expected, self.scan.err()));
        }
        let report = self.scan?;
        belongs(&report, genesis.family())?;
        Ok(report)
    }
}

/// Refuses a text, whose statements passed the check, if it is not the one that the genesis pins.
///
/// # Errors
/// `Kind::Verify` with both hashes, or when it is of another family.
pub fn check_pinned(state_hash: Sha256Hash, report: &ScanReport, genesis: &Genesis) -> Result<()> {
    let expected = pinned_by(genesis)?;
    if state_hash != expected {
        return Err(mismatch(state_hash, expected, None));
    }
    belongs(report, genesis.family())
}

/// The error of a text that is not what the genesis pins; `why` says what else is wrong with the text.
fn mismatch(state_hash: Sha256Hash, expected: Sha256Hash, why: Option<ScanError>) -> Error {
    let error = Error::verify(format!("the snapshot's state hash is {state_hash}, but the genesis pins {expected}"))
        .hint("one of the two is not the file it should be: fetch both again from where they came from");
    match why {
        None => error,
        Some(why) => error.because(why),
    }
}

/// Refuses a text without the guard, which psql would load in part where a statement fails.
///
/// # Errors
/// `Kind::Verify` where the text has no guard.
pub fn require_guard(report: &ScanReport) -> Result<()> {
    if report.guarded {
        return Ok(());
    }
    Err(Error::verify(format!("the snapshot {UNGUARDED}")).hint(Next::GuardPair))
}

/// What is wrong with a text without a guard, for the end of a sentence.
const UNGUARDED: &str = "has no guard: kwild's psql would pass over a statement that fails, and kwild would start without its \
     rows";

/// Refuses a text that a genesis of this family may not pin, although its every
/// statement may be run: one of the other family, or with rows of voters.
pub(super) fn belongs(report: &ScanReport, family: Family) -> Result<()> {
    if report.family != family {
        return Err(Error::verify(format!("the snapshot is of family {}, its genesis of {family}", report.family))
            .hint("use the genesis that was made with the snapshot"));
    }
    if report.voters_rows > 0 {
        return Err(Error::verify(format!(
            "the snapshot holds {} of kwild_voting.voters, which belong into the genesis",
            text::count(report.voters_rows, "row")
        ))
        .hint("do not use this snapshot: validators of the old network would stay in the new one"));
    }
    Ok(())
}

/// Checks the statements of a snapshot, gzip, that a new genesis of this family shall pin. Blocking.
///
/// # Errors
/// As [`verify`], but for the hash.
pub fn verify_for_new_genesis(
    reader: impl Read,
    family: Family,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<CheckedText> {
    let read = SnapshotText::gzip(reader)?.read(&options.read, |bytes| progress.bytes("verify", bytes, None, ""))?;
    progress.done("verify");
    let report = read.scan?;
    belongs(&report, family)?;
    if options.guarded_only {
        require_guard(&report)?;
    }
    Ok(CheckedText { state_hash: read.state_hash })
}

/// Height of the old network's last block, as the text's last line says it. A v0.9 network that goes on counting takes
/// 0 off in that line; then the genesis' initial height says it.
pub fn old_height(report: &ScanReport, genesis: &Genesis) -> Option<i64> {
    match (report.family, report.height) {
        (Family::V09, Some(0)) if genesis.initial_height() > 1 => Some(genesis.initial_height() - 1),
        (_, height) => height,
    }
}

fn findings(report: &ScanReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if report.height.is_none() {
        findings.push(Finding::new(
            Level::Warning,
            "no-height",
            "the last line, which lowers the resolutions' expiry by the height, is missing: pending resolutions would \
             expire late",
        ));
    }
    if !report.guarded {
        let text = format!("the snapshot {UNGUARDED}");
        findings.push(Finding::new(Level::Warning, "unguarded", text).fix(Next::Mend("unguarded")));
    }
    let votes = report.table_rows.get("kwild_voting.votes").copied().unwrap_or(0);
    if votes > 0 && !report.guarded {
        findings.push(Finding::new(
            Level::Note,
            "votes",
            format!(
                "kwild_voting.votes has {}, so the constraint votes_voter_id_fkey cannot be made again: expected, harmless",
                text::count(votes, "row")
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
