//! Peers that break the rules, messages that cross, disks that lose chunks: each rule by itself, and swarms among them.

use super::*;

fn at(ms: u64) -> Time {
    Duration::from_millis(ms)
}

/// A node that has nothing of ten chunks, and a peer that has all of them and our credit.
fn with_a_seed() -> Scheduler {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Haves(1, vec![0..10]));
    assert!(matches!(s.poll_effect(), Some(Effect::Grant(1, 10))));
    s
}

fn effects(s: &mut Scheduler) -> Vec<Effect> {
    std::iter::from_fn(|| s.poll_effect()).collect()
}

/// A node that has nothing and a peer with half of the chunks, asked for some: the request and its chunks.
fn with_a_request() -> (Scheduler, RequestId, Vec<u32>) {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    let asked = effects(&mut s);
    let [Effect::Request(1, request, chunks)] = &asked[..] else { panic!("{asked:?}") };
    let (request, chunks) = (*request, chunks.clone());
    (s, request, chunks)
}

#[test]
fn what_was_never_asked_for_is_refused() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    assert_eq!(s.offered(Time::ZERO, 1, 3, Some(1)), Expect::Unasked);
    assert_eq!(s.offered(Time::ZERO, 1, 3, None), Expect::Unasked, "no credit was given");
    assert_eq!(s.offered(Time::ZERO, 2, 3, None), Expect::Unasked, "nobody we know");
    let mut s = with_a_seed();
    assert_eq!(s.offered(Time::ZERO, 1, 99, None), Expect::Unasked, "no such chunk");
    assert_eq!(s.offered(Time::ZERO, 1, 3, None), Expect::Wanted);
}

#[test]
fn a_chunk_is_offered_once_for_each_time_it_was_asked_for() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], Some(request + 1)), Expect::Unasked, "no such request");
    assert_eq!(s.offered(at(1), 1, chunks[0], Some(request)), Expect::Wanted);
    assert_eq!(s.offered(at(1), 1, chunks[0], Some(request)), Expect::Unasked, "while it is still coming");
    s.handle(at(2), Input::Stored(1, chunks[0]));
    assert_eq!(s.offered(at(3), 1, chunks[0], Some(request)), Expect::Unasked, "and after that");
}

#[test]
fn credit_is_spent_on_a_chunk_once() {
    let mut s = with_a_seed();
    assert_eq!(s.offered(at(1), 1, 3, None), Expect::Wanted);
    assert_eq!(s.offered(at(1), 1, 3, None), Expect::Unasked, "two places for one chunk");
    s.handle(at(2), Input::Stored(1, 3));
    assert_eq!(s.offered(at(3), 1, 3, None), Expect::Unasked, "a line kept busy with what is there");
}

#[test]
fn an_answer_that_comes_after_its_request_was_taken_back_is_no_fault() {
    let (mut s, request, chunks) = with_a_request();
    s.handle(STALL + at(1), Input::Tick);
    let told = effects(&mut s);
    assert!(told.iter().any(|e| matches!(e, Effect::Cancel(1, taken) if taken.len() == chunks.len())), "{told:?}");
    // Asked again and answered twice: once for each request, in whatever order they come.
    let again = told.iter().find_map(|e| match e {
        Effect::Request(1, id, chunks) => Some((*id, chunks[0])),
        _ => None,
    });
    let (second, chunk) = again.expect("it is asked for one");
    assert_eq!(s.offered(STALL + at(5), 1, chunk, Some(request)), Expect::Wanted, "late, and still of use");
    s.handle(STALL + at(6), Input::Stored(1, chunk));
    assert!(effects(&mut s).contains(&Effect::Cancel(1, vec![chunk])), "the second is not needed any more");
    assert_eq!(s.offered(STALL + at(7), 1, chunk, Some(second)), Expect::HadAlready);
    assert_eq!(s.offered(STALL + at(8), 1, chunk, Some(second)), Expect::Unasked);
}

