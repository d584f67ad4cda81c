//! Peers that break the rules, messages that cross, disks that lose chunks: each rule by itself, and swarms among them.

use super::{swarms::*, *};

fn at(ms: u64) -> Time {
    Duration::from_millis(ms)
}

/// A peer comes, and is told, once, that something will be suggested to it; what else was decided stays to be looked at.
fn connect(s: &mut Scheduler, now: Time, id: PeerId) {
    s.handle(now, Input::Connected(id));
    let word = Effect::Suggest(id, Vec::new());
    let before = s.effects.len();
    s.effects.retain(|effect| *effect != word);
    assert_eq!(before - s.effects.len(), 1, "one word to {id}");
}

fn effects(s: &mut Scheduler) -> Vec<Effect> {
    std::iter::from_fn(|| s.poll_effect()).collect()
}

/// The same without what is only suggested.
fn answers(s: &mut Scheduler) -> Vec<Effect> {
    effects(s).into_iter().filter(|e| !matches!(e, Effect::Suggest(..))).collect()
}

/// A node that has nothing and a peer with half of the chunks, which it suggests: the request and its chunks.
fn with_a_request() -> (Scheduler, RequestId, Vec<u32>) {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    s.handle(Time::ZERO, Input::Suggested(1, vec![0..5]));
    let asked = effects(&mut s);
    let [Effect::Request(1, request, chunks)] = &asked[..] else { panic!("{asked:?}") };
    let (request, chunks) = (*request, chunks.clone());
    (s, request, chunks)
}

#[test]
fn what_was_never_asked_for_is_refused() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    assert_eq!(s.offered(Time::ZERO, 1, 3, 1), Expect::Unasked);
    assert_eq!(s.offered(Time::ZERO, 1, 3, 0), Expect::Unasked);
    assert_eq!(s.offered(Time::ZERO, 2, 3, 1), Expect::Unasked, "nobody we know");
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(Time::ZERO, 1, 99, request), Expect::Unasked, "no such chunk");
    assert_eq!(s.offered(Time::ZERO, 1, 7, request), Expect::Unasked, "not of that request");
    assert_eq!(s.offered(Time::ZERO, 1, chunks[0], request), Expect::Wanted);
}

#[test]
fn a_chunk_is_offered_once_for_each_time_it_was_asked_for() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], request + 1), Expect::Unasked, "no such request");
    assert_eq!(s.offered(at(1), 1, chunks[0], request), Expect::Wanted);
    assert_eq!(s.offered(at(1), 1, chunks[0], request), Expect::Unasked, "while it is still coming");
    s.handle(at(2), Input::Stored(1, chunks[0]));
    assert_eq!(s.offered(at(3), 1, chunks[0], request), Expect::Unasked, "and after that");
}

#[test]
fn what_is_suggested_is_asked_for_or_declined_once() {
    let (mut s, request, _) = with_a_request();
    connect(&mut s, at(1), 2);
    s.handle(at(1), Input::Haves(2, vec![3..8]));
    s.handle(at(1), Input::Suggested(2, vec![7..8, 4..5, 5..6]));
    let told = effects(&mut s);
    let declined = Effect::Decline { peer: 2, chunks: vec![4], full: false };
    assert_eq!(told, [Effect::Request(2, request + 1, vec![7, 5]), declined], "one comes from elsewhere");
    s.handle(at(2), Input::Suggested(2, vec![9..10]));
    assert!(matches!(effects(&mut s)[..], [Effect::Drop(2, "it suggests what it does not have")]));
    s.handle(at(3), Input::Suggested(1, vec![0..u32::MAX]));
    assert!(matches!(
        effects(&mut s)[..],
        [Effect::Drop(1, "it suggests more chunks at once than the protocol allows")]
    ));
}

#[test]
fn a_node_takes_no_more_at_once_than_it_may_keep() {
    let mut s = Scheduler::new(ChunkSet::empty(100), CHUNK, 64 * CHUNK, 1);
    for id in 1..=20 {
        connect(&mut s, Time::ZERO, id);
        s.handle(Time::ZERO, Input::Haves(id, vec![0..100]));
        s.handle(Time::ZERO, Input::Suggested(id, vec![id as u32 * 5 - 5..id as u32 * 5]));
    }
    let told = effects(&mut s);
    let asked: usize = told.iter().map(|e| if let Effect::Request(.., c) = e { c.len() } else { 0 }).sum();
    let declined: usize =
        told.iter().map(|e| if let Effect::Decline { chunks, full: true, .. } = e { chunks.len() } else { 0 }).sum();
    assert!((8..=64).contains(&asked), "{asked}");
    assert_eq!(asked + declined, 100, "nothing is left without an answer");
    // One alone gets no more than half of it.
    let of_one = told.iter().find_map(|e| if let Effect::Request(1, _, c) = e { Some(c.len()) } else { None });
    assert!(of_one.is_some_and(|n| n <= 32), "{of_one:?}");
}

