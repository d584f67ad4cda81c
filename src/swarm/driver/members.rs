//! Who is here: handshakes, sessions, seats, bans, addresses of others.

use std::{collections::HashMap, net::IpAddr, sync::atomic::Ordering, time::Duration};

use libp2p::{Multiaddr, PeerId, Stream, multiaddr::Protocol};
use rand::RngCore;
use tokio::time::timeout;

use super::{
    super::{
        Event, SESSION_PROTOCOL, book, door,
        handshake::{HandshakeError, Instance, Role},
        introduction::Shown,
        names::short_place,
        session::{self, Bulk, Member, Session},
        wire::{self, Message, Parting},
    },
    Ban, Driver, Met, evidence,
};
use crate::{
    base::{
        Next, Notice,
        limits::{HANDSHAKE_FAILURE_PENALTY, HANDSHAKE_TIME_MAX, PEERS_MESSAGE_ADDRESSES_MAX, STRANGERS_MAX},
        task::{CancellationToken, Tasks},
        text,
    },
    schedule::Input,
};

/// How long what is said last may take.
const LAST_WORDS_TIME: Duration = Duration::from_millis(700);
/// A node that has been heard so lately is alive: another one with its key is another one.
const ALIVE: Duration = Duration::from_secs(20);
/// How long a peer that sent wrong bytes is kept out, the first time and at most. A peer of the ticket may have mended its file.
const FIRST_BAN: Duration = Duration::from_secs(60);
/// The same for one that broke the protocol.
const FAULT_BAN: Duration = Duration::from_secs(10);
/// See [`FIRST_BAN`].
const LAST_BAN: Duration = Duration::from_secs(3600);
/// How long after a goodbye a peer is not dialled.
const HUNG_UP_WAIT: Duration = Duration::from_secs(3);
/// Sessions that ended lately, and whose they were: what they sent is still being looked at.
const ENDED_MAX: usize = 256;
/// Addresses of one member that others are told.
const TOLD_PER_MEMBER: usize = 4;

impl Driver {
    pub(super) fn meet_as_dialler(&mut self, peer: PeerId) {
        let mut control = self.swarm.behaviour().streams.new_control();
        let address = self.connected.get(&peer).map_or_else(Multiaddr::empty, |c| c.address.clone());
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        let introducer = self.introducer.clone();
        let issue = self.evidence.issue.clone();
        tokio::spawn(async move {
            let work = async {
                let mut stream = control
                    .open_stream(peer, SESSION_PROTOCOL)
                    .await
                    .map_err(|e| (session::open_failure(&e), None, None))?;
                match membership.run(&mut stream, Role::Dialler, us, peer, nonce).await {
                    Ok(instance) => match introducer.exchange(&mut stream, &peer).await {
                        Ok(shown) => Ok((stream, instance, shown)),
                        Err(e) => Err((dialler_words(&e), Some(e), None)),
                    },
                    Err(e @ HandshakeError::OtherManifest) => {
                        let told = evidence::swap(&mut stream, issue).await;
                        Err((dialler_words(&e), Some(e), told))
                    }
                    Err(e) => Err((dialler_words(&e), Some(e), None)),
                }
            };
            let (result, failed, evidence) = match timeout(HANDSHAKE_TIME_MAX, work).await {
                Ok(Ok(met)) => (Ok(met), None, None),
                Ok(Err((why, failed, evidence))) => (Err(why), failed, evidence),
                Err(_) => (Err("it did not finish the handshake in time".to_owned()), None, None),
            };
            let stale = matches!(failed, Some(HandshakeError::OtherManifest));
            // Where both dial at once one breaks off; who is never reached is told of with each address.
            let (suspicious, quiet) = (false, matches!(failed, Some(HandshakeError::Broken(_))));
            let _ =
                met.send(Met { peer, role: Role::Dialler, address, result, suspicious, quiet, stale, evidence }).await;
        });
    }

