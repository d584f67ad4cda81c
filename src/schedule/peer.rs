//! What the scheduler knows of one peer.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{REQUESTED_MAX, RequestId, SMOOTHING, STALL, TICK, Time, passing::Passing};
use crate::manifest::ChunkSet;

/// Who owes us something may be silent for so many times as long as chunks take, and
const FLIGHTS: u32 = 8;
/// at first never for longer than this,
const STALL_MAX: Duration = Duration::from_secs(120);
/// or so many times as long as they take, where that is more: on slow lines with large chunks it is, and what waits in a queue is no stall.
const FLIGHTS_MIN: u32 = 3;

/// A chunk of ours that the peer will have soon, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coming {
    /// We suggested it and wait for the answer; its number among all suggestions, and since when.
    Suggested(u64, Time),
    /// It asked for it: it waits for our line, or is on it until the peer has it.
    Asked,
    /// It comes from somebody else.
    Elsewhere,
}

/// A chunk on the line to a peer: until the peer says that it has it, whatever the socket has taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnLine {
    pub(super) chunk: u32,
    /// The request that it answers.
    pub(super) request: RequestId,
    /// Its number among all chunks that went to our line.
    pub(super) number: u64,
    pub(super) since: Time,
    /// It counts among what our line carries; not when it waits for its receiver's.
    pub(super) counts: bool,
}

/// A chunk that the peer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) request: RequestId,
    /// We had suggested it.
    pub(super) suggested: bool,
}

/// One session's state; all of it is forgotten when the session ends.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it said it has.
    pub(super) has: ChunkSet,
    /// It had everything when it first spoke: it counts among the seeds and not among the holders.
    pub(super) came_complete: bool,

    /// When its session began.
    pub(super) since: Time,

    // What we take from it.
    /// Chunks we asked for and have not got, since when.
    pub(super) asked: HashMap<u32, Time>,
    /// Requests of each chunk that it has not answered yet, whether they were taken back or not.
    pub(super) owed: HashMap<u32, Vec<RequestId>>,
    /// Chunks whose bytes are coming.
    pub(super) receiving: HashSet<u32>,
    /// When a byte last came, or was first waited for.
    pub(super) last_byte: Time,
    /// How often it left us waiting since its last byte.
    pub(super) stalls: u32,
    /// Chunks that came from it in this session; one, if any did in an earlier one.
    pub(super) came: u32,
    /// Chunks that it refused, though nobody had taken them back.
    pub(super) refused: u32,
    /// When it last did.
    pub(super) refused_at: Option<Time>,
    /// Chunks that it had and then had no more.
    pub(super) lost: u32,
    /// What was asked of it first takes far longer than chunks take.
    pub(super) behind: bool,
    /// And that for so long that nobody waits for it any more.
    pub(super) hopeless: bool,
    /// Smoothed time from a request to its chunk; zero until known.
    pub(super) flight: Duration,
    bytes: u64,
    measured_bytes: u64,
    measured_at: Time,
    /// Smoothed bytes a second while something was on its way; 0 until known.
    rate: f64,

    /// It has suggested something to us.
    pub(super) suggests: bool,
    /// Chunks that came from it because we asked by ourselves.
    pub(super) pulled: u32,

    // What we give it.
    /// The last request it made.
    pub(super) last_request: RequestId,
    /// Chunks it asked for, and got no answer yet.
    pub(super) wanted: HashMap<u32, Wanted>,
    /// The same in its order; some may be answered by now.
    pub(super) wants: VecDeque<(u32, RequestId)>,
    /// Of them those that we had suggested.
    pub(super) solicited: u32,
    /// Chunks handed to its connection and not taken by its socket.
    pub(super) handed: Vec<u32>,
    /// Chunks on the line to it, and how many of them count.
    pub(super) on_line: Vec<OnLine>,
    pub(super) counting: u32,
    /// How many arrived.
    pub(super) took: u32,
    /// How many of the chunks that it asked for wait for our line, as they were last counted.
    pub(super) waiting: u32,
    /// Chunks of ours that it will have soon.
    pub(super) coming: HashMap<u32, Coming>,
    /// How many of them are suggestions without an answer.
    pub(super) suggested: u32,
    /// It has answered a suggestion.
    pub(super) answers: bool,
    /// It is looked whether it takes what it is given; people were told something of it.
    pub(super) watched: bool,
    pub(super) remarked: bool,
    /// How many of those have been overtaken by so many others that nobody is to wait for the answer.
    pub(super) unheard: u32,
    /// Chunks that we have announced and it has not.
    pub(super) lacking: u32,
    /// It takes nothing more for now, since when.
    pub(super) full: Option<Time>,
    /// Where the search for a chunk that it lacks goes on.
    pub(super) cursor: u32,
    /// It could be given something, had it not enough on its way.
    pub(super) lacks: bool,
    /// Its places in the queues of those that can be given something, that can be dealt to, and that wait for what they asked for.
    pub(super) in_ready: Option<(u32, u32, u64)>,
    pub(super) in_deal: Option<(u64, u64)>,
    pub(super) in_askers: Option<(u32, u64)>,
    /// When it was last given something, as a count.
    pub(super) served: u64,
    /// First copies that we gave it and nobody else has yet, and how it passes them on.
    pub(super) sole: u32,
    pub(super) passing: Passing,
}

