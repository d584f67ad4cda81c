//! Broken disks, lost chunks, dead lines among honest nodes: what each says, and that the swarm goes on.

use std::{os::unix::fs::FileExt, path::Path};

use regenesis::{
    base::{Progress, task::CancellationToken},
    store::Store,
    swarm::{self, Event},
};

use super::{
    hostile::{Hostile, Say, range, wire},
    world::*,
};

/// Changes one byte of a chunk, with the file's time as before.
fn damage(dir: &Path, world: &World, chunk: usize) {
    let path = dir.join("snapshot.sql.gz");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[!world.snapshot[chunk * CHUNK + 9]], (chunk * CHUNK + 9) as u64).unwrap();
    file.set_modified(time).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_with_a_damaged_chunk_says_so_serves_the_rest_and_lies_to_nobody() {
    let world = World::new(12);
    within(async {
        let mut bad = seed(&world, world.config(TCP, &[])).await;
        damage(bad._dir.path(), &world, 5);
        let dir = tempfile::tempdir().unwrap();
        let config = world.config(TCP, std::slice::from_ref(&bad.address));
        let fetching = async {
            let error = fetch(&world, config, dir.path(), now()).await;
            error.unwrap().warnings
        };
        let mends = async {
            let words = says(&mut bad.handle, &["chunk 5 differs"]).await;
            assert!(words.contains("not served any more") && words.contains("the rest is still served"), "{words}");
            // Somebody with a sound file comes, and is told of through the one whose file is damaged.
            seed(&world, world.config(TCP, std::slice::from_ref(&bad.address))).await
        };
        let (warnings, sound) = tokio::join!(fetching, mends);
        assert!(warnings.iter().all(|w| !w.contains("banned")), "nobody is accused: {warnings:?}");
        drop(sound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_said_in_words() {
    let world = World::new(12);
    within(async {
        let bad = seed(&world, world.config(TCP, &[])).await;
        damage(bad._dir.path(), &world, 5);
        let dir = tempfile::tempdir().unwrap();
        let heard = async {
            let mut handle = swarm::start(world.config(TCP, std::slice::from_ref(&bad.address))).await.unwrap();
            let (_writer, _private) = start_fetch(&world, &mut handle, dir.path()).await;
            says(&mut handle, &["1 chunk missing", "no other source"]).await
        };
        heard.await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_hears_that_a_chunk_came_wrong_and_looks_at_it() {
    let world = World::new(12);
    within(async {
        let mut seed = seed(&world, world.config(TCP, &[])).await;
        let mut member = Hostile::enter_ready(&seed.address, &world).await;
        member.say(Say::Request(wire::Request { id: 1, ranges: vec![range(1, 5..6)] })).await.unwrap();
        // As soon as it is on its way.
        while seed.handle.status().sent_bytes == 0 {
            tokio::task::yield_now().await;
        }
        damage(seed._dir.path(), &world, 5);
        member.say(Say::Complaint(wire::Complaint { artifact: 1, index: 5 })).await.unwrap();
        says(&mut seed.handle, &["chunk 5 differs", "not served any more"]).await;
        let lost = member.hears(|said| matches!(said, Say::Lost(_))).await;
        assert_eq!(lost, Say::Lost(wire::Lost { ranges: vec![range(1, 5..6)] }));
        // It asks all the same: before it heard of that.
        member.say(Say::Request(wire::Request { id: 2, ranges: vec![range(1, 5..6)] })).await.unwrap();
        let refusal = member.hears(|said| matches!(said, Say::Refusal(_))).await;
        assert_eq!(refusal, Say::Refusal(wire::Refusal { request: 2, ranges: vec![range(1, 5..6)] }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_that_only_knows_a_liar_says_why_it_waits() {
    let world = World::new(12);
    within(async {
        let liar = liar(&world, world.config(TCP, &[])).await;
        let dir = tempfile::tempdir().unwrap();
        let mut handle = swarm::start(world.config(TCP, std::slice::from_ref(&liar.address))).await.unwrap();
        let (_writer, _private) = start_fetch(&world, &mut handle, dir.path()).await;
        loop {
            if let Event::Unreachable(tried) = handle.event().await.expect("the node runs") {
                assert!(tried.iter().any(|(at, why)| *at == liar.address && why.contains("wrong bytes")), "{tried:?}");
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_touched_is_served_on() {
    let world = World::new(12);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let path = seed._dir.path().join("snapshot.sql.gz");
    std::fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let dir = tempfile::tempdir().unwrap();
    within(fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
    while let Ok(Some(event)) = tokio::time::timeout(std::time::Duration::ZERO, seed.handle.event()).await {
        assert!(!matches!(event, Event::Failed(_) | Event::Warning(_)), "{event:?}");
    }
    let store = Store::open_complete(seed._dir.path(), world.contents()).unwrap();
    store.prove(&Progress::silent(), &CancellationToken::new()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_at_which_another_node_answers_spoils_nothing_else() {
    let world = World::new(4);
    let (good, other) = (seed(&world, world.config(TCP, &[])).await, seed(&world, world.config(TCP, &[])).await);
    let at_other = format!("{}/p2p/{}", other.address.rsplit_once("/p2p/").unwrap().0, good.id);
    let dir = tempfile::tempdir().unwrap();
    let config = world.config(TCP, &[at_other, good.address.clone()]);
    within(fetch(&world, config, dir.path(), now())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_our_own_spoils_nothing_else() {
    let world = World::new(4);
    let good = seed(&world, world.config(TCP, &[])).await;
    // The port that this node will listen on, under the other one's name, as where both have the same address.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("/ip4/127.0.0.1/tcp/{port}");
    let dir = tempfile::tempdir().unwrap();
    let config = world.config(&own, &[format!("{own}/p2p/{}", good.id), good.address.clone()]);
    within(fetch(&world, config, dir.path(), now())).await.unwrap();
}
