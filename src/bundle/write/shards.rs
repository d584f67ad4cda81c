//! A volume with parity: its shards come piece by piece, in the order in which they lie there. One that was interrupted is made anew: what is
//! there of it proves itself by nothing.

use std::{fs::File, io::Write, path::PathBuf};

use super::{Lists, Paper, ReadBack, Sums, VolumeWriter, open_part};
use crate::{
    base::{Blake3Hash, Error, Result, durable},
    bundle::{
        PARITY_NAME,
        parity::{ParityIndex, ShardFiles},
        shards_name,
    },
};

/// Makes one volume with parity.
#[derive(Debug)]
pub struct ShardWriter<'a> {
    volume: VolumeWriter<'a>,
    sizes: Vec<u64>,
    /// The file that is written, and its number.
    open: Option<Open>,
    next: usize,
    lists: Lists,
    ids: Vec<Blake3Hash>,
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
    /// Begins a volume, whose index names no data.
    ///
    /// # Errors
    /// When the medium cannot be written.
    pub fn begin(volume: VolumeWriter<'a>, files: &ShardFiles) -> Result<Self> {
        volume.begin()?;
        let sizes = files.sizes().collect();
        Ok(ShardWriter { volume, sizes, open: None, next: 0, lists: Lists::default(), ids: Vec::new() })
    }

    /// Writes the next bytes of a shard.
    ///
    /// # Errors
    /// When the medium is full, fails, or does not give back what was written.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<()> {
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

    /// The shard that was written has this id.
    pub fn stripe(&mut self, id: Blake3Hash) {
        self.ids.push(id);
    }

    /// All shards are there: from now on it is a volume. `index` is what it says of its parity, but for the ids of its shards.
    ///
    /// # Errors
    /// As [`ShardWriter::piece`].
    pub fn end(self, index: ParityIndex) -> Result<()> {
        let bytes = ParityIndex { shard_ids: self.ids, ..index }.to_bytes();
        self.volume.finish(self.lists, &[Paper { name: PARITY_NAME.to_owned(), bytes }])
    }

    fn open_next(&mut self) -> Result<Open> {
        let name = shards_name(self.next);
        let part = durable::part_path(&self.volume.path(&name));
        let left = self.sizes.get(self.next).copied().unwrap_or(u64::MAX);
        self.next += 1;
        let cannot = |e| self.volume.explain(Error::failed(format!("cannot write {}", part.display())).because(e));
        let file = open_part(&part).map_err(cannot)?;
        file.set_len(0).map_err(cannot)?;
        let read_back = ReadBack::begin(&file, &part, 0, Sums::default(), self.volume.cancel).map_err(cannot)?;
        Ok(Open { file, read_back, part, name, left })
    }

    fn close(&mut self, open: Open) -> Result<()> {
        let sums = open.read_back.end().map_err(|e| self.volume.explain(e))?;
        durable::rename(&open.part, &self.volume.path(&open.name)).map_err(|e| self.volume.explain(e))?;
        self.lists.add(&open.name, sums);
        Ok(())
    }
}
