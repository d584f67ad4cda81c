use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::{value::keys, *};
use crate::base::Kind;

fn genesis(path: &str) -> Genesis {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path);
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
    genesis.edit(&edits(texts)).unwrap_or_else(|e| panic!("{texts:?}: {e}")).iter().map(ToString::to_string).collect()
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
        assert!(error.advice().is_some(), "{texts:?}");
        assert_eq!(edited, *genesis, "{texts:?}");
    }
    let error = v010().edit(&edits(&["max_blok_size=5"])).unwrap_err();
    assert_eq!(Error::from(error).advice(), Some(&"did you mean max_block_size?".into()));
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
