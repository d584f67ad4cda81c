//! PURE: the bytes of both Kwil families: keys, genesis files, configuration, dump text.
//! Bytes in, values or bytes out. This room opens no file, reads no clock, and makes no randomness of its own.

pub mod config;
pub mod duration;
pub mod genesis;
pub mod json;
pub mod key;

use std::{fmt, str::FromStr};

/// Which of Kwil's formats apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// kwil-admin, CometBFT, `app_hash`.
    V09,
    /// kwild subcommands, `state_hash`; TRUF too.
    V010,
}

/// The genesis file's name, in a snapshot and in a root.
pub const GENESIS_FILE_NAME: &str = "genesis.json";
/// The snapshot's name inside a root.
pub const GENESIS_STATE_FILE_NAME: &str = "genesis-state.sql.gz";

impl Family {
    /// The name Kwil's `snapshot create` gives its file.
    pub fn snapshot_file_name(self) -> &'static str {
        match self {
            Family::V09 => "kwildb-snapshot.sql.gz",
            Family::V010 => "snapshot.sql.gz",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V09 => "v0.9",
            Family::V010 => "v0.10",
        })
    }
}

/// Text that names no family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown family {0:?}: expected v0.9 or v0.10")]
pub struct FamilyTextError(String);

impl FromStr for Family {
    type Err = FamilyTextError;
    fn from_str(text: &str) -> Result<Self, FamilyTextError> {
        match text {
            "v0.9" => Ok(Family::V09),
            "v0.10" => Ok(Family::V010),
            _ => Err(FamilyTextError(text.chars().take(80).collect())),
        }
    }
}

impl serde::Serialize for Family {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A row of `kwild_voting.voters` as the dump holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterRow {
    /// UUIDv5 of the name, 16 bytes.
    pub id: Vec<u8>,
    /// The public key: bare in v0.9, behind four type bytes in v0.10.
    pub name: Vec<u8>,
    /// Voting power.
    pub power: i64,
}
