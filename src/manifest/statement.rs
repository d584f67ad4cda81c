//! What validators say about a manifest: an old one that its own database agrees, a new one that it is ready. Each
//! kind is signed under its own domain, so that one is never taken for the other.

use kwil_formats::formats::key::{KeyType, PrivateKey, PublicKey};

use super::{DecodeError, Signature, wire};
use crate::base::{Blake3Hash, limits};

/// A validator of the OLD network: my own database gives this state digest at this height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The id of the manifest that it is about.
    pub manifest_id: Blake3Hash,
    /// The state digest of the validator's own database.
    pub state_digest: Blake3Hash,
    /// The number of the last block in that database.
    pub height: i64,
    /// When it was said, in UNIX seconds.
    pub created_unix_seconds: u64,
}

/// A validator of the NEW network: I hold the verified snapshot and my root is initialised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The id of the manifest that it is about.
    pub manifest_id: Blake3Hash,
    /// When it was said, in UNIX seconds.
    pub created_unix_seconds: u64,
    /// Where others reach its kwild, each `host:port`.
    pub places: Vec<String>,
    /// Which node of the swarm is this validator's; `None` where that is not told.
    pub swarm: Option<SwarmIdentity>,
}

/// The key of a node in the swarm, and its signature over whose node it is: so nobody says it of another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmIdentity {
    /// The ed25519 key, of which the node's peer id is made.
    pub key: [u8; 32],
    /// By that key, over [`SwarmIdentity::message`].
    pub signature: Vec<u8>,
}

impl SwarmIdentity {
    const DOMAIN: &[u8] = b"regenesis/swarm-identity/v1\0";

    /// What a node signs that is this validator's, for the swarm of this manifest.
    pub fn message(manifest_id: Blake3Hash, validator: &PublicKey) -> Vec<u8> {
        [Self::DOMAIN, manifest_id.as_bytes(), validator.to_string().as_bytes()].concat()
    }

    fn holds(&self, manifest_id: Blake3Hash, validator: &PublicKey) -> bool {
        PublicKey::new(KeyType::Ed25519, &self.key)
            .is_ok_and(|key| key.verify(&Self::message(manifest_id, validator), &self.signature))
    }
}

/// Why bytes are no statement of a validator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The bytes cannot be read as such a statement.
    #[error("no statement of this kind: {0}")]
    Decode(#[from] DecodeError),
    /// The bytes can be read, but the signature is not by this key over them.
    #[error("the signature by {0} does not hold")]
    Signature(PublicKey),
    /// The validator names a node of the swarm that does not say the same.
    #[error("the node that {0} names as its own did not sign that")]
    SwarmIdentity(PublicKey),
}

/// A statement whose signature holds, and who made it. Whether that key may make it is the electorate's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What was said.
    pub statement: T,
    /// The key of who said it.
    pub signer: PublicKey,
}

impl Attestation {
    const DOMAIN: &[u8] = b"regenesis/attestation/v1\0";

    /// Signs the statement; the bytes are what is passed around.
    pub fn sign(&self, key: &PrivateKey) -> Vec<u8> {
        sign(Self::DOMAIN, &wire::encode_attestation(self), key)
    }

    /// Reads a signed attestation.
    ///
    /// # Errors
    /// When it is not one, or its signature does not hold.
    pub fn verify(bytes: &[u8]) -> Result<Signed<Self>, StatementError> {
        let (payload, signer) = verify(Self::DOMAIN, bytes)?;
        Ok(Signed { statement: wire::decode_attestation(&payload)?, signer })
    }
}

impl Readiness {
    const DOMAIN: &[u8] = b"regenesis/readiness/v1\0";

    /// Signs the statement; the bytes are what is passed around.
    pub fn sign(&self, key: &PrivateKey) -> Vec<u8> {
        sign(Self::DOMAIN, &wire::encode_readiness(self), key)
    }

    /// Reads a signed readiness statement.
    ///
    /// # Errors
    /// When it is not one, or its signature does not hold.
    pub fn verify(bytes: &[u8]) -> Result<Signed<Self>, StatementError> {
        let (payload, signer) = verify(Self::DOMAIN, bytes)?;
        let statement = wire::decode_readiness(&payload)?;
        match &statement.swarm {
            Some(swarm) if !swarm.holds(statement.manifest_id, &signer) => Err(StatementError::SwarmIdentity(signer)),
            _ => Ok(Signed { statement, signer }),
        }
    }
}

fn sign(domain: &[u8], payload: &[u8], key: &PrivateKey) -> Vec<u8> {
    wire::encode_statement(payload, &Signature::new(key, &[domain, payload].concat()))
}

