//! All that a manifest says of a snapshot file, as one value: found by whoever writes the file, or by one pass over it.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    path::Path,
};

use kwil_formats::dump::digest::TextDigest;

use super::{
    digest::{StateDigester, digest_pieces},
    pipeline::Written,
    read::{ReadOptions, SnapshotText},
};
use crate::{
    base::{Context, Error, Kind, Progress, Result, Sha256Hash, task::CancellationToken},
    manifest::{ArtifactDescription, ArtifactHasher, Layout},
};

/// What one pass over a snapshot's file tells.
#[derive(Debug, Clone)]
pub struct SnapshotFacts {
    /// Its chunks and hashes.
    pub description: ArtifactDescription,
    /// SHA-256 of the text inside.
    pub state_hash: Sha256Hash,
    /// Length of that text.
    pub text_size_bytes: u64,
    /// Last block of the old chain, as its last line has it.
    pub height: Option<i64>,
    /// The state's digest, where it was asked for.
    pub digest: Option<TextDigest>,
    /// Whether psql loads all of it or nothing.
    pub guarded: bool,
    /// Only who read or wrote the file makes these.
    _found: Found,
}

#[derive(Debug, Clone)]
struct Found;

impl SnapshotFacts {
    /// Those of a file that was just written; none where it was not hashed, or where everyone would refuse its text.
    pub(super) fn of_written(written: &Written) -> Option<Self> {
        let report = written.scan.as_ref().ok()?;
        Some(SnapshotFacts {
            description: written.description.clone()?,
            state_hash: written.state_hash,
            text_size_bytes: written.bytes,
            height: report.height,
            digest: written.digest.clone(),
            guarded: report.guarded,
            _found: Found,
        })
    }
}

/// Reads a snapshot once: the file's chunks and hashes, the text's hash, statements, height and, where `spill` gives it room,
/// digest. `layout`: that of a manifest whose file is checked; `None`: the one that a new manifest gives it.
///
/// # Errors
/// When it cannot be read, is no whole gzip file, or changes meanwhile.
pub fn read_snapshot(
    path: &Path,
    layout: Option<Layout>,
    spill: Option<&Path>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<SnapshotFacts> {
    let cannot = || format!("cannot read the snapshot {}", path.display());
    let file = File::open(path).or_failed(cannot).map_err(|e| e.hint("give the directory that holds the snapshot"))?;
    let size = file.metadata().or_failed(cannot)?.len();
    let layout = match layout {
        Some(layout) => layout,
        None => Layout::for_size(size).or_verify(|| format!("{} cannot be described", path.display()))?,
    };
    let taken = Cell::new(0);
    let mut tee = Tee { file, hasher: ArtifactHasher::default(), taken: &taken };
    let digest = spill.map(|spill| |pieces| digest_pieces(pieces, StateDigester::new(spill))?.finish_text());
    let read = SnapshotText::gzip(&mut tee).and_then(|text| {
        text.read_heard(&ReadOptions::until(cancel), |_| progress.bytes("hash", taken.get(), Some(size), ""), digest)
    });
    progress.done("hash");
    let (facts, digest) = read.map_err(|e| match e.kind() {
        Kind::Verify => Error::verify(format!("{} is no whole gzip file", path.display()))
            .because(e)
            .hint("it was cut or changed: take it again from where it came from"),
        Kind::Failed => Error::failed(cannot()).because(e),
        _ => e,
    })?;
    let description = tee.hasher.finish(layout).or_verify(|| format!("{} is not what it should be", path.display()))?;
    // The text is code: nobody is asked to run what everyone would refuse.
    let report = facts.scan?;
    let (height, guarded) = (report.height, report.guarded);
    let (state_hash, text_size_bytes) = (facts.state_hash, facts.bytes);
    let digest = digest.transpose()?;
    Ok(SnapshotFacts { description, state_hash, text_size_bytes, height, digest, guarded, _found: Found })
}

/// Hashes what is read through it.
struct Tee<'a> {
    file: File,
    hasher: ArtifactHasher,
    taken: &'a Cell<u64>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}
