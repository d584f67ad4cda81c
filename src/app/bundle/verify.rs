//! Media read from their first byte to their last: what of them is what was signed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    judging::{Judged, Judges, judged},
    lead_itself,
    needed::{ParitySet, StillNeeded, shards_of},
    taking::words_of_range,
    words_of,
};
use crate::{
    app::node,
    base::{Blake3Hash, Error, Progress, Result, clock, limits, task::CancellationToken, text},
    bundle::{
        Index, Medium, ReadChunks, ShardReader, Trouble, Unseal, Volume, label,
        parity::{ParityIndex, Stripes},
    },
    manifest::{ChunkSet, MANIFEST_FILE_NAME, SignedManifest, TrustPolicy, VerifiedManifest, chunk_id, ranges},
    store::Contents,
};

/// What is known of one medium.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckedMedium {
    /// Where it is.
    pub directory: PathBuf,
    /// Everything on it is what was signed.
    pub ok: bool,
    /// Its label.
    pub label: Option<String>,
    /// The manifest, where it could be read and its signatures hold.
    pub manifest_id: Option<Blake3Hash>,
    /// The manifest's six words.
    pub words: Option<String>,
    /// Chunks on it that are what was signed.
    pub good_chunks: u32,
    /// Bytes of them.
    pub good_bytes: u64,
    /// Chunks that are not.
    pub bad_chunks: u32,
    /// What is wrong with it.
    pub troubles: Vec<String>,
}

/// What is known of all.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedMedia {
    /// All are sound.
    pub ok: bool,
    /// As they were given.
    pub media: Vec<CheckedMedium>,
    /// Chunks of the manifest that none of them has, where all are of one manifest.
    pub lacking_chunks: Option<u32>,
    /// Chunks among those that an import makes from the parity on them.
    pub made_good_chunks: u32,
    /// Labels of volumes that hold the rest.
    pub needed: Vec<String>,
    /// So many of those suffice, whichever they are; `None`: all are needed.
    pub needed_any: Option<usize>,
    /// Labels of volumes that are so damaged that no others make up for it: they are made anew, or read elsewhere.
    pub needed_anew: Vec<String>,
    /// Chunks that are lacking and on no volume that is known.
    pub unknown_chunks: u32,
}

impl VerifiedMedia {
    /// An import of these media would be complete, whatever is wrong with some of them.
    pub fn suffice(&self) -> bool {
        self.lacking_chunks.is_some_and(|lacking| lacking == self.made_good_chunks)
    }
}

/// What was found on a medium.
struct Found {
    chain_id: String,
    volume: Volume,
    good: ChunkSet,
    /// Stripes whose shard on it is of no use.
    bad_stripes: Vec<u32>,
}

