use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn text(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases(path: &str) -> serde_json::Value {
    serde_json::from_str(&text(path)).unwrap()
}

fn written(fresh: &Fresh) -> String {
    String::from_utf8(fresh.build().unwrap().to_bytes()).unwrap()
}

fn ed25519(hex: &str) -> PublicKey {
    format!("{hex}#ed25519").parse().unwrap()
}

const NINE: &str = "9772c0fbfa9928cd8de65655124d485f31a6f6690206e3bc521edc05f512d1c8";
const THREE: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

#[test]
fn v09_setup_init_writes_these_bytes() {
    for path in ["v0.9/setup-init/default-genesis.json", "v0.9/setup-init/only-genesis-state.genesis.json"] {
        let recorded = text(path);
        let Genesis::V09(read) = Genesis::parse(recorded.as_bytes()).unwrap() else { panic!() };
        let mut fresh = Fresh::new(Family::V09, &read.chain_id, &read.genesis_time);
        fresh.validator(ed25519(&hex::encode(&read.validators[0].pub_key)));
        assert_eq!(written(&fresh), recorded, "{path}");
    }
}

#[test]
fn v09_setup_genesis_writes_these_bytes() {
    let all = text("v0.9/setup-init/genesis-commands.txt");
    let start = all.find("{\n  \"genesis_time\"").unwrap();
    let end = all[start..].find("\n}\n").unwrap() + start + 2;
    let recorded = &all[start..end];
    let mut fresh = Fresh::new(Family::V09, "demo-1", "2026-11-22T13:21:22.402502902Z");
    let second = "094cb9c1bc2d68103e9fb90da5c94bca2c03c9948645652542c1c9a3c135c2cf";
    for (name, key, power) in [("a", NINE, 1), ("b", second, 2)] {
        fresh
            .validators
            .push(NamedValidator { validator: Validator { key: ed25519(key), power }, name: Some(name.into()) });
    }
    fresh.alloc.push(Balance {
        id: "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a".into(),
        key_type: None,
        amount: "100".into(),
    });
    fresh.gas = true;
    fresh.max_block_size = Some(1_000_000);
    fresh.join_expiry = Some(Expiry::parse(Family::V09, "10").unwrap());
    (fresh.vote_expiry, fresh.max_votes_per_tx) = (Some(20), Some(30));
    fresh.state_hash = Some(Genesis::parse(recorded.as_bytes()).unwrap().state_hash().unwrap());
    assert_eq!(written(&fresh), recorded);
}

#[test]
fn v09_gas_balances_stand_in_the_order_of_their_ids() {
    // setup init --gas --alloc …, recorded.
    let runs = text("v0.9/setup-init/runs.txt");
    let key = "a1b8bf3f1b2b72cd995da184a145bd0ecce881f43cba4109e44cc8c75f88be17";
    let mut fresh = Fresh::new(Family::V09, "kwil-chain-TqGhBbtp", "2026-11-22T13:09:46.886607928Z");
    fresh.validator(ed25519(key));
    fresh.fund_validators();
    for (id, amount) in [
        ("0xabcdef0123456789abcdef0123456789abcdef01", "5"),
        ("19e7e376e7c213b7e7e7e46cc70a5dd086daff2a", "1000000000000000000000000000"),
    ] {
        fresh.alloc.push(Balance { id: id.into(), key_type: None, amount: amount.into() });
    }
    let indented: String = written(&fresh).lines().take(12).map(|line| format!("    {line}\n")).collect();
    assert!(runs.contains(&indented), "{indented}");
}

/// Every genesis that v0.10's or TRUF's own commands made from defaults and flags alone.
#[test]
fn v010_commands_write_these_bytes() {
    let mut seen = 0;
    for fork in ["v0.10", "truf"] {
        for file in ["init", "setup-other"] {
            let all = cases(&format!("{fork}/{file}/cases.json"));
            for (name, case) in all.as_object().unwrap() {
                let args: Vec<&str> =
                    case["args"].as_array().into_iter().flatten().filter_map(|arg| arg.as_str()).collect();
                let (Some(recorded), false) = (case["genesis"].as_str(), args.contains(&"-g")) else { continue };
                if args.is_empty() || case["exit"] != 0 {
                    continue;
                }
                let Genesis::V010(read) = Genesis::parse(recorded.as_bytes()).unwrap() else { panic!() };
                let after = |flag: &str| args.iter().position(|a| *a == flag).map(|at| args[at + 1]);
                let chain_id = after("--chain-id").or_else(|| after("-c")).unwrap_or(V010_CHAIN_ID);
                let mut fresh = Fresh::new(Family::V010, chain_id, "");
                for validator in Genesis::V010(read.clone()).validators().unwrap() {
                    fresh.validators.push(NamedValidator { validator, name: None });
                }
                // Only `setup init` with a leader of its own has an owner that is not the leader: the node's key.
                let other = after("--validator").is_some() && file == "init";
                fresh.db_owner =
                    after("--db-owner").map(str::to_owned).or_else(|| other.then(|| read.db_owner.clone()));
                fresh.max_block_size = after("--max-block-size").map(|n| n.parse().unwrap());
                fresh.max_votes_per_tx = after("--max-votes-per-tx").map(|n| n.parse().unwrap());
                fresh.join_expiry = after("--join-expiry").map(|text| Expiry::parse(Family::V010, text).unwrap());
                fresh.maa_activation_height = after("--maa-activation-height").map_or(0, |text| text.parse().unwrap());
                fresh.state_hash = Genesis::V010(read.clone()).state_hash();
                if let Some(balance) = after("--alloc") {
                    let (id, amount) = balance.rsplit_once(':').unwrap();
                    let (id, key_type) = match id.split_once('#') {
                        Some((id, kind)) => (id, Some(kind.parse().unwrap())),
                        None => (id, None),
                    };
                    fresh.alloc.push(Balance { id: id.into(), key_type, amount: amount.into() });
                }
                if args.contains(&"--with-gas") {
                    if file == "init" { fresh.fund_validators() } else { fresh.gas = true }
                }
                // Kwil writes the id of such an account in place of its key type.
                let broken = |id: &str| format!("\"key_type\": \"{id}\"");
                let mut expected = recorded.to_owned();
                for NamedValidator { validator, .. } in &fresh.validators {
                    let kind = format!("\"key_type\": \"{}\"", validator.key.key_type());
                    expected = expected.replace(&broken(&validator.key.to_hex()), &kind);
                }
                assert_eq!(written(&fresh), expected, "{fork} {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_leader_alone_is_a_validator() {
    let mut fresh = Fresh::new(Family::V010, V010_CHAIN_ID, "");
    fresh.leader = Some(ed25519(THREE));
    let other = cases("v0.10/setup-other/cases.json");
    assert_eq!(written(&fresh), other["genesis_leader_only"]["genesis"].as_str().unwrap());
    fresh.build().unwrap().check().unwrap();
}

#[test]
fn what_no_node_could_take_is_refused() {
    let secp: PublicKey =
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1".parse().unwrap();
    let balance = |id: &str, amount: &str| Balance { id: id.into(), key_type: None, amount: amount.to_owned() };
    type Case<'a> = (Family, &'a dyn Fn(&mut Fresh), &'a str);
    let cases: &[Case<'_>] = &[
        (Family::V09, &|f| f.chain_id = "x".repeat(51), "50 characters"),
        (Family::V010, &|f| f.chain_id.clear(), "must have an id"),
        (Family::V09, &|f| f.genesis_time_rfc3339 = "now".into(), "genesis_time"),
        (Family::V09, &|f| f.validator(secp), "ed25519 only"),
        (Family::V09, &|f| f.leader = Some(secp), "no place for a leader"),
        (Family::V09, &|f| f.db_owner = Some("x".into()), "no place for an owner"),
        (Family::V09, &|f| f.maa_activation_height = 1, "TRUF"),
        (Family::V09, &|f| f.join_expiry = Some(Expiry::Time(GoDuration(1))), "number of blocks"),
        (Family::V09, &|f| f.join_expiry = Some(Expiry::Blocks(0)), "number of blocks"),
        (Family::V010, &|f| f.join_expiry = Some(Expiry::Blocks(5)), "a time"),
        (Family::V010, &|f| f.join_expiry = Some(Expiry::Time(GoDuration(-5))), "greater than 0"),
        (Family::V010, &|f| f.validators.clear(), "must have one"),
        (Family::V010, &|f| f.leader = Some(secp), "not among the validators"),
        (Family::V010, &|f| f.forks = [("halt".into(), 5)].into(), "no place for forks"),
        (Family::V010, &|f| f.vote_expiry = Some(1), "no place"),
        (Family::V010, &|f| f.validators[0].validator.power = 0, "power 0"),
        (Family::V010, &|f| f.validator(ed25519(THREE)), "twice"),
        (Family::V010, &|f| f.max_block_size = Some(0), "max_block_size"),
        (Family::V010, &|f| f.max_votes_per_tx = Some(-1), "max_votes_per_tx"),
        (Family::V010, &|f| f.initial_height = Some(-1), "initial_height"),
        (Family::V010, &|f| f.alloc.push(balance("abcd", "5")), "no account"),
        (Family::V010, &|f| f.alloc.push(balance("0xabcd", "5")), "no account"),
        (Family::V09, &|f| f.alloc.push(balance("abcd", "-5")), "no amount"),
        (Family::V09, &|f| f.alloc.push(balance("abcd", "1e5")), "no amount"),
        (Family::V09, &|f| f.alloc.push(balance("abcd", "")), "no amount"),
        (Family::V09, &|f| f.alloc = vec![balance("ab", "1"), balance("ab", "2")], "twice"),
        (Family::V010, &|f| f.alloc.push(Balance { key_type: Some(KeyType::Ed25519), ..balance("zz", "1") }), "no hex"),
    ];
    for (family, change, part) in cases {
        let mut fresh = Fresh::new(*family, "a-1", "2026-11-22T13:21:22Z");
        fresh.validator(ed25519(THREE));
        fresh.build().unwrap().check().unwrap();
        change(&mut fresh);
        let error = fresh.build().unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(Expiry::parse(Family::V09, "168h").unwrap_err().to_string().contains("number of blocks"));
    assert!(Expiry::parse(Family::V010, "100800").unwrap_err().to_string().contains("168h"));
}

#[test]
fn times_as_go_writes_them() {
    for (nanoseconds, expected) in [
        (0, "2026-11-22T13:21:22Z"),
        (402_502_902, "2026-11-22T13:21:22.402502902Z"),
        (120_000_000, "2026-11-22T13:21:22.12Z"),
        (1, "2026-11-22T13:21:22.000000001Z"),
    ] {
        assert_eq!(go_time(Duration::new(1_795_353_682, nanoseconds)), expected);
        v09::check_time(expected).unwrap();
    }
    assert_eq!(go_time(Duration::from_secs(30)), "1970-01-01T00:00:30Z");
    assert_eq!(go_time(Duration::from_secs(0)), "1970-01-01T00:00:00Z");
    assert!(go_time(Duration::MAX).starts_with("9999-12-31"));
}

#[test]
fn chain_ids_have_kwils_form() {
    use rand::SeedableRng;
    let id = chain_id(&mut rand::rngs::StdRng::seed_from_u64(1));
    let tail = id.strip_prefix("kwil-chain-").unwrap();
    assert!(tail.len() == 8 && tail.starts_with(|c: char| c.is_ascii_lowercase()), "{id}");
    assert!(tail.bytes().all(|c| c.is_ascii_alphanumeric()), "{id}");
}

fn any_key() -> impl Strategy<Value = PublicKey> {
    (any::<bool>(), 1u8..=250).prop_map(|(is_ed25519, seed)| {
        let kind = if is_ed25519 { KeyType::Ed25519 } else { KeyType::Secp256k1 };
        crate::formats::key::PrivateKey::from_seed(kind, &[seed; 32]).unwrap().public()
    })
}

proptest! {
    /// What can be built is what a node reads, and but for one known fault of Kwil's own tool, what it starts on.
    #[test]
    fn what_is_built_is_what_a_node_takes(
        v09 in any::<bool>(),
        chain_id in ".{0,60}",
        keys in proptest::collection::vec((any_key(), 0u64..3), 1..5),
        sizes in any::<[Option<i64>; 3]>(),
        expiry in any::<i64>(),
        amount in "[0-9]{0,30}",
        gas in any::<bool>(),
    ) {
        let family = if v09 { Family::V09 } else { Family::V010 };
        let mut fresh = Fresh::new(family, chain_id, "2026-11-22T13:21:22Z");
        fresh.validators = keys.into_iter().map(|(key, power)| NamedValidator { validator: Validator { key, power }, name: None }).collect();
        (fresh.max_block_size, fresh.max_votes_per_tx) = (sizes[0], sizes[1]);
        fresh.vote_expiry = sizes[2].filter(|_| v09);
        fresh.join_expiry = Some(if v09 { Expiry::Blocks(expiry) } else { Expiry::Time(GoDuration(expiry)) });
        fresh.alloc.push(Balance { id: "abcd".into(), key_type: Some(KeyType::Ed25519), amount });
        fresh.gas = gas;
        if let Ok(genesis) = fresh.build() {
            prop_assert_eq!(&Genesis::parse(&genesis.to_bytes()).unwrap(), &genesis);
            if let Err(error) = genesis.check() {
                let error = error.to_string();
                prop_assert!(error.contains("evidence.max_bytes") || error.contains("block.max_bytes")
                    || error.contains("sums up"), "{}", error);
            }
        }
    }
}
