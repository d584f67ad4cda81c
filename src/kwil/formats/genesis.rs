//! genesis.json of both families: read as strictly as kwild reads it, written in exactly Kwil's layout,
//! checked for what kwild would refuse at start, and made for a snapshot.

mod difference;
pub mod edit;
pub mod fresh;
pub mod lint;
mod repin;
pub mod testnet;
pub mod v010;
pub mod v09;

use std::cmp::Ordering;

pub use difference::{Change, Difference};
pub use fresh::Fresh;

use super::{
    Family, VoterRow,
    json::{self, Json},
    key::{KeyError, KeyType, PublicKey},
    validator::{NoPower, Validator},
};
use crate::base::{Error, Next, Sha256Hash, limits, text::escape};

/// A validator as it is put into a genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedValidator {
    /// Its key and its voting power.
    pub validator: Validator,
    /// Its name in a v0.9 genesis; `None` in v0.10, and where Kwil's default `validator-N` (N is its index) will do.
    pub name: Option<String>,
}

/// Why a genesis cannot be read, made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A file of this many bytes, more than [`limits::GENESIS_SIZE_BYTES_MAX`].
    #[error("the genesis file has {0} bytes, more than {max}", max = limits::GENESIS_SIZE_BYTES_MAX)]
    Large(usize),
    /// The text is no JSON.
    #[error("the genesis is no JSON: {0}")]
    Json(#[from] json::JsonError),
    /// The text is JSON, but a genesis of neither family.
    #[error("this JSON is no Kwil genesis: it has neither v0.9's keys (consensus_params) nor v0.10's (leader)")]
    NotGenesis,
    /// More text behind the JSON value, which v0.9 refuses.
    #[error("there is more text after the genesis object")]
    Trailing,
    /// A JSON key whose value has the wrong type or form.
    #[error("{path}: {what}")]
    Field {
        /// The JSON path of the value, such as `validators[0].power`.
        path: String,
        /// What is wrong with the value.
        what: String,
    },
    /// A JSON key, given by its path, that v0.10 does not know.
    #[error("{}: v0.10 knows no such key, and kwild refuses the file", escape(.0))]
    UnknownField(String),
    /// kwild reads the file but refuses to start on it.
    #[error("the genesis cannot be used: {path}: {what}")]
    Check {
        /// The JSON path of the key that is at fault.
        path: String,
        /// What kwild does not take.
        what: String,
    },
    /// A network parameter of the database cannot be read.
    #[error("network parameter {name}: {what}")]
    Parameter {
        /// The parameter's name, or the table that should hold all of them.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A voter whose name is no key.
    #[error("voter {index} of kwild_voting.voters: {error}")]
    Voter {
        /// The row's place in COPY order, counted from 0.
        index: usize,
        /// Why its key is refused.
        error: KeyError,
    },
    /// The database's parameters are of one family, its voters and heights of the other.
    #[error("the state is of {state}, its parameters are of {parameters}")]
    FamilyMismatch {
        /// The family of the voters and heights.
        state: Family,
        /// The family of the parameters.
        parameters: Family,
    },
    /// The database names no owner, and a v0.10 genesis must.
    #[error("the database names no owner")]
    NoOwner,
    /// The new network's chain id cannot be used.
    #[error("chain id {:?}: {what}", escape(.id))]
    ChainId {
        /// The id that was given.
        id: String,
        /// Why the family does not take it.
        what: &'static str,
    },
    /// The validator at this index has no voting power.
    #[error("validators[{index}].power: {error}")]
    Power {
        /// The validator's place in the genesis, from 0.
        index: usize,
        /// What is wrong with its power.
        error: NoPower,
    },
    /// The old chain's height is negative or too large to go on from.
    #[error("height {0} cannot be kept")]
    Height(i64),
}

impl From<GenesisError> for Error {
    fn from(error: GenesisError) -> Self {
        let text = error.to_string();
        match error {
            GenesisError::Check { .. } => {
                Error::refused(text).hint("correct the genesis and give every node the same file, or ask the lead for a corrected one")
            }
            GenesisError::ChainId { .. } => Error::usage(text).hint(Next::ChooseChainId),
            GenesisError::Height(_) => Error::usage(text).hint(Next::LeaveHeightOut),
            GenesisError::NoOwner => Error::refused(text).hint(
                "without an owner nobody could administer the new network; name one in info.user_roles, or set db_owner in the genesis",
            ),
            GenesisError::Parameter { .. } | GenesisError::Voter { .. } | GenesisError::FamilyMismatch { .. } => {
                Error::verify(text).hint("is this the node's database, written by a kwild of this family?")
            }
            GenesisError::UnknownField(_) => {
                Error::verify(text).hint("remove the key, or use the genesis with the family (or fork) it was written for")
            }
            _ => Error::verify(text).hint("take the genesis file again from where it came from, byte for byte"),
        }
    }
}

/// A genesis of either family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Genesis {
    /// A genesis of v0.9: of kwil-admin and CometBFT.
    V09(v09::Genesis),
    /// A genesis of v0.10: of kwild with sub-commands, also of TRUF's fork.
    V010(v010::Genesis),
}

