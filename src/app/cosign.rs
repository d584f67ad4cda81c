//! Co-signing: a second key signs a manifest that its lead has signed, on whatever machine that key is.

use std::path::{Path, PathBuf};

use kwil_formats::formats::key::{PrivateKey, PublicKey};
use serde::Serialize;

use crate::{
    app::files::read_signed,
    base::{Blake3Hash, Error, Next, Result, durable},
    manifest::{Threshold, VerifyError, Weight},
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
    /// How many of them are needed, or what part of the old network's power.
    pub needed: Threshold,
    /// What the signatures come to.
    #[serde(skip)]
    pub weight: Weight,
}

/// Adds the signature of a co-signer, or of the lead once more, to a manifest or to the one in a directory.
///
/// # Errors
/// `Kind::Verify` when a signature that is there does not hold; refused when the manifest does not name this key; when the file
/// cannot be read or written.
pub fn cosign(manifest: &Path, key: &PrivateKey, out: Option<&Path>) -> Result<Cosigned> {
    let (path, mut signed) = read_signed(manifest)?;
    let signer = key.public();
    if !signed.manifest().may_sign(&signer) {
        return Err(Error::refused(format!("{} does not name the key {signer} among its co-signers", path.display()))
            .hint(Next::NameCosigner));
    }
    signed.add_signature(key).map_err(VerifyError::Decode)?;
    let out = out.unwrap_or(&path);
    durable::write_atomically(out, &signed.to_bytes(), 0o644)?;
    let weight = signed.signers().map_err(VerifyError::from)?.weight();
    let Weight { signatures, needed, .. } = weight;
    Ok(Cosigned { manifest: out.to_owned(), id: signed.id(), signer, signatures, needed, weight })
}
