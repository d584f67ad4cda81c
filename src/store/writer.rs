//! The thread that verifies and writes, and the one that syncs behind it.
//!
//! Order on disk: bytes, then a *written* record, then sync of the bytes, then a *synced* record, then sync of the
//! journal. So a record never claims more than the disk holds.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Buffers, Frontier, PrivateDirectory, Store, Untrusted,
    arrivals::Arrivals,
    disk_error,
    journal::{self, Kind},
    synced_ranges,
};
use crate::{
    base::{Context, Error, Result, clock, durable},
    manifest::{ChunkError, ChunkSet, ranges},
};

/// How many bytes may be unsynced before they are synced.
const SYNC_BYTES: u64 = 64 << 20;
/// How long bytes may be unsynced.
const SYNC_TIME: Duration = Duration::from_secs(2);
/// Pieces received and not yet written.
const QUEUE_PIECES: usize = 8;

/// What became of a chunk that somebody gave.
#[derive(Debug)]
pub enum Outcome {
    /// Verified and written.
    Stored {
        /// Who gave it.
        source: u64,
        /// Which chunk.
        chunk: u32,
    },
    /// Not the chunk: its source lied, or its disk did.
    Bad {
        /// Who gave it.
        source: u64,
        /// Which chunk.
        chunk: u32,
        /// What was wrong.
        error: ChunkError,
    },
    /// Our disk failed; nothing more is written.
    Failed(Error),
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    manifest_id: crate::base::Blake3Hash,
}

impl Journal {
    /// Writes a journal that claims exactly `have`, whose bytes are synced first, and opens it for more.
    pub(super) fn begin(private: &PrivateDirectory, name: &str, store: &Store, have: &ChunkSet) -> Result<Self> {
        store.sync()?;
        let manifest_id = store.contents().manifest_id();
        let mut bytes = journal::header(&manifest_id);
        for range in synced_ranges(have) {
            bytes.extend_from_slice(&journal::record(&manifest_id, Kind::Synced, &range));
        }
        private.write(name, &bytes)?;
        let path = private.file(name);
        let file =
            OpenOptions::new().append(true).open(&path).or_failed(|| format!("cannot open {}", path.display()))?;
        Ok(Journal { file, path, manifest_id })
    }

    /// Where it lies.
    fn directory(&self) -> PathBuf {
        self.path.parent().map(PathBuf::from).unwrap_or_default()
    }

    fn append(&self, kind: Kind, chunks: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut bytes = Vec::new();
        for range in ranges(chunks) {
            bytes.extend_from_slice(&journal::record(&self.manifest_id, kind, &range));
        }
        (&self.file).write_all(&bytes).map_err(|e| disk_error("cannot write", &self.path, e))
    }

    fn sync(&self) -> Result<()> {
        durable::sync_file(&self.file, &self.path)
    }

    /// Says that what it claims was on the disk when the files looked like this.
    fn close(&self, stamps: [u8; 8]) -> Result<()> {
        (&self.file)
            .write_all(&journal::closed(&self.manifest_id, stamps))
            .map_err(|e| disk_error("cannot write", &self.path, e))?;
        self.sync()
    }
}

/// Takes untrusted pieces of chunks, verifies, writes and syncs them.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Untrusted>,
    /// Ends the threads, whoever still holds an end of the queue: a source whose line is dead in the middle of a chunk may hold
    /// one for a long time.
    ended: CancellationToken,
    journal: Arc<Journal>,
    buffers: Arc<Buffers>,
    threads: Vec<JoinHandle<Result<()>>>,
    store: Arc<Store>,
    private_journal: PathBuf,
}

