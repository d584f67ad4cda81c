//! pg_dump's text without its rows, as it came or in the order of a guarded text.

use std::{
    fmt, io,
    io::{Read, Seek, Write},
};

use kwil_formats::dump::guard::Arranger;
use tempfile::SpooledTempFile;

use super::proxy::PgDumpSession;
use crate::base::{Context, Error, Next, Result};

/// Bytes of text without rows that are held in memory; a longer
/// text, with large objects, goes to a file without a name.
pub(super) const TEXT_IN_MEMORY_BYTES: usize = 4 << 20;
/// Bytes of the text that are read at once.
const READ_BYTES: usize = 128 << 10;

/// What pg_dump wrote, without the rows: in it each `COPY … FROM stdin;` is followed at once by its `\.`.
pub struct Skeleton {
    /// The text, to be read from its beginning.
    pub(super) text: SpooledTempFile,
    /// pg_dump's `COPY … TO stdout;` statements, in the text's order.
    pub(super) copies: Vec<String>,
    /// The `SET`s of pg_dump's session, on which the form of the rows depends.
    pub(super) sets: Vec<String>,
    /// pg_dump's session, which holds the locks on the tables.
    pub(super) session: PgDumpSession,
}

impl fmt::Debug for Skeleton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skeleton").field("copies", &self.copies).finish_non_exhaustive()
    }
}

impl Skeleton {
    /// The same skeleton in the order of a guarded text, with what belongs to `kwild_voting` last. Blocking, but short.
    ///
    /// # Errors
    /// When the text and what pg_dump asked for do not fit together, or the temporary directory is full.
    pub fn arranged(self) -> Result<Self> {
        let Skeleton { mut text, copies, sets, session } = self;
        let unexpected =
            |why: String| Error::failed("cannot put pg_dump's text in order").because(why).hint(Next::CheckPgDump);
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