impl Genesis {
    /// Reads a genesis of either family, which is told by the keys it has.
    ///
    /// # Errors
    /// Where the family's kwild would refuse the file on reading.
    pub fn parse(bytes: &[u8]) -> Result<Self, GenesisError> {
        if bytes.len() > limits::GENESIS_SIZE_BYTES_MAX {
            return Err(GenesisError::Large(bytes.len()));
        }
        let (value, rest) = Json::read_first(bytes)?;
        match family_of(&value)? {
            Family::V09 => {
                // Go's whole-document reader; v0.10 reads a stream and never sees what follows.
                if !rest.trim_ascii().is_empty() {
                    return Err(GenesisError::Trailing);
                }
                Ok(Genesis::V09(v09::Genesis::from_json(&value)?))
            }
            Family::V010 => Ok(Genesis::V010(v010::Genesis::from_json(&value)?)),
        }
    }

    /// The genesis as a file, byte for byte in the layout that Kwil writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Genesis::V09(genesis) => genesis.to_json().to_pretty(),
            Genesis::V010(genesis) => genesis.to_json().to_pretty(),
        }
    }

    /// The family of the genesis.
    pub fn family(&self) -> Family {
        match self {
            Genesis::V09(_) => Family::V09,
            Genesis::V010(_) => Family::V010,
        }
    }

    /// The network's chain id.
    pub fn chain_id(&self) -> &str {
        match self {
            Genesis::V09(genesis) => &genesis.chain_id,
            Genesis::V010(genesis) => &genesis.chain_id,
        }
    }

    /// Gives the network another chain id, unchecked.
    pub fn set_chain_id(&mut self, id: impl Into<String>) {
        match self {
            Genesis::V09(genesis) => genesis.chain_id = id.into(),
            Genesis::V010(genesis) => genesis.chain_id = id.into(),
        }
    }

    /// The initial height as the file has it: the first block's number in v0.9, the number before it in v0.10.
    pub fn initial_height(&self) -> i64 {
        match self {
            Genesis::V09(genesis) => genesis.initial_height,
            Genesis::V010(genesis) => genesis.initial_height,
        }
    }

    /// Sets the initial height, unchecked.
    pub fn set_initial_height(&mut self, height: i64) {
        match self {
            Genesis::V09(genesis) => genesis.initial_height = height,
            Genesis::V010(genesis) => genesis.initial_height = height,
        }
    }

    /// The pinned SHA-256 of the snapshot's uncompressed text; `None` where there is none or it has not 32 bytes.
    pub fn state_hash(&self) -> Option<Sha256Hash> {
        let bytes = match self {
            Genesis::V09(genesis) => genesis.app_hash.as_deref().unwrap_or_default(),
            Genesis::V010(genesis) => &genesis.state_hash,
        };
        bytes.try_into().ok().map(Sha256Hash::from_bytes)
    }

    /// Pins a snapshot by the SHA-256 of its uncompressed text.
    pub fn set_state_hash(&mut self, hash: Sha256Hash) {
        let bytes = hash.as_bytes().to_vec();
        match self {
            Genesis::V09(genesis) => genesis.app_hash = Some(bytes),
            Genesis::V010(genesis) => genesis.state_hash = bytes,
        }
    }

    /// The validators, in the file's order.
    ///
    /// # Errors
    /// When an entry's bytes are no key of its type.
    pub fn validators(&self) -> Result<Vec<Validator>, GenesisError> {
        match self {
            Genesis::V09(genesis) => genesis.validators(),
            Genesis::V010(genesis) => genesis.validators(),
        }
    }

    /// The number of accounts that are credited when the chain begins.
    pub fn alloc_count(&self) -> usize {
        match self {
            Genesis::V09(genesis) => genesis.alloc.len(),
            Genesis::V010(genesis) => genesis.alloc.len(),
        }
    }

    /// v0.10's user who owns the database once the chain has begun, perhaps empty; `None` in v0.9.
    pub fn db_owner(&self) -> Option<&str> {
        match self {
            Genesis::V09(_) => None,
            Genesis::V010(genesis) => Some(&genesis.db_owner),
        }
    }

    /// v0.10's leader; `None` in v0.9 and where the genesis names none.
    pub fn leader(&self) -> Option<&PublicKey> {
        match self {
            Genesis::V09(_) => None,
            Genesis::V010(genesis) => genesis.leader.as_ref(),
        }
    }

    /// Checks for what kwild refuses at start, and for what would fork the network at once.
    ///
    /// # Errors
    /// The first fault, as [`GenesisError::Check`]; or a validator's key that is none.
    pub fn check(&self) -> Result<(), GenesisError> {
        match lint::startup_faults(self).into_iter().next() {
            Some(fault) => refuse(fault.path.unwrap_or_default(), fault.text),
            // v0.9 takes 32 bytes that are no key; nobody can sign with them.
            None => self.validators().map(|_| ()),
        }
    }

    /// The genesis of the network that goes on from a snapshot: validators, owner and parameters are the old network's,
    /// or, as a template, only what Kwil's own tool carries over.
    ///
    /// # Errors
    /// When a voter is no key, the owner is unknown, or the chain id cannot be one.
    pub fn for_snapshot(
        state: &NetworkState,
        state_hash: Sha256Hash,
        options: &GenesisOptions,
    ) -> Result<Genesis, GenesisError> {
        check_chain_id(state.family, &options.chain_id)?;
        let mut voters = Vec::with_capacity(state.voters.len());
        for (index, row) in state.voters.iter().enumerate() {
            let key = PublicKey::from_voter_name(state.family, &row.name)
                .map_err(|error| GenesisError::Voter { index, error })?;
            voters.push((key, row.power));
        }
        let mut genesis = match (&state.parameters, state.family) {
            (Parameters::V09(parameters), Family::V09) => {
                Genesis::V09(v09::Genesis::for_snapshot(&voters, parameters, options)?)
            }
            (Parameters::V010(parameters), Family::V010) => {
                let owner = state.owner.as_deref().ok_or(GenesisError::NoOwner)?;
                Genesis::V010(v010::Genesis::for_snapshot(&voters, parameters, owner, options))
            }
            (parameters, state) => {
                return Err(GenesisError::FamilyMismatch { state, parameters: parameters.family() });
            }
        };
        genesis.set_state_hash(state_hash);
        if options.keep_height {
            // v0.9 begins with the initial height itself, v0.10 with the one after it.
            let first = match state.family {
                Family::V09 => state.height.checked_add(1),
                Family::V010 => Some(state.height),
            };
            genesis.set_initial_height(first.filter(|_| state.height >= 0).ok_or(GenesisError::Height(state.height))?);
        }
        Ok(genesis)
    }
}

