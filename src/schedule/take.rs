//! What we take: suggestions that are accepted, and, where nobody suggests anything, requests of our own.

use std::{cmp::Reverse, collections::BTreeSet, ops::Range, time::Duration};

use super::{Effect, OWED_MAX, PeerId, SUGGESTED_MAX, Scheduler, Time, UNSEEN, peer::Peer};

/// Nothing has been suggested to us, nothing came, and nothing came to anybody else, for so long, and so many times as long as it ever took: we ask by ourselves.
const UNFED: Duration = Duration::from_secs(5);
/// See [`UNFED`].
const UNFED_TIMES: u32 = 4;
/// A chunk that is in flight for so many times as long as chunks usually are may be asked for elsewhere too when nothing else is left to
/// ask.
const LATE_TIMES: u32 = 2;
/// Late chunks that are asked for elsewhere: a few, and one of so many.
const LATE_MAX: u32 = 6;
/// See [`LATE_MAX`].
const LATE_SHARE: u32 = 100;
/// What may be asked of a peer from which nothing has come yet, and how many more for each chunk that has: where it sends nothing, little
/// waits for it, and the lines of those who do are soon filled.
const UNPROVED_MAX: usize = 4;
/// See [`UNPROVED_MAX`].
const PROVED_TIMES: usize = 2;
/// Since somebody sent wrong bytes, what may be asked of a peer from which nothing has come yet,
const SUSPECT_MAX: usize = 1;
/// and how long it must have been here before, for each time that anybody did:
const SUSPECT_TIME: Duration = Duration::from_millis(250);
/// at the most so long. Who comes again and again under a new name sends little of what it has to send; others wait once.
const SUSPECT_TIME_MAX: Duration = Duration::from_secs(10);
/// What may be asked of a peer that is behind: one on its line, one that follows it.
const BEHIND_MAX: usize = 2;
/// A peer is behind when what was asked of it first takes so many times as long as chunks take,
const BEHIND_TIMES: u32 = 4;
/// and at least so long.
const BEHIND_TIME: Duration = Duration::from_secs(1);
/// Who is behind for so many times as long is not waited for at the end, whatever came from it before.
const HOPELESS_TIMES: u32 = 8;
/// Places looked at for the rarest chunk that a peer has.
const PROBES: usize = 64;
/// Peers of which it is remembered that they were told of a chunk that it comes from elsewhere: one that stays is enough.
const DECLINED_MAX: usize = 8;
/// What will not come from where it was to come from is asked of who has no more than so many on their way, as long as others suggest the rest.
const ORPHANS_MAX: usize = 2;
/// Chunks that nobody can be asked for now, of which others are looked at before it is left for another time.
const ORPHANS_WAITING_MAX: usize = 8;

impl Scheduler {
    /// Whether one more chunk may come from the peer: no single one takes all of what may come.
    fn has_room_for(&self, peer: &Peer) -> bool {
        let room = self.intake.limit() as usize;
        let share = if peer.stalls > 0 || peer.refused > peer.came {
            1
        } else if self.sources <= 1 {
            room
        } else if peer.behind {
            BEHIND_MAX
        } else if peer.came == 0 && self.wrong > 0 {
            let wait = (SUSPECT_TIME * self.wrong).min(SUSPECT_TIME_MAX);
            if self.now.saturating_sub(peer.since) < wait { 0 } else { SUSPECT_MAX }
        } else {
            room.div_ceil(2).min(UNPROVED_MAX + PROVED_TIMES * peer.came as usize)
        };
        // Whoever sends nothing takes no room from those who do.
        let under_way = if peer.is_doubted() { self.doubted } else { self.under_way() };
        under_way < room && peer.asked.len() < share && peer.owed.len() < OWED_MAX
    }

    /// How many chunks are on their way from those who do send.
    fn under_way(&self) -> usize {
        self.in_flight.len().saturating_sub(self.doubted)
    }

