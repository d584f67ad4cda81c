//! The same scheduler under a virtual clock: whole swarms in a test, seeded, with links, liars left out and leavers in.

mod faults;
mod uneven;

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::*;

const CHUNK: u64 = 1000;

/// A message or a chunk on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: std::cmp::Reverse<Time>,
    order: std::cmp::Reverse<u64>,
    to: usize,
    from: usize,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Haves(Vec<(u32, u32)>),
    Credit(u32),
    Request(RequestId, Vec<u32>),
    Cancel(Vec<u32>),
    Refuse(RequestId, Vec<u32>, bool),
    /// It has left the sender's uplink.
    Coming {
        chunk: u32,
        request: Option<RequestId>,
    },
    Chunk {
        chunk: u32,
        request: Option<RequestId>,
    },
    Left {
        chunk: u32,
    },
}

/// A node's line, in bytes a second.
#[derive(Debug, Clone, Copy)]
struct Line {
    up: f64,
    down: f64,
    /// When the node comes.
    joins: Time,
    /// The node does nothing at all during the second time of each first time.
    stops: Option<(Time, Time)>,
}

impl Line {
    fn up(up: f64) -> Self {
        Line { up, down: f64::INFINITY, joins: Time::ZERO, stops: None }
    }

    /// The first time from `at` on at which the node is awake.
    fn awake(&self, at: Time) -> Time {
        match self.stops {
            Some((period, stopped)) => {
                let phase = Duration::from_nanos((at.as_nanos() % period.as_nanos()) as u64);
                if phase < period - stopped { at } else { at + (period - phase) }
            }
            None => at,
        }
    }
}

struct Node {
    scheduler: Scheduler,
    line: Line,
    joined: bool,
    /// When this node's uplink and downlink are free.
    up_free_at: Time,
    down_free_at: Time,
    sent: BTreeMap<u32, u32>,
    received: BTreeMap<usize, u64>,
    finished: Option<Time>,
    gone: bool,
    silent: bool,
    dropped: Vec<PeerId>,
    every_chunk_out: bool,
}

struct Swarm {
    nodes: Vec<Node>,
    queue: BinaryHeap<Event>,
    order: u64,
    now: Time,
    chunks: u32,
    latency: Time,
    /// All nodes on one machine: bytes a second of them together, and when it is free.
    machine: Option<(f64, Time)>,
}

impl Swarm {
    /// The first `seeds` nodes have everything; uplinks in bytes a second.
    fn new(chunks: u32, ups: &[f64], seeds: usize, seed: u64) -> Self {
        let lines: Vec<Line> = ups.iter().copied().map(Line::up).collect();
        Self::with_lines(chunks, &lines, seeds, seed)
    }

    fn with_lines(chunks: u32, lines: &[Line], seeds: usize, seed: u64) -> Self {
        let nodes = lines
            .iter()
            .enumerate()
            .map(|(i, line)| Node {
                scheduler: Scheduler::new(
                    if i < seeds { ChunkSet::full(chunks) } else { ChunkSet::empty(chunks) },
                    CHUNK,
                    16 * CHUNK,
                    0,
                    seed * 1000 + i as u64,
                ),
                line: *line,
                joined: false,
                up_free_at: Time::ZERO,
                down_free_at: Time::ZERO,
                sent: BTreeMap::new(),
                received: BTreeMap::new(),
                finished: None,
                gone: false,
                silent: false,
                dropped: Vec::new(),
                every_chunk_out: false,
            })
            .collect();
        let mut swarm = Swarm {
            nodes,
            queue: BinaryHeap::new(),
            order: 0,
            now: Time::ZERO,
            chunks,
            latency: Duration::from_millis(1),
            machine: None,
        };
        swarm.let_in();
        swarm
    }

    /// Whoever is due meets everyone that is here.
    fn let_in(&mut self) {
        for new in 0..self.nodes.len() {
            if self.nodes[new].joined || self.nodes[new].line.joins > self.now {
                continue;
            }
            self.nodes[new].joined = true;
            for other in 0..self.nodes.len() {
                if other != new && self.nodes[other].joined && !self.nodes[other].gone {
                    self.feed(new, Input::Connected(other as PeerId));
                    self.feed(other, Input::Connected(new as PeerId));
                }
            }
        }
    }

