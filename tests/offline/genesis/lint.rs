use std::{fs, io::Write};

use flate2::{Compression, write::GzEncoder};
use kwil_formats::formats::{Family, genesis::lint::ALL};
use serde_json::Value;

use crate::common::{Party, Run, data, unzip};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// Codes by level.
fn codes(run: &Run) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    json["result"]["findings"].as_array().unwrap().iter().map(|f| (text(&f["level"]), text(&f["code"]))).collect()
}

fn found(party: &Party, args: &[&str]) -> (i32, Vec<(String, String)>) {
    let ran = party.run(&[&["genesis", "lint", "--output", "json"], args].concat());
    (ran.code, codes(&ran))
}

fn pair(level: &str, code: &str) -> (String, String) {
    (level.to_owned(), code.to_owned())
}

#[test]
fn recorded_snapshots_have_no_error() {
    let party = Party::new();
    for family in [Family::V09, Family::V010] {
        party.take_recording(family, family.as_str());
        let dir = party.path(family.as_str());
        let snapshot = dir.join(family.snapshot_file_name());
        let ran = party.run(&["genesis", "lint", family.as_str(), "--snapshot", snapshot.to_str().unwrap()]).done();
        assert!(ran.stdout.contains(&format!("ok: a genesis of {family}")), "{}", ran.stdout);
    }
}

#[test]
fn an_error_is_exit_3_with_code_path_and_fix() {
    let party = Party::new();
    party.take_recording(Family::V010, "new");
    let text = String::from_utf8(party.read("new/genesis.json")).unwrap();
    let text = text.replace("\"initial_height\": 0", "\"initial_height\": \"0\"").replace("168h0m0s", "0s");
    party.write("g.json", text.replacen('{', "{\"app_hash\": null,", 1));
    let ran = party.run(&["genesis", "lint", "g.json"]);
    assert_eq!(ran.code, 3);
    for part in [
        "error [unknown-key] app_hash: ",
        "error [wrong-type] initial_height: ",
        "error [parameter-zero] join_expiry: ",
        "  fix: ",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    assert!(ran.stderr.contains("the genesis has 3 errors") && ran.stderr.contains("--explain"), "{}", ran.stderr);
    let json = party.run(&["genesis", "lint", "g.json", "--output", "json"]);
    let value: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &value["result"]["ok"]), (3, &Value::Bool(false)));
    assert!(value["error"].as_str().unwrap().contains("3 errors"));
    assert_eq!(found(&party, &["g.json", "--family", "v0.9"]).1[0], pair("error", "other-family"));
}

#[test]
fn what_does_not_belong_together_is_told() {
    let party = Party::new();
    for family in [Family::V09, Family::V010] {
        party.take_recording(family, family.as_str());
    }
    let (code, findings) = found(&party, &["v0.9", "-s", "v0.10/snapshot.sql.gz"]);
    assert!(code == 3 && findings.contains(&pair("error", "family-mismatch")), "{findings:?}");
    assert!(findings.contains(&pair("error", "snapshot-hash")), "{findings:?}");
    // Pinning the hash of the compressed file.
    let file = party.read("v0.10/snapshot.sql.gz");
    let genesis: Value = serde_json::from_slice(&party.read("v0.10/genesis.json")).unwrap();
    let mut wrong = genesis.clone();
    wrong["state_hash"] = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&file)).into();
    party.write("wrong.json", wrong.to_string());
    let ran = party.run(&["genesis", "lint", "wrong.json", "-s", "v0.10/snapshot.sql.gz"]);
    assert!(ran.code == 3 && ran.stdout.contains("the hash of the compressed file"), "{}", ran.stdout);
}