/// What a database tells about its network; a new genesis is made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    /// The family of the database.
    pub family: Family,
    /// The number of the last committed block; -1 on an empty chain.
    pub height: i64,
    /// Rows of `kwild_voting.voters` in COPY order.
    pub voters: Vec<VoterRow>,
    /// The network's parameters.
    pub parameters: Parameters,
    /// v0.10's user with the role `owner`; `None` in v0.9 and where nobody has it.
    pub owner: Option<String>,
}

/// Network parameters as the database keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameters {
    /// Those of v0.9, from the table `kwild_chain.consensus_params`.
    V09(v09::Parameters),
    /// Those of v0.10, from the table `kwild_chain.params`.
    V010(v010::Parameters),
}

impl Parameters {
    /// The family of the parameters.
    pub fn family(&self) -> Family {
        match self {
            Parameters::V09(_) => Family::V09,
            Parameters::V010(_) => Family::V010,
        }
    }
}

/// What a new genesis takes from the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisOptions {
    /// The new network's chain id.
    pub chain_id: String,
    /// v0.9's instant at which the network begins, the same on every node, in RFC 3339; v0.10 ignores it.
    pub genesis_time_rfc3339: String,
    /// Whether block numbers go on from the old height; else they begin again.
    pub keep_height: bool,
    /// Whether the parameters are Kwil's defaults, as Kwil's own tool writes them; else they are the old network's.
    pub template: bool,
}

