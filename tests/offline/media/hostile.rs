//! Media that a stranger filled, or that are worn: each is refused by name, or used as far as it is good; the others are used.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::Value;

use super::{Carrier, export, failed, import, medium};
use crate::common::Party;

/// Imports with one volume that was made worse by `spoil`; gives what is said of it. What the other two hold is there afterwards.
fn with_a_bad_one(spoil: impl FnOnce(&Carrier)) -> Value {
    let carrier = Carrier::new();
    spoil(&carrier);
    let run = carrier.import(&["m1", "m2", "m3"]);
    let result: Value =
        serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"))["result"].clone();
    for good in ["m2", "m3"] {
        assert!(medium(&result, good)["taken_bytes"].as_u64() > Some(0), "{result}");
    }
    if result["complete"] == false {
        assert_eq!(run.code, 5, "{run:?}");
        assert!(!carrier.path("out/snapshot.sql.gz").exists(), "nothing unverified under a final name");
        // The volume that was meant mends it.
        export(&carrier.party, &["new"], &[]).result();
        carrier.import(&["new"]).result();
    }
    carrier.is_complete("out");
    medium(&result, "m1").clone()
}

#[track_caller]
fn refused(said: &Value, words: &[&str]) {
    let all = format!("{} {}", said["refused"], said["troubles"]);
    for word in words {
        assert!(all.contains(word), "no {word:?} in {said}");
    }
}

#[test]
fn a_worn_chunk_is_named_and_the_rest_of_the_medium_is_used() {
    let said = with_a_bad_one(|carrier| {
        let mut data = carrier.party.read("m1/data0001.bin");
        let middle = data.len() / 2;
        data[middle] ^= 0x10;
        carrier.party.write("m1/data0001.bin", data);
    });
    assert_eq!(said["bad_chunks"], 1, "{said}");
    assert!(said["taken_chunks"].as_u64() > Some(1), "{said}");
    refused(&said, &["not what was signed"]);
}

#[test]
fn a_worn_index_has_a_copy() {
    let spoil = |name: &'static str| {
        move |carrier: &Carrier| {
            let mut index = carrier.party.read(&format!("m1/{name}"));
            index[20] ^= 1;
            carrier.party.write(&format!("m1/{name}"), index);
        }
    };
    let said = with_a_bad_one(spoil("index.bin"));
    refused(&said, &["index.bin: "]);
    assert_eq!((&said["refused"], &said["bad_chunks"]), (&Value::Null, &0.into()), "{said}");
    let said = with_a_bad_one(|carrier| {
        spoil("index.bin")(carrier);
        spoil("index2.bin")(carrier);
    });
    refused(&said, &["damaged"]);
}

#[test]
fn a_worn_manifest_or_genesis_is_on_the_others() {
    for name in ["manifest.regenesis", "genesis.json"] {
        let said = with_a_bad_one(|carrier| {
            let mut bytes = carrier.party.read(&format!("m1/{name}"));
            bytes[40] ^= 1;
            carrier.party.write(&format!("m1/{name}"), bytes);
        });
        assert!(said["taken_bytes"].as_u64() > Some(0), "{name}: {said}");
    }
}

#[test]
fn an_index_of_another_volume_is_found_out_by_the_chunks() {
    let said = with_a_bad_one(|carrier| {
        for name in ["index.bin", "index2.bin"] {
            carrier.party.write(&format!("m1/{name}"), carrier.party.read(&format!("m2/{name}")));
        }
    });
    refused(&said, &["bytes, not"]);
}