    pub(super) fn meet_as_listener(&mut self, peer: PeerId, mut stream: Stream) {
        if self.is_banned(&peer) {
            return;
        }
        let Some(address) = self.connected.get(&peer).map(|c| c.address.clone()) else {
            // Streams and connections come by different ways: the connection's event is about to follow.
            if self.early_streams.len() < STRANGERS_MAX && self.early_streams.iter().all(|(p, ..)| *p != peer) {
                self.early_streams.push((peer, stream, self.now()));
            }
            return;
        };
        // One at a time, whoever it is.
        if !self.listening_to.insert(peer) {
            return;
        }
        self.swarm.behaviour_mut().door.meeting(&peer);
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        let introducer = self.introducer.clone();
        let issue = self.evidence.issue.clone();
        tokio::spawn(async move {
            let work = async {
                let proved = match membership.run(&mut stream, Role::Listener, us, peer, nonce).await {
                    Ok(instance) => introducer.exchange(&mut stream, &peer).await.map(|shown| (instance, shown)),
                    Err(e) => Err(e),
                };
                let evidence = match &proved {
                    Err(HandshakeError::OtherManifest) => evidence::swap(&mut stream, issue).await,
                    _ => None,
                };
                (proved, evidence)
            };
            let (proved, evidence) = match timeout(HANDSHAKE_TIME_MAX, work).await {
                Ok((proved, evidence)) => (Ok(proved), evidence),
                Err(late) => (Err(late), None),
            };
            let (result, suspicious, quiet) = match proved {
                Ok(Ok((instance, shown))) => (Ok((stream, instance, shown)), false, false),
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
            let (role, stale) = (Role::Listener, false);
            let _ = met.send(Met { peer, role, address, result, suspicious, quiet, stale, evidence }).await;
        });
    }

    pub(super) fn met(&mut self, met: Met) {
        let Met { peer, role, address, result, suspicious, quiet, stale, evidence } = met;
        match role {
            Role::Dialler => self.meeting.remove(&peer),
            Role::Listener => self.listening_to.remove(&peer),
        };
        let why = match result {
            Ok((stream, instance, shown)) => return self.begin_session(peer, role, stream, instance, shown),
            Err(why) => why,
        };
        let now = self.now();
        if suspicious {
            self.count_failure(peer);
        }
        if role == Role::Dialler {
            self.book.failed(&peer, &address, why.clone(), now);
        }
        if let Some(evidence) = evidence {
            self.hand_over(evidence);
        }
        if stale && self.book.is_pinned(&peer) {
            self.stale.insert(peer);
            if self.needs_others() && self.sessions.is_empty() && self.book.pinned().all(|p| self.stale.contains(p)) {
                self.tell(Event::Stale);
            }
        }
        if self.by_peer.contains_key(&peer) {
            return;
        }
        let _ = self.swarm.disconnect_peer_id(peer);
        let (called, at) = (self.names.of(&peer), short_place(&address.to_string()));
        let words = format!("no session with {called} at {at}: {why}");
        if quiet {
            tracing::debug!("{words}");
        } else {
            self.warn(if suspicious { "wrong secret" } else { "no session" }, Some(&address), words);
        }
    }

    /// Whoever fails too often is not listened to for a while.
    pub(super) fn count_failure(&mut self, peer: PeerId) {
        let now = self.now();
        if self.failures.len() < STRANGERS_MAX * 16 {
            let entry = self.failures.entry(peer).or_insert((0, now));
            *entry = if now > entry.1 + HANDSHAKE_FAILURE_PENALTY { (1, now) } else { (entry.0 + 1, now) };
        }
    }

    fn begin_session(&mut self, peer: PeerId, role: Role, stream: Stream, instance: Instance, shown: Shown) {
        let now = self.now();
        let dialler = if role == Role::Dialler { self.us } else { peer };
        if self.is_banned(&peer) {
            return;
        }
        if let Err(why) = self.judge(&peer, &shown) {
            return self.refuse_seat(peer, stream, &why);
        }
        if let Some(old) = self.by_peer.get(&peer).copied()
            && let Some(session) = self.sessions.get_mut(&old)
        {
            let line = self.lines.bytes(&peer);
            if session.instance != instance && now < session.last_heard(line, now) + ALIVE {
                return self.turn_away_clone(peer, stream);
            }
            // Both sides may dial at once. Both keep the session that the smaller peer id opened.
            let preferred = self.us.min(peer);
            if session.instance == instance && session.dialler != dialler && dialler != preferred {
                return;
            }
            self.end_session(old, "a newer session took its place");
        }
        let Some(address) = self.connected.get(&peer).map(|c| c.address.clone()) else { return };
        if self.sessions.len() >= self.peers_max && !self.make_room(&peer, &address) {
            let (called, at) = (self.names.of(&peer), short_place(&address.to_string()));
            let words = format!("{called} at {at} was turned away: as many peers as allowed are here");
            self.warn("full", Some(&address), words);
            let reason = "as many peers as allowed are here".to_owned();
            return self.say_last(peer, stream, Message::Goodbye { reason, why: Parting::Other });
        }
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.deadline = None;
        }
        self.swarm.behaviour_mut().door.proven(&peer);
        let id = self.next_session;
        self.next_session += 1;
        let total = self.totals.entry(peer).or_default();
        total.0 = address.to_string();
        let control = self.swarm.behaviour().streams.new_control();
        let member = Member { peer, dialler, instance, shown };
        let bulk = Bulk { counters: total.1.clone(), throttles: self.throttles.clone(), lines: self.lines.clone() };
        let session = Session::start(id, member, stream, control, bulk, self.reports.0.clone(), now);
        self.known_members.insert(peer);
        self.book.reached(&peer);
        self.unreachable_since = None;
        let local = book::is_loopback(&address);
        let mut addresses = self.told_addresses(local);
        addresses.extend(
            self.sessions
                .values()
                .flat_map(|s| &s.addresses)
                .filter(|a| local || !super::watch::is_loopback(a))
                .cloned(),
        );
        for one in &self.evidence.against {
            session.say(Message::Evidence(one.clone()));
        }
        if self.active.is_some() {
            session.say(Message::Ready);
        }
        for some in addresses.chunks(PEERS_MESSAGE_ADDRESSES_MAX) {
            session.say(Message::Peers(some.to_vec()));
        }
        if let Some(ip) = book::ip(&address) {
            session.say(Message::Seen(ip.to_canonical()));
        }
        self.sessions.insert(id, session);
        self.by_peer.insert(peer, id);
        self.tell_whose(id);
        let (called, at) = (self.names.of(&peer), short_place(&address.to_string()));
        self.note(format!("connected to {called} at {at}"));
        self.ask_for_manifest();
    }