/// Bytes of the longest chain id that CometBFT (v0.9) takes.
const V09_CHAIN_ID_SIZE_BYTES_MAX: usize = 50;

/// The chain id of the network after `old`: its last number raised by one, or `-2` behind it. Digits that letters
/// follow are part of a word, not a number. `None` where `old` is empty or the result too long for CometBFT.
pub fn next_chain_id(old: &str) -> Option<String> {
    if old.is_empty() {
        return None;
    }
    let next = match last_number(old) {
        Some((start, end)) => format!("{}{}{}", &old[..start], digits_plus_one(&old[start..end]), &old[end..]),
        None => format!("{old}-2"),
    };
    (next.len() <= V09_CHAIN_ID_SIZE_BYTES_MAX).then_some(next)
}

fn last_number(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut end = bytes.len();
    while end > 0 {
        if !bytes[end - 1].is_ascii_digit() {
            end -= 1;
            continue;
        }
        let start = bytes[..end].iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |at| at + 1);
        if !text[end..].starts_with(char::is_alphabetic) {
            return Some((start, end));
        }
        end = start;
    }
    None
}

/// The number of these decimal digits plus one, in as many digits as before where they are enough.
fn digits_plus_one(digits: &str) -> String {
    let mut out = digits.as_bytes().to_vec();
    for digit in out.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return String::from_utf8_lossy(&out).into_owned();
        }
        *digit = b'0';
    }
    format!("1{}", String::from_utf8_lossy(&out))
}

fn check_chain_id(family: Family, id: &str) -> Result<(), GenesisError> {
    let what = match family {
        _ if id.is_empty() => "a network must have an id",
        Family::V09 if id.len() > V09_CHAIN_ID_SIZE_BYTES_MAX => "v0.9 takes 50 characters at most",
        _ => return Ok(()),
    };
    Err(GenesisError::ChainId { id: id.to_owned(), what })
}

fn family_of(value: &Json) -> Result<Family, GenesisError> {
    let Json::Object(entries) = value else {
        return Err(GenesisError::Field {
            path: "genesis".into(),
            what: format!("{} where an object must stand", value.kind()),
        });
    };
    // A genesis with a few keys of the other family is still of the one that it has more keys of.
    let count = |names: &[&str]| entries.iter().filter(|(key, _)| names.contains(&json::fold(key).as_str())).count();
    let v09 = count(&["consensus_params", "genesis_time", "app_hash", "activations"]);
    let v010 = count(&[
        "leader",
        "db_owner",
        "state_hash",
        "migration",
        "max_block_size",
        "join_expiry",
        "disabled_gas_costs",
        "max_votes_per_tx",
        "maa_activation_height",
    ]);
    match v09.cmp(&v010) {
        _ if v09 + v010 == 0 => Err(GenesisError::NotGenesis),
        Ordering::Less => Ok(Family::V010),
        _ => Ok(Family::V09),
    }
}

