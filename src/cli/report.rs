//! `report`: what a run was like, from the logs that its nodes have kept.

use std::path::PathBuf;

use clap::Args;

use super::{
    Session,
    drill::{predict, read_links_of},
    words,
};
use crate::{
    app::{drill::Plan, run::report},
    base::{Context, Error, Result, durable},
};

/// Flags of `report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every node that publishes, seeds, fetches, joins or relays keeps a run log in .regenesis/ beside its files, also while \
    it runs: who had how much when, what came from whom, what validators signed; no addresses, no secrets. Logs of several nodes of \
    one migration, copied from their machines with their directories, make one report. Times are those of each machine's own clock.\n\n\
    Examples:\n  regenesis report --dir ./network_snapshot -o report.html\n  \
    regenesis report --dir ./lead --dir ./validator-1 --drill -o report.html\n  \
    regenesis report --dir ~/.kwild-new --output json"
)]
pub(crate) struct ReportArgs {
    /// Directory of a publish, a seed, a fetch or a relay, or the root of a join; several make one report
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    dir: Vec<PathBuf>,
    /// Write it as one page for a browser, that needs no network and no script
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Predict such a run, too, and show it beside what happened: on lines that carry what these have shown
    #[arg(long)]
    drill: bool,
    /// Predict it on the lines that this file declares, as drill reads it
    #[arg(long, value_name = "FILE", requires = "drill")]
    links: Option<PathBuf>,
}

impl ReportArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let directories = self.dir;
        let read = tokio::task::spawn_blocking(move || report::of_directories(&directories));
        let mut report = read.await.or_failed(|| "the report ended unexpectedly")??;
        if self.drill {
            let plan = match &self.links {
                Some(path) => Some(Plan { links: read_links_of(path)?, size_bytes: report.size_bytes, rng_seed: 1 }),
                None => report.plan(),
            };
            let plan = plan.ok_or_else(|| {
                Error::failed("the logs show too little of the lines for a prediction")
                    .hint("name the directories of more nodes, or declare the lines with --links FILE")
            })?;
            report.prediction = Some(predict(plan, &session.cancel).await?);
        }
        if let Some(path) = &self.out {
            durable::write_atomically(path, words::report::page(&report).as_bytes(), 0o644)?;
            session.progress.note(format!("the report is in {}: open it in a browser", path.display()));
        }
        session.output.result(&report)
    }
}
