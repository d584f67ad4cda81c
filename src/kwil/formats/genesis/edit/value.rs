//! `KEY=VALUE` as an operator types it: finds the key of a genesis, reads the value, and sets it.

use super::{EditError, refused, wrong_usage};
use crate::{
    base::{
        Next,
        text::{escape, nearest},
    },
    formats::{
        Family,
        genesis::{
            Genesis, GenesisError, check_chain_id,
            fresh::{Balance, Expiry},
            v09, v010,
        },
        key::{KeyError, KeyType, PublicKey, eip55},
    },
};

/// The keys of a v0.9 genesis that take one value, each with its other names.
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

/// The keys of a v0.10 genesis that take one value, each with its other names.
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

pub(super) fn keys(family: Family) -> &'static [(&'static str, &'static [&'static str])] {
    match family {
        Family::V09 => &V09_KEYS,
        Family::V010 => &V010_KEYS,
    }
}

/// The full name of a key that is given by any of its names; `None` where the family has no such key.
pub(super) fn full_name(family: Family, key: &str) -> Option<&'static str> {
    keys(family).iter().find(|(name, others)| *name == key || others.contains(&key)).map(|(name, _)| *name)
}

impl Genesis {
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        let family = self.family();
        if matches!(key, "state_hash" | "app_hash") {
            return refused(format!("{key} is not for typing: it is the hash of a snapshot"), Next::HashSnapshot);
        }
        if key == "validators" {
            return wrong_usage("validators are changed one by one", Next::EditValidators);
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

    /// Sets `alloc`, `activations` or an entry in them; `None` where the key is neither.
    fn set_map(&mut self, key: &str, value: &str) -> Option<Result<(), EditError>> {
        let (map, entry) = key.split_once('.').map_or((key, None), |(map, entry)| (map, Some(entry)));
        let clear_only = || {
            wrong_usage(
                format!("{map} is set entry by entry"),
                format!("{map}= empties it, {map}.NAME=VALUE sets one entry"),
            )
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
    wrong_usage(format!("a genesis of {family} has no key {shown}"), hint)
}

pub(super) fn number(key: &str, value: &str) -> Result<i64, EditError> {
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) => wrong_usage(
            format!("{}={:?} is no whole number of at most 63 bits", escape(key), escape(value)),
            "write plain digits",
        ),
    }
}

fn positive_value(key: &str, value: &str) -> Result<i64, EditError> {
    match number(key, value)? {
        number if number > 0 => Ok(number),
        number => refused(
            format!("{key}={number}, but it must be greater than 0"),
            "kwild would not start on it, or never make a block",
        ),
    }
}

pub(super) fn positive_power(value: &str) -> Result<i64, EditError> {
    match number("power", value)? {
        power if power > 0 => Ok(power),
        power => refused(format!("a power of {power} is no power: it must be at least 1"), Next::RemoveValidator),
    }
}

fn bool_value(key: &str, value: &str) -> Result<bool, EditError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => wrong_usage(
            format!("{key}={:?} is neither true nor false", escape(value)),
            "true: transactions are free; false: they cost gas",
        ),
    }
}

fn set_v09(genesis: &mut v09::Genesis, name: &str, value: &str) -> Result<(), EditError> {
    if name == "genesis_time" {
        v09::check_time(value)
            .or_else(|error| wrong_usage(error.to_string(), "write it as 2026-11-22T10:00:00Z, or as now"))?;
        genesis.genesis_time = value.to_owned();
        return Ok(());
    }
    let params = genesis.consensus_params.get_or_insert_default();
    let into = match name {
        "consensus_params.without_gas_costs" => {
            params.without_gas_costs = bool_value(name, value)?;
            return Ok(());
        }
        "consensus_params.block.abci_max_bytes" => {
            params.block_abci_max_bytes = bool_value(name, value)?;
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
                Err(error) => return wrong_usage(error.to_string(), "v0.9 counts blocks: join_expiry=100800"),
                Ok(_) => number(name, value)?,
            }
        }
        _ => number(name, value)?,
    };
    Ok(())
}

fn set_v010(genesis: &mut v010::Genesis, name: &str, value: &str) -> Result<(), EditError> {
    match name {
        "db_owner" => genesis.db_owner = owner_value(value)?,
        "leader" => {
            let key = value.parse().or_else(|error: KeyError| {
                wrong_usage(format!("leader={:?}: {error}", escape(value)), "write it as leader=HEX#TYPE")
            })?;
            genesis.leader = Some(key);
        }
        "join_expiry" => match Expiry::parse(Family::V010, value) {
            Ok(Expiry::Time(time)) if time.0 > 0 => genesis.join_expiry = time,
            Ok(_) => return refused("join_expiry must be greater than 0", "write a time such as 168h0m0s"),
            Err(error) => return wrong_usage(error.to_string(), "v0.10 wants a time: join_expiry=168h0m0s"),
        },
        "disabled_gas_costs" => genesis.disabled_gas_costs = bool_value(name, value)?,
        "max_block_size" => genesis.max_block_size = positive_value(name, value)?,
        "max_votes_per_tx" => genesis.max_votes_per_tx = positive_value(name, value)?,
        "maa_activation_height" => genesis.maa_activation_height = number(name, value)?,
        "migration.start_height" => genesis.migration_start_height = number(name, value)?,
        _ => genesis.migration_end_height = number(name, value)?,
    }
    Ok(())
}

/// The owner of a typed text as kwild writes users: an address with its checksum, or the hex text of an ed25519 key;
/// other text stays as it is.
fn owner_value(text: &str) -> Result<String, EditError> {
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
                    wrong_usage("db_owner is hex, but neither an ed25519 nor a secp256k1 key", Next::CopyFromKeyInfo)
                })
            }
            // Other signers than Kwil's own may name users as they like.
            Err(_) => Ok(text.to_owned()),
        };
    };
    let address = hex::decode(digits).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
    let Some(address) = address else {
        return wrong_usage("db_owner is no address: 0x and forty hex digits", Next::CopyFromKeyInfo);
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
    let balance = Balance::new(account, if amount.is_empty() { "0" } else { amount })
        .or_else(|error| wrong_usage(error.to_string(), "write the account as alloc.HEX#TYPE=AMOUNT"))?;
    let (id, key_type) = (balance.id.as_str(), balance.key_type);
    let explain = |error: GenesisError| EditError::Refused {
        what: error.to_string(),
        advice: "alloc.0xADDRESS=AMOUNT, or in v0.10 alloc.HEX#TYPE=AMOUNT; an empty amount removes the entry".into(),
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
