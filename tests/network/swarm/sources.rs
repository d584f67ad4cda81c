//! Members that break the protocol towards a fetcher: it gets everything from the honest ones, and ends.

use std::time::Duration;

use futures::AsyncWriteExt;
use libp2p::identity::Keypair;
use regenesis::{
    store::{PrivateDirectory, Writer},
    swarm::{self, Content, Event, Handle, Sink, short_peer},
};
use tempfile::TempDir;

use super::{
    hostile::{Hostile, Say, Visitor, range, wire},
    world::*,
};

/// A fetcher that knows the manifest and nobody but who comes to it.
struct Fetcher {
    handle: Handle,
    address: String,
    writer: Option<Writer>,
    _private: PrivateDirectory,
    dir: TempDir,
}

impl Fetcher {
    async fn start(world: &World, connect: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut handle = swarm::start(world.config(TCP, connect)).await.unwrap();
        let address = listening(&mut handle).await;
        let private = PrivateDirectory::lock(dir.path()).unwrap();
        let opened = open(world, dir.path(), &private).unwrap();
        let (store, have) = (opened.store.clone(), opened.have.clone());
        let (tx, outcomes) = tokio::sync::mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        let sink = Some(Sink { buffers: writer.buffers(), queue: writer.queue(), outcomes });
        handle.activate(Content { store, have, charter: world.charter(), sink }).await.unwrap();
        Fetcher { handle, address, writer: Some(writer), _private: private, dir }
    }

    /// Waits until every chunk is stored and the writer has ended, and compares every byte; gives the warnings.
    async fn finish(&mut self, world: &World) -> Vec<String> {
        let mut warnings = Vec::new();
        within(async {
            loop {
                match self.handle.event().await.expect("the node runs") {
                    Event::Warning(notice) => warnings.push(notice.text),
                    Event::Failed(error) => panic!("{}", error.chain()),
                    Event::Complete => break,
                    _ => {}
                }
            }
            let writer = self.writer.take().expect("once");
            tokio::task::spawn_blocking(|| writer.finish()).await.unwrap().unwrap();
        })
        .await;
        assert!(std::fs::read(self.dir.path().join("snapshot.sql.gz")).unwrap() == world.snapshot);
        warnings
    }
}

fn chunk(world: &World, index: u32) -> &[u8] {
    &world.snapshot[index as usize * CHUNK..(index as usize + 1) * CHUNK]
}