/// Shared reading of values, as Go's decoder fills its structs: `null` changes nothing.
mod read {
    use super::*;

    pub(super) fn wrong<T>(path: &str, value: &Json, wanted: &str) -> Result<T, GenesisError> {
        let shown = match value {
            Json::Number(text) => format!("number {}", escape(text)),
            other => other.kind().to_owned(),
        };
        field(path, format!("{shown} where {wanted} must stand"))
    }

    pub(super) fn field<T>(path: &str, what: impl Into<String>) -> Result<T, GenesisError> {
        Err(GenesisError::Field { path: path.to_owned(), what: what.into() })
    }

    pub(super) fn int(path: &str, value: &Json, into: &mut i64) -> Result<(), GenesisError> {
        match value {
            Json::Null => Ok(()),
            Json::Number(text) => match text.parse() {
                Ok(number) => {
                    *into = number;
                    Ok(())
                }
                Err(_) => wrong(path, value, "a 64-bit integer in plain digits"),
            },
            _ => wrong(path, value, "an integer"),
        }
    }

    pub(super) fn bool(path: &str, value: &Json, into: &mut bool) -> Result<(), GenesisError> {
        match value {
            Json::Null => Ok(()),
            Json::Bool(flag) => {
                *into = *flag;
                Ok(())
            }
            _ => wrong(path, value, "true or false"),
        }
    }

    pub(super) fn string(path: &str, value: &Json, into: &mut String) -> Result<(), GenesisError> {
        match value {
            Json::Null => Ok(()),
            Json::String(text) => {
                *into = text.clone();
                Ok(())
            }
            _ => wrong(path, value, "a string"),
        }
    }

    /// A big integer as its text: plain digits of any length; `None` for null.
    pub(super) fn big(path: &str, value: &Json) -> Result<Option<String>, GenesisError> {
        match value {
            Json::Null => Ok(None),
            Json::Number(text) if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => {
                Ok(Some(if text == "-0" { "0".into() } else { text.clone() }))
            }
            _ => wrong(path, value, "an integer in plain digits"),
        }
    }

    pub(super) fn hex(path: &str, text: &str) -> Result<Vec<u8>, GenesisError> {
        match hex::decode(text) {
            Ok(bytes) => Ok(bytes),
            Err(_) if text.starts_with("0x") => field(path, "hex is written without 0x here"),
            Err(e) => field(path, format!("no hex: {e}")),
        }
    }

    pub(super) fn object<'a>(path: &str, value: &'a Json) -> Result<&'a [(String, Json)], GenesisError> {
        match value {
            Json::Null => Ok(&[]),
            Json::Object(entries) => Ok(entries),
            _ => wrong(path, value, "an object"),
        }
    }

    pub(super) fn array<'a>(path: &str, value: &'a Json) -> Result<&'a [Json], GenesisError> {
        match value {
            Json::Array(items) => Ok(items),
            _ => wrong(path, value, "an array"),
        }
    }
}

fn refuse<T>(path: impl Into<String>, what: impl Into<String>) -> Result<T, GenesisError> {
    Err(GenesisError::Check { path: path.into(), what: what.into() })
}

/// The key of the validator at this index; its error names the validator.
fn genesis_key(index: usize, kind: KeyType, bytes: &[u8]) -> Result<PublicKey, GenesisError> {
    PublicKey::new(kind, bytes)
        .map_err(|error| GenesisError::Field { path: format!("validators[{index}]"), what: error.to_string() })
}

#[cfg(test)]
mod tests;
