//! Members of a local network find each other without addresses: each says at times, to a multicast group of IPv4, under which port it
//! listens. What is said is authenticated with the key that only members have, so nothing that a stranger sends is looked at further, and
//! a stranger who listens learns a peer id and a port, and not of which swarm.
//!
//! A datagram is `"rgl1" ‖ TCP port ‖ QUIC port ‖ peer id ‖ BLAKE3-keyed(key, all before it)`, ports as two bytes each, the most
//! significant first and 0 for none, 32 bytes of BLAKE3. The address is the one from which it comes. Multicast DNS is not used: its names
//! would tell everyone which network migrates, and everyone could fill its cache.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use socket2::{Domain, Socket, Type};
use subtle::ConstantTimeEq;
use tokio::net::UdpSocket;

use super::{book, handshake::Membership};
use crate::base::clock;

/// Of the range that no router passes on beyond a site.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 66, 90);
/// Beside the port on which nodes listen.
const PORT: u16 = 6691;
const MAGIC: &[u8; 4] = b"rgl1";
const TAG_LEN: usize = 32;
/// A peer id of an unusual key is not announced.
const PEER_BYTES_MAX: usize = 64;
const DATAGRAM_BYTES_MAX: usize = MAGIC.len() + 4 + PEER_BYTES_MAX + TAG_LEN;
/// Interfaces on which we speak.
const INTERFACES_MAX: usize = 32;
/// How often we say where we are.
const INTERVAL: Duration = Duration::from_secs(5);
/// A member is listened to so often; whoever sends its words again and again keeps nobody busy.
const HEARD_INTERVAL: Duration = Duration::from_secs(1);
/// Members and addresses of whom is remembered that they were heard.
const HEARD_MAX: usize = 1024;
/// How soon again, when somebody new has come.
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);

/// Where a member listens on one of its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ports {
    tcp: u16,
    quic: u16,
}

/// The key of what members say to the whole local network.
pub(super) struct Key([u8; TAG_LEN]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(super) fn of(membership: &Membership) -> Self {
        Key(membership.lan_key())
    }

    fn tag(&self, said: &[u8]) -> [u8; TAG_LEN] {
        *blake3::keyed_hash(&self.0, said).as_bytes()
    }

    /// `None`: the peer id is too long to be said.
    fn encode(&self, peer: &PeerId, ports: Ports) -> Option<Vec<u8>> {
        let peer = peer.to_bytes();
        if peer.len() > PEER_BYTES_MAX {
            return None;
        }
        let mut said = [&MAGIC[..], &ports.tcp.to_be_bytes(), &ports.quic.to_be_bytes(), &peer].concat();
        let tag = self.tag(&said);
        said.extend(tag);
        Some(said)
    }

    /// `None`: no member has said it.
    fn decode(&self, datagram: &[u8]) -> Option<(PeerId, Ports)> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        let (said, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
        let rest = said.strip_prefix(MAGIC)?;
        if !bool::from(self.tag(said).ct_eq(tag)) {
            return None;
        }
        let (tcp, rest) = rest.split_first_chunk()?;
        let (quic, peer) = rest.split_first_chunk()?;
        let ports = Ports { tcp: u16::from_be_bytes(*tcp), quic: u16::from_be_bytes(*quic) };
        Some((PeerId::from_bytes(peer).ok()?, ports))
    }
}

/// The addresses at which a member is that has said these ports from `ip`.
fn addresses(ip: IpAddr, ports: Ports) -> Vec<Multiaddr> {
    let at = Multiaddr::from(ip);
    // Nobody on the local network has an address of the world's that its machine could answer from.
    if book::reach(&at) == 0 {
        return Vec::new();
    }
    let tcp = (ports.tcp != 0).then(|| at.clone().with(Protocol::Tcp(ports.tcp)));
    let quic = (ports.quic != 0).then(|| at.with(Protocol::Udp(ports.quic)).with(Protocol::QuicV1));
    tcp.into_iter().chain(quic).collect()
}

