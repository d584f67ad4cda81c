//! Parity beside the data of an export: the last directories that were named become volumes with which as many of all may be lost.

use std::{ops::Range, path::Path, sync::atomic::Ordering};

use super::{ExportedVolume, Exporting, Place, Planned};
use crate::{
    base::{Blake3Hash, Error, Result, limits, text},
    bundle::{
        DataKey, Index, OtherVolume, Paper, ShardWriter, VolumeWriter, label,
        parity::{Members, ParityIndex, Shape, ShardFiles, ShardSink, Stripes, cost, make},
        plan::{self, DATA_FILE_SIZE_BYTES_MAX, Room},
        seal,
    },
    manifest::ChunkSet,
    store::{Scratch, Store},
};

/// Bytes a second that the words on time reckon with: what a common USB stick writes.
const STICK_BYTES_PER_SECOND: u64 = 30_000_000;
/// What a common disk reads.
const DISK_BYTES_PER_SECOND: u64 = 150_000_000;

/// The volumes with parity that are to be made.
pub(super) struct ParityPlan {
    shape: Shape,
    stripes: Stripes,
    data: Vec<Vec<Range<u32>>>,
    volumes: Vec<Planned>,
}

impl ParityPlan {
    /// The volumes with parity.
    pub(super) fn volumes(&self) -> &[Planned] {
        &self.volumes
    }
}

