//! The end of a transfer: what waits at slow peers is asked of those who have nothing more to send us, so that all end together.
//!
//! Near the end everything that we lack has been asked for, and whoever is fast is done first. What a slow peer still has in its queue
//! would then come over its line alone, while the others are idle. The last chunks of that queue are taken back and asked of the others:
//! as many as leave every queue about equally long, by how fast chunks have come from each. The first ones of a queue stay, since they may
//! be on the line already: they would come twice. So would those of a long way, on which nothing has come yet from whoever was asked last:
//! each chunk is taken back once.

use std::collections::BTreeMap;

use super::{Effect, OWED_MAX, PeerId, Scheduler, Time};

/// Chunks of a peer's queue that stay with it: one on the line, one that follows it.
const KEPT: usize = 2;
/// Peers that help at once: the fastest ones.
const HELPERS_MAX: usize = 8;
/// A chunk is taken back where it would come so many times as late as from elsewhere.
const GAIN: f64 = 1.5;

/// Somebody of whom nothing is asked, how fast chunks come from it, and how many it is to be asked for.
struct Helper {
    id: PeerId,
    rate: f64,
    asked: u32,
}

/// Somebody with a queue, how fast chunks come from it, and of which chunks nothing has come, those last that were asked for last.
struct Behind {
    id: PeerId,
    rate: f64,
    queue: Vec<(Time, u32)>,
}

impl Helper {
    /// When it has sent one chunk more, in chunks' sizes: only compared.
    fn ends(&self) -> f64 {
        f64::from(self.asked + 1) / self.rate
    }
}

impl Behind {
    fn ends(&self) -> f64 {
        self.queue.len() as f64 / self.rate
    }
}

impl Scheduler {
    /// Asks those of whom nothing is asked for what waits longest at others. To be called where all that we lack has been asked for.
    pub(super) fn relieve(&mut self, now: Time) {
        let mut helpers = self.helpers(now);
        if helpers.is_empty() {
            return;
        }
        let mut behind = self.behind();
        let (mut taken_back, mut asked) = (BTreeMap::new(), BTreeMap::new());
        // Each turn takes one chunk off a queue, and queues are no longer than what may be in flight.
        while let Some(slow) =
            behind.iter_mut().filter(|b| b.queue.len() > KEPT).max_by(|a, b| a.ends().total_cmp(&b.ends()))
            && let Some(fast) = helpers.iter_mut().min_by(|a, b| a.ends().total_cmp(&b.ends()))
            && slow.ends() > GAIN * fast.ends()
        {
            let (Some((_, chunk)), Some(peer)) = (slow.queue.pop(), self.peers.get(&fast.id)) else { return };
            if peer.has.contains(chunk) && !peer.receiving.contains(&chunk) && peer.owed.len() < OWED_MAX {
                fast.asked += 1;
                self.relieved.insert(chunk);
                taken_back.entry(slow.id).or_insert_with(Vec::new).push(chunk);
                asked.entry(fast.id).or_insert_with(Vec::new).push(chunk);
            }
        }
        for (id, mut chunks) in taken_back {
            chunks.sort_unstable();
            for chunk in &chunks {
                self.no_longer_from(now, id, *chunk);
            }
            self.effects.push_back(Effect::Cancel(id, chunks));
        }
        for (id, chunks) in asked {
            for chunk in &chunks {
                self.book(now, id, *chunk);
            }
            self.request(id, chunks);
        }
    }

    fn helpers(&self, now: Time) -> Vec<Helper> {
        let idle = self
            .peers
            .iter()
            .filter(|(_, p)| p.asked.is_empty() && p.stalls == 0 && p.rate() > 0.0 && p.may_be_asked(now));
        let mut helpers: Vec<Helper> = idle.map(|(id, p)| Helper { id: *id, rate: p.rate(), asked: 0 }).collect();
        helpers.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        helpers.truncate(HELPERS_MAX);
        helpers
    }

