//! PURE: who sends which chunk to whom. Time comes in as an argument, randomness from a seed, facts as [`Input`]s;
//! decisions leave as [`Effect`]s. Never opens a socket, never looks at a byte of a chunk.
//!
//! How a chunk travels:
//!
//! 1. Whoever has a chunk and a free line *suggests* it to a peer that lacks it. The peer requests it, or declines: because it comes
//!    from elsewhere, or because as much is on its way already as its line takes. So a line is never idle while somebody lacks what
//!    its node has, no chunk comes twice, and no receiver is flooded.
//! 2. A seed deals first copies: chunks that nobody else has, in the file's order. Each peer gets of them in proportion to what its
//!    line carries, as it says, and no more than it passes on in [`give::SOLE_TIME`]: a copy counts as passed on when somebody else
//!    announces the chunk. So no chunk waits for a slow uplink.
//! 3. What a seed's line carries beyond that, and everyone else's line, goes to what is rarest, in turn to all who lack it.
//! 4. Few chunks are on a line at once (`slots.rs`), so that each arrives soon and is passed on soon.
//! 5. A node to which nobody suggests anything asks by itself. When nothing is left to be sent, a chunk that is late is asked for once
//!    more, elsewhere.
//!
//! Every suggestion is answered by a request or a decline. Every request has an id, and every chunk of it gets exactly one answer: the
//! chunk, or a refusal; what was taken back before it left is refused, too. So an answer that comes late is known as such, however
//! messages cross each other, and what is no answer is a fault.
//!
//! Invariants (asserted by the tests after every input): a chunk is either had, or in flight from at most two peers, or
//! wanted; nobody is asked for what they do not have; what was sent to us without being asked for is refused;
//! a chunk that was had is wanted again only if our disk lost it. No decision walks all chunks or all peers.

mod facts;
mod give;
mod haves;
mod peer;
mod rarity;
mod slots;
mod take;

pub mod sim;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::manifest::ChunkSet;
pub use facts::{Effect, Expect, Input};
use peer::Peer;
use rarity::Rarity;
use slots::Slots;

/// A peer's place in the scheduler: the number of its session.
pub type PeerId = u64;
/// Time since the node's start.
pub type Time = Duration;
/// Which request of a session; each is larger than the one before it.
pub type RequestId = u64;

/// How long a peer may be kept busy by what is asked of it at once where it suggests nothing.
const PULL_TIME: Duration = Duration::from_millis(250);
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
/// Chunks in one suggestion.
pub const SUGGESTED_MAX: u64 = 256;
/// Our pace is told when it has changed by so much, and so often at the most.
const PACE_NEWS: f64 = 0.1;
/// See [`PACE_NEWS`].
const PACE_INTERVAL: Duration = Duration::from_millis(300);
/// Chunks that one peer may have asked us for and not got.
pub const REQUESTED_MAX: usize = 4096;
/// A chunk that no more than so many others have is announced at once.
const RARE: u16 = 8;
/// Other chunks wait to be announced until there is one for so many peers, or until the next tick.
const TOLD_SHARE: usize = 32;
/// Where the count begins of what was given.
const SERVED_FIRST: u64 = 1 << 16;
/// Answers that a peer may owe us before it is asked for more.
const OWED_MAX: usize = 1024;

/// The node's side of a swarm.
#[derive(Debug)]
pub struct Scheduler {
    have: ChunkSet,
    chunk_size_bytes: u64,
    /// Chunks that may be in flight to us, at the most.
    window_chunks: u32,
    peers: BTreeMap<PeerId, Peer>,
    /// How many peers have every chunk, how many had when they came, how many lack some, and how many have any.
    seeds: usize,
    came_complete: usize,
    fetchers: usize,
    sources: usize,
    next_tick: Time,
    ticked: Time,
    effects: VecDeque<Effect>,
    rng: SmallRng,

    // What we take.
    /// Chunks on their way to us and from whom.
    in_flight: HashMap<u32, Vec<PeerId>>,
    /// What we lack, by how many peers that came with a part have it.
    missing: Rarity,
    /// Smoothed bytes a second from all peers together.
    intake: f64,
    /// When we last took what was suggested.
    fed_at: Time,
    next_request: RequestId,
    /// Chunks are still to come: false for a seed, and once everything was there.
    fetches: bool,

