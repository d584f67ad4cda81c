//! PURE: who sends which chunk to whom. Time comes in as an argument, randomness from a seed, facts as [`Input`]s;
//! decisions leave as [`Effect`]s. Never opens a socket, never looks at a byte of a chunk.
//!
//! How a chunk travels:
//!
//! 1. Whoever has a chunk and a free line *suggests* it to a peer that lacks it. The peer requests it, or declines: because it comes
//!    from elsewhere, or because as much is on its way already as its line takes. So a line is never idle while somebody lacks what
//!    its node has, no chunk comes twice, and no receiver is flooded.
//! 2. A line is clocked by what arrives over it, as receivers say at once (`give.rs`). How many chunks are on it at a time is found by
//!    trial (`width.rs`), and who is not to be waited for by who has overtaken it (`overtaken.rs`): counts, and no seconds.
//! 3. A seed deals first copies: chunks that nobody else has, in the file's order, to whom would soonest have passed them on (`deal.rs`).
//!    A copy counts as passed on when somebody else announces the chunk. So no chunk waits for a slow uplink.
//! 4. What a seed's line carries beyond that goes to what has waited longest to be passed on, and everyone else's line to what is
//!    rarest, in turn to all who lack it.
//! 5. What does not come from where it was to come from is asked for elsewhere. A node to which nobody suggests anything asks by itself.
//!    When nothing is left to be asked for, what waits at slow peers is asked of those who have nothing to do (`relief.rs`), and a chunk that
//!    is late once more, elsewhere.
//!
//! Every suggestion is answered by a request or a decline. Every request has an id, and every chunk of it gets exactly one answer: the
//! chunk, or a refusal; what was taken back before it left is refused, too. So an answer that comes late is known as such, however
//! messages cross each other, and what is no answer is a fault.
//!
//! Invariants (asserted by the tests after every input): a chunk is either had, or in flight from at most two peers, or
//! wanted; nobody is asked for what they do not have; what was sent to us without being asked for is refused;
//! a chunk that was had is wanted again only if our disk lost it. No decision walks all chunks or all peers.

mod answer;
mod deal;
mod facts;
mod give;
mod haves;
mod overtaken;
mod passing;
mod peer;
mod rarity;
mod relief;
mod remark;
mod take;
mod view;
mod width;

pub mod sim;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::manifest::ChunkSet;
use deal::First;
pub use facts::{Effect, Expect, Input};
use overtaken::Overtaken;
use peer::Peer;
use rarity::Rarity;
pub use view::{Cell, Parts, PeerSpread, Spread, cells, ninths};
use width::Width;

/// A peer's place in the scheduler: the number of its session.
pub type PeerId = u64;
/// Time since the node's start.
pub type Time = Duration;
/// Which request of a session; each is larger than the one before it.
pub type RequestId = u64;

/// A peer that sends no byte of what it owes for this long loses what was asked of it.
pub const STALL: Duration = Duration::from_secs(10);
/// After so many stalls without a byte the connection is taken for dead: a new one may do better.
const STALLS_MAX: u32 = 5;
/// How often rates are measured and stalls looked for.
const TICK: Duration = Duration::from_millis(100);
/// What a new measurement counts for against the old ones.
const SMOOTHING: f64 = 0.3;
/// Chunks handed to a peer's line at once: one on the wire, one ready.
const SENDING_MAX: usize = 2;
/// Chunks in one suggestion.
pub const SUGGESTED_MAX: u64 = 256;
/// Chunks that one peer may have asked us for and not got.
pub const REQUESTED_MAX: usize = 4096;
/// A chunk that no more than so many others have is announced at once.
const RARE: u16 = 8;
/// Other chunks wait to be announced until there is one for so many peers, or until the next tick.
const TOLD_SHARE: usize = 32;
/// The tick is each at which so many peers are here, every second one with twice as many, and so on: everyone has to be told.
const TOLD_PEERS: usize = 64;
/// Where the count begins of what was given.
const SERVED_FIRST: u64 = 1 << 16;
/// Chunks on our line at once, at the least: one arrives, one is ready; and at the most.
const WIDTH: (u32, u32) = (4, 256);
/// Before it is known how long it takes: nothing is answered, or arrives, for so long, and others are tried.
const UNANSWERED: Duration = Duration::from_millis(150);
/// See [`UNANSWERED`].
const UNSEEN: Duration = Duration::from_secs(2);
/// Chunks in flight to us at once, at first: some from each of several lines, over ways on which each takes long.
const INTAKE_FIRST: u32 = 64;
/// Answers that a peer may owe us before it is asked for more.
const OWED_MAX: usize = 1024;