#[test]
fn a_declined_suggestion_is_not_made_again_unless_there_was_no_room() {
    let mut s = Scheduler::new(ChunkSet::full(2), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    let suggested = |told: &[Effect]| {
        let all =
            told.iter().filter_map(|e| if let Effect::Suggest(1, chunks) = e { Some(chunks.clone()) } else { None });
        all.flatten().collect::<Vec<_>>()
    };
    assert_eq!(suggested(&effects(&mut s)), [0, 1]);
    s.handle(at(1), Input::Declined { peer: 1, ranges: vec![0..1], full: false });
    s.handle(at(1), Input::Declined { peer: 1, ranges: vec![1..2], full: true });
    assert!(suggested(&effects(&mut s)).is_empty());
    // One of them comes from elsewhere, and if it does not, the peer asks for it.
    for second in 1..100 {
        s.handle(at(second * 1000), Input::Tick);
        let told = suggested(&effects(&mut s));
        assert_eq!(told, if second == 1 { vec![1] } else { vec![] });
    }
    s.handle(at(200_000), Input::Requested(1, 1, vec![0..1]));
    assert_eq!(answers(&mut s), [Effect::Send { peer: 1, chunk: 0, request: 1 }]);
}

#[test]
fn what_was_declined_and_does_not_come_from_elsewhere_is_asked_for() {
    let (mut s, _, _) = with_a_request();
    for id in [2, 3] {
        connect(&mut s, at(1), id);
        s.handle(at(1), Input::Haves(id, vec![0..5]));
        s.handle(at(1), Input::Suggested(id, vec![0..5]));
        assert!(matches!(effects(&mut s)[..], [Effect::Decline { full: false, .. }]));
    }
    s.handle(at(2), Input::Gone(1));
    let requests = |s: &mut Scheduler| -> Vec<(PeerId, RequestId, Vec<u32>)> {
        let asked = |e| if let Effect::Request(id, request, chunks) = e { Some((id, request, chunks)) } else { None };
        effects(s).into_iter().filter_map(asked).collect()
    };
    let told = requests(&mut s);
    let mut asked: Vec<u32> = told.iter().flat_map(|(.., chunks)| chunks.clone()).collect();
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2, 3], "at once, each of one of them, and of each a few: {told:?}");
    let (id, request, chunks) = told[0].clone();
    assert_eq!(s.offered(at(3), id, chunks[0], request), Expect::Wanted);
    s.handle(at(3), Input::Stored(id, chunks[0]));
    assert!(
        matches!(&requests(&mut s)[..], [(asked, _, chunks)] if *asked == id && *chunks == [4]),
        "and then the rest"
    );
}

/// What was taken back from the first is asked of the second, which leaves: the first does not suggest it again, and is asked.
#[test]
fn what_was_taken_back_is_asked_of_the_same_one_again_when_the_other_leaves() {
    let (mut s, _, _) = with_a_request();
    connect(&mut s, at(1), 2);
    s.handle(at(1), Input::Haves(2, vec![0..5]));
    let mut now = STALL + at(1);
    s.handle(now, Input::Tick);
    let told = effects(&mut s);
    assert!(told.iter().any(|e| matches!(e, Effect::Request(2, ..))), "{told:?}");
    s.handle(now + at(1), Input::Gone(2));
    let mut told: VecDeque<Effect> = told.into_iter().chain(effects(&mut s)).collect();
    let mut sent = 0;
    while let Some(effect) = told.pop_front() {
        let Effect::Request(1, request, chunks) = effect else { continue };
        for chunk in chunks {
            now += at(10);
            sent += CHUNK;
            if s.offered(now, 1, chunk, request) == Expect::Wanted {
                s.handle(now, Input::Progress(1, sent));
                s.handle(now, Input::Stored(1, chunk));
            }
            s.handle(now, Input::Tick);
            told.extend(effects(&mut s));
        }
    }
    assert_eq!(s.have().count(), 5);
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
    assert_eq!(s.offered(STALL + at(5), 1, chunk, request), Expect::Wanted, "late, and still of use");
    s.handle(STALL + at(6), Input::Stored(1, chunk));
    assert!(effects(&mut s).contains(&Effect::Cancel(1, vec![chunk])), "the second is not needed any more");
    assert_eq!(s.offered(STALL + at(7), 1, chunk, second), Expect::HadAlready);
    assert_eq!(s.offered(STALL + at(8), 1, chunk, second), Expect::Unasked);
}

