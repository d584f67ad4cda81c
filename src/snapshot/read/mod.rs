//! Reading a snapshot: a file, or what arrives of one in its order, becomes text once, and whoever wants to know
//! something of the text listens. In goes a reader, out come the text's hash, its length and what each listener makes
//! of it; nothing is read a second time to learn another thing of it.
//!
//! Threads of [`SnapshotText::read_heard`]: the caller's thread *reads* (and has up to four others inflate, `text.rs`);
//! one listener *hashes*, one *checks statements*, one more may be the caller's (`listen.rs`). The file is in one
//! state: *plain* SQL text; *members* of our own form, inflated in parallel; or a *stream*, into which members turn for
//! good at the first one that is a stranger's or not what it says; *ended* follows members that are over or could not
//! be read.
//!
//! Invariant: every piece goes to every listener that still listens, in the text's order, and is read once. The end is
//! told (`TextReader::next_piece` gives `None`) only when all checksums and lengths of a gzip file were right: what a
//! caller hears before that is not proved yet.
//!
//! 1. [`SnapshotText::new`] looks at the first two bytes and chooses the state.
//! 2. Before each piece the token is looked at; the piece is counted against the bound and given to the listeners, each
//!    of which has a queue of three pieces: the slowest sets the pace.
//! 3. At the end, of whatever kind, the queues are let go of, and every listener's word is waited for.
//!
//! Good end: [`TextFacts`], also where a statement does not belong: the statement check then listens no longer, and the
//! others hear the rest. Errors: `Kind::Verify` for a file that is cut, damaged, too long, or read in different ways by
//! different readers; `Kind::Failed` for a failed read or a hashing thread that is gone. What was heard is then
//! dropped. Interruption: the token ends the pass with `Kind::Interrupted`.

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

pub(super) use inflate::LENGTHS_ORDER;
pub use listen::{Listener, Listeners, Pieces, hash_pieces, scan_pieces};
pub use piece::TextPiece;
use stream::Unlike;
pub(super) use text::TextReader;

use crate::base::{Context, Error, Next, Result, Sha256Hash, limits::SNAPSHOT_TEXT_BYTES_MAX, task::CancellationToken};

/// The bounds of one pass over a snapshot.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Bytes of uncompressed text beyond which the file is refused.
    pub max_bytes: u64,
    /// Token that ends the pass with an error when it is cancelled; it is looked at before each piece.
    pub cancel: CancellationToken,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::until(&CancellationToken::new())
    }
}

impl ReadOptions {
    /// Options for a text of any size that a real network has, in a pass that this token ends.
    pub fn until(cancel: &CancellationToken) -> Self {
        ReadOptions { max_bytes: SNAPSHOT_TEXT_BYTES_MAX, cancel: cancel.clone() }
    }
}

/// What one pass over a snapshot tells of its text.
#[derive(Debug)]
pub struct TextFacts {
    /// SHA-256 of the uncompressed text, which a genesis pins as its state hash.
    pub state_hash: Sha256Hash,
    /// Bytes of the uncompressed text.
    pub bytes: u64,
    /// What the text's statements make, or the first one that does not belong into a Kwil dump.
    pub scan: Result<ScanReport, ScanError>,
}

/// A snapshot that is about to be read once, gzip or plain.
pub struct SnapshotText<R> {
    reader: TextReader<R>,
}

impl<R> std::fmt::Debug for SnapshotText<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotText").finish_non_exhaustive()
    }
}

impl SnapshotText<File> {
    /// Opens a snapshot file.
    ///
    /// # Errors
    /// When there is no file, it is a directory, or it cannot be read.
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
    /// Takes the snapshot that a reader gives from its first byte on.
    ///
    /// # Errors
    /// When its first bytes cannot be read.
    pub fn new(reader: R) -> Result<Self> {
        let reader = TextReader::new(reader).or_failed(|| "cannot read the snapshot");
        let reader = reader.map_err(|e| e.hint("check that it is a file, and that this user may read it"))?;
        Ok(SnapshotText { reader })
    }

    /// Takes the snapshot that a reader gives, which must be gzip.
    ///
    /// # Errors
    /// `Kind::Verify` when it does not begin as a gzip file does; `Kind::Failed` when its first bytes cannot be read.
    pub fn gzip(reader: R) -> Result<Self> {
        let text = Self::new(reader)?;
        if !text.is_gzip() {
            return Err(Error::verify("the snapshot does not begin as a gzip file does"));
        }
        Ok(text)
    }

    /// Whether the file begins as a gzip file does; a file that does not is its own text.
    pub fn is_gzip(&self) -> bool {
        self.reader.is_gzip()
    }

    /// At least this many of the text's first bytes, or all where
    /// there are fewer. What is wrong with the rest is not told.
    pub(super) fn beginning(mut self, bytes: usize) -> Vec<u8> {
        let mut beginning = Vec::new();
        while beginning.len() < bytes
            && let Ok(Some(piece)) = self.reader.next_piece()
        {
            beginning.extend_from_slice(&piece);
        }
        beginning
    }

    /// Gives out the text in pieces, to its end, and tells `progress`
    /// the bytes of text so far; gives their number. Blocking.
    ///
    /// # Errors
    /// `Kind::Verify` when the text is cut, damaged, longer than allowed, or gzip that not every reader reads alike;
    /// `Kind::Interrupted` when the token was cancelled; `Kind::Failed` when the file cannot be read, or `give` says
    /// (by `false`) that nobody takes more.
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
                    .hint(Next::MoreTextBytes));
            }
            if !give(&Arc::new(piece)) {
                return Err(Error::failed("a thread that read the snapshot ended early"));
            }
            progress(bytes);
        }
    }

    /// Reads the text to its end for its hash and its statements. Blocking.
    ///
    /// # Errors
    /// As [`SnapshotText::each_piece`]; a statement that does not belong is no error, but part of the facts.
    pub fn read(self, options: &ReadOptions, progress: impl FnMut(u64)) -> Result<TextFacts> {
        self.read_heard(options, progress, None::<fn(Pieces<TextPiece>)>).map(|(facts, _)| facts)
    }

    /// [`SnapshotText::read`], with one more listener in the same
    /// pass where `listen` is given; it may end early. Blocking.
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
            let heard = heard.map(Listener::end).transpose()?;
            Ok((TextFacts { state_hash, bytes: bytes?, scan }, heard))
        })
    }
}

/// The error of a read that failed after this many bytes of text: what is wrong with the file, or with reading it.
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
