use std::fs;

use kwil_formats::formats::{Family, genesis::Genesis};
use serde_json::Value;

use crate::common::{Party, data, mode, unzip};

const NINE: &str = "9772c0fbfa9928cd8de65655124d485f31a6f6690206e3bc521edc05f512d1c8";
const THREE: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const SOLO: &str = "v0.9/worlds/solo/kwil-admin/kwildb-snapshot.sql.gz";
const SOLO_HASH: &str = "SyYFYe/XphNfNRB+Z3UCI8lyx9p+cYRnmBn6+P8bTd4=";

fn text(path: &str) -> String {
    fs::read_to_string(data(path)).unwrap()
}

/// Kwil's own command lines as they were recorded, with the time they had.
#[test]
fn v09_setup_genesis_is_what_kwil_admin_wrote() {
    let party = Party::new();
    let all = text("v0.9/setup-init/genesis-commands.txt");
    let start = all.find("{\n  \"genesis_time\"").unwrap();
    let recorded = &all[start..start + all[start..].find("\n}\n").unwrap() + 2];
    let line = all.lines().find_map(|line| line.strip_prefix("$ kwil-admin ")).unwrap().trim();
    let solo = data(SOLO);
    let mut args: Vec<&str> =
        line.split(' ').map(|arg| if arg == "s.sql.gz" { solo.to_str().unwrap() } else { arg }).collect();
    args.extend(["--genesis-time", "2026-11-22T13:21:22.402502902Z"]);
    let ran = party.run(&args).done();
    let path = party.path("gen1/genesis.json");
    assert_eq!(ran.stdout, format!("Created genesis.json file at {}\n", path.display()));
    assert_eq!(String::from_utf8(party.read("gen1/genesis.json")).unwrap(), recorded);
    assert_eq!((mode(&path), mode(&party.path("gen1"))), (0o644, 0o755));
    // Kwil's own genesis cannot be started on: its evidence is larger than its blocks.
    assert!(ran.stderr.contains("[evidence-size]"), "{}", ran.stderr);
    party.run(&["setup", "genesis", "--out", "gen1"]).failed(4, &["genesis.json already exists"]);
    assert_eq!(String::from_utf8(party.read("gen1/genesis.json")).unwrap(), recorded);
}

#[test]
fn a_genesis_without_flags_is_v09s() {
    let party = Party::new();
    let said = party.run(&["setup", "genesis", "--out", "a/b", "--output", "json"]).result();
    let path = party.path("a/b/genesis.json");
    assert_eq!(said, Value::String(format!("Created genesis.json file at {}", path.display())));
    let Genesis::V09(genesis) = Genesis::parse(&party.read("a/b/genesis.json")).unwrap() else { panic!() };
    assert!(genesis.chain_id.starts_with("kwil-chain-") && genesis.validators.is_empty());
    assert!(genesis.genesis_time.ends_with('Z'));
    let fork = party.run(&["setup", "genesis", "--fork", "halt:100"]).done();
    // kwil-admin writes the height where the name belongs.
    assert!(String::from_utf8(party.read("genesis.json")).unwrap().contains("\"halt\": 100"), "{fork:?}");
}

