//! Lint of a file's JSON keys, and the errors of the strict reader turned into findings.

use std::collections::BTreeSet;

use super::codes;
use crate::{
    base::{
        Finding,
        text::{escape, nearest},
    },
    formats::{
        Family,
        genesis::GenesisError,
        json::{Json, fold},
    },
};

const V09: [&str; 8] = [
    "genesis_time",
    "chain_id",
    "initial_height",
    "app_hash",
    "alloc",
    "activations",
    "consensus_params",
    "validators",
];
const V010: [&str; 13] = [
    "chain_id",
    "initial_height",
    "db_owner",
    "validators",
    "state_hash",
    "alloc",
    "migration",
    "leader",
    "max_block_size",
    "join_expiry",
    "disabled_gas_costs",
    "max_votes_per_tx",
    "maa_activation_height",
];

/// The keys that the object at this path may have, the path without indexes; `None` where names are free.
fn known_keys(family: Family, path: &str) -> Option<&'static [&'static str]> {
    Some(match (family, path) {
        (Family::V09, "") => &V09,
        (Family::V010, "") => &V010,
        (Family::V09, "consensus_params") => {
            &["block", "evidence", "validator", "votes", "abci", "migration", "without_gas_costs"]
        }
        (Family::V09, "consensus_params.block") => &["max_bytes", "max_gas", "abci_max_bytes"],
        (Family::V09, "consensus_params.evidence") => &["max_age_num_blocks", "max_age_duration", "max_bytes"],
        (Family::V09, "consensus_params.validator") => &["pub_key_types", "join_expiry"],
        (Family::V09, "consensus_params.votes") => &["vote_expiry", "max_votes_per_tx"],
        (Family::V09, "consensus_params.abci") => &["vote_extensions_enable_height"],
        (Family::V09, "consensus_params.migration") | (Family::V010, "migration") => &["start_height", "end_height"],
        (Family::V09, "validators") => &["pub_key", "power", "name"],
        (Family::V010, "validators") => &["pubkey", "type", "power"],
        (Family::V010, "leader") => &["type", "key"],
        (Family::V010, "alloc") => &["id", "key_type", "amount"],
        _ => return None,
    })
}

/// Whether kwild refuses an unknown key in the object at this path; else it skips it.
fn is_strict(family: Family, path: &str) -> bool {
    family == Family::V010 && matches!(path, "" | "alloc" | "migration")
}

/// Adds a finding for each key that kwild skips or that stands twice.
pub(super) fn look(family: Family, value: &Json, found: &mut Vec<Finding>) {
    walk_keys(family, value, "", "", found);
}

fn walk_keys(family: Family, value: &Json, plain: &str, path: &str, found: &mut Vec<Finding>) {
    let below = |path: &str, key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Json::Object(entries) => {
            let names = known_keys(family, plain);
            let mut seen = BTreeSet::new();
            for (key, value) in entries {
                // Names that are free are compared to the letter.
                let folded = if names.is_some() { fold(key) } else { key.clone() };
                let shown = below(path, &escape(key));
                if !seen.insert(folded.clone()) {
                    let text = "stands twice: kwild takes the last, other readers may take the first";
                    found.push(codes::DUPLICATE_KEY.warning(&shown, text));
                }
                match names {
                    Some(names) if !names.contains(&folded.as_str()) => {
                        if !is_strict(family, plain) {
                            let near = nearest(&folded, names.iter().copied());
                            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                            let text = format!("kwild skips this key without a word{near}");
                            found.push(codes::IGNORED_KEY.warning(&shown, text));
                        }
                    }
                    _ => walk_keys(family, value, &below(plain, &folded), &shown, found),
                }
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk_keys(family, item, plain, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The finding of an error of the strict reader; `value` is what stands at the fault.
pub(super) fn finding(error: &GenesisError, value: &Json) -> Finding {
    let (path, what) = match error {
        GenesisError::Field { path, what } => (path.as_str(), what.as_str()),
        GenesisError::UnknownField(path) => {
            let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
            let plain = parent.split('[').next().unwrap_or_default();
            let name = path.rsplit('.').next().unwrap_or_default();
            let names = known_keys(Family::V010, plain).unwrap_or_default();
            let near = nearest(&fold(name), names.iter().copied());
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let text = format!("v0.10 knows no such key, and kwild refuses the file{near}");
            return codes::UNKNOWN_KEY.error(escape(path), text);
        }
        other => return codes::WRONG_TYPE.error("genesis", other.to_string()),
    };
    let top = path.split(['.', '[']).next().unwrap_or_default();
    let last = path.rsplit('.').next().unwrap_or_default();
    let text_there = match value {
        Json::String(text) => Some(text.as_str()),
        _ => None,
    };
    let is_hex = matches!(last, "pub_key" | "pubkey" | "key" | "state_hash") || (top, last) == ("alloc", "id");
    let code = match (top, value) {
        ("state_hash", Json::String(text)) if text.len() == 44 && text.ends_with('=') => codes::STATE_HASH_BASE64,
        _ if is_hex && text_there.is_some_and(|text| text.starts_with("0x")) => codes::HEX_PREFIX,
        ("join_expiry", Json::Number(_)) => codes::JOIN_EXPIRY_NUMBER,
        ("alloc", Json::String(_)) if last != "id" && last != "key_type" => codes::ALLOC_AMOUNT_TEXT,
        ("leader", Json::Null) => codes::NO_LEADER,
        ("leader", _) if last == "type" => codes::KEY_TYPE_TEXT,
        ("leader", Json::Object(_)) => match &what {
            what if what.contains("0x") => codes::HEX_PREFIX,
            _ => codes::VALIDATOR_KEY,
        },
        ("genesis_time", _) => codes::GENESIS_TIME,
        ("validators", Json::String(_)) if is_hex => codes::VALIDATOR_KEY,
        _ => codes::WRONG_TYPE,
    };
    code.error(escape(path), what)
}
