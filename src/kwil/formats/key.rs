//! Node keys of both families.
//!
//! | | file | private key | node id |
//! |---|---|---|---|
//! | v0.9 | `private_key`: 128 hex digits | ed25519 seed and public key | 40 hex digits of SHA-256 of the public key |
//! | v0.10 | `nodekey.json`: `{"key":"…","type":"…"}` | ed25519 as above, or the 32 bytes of a secp256k1 scalar | `hex#type` |
//!
//! Secrets are wiped when dropped and never reach an error or a `Debug` text.

mod error;
mod file;
mod peer;
mod text;

use std::{fmt, str::FromStr};

use k256::ecdsa::signature::{Signer, Verifier};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sha3::Keccak256;
use zeroize::{Zeroize, Zeroizing};

pub use error::KeyError;
pub use file::KeyFileForm;

use super::Family;
use crate::base::limits;
use file::KeyJson;

/// The curve of a node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// The only curve of v0.9; v0.10 takes it, too.
    Ed25519,
    /// The default curve of v0.10.
    Secp256k1,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::Ed25519 => "ed25519",
            KeyType::Secp256k1 => "secp256k1",
        })
    }
}

impl FromStr for KeyType {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "ed25519" => Ok(KeyType::Ed25519),
            "secp256k1" => Ok(KeyType::Secp256k1),
            // A longer one may be the key, in the wrong place.
            _ if text.len() > 16 => Err(KeyError::UnknownType(format!("(a text of {} bytes)", text.len()))),
            _ => Err(KeyError::UnknownType(text.to_owned())),
        }
    }
}

impl Serialize for KeyType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const fn public_key_size_bytes(kind: KeyType) -> usize {
    match kind {
        KeyType::Ed25519 => 32,
        KeyType::Secp256k1 => 33,
    }
}

const fn private_key_size_bytes(kind: KeyType) -> usize {
    match kind {
        KeyType::Ed25519 => 64,
        KeyType::Secp256k1 => 32,
    }
}

/// The UUID namespace, fixed by Kwil, of the ids in `kwild_voting.voters.id`.
const VOTER_NAMESPACE: [u8; 16] =
    [0xcc, 0x1c, 0xd9, 0x0f, 0xb4, 0xdb, 0x47, 0xf4, 0xb6, 0xdf, 0x4b, 0xbe, 0x5f, 0xca, 0x88, 0xeb];

/// The `kwild_voting.voters.id` of a voter's name: a UUIDv5 (SHA-1) in Kwil's namespace.
pub fn voter_id(name: &[u8]) -> [u8; 16] {
    let digest = Sha1::new().chain_update(VOTER_NAMESPACE).chain_update(name).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = id[6] & 0x0f | 0x50;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// An Ethereum address as text, by EIP-55: `0x` and forty hex digits, whose mixed case is a checksum.
pub fn eip55(address: &[u8; 20]) -> String {
    let lower = hex::encode(address);
    let digest = Keccak256::digest(lower.as_bytes());
    let mut text = String::from("0x");
    for (i, c) in lower.chars().enumerate() {
        let nibble = digest[i / 2] >> (if i % 2 == 0 { 4 } else { 0 }) & 0x0f;
        text.push(if nibble >= 8 { c.to_ascii_uppercase() } else { c });
    }
    text
}

/// A checked public key: right length, a point of its curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(PublicBytes);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum PublicBytes {
    Ed25519([u8; 32]),
    Secp256k1([u8; 33]),
}

impl PublicKey {
    /// The key of these bytes, 32 of ed25519 or 33 (compressed) of secp256k1; an error where their length is another or
    /// they are no point of the curve.
    pub fn new(kind: KeyType, bytes: &[u8]) -> Result<Self, KeyError> {
        let wrong_length = |_| KeyError::PublicLength { kind, got: bytes.len() };
        let not_a_point = |_| KeyError::NotAPoint(kind);
        Ok(PublicKey(match kind {
            KeyType::Ed25519 => {
                let bytes: [u8; 32] = bytes.try_into().map_err(wrong_length)?;
                ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(not_a_point)?;
                PublicBytes::Ed25519(bytes)
            }
            KeyType::Secp256k1 => {
                let bytes: [u8; 33] = bytes.try_into().map_err(wrong_length)?;
                k256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(not_a_point)?;
                PublicBytes::Secp256k1(bytes)
            }
        }))
    }

    /// The curve of this key.
    pub fn key_type(&self) -> KeyType {
        match self.0 {
            PublicBytes::Ed25519(_) => KeyType::Ed25519,
            PublicBytes::Secp256k1(_) => KeyType::Secp256k1,
        }
    }

