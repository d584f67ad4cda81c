//! Where members may be reached: addresses from the ticket, from flags and from other members, and how each try went.
//!
//! Each address is dialled by itself, the likeliest first and the next one a moment later, without waiting for the one before it to
//! fail: what is wrong with an address is wrong with that one only.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::base::limits::{BOOK_PEERS_MAX, TICKET_ADDRESSES_MAX};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Between the starts of two dials of one peer.
const STAGGER: Duration = Duration::from_millis(50);
/// What UDP lets TCP have of a start: for bulk TCP is the better one, and it takes three round trips more.
const QUIC_LATER: Duration = Duration::from_millis(1500);
/// After this long a dial is no longer waited for.
const DIAL_TIME: Duration = Duration::from_secs(25);
/// Addresses kept for one peer: interfaces of a machine, not a flood.
const ADDRESSES_PER_PEER_MAX: usize = 16;
/// The same for a peer of the ticket or a flag.
const PINNED_ADDRESSES_MAX: usize = 2 * TICKET_ADDRESSES_MAX;
/// Dials under way for one peer.
const DIALS_PER_PEER_MAX: usize = 48;

/// One way to a peer.
#[derive(Debug)]
struct Way {
    address: Multiaddr,
    /// It leads back to this node.
    ours: bool,
    /// It connected, and nothing large came through.
    poor: bool,
    /// How its last try failed.
    failure: Option<String>,
}

/// Tries of one peer's addresses.
#[derive(Debug)]
struct Round {
    began: Duration,
    /// Places of the addresses still to be tried.
    left: VecDeque<usize>,
    /// Places of those that are being tried.
    dialling: Vec<usize>,
    next_at: Duration,
}

/// A peer that may be dialled.
#[derive(Debug, Default)]
struct Entry {
    /// The ways to the member, in the order in which we heard of them.
    ways: Vec<Way>,
    /// The ticket or a flag named the member: it is never forgotten.
    pinned: bool,
    /// A session with it has begun before.
    known: bool,
    /// Why it is not dialled, and until when.
    set_aside: Option<(String, Duration)>,
    round: Option<Round>,
    next_try: Duration,
    retry: Duration,
}

/// The address book.
#[derive(Debug)]
pub(super) struct Book {
    us: PeerId,
    entries: BTreeMap<PeerId, Entry>,
}

/// Takes a member's address apart; only what can be dialled and names its peer is taken.
pub(super) fn parse(text: &str) -> Option<(PeerId, Multiaddr)> {
    if text.len() > 300 {
        return None;
    }
    let address: Multiaddr = text.parse().ok()?;
    let mut parts = address.iter();
    let host = matches!(
        parts.next()?,
        Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
    );
    let transport = match parts.next()? {
        Protocol::Tcp(port) => port != 0,
        Protocol::Udp(port) => port != 0 && parts.next()? == Protocol::QuicV1,
        _ => false,
    };
    let Some(Protocol::P2p(peer)) = parts.next() else { return None };
    (host && transport && parts.next().is_none()).then_some((peer, address))
}

/// The IP address a connection comes from.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|p| match p {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

/// Whether only this machine can reach it.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_loopback())
}

/// How far an address reaches: 0 the world, or a name; 1 a private network; 2 what is mostly the inside of one machine; 3 this machine.
pub(super) fn reach(address: &Multiaddr) -> u8 {
    let inside = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() => 3,
        IpAddr::V4(v4) if v4.is_link_local() || v4.octets()[..2] == [172, 17] => 2,
        IpAddr::V4(v4) if v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64) => 1,
        IpAddr::V6(Ipv6Addr::LOCALHOST) => 3,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => 2,
        IpAddr::V6(v6) if v6.segments()[0] & 0xfe00 == 0xfc00 => 1,
        _ => 0,
    };
    ip(address).map_or(0, inside)
}

/// Whether it is QUIC's.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|p| matches!(p, Protocol::QuicV1))
}

/// Without the peer id at its end.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|p| !matches!(p, Protocol::P2p(_))).collect()
}

impl Round {
    fn new(ways: &[Way], now: Duration) -> Self {
        let mut left: Vec<usize> = (0..ways.len()).filter(|place| !ways[*place].ours).collect();
        // Those with nothing against them first; then as they were told.
        left.sort_by_key(|place| {
            let way = &ways[*place];
            (way.poor, is_quic(&way.address), reach(&way.address))
        });
        Round { began: now, left: left.into(), dialling: Vec::new(), next_at: now }
    }

