//! `snapshot digest`.

use std::{fmt, path::PathBuf};

use clap::Args;
use kwil_formats::formats::GENESIS_FILE_NAME;
use serde::Serialize;

use super::{Session, database::DatabaseArgs, values::FamilyChoice, words};
use crate::{
    base::{Context, Error, Result, durable},
    manifest::genesis_validators,
    snapshot::{
        self, ReadOptions, VerifyOptions,
        digest::{self, Comparison, DatabaseDigestOptions, Digest, Other},
    },
};

/// Flags of `snapshot digest`.
#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// A snapshot, which is checked against its genesis; without it the database is read, live or stopped
    #[arg(conflicts_with_all = ["DatabaseArgs", "pg_dump", "family"])]
    file: Option<PathBuf>,
    /// The genesis that the snapshot belongs to [default: genesis.json beside it]
    #[arg(long, short, value_name = "FILE", requires = "file")]
    genesis: Option<PathBuf>,
    /// Name what differs from this earlier result (made with --output json); exit 3 if something does
    #[arg(long, value_name = "OTHER.json")]
    compare: Option<PathBuf>,
    /// Compare the validators, too, that a snapshot's genesis names for the new network [default: only those of two databases]
    #[arg(long, requires = "compare")]
    validators: bool,
    /// Which formats the database has: auto, v0.9 or v0.10
    #[arg(long, default_value = "auto", value_name = "FAMILY")]
    family: FamilyChoice,
    /// The pg_dump to run [default: the best one on PATH or among the installed versions]
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Serialize)]
struct DigestResult {
    #[serde(flatten)]
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

impl fmt::Display for DigestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.comparison {
            // Hundreds of tables would hide the one that differs.
            Some(comparison) => {
                words::digest_summary(&self.digest, f)?;
                write!(f, "\n{comparison}")
            }
            None => write!(f, "{}", self.digest),
        }
    }
}

impl DigestArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        // Said before a long reading.
        let other = self.compare.map(|path| Other::read(&path)).transpose()?;
        let digest = match self.file {
            Some(file) => of_file(file, self.genesis, session).await?,
            None => {
                let settings = self.database.resolve(&session.progress)?.settings;
                let options =
                    DatabaseDigestOptions { family: self.family.0, pg_dump: self.pg_dump, before_blocks: false };
                digest::digest_database(&settings, options, &session.progress, session.cancel.clone()).await?
            }
        };
        let comparison = other.map(|other| digest.compare(&other, self.validators, "this one", "the other"));
        let equal = comparison.as_ref().is_none_or(|comparison| comparison.equal);
        let result = DigestResult { digest, comparison };
        if equal {
            return session.output.result(&result);
        }
        let error = Error::verify("the two states differ")
            .hint("a node whose tables differ at the same height did not run the same blocks: ask its operator");
        session.output.result_with_error(&result, error)
    }
}

async fn of_file(file: PathBuf, genesis: Option<PathBuf>, session: &Session) -> Result<Digest> {
    let genesis = genesis.unwrap_or_else(|| durable::parent(&file).join(GENESIS_FILE_NAME));
    let options = VerifyOptions {
        read: ReadOptions::until(&session.cancel),
        spill: Some(digest::spill_directory()),
        ..VerifyOptions::default()
    };
    let progress = session.progress.clone();
    let work = move || {
        let verified = snapshot::verify(&file, &genesis, &options, &progress)?;
        let text = verified.digest.ok_or_else(|| Error::failed("the snapshot was not digested"))?;
        let validators = genesis_validators(&snapshot::read_genesis(&genesis)?)?;
        Ok(Digest { height: verified.height, ..Digest::new(&text, &validators) })
    };
    tokio::task::spawn_blocking(work).await.or_failed(|| "the digest ended unexpectedly")?
}
