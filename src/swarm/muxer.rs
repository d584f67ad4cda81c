//! libp2p's `/yamux/1.0.0` with frames of 256 KiB.
//!
//! libp2p's own wrapper cuts what is sent into frames of 16 KiB, each with a wake-up, an allocation and a small
//! encryption of its own; larger ones nearly double the throughput. Any yamux peer reads them: the frame length is part
//! of the protocol.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker, ready as poll_ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    UpgradeInfo,
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

const PROTOCOL: &str = "/yamux/1.0.0";
const FRAME_SIZE_BYTES: usize = 256 << 10;
/// Streams of one connection, of both sides together: a session and a bulk stream each way, and the same again while one session
/// follows on another. Each may hold 256 KiB that nobody has read.
pub(super) const STREAMS_MAX: usize = 8;
/// Bytes that may be under way to us on one connection once its streams have proved fast: a full gigabit at 0.4 s.
const WINDOW_BYTES: usize = 64 << 20;

/// The upgrade of an encrypted connection to many streams.
#[derive(Debug, Clone)]
pub(super) struct LargeFrames(Config);

impl LargeFrames {
    pub(super) fn new() -> Self {
        let mut config = Config::default();
        config
            .set_split_send_size(FRAME_SIZE_BYTES)
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOW_BYTES));
        LargeFrames(config)
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        Muxer { connection: Connection::new(socket, self.0, mode), inbound: VecDeque::new(), waker: None }
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
    connection: Connection<C>,
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
