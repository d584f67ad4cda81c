//! What media carry, as the commands noted it in a directory that wrote them, read some of them, or asked for one: nothing else tells of what
//! is on its way. It is for `status` and for nobody else: a note that is lost or false costs nothing.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    app::status::OnMedia,
    base::{
        Blake3Hash, Result, clock,
        durable::{self, PRIVATE_DIRECTORY_NAME},
        files::read_bounded,
    },
    bundle::{Index, OtherVolume, SetId, label},
    manifest::ChunkSet,
    store::Contents,
};

/// The notes' name in the private directory.
const NOTES_NAME: &str = "media";
/// Bytes of notes that are read.
const NOTES_SIZE_BYTES_MAX: usize = 16 << 20;
/// Volumes that are kept in mind, and ranges of chunks on all of them: the oldest are forgotten first.
const VOLUMES_MAX: usize = 4096;
const RANGES_MAX: usize = 200_000;
/// Labels that `status` lists.
const LABELS_MAX: usize = 64;

/// What is known of media.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    manifest_id: String,
    volumes: Vec<Volume>,
    asked: Option<Asked>,
}

/// A volume that is known.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Volume {
    label: String,
    /// Its export, and its number there.
    set: String,
    number: u32,
    chunks: Vec<Range<u32>>,
    /// When that was noted.
    unix_seconds: u64,
    /// It was written from this directory; otherwise one of its sisters named it.
    is_written_here: bool,
}

/// The last list of what is missing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    chunks: Vec<Range<u32>>,
    unix_seconds: u64,
}

/// A volume, as it is to be noted.
pub(super) struct Known {
    pub(super) set: SetId,
    pub(super) number: u32,
    pub(super) chunks: Vec<Range<u32>>,
}

/// Notes volumes that were written from a directory.
pub(super) fn written(directory: &Path, manifest_id: Blake3Hash, chain_id: &str, volumes: Vec<Known>) {
    change(directory, manifest_id, |notes| notes.add(chain_id, volumes, true));
}

/// Notes the sisters of the volumes that a directory was filled from.
pub(super) fn named<'a>(
    directory: &Path,
    manifest_id: Blake3Hash,
    chain_id: &str,
    indexes: impl Iterator<Item = &'a Index>,
) {
    let sisters = |index: &'a Index| {
        let of_set = |other: &OtherVolume| (index.set, other.number, other.chunks.clone());
        index.others.iter().map(of_set)
    };
    // Each names all others: of many media they are the same again and again.
    let all: BTreeMap<(SetId, u32), Vec<Range<u32>>> =
        indexes.flat_map(sisters).map(|(set, number, chunks)| ((set, number), chunks)).collect();
    let volumes = all.into_iter().map(|((set, number), chunks)| Known { set, number, chunks }).collect();
    change(directory, manifest_id, |notes| notes.add(chain_id, volumes, false));
}

/// Notes that what a directory lacks was asked for.
pub(super) fn asked(directory: &Path, manifest_id: Blake3Hash, lacking: &ChunkSet) {
    let asked = Asked { chunks: lacking.ranges(), unix_seconds: clock::unix_seconds() };
    change(directory, manifest_id, |notes| notes.asked = Some(asked).filter(|asked| !asked.chunks.is_empty()));
}

/// What media carry of these contents, for a directory that has `have`.
pub(in crate::app) fn on_media(directory: &Path, contents: &Contents, have: &ChunkSet) -> OnMedia {
    let notes = read(directory, contents.manifest_id());
    let count = contents.chunk_count();
    let set = |ranges: &[Range<u32>]| {
        let mut set = ChunkSet::empty(count);
        ranges.iter().for_each(|range| set.insert_range(range.start.min(count)..range.end.min(count)));
        set
    };
    let bytes = |set: &ChunkSet| set.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum::<u64>();
    let mut on_media = OnMedia::default();
    let mut coming = ChunkSet::empty(count);
    for volume in &notes.volumes {
        let mut chunks = set(&volume.chunks);
        if volume.is_written_here {
            on_media.written_volumes += 1;
            on_media.written_bytes += bytes(&chunks);
            on_media.written_unix_seconds = on_media.written_unix_seconds.max(Some(volume.unix_seconds));
            on_media.written.push(volume.label.clone());
        }
        chunks.remove_all(have);
        if !chunks.is_empty() {
            coming.insert_all(&chunks);
            on_media.coming.push(volume.label.clone());
        }
    }
    (on_media.coming_chunks, on_media.coming_bytes) = (coming.count(), bytes(&coming));
    if let Some(asked) = &notes.asked {
        let mut chunks = set(&asked.chunks);
        chunks.remove_all(have);
        (on_media.asked_chunks, on_media.asked_bytes) = (chunks.count(), bytes(&chunks));
        on_media.asked_unix_seconds = (!chunks.is_empty()).then_some(asked.unix_seconds);
    }
    // The newest are the ones that may still be on their way.
    for labels in [&mut on_media.written, &mut on_media.coming] {
        labels.drain(..labels.len().saturating_sub(LABELS_MAX));
    }
    on_media
}

