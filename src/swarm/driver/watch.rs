//! What is looked at ten times a second: who is silent, who is late, what nobody has, what is to be told.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};

use super::{
    super::{Event, book, door, names::short_place, session::Counters, wire::Message},
    Driver, TICK,
};
use crate::{
    base::{
        Notice,
        limits::{HANDSHAKE_FAILURE_PENALTY, PEERS_MESSAGE_ADDRESSES_MAX, REMEMBERED_PEERS_MAX},
        text,
    },
    schedule::Input,
};

/// How often an unreachable swarm is told of.
const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(10);
/// A member from which nothing at all has come for so long is gone: it says something every quarter of a minute.
const SILENCE: Duration = Duration::from_secs(90);
/// A member that is to send something, and has sent nothing large since the session began, is given up after so long.
const NOTHING_LARGE: Duration = Duration::from_secs(25);
/// How long a member that was asked for the manifest may send nothing before another one is asked, too.
const MANIFEST_SILENCE: Duration = Duration::from_secs(2);
/// Members asked for the manifest at once: each may send its largest size.
const MANIFESTS_ASKED_MAX: usize = 3;
/// When it is said that nobody here has what is missing, and how often.
const NOWHERE_TIME: Duration = Duration::from_secs(10);
/// See [`NOWHERE_TIME`].
const NOWHERE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a stream may be here before its connection: both are told at once.
const EARLY_STREAM_TIME: Duration = Duration::from_secs(5);
/// How often others are told of new addresses.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// So many lines tell of members that come and go,
const NOTES_MAX: u32 = 100;
/// in so long.
const NOTES_INTERVAL: Duration = Duration::from_secs(60);
/// What waits to be told.
const NEWS_MAX: usize = 1024;

