//! Members that break the protocol towards a seed: each is dropped, with its fault named, and honest ones are served.

use regenesis::swarm::short_peer;

use super::{
    hostile::{Hostile, Say, range, wire},
    world::*,
};

/// A member does something to a seed; it is dropped with these words, and somebody else gets everything.
async fn is_dropped(words: &str, act: impl AsyncFnOnce(&mut Hostile)) {
    let world = World::new(12);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    within(async {
        let mut hostile = Hostile::enter_ready(&seed.address, &world).await;
        act(&mut hostile).await;
        says(&mut seed.handle, &[short_peer(&hostile.id()).as_str(), words]).await;
        let dir = tempfile::tempdir().unwrap();
        fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now()).await.unwrap();
    })
    .await;
}

fn haves(ranges: &[std::ops::Range<u32>]) -> Say {
    Say::Haves(wire::Haves { ranges: ranges.iter().cloned().map(|r| range(1, r)).collect() })
}

fn request(id: u64, ranges: &[std::ops::Range<u32>]) -> Say {
    Say::Request(wire::Request { id, ranges: ranges.iter().cloned().map(|r| range(1, r)).collect() })
}

/// Says it as often as the node takes it.
async fn floods(hostile: &mut Hostile, message: Say) {
    while hostile.say(message.clone()).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_manifest_without_reading_it_is_dropped() {
    is_dropped("it asks for the manifest", async |hostile| {
        floods(hostile, Say::ManifestRequest(wire::ManifestRequest {})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_manifest_again_and_again_is_dropped() {
    is_dropped("it asks for the manifest again and again", async |hostile| {
        while hostile.say(Say::ManifestRequest(wire::ManifestRequest {})).await.is_ok() {
            while !matches!(hostile.hear().await, Some(Say::ManifestReply(_)) | None) {}
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_many_times_in_one_message_what_it_has_is_dropped() {
    is_dropped("ranges", async |hostile| {
        let ranges = vec![0..12; 2000];
        floods(hostile, haves(&ranges)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_in_many_messages_what_it_has_is_dropped() {
    is_dropped("it says again what it has said", async |hostile| floods(hostile, haves(&[0..1])).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_chunks_that_do_not_exist_is_dropped() {
    is_dropped("it names chunks that do not exist", async |hostile| {
        hostile.say(haves(&[0..u32::MAX])).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_chunks_with_the_same_id_is_dropped() {
    is_dropped("the ids of its requests do not grow", async |hostile| floods(hostile, request(1, &[0..1])).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_same_chunk_many_times_is_dropped() {
    is_dropped("it asks for more chunks at once than the protocol allows", async |hostile| {
        let ranges = vec![0..12; 1000];
        hostile.say(request(1, &ranges)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_takes_back_and_reads_nothing_is_dropped_or_read_slowly() {
    let world = World::new(12);
    let seed = seed(&world, world.config(TCP, &[])).await;
    within(async {
        let mut hostile = Hostile::enter_ready(&seed.address, &world).await;
        let flood = tokio::spawn(async move {
            for id in 1.. {
                let cancel = Say::Cancel(wire::Cancel { ranges: vec![range(1, 0..12)] });
                if hostile.say(request(id, &[0..12])).await.is_err() || hostile.say(cancel).await.is_err() {
                    break;
                }
            }
        });
        let dir = tempfile::tempdir().unwrap();
        fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now()).await.unwrap();
        flood.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_of_chunks_before_it_knows_the_manifest_is_dropped() {
    let world = World::new(4);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    within(async {
        let mut hostile = Hostile::enter(&seed.address, &world).await;
        hostile.says_it_has(0..4).await;
        says(&mut seed.handle, &[short_peer(&hostile.id()).as_str(), "before both sides know the manifest"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_more_bulk_streams_than_allowed_is_dropped() {
    is_dropped("", async |hostile| {
        let mut held = Vec::new();
        // The multiplexer or the session ends it, whichever counts first.
        while let Ok(mut stream) = hostile.bulk().await {
            if futures::AsyncWriteExt::write_all(&mut stream, &[60]).await.is_err() {
                break;
            }
            held.push(stream);
            assert!(held.len() < 100, "a hundred streams");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_chunk_that_was_not_asked_for_is_dropped() {
    is_dropped("it sent a chunk that was not asked for", async |hostile| {
        let mut bulk = hostile.bulk().await.unwrap();
        offer(&mut bulk, 3, 1).await.unwrap();
        hostile.hears(|said| matches!(said, Say::Goodbye(_))).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_what_it_was_not_asked_for_is_dropped() {
    is_dropped("it refuses what was not asked of it", async |hostile| {
        let refusal = wire::Refusal { request: 1, ranges: vec![range(1, 0..12)] };
        hostile.say(Say::Refusal(refusal)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_complains_of_what_it_was_not_sent_is_dropped() {
    is_dropped("it complains of a chunk that it was not sent", async |hostile| {
        hostile.say(Say::Complaint(wire::Complaint { artifact: 1, index: 3 })).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_manifest_that_nobody_asked_for_is_dropped() {
    is_dropped("a manifest that nobody asked for", async |hostile| {
        let reply = wire::ManifestReply { signed_manifest: vec![1; 1000], genesis: Vec::new() };
        hostile.say(Say::ManifestReply(reply)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_message_longer_than_allowed_is_dropped() {
    is_dropped("longer than the protocol allows", async |hostile| {
        let reason = "x".repeat(100_000);
        let _ = hostile.say(Say::Goodbye(wire::Goodbye { reason, identity_in_use: false, not_let_in: false })).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_twice_that_it_is_ready_is_dropped() {
    is_dropped("it says again what it has said", async |hostile| floods(hostile, Say::Ready(wire::Ready {})).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_strangers_that_a_member_names_are_not_dialled() {
    let world = World::new(4);
    let seed = seed(&world, world.config(TCP, &[])).await;
    within(async {
        let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = victim.local_addr().unwrap().port();
        let mut hostile = Hostile::enter(&seed.address, &world).await;
        for round in 0..20 {
            let addresses = (0..50)
                .map(|n| {
                    let id = libp2p::PeerId::random();
                    format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", if n == 0 { port } else { 20_000 + 50 * round + n })
                })
                .collect();
            hostile.say(Say::Peers(wire::Peers { addresses })).await.unwrap();
        }
        hostile.say(Say::ManifestRequest(wire::ManifestRequest {})).await.unwrap();
        // It has read all of it by now; what it would dial, it would dial within a tick.
        hostile.hears(|said| matches!(said, Say::ManifestReply(_))).await;
        let dialled = tokio::time::timeout(std::time::Duration::from_secs(1), victim.accept()).await;
        assert!(dialled.is_err(), "it dialled a port that a member named");
        // Nor are others told of them.
        let mut other = Hostile::enter(&seed.address, &world).await;
        let told = other.hears(|said| matches!(said, Say::Peers(_))).await;
        let Say::Peers(wire::Peers { addresses }) = told else { unreachable!() };
        assert!(addresses.iter().all(|a| a.contains(&seed.id)), "{addresses:?}");
    })
    .await;
}
