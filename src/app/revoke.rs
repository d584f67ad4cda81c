//! Taking a manifest back: the lead and its co-signers say that it counts no more, with as many keys as it needed itself.

use std::path::{Path, PathBuf};

use kwil_formats::formats::key::{PrivateKey, PublicKey};
use serde::Serialize;

use super::{files::read_signed, state::StateDirectory};
use crate::{
    base::{Blake3Hash, Error, Next, Result, durable, files::read_bounded, limits},
    manifest::{Evidence, HeadSignatures, Threshold, Weight},
};

/// The name of a revocation beside the manifest that it takes back.
pub const REVOCATION_FILE_NAME: &str = "revocation.evidence";

/// A revocation with one signature more.
#[derive(Debug, Clone, Serialize)]
pub struct Revoked {
    /// The file of evidence.
    pub revocation: PathBuf,
    /// The id of the manifest that is taken back.
    pub manifest_id: Blake3Hash,
    /// Whose signature was added.
    pub signer: PublicKey,
    /// Distinct keys of lead and co-signers that have revoked it.
    pub signatures: usize,
    /// How many of them are needed, or what part of the old network's power.
    pub needed: Threshold,
    /// What the signatures come to.
    #[serde(skip)]
    pub weight: Weight,
}

impl Revoked {
    /// Whether the manifest counts no more.
    pub fn is_enough(&self) -> bool {
        self.weight.is_enough()
    }
}

/// Signs that a manifest, or the one in a directory, counts no more; what others have signed of that in `out` stays. Once
/// there are enough signatures, this machine remembers it, and every node that runs here ends and tells its members.
///
/// # Errors
/// `Kind::Verify` when a signature that is there does not hold; refused when the manifest does not name this key; when a file
/// cannot be read or written.
pub fn revoke(manifest: &Path, key: &PrivateKey, out: Option<&Path>, state: &StateDirectory) -> Result<Revoked> {
    let (path, signed) = read_signed(manifest)?;
    let signer = key.public();
    if !signed.manifest().may_sign(&signer) {
        return Err(Error::refused(format!(
            "{} names the key {signer} neither as its lead nor as a co-signer",
            path.display()
        ))
        .hint(Next::SignerRevokes));
    }
    let out = out.map_or_else(|| durable::parent(&path).join(REVOCATION_FILE_NAME), Path::to_owned);
    let before = before(&out)?;
    let revocation = Evidence::revocation(&signed, key, before.as_ref()).map_err(|e| {
        Error::refused(format!("{} cannot take this signature: {e}", out.display()))
            .hint("write the revocation of this manifest into another file")
    })?;
    let weight = revocation.weight_under(signed.manifest());
    let made = Revoked {
        manifest_id: signed.id(),
        signer,
        signatures: weight.signatures,
        needed: weight.needed,
        weight,
        revocation: out,
    };
    let evidence = Evidence::Revocation(revocation);
    durable::write_atomically(&made.revocation, &evidence.to_bytes(), 0o644)?;
    if made.is_enough() {
        state.keep(&evidence)?;
    }
    Ok(made)
}

fn before(path: &Path) -> Result<Option<HeadSignatures>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, limits::EVIDENCE_SIZE_BYTES_MAX, "revocation")?;
    match Evidence::decode(&bytes)? {
        Evidence::Revocation(before) => Ok(Some(before)),
        _ => Err(Error::refused(format!("{} is no revocation, and is not overwritten", path.display()))
            .hint("name another file")),
    }
}