    /// Looks who is behind, and counts anew what is on its way from those of whom nobody knows whether it comes; gives what is to be taken
    /// back: where nothing ever came from, once nothing else is left to be asked for.
    pub(super) fn doubt(&mut self, now: Time, waited: &BTreeSet<PeerId>) -> Vec<(PeerId, Vec<u32>)> {
        let patience = if self.flight.is_zero() { UNSEEN } else { BEHIND_TIME.max(self.flight * BEHIND_TIMES) };
        self.doubted = 0;
        let ends = self.all_in_flight() && self.sources > 1;
        let mut freed = Vec::new();
        for id in waited {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            let longest = peer.asked.values().map(|since| now.saturating_sub(*since)).max().unwrap_or_default();
            (peer.behind, peer.hopeless) = (longest > patience, longest > patience * HOPELESS_TIMES);
            if peer.is_doubted() {
                self.doubted += peer.asked.len();
            }
            if ends && peer.behind && peer.came == 0 {
                let waiting = peer.asked.keys().copied().filter(|chunk| !peer.receiving.contains(chunk));
                freed.push((*id, waiting.collect()));
            }
        }
        freed
    }

    /// The peer would send us chunks: each is asked for, or declined.
    pub(super) fn suggested(&mut self, now: Time, id: PeerId, ranges: &[Range<u32>]) {
        let total = ranges.iter().fold(0u64, |n, range| n + u64::from(range.end.saturating_sub(range.start)));
        if total > SUGGESTED_MAX {
            self.effects.push_back(Effect::Drop(id, "it suggests more chunks at once than the protocol allows"));
            return;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.suggests = true;
        }
        let (mut taken, mut had, mut no_room) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in ranges.iter().cloned().flatten() {
            let Some(peer) = self.peers.get(&id) else { return };
            if !peer.has.contains(chunk) {
                self.effects.push_back(Effect::Drop(id, "it suggests what it does not have"));
                return;
            }
            if self.watches {
                no_room.push(chunk);
            } else if !self.fetches
                || self.have.contains(chunk)
                || peer.receiving.contains(&chunk)
                || !self.is_free(now, id, chunk)
            {
                self.told_elsewhere(id, chunk);
                had.push(chunk);
            } else if self.has_room_for(peer) {
                self.book(now, id, chunk);
                taken.push(chunk);
            } else {
                no_room.push(chunk);
            }
        }
        if !taken.is_empty() {
            self.fed(now);
        }
        if self.watches {
            if !no_room.is_empty() {
                self.effects.push_back(Effect::Decline { peer: id, chunks: no_room, full: true });
            }
            return;
        }
        self.intake.hungers(!no_room.is_empty() || self.under_way() as u32 >= self.intake.limit());
        self.request(id, taken);
        for (chunks, full) in [(had, false), (no_room, true)] {
            if !chunks.is_empty() {
                self.effects.push_back(Effect::Decline { peer: id, chunks, full });
            }
        }
    }

    /// Notes that the peer was told that the chunk comes from elsewhere: it does not suggest it again.
    pub(super) fn told_elsewhere(&mut self, id: PeerId, chunk: u32) {
        if self.have.contains(chunk) {
            return;
        }
        let told = self.declined.entry(chunk).or_default();
        if told.len() >= DECLINED_MAX {
            told.retain(|id| self.peers.contains_key(id));
        }
        if told.len() < DECLINED_MAX && !told.contains(&id) {
            told.push(id);
        }
    }

    /// Whether nobody sends us the chunk, or one who is late with it when nothing else is left to be sent.
    fn is_free(&self, now: Time, id: PeerId, chunk: u32) -> bool {
        match self.in_flight.get(&chunk).map(Vec::as_slice) {
            None => true,
            // They are few, and so only from somebody who does send.
            Some([one]) => {
                let sends = self.peers.get(&id).is_some_and(|peer| !peer.is_doubted());
                let may = self.late_left() > 0 || self.is_hopeless(*one);
                *one != id && sends && may && self.all_in_flight() && self.is_late(now, *one, chunk)
            }
            Some(_) => false,
        }
    }

