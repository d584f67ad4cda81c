//! PURE: who sends which chunk to whom. Time comes in as an argument, randomness from a seed, facts as [`Input`]s;
//! decisions leave as [`Effect`]s. Never opens a socket, never looks at a byte of a chunk.
//!
//! How a chunk travels:
//!
//! 1. A node grants *credits* to every peer that has all chunks. Such a seed binds late: when its line to a peer is free
//!    it deals the first chunk, in the file's order, that nobody else holds. So every chunk leaves the seed once before
//!    any leaves it twice.
//! 2. From peers that have a part, a node *requests*: rarest first, ties by a random place to start, as many in flight as
//!    the peer's measured rate fills in [`PIPELINE_TIME`].
//! 3. A seed that has nothing left to deal falls silent; after [`SEED_SILENCE`], or a few times its usual gap, its chunks
//!    are requested too, first those that no other peer can give.
//! 4. A peer that became complete in our sight serves what it has like any other; the seed it came from is asked for the
//!    same chunks only when the others would take long and do not keep our line busy: its own line is the scarcest.
//! 5. When nothing is left to ask for, a chunk that is late is asked for once more, elsewhere.
//!
//! Every request has an id, and every chunk of it gets exactly one answer: the chunk, or a refusal; what was taken back before it
//! left is refused, too. So an answer that comes late is known as such, however messages cross each other, and what is no answer
//! is a fault. Credit is spent on a chunk at most once a session.
//!
//! Invariants (asserted by the tests after every input): a chunk is either had, or in flight from at most two peers, or
//! wanted; nobody is asked for what they do not have; what was sent to us without being asked for or credited is refused;
//! a chunk that was had is wanted again only if our disk lost it.

mod peer;
mod pull;
mod serve;
#[cfg(test)]
mod sim;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};

use crate::manifest::{ChunkSet, ranges};
use peer::Peer;

/// A peer's place in the scheduler: the number of its session.
pub type PeerId = u64;
/// Time since the node's start.
pub type Time = Duration;
/// Which request of a session; each is larger than the one before it.
pub type RequestId = u64;

/// How long a peer may be kept busy by what is asked of it at once.
pub const PIPELINE_TIME: Duration = Duration::from_millis(250);
/// How long a seed with our credit may be silent, at the least, before we ask it for chunks by name.
pub const SEED_SILENCE: Duration = Duration::from_millis(300);
/// A peer that sends no byte of what it owes for this long loses what was asked of it.
pub const STALL: Duration = Duration::from_secs(10);
/// After so many stalls without a byte the connection is taken for dead: a new one may do better.
const STALLS_MAX: u32 = 6;
/// How often rates are measured and stalls looked for.
const TICK: Duration = Duration::from_millis(100);
/// What a new measurement counts for against the old ones.
const SMOOTHING: f64 = 0.3;
/// Chunks handed to a peer's line at once: one on the wire, one ready.
const SENDING_MAX: usize = 2;
/// Chunks that one peer may have asked us for, or been given credit for, and not got.
pub const REQUESTED_MAX: usize = 4096;
/// Answers that a peer may owe us before it is asked for more.
const OWED_MAX: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A member's session began.
    Connected(PeerId),
    /// It ended.
    Gone(PeerId),
    /// The peer has these chunks.
    Haves(PeerId, Vec<Range<u32>>),
    /// The peer takes that many more chunks of our choice.
    Credited(PeerId, u32),
    /// The peer asks for chunks.
    Requested(PeerId, RequestId, Vec<Range<u32>>),
    /// The peer no longer wants chunks; ascending ranges.
    Cancelled(PeerId, Vec<Range<u32>>),
    /// The peer will not send these chunks of a request.
    Refused {
        /// Who.
        peer: PeerId,
        /// Of which request.
        request: RequestId,
        /// Which.
        ranges: Vec<Range<u32>>,
        /// It does not have them any more.
        lost: bool,
    },
    /// A chunk to the peer has left.
    Sent(PeerId, u32),
    /// A chunk to the peer could not be read as it must be.
    NotSent(PeerId, u32),
    /// Our disk does not give this chunk any more.
    Lost(u32),
    /// So many bytes have come from the peer since its session began.
    Progress(PeerId, u64),
    /// Part of a chunk comes from the peer, though none of it can be used yet; or it would come, but our own disk is behind.
    Alive(PeerId),
    /// A chunk from the peer is verified and stored.
    Stored(PeerId, u32),
    /// A chunk from the peer was dropped unread: we had it already.
    Duplicate(PeerId, u32),
    /// Time has passed.
    Tick,
}

