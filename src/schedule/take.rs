//! What we take: suggestions that are accepted, and, where nobody suggests anything, requests of our own.

use std::{ops::Range, time::Duration};

use super::{Effect, OWED_MAX, PeerId, SMOOTHING, SUGGESTED_MAX, Scheduler, TICK, Time, peer::Peer};

/// Nothing has been suggested for so long: we ask by ourselves.
const UNFED: Duration = Duration::from_millis(500);
/// In a large swarm a seed comes to each of us in its turn, and is not to be asked out of it.
const UNFED_EACH: Duration = Duration::from_millis(50);
/// A chunk in flight for longer may be asked for elsewhere too when nothing else is left to ask.
const LATE: Duration = Duration::from_secs(2);
/// Late chunks that are asked for elsewhere at a time.
const LATE_MAX: usize = 8;
/// What comes to us at once fills our line for so long,
const INTAKE_TIME: Duration = Duration::from_millis(500);
/// and is at least so many chunks: one from each of some slow lines.
const INTAKE_CHUNKS: u32 = 12;
/// Places looked at for the rarest chunk that a peer has.
const PROBES: usize = 64;

impl Scheduler {
    /// Chunks that may be in flight to us: memory does not grow with the swarm.
    fn budget(&self) -> u32 {
        let filled = self.intake * INTAKE_TIME.as_secs_f64() / self.chunk_size_bytes as f64;
        (filled as u32).saturating_add(INTAKE_CHUNKS).min(self.window_chunks)
    }

    /// Whether one more chunk may come from the peer: no single one takes all of what may come.
    fn has_room_for(&self, peer: &Peer) -> bool {
        let budget = self.budget() as usize;
        let share = if peer.stalls > 0 {
            1
        } else if self.sources > 1 {
            budget.div_ceil(2)
        } else {
            budget
        };
        self.in_flight.len() < budget && peer.asked.len() < share && peer.owed.len() < OWED_MAX
    }

    /// The peer would send us chunks: each is asked for, or declined.
    pub(super) fn suggested(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        let total = ranges.iter().fold(0u64, |n, range| n + u64::from(range.end.saturating_sub(range.start)));
        if total > SUGGESTED_MAX {
            self.effects.push_back(Effect::Drop(id, "it suggests more chunks at once than the protocol allows"));
            return;
        }
        let (mut taken, mut had, mut no_room) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in ranges.iter().cloned().flatten() {
            let Some(peer) = self.peers.get(&id) else { return };
            if !peer.has.contains(chunk) {
                self.effects.push_back(Effect::Drop(id, "it suggests what it does not have"));
                return;
            }
            if !self.fetches
                || self.have.contains(chunk)
                || peer.receiving.contains(&chunk)
                || !self.is_free(now, id, chunk)
            {
                had.push(chunk);
            } else if self.has_room_for(peer) {
                self.book(now, id, chunk);
                taken.push(chunk);
            } else {
                no_room.push(chunk);
            }
        }
        if !taken.is_empty() {
            self.fed_at = now;
        }
        self.request(id, taken);
        for (chunks, full) in [(had, false), (no_room, true)] {
            if !chunks.is_empty() {
                self.effects.push_back(Effect::Decline { peer: id, chunks, full });
            }
        }
    }

    /// Whether nobody sends us the chunk, or one who is late with it when nothing else is left to be sent.
    fn is_free(&self, now: Time, id: PeerId, chunk: u32) -> bool {
        match self.in_flight.get(&chunk).map(Vec::as_slice) {
            None => true,
            Some([one]) => *one != id && self.all_in_flight() && self.is_late(now, *one, chunk),
            Some(_) => false,
        }
    }

    fn all_in_flight(&self) -> bool {
        self.in_flight.len() as u32 + self.have.count() >= self.have.len()
    }

    fn is_late(&self, now: Time, from: PeerId, chunk: u32) -> bool {
        let since = self.peers.get(&from).and_then(|p| p.asked.get(&chunk)).copied().unwrap_or(Time::ZERO);
        now.saturating_sub(since) > LATE
    }

