//! Co-signing: a second key signs a manifest that its lead has signed, on whatever machine that key is: the file of it, or what a swarm
//! serves.

use std::{
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use kwil_formats::formats::key::{PrivateKey, PublicKey};
use serde::Serialize;

use super::{
    fetch::{self, Signed},
    files::read_signed,
    node::{Node, SwarmOptions},
    signatures::Signatures,
    state::StateDirectory,
    visit::visit,
};
use crate::{
    base::{Blake3Hash, Error, Kind, Next, Progress, Result, clock, durable, task::CancellationToken},
    manifest::{SignedManifest, Threshold, Ticket, VerifyError, Weight},
};

/// A manifest with one signature more.
#[derive(Debug, Clone, Serialize)]
pub struct Cosigned {
    /// The file that the manifest was written to; null where it went nowhere but into the swarm.
    pub manifest: Option<PathBuf>,
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

/// Adds the signature of a co-signer, or of the lead once more, to a manifest or to the one in a directory. What is signed is
/// remembered first.
///
/// # Errors
/// `Kind::Verify` when a signature that is there does not hold, or this machine has signed another manifest of its number; refused when
/// the manifest does not name this key, or a newer one was signed or seen; when the file cannot be read or written.
pub fn cosign(manifest: &Path, key: &PrivateKey, out: Option<&Path>, state: &StateDirectory) -> Result<Cosigned> {
    let (path, mut signed) = read_signed(manifest)?;
    require_named(&signed, key, || path.display().to_string())?;
    state.remember_signing(&signed)?;
    signed.add_signature(key).map_err(VerifyError::Decode)?;
    let out = out.unwrap_or(&path);
    durable::write_atomically(out, &signed.to_bytes(), 0o644)?;
    cosigned(&signed, key, Some(out))
}

fn require_named(signed: &SignedManifest, key: &PrivateKey, what: impl FnOnce() -> String) -> Result<()> {
    let signer = key.public();
    if signed.manifest().may_sign(&signer) {
        return Ok(());
    }
    Err(Error::refused(format!("{} does not name the key {signer} among its co-signers", what()))
        .hint(Next::NameCosigner))
}

fn cosigned(signed: &SignedManifest, key: &PrivateKey, manifest: Option<&Path>) -> Result<Cosigned> {
    let weight = signed.signers().map_err(VerifyError::from)?.weight();
    let Weight { signatures, needed, .. } = weight;
    let manifest = manifest.map(Path::to_owned);
    Ok(Cosigned { manifest, id: signed.id(), signer: key.public(), signatures, needed, weight })
}

/// Signs the manifest that a swarm serves, as a member for as long as it takes until another member has checked the signature and says it
/// back: from then on the swarm passes it on.
///
/// # Errors
/// As [`fetch::ask_for_manifest`]; refused when the manifest does not name this key; [`Kind::GaveUp`] when nobody takes the signature in
/// the time that `swarm` allows.
pub async fn cosign_in_swarm(
    ticket: &Ticket,
    key: &Arc<PrivateKey>,
    out: Option<&Path>,
    (swarm, state): (&SwarmOptions, &StateDirectory),
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Cosigned> {
    let began = clock::now();
    // A swarm may let only validators in.
    let mut swarm = swarm.clone();
    swarm.own_keys.push(key.clone());
    visit(ticket, (&swarm, state), progress, cancel, async |node: &mut Node, signed: Signed| {
        fetch::tell_manifest(&signed.manifest, progress);
        require_named(signed.manifest.signed(), key, || "the manifest".to_owned())?;
        node.watch(&signed).await?;
        let has_signed = |node: &Node| {
            let own = key.public();
            let known = node.signatures().map(Signatures::signed);
            known.is_some_and(|known| known.signatures().iter().any(|signature| signature.key == own))
        };
        // Signed earlier, it came with the manifest: the members have it.
        if !has_signed(node) {
            node.sign_manifest(slice::from_ref(key)).await?;
            progress.step("waiting until a member has taken the signature");
            while !node.is_own_signature_heard() {
                if swarm.timeout.is_some_and(|limit| clock::now().duration_since(began) >= limit) {
                    return Err(Error::new(Kind::GaveUp, "no member has taken the signature in time")
                        .hint("see that the lead still serves, and run the same command again"));
                }
                tokio::select! {
                    () = cancel.cancelled() => return Err(Error::interrupted("while the signature was told")),
                    heard = node.next() => drop(heard?),
                }
            }
        }
        let signed = node.signatures().map_or(signed.manifest.signed(), Signatures::signed);
        if let Some(out) = out {
            durable::write_atomically(out, &signed.to_bytes(), 0o644)?;
        }
        cosigned(signed, key, out)
    })
    .await
}