    fn behind(&self) -> Vec<Behind> {
        let queued = self.peers.iter().filter(|(_, p)| p.asked.len() > KEPT);
        let behind = queued.map(|(id, p)| {
            let from_it_alone = |chunk: &u32| self.in_flight.get(chunk).is_some_and(|from| from[..] == [*id]);
            let may_go = |chunk: &u32| !p.receiving.contains(chunk) && !self.relieved.contains(*chunk);
            let waits = p.asked.iter().filter(|(chunk, _)| may_go(chunk) && from_it_alone(chunk));
            let mut queue: Vec<(Time, u32)> = waits.map(|(chunk, since)| (*since, *chunk)).collect();
            queue.sort_unstable();
            // Of whom nothing has come yet it is the least that is known.
            Behind { id: *id, rate: p.rate().max(1.0), queue }
        });
        behind.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        manifest::ChunkSet,
        schedule::{Expect, Input},
    };

    const CHUNKS: u32 = 60;

    fn at(ms: u64) -> Time {
        Duration::from_millis(ms)
    }

    /// A node to which 1 has sent chunk after chunk; `queue` more are asked of 2, of which nothing has come yet, and nothing else is left. What it
    /// decides when the last chunk of 1 is here.
    fn ends(queue: u32) -> (Scheduler, Vec<Effect>) {
        let mut node = Scheduler::new(ChunkSet::empty(CHUNKS), 1000, 64_000, 7);
        for id in [1, 2] {
            node.handle(at(0), Input::Connected(id));
            node.handle(at(0), Input::Haves(id, vec![0..CHUNKS]));
        }
        // It has been good before.
        node.peers.get_mut(&2).unwrap().came = CHUNKS;
        let mut requests = 0;
        let mut ask = |node: &mut Scheduler, now, id, chunks| {
            node.handle(now, Input::Suggested(id, vec![chunks]));
            requests += 1;
            requests
        };
        ask(&mut node, at(0), 2, CHUNKS - queue..CHUNKS);
        let mut told = Vec::new();
        for chunk in 0..CHUNKS - queue {
            let now = at(100 * u64::from(chunk + 1));
            let request = ask(&mut node, now - at(50), 1, chunk..chunk + 1);
            assert_eq!(node.offered(now, 1, chunk, request), Expect::Wanted);
            node.handle(now, Input::Progress(1, 1000 * u64::from(chunk + 1)));
            node.handle(now, Input::Tick);
            node.handle(now, Input::Stored(1, chunk));
            told = std::iter::from_fn(|| node.poll_effect()).collect();
            assert!(!told.iter().any(|e| matches!(e, Effect::Cancel(..))), "{told:?}");
        }
        node.handle(at(100 * u64::from(CHUNKS - queue + 1)), Input::Tick);
        told.extend(std::iter::from_fn(|| node.poll_effect()));
        (node, told)
    }

    #[test]
    fn what_waits_at_a_slow_peer_is_asked_of_one_that_is_done_and_the_first_of_it_stays() {
        let (node, told) = ends(20);
        let mut requests =
            told.iter().filter_map(|e| if let Effect::Request(1, _, c) = e { Some(c.clone()) } else { None });
        let asked = requests.next_back();
        let back = told.iter().find_map(|e| if let Effect::Cancel(2, c) = e { Some(c.clone()) } else { None });
        let (mut asked, back) = (asked.expect("the fast one is asked"), back.expect("the slow one is told"));
        asked.sort_unstable();
        assert_eq!(asked, back);
        assert_eq!(back.len(), 20 - KEPT);
        assert!(node.in_flight.len() == 20 && node.in_flight.values().all(|from| from.len() == 1));
    }

    #[test]
    fn nothing_is_taken_from_a_queue_that_is_nearly_done() {
        let (_, told) = ends(KEPT as u32);
        assert!(!told.iter().any(|e| matches!(e, Effect::Cancel(2, _))), "{told:?}");
    }
}
