//! Tickets that are wrong, peers that are nobody, nobody at all.

use std::net::TcpListener;

use futures::StreamExt;
use kwil_formats::formats::Family;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, swarm::SwarmEvent, swarm::dummy};
use nix::sys::signal::Signal;
use regenesis::{
    manifest::Ticket,
    swarm::{Identity, short_peer, short_place},
};
use zeroize::Zeroizing;

use crate::common::{Party, Process, change};

fn serving() -> (Party, Process, String) {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    (lead, publish, ticket)
}

/// A libp2p node that is none of ours.
fn stranger() -> Swarm<dummy::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
        .build()
}

/// A fetch that gives up soon.
fn fetch_in_vain(party: &Party, ticket: &str) -> Process {
    party.swarm(&["fetch", ticket, "--dir", "files", "--timeout", "2s"])
}

#[test]
fn a_cut_changed_or_other_ticket_is_refused() {
    let (_lead, publish, ticket) = serving();
    let party = Party::new();
    let refused = |ticket: &str, code: i32, words: &[&str]| {
        party.swarm(&["fetch", ticket, "--dir", "files"]).finish().failed(code, words);
        party.join(ticket, "root", &["--new-key"]).finish().failed(code, words);
    };
    refused(&ticket[..ticket.len() - 5], 3, &["the ticket is cut: 5 characters are missing"]);
    let middle = ticket.len() / 2;
    let other = if &ticket[middle..=middle] == "a" { "b" } else { "a" };
    let wrong = format!("a wrong letter: \"{other}\" at place {}", middle + 1);
    refused(&format!("{}{other}{}", &ticket[..middle], &ticket[middle + 1..]), 3, &[&wrong]);
    refused("https://example.org", 3, &["this is not a ticket"]);
    refused(&ticket.replacen("regenesis1", "regenesis2", 1), 3, &["version 2"]);
    refused(&change(&ticket, |t| t.addresses.clear()), 2, &["no address", "--connect"]);
    refused(&change(&ticket, |t| *t = t.without_secret()), 2, &["only identifies"]);
    // The manifest that the ticket names is of another network than the ticket says.
    refused(&change(&ticket, |t| t.new_chain_id = "elsewhere-1".into()), 3, &["step 5 (network)", "elsewhere-1"]);
    // Signed by someone else than the lead that the ticket pins.
    let lead =
        kwil_formats::formats::key::PrivateKey::from_seed(kwil_formats::formats::key::KeyType::Ed25519, &[9; 32])
            .unwrap();
    let pinned = change(&ticket, |t| (t.lead, t.policy.lead) = (lead.public(), lead.public()));
    refused(&pinned, 3, &["step 3 (signature by a pinned key)", "not by the pinned"]);
    assert!(!party.path("root").exists());
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_wrong_secret_has_its_own_sentence_on_both_sides() {
    let (_lead, publish, ticket) = serving();
    let party = Party::new();
    let wrong = change(&ticket, |t| t.secret = Some(Zeroizing::new([7; 32])));
    let run = fetch_in_vain(&party, &wrong).finish();
    run.failed(5, &["wrong secret", "ask the lead for the ticket"]);
    assert!(!party.path("files/manifest.regenesis").exists(), "a stranger got the manifest");
    publish.wait_for_words("it does not know this swarm's secret");
    let published = publish.stop(Signal::SIGINT).done();
    assert!(!published.stderr.contains(": sent "), "{}", published.stderr);
}

#[test]
fn nobody_there_names_each_address_and_why() {
    let (_lead, publish, ticket) = serving();
    publish.stop(Signal::SIGTERM).done();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", Identity::generate().peer_id());
    let address = ticket.parse::<Ticket>().unwrap().addresses[0].clone();
    let ticket = change(&ticket, |t| t.addresses.push(other.clone()));
    let run = fetch_in_vain(&Party::new(), &ticket).finish();
    let [address, other] = [&address, &other].map(|address| short_place(address));
    run.failed(5, &[&address, &other, "no peer was reached for 2s", "run the same command again"]);
    assert_eq!(run.stderr.to_lowercase().matches("connection refused").count(), 2, "{}", run.stderr);
}

#[test]
fn an_address_where_another_node_answers_says_so() {
    let (_lead, _publish, ticket) = serving();
    let moved = change(&ticket, |t| {
        let (address, _) = t.addresses[0].rsplit_once('/').unwrap();
        t.addresses = vec![format!("{address}/{}", Identity::generate().peer_id())];
    });
    fetch_in_vain(&Party::new(), &moved).finish().failed(5, &["another node answers there"]);
}

#[tokio::test]
async fn a_peer_of_another_version_has_its_own_sentence() {
    let mut peer = stranger();
    peer.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = peer.select_next_some().await {
            break format!("{address}/p2p/{}", peer.local_peer_id());
        }
    };
    let running = tokio::spawn(async move {
        loop {
            peer.select_next_some().await;
        }
    });
    tokio::task::spawn_blocking(move || {
        let (_lead, publish, ticket) = serving();
        publish.stop(Signal::SIGTERM).done();
        let ticket = change(&ticket, |t| t.addresses = vec![address]);
        fetch_in_vain(&Party::new(), &ticket).finish().failed(5, &["it runs another version of regenesis"]);
    })
    .await
    .unwrap();
    running.abort();
}

#[tokio::test]
async fn a_dialler_that_proves_nothing_is_dropped_and_told_of() {
    let (_lead, publish, ticket) = tokio::task::spawn_blocking(|| {
        let (lead, publish, _) = serving();
        publish.stop(Signal::SIGTERM).done();
        let seed = lead.spawn(&["seed", "--dir", "snaps", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]);
        let ticket = seed.ticket();
        (lead, seed, ticket)
    })
    .await
    .unwrap();
    let address: Multiaddr = ticket.parse::<Ticket>().unwrap().addresses[0].parse().unwrap();
    let mut peer = stranger();
    let id = *peer.local_peer_id();
    peer.dial(address).unwrap();
    let mut connected = false;
    loop {
        match peer.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => connected = true,
            SwarmEvent::ConnectionClosed { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    assert!(connected);
    tokio::task::spawn_blocking(move || {
        publish.wait_for_words(&format!("peer {} at", short_peer(&id.to_string())));
        publish.wait_for_words("connected but did not prove that it is a member");
        publish.stop(Signal::SIGTERM).done();
    })
    .await
    .unwrap();
}
