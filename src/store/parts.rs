//! A chunk that is there, read part by part: it may have megabytes, and nobody who passes it on needs them all at the same time.

use super::{Place, ReadError, Store};
use crate::base::Error;

/// Bytes of a chunk that are read, sent, taken in or written at once.
pub const PIECE_BYTES: usize = 256 << 10;
/// How often a chunk is made sure of while one part of it is read, because the file is touched all the time.
const TOUCHES_MAX: u32 = 16;

/// The chunk that one reader of parts had to have whole: one at a time, and only of what lies in files of others.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The chunk whose bytes, made sure of, these are.
    chunk: Option<u32>,
    data: Vec<u8>,
}

impl Store {
    /// Fills `into` with bytes of a chunk from `at` on. The chunk is made sure of before its first bytes are given, if it is in doubt, and
    /// before others, if the file was touched since. One in a file of others is hashed whenever another one was read with this `scratch`
    /// since; it is kept there, and its other bytes are.
    ///
    /// # Errors
    /// As [`Store::read_into`].
    pub fn read_part(&self, chunk: u32, at: usize, into: &mut [u8], scratch: &mut Scratch) -> Result<(), ReadError> {
        let place = self.place(chunk)?;
        let (len, end) = (place.len(), at.saturating_add(into.len()));
        if end > len {
            return Err(ReadError::Chunk(Error::failed(format!("chunk {chunk} has {len} bytes"))));
        }
        if place.slot.lent.is_none() {
            return self.read_own(&place, at, into);
        }
        if at == 0 || scratch.chunk != Some(chunk) {
            scratch.chunk = None;
            self.read_into(chunk, &mut scratch.data)?;
            scratch.chunk = Some(chunk);
        }
        into.copy_from_slice(&scratch.data[at..end]);
        Ok(())
    }

    /// [`Store::read_part`] of a file of this directory.
    fn read_own(&self, place: &Place<'_>, at: usize, into: &mut [u8]) -> Result<(), ReadError> {
        if into.len() == place.len() {
            return self.read_whole(place, into);
        }
        if at == 0 && self.is_doubted(place.chunk) {
            self.make_sure(place.chunk)?;
        }
        for _ in 0..TOUCHES_MAX {
            let read = place.read(at, into);
            // After the reading: what was written to the file before it shows now.
            self.notice_change(place)?;
            place.slot.explain(read).map_err(|e| self.is_damage(place, e))?;
            if !self.is_doubted(place.chunk) {
                return Ok(());
            }
            self.make_sure(place.chunk)?;
        }
        Err(ReadError::Chunk(Error::failed(format!("{} is written to all the time", place.slot.final_path.display()))))
    }

    /// Reads all of a chunk and proves it.
    ///
    /// # Errors
    /// As [`Store::read_into`].
    pub fn make_sure(&self, chunk: u32) -> Result<(), ReadError> {
        self.read_pieces(chunk, &mut vec![0; PIECE_BYTES], |_, _| Ok(()))
    }
}