impl Peer {
    pub(super) fn new(chunks: u32, now: Time) -> Self {
        Peer {
            has: ChunkSet::empty(chunks),
            came_complete: false,
            since: now,
            asked: HashMap::new(),
            owed: HashMap::new(),
            receiving: HashSet::new(),
            last_byte: now,
            stalls: 0,
            came: 0,
            refused: 0,
            refused_at: None,
            lost: 0,
            behind: false,
            hopeless: false,
            flight: Duration::ZERO,
            bytes: 0,
            measured_bytes: 0,
            measured_at: now,
            rate: 0.0,
            suggests: false,
            pulled: 0,
            last_request: 0,
            wanted: HashMap::new(),
            wants: VecDeque::new(),
            solicited: 0,
            handed: Vec::new(),
            on_line: Vec::new(),
            counting: 0,
            took: 0,
            waiting: 0,
            coming: HashMap::new(),
            suggested: 0,
            unheard: 0,
            answers: false,
            watched: false,
            remarked: false,
            lacking: 0,
            full: None,
            cursor: 0,
            lacks: false,
            in_ready: None,
            in_deal: None,
            in_askers: None,
            served: 0,
            sole: 0,
            passing: Passing::default(),
        }
    }

    pub(super) fn is_seed(&self) -> bool {
        self.has.is_full()
    }

    /// Chunks that it could be given and that are not on their way to it.
    pub(super) fn useful(&self) -> u32 {
        self.lacking.saturating_sub(self.coming.len() as u32)
    }

    /// Chunks that we gave it, or are about to: suggested, asked for, on the line.
    pub(super) fn queued(&self) -> u32 {
        self.suggested + self.wanted.len() as u32 + self.on_line.len() as u32
    }

    /// It has answered a chunk of a request; false if it did not owe that answer.
    pub(super) fn answered(&mut self, request: RequestId, chunk: u32) -> bool {
        let Some(open) = self.owed.get_mut(&chunk) else { return false };
        let Some(place) = open.iter().position(|r| *r == request) else { return false };
        open.swap_remove(place);
        if open.is_empty() {
            self.owed.remove(&chunk);
        }
        true
    }

    /// Keeps the queue of what it wants as short as what it wants.
    pub(super) fn forget_stale_wants(&mut self) {
        if self.wants.len() > 2 * REQUESTED_MAX {
            self.wants.retain(|(chunk, request)| self.wanted.get(chunk).is_some_and(|w| w.request == *request));
        }
    }

    /// Something on the line to it waits for its receiver.
    pub(super) fn is_stuck(&self) -> bool {
        self.counting < self.on_line.len() as u32
    }

    /// One suggestion less waits for its answer; how many of those that have waited for long it was.
    pub(super) fn was_answered(&mut self) -> u32 {
        self.suggested -= 1;
        let heard = u32::from(self.unheard > 0);
        self.unheard -= heard;
        heard
    }

    /// Takes a chunk off the line to it.
    pub(super) fn off_the_line(&mut self, chunk: u32) -> Option<OnLine> {
        // Most of what a peer says it has did not come from us.
        if self.on_line.is_empty() {
            return None;
        }
        let place = self.on_line.iter().position(|s| s.chunk == chunk)?;
        let was = self.on_line.swap_remove(place);
        self.counting -= u32::from(was.counts);
        Some(was)
    }

    /// It does not want the chunk any more; gives the request that is to be answered.
    pub(super) fn wants_no_more(&mut self, chunk: u32) -> Option<RequestId> {
        if self.wanted.is_empty() {
            return None;
        }
        let wanted = self.wanted.remove(&chunk)?;
        self.solicited -= u32::from(wanted.suggested);
        Some(wanted.request)
    }

    /// The chunk comes to it no more, as far as we know; what was known of it.
    pub(super) fn comes_no_more(&mut self, chunk: u32) -> Option<Coming> {
        if self.coming.is_empty() { None } else { self.coming.remove(&chunk) }
    }

    /// Takes in how many bytes have come so far.
    pub(super) fn progress(&mut self, now: Time, total: u64) {
        if total > self.bytes {
            self.bytes = total;
            self.last_byte = now;
            self.stalls = 0;
        }
    }

    /// Updates the rate; to be called at each tick at which something is on its way.
    pub(super) fn measure(&mut self, now: Time) {
        let since = now.saturating_sub(self.measured_at);
        if since < TICK / 2 {
            return;
        }
        let bytes = self.bytes - self.measured_bytes;
        (self.measured_at, self.measured_bytes) = (now, self.bytes);
        if since > TICK * 3 {
            // For some time nothing was on its way.
            return;
        }
        let sample = bytes as f64 / since.as_secs_f64();
        self.rate = if self.rate == 0.0 { sample } else { self.rate + SMOOTHING * (sample - self.rate) };
    }

    /// Bytes a second, as last measured.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Nobody knows whether what was asked of it comes.
    pub(super) fn is_doubted(&self) -> bool {
        self.came == 0 || self.behind || self.refused > self.came
    }

    /// It may be asked for what it did not suggest: who has just refused something would refuse it again.
    pub(super) fn may_be_asked(&self, now: Time) -> bool {
        let patience = if self.refused > self.came { STALL } else { STALL / 10 };
        self.refused_at.is_none_or(|at| now.saturating_sub(at) > patience)
    }

    /// It owes us something.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.asked.is_empty() || !self.receiving.is_empty()
    }

    /// It owes us something and no byte has come for long; where chunks take long, one waits for others before its first byte comes.
    /// `flight` is how long they take from anyone.
    pub(super) fn stalled(&self, now: Time, flight: Duration) -> bool {
        // Each time it is waited twice as long, so that it is not asked again and again for what it was about to send.
        let flight = self.flight.max(flight);
        let patience = (flight * FLIGHTS).clamp(STALL, STALL_MAX.max(flight * FLIGHTS_MIN)) * (1 << self.stalls.min(4));
        self.is_waited_for() && now.saturating_sub(self.last_byte) > patience
    }
}