    fn all_in_flight(&self) -> bool {
        self.in_flight.len() as u32 + self.have.count() >= self.have.len()
    }

    /// How many more may be asked for twice.
    fn late_left(&self) -> u32 {
        (LATE_MAX + self.have.len() / LATE_SHARE).saturating_sub(self.late_asked)
    }

    /// Nothing came from it in its time, or in many times that, though some bytes may: what it was asked for may be asked of another without
    /// being counted.
    fn is_hopeless(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_none_or(|peer| peer.hopeless || peer.behind && peer.came == 0)
    }

    fn is_late(&self, now: Time, from: PeerId, chunk: u32) -> bool {
        let since = self.peers.get(&from).and_then(|p| p.asked.get(&chunk)).copied().unwrap_or(Time::ZERO);
        !self.flight.is_zero() && now.saturating_sub(since) > self.flight * LATE_TIMES
    }

    /// Something comes, or will.
    pub(super) fn fed(&mut self, now: Time) {
        self.longest_unfed = self.longest_unfed.max(now.saturating_sub(std::mem::replace(&mut self.fed_at, now)));
    }

    /// Notes that the chunk comes from the peer.
    pub(super) fn book(&mut self, now: Time, id: PeerId, chunk: u32) {
        let request = self.next_request;
        let hopeless = self.in_flight.get(&chunk).is_some_and(|from| from.iter().all(|from| self.is_hopeless(*from)));
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.asked.is_empty() {
            peer.last_byte = now;
        }
        peer.asked.insert(chunk, now);
        peer.owed.entry(chunk).or_default().push(request);
        self.doubted += usize::from(peer.is_doubted());
        let from = self.in_flight.entry(chunk).or_default();
        if from.is_empty() {
            self.intake.begin(now);
        } else if !hopeless {
            self.late_asked += 1;
        }
        if !from.contains(&id) {
            from.push(id);
        }
    }

    /// Asks for what was booked.
    pub(super) fn request(&mut self, id: PeerId, chunks: Vec<u32>) {
        if !chunks.is_empty() {
            let request = self.next_request;
            self.next_request += 1;
            self.effects.push_back(Effect::Request(id, request, chunks));
        }
    }

    /// Asks by ourselves: for what will not come from where it was to come from; for what is late; and, where nobody suggests anything,
    /// for anything.
    pub(super) fn pull(&mut self, now: Time, ticks: bool) {
        if !self.fetches || self.have.is_full() {
            return;
        }
        self.pull_orphans(now);
        if self.all_in_flight() {
            if ticks {
                self.relieve(now);
                self.pull_late(now);
            }
            return;
        }
        let unfed = now.saturating_sub(self.fed_at) > UNFED.max(self.longest_unfed * UNFED_TIMES);
        if unfed || self.pulls {
            let ids: Vec<PeerId> = self.peers.keys().copied().collect();
            // Not the same one first each time, where few chunks may come at once.
            let start = self.next_request as usize % ids.len().max(1);
            self.pulls = false;
            for id in ids[start..].iter().chain(&ids[..start]) {
                self.pull_from(now, *id, unfed);
            }
        }
    }

