//! Members that find each other through a distributed hash table: here one of four nodes on this machine.

use kwil_formats::formats::Family;
use mainline::Testnet;
use nix::sys::signal::Signal;

use crate::common::{Party, Process, change};

/// The flags of who uses the table.
fn through(table: &Testnet) -> [&str; 3] {
    ["--dht", "--dht-node", &table.bootstrap[0]]
}

/// A lead that serves what it published, and stands in the table.
fn found_lead(lead: &Party, table: &Testnet) -> (Process, String) {
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    publish.stop(Signal::SIGTERM).done();
    let seed = lead.swarm(&[&["seed", "--dir", "snaps"], &through(table)[..]].concat());
    seed.wait_for_words("members find this node through the distributed hash table");
    (seed, ticket)
}

#[test]
fn a_ticket_without_addresses_leads_through_the_table_to_whoever_has_the_data() {
    let table = Testnet::builder(4).build().unwrap();
    let lead = Party::new();
    let (seed, ticket) = found_lead(&lead, &table);
    let nowhere = change(&ticket, |ticket| ticket.addresses.clear());
    let party = Party::new();
    let fetch = [&["fetch", &nowhere, "--dir", "files", "--linger", "1h"], &through(&table)[..]].concat();
    let first = party.swarm(&fetch);
    first.wait_for_words("serving others for");
    assert_eq!(party.read("files/genesis.json"), lead.read("snaps/genesis.json"));
    // The lead goes; the first who fetched from it is found instead.
    first.wait_for_words("members find this node through the distributed hash table");
    seed.stop(Signal::SIGKILL);
    let late = Party::new();
    let fetch = [&["fetch", &ticket, "--dir", "files", "--linger", "none"], &through(&table)[..]].concat();
    let run = late.swarm(&fetch).finish().done();
    assert!(run.stderr.contains("the distributed hash table names"), "{}", run.stderr);
    assert_eq!(late.read("files/genesis.json"), lead.read("snaps/genesis.json"));
    first.stop(Signal::SIGTERM).done();
}

#[test]
fn a_table_that_does_not_answer_is_told_of_and_holds_nothing_up() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = nobody.local_addr().unwrap().to_string();
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let party = Party::new();
    let flags = ["--dht", "--dht-node", &node];
    let run = party.swarm(&[&["fetch", &publish.ticket(), "--dir", "files", "--linger", "none"], &flags[..]].concat());
    run.finish().done();
    let seed = party.swarm(&[&["seed", "--dir", "files"], &flags[..]].concat());
    seed.ticket();
    seed.wait_for_words("the distributed hash table cannot be used yet: none of its nodes answers");
    seed.stop(Signal::SIGTERM).done();
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_node_of_a_table_is_named_with_its_port_and_together_with_the_table() {
    let party = Party::new();
    let run = party.run(&["seed", "--dir", "files", "--dht-node", "203.0.113.5:6881"]);
    assert!(run.code == 2 && run.stderr.contains("--dht"), "{run:?}");
    let run = party.run(&["seed", "--dir", "files", "--dht", "--dht-node", "203.0.113.5"]);
    assert!(run.code == 2 && run.stderr.contains("router.example.org:6881"), "{run:?}");
}