    fn next(&mut self, ways: &[Way], now: Duration) -> Option<usize> {
        let place = *self.left.front()?;
        // Where TCP is still being tried, UDP waits.
        let tcp = self.dialling.iter().any(|other| !is_quic(&ways[*other].address));
        let waits = tcp && is_quic(&ways[place].address) && now < self.began + QUIC_LATER;
        if now < self.next_at || waits || self.dialling.len() >= DIALS_PER_PEER_MAX {
            return None;
        }
        self.next_at = self.next_at.max(now.saturating_sub(2 * STAGGER)) + STAGGER;
        self.left.pop_front();
        self.dialling.push(place);
        Some(place)
    }
}

impl Book {
    pub(super) fn new(us: PeerId) -> Self {
        Book { us, entries: BTreeMap::new() }
    }

    /// Adds an address; true if it was new.
    pub(super) fn add(&mut self, peer: PeerId, address: Multiaddr, pinned: bool, now: Duration) -> bool {
        if peer == self.us || (!self.entries.contains_key(&peer) && !pinned && !self.has_room()) {
            return false;
        }
        let entry = self.entries.entry(peer).or_default();
        entry.pinned |= pinned;
        let max = if entry.pinned { PINNED_ADDRESSES_MAX } else { ADDRESSES_PER_PEER_MAX };
        if entry.ways.len() >= max || entry.ways.iter().any(|way| way.address == address) {
            return false;
        }
        entry.ways.push(Way { address, ours: false, poor: false, failure: None });
        match &mut entry.round {
            Some(round) => round.left.push_back(entry.ways.len() - 1),
            None => entry.next_try = entry.next_try.min(now),
        }
        entry.retry = Duration::ZERO;
        true
    }

    /// Makes room for a peer if it must: whoever has only been told of and was never reached goes first.
    fn has_room(&mut self) -> bool {
        if self.entries.len() < BOOK_PEERS_MAX {
            return true;
        }
        let of_no_use =
            |entry: &Entry| !entry.pinned && !entry.known && entry.ways.iter().all(|way| way.failure.is_some());
        let Some(peer) = self.entries.iter().find(|(_, entry)| of_no_use(entry)).map(|(peer, _)| *peer) else {
            return false;
        };
        self.entries.remove(&peer);
        true
    }