    /// The key's bytes: 32 of ed25519, or 33 (compressed) of secp256k1.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            PublicBytes::Ed25519(bytes) => bytes,
            PublicBytes::Secp256k1(bytes) => bytes,
        }
    }

    /// The key's bytes in lower-case hex.
    pub fn to_hex(&self) -> String {
        hex::encode(self.bytes())
    }

    /// The node id by which peers name the node of this key: v0.9 the hex of its CometBFT address, v0.10 `HEX#TYPE`.
    pub fn node_id(&self, family: Family) -> String {
        match family {
            Family::V09 => hex::encode(self.comet_address()),
            Family::V010 => self.to_string(),
        }
    }

    /// CometBFT's address of a validator: the first twenty bytes of its public key's SHA-256.
    pub fn comet_address(&self) -> [u8; 20] {
        let digest = Sha256::digest(self.bytes());
        let mut address = [0; 20];
        address.copy_from_slice(&digest[..20]);
        address
    }

    /// The key of a `kwild_voting.voters.name`: v0.9's is bare ed25519, v0.10's stands behind four bytes of key type.
    pub fn from_voter_name(family: Family, name: &[u8]) -> Result<Self, KeyError> {
        match family {
            Family::V09 => Self::new(KeyType::Ed25519, name),
            Family::V010 => {
                let (number, bytes) = name.split_first_chunk().ok_or(KeyError::VoterNameShort(name.len()))?;
                match u32::from_le_bytes(*number) {
                    0 => Self::new(KeyType::Secp256k1, bytes),
                    1 => Self::new(KeyType::Ed25519, bytes),
                    other => Err(KeyError::VoterNameType(other)),
                }
            }
        }
    }

    /// The key as `kwild_voting.voters.name` holds it: v0.10 puts four bytes (little-endian) of key type before it.
    pub fn to_voter_name(&self, family: Family) -> Vec<u8> {
        let mut name = match (family, self.key_type()) {
            (Family::V09, _) => Vec::new(),
            (Family::V010, KeyType::Secp256k1) => 0u32.to_le_bytes().to_vec(),
            (Family::V010, KeyType::Ed25519) => 1u32.to_le_bytes().to_vec(),
        };
        name.extend_from_slice(self.bytes());
        name
    }

    /// Whether `signature` over `message` is this key's. ed25519: checked strictly. secp256k1: 64 bytes of compact
    /// ECDSA over SHA-256, with s in its low half only, so that a signature has one form.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            PublicBytes::Ed25519(bytes) => {
                let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(bytes) else { return false };
                let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
                key.verify_strict(message, &signature).is_ok()
            }
            PublicBytes::Secp256k1(bytes) => {
                let Ok(key) = k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes) else { return false };
                let Ok(signature) = k256::ecdsa::Signature::from_slice(signature) else { return false };
                signature.normalize_s().is_none() && key.verify(message, &signature).is_ok()
            }
        }
    }

    /// The `kwild_voting.voters.id` of a validator with this key, written as a UUID.
    pub fn voter_id(&self, family: Family) -> String {
        let id = hex::encode(voter_id(&self.to_voter_name(family)));
        [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
    }

    /// The Ethereum address of a secp256k1 key as EIP-55 text; `None` for ed25519.
    pub fn user_address(&self) -> Option<String> {
        let PublicBytes::Secp256k1(bytes) = &self.0 else { return None };
        let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?;
        let point = key.to_encoded_point(false);
        let digest = Keccak256::digest(&point.as_bytes()[1..]);
        let mut address = [0; 20];
        address.copy_from_slice(&digest[12..]);
        Some(eip55(&address))
    }

    /// How Kwil's engine names this key's user: the EIP-55 address for secp256k1, hex for ed25519.
    pub fn user_identifier(&self) -> String {
        self.user_address().unwrap_or_else(|| self.to_hex())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.to_hex(), self.key_type())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (digits, kind) = text.split_once('#').ok_or(KeyError::PublicText)?;
        let bytes = hex::decode(digits).map_err(|_| KeyError::PublicText)?;
        Self::new(kind.parse()?, &bytes)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A private key. Wiped when dropped.
#[derive(Clone)]
pub struct PrivateKey(Secret);

#[derive(Clone)]
enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    Secp256k1(k256::ecdsa::SigningKey),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {}, redacted)", self.public())
    }
}

impl PrivateKey {
    /// A new key from the caller's random generator.
    pub fn generate(kind: KeyType, random: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        loop {
            random.fill_bytes(seed.as_mut_slice());
            // Fails for a secp256k1 scalar beyond the order, once in 2^127.
            if let Ok(key) = Self::from_seed(kind, &seed) {
                return key;
            }
        }
    }