    // What we give.
    /// What we have and have announced, by how many peers that came with a part have it or will.
    mine: Rarity,
    /// Of that what nobody has, and where dealing begins: a lone seed deals in the file's order, so that what is verified grows from its
    /// beginning; several begin at different places and so seldom meet.
    fresh: BTreeSet<u32>,
    deal_from: u32,
    /// To whom the first copy of a chunk went, while nobody else has it.
    first_to: HashMap<u32, PeerId>,
    /// Peers that can be given something, those with little on its way first; that can be dealt to; that wait for what they asked for.
    ready: BTreeSet<(u32, u32, u64, PeerId)>,
    deal_to: BTreeSet<(u64, PeerId)>,
    askers: BTreeSet<(u64, PeerId)>,
    /// Entries of what comes to peers, and until when they are believed.
    believed: VecDeque<(Time, PeerId, u32)>,
    suggestions: u32,
    unheard: u32,
    /// Chunks that were asked for and wait for our line.
    waiting: u32,
    served: u64,
    shares_gone: u64,
    best_pace: f64,
    /// Chunks that the one has who has most of those that came with a part.
    most_had: u32,
    /// Bytes a second of all peers' lines that are known, and how many are not.
    pace_known: f64,
    pace_unknown: usize,
    /// Of all chunks, how many peers that came with a part have each or will.
    copies: u64,
    /// Smoothed time from a suggestion to its request.
    answered_in: Duration,
    slots: Slots,
    pace_told_at: Time,

    // What is told.
    announce: Vec<u32>,
    /// Chunks that were had and whose bytes the disk does not give any more.
    lost: ChunkSet,
    complete_told: bool,
    out_told: bool,
}

impl Scheduler {
    /// A node that has `have` of chunks of at most `chunk_size_bytes`; `window_bytes` may be in flight to it.
    pub fn new(have: ChunkSet, chunk_size_bytes: u64, window_bytes: u64, seed: u64) -> Self {
        let count = have.len();
        let complete = have.is_full();
        let mut scheduler = Scheduler {
            chunk_size_bytes: chunk_size_bytes.max(1),
            window_chunks: (window_bytes / chunk_size_bytes.max(1)).clamp(4, 256) as u32,
            peers: BTreeMap::new(),
            seeds: 0,
            came_complete: 0,
            fetchers: 0,
            sources: 0,
            next_tick: TICK,
            ticked: Time::ZERO,
            effects: VecDeque::new(),
            rng: SmallRng::seed_from_u64(seed),
            in_flight: HashMap::new(),
            missing: Rarity::new(count),
            intake: 0.0,
            fed_at: Time::ZERO,
            next_request: 1,
            fetches: !complete,
            mine: Rarity::new(count),
            fresh: BTreeSet::new(),
            deal_from: 0,
            first_to: HashMap::new(),
            ready: BTreeSet::new(),
            deal_to: BTreeSet::new(),
            askers: BTreeSet::new(),
            believed: VecDeque::new(),
            suggestions: 0,
            unheard: 0,
            waiting: 0,
            served: SERVED_FIRST,
            shares_gone: 0,
            best_pace: 0.0,
            most_had: 0,
            pace_known: 0.0,
            pace_unknown: 0,
            copies: 0,
            answered_in: Duration::ZERO,
            slots: Slots::new(chunk_size_bytes),
            pace_told_at: Time::ZERO,
            announce: Vec::new(),
            lost: ChunkSet::empty(count),
            complete_told: complete,
            out_told: false,
            have,
        };
        let mut chunks: Vec<u32> = (0..count).collect();
        chunks.shuffle(&mut scheduler.rng);
        for chunk in chunks {
            if scheduler.have.contains(chunk) {
                scheduler.announced(chunk);
            } else {
                scheduler.missing.insert(chunk, &mut scheduler.rng);
            }
        }
        scheduler
    }

    /// What this node has.
    pub fn have(&self) -> &ChunkSet {
        &self.have
    }

    /// How many connected peers have every chunk.
    pub fn seeds(&self) -> usize {
        self.seeds
    }

    /// Whether something was asked of the peer, or is coming from it.
    pub fn waits_for(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(Peer::is_waited_for)
    }

