//! To how many receivers our line sends at once, and how fast it is.
//!
//! Few at once: each arrives sooner and is passed on sooner, and what is chosen last is chosen best. But where the receivers' lines are
//! slower than ours, only many at once fill it. Which of both is the case is tried out: a few more for a while, then a few less, and
//! what the line gained or lost decides.

use std::time::Duration;

use super::Time;

/// Receivers at once, at the least: one takes, one is ready.
const SLOTS_MIN: u32 = 2;
/// Receivers at once, at the most.
const SLOTS_MAX: u32 = 128;
/// What is on the line at once keeps it busy for so long, at the least.
const LINE_TIME: Duration = Duration::from_millis(20);
/// A trial takes so long and so many chunks, at the least.
const TRIAL_TIME: Duration = Duration::from_millis(500);
/// See [`TRIAL_TIME`].
const TRIAL_CHUNKS: u64 = 16;
/// After trials that changed nothing the next one waits for so many of its lengths, at the most.
const REST_MAX: u32 = 16;
/// More at once must gain this much to be kept.
const GAIN: f64 = 1.15;
/// Less at once may cost this much.
const LOSS: f64 = 0.97;
/// A chunk that is on the line for longer than others take, and this, waits for its receiver.
const STUCK_TIME: Duration = Duration::from_millis(200);
/// What a new measurement counts for against the old ones.
const SMOOTHING: f64 = 0.3;

/// See the module.
#[derive(Debug)]
pub(super) struct Slots {
    chunk_size_bytes: f64,
    /// Found by trials.
    found: u32,
    trial: Trial,
    /// Whether all were taken since the trial began.
    filled: bool,
    began: Time,
    chunks: u64,
    bytes: u64,
    /// What the line carried before the trial.
    before: f64,
    rest: u32,
    rested: u32,
    /// Chunks on the line, since when there are any, and how long there were some and what they carried, unmeasured yet.
    on_line: u32,
    /// To how many receivers, without those that leave our line to others.
    receivers: u32,
    busy_since: Time,
    busy: Duration,
    busy_bytes: u64,
    busy_chunks: u32,
    rate: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    None,
    More(u32),
    Less(u32),
}

impl Slots {
    pub(super) fn new(chunk_size_bytes: u64) -> Self {
        Slots {
            chunk_size_bytes: chunk_size_bytes.max(1) as f64,
            found: SLOTS_MIN,
            trial: Trial::None,
            filled: false,
            began: Time::ZERO,
            chunks: 0,
            bytes: 0,
            before: 0.0,
            rest: 1,
            rested: 0,
            on_line: 0,
            receivers: 0,
            busy_since: Time::ZERO,
            busy: Duration::ZERO,
            busy_bytes: 0,
            busy_chunks: 0,
            rate: 0.0,
        }
    }

    /// Bytes a second while something was on the line; none: not known yet.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate)
    }

    /// Chunks that the line carries in a time, as far as is known.
    pub(super) fn chunks_in(&self, time: Duration) -> u32 {
        ((self.rate * time.as_secs_f64() / self.chunk_size_bytes) as u32).min(SLOTS_MAX)
    }

    /// To how many receivers chunks may be on the line.
    pub(super) fn count(&self) -> u32 {
        let tried = match self.trial {
            Trial::None => self.found,
            Trial::More(n) | Trial::Less(n) => n,
        };
        tried.max(SLOTS_MIN + self.chunks_in(LINE_TIME)).min(SLOTS_MAX)
    }

    pub(super) fn is_open(&self) -> bool {
        self.receivers < self.count()
    }

    /// A chunk goes out.
    pub(super) fn begin(&mut self, now: Time) {
        if self.on_line == 0 {
            self.busy_since = now;
        }
        self.on_line += 1;
        self.filled |= self.receivers >= self.count();
    }

    /// A chunk that takes longer waits for its receiver.
    pub(super) fn patience(&self) -> Duration {
        let all = self.chunk_size_bytes * f64::from(self.count());
        if self.rate > 0.0 {
            STUCK_TIME + Duration::from_secs_f64((4.0 * all / self.rate).min(60.0))
        } else {
            STUCK_TIME * 8
        }
    }

    /// Our line is with one receiver more or less.
    pub(super) fn receivers(&mut self, before: bool, after: bool) {
        self.receivers = self.receivers + u32::from(after) - u32::from(before);
    }

    /// A chunk is off the line; so many bytes have gone out.
    pub(super) fn end(&mut self, now: Time, bytes: u64) {
        self.on_line = self.on_line.saturating_sub(1);
        if self.on_line == 0 {
            self.busy += now.saturating_sub(self.busy_since);
        }
        self.chunks += u64::from(bytes > 0);
        self.bytes += bytes;
        self.busy_bytes += bytes;
        self.busy_chunks += u32::from(bytes > 0);
    }

    /// Measures, and begins or ends a trial.
    pub(super) fn tick(&mut self, now: Time) {
        self.measure(now);
        let took = now.saturating_sub(self.began);
        if took < TRIAL_TIME || (self.chunks < TRIAL_CHUNKS && took < TRIAL_TIME * 8) {
            return;
        }
        let rate = self.bytes as f64 / took.as_secs_f64();
        let filled = std::mem::take(&mut self.filled);
        (self.began, self.chunks, self.bytes) = (now, 0, 0);
        match std::mem::replace(&mut self.trial, Trial::None) {
            Trial::None if !filled => {}
            Trial::None => {
                self.before = rate;
                self.rested += 1;
                if self.rested >= self.rest {
                    self.rested = 0;
                    let now = self.count();
                    // Each second trial after one that changed nothing goes the other way.
                    self.trial = if self.rest.trailing_zeros().is_multiple_of(2) || now <= SLOTS_MIN {
                        Trial::More((now + now.div_ceil(2)).min(SLOTS_MAX))
                    } else {
                        Trial::Less((now - now / 3).max(SLOTS_MIN))
                    };
                }
            }
            Trial::More(n) if filled && rate >= self.before * GAIN => self.keep(n),
            Trial::Less(n) if filled && rate >= self.before * LOSS => self.keep(n),
            _ => self.rest = (self.rest * 2).min(REST_MAX),
        }
    }

    fn keep(&mut self, n: u32) {
        self.found = n;
        self.rest = 1;
    }

    fn measure(&mut self, now: Time) {
        if self.on_line > 0 {
            self.busy += now.saturating_sub(std::mem::replace(&mut self.busy_since, now));
        }
        let seconds = self.busy.as_secs_f64();
        if seconds < 0.05 || (self.busy_chunks < 4 && seconds < 1.0) {
            return;
        }
        // Where nothing has left for long, the line is slower than one chunk in that time.
        let sample =
            (self.busy_bytes as f64).max(if self.busy_chunks == 0 { self.chunk_size_bytes } else { 0.0 }) / seconds;
        if self.busy_chunks == 0 && (self.rate == 0.0 || sample >= self.rate) {
            return;
        }
        self.rate = if self.rate == 0.0 { sample } else { self.rate + SMOOTHING * (sample - self.rate) };
        (self.busy, self.busy_bytes, self.busy_chunks) = (Duration::ZERO, 0, 0);
    }
}
