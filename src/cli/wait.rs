//! `wait`: blocks until every chunk is out, until enough validators are ready, or until all are.

use std::path::PathBuf;

use clap::Args;

use super::{
    Session,
    swarm::{SeenArgs, SwarmArgs, Until, read_ticket},
    ticket::TicketArgs,
};
use crate::{
    app::meet::{self, WaitFor, WaitOptions},
    base::Result,
    manifest::certificate::CERTIFICATE_FILE_NAME,
};

/// Flags of `wait`.
#[derive(Debug, Args)]
#[command(
    after_help = "Fetches nothing: it is a member of the swarm that only hears what the others have and say. --timeout bounds \
    the whole wait; exit 5 when it has passed.\n\n\
    Examples:\n  regenesis wait --ticket-file ticket.txt --for quorum -o certificate.evidence\n  \
    regenesis wait --dir ./network_snapshot --for distinct --timeout 2h"
)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    ticket: TicketArgs,
    /// Wait with the files of this directory, of a publish, a fetch or a join: serves them meanwhile, or enters the swarm of the
    /// process that does
    #[arg(long, value_name = "DIR", conflicts_with = "ticket_file")]
    dir: Option<PathBuf>,
    /// What to wait for: every chunk is with two members, so that any one may leave; the manifest has its signatures; enough old validators have confirmed the
    /// state; enough validators are ready to make blocks; all are
    #[arg(
        long = "for",
        value_enum,
        value_name = "distinct|signed|attested|quorum|everyone",
        hide_possible_values = true
    )]
    wait: Until,
    /// Where the certificate goes, once enough validators are ready [default of --for quorum: certificate.evidence]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

impl WaitArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let default = (self.wait == Until::Quorum).then(|| PathBuf::from(CERTIFICATE_FILE_NAME));
        let options = WaitOptions {
            swarm: self.swarm.clone().options(session)?,
            state: self.seen.state()?,
            wait: WaitFor::from(self.wait),
            certificate: self.out.or(default),
        };
        let (progress, cancel) = (&session.progress, &session.cancel);
        let waited = match &self.dir {
            Some(directory) => meet::wait_with(directory, options, progress, cancel).await?,
            None => meet::wait(&read_ticket(&self.ticket, &self.swarm)?, options, progress, cancel).await?,
        };
        session.output.result(&waited)
    }
}
