//! `manifest revoke`.

use std::{fmt, path::PathBuf};

use clap::Args;
use kwil_formats::formats::key::PublicKey;

use super::{Session, cosign::SignerArgs, manifest::StateArgs};
use crate::{
    app::revoke::{self, Revoked},
    base::Result,
};

/// Flags of `manifest revoke`.
#[derive(Debug, Args)]
#[command(
    after_help = "As many of the lead and the co-signers must revoke as the manifest needed to be signed: each runs this with the file \
    of the one before.\n\
    Nodes of this machine that use the manifest end by themselves and tell their swarm; elsewhere `regenesis evidence verify \
    revocation.evidence --manifest network_snapshot --keep` does the same.\n\n\
    Examples:\n  regenesis manifest revoke ./network_snapshot --key lead.key\n  \
    regenesis manifest revoke manifest.regenesis --key cosigner.key -o revocation.evidence\n  \
    regenesis manifest revoke ./network_snapshot --key lead.key --validator HEX   a validator whose key was stolen"
)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    signer: SignerArgs,
    /// Take only the access of this validator back, HEX or HEX#TYPE: its nodes are not let into the swarm any more; what it has signed
    /// of the state counts on
    #[arg(long, value_name = "PUB", value_parser = PublicKey::from_name)]
    validator: Option<PublicKey>,
    /// The revocation; signatures that are there stay [default: revocation.evidence, or exclusion-KEY.evidence, beside the manifest]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

impl RevokeArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let (manifest, key) = (&self.signer.manifest, self.signer.key()?);
        session.output.result(&revoke::revoke(
            manifest,
            self.validator,
            &key,
            self.out.as_deref(),
            &self.state.open()?,
        )?)
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "written: {}", self.revocation.display())?;
        writeln!(f, "manifest  {}", self.manifest_id)?;
        if let Some(validator) = &self.validator {
            writeln!(f, "validator {validator}")?;
        }
        writeln!(f, "by        {}", self.signer)?;
        write!(f, "has       {}", self.weight)?;
        match self.is_enough() {
            true if self.validator.is_some() => {
                write!(f, ": its access is taken back; nodes of this machine let it in no more and tell their swarm")
            }
            true => write!(f, ": the manifest is revoked; nodes of this machine that use it end and tell their swarm"),
            false => write!(f, ": nothing is revoked yet, more are needed"),
        }
    }
}
