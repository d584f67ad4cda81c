//! `evidence verify`: what a file of evidence proves, by itself, with the genesis or with the manifest it is about.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use kwil_formats::formats::{Family, Validator, key::PublicKey};
use serde::Serialize;

use super::{Session, manifest::StateArgs};
use crate::{
    app::files::read_signed,
    base::{Blake3Hash, Error, Result, Sha256Hash, files::read_bounded, limits, text},
    manifest::{Equivocation, Evidence, HeadSignatures, Weight, certificate::Certified},
};

/// Commands about evidence.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Say what a file of evidence proves: that a network is ready, a lead two-faced, a manifest or a validator's access revoked, a
    /// manifest old; works offline
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit 3 where the file does not prove what it says: too little power is ready, or a signature does not hold.\n\n\
    Examples:\n  regenesis evidence verify certificate.evidence --genesis genesis.json\n  \
    regenesis evidence verify equivocation.evidence --keep\n  \
    regenesis evidence verify revocation.evidence --manifest ./network_snapshot --keep"
)]
pub(crate) struct VerifyArgs {
    /// The evidence: a certificate, as join and wait write it, or what speaks against a manifest
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The new network's genesis, which says who its validators are; a certificate needs it
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The manifest, or the directory it lies in, which says who may revoke it; a revocation needs it
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Remember it on this machine: nodes that use such a manifest end and tell their swarm, and it is refused from now on
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    state: StateArgs,
}

impl EvidenceCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let EvidenceCommand::Verify(args) = self;
        let bytes = read_bounded(&args.file, limits::EVIDENCE_SIZE_BYTES_MAX, "evidence")?;
        let evidence = Evidence::decode(&bytes)?;
        match &evidence {
            Evidence::Equivocation(equivocation) => {
                let kept = args.kept(&evidence)?;
                session.output.result(&TwoFaced::new(equivocation, kept))
            }
            Evidence::Issue(head) => {
                let kept = args.kept(&evidence)?;
                session.output.result(&OfHead::issue(head, kept))
            }
            Evidence::Revocation(head) => args.verify_signed(head, None, &evidence, session),
            Evidence::Exclusion(exclusion) => {
                args.verify_signed(exclusion.head(), Some(exclusion.validator()), &evidence, session)
            }
            Evidence::Certificate(certificate) => {
                let Some(path) = &args.genesis else {
                    return Err(Error::usage(
                        "a certificate says nothing without the genesis, which names the validators",
                    )
                    .hint("give the new network's genesis.json with --genesis FILE"));
                };
                let genesis = read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
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

impl VerifyArgs {
    /// Where the evidence is kept from now on, if that is wanted.
    fn kept(&self, evidence: &Evidence) -> Result<Option<PathBuf>> {
        match self.keep {
            true => self.state.open()?.keep(evidence),
            false => Ok(None),
        }
    }

    /// What counts only where enough have signed whom the manifest names: that it is taken back, or a validator's access.
    fn verify_signed(
        &self,
        head: &HeadSignatures,
        validator: Option<&PublicKey>,
        evidence: &Evidence,
        session: &Session,
    ) -> Result<()> {
        let Some(path) = &self.manifest else {
            return Err(Error::usage("a revocation says nothing without the manifest, which names who may revoke")
                .hint("give the manifest with --manifest FILE"));
        };
        let (_, signed) = read_signed(path)?;
        if signed.id() != head.manifest_id() {
            let (about, got) = (head.manifest_id(), signed.id());
            return Err(Error::verify(format!("it is about manifest {about}, not {got}"))
                .hint("give the manifest that it is about"));
        }
        let weight = head.weight_under(signed.manifest());
        let counts = match evidence {
            Evidence::Exclusion(exclusion) => exclusion.counts(signed.manifest(), signed.id()),
            _ => evidence.ends(signed.manifest(), signed.id()),
        };
        let shown = |kept| OfHead::revocation(head, validator, counts, weight, kept);
        if counts {
            return session.output.result(&shown(self.kept(evidence)?));
        }
        let error = Error::verify(format!("it lacks signatures: it has {weight}"))
            .hint("the others run `regenesis manifest revoke` with this file");
        session.output.result_with_error(&shown(None), error)
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
    kept: Option<PathBuf>,
    #[serde(skip)]
    words: String,
}

impl TwoFaced {
    fn new(equivocation: &Equivocation, kept: Option<PathBuf>) -> Self {
        TwoFaced {
            kind: "equivocation",
            ok: true,
            lead: *equivocation.lead(),
            chain_id: text::escape(equivocation.new_chain_id()),
            sequence: equivocation.sequence(),
            manifest_ids: equivocation.heads().map(|head| head.manifest_id),
            words: equivocation.words(),
            kept,
        }
    }
}

impl fmt::Display for TwoFaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "proved: {}", self.words)?;
        writeln!(
            f,
            "Both signatures are the lead's. Set nothing up from either; only a manifest with a higher sequence heals this."
        )?;
        kept_line(f, self.kept.as_deref())
    }
}

fn kept_line(f: &mut fmt::Formatter<'_>, kept: Option<&Path>) -> fmt::Result {
    match kept {
        Some(path) => writeln!(f, "kept in {}", path.display()),
        None => Ok(()),
    }
}

/// What signatures over a manifest's head prove, in words.
#[derive(Debug, Serialize)]
struct OfHead {
    kind: &'static str,
    ok: bool,
    lead: PublicKey,
    chain_id: String,
    sequence: u64,
    manifest_id: Blake3Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    validator: Option<PublicKey>,
    signers: Vec<PublicKey>,
    kept: Option<PathBuf>,
    #[serde(skip)]
    words: String,
}

impl OfHead {
    fn of(head: &HeadSignatures, kind: &'static str, ok: bool, words: String, kept: Option<PathBuf>) -> Self {
        OfHead {
            kind,
            ok,
            lead: *head.lead(),
            chain_id: text::escape(head.new_chain_id()),
            sequence: head.sequence(),
            manifest_id: head.manifest_id(),
            validator: None,
            signers: head.signers().copied().collect(),
            kept,
            words,
        }
    }

    fn issue(head: &HeadSignatures, kept: Option<PathBuf>) -> Self {
        let words = format!("proved: the lead has signed {}: older ones count no more", head.words());
        Self::of(head, "issue", true, words, kept)
    }

    fn revocation(
        head: &HeadSignatures,
        validator: Option<&PublicKey>,
        counts: bool,
        weight: Weight,
        kept: Option<PathBuf>,
    ) -> Self {
        let what = match validator {
            None => "it".to_owned(),
            Some(validator) => format!("the access of validator {validator} to its swarm"),
        };
        let words = match counts {
            true => format!("proved: of {}: {what} was revoked", head.words()),
            false => format!("NOT revoked yet: of {}, {what}: it has {weight}", head.words()),
        };
        let kind = if validator.is_some() { "exclusion" } else { "revocation" };
        OfHead { validator: validator.copied(), ..Self::of(head, kind, counts, words, kept) }
    }
}

impl fmt::Display for OfHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.words)?;
        writeln!(f, "lead        {}", self.lead)?;
        for signer in &self.signers {
            writeln!(f, "signed by   {signer}")?;
        }
        kept_line(f, self.kept.as_deref())
    }
}
