//! Who has what: what peers announce and lose, and what we do.

use std::ops::Range;

use rand::Rng;

use super::{
    Effect, PeerId, Scheduler, Time,
    peer::{Coming, Peer},
};
use crate::manifest::ranges;

/// A peer's disk may lose each chunk so many times in a session, and so many chunks more.
const LOST_TIMES: u32 = 2;
/// See [`LOST_TIMES`].
const LOST_MORE: u32 = 16;

/// The chunks that a message names, of `count`.
fn chunks_of(ranges: &[Range<u32>], count: u32) -> impl Iterator<Item = u32> + '_ {
    ranges.iter().flat_map(move |range| range.start..range.end.min(count))
}

impl Scheduler {
    /// How many chunks are missing that no connected peer has.
    pub fn nowhere(&self) -> u32 {
        let at_holders = self.missing.below(1) as u32;
        if self.seeds > 0 || at_holders == 0 || self.came_complete == 0 {
            return if self.seeds > 0 { 0 } else { at_holders };
        }
        // Seeds that have lost something since.
        let parts: Vec<&Peer> = self.peers.values().filter(|p| p.came_complete).collect();
        let missing = &self.missing.at_least(0)[..at_holders as usize];
        missing.iter().filter(|chunk| !parts.iter().any(|p| p.has.contains(**chunk))).count() as u32
    }

    /// The peer has chunks.
    pub(super) fn peer_has(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        self.fed(now);
        let count = self.have.len();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // Before anything is counted: what is counted by halves could not be taken back when it goes.
        if chunks_of(ranges, count).any(|chunk| peer.has.contains(chunk)) {
            self.effects.push_back(Effect::Drop(id, "it says again what it has said"));
            return;
        }
        let first_words = peer.has.is_empty();
        let was_seed = peer.is_seed();
        peer.full = None;
        let (mut answers, mut first_copies, mut not_counted) = (Vec::new(), Vec::new(), Vec::new());
        let mut told = 0;
        for chunk in chunks_of(ranges, count) {
            peer.has.insert(chunk);
            told += 1;
            if self.mine.contains(chunk) {
                peer.lacking -= 1;
            }
            // Seeds are counted apart, also those that have lost something and have it again.
            let is_counted = !peer.came_complete;
            if is_counted {
                self.missing.raise(chunk);
            }
            if let Some(was) = peer.off_the_line(chunk) {
                peer.took += 1;
                self.width.arrive(now, was.counts);
                self.line.done(now, was.since);
            }
            // It has come from elsewhere meanwhile.
            answers.extend(peer.wants_no_more(chunk).map(|request| (chunk, request)));
            let came = peer.comes_no_more(chunk);
            if let Some(Coming::Suggested(_, since)) = came {
                self.unheard -= peer.was_answered();
                self.suggestions -= 1;
                self.asks.done(now, since);
            }
            match (is_counted, came) {
                (true, None) => {
                    if self.mine.level(chunk) == 0 {
                        self.fresh.remove(&chunk);
                    }
                    self.mine.raise(chunk);
                }
                (false, Some(_)) => not_counted.push(chunk),
                (true, Some(_)) | (false, None) => {}
            }
            if !self.first_to.is_empty() && self.first_to.contains_key(&chunk) {
                first_copies.push(chunk);
            }
        }
        self.sources += usize::from(first_words && !peer.has.is_empty());
        if peer.is_seed() && !was_seed {
            self.is_seed_now(id, first_words && told == count);
        }
        for chunk in not_counted {
            self.lower(chunk);
        }
        for chunk in first_copies {
            self.copied(now, id, chunk);
        }
        self.refresh(id);
        self.refuse(id, answers);
    }