/// A hostile member says that it has the first chunks of the snapshot, is asked for some and does something; it is dropped with these
/// words, and an honest seed that comes after that gives everything.
async fn is_dropped(words: &str, act: impl AsyncFnOnce(&World, &mut Hostile, u64, Vec<u32>)) {
    let world = World::new(12);
    within(async {
        let mut fetcher = Fetcher::start(&world, &[]).await;
        let mut hostile = Hostile::enter_ready(&fetcher.address, &world).await;
        hostile.says_it_has(0..11).await;
        let (request, chunks) = hostile.is_asked().await;
        act(&world, &mut hostile, request, chunks).await;
        says(&mut fetcher.handle, &[short_peer(&hostile.id()).as_str(), words]).await;
        // Whoever asks how it stands is told so, too.
        let seen = fetcher.handle.viewer().view().await.unwrap();
        assert_eq!(seen.kept_out, [format!("peer {}", short_peer(&hostile.id()))]);
        let seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
        let warnings = fetcher.finish(&world).await;
        assert!(warnings.iter().all(|warning| !warning.contains(&short_peer(&seed.id))), "{warnings:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_under_way_when_it_and_all_others_came_from_elsewhere_costs_nobody_the_session() {
    let world = World::new(12);
    within(async {
        let mut fetcher = Fetcher::start(&world, &[]).await;
        let mut slow = Hostile::enter_ready(&fetcher.address, &world).await;
        slow.says_it_has(0..11).await;
        slow.say(Say::Suggestion(wire::Suggestion { ranges: vec![range(1, 0..11)] })).await.unwrap();
        let mut asked = Vec::new();
        while asked.len() < 2 {
            let (request, chunks) = slow.is_asked().await;
            asked.extend(chunks.into_iter().map(|chunk| (request, chunk)));
        }
        let [(request, first), (next_request, next)] = asked[..2] else { unreachable!() };
        let mut bulk = slow.bulk().await.unwrap();
        offer(&mut bulk, first, request).await.unwrap();
        bulk.write_all(&chunk(&world, first)[..1000]).await.unwrap();
        bulk.flush().await.unwrap();
        // It is taken before the others come.
        let from_slow = async |fetcher: &Fetcher, bytes: u64| {
            loop {
                let view = fetcher.handle.viewer().view().await.unwrap();
                let member = view.members.iter().find(|member| member.peer == slow.id()).expect("its session goes on");
                if member.received_bytes >= bytes {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        from_slow(&fetcher, 1000).await;
        let _seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
        assert!(fetcher.finish(&world).await.is_empty());
        // The rest of it, and one more that was on its way when it was taken back: the same stream takes both.
        bulk.write_all(&chunk(&world, first)[1000..]).await.unwrap();
        offer(&mut bulk, next, next_request).await.unwrap();
        bulk.write_all(chunk(&world, next)).await.unwrap();
        bulk.flush().await.unwrap();
        from_slow(&fetcher, 2 * CHUNK as u64).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_offers_a_chunk_twice_at_once_is_dropped() {
    is_dropped("it sent a chunk that was not asked for", async |world, hostile, request, chunks| {
        let (mut first, mut second) = (hostile.bulk().await.unwrap(), hostile.bulk().await.unwrap());
        offer(&mut first, chunks[0], request).await.unwrap();
        first.write_all(&chunk(world, chunks[0])[..1000]).await.unwrap();
        first.flush().await.unwrap();
        // Each would have a buffer of its own.
        offer(&mut second, chunks[0], request).await.unwrap();
        hostile.hears(|said| matches!(said, Say::Goodbye(_))).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_with_another_chunk_than_was_asked_is_dropped() {
    is_dropped("it sent a chunk that was not asked for", async |_, hostile, request, chunks| {
        let mut bulk = hostile.bulk().await.unwrap();
        let other = (0..11).find(|chunk| !chunks.contains(chunk)).unwrap();
        offer(&mut bulk, other, request).await.unwrap();
        hostile.hears(|said| matches!(said, Say::Goodbye(_))).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_chunk_for_no_request_is_dropped() {
    is_dropped("it sent a chunk that was not asked for", async |_, hostile, _, chunks| {
        let mut bulk = hostile.bulk().await.unwrap();
        offer(&mut bulk, chunks[0], 0).await.unwrap();
        hostile.hears(|said| matches!(said, Say::Goodbye(_))).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_wrong_bytes_hears_of_it_and_is_not_let_in_again() {
    let world = World::new(12);
    within(async {
        let mut fetcher = Fetcher::start(&world, &[]).await;
        let key = Keypair::generate_ed25519();
        let mut hostile = Hostile::enter_as(&fetcher.address, &world, key.clone()).await;
        hostile.say(Say::Ready(wire::Ready {})).await.unwrap();
        hostile.says_it_has(0..11).await;
        let (request, chunks) = hostile.is_asked().await;
        let mut bulk = hostile.bulk().await.unwrap();
        offer(&mut bulk, chunks[0], request).await.unwrap();
        let mut wrong = chunk(&world, chunks[0]).to_vec();
        wrong[77] ^= 1;
        bulk.write_all(&wrong).await.unwrap();
        bulk.flush().await.unwrap();
        let complaint = hostile.hears(|said| matches!(said, Say::Complaint(_))).await;
        assert_eq!(complaint, Say::Complaint(wire::Complaint { artifact: 1, index: chunks[0] }));
        let words = says(&mut fetcher.handle, &[short_peer(&hostile.id()).as_str(), "banned", "wrong chunk"]).await;
        assert!(words.contains("wrong bytes"), "{words}");
        drop(hostile);
        if let Ok(mut again) = Visitor::connect(&fetcher.address, key).await {
            let session = again.open_session().await;
            assert!(session.is_err(), "it is let in again");
        }
        let seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
        fetcher.finish(&world).await;
        drop(seed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_the_same_chunk_again_and_again_is_dropped() {
    let world = World::new(12);
    within(async {
        let mut fetcher = Fetcher::start(&world, &[]).await;
        let mut hostile = Hostile::enter_ready(&fetcher.address, &world).await;
        let everything = vec![range(0, 0..1), range(1, 0..12)];
        hostile.say(Say::Haves(wire::Haves { ranges: everything })).await.unwrap();
        let suggestion = wire::Suggestion { ranges: vec![range(1, 5..6)] };
        hostile.say(Say::Suggestion(suggestion)).await.unwrap();
        let (request, _) = hostile.is_asked().await;
        let mut bulk = hostile.bulk().await.unwrap();
        for _ in 0..2 {
            // It is dropped in the middle of the second one.
            let _ = offer(&mut bulk, 5, request).await;
            let _ = bulk.write_all(chunk(&world, 5)).await;
            let _ = bulk.flush().await;
        }
        says(&mut fetcher.handle, &[short_peer(&hostile.id()).as_str(), "it sent a chunk that was not asked for"])
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_line_dies_in_the_middle_of_a_chunk_does_not_hold_up_the_end() {
    let world = World::new(12);
    let mut fetcher = Fetcher::start(&world, &[]).await;
    let mut hostile = within(Hostile::enter_ready(&fetcher.address, &world)).await;
    hostile.says_it_has(0..11).await;
    let (request, chunks) = within(hostile.is_asked()).await;
    let mut bulk = hostile.bulk().await.unwrap();
    offer(&mut bulk, chunks[0], request).await.unwrap();
    bulk.write_all(&chunk(&world, chunks[0])[..CHUNK / 2]).await.unwrap();
    bulk.flush().await.unwrap();
    // Nothing more comes from it, and nothing says so; somebody else has everything.
    let seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
    fetcher.finish(&world).await;
    drop((seed, hostile, bulk));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_chunk_byte_by_byte_holds_nobody_up() {
    let world = World::new(12);
    let mut fetcher = Fetcher::start(&world, &[]).await;
    let mut hostile = within(Hostile::enter_ready(&fetcher.address, &world)).await;
    // It counts as a second seed, and what is asked of it is not asked elsewhere at first.
    let everything = vec![range(0, 0..1), range(1, 0..12)];
    hostile.say(Say::Haves(wire::Haves { ranges: everything })).await.unwrap();
    let (request, chunks) = within(hostile.is_asked()).await;
    let mut bulk = hostile.bulk().await.unwrap();
    offer(&mut bulk, chunks[0], request).await.unwrap();
    let bytes = world.snapshot.clone();
    let trickle = tokio::spawn(async move {
        for byte in bytes.chunks(1) {
            if bulk.write_all(byte).await.is_err() || bulk.flush().await.is_err() {
                break;
            }
            // The pace is the attack; nothing waits for it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let _seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
    fetcher.finish(&world).await;
    trickle.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_that_it_has_everything_and_sends_nothing_only_delays() {
    let world = World::new(12);
    let mut fetcher = Fetcher::start(&world, &[]).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut hostile = within(Hostile::enter_ready(&fetcher.address, &world)).await;
        hostile.says_it_has(0..11).await;
        silent.push(hostile);
    }
    let _seed = seed(&world, world.config(TCP, std::slice::from_ref(&fetcher.address))).await;
    fetcher.finish(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_silent_when_asked_for_the_manifest_hold_it_up_for_seconds_only() {
    let world = World::new(4);
    within(async {
        let mut handle = swarm::start(world.config(TCP, &[])).await.unwrap();
        let address = listening(&mut handle).await;
        let mut silent = Vec::new();
        for _ in 0..6 {
            let mut hostile = Hostile::enter(&address, &world).await;
            // The first few are asked; none of them answers.
            if silent.is_empty() {
                hostile.hears(|said| matches!(said, Say::ManifestRequest(_))).await;
            }
            silent.push(hostile);
        }
        let _seed = seed(&world, world.config(TCP, std::slice::from_ref(&address))).await;
        let got = tokio::time::timeout(Duration::from_secs(40), async {
            loop {
                if let Event::Charter { charter, .. } = handle.event().await.expect("the node runs") {
                    return charter;
                }
            }
        });
        assert_eq!(got.await.expect("soon"), world.charter());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_another_manifest_is_banned_and_another_member_asked() {
    let world = World::new(4);
    within(async {
        let mut handle = swarm::start(world.config(TCP, &[])).await.unwrap();
        let address = listening(&mut handle).await;
        let mut liar = Hostile::enter(&address, &world).await;
        liar.hears(|said| matches!(said, Say::ManifestRequest(_))).await;
        let _seed = seed(&world, world.config(TCP, std::slice::from_ref(&address))).await;
        let reply = wire::ManifestReply { signed_manifest: vec![1; 5000], genesis: vec![2; 500] };
        liar.say(Say::ManifestReply(reply)).await.unwrap();
        loop {
            if let Event::Charter { peer, charter } = handle.event().await.expect("the node runs") {
                if charter == world.charter() {
                    break;
                }
                assert_eq!(peer, liar.id());
                handle.blame(&peer, "it sent another manifest").await.unwrap();
            }
        }
    })
    .await;
}
