//! Whole swarms under a virtual clock: the scheduler that real nodes run, over lines that are declared instead of real.
//!
//! A node's uplink is shared fairly by its connections (`line.rs`). Each has a socket that takes bytes long before they leave, so that a
//! node knows of no byte when it left, only what a receiver says that it has; what is said waits behind what the socket took before it.
//! Then [`World::latency`] passes, and the receiver's downlink takes one chunk after the other; while it is behind, the sender's line is
//! left to others. The same [`World`] always gives the same [`Run`].

mod bound;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod faults;
mod harm;
#[cfg(test)]
mod hostile;
mod line;
#[cfg(test)]
mod slow;
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
pub use harm::Harm;
use line::{Cargo, Uplink};

use super::*;
use crate::manifest::ranges;

/// Chunks of one sender that wait for a downlink at the most.
const HELD_CHUNKS: u32 = 2;
/// How often it is looked whether bytes come.
const SIGNS_OF_LIFE: Time = Time::from_secs(2);

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
    /// What the socket of a connection takes before it leaves.
    pub socket_bytes: u64,
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
    /// What it does against the others.
    pub harm: Option<Harm>,
}

impl Line {
    /// A line that only its uplink limits.
    pub fn up(up: f64) -> Self {
        Line { up, down: f64::INFINITY, joins: Time::ZERO, leaves: None, changes: None, stops: None, harm: None }
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
    /// As the how-manieth it was sent.
    order: u64,
    to: u32,
    from: u32,
    what: What,
}

/// What is on its way, in the order of time, and of what happens at the same time in the order in which it was sent.
#[derive(Debug, Default)]
struct Queue {
    /// When, as the how-manieth it was sent, and where it lies: small, so that the heap is quick.
    order: BinaryHeap<Reverse<(Time, u64, u32)>>,
    events: Vec<Option<Event>>,
    free: Vec<u32>,
}

impl Queue {
    fn push(&mut self, event: Event) {
        let place = self.free.pop().unwrap_or(self.events.len() as u32);
        self.order.push(Reverse((event.at, event.order, place)));
        match self.events.get_mut(place as usize) {
            Some(free) => *free = Some(event),
            None => self.events.push(Some(event)),
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let Reverse((.., place)) = self.order.pop()?;
        self.free.push(place);
        self.events.get_mut(place as usize)?.take()
    }

    /// The next event up to a time.
    fn pop_until(&mut self, time: Time) -> Option<Event> {
        self.order.peek().is_some_and(|Reverse((at, ..))| *at <= time).then(|| self.pop()).flatten()
    }
}

#[derive(Debug)]
enum What {
    Haves(Arc<[Range<u32>]>),
    Suggest(Vec<u32>),
    Decline(Vec<u32>, bool),
    Request(RequestId, Vec<u32>),
    Cancel(Vec<u32>),
    Refuse(RequestId, Vec<u32>),
    Lost(Vec<Range<u32>>),
    /// It is back under another name.
    Back,
    /// It has left the sender's uplink.
    Coming(Cargo),
    Chunk(Cargo),
    /// The socket has taken it.
    Taken(u32),
    /// Something leaves the uplink now, if nothing has changed there since.
    Departure(u64),
}

/// A node, and what became of it.
#[derive(Debug)]
pub struct Node {
    scheduler: Scheduler,
    line: Line,
    joined: bool,
    gone: bool,
    uplink: Uplink,
    foreseen: u64,
    down_free_at: Time,
    /// Chunks from each that wait for the downlink.
    down_waits: HashMap<u32, u32>,
    received_from: HashMap<u32, u64>,
    /// The last request that a harmful one made.
    asked: RequestId,
    every_chunk_out: bool,
    /// Chunks that it sent.
    pub sent: u64,
    /// Chunks that it sent before each was out once; see [`Run`].
    pub sent_before_out: u64,
    /// Chunks that came to it though it had them.
    pub received_twice: u64,
    /// When it had everything.
    pub finished: Option<Time>,
    /// Of whom people were told that it gives or takes nothing.
    pub remarked: Vec<PeerId>,
    /// Whom it ended the session with, and why.
    pub dropped: Vec<(PeerId, &'static str)>,
}

/// A swarm that runs, or has run.
#[derive(Debug)]
pub struct Run {
    world: World,
    /// The nodes, in the order of [`World::lines`].
    pub nodes: Vec<Node>,
    queue: Queue,
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
                    uplink: Uplink::new(line.up, world.socket_bytes, world.lines.len()),
                    foreseen: 0,
                    down_free_at: Time::ZERO,
                    down_waits: HashMap::new(),
                    received_from: HashMap::new(),
                    asked: 0,
                    every_chunk_out: false,
                    sent: 0,
                    sent_before_out: 0,
                    received_twice: 0,
                    remarked: Vec::new(),
                    dropped: Vec::new(),
                }
            })
            .collect();
        let mut run = Run {
            unfinished: nodes.iter().filter(|n| n.finished.is_none() && !n.never_finishes()).count(),
            nodes,
            queue: Queue::default(),
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
        let Some(event) = self.queue.pop_until(self.next_tick) else {
            self.now = self.next_tick;
            self.next_tick += TICK;
            self.come_and_go();
            for node in 0..self.nodes.len() {
                let (now, n) = (self.now, &mut self.nodes[node]);
                n.uplink.set_rate(now, n.line.up_at(now));
                self.foresee(node);
                let n = &self.nodes[node];
                if !n.gone && n.joined && n.line.awake(self.now) == self.now {
                    self.feed(node, Input::Tick);
                }
            }
            self.bytes_come();
            return true;
        };
        self.now = self.now.max(event.at);
        self.happens(event);
        false
    }

