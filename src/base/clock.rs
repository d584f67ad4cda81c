//! The one place that reads the clock. Pure rooms take the time as an argument.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The time of the monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of the wall clock, which an operator may set to any value.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Time since the beginning of 1970; 0 on a clock that stands before it.
pub fn since_1970() -> Duration {
    wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Seconds since the beginning of 1970 (UNIX seconds); 0 on a clock that stands before it.
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Monotonic time since this was first asked for.
pub fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(now);
    now().saturating_duration_since(*START)
}
