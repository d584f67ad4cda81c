//! Fetching, sharing, lying, other versions.

use std::sync::Arc;

use regenesis::{
    store::{PrivateDirectory, Writer},
    swarm::{self, Allow, Config, Event, Identity, short_peer},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn one_fetcher_gets_every_byte_over_tcp() {
    let world = World::new(40);
    let seed = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let got =
        within(fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    assert_eq!(got.totals.len(), 1);
    assert_eq!(got.totals[0].received_bytes, size, "each chunk comes once");
    assert_eq!(got.totals[0].peer, seed.id);
    let sent = seed.handle.stop().await;
    assert_eq!(sent[0].sent_bytes, size);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetcher_gets_every_byte_over_quic() {
    let world = World::new(20);
    let seed = seed(&world, world.config(QUIC, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    assert!(seed.address.contains("quic-v1"));
    within(fetch(&world, world.config(QUIC, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_fetchers_serve_each_other() {
    let world = Arc::new(World::new(200));
    let seed = waiting_seed(&world, world.config(TCP, &[])).await;
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let sessions = Arc::new(Semaphore::new(0));
    let mut fetchers = Vec::new();
    for _ in 0..3 {
        let (world, address, barrier, sessions) =
            (world.clone(), seed.seed.address.clone(), barrier.clone(), sessions.clone());
        fetchers.push(tokio::spawn(async move {
            let dir = tempfile::tempdir().unwrap();
            let stay = async {
                barrier.wait().await;
            };
            fetch_told(&world, world.config(TCP, &[address]), dir.path(), stay, &sessions).await.unwrap()
        }));
    }
    // All at once, and everyone knows everyone: what one has before the others come, they may fetch from the seed again.
    let everyone = within(sessions.acquire_many(3 * 3)).await.expect("open");
    drop(everyone);
    let seed = seed.begin(&world).await;
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    let mut sent_by_fetchers = 0;
    for fetcher in fetchers {
        // Every byte was compared there.
        let got = within(fetcher).await.unwrap();
        assert!(got.totals.len() > 1, "fetchers find each other through the seed: {:?}", got.totals);
        let received: u64 = got.totals.iter().map(|t| t.received_bytes).sum();
        assert!(received >= size, "{received} of {size} bytes came: {:?}", got.totals);
        sent_by_fetchers += got.totals.iter().map(|t| t.sent_bytes).sum::<u64>();
    }
    let sent: u64 = seed.handle.stop().await.iter().map(|t| t.sent_bytes).sum();
    // How many copies leave the seed is for the machine to decide here; the simulation holds the scheduler to it.
    assert!(sent >= size, "every chunk comes from the seed at first, but it sent {sent} of {size} bytes");
    assert!(sent_by_fetchers > 0, "the fetchers sent each other nothing");
    assert!(sent < size * 3, "a copy for each fetcher left the seed: {sent} bytes, {size} each");
    assert!(sent + sent_by_fetchers >= size * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_flips_one_bit_is_named_and_dropped_and_the_rest_comes_from_another() {
    let world = World::new(30);
    let honest = waiting_seed(&world, world.config(TCP, &[])).await;
    let honest_id = honest.seed.id.clone();
    let liar = liar(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let connect = [liar.address.clone(), honest.seed.address.clone()];
    let begin = async {
        // Were it faster than the liar, there would be no lie.
        while liar.handle.status().sent_bytes < CHUNK as u64 {
            tokio::task::yield_now().await;
        }
        honest.begin(&world).await
    };
    let (got, _honest) =
        within(async { tokio::join!(fetch(&world, world.config(TCP, &connect), dir.path(), now()), begin) }).await;
    let got = got.unwrap();
    let named = got.warnings.iter().find(|w| w.contains("wrong chunk")).expect("a warning");
    assert!(named.contains(&short_peer(&liar.id)) && named.contains("banned"), "{named}");
    assert!(!got.warnings.iter().any(|w| w.contains(&short_peer(&honest_id))), "{:?}", got.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_the_secret_gets_nothing() {
    let world = World::new(4);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = world.config(TCP, std::slice::from_ref(&seed.address));
    config.secret = Some(Zeroizing::new([1; 32]));
    let mut stranger = swarm::start(config).await.unwrap();
    let warning = within(async {
        loop {
            match stranger.event().await.unwrap() {
                Event::Charter { .. } => panic!("a stranger got the manifest"),
                Event::Warning(notice) => return notice.text,
                _ => {}
            }
        }
    })
    .await;
    assert!(warning.contains("wrong secret"), "{warning}");
    let told = within(async {
        loop {
            if let Event::Warning(notice) = seed.handle.event().await.unwrap() {
                return notice.text;
            }
        }
    })
    .await;
    assert!(told.contains("does not know this swarm's secret"), "{told}");
    assert!(stranger.stop().await.is_empty());
    assert!(seed.handle.stop().await.is_empty(), "no byte went to a stranger");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_ticket_has_its_own_sentence() {
    let (old, new) = (World::new(2), World { manifest: Arc::new(b"signed later".to_vec()), ..World::new(2) });
    let seed = seed(&new, new.config(TCP, &[])).await;
    let mut stale = swarm::start(old.config(TCP, std::slice::from_ref(&seed.address))).await.unwrap();
    let warning = within(async {
        loop {
            match stale.event().await.unwrap() {
                Event::Charter { .. } => panic!("another swarm's manifest"),
                Event::Warning(notice) => return notice.text,
                _ => {}
            }
        }
    })
    .await;
    assert!(warning.contains("the ticket is stale"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_swarm_needs_no_secret() {
    let world = World::new(3);
    let public = |connect: &[String]| Config { secret: None, ..world.config(TCP, connect) };
    let seed = seed(&world, public(&[])).await;
    let dir = tempfile::tempdir().unwrap();
    within(fetch(&world, public(std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_peers_come_in() {
    let world = World::new(3);
    let friend = Identity::generate();
    let allow = Allow { peers: vec![friend.peer_id()], ..Allow::default() };
    let config = Config { allow, ..world.config(TCP, &[]) };
    let seed = seed(&world, config).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { identity: friend, ..world.config(TCP, std::slice::from_ref(&seed.address)) };
    within(fetch(&world, config, dir.path(), now())).await.unwrap();
    let mut other = swarm::start(world.config(TCP, std::slice::from_ref(&seed.address))).await.unwrap();
    within(async {
        loop {
            match other.event().await.unwrap() {
                Event::Charter { .. } => panic!("not allowed, but served"),
                Event::Warning(_) | Event::Unreachable(_) => return,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_names_each_address_and_its_cause() {
    let world = World::new(2);
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", Identity::generate().peer_id());
    let dir = tempfile::tempdir().unwrap();
    let result = within(fetch(&world, world.config(TCP, std::slice::from_ref(&address)), dir.path(), now())).await;
    let Err(error) = result else { panic!("fetched from nobody") };
    let text = error.chain();
    assert!(text.contains(&address) && text.to_lowercase().contains("refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_vanishes_in_the_middle_is_replaced_by_another() {
    let world = World::new(200);
    let first = seed(&world, world.config(TCP, &[])).await;
    let second = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let config = world.config(TCP, &[first.address.clone(), second.address.clone()]);
    let vanish = async {
        // As soon as something has left the first one.
        while first.handle.status().sent_bytes == 0 {
            tokio::task::yield_now().await;
        }
        drop(first.handle);
    };
    let (got, ()) = within(async { tokio::join!(fetch(&world, config, dir.path(), now()), vanish) }).await;
    got.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_where_it_stopped() {
    let world = World::new(60);
    let dir = tempfile::tempdir().unwrap();
    // A first fetch that is cut off: half of the chunks are written by hand.
    {
        let private = PrivateDirectory::lock(dir.path()).unwrap();
        let opened = open(&world, dir.path(), &private).unwrap();
        let contents = world.contents();
        let (tx, mut outcomes) = tokio::sync::mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        for chunk in 1..31 {
            let (_, index) = contents.locate(chunk).unwrap();
            let layout = contents.files()[1].layout;
            let at = layout.offset(index) as usize;
            let data = world.snapshot[at..at + layout.len(index)].to_vec();
            let untrusted = regenesis::store::Untrusted::whole(0, chunk, data);
            writer.queue().send(untrusted).await.unwrap();
            outcomes.recv().await.unwrap();
        }
        tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
    }
    let seed = seed(&world, world.config(TCP, &[])).await;
    let got =
        within(fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    assert_eq!(got.totals[0].received_bytes, size - 30 * CHUNK as u64);
}
