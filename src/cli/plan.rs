//! `plan`: what the lead posts to the validators before the night.

use std::{path::PathBuf, time::SystemTime};

use clap::Args;
use kwil_formats::formats::Family;

use super::{
    Session,
    drill::{self, LinkArgs},
    guide::FamilyName,
    ticket::TicketArgs,
    words::plan::{Attesters, Plan},
};
use crate::{
    app::files::read_signed,
    base::{Error, Result},
    manifest::{SignedManifest, Ticket, phrase},
};

/// Flags of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Before anything is signed it tells what is known: times, lines, commands. With --dir it takes size, validators and \
    rules from the manifest, with a ticket the six words. It never prints the ticket.\n\n\
    Examples:\n  regenesis plan --at 2026-12-01T18:00:00Z --peers 20 --size 50G --up 200M\n  \
    regenesis plan --at 2026-12-01T18:00:00Z --dir ./network_snapshot --ticket-file ticket.txt"
)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    ticket: TicketArgs,
    /// Directory with the signed manifest, or the manifest
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// When the old network is halted, such as 2026-12-01T18:00:00Z [default: times are told from the halt on]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    at: Option<SystemTime>,
    /// From the halt to the ticket: the snapshot, its rehearsal, the signatures
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    prepare: std::time::Duration,
    /// Which family's names the commands have [default: the manifest's, or v0.10]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "v0.9|v0.10")]
    family: Option<FamilyName>,
    #[command(flatten)]
    links: LinkArgs,
}

impl PlanArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let ticket = self.ticket.read_if_given()?;
        let signed = self.dir.as_deref().map(read_signed).transpose()?.map(|(_, signed)| signed);
        check_same(ticket.as_ref(), signed.as_ref())?;
        let manifest = signed.as_ref().map(SignedManifest::manifest);
        let (peers, size_bytes) = manifest.map_or((drill::PEERS, drill::SIZE_BYTES), |manifest| {
            let validators = u16::try_from(manifest.new_validators.len()).unwrap_or(u16::MAX).max(1);
            (validators, manifest.size_bytes())
        });
        let prediction = drill::predict(self.links.plan(peers, size_bytes)?, &session.cancel).await?;
        let family = manifest.map(|manifest| manifest.network.family);
        let named = self.family.map(Family::from);
        if let (Some(named), Some(family)) = (named, family)
            && named != family
        {
            return Err(Error::usage(format!("the manifest is of {family}, not of {named}")).hint("leave --family out"));
        }
        let rule = ticket.as_ref().map(|ticket| &ticket.policy).or(manifest.map(|manifest| &manifest.trust));
        let plan = Plan {
            family: family.or(named).unwrap_or(Family::V010),
            old_chain_id: manifest.and_then(|manifest| manifest.network.old_chain_id.clone()),
            new_chain_id: ticket
                .as_ref()
                .map(|ticket| ticket.new_chain_id.clone())
                .or_else(|| manifest.map(|manifest| manifest.network.new_chain_id.clone())),
            height: manifest.map(|manifest| manifest.network.height),
            phrase: ticket.as_ref().map(phrase::of_ticket),
            attesters: rule.map(|rules| Attesters {
                rule: rules.attestations.clone(),
                validators: manifest.map(|manifest| manifest.old_validators.clone()).unwrap_or_default(),
            }),
            expires_unix_seconds: manifest.and_then(|manifest| manifest.not_after_unix_seconds),
            halt: self.at,
            prepare: self.prepare,
            prediction,
        };
        session.output.result(&plan.told())
    }
}

/// A ticket of another manifest would give out wrong words.
fn check_same(ticket: Option<&Ticket>, signed: Option<&SignedManifest>) -> Result<()> {
    match (ticket, signed) {
        (Some(ticket), Some(signed)) if ticket.manifest_id != signed.id() => {
            Err(Error::usage("the ticket names another manifest than the one in the directory")
                .hint("take the ticket that `regenesis publish` printed for this directory"))
        }
        _ => Ok(()),
    }
}
