//! `snapshot guard`: Kwil's own pairs become guarded ones, and whatever goes wrong leaves nothing.

use std::{fs, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use kwil_formats::dump::guard;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::support::{Place, Run, data, database, program, read, unzip};

/// Every kind of file that Kwil's tools made, by the pg_dump that they ran.
const PAIRS: [&str; 8] = [
    "v0.9/worlds/solo/kwil-admin",
    "v0.9/worlds/quartet/kwil-admin",
    "v0.10/worlds/quartet/kwild-snapshot",
    "v0.10/worlds/quartet/kwild-snapshot.pg15-dump15",
    "v0.10/worlds/solo/kwild-snapshot.pg15-dump16",
    "truf/worlds/solo/kwild-snapshot",
    "truf/worlds/quartet/kwild-snapshot",
    "truf/worlds/maa_long/kwild-snapshot",
];

fn snapshot_of(pair: &str) -> PathBuf {
    let name = if pair.starts_with("v0.9") { "kwildb-snapshot.sql.gz" } else { "snapshot.sql.gz" };
    data(pair).join(name)
}

fn run(place: &Place, flags: &[&str]) -> Run {
    let mut command = program(place.home.path());
    command.args(["snapshot", "guard", "--progress", "none"]).args(flags);
    Run::of(command.output().unwrap())
}

fn json(place: &Place, flags: &[&str]) -> Value {
    run(place, &[flags, &["--output", "json"]].concat()).result()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

/// A pair in the place's home that pins this text.
fn pair(place: &Place, text: &[u8]) -> (String, String) {
    let genesis = String::from_utf8(read("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap();
    let mut genesis: Value = serde_json::from_str(&genesis).unwrap();
    genesis["state_hash"] = hex::encode(Sha256::digest(text)).into();
    let path = |name: &str| place.home.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("s.sql.gz"), gzip(text)).unwrap();
    fs::write(path("g.json"), genesis.to_string()).unwrap();
    (path("s.sql.gz"), path("g.json"))
}

#[test]
fn kwils_own_pairs_get_a_guard_and_nothing_else() {
    for pair in PAIRS {
        let place = Place::new();
        let (file, genesis) = (snapshot_of(pair), data(pair).join("genesis.json"));
        let kwils = unzip(&fs::read(&file).unwrap());
        let (file, genesis) = (file.to_str().unwrap(), genesis.to_str().unwrap());
        let made = json(&place, &[file, "--genesis", genesis, "-o", "snaps"]);
        assert_eq!(made["guarded"], false, "{pair}");
        assert_eq!(
            place.files(),
            ["genesis.json", PathBuf::from(file).file_name().unwrap().to_str().unwrap()],
            "{pair}"
        );
        let text = unzip(&fs::read(made["snapshot"].as_str().unwrap()).unwrap());
        assert!(text.starts_with(guard::PROLOGUE.as_bytes()) && text.ends_with(guard::EPILOGUE.as_bytes()));
        assert_eq!(made["bytes"], text.len());
        assert_eq!(made["state_hash"], hex::encode(Sha256::digest(&text)));
        // Every line of Kwil's is there, but for what is left out.
        let mut ours: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        ours.sort_unstable();
        let lost: Vec<String> = kwils
            .split(|b| *b == b'\n')
            .filter(|line| ours.binary_search(line).is_err())
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .filter(|line| {
                !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict") && !line.contains("sentry_seq")
            })
            .collect();
        let left_out = made["left_out"].as_array().unwrap();
        let has_votes = left_out.iter().any(|words| words.as_str().unwrap().contains("votes_voter_id_fkey"));
        assert_eq!(
            lost.iter().filter(|line| line.contains("votes_voter_id_fkey")).count(),
            usize::from(has_votes),
            "{lost:?}"
        );
        assert!(
            lost.iter().all(|line| line.contains("votes_voter_id_fkey") || line == "CREATE SCHEMA kwild_internal;"),
            "{pair}: {lost:?}"
        );
        // Its genesis is the old one with another hash.
        let (old, new) = (fs::read(genesis).unwrap(), fs::read(made["genesis"].as_str().unwrap()).unwrap());
        assert_eq!(old.len(), new.len());
        let verified = place.verify(&[made["snapshot"].as_str().unwrap(), "--output", "json"]).result();
        assert_eq!((&verified["guarded"], &verified["rows"]), (&true.into(), &made["rows"]), "{pair}");
        // Kwil's own passes, too, and it is said what it lacks.
        let unguarded = place.verify(&[file, "--genesis", genesis, "--output", "json"]).result();
        assert_eq!(unguarded["guarded"], false);
        assert!(unguarded["findings"].to_string().contains("snapshot guard"), "{unguarded}");

        // Once more, it is copied as it is.
        let first = made["snapshot"].as_str().unwrap();
        let again = json(&place, &[first, "-o", "again"]);
        assert_eq!((&again["guarded"], &again["state_hash"]), (&true.into(), &made["state_hash"]));
        assert_eq!(fs::read(again["snapshot"].as_str().unwrap()).unwrap(), fs::read(first).unwrap());
        assert_eq!(fs::read(again["genesis"].as_str().unwrap()).unwrap(), new);
    }
}

#[test]
fn a_plain_text_is_packed() {
    let place = Place::new();
    let text = unzip(&read("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"));
    let (_, genesis) = pair(&place, &text);
    let plain = place.home.path().join("plain.sql");
    fs::write(&plain, &text).unwrap();
    let made = json(&place, &[plain.to_str().unwrap(), "-g", &genesis, "-o", "snaps"]);
    let guarded = unzip(&fs::read(made["snapshot"].as_str().unwrap()).unwrap());
    fs::write(&plain, &guarded).unwrap();
    let again = json(&place, &[plain.to_str().unwrap(), "-g", made["genesis"].as_str().unwrap(), "-o", "again"]);
    assert_eq!(again["guarded"], true);
    assert!(unzip(&fs::read(again["snapshot"].as_str().unwrap()).unwrap()) == guarded);
}

#[test]
fn what_is_wrong_with_the_file_is_said_and_nothing_is_left() {
    let text = unzip(&read("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"));
    let place = Place::new();
    let refused = |bytes: &[u8], of: &[u8], words: &[&str]| {
        let (file, genesis) = pair(&place, of);
        fs::write(&file, bytes).unwrap();
        run(&place, &[&file, "-g", &genesis, "-o", "snaps"]).failed(3, words);
        place.is_untouched();
    };
    let whole = gzip(&text);
    // Another text, a damaged or cut file, one with more behind it.
    refused(&gzip(&[&text[..], b"SELECT 1;\n"].concat()), &text, &["the genesis pins"]);
    refused(&whole[..whole.len() / 2], &text, &["cut off"]);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    refused(&flipped, &text, &["the snapshot"]);
    refused(&[&whole[..], b"x"].concat(), &text, &["the snapshot"]);
    // Statements that no Kwil dump has, by the line of the file that was given.
    let line = text.iter().filter(|b| **b == b'\n').count() + 1;
    let hostile = [&text[..], b"COPY ledger.accts TO PROGRAM 'touch x';\n"].concat();
    refused(&gzip(&hostile), &hostile, &[&format!("line {line}: "), "COPY ledger.accts"]);
    let command = [b"\\! touch x\n", &text[..]].concat();
    refused(&gzip(&command), &command, &["line 1: "]);
    refused(&gzip(b"hello\n"), b"hello\n", &["line 1"]);
    // Another family's genesis.
    let (file, _) = pair(&place, &text);
    let other = data("v0.9/worlds/quartet/kwil-admin/genesis.json");
    run(&place, &[&file, "-g", other.to_str().unwrap(), "-o", "snaps"]).failed(3, &["the genesis pins"]);
    place.is_untouched();
    run(&place, &["none.sql.gz", "-g", other.to_str().unwrap(), "-o", "snaps"]).failed(1, &["none.sql.gz"]);
    place.is_untouched();
}

#[test]
fn files_that_are_there_are_not_overwritten() {
    let place = Place::new();
    let text = unzip(&read("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"));
    let (file, genesis) = pair(&place, &text);
    fs::create_dir(&place.snapdir).unwrap();
    for name in ["genesis.json", "snapshot.sql.gz"] {
        let there = place.snapdir.join(name);
        fs::write(&there, "mine").unwrap();
        run(&place, &[&file, "-g", &genesis, "-o", "snaps"]).failed(4, &[name, "--force"]);
        assert_eq!(fs::read(&there).unwrap(), b"mine");
        assert_eq!(place.files(), [name]);
        json(&place, &[&file, "-g", &genesis, "-o", "snaps", "--force"]);
        fs::remove_dir_all(&place.snapdir).unwrap();
        fs::create_dir(&place.snapdir).unwrap();
    }
    // Not even with --force by itself: Kwil's own pair stays.
    fs::copy(&file, place.snapdir.join("snapshot.sql.gz")).unwrap();
    fs::copy(&genesis, place.snapdir.join("genesis.json")).unwrap();
    run(&place, &["snaps/snapshot.sql.gz", "-o", "snaps", "--force"]).failed(4, &["by itself"]);
    // Without -o it goes beside it.
    let made = json(&place, &["snaps/snapshot.sql.gz"]);
    assert!(made["snapshot"].as_str().unwrap().ends_with("snaps/guarded/snapshot.sql.gz"), "{made}");
}

#[test]
fn a_compat_snapshot_that_was_guarded_holds_the_state_that_create_writes() {
    let db = database("v0.10/worlds/quartet/database.sql.gz");
    let (ours, kwils) = (Place::new(), Place::new());
    let created = ours.create_json(&db, &["--chain-id", "another"]);
    assert_eq!((&created["guarded"], &created["rescued_rows"]), (&true.into(), &0.into()));
    let compat = kwils.create_json(&db, &["--chain-id", "another", "--kwil-compat"]);
    assert_eq!(compat["guarded"], false);
    let made = json(&kwils, &[compat["snapshot"].as_str().unwrap(), "-o", "guarded"]);
    let deep = |place: &Place, made: &Value| {
        place.verify(&[made["snapshot"].as_str().unwrap(), "--deep", "--output", "json"]).result()
    };
    let (first, second) = (deep(&ours, &created), deep(&kwils, &made));
    for key in ["state_digest", "table_rows", "height", "guarded"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    // But for comments in a function's body, which Kwil's rules lose, it is the same text.
    let comments =
        created["rescued_lines"].as_object().unwrap().values().map(|lines| lines.as_u64().unwrap()).sum::<u64>();
    let lines = |made: &Value| {
        unzip(&fs::read(made["snapshot"].as_str().unwrap()).unwrap()).iter().filter(|b| **b == b'\n').count() as u64
    };
    assert_eq!(lines(&created), lines(&made) + comments);
}
