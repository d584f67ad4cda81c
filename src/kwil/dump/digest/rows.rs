//! Rows of a COPY block that are hashed as they stand.

use memchr::{memchr, memchr_iter};
use sha2::{Digest, Sha256};

use super::{DigestError, HashList};

/// The line that ends a block.
pub(super) const END: &[u8] = b"\\.\n";

/// Hashes and counts the rows of a table; a row is never held.
#[derive(Debug, Default)]
pub(super) struct PlainRows {
    count: u64,
    cut: Option<Cut>,
}

/// A row of which only a part was seen.
#[derive(Debug, Default)]
struct Cut {
    hash: Sha256,
    /// Its first bytes: it may be the line that ends the block.
    head: Vec<u8>,
}

impl Cut {
    fn take(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        let room = (END.len() + 1).saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

impl PlainRows {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes any piece of the block; the answer is the offset in it behind the block's end, or `None` before the end.
    pub(super) fn take(&mut self, data: &[u8], list: &mut impl HashList) -> Result<Option<usize>, DigestError> {
        let mut from = 0;
        if let Some(cut) = &mut self.cut {
            let newline = memchr(b'\n', data);
            from = newline.map_or(data.len(), |at| at + 1);
            cut.take(&data[..from]);
            if newline.is_none() {
                return Ok(None);
            }
            let Cut { hash, head } = self.cut.take().unwrap_or_default();
            if head == END {
                return Ok(Some(from));
            }
            self.row(hash, list)?;
        }
        let rest = &data[from..];
        let mut start = 0;
        for newline in memchr_iter(b'\n', rest) {
            let row = &rest[start..=newline];
            start = newline + 1;
            if row == END {
                return Ok(Some(from + start));
            }
            self.row(Sha256::new_with_prefix(row), list)?;
        }
        if start < rest.len() {
            let mut cut = Cut::default();
            cut.take(&rest[start..]);
            self.cut = Some(cut);
        }
        Ok(None)
    }

    fn row(&mut self, hash: Sha256, list: &mut impl HashList) -> Result<(), DigestError> {
        self.count += 1;
        list.push(hash.finalize().into()).map_err(DigestError::List)
    }
}
