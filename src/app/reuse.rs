//! What this machine has already, under other names: chunks of local files that are those of the manifest need not be fetched. Each is
//! proved by the signed ids like one from a peer; whatever else the files hold costs one reading of them.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use kwil_formats::formats::{Family, GENESIS_STATE_FILE_NAME};
use tokio::sync::mpsc;

use super::{
    bundle::Taking,
    fetch::{FetchOptions, Signed},
    node,
};
use crate::{
    base::{Error, Next, Progress, Result, task::CancellationToken, text},
    bundle::{ReadChunks, open_regular},
    manifest::ArtifactName,
    store::{Contents, FileSystem, Outcome, PrivateDirectory, Store, Writer},
};

/// Takes what files and directories of this machine have of the snapshot into the directory that is filled, which is locked.
///
/// # Errors
/// When a path is no file that can be read, or the directory fails; interrupted by a signal.
pub(super) fn reuse(
    options: &FetchOptions,
    signed: &Signed,
    private: &PrivateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let contents = node::contents(&signed.manifest, options.in_root);
    let place =
        signed.manifest.manifest().artifacts.iter().position(|artifact| artifact.name == ArtifactName::Snapshot);
    let place = place.unwrap_or_default();
    let opened = Store::open(&options.directory, private, contents, &FileSystem, progress, cancel)?;
    let (store, have) = (opened.store.clone(), opened.have.clone());
    let (sender, outcomes) = mpsc::channel::<Outcome>(256);
    let writer = Writer::start(opened, sender)?;
    let mut taking = Taking::new(&store, &writer, outcomes, have, progress);
    let read = options.reuse.iter().try_for_each(|path| {
        if taking.have.is_full() {
            return Ok(());
        }
        progress.step(format!("looking for chunks in {}", path.display()));
        let file = open(path)?;
        taking.begin(taking.have.len());
        let read = read_file(&file, store.contents(), place, &mut taking, cancel);
        // Also after a signal: what was taken in is counted.
        taking.settle()?;
        read?;
        let (chunks, bytes) = taking.taken();
        progress.note(format!(
            "{}: {} of this snapshot, {}",
            path.display(),
            text::count(chunks.into(), "chunk"),
            text::bytes(bytes)
        ));
        Ok(())
    });
    progress.done("import");
    drop(taking);
    // The writer's own error is the cause.
    writer.stop().and(read)
}

/// A file, or the snapshot in a directory of a publish, a fetch or a node's root.
fn open(path: &Path) -> Result<File> {
    let names = [Family::V010.snapshot_file_name(), Family::V09.snapshot_file_name(), GENESIS_STATE_FILE_NAME];
    let found = match path.is_dir() {
        true => names.iter().map(|name| path.join(name)).find(|path| path.is_file()),
        false => Some(path.to_owned()),
    };
    let Some(found) = found else {
        let text = format!("there is no snapshot in {}: none of {}", path.display(), names.join(", "));
        return Err(Error::failed(text).hint(Next::NameWhatIsReused));
    };
    open_regular(&found, &found.display().to_string())
        .map_err(|trouble| Error::failed(trouble.0).hint(Next::NameWhatIsReused))
}

/// Reads the chunks that are lacking of the artifact where they would lie in a file that is equal to it.
fn read_file(
    file: &File,
    contents: &Contents,
    artifact: usize,
    taking: &mut Taking<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    for chunk in contents.chunks_of(artifact) {
        if cancel.is_cancelled() {
            return Err(Error::interrupted("while files of this machine were read")
                .hint("run the same command again: it goes on where it stopped"));
        }
        let Some((artifact, index)) = contents.locate(chunk).filter(|_| taking.is_wanted(chunk)) else { continue };
        let len = contents.chunk_len(chunk);
        let mut data = taking.buffer(len);
        data.resize(len, 0);
        // A file that ends before, or cannot be read there, has no such chunk.
        if file.read_exact_at(&mut data, contents.files()[artifact].layout.offset(index)).is_ok() {
            taking.take(chunk, data)?;
        }
    }
    Ok(())
}
