//! How long to wait for the addresses at which a node listens, before its ticket is made.

use std::time::{Duration, Instant};

/// When no more listening addresses come for this long, the ticket is made.
const ADDRESSES_QUIET: Duration = Duration::from_millis(200);
/// How long the first listening address may take: on a busy machine it takes its time. All of them together take no longer.
const ADDRESSES_TIME_MAX: Duration = Duration::from_secs(10);

/// A wait that only addresses prolong: members who come and go without end are no reason to wait on.
pub(super) struct AddressWait {
    until: Instant,
    end: Instant,
}

impl AddressWait {
    pub(super) fn new(now: Instant) -> Self {
        let end = now + ADDRESSES_TIME_MAX;
        AddressWait { until: end, end }
    }

    /// An address was heard.
    pub(super) fn heard_one(&mut self, now: Instant) {
        self.until = self.end.min(now + ADDRESSES_QUIET);
    }

    /// What is left of it; `None` at its end.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        Some(self.until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn it_ends_soon_after_the_last_address_whatever_else_happens() {
        let began = clock::now();
        let mut wait = AddressWait::new(began);
        let first = began + Duration::from_secs(1);
        assert!(wait.left(first).is_some());
        wait.heard_one(first);
        // Of anything else that happens it is not told.
        assert_eq!(wait.left(first + ADDRESSES_QUIET / 2), Some(ADDRESSES_QUIET / 2));
        assert_eq!(wait.left(first + ADDRESSES_QUIET), None);
    }

    #[test]
    fn addresses_without_end_do_not_prolong_it_for_ever() {
        let began = clock::now();
        let mut wait = AddressWait::new(began);
        let mut now = began;
        while wait.left(now).is_some() {
            assert!(now <= began + ADDRESSES_TIME_MAX);
            now += ADDRESSES_QUIET / 2;
            wait.heard_one(now);
        }
        assert!(AddressWait::new(began).left(began + ADDRESSES_TIME_MAX).is_none(), "nor is one waited for in vain");
    }
}
