//! What we ask for, of whom: credit for seeds, requests to everyone else, and when a seed that deals is spared.

use std::time::Duration;

use rand::Rng;

use super::{Effect, OWED_MAX, PeerId, SMOOTHING, Scheduler, TICK, Time, peer::Peer};

/// A chunk in flight for longer may be asked for elsewhere too when nothing else is left to ask.
const ENDGAME_PATIENCE: Duration = Duration::from_secs(2);
/// So long we wait for other peers before a seed that deals is asked for what they have too,
const WAIT_WORTH_IT: Duration = Duration::from_secs(2);
/// or, in a long fetch, for this share of the time it has taken.
const WAIT_SHARE: u32 = 8;
/// or while they fill this share of what our line has ever taken.
const FULL_ENOUGH: f64 = 0.75;

impl Scheduler {
    /// Chunks that may be in flight from one peer: all of the window from a single source, shared among several, so that
    /// memory does not grow with the swarm.
    fn window(&self) -> u32 {
        let sources = self.peers.values().filter(|p| !p.has.is_empty()).count().max(1) as u32;
        (self.window_chunks * 3 / 2 / sources)
            .clamp(2.max(self.window_chunks / 8).min(self.window_chunks), self.window_chunks)
    }

    /// Gives credit to seeds and asks peers with a part, or silent seeds, for chunks.
    pub(super) fn ask(&mut self, now: Time, ticks: bool) {
        if !self.fetches || self.have.is_full() {
            return;
        }
        let missing = self.have.len() - self.have.count();
        let window = self.window();
        let others_complete = self.peers.values().any(|p| p.is_seed() && !p.came_complete && p.stalls == 0);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.is_seed() {
                let wanted = window.min(missing);
                if peer.credit_given <= wanted * 3 / 4 && peer.credit_given < wanted {
                    let more = wanted - peer.credit_given;
                    peer.credit_given += more;
                    self.effects.push_back(Effect::Grant(id, more));
                }
                if !peer.deals_no_more(now) {
                    continue;
                }
            }
            self.request_from(now, id, window, others_complete, ticks);
        }
    }

    fn request_from(&mut self, now: Time, id: PeerId, window: u32, others_complete: bool, ticks: bool) {
        let request = self.next_request;
        let mut picked = Vec::new();
        loop {
            let Some(peer) = self.peers.get(&id) else { return };
            let depth = peer.depth(self.chunk_size_bytes, window);
            if peer.asked.len() >= depth as usize || peer.owed.len() >= OWED_MAX {
                break;
            }
            // Nothing has become free since it was last looked through: nothing is looked for again and again.
            let dry = peer.dry == Some(self.freed);
            if dry && !ticks {
                break;
            }
            // What peers can give each other is mostly left to them: a seed's line is the swarm's scarcest.
            let enough = self.others_suffice || peer.asked.len() as u32 >= (depth / 4).max(1);
            let spare_it = peer.came_complete && enough;
            let chunk = match if dry { None } else { self.pick(id) } {
                Some((holders, _)) if spare_it && (holders > 0 || others_complete) => break,
                Some((_, chunk)) => chunk,
                None => match self.pick_late(now, id) {
                    Some(chunk) => chunk,
                    None => {
                        let freed = self.freed;
                        if let Some(peer) = self.peers.get_mut(&id) {
                            peer.dry = Some(freed);
                        }
                        break;
                    }
                },
            };
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.asked.is_empty() {
                peer.last_byte = now;
            }
            self.began.get_or_insert(now);
            peer.asked.insert(chunk, now);
            peer.owed.entry(chunk).or_default().push(request);
            self.in_flight.entry(chunk).or_default().push(id);
            picked.push(chunk);
        }
        if !picked.is_empty() {
            self.next_request += 1;
            self.effects.push_back(Effect::Request(id, request, picked));
        }
    }

    /// The rarest chunk that nobody is sending us, and how many peers with a part hold it; of a seed, first what none
    /// of them can give.
    fn pick(&mut self, id: PeerId) -> Option<(u16, u32)> {
        let count = self.have.len();
        let start = self.rng.random_range(0..count);
        let peer = self.peers.get(&id)?;
        let seed = peer.is_seed();
        let rarest = u16::from(!seed);
        let mut best: Option<(u16, u32)> = None;
        let mut at = self.have.first_missing(start);
        let mut wrapped = false;
        loop {
            let Some(chunk) = at else {
                if wrapped {
                    break;
                }
                wrapped = true;
                at = self.have.first_missing(0);
                continue;
            };
            if wrapped && chunk >= start {
                break;
            }
            if peer.has.contains(chunk) && !self.in_flight.contains_key(&chunk) && !peer.receiving.contains(&chunk) {
                let holders = self.holders[chunk as usize];
                if best.is_none_or(|(h, _)| holders < h) {
                    best = Some((holders, chunk));
                    if holders <= rarest {
                        break;
                    }
                }
            }
            at = self.have.first_missing(chunk + 1);
        }
        best
    }

    /// A chunk that is late from its one source.
    fn pick_late(&self, now: Time, id: PeerId) -> Option<u32> {
        let peer = self.peers.get(&id)?;
        if !peer.asked.is_empty() {
            return None;
        }
        let late = |chunk: &u32, from: &PeerId| {
            let since = self.peers.get(from).and_then(|p| p.asked.get(chunk)).copied().unwrap_or(Time::ZERO);
            now.saturating_sub(since) > ENDGAME_PATIENCE
        };
        self.in_flight
            .iter()
            .filter(|(chunk, from)| {
                from.len() == 1
                    && from[0] != id
                    && peer.has.contains(**chunk)
                    && !peer.receiving.contains(chunk)
                    && late(chunk, &from[0])
            })
            .map(|(chunk, _)| *chunk)
            .min()
    }

    /// Measures what all peers together send us.
    pub(super) fn take_in(&mut self, now: Time, bytes: u64) {
        let seconds = now.saturating_sub(std::mem::replace(&mut self.ticked, now)).max(TICK / 2).as_secs_f64();
        self.intake += SMOOTHING * (bytes as f64 / seconds - self.intake);
        self.best_intake = self.best_intake.max(self.intake);
    }

    /// Whether those that came with a part will have sent us all that they can before a seed's help is worth its line.
    pub(super) fn others_suffice(&self, now: Time) -> bool {
        let Some(began) = self.began.filter(|_| !self.have.is_full()) else { return false };
        let others = || self.peers.values().filter(|p| !p.came_complete && p.stalls == 0);
        let held = if others().any(Peer::is_seed) {
            self.have.len() - self.have.count()
        } else {
            (0u32..).zip(&self.holders).filter(|(chunk, n)| **n > 0 && !self.have.contains(*chunk)).count() as u32
        };
        let bytes = f64::from(held) * self.chunk_size_bytes as f64;
        let rate = others().map(Peer::rate).sum::<f64>();
        let wait = (now.saturating_sub(began) / WAIT_SHARE).max(WAIT_WORTH_IT);
        bytes <= rate * wait.as_secs_f64() || (held > 0 && rate >= self.best_intake * FULL_ENOUGH)
    }
}
