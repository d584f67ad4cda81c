//! The demo as it is run by people: real processes, a real Postgres, four roots, and nothing left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use kwil_formats::formats::config::PeerSettings;
use regenesis::manifest::SignedManifest;
use serde_json::Value;

struct Shown {
    result: Value,
    /// What it told on stderr.
    story: String,
    kept: tempfile::TempDir,
}

/// Runs the demo with a temporary directory of its own and looks at what it leaves.
fn demo(family: &str, more: &[&str]) -> Shown {
    let (output, kept) = run(family, more);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}\n{said}", output.status);
    let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(envelope["error"], "");
    Shown { result: envelope["result"].clone(), story: said, kept }
}

fn run(family: &str, more: &[&str]) -> (Output, tempfile::TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    // As root the demo's Postgres runs as another user.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_regenesis"))
        // Lines about how far a task is come by the clock.
        .args(["demo", "--family", family, "--output", "json", "--progress", "none", "--keep"])
        .arg(kept.path().join("all"))
        .args(more)
        .env("TMPDIR", temporary.path())
        // None of these may reach the demo's own processes.
        .envs([("PGHOST", "nowhere.invalid"), ("PGPASSWORD", "x"), ("REGENESIS_TICKET", "regenesis1x")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    for path in [temporary.path(), kept.path()] {
        assert_eq!(processes_that_name(path), Vec::<String>::new());
    }
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    (output, kept)
}

/// Command lines of running processes in which the path stands.
fn processes_that_name(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let running = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    running.filter(|line| line.contains(path)).collect()
}

fn check(shown: &Shown, family: &str, key_file: &str) {
    let families = shown.result["families"].as_array().unwrap();
    assert_eq!(families.len(), 1);
    let migration = &families[0];
    assert_eq!(migration["family"], family);
    assert_ne!(migration["chain_id"], migration["old_chain_id"]);
    let validators = migration["nodes"].as_array().unwrap();
    assert_eq!(validators.len(), 4);
    let mut keys = Vec::new();
    for (number, one) in validators.iter().enumerate() {
        assert_eq!(one["state_hash"], migration["state_hash"]);
        assert_eq!(one["lead"], number == 0);
        let root = Path::new(one["root"].as_str().unwrap());
        assert!(root.starts_with(shown.kept.path()), "{}", root.display());
        assert_eq!(one["height"], Value::Null, "no kwild was started");
        for name in ["genesis.json", "genesis-state.sql.gz"] {
            let first = Path::new(validators[0]["root"].as_str().unwrap());
            assert!(fs::read(root.join(name)).unwrap() == fs::read(first.join(name)).unwrap(), "{name} of {number}");
        }
        // Digested in the database, and found again in the file that came.
        let manifest = SignedManifest::decode(&fs::read(root.join("manifest.regenesis")).unwrap()).unwrap();
        let digest = manifest.manifest().state_digest.as_ref().unwrap();
        assert!(digest.server_major >= 15 && digest.dump_major >= 15 && digest.tables.len() > 10, "{digest:?}");
        let key = root.join(key_file);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        keys.push(fs::read(key).unwrap());
        assert!(one["received_bytes"].as_u64().unwrap() >= migration["bytes"].as_u64().unwrap(), "{one}");
        assert!(one["sources"].as_u64().unwrap() >= 1);
        // Each dials the three others, and the story says so.
        let config = fs::read_to_string(root.join("config.toml")).unwrap();
        assert_eq!(PeerSettings::parse(&config).unwrap().dials.len(), 3, "{config}");
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "every root has a key of its own");
    story(&shown.story);
}

/// The steps that an operator reads, in their order, on a terminal of 80 columns.
fn story(story: &str) {
    assert!(story.lines().all(|line| line.chars().count() < 80), "{story}");
    let mut rest = story;
    for words in [
        "1. The old network has stopped.",
        "regenesis snapshot create",
        "regenesis setup restore --dry-run",
        "rows of",
        "regenesis publish --dir ./network_snapshot",
        "     regenesis1",
        "regenesis join --check",
        "checks are good",
        "6. All 4 join at once",
        "7. Each root's config.toml names the other nodes",
        "…@127.0.0.1:",
        "regenesis setup check",
        "validator 3 ",
        "9. What reached validator 3 is compared",
        "The two states are equal",
    ] {
        let (_, after) = rest.split_once(words).unwrap_or_else(|| panic!("no {words:?} here in {story}"));
        rest = after;
    }
}

#[test]
fn the_recorded_v010_network_moves() {
    let shown = demo("v0.10", &[]);
    check(&shown, "v0.10", "nodekey.json");
}

#[test]
fn the_recorded_v09_network_moves_and_grows() {
    let shown = demo("v0.9", &["--size", "2M"]);
    check(&shown, "v0.9", "private_key");
    let bytes = shown.result["families"][0]["bytes"].as_u64().unwrap();
    assert!((2 << 20..4 << 20).contains(&bytes), "{bytes} bytes were asked to be about 2 MiB");
}

#[test]
fn a_network_moves_over_an_air_gap_although_a_medium_is_lost() {
    for family in ["v0.10", "v0.9"] {
        let shown = demo(family, &["--air-gap"]);
        let nodes = shown.result["families"][0]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 4, "{}", shown.story);
        assert!(nodes.iter().all(|node| node["state_hash"] == nodes[0]["state_hash"]));
        for words in ["the second medium is destroyed", "still needed: ", "1/", "The two states are equal"] {
            assert!(shown.story.contains(words), "no {words:?} in {}", shown.story);
        }
        // The swarms of both sides never met.
        assert!(nodes.iter().all(|node| node["sources"].as_u64() <= Some(3)), "{nodes:?}");
    }
}

#[test]
fn a_kwild_that_does_not_start_ends_the_demo_with_its_reason() {
    // It says no version, whatever the server here is.
    let (output, _kept) = run("v0.10", &["--kwild", "/bin/false"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("kwild would not start here") && said.contains("/bin/false does not say its version"),
        "{said}"
    );
    let (output, kept) = run("v0.10", &["--kwild", "/bin/false", "--validators", "3"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("all of its 4 validators"), "{output:?}");
    let none = kept.path().join("kwild");
    fs::write(&none, "").unwrap();
    fs::set_permissions(&none, fs::Permissions::from_mode(0o644)).unwrap();
    let (output, _kept) = run("v0.10", &["--kwild", none.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no program"), "{output:?}");
}

#[test]
fn without_keep_nothing_that_is_gone_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_regenesis"))
        .args(["demo", "--family", "v0.9", "--validators", "5"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{told}");
    assert!(said.contains("follower 4") && said.contains("regenesis guide lead"), "{said}");
    assert!(!said.contains(temporary.path().to_str().unwrap()), "{said}");
    assert!(said.lines().all(|line| line.chars().count() < 80), "{said}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let kept = tempfile::tempdir().unwrap();
    fs::write(kept.path().join("mine"), "precious").unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_regenesis")).args(["demo", "--keep"]).arg(kept.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not empty") && said.contains("next: "), "{said}");
}
