//! A root is there whole or not at all: killed anywhere, on a full or read-only disk, and in odd places.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use regenesis::base::clock;

use super::recordings::tree;
use crate::common::{Party, Process, Run};

const FAMILIES: [Family; 2] = [Family::V09, Family::V010];

/// A party with a recorded snapshot, its genesis and a validator's key.
fn party(family: Family) -> Party {
    let party = Party::new();
    party.take_recording(family, "snaps");
    party.take_key(family, 1, "key");
    party
}

fn snapshot(family: Family) -> String {
    format!("snaps/{}", family.snapshot_file_name())
}

fn init(party: &Party, family: Family, root: &str, flags: &[&str]) -> Run {
    let snapshot = snapshot(family);
    let args = ["setup", "init", "-r", root, "-g", "snaps/genesis.json", "-s", &snapshot, "-k", "key"];
    party.run(&[&args, flags].concat())
}

/// Every file that belongs into a root is there and whole.
fn whole(party: &Party, family: Family, root: &str) {
    let read = |name: &str| party.read(&format!("{root}/{name}"));
    assert_eq!(read("genesis-state.sql.gz"), party.read(&snapshot(family)));
    assert_eq!(read("genesis.json"), party.read("snaps/genesis.json"));
    let key = if family == Family::V09 { "private_key" } else { "nodekey.json" };
    assert_eq!(read(key), party.read("key"));
    let config = String::from_utf8(read("config.toml")).unwrap();
    assert!(config.contains("genesis-state.sql.gz") && config.ends_with('\n'));
}

#[test]
fn a_snapshot_without_the_guard_gives_no_root() {
    for family in FAMILIES {
        let party = Party::new();
        party.take_kwils_recording(family, "snaps");
        party.take_key(family, 1, "key");
        init(&party, family, "root", &[]).failed(3, &["has no guard", "regenesis snapshot guard"]);
        assert!(!party.path("root").exists());
        // What to do next is right.
        party.run(&["snapshot", "guard", &snapshot(family), "-o", "guarded"]).done();
        let file = format!("guarded/{}", family.snapshot_file_name());
        party.run(&["setup", "init", "-r", "root", "-g", "guarded/genesis.json", "-s", &file, "-k", "key"]).done();
        assert_eq!(party.read("root/genesis-state.sql.gz"), party.read(&file));
    }
}

