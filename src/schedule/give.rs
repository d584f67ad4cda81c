//! What we give: what was asked for goes out as it arrives at the other end, and what shall be asked for next is suggested.
//!
//! The clock of a line is what arrives over it, as receivers say: a socket takes a chunk long before it leaves, on a slow line by many
//! seconds. So there are never more chunks on a line than keep it busy (`width.rs`), whatever the sockets would take, and the last choice
//! is made as late as can be.

use std::collections::BTreeMap;

use super::{
    Effect, PeerId, RequestId, SENDING_MAX, Scheduler, TICK, Time, UNSEEN,
    peer::{Coming, OnLine, Peer},
};

/// Chunks that are suggested to one peer, asked for by it or on the line to it: more where our line holds many, and few peers take.
const QUEUED_MIN: u32 = 2;
/// A chunk is overtaken when so many times the width of our line has arrived that went out after it: it waits for its receiver.
const OVERTAKEN: u32 = 4;
/// A peer that takes nothing more is asked again after so long, and as long as a chunk takes, if it says nothing before.
const FULL_TIME: Time = TICK.saturating_mul(3);
/// As long as nothing has ever arrived: so many times as long as the first chunk took to leave, nothing may arrive before others are tried,
const LEFT_TIMES: u32 = 4;
/// and at the least so long.
const LEFT_TIME: Time = TICK.saturating_mul(3);
/// Chunks that are suggested to all peers together of which none has ever said that something arrived, and each of them gets two.
const UNPROVED_QUEUED: u32 = 8;
/// Steps in which it is looked who is behind.
const STEPS: u32 = 32;

/// Chunks that are suggested together.
const PAIR: u32 = 2;

/// Chunks that are suggested at the least where there are several to take them.
const AHEAD_FIRST: u32 = 8;

/// Of suggestions no fewer are counted on than this part.
const ACCEPTED_MIN: f64 = 0.5;
/// What a new answer counts for against the old ones.
const ACCEPTED_SMOOTHING: f64 = 1.0 / 16.0;

/// The order of counts in which nobody is given a third before everyone has two, and whoever has one is given another first: one after the
/// other on the same connection, so that the second is on the line while the first is acknowledged.
fn paired(n: u32) -> u32 {
    n ^ 1
}

impl Scheduler {
    /// The socket has taken a chunk.
    pub(super) fn line_free(&mut self, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(place) = peer.handed.iter().position(|c| *c == chunk) else { return };
        peer.handed.swap_remove(place);
        if let Some(on_line) = peer.on_line.iter().find(|o| o.chunk == chunk).filter(|_| self.line.took().is_zero()) {
            // Who never says that anything arrives does not hold up the others at the beginning.
            let took = self.now.saturating_sub(on_line.since);
            self.line.expect_first((took * LEFT_TIMES).clamp(LEFT_TIME, UNSEEN));
        }
        self.refresh(id);
    }

    /// A chunk could not be read, so it did not leave.
    pub(super) fn not_sent(&mut self, now: Time, id: PeerId, chunk: u32) {
        self.line_free(id, chunk);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(was) = peer.off_the_line(chunk) else { return };
        if was.counts {
            self.width.leave(now);
        }
        self.comes_no_more(now, id, chunk);
        self.not_first(now, id, chunk);
        self.refresh(id);
        self.refuse(id, vec![(chunk, was.request)]);
    }

    /// The next chunk that the peer asked for and still wants.
    fn next_wanted(&mut self, now: Time, id: PeerId) -> Option<(u32, RequestId)> {
        loop {
            let peer = self.peers.get_mut(&id)?;
            let (chunk, request) = peer.wants.pop_front()?;
            if peer.wanted.get(&chunk).is_none_or(|w| w.request != request) {
                continue;
            }
            peer.wants_no_more(chunk);
            if self.have.contains(chunk) {
                return Some((chunk, request));
            }
            self.comes_no_more(now, id, chunk);
            self.refuse(id, vec![(chunk, request)]);
        }
    }