    fn send(&mut self, at: Time, from: usize, to: usize, what: What) {
        self.order += 1;
        self.queue.push(Event { at: std::cmp::Reverse(at), order: std::cmp::Reverse(self.order), to, from, what });
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = self.now;
        self.nodes[node].scheduler.handle(now, input);
        self.check(node);
        let mut effects = VecDeque::new();
        while let Some(effect) = self.nodes[node].scheduler.poll_effect() {
            effects.push_back(effect);
        }
        let later = now + self.latency;
        for effect in effects {
            match effect {
                Effect::Request(to, id, chunks) => self.send(later, node, to as usize, What::Request(id, chunks)),
                Effect::Refuse { peer, request, chunks, lost } => {
                    self.send(later, node, peer as usize, What::Refuse(request, chunks, lost));
                }
                Effect::Cancel(to, chunks) => self.send(later, node, to as usize, What::Cancel(chunks)),
                Effect::Grant(to, n) => self.send(later, node, to as usize, What::Credit(n)),
                Effect::Tell(to, ranges) => {
                    let ranges = ranges.iter().map(|r| (r.start, r.end)).collect();
                    self.send(later, node, to as usize, What::Haves(ranges));
                }
                Effect::Send { peer, chunk, request } => {
                    let n = &mut self.nodes[node];
                    if n.silent {
                        continue;
                    }
                    *n.sent.entry(chunk).or_default() += 1;
                    n.up_free_at =
                        n.line.awake(n.up_free_at.max(now)) + Duration::from_secs_f64(CHUNK as f64 / n.line.up);
                    let mut out = n.up_free_at;
                    if let Some((rate, free_at)) = &mut self.machine {
                        *free_at = (*free_at).max(now) + Duration::from_secs_f64(CHUNK as f64 / *rate);
                        out = out.max(*free_at);
                    }
                    self.send(out + self.latency, node, peer as usize, What::Coming { chunk, request });
                }
                Effect::Drop(peer, reason) | Effect::GiveUp(peer, reason) => {
                    assert!(self.nodes[peer as usize].silent, "honest node {peer} dropped: {reason}");
                    self.nodes[node].dropped.push(peer);
                    self.feed(node, Input::Gone(peer));
                }
                Effect::Complete => self.nodes[node].finished = Some(now),
                Effect::EveryChunkOut(out) => self.nodes[node].every_chunk_out = out,
            }
        }
    }

    fn check(&self, node: usize) {
        let s = &self.nodes[node].scheduler;
        for (chunk, from) in &s.in_flight {
            assert!(!s.have.contains(*chunk), "chunk {chunk} is had and in flight");
            assert!(!from.is_empty() && from.len() <= 3, "chunk {chunk} in flight from {from:?}");
        }
        for (id, peer) in &s.peers {
            assert!(peer.asked.keys().all(|c| peer.has.contains(*c)), "peer {id} is asked for what it has not");
            assert!(peer.sending.len() <= SENDING_MAX);
            assert!(peer.wanted.len() <= REQUESTED_MAX && peer.owed.len() <= OWED_MAX);
            assert!(peer.receiving.len() <= 2 * 16 + 8, "{:?}", peer.receiving);
        }
    }

    fn leave(&mut self, node: usize) {
        self.nodes[node].gone = true;
        for other in 0..self.nodes.len() {
            if other != node && !self.nodes[other].gone {
                self.feed(other, Input::Gone(node as PeerId));
            }
        }
    }

