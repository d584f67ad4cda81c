//! Lint of a v0.9 genesis: what Kwil's own check and CometBFT's refuse, and what both let pass.

use std::collections::BTreeMap;

use super::{LintOptions, advise_all, codes};
use crate::{
    base::{Finding, text::escape},
    formats::{
        genesis::{
            Genesis as Either,
            v09::{BLOCK_SIZE_BYTES_MAX, ConsensusParams, Genesis, GenesisValidator, TOTAL_POWER_MAX, ZERO_TIME},
        },
        key::{KeyType, PublicKey},
    },
};

/// The index and key of a validator; `None` where its bytes are no key.
pub(super) fn key((index, validator): (usize, &GenesisValidator)) -> Option<(usize, PublicKey)> {
    Some((index, PublicKey::new(KeyType::Ed25519, &validator.pub_key).ok()?))
}

/// Adds what makes kwild stop at start.
pub(super) fn startup(genesis: &Genesis, found: &mut Vec<Finding>) {
    match genesis.app_hash.as_ref().map_or(0, Vec::len) {
        0 | 32 => {}
        48 => found.push(
            codes::APP_HASH_HEX
                .error("app_hash", "48 bytes: the 64 hex digits of a SHA-256 were written where v0.9 wants base64"),
        ),
        size => found.push(codes::STATE_HASH_LENGTH.error("app_hash", format!("{size} bytes, but a SHA-256 has 32"))),
    }
    match &genesis.consensus_params {
        None => found.push(codes::NO_CONSENSUS_PARAMS.error("consensus_params", "missing: kwild panics without it")),
        Some(params) => parameters(params, found),
    }
    if genesis.validators.is_empty() {
        found.push(codes::NO_VALIDATORS.error("validators", "there is none"));
    }
    let mut total: i64 = 0;
    for (index, validator) in genesis.validators.iter().enumerate() {
        let at = |key: &str| format!("validators[{index}].{key}");
        let size = validator.pub_key.len();
        if size == 33 && PublicKey::new(KeyType::Secp256k1, &validator.pub_key).is_ok() {
            let text = format!("the key of validator {index} has 33 bytes: it is secp256k1, which v0.9 has not");
            found.push(codes::SECP256K1.error(at("pub_key"), text));
        } else if size != 32 {
            let text = format!("the key of validator {index} has {size} bytes, ed25519 has 32");
            found.push(codes::VALIDATOR_KEY.error(at("pub_key"), text));
        }
        if validator.power <= 0 {
            let text = format!("validator {index} has power {}", validator.power);
            found.push(codes::VALIDATOR_POWER.error(at("power"), text));
        }
        total = total.saturating_add(validator.power.max(0));
    }
    if total > TOTAL_POWER_MAX {
        found.push(codes::POWER_SUM.error("validators", format!("their power sums up to more than {TOTAL_POWER_MAX}")));
    }
    // kwild starts, but each node takes its own clock and no two agree on the genesis.
    if genesis.genesis_time == ZERO_TIME && genesis.validators.len() > 1 {
        let text = "missing: every node would take its own clock and they could not agree";
        found.push(codes::GENESIS_TIME.error("genesis_time", text));
    }
}

fn parameters(params: &ConsensusParams, found: &mut Vec<Finding>) {
    for (path, value) in [
        ("consensus_params.votes.vote_expiry", params.votes_vote_expiry),
        ("consensus_params.votes.max_votes_per_tx", params.votes_max_votes_per_tx),
        ("consensus_params.validator.join_expiry", params.validator_join_expiry),
        ("consensus_params.evidence.max_age_num_blocks", params.evidence_max_age_num_blocks),
        ("consensus_params.evidence.max_age_duration", params.evidence_max_age_duration),
    ] {
        let code = if value == 0 { codes::PARAMETER_ZERO } else { codes::PARAMETER_RANGE };
        if value <= 0 {
            let text = format!("{value}, but must be greater than 0 (a missing key counts as 0)");
            found.push(code.error(path, text));
        }
    }
    let block = match params.block_max_bytes {
        -1 => Some(BLOCK_SIZE_BYTES_MAX),
        size if size <= 0 || size > BLOCK_SIZE_BYTES_MAX => {
            let code = if size == 0 { codes::PARAMETER_ZERO } else { codes::PARAMETER_RANGE };
            let text = format!("{size}, but must be -1 or between 1 and {BLOCK_SIZE_BYTES_MAX}");
            found.push(code.error("consensus_params.block.max_bytes", text));
            None
        }
        size => Some(size),
    };
    if params.block_max_gas < -1 {
        let text = format!("{}, but must be at least -1", params.block_max_gas);
        found.push(codes::PARAMETER_RANGE.error("consensus_params.block.max_gas", text));
    }
    if let Some(block) = block.filter(|block| !(0..=*block).contains(&params.evidence_max_bytes)) {
        let text = format!("{}, but must lie between 0 and the block's {block}", params.evidence_max_bytes);
        found.push(codes::EVIDENCE_SIZE.error("consensus_params.evidence.max_bytes", text));
    }
    if params.abci_vote_extensions_enable_height < 0 {
        let path = "consensus_params.abci.vote_extensions_enable_height";
        found.push(codes::PARAMETER_RANGE.error(path, "must not be negative"));
    }
    let types = params.validator_pub_key_types.as_deref().unwrap_or_default();
    if types.is_empty() || types.iter().any(|kind| kind != "ed25519" && kind != "secp256k1") {
        found.push(codes::KEY_TYPES.error("consensus_params.validator.pub_key_types", "must be [\"ed25519\"]"));
    }
}

