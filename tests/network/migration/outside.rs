//! What a node tells others than people: a program for events, the service manager, and files that its words go into.

use std::{os::unix::net::UnixDatagram, time::Duration};

use kwil_formats::formats::Family;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::ready::{join, quartet};
use crate::{
    common::{LOOPBACK, Party, Process},
    wait::wait_for,
};

/// What the program for events of a party was told; it appends what it reads to the file `events`.
pub(super) fn events(party: &Party) -> Vec<Value> {
    let text = String::from_utf8(party.read("events")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Flags that name such a program.
pub(super) const KEEP_EVENTS: [&str; 5] = ["--on-event", "/bin/sh", "-c", "cat >> events", ";"];

#[test]
fn a_program_is_told_of_each_validator_that_is_ready_and_of_the_quorum() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let serve = ["publish", "--dir", "snaps", "--key", "lead.key"];
    let publish = lead.swarm(&[&serve[..], &KEEP_EVENTS, &["--until", "everyone"]].concat());
    let ticket = publish.ticket();
    let parties = [0; 4].map(|_| Party::new());
    let joins: Vec<Process> = parties
        .iter()
        .zip(quartet(Family::V010))
        .map(|(party, number)| join(party, &ticket, Family::V010, number, &["--wait", "quorum", "--linger", "none"]))
        .collect();
    for join in joins {
        join.finish().done();
    }
    publish.finish().done();
    let events = events(&lead);
    let of = |what: &str| events.iter().filter(|event| event["event"] == what).collect::<Vec<_>>();
    let mut ready: Vec<&str> = of("ready").iter().map(|event| event["validator"].as_str().unwrap()).collect();
    ready.sort_unstable();
    ready.dedup();
    assert_eq!((ready.len(), of("ready").len(), of("quorum").len()), (4, 4, 1), "{events:?}");
    let quorum = of("quorum")[0];
    assert_eq!((&quorum["power_of_all"], &quorum["role"]), (&4.into(), &"publish".into()), "{quorum}");
    assert!(quorum["ready_power"].as_u64().unwrap() >= 3 && quorum["network"]["chain_id"].is_string(), "{quorum}");
    assert!(humantime::parse_rfc3339(quorum["time"].as_str().unwrap()).is_ok(), "{quorum}");
}

#[test]
fn a_program_is_told_that_all_is_here_also_by_a_fetch_that_ends_at_once() {
    let (lead, fetcher) = (Party::new(), Party::new());
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let fetch = ["fetch", &publish.ticket(), "--dir", "into", "--linger", "none"];
    fetcher.swarm(&[&fetch[..], &KEEP_EVENTS].concat()).finish().done();
    let told = events(&fetcher);
    assert_eq!(told.iter().filter(|event| event["event"] == "complete").count(), 1, "{told:?}");
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_program_that_fails_or_hangs_holds_nothing_up() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let absent =
        lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--on-event", "no-such-program"]).finish();
    assert!(absent.code == 2 && absent.stderr.contains("there is no program no-such-program"), "{absent:?}");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--on-event", "/bin/false", ";"]);
    publish.wait_for_words("the program for events has not taken Complete: it ended with exit status: 1");
    publish.stop(Signal::SIGTERM).done();
    // Its stderr is not the node's, so that a test sees the node's end.
    let hang = "echo $$ > pid.part; mv pid.part pid; exec sleep 1000 2>/dev/null";
    let publish =
        lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--on-event", "/bin/sh", "-c", hang, ";"]);
    let party = Party::new();
    party.fetch(&publish.ticket(), "files").finish().done();
    assert_eq!(party.read("files/genesis.json"), lead.read("snaps/genesis.json"));
    wait_for("the program", || lead.path("pid").exists());
    let pid: i32 = String::from_utf8(lead.read("pid")).unwrap().trim().parse().unwrap();
    publish.stop(Signal::SIGTERM).done();
    // It was killed with its node: nobody has that number any more, or it waits to be counted.
    let is_gone = || match kill(Pid::from_raw(pid), None) {
        Err(Errno::ESRCH) => true,
        _ => std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")),
    };
    wait_for("the end of the program", is_gone);
}

#[test]
fn a_service_manager_is_told_when_a_node_is_ready_how_it_stands_and_that_it_ends() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let socket = UnixDatagram::bind(lead.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let serve = ["publish", "--dir", "snaps", "--key", "lead.key", "--state-dir", "state"];
    let mut command = lead.command(&[&serve[..], &LOOPBACK].concat());
    command.env("NOTIFY_SOCKET", lead.path("notify")).env("WATCHDOG_USEC", "30000000");
    let publish = Process::spawn(command);
    let mut told = Vec::new();
    let mut hear_until = |what: &str| {
        while !told.iter().any(|line: &String| line.starts_with(what)) {
            let mut bytes = [0; 4096];
            let size = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{what}: {e}; {told:?}"));
            told.extend(String::from_utf8(bytes[..size].to_vec()).unwrap().lines().map(str::to_owned));
        }
        told.clone()
    };
    for what in ["READY=1", "STATUS=serving, ", "WATCHDOG=1"] {
        hear_until(what);
    }
    publish.ticket();
    // The first step of its work was told before it was ready.
    let told = hear_until("READY=1");
    let at = |what: &str| told.iter().position(|line| line.starts_with(what)).unwrap();
    assert!(at("STATUS=") < at("READY=1"), "{told:?}");
    publish.signal(Signal::SIGTERM);
    hear_until("STOPPING=1");
    publish.finish().done();
}

#[test]
fn words_in_a_file_begin_with_their_time_and_in_a_journal_with_none() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let serve = ["publish", "--dir", "snaps", "--key", "lead.key", "--state-dir", "state"];
    for (journal, style) in [(false, "auto"), (false, "plain"), (false, "none"), (true, "auto")] {
        let mut command = lead.command(&[&serve[..], &LOOPBACK, &["--progress", style]].concat());
        command.env_remove("JOURNAL_STREAM");
        if journal {
            command.env("JOURNAL_STREAM", "8:1234");
        }
        let publish = Process::spawn(command);
        let line = publish.wait_for("a line", |_, stderr| {
            stderr.lines().find(|line| line.contains("serving; give the ticket")).map(str::to_owned)
        });
        publish.stop(Signal::SIGTERM).done();
        let (first, rest) = line.split_once(' ').unwrap();
        assert_eq!(humantime::parse_rfc3339(first).is_ok(), !journal, "{line}");
        assert_eq!(rest.starts_with("serving; give"), !journal, "{line}");
    }
}
