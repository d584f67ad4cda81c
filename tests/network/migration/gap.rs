//! Two swarms of one migration without a wire between them: what validators sign on the one side is carried to the other.

use std::fs;

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;

use super::status;
use crate::common::{GuardedRecording, Party, data};

#[test]
fn what_an_island_signs_is_carried_into_a_swarm_that_runs_and_makes_its_certificate() {
    let lead = Party::new();
    lead.take_key(Family::V010, 0, "lead.key");
    let recording = GuardedRecording::of(Family::V010, "v0.10/worlds/quartet/kwild-snapshot");
    let genesis = fs::read_to_string(data("v0.10/restart/quartet-alone").join("genesis.json")).unwrap();
    lead.write("snaps/genesis.json", recording.renew(&genesis));
    lead.write("snaps/snapshot.sql.gz", &recording.file);
    let publish = lead.publish("snaps");
    publish.ticket();

    // What a courier brings, and no way to the lead's swarm.
    let island = Party::new();
    for name in ["manifest.regenesis", "genesis.json", "snapshot.sql.gz"] {
        island.write(&format!("carried/{name}"), fs::read(lead.path("snaps").join(name)).unwrap());
    }
    let seed = island.swarm(&["seed", "--dir", "carried"]);
    island.take_key(Family::V010, 0, "node.key");
    island.join(&seed.ticket(), "root", &["--key-file", "node.key"]).finish().done();
    let stick = lead.path("island.statements");
    let stick = stick.to_str().unwrap();
    let said = island.run(&["bundle", "statements", "--dir", "root", "-o", stick]).done();
    assert!(said.stdout.contains("1 of 1 validator"), "{said:?}");

    let watching = status::watch(&lead, "snaps");
    let carried = lead.run(&["bundle", "statements", stick, "--dir", "snaps", "--output", "json"]).result();
    assert_eq!((&carried["taken"][0]["new"], &carried["quorum"]), (&1.into(), &true.into()), "{carried}");
    status::wait_for(&watching, "the island's word", |status| status["readiness"]["ready"] == 1);
    watching.stop(Signal::SIGINT).done();
    let certificate = carried["certificate"].as_str().unwrap();
    let genesis = lead.path("snaps/genesis.json");
    let judged = lead.run(&["evidence", "verify", certificate, "--genesis", genesis.to_str().unwrap()]).done();
    assert!(judged.stdout.contains("enough validators say so"), "{judged:?}");
    // It is known to the lead's node when it is started again, too.
    publish.stop(Signal::SIGTERM).done();
    let again = lead.publish("snaps");
    again.ticket();
    let watching = status::watch(&lead, "snaps");
    status::wait_for(&watching, "the island's word, again", |status| status["readiness"]["ready"] == 1);
    watching.stop(Signal::SIGINT).done();
    again.stop(Signal::SIGTERM).done();
    seed.stop(Signal::SIGTERM).done();
}
