//! What proves itself to anyone, offline and without trust in whoever gave it: that a network is ready, that a lead is
//! two-faced, that there is a newer manifest, that a manifest was taken back.

mod exclusion;
mod head;

use kwil_formats::formats::key::{PrivateKey, PublicKey};

pub use self::{
    exclusion::Exclusion,
    head::{HeadSignatures, Said},
};
use super::{
    Certificate, DecodeError, Manifest, SignedManifest, check_chain_id,
    signed::Head,
    wire::{self, RawEvidence},
};
use crate::base::{Blake3Hash, Error, limits, text::escape};

/// The end of the name of a file that holds evidence.
pub const EVIDENCE_EXTENSION: &str = "evidence";

/// What a file of evidence holds. All signatures hold but those of a [`Certificate`], which is judged by its genesis; whether the
/// signers of a revocation may revoke is told by the trust rules of the manifest that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Validators of a new network say that they are ready.
    Certificate(Certificate),
    /// A lead signed two manifests with one number.
    Equivocation(Equivocation),
    /// A lead signed a manifest with this number: those with a lower one are old.
    Issue(HeadSignatures),
    /// A manifest is taken back.
    Revocation(HeadSignatures),
    /// A validator's access to a manifest's swarm is taken back.
    Exclusion(Exclusion),
}

/// Why bytes are no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The bytes cannot be read as evidence.
    #[error("this is no evidence: {0}")]
    Decode(#[from] DecodeError),
    /// Both manifests are one, so that nothing is proved by them.
    #[error("it names one manifest twice, {0}: that proves nothing")]
    OneManifest(Blake3Hash),
    /// The lead has not signed what only counts by its signature.
    #[error("it proves nothing: the lead {0} has not signed it")]
    NotByLead(PublicKey),
    /// A signature does not hold.
    #[error("it proves nothing: the signature by {signer} over manifest {manifest_id} does not hold")]
    Signature {
        /// Who is said to have signed.
        signer: PublicKey,
        /// What is said to have been signed.
        manifest_id: Blake3Hash,
    },
}

impl From<EvidenceError> for Error {
    fn from(error: EvidenceError) -> Self {
        let hint = match error {
            EvidenceError::Decode(DecodeError::Newer(_)) => "read it with the version of regenesis that wrote it",
            EvidenceError::Decode(_) => "give the whole file, as it was written",
            _ => "accuse nobody by it; ask whoever gave it for the file that was written in the first place",
        };
        Error::verify(error.to_string()).hint(hint)
    }
}

impl Evidence {
    /// Reads evidence, and checks what can be checked without any other file.
    ///
    /// # Errors
    /// When the bytes are not exactly what this program would write, or do not prove what they say.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > limits::EVIDENCE_SIZE_BYTES_MAX {
            return Err(DecodeError::TooLarge { size: bytes.len(), max: limits::EVIDENCE_SIZE_BYTES_MAX }.into());
        }
        match wire::decode_evidence(bytes)? {
            RawEvidence::Certificate(certificate) => Ok(Evidence::Certificate(certificate)),
            RawEvidence::Equivocation { new_chain_id, lead, sequence, heads } => {
                Equivocation::new(new_chain_id, lead, sequence, heads).map(Evidence::Equivocation)
            }
            RawEvidence::Issue(head) => head.check(Said::Issued).map(Evidence::Issue),
            RawEvidence::Revocation(head) => head.check(Said::Revoked).map(Evidence::Revocation),
            RawEvidence::Exclusion(head, validator) => Exclusion::check(head, validator).map(Evidence::Exclusion),
        }
    }

    /// That this manifest was issued; `None` where the lead itself has not signed it.
    pub fn issue_of(signed: &SignedManifest) -> Option<Self> {
        HeadSignatures::issue(signed).check(Said::Issued).ok().map(Evidence::Issue)
    }

    /// The revocation of a manifest by this key, added to what others have signed of it in `before`.
    ///
    /// # Errors
    /// When the manifest does not name this key, or `before` revokes another manifest.
    pub fn revocation(
        signed: &SignedManifest,
        key: &PrivateKey,
        before: Option<&HeadSignatures>,
    ) -> Result<HeadSignatures, DecodeError> {
        if !signed.manifest().may_sign(&key.public()) {
            return Err(DecodeError::Rule { field: "signatures", problem: "a key that is neither lead nor co-signer" });
        }
        if before.is_some_and(|before| before.manifest_id != signed.id()) {
            return Err(DecodeError::Rule { field: "signatures", problem: "about another manifest" });
        }
        Ok(HeadSignatures::with(&signed.head(), Said::Revoked, key, before))
    }

    /// Of which lead's manifests for which new network it speaks; `None` for a certificate.
    pub fn subject(&self) -> Option<(&str, &PublicKey)> {
        match self {
            Evidence::Certificate(_) => None,
            Evidence::Equivocation(proof) => Some((&proof.new_chain_id, &proof.lead)),
            Evidence::Issue(head) | Evidence::Revocation(head) => Some((&head.new_chain_id, &head.lead)),
            Evidence::Exclusion(exclusion) => Some((&exclusion.head.new_chain_id, &exclusion.head.lead)),
        }
    }

    /// The sequence of the manifests against which it speaks; `None` for a certificate or an exclusion.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Evidence::Certificate(_) | Evidence::Exclusion(_) => None,
            Evidence::Equivocation(proof) => Some(proof.sequence),
            Evidence::Issue(head) | Evidence::Revocation(head) => Some(head.sequence),
        }
    }

    /// Whether this, of the same kind and subject, tells more than the other: of a later manifest, or by more signers.
    pub fn says_more_than(&self, other: &Self) -> bool {
        let weight = |evidence: &Self| match evidence {
            Evidence::Issue(head) | Evidence::Revocation(head) => (head.sequence, head.signatures.len()),
            _ => (evidence.sequence().unwrap_or_default(), 0),
        };
        weight(self) > weight(other)
    }

    /// Whether a manifest counts no more because of this.
    pub fn ends(&self, manifest: &Manifest, id: Blake3Hash) -> bool {
        match self {
            Evidence::Certificate(_) | Evidence::Exclusion(_) => false,
            Evidence::Equivocation(proof) => {
                proof.lead == manifest.trust.lead
                    && proof.new_chain_id == manifest.network.new_chain_id
                    && proof.sequence >= manifest.sequence
            }
            Evidence::Issue(head) => {
                // With our number it is the lead's second face; with a higher one it counts as much as the signatures that ours needs.
                let is_second = head.sequence == manifest.sequence && head.manifest_id != id;
                let is_newer = head.sequence > manifest.sequence && head.suffices_under(manifest);
                head.is_beside(manifest) && (is_second || is_newer)
            }
            Evidence::Revocation(head) => {
                head.is_beside(manifest) && head.manifest_id == id && head.suffices_under(manifest)
            }
        }
    }

    /// The bytes of a file of evidence.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode_evidence(self)
    }
}

