//! Which chunk is suggested next, and to whom.
//!
//! A seed deals first copies: to whom would soonest have passed on what it holds alone and nobody else has. Those that pass on much may hold
//! any number alone: a second copy, sent before, would be of what they are just passing on, and their lines would have less to do. Nobody
//! else may hold more than its part of what our line carries. How fast each passes on is seen by what others announce (`passing.rs`), in the time only in
//! which it had something to pass on; it is believed for four copies, and nobody counts for so little that it is never tried again.
//! Where nobody may be dealt to, our line is ahead of the peers': it sends what has waited longest, to one other, who is waited for from then
//! on; and where nothing of that is left for those that take something, they are dealt to all the same.

use super::{PeerId, Scheduler, Time, peer::Peer};

/// Nobody counts for less than so much of who passes on most.
const PASSES_MIN: f64 = 0.125;
/// So much of who passes on most is much.
const PASSES_MUCH: f64 = 0.5;
/// First copies that a peer may hold alone, at the least.
const SOLE_MIN: u32 = 2;
/// Places looked at for the rarest chunk that a peer lacks.
const PROBES: usize = 64;
/// Chunks looked at, in the file's order, where none of the rarest fits.
const LOOKS: u32 = 256;
/// Peers of which each is looked at for something that it lacks.
const LACKING: usize = 4;

/// The first copy of a chunk, while nobody else has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    /// With whom.
    pub(super) id: PeerId,
    /// The how-manieth first copy it is.
    number: u64,
    /// It has arrived there.
    here: bool,
}

