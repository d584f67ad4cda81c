//! Peers in config.toml: how each family names a node and its address, which entries kwild takes, and whom a new node dials.
//! kwild reads these lists only after it has restored the snapshot, and ends at an entry that it cannot read.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use serde::{Serialize, Serializer};
use toml_edit::{DocumentMut, Item, Value};

use super::{Config, ConfigError, Key, Kind, family_of_document, key, parse, put_value, value};
use crate::{
    base::limits::{PEER_ADDRESSES_EACH_MAX, PEER_HOST_SIZE_BYTES_MAX, PEERS_IN_CONFIG_MAX},
    formats::{Family, genesis::Genesis, key::PublicKey},
};

/// Where a node's kwild can be dialled, in the words of its family. Whatever text it came from, it holds nothing but hex
/// digits, a key type, a host of letters, digits, `.`, `-`, `_` and `:`, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    id: String,
    host: String,
    port: u16,
}

/// Why a text is no address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The text has no `@`, or what stands before it names no node of the family.
    #[error("what stands before the @ is no node id of this family")]
    Id,
    /// What stands behind the `@` is no `host:port`.
    #[error("what stands behind the @ is not host:port")]
    Place,
    /// No machine has this address.
    #[error("nobody can be dialled at that address")]
    Nowhere,
}

impl PeerAddress {
    /// Reads `id@host:port`: in v0.9 the id has forty hex digits, in v0.10 it is `hex#type`.
    ///
    /// # Errors
    /// When it is no such text, or an address that cannot be dialled.
    pub fn parse(family: Family, text: &str) -> Result<Self, PeerError> {
        let text = match family {
            Family::V09 => text.strip_prefix("tcp://").unwrap_or(text),
            Family::V010 => text,
        };
        let (id, place) = text.split_once('@').ok_or(PeerError::Id)?;
        let (host, port) = parse_place(place)?;
        Ok(PeerAddress { id: canonical_id(family, id).ok_or(PeerError::Id)?, host, port })
    }

    /// The address of the node with this key at `place`, a `host:port`.
    ///
    /// # Errors
    /// When `place` is none, or cannot be dialled.
    pub fn of_key(family: Family, key: &PublicKey, place: &str) -> Result<Self, PeerError> {
        let (host, port) = parse_place(place)?;
        Ok(PeerAddress { id: key.node_id(family), host, port })
    }

    /// How the family names the node.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its host: a name, or an IP address; of version 6 without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Its host, where that is no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Whether only its own machine can dial it.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.id, self.host, self.port)
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A `host:port` that can be dialled, as it is written in a configuration.
///
/// # Errors
/// When it is none, or no machine has that address.
pub fn parse_place(text: &str) -> Result<(String, u16), PeerError> {
    let (host, port) = text.rsplit_once(':').ok_or(PeerError::Place)?;
    let port = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let port = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0).ok_or(PeerError::Place)?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bracketed {
        Some(inside) => Some(IpAddr::V6(inside.parse::<Ipv6Addr>().map_err(|_| PeerError::Place)?)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let Some(ip) = ip else {
        return if is_name(host) { Ok((host.to_owned(), port)) } else { Err(PeerError::Place) };
    };
    let nowhere = match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        // A link's own addresses need the name of an interface, which no other machine has.
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    if nowhere {
        return Err(PeerError::Nowhere);
    }
    Ok((if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }, port))
}

/// A host name: what DNS allows, and the underscores of container networks. All digits is a badly written IP address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= PEER_HOST_SIZE_BYTES_MAX
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// A node id as the family writes it.
fn canonical_id(family: Family, text: &str) -> Option<String> {
    match family {
        Family::V09 if is_v09_id(text) => Some(text.to_ascii_lowercase()),
        Family::V09 => None,
        Family::V010 => text.parse::<PublicKey>().ok().map(|key| key.node_id(family)),
    }
}

fn is_v09_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The key that names whom a node dials.
pub fn peers_key(family: Family) -> &'static str {
    match family {
        Family::V09 => "chain.p2p.persistent_peers",
        Family::V010 => "p2p.bootnodes",
    }
}

/// The keys that name whom a node dials, those that it only asks for others among them.
fn dialled_keys(family: Family) -> &'static [&'static str] {
    match family {
        Family::V09 => &["chain.p2p.persistent_peers", "chain.p2p.seeds"],
        Family::V010 => &["p2p.bootnodes"],
    }
}

