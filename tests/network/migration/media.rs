//! A validator that joins from media: with no wire at all, and with a swarm that has what they lack.

use age::secrecy::ExposeSecret;
use nix::sys::signal::Signal;

use crate::common::{LOOPBACK, Party, Process, change, names};

/// A lead that serves a dozen chunks, and has three volumes of them in `m1`, `m2`, `m3`.
fn lead() -> (Party, Process, String, Vec<String>) {
    let lead = Party::new();
    lead.take_large("snaps", 3000);
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--attestations", "none"]);
    let ticket = publish.ticket();
    let volumes = ["m1", "m2", "m3"];
    let export = ["bundle", "export", "--dir", "snaps", "--volume-size", "1500K", "--to"];
    let exported = lead.run(&[&export[..], &volumes, &["--output", "json"]].concat()).result();
    assert_eq!(exported["volumes"].as_array().unwrap().len(), 3);
    let at = volumes.map(|name| lead.path(name).to_str().unwrap().to_owned()).to_vec();
    (lead, publish, ticket, at)
}

#[test]
fn a_root_from_media_is_the_one_from_the_swarm() {
    let (lead, publish, ticket, media) = lead();
    let wired = Party::new();
    wired.join(&ticket, "root", &["--new-key"]).finish().done();
    publish.stop(Signal::SIGTERM).done();
    // The ticket names the manifest, and nobody who could be asked.
    let alone = Party::new();
    alone.write("ticket.txt", change(&ticket, |ticket| *ticket = ticket.without_secret()));
    let media: Vec<&str> = media.iter().map(String::as_str).collect();
    let given = ["--root-dir", "root", "--ticket-file", "ticket.txt", "--new-key", "--linger", "none", "--media"];
    let run = alone.swarm(&[&["join"], &given[..], &media].concat()).finish().done();
    assert!(run.stdout.contains("root ready") && !run.stderr.contains("looking for"), "{run:?}");
    // Or the lead's key does.
    let shown = lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    let key = shown["lead"].as_str().unwrap();
    let trusting = Party::new();
    let given = ["--root-dir", "root", "--trust", key, "--new-key", "--linger", "none", "--media"];
    trusting.swarm(&[&["join"], &given[..], &media].concat()).finish().done();
    for party in [&alone, &trusting] {
        let files = names(&wired.path("root"));
        assert_eq!(names(&party.path("root")), files);
        for name in files.iter().filter(|name| wired.path("root").join(name).is_file() && *name != "nodekey.json") {
            let name = format!("root/{name}");
            assert!(party.read(&name) == wired.read(&name), "{name} is another one");
        }
    }
    // On its own finished root the same command checks and ends.
    let run = alone.swarm(
        &[&["join"], &["--root-dir", "root", "--ticket-file", "ticket.txt", "--linger", "none", "--media"][..], &media]
            .concat(),
    );
    run.finish().done();
}

