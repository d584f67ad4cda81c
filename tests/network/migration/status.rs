//! Who has it, who is ready, when it ends: asked of real processes while a migration goes on, is held up, and after them.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::resume::{in_the_middle, large};
use crate::common::{LOOPBACK, Party, Process};

/// What the process in a directory says.
#[track_caller]
fn status(party: &Party, dir: &str) -> Value {
    party.run(&["status", "--dir", dir, "--output", "json"]).result()
}

pub(super) fn watch(party: &Party, dir: &str) -> Process {
    party.spawn(&["status", "--dir", dir, "--watch", "--output", "json"])
}

/// Waits for a status that is so.
#[track_caller]
pub(super) fn wait_for(watch: &Process, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut read = 0;
    watch.wait_for(what, |stdout, _| {
        let lines = stdout[read..].split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for line in lines {
            read += line.len();
            let json: Value = serde_json::from_str(line).expect("one object a line");
            assert_eq!(json["error"], "");
            if is_so(&json["result"]) {
                return Some(json["result"].clone());
            }
        }
        None
    })
}

#[test]
fn a_fetch_that_is_held_up_names_whom_it_waits_for_and_the_lead_sees_when_it_may_leave() {
    let (lead, publish, ticket) = large();
    let first = status(&lead, "snaps");
    assert_eq!((&first["running"], &first["node"]["role"]), (&true.into(), &"publish".into()), "{first}");
    assert_eq!(first["estimate"]["limit"]["by"], "no-member");
    let socket = lead.path("snaps/.regenesis/status.sock");
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let validator = Party::new();
    let fetch = ["fetch", &ticket, "--dir", "into", "--linger", "1h", "--progress", "json"];
    let fetch = validator.swarm(&fetch);
    let fetch = in_the_middle(&publish, fetch, |fetch| {
        let fetching = watch(&validator, "into");
        let held = wait_for(&fetching, "a stall", |status| status["estimate"]["limit"]["by"] == "silence");
        let node = &held["node"];
        assert!(node["stalled_seconds"].as_u64() >= Some(5) && node["complete"] == false, "{held}");
        assert!(node["have_bytes"].as_u64() < node["total_bytes"].as_u64() && node["have_bytes"] != 0, "{held}");
        assert_eq!(held["estimate"]["own_seconds"], Value::Null, "it ends nowhere");
        let (member, who) = (&held["members"][0], &held["estimate"]["limit"]["who"][0]);
        assert_eq!((&member["name"], &member["chunks"]), (who, &held["chunks"]["count"]), "{held}");
        let ask = format!("ask {} what holds them up", who.as_str().unwrap());
        assert!(held["next"].as_str().unwrap().contains(&ask), "{held}");
        // A process that is stopped does not answer, and is not waited for.
        lead.run(&["status", "--dir", "snaps"]).failed(1, &["it does not answer"]);
        assert_eq!(fetching.stop(Signal::SIGINT).code, 0);
        fetch
    });
    let leading = watch(&lead, "snaps");
    let all = wait_for(&leading, "one that has everything", |status| {
        status["members"][0]["chunks"] == status["chunks"]["count"] && status["chunks"]["single"] == 0
    });
    assert_eq!(all["chunks"]["out"], false, "one more must have it: {all}");
    assert!(all["next"].as_str().unwrap().contains("leave this running"), "{all}");
    let another = Party::new();
    let second = another.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "1h"]);
    let out = wait_for(&leading, "that it may leave", |status| status["chunks"]["out"] == true);
    assert_eq!(out["members"].as_array().unwrap().len(), 2, "{out}");
    let words = lead.run(&["status", "--dir", "snaps"]).done().stdout;
    assert!(words.contains("the lead     may leave: every chunk is with two others"), "{words}");
    leading.stop(Signal::SIGINT).done();

    // Nothing secret is in any answer.
    let secret = lead.read("snaps/.regenesis/secret");
    for said in [out.to_string(), words] {
        assert!(!said.contains("regenesis1") && !said.contains(&hex::encode(&secret)), "{said}");
    }
    for process in [&fetch, &second] {
        process.wait_for_words("serving others for 1h more");
    }
    for process in [fetch, second, publish] {
        process.stop(Signal::SIGTERM).done();
    }
    // What the directory says of itself.
    let rest = status(&validator, "into");
    assert_eq!((&rest["running"], &rest["node"]["complete"]), (&false.into(), &true.into()), "{rest}");
    assert_eq!(rest["node"]["have_bytes"], rest["node"]["total_bytes"]);
    assert_eq!(rest["next"], "`regenesis seed --dir into` serves it again");
    assert!(!validator.path("into/.regenesis/status.sock").exists(), "it was put away");
}