    /// Runs until everyone that is still here has everything; panics after `limit` of virtual time.
    fn run(&mut self, limit: Time, mut each_tick: impl FnMut(&mut Swarm)) {
        let mut next_tick = Time::ZERO;
        while self.nodes.iter().any(|n| !n.gone && !n.scheduler.have().is_full()) {
            assert!(
                self.now < limit,
                "not finished after {limit:?}: {:?}",
                self.nodes.iter().map(|n| n.scheduler.have().count()).collect::<Vec<_>>()
            );
            if self.queue.peek().is_none_or(|e| e.at.0 > next_tick) {
                self.now = next_tick;
                next_tick += TICK;
                self.let_in();
                for node in 0..self.nodes.len() {
                    let n = &self.nodes[node];
                    if !n.gone && n.joined && n.line.awake(self.now) == self.now {
                        self.feed(node, Input::Tick);
                    }
                }
                each_tick(self);
                continue;
            }
            let Some(event) = self.queue.pop() else { continue };
            self.now = self.now.max(event.at.0);
            if self.nodes[event.to].gone || self.nodes[event.from].gone {
                continue;
            }
            let (to, from) = (event.to, event.from as PeerId);
            let awake = self.nodes[to].line.awake(self.now);
            if awake > self.now {
                self.send(awake, event.from, to, event.what);
                continue;
            }
            match event.what {
                What::Coming { chunk, request } => {
                    let node = &mut self.nodes[to];
                    let time = if node.line.down.is_finite() { CHUNK as f64 / node.line.down } else { 0.0 };
                    node.down_free_at = node.down_free_at.max(self.now) + Duration::from_secs_f64(time);
                    let here = node.down_free_at;
                    // The sender's line is free when the receiver has taken the chunk.
                    self.send(here, event.to, event.from, What::Left { chunk });
                    self.send(here, event.from, event.to, What::Chunk { chunk, request });
                }
                What::Haves(r) => self.feed(to, Input::Haves(from, r.into_iter().map(|(a, b)| a..b).collect())),
                What::Credit(n) => self.feed(to, Input::Credited(from, n)),
                What::Request(id, c) => {
                    self.feed(to, Input::Requested(from, id, c.into_iter().map(|c| c..c + 1).collect()));
                }
                What::Refuse(request, chunks, lost) => {
                    let ranges = ranges(chunks);
                    self.feed(to, Input::Refused { peer: from, request, ranges, lost });
                }
                What::Cancel(c) => self.feed(to, Input::Cancelled(from, ranges(c))),
                What::Left { chunk } => self.feed(to, Input::Sent(from, chunk)),
                What::Chunk { chunk, request } => {
                    let now = self.now;
                    let node = &mut self.nodes[to];
                    let total = node.received.entry(event.from).or_default();
                    *total += CHUNK;
                    let total = *total;
                    match node.scheduler.offered(now, from, chunk, request) {
                        Expect::Unasked => panic!("node {from} sent {chunk} unasked to {to}"),
                        Expect::Wanted => {
                            self.feed(to, Input::Progress(from, total));
                            self.feed(to, Input::Stored(from, chunk));
                        }
                        Expect::HadAlready => self.feed(to, Input::Duplicate(from, chunk)),
                    }
                }
            }
        }
    }

    fn sent_by(&self, node: usize) -> f64 {
        self.nodes[node].sent.values().map(|n| f64::from(*n)).sum::<f64>() / f64::from(self.chunks)
    }

    fn sent_in_all(&self) -> f64 {
        (0..self.nodes.len()).map(|n| self.sent_by(n)).sum()
    }
}

const HOUR: Time = Duration::from_secs(3600);

#[test]
fn one_fetcher_gets_everything_once() {
    let mut swarm = Swarm::new(500, &[1e5, 1e5], 1, 1);
    swarm.run(HOUR, |_| {});
    assert!(swarm.sent_by(0) <= 1.0, "{}", swarm.sent_by(0));
    // 500 kB at 100 kB/s.
    assert!(swarm.now < Duration::from_millis(5600), "{:?}", swarm.now);
}

#[test]
fn three_fetchers_serve_each_other() {
    for seed in 0..10 {
        let mut swarm = Swarm::new(500, &[1e5; 4], 1, seed);
        swarm.run(HOUR, |_| {});
        assert!(swarm.sent_by(0) <= 1.5, "seed {seed}: {}", swarm.sent_by(0));
        assert!(swarm.sent_in_all() <= 3.1, "seed {seed}: duplicates, {}", swarm.sent_in_all());
        assert!(swarm.now < Duration::from_millis(8500), "seed {seed}: {:?}", swarm.now);
    }
}

