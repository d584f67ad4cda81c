use std::{collections::BTreeSet, fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn data(path: &str) -> String {
    fs::read_to_string(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

const V09: &str = "v0.9/worlds/quartet/kwil-admin/genesis.json";
const V09_SOLO: &str = "v0.9/worlds/solo/kwil-admin/genesis.json";
const V010: &str = "v0.10/worlds/quartet/kwild-snapshot/genesis.json";
const V010_SOLO: &str = "v0.10/worlds/solo/kwild-snapshot/genesis.json";
const TRUF_SOLO: &str = "truf/worlds/solo/kwild-snapshot/genesis.json";

fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn plain(text: &str) -> Vec<Finding> {
    lint(text.as_bytes(), &LintOptions::default()).findings
}

/// Code and path of each finding of this level.
fn at(level: Level, findings: &[Finding]) -> Vec<(&'static str, String)> {
    let at = |finding: &Finding| (finding.code, finding.path.clone().unwrap_or_default());
    findings.iter().filter(|finding| finding.level == level).map(at).collect()
}

/// An edit of a recorded genesis, and what must then be found.
type Case = (&'static str, &'static str, &'static str, Level, &'static str, &'static str);

const CASES: &[Case] = &[
    (V010, "{", "{,", Level::Error, "json", "line 1"),
    (V010, "{", "\u{feff}{", Level::Error, "json", "line 1"),
    (V09, "\"chain_id\"", "// the id\n  \"chain_id\"", Level::Error, "json", "line 3"),
    (V010, "\"chain_id\"", "\"app_hash\": null, \"chain_id\"", Level::Error, "unknown-key", "app_hash"),
    (V010, "\"chain_id\"", "\"genesis_time\": null, \"chain_id\"", Level::Error, "unknown-key", "genesis_time"),
    (V010, "\"chain_id\"", "\"chainid\": \"\", \"chain_id\"", Level::Error, "unknown-key", "chainid"),
    (V010, "\"start_height\"", "\"start\": 1, \"start_height\"", Level::Error, "unknown-key", "migration.start"),
    (V010, "\"power\"", "\"name\": \"x\", \"power\"", Level::Warning, "ignored-key", "validators[0].name"),
    (V09, "\"vote_expiry\"", "\"vote_expirey\"", Level::Warning, "ignored-key", "consensus_params.votes.vote_expirey"),
    (V09, "\"vote_expiry\"", "\"vote_expirey\"", Level::Error, "parameter-zero", "consensus_params.votes.vote_expiry"),
    (V010, "\"chain_id\"", "\"Chain_ID\": \"x\", \"chain_id\"", Level::Warning, "duplicate-key", "chain_id"),
    (V010, "\"initial_height\": 0", "\"initial_height\": \"0\"", Level::Error, "wrong-type", "initial_height"),
    (V010, "\"initial_height\": 0", "\"initial_height\": 0.0", Level::Error, "wrong-type", "initial_height"),
    (V09, "\"power\": 1", "\"power\": 9223372036854775808", Level::Error, "wrong-type", "validators[0].power"),
    (V010, "\"pubkey\": \"03", "\"pubkey\": \"0x03", Level::Error, "hex-prefix", "validators[0].pubkey"),
    (V09, "\"pub_key\": \"", "\"pub_key\": \"0x", Level::Error, "hex-prefix", "validators[0].pub_key"),
    (V010, "\"state_hash\": \"", "\"state_hash\": \"0x", Level::Error, "hex-prefix", "state_hash"),
    (V010, "\"key\": \"", "\"key\": \"0x", Level::Error, "hex-prefix", "leader.key"),
    (V010, "\"chain_id\": \"kwil-testnet\"", "\"chain_id\": \"\"", Level::Error, "chain-id", "chain_id"),
    (V010, "kwil-testnet", "kwil-testnet ", Level::Warning, "chain-id", "chain_id"),
    (V09, "2026-11-22T", "2026-13-22T", Level::Error, "genesis-time", "genesis_time"),
    (V09, "\"genesis_time\"", "\"time\"", Level::Error, "genesis-time", "genesis_time"),
    (V09_SOLO, "\"genesis_time\"", "\"time\"", Level::Warning, "genesis-time", "genesis_time"),
    (V09, "\"initial_height\": 1", "\"initial_height\": 0", Level::Note, "initial-height", "initial_height"),
    (V010, "\"initial_height\": 0", "\"initial_height\": -7", Level::Error, "initial-height", "initial_height"),
    (V010, "\"max_block_size\": 6291456", "\"max_block_size\": 0", Level::Error, "parameter-zero", "max_block_size"),
    (
        V010,
        "\"max_block_size\": 6291456",
        "\"max_block_size\": -1",
        Level::Warning,
        "parameter-range",
        "max_block_size",
    ),
    (V09, "6291456", "104857601", Level::Error, "parameter-range", "consensus_params.block.max_bytes"),
    (V09, "6291456", "1000", Level::Error, "evidence-size", "consensus_params.evidence.max_bytes"),
    (V09, "\"consensus_params\"", "\"params\"", Level::Error, "no-consensus-params", "consensus_params"),
    (V09, "\"ed25519\"", "\"rsa\"", Level::Error, "key-types", "consensus_params.validator.pub_key_types"),
    (V09, "\"ed25519\"", "\"secp256k1\"", Level::Warning, "key-types", "consensus_params.validator.pub_key_types"),
    (V010, "\"end_height\": 0", "\"end_height\": 9", Level::Error, "migration", "migration"),
    (
        V09,
        "\"migration\": {}",
        "\"migration\": {\"end_height\": 9}",
        Level::Warning,
        "migration",
        "consensus_params.migration",
    ),
    (V09, "\"validators\"", "\"valid\"", Level::Error, "no-validators", "validators"),
    (V09, "fe98427681f5", "fe98", Level::Error, "validator-key", "validators[0].pub_key"),
    (V010, "\"pubkey\": \"035d", "\"pubkey\": \"03", Level::Error, "validator-key", "validators[0].pubkey"),
    (V010, "\"pubkey\": \"035d", "\"pubkey\": \"zz5d", Level::Error, "validator-key", "validators[0].pubkey"),
    (
        V09,
        "fe98427681f5f144a36e054bbadedfaa54b20c18f1209a06b22c70df1fa46e92",
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        Level::Error,
        "secp256k1",
        "validators[0].pub_key",
    ),
    (V010, "\"power\": 1", "\"power\": 0", Level::Error, "validator-power", "validators[0].power"),
    (V09, "\"power\": 1", "\"power\": -1", Level::Error, "validator-power", "validators[0].power"),
    (V09, "\"power\": 1", "\"power\": 9223372036854775807", Level::Error, "power-sum", "validators"),
    (V010, "\"power\": 1", "\"power\": 9223372036854775807", Level::Warning, "power-sum", "validators"),
    (
        V09,
        "fe98427681f5f144a36e054bbadedfaa54b20c18f1209a06b22c70df1fa46e92",
        "164df638cde0e56af84669b1773adf7c343bd1664aaf150c5c2f775c09878df6",
        Level::Error,
        "validator-twice",
        "validators[1]",
    ),
    (V010, "\"leader\": {", "\"leader\": null, \"Leader\": {", Level::Warning, "duplicate-key", "Leader"),
    (V010, "\"type\": \"secp256k1\"", "\"type\": \"SECP256K1\"", Level::Error, "key-type-text", "validators[0].type"),
    (
        V010,
        "\"type\": \"secp256k1\",\n    \"key\"",
        "\"type\": \"rsa\",\n    \"key\"",
        Level::Error,
        "key-type-text",
        "leader.type",
    ),
    (V010, "\"db_owner\": \"0x", "\"db_owner\": \"", Level::Warning, "owner-form", "db_owner"),
    (
        V010,
        "\"join_expiry\": \"168h0m0s\"",
        "\"join_expiry\": 604800",
        Level::Error,
        "join-expiry-number",
        "join_expiry",
    ),
    (V010, "\"join_expiry\": \"168h0m0s\"", "\"join_expiry\": \"7d\"", Level::Error, "wrong-type", "join_expiry"),
    (
        V09,
        "\"activations\"",
        "\"alloc\": {\"ab\": \"5\"}, \"activations\"",
        Level::Error,
        "alloc-amount-text",
        "alloc.ab",
    ),
    (V09, "\"activations\"", "\"alloc\": {\"ab\": 5}, \"activations\"", Level::Warning, "alloc", "alloc"),
    (V09, "\"activations\"", "\"alloc\": {\"xy\": 5}, \"activations\"", Level::Warning, "alloc-entry", "alloc.xy"),
    (
        V09,
        "\"activations\"",
        "\"alloc\": {\"0xAB\": 5, \"ab\": 6}, \"activations\"",
        Level::Warning,
        "alloc-entry",
        "alloc.ab",
    ),
    (
        V010,
        "\"migration\"",
        "\"alloc\": [{\"id\": \"abcd\", \"key_type\": \"x\", \"amount\": 5}], \"migration\"",
        Level::Error,
        "alloc-entry",
        "alloc[0].key_type",
    ),
    (V09, "\"activations\": null", "\"activations\": {\"halt\": 1}", Level::Error, "fork", "activations.halt"),
    (V09, "\"activations\": null", "\"activations\": {\"halt\": 229}", Level::Warning, "fork", "activations.halt"),
    (V09, "\"activations\": null", "\"activations\": {\"100\": 100}", Level::Warning, "fork", "activations.100"),
    (
        V010,
        "\"max_votes",
        "\"maa_activation_height\": 5, \"max_votes",
        Level::Note,
        "maa-upstream",
        "maa_activation_height",
    ),
    (
        V09,
        "lavSNvr21lO74HF5FMXVDrJJ85aelSfmDRQxsIdAzxY=",
        "95abd236faf6d653bbe0717914c5d50eb249f3969e9527e60d1431b08740cf16",
        Level::Error,
        "app-hash-hex",
        "app_hash",
    ),
    (V010, "58256e86", "5825", Level::Error, "state-hash-length", "state_hash"),
    (
        V010,
        "\"state_hash\"",
        "\"Alloc\": [], \"alloc\": null, \"state_hash\"",
        Level::Warning,
        "duplicate-key",
        "alloc",
    ),
];

#[test]
fn each_fault_has_its_code_and_its_path() {
    for (path, from, to, level, code, wanted) in CASES {
        let findings = plain(&edited(&data(path), from, to));
        assert!(at(*level, &findings).contains(&(code, (*wanted).to_owned())), "{to}: {findings:#?}");
        for finding in &findings {
            assert!(!finding.text.is_empty() && finding.fix.is_some() && find(finding.code).is_some(), "{finding:?}");
        }
    }
}

#[test]
fn what_cannot_be_edited_out_is_found_too() {
    let large = vec![b' '; limits::GENESIS_SIZE_BYTES_MAX + 1];
    assert_eq!(lint(&large, &LintOptions::default()).findings[0].code, "size");
    for text in ["{}", "[]", "5", "{\"a\": 1}"] {
        assert_eq!(at(Level::Error, &plain(text)), [("not-genesis", "genesis".to_owned())], "{text}");
    }
    let trailing = |path: &str| format!("{}\n{{}}", data(path));
    assert_eq!(at(Level::Error, &plain(&trailing(V09))), [("trailing-text", "genesis".to_owned())]);
    assert_eq!(at(Level::Warning, &plain(&trailing(V010)))[0].0, "trailing-text");
    let without = |path: &str, key: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&data(path)).unwrap();
        value.as_object_mut().unwrap().remove(key).unwrap();
        plain(&value.to_string())
    };
    for (path, key, level, code) in [
        (V010, "leader", Level::Error, "no-leader"),
        (V010, "db_owner", Level::Error, "no-owner"),
        (V010, "state_hash", Level::Warning, "no-state-hash"),
        (V09, "app_hash", Level::Warning, "no-state-hash"),
        (V010, "validators", Level::Error, "no-validators"),
        (V010, "join_expiry", Level::Error, "parameter-zero"),
        (V010, "max_votes_per_tx", Level::Error, "parameter-zero"),
        (V010, "chain_id", Level::Error, "chain-id"),
    ] {
        let findings = without(path, key);
        assert!(
            at(level, &findings).iter().any(|(found, at)| (*found, at.as_str()) == (code, key)),
            "{key}: {findings:?}"
        );
    }
    let mut value: serde_json::Value = serde_json::from_str(&data(V010)).unwrap();
    value["leader"] = serde_json::Value::Null;
    assert_eq!(at(Level::Error, &plain(&value.to_string())), [("no-leader", "leader.type".to_owned())]);
    value = serde_json::from_str(&data(V010)).unwrap();
    value["state_hash"] = "WCVuhqGN2xoUdPU2WDXfWvzBTMGyVrBTMjJgvEwV/XE=".into();
    assert_eq!(at(Level::Error, &plain(&value.to_string())), [("state-hash-base64", "state_hash".to_owned())]);
    value = serde_json::from_str(&data(V010)).unwrap();
    value["leader"] = serde_json::json!({
        "type": "ed25519", "key": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"});
    assert_eq!(at(Level::Error, &plain(&value.to_string())), [("leader-not-validator", "leader".to_owned())]);
}

#[test]
fn several_faults_are_told_at_once_and_none_twice() {
    let mut value: serde_json::Value = serde_json::from_str(&data(V010)).unwrap();
    value["initial_height"] = "0".into();
    value["join_expiry"] = 5.into();
    value["extra"] = 1.into();
    value["validators"][1]["power"] = "1".into();
    value["validators"][2]["pubkey"] = "0x00".into();
    let findings = plain(&value.to_string());
    let errors: BTreeSet<(&str, String)> = at(Level::Error, &findings).into_iter().collect();
    let expected = [
        ("hex-prefix", "validators[2].pubkey"),
        ("join-expiry-number", "join_expiry"),
        ("unknown-key", "extra"),
        ("wrong-type", "initial_height"),
        ("wrong-type", "validators[1].power"),
    ];
    assert_eq!(errors, expected.into_iter().map(|(code, path)| (code, path.to_owned())).collect(), "{findings:#?}");
    let mut value: serde_json::Value = serde_json::from_str(&data(V09)).unwrap();
    value["validators"] = serde_json::json!({"a": 1, "b": 2});
    let findings = plain(&value.to_string());
    assert_eq!(at(Level::Error, &findings), [("wrong-type", "validators".to_owned())], "{findings:#?}");
}

#[test]
fn findings_have_an_end_and_keep_their_places() {
    let mut value: serde_json::Value = serde_json::from_str(&data(V010)).unwrap();
    value["validators"][0] = 5.into();
    value["validators"][1]["power"] = 0.into();
    let errors = at(Level::Error, &plain(&value.to_string()));
    assert_eq!(
        errors,
        [("wrong-type", "validators[0]".to_owned()), ("validator-power", "validators[1].power".to_owned())]
    );
    for entry in [serde_json::json!({"power": "1"}), serde_json::json!({"x": 1})] {
        value["validators"] = vec![entry; 20_000].into();
        let findings = plain(&value.to_string());
        assert_eq!((findings.len(), findings.last().unwrap().code), (FINDINGS_MAX + 1, "more"));
    }
    // Thirty-two bytes that are no key.
    let text = edited(&data(V09), "fe98427681f5f144a36e054bbadedfaa54b20c18f1209a06b22c70df1fa46e92", &"02".repeat(32));
    assert_eq!(at(Level::Error, &plain(&text)), [("validator-key", "validators[0].pub_key".to_owned())]);
    assert!(Genesis::parse(text.as_bytes()).unwrap().check().is_err());
}

#[test]
fn a_file_of_the_other_family_is_told() {
    for (path, family) in [(V09, Family::V010), (V010, Family::V09)] {
        let options = LintOptions { family: Some(family), ..LintOptions::default() };
        assert_eq!(lint(data(path).as_bytes(), &options).findings[0].code, "other-family");
    }
    let options = LintOptions { build: Some(Build::Upstream), ..LintOptions::default() };
    assert_eq!(lint(data(V09).as_bytes(), &options).findings[0].code, "other-family");
    let truf = edited(&data(V010), "\"max_votes", "\"maa_activation_height\": 5, \"max_votes");
    assert_eq!(at(Level::Error, &lint(truf.as_bytes(), &options).findings)[0].0, "maa-upstream");
    let options = LintOptions { build: Some(Build::Truf), ..LintOptions::default() };
    assert_eq!(lint(truf.as_bytes(), &options).findings, []);
    for (text, build) in [
        ("0.9.4", Build::V09),
        ("v0.9", Build::V09),
        ("0.10.1", Build::Upstream),
        ("v0.10", Build::Upstream),
        ("main", Build::Upstream),
        ("truf", Build::Truf),
        ("0.10.1-truf", Build::Truf),
    ] {
        assert_eq!(text.parse(), Ok(build));
    }
    for text in ["0.100", "1.0", "", "0.8.1", "0.95"] {
        assert!(text.parse::<Build>().is_err(), "{text}");
    }
}

#[test]
fn a_time_to_come_is_told() {
    let options = |now| LintOptions { now_unix_seconds: Some(now), ..LintOptions::default() };
    let text = edited(&data(V09), "2026-11-22T", "2099-11-22T");
    assert_eq!(lint(text.as_bytes(), &options(1_795_353_682)).findings[0].code, "genesis-time");
    assert_eq!(lint(data(V09).as_bytes(), &options(1_895_353_682)).findings, []);
}

#[test]
fn kwils_own_files_have_no_error() {
    let mut seen = 0;
    for (path, _, _, _, _, _) in CASES {
        let errors = at(Level::Error, &plain(&data(path)));
        assert_eq!(errors, [], "{path}");
        seen += 1;
    }
    for path in ["truf/worlds/quartet/genesis.original.json", "v0.9/worlds/quartet/genesis.original.json", TRUF_SOLO] {
        assert_eq!(at(Level::Error, &plain(&data(path))), [], "{path}");
    }
    assert!(seen > 50);
}

/// What kwild said of each genesis, as it was recorded: lint has an error exactly where it did not start.
#[test]
fn the_verdict_is_that_of_the_real_kwild() {
    let recorded = |fork: &str| -> serde_json::Value {
        serde_json::from_str(&data(&format!("{fork}/accept/cases.json"))).unwrap()
    };
    let (upstream, truf) = (recorded("v0.10"), recorded("truf"));
    let v010: &[(&str, &str, &str)] = &[
        ("00_baseline", "{", "{"),
        ("10_state_hash_base64", "HASH", "V0sO59fRTUDKSXahOx0rmJUV5F4B70Z0sZR/W7yvNPNg"),
        ("10b_state_hash_upper", "HASH", "574B0EE7D14D40CA4976A13B1D2B989515E45E01EF4674B1947F5BBCAF34F360"),
        ("10c_state_hash_short", "HASH", "574b"),
        ("10e_state_hash_absent", "\"state_hash\": \"HASH\",", ""),
        ("13a_genesis_unknown_key", "\"chain_id\"", "\"app_hash\": null, \"chain_id\""),
        (
            "13b_leader_not_validator",
            "\"key\": \"KEY\"",
            "\"key\": \"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"",
        ),
        (
            "13c_alloc_kept",
            "\"migration\"",
            "\"alloc\": [{\"id\": \"0xCFf807f14090941AcD9535a23E03c2C8926C1F04\", \"key_type\": \"secp256k1\", \"amount\": 1000}], \"migration\"",
        ),
        (
            "13e_db_owner_other",
            "\"db_owner\": \"0xCFf807f14090941AcD9535a23E03c2C8926C1F04\"",
            "\"db_owner\": \"0xc89D42189f0450C2b2c3c61f58Ec5d628176A1E7\"",
        ),
        ("13f_no_validators", "\"validators\": [", "\"validators\": null, \"valid\": ["),
        ("13g_power_zero", "\"power\": 1", "\"power\": 0"),
        ("13h_join_expiry_zero", "168h0m0s", "0s"),
        ("13i_max_block_size_absent", "\"max_block_size\": 6291456,", ""),
        ("13j_max_votes_zero", "\"max_votes_per_tx\": 200", "\"max_votes_per_tx\": 0"),
        (
            "13k_alloc_bad_key_type",
            "\"migration\"",
            "\"alloc\": [{\"id\": \"0xCFf807f14090941AcD9535a23E03c2C8926C1F04\", \"key_type\": \"x\", \"amount\": 1000}], \"migration\"",
        ),
        ("13l_validator_bad_type", "\"type\": \"secp256k1\"", "\"type\": \"rsa\""),
        ("13n_migration_half", "\"start_height\": 0", "\"start_height\": 5"),
        ("13o_negative_height", "\"initial_height\": 0", "\"initial_height\": -1"),
        ("13p_trailing_data", "\"max_votes_per_tx\": 200\n}", "\"max_votes_per_tx\": 200\n}\ntext"),
        ("14_initial_height_kept", "\"initial_height\": 0", "\"initial_height\": 76"),
        (
            "20c_db_owner_pubkey",
            "\"db_owner\": \"0xCFf807f14090941AcD9535a23E03c2C8926C1F04\"",
            "\"db_owner\": \"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"",
        ),
        (
            "20d_alloc_big",
            "\"migration\"",
            "\"alloc\": [{\"id\": \"0xc89D42189f0450C2b2c3c61f58Ec5d628176A1E7\", \"key_type\": \"secp256k1\", \"amount\": 123456789012345678901234567890}], \"migration\"",
        ),
        ("20n_genesis_compact", "\n  \"", "\""),
    ];
    let maa: &[(&str, &str, &str)] = &[
        ("31a_maa_set", "\"max_votes", "\"maa_activation_height\": 5, \"max_votes"),
        ("31b_maa_zero", "\"max_votes", "\"maa_activation_height\": 0, \"max_votes"),
        ("31c_maa_null", "\"max_votes", "\"maa_activation_height\": null, \"max_votes"),
        ("31d_maa_negative", "\"max_votes", "\"maa_activation_height\": -1, \"max_votes"),
        ("31e_maa_string", "\"max_votes", "\"maa_activation_height\": \"5\", \"max_votes"),
    ];
    let base = data(V010_SOLO);
    let genesis: serde_json::Value = serde_json::from_str(&base).unwrap();
    let (hash, key) = (genesis["state_hash"].as_str().unwrap(), genesis["leader"]["key"].as_str().unwrap());
    for (cases, recorded, build) in
        [(v010, &upstream, Build::Upstream), (v010, &truf, Build::Truf), (maa, &truf, Build::Truf)]
    {
        for (name, from, to) in cases {
            let Some(result) = recorded[name]["result"].as_str() else { continue };
            let fill = |text: &str| text.replace("HASH", hash).replace("KEY", key);
            let options = LintOptions { build: Some(build), ..LintOptions::default() };
            let findings = lint(edited(&base, &fill(from), &fill(to)).as_bytes(), &options).findings;
            assert_eq!(at(Level::Error, &findings).is_empty(), result == "RUNS", "{name}: {result}: {findings:#?}");
        }
    }
    // An owner of nobody starts, and yet nobody wants it.
    assert_eq!(upstream["13d_db_owner_empty"]["result"], "RUNS");
    let maa = edited(&base, "\"max_votes", "\"maa_activation_height\": 5, \"max_votes");
    let options = LintOptions { build: Some(Build::Upstream), ..LintOptions::default() };
    assert_eq!(truf["41b_truf_maa_on_upstream"]["result"], "INIT FAILS");
    assert_eq!(worst(&lint(maa.as_bytes(), &options).findings), Some(Level::Error));
}

#[test]
fn the_verdict_is_that_of_the_real_kwild_0_9() {
    let results = data("v0.9/genesis-state/results.txt");
    let base = data(V09_SOLO);
    let cases: &[(&str, &str, &str)] = &[
        ("13a", "\"validators\": [", "\"validators\": [], \"valid\": ["),
        ("13b", "\"validators\"", "\"valid\""),
        (
            "13c",
            "\"activations\"",
            "\"alloc\": {\"0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a\": 1000}, \"activations\"",
        ),
        ("14a", "\"initial_height\": 1", "\"initial_height\": 315"),
        ("14b", "\"initial_height\": 1", "\"initial_height\": 0"),
        ("14c", "\"initial_height\": 1", "\"initial_height\": -1"),
        ("14d", "\"chain_id\": \"", "\"chain_id\": \"FIFTY\", \"old\": \""),
        ("14e", "\"chain_id\": \"", "\"chain_id\": \"FIFTYx\", \"old\": \""),
        ("14f", "\"chain_id\": \"", "\"chain_id\": \"\", \"old\": \""),
        ("16a", "\"max_bytes\"", "\"more\": {\"a\": 1}, \"max_bytes\""),
        ("16b", "\"consensus_params\"", "\"old\""),
        ("16c", "\"join_expiry\": 100800", "\"join_expiry\": 0"),
        ("16d", "\"evidence\"", "\"old\""),
        ("16e", "\"pub_key\": \"", "\"pub_key\": \"0x"),
        ("16f", "\"pub_key\": \"9772c0fb", "\"pub_key\": \"9772C0FB"),
        ("16g", "\"power\": 1", "\"power\": 0"),
        ("16h", "\"power\": 1", "\"power\": -1"),
        ("16i", "=\"", "\""),
        ("16j", "\"activations\"", "\"alloc\": {\"ab\": \"5\"}, \"activations\""),
        ("16k", "\"validator-0\"\n    }\n  ]\n}", "\"validator-0\"\n    }\n  ]\n}{}"),
        ("16l", "\n", "\r\n"),
        ("16m", "{", "\u{feff}{"),
        ("16n", "\"genesis_time\"", "\"old\""),
    ];
    for (name, from, to) in cases {
        let entry = results.split("\n## ").find(|part| part.starts_with(&format!("{name} "))).unwrap();
        let ran = entry.lines().find_map(|line| line.strip_prefix("result: ")).unwrap().starts_with("ran");
        let text = edited(&base, from, &to.replace("FIFTY", &"x".repeat(50)));
        let findings = plain(&text);
        assert_eq!(at(Level::Error, &findings).is_empty(), ran, "{name}: {entry}: {findings:#?}");
    }
}

/// Every file that `setup init` was given: what it refused has an error here, and what it took can be read.
#[test]
fn setup_inits_verdict_is_found_again() {
    let mut refused = 0;
    for (fork, build) in [("v0.10", Build::Upstream), ("truf", Build::Truf)] {
        let cases: serde_json::Value = serde_json::from_str(&data(&format!("{fork}/init/cases.json"))).unwrap();
        for (name, case) in cases.as_object().unwrap() {
            let Some(input) = case["genesis_in"].as_str() else { continue };
            let options = LintOptions { build: Some(build), family: Some(Family::V010), ..LintOptions::default() };
            let findings = lint(input.as_bytes(), &options).findings;
            if case["exit"] != 0 {
                assert_eq!(worst(&findings), Some(Level::Error), "{fork} {name}: {}: {findings:#?}", case["stderr"]);
                refused += 1;
            } else {
                // kwild would still check these at start.
                let start = [
                    "chain-id",
                    "state-hash-length",
                    "no-validators",
                    "validator-key",
                    "validator-power",
                    "parameter-zero",
                    "initial-height",
                    "migration",
                    "no-leader",
                    "leader-not-validator",
                    "key-type-text",
                    "no-owner",
                    "alloc-entry",
                    "validator-twice",
                ];
                for (code, path) in at(Level::Error, &findings) {
                    assert!(start.contains(&code), "{fork} {name}: {code} {path}: {findings:#?}");
                }
            }
        }
    }
    assert!(refused > 60, "{refused}");
}

#[test]
fn every_code_is_explained_once_and_tested() {
    let sources = [include_str!("tests.rs"), include_str!("../../../judge/lint/tests.rs")];
    let mut names = BTreeSet::new();
    for code in ALL {
        assert!(names.insert(code.name), "{} twice", code.name);
        let name = format!("\"{}\"", code.name);
        assert!(sources.iter().any(|source| source.contains(&name)), "{} has no test", code.name);
        assert!(code.what.ends_with('.') && code.kwild.ends_with('.'), "{code:?}");
        assert_eq!(find(code.name), Some(*code));
    }
    assert_eq!(find("nonsense"), None);
}

proptest! {
    /// A file that the strict reader takes has no fault of reading, and one that it refuses has one.
    #[test]
    fn lint_and_the_strict_reader_agree(at in any::<prop::sample::Index>(), byte in any::<u8>(), v09 in any::<bool>()) {
        let mut bytes = data(if v09 { V09_SOLO } else { V010_SOLO }).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let linted = lint(&bytes, &LintOptions::default());
        match Genesis::parse(&bytes) {
            Ok(genesis) => {
                let reading = ["json", "not-genesis", "unknown-key", "wrong-type", "hex-prefix", "state-hash-base64", "size",
                    "join-expiry-number", "alloc-amount-text"];
                for (code, path) in super::tests::at(Level::Error, &linted.findings) {
                    prop_assert!(!reading.contains(&code), "{code} {path}");
                }
                if let Err(error) = genesis.check() {
                    prop_assert_eq!(worst(&linted.findings), Some(Level::Error), "{}", error);
                }
            }
            Err(error) => prop_assert_eq!(worst(&linted.findings), Some(Level::Error), "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        lint(&bytes, &LintOptions::default());
    }
}
