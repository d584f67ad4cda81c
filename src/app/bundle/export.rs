//! A directory onto media: what is there of it, checked chunk by chunk while it is read.

mod carried;
mod facts;
mod parity;
mod sealed;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use rand::TryRngCore;

pub use self::facts::{Ask, Exported, ExportedVolume, FileFacts, NextMedium, VolumeFacts};
use self::{carried::carried, parity::ParityPlan};
use super::{
    in_place, lead_itself,
    missing::read_missing,
    noted::{self, Known},
    words_of,
};
use crate::{
    app::{
        fetch::{read_manifest, require_directory},
        node,
        state::StateDirectory,
    },
    base::{
        Context, Error, Next, Progress, Result, clock,
        durable::{self},
        limits,
        task::CancellationToken,
        text,
    },
    bundle::{
        self, DataKey, Index, OtherVolume, Paper, SealTo, SetId, VolumeWriter, Written, label,
        parity::ShardFiles,
        plan::{self, DATA_FILE_SIZE_BYTES_MAX, Room},
    },
    manifest::{ArtifactName, ChunkSet, MANIFEST_FILE_NAME, SignedManifest, VerifyError},
    store::Store,
};

/// Small files of a volume, and what a file system may take for its own names.
const SMALL_FILES: u64 = 16;
/// Bytes of words and lists of hashes on a volume, at most.
const WORDS_BYTES: u64 = 64 << 10;

/// Volumes that are written at the same time: each takes a megabyte of memory, and three threads.
const AT_ONCE_MAX: usize = 32;

/// What is exported, and where to.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// What was published or fetched, or is being fetched.
    pub directory: PathBuf,
    /// The directories of the media.
    pub to: Vec<PathBuf>,
    /// Bytes that a volume may take; `None`: what is free.
    pub volume_bytes: Option<u64>,
    /// So many of the directories, the last ones, become volumes with parity; as many of all may be lost then.
    pub parity: usize,
    /// Only what this list names of what is missing on the other side: its name and its bytes.
    pub missing: Option<(String, Vec<u8>)>,
    /// Who can read the media; `None`: whoever has them.
    pub seal: Option<SealTo>,
    /// The swarm's secret goes with it: whoever holds the medium may enter the swarm.
    pub with_secret: bool,
    /// What is known of the network's manifests, which goes with it.
    pub state: StateDirectory,
}

/// Writes what a directory has onto media. What an earlier run wrote is kept.
///
/// # Errors
/// When a directory cannot be used, a medium fails, or a chunk is not what was signed. The other media are written all the same.
pub fn export(
    options: &ExportOptions,
    words: &(dyn Fn(&VolumeFacts) -> Vec<Paper> + Sync),
    ask: Option<Ask<'_>>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Exported> {
    let began = clock::now();
    require_directory(&options.directory)?;
    let bytes = read_manifest(&options.directory.join(MANIFEST_FILE_NAME)).map_err(|e| e.hint(Next::SignDirectory))?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    let manifest = options.state.verify(&bytes, &lead_itself(&signed), clock::unix_seconds())?;
    let contents = node::contents(&manifest, node::is_root(&options.directory));
    let lent = in_place::lent(&options.directory, &contents)?;
    let (store, maybe) = Store::open_reading(&options.directory, contents, lent)?;
    let mut present = present(&store, maybe, progress, cancel)?;
    let absent_chunks = present.len() - present.count();
    if let Some((name, bytes)) = &options.missing {
        let mut here = present.clone();
        here.remove_all(&read_missing(name, bytes, store.contents())?);
        present.remove_all(&here);
        if present.is_empty() {
            return Err(Error::failed(format!("this directory has nothing of what {name} lacks"))
                .hint("look whether the list says that something is missing, and whether another directory has it"));
        }
    }
    let mut exporting = Exporting {
        options,
        words,
        store: &store,
        chain_id: &signed.manifest().network.new_chain_id,
        phrase: words_of(&manifest),
        signed: &signed,
        carried: carried(options, &manifest)?,
        sealed: None,
        set: None,
        volumes: Vec::new(),
        done: AtomicU64::new(0),
        progress,
        cancel,
    };
    let (planned, unused, left, parity) = match options.parity {
        0 => {
            let (planned, unused, left) = exporting.plan(&present)?;
            (planned, unused, left, None)
        }
        count => {
            let (planned, parity) = exporting.plan_with_parity(&present, count)?;
            (planned, Vec::new(), ChunkSet::empty(present.len()), Some(parity))
        }
    };
    exporting.check_keys(planned.iter().chain(parity.iter().flat_map(ParityPlan::volumes)))?;
    let mut exported = exporting.write_all(&planned)?;
    if let Some(parity) = parity {
        exported.extend(exporting.write_parity(&parity)?);
    }
    let left = match ask {
        Some(ask) if !left.is_empty() => exporting.ask_for_more(left, ask, &mut exported)?,
        _ => left,
    };
    exporting.note(&exported);
    progress.done("export");
    Ok(Exported {
        manifest_id: signed.id(),
        chain_id: exporting.chain_id.to_owned(),
        words: exporting.phrase.clone(),
        volumes: exported,
        unused,
        absent_chunks,
        left_chunks: left.count(),
        left_bytes: exporting.bytes_of(&left),
        with_secret: options.with_secret,
        encrypted: exporting.sealed.is_some(),
        seconds: clock::now().duration_since(began).as_secs_f64(),
    })
}

