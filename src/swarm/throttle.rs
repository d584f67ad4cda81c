//! How fast chunks may go out and come in, over all members together: a bucket that fills at the operator's rate, and turns at it.
//!
//! Who sends or reads takes a slice's worth and waits until that is paid. The turns are first come, first served, and a slice has the
//! same size for everyone, so that members who all want bytes get equally many. Who waits for a member's line has no turn, and holds
//! up nobody.

use std::{num::NonZeroU64, time::Duration};

use tokio::{sync::Mutex, time::sleep};

use crate::base::clock;

/// Bytes that go at once where no limit is set.
const SLICE_SIZE_BYTES: usize = 256 << 10;
/// The smallest slice, however low the limit: a slice costs a frame, an encryption and a wake-up.
const SLICE_SIZE_BYTES_MIN: usize = 1 << 10;
/// At most so much of a second goes in one slice, so that everyone's turn comes soon.
const SLICES_PER_SECOND: u64 = 50;
/// What was not used may be caught up on for so long: a timer that fires late costs no rate.
const BURST_TIME: Duration = Duration::from_millis(200);

/// Limits as an operator sets them, in bytes of chunks a second; `None`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// What goes out.
    pub upload: Option<NonZeroU64>,
    /// What comes in.
    pub download: Option<NonZeroU64>,
}

/// When what passed so far is paid.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: NonZeroU64,
    paid_at: Duration,
}

impl Bucket {
    /// Takes bytes; gives how long to wait before they may pass.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second.get()));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now.saturating_sub(BURST_TIME)).saturating_add(cost);
        self.paid_at.saturating_sub(now)
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Throttle(Option<(Mutex<Bucket>, usize)>);

impl Throttle {
    fn new(limit: Option<NonZeroU64>) -> Self {
        Throttle(limit.map(|bytes_per_second| {
            let slice = usize::try_from(bytes_per_second.get() / SLICES_PER_SECOND).unwrap_or(usize::MAX);
            let bucket = Bucket { bytes_per_second, paid_at: clock::since_start() };
            (Mutex::new(bucket), slice.clamp(SLICE_SIZE_BYTES_MIN, SLICE_SIZE_BYTES))
        }))
    }

    pub(super) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// The most that goes in one turn.
    pub(super) fn slice_size_bytes(&self) -> usize {
        self.0.as_ref().map_or(SLICE_SIZE_BYTES, |(_, slice)| *slice)
    }

    /// Waits for a turn and until these bytes may pass. Who gives up waiting has lost no more than these.
    pub(super) async fn pass(&self, bytes: usize) {
        self.pass_by(bytes, clock::since_start, sleep).await;
    }

