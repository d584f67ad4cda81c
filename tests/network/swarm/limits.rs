//! How fast chunks may go, by the operator's word and by a slow disk. A busy machine makes all of this slower, never faster, and no test asks for less than a limit allows.

use std::{num::NonZeroU64, time::Duration};

use regenesis::{
    base::clock,
    store::{PrivateDirectory, Writer},
    swarm::{self, Config, Content, Event, Handle, RateLimits, Sink},
};
use tokio::sync::mpsc;

use super::world::*;
use crate::wait::wait_for;

fn upload(bytes_per_second: u64) -> RateLimits {
    RateLimits { upload: NonZeroU64::new(bytes_per_second), download: None }
}

fn download(bytes_per_second: u64) -> RateLimits {
    RateLimits { upload: None, download: NonZeroU64::new(bytes_per_second) }
}

/// Has all of it within the time that the limits of both sides allow, and not before.
async fn takes_its_time(seed_limits: RateLimits, fetcher_limits: RateLimits, bytes_per_second: u64) {
    let world = World::new(6);
    let seed = seed(&world, Config { rate_limits: seed_limits, ..world.config(TCP, &[]) }).await;
    let config = Config { rate_limits: fetcher_limits, ..world.config(TCP, std::slice::from_ref(&seed.address)) };
    let dir = tempfile::tempdir().unwrap();
    let began = clock::now();
    let got = within(fetch(&world, config, dir.path(), now())).await.unwrap();
    let took = began.elapsed();
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    assert_eq!(got.totals[0].received_bytes, size, "each chunk comes once: a limit drops nothing");
    assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    // A fifth of a second may be caught up on, and the last slice is read before it is paid.
    let least = Duration::from_secs_f64(size as f64 / bytes_per_second as f64) - Duration::from_millis(250);
    assert!(took >= least, "{size} bytes came in {took:?}, not in {least:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_limit_holds_and_everything_comes() {
    takes_its_time(upload(1_000_000), RateLimits::default(), 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_limit_holds_and_everything_comes() {
    takes_its_time(RateLimits::default(), download(1_000_000), 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_up_no_control_message() {
    let world = World::new(20);
    // A chunk would take longer than the test may.
    let rate_limits = upload(1000);
    let seed = seed(&world, Config { rate_limits, ..world.config(TCP, &[]) }).await;
    let connect = std::slice::from_ref(&seed.address);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    within(async {
        let mut first = swarm::start(world.config(TCP, connect)).await.unwrap();
        let _first_writer = start_fetch(&world, &mut first, dirs[0].path()).await;
        wait_for("chunks on their way", || seed.handle.status().sent_bytes > 0);
        // While they trickle, another is let in, gets the manifest, and its own share.
        let mut second = swarm::start(world.config(TCP, connect)).await.unwrap();
        let _second_writer = start_fetch(&world, &mut second, dirs[1].path()).await;
        wait_for("its share", || second.status().received_bytes > 0);
        let sent = seed.handle.status().sent_bytes;
        assert!(sent < CHUNK as u64, "{sent} bytes of chunks went out before");
        assert_eq!(seed.handle.status().peers, 2, "both are still members");
    })
    .await;
}

/// What the node warned of so far.
fn warnings(handle: &mut Handle) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(handle.event()) {
        if let Event::Warning(notice) = event {
            said.push(notice.text);
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_than_may_be() {
    let world = World::new(20);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let rate_limits = download(200_000);
    let config = Config { rate_limits, ..world.config(TCP, std::slice::from_ref(&seed.address)) };
    let dir = tempfile::tempdir().unwrap();
    let began = clock::now();
    within(async {
        let mut fetcher = swarm::start(config).await.unwrap();
        let _writer = start_fetch(&world, &mut fetcher, dir.path()).await;
        wait_for("two chunks", || fetcher.status().have_bytes >= 2 * CHUNK as u64);
        let received = fetcher.status().received_bytes;
        // A fifth of a second may be caught up on, and a slice is read before it is paid.
        let most = (began.elapsed() + Duration::from_millis(300)).as_secs_f64() * 200_000.0;
        assert!((received as f64) < most, "{received} bytes were read, and {most} might have been");
        let said = [warnings(&mut seed.handle), warnings(&mut fetcher)].concat();
        assert!(said.is_empty(), "{said:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_throttles_the_sender_and_is_no_fault() {
    let world = World::new(100);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let connect = std::slice::from_ref(&seed.address);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    within(async {
        let mut slow = swarm::start(world.config(TCP, connect)).await.unwrap();
        let charter = loop {
            if let Event::Charter { charter, .. } = slow.event().await.expect("the node runs") {
                break charter;
            }
        };
        let private = PrivateDirectory::lock(dirs[0].path()).unwrap();
        let opened = open(&world, dirs[0].path(), &private).unwrap();
        let (store, have) = (opened.store.clone(), opened.have.clone());
        let (tx, outcomes) = mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        // A disk that takes nothing for now: one chunk waits for it, and one on each stream for that.
        let (queue, mut waiting) = mpsc::channel(1);
        let sink = Some(Sink { buffers: writer.buffers(), queue, outcomes });
        slow.activate(Content { store, have, charter, sink }).await.unwrap();
        wait_for("the disk to be behind", || slow.status().received_bytes > CHUNK as u64);
        // Meanwhile the seed has time for all that another wants, who may then be a second source of the slow one.
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let (complete, is_complete) = tokio::sync::oneshot::channel::<()>();
        let other = fetch(&world, world.config(TCP, connect), dirs[1].path(), async {
            let _ = complete.send(());
            let _ = ended.await;
        });
        let rest = async {
            is_complete.await.expect("the other one gets everything");
            let received = slow.status().received_bytes;
            assert!(received <= 3 * CHUNK as u64, "{received} bytes were read for a disk that takes none");
            let said = [warnings(&mut seed.handle), warnings(&mut slow)].concat();
            assert!(said.is_empty(), "{said:?}");
            // Now it takes them.
            let disk = writer.queue();
            let pump = async {
                while let Some(chunk) = waiting.recv().await {
                    disk.send(chunk).await.unwrap();
                }
            };
            let complete = async { while !matches!(slow.event().await.expect("the node runs"), Event::Complete) {} };
            // Whoever has everything wants nothing more written.
            tokio::join!(pump, complete);
            drop(done);
        };
        let (got, ()) = tokio::join!(other, rest);
        assert!(got.unwrap().warnings.is_empty());
        drop(waiting);
        tokio::task::spawn_blocking(|| writer.finish()).await.unwrap().unwrap();
        assert!(std::fs::read(dirs[0].path().join("snapshot.sql.gz")).unwrap() == world.snapshot);
    })
    .await;
}