#[test]
fn what_is_half_here_is_not_taken_back_and_counts_when_it_comes() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], request), Expect::Wanted);
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
    connect(&mut s, Time::ZERO, 2);
    s.handle(Time::ZERO, Input::Haves(2, vec![chunks[0]..chunks[0] + 1]));
    let suggest = |s: &mut Scheduler| {
        s.handle(at(1), Input::Suggested(2, vec![chunks[0]..chunks[0] + 1]));
        effects(s)
    };
    assert!(matches!(suggest(&mut s)[..], [Effect::Decline { full: false, .. }]), "it comes from the first");
    let refused = |request, chunk: u32| Input::Refused { peer: 1, request, ranges: vec![chunk..chunk + 1] };
    s.handle(at(1), refused(request, chunks[0]));
    let told = effects(&mut s);
    assert!(told.iter().any(|e| matches!(e, Effect::Request(2, _, asked) if *asked == [chunks[0]])), "{told:?}");
    s.handle(at(2), refused(request, chunks[0]));
    assert!(matches!(effects(&mut s)[..], [Effect::Drop(1, _)]));
    // A list of refusals costs as much as there is to refuse, however long it says to be.
    s.handle(at(3), Input::Refused { peer: 1, request, ranges: vec![0..u32::MAX] });
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
}

#[test]
fn every_request_gets_one_answer() {
    let mut s = Scheduler::new(ChunkSet::full(100), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    effects(&mut s);
    s.handle(Time::ZERO, Input::Requested(1, 7, vec![0..10]));
    let sent = answers(&mut s);
    assert_eq!(sent.len(), SENDING_MAX);
    assert!(sent.iter().all(|e| matches!(e, Effect::Send { request: 7, .. })), "{sent:?}");
    // Taken back, all of it: what is on the line goes on.
    s.handle(at(1), Input::Cancelled(1, vec![0..100]));
    assert_eq!(answers(&mut s), [Effect::Refuse { peer: 1, request: 7, chunks: (2..10).collect() }]);
    // It has come from elsewhere.
    s.handle(at(2), Input::Requested(1, 8, vec![20..23]));
    s.handle(at(3), Input::Haves(1, vec![21..22]));
    assert_eq!(answers(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![21] }]);
    s.handle(at(4), Input::Sent(1, 0));
    assert_eq!(answers(&mut s), [Effect::Send { peer: 1, chunk: 20, request: 8 }]);
    // A chunk that our disk has lost.
    s.handle(at(5), Input::Lost(22));
    assert_eq!(answers(&mut s), [Effect::TellLost(1, vec![22..23])]);
    s.handle(at(6), Input::Sent(1, 1));
    assert_eq!(answers(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![22] }]);
    s.handle(at(7), Input::NotSent(1, 20));
    assert_eq!(answers(&mut s), [Effect::Refuse { peer: 1, request: 8, chunks: vec![20] }]);
    s.handle(at(8), Input::Requested(1, 9, vec![22..23]));
    assert_eq!(answers(&mut s), [Effect::Refuse { peer: 1, request: 9, chunks: vec![22] }]);
    s.handle(at(9), Input::Requested(1, 9, vec![30..31]));
    assert!(matches!(answers(&mut s)[..], [Effect::Drop(1, _)]), "an id that was used");
}

