//! Every recorded run of kwil-admin's `setup init`, with this program.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use kwil_formats::formats::Family;
use serde_json::Value;

use super::recordings::{safer, tree};
use crate::common::{GuardedRecording, Party, Run, data, unzip};

/// What becomes of a run here.
enum End {
    /// A root as recorded.
    Same,
    /// As recorded; but here with the genesis that the second word names, since a genesis that pins a snapshot needs it.
    WithSnapshot,
    /// kwil-admin makes a root that harms, or says exit 0 to an error.
    Refused(i32, &'static str),
}

/// Each recorded run by its title; for those that end otherwise, why.
fn end(title: &str) -> End {
    use End::{Refused, Same, WithSnapshot};
    match title {
        // kwild ends on such a root ("snapshot file not provided"): refused; the same with the snapshot is made.
        "only --genesis" | "tilde in the paths" => WithSnapshot,
        // Plain SQL under the name of a gzip file: kwild cannot read it. Here it is compressed.
        "plain .sql as --genesis-state" => Same,
        // The old files stay there, and the old config.toml's mode: nobody knows what such a root is.
        "no flags, second time (existing root)" => Refused(4, "never overwritten"),
        "existing root with other files and an old config.toml" => Refused(4, "never overwritten"),
        // A validator's key that cannot be read is replaced by a new one, without a word.
        "bad key file (garbage text)" => Refused(3, "private_key"),
        "key file with 32 bytes (64 hex digits)" => Refused(3, "64 hex digits"),
        // Ignored without a word.
        "--chain-id together with --genesis" => Refused(2, "--chain-id changes nothing beside --genesis"),
        "positional argument" => Refused(2, "unexpected argument"),
        // Copied as it is; no kwild starts on it.
        "--genesis is not JSON" => Refused(3, "no JSON"),
        // The copy empties the file before it reads it.
        "--genesis is the target itself" => Refused(4, "never overwritten"),
        // These ids are no node ids: kwild ends, after it has restored the snapshot.
        "flags equal to zero values (pex=false, moniker)" => Refused(2, "aaaa@h:1 is not a peer"),
        "--genesis does not exist" => Refused(1, "nope.json"),
        "--genesis-state does not exist" => Refused(1, "nope.sql.gz"),
        "-o and -r together" => Refused(2, "cannot be used with"),
        "root is a file" => Refused(4, "is no directory"),
        "--alloc with a bad amount" => Refused(2, "1e5"),
        "unknown flag" => Refused(2, "--nope"),
        _ => Same,
    }
}

/// The snapshot of the recorded runs; Kwil's had no guard.
fn source() -> Arc<GuardedRecording> {
    GuardedRecording::of(Family::V09, "v0.9/worlds/solo/kwil-admin")
}

/// Puts there what the recorded run found.
fn prepare(party: &Party, title: &str) {
    let source = source();
    party.write("g.json", &source.genesis);
    party.write("s.sql.gz", &source.file);
    party.write("s.sql", &source.text);
    let key = fs::read_to_string(data("v0.9/worlds/quartet/keys/node0.private_key")).unwrap();
    match title {
        "no flags, second time (existing root)" => {
            party.run(&["setup", "init", "--family", "v0.9"]).done();
        }
        "existing root with other files and an old config.toml" => {
            party.write("r6/config.toml", "old");
            party.write("r6/sub/file", "keep\n");
        }
        "bad key file (garbage text)" => party.write("r7/private_key", "g".repeat(128)),
        "key file with 32 bytes (64 hex digits)" => party.write("r8/private_key", &key[..64]),
        "good key file with a final newline, mode 0644" => {
            party.write("r9/private_key", format!("{key}\n"));
            fs::set_permissions(party.path("r9/private_key"), fs::Permissions::from_mode(0o644)).unwrap();
        }
        "root is a file" => party.write("afile", ""),
        "--genesis is the target itself" => party.write("r21/genesis.json", party.read("g.json")),
        _ => {}
    }
}

/// A shell's words, as the recording writes them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().unwrap().extend(chars.next()),
            ' ' => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `kind mode path` of a recorded listing, with the modes that files have here.
fn listing(section: &str) -> Vec<String> {
    let lines = section.split("(mode type size path)\n").nth(1).unwrap_or_default().lines();
    let mut found: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            let (kind, name) = (parts[1], parts.get(3).copied().unwrap_or_default());
            let bits = parts[0].chars().skip(1).fold(0, |bits, c| bits << 1 | u32::from(c != '-'));
            format!("{kind} {:o} {name}", safer(name.rsplit('/').next().unwrap(), kind, bits))
        })
        .collect();
    found.sort_by(|a, b| a.split(' ').nth(2).cmp(&b.split(' ').nth(2)));
    found
}

/// The generated genesis is kwil-admin's, but for what is new in each.
fn default_genesis(party: &Party, path: &str) -> Value {
    let mut ours: Value = serde_json::from_slice(&party.read(path)).unwrap();
    let text = fs::read(data("v0.9/setup-init/default-genesis.json")).unwrap();
    let theirs: Value = serde_json::from_slice(&text).unwrap();
    let seen = ours.clone();
    for key in ["genesis_time", "chain_id", "app_hash"] {
        ours[key] = theirs[key].clone();
    }
    ours["validators"][0]["pub_key"] = theirs["validators"][0]["pub_key"].clone();
    ours.as_object_mut().unwrap().shift_remove("alloc");
    ours["consensus_params"]["without_gas_costs"] = true.into();
    assert_eq!(ours.to_string(), theirs.to_string(), "{path}");
    seen
}

