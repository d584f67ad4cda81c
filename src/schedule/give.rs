//! What we give: what was asked for goes out as our line takes it, and what shall be asked for next is suggested.
//!
//! A suggestion is bound to a receiver and a chunk as late as the way to the receiver and back allows, so that it rests on what was
//! measured a moment ago. The receiver takes it or declines it; nothing goes out that was not asked for.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{
    Effect, PeerId, REQUESTED_MAX, RequestId, SENDING_MAX, Scheduler, Time,
    peer::{COMING_TIME, Coming, Peer, Sending},
};

/// First copies that a peer may hold alone keep its line busy for so long: a slow one is given few.
const SOLE_TIME: Duration = Duration::from_millis(500);
/// What is out and not yet with everyone keeps the peers' lines busy for so long.
const PASS_ON_TIME: Duration = Duration::from_secs(1);
/// The same as a part of the time that our line takes for what is not out yet: early in a long run more may wait, since what peers pass on
/// later than they could, on a machine that is busy or while we see too little of their lines, is made up for before the end.
const PASS_ON_PART: f64 = 0.1;
/// While the most that anyone has is less than this part, nobody is behind.
const BEGINNING: u32 = 32;
/// Who passes on next to nothing is given so much of a share of first copies, so that it is seen when its line gets better.
const SHARE_MIN: f64 = 0.03;
/// What a full share counts.
const SHARE: f64 = 1e9;
/// Chunks that are suggested to one peer, asked for by it or on the line to it: more on a line that is fast or long.
const QUEUED_MIN: u32 = 2;
/// Chunks of which a seed takes the one that the others would pass on last.
const CANDIDATES: usize = 16;
/// What is on its way to one peer keeps our line busy for so long, at the least.
const QUEUED_TIME: Duration = Duration::from_millis(20);
/// Places looked at for the rarest chunk that a peer lacks.
const PROBES: usize = 64;
/// Chunks looked at, in the file's order, where none of the rarest fits.
const LOOKS: u32 = 256;
/// A peer that takes nothing more is asked again after so long, if it says nothing before.
const FULL_TIME: Duration = Duration::from_millis(300);
/// Steps in which it is looked who is behind.
const STEPS: u32 = 32;
/// Who does not answer a suggestion for so long, and some times as long as others take, is not waited for.
const UNHEARD_TIME: Duration = Duration::from_millis(100);
/// How often the way to a peer and back counts in what is suggested ahead.
const AHEAD: f64 = 1.5;

