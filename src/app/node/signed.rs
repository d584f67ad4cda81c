//! The manifest's signatures while a node runs: they come from members and from the manifest's file, this machine's own keys add
//! theirs, and all of them are kept in that file and passed on.

use std::{fs, sync::Arc, time::SystemTime};

use kwil_formats::formats::key::PrivateKey;

use super::Node;
use crate::{
    app::signatures::Signatures,
    base::{Error, Kind, Next, Result, clock, durable, files::read_bounded, limits},
    manifest::{MANIFEST_FILE_NAME, SignedManifest, VerifiedManifest},
};

/// What a node knows of its manifest's signatures.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Once the manifest is known.
    signatures: Option<Signatures>,
    /// The manifest was remembered as one that counts.
    is_remembered: bool,
    /// Time and length of the manifest's file, as it was when it was last read.
    file: Option<(SystemTime, u64)>,
    /// Members that passed on what they cannot have checked.
    liars: Vec<String>,
    /// What this node's own keys have signed, and whether a member has said it back.
    own: Vec<Vec<u8>>,
    is_own_heard: bool,
}

impl Node {
    /// Begins with those that the manifest came with, and that were heard in an earlier run.
    pub(super) fn begin_signatures(&mut self, manifest: &VerifiedManifest, before: &[Vec<u8>]) {
        self.known.signatures = Some(Signatures::of(manifest));
        self.take_signatures(None, before);
        self.look_at_manifest_file();
        self.count_signatures();
    }

    /// Who has signed, once the manifest is known.
    pub fn signatures(&self) -> Option<&Signatures> {
        self.known.signatures.as_ref()
    }

    /// Whether enough have signed the manifest, so that a root may be set up from it.
    pub fn is_signed(&self) -> bool {
        self.signatures().is_some_and(Signatures::is_enough)
    }

    /// Takes what a member passes on, or what was kept.
    pub(super) fn take_signatures(&mut self, from: Option<&str>, all: &[Vec<u8>]) {
        let Some(signatures) = &mut self.known.signatures else { return };
        if from.is_some() && self.known.own.iter().any(|own| all.contains(own)) {
            self.known.is_own_heard = true;
        }
        let taken = signatures.take(all, &self.progress);
        if let Some(peer) = from.filter(|_| taken.is_any_false) {
            self.known.liars.push(peer.to_owned());
        }
        if !taken.kept.is_empty() {
            self.untold.extend(taken.kept);
            self.signatures_changed();
        }
    }

    fn signatures_changed(&mut self) {
        self.keep_signatures();
        self.count_signatures();
        self.write_down();
    }

    /// Remembers the manifest as one that counts, as soon as it does; members that use an older one hear of it.
    fn count_signatures(&mut self) {
        if let Some(signatures) = self.known.signatures.as_ref().filter(|signatures| signatures.is_enough())
            && !std::mem::replace(&mut self.known.is_remembered, true)
        {
            self.against.counts(signatures.signed());
        }
    }

    /// Reads the manifest's file where somebody else has changed it: a signature may be put to it by hand.
    pub(super) fn look_at_manifest_file(&mut self) {
        let path = durable::parent(&self.private).join(MANIFEST_FILE_NAME);
        let Ok(found) = fs::metadata(&path) else { return };
        let now = found.modified().ok().map(|modified| (modified, found.len()));
        if self.known.signatures.is_none() || now == self.known.file {
            return;
        }
        self.known.file = now;
        self.merge_file();
    }

