//! Who is here: dialling, handshakes, sessions, bans, addresses of others.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId, Stream,
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{
        DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use rand::RngCore;
use tokio::time::timeout;

use super::{
    super::{
        Event, SESSION_PROTOCOL, book,
        handshake::{HandshakeError, Role},
        session::{self, Session},
        transport::BehaviourEvent,
        wire::Message,
    },
    Driver, Met,
};
use crate::{
    base::{
        limits::{HANDSHAKE_FAILURE_PENALTY, HANDSHAKE_FAILURES_MAX, HANDSHAKE_TIME_MAX, HANDSHAKES_MAX},
        text,
    },
    schedule::Input,
};

impl Driver {
    pub(super) fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let told = address.clone().with(Protocol::P2p(self.us));
                if !self.own_addresses.contains(&told) {
                    self.own_addresses.push(told.clone());
                    // Whoever is here already would not hear of it otherwise.
                    self.tell_addresses(self.us, std::slice::from_ref(&told));
                }
                self.outbox.push_back(Event::Listening(told.to_string()));
            }
            SwarmEvent::ListenerError { error, .. } => {
                self.outbox.push_back(Event::Warning(format!("a listener failed: {error}")));
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => self.connection_up(peer_id, &endpoint),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.connected.remove(&peer_id);
                if let Some(id) = self.by_peer.get(&peer_id).copied() {
                    self.end_session(id, "the connection was lost");
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.dial_failed(&peer, &error),
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!("incoming connection from {send_back_addr} failed: {error}");
            }
            _ => {}
        }
    }

    pub(super) fn connection_up(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let now = self.now();
        let address = endpoint.get_remote_address().clone();
        let unwelcome = self.banned.contains(&peer)
            || (!self.allow.is_empty() && endpoint.is_listener() && !self.allow.contains(&peer))
            || (endpoint.is_listener() && self.kept_out(&peer, &address));
        if unwelcome {
            self.early_streams.retain(|(p, _)| *p != peer);
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let proven = self.by_peer.contains_key(&peer);
        let deadline = (!proven).then_some(now + HANDSHAKE_TIME_MAX);
        self.connected.entry(peer).or_insert((address, deadline));
        let (now_due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.early_streams).into_iter().partition(|(p, _)| *p == peer);
        self.early_streams = waiting;
        for (peer, stream) in now_due {
            self.meet_as_listener(peer, stream);
        }
        if endpoint.is_dialer() && !proven && self.meeting.insert(peer) {
            self.meet_as_dialler(peer);
        }
    }

    /// Whether the address has failed too often of late. Members that were in before are not held up by it.
    pub(super) fn kept_out(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let now = self.now();
        !self.known_members.contains(peer)
            && book::ip(address)
                .and_then(|ip| self.failures.get(&ip))
                .is_some_and(|(n, last)| *n >= HANDSHAKE_FAILURES_MAX && now < *last + HANDSHAKE_FAILURE_PENALTY)
    }

    pub(super) fn dial_failed(&mut self, peer: &PeerId, error: &DialError) {
        match error {
            DialError::Transport(tries) => {
                for (address, error) in tries {
                    let why = innermost(error);
                    self.book.failed(peer, &address.to_string(), why);
                }
            }
            DialError::WrongPeerId { obtained, address } => {
                let why = format!("another node answers there, {obtained}: the ticket is older than its identity");
                self.book.failed(peer, &address.to_string(), why);
            }
            DialError::LocalPeerId { .. } => self.book.forget(peer),
            DialError::DialPeerConditionFalse(_) | DialError::Aborted => {}
            other => {
                let why = innermost(other);
                self.book.failed(peer, "", why);
            }
        }
    }

    pub(super) fn meet_as_dialler(&mut self, peer: PeerId) {
        let mut control = self.swarm.behaviour().streams.new_control();
        let address = self.connected.get(&peer).map_or_else(Multiaddr::empty, |(address, _)| address.clone());
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        tokio::spawn(async move {
            let work = async {
                let mut stream = control
                    .open_stream(peer, SESSION_PROTOCOL)
                    .await
                    .map_err(|e| (session::open_failure(&e), false))?;
                match membership.run(&mut stream, Role::Dialler, us, peer, nonce).await {
                    Ok(()) => Ok(stream),
                    Err(e) => Err((dialler_words(&e), matches!(e, HandshakeError::OtherManifest))),
                }
            };
            let (result, stale) = match timeout(HANDSHAKE_TIME_MAX, work).await {
                Ok(Ok(stream)) => (Ok(stream), false),
                Ok(Err((why, stale))) => (Err(why), stale),
                Err(_) => (Err("it did not finish the handshake in time".to_owned()), false),
            };
            let _ = met
                .send(Met { peer, role: Role::Dialler, address, result, suspicious: false, quiet: false, stale })
                .await;
        });
    }

    pub(super) fn meet_as_listener(&mut self, peer: PeerId, mut stream: Stream) {
        if self.banned.contains(&peer) {
            return;
        }
        let Some((address, _)) = self.connected.get(&peer).cloned() else {
            // Streams and connections come by different ways: the connection's event is about to follow.
            if self.early_streams.len() < HANDSHAKES_MAX {
                self.early_streams.push((peer, stream));
            }
            return;
        };
        // Too many at once: the stranger may try again.
        let Ok(permit) = self.handshakes.clone().try_acquire_owned() else { return };
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        tokio::spawn(async move {
            let _permit = permit;
            let run = membership.run(&mut stream, Role::Listener, us, peer, nonce);
            let (result, suspicious, quiet) = match timeout(HANDSHAKE_TIME_MAX, run).await {
                Ok(Ok(())) => (Ok(stream), false, false),
                Ok(Err(e)) => {
                    let suspicious = matches!(e, HandshakeError::WrongSecret);
                    let quiet = matches!(e, HandshakeError::Broken(_));
                    let words = match e {
                        HandshakeError::OtherManifest => {
                            "it has a ticket of another manifest: give it the current ticket".to_owned()
                        }
                        other => other.to_string(),
                    };
                    (Err(words), suspicious, quiet)
                }
                Err(_) => (Err("it did not finish the handshake in time".to_owned()), true, false),
            };
            let _ =
                met.send(Met { peer, role: Role::Listener, address, result, suspicious, quiet, stale: false }).await;
        });
    }

    pub(super) fn met(&mut self, met: Met) {
        let Met { peer, role, address, result, suspicious, quiet, stale } = met;
        if role == Role::Dialler {
            self.meeting.remove(&peer);
        }
        let why = match result {
            Ok(stream) => return self.begin_session(peer, role, stream),
            Err(why) => why,
        };
        if suspicious && let Some(ip) = book::ip(&address) {
            let now = self.now();
            let entry = self.failures.entry(ip).or_insert((0, now));
            *entry = if now > entry.1 + HANDSHAKE_FAILURE_PENALTY { (1, now) } else { (entry.0 + 1, now) };
        }
        if role == Role::Dialler {
            self.book.failed(&peer, &with_peer_id(address.clone(), peer).to_string(), why.clone());
        }
        if stale {
            self.stale.insert(peer);
            let incomplete = self.active.as_ref().is_none_or(|a| a.content.sink.is_some());
            if incomplete && self.sessions.is_empty() && self.book.pinned().all(|p| self.stale.contains(p)) {
                self.outbox.push_back(Event::Stale);
            }
        }
        if self.by_peer.contains_key(&peer) {
            return;
        }
        let _ = self.swarm.disconnect_peer_id(peer);
        if quiet {
            tracing::debug!("no session with {peer} at {address}: {why}");
        } else {
            self.outbox.push_back(Event::Warning(format!("no session with {peer} at {address}: {why}")));
        }
    }

    pub(super) fn begin_session(&mut self, peer: PeerId, role: Role, stream: Stream) {
        let dialler = if role == Role::Dialler { self.us } else { peer };
        if self.banned.contains(&peer) {
            return;
        }
        if let Some(old) = self.by_peer.get(&peer).copied() {
            // Both sides may dial at once. Both keep the session that the smaller peer id opened.
            let preferred = self.us.min(peer);
            let old_dialler = self.sessions.get(&old).map(|s| s.dialler);
            if old_dialler != Some(dialler) && dialler != preferred {
                return;
            }
            self.end_session(old, "a newer session took its place");
        }
        if self.sessions.len() >= self.peers_max {
            self.outbox.push_back(Event::Note(format!("{peer} was turned away: as many peers as allowed are here")));
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let id = self.next_session;
        self.next_session += 1;
        let address = match self.connected.get_mut(&peer) {
            Some((address, deadline)) => {
                *deadline = None;
                address.clone()
            }
            None => return,
        };
        let total = self.totals.entry(peer).or_default();
        total.0 = address.to_string();
        let control = self.swarm.behaviour().streams.new_control();
        let session = Session::start(id, peer, dialler, stream, control, total.1.clone(), self.reports.0.clone());
        self.known_members.insert(peer);
        self.book.reached(&peer);
        self.unreachable_since = None;
        let local = book::is_loopback(&address);
        let mut addresses: Vec<String> = self
            .external
            .iter()
            .cloned()
            .map(|a| with_peer_id(a, self.us))
            .chain(self.own_addresses.iter().filter(|a| local || !book::is_loopback(a)).cloned())
            .map(|a| a.to_string())
            .collect();
        addresses.extend(self.book.to_tell(&peer, local));
        session.say(Message::Peers(addresses));
        self.greet(&session, &address);
        self.sessions.insert(id, session);
        self.by_peer.insert(peer, id);
        self.outbox.push_back(Event::Note(format!("connected to {peer} at {address}")));
        self.input(Input::Connected(id));
        self.ask_for_manifest();
    }

    pub(super) fn end_session(&mut self, id: u64, why: &str) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let peer = session.peer;
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        self.early.retain(|(from, _)| *from != id);
        if self.manifest_asked.is_some_and(|(asked, _)| asked == id) {
            self.manifest_asked = None;
        }
        self.input(Input::Gone(id));
        self.outbox.push_back(Event::Note(format!("session with {peer} ended: {}", text::escape(why))));
    }

    /// Ends a session and its connection.
    pub(super) fn drop_peer(&mut self, id: u64, why: &str) {
        let peer = self.sessions.get(&id).map(|s| s.peer);
        self.end_session(id, why);
        if let Some(peer) = peer.filter(|p| !self.by_peer.contains_key(p)) {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    pub(super) fn ban(&mut self, peer: PeerId, reason: &str) {
        if !self.banned.insert(peer) {
            return;
        }
        let at = self.totals.get(&peer).map_or("", |t| &t.0);
        self.outbox.push_back(Event::Warning(format!("peer {peer} at {at} was dropped and banned: {reason}")));
        self.book.forget(&peer);
        if let Some(id) = self.by_peer.get(&peer).copied() {
            self.end_session(id, reason);
        }
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn peers_told(&mut self, from: PeerId, addresses: &[String]) {
        let now = self.now();
        let observed = self.connected.get(&from).and_then(|(a, _)| book::ip(a));
        let mut new = Vec::new();
        for text in addresses {
            let Some((peer, address)) = book::parse(text) else { continue };
            if self.banned.contains(&peer) {
                continue;
            }
            let mut candidates = vec![address.clone()];
            // Behind a translator a member does not know its own address, but we see it.
            if let (true, Some(ip)) = (peer == from, observed.filter(|ip| !ip.is_loopback())) {
                let host = Protocol::from(ip);
                candidates.push(address.replace(0, |_| Some(host)).unwrap_or(address));
            }
            for address in candidates {
                if self.book.add(peer, address.clone(), false, now) {
                    new.push(address);
                }
            }
            // Of two that hear of each other at the same time, the smaller id dials.
            if peer < self.us {
                self.book.wait(&peer, now + Duration::from_secs(3));
            }
        }
        if new.is_empty() {
            return;
        }
        self.tell_addresses(from, &new);
    }

    /// Tells everyone but `from` of addresses; this machine's own ones only to members on this machine.
    fn tell_addresses(&self, from: PeerId, addresses: &[Multiaddr]) {
        for session in self.sessions.values().filter(|s| s.peer != from) {
            let local = self.connected.get(&session.peer).is_some_and(|(a, _)| book::is_loopback(a));
            let told: Vec<String> =
                addresses.iter().filter(|a| local || !book::is_loopback(a)).map(ToString::to_string).collect();
            if !told.is_empty() {
                session.say(Message::Peers(told));
            }
        }
    }

    pub(super) fn dial_due(&mut self, now: Duration) {
        if self.sessions.len() >= self.peers_max {
            return;
        }
        let (by_peer, banned, meeting, connected) = (&self.by_peer, &self.banned, &self.meeting, &self.connected);
        let busy = |peer: &PeerId| {
            by_peer.contains_key(peer)
                || banned.contains(peer)
                || meeting.contains(peer)
                || connected.contains_key(peer)
        };
        for (peer, addresses) in self.book.due(now, busy) {
            let options = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                self.dial_failed(&peer, &error);
            }
        }
    }
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    rand::rng().fill_bytes(&mut nonce);
    nonce
}

fn dialler_words(error: &HandshakeError) -> String {
    match error {
        HandshakeError::OtherManifest => {
            "the ticket is stale: this swarm now serves another manifest; ask the lead for the current ticket"
                .to_owned()
        }
        HandshakeError::Rejected => {
            "wrong secret: it does not take our proof, so the ticket is of another swarm; ask the lead for the ticket"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn with_peer_id(address: Multiaddr, peer: PeerId) -> Multiaddr {
    if address.iter().any(|p| matches!(p, Protocol::P2p(_))) { address } else { address.with(Protocol::P2p(peer)) }
}

/// The cause at the bottom of a chain: "connection refused" rather than four layers around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    text::escape(&cause.to_string())
}
