//! Where members may be reached: addresses from the ticket, from flags and from other members, and how each try went.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::base::limits::PEER_EXCHANGE_ADDRESSES_MAX;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Addresses kept for one peer: interfaces of a machine, not a flood.
const ADDRESSES_PER_PEER_MAX: usize = 16;

/// A peer that may be dialled.
#[derive(Debug, Default)]
struct Entry {
    addresses: BTreeSet<Multiaddr>,
    /// From the ticket or a flag: never forgotten.
    pinned: bool,
    next_try: Duration,
    retry: Duration,
    /// How the last try of each address failed.
    failures: BTreeMap<String, String>,
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

impl Book {
    pub(super) fn new(us: PeerId) -> Self {
        Book { us, entries: BTreeMap::new() }
    }

    /// Adds an address; true if it was new.
    pub(super) fn add(&mut self, peer: PeerId, address: Multiaddr, pinned: bool, now: Duration) -> bool {
        if peer == self.us || (!pinned && self.entries.len() >= PEER_EXCHANGE_ADDRESSES_MAX) {
            return false;
        }
        let entry = self.entries.entry(peer).or_default();
        entry.pinned |= pinned;
        let new = (pinned || entry.addresses.len() < ADDRESSES_PER_PEER_MAX) && entry.addresses.insert(address);
        if new {
            entry.next_try = entry.next_try.min(now);
            entry.retry = FIRST_RETRY;
        }
        new
    }

    /// The peers of the ticket and the flags.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &PeerId> {
        self.entries.iter().filter(|(_, entry)| entry.pinned).map(|(peer, _)| peer)
    }

    /// A peer that is not wanted any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.entries.remove(peer);
    }

    /// Puts the next try of a peer off, because it will probably dial us.
    pub(super) fn wait(&mut self, peer: &PeerId, until: Duration) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.next_try = entry.next_try.max(until);
        }
    }

    /// Peers whose time has come, with their addresses.
    pub(super) fn due(&mut self, now: Duration, busy: impl Fn(&PeerId) -> bool) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (peer, entry) in &mut self.entries {
            if entry.next_try <= now && !entry.addresses.is_empty() && !busy(peer) {
                entry.retry = (entry.retry * 2).clamp(FIRST_RETRY, LAST_RETRY);
                entry.next_try = now + entry.retry;
                due.push((*peer, entry.addresses.iter().cloned().collect()));
            }
        }
        due
    }

    /// A try failed.
    pub(super) fn failed(&mut self, peer: &PeerId, address: &str, why: String) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures.insert(address.to_owned(), why);
        }
    }

    /// A peer was reached.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures.clear();
            entry.retry = FIRST_RETRY;
        }
    }

    /// Every address that was tried and why it failed.
    pub(super) fn failures(&self) -> Vec<(String, String)> {
        self.entries
            .values()
            .flat_map(|e| {
                let tried = e.addresses.iter().map(ToString::to_string).filter(|a| !e.failures.contains_key(a));
                let untold = tried.map(|a| (a, "no answer yet".to_owned()));
                e.failures.iter().map(|(a, w)| (a.clone(), w.clone())).chain(untold).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Addresses worth telling a member; this machine's own ones only to members on this machine.
    pub(super) fn to_tell(&self, to: &PeerId, local: bool) -> Vec<String> {
        self.entries
            .iter()
            .filter(|(peer, _)| *peer != to)
            .flat_map(|(_, e)| e.addresses.iter())
            .filter(|a| local || !is_loopback(a))
            .map(ToString::to_string)
            .take(PEER_EXCHANGE_ADDRESSES_MAX / 2)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let at = Duration::from_secs;
        assert!(book.add(them, address.clone(), true, at(0)));
        assert!(!book.add(us, address.clone(), true, at(0)), "never ourselves");
        assert_eq!(book.due(at(0), |_| false).len(), 1);
        assert!(book.due(at(1), |_| false).is_empty());
        assert_eq!(book.due(at(2), |_| false).len(), 1);
        assert!(book.due(at(5), |_| false).is_empty());
        assert!(book.add(them, "/ip4/10.0.0.2/tcp/1".parse().unwrap(), false, at(5)));
        assert_eq!(book.due(at(5), |_| false)[0].1.len(), 2);
        assert!(book.due(at(500), |_| true).is_empty(), "already connected");
    }

    #[test]
    fn loopback_is_told_only_on_the_same_machine() {
        let (us, a, b) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut book = Book::new(us);
        book.add(a, "/ip4/127.0.0.1/tcp/1".parse().unwrap(), false, Duration::ZERO);
        assert!(book.to_tell(&b, false).is_empty());
        assert_eq!(book.to_tell(&b, true).len(), 1);
        assert!(book.to_tell(&a, true).is_empty(), "nobody is told their own");
    }
}