    /// Those who declined it elsewhere do not suggest it again.
    fn pull_orphans(&mut self, now: Time) {
        let (mut waiting, ends) = (Vec::new(), self.all_in_flight());
        while (self.under_way() as u32) < self.intake.limit() && waiting.len() < ORPHANS_WAITING_MAX {
            let Some(chunk) = self.orphans.pop_front() else { break };
            if self.have.contains(chunk) || self.in_flight.contains_key(&chunk) {
                continue;
            }
            let having = || self.peers.iter().filter(|(_, p)| p.has.contains(chunk) && !p.receiving.contains(&chunk));
            // As long as there is more to come by itself, what is asked for out of turn leaves the lines to the rest.
            let little = |p: &Peer| p.asked.len() < ORPHANS_MAX || self.fetchers == 0 || ends;
            let able = having().filter(|(_, p)| self.has_room_for(p) && little(p) && p.may_be_asked(now));
            // A seed's line has more to do, and not everyone asks the same one.
            let best = able.max_by_key(|(id, p)| {
                let chance = (**id ^ u64::from(chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
                (p.stalls == 0, !p.is_doubted(), !p.came_complete, Reverse(p.asked.len()), chance)
            });
            let Some(id) = best.map(|(id, _)| *id) else {
                // Whoever has it may have been silent, and is asked for one at a time until something comes again.
                if having().next().is_some() {
                    waiting.push(chunk);
                }
                continue;
            };
            self.book(now, id, chunk);
            self.request(id, vec![chunk]);
        }
        waiting.into_iter().rev().for_each(|chunk| self.orphans.push_front(chunk));
    }

    /// Asks a peer that never suggests anything, one chunk at first, more as they come. Whoever does suggest has its reasons not to
    /// suggest anything to us, unless all of them have been silent.
    fn pull_from(&mut self, now: Time, id: PeerId, unfed: bool) {
        let mut picked = Vec::new();
        while let Some(peer) = self.peers.get(&id) {
            let goes_on = !peer.suggests && peer.pulled > 0;
            self.pulls |= goes_on;
            let may = peer.may_be_asked(now) && self.has_room_for(peer);
            if !(unfed || goes_on) || peer.asked.len() as u32 > peer.pulled || !may {
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
        for (chunk, from) in late {
            if self.late_left() == 0 && !self.is_hopeless(from) {
                continue;
            }
            let able = self.peers.iter().filter(|(id, p)| {
                **id != from
                    && !p.is_doubted()
                    && p.may_be_asked(now)
                    && p.asked.is_empty()
                    && p.has.contains(chunk)
                    && !p.receiving.contains(&chunk)
            });
            let fastest = able.max_by(|(_, a), (_, b)| a.rate().total_cmp(&b.rate()));
            let Some(id) = fastest.map(|(id, _)| *id) else { continue };
            self.book(now, id, chunk);
            self.request(id, vec![chunk]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{manifest::ChunkSet, schedule::Input};

    fn requests(node: &mut Scheduler) -> Vec<(u64, Vec<u32>)> {
        let effects = std::iter::from_fn(|| node.poll_effect());
        let asked = effects.filter_map(|effect| match effect {
            Effect::Request(1, request, chunks) => Some((request, chunks)),
            _ => None,
        });
        asked.collect()
    }

    /// It stood still for long with all of the rest on its way from it, and comes back.
    #[test]
    fn what_an_only_source_owed_when_it_stood_still_is_asked_of_it_again_as_soon_as_something_comes() {
        let mut node = Scheduler::new(ChunkSet::empty(10), 1, 64, 7);
        let mut now = Duration::from_secs(1);
        node.handle(now, Input::Connected(1));
        node.handle(now, Input::Haves(1, vec![0..10]));
        node.handle(now, Input::Suggested(1, vec![0..10]));
        let [(first, all)] = &requests(&mut node)[..] else { panic!("one request") };
        assert_eq!(all.len(), 10);
        let first = *first;
        for chunk in 0..5 {
            assert_eq!(node.offered(now, 1, chunk, first), crate::schedule::Expect::Wanted);
            node.handle(now, Input::Stored(1, chunk));
        }
        let mut again = Vec::new();
        for _ in 0..300 {
            now += Duration::from_millis(100);
            node.handle(now, Input::Tick);
            again.extend(requests(&mut node));
        }
        assert_eq!(again.iter().map(|(_, chunks)| chunks.len()).sum::<usize>(), 1, "one at a time: {again:?}");
        let (request, chunk) = (again[0].0, again[0].1[0]);
        node.handle(now, Input::Refused { peer: 1, request: first, ranges: vec![5..10] });
        assert_eq!(node.offered(now, 1, chunk, request), crate::schedule::Expect::Wanted);
        node.handle(now, Input::Progress(1, 1));
        node.handle(now, Input::Stored(1, chunk));
        let rest: usize = requests(&mut node).iter().map(|(_, chunks)| chunks.len()).sum();
        assert_eq!(rest, 4);
    }

    /// A node of 600 chunks with one honest source, which sends one chunk in 20 ms, and others that suggest everything and do with what is
    /// asked of them what `act` does; each comes again under another name after so long. Gives the time until everything was there.
    fn time_beside(
        others: u64,
        stays: Duration,
        act: impl Fn(&mut Scheduler, Time, PeerId, &mut Vec<(u64, u32)>),
    ) -> Duration {
        const CHUNKS: u32 = 600;
        const STEP: Duration = Duration::from_millis(20);
        let mut node = Scheduler::new(ChunkSet::empty(CHUNKS), 1000, 256_000, 7);
        let mut now = Duration::from_secs(1);
        let mut asked: BTreeMap<PeerId, Vec<(u64, u32)>> = BTreeMap::new();
        let mut present: Vec<PeerId> = Vec::new();
        let (mut next, mut sent) = (1, 0);
        node.handle(now, Input::Connected(0));
        node.handle(now, Input::Haves(0, vec![0..CHUNKS]));
        let begun = now;
        for step in 0..30_000u32 {
            now += STEP;
            if step % (stays.as_millis() / STEP.as_millis()) as u32 == 0 {
                for id in present.drain(..) {
                    node.handle(now, Input::Gone(id));
                    asked.remove(&id);
                }
                for _ in 0..others {
                    node.handle(now, Input::Connected(next));
                    node.handle(now, Input::Haves(next, vec![0..CHUNKS]));
                    present.push(next);
                    next += 1;
                }
            }
            for id in &present {
                let from = step * 97 % (CHUNKS - 200);
                node.handle(now, Input::Suggested(*id, vec![from..from + 200]));
            }
            // The honest one keeps eight on its way.
            let queue = asked.get(&0).map_or(0, Vec::len) as u32;
            if queue < 8 {
                let lacks: Vec<u32> = (0..CHUNKS)
                    .filter(|c| !node.have().contains(*c) && !node.in_flight.contains_key(c))
                    .take(8)
                    .collect();
                for chunk in lacks {
                    node.handle(now, Input::Suggested(0, vec![chunk..chunk + 1]));
                }
            }
            while let Some(effect) = node.poll_effect() {
                match effect {
                    Effect::Request(id, request, chunks) => {
                        asked.entry(id).or_default().extend(chunks.into_iter().map(|chunk| (request, chunk)));
                    }
                    Effect::Cancel(id, chunks) => {
                        let queue = asked.entry(id).or_default();
                        let (back, stay): (Vec<_>, Vec<_>) =
                            queue.drain(..).partition(|(_, chunk)| chunks.contains(chunk));
                        *queue = stay;
                        for (request, chunk) in back {
                            let ranges = vec![chunk..chunk + 1];
                            node.handle(now, Input::Refused { peer: id, request, ranges });
                        }
                    }
                    Effect::Complete => return now - begun,
                    Effect::Drop(id, words) => panic!("{id} is dropped: {words}"),
                    _ => {}
                }
            }
            let first = asked.get_mut(&0).filter(|queue| !queue.is_empty()).map(|queue| queue.remove(0));
            if let Some((request, chunk)) = first
                && node.offered(now, 0, chunk, request) == crate::schedule::Expect::Wanted
            {
                sent += 1000;
                node.handle(now, Input::Progress(0, sent));
                node.handle(now, Input::Stored(0, chunk));
            }
            for id in &present {
                act(&mut node, now, *id, asked.entry(*id).or_default());
            }
            if step % 5 == 0 {
                node.handle(now, Input::Tick);
            }
        }
        panic!("{} of {CHUNKS} chunks are here", node.have().count());
    }

    #[test]
    fn who_suggests_everything_and_sends_nothing_takes_no_room_from_who_sends() {
        let alone = time_beside(0, Duration::from_secs(5), |_, _, _, _| {});
        for (others, stays) in [(4, 3600), (4, 5), (12, 5), (12, 3600)] {
            let time = time_beside(others, Duration::from_secs(stays), |_, _, _, _| {});
            // What is asked of them last is asked elsewhere once they are known for it.
            assert!(time < alone + Duration::from_secs(13), "{time:?} instead of {alone:?} beside {others}");
        }
    }

    #[test]
    fn who_suggests_everything_and_refuses_it_when_asked_takes_no_room_from_who_sends() {
        let alone = time_beside(0, Duration::from_secs(5), |_, _, _, _| {});
        let refuses = |node: &mut Scheduler, now: Time, id: PeerId, asked: &mut Vec<(u64, u32)>| {
            for (request, chunk) in asked.drain(..) {
                let ranges = vec![chunk..chunk + 1];
                node.handle(now, Input::Refused { peer: id, request, ranges });
            }
        };
        let time = time_beside(4, Duration::from_secs(3600), refuses);
        assert!(time < alone + Duration::from_secs(5), "{time:?} instead of {alone:?}");
    }

    #[test]
    fn who_suggests_everything_and_never_ends_a_chunk_takes_no_room_from_who_sends() {
        let alone = time_beside(0, Duration::from_secs(5), |_, _, _, _| {});
        let trickles = |node: &mut Scheduler, now: Time, id: PeerId, asked: &mut Vec<(u64, u32)>| {
            for (request, chunk) in asked.drain(..) {
                let _ = node.offered(now, id, chunk, request);
            }
            node.handle(now, Input::Progress(id, now.as_millis() as u64 / 100));
        };
        let time = time_beside(4, Duration::from_secs(3600), trickles);
        assert!(time < alone + Duration::from_secs(5), "{time:?} instead of {alone:?}");
    }

    /// Each owes more than may be asked for twice, and gave something first.
    #[test]
    fn who_gives_some_chunks_and_then_one_byte_now_and_then_does_not_keep_the_rest_for_ever() {
        let alone = time_beside(0, Duration::from_secs(5), |_, _, _, _| {});
        let trickles = |node: &mut Scheduler, now: Time, id: PeerId, asked: &mut Vec<(u64, u32)>| {
            let came = u64::from(node.peers[&id].came);
            for (request, chunk) in asked.drain(..) {
                if node.offered(now, id, chunk, request) == crate::schedule::Expect::Wanted && came < 3 {
                    node.handle(now, Input::Progress(id, (came + 1) * 1000));
                    node.handle(now, Input::Stored(id, chunk));
                }
            }
            node.handle(now, Input::Progress(id, 10_000 + now.as_millis() as u64 / 100));
        };
        let time = time_beside(12, Duration::from_secs(3600), trickles);
        assert!(time < alone + Duration::from_secs(30), "{time:?} instead of {alone:?}");
    }

    #[test]
    fn who_sends_a_little_and_then_nothing_takes_no_room_for_long() {
        let alone = time_beside(0, Duration::from_secs(5), |_, _, _, _| {});
        let a_little = |node: &mut Scheduler, now: Time, id: PeerId, asked: &mut Vec<(u64, u32)>| {
            let came = node.peers[&id].came;
            if came < 20 && !asked.is_empty() {
                let (request, chunk) = asked.remove(0);
                if node.offered(now, id, chunk, request) == crate::schedule::Expect::Wanted {
                    node.handle(now, Input::Progress(id, u64::from(came + 1) * 1000));
                    node.handle(now, Input::Stored(id, chunk));
                }
            }
        };
        let time = time_beside(4, Duration::from_secs(3600), a_little);
        assert!(time < alone + Duration::from_secs(13), "{time:?} instead of {alone:?}");
    }
}