    /// The key of an ed25519 seed or of a secp256k1 scalar.
    pub fn from_seed(kind: KeyType, seed: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(PrivateKey(match kind {
            KeyType::Ed25519 => Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(seed)),
            KeyType::Secp256k1 => {
                Secret::Secp256k1(k256::ecdsa::SigningKey::from_slice(seed).map_err(|_| KeyError::NotAScalar)?)
            }
        }))
    }

    /// The key of Kwil's private bytes: 64 of ed25519 (seed and public key), 32 of secp256k1; an error where the length
    /// is another, the halves do not belong together, or the scalar is none.
    pub fn from_bytes(kind: KeyType, bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != private_key_size_bytes(kind) {
            return Err(KeyError::PrivateLength { kind, got: bytes.len() });
        }
        let (seed, public) = bytes.split_first_chunk().ok_or(KeyError::PrivateLength { kind, got: bytes.len() })?;
        let key = Self::from_seed(kind, seed)?;
        if kind == KeyType::Ed25519 && key.public().bytes() != public {
            return Err(KeyError::Mismatch);
        }
        Ok(key)
    }

    /// Reads either family's key file, blanks around it passed over, and says whose form it has.
    pub fn parse_file(file: &[u8]) -> Result<(Self, KeyFileForm), KeyError> {
        if file.len() > limits::KEY_FILE_SIZE_BYTES_MAX {
            return Err(KeyError::FileLarge(file.len()));
        }
        let trimmed = file.trim_ascii();
        if trimmed.is_empty() {
            return Err(KeyError::FileEmpty);
        }
        if trimmed[0] == b'{' {
            return Ok((Self::parse_json(trimmed)?, KeyFileForm::Json));
        }
        if trimmed.iter().all(u8::is_ascii_hexdigit) {
            if trimmed.len() != 2 * private_key_size_bytes(KeyType::Ed25519) {
                return Err(KeyError::FileHexLength { length: trimmed.len(), what: text::hex_look_alike(trimmed) });
            }
            let mut bytes = Zeroizing::new([0; 64]);
            hex::decode_to_slice(trimmed, bytes.as_mut_slice()).map_err(|_| KeyError::FileForm(None))?;
            return Ok((Self::from_bytes(KeyType::Ed25519, bytes.as_slice())?, KeyFileForm::HexText));
        }
        Err(KeyError::FileForm(text::look_alike(trimmed)))
    }

    fn parse_json(bytes: &[u8]) -> Result<Self, KeyError> {
        // serde's own words may quote the text, so only their kind is told.
        let file: KeyJson<'_> = serde_json::from_slice(bytes).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => KeyError::FileJson(text::json_look_alike(bytes)),
            _ => KeyError::FileJson("the text is cut or no valid JSON"),
        })?;
        let kind: KeyType = file.kind.parse()?;
        let mut bytes = Zeroizing::new(vec![0; file.key.len() / 2]);
        hex::decode_to_slice(file.key.as_bytes(), bytes.as_mut_slice()).map_err(|_| {
            match file.key.starts_with("0x") {
                true => KeyError::FileJson("\"key\" has 0x in front; Kwil writes it without"),
                false => KeyError::FileJson("\"key\" is not hex"),
            }
        })?;
        Self::from_bytes(kind, &bytes)
    }

    /// The family's key file, byte for byte as Kwil writes it; an error for a secp256k1 key in v0.9.
    pub fn to_file(&self, family: Family) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let digits = self.to_hex();
        match (family, self.key_type()) {
            (Family::V09, KeyType::Ed25519) => Ok(Zeroizing::new(digits.as_bytes().to_vec())),
            (Family::V09, kind) => Err(KeyError::FamilyCannotHold(kind)),
            (Family::V010, kind) => {
                let mut file = Zeroizing::new(Vec::with_capacity(digits.len() + 40));
                file.extend_from_slice(b"{\"key\":\"");
                file.extend_from_slice(digits.as_bytes());
                file.extend_from_slice(b"\",\"type\":\"");
                file.extend_from_slice(kind.to_string().as_bytes());
                file.extend_from_slice(b"\"}");
                Ok(file)
            }
        }
    }

    /// Kwil's private bytes: ed25519 64 (seed, public key), secp256k1 32 (scalar). For key files and `key info` only.
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match &self.0 {
            Secret::Ed25519(key) => Zeroizing::new(key.to_keypair_bytes()).to_vec(),
            Secret::Secp256k1(key) => {
                let mut scalar = key.to_bytes();
                let bytes = scalar.to_vec();
                scalar.as_mut_slice().zeroize();
                bytes
            }
        })
    }

    /// [`PrivateKey::expose_bytes`] as lower-case hex.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.expose_bytes().as_slice()))
    }

    /// The curve of this key.
    pub fn key_type(&self) -> KeyType {
        match self.0 {
            Secret::Ed25519(_) => KeyType::Ed25519,
            Secret::Secp256k1(_) => KeyType::Secp256k1,
        }
    }

    /// The public key that belongs to this key.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Secret::Ed25519(key) => PublicBytes::Ed25519(key.verifying_key().to_bytes()),
            Secret::Secp256k1(key) => {
                let point = key.verifying_key().to_encoded_point(true);
                let mut bytes = [0; 33];
                bytes.copy_from_slice(point.as_bytes());
                PublicBytes::Secp256k1(bytes)
            }
        })
    }

    /// The signature over `message`: 64 bytes that [`PublicKey::verify`] accepts, always the same for the same message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Secret::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Secret::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().unwrap_or(signature).to_bytes().to_vec()
            }
        }
    }
}

#[cfg(test)]
mod tests;