/// What the node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the peer for chunks, in this order.
    Request(PeerId, RequestId, Vec<u32>),
    /// Take requests back.
    Cancel(PeerId, Vec<u32>),
    /// Tell the peer that these chunks of its request will not come.
    Refuse {
        /// Whom.
        peer: PeerId,
        /// Of which request.
        request: RequestId,
        /// Which, ascending.
        chunks: Vec<u32>,
        /// We do not have them any more.
        lost: bool,
    },
    /// Allow the peer that many more chunks of its choice.
    Grant(PeerId, u32),
    /// Tell a peer what we have, or now have as well: no chunk twice.
    Tell(PeerId, Vec<Range<u32>>),
    /// Send the peer a chunk; credited or asked for.
    Send {
        /// To whom.
        peer: PeerId,
        /// Which.
        chunk: u32,
        /// The request that it answers; none: it spends the peer's credit.
        request: Option<RequestId>,
    },
    /// The peer broke the protocol: end its session.
    Drop(PeerId, &'static str),
    /// The peer owes us something and is silent: end its session, a new one may do better.
    GiveUp(PeerId, &'static str),
    /// We have every chunk.
    Complete,
    /// Whether every chunk is with two other peers, so that any one node may leave; said when it becomes true, and when it ends
    /// being so. A node that still fetches does not say it.
    EveryChunkOut(bool),
}

/// What may come on a bulk stream next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Take it.
    Wanted,
    /// It was asked for or credited, but has come from elsewhere meanwhile: read and drop.
    HadAlready,
    /// Never asked for: the peer breaks the protocol.
    Unasked,
}

/// The node's side of a swarm.
#[derive(Debug)]
pub struct Scheduler {
    have: ChunkSet,
    chunk_size_bytes: u64,
    window_chunks: u32,
    peers: BTreeMap<PeerId, Peer>,
    /// Chunks on their way to us and from whom.
    in_flight: HashMap<u32, Vec<PeerId>>,
    /// How many connected peers with a part hold each chunk.
    holders: Vec<u16>,
    /// Chunks on our lines to others.
    sending: HashMap<u32, u16>,
    /// When the first chunk was asked for or came.
    began: Option<Time>,
    /// Smoothed bytes a second from all peers together, the most that was ever seen, and when it was last measured.
    intake: f64,
    best_intake: f64,
    ticked: Time,
    /// The other peers will soon have sent what they have and we lack.
    others_suffice: bool,
    announce: Vec<u32>,
    /// Chunks that were had and whose bytes the disk does not give any more.
    lost: ChunkSet,
    /// Chunks are still to come: false for a seed, and once everything was there.
    fetches: bool,
    /// Counts how often a chunk became free to be asked for again.
    freed: u64,
    next_request: RequestId,
    effects: VecDeque<Effect>,
    /// Where dealing begins: seeds of one swarm start at different places and so seldom meet.
    deal_from: u32,
    deal_cursor: u32,
    rng: SmallRng,
    next_tick: Time,
    complete_told: bool,
    out_told: bool,
}

