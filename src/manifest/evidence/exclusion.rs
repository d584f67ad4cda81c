//! That a validator's nodes are not let in any more, whatever the manifest's lists say: its key was stolen, or it does harm. Signed by as
//! many of lead and co-signers as the manifest needed itself. It takes access to the swarm back and nothing else: what the validator
//! has signed of the state counts on, or a lead could silence whoever disagrees.

use kwil_formats::formats::key::{PrivateKey, PublicKey};

use super::{EvidenceError, HeadSignatures, Said};
use crate::{
    base::Blake3Hash,
    manifest::{DecodeError, Manifest, SignedManifest},
};

/// Who has lost access to the swarm of a manifest, and who says so; all signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub(in super::super) head: HeadSignatures,
    pub(in super::super) validator: PublicKey,
}

impl Exclusion {
    /// Checks what was read.
    pub(super) fn check(head: HeadSignatures, validator: PublicKey) -> Result<Self, EvidenceError> {
        head.check(Said::Excluded(validator)).map(|head| Exclusion { head, validator })
    }

    /// The exclusion of a validator from a manifest's swarm by this key, added to what others have signed of it in `before`.
    ///
    /// # Errors
    /// When the manifest does not name the key as a signer or the other one as a validator, or `before` is about something else.
    pub fn sign(
        signed: &SignedManifest,
        validator: PublicKey,
        key: &PrivateKey,
        before: Option<&Self>,
    ) -> Result<Self, DecodeError> {
        let rule = |field, problem| Err(DecodeError::Rule { field, problem });
        if !signed.manifest().may_sign(&key.public()) {
            return rule("signatures", "a key that is neither lead nor co-signer");
        }
        if !is_listed(signed.manifest(), &validator) {
            return rule("validator", "no validator of the manifest");
        }
        let is_other = |before: &Self| before.validator != validator || before.head.manifest_id != signed.id();
        if before.is_some_and(is_other) {
            return rule("signatures", "about another validator or manifest");
        }
        let head = HeadSignatures::with(&signed.head(), Said::Excluded(validator), key, before.map(|one| &one.head));
        Ok(Exclusion { head, validator })
    }

    /// Whose nodes are not let in.
    pub fn validator(&self) -> &PublicKey {
        &self.validator
    }

    /// The manifest, and who signed.
    pub fn head(&self) -> &HeadSignatures {
        &self.head
    }

    /// Whether it counts in the swarm of this manifest: it is about it and its validators, and enough have signed.
    pub fn counts(&self, manifest: &Manifest, id: Blake3Hash) -> bool {
        let Exclusion { head, validator } = self;
        head.is_beside(manifest)
            && head.manifest_id == id
            && is_listed(manifest, validator)
            && head.suffices_under(manifest)
    }
}

fn is_listed(manifest: &Manifest, key: &PublicKey) -> bool {
    manifest.old_validators.iter().chain(&manifest.new_validators).any(|validator| validator.key == *key)
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::key::KeyType;

    use super::*;
    use crate::{base::limits, manifest::Evidence};

    const MANIFEST: &[u8] = include_bytes!("../../../tests/vectors/manifest/good.regenesis");
    const EXCLUSION: &[u8] = include_bytes!("../../../tests/vectors/evidence/exclusion.evidence");

    fn ed(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
    }

    fn secp(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Secp256k1, &[seed; 32]).unwrap()
    }

    /// The manifest of the vectors, signed by two of the lead, `ed(1)`, and the co-signers, `secp(2)` and `ed(3)`.
    fn signed() -> SignedManifest {
        SignedManifest::decode(MANIFEST).unwrap()
    }

    fn validator() -> PublicKey {
        signed().manifest().new_validators[0].key
    }

    fn by(keys: &[PrivateKey]) -> Exclusion {
        let sign = |before: Option<Exclusion>, key| {
            Some(Exclusion::sign(&signed(), validator(), key, before.as_ref()).unwrap())
        };
        keys.iter().fold(None, sign).unwrap()
    }

    fn read(exclusion: Exclusion) -> Result<Evidence, EvidenceError> {
        Evidence::decode(&Evidence::Exclusion(exclusion).to_bytes())
    }

    #[test]
    fn golden_bytes_do_not_change_and_nothing_in_them_can() {
        let exclusion = Evidence::Exclusion(by(&[secp(2), ed(1)]));
        assert_eq!(hex::encode(exclusion.to_bytes()), hex::encode(EXCLUSION));
        assert_eq!(Evidence::decode(EXCLUSION), Ok(exclusion.clone()));
        assert!(EXCLUSION.len() < limits::EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX / 8);
        for i in 0..EXCLUSION.len() {
            let mut other = EXCLUSION.to_vec();
            other[i] ^= 1;
            assert!(Evidence::decode(&other).is_err(), "byte {i}");
            assert!(Evidence::decode(&EXCLUSION[..i]).is_err(), "cut at {i}");
        }
        // It ends no manifest, and lowers and raises no number.
        assert!(!exclusion.ends(signed().manifest(), signed().id()) && exclusion.sequence().is_none());
    }

    #[test]
    fn it_counts_when_as_many_have_signed_as_the_manifest_needed() {
        let counts = |exclusion: &Exclusion| exclusion.counts(signed().manifest(), signed().id());
        assert!(!counts(&by(&[ed(1)])) && !counts(&by(&[ed(1), ed(1)])), "a lead alone, however often");
        assert!(counts(&by(&[secp(2), ed(3)])));
        let mut other = signed().manifest().clone();
        other.sequence += 1;
        let other = other.sign(&ed(1)).unwrap();
        assert!(!by(&[ed(1), ed(3)]).counts(other.manifest(), other.id()), "another manifest");
        let mut without = signed().manifest().clone();
        without.new_validators.retain(|one| one.key != validator());
        without.old_validators.retain(|one| one.key != validator());
        assert!(!by(&[ed(1), ed(3)]).counts(&without, signed().id()), "no validator there");
    }

    #[test]
    fn only_signers_exclude_and_only_validators_and_one_signature_serves_one_purpose() {
        let sign = |validator, key: &PrivateKey, before: Option<&Exclusion>| {
            Exclusion::sign(&signed(), validator, key, before).is_err()
        };
        assert!(sign(validator(), &ed(99), None), "a stranger");
        assert!(sign(ed(99).public(), &ed(1), None), "nobody's key");
        let second = signed().manifest().new_validators[1].key;
        assert!(sign(second, &ed(3), Some(&by(&[ed(1)]))), "about another validator");
        // A revocation's signature is none over an exclusion, nor one over another validator.
        let revocation = Evidence::revocation(&signed(), &ed(1), None).unwrap();
        let forged = Exclusion { head: revocation, validator: validator() };
        assert!(matches!(read(forged), Err(EvidenceError::Signature { .. })));
        let moved = Exclusion { validator: second, ..by(&[ed(1)]) };
        assert!(matches!(read(moved), Err(EvidenceError::Signature { .. })));
        let mut unsorted = by(&[ed(1), secp(2)]);
        unsorted.head.signatures.reverse();
        assert!(read(unsorted).is_err());
    }
}