/// The ports at which a node with these addresses listens on one of its interfaces.
fn ports_at(ip: Ipv4Addr, listening: &[Multiaddr]) -> Ports {
    let mut ports = Ports::default();
    for address in listening.iter().filter(|address| book::ip(address) == Some(ip.into())) {
        for part in address {
            match part {
                Protocol::Tcp(port) => ports.tcp = port,
                Protocol::Udp(port) => ports.quic = port,
                _ => {}
            }
        }
    }
    ports
}

/// Who was heard lately, and from where.
#[derive(Debug, Default)]
struct Heard(HashMap<(PeerId, IpAddr), Duration>);

impl Heard {
    fn is_due(&mut self, peer: PeerId, from: IpAddr, now: Duration) -> bool {
        if self.0.len() >= HEARD_MAX {
            self.0.retain(|_, at| now < *at + HEARD_INTERVAL);
        }
        let last = self.0.get(&(peer, from)).copied();
        if last.is_some_and(|at| now < at + HEARD_INTERVAL) || self.0.len() >= HEARD_MAX {
            return false;
        }
        self.0.insert((peer, from), now);
        true
    }
}

/// Speaks and hears on the local network.
#[derive(Debug)]
pub(super) struct Lan {
    key: Key,
    us: PeerId,
    hears: UdpSocket,
    /// Those that were joined already.
    interfaces: Vec<Ipv4Addr>,
    next_at: Duration,
    said_at: Duration,
    heard: Heard,
    buffer: [u8; DATAGRAM_BYTES_MAX + 1],
}

impl Lan {
    /// # Errors
    /// When the machine gives no socket for it.
    pub(super) fn new(key: Key, us: PeerId) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // Every node on this machine hears the group.
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // Bound to the group, it hears nothing but what was said to that.
        socket.bind(&SocketAddr::from((GROUP, PORT)).into())?;
        let hears = UdpSocket::from_std(socket.into())?;
        let (interfaces, next_at, said_at) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        let (heard, buffer) = (Heard::default(), [0; DATAGRAM_BYTES_MAX + 1]);
        Ok(Lan { key, us, hears, interfaces, next_at, said_at, heard, buffer })
    }

    /// The next member that has said where it is, with its addresses; none of ourselves.
    pub(super) async fn hear(&mut self) -> (PeerId, Vec<Multiaddr>) {
        loop {
            match self.hears.recv_from(&mut self.buffer).await {
                Ok((len, from)) => {
                    if let Some((peer, ports)) = self.key.decode(&self.buffer[..len])
                        && peer != self.us
                        && self.heard.is_due(peer, from.ip(), clock::since_start())
                    {
                        return (peer, addresses(from.ip(), ports));
                    }
                }
                Err(e) => {
                    tracing::debug!("the local network cannot be heard: {e}");
                    tokio::time::sleep(ANSWER_INTERVAL).await;
                }
            }
            // A flood takes its turn like everything else.
            tokio::task::yield_now().await;
        }
    }

    /// Somebody new is there, who may have missed what we said.
    pub(super) fn answer(&mut self) {
        self.next_at = self.next_at.min(self.said_at + ANSWER_INTERVAL);
    }

    /// Says where we are, if it is time: on each interface at which we listen.
    pub(super) fn speak(&mut self, now: Duration, listening: &[Multiaddr]) {
        if now < self.next_at {
            return;
        }
        (self.said_at, self.next_at) = (now, now + INTERVAL);
        for ip in interface_addresses() {
            if !self.interfaces.contains(&ip) && self.interfaces.len() < INTERFACES_MAX {
                match self.hears.join_multicast_v4(GROUP, ip) {
                    Ok(()) => self.interfaces.push(ip),
                    Err(e) => tracing::debug!("the local network at {ip} cannot be heard: {e}"),
                }
            }
            let ports = ports_at(ip, listening);
            if ports == Ports::default() {
                continue;
            }
            if let Some(datagram) = self.key.encode(&self.us, ports)
                && let Err(e) = say(ip, &datagram)
            {
                tracing::debug!("the local network at {ip} is not told: {e}");
            }
        }
    }
}

