//! Feeding psql with the very bytes that are checked: one pass over the file unpacks it, hashes it, checks each statement,
//! digests the rows, and gives psql each piece once it is cleared.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread};

use kwil_formats::{
    dump::{
        digest::TextDigest,
        scan::{ScanReport, StatementScanner},
    },
    formats::Family,
    judge::rehearsal::{Complaints, Outline, chain_after_restore, objects_before_restore},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    base::{Context, Error, Progress, Result, Sha256Hash, task::CancellationToken},
    database::RehearsalDatabase,
    snapshot::{
        digest::{self, DatabaseDigestOptions, StateDigester, digest_pieces},
        read::{Listeners, Pieces, ReadOptions, SnapshotText, TextPiece, hash_pieces},
    },
};

/// How many pieces of the text may wait for psql.
const PIECES_WAITING: usize = 3;
/// How many bytes of uncompressed text are held until the family shows, at most: the schemas come first.
const HELD_BYTES_MAX: usize = 16 << 20;

/// What one pass over the file found.
pub(super) struct Read {
    pub(super) report: ScanReport,
    pub(super) state_hash: Sha256Hash,
    pub(super) digest: TextDigest,
    pub(super) outline: Outline,
}

/// What the file held, and what the server made of it.
pub(super) struct Loaded {
    pub(super) read: Read,
    pub(super) complaints: Complaints,
    /// The number of rows of each `schema.table` after the restore.
    pub(super) rows: BTreeMap<String, u64>,
}

/// Reads, checks and loads the file. What does not pass the check is never given to psql, and psql is ended then, so that it
/// runs no part of a statement that it has.
pub(super) async fn load(
    database: &RehearsalDatabase,
    file: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Loaded> {
    let (to_psql, text) = mpsc::channel(PIECES_WAITING);
    let (tell_family, family) = oneshot::channel();
    // As long as this one is there, psql waits for more text.
    let more = to_psql.clone();
    let (file, reporter, cancel) = (file.to_owned(), progress.clone(), cancel.clone());
    let reading = tokio::task::spawn_blocking(move || read(&file, &to_psql, tell_family, &reporter, &cancel));
    let Ok(family) = family.await else {
        let read = reading.await.or_failed(|| "the snapshot was not read")?;
        return Err(read.err().unwrap_or_else(|| Error::verify("the snapshot makes nothing")));
    };
    let before = objects_before_restore(family);
    if !before.is_empty() {
        database.execute(before).await?;
    }
    let loading = database.load(text);
    tokio::pin!(loading, reading);
    let (read, ended) = tokio::select! {
        read = &mut reading => (read, None),
        // It takes no more: reading goes on to the file's end, since its hash is still wanted.
        ended = &mut loading => (reading.await, Some(ended)),
    };
    let read = read.or_failed(|| "the snapshot was not read")??;
    drop(more);
    let complaints = match ended {
        Some(ended) => ended?,
        None => loading.await?,
    };
    progress.done("restore");
    progress.step("Counting the restored rows");
    Ok(Loaded { read, complaints, rows: database.rows().await? })
}

fn read(
    file: &Path,
    to_psql: &mpsc::Sender<Arc<TextPiece>>,
    tell_family: oneshot::Sender<Family>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Read> {
    let text = SnapshotText::open(file)?;
    thread::scope(|scope| {
        let mut listeners = Listeners::new(scope);
        let hash = listeners.add_needed(hash_pieces)?;
        let digester = StateDigester::new(&digest::spill_directory());
        let digest = listeners.add_needed(|pieces| digest_pieces(pieces, digester)?.finish_text())?;
        let gate = Gate { scanner: StatementScanner::new(), outline: Outline::new(), to_psql: Some(to_psql) };
        let cleared = listeners.add_needed(|pieces| gate.clear(pieces, tell_family))?;
        let told = |bytes| progress.bytes("restore", bytes, None, "");
        let mut stopped = false;
        let read = text.each_piece(&ReadOptions::until(cancel), told, |piece| {
            stopped = !listeners.give(piece);
            !stopped
        });
        drop(listeners);
        let (state_hash, digest, cleared) = (hash.end()?, digest.end()?, cleared.end()?);
        // Where a listener ended the pass, its own error says why; where the file did, the listeners only heard too little.
        if !stopped {
            read?;
        }
        let (report, outline) = cleared?;
        Ok(Read { report, state_hash, digest: digest?, outline })
    })
}

/// What the text goes through to psql: no piece passes before every statement that ends in it was checked.
struct Gate<'a> {
    scanner: StatementScanner,
    outline: Outline,
    /// Where the text goes to; `None`: psql takes no more. The rest is still read, since the hash is wanted.
    to_psql: Option<&'a mpsc::Sender<Arc<TextPiece>>>,
}

impl Gate<'_> {
    /// Lets the text through, once the family shows, for which the database is prepared first.
    fn clear(mut self, pieces: Pieces<TextPiece>, tell: oneshot::Sender<Family>) -> Result<(ScanReport, Outline)> {
        let mut tell_family = Some(tell);
        let (mut held, mut held_bytes) = (Vec::new(), 0);
        for piece in pieces {
            self.scanner.push(&piece)?;
            self.outline.push(&piece)?;
            held_bytes += piece.len();
            held.push(piece);
            if let Some(family) = self.scanner.family() {
                // Nobody waits any more: giving says so, too.
                tell_family.take().map(|tell| tell.send(family));
                held.drain(..).for_each(|piece| self.give(piece));
            } else if held_bytes > HELD_BYTES_MAX {
                return Err(Error::verify("the snapshot makes more schemas than any Kwil network has"));
            }
        }
        Ok((self.scanner.finish()?, self.outline))
    }

    fn give(&mut self, piece: Arc<TextPiece>) {
        self.to_psql = self.to_psql.filter(|to_psql| to_psql.blocking_send(piece).is_ok());
    }
}

/// The digest of what was restored. The closing UPDATE, which is in no digest, is taken back first.
pub(super) async fn restored(
    database: &RehearsalDatabase,
    report: &ScanReport,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<digest::Digest> {
    database.execute(chain_after_restore(report.family)).await?;
    if let Some(height) = report.height {
        let back = format!("UPDATE kwild_voting.resolutions SET expiration = expiration + {height}");
        database.execute(&back).await?;
    }
    let options = DatabaseDigestOptions { family: Some(report.family), ..DatabaseDigestOptions::default() };
    digest::digest_database(database.settings(), options, progress, cancel.clone()).await
}
