//! Members find each other in BitTorrent's distributed hash table (a Kademlia that has millions of nodes and none of ours), where a
//! ticket's addresses lead nowhere any more: because the lead has moved, or has gone and others have what it had.
//!
//! A swarm has [`SLOTS`] places in the table, mutable items (BEP 44) under ed25519 keys that are derived from what only members know. A
//! member writes its addresses into one of them, beside those of others that stand there; who looks for members reads all. A value is
//! `nonce (12 bytes) ‖ ChaCha20(key, nonce, entries)`, an entry
//! `UNIX seconds (4 bytes, the most significant first) ‖ length (1 byte) ‖ multiaddress with its peer id`.
//! The table's nodes see that something is kept and from which address it came, and neither for which swarm nor what; only members can
//! write there, and what they write is only ever tried: who answers at an address proves membership like everyone else.

mod entries;
mod plan;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use futures::{StreamExt, future::join_all};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use mainline::{
    MutableItem, RequestFilter, RequestSpecific, ServerSettings, SigningKey,
    async_dht::AsyncDht,
    errors::{PutMutableError, PutQueryError},
};
use rand::RngCore;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep_until, timeout},
};

use self::{
    entries::Entries,
    plan::{Due, Plan, Unsaid, Wishes},
};
use super::{book, handshake::Membership};
use crate::base::{
    clock,
    task::{CancellationToken, Tasks},
};

/// Places of one swarm in the table.
const SLOTS: u8 = 8;
/// Bytes of a value: the table takes 1000, the length before them included.
const VALUE_BYTES_MAX: usize = 960;
const NONCE_BYTES: usize = 12;
/// Clocks of members may be so far apart that they still find each other.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long one question to the table may take.
const QUESTION_TIME: Duration = Duration::from_secs(30);
/// Addresses of this node that are told.
const TOLD_MAX: usize = 4;
/// Addresses that are taken from one reading.
const FOUND_MAX: usize = 64;

/// What one swarm's places are found, read and written with.
struct Places {
    slots: Vec<SigningKey>,
    cipher: [u8; 32],
}

impl Places {
    fn of(membership: &Membership) -> Self {
        let slots = (0..SLOTS).map(|slot| SigningKey::from_bytes(&membership.dht_key(&[b's', slot]))).collect();
        Places { slots, cipher: membership.dht_key(b"cipher") }
    }

    fn slot_of(&self, peer: &PeerId) -> &SigningKey {
        &self.slots[usize::from(blake3::hash(&peer.to_bytes()).as_bytes()[0]) % self.slots.len()]
    }

    fn seal(&self, entries: &Entries, now: u64) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let mut bytes = entries.encode(VALUE_BYTES_MAX - NONCE_BYTES, now);
        ChaCha20::new(&self.cipher.into(), &nonce.into()).apply_keystream(&mut bytes);
        [&nonce[..], &bytes].concat()
    }

    fn open(&self, value: &[u8]) -> Entries {
        let mut entries = Entries::default();
        if let Some((nonce, sealed)) =
            value.split_first_chunk::<NONCE_BYTES>().filter(|_| value.len() <= VALUE_BYTES_MAX)
        {
            let mut bytes = sealed.to_vec();
            ChaCha20::new(&self.cipher.into(), &(*nonce).into()).apply_keystream(&mut bytes);
            entries.decode(&bytes);
        }
        entries
    }
}

/// What the table says.
#[derive(Debug)]
pub(super) enum Found {
    /// Members, or those who were.
    Members(Vec<(PeerId, Multiaddr)>),
    /// This node stands in it now.
    Told,
    /// It cannot be used, and why.
    Unreachable(String),
}

/// This node's hold on the table. Dropping it ends its work.
#[derive(Debug)]
pub(super) struct Dht {
    wishes: watch::Sender<Wishes>,
    found: mpsc::Receiver<Found>,
    /// Where the table is one of the operator's own, addresses of this machine are of use in it.
    is_own: bool,
    _task: Tasks,
}

impl Dht {
    /// Begins. `bootstrap` are nodes of the table, as `HOST:PORT`; none: those that everyone uses.
    pub(super) fn start(membership: &Membership, us: PeerId, bootstrap: Vec<String>) -> Self {
        let (wishes, wished) = watch::channel(Wishes::default());
        let (tell, found) = mpsc::channel(4);
        let is_own = !bootstrap.is_empty();
        let plan = Plan::new(clock::now());
        let work = Work { places: Places::of(membership), us, wished, tell, plan };
        let mut task = Tasks::new(CancellationToken::new());
        task.spawn("dht", async move {
            work.run(bootstrap).await;
            Ok(())
        });
        Dht { wishes, found, is_own, _task: task }
    }

