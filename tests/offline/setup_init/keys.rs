//! `key gen` and `key info` beside Kwil's own tools: every recorded command, its output and its files.

use std::{fs, os::unix::fs::PermissionsExt};

use kwil_formats::formats::key::PrivateKey;
use serde_json::Value;

use crate::common::{Party, data, mode};

/// What `key info` says behind Kwil's own lines.
const MORE: [&str; 3] = ["Validator ID: ", "Voter ID: ", "Kwil Peer ID: "];

/// stdout without the lines that only this program has.
fn kwils_lines(stdout: &str) -> String {
    stdout.lines().filter(|line| !MORE.iter().any(|more| line.starts_with(more))).map(|l| format!("{l}\n")).collect()
}

fn kwils_result(stdout: &str) -> String {
    let mut json: Value = serde_json::from_str(stdout).unwrap();
    if let Some(result) = json["result"].as_object_mut() {
        for more in ["validator_id", "voter_id", "peer_id"] {
            result.shift_remove(more).unwrap();
        }
    }
    format!("{}\n", serde_json::to_string_pretty(&json).unwrap())
}

/// The private key that a recorded output of `key gen` shows, as an argument for `key info`.
fn shown_key(stdout: &str) -> Option<(String, Value)> {
    let json: Value = serde_json::from_str(stdout).ok()?;
    let key = json["result"]["private_key_text"].as_str()?;
    Some((format!("{key}#{}", json["result"]["key_type"].as_str()?), json))
}

/// The recorded commands of v0.10 and of TRUF's fork, each run with this program.
#[test]
fn v010_commands_say_and_write_what_kwild_does() {
    let (mut same, mut refused, mut made) = (0, 0, 0);
    for fork in ["v0.10", "truf"] {
        let cases: Value =
            serde_json::from_slice(&fs::read(data(&format!("{fork}/keys/cases.json"))).unwrap()).unwrap();
        let party = Party::new();
        for case in cases.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let recorded = case["stdout"].as_str().unwrap();
            let gen_exists = name.ends_with("keyfile_exists");
            let args: Vec<String> =
                case["args"].as_array().unwrap()[1..].iter().map(|a| a.as_str().unwrap().replace("CWD/", "")).collect();
            let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
            let generates = args[1] == "gen";
            if !generates {
                // The files that the recorded command read.
                for (file, content) in case["files"].as_object().unwrap() {
                    party.write(file, content["bytes"].as_str().unwrap());
                }
            }
            if gen_exists {
                // Safer: a key is not overwritten unless asked for.
                party.run(&args).failed(4, &["a key is not overwritten", "--force"]);
                args.push("--force");
            }
            // v0.10's own command shows every key as its own; here 128 digits without a type are v0.9's.
            let plain_ed25519 = name.starts_with("info_ed_") && name.ends_with("_plain");
            let run = party.run(&args);
            if plain_ed25519 {
                // Kwil refuses it; here it is shown, since nothing else can be meant.
                assert!(run.stdout.contains("Node ID: ") && run.code == 0, "{name}: {run:?}");
                refused += 1;
                continue;
            }
            if case["exit"] != 0 {
                assert!(matches!(run.code, 1..=3) && run.stderr.contains("error: "), "{name}: {run:?}");
                let json = args.contains(&"json");
                assert_eq!(run.stdout.contains("\"result\": null"), json, "{name}: {run:?}");
                refused += 1;
                continue;
            }
            assert_eq!(run.code, 0, "{name}: {run:?}");
            if !generates {
                let ours = if recorded.starts_with('{') { kwils_result(&run.stdout) } else { kwils_lines(&run.stdout) };
                assert_eq!(ours, recorded, "{fork} {name}");
                same += 1;
                continue;
            }
            // Another key, but of the same form; and the recorded key gives the recorded text.
            assert_eq!(run.stdout.lines().count(), recorded.lines().count(), "{name}: {run:?}");
            for (ours, theirs) in run.stdout.lines().zip(recorded.lines()) {
                let label = |line: &str| line.split(": ").next().unwrap().to_owned();
                if theirs.contains(": ") {
                    assert_eq!(label(ours), label(theirs), "{name}");
                }
                assert_eq!(ours.len(), theirs.replace("CWD/", "").len(), "{name}: {ours} {theirs}");
            }
            for (file, content) in case["files"].as_object().unwrap() {
                assert_eq!(mode(&party.path(file)), 0o600, "{name}");
                let ours = String::from_utf8(party.read(file)).unwrap();
                let theirs = content["bytes"].as_str().unwrap();
                let (key, form) = PrivateKey::parse_file(theirs.as_bytes()).unwrap();
                assert_eq!(key.to_file(form.family()).unwrap().as_slice(), theirs.as_bytes());
                assert_eq!(ours.len(), theirs.len(), "{name}");
                PrivateKey::parse_file(ours.as_bytes()).unwrap();
                assert!(!run.stdout.contains(&ours[8..40]), "the key is in a file, and nowhere else");
            }
            if let Some((key, json)) = shown_key(recorded) {
                let info = party.run(&["key", "info", &key, "--output", "json"]);
                assert_eq!(kwils_result(&info.stdout), format!("{}\n", serde_json::to_string_pretty(&json).unwrap()));
            }
            made += 1;
        }
    }
    assert!(same >= 45 && made >= 40 && refused >= 20, "{same} {made} {refused}");
}

