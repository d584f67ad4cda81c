//! Names that fit a line: peers and addresses as people tell them apart.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::base::text;

/// Characters of a peer's id that tell it from others.
const PEER_CHARS: usize = 8;

/// A peer's name: the last characters of its id, because all ids of one kind of key begin alike.
pub fn short_peer(id: &str) -> String {
    let begin = id.char_indices().nth_back(PEER_CHARS - 1).map_or(0, |(begin, _)| begin);
    text::escape(&id[begin..])
}

/// The names by which peers are told, as far as the application knows one.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<PeerId, String>);

impl Names {
    /// The most names that are kept.
    const MAX: usize = 4096;

    /// Calls a peer by this name from now on; whether it had another one, or none.
    pub(super) fn give(&mut self, peer: PeerId, name: String) -> bool {
        if self.0.len() >= Self::MAX && !self.0.contains_key(&peer) {
            return false;
        }
        self.0.insert(peer, name.clone()) != Some(name)
    }

    /// A peer's name, or else what is short of its id.
    pub(super) fn of(&self, peer: &PeerId) -> String {
        self.0.get(peer).cloned().unwrap_or_else(|| format!("peer {}", short_peer(&peer.to_string())))
    }
}

/// Host and port of a multiaddress; the address itself where it has another form.
pub fn short_place(address: &str) -> String {
    let parts: Vec<&str> = address.split('/').collect();
    text::escape(&match parts.as_slice() {
        ["", "ip6", host, "tcp" | "udp", port, ..] => format!("[{host}]:{port}"),
        ["", "ip4" | "dns" | "dns4" | "dns6", host, "tcp" | "udp", port, ..] => format!("{host}:{port}"),
        _ => address.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_name_or_the_end_of_its_id() {
        let (peer, mut names) = (PeerId::random(), Names::default());
        let id = peer.to_string();
        assert_eq!(names.of(&peer), format!("peer {}", &id[id.len() - 8..]));
        assert!(
            names.give(peer, "validator 5235f2f8".to_owned()) && !names.give(peer, "validator 5235f2f8".to_owned())
        );
        assert_eq!(names.of(&peer), "validator 5235f2f8");
        for _ in 0..2 * Names::MAX {
            names.give(PeerId::random(), "one more".to_owned());
        }
        assert_eq!(names.0.len(), Names::MAX);
    }

    #[test]
    fn names_are_short_and_harmless() {
        assert_eq!(short_peer("12D3KooWFJmfFuN6JKBVkXwtDVJ3sn9SNGwJNVK5bxEZpvkNR8q6"), "pvkNR8q6");
        assert_eq!(short_peer("абв"), "абв");
        for (address, short) in [
            ("/ip4/192.0.2.7/tcp/6690/p2p/12D3KooWPeer", "192.0.2.7:6690"),
            ("/ip6/2001:db8::1/udp/6690/quic-v1", "[2001:db8::1]:6690"),
            ("/dns/lead.example/tcp/6690", "lead.example:6690"),
            ("/unix/a\u{1b}", "/unix/a\\u{1b}"),
        ] {
            assert_eq!(short_place(address), short);
        }
    }
}
