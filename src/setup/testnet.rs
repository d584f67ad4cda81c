//! A network of nodes for a trial: in goes its layout, out comes for each node where it listens and whom it knows.
//! Decides, changes nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use kwil_formats::formats::{Family, key::PublicKey};

use crate::base::{Error, Next, Result};

/// Nodes of one network at most: more than anybody starts on a machine, and Kwil's v0.9 counts some ports down.
const NODES_MAX: usize = 1000;

/// How the nodes of a network reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// All nodes run on this machine.
    Here,
    /// Each node has a host name of its own; one for each node, in their order.
    Names(Vec<String>),
    /// Each node has a host name made from its number: what stands before the number, and what behind it.
    Numbered(String, String),
    /// Each node has an IP address of its own, counting up from this one.
    From(Ipv4Addr),
}

/// What the network is to be like.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Whether its nodes are of v0.9 or v0.10.
    pub family: Family,
    /// How its nodes reach each other.
    pub hosts: Hosts,
    /// v0.10: whether each node has ports and a Postgres server of its own also with hosts, as with Kwil's command.
    pub unique_ports: bool,
    /// The first node's port for its peers; `None`: Kwil's own, 26656 in v0.9 and 6600 in v0.10.
    pub p2p_port: Option<u16>,
    /// What stands before the number in the names of the nodes' directories.
    pub directory_prefix: String,
    /// What the nodes' databases are called, before a number where they share a server.
    pub database_prefix: String,
}

/// One node of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name of the node's directory.
    pub name: String,
    /// The address, as `HOST:PORT`, at which its peers reach the node.
    pub address: String,
    /// The name of the node's database.
    pub dbname: String,
    /// The port of the node's Postgres server, where each node has one of its own; else `None`.
    pub database_port: Option<u16>,
    /// The ports that the node listens on, each with what it is for.
    pub ports: Vec<(&'static str, u16)>,
    /// Keys of the node's config.toml, as `section.key`, with their values.
    pub config: Vec<(String, String)>,
}

/// The keys of config.toml that are set for each node on its own, and that no flag may set for all.
pub fn own_keys(layout: &Layout) -> &'static [&'static str] {
    match layout.family {
        Family::V09 => &[
            "app.jsonrpc_listen_addr",
            "app.admin_listen_addr",
            "app.hostname",
            "app.pg_db_name",
            "chain.rpc.listen_addr",
            "chain.p2p.listen_addr",
            "chain.p2p.persistent_peers",
        ],
        Family::V010 => {
            let keys: &[&str] = &[
                "rpc.listen",
                "admin.listen",
                "p2p.listen",
                "p2p.bootnodes",
                "p2p.external_address",
                "db.dbname",
                "db.port",
            ];
            if layout.unique_ports { keys } else { &keys[..keys.len() - 1] }
        }
    }
}

/// Plans a node for each key, in the keys' order.
///
/// # Errors
/// `Kind::Usage` when there are too many nodes or too few names, or ports that do not exist or that two nodes would
/// share.
pub fn plan(layout: &Layout, keys: &[PublicKey]) -> Result<Vec<Node>> {
    check_count(keys.len())?;
    let mut nodes = Vec::with_capacity(keys.len());
    for index in 0..keys.len() {
        nodes.push(node(layout, index)?);
    }
    if nodes_share_a_machine(layout) {
        check_ports(&nodes)?;
    }
    let peers: Vec<String> =
        nodes.iter().zip(keys).map(|(node, key)| format!("{}@{}", key.node_id(layout.family), node.address)).collect();
    let key = match layout.family {
        Family::V09 => "chain.p2p.persistent_peers",
        Family::V010 => "p2p.bootnodes",
    };
    for node in &mut nodes {
        // Kwil's own list names the node itself too.
        node.config.push((key.to_owned(), peers.join(",")));
    }
    Ok(nodes)
}

/// Checks whether a network of this many nodes can be made, before their keys are.
///
/// # Errors
/// `Kind::Usage` when there are none, or more than a thousand.
pub fn check_count(nodes: usize) -> Result<()> {
    if nodes == 0 || nodes > NODES_MAX {
        return Err(
            Error::usage(format!("a network of {nodes} nodes cannot be made")).hint(Next::NodeCount { max: NODES_MAX })
        );
    }
    Ok(())
}

/// Whether several nodes run on one machine, so that they cannot share ports.
fn nodes_share_a_machine(layout: &Layout) -> bool {
    layout.hosts == Hosts::Here
}

