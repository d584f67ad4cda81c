//! Names of peers in config.toml. kwild reads them only after it has restored the snapshot, and then ends.

use super::{ConfigError, Key};
use crate::formats::{Family, key::PublicKey};

/// What an entry of such a list must be.
enum Form {
    /// v0.9: `nodeid@host:port`
    V09Address,
    /// v0.9: forty hex digits.
    V09Id,
    /// v0.10: `hex#type@host:port`
    V010Address,
    /// v0.10: `hex#type`
    V010Id,
}

/// Refuses an entry that kwild would refuse.
pub(super) fn check(family: Family, key: &Key, entries: &[String]) -> Result<(), ConfigError> {
    let form = match (family, key.name.as_str()) {
        (Family::V09, "chain.p2p.persistent_peers" | "chain.p2p.seeds") => Form::V09Address,
        (Family::V09, "chain.p2p.whitelist_peers" | "chain.p2p.unconditional_peer_ids") => Form::V09Id,
        (Family::V010, "p2p.bootnodes" | "state_sync.trusted_providers") => Form::V010Address,
        (Family::V010, "p2p.whitelist") => Form::V010Id,
        _ => return Ok(()),
    };
    for entry in entries {
        let fits = match form {
            Form::V09Address => {
                let entry = entry.strip_prefix("tcp://").unwrap_or(entry);
                entry.split_once('@').is_some_and(|(id, address)| is_v09_id(id) && is_address(address))
            }
            Form::V09Id => is_v09_id(entry),
            Form::V010Address => {
                entry.split_once('@').is_some_and(|(id, address)| is_v010_id(id) && is_address(address))
            }
            Form::V010Id => is_v010_id(entry),
        };
        if !fits {
            return Err(ConfigError::Value {
                key: key.name.clone(),
                value: entry.clone(),
                wanted: match form {
                    Form::V09Address => "a peer such as 56475aa75463474c0285df5dbf2bcab73da65135@10.0.0.5:26656",
                    Form::V09Id => "a node id: forty hex digits, without an address",
                    Form::V010Address => "a peer such as 02ab…#secp256k1@10.0.0.5:6600",
                    Form::V010Id => "a node id such as 02ab…#secp256k1, without an address",
                },
            });
        }
    }
    Ok(())
}

fn is_v09_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_v010_id(text: &str) -> bool {
    text.parse::<PublicKey>().is_ok()
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['@', '/', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use crate::formats::Family;

    const ID: &str = "56475aa75463474c0285df5dbf2bcab73da65135";
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";

    #[test]
    fn peers_that_kwild_takes_and_refuses() {
        let (v09, v010) = (Family::V09, Family::V010);
        let good = [
            (v09, "chain.p2p.persistent_peers", format!("{ID}@h:1, tcp://{ID}@[::1]:26656")),
            (v09, "chain.p2p.persistent_peers", String::new()),
            (v09, "chain.p2p.seeds", format!("{ID}@10.0.0.5:26656")),
            (v09, "chain.p2p.whitelist_peers", ID.to_uppercase()),
            (v010, "p2p.bootnodes", format!("{KEY}@10.0.0.5:6600,{KEY}@host.example:1")),
            (v010, "p2p.bootnodes", String::new()),
            (v010, "p2p.whitelist", KEY.to_owned()),
        ];
        for (family, key, text) in good {
            Config::new(family).set(key, &text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        let bad = [
            (v09, "chain.p2p.persistent_peers", format!("{ID}:26656")),
            (v09, "chain.p2p.persistent_peers", format!("{}@h:1", &ID[..39])),
            (v09, "chain.p2p.persistent_peers", format!("{ID}@h:1,")),
            (v09, "chain.p2p.persistent_peers", format!("{KEY}@h:1")),
            (v09, "chain.p2p.unconditional_peer_ids", format!("{ID}@h:1")),
            (v010, "p2p.bootnodes", format!("{ID}@h:1")),
            (v010, "p2p.bootnodes", format!("{KEY}@h")),
            (v010, "p2p.bootnodes", format!("{KEY}@h:0")),
            (v010, "p2p.bootnodes", KEY.to_owned()),
            (v010, "p2p.whitelist", format!("{KEY}@h:1")),
            (v010, "p2p.whitelist", "02ab#secp256k1".to_owned()),
        ];
        for (family, key, text) in bad {
            let error = Config::new(family).set(key, &text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }
}
