//! Nobody has to believe the lead: old validators compare what was signed with their own databases, and roots are set up
//! only where enough of them agree.

use std::fs;

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    outside::{KEEP_EVENTS, events},
    status,
};
use crate::common::{LOOPBACK, Party, Process, Run, SHUFFLE, data, server, unzip};

/// The recorded quartet of a family, each validator with a database of its own whose rows lie in an order of its own.
pub(super) struct Quartet {
    family: Family,
    numbers: [usize; 4],
    databases: Vec<String>,
}

impl Quartet {
    pub(super) fn new(family: Family, name: &str) -> Self {
        let (world, numbers) = match family {
            Family::V09 => ("v0.9/worlds/quartet", [0, 1, 2, 3]),
            // Number 3 had left the network.
            Family::V010 => ("v0.10/worlds/quartet", [0, 1, 2, 4]),
        };
        let text = unzip(&data(&format!("{world}/database.sql.gz")));
        let databases = numbers.map(|number| {
            let database = format!("attest_{name}_{number}");
            server().load(&database, &text).unwrap();
            if number > 0 {
                server().query(&database, SHUFFLE).unwrap();
            }
            database
        });
        Quartet { family, numbers, databases: databases.to_vec() }
    }

    /// Changes something in the old database of a validator.
    pub(super) fn tamper(&self, index: usize) {
        let sql = match self.family {
            Family::V09 => {
                "DELETE FROM ds_xfccfd6dcc9592deca57a9d1aee92946f2dae036c9b6b42ec41161aa5.lines WHERE id = \
                 (SELECT min(id) FROM ds_xfccfd6dcc9592deca57a9d1aee92946f2dae036c9b6b42ec41161aa5.lines)"
            }
            Family::V010 => "UPDATE ledger.accts SET amount = amount + 1 WHERE id = (SELECT min(id) FROM ledger.accts)",
        };
        server().query(&self.databases[index], sql).unwrap();
    }