impl Scheduler {
    /// A node that has `have` of chunks of at most `chunk_size_bytes`; `window_bytes` may be in flight from one peer.
    /// `deal_from` is the chunk a seed deals first.
    pub fn new(have: ChunkSet, chunk_size_bytes: u64, window_bytes: u64, deal_from: u32, seed: u64) -> Self {
        let count = have.len();
        let window_chunks = (window_bytes / chunk_size_bytes.max(1)).clamp(2, 256) as u32;
        let complete = have.is_full();
        Scheduler {
            complete_told: complete,
            have,
            chunk_size_bytes,
            window_chunks,
            peers: BTreeMap::new(),
            in_flight: HashMap::new(),
            holders: vec![0; count as usize],
            sending: HashMap::new(),
            began: None,
            intake: 0.0,
            best_intake: 0.0,
            ticked: Time::ZERO,
            others_suffice: false,
            announce: Vec::new(),
            lost: ChunkSet::empty(count),
            fetches: !complete,
            freed: 0,
            next_request: 1,
            effects: VecDeque::new(),
            deal_from: if count == 0 { 0 } else { deal_from % count },
            deal_cursor: 0,
            rng: SmallRng::seed_from_u64(seed),
            next_tick: TICK,
            out_told: false,
        }
    }

    /// A node that has none of `count` chunks and wants none: it only sees what the others have.
    pub fn watching(count: u32, chunk_size_bytes: u64, seed: u64) -> Self {
        let new = Self::new(ChunkSet::empty(count), chunk_size_bytes, 0, 0, seed);
        Scheduler { fetches: false, complete_told: true, ..new }
    }

    /// What this node has.
    pub fn have(&self) -> &ChunkSet {
        &self.have
    }

    /// How many connected peers have every chunk.
    pub fn seeds(&self) -> usize {
        self.peers.values().filter(|p| p.is_seed()).count()
    }

    /// Whether something was asked of the peer, or is coming from it.
    pub fn waits_for(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(Peer::is_waited_for)
    }

    /// How many chunks are missing that no connected peer has.
    pub fn nowhere(&self) -> u32 {
        if self.peers.values().any(Peer::is_seed) {
            return 0;
        }
        let seeds: Vec<&Peer> = self.peers.values().filter(|p| p.was_seed).collect();
        let missing = (0u32..).zip(&self.holders).filter(|(chunk, n)| **n == 0 && !self.have.contains(*chunk));
        missing.filter(|(chunk, _)| !seeds.iter().any(|p| p.has.contains(*chunk))).count() as u32
    }