#[test]
fn what_media_lack_comes_from_the_swarm_or_is_asked_for_by_label() {
    let (_lead, publish, ticket, media) = lead();
    let party = Party::new();
    party.write("identifies.txt", change(&ticket, |ticket| *ticket = ticket.without_secret()));
    let join = |flags: &[&str]| {
        party.swarm(&[&["join", "--root-dir", "root", "--new-key", "--linger", "none"], flags].concat())
    };
    let run = join(&["--ticket-file", "identifies.txt", "--media", &media[1]]).finish();
    run.failed(5, &["the media lack", "still needed are the volumes kwil-testnet-", "--media"]);
    assert!(!party.path("root").exists());
    // What was taken is kept; a swarm has the rest.
    party.write("ticket.txt", &ticket);
    let run = join(&["--ticket-file", "ticket.txt", "--media", &media[0], "--output", "json"]).finish();
    let result = run.result();
    let (received, all) = (result["received_bytes"].as_u64().unwrap(), result["bytes"].as_u64().unwrap());
    assert!(received > 0 && received < all / 2, "{result}");
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn media_are_read_only_once_the_machine_is_right() {
    let (_lead, publish, ticket, media) = lead();
    publish.stop(Signal::SIGTERM).done();
    let party = Party::new();
    party.write("ticket.txt", change(&ticket, |ticket| *ticket = ticket.without_secret()));
    let given =
        ["join", "--root-dir", "root", "--ticket-file", "ticket.txt", "--new-key", "--app.pg-db-name", "x", "--media"];
    let run = party.swarm(&[&given[..], &[media[0].as_str()]].concat()).finish();
    run.failed(2, &["--app.pg-db-name is no flag of v0.10"]);
    assert!(!run.stderr.contains("reading kwil-testnet"), "{}", run.stderr);
}

#[test]
fn a_validator_joins_from_media_that_only_some_can_read() {
    let lead = Party::new();
    lead.take_large("snaps", 1000);
    lead.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--attestations", "none"]).done();
    let shown = lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    let lead_key = shown["lead"].as_str().unwrap();
    let identity = age::x25519::Identity::generate();
    lead.write("passphrase", "four words that nobody guesses\n");
    let export = ["bundle", "export", "--dir", "snaps", "--to"];
    lead.run(&[&export[..], &["keyed", "--encrypt-to", &identity.to_public().to_string()]].concat()).done();
    lead.run(&[&export[..], &["said", "--passphrase-file", "passphrase"]].concat()).done();
    for (medium, key) in [("keyed", ["--age-identity", "mine"]), ("said", ["--passphrase-file", "words"])] {
        let party = Party::new();
        let medium = lead.path(medium).to_str().unwrap().to_owned();
        let join = |flags: &[&str]| {
            let given = ["join", "--root-dir", "root", "--trust", lead_key, "--new-key", "--linger", "none", "--media"];
            party.swarm(&[&given[..], &[&medium], flags].concat()).finish()
        };
        // Without what opens it nothing is known of it, and nothing is made.
        join(&[]).failed(3, &["it is encrypted", "--age-identity FILE", "--passphrase-file FILE"]);
        assert!(!party.path("root").exists());
        party.write("mine", identity.to_string().expose_secret());
        party.write("words", lead.read("passphrase"));
        let run = join(&key).done();
        assert!(run.stdout.contains("root ready"), "{run:?}");
        assert_eq!(party.read("root/genesis.json"), lead.read("snaps/genesis.json"));
        assert!(party.read("root/genesis-state.sql.gz") == lead.read("snaps/snapshot.sql.gz"), "{key:?}");
    }
}

#[test]
fn an_island_is_served_from_the_media_themselves() {
    let (_lead, publish, _, media) = lead();
    publish.stop(Signal::SIGTERM).done();
    let island = Party::new();
    let from: Vec<&str> = media.iter().map(String::as_str).collect();
    let given = ["--dir", "served", "--state-dir", "state", "--in-place", "--output", "json"];
    let result = island.run(&[&["bundle", "import"], &from[..], &given].concat()).result();
    assert_eq!((&result["complete"], &result["in_place"]), (&true.into(), &true.into()), "{result}");
    let seed = || island.spawn(&[&["seed", "--dir", "served", "--progress", "json"], &LOOPBACK[..]].concat());
    let checked = |seed: &Process| {
        seed.wait_for("all files were checked", |_, stderr| {
            stderr.lines().any(|line| line.contains("\"check\"") && line.contains("finished")).then_some(())
        });
    };
    let serving = seed();
    checked(&serving);
    let reader = Party::new();
    reader.fetch(&serving.ticket(), "files").finish().done();
    assert!(!island.path("served/snapshot.sql.gz").exists(), "nothing is copied");
    // A medium is taken away: its chunks are not served, which is said here, and nobody is given anything false.
    let away = format!("{}.away", media[1]);
    std::fs::rename(&media[1], &away).unwrap();
    let late = Party::new();
    let run = late.fetch(&serving.ticket(), "files").finish();
    assert_eq!(run.code, 5, "{run:?}");
    assert!(!run.stderr.contains("banned") && !late.path("files/snapshot.sql.gz").exists(), "{run:?}");
    serving.wait_for("the medium's path", |_, stderr| {
        stderr.lines().any(|line| line.contains("cannot read") && line.contains(&media[1])).then_some(())
    });
    let status = island.run(&["status", "--dir", "served", "--output", "json"]).result();
    let coming = status["on_media"]["coming"].as_array().unwrap();
    assert!(status["running"] == true && coming.len() == 1, "{status}");
    let run = serving.stop(Signal::SIGTERM).done();
    assert!(
        run.stderr.contains("the rest is still served") && run.stderr.contains("mount the medium again"),
        "{run:?}"
    );
    seed().finish().failed(1, &["cannot read", &media[1], "mount the medium again where it was"]);
    std::fs::rename(&away, &media[1]).unwrap();
    let serving = seed();
    late.fetch(&serving.ticket(), "files").finish().done();
    assert!(late.read("files/snapshot.sql.gz") == reader.read("files/snapshot.sql.gz"));
    serving.stop(Signal::SIGTERM).done();
}