    /// [`Throttle::pass`] by any clock.
    async fn pass_by<S: Future<Output = ()>>(
        &self,
        bytes: usize,
        now: impl Fn() -> Duration,
        sleep: impl Fn(Duration) -> S,
    ) {
        let Some((bucket, _)) = &self.0 else { return };
        let mut bucket = bucket.lock().await;
        let wait = bucket.take(bytes as u64, now());
        if !wait.is_zero() {
            // The turn is kept meanwhile: those who come later wait in their order.
            sleep(wait).await;
        }
    }
}

/// Both directions of a node.
#[derive(Debug)]
pub(super) struct Throttles {
    pub(super) upload: Throttle,
    pub(super) download: Throttle,
}

impl Throttles {
    pub(super) fn new(limits: RateLimits) -> Self {
        Throttles { upload: Throttle::new(limits.upload), download: Throttle::new(limits.download) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;
    use proptest::prelude::*;

    use super::*;

    fn limit(bytes_per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes_per_second).unwrap()
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_passes_than_the_rate_and_the_burst(
            rate in 125_u64..200_000_000,
            steps in proptest::collection::vec((0_u64..300_000, 0_u64..3_000_000), 1..200),
        ) {
            let mut bucket = Bucket { bytes_per_second: limit(rate), paid_at: Duration::ZERO };
            let mut now = Duration::from_secs(1);
            let mut passed = Vec::new();
            for (bytes, idle_micros) in steps {
                now += Duration::from_micros(idle_micros);
                now += bucket.take(bytes, now);
                passed.push((now, bytes));
            }
            for from in 0..passed.len() {
                let mut sum = 0;
                for (at, bytes) in &passed[from..] {
                    sum += bytes;
                    // The first of them may have been paid before.
                    let time = (*at - passed[from].0 + BURST_TIME).as_secs_f64();
                    let allowed = time * rate as f64 + passed[from].1 as f64;
                    prop_assert!(sum as f64 <= allowed + 1.0, "{sum} of {allowed} bytes");
                }
            }
        }

        #[test]
        fn who_always_wants_more_gets_the_whole_rate(
            rate in 125_u64..200_000_000,
            lates in proptest::collection::vec(0_u64..150_000, 100..200),
        ) {
            // Timers fire late, but within the burst.
            let mut bucket = Bucket { bytes_per_second: limit(rate), paid_at: Duration::ZERO };
            let slice = (rate / SLICES_PER_SECOND).max(1);
            let (mut now, mut sum) = (Duration::ZERO, 0);
            for late in lates {
                let wait = bucket.take(slice, now);
                if !wait.is_zero() {
                    now += wait + Duration::from_micros(late);
                }
                sum += slice;
            }
            let full = now.saturating_sub(BURST_TIME).as_secs_f64() * rate as f64;
            prop_assert!(sum as f64 >= full * 0.999 - 1.0, "{sum} of {full} bytes");
        }
    }

    #[test]
    fn slices_are_small_where_the_rate_is() {
        assert_eq!(Throttle::new(None).slice_size_bytes(), SLICE_SIZE_BYTES);
        assert_eq!(Throttle::new(Some(limit(1))).slice_size_bytes(), SLICE_SIZE_BYTES_MIN);
        assert_eq!(Throttle::new(Some(limit(1_000_000))).slice_size_bytes(), 20_000);
        assert_eq!(Throttle::new(Some(limit(u64::MAX))).slice_size_bytes(), SLICE_SIZE_BYTES);
    }

    /// Members that always have bytes to send, by a clock that moves when somebody sleeps; gives what each has sent in a time.
    async fn sent_in(throttle: &Throttle, members: usize, time: Duration) -> Vec<u64> {
        let begin = clock::since_start();
        let clock = Cell::new(begin);
        join_all((0..members).map(|_| async {
            let mut sent = 0;
            loop {
                let advance = |wait| {
                    let clock = &clock;
                    async move {
                        tokio::task::yield_now().await;
                        clock.set(clock.get() + wait);
                    }
                };
                throttle.pass_by(throttle.slice_size_bytes(), || clock.get(), advance).await;
                if clock.get() > begin + time {
                    return sent;
                }
                sent += throttle.slice_size_bytes() as u64;
                tokio::task::yield_now().await;
            }
        }))
        .await
    }

    #[tokio::test]
    async fn members_get_equally_much_and_all_of_it_together() {
        for members in [1, 3, 16] {
            let throttle = Throttle::new(Some(limit(2_000_000)));
            let slice = throttle.slice_size_bytes() as u64;
            let sent = sent_in(&throttle, members, Duration::from_secs(60)).await;
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!(most - least <= slice, "{sent:?}");
            let sum: u64 = sent.iter().sum();
            let burst = 2_000_000 / 5 + slice;
            assert!((120_000_000 - slice..=120_000_000 + burst).contains(&sum), "{sum}");
        }
    }

    #[tokio::test]
    async fn who_gives_up_its_turn_holds_up_nobody() {
        let throttle = Throttle::new(Some(limit(1_000_000)));
        let begin = clock::since_start();
        let never = |_| std::future::pending();
        let mut stuck = Box::pin(throttle.pass_by(1_000_000_000, || begin, never));
        assert!(futures::poll!(&mut stuck).is_pending());
        drop(stuck);
        // The turn is free again; what was taken stays taken.
        let waited = Cell::new(Duration::ZERO);
        let wait = |time| {
            waited.set(time);
            std::future::ready(())
        };
        throttle.pass_by(1000, || begin + Duration::from_secs(1000), wait).await;
        assert!(waited.get() < Duration::from_secs(1), "{:?}", waited.get());
    }
}
