//! Taking a manifest back, or a validator's access to its swarm: the lead and its co-signers say that it counts no more, with as many
//! keys as the manifest needed itself.

use std::path::{Path, PathBuf};

use kwil_formats::formats::key::{PrivateKey, PublicKey};
use serde::Serialize;

use super::{files::read_signed, short, state::StateDirectory};
use crate::{
    base::{Blake3Hash, Error, Next, Result, durable, files::read_bounded, limits},
    manifest::{
        Evidence, Threshold, Weight,
        evidence::{EVIDENCE_EXTENSION, Exclusion},
    },
};

/// The name of a revocation beside the manifest that it takes back.
pub const REVOCATION_FILE_NAME: &str = "revocation.evidence";

/// A revocation with one signature more.
#[derive(Debug, Clone, Serialize)]
pub struct Revoked {
    /// The file of evidence.
    pub revocation: PathBuf,
    /// The id of the manifest that is taken back, or whose swarm a validator is kept out of.
    pub manifest_id: Blake3Hash,
    /// Whose access is taken back; null: the manifest itself is.
    pub validator: Option<PublicKey>,
    /// Whose signature was added.
    pub signer: PublicKey,
    /// Distinct keys of lead and co-signers that have signed it.
    pub signatures: usize,
    /// How many of them are needed, or what part of the old network's power.
    pub needed: Threshold,
    /// What the signatures come to.
    #[serde(skip)]
    pub weight: Weight,
}

impl Revoked {
    /// Whether it counts.
    pub fn is_enough(&self) -> bool {
        self.weight.is_enough()
    }
}

/// Signs that a manifest, or the one in a directory, counts no more, or, of a `validator`, that its nodes are let into the swarm no more; what others have signed of that in `out` stays. Once
/// there are enough signatures, this machine remembers it, and every node that runs here ends and tells its members.
///
/// # Errors
/// `Kind::Verify` when a signature that is there does not hold; refused when the manifest does not name this key; when a file
/// cannot be read or written.
pub fn revoke(
    manifest: &Path,
    validator: Option<PublicKey>,
    key: &PrivateKey,
    out: Option<&Path>,
    state: &StateDirectory,
) -> Result<Revoked> {
    let (path, signed) = read_signed(manifest)?;
    let signer = key.public();
    if !signed.manifest().may_sign(&signer) {
        return Err(Error::refused(format!(
            "{} names the key {signer} neither as its lead nor as a co-signer",
            path.display()
        ))
        .hint(Next::SignerRevokes));
    }
    let name = match &validator {
        None => REVOCATION_FILE_NAME.to_owned(),
        Some(validator) => format!("exclusion-{}.{EVIDENCE_EXTENSION}", short::key(validator)),
    };
    let out = out.map_or_else(|| durable::parent(&path).join(name), Path::to_owned);
    let before = before(&out)?;
    let is_other = || {
        Err(Error::refused(format!("{} holds something else, and is not overwritten", out.display()))
            .hint("name another file"))
    };
    let made = match (validator, before) {
        (None, None) => Evidence::revocation(&signed, key, None).map(Evidence::Revocation),
        (None, Some(Evidence::Revocation(before))) => {
            Evidence::revocation(&signed, key, Some(&before)).map(Evidence::Revocation)
        }
        (Some(validator), None) => Exclusion::sign(&signed, validator, key, None).map(Evidence::Exclusion),
        (Some(validator), Some(Evidence::Exclusion(before))) => {
            Exclusion::sign(&signed, validator, key, Some(&before)).map(Evidence::Exclusion)
        }
        (_, Some(_)) => return is_other(),
    };
    let evidence = made.map_err(|e| {
        Error::refused(format!("{} cannot take this signature: {e}", out.display()))
            .hint("name a validator of this manifest, and another file for each of them")
    })?;
    let head = match &evidence {
        Evidence::Exclusion(exclusion) => exclusion.head(),
        Evidence::Revocation(head) => head,
        _ => return is_other(),
    };
    let weight = head.weight_under(signed.manifest());
    let made = Revoked {
        manifest_id: signed.id(),
        validator,
        signer,
        signatures: weight.signatures,
        needed: weight.needed,
        weight,
        revocation: out,
    };
    durable::write_atomically(&made.revocation, &evidence.to_bytes(), 0o644)?;
    if made.is_enough() {
        state.keep(&evidence)?;
    }
    Ok(made)
}

fn before(path: &Path) -> Result<Option<Evidence>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, limits::EVIDENCE_SIZE_BYTES_MAX, "revocation")?;
    Ok(Some(Evidence::decode(&bytes)?))
}
