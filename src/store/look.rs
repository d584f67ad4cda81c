//! What a directory holds of some files as far as names, sizes and the journal tell: nothing is hashed, nothing changed, no lock taken.

use std::{fs, path::Path};

use super::{Contents, JOURNAL_NAME, journal};
use crate::{
    base::{
        durable::{self, PRIVATE_DIRECTORY_NAME},
        files::read_bounded,
    },
    manifest::ChunkSet,
};

/// Bytes of a journal that are read: of a file in the largest chunks, each written and synced many times over.
const JOURNAL_SIZE_BYTES_MAX: usize = 64 << 20;

/// What is there of the files, if nobody has changed them since.
#[must_use]
pub fn look(directory: &Path, contents: &Contents) -> ChunkSet {
    let mut have = ChunkSet::empty(contents.chunk_count());
    let journal = directory.join(PRIVATE_DIRECTORY_NAME).join(JOURNAL_NAME);
    let bytes = read_bounded(&journal, JOURNAL_SIZE_BYTES_MAX, "journal").unwrap_or_default();
    let entries = journal::read(&bytes, &contents.manifest_id(), contents.chunk_count());
    for (artifact, file) in contents.files().iter().enumerate() {
        let path = directory.join(&file.name);
        let chunks = contents.chunks_of(artifact);
        if fs::metadata(&path).is_ok_and(|data| data.len() == file.layout.size_bytes()) {
            have.insert_range(chunks);
        } else if let (Some(entries), true) = (&entries, durable::part_path(&path).exists()) {
            let known = chunks.filter(|chunk| entries.synced.contains(*chunk) || entries.written.contains(*chunk));
            known.for_each(|chunk| _ = have.insert(chunk));
        }
    }
    have
}