fn init(party: &Party, args: &[String], more: &[&str]) -> Run {
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    party.run(&args)
}

#[test]
fn v09s_recorded_runs() {
    let recording = fs::read_to_string(data("v0.9/setup-init/runs.txt")).unwrap();
    let defaults = fs::read_to_string(data("v0.9/setup-init/default-config.kv")).unwrap();
    let (mut same, mut refused) = (0, 0);
    for section in format!("\n{recording}").split("\n### ").skip(1) {
        let (title, rest) = section.split_once("\n$ kwil-admin ").unwrap();
        let line = rest.lines().next().unwrap();
        let party = Party::new();
        prepare(&party, title);
        let here = party.path("x");
        let here = here.parent().unwrap().to_str().unwrap();
        let args: Vec<String> = words(line).iter().map(|word| word.replace("ROOT", here)).collect();
        let family = ["--family", "v0.9"];
        let before: Vec<String> = tree(&party.path(""));
        let run = match end(title) {
            End::Refused(code, part) => {
                let run = init(&party, &args, &family);
                assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{title}: {run:?}");
                assert!(run.stderr.contains(part), "{title}: {run:?}");
                assert_eq!(tree(&party.path("")), before, "{title}: nothing is changed");
                refused += 1;
                continue;
            }
            End::WithSnapshot => {
                init(&party, &args, &family).failed(4, &["but none is given"]);
                assert_eq!(tree(&party.path("")), before, "{title}: nothing is changed");
                init(&party, &args, &["--family", "v0.9", "-s", "s.sql.gz"])
            }
            End::Same => init(&party, &args, &family),
        };
        assert_eq!(run.code, 0, "{title}: {run:?}");
        let root = match args.iter().position(|arg| arg == "-r" || arg == "-o") {
            Some(at) => args[at + 1].replace("~/", ""),
            None => ".testnet".to_owned(),
        };
        let mut ours = tree(&party.path(&root));
        let mut recorded = listing(section);
        if title == "tilde in the paths" {
            recorded.retain(|line| line.contains("t1"));
            let below = |line: &String| line.replacen("t1/", "", 1).replacen("t1", "", 1);
            recorded = recorded.iter().map(below).collect();
        }
        if matches!(end(title), End::WithSnapshot) {
            ours.retain(|line| !line.ends_with("genesis-state.sql.gz"));
        }
        assert_eq!(ours, recorded, "{title}");

        let config = String::from_utf8(party.read(&format!("{root}/config.toml"))).unwrap();
        let there = party.path(&format!("{root}/genesis-state.sql.gz")).exists();
        let state = if there { "genesis_state = \"genesis-state.sql.gz\"" } else { "genesis_state = \"\"" };
        let lines =
            |text: &str| -> Vec<String> { text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect() };
        // Relative, where kwil-admin names the whole path: so the root can be moved.
        assert_eq!(lines(&config), lines(&defaults.replace("genesis_state = \"\"", state)), "{title}");
        if there {
            assert_eq!(unzip(&party.path(&format!("{root}/genesis-state.sql.gz"))), party.read("s.sql"), "{title}");
        }
        let genesis = format!("{root}/genesis.json");
        if line.contains("-g ") || line.contains("--genesis ") {
            assert_eq!(party.read(&genesis), party.read("g.json"), "{title}: a byte copy");
        } else {
            let made = default_genesis(&party, &genesis);
            match title {
                // kwil-admin leaves it null, and kwild ignores the snapshot without a word.
                "only --genesis-state" => {
                    let pinned = source().renew("SyYFYe/XphNfNRB+Z3UCI8lyx9p+cYRnmBn6+P8bTd4=");
                    assert_eq!(made["app_hash"], pinned, "{title}");
                }
                "--chain-id" => assert_eq!(made["chain_id"], "my-chain"),
                "--gas --alloc" => {
                    let own = made["validators"][0]["pub_key"].as_str().unwrap();
                    let alloc = &made["alloc"];
                    assert_eq!(alloc["0xabcdef0123456789abcdef0123456789abcdef01"].to_string(), "5");
                    let large = &alloc["19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"];
                    assert_eq!(large.to_string(), "1000000000000000000000000000");
                    assert_eq!(alloc[own].to_string(), "10000000000000000000000");
                    assert_eq!(made["consensus_params"]["without_gas_costs"], false);
                }
                _ => assert!(made["chain_id"].as_str().unwrap().starts_with("kwil-chain-"), "{title}"),
            }
        }
        if title == "--output json" {
            assert_eq!(run.result()["family"], "v0.9");
        }
        if title == "good key file with a final newline, mode 0644" {
            assert!(party.read("r9/private_key").ends_with(b"\n") && run.stderr.contains("it is 600 now"), "{run:?}");
        }
        same += 1;
    }
    assert!(same >= 11 && refused >= 14, "{same} {refused}");
}