/// One of two heads that a lead signed, and the signature over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// Which manifest.
    pub manifest_id: Blake3Hash,
    /// The lead's signature.
    pub signature: [u8; 64],
}

/// That a lead signed two different manifests with one number for one network; both signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    new_chain_id: String,
    lead: PublicKey,
    sequence: u64,
    heads: [SignedHead; 2],
}

impl Equivocation {
    fn new(
        new_chain_id: String,
        lead: PublicKey,
        sequence: u64,
        heads: [SignedHead; 2],
    ) -> Result<Self, EvidenceError> {
        check_chain_id("equivocation.new_chain_id", &new_chain_id)?;
        let [first, second] = &heads;
        if first.manifest_id == second.manifest_id {
            return Err(EvidenceError::OneManifest(first.manifest_id));
        }
        if first.manifest_id.as_bytes() > second.manifest_id.as_bytes() {
            return Err(DecodeError::NotSorted("equivocation's manifests").into());
        }
        for SignedHead { manifest_id, signature } in &heads {
            let head = Head { manifest_id: *manifest_id, sequence, new_chain_id: &new_chain_id, lead: &lead };
            if !lead.verify(&head.message(), signature) {
                return Err(EvidenceError::Signature { signer: lead, manifest_id: *manifest_id });
            }
        }
        Ok(Equivocation { new_chain_id, lead, sequence, heads })
    }

    /// The proof that these two manifests are; `None` where they are of different numbers, leads or networks, are one and
    /// the same, or where the lead itself has not signed both.
    pub fn between(one: &SignedManifest, other: &SignedManifest) -> Option<Self> {
        Self::beside(one, &HeadSignatures::issue(other))
    }

    /// The proof that a lead has signed another manifest with the same number as this one; `None` as in [`Equivocation::between`].
    pub fn beside(manifest: &SignedManifest, other: &HeadSignatures) -> Option<Self> {
        let own = HeadSignatures::issue(manifest);
        if !other.is_beside(manifest.manifest()) || other.sequence != own.sequence {
            return None;
        }
        let signed = |head: &HeadSignatures| {
            head.by_lead().map(|signature| SignedHead { manifest_id: head.manifest_id, signature })
        };
        let mut heads = [signed(&own)?, signed(other)?];
        heads.sort_by_key(|head| *head.manifest_id.as_bytes());
        Self::new(own.new_chain_id, own.lead, own.sequence, heads).ok()
    }

    /// The chain id of the new network.
    pub fn new_chain_id(&self) -> &str {
        &self.new_chain_id
    }

    /// Who signed both.
    pub fn lead(&self) -> &PublicKey {
        &self.lead
    }

    /// The number of both.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The two manifests, sorted by their ids.
    pub fn heads(&self) -> &[SignedHead; 2] {
        &self.heads
    }

    /// What the lead did, in a sentence.
    pub fn words(&self) -> String {
        let [first, second] = self.heads.map(|head| head.manifest_id);
        format!(
            "the lead {} signed two different manifests with sequence {} for network {}, {first} and {second}: neither is good",
            self.lead,
            self.sequence,
            escape(&self.new_chain_id)
        )
    }
}

#[cfg(test)]
mod tests;
