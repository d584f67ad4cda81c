//! Media that only some can read: nothing of what they carry can be learned without the key, and with it they are as good as others, also where
//! they are worn.

use std::fs;

use age::{secrecy::ExposeSecret, x25519::Identity};
use serde_json::Value;

use super::{Carrier, export, failed, import, medium};
use crate::common::{Party, names};

/// Writes an identity as age-keygen does, and gives the key that belongs to it.
fn identity(party: &Party, name: &str) -> String {
    let identity = Identity::generate();
    let public = identity.to_public().to_string();
    party.write(name, format!("# public key: {public}\n{}\n", identity.to_string().expose_secret()));
    public
}

/// Somebody with a signed snapshot and identities in `mine` and `other`; gives the key of `mine`.
fn sender() -> (Party, String) {
    let party = Party::new();
    party.take_large("snaps", 3000);
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let key = identity(&party, "mine");
    identity(&party, "other");
    (party, key)
}

fn is_complete(party: &Party, directory: &str) {
    for name in ["genesis.json", "snapshot.sql.gz", "manifest.regenesis"] {
        assert!(party.read(&format!("{directory}/{name}")) == party.read(&format!("snaps/{name}")), "{name}");
    }
}

#[test]
fn nobody_reads_it_without_the_key_and_with_it_any_volume_may_be_lost() {
    let (party, key) = sender();
    let volumes = ["m1", "m2", "m3", "m4"];
    let exported = export(&party, &volumes, &["--encrypt-to", &key, "--parity", "1"]).result();
    assert_eq!(exported["encrypted"], true, "{exported}");
    // Nothing of the files stands on any of them, and what a courier needs does.
    let (genesis, snapshot) = (party.read("snaps/genesis.json"), party.read("snaps/snapshot.sql.gz"));
    let secrets = [&genesis[..60], &snapshot[1000..1060], &snapshot[snapshot.len() / 2..][..60]];
    for volume in volumes {
        for name in names(&party.path(volume)) {
            let bytes = party.read(&format!("{volume}/{name}"));
            let is_in = |secret: &&[u8]| bytes.windows(secret.len()).any(|window| window == *secret);
            assert!(!secrets.iter().any(is_in), "{volume}/{name}");
            assert!(!["manifest.regenesis", "genesis.json", "votes.bin"].contains(&name.as_str()), "{volume}/{name}");
        }
        let readme = String::from_utf8(party.read(&format!("{volume}/README.txt"))).unwrap();
        assert!(readme.contains("It is encrypted") && readme.contains(exported["manifest_id"].as_str().unwrap()));
        let label = exported["volumes"].as_array().unwrap().iter().find(|v| v["directory"] == volume).unwrap();
        assert!(readme.contains(label["label"].as_str().unwrap()), "{readme}");
    }
    // No key, and another one.
    let run = import(&party, &volumes, "out", &[]);
    assert!(
        run.code == 3 && run.stdout.contains("it is encrypted") && run.stderr.contains("--age-identity"),
        "{run:?}"
    );
    let run = import(&party, &volumes, "out", &["--age-identity", "other"]);
    assert!(run.code == 3 && run.stdout.contains("to other keys than those that were given"), "{run:?}");
    assert!(!party.path("out/snapshot.sql.gz").exists());
    // Every byte is checked, parity too, and any one may be lost.
    let with_key = ["--age-identity", "other", "--age-identity", "mine"];
    let verified =
        party.run(&[&["bundle", "verify"], &volumes[..], &with_key, &["--output", "json"]].concat()).result();
    assert_eq!((&verified["ok"], &verified["lacking_chunks"]), (&true.into(), &0.into()), "{verified}");
    for lost in 0..4 {
        let rest: Vec<&str> = volumes.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, v)| *v).collect();
        let into = format!("without{lost}");
        let result = import(&party, &rest, &into, &with_key).result();
        assert_eq!(result["restored_chunks"].as_u64() > Some(0), lost < 3, "{result}");
        is_complete(&party, &into);
    }
}