    /// Whether addresses of this machine itself are told, too.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// The next thing that the table says.
    pub(super) async fn found(&mut self) -> Found {
        match self.found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    /// Where this node is now, and whether it looks for others.
    pub(super) fn wish(&self, own: &[Multiaddr], looks: bool) {
        self.wishes.send_if_modified(|wishes| {
            let own = &own[..own.len().min(TOLD_MAX)];
            let changed = wishes.own != own || wishes.looks != looks;
            if changed {
                *wishes = Wishes { own: own.to_vec(), looks };
            }
            changed
        });
    }
}

struct Work {
    places: Places,
    us: PeerId,
    wished: watch::Receiver<Wishes>,
    tell: mpsc::Sender<Found>,
    plan: Plan,
}

impl Work {
    async fn run(mut self, bootstrap: Vec<String>) {
        let mut client = None;
        loop {
            let wishes = self.wished.borrow_and_update().clone();
            let due = self.plan.due(&wishes, clock::now());
            if due.any() {
                let words = self.turn(&mut client, &bootstrap, &wishes, due).await;
                for word in words {
                    if self.tell.send(word).await.is_err() {
                        return;
                    }
                }
            }
            let next = self.plan.next(&wishes);
            tokio::select! {
                changed = self.wished.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.plan.hear(&self.wished.borrow().own, clock::now());
                }
                () = async { match next { Some(at) => sleep_until(at.into()).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Looks and tells, whichever is due, through a table that is entered where it was not yet; gives what is to be said of it.
    async fn turn(
        &mut self,
        entered: &mut Option<AsyncDht>,
        bootstrap: &[String],
        wishes: &Wishes,
        due: Due,
    ) -> Vec<Found> {
        let client = match entered.take() {
            Some(client) => Ok(client),
            None => enter(bootstrap.to_vec()).await,
        };
        let mut words = Vec::new();
        let mut said = Ok(());
        match client {
            Ok(client) => {
                if due.looks {
                    words.push(Found::Members(self.look(&client).await));
                }
                if due.tells {
                    said = self.say(&client, &wishes.own).await;
                    words.extend(said.is_ok().then_some(Found::Told));
                }
                // One that knows no node, because no name could be resolved or nothing was answered, is entered anew.
                if client.to_bootstrap().await.is_empty() {
                    said = said.and(Err(Unsaid::Because(NO_NODE.to_owned())));
                } else {
                    *entered = Some(client);
                }
            }
            Err(why) => said = Err(Unsaid::Because(why)),
        }
        words.extend(self.plan.done(due, said, wishes, clock::now()).map(Found::Unreachable));
        words
    }

    /// What stands in a place now, and under which number.
    async fn read(&self, client: &AsyncDht, slot: &SigningKey) -> (Entries, Option<i64>) {
        let mut items = client.get_mutable(&slot.verifying_key().to_bytes(), None, None);
        let (mut entries, mut last) = (Entries::default(), None);
        let reading = async {
            while let Some(item) = items.next().await {
                last = last.max(Some(item.seq()));
                // Nodes may have different versions: all are true.
                entries.merge(self.places.open(item.value()));
            }
        };
        let _ = timeout(QUESTION_TIME, reading).await;
        (entries, last)
    }

    async fn look(&self, client: &AsyncDht) -> Vec<(PeerId, Multiaddr)> {
        let mut all = Entries::default();
        for (entries, _) in join_all(self.places.slots.iter().map(|slot| self.read(client, slot))).await {
            all.merge(entries);
        }
        let now = clock::unix_seconds();
        all.forget_old(now);
        let known = all.youngest_first(now).into_iter().map(|(known, _)| known);
        known.filter(|(peer, _)| *peer != self.us).take(FOUND_MAX).cloned().collect()
    }

    /// Writes where this node is beside what others have written.
    async fn say(&self, client: &AsyncDht, own: &[Multiaddr]) -> Result<(), Unsaid> {
        let slot = self.places.slot_of(&self.us);
        let (mut entries, last) = self.read(client, slot).await;
        entries.0.retain(|(peer, _), _| *peer != self.us);
        let now = clock::unix_seconds();
        entries.forget_old(now);
        // Whose clock is behind tells of itself by the others' clocks: it would be forgotten at once by its own.
        let now = entries.newest().map_or(now, |newest| now.max(newest.min(now + CLOCKS_APART_MAX.as_secs())));
        let seen_at = client.info().await.public_address().map(|at| *at.ip());
        for address in own.iter().cloned().chain(seen_at.and_then(|ip| as_seen(own, ip))) {
            entries.add((self.us, address), now);
        }
        // The table keeps what has the highest number.
        let Some(number) = last.unwrap_or(0).checked_add(1).map(|next| next.max(clock::unix_seconds() as i64)) else {
            return Err(Unsaid::Because(LOCKED.to_owned()));
        };
        let item = MutableItem::new(slot.clone(), &self.places.seal(&entries, now), number, None);
        match timeout(QUESTION_TIME, client.put_mutable(item, last)).await {
            Err(_) => Err(Unsaid::Because("it did not answer in time".to_owned())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(PutMutableError::Query(PutQueryError::NoClosestNodes))) => Err(Unsaid::Because(NO_NODE.to_owned())),
            Ok(Err(PutMutableError::Concurrency(_))) => Err(Unsaid::Overtaken),
            Ok(Err(PutMutableError::Query(error))) => Err(Unsaid::Because(error.to_string())),
        }
    }
}

const NO_NODE: &str = "none of its nodes answers: does a firewall keep UDP in, or has this machine no IPv4?";
const LOCKED: &str =
    "a member has written in this node's place what nothing can follow: take its access back, or start a new swarm";

/// Where the world may reach a node that does not see its own address, because a translator stands before it.
fn as_seen(own: &[Multiaddr], ip: Ipv4Addr) -> Option<Multiaddr> {
    let seen = |address: &Multiaddr| address.replace(0, |_| Some(Protocol::Ip4(ip)));
    let tcp = |address: &&Multiaddr| matches!(address.iter().next(), Some(Protocol::Ip4(_))) && !book::is_quic(address);
    let address = own.iter().find(tcp).and_then(seen).filter(|address| book::reach(address) == 0)?;
    (!own.contains(&address)).then_some(address)
}

/// Answers no stranger, also when the world has reached this node for so long that the table would count it among its own.
#[derive(Debug, Clone)]
struct Nobody;

impl RequestFilter for Nobody {
    fn allow_request(&self, _: &RequestSpecific, _: SocketAddrV4) -> bool {
        false
    }
}

/// Enters the table. Names are resolved, which may wait for long: on a thread that nothing waits for when the node ends.
async fn enter(bootstrap: Vec<String>) -> Result<AsyncDht, String> {
    let (made, client_made) = oneshot::channel();
    let thread = std::thread::Builder::new().name("dht".to_owned());
    match thread.spawn(move || drop(made.send(client(&bootstrap)))) {
        Ok(_) => client_made.await.unwrap_or_else(|_| Err("its thread ended early".to_owned())),
        Err(e) => Err(e.to_string()),
    }
}

/// A node of the table that only asks.
fn client(bootstrap: &[String]) -> Result<AsyncDht, String> {
    let mut builder = mainline::Dht::builder();
    if !bootstrap.is_empty() {
        builder.bootstrap(bootstrap);
        if bootstrap.iter().all(|node| is_loopback(node)) {
            builder.bind_address(Ipv4Addr::LOCALHOST);
        }
    }
    builder.server_settings(ServerSettings { filter: Box::new(Nobody), ..ServerSettings::default() });
    builder.build().map(mainline::Dht::as_async).map_err(|e| e.to_string())
}

fn is_loopback(node: &str) -> bool {
    node.parse().is_ok_and(|node: SocketAddr| matches!(node.ip(), IpAddr::V4(ip) if ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use mainline::Testnet;
    use proptest::prelude::*;

    use super::{entries::Known, *};
    use crate::base::Blake3Hash;

    const NOW: u64 = 1_800_000_000;

    fn membership(secret: u8) -> Membership {
        Membership::with_secret(&[secret; 32], Blake3Hash::from_bytes([7; 32]), [0; 16])
    }

    fn at(peer: PeerId, n: u8) -> Multiaddr {
        format!("/ip4/198.51.100.{n}/tcp/6690/p2p/{peer}").parse().unwrap()
    }

    fn known(n: u8) -> Known {
        let peer = PeerId::random();
        (peer, at(peer, n))
    }

    fn many(count: u8) -> Entries {
        Entries((0..count).map(|n| (known(n), NOW - u64::from(n))).collect())
    }

    fn decoded(bytes: &[u8]) -> Entries {
        let mut entries = Entries::default();
        entries.decode(bytes);
        entries
    }

    #[test]
    fn what_is_sealed_fits_the_table_and_only_members_read_it() {
        let (ours, theirs) = (Places::of(&membership(1)), Places::of(&membership(2)));
        let few = many(5);
        let value = ours.seal(&few, NOW);
        assert_eq!(ours.open(&value), few);
        assert_eq!(theirs.open(&value), Entries::default());
        assert_ne!(ours.slots[0].to_bytes(), theirs.slots[0].to_bytes());
        assert_ne!(ours.slots[0].to_bytes(), ours.slots[1].to_bytes());
        let all = many(200);
        let value = ours.seal(&all, NOW);
        assert!(value.len() <= VALUE_BYTES_MAX);
        let read = ours.open(&value);
        let oldest = *read.0.values().min().unwrap();
        assert!(read.0.len() > 10 && all.0.iter().all(|(address, at)| *at <= oldest || read.0.contains_key(address)));
    }

    #[test]
    fn behind_a_translator_the_address_is_told_that_the_table_sees() {
        let peer = PeerId::random();
        let own: Vec<Multiaddr> =
            [format!("/ip4/10.0.0.2/tcp/6690/p2p/{peer}"), format!("/ip4/10.0.0.2/udp/6690/quic-v1/p2p/{peer}")]
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
        assert_eq!(as_seen(&own, Ipv4Addr::new(198, 51, 100, 7)), Some(at(peer, 7)));
        assert_eq!(as_seen(&own, Ipv4Addr::new(10, 0, 0, 9)), None, "the table is as near as that");
        assert_eq!(as_seen(&[at(peer, 7)], Ipv4Addr::new(198, 51, 100, 7)), None, "it is known already");
        assert_eq!(as_seen(&[], Ipv4Addr::new(198, 51, 100, 7)), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_within_bounds(value in prop::collection::vec(any::<u8>(), 0..1500)) {
            let entries = Places::of(&membership(1)).open(&value);
            prop_assert!(entries.0.len() <= VALUE_BYTES_MAX / 5);
            prop_assert!(decoded(&value).0.len() <= 1500 / 5);
        }
    }

    async fn members(dht: &mut Dht) -> Vec<(PeerId, Multiaddr)> {
        loop {
            if let Found::Members(members) = dht.found().await
                && !members.is_empty()
            {
                return members;
            }
        }
    }

    async fn is_told(dht: &mut Dht) {
        while !matches!(dht.found().await, Found::Told) {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn members_find_each_other_and_nobody_displaces_another_in_one_place() {
        let table = Testnet::builder(4).build().unwrap();
        let places = Places::of(&membership(1));
        // All in one place, one after the other.
        let mut peers = vec![PeerId::random()];
        while peers.len() < 3 {
            let peer = PeerId::random();
            if places.slot_of(&peer).to_bytes() == places.slot_of(&peers[0]).to_bytes() {
                peers.push(peer);
            }
        }
        let mut told = Vec::new();
        for (n, peer) in (1..).zip(&peers) {
            let mut dht = Dht::start(&membership(1), *peer, table.bootstrap.clone());
            dht.wish(&[at(*peer, n)], false);
            is_told(&mut dht).await;
            told.push((*peer, at(*peer, n)));
        }
        let mut seeks = Dht::start(&membership(1), PeerId::random(), table.bootstrap.clone());
        seeks.wish(&[], true);
        let mut found = members(&mut seeks).await;
        found.sort();
        told.sort();
        assert_eq!(found, told);
        // Of another swarm there is nothing.
        let client = client(&table.bootstrap).unwrap();
        let (wished, tell) = (watch::channel(Wishes::default()).1, mpsc::channel(1).0);
        let (places, plan) = (Places::of(&membership(2)), Plan::new(clock::now()));
        let stranger = Work { places, us: PeerId::random(), wished, tell, plan };
        assert_eq!(stranger.look(&client).await, []);
    }

    #[tokio::test]
    async fn a_table_that_nobody_answers_for_is_said_to_be_out_of_reach() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = socket.local_addr().unwrap().to_string();
        // Also to who only looks, and has nothing to tell yet.
        for (own, looks) in [(vec![at(PeerId::random(), 1)], false), (Vec::new(), true)] {
            let mut dht = Dht::start(&membership(1), PeerId::random(), vec![nobody.clone()]);
            dht.wish(&own, looks);
            let why = loop {
                match dht.found().await {
                    Found::Unreachable(why) => break why,
                    Found::Members(members) => assert!(members.is_empty()),
                    Found::Told => panic!("it was told"),
                }
            };
            assert!(why.contains("firewall"), "{why}");
        }
    }
}
