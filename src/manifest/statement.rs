//! What validators say about a manifest: an old one that its own database agrees, a new one that it is ready. Each
//! kind is signed under its own domain, so that one is never taken for the other.

use std::fmt;

use kwil_formats::formats::key::{KeyType, PrivateKey, PublicKey};
use serde::Serialize;

use super::{DecodeError, Signature, wire};
use crate::base::{Blake3Hash, Sha256Hash, limits};

/// A validator of the OLD network: my own database gives this state digest at this height. It agrees with the manifest
/// where the digest is the same and nothing differs; otherwise it is a dissent.
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
    /// The first parts of the state that the validator's own database has otherwise than the manifest.
    pub differs: Vec<DifferingPart>,
}

/// A part of the state that a validator's own database has otherwise than the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DifferingPart {
    /// The table as `schema.table`, or [`DifferingPart::VALIDATORS`], [`DifferingPart::DEFINITIONS`] or
    /// [`DifferingPart::COLLATION`].
    pub name: String,
    /// The number of its rows in the validator's own database.
    pub rows: u64,
}

impl DifferingPart {
    /// The name of the set of validators with their power.
    pub const VALIDATORS: &str = "validators";
    /// The name of the statements that make the schemas.
    pub const DEFINITIONS: &str = "definitions";

    /// The name of the way in which the database orders text.
    pub const COLLATION: &str = "collation";

    /// The part of this name, which is cut to what a statement takes and freed of control characters.
    pub fn new(name: &str, rows: u64) -> Self {
        let mut kept: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        while kept.len() > limits::DIFFERING_PART_NAME_BYTES_MAX {
            kept.pop();
        }
        DifferingPart { name: kept, rows }
    }

    /// Whether the name is one that [`DifferingPart::new`] gives.
    pub(super) fn is_harmless(&self) -> bool {
        !self.name.is_empty() && *self == Self::new(&self.name, self.rows)
    }
}

/// A validator of the NEW network: I hold the verified snapshot and my root is initialised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The id of the manifest that it is about.
    pub manifest_id: Blake3Hash,
    /// SHA-256 of the genesis that its root has, which is the manifest's.
    pub genesis_sha256: Sha256Hash,
    /// How far it is.
    pub stage: Stage,
    /// The version of the kwild that will run there; `None`: it does not say.
    pub kwild_version: Option<String>,
    /// Where others reach its kwild, each `host:port`.
    pub places: Vec<String>,
    /// When it was said, in UNIX seconds.
    pub created_unix_seconds: u64,
    /// Which node of the swarm is this validator's; `None` where that is not told.
    pub swarm: Option<SwarmIdentity>,
    /// The first parts of the state that its database has otherwise than was signed: some where the stage is
    /// [`Stage::Differs`], else none.
    pub differs: Vec<DifferingPart>,
}

/// How far a validator of the new network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The snapshot was verified and the root is initialised.
    RootReady,
    /// kwild has started, and its database holds what was signed.
    Confirmed,
    /// kwild has started, and its database does not hold what was signed.
    Differs,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::RootReady => "root-ready",
            Stage::Confirmed => "confirmed",
            Stage::Differs => "differs",
        })
    }
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

    /// Whether bytes read as an attestation, whoever signed them: cheaper than [`Attestation::verify`].
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.len() <= limits::STATEMENT_SIZE_BYTES_MAX
            && wire::decode_statement(bytes).is_ok_and(|(payload, _)| wire::decode_attestation(&payload).is_ok())
    }
}

impl Readiness {
    const DOMAIN: &[u8] = b"regenesis/readiness/v1\0";

    /// Signs the statement; the bytes are what is passed around.
    pub fn sign(&self, key: &PrivateKey) -> Vec<u8> {
        sign(Self::DOMAIN, &wire::encode_readiness(self), key)
    }

    /// Whether a text is taken for the version of a kwild: short, and nothing in it can drive a terminal.
    pub fn is_version(text: &str) -> bool {
        text.len() <= limits::KWILD_VERSION_CHARS_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }

    /// Whether bytes read as a readiness statement, whoever signed them: cheaper than [`Readiness::verify`].
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.len() <= limits::STATEMENT_SIZE_BYTES_MAX
            && wire::decode_statement(bytes).is_ok_and(|(payload, _)| wire::decode_readiness(&payload).is_ok())
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

/// Whether bytes read as a statement of a validator, whoever signed it and whether or not that holds.
pub fn is_one(bytes: &[u8]) -> bool {
    Attestation::is_one(bytes) || Readiness::is_one(bytes)
}

/// Statements as one file keeps them. Nothing is said about whether they hold.
pub fn to_file(statements: &[Vec<u8>]) -> Vec<u8> {
    wire::encode_statements(statements)
}

/// The statements in such a file, unjudged.
///
/// # Errors
/// When the bytes are no such file.
pub fn from_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    wire::decode_statements(bytes)
}

