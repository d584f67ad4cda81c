//! `genesis set`: changes that an operator may make, each checked against what the family can express and kwild accepts.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{
    Genesis, GenesisError, check_chain_id,
    fresh::{Balance, Expiry},
    lint::startup_faults,
    v09, v010,
};
use crate::{
    base::{
        Error,
        text::{escape, nearest},
    },
    kwil::{
        Family,
        key::{KeyError, KeyType, PublicKey, eip55},
    },
};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// `key=value`
    Set {
        /// The key, such as `initial_height`.
        key: String,
        /// Its new value, as typed.
        value: String,
    },
    /// `[NAME:]KEY:POWER`
    AddValidator(String),
    /// `KEY`, or a v0.9 validator's name
    RemoveValidator(String),
    /// `KEY:POWER`
    SetPower(String),
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Edit::Set { key: key.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("expected KEY=VALUE, such as initial_height=195391".to_owned()),
        }
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// Nobody knows the key, or the value is none.
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The family cannot express it, or no kwild would start on it.
    Refused {
        /// Why.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Usage { what, .. } | EditError::Refused { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for EditError {}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Usage { what, hint } => Error::usage(what).hint(hint),
            EditError::Refused { what, hint } => Error::refused(what).hint(hint),
        }
    }
}

fn usage<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, EditError> {
    Err(EditError::Usage { what: what.into(), hint: hint.into() })
}

fn refused<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, EditError> {
    Err(EditError::Refused { what: what.into(), hint: hint.into() })
}

/// What became of one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where, such as `consensus_params.block.max_bytes`.
    pub path: String,
    /// As JSON; None where there was nothing.
    pub old: Option<String>,
    /// As JSON; None where nothing is left.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
        write!(f, "{}: {} -> {}", self.path, shown(&self.old), shown(&self.new))
    }
}

/// Keys that v0.9 has, and what else they are called.
const V09_KEYS: [(&str, &[&str]); 17] = [
    ("genesis_time", &[]),
    ("chain_id", &[]),
    ("initial_height", &[]),
    ("consensus_params.block.max_bytes", &["max_block_size", "block.max_bytes", "max_bytes_per_block"]),
    ("consensus_params.block.max_gas", &["max_gas", "block.max_gas"]),
    ("consensus_params.block.abci_max_bytes", &["abci_max_bytes", "block.abci_max_bytes"]),
    ("consensus_params.evidence.max_age_num_blocks", &["max_age_num_blocks", "evidence.max_age_num_blocks"]),
    ("consensus_params.evidence.max_age_duration", &["max_age_duration", "evidence.max_age_duration"]),
    ("consensus_params.evidence.max_bytes", &["evidence.max_bytes"]),
    ("consensus_params.validator.pub_key_types", &["pub_key_types", "validator.pub_key_types"]),
    ("consensus_params.validator.join_expiry", &["join_expiry", "validator.join_expiry"]),
    ("consensus_params.votes.vote_expiry", &["vote_expiry", "votes.vote_expiry"]),
    ("consensus_params.votes.max_votes_per_tx", &["max_votes_per_tx", "votes.max_votes_per_tx"]),
    (
        "consensus_params.abci.vote_extensions_enable_height",
        &["vote_extensions_enable_height", "abci.vote_extensions_enable_height"],
    ),
    ("consensus_params.migration.start_height", &["migration.start_height"]),
    ("consensus_params.migration.end_height", &["migration.end_height"]),
    ("consensus_params.without_gas_costs", &["without_gas_costs", "disabled_gas_costs"]),
];

/// Keys that v0.10 has.
const V010_KEYS: [(&str, &[&str]); 11] = [
    ("chain_id", &[]),
    ("initial_height", &[]),
    ("db_owner", &[]),
    ("leader", &[]),
    ("max_block_size", &["max_bytes_per_block"]),
    ("join_expiry", &[]),
    ("disabled_gas_costs", &["without_gas_costs"]),
    ("max_votes_per_tx", &[]),
    ("maa_activation_height", &[]),
    ("migration.start_height", &[]),
    ("migration.end_height", &[]),
];

fn keys(family: Family) -> &'static [(&'static str, &'static [&'static str])] {
    match family {
        Family::V09 => &V09_KEYS,
        Family::V010 => &V010_KEYS,
    }
}

/// The key's full name, where the family has it.
fn full_name(family: Family, key: &str) -> Option<&'static str> {
    keys(family).iter().find(|(name, others)| *name == key || others.contains(&key)).map(|(name, _)| *name)
}

