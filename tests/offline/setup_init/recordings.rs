//! Every recorded run of Kwil's own `setup init`, of three binaries, with this program: the same listing, modes,
//! configuration and genesis, or a named reason why not.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use kwil_formats::formats::Family;
use serde_json::Value;

use crate::common::{GuardedRecording, Party, Process, Run, data, unzip};

/// `kind mode path` of a directory and everything below it, as the recordings list it.
pub(super) fn tree(root: &Path) -> Vec<String> {
    fn walk(path: &Path, root: &Path, found: &mut Vec<String>) {
        let meta = fs::symlink_metadata(path).unwrap();
        let kind = if meta.is_dir() { "d" } else { "f" };
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        found.push(format!("{kind} {:o} {name}", meta.permissions().mode() & 0o7777));
        if meta.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), root, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort_by(|a, b| a.split(' ').nth(2).cmp(&b.split(' ').nth(2)));
    found
}

/// The mode that a file gets here where Kwil gave it `recorded`: keys are private, nothing is for a group to write, and a
/// configuration is no program.
pub(super) fn safer(name: &str, kind: &str, recorded: u32) -> u32 {
    match (kind, name) {
        ("f", "private_key" | "nodekey.json") => 0o600,
        ("f", _) => recorded & !0o133,
        _ => recorded & !0o022,
    }
}

