//! Public keys by other names: a peer's id, and bare hex whose curve is told by its length.

use super::{KeyError, KeyType, PublicKey};

/// Multihash "identity" of a key, its length, and the message PublicKey of libp2p: field 1 the type, field 2 the bytes.
fn head(kind: KeyType, length: u8) -> [u8; 6] {
    let kind = match kind {
        KeyType::Ed25519 => 1,
        KeyType::Secp256k1 => 2,
    };
    [0x00, length + 4, 0x08, kind, 0x12, length]
}

/// Characters of the longest peer id that is read.
const PEER_ID_CHARS_MAX: usize = 64;

/// Characters of a key that tell it from others.
const SHORT_CHARS: usize = 8;

impl PublicKey {
    /// The key as people tell it from others: the first digits of its hex.
    pub fn short(&self) -> String {
        self.to_hex().chars().take(SHORT_CHARS).collect()
    }

    /// How libp2p names a peer with this key, as Kwil's v0.10 does in its log: the multihash of the encoded key, which is so
    /// short that it stands there itself, in base 58.
    pub fn peer_id(&self) -> String {
        let key = self.bytes();
        let length = u8::try_from(key.len()).expect("33 at most");
        bs58::encode([&head(self.key_type(), length)[..], key].concat()).into_string()
    }

    /// The key of which a peer id is made.
    ///
    /// # Errors
    /// When the text is no peer id of such a key.
    pub fn from_peer_id(text: &str) -> Result<Self, KeyError> {
        let bytes = match text.len() {
            ..=PEER_ID_CHARS_MAX => bs58::decode(text).into_vec().map_err(|_| KeyError::PeerId)?,
            _ => return Err(KeyError::PeerId),
        };
        let (begin, key) = bytes.split_first_chunk::<6>().ok_or(KeyError::PeerId)?;
        let kind = match (*begin, key.len()) {
            (begin, 32) if begin == head(KeyType::Ed25519, 32) => KeyType::Ed25519,
            (begin, 33) if begin == head(KeyType::Secp256k1, 33) => KeyType::Secp256k1,
            _ => return Err(KeyError::PeerId),
        };
        Self::new(kind, key)
    }

    /// A key as people name a validator: `HEX#TYPE`, or the hex alone, 64 digits of ed25519 or 66 of secp256k1.
    ///
    /// # Errors
    /// When it is no public key.
    pub fn from_name(text: &str) -> Result<Self, KeyError> {
        let kind = match text.len() {
            _ if text.contains('#') => return text.parse(),
            64 => KeyType::Ed25519,
            66 => KeyType::Secp256k1,
            _ => return Err(KeyError::PublicText),
        };
        Self::new(kind, &hex::decode(text).map_err(|_| KeyError::PublicText)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::key::PrivateKey;

    #[test]
    fn a_key_is_read_back_from_its_peer_id_and_from_its_hex() {
        for kind in [KeyType::Ed25519, KeyType::Secp256k1] {
            let key = PrivateKey::from_seed(kind, &[3; 32]).unwrap().public();
            assert_eq!(PublicKey::from_peer_id(&key.peer_id()), Ok(key));
            assert_eq!(PublicKey::from_name(&key.to_hex()), Ok(key));
            assert_eq!(PublicKey::from_name(&key.to_string()), Ok(key));
        }
        let id = PrivateKey::from_seed(KeyType::Ed25519, &[3; 32]).unwrap().public().peer_id();
        let long = "1".repeat(1 << 20);
        for bad in [
            "",
            "12D3KooW",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            &id[1..],
            &format!("{id}1"),
            &long,
            "0OIl",
        ] {
            assert_eq!(PublicKey::from_peer_id(bad), Err(KeyError::PeerId), "{}", &bad[..bad.len().min(60)]);
        }
        for bad in ["", &"g".repeat(64), &"0".repeat(65), "ed25519"] {
            assert!(PublicKey::from_name(bad).is_err(), "{bad}");
        }
    }
}
