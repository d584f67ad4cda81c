//! `manifest cosign`.

use std::{fmt, path::PathBuf};

use clap::Args;

use super::Session;
use crate::{
    app::{
        cosign::{self, Cosigned},
        files::read_private_key,
    },
    base::{Result, text},
};

/// Flags of `manifest cosign`.
#[derive(Debug, Args)]
#[command(after_help = "Look at what you sign first: `regenesis manifest show`, and with the old node's database \
    `regenesis snapshot attest`.")]
pub(crate) struct CosignArgs {
    /// The manifest, or the directory it lies in
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Private key of the co-signer, in either family's form
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the manifest with the signature goes [default: in place]
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl CosignArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let key = read_private_key(&self.key)?;
        session.output.result(&cosign::cosign(&self.manifest, &key, self.out.as_deref())?)
    }
}

impl fmt::Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "signed: {}", self.manifest.display())?;
        writeln!(f, "id        {}", self.id)?;
        writeln!(f, "by        {}", self.signer)?;
        write!(f, "has       {} of {} signatures", self.signatures, self.needed)?;
        match self.missing() {
            0 => write!(f, ": it can be served"),
            missing => write!(f, ": {} more needed", text::count(u64::from(missing), "signature")),
        }
    }
}
