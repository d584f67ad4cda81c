//! What was signed, as members tell it before any chunk: the manifest that a ticket names, and the genesis that the manifest
//! names. By both it is judged whether anything is fetched.

use std::{path::Path, sync::Arc, time::Duration};

use kwil_formats::formats::{GENESIS_FILE_NAME, genesis::Genesis};

use super::interrupted;
use crate::{
    app::{
        node::{Heard, Node, Patience, SwarmOptions},
        state::StateDirectory,
        visit::visit,
    },
    base::{Error, Next, Progress, Result, clock, durable, files::read_regular, limits, task::CancellationToken, text},
    manifest::{ArtifactName, MANIFEST_FILE_NAME, SignedManifest, Ticket, TrustPolicy, VerifiedManifest, VerifyError},
    swarm::{Charter, short_place},
};

/// What a member tells first: the manifest, and the genesis that it names.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The manifest, verified as the ticket's.
    pub manifest: VerifiedManifest,
    /// The genesis, which is the manifest's.
    pub genesis: Genesis,
    pub(super) genesis_bytes: Arc<Vec<u8>>,
    /// Members sent it just now.
    pub(super) is_new: bool,
}

impl Signed {
    /// A verified manifest, and its genesis from wherever it came.
    ///
    /// # Errors
    /// When the genesis is not the manifest's.
    pub(in crate::app) fn of(manifest: VerifiedManifest, genesis_bytes: Vec<u8>) -> Result<Self> {
        let genesis = manifest.check_genesis(&genesis_bytes)?;
        Ok(Signed { manifest, genesis, genesis_bytes: Arc::new(genesis_bytes), is_new: false })
    }

    /// What this node gives to members that ask.
    pub(in crate::app) fn charter(&self) -> Charter {
        Charter { manifest: Arc::new(self.manifest.bytes().to_vec()), genesis: self.genesis_bytes.clone() }
    }

    /// Keeps both in the directory that is filled.
    pub(in crate::app) fn keep(&self, directory: &Path) -> Result<()> {
        let [manifest, genesis] = [MANIFEST_FILE_NAME, GENESIS_FILE_NAME].map(|name| directory.join(name));
        if !manifest.exists() || read_manifest(&manifest)? != self.manifest.bytes() {
            durable::write_atomically(&manifest, self.manifest.bytes(), 0o644)?;
        }
        // Another genesis that lies there is somebody's: the store refuses it, and it stays.
        if genesis.symlink_metadata().is_err() {
            durable::write_atomically(&genesis, &self.genesis_bytes, 0o644)?;
        }
        Ok(())
    }
}

/// What the ticket makes of a reader's trust.
pub(in crate::app) fn policy(ticket: &Ticket) -> TrustPolicy {
    TrustPolicy {
        keys: vec![ticket.lead],
        manifest_id: Some(ticket.manifest_id),
        chain_id: Some(ticket.new_chain_id.clone()),
        ..TrustPolicy::default()
    }
}

/// The same of a reader who waits for the signatures that are missing: what they are needed for comes later.
fn policy_of_member(ticket: &Ticket) -> TrustPolicy {
    TrustPolicy { proposals: true, ..policy(ticket) }
}