impl Genesis {
    /// Makes all changes or none, and says what they were.
    ///
    /// # Errors
    /// When a key is not known, a value is none, or kwild would not start on what comes out; faults that were there before
    /// do not stand in the way.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Change>, EditError> {
        let mut edited = self.clone();
        let mut seen: Vec<String> = Vec::new();
        for edit in edits {
            match edit {
                Edit::Set { key, value } => {
                    let name = full_name(self.family(), key).map_or_else(|| key.clone(), str::to_owned);
                    if seen.contains(&name) {
                        return usage(format!("{} is set twice", escape(&name)), "say once what it shall be");
                    }
                    seen.push(name);
                    edited.set(key, value)?;
                }
                Edit::AddValidator(text) => edited.add_validator(text)?,
                Edit::RemoveValidator(text) => edited.remove_validator(text)?,
                Edit::SetPower(text) => edited.set_power(text)?,
            }
        }
        edited.is_no_worse_than(self)?;
        let changes = self.changes_to(&edited);
        *self = edited;
        Ok(changes)
    }

    /// No fault that was not there before.
    fn is_no_worse_than(&self, before: &Genesis) -> Result<(), EditError> {
        let known: Vec<&str> = startup_faults(before).iter().map(|fault| fault.code).collect();
        if let (Genesis::V010(_), Some(leader), Ok(validators)) = (self, self.leader(), self.validators())
            && !known.contains(&"leader-not-validator")
            && !validators.is_empty()
            && validators.iter().all(|validator| validator.key != *leader)
        {
            let was = before.validators().is_ok_and(|all| all.iter().any(|validator| validator.key == *leader));
            let hint =
                "choose a leader among the validators (leader=KEY#TYPE), or add it (--add-validator KEY#TYPE:POWER)";
            return if was {
                refused(format!("{leader} is the leader, and cannot be removed from the validators"), hint)
            } else {
                refused(format!("leader: {leader} is not among the validators"), hint)
            };
        }
        for fault in startup_faults(self) {
            let before = startup_faults(before);
            if before.iter().any(|old| (old.code, &old.path) == (fault.code, &fault.path)) {
                continue;
            }
            let path = fault.path.unwrap_or_default();
            return refused(format!("{path}: {}", fault.text), fault.fix.unwrap_or_default());
        }
        let powers = match self {
            Genesis::V09(genesis) => genesis.validators.iter().map(|v| v.power).collect::<Vec<_>>(),
            Genesis::V010(genesis) => genesis.validators.iter().flatten().map(|v| v.power).collect(),
        };
        let sum = powers.iter().try_fold(0_i64, |sum, power| sum.checked_add(*power));
        if sum.is_none() {
            return refused(
                "the validators' powers add up to more than 63 bits hold",
                "use small powers: only their ratio counts",
            );
        }
        Ok(())
    }

    fn changes_to(&self, edited: &Genesis) -> Vec<Change> {
        // An empty map is null in the file.
        let some = |text: String| (!text.is_empty() && text != "null").then_some(text);
        let mut changes: Vec<Change> = edited
            .differences(self)
            .into_iter()
            .filter(|difference| !difference.path.starts_with("validators."))
            .map(|difference| Change {
                path: difference.path,
                old: some(difference.other),
                new: some(difference.value),
            })
            .filter(|change| change.old != change.new)
            .collect();
        // By key, not by place: whoever follows a removed validator is still the same.
        let (old, new) = (self.powers(), edited.powers());
        let power =
            |list: &[(String, i64)], key: &str| list.iter().find(|(k, _)| k == key).map(|(_, p)| format!("power {p}"));
        let keys =
            old.iter().chain(new.iter().filter(|(key, _)| old.iter().all(|(k, _)| k != key))).map(|(key, _)| key);
        changes.extend(keys.filter(|key| power(&old, key) != power(&new, key)).map(|key| Change {
            path: format!("validator {key}"),
            old: power(&old, key),
            new: power(&new, key),
        }));
        changes
    }

    /// Validators as they are shown, also those whose key is none.
    fn powers(&self) -> Vec<(String, i64)> {
        match self {
            Genesis::V09(genesis) => genesis.validators.iter().map(|v| (hex::encode(&v.pub_key), v.power)).collect(),
            Genesis::V010(genesis) => genesis
                .validators
                .iter()
                .flatten()
                .map(|v| (format!("{}#{}", hex::encode(&v.pubkey), escape(&v.kind)), v.power))
                .collect(),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        let family = self.family();
        if matches!(key, "state_hash" | "app_hash") {
            return refused(
                format!("{key} is not for typing: it is the hash of a snapshot"),
                "`regenesis setup genesis-hash -s SNAPSHOT -g GENESIS` computes and writes it",
            );
        }
        if key == "validators" {
            return usage(
                "validators are changed one by one",
                "use --add-validator, --remove-validator and --set-power",
            );
        }
        if let Some(done) = self.set_map(key, value) {
            return done;
        }
        let Some(name) = full_name(family, key) else { return unknown_key(family, key) };
        match name {
            "chain_id" => {
                check_chain_id(family, value)
                    .or_else(|error| refused(error.to_string(), "choose a name that differs from the old network's"))?;
                self.set_chain_id(value);
            }
            "initial_height" => {
                let height = number(name, value)?;
                if height < 0 {
                    return refused(
                        format!("initial_height={height} is negative"),
                        "v0.9: 1, or the old height + 1; v0.10: 0, or the old height",
                    );
                }
                self.set_initial_height(height);
            }
            _ => match self {
                Genesis::V09(genesis) => set_v09(genesis, name, value)?,
                Genesis::V010(genesis) => set_v010(genesis, name, value)?,
            },
        }
        Ok(())
    }

    /// `alloc`, `activations` and what is in them.
    fn set_map(&mut self, key: &str, value: &str) -> Option<Result<(), EditError>> {
        let (map, entry) = key.split_once('.').map_or((key, None), |(map, entry)| (map, Some(entry)));
        let clear_only = || {
            usage(format!("{map} is set entry by entry"), format!("{map}= empties it, {map}.NAME=VALUE sets one entry"))
        };
        match (map, &mut *self, entry) {
            ("alloc", Genesis::V09(genesis), None) if value.is_empty() => genesis.alloc.clear(),
            ("alloc", Genesis::V010(genesis), None) if value.is_empty() => genesis.alloc.clear(),
            ("activations", Genesis::V09(genesis), None) if value.is_empty() => genesis.activations = None,
            ("alloc", _, None) | ("activations", Genesis::V09(_), None) => return Some(clear_only()),
            ("activations", Genesis::V09(genesis), Some(fork)) => {
                let mut forks = genesis.activations.take().unwrap_or_default();
                if value.is_empty() {
                    forks.remove(fork);
                } else {
                    match number(key, value) {
                        Ok(height) if height >= 0 => forks.insert(fork.to_owned(), height),
                        Ok(height) => {
                            return Some(refused(
                                format!("{}={height} is negative", escape(key)),
                                "a fork has a block's number",
                            ));
                        }
                        Err(error) => return Some(Err(error)),
                    };
                }
                genesis.activations = (!forks.is_empty()).then_some(forks);
            }
            ("alloc", genesis, Some(account)) => return Some(set_alloc(genesis, account, value)),
            _ => return None,
        }
        Some(Ok(()))
    }

    fn add_validator(&mut self, text: &str) -> Result<(), EditError> {
        let (name, key, power) = entry(self.family(), text)?;
        if self.position(&key).is_some() {
            return refused(format!("{key} is a validator already"), "change its power with --set-power KEY:POWER");
        }
        match self {
            Genesis::V09(genesis) => {
                let name = name.unwrap_or_else(|| format!("validator-{}", genesis.validators.len()));
                genesis.validators.push(v09::GenesisValidator { pub_key: key.bytes().to_vec(), power, name });
            }
            Genesis::V010(genesis) => genesis.validators.get_or_insert_default().push(v010::GenesisValidator {
                pubkey: key.bytes().to_vec(),
                kind: key.key_type().to_string(),
                power,
            }),
        }
        Ok(())
    }

    fn remove_validator(&mut self, text: &str) -> Result<(), EditError> {
        let index = self.find(text)?;
        match self {
            Genesis::V09(genesis) => {
                genesis.validators.remove(index);
            }
            Genesis::V010(genesis) => {
                genesis.validators.get_or_insert_default().remove(index);
            }
        }
        Ok(())
    }

    fn set_power(&mut self, text: &str) -> Result<(), EditError> {
        let Some((who, power)) = text.rsplit_once(':') else {
            return usage(format!("{:?} is no KEY:POWER", escape(text)), "write it as --set-power KEY:POWER");
        };
        let power = positive_power(power)?;
        let index = self.find(who)?;
        match self {
            Genesis::V09(genesis) => genesis.validators[index].power = power,
            Genesis::V010(genesis) => genesis.validators.get_or_insert_default()[index].power = power,
        }
        Ok(())
    }

    fn position(&self, key: &PublicKey) -> Option<usize> {
        match self {
            Genesis::V09(genesis) => genesis.validators.iter().position(|v| v.pub_key == key.bytes()),
            Genesis::V010(genesis) => genesis
                .validators
                .iter()
                .flatten()
                .position(|v| v.pubkey == key.bytes() && v.kind == key.key_type().to_string()),
        }
    }

    /// The validator of this key or name; also one whose key is broken, by its hex text.
    fn find(&self, who: &str) -> Result<usize, EditError> {
        let digits = who.split('#').next().unwrap_or_default().to_ascii_lowercase();
        let found: Vec<usize> = match self {
            Genesis::V09(genesis) => (genesis.validators.iter().enumerate())
                .filter(|(_, v)| hex::encode(&v.pub_key) == digits || !v.name.is_empty() && v.name == who)
                .map(|(index, _)| index)
                .collect(),
            Genesis::V010(genesis) => (genesis.validators.iter().flatten().enumerate())
                .filter(|(_, v)| {
                    hex::encode(&v.pubkey) == digits && who.split_once('#').is_none_or(|(_, kind)| kind == v.kind)
                })
                .map(|(index, _)| index)
                .collect(),
        };
        match found.as_slice() {
            [index] => Ok(*index),
            [] => usage(
                format!("{:?} is no validator of this genesis", escape(who)),
                "`regenesis genesis show` lists them",
            ),
            _ => usage(format!("{:?} are several validators", escape(who)), "name one by its key"),
        }
    }
}