impl Writer {
    /// Starts the threads; each chunk's outcome goes to `outcomes`, whose reader must never wait for this writer.
    pub fn start(opened: super::Opened, outcomes: mpsc::Sender<Outcome>) -> Result<Self> {
        let (queue, pieces) = mpsc::channel(QUEUE_PIECES);
        let (written, to_sync) = sync_channel(1024);
        let journal = Arc::new(opened.journal);
        let buffers = Arc::new(Buffers::default());
        let private_journal = journal.path.clone();
        let ended = CancellationToken::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() -> Result<()> + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).or_failed(|| "cannot start a thread")
        };
        let write = {
            let (store, journal, outcomes) = (opened.store.clone(), journal.clone(), outcomes.clone());
            let (frontier, buffers) = (opened.frontier, buffers.clone());
            let pieces = Queue { pieces, ended: ended.clone() };
            let arrivals = Arrivals::new(opened.have, journal.directory());
            let work = move || {
                let writing = Writing { store, journal, arrivals, outcomes, written };
                let done = writing.run(pieces, &frontier, &buffers);
                frontier.end();
                done
            };
            spawn("chunk-writer", Box::new(work))?
        };
        let sync = {
            let (store, journal) = (opened.store.clone(), journal.clone());
            spawn(
                "chunk-sync",
                Box::new(move || {
                    let done = sync_chunks(&store, &journal, &to_sync);
                    if let Err(e) = &done {
                        // The error itself is the result of the thread; the swarm must hear of it now.
                        let _ = outcomes.blocking_send(Outcome::Failed(Error::failed(e.chain())));
                    }
                    done
                }),
            )?
        };
        Ok(Writer { queue, ended, journal, buffers, threads: vec![write, sync], store: opened.store, private_journal })
    }

    /// Where pieces go in; waits when the disk is slower than the peers.
    pub fn queue(&self) -> mpsc::Sender<Untrusted> {
        self.queue.clone()
    }

    /// Buffers for what goes in; the writer gives them back.
    pub fn buffers(&self) -> Arc<Buffers> {
        self.buffers.clone()
    }

    /// Takes nothing more in and waits until everything taken in is on the disk.
    ///
    /// # Errors
    /// The first thing that went wrong on disk.
    pub fn stop(self) -> Result<Arc<Store>> {
        let journal = self.journal.clone();
        let store = self.end()?;
        // What was read and was not what it must be makes the next run hash everything.
        if let Some(stamps) = store.stamps_of_parts().filter(|_| !store.is_damaged()) {
            journal.close(stamps)?;
        }
        Ok(store)
    }

    fn end(self) -> Result<Arc<Store>> {
        self.ended.cancel();
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(Error::failed("a writing thread panicked")));
            result = result.and(ended);
        }
        result.map(|()| self.store)
    }

    /// [`Writer::stop`] for a complete set: the files get their final names.
    pub fn finish(self) -> Result<Arc<Store>> {
        let journal = self.private_journal.clone();
        let store = self.end()?;
        store.finish()?;
        // From now on the files speak for themselves: they are hashed whenever they are opened.
        let _ = std::fs::remove_file(journal);
        Ok(store)
    }
}

/// Pieces to be written, until the writer is told to end.
struct Queue {
    pieces: mpsc::Receiver<Untrusted>,
    ended: CancellationToken,
}

impl Queue {
    /// The next one. After the end: what was taken in before it.
    fn next(&mut self) -> Option<Untrusted> {
        if !self.ended.is_cancelled() {
            let Queue { pieces, ended } = self;
            let next = futures::executor::block_on(async {
                tokio::select! {
                    biased;
                    piece = pieces.recv() => Some(piece),
                    () = ended.cancelled() => None,
                }
            });
            if let Some(piece) = next {
                return piece;
            }
        }
        self.pieces.close();
        self.pieces.try_recv().ok()
    }
}

/// What the thread that writes needs.
struct Writing {
    store: Arc<Store>,
    journal: Arc<Journal>,
    arrivals: Arrivals,
    outcomes: mpsc::Sender<Outcome>,
    /// To the thread that syncs.
    written: SyncSender<u32>,
}

impl Writing {
    fn run(mut self, mut pieces: Queue, frontier: &Frontier, buffers: &Buffers) -> Result<()> {
        while let Some(piece) = pieces.next() {
            let outcome = match self.write(&piece) {
                Ok(outcome) => outcome,
                Err(e) => {
                    let told = Error::failed(e.chain());
                    let told = match e.advice() {
                        Some(advice) => told.hint(advice.clone()),
                        None => told,
                    };
                    let _ = self.outcomes.blocking_send(Outcome::Failed(told));
                    return Err(e);
                }
            };
            buffers.put(piece.data);
            let Some(outcome) = outcome else { continue };
            if let Outcome::Stored { chunk, .. } = outcome {
                // The sync thread only ends early when the disk failed, which it reports.
                let _ = self.written.send(chunk);
                frontier.add(chunk);
            }
            if self.outcomes.blocking_send(outcome).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, piece: &Untrusted) -> Result<Option<Outcome>> {
        let outcome = self.arrivals.take(&self.store, piece)?;
        if let Some(Outcome::Stored { chunk, .. }) = outcome {
            self.journal.append(Kind::Written, [chunk])?;
        }
        Ok(outcome)
    }
}

fn sync_chunks(store: &Store, journal: &Journal, written: &Receiver<u32>) -> Result<()> {
    let mut pending: Vec<u32> = Vec::new();
    let mut bytes = 0;
    // Since the first of them, not the last: a slow and steady stream is synced, too.
    let mut since = clock::now();
    loop {
        let left = if pending.is_empty() { SYNC_TIME } else { SYNC_TIME.saturating_sub(clock::now() - since) };
        let ended = match written.recv_timeout(left) {
            Ok(chunk) => {
                if pending.is_empty() {
                    since = clock::now();
                }
                bytes += store.contents().chunk_len(chunk) as u64;
                pending.push(chunk);
                if bytes < SYNC_BYTES && clock::now() - since < SYNC_TIME {
                    continue;
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if !pending.is_empty() {
            pending.sort_unstable();
            store.sync()?;
            journal.append(Kind::Synced, pending.drain(..))?;
            journal.sync()?;
            bytes = 0;
        }
        if ended {
            return Ok(());
        }
    }
}
