//! What others ask of us: their requests, each of which gets one answer, and what a seed deals on credit.

use std::{cmp::Ordering, collections::BTreeMap, ops::Range};

use super::{Effect, PeerId, REQUESTED_MAX, RequestId, SENDING_MAX, Scheduler, peer::Peer};

impl Scheduler {
    /// The peer asks for chunks.
    pub(super) fn requested(&mut self, id: PeerId, request: RequestId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if request <= peer.last_request {
            self.effects.push_back(Effect::Drop(id, "the ids of its requests do not grow"));
            return;
        }
        peer.last_request = request;
        let (mut not_again, mut lost) = (Vec::new(), Vec::new());
        for chunk in ranges.iter().cloned().flatten() {
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
            } else if peer.has.contains(chunk) || peer.wanted.contains_key(&chunk) {
                not_again.push((chunk, request));
            } else {
                peer.wanted.insert(chunk, request);
                // What is on its way on credit will make it take this back; if not, it is answered when it says so.
                if !peer.dealt.contains(&chunk) && !peer.sending.iter().any(|(c, _)| *c == chunk) {
                    peer.wants.push_back((chunk, request));
                }
            }
        }
        peer.forget_stale_wants();
        self.refuse(id, not_again, false);
        self.refuse(id, lost, true);
    }

    /// The peer no longer wants chunks, in ascending ranges: those that have not left are refused.
    pub(super) fn cancelled(&mut self, id: PeerId, ranges: &[Range<u32>]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let inside = |chunk: &u32| {
            let place = |range: &Range<u32>| match () {
                () if range.end <= *chunk => Ordering::Less,
                () if range.start > *chunk => Ordering::Greater,
                () => Ordering::Equal,
            };
            ranges.binary_search_by(place).is_ok()
        };
        let taken_back: Vec<u32> = peer.wanted.keys().copied().filter(inside).collect();
        let answers = taken_back.into_iter().filter_map(|chunk| peer.no_longer_wanted(chunk)).collect();
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
    pub(super) fn line_free(&mut self, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(request) = peer.off_the_line(chunk) else { return };
        if request.is_none() {
            // Until the receiver says that it has it, it counts as on its way.
            peer.dealt.insert(chunk);
        }
        self.not_sending(chunk);
    }

    /// A chunk could not be read, so it did not leave.
    pub(super) fn not_sent(&mut self, id: PeerId, chunk: u32) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(request) = peer.off_the_line(chunk) else { return };
        match request {
            Some(request) => self.refuse(id, vec![(chunk, request)], true),
            None => peer.credit_got += 1,
        }
        self.not_sending(chunk);
    }

    pub(super) fn not_sending(&mut self, chunk: u32) {
        if let Some(n) = self.sending.get_mut(&chunk) {
            *n -= 1;
            if *n == 0 {
                self.sending.remove(&chunk);
            }
        }
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
            self.refuse(id, vec![(chunk, request)], true);
        }
    }

    /// Fills free lines: what was asked for first, then, as a seed, what nobody has.
    pub(super) fn deal(&mut self) {
        // Whoever was given least recently comes first, so that one peer cannot take all the dealing.
        let mut ids: Vec<PeerId> = self.peers.keys().copied().collect();
        ids.sort_by_key(|id| self.peers[id].sending.len());
        let mut progress = true;
        while progress {
            progress = false;
            for id in &ids {
                let Some(peer) = self.peers.get(id) else { continue };
                if peer.sending.len() >= SENDING_MAX {
                    continue;
                }
                let takes_credit = peer.credit_got > 0 && !peer.is_seed() && self.complete_told;
                let (chunk, request) = match self.next_wanted(*id) {
                    Some((chunk, request)) => (chunk, Some(request)),
                    None if takes_credit => match self.next_to_deal(*id) {
                        Some(chunk) => (chunk, None),
                        None => continue,
                    },
                    None => continue,
                };
                let Some(peer) = self.peers.get_mut(id) else { continue };
                if request.is_none() {
                    peer.credit_got -= 1;
                }
                peer.sending.push((chunk, request));
                *self.sending.entry(chunk).or_default() += 1;
                self.effects.push_back(Effect::Send { peer: *id, chunk, request });
                progress = true;
            }
        }
    }

    /// The first chunk, from our place in the file on, that no other peer has or is being sent.
    fn next_to_deal(&mut self, to: PeerId) -> Option<u32> {
        if self.peers.values().any(Peer::is_seed) {
            // Several seeds dealing blindly would deal the same chunks; then peers ask by name.
            return None;
        }
        let count = self.have.len();
        let target = self.peers.get(&to)?;
        let mut cursor_open = true;
        for step in self.deal_cursor..count {
            let chunk = (self.deal_from + step) % count;
            let out = self.holders[chunk as usize] > 0
                || !self.have.contains(chunk)
                || self.sending.contains_key(&chunk)
                || self.peers.values().any(|p| p.dealt.contains(&chunk));
            if out {
                // Everything before the cursor is out for good, until a peer leaves.
                if cursor_open {
                    self.deal_cursor = step + 1;
                }
                continue;
            }
            cursor_open = false;
            if !target.has.contains(chunk) && !target.wanted.contains_key(&chunk) {
                return Some(chunk);
            }
        }
        None
    }
}