    /// The next decision, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn next_wakeup(&self) -> Time {
        self.next_tick
    }

    /// What to do with a chunk that the peer begins to send, as the answer to a request.
    pub fn offered(&mut self, now: Time, id: PeerId, chunk: u32, request: RequestId) -> Expect {
        let had = self.have.contains(chunk);
        let Some(peer) = self.peers.get_mut(&id) else { return Expect::Unasked };
        if chunk >= self.have.len() || !peer.answered(request, chunk) {
            return Expect::Unasked;
        }
        if had || !self.fetches || peer.receiving.contains(&chunk) {
            return Expect::HadAlready;
        }
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
            Input::Gone(id) => self.gone(now, id),
            Input::Haves(id, ranges) => self.peer_has(id, &ranges),
            Input::Suggested(id, ranges) => self.suggested(now, id, &ranges),
            Input::Declined { peer, ranges, full } => self.declined(now, peer, &ranges, full),
            Input::Paced(id, rate) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.pace = Some(rate as f64);
                    self.refresh(id);
                }
            }
            Input::Requested(id, request, ranges) => self.requested(now, id, request, &ranges),
            Input::Cancelled(id, ranges) => self.cancelled(now, id, &ranges),
            Input::Refused { peer, request, ranges, lost } => self.refused(peer, request, ranges, lost),
            Input::Sent(id, chunk) => self.line_free(now, id, chunk),
            Input::NotSent(id, chunk) => self.not_sent(now, id, chunk),
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
        self.pull(now, ticks);
        self.give(now);
    }

    fn connected(&mut self, now: Time, id: PeerId) {
        // What the others are still to be told is part of what this one is told now: nobody hears of a chunk twice.
        self.tell_haves();
        let mut peer = Peer::new(self.have.len(), now);
        peer.lacking = self.mine.at_least(0).len() as u32;
        // Not everyone gives to the same one first.
        peer.served = self.rng.random_range(0..SERVED_FIRST);
        // It begins where the others are: it does not make up for what was dealt before it came.
        peer.share = self.shares_gone;
        self.fetchers += 1;
        self.peers.insert(id, peer);
        if !self.have.is_empty() {
            self.effects.push_back(Effect::Tell(id, self.have.ranges()));
        }
        self.refresh_all();
    }

    fn gone(&mut self, now: Time, id: PeerId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        self.forget_places(id, &peer);
        self.seeds -= usize::from(peer.is_seed());
        self.fetchers -= usize::from(!peer.is_seed());
        self.sources -= usize::from(!peer.has.is_empty());
        self.came_complete -= usize::from(peer.came_complete);
        if !peer.came_complete {
            for chunk in peer.has.iter() {
                self.one_holder_less(chunk);
            }
        }
        let mut coming: Vec<u32> = peer.coming.drain().map(|(chunk, _)| chunk).collect();
        coming.sort_unstable();
        for chunk in coming {
            self.lower(chunk);
        }
        self.suggestions -= peer.suggested;
        self.unheard -= peer.unheard;
        self.waiting -= peer.waiting;
        self.slots.receivers(peer.takes_our_line(), false);
        for _ in &peer.sending {
            self.slots.end(now, 0);
        }
        for chunk in peer.asked.keys() {
            remove_source(&mut self.in_flight, *chunk, id);
        }
        self.first_to.retain(|_, to| *to != id);
        self.refresh_all();
    }

    fn refresh_all(&mut self) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.refresh(id);
        }
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
            if lost {
                self.has_lost(id, chunk);
            }
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if !peer.receiving.contains(&chunk) && !peer.owed.contains_key(&chunk) {
                self.no_longer_from(id, chunk);
            }
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
        self.missing.remove(chunk);
        // What was lost and has come again was announced before.
        if self.lost.remove(chunk) {
            self.announced(chunk);
        } else {
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
        // What is rare is told at once, so that it is passed on soon; in a large swarm the rest some together, since everyone has to be
        // told.
        let rare = self.missing.level(chunk) <= RARE;
        if rare || self.announce.len() > self.peers.len() / TOLD_SHARE || self.have.is_full() {
            self.tell_haves();
        }
        if self.have.is_full() && !self.complete_told {
            self.complete_told = true;
            self.fetches = false;
            self.effects.push_back(Effect::Complete);
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
        for (id, mut chunks) in freed {
            for chunk in &chunks {
                remove_source(&mut self.in_flight, *chunk, id);
            }
            // Of what is half here the rest may still come, and taking it back would not stop it.
            if let Some(peer) = self.peers.get(&id) {
                chunks.retain(|c| peer.owed.contains_key(c));
            }
            chunks.sort_unstable();
            if !chunks.is_empty() {
                self.effects.push_back(Effect::Cancel(id, chunks));
            }
        }
        self.slots.tick(now);
        let paces = || self.peers.values().filter(|p| !p.came_complete).map(|p| p.pace);
        self.most_had = self.peers.values().filter(|p| !p.came_complete).map(|p| p.has.count()).max().unwrap_or(0);
        self.best_pace = paces().flatten().fold(0.0, f64::max);
        self.pace_known = paces().flatten().sum();
        self.pace_unknown = paces().filter(Option::is_none).count();
        self.doubt(now);
        self.retry_full(now);
        self.leave_waiting(now);
        if self.complete_told {
            // How much each may be dealt follows from what was measured.
            self.refresh_all();
        }
        self.tell_pace(now);
    }

    /// Tells seeds how fast our line is: by that they deal.
    fn tell_pace(&mut self, now: Time) {
        let Some(rate) = self.slots.rate().filter(|_| now >= self.pace_told_at + PACE_INTERVAL && self.seeds > 0)
        else {
            return;
        };
        self.pace_told_at = now;
        for (id, peer) in self.peers.iter_mut().filter(|(_, p)| p.is_seed()) {
            if (peer.pace_told - rate).abs() > rate * PACE_NEWS {
                peer.pace_told = rate;
                self.effects.push_back(Effect::Pace(*id, rate as u64));
            }
        }
    }

    /// The chunk is not coming from that peer any more.
    fn no_longer_from(&mut self, id: PeerId, chunk: u32) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked.remove(&chunk);
        }
        remove_source(&mut self.in_flight, chunk, id);
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
