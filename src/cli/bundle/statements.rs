//! `bundle statements`: what validators have signed, over an air gap.

use std::path::PathBuf;

use clap::Args;

use crate::{
    app::bundle::{self, Source},
    base::{Result, durable, files::read_bounded, limits},
    cli::{Session, words::media::ShownStatements},
};

#[derive(Debug, Args)]
#[command(
    after_help = "What is taken is judged first: only a validator's word about this manifest counts, whoever carried it. With enough of it the\n\
    certificate lies in DIR/.regenesis. A node that serves DIR meanwhile hears of it within a second, and tells its swarm.\n\n\
    Examples:\n  regenesis bundle statements --dir ./island -o /mnt/stick/island.statements\n  \
    regenesis bundle statements /mnt/stick/island.statements --dir ./network_snapshot -o /mnt/stick/all.statements"
)]
pub(crate) struct StatementsArgs {
    /// What is taken in: a file that this command or `snapshot attest` wrote, or a certificate (repeatable)
    #[arg(value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The directory that was published, imported, fetched or joined into
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where all is written that is known then
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl StatementsArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        // A list or a certificate.
        let max = limits::STATEMENTS_FILE_SIZE_BYTES_MAX.max(limits::EVIDENCE_SIZE_BYTES_MAX);
        let read = |path: &PathBuf| {
            let bytes = read_bounded(path, max, "file of statements")?;
            Ok(Source { name: path.display().to_string(), bytes })
        };
        let sources = self.from.iter().map(read).collect::<Result<Vec<_>>>()?;
        let carried = bundle::carry(&self.dir, &sources)?;
        if let Some(path) = &self.out {
            durable::write_atomically(path, &carried.file, 0o644)?;
        }
        session.output.result(&ShownStatements { carried, file: self.out })
    }
}
