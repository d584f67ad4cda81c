//! Connections: listening, dialling each address by itself, which of several to one peer stays.

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{
    super::{Event, book, ours, transport::BehaviourEvent},
    Connected, Driver,
};
use crate::base::{
    limits::{HANDSHAKE_FAILURE_PENALTY, HANDSHAKE_FAILURES_MAX, HANDSHAKE_TIME_MAX},
    text,
};

impl Driver {
    pub(super) fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let told = address.clone().with(Protocol::P2p(self.us));
                if !self.own_addresses.contains(&told) {
                    self.own_addresses.push(told.clone());
                    // Whoever is here already would not hear of it otherwise.
                    if self.told_addresses(true).contains(&told.to_string()) {
                        self.will_tell(self.us, told.to_string());
                    }
                }
                self.tell(Event::Listening(told.to_string()));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let gone = address.with(Protocol::P2p(self.us));
                self.own_addresses.retain(|own| *own != gone);
            }
            SwarmEvent::ListenerError { error, .. } => {
                self.warn("listener", None, format!("a listener failed: {error}"));
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, connection_id, .. } => {
                self.dialling.remove(&connection_id);
                self.connection_up(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                if let Some(connected) = self.connected.get_mut(&peer_id) {
                    connected.links.retain(|(id, _)| *id != connection_id);
                }
                if num_established == 0 {
                    self.connected.remove(&peer_id);
                    if let Some(id) = self.by_peer.get(&peer_id).copied() {
                        self.end_session(id, "the connection was lost");
                    }
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some((peer, address)) = self.dialling.remove(&connection_id) {
                    self.dial_failed(&peer, &address, &error);
                }
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!("incoming connection from {send_back_addr} failed: {error}");
            }
            _ => {}
        }
    }

    fn connection_up(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let now = self.now();
        let address = endpoint.get_remote_address().clone();
        let listener = endpoint.is_listener();
        let unwelcome = self.is_banned(&peer) || (listener && self.kept_out(&peer));
        if unwelcome {
            self.early_streams.retain(|(p, ..)| *p != peer);
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let proven = self.by_peer.contains_key(&peer);
        let deadline = (!proven).then_some(now + HANDSHAKE_TIME_MAX);
        let connected = self.connected.entry(peer).or_insert(Connected { address, deadline, links: Vec::new() });
        if !listener && connected.links.iter().any(|(_, dialled)| *dialled) {
            // Another of its addresses was faster.
            self.swarm.close_connection(id);
            return;
        }
        connected.links.push((id, !listener));
        let (now_due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.early_streams).into_iter().partition(|(p, ..)| *p == peer);
        self.early_streams = waiting;
        for (peer, stream, _) in now_due {
            self.meet_as_listener(peer, stream);
        }
        if !listener && !proven && self.meeting.insert(peer) {
            self.meet_as_dialler(peer);
        }
    }

    /// Whether the peer has failed too often of late. Its neighbours behind the same address are not held up by it, and a member
    /// that was in before neither.
    fn kept_out(&self, peer: &PeerId) -> bool {
        let now = self.now();
        let failed = self.failures.get(peer);
        !self.known_members.contains(peer)
            && failed.is_some_and(|(n, last)| *n >= HANDSHAKE_FAILURES_MAX && now < *last + HANDSHAKE_FAILURE_PENALTY)
    }

    fn dial_failed(&mut self, peer: &PeerId, address: &Multiaddr, error: &DialError) {
        let now = self.now();
        let why = match error {
            DialError::Transport(tries) => match tries.first() {
                Some((_, error)) => innermost_cause(error),
                None => innermost_cause(error),
            },
            DialError::WrongPeerId { obtained, .. } => {
                format!(
                    "another node answers there, {obtained}: the ticket is older than its identity, or that address \
                         leads to another machine from here"
                )
            }
            DialError::LocalPeerId { .. } => "it leads back to this node".to_owned(),
            DialError::DialPeerConditionFalse(_) | DialError::Aborted => "it was not tried".to_owned(),
            other => innermost_cause(other),
        };
        self.book.failed(peer, address, why, now);
        self.dial_due();
    }

    /// Dials every address whose time has come.
    pub(super) fn dial_due(&mut self) {
        // Where all seats are taken, there is still one for a peer of the ticket.
        let full = self.sessions.len() >= self.peers_max;
        let now = self.now();
        let (by_peer, meeting, connected) = (&self.by_peer, &self.meeting, &self.connected);
        let busy = |peer: &PeerId, pinned: bool| {
            (full && !pinned) || by_peer.contains_key(peer) || meeting.contains(peer) || connected.contains_key(peer)
        };
        let own: Vec<Multiaddr> = self.own_addresses.iter().map(book::without_peer).collect();
        let is_ours = |address: &Multiaddr| own.contains(&book::without_peer(address));
        for (peer, address) in self.book.due(now, busy, is_ours) {
            let options =
                DialOpts::peer_id(peer).addresses(vec![address.clone()]).condition(PeerCondition::Always).build();
            let id = options.connection_id();
            self.dialling.insert(id, (peer, address.clone()));
            if let Err(error) = self.swarm.dial(options) {
                self.dialling.remove(&id);
                let why = innermost_cause(&error);
                self.book.failed(&peer, &address, why, now);
            }
        }
    }

    /// A member has said on the local network where it is.
    pub(super) fn is_near(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.is_banned(&peer) || self.by_peer.contains_key(&peer) {
            return;
        }
        let now = self.now();
        let mut new = false;
        for address in addresses {
            new |= self.book.add(peer, with_peer_id(address, peer), false, now);
        }
        if new && let Some(lan) = &mut self.lan {
            lan.answer();
        }
    }

    /// The addresses of this node that others are told; this machine's own ones only to members on this machine.
    pub(super) fn told_addresses(&self, local: bool) -> Vec<String> {
        let mut own = self.own_addresses.clone();
        ours::sort(&mut own);
        let external = self.external.iter().cloned().map(|a| with_peer_id(a, self.us));
        external.chain(own).filter(|a| local || !book::is_loopback(a)).map(|a| a.to_string()).collect()
    }
}

pub(super) fn with_peer_id(address: Multiaddr, peer: PeerId) -> Multiaddr {
    if address.iter().any(|p| matches!(p, Protocol::P2p(_))) { address } else { address.with(Protocol::P2p(peer)) }
}

/// The cause at the bottom of a chain: "connection refused" rather than four layers around it.
fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    text::escape(&cause.to_string())
}