#[test]
fn three_fetchers_on_one_machine_serve_each_other() {
    for (seed, rate) in (0..20).flat_map(|seed| [2e4, 1e5, 1e6].map(|rate| (seed, rate))) {
        // As the test of real nodes has it: no line is slower than another, and what one does the others wait for.
        let mut swarm = Swarm::new(200, &[1e6; 4], 1, seed);
        swarm.machine = Some((rate, Time::ZERO));
        swarm.run(HOUR, |_| {});
        assert!(swarm.sent_by(0) <= 1.6, "seed {seed}, {rate} bytes/s: {}", swarm.sent_by(0));
        assert!(swarm.sent_in_all() <= 3.1, "seed {seed}, {rate} bytes/s: {}", swarm.sent_in_all());
    }
}

#[test]
fn first_copies_leave_the_seed_once() {
    for seed in 0..10 {
        // The seed's line is the bottleneck, as a lead's mostly is.
        let mut swarm = Swarm::new(500, &[2e4, 1e5, 1e5, 1e5, 1e5], 1, seed);
        swarm.run(HOUR, |_| {});
        assert!(swarm.sent_by(0) <= 1.06, "seed {seed}: {} copies left the seed", swarm.sent_by(0));
        assert!(swarm.now < Duration::from_secs(29), "seed {seed}: {:?}", swarm.now);
    }
}

#[test]
fn several_seeds_share_the_work() {
    for seed in 0..10 {
        let mut swarm = Swarm::new(400, &[1e5, 1e5, 1e5], 2, seed);
        swarm.run(HOUR, |_| {});
        assert!(swarm.sent_by(0) > 0.3 && swarm.sent_by(1) > 0.3, "{} {}", swarm.sent_by(0), swarm.sent_by(1));
        assert!(swarm.sent_in_all() <= 1.05, "{}", swarm.sent_in_all());
    }
}

#[test]
fn the_swarm_ends_without_the_seed_once_every_chunk_is_out() {
    for seed in 0..10 {
        let mut lines = [5e4, 1e5, 1e5, 1e5].map(Line::up);
        // The others have everything long before this one.
        lines[3].down = 2e4;
        let mut swarm = Swarm::with_lines(300, &lines, 1, seed);
        swarm.run(HOUR, |s| {
            if s.nodes[0].every_chunk_out && !s.nodes[0].gone {
                s.leave(0);
            }
        });
        assert!(swarm.nodes[0].gone);
    }
}

#[test]
fn a_fetcher_that_leaves_in_the_middle_holds_nobody_up() {
    for seed in 0..10 {
        let mut swarm = Swarm::new(300, &[5e4, 1e5, 1e5, 1e5], 1, seed);
        swarm.run(HOUR, |s| {
            if s.now > Duration::from_secs(2) && !s.nodes[2].gone {
                s.leave(2);
            }
        });
        assert!(swarm.now < Duration::from_secs(20), "{:?}", swarm.now);
    }
}

#[test]
fn a_peer_that_takes_requests_and_sends_nothing_delays_but_does_not_stop() {
    for seed in 0..5 {
        let mut swarm = Swarm::new(300, &[1e5, 1e5, 1e5], 1, seed);
        swarm.run(HOUR, |s| {
            if s.now > Duration::from_secs(1) {
                s.nodes[2].silent = true;
            }
            // The silent one need not finish: its own requests are served by the others.
        });
        assert!(swarm.nodes[1].finished.is_some());
        assert!(swarm.now < Duration::from_secs(40), "{:?}", swarm.now);
    }
}

#[test]
fn a_dead_connection_is_given_up_so_that_a_new_one_can_be_made() {
    let mut swarm = Swarm::new(50, &[1e5, 1e5], 1, 1);
    swarm.nodes[0].silent = true;
    // The only source never sends: the time limit of the run is not reached, because the node gives it up.
    let mut dropped_at = None;
    for tick in 0..800u32 {
        swarm.now = TICK * tick;
        if swarm.nodes[1].dropped.is_empty() {
            while let Some(event) = swarm.queue.pop() {
                match event.what {
                    What::Haves(r) if event.to == 1 => {
                        swarm.feed(1, Input::Haves(0, r.into_iter().map(|(a, b)| a..b).collect()));
                    }
                    _ => {}
                }
            }
            swarm.feed(1, Input::Tick);
        } else {
            dropped_at.get_or_insert(swarm.now);
        }
    }
    let at = dropped_at.expect("given up");
    assert!(at > STALL * STALLS_MAX && at < STALL * (STALLS_MAX + 1), "{at:?}");
}
