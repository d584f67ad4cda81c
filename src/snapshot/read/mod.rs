//! Reading a snapshot: a file, or what arrives of one in its order, becomes text once, and whoever wants to know something of
//! the text listens (`listen.rs`). Nothing is read a second time to learn another thing of it.

mod inflate;
mod listen;
mod piece;
mod stream;
mod text;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    thread,
};

use kwil_formats::dump::scan::{ScanError, ScanReport};

pub use listen::{Heard, Listeners, Pieces, hash_pieces, scan_pieces};
pub use piece::TextPiece;
use stream::Unlike;
pub(super) use text::TextReader;

use crate::base::{Context, Error, Result, Sha256Hash, limits::SNAPSHOT_TEXT_BYTES_MAX, task::CancellationToken};

/// The bounds of a pass over a snapshot.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Bytes of text beyond which the file is refused.
    pub max_bytes: u64,
    /// Ends the pass.
    pub cancel: CancellationToken,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::until(&CancellationToken::new())
    }
}

impl ReadOptions {
    /// A pass over a text of any size that a real network has, until it is cancelled.
    pub fn until(cancel: &CancellationToken) -> Self {
        ReadOptions { max_bytes: SNAPSHOT_TEXT_BYTES_MAX, cancel: cancel.clone() }
    }
}

/// What a pass over a snapshot's text tells.
#[derive(Debug)]
pub struct TextFacts {
    /// SHA-256 of the text.
    pub state_hash: Sha256Hash,
    /// Bytes of the text.
    pub bytes: u64,
    /// Its statements, or the first that does not belong.
    pub scan: Result<ScanReport, ScanError>,
}

/// A snapshot that is about to be read, gzip or plain.
pub struct SnapshotText<R> {
    reader: TextReader<R>,
}

impl<R> std::fmt::Debug for SnapshotText<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotText").finish_non_exhaustive()
    }
}

impl SnapshotText<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// When there is no file, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).or_failed(|| format!("cannot open {}", path.display()));
        let file = file.map_err(|e| e.hint("check the path, and that this user may read the file"))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::failed(format!("{} is a directory", path.display()))
                .hint("name the snapshot file in it (kwildb-snapshot.sql.gz or snapshot.sql.gz)"));
        }
        Self::new(file)
    }
}

impl<R: Read> SnapshotText<R> {
    /// What a reader gives, from its first byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(reader: R) -> Result<Self> {
        let reader = TextReader::new(reader).or_failed(|| "cannot read the snapshot");
        let reader = reader.map_err(|e| e.hint("check that it is a file, and that this user may read it"))?;
        Ok(SnapshotText { reader })
    }

    /// What a reader gives, which must be gzip.
    ///
    /// # Errors
    /// `Kind::Verify` when it does not begin as a gzip file does; when it cannot be read.
    pub fn gzip(reader: R) -> Result<Self> {
        let text = Self::new(reader)?;
        if !text.is_gzip() {
            return Err(Error::verify("the snapshot does not begin as a gzip file does"));
        }
        Ok(text)
    }

    /// Whether the file begins as a gzip file does; what does not is its own text.
    pub fn is_gzip(&self) -> bool {
        self.reader.is_gzip()
    }

    /// At least so many of the text's first bytes, or what there is of it. What is wrong with the rest is not told.
    pub(super) fn beginning(mut self, bytes: usize) -> Vec<u8> {
        let mut beginning = Vec::new();
        while beginning.len() < bytes
            && let Ok(Some(piece)) = self.reader.next_piece()
        {
            beginning.extend_from_slice(&piece);
        }
        beginning
    }

    /// Gives out the text in pieces, to its end, and `progress` the bytes so far; says how many they were. Blocking.
    ///
    /// # Errors
    /// `Kind::Verify` when it is cut, damaged, longer than allowed, or gzip that not every reader reads alike;
    /// `Kind::Failed` when it cannot be read, or `give` says that nobody takes more.
    pub fn each_piece(
        mut self,
        options: &ReadOptions,
        mut progress: impl FnMut(u64),
        mut give: impl FnMut(&Arc<TextPiece>) -> bool,
    ) -> Result<u64> {
        let mut bytes = 0;
        loop {
            if options.cancel.is_cancelled() {
                return Err(Error::interrupted("while the snapshot was read"));
            }
            let Some(piece) = self.reader.next_piece().map_err(|e| unreadable(e, bytes))? else { return Ok(bytes) };
            bytes += piece.len() as u64;
            if bytes > options.max_bytes {
                return Err(Error::verify(format!("the snapshot unpacks to more than {} bytes", options.max_bytes))
                    .hint("a real one this large needs a higher --max-bytes"));
            }
            if !give(&Arc::new(piece)) {
                return Err(Error::failed("a thread that read the snapshot ended early"));
            }
            progress(bytes);
        }
    }

    /// Reads the text to its end: its hash and its statements. Blocking.
    ///
    /// # Errors
    /// As [`SnapshotText::each_piece`]; a statement that does not belong is part of what is found.
    pub fn read(self, options: &ReadOptions, progress: impl FnMut(u64)) -> Result<TextFacts> {
        self.read_heard(options, progress, None::<fn(Pieces<TextPiece>)>).map(|(facts, _)| facts)
    }

    /// [`SnapshotText::read`], and another listener in the same pass, if there is one. It may end early. Blocking.
    ///
    /// # Errors
    /// As [`SnapshotText::read`].
    pub fn read_heard<T: Send>(
        self,
        options: &ReadOptions,
        progress: impl FnMut(u64),
        listen: Option<impl FnOnce(Pieces<TextPiece>) -> T + Send>,
    ) -> Result<(TextFacts, Option<T>)> {
        thread::scope(|scope| {
            let mut listeners = Listeners::new(scope);
            let state_hash = listeners.add_needed(hash_pieces)?;
            let scan = listeners.add(scan_pieces)?;
            let heard = listen.map(|listen| listeners.add(listen)).transpose()?;
            let bytes = self.each_piece(options, progress, |piece| listeners.give(piece));
            drop(listeners);
            let (state_hash, scan) = (state_hash.end()?, scan.end()?);
            let heard = heard.map(Heard::end).transpose()?;
            Ok((TextFacts { state_hash, bytes: bytes?, scan }, heard))
        })
    }
}

fn unreadable(e: io::Error, at: u64) -> Error {
    if let Some(unlike) = Unlike::of(&e) {
        let what = format!("the snapshot is no gzip file that every reader reads alike: {unlike}");
        return Error::verify(what).hint(Unlike::REMEDY);
    }
    let what = match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("the snapshot is cut off after {at} bytes of text"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("the snapshot is damaged: no valid gzip after {at} bytes of text")
        }
        _ => return Error::failed("cannot read the snapshot").because(e),
    };
    Error::verify(what).because(e).hint("fetch the snapshot again from where it came from")
}