fn node(layout: &Layout, index: usize) -> Result<Node> {
    let host = host_of_node(layout, index)?;
    let step = index as i64;
    let mut config: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: String| config.push((key.to_owned(), value));
    let (ports, p2p) = match layout.family {
        Family::V09 => {
            let p2p = checked_port("p2p", i64::from(layout.p2p_port.unwrap_or(26656)) - step)?;
            let (rpc, chain) = (checked_port("JSON-RPC", 8484 - step)?, checked_port("chain RPC", 26657 + step)?);
            set("app.jsonrpc_listen_addr", format!("0.0.0.0:{rpc}"));
            set("app.admin_listen_addr", format!("/tmp/kwild_{index}.socket"));
            set("chain.rpc.listen_addr", format!("tcp://127.0.0.1:{chain}"));
            set("chain.p2p.listen_addr", format!("tcp://0.0.0.0:{p2p}"));
            if let Hosts::Names(_) | Hosts::Numbered(..) = layout.hosts {
                set("app.hostname", host.clone());
            }
            (vec![("p2p", p2p), ("rpc", rpc), ("chain", chain)], p2p)
        }
        Family::V010 => {
            let step = if nodes_share_a_machine(layout) || layout.unique_ports { step } else { 0 };
            let p2p = checked_port("p2p", i64::from(layout.p2p_port.unwrap_or(6600)) + step)?;
            let (rpc, admin) = (checked_port("RPC", 8484 + step)?, checked_port("admin", 8584 + step)?);
            set("p2p.listen", format!("0.0.0.0:{p2p}"));
            set("rpc.listen", format!("0.0.0.0:{rpc}"));
            set("admin.listen", format!("127.0.0.1:{admin}"));
            set("consensus.empty_block_timeout", "1s".to_owned());
            if !nodes_share_a_machine(layout) {
                set("p2p.external_address", host.clone());
            }
            (vec![("p2p", p2p), ("rpc", rpc), ("admin", admin)], p2p)
        }
    };
    let own_server = layout.family == Family::V010 && layout.unique_ports;
    let database_port = own_server.then(|| checked_port("database", 5432 + step)).transpose()?;
    if let Some(port) = database_port {
        set("db.port", port.to_string());
    }
    let number = if nodes_share_a_machine(layout) && !own_server { index.to_string() } else { String::new() };
    let dbname = format!("{}{number}", layout.database_prefix);
    set(if layout.family == Family::V09 { "app.pg_db_name" } else { "db.dbname" }, dbname.clone());
    Ok(Node {
        name: format!("{}{index}", layout.directory_prefix),
        address: if host.contains(':') { format!("[{host}]:{p2p}") } else { format!("{host}:{p2p}") },
        dbname,
        database_port,
        ports,
        config,
    })
}

fn host_of_node(layout: &Layout, index: usize) -> Result<String> {
    match &layout.hosts {
        Hosts::Here => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST).to_string()),
        Hosts::Names(names) => names.get(index).cloned().ok_or_else(|| {
            Error::usage(format!("there are more nodes than host names, which are {}", names.len()))
                .hint("name every node, those that are no validators too")
        }),
        Hosts::Numbered(before, behind) => Ok(format!("{before}{index}{behind}")),
        Hosts::From(first) => {
            u32::from(*first).checked_add(index as u32).map(|number| Ipv4Addr::from(number).to_string()).ok_or_else(
                || Error::usage("counting from the first address leaves none for the last node").hint("begin lower"),
            )
        }
    }
}

fn checked_port(what: &str, number: i64) -> Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Error::usage(format!("{what} port {number} does not exist")).hint(Next::OtherPorts))
}

