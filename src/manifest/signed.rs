//! A manifest with its signatures. The payload's bytes make the manifest's id and are never re-encoded; the id is signed
//! together with what makes a manifest the one of its number.

use std::collections::BTreeSet;

use kwil_formats::formats::key::{PrivateKey, PublicKey};

use super::{DecodeError, Manifest, Weight, strictly_sorted, wire};
use crate::base::{Blake3Hash, limits};

/// What is put before the payload, so that a manifest's id is never one of something else.
const ID_DOMAIN: &[u8] = b"regenesis/manifest/v1\0";
/// What is put before a head, so that a signature over a manifest is never one over something else.
const HEAD_DOMAIN: &[u8] = b"regenesis/manifest-head/v1\0";
/// The same for the signature that takes a manifest back.
const REVOCATION_DOMAIN: &[u8] = b"regenesis/revocation/v1\0";

/// The same for the signature that takes a validator's access back.
const EXCLUSION_DOMAIN: &[u8] = b"regenesis/exclusion/v1\0";

/// What is signed of a manifest: so little that two signatures prove a lead's two faces to anyone, without the manifests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) manifest_id: Blake3Hash,
    pub(super) sequence: u64,
    pub(super) new_chain_id: &'a str,
    pub(super) lead: &'a PublicKey,
}

impl Head<'_> {
    /// The bytes that are signed.
    pub(super) fn message(&self) -> Vec<u8> {
        [HEAD_DOMAIN, &wire::encode_head(self)].concat()
    }

    /// The bytes that are signed to take the manifest back.
    pub(super) fn revocation(&self) -> Vec<u8> {
        [REVOCATION_DOMAIN, &wire::encode_head(self)].concat()
    }

    /// The bytes that are signed to take a validator's access back.
    pub(super) fn exclusion(&self, validator: &PublicKey) -> Vec<u8> {
        [EXCLUSION_DOMAIN, &wire::encode_exclusion_head(self, validator)].concat()
    }
}

/// One key's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed.
    pub key: PublicKey,
    /// The signature, as [`PrivateKey::sign`] makes it.
    pub signature: [u8; 64],
}

impl Signature {
    pub(super) fn new(key: &PrivateKey, message: &[u8]) -> Self {
        let mut signature = [0; 64];
        signature.copy_from_slice(&key.sign(message));
        Signature { key: key.public(), signature }
    }
}

/// A manifest that could be read. Nothing is said about who signed it: see [`super::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    payload: Vec<u8>,
    manifest: Manifest,
    /// Sorted by key, each key once.
    signatures: Vec<Signature>,
}

impl SignedManifest {
    pub(super) fn sign(manifest: &Manifest, key: &PrivateKey) -> Result<Self, DecodeError> {
        manifest.check()?;
        let payload = wire::encode_manifest(manifest);
        let mut signed = SignedManifest { payload, manifest: manifest.clone(), signatures: Vec::new() };
        signed.signatures.push(Signature::new(key, &signed.head().message()));
        // Read back what others will read: size caps and lengths hold for the writer, too.
        Self::decode(&signed.to_bytes())
    }

    /// Reads `manifest.regenesis` strictly, without trusting it.
    ///
    /// # Errors
    /// When the bytes are not exactly what this program would write for some manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::MANIFEST_SIZE_BYTES_MAX {
            return Err(DecodeError::TooLarge { size: bytes.len(), max: limits::MANIFEST_SIZE_BYTES_MAX });
        }
        let (payload, signatures) = wire::decode_signed(bytes)?;
        let manifest = wire::decode_manifest(&payload)?;
        if signatures.is_empty() {
            return Err(DecodeError::Missing("signatures"));
        }
        if signatures.len() > limits::SIGNATURES_MAX {
            return Err(DecodeError::Rule { field: "signatures", problem: "too many" });
        }
        if !strictly_sorted(&signatures, |a, b| a.key.cmp(&b.key)) {
            return Err(DecodeError::NotSorted("signatures"));
        }
        Ok(SignedManifest { payload, manifest, signatures })
    }

    /// The bytes of the file `manifest.regenesis`.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode_signed(&self.payload, &self.signatures)
    }

    /// What the manifest says, unverified.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's id: BLAKE3 over the payload. Signatures do not change it.
    pub fn id(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(ID_DOMAIN).update(&self.payload);
        Blake3Hash::from_bytes(*hasher.finalize().as_bytes())
    }

    /// What is signed of it.
    pub(super) fn head(&self) -> Head<'_> {
        let Manifest { network, sequence, trust, .. } = &self.manifest;
        Head { manifest_id: self.id(), sequence: *sequence, new_chain_id: &network.new_chain_id, lead: &trust.lead }
    }

    /// The signatures, unverified.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds (or replaces) the signature of a lead or co-signer.
    ///
    /// # Errors
    /// When the manifest does not name this key.
    pub fn add_signature(&mut self, key: &PrivateKey) -> Result<(), DecodeError> {
        let signature = Signature::new(key, &self.head().message());
        if !self.manifest.may_sign(&signature.key) {
            return Err(DecodeError::Rule { field: "signatures", problem: "a key that is neither lead nor co-signer" });
        }
        self.put(signature);
        Ok(())
    }

    /// Adds or replaces a signature of a key that may sign.
    pub(super) fn put(&mut self, signature: Signature) {
        self.signatures.retain(|s| s.key != signature.key);
        self.signatures.push(signature);
        self.signatures.sort_by_key(|s| s.key);
    }

    /// Who signed: every signature must hold and be of a key that may sign; each key counts once.
    ///
    /// # Errors
    /// The first signature that does not hold.
    pub fn signers(&self) -> Result<Signers, SignerError> {
        Signers::check(&self.manifest, &self.head().message(), &self.signatures)
    }
}

/// A signature that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerError {
    /// The key is neither lead nor co-signer.
    Foreign(PublicKey),
    /// The signature is not one of these bytes by this key.
    Bad(PublicKey),
}

/// Distinct keys of lead and co-signers whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    keys: BTreeSet<PublicKey>,
    weight: Weight,
}

impl Signers {
    /// The only place that counts signatures: each must hold and be of a key that may sign; a key counts once,
    /// however often it signed.
    fn check(manifest: &Manifest, message: &[u8], signatures: &[Signature]) -> Result<Self, SignerError> {
        let mut keys = BTreeSet::new();
        for Signature { key, signature } in signatures {
            if !manifest.may_sign(key) {
                return Err(SignerError::Foreign(*key));
            }
            if !key.verify(message, signature) {
                return Err(SignerError::Bad(*key));
            }
            keys.insert(*key);
        }
        let weight = manifest.weigh(keys.iter());
        Ok(Signers { keys, weight })
    }

    /// The number of distinct keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// What their signatures come to under the manifest's rules.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }
}
