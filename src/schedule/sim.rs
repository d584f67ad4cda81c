//! Whole swarms under a virtual clock: the scheduler that real nodes run, over lines that are declared instead of real.
//!
//! A node's uplink sends one chunk after the other, then its receiver's downlink takes it; messages take [`World::latency`]. The same
//! [`World`] always gives the same [`Run`].

mod bound;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod swarms;
#[cfg(test)]
mod uneven;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

pub use bound::{Bound, Limit};

use super::*;
use crate::manifest::ranges;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct World {
    /// How many chunks there are.
    pub chunks: u32,
    /// How large each is.
    pub chunk_size_bytes: u64,
    /// What may be in flight to a node.
    pub window_bytes: u64,
    /// The lines of all nodes; the first [`Self::seeds`] have everything.
    pub lines: Vec<Line>,
    /// How many have everything.
    pub seeds: usize,
    /// How long a message takes.
    pub latency: Time,
    /// Where all nodes are on one machine: bytes a second of them together.
    pub machine: Option<f64>,
    /// What chance begins with.
    pub rng_seed: u64,
}

/// A node's line, in bytes a second.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it sends.
    pub up: f64,
    /// What it receives.
    pub down: f64,
    /// When the node comes.
    pub joins: Time,
    /// When it leaves, whether it has everything or not.
    pub leaves: Option<Time>,
    /// From this time on its uplink is another one.
    pub changes: Option<(Time, f64)>,
    /// The node does nothing at all during the second time of each first time.
    pub stops: Option<(Time, Time)>,
}

impl Line {
    /// A line that only its uplink limits.
    pub fn up(up: f64) -> Self {
        Line { up, down: f64::INFINITY, joins: Time::ZERO, leaves: None, changes: None, stops: None }
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

    fn up_at(&self, now: Time) -> f64 {
        match self.changes {
            Some((from, up)) if now >= from => up,
            _ => self.up,
        }
    }
}

/// A message or a chunk on its way.
#[derive(Debug)]
struct Event {
    at: Time,
    order: u64,
    to: u32,
    from: u32,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        Reverse((self.at, self.order)).cmp(&Reverse((other.at, other.order)))
    }
}

#[derive(Debug)]
enum What {
    Haves(Arc<[Range<u32>]>),
    Suggest(Vec<u32>),
    Decline(Vec<u32>, bool),
    Pace(u64),
    Request(RequestId, Vec<u32>),
    Cancel(Vec<u32>),
    Refuse(RequestId, Vec<u32>, bool),
    /// It has left the sender's uplink; whether the sender knows.
    Coming(u32, RequestId, bool),
    Chunk(u32, RequestId),
    Left(u32),
}

/// A node, and what became of it.
#[derive(Debug)]
pub struct Node {
    scheduler: Scheduler,
    line: Line,
    joined: bool,
    gone: bool,
    up_free_at: Time,
    down_free_at: Time,
    received_from: HashMap<u32, u64>,
    /// Says that it sends and sends nothing.
    silent: bool,
    every_chunk_out: bool,
    /// Chunks that it sent.
    pub sent: u64,
    /// Chunks that it sent before each was out once; see [`Run`].
    pub sent_before_out: u64,
    /// Chunks that came to it though it had them.
    pub received_twice: u64,
    /// When it had everything.
    pub finished: Option<Time>,
    /// Whom it ended the session with, and why.
    pub dropped: Vec<(PeerId, &'static str)>,
}

/// A swarm that runs, or has run.
#[derive(Debug)]
pub struct Run {
    world: World,
    /// The nodes, in the order of [`World::lines`].
    pub nodes: Vec<Node>,
    queue: BinaryHeap<Event>,
    order: u64,
    now: Time,
    next_tick: Time,
    machine_free_at: Time,
    /// Chunks that somebody who is no seed has, and when that became all of them.
    out: ChunkSet,
    /// When every chunk was with somebody who is no seed.
    pub out_at: Option<Time>,
    unfinished: usize,
}

impl Run {
    /// Everyone who is there from the beginning has met.
    pub fn new(world: World) -> Self {
        let nodes: Vec<Node> = world
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| {
                let have = if i < world.seeds { ChunkSet::full(world.chunks) } else { ChunkSet::empty(world.chunks) };
                let rng_seed = world.rng_seed.wrapping_mul(1000).wrapping_add(i as u64);
                Node {
                    finished: have.is_full().then_some(Time::ZERO),
                    scheduler: Scheduler::new(have, world.chunk_size_bytes, world.window_bytes, rng_seed),
                    line: line.clone(),
                    joined: false,
                    gone: false,
                    up_free_at: Time::ZERO,
                    down_free_at: Time::ZERO,
                    received_from: HashMap::new(),
                    silent: false,
                    every_chunk_out: false,
                    sent: 0,
                    sent_before_out: 0,
                    received_twice: 0,
                    dropped: Vec::new(),
                }
            })
            .collect();
        let mut run = Run {
            unfinished: nodes.iter().filter(|n| n.finished.is_none()).count(),
            nodes,
            queue: BinaryHeap::new(),
            order: 0,
            now: Time::ZERO,
            next_tick: Time::ZERO,
            machine_free_at: Time::ZERO,
            out: ChunkSet::empty(world.chunks),
            out_at: None,
            world,
        };
        run.come_and_go();
        run
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether everyone that is still here has everything.
    pub fn is_over(&self) -> bool {
        self.unfinished == 0
    }