#[test]
fn what_is_half_here_is_not_taken_back_and_counts_when_it_comes() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], Some(request)), Expect::Wanted);
    s.handle(STALL + at(2), Input::Tick);
    let told = effects(&mut s);
    let taken = told.iter().find_map(|e| match e {
        Effect::Cancel(1, chunks) => Some(chunks.clone()),
        _ => None,
    });
    assert!(!taken.expect("the others").contains(&chunks[0]));
    s.handle(STALL + at(3), Input::Stored(1, chunks[0]));
    assert!(s.have().contains(chunks[0]));
}

#[test]
fn a_request_that_is_refused_is_free_again_and_refusing_anything_else_ends_the_session() {
    let (mut s, request, chunks) = with_a_request();
    s.handle(Time::ZERO, Input::Connected(2));
    s.handle(Time::ZERO, Input::Haves(2, vec![chunks[0]..chunks[0] + 1]));
    assert!(effects(&mut s).is_empty(), "it comes from the first");
    let refused = |request, chunk: u32, lost| Input::Refused { peer: 1, request, ranges: vec![chunk..chunk + 1], lost };
    s.handle(at(1), refused(request, chunks[0], true));
    let told = effects(&mut s);
    assert!(told.iter().any(|e| matches!(e, Effect::Request(2, _, asked) if *asked == [chunks[0]])), "{told:?}");
    s.handle(at(2), refused(request, chunks[0], true));
    assert!(matches!(effects(&mut s)[..], [Effect::Drop(1, _)]));
    // A list of refusals costs as much as there is to refuse, however long it says to be.
    s.handle(at(3), Input::Refused { peer: 1, request, ranges: vec![0..u32::MAX], lost: false });
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
}

#[test]
fn every_request_gets_one_answer() {
    let mut s = Scheduler::new(ChunkSet::full(100), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    effects(&mut s);
    s.handle(Time::ZERO, Input::Requested(1, 7, vec![0..10]));
    let sent = effects(&mut s);
    assert_eq!(sent.len(), SENDING_MAX);
    assert!(sent.iter().all(|e| matches!(e, Effect::Send { request: Some(7), .. })), "{sent:?}");
    // Taken back, all of it: what is on the line goes on.
    s.handle(at(1), Input::Cancelled(1, vec![0..100]));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 7, chunks: (2..10).collect(), lost: false }]);
    // It has come from elsewhere.
    s.handle(at(2), Input::Requested(1, 8, vec![20..23]));
    s.handle(at(3), Input::Haves(1, vec![21..22]));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![21], lost: false }]);
    s.handle(at(4), Input::Sent(1, 0));
    assert_eq!(effects(&mut s), [Effect::Send { peer: 1, chunk: 20, request: Some(8) }]);
    // A chunk that our disk has lost.
    s.handle(at(5), Input::Lost(22));
    s.handle(at(6), Input::Sent(1, 1));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![22], lost: true }]);
    s.handle(at(7), Input::NotSent(1, 20));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![20], lost: true }]);
    s.handle(at(8), Input::Requested(1, 9, vec![22..23]));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 9, chunks: vec![22], lost: true }]);
    s.handle(at(9), Input::Requested(1, 9, vec![30..31]));
    assert!(matches!(effects(&mut s)[..], [Effect::Drop(1, _)]), "an id that was used");
}

#[test]
fn a_chunk_that_was_dealt_and_asked_for_at_once_goes_over_the_line_once() {
    let mut s = Scheduler::new(ChunkSet::full(100), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Credited(1, 1));
    let dealt = effects(&mut s);
    let Some(Effect::Send { chunk, request: None, .. }) = dealt.last() else { panic!("{dealt:?}") };
    s.handle(at(1), Input::Requested(1, 1, vec![*chunk..*chunk + 1]));
    s.handle(at(2), Input::Sent(1, *chunk));
    assert!(effects(&mut s).is_empty());
    s.handle(at(3), Input::Cancelled(1, vec![*chunk..*chunk + 1]));
    assert_eq!(effects(&mut s), [Effect::Refuse { peer: 1, request: 1, chunks: vec![*chunk], lost: false }]);
}

#[test]
fn asking_for_what_was_not_announced_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Requested(1, 1, vec![3..4]));
    assert!(matches!(s.poll_effect(), Some(Effect::Drop(1, _))));
}