impl Exporting<'_> {
    /// The volumes with data and those with parity. A set that was begun stays as it was planned.
    pub(super) fn plan_with_parity(&mut self, present: &ChunkSet, parity: usize) -> Result<(Vec<Planned>, ParityPlan)> {
        let directories = self.directories()?;
        let refuse = |e: &dyn std::fmt::Display| {
            Error::usage(e.to_string())
                .hint("name a directory for each volume: first those for data, then one for each of parity")
        };
        let shape = Shape::new(directories.len().saturating_sub(parity), parity).map_err(|e| refuse(&e))?;
        for (directory, begun) in &directories {
            if let Some((index, _)) = begun {
                self.adopt(directory, index)?;
            }
        }
        if self.set.is_none() {
            self.volumes = self.deal_evenly(&directories, shape, present)?;
            self.new_set()?;
        }
        let is_data = |volume: &&OtherVolume| !volume.chunks.is_empty();
        let data: Vec<Vec<Range<u32>>> = self.volumes.iter().filter(is_data).map(|v| v.chunks.clone()).collect();
        let are_numbered = self
            .volumes
            .iter()
            .zip(1..)
            .all(|(v, n)| v.number == n && v.chunks.is_empty() == (n > shape.data() as u32));
        if data.len() != shape.data() || self.volumes.len() != directories.len() || !are_numbered {
            return Err(Error::refused("the media hold an export with other numbers of volumes")
                .hint("give as many directories and as much parity as before, or empty media"));
        }
        let stripes = Stripes::new(&data, present.len()).map_err(|e| refuse(&e))?;
        let mut planned = self.assign(directories);
        let volumes = planned.split_off(shape.data());
        self.check_cost(shape, &stripes, &volumes, present)?;
        Ok((planned, ParityPlan { shape, stripes, data, volumes }))
    }

    /// As many bytes on each volume with data as on the others, where there is room for that.
    fn deal_evenly(&self, directories: &[Place], shape: Shape, present: &ChunkSet) -> Result<Vec<OtherVolume>> {
        let free = directories.iter().take(shape.data()).map(|(directory, _)| self.room(directory, present));
        let rooms = free.collect::<Result<Vec<_>>>()?;
        let contents = self.store.contents();
        let each = self.bytes_of(present).div_ceil(shape.data() as u64) + contents.chunk_size_bytes();
        let even: Vec<Room> =
            rooms.iter().map(|room| Room { bytes: room.bytes.min(each + 4 * room.cluster_bytes), ..*room }).collect();
        let (mut dealt, mut left) = plan::deal(contents, present, &even);
        if !left.is_empty() {
            (dealt, left) = plan::deal(contents, present, &rooms);
        }
        if !left.is_empty() {
            let what = format!("the media for data are full: {} find no room", text::bytes(self.bytes_of(&left)));
            return Err(Error::failed(what).hint("name more or larger ones: parity is made over all of them"));
        }
        if dealt.iter().any(ChunkSet::is_empty) {
            return Err(Error::usage("there are more media for data than there is data").hint("name fewer"));
        }
        let data = dealt.iter().map(ChunkSet::ranges);
        let all = data.chain(std::iter::repeat_n(Vec::new(), shape.parity()));
        Ok(all.zip(1..).map(|(chunks, number)| OtherVolume { number, chunks }).collect())
    }

    /// Gives each directory its volume: those that were begun keep theirs, the others get the rest in order. In order of numbers.
    fn assign(&self, directories: Vec<Place>) -> Vec<Planned> {
        let begun: Vec<u32> =
            directories.iter().filter_map(|(_, begun)| begun.as_ref().map(|(i, _)| i.number)).collect();
        let mut rest = self.volumes.iter().filter(|v| !begun.contains(&v.number));
        let mut planned: Vec<Planned> = directories
            .into_iter()
            .filter_map(|(directory, begun)| match begun {
                Some((index, complete)) => Some(Planned { directory, index, complete }),
                None => rest.next().map(|volume| Planned { directory, index: self.index_of(volume), complete: false }),
            })
            .collect();
        planned.sort_by_key(|planned| planned.index.number);
        planned
    }

    /// Says what parity costs before anything is written, and that there is room for it.
    fn check_cost(&self, shape: Shape, stripes: &Stripes, volumes: &[Planned], present: &ChunkSet) -> Result<()> {
        let cost = cost(shape, stripes, &|chunk| self.store.contents().chunk_len(chunk));
        let seconds = cost.seconds(DISK_BYTES_PER_SECOND, STICK_BYTES_PER_SECOND);
        self.progress.note(format!(
            "parity: {} of {} each; any {} of all {} may be lost. {} are read once more for that; on common USB sticks it takes {}",
            text::count(shape.parity() as u64, "volume"),
            text::bytes(cost.volume_bytes),
            shape.parity(),
            shape.data() + shape.parity(),
            text::bytes(cost.read_bytes),
            text::about(seconds.max(1)),
        ));
        for planned in volumes.iter().filter(|planned| !planned.complete) {
            // Its ids stand in a record, too, as long as it is made.
            let ids = stripes.count() as u64 * (33 + 32)
                + (limits::SET_RANGES_MAX as u64).min(1024 + 16 * present.ranges().len() as u64);
            let needed = cost.volume_bytes + ids;
            if self.room(&planned.directory, present)?.bytes < needed {
                let at = planned.directory.display();
                let what = format!(
                    "{at} has no room for parity: it takes {}, as much as the largest volume",
                    text::bytes(needed)
                );
                return Err(
                    Error::failed(what).hint("use a larger medium, or more media for data, so that each holds less")
                );
            }
        }
        Ok(())
    }

    /// Makes the volumes with parity. One that fails does not keep the others from becoming whole.
    pub(super) fn write_parity(&self, plan: &ParityPlan) -> Result<Vec<ExportedVolume>> {
        let contents = self.store.contents();
        let chunk_len = |chunk| contents.chunk_len(chunk);
        let files = ShardFiles::new(&plan.stripes, &chunk_len, DATA_FILE_SIZE_BYTES_MAX);
        let volume_bytes: u64 = files.sizes().sum();
        let papers: Vec<Vec<Paper>> =
            plan.volumes.iter().map(|planned| self.papers_of(&planned.index, Some(&files))).collect();
        let open: Vec<usize> = (0..plan.volumes.len()).filter(|at| !plan.volumes[*at].complete).collect();
        let total = volume_bytes * open.len() as u64;
        self.done.store(0, Ordering::Relaxed);
        let told = |bytes| {
            let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            self.progress.bytes("parity", done, Some(total), "");
        };
        let mut sink = Writers { writers: (0..plan.volumes.len()).map(|_| None).collect(), failed: None };
        let mut kept_bytes: Vec<u64> = plan.volumes.iter().map(|p| if p.complete { volume_bytes } else { 0 }).collect();
        for at in &open {
            let Planned { directory, index, .. } = &plan.volumes[*at];
            let volume = VolumeWriter {
                directory,
                index,
                store: self.store,
                key: self.key(),
                papers: &papers[*at],
                told: &told,
                cancel: self.cancel,
            };
            match ShardWriter::begin(volume, &files) {
                Ok(writer) => {
                    kept_bytes[*at] = writer.kept_bytes();
                    sink.writers[*at] = Some(writer);
                }
                Err(error) if self.cancel.is_cancelled() => return Err(error),
                Err(error) => sink.fail(error),
            }
        }
        if sink.is_needed() {
            let mut members = FromStore { store: self.store, key: self.key(), scratch: Scratch::default() };
            make(plan.shape, &plan.stripes, sink.first(), &chunk_len, &mut members, &mut sink, self.cancel)?;
        }
        for at in open {
            let Some(writer) = sink.writers[at].take() else { continue };
            let Planned { directory, index, .. } = &plan.volumes[at];
            let parity = ParityIndex {
                manifest_id: self.signed.id(),
                set: index.set,
                data: plan.data.clone(),
                parity_count: plan.shape.parity(),
                parity_number: at,
                shard_ids: Vec::new(),
            };
            match writer.end(parity) {
                Ok(()) => self.tell_whole(index, directory),
                Err(error) => sink.fail(error),
            }
        }
        self.progress.done("parity");
        if let Some(error) = sink.failed {
            return Err(error);
        }
        let exported = |(planned, kept_bytes): (&Planned, u64)| ExportedVolume {
            label: label(self.chain_id, &planned.index.set, planned.index.number),
            directory: planned.directory.clone(),
            chunks: 0,
            bytes: volume_bytes,
            kept_bytes,
            parity: true,
        };
        Ok(plan.volumes.iter().zip(kept_bytes).map(exported).collect())
    }

    fn tell_whole(&self, index: &Index, directory: &Path) {
        self.progress.note(format!(
            "{} is whole, and was read back from {}: it is safe to unmount and pull this medium",
            label(self.chain_id, &index.set, index.number),
            directory.display()
        ));
    }
}

