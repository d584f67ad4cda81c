//! TCP first, with little unsent in its sockets, QUIC beside it, names resolved; strangers' places and connection limits before anything
//! else looks at a connection.

use std::time::Duration;

use futures::future::Either;
use libp2p::{
    PeerId, Swarm, Transport,
    connection_limits::{self, ConnectionLimits},
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OrTransport},
        upgrade::Version,
    },
    dns, identity, quic,
    swarm::NetworkBehaviour,
    tcp,
};

use super::{
    door::{Door, Watches},
    lines::Lines,
    muxer::{LargeFrames, STREAMS_MAX},
    outlet::Outlet,
    tls::Tls,
};
use crate::base::{Result, limits};

/// How long a connection may take to be set up.
const SETUP_TIME: Duration = Duration::from_secs(20);
/// How long a connection without streams lives: a little more than a handshake may take.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// Streams of one connection whose protocol is not agreed on yet.
const NEGOTIATING_STREAMS_MAX: usize = 4;
/// What a QUIC peer may have sent and nobody has read, on one stream and on all: a stranger may do it, too.
const QUIC_STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// See [`QUIC_STREAM_WINDOW_BYTES`].
const QUIC_WINDOW_BYTES: u32 = 6 << 20;

/// What runs on each connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) door: Door,
    limits: connection_limits::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn transport(key: &identity::Keypair, watches: &Watches, lines: &Lines) -> Result<Connections> {
    // A machine without a resolver can still use addresses.
    match dns::tokio::Transport::system(without_names(key, watches, lines)?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(e) => {
            tracing::debug!("no name resolution: {e}");
            without_names(key, watches, lines)
        }
    }
}

fn without_names(key: &identity::Keypair, watches: &Watches, lines: &Lines) -> Result<Connections> {
    let (watches, new_lines, lines) = (watches.clone(), lines.clone(), lines.clone());
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, point| {
            let line = new_lines.begin(&point);
            watches.watch(Outlet::new(stream, line.clone()), &point, line)
        })
        .upgrade(Version::V1Lazy)
        .authenticate(Tls::new(key)?)
        .multiplex_ext(move |peer, point| {
            lines.belongs_to(point, *peer);
            LargeFrames::new()
        })
        .timeout(SETUP_TIME);
    let mut config = quic::Config::new(key);
    config.max_concurrent_stream_limit = STREAMS_MAX as u32;
    config.max_stream_data = QUIC_STREAM_WINDOW_BYTES;
    config.max_connection_data = QUIC_WINDOW_BYTES;
    let quic = quic::tokio::Transport::new(config);
    let both = OrTransport::new(quic, tcp).map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    Ok(both.boxed())
}

/// A swarm that listens nowhere yet, and what counts the bytes of its lines.
pub(super) fn swarm(key: &identity::Keypair) -> Result<(Swarm<Behaviour>, Lines)> {
    let bounds = ConnectionLimits::default().with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER_MAX));
    let watches = Watches::default();
    let lines = Lines::default();
    let transport = transport(key, &watches, &lines)?;
    let behaviour = Behaviour {
        door: Door::new(watches),
        limits: connection_limits::Behaviour::new(bounds),
        streams: libp2p_stream::Behaviour::new(),
    };
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIME)
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX);
    Ok((Swarm::new(transport, behaviour, key.public().to_peer_id(), config), lines))
}
