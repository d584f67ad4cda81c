//! How much a member may say: bytes at once, and on average. Who says more is read more slowly, and nobody else waits for it.

use std::time::Duration;

use super::wire::Message;
use crate::base::limits::{CONTROL_BURST_BYTES, CONTROL_BYTES_PER_SECOND};

/// What a message costs beside its bytes: the driver looks at each.
const MESSAGE_BYTES: u64 = 16;
/// What a chunk costs that is suggested, asked for or taken back: each gets an answer.
const CHUNK_BYTES: u64 = 64;
/// What an address costs: it is parsed, compared and told to others.
const ADDRESS_BYTES: u64 = 1 << 10;

/// Bytes that may still be said, since a time.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    since: Duration,
}

impl Budget {
    pub(super) fn new(now: Duration) -> Self {
        Budget { left: CONTROL_BURST_BYTES, since: now }
    }

    /// Spends `cost`; gives how long to wait before the message is passed on.
    pub(super) fn spend(&mut self, cost: u64, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since);
        let gained = (passed.as_micros() as u64).saturating_mul(CONTROL_BYTES_PER_SECOND) / 1_000_000;
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(CONTROL_BURST_BYTES);
            self.since = now;
        }
        if cost <= self.left {
            self.left -= cost;
            return Duration::ZERO;
        }
        let missing = cost - std::mem::take(&mut self.left);
        let wait = Duration::from_micros(missing.saturating_mul(1_000_000) / CONTROL_BYTES_PER_SECOND);
        // What is gained in that time is spent already.
        self.since = now + wait;
        wait
    }
}

/// What a message of `size` bytes costs. A manifest costs nothing: it comes only when it was asked for.
pub(super) fn cost(message: &Message, size: usize) -> u64 {
    match message {
        Message::Manifest(_) => 0,
        Message::Peers(addresses) => size as u64 + addresses.len() as u64 * ADDRESS_BYTES,
        Message::Suggestion(ranges) | Message::Request(_, ranges) | Message::Cancel(ranges) => {
            let chunks: u64 = ranges.iter().map(|(_, range)| u64::from(range.end.saturating_sub(range.start))).sum();
            // One that names more than any is refused by whoever knows how many there are.
            size as u64 + MESSAGE_BYTES + (chunks * CHUNK_BYTES).min(CONTROL_BURST_BYTES / 2)
        }
        _ => size as u64 + MESSAGE_BYTES,
    }
}

/// Memory that a message takes while it waits to be sent. A manifest is shared by all.
pub(super) fn weight(message: &Message) -> usize {
    let ranges = match message {
        Message::Haves(ranges)
        | Message::Request(_, ranges)
        | Message::Cancel(ranges)
        | Message::Suggestion(ranges)
        | Message::Decline { ranges, .. }
        | Message::Refusal { ranges, .. } => ranges.len(),
        Message::Statements(all) => return all.iter().map(|one| one.len() + 24).sum::<usize>() + 64,
        Message::Evidence(evidence) => return evidence.len() + 64,
        Message::Peers(addresses) => return addresses.iter().map(|a| a.len() + 24).sum::<usize>() + 64,
        _ => 0,
    };
    64 + 12 * ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_read_as_fast_as_is_allowed_and_no_faster() {
        let mut budget = Budget::new(Duration::ZERO);
        let (mut now, mut said) = (Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            said += 60_000;
            now += budget.spend(60_000, now);
        }
        let allowed = CONTROL_BURST_BYTES + 10 * CONTROL_BYTES_PER_SECOND;
        assert!(said <= allowed + 200_000 && said >= allowed - 200_000, "{said} of {allowed}");
    }

    #[test]
    fn who_says_little_never_waits() {
        let mut budget = Budget::new(Duration::ZERO);
        // Two thousand small requests a second: a fast line with small chunks.
        for ms in 0..20_000u64 {
            for _ in 0..2 {
                assert_eq!(budget.spend(14 + MESSAGE_BYTES, Duration::from_millis(ms)), Duration::ZERO);
            }
        }
    }
}
