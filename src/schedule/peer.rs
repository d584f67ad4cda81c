//! What the scheduler knows of one peer.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use super::{ChunkSet, PIPELINE_TIME, SEED_SILENCE, SMOOTHING, STALL, Time};

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
    /// Taken back, but perhaps already on the way.
    pub(super) cancelled: BTreeSet<u32>,
    /// Credit we gave it and it has not spent.
    pub(super) credit_given: u32,
    /// Credit it gave us and we have not spent.
    pub(super) credit_got: u32,
    /// Chunks it asked for, in its order.
    pub(super) wants: VecDeque<u32>,
    /// Chunks on the line to it, and whether they were dealt on credit.
    pub(super) sending: Vec<(u32, bool)>,
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
            cancelled: BTreeSet::new(),
            credit_given: 0,
            credit_got: 0,
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
        if bytes == 0 && self.asked.is_empty() {
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

    /// It owes us something and no byte has come for long.
    pub(super) fn stalled(&self, now: Time) -> bool {
        !self.asked.is_empty() && now.saturating_sub(self.last_byte) > STALL
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