/// Carries what two nodes say to each other, node 0 and node 1, until nothing is said any more; each knows the other as peer 1. Chunks
/// arrive at once. Gives who asked for which chunks.
fn talk(now: Time, nodes: &mut [Scheduler; 2]) -> Vec<(usize, u32)> {
    let mut asked = Vec::new();
    for _ in 0..1000 {
        let mut silent = true;
        for from in 0..2 {
            while let Some(effect) = nodes[from].poll_effect() {
                silent = false;
                let to = &mut nodes[1 - from];
                let listed = |chunks: Vec<u32>| chunks.into_iter().map(|c| c..c + 1).collect::<Vec<_>>();
                match effect {
                    Effect::Tell(_, ranges) => to.handle(now, Input::Haves(1, ranges)),
                    Effect::TellLost(_, ranges) => to.handle(now, Input::HasLost(1, ranges)),
                    Effect::Suggest(_, chunks) => to.handle(now, Input::Suggested(1, listed(chunks))),
                    Effect::Decline { chunks, full, .. } => {
                        to.handle(now, Input::Declined { peer: 1, ranges: listed(chunks), full });
                    }
                    Effect::Request(_, request, chunks) => {
                        asked.extend(chunks.iter().map(|chunk| (from, *chunk)));
                        to.handle(now, Input::Requested(1, request, listed(chunks)));
                    }
                    Effect::Refuse { request, chunks, .. } => {
                        to.handle(now, Input::Refused { peer: 1, request, ranges: listed(chunks) });
                    }
                    Effect::Cancel(_, chunks) => to.handle(now, Input::Cancelled(1, listed(chunks))),
                    Effect::Send { chunk, request, .. } => {
                        let expect = to.offered(now, 1, chunk, request);
                        nodes[from].handle(now, Input::Sent(1, chunk));
                        if expect == Expect::Wanted {
                            nodes[1 - from].handle(now, Input::Stored(1, chunk));
                        }
                    }
                    Effect::Drop(_, why) | Effect::GiveUp(_, why) | Effect::Remark(_, why) => {
                        panic!("node {from} accuses the other: {why}");
                    }
                    Effect::Complete | Effect::EveryChunkOut(_) => {}
                }
            }
        }
        if silent {
            return asked;
        }
    }
    panic!("they talk without end");
}

fn pair(have: ChunkSet) -> [Scheduler; 2] {
    let new = |have, seed| Scheduler::new(have, CHUNK, 16 * CHUNK, seed);
    let mut nodes = [new(ChunkSet::full(20), 1), new(have, 2)];
    nodes.iter_mut().for_each(|node| node.handle(Time::ZERO, Input::Connected(1)));
    nodes
}

/// The source had heard of every chunk that the other has them.
#[test]
fn what_a_disk_loses_comes_again_from_whoever_knew_that_it_was_there() {
    let mut have = ChunkSet::full(20);
    for chunk in 10..20 {
        have.remove(chunk);
    }
    let mut nodes = pair(have);
    nodes[1].handle(at(1), Input::Lost(3));
    let asked = talk(at(1), &mut nodes);
    assert!(nodes[1].have().is_full(), "{:?}", nodes[1].have());
    assert_eq!(asked.iter().filter(|asked| **asked == (1, 3)).count(), 1);
    // A second time, once everything was there, it is said and not served; the other goes on.
    nodes[1].handle(at(2), Input::Lost(3));
    talk(at(2), &mut nodes);
    nodes[1].handle(at(3), Input::Tick);
    talk(at(3), &mut nodes);
}

/// The session begins while the chunk is not there, or one that is there hears of it before and after.
#[test]
fn a_chunk_that_was_lost_and_has_come_again_is_announced_to_whoever_did_not_know_of_it() {
    for begins_before in [true, false] {
        let new = |have, seed| Scheduler::new(have, CHUNK, 16 * CHUNK, seed);
        let mut have = ChunkSet::empty(20);
        for chunk in 0..10 {
            have.insert(chunk);
        }
        let mut nodes = [new(have, 1), new(ChunkSet::empty(20), 2)];
        let connect = |nodes: &mut [Scheduler; 2]| {
            nodes.iter_mut().for_each(|node| node.handle(at(2), Input::Connected(1)));
        };
        if begins_before {
            connect(&mut nodes);
            talk(at(2), &mut nodes);
            assert!(nodes[1].have().contains(3));
        }
        nodes[0].handle(at(3), Input::Lost(3));
        if !begins_before {
            connect(&mut nodes);
            talk(at(3), &mut nodes);
            assert!(!nodes[1].have().contains(3));
        }
        // It comes from somebody who is not here any more.
        nodes[0].handle(at(4), Input::Stored(9, 3));
        for step in 0..20 {
            nodes.iter_mut().for_each(|node| node.handle(at(100 * step + 5), Input::Tick));
            talk(at(100 * step + 5), &mut nodes);
        }
        assert!(nodes[0].have().contains(3) && nodes[1].have().contains(3));
    }
}

