//! Takes two genesis files and gives the values in which they differ; gives a genesis' parameters as paths and values, and
//! what a new network's genesis has otherwise than the old network.

use std::fmt;

use serde::Serialize;

use super::{Genesis, GenesisError, GenesisOptions, NetworkState, Sha256Hash, Validator};
use crate::formats::json::Json;

/// One value that two genesis files do not share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it stands, such as `consensus_params.block.max_bytes`.
    pub path: String,
    /// The value in the one genesis, as JSON; empty where it is missing.
    pub value: String,
    /// The value in the other genesis, as JSON; empty where it is missing.
    pub other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        write!(f, "{} {} (Kwil's template: {})", self.path, shown(&self.value), shown(&self.other))
    }
}

/// One value that a new network's genesis has otherwise than the old network had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is: a value's place, such as `consensus_params.block.max_bytes`, or `validator KEY`.
    pub path: String,
    /// The old network's value; empty where it had none.
    pub old: String,
    /// The new genesis' value; empty where it has none.
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        write!(f, "{}: {} in the old network, {} in the new genesis", self.path, shown(&self.old), shown(&self.new))
    }
}

impl Genesis {
    /// What this genesis of a new network has otherwise than the old network, whose state is given: validators with their
    /// power, owner, leader and parameters. What names and begins the new network is no change.
    ///
    /// # Errors
    /// When the state is of another family, or no genesis follows from it.
    pub fn changes(&self, old: &NetworkState) -> Result<Vec<Change>, GenesisError> {
        const OWN: [&str; 6] = ["genesis_time", "chain_id", "initial_height", "app_hash", "state_hash", "validators"];
        let options = GenesisOptions {
            chain_id: self.chain_id().to_owned(),
            genesis_time_rfc3339: "2024-01-01T00:00:00Z".to_owned(),
            keep_height: false,
            template: false,
        };
        let carried = Genesis::for_snapshot(old, Sha256Hash::from_bytes([0; 32]), &options)?;
        let (before, after) = (carried.validators()?, self.validators()?);
        let power = |list: &[Validator], validator: &Validator| {
            list.iter()
                .find(|one| one.key == validator.key)
                .map_or_else(String::new, |one| format!("power {}", one.power))
        };
        let new_ones = after.iter().filter(|validator| before.iter().all(|one| one.key != validator.key));
        let validators = before.iter().chain(new_ones).map(|validator| Change {
            path: format!("validator {}", validator.key),
            old: power(&before, validator),
            new: power(&after, validator),
        });
        let values = self.differences(&carried).into_iter().filter(|difference| {
            let top = difference.path.split('.').next().unwrap_or_default();
            !OWN.contains(&top)
        });
        let values = values.map(|Difference { path, value, other }| Change { path, old: other, new: value });
        Ok(validators.filter(|change| change.old != change.new).chain(values).collect())
    }

    /// Every value in which this genesis differs from another of its family, in the file's order.
    pub fn differences(&self, other: &Genesis) -> Vec<Difference> {
        let (ours, theirs) = (self.values(), other.values());
        let find = |list: &[(String, String)], path: &str| {
            list.iter().find(|(p, _)| p == path).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let missing = theirs.iter().filter(|(path, _)| ours.iter().all(|(p, _)| p != path));
        ours.iter()
            .chain(missing)
            .map(|(path, _)| Difference { path: path.clone(), value: find(&ours, path), other: find(&theirs, path) })
            .filter(|difference| difference.value != difference.other)
            .collect()
    }

    /// The paths and values (as JSON) of the network's parameters: of everything but what names and begins the network,
    /// its owner, leader, validators, balances and forks.
    pub fn parameters(&self) -> Vec<(String, String)> {
        const OTHERS: [&str; 9] = [
            "genesis_time",
            "chain_id",
            "initial_height",
            "app_hash",
            "state_hash",
            "db_owner",
            "activations",
            "validators",
            "alloc",
        ];
        let top = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        let all = self.values().into_iter();
        let parameters = all.filter(|(path, _)| !OTHERS.contains(&top(path).as_str()) && top(path) != "leader");
        // A list of one is called by its own name.
        parameters.map(|(path, value)| (path.trim_end_matches(".0").to_owned(), value)).collect()
    }

    /// The paths and values (as JSON) of everything that is neither object nor array.
    fn values(&self) -> Vec<(String, String)> {
        let json = match self {
            Genesis::V09(genesis) => genesis.to_json(),
            Genesis::V010(genesis) => genesis.to_json(),
        };
        let mut values = Vec::new();
        collect_leaves("", &json, &mut values);
        values
    }
}

fn collect_leaves(path: &str, json: &Json, values: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match json {
        Json::Object(entries) => entries.iter().for_each(|(key, value)| collect_leaves(&below(key), value, values)),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| collect_leaves(&below(&i.to_string()), item, values));
        }
        value => {
            let text = String::from_utf8_lossy(&value.to_pretty()).trim().to_owned();
            values.push((path.to_owned(), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(path: &str) -> Genesis {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path);
        Genesis::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn only_what_differs_is_named() {
        for path in ["v0.9/worlds/solo/kwil-admin/genesis.json", "v0.10/worlds/solo/kwild-snapshot/genesis.json"] {
            let genesis = recorded(path);
            assert_eq!(genesis.differences(&genesis), []);
            let mut other = genesis.clone();
            other.set_chain_id("another");
            let differences = genesis.differences(&other);
            assert_eq!(differences.len(), 1, "{differences:?}");
            assert_eq!((differences[0].path.as_str(), differences[0].other.as_str()), ("chain_id", "\"another\""));
        }
    }

    #[test]
    fn paths_lead_into_objects_and_what_only_one_has_is_named() {
        let genesis = recorded("v0.9/worlds/solo/kwil-admin/genesis.json");
        let Genesis::V09(mut inner) = genesis.clone() else { panic!("family") };
        inner.consensus_params.as_mut().unwrap().block_max_bytes += 1;
        inner.validators.clear();
        let differences = genesis.differences(&Genesis::V09(inner));
        let paths: Vec<&str> = differences.iter().map(|d| d.path.as_str()).collect();
        assert!(paths.contains(&"consensus_params.block.max_bytes"), "{paths:?}");
        assert!(paths.iter().any(|p| p.starts_with("validators.0")), "{paths:?}");
    }
}
