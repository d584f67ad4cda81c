//! Strangers, who know no secret: they hold nobody up, also where they stand behind the same address.

use std::time::Duration;

use libp2p::identity::Keypair;
use regenesis::swarm::{self, Event, Identity, short_peer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use zeroize::Zeroizing;

use super::{
    hostile::{Hostile, Visitor, prove},
    world::*,
};

/// Longer than an honest fetch takes among strangers, and much shorter than any time that a stranger may keep a place.
const SOON: Duration = Duration::from_secs(30);

fn port(address: &str) -> u16 {
    address.split('/').nth(4).unwrap().parse().unwrap()
}

/// Somebody with the secret gets everything, soon.
async fn an_honest_one_is_served(world: &World, address: &str) {
    let dir = tempfile::tempdir().unwrap();
    let fetched = fetch(world, world.config(TCP, &[address.to_owned()]), dir.path(), now());
    tokio::time::timeout(SOON, fetched).await.expect("in time").unwrap();
}

/// As many as there are places, and more, who do this and are opened again when they are closed.
async fn among<F>(world: &World, address: &str, count: usize, stranger: impl Fn(u16) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut strangers = JoinSet::new();
    for _ in 0..count {
        strangers.spawn(stranger(port(address)));
    }
    for _ in 0..3 {
        an_honest_one_is_served(world, address).await;
    }
    assert_eq!(strangers.len(), count);
    strangers.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_lock_nobody_out() {
    let world = World::new(4);
    let seed = seed(&world, world.config(TCP, &[])).await;
    among(&world, &seed.address, 300, async |port| {
        loop {
            if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await {
                // Until it is closed there.
                let _ = socket.read(&mut [0; 64]).await;
            }
            // How often it comes back is the attack's; nothing waits for it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_begin_and_do_not_go_on_lock_nobody_out() {
    let world = World::new(4);
    let seed = seed(&world, world.config(TCP, &[])).await;
    among(&world, &seed.address, 300, async |port| {
        loop {
            if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = socket.write_all(b"\x13/multistream/1.0.0\n").await;
                let mut heard = [0; 64];
                while matches!(socket.read(&mut heard).await, Ok(1..)) {}
            }
            // How often it comes back is the attack's; nothing waits for it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_session_lock_nobody_out() {
    let world = World::new(4);
    let seed = seed(&world, world.config(TCP, &[])).await;
    let mut held = Vec::new();
    // More than the places of one address: the first ones make room for the last ones.
    for _ in 0..100 {
        held.push(Visitor::connect(&seed.address, Keypair::generate_ed25519()).await);
    }
    an_honest_one_is_served(&world, &seed.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_an_old_ticket_locks_out_neither_its_neighbours_nor_itself_from_the_reason() {
    let world = World::new(4);
    let seed = seed(&world, world.config(TCP, &[])).await;
    for _ in 0..20 {
        let mut visitor = Visitor::connect(&seed.address, Keypair::generate_ed25519()).await.unwrap();
        let mut session = visitor.open_session().await.unwrap();
        let refused = prove(&mut session, &world, [1; 32], visitor.us, visitor.them).await;
        assert!(refused.is_err());
    }
    an_honest_one_is_served(&world, &seed.address).await;
    // One that tries again and again hears each time why it is not let in.
    let mut config = world.config(TCP, std::slice::from_ref(&seed.address));
    config.secret = Some(Zeroizing::new([1; 32]));
    let mut stale = swarm::start(config).await.unwrap();
    within(says(&mut stale, &["wrong secret"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_identity_the_second_is_told() {
    let world = World::new(4);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let identity = Identity::generate();
    let config = |identity: &Identity| swarm::Config {
        identity: identity.clone(),
        ..world.config(TCP, std::slice::from_ref(&seed.address))
    };
    let (first_config, second_config) = (config(&identity), config(&identity));
    within(async {
        let mut first = swarm::start(first_config).await.unwrap();
        says(&mut first, &["connected to"]).await;
        let mut second = swarm::start(second_config).await.unwrap();
        let told = says(&mut second, &["identity"]).await;
        assert!(told.contains("copied from the other"), "{told}");
        says(&mut seed.handle, &["two nodes use one identity"]).await;
        // The first one's session goes on.
        assert_eq!(seed.handle.status().peers, 1);
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), first.event()).await {
            if let Event::Note(text) = event {
                assert!(!text.contains("ended"), "{text}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_listened_on_is_refused_by_name() {
    let world = World::new(2);
    let seed = seed(&world, world.config(TCP, &[])).await;
    let port = port(&seed.address);
    for listen in [format!("/ip4/127.0.0.1/tcp/{port}"), format!("/ip4/0.0.0.0/tcp/{port}")] {
        let error = swarm::start(world.config(&listen, &[])).await.unwrap_err();
        assert!(error.chain().contains(&port.to_string()) && error.chain().contains("taken"), "{}", error.chain());
        assert!(error.advice().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_take_all_seats_make_room_for_a_peer_of_the_ticket() {
    let world = World::new(4);
    within(async {
        let lead = seed(&world, world.config(TCP, &[])).await;
        // It would dial the lead at once, but nobody is there yet under that address.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let later = format!("/ip4/127.0.0.1/tcp/{free}/p2p/{}", lead.id);
        let config = swarm::Config { peers_max: 2, ..world.config(TCP, &[later]) };
        let mut node = swarm::start(config).await.unwrap();
        let address = listening(&mut node).await;
        let mut members = Vec::new();
        for _ in 0..2 {
            let member = Hostile::enter(&address, &world).await;
            says(&mut node, &["connected to", short_peer(&member.id()).as_str()]).await;
            members.push(member);
        }
        // Another one of the same kind is turned away.
        let third = Hostile::enter(&address, &world).await;
        says(&mut node, &[short_peer(&third.id()).as_str(), "turned away"]).await;
        // The lead comes.
        let lines = tokio::net::TcpListener::bind(("127.0.0.1", free)).await.unwrap();
        let to = port(&lead.address);
        let line = tokio::spawn(async move {
            loop {
                let (mut here, _) = lines.accept().await.unwrap();
                let mut there = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
            }
        });
        says(&mut node, &["connected to", short_peer(&lead.id).as_str()]).await;
        line.abort();
    })
    .await;
}
