//! Chunks that no medium gave, made again from parity. What is made counts as everything does: when the manifest's id has proved it.

use std::sync::Arc;

use super::{
    media::Media,
    needed::{ParitySet, ParityVolume},
    taking::Taking,
};
use crate::{
    base::{Error, Progress, Result, task::CancellationToken, text},
    bundle::{
        DataKey, ReadChunks,
        parity::{Members, Need, Take, restore},
        seal,
    },
    manifest::chunk_id,
    store::{Contents, Scratch, Store},
};

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
        let mut sets = self.parity_sets(store.contents(), progress);
        let mut restored = 0;
        for set in sets.iter_mut().filter(|set| set.has_parity()) {
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
        let mut members = OfSet { store, volumes, key, scratch: Scratch::default() };
        let mut take = Proved { contents, key, taking };
        let outcome = restore(set.shape, &set.stripes, &have, &chunk_len, &shard_id, &mut members, &mut take, cancel);
        // Also after a signal: what was made is counted.
        taking.settle()?;
        let outcome = outcome?;
        let (mut spoilt, mut problems) = (Vec::new(), Vec::new());
        for (volume, found) in set.volumes.iter().enumerate() {
            let Some(found) = found else { continue };
            let (bad, is_false) = (&outcome.bad_shards[volume], outcome.false_volumes.contains(&volume));
            let problem = match bad.len() {
                _ if is_false => "its parity is not that of these chunks".to_owned(),
                0 => continue,
                bad => format!("{} of its parity damaged", text::count(bad as u64, "shard")),
            };
            spoilt.push((volume, if is_false { &outcome.incomplete } else { bad }));
            problems.push((found.directory.clone(), problem));
        }
        spoilt.into_iter().for_each(|(volume, stripes)| set.is_bad(volume, stripes));
        problems.into_iter().for_each(|(directory, problem)| self.trouble(&directory, problem, progress));
        if set.need(&taking.have) == Need::Restoring {
            // It was tried, and which of several volumes lies cannot be told.
            (0..set.volumes.len()).for_each(|volume| set.is_bad(volume, &outcome.incomplete));
        }
        Ok(outcome.restored)
    }
}

/// The members of a set's stripes: chunks from the store, which has proved them, and shards from the media.
struct OfSet<'a> {
    store: &'a Store,
    volumes: &'a [Option<ParityVolume>],
    /// Parity is made of chunks as they lie on the media.
    key: Option<&'a DataKey>,
    scratch: Scratch,
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
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.taking.buffer(len)
    }

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