/// Kwil's v0.10 and TRUF's own command lines as they were recorded.
#[test]
fn v010_setup_genesis_is_what_kwild_wrote() {
    let mut seen = 0;
    for (fork, file) in [("v0.10", "setup-other"), ("truf", "setup-other"), ("truf", "init")] {
        let cases: Value = serde_json::from_str(&text(&format!("{fork}/{file}/cases.json"))).unwrap();
        for (name, case) in cases.as_object().unwrap() {
            let args: Vec<&str> = case["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if args.get(1..3) != Some(&["setup", "genesis"]) {
                continue;
            }
            let party = Party::new();
            let home = party.path("").to_str().unwrap().trim_end_matches('/').to_owned();
            let place = |text: &str| text.replace("CWD", &home).replace("ROOT", &format!("{home}/root"));
            let mut line: Vec<String> = args[1..].iter().map(|arg| place(arg)).collect();
            if case["exit"] != 0 {
                // Without a flag of v0.10 the family must be said: the same line is good v0.9.
                line.extend(["--family".to_owned(), "v0.10".to_owned()]);
            }
            let ran = party.run(&line.iter().map(String::as_str).collect::<Vec<_>>());
            if case["exit"] != 0 {
                assert_eq!(ran.code, 2, "{fork} {name}: {ran:?}");
                continue;
            }
            assert_eq!(ran.code, 0, "{fork} {name}: {ran:?}");
            if let Some(stdout) = case["stdout"].as_str() {
                assert_eq!(ran.stdout, place(stdout), "{fork} {name}");
            }
            if let Some(recorded) = case["genesis"].as_str() {
                let out = &line[line.iter().position(|arg| arg == "--out").unwrap() + 1];
                assert_eq!(fs::read_to_string(format!("{out}/genesis.json")).unwrap(), recorded, "{fork} {name}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn flags_that_make_no_genesis_are_refused_and_nothing_is_written() {
    let party = Party::new();
    let validator = format!("a:{NINE}:1");
    let typed = format!("{THREE}#ed25519:1");
    let leader = format!("{THREE}#ed25519");
    let secp = "a:0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798:1";
    let long = "x".repeat(51);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--family", "v0.10"], 2, "needs a leader"),
        (&["--validator", &typed], 2, "needs a leader"),
        (&["--leader", &leader, "--fork", "halt:5"], 2, "--fork is v0.9's, --leader is v0.10's"),
        (&["--family", "v0.9", "--leader", &leader], 2, "--leader is no flag for a genesis of v0.9"),
        (&["--family", "v0.10", "--fork", "halt:5"], 2, "--fork is no flag for a genesis of v0.10"),
        (&["--validator", &format!("{NINE}:1")], 2, "NAME:HEX:POWER"),
        (&["--validator", "a:abcd:1"], 2, "2 bytes"),
        (&["--validator", secp], 4, "ed25519 only"),
        (&["--validator", &validator, "--validator", &validator], 2, "twice"),
        (&["--validator", &format!("a:{NINE}:0")], 4, "at least 1"),
        (&["--alloc", "abcd"], 2, "ACCOUNT:AMOUNT"),
        (&["--alloc", "abcd:1e5"], 2, "no amount"),
        (&["--fork", "halt"], 2, "NAME:HEIGHT"),
        (&["--join-expiry", "168h"], 2, "number of blocks"),
        (&["--leader", &leader, "--join-expiry", "100800"], 2, "168h"),
        (&["--max-bytes-per-block", "0"], 2, "greater than 0"),
        (&["--chain-id", &long], 2, "50 characters"),
        (&["--genesis-time", "now"], 2, "genesis_time"),
        (
            &[
                "--leader",
                &leader,
                "--validator",
                &format!("{}:1", "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1"),
            ],
            2,
            "not among the validators",
        ),
        (&["--leader", &leader, "--alloc", "abcd:5"], 2, "no account"),
    ];
    for (args, code, words) in cases {
        party.run(&[&["setup", "genesis", "--out", "out"], *args].concat()).failed(*code, &[words]);
        assert!(!party.path("out").exists(), "{args:?}");
    }
    let snapshot = data(SOLO);
    let ran = party.run(&[
        "setup",
        "genesis",
        "--out",
        "out",
        "--leader",
        &leader,
        "--genesis-state",
        snapshot.to_str().unwrap(),
    ]);
    ran.failed(3, &["the snapshot is of family v0.9"]);
}

#[test]
fn a_hash_is_printed_as_kwils_tools_print_it() {
    let party = Party::new();
    let snapshot = data(SOLO);
    let snapshot = snapshot.to_str().unwrap();
    let ran = party.run(&["setup", "genesis-hash", "-s", snapshot]).done();
    assert_eq!(ran.stdout.lines().next(), Some(format!("App Hash: {SOLO_HASH}").as_str()));
    assert!(ran.stdout.contains("4b260561efd7a6135f35107e67750223c972c7da7e7184679819faf8ff1b4dde"), "{}", ran.stdout);
    party.write("s.sql", unzip(&data(SOLO)));
    let json = party.run(&["setup", "genesis-hash", "s.sql", "--output", "json"]).result();
    assert_eq!((&json["Hash"], &json["genesis_hash"]), (&Value::from(SOLO_HASH), &Value::from(SOLO_HASH)));
    assert_eq!(json["family"], "v0.9");
    // Where Kwil's tool hashes the compressed bytes, ours looks inside.
    party.write("s.renamed", fs::read(data(SOLO)).unwrap());
    let ran = party.run(&["setup", "genesis-hash", "-s", "s.renamed"]).done();
    assert!(ran.stdout.contains(SOLO_HASH) && ran.stderr.contains("rename it"), "{ran:?}");
    let ran = party.run(&["setup", "genesis-hash"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_hash_is_written_into_the_genesis() {
    let party = Party::new();
    for (family, key) in [(Family::V09, "app_hash"), (Family::V010, "state_hash")] {
        let dir = family.as_str();
        party.take_recording(family, dir);
        let wanted = party.read(&format!("{dir}/genesis.json"));
        let (genesis, snapshot) = (format!("{dir}/genesis.json"), format!("{dir}/{}", family.snapshot_file_name()));
        let mut value: Value = serde_json::from_slice(&wanted).unwrap();
        // Missing, empty, and in the other family's form: all are what this command is to mend.
        for hash in [
            Value::Null,
            Value::from(""),
            Value::from("lavSNvr21lO74HF5FMXVDrJJ85aelSfmDRQxsIdAzxY=="),
            Value::from("0xab"),
        ] {
            value[key] = hash;
            party.write(&genesis, value.to_string());
            let ran = party.run(&["setup", "genesis-hash", "-s", &snapshot, "-g", &genesis]).done();
            assert!(ran.stdout.contains("written into "), "{}", ran.stdout);
            assert_eq!(party.read(&genesis), wanted);
        }
        let ran = party.run(&["setup", "genesis-hash", &snapshot, &genesis]).done();
        assert!(ran.stdout.contains("has it already"), "{}", ran.stdout);
    }
    let before = party.read("v0.10/genesis.json");
    party
        .run(&["setup", "genesis-hash", "-s", "v0.9/kwildb-snapshot.sql.gz", "-g", "v0.10/genesis.json"])
        .failed(3, &["the snapshot is of family v0.9"]);
    assert_eq!(party.read("v0.10/genesis.json"), before);
}

#[test]
fn what_is_no_snapshot_has_no_hash() {
    let party = Party::new();
    party.take_recording(Family::V09, "old");
    let text = unzip(&party.path("old/kwildb-snapshot.sql.gz"));
    let file = party.read("old/kwildb-snapshot.sql.gz");
    let before = party.read("old/genesis.json");
    for (name, bytes, words) in [
        ("a.sql.gz", text.clone(), "is no gzip file"),
        ("b.sql.gz", file[..file.len() - 9].to_vec(), "cannot be hashed"),
        ("c.sql.gz", [file.clone(), vec![0; 16]].concat(), "cannot be hashed"),
        ("d.sql", [text.clone(), b"\\! touch pwned\n".to_vec()].concat(), "line"),
        ("e.sql", String::from_utf8(text.clone()).unwrap().replace('\n', "\r\n").into_bytes(), "line 1"),
        ("f.sql", b"hello\n".to_vec(), "what no Kwil dump holds"),
        ("g.sql.zst", b"\x28\xb5\x2f\xfdx".to_vec(), "zstd"),
        ("h.sql", Vec::new(), "is empty"),
    ] {
        party.write(name, bytes);
        party.run(&["setup", "genesis-hash", "-s", name, "-g", "old/genesis.json"]).failed(3, &[words]);
        assert_eq!(party.read("old/genesis.json"), before, "{name}");
    }
    let ran = party.run(&["setup", "genesis-hash", "-s", "none.sql"]);
    assert!(ran.code == 1 && ran.stderr.contains("none.sql"), "{ran:?}");
}
