//! An artifact whose bytes lie in other people's files, such as those of mounted media: it is read there, piece by piece, and never written.
//!
//! A file is opened for each reading and closed again: a medium may be taken away and put back. Nothing tells reliably that somebody wrote to
//! one, so every chunk is checked whenever it is read.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{Contents, Disk, Stamp, Store};
use crate::{
    base::{Error, Next, Result},
    manifest::ChunkSet,
};

/// Bytes of an artifact, in a file of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// Where they begin in it.
    pub at: u64,
    /// How many there are.
    pub bytes: u64,
}

/// An artifact in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    /// In order, each with where it begins in the artifact.
    pieces: Vec<(u64, Piece)>,
    size_bytes: u64,
}

impl Pieces {
    /// The artifact that these pieces are, one behind the other; their files are there.
    ///
    /// # Errors
    /// When one is not, or is too short.
    pub(super) fn look(pieces: Vec<Piece>) -> Result<Self> {
        let mut size_bytes = 0;
        let placed = pieces.into_iter().map(|piece| {
            let start = size_bytes;
            size_bytes += piece.bytes;
            (start, piece)
        });
        let pieces: Vec<(u64, Piece)> = placed.collect();
        for (_, piece) in &pieces {
            let shown = piece.path.display();
            let found = open(&piece.path).and_then(|file| file.metadata());
            let found = found.map_err(|e| gone(format!("cannot read {shown}, where chunks are")).because(e))?.len();
            if found < piece.at + piece.bytes {
                return Err(gone(format!(
                    "{shown} has {found} bytes, and chunks up to byte {}",
                    piece.at + piece.bytes
                )));
            }
        }
        Ok(Pieces { pieces, size_bytes })
    }

    /// The piece in which a byte lies, and how far from its beginning.
    fn piece(&self, offset: u64) -> Option<(&Piece, u64)> {
        let at = self.pieces.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, piece) = &self.pieces[at];
        Some((piece, offset - start)).filter(|(piece, within)| *within < piece.bytes)
    }

    /// What is said of a chunk that begins at this byte and is not what was signed.
    pub(super) fn is_not_signed(&self, offset: u64, detail: &str) -> Error {
        let path = self.piece(offset).map_or_else(String::new, |(piece, _)| piece.path.display().to_string());
        Error::verify(format!("{path} does not hold what was signed: {detail}")).hint(Next::MediumBack)
    }
}

fn gone(what: String) -> Error {
    Error::failed(what).hint(Next::MediumBack)
}

/// Opens a regular file, without following a link or waiting for anything.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

impl Disk for std::sync::Arc<Pieces> {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let (piece, within) = self.piece(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
            let here = usize::try_from(piece.bytes - within).map_or(buf.len(), |left| left.min(buf.len()));
            let (part, rest) = buf.split_at_mut(here);
            let read = open(&piece.path).and_then(|file| file.read_exact_at(part, piece.at + within));
            read.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", piece.path.display())))?;
            (buf, offset) = (rest, offset + here as u64);
        }
        Ok(())
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of_nothing_that_changes(self.size_bytes))
    }
}

impl Store {
    /// [`Store::open_complete`], where some artifacts, by their places in the manifest, lie in pieces of other files.
    ///
    /// # Errors
    /// As [`Store::open_complete`]; when one of those files is not there.
    pub fn open_lent(directory: &Path, contents: Contents, lent: Vec<Option<Vec<Piece>>>) -> Result<Store> {
        let store = Self::open_sealed(directory, contents, lent)?;
        *store.doubted() = ChunkSet::full(store.contents().chunk_count());
        Ok(store)
    }
}
