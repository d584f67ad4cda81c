//! A volume with parity: its shards come piece by piece, in the order in which they lie there.
//!
//! Beside them stands a record of their ids, which grows with each shard, so that a run that was interrupted goes on: what is there of a shard
//! counts when it has the id that was written down after it. The record is not synced, and need not be: what it says too early fails its hash.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use nix::fcntl::OFlag;

use super::{Lists, Paper, ReadBack, Sums, VolumeWriter, go_on, open_part};
use crate::{
    base::{Blake3Hash, Error, Result, durable, limits},
    bundle::{
        Index, Medium, PARITY_NAME, PARITY_RECORD_NAME,
        parity::{ParityIndex, ShardFiles},
        shards_name,
    },
    store::PIECE_BYTES,
};

/// Bytes of an id, and of what the record begins with.
const ID_BYTES: usize = 32;

/// Makes one volume with parity.
pub struct ShardWriter<'a> {
    volume: VolumeWriter<'a>,
    files: &'a ShardFiles,
    /// The file that is written.
    open: Option<Open>,
    /// The number of the file that comes after it.
    next: usize,
    lists: Lists,
    ids: Vec<Blake3Hash>,
    record: File,
    /// Stripes whose shard an earlier run has written, and their bytes.
    kept: u32,
    kept_bytes: u64,
}

impl std::fmt::Debug for ShardWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardWriter").field("volume", &self.volume).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    read_back: ReadBack,
    part: PathBuf,
    name: String,
    left: u64,
}

impl<'a> ShardWriter<'a> {
    /// Begins a volume, whose index names no data, or goes on with what an earlier run made of it.
    ///
    /// # Errors
    /// When the medium cannot be written; interrupted by a signal.
    pub fn begin(volume: VolumeWriter<'a>, files: &'a ShardFiles) -> Result<Self> {
        let ids = recorded(&volume);
        volume.begin()?;
        let path = volume.path(PARITY_RECORD_NAME);
        let part = durable::part_path(&path);
        // Under another name as long as it is made anew: until then the old one holds.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let cannot = |e| volume.explain(Error::failed(format!("cannot write {}", part.display())).because(e));
        let mut record = options.open(&part).map_err(cannot)?;
        record.write_all(&mark(volume.index)).map_err(cannot)?;
        let mut writer = ShardWriter {
            volume,
            files,
            open: None,
            next: 0,
            lists: Lists::default(),
            ids: Vec::new(),
            record,
            kept: 0,
            kept_bytes: 0,
        };
        writer.keep(&ids)?;
        durable::rename(&part, &path).map_err(|e| writer.volume.explain(e))?;
        Ok(writer)
    }

    /// Stripes from the first one on whose shards are there already.
    pub fn kept_stripes(&self) -> u32 {
        self.kept
    }

    /// Bytes of them.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Writes the next bytes of a stripe's shard, if it is not there already.
    ///
    /// # Errors
    /// When the medium is full, fails, or does not give back what was written.
    pub fn piece(&mut self, stripe: u32, bytes: &[u8]) -> Result<()> {
        if stripe < self.kept {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open_next()?,
        };
        let cannot = |e| Error::failed(format!("cannot write {}", open.part.display())).because(e);
        open.file.write_all(bytes).map_err(|e| self.volume.explain(cannot(e)))?;
        open.read_back.written(bytes).map_err(|e| self.volume.explain(e))?;
        (self.volume.told)(bytes.len() as u64);
        open.left = open.left.saturating_sub(bytes.len() as u64);
        match open.left {
            0 => self.close(open),
            _ => {
                self.open = Some(open);
                Ok(())
            }
        }
    }

