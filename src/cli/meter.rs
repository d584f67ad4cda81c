//! How a task of many bytes goes, as one line that fits the terminal. Pure: the time is given.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::base::text::{self, megabytes_per_second};

/// A rate is of the bytes of this last while.
const WINDOW: Duration = Duration::from_secs(10);
/// Time between two samples of a rate, at least.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// Without a byte for this long, a task that has an end counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Columns of a bar, where there is room for one.
const BAR_COLUMNS: usize = 32;

/// What was seen of one task. What is done when it is first seen, such as what an earlier run left, is in no rate.
#[derive(Debug)]
pub(super) struct Meter {
    samples: VecDeque<(Instant, u64)>,
    done: u64,
    moved: Instant,
}

impl Meter {
    pub(super) fn new(now: Instant, done: u64) -> Self {
        Meter { samples: VecDeque::from([(now, done)]), done, moved: now }
    }

    /// Takes what is done by now.
    pub(super) fn saw(&mut self, now: Instant, done: u64) {
        if done != self.done {
            (self.done, self.moved) = (done, now);
        }
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_INTERVAL) {
            self.samples.push_back((now, done));
        }
        // One from before the window stays, so that the rate is of all of it.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Megabytes a second of the last while.
    fn rate(&self, now: Instant) -> f64 {
        let (since, before) = self.samples.front().copied().unwrap_or((now, self.done));
        megabytes_per_second(self.done.saturating_sub(before), now.duration_since(since).as_secs_f64())
    }

    /// The task's line on a terminal, with a bar before the words where there is room for one.
    pub(super) fn line(&self, now: Instant, task: &str, total: Option<u64>, detail: &str, columns: usize) -> String {
        let words = self.words(now, task, total, detail, columns);
        match total.filter(|total| *total > 0) {
            Some(total) if words.chars().count() + BAR_COLUMNS + 3 <= columns => {
                let full = u128::from(self.done.min(total)) * BAR_COLUMNS as u128 / u128::from(total);
                let full = usize::try_from(full).unwrap_or(BAR_COLUMNS);
                format!("[{}{}] {words}", "=".repeat(full), " ".repeat(BAR_COLUMNS - full))
            }
            _ => words,
        }
    }

    /// How the task goes, in at most `columns` columns: what matters most is told first, and what has no room is left out.
    pub(super) fn words(&self, now: Instant, task: &str, total: Option<u64>, detail: &str, columns: usize) -> String {
        let done = text::bytes(self.done);
        let rate = self.rate(now);
        let still = now.duration_since(self.moved);
        let mut parts = Vec::new();
        let begin = match total.filter(|total| *total > 0) {
            None => {
                parts.push(format!("{rate:.0} MB/s"));
                format!("{task}: {done}")
            }
            Some(total) => {
                let left = total.saturating_sub(self.done);
                if left > 0 && still >= STALLED_AFTER {
                    parts.push(format!("stalled for {} s", still.as_secs()));
                } else {
                    parts.push(format!("{rate:.0} MB/s"));
                    if left > 0 && rate > 0.0 {
                        let seconds = Duration::from_secs((left as f64 / 1e6 / rate) as u64);
                        parts.push(format!("{} left", humantime::format_duration(seconds)));
                    }
                }
                let percent = self.done as f64 * 100.0 / total as f64;
                format!("{task}: {percent:.0}%, {done} of {}", text::bytes(total))
            }
        };
        parts.extend((!detail.is_empty()).then(|| detail.to_owned()));
        let mut line: String = begin.chars().take(columns).collect();
        let mut used = line.chars().count();
        for part in parts {
            let more = part.chars().count() + 2;
            if used + more <= columns {
                line.push_str(", ");
                line.push_str(&part);
                used += more;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn after(seconds: u64) -> impl Fn(Instant) -> Instant {
        move |began| began + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_there_before_is_in_no_rate() {
        let began = clock::now();
        let mut meter = Meter::new(began, 900_000_000);
        meter.saw(after(2)(began), 920_000_000);
        let line = meter.line(after(2)(began), "fetch", Some(1_000_000_000), "3 peers", 80);
        assert_eq!(line, "fetch: 92%, 877.4 MiB of 953.7 MiB, 10 MB/s, 8s left, 3 peers");
        // Long after, only the last seconds count.
        for second in 3..60 {
            meter.saw(after(second)(began), 920_000_000 + second * 1_000_000);
        }
        assert!(meter.line(after(59)(began), "fetch", None, "", 80).ends_with("MiB, 1 MB/s"));
    }

    #[test]
    fn a_task_that_stands_still_says_so() {
        let began = clock::now();
        let mut meter = Meter::new(began, 0);
        meter.saw(after(1)(began), 1 << 20);
        for (seconds, words) in [(5, "0 MB/s"), (13, "stalled for 12 s, trying 192.0.2.7:6690")] {
            meter.saw(after(seconds)(began), 1 << 20);
            let line = meter.line(after(seconds)(began), "fetch", Some(2 << 20), "trying 192.0.2.7:6690", 80);
            assert!(line.contains(words) && line.starts_with("fetch: 50%, "), "{line}");
        }
        // Serving has no end, and nobody asking is no stall.
        assert_eq!(meter.line(after(99)(began), "serve", None, "no peer", 80), "serve: 1.0 MiB, 0 MB/s, no peer");
    }

    #[test]
    fn a_line_fits_whatever_the_terminal() {
        let began = clock::now();
        let mut meter = Meter::new(began, 0);
        meter.saw(after(1)(began), 123 << 20);
        for columns in [1, 10, 40, 60, 80, 200] {
            let line = meter.line(after(1)(began), "fetch", Some(1 << 30), &"peer ".repeat(8), columns);
            assert!(line.chars().count() <= columns, "{columns}: {line}");
            assert!(columns < 40 || line.contains("12%"), "{columns}: {line}");
            assert_eq!(line.starts_with("[==="), columns == 200, "{columns}: {line}");
        }
    }
}
