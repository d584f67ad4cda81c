//! Chunks that no medium gave, made again from parity. What is made counts as everything does: when the manifest's id has proved it.

use std::{path::PathBuf, sync::Arc};

use super::{
    media::{Media, Seen},
    taking::Taking,
};
use crate::{
    base::{Error, Progress, Result, task::CancellationToken, text},
    bundle::{
        DataKey, ReadChunks, SetId, ShardReader, Volume, label,
        parity::{Members, Need, ParityIndex, Shape, ShardFiles, Stripes, Take, Volumes, need, restore},
        plan::DATA_FILE_SIZE_BYTES_MAX,
        seal,
    },
    manifest::{ChunkSet, chunk_id},
    store::{Contents, Store},
};

/// What is still needed so that everything is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StillNeeded {
    /// Labels of volumes that help.
    pub(super) labels: Vec<String>,
    /// So many of them suffice, whichever they are; `None`: all are needed.
    pub(super) any: Option<usize>,
    /// Chunks that no volume holds that is known.
    pub(super) unknown: u32,
}

/// A set of volumes of which one with parity is at hand.
pub(super) struct ParitySet {
    pub(super) set: SetId,
    shape: Shape,
    stripes: Stripes,
    at_hand: Volumes,
    /// By their numbers among those with parity.
    volumes: Vec<Option<ParityVolume>>,
}

struct ParityVolume {
    index: ParityIndex,
    shards: ShardReader,
    /// What the set is encrypted with.
    key: Option<DataKey>,
    directory: PathBuf,
}

impl ParitySet {
    /// The sets of these media, by what their volumes with parity say; what is wrong with one of those is said in its report.
    fn find(seen: &mut [Seen], contents: &Contents, progress: &Progress) -> Vec<ParitySet> {
        let mut sets: Vec<ParitySet> = Vec::new();
        for medium in seen.iter_mut().filter(|medium| medium.report.refused.is_none()) {
            let Some(volume) = &medium.volume else { continue };
            let found = parity_of(volume, contents).and_then(|parity| match parity {
                Some((index, shape, stripes)) => {
                    add(&mut sets, &medium.report.directory, volume, index, shape, stripes, contents)
                }
                None => Ok(()),
            });
            if let Err(problem) = found {
                progress.warning(format!("{}: {problem}", medium.report.directory.display()));
                medium.report.troubles.push(problem);
            }
        }
        for set in &mut sets {
            for index in
                seen.iter().filter(|s| s.report.refused.is_none()).filter_map(|s| Some(&s.volume.as_ref()?.index))
            {
                let number = index.number as usize;
                if index.set == set.set && (1..=set.shape.data()).contains(&number) {
                    set.at_hand.data[number - 1] = true;
                }
            }
        }
        sets
    }

    /// What completes the set.
    fn need(&self, have: &ChunkSet) -> Need {
        need(self.shape, &self.stripes, have, &self.at_hand)
    }
}

/// What a volume says of its parity, if it can be so.
fn parity_of(
    volume: &Volume,
    contents: &Contents,
) -> std::result::Result<Option<(ParityIndex, Shape, Stripes)>, String> {
    let Some(index) = volume.parity().map_err(|trouble| trouble.0)? else { return Ok(None) };
    let (shape, stripes) =
        index.check(&contents.manifest_id(), contents.chunk_count()).map_err(|e| format!("its parity: {e}"))?;
    let number = shape.data() + index.parity_number + 1;
    if index.set != volume.index.set || volume.index.number as usize != number {
        return Err("its parity is that of another volume".to_owned());
    }
    Ok(Some((index, shape, stripes)))
}

/// The shards of a volume with parity, and its index.
pub(super) fn shards_of(
    volume: &Volume,
    contents: &Contents,
) -> std::result::Result<Option<(ParityIndex, Stripes, ShardReader)>, String> {
    let Some((index, _, stripes)) = parity_of(volume, contents)? else { return Ok(None) };
    let files = ShardFiles::new(&stripes, &|chunk| contents.chunk_len(chunk), DATA_FILE_SIZE_BYTES_MAX);
    let shards = volume.shards(files);
    Ok(Some((index, stripes, shards)))
}

fn add(
    sets: &mut Vec<ParitySet>,
    directory: &std::path::Path,
    volume: &Volume,
    index: ParityIndex,
    shape: Shape,
    stripes: Stripes,
    contents: &Contents,
) -> std::result::Result<(), String> {
    let files = ShardFiles::new(&stripes, &|chunk| contents.chunk_len(chunk), DATA_FILE_SIZE_BYTES_MAX);
    let number = index.parity_number;
    let key = volume.medium().key().cloned();
    let found = ParityVolume { shards: volume.shards(files), key, directory: directory.to_owned(), index };
    let at = match sets.iter().position(|set| set.set == found.index.set) {
        Some(at) => at,
        None => {
            sets.push(ParitySet {
                set: found.index.set,
                shape,
                at_hand: Volumes { data: vec![false; shape.data()], parity: vec![None; shape.parity()] },
                volumes: (0..shape.parity()).map(|_| None).collect(),
                stripes,
            });
            sets.len() - 1
        }
    };
    let set = &mut sets[at];
    let first = set.volumes.iter().flatten().next();
    if first.is_some_and(|first| !first.index.is_of_one_set(&found.index) || first.key != found.key) {
        return Err("its parity says otherwise what the set holds than another volume does".to_owned());
    }
    // A second one with the same number is the same, or a liar: one is enough to find that out.
    if set.volumes[number].is_none() {
        set.at_hand.parity[number] = Some(ChunkSet::empty(set.stripes.count()));
        set.volumes[number] = Some(found);
    }
    Ok(())
}

