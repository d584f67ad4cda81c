//! What Kwil's tools and nodes read and write, of both families: genesis, config.toml, keys, durations, and JSON as Go
//! reads it.

pub mod config;
pub mod duration;
pub mod genesis;
pub mod json;
pub mod key;
pub mod validator;

pub use validator::Validator;

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Which of Kwil's two sets of formats a network uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Kwil v0.9: kwil-admin and CometBFT; the genesis has `app_hash` in base64.
    V09,
    /// Kwil v0.10, also TRUF's fork: kwild with sub-commands; the genesis has `state_hash` in hex.
    V010,
}

/// The genesis file's name in a snapshot directory and in a node's root.
pub const GENESIS_FILE_NAME: &str = "genesis.json";
/// The snapshot's name in a node's root; kwild reads gzip only from a name that ends in `.gz`.
pub const GENESIS_STATE_FILE_NAME: &str = "genesis-state.sql.gz";

impl Family {
    /// The snapshot's name in a snapshot directory, as Kwil's own tool of this family calls it.
    pub fn snapshot_file_name(self) -> &'static str {
        match self {
            Family::V09 => "kwildb-snapshot.sql.gz",
            Family::V010 => "snapshot.sql.gz",
        }
    }

    /// The family as `--family` and JSON results spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::V09 => "v0.9",
            Family::V010 => "v0.10",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a text that is no family's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such family; give v0.9 or v0.10")]
pub struct UnknownFamily;

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(text: &str) -> Result<Self, UnknownFamily> {
        match text {
            "v0.9" => Ok(Family::V09),
            "v0.10" => Ok(Family::V010),
            _ => Err(UnknownFamily),
        }
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A row of `kwild_voting.voters` as the dump holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterRow {
    /// The voter's id, a UUID over its name.
    pub id: Vec<u8>,
    /// The public key; in v0.10 with four bytes (little-endian) of key type before it.
    pub name: Vec<u8>,
    /// The voting power.
    pub power: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_read_as_they_are_written() {
        for family in [Family::V09, Family::V010] {
            assert_eq!(family.to_string().parse(), Ok(family));
            assert_eq!(serde_json::to_string(&family).unwrap(), format!("\"{family}\""));
        }
        assert!("v0.11".parse::<Family>().is_err());
    }
}