/// Whether anything was noted.
pub(in crate::app) fn is_noted(directory: &Path) -> bool {
    directory.join(PRIVATE_DIRECTORY_NAME).join(NOTES_NAME).exists()
}

fn read(directory: &Path, manifest_id: Blake3Hash) -> Notes {
    let path = directory.join(PRIVATE_DIRECTORY_NAME).join(NOTES_NAME);
    let bytes = read_bounded(&path, NOTES_SIZE_BYTES_MAX, "notes on media").unwrap_or_default();
    let notes = serde_json::from_slice(&bytes).ok();
    let manifest_id = manifest_id.to_string();
    let ours = notes.filter(|notes: &Notes| notes.manifest_id == manifest_id);
    ours.unwrap_or_else(|| Notes { manifest_id, ..Notes::default() })
}

/// Changes the notes, if that goes: whoever only writes media from a directory need not be able to write into it. Of two that do at once, one
/// may be forgotten.
fn change(directory: &Path, manifest_id: Blake3Hash, change: impl FnOnce(&mut Notes)) {
    let private = directory.join(PRIVATE_DIRECTORY_NAME);
    if !private.is_dir() {
        return;
    }
    let mut notes = read(directory, manifest_id);
    change(&mut notes);
    notes.bound();
    let write = || -> Result<()> {
        let bytes = serde_json::to_vec(&notes).unwrap_or_default();
        durable::write_atomically(&private.join(NOTES_NAME), &bytes, 0o600)
    };
    if let Err(error) = write() {
        tracing::debug!("what media carry was not noted: {}", error.chain());
    }
}

impl Notes {
    fn add(&mut self, chain_id: &str, volumes: Vec<Known>, is_written_here: bool) {
        for Known { set, number, chunks } in volumes {
            let new = Volume {
                label: label(chain_id, &set, number),
                set: hex::encode(set),
                number,
                chunks,
                unix_seconds: clock::unix_seconds(),
                is_written_here,
            };
            match self.volumes.iter_mut().find(|known| known.set == new.set && known.number == number) {
                // It was known already, and what was written here is still that.
                Some(known) if known.chunks == new.chunks => known.is_written_here |= is_written_here,
                Some(known) => *known = new,
                None => self.volumes.push(new),
            }
        }
    }

    fn bound(&mut self) {
        let mut ranges = 0;
        let keep = self.volumes.iter().rev().take(VOLUMES_MAX).take_while(|volume| {
            ranges += volume.chunks.len();
            ranges <= RANGES_MAX
        });
        let forgotten = self.volumes.len() - keep.count();
        self.volumes.drain(..forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(number: u32, chunks: Vec<Range<u32>>) -> Known {
        Known { set: [7; 8], number, chunks }
    }

    #[test]
    fn notes_are_bounded_and_the_newest_stay() {
        let mut notes = Notes::default();
        let many: Vec<Range<u32>> = (0..RANGES_MAX as u32).map(|n| 2 * n..2 * n + 1).collect();
        notes.add("chain-2", vec![known(1, many), known(2, vec![0..5]), known(3, vec![5..9])], true);
        notes.bound();
        assert_eq!(notes.volumes.iter().map(|volume| volume.number).collect::<Vec<_>>(), [2, 3]);
        notes.add("chain-2", (0..VOLUMES_MAX as u32).map(|n| known(10 + n, vec![0..1])).collect(), false);
        notes.bound();
        assert_eq!((notes.volumes.len(), notes.volumes[0].number), (VOLUMES_MAX, 10));
        assert_eq!(notes.volumes[0].label, "chain-2-0707-10");
    }

    #[test]
    fn what_is_known_twice_is_noted_once() {
        let mut notes = Notes::default();
        notes.add("chain-2", vec![known(1, vec![0..5])], false);
        notes.add("chain-2", vec![known(1, vec![0..5])], true);
        notes.add("chain-2", vec![known(1, vec![0..5])], false);
        assert!(notes.volumes.len() == 1 && notes.volumes[0].is_written_here);
        notes.add("chain-2", vec![known(1, vec![0..9])], false);
        assert_eq!((notes.volumes.len(), &notes.volumes[0].chunks), (1, &vec![0..9]));
    }

    #[test]
    fn notes_that_say_too_much_harm_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let private = directory.path().join(PRIVATE_DIRECTORY_NAME);
        std::fs::create_dir(&private).unwrap();
        let contents = Contents::new(Blake3Hash::from_bytes([3; 32]), Vec::new());
        for text in ["", "{}", "null", "{\"manifest_id\":\"x\",\"volumes\":[],\"asked\":null}"] {
            std::fs::write(private.join(NOTES_NAME), text).unwrap();
            assert_eq!(on_media(directory.path(), &contents, &ChunkSet::empty(0)), OnMedia::default());
        }
        named(directory.path(), contents.manifest_id(), "chain-2", std::iter::empty());
        asked(directory.path(), contents.manifest_id(), &ChunkSet::full(9));
        let found = on_media(directory.path(), &contents, &ChunkSet::empty(0));
        assert_eq!((found.asked_chunks, found.asked_unix_seconds), (0, None), "there is no such chunk");
    }
}