impl Media {
    /// Makes what is still lacking from parity, as far as it goes; gives how many chunks that were.
    ///
    /// # Errors
    /// When the directory fails; interrupted by a signal.
    pub(super) fn restore(
        &mut self,
        taking: &mut Taking<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<u32> {
        let store = taking.store();
        let mut sets = ParitySet::find(&mut self.seen, store.contents(), progress);
        let mut restored = 0;
        for set in &mut sets {
            if !taking.have.is_full() {
                restored += self.restore_set(set, &store, taking, progress, cancel)?;
            }
        }
        self.sets = sets;
        Ok(restored)
    }

    fn restore_set(
        &mut self,
        set: &mut ParitySet,
        store: &Arc<Store>,
        taking: &mut Taking<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<u32> {
        let have = taking.have.clone();
        match set.need(&have) {
            Need::Nothing => return Ok(0),
            Need::Restoring => progress.note("parity suffices: what the media did not give is made from it"),
            Need::Volumes { .. } | Need::Anew { .. } => {
                progress.note("parity does not suffice yet: what it gives is made from it")
            }
        }
        progress.step("making chunks from parity");
        taking.begin(have.len());
        let contents = store.contents();
        let chunk_len = |chunk| contents.chunk_len(chunk);
        let volumes = &set.volumes;
        let shard_id =
            |volume: usize, stripe: u32| volumes[volume].as_ref()?.index.shard_ids.get(stripe as usize).copied();
        let key = volumes.iter().flatten().next().and_then(|volume| volume.key.as_ref());
        let mut members = OfSet { store, volumes, key, scratch: Vec::new() };
        let mut take = Proved { contents, key, taking };
        let outcome = restore(set.shape, &set.stripes, &have, &chunk_len, &shard_id, &mut members, &mut take, cancel);
        // Also after a signal: what was made is counted.
        taking.settle()?;
        let outcome = outcome?;
        for (volume, found) in set.volumes.iter().enumerate() {
            let Some(found) = found else { continue };
            let problem = match (outcome.bad_shards[volume], outcome.false_volumes.contains(&volume)) {
                (_, true) => "its parity is not that of these chunks".to_owned(),
                (0, false) => continue,
                (bad, false) => format!("{} of its parity damaged", text::count(bad.into(), "shard")),
            };
            if let (Some(bad), true) = (&mut set.at_hand.parity[volume], outcome.bad_shards[volume] > 0) {
                outcome.incomplete.iter().for_each(|stripe| _ = bad.insert(*stripe));
            }
            progress.warning(format!("{}: {problem}", found.directory.display()));
            if let Some(seen) = self.seen.iter_mut().find(|seen| seen.report.directory == found.directory) {
                seen.report.troubles.push(problem);
            }
        }
        Ok(outcome.restored)
    }

    /// What is still needed of the sets whose parity is at hand: the chunks that this speaks of leave `unknown`.
    pub(super) fn needed_with_parity(&self, have: &ChunkSet, unknown: &mut ChunkSet) -> (Vec<SetId>, StillNeeded) {
        let chain_id = &self.signed.manifest.manifest().network.new_chain_id;
        let mut needed = StillNeeded::default();
        let mut open = 0;
        for set in &self.sets {
            let (any, of) = match set.need(have) {
                Need::Nothing | Need::Restoring => continue,
                Need::Volumes { any, of } => (Some(any), of),
                Need::Anew { volumes } => (None, volumes),
            };
            let there: Vec<u32> = unknown.iter().filter(|chunk| set.stripes.place(*chunk).is_some()).collect();
            there.into_iter().for_each(|chunk| _ = unknown.remove(chunk));
            open += 1;
            needed.any = any.filter(|any| open == 1 && *any < of.len());
            needed.labels.extend(of.iter().map(|number| label(chain_id, &set.set, *number as u32 + 1)));
        }
        (self.sets.iter().map(|set| set.set).collect(), needed)
    }
}

/// The members of a set's stripes: chunks from the store, which has proved them, and shards from the media.
struct OfSet<'a> {
    store: &'a Store,
    volumes: &'a [Option<ParityVolume>],
    /// Parity is made of chunks as they lie on the media.
    key: Option<&'a DataKey>,
    scratch: Vec<u8>,
}

impl Members for OfSet<'_> {
    fn chunk(&mut self, chunk: u32, at: usize, into: &mut [u8]) -> Result<()> {
        self.store.read_part(chunk, at, into, &mut self.scratch)?;
        seal::apply(self.key, chunk, at, into);
        Ok(())
    }

    fn shard(&mut self, volume: usize, stripe: u32, at: usize, into: &mut [u8]) -> Result<()> {
        match &self.volumes[volume] {
            Some(volume) => volume.shards.read(stripe, at, into),
            None => Err(Error::failed("the volume is not at hand")),
        }
    }
}

/// Gives the store what the manifest's id has proved.
struct Proved<'a, 'b> {
    contents: &'a Contents,
    key: Option<&'a DataKey>,
    taking: &'a mut Taking<'b>,
}

impl Take for Proved<'_, '_> {
    fn chunk(&mut self, chunk: u32, mut data: Vec<u8>) -> Result<bool> {
        seal::apply(self.key, chunk, 0, &mut data);
        let Some((artifact, index)) = self.contents.locate(chunk) else { return Ok(false) };
        let layout = &self.contents.files()[artifact].layout;
        if data.len() != layout.len(index) || chunk_id(layout, index, &data) != *self.contents.chunk_id(artifact, index)
        {
            return Ok(false);
        }
        self.taking.take(chunk, data)?;
        Ok(true)
    }
}