#[test]
fn killed_anywhere_there_is_no_root_or_a_whole_one() {
    for family in FAMILIES {
        for made_before in [false, true] {
            let party = party(family);
            if made_before {
                fs::create_dir(party.path("root")).unwrap();
            }
            // How long a whole run takes, to aim within.
            let began = clock::now();
            init(&party, family, "measure", &[]).done();
            let takes = began.elapsed();
            let snapshot = snapshot(family);
            let args = ["setup", "init", "-r", "root", "-g", "snaps/genesis.json", "-s", &snapshot, "-k", "key"];
            let (mut early, mut late) = (0, 0);
            for round in 0..24 {
                let run = party.spawn(&args);
                // The instant of the kill is what is tried out; nothing waits for anything here.
                thread::sleep(takes * round / 20);
                run.signal(Signal::SIGKILL);
                let killed = run.finish();
                if party.path("root/genesis.json").exists() {
                    whole(&party, family, "root");
                    late += 1;
                    fs::remove_dir_all(party.path("root")).unwrap();
                    if made_before {
                        fs::create_dir(party.path("root")).unwrap();
                    }
                } else {
                    assert_ne!(killed.code, 0, "{killed:?}");
                    early += 1;
                }
            }
            assert!(early > 0 && early + late == 24, "{early} {late}");
            // What the killed runs left is in nobody's way, and gone afterwards.
            init(&party, family, "root", &[]).done();
            whole(&party, family, "root");
            assert!(
                !tree(&party.path("")).iter().any(|line| line.contains("regenesis-part")),
                "{family} {made_before}"
            );
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    for family in FAMILIES {
        let party = party(family);
        let before = tree(&party.path(""));
        // Every file may grow to this many blocks of 512 bytes, until one is enough for all.
        let mut failed = 0;
        for blocks in [0, 1, 2, 3, 8, 20, 40, 200] {
            let snapshot = snapshot(family);
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
                .arg(env!("CARGO_BIN_EXE_regenesis"))
                .args(["setup", "init", "-r", "deep/er/root", "-g", "snaps/genesis.json", "-s", &snapshot, "-k", "key"])
                .current_dir(party.path(""))
                .stdin(Stdio::null());
            let run = Process::spawn(command).finish();
            if run.code == 0 {
                whole(&party, family, "deep/er/root");
                break;
            }
            run.failed(1, &["too large"]);
            assert_eq!(tree(&party.path("")), before, "{family} {blocks}: nothing is left, no directory either");
            failed += 1;
        }
        assert!(failed >= 3 && party.path("deep/er/root").exists(), "{family} {failed}");
    }
}

#[test]
fn places_where_no_root_can_be() {
    let family = Family::V010;
    let party = party(family);
    party.write("file", "x");
    symlink("nowhere", party.path("dangling")).unwrap();
    symlink("file", party.path("to-file")).unwrap();
    symlink("loop", party.path("loop")).unwrap();
    party.write("used/data", "x");
    let before = tree(&party.path(""));
    for (root, code, words) in [
        ("file", 4, "file exists and is no directory"),
        ("to-file", 4, "to-file exists and is no directory"),
        ("dangling", 4, "dangling is a link that leads nowhere"),
        ("loop", 1, "cannot look at"),
        ("used", 4, "already holds \"data\""),
        ("file/root", 1, "cannot look at"),
        ("/proc/regenesis", 1, "cannot make directory"),
        ("/dev/null", 4, "/dev/null exists and is no directory"),
        ("/", 4, "already holds"),
        ("", 2, "a value is required"),
        ("~nobody-of-this-name/root", 2, "a home directory that is not known"),
    ] {
        let run = init(&party, family, root, &[]);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{root}: {run:?}");
        assert!(run.stderr.contains(words), "{root}: {run:?}");
        assert!(run.stderr.contains("next: ") || code == 2, "{root}: {run:?}");
        assert_eq!(tree(&party.path("")), before, "{root}: nothing is written");
    }
    // A name that no message could hold.
    let mut command =
        party.command(&["setup", "init", "-g", "snaps/genesis.json", "-s", &snapshot(family), "-k", "key", "-r"]);
    command.arg(OsStr::from_bytes(b"r\xff"));
    Process::spawn(command).finish().failed(2, &["is not UTF-8", "choose a name"]);
    assert_eq!(tree(&party.path("")), before);
}

#[test]
fn odd_places_where_a_root_can_be() {
    for family in FAMILIES {
        let party = party(family);
        fs::create_dir(party.path("real")).unwrap();
        symlink("real", party.path("link")).unwrap();
        for root in ["a b", "it's", "a\"b", "a\\b", "ä 日本", "tab\tnew\nline", "link", "./x/../x2", "--dash"] {
            let root_flag = format!("--root-dir={root}");
            let snapshot = snapshot(family);
            let args = [
                "setup",
                "init",
                &root_flag,
                "-g",
                "snaps/genesis.json",
                "-s",
                &snapshot,
                "-k",
                "key",
                "--output",
                "json",
            ];
            let made = party.run(&args).result();
            whole(&party, family, root);
            assert!(Path::new(made["root"].as_str().unwrap()).is_absolute());
        }
        assert!(party.path("real/genesis.json").exists() && party.path("link").is_symlink());
        // `~` as shells leave it behind a flag's `=`.
        let snapshot = snapshot(family);
        party
            .run(&[
                "setup",
                "init",
                "--root-dir=~/home root",
                "--genesis=~/snaps/genesis.json",
                "-s",
                &snapshot,
                "--key-file=~/key",
            ])
            .done();
        whole(&party, family, "home root");
        // From another file system, through a link, and to one.
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { continue };
        let there = memory.path().join("s.gz");
        fs::copy(party.path(&snapshot), &there).unwrap();
        symlink(&there, party.path("linked.gz")).unwrap();
        party.run(&["setup", "init", "-r", "far", "-g", "snaps/genesis.json", "-s", "linked.gz", "-k", "key"]).done();
        whole(&party, family, "far");
        assert!(!party.path("far/genesis-state.sql.gz").is_symlink());
        let far = memory.path().join("root");
        init(&party, family, far.to_str().unwrap(), &[]).done();
        assert_eq!(fs::read(far.join("genesis-state.sql.gz")).unwrap(), party.read(&snapshot));
    }
}

#[test]
fn a_snapshot_that_never_ends_or_is_no_file_is_refused() {
    let family = Family::V010;
    let party = party(family);
    nix::unistd::mkfifo(&party.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = tree(&party.path(""));
    for (source, code, words) in [("pipe", 1, "is no file"), ("/dev/zero", 1, "is no file"), ("snaps", 1, "is no file")]
    {
        let run = party.run(&["setup", "init", "-r", "root", "-g", "snaps/genesis.json", "-s", source, "-k", "key"]);
        run.failed(code, &[words]);
    }
    // The other family's, with a genesis that pins it: known by its statements.
    party.take_recording(Family::V09, "other");
    let run = party.run(&["setup", "init", "-r", "root", "--family", "v0.10", "-s", "other/kwildb-snapshot.sql.gz"]);
    run.failed(3, &["v0.9"]);
    assert!(!party.path("root").exists());
    fs::remove_dir_all(party.path("other")).unwrap();
    fs::remove_file(party.path("lead.key")).unwrap();
    let after: Vec<String> = tree(&party.path(""));
    assert!(after.iter().all(|line| before.contains(line)), "{after:?}");
}

/// Whoever comes second is refused, and what the first one makes is whole; each with a key of its own.
#[test]
fn runs_for_one_root_at_once_do_not_mix() {
    for made_before in [false, true] {
        for _ in 0..5 {
            let family = Family::V010;
            let party = party(family);
            if made_before {
                fs::create_dir(party.path("root")).unwrap();
            }
            let snapshot = snapshot(family);
            let args = ["setup", "init", "-r", "root", "-g", "snaps/genesis.json", "-s", &snapshot, "--output", "json"];
            let runs: Vec<Process> = (0..5).map(|_| party.spawn(&args)).collect();
            let ended: Vec<Run> = runs.into_iter().map(Process::finish).collect();
            let done: Vec<&Run> = ended.iter().filter(|run| run.code == 0).collect();
            assert_eq!(done.len(), 1, "a root is made once: {ended:?}");
            for run in ended.iter().filter(|run| run.code != 0) {
                assert!(run.code == 4 || run.code == 1, "{run:?}");
            }
            assert_eq!(party.read("root/genesis-state.sql.gz"), party.read(&snapshot));
            let info = party.run(&["key", "info", "-o", "root/nodekey.json", "--output", "json"]).result();
            assert_eq!(info["node_id"], done[0].result()["node_id"], "its own key");
            assert_eq!(tree(&party.path("root")).len(), 5, "nothing else: {:?}", tree(&party.path("root")));
        }
    }
}
