//! There and back: volumes in any order, over what is there already, with and without the program.

use std::{fs, process::Command};

use kwil_formats::formats::Family;

use super::{Carrier, export, failed, import};
use crate::common::{Party, names};

#[test]
fn volumes_come_back_byte_for_byte_in_any_order_and_in_several_runs() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    let verified = party.run(&["bundle", "verify", "m1", "m2", "m3", "--output", "json"]).result();
    assert_eq!((&verified["ok"], &verified["lacking_chunks"]), (&true.into(), &0.into()), "{verified}");
    // What is lacking is said by label.
    let run = carrier.import(&["m2"]);
    let result = failed(&run, 5, &[&carrier.labels[0], &carrier.labels[2]]);
    assert_eq!(
        (&result["complete"], &result["needed"]),
        (&false.into(), &serde_json::json!([carrier.labels[0], carrier.labels[2]]))
    );
    assert!(!carrier.path("out/snapshot.sql.gz").exists(), "nothing unverified under a final name");
    let result = carrier.import(&["m3", "m1"]).result();
    assert!(result["resumed_chunks"].as_u64() > Some(0), "{result}");
    carrier.is_complete("out");
    // It is what a fetch leaves, and a medium more changes nothing.
    assert_eq!(carrier.import(&["m2"]).result()["complete"], true);
    party.run(&["manifest", "verify", "out", "--trust", &lead(party), "--dir", "out"]).done();
    // An import gives media again.
    let again = party.run(&["bundle", "export", "--dir", "out", "--to", "m4", "--state-dir", "relay"]).done();
    assert!(again.stdout.contains("1 volume"), "{}", again.stdout);
    import(party, &["m4"], "far", &[]).result();
    carrier.is_complete("far");
}

fn lead(party: &Party) -> String {
    let shown = party.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    shown["lead"].as_str().or(shown["trust"]["lead"].as_str()).unwrap().to_owned()
}

#[test]
fn both_families_are_carried() {
    for family in [Family::V09, Family::V010] {
        let party = Party::new();
        party.take_recording(family, "snaps");
        party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
        export(&party, &["stick"], &[]).result();
        let result = import(&party, &["stick"], "out", &[]).result();
        assert_eq!(result["trusted"], false);
        for name in ["genesis.json", family.snapshot_file_name()] {
            assert_eq!(party.read(&format!("out/{name}")), party.read(&format!("snaps/{name}")), "{family} {name}");
        }
    }
}

#[test]
fn an_export_goes_on_where_it_stopped_and_keeps_what_is_whole() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    // As a run that was killed leaves it: a plan, a part, no index.
    fs::rename(carrier.path("m2/index.bin"), carrier.path("m2/index.new")).unwrap();
    let data = party.read("m2/data0000.bin");
    fs::remove_file(carrier.path("m2/data0000.bin")).unwrap();
    party.write("m2/data0000.bin.part", &data[..data.len() / 2 + 77]);
    fs::remove_file(carrier.path("m2/README.txt")).unwrap();
    failed(&carrier.import(&["m2"]), 5, &["lacking"]);
    let exported = export(party, &["m1", "m2", "m3"], &["--volume-size", "1500K"]).result();
    let volumes = exported["volumes"].as_array().unwrap();
    let kept: Vec<bool> = volumes.iter().map(|v| v["kept_bytes"] == v["bytes"]).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "{exported}");
    assert!(volumes.iter().any(|v| v["kept_bytes"] != v["bytes"] && v["kept_bytes"].as_u64() > Some(0)), "{exported}");
    assert_eq!(party.read("m2/data0000.bin"), data);
    assert!(carrier.path("m2/README.txt").exists() && !carrier.path("m2/index.new").exists());
    carrier.import(&["m1", "m2", "m3"]).result();
    carrier.is_complete("out");
}

#[test]
fn what_finds_no_room_is_said_and_further_media_take_it() {
    let party = Party::new();
    party.take_large("snaps", 3000);
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let result = failed(&export(&party, &["a"], &["--volume-size", "1500K"]), 1, &["the media are full"]);
    assert!(result["left_chunks"].as_u64() > Some(0));
    let result = export(&party, &["a", "b", "c", "d"], &["--volume-size", "1500K"]).result();
    assert_eq!((&result["left_chunks"], result["unused"].as_array().unwrap().len()), (&0.into(), 1), "{result}");
    import(&party, &["c", "b", "a"], "out", &[]).result();
    // Too small for anything.
    let run = export(&party, &["tiny"], &["--volume-size", "100K"]);
    assert!(run.code == 1 && run.stdout.contains("a volume takes at least"), "{run:?}");
}