fn unknown_key<T>(family: Family, key: &str) -> Result<T, EditError> {
    let other = match family {
        Family::V09 => Family::V010,
        Family::V010 => Family::V09,
    };
    let shown = escape(key);
    let only_v09 = ["activations"];
    if full_name(other, key).is_some() || only_v09.contains(&key.split('.').next().unwrap_or_default()) {
        return refused(
            format!("{shown} is a key of {other}; a genesis of {family} has no place for it"),
            "leave it out",
        );
    }
    let names = || keys(family).iter().flat_map(|(name, others)| std::iter::once(*name).chain(others.iter().copied()));
    let near = nearest(key, names().chain(["alloc", "activations"]));
    let hint = match near {
        Some(name) => format!("did you mean {name}?"),
        None => format!("one of: {}", keys(family).iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
    };
    usage(format!("a genesis of {family} has no key {shown}"), hint)
}

fn number(key: &str, value: &str) -> Result<i64, EditError> {
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) => usage(
            format!("{}={:?} is no whole number of at most 63 bits", escape(key), escape(value)),
            "write plain digits",
        ),
    }
}

fn positive(key: &str, value: &str) -> Result<i64, EditError> {
    match number(key, value)? {
        number if number > 0 => Ok(number),
        number => refused(
            format!("{key}={number}, but it must be greater than 0"),
            "kwild would not start on it, or never make a block",
        ),
    }
}