    /// Whether this address of the peer is known.
    pub(super) fn knows(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.ways.iter().any(|way| way.address == *address))
    }

    /// The peers of the ticket and the flags.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &PeerId> {
        self.entries.iter().filter(|(_, entry)| entry.pinned).map(|(peer, _)| peer)
    }

    /// Whether the peer is of the ticket or a flag.
    pub(super) fn is_pinned(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.pinned)
    }

    /// A peer that is not to be dialled for a while, and why.
    pub(super) fn set_aside(&mut self, peer: &PeerId, why: String, until: Duration) {
        if !self.is_pinned(peer) {
            self.entries.remove(peer);
        } else if let Some(entry) = self.entries.get_mut(peer) {
            (entry.set_aside, entry.round) = (Some((why, until)), None);
        }
    }

    /// Puts the next try of a peer off, because it will probably dial us.
    pub(super) fn wait(&mut self, peer: &PeerId, until: Duration) {
        if let Some(entry) = self.entries.get_mut(peer).filter(|entry| entry.round.is_none()) {
            entry.next_try = entry.next_try.max(until);
        }
    }

    /// Addresses to dial now. `busy` hears of a peer whether it is of the ticket or a flag.
    pub(super) fn due(
        &mut self,
        now: Duration,
        busy: impl Fn(&PeerId, bool) -> bool,
        is_ours: impl Fn(&Multiaddr) -> bool,
    ) -> Vec<(PeerId, Multiaddr)> {
        let mut due = Vec::new();
        for (peer, entry) in &mut self.entries {
            if entry.set_aside.as_ref().is_some_and(|(_, until)| now >= *until) {
                entry.set_aside = None;
            }
            if busy(peer, entry.pinned) || entry.set_aside.is_some() {
                entry.round = None;
                continue;
            }
            if entry.round.is_none() && entry.next_try <= now {
                for way in &mut entry.ways {
                    way.ours = is_ours(&way.address);
                }
                entry.round = Some(Round::new(&entry.ways, now));
                // From its beginning: a peer that connects and then hangs up is no reason for haste.
                entry.retry = (entry.retry * 2).clamp(FIRST_RETRY, LAST_RETRY);
                entry.next_try = now + entry.retry;
            }
            let Some(round) = &mut entry.round else { continue };
            while let Some(place) = round.next(&entry.ways, now) {
                due.push((*peer, entry.ways[place].address.clone()));
            }
            let over = round.left.is_empty() && round.dialling.is_empty();
            if over || now >= round.began + DIAL_TIME {
                entry.next_try = entry.next_try.max(now + FIRST_RETRY);
                entry.round = None;
            }
        }
        due
    }

    /// A try of an address failed: the next one is due.
    pub(super) fn failed(&mut self, peer: &PeerId, address: &Multiaddr, why: String, now: Duration) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        let bare = without_peer(address);
        let Some(place) = entry.ways.iter().position(|way| without_peer(&way.address) == bare) else { return };
        entry.ways[place].failure = Some(why);
        if let Some(round) = &mut entry.round {
            round.dialling.retain(|other| *other != place);
            round.next_at = round.next_at.min(now);
        }
    }

    /// An address through which nothing large comes: the other ones first.
    pub(super) fn poor(&mut self, peer: &PeerId, address: &Multiaddr, why: String, now: Duration) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        let bare = without_peer(address);
        for way in entry.ways.iter_mut().filter(|way| without_peer(&way.address) == bare) {
            way.poor = true;
            way.failure = Some(why.clone());
        }
        (entry.next_try, entry.retry) = (now, Duration::ZERO);
    }

    /// A session with a peer has begun.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.ways.iter_mut().filter(|way| !way.poor).for_each(|way| way.failure = None);
            entry.known = true;
            entry.retry = Duration::ZERO;
            entry.round = None;
        }
    }

    /// Every address that was tried and why it failed.
    pub(super) fn failures(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for entry in self.entries.values() {
            for way in &entry.ways {
                let why = match (&entry.set_aside, &way.failure) {
                    (Some((why, _)), _) => why.clone(),
                    (None, _) if way.ours => "this is an address of this machine, too: it leads back here".to_owned(),
                    (None, Some(why)) => why.clone(),
                    (None, None) => "no answer yet".to_owned(),
                };
                out.push((way.address.to_string(), why));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn to(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn due(book: &mut Book, ms: u64) -> Vec<String> {
        book.due(at(ms), |_, _| false, |_| false).into_iter().map(|(_, address)| address.to_string()).collect()
    }

    #[test]
    fn only_what_can_be_dialled_is_taken() {
        let id = PeerId::random();
        for good in ["/ip4/10.0.0.1/tcp/6690", "/ip6/::1/udp/6690/quic-v1", "/dns4/lead.example.org/tcp/1"] {
            let (peer, _) = parse(&format!("{good}/p2p/{id}")).expect(good);
            assert_eq!(peer, id);
        }
        for bad in [
            String::new(),
            "/ip4/10.0.0.1/tcp/6690".into(),
            format!("/ip4/10.0.0.1/tcp/0/p2p/{id}"),
            format!("/ip4/10.0.0.1/udp/6690/p2p/{id}"),
            format!("/unix/etc/p2p/{id}"),
            format!("/ip4/10.0.0.1/tcp/6690/p2p/{id}/p2p-circuit"),
            format!("/dns4/{}/tcp/1/p2p/{id}", "x".repeat(400)),
        ] {
            assert!(parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tries_come_slower_and_a_new_address_is_tried_at_once() {
        let (us, them) = (PeerId::random(), PeerId::random());
        let mut book = Book::new(us);
        let address = to("/ip4/10.0.0.1/tcp/1");
        assert!(book.add(them, address.clone(), true, at(0)));
        assert!(!book.add(us, address.clone(), true, at(0)), "never ourselves");
        let mut tries = Vec::new();
        for ms in (0..100_000).step_by(100) {
            for tried in due(&mut book, ms) {
                assert_eq!(tried, address.to_string());
                book.failed(&them, &address, "refused".into(), at(ms));
                tries.push(ms);
            }
        }
        assert!(tries.windows(2).all(|pair| pair[1] - pair[0] <= 30_200), "{tries:?}");
        assert!(tries.len() < 12 && tries[1] <= 1500, "{tries:?}");
        assert!(book.add(them, to("/ip4/10.0.0.2/tcp/1"), false, at(100_000)));
        let soon: Vec<String> = [100_100, 100_200].into_iter().flat_map(|ms| due(&mut book, ms)).collect();
        assert!(soon.contains(&"/ip4/10.0.0.2/tcp/1".to_owned()), "{soon:?}");
        assert!(book.due(at(500_000), |_, _| true, |_| false).is_empty(), "already connected");
    }

    #[test]
    fn forty_dead_addresses_cost_no_wait() {
        let them = PeerId::random();
        let mut book = Book::new(PeerId::random());
        for n in 0..40 {
            book.add(them, to(&format!("/ip4/203.0.113.{n}/tcp/6690")), true, at(0));
        }
        book.add(them, to("/ip4/198.51.100.7/tcp/6690"), true, at(0));
        // Nobody answers and nobody refuses.
        let tried = (0..=2500).step_by(100).find(|ms| due(&mut book, *ms).iter().any(|a| a.contains("198.51.100.7")));
        assert!(tried.is_some());
    }

    #[test]
    fn the_world_comes_before_private_ranges_and_tcp_before_quic() {
        let them = PeerId::random();
        let mut book = Book::new(PeerId::random());
        let told = [
            "/ip4/172.17.0.1/tcp/6690",
            "/ip4/172.17.0.1/udp/6690/quic-v1",
            "/ip4/192.168.1.4/tcp/6690",
            "/ip4/198.51.100.7/udp/6690/quic-v1",
            "/ip4/198.51.100.7/tcp/6690",
            "/dns4/lead.example.org/tcp/6690",
        ];
        for address in told {
            book.add(them, to(address), true, at(0));
        }
        let mut order = Vec::new();
        for ms in (0..=1400).step_by(100) {
            order.extend(due(&mut book, ms));
        }
        assert_eq!(order, [told[4], told[5], told[2], told[0]]);
        assert_eq!(due(&mut book, 1600), [told[3], told[1]]);
    }

    #[test]
    fn what_is_refused_makes_the_next_one_due_and_spoils_nothing_else() {
        let them = PeerId::random();
        let mut book = Book::new(PeerId::random());
        let (bad, good) = (to("/ip4/198.51.100.6/tcp/1"), to("/ip4/198.51.100.7/udp/1/quic-v1"));
        book.add(them, bad.clone(), true, at(0));
        book.add(them, good.clone(), true, at(0));
        assert_eq!(due(&mut book, 0), [bad.to_string()]);
        book.failed(&them, &bad, "another node answers there".into(), at(10));
        assert_eq!(due(&mut book, 10), [good.to_string()], "no TCP is left to wait for");
    }

    #[test]
    fn an_address_through_which_nothing_large_comes_is_tried_last() {
        let them = PeerId::random();
        let mut book = Book::new(PeerId::random());
        let (tcp, quic) = (to("/ip4/198.51.100.7/tcp/1"), to("/ip4/198.51.100.7/udp/1/quic-v1"));
        book.add(them, tcp.clone(), true, at(0));
        book.add(them, quic.clone(), true, at(0));
        assert_eq!(due(&mut book, 0), [tcp.to_string()]);
        book.reached(&them);
        book.poor(&them, &tcp, "nothing large comes through".into(), at(20_000));
        assert_eq!(due(&mut book, 20_000)[0], quic.to_string());
    }

    #[test]
    fn a_peer_that_was_set_aside_is_named_with_the_reason_and_dialled_later() {
        let (pinned, told) = (PeerId::random(), PeerId::random());
        let mut book = Book::new(PeerId::random());
        book.add(pinned, to("/ip4/198.51.100.7/tcp/1"), true, at(0));
        book.add(told, to("/ip4/198.51.100.8/tcp/1"), false, at(0));
        book.set_aside(&pinned, "it sent wrong bytes".into(), at(60_000));
        book.set_aside(&told, "it sent wrong bytes".into(), at(60_000));
        assert!(due(&mut book, 1000).is_empty());
        assert_eq!(book.failures(), [("/ip4/198.51.100.7/tcp/1".to_owned(), "it sent wrong bytes".to_owned())]);
        assert_eq!(due(&mut book, 60_000).len(), 1);
    }

    #[test]
    fn a_full_book_forgets_whom_nobody_has_reached() {
        let mut book = Book::new(PeerId::random());
        let member = PeerId::random();
        book.add(member, to("/ip4/198.51.100.7/tcp/1"), false, at(0));
        book.reached(&member);
        for n in 0..BOOK_PEERS_MAX + 50 {
            let [a, b] = (n as u16).to_be_bytes();
            let (peer, address) = (PeerId::random(), to(&format!("/ip4/203.{a}.{b}.1/tcp/1")));
            book.add(peer, address.clone(), false, at(n as u64));
            book.failed(&peer, &address, "refused".into(), at(n as u64));
        }
        assert!(book.entries.len() <= BOOK_PEERS_MAX && book.entries.contains_key(&member));
        assert!(book.add(PeerId::random(), to("/ip4/198.51.100.9/tcp/1"), true, at(1)), "a ticket's peer always");
    }
}
