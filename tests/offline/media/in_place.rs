//! Chunks that stay on the media: everything is checked as where it is copied, and what cannot be served so is said.

use std::{fs, os::unix::fs::FileExt};

use super::{Carrier, export, failed, import, medium};

/// Changes a byte of a file.
fn scratch(carrier: &Carrier, file: &str, place: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(carrier.path(file)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x5a], place).unwrap();
}

fn in_place(carrier: &Carrier, from: &[&str], into: &str) -> crate::common::Run {
    import(&carrier.party, from, into, &["--in-place"])
}

#[test]
fn nothing_is_copied_and_all_of_it_is_checked() {
    let carrier = Carrier::new();
    let result = in_place(&carrier, &["m3", "m1", "m2"], "out").result();
    assert_eq!(
        (&result["complete"], &result["in_place"], &result["snapshot"]),
        (&true.into(), &true.into(), &().into())
    );
    assert!(!carrier.path("out/snapshot.sql.gz").exists() && !carrier.path("out/snapshot.sql.gz.part").exists());
    assert!(["m1", "m2", "m3"].iter().all(|name| medium(&result, name)["taken_chunks"].as_u64() > Some(1)), "{result}");
    // As long as the media are there the directory lacks nothing.
    let status = || carrier.party.run(&["status", "--dir", "out", "--output", "json"]).result();
    let shown = status();
    assert_eq!((&shown["node"]["complete"], &shown["on_media"]["coming_chunks"]), (&true.into(), &0.into()), "{shown}");
    fs::rename(carrier.path("m2"), carrier.path("away")).unwrap();
    let shown = status();
    assert_eq!(shown["on_media"]["coming"], serde_json::json!([carrier.labels[1]]), "{shown}");
    assert_eq!(shown["on_media"]["coming_chunks"], medium(&result, "m2")["taken_chunks"], "{shown}");
    fs::rename(carrier.path("away"), carrier.path("m2")).unwrap();
    // It may be written onto other media, also with parity, as a directory that has the files.
    let relay = |to: &[&str], more: &[&str]| {
        let args = ["bundle", "export", "--dir", "out", "--state-dir", "relay", "--output", "json"];
        carrier.party.run(&[&args[..], more, &["--to"], to].concat())
    };
    let exported = relay(&["r1", "r2", "p1"], &["--parity", "1"]).result();
    assert_eq!(exported["absent_chunks"], 0, "{exported}");
    import(&carrier.party, &["r2", "p1"], "relayed", &[]).result();
    carrier.is_complete("relayed");
    fs::rename(carrier.path("m2"), carrier.path("away")).unwrap();
    let run = relay(&["r3"], &[]);
    assert!(
        run.code == 1 && run.stdout.contains("m2/data") && run.stderr.contains("mount the medium again"),
        "{run:?}"
    );
    fs::rename(carrier.path("away"), carrier.path("m2")).unwrap();
    // A fetch or an import may still fill it.
    import(&carrier.party, &["m3", "m1", "m2"], "out", &[]).result();
    carrier.is_complete("out");
    let again = in_place(&carrier, &["m3", "m1", "m2"], "out");
    failed(&again, 4, &["has all files itself"]);
}

#[test]
fn what_a_medium_has_not_as_signed_is_used_from_another_one() {
    let carrier = Carrier::new();
    scratch(&carrier, "m2/data0000.bin", (256 << 10) + 7);
    let result =
        failed(&in_place(&carrier, &["m1", "m2", "m3"], "worn"), 5, &["are lacking", "no volume that is known"]);
    assert_eq!((&medium(&result, "m2")["bad_chunks"], &result["unknown_chunks"]), (&1.into(), &1.into()), "{result}");
    assert!(medium(&result, "m2")["troubles"][0].as_str().unwrap().contains("not what was signed: chunk"), "{result}");
    assert!(!carrier.path("worn/.regenesis/in-place").exists(), "nothing to serve");
    // Another export has that chunk, too; the rest is served from where it was.
    export(&carrier.party, &["whole"], &[]).result();
    let result = in_place(&carrier, &["m1", "m2", "m3", "whole"], "worn").result();
    assert_eq!((&result["complete"], &medium(&result, "whole")["taken_chunks"]), (&true.into(), &1.into()), "{result}");
    // Of a file that is too short nothing is used, and the volume that has the same is asked for.
    fs::OpenOptions::new().write(true).open(carrier.path("m3/data0000.bin")).unwrap().set_len(77).unwrap();
    let run = in_place(&carrier, &["m1", "m3"], "short");
    let result =
        failed(&run, 5, &["still needed is the volume", &carrier.labels[1], "and no volume that is known holds"]);
    assert!(medium(&result, "m3")["troubles"][0].as_str().unwrap().contains("data0000.bin has 77 bytes"), "{result}");
}

#[test]
fn what_takes_a_key_or_parity_is_not_served_in_place() {
    let carrier = Carrier::new();
    export(&carrier.party, &["d1", "d2", "p1"], &["--parity", "1"]).result();
    let run = in_place(&carrier, &["d1", "p1"], "out");
    let result = failed(&run, 5, &["which only an import with a copy makes from parity"]);
    assert!(
        result["made_good_chunks"].as_u64() > Some(1) && run.stderr.contains("import without --in-place"),
        "{run:?}"
    );
    import(&carrier.party, &["d1", "p1"], "out", &[]).result();
    carrier.is_complete("out");
    carrier.party.write("passphrase", "four words that nobody guesses\n");
    export(&carrier.party, &["s1"], &["--passphrase-file", "passphrase"]).result();
    let run = import(&carrier.party, &["s1"], "sealed", &["--in-place", "--passphrase-file", "passphrase"]);
    failed(&run, 4, &["s1 is encrypted"]);
}