/// Runs the program under a mask.
fn run_under(party: &Party, umask: &str, args: &[&str]) -> Run {
    let program = party.command(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    shell.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(program.get_current_dir().unwrap());
    Process::spawn(shell).finish()
}

/// What Kwil's v0.10 does and this program does not.
enum Other {
    /// Kwil makes a root, and no node starts on it, or one does that nobody wants.
    Refused(i32, &'static str),
    /// Kwil refuses, and there is no need to.
    Done,
}

/// Cases with another end than the recorded one, and why.
fn others() -> BTreeMap<&'static str, Other> {
    use Other::{Done, Refused};
    let unusable = |words| Refused(4, words);
    [
        // Kwil says nothing, and ignores the flag.
        ("genesis_plus_chain_id_flag", Refused(2, "--chain-id changes nothing beside --genesis")),
        ("truf_maa_flag_with_g", Refused(2, "--maa-activation-height changes nothing beside --genesis")),
        // An empty directory holds nothing that could be lost.
        ("existing_empty_dir", Done),
        // Plain SQL is compressed on its way, so that its hash can be pinned.
        ("genesis_state_relative", Done),
        // kwild refuses to start on these.
        ("genesis_state_hash_short", unusable("state_hash")),
        ("genesis_missing_max_block_size", unusable("max_block_size")),
        ("genesis_int_null", unusable("max_block_size")),
        ("genesis_join_expiry_0", unusable("join_expiry")),
        ("genesis_chain_id_empty", unusable("chain_id")),
        ("genesis_validator_unknown_type", unusable("unknown key type rsa")),
        ("genesis_validator_type_upper", unusable("unknown key type SECP256K1")),
        ("genesis_validator_type_absent", unusable("validators[0].type")),
        ("genesis_validator_pubkey_short", unusable("has 2 bytes")),
        ("genesis_validator_pubkey_null", unusable("has 0 bytes")),
        ("genesis_validator_power_absent", unusable("power 0")),
        ("genesis_validator_power_neg", unusable("power -1")),
        ("genesis_no_validators", unusable("validators")),
        ("genesis_validators_empty", unusable("validators")),
        ("genesis_leader_not_validator", unusable("leader")),
        // TRUF's recordings of these two have a validator and a leader of two worlds.
        ("truf genesis_validator_pubkey_upper", unusable("leader")),
        ("truf genesis_leader_key_upper", unusable("leader")),
    ]
    .into()
}

/// The genesis or key file of a case whose recording names it, but does not hold it.
fn input(name: &str, genesis: &str) -> Option<String> {
    let hash = genesis.split("\"state_hash\": \"").nth(1).unwrap().split('"').next().unwrap();
    let pinned = format!("\"state_hash\": \"{hash}\"");
    let with = |from: &str, to: &str| {
        assert!(genesis.contains(from), "{name}: {from}");
        Some(genesis.replace(from, to))
    };
    let leader = || {
        let start = genesis.find("  \"leader\": {").unwrap();
        let end = start + genesis[start..].find("},\n").unwrap() + 3;
        genesis[start..end].to_owned()
    };
    let validators = || {
        let start = genesis.find("  \"validators\": [").unwrap();
        let end = start + genesis[start..].find("],\n").unwrap() + 3;
        genesis[start..end].to_owned()
    };
    let alloc = |amount: &str, kind: &str| {
        let entry = format!("\"id\": \"0xCFf807f14090941AcD9535a23E03c2C8926C1F04\"{kind}, \"amount\": {amount}");
        with("  \"migration\"", &format!("  \"alloc\": [{{{entry}}}],\n  \"migration\""))
    };
    let typed = ", \"key_type\": \"secp256k1\"";
    match name {
        "genesis_unknown_key" => with("{\n", "{\n  \"app_hash\": \"\",\n"),
        "genesis_leader_null" => with(&leader(), "  \"leader\": null,\n"),
        "genesis_leader_absent" => with(&leader(), ""),
        "genesis_state_hash_null" => with(&pinned, "\"state_hash\": null"),
        "genesis_state_hash_upper" => with(hash, &hash.to_uppercase()),
        "genesis_state_hash_0x" => with(hash, &format!("0x{hash}")),
        "genesis_state_hash_base64" => with(hash, "V0sO59FNQMpJdqE7HSuYlRXkXgHvRnSxlH9bvK8082A="),
        "genesis_state_hash_short" => with(hash, "abcd"),
        "genesis_join_expiry_number" => with("\"168h0m0s\"", "604800"),
        "genesis_join_expiry_unit" => with("168h0m0s", "90m"),
        "genesis_missing_max_block_size" => with("  \"max_block_size\": 6291456,\n", ""),
        "genesis_no_validators" => with(&validators(), ""),
        "genesis_empty_object" => Some("{}".to_owned()),
        "genesis_trailing_data" => Some(format!("{genesis}\nmore")),
        "genesis_case_keys" => with("\"chain_id\"", "\"CHAIN_ID\""),
        "genesis_alloc_string" => alloc("\"100\"", typed),
        "genesis_alloc_number" => alloc("100", typed),
        "genesis_alloc_badtype" => alloc("100", ", \"key_type\": \"x\""),
        "genesis_alloc_nokeytype" => alloc("100", ""),
        "genesis_validator_extra_key" => with("\"power\": 1", "\"power\": 1, \"name\": \"x\""),
        "genesis_leader_extra_key" => with("\"leader\": {", "\"leader\": {\"name\": \"x\","),
        "genesis_validator_unknown_type" => {
            with(&validators(), &validators().replace("\"type\": \"secp256k1\"", "\"type\": \"rsa\""))
        }
        "genesis_leader_not_validator" => with(
            &leader(),
            "  \"leader\": {\"type\": \"ed25519\", \"key\": \"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"},\n",
        ),
        "genesis_initial_height" => with("\"initial_height\": 0", "\"initial_height\": 76"),
        "genesis_html_chars" => with("\"chain_id\": \"kwil-testnet\"", "\"chain_id\": \"a<b>&\u{2028}é\""),
        "bad_key_file_hex" => Some("{\"key\":\"zz\",\"type\":\"secp256k1\"}".to_owned()),
        "bad_key_file_text" => Some("hello".to_owned()),
        "bad_key_file_type" => Some(format!("{{\"key\":\"{}1\",\"type\":\"rsa\"}}", "0".repeat(63))),
        "bad_key_file_short" => Some("{\"key\":\"abcd\",\"type\":\"secp256k1\"}".to_owned()),
        _ => None,
    }
}

/// Lines of a configuration but the snapshot's, which is relative here.
fn settings(text: &str) -> (Vec<&str>, Option<&str>) {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (state, rest): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("genesis_state"));
    (rest, state.first().copied())
}

/// The snapshot of the recorded runs; Kwil's had no guard.
fn source(fork: &str) -> Arc<GuardedRecording> {
    GuardedRecording::of(Family::V010, &format!("{fork}/worlds/solo/kwild-snapshot"))
}

struct Case<'a> {
    fork: &'a str,
    name: &'a str,
    recorded: &'a Value,
    party: Party,
}

