//! Our own addresses: which of them are of use to others, and which first.

use std::{
    collections::HashSet,
    net::{IpAddr, UdpSocket},
};

use libp2p::Multiaddr;

use super::book;

/// Bridges and tunnels that machines make for themselves: nobody else has a route to them.
const INNER_INTERFACES: [&str; 14] = [
    "docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "podman", "lxcbr", "lxdbr", "vmnet", "vboxnet", "kube",
    "nerdctl",
];

/// Addresses of interfaces that lead nowhere but into this machine.
fn inner_addresses() -> HashSet<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return HashSet::new() };
    interfaces
        .filter(|i| INNER_INTERFACES.iter().any(|name| i.interface_name.starts_with(name)))
        .filter_map(|i| {
            let address = i.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect()
}

/// The addresses from which this machine reaches the world, whatever that may be. Nothing is sent.
fn routed_addresses() -> HashSet<IpAddr> {
    let routed = |bind: &str, to: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Two documentation addresses: only the route to them counts.
    [routed("0.0.0.0:0", "203.0.113.1:9"), routed("[::]:0", "[2001:db8::1]:9")].into_iter().flatten().collect()
}

/// Sorts addresses of this node, the most useful first, and leaves out those that lead only into this machine, unless there are no
/// others.
pub(super) fn sort(addresses: &mut Vec<Multiaddr>) {
    sort_by(addresses, &routed_addresses(), &inner_addresses());
}

fn sort_by(addresses: &mut Vec<Multiaddr>, routed: &HashSet<IpAddr>, inner: &HashSet<IpAddr>) {
    let is_inner = |address: &Multiaddr| book::ip(address).is_some_and(|ip| inner.contains(&ip));
    if addresses.iter().any(|address| !is_inner(address) && !book::is_loopback(address)) {
        addresses.retain(|address| !is_inner(address));
    }
    let is_routed = |address: &Multiaddr| book::ip(address).is_some_and(|ip| routed.contains(&ip));
    // TCP is the faster one, but the better way comes first.
    addresses.sort_by_key(|address| (book::reach(address), !is_routed(address), book::is_quic(address)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_world_comes_first_and_bridges_are_left_out() {
        let all = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.3.0.1/udp/1/quic-v1",
            "/ip4/10.3.0.1/tcp/1",
            "/ip4/172.17.0.1/tcp/1",
            "/ip4/10.9.0.1/udp/1/quic-v1",
            "/ip4/10.9.0.1/tcp/1",
            "/ip4/198.51.100.1/tcp/1",
        ];
        let set = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<HashSet<IpAddr>>();
        let sorted = |routed: &[&str], inner: &[&str]| {
            let mut addresses: Vec<Multiaddr> = all.iter().map(|a| a.parse().unwrap()).collect();
            sort_by(&mut addresses, &set(routed), &set(inner));
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let inner = ["172.17.0.1", "10.3.0.1"];
        assert_eq!(sorted(&["198.51.100.1"], &inner), [all[6], all[5], all[4], all[0]]);
        // Behind a translator the private address of the route is the best one.
        assert_eq!(sorted(&["10.9.0.1"], &[])[..3], [all[6], all[5], all[4]]);
        let mut only: Vec<Multiaddr> = vec![all[3].parse().unwrap()];
        sort_by(&mut only, &set(&[]), &set(&inner));
        assert_eq!(only.len(), 1, "better than none");
    }
}