    /// Chunks that one peer may have on our line, and with those that are suggested to it and asked for by it.
    fn queued_max(&self, peer: &Peer) -> (u32, u32) {
        let takers = self.fetchers.max(1) as u32;
        let width = self.width.limit();
        let (line, queued) = (QUEUED_MIN + 2 * width / takers, QUEUED_MIN + 2 * (width + self.ahead()) / takers);
        if peer.took > 0 {
            return (line, queued);
        }
        let unproved = QUEUED_MIN.max(UNPROVED_QUEUED / takers);
        (line.min(unproved), queued.min(unproved))
    }

    /// Puts the peer where it belongs in the queues of those that wait for us.
    pub(super) fn refresh(&mut self, id: PeerId) {
        let now = self.now;
        let Some(peer) = self.peers.get(&id) else { return };
        let (line_max, queued_max) = self.queued_max(peer);
        let lacks = peer.full.is_none() && !peer.is_seed() && peer.useful() > 0;
        let takes = lacks && peer.queued() < queued_max;
        // Who is behind comes first, so that all end together.
        let ahead = peer.has.count() / (self.have.len() / STEPS + 1);
        let ready = takes.then_some((paired(peer.queued()), ahead, peer.served));
        let deals = takes && self.complete_told;
        let deal = deals
            .then(|| Some((self.would_pass_on(now, peer)?, if peer.sole % 2 == 1 { 0 } else { peer.served })))
            .flatten();
        let takes_now = peer.handed.len() < SENDING_MAX && peer.on_line.len() < line_max as usize;
        let asks = (!peer.wanted.is_empty() && takes_now).then_some((paired(peer.on_line.len() as u32), peer.served));
        let (was_ready, was_deal, was_asking) = (peer.in_ready, peer.in_deal, peer.in_askers);
        if ready != was_ready {
            was_ready.map(|(n, ahead, served)| self.ready.remove(&(n, ahead, served, id)));
            ready.map(|(n, ahead, served)| self.ready.insert((n, ahead, served, id)));
        }
        if deal != was_deal {
            was_deal.map(|(sole, served)| self.deal_to.remove(&(sole, served, id)));
            deal.map(|(sole, served)| self.deal_to.insert((sole, served, id)));
        }
        if asks != was_asking {
            was_asking.map(|(n, served)| self.askers.remove(&(n, served, id)));
            asks.map(|(n, served)| self.askers.insert((n, served, id)));
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            // What waits for a slow receiver does not wait for us, and what was asked for out of turn stops nothing.
            let waiting = if peer.is_stuck() { 0 } else { peer.solicited };
            self.waiting = self.waiting + waiting - std::mem::replace(&mut peer.waiting, waiting);
            self.takers = self.takers + usize::from(lacks) - usize::from(std::mem::replace(&mut peer.lacks, lacks));
            (peer.in_ready, peer.in_deal, peer.in_askers) = (ready, deal, asks);
        }
    }

    /// Takes the peer out of the queues.
    pub(super) fn forget_places(&mut self, id: PeerId, peer: &Peer) {
        self.takers -= usize::from(peer.lacks);
        peer.in_ready.map(|(n, ahead, served)| self.ready.remove(&(n, ahead, served, id)));
        peer.in_deal.map(|(sole, served)| self.deal_to.remove(&(sole, served, id)));
        peer.in_askers.map(|(n, served)| self.askers.remove(&(n, served, id)));
    }

    /// Suggestions and requests that wait for our line, so that it never waits for them: the way to a peer and back is no longer than
    /// that of a chunk and of the word that it is there, so as many as are on the line are enough. At the beginning, when nothing is known of
    /// the line, each of a few peers is suggested a pair.
    pub(super) fn ahead(&self) -> u32 {
        let pairs = (PAIR * self.fetchers as u32).min(AHEAD_FIRST);
        self.width.limit().max(self.width.under_way() + PAIR).max(pairs)
    }