impl Case<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.recorded[key].as_str()
    }

    /// Puts there what the recorded command found, and gives its arguments.
    fn prepare(&self) -> Vec<String> {
        let source = source(self.fork);
        let genesis = String::from_utf8(source.genesis.clone()).unwrap();
        self.party.write("src/genesis.json", &genesis);
        self.party.write("src/snapshot.sql.gz", &source.file);
        self.party.write("plain.sql", &source.text);
        if let Some(key) = self.text("nodekey") {
            self.party.write("src/nodekey.json", key);
        }
        let given = self.text("genesis_in").map(str::to_owned).or_else(|| input(self.name, &genesis));
        match (given, self.name) {
            (Some(key), name) if name.starts_with("bad_key") => self.party.write("badkey.json", key),
            (Some(text), _) => {
                self.party.write("g.json", &text);
                self.party.write("badgen.json", text);
            }
            (None, "key_file_extra_key_newline") => self.party.write("badkey.json", self.text("nodekey").unwrap()),
            (None, "existing_empty_dir" | "json_output_error") => fs::create_dir(self.root()).unwrap(),
            (None, "existing_root") => self.party.write("root/config.toml", "x"),
            (None, "existing_file_as_root") => self.party.write("root", "x"),
            _ => {}
        }
        if self.name == "json_output_error" {
            self.party.write("root/config.toml", "x");
        }
        let args = self.recorded["args"].as_array().unwrap()[1..].iter().map(|arg| {
            let here = self.party.path(".");
            let here = here.to_str().unwrap().trim_end_matches("/.");
            arg.as_str()
                .unwrap()
                .replace("BASE/worlds/solo", &format!("{here}/src"))
                .replace("CWD", here)
                .replace("SRC", &format!("{here}/src"))
                .replace("ROOT", &format!("{here}/root"))
        });
        let mut args: Vec<String> = args.collect();
        // The recorded key in place of a new one: so the genesis is the recorded one.
        if !args.iter().any(|arg| arg == "-k") && self.text("nodekey").is_some() {
            args.extend(["-k".to_owned(), self.party.path("src/nodekey.json").to_str().unwrap().to_owned()]);
        }
        if self.fork == "truf" {
            args.push("--truf".to_owned());
        }
        args
    }

    fn root(&self) -> PathBuf {
        let Some(args) = self.recorded["args"].as_array() else { return self.party.path("root") };
        let named = args.iter().position(|arg| arg == "-r").and_then(|at| args[at + 1].as_str());
        match named {
            Some("ROOT") => self.party.path("root"),
            Some(path) => self.party.path(path.strip_prefix("CWD/").unwrap()),
            None => self.party.path(".kwild"),
        }
    }

    fn run(&self, args: &[String]) -> Run {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run_under(&self.party, self.text("umask").unwrap_or("022"), &args)
    }

    /// Nothing stands where the root would be but what was there before.
    fn nothing_made(&self) {
        let root = self.root();
        let before = ["existing_root", "json_output_error", "existing_file_as_root"].contains(&self.name);
        assert_eq!(root.exists(), before, "{}", self.name);
        assert!(!root.join("genesis.json").exists() && !root.join("nodekey.json").exists(), "{}", self.name);
        let left = fs::read_dir(self.party.path(".")).unwrap().map(|e| e.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("regenesis-part")), "{}", self.name);
    }

    /// The root is as recorded.
    fn as_recorded(&self, run: &Run) {
        let label = format!("{} {}", self.fork, self.name);
        let root = self.root();
        if let Some(recorded) = self.recorded["tree"].as_array().filter(|_| self.recorded["exit"] == 0) {
            let expected: Vec<String> = recorded
                .iter()
                .map(|line| {
                    let parts: Vec<&str> = line.as_str().unwrap().splitn(4, ' ').collect();
                    let mode = safer(parts[3], parts[0], u32::from_str_radix(parts[1], 8).unwrap());
                    format!("{} {mode:o} {}", parts[0], parts[3])
                })
                .collect();
            let mut ours = tree(&root);
            if !recorded.iter().any(|line| line.as_str().unwrap().ends_with("genesis-state.sql.gz")) {
                // Added by this test, for a genesis that pins it.
                ours.retain(|line| !line.ends_with("genesis-state.sql.gz"));
            }
            assert_eq!(ours, expected, "{label}");
        }
        if let Some(recorded) = self.text("genesis") {
            let ours = fs::read_to_string(root.join("genesis.json")).unwrap();
            // Kwil writes an account's id in place of its key type, and no node can start.
            let validators: Value = serde_json::from_str(recorded).unwrap();
            let key = validators["validators"][0]["pubkey"].as_str().unwrap_or_default();
            let broken = format!("\"key_type\": \"{key}\"");
            let mut expected = recorded.replace(&broken, "\"key_type\": \"secp256k1\"");
            if self.name.starts_with("truf_maa_flag") {
                // The recording does not hold the node's key: the same but for that.
                let new: Value = serde_json::from_str(&ours).unwrap();
                expected = expected.replace(key, new["validators"][0]["pubkey"].as_str().unwrap());
                expected =
                    expected.replace(validators["db_owner"].as_str().unwrap(), new["db_owner"].as_str().unwrap());
            }
            assert_eq!(ours, expected, "{label}");
        }
        if let Some(recorded) = self.text("config") {
            let ours = fs::read_to_string(root.join("config.toml")).unwrap();
            let ((ours, state), (theirs, recorded_state)) = (settings(&ours), settings(recorded));
            assert_eq!(ours, theirs, "{label}");
            if recorded_state.is_some_and(|line| line.contains("genesis-state.sql.gz")) {
                assert_eq!(state, Some("genesis_state = 'genesis-state.sql.gz'"), "{label}");
            }
        }
        let there = root.join("genesis-state.sql.gz");
        if there.exists() {
            let source = self.party.path("src/snapshot.sql.gz");
            assert_eq!(unzip(&there), unzip(&source), "{label}");
            if self.recorded["genesis_state_same_bytes_as_source"] == true
                && !["plain_sql_state", "genesis_state_relative"].contains(&self.name)
            {
                assert_eq!(fs::read(there).unwrap(), fs::read(source).unwrap(), "{label}");
            }
        }
        if self.name == "json_output" {
            assert_eq!(run.result()["root"], root.to_str().unwrap());
        } else {
            assert!(run.stdout.starts_with("root ready: "), "{label}: {run:?}");
        }
    }
}