/// Fails where two nodes on one machine would listen on the same port.
fn check_ports(nodes: &[Node]) -> Result<()> {
    let mut taken: BTreeMap<u16, (&str, &str)> = BTreeMap::new();
    for node in nodes {
        for (what, port) in &node.ports {
            if let Some((other, use_)) = taken.insert(*port, (&node.name, what)) {
                return Err(Error::usage(format!(
                    "port {port} would be the {use_} port of {other} and the {what} port of {}",
                    node.name
                ))
                .hint(Next::OtherPorts));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use kwil_formats::formats::{genesis::testnet::key_type, key::PrivateKey};

    fn keys(family: Family, count: usize) -> Vec<PublicKey> {
        (0..count)
            .map(|n| {
                let mut seed = [7; 32];
                seed[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
                PrivateKey::from_seed(key_type(family), &seed).unwrap().public()
            })
            .collect()
    }

    fn layout(family: Family, hosts: Hosts) -> Layout {
        Layout {
            family,
            hosts,
            unique_ports: false,
            p2p_port: None,
            directory_prefix: "node".into(),
            database_prefix: "kwild".into(),
        }
    }

    fn value<'a>(node: &'a Node, key: &str) -> &'a str {
        node.config.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    #[test]
    fn v09_ports_are_those_of_kwils_command() {
        let recorded = include_str!("../../tests/data/v0.9/worlds/quartet/testnet-default-ports.txt");
        let nodes = plan(&layout(Family::V09, Hosts::Here), &keys(Family::V09, 4)).unwrap();
        let mut lines = Vec::new();
        for node in &nodes {
            for (key, name) in [
                ("app.jsonrpc_listen_addr", "jsonrpc_listen_addr"),
                ("app.admin_listen_addr", "admin_listen_addr"),
                ("chain.rpc.listen_addr", "listen_addr"),
                ("chain.p2p.listen_addr", "listen_addr"),
            ] {
                lines.push(format!("{}:{name} = \"{}\"", node.name, value(node, key)));
            }
        }
        let wanted: Vec<String> = recorded
            .lines()
            .map(|line| {
                let mut parts = line.splitn(3, ':');
                format!("{}:{}", parts.next().unwrap(), parts.nth(1).unwrap())
            })
            .collect();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn hosts() {
        let three = keys(Family::V09, 3);
        let addresses = |hosts| -> Vec<String> {
            plan(&layout(Family::V09, hosts), &three).unwrap().into_iter().map(|node| node.address).collect()
        };
        assert_eq!(addresses(Hosts::Here), ["127.0.0.1:26656", "127.0.0.1:26655", "127.0.0.1:26654"]);
        let ip = Hosts::From(Ipv4Addr::new(172, 10, 100, 254));
        assert_eq!(addresses(ip), ["172.10.100.254:26656", "172.10.100.255:26655", "172.10.101.0:26654"]);
        let numbered = Hosts::Numbered("k".into(), ".example".into());
        assert_eq!(addresses(numbered)[1], "k1.example:26655");
        let few = plan(&layout(Family::V09, Hosts::Names(vec!["a".into()])), &three).unwrap_err();
        assert!(few.to_string().contains("more nodes than host names, which are 1"), "{few}");
        let end = Hosts::From(Ipv4Addr::BROADCAST);
        assert!(plan(&layout(Family::V09, end), &three).is_err());
    }

    #[test]
    fn ports_that_cannot_be() {
        let with = |family, count, port| {
            plan(&Layout { p2p_port: Some(port), ..layout(family, Hosts::Here) }, &keys(family, count))
        };
        assert!(with(Family::V09, 4, 3).unwrap_err().to_string().contains("port 0 does not exist"));
        assert!(with(Family::V010, 2, 65535).unwrap_err().to_string().contains("65536"));
        let error = with(Family::V09, 4, 26660).unwrap_err().to_string();
        assert!(error.contains("port 26658") && error.contains("node1") && error.contains("node2"), "{error}");
        assert!(with(Family::V010, 4, 8480).is_err() || with(Family::V010, 6, 8480).is_err());
        assert!(plan(&layout(Family::V09, Hosts::Here), &[]).is_err());
    }

    proptest! {
        #[test]
        fn ports_never_collide_and_every_node_knows_the_others(
            v09 in any::<bool>(), count in 1_usize..24, port in 1_u16..=u16::MAX,
        ) {
            let family = if v09 { Family::V09 } else { Family::V010 };
            let keys = keys(family, count);
            let Ok(nodes) = plan(&Layout { p2p_port: Some(port), ..layout(family, Hosts::Here) }, &keys) else {
                return Ok(());
            };
            let ports: Vec<u16> = nodes.iter().flat_map(|node| node.ports.iter().map(|(_, port)| *port)).collect();
            prop_assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
            let databases: BTreeSet<&str> = nodes.iter().map(|node| node.dbname.as_str()).collect();
            prop_assert_eq!(databases.len(), count);
            let peers = match family { Family::V09 => "chain.p2p.persistent_peers", Family::V010 => "p2p.bootnodes" };
            let listen = match family { Family::V09 => "chain.p2p.listen_addr", Family::V010 => "p2p.listen" };
            for node in &nodes {
                let list: Vec<&str> = value(node, peers).split(',').collect();
                for (other, key) in nodes.iter().zip(&keys) {
                    let port = value(other, listen).rsplit(':').next().unwrap();
                    let wanted = format!("{}@127.0.0.1:{port}", key.node_id(family));
                    prop_assert!(list.contains(&wanted.as_str()), "{} does not know {}", &node.name, wanted);
                }
            }
        }
    }
}