    /// The peer has everything; `came`: it had when it came.
    fn is_seed_now(&mut self, id: PeerId, came: bool) {
        self.seeds += 1;
        self.fetchers -= 1;
        if came && let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.came_complete) {
            // Seeds are counted apart: what they have says nothing of rarity.
            peer.came_complete = true;
            self.came_complete += 1;
            let count = self.have.len();
            if self.deal_from == 0 && count > 0 {
                self.deal_from = self.rng.random_range(0..count);
            }
            for chunk in 0..count {
                self.one_holder_less(chunk);
            }
        }
        self.refresh_all();
    }

    pub(super) fn one_holder_less(&mut self, chunk: u32) {
        self.missing.lower(chunk);
        self.lower(chunk);
    }

    /// The peer does not have chunks any more.
    pub(super) fn has_lost(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        let count = self.have.len();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if chunks_of(ranges, count).any(|chunk| !peer.has.contains(chunk)) {
            self.effects.push_back(Effect::Drop(id, "it has lost what it never said it had"));
            return;
        }
        peer.lost += chunks_of(ranges, count).count() as u32;
        if peer.lost > LOST_TIMES * count + LOST_MORE {
            self.effects.push_back(Effect::Drop(id, "it loses chunks again and again"));
            return;
        }
        for chunk in chunks_of(ranges, count) {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let was_seed = peer.is_seed();
            peer.has.remove(chunk);
            let (counts, has_none, lacks_ours) = (!peer.came_complete, peer.has.is_empty(), self.mine.contains(chunk));
            peer.lacking += u32::from(lacks_ours);
            // Where it is on its way already it may still come; what was only asked for will be refused.
            let was_asked = peer.asked.contains_key(&chunk) && !peer.receiving.contains(&chunk);
            self.sources -= usize::from(has_none);
            self.seeds -= usize::from(was_seed);
            self.fetchers += usize::from(was_seed);
            if counts {
                self.one_holder_less(chunk);
            }
            if was_asked {
                self.no_longer_from(now, id, chunk);
            }
        }
        self.refresh(id);
    }

    /// Our disk does not give a chunk any more.
    pub(super) fn lost(&mut self, chunk: u32) {
        if !self.have.remove(chunk) {
            return;
        }
        self.lost.insert(chunk);
        self.orphans.push_back(chunk);
        self.missing.insert(chunk, &mut self.rng);
        // Who knows that we had it hears that we do not: then we may ask for it there, and may say again that we have it.
        let mut told: Vec<PeerId> = Vec::new();
        if self.mine.contains(chunk) {
            self.mine.remove(chunk);
            self.fresh.remove(&chunk);
            for peer in self.peers.values_mut().filter(|p| !p.has.contains(chunk)) {
                peer.lacking -= 1;
            }
            told.extend(self.peers.keys());
        } else {
            self.announce.retain(|c| *c != chunk);
            for (id, early) in &mut self.told_early {
                let before = early.len();
                early.retain(|c| *c != chunk);
                told.extend((early.len() < before).then_some(*id));
            }
            told.sort_unstable();
        }
        for id in told {
            self.effects.push_back(Effect::TellLost(id, vec![chunk..chunk + 1]));
        }
        self.refresh_all();
    }

    /// Tells whom a chunk came from that it is here: by that its line is clocked.
    pub(super) fn tell_source(&mut self, id: PeerId, chunk: u32) {
        if self.announce.last() == Some(&chunk) && self.peers.contains_key(&id) {
            self.told_early.entry(id).or_default().push(chunk);
            self.effects.push_back(Effect::Tell(id, vec![chunk..chunk + 1]));
        }
    }

    /// Tells everyone what came since.
    pub(super) fn tell_haves(&mut self) {
        if self.announce.is_empty() {
            return;
        }
        let mut chunks = std::mem::take(&mut self.announce);
        let told_early = std::mem::take(&mut self.told_early);
        chunks.sort_unstable();
        self.announced(&chunks);
        let all = ranges(chunks.iter().copied());
        for id in self.peers.keys() {
            let told = match told_early.get(id) {
                Some(early) => ranges(chunks.iter().copied().filter(|chunk| !early.contains(chunk))),
                None => all.clone(),
            };
            if !told.is_empty() {
                self.effects.push_back(Effect::Tell(*id, told));
            }
        }
        // Only who lacked nothing before is another one now.
        let new = chunks.len() as u32;
        let others: Vec<PeerId> =
            self.peers.iter().filter(|(_, p)| p.useful() > 0 && p.useful() <= new).map(|(id, _)| *id).collect();
        for id in others {
            self.refresh(id);
        }
    }

    /// The chunks are announced: from now on they may be suggested.
    pub(super) fn announced(&mut self, chunks: &[u32]) {
        for chunk in chunks {
            self.mine.insert(*chunk, &mut self.rng);
            if self.mine.level(*chunk) == 0 {
                self.fresh.insert(*chunk);
            }
        }
        // Each peer once, however many chunks: what is known of it is far away in memory.
        for peer in self.peers.values_mut() {
            peer.lacking += chunks.iter().filter(|chunk| !peer.has.contains(**chunk)).count() as u32;
        }
    }

    /// Whether two other peers say of every chunk that they have it: one may lie, or leave.
    pub(super) fn every_chunk_out(&self) -> bool {
        let complete = self.peers.values().filter(|p| p.came_complete && p.is_seed()).take(2).count() as u16;
        // The rarest come first, so that the search ends where it is to go on.
        let chunks = if self.watches { self.missing.at_least(0) } else { self.mine.at_least(0) };
        complete >= 2 || chunks.iter().all(|chunk| self.missing.level(*chunk) + complete >= 2)
    }
}
