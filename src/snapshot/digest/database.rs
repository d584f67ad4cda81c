//! The digest of a database, live or stopped: one consistent cut is read, and no file is written.

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::{Digest, spill_directory};
use crate::{
    base::{Context, Error, Kind, Progress, Result, task::CancellationToken, text},
    database::{Cut, CutOptions, PgDump, Settings},
    kwil::{
        Family,
        digest::TextDigest,
        filter::{DumpFilter, FilterReport, LineRules},
        key::PublicKey,
    },
    snapshot::{gzip::Compression, pipeline::Job},
};

/// How a database is digested.
#[derive(Debug, Clone, Default)]
pub struct DatabaseDigestOptions {
    /// The family the operator expects; otherwise found by looking.
    pub family: Option<Family>,
    /// The pg_dump to use.
    pub pg_dump: Option<PathBuf>,
}

/// Digests a database.
///
/// # Errors
/// When the database, pg_dump or the disk fails, or what is in it has no digest.
pub async fn digest_database(
    settings: &Settings,
    options: DatabaseDigestOptions,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<Digest> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            Err(Error::new(Kind::Interrupted(2), "interrupted while digesting the database"))
        }
        digest = digest(settings, options, progress) => digest,
    }
}

async fn digest(settings: &Settings, options: DatabaseDigestOptions, progress: &Progress) -> Result<Digest> {
    progress.step(format!("Reading the database \"{}\" at {}", text::escape(&settings.dbname), settings.place()));
    // A cut is of one moment, also where blocks go on being made.
    let cut_options = CutOptions { family: options.family, allow_live: true };
    let cut = Cut::open(settings, cut_options, progress).await?;
    let facts = cut.facts().clone();
    let program = PgDump::find(options.pg_dump.as_deref(), facts.server_major).await?;
    let (report, text) = read(&cut, &program, progress).await?;
    let validators = report.voters.iter().map(|voter| {
        let key = PublicKey::from_voter_name(facts.family, &voter.name)?;
        let power = u64::try_from(voter.power)
            .map_err(|_| Error::verify(format!("the validator {key} has the power {}", voter.power)))?;
        Ok((key, power))
    });
    let mut digest = Digest::new(&text, &validators.collect::<Result<Vec<_>>>()?);
    digest.height = Some(facts.height);
    digest.server_major = Some(facts.server_major);
    digest.dump_major = Some(program.major());
    Ok(digest)
}

/// Everything the cut holds, filtered and digested; where its text comes from is decided here.
async fn read(cut: &Cut, program: &PgDump, progress: &Progress) -> Result<(FilterReport, TextDigest)> {
    let facts = cut.facts();
    let mut dump = program.start(cut)?;
    let pg_dump_text = dump.take_text()?;
    let (end, at_end) = oneshot::channel();
    // The dump stays in this frame: dropping the future ends pg_dump, and with it the text.
    let watch = async {
        let _ = end.send(dump.wait().await);
        std::future::pending::<()>().await;
    };
    let (family, height) = (facts.family, facts.height);
    let expected_bytes = Some(facts.tables_size_bytes).filter(|n| *n > 0);
    let reporter = progress.clone();
    let work = tokio::task::spawn_blocking(move || {
        let job = Job {
            text: pg_dump_text,
            ended: move || at_end.blocking_recv().unwrap_or_else(|_| Err(Error::failed("pg_dump was stopped"))),
            filter: DumpFilter::new(family, LineRules::Faithful),
            height,
            compression: Compression::Fast,
            jobs: 0,
            spill: Some(spill_directory()),
            expected_bytes,
            progress: &reporter,
        };
        job.digest()
    });
    let done = tokio::select! {
        done = work => done,
        () = watch => unreachable!("it only watches"),
    };
    progress.done("snapshot");
    done.or_failed(|| "the digest ended unexpectedly")?
}