#[test]
fn a_directory_that_is_being_filled_gives_what_is_there() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    failed(&carrier.import(&["m1"]), 5, &["lacking"]);
    let half =
        party.run(&["bundle", "export", "--dir", "out", "--to", "half", "--state-dir", "relay", "--output", "json"]);
    let result = half.result();
    assert!(result["absent_chunks"].as_u64() > Some(0), "{result}");
    // Two islands that have each a part complete each other.
    failed(&import(party, &["m2", "m3"], "island", &[]), 5, &["lacking"]);
    import(party, &["half"], "island", &[]).result();
    carrier.is_complete("island");
}

#[test]
fn what_is_missing_is_told_on_paper_and_comes_on_a_medium_of_its_own() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    failed(&carrier.import(&["m1", "m3"]), 5, &[&carrier.labels[1]]);
    let missing = party.run(&["bundle", "missing", "--dir", "out", "--output", "json"]).result();
    let lines: Vec<&str> = missing["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(missing["missing_chunks"].as_u64() > Some(1), "{missing}");
    // Typed, with a wrong letter: it is refused with its place, and nothing is written.
    let typed = lines.join("\n").to_lowercase();
    let at = typed.find(": ").unwrap() + 4;
    let other = if typed.as_bytes()[at] == b'z' { "y" } else { "z" };
    party.write("wrong.txt", format!("{}{other}{}", &typed[..at], &typed[at + 1..]));
    let run = export(party, &["post"], &["--missing-from", "wrong.txt"]);
    assert!(run.code == 3 && run.stdout.contains("line 1") && run.stdout.contains("letter 3"), "{run:?}");
    assert!(!carrier.path("post/index.bin").exists());
    // As it was read out.
    party.write("right.txt", &typed);
    let exported = export(party, &["post"], &["--missing-from", "right.txt"]).result();
    assert_eq!(exported["volumes"][0]["chunks"], missing["missing_chunks"], "{exported}");
    assert_eq!(exported["absent_chunks"], 0);
    carrier.import(&["post"]).result();
    carrier.is_complete("out");
    // Nothing is missing any more, and who asks for that gets no medium.
    party.run(&["bundle", "missing", "--dir", "out", "-o", "none.bin"]).done();
    let run = export(party, &["empty"], &["--missing-from", "none.bin"]);
    assert!(run.code == 1 && run.stdout.contains("nothing of what none.bin lacks"), "{run:?}");
}

#[test]
fn what_is_on_media_is_counted_as_on_its_way() {
    let carrier = Carrier::new();
    let status = |directory: &str| {
        let status = carrier.party.run(&["status", "--dir", directory, "--output", "json"]).result();
        (status["on_media"].clone(), carrier.party.run(&["status", "--dir", directory]).done().stdout)
    };
    let (lead, shown) = status("snaps");
    assert_eq!((&lead["written_volumes"], &lead["written"]), (&3.into(), &serde_json::json!(carrier.labels)), "{lead}");
    assert!(lead["written_unix_seconds"].as_u64() > Some(1_700_000_000) && lead["coming_chunks"] == 0, "{lead}");
    assert!(shown.contains("on media     3 volumes from here with"), "{shown}");
    // The relay knows of the volumes that the first one names, until it has what they hold.
    let result = failed(&carrier.import(&["m1"]), 5, &["still needed"]);
    let (relay, shown) = status("out");
    assert_eq!((&relay["coming"], &relay["coming_bytes"]), (&result["needed"], &result["lacking_bytes"]), "{relay}");
    assert!(shown.contains("on its way   ") && shown.contains(&carrier.labels[2]), "{shown}");
    assert!(relay["asked_unix_seconds"].is_null() && relay["written_volumes"] == 0, "{relay}");
    // What it asks for is said from then on.
    let missing = carrier.party.run(&["bundle", "missing", "--dir", "out", "-o", "list", "--output", "json"]).result();
    let (relay, shown) = status("out");
    assert_eq!(
        (&relay["asked_chunks"], &relay["asked_bytes"]),
        (&missing["missing_chunks"], &missing["missing_bytes"])
    );
    assert!(shown.contains("asked for    ") && relay["asked_unix_seconds"].as_u64() > Some(1_700_000_000), "{shown}");
    export(&carrier.party, &["back"], &["--missing-from", "list"]).result();
    let (lead, _) = status("snaps");
    assert_eq!((&lead["written_volumes"], lead["written"].as_array().unwrap().len()), (&4.into(), 4), "{lead}");
    carrier.import(&["back"]).result();
    let (relay, shown) = status("out");
    assert_eq!((&relay["coming_chunks"], &relay["asked_chunks"]), (&0.into(), &0.into()), "{relay}");
    assert!(!shown.contains("on its way") && !shown.contains("asked for"), "{shown}");
}