impl Scheduler {
    /// Notes that a chunk comes to the peer; it counts as had by it.
    fn comes(&mut self, id: PeerId, chunk: u32, coming: Coming) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Coming::Suggested(since) | Coming::Sent(since) | Coming::Elsewhere(since) = coming {
            self.believed.push_back((since + COMING_TIME, id, chunk));
        }
        let before = peer.coming.insert(chunk, coming);
        if matches!(before, Some(Coming::Suggested(_))) {
            self.unheard -= peer.answers();
            self.suggestions -= 1;
        }
        if matches!(coming, Coming::Suggested(_)) {
            peer.suggested += 1;
            self.suggestions += 1;
        }
        if before.is_none() {
            self.raise(chunk);
        }
    }

    /// Forgets that a chunk comes to the peer. `had`: because it is there.
    pub(super) fn comes_no_more(&mut self, id: PeerId, chunk: u32, had: bool) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        let Some(before) = peer.coming.remove(&chunk) else { return false };
        if matches!(before, Coming::Suggested(_)) {
            self.unheard -= peer.answers();
            self.suggestions -= 1;
        }
        if !had {
            self.lower(chunk);
        }
        true
    }

    /// One more peer has the chunk, or will.
    pub(super) fn raise(&mut self, chunk: u32) {
        self.mine.raise(chunk);
        self.copies += 1;
        self.fresh.remove(&chunk);
    }

    /// One less.
    pub(super) fn lower(&mut self, chunk: u32) {
        self.copies -= u64::from(self.mine.level(chunk) > 0);
        self.mine.lower(chunk);
        if self.mine.level(chunk) == 0 && self.mine.contains(chunk) {
            self.fresh.insert(chunk);
        }
    }

    /// What has not been heard of for long is not believed any more.
    pub(super) fn doubt(&mut self, now: Time) {
        while let Some((until, id, chunk)) = self.believed.front().copied().filter(|(until, ..)| *until <= now) {
            self.believed.pop_front();
            let Some(peer) = self.peers.get(&id) else { continue };
            let still = match peer.coming.get(&chunk) {
                Some(Coming::Suggested(at) | Coming::Sent(at) | Coming::Elsewhere(at)) => *at + COMING_TIME == until,
                Some(Coming::Asked) | None => false,
            };
            if still {
                self.comes_no_more(id, chunk, false);
                self.refresh(id);
            }
        }
    }

    /// The peer asks for chunks.
    pub(super) fn requested(&mut self, now: Time, id: PeerId, request: RequestId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if request <= peer.last_request {
            self.effects.push_back(Effect::Drop(id, "the ids of its requests do not grow"));
            return;
        }
        peer.last_request = request;
        peer.full = None;
        let (mut not_again, mut lost) = (Vec::new(), Vec::new());
        for chunk in ranges.iter().cloned().flatten() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.wanted.len() + not_again.len() + lost.len() >= REQUESTED_MAX {
                self.effects.push_back(Effect::Drop(id, "it asks for more chunks at once than the protocol allows"));
                return;
            }
            if self.lost.contains(chunk) {
                lost.push((chunk, request));
            } else if !self.have.contains(chunk) {
                // Nobody knows a chunk that we did not announce.
                self.effects.push_back(Effect::Drop(id, "it asks for chunks that were not announced"));
                return;
            } else if peer.has.contains(chunk)
                || peer.wanted.contains_key(&chunk)
                || peer.sending.iter().any(|s| s.chunk == chunk)
            {
                not_again.push((chunk, request));
            } else {
                peer.wanted.insert(chunk, request);
                peer.wants.push_back((chunk, request));
                if let Some(Coming::Suggested(at)) = peer.coming.get(&chunk) {
                    let took = now.saturating_sub(*at);
                    self.answered_in =
                        if self.answered_in.is_zero() { took } else { (self.answered_in * 7 + took) / 8 };
                }
                self.comes(id, chunk, Coming::Asked);
            }
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.forget_stale_wants();
        }
        self.refresh(id);
        self.refuse(id, not_again, false);
        self.refuse(id, lost, true);
    }

    /// The peer does not take what was suggested.
    pub(super) fn declined(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>], full: bool) {
        let count = self.have.len();
        for chunk in ranges.iter().flat_map(|range| range.start..range.end.min(count)) {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if !matches!(peer.coming.get(&chunk), Some(Coming::Suggested(_))) {
                // Of a suggestion that is no longer believed; or a list of what was never suggested, which ends here.
                continue;
            }
            if full {
                peer.full = Some(now);
                self.comes_no_more(id, chunk, false);
            } else {
                self.comes(id, chunk, Coming::Elsewhere(now));
            }
            self.not_first(id, chunk);
        }
        self.refresh(id);
    }

    /// The first copy of the chunk is not with that peer alone.
    pub(super) fn not_first(&mut self, id: PeerId, chunk: u32) {
        if self.first_to.get(&chunk) == Some(&id) {
            self.first_to.remove(&chunk);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.sole = peer.sole.saturating_sub(1);
            }
        }
    }

    /// It does not want a chunk any more; gives the request that is to be answered.
    pub(super) fn no_longer_wanted(&mut self, id: PeerId, chunk: u32) -> Option<(u32, RequestId)> {
        let request = self.peers.get_mut(&id)?.wanted.remove(&chunk)?;
        Some((chunk, request))
    }

    /// The peer no longer wants chunks, in ascending ranges: those that have not left are refused.
    pub(super) fn cancelled(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get(&id) else { return };
        let inside = |chunk: &u32| {
            let after = ranges.partition_point(|range| range.end <= *chunk);
            ranges.get(after).is_some_and(|range| range.start <= *chunk)
        };
        let mut taken_back: Vec<u32> = peer.wanted.keys().copied().filter(inside).collect();
        taken_back.sort_unstable();
        let mut answers = Vec::with_capacity(taken_back.len());
        for chunk in taken_back {
            answers.extend(self.no_longer_wanted(id, chunk));
            self.comes(id, chunk, Coming::Elsewhere(now));
        }
        self.refresh(id);
        self.refuse(id, answers, false);
    }

    /// Answers chunks of requests with a no.
    pub(super) fn refuse(&mut self, id: PeerId, answers: Vec<(u32, RequestId)>, lost: bool) {
        let mut by_request: BTreeMap<RequestId, Vec<u32>> = BTreeMap::new();
        for (chunk, request) in answers {
            by_request.entry(request).or_default().push(chunk);
        }
        for (request, mut chunks) in by_request {
            chunks.sort_unstable();
            chunks.dedup();
            self.effects.push_back(Effect::Refuse { peer: id, request, chunks, lost });
        }
    }

    /// A chunk has left.
    pub(super) fn line_free(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.takes_our_line();
        if peer.off_the_line(chunk).is_none() {
            return;
        }
        self.slots.receivers(before, peer.takes_our_line());
        self.slots.end(now, self.chunk_size_bytes);
        if !self.peers[&id].has.contains(chunk) {
            // Until the receiver says that it has it, it counts as on its way.
            self.comes(id, chunk, Coming::Sent(now));
        }
        self.refresh(id);
    }

    /// A chunk could not be read, so it did not leave.
    pub(super) fn not_sent(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.takes_our_line();
        let Some(sending) = peer.off_the_line(chunk) else { return };
        self.slots.receivers(before, peer.takes_our_line());
        self.slots.end(now, 0);
        self.comes_no_more(id, chunk, false);
        self.not_first(id, chunk);
        self.refresh(id);
        self.refuse(id, vec![(chunk, sending.request)], true);
    }

    /// The next chunk that the peer asked for and still wants.
    fn next_wanted(&mut self, id: PeerId) -> Option<(u32, RequestId)> {
        loop {
            let peer = self.peers.get_mut(&id)?;
            let (chunk, request) = peer.wants.pop_front()?;
            if peer.wanted.get(&chunk) != Some(&request) {
                continue;
            }
            peer.wanted.remove(&chunk);
            if self.have.contains(chunk) {
                return Some((chunk, request));
            }
            self.comes_no_more(id, chunk, false);
            self.refuse(id, vec![(chunk, request)], true);
        }
    }

    /// Puts the peer where it belongs in the queues of those that wait for us.
    pub(super) fn refresh(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let queued_max = (QUEUED_MIN + self.slots.chunks_in(QUEUED_TIME)).max(self.ahead());
        let takes = peer.full.is_none() && !peer.is_seed() && peer.useful() > 0 && peer.queued() < queued_max;
        // Who is behind comes first, so that all end together.
        let ahead = peer.has.count() / (self.have.len() / STEPS + 1);
        let ready = takes.then_some((peer.queued(), ahead, peer.served));
        let deal = (takes && self.complete_told && peer.sole < self.sole_max(peer)).then_some(peer.share);
        let asks = (!peer.wanted.is_empty() && peer.sending.len() < SENDING_MAX).then_some(peer.served);
        let (was_ready, was_deal, was_asking) = (peer.in_ready, peer.in_deal, peer.in_askers);
        if ready != was_ready {
            was_ready.map(|(n, ahead, served)| self.ready.remove(&(n, ahead, served, id)));
            ready.map(|(n, ahead, served)| self.ready.insert((n, ahead, served, id)));
        }
        if deal != was_deal {
            was_deal.map(|share| self.deal_to.remove(&(share, id)));
            deal.map(|share| self.deal_to.insert((share, id)));
        }
        if asks != was_asking {
            was_asking.map(|served| self.askers.remove(&(served, id)));
            asks.map(|served| self.askers.insert((served, id)));
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            // What waits for a slow receiver does not wait for us.
            let waiting = if peer.stuck { 0 } else { peer.wanted.len() as u32 };
            self.waiting = self.waiting + waiting - std::mem::replace(&mut peer.waiting, waiting);
            (peer.in_ready, peer.in_deal, peer.in_askers) = (ready, deal, asks);
        }
    }

    /// Takes the peer out of the queues.
    pub(super) fn forget_places(&mut self, id: PeerId, peer: &Peer) {
        peer.in_ready.map(|(n, ahead, served)| self.ready.remove(&(n, ahead, served, id)));
        peer.in_deal.map(|share| self.deal_to.remove(&(share, id)));
        peer.in_askers.map(|served| self.askers.remove(&(served, id)));
    }

    /// How many first copies the peer may hold alone.
    fn sole_max(&self, peer: &Peer) -> u32 {
        if self.fetchers <= 1 {
            // There is nobody that it could pass them on to.
            return u32::MAX;
        }
        let Some(ours) = self.slots.rate() else { return self.window_chunks };
        let pace = peer.pace.unwrap_or(ours).min(ours) * self.keeps_up(peer);
        ((pace * SOLE_TIME.as_secs_f64() / self.chunk_size_bytes as f64) as u32).max(2)
    }

    /// One where the peer has as much as others have; less where its downlink is slow, or it came late: a first copy would be there late,
    /// and passed on late.
    fn keeps_up(&self, peer: &Peer) -> f64 {
        if self.most_had <= self.have.len() / BEGINNING {
            return 1.0;
        }
        (f64::from(peer.has.count()) / f64::from(self.most_had)).powi(2).min(1.0)
    }

    /// Suggestions and requests that wait for our line, so that it never waits for them.
    fn ahead(&self) -> u32 {
        2 + self.slots.chunks_in(self.answered_in.mul_f64(AHEAD))
    }

    /// Fills our line with what was asked for, and suggests what shall be asked for next.
    pub(super) fn give(&mut self, now: Time) {
        while self.slots.is_open() {
            let Some((_, id)) = self.askers.first().copied() else { break };
            let Some((chunk, request)) = self.next_wanted(id) else {
                self.refresh(id);
                continue;
            };
            self.served += 1;
            let served = self.served;
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let before = peer.takes_our_line();
            peer.sending.push(Sending { chunk, request, since: now });
            self.slots.receivers(before, peer.takes_our_line());
            peer.served = served;
            self.slots.begin(now);
            self.effects.push_back(Effect::Send { peer: id, chunk, request });
            self.refresh(id);
        }
        let mut suggestions: Vec<(PeerId, Vec<u32>)> = Vec::new();
        while self.suggestions - self.unheard + self.waiting < self.ahead() {
            let Some((id, chunk)) = self.next_to_suggest() else { break };
            self.comes(id, chunk, Coming::Suggested(now));
            self.served += 1;
            let served = self.served;
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.served = served;
            }
            self.refresh(id);
            match suggestions.iter_mut().find(|(to, _)| *to == id) {
                Some((_, chunks)) => chunks.push(chunk),
                None => suggestions.push((id, vec![chunk])),
            }
        }
        self.effects.extend(suggestions.into_iter().map(|(id, chunks)| Effect::Suggest(id, chunks)));
    }

    fn next_to_suggest(&mut self) -> Option<(PeerId, u32)> {
        if self.peers_keep_up()
            && let Some(first_copy) = self.next_to_deal()
        {
            return Some(first_copy);
        }
        // A few whose last chunks are all on their way do not hide the others.
        let first: Vec<PeerId> = self.ready.iter().take(4).map(|(.., id)| *id).collect();
        let rarest = first.into_iter().find_map(|id| Some((id, self.rarest_for(id)?)));
        // Where those that are behind take no more, the others are not to wait for them.
        rarest.or_else(|| self.next_to_deal())
    }

    /// The next chunk that nobody has, to the peer whose share is due.
    fn next_to_deal(&mut self) -> Option<(PeerId, u32)> {
        let fresh = self.fresh.range(self.deal_from..).next().or_else(|| self.fresh.first()).copied();
        let (chunk, (share, id)) = (fresh?, self.deal_to.first().copied()?);
        if self.peers[&id].has.contains(chunk) {
            return None;
        }
        self.deal(id, share, chunk);
        Some((id, chunk))
    }

    /// Whether the peers will soon have passed on to all what is out: only then more shall go out. Otherwise their lines are busy for long
    /// enough, and ours serves better for what they do not carry in time.
    fn peers_keep_up(&self) -> bool {
        let takers = (self.peers.len() - self.came_complete) as u64;
        let out = (self.mine.at_least(0).len() - self.fresh.len()) as u64;
        let to_pass_on = (out * takers).saturating_sub(self.copies);
        let Some(ours) = self.slots.rate().filter(|_| self.fetchers > 1) else { return true };
        let lines = self.pace_known + ours * self.pace_unknown as f64;
        let left = self.fresh.len() as f64 * self.chunk_size_bytes as f64 / ours;
        let time = PASS_ON_TIME.as_secs_f64().max(left * PASS_ON_PART);
        to_pass_on as f64 * self.chunk_size_bytes as f64 <= lines * time
    }

    /// The first copy of a chunk goes to the peer, and counts in its share.
    fn deal(&mut self, id: PeerId, share: u64, chunk: u32) {
        self.shares_gone = self.shares_gone.max(share);
        let known = self.best_pace;
        let kept_up = self.peers.get(&id).map_or(1.0, |peer| self.keeps_up(peer));
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let line = peer.pace.map_or(1.0, |pace| pace / known.max(1.0));
        let part = (line * kept_up).clamp(SHARE_MIN, 1.0);
        // Who was shut out for a while does not make up for it all at once.
        peer.share = share.max(self.shares_gone.saturating_sub(SHARE as u64 * 2)) + (SHARE / part) as u64;
        peer.sole += 1;
        self.first_to.insert(chunk, id);
    }

    /// The rarest chunk that the peer lacks, where it is easily found; else any. What nobody has yet is dealt in its own turn.
    fn rarest_for(&mut self, id: PeerId) -> Option<u32> {
        let peer = self.peers.get(&id)?;
        let fits = |chunk: u32| !peer.has.contains(chunk) && !peer.coming.contains_key(&chunk);
        let deals = self.complete_told && !self.fresh.is_empty() && self.fetchers > 1;
        let rarest = self.mine.at_least(u16::from(deals));
        if self.complete_told {
            // What a slow peer would have to pass on is sent before what a fast one will.
            let few = rarest.iter().take(PROBES).copied().filter(|chunk| fits(*chunk)).take(CANDIDATES);
            let slowest = few.min_by(|a, b| self.passed_on_at(*a).total_cmp(&self.passed_on_at(*b)));
            if slowest.is_some() {
                return slowest;
            }
        } else if let Some(chunk) = rarest.iter().take(PROBES).copied().find(|chunk| fits(*chunk)) {
            return Some(chunk);
        }
        if rarest.len() <= PROBES {
            return None;
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

    /// How fast others pass the chunk on, as far as is known: of those that have it, the line of who was dealt it counts.
    fn passed_on_at(&self, chunk: u32) -> f64 {
        let line = self
            .first_to
            .get(&chunk)
            .and_then(|id| self.peers.get(id))
            .map_or(self.best_pace, |p| p.pace.unwrap_or(0.0));
        line * f64::from(self.mine.level(chunk))
    }

    /// Nobody waits for a receiver that sleeps, or whose line is slow: what is on its way to it does not count any more in what may be.
    pub(super) fn leave_waiting(&mut self, now: Time) {
        let on_line = self.slots.patience();
        let answer = UNHEARD_TIME + self.answered_in * 4;
        for peer in self.peers.values_mut() {
            if peer.takes_our_line() && peer.sending.iter().any(|s| now.saturating_sub(s.since) > on_line) {
                peer.stuck = true;
                self.slots.receivers(true, false);
            }
            if peer.suggested > peer.unheard {
                let late = |c: &&Coming| matches!(c, Coming::Suggested(at) if now.saturating_sub(*at) > answer);
                let unheard = peer.coming.values().filter(late).count() as u32;
                self.unheard += unheard.saturating_sub(peer.unheard);
                peer.unheard = peer.unheard.max(unheard);
            }
        }
    }

    /// Peers that took nothing more are tried again.
    pub(super) fn retry_full(&mut self, now: Time) {
        let again: Vec<PeerId> = self
            .peers
            .iter_mut()
            .filter(|(_, p)| p.full.is_some_and(|since| now.saturating_sub(since) >= FULL_TIME))
            .map(|(id, p)| {
                p.full = None;
                *id
            })
            .collect();
        for id in again {
            self.refresh(id);
        }
    }
}
