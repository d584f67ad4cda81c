//! Co-signing: a second key signs a manifest that its lead has signed, on whatever machine that key is.

use std::path::{Path, PathBuf};

use kwil_formats::formats::key::{PrivateKey, PublicKey};
use serde::Serialize;

use crate::{
    app::files::read_signed,
    base::{Blake3Hash, Error, Next, Result, durable},
    manifest::VerifyError,
};

/// A manifest with one signature more.
#[derive(Debug, Clone, Serialize)]
pub struct Cosigned {
    /// The manifest's file.
    pub manifest: PathBuf,
    /// Its id, which signatures do not change.
    pub id: Blake3Hash,
    /// Whose signature was added.
    pub signer: PublicKey,
    /// Distinct keys of lead and co-signers that have signed.
    pub signatures: usize,
    /// How many of them are needed.
    pub needed: u32,
}

impl Cosigned {
    /// Signatures that are still needed.
    pub fn missing(&self) -> u32 {
        self.needed.saturating_sub(u32::try_from(self.signatures).unwrap_or(u32::MAX))
    }
}

/// Adds the signature of a co-signer, or of the lead once more, to a manifest or to the one in a directory.
///
/// # Errors
/// `Kind::Verify` when a signature that is there does not hold; refused when the manifest does not name this key; when the file
/// cannot be read or written.
pub fn cosign(manifest: &Path, key: &PrivateKey, out: Option<&Path>) -> Result<Cosigned> {
    let (path, mut signed) = read_signed(manifest)?;
    let signer = key.public();
    if !signed.manifest().trust.may_sign(&signer) {
        return Err(Error::refused(format!("{} does not name the key {signer} among its co-signers", path.display()))
            .hint(Next::NameCosigner));
    }
    signed.add_signature(key).map_err(VerifyError::Decode)?;
    let out = out.unwrap_or(&path);
    durable::write_atomically(out, &signed.to_bytes(), 0o644)?;
    let signatures = signed.signers().map_err(VerifyError::from)?.count();
    let needed = signed.manifest().trust.threshold;
    Ok(Cosigned { manifest: out.to_owned(), id: signed.id(), signer, signatures, needed })
}
