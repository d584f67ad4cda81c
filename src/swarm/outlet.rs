//! How much of what is to be sent waits in the socket and in one frame: no more than some milliseconds of the line, as it is seen to be.
//!
//! What is said to a peer goes over the same connection as the chunks, and waits for what the socket took before it and for the frame
//! that is on its way. On a line of 5 Mbit/s half a mebibyte there is nearly a second, in which nobody hears what has arrived and what
//! is asked for, and everybody's choices are that much too late. On a fast line less than this is too little: it would run dry.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::tcp::tokio::TcpStream;

use super::inlet::Inlet;
use crate::base::clock;

/// What waits in the socket, at the least and at the most: the most also before anything is known, for a slow line is soon full and known.
const UNSENT_BYTES: (usize, usize) = (16 << 10, 128 << 10);
/// What waits in the socket, in time of the line.
const UNSENT_TIME: Duration = Duration::from_millis(10);
/// What goes in one frame, at the least and at the most.
const FRAME_BYTES: (usize, usize) = (16 << 10, 256 << 10);
/// What goes in one frame, in time of the line.
const FRAME_TIME: Duration = Duration::from_millis(2);
/// Measurements count half after so much time in which the line was full.
const HALF_LIFE: Duration = Duration::from_millis(100);

/// What is known of one connection's line, for those that look at it from elsewhere.
#[derive(Debug)]
pub(super) struct Line {
    /// Bytes that have come.
    pub(super) came: AtomicU64,
    frame_bytes: AtomicUsize,
}

impl Default for Line {
    fn default() -> Self {
        Line { came: AtomicU64::new(0), frame_bytes: AtomicUsize::new(FRAME_BYTES.1) }
    }
}

impl Line {
    /// How many bytes of chunks are best given to it at once.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_bytes.load(Ordering::Relaxed)
    }
}

/// How fast a line takes bytes, seen at the socket: when that was full, what it took until it was full again has left meanwhile.
#[derive(Debug, Default)]
struct Drain {
    /// When the socket was last full, when it first took something after that, and how much since.
    full_at: Option<Duration>,
    took_at: Option<Duration>,
    took: u64,
    /// Bytes that have left, and in how much time; older ones count less.
    bytes: f64,
    seconds: f64,
}

impl Drain {
    fn took(&mut self, bytes: usize, now: Duration) {
        self.took += bytes as u64;
        self.took_at.get_or_insert(now);
    }

    /// The socket is full; bytes a second where that is known now.
    fn full(&mut self, now: Duration) -> Option<f64> {
        let (began, took_at, took) = (self.full_at.replace(now), self.took_at.take(), std::mem::take(&mut self.took));
        let (began, took_at) = (began?, took_at?);
        // Where it was longer not full than full, there was not enough to send.
        if now.saturating_sub(took_at) > took_at.saturating_sub(began) {
            return None;
        }
        self.bytes += took as f64;
        self.seconds += now.saturating_sub(began).as_secs_f64();
        if self.seconds < HALF_LIFE.as_secs_f64() / 4.0 {
            return None;
        }
        let rate = self.bytes / self.seconds;
        if self.seconds > HALF_LIFE.as_secs_f64() {
            (self.bytes, self.seconds) = (self.bytes / 2.0, self.seconds / 2.0);
        }
        Some(rate)
    }
}

/// Bytes in that time of the line, within bounds; a power of two, so that it seldom changes.
fn bytes_in(rate: f64, time: Duration, (least, most): (usize, usize)) -> usize {
    let bytes = (rate * time.as_secs_f64()).clamp(least as f64, most as f64);
    (bytes as usize).next_power_of_two().min(most)
}

/// What tells a socket how much may wait in it. Where the system cannot do it, or refuses, everything works, and words take longer on slow
/// lines.
pub(super) trait KeepUnsent {
    /// No more than about so many bytes.
    fn keep_unsent(&self, bytes: usize);
}

