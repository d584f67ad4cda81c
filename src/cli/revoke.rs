//! `manifest revoke`.

use std::{fmt, path::PathBuf};

use clap::Args;

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
    regenesis manifest revoke manifest.regenesis --key cosigner.key -o revocation.evidence"
)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    signer: SignerArgs,
    /// The revocation; signatures that are there stay [default: revocation.evidence beside the manifest]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

impl RevokeArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let (manifest, key) = (&self.signer.manifest, self.signer.key()?);
        session.output.result(&revoke::revoke(manifest, &key, self.out.as_deref(), &self.state.open()?)?)
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "written: {}", self.revocation.display())?;
        writeln!(f, "manifest  {}", self.manifest_id)?;
        writeln!(f, "by        {}", self.signer)?;
        write!(f, "has       {}", self.weight)?;
        match self.is_enough() {
            true => write!(f, ": the manifest is revoked; nodes of this machine that use it end and tell their swarm"),
            false => write!(f, ": not revoked yet, more are needed"),
        }
    }
}
