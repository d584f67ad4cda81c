//! What the scheduler knows of one peer.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{PULL_TIME, REQUESTED_MAX, RequestId, SMOOTHING, STALL, Time};
use crate::manifest::ChunkSet;

/// Chunks asked of a peer whose rate is not known yet.
const FIRST_DEPTH: u32 = 4;

/// A chunk of ours that the peer will have soon, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coming {
    /// We suggested it and wait for the answer, since when.
    Suggested(Time),
    /// It asked for it: it waits for our line, or is on it.
    Asked,
    /// It has left, and the peer has not announced it yet.
    Sent(Time),
    /// It comes from somebody else.
    Elsewhere(Time),
}

/// A chunk on the line to a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub(super) chunk: u32,
    /// The request that it answers.
    pub(super) request: RequestId,
    pub(super) since: Time,
}

/// One session's state; all of it is forgotten when the session ends.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it said it has.
    pub(super) has: ChunkSet,
    /// It had everything when it first spoke: it counts among the seeds and not among the holders.
    pub(super) came_complete: bool,

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
    bytes: u64,
    measured_bytes: u64,
    measured_at: Time,
    /// Smoothed bytes a second while something was on its way; 0 until known.
    rate: f64,

    // What we give it.
    /// The last request it made.
    pub(super) last_request: RequestId,
    /// Chunks it asked for, and got no answer yet: by which request.
    pub(super) wanted: HashMap<u32, RequestId>,
    /// The same in its order; some may be answered by now.
    pub(super) wants: VecDeque<(u32, RequestId)>,
    /// Chunks on the line to it, and the requests they answer.
    pub(super) sending: Vec<Sending>,
    /// What it takes comes so slowly that others are not to wait for it.
    pub(super) stuck: bool,
    /// How many of the chunks that it asked for wait for our line, as they were last counted.
    pub(super) waiting: u32,
    /// Chunks of ours that it will have soon.
    pub(super) coming: HashMap<u32, Coming>,
    /// How many of them are suggestions without an answer.
    pub(super) suggested: u32,
    /// How many of those have waited for the answer for so long that others are not to wait for it.
    pub(super) unheard: u32,
    /// Chunks that we have announced and it has not.
    pub(super) lacking: u32,
    /// It takes nothing more for now, since when.
    pub(super) full: Option<Time>,
    /// Where the search for a chunk that it lacks goes on.
    pub(super) cursor: u32,
    /// Its places in the queues of those that can be given something, and that can be dealt to.
    pub(super) in_ready: Option<(u32, u32, u64)>,
    pub(super) in_deal: Option<u64>,
    pub(super) in_askers: Option<u64>,
    /// When it was last given something, as a count.
    pub(super) served: u64,
    /// How far its share of first copies has gone.
    pub(super) share: u64,
    /// First copies that we gave it and nobody else has yet.
    pub(super) sole: u32,
    /// Bytes a second that its line carries, as it says.
    pub(super) pace: Option<f64>,
    /// What we last told it of our own.
    pub(super) pace_told: f64,
}

impl Peer {
    pub(super) fn new(chunks: u32, now: Time) -> Self {
        Peer {
            has: ChunkSet::empty(chunks),
            came_complete: false,
            asked: HashMap::new(),
            owed: HashMap::new(),
            receiving: HashSet::new(),
            last_byte: now,
            stalls: 0,
            bytes: 0,
            measured_bytes: 0,
            measured_at: now,
            rate: 0.0,
            last_request: 0,
            wanted: HashMap::new(),
            wants: VecDeque::new(),
            sending: Vec::new(),
            stuck: false,
            waiting: 0,
            coming: HashMap::new(),
            suggested: 0,
            unheard: 0,
            lacking: 0,
            full: None,
            cursor: 0,
            in_ready: None,
            in_deal: None,
            in_askers: None,
            served: 0,
            share: 0,
            sole: 0,
            pace: None,
            pace_told: 0.0,
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
        self.suggested + self.wanted.len() as u32 + self.sending.len() as u32
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
            self.wants.retain(|(chunk, request)| self.wanted.get(chunk) == Some(request));
        }
    }

    /// Whether our line is busy with it.
    pub(super) fn takes_our_line(&self) -> bool {
        !self.stuck && !self.sending.is_empty()
    }

    /// One suggestion less waits for its answer; how many of those that have waited for long it was.
    pub(super) fn answers(&mut self) -> u32 {
        self.suggested -= 1;
        let heard = u32::from(self.unheard > 0);
        self.unheard -= heard;
        heard
    }

    /// Takes a chunk off the line to it.
    pub(super) fn off_the_line(&mut self, chunk: u32) -> Option<Sending> {
        let place = self.sending.iter().position(|s| s.chunk == chunk)?;
        self.stuck = false;
        Some(self.sending.swap_remove(place))
    }

    /// Takes in how many bytes have come so far.
    pub(super) fn progress(&mut self, now: Time, total: u64) {
        if total > self.bytes {
            self.bytes = total;
            self.last_byte = now;
            self.stalls = 0;
        }
    }

    /// Updates the rate, if something was on its way, and says how many bytes came since the last time.
    pub(super) fn measure(&mut self, now: Time) -> u64 {
        let seconds = now.saturating_sub(self.measured_at).as_secs_f64();
        if seconds < 0.05 {
            return 0;
        }
        let bytes = self.bytes - self.measured_bytes;
        (self.measured_at, self.measured_bytes) = (now, self.bytes);
        if bytes == 0 && self.asked.is_empty() && self.receiving.is_empty() {
            return 0;
        }
        let sample = bytes as f64 / seconds;
        self.rate = if self.rate == 0.0 { sample } else { self.rate + SMOOTHING * (sample - self.rate) };
        bytes
    }

    /// Bytes a second, as last measured.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// It owes us something.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.asked.is_empty() || !self.receiving.is_empty()
    }

    /// It owes us something and no byte has come for long.
    pub(super) fn stalled(&self, now: Time) -> bool {
        self.is_waited_for() && now.saturating_sub(self.last_byte) > STALL
    }

    /// How many chunks to ask it for where it suggests none.
    pub(super) fn depth(&self, chunk_size_bytes: u64) -> u32 {
        if self.stalls > 0 {
            // One at a time shows whether it is back without taking much hostage.
            return 1;
        }
        if self.rate == 0.0 {
            return FIRST_DEPTH;
        }
        (self.rate * PULL_TIME.as_secs_f64() / chunk_size_bytes.max(1) as f64) as u32 + 2
    }
}

/// How long an entry of [`Peer::coming`] is believed before the chunk may be suggested again.
pub(super) const COMING_TIME: Duration = Duration::from_secs(2);
