//! What is waited for in vain: others that began after it have long been answered, or nothing at all is answered.

use std::{collections::VecDeque, time::Duration};

use super::{PeerId, TICK, Time};

/// Nothing at all is answered for so many times as long as an answer lately took.
const TIMES: u32 = 4;
/// What a new answer counts for that came sooner than others: one in so many. One that came later counts at once, as far as twice as long.
const SMOOTHING: u32 = 8;

/// What was begun, in its order: which chunk with which peer, as its how-manieth.
#[derive(Debug)]
pub(super) struct Overtaken {
    order: VecDeque<(u64, PeerId, u32, u64)>,
    begun: u64,
    done: u64,
    /// Everything up to this number is waited for in vain.
    given_up: u64,
    /// When something was done last, or was first waited for, and how long it lately took; zero until known.
    last: Time,
    took: Duration,
    /// How long it may be silent before that is known.
    first: Duration,
    /// How often all was given up since something was done: each time takes twice as long.
    alarms: u32,
}

impl Overtaken {
    pub(super) fn new(first: Duration) -> Self {
        Overtaken {
            order: VecDeque::new(),
            begun: 0,
            done: 0,
            given_up: 0,
            last: Time::ZERO,
            took: Duration::ZERO,
            first,
            alarms: 0,
        }
    }

    /// Begins to wait, beside so many others; gives the number by which it is known.
    pub(super) fn begin(&mut self, now: Time, id: PeerId, chunk: u32, others: u32) -> u64 {
        if others == 0 {
            self.last = now;
        }
        self.begun += 1;
        self.order.push_back((self.done, id, chunk, self.begun));
        self.begun
    }

    /// Before it is known how long it takes, nothing may happen for so long.
    pub(super) fn expect_first(&mut self, within: Duration) {
        self.first = within;
    }

    /// How long it lately took.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// Something is here that was waited for since then.
    pub(super) fn done(&mut self, now: Time, since: Time) {
        self.done += 1;
        self.last = now;
        let took = now.saturating_sub(since);
        let smoothed = took.max((self.took * (SMOOTHING - 1) + took) / SMOOTHING);
        // One that slept says little of the others.
        self.took = if self.took.is_zero() { took } else { smoothed.min(self.took * 2) };
        self.alarms = 0;
    }

    /// The next that `many` others have overtaken, or that is waited for while nothing happens at all and there is need. It may be here
    /// already: then it has another number now, or none.
    pub(super) fn next(&mut self, now: Time, many: u32, need: bool) -> Option<(PeerId, u32, u64)> {
        let (done, id, chunk, number) = *self.order.front()?;
        let patience = if self.took.is_zero() { self.first } else { TICK.max(self.took * TIMES) };
        if need && now.saturating_sub(self.last) > patience * (1 << self.alarms.min(10)) {
            self.alarms += 1;
            self.given_up = self.begun;
        }
        if number <= self.given_up || self.done >= done + u64::from(many) {
            self.order.pop_front();
            return Some((id, chunk, number));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(overtaken: &mut Overtaken, now: Time, many: u32) -> Vec<u32> {
        std::iter::from_fn(|| overtaken.next(now, many, true)).map(|(_, chunk, _)| chunk).collect()
    }

    fn at(ms: u64) -> Time {
        Duration::from_millis(ms)
    }

    #[test]
    fn who_is_overtaken_is_not_waited_for_however_slow_all_are() {
        for unit in [1, 100, 10_000] {
            let mut waits = Overtaken::new(at(unit * 100));
            waits.begin(at(0), 1, 7, 0);
            for step in 1..10 {
                waits.begin(at(unit * step), 2, step as u32 + 10, 1);
                waits.done(at(unit * (step + 1)), at(unit * step));
                let overtaken = all(&mut waits, at(unit * (step + 1)), 8);
                // Those that were answered are told as well, and are known by their numbers.
                assert_eq!(overtaken.contains(&7), step == 8, "{step}: {overtaken:?}");
            }
        }
    }

    #[test]
    fn where_nothing_is_answered_all_is_given_up_later_and_later() {
        let mut waits = Overtaken::new(at(500));
        for chunk in 0..3 {
            waits.begin(at(0), 1, chunk, chunk);
        }
        assert!(all(&mut waits, at(500), 8).is_empty());
        assert_eq!(all(&mut waits, at(501), 8), [0, 1, 2]);
        waits.begin(at(501), 2, 3, 3);
        assert!(all(&mut waits, at(1000), 8).is_empty());
        assert_eq!(all(&mut waits, at(1001), 8), [3]);
    }

    #[test]
    fn how_long_it_takes_is_learnt_and_forgotten() {
        let mut waits = Overtaken::new(at(500));
        let answers = |waits: &mut Overtaken, took: u64, from: u64| {
            for step in 0..60 {
                waits.begin(at(from + step * took), 1, 0, 0);
                waits.done(at(from + (step + 1) * took), at(from + step * took));
            }
            all(waits, at(from + 60 * took), 1);
            waits.begin(at(from + 60 * took), 1, 1, 0);
        };
        answers(&mut waits, 1000, 0);
        assert!(all(&mut waits, at(63_000), 8).is_empty(), "as slow as usual");
        assert_eq!(all(&mut waits, at(64_100), 8), [1]);
        answers(&mut waits, 10, 70_000);
        assert_eq!(all(&mut waits, at(70_600 + 150), 8), [1], "much slower than lately");
    }
}