/// The node's side of a swarm.
#[derive(Debug)]
pub struct Scheduler {
    have: ChunkSet,
    peers: BTreeMap<PeerId, Peer>,
    /// How many peers have every chunk, how many had when they came, how many lack some, and how many have any.
    seeds: usize,
    came_complete: usize,
    fetchers: usize,
    sources: usize,
    now: Time,
    next_tick: Time,
    effects: VecDeque<Effect>,
    rng: SmallRng,

    // What we take.
    /// Chunks on their way to us and from whom.
    in_flight: HashMap<u32, Vec<PeerId>>,
    /// What we lack, by how many peers that came with a part have it.
    missing: Rarity,
    /// How many may be in flight at once.
    intake: Width,
    /// Smoothed time from a request to its chunk.
    flight: Duration,
    /// How many of the chunks in flight are asked of those of whom nothing is known to come, about: counted anew at each tick.
    doubted: usize,
    /// Who has sent nothing of what it owes for long, though part of it may be here.
    silent: BTreeSet<PeerId>,
    /// Who took nothing of what we gave or suggested, since when, as far as nothing was said of it.
    watched: VecDeque<(Time, PeerId)>,
    /// How often somebody sent wrong bytes.
    wrong: u32,
    /// Chunks that were asked for elsewhere because they were late.
    late_asked: u32,
    /// Chunks that were taken back from where they waited, to come from elsewhere.
    relieved: ChunkSet,
    /// When something was last suggested to us or came, and the longest time between two of these.
    fed_at: Time,
    longest_unfed: Duration,
    /// Some peers are asked by ourselves.
    pulls: bool,
    /// Chunks that will not come from where they were to come from.
    orphans: VecDeque<u32>,
    /// Chunks that we lack, and who was told that they come from elsewhere.
    declined: HashMap<u32, Vec<PeerId>>,
    next_request: RequestId,
    /// Chunks are still to come: false for a seed, and once everything was there.
    fetches: bool,
    /// Nothing is wanted: it is only seen what the others have.
    watches: bool,

    // What we give.
    /// What we have and have announced, by how many peers that came with a part have it or will.
    mine: Rarity,
    /// Of that what nobody has, and where dealing begins: a lone seed deals in the file's order, so that what is verified grows from its
    /// beginning; several begin at different places and so seldom meet.
    fresh: BTreeSet<u32>,
    deal_from: u32,
    /// To whom the first copy of a chunk went as the how-manieth, while nobody else has it, and the same in that order.
    first_to: HashMap<u32, First>,
    soles: BTreeSet<(u64, u32)>,
    dealt: u64,
    /// Copies a second that all peers pass on together, and the one that passes on most; 0 until known.
    passing: f64,
    passing_best: f64,
    /// Peers that can be given something, those with little on its way first; that can be dealt to; that wait for what they asked for.
    ready: BTreeSet<(u32, u32, u64, PeerId)>,
    deal_to: BTreeSet<(u64, u64, PeerId)>,
    askers: BTreeSet<(u32, u64, PeerId)>,
    /// Peers that took nothing more, and since when.
    full: VecDeque<(Time, PeerId)>,
    /// How many could be given something, had they not enough on their way.
    takers: usize,
    /// Suggestions without an answer, and those of them that nobody waits for.
    suggestions: u32,
    unheard: u32,
    asks: Overtaken,
    /// The part of them that is answered with a request.
    accepted: f64,
    /// Suggested chunks that were asked for and wait for our line.
    waiting: u32,
    /// How many are on our line at once, and which.
    width: Width,
    refreshed_for: u32,
    line: Overtaken,
    served: u64,