#[test]
fn losing_what_was_never_had_or_again_and_again_ends_the_session() {
    let with_a_peer = || {
        let mut s = Scheduler::new(ChunkSet::empty(4), CHUNK, 16 * CHUNK, 1);
        connect(&mut s, Time::ZERO, 1);
        effects(&mut s);
        s
    };
    let mut s = with_a_peer();
    s.handle(at(1), Input::HasLost(1, vec![2..3]));
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
    let mut s = with_a_peer();
    let dropped = (0..20).position(|_| {
        s.handle(at(1), Input::Haves(1, vec![0..4]));
        s.handle(at(1), Input::HasLost(1, vec![0..4]));
        effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _)))
    });
    assert_eq!(dropped, Some(6));
}

/// Whatever it says wrongly is counted wholly or not at all, so that nothing of it is left when it goes.
#[test]
fn nothing_is_left_of_a_peer_that_is_dropped_in_the_middle_of_its_words() {
    let full = || Input::Haves(1, vec![0..4]);
    for words in [
        // It says again, as its last chunk, what it has said: with the others it would be a seed.
        vec![Input::Haves(1, vec![3..4]), full()],
        // A seed loses more than a disk can.
        (0..7).flat_map(|_| [full(), Input::HasLost(1, vec![0..4])]).collect(),
        vec![full(), Input::HasLost(1, vec![1..2]), Input::HasLost(1, vec![0..2])],
        vec![Input::HasLost(1, vec![0..4])],
    ] {
        let mut s = Scheduler::new(ChunkSet::empty(4), CHUNK, 16 * CHUNK, 1);
        connect(&mut s, Time::ZERO, 1);
        words.into_iter().for_each(|words| s.handle(at(1), words));
        assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
        s.handle(at(2), Input::Gone(1));
        connect(&mut s, at(3), 2);
        assert_eq!((s.seeds(), s.nowhere()), (0, 4));
        s.handle(at(4), Input::Haves(2, vec![0..2]));
        assert_eq!((s.seeds(), s.nowhere()), (0, 2));
        s.handle(at(5), Input::Haves(2, vec![2..4]));
        assert_eq!((s.seeds(), s.nowhere()), (1, 0));
    }
}

#[test]
fn who_refuses_a_chunk_is_not_asked_for_it_again_at_once() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..10]));
    let mut asked = 0;
    // A minute, in which it refuses whatever it is asked for.
    for step in 0..600 {
        s.handle(at(100 * step), Input::Tick);
        while let Some(effect) = s.poll_effect() {
            if let Effect::Request(1, request, chunks) = effect {
                asked += 1;
                let ranges = chunks.into_iter().map(|c| c..c + 1).collect();
                s.handle(at(100 * step), Input::Refused { peer: 1, request, ranges });
            }
        }
    }
    assert!((3..10).contains(&asked), "{asked}");
}

#[test]
fn a_chunk_that_is_asked_for_twice_goes_over_the_line_once() {
    let mut s = Scheduler::new(ChunkSet::full(100), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    effects(&mut s);
    s.handle(Time::ZERO, Input::Requested(1, 1, vec![5..6]));
    assert!(effects(&mut s).contains(&Effect::Send { peer: 1, chunk: 5, request: 1 }));
    s.handle(at(1), Input::Requested(1, 2, vec![5..6]));
    assert!(effects(&mut s).contains(&Effect::Refuse { peer: 1, request: 2, chunks: vec![5] }));
    s.handle(at(2), Input::Sent(1, 5));
    assert!(!effects(&mut s).iter().any(|e| matches!(e, Effect::Send { .. })));
}

#[test]
fn whoever_suggests_nothing_is_asked_after_a_while() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..10]));
    s.handle(at(100), Input::Tick);
    assert!(effects(&mut s).is_empty());
    s.handle(at(5100), Input::Tick);
    let told = effects(&mut s);
    let [Effect::Request(1, request, chunks)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(s.offered(at(5101), 1, chunks[0], *request), Expect::Wanted);
    assert_eq!(chunks.len(), 1, "one, as long as nothing has come");
    s.handle(at(5102), Input::Stored(1, chunks[0]));
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Request(1, ..))), "and goes on being asked");
}

