//! `manifest cosign`.

use std::{fmt, path::PathBuf};

use clap::Args;
use kwil_formats::formats::key::PrivateKey;

use super::Session;
use crate::{
    app::{
        cosign::{self, Cosigned},
        files::read_private_key,
    },
    base::Result,
};

/// Flags of `manifest cosign`.
#[derive(Debug, Args)]
#[command(after_help = "Look at what you sign first: `regenesis manifest show`, and with the old node's database \
    `regenesis snapshot attest`.")]
pub(crate) struct CosignArgs {
    #[command(flatten)]
    signer: SignerArgs,
    /// Where the manifest with the signature goes [default: in place]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
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
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        session.output.result(&cosign::cosign(&self.signer.manifest, &self.signer.key()?, self.out.as_deref())?)
    }
}

impl fmt::Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "signed: {}", self.manifest.display())?;
        writeln!(f, "id        {}", self.id)?;
        writeln!(f, "by        {}", self.signer)?;
        let more = if self.weight.is_enough() { "it can be served" } else { "more are needed" };
        write!(f, "has       {}: {more}", self.weight)
    }
}