#[test]
fn v010_and_trufs_recorded_runs() {
    let others = others();
    let (mut same, mut refused, mut pinned) = (0, 0, 0);
    let mut used = std::collections::BTreeSet::new();
    for fork in ["v0.10", "truf"] {
        let cases = fs::read_to_string(data(&format!("{fork}/init/cases.json"))).unwrap();
        let cases: Value = serde_json::from_str(&source(fork).renew(&cases)).unwrap();
        for (name, recorded) in cases.as_object().unwrap() {
            let case = Case { fork, name, recorded, party: Party::new() };
            // Recorded of `setup genesis`; its command has tests of its own.
            if name == "truf_setup_genesis_maa" {
                continue;
            }
            if name == "deep_root_missing_parents" {
                let flags: &[&str] = if fork == "truf" { &["--truf"] } else { &[] };
                case.party.run(&[&["setup", "init", "-r", "a/b/c"], flags].concat()).done();
                let ours: Vec<String> = tree(&case.party.path("a")).into_iter().collect();
                let expected = ["d 755 ", "d 755 b", "d 755 b/c", "f 644 b/c/config.toml", "f 644 b/c/genesis.json"];
                assert_eq!(ours, [&expected[..], &["f 600 b/c/nodekey.json"]].concat());
                same += 1;
                continue;
            }
            let mut args = case.prepare();
            let mut run = case.run(&args);
            let taken = recorded["exit"] == 0;
            if taken && run.code == 4 && run.stderr.contains("but none is given") {
                // kwild would not start on this root: "snapshot file not provided". With the snapshot it is made.
                case.nothing_made();
                args.extend([
                    "--genesis-state".to_owned(),
                    case.party.path("src/snapshot.sql.gz").to_str().unwrap().to_owned(),
                ]);
                run = case.run(&args);
                pinned += 1;
            }
            let of_fork = format!("{fork} {name}");
            let key = if others.contains_key(of_fork.as_str()) { &of_fork } else { name };
            match others.get(key.as_str()) {
                Some(Other::Refused(code, words)) => {
                    assert!(taken, "{name}: Kwil refuses it, too");
                    run.failed(*code, &[words]);
                    case.nothing_made();
                    used.insert(key.clone());
                    refused += 1;
                }
                Some(Other::Done) => {
                    assert!(!taken, "{name}: Kwil takes it, too");
                    assert_eq!(run.code, 0, "{name}: {run:?}");
                    case.as_recorded(&run);
                    used.insert(key.clone());
                    same += 1;
                }
                None if taken => {
                    assert_eq!(run.code, 0, "{fork} {name}: {run:?}");
                    case.as_recorded(&run);
                    same += 1;
                }
                None => {
                    assert!((1..=4).contains(&run.code) && run.stderr.starts_with("error: "), "{fork} {name}: {run:?}");
                    case.nothing_made();
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(used.len(), others.len(), "every exception is one: {used:?}");
    assert!(same > 100 && refused > 100 && pinned > 50, "{same} {refused} {pinned}");
}
