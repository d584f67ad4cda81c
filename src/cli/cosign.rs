//! `manifest cosign`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use kwil_formats::formats::key::PrivateKey;

use super::{
    Session,
    swarm::{SeenArgs, SwarmArgs, read_ticket},
    ticket::TicketArgs,
};
use crate::{
    app::{
        cosign::{self, Cosigned},
        files::read_private_key,
    },
    base::{Error, Result},
    manifest::{Ticket, ticket::TicketError},
};

/// Flags of `manifest cosign`.
#[derive(Debug, Args)]
#[command(
    after_help = "With a ticket it enters the swarm in which the lead serves the manifest, signs what it gets there, and ends once a member \
    has taken the signature; --timeout bounds that (exit 5). It checks manifest and genesis, and not the snapshot: `regenesis join` does \
    that, too, and signs by itself.\n\n\
    Look at what you sign first: `regenesis manifest show`, and with the old node's database `regenesis snapshot attest`.\n\n\
    Examples:\n  regenesis manifest cosign --ticket-file ticket.txt --key cosigner.key\n  \
    regenesis manifest cosign ./network_snapshot --key cosigner.key"
)]
pub(crate) struct CosignArgs {
    /// The manifest, or the directory it lies in; or the lead's ticket (- reads it from stdin)
    #[arg(value_name = "MANIFEST|TICKET", required_unless_present = "ticket_file")]
    manifest: Option<String>,
    /// Reads the ticket from a file
    #[arg(long, value_name = "FILE", conflicts_with = "manifest")]
    ticket_file: Option<PathBuf>,
    /// Private key of a co-signer or of the lead, in either family's form
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the manifest with the signature goes [default: in place; with a ticket: nowhere]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

/// Which manifest is signed, and with what.
#[derive(Debug, Args)]
pub(crate) struct SignerArgs {
    /// The manifest, or the directory it lies in
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Private key of a co-signer or of the lead, in either family's form
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl SignerArgs {
    pub(crate) fn key(&self) -> Result<PrivateKey> {
        read_private_key(&self.key)
    }
}

impl CosignArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let key = read_private_key(&self.key)?;
        let is_ticket = |text: &str| {
            text == "-" || (!Path::new(text).exists() && text.parse::<Ticket>() != Err(TicketError::NotATicket))
        };
        let cosigned = match (&self.manifest, &self.ticket_file) {
            (Some(path), None) if !is_ticket(path) => {
                cosign::cosign(Path::new(path), &key, self.out.as_deref(), &self.seen.state()?)?
            }
            (None, None) => {
                return Err(Error::usage("neither a manifest nor a ticket is given").hint("name one of them"));
            }
            (ticket, file) => {
                let ticket = TicketArgs { ticket: ticket.clone(), ticket_file: file.clone() };
                let ticket = read_ticket(&ticket, &self.swarm)?;
                let (swarm, state) = (self.swarm.options(session)?, self.seen.state()?);
                let out = self.out.as_deref();
                let (progress, cancel) = (&session.progress, &session.cancel);
                cosign::cosign_in_swarm(&ticket, &Arc::new(key), out, (&swarm, &state), progress, cancel).await?
            }
        };
        session.output.result(&cosigned)
    }
}

impl fmt::Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.manifest {
            Some(path) => writeln!(f, "signed: {}", path.display())?,
            None => writeln!(f, "signed: a member of the swarm has the signature and passes it on")?,
        }
        writeln!(f, "id        {}", self.id)?;
        writeln!(f, "by        {}", self.signer)?;
        let more = if self.weight.is_enough() { "the manifest counts" } else { "more are needed" };
        write!(f, "has       {}: {more}", self.weight)
    }
}
