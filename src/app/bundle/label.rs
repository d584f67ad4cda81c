//! What a courier is given on paper: which migration the media are of, and which volume holds what.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::{media::Media, words_of};
use crate::{
    app::{node, state::StateDirectory},
    base::{Blake3Hash, Progress, Result},
    bundle::{OtherVolume, SetId, Unseal, label},
    manifest::TrustPolicy,
};

/// What stands on the sheet.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// The new network.
    pub chain_id: String,
    /// The manifest.
    pub manifest_id: Blake3Hash,
    /// Its six words.
    pub words: String,
    /// Who signed it.
    pub lead: String,
    /// Every volume that is known, by set and number.
    pub volumes: Vec<SheetVolume>,
    /// So many of them have parity: as many of all may be lost. None where the media are of several exports.
    pub parity: usize,
}

/// One volume on the sheet.
#[derive(Debug, Clone, Serialize)]
pub struct SheetVolume {
    /// Its label.
    pub label: String,
    /// Chunks on it.
    pub chunks: u32,
    /// Bytes of them.
    pub bytes: u64,
    /// It has parity, and no chunks.
    pub parity: bool,
    /// Where it is now, if it was among the media that were looked at.
    pub directory: Option<PathBuf>,
}

/// Looks at media and says what belongs on their courier's sheet. No chunk is read.
///
/// # Errors
/// When no medium has a manifest that can be used.
pub fn sheet(
    from: &[PathBuf],
    trust: Option<&TrustPolicy>,
    keys: &Unseal,
    state: &StateDirectory,
    progress: &Progress,
) -> Result<Sheet> {
    let mut media = Media::look(from, None, trust, keys, state)?;
    let manifest = media.signed.manifest.clone();
    let contents = node::contents(&manifest, false);
    media.judge(&contents, progress);
    let chain_id = &manifest.manifest().network.new_chain_id;
    let mut volumes: BTreeMap<(SetId, u32), SheetVolume> = BTreeMap::new();
    for seen in media.seen.iter().filter(|seen| seen.report.refused.is_none()) {
        let Some(index) = seen.volume.as_ref().map(|volume| &volume.index) else { continue };
        let own = OtherVolume { number: index.number, chunks: index.chunks(contents.chunk_count()).ranges() };
        for (volume, directory) in
            index.others.iter().map(|other| (other, None)).chain([(&own, Some(&seen.report.directory))])
        {
            let chunks = || volume.chunks.iter().cloned().flatten();
            let entry = volumes.entry((index.set, volume.number)).or_insert_with(|| SheetVolume {
                label: label(chain_id, &index.set, volume.number),
                chunks: chunks().count().try_into().unwrap_or(u32::MAX),
                bytes: chunks().map(|chunk| contents.chunk_len(chunk) as u64).sum(),
                parity: volume.chunks.is_empty(),
                directory: None,
            });
            entry.directory = entry.directory.take().or(directory.cloned());
        }
    }
    let one_set = volumes.keys().all(|(set, _)| volumes.keys().next().is_some_and(|(first, _)| first == set));
    let parity = volumes.values().filter(|volume| volume.parity && one_set).count();
    Ok(Sheet {
        chain_id: chain_id.clone(),
        manifest_id: manifest.id(),
        words: words_of(&manifest),
        lead: manifest.manifest().trust.lead.to_string(),
        volumes: volumes.into_values().collect(),
        parity,
    })
}