    /// Parts of chunks come long before the whole, and show that nobody is silent.
    fn bytes_come(&mut self) {
        if !self.now.as_millis().is_multiple_of(SIGNS_OF_LIFE.as_millis()) {
            return;
        }
        for node in 0..self.nodes.len() {
            for to in self.nodes[node].uplink.sends() {
                self.feed(to as usize, Input::Alive(node as PeerId));
            }
        }
    }

    /// Whoever is due meets everyone that is here, or leaves.
    fn come_and_go(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].joined && self.nodes[node].line.joins <= self.now {
                self.nodes[node].joined = true;
                for other in 0..self.nodes.len() {
                    if other != node && self.nodes[other].joined && !self.nodes[other].gone {
                        self.meet(node, other);
                    }
                }
            }
            if !self.nodes[node].gone && self.nodes[node].line.leaves.is_some_and(|at| at <= self.now) {
                self.leave(node);
            }
        }
    }

    fn meet(&mut self, node: usize, other: usize) {
        self.nodes[node].uplink.meet(other as u32);
        self.nodes[other].uplink.meet(node as u32);
        self.feed(node, Input::Connected(other as PeerId));
        self.feed(other, Input::Connected(node as PeerId));
    }

    fn leave(&mut self, node: usize) {
        self.nodes[node].gone = true;
        let n = &self.nodes[node];
        self.unfinished -= usize::from(n.finished.is_none() && !n.never_finishes());
        for other in 0..self.nodes.len() {
            if other != node && self.nodes[other].joined && !self.nodes[other].gone {
                self.part(other, node);
                self.part(node, other);
                self.feed(other, Input::Gone(node as PeerId));
            }
        }
    }

    /// What was on its way to the other stays where it is.
    fn part(&mut self, node: usize, other: usize) {
        let now = self.now;
        self.nodes[node].uplink.forget(now, other as u32);
        self.nodes[node].down_waits.remove(&(other as u32));
        self.foresee(node);
    }

    /// Notes when something leaves the node's uplink next.
    fn foresee(&mut self, node: usize) {
        let uplink = &self.nodes[node].uplink;
        if uplink.change != self.nodes[node].foreseen
            && let Some(at) = uplink.next_departure()
        {
            let change = uplink.change;
            self.nodes[node].foreseen = change;
            self.send(at, node, node as PeerId, What::Departure(change));
        }
    }

    fn send(&mut self, at: Time, from: usize, to: PeerId, what: What) {
        self.order += 1;
        self.queue.push(Event { at, order: self.order, to: to as u32, from: from as u32, what });
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = self.now;
        if self.nodes[node].never_finishes() {
            return self.harms(node, input);
        }
        self.nodes[node].scheduler.handle(now, input);
        #[cfg(test)]
        swarms::check(&self.nodes[node].scheduler, &self.world);
        let mut told: Option<Arc<[Range<u32>]>> = None;
        while let Some(effect) = self.nodes[node].scheduler.poll_effect() {
            match effect {
                Effect::Request(to, id, chunks) => self.say(node, to, What::Request(id, chunks)),
                Effect::Refuse { peer, request, chunks } => {
                    self.say(node, peer, What::Refuse(request, chunks));
                }
                Effect::Cancel(to, chunks) => self.say(node, to, What::Cancel(chunks)),
                Effect::TellLost(to, ranges) => self.say(node, to, What::Lost(ranges)),
                Effect::Suggest(to, chunks) => self.say(node, to, What::Suggest(chunks)),
                Effect::Decline { peer, chunks, full } => self.say(node, peer, What::Decline(chunks, full)),
                Effect::Tell(to, ranges) => {
                    // Mostly the same for everyone: kept once.
                    let same = told.take().filter(|told| **told == *ranges).unwrap_or_else(|| ranges.into());
                    told = Some(same.clone());
                    self.say(node, to, What::Haves(same));
                }
                Effect::Send { peer, chunk, request } => self.send_chunk(node, peer, chunk, request),
                Effect::Drop(peer, why) | Effect::GiveUp(peer, why) => self.ends(node, peer, why),
                Effect::Complete => {
                    self.nodes[node].finished = Some(now);
                    self.unfinished -= 1;
                }
                Effect::Remark(peer, _) => self.nodes[node].remarked.push(peer),
                Effect::EveryChunkOut(out) => self.nodes[node].every_chunk_out = out,
            }
        }
    }

    /// Ends the session of two.
    fn ends(&mut self, node: usize, peer: PeerId, why: &'static str) {
        self.nodes[node].dropped.push((peer, why));
        self.part(node, peer as usize);
        self.part(peer as usize, node);
        self.feed(node, Input::Gone(peer));
        self.feed(peer as usize, Input::Gone(node as PeerId));
    }

    fn say(&mut self, node: usize, to: PeerId, what: What) {
        let leaves = self.nodes[node].uplink.word(self.now, to as u32);
        self.send(leaves + self.world.latency, node, to, what);
    }

    fn send_chunk(&mut self, node: usize, to: PeerId, chunk: u32, request: RequestId) {
        let (now, size) = (self.now, self.world.chunk_size_bytes as f64);
        let n = &mut self.nodes[node];
        if n.line.harm == Some(Harm::Silent) {
            return;
        }
        n.sent += 1;
        n.sent_before_out += u64::from(self.out_at.is_none());
        for taken in n.uplink.hand(now, to as u32, (chunk, request), size) {
            self.send(now, to as usize, node as PeerId, What::Taken(taken));
        }
        self.foresee(node);
    }

    /// What is due leaves the uplink.
    fn depart(&mut self, node: usize) {
        while let Some((to, cargo, taken)) = self.nodes[node].uplink.depart(self.now) {
            for chunk in taken {
                self.send(self.now, to as usize, node as PeerId, What::Taken(chunk));
            }
            let mut out = self.now;
            if let Some(rate) = self.world.machine {
                let time = Duration::from_secs_f64(self.world.chunk_size_bytes as f64 / rate);
                self.machine_free_at = self.machine_free_at.max(out) + time;
                out = self.machine_free_at;
            }
            self.send(out + self.world.latency, node, PeerId::from(to), What::Coming(cargo));
        }
        self.foresee(node);
    }

    /// A chunk is with the receiver's downlink.
    fn comes_down(&mut self, to: usize, from: u32, cargo: Cargo) {
        let now = self.now;
        if !self.nodes[from as usize].uplink.is_connected(to as u32) {
            return;
        }
        let node = &mut self.nodes[to];
        let time = self.world.chunk_size_bytes as f64 / node.line.down;
        node.down_free_at = node.down_free_at.max(now) + Duration::from_secs_f64(time);
        let here = node.down_free_at;
        let waits = node.down_waits.entry(from).or_default();
        *waits += 1;
        if *waits == HELD_CHUNKS {
            self.nodes[from as usize].uplink.hold(now, to as u32, true);
            self.foresee(from as usize);
        }
        self.send(here, from as usize, to as PeerId, What::Chunk(cargo));
    }

    fn happens(&mut self, event: Event) {
        let (to, from) = (event.to as usize, event.from);
        if self.nodes[to].gone || self.nodes[from as usize].gone {
            return;
        }
        match event.what {
            // The kernel does these, however its program sleeps.
            What::Departure(change) if change == self.nodes[to].uplink.change => return self.depart(to),
            What::Departure(_) => return,
            What::Coming(cargo) => return self.comes_down(to, from, cargo),
            _ => {}
        }
        let awake = self.nodes[to].line.awake(self.now);
        if awake > self.now {
            // What came before it stays before it, also before what comes just when it awakes.
            return self.queue.push(Event { at: awake, ..event });
        }
        let peer = PeerId::from(from);
        match event.what {
            What::Chunk(cargo) => self.arrives(to, from, cargo),
            What::Taken(chunk) => self.feed(to, Input::Sent(peer, chunk)),
            What::Haves(r) => self.feed(to, Input::Haves(peer, r.to_vec())),
            What::Lost(r) => self.feed(to, Input::HasLost(peer, r)),
            What::Suggest(c) => self.feed(to, Input::Suggested(peer, in_order(&c))),
            What::Decline(c, full) => self.feed(to, Input::Declined { peer, ranges: ranges(c), full }),
            What::Request(id, c) => self.feed(to, Input::Requested(peer, id, in_order(&c))),
            What::Refuse(request, c) => {
                self.feed(to, Input::Refused { peer, request, ranges: ranges(c) });
            }
            What::Cancel(c) => self.feed(to, Input::Cancelled(peer, ranges(c))),
            What::Back => self.meet(to, from as usize),
            What::Coming(_) | What::Departure(_) => {}
        }
    }

    fn arrives(&mut self, to: usize, from: u32, (chunk, request): Cargo) {
        let (now, peer) = (self.now, PeerId::from(from));
        let node = &mut self.nodes[to];
        // Nothing has come from whom the session ended with.
        let Some(waits) = node.down_waits.get_mut(&from).filter(|waits| **waits > 0) else { return };
        *waits -= 1;
        if *waits == HELD_CHUNKS - 1 {
            self.nodes[from as usize].uplink.hold(now, to as u32, false);
            self.foresee(from as usize);
        }
        let node = &mut self.nodes[to];
        let total = node.received_from.entry(from).or_default();
        *total += self.world.chunk_size_bytes;
        let total = *total;
        if self.nodes[to].never_finishes() {
            return;
        }
        let sends_noise = self.nodes[from as usize].line.harm == Some(Harm::Noise);
        let node = &mut self.nodes[to];
        match node.scheduler.offered(now, peer, chunk, request) {
            Expect::Wanted if sends_noise => self.is_noise(to, from),
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
