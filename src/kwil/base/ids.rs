//! Hash newtypes, so that a BLAKE3 root is never compared with a SHA-256.

use std::{fmt, str::FromStr};

/// The error of a text that is not 64 hex digits; it holds the first 80 characters of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits, got {0:?}")]
pub struct HashTextError(String);

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash whose bytes these are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The hash's 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten hex digits, for logs.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }

        impl FromStr for $name {
            type Err = HashTextError;
            fn from_str(text: &str) -> Result<Self, HashTextError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| HashTextError(text.chars().take(80).collect()))?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hash_type! {
    /// A BLAKE3 hash: artifact root, chunk id (subtree chaining value) or manifest id.
    Blake3Hash
}
hash_type! {
    /// A SHA-256 hash: the state hash, or that of a whole file.
    Sha256Hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_text_round_trips_and_other_text_is_refused() {
        let hash = Blake3Hash::from_bytes([0xab; 32]);
        assert_eq!(hash.to_string().parse::<Blake3Hash>(), Ok(hash));
        assert_eq!(serde_json::from_str::<Blake3Hash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
        assert!(serde_json::from_str::<Blake3Hash>("\"ab\"").is_err());
        for bad in ["", "ab", &"g".repeat(64), &"ab".repeat(33)] {
            assert!(bad.parse::<Sha256Hash>().is_err(), "{bad}");
        }
    }
}