    /// The shard that was written for a stripe has this id.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn stripe(&mut self, stripe: u32, id: Blake3Hash) -> Result<()> {
        match stripe < self.kept {
            true => Ok(()),
            false => self.note(id),
        }
    }

    fn note(&mut self, id: Blake3Hash) -> Result<()> {
        self.ids.push(id);
        let written = self.record.write_all(id.as_bytes());
        written.map_err(|e| self.volume.explain(Error::failed("cannot write the record of parity").because(e)))
    }

    /// All shards are there: from now on it is a volume. `index` is what it says of its parity, but for the ids of its shards.
    ///
    /// # Errors
    /// As [`ShardWriter::piece`].
    pub fn end(self, index: ParityIndex) -> Result<()> {
        let bytes = ParityIndex { shard_ids: self.ids, ..index }.to_bytes();
        let record = self.volume.path(PARITY_RECORD_NAME);
        drop(self.record);
        self.volume.finish(self.lists, &[Paper { name: PARITY_NAME.to_owned(), bytes }])?;
        // Of a volume that is whole nobody asks for it.
        let _ = std::fs::remove_file(record);
        Ok(())
    }

    fn open_next(&mut self) -> Result<Open> {
        let (number, file, part) = self.part(self.next)?;
        self.next += 1;
        self.go_on_in(number, file, part, 0, Sums::default())
    }

    /// Opens the part of a file with that number. One that has its name already was whole once; whatever it is now, it is looked at as a part.
    fn part(&self, number: usize) -> Result<(usize, File, PathBuf)> {
        let whole = self.volume.path(&shards_name(number));
        let part = durable::part_path(&whole);
        if whole.symlink_metadata().is_ok() {
            durable::rename(&whole, &part).map_err(|e| self.volume.explain(e))?;
        }
        let cannot = |e| self.volume.explain(Error::failed(format!("cannot write {}", part.display())).because(e));
        let file = open_part(&part).map_err(cannot)?;
        Ok((number, file, part))
    }

    /// Goes on behind the bytes of a part that are kept, whose sums these are.
    fn go_on_in(&self, number: usize, mut file: File, part: PathBuf, kept: u64, sums: Sums) -> Result<Open> {
        let cannot = |e| self.volume.explain(Error::failed(format!("cannot write {}", part.display())).because(e));
        file.set_len(kept).and_then(|()| file.seek(SeekFrom::Start(kept))).map_err(cannot)?;
        let read_back = ReadBack::begin(&file, &part, kept, sums, self.volume.cancel).map_err(cannot)?;
        let left = self.files.sizes().nth(number).unwrap_or(u64::MAX) - kept;
        Ok(Open { file, read_back, part, name: shards_name(number), left })
    }

    fn close(&mut self, open: Open) -> Result<()> {
        let sums = open.read_back.end().map_err(|e| self.volume.explain(e))?;
        durable::rename(&open.part, &self.volume.path(&open.name)).map_err(|e| self.volume.explain(e))?;
        self.lists.add(&open.name, sums);
        Ok(())
    }

    /// Keeps what an earlier run made: the shards from the first one on that are on the medium as they were recorded.
    fn keep(&mut self, ids: &[Blake3Hash]) -> Result<()> {
        while let Some(id) = ids.get(self.kept as usize) {
            let Some((number, _)) = self.files.place(self.kept) else { break };
            let (number, mut file, part) = self.part(number)?;
            // It is looked for on the medium itself.
            durable::sync_file(&file, &part).map_err(|e| self.volume.explain(e))?;
            durable::forget_cached(&file, &(0..0));
            let (mut kept, mut sums, mut next) = (0, Sums::default(), Some(id));
            let stripes = self.files.stripes(number);
            while let Some(id) = next.filter(|_| self.kept < stripes.end) {
                let bytes = self.files.shard_bytes(self.kept);
                let Some(found) = self.shard(&mut file, bytes, id, &sums)? else { break };
                (sums, kept) = (found, kept + bytes);
                self.note(*id)?;
                self.kept += 1;
                (self.volume.told)(bytes);
                next = ids.get(self.kept as usize);
            }
            self.kept_bytes += kept;
            self.next = number + 1;
            let open = self.go_on_in(number, file, part, kept, sums)?;
            if open.left > 0 {
                self.open = Some(open);
                break;
            }
            self.close(open)?;
        }
        Ok(())
    }

    /// Reads a shard from where the file stands; `None` where it has not that id. Gives the sums of the file up to its end.
    fn shard(&self, file: &mut File, bytes: u64, id: &Blake3Hash, before: &Sums) -> Result<Option<Sums>> {
        let (mut hasher, mut sums, mut left) = (blake3::Hasher::new(), before.clone(), bytes);
        let mut buffer = vec![0; PIECE_BYTES];
        while left > 0 {
            go_on(self.volume.cancel)?;
            let piece = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let piece = &mut buffer[..piece];
            if file.read_exact(piece).is_err() {
                return Ok(None);
            }
            hasher.update(piece);
            sums.update(piece);
            left -= piece.len() as u64;
        }
        Ok((hasher.finalize().as_bytes() == id.as_bytes()).then_some(sums))
    }
}

/// What the record of a volume begins with: parity follows from what its index says, and from nothing else.
fn mark(index: &Index) -> [u8; ID_BYTES] {
    *blake3::Hasher::new_derive_key("regenesis 2026 media v1, record of parity")
        .update(&index.to_bytes())
        .finalize()
        .as_bytes()
}

/// The ids that an earlier run wrote down for this volume; none where there is no record, or one of something else.
fn recorded(volume: &VolumeWriter<'_>) -> Vec<Blake3Hash> {
    let read = Medium::open(volume.directory)
        .and_then(|medium| medium.read(PARITY_RECORD_NAME, limits::PARITY_INDEX_SIZE_BYTES_MAX));
    let bytes = read.ok().flatten().unwrap_or_default();
    match bytes.split_first_chunk() {
        Some((begin, ids)) if *begin == mark(volume.index) => {
            ids.as_chunks::<ID_BYTES>().0.iter().map(|id| Blake3Hash::from_bytes(*id)).collect()
        }
        _ => Vec::new(),
    }
}
