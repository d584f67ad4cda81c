//! How many chunks are on their way at once, over a line of which nothing is known but when each of them has arrived.
//!
//! Few at once: each arrives sooner and is passed on sooner, and what is chosen last is chosen best. But where the way is long, or the
//! lines at its other end are slower, only many at once fill the line. Which of both is the case is tried out: twice as many at the
//! beginning, later a few more or a few less, and whether more or fewer arrive decides. All of it is counted in chunks that have arrived,
//! so that it is the same on a line of a kilobyte a second and on one of a gigabyte.

use std::time::Duration;

use super::Time;

/// A trial takes so many times as many chunks as may be on their way,
const ROUNDS: u32 = 6;
/// at the beginning so many.
const ROUNDS_FIRST: u32 = 2;
/// After trials that changed nothing the next one waits for so many of its lengths, at the most.
const REST_MAX: u32 = 8;
/// Twice as many at once must gain this much, at the beginning.
const GAIN_FIRST: f64 = 1.1;
/// More at once must gain this much to be kept.
const GAIN: f64 = 1.04;
/// Fewer at once may cost this much.
const LOSS: f64 = 0.97;

/// See the module.
#[derive(Debug)]
pub(super) struct Width {
    least: u32,
    most: u32,
    found: u32,
    trial: Trial,
    /// On their way now.
    under_way: u32,
    /// How many are still to arrive before the trial begins.
    settles: u32,
    /// What arrived in this trial, when that began, and how long nothing was under way in it.
    arrived: u32,
    began: Option<Time>,
    idle: Duration,
    idle_since: Option<Time>,
    /// How many arrived while more would have been sent, were more allowed.
    filled: u32,
    hungry: bool,
    /// What arrived in a second before the trial.
    before: f64,
    rest: u32,
    rested: u32,
    /// The next trial is of fewer: the way that helped is gone on with.
    fewer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The beginning: twice as many as before.
    Twice,
    None,
    More(u32),
    Fewer(u32),
}

/// Two at a time go over a connection.
fn even(n: u32) -> u32 {
    n + n % 2
}

impl Width {
    pub(super) fn new(least: u32, most: u32) -> Self {
        Width {
            least,
            most: most.max(least),
            found: least,
            trial: Trial::Twice,
            under_way: 0,
            settles: 1,
            arrived: 0,
            began: None,
            idle: Duration::ZERO,
            idle_since: None,
            filled: 0,
            hungry: false,
            before: 0.0,
            rest: 1,
            rested: 0,
            fewer: false,
        }
    }

    /// How many may be under way.
    pub(super) fn limit(&self) -> u32 {
        match self.trial {
            Trial::Twice | Trial::None => self.found,
            Trial::More(n) | Trial::Fewer(n) => n,
        }
    }

    /// How many are.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// How many may be under way at the very most.
    #[cfg(test)]
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    pub(super) fn is_open(&self) -> bool {
        self.under_way < self.limit()
    }

    /// One begins.
    pub(super) fn begin(&mut self, now: Time) {
        if let Some(since) = self.idle_since.take() {
            self.idle += now.saturating_sub(since);
        }
        self.under_way += 1;
    }

    /// Whether more would be sent, were more allowed.
    pub(super) fn hungers(&mut self, hungry: bool) {
        self.hungry = hungry;
    }