fn verify(domain: &[u8], bytes: &[u8]) -> Result<(Vec<u8>, PublicKey), StatementError> {
    if bytes.len() > limits::STATEMENT_SIZE_BYTES_MAX {
        return Err(DecodeError::TooLarge { size: bytes.len(), max: limits::STATEMENT_SIZE_BYTES_MAX }.into());
    }
    let (payload, Signature { key, signature }) = wire::decode_statement(bytes)?;
    if !key.verify(&[domain, &payload[..]].concat(), &signature) {
        return Err(StatementError::Signature(key));
    }
    Ok((payload, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);

    #[test]
    fn statements_round_trip_and_no_byte_can_change() {
        for kind in [KeyType::Ed25519, KeyType::Secp256k1] {
            let key = PrivateKey::from_seed(kind, &[9; 32]).unwrap();
            let said = Attestation { manifest_id: ID, state_digest: ID, height: 12, created_unix_seconds: 34 };
            let bytes = said.sign(&key);
            assert_eq!(Attestation::verify(&bytes), Ok(Signed { statement: said, signer: key.public() }));
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 1;
                assert!(Attestation::verify(&other).is_err(), "byte {i}");
            }
            let places = vec!["10.0.0.5:6600".to_owned(), "[::1]:6600".to_owned()];
            let swarm = Some(node(&key.public()));
            let ready = Readiness { manifest_id: ID, created_unix_seconds: 34, places, swarm };
            assert_eq!(Readiness::verify(&ready.sign(&key)), Ok(Signed { statement: ready, signer: key.public() }));
        }
    }

    /// What a node of the swarm says of the validator.
    fn node(validator: &PublicKey) -> SwarmIdentity {
        let own = PrivateKey::from_seed(KeyType::Ed25519, &[5; 32]).unwrap();
        let signature = own.sign(&SwarmIdentity::message(ID, validator));
        SwarmIdentity { key: own.public().bytes().try_into().unwrap(), signature }
    }

    #[test]
    fn a_node_of_the_swarm_is_whose_it_says_itself() {
        let [mine, other] = [9, 8].map(|seed| PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap());
        let said = |swarm| Readiness { manifest_id: ID, created_unix_seconds: 1, places: vec![], swarm: Some(swarm) };
        assert!(Readiness::verify(&said(node(&mine.public())).sign(&mine)).is_ok());
        // A node that said it of another validator, or of another manifest.
        let stolen = Readiness::verify(&said(node(&other.public())).sign(&mine));
        assert_eq!(stolen, Err(StatementError::SwarmIdentity(mine.public())));
        let elsewhere = Readiness { manifest_id: Blake3Hash::from_bytes([6; 32]), ..said(node(&mine.public())) };
        assert!(Readiness::verify(&elsewhere.sign(&mine)).is_err());
        for swarm in [
            SwarmIdentity { key: [0; 32], ..node(&mine.public()) },
            SwarmIdentity { signature: vec![], ..node(&mine.public()) },
            SwarmIdentity { signature: vec![7; 65], ..node(&mine.public()) },
        ] {
            assert!(Readiness::verify(&said(swarm).sign(&mine)).is_err());
        }
    }

    #[test]
    fn places_are_few_and_written_in_one_way() {
        let key = PrivateKey::from_seed(KeyType::Ed25519, &[9; 32]).unwrap();
        let verified = |places: &[&str]| {
            let places = places.iter().map(|place| (*place).to_owned()).collect();
            let ready = Readiness { manifest_id: ID, created_unix_seconds: 1, places, swarm: None };
            Readiness::verify(&ready.sign(&key))
        };
        assert!(verified(&["a:1", "b:1", "c:1", "d:1"]).is_ok());
        for bad in [
            &["a:1", "b:1", "c:1", "d:1", "e:1"][..],
            &["a"],
            &["a:0"],
            &["a'b:1"],
            &["0.0.0.0:1"],
            &["a:01"],
            &["a\n:1"],
        ] {
            assert!(verified(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_kind_is_never_taken_for_the_other() {
        let key = PrivateKey::from_seed(KeyType::Ed25519, &[9; 32]).unwrap();
        let ready = Readiness { manifest_id: ID, created_unix_seconds: 0, places: Vec::new(), swarm: None }.sign(&key);
        assert_eq!(Attestation::verify(&ready), Err(StatementError::Signature(key.public())));
        assert!(Readiness::verify(&vec![0; 5000]).is_err());
    }
}