    // What is told.
    announce: Vec<u32>,
    /// The first tick from then on tells everyone.
    tell_at: Time,
    /// Who was told of some of these already.
    told_early: HashMap<PeerId, Vec<u32>>,
    /// Chunks that were had and whose bytes the disk does not give any more, until they have come again.
    lost: ChunkSet,
    complete_told: bool,
    out_told: bool,
}

impl Scheduler {
    /// A node that has `have` of chunks of at most `chunk_size_bytes`; `window_bytes` may be in flight to it.
    pub fn new(have: ChunkSet, chunk_size_bytes: u64, window_bytes: u64, seed: u64) -> Self {
        let count = have.len();
        let complete = have.is_full();
        // However large chunks are, some lines at once are needed to fill one.
        let window_chunks = (window_bytes / chunk_size_bytes.max(1)).clamp(16, 256) as u32;
        let mut scheduler = Scheduler {
            peers: BTreeMap::new(),
            seeds: 0,
            came_complete: 0,
            fetchers: 0,
            sources: 0,
            now: Time::ZERO,
            next_tick: TICK,
            effects: VecDeque::new(),
            rng: SmallRng::seed_from_u64(seed),
            in_flight: HashMap::new(),
            missing: Rarity::new(count),
            intake: Width::new(INTAKE_FIRST.min(window_chunks), window_chunks),
            flight: Duration::ZERO,
            doubted: 0,
            silent: BTreeSet::new(),
            watched: VecDeque::new(),
            wrong: 0,
            late_asked: 0,
            relieved: ChunkSet::empty(count),
            fed_at: Time::ZERO,
            longest_unfed: Duration::ZERO,
            pulls: false,
            orphans: VecDeque::new(),
            declined: HashMap::new(),
            next_request: 1,
            fetches: !complete,
            watches: false,
            mine: Rarity::new(count),
            fresh: BTreeSet::new(),
            deal_from: 0,
            first_to: HashMap::new(),
            soles: BTreeSet::new(),
            dealt: 0,
            passing: 0.0,
            passing_best: 0.0,
            ready: BTreeSet::new(),
            deal_to: BTreeSet::new(),
            askers: BTreeSet::new(),
            full: VecDeque::new(),
            takers: 0,
            suggestions: 0,
            unheard: 0,
            asks: Overtaken::new(UNANSWERED),
            accepted: 1.0,
            waiting: 0,
            width: Width::new(WIDTH.0, WIDTH.1),
            refreshed_for: WIDTH.0,
            line: Overtaken::new(UNSEEN),
            served: SERVED_FIRST,
            announce: Vec::new(),
            tell_at: Time::ZERO,
            told_early: HashMap::new(),
            lost: ChunkSet::empty(count),
            complete_told: complete,
            out_told: false,
            have,
        };
        let mut chunks: Vec<u32> = (0..count).collect();
        chunks.shuffle(&mut scheduler.rng);
        for chunk in chunks {
            if scheduler.have.contains(chunk) {
                scheduler.announced(&[chunk]);
            } else {
                scheduler.missing.insert(chunk, &mut scheduler.rng);
            }
        }
        scheduler
    }