/// The manifest that a ticket names and its genesis, from whoever has them; nothing is kept but the highest sequence seen.
///
/// # Errors
/// As [`fetch`].
pub async fn ask_for_manifest(
    ticket: &Ticket,
    swarm: &SwarmOptions,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Signed> {
    visit(ticket, (swarm, state), progress, cancel, async |_: &mut Node, signed: Signed| Ok(signed)).await
}

pub(in crate::app) fn read_manifest(path: &Path) -> Result<Vec<u8>> {
    read_regular(path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")
}

/// Refuses a directory that holds another migration: its manifest, its secret and what is fetched or half-fetched are somebody's. Where
/// nothing of its snapshot is there yet it gives way; so does one that the same lead has signed for the same network, as far as the newer
/// manifest holds.
pub(in crate::app) fn refuse_another(directory: &Path, ticket: &Ticket) -> Result<()> {
    let path = directory.join(MANIFEST_FILE_NAME);
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let Ok(found) = SignedManifest::decode(&read_manifest(&path)?) else {
        let text = format!("{} is no manifest that this regenesis can read", path.display());
        return Err(Error::refused(text).hint("move it away, or choose another directory"));
    };
    let manifest = found.manifest();
    let snapshot = directory.join(ArtifactName::Snapshot.file_name(manifest.network.family));
    let is_begun = [durable::part_path(&snapshot), snapshot].iter().any(|path| path.symlink_metadata().is_ok());
    let is_the_same = manifest.trust.lead == ticket.lead && manifest.network.new_chain_id == ticket.new_chain_id;
    if is_the_same || !is_begun {
        return Ok(());
    }
    let text = format!(
        "{} holds another migration: manifest {}, and the ticket is for {}",
        directory.display(),
        found.id(),
        ticket.manifest_id
    );
    Err(Error::refused(text).hint(Next::OtherDirectory))
}

/// The manifest and genesis that an earlier fetch left, if they are the ticket's.
pub(in crate::app) fn known_manifest(
    directory: &Path,
    ticket: &Ticket,
    state: &StateDirectory,
) -> Result<Option<Signed>> {
    let [manifest, genesis] = [MANIFEST_FILE_NAME, GENESIS_FILE_NAME].map(|name| directory.join(name));
    if !manifest.exists() || !genesis.exists() {
        return Ok(None);
    }
    let bytes = read_manifest(&manifest)?;
    if !SignedManifest::decode(&bytes).is_ok_and(|signed| signed.id() == ticket.manifest_id) {
        return Ok(None);
    }
    // It was verified before it was kept, but time has passed: a newer one may have been seen.
    let manifest = state.verify(&bytes, &policy_of_member(ticket), clock::unix_seconds())?;
    let genesis_bytes = Arc::new(read_regular(&genesis, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?);
    // Where it is another one, the right one is asked for, and the store says so.
    let genesis = manifest.check_genesis(&genesis_bytes).ok();
    Ok(genesis.map(|genesis| Signed { manifest, genesis, genesis_bytes, is_new: false }))
}

/// Manifest and genesis, from whoever has them.
pub(in crate::app) async fn manifest_from_peers(
    node: &mut Node,
    ticket: &Ticket,
    state: &StateDirectory,
    give_up: Option<Duration>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Signed> {
    // One place may be reached in several ways.
    let mut places: Vec<String> = ticket.addresses.iter().map(|address| short_place(address)).collect();
    places.dedup();
    let at = if places.is_empty() { String::new() } else { format!(" at {}", text::first_few(places, 4)) };
    progress.step(format!("looking for {}{at}", text::escape(&ticket.new_chain_id)));
    let mut patience = Patience::new(give_up);
    loop {
        let heard = tokio::select! {
            () = cancel.cancelled() => return Err(interrupted()),
            heard = node.next() => heard?,
        };
        if let Heard::Charter { peer, charter } = heard {
            let manifest = charter.manifest.clone();
            match judged(charter, ticket, state, clock::unix_seconds()) {
                Ok(Ok(signed)) => return Ok(signed),
                // Whoever proved membership of this manifest's swarm has no excuse.
                Ok(Err(lie)) => node.handle().blame(&peer, lie).await?,
                Err(refused) => {
                    // Others work with it, and may not know what this machine knows.
                    if let Ok(signed) = SignedManifest::decode(&manifest) {
                        node.tell_against(signed).await?;
                    }
                    return Err(refused);
                }
            }
            continue;
        }
        patience.check(&node.status())?;
    }
}

/// What a member sent: that which was signed, or what it did wrong.
///
/// # Errors
/// When the lead signed what cannot be taken.
fn judged(charter: Charter, ticket: &Ticket, state: &StateDirectory, now: u64) -> Result<Result<Signed, &'static str>> {
    let Charter { manifest: bytes, genesis: genesis_bytes } = charter;
    let is_it = SignedManifest::decode(&bytes).is_ok_and(|signed| signed.id() == ticket.manifest_id);
    if !is_it {
        return Ok(Err("it sent another manifest than the ticket names"));
    }
    let manifest = state.verify(&bytes, &policy_of_member(ticket), now)?;
    match manifest.check_genesis(&genesis_bytes) {
        Ok(genesis) => Ok(Ok(Signed { manifest, genesis, genesis_bytes, is_new: true })),
        Err(VerifyError::OtherGenesis { .. }) => Ok(Err("it sent another genesis than the manifest names")),
        Err(wrong) => Err(wrong.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_manifest_or_genesis_is_its_senders_fault_and_the_signed_ones_are_taken() {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/manifest");
        let file = |name: &str| std::fs::read(vectors.join(name)).unwrap();
        let (manifest, genesis) = (file("good.regenesis"), file("genesis.json"));
        let ticket = crate::app::manifest::ticket(&SignedManifest::decode(&manifest).unwrap());
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(Some(place.path())).unwrap();
        let judge = |manifest: &[u8], genesis: &[u8]| {
            let charter = Charter { manifest: Arc::new(manifest.to_vec()), genesis: Arc::new(genesis.to_vec()) };
            // When it was signed.
            judged(charter, &ticket, &state, 1_800_000_000).unwrap()
        };
        let lie = |manifest: &[u8], genesis: &[u8]| judge(manifest, genesis).unwrap_err();
        assert_eq!(lie(b"none", &genesis), "it sent another manifest than the ticket names");
        for other in [&b""[..], &genesis[1..], &[&genesis[..], b" "].concat()] {
            assert_eq!(lie(&manifest, other), "it sent another genesis than the manifest names");
        }
        let signed = judge(&manifest, &genesis).unwrap();
        assert_eq!(signed.manifest.id(), ticket.manifest_id);
        assert_eq!(*signed.charter().genesis, genesis);
    }
}
