//! Starting together: who waits for what, the certificate, and the program that is started then.

use std::os::unix::fs::PermissionsExt;

use kwil_formats::formats::{
    Family,
    genesis::Genesis,
    key::{PrivateKey, PublicKey},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{LOOPBACK, Party, Process, data, validator_key};

/// The recorded quartet's validators, the leader first: three of them are enough, and the first two are not. v0.10's number
/// 3 had left, and v0.9's has power 2.
pub(super) fn quartet(family: Family) -> [usize; 4] {
    match family {
        Family::V09 => [0, 1, 3, 2],
        Family::V010 => {
            let recorded = std::fs::read(data("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap();
            let leader = *Genesis::parse(&recorded).unwrap().leader().unwrap();
            let mut all = [0, 1, 2, 4];
            all.sort_by_key(|number| public(family, *number) != leader);
            all
        }
    }
}

fn public(family: Family, number: usize) -> PublicKey {
    PrivateKey::parse_file(&std::fs::read(validator_key(family, number)).unwrap()).unwrap().0.public()
}

/// A join whose last flags are these: what follows `--then` is the program's.
pub(super) fn join(party: &Party, ticket: &str, family: Family, number: usize, last: &[&str]) -> Process {
    party.take_key(family, number, "node.key");
    let first = ["join", ticket, "--root-dir", "root", "--key-file", "node.key", "--state-dir", "state"];
    party.spawn(&[&first[..], &LOOPBACK, last].concat())
}

fn verified(certificate: &[u8], genesis: &[u8]) -> Value {
    // Somebody who has nothing else.
    let party = Party::new();
    party.write("c", certificate);
    party.write("g", genesis);
    party.run(&["evidence", "verify", "c", "--genesis", "g", "--output", "json"]).result()
}

/// What the program of a join writes down: its signals' meaning, and whether certificate and peers were there before it.
const LOOK: &str = "grep -E 'Sig(Ign|Blk)' /proc/self/status > seen; ls root/.regenesis/certificate.evidence >> seen; \
                    grep -c 127.0.0.1 root/config.toml >> seen; echo \"$0 $1\" >> seen; echo loud; exit 7";

fn start_together(family: Family) {
    let (three, all_power) = if family == Family::V09 { (4, 5) } else { (3, 4) };
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--until", "everyone"]);
    let ticket = publish.ticket();
    let watcher = Party::new();
    let wait = watcher.swarm(&["wait", &ticket, "--for", "quorum", "-o", "proof", "--output", "json"]);
    // Beside the process that serves the same directory.
    let all = lead.swarm(&["wait", "--dir", "snaps", "--for", "everyone", "--output", "json"]);
    let out = lead.swarm(&["wait", "--dir", "snaps", "--for", "distinct", "--output", "json"]);
    // On a busy machine everything could be over before one of them has begun.
    for process in [&wait, &all, &out] {
        process.wait_for_words("connected to peer");
    }

    let parties = [0; 4].map(|_| Party::new());
    let numbers = quartet(family);
    parties[0].write("kwild", "#!/bin/sh\necho kwild version v0.10.2-test\n");
    std::fs::set_permissions(parties[0].path("kwild"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let with = |i: usize, more: &[&str]| {
        let then = ["--wait", "quorum", "--linger", "none", "--output", "json", "--then", "/bin/sh", "-c", LOOK];
        join(&parties[i], &ticket, family, numbers[i], &[more, &then, &["a name", "--flag $(x)"]].concat())
    };
    let first = [with(0, &["--kwild", "./kwild"]), with(1, &[])];
    for process in &first {
        process.wait_for_words("2 of 4 validators ready");
    }
    assert!(!parties[0].path("seen").exists() && !parties[1].path("seen").exists());
    // The two have everything and stay until a third is ready.
    assert_eq!(out.finish().result()["every_chunk_out"], true);
    let third = with(2, &[]);
    for (party, process) in parties.iter().zip(first.into_iter().chain([third])) {
        let run = process.finish();
        assert_eq!(run.code, 7, "{run:?}");
        let json: Value = serde_json::from_str(&run.stdout).expect("stdout is the result and nothing else");
        assert_eq!(json["result"]["certificate"], party.path("root/.regenesis/certificate.evidence").to_str().unwrap());
        assert!(run.stderr.lines().any(|line| line == "loud"), "{}", run.stderr);
        let seen = String::from_utf8(party.read("seen")).unwrap();
        let lines: Vec<&str> = seen.lines().collect();
        for mask in &lines[..2] {
            let mask = u64::from_str_radix(mask.split_once(":\t").unwrap().1, 16).unwrap();
            // The C library keeps the first real-time signals for itself.
            assert_eq!(mask & ((1 << 31) - 1), 0, "ignored or blocked: {seen}");
        }
        assert_eq!(lines[2..].len(), 3, "{seen}");
        assert_ne!(lines[3], "0", "the others' addresses: {seen}");
        assert_eq!(lines[4], "a name --flag $(x)", "no shell has read it");
        let certificate = party.read("root/.regenesis/certificate.evidence");
        let json = verified(&certificate, &party.read("root/genesis.json"));
        assert_eq!(
            (&json["ok"], &json["power"], &json["total_power"]),
            (&true.into(), &three.into(), &all_power.into())
        );
        let told: Vec<&Value> = json["ready"].as_array().unwrap().iter().map(|ready| &ready["kwild_version"]).collect();
        assert_eq!(told.iter().filter(|version| **version == "v0.10.2-test").count(), 1, "{json}");
    }
    let waited = wait.finish().result();
    assert_eq!((&waited["quorum"], waited["ready"].as_array().unwrap().len()), (&true.into(), 3));
    assert_eq!(verified(&watcher.read("proof"), &lead.read("snaps/genesis.json"))["power"], three);
    // The fourth makes it everyone: who waits for that ends by itself, and the lead has the certificate as well.
    join(&parties[3], &ticket, family, numbers[3], &["--linger", "none"]).finish().done();
    assert_eq!(all.finish().result()["missing"], Value::Array(vec![]));
    let run = publish.finish().done();
    assert!(run.stderr.contains("all 4 validators ready: enough to make blocks"), "{}", run.stderr);
    let certificate = lead.read("snaps/.regenesis/certificate.evidence");
    assert_eq!(verified(&certificate, &lead.read("snaps/genesis.json"))["power"], all_power);
}

#[test]
fn v0_9_validators_start_their_programs_together() {
    start_together(Family::V09);
}

#[test]
fn v0_10_validators_start_their_programs_together() {
    start_together(Family::V010);
}

#[test]
fn three_without_the_leader_are_no_quorum() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--until", "quorum"]);
    let ticket = publish.ticket();
    let [leader, rest @ ..] = quartet(Family::V010);
    let parties = [0; 4].map(|_| Party::new());
    for (party, number) in parties.iter().zip(rest) {
        join(party, &ticket, Family::V010, number, &["--linger", "none"]).finish().done();
    }
    publish.wait_for_words("3 of 4 validators ready; waiting for");
    let late = lead.swarm(&["wait", "--dir", "snaps", "--for", "quorum", "--timeout", "1s", "-o", "proof"]).finish();
    late.failed(5, &["3 of 4 validators ready", "it goes on waiting"]);
    assert!(!lead.path("proof").exists() && !lead.path("snaps/.regenesis/certificate.evidence").exists());
    join(&parties[3], &ticket, Family::V010, leader, &["--linger", "none"]).finish().done();
    publish.finish().done();
}

#[test]
fn a_seed_and_a_waiting_member_end_when_every_chunk_is_with_two() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    publish.stop(Signal::SIGTERM).done();
    // Nobody serves the directory now: whoever waits with it does.
    let seed = lead.swarm(&["wait", "--dir", "snaps", "--for", "distinct"]);
    seed.wait_for_words("waiting until every chunk is with two others");
    let address = seed.wait_for("its address", |_, stderr| {
        let at = stderr.find("others reach this node at ").map(|at| at + 26)?;
        stderr[at..].split_once('\n').map(|(line, _)| line.to_owned())
    });
    let parties = [0; 2].map(|_| Party::new());
    let fetching: Vec<Process> = parties
        .iter()
        .map(|party| party.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "10m", "--connect", &address]))
        .collect();
    let run = seed.finish().done();
    assert!(run.stdout.contains("each is with two members"), "{}", run.stdout);
    for process in fetching {
        process.wait_for_words("serving others for 10m more");
        process.stop(Signal::SIGTERM).done();
    }
}

#[test]
fn who_waits_beside_a_process_that_ends_serves_on() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let wait = lead.swarm(&["wait", "--dir", "snaps", "--for", "distinct", "--output", "json"]);
    wait.wait_for_words("connected to peer");
    publish.stop(Signal::SIGTERM).done();
    wait.wait_for_words("has ended: this one serves it now");
    let address = wait.wait_for("its address", |_, stderr| {
        let at = stderr.find("others reach this node at ").map(|at| at + 26)?;
        stderr[at..].split_once('\n').map(|(line, _)| line.to_owned())
    });
    let parties = [0; 2].map(|_| Party::new());
    let fetching = parties
        .each_ref()
        .map(|party| party.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "10m", "--connect", &address]));
    assert_eq!(wait.finish().result()["every_chunk_out"], true);
    for process in fetching {
        process.wait_for_words("serving others for 10m more");
        process.stop(Signal::SIGTERM).done();
    }
}