    /// Another node has the key of one that is here and alive: both are told, and the one that is here stays.
    fn turn_away_clone(&mut self, peer: PeerId, stream: Stream) {
        let links = self.connected.get(&peer).map(|c| c.links.clone()).unwrap_or_default();
        let at = self.connected.get(&peer).map(|c| c.address.clone());
        let words = format!(
            "two nodes use one identity, {}: one was copied from the other with its .regenesis directory. The one that came first \
             stays",
            self.names.of(&peer)
        );
        self.warn("two with one identity", at.as_ref(), Notice::from(words).next(Next::OtherIdentityThere));
        let reason = "another node with the same identity is here".to_owned();
        let tasks = last_message(stream, Message::Goodbye { reason, why: Parting::IdentityInUse });
        // Its connection is the youngest one, and the session that is here has an older one.
        if links.len() > 1
            && let Some((id, _)) = links.last()
        {
            self.closing.push((*id, tasks, self.now() + LAST_WORDS_TIME));
        } else {
            self.leaving.push((peer, tasks, self.now() + LAST_WORDS_TIME));
        }
    }

    /// Says one thing to a peer that gets no session.
    pub(super) fn say_last(&mut self, peer: PeerId, stream: Stream, message: Message) {
        self.leaving.push((peer, last_message(stream, message), self.now() + LAST_WORDS_TIME));
    }