#[test]
fn what_a_killed_process_leaves_is_told_and_the_next_one_answers_again() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    publish.ticket();
    let watching = lead.spawn(&["status", "--dir", "snaps", "--watch"]);
    watching.wait_for("the first look", |stdout, _| stdout.contains("publish in").then_some(()));
    assert_eq!(publish.stop(Signal::SIGKILL).code, 137);
    watching.wait_for("its end", |stdout, _| stdout.contains("the process that did was killed").then_some(()));
    let left = status(&lead, "snaps");
    assert_eq!((&left["running"], &left["node"]["pid"]), (&false.into(), &Value::Null), "{left}");
    // A thousand that say nothing keep nobody from asking, and one that never reads neither.
    let seed = lead.seed("snaps");
    seed.ticket();
    watching.wait_for("the next one", |stdout, _| stdout.contains("seed in").then_some(()));
    let socket = lead.path("snaps/.regenesis/status.sock");
    let silent: Vec<UnixStream> = (0..1000).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut deaf = UnixStream::connect(&socket).unwrap();
    deaf.write_all(b"status 1\n").unwrap();
    assert_eq!(status(&lead, "snaps")["node"]["role"], "seed");
    let mut nothing = Vec::new();
    let mut wrong = UnixStream::connect(&socket).unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(wrong.read_to_end(&mut nothing).is_err() || nothing.is_empty());
    drop((silent, deaf));
    watching.stop(Signal::SIGINT).done();
    seed.stop(Signal::SIGTERM).done();
}

#[test]
fn a_quorum_is_seen_by_the_lead_by_a_root_and_by_who_has_only_the_ticket() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let parties = [0; 3].map(|_| Party::new());
    let joining: Vec<Process> = parties
        .iter()
        .enumerate()
        .map(|(i, party)| {
            party.take_key(Family::V09, [0, 2, 3][i], "node.key");
            party.join_and_stay(&ticket, "root", &["--key-file", "node.key", "--linger", "1h"])
        })
        .collect();
    let leading = watch(&lead, "snaps");
    let ready = wait_for(&leading, "the quorum", |status| status["readiness"]["quorum"] == true);
    leading.stop(Signal::SIGINT).done();
    let seats = ready["readiness"]["seats"].as_array().unwrap();
    assert_eq!(seats.iter().filter(|seat| seat["stage"] == "root-ready").count(), 3, "{ready}");
    assert!(ready["next"].as_str().unwrap().contains("start kwild"), "{ready}");
    // Each is known by its validator's name, with its power.
    let named = |status: &Value| {
        let members = status["members"].as_array().unwrap().clone();
        members.iter().filter(|member| member["ready"] == true && member["power"].as_u64() > Some(0)).count()
    };
    // And so is the lead, whose key is a validator's.
    assert!(named(&ready) >= 3, "{ready}");

    let stranger = Party::new();
    stranger.write("ticket.txt", &ticket);
    let args = ["status", "--ticket-file", "ticket.txt", "--state-dir", "state"];
    let seen = stranger.run(&[&args[..], &LOOPBACK, &["--output", "json"]].concat()).result();
    assert_eq!((&seen["readiness"]["ready"], &seen["node"]["role"]), (&3.into(), &"watch".into()), "{seen}");
    assert_eq!((seen["members"].as_array().unwrap().len(), named(&seen)), (4, 4), "{seen}");
    let words = stranger.run(&[&args[..], &LOOPBACK].concat()).done().stdout;
    assert!(words.contains("3 of 4 validators") && words.contains("enough to make blocks"), "{words}");

    let root = status(&parties[0], "root");
    assert_eq!((&root["node"]["role"], &root["readiness"]["quorum"]), (&"join".into(), &true.into()), "{root}");
    assert_eq!(root["node"]["directory"], parties[0].path("root").to_str().unwrap(), "where it stands now");
    for process in joining {
        process.stop(Signal::SIGTERM).done();
    }
    publish.stop(Signal::SIGTERM).done();
    // What was heard is kept.
    let rest = status(&parties[0], "root");
    assert_eq!((&rest["running"], &rest["readiness"]["quorum"]), (&false.into(), &true.into()), "{rest}");
    assert!(rest["log"][0].as_str().unwrap().contains("certificate.evidence"), "{rest}");
}

#[test]
fn what_cannot_be_looked_at_says_why() {
    let party = Party::new();
    party.run(&["status"]).failed(2, &["nothing is named to look at", "--ticket-file"]);
    party.run(&["status", "--dir", "nowhere"]).failed(1, &["there is no directory nowhere"]);
    party.write("empty/x", "");
    party.run(&["status", "--dir", "empty"]).failed(1, &["no directory of a migration"]);
    // Nobody serves the swarm any more.
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    publish.stop(Signal::SIGTERM).done();
    let run = party.swarm(&["status", &ticket, "--timeout", "500ms"]).finish();
    run.failed(5, &["no peer was reached for 500ms"]);
    assert_eq!(status(&lead, "snaps")["running"], false);
}
