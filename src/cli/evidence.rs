//! `evidence verify`: what a file of evidence proves, by itself and the genesis.

use std::{fmt, path::PathBuf};

use clap::{Args, Subcommand};
use kwil_formats::formats::{Family, Validator, key::PublicKey};
use serde::Serialize;

use super::Session;
use crate::{
    base::{Blake3Hash, Error, Result, Sha256Hash, files::read_bounded, limits, text},
    manifest::{Equivocation, Evidence, certificate::Certified},
};

/// Commands about evidence.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Say what a file of evidence proves: that a new network is ready, or that a lead is two-faced; works offline
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit 3 where the file does not prove what it says: too little power is ready, or a signature does not hold.\n\n\
    Examples:\n  regenesis evidence verify certificate.evidence --genesis genesis.json\n  \
    regenesis evidence verify equivocation.evidence"
)]
pub(crate) struct VerifyArgs {
    /// The evidence: a certificate, as join and wait write it, or a proof against a lead
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The new network's genesis, which says who its validators are; a certificate needs it
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

impl EvidenceCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let EvidenceCommand::Verify(args) = self;
        let bytes = read_bounded(&args.file, limits::EVIDENCE_SIZE_BYTES_MAX, "evidence")?;
        match Evidence::decode(&bytes)? {
            Evidence::Equivocation(equivocation) => session.output.result(&TwoFaced::new(&equivocation)),
            Evidence::Certificate(certificate) => {
                let Some(path) = args.genesis else {
                    return Err(Error::usage(
                        "a certificate says nothing without the genesis, which names the validators",
                    )
                    .hint("give the new network's genesis.json with --genesis FILE"));
                };
                let genesis = read_bounded(&path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
                let certified = certificate.judge(&genesis)?;
                let quorum = certified.require_quorum();
                let shown = Shown::new(&certified, quorum.is_ok());
                match quorum {
                    Ok(()) => session.output.result(&shown),
                    Err(error) => session.output.result_with_error(&shown, error.into()),
                }
            }
        }
    }
}

/// A certificate, in words.
#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    ok: bool,
    chain_id: String,
    family: Family,
    manifest_id: Blake3Hash,
    genesis_sha256: Sha256Hash,
    power: u64,
    total_power: u64,
    leader: Option<PublicKey>,
    last_unix_seconds: u64,
    ready: Vec<ReadyShown>,
    missing: Vec<Validator>,
}

/// One validator that is ready.
#[derive(Debug, Serialize)]
struct ReadyShown {
    #[serde(flatten)]
    validator: Validator,
    stage: String,
    created_unix_seconds: u64,
    kwild_version: Option<String>,
    places: Vec<String>,
}

impl Shown {
    fn new(certified: &Certified, ok: bool) -> Self {
        // A genesis' powers together fit its own integers.
        let number = |power: u128| u64::try_from(power).unwrap_or(u64::MAX);
        let ready = certified.ready.iter().map(|ready| ReadyShown {
            validator: ready.validator,
            stage: ready.statement.stage.to_string(),
            created_unix_seconds: ready.statement.created_unix_seconds,
            kwild_version: ready.statement.kwild_version.clone(),
            places: ready.statement.places.clone(),
        });
        Shown {
            kind: "certificate",
            ok,
            chain_id: text::escape(&certified.chain_id),
            family: certified.family,
            manifest_id: certified.manifest_id,
            genesis_sha256: certified.genesis_sha256,
            power: number(certified.ready_power()),
            total_power: number(certified.total_power()),
            leader: certified.leader,
            last_unix_seconds: certified.last_unix_seconds(),
            ready: ready.collect(),
            missing: certified.missing.clone(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = if self.ok { "ready: enough validators say so to make blocks" } else { "NOT enough are ready" };
        writeln!(f, "{words}")?;
        writeln!(f, "network     {} ({})", self.chain_id, self.family)?;
        writeln!(f, "manifest    {}", self.manifest_id)?;
        writeln!(f, "genesis     SHA-256 {}", self.genesis_sha256)?;
        writeln!(f, "power       {} of {}", self.power, self.total_power)?;
        writeln!(f, "last word   {}", text::time(self.last_unix_seconds))?;
        for ReadyShown { validator, stage, created_unix_seconds, kwild_version, places } in &self.ready {
            let leads = if self.leader == Some(validator.key) { ", leads" } else { "" };
            writeln!(f, "\n{}", validator.key)?;
            writeln!(f, "  {stage} at {}, power {}{leads}", text::time(*created_unix_seconds), validator.power)?;
            if let Some(version) = kwild_version {
                writeln!(f, "  kwild {}", text::escape(version))?;
            }
            if !places.is_empty() {
                writeln!(f, "  at {}", places.join(", "))?;
            }
        }
        if !self.missing.is_empty() {
            writeln!(f, "\nnot ready, or not heard")?;
        }
        for validator in &self.missing {
            writeln!(f, "  {}  power {}", validator.key, validator.power)?;
        }
        Ok(())
    }
}

/// A proof against a lead, in words.
#[derive(Debug, Serialize)]
struct TwoFaced {
    kind: &'static str,
    ok: bool,
    lead: PublicKey,
    chain_id: String,
    sequence: u64,
    manifest_ids: [Blake3Hash; 2],
    #[serde(skip)]
    words: String,
}

impl TwoFaced {
    fn new(equivocation: &Equivocation) -> Self {
        TwoFaced {
            kind: "equivocation",
            ok: true,
            lead: *equivocation.lead(),
            chain_id: text::escape(equivocation.new_chain_id()),
            sequence: equivocation.sequence(),
            manifest_ids: equivocation.heads().map(|head| head.manifest_id),
            words: equivocation.words(),
        }
    }
}

impl fmt::Display for TwoFaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "proved: {}", self.words)?;
        writeln!(
            f,
            "Both signatures are the lead's. Set nothing up from either; only a manifest with a higher sequence heals this."
        )
    }
}
