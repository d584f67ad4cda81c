//! Chunks that stay on their media: a directory that `seed` serves from there, without a copy. What it needs beside them is a record of where
//! they lie; each chunk is checked whenever it is read, so nothing of what a medium becomes later has to be trusted.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    media::{Media, used},
    verify,
};
use crate::{
    app::{
        fetch::{Checking, interrupted},
        status::Board,
    },
    base::{
        Context, Error, Kind, Next, Progress, Result, durable::PRIVATE_DIRECTORY_NAME, files::read_bounded,
        task::CancellationToken,
    },
    bundle::{Volume, data_name},
    manifest::ChunkSet,
    store::{Contents, Frontier, Piece, PrivateDirectory, Store},
};

/// The record's name in the private directory.
const RECORD_NAME: &str = "in-place";
/// Bytes of a record: one of a million chunks that lie apart has them.
const RECORD_SIZE_BYTES_MAX: usize = 256 << 20;

/// Where the chunks of a directory lie.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    manifest_id: String,
    artifacts: Vec<RecordedArtifact>,
}

/// An artifact in pieces, by its place in the manifest.
#[derive(Debug, Serialize, Deserialize)]
struct RecordedArtifact {
    place: usize,
    pieces: Vec<RecordedPiece>,
}

/// The path of a file, where the piece begins in it, and its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct RecordedPiece(String, u64, u64);

/// The pieces of artifacts that a directory has on media and not itself, by their places in the manifest; nothing where nothing was imported
/// in place.
///
/// # Errors
/// When what is kept of that cannot be read.
pub(in crate::app) fn lent(directory: &Path, contents: &Contents) -> Result<Vec<Option<Vec<Piece>>>> {
    let path = directory.join(PRIVATE_DIRECTORY_NAME).join(RECORD_NAME);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = read_bounded(&path, RECORD_SIZE_BYTES_MAX, "record of chunks on media")?;
    let cannot = || format!("{} cannot be read: import the media again", path.display());
    let record: Record = serde_json::from_slice(&bytes).or_failed(cannot)?;
    let mut lent = vec![None; contents.files().len()];
    if record.manifest_id != contents.manifest_id().to_string() {
        return Ok(lent);
    }
    for RecordedArtifact { place, pieces } in record.artifacts {
        // What has come into the directory since goes before.
        let is_lacking = contents.files().get(place).is_some_and(|file| !directory.join(&file.name).exists());
        if is_lacking {
            let piece = |RecordedPiece(path, at, bytes)| Piece { path: PathBuf::from(path), at, bytes };
            lent[place] = Some(pieces.into_iter().map(piece).collect());
        }
    }
    Ok(lent)
}

/// The chunks among those that a directory has on media whose files are there now, as names and sizes tell.
pub(in crate::app) fn lent_chunks(directory: &Path, contents: &Contents) -> ChunkSet {
    let mut there = ChunkSet::empty(contents.chunk_count());
    let lent = lent(directory, contents).unwrap_or_default();
    for (artifact, pieces) in lent.into_iter().enumerate().filter_map(|(artifact, pieces)| Some((artifact, pieces?))) {
        let mut chunks = contents.chunks_of(artifact);
        for piece in pieces {
            let is_there = std::fs::metadata(&piece.path).is_ok_and(|data| data.len() >= piece.at + piece.bytes);
            let mut left = piece.bytes;
            while left > 0 {
                let Some(chunk) = chunks.next() else { break };
                left = left.saturating_sub(contents.chunk_len(chunk) as u64);
                if is_there {
                    there.insert(chunk);
                }
            }
        }
    }
    there
}

