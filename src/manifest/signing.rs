//! Who has signed a manifest, as far as a node has heard, and who refuses. Signatures come in the manifest's file and, one by one,
//! as statements from members of the swarm. Each is checked against what the lead signed before it is kept.

use std::collections::BTreeMap;

use kwil_formats::formats::key::{PrivateKey, PublicKey};

use super::{
    Manifest, SignedManifest, SignerError, VerifiedManifest, Weight,
    signed::Signature,
    statement::{self, DifferingPart},
    wire,
};
use crate::base::{
    Blake3Hash,
    limits::{STATEMENT_SIZE_BYTES_MAX, STATEMENTS_OF_VALIDATOR_MAX, UNIX_SECONDS_MAX},
};

/// One who may sign a manifest says that it does not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The id of the manifest that it is about.
    pub manifest_id: Blake3Hash,
    /// When it was said, in UNIX seconds.
    pub created_unix_seconds: u64,
    /// Why, in a few words without control characters.
    pub reason: String,
}

impl Refusal {
    const DOMAIN: &[u8] = b"regenesis/refusal/v1\0";

    /// Words that a refusal takes: cut, and harmless to show.
    pub(super) fn harmless(words: &str) -> String {
        DifferingPart::new(words, 0).name
    }
}

/// What one who refuses said last.
#[derive(Debug, Clone)]
struct Refused {
    bytes: Vec<u8>,
    refusal: Refusal,
    /// Refusals of it that were taken.
    taken: u32,
}

/// The signatures of a manifest. Bounded by the manifest: of each key that may sign there is one signature or one refusal.
#[derive(Debug, Clone)]
pub struct Signing {
    signed: SignedManifest,
    id: Blake3Hash,
    /// What is signed, as a statement carries it.
    head: Vec<u8>,
    refused: BTreeMap<PublicKey, Refused>,
}

/// What came of statements that somebody passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Those that are new and hold.
    pub kept: Vec<Vec<u8>>,
    /// One says that somebody signed or refused this manifest who did not, or may not: whoever passes that on has not checked it.
    pub is_any_false: bool,
}

/// How it stands with the signatures of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What the signatures come to.
    pub weight: Weight,
    /// Who has signed.
    pub signed: Vec<PublicKey>,
    /// Who has said nothing.
    pub missing: Vec<PublicKey>,
    /// Who refuses, and why.
    pub refused: Vec<(PublicKey, String)>,
}

/// What a statement turned out to be.
enum Judged {
    Signature(Signature),
    Refusal(PublicKey, Refusal),
    /// Not about these signatures, or nothing new.
    Nothing,
    False,
}

impl Signing {
    /// The signatures that a manifest's file has.
    ///
    /// # Errors
    /// When one of them does not hold, or is of a key that may not sign.
    pub fn new(signed: &SignedManifest) -> Result<Self, SignerError> {
        signed.signers()?;
        Ok(Self::with(signed))
    }

    /// The signatures that a manifest came with, which were verified.
    pub fn of(manifest: &VerifiedManifest) -> Self {
        Self::with(manifest.signed())
    }

    fn with(signed: &SignedManifest) -> Self {
        let head = wire::encode_head(&signed.head());
        Signing { id: signed.id(), head, signed: signed.clone(), refused: BTreeMap::new() }
    }

    fn manifest(&self) -> &Manifest {
        self.signed.manifest()
    }

    /// The manifest with all signatures that are known.
    pub fn signed(&self) -> &SignedManifest {
        &self.signed
    }

    fn signature_of(&self, key: &PublicKey) -> Option<&Signature> {
        self.signed.signatures().iter().find(|signature| signature.key == *key)
    }

    fn as_statement(&self, signature: &Signature) -> Vec<u8> {
        wire::encode_statement(&self.head, signature)
    }

    /// Whether others may sign beside the lead, so that there is something to tell.
    fn is_shared(&self) -> bool {
        self.manifest().cosigners().next().is_some()
    }

