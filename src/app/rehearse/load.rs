//! Feeding psql with the very bytes that are checked: one pass over the file unpacks it, hashes it, checks each statement,
//! digests the rows, and gives psql each piece once it is cleared.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kwil_formats::{
    dump::{
        digest::TextDigest,
        scan::{ScanReport, StatementScanner},
    },
    formats::Family,
    judge::rehearsal::{Complaints, Outline, chain_after_restore, objects_before_restore},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::{
    base::{Context, Error, Progress, Result, Sha256Hash, task::CancellationToken},
    database::RehearsalDatabase,
    snapshot::{
        self, TextPiece, VerifyOptions,
        digest::{self, DatabaseDigestOptions, StateDigester},
    },
};

/// The text's pieces waiting for psql.
const PIECES_WAITING: usize = 3;
/// Text before the family shows: the schemas come first.
const HELD_BYTES_MAX: usize = 16 << 20;

/// What one pass over the file found.
pub(super) struct Read {
    pub(super) report: ScanReport,
    pub(super) state_hash: Sha256Hash,
    pub(super) digest: TextDigest,
    pub(super) outline: Outline,
}

/// What became of the text.
pub(super) struct Loaded {
    pub(super) read: Read,
    pub(super) complaints: Complaints,
    /// Rows of each table after the restore.
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
    let reading = tokio::task::spawn_blocking(move || read(&file, &to_psql, tell_family, &reporter, cancel));
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

type Piece = Arc<TextPiece>;

fn read(
    file: &Path,
    to_psql: &mpsc::Sender<Piece>,
    tell_family: oneshot::Sender<Family>,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<Read> {
    let (mut hash, mut scanner, mut outline) = (Sha256::new(), StatementScanner::new(), Outline::new());
    let mut digester = StateDigester::new(&digest::spill_directory());
    let mut tell_family = Some(tell_family);
    let (mut held, mut held_bytes, mut bytes) = (Vec::new(), 0, 0);
    let mut psql_takes = true;
    let mut take = |piece: Piece| -> Result<()> {
        hash.update(&*piece);
        scanner.push(&piece)?;
        digester.push(&piece)?;
        outline.push(&piece)?;
        bytes += piece.len() as u64;
        progress.bytes("restore", bytes, None, "");
        held_bytes += piece.len();
        held.push(piece);
        if let Some(family) = scanner.family()
            && let Some(tell) = tell_family.take()
        {
            // Nobody waits any more: sending says so, too.
            let _ = tell.send(family);
        }
        if tell_family.is_some() {
            return if held_bytes > HELD_BYTES_MAX {
                Err(Error::verify("the snapshot makes more schemas than any Kwil network has"))
            } else {
                Ok(())
            };
        }
        for piece in held.drain(..) {
            psql_takes = psql_takes && to_psql.blocking_send(piece).is_ok();
        }
        Ok(())
    };
    let options = VerifyOptions { cancel, ..VerifyOptions::default() };
    let mut taken = Ok(());
    snapshot::each_piece(file, &options, |piece| {
        taken = take(piece);
        taken.is_ok()
    })?;
    taken?;
    let state_hash = Sha256Hash::from_bytes(hash.finalize().into());
    Ok(Read { report: scanner.finish()?, state_hash, digest: digester.finish_text()?, outline })
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
    let options = DatabaseDigestOptions { family: Some(report.family), pg_dump: None };
    digest::digest_database(database.settings(), options, progress, cancel.clone()).await
}
