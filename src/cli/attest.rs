//! `snapshot attest`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{Session, database::DatabaseArgs};
use crate::{
    app::{
        attest::{self, AttestOptions, OldNode},
        files::read_private_key,
    },
    base::{Error, Result},
};

/// Flags of `snapshot attest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit 0: the state agrees. Exit 3: it does not, and the statement that was written is a dissent.\n\n\
    Example:\n  regenesis snapshot attest --manifest ./network_snapshot --key-file ~/.kwild/private_key --from-root ~/.kwild"
)]
pub(crate) struct AttestArgs {
    /// The manifest, or the directory it lies in; a genesis.json beside it is compared, too
    #[arg(long, value_name = "MANIFEST")]
    manifest: PathBuf,
    /// The validator's key in the old network
    #[arg(short = 'k', long, value_name = "FILE")]
    key_file: PathBuf,
    /// Take what the lead changed in the genesis: validators, owner, parameters
    #[arg(long)]
    accept_genesis_change: bool,
    /// Where the signed statement goes [default: attestation-KEY.regenesis]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The pg_dump to run [default: the best one on PATH or among the installed versions]
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl AttestArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let key = Arc::new(read_private_key(&self.key_file)?);
        let settings = self.database.resolve(&session.progress)?.settings;
        let options = AttestOptions {
            old: OldNode { settings, key, pg_dump: self.pg_dump, found: false },
            manifest: self.manifest,
            accept_genesis_change: self.accept_genesis_change,
            out: self.out,
        };
        let attested = attest::attest(options, &session.progress, &session.cancel).await?;
        if attested.compared.agrees {
            return session.output.result(&attested);
        }
        let error = Error::verify("the state that the lead signed is NOT the one in this database")
            .hint("tell the lead and the other validators which tables differ; do not start the new network yet");
        session.output.result_with_error(&attested, error)
    }
}
