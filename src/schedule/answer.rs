//! What peers ask of us, decline and take back: each chunk of each request gets one answer.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Effect, PeerId, REQUESTED_MAX, RequestId, Scheduler, Time,
    peer::{Coming, Wanted},
};

impl Scheduler {
    /// Notes that a chunk comes to the peer; it counts as had by it.
    pub(super) fn comes(&mut self, now: Time, id: PeerId, chunk: u32, coming: Coming) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.coming.insert(chunk, coming);
        if let Some(Coming::Suggested(_, since)) = before {
            self.unheard -= peer.was_answered();
            self.suggestions -= 1;
            self.asks.done(now, since);
        }
        if matches!(coming, Coming::Suggested(..)) {
            peer.suggested += 1;
            self.suggestions += 1;
        }
        if before.is_none() {
            self.raise(chunk);
        }
    }

    /// Forgets that a chunk comes to the peer: it does not.
    pub(super) fn comes_no_more(&mut self, now: Time, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(before) = peer.comes_no_more(chunk) else { return };
        if let Coming::Suggested(_, since) = before {
            self.unheard -= peer.was_answered();
            self.suggestions -= 1;
            self.asks.done(now, since);
        }
        self.lower(chunk);
    }

    /// One more peer has the chunk, or will.
    pub(super) fn raise(&mut self, chunk: u32) {
        if self.mine.level(chunk) == 0 {
            self.fresh.remove(&chunk);
        }
        self.mine.raise(chunk);
    }

    /// One less.
    pub(super) fn lower(&mut self, chunk: u32) {
        self.mine.lower(chunk);
        if self.mine.level(chunk) == 0 && self.mine.contains(chunk) {
            self.fresh.insert(chunk);
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
        peer.answers = true;
        peer.full = None;
        let mut refused = Vec::new();
        for chunk in ranges.iter().cloned().flatten() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.wanted.len() + refused.len() >= REQUESTED_MAX {
                self.effects.push_back(Effect::Drop(id, "it asks for more chunks at once than the protocol allows"));
                return;
            }
            if self.lost.contains(chunk) {
                // It asked before it heard of that.
                self.comes_no_more(now, id, chunk);
                refused.push((chunk, request));
            } else if !self.have.contains(chunk) {
                // Nobody knows a chunk that we did not announce.
                self.effects.push_back(Effect::Drop(id, "it asks for chunks that were not announced"));
                return;
            } else if peer.has.contains(chunk)
                || peer.wanted.contains_key(&chunk)
                || peer.on_line.iter().any(|s| s.chunk == chunk)
            {
                refused.push((chunk, request));
            } else {
                let suggested = matches!(peer.coming.get(&chunk), Some(Coming::Suggested(..)));
                peer.wanted.insert(chunk, Wanted { request, suggested });
                peer.solicited += u32::from(suggested);
                peer.wants.push_back((chunk, request));
                self.comes(now, id, chunk, Coming::Asked);
                if suggested {
                    self.answered(true);
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.forget_stale_wants();
        }
        self.refresh(id);
        self.refuse(id, refused);
    }

    /// The peer does not take what was suggested.
    pub(super) fn declined(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>], full: bool) {
        let count = self.have.len();
        for chunk in ranges.iter().flat_map(|range| range.start..range.end.min(count)) {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if !matches!(peer.coming.get(&chunk), Some(Coming::Suggested(..))) {
                // A list of what was never suggested.
                continue;
            }
            peer.answers = true;
            if full {
                if peer.full != Some(now) {
                    peer.full = Some(now);
                    self.full.push_back((now, id));
                }
                self.comes_no_more(now, id, chunk);
            } else {
                // If it does not come, the peer asks for it by itself.
                self.comes(now, id, chunk, Coming::Elsewhere);
                self.answered(false);
            }
            self.not_first(now, id, chunk);
        }
        self.refresh(id);
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
            self.comes(now, id, chunk, Coming::Elsewhere);
            self.not_first(now, id, chunk);
        }
        self.refresh(id);
        self.refuse(id, answers);
    }

    /// It does not want a chunk any more; gives the request that is to be answered.
    pub(super) fn no_longer_wanted(&mut self, id: PeerId, chunk: u32) -> Option<(u32, RequestId)> {
        Some((chunk, self.peers.get_mut(&id)?.wants_no_more(chunk)?))
    }

    /// Answers chunks of requests with a no.
    pub(super) fn refuse(&mut self, id: PeerId, answers: Vec<(u32, RequestId)>) {
        let mut by_request: BTreeMap<RequestId, Vec<u32>> = BTreeMap::new();
        for (chunk, request) in answers {
            by_request.entry(request).or_default().push(chunk);
        }
        for (request, mut chunks) in by_request {
            chunks.sort_unstable();
            chunks.dedup();
            self.effects.push_back(Effect::Refuse { peer: id, request, chunks });
        }
    }
}
