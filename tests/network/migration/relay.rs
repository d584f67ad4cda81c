//! A relay: fetches without reading the text, serves while and after, and brings those to the network who cannot reach the lead.

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;

use super::outside::KEEP_EVENTS;
use crate::{
    common::{Party, change},
    wait::wait_for,
};

const FOREVER: [&str; 4] = ["relay", "--dir", "relay", "--ticket-file"];

#[test]
fn validators_who_cannot_reach_the_lead_have_everything_from_a_relay() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    let machine = Party::new();
    machine.write("ticket.txt", &ticket);
    let relay = machine.swarm(&[&FOREVER[..], &["ticket.txt"], &KEEP_EVENTS].concat());
    let its_ticket = relay.ticket();
    relay.wait_for_words("everything is here, as it was signed");
    // Also those who ask, or are told, hear that it is.
    let is_told =
        || String::from_utf8_lossy(&std::fs::read(machine.path("events")).unwrap_or_default()).contains("\"complete\"");
    wait_for("the event", is_told);
    // The lead's addresses stand behind the relay's own.
    let (first, second) = (ticket_addresses(&its_ticket), ticket_addresses(&ticket));
    assert!(first.len() > second.len() && first.ends_with(&second), "{first:?} {second:?}");
    publish.stop(Signal::SIGTERM).done();
    let party = Party::new();
    let run = party.join(&its_ticket, "root", &["--new-key"]).finish().done();
    assert!(run.stderr.contains("connected to"), "{}", run.stderr);
    assert_eq!(party.read("root/genesis.json"), lead.read("snaps/genesis.json"));
    // Once everything is here, a signal is a good end; the same command goes on, and so does seed.
    let run = relay.stop(Signal::SIGTERM).done();
    assert!(run.stderr.contains(": sent "), "{}", run.stderr);
    let relay = machine.swarm(&[&FOREVER[..], &["ticket.txt"]].concat());
    relay.wait_for_words("everything is here, as it was signed");
    relay.stop(Signal::SIGTERM).done();
    let seed = machine.swarm(&["seed", "--dir", "relay"]);
    seed.ticket();
    seed.stop(Signal::SIGTERM).done();
}

#[test]
fn a_lead_that_nobody_can_reach_goes_to_the_relay() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    publish.stop(Signal::SIGTERM).done();
    // As a translator hides it: under the ticket's addresses nobody is.
    let hidden = change(&ticket, |ticket| ticket.addresses = vec![unreachable(&ticket.addresses[0])]);
    let machine = Party::new();
    machine.write("ticket.txt", &hidden);
    let relay = machine.swarm(&[&FOREVER[..], &["ticket.txt"]].concat());
    let address = relay.wait_for("its address", |_, stderr| {
        let (_, rest) = stderr.split_once("this relay is at ")?;
        rest.split_once('\n').map(|(address, _)| address.to_owned())
    });
    let seed = lead.swarm(&["seed", "--dir", "snaps", "--relay-via", &address]);
    relay.wait_for_words("everything is here, as it was signed");
    let party = Party::new();
    let run = party.swarm(&["fetch", &relay.ticket(), "--dir", "files", "--linger", "none"]).finish().done();
    assert!(run.stdout.contains("fetched and verified"), "{}", run.stdout);
    // The lead's own ticket leads to the relay, too, for those who cannot reach the lead.
    let through = change(&seed.ticket(), |ticket| ticket.addresses.retain(|named| *named == address));
    let other = Party::new();
    other.swarm(&["fetch", &through, "--dir", "files", "--linger", "none"]).finish().done();
    seed.stop(Signal::SIGTERM).done();
    relay.stop(Signal::SIGTERM).done();
}

#[test]
fn a_relay_ends_when_it_has_sent_as_much_as_it_may() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let machine = Party::new();
    machine.write("ticket.txt", publish.ticket());
    let relay = machine.swarm(&[&FOREVER[..], &["ticket.txt", "--relay-limit", "1"]].concat());
    relay.wait_for_words("everything is here, as it was signed");
    let its_ticket = relay.ticket();
    publish.stop(Signal::SIGTERM).done();
    // It ends with the first chunk that went out; whoever needed more goes on elsewhere.
    let party = Party::new();
    let fetch = party.swarm(&["fetch", &its_ticket, "--dir", "files", "--linger", "1h"]);
    let run = relay.finish().done();
    assert!(run.stderr.contains("as much as this relay was allowed"), "{}", run.stderr);
    fetch.stop(Signal::SIGKILL);
}

#[test]
fn a_relay_that_is_ended_before_it_has_anything_says_so() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    publish.stop(Signal::SIGTERM).done();
    let machine = Party::new();
    machine.write("ticket.txt", &ticket);
    let relay = machine.swarm(&[&FOREVER[..], &["ticket.txt"]].concat());
    relay.wait_for_words("looking for");
    let run = relay.stop(Signal::SIGTERM);
    assert!(run.code == 143 && run.stdout.is_empty() && run.stderr.contains("goes on where it stopped"), "{run:?}");
}

fn ticket_addresses(text: &str) -> Vec<String> {
    text.parse::<regenesis::manifest::Ticket>().unwrap().addresses
}

/// The same peer at a port where nobody is: one that was free a moment ago.
fn unreachable(address: &str) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_, peer) = address.rsplit_once("/p2p/").unwrap();
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}")
}