/// From a socket of its own, so that it comes from the address at which others reach us.
fn say(from: Ipv4Addr, datagram: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&from)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.send_to(datagram, &SocketAddr::from((GROUP, PORT)).into()).map(drop)
}

fn interface_addresses() -> Vec<Ipv4Addr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut all: Vec<Ipv4Addr> =
        interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect();
    all.truncate(INTERFACES_MAX);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Blake3Hash;

    fn key(secret: u8) -> Key {
        let id = Blake3Hash::from_bytes([7; 32]);
        Key::of(&Membership::with_secret(&[secret; 32], id, [0; 16]))
    }

    #[test]
    fn members_read_what_members_say_and_nobody_else_does() {
        let (peer, ports) = (PeerId::random(), Ports { tcp: 6690, quic: 6691 });
        let said = key(1).encode(&peer, ports).unwrap();
        assert_eq!(key(1).decode(&said), Some((peer, ports)));
        assert_eq!(key(2).decode(&said), None, "another swarm's");
        for place in 0..said.len() {
            let mut changed = said.clone();
            changed[place] ^= 1;
            assert_eq!(key(1).decode(&changed), None, "byte {place}");
        }
        for len in 0..said.len() {
            assert_eq!(key(1).decode(&said[..len]), None, "cut at {len}");
        }
        assert_eq!(key(1).decode(&[said, vec![0]].concat()), None);
    }

    #[test]
    fn words_that_are_said_again_and_again_are_heard_once_a_second() {
        let mut heard = Heard::default();
        let (peer, at) = (PeerId::random(), |ms| Duration::from_millis(ms));
        let from = |n: u16| IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        assert!(heard.is_due(peer, from(1), at(0)) && heard.is_due(peer, from(2), at(1)));
        assert!(!heard.is_due(peer, from(1), at(999)) && heard.is_due(peer, from(1), at(1000)));
        let taken = (0..5000).filter(|n| heard.is_due(peer, from(*n), at(1500))).count();
        assert!(taken < HEARD_MAX && heard.0.len() <= HEARD_MAX);
        assert!(heard.is_due(peer, from(7), at(60_000)));
    }

    #[test]
    fn a_member_is_where_its_words_come_from_and_only_on_this_side_of_the_world() {
        let shown = |ip: &str, tcp, quic| {
            let all = addresses(ip.parse().unwrap(), Ports { tcp, quic });
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("192.168.1.5", 6690, 7), ["/ip4/192.168.1.5/tcp/6690", "/ip4/192.168.1.5/udp/7/quic-v1"]);
        assert_eq!(shown("10.0.0.1", 0, 7), ["/ip4/10.0.0.1/udp/7/quic-v1"]);
        assert!(shown("198.51.100.7", 6690, 6690).is_empty());
    }

    #[test]
    fn each_interface_has_the_ports_of_its_own_address() {
        let listening: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBmHkcKq3KQBgPKTFfqt1PgdUsbRDkoXwdg8ZC2yesLpV",
            "/ip4/10.0.0.1/tcp/2",
            "/ip4/10.0.0.1/udp/3/quic-v1",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        assert_eq!(ports_at(Ipv4Addr::LOCALHOST, &listening), Ports { tcp: 1, quic: 0 });
        assert_eq!(ports_at(Ipv4Addr::new(10, 0, 0, 1), &listening), Ports { tcp: 2, quic: 3 });
        assert_eq!(ports_at(Ipv4Addr::new(10, 0, 0, 2), &listening), Ports::default());
    }

    proptest! {
        #[test]
        fn strange_datagrams_are_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(key(1).decode(&bytes), None);
        }
    }
}