    /// Where all seats are taken: whether a newcomer gets one, and of whom. Seats are kept for peers of the ticket and for those that
    /// were of use; of the others, one range of addresses cannot keep all of them.
    fn make_room(&mut self, peer: &PeerId, address: &Multiaddr) -> bool {
        let mut seats: HashMap<Option<IpAddr>, usize> = HashMap::new();
        let range = |address: &Multiaddr| book::ip(address).map(door::range);
        let place = |driver: &Self, peer: &PeerId| driver.connected.get(peer).and_then(|c| range(&c.address));
        for session in self.sessions.values() {
            *seats.entry(place(self, &session.peer)).or_default() += 1;
        }
        let useful = |driver: &Self, peer: &PeerId| {
            let moved = driver
                .totals
                .get(peer)
                .map_or(0, |(_, c)| c.sent.load(Ordering::Relaxed) + c.received.load(Ordering::Relaxed));
            moved > 0
        };
        let favoured = self.book.is_pinned(peer) || self.access.names(peer) || useful(self, peer);
        let ours = seats.get(&range(address)).copied().unwrap_or(0);
        let candidates = self
            .sessions
            .iter()
            .filter(|(_, s)| !self.book.is_pinned(&s.peer) && !self.access.names(&s.peer) && !useful(self, &s.peer));
        let fullest = candidates.max_by_key(|(id, s)| (seats[&place(self, &s.peer)], **id));
        let Some((id, of_range)) = fullest.map(|(id, s)| (*id, seats[&place(self, &s.peer)])) else { return false };
        if !favoured && of_range <= ours + 1 {
            return false;
        }
        self.drop_peer(id, "as many peers as allowed are here, and another one needs the place");
        true
    }

    pub(super) fn end_session(&mut self, id: u64, why: &str) {
        drop(self.part(id, why, Vec::new()));
    }

    /// Takes a session out; its last words are written as long as the tasks live that are given back.
    fn part(&mut self, id: u64, why: &str, words: Vec<Message>) -> Option<(PeerId, Tasks)> {
        let session = self.sessions.remove(&id)?;
        let peer = session.peer;
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        self.manifest_asked.remove(&id);
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((id, peer));
        self.input(Input::Gone(id));
        self.note(format!("session with {} ended: {}", self.names.of(&peer), text::escape(why)));
        Some((peer, session.part(words)))
    }

    /// Ends a session and its connection, and says why.
    pub(super) fn drop_peer(&mut self, id: u64, why: &str) {
        self.drop_with(id, why, Vec::new(), Parting::Other);
    }

    pub(super) fn drop_with(&mut self, id: u64, why: &str, mut words: Vec<Message>, parting: Parting) {
        words.push(Message::Goodbye { reason: why.to_owned(), why: parting });
        if let Some((peer, tasks)) = self.part(id, why, words) {
            self.leaving.push((peer, tasks, self.now() + LAST_WORDS_TIME));
        }
    }

    /// Ends the session with a member that broke the protocol, and lets it in again later, each time much later.
    pub(super) fn fault(&mut self, id: u64, why: &str) {
        if let Some(peer) = self.sessions.get(&id).map(|s| s.peer) {
            self.keep_out(peer, FAULT_BAN);
        }
        self.drop_peer(id, why);
    }

    /// Keeps a peer out for a while, twice as long each time; gives until when.
    fn keep_out(&mut self, peer: PeerId, first: Duration) -> Duration {
        let now = self.now();
        let ban = self.banned.entry(peer).or_insert(Ban { until: now, times: 0 });
        ban.until = now + (first * 2u32.saturating_pow(ban.times.min(10))).min(LAST_BAN);
        ban.times += 1;
        ban.until
    }

    /// The member has said goodbye: nothing is said to it any more.
    pub(super) fn hung_up(&mut self, id: u64, reason: &str) {
        if let Some((peer, _)) = self.part(id, &format!("it said goodbye: {reason}"), Vec::new()) {
            let _ = self.swarm.disconnect_peer_id(peer);
            self.book.wait(&peer, self.now() + HUNG_UP_WAIT);
        }
    }