    /// Notes that the chunk comes from the peer.
    fn book(&mut self, now: Time, id: PeerId, chunk: u32) {
        let request = self.next_request;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.asked.is_empty() {
            peer.last_byte = now;
        }
        peer.asked.insert(chunk, now);
        peer.owed.entry(chunk).or_default().push(request);
        let from = self.in_flight.entry(chunk).or_default();
        if !from.contains(&id) {
            from.push(id);
        }
    }

    /// Asks for what was booked.
    fn request(&mut self, id: PeerId, chunks: Vec<u32>) {
        if !chunks.is_empty() {
            let request = self.next_request;
            self.next_request += 1;
            self.effects.push_back(Effect::Request(id, request, chunks));
        }
    }

    /// Asks by ourselves where nobody suggests anything, and elsewhere for what is late.
    pub(super) fn pull(&mut self, now: Time, ticks: bool) {
        if !self.fetches || self.have.is_full() || now.saturating_sub(self.fed_at) < self.patience() {
            return;
        }
        let unfed = !self.all_in_flight();
        if unfed {
            let ids: Vec<PeerId> = self.peers.keys().copied().collect();
            // Not the same one first each time, where few chunks may come at once.
            let start = self.next_request as usize % ids.len().max(1);
            for id in ids[start..].iter().chain(&ids[..start]) {
                self.pull_from(now, *id);
            }
        }
        if ticks && self.all_in_flight() {
            self.pull_late(now);
        }
    }

    fn patience(&self) -> Duration {
        UNFED + UNFED_EACH * self.fetchers as u32
    }

    fn pull_from(&mut self, now: Time, id: PeerId) {
        let mut picked = Vec::new();
        while let Some(peer) = self.peers.get(&id) {
            let dry = peer.has.is_empty() || peer.asked.len() >= peer.depth(self.chunk_size_bytes) as usize;
            if dry || !self.has_room_for(peer) {
                break;
            }
            let Some(chunk) = self.rarest_of(peer) else { break };
            self.book(now, id, chunk);
            picked.push(chunk);
        }
        self.request(id, picked);
    }

    /// A chunk of the peer that we lack and nobody sends us: one of the rarest where it is easily found.
    fn rarest_of(&self, peer: &Peer) -> Option<u32> {
        let fits = |chunk: u32| {
            peer.has.contains(chunk) && !self.in_flight.contains_key(&chunk) && !peer.receiving.contains(&chunk)
        };
        let rarest = self.missing.at_least(0);
        let found = rarest.iter().take(PROBES).copied().find(|chunk| fits(*chunk));
        found.or_else(|| {
            let mut from = 0;
            while let Some(chunk) = peer.has.first_not_in(&self.have, from) {
                if fits(chunk) {
                    return Some(chunk);
                }
                from = chunk + 1;
            }
            None
        })
    }

    /// Asks others for what is late, each of somebody else than who is late.
    fn pull_late(&mut self, now: Time) {
        let mut late: Vec<(u32, PeerId)> = self
            .in_flight
            .iter()
            .filter(|(chunk, from)| from.len() == 1 && self.is_late(now, from[0], **chunk))
            .map(|(chunk, from)| (*chunk, from[0]))
            .collect();
        late.sort_unstable();
        for (chunk, from) in late.into_iter().take(LATE_MAX) {
            let able = self.peers.iter().filter(|(id, p)| {
                **id != from && p.asked.is_empty() && p.has.contains(chunk) && !p.receiving.contains(&chunk)
            });
            let fastest = able.max_by(|(_, a), (_, b)| a.rate().total_cmp(&b.rate()));
            let Some(id) = fastest.map(|(id, _)| *id) else { continue };
            self.book(now, id, chunk);
            self.request(id, vec![chunk]);
        }
    }

    /// Measures what all peers together send us.
    pub(super) fn take_in(&mut self, now: Time, bytes: u64) {
        let seconds = now.saturating_sub(std::mem::replace(&mut self.ticked, now)).max(TICK / 2).as_secs_f64();
        self.intake += SMOOTHING * (bytes as f64 / seconds - self.intake);
    }
}