    /// Every statement that is known: the signatures, and the refusals of those who have not signed.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        if !self.is_shared() {
            return Vec::new();
        }
        let signatures = self.signed.signatures().iter().map(|signature| self.as_statement(signature));
        signatures.chain(self.refused.values().map(|refused| refused.bytes.clone())).collect()
    }

    /// Judges statements, and keeps those that are new and hold.
    pub fn take(&mut self, all: &[Vec<u8>]) -> Taken {
        let mut taken = Taken::default();
        for bytes in all {
            match self.judge(bytes) {
                Judged::Nothing => continue,
                Judged::False => {
                    taken.is_any_false = true;
                    continue;
                }
                Judged::Signature(signature) => self.put(signature),
                Judged::Refusal(signer, refusal) => {
                    let before = self.refused.get(&signer).map_or(0, |refused| refused.taken);
                    let refused = Refused { bytes: bytes.clone(), refusal, taken: before + 1 };
                    self.refused.insert(signer, refused);
                }
            }
            taken.kept.push(bytes.clone());
        }
        taken
    }

    /// Takes the signatures of the same manifest from another copy of its file; gives the new ones as statements. A copy with a
    /// signature that does not hold is passed over.
    pub fn merge(&mut self, other: &SignedManifest) -> Vec<Vec<u8>> {
        if other.id() != self.id || other.signers().is_err() {
            return Vec::new();
        }
        let is_new = |signature: &&Signature| self.signature_of(&signature.key).is_none();
        let new: Vec<Signature> = other.signatures().iter().filter(is_new).cloned().collect();
        let statements = new.iter().map(|signature| self.as_statement(signature)).collect();
        new.into_iter().for_each(|signature| self.put(signature));
        statements
    }

    fn put(&mut self, signature: Signature) {
        self.refused.remove(&signature.key);
        self.signed.put(signature);
    }

    fn judge(&self, bytes: &[u8]) -> Judged {
        if bytes.len() > STATEMENT_SIZE_BYTES_MAX {
            return Judged::Nothing;
        }
        let Ok((payload, signature)) = wire::decode_statement(bytes) else { return Judged::Nothing };
        let signer = signature.key;
        if payload == self.head {
            // What is known already costs no check.
            return match self.signature_of(&signer) {
                Some(known) if *known == signature => Judged::Nothing,
                _ if !self.manifest().may_sign(&signer) => Judged::False,
                _ if !signer.verify(&self.signed.head().message(), &signature.signature) => Judged::False,
                // A key that signs twice has signed.
                Some(_) => Judged::Nothing,
                None => Judged::Signature(signature),
            };
        }
        let Ok(refusal) = wire::decode_refusal(&payload) else { return Judged::Nothing };
        if refusal.manifest_id != self.id || self.refused.get(&signer).is_some_and(|known| known.bytes == bytes) {
            return Judged::Nothing;
        }
        if !self.manifest().may_sign(&signer)
            || !signer.verify(&[Refusal::DOMAIN, &payload[..]].concat(), &signature.signature)
        {
            return Judged::False;
        }
        let is_late = self.refused.get(&signer).is_some_and(|known| {
            known.refusal.created_unix_seconds >= refusal.created_unix_seconds
                || known.taken >= STATEMENTS_OF_VALIDATOR_MAX
        });
        if is_late || self.signature_of(&signer).is_some() {
            return Judged::Nothing;
        }
        Judged::Refusal(signer, refusal)
    }

    /// Signs with this key; gives the statement. `None`: the key may not sign, or has signed.
    pub fn sign(&mut self, key: &PrivateKey) -> Option<Vec<u8>> {
        let own = key.public();
        if !self.manifest().may_sign(&own) || self.signature_of(&own).is_some() {
            return None;
        }
        let signature = Signature::new(key, &self.signed.head().message());
        let statement = self.as_statement(&signature);
        self.put(signature);
        Some(statement)
    }

    /// Says with this key that it does not sign; gives the statement. `None`: the key may not sign, has signed, or has said so.
    pub fn refuse(&mut self, key: &PrivateKey, reason: &str, now_unix_seconds: u64) -> Option<Vec<u8>> {
        let (own, reason) = (key.public(), Refusal::harmless(reason));
        let before = self.refused.get(&own).map(|refused| &refused.refusal);
        if !self.manifest().may_sign(&own)
            || self.signature_of(&own).is_some()
            || before.is_some_and(|before| before.reason == reason)
        {
            return None;
        }
        // Two in one second are still one after the other.
        let after = before.map_or(0, |before| before.created_unix_seconds.saturating_add(1));
        let created_unix_seconds = now_unix_seconds.max(after).min(UNIX_SECONDS_MAX);
        let refusal = Refusal { manifest_id: self.id, created_unix_seconds, reason };
        let bytes = statement::sign(Refusal::DOMAIN, &wire::encode_refusal(&refusal), key);
        self.refused.insert(own, Refused { bytes: bytes.clone(), refusal, taken: 1 });
        Some(bytes)
    }

    /// Whether the manifest counts.
    pub fn is_enough(&self) -> bool {
        self.weight().is_enough()
    }

    fn weight(&self) -> Weight {
        self.manifest().weigh(self.signed.signatures().iter().map(|signature| &signature.key))
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let cosigners = self.manifest().cosigners();
        let is_silent = |key: &&PublicKey| self.signature_of(key).is_none() && !self.refused.contains_key(key);
        Standing {
            weight: self.weight(),
            signed: self.signed.signatures().iter().map(|signature| signature.key).collect(),
            missing: cosigners.filter(is_silent).copied().collect(),
            refused: self.refused.iter().map(|(key, refused)| (*key, refused.refusal.reason.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