#[test]
fn whoever_says_that_it_will_suggest_something_is_not_asked_for_one_chunk_after_the_other() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..10]));
    s.handle(Time::ZERO, Input::Suggested(1, Vec::new()));
    s.handle(at(5100), Input::Tick);
    let told = effects(&mut s);
    let [Effect::Request(1, request, chunks)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(s.offered(at(5101), 1, chunks[0], *request), Expect::Wanted);
    s.handle(at(5102), Input::Stored(1, chunks[0]));
    assert!(!effects(&mut s).iter().any(|e| matches!(e, Effect::Request(..))), "its line may have other things to do");
}

/// What a seed deals to three peers in six seconds, 10 ms a chunk, where each passes on one after the other of what it alone has, each in so
/// many milliseconds as `passes` says of it at that time.
fn dealt(passes: impl Fn(u64, PeerId) -> u64) -> impl Fn(Range<u64>) -> [usize; 3] {
    let mut s = Scheduler::new(ChunkSet::full(2000), CHUNK, 64 * CHUNK, 1);
    let mut log: Vec<(u64, PeerId)> = Vec::new();
    let mut queues: [(VecDeque<u32>, f64); 4] = Default::default();
    for id in 1..=3 {
        connect(&mut s, Time::ZERO, id);
    }
    let (mut line, mut told, mut requests) = (VecDeque::new(), VecDeque::from(effects(&mut s)), 0);
    for ms in (0..6000).step_by(10) {
        s.handle(at(ms), Input::Tick);
        for id in 1..=3 {
            let (queue, done) = &mut queues[id as usize];
            // What the seed has sent to somebody else meanwhile need not be passed on.
            queue.retain(|chunk| s.peers.values().filter(|p| p.has.contains(*chunk)).count() < 2);
            *done = if queue.is_empty() { 0.0 } else { *done + 10.0 / passes(ms, id) as f64 };
            if *done >= 1.0
                && let Some(chunk) = queue.pop_front()
            {
                *done -= 1.0;
                s.handle(at(ms), Input::Haves(id % 3 + 1, vec![chunk..chunk + 1]));
            }
        }
        if let Some((peer, chunk)) = line.pop_front() {
            s.handle(at(ms), Input::Haves(peer, vec![chunk..chunk + 1]));
            if s.peers.iter().all(|(id, p)| *id == peer || !p.has.contains(chunk)) {
                log.push((ms, peer));
                queues[peer as usize].0.push_back(chunk);
            }
        }
        loop {
            told.extend(effects(&mut s));
            match told.pop_front() {
                Some(Effect::Suggest(id, chunks)) => {
                    for chunk in chunks {
                        requests += 1;
                        s.handle(at(ms), Input::Requested(id, requests, vec![chunk..chunk + 1]));
                    }
                }
                Some(Effect::Send { peer, chunk, .. }) => {
                    s.handle(at(ms), Input::Sent(peer, chunk));
                    line.push_back((peer, chunk));
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    move |time| {
        let of = |id| log.iter().filter(|(ms, peer)| time.contains(ms) && *peer == id).count();
        [of(1), of(2), of(3)]
    }
}

#[test]
fn first_copies_go_where_they_are_passed_on() {
    let counts = dealt(|_, id| [0, 15, 60, 600][id as usize])(0..6000);
    assert!(counts[0] > 2 * counts[1] && counts[1] > 2 * counts[2] && counts[2] > 0, "{counts:?}");
}

#[test]
fn a_peer_whose_line_drops_to_a_tenth_is_dealt_less_at_once_and_more_when_it_is_back() {
    let counts = dealt(|ms, id| match (ms, id) {
        (2000..4000, 1) => 300,
        _ => 30,
    });
    let (before, while_slow, after) = (counts(0..2000), counts(2100..4000), counts(4600..6000));
    assert!(before.iter().all(|n| *n > 40), "{before:?}");
    assert!(while_slow[0] < 20 && while_slow[1] > 40 && while_slow[2] > 40, "{while_slow:?}");
    assert!(after.iter().all(|n| *n > 28), "nothing is remembered for long: {after:?}");
}

#[test]
fn asking_for_what_was_not_announced_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Requested(1, 1, vec![3..4]));
    assert!(matches!(s.poll_effect(), Some(Effect::Drop(1, _))));
}

#[test]
fn a_flood_of_requests_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::full(100_000), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Requested(1, 1, vec![0..100_000]));
    assert!(effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(1, _))));
    // Taken back and asked for again and again: what is kept of it stays small.
    let mut s = Scheduler::new(ChunkSet::full(100_000), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    for round in 0..50u64 {
        s.handle(at(round), Input::Requested(1, round + 1, vec![0..4000]));
        s.handle(at(round), Input::Cancelled(1, vec![0..100_000]));
        assert!(!effects(&mut s).iter().any(|e| matches!(e, Effect::Drop(..))));
        assert!(s.peers[&1].wants.len() <= 2 * REQUESTED_MAX + 4000 && s.peers[&1].wanted.len() <= REQUESTED_MAX);
    }
}

