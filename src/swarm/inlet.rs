//! Bytes that trickle out of a full line are read a millisecond's worth at a time, not packet by packet.
//!
//! A line of 100 Mbit/s gives out eight thousand packets a second. Whoever reads each as it comes is woken as often, and with each goes a
//! look at the encryption, the frames and the streams of the connection, which costs several times what the bytes themselves do. What
//! comes after a silence is read at once, so that single words do not wait.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::base::clock;

/// How long to leave alone what comes.
const REST_TIME: Duration = Duration::from_millis(1);
/// What comes so long after what was read before it comes after a silence.
const SILENCE_TIME: Duration = Duration::from_millis(3);
/// A line that brings so much in one rest needs none: each reading is worth its price, and the socket might not hold what comes meanwhile.
const WORTH_BYTES: u64 = 64 << 10;

/// When to rest.
#[derive(Debug, Default)]
struct Trickle {
    read_at: Option<Duration>,
    /// Since when bytes have come without a silence, or since the last look at how many; and how many.
    since: Duration,
    bytes: u64,
    /// At the last look few came in the time of a rest.
    few: bool,
}

impl Trickle {
    /// So much was read, and the socket was empty or not; says whether to rest before the next reading.
    fn read(&mut self, bytes: usize, emptied: bool, now: Duration) -> bool {
        let silence = self.read_at.replace(now).is_none_or(|at| now.saturating_sub(at) > SILENCE_TIME);
        if silence {
            *self = Trickle { read_at: Some(now), since: now, ..Trickle::default() };
            return false;
        }
        self.bytes += bytes as u64;
        let time = now.saturating_sub(self.since);
        if time >= REST_TIME {
            self.few = u128::from(self.bytes) * REST_TIME.as_nanos() < u128::from(WORTH_BYTES) * time.as_nanos();
            (self.since, self.bytes) = (now, 0);
        }
        emptied && self.few
    }
}

/// When a socket is read again.
#[derive(Debug, Default)]
pub(super) struct Inlet {
    trickle: Trickle,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Inlet {
    /// Ready when the socket is to be read.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }

    /// So much was read; `emptied`: the buffer had room for more. The end of what comes is told at once.
    pub(super) fn read(&mut self, bytes: usize, emptied: bool) {
        if bytes > 0 && self.trickle.read(bytes, emptied, clock::since_start()) {
            self.rest = Some(Box::pin(sleep(REST_TIME)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings at such distances of so many bytes, each of which empties the socket: after how many of them there is a rest.
    fn rests(distance: Duration, bytes: usize, readings: u32) -> u32 {
        let mut trickle = Trickle::default();
        (1..=readings).map(|n| u32::from(trickle.read(bytes, true, distance * n))).sum()
    }

    #[test]
    fn packets_of_a_full_line_are_gathered() {
        // 12, 100 and 400 Mbit/s.
        for micros in [960, 120, 30] {
            let rests = rests(Duration::from_micros(micros), 1448, 1000);
            assert!(rests > 900, "{rests} rests at {micros} µs");
        }
    }

    #[test]
    fn words_after_a_silence_do_not_wait() {
        assert_eq!(rests(Duration::from_millis(5), 60, 100), 0);
    }

    #[test]
    fn a_fast_line_does_not_wait() {
        // 2.4 Gbit/s.
        assert_eq!(rests(Duration::from_micros(50), 16 << 10, 1000), 0);
    }

    #[test]
    fn what_waits_in_the_socket_is_read_on() {
        let mut trickle = Trickle::default();
        let rests = (1..1000).filter(|n| trickle.read(1448, false, Duration::from_micros(100) * *n));
        assert_eq!(rests.count(), 0);
    }
}
