//! The restore, rehearsed: what fails is named, what always fails is told apart, nothing is left behind.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use kwil_formats::formats::Family;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{flags, fresh_name, with};
use crate::{
    common::{Party, Process, Run, data, guarded, server, unzip},
    wait::wait_for,
};

const WORLDS: [&str; 3] = [
    "v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz",
    "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz",
    "truf/worlds/quartet/kwild-snapshot/snapshot.sql.gz",
];

fn text(world: &str) -> String {
    String::from_utf8(unzip(&data(world))).unwrap()
}

/// The same with the guard.
fn guarded_text() -> String {
    String::from_utf8(guarded(Family::V010, text(WORLDS[1]).as_bytes())).unwrap()
}

fn left_behind() -> String {
    server().query("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'regenesis%'").unwrap()
}

fn dry_run(party: &Party, args: &[&str]) -> Run {
    let flags = flags("does_not_matter");
    party.run(&with(&[&["setup", "restore", "--dry-run"], args].concat(), &flags))
}

/// A rehearsal of this text, which fails; its result.
#[track_caller]
fn fails(text: &str) -> Value {
    let party = Party::new();
    party.write("snapshot.sql", text);
    let run = dry_run(&party, &["-s", "snapshot.sql", "--output", "json"]);
    assert_eq!(run.code, 3, "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(json["error"].as_str().unwrap().contains("would not restore all"), "{json}");
    assert_eq!(json["result"]["ok"], false);
    json["result"].clone()
}

/// A row of `ledger.accts` that no server takes: its id is no number.
const NO_NUMBER: &str = "x\tholder\t1.5\n";

#[test]
fn recorded_snapshots_lose_nothing_and_leave_nothing() {
    let party = Party::new();
    // Obeyed by kwild's psql and not by ours; either would end the restore or spoil it.
    party.write(".psqlrc", "\\set ON_ERROR_STOP 1\n\\! touch harm\n");
    for world in WORLDS {
        let file = data(world);
        let genesis = file.with_file_name("genesis.json");
        let (file, genesis) = (file.to_str().unwrap(), genesis.to_str().unwrap());
        let flags = flags("x");
        let args = ["setup", "restore", "--dry-run", "-s", file, "-g", genesis, "--output", "json"];
        let mut command = party.command(&with(&args, &flags));
        command.env("PGCLIENTENCODING", "LATIN1").env("PGOPTIONS", "-c standard_conforming_strings=off");
        let run = Process::spawn(command).finish();
        let result = run.result();
        assert_eq!(result["ok"], true);
        assert_eq!(result["rows"], result["restored_rows"]);
        assert_eq!(result["differs"], serde_json::json!([]));
        assert_eq!(result["server"], format!("127.0.0.1:{}", server().port()));
        let failed = result["failed"].as_array().unwrap();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!((&failed[0]["expected"], &failed[0]["sqlstate"]), (&true.into(), &"23503".into()));
        assert!(failed[0]["statement"].as_str().unwrap().contains("votes_voter_id_fkey"));
        let notes = result["notes"].to_string();
        assert!(notes.contains(".psqlrc") && notes.contains("PGCLIENTENCODING"), "{notes}");
    }
    assert!(!party.path("harm").exists());
    // Other tests may be at it at this moment; none of ours is called so once they are all done.
    let words = dry_run(&party, &["-s", data(WORLDS[1]).to_str().unwrap()]);
    assert!(words.stdout.starts_with("kwild would restore all of this snapshot."), "{words:?}");
    assert!(words.stdout.contains("harmless"), "{words:?}");
    assert!(words.stdout.contains(&format!(", at 127.0.0.1:{}\n", server().port())), "{words:?}");
}

#[test]
fn a_row_that_the_server_refuses_takes_its_table_with_it_and_is_named() {
    let text = text(WORLDS[1]);
    let begin = text.find("COPY ledger.accts (").unwrap();
    let row = begin + text[begin..].find('\n').unwrap() + 1;
    let rows = text[row..].find("\n\\.\n").unwrap();
    let count = text[row..row + rows].lines().count();
    let line = 1 + text[..begin].matches('\n').count();
    let short = format!("{}{NO_NUMBER}{}", &text[..row], &text[row..]);
    let result = fails(&short);
    let differs = &result["differs"][0];
    assert_eq!(differs["table"], "ledger.accts");
    assert_eq!((differs["file"].as_u64(), differs["restored"].as_u64()), (Some(count as u64 + 1), Some(0)));
    let failed = result["failed"].as_array().unwrap();
    assert_eq!(failed[0]["line"].as_u64(), Some(line as u64), "{failed:?}");
    assert_eq!(failed[0]["sqlstate"], "22P02");
    assert!(failed[0]["statement"].as_str().unwrap().starts_with("COPY ledger.accts"), "{failed:?}");
    // What refers to its rows cannot be made either.
    assert!(failed.iter().any(|f| f["expected"] == false && f["statement"].to_string().contains("ledger.moves")));
    let party = Party::new();
    party.write("snapshot.sql", &short);
    let words = dry_run(&party, &["-s", "snapshot.sql"]);
    assert!(words.stdout.contains("LOST ledger.accts: 0 rows restored"), "{words:?}");
    assert!(words.stderr.contains("next: "), "{words:?}");
}

#[test]
fn a_guarded_text_loads_whole_or_stops_at_the_line_that_fails() {
    let party = Party::new();
    let text = guarded_text();
    party.write("snapshot.sql", &text);
    let result = dry_run(&party, &["-s", "snapshot.sql", "--output", "json"]).result();
    assert_eq!((&result["ok"], &result["guarded"]), (&true.into(), &true.into()));
    assert_eq!(result["failed"], serde_json::json!([]), "the key of votes is left out");
    assert_eq!(result["rows"], result["restored_rows"]);

    for (begin, after, sqlstate) in
        [("COPY ledger.accts (", NO_NUMBER, "22P02"), ("ALTER TABLE ONLY ledger.accts\n    ADD", "", "42P16")]
    {
        let at = text.find(begin).unwrap();
        let line = 1 + text[..at].matches('\n').count();
        let next = at + text[at..].find('\n').unwrap() + 1;
        // A value of another type than its column's; a key that is there already.
        let bad = match after {
            "" => {
                let end = at + text[at..].find(";\n").unwrap() + 2;
                let again = text[at..end].replace("_pkey", "_pkey2");
                format!("{}{again}{}", &text[..end], &text[end..])
            }
            row => format!("{}{row}{}", &text[..next], &text[next..]),
        };
        let line = if after.is_empty() { line + 2 } else { line };
        let result = fails_with(&bad, &format!("line {line}: "));
        let failed = result["failed"].as_array().unwrap();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(
            (failed[0]["line"].as_u64(), &failed[0]["sqlstate"]),
            (Some(line as u64), &sqlstate.into()),
            "{failed:?}"
        );
        assert_eq!((&result["restored_rows"], &result["differs"]), (&0.into(), &serde_json::json!([])));
    }
}

/// A rehearsal of a guarded text, which stops; its result.
#[track_caller]
fn fails_with(text: &str, words: &str) -> Value {
    let party = Party::new();
    party.write("snapshot.sql", text);
    let run = dry_run(&party, &["-s", "snapshot.sql", "--output", "json"]);
    assert_eq!(run.code, 3, "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let error = json["error"].as_str().unwrap();
    assert!(error.contains("nothing was loaded") && error.contains(words), "{json}");
    json["result"].clone()
}

#[test]
fn a_constraint_that_cannot_be_made_is_named_though_no_row_is_lost() {
    let text = text(WORLDS[0]);
    let begin = text.find("COPY ds_").unwrap();
    let row = begin + text[begin..].find('\n').unwrap() + 1;
    let first = &text[row..=row + text[row..].find('\n').unwrap()];
    let twice = format!("{}{first}{}", &text[..row], &text[row..]);
    let result = fails(&twice);
    assert_eq!(result["differs"], serde_json::json!([]));
    let failed = result["failed"].as_array().unwrap();
    let unexpected: Vec<&Value> = failed.iter().filter(|f| f["expected"] == false).collect();
    assert_eq!(unexpected[0]["sqlstate"], "23505", "{failed:?}");
    assert!(unexpected[0]["statement"].as_str().unwrap().contains("bids_pkey"), "{failed:?}");
}

#[test]
fn what_is_no_kwil_dump_is_never_run() {
    let party = Party::new();
    for (place, harm) in [("\nCOPY ", "\n\\! touch harm\nCOPY "), ("\nCOPY ", "\nCREATE ROLE evil SUPERUSER;\nCOPY ")] {
        party.write("snapshot.sql", text(WORLDS[1]).replacen(place, harm, 1));
        dry_run(&party, &["-s", "snapshot.sql"]).failed(3, &["what no Kwil dump holds"]);
    }
    assert!(!party.path("harm").exists());
    assert_eq!(server().query("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'evil'").unwrap().trim(), "0");
}

#[test]
fn hash_and_manifest_are_compared() {
    let party = Party::new();
    party.take_recording(Family::V010, "snap");
    party.run(&["manifest", "sign", "--snapdir", "snap", "--key", "lead.key", "--state-dir", "state"]).done();
    dry_run(&party, &["-s", "snap/snapshot.sql.gz", "-g", "snap/genesis.json", "--manifest", "snap"]).done();
    let other = data(WORLDS[2]);
    let other = other.to_str().unwrap();
    dry_run(&party, &["-s", other, "--manifest", "snap"]).failed(3, &["is not the manifest's snapshot"]);
    dry_run(&party, &["-s", other, "-g", "snap/genesis.json"]).failed(3, &["state hash"]);
    dry_run(&party, &["-s", "snap/snapshot.sql.gz", "--manifest", "snap/genesis.json"]).failed(3, &["is no manifest"]);
}

#[test]
fn wrong_use_is_explained() {
    let party = Party::new();
    let file = data(WORLDS[1]);
    let file = file.to_str().unwrap();
    party.run(&["setup", "restore", "-s", file]).failed(2, &["--dry-run", "kwild itself restores"]);
    dry_run(&party, &["-s", "nowhere.sql.gz"]).failed(1, &["nowhere.sql.gz"]);
    let port = server().port().to_string();
    server().query("postgres", "CREATE ROLE humble LOGIN").unwrap();
    let args =
        ["setup", "restore", "--dry-run", "-s", file, "--host", "127.0.0.1", "--port", &port, "--user", "humble"];
    party.run(&args).failed(4, &["may not make databases", "CREATEDB"]);
    let args = ["setup", "restore", "--dry-run", "-s", file, "--host", "127.0.0.1", "--port", "1", "--user", "x"];
    party.run(&args).failed(1, &["cannot reach Postgres", "throw-away"]);
}

/// A psql of ours, first on PATH.
fn with_psql(party: &Party, script: &str, args: &[&str]) -> Command {
    party.write("bin/psql", script);
    fs::set_permissions(party.path("bin/psql"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = party.command(args);
    let path = format!("{}:{}", party.path("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path);
    command
}

#[test]
fn a_signal_ends_psql_and_drops_the_database() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let party = Party::new();
        let file = data(WORLDS[1]);
        let flags = flags("x");
        let args = with(&["setup", "restore", "--dry-run", "-s", file.to_str().unwrap()], &flags);
        // Its last argument but the known ones is the database; it never reads, and never ends by itself.
        let script = "#!/bin/sh\necho $$ > pid.part; mv pid.part pid; echo 'psql: here' >&2; exec sleep 1000\n";
        let process = Process::spawn(with_psql(&party, script, &args));
        let name = process.wait_for("the database's name", |_, stderr| {
            let (_, rest) = stderr.split_once("into the database ")?;
            rest.split_once(' ').map(|(name, _)| name.to_owned())
        });
        wait_for("psql to start", || party.path("pid").exists());
        let psql: i32 = String::from_utf8(party.read("pid")).unwrap().trim().parse().unwrap();
        let run = process.stop(signal);
        assert_eq!(run.code, code, "{run:?}");
        wait_for("psql to end", || kill(Pid::from_raw(psql), None).is_err());
        assert!(!left_behind().contains(&name), "{name} is still there");
    }
}

#[test]
fn a_full_disk_and_a_lost_server_are_no_verdict_on_the_snapshot() {
    let party = Party::new();
    let file = data(WORLDS[1]);
    let flags = flags("x");
    let args = with(&["setup", "restore", "--dry-run", "-s", file.to_str().unwrap()], &flags);
    let full = "#!/bin/sh\ncat > /dev/null\necho 'psql:<stdin>:99: ERROR:  53100: could not extend file: No space left on \
                device' >&2\n";
    let run = Process::spawn(with_psql(&party, full, &args)).finish();
    run.failed(1, &["says nothing about the snapshot", "No space left", "disk is full"]);
    let lost = "#!/bin/sh\necho 'psql: error: server closed the connection unexpectedly' >&2\nexit 2\n";
    let run = Process::spawn(with_psql(&party, lost, &args)).finish();
    run.failed(1, &["psql ended with", "server closed the connection"]);
}

/// Puts a snapshot with this text and a genesis that pins it into `directory`.
fn publishable(party: &Party, directory: &str, text: &str) {
    party.take_recording(Family::V010, directory);
    let genesis = String::from_utf8(party.read(&format!("{directory}/genesis.json"))).unwrap();
    let mut genesis: Value = serde_json::from_str(&genesis).unwrap();
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    genesis["state_hash"] = hash.into();
    party.write(&format!("{directory}/genesis.json"), genesis.to_string());
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, text.as_bytes()).unwrap();
    party.write(&format!("{directory}/snapshot.sql.gz"), zipped.finish().unwrap());
}

#[test]
fn publish_rehearses_before_it_signs() {
    let party = Party::new();
    let text = guarded_text();
    let begin = text.find("COPY ledger.accts (").unwrap();
    let row = begin + text[begin..].find('\n').unwrap() + 1;
    publishable(&party, "bad", &format!("{}{NO_NUMBER}{}", &text[..row], &text[row..]));
    let publish = |directory| party.swarm(&["publish", "--dir", directory, "--key", "lead.key", "--rehearse"]);
    let run = publish("bad").finish();
    run.failed(3, &["nothing was signed or served", "ledger.accts", "nothing was loaded", "setup restore --dry-run"]);
    assert!(!party.path("bad/manifest.regenesis").exists());
    publishable(&party, "good", &text);
    let serving = publish("good");
    assert!(serving.ticket().starts_with("regenesis1"));
    serving.wait_for_words("rehearsed: psql restored all 496 rows of 29 tables on a throw-away server, PostgreSQL");
    assert_eq!(serving.stop(Signal::SIGTERM).code, 0);
    // The server that is named is the one; where no database can be made there, it is not.
    let named = |more: &[&str]| {
        let head = ["publish", "--dir", "good", "--key", "lead.key"];
        party.swarm(&with(&[&head, more].concat(), &flags("postgres")))
    };
    named(&[]).finish().failed(2, &["--dir signs what is there", "--rehearse"]);
    let serving = named(&["--rehearse"]);
    serving.wait_for_words(&format!("on the server at 127.0.0.1:{}, PostgreSQL {}", server().port(), version()));
    serving.ticket();
    assert_eq!(serving.stop(Signal::SIGTERM).code, 0);
    server().query("postgres", "CREATE ROLE makes_nothing LOGIN").unwrap();
    let port = server().port().to_string();
    let less = ["publish", "--dir", "good", "--key", "lead.key", "--rehearse", "--host", "127.0.0.1", "--port", &port];
    let serving = party.swarm(&[&less[..], &["--user", "makes_nothing"]].concat());
    serving.wait_for_words("on a throw-away server instead: \"makes_nothing\" may not make databases");
    serving.wait_for_words("on a throw-away server, PostgreSQL");
    serving.ticket();
    assert_eq!(serving.stop(Signal::SIGTERM).code, 0);
}

/// The server's version in its own words.
fn version() -> String {
    server().query("postgres", "SHOW server_version").unwrap().trim().to_owned()
}

#[test]
fn publish_from_a_database_rehearses_too() {
    let party = Party::new();
    let database = fresh_name();
    let world = fs::read(data("v0.9/worlds/solo/database.sql.gz")).unwrap();
    server().load(&database, &world).unwrap();
    party.take_key(Family::V09, 0, "lead.key");
    let flags = flags(&database);
    let serving = party.swarm(&with(&["publish", "--snapdir", "snap", "--key", "lead.key", "--rehearse"], &flags));
    serving.ticket();
    // On the server that the flags name, and which one it was is told.
    let place = format!("on the server at 127.0.0.1:{}, PostgreSQL {}", server().port(), version());
    serving.wait_for_words(&place);
    let run = serving.stop(Signal::SIGTERM);
    assert_eq!(run.code, 0);
    // What was hashed while it was written is not read to be signed.
    assert!(!run.stderr.contains("reading the snapshot"), "{run:?}");
    // Who reads the file, and says so, finds the same.
    let again = party.swarm(&["publish", "--dir", "snap", "--key", "lead.key"]);
    again.wait_for_words("nothing changed: the manifest is the one that was there");
    again.ticket();
    let run = again.stop(Signal::SIGTERM);
    assert!(run.code == 0 && run.stderr.contains("reading the snapshot"), "{run:?}");
}
