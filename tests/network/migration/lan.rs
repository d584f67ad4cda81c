//! Members of a local network that find each other without an address.

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;

use crate::common::{Party, change};

#[test]
fn a_ticket_without_an_address_is_enough_on_the_local_network() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--lan"]);
    let ticket = change(&publish.ticket(), |ticket| ticket.addresses.clear());
    let party = Party::new();
    let run = party.swarm(&["fetch", &ticket, "--dir", "files", "--linger", "none", "--lan"]).finish().done();
    assert!(run.stderr.contains("connected to peer"), "{}", run.stderr);
    assert_eq!(party.read("files/genesis.json"), lead.read("snaps/genesis.json"));
    // Two that nobody has told of each other; whoever looks for another network on this one finds nobody.
    let elsewhere = Party::new();
    elsewhere.take_recording(Family::V09, "snaps");
    let other = elsewhere.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--lan"]);
    let ticket = change(&other.ticket(), |ticket| ticket.addresses.clear());
    other.stop(Signal::SIGTERM).done();
    let late = Party::new();
    let run = late.swarm(&["fetch", &ticket, "--dir", "files", "--lan", "--timeout", "2s"]).finish();
    run.failed(5, &["no peer was reached"]);
    assert!(!run.stderr.contains("wrong secret"), "{}", run.stderr);
    let run = publish.stop(Signal::SIGTERM).done();
    assert!(!run.stderr.contains("warning: no session"), "{}", run.stderr);
}