    /// The table that [`Quartet::tamper`] changes.
    pub(super) fn tampered(&self) -> &'static str {
        match self.family {
            Family::V09 => ".lines",
            Family::V010 => "ledger.accts",
        }
    }

    pub(super) fn publish(&self, more: &[&str]) -> (Party, Process, String) {
        let lead = Party::new();
        lead.take_key(self.family, 0, "lead.key");
        let world = if self.family == Family::V09 { "v0.9/worlds/quartet" } else { "v0.10/worlds/quartet" };
        let genesis = data(&format!("{world}/genesis.original.json"));
        let publish = super::publish(&lead, &self.databases[0], &genesis, more);
        let ticket = publish.ticket();
        (lead, publish, ticket)
    }

    fn old_flags(&self, index: usize) -> Vec<String> {
        let port = server().port().to_string();
        [
            "--old-dbname",
            &self.databases[index],
            "--old-host",
            "127.0.0.1",
            "--old-port",
            &port,
            "--old-user",
            "postgres",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// A validator that joins, with its old database.
    fn join(&self, party: &Party, ticket: &str, index: usize, more: &[&str]) -> Process {
        self.join_and_stay(party, ticket, index, "5s", more)
    }

    /// The same, and serves so long when its work is done.
    pub(super) fn join_and_stay(
        &self,
        party: &Party,
        ticket: &str,
        index: usize,
        linger: &str,
        more: &[&str],
    ) -> Process {
        party.take_key(self.family, self.numbers[index], "node.key");
        let old = self.old_flags(index);
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let flags = ["--key-file", "node.key", "--timeout", "60s", "--linger", linger, "--output", "json"];
        party.join_and_stay(ticket, "root", &[&flags[..], &old, more].concat())
    }
}

fn is_set_up(party: &Party) -> bool {
    party.path("root/genesis.json").exists()
}

/// Three find the state in their own databases, the fourth does not: the three go on, the fourth's table is named everywhere.
fn one_of_four_dissents(family: Family, name: &str) {
    let quartet = Quartet::new(family, name);
    // One of power 1: the v0.9 quartet's last validator has power 2 of 5, without which there are no two thirds.
    quartet.tamper(2);
    let (lead, publish, ticket) = quartet.publish(&KEEP_EVENTS);
    let parties = [1, 3, 2].map(|_| Party::new());
    let joining: Vec<Process> =
        parties.iter().zip([1, 3, 2]).map(|(party, index)| quartet.join(party, &ticket, index, &[])).collect();
    let table = quartet.tampered();
    publish.wait_for("the dissent", |_, stderr| {
        let line = stderr.lines().find(|line| line.contains("DISSENT: "))?;
        line.contains(table).then_some(())
    });
    let runs: Vec<Run> = joining.into_iter().map(Process::finish).collect();
    for (party, run) in parties.iter().zip(&runs).take(2) {
        run.result();
        assert!(is_set_up(party));
        assert!(run.stderr.contains("holds the state that was signed"), "{}", run.stderr);
        assert!(!run.stderr.contains("ATTESTATIONS: NONE"), "{}", run.stderr);
    }
    assert_eq!(runs[2].code, 3, "{:?}", runs[2]);
    assert!(runs[2].stderr.contains("holds ANOTHER state") && runs[2].stderr.contains(table), "{}", runs[2].stderr);
    assert!(!is_set_up(&parties[2]));
    // Whoever knows why takes the others' state; nothing is fetched again.
    let again = quartet.join(&parties[2], &ticket, 2, &["--despite-dissent"]).finish().result();
    assert_eq!(again["received_bytes"], 0, "{again}");
    let published = publish.stop(Signal::SIGTERM).done();
    assert!(published.stderr.contains("3 of 4 old validators agree"), "{}", published.stderr);
    let told = events(&lead);
    let dissent: Vec<_> = told.iter().filter(|event| event["event"] == "dissent").collect();
    assert!(dissent.len() == 1 && dissent[0]["differs"].to_string().contains(table), "{told:?}");
}

#[test]
fn one_of_four_v0_9_validators_dissents() {
    one_of_four_dissents(Family::V09, "v09_one");
}

#[test]
fn one_of_four_v0_10_validators_dissents() {
    one_of_four_dissents(Family::V010, "v010_one");
}

#[test]
fn two_of_four_dissent_and_nobody_sets_up() {
    let quartet = Quartet::new(Family::V09, "two");
    quartet.tamper(2);
    quartet.tamper(3);
    let (lead, publish, ticket) = quartet.publish(&[]);
    let parties = [1, 2, 3].map(|_| Party::new());
    let joining: Vec<Process> =
        parties.iter().zip([1, 2, 3]).map(|(party, index)| quartet.join(party, &ticket, index, &[])).collect();
    for (party, process) in parties.iter().zip(joining) {
        let run = process.finish();
        assert_eq!(run.code, 4, "{run:?}");
        assert!(run.stderr.contains("nobody may set a root up") && run.stderr.contains(".lines"), "{}", run.stderr);
        assert!(!is_set_up(party));
    }
    // Whoever asks is told who, in what, and what not to do.
    let watching = status::watch(&lead, "snaps");
    let status = status::wait_for(&watching, "both dissents", |status| status["attestations"]["dissent"] == 2);
    let attested = &status["attestations"];
    assert_eq!(attested["verdict"], "lost", "{status}");
    assert_eq!(status["estimate"]["limit"]["by"], "dissent", "{status}");
    let voices = attested["voices"].as_array().unwrap();
    let dissents: Vec<&Value> = voices.iter().filter(|voice| voice["vote"] == "dissents").collect();
    assert!(
        dissents.len() == 2 && dissents.iter().all(|voice| voice["differs"][0].as_str().unwrap().contains(".lines"))
    );
    assert!(status["next"].as_str().unwrap().starts_with("do not start the new network"), "{status}");
    let words = lead.run(&["status", "--dir", "snaps"]).done().stdout;
    watching.stop(Signal::SIGINT).done();
    assert!(words.contains("  DISSENTS   validator ") && words.contains(".lines"), "{words}");
    publish.stop(Signal::SIGTERM).done();
    // Who serves until there is a quorum is not told that all is well: what was heard before is kept.
    let served = lead.spawn(&[&["seed", "--dir", "snaps", "--until", "quorum"], &LOOPBACK[..]].concat()).finish();
    assert!(served.code == 4 && served.stderr.contains("nobody may set a root up"), "{served:?}");
}

#[test]
fn a_validator_that_comes_late_hears_from_a_seed_what_was_attested() {
    let quartet = Quartet::new(Family::V010, "late");
    let (_lead, publish, ticket) = quartet.publish(&[]);
    let parties = [1, 2].map(|_| Party::new());
    let joining: Vec<Process> =
        parties.iter().zip([1, 2]).map(|(party, index)| quartet.join(party, &ticket, index, &[])).collect();
    for process in joining {
        process.finish().result();
    }
    publish.stop(Signal::SIGTERM).done();
    // Nobody who attested runs any more; one of the roots knows what they said.
    let seed = parties[0].seed("root");
    let late = Party::new();
    late.take_key(Family::V010, 4, "node.key");
    let flags = ["--key-file", "node.key", "--no-attest", "--timeout", "60s", "--output", "json"];
    late.join(&seed.ticket(), "root", &flags).finish().result();
    seed.stop(Signal::SIGTERM).done();
}

#[test]
fn without_the_old_databases_nobody_sets_up_and_the_missing_ones_are_named() {
    let quartet = Quartet::new(Family::V09, "alone");
    let (lead, publish, ticket) = quartet.publish(&[]);
    let party = Party::new();
    party.take_key(Family::V09, 1, "node.key");
    let flags = ["--key-file", "node.key", "--no-attest", "--timeout", "2s"];
    let run = party.join(&ticket, "root", &flags).finish();
    run.failed(
        5,
        &["1 of 4 old validators agree, with power 1 of 5; waiting for", "--attestations", "snapshot attest"],
    );
    assert!(!is_set_up(&party));

    // Statements may come as files: made beside the old database, brought by hand.
    let mut files = Vec::new();
    for index in [1, 3] {
        let name = format!("statement-{index}");
        party.take_key(Family::V09, quartet.numbers[index], "old.key");
        let port = server().port().to_string();
        let manifest = lead.path("snaps");
        let run = party.run(&[
            "snapshot",
            "attest",
            "--manifest",
            manifest.to_str().unwrap(),
            "--key-file",
            "old.key",
            "--dbname",
            &quartet.databases[index],
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--user",
            "postgres",
            "-o",
            &name,
            "--output",
            "json",
        ]);
        let attested = run.result();
        assert_eq!(
            (&attested["agrees"], &attested["genesis_changes"]),
            (&true.into(), &Value::Array(vec![])),
            "{run:?}"
        );
        files.extend(["--attestation".to_owned(), name]);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    // Who only waits hears it from the one who brought them.
    let waiting = Party::new();
    let wait = waiting.swarm(&["wait", &ticket, "--for", "attested", "--timeout", "60s"]);
    // It has everything from before, and would be gone before anyone hears it, were it not to stay.
    let flags = ["--key-file", "node.key", "--no-attest", "--linger", "1h", "--output", "json"];
    let join = party.join_and_stay(&ticket, "root", &[&flags[..], &files].concat());
    wait.finish().done();
    join.wait_for("the result", |stdout, _| stdout.contains("\"root\"").then_some(()));
    join.stop(Signal::SIGTERM).result();
    publish.stop(Signal::SIGTERM).done();
}

/// What the lead changes in the genesis is listed and taken by name, before anything of the snapshot is fetched; the state is
/// the same all the same.
#[test]
fn an_edited_genesis_is_told_and_taken_only_by_name() {
    let quartet = Quartet::new(Family::V010, "edited");
    let (lead, publish, _) = quartet.publish(&[]);
    publish.stop(Signal::SIGTERM).done();
    lead.run(&["genesis", "set", "snaps/genesis.json", "max_block_size=1000001"]).done();
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let parties = [1, 2].map(|_| Party::new());
    let words = ["max_block_size", "1000001 in the new genesis", "--accept-genesis-change"];
    let check = |flags: &[&str]| {
        let run = quartet.join(&parties[0], &ticket, 1, &[&["--check"], flags].concat()).finish();
        let answer: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
        let checks = answer["result"]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["code"] == "genesis-change").unwrap().clone()
    };
    let told = check(&[]);
    assert_eq!(told["level"], "error", "{told}");
    assert!(words[..2].iter().all(|word| told["text"].as_str().unwrap().contains(word)), "{told}");
    assert_eq!(check(&["--accept-genesis-change"])["level"], "note");
    let refused = quartet.join(&parties[0], &ticket, 1, &[]).finish();
    assert_eq!(refused.code, 4, "{refused:?}");
    for word in ["nothing was fetched: the new genesis has otherwise"].iter().chain(&words) {
        assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
    }
    let taken = parties[0].path("root").parent().unwrap().join(".root.regenesis-part/genesis-state.sql.gz.part");
    assert!(!taken.exists(), "the snapshot was begun: {}", taken.display());
    let joining: Vec<Process> = parties
        .iter()
        .zip([1, 2])
        .map(|(party, index)| quartet.join(party, &ticket, index, &["--accept-genesis-change"]))
        .collect();
    for process in joining {
        let run = process.finish();
        assert_eq!(run.stderr.matches("1000001 in the new genesis").count(), 1, "told once: {}", run.stderr);
        run.result();
    }
    publish.stop(Signal::SIGTERM).done();
}

/// A validator whose old database stands where a node's usually does, and who says nothing of it.
#[test]
fn the_old_database_is_found_where_nobody_named_it_and_another_networks_is_no_dissent() {
    let quartet = Quartet::new(Family::V010, "found");
    let (_lead, publish, ticket) = quartet.publish(&["--attestations", "2"]);
    let foreign = "attest_found_foreign";
    server().load(foreign, &unzip(&data("v0.10/worlds/solo/database.sql.gz"))).unwrap();
    let port = server().port().to_string();
    let join = |party: &Party, index: usize, dbname: &str| {
        party.take_key(quartet.family, quartet.numbers[index], "node.key");
        let flags = ["--key-file", "node.key", "--timeout", "60s", "--linger", "none", "--output", "json"];
        let mut command = party.command(
            &[&["join", &ticket, "--root-dir", "root"], &flags[..], &LOOPBACK, &["--state-dir", "state"]].concat(),
        );
        command.envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", dbname)]);
        Process::spawn(command)
    };
    let parties = [1, 2].map(|_| Party::new());
    let stranger = join(&parties[0], 2, foreign);
    stranger.wait_for_words("holds another network's state: this node attests nothing");
    let own = join(&parties[1], 1, &quartet.databases[1]).finish();
    own.result();
    assert!(own.stderr.contains("this node's old database holds the state that was signed"), "{}", own.stderr);
    stranger.finish().result();
    let published = publish.stop(Signal::SIGTERM).done();
    assert!(!published.stderr.contains("DISSENT"), "{}", published.stderr);
}

/// Roots are there and their operators wait to start kwild, when so many old validators dissent that nobody may.
#[test]
fn a_dissent_that_comes_late_starts_nobodys_program() {
    let quartet = Quartet::new(Family::V010, "late_dissent");
    let (lead, publish, ticket) = quartet.publish(&[]);
    let parties = [0, 1, 2].map(|_| Party::new());
    let join = |party: &Party, index: usize| {
        party.take_key(quartet.family, quartet.numbers[index], "node.key");
        let old = quartet.old_flags(index);
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let what = ["join", &ticket, "--root-dir", "root", "--key-file", "node.key", "--state-dir", "state"];
        // What follows --then is the program's.
        let then = ["--wait", "everyone", "--then", "/bin/sh", "-c", "touch started"];
        party.spawn(&[&what[..], &LOOPBACK, &old, &then].concat())
    };
    let joining: Vec<Process> = parties.iter().zip(0..).map(|(party, index)| join(party, index)).collect();
    for process in &joining {
        process.wait_for_words("3 of 4 validators ready");
    }
    // One that had agreed takes it back, and the fourth has never agreed.
    quartet.tamper(3);
    let dissenter = Party::new();
    let (port, manifest) = (server().port().to_string(), lead.path("snaps"));
    let mut files = Vec::new();
    for index in [2, 3] {
        let name = format!("dissent-{index}");
        dissenter.take_key(quartet.family, quartet.numbers[index], "old.key");
        let old = ["--dbname", &quartet.databases[3], "--host", "127.0.0.1", "--port", &port, "--user", "postgres"];
        let what =
            ["snapshot", "attest", "--manifest", manifest.to_str().unwrap(), "--key-file", "old.key", "-o", &name];
        let run = dissenter.run(&[&what[..], &old].concat());
        assert!(run.code == 3 && run.stdout.contains("is NOT what"), "{run:?}");
        files.extend(["--attestation".to_owned(), name]);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let told = dissenter.swarm(&[&["fetch", &ticket, "--dir", "files", "--linger", "1h"], &files[..]].concat());
    for (party, process) in parties.iter().zip(joining) {
        let run = process.finish();
        assert!(run.code == 4 && run.stderr.contains("nobody may set a root up"), "{run:?}");
        assert!(is_set_up(party) && !party.path("started").exists());
    }
    told.wait_for_words("others reach this node at");
    told.stop(Signal::SIGTERM).done();
    publish.stop(Signal::SIGTERM).done();
}

/// A lead that names only its own key as the old network's would need nobody's word.
#[test]
fn a_lead_that_names_false_old_validators_is_found_out_by_any_old_database() {
    let quartet = Quartet::new(Family::V010, "false");
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let recorded = fs::read(data("v0.10/worlds/quartet/genesis.original.json")).unwrap();
    let mut genesis: Value = serde_json::from_slice(&recorded).unwrap();
    genesis["validators"].as_array_mut().unwrap().truncate(1);
    lead.write("old.json", genesis.to_string());
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--genesis", "old.json"]);
    let party = Party::new();
    let run = quartet.join(&party, &publish.ticket(), 1, &[]).finish();
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("with power 1 is only in your database"), "{}", run.stderr);
    assert!(!is_set_up(&party));
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_lead_may_say_aloud_that_nobody_has_to_confirm_anything() {
    let quartet = Quartet::new(Family::V09, "none");
    let (lead, publish, ticket) = quartet.publish(&["--attestations", "none"]);
    let party = Party::new();
    party.take_key(Family::V09, 1, "node.key");
    let run = party.join(&ticket, "root", &["--key-file", "node.key", "--no-attest", "--output", "json"]).finish();
    run.result();
    assert!(run.stderr.contains("ATTESTATIONS: NONE"), "{}", run.stderr);
    let published = publish.stop(Signal::SIGTERM).done();
    assert!(published.stderr.contains("ATTESTATIONS: NONE"), "{}", published.stderr);
    assert!(fs::exists(lead.path("snaps/manifest.regenesis")).unwrap());
}

#[test]
fn a_signature_by_file_reaches_the_process_that_serves_the_proposal() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let second = Party::new();
    second.take_key(Family::V010, 1, "second.key");
    let key = second.run(&["key", "info", "-o", "second.key", "--output", "json"]).result();
    let public = key["validator_id"].as_str().unwrap();
    let flags = ["publish", "--dir", "snaps", "--key", "lead.key", "--threshold", "2", "--cosigner", public];
    let publish = lead.swarm(&flags);
    let validator = Party::new();
    let fetch = validator.fetch(&publish.ticket(), "files");
    fetch.wait_for_words("waiting until the co-signers have signed the manifest: 1 of 2 signatures; waiting for");

    // The file goes to the co-signer and comes back.
    second.write("manifest", lead.read("snaps/manifest.regenesis"));
    let again = lead.run(&["manifest", "cosign", "snaps", "--key", "lead.key", "--output", "json"]).result();
    assert_eq!((&again["signatures"], &again["needed"]), (&1.into(), &2.into()), "the lead's own counts once");
    second.take_key(Family::V010, 2, "stranger.key");
    second.run(&["manifest", "cosign", "manifest", "--key", "stranger.key"]).failed(4, &["does not name the key"]);
    let signed = second.run(&["manifest", "cosign", "manifest", "--key", "second.key"]).done();
    assert!(signed.stdout.contains("2 of 2 signatures: the manifest counts"), "{signed:?}");
    lead.write("snaps/manifest.regenesis", second.read("manifest"));

    fetch.finish().done();
    assert_eq!(validator.read("files/manifest.regenesis"), second.read("manifest"));
    publish.stop(Signal::SIGTERM).done();
}