/// Adds what kwild lets pass, although it is wrong or will surprise.
pub(super) fn advise(genesis: &Genesis, options: &LintOptions, found: &mut Vec<Finding>) {
    advise_all(&Either::V09(genesis.clone()), found);
    if genesis.genesis_time == ZERO_TIME {
        if genesis.validators.len() <= 1 {
            let text = "missing: the node takes its own clock, and no second one can ever have the same";
            found.push(codes::GENESIS_TIME.warning("genesis_time", text));
        }
    } else if let (Some(now), Ok(time)) =
        (options.now_unix_seconds, humantime::parse_rfc3339_weak(genesis.genesis_time.trim_end_matches('Z')))
        && let Ok(begin) = time.duration_since(std::time::UNIX_EPOCH)
        && begin.as_secs() > now.saturating_add(60)
    {
        let text = format!("{} is in the future: no block is made before it", escape(&genesis.genesis_time));
        found.push(codes::GENESIS_TIME.warning("genesis_time", text));
    }
    if genesis.initial_height == 0 {
        found.push(codes::INITIAL_HEIGHT.note("initial_height", "0 is read as 1"));
    }
    for (fork, height) in genesis.activations.iter().flatten() {
        let path = format!("activations.{}", escape(fork));
        found.push(if fork != "halt" {
            codes::FORK.warning(path, "kwild 0.9 knows the fork halt and no other")
        } else if *height <= genesis.initial_height.max(1) {
            codes::FORK
                .error(path, format!("the network refuses every transaction from block {height}, its first one, on"))
        } else {
            let text = format!(
                "from block {height} on the network refuses every transaction; was this meant for the old one?"
            );
            codes::FORK.warning(path, text)
        });
    }
    if let Some(params) = &genesis.consensus_params {
        if params.validator_pub_key_types.iter().flatten().any(|kind| kind == "secp256k1") {
            let text = "names secp256k1, but every v0.9 validator is ed25519";
            found.push(codes::KEY_TYPES.warning("consensus_params.validator.pub_key_types", text));
        }
        if params.migration_start_height != 0 || params.migration_end_height != 0 {
            let text = "a zero-downtime migration is set, which an offline one has not";
            found.push(codes::MIGRATION.warning("consensus_params.migration", text));
        }
    }
    for (index, validator) in genesis.validators.iter().enumerate() {
        if validator.pub_key.len() == 32 && key((index, validator)).is_none() {
            let text = format!("the key of validator {index} is no point of its curve: it can sign nothing");
            found.push(codes::VALIDATOR_KEY.error(format!("validators[{index}].pub_key"), text));
        }
    }
    allocs(genesis, found);
}

fn allocs(genesis: &Genesis, found: &mut Vec<Finding>) {
    let mut accounts: BTreeMap<String, &str> = BTreeMap::new();
    for (account, amount) in &genesis.alloc {
        let path = format!("alloc.{}", escape(account));
        let digits = account.strip_prefix("0x").unwrap_or(account);
        if hex::decode(digits).is_err() || digits.is_empty() {
            found.push(codes::ALLOC_ENTRY.warning(&path, "the account is no hex text"));
        }
        if let Some(other) = accounts.insert(digits.to_ascii_lowercase(), account) {
            let text = format!("is the account {} again", escape(other));
            found.push(codes::ALLOC_ENTRY.warning(&path, text));
        }
        match amount {
            None => found.push(codes::ALLOC_ENTRY.warning(&path, "has no amount")),
            Some(amount) if amount.starts_with('-') => {
                found.push(codes::ALLOC_ENTRY.warning(&path, "the amount is negative"));
            }
            Some(_) => {}
        }
    }
}
