//! A file read back from its medium while it is still written: one thread syncs what was written, a window behind, and another looks at it
//! on the medium itself, a window behind that.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use super::{Sums, go_on, not_given_back};
use crate::{
    base::{Context, Error, Result, durable, task::CancellationToken},
    store::PIECE_BYTES,
};

/// Bytes that are written before they are synced and read back: few enough that little is left when all is written, and enough that a
/// medium is not busy with syncing.
const WINDOW_BYTES: u64 = 16 << 20;

/// The one that syncs, and the one that reads.
type Threads = (JoinHandle<Result<()>>, JoinHandle<Result<Sums>>);

/// Reads a file back on threads of its own.
#[derive(Debug)]
pub(super) struct ReadBack {
    /// Gone once everything was written.
    written: Option<SyncSender<Window>>,
    threads: Option<Threads>,
    /// Of all that was written.
    hasher: blake3::Hasher,
    /// What is filled.
    window: Range<u64>,
}

/// Bytes that were written, and the BLAKE3 of the file up to their end.
#[derive(Debug)]
struct Window {
    place: Range<u64>,
    hash: blake3::Hash,
}

impl ReadBack {
    /// Begins behind the first `kept` bytes of a file, whose sums these are.
    ///
    /// # Errors
    /// When the file's descriptor cannot be doubled, or the system gives no thread.
    pub(super) fn begin(
        file: &File,
        path: &Path,
        kept: u64,
        sums: Sums,
        cancel: &CancellationToken,
    ) -> io::Result<Self> {
        let hasher = sums.blake3.clone();
        let syncer = Syncer { file: file.try_clone()?, path: path.to_owned(), cancel: cancel.clone() };
        let reader = Reader { file: file.try_clone()?, path: path.to_owned(), sums, cancel: cancel.clone() };
        // One window waits for each thread: the writer is never further ahead.
        let (written, to_sync) = sync_channel(1);
        let (synced, to_read) = sync_channel(1);
        let sync = thread::Builder::new().name("sync".to_owned()).spawn(move || syncer.run(&to_sync, &synced))?;
        let read = thread::Builder::new().name("read-back".to_owned()).spawn(move || reader.run(&to_read))?;
        Ok(ReadBack { written: Some(written), threads: Some((sync, read)), hasher, window: kept..kept })
    }

    /// Says that these bytes more were written.
    ///
    /// # Errors
    /// What was wrong with the medium, as soon as that is known.
    pub(super) fn written(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.window.end += bytes.len() as u64;
        if self.window.end - self.window.start < WINDOW_BYTES || self.send() {
            return Ok(());
        }
        self.join().map(drop)
    }

    /// Everything was written: gives the sums of what the medium gave back.
    ///
    /// # Errors
    /// When the medium cannot be synced or read, or does not give back what was written.
    pub(super) fn end(mut self) -> Result<Sums> {
        self.send();
        self.join()
    }

    /// False when a thread has ended, which it does before the last window only where something is wrong.
    fn send(&mut self) -> bool {
        let hash = self.hasher.finalize();
        let place = self.window.clone();
        self.window.start = self.window.end;
        self.written.as_ref().is_some_and(|written| written.send(Window { place, hash }).is_ok())
    }

    fn join(&mut self) -> Result<Sums> {
        self.written = None;
        let panicked = || Error::failed("a thread that reads a medium back panicked");
        let (sync, read) = self.threads.take().ok_or_else(panicked)?;
        let (synced, read) = (sync.join().map_err(|_| panicked())?, read.join().map_err(|_| panicked())?);
        synced.and(read)
    }
}

impl Drop for ReadBack {
    /// Nothing of the medium is open when its writer is gone: it can be unmounted.
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Syncer {
    file: File,
    path: PathBuf,
    cancel: CancellationToken,
}

impl Syncer {
    fn run(self, windows: &Receiver<Window>, synced: &SyncSender<Window>) -> Result<()> {
        for window in windows {
            go_on(&self.cancel)?;
            durable::sync_file(&self.file, &self.path)?;
            durable::forget_cached(&self.file, &window.place);
            durable::read_ahead(&self.file, &window.place);
            if synced.send(window).is_err() {
                // What is wrong says the reader.
                break;
            }
        }
        Ok(())
    }
}

struct Reader {
    file: File,
    path: PathBuf,
    sums: Sums,
    cancel: CancellationToken,
}

impl Reader {
    fn run(mut self, windows: &Receiver<Window>) -> Result<Sums> {
        let mut buffer = vec![0; PIECE_BYTES];
        for window in windows {
            self.window(&window, &mut buffer)?;
        }
        Ok(self.sums)
    }

    fn window(&mut self, Window { place, hash }: &Window, buffer: &mut [u8]) -> Result<()> {
        let mut at = place.start;
        while at < place.end {
            go_on(&self.cancel)?;
            let piece = usize::try_from(place.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let piece = &mut buffer[..piece];
            self.file.read_exact_at(piece, at).or_failed(|| format!("cannot read {} back", self.path.display()))?;
            self.sums.update(piece);
            at += piece.len() as u64;
        }
        if self.sums.blake3.finalize() == *hash {
            return Ok(());
        }
        Err(not_given_back(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn begin(directory: &Path, kept: &[u8]) -> (File, ReadBack) {
        let path = directory.join("file");
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(kept).unwrap();
        let sums = Sums::of(kept);
        let read_back = ReadBack::begin(&file, &path, kept.len() as u64, sums, &CancellationToken::new()).unwrap();
        (file, read_back)
    }

    #[test]
    fn sums_are_those_of_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..WINDOW_BYTES as usize * 2 + 77).map(|at| (at / 251) as u8).collect();
        for kept in [0, 5, data.len()] {
            let (mut file, mut read_back) = begin(directory.path(), &data[..kept]);
            for piece in data[kept..].chunks(1_000_003) {
                file.write_all(piece).unwrap();
                read_back.written(piece).unwrap();
            }
            let (found, expected) = (read_back.end().unwrap(), Sums::of(&data));
            assert_eq!(found.blake3.finalize(), expected.blake3.finalize());
        }
    }

    #[test]
    fn a_medium_that_gives_back_something_else_is_found_out_while_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (mut file, mut read_back) = begin(directory.path(), b"");
        let window = vec![7; WINDOW_BYTES as usize];
        let mut told = window.clone();
        told[1 << 20] = 8;
        file.write_all(&window).unwrap();
        read_back.written(&told).unwrap();
        // The threads have ended or are about to: some windows later at the latest nobody takes one.
        let error = (0..5).find_map(|_| {
            file.write_all(&window).unwrap();
            read_back.written(&window).err()
        });
        assert!(error.unwrap().to_string().contains("does not give back"));
    }

    #[test]
    fn a_file_that_became_shorter_and_a_signal_end_it() {
        let directory = tempfile::tempdir().unwrap();
        let (file, mut read_back) = begin(directory.path(), b"");
        file.set_len(2).unwrap();
        read_back.written(b"abc").unwrap();
        assert!(read_back.end().unwrap_err().to_string().contains("cannot read"));
        let path = directory.path().join("file");
        let cancel = CancellationToken::new();
        cancel.cancel();
        let mut read_back = ReadBack::begin(&file, &path, 0, Sums::default(), &cancel).unwrap();
        read_back.written(b"ab").unwrap();
        assert!(matches!(read_back.end().unwrap_err().kind(), crate::base::Kind::Interrupted(_)));
    }
}
