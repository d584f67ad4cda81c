//! What proves itself to anyone, offline and without trust in whoever gave it: that a network is ready, that a lead is
//! two-faced.

use kwil_formats::formats::key::PublicKey;

use super::{
    Certificate, DecodeError, SignedManifest, check_chain_id,
    signed::Head,
    wire::{self, RawEvidence},
};
use crate::base::{Blake3Hash, Error, limits, text::escape};

/// The end of the name of a file that holds evidence.
pub const EVIDENCE_EXTENSION: &str = "evidence";

/// What a file of evidence holds. Of an [`Equivocation`] the signatures hold; a [`Certificate`] is judged by its genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Validators of a new network say that they are ready.
    Certificate(Certificate),
    /// A lead signed two manifests with one number.
    Equivocation(Equivocation),
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
    /// One of two signatures is not the lead's.
    #[error("it proves nothing: the signature by {lead} over manifest {manifest_id} does not hold")]
    Signature {
        /// Who is said to have signed.
        lead: PublicKey,
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
                return Err(EvidenceError::Signature { lead, manifest_id: *manifest_id });
            }
        }
        Ok(Equivocation { new_chain_id, lead, sequence, heads })
    }

    /// The proof that these two manifests are; `None` where they are of different numbers, leads or networks, are one and
    /// the same, or where the lead itself has not signed both.
    pub fn between(one: &SignedManifest, other: &SignedManifest) -> Option<Self> {
        let signed = |manifest: &SignedManifest| {
            let lead = manifest.manifest().trust.lead;
            let own = manifest.signatures().iter().find(|signature| signature.key == lead)?;
            Some(SignedHead { manifest_id: manifest.id(), signature: own.signature })
        };
        let of = |manifest: &SignedManifest| {
            let manifest = manifest.manifest();
            (manifest.network.new_chain_id.clone(), manifest.trust.lead, manifest.sequence)
        };
        let (new_chain_id, lead, sequence) = of(one);
        if of(other) != (new_chain_id.clone(), lead, sequence) {
            return None;
        }
        let mut heads = [signed(one)?, signed(other)?];
        heads.sort_by_key(|head| *head.manifest_id.as_bytes());
        Self::new(new_chain_id, lead, sequence, heads).ok()
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
