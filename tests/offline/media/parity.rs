//! Parity over volumes: any so many of all may be lost, broken or late, and bad blocks may be scattered over all of them.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use regenesis::base::{Error, Kind, progress::Item, task::CancellationToken};
use serde_json::Value;

use super::{export_here_until, failed, import, medium};
use crate::common::{Party, names};

const ALL: [&str; 5] = ["d1", "d2", "d3", "p1", "p2"];

/// A signed snapshot of a dozen chunks on three volumes, and two of parity.
fn carrier() -> (Party, Value) {
    let party = Party::new();
    party.take_large("snaps", 3000);
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let exported = export(&party, &ALL, "2").result();
    (party, exported)
}

fn export(party: &Party, to: &[&str], parity: &str) -> crate::common::Run {
    let first = ["bundle", "export", "--dir", "snaps", "--state-dir", "lead", "--output", "json", "--parity", parity];
    party.run(&[&first[..], &["--to"], to].concat())
}

fn is_complete(party: &Party, directory: &str) {
    for name in ["genesis.json", "snapshot.sql.gz", "manifest.regenesis"] {
        let (out, snaps) = (format!("{directory}/{name}"), format!("snaps/{name}"));
        assert!(party.read(&out) == party.read(&snaps), "{directory}: {name} is another one");
    }
}

/// Changes a byte in the middle of each stretch of a file.
fn scratch(party: &Party, file: &str, places: &[u64]) {
    let path = party.path(file);
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    for place in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *place).unwrap();
        file.write_all_at(&[byte[0] ^ 0x5a], *place).unwrap();
    }
}

#[test]
fn any_two_of_five_volumes_may_be_lost() {
    let (party, exported) = carrier();
    let volumes = exported["volumes"].as_array().unwrap();
    assert_eq!(volumes.iter().filter(|v| v["parity"] == true).count(), 2, "{exported}");
    assert!(volumes.iter().take(3).all(|v| v["chunks"].as_u64() > Some(1)), "{exported}");
    for (first, lost) in ALL.iter().enumerate() {
        for also in &ALL[first + 1..] {
            let rest: Vec<&str> = ALL.iter().copied().filter(|name| name != lost && name != also).collect();
            let into = format!("without-{lost}-{also}");
            let result = import(&party, &rest, &into, &[]).result();
            assert_eq!(result["complete"], true, "{result}");
            let lost_chunks = [lost, also].iter().filter(|name| name.starts_with('d')).count();
            assert_eq!(result["restored_chunks"].as_u64() > Some(0), lost_chunks > 0, "{result}");
            is_complete(&party, &into);
        }
    }
    let verified = party.run(&[&["bundle", "verify"], &ALL[..], &["--output", "json"]].concat()).result();
    assert_eq!((&verified["ok"], &verified["lacking_chunks"]), (&true.into(), &0.into()), "{verified}");
}

#[test]
fn a_couriers_sheet_says_which_volume_holds_what() {
    let (party, exported) = carrier();
    let args = ["bundle", "label", "d1", "p2", "--state-dir", "relay"];
    let sheet = party.run(&[&args[..], &["--output", "json"]].concat()).result();
    assert_eq!((&sheet["parity"], &sheet["words"]), (&2.into(), &exported["words"]), "{sheet}");
    let text = party.run(&args).done().stdout;
    party.run(&[&args[..], &["--html", "-o", "sheet.html"]].concat()).done();
    let page = String::from_utf8(party.read("sheet.html")).unwrap();
    for shown in [&text, &page] {
        for volume in exported["volumes"].as_array().unwrap() {
            assert!(shown.contains(volume["label"].as_str().unwrap()), "{shown}");
        }
        assert!(shown.contains("Any 2 of these 5 volumes may be lost") && shown.contains("parity"), "{shown}");
        assert!(shown.contains(exported["words"].as_str().unwrap()), "{shown}");
    }
    // A medium of no migration is no reason to print one.
    fs::create_dir(party.path("empty")).unwrap();
    party.run(&["bundle", "label", "empty", "--state-dir", "relay"]).failed(3, &["no medium has a manifest"]);
}