impl KeepUnsent for TcpStream {
    fn keep_unsent(&self, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(e) = socket2::SockRef::from(&self.0).set_tcp_notsent_lowat(bytes as u32) {
            tracing::debug!("the socket may keep much unsent: {e}");
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = bytes;
    }
}

/// A socket that takes little at once where its line is slow, and that is read seldom where little comes at a time.
#[derive(Debug)]
pub(super) struct Outlet<S> {
    socket: S,
    line: Arc<Line>,
    inlet: Inlet,
    drain: Drain,
    unsent_bytes: usize,
}

impl<S: KeepUnsent> Outlet<S> {
    pub(super) fn new(socket: S, line: Arc<Line>) -> Self {
        let unsent_bytes = UNSENT_BYTES.1;
        socket.keep_unsent(unsent_bytes);
        Outlet { socket, line, inlet: Inlet::default(), drain: Drain::default(), unsent_bytes }
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(n)) => self.drain.took(*n, clock::since_start()),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let Some(rate) = self.drain.full(clock::since_start()) else { return };
                self.line.frame_bytes.store(bytes_in(rate, FRAME_TIME, FRAME_BYTES), Ordering::Relaxed);
                let unsent_bytes = bytes_in(rate, UNSENT_TIME, UNSENT_BYTES);
                if unsent_bytes != self.unsent_bytes {
                    self.unsent_bytes = unsent_bytes;
                    self.socket.keep_unsent(unsent_bytes);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outlet<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.inlet.poll_open(cx));
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.inlet.read(read, read < buffer.len());
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + KeepUnsent + Unpin> AsyncWrite for Outlet<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        // A socket that may take anything takes all of one write.
        let some = &data[..data.len().min(self.unsent_bytes)];
        let written = Pin::new(&mut self.socket).poll_write(cx, some);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut room = self.unsent_bytes;
        let fits = data.iter().take_while(|slice| {
            let fits = slice.len() <= room;
            room = room.saturating_sub(slice.len());
            fits
        });
        match fits.count() {
            0 => self.poll_write(cx, data.first().map_or(&[], |slice| slice)),
            n => {
                let written = Pin::new(&mut self.socket).poll_write_vectored(cx, &data[..n]);
                self.note(&written);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncReadExt;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A line of so many bytes a millisecond that is full all the time, for so long.
    fn filled(drain: &mut Drain, now: &mut Duration, bytes_per_ms: usize, ms: u32) -> Option<f64> {
        let mut last = None;
        for _ in 0..ms / 2 {
            drain.full(*now);
            *now += MS * 2;
            drain.took(2 * bytes_per_ms, *now);
            last = drain.full(*now).or(last);
        }
        last
    }

    #[test]
    fn a_line_is_as_fast_as_what_its_full_socket_takes() {
        let (mut drain, mut now) = (Drain::default(), Duration::ZERO);
        let slow = filled(&mut drain, &mut now, 600, 400).unwrap();
        assert!((500e3..700e3).contains(&slow), "{slow}");
        let fast = filled(&mut drain, &mut now, 60_000, 400).unwrap();
        assert!(fast > 40e6, "{fast}");
        let slow = filled(&mut drain, &mut now, 600, 1500).unwrap();
        assert!(slow < 1e6, "it is forgotten how fast it was: {slow}");
    }

    #[test]
    fn a_line_that_is_used_little_is_not_taken_for_slow() {
        let (mut drain, mut now) = (Drain::default(), Duration::ZERO);
        let fast = filled(&mut drain, &mut now, 60_000, 400).unwrap();
        for _ in 0..100 {
            // Full for a moment, and then a word now and then until it is full again.
            now += MS;
            drain.took(1000, now);
            now += MS * 500;
            drain.took(120_000, now);
            assert_eq!(drain.full(now), None);
        }
        let after = filled(&mut drain, &mut now, 60_000, 100).unwrap();
        assert!((after / fast - 1.0).abs() < 0.1, "{after} after {fast}");
    }

    #[test]
    fn what_goes_at_once_is_some_milliseconds_of_the_line_within_bounds() {
        // 0.1, 5, 25, 100 and 4000 Mbit/s.
        let of = |mbit: f64| {
            let rate = mbit * 125e3;
            (bytes_in(rate, UNSENT_TIME, UNSENT_BYTES) >> 10, bytes_in(rate, FRAME_TIME, FRAME_BYTES) >> 10)
        };
        assert_eq!([0.1, 5.0, 25.0, 100.0, 4000.0].map(of), [(16, 16), (16, 16), (32, 16), (128, 32), (128, 256)]);
    }

    #[derive(Debug, Default)]
    struct Socket {
        wrote: Vec<usize>,
        kept: std::sync::Mutex<Vec<usize>>,
    }

    impl KeepUnsent for Socket {
        fn keep_unsent(&self, bytes: usize) {
            self.kept.lock().unwrap().push(bytes);
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            self.wrote.push(data.len());
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn the_socket_of_a_slow_line_is_given_little_at_once_and_nothing_is_lost() {
        let mut outlet = Outlet::new(Socket::default(), Arc::default());
        outlet.unsent_bytes = 16 << 10;
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let data = [7; 100_000];
        let mut left = &data[..];
        while !left.is_empty() {
            let Poll::Ready(Ok(n)) = Pin::new(&mut outlet).poll_write(cx, left) else { unreachable!() };
            left = &left[n..];
        }
        let slices = [&data[..5000], &data[..5000], &data[..90_000], &data[..1]].map(io::IoSlice::new);
        let Poll::Ready(Ok(n)) = Pin::new(&mut outlet).poll_write_vectored(cx, &slices) else { unreachable!() };
        assert!(n == 5000 || n == 10_000, "whole slices: {n}");
        let Poll::Ready(Ok(n)) = Pin::new(&mut outlet).poll_write_vectored(cx, &slices[2..]) else { unreachable!() };
        assert_eq!(n, 16 << 10, "a part of one that is too large");
        assert!(outlet.socket.wrote.iter().all(|n| *n <= 16 << 10));
        assert_eq!(*outlet.socket.kept.lock().unwrap(), [128 << 10]);
    }

    #[tokio::test]
    async fn everything_comes_through_and_so_does_the_end() {
        /// Gives a few bytes at a time.
        struct Packets(Vec<u8>);

        impl AsyncRead for Packets {
            fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                let some = self.0.len().min(buffer.len()).min(70);
                buffer[..some].copy_from_slice(&self.0[..some]);
                self.0.drain(..some);
                Poll::Ready(Ok(some))
            }
        }

        impl KeepUnsent for Packets {
            fn keep_unsent(&self, _: usize) {}
        }

        let sent: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        let mut came = Vec::new();
        Outlet::new(Packets(sent.clone()), Arc::default()).read_to_end(&mut came).await.unwrap();
        assert_eq!(came, sent);
    }
}
