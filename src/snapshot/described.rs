//! All that a manifest says of a snapshot file, as one value: known to whoever writes the file, or found by one pass
//! over it.

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

/// What a manifest says of a snapshot file. Only who wrote or read the file can make one.
#[derive(Debug, Clone)]
pub struct SnapshotFacts {
    /// The file's chunks and hashes.
    pub description: ArtifactDescription,
    /// SHA-256 of the uncompressed text, which the genesis pins.
    pub state_hash: Sha256Hash,
    /// Bytes of the uncompressed text.
    pub text_size_bytes: u64,
    /// Height of the old network's last block, as the text's last line has it; `None` where it has no such line.
    pub height: Option<i64>,
    /// The state's digest without the validators; `None` where it was not asked for.
    pub digest: Option<TextDigest>,
    /// Whether the text has the guard, by which psql loads all of it or nothing.
    pub guarded: bool,
    /// A value that only this module can make.
    _found: Found,
}

#[derive(Debug, Clone)]
struct Found;

impl SnapshotFacts {
    /// The facts of a file that was just written; `None` where the
    /// file was not hashed, or where everyone would refuse its text.
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

/// Reads a snapshot once: the file's chunks and hashes; the text's hash, statements and height; and its digest, where
/// `spill` names a directory for it. `layout` is that of the manifest that the file is compared with; `None`: the one
/// that a new manifest gives a file of this size.
///
/// # Errors
/// `Kind::Verify` when it is no whole gzip file, changes meanwhile, or holds what a Kwil dump does not; `Kind::Failed`
/// when it cannot be read; `Kind::Interrupted` when `cancel` is cancelled.
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

/// A file that is hashed as it is read.
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