/// Keeps where the chunks of the media lie, once all of them were checked as those of a fetch are; gives those that are there.
///
/// # Errors
/// When a medium is encrypted, the directory has the files itself, or what is complete is not what was signed; interrupted by a signal.
pub(super) async fn take(
    media: &mut Media,
    directory: &Path,
    private: &PrivateDirectory,
    contents: &Contents,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<ChunkSet> {
    if let Some((at, _)) = used(&media.seen).iter().find(|(_, volume)| volume.medium().key().is_some()) {
        let what = format!("{} is encrypted, and what is served in place is read without a key", at.display());
        return Err(Error::refused(what).hint(Next::ImportWithCopy));
    }
    if contents.files().iter().all(|file| directory.join(&file.name).exists()) {
        return Err(Error::refused(format!("{} has all files itself", directory.display()))
            .hint("serve it as it is, or name another directory"));
    }
    // By what the media say, and only if that does not hold by what each of them has: so sound media are read once.
    let mut plan = Plan::of(&used(&media.seen), directory, contents, &[]);
    let mut checked = plan.check_if_whole(media, contents, progress, cancel).await;
    if let Err(error) = &checked {
        if matches!(error.kind(), Kind::Interrupted(_)) {
            return checked.map(|()| plan.have(contents));
        }
        progress.note(format!("{}: each medium is read, to find the chunks elsewhere", error.chain()));
        let bad = tokio::task::block_in_place(|| prove(media, contents, progress, cancel))?;
        if bad.iter().any(|bad| !bad.is_empty()) {
            plan = Plan::of(&used(&media.seen), directory, contents, &bad);
            checked = plan.check_if_whole(media, contents, progress, cancel).await;
        }
    }
    checked?;
    plan.report(media, contents, progress);
    let have = plan.have(contents);
    if have.is_full() {
        plan.keep(private, contents)?;
    }
    media.sets = media.parity_sets(contents, progress);
    Ok(have)
}

/// Reads the chunks of all media, each until one has it; gives for each medium those on it that are not what was signed.
fn prove(
    media: &mut Media,
    contents: &Contents,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Vec<ChunkSet>> {
    let (mut known, mut all, mut said) = (ChunkSet::empty(contents.chunk_count()), Vec::new(), Vec::new());
    for (directory, volume) in used(&media.seen) {
        let proved = verify::prove(volume, contents, &known, progress, cancel)?;
        let mut bad = volume.index.chunks(contents.chunk_count());
        bad.remove_all(&known);
        bad.remove_all(&proved.good);
        said.push((directory.to_owned(), bad.count(), proved.all_troubles()));
        known.insert_all(&proved.good);
        all.push(bad);
    }
    for (directory, bad, troubles) in said {
        for trouble in troubles {
            media.trouble(&directory, trouble, progress);
        }
        if let Some(seen) = media.seen.iter_mut().find(|seen| seen.report.directory == directory) {
            seen.report.bad_chunks = bad;
        }
    }
    progress.done("verify");
    Ok(all)
}

/// Which file of which medium each chunk is read from.
struct Plan {
    directory: PathBuf,
    /// The files, and which of the media each is on.
    files: Vec<(PathBuf, PathBuf)>,
    /// For each chunk the file, and where it begins there.
    places: Vec<Option<(usize, u64)>>,
    /// Artifacts that the directory itself has.
    here: Vec<bool>,
    /// What is wrong with files that are not used.
    troubles: Vec<(PathBuf, String)>,
}

impl Plan {
    /// The first place of each chunk that is none of the `bad` ones of its medium.
    fn of(volumes: &[(&Path, &Volume)], directory: &Path, contents: &Contents, bad: &[ChunkSet]) -> Self {
        let mut plan = Plan {
            directory: directory.to_owned(),
            files: Vec::new(),
            places: vec![None; contents.chunk_count() as usize],
            here: contents.files().iter().map(|file| directory.join(&file.name).exists()).collect(),
            troubles: Vec::new(),
        };
        for (number, (at, volume)) in volumes.iter().enumerate() {
            for (name, file) in volume.index.files.iter().enumerate().map(|(n, file)| (data_name(n), file)) {
                let path = match path_of(volume, &name, file.size_bytes) {
                    Ok(path) => path,
                    Err(trouble) => {
                        plan.troubles.push((at.to_path_buf(), trouble));
                        continue;
                    }
                };
                let mut offset = 0;
                for chunk in file.iter() {
                    let is_bad = bad.get(number).is_some_and(|bad| bad.contains(chunk));
                    if let (Some(place @ None), false) = (plan.places.get_mut(chunk as usize), is_bad) {
                        *place = Some((plan.files.len(), offset));
                    }
                    offset += contents.chunk_len(chunk) as u64;
                }
                plan.files.push((path, at.to_path_buf()));
            }
        }
        plan
    }

    /// The chunks that have a place.
    fn have(&self, contents: &Contents) -> ChunkSet {
        let mut have = ChunkSet::empty(contents.chunk_count());
        (0..).zip(&self.places).filter(|(_, place)| place.is_some()).for_each(|(chunk, _)| _ = have.insert(chunk));
        for (artifact, _) in self.here.iter().enumerate().filter(|(_, here)| **here) {
            have.insert_range(contents.chunks_of(artifact));
        }
        have
    }

    /// The pieces of each artifact that the directory has not: chunks that lie one behind the other are one.
    fn pieces(&self, contents: &Contents) -> Vec<Option<Vec<Piece>>> {
        let of_artifact = |artifact: usize| {
            let mut pieces: Vec<(usize, u64, u64)> = Vec::new();
            for chunk in contents.chunks_of(artifact) {
                let (file, at) = self.places[chunk as usize]?;
                let len = contents.chunk_len(chunk) as u64;
                match pieces.last_mut().filter(|(last, from, bytes)| *last == file && from + *bytes == at) {
                    Some((_, _, bytes)) => *bytes += len,
                    None => pieces.push((file, at, len)),
                }
            }
            let piece = |(file, at, bytes): (usize, u64, u64)| Piece { path: self.files[file].0.clone(), at, bytes };
            Some(pieces.into_iter().map(piece).collect())
        };
        (0..).zip(&self.here).map(|(artifact, here)| of_artifact(artifact).filter(|_| !here)).collect()
    }

    /// Checks everything where it lies, as a fetch is checked; nothing where something is lacking.
    async fn check_if_whole(
        &self,
        media: &Media,
        contents: &Contents,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if !self.have(contents).is_full() {
            return Ok(());
        }
        let store = Arc::new(Store::open_lent(&self.directory, contents.clone(), self.pieces(contents))?);
        for (artifact, _) in self.here.iter().enumerate().filter(|(_, here)| **here) {
            contents.chunks_of(artifact).try_for_each(|chunk| store.read(chunk).map(drop))?;
        }
        progress.step("checking the snapshot on the media: its hash, and every statement");
        let board = Board::default();
        let directory = &self.directory;
        let checking =
            Checking { signed: &media.signed, directory, guarded_only: false, board: &board, progress, cancel };
        let checked = checking.start(&store, &Arc::new(Frontier::complete(contents.chunk_count())), true);
        tokio::select! {
            () = cancel.cancelled() => Err(interrupted()),
            checked = checked => checked.or_failed(|| "the check panicked").and_then(|checked| checked.map(drop)),
        }
    }

    /// Says of each medium what is served from it, and what is wrong with its files.
    fn report(&self, media: &mut Media, contents: &Contents, progress: &Progress) {
        for (directory, trouble) in &self.troubles {
            media.trouble(directory, trouble.clone(), progress);
        }
        for ((file, _), chunk) in
            self.places.iter().zip(0..).filter_map(|(place, chunk)| Some((*place.as_ref()?, chunk)))
        {
            let at = &self.files[file].1;
            if let Some(seen) = media.seen.iter_mut().find(|seen| seen.report.directory == *at) {
                seen.report.taken_chunks += 1;
                seen.report.taken_bytes += contents.chunk_len(chunk) as u64;
            }
        }
    }

    fn keep(&self, private: &PrivateDirectory, contents: &Contents) -> Result<()> {
        let piece = |piece: Piece| match piece.path.to_str() {
            Some(path) => Ok(RecordedPiece(path.to_owned(), piece.at, piece.bytes)),
            None => Err(Error::failed(format!("the path {} is no text", piece.path.display()))
                .hint("mount the medium at another place")),
        };
        let lent = self.pieces(contents).into_iter().enumerate();
        let artifact = |(place, pieces): (usize, Vec<Piece>)| {
            Ok(RecordedArtifact { place, pieces: pieces.into_iter().map(piece).collect::<Result<_>>()? })
        };
        let artifacts = lent.filter_map(|(place, pieces)| Some((place, pieces?))).map(artifact);
        let record =
            Record { manifest_id: contents.manifest_id().to_string(), artifacts: artifacts.collect::<Result<_>>()? };
        let bytes = serde_json::to_vec(&record).or_failed(|| "cannot write down where the chunks are")?;
        private.write(RECORD_NAME, &bytes)
    }
}

/// Where a data file is, whichever letters it is written in; it has the length that the index says.
fn path_of(volume: &Volume, name: &str, size_bytes: u64) -> std::result::Result<PathBuf, String> {
    let medium = volume.medium();
    let file = medium.file(name).map_err(|trouble| trouble.0)?;
    let path = medium.path(name).map_err(|trouble| trouble.0)?;
    let (Some(file), Some(path)) = (file, path) else { return Err(format!("{name} is missing")) };
    let cannot = |e: std::io::Error| format!("{name} cannot be looked at: {e}");
    let found = file.metadata().map_err(cannot)?.len();
    match found == size_bytes {
        true => std::path::absolute(path).map_err(cannot),
        false => Err(format!("{name} has {found} bytes, not {size_bytes} as its index says")),
    }
}