/// Reads every byte of media and compares it with the manifest that lies on each of them.
///
/// # Errors
/// Interrupted by a signal.
pub fn verify(
    from: &[PathBuf],
    trust: Option<&TrustPolicy>,
    keys: &Unseal,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<VerifiedMedia> {
    let mut media = Vec::with_capacity(from.len());
    let (mut all_found, mut contents) = (Vec::new(), None);
    for directory in from {
        let mut checked = CheckedMedium { directory: directory.clone(), ..CheckedMedium::default() };
        match check(directory, trust, keys, &mut checked, progress, cancel)? {
            Ok((found, of)) => {
                all_found.push(found);
                // Megabytes, which all media of one manifest have in common.
                contents.get_or_insert(of);
            }
            Err(trouble) => checked.troubles.push(trouble.0),
        }
        checked.ok = checked.troubles.is_empty();
        media.push(checked);
    }
    progress.done("verify");
    let is_one = media.iter().all(|m| m.manifest_id.is_some() && m.manifest_id == media[0].manifest_id);
    let (lacking_chunks, needed) = match contents.filter(|_| is_one) {
        Some(contents) => {
            let (lacking, needed) = together(&all_found, &contents);
            (Some(lacking), needed)
        }
        None => (None, StillNeeded::default()),
    };
    Ok(VerifiedMedia {
        ok: media.iter().all(|m| m.ok),
        media,
        lacking_chunks,
        made_good_chunks: needed.made_good,
        needed: needed.labels,
        needed_any: needed.any,
        needed_anew: needed.anew,
        unknown_chunks: needed.unknown,
    })
}

/// How many chunks media of one manifest lack, and what makes up for that: by the same rule as an import's.
fn together(all: &[Found], contents: &Contents) -> (u32, StillNeeded) {
    let chain_id = all.first().map_or("", |found| &found.chain_id);
    let mut have = ChunkSet::empty(contents.chunk_count());
    all.iter().for_each(|found| have.insert_all(&found.good));
    let volumes: Vec<(&Path, &Volume)> =
        all.iter().map(|found| (found.volume.medium().directory(), &found.volume)).collect();
    // What is wrong with parity was said of its medium.
    let (mut sets, _) = ParitySet::find(&volumes, contents);
    for Found { volume, bad_stripes, .. } in all {
        for set in sets.iter_mut().filter(|set| set.set == volume.index.set) {
            set.number_of_parity(&volume.index).into_iter().for_each(|number| set.is_bad(number, bad_stripes));
        }
    }
    let indexes: Vec<&Index> = all.iter().map(|found| &found.volume.index).collect();
    (have.len() - have.count(), StillNeeded::of(chain_id, &have, &indexes, &sets))
}

fn check(
    directory: &Path,
    trust: Option<&TrustPolicy>,
    keys: &Unseal,
    checked: &mut CheckedMedium,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Result<(Found, Contents), Trouble>> {
    let opened = (|| {
        let medium = Medium::open_with(directory, keys)?;
        let missing = || Trouble(format!("{MANIFEST_FILE_NAME} is missing"));
        let bytes = medium.read(MANIFEST_FILE_NAME, limits::MANIFEST_SIZE_BYTES_MAX)?.ok_or_else(missing)?;
        let manifest =
            manifest_of(&bytes, trust).map_err(|e| Trouble(format!("{MANIFEST_FILE_NAME}: {}", e.chain())))?;
        Ok((Volume::open(medium), manifest))
    })();
    let (volume, (manifest, words)) = match opened {
        Ok(opened) => opened,
        Err(trouble) => return Ok(Err(trouble)),
    };
    checked.manifest_id = Some(manifest.id());
    checked.words = Some(words);
    let volume = match volume {
        Ok(volume) => volume,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let contents = node::contents(&manifest, false);
    checked.troubles.extend(volume.troubles.iter().map(Trouble::to_string));
    if let Err(e) = volume.index.check(&contents) {
        return Ok(Err(Trouble(e.to_string())));
    }
    let index = &volume.index;
    let chain_id = manifest.manifest().network.new_chain_id.clone();
    checked.label = Some(label(&chain_id, &index.set, index.number));
    let nothing = ChunkSet::empty(contents.chunk_count());
    let proved = prove(&volume, &contents, &nothing, progress, cancel)?;
    checked.troubles.extend(proved.troubles);
    checked.good_chunks = proved.good.count();
    checked.good_bytes = proved.good_bytes;
    checked.bad_chunks = u32::try_from(proved.bad.len()).unwrap_or(u32::MAX);
    let bad_stripes = match shards_of(&volume, &contents) {
        Ok(Some(parity)) => check_shards(&parity, &contents, checked, progress, cancel)?,
        Ok(None) => Vec::new(),
        Err(problem) => {
            checked.troubles.push(problem);
            Vec::new()
        }
    };
    checked.troubles.extend(not_signed(&proved.bad));
    Ok(Ok((Found { chain_id, volume, good: proved.good, bad_stripes }, contents)))
}

/// Reads every shard of a volume with parity and compares it with the id that the volume itself says: nothing else proves one. Gives
/// the stripes whose shard is of no use.
fn check_shards(
    (index, stripes, shards): &(ParityIndex, Stripes, ShardReader),
    contents: &Contents,
    checked: &mut CheckedMedium,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Vec<u32>> {
    let is_good = |stripe: u32, shard: &[u8]| {
        index.shard_ids.get(stripe as usize).is_some_and(|id| blake3::hash(shard).as_bytes() == id.as_bytes())
    };
    let (mut bad, judged) = judged(stripes.count(), is_good, |judges| {
        let (mut unreadable, mut bytes) = (Vec::new(), 0);
        for (stripe, _) in (0..stripes.count()).zip(&index.shard_ids) {
            if cancel.is_cancelled() {
                return Err(Error::interrupted("while media were read").hint("run the same command again"));
            }
            let mut shard = judges.buffer();
            shard.resize(stripes.shard_len(stripe, &|chunk| contents.chunk_len(chunk)), 0);
            bytes += shard.len() as u64;
            match shards.read(stripe, 0, &mut shard) {
                Ok(()) => judges.give(stripe, shard)?,
                Err(_) => unreadable.push(stripe),
            }
            progress.bytes("verify", checked.good_bytes + bytes, None, "parity");
        }
        Ok(unreadable)
    })?;
    checked.good_bytes += judged.good_bytes;
    bad.extend(judged.bad);
    bad.sort_unstable();
    if !bad.is_empty() {
        let words = text::first_few(ranges(bad.iter().copied()).into_iter().map(words_of_range), 6);
        checked.troubles.push(format!("not as it was written: shard of parity {words}"));
    }
    Ok(bad)
}

/// The manifest of a medium by the trust that was given, or by its own lead's.
fn manifest_of(bytes: &[u8], trust: Option<&TrustPolicy>) -> Result<(VerifiedManifest, String)> {
    let signed = SignedManifest::decode(bytes).map_err(|e| Error::verify(e.to_string()))?;
    let trust = trust.cloned().unwrap_or_else(|| lead_itself(&signed));
    let verified = crate::manifest::verify::verify(bytes, &trust, clock::unix_seconds())?;
    let words = words_of(&verified);
    Ok((verified, words))
}

/// What the chunks of one medium are.
pub(super) struct Proved {
    pub(super) good: ChunkSet,
    good_bytes: u64,
    /// Those that are not what was signed, ascending.
    bad: Vec<u32>,
    /// What is wrong with its files.
    troubles: Vec<String>,
}

impl Proved {
    /// All that is wrong.
    pub(super) fn all_troubles(&self) -> Vec<String> {
        self.troubles.iter().cloned().chain(not_signed(&self.bad)).collect()
    }
}

/// What is said of chunks that are not what was signed.
fn not_signed(bad: &[u32]) -> Option<String> {
    let words = || text::first_few(ranges(bad.iter().copied()).into_iter().map(words_of_range), 6);
    (!bad.is_empty()).then(|| format!("not what was signed: chunk {}", words()))
}

/// Reads the chunks of a volume that are not `known`, and proves them on all processors.
///
/// # Errors
/// Interrupted by a signal.
pub(super) fn prove(
    volume: &Volume,
    contents: &Contents,
    known: &ChunkSet,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Proved> {
    let is_good = |chunk: u32, data: &[u8]| {
        contents.locate(chunk).is_some_and(|(artifact, index)| {
            let layout = &contents.files()[artifact].layout;
            data.len() == layout.len(index) && chunk_id(layout, index, data) == *contents.chunk_id(artifact, index)
        })
    };
    let (troubles, judged) = judged(contents.chunk_count(), is_good, |judges| {
        let mut reading = Reading { judges, known, bytes: 0, total: volume.index.size_bytes(), progress };
        volume.read_chunks(contents, &mut reading, cancel)
    })?;
    let Judged { good, good_bytes, bad } = judged;
    Ok(Proved { good, good_bytes, bad, troubles: troubles.into_iter().map(|trouble| trouble.0).collect() })
}

/// Gives the chunks of one medium to those who prove them.
struct Reading<'a> {
    judges: &'a mut Judges,
    /// Chunks that need not be read.
    known: &'a ChunkSet,
    bytes: u64,
    total: u64,
    progress: &'a Progress,
}

impl ReadChunks for Reading<'_> {
    fn is_wanted(&mut self, chunk: u32) -> bool {
        !self.known.contains(chunk)
    }

    fn buffer(&mut self, _len: usize) -> Vec<u8> {
        self.judges.buffer()
    }

    fn take(&mut self, chunk: u32, data: Vec<u8>) -> Result<()> {
        self.bytes += data.len() as u64;
        self.judges.give(chunk, data)?;
        self.progress.bytes("verify", self.bytes, Some(self.total), "");
        Ok(())
    }
}