fn positive_power(value: &str) -> Result<i64, EditError> {
    match number("power", value)? {
        power if power > 0 => Ok(power),
        power => refused(
            format!("a power of {power} is no power: it must be at least 1"),
            "to take a validator out, use --remove-validator KEY",
        ),
    }
}

fn flag(key: &str, value: &str) -> Result<bool, EditError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => usage(
            format!("{key}={:?} is neither true nor false", escape(value)),
            "true: transactions are free; false: they cost gas",
        ),
    }
}

fn set_v09(genesis: &mut v09::Genesis, name: &str, value: &str) -> Result<(), EditError> {
    if name == "genesis_time" {
        v09::check_time(value)
            .or_else(|error| usage(error.to_string(), "write it as 2026-11-22T10:00:00Z, or as now"))?;
        genesis.genesis_time = value.to_owned();
        return Ok(());
    }
    let params = genesis.consensus_params.get_or_insert_default();
    let into = match name {
        "consensus_params.without_gas_costs" => {
            params.without_gas_costs = flag(name, value)?;
            return Ok(());
        }
        "consensus_params.block.abci_max_bytes" => {
            params.block_abci_max_bytes = flag(name, value)?;
            return Ok(());
        }
        "consensus_params.validator.pub_key_types" => {
            if value != "ed25519" {
                return refused("v0.9 has ed25519 validators only", "pub_key_types=ed25519");
            }
            params.validator_pub_key_types = Some(vec!["ed25519".to_owned()]);
            return Ok(());
        }
        "consensus_params.block.max_bytes" => &mut params.block_max_bytes,
        "consensus_params.block.max_gas" => &mut params.block_max_gas,
        "consensus_params.evidence.max_age_num_blocks" => &mut params.evidence_max_age_num_blocks,
        "consensus_params.evidence.max_age_duration" => &mut params.evidence_max_age_duration,
        "consensus_params.evidence.max_bytes" => &mut params.evidence_max_bytes,
        "consensus_params.validator.join_expiry" => &mut params.validator_join_expiry,
        "consensus_params.votes.vote_expiry" => &mut params.votes_vote_expiry,
        "consensus_params.votes.max_votes_per_tx" => &mut params.votes_max_votes_per_tx,
        "consensus_params.abci.vote_extensions_enable_height" => &mut params.abci_vote_extensions_enable_height,
        "consensus_params.migration.start_height" => &mut params.migration_start_height,
        _ => &mut params.migration_end_height,
    };
    *into = match (name, value) {
        ("consensus_params.validator.join_expiry", text) if text.parse::<i64>().is_err() => {
            match Expiry::parse(Family::V09, text) {
                Err(error) => return usage(error.to_string(), "v0.9 counts blocks: join_expiry=100800"),
                Ok(_) => number(name, value)?,
            }
        }
        _ => number(name, value)?,
    };
    Ok(())
}

fn set_v010(genesis: &mut v010::Genesis, name: &str, value: &str) -> Result<(), EditError> {
    match name {
        "db_owner" => genesis.db_owner = owner(value)?,
        "leader" => {
            let key = value.parse().or_else(|error: KeyError| {
                usage(format!("leader={:?}: {error}", escape(value)), "write it as leader=HEX#TYPE")
            })?;
            genesis.leader = Some(key);
        }
        "join_expiry" => match Expiry::parse(Family::V010, value) {
            Ok(Expiry::Time(time)) if time.0 > 0 => genesis.join_expiry = time,
            Ok(_) => return refused("join_expiry must be greater than 0", "write a time such as 168h0m0s"),
            Err(error) => return usage(error.to_string(), "v0.10 wants a time: join_expiry=168h0m0s"),
        },
        "disabled_gas_costs" => genesis.disabled_gas_costs = flag(name, value)?,
        "max_block_size" => genesis.max_block_size = positive(name, value)?,
        "max_votes_per_tx" => genesis.max_votes_per_tx = positive(name, value)?,
        "maa_activation_height" => genesis.maa_activation_height = number(name, value)?,
        "migration.start_height" => genesis.migration_start_height = number(name, value)?,
        _ => genesis.migration_end_height = number(name, value)?,
    }
    Ok(())
}

