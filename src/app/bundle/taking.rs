//! Chunks from media into the store, which proves each of them before it counts.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::media::Seen;
use crate::{
    base::{Error, Progress, Result, limits, task::CancellationToken, text},
    bundle::ReadChunks,
    manifest::{ChunkSet, ranges},
    store::{Buffers, Outcome, Store, Untrusted, Writer},
};

pub(super) fn words_of_range(range: std::ops::Range<u32>) -> String {
    match range.len() {
        1 => range.start.to_string(),
        _ => format!("{}-{}", range.start, range.end - 1),
    }
}

/// Gives chunks to the store, and hears what became of them.
pub(in crate::app) struct Taking<'a> {
    store: Arc<Store>,
    queue: mpsc::Sender<Untrusted>,
    outcomes: mpsc::Receiver<Outcome>,
    buffers: Arc<Buffers>,
    progress: &'a Progress,
    pub(in crate::app) have: ChunkSet,
    have_bytes: u64,
    /// Given to the store, and not answered yet.
    asked: u32,
    asked_bytes: u64,
    /// Those and the ones that were bad on the medium that is read: not to be read from it again.
    tried: ChunkSet,
    bad: Vec<u32>,
    taken_chunks: u32,
    taken_bytes: u64,
}

impl<'a> Taking<'a> {
    pub(in crate::app) fn new(
        store: &Arc<Store>,
        writer: &Writer,
        outcomes: mpsc::Receiver<Outcome>,
        have: ChunkSet,
        progress: &'a Progress,
    ) -> Self {
        Taking {
            queue: writer.queue(),
            buffers: writer.buffers(),
            store: store.clone(),
            outcomes,
            progress,
            have_bytes: have.iter().map(|chunk| store.contents().chunk_len(chunk) as u64).sum(),
            tried: ChunkSet::empty(have.len()),
            have,
            asked: 0,
            asked_bytes: 0,
            bad: Vec::new(),
            taken_chunks: 0,
            taken_bytes: 0,
        }
    }

    /// Takes the chunks of one medium, if it is used.
    pub(super) fn medium(&mut self, seen: &mut Seen, cancel: &CancellationToken) -> Result<()> {
        let (report, Some(volume)) = (&mut seen.report, &seen.volume) else { return Ok(()) };
        if report.refused.is_some() {
            return Ok(());
        }
        let name = report.label.clone().unwrap_or_default();
        self.progress.step(format!("reading {name} at {}", report.directory.display()));
        self.begin(self.have.len());
        let store = self.store.clone();
        let read = volume.read_chunks(store.contents(), self, cancel);
        // Also after a signal: what was taken in is counted.
        self.settle()?;
        let troubles = read?;
        (report.taken_chunks, report.taken_bytes) = (self.taken_chunks, self.taken_bytes);
        report.bad_chunks = u32::try_from(self.bad.len()).unwrap_or(u32::MAX);
        let bad = (!self.bad.is_empty()).then(|| {
            self.bad.sort_unstable();
            let words = text::first_few(ranges(self.bad.iter().copied()).into_iter().map(words_of_range), 6);
            format!("{} not what was signed: {words}", text::count(self.bad.len() as u64, "chunk"))
        });
        for trouble in troubles.into_iter().map(|trouble| trouble.0).chain(bad) {
            self.progress.warning(format!("{name} at {}: {trouble}", report.directory.display()));
            report.troubles.push(trouble);
        }
        Ok(())
    }

    /// Where the chunks go.
    pub(super) fn store(&self) -> Arc<Store> {
        self.store.clone()
    }

    /// Begins with another medium.
    pub(in crate::app) fn begin(&mut self, chunk_count: u32) {
        self.tried = ChunkSet::empty(chunk_count);
        self.bad.clear();
        (self.taken_chunks, self.taken_bytes) = (0, 0);
    }

    /// Chunks and bytes that the medium that is read has given.
    pub(in crate::app) fn taken(&self) -> (u32, u64) {
        (self.taken_chunks, self.taken_bytes)
    }

    fn hear(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Stored { chunk, .. } => {
                let len = self.answered(chunk);
                self.have.insert(chunk);
                self.taken_chunks += 1;
                self.taken_bytes += len;
                self.have_bytes += len;
                self.progress.bytes("import", self.have_bytes, Some(self.store.contents().size_bytes()), "");
            }
            Outcome::Bad { chunk, .. } => {
                self.answered(chunk);
                self.bad.push(chunk);
            }
            Outcome::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits until the store has answered for everything.
    pub(in crate::app) fn settle(&mut self) -> Result<()> {
        while self.asked > 0 {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for one answer of the store.
    fn wait(&mut self) -> Result<()> {
        let outcome = futures::executor::block_on(self.outcomes.recv());
        self.hear(outcome.ok_or_else(|| Error::failed("the writer ended"))?)
    }

    /// The store has answered for a chunk; gives its length.
    fn answered(&mut self, chunk: u32) -> u64 {
        let len = self.store.contents().chunk_len(chunk) as u64;
        self.asked -= 1;
        self.asked_bytes -= len;
        len
    }
}

impl ReadChunks for Taking<'_> {
    fn is_wanted(&mut self, chunk: u32) -> bool {
        !self.have.contains(chunk) && self.tried.insert(chunk)
    }

    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }

    fn take(&mut self, chunk: u32, data: Vec<u8>) -> Result<()> {
        let sent = futures::executor::block_on(self.queue.send(Untrusted::whole(0, chunk, data)));
        if sent.is_ok() {
            self.asked += 1;
            self.asked_bytes += self.store.contents().chunk_len(chunk) as u64;
        }
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.hear(outcome)?;
        }
        sent.map_err(|_| Error::failed("the writer ended"))?;
        // Of large chunks fewer wait than the queue takes: all of them are in memory.
        while self.asked_bytes > limits::MEDIA_ASKED_BYTES_MAX {
            self.wait()?;
        }
        Ok(())
    }
}