#[test]
fn what_is_still_needed_is_said_as_any_so_many_of_them() {
    let (party, exported) = carrier();
    let labels: Vec<&str> =
        exported["volumes"].as_array().unwrap().iter().map(|v| v["label"].as_str().unwrap()).collect();
    // Of data alone, and of parity alone.
    let result = failed(&import(&party, &["d1", "d2"], "one", &[]), 5, &["any 1 of the volumes"]);
    assert_eq!((&result["needed"], &result["needed_any"]), (&labels[2..].into(), &1.into()), "{result}");
    let result = failed(&import(&party, &["p1", "d3"], "two", &[]), 5, &["any 1 of the volumes"]);
    assert_eq!(result["needed"], serde_json::json!([labels[0], labels[1], labels[4]]), "{result}");
    assert!(!party.path("two/snapshot.sql.gz").exists(), "nothing unverified under a final name");
    import(&party, &["p2"], "one", &[]).result();
    is_complete(&party, "one");
    // Looked at before anything is imported, they are judged by the same rule; sound media are no failure.
    let verify = |from: &[&str]| party.run(&[&["bundle", "verify"], from, &["--output", "json"]].concat());
    let verified = verify(&["d1", "d2"]).result();
    assert_eq!((&verified["needed"], &verified["needed_any"]), (&labels[2..].into(), &1.into()), "{verified}");
    assert!(verified["lacking_chunks"].as_u64() > Some(0) && verified["made_good_chunks"] == 0, "{verified}");
    let verified = verify(&["p1", "d3"]).result();
    assert_eq!(verified["needed"], serde_json::json!([labels[0], labels[1], labels[4]]), "{verified}");
    let text = party.run(&["bundle", "verify", "p1", "d3"]).done().stdout;
    assert!(text.contains("still needed are any 1 of the volumes"), "{text}");
    let verified = verify(&["p1", "d3", "p2"]).result();
    assert_eq!(
        (&verified["made_good_chunks"], &verified["needed"]),
        (&verified["lacking_chunks"], &serde_json::json!([]))
    );
    let text = party.run(&["bundle", "verify", "p1", "d3", "p2"]).done().stdout;
    assert!(text.contains("parity suffices"), "{text}");
    // What an earlier import took counts, although its medium is not there any more.
    let result = import(&party, &["p1", "p2"], "two", &[]).result();
    assert!(result["restored_chunks"].as_u64() > Some(0), "{result}");
    is_complete(&party, "two");
}

#[test]
fn bad_blocks_on_all_media_are_made_up_for_and_said() {
    let (party, _) = carrier();
    // Of one stripe two chunks are bad, of the next one a chunk and a shard. The first file of the first volume is the genesis.
    scratch(&party, "d1/data0001.bin", &[(256 << 10) + 9]);
    scratch(&party, "d2/data0000.bin", &[(256 << 10) + 9]);
    scratch(&party, "d3/data0000.bin", &[(256 << 10) + 9]);
    scratch(&party, "p1/pari0000.bin", &[(2 << 18) + 9]);
    let bad = party.run(&[&["bundle", "verify"], &ALL[..], &["--output", "json"]].concat());
    let verified = failed(&bad, 3, &["4 media are not what was signed"]);
    let parity = medium(&verified, "p1")["troubles"][0].as_str().unwrap();
    assert!(parity.contains("shard of parity 2"), "{parity}");
    assert_eq!((&verified["lacking_chunks"], &verified["made_good_chunks"]), (&3.into(), &3.into()), "{verified}");
    assert!(bad.stderr.contains("import them as they are"), "{bad:?}");
    // Whatever was worn, an import says of the same media what the look at them said.
    for from in [&["d1", "p1"][..], &["d2", "d3", "p1"], &["d1", "d2", "p2"]] {
        let look = party.run(&[&["bundle", "verify"], from, &["--output", "json"]].concat());
        let (look, into) = (serde_json::from_str::<Value>(&look.stdout).unwrap(), from.concat());
        let taken: Value = serde_json::from_str(&import(&party, from, &into, &[]).stdout).unwrap();
        for what in ["needed", "needed_any", "needed_anew"] {
            assert_eq!(look["result"][what], taken["result"][what], "{from:?}: {what} of {look} and {taken}");
        }
    }
    // Without parity at hand: any one that has it makes the bad chunk of each stripe good.
    let data = party.run(&["bundle", "verify", "d1", "d2", "d3"]);
    assert!(data.code == 3 && data.stdout.contains("still needed are the volumes"), "{data:?}");
    // With all of it at hand one more bad chunk is too much, and it is said which volumes are to blame.
    let sound = party.read("d2/data0000.bin");
    scratch(&party, "d2/data0000.bin", &[(2 << 18) + 9]);
    let bad = party.run(&[&["bundle", "verify"], &ALL[..], &["--output", "json"]].concat());
    let verified = failed(&bad, 3, &["media are not what was signed"]);
    assert!(
        verified["needed_anew"].as_array().unwrap().len() > 1 && verified["needed"] == serde_json::json!([]),
        "{verified}"
    );
    party.write("d2/data0000.bin", sound);
    let result = import(&party, &ALL, "out", &[]).result();
    assert_eq!(result["restored_chunks"], 3, "{result}");
    assert_eq!(medium(&result, "d2")["bad_chunks"], 1, "{result}");
    is_complete(&party, "out");
}