#[test]
fn a_program_gets_the_signals_and_gives_its_exit_code() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let parties = [0; 3].map(|_| Party::new());
    // A child that ends by itself: a signal right after a fork is lost on the child, which would hold our pipes open for ever.
    let script = "trap 'exit 9' TERM; echo up >&2; while :; do sleep 0.05; done";
    let all: Vec<Process> = parties
        .iter()
        .enumerate()
        .map(|(i, party)| {
            let number = quartet(Family::V09)[i];
            join(party, &ticket, Family::V09, number, &["--wait", "quorum", "--then", "sh", "-c", script])
        })
        .collect();
    for process in &all {
        process.wait_for("the program", |_, stderr| stderr.lines().any(|line| line == "up").then_some(()));
    }
    for process in all {
        let run = process.stop(Signal::SIGTERM);
        assert!(run.code == 9 && run.stderr.contains("SIGTERM was passed on"), "{run:?}");
    }
    // What cannot be started is said before anything is fetched.
    let party = Party::new();
    let run = join(&party, &ticket, Family::V09, 0, &["--wait", "quorum", "--then", "./missing"]).finish();
    run.failed(2, &["there is no program ./missing"]);
    assert!(!party.path("root").exists());
    let run = join(&party, &ticket, Family::V09, 0, &["--then", "sh"]).finish();
    assert!(run.code == 2 && run.stderr.contains("--wait"), "{run:?}");
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn waiting_is_ended_by_a_timeout_a_signal_and_a_ticket_that_leads_nowhere() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let party = Party::new();
    let args = ["wait", &ticket, "--for", "everyone"];
    let run = party.swarm(&[&args[..], &["--timeout", "500ms"]].concat()).finish();
    run.failed(5, &["after 500ms of waiting: 0 of 4 validators ready; waiting for"]);
    let wait = party.swarm(&args);
    wait.wait_for_words("0 of 4 validators ready");
    let run = wait.stop(Signal::SIGINT);
    assert!(run.code == 130 && run.stderr.contains("it goes on waiting"), "{run:?}");
    publish.stop(Signal::SIGTERM).done();
    let run = party.swarm(&[&args[..], &["--timeout", "500ms"]].concat()).finish();
    run.failed(5, &["no peer was reached for 500ms"]);
    party.swarm(&["wait", "--dir", "nowhere", "--for", "quorum"]).finish().failed(1, &["nowhere"]);
    assert!(!party.path("nowhere").exists());
}