/// The chunks that are there. Of a complete directory that shows while it is exported; otherwise they are looked at first, so that
/// no volume promises what is not there.
fn present(store: &Store, maybe: ChunkSet, progress: &Progress, cancel: &CancellationToken) -> Result<ChunkSet> {
    if maybe.is_full() {
        return Ok(maybe);
    }
    progress.step("looking at what is there already");
    let total = maybe.iter().map(|chunk| store.contents().chunk_len(chunk) as u64).sum();
    let (mut present, mut data, mut done) = (ChunkSet::empty(maybe.len()), Vec::new(), 0);
    for chunk in maybe.iter() {
        if cancel.is_cancelled() {
            return Err(Error::interrupted("while files were checked").hint("run the same command again"));
        }
        if store.read_into(chunk, &mut data).is_ok() {
            present.insert(chunk);
            // It is looked at again when it is written.
            store.doubt(chunk);
        }
        done += store.contents().chunk_len(chunk) as u64;
        progress.bytes("check", done, Some(total), "");
    }
    progress.done("check");
    if present.is_empty() {
        return Err(Error::failed("nothing of what the manifest describes is in this directory")
            .hint("name the one that was published, fetched, imported or joined into"));
    }
    Ok(present)
}

/// A medium's directory, and the index of what was begun there and whether that is complete.
type Place = (PathBuf, Option<(Index, bool)>);

/// A volume that is to be written.
struct Planned {
    directory: PathBuf,
    index: Index,
    complete: bool,
}