#[test]
fn wear_costs_what_is_worn_and_is_named() {
    let (party, key) = sender();
    export(&party, &["m1", "m2", "m3"], &["--volume-size", "1500K", "--encrypt-to", &key]).result();
    let worn = |name: &str, spoil: fn(&mut Vec<u8>)| {
        let sound = party.read(name);
        let mut bytes = sound.clone();
        spoil(&mut bytes);
        party.write(name, bytes);
        let run = import(&party, &["m1", "m2", "m3"], "out", &["--age-identity", "mine"]);
        let result = failed(&run, 5, &["lacking"]);
        assert!(!party.path("out/snapshot.sql.gz").exists());
        party.write(name, sound);
        fs::remove_dir_all(party.path("out")).unwrap();
        medium(&result, "m1").clone()
    };
    let said = worn("m1/data0001.bin", |bytes| bytes[99] ^= 1);
    assert_eq!((&said["bad_chunks"], &said["refused"]), (&1.into(), &Value::Null), "{said}");
    assert!(said["taken_chunks"].as_u64() > Some(1), "{said}");
    for spoil in [
        |bytes: &mut Vec<u8>| bytes.truncate(900),
        |bytes: &mut Vec<u8>| {
            let last = bytes.len() - 5;
            bytes[last] ^= 1;
        },
    ] {
        let said = worn("m1/sealed.age", spoil);
        assert!(said["refused"].as_str().unwrap().contains("sealed.age is damaged"), "{said}");
    }
    let said = worn("m1/sealed.age", |bytes| bytes.clear());
    assert!(said["refused"].as_str().unwrap().contains("sealed.age is damaged"), "{said}");
    // Of another set: its key is not that of these chunks.
    export(&party, &["foreign"], &["--encrypt-to", &key]).result();
    fs::rename(party.path("m1/sealed.age"), party.path("kept")).unwrap();
    fs::copy(party.path("foreign/sealed.age"), party.path("m1/sealed.age")).unwrap();
    let run = import(&party, &["m1", "m2", "m3"], "out", &["--age-identity", "mine"]);
    let result = failed(&run, 5, &["lacking"]);
    let refused = medium(&result, "m1")["refused"].to_string();
    assert!(refused.contains("with another key than the one in sealed.age"), "{refused}");
    fs::rename(party.path("kept"), party.path("m1/sealed.age")).unwrap();
    import(&party, &["m1"], "out", &["--age-identity", "mine"]).result();
    is_complete(&party, "out");
}

#[test]
fn a_passphrase_does_as_well_and_a_wrong_one_is_said() {
    let (party, _) = sender();
    party.write("right", "correct horse\n");
    party.write("wrong", "correct house\n");
    party.write("empty", "\n");
    let run = export(&party, &["m"], &["--passphrase-file", "empty"]);
    assert!(run.code == 2 && run.stdout.contains("no passphrase"), "{run:?}");
    export(&party, &["m"], &["--passphrase-file", "right"]).result();
    let run = import(&party, &["m"], "out", &["--passphrase-file", "wrong"]);
    assert!(run.code == 3 && run.stdout.contains("another passphrase"), "{run:?}");
    let run = party.run(&["bundle", "verify", "m", "--passphrase-file", "wrong", "--output", "json"]);
    assert!(run.code == 3 && run.stdout.contains("another passphrase"), "{run:?}");
    import(&party, &["m"], "out", &["--passphrase-file", "right"]).result();
    is_complete(&party, "out");
    // A medium that asks for more work than any of this program's is refused before anything is done for it.
    let sealed = party.read("m/sealed.age");
    let at = sealed.windows(4).position(|four| four == b" 14\n").unwrap();
    party.write("m/sealed.age", [&sealed[..at], b" 22\n", &sealed[at + 4..]].concat());
    let run = import(&party, &["m"], "greedy", &["--passphrase-file", "right"]);
    assert!(run.code == 3 && run.stdout.contains("2^22 steps of scrypt, which is 4.0 GiB of memory"), "{run:?}");
    party.write("m/sealed.age", sealed);
    // What was imported is plain, and goes onto plain media.
    let run = party.run(&["bundle", "export", "--dir", "out", "--to", "plain", "--state-dir", "relay"]);
    run.done();
    import(&party, &["plain"], "again", &[]).result();
}

#[test]
fn an_encrypted_export_goes_on_with_its_own_key_only() {
    let (party, key) = sender();
    let flags = ["--volume-size", "1500K", "--encrypt-to", &key];
    let volumes = ["m1", "m2", "m3"];
    export(&party, &volumes, &flags).result();
    // As a run that was killed leaves it.
    let interrupt = || {
        fs::rename(party.path("m2/index.bin"), party.path("m2/index.new")).unwrap();
        let data = party.read("m2/data0000.bin");
        fs::remove_file(party.path("m2/data0000.bin")).unwrap();
        party.write("m2/data0000.bin.part", &data[..data.len() / 2 + 77]);
        data
    };
    let data = interrupt();
    let run = export(&party, &volumes, &flags[..2]);
    assert!(run.code == 4 && run.stdout.contains("was begun with encryption"), "{run:?}");
    let elsewhere = ["bundle", "export", "--dir", "snaps", "--state-dir", "elsewhere"];
    let run = party.run(&[&elsewhere[..], &flags, &["--output", "json", "--to"], &volumes].concat());
    assert!(run.code == 4 && run.stdout.contains("a key of another machine"), "{run:?}");
    let exported = export(&party, &volumes, &flags).result();
    let second = exported["volumes"].as_array().unwrap().iter().find(|v| v["directory"] == "m2").unwrap();
    assert!(second["kept_bytes"].as_u64() > Some(0) && second["kept_bytes"] != second["bytes"], "{exported}");
    assert_eq!(party.read("m2/data0000.bin"), data);
    import(&party, &volumes, "out", &["--age-identity", "mine"]).result();
    is_complete(&party, "out");
    // A set is encrypted as a whole, or not.
    let plain = Carrier::new();
    fs::rename(plain.path("m2/index.bin"), plain.path("m2/index.new")).unwrap();
    let run = export(&plain.party, &volumes, &flags);
    assert!(run.code == 4 && run.stdout.contains("was begun without encryption"), "{run:?}");
}
