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
//! Invariants (asserted by the tests after every input): a chunk is either had, or in flight from at most two peers, or
//! wanted; nobody is asked for what they do not have; what was sent to us without being asked for or credited is refused;
//! a chunk that was had is never wanted again.

mod chunk_set;
mod peer;
mod pull;
#[cfg(test)]
mod sim;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};

pub use chunk_set::{ChunkSet, ranges};
use peer::Peer;

/// A peer's place in the scheduler: the number of its session.
pub type PeerId = u64;
/// Time since the node's start.
pub type Time = Duration;

/// How long a peer may be kept busy by what is asked of it at once.
pub const PIPELINE_TIME: Duration = Duration::from_millis(250);
/// How long a seed with our credit may be silent, at the least, before we ask it for chunks by name.
pub const SEED_SILENCE: Duration = Duration::from_millis(300);
/// A peer that sends no byte of what it owes for this long loses what was asked of it.
pub const STALL: Duration = Duration::from_secs(10);
/// After so many stalls without a byte the connection is taken for dead: a new one may do better.
const STALLS_MAX: u32 = 3;
/// How often rates are measured and stalls looked for.
const TICK: Duration = Duration::from_millis(100);
/// What a new measurement counts for against the old ones.
const SMOOTHING: f64 = 0.3;
/// Chunks handed to a peer's line at once: one on the wire, one ready.
const SENDING_MAX: usize = 2;
/// Chunks that one peer may have asked us for and not got.
const REQUESTED_MAX: usize = 4096;

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
    Requested(PeerId, Vec<Range<u32>>),
    /// The peer no longer wants chunks.
    Cancelled(PeerId, Vec<Range<u32>>),
    /// The peer will not send what was asked.
    Refused(PeerId, Vec<Range<u32>>),
    /// A chunk to the peer has left.
    Sent(PeerId, u32),
    /// So many bytes have come from the peer since its session began.
    Progress(PeerId, u64),
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
    Request(PeerId, Vec<u32>),
    /// Take requests back.
    Cancel(PeerId, Vec<u32>),
    /// Allow the peer that many more chunks of its choice.
    Grant(PeerId, u32),
    /// Tell one peer what we have.
    Tell(PeerId, Vec<Range<u32>>),
    /// Tell everyone what we now have as well.
    Announce(Vec<Range<u32>>),
    /// Send the peer a chunk; credited or asked for.
    Send {
        /// To whom.
        peer: PeerId,
        /// Which.
        chunk: u32,
        /// Whether it spends the peer's credit.
        credited: bool,
    },
    /// The peer broke the protocol or is dead: end its session.
    Drop(PeerId, &'static str),
    /// We have every chunk.
    Complete,
    /// Every chunk is held by some other peer: a seed may leave.
    EveryChunkOut,
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
        Scheduler {
            complete_told: have.is_full(),
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
            effects: VecDeque::new(),
            deal_from: if count == 0 { 0 } else { deal_from % count },
            deal_cursor: 0,
            rng: SmallRng::seed_from_u64(seed),
            next_tick: TICK,
            out_told: false,
        }
    }

    /// What this node has.
    pub fn have(&self) -> &ChunkSet {
        &self.have
    }

    /// How many connected peers have every chunk.
    pub fn seeds(&self) -> usize {
        self.peers.values().filter(|p| p.is_seed()).count()
    }

    /// The next decision, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn next_wakeup(&self) -> Time {
        self.next_tick
    }

    /// What to do with a chunk that the peer begins to send. Counts the credit it spends.
    pub fn offered(&mut self, now: Time, id: PeerId, chunk: u32, credited: bool) -> Expect {
        let had = self.have.contains(chunk);
        let Some(peer) = self.peers.get_mut(&id) else { return Expect::Unasked };
        if chunk >= self.have.len() {
            return Expect::Unasked;
        }
        if credited {
            if peer.credit_given == 0 {
                return Expect::Unasked;
            }
            peer.credit_given -= 1;
            peer.dealt_to_us(now);
            if peer.asked.contains_key(&chunk) {
                // Dealt before our request came there: it may come once more.
                peer.cancelled.insert(chunk);
            }
        } else if !peer.asked.contains_key(&chunk) {
            // A cancelled request may already have been on its way.
            return if peer.cancelled.remove(&chunk) { Expect::HadAlready } else { Expect::Unasked };
        } else {
            peer.by_name = peer.by_name.saturating_add(1);
        }
        if had {
            return Expect::HadAlready;
        }
        self.began.get_or_insert(now);
        let from = self.in_flight.entry(chunk).or_default();
        if !from.contains(&id) {
            from.push(id);
        }
        peer.asked.entry(chunk).or_insert(now);
        Expect::Wanted
    }

    /// Takes in what happened and decides.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Connected(id) => self.connected(now, id),
            Input::Gone(id) => self.gone(id),
            Input::Haves(id, ranges) => self.peer_has(now, id, &ranges),
            Input::Credited(id, n) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.credit_got = peer.credit_got.saturating_add(n).min(REQUESTED_MAX as u32);
                }
            }
            Input::Requested(id, ranges) => self.requested(id, &ranges),
            Input::Cancelled(id, ranges) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.wants.retain(|c| !ranges.iter().any(|r| r.contains(c)));
                }
            }
            Input::Refused(id, ranges) => {
                for chunk in ranges.into_iter().flatten().take(REQUESTED_MAX) {
                    self.no_longer_from(id, chunk);
                    if let Some(peer) = self.peers.get_mut(&id) {
                        // It said it had it; do not ask again.
                        if peer.has.remove(chunk) && !peer.was_seed {
                            self.holders[chunk as usize] = self.holders[chunk as usize].saturating_sub(1);
                        }
                    }
                }
            }
            Input::Sent(id, chunk) => {
                self.line_free(id, chunk);
            }
            Input::Progress(id, total) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.progress(now, total);
                }
            }
            Input::Stored(id, chunk) => self.stored(id, chunk),
            Input::Duplicate(id, chunk) => {
                self.no_longer_from(id, chunk);
            }
            Input::Tick => {
                self.next_tick = now + TICK;
                self.tick(now);
            }
        }
        self.ask(now);
        self.deal();
    }

    fn connected(&mut self, now: Time, id: PeerId) {
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
        for range in ranges {
            for chunk in range.start..range.end.min(count) {
                peer.dealt.remove(&chunk);
                if peer.has.insert(chunk) && !peer.was_seed {
                    self.holders[chunk as usize] += 1;
                }
            }
        }
        if peer.is_seed() && !peer.was_seed {
            // Seeds are counted apart: what everyone has says nothing of rarity.
            peer.was_seed = true;
            peer.came_complete = first_words;
            peer.last_dealt = now;
            for n in &mut self.holders {
                *n = n.saturating_sub(1);
            }
        }
    }

    fn requested(&mut self, id: PeerId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut refused = false;
        for chunk in ranges.iter().cloned().flatten() {
            if peer.wants.len() >= REQUESTED_MAX {
                self.effects.push_back(Effect::Drop(id, "it asks for more chunks at once than the protocol allows"));
                return;
            }
            // Nobody knows a chunk we did not announce, so asking for one is a fault of the peer.
            if !self.have.contains(chunk) {
                refused = true;
            } else if !peer.wants.contains(&chunk)
                && !peer.dealt.contains(&chunk)
                && !peer.sending.iter().any(|(c, _)| *c == chunk)
            {
                peer.wants.push_back(chunk);
            }
        }
        if refused {
            self.effects.push_back(Effect::Drop(id, "it asks for chunks that were not announced"));
        }
    }

    fn stored(&mut self, id: PeerId, chunk: u32) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked.remove(&chunk);
        }
        let sources = self.in_flight.remove(&chunk).unwrap_or_default();
        if !self.have.insert(chunk) {
            return;
        }
        self.announce.push(chunk);
        for other in sources.into_iter().filter(|s| *s != id) {
            if let Some(peer) = self.peers.get_mut(&other)
                && peer.asked.remove(&chunk).is_some()
            {
                peer.cancelled.insert(chunk);
                self.effects.push_back(Effect::Cancel(other, vec![chunk]));
            }
        }
        if self.have.is_full() && !self.complete_told {
            self.complete_told = true;
            self.tell_haves();
            self.effects.push_back(Effect::Complete);
        }
    }

    fn tell_haves(&mut self) {
        if !self.announce.is_empty() {
            let mut chunks = std::mem::take(&mut self.announce);
            chunks.sort_unstable();
            self.effects.push_back(Effect::Announce(ranges(chunks)));
        }
    }

    fn tick(&mut self, now: Time) {
        self.tell_haves();
        if self.have.is_full() && !self.out_told && !self.peers.is_empty() {
            let all_out = self.peers.values().any(Peer::is_seed) || self.holders.iter().all(|n| *n > 0);
            if all_out {
                self.out_told = true;
                self.effects.push_back(Effect::EveryChunkOut);
            }
        }
        let mut freed = Vec::new();
        let mut came = 0;
        for (id, peer) in &mut self.peers {
            came += peer.measure(now);
            if peer.stalled(now) {
                for chunk in std::mem::take(&mut peer.asked).into_keys() {
                    peer.cancelled.insert(chunk);
                    freed.push((*id, chunk));
                }
                peer.stalls += 1;
                peer.last_byte = now;
                if peer.stalls >= STALLS_MAX {
                    self.effects.push_back(Effect::Drop(*id, "it has sent nothing for half a minute"));
                }
            }
        }
        self.take_in(now, came);
        self.others_suffice = self.others_suffice(now);
        let mut cancels: BTreeMap<PeerId, Vec<u32>> = BTreeMap::new();
        for (id, chunk) in freed {
            remove_source(&mut self.in_flight, chunk, id);
            cancels.entry(id).or_default().push(chunk);
        }
        self.effects.extend(cancels.into_iter().map(|(id, mut chunks)| {
            chunks.sort_unstable();
            Effect::Cancel(id, chunks)
        }));
    }

    /// The chunk is not coming from that peer any more.
    fn no_longer_from(&mut self, id: PeerId, chunk: u32) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked.remove(&chunk);
        }
        remove_source(&mut self.in_flight, chunk, id);
    }

    fn line_free(&mut self, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(place) = peer.sending.iter().position(|(c, _)| *c == chunk) else { return };
        let (_, credited) = peer.sending.swap_remove(place);
        if credited {
            // Until the receiver says that it has it, it counts as on its way.
            peer.dealt.insert(chunk);
        }
        self.not_sending(chunk);
    }

    fn not_sending(&mut self, chunk: u32) {
        if let Some(n) = self.sending.get_mut(&chunk) {
            *n -= 1;
            if *n == 0 {
                self.sending.remove(&chunk);
            }
        }
    }

    /// Fills free lines: what was asked for first, then, as a seed, what nobody has.
    fn deal(&mut self) {
        // Whoever was given least recently comes first, so that one peer cannot take all the dealing.
        let mut ids: Vec<PeerId> = self.peers.keys().copied().collect();
        ids.sort_by_key(|id| self.peers[id].sending.len());
        let mut progress = true;
        while progress {
            progress = false;
            for id in &ids {
                let Some(peer) = self.peers.get_mut(id) else { continue };
                if peer.sending.len() >= SENDING_MAX {
                    continue;
                }
                let (chunk, credited) = if let Some(chunk) = peer.wants.pop_front() {
                    (chunk, false)
                } else if peer.credit_got > 0 && !peer.is_seed() && self.have.is_full() {
                    match self.next_to_deal(*id) {
                        Some(chunk) => (chunk, true),
                        None => continue,
                    }
                } else {
                    continue;
                };
                let Some(peer) = self.peers.get_mut(id) else { continue };
                if credited {
                    peer.credit_got -= 1;
                }
                peer.sending.push((chunk, credited));
                *self.sending.entry(chunk).or_default() += 1;
                self.effects.push_back(Effect::Send { peer: *id, chunk, credited });
                progress = true;
            }
        }
    }

    /// The first chunk, from our place in the file on, that no other peer has or is being sent.
    fn next_to_deal(&mut self, to: PeerId) -> Option<u32> {
        if self.peers.values().any(Peer::is_seed) {
            // Several seeds dealing blindly would deal the same chunks; then peers ask by name.
            return None;
        }
        let count = self.have.len();
        let target = self.peers.get(&to)?;
        let mut cursor_open = true;
        for step in self.deal_cursor..count {
            let chunk = (self.deal_from + step) % count;
            let out = self.holders[chunk as usize] > 0
                || self.sending.contains_key(&chunk)
                || self.peers.values().any(|p| p.dealt.contains(&chunk));
            if out {
                // Everything before the cursor is out for good, until a peer leaves.
                if cursor_open {
                    self.deal_cursor = step + 1;
                }
                continue;
            }
            cursor_open = false;
            if !target.has.contains(chunk) {
                return Some(chunk);
            }
        }
        None
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