struct Exporting<'a> {
    options: &'a ExportOptions,
    words: &'a (dyn Fn(&VolumeFacts) -> Vec<Paper> + Sync),
    store: &'a Store,
    signed: &'a SignedManifest,
    chain_id: &'a str,
    phrase: String,
    carried: Vec<Paper>,
    /// The key of the chunks, and what is sealed with it; once the set is known, where media are encrypted.
    sealed: Option<(DataKey, Paper)>,
    set: Option<SetId>,
    /// All of the set that are known.
    volumes: Vec<OtherVolume>,
    done: AtomicU64,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Exporting<'_> {
    fn bytes_of(&self, chunks: &ChunkSet) -> u64 {
        chunks.iter().map(|chunk| self.store.contents().chunk_len(chunk) as u64).sum()
    }

    /// Notes in the directory what was written from it.
    fn note(&self, exported: &[ExportedVolume]) {
        let set = self.set.unwrap_or_default();
        let is_written = |v: &&OtherVolume| exported.iter().any(|e| e.label == label(self.chain_id, &set, v.number));
        let known = |v: &OtherVolume| Known { set, number: v.number, chunks: v.chunks.clone() };
        let volumes = self.volumes.iter().filter(is_written).map(known).collect();
        noted::written(&self.options.directory, self.signed.id(), self.chain_id, volumes);
    }

    /// Which chunks go where: volumes that were begun stay as they are, the rest is dealt out to the others. Gives the volumes,
    /// the directories that get nothing, and what finds no room.
    fn plan(&mut self, present: &ChunkSet) -> Result<(Vec<Planned>, Vec<PathBuf>, ChunkSet)> {
        let mut left = present.clone();
        let (mut planned, mut free) = (Vec::new(), Vec::new());
        for (directory, begun) in self.directories()? {
            match begun {
                Some((index, complete)) => {
                    self.adopt(&directory, &index)?;
                    left.remove_all(&index.chunks(present.len()));
                    planned.push(Planned { directory, index, complete });
                }
                None => free.push(directory),
            }
        }
        let rooms = free.iter().map(|directory| self.room(directory, present)).collect::<Result<Vec<_>>>()?;
        let (dealt, left) = plan::deal(self.store.contents(), &left, &rooms);
        let (mut unused, mut new) = (Vec::new(), Vec::new());
        for (directory, chunks) in free.into_iter().zip(dealt) {
            if chunks.is_empty() {
                unused.push(directory);
            } else {
                new.push((directory, chunks));
            }
        }
        planned.extend(self.begin(new)?);
        Ok((planned, unused, left))
    }

    /// The directories of the media, which are made where they are not there, and what was begun in each.
    fn directories(&self) -> Result<Vec<Place>> {
        let mut places = BTreeSet::new();
        let open = |directory: &PathBuf| {
            durable::create_directory(directory, 0o755)?;
            let place = fs::canonicalize(directory).or_failed(|| format!("cannot look at {}", directory.display()))?;
            if !places.insert(place) {
                return Err(Error::usage(format!("{} is named twice", directory.display()))
                    .hint("each volume needs a directory of its own"));
            }
            Ok((directory.clone(), bundle::begun(directory)?))
        };
        self.options.to.iter().map(open).collect()
    }

    /// Takes a volume of an earlier run into this one's set.
    fn adopt(&mut self, directory: &Path, index: &Index) -> Result<()> {
        let shown = directory.display();
        let advice = "use an empty medium; or where nobody needs what is on it, remove its files";
        index
            .check(self.store.contents())
            .map_err(|e| Error::refused(format!("{shown} holds another volume: {e}")).hint(advice))?;
        if self.set.is_some_and(|set| set != index.set) {
            return Err(Error::refused(format!("{shown} holds a volume of another export")).hint(advice));
        }
        if self.volumes.iter().any(|v| v.number == index.number && v.chunks != index.chunks(self.count()).ranges()) {
            return Err(
                Error::refused(format!("{shown} holds a second volume with number {}", index.number)).hint(advice)
            );
        }
        self.set = Some(index.set);
        self.seal()?;
        let own = OtherVolume { number: index.number, chunks: index.chunks(self.count()).ranges() };
        for known in index.others.iter().cloned().chain([own]) {
            if !self.volumes.iter().any(|v| v.number == known.number) {
                self.volumes.push(known);
            }
        }
        self.volumes.sort_by_key(|v| v.number);
        Ok(())
    }

    fn count(&self) -> u32 {
        self.store.contents().chunk_count()
    }

    /// The indexes of new volumes, each of which names all others.
    fn begin(&mut self, new: Vec<(PathBuf, ChunkSet)>) -> Result<Vec<Planned>> {
        self.new_set()?;
        let mut numbered = Vec::new();
        for (directory, chunks) in new {
            // One that an earlier run planned and did not begin keeps its number.
            let planned = self.volumes.iter().find(|v| v.chunks == chunks.ranges()).map(|v| v.number);
            let free = (1..).find(|n| self.volumes.iter().all(|v| v.number != *n));
            let number = planned.or(free).unwrap_or(u32::MAX);
            self.volumes.retain(|v| v.number != number);
            if number > limits::BUNDLE_VOLUMES_MAX {
                return Err(Error::failed("these are too many volumes").hint("use larger media"));
            }
            self.volumes.push(OtherVolume { number, chunks: chunks.ranges() });
            self.volumes.sort_by_key(|v| v.number);
            numbered.push((directory, chunks, number));
        }
        let index = |number| self.volumes.iter().find(|v| v.number == number).map(|volume| self.index_of(volume));
        let planned = |(directory, _, number)| Some(Planned { directory, index: index(number)?, complete: false });
        Ok(numbered.into_iter().filter_map(planned).collect())
    }

    /// The set has an id, if it had none.
    fn new_set(&mut self) -> Result<()> {
        if self.set.is_none() {
            let mut set = SetId::default();
            rand::rngs::OsRng.try_fill_bytes(&mut set).or_failed(|| "the system gives no randomness")?;
            self.set = Some(set);
        }
        self.seal()
    }

    /// The index of a volume that is planned.
    fn index_of(&self, volume: &OtherVolume) -> Index {
        let mut chunks = ChunkSet::empty(self.count());
        volume.chunks.iter().cloned().for_each(|range| chunks.insert_range(range));
        Index {
            manifest_id: self.signed.id(),
            set: self.set.unwrap_or_default(),
            number: volume.number,
            files: plan::files(self.store.contents(), &chunks, DATA_FILE_SIZE_BYTES_MAX),
            others: self.volumes.iter().filter(|v| v.number != volume.number).cloned().collect(),
            key_mark: self.key().map(DataKey::mark),
        }
    }

    /// What a medium has room for beside what is no data.
    fn room(&self, directory: &Path, present: &ChunkSet) -> Result<Room> {
        let (free, cluster_bytes) = durable::space(directory)?;
        let bytes = self.options.volume_bytes.map_or(free, |size| size.min(free));
        // An index has each range of its own and of its sisters; two copies, and a plan before them.
        let indexes = 3 * (1024 + 2 * 16 * present.ranges().len() as u64);
        let papers: u64 = self.carried.iter().map(|paper| paper.bytes.len() as u64).sum();
        let beside = papers + indexes + WORDS_BYTES + SMALL_FILES * cluster_bytes;
        let room = Room { bytes: bytes.saturating_sub(beside), cluster_bytes };
        let chunk = self.store.contents().chunk_size_bytes();
        if room.bytes < chunk + 3 * cluster_bytes {
            let needed = beside + chunk + 3 * cluster_bytes;
            return Err(Error::failed(format!(
                "{} has room for {}, and a volume takes at least {}",
                directory.display(),
                text::bytes(bytes),
                text::bytes(needed)
            ))
            .hint("use a larger medium, or one with more space free"));
        }
        Ok(room)
    }

    /// Writes volumes at the same time, each onto its own medium. One that fails does not keep the others from becoming whole.
    fn write_all(&self, planned: &[Planned]) -> Result<Vec<ExportedVolume>> {
        let total = planned.iter().filter(|p| !p.complete).map(|p| p.index.size_bytes()).sum::<u64>();
        let next = AtomicUsize::new(0);
        let in_turn = || {
            let turns = std::iter::from_fn(|| {
                let at = next.fetch_add(1, Ordering::Relaxed);
                Some((at, planned.get(at)?))
            });
            turns.map(|(at, planned)| (at, self.write(planned, total))).collect::<Vec<_>>()
        };
        let mut results: Vec<(usize, Result<ExportedVolume>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..planned.len().min(AT_ONCE_MAX)).map(|_| scope.spawn(in_turn)).collect();
            let ended = |_| vec![(usize::MAX, Err(Error::failed("a writing thread panicked")))];
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(ended)).collect()
        });
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn write(&self, planned: &Planned, total: u64) -> Result<ExportedVolume> {
        let Planned { directory, index, complete } = planned;
        let label = label(self.chain_id, &index.set, index.number);
        let written = if *complete {
            Written { written_bytes: 0, kept_bytes: index.size_bytes() }
        } else {
            let papers = self.papers_of(index, None);
            let told = |bytes| {
                let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                self.progress.bytes("export", done, Some(total), "");
            };
            let writer = VolumeWriter {
                directory,
                index,
                store: self.store,
                key: self.key(),
                papers: &papers,
                told: &told,
                cancel: self.cancel,
            };
            let written = writer.write()?;
            self.progress.note(format!(
                "{label} is whole, and was read back from {}: it is safe to unmount and pull this medium",
                directory.display()
            ));
            written
        };
        Ok(ExportedVolume {
            label,
            directory: directory.clone(),
            chunks: index.chunks(self.count()).count(),
            bytes: index.size_bytes(),
            kept_bytes: written.kept_bytes,
            parity: false,
        })
    }

    /// The small files of a volume, which has these files of parity.
    fn papers_of(&self, index: &Index, parity: Option<&ShardFiles>) -> Vec<Paper> {
        let mut facts = self.facts(index);
        let shards = 0..parity.map_or(0, |files| files.sizes().len());
        facts.files.extend(shards.map(|number| FileFacts {
            name: bundle::shards_name(number),
            artifact: "the parity of all volumes, with which some of them may be lost".to_owned(),
            bytes: None,
        }));
        let carried = match &self.sealed {
            Some((_, sealed)) => std::slice::from_ref(sealed),
            None => self.carried.as_slice(),
        };
        carried.iter().cloned().chain((self.words)(&facts)).collect()
    }

    fn facts(&self, index: &Index) -> VolumeFacts {
        let contents = self.store.contents();
        let family = self.signed.manifest().network.family;
        let file = |(number, file): (usize, &bundle::DataFile)| {
            let first = file.chunks.first().and_then(|range| contents.locate(range.start));
            let (artifact, from) =
                first.map_or((0, 0), |(artifact, index)| (artifact, contents.files()[artifact].layout.offset(index)));
            let artifact = ArtifactName::ALL.get(artifact).map_or("", |name| name.file_name(family));
            let bytes = (file.chunks.len() == 1).then_some((from, from + file.size_bytes));
            FileFacts { name: bundle::data_name(number), artifact: artifact.to_owned(), bytes }
        };
        VolumeFacts {
            label: label(self.chain_id, &index.set, index.number),
            chain_id: self.chain_id.to_owned(),
            manifest_id: self.signed.id(),
            words: self.phrase.clone(),
            encrypted: self.sealed.is_some(),
            files: index.files.iter().enumerate().map(file).collect(),
            others: index.others.iter().map(|other| label(self.chain_id, &index.set, other.number)).collect(),
        }
    }

    /// One medium after the other in the place of the last one, as long as somebody puts them in. Gives what is left.
    fn ask_for_more(
        &mut self,
        mut left: ChunkSet,
        ask: Ask<'_>,
        exported: &mut Vec<ExportedVolume>,
    ) -> Result<ChunkSet> {
        let Some(directory) = self.options.to.last() else { return Ok(left) };
        let mut problem = None;
        while !left.is_empty() {
            let next = NextMedium { directory, left_bytes: self.bytes_of(&left), problem: problem.take() };
            if !ask(&next)? {
                break;
            }
            match self.one_more(directory, &left) {
                Ok((planned, rest)) => {
                    exported.extend(self.write_all(std::slice::from_ref(&planned))?);
                    left = rest;
                }
                Err(e) if self.cancel.is_cancelled() => return Err(e),
                Err(e) => problem = Some(e.chain()),
            }
        }
        Ok(left)
    }

    /// The volume for the medium that was put in, and what finds no room on it either.
    fn one_more(&mut self, directory: &Path, left: &ChunkSet) -> Result<(Planned, ChunkSet)> {
        if let Some((index, complete)) = bundle::begun(directory)? {
            self.adopt(directory, &index)?;
            self.check_key(directory, &index)?;
            if complete {
                let label = label(self.chain_id, &index.set, index.number);
                return Err(Error::refused(format!("{label} is still there, which is whole")));
            }
            let mut rest = left.clone();
            rest.remove_all(&index.chunks(self.count()));
            return Ok((Planned { directory: directory.to_owned(), index, complete }, rest));
        }
        let room = self.room(directory, left)?;
        let (mut dealt, rest) = plan::deal(self.store.contents(), left, &[room]);
        let chunks = dealt.pop().unwrap_or_else(|| ChunkSet::empty(self.count()));
        let planned = self.begin(vec![(directory.to_owned(), chunks)])?.pop();
        planned.map(|planned| (planned, rest)).ok_or_else(|| Error::failed("no volume was planned"))
    }
}