    /// A node that has none of `count` chunks and wants none: it only sees what the others have.
    pub fn watching(count: u32, chunk_size_bytes: u64, seed: u64) -> Self {
        let new = Self::new(ChunkSet::empty(count), chunk_size_bytes, 0, seed);
        Scheduler { fetches: false, watches: true, complete_told: true, ..new }
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
        if from.is_empty() {
            self.intake.begin(now);
        }
        if !from.contains(&id) {
            from.push(id);
        }
        Expect::Wanted
    }

    /// Takes in what happened and decides.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        let ticks = matches!(input, Input::Tick);
        match input {
            Input::Connected(id) => self.connected(now, id),
            Input::Gone(id) => self.gone(now, id),
            Input::SentBefore(id) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.came = peer.came.max(1);
                }
            }
            Input::Haves(id, ranges) => self.peer_has(now, id, &ranges),
            Input::Suggested(id, ranges) => self.suggested(now, id, &ranges),
            Input::Declined { peer, ranges, full } => self.declined(now, peer, &ranges, full),
            Input::Requested(id, request, ranges) => self.requested(now, id, request, &ranges),
            Input::Cancelled(id, ranges) => self.cancelled(now, id, &ranges),
            Input::Refused { peer, request, ranges } => self.refused(now, peer, request, ranges),
            Input::HasLost(id, ranges) => self.has_lost(now, id, &ranges),
            Input::Sent(id, chunk) => self.line_free(id, chunk),
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
            Input::Stored(id, chunk) => self.stored(now, id, chunk),
            Input::Duplicate(id, chunk) => {
                // Where another stream of the same peer brings it, that one goes on.
                if self.peers.get(&id).is_some_and(|p| !p.receiving.contains(&chunk)) {
                    self.no_longer_from(now, id, chunk);
                }
            }
            Input::Wrong => self.wrong += 1,
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
        self.fetchers += 1;
        self.peers.insert(id, peer);
        if !self.have.is_empty() {
            self.effects.push_back(Effect::Tell(id, self.have.ranges()));
        }
        // Where chunks take long it is long before anything is suggested to everyone. Whoever knows that it will be does not ask in its turn
        // of whoever suggests to others, and takes the line from first copies by that.
        if !self.watches {
            self.effects.push_back(Effect::Suggest(id, Vec::new()));
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
        for _ in 0..peer.counting {
            self.width.leave(now);
        }
        let mut asked: Vec<u32> = peer.asked.into_keys().collect();
        asked.sort_unstable();
        for chunk in asked {
            if self.is_free_of(now, id, chunk) {
                // Where nobody who is here was told that it comes from there, others suggest it in their turn.
                let told = self.declined.get(&chunk);
                if told.is_some_and(|told| told.iter().any(|other| self.peers.contains_key(other))) {
                    self.orphans.push_back(chunk);
                }
            }
        }
        self.forget_first_copies(id);
        self.watched.retain(|(_, watched)| *watched != id);
        self.told_early.remove(&id);
        self.refresh_all();
    }

    fn refresh_all(&mut self) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.refresh(id);
        }
    }

    /// The peer will not send what was asked of it.
    fn refused(&mut self, now: Time, id: PeerId, request: RequestId, ranges: Vec<Range<u32>>) {
        for chunk in ranges.into_iter().flatten() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            // So a list may be as long as what was asked, and not longer.
            if !peer.answered(request, chunk) {
                self.effects.push_back(Effect::Drop(id, "it refuses what was not asked of it"));
                return;
            }
            if !peer.receiving.contains(&chunk) && !peer.owed.contains_key(&chunk) {
                if peer.asked.contains_key(&chunk) {
                    peer.refused += 1;
                    peer.refused_at = Some(now);
                }
                self.no_longer_from(now, id, chunk);
                self.remark_refusals(id);
            }
        }
    }

    fn stored(&mut self, now: Time, id: PeerId, chunk: u32) {
        let came = self.in_flight.remove(&chunk);
        if came.is_some() {
            self.intake.arrive(now, true);
        }
        self.fed(now);
        let mut sources = came.unwrap_or_default();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.receiving.remove(&chunk);
            peer.came += 1;
            peer.pulled += u32::from(!peer.suggests);
            self.pulls |= !peer.suggests;
            if let Some(since) = peer.asked.get(&chunk) {
                let took = now.saturating_sub(*since);
                // One that came late says little of the others.
                let smoothed = |old: Duration| if old.is_zero() { took } else { (old * 7 + took.min(old * 2)) / 8 };
                (self.flight, peer.flight) = (smoothed(self.flight), smoothed(peer.flight));
            }
            sources.push(id);
        }
        self.declined.remove(&chunk);
        if !self.have.insert(chunk) {
            return;
        }
        self.missing.remove(chunk);
        self.lost.remove(chunk);
        if self.announce.is_empty() {
            self.tell_at = now + TICK * (self.peers.len() / TOLD_PEERS) as u32;
        }
        self.announce.push(chunk);
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
        } else {
            self.tell_source(id, chunk);
        }
        if self.have.is_full() && !self.complete_told {
            self.complete_told = true;
            self.fetches = false;
            self.effects.push_back(Effect::Complete);
        }
    }

    fn tick(&mut self, now: Time) {
        if now >= self.tell_at {
            self.tell_haves();
        }
        let out = self.complete_told && self.every_chunk_out();
        if out != self.out_told {
            self.out_told = out;
            self.effects.push_back(Effect::EveryChunkOut(out));
        }
        let mut freed: Vec<(PeerId, Vec<u32>)> = Vec::new();
        // Only those of whom something is on its way, and each once.
        let mut waited: BTreeSet<PeerId> = self.in_flight.values().flatten().copied().collect();
        self.silent.retain(|id| self.peers.get(id).is_some_and(Peer::is_waited_for));
        waited.extend(&self.silent);
        freed.extend(self.doubt(now, &waited));
        self.remark(now, &waited);
        for id in waited {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.measure(now);
            if peer.stalled(now, self.flight) {
                freed.push((id, std::mem::take(&mut peer.asked).into_keys().collect()));
                peer.stalls += 1;
                peer.last_byte = now;
                self.silent.insert(id);
                if peer.stalls >= STALLS_MAX {
                    self.effects.push_back(Effect::GiveUp(id, "it has sent nothing for long"));
                }
            }
        }
        for (id, mut chunks) in freed {
            chunks.sort_unstable();
            for chunk in &chunks {
                self.no_longer_from(now, id, *chunk);
            }
            // Of what is half here the rest may still come, and taking it back would not stop it.
            if let Some(peer) = self.peers.get(&id) {
                chunks.retain(|c| peer.owed.contains_key(c));
            }
            if !chunks.is_empty() {
                self.effects.push_back(Effect::Cancel(id, chunks));
            }
        }
        self.retry_full(now);
        if self.complete_told {
            self.measure_passing(now);
        }
        if self.width.limit() != self.refreshed_for || self.complete_told {
            // How many each may have on its way has changed, or how many first copies each may hold.
            self.refreshed_for = self.width.limit();
            self.refresh_all();
        }
    }

    /// The chunk is not coming from that peer any more: it is asked for elsewhere.
    fn no_longer_from(&mut self, now: Time, id: PeerId, chunk: u32) {
        self.told_elsewhere(id, chunk);
        if self.is_free_of(now, id, chunk) {
            self.orphans.push_back(chunk);
        }
    }

    /// The chunk is not coming from that peer any more; whether it comes from nobody and is lacking.
    fn is_free_of(&mut self, now: Time, id: PeerId, chunk: u32) -> bool {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked.remove(&chunk);
        }
        let Some(from) = self.in_flight.get_mut(&chunk) else { return false };
        from.retain(|f| *f != id);
        if !from.is_empty() {
            return false;
        }
        self.in_flight.remove(&chunk);
        self.intake.leave(now);
        !self.have.contains(chunk)
    }
}