/// What an entry of such a list must be.
enum Form {
    Address,
    Id,
}

/// Refuses an entry that kwild would refuse.
pub(super) fn check(family: Family, key: &Key, entries: &[String]) -> Result<(), ConfigError> {
    let form = match (family, key.name.as_str()) {
        (Family::V09, "chain.p2p.persistent_peers" | "chain.p2p.seeds") => Form::Address,
        (Family::V09, "chain.p2p.whitelist_peers" | "chain.p2p.unconditional_peer_ids") => Form::Id,
        (Family::V010, "p2p.bootnodes" | "state_sync.trusted_providers") => Form::Address,
        (Family::V010, "p2p.whitelist") => Form::Id,
        _ => return Ok(()),
    };
    for entry in entries {
        let fits = match form {
            Form::Address => PeerAddress::parse(family, entry).is_ok(),
            Form::Id => canonical_id(family, entry).is_some(),
        };
        if !fits {
            return Err(ConfigError::Value {
                key: key.name.clone(),
                value: entry.clone(),
                wanted: match (form, family) {
                    (Form::Address, Family::V09) => {
                        "a peer such as 56475aa75463474c0285df5dbf2bcab73da65135@10.0.0.5:26656"
                    }
                    (Form::Id, Family::V09) => "a node id: forty hex digits, without an address",
                    (Form::Address, Family::V010) => "a peer such as 02ab…#secp256k1@10.0.0.5:6600",
                    (Form::Id, Family::V010) => "a node id such as 02ab…#secp256k1, without an address",
                },
            });
        }
    }
    Ok(())
}

/// What a config.toml says of the node among its peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Whom the node dials, seeds among them; entries that are no addresses are left out.
    pub dials: Vec<PeerAddress>,
    /// Where it says that others reach it, `host:port`.
    pub external: Option<String>,
    /// Where it listens, if that is one address, or what its host is called.
    pub listens: Option<String>,
    /// The port on which it listens for peers.
    pub port: Option<u16>,
}

impl PeerSettings {
    /// Reads a config.toml; what is not there has Kwil's default.
    ///
    /// # Errors
    /// When it is no TOML, or of neither family.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let document = parse(text)?;
        Ok(Self::read(family_of_document(&document)?, &document))
    }

    /// Where others reach the node, as far as its configuration tells.
    pub fn own_place(&self) -> Option<&String> {
        self.external.as_ref().or(self.listens.as_ref())
    }

    pub(super) fn read(family: Family, document: &DocumentMut) -> Self {
        let text = |key: &str| item_at(document, key).and_then(Item::as_value).and_then(Value::as_str).unwrap_or("");
        let dials = dialled_keys(family).iter().flat_map(|key| addresses_in(family, item_at(document, key))).collect();
        let (listen, external, default_port) = match family {
            Family::V09 => (text("chain.p2p.listen_addr"), text("chain.p2p.external_address"), 26656),
            Family::V010 => (text("p2p.listen"), text("p2p.external_address"), 6600),
        };
        let bare = |text: &str| text.strip_prefix("tcp://").unwrap_or(text).trim().to_owned();
        let (listen, external) = (bare(listen), bare(external));
        let port = match listen.rsplit_once(':') {
            Some((_, port)) => port.parse().ok().filter(|port| *port > 0),
            None => Some(default_port),
        };
        // v0.10 takes the listening port where the external address has none; in v0.9 it must have one.
        let with_port = |host: &str| port.map(|port| format!("{host}:{port}"));
        let dialable = |place: &String| parse_place(place).is_ok();
        let told = Some(external.clone()).filter(dialable).or_else(|| with_port(&external).filter(dialable));
        let listens = Some(listen).filter(dialable);
        let named = with_port(text("app.hostname")).filter(|_| family == Family::V09).filter(dialable);
        PeerSettings { dials, external: told, listens: listens.or(named), port }
    }
}

pub(super) fn item_at<'a>(document: &'a DocumentMut, name: &str) -> Option<&'a Item> {
    name.split('.').try_fold(document.as_item(), |item, part| item.get(part))
}

