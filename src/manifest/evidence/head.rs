//! A manifest's head with signatures over it: that the manifest was issued, or that it is taken back. So little that it can be
//! told to anyone who has another manifest of the same lead and network.

use kwil_formats::formats::key::{PrivateKey, PublicKey};

use super::EvidenceError;
use crate::{
    base::{Blake3Hash, limits, text::escape},
    manifest::{
        DecodeError, Manifest, SignedManifest, Weight, check_chain_id,
        signed::{Head, Signature},
        strictly_sorted,
    },
};

/// What signatures over a head say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// This is a manifest of ours; the lead is among those who say it.
    Issued,
    /// This manifest counts no more.
    Revoked,
    /// Nodes of this validator are not let into the manifest's swarm.
    Excluded(PublicKey),
}

impl Said {
    /// The bytes that are signed.
    fn message(self, head: &Head<'_>) -> Vec<u8> {
        match self {
            Said::Issued => head.message(),
            Said::Revoked => head.revocation(),
            Said::Excluded(validator) => head.exclusion(&validator),
        }
    }
}

/// A manifest's head, and signatures over it that all hold. Whether their keys may say it is for a manifest's trust rules to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSignatures {
    pub(in super::super) manifest_id: Blake3Hash,
    pub(in super::super) sequence: u64,
    pub(in super::super) new_chain_id: String,
    pub(in super::super) lead: PublicKey,
    /// Sorted by key, each key once.
    pub(in super::super) signatures: Vec<Signature>,
}

impl HeadSignatures {
    /// That this manifest was issued, by those who have signed it.
    pub(super) fn issue(signed: &SignedManifest) -> Self {
        Self::over(&signed.head(), signed.signatures().to_vec())
    }

    /// What this key says of the manifest, beside those who have signed the same in `before`.
    pub(super) fn with(head: &Head<'_>, said: Said, key: &PrivateKey, before: Option<&Self>) -> Self {
        let own = Signature::new(key, &said.message(head));
        let mut signatures = before.map(|before| before.signatures.clone()).unwrap_or_default();
        signatures.retain(|signature| signature.key != own.key);
        signatures.push(own);
        signatures.sort_by_key(|signature| signature.key);
        Self::over(head, signatures)
    }

    fn over(head: &Head<'_>, signatures: Vec<Signature>) -> Self {
        HeadSignatures {
            manifest_id: head.manifest_id,
            sequence: head.sequence,
            new_chain_id: head.new_chain_id.to_owned(),
            lead: *head.lead,
            signatures,
        }
    }

    /// Checks what was read.
    pub(super) fn check(self, said: Said) -> Result<Self, EvidenceError> {
        check_chain_id("evidence's new_chain_id", &self.new_chain_id)?;
        if self.signatures.is_empty() {
            return Err(DecodeError::Missing("evidence's signatures").into());
        }
        if self.signatures.len() > limits::SIGNATURES_MAX {
            return Err(DecodeError::Rule { field: "evidence's signatures", problem: "too many" }.into());
        }
        if !strictly_sorted(&self.signatures, |a, b| a.key.cmp(&b.key)) {
            return Err(DecodeError::NotSorted("evidence's signatures").into());
        }
        let message = said.message(&self.head());
        for Signature { key, signature } in &self.signatures {
            if !key.verify(&message, signature) {
                return Err(EvidenceError::Signature { signer: *key, manifest_id: self.manifest_id });
            }
        }
        if said == Said::Issued && self.by_lead().is_none() {
            return Err(EvidenceError::NotByLead(self.lead));
        }
        Ok(self)
    }

    pub(super) fn head(&self) -> Head<'_> {
        let HeadSignatures { manifest_id, sequence, new_chain_id, lead, .. } = self;
        Head { manifest_id: *manifest_id, sequence: *sequence, new_chain_id, lead }
    }

    /// The lead's own signature, where it is there.
    pub(super) fn by_lead(&self) -> Option<[u8; 64]> {
        self.signatures.iter().find(|signature| signature.key == self.lead).map(|signature| signature.signature)
    }

    /// The manifest's id.
    pub fn manifest_id(&self) -> Blake3Hash {
        self.manifest_id
    }

    /// The manifest's number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The chain id of the manifest's new network.
    pub fn new_chain_id(&self) -> &str {
        &self.new_chain_id
    }

    /// The manifest's lead.
    pub fn lead(&self) -> &PublicKey {
        &self.lead
    }

    /// Who signed, sorted.
    pub fn signers(&self) -> impl Iterator<Item = &PublicKey> {
        self.signatures.iter().map(|signature| &signature.key)
    }

    /// Whether it is about a manifest of this one's lead and network.
    pub(super) fn is_beside(&self, manifest: &Manifest) -> bool {
        self.lead == manifest.trust.lead && self.new_chain_id == manifest.network.new_chain_id
    }

    /// What the signatures come to under this manifest's rules.
    pub fn weight_under(&self, manifest: &Manifest) -> Weight {
        manifest.weigh(self.signers())
    }

    /// Whether they are enough under these rules.
    pub(super) fn suffices_under(&self, manifest: &Manifest) -> bool {
        self.weight_under(manifest).is_enough()
    }

    /// Which manifest, in words.
    pub fn words(&self) -> String {
        format!("manifest {}, sequence {}, of network {}", self.manifest_id, self.sequence, escape(&self.new_chain_id))
    }
}