/// Two islands that each have half, and one stick that is carried to the other one and back.
#[test]
fn two_islands_complete_each_other_through_one_stick() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    failed(&import(party, &["m1"], "east", &[]), 5, &["still needed"]);
    failed(&import(party, &["m2", "m3"], "west", &[]), 5, &["still needed"]);
    let from = |island: &str, more: &[&str]| {
        let args = ["bundle", "export", "--dir", island, "--state-dir", island, "--output", "json"];
        party.run(&[&args[..], more].concat())
    };
    // There: what the east has, and a list of what it lacks.
    from("east", &["--to", "stick"]).result();
    party.run(&["bundle", "missing", "--dir", "east", "-o", "stick/missing.bin"]).done();
    import(party, &["stick"], "west", &[]).result();
    carrier.is_complete("west");
    // And back, in another directory: a volume is never written over.
    let back = ["--missing-from", "stick/missing.bin", "--to"];
    let run = from("west", &[&back[..], &["stick"]].concat());
    failed(&run, 1, &["the directories hold whole volumes already"]);
    assert!(run.stderr.contains("another directory on one that has room"), "{run:?}");
    let exported = from("west", &[&back[..], &["stick/back"]].concat()).result();
    import(party, &["stick/back"], "east", &[]).result();
    carrier.is_complete("east");
    let (all, half) = (party.read("snaps/snapshot.sql.gz").len() as u64, exported["volumes"][0]["bytes"].as_u64());
    assert!(half < Some(all), "only what was lacking: {exported}");
}

#[test]
fn the_secret_stays_at_home_unless_it_is_asked_for() {
    let carrier = Carrier::new();
    let party = &carrier.party;
    let secret = party.read("snaps/.regenesis/secret");
    for volume in ["m1", "m2", "m3"] {
        for name in names(&carrier.path(volume)) {
            let bytes = party.read(&format!("{volume}/{name}"));
            assert!(!bytes.windows(32).any(|window| window == secret), "{volume}/{name}");
            assert!(!String::from_utf8_lossy(&bytes).contains("regenesis1"), "{volume}/{name}");
        }
    }
    // Without a ticket there is nothing to give.
    let run = export(party, &["open"], &["--with-secret"]);
    assert!(run.code == 1 && run.stderr.contains("no ticket yet"), "{run:?}");
}

#[test]
fn a_medium_is_checked_without_the_program() {
    let carrier = Carrier::new();
    let check = || Command::new("sh").arg(carrier.path("m1/verify.sh")).output().unwrap();
    // With python3 alone: the path has nothing else.
    let bin = carrier.path("bin");
    fs::create_dir(&bin).unwrap();
    // What `python3` names may be a script that needs more than python.
    let python = "import os, sys; print(os.path.realpath(sys.executable))";
    for (name, find) in [("dirname", "command -v dirname".to_owned()), ("python3", format!("python3 -c '{python}'"))] {
        let found = Command::new("sh").args(["-c", &find]).output().unwrap().stdout;
        std::os::unix::fs::symlink(String::from_utf8(found).unwrap().trim(), bin.join(name)).unwrap();
    }
    let with_python = || Command::new("/bin/sh").arg(carrier.path("m1/verify.sh")).env("PATH", &bin).output().unwrap();
    for output in [check(), with_python()] {
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("all files are as they were written"), "{output:?}");
    }
    let mut data = carrier.party.read("m1/data0000.bin");
    data[5] ^= 1;
    carrier.party.write("m1/data0000.bin", data);
    for output in [check(), with_python()] {
        assert!(output.status.code() == Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("this medium is damaged"), "{output:?}");
    }
}

#[test]
fn what_is_written_has_names_that_any_file_system_takes() {
    let carrier = Carrier::new();
    for volume in ["m1", "m2", "m3"] {
        let names = names(&carrier.path(volume));
        let mut lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        lower.dedup();
        assert_eq!(lower.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')), "{names:?}");
    }
    // In other letters, as the oldest FAT gives them, they are found all the same.
    for name in names(&carrier.path("m1")) {
        fs::rename(carrier.path("m1").join(&name), carrier.path("m1").join(name.to_ascii_uppercase())).unwrap();
    }
    carrier.import(&["m1", "m2", "m3"]).result();
    carrier.is_complete("out");
}