pub(super) fn sign(domain: &[u8], payload: &[u8], key: &PrivateKey) -> Vec<u8> {
    wire::encode_statement(payload, &Signature::new(key, &[domain, payload].concat()))
}

pub(super) fn verify(domain: &[u8], bytes: &[u8]) -> Result<(Vec<u8>, PublicKey), StatementError> {
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

    fn ready(places: Vec<String>) -> Readiness {
        Readiness {
            manifest_id: ID,
            genesis_sha256: Sha256Hash::from_bytes([8; 32]),
            stage: Stage::RootReady,
            kwild_version: None,
            places,
            created_unix_seconds: 34,
            differs: vec![],
            swarm: None,
        }
    }

    #[test]
    fn statements_round_trip_and_no_byte_can_change() {
        for kind in [KeyType::Ed25519, KeyType::Secp256k1] {
            let key = PrivateKey::from_seed(kind, &[9; 32]).unwrap();
            let differs = vec![DifferingPart::new("shop.orders", 3)];
            let said = Attestation { manifest_id: ID, state_digest: ID, height: 12, created_unix_seconds: 34, differs };
            let bytes = said.sign(&key);
            assert_eq!(Attestation::verify(&bytes), Ok(Signed { statement: said, signer: key.public() }));
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 1;
                assert!(Attestation::verify(&other).is_err(), "byte {i}");
            }
            let places = vec!["10.0.0.5:6600".to_owned(), "[::1]:6600".to_owned()];
            let ready =
                Readiness { stage: Stage::Confirmed, kwild_version: Some("0.10.2".to_owned()), ..ready(places) };
            let ready = Readiness { swarm: Some(node(&key.public())), ..ready };
            let bytes = ready.sign(&key);
            assert_eq!(Readiness::verify(&bytes), Ok(Signed { statement: ready, signer: key.public() }));
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 1;
                assert!(Readiness::verify(&other).is_err(), "byte {i}");
                assert!(Readiness::verify(&bytes[..i]).is_err(), "cut at {i}");
            }
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
        let said = |swarm| Readiness { swarm: Some(swarm), ..ready(vec![]) };
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
            Readiness::verify(&ready(places.iter().map(|place| (*place).to_owned()).collect()).sign(&key))
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
    fn parts_that_differ_are_few_and_harmless() {
        let key = PrivateKey::from_seed(KeyType::Ed25519, &[9; 32]).unwrap();
        let verified = |differs: Vec<DifferingPart>| {
            let said = Attestation { manifest_id: ID, state_digest: ID, height: 1, created_unix_seconds: 1, differs };
            Attestation::verify(&said.sign(&key))
        };
        let part = |name: &str| DifferingPart { name: name.to_owned(), rows: u64::MAX };
        assert!(verified(vec![part("a.b"); limits::DIFFERING_PARTS_MAX]).is_ok());
        assert!(verified(vec![part("a.b"); limits::DIFFERING_PARTS_MAX + 1]).is_err());
        for bad in ["", "a\u{1b}[2J", "a\nb", &"x".repeat(limits::DIFFERING_PART_NAME_BYTES_MAX + 1)] {
            assert!(verified(vec![part(bad)]).is_err(), "{bad:?}");
            assert!(bad.is_empty() || verified(vec![DifferingPart::new(bad, 1)]).is_ok(), "{bad:?}");
        }
        let most = vec![part(&"x".repeat(limits::DIFFERING_PART_NAME_BYTES_MAX)); limits::DIFFERING_PARTS_MAX];
        assert!(verified(most).is_ok(), "the largest one still fits");
    }

    #[test]
    fn one_kind_is_never_taken_for_the_other() {
        let key = PrivateKey::from_seed(KeyType::Ed25519, &[9; 32]).unwrap();
        let ready = ready(Vec::new()).sign(&key);
        assert_eq!(Attestation::verify(&ready), Err(StatementError::Signature(key.public())));
        assert!(!Attestation::is_one(&ready));
        let all = vec![ready, vec![1, 2, 3]];
        assert_eq!(from_file(&to_file(&all)), Ok(all));
        assert!(from_file(&[255; 40]).is_err());
        assert!(Readiness::verify(&vec![0; 5000]).is_err());
    }
}