/// The entries of a list of peers, as v0.9 (one text) and v0.10 (an array) write it.
pub(super) fn texts(item: Option<&Item>) -> Vec<String> {
    let texts: Vec<&str> = match item.and_then(Item::as_value) {
        Some(Value::String(text)) => text.value().split(',').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Those that are addresses.
fn addresses_in(family: Family, item: Option<&Item>) -> Vec<PeerAddress> {
    texts(item).iter().filter_map(|text| PeerAddress::parse(family, text).ok()).collect()
}

/// Which peers a node may have in its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFilter {
    own: String,
    /// The genesis' validators; None: any node.
    validators: Option<Vec<String>>,
}

impl PeerFilter {
    /// For the node with this key: validators of the genesis, or where `any`, every node; never itself.
    pub fn new(genesis: &Genesis, own: &PublicKey, any: bool) -> Self {
        let family = genesis.family();
        let validators = genesis.validators().unwrap_or_default();
        PeerFilter {
            own: own.node_id(family),
            validators: (!any).then(|| validators.iter().map(|validator| validator.key.node_id(family)).collect()),
        }
    }

    /// Whether the node may have this peer.
    pub fn takes(&self, peer: &PeerAddress) -> bool {
        !self.is_own(peer) && self.validators.as_ref().is_none_or(|ids| ids.iter().any(|id| id == peer.id()))
    }

    /// Whether it is the node itself.
    pub fn is_own(&self, peer: &PeerAddress) -> bool {
        peer.id() == self.own
    }
}

/// Adds `new` to `peers`: each once, a few addresses for each node and a bounded number in all. An address of this machine
/// alone says less than one that others can dial, so it is taken only where a node has no other.
pub fn add_peers(peers: &mut Vec<PeerAddress>, new: impl IntoIterator<Item = PeerAddress>) {
    let (local, others): (Vec<_>, Vec<_>) = new.into_iter().partition(PeerAddress::is_loopback);
    for peer in others.into_iter().chain(local) {
        let known = peers.iter().filter(|known| known.id == peer.id).count();
        let unneeded = known >= if peer.is_loopback() { 1 } else { PEER_ADDRESSES_EACH_MAX };
        if unneeded || peers.len() >= PEERS_IN_CONFIG_MAX || peers.contains(&peer) {
            continue;
        }
        peers.push(peer);
    }
}

impl Config {
    /// Whom the node dials.
    pub fn peers(&self) -> Vec<PeerAddress> {
        dialled_keys(self.family).iter().flat_map(|key| self.peers_at(key)).collect()
    }

    /// The addresses in a list of this name; none where the family has no such list.
    pub fn peers_at(&self, key: &str) -> Vec<PeerAddress> {
        addresses_in(self.family, self.item(key))
    }

    /// Makes a list of the family hold these.
    ///
    /// # Panics
    /// When the family has no such list.
    pub fn set_peers_at(&mut self, key: &str, peers: &[PeerAddress]) {
        let key = key::find(self.family, key).expect("the family has the list");
        let list: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let item = value::from_text(self.family, key, &list.join(",")).expect("an address of a peer is one for kwild");
        self.put_value(key, item).expect("the family has the section");
    }
}

/// A config.toml with more peers in it, everything else as it was; None: there is nothing to add.
///
/// # Errors
/// When it is no TOML, of neither family, or the list is of another type.
pub fn with_peers(
    text: &str,
    filter: &PeerFilter,
    new: impl IntoIterator<Item = PeerAddress>,
) -> Result<Option<String>, ConfigError> {
    let mut document = parse(text)?;
    let family = family_of_document(&document)?;
    let name = peers_key(family);
    let key = key::find(family, name).expect("both families have the key");
    let unfit = || ConfigError::Type { key: name, wanted: if key.kind == Kind::List { "a list" } else { "a string" } };
    let there = item_at(&document, name);
    if there.is_some_and(|item| item.as_value().is_none_or(|value| !value.is_array() && !value.is_str())) {
        return Err(unfit());
    }
    let before = addresses_in(family, there);
    let mut peers = before.clone();
    add_peers(&mut peers, new.into_iter().filter(|peer| filter.takes(peer)));
    if peers == before {
        return Ok(None);
    }
    // What the operator wrote stays as it is written.
    let added = peers[before.len()..].iter().map(ToString::to_string);
    let list: Vec<String> = texts(there).into_iter().chain(added).collect();
    let item = value::from_text(family, key, &list.join(","))?;
    put_value(&mut document, name, item)?;
    Ok(Some(document.to_string()))
}

#[cfg(test)]
mod tests;