    fn merge_file(&mut self) {
        let path = durable::parent(&self.private).join(MANIFEST_FILE_NAME);
        let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest");
        let there = bytes.ok().and_then(|bytes| SignedManifest::decode(&bytes).ok());
        let (Some(signatures), Some(there)) = (&mut self.known.signatures, there) else { return };
        let new = signatures.change(&self.progress, |signing| signing.merge(&there));
        let lacks = |signed: &SignedManifest| signed.id() == there.id() && signed.signatures() != there.signatures();
        let is_new = !new.is_empty();
        self.untold.extend(new);
        if lacks(signatures.signed()) {
            // A file that cannot be written only saves hearing them anew.
            if let Err(e) = durable::write_atomically(&path, &signatures.signed().to_bytes(), 0o644) {
                tracing::debug!("signatures are not kept: {}", e.chain());
            }
            self.known.file = fs::metadata(&path).ok().and_then(|f| Some((f.modified().ok()?, f.len())));
        }
        if is_new {
            self.count_signatures();
            self.write_down();
        }
    }

    /// Puts all that are known into the manifest's file, and takes from it what somebody else has put there.
    fn keep_signatures(&mut self) {
        self.merge_file();
    }

    /// Signs the manifest with those of the keys that it names and that have not signed it. What is signed is remembered first: these
    /// keys sign no other manifest of its number, and none with a lower one, on this machine.
    ///
    /// # Errors
    /// When that cannot be remembered, or something is known against the manifest.
    pub async fn sign_manifest(&mut self, keys: &[Arc<PrivateKey>]) -> Result<()> {
        let Some(signatures) = &self.known.signatures else { return Ok(()) };
        let has_signed = |key: &Arc<PrivateKey>| {
            let own = key.public();
            signatures.signed().signatures().iter().any(|signature| signature.key == own)
        };
        let may_sign =
            |key: &&Arc<PrivateKey>| signatures.signed().manifest().may_sign(&key.public()) && !has_signed(key);
        let keys: Vec<Arc<PrivateKey>> = keys.iter().filter(may_sign).cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.require_manifest().await?;
        let Some(signatures) = &mut self.known.signatures else { return Ok(()) };
        self.against.signs(signatures.signed())?;
        for key in &keys {
            let signed = signatures.change(&self.progress, |signing| signing.sign(key));
            self.known.own.extend(signed.clone());
            self.untold.extend(signed);
        }
        self.signatures_changed();
        self.pass_on().await
    }

    /// Tells the members that those of the keys that might have signed do not, where what was found out is wrong with what the lead
    /// signed and not with this machine.
    pub async fn refuse_manifest(&mut self, keys: &[Arc<PrivateKey>], why: &Error) {
        let is_the_leads =
            why.kind() == Kind::Verify || why.advice().is_some_and(|advice| advice.names(&Next::AcceptGenesisChange));
        if is_the_leads {
            self.say_refusal(keys, why.to_string().lines().next().unwrap_or_default()).await;
        }
    }

    /// Tells the members that those of the keys that might have signed do not, and why.
    pub async fn say_refusal(&mut self, keys: &[Arc<PrivateKey>], reason: &str) {
        let Some(signatures) = &mut self.known.signatures else { return };
        let said: Vec<Vec<u8>> = signatures.change(&self.progress, |signing| {
            keys.iter().filter_map(|key| signing.refuse(key, reason, clock::unix_seconds())).collect()
        });
        if said.is_empty() {
            return;
        }
        self.untold.extend(said);
        self.write_down();
        if let Err(e) = self.pass_on().await {
            tracing::debug!("the refusal is not told: {}", e.chain());
        }
    }

    /// Whether a member has said back what this node's own keys have signed: it has checked it, and passes it on.
    pub fn is_own_signature_heard(&self) -> bool {
        self.known.is_own_heard
    }

    /// Ends the sessions with members that passed on what they cannot have checked.
    ///
    /// # Errors
    /// When the node ended.
    pub(super) async fn blame_liars(&mut self) -> Result<()> {
        // Whoever waits for something else beside this may drop it at any await.
        while let Some(peer) = self.known.liars.last().cloned() {
            self.handle.blame(&peer, "it passed on a signature of the manifest that does not hold").await?;
            self.known.liars.pop();
        }
        Ok(())
    }
}