/// Says the same thing about the same neighbourhood once in a while only.
#[derive(Debug, Default)]
pub(super) struct Quiet(HashMap<(&'static str, Option<IpAddr>), Duration>);

impl Quiet {
    const INTERVAL: Duration = Duration::from_secs(10);
    const MAX: usize = 256;

    /// Whether it may be said now.
    pub(super) fn may_say(&mut self, kind: &'static str, about: Option<IpAddr>, now: Duration) -> bool {
        if self.0.len() >= Self::MAX {
            self.0.retain(|_, said| now < *said + Self::INTERVAL);
        }
        let key = (kind, about.map(door::range));
        if self.0.get(&key).is_some_and(|said| now < *said + Self::INTERVAL) || self.0.len() >= Self::MAX {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

impl Driver {
    /// What happens as often as an outsider likes: in the log, and of some in a minute the operator hears.
    pub(super) fn note(&mut self, words: String) {
        let now = self.now();
        if now >= self.noted.1 + NOTES_INTERVAL {
            self.noted = (0, now);
        }
        self.noted.0 += 1;
        if self.noted.0 <= NOTES_MAX {
            self.tell(Event::Note(words));
        } else {
            tracing::debug!("{words}");
        }
    }

    /// A warning that an outsider can cause: in the log, and before the operator now and then.
    pub(super) fn warn(&mut self, kind: &'static str, at: Option<&Multiaddr>, notice: impl Into<Notice>) {
        let notice = notice.into();
        if self.quiet.may_say(kind, at.and_then(book::ip), self.now()) {
            self.tell(Event::Warning(notice));
        } else {
            tracing::debug!("{}", notice.text);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.next_tick = now + TICK;
        let mut signs = Vec::with_capacity(self.sessions.len());
        let mut silent = Vec::new();
        for (id, session) in &mut self.sessions {
            let received = session.signs.received.load(Ordering::Relaxed);
            let line = self.lines.bytes(&session.peer);
            let held_up = session.signs.held_up.load(Ordering::Relaxed) > 0;
            let heard = session.last_heard(line, now);
            if now > heard + SILENCE && !held_up {
                silent.push((*id, false));
            } else if now > heard + NOTHING_LARGE && received == 0 && !session.got_manifest && !held_up {
                silent.push((*id, true));
            }
            signs.push((*id, received, held_up || session.chunks_come(line, now)));
        }
        for (id, received, alive) in signs {
            self.input(Input::Progress(id, received));
            if alive {
                self.input(Input::Alive(id));
            }
        }
        self.input(Input::Tick);
        for (id, large) in silent {
            self.silent(id, large);
        }
        self.late_strangers(now);
        self.last_words(now);
        self.ask_for_manifest();
        self.miss_relays(now);
        if let Some(lan) = &mut self.lan {
            lan.speak(now, &self.own_addresses);
        }
        self.look_elsewhere(now);
        self.dial_due();
        self.look_for_sources(now);
        self.tell_news(now);
        self.early_streams.retain(|(_, _, since)| now < *since + EARLY_STREAM_TIME);
        self.failures.retain(|_, (_, last)| now < *last + HANDSHAKE_FAILURE_PENALTY);
        self.forget_some(now);
        self.publish_status();
    }

    /// A member that is silent: gone, or behind a path that swallows what is large, where it owes us something.
    fn silent(&mut self, id: u64, large: bool) {
        let Some(session) = self.sessions.get(&id) else { return };
        if !large {
            return self.drop_peer(id, "nothing at all has come from it for a minute and a half");
        }
        let owes = session.owes_manifest() || self.active.as_ref().is_some_and(|a| a.scheduler.waits_for(id));
        if !owes {
            return;
        }
        let (peer, now) = (session.peer, self.now());
        let at = self.connected.get(&peer).map(|c| c.address.clone());
        let words = format!(
            "{} at {}: connected, but nothing of what was asked for comes: large packets seem to vanish on the way (the MTU of a \
             tunnel or VPN?). Another way is tried, if there is one; else lower the MTU of this machine's interface, to 1280 perhaps",
            self.names.of(&peer),
            at.as_ref().map_or_else(|| "an unknown address".to_owned(), |at| short_place(&at.to_string()))
        );
        self.warn("nothing large", at.as_ref(), words);
        if let Some(at) = at {
            self.book.poor(&peer, &at, "it connects, but nothing large comes through (MTU?)".to_owned(), now);
        }
        self.drop_peer(id, "nothing of what was asked for came");
    }

    /// Those that connected and did not prove membership in time.
    fn late_strangers(&mut self, now: Duration) {
        let is_late = |deadline: Option<Duration>| deadline.is_some_and(|d| now > d + Duration::from_secs(1));
        let late: Vec<PeerId> =
            self.connected.iter().filter(|(_, c)| is_late(c.deadline)).map(|(peer, _)| *peer).collect();
        for peer in late {
            if let Some(connected) = self.connected.remove(&peer) {
                let at = connected.address;
                let words = format!(
                    "{} at {} connected but did not prove that it is a member: a stranger, or another version of regenesis",
                    self.names.of(&peer),
                    short_place(&at.to_string())
                );
                self.warn("stranger", Some(&at), words);
            }
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes the connections of those to whom the last was said.
    fn last_words(&mut self, now: Duration) {
        for (peer, tasks, until) in std::mem::take(&mut self.leaving) {
            if now < until {
                self.leaving.push((peer, tasks, until));
            } else if !self.by_peer.contains_key(&peer) {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
        for (connection, tasks, until) in std::mem::take(&mut self.closing) {
            if now < until {
                self.closing.push((connection, tasks, until));
            } else {
                self.swarm.close_connection(connection);
            }
        }
    }

    /// Asks members for the manifest: another one whenever those that were asked send nothing.
    pub(super) fn ask_for_manifest(&mut self) {
        if self.active.is_some() || self.manifest_judged.is_some() {
            return;
        }
        let now = self.now();
        let sends = |id: &u64, asked: Duration| {
            let heard = self.sessions.get(id).map_or(Duration::ZERO, |s| s.last_heard.1);
            now < heard.max(asked) + MANIFEST_SILENCE
        };
        if self.manifest_asked.len() >= MANIFESTS_ASKED_MAX
            || self.manifest_asked.iter().any(|(id, asked)| sends(id, *asked))
        {
            // Who has been asked and is silent for long makes room for those that have not been.
            self.manifest_asked.retain(|id, asked| sends(id, *asked) || now < *asked + 5 * MANIFEST_SILENCE);
            return;
        }
        // Whoever was asked least, and of those who came first: newcomers, however many, take nobody's turn.
        let able = self.sessions.iter_mut().filter(|(id, session)| {
            let had_none = session.had_no_manifest.is_some_and(|at| now < at + MANIFEST_SILENCE / 2);
            !self.manifest_asked.contains_key(id) && !session.owes_manifest() && !had_none
        });
        if let Some((id, session)) = able.min_by_key(|(id, session)| (session.manifest_asks, **id))
            && session.ask_for_manifest()
        {
            self.manifest_asked.insert(*id, now);
        }
    }

    /// Says why nothing comes: nobody is here, or nobody who is here has what is missing.
    fn look_for_sources(&mut self, now: Duration) {
        if !self.needs_others() || !self.sessions.is_empty() {
            self.unreachable_since = None;
        } else {
            let since = *self.unreachable_since.get_or_insert(now);
            if now >= since + UNREACHABLE_INTERVAL {
                self.unreachable_since = Some(now);
                self.tell(Event::Unreachable(self.book.failures()));
            }
        }
        let nowhere = match &self.active {
            Some(active) if self.is_incomplete() && !self.sessions.is_empty() => active.scheduler.nowhere(),
            _ => 0,
        };
        // The first thing that is missing is the manifest.
        let no_manifest = self.active.is_none() && self.manifest_judged.is_none() && !self.sessions.is_empty();
        if nowhere == 0 && !no_manifest {
            self.nowhere.0 = None;
            return;
        }
        let since = *self.nowhere.0.get_or_insert(now);
        if now >= since + NOWHERE_TIME && self.nowhere.1.is_none_or(|said| now >= said + NOWHERE_INTERVAL) {
            self.nowhere.1 = Some(now);
            let text = match no_manifest {
                true => format!(
                    "{} here, and none has given the manifest: waiting for one that has it. Ask the lead whether it serves, and whether \
                     this is its ticket",
                    text::count(self.sessions.len() as u64, "member")
                ),
                false => format!(
                    "{} missing, and no other source has {}: waiting for one. Ask the lead whether its files are sound and whether it \
                     still serves them",
                    text::count(u64::from(nowhere), "chunk"),
                    if nowhere == 1 { "it" } else { "them" }
                ),
            };
            self.tell(Event::Warning(text.into()));
        }
    }

    /// Tells members of addresses that are new, all at once and not too often.
    fn tell_news(&mut self, now: Duration) {
        if self.news.is_empty() || now < self.news_at + NEWS_INTERVAL {
            return;
        }
        self.news_at = now;
        let news = std::mem::take(&mut self.news);
        for session in self.sessions.values() {
            let local = self.connected.get(&session.peer).is_some_and(|c| book::is_loopback(&c.address));
            let told = news.iter().filter(|(from, _)| *from != session.peer).map(|(_, address)| address);
            let told: Vec<String> = told.filter(|a| local || !is_loopback(a)).cloned().collect();
            for some in told.chunks(PEERS_MESSAGE_ADDRESSES_MAX) {
                session.say(Message::Peers(some.to_vec()));
            }
        }
    }

    /// Remembers that others are to be told of an address.
    pub(super) fn will_tell(&mut self, of: PeerId, address: String) {
        if self.news.len() < NEWS_MAX {
            self.news.push((of, address));
        }
    }

    /// What grows with every identity that ever came is kept short.
    fn forget_some(&mut self, now: Duration) {
        if self.totals.len() > REMEMBERED_PEERS_MAX {
            let (by_peer, idle) = (&self.by_peer, Arc::<Counters>::default());
            let mut gone: Vec<(PeerId, Arc<Counters>)> = Vec::new();
            self.totals.retain(|peer, (_, counters)| {
                let stays = by_peer.contains_key(peer) || gone.len() >= REMEMBERED_PEERS_MAX / 4;
                if !stays {
                    gone.push((*peer, std::mem::replace(counters, idle.clone())));
                }
                stays
            });
            // Their bytes still count.
            for (_, counters) in gone {
                self.forgotten.sent.fetch_add(counters.sent.load(Ordering::Relaxed), Ordering::Relaxed);
                self.forgotten.received.fetch_add(counters.received.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        if self.known_members.len() > REMEMBERED_PEERS_MAX {
            let here = &self.by_peer;
            self.known_members.retain(|peer| here.contains_key(peer));
        }
        if self.shown_before.len() >= super::SHOWN_BEFORE_MAX {
            let here = &self.by_peer;
            self.shown_before.retain(|peer, _| here.contains_key(peer));
        }
        if self.banned.len() > REMEMBERED_PEERS_MAX {
            self.banned.retain(|_, ban| now < ban.until);
            while self.banned.len() > REMEMBERED_PEERS_MAX {
                let Some(first) = self.banned.iter().min_by_key(|(_, ban)| ban.until).map(|(peer, _)| *peer) else {
                    break;
                };
                self.banned.remove(&first);
            }
        }
    }
}

/// Whether only this machine can reach it.
pub(super) fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address| book::is_loopback(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_about_the_same_neighbourhood_are_said_now_and_then() {
        let mut quiet = Quiet::default();
        let at = Duration::from_secs;
        let near = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        assert!(quiet.may_say("stranger", near(1), at(0)));
        assert!(!quiet.may_say("stranger", near(2), at(9)));
        assert!(quiet.may_say("wrong secret", near(2), at(9)));
        assert!(quiet.may_say("stranger", near(2), at(10)));
        for n in 0..10_000u32 {
            let [_, a, b, _] = n.to_be_bytes();
            quiet.may_say("stranger", Some(IpAddr::from([10, a, b, 1])), at(20));
        }
        assert!(quiet.0.len() <= Quiet::MAX);
    }
}