#[test]
fn files_that_are_none_are_not_opened() {
    let replace = |with: fn(&std::path::Path)| {
        move |carrier: &Carrier| {
            let path = carrier.path("m1/data0001.bin");
            fs::remove_file(&path).unwrap();
            with(&path);
        }
    };
    refused(&with_a_bad_one(replace(|path| mkfifo(path, Mode::S_IRWXU).unwrap())), &["data0001.bin is a pipe"]);
    refused(&with_a_bad_one(replace(|path| fs::create_dir(path).unwrap())), &["data0001.bin is a directory"]);
    refused(&with_a_bad_one(replace(|path| symlink("/etc/passwd", path).unwrap())), &["data0001.bin is a link"]);
    refused(&with_a_bad_one(replace(|path| symlink("../m2/data0000.bin", path).unwrap())), &["data0001.bin is a link"]);
    refused(&with_a_bad_one(replace(|_| {})), &["data0001.bin is missing"]);
    let listens = |path: &std::path::Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    refused(&with_a_bad_one(replace(listens)), &["data0001.bin is a socket"]);
    // Also what is not data: nothing waits for a pipe.
    let said = with_a_bad_one(|carrier| {
        for name in ["votes.bin", "ready.bin", "issue.bin", "manifest.regenesis"] {
            let path = carrier.path("m1").join(name);
            let _ = fs::remove_file(&path);
            mkfifo(&path, Mode::S_IRWXU).unwrap();
        }
    });
    refused(&said, &["manifest.regenesis is a pipe"]);
}

#[test]
fn a_file_of_another_length_is_not_read() {
    for change in [-1_i64, 1, 1 << 33] {
        let said = with_a_bad_one(|carrier| {
            let path = carrier.path("m1/data0001.bin");
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let len = i64::try_from(file.metadata().unwrap().len()).unwrap() + change;
            file.set_len(len.try_into().unwrap()).unwrap();
        });
        refused(&said, &["data0001.bin has", "as its index says"]);
    }
}

#[test]
fn media_of_another_migration_and_of_an_older_manifest_are_refused_by_name() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    let other = Party::new();
    other.take_large("snaps", 10);
    other.run(&["genesis", "set", "snaps/genesis.json", "chain_id=elsewhere-9"]).done();
    other.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    export(&other, &["stick"], &[]).result();
    let stick = other.path("stick");
    let stick = stick.to_str().unwrap();
    // Which one is meant is not guessed.
    let run = carrier.import(&[stick, "m1"]);
    assert!(run.code == 2 && run.stdout.contains("different networks"), "{run:?}");
    assert!(!carrier.path("out").exists());
    let result = failed(&import(party, &["m1"], "out", &[]), 5, &[]);
    assert_eq!(result["complete"], false);
    let result = carrier.import(&[stick, "m2", "m3"]).result();
    refused(medium(&result, stick), &["another migration", "elsewhere-9"]);
    // The lead signs again: what is older is refused everywhere the newer one was seen.
    party.run(&["genesis", "set", "snaps/genesis.json", "chain_id=newer-2"]).done();
    party.run(&["genesis", "set", "snaps/genesis.json", "chain_id=kwil-testnet"]).done();
    let sign = ["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead", "--supersede"];
    party.run(&sign).done();
    export(party, &["n1"], &[]).result();
    import(party, &["n1"], "new", &[]).result();
    let result = import(party, &["n1", "m1"], "new", &[]).result();
    refused(medium(&result, "m1"), &["it is older"]);
    let run = import(party, &["m1", "m2", "m3"], "old", &[]);
    assert!(run.code == 4 && run.stdout.contains("step 6"), "{run:?}");
    assert!(!carrier.path("old/snapshot.sql.gz").exists());
    // A machine that has seen neither hears of the newer one from the medium.
    let fresh = |from: &[&str]| {
        let last = ["--dir", "fresh", "--state-dir", "fresh-state", "--output", "json"];
        party.run(&[&["bundle", "import"], from, &last].concat())
    };
    fs::copy(carrier.path("n1/issue.bin"), carrier.path("m1/issue.bin")).unwrap();
    let run = fresh(&["m1", "m2", "m3"]);
    assert!(run.code == 4 && run.stdout.contains("newer"), "{run:?}");
}

#[test]
fn somebody_elses_manifest_is_refused_by_ticket_and_key() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    let other = Party::new();
    other.take_large("snaps", 10);
    other.run(&["key", "gen", "ed25519", "-o", "other.key"]).done();
    let sign =
        ["manifest", "sign", "--snapdir", "snaps", "--key", "other.key", "--state-dir", "lead", "--output", "json"];
    let ticket = other.run(&sign).result()["ticket"].as_str().unwrap().to_owned();
    party.write("ticket.txt", ticket);
    let run = import(party, &["m1", "m2", "m3"], "out", &["--ticket-file", "ticket.txt"]);
    assert!(run.code == 3 && run.stdout.contains("another migration"), "{run:?}");
    assert!(!carrier.path("out").exists());
}