    /// How many chunks will soon have been asked for, of the suggestions as many as lately were.
    fn coming_up(&self) -> f64 {
        f64::from(self.suggestions - self.unheard) * self.accepted.max(ACCEPTED_MIN) + f64::from(self.waiting)
    }

    /// A suggestion was answered.
    pub(super) fn answered(&mut self, with_a_request: bool) {
        self.accepted += (f64::from(u8::from(with_a_request)) - self.accepted) * ACCEPTED_SMOOTHING;
    }

    /// Fills our line with what was asked for, and suggests what shall be asked for next.
    pub(super) fn give(&mut self, now: Time) {
        self.leave_behind(now);
        while self.width.is_open() {
            let Some((_, _, id)) = self.askers.first().copied() else { break };
            let Some((chunk, request)) = self.next_wanted(now, id) else {
                self.refresh(id);
                continue;
            };
            self.served += 1;
            let served = self.served;
            let number = self.line.begin(now, id, chunk, self.width.under_way());
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.on_line.push(OnLine { chunk, request, number, since: now, counts: true });
            peer.counting += 1;
            peer.handed.push(chunk);
            peer.served = served;
            self.width.begin(now);
            self.effects.push_back(Effect::Send { peer: id, chunk, request });
            self.refresh(id);
        }
        let mut suggestions: BTreeMap<PeerId, Vec<u32>> = BTreeMap::new();
        let mut hungry = true;
        while self.coming_up() + f64::from(PAIR) <= f64::from(self.ahead()) {
            let Some((id, chunk)) = self.next_to_suggest() else {
                hungry = !self.width.is_open() || self.takers > 0;
                break;
            };
            let chunks = suggestions.entry(id).or_default();
            self.suggest(now, id, chunk);
            chunks.push(chunk);
            if let Some(second) = self.second_to_suggest(id) {
                self.suggest(now, id, second);
                chunks.push(second);
            }
        }
        self.width.hungers(hungry);
        self.effects.extend(suggestions.into_iter().map(|(id, chunks)| Effect::Suggest(id, chunks)));
    }

    fn suggest(&mut self, now: Time, id: PeerId, chunk: u32) {
        self.dealt_again(now, id, chunk);
        let number = self.asks.begin(now, id, chunk, self.suggestions);
        self.comes(now, id, chunk, Coming::Suggested(number, now));
        self.served += 1;
        let served = self.served;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.served = served;
        }
        self.refresh(id);
    }

    /// Nobody waits for a receiver that sleeps, or whose line is slow: what is on its way to it does not count any more in what may be.
    fn leave_behind(&mut self, now: Time) {
        while let Some((id, chunk, number)) = self.line.next(now, OVERTAKEN * self.width.limit(), true) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let Some(on_line) = peer.on_line.iter_mut().find(|s| s.chunk == chunk && s.number == number && s.counts)
            {
                on_line.counts = false;
                peer.counting -= 1;
                self.width.leave(now);
                self.refresh(id);
                self.watch(now, id);
            }
        }
        // As long as our line has enough, answers may take their time.
        let idle = self.waiting == 0 && self.width.is_open();
        while let Some((id, chunk, number)) = self.asks.next(now, OVERTAKEN * self.ahead(), idle) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if matches!(peer.coming.get(&chunk), Some(Coming::Suggested(n, _)) if *n == number) {
                peer.unheard += 1;
                self.unheard += 1;
                self.watch(now, id);
            }
        }
    }

    /// Peers that took nothing more are tried again.
    pub(super) fn retry_full(&mut self, now: Time) {
        let after = FULL_TIME.max(self.line.took());
        while let Some((since, id)) =
            self.full.front().copied().filter(|(since, _)| now.saturating_sub(*since) >= after)
        {
            self.full.pop_front();
            if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.full == Some(since)) {
                peer.full = None;
                self.refresh(id);
            }
        }
    }
}
