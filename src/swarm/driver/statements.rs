//! What validators say, passed on; and where a member is seen.

use std::net::IpAddr;

use libp2p::PeerId;

use super::{
    super::{Event, session::Session, wire::Message},
    Driver, WAITING_WORDS_MAX,
};
use crate::base::limits::{STATEMENTS_IN_MESSAGE_MAX, STATEMENTS_OF_SESSION_BYTES_MAX};

/// Events that wait for the application; beyond these a member's statements are let go, which it says again to the next one. Words take
/// less, so that nobody keeps statements out by making them.
const WAITING_EVENTS_MAX: usize = 2 * WAITING_WORDS_MAX;
/// What a message costs beside its content.
const MESSAGE_BYTES: usize = 64;

impl Driver {
    /// Tells a member that has just said that it knows the manifest what validators have said.
    pub(super) fn tell_newcomer(&self, id: u64) {
        if let Some(session) = self.sessions.get(&id).filter(|_| self.active.is_some()) {
            send_statements(session, &self.statements);
        }
    }

    /// Keeps what the application knows now, and tells every member what is new of it.
    pub(super) fn tell_statements(&mut self, all: Vec<Vec<u8>>, new: Vec<Vec<u8>>) {
        self.statements = all;
        // Who has not said Ready, or has not heard ours, would have to end the session.
        for session in self.sessions.values().filter(|session| session.ready && self.active.is_some()) {
            send_statements(session, &new);
        }
    }

    /// A member passes statements on. The application judges them; a member that only floods is dropped.
    pub(super) fn statements_told(&mut self, id: u64, all: Vec<Vec<u8>>) {
        let bytes = all.iter().map(|one| one.len() + MESSAGE_BYTES).sum::<usize>() + MESSAGE_BYTES;
        let peer = self.sessions.get(&id).map(|session| session.peer.to_string());
        if let Some(peer) = peer.filter(|_| self.may_say(id, bytes)) {
            self.tell(Event::Statements { peer, all });
        }
    }

    /// A member says where it sees us.
    pub(super) fn seen_told(&mut self, id: u64, ip: IpAddr) {
        let peer = self.sessions.get(&id).map(|session| session.peer.to_string());
        if let Some(peer) = peer.filter(|_| self.may_say(id, MESSAGE_BYTES)) {
            self.tell(Event::Seen { peer, ip });
        }
    }

    /// The application knows who a peer is.
    pub(super) fn name(&mut self, peer: PeerId, name: String) {
        let before = self.names.of(&peer);
        if self.names.give(peer, name) && self.by_peer.contains_key(&peer) {
            self.tell(Event::Note(format!("{before} is {}", self.names.of(&peer))));
        }
    }

    fn may_say(&mut self, id: u64, bytes: usize) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        session.statement_bytes = session.statement_bytes.saturating_add(bytes);
        if session.statement_bytes > STATEMENTS_OF_SESSION_BYTES_MAX {
            self.drop_peer(id, "it passes on more statements than any network has");
            return false;
        }
        self.outbox.len() < WAITING_EVENTS_MAX
    }
}

fn send_statements(session: &Session, statements: &[Vec<u8>]) {
    for some in statements.chunks(STATEMENTS_IN_MESSAGE_MAX) {
        session.say(Message::Statements(some.to_vec()));
    }
}
