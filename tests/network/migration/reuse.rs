//! What a machine has already is not fetched again, and is believed no more than a peer.

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::common::{Party, Process};

fn serving() -> (Party, Process, String) {
    let lead = Party::new();
    lead.take_large("snaps", 3000);
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--attestations", "none"]);
    let ticket = publish.ticket();
    (lead, publish, ticket)
}

const CHUNK: usize = 256 << 10;

#[test]
fn an_equal_file_leaves_nothing_to_fetch_but_what_was_signed() {
    let (lead, publish, ticket) = serving();
    let party = Party::new();
    party.write("old/snapshot.sql.gz", lead.read("snaps/snapshot.sql.gz"));
    let genesis = lead.read("snaps/genesis.json").len() as u64;
    let fetch = ["fetch", &ticket, "--dir", "files", "--linger", "none", "--output", "json", "--reuse"];
    // By the file's name, and by that of the directory that it is in.
    for (into, path) in [("files", "old/snapshot.sql.gz"), ("again", "old")] {
        let args = [&fetch[..], &[path, "--dir", into]].concat();
        let args: Vec<&str> =
            args.iter().enumerate().filter(|(i, _)| ![2, 3].contains(i)).map(|(_, arg)| *arg).collect();
        let result = party.swarm(&args).finish().result();
        assert_eq!(result["received_bytes"].as_u64(), Some(genesis), "{result}");
        assert!(party.read(&format!("{into}/snapshot.sql.gz")) == lead.read("snaps/snapshot.sql.gz"));
    }
    // A join, and with nobody to ask for chunks: what was signed is known from the first part of it.
    let run = party.join(&ticket, "root", &["--new-key", "--reuse", "old", "--output", "json"]).finish();
    assert_eq!(run.result()["received_bytes"].as_u64(), Some(genesis));
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_worn_cut_or_longer_file_gives_its_equal_chunks() {
    let (lead, publish, ticket) = serving();
    let snapshot = lead.read("snaps/snapshot.sql.gz");
    let genesis = lead.read("snaps/genesis.json").len();
    let chunks = snapshot.len().div_ceil(CHUNK);
    let last = snapshot.len() - (chunks - 1) * CHUNK;
    let mut worn = snapshot.clone();
    worn[CHUNK + 7] ^= 1;
    let longer = [&snapshot[..], &[0; 100]].concat();
    let cut = snapshot[..3 * CHUNK + 5].to_vec();
    let foreign = vec![b'x'; 2 * CHUNK];
    let fetched = [
        ("worn", worn, CHUNK),
        ("longer", longer, 0),
        ("cut", cut, (chunks - 4) * CHUNK + last),
        ("foreign", foreign, snapshot.len()),
    ];
    let party = Party::new();
    for (name, bytes, expected) in fetched {
        party.write(name, bytes);
        let args =
            ["fetch", &ticket, "--dir", &format!("of-{name}"), "--linger", "none", "--output", "json", "--reuse", name];
        let result = party.swarm(&args).finish().result();
        assert_eq!(result["received_bytes"].as_u64(), Some((genesis + expected) as u64), "{name}: {result}");
        assert!(party.read(&format!("of-{name}/snapshot.sql.gz")) == snapshot, "{name}");
    }
    // One that is none is said, and nothing waits for it.
    mkfifo(&party.path("pipe"), Mode::S_IRWXU).unwrap();
    let fetch =
        |path: &str| party.swarm(&["fetch", &ticket, "--dir", "none", "--linger", "none", "--reuse", path]).finish();
    fetch("pipe").failed(1, &["pipe is a pipe", "--reuse"]);
    fetch("nowhere").failed(1, &["nowhere", "--reuse"]);
    std::fs::create_dir(party.path("empty")).unwrap();
    fetch("empty").failed(1, &["there is no snapshot in"]);
    publish.stop(Signal::SIGTERM).done();
}