#[test]
fn hostile_parity_is_refused_by_name_and_costs_nothing_that_was_good() {
    let (party, _) = carrier();
    let good = party.read("p1/parity.bin");
    // Rotten, huge, of another volume, cut, a link, none at all.
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("rotten", [&good[..40], &[good[40] ^ 1], &good[41..]].concat(), "parity.bin"),
        ("huge", vec![0; (10 << 20) + 1], "parity.bin is larger than"),
        ("sister", party.read("p2/parity.bin"), "its parity is that of another volume"),
        ("cut", good[..good.len() / 2].to_vec(), "parity.bin"),
    ];
    for (name, bytes, says) in cases {
        party.write("p1/parity.bin", bytes);
        // p2 alone makes up for the one that is lost.
        let result = import(&party, &["p1", "d1", "p2", "d2"], name, &[]).result();
        let trouble = medium(&result, "p1")["troubles"][0].as_str().unwrap_or_default().to_owned();
        assert!(trouble.contains(says), "{name}: {result}");
        is_complete(&party, name);
    }
    fs::remove_file(party.path("p1/parity.bin")).unwrap();
    std::os::unix::fs::symlink("../p2/parity.bin", party.path("p1/parity.bin")).unwrap();
    let result = import(&party, &["p1", "d1", "p2", "d2"], "link", &[]).result();
    assert!(medium(&result, "p1")["troubles"][0].as_str().unwrap().contains("a link"), "{result}");
    party.write("p1/again", &good);
    fs::remove_file(party.path("p1/parity.bin")).unwrap();
    party.write("p1/parity.bin", &good);
    // Shards that are gone, or short: nothing false is ever written, and what is lacking is said.
    fs::OpenOptions::new().write(true).open(party.path("p1/pari0000.bin")).unwrap().set_len(77).unwrap();
    fs::remove_file(party.path("p2/pari0000.bin")).unwrap();
    let result = failed(&import(&party, &["p1", "d1", "p2", "d2"], "gone", &[]), 5, &["lacking"]);
    assert!(result["restored_chunks"] == 0 && result["complete"] == false, "{result}");
    assert!(!party.path("gone/snapshot.sql.gz").exists());
    import(&party, &["d3"], "gone", &[]).result();
    is_complete(&party, "gone");
}

/// Exports in this process, until so many bytes of parity are done; gives what each volume of parity kept of an earlier run, if it ended.
fn export_until(party: &Party, to: &[&str], stop: u64) -> Result<Vec<u64>, Error> {
    let to: Vec<_> = to.iter().map(|name| party.path(name)).collect();
    let cancel = CancellationToken::new();
    let stopping = cancel.clone();
    let look = move |item: &Item| {
        if matches!(item, Item::Bytes { task: "parity", done, .. } if *done >= stop) {
            stopping.cancel();
        }
    };
    let exported = export_here_until(party, &to, 2, None, look, &cancel)?;
    Ok(exported.volumes.iter().filter(|volume| volume.parity).map(|volume| volume.kept_bytes).collect())
}

fn copy(party: &Party, from: &[&str], to: &[&str]) {
    for (from, to) in from.iter().zip(to) {
        fs::create_dir(party.path(to)).unwrap();
        for name in names(&party.path(from)) {
            fs::copy(party.path(&format!("{from}/{name}")), party.path(&format!("{to}/{name}"))).unwrap();
        }
    }
}

