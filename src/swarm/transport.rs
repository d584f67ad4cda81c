//! TCP first, QUIC beside it, names resolved; connection limits before anything else looks at a connection.

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

use super::{muxer::LargeFrames, tls::Tls};
use crate::base::{Result, limits};

/// How long a connection may take to be set up.
const SETUP_TIME: Duration = Duration::from_secs(20);
/// How long a connection without streams lives: a little more than a handshake may take.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// What runs on each connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn transport(key: &identity::Keypair) -> Result<Connections> {
    // A machine without a resolver can still use addresses.
    match dns::tokio::Transport::system(without_names(key)?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(e) => {
            tracing::debug!("no name resolution: {e}");
            without_names(key)
        }
    }
}

fn without_names(key: &identity::Keypair) -> Result<Connections> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(Tls::new(key)?)
        .multiplex(LargeFrames::new())
        .timeout(SETUP_TIME);
    let quic = quic::tokio::Transport::new(quic::Config::new(key));
    let both = OrTransport::new(quic, tcp).map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    Ok(both.boxed())
}

/// A swarm that listens nowhere yet.
pub(super) fn swarm(key: &identity::Keypair, peers_max: usize) -> Result<Swarm<Behaviour>> {
    let peers_max = u32::try_from(peers_max).unwrap_or(u32::MAX);
    let bounds = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::HANDSHAKES_MAX as u32))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER_MAX))
        .with_max_established(Some(peers_max.saturating_add(limits::HANDSHAKES_MAX as u32)));
    let behaviour =
        Behaviour { limits: connection_limits::Behaviour::new(bounds), streams: libp2p_stream::Behaviour::new() };
    let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIME);
    Ok(Swarm::new(transport(key)?, behaviour, key.public().to_peer_id(), config))
}