#[test]
fn a_volume_of_a_newer_program_is_said_to_be_that() {
    let said = with_a_bad_one(|carrier| {
        // Field 1 of the index, the number of its format, is its first: the payload starts behind the field's head and length.
        for name in ["index.bin", "index2.bin"] {
            let index = carrier.party.read(&format!("m1/{name}"));
            let at = index.windows(2).position(|pair| pair == [8, 1]).unwrap();
            let (length, head) = (usize::from(index[1] & 0x7f) | usize::from(index[2]) << 7, 3);
            let (start, length) = if index[1] & 0x80 == 0 { (2, usize::from(index[1])) } else { (head, length) };
            assert_eq!(at, start);
            let mut payload = index[start..start + length].to_vec();
            payload[1] = 2;
            let sum = blake3::Hasher::new().update(b"regenesis/bundle-index/v1\0").update(&payload).finalize();
            let bytes =
                [&index[..start], &payload, &index[start + length..start + length + 2], sum.as_bytes()].concat();
            carrier.party.write(&format!("m1/{name}"), bytes);
        }
    });
    refused(&said, &["newer regenesis"]);
}

#[test]
fn a_hundred_thousand_other_files_and_two_with_one_label_change_nothing() {
    let said = with_a_bad_one(|carrier| {
        for number in 0..100_000 {
            fs::File::create(carrier.path("m1").join(format!("holiday{number}.jpg"))).unwrap();
        }
    });
    assert_eq!((&said["refused"], said["troubles"].as_array().unwrap().len()), (&Value::Null, 0), "{said}");
    let carrier = Carrier::new();
    fs::create_dir(carrier.path("twin")).unwrap();
    for entry in fs::read_dir(carrier.path("m1")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), carrier.path("twin").join(entry.file_name())).unwrap();
    }
    let mut data = carrier.party.read("m1/data0001.bin");
    data[9] ^= 1;
    carrier.party.write("m1/data0001.bin", data);
    carrier.import(&["m1", "twin", "m2", "m3"]).result();
    carrier.is_complete("out");
}

#[test]
fn media_that_cannot_be_read_or_written_are_said() {
    let carrier = Carrier::new();
    let run = carrier.import(&["nowhere", "m1", "snaps/genesis.json"]);
    let result = failed(&run, 5, &["lacking"]);
    refused(medium(&result, "nowhere"), &["No such file"]);
    refused(medium(&result, "snaps/genesis.json"), &["not a directory"]);
    let run = carrier.import(&["nowhere"]);
    assert!(run.code == 5 || run.stdout.contains("No such file"), "{run:?}");
    // Root writes everywhere; anybody else is told.
    if !nix::unistd::geteuid().is_root() {
        fs::create_dir(carrier.path("sealed")).unwrap();
        fs::set_permissions(carrier.path("sealed"), fs::Permissions::from_mode(0o555)).unwrap();
        let run = export(&carrier.party, &["sealed"], &[]);
        assert!(run.code == 1 && run.stdout.contains("sealed"), "{run:?}");
    }
    // Somebody else's volume is not written over, nor one that cannot be read.
    let other = Party::new();
    other.take_large("snaps", 10);
    other.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let taken = carrier.path("m1");
    let run = export(&other, &[taken.to_str().unwrap()], &[]);
    assert!(run.code == 4 && run.stdout.contains("holds another volume"), "{run:?}");
    carrier.party.write("m2/index.bin", "scribble");
    let run = export(&carrier.party, &["m2"], &[]);
    assert!(run.code == 4 && run.stdout.contains("index.bin"), "{run:?}");
    let run = export(&carrier.party, &["m3", "./m3"], &[]);
    assert!(run.code == 2 && run.stdout.contains("named twice"), "{run:?}");
}