/// The recorded vectors of v0.9, every form of `key info`.
#[test]
fn v09_key_info_says_what_kwil_admin_does() {
    let party = Party::new();
    let mut seen = 0;
    for number in 1..=4 {
        let recording = fs::read_to_string(data(&format!("v0.9/keys/vector{number}.txt"))).unwrap();
        let key = recording.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
        party.write("f.key", &key);
        for case in recording.split("\n$ kwil-admin ").skip(1) {
            let (line, rest) = case.split_once('\n').unwrap();
            let expected = rest.split("exit 0").next().unwrap();
            let line = line.replace("<hex>", &key);
            let run = party.run(&line.split(' ').collect::<Vec<_>>());
            let ours = if expected.starts_with('{') { kwils_result(&run.stdout) } else { kwils_lines(&run.stdout) };
            assert_eq!(ours, expected, "{line}");
            assert_eq!(run.stderr.contains("use --key-file"), line.contains(&key), "{}", run.stderr);
            seen += 1;
        }
    }
    assert_eq!(seen, 16);
}

/// v0.9's recorded `key gen`: the same words, other keys; and what else its `key info` was asked.
#[test]
fn v09_key_gen_and_errors() {
    let party = Party::new();
    let recording = fs::read_to_string(data("v0.9/keys/key-gen.txt")).unwrap();
    for case in recording.split("$ kwil-admin ").skip(1) {
        let (line, rest) = case.split_once('\n').unwrap();
        let expected = rest.split("\nexit 0").next().unwrap();
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["--family", "v0.9"]);
        if line.ends_with("new1.key") && party.path("new1.key").exists() {
            // Safer: a key is not overwritten unless asked for.
            party.run(&args).failed(4, &["new1.key exists"]);
            args.push("--force");
        }
        let run = party.run(&args).done();
        let shape = |text: &str| -> Vec<(String, usize)> {
            text.trim_end().lines().map(|l| (l.split(": ").next().unwrap().to_owned(), l.len())).collect()
        };
        let (mut ours, mut theirs) = (shape(&run.stdout), shape(expected));
        if line == "key gen --raw" {
            // The key is all there is.
            ours[0].0.clear();
            theirs[0].0.clear();
        }
        let hidden = |lines: Vec<(String, usize)>| -> Vec<(String, usize)> {
            lines
                .into_iter()
                .map(|(label, length)| (if label.contains("\"result") { "result".into() } else { label }, length))
                .collect()
        };
        assert_eq!(hidden(ours), hidden(theirs), "{line}");
    }
    for name in ["new1.key", "new2.key", "new3.key"] {
        assert_eq!((mode(&party.path(name)), party.read(name).len()), (0o600, 128), "{name}");
    }
    // The recorded file and what was read from it.
    let held = recording.split("new1.key holds: ").nth(1).unwrap().trim();
    party.write("nl.key", format!("{held}\n"));
    let shown = party.run(&["key", "info", "-o", "nl.key"]).done().stdout;
    assert!(shown.starts_with(&format!("Private key (hex): {held}\nPrivate key (base64): ")), "{shown}");

    party.write("bad.key", "g".repeat(128));
    let vector = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let public = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    let both = format!("{vector}{public}");
    // Recorded errors: kwil-admin ends some with a panic, some with exit 0; the words are ours.
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        let run = party.run(&[&["key", "info"], args].concat());
        run.failed(code, words);
        assert!(!run.stderr.contains(&vector[..20]) && !run.stderr.contains(&public[..20]), "{}", run.stderr);
    };
    refused(&[], 2, &["no key is given", "--key-file"]);
    refused(&["abcd"], 2, &["4 hex digits"]);
    refused(&["zz"], 2, &["not hex digits"]);
    refused(&[vector, "--family", "v0.9"], 3, &["v0.9 knows ed25519 only"]);
    refused(&[&both, &both], 2, &["2 keys are given"]);
    refused(&["-o", "nofile"], 1, &["cannot read the key file nofile"]);
    refused(&["-o", "bad.key"], 3, &["bad.key holds no key"]);
    refused(&[&format!("0x{both}")], 2, &["0x in front"]);
    refused(&[&format!("{vector}{vector}")], 2, &["does not belong to its seed"]);
    party.write("other.json", format!("{{\"key\":\"{vector}\",\"type\":\"secp256k1\"}}"));
    refused(&[&both, "-o", "other.json"], 2, &["not the same"]);
    assert_eq!(
        party.run(&["key", "info", &both.to_uppercase()]).done().stdout.lines().next().unwrap(),
        format!("Private key (hex): {both}")
    );
    // A validator that moves on to v0.10 takes its key along.
    party.write("old.key", &both);
    let moved = party.run(&["key", "info", "-o", "old.key", "--family", "v0.10", "--output", "json"]).result();
    assert_eq!(moved["node_id"], format!("{public}#ed25519"));
    assert_eq!(moved["validator_id"], format!("{public}#ed25519"));
    assert_eq!(moved["voter_id"], "9da50814-9593-5865-9ccc-85b799d7220d");
    assert!(moved["peer_id"].as_str().unwrap().starts_with("12D3KooW"));
}