/// The owner as kwild writes users: an address with its checksum, or the hex text of an ed25519 key.
fn owner(text: &str) -> Result<String, EditError> {
    if text.trim().is_empty() {
        return refused("db_owner= would leave nobody to administer the network", "give the old network's owner");
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        return Ok(key.user_identifier());
    }
    let Some(digits) = text.strip_prefix("0x") else {
        return match hex::decode(text) {
            Ok(bytes) => {
                let key =
                    PublicKey::new(KeyType::Ed25519, &bytes).or_else(|_| PublicKey::new(KeyType::Secp256k1, &bytes));
                key.map(|key| key.user_identifier()).or_else(|_| {
                    usage(
                        "db_owner is hex, but neither an ed25519 nor a secp256k1 key",
                        "copy it from `regenesis key info`",
                    )
                })
            }
            // Other signers than Kwil's own may name users as they like.
            Err(_) => Ok(text.to_owned()),
        };
    };
    let address = hex::decode(digits).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
    let Some(address) = address else {
        return usage("db_owner is no address: 0x and forty hex digits", "copy it from `regenesis key info`");
    };
    let written = eip55(&address);
    let is_plain = digits.chars().all(|c| !c.is_ascii_uppercase()) || digits.chars().all(|c| !c.is_ascii_lowercase());
    if !is_plain && written != text {
        return refused(
            format!("the checksum of {text} does not hold: one of its digits is wrong"),
            "copy the address again; in small letters it is taken without a checksum",
        );
    }
    Ok(written)
}

fn set_alloc(genesis: &mut Genesis, account: &str, amount: &str) -> Result<(), EditError> {
    let (id, key_type) = match account.split_once('#') {
        Some((id, kind)) => {
            let kind = kind
                .parse()
                .or_else(|error: KeyError| usage(error.to_string(), "write the account as alloc.HEX#TYPE=AMOUNT"))?;
            (id, Some(kind))
        }
        None => (account, None),
    };
    let balance =
        Balance { id: id.to_owned(), key_type, amount: if amount.is_empty() { "0" } else { amount }.to_owned() };
    let explain = |error: GenesisError| EditError::Refused {
        what: error.to_string(),
        hint: "alloc.0xADDRESS=AMOUNT, or in v0.10 alloc.HEX#TYPE=AMOUNT; an empty amount removes the entry".to_owned(),
    };
    match genesis {
        Genesis::V09(genesis) => {
            let digits = id.strip_prefix("0x").unwrap_or(id);
            if digits.is_empty() || hex::decode(digits).is_err() || key_type.is_some() {
                return refused(format!("{:?} is no account of v0.9: hex text", escape(account)), "alloc.HEX=AMOUNT");
            }
            if amount.is_empty() {
                genesis.alloc.remove(id);
            } else {
                genesis.alloc.insert(id.to_owned(), Some(balance.checked_amount().map_err(explain)?));
            }
        }
        Genesis::V010(genesis) => {
            let entry = balance.v010().map_err(explain)?;
            let place = genesis.alloc.iter().position(|a| (&a.id, &a.key_type) == (&entry.id, &entry.key_type));
            match (place, amount.is_empty()) {
                (Some(place), true) => {
                    genesis.alloc.remove(place);
                }
                (None, true) => {}
                (Some(place), false) => genesis.alloc[place] = entry,
                (None, false) => genesis.alloc.push(entry),
            }
        }
    }
    Ok(())
}

/// `[NAME:]KEY:POWER` with the key as the family writes it: v0.9 bare hex or `HEX#ed25519`, v0.10 `HEX#TYPE`.
///
/// # Errors
/// When it is none, or of a type that the family has not.
pub fn entry(family: Family, text: &str) -> Result<(Option<String>, PublicKey, i64), EditError> {
    let form = match family {
        Family::V09 => "v0.9 takes [NAME:]HEX:POWER",
        Family::V010 => "v0.10 takes HEX#TYPE:POWER",
    };
    let Some((rest, power)) = text.rsplit_once(':') else {
        return usage(format!("{:?} names no power", escape(text)), form);
    };
    let (name, key) = match rest.rsplit_once(':') {
        Some((name, key)) => (Some(name.to_owned()), key),
        None => (None, rest),
    };
    if name.is_some() && family == Family::V010 {
        return usage("validators of v0.10 have no names", form);
    }
    let key = public_key(family, key)?;
    Ok((name, key, positive_power(power)?))
}