    /// One counts no longer, though it has not arrived.
    pub(super) fn leave(&mut self, now: Time) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            self.idle_since.get_or_insert(now);
        }
    }

    /// One has arrived; whether it counted until now.
    pub(super) fn arrive(&mut self, now: Time, counted: bool) {
        if counted {
            self.leave(now);
        }
        // What was under way before the trial is let pass, and at the beginning the first: how long the way is does not matter.
        if self.settles > 0 {
            self.settles -= 1;
            if self.settles == 0 {
                (self.began, self.idle) = (Some(now), Duration::ZERO);
                self.idle_since = (self.under_way == 0).then_some(now);
            }
            return;
        }
        self.arrived += 1;
        self.filled += u32::from(self.hungry);
        // Many that began together arrive together: whole rounds of them, so that chance does not decide.
        let rounds = match self.trial {
            Trial::Twice => ROUNDS_FIRST,
            _ => ROUNDS,
        };
        if self.arrived >= self.limit() * rounds {
            self.judge(now);
        }
    }

    fn judge(&mut self, now: Time) {
        let idle = self.idle + self.idle_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let busy = now.saturating_sub(self.began.unwrap_or(now)).saturating_sub(idle);
        let rate = f64::from(self.arrived) / busy.as_secs_f64().max(1e-9);
        // Where there was not enough to fill the line with, nothing can be learnt.
        let filled = 2 * self.filled > self.arrived;
        (self.arrived, self.began, self.idle, self.filled) = (0, Some(now), Duration::ZERO, 0);
        self.idle_since = (self.under_way == 0).then_some(now);
        let limit = self.limit();
        match std::mem::replace(&mut self.trial, Trial::None) {
            Trial::Twice if !filled => self.trial = Trial::Twice,
            Trial::Twice if rate >= self.before * GAIN_FIRST && limit < self.most => {
                self.before = rate;
                self.found = (limit * 2).min(self.most);
                self.trial = Trial::Twice;
            }
            Trial::Twice => self.found = if self.before > 0.0 { (limit / 2).max(self.least) } else { limit },
            Trial::None if !filled => {}
            Trial::None => {
                self.before = rate;
                self.rested += 1;
                if self.rested >= self.rest {
                    self.rested = 0;
                    self.trial = if self.fewer && limit > self.least {
                        Trial::Fewer(even(limit - limit.div_ceil(4)).max(self.least))
                    } else {
                        Trial::More(even(limit + limit.div_ceil(2)).min(self.most))
                    };
                }
            }
            Trial::More(n) if filled && rate >= self.before * GAIN => self.keep(n),
            Trial::Fewer(n) if filled && rate >= self.before * LOSS => self.keep(n),
            Trial::More(_) | Trial::Fewer(_) => {
                self.rest = (self.rest * 2).min(REST_MAX);
                self.fewer = !self.fewer;
            }
        }
        if self.limit() != limit && self.trial != Trial::Twice {
            self.settles = self.under_way.max(self.limit());
        }
    }

    fn keep(&mut self, n: u32) {
        self.found = n;
        self.rest = 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A line that carries a chunk in `chunk` and on which each is acknowledged `way` later; always something to send.
    struct Line {
        width: Width,
        now: Time,
        free_at: Time,
        acks: VecDeque<Time>,
    }

    impl Line {
        fn new() -> Self {
            Line { width: Width::new(4, 256), now: Time::ZERO, free_at: Time::ZERO, acks: VecDeque::new() }
        }

        /// Lets so many arrive; chunks a second.
        fn run(&mut self, chunks: u32, chunk: Duration, way: Duration) -> f64 {
            let began = self.now;
            for _ in 0..chunks {
                while self.width.is_open() {
                    self.width.begin(self.now);
                    self.free_at = self.free_at.max(self.now) + chunk;
                    self.acks.push_back(self.free_at + way);
                }
                self.width.hungers(true);
                self.now = self.acks.pop_front().unwrap().max(self.now);
                self.width.arrive(self.now, true);
            }
            f64::from(chunks) / (self.now - began).as_secs_f64()
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn few_where_the_way_is_short_and_as_many_as_fill_the_line_where_it_is_long() {
        // The same of a chunk in a millisecond and of one in ten seconds.
        for unit in [MS, MS * 100, MS * 10_000] {
            let mut short = Line::new();
            short.run(1000, unit, unit / 10);
            assert!(short.width.limit() <= 8, "{unit:?}: {}", short.width.limit());
            let mut long = Line::new();
            long.run(1500, unit, unit * 40);
            let rate = long.run(500, unit, unit * 40) * unit.as_secs_f64();
            assert!(rate > 0.85 && long.width.limit() <= 150, "{unit:?}: {rate} of the line, {}", long.width.limit());
        }
    }

    #[test]
    fn what_was_found_is_forgotten_where_it_is_not_true_any_more() {
        let mut line = Line::new();
        line.run(2000, MS, MS * 40);
        assert!(line.width.limit() >= 30);
        // The line is a tenth of what it was: a tenth as many fill it.
        line.run(6000, MS * 10, MS * 40);
        assert!(line.width.limit() <= 16, "{}", line.width.limit());
        // And back.
        line.run(6000, MS, MS * 40);
        let rate = line.run(500, MS, MS * 40) / 1000.0;
        assert!(rate > 0.8, "{rate} of the line with {}", line.width.limit());
    }

    #[test]
    fn nothing_is_learnt_while_there_is_too_little_to_send() {
        let mut width = Width::new(4, 256);
        for step in 0..2000 {
            width.begin(MS * step);
            width.hungers(false);
            width.arrive(MS * step + MS / 2, true);
        }
        assert_eq!(width.limit(), 4);
    }
}
