//! What the scheduler knows of one peer.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{PIPELINE_TIME, REQUESTED_MAX, RequestId, SEED_SILENCE, SMOOTHING, STALL, Time};
use crate::manifest::ChunkSet;

/// Chunks asked of a peer whose rate is not known yet.
const FIRST_DEPTH: u32 = 4;

/// One session's state; all of it is forgotten when the session ends.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it said it has.
    pub(super) has: ChunkSet,
    /// It once had everything: it no longer counts among the holders.
    pub(super) was_seed: bool,
    /// It had everything when it first spoke: it deals, or has dealt.
    pub(super) came_complete: bool,
    /// Chunks we asked for (or are being dealt) and have not got, since when.
    pub(super) asked: HashMap<u32, Time>,
    /// Requests of each chunk that it has not answered yet, whether they were taken back or not.
    pub(super) owed: HashMap<u32, Vec<RequestId>>,
    /// Chunks whose bytes are coming.
    pub(super) receiving: HashSet<u32>,
    /// Chunks that it dealt us in this session.
    pub(super) dealt_us: ChunkSet,
    /// It had nothing to ask it for when so many chunks had become free.
    pub(super) dry: Option<u64>,
    /// Credit we gave it and it has not spent.
    pub(super) credit_given: u32,
    /// Credit it gave us and we have not spent.
    pub(super) credit_got: u32,
    /// The last request it made.
    pub(super) last_request: RequestId,
    /// Chunks it asked for, and got no answer yet: by which request.
    pub(super) wanted: HashMap<u32, RequestId>,
    /// The same in its order; some may be answered by now.
    pub(super) wants: VecDeque<(u32, RequestId)>,
    /// Chunks on the line to it, and the requests they answer; none: dealt on credit.
    pub(super) sending: Vec<(u32, Option<RequestId>)>,
    /// Chunks dealt to it that it has not announced yet.
    pub(super) dealt: BTreeSet<u32>,
    /// When it last dealt us a chunk.
    pub(super) last_dealt: Time,
    /// When a byte last came, or was first waited for.
    pub(super) last_byte: Time,
    /// How often it left us waiting since its last byte.
    pub(super) stalls: u32,
    /// Chunks it sent us by name since it last dealt one.
    pub(super) by_name: u32,
    /// Smoothed time between two chunks it dealt us; zero until known.
    deal_gap: Duration,
    bytes: u64,
    measured_bytes: u64,
    measured_at: Time,
    /// Smoothed bytes a second while something was on its way; 0 until known.
    rate: f64,
}

impl Peer {
    pub(super) fn new(chunks: u32, now: Time) -> Self {
        Peer {
            has: ChunkSet::empty(chunks),
            was_seed: false,
            came_complete: false,
            asked: HashMap::new(),
            owed: HashMap::new(),
            receiving: HashSet::new(),
            dealt_us: ChunkSet::empty(chunks),
            dry: None,
            credit_given: 0,
            credit_got: 0,
            last_request: 0,
            wanted: HashMap::new(),
            wants: VecDeque::new(),
            sending: Vec::new(),
            dealt: BTreeSet::new(),
            last_dealt: now,
            last_byte: now,
            stalls: 0,
            by_name: 0,
            deal_gap: Duration::ZERO,
            bytes: 0,
            measured_bytes: 0,
            measured_at: now,
            rate: 0.0,
        }
    }

    pub(super) fn is_seed(&self) -> bool {
        self.has.is_full()
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

    /// It does not want a chunk any more; gives the request that is to be answered.
    pub(super) fn no_longer_wanted(&mut self, chunk: u32) -> Option<(u32, RequestId)> {
        self.wanted.remove(&chunk).map(|request| (chunk, request))
    }

    /// Keeps the queue of what it wants as short as what it wants.
    pub(super) fn forget_stale_wants(&mut self) {
        if self.wants.len() > 2 * REQUESTED_MAX {
            self.wants.retain(|(chunk, request)| self.wanted.get(chunk) == Some(request));
        }
    }

    /// Takes a chunk off the line to it; gives what it answered.
    pub(super) fn off_the_line(&mut self, chunk: u32) -> Option<Option<RequestId>> {
        let place = self.sending.iter().position(|(c, _)| *c == chunk)?;
        Some(self.sending.swap_remove(place).1)
    }

    /// It began to send a chunk of its own choice.
    pub(super) fn dealt_to_us(&mut self, now: Time) {
        let gap = now.saturating_sub(self.last_dealt);
        self.last_dealt = now;
        self.by_name = 0;
        // A longer gap counts at once, shorter ones slowly: asking too early costs a seed's line twice.
        self.deal_gap = gap.max(self.deal_gap.mul_f64(0.8) + gap.mul_f64(0.2));
    }

    /// Nothing has been dealt for so long that it probably has nothing left to deal to us.
    pub(super) fn deals_no_more(&self, now: Time) -> bool {
        now.saturating_sub(self.last_dealt) > (self.deal_gap * 4).clamp(SEED_SILENCE, STALL)
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

    /// How many chunks to have in flight from it.
    pub(super) fn depth(&self, chunk_size_bytes: u64, window_chunks: u32) -> u32 {
        if self.stalls > 0 {
            // One at a time shows whether it is back without taking much hostage.
            return 1;
        }
        if self.rate == 0.0 {
            let first = if self.is_seed() { 2 } else { FIRST_DEPTH };
            return first.min(window_chunks);
        }
        let bytes = self.rate * PIPELINE_TIME.max(Duration::from_millis(1)).as_secs_f64();
        let depth = ((bytes / chunk_size_bytes.max(1) as f64) as u32 + 2).min(window_chunks);
        // A seed that pauses is not one that has nothing to deal: what is asked of it by name at once, others would be
        // dealt as well. So it begins with little and grows with what comes.
        if self.is_seed() { depth.min(2 + self.by_name) } else { depth }
    }
}
