//! Lint of a v0.10 genesis, TRUF's too: what kwild's own check refuses, and what it lets pass.

use std::collections::BTreeMap;

use super::{Build, LintOptions, advise_all, codes};
use crate::{
    base::{Finding, text::escape},
    formats::{
        genesis::{Genesis as Either, GenesisError, v010::Genesis},
        key::{KeyError, KeyType, PublicKey, eip55},
    },
};

/// Adds what makes kwild stop at start.
pub(super) fn startup(genesis: &Genesis, found: &mut Vec<Finding>) {
    if !matches!(genesis.state_hash.len(), 0 | 32) {
        let text = format!("{} bytes, but a SHA-256 has 32", genesis.state_hash.len());
        found.push(codes::STATE_HASH_LENGTH.error("state_hash", text));
    }
    let validators = genesis.validators.as_deref().unwrap_or_default();
    if validators.is_empty() {
        found.push(codes::NO_VALIDATORS.error("validators", "there is none"));
    }
    let mut keys = Vec::new();
    for (index, validator) in validators.iter().enumerate() {
        match validator.key(index) {
            Ok(key) => keys.push(key),
            Err(GenesisError::Field { path, what }) => {
                let code = if path.ends_with(".type") { codes::KEY_TYPE_TEXT } else { codes::VALIDATOR_KEY };
                let path = if path.ends_with(".type") { path } else { format!("{path}.pubkey") };
                found.push(code.error(path, what));
            }
            Err(other) => found.push(codes::VALIDATOR_KEY.error(format!("validators[{index}]"), other.to_string())),
        }
        if validator.power <= 0 {
            let text = format!("validator {index} has power {}", validator.power);
            found.push(codes::VALIDATOR_POWER.error(format!("validators[{index}].power"), text));
        }
    }
    for (path, value) in [
        ("max_votes_per_tx", genesis.max_votes_per_tx),
        ("join_expiry", genesis.join_expiry.0),
        ("max_block_size", genesis.max_block_size),
    ] {
        if value == 0 {
            found.push(codes::PARAMETER_ZERO.error(path, "is 0 (a missing key counts as 0)"));
        }
    }
    if (genesis.migration_start_height == 0) != (genesis.migration_end_height == 0) {
        let text = "start_height and end_height must both be 0 or both be set";
        found.push(codes::MIGRATION.error("migration", text));
    }
    match &genesis.leader {
        None => found.push(codes::NO_LEADER.error("leader", "is missing")),
        // A validator that cannot be read may be the leader.
        Some(leader) if keys.len() == validators.len() && !keys.contains(leader) && !keys.is_empty() => {
            found.push(codes::LEADER_NOT_VALIDATOR.error("leader", format!("{leader} is not among the validators")));
        }
        Some(_) => {}
    }
}

/// Adds what kwild lets pass, although it is wrong or will surprise.
pub(super) fn advise(genesis: &Genesis, options: &LintOptions, found: &mut Vec<Finding>) {
    advise_all(&Either::V010(genesis.clone()), found);
    for (path, value) in [
        ("max_votes_per_tx", genesis.max_votes_per_tx),
        ("join_expiry", genesis.join_expiry.0),
        ("max_block_size", genesis.max_block_size),
    ] {
        if value < 0 {
            let text = "is negative: kwild looks for 0 alone and runs with it";
            found.push(codes::PARAMETER_RANGE.warning(path, text));
        }
    }
    if genesis.migration_start_height != 0 && genesis.migration_end_height != 0 {
        let text = "a zero-downtime migration is set, which an offline one has not";
        found.push(codes::MIGRATION.warning("migration", text));
    }
    owner(&genesis.db_owner, found);
    let mut powers = genesis.validators.iter().flatten().map(|validator| validator.power.max(0));
    if powers.try_fold(0_i64, |sum, power| sum.checked_add(power)).is_none() {
        found.push(codes::POWER_SUM.warning("validators", "their power sums up to more than 63 bits hold"));
    }
    allocs(genesis, found);
    if genesis.maa_activation_height != 0 {
        let path = "maa_activation_height";
        match options.build {
            Some(Build::Truf) => {}
            Some(_) => found.push(codes::MAA_UPSTREAM.error(path, "is TRUF's own key: this kwild refuses the file")),
            None => found.push(codes::MAA_UPSTREAM.note(path, "is TRUF's own key: no other build reads this genesis")),
        }
    }
}

fn owner(owner: &str, found: &mut Vec<Finding>) {
    if owner.is_empty() {
        let text = "is empty: the restored owner is replaced by nobody";
        found.push(codes::NO_OWNER.error("db_owner", text));
        return;
    }
    let trouble = match owner.strip_prefix("0x").map(hex::decode) {
        Some(Ok(bytes)) => match <[u8; 20]>::try_from(bytes) {
            Ok(address) if eip55(&address) == owner => return,
            Ok(address) => format!("{} is written {} in kwild's database", escape(owner), eip55(&address)),
            Err(_) => "is no address: 0x and forty digits".to_owned(),
        },
        Some(Err(_)) => "is no address: 0x and forty digits".to_owned(),
        None => match hex::decode(owner) {
            Ok(_) if owner.chars().any(|c| c.is_ascii_uppercase()) => {
                "kwild writes public keys in small letters".to_owned()
            }
            Ok(bytes) if PublicKey::new(KeyType::Ed25519, &bytes).is_ok() => return,
            Ok(bytes) => match PublicKey::new(KeyType::Secp256k1, &bytes) {
                Ok(key) => format!(
                    "kwild names the user of a secp256k1 key by its address, {}",
                    key.user_address().unwrap_or_default()
                ),
                Err(_) => "is neither an address nor a public key".to_owned(),
            },
            Err(_) => "is neither an address nor a public key".to_owned(),
        },
    };
    found.push(codes::OWNER_FORM.warning("db_owner", trouble));
}

fn allocs(genesis: &Genesis, found: &mut Vec<Finding>) {
    let mut accounts = BTreeMap::new();
    for (index, alloc) in genesis.alloc.iter().enumerate() {
        let at = |key: &str| format!("alloc[{index}].{key}");
        if let Err(error) = alloc.key_type.parse::<KeyType>() {
            let error: KeyError = error;
            found.push(codes::ALLOC_ENTRY.error(at("key_type"), format!("{error}; kwild finds it after the restore")));
        }
        if alloc.id.is_empty() {
            found.push(codes::ALLOC_ENTRY.warning(at("id"), "names no account"));
        } else if let Some(first) = accounts.insert((&alloc.id, &alloc.key_type), index) {
            found.push(codes::ALLOC_ENTRY.warning(at("id"), format!("is the account of alloc[{first}] again")));
        }
        match &alloc.amount {
            None => found.push(codes::ALLOC_ENTRY.warning(at("amount"), "is missing")),
            Some(amount) if amount.starts_with('-') => {
                found.push(codes::ALLOC_ENTRY.warning(at("amount"), "is negative"));
            }
            Some(_) => {}
        }
    }
}