/// The data that parity is made of.
struct FromStore<'a> {
    store: &'a Store,
    /// It is made of chunks as they lie on the media.
    key: Option<&'a DataKey>,
    scratch: Scratch,
}

impl Members for FromStore<'_> {
    fn chunk(&mut self, chunk: u32, at: usize, into: &mut [u8]) -> Result<()> {
        self.store.read_part(chunk, at, into, &mut self.scratch)?;
        seal::apply(self.key, chunk, at, into);
        Ok(())
    }

    fn shard(&mut self, _volume: usize, _stripe: u32, _at: usize, _into: &mut [u8]) -> Result<()> {
        Err(Error::failed("parity is not made of parity"))
    }
}

/// The volumes that are made; none for one that is whole, or that failed.
struct Writers<'a> {
    writers: Vec<Option<ShardWriter<'a>>>,
    failed: Option<Error>,
}

impl Writers<'_> {
    /// The first stripe that a volume lacks.
    fn first(&self) -> u32 {
        self.writers.iter().flatten().map(ShardWriter::kept_stripes).min().unwrap_or_default()
    }

    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    fn is_needed(&self) -> bool {
        self.writers.iter().any(Option::is_some)
    }
}

impl ShardSink for Writers<'_> {
    fn piece(&mut self, volume: usize, stripe: u32, _at: usize, bytes: &[u8]) -> Result<()> {
        let written = self.writers[volume].as_mut().map_or(Ok(()), |writer| writer.piece(stripe, bytes));
        if let Err(error) = written {
            self.writers[volume] = None;
            self.fail(error);
        }
        Ok(())
    }

    fn stripe(&mut self, stripe: u32, ids: &[Blake3Hash]) -> Result<()> {
        for (volume, id) in ids.iter().enumerate() {
            let noted = self.writers[volume].as_mut().map_or(Ok(()), |writer| writer.stripe(stripe, *id));
            if let Err(error) = noted {
                self.writers[volume] = None;
                self.fail(error);
            }
        }
        match (&self.failed, self.is_needed()) {
            // Nobody is left to write to.
            (Some(_), false) => Err(self.failed.take().unwrap_or_else(|| Error::failed("no medium is left"))),
            _ => Ok(()),
        }
    }
}
