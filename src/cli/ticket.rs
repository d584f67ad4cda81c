//! `ticket show`, and how every command takes a ticket.

use std::{
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use kwil_formats::formats::key::PublicKey;
use serde::Serialize;

use super::Session;
use crate::{
    base::{Blake3Hash, Context, Error, Result, files::read_bounded, limits, text},
    manifest::{Threshold, Ticket, phrase, ticket::TicketError},
};

/// Bytes that are read of a ticket at most, with room for the line breaks that a mail program adds.
const INPUT_SIZE_BYTES_MAX: usize = 4 * limits::TICKET_SIZE_BYTES_MAX;

/// Where a ticket comes from.
#[derive(Debug, Args)]
pub(crate) struct TicketArgs {
    /// The ticket: - reads it from stdin. The line itself, which begins with regenesis1, is taken as well, but everyone on
    /// this machine can see it then (ps)
    #[arg(env = "REGENESIS_TICKET", hide_env_values = true, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
    /// Reads the ticket from a file, as it was saved from a mail or a chat
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_file: Option<PathBuf>,
}

impl TicketArgs {
    /// Reads the ticket that was given as an argument, on stdin or in a file; `None` if none was.
    pub(crate) fn read_if_given(&self) -> Result<Option<Ticket>> {
        let text = match (&self.ticket_file, self.ticket.as_deref()) {
            (Some(path), _) => as_text(&read_bounded(path, INPUT_SIZE_BYTES_MAX, "ticket")?),
            (None, Some("-")) => {
                let mut bytes = Vec::new();
                let stdin = io::stdin().lock().take(INPUT_SIZE_BYTES_MAX as u64 + 1);
                { stdin }.read_to_end(&mut bytes).or_failed(|| "cannot read the ticket from stdin")?;
                as_text(&bytes)
            }
            (None, Some(text))
                if text.parse::<Ticket>() == Err(TicketError::NotATicket) && Path::new(text).is_file() =>
            {
                return Err(Error::usage(format!("{} is a file, not a ticket", text::escape(text)))
                    .hint(format!("if the ticket stands in it: --ticket-file {}", text::escape(text))));
            }
            (None, Some(text)) => text.to_owned(),
            (None, None) => return Ok(None),
        };
        Ok(Some(text.parse::<Ticket>()?))
    }

    /// Whether a ticket is named.
    pub(crate) fn is_given(&self) -> bool {
        self.ticket.is_some() || self.ticket_file.is_some()
    }

    /// Reads the ticket; an error if none was given.
    pub(crate) fn read(&self) -> Result<Ticket> {
        self.read_if_given()?.ok_or_else(|| {
            Error::usage("no ticket is given")
                .hint("save the lead's line in a file and give --ticket-file FILE, or - to read it from stdin")
        })
    }
}

/// Text as editors save it, with or without a byte order mark.
fn as_text(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Commands about tickets.
#[derive(Debug, Subcommand)]
pub(crate) enum TicketCommand {
    /// Say in words what a ticket says; its secret is not shown
    Show(TicketArgs),
}

impl TicketCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let TicketCommand::Show(args) = self;
        session.output.result(&Shown::new(&args.read()?))
    }
}

/// What a ticket says, without its secret.
#[derive(Debug, Serialize)]
struct Shown {
    chain_id: String,
    manifest_id: Blake3Hash,
    lead: PublicKey,
    threshold: Threshold,
    cosigners: Vec<PublicKey>,
    attestations: String,
    has_secret: bool,
    addresses: Vec<String>,
    phrase: String,
}

impl Shown {
    fn new(ticket: &Ticket) -> Self {
        Shown {
            chain_id: text::escape(&ticket.new_chain_id),
            manifest_id: ticket.manifest_id,
            lead: ticket.lead,
            threshold: ticket.policy.threshold,
            cosigners: ticket.policy.cosigners.clone(),
            attestations: ticket.policy.attestations.to_string(),
            has_secret: ticket.secret.is_some(),
            addresses: ticket.addresses.clone(),
            phrase: phrase::of_ticket(ticket),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "six words     {}", self.phrase)?;
        writeln!(f, "              (the lead reads out the same ones, or this is another ticket)")?;
        writeln!(f, "network       {}", self.chain_id)?;
        writeln!(f, "manifest      {}", self.manifest_id)?;
        writeln!(f, "lead          {}", self.lead)?;
        writeln!(f, "needs         {}", self.threshold.words())?;
        for key in &self.cosigners {
            writeln!(f, "co-signer     {key}")?;
        }
        writeln!(f, "attestations  {}", self.attestations)?;
        let secret = match self.has_secret {
            true => "yes: whoever has this ticket can join the swarm; pass it on to validators only",
            false => "no",
        };
        writeln!(f, "secret        {secret}")?;
        for address in &self.addresses {
            writeln!(f, "address       {address}")?;
        }
        if self.addresses.is_empty() {
            writeln!(f, "address       none: this ticket only identifies a manifest")?;
        }
        Ok(())
    }
}
