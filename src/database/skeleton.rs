//! A dump's text without its rows, and its order.

use std::{
    fmt, io,
    io::{Read, Seek, Write},
};

use kwil_formats::dump::guard::Arranger;
use tempfile::SpooledTempFile;

use super::proxy::Session;
use crate::base::{Context, Error, Result};

/// Text without rows that is held in memory; a longer one, with large objects, goes to a file without a name.
pub(super) const TEXT_IN_MEMORY_BYTES: usize = 4 << 20;
/// Read of the text at once.
const READ_BYTES: usize = 128 << 10;

/// What pg_dump wrote, without the rows: `COPY … FROM stdin;` and `\\.` stand one after the other.
pub struct Skeleton {
    pub(super) text: SpooledTempFile,
    pub(super) copies: Vec<String>,
    pub(super) sets: Vec<String>,
    pub(super) session: Session,
}

impl fmt::Debug for Skeleton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skeleton").field("copies", &self.copies).finish_non_exhaustive()
    }
}

impl Skeleton {
    /// The same in the order that a guarded text has. Blocking, but short.
    ///
    /// # Errors
    /// When the text and what pg_dump asked for do not fit together, or the temporary directory is full.
    pub fn arranged(self) -> Result<Self> {
        let Skeleton { mut text, copies, sets, session } = self;
        let unexpected = |why: String| {
            Error::failed("cannot put pg_dump's text in order").because(why).hint(
                "check that pg_dump is one of PostgreSQL's own, 15 or newer (--pg-dump names another), then try again",
            )
        };
        let cannot_keep = || "cannot keep pg_dump's output in the temporary directory";
        let mut arranger = Arranger::default();
        let [mut arranged, mut behind] = [(); 2].map(|()| SpooledTempFile::new(TEXT_IN_MEMORY_BYTES));
        let (mut buffer, mut first, mut last) = (vec![0; READ_BYTES], Vec::new(), Vec::new());
        loop {
            let n = text.read(&mut buffer).or_failed(|| "cannot read pg_dump's text again")?;
            if n == 0 {
                break;
            }
            arranger.push(&buffer[..n], &mut first, &mut last).map_err(|e| unexpected(e.to_string()))?;
            arranged.write_all(&first).or_failed(cannot_keep)?;
            behind.write_all(&last).or_failed(cannot_keep)?;
            first.clear();
            last.clear();
        }
        let blocks = arranger.finish().map_err(|e| unexpected(e.to_string()))?;
        if blocks.len() != copies.len() {
            return Err(unexpected(format!("it has {} places for {} tables", blocks.len(), copies.len())));
        }
        behind.rewind().or_failed(cannot_keep)?;
        io::copy(&mut behind, &mut arranged).or_failed(cannot_keep)?;
        arranged.rewind().or_failed(cannot_keep)?;
        let mut copies: Vec<(bool, String)> = blocks.into_iter().zip(copies).collect();
        // Stable: each part keeps its order.
        copies.sort_by_key(|(is_last, _)| *is_last);
        let copies = copies.into_iter().map(|(_, copy)| copy).collect();
        Ok(Skeleton { text: arranged, copies, sets, session })
    }
}