#[test]
fn a_flood_of_requests_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::full(100_000), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Requested(1, 1, vec![0..100_000]));
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
    // Taken back and asked for again and again: what is kept of it stays small.
    let mut s = Scheduler::new(ChunkSet::full(100_000), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    for round in 0..50u64 {
        s.handle(at(round), Input::Requested(1, round + 1, vec![0..4000]));
        s.handle(at(round), Input::Cancelled(1, vec![0..100_000]));
        assert!(!effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(..))));
        assert!(s.peers[&1].wants.len() <= 2 * REQUESTED_MAX + 4000 && s.peers[&1].wanted.len() <= REQUESTED_MAX);
    }
}

#[test]
fn saying_the_same_again_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    effects(&mut s);
    s.handle(Time::ZERO, Input::Haves(1, vec![4..7]));
    assert!(matches!(effects(&mut s).last(), Some(Effect::Drop(1, _))));
}

#[test]
fn every_chunk_is_out_when_two_peers_say_so_and_no_longer_when_one_leaves() {
    let mut s = Scheduler::new(ChunkSet::full(10), CHUNK, 16 * CHUNK, 0, 1);
    let out = |s: &mut Scheduler, now| {
        s.handle(now, Input::Tick);
        let told = effects(s).into_iter().filter(|e| matches!(e, Effect::EveryChunkOut(_)));
        told.collect::<Vec<_>>()
    };
    for id in 1..=3 {
        s.handle(Time::ZERO, Input::Connected(id));
    }
    s.handle(Time::ZERO, Input::Haves(1, vec![0..10]));
    assert!(out(&mut s, at(100)).is_empty(), "one may lie, or leave");
    s.handle(Time::ZERO, Input::Haves(2, vec![0..6]));
    s.handle(Time::ZERO, Input::Haves(3, vec![5..9]));
    assert!(out(&mut s, at(200)).is_empty());
    s.handle(Time::ZERO, Input::Haves(3, vec![9..10]));
    assert_eq!(out(&mut s, at(300)), [Effect::EveryChunkOut(true)]);
    assert!(out(&mut s, at(400)).is_empty(), "said once");
    s.handle(Time::ZERO, Input::Gone(2));
    assert_eq!(out(&mut s, at(500)), [Effect::EveryChunkOut(false)]);
}

#[test]
fn what_our_disk_loses_is_fetched_again_and_not_announced_again() {
    let mut have = ChunkSet::full(10);
    have.remove(9);
    let mut s = Scheduler::new(have, CHUNK, 16 * CHUNK, 0, 1);
    s.handle(Time::ZERO, Input::Connected(1));
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    effects(&mut s);
    s.handle(at(1), Input::Lost(3));
    let told = effects(&mut s);
    assert!(matches!(&told[..], [Effect::Request(1, _, chunks)] if *chunks == [3]), "{told:?}");
    assert_eq!(s.offered(at(2), 1, 3, Some(1)), Expect::Wanted);
    s.handle(at(3), Input::Stored(1, 3));
    s.handle(at(200), Input::Tick);
    assert!(effects(&mut s).is_empty());
}

#[test]
fn a_disk_of_ours_that_is_behind_is_not_the_silence_of_a_peer() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], Some(request)), Expect::Wanted);
    for tick in 0..1000 {
        s.handle(TICK * tick, Input::Alive(1));
        s.handle(TICK * tick, Input::Tick);
    }
    assert!(effects(&mut s).is_empty(), "nothing is taken back");
}

#[test]
fn nobody_is_accused_in_a_swarm_of_fifty() {
    let mut lines = vec![Line::up(2e4)];
    // Three kinds of uplinks, and some that stop and go, so that much is late and asked for elsewhere.
    lines.extend((0..50).map(|i| Line {
        up: [2.5e3, 1e4, 4e4][i % 3],
        down: 8e4,
        joins: Duration::from_millis(40 * i as u64),
        stops: (i % 7 == 3).then_some((Duration::from_secs(30), Duration::from_secs(13))),
    }));
    let mut swarm = Swarm::with_lines(40, &lines, 1, 1);
    swarm.latency = Duration::from_millis(20);
    // Whoever is accused ends the run: see `Swarm::feed` and `Swarm::run`.
    swarm.run(HOUR, |_| {});
}
