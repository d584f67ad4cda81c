//! How fast a peer passes on what it alone was given, as the announcements of others show.

use std::time::Duration;

use super::Time;

/// Copies that are passed on between two measurements.
const SAMPLE: u32 = 4;
/// What a new measurement counts for against the old ones.
const SMOOTHING: f64 = 0.5;

/// Only the time counts in which the peer had something to pass on: who is given little is not taken for slow.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// Copies that it has and nobody else.
    here: u32,
    /// Of the sample that is being taken: copies passed on, and how long there were any, without the time since `since`.
    passed: u32,
    busy: Duration,
    since: Time,
    /// Copies a second; 0 until known.
    rate: f64,
}

impl Passing {
    /// It has a copy that nobody else has.
    pub(super) fn has(&mut self, now: Time) {
        if self.here == 0 {
            self.since = now;
        }
        self.here += 1;
    }

    /// Somebody else will have one of them, and not from it.
    pub(super) fn has_no_more(&mut self, now: Time) {
        self.here = self.here.saturating_sub(1);
        self.busy += now.saturating_sub(std::mem::replace(&mut self.since, now));
    }

    /// Somebody else has one of them, too.
    pub(super) fn passed(&mut self, now: Time) {
        self.has_no_more(now);
        self.passed += 1;
        if self.passed >= SAMPLE {
            let sample = f64::from(self.passed) / self.busy.as_secs_f64().max(1e-9);
            self.rate = if self.rate == 0.0 { sample } else { self.rate + SMOOTHING * (sample - self.rate) };
            (self.passed, self.busy) = (0, Duration::ZERO);
        }
    }

    /// Copies a second, where it is known: no more than what is passed on now shows. A line that has become slow is known for it before
    /// anything was passed on over it.
    pub(super) fn rate(&self, now: Time) -> Option<f64> {
        let open = self.busy + if self.here > 0 { now.saturating_sub(self.since) } else { Duration::ZERO };
        let at_most = f64::from(self.passed + 1) / open.as_secs_f64().max(1e-9);
        match self.rate {
            0.0 if self.passed == 0 && self.here == 0 => None,
            0.0 => Some(at_most),
            rate => Some(rate.min(at_most)),
        }
    }
}