    /// How many chunks a node has.
    pub fn has(&self, node: usize) -> u32 {
        self.nodes[node].scheduler.have().count()
    }

    /// Runs until everyone that is still here has everything; false after `limit` of virtual time.
    pub fn run(&mut self, limit: Time) -> bool {
        while !self.is_over() && self.now < limit {
            self.step();
        }
        self.is_over()
    }

    /// The next thing happens; true if it was a tick.
    pub fn step(&mut self) -> bool {
        let Some(event) = self.queue.pop_if_before(self.next_tick) else {
            self.now = self.next_tick;
            self.next_tick += TICK;
            self.come_and_go();
            for node in 0..self.nodes.len() {
                let n = &self.nodes[node];
                if !n.gone && n.joined && n.line.awake(self.now) == self.now {
                    self.feed(node, Input::Tick);
                }
            }
            return true;
        };
        self.now = self.now.max(event.at);
        self.happens(event);
        false
    }

    /// Whoever is due meets everyone that is here, or leaves.
    fn come_and_go(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].joined && self.nodes[node].line.joins <= self.now {
                self.nodes[node].joined = true;
                for other in 0..self.nodes.len() {
                    if other != node && self.nodes[other].joined && !self.nodes[other].gone {
                        self.feed(node, Input::Connected(other as PeerId));
                        self.feed(other, Input::Connected(node as PeerId));
                    }
                }
            }
            if !self.nodes[node].gone && self.nodes[node].line.leaves.is_some_and(|at| at <= self.now) {
                self.leave(node);
            }
        }
    }

    fn leave(&mut self, node: usize) {
        self.nodes[node].gone = true;
        self.unfinished -= usize::from(self.nodes[node].finished.is_none());
        for other in 0..self.nodes.len() {
            if other != node && self.nodes[other].joined && !self.nodes[other].gone {
                self.feed(other, Input::Gone(node as PeerId));
            }
        }
    }

    fn send(&mut self, at: Time, from: usize, to: PeerId, what: What) {
        self.order += 1;
        self.queue.push(Event { at, order: self.order, to: to as u32, from: from as u32, what });
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = self.now;
        self.nodes[node].scheduler.handle(now, input);
        #[cfg(test)]
        swarms::check(&self.nodes[node].scheduler, &self.world);
        let later = now + self.world.latency;
        let mut told: Option<Arc<[Range<u32>]>> = None;
        while let Some(effect) = self.nodes[node].scheduler.poll_effect() {
            match effect {
                Effect::Request(to, id, chunks) => self.send(later, node, to, What::Request(id, chunks)),
                Effect::Refuse { peer, request, chunks, lost } => {
                    self.send(later, node, peer, What::Refuse(request, chunks, lost));
                }
                Effect::Cancel(to, chunks) => self.send(later, node, to, What::Cancel(chunks)),
                Effect::Suggest(to, chunks) => self.send(later, node, to, What::Suggest(chunks)),
                Effect::Decline { peer, chunks, full } => self.send(later, node, peer, What::Decline(chunks, full)),
                Effect::Pace(to, rate) => self.send(later, node, to, What::Pace(rate)),
                Effect::Tell(to, ranges) => {
                    // Mostly the same for everyone: kept once.
                    let same = told.take().filter(|told| **told == *ranges).unwrap_or_else(|| ranges.into());
                    told = Some(same.clone());
                    self.send(later, node, to, What::Haves(same));
                }
                Effect::Send { peer, chunk, request } => self.send_chunk(node, peer, chunk, request),
                Effect::Drop(peer, why) | Effect::GiveUp(peer, why) => {
                    self.nodes[node].dropped.push((peer, why));
                    self.feed(node, Input::Gone(peer));
                    self.feed(peer as usize, Input::Gone(node as PeerId));
                }
                Effect::Complete => {
                    self.nodes[node].finished = Some(now);
                    self.unfinished -= 1;
                }
                Effect::EveryChunkOut(out) => self.nodes[node].every_chunk_out = out,
            }
        }
    }

    fn send_chunk(&mut self, node: usize, to: PeerId, chunk: u32, request: RequestId) {
        let (now, size) = (self.now, self.world.chunk_size_bytes as f64);
        let n = &mut self.nodes[node];
        if n.silent {
            return;
        }
        n.sent += 1;
        n.sent_before_out += u64::from(self.out_at.is_none());
        let starts = n.line.awake(n.up_free_at.max(now));
        n.up_free_at = starts + Duration::from_secs_f64(size / n.line.up_at(starts));
        let mut out = n.up_free_at;
        if let Some(rate) = self.world.machine {
            self.machine_free_at = self.machine_free_at.max(now) + Duration::from_secs_f64(size / rate);
            out = out.max(self.machine_free_at);
        }
        let comes = out + self.world.latency;
        // The way holds what is on it; only where the receiver is behind, the sender waits for it.
        let known = self.nodes[to as usize].down_free_at <= comes;
        if known {
            self.send(out, to as usize, node as PeerId, What::Left(chunk));
        }
        self.send(comes, node, to, What::Coming(chunk, request, known));
    }

    fn happens(&mut self, event: Event) {
        let (to, from) = (event.to as usize, event.from);
        if self.nodes[to].gone || self.nodes[from as usize].gone {
            return;
        }
        let awake = self.nodes[to].line.awake(self.now);
        if awake > self.now {
            return self.send(awake, from as usize, PeerId::from(event.to), event.what);
        }
        let peer = PeerId::from(from);
        match event.what {
            What::Coming(chunk, request, known) => {
                let node = &mut self.nodes[to];
                let time = self.world.chunk_size_bytes as f64 / node.line.down;
                node.down_free_at = node.down_free_at.max(self.now) + Duration::from_secs_f64(time);
                let here = node.down_free_at;
                if !known {
                    self.send(here, to, peer, What::Left(chunk));
                }
                self.send(here, from as usize, PeerId::from(event.to), What::Chunk(chunk, request));
            }
            What::Chunk(chunk, request) => self.arrives(to, from, chunk, request),
            What::Left(chunk) => self.feed(to, Input::Sent(peer, chunk)),
            What::Haves(r) => self.feed(to, Input::Haves(peer, r.to_vec())),
            What::Suggest(c) => self.feed(to, Input::Suggested(peer, in_order(&c))),
            What::Decline(c, full) => self.feed(to, Input::Declined { peer, ranges: ranges(c), full }),
            What::Pace(rate) => self.feed(to, Input::Paced(peer, rate)),
            What::Request(id, c) => self.feed(to, Input::Requested(peer, id, in_order(&c))),
            What::Refuse(request, c, lost) => {
                self.feed(to, Input::Refused { peer, request, ranges: ranges(c), lost });
            }
            What::Cancel(c) => self.feed(to, Input::Cancelled(peer, ranges(c))),
        }
    }

    fn arrives(&mut self, to: usize, from: u32, chunk: u32, request: RequestId) {
        let (now, peer) = (self.now, PeerId::from(from));
        let node = &mut self.nodes[to];
        let total = node.received_from.entry(from).or_default();
        *total += self.world.chunk_size_bytes;
        let total = *total;
        match node.scheduler.offered(now, peer, chunk, request) {
            Expect::Unasked => {
                node.dropped.push((peer, "it sent a chunk that was not asked for"));
                self.feed(to, Input::Gone(peer));
            }
            Expect::Wanted => {
                if self.out.insert(chunk) && self.out.is_full() {
                    self.out_at = Some(now);
                }
                self.feed(to, Input::Progress(peer, total));
                self.feed(to, Input::Stored(peer, chunk));
            }
            Expect::HadAlready => {
                node.received_twice += 1;
                self.feed(to, Input::Duplicate(peer, chunk));
            }
        }
    }
}

/// Each its own range: the order is kept.
fn in_order(chunks: &[u32]) -> Vec<Range<u32>> {
    chunks.iter().map(|chunk| *chunk..*chunk + 1).collect()
}

/// The next event before a time.
trait PopIfBefore {
    fn pop_if_before(&mut self, time: Time) -> Option<Event>;
}

impl PopIfBefore for BinaryHeap<Event> {
    fn pop_if_before(&mut self, time: Time) -> Option<Event> {
        self.peek().is_some_and(|event| event.at <= time).then(|| self.pop()).flatten()
    }
}