#[test]
fn bad_snapshot_files_are_told() {
    let party = Party::new();
    party.take_kwils_recording(Family::V09, "old");
    let text = unzip(&party.path("old/kwildb-snapshot.sql.gz"));
    let file = party.read("old/kwildb-snapshot.sql.gz");
    let string = String::from_utf8(text.clone()).unwrap();
    let voters = string.find("COPY kwild_voting.voters").unwrap();
    let row = voters + string[voters..].find('\n').unwrap() + 1;
    let with_voters = format!("{}\\\\x01\t\\\\x02\t1\n{}", &string[..row], &string[row..]);
    let schema = |name: &str| string.replacen("CREATE SCHEMA", &format!("CREATE SCHEMA {name};\nCREATE SCHEMA"), 1);
    for (name, bytes, level, code) in [
        ("a.sql.gz", gzip(with_voters.as_bytes()), "error", "voters-rows"),
        ("b.sql.gz", gzip(schema("kwild_chain").as_bytes()), "error", "private-schema"),
        (
            "c.sql.gz",
            gzip(
                string
                    .replacen("COPY kwild_voting.voters", "CREATE DATABASE x;\nCOPY kwild_voting.voters", 1)
                    .as_bytes(),
            ),
            "error",
            "snapshot-statement",
        ),
        (
            "d.sql.gz",
            gzip(string.replacen("CREATE SCHEMA kwild_voting", "CREATE SCHEMA ds_x", 1).as_bytes()),
            "error",
            "no-voting-schema",
        ),
        ("e.sql.gz", text.clone(), "error", "snapshot-name"),
        ("f.sql", file.clone(), "warning", "snapshot-name"),
        ("g.sql.gz", [&b"\x28\xb5\x2f\xfd"[..], &file].concat(), "error", "snapshot-compression"),
        ("h.sql.gz", file[..file.len() - 40].to_vec(), "error", "snapshot-damaged"),
        ("i.sql.gz", [file.clone(), vec![0; 16]].concat(), "error", "snapshot-damaged"),
        ("j.sql.gz", gzip(format!("\\restrict abc\n{string}").as_bytes()), "note", "restrict"),
        ("k.sql.gz", gzip(&text[..string.trim_end().rfind('\n').unwrap() + 1]), "warning", "no-height-line"),
        ("l.sql.gz", gzip(string.replace('\n', "\r\n").as_bytes()), "error", "snapshot-hash"),
    ] {
        party.write(name, bytes);
        let (_, findings) = found(&party, &["old", "-s", name]);
        assert!(findings.contains(&pair(level, code)), "{name}: {findings:?}");
    }
    let ran = party.run(&["genesis", "lint", "old", "-s", "none.sql.gz"]);
    assert!(ran.code == 1 && ran.stderr.contains("none.sql.gz"), "{ran:?}");
}

#[test]
fn heights_of_a_real_snapshot_are_compared() {
    let party = Party::new();
    party.take_recording(Family::V09, "old");
    party.run(&["genesis", "set", "old", "initial_height=269"]).done();
    let (code, findings) = found(&party, &["old", "-s", "old/kwildb-snapshot.sql.gz"]);
    assert!(code == 3 && findings.contains(&pair("error", "expiry-twice")), "{findings:?}");
    party.take_recording(Family::V010, "new");
    party.run(&["genesis", "set", "new", "initial_height=5"]).done();
    let (code, findings) = found(&party, &["new", "-s", "new/snapshot.sql.gz"]);
    assert!(code == 0 && findings.contains(&pair("warning", "initial-height")), "{findings:?}");
}

#[test]
fn trufs_snapshot_is_known_by_its_tables() {
    let party = Party::new();
    let dir = data("truf/worlds/maa_long/kwild-snapshot");
    let (genesis, snapshot) = (dir.join("genesis.json"), dir.join("snapshot.sql.gz"));
    let (genesis, snapshot) = (genesis.to_str().unwrap(), snapshot.to_str().unwrap());
    let (code, findings) = found(&party, &[genesis, "-s", snapshot]);
    assert!(code == 0 && findings.contains(&pair("note", "maa-lost")), "{findings:?}");
    let (code, findings) = found(&party, &[genesis, "-s", snapshot, "--kwild-version", "0.10.1"]);
    assert!(code == 3 && findings.contains(&pair("error", "truf-snapshot")), "{findings:?}");
    let upstream = data("v0.10/worlds/quartet/kwild-snapshot");
    let (genesis, snapshot) = (upstream.join("genesis.json"), upstream.join("snapshot.sql.gz"));
    let (code, findings) =
        found(&party, &[genesis.to_str().unwrap(), "-s", snapshot.to_str().unwrap(), "--kwild-version", "0.10.1"]);
    assert!(code == 0 && findings.iter().all(|(_, code)| !code.starts_with("truf")), "{findings:?}");
    let ran = party.run(&["genesis", "lint", genesis.to_str().unwrap(), "--kwild-version", "7"]);
    assert!(ran.code == 2 && ran.stderr.contains("truf"), "{ran:?}");
}

#[test]
fn every_code_can_be_explained() {
    let party = Party::new();
    for code in ALL {
        let text = party.run(&["genesis", "lint", "--explain", code.name]).done().stdout;
        for part in [code.name, code.what, "What kwild does: ", "What to do: "] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    party.run(&["genesis", "lint", "--explain", "voter-rows"]).failed(2, &["voter-rows", "did you mean voters-rows?"]);
    party.run(&["genesis", "lint", "--explain", "qqqqqqqq"]).failed(2, &["the codes are ", "app-hash-hex"]);
    let ran = party.run(&["genesis", "lint"]);
    assert!(ran.code == 2 && ran.stderr.contains("GENESIS"), "{ran:?}");
    fs::write(party.path("g.json"), "no json").unwrap();
    assert_eq!(found(&party, &["g.json"]), (3, vec![pair("error", "json")]));
}
