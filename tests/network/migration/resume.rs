//! Killed, interrupted, two at once: nothing is lost and nothing is half-made.

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;

use crate::common::{Party, Process, names};

/// Rows that no compressor makes small; the chunks they make are many.
const ROWS: u32 = 160 << 10;

/// A lead that serves a large and legal snapshot.
pub(super) fn large() -> (Party, Process, String) {
    let lead = Party::new();
    lead.take_large("snaps", ROWS);
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    (lead, publish, ticket)
}

/// Larger than the genesis of these tests.
const GENESIS_SIZE_BYTES_MAX: u64 = 64 << 10;

/// Stops the lead in the middle of a fetch, so that the fetch stays there until it has been dealt with.
pub(super) fn in_the_middle<T>(lead: &Process, fetch: Process, then: impl FnOnce(Process) -> T) -> T {
    fetch.wait_for_words("\"fetching\"");
    loop {
        lead.signal(Signal::SIGSTOP);
        let (done, total) = fetch.progress("fetch", 2);
        assert!(done < total, "it was too fast");
        // The genesis comes with the manifest, before any chunk.
        if done > GENESIS_SIZE_BYTES_MAX {
            break;
        }
        lead.signal(Signal::SIGCONT);
    }
    let result = then(fetch);
    lead.signal(Signal::SIGCONT);
    result
}

#[test]
fn killed_interrupted_and_doubled_fetches_go_on_where_they_stopped() {
    let (lead, publish, ticket) = large();
    let size = ["snaps/genesis.json", "snaps/snapshot.sql.gz"].map(|n| lead.read(n).len() as u64).iter().sum::<u64>();
    let validator = Party::new();
    let join = || validator.join(&ticket, "root", &["--new-key", "--progress", "json", "--output", "json"]);

    // A signal that can be handled: it says that, and how it can go on.
    let stopped = in_the_middle(&publish, join(), |first| {
        // Meanwhile nobody else works on that directory.
        let second = join().finish();
        assert_eq!(second.code, 4, "{second:?}");
        let process = format!("is in use by process {}", first.id());
        assert!(second.stderr.contains(&process) && second.stderr.contains("next: "), "{second:?}");
        first.stop(Signal::SIGTERM)
    });
    assert_eq!(stopped.code, 143, "{stopped:?}");
    assert!(stopped.stderr.contains("run the same command again"), "{stopped:?}");
    assert!(!validator.path("root").exists());

    // One that cannot.
    let killed = in_the_middle(&publish, join(), |killed| killed.stop(Signal::SIGKILL));
    assert_eq!(killed.code, 128 + 9);
    assert!(!validator.path("root").exists());

    let joined = join().finish().result();
    let (resumed, received) = (joined["resumed_bytes"].as_u64().unwrap(), joined["received_bytes"].as_u64().unwrap());
    assert!(resumed > 0 && resumed < size, "{joined}");
    assert!(received >= size - resumed && received < size, "{joined}");
    assert_eq!(joined["bytes"], size);
    assert!(validator.read("root/genesis-state.sql.gz") == lead.read("snaps/snapshot.sql.gz"));
    assert_eq!(names(&validator.path("")), ["root", "state"]);

    // In words, too; and a fetch is interrupted as a join is.
    let reader = Party::new();
    let fetch = || reader.swarm(&["fetch", &ticket, "--dir", "files", "--linger", "none", "--progress", "json"]);
    let interrupted = in_the_middle(&publish, fetch(), |fetch| fetch.stop(Signal::SIGINT));
    assert_eq!(interrupted.code, 130);
    let fetched = fetch().finish().done();
    assert!(fetched.stdout.contains("not fetched again"), "{}", fetched.stdout);
    assert!(fetched.stderr.contains("that are already here"), "{}", fetched.stderr);

    // What an interrupted one left can be removed; the next one then begins anew.
    let tidy = Party::new();
    let fetch_anew = || tidy.swarm(&["fetch", &ticket, "--dir", "files", "--linger", "none", "--progress", "json"]);
    assert_eq!(in_the_middle(&publish, fetch_anew(), |fetch| fetch.stop(Signal::SIGINT)).code, 130);
    let cleaned = tidy.run(&["clean", "--yes", "--output", "json"]).result();
    assert!(cleaned["left"].to_string().contains("files/snapshot.sql.gz.part"), "{cleaned}");
    assert!(!tidy.path("files/snapshot.sql.gz.part").exists());
    let fetched = fetch_anew().finish().done();
    assert!(fetched.stdout.contains("fetched and verified"), "{}", fetched.stdout);
    assert!(tidy.read("files/snapshot.sql.gz") == lead.read("snaps/snapshot.sql.gz"));

    // On what is complete already nothing is fetched, and nothing is lost.
    let again = fetch().finish().done();
    assert!(again.stdout.contains("from 0 peers"), "{}", again.stdout);
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_served_directory_is_not_served_twice_nor_signed_meanwhile() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    publish.ticket();
    let holder = format!("is in use by process {}", publish.id());
    lead.seed("snaps").finish().failed(4, &[&holder]);
    lead.publish("snaps").finish().failed(4, &[&holder]);
    publish.stop(Signal::SIGHUP).done();
    let seed = lead.spawn(&["seed", "--dir", "snaps", "--output", "json", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    seed.wait_for("the whole result", |stdout, _| stdout.ends_with("}\n").then_some(()));
    let served = seed.stop(Signal::SIGTERM).result();
    assert!(served["ticket"].as_str().unwrap().starts_with("regenesis1"));
    assert!(served["addresses"][0].as_str().unwrap().starts_with("/ip4/127.0.0.1/tcp/"));
}

/// The wrong one of two tickets, with nobody behind it any more.
#[test]
fn a_directory_that_holds_another_migration_is_left_as_it_is() {
    let (lead, other) = (Party::new(), Party::new());
    let published = |party: &Party, family| {
        party.take_recording(family, "snaps");
        let publish = party.publish("snaps");
        let ticket = publish.ticket();
        publish.stop(Signal::SIGTERM).done();
        ticket
    };
    published(&lead, Family::V09);
    let ticket = published(&other, Family::V010);
    let kept = ["snaps/manifest.regenesis", "snaps/.regenesis/secret", "snaps/.regenesis/ticket", "snaps/genesis.json"];
    let before = kept.map(|name| lead.read(name));
    for role in ["fetch", "relay"] {
        let refused = lead.swarm(&[role, &ticket, "--dir", "snaps", "--timeout", "1s"]).finish();
        refused.failed(4, &["holds another migration", "choose another directory"]);
    }
    // What is no manifest is somebody's, too.
    let stray = Party::new();
    std::fs::create_dir(stray.path("files")).unwrap();
    std::fs::write(stray.path("files/manifest.regenesis"), "foreign").unwrap();
    stray.swarm(&["fetch", &ticket, "--dir", "files", "--timeout", "1s"]).finish().failed(4, &["is no manifest"]);
    assert!(stray.read("files/manifest.regenesis") == b"foreign");
    assert!(kept.map(|name| lead.read(name)) == before);
}
