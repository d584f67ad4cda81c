//! What an operator does about each finding of lint, by the finding's code.

/// What is done about findings of this code: a clause without a full stop.
pub(crate) fn mend(code: &str) -> &'static str {
    match code {
        "size" => "name the genesis file itself (genesis.json), not the snapshot",
        "more" => "mend what is listed, and look again",
        "json" => "correct the line, or take the file again from where it came from, byte for byte",
        "not-genesis" => "name the genesis file; if it is one, say which with --family v0.9 or v0.10",
        "other-family" => "use the genesis of this network: the families' files and states never mix",
        "trailing-text" => "remove what follows the closing brace",
        "unknown-key" => "remove the key; what a tool wants to remember belongs in a file of its own",
        "ignored-key" => "correct the key's spelling, or remove it",
        "duplicate-key" => "keep the one that is meant",
        "wrong-type" => "write the value in the form that `regenesis genesis set` writes",
        "hex-prefix" => "remove the 0x",
        "state-hash-base64" => "write the hash in hex: `regenesis setup genesis-hash -s SNAPSHOT -g GENESIS`",
        "app-hash-hex" => "write the hash in base64: `regenesis setup genesis-hash -s SNAPSHOT -g GENESIS`",
        "state-hash-length" => "write the hash again: `regenesis setup genesis-hash -s SNAPSHOT -g GENESIS`",
        "no-state-hash" => "if the network continues an old one: `regenesis setup genesis-hash -s SNAPSHOT -g GENESIS`",
        "chain-id" => "`regenesis genesis set GENESIS chain_id=NAME`; it must differ from the old network's",
        "genesis-time" => {
            "`regenesis genesis set GENESIS genesis_time=2026-11-22T10:00:00Z`, once, before the file is given out"
        }
        "initial-height" => "v0.9: 1, or the old height + 1; v0.10: 0, or the old height",
        "expiry-twice" => "set initial_height=1, or make the snapshot with `regenesis snapshot create --keep-height`",
        "parameter-zero" => "set it: `regenesis genesis set GENESIS KEY=VALUE`; `genesis show` lists all of them",
        "parameter-range" => "set a value inside the range: `regenesis genesis set GENESIS KEY=VALUE`",
        "evidence-size" => "lower consensus_params.evidence.max_bytes to the size of a block, too",
        "no-consensus-params" => {
            "begin with `regenesis setup genesis --family v0.9`, or with the old network's genesis"
        }
        "key-types" => "write [\"ed25519\"]",
        "migration" => "`regenesis genesis set GENESIS migration.start_height=0 migration.end_height=0`",
        "no-validators" => "`regenesis genesis set GENESIS --add-validator KEY:POWER`",
        "validator-key" => "copy the key from the validator's own `regenesis key info`",
        "secp256k1" => "let the validator make an ed25519 key: `regenesis key gen ed25519`",
        "validator-power" => "`regenesis genesis set GENESIS --set-power KEY:POWER`, or --remove-validator KEY",
        "power-sum" => "use small powers: only their ratio counts",
        "validator-twice" => "keep one entry, with the power that is meant",
        "no-leader" => "`regenesis genesis set GENESIS leader=KEY#TYPE`",
        "leader-not-validator" => "make it one (--add-validator KEY:POWER), or choose another leader (leader=KEY#TYPE)",
        "key-type-text" => "write secp256k1 or ed25519 in small letters",
        "no-owner" => "`regenesis genesis set GENESIS db_owner=0x…` (the old network's owner)",
        "owner-form" => "write it as `regenesis key info` shows it, with its capital letters",
        "join-expiry-number" => "write it as a duration, such as \"168h0m0s\"",
        "alloc-amount-text" => "write the digits without quotes",
        "alloc" => "remove alloc, unless new money is meant: `regenesis genesis set GENESIS alloc=`",
        "alloc-entry" => {
            "correct the entry: key_type secp256k1 or ed25519, account in hex, a whole amount that is not negative"
        }
        "fork" => "remove it from the new network's genesis: `regenesis genesis set GENESIS activations=`",
        "maa-upstream" => "remove it for upstream nodes: `regenesis genesis set GENESIS maa_activation_height=0`",
        "maa-lost" => "if the old network had one: `regenesis genesis set GENESIS maa_activation_height=N`",
        "snapshot-hash" => {
            "fetch genesis and snapshot together from where they came from; never make a second snapshot to compare hashes"
        }
        "snapshot-name" => "rename it, or let `regenesis setup init` store it under the right name",
        "snapshot-compression" => "unpack it and pack it with gzip",
        "snapshot-damaged" => "fetch the snapshot again",
        "snapshot-statement" => {
            "do not start kwild on it; ask the lead for a snapshot made by `regenesis snapshot create`"
        }
        "restrict" => "harmless for this file; `regenesis snapshot create` leaves them out",
        "private-schema" => "ask the lead for a snapshot made by `regenesis snapshot create`",
        "no-voting-schema" => "ask the lead for a snapshot made by `regenesis snapshot create`",
        "voters-rows" => "ask the lead for a snapshot made by `regenesis snapshot create`",
        "no-height-line" => "fetch the snapshot again if it was cut; otherwise accept it",
        "empty-chain" => "check that the right database was dumped",
        "unguarded" => "put the guard around it with `regenesis snapshot guard`; join and setup init take no other",
        "votes" => "put the guard around it with `regenesis snapshot guard`: it leaves that key out",
        "family-mismatch" => "use the genesis that was made with the snapshot",
        "truf-snapshot" => "start it with TRUF's kwild",
        _ => "look at what the finding says",
    }
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::genesis::lint;

    use super::mend;

    #[test]
    fn every_code_of_lint_has_its_own_words() {
        let unknown = mend("no such code");
        for code in lint::ALL {
            let words = mend(code.name);
            assert!(words != unknown && !words.ends_with('.'), "{}: {words}", code.name);
        }
    }
}
