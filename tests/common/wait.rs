//! Waiting for what a server or process tells nobody.

use std::time::{Duration, Instant};

/// Looks until something has happened that nobody tells; too long is a failure.
#[expect(clippy::disallowed_methods, reason = "bounds the wait of a test")]
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
