//! The demo as it is run by people: real processes, a real Postgres, four roots, and nothing left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use regenesis::manifest::SignedManifest;
use serde_json::Value;

struct Shown {
    result: Value,
    kept: tempfile::TempDir,
}

/// Runs the demo with a temporary directory of its own and looks at what it leaves.
fn demo(family: &str, more: &[&str]) -> Shown {
    let temporary = tempfile::tempdir().unwrap();
    // As root the demo's Postgres runs as another user.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_regenesis"))
        .args(["demo", "--family", family, "--output", "json", "--keep"])
        .arg(kept.path().join("all"))
        .args(more)
        .env("TMPDIR", temporary.path())
        // None of these may reach the demo's own processes.
        .envs([("PGHOST", "nowhere.invalid"), ("PGPASSWORD", "x"), ("REGENESIS_TICKET", "regenesis1x")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(envelope["error"], "");
    for path in [temporary.path(), kept.path()] {
        assert_eq!(processes_that_name(path), Vec::<String>::new());
    }
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    Shown { result: envelope["result"].clone(), kept }
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

fn check(shown: &Shown, family: &str, key_file: &str, start: &str) {
    let families = shown.result["families"].as_array().unwrap();
    assert_eq!(families.len(), 1);
    let migration = &families[0];
    assert_eq!(migration["family"], family);
    assert_ne!(migration["chain_id"], migration["old_chain_id"]);
    let validators = migration["validators"].as_array().unwrap();
    assert_eq!(validators.len(), 4);
    let mut keys = Vec::new();
    for (number, one) in validators.iter().enumerate() {
        assert_eq!(one["state_hash"], migration["state_hash"]);
        assert_eq!(one["lead"], number == 0);
        let root = Path::new(one["root"].as_str().unwrap());
        assert!(root.starts_with(shown.kept.path()), "{}", root.display());
        assert_eq!(one["next"], format!("{start} {}", root.display()));
        for name in ["genesis.json", "genesis-state.sql.gz"] {
            let first = Path::new(validators[0]["root"].as_str().unwrap());
            assert!(fs::read(root.join(name)).unwrap() == fs::read(first.join(name)).unwrap(), "{name} of {number}");
        }
        // The lead's own root was made from the files alone.
        if number > 0 {
            // Digested in the database, and found again in the file that came.
            let manifest = SignedManifest::decode(&fs::read(root.join("manifest.regenesis")).unwrap()).unwrap();
            let digest = manifest.manifest().state_digest.as_ref().unwrap();
            assert!(digest.server_major >= 15 && digest.dump_major >= 15 && digest.tables.len() > 10, "{digest:?}");
        }
        let key = root.join(key_file);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        keys.push(fs::read(key).unwrap());
        if number > 0 {
            assert!(one["received_bytes"].as_u64().unwrap() >= migration["bytes"].as_u64().unwrap(), "{one}");
            assert!(one["sources"].as_u64().unwrap() >= 1);
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "every root has a key of its own");
}

#[test]
fn the_recorded_v010_network_moves() {
    let shown = demo("v0.10", &[]);
    check(&shown, "v0.10", "nodekey.json", "kwild start -r");
}

#[test]
fn the_recorded_v09_network_moves_and_grows() {
    let shown = demo("v0.9", &["--size", "2M"]);
    check(&shown, "v0.9", "private_key", "kwild --root-dir");
    let bytes = shown.result["families"][0]["bytes"].as_u64().unwrap();
    assert!((2 << 20..4 << 20).contains(&bytes), "{bytes} bytes were asked to be about 2 MiB");
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