    /// The next decision, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn next_wakeup(&self) -> Time {
        self.next_tick
    }

    /// What to do with a chunk that the peer begins to send, as the answer to a request or on credit.
    pub fn offered(&mut self, now: Time, id: PeerId, chunk: u32, request: Option<RequestId>) -> Expect {
        let had = self.have.contains(chunk);
        let Some(peer) = self.peers.get_mut(&id) else { return Expect::Unasked };
        if chunk >= self.have.len() {
            return Expect::Unasked;
        }
        match request {
            None => {
                // Whoever deals the same chunk again would keep our line busy with nothing for ever.
                if peer.credit_given == 0 || !peer.dealt_us.insert(chunk) {
                    return Expect::Unasked;
                }
                peer.credit_given -= 1;
                peer.dealt_to_us(now);
            }
            Some(request) => {
                if !peer.answered(request, chunk) {
                    return Expect::Unasked;
                }
                peer.by_name = peer.by_name.saturating_add(1);
            }
        }
        if had || !self.fetches || peer.receiving.contains(&chunk) {
            return Expect::HadAlready;
        }
        self.began.get_or_insert(now);
        peer.receiving.insert(chunk);
        peer.asked.entry(chunk).or_insert(now);
        let from = self.in_flight.entry(chunk).or_default();
        if !from.contains(&id) {
            from.push(id);
        }
        Expect::Wanted
    }

    /// Takes in what happened and decides.
    pub fn handle(&mut self, now: Time, input: Input) {
        let ticks = matches!(input, Input::Tick);
        match input {
            Input::Connected(id) => self.connected(now, id),
            Input::Gone(id) => self.gone(id),
            Input::Haves(id, ranges) => self.peer_has(now, id, &ranges),
            Input::Credited(id, n) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.credit_got = peer.credit_got.saturating_add(n).min(REQUESTED_MAX as u32);
                }
            }
            Input::Requested(id, request, ranges) => self.requested(id, request, &ranges),
            Input::Cancelled(id, ranges) => self.cancelled(id, &ranges),
            Input::Refused { peer, request, ranges, lost } => self.refused(peer, request, ranges, lost),
            Input::Sent(id, chunk) => self.line_free(id, chunk),
            Input::NotSent(id, chunk) => self.not_sent(id, chunk),
            Input::Lost(chunk) => self.lost(chunk),
            Input::Alive(id) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.last_byte = now;
                }
            }
            Input::Progress(id, total) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.progress(now, total);
                }
            }
            Input::Stored(id, chunk) => self.stored(id, chunk),
            Input::Duplicate(id, chunk) => {
                // Where another stream of the same peer brings it, that one goes on.
                if self.peers.get(&id).is_some_and(|p| !p.receiving.contains(&chunk)) {
                    self.no_longer_from(id, chunk);
                }
            }
            Input::Tick => {
                self.next_tick = now + TICK;
                self.tick(now);
            }
        }
        self.ask(now, ticks);
        self.deal();
    }

    fn connected(&mut self, now: Time, id: PeerId) {
        // What the others are still to be told is part of what this one is told now: nobody hears of a chunk twice.
        self.tell_haves();
        self.peers.insert(id, Peer::new(self.have.len(), now));
        if !self.have.is_empty() {
            self.effects.push_back(Effect::Tell(id, self.have.ranges()));
        }
    }

    fn gone(&mut self, id: PeerId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        if !peer.was_seed {
            for chunk in peer.has.iter() {
                self.holders[chunk as usize] = self.holders[chunk as usize].saturating_sub(1);
            }
        }
        for chunk in peer.asked.keys() {
            remove_source(&mut self.in_flight, *chunk, id);
        }
        self.freed += 1;
        for (chunk, _) in peer.sending {
            self.not_sending(chunk);
        }
        // What only this peer held is to be dealt again.
        self.deal_cursor = 0;
    }

    fn peer_has(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let count = self.have.len();
        let first_words = peer.has.is_empty();
        let mut answers = Vec::new();
        for chunk in ranges.iter().flat_map(|range| range.start..range.end.min(count)) {
            if !peer.has.insert(chunk) {
                self.effects.push_back(Effect::Drop(id, "it says again what it has said"));
                return;
            }
            peer.dealt.remove(&chunk);
            if !peer.was_seed {
                self.holders[chunk as usize] += 1;
            }
            // It has come from elsewhere meanwhile.
            answers.extend(peer.no_longer_wanted(chunk));
        }
        peer.dry = None;
        if peer.is_seed() && !peer.was_seed {
            // Seeds are counted apart: what everyone has says nothing of rarity.
            peer.was_seed = true;
            peer.came_complete = first_words;
            peer.last_dealt = now;
            for n in &mut self.holders {
                *n = n.saturating_sub(1);
            }
        }
        self.refuse(id, answers, false);
    }

    /// The peer will not send what was asked of it.
    fn refused(&mut self, id: PeerId, request: RequestId, ranges: Vec<Range<u32>>, lost: bool) {
        for chunk in ranges.into_iter().flatten() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            // So a list may be as long as what was asked, and not longer.
            if !peer.answered(request, chunk) {
                self.effects.push_back(Effect::Drop(id, "it refuses what was not asked of it"));
                return;
            }
            if lost && peer.has.remove(chunk) && !peer.was_seed {
                self.holders[chunk as usize] = self.holders[chunk as usize].saturating_sub(1);
            }
            if !peer.receiving.contains(&chunk) && !peer.owed.contains_key(&chunk) {
                self.no_longer_from(id, chunk);
            }
        }
    }

    /// Our disk does not give a chunk any more.
    fn lost(&mut self, chunk: u32) {
        if self.have.remove(chunk) {
            self.lost.insert(chunk);
            self.freed += 1;
            self.announce.retain(|c| *c != chunk);
        }
    }

    fn stored(&mut self, id: PeerId, chunk: u32) {
        let mut sources = self.in_flight.remove(&chunk).unwrap_or_default();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.receiving.remove(&chunk);
            sources.push(id);
        }
        if !self.have.insert(chunk) {
            return;
        }
        // What was lost and has come again was announced before.
        if !self.lost.remove(chunk) {
            self.announce.push(chunk);
        }
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            if let Some(peer) = self.peers.get_mut(&source) {
                peer.asked.remove(&chunk);
                if peer.owed.contains_key(&chunk) {
                    self.effects.push_back(Effect::Cancel(source, vec![chunk]));
                }
            }
        }
        if self.have.is_full() && !self.complete_told {
            self.complete_told = true;
            self.fetches = false;
            self.tell_haves();
            self.effects.push_back(Effect::Complete);
        }
    }

    fn tell_haves(&mut self) {
        if !self.announce.is_empty() {
            let mut chunks = std::mem::take(&mut self.announce);
            chunks.sort_unstable();
            let ranges = ranges(chunks);
            self.effects.extend(self.peers.keys().map(|id| Effect::Tell(*id, ranges.clone())));
        }
    }

    fn tick(&mut self, now: Time) {
        self.tell_haves();
        let out = self.complete_told && self.every_chunk_out();
        if out != self.out_told {
            self.out_told = out;
            self.effects.push_back(Effect::EveryChunkOut(out));
        }
        let mut freed: Vec<(PeerId, Vec<u32>)> = Vec::new();
        let mut came = 0;
        for (id, peer) in &mut self.peers {
            came += peer.measure(now);
            if peer.stalled(now) {
                freed.push((*id, std::mem::take(&mut peer.asked).into_keys().collect()));
                peer.stalls += 1;
                peer.last_byte = now;
                if peer.stalls >= STALLS_MAX {
                    self.effects.push_back(Effect::GiveUp(*id, "it has sent nothing for a minute"));
                }
            }
        }
        self.take_in(now, came);
        self.others_suffice = self.others_suffice(now);
        for (id, mut chunks) in freed {
            for chunk in &chunks {
                remove_source(&mut self.in_flight, *chunk, id);
            }
            self.freed += 1;
            // Of what is half here the rest may still come, and taking it back would not stop it.
            if let Some(peer) = self.peers.get(&id) {
                chunks.retain(|c| peer.owed.contains_key(c));
            }
            chunks.sort_unstable();
            if !chunks.is_empty() {
                self.effects.push_back(Effect::Cancel(id, chunks));
            }
        }
    }

    /// Whether two other peers say of every chunk that they have it: one may lie, or leave.
    fn every_chunk_out(&self) -> bool {
        let seeds: Vec<&Peer> = self.peers.values().filter(|p| p.was_seed).collect();
        (0..self.have.len()).zip(&self.holders).all(|(chunk, holders)| {
            *holders >= 2 || usize::from(*holders) + seeds.iter().filter(|p| p.has.contains(chunk)).take(2).count() >= 2
        })
    }

    /// The chunk is not coming from that peer any more.
    fn no_longer_from(&mut self, id: PeerId, chunk: u32) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked.remove(&chunk);
        }
        remove_source(&mut self.in_flight, chunk, id);
        self.freed += 1;
    }
}

fn remove_source(in_flight: &mut HashMap<u32, Vec<PeerId>>, chunk: u32, id: PeerId) {
    if let Some(from) = in_flight.get_mut(&chunk) {
        from.retain(|f| *f != id);
        if from.is_empty() {
            in_flight.remove(&chunk);
        }
    }
}
