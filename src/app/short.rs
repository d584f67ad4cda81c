//! Names that fit a line: peers and addresses as people tell them apart.

use crate::base::text;

/// Characters of a peer's id that tell it from others.
const PEER_CHARS: usize = 8;

/// A peer's name: the last characters of its id, because all ids of one kind of key begin alike.
pub(super) fn peer(id: &str) -> String {
    let begin = id.char_indices().nth_back(PEER_CHARS - 1).map_or(0, |(begin, _)| begin);
    text::escape(&id[begin..])
}

/// Host and port of a multiaddress; the address itself where it has another form.
pub(super) fn place(address: &str) -> String {
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
    fn names_are_short_and_harmless() {
        assert_eq!(peer("12D3KooWFJmfFuN6JKBVkXwtDVJ3sn9SNGwJNVK5bxEZpvkNR8q6"), "pvkNR8q6");
        assert_eq!(peer("абв"), "абв");
        for (address, short) in [
            ("/ip4/192.0.2.7/tcp/6690/p2p/12D3KooWPeer", "192.0.2.7:6690"),
            ("/ip6/2001:db8::1/udp/6690/quic-v1", "[2001:db8::1]:6690"),
            ("/dns/lead.example/tcp/6690", "lead.example:6690"),
            ("/unix/a\u{1b}", "/unix/a\\u{1b}"),
        ] {
            assert_eq!(place(address), short);
        }
    }
}
