//! PURE: what one log tells of its node and of each member, as lines over time.

use std::collections::BTreeMap;

use crate::app::run::log::Log;

/// A rate counts for what a line can do once it was held for so long.
const BEST_SECONDS: f64 = 3.0;
/// A node that lacks something and gains nothing for so long has stalled.
const STALL_SECONDS: f64 = 10.0;

/// A number over time: UNIX milliseconds, and its value; it grows between two points, and stands where two have one value.
pub(super) type Line = Vec<(u64, u64)>;

/// One log's view of one member.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Bytes that it had.
    pub(super) have: Line,
    /// Bytes that went to it from the log's node, and that came from it.
    pub(super) to: Line,
    pub(super) from: Line,
}

/// The lines of the log's own node: bytes that it had, sent, received, and how many chunks it alone had.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) have: Line,
    pub(super) sent: Line,
    pub(super) received: Line,
    pub(super) single: Line,
}

pub(super) fn own(log: &Log) -> Own {
    let mut own = Own::default();
    for moment in &log.moments {
        for (line, value) in [
            (&mut own.have, moment.have.min(log.head.bytes)),
            (&mut own.sent, moment.sent),
            (&mut own.received, moment.received),
            (&mut own.single, u64::from(moment.single.min(log.head.chunks))),
        ] {
            line.push((moment.ms, value));
        }
    }
    own
}

/// What the log tells of its members, by their numbers.
pub(super) fn members(log: &Log) -> BTreeMap<u16, Seen> {
    let mut all: BTreeMap<u16, Seen> = BTreeMap::new();
    let mut before = None;
    for moment in &log.moments {
        for (n, (chunks, to, from)) in &moment.members {
            let seen = all.entry(*n).or_default();
            let all_chunks = log.head.chunks.max(1);
            let bytes = u128::from(log.head.bytes) * u128::from((*chunks).min(all_chunks)) / u128::from(all_chunks);
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            for (line, value) in [(&mut seen.have, bytes), (&mut seen.to, *to), (&mut seen.from, *from)] {
                // It is told only when it changes: until the moment before, it was what it had been.
                if let (Some(before), Some((ms, last))) = (before, line.last().copied())
                    && before > ms
                {
                    line.push((before, last));
                }
                line.push((moment.ms, value));
            }
        }
        before = Some(moment.ms);
    }
    all
}

/// What it grew by in a second, at most, for as long as counts; of a shorter line over all of it. `None`: it is no longer than an instant,
/// or has not grown.
pub(super) fn best(line: &Line) -> Option<f64> {
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0;
    let (first, last) = (line.first()?, line.last()?);
    let span = seconds(first.0, last.0);
    let need = BEST_SECONDS.min(span);
    let (mut best, mut begin) = (0.0_f64, 0);
    for (ms, value) in line {
        while line.get(begin + 1).is_some_and(|(next, _)| seconds(*next, *ms) >= need) {
            begin += 1;
        }
        let (from, before) = line[begin];
        if seconds(from, *ms) >= need && *ms > from {
            best = best.max(value.saturating_sub(before) as f64 / seconds(from, *ms));
        }
    }
    (best > 0.0).then_some(best)
}

/// From when to when nothing came though some of `all` was missing, in UNIX milliseconds.
pub(super) fn stalls(line: &Line, all: u64) -> Vec<(u64, u64)> {
    let mut stalls: Vec<(u64, u64)> = Vec::new();
    for pair in line.windows(2) {
        let [(from, before), (to, after)] = pair else { continue };
        if before != after || *before >= all {
            continue;
        }
        match stalls.last_mut().filter(|last| last.1 == *from) {
            Some(last) => last.1 = *to,
            None => stalls.push((*from, *to)),
        }
    }
    stalls.retain(|(from, to)| (to - from) as f64 / 1000.0 >= STALL_SECONDS);
    stalls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_rate_is_one_that_was_held_and_a_stall_is_long() {
        let line = vec![(0, 0), (1000, 900), (2000, 1000), (3000, 1000), (4000, 1300), (20_000, 1300), (21_000, 1310)];
        // One second of 900 bytes is no line; the first three seconds are.
        assert_eq!(best(&line), Some(1000.0 / 3.0));
        assert_eq!(best(&vec![(0, 0), (1000, 500)]), Some(500.0));
        assert_eq!((best(&vec![(5, 7)]), best(&vec![(5, 7), (5, 9)]), best(&Line::new())), (None, None, None));
        assert_eq!(stalls(&line, 2000), [(4000, 20_000)]);
        assert_eq!(stalls(&line, 1300), []);
    }
}
