//! Who votes in a network, and with how much: one type for a genesis, a manifest and a digest.

use serde::{Deserialize, Serialize};

use super::key::PublicKey;

/// A validator with its voting power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Validator {
    /// Its node key.
    pub key: PublicKey,
    /// Its voting power: at least 1, and at most what Kwil's own signed integer holds. Each family bounds the sum as
    /// well, which the lint of a genesis looks at.
    pub power: u64,
}

/// A number that is no voting power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no voting power, which is at least 1")]
pub struct NoPower(pub i64);

impl Validator {
    /// A validator with the power that Kwil writes as a signed number.
    ///
    /// # Errors
    /// When the power is below 1.
    pub fn new(key: PublicKey, power: i64) -> Result<Self, NoPower> {
        match u64::try_from(power) {
            Ok(positive) if positive > 0 => Ok(Validator { key, power: positive }),
            _ => Err(NoPower(power)),
        }
    }

    /// The power as Kwil's own signed integer.
    pub fn signed_power(&self) -> i64 {
        i64::try_from(self.power).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::key::KeyType;

    #[test]
    fn a_power_below_one_is_an_error_and_never_none() {
        let key = PublicKey::new(KeyType::Ed25519, &[0; 32]).unwrap();
        assert_eq!(Validator::new(key, 0), Err(NoPower(0)));
        assert_eq!(Validator::new(key, -5), Err(NoPower(-5)));
        assert_eq!(Validator::new(key, i64::MAX).unwrap().signed_power(), i64::MAX);
    }

    #[test]
    fn json_reads_what_it_wrote() {
        let key = PublicKey::new(KeyType::Ed25519, &[0; 32]).unwrap();
        let validator = Validator::new(key, 3).unwrap();
        let text = serde_json::to_string(&validator).unwrap();
        assert!(text.contains("#ed25519\"") && text.ends_with("\"power\":3}"), "{text}");
        assert_eq!(serde_json::from_str::<Validator>(&text).unwrap(), validator);
        assert!(serde_json::from_str::<Validator>("{\"key\":\"00#rsa\",\"power\":1}").is_err());
    }
}