#[test]
fn a_key_file_is_written_privately_or_not_at_all() {
    let party = Party::new();
    fs::create_dir(party.path("dir")).unwrap();
    party
        .run(&["key", "gen", "-o", "none/such/k"])
        .failed(1, &["cannot write none/such/k", "a directory that is there"]);
    party.run(&["key", "gen", "-o", "dir", "--force"]).failed(1, &["dir"]);
    party.run(&["key", "gen", "secp256k1", "--family", "v0.9", "-o", "k"]).failed(3, &["v0.9 knows ed25519 only"]);
    party.run(&["key", "gen", "rsa", "-o", "k"]);
    assert!(!party.path("k").exists());
    // Under a mask that lets everything through, and over a file that everybody could read.
    party.write("open", "old");
    fs::set_permissions(party.path("open"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" key gen -o open --force", env!("CARGO_BIN_EXE_regenesis")]);
    command.current_dir(party.path("."));
    assert!(command.output().unwrap().status.success());
    assert_eq!(mode(&party.path("open")), 0o600);
    assert!(party.read("open").starts_with(b"{\"key\":\""));
}

#[test]
fn a_file_that_is_given_as_a_key_is_called_one() {
    let party = Party::new();
    party.run(&["key", "gen", "ed25519", "-o", "lead.key"]).done();
    let run = party.run(&["key", "info", "lead.key"]);
    run.failed(2, &["lead.key is a file, not a key", "--key-file lead.key"]);
    assert!(!run.stderr.contains("warning"), "nothing secret was on the command line: {run:?}");
}
