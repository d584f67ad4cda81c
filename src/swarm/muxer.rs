//! libp2p's `/yamux/1.0.0` with frames of 256 KiB.
//!
//! libp2p's own wrapper cuts what is sent into frames of 16 KiB, each with a wake-up, an allocation and a small
//! encryption of its own; larger ones nearly double the throughput. Any yamux peer reads them: the frame length is part
//! of the protocol.

use std::{
    collections::{HashMap, VecDeque},
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready as poll_ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        muxing::{StreamMuxer, StreamMuxerEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

const PROTOCOL: &str = "/yamux/1.0.0";
const FRAME_SIZE_BYTES: usize = 256 << 10;
/// Streams of one connection, of both sides together: a session and a bulk stream each way, and the same again while one session
/// follows on another. Each may hold 256 KiB that nobody has read.
pub(super) const STREAMS_MAX: usize = 8;
/// Bytes that may be under way to us on one connection once its streams have proved fast: a full gigabit at 0.4 s.
const WINDOW_BYTES: usize = 64 << 20;

/// Bytes that have come on the lines of each peer. A frame is given out when all of it is here: on a line of a few kilobytes a second that
/// is half a minute, in which nothing but this shows that the line is not dead.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<HashMap<PeerId, Weak<AtomicU64>>>>);

impl Lines {
    /// The counter of a new connection.
    fn of(&self, peer: PeerId) -> Arc<AtomicU64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&peer).and_then(Weak::upgrade) {
            return line;
        }
        // As many as there are connections, and no more.
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::<AtomicU64>::default();
        lines.insert(peer, Arc::downgrade(&line));
        line
    }

    /// Bytes that have come from a peer since it connected; 0 where its transport has no frames.
    pub(super) fn bytes(&self, peer: &PeerId) -> u64 {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(peer).and_then(Weak::upgrade).map_or(0, |line| line.load(Ordering::Relaxed))
    }
}

/// An encrypted connection whose bytes are counted as they come.
#[derive(Debug)]
pub(super) struct Counted<C> {
    socket: C,
    line: Arc<AtomicU64>,
}

impl<C: AsyncRead + Unpin> AsyncRead for Counted<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if let Poll::Ready(Ok(n)) = &read {
            self.line.fetch_add(*n as u64, Ordering::Relaxed);
        }
        read
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Counted<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// The upgrade of an encrypted connection to many streams.
#[derive(Debug, Clone)]
pub(super) struct LargeFrames {
    config: Config,
    line: Arc<AtomicU64>,
}

impl LargeFrames {
    /// For a connection to that peer.
    pub(super) fn new(peer: PeerId, lines: &Lines) -> Self {
        let mut config = Config::default();
        config
            .set_split_send_size(FRAME_SIZE_BYTES)
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOW_BYTES));
        LargeFrames { config, line: lines.of(peer) }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        let socket = Counted { socket, line: self.line };
        Muxer { connection: Connection::new(socket, self.config, mode), inbound: VecDeque::new(), waker: None }
    }
}

impl UpgradeInfo for LargeFrames {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for LargeFrames {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for LargeFrames {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Client)))
    }
}

/// One connection's streams.
pub(super) struct Muxer<C> {
    connection: Connection<Counted<C>>,
    /// Streams that came while the connection was driven for others.
    inbound: VecDeque<Stream>,
    /// Whoever waits for an inbound stream.
    waker: Option<Waker>,
}

impl<C> std::fmt::Debug for Muxer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Muxer")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> Muxer<C> {
    /// Drives the connection; gives the next stream that the peer opened.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = poll_ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let driven = self.drive(cx);
        if driven.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        driven
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = poll_ready!(self.drive(cx))?;
        // Dropping a stream resets it.
        if self.inbound.len() < STREAMS_MAX {
            self.inbound.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