    /// A node with our key is with that member, and was there first.
    pub(super) fn is_clone(&mut self, id: u64) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (peer, at) = (session.peer, self.connected.get(&session.peer).map(|c| c.address.clone()));
        let words = format!(
            "{} does not let this node in: another node uses the same identity and is there already. One of the two was copied from \
             the other with its .regenesis directory",
            self.names.of(&peer)
        );
        self.warn("same identity", at.as_ref(), Notice::from(words).next(Next::OtherIdentityHere));
        self.hung_up(id, "another node with the same identity is here");
        let why = "another node with the same identity is there: this one's .regenesis/identity is a copy".to_owned();
        self.book.set_aside(&peer, why, self.now() + ALIVE);
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        let now = self.now();
        self.banned.get(peer).is_some_and(|ban| now < ban.until)
    }

    /// Keeps a peer out that sent what it must not, and tells it so. For a while: if it is of the ticket, its file may be mended.
    pub(super) fn ban(&mut self, peer: PeerId, reason: &str, words: Vec<Message>) {
        if self.is_banned(&peer) {
            return;
        }
        let until = self.keep_out(peer, FIRST_BAN);
        self.ban_validators_of(&peer, until);
        let at = self.totals.get(&peer).map_or("an unknown address".to_owned(), |t| short_place(&t.0));
        let called = self.names.of(&peer);
        self.tell(Event::Warning(format!("{called} at {at} was dropped and banned: {reason}").into()));
        let why = format!(
            "it was dropped: {reason}. It is tried again later; ask its operator to look at its disk and to start it again, which checks \
             its files"
        );
        self.book.set_aside(&peer, why, until);
        match self.by_peer.get(&peer).copied() {
            Some(id) => self.drop_with(id, reason, words, Parting::Other),
            None => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    /// Addresses that a member tells: of itself, those that lead where it is; of others, only what a peer of our ticket says. So nobody
    /// makes us dial a stranger's ports, or fills the book.
    pub(super) fn peers_told(&mut self, id: u64, addresses: &[String]) {
        let now = self.now();
        let Some(from) = self.sessions.get(&id).map(|s| s.peer) else { return };
        let observed = self.connected.get(&from).and_then(|c| book::ip(&c.address));
        let trusted = self.book.is_pinned(&from);
        for text in addresses {
            let Some((peer, address)) = book::parse(text) else { continue };
            if peer == self.us || self.is_banned(&peer) || (peer != from && !trusted) {
                continue;
            }
            let mut taken = Vec::new();
            if trusted || book::ip(&address).is_some_and(|ip| Some(ip) == observed) {
                taken.push(address.clone());
            }
            // Behind a translator a member does not know its own address, but we see it.
            if let (true, Some(ip)) =
                (peer == from && !book::is_loopback(&address), observed.filter(|ip| !ip.is_loopback()))
            {
                let seen = address.replace(0, |_| Some(Protocol::from(ip))).unwrap_or(address);
                if !taken.contains(&seen) {
                    taken.push(seen);
                }
            }
            for address in taken {
                let text = address.to_string();
                self.book.add(peer, address, false, now);
                if peer != from {
                    continue;
                }
                if let Some(session) = self.sessions.get_mut(&id)
                    && session.addresses.len() < TOLD_PER_MEMBER
                    && !session.addresses.contains(&text)
                {
                    session.addresses.push(text.clone());
                    self.will_tell(from, text);
                }
            }
            // Of two that hear of each other at the same time, the smaller id dials.
            if peer < self.us {
                self.book.wait(&peer, now + Duration::from_secs(3));
            }
        }
    }
}

fn last_message(mut stream: Stream, message: Message) -> Tasks {
    let mut tasks = Tasks::new(CancellationToken::new());
    tasks.spawn("last-words", async move {
        let _ = wire::write_message(&mut stream, message).await;
        let _ = futures::AsyncWriteExt::close(&mut stream).await;
        Ok(())
    });
    tasks
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