#[test]
fn parity_that_was_interrupted_goes_on_and_is_what_it_would_have_been() {
    let party = Party::new();
    party.take_large("snaps", 3000);
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let stopped = |to: &[&str], stop: u64| {
        let error = export_until(&party, to, stop).unwrap_err();
        assert!(matches!(error.kind(), Kind::Interrupted(_)) && error.advice().is_some(), "{}", error.chain());
    };
    // All data are there, and nearly nothing of parity: the same set is made in one go and in several.
    stopped(&ALL, 1);
    let often = ["e1", "e2", "e3", "q1", "q2"];
    copy(&party, &ALL, &often);
    export_until(&party, &ALL, u64::MAX).unwrap();
    let bytes = fs::metadata(party.path("p1/pari0000.bin")).unwrap().len();
    stopped(&often, bytes);
    let parts = ["q1", "q2"].map(|name| party.path(&format!("{name}/pari0000.bin.part")));
    assert!(parts.iter().all(|part| fs::metadata(part).unwrap().len() > 0), "each has its first half");
    assert!(!party.path("q1/pari0000.bin").exists(), "nothing that is not whole under a final name");
    // One of them lost its last bytes, and the record of the other one speaks of more than there is.
    let half = fs::metadata(&parts[0]).unwrap().len();
    OpenOptions::new().write(true).open(&parts[1]).unwrap().set_len(half - 5).unwrap();
    stopped(&often, 2 * bytes - 1);
    let kept = export_until(&party, &often, u64::MAX).unwrap();
    assert!(kept.iter().all(|kept| (1..=bytes).contains(kept)), "{kept:?} of {bytes} were not made anew");
    for (once, often) in ALL.iter().zip(&often) {
        assert_eq!(names(&party.path(once)), names(&party.path(often)));
        for name in names(&party.path(once)) {
            let (once, often) = (format!("{once}/{name}"), format!("{often}/{name}"));
            assert!(party.read(&once) == party.read(&often), "{once} is another one");
        }
    }
    import(&party, &["e2", "q1", "q2"], "out", &[]).result();
    is_complete(&party, "out");
}

#[test]
fn parity_of_something_else_is_not_gone_on_with() {
    let party = Party::new();
    party.take_large("snaps", 3000);
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
    let unfinished = |to: &[&str]| assert!(export_until(&party, to, 600_000).is_err());
    unfinished(&ALL);
    let others = ["f1", "f2", "f3", "r1", "r2"];
    unfinished(&others);
    // Both belong together, and not to this set; and a record whose ids are not those of the bytes.
    for name in ["parity.new", "pari0000.bin.part"] {
        party.write(&format!("p1/{name}"), party.read(&format!("r2/{name}")));
    }
    let record = party.read("p2/parity.new");
    party.write("p2/parity.new", [&record[..32], &[7; 64]].concat());
    assert_eq!(export_until(&party, &ALL, u64::MAX).unwrap(), [0, 0]);
    import(&party, &["d2", "p1", "p2"], "out", &[]).result();
    is_complete(&party, "out");
}

#[test]
fn an_export_with_parity_goes_on_and_refuses_what_does_not_fit_it() {
    let (party, _) = carrier();
    let whole = party.read("p1/pari0000.bin");
    // As a run that was killed leaves them.
    for name in ["d2", "p1"] {
        fs::rename(party.path(&format!("{name}/index.bin")), party.path(&format!("{name}/index.new"))).unwrap();
    }
    fs::remove_file(party.path("p1/parity.bin")).unwrap();
    party.write("p1/pari0000.bin", &whole[..100]);
    // One whose medium was lost before anything was on it.
    fs::remove_dir_all(party.path("d3")).unwrap();
    let exported = export(&party, &ALL, "2").result();
    let volumes = exported["volumes"].as_array().unwrap();
    assert!(
        volumes[0]["kept_bytes"] == volumes[0]["bytes"] && volumes[4]["kept_bytes"] == volumes[4]["bytes"],
        "{exported}"
    );
    assert!(party.read("p1/pari0000.bin") == whole, "parity is the same");
    import(&party, &["d3", "p1", "p2"], "out", &[]).result();
    is_complete(&party, "out");
    for (to, parity, says) in [
        (&ALL[..4], "2", "other numbers of volumes"),
        (&ALL[..], "1", "other numbers of volumes"),
        (&["x1", "x2"][..], "2", "parity takes at least one volume of data"),
    ] {
        let run = export(&party, to, parity);
        assert!(run.code != 0 && run.stdout.contains(says), "{run:?}");
    }
}