#[test]
fn saying_the_same_again_ends_the_session() {
    let mut s = Scheduler::new(ChunkSet::empty(10), CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    effects(&mut s);
    s.handle(Time::ZERO, Input::Haves(1, vec![4..7]));
    assert!(matches!(effects(&mut s).last(), Some(Effect::Drop(1, _))));
}

#[test]
fn every_chunk_is_out_when_two_peers_say_so_and_no_longer_when_one_leaves() {
    let mut s = Scheduler::new(ChunkSet::full(10), CHUNK, 16 * CHUNK, 1);
    let out = |s: &mut Scheduler, now| {
        s.handle(now, Input::Tick);
        let told = effects(s).into_iter().filter(|e| matches!(e, Effect::EveryChunkOut(_)));
        told.collect::<Vec<_>>()
    };
    for id in 1..=3 {
        connect(&mut s, Time::ZERO, id);
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
fn what_our_disk_loses_is_said_fetched_again_and_announced_again() {
    let mut have = ChunkSet::full(10);
    have.remove(9);
    let mut s = Scheduler::new(have, CHUNK, 16 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    s.handle(Time::ZERO, Input::Haves(1, vec![0..5]));
    effects(&mut s);
    s.handle(at(1), Input::Lost(3));
    let told = effects(&mut s);
    let [Effect::TellLost(1, lost), Effect::Request(1, _, chunks)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&lost[..], &chunks[..]), (&[3..4][..], &[3][..]));
    assert_eq!(s.offered(at(2), 1, 3, 1), Expect::Wanted);
    s.handle(at(3), Input::Stored(1, 3));
    s.handle(at(200), Input::Tick);
    assert_eq!(effects(&mut s).iter().filter(|e| **e == Effect::Tell(1, vec![3..4])).count(), 1);
}

#[test]
fn a_disk_of_ours_that_is_behind_is_not_the_silence_of_a_peer() {
    let (mut s, request, chunks) = with_a_request();
    assert_eq!(s.offered(at(1), 1, chunks[0], request), Expect::Wanted);
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
        ..Line::up(0.0)
    }));
    let mut swarm = Run::new(with_lines(40, lines, 1, 1));
    // Whoever is accused ends the run: see `Swarm::feed` and `Swarm::run`.
    swarm.runs(|_| {});
}

/// A member whose disk stands still asks for all that is suggested to it, and announces nothing; the line to it takes everything. The other one
/// gets everything all the same.
#[test]
fn who_takes_chunks_and_announces_none_holds_up_nobody() {
    let mut s = Scheduler::new(ChunkSet::full(100), CHUNK, 64 * CHUNK, 1);
    connect(&mut s, Time::ZERO, 1);
    connect(&mut s, Time::ZERO, 2);
    let (mut requests, mut arrives, mut has) = (0, VecDeque::new(), ChunkSet::empty(100));
    let mut ms = 0;
    while !has.is_full() {
        ms += 10;
        assert!(ms < 10_000, "{} of 100 after {ms} ms", has.count());
        s.handle(at(ms), Input::Tick);
        for effect in effects(&mut s) {
            match effect {
                Effect::Suggest(peer, chunks) => {
                    for chunk in chunks {
                        requests += 1;
                        s.handle(at(ms), Input::Requested(peer, requests, vec![chunk..chunk + 1]));
                    }
                }
                Effect::Send { peer, chunk, .. } => {
                    s.handle(at(ms), Input::Sent(peer, chunk));
                    if peer == 2 {
                        arrives.push_back(chunk);
                    }
                }
                _ => {}
            }
        }
        if let Some(chunk) = arrives.pop_front() {
            has.insert(chunk);
            s.handle(at(ms), Input::Haves(2, vec![chunk..chunk + 1]));
        }
    }
}