/// A validator's key as the family writes it.
fn public_key(family: Family, text: &str) -> Result<PublicKey, EditError> {
    let explain = |error: KeyError| EditError::Usage {
        what: format!("{:?}: {error}", escape(text)),
        hint: "copy the key from the validator's own `regenesis key info`".to_owned(),
    };
    let key = match (family, text.contains('#')) {
        (_, true) => text.parse().map_err(explain)?,
        (Family::V010, false) => {
            return usage(
                format!("{:?} does not say of which type the key is", escape(text)),
                "write it as HEX#ed25519 or HEX#secp256k1",
            );
        }
        (Family::V09, false) => {
            let bytes = hex::decode(text)
                .or_else(|_| usage(format!("{:?} is no hex text", escape(text)), "a v0.9 key has 64 hex digits"))?;
            if bytes.len() == 33 {
                PublicKey::new(KeyType::Secp256k1, &bytes).map_err(explain)?
            } else {
                PublicKey::new(KeyType::Ed25519, &bytes).map_err(explain)?
            }
        }
    };
    if family == Family::V09 && key.key_type() != KeyType::Ed25519 {
        return refused(
            format!("{key}: {}", KeyError::FamilyCannotHold(key.key_type())),
            "let the validator make an ed25519 key: `regenesis key gen ed25519`",
        );
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::base::Kind;

    fn genesis(path: &str) -> Genesis {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
        Genesis::parse(&fs::read(path).unwrap()).unwrap()
    }

    fn v09() -> Genesis {
        genesis("v0.9/worlds/quartet/kwil-admin/genesis.json")
    }

    fn v010() -> Genesis {
        genesis("v0.10/worlds/quartet/kwild-snapshot/genesis.json")
    }

    fn edits(texts: &[&str]) -> Vec<Edit> {
        let one = |text: &&str| match text.split_once(' ') {
            Some(("--add-validator", rest)) => Edit::AddValidator(rest.to_owned()),
            Some(("--remove-validator", rest)) => Edit::RemoveValidator(rest.to_owned()),
            Some(("--set-power", rest)) => Edit::SetPower(rest.to_owned()),
            _ => text.parse().unwrap(),
        };
        texts.iter().map(one).collect()
    }

    fn said(genesis: &mut Genesis, texts: &[&str]) -> Vec<String> {
        genesis
            .edit(&edits(texts))
            .unwrap_or_else(|e| panic!("{texts:?}: {e}"))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const ED25519: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    const SECP256K1: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const FIRST: &str = "fe98427681f5f144a36e054bbadedfaa54b20c18f1209a06b22c70df1fa46e92";

    #[test]
    fn everything_an_operator_may_change_in_v09() {
        for (edit, change) in [
            ("chain_id=net-2", "chain_id: \"kwil-chain-M16rQlXP\" -> \"net-2\""),
            ("initial_height=269", "initial_height: 1 -> 269"),
            ("genesis_time=2027-01-01T00:00:00Z", "-> \"2027-01-01T00:00:00Z\""),
            ("max_block_size=2000000", "consensus_params.block.max_bytes: 6291456 -> 2000000"),
            ("block.max_bytes=-1", "consensus_params.block.max_bytes: 6291456 -> -1"),
            ("max_gas=5", "consensus_params.block.max_gas: -1 -> 5"),
            ("abci_max_bytes=true", "consensus_params.block.abci_max_bytes: false -> true"),
            ("max_age_num_blocks=7", "consensus_params.evidence.max_age_num_blocks: 100000 -> 7"),
            ("max_age_duration=7", "consensus_params.evidence.max_age_duration: 172800000000000 -> 7"),
            ("evidence.max_bytes=7", "consensus_params.evidence.max_bytes: 1048576 -> 7"),
            ("join_expiry=10", "consensus_params.validator.join_expiry: 100800 -> 10"),
            ("consensus_params.votes.vote_expiry=10", "consensus_params.votes.vote_expiry: 14400 -> 10"),
            ("max_votes_per_tx=7", "consensus_params.votes.max_votes_per_tx: 100 -> 7"),
            ("vote_extensions_enable_height=7", "vote_extensions_enable_height: 0 -> 7"),
            ("migration.start_height=7", "consensus_params.migration.start_height: (nothing) -> 7"),
            ("migration.end_height=7", "consensus_params.migration.end_height: (nothing) -> 7"),
            ("disabled_gas_costs=false", "consensus_params.without_gas_costs: true -> false"),
            ("activations.halt=500", "activations.halt: (nothing) -> 500"),
            ("alloc.0xab=7", "alloc.0xab: (nothing) -> 7"),
        ] {
            let mut genesis = v09();
            let changes = said(&mut genesis, &[edit]);
            assert!(changes.len() == 1 && changes[0].contains(change), "{edit}: {changes:?}");
            assert_eq!(Genesis::parse(&genesis.to_bytes()).unwrap(), genesis);
            assert_eq!(said(&mut genesis, &[edit]), [""; 0], "{edit} again");
        }
        let mut genesis = v09();
        said(&mut genesis, &["activations.halt=500", "alloc.ab=7", "alloc.cd=8"]);
        assert_eq!(said(&mut genesis, &["activations="]), ["activations.halt: 500 -> (nothing)"]);
        assert_eq!(said(&mut genesis, &["alloc.ab="]), ["alloc.ab: 7 -> (nothing)"]);
        assert_eq!(said(&mut genesis, &["alloc="]), ["alloc.cd: 8 -> (nothing)"]);
        assert_eq!(genesis, v09());
    }

    #[test]
    fn everything_an_operator_may_change_in_v010() {
        for (edit, change) in [
            ("chain_id=net-2", "chain_id: \"kwil-testnet\" -> \"net-2\""),
            ("initial_height=269", "initial_height: 0 -> 269"),
            ("max_block_size=2000000", "max_block_size: 6291456 -> 2000000"),
            ("join_expiry=1.5h", "join_expiry: \"168h0m0s\" -> \"1h30m0s\""),
            ("without_gas_costs=false", "disabled_gas_costs: true -> false"),
            ("max_votes_per_tx=7", "max_votes_per_tx: 200 -> 7"),
            ("maa_activation_height=7", "maa_activation_height: (nothing) -> 7"),
            ("db_owner=0xc89d42189f0450c2b2c3c61f58ec5d628176a1e7", "0xc89D42189f0450C2b2c3c61f58Ec5d628176A1E7"),
            ("db_owner=03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", ED25519),
            (
                "alloc.0xc89d42189f0450C2b2c3c61f58Ec5d628176A1E7=7",
                "alloc.0.id: (nothing) -> \"0xc89D42189f0450C2b2c3c61f58Ec5d628176A1E7\"",
            ),
        ] {
            let mut genesis = v010();
            let changes = said(&mut genesis, &[edit]);
            assert!(changes[0].contains(change), "{edit}: {changes:?}");
            assert_eq!(Genesis::parse(&genesis.to_bytes()).unwrap(), genesis);
            assert_eq!(said(&mut genesis, &[edit]), [""; 0], "{edit} again");
        }
        let mut genesis = v010();
        let both = ["migration.start_height=5", "migration.end_height=9"];
        assert_eq!(said(&mut genesis, &both), ["migration.start_height: 0 -> 5", "migration.end_height: 0 -> 9"]);
        // A secp256k1 key's user is its address.
        let owner = format!("db_owner={SECP256K1}#secp256k1");
        assert!(said(&mut genesis, &[&owner])[0].contains("-> \"0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf\""));
    }

    #[test]
    fn validators_come_and_go_by_their_keys() {
        let mut genesis = v09();
        let add = format!("--add-validator mine:{ED25519}:7");
        assert_eq!(said(&mut genesis, &[&add]), [format!("validator {ED25519}: (nothing) -> power 7")]);
        assert_eq!(said(&mut genesis, &["--set-power mine:9"]), [format!("validator {ED25519}: power 7 -> power 9")]);
        let remove = format!("--remove-validator {FIRST}");
        assert_eq!(said(&mut genesis, &[&remove]), [format!("validator {FIRST}: power 1 -> (nothing)")]);
        assert_eq!(genesis.validators().unwrap().len(), 4);
        let mut genesis = v010();
        let (add, leader) = (format!("--add-validator {ED25519}#ed25519:7"), format!("leader={ED25519}#ed25519"));
        let old = genesis.leader().unwrap().to_string();
        let changes = said(&mut genesis, &[&add, &leader, &format!("--remove-validator {old}")]);
        assert!(changes.contains(&format!("validator {ED25519}#ed25519: (nothing) -> power 7")), "{changes:?}");
        assert!(changes.iter().any(|c| c.starts_with(&format!("validator {old}: power"))), "{changes:?}");
        genesis.check().unwrap();
    }

    #[test]
    fn the_impossible_is_refused_with_its_reason() {
        let leader = v010().leader().unwrap().to_string();
        let (long, first) = (format!("chain_id={}", "x".repeat(51)), v09().validators().unwrap()[0].key.to_hex());
        let cases: &[(Genesis, &[&str], Kind, &str)] = &[
            (v09(), &[&format!("--add-validator a:{SECP256K1}:1")], Kind::Refused, "ed25519 only"),
            (v09(), &[&format!("--add-validator {SECP256K1}#secp256k1:1")], Kind::Refused, "ed25519 only"),
            (v09(), &["pub_key_types=secp256k1"], Kind::Refused, "ed25519 validators only"),
            (v09(), &[&long], Kind::Refused, "50 characters"),
            (v09(), &["chain_id="], Kind::Refused, "must have an id"),
            (v010(), &["chain_id="], Kind::Refused, "must have an id"),
            (v09(), &["leader=x"], Kind::Refused, "is a key of v0.10"),
            (v09(), &["db_owner=x"], Kind::Refused, "is a key of v0.10"),
            (v010(), &["genesis_time=now"], Kind::Refused, "is a key of v0.9"),
            (v010(), &["vote_expiry=5"], Kind::Refused, "is a key of v0.9"),
            (v010(), &["activations.halt=5"], Kind::Refused, "is a key of v0.9"),
            (v010(), &[&format!("leader={ED25519}#ed25519")], Kind::Refused, "is not among the validators"),
            (v010(), &[&format!("--remove-validator {leader}")], Kind::Refused, "is the leader"),
            (v010(), &[&format!("leader={ED25519}")], Kind::Usage, "HEX#TYPE"),
            (v010(), &[&format!("leader={ED25519}#rsa")], Kind::Usage, "unknown key type"),
            (v010(), &["leader="], Kind::Usage, "HEX#TYPE"),
            (v09(), &[&format!("--set-power {first}:0")], Kind::Refused, "at least 1"),
            (v09(), &[&format!("--set-power {first}:-5")], Kind::Refused, "at least 1"),
            (v09(), &[&format!("--set-power {first}:9223372036854775808")], Kind::Usage, "63 bits"),
            (v09(), &[&format!("--set-power {first}:9223372036854775807")], Kind::Refused, "sums up"),
            (v010(), &[&format!("--set-power {leader}:9223372036854775807")], Kind::Refused, "63 bits"),
            (v09(), &["--set-power validator-9:5"], Kind::Usage, "no validator"),
            (v09(), &["--set-power validator-0"], Kind::Usage, "KEY:POWER"),
            (v09(), &["--remove-validator nobody"], Kind::Usage, "no validator"),
            (v09(), &[&format!("--add-validator a:{first}:1")], Kind::Refused, "a validator already"),
            (v09(), &["--add-validator a:zz:1"], Kind::Usage, "no hex"),
            (v09(), &["--add-validator a:abcd:1"], Kind::Usage, "2 bytes"),
            (v09(), &[&format!("--add-validator {ED25519}")], Kind::Usage, "names no power"),
            (v010(), &[&format!("--add-validator {ED25519}:1")], Kind::Usage, "which type"),
            (v010(), &[&format!("--add-validator a:{ED25519}#ed25519:1")], Kind::Usage, "no names"),
            (v09(), &["initial_height=-1"], Kind::Refused, "negative"),
            (v09(), &["initial_height=1.0"], Kind::Usage, "whole number"),
            (v09(), &["initial_height=99999999999999999999"], Kind::Usage, "63 bits"),
            (v09(), &["vote_expiry=0"], Kind::Refused, "greater than 0"),
            (v09(), &["join_expiry=168h"], Kind::Usage, "number of blocks"),
            (v010(), &["join_expiry=100800"], Kind::Usage, "168h"),
            (v010(), &["join_expiry=0"], Kind::Refused, "greater than 0"),
            (v010(), &["max_block_size=0"], Kind::Refused, "greater than 0"),
            (v010(), &["max_votes_per_tx=-1"], Kind::Refused, "greater than 0"),
            (v09(), &["max_block_size=104857601"], Kind::Refused, "104857600"),
            (v09(), &["max_block_size=1000"], Kind::Refused, "evidence"),
            (v09(), &["max_gas=-2"], Kind::Refused, "at least -1"),
            (v09(), &["without_gas_costs=maybe"], Kind::Usage, "neither true nor false"),
            (v09(), &["genesis_time=yesterday"], Kind::Usage, "no time"),
            (v010(), &["migration.start_height=5"], Kind::Refused, "both"),
            (v010(), &["db_owner="], Kind::Refused, "nobody"),
            (v010(), &["db_owner=0xabcd"], Kind::Usage, "no address"),
            (v010(), &["db_owner=0xC89D42189f0450C2b2c3c61f58Ec5d628176A1E7"], Kind::Refused, "checksum"),
            (v010(), &["db_owner=abcd"], Kind::Usage, "neither an ed25519"),
            (v010(), &["state_hash=00"], Kind::Refused, "not for typing"),
            (v09(), &["app_hash=00"], Kind::Refused, "not for typing"),
            (v09(), &["validators=x"], Kind::Usage, "one by one"),
            (v09(), &["alloc=x"], Kind::Usage, "entry by entry"),
            (v09(), &["alloc.zz=5"], Kind::Refused, "no account"),
            (v09(), &["alloc.ab=-5"], Kind::Refused, "no amount"),
            (v010(), &["alloc.ab=5"], Kind::Refused, "no account"),
            (v010(), &["alloc.ab#rsa=5"], Kind::Usage, "unknown key type"),
            (v09(), &["activations.halt=-5"], Kind::Refused, "negative"),
            (v09(), &["activations.halt=soon"], Kind::Usage, "whole number"),
            (v010(), &["max_blok_size=5"], Kind::Usage, "no key max_blok_size"),
            (v09(), &["chain_id=a", "chain_id=b"], Kind::Usage, "set twice"),
            (v09(), &["join_expiry=5", "consensus_params.validator.join_expiry=6"], Kind::Usage, "set twice"),
        ];
        for (genesis, texts, kind, part) in cases {
            let mut edited = genesis.clone();
            let error = edited.edit(&edits(texts)).unwrap_err();
            let shown = error.to_string();
            let error = Error::from(error);
            assert!(shown.contains(part) && error.kind() == *kind, "{texts:?}: {shown} ({:?})", error.kind());
            assert!(error.advice().is_some_and(|hint| !hint.is_empty()), "{texts:?}");
            assert_eq!(edited, *genesis, "{texts:?}");
        }
        let error = v010().edit(&edits(&["max_blok_size=5"])).unwrap_err();
        assert_eq!(Error::from(error).advice(), Some("did you mean max_block_size?"));
        assert!("no-equals".parse::<Edit>().is_err() && "=5".parse::<Edit>().is_err());
    }

    #[test]
    fn a_broken_genesis_can_be_mended_step_by_step() {
        let Genesis::V010(mut broken) = v010() else { panic!() };
        (broken.max_block_size, broken.max_votes_per_tx) = (0, 0);
        let mut genesis = Genesis::V010(broken);
        said(&mut genesis, &["max_block_size=5"]);
        said(&mut genesis, &["max_votes_per_tx=5"]);
        genesis.check().unwrap();
    }

    proptest! {
        #[test]
        fn any_edit_gives_what_kwild_reads(key in "[a-z_.]{1,30}", value in ".{0,30}", which in 0..14_usize, v09_family in any::<bool>()) {
            let mut genesis = if v09_family { v09() } else { v010() };
            let names = keys(genesis.family());
            let key = names.get(which).map_or(key, |(name, _)| (*name).to_owned());
            if genesis.edit(&[Edit::Set { key, value }]).is_ok() {
                genesis.check().unwrap();
                prop_assert_eq!(&Genesis::parse(&genesis.to_bytes()).unwrap(), &genesis);
            }
        }

        #[test]
        fn any_number_gives_what_kwild_reads(which in 0..17_usize, number in any::<i64>(), v09_family in any::<bool>()) {
            let mut genesis = if v09_family { v09() } else { v010() };
            let names = keys(genesis.family());
            let key = names[which % names.len()].0.to_owned();
            if genesis.edit(&[Edit::Set { key, value: number.to_string() }]).is_ok() {
                genesis.check().unwrap();
                prop_assert_eq!(&Genesis::parse(&genesis.to_bytes()).unwrap(), &genesis);
            }
        }
    }
}
