//! Why bytes or text are no key, and what an operator does about it.

use super::{KeyType, private_key_size_bytes, public_key_size_bytes};
use crate::base::{Advice, Error, Next, text::escape};

/// Why bytes or text are no key. Never holds any of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key type that is neither ed25519 nor secp256k1; of a long text only the length, since it may be a key.
    #[error("unknown key type {}: expected ed25519 or secp256k1", escape(.0))]
    UnknownType(String),
    /// A public key whose length is not its curve's.
    #[error("{kind} public key has {got} bytes, expected {}", public_key_size_bytes(*.kind))]
    PublicLength {
        /// The curve that the key is said to be of.
        kind: KeyType,
        /// The key's length in bytes.
        got: usize,
    },
    /// A public key of the right length that is no point of its curve.
    #[error("the {0} public key is not a point of its curve")]
    NotAPoint(KeyType),
    /// A v0.10 voter's name, of this many bytes, that is too short for its four bytes of key type.
    #[error("voter name of {0} bytes is too short for a key type")]
    VoterNameShort(usize),
    /// A v0.10 voter's name with a key type number that is neither 0 (secp256k1) nor 1 (ed25519).
    #[error("voter has an unknown key type number {0}")]
    VoterNameType(u32),
    /// A public key's text that is not `HEX#TYPE`.
    #[error("a public key is written HEX#TYPE, such as 03a1…#ed25519")]
    PublicText,
    /// A text that is no peer id of an ed25519 or secp256k1 key.
    #[error("this is no peer id: one of a swarm begins with 12D3KooW and has 52 characters")]
    PeerId,
    /// A key file that is empty, or only blanks.
    #[error("the key file is empty")]
    FileEmpty,
    /// A file of this many bytes, more than [`limits::KEY_FILE_SIZE_BYTES_MAX`].
    #[error("the key file has {0} bytes: this is something else")]
    FileLarge(usize),
    /// A key file of neither family's form, and what it looks like where that is known.
    #[error("the key file is neither v0.9's hex text nor v0.10's JSON{}", .0.map(|what| format!(" (it looks like {what})")).unwrap_or_default())]
    FileForm(Option<&'static str>),
    /// A key file of hex digits that are not 128.
    #[error("the key file has {length} hex digits, but a v0.9 key has 128, seed and public key{what}")]
    FileHexLength {
        /// The number of hex digits.
        length: usize,
        /// What such digits may be; it ends the error's sentence.
        what: &'static str,
    },
    /// A private key on the command line that is no hex text, and why.
    #[error("the private key is no hex text: {0}")]
    ArgumentHex(&'static str),
    /// Hex text without a type, of a length that no private key has.
    #[error("the private key has {0} hex digits; secp256k1 has 64, ed25519 has 128 (seed and public key)")]
    ArgumentLength(usize),
    /// A key file of JSON that is not v0.10's, and why.
    #[error("the key file is JSON, but not {{\"key\":\"HEX\",\"type\":\"…\"}}: {0}")]
    FileJson(&'static str),
    /// A private key whose length is not its curve's.
    #[error("the {kind} private key has {got} bytes, expected {}", private_key_size_bytes(*.kind))]
    PrivateLength {
        /// The curve that the key is said to be of.
        kind: KeyType,
        /// The key's length in bytes.
        got: usize,
    },
    /// The second half of an ed25519 key does not belong to its first half.
    #[error("the ed25519 key file is damaged: its public half does not belong to its seed")]
    Mismatch,
    /// 32 bytes that are no secp256k1 scalar: zero, or not below the curve's order.
    #[error("these 32 bytes are no secp256k1 private key")]
    NotAScalar,
    /// A key of this curve for v0.9, which knows ed25519 only.
    #[error("the key is {0}, but v0.9 knows ed25519 only")]
    FamilyCannotHold(KeyType),
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let advice: Advice = match &error {
            KeyError::FileForm(_) | KeyError::FileEmpty | KeyError::FileLarge(_) => Next::NodeKeyFile.into(),
            KeyError::FileHexLength { length: 64, .. } => {
                "64 digits are a bare seed or a secp256k1 key: v0.10 wants it as {\"key\":\"HEX\",\"type\":\"secp256k1\"}, \
                 v0.9 as seed and public key together".into()
            }
            KeyError::PrivateLength { kind: KeyType::Ed25519, got: 32 } => {
                "32 bytes are a seed or a public key: v0.10 wants seed and public key together, 128 hex digits".into()
            }
            KeyError::PrivateLength { kind: KeyType::Secp256k1, got: 33 } => {
                "33 bytes are a public key: take the private key, 64 hex digits".into()
            }
            KeyError::PrivateLength { kind: KeyType::Secp256k1, got: 64 } => {
                "64 bytes are an ed25519 key: its type is ed25519".into()
            }
            KeyError::ArgumentHex(_) | KeyError::ArgumentLength(_) => Next::PrivateKeyText.into(),
            KeyError::FileHexLength { .. }
            | KeyError::PrivateLength { .. }
            | KeyError::Mismatch
            | KeyError::NotAScalar => "the file is cut or damaged: copy it again from the node or from a backup".into(),
            KeyError::FileJson(_) => Next::CompareKeyFile.into(),
            KeyError::UnknownType(_) | KeyError::FamilyCannotHold(_) => Next::MakeEd25519Key.into(),
            KeyError::PublicText => Next::CopyPublicKey.into(),
            KeyError::PeerId => Next::PrintPeerId.into(),
            _ => "the file or the database that this key came from is damaged, or of the other family".into(),
        };
        Error::verify(error.to_string()).hint(advice)
    }
}