impl Scheduler {
    /// The chunk has a copy that is with that peer alone, or on its way to it.
    fn first_copy(&mut self, id: PeerId, chunk: u32) {
        if self.fetchers <= 1 {
            return;
        }
        self.dealt += 1;
        self.first_to.insert(chunk, First { id, number: self.dealt, here: false });
        self.soles.insert((self.dealt, chunk));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.sole += 1;
        }
    }

    /// The chunk is suggested to the peer: where its first copy waits with another one to be passed on, this one is waited for from now on.
    pub(super) fn dealt_again(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(first) = self.first_to.get(&chunk).copied().filter(|first| first.id != id) else { return };
        self.forget_first(chunk, first);
        if let Some(peer) = self.peers.get_mut(&first.id).filter(|_| first.here) {
            peer.passing.has_no_more(now);
        }
        self.first_copy(id, chunk);
        self.refresh(first.id);
    }

    fn forget_first(&mut self, chunk: u32, first: First) {
        self.first_to.remove(&chunk);
        self.soles.remove(&(first.number, chunk));
        if let Some(peer) = self.peers.get_mut(&first.id) {
            peer.sole = peer.sole.saturating_sub(1);
        }
    }

    /// A peer has the chunk: whoever was given its first copy has got it, or has passed it on.
    pub(super) fn copied(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(first) = self.first_to.get_mut(&chunk) else { return };
        if first.id == id {
            if !std::mem::replace(&mut first.here, true)
                && let Some(peer) = self.peers.get_mut(&id)
            {
                peer.passing.has(now);
            }
            return;
        }
        let first = *first;
        self.not_first(now, first.id, chunk);
        self.refresh(first.id);
    }

    /// The first copy of the chunk is not with that peer alone.
    pub(super) fn not_first(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(first) = self.first_to.get(&chunk).copied().filter(|first| first.id == id) else { return };
        self.forget_first(chunk, first);
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| first.here) {
            peer.passing.passed(now);
        }
    }

    /// The peer is gone, and with it the copies that it alone had.
    pub(super) fn forget_first_copies(&mut self, id: PeerId) {
        let soles = &mut self.soles;
        self.first_to.retain(|chunk, first| {
            if first.id == id {
                soles.remove(&(first.number, *chunk));
            }
            first.id != id
        });
    }

    /// How fast everyone passes on.
    pub(super) fn measure_passing(&mut self, now: Time) {
        let rates = || self.peers.values().filter(|p| !p.is_seed()).map(|p| p.passing.rate(now));
        self.passing_best = rates().flatten().fold(0.0, f64::max);
        // Of whom nothing is known the best is hoped: so it is known soon.
        self.passing = rates().map(|rate| rate.unwrap_or(self.passing_best)).sum();
    }

    /// When the peer would have passed on what it holds alone, and one more; none where it holds enough.
    pub(super) fn would_pass_on(&self, now: Time, peer: &Peer) -> Option<u64> {
        let (passes, all) = match peer.passing.rate(now) {
            _ if self.passing == 0.0 => (1.0, self.fetchers as f64),
            Some(rate) => (rate.min(self.passing_best), self.passing),
            None => (self.passing_best, self.passing),
        };
        // Its share of what our line holds and is suggested, twice, so that it never waits for us.
        let at_most = f64::from(SOLE_MIN) + 2.0 * f64::from(self.width.limit() + self.ahead()) * passes / all;
        let passes_on_much = self.passing > 0.0 && passes >= self.passing_best * PASSES_MUCH;
        // Where there is nobody else, there is nobody that it could pass them on to.
        let may = self.fetchers <= 1 || passes_on_much || f64::from(peer.sole) < at_most;
        // Who passes on next to nothing is still given something now and then, so that it is seen when its line gets better.
        let passes = passes.max(self.passing_best * PASSES_MIN).max(1e-9);
        may.then(|| (f64::from(peer.sole / 2 + 1) / passes).to_bits())
    }

    pub(super) fn next_to_suggest(&mut self) -> Option<(PeerId, u32)> {
        if let Some(first_copy) = self.next_to_deal() {
            return Some(first_copy);
        }
        // A few whose last chunks are all on their way do not hide the others.
        let first: Vec<PeerId> = self.ready.iter().take(LACKING).map(|(.., id)| *id).collect();
        let rarest = first.iter().find_map(|id| Some((*id, self.rarest_for(*id)?)));
        // Whoever takes nothing and passes nothing on keeps nobody from what is left.
        rarest.or_else(|| first.into_iter().find_map(|id| Some((id, self.deal_beyond(id)?))))
    }

    /// A chunk that nobody has, to a peer that holds more alone than it was to be dealt, where nothing else could be sent.
    fn deal_beyond(&mut self, id: PeerId) -> Option<u32> {
        let chunk = self.next_fresh()?;
        let peer = self.peers.get(&id)?;
        if peer.has.contains(chunk) || peer.coming.contains_key(&chunk) {
            return None;
        }
        self.first_copy(id, chunk);
        Some(chunk)
    }

    /// Another chunk to the same peer: one goes over its connection while the other is acknowledged.
    pub(super) fn second_to_suggest(&mut self, id: PeerId) -> Option<u32> {
        let peer = self.peers.get(&id)?;
        peer.in_ready?;
        if let (Some(_), Some(chunk)) = (peer.in_deal, self.next_fresh())
            && !peer.has.contains(chunk)
        {
            self.first_copy(id, chunk);
            return Some(chunk);
        }
        self.rarest_for(id)
    }

    fn next_fresh(&self) -> Option<u32> {
        self.fresh.range(self.deal_from..).next().or_else(|| self.fresh.first()).copied()
    }

    /// The next chunk that nobody has, to the peer that holds fewest alone.
    fn next_to_deal(&mut self) -> Option<(PeerId, u32)> {
        let (chunk, (_, _, id)) = (self.next_fresh()?, self.deal_to.first().copied()?);
        if self.peers[&id].has.contains(chunk) {
            return None;
        }
        self.first_copy(id, chunk);
        Some((id, chunk))
    }

    /// The rarest chunk that the peer lacks, where it is easily found; else any. What nobody has yet is dealt in its own turn.
    fn rarest_for(&mut self, id: PeerId) -> Option<u32> {
        let peer = self.peers.get(&id)?;
        let fits = |chunk: u32| !peer.has.contains(chunk) && !peer.coming.contains_key(&chunk);
        let deals = self.complete_told && !self.fresh.is_empty() && self.fetchers > 1;
        // What waits longest to be passed on waits for a slow line.
        let oldest = self.soles.iter().take(PROBES).map(|(_, chunk)| *chunk).find(|chunk| fits(*chunk));
        let rarest = self.mine.at_least(u16::from(deals));
        let found = oldest.or_else(|| rarest.iter().take(PROBES).copied().find(|chunk| fits(*chunk)));
        if found.is_some() || rarest.len() <= PROBES {
            return found;
        }
        let (mut from, mut wrapped, mut looked) = (peer.cursor, false, 0);
        let found = loop {
            looked += 1;
            match self.have.first_not_in(&peer.has, from) {
                Some(chunk)
                    if fits(chunk) && self.mine.contains(chunk) && self.mine.level(chunk) >= u16::from(deals) =>
                {
                    break Some(chunk);
                }
                Some(chunk) if looked >= LOOKS => {
                    // The search goes on from there the next time.
                    from = chunk + 1;
                    break None;
                }
                Some(chunk) => from = chunk + 1,
                None if wrapped => break None,
                None => (from, wrapped) = (0, true),
            }
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.cursor = found.map_or(from, |chunk| chunk + 1);
        }
        found
    }
}
