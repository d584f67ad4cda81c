use proptest::prelude::*;

use super::*;
use crate::formats::config::database_settings;

const ID: &str = "56475aa75463474c0285df5dbf2bcab73da65135";
const OTHER: &str = "0000000000000000000000000000000000000001";
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";
const V09: Family = Family::V09;
const V010: Family = Family::V010;

fn peer(family: Family, text: &str) -> PeerAddress {
    PeerAddress::parse(family, text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn peers_that_kwild_takes_and_refuses() {
    let good = [
        (V09, "chain.p2p.persistent_peers", format!("{ID}@h:1, tcp://{ID}@[::1]:26656")),
        (V09, "chain.p2p.persistent_peers", String::new()),
        (V09, "chain.p2p.seeds", format!("{ID}@10.0.0.5:26656")),
        (V09, "chain.p2p.whitelist_peers", ID.to_uppercase()),
        (V010, "p2p.bootnodes", format!("{KEY}@10.0.0.5:6600,{KEY}@host.example:1")),
        (V010, "p2p.bootnodes", String::new()),
        (V010, "p2p.whitelist", KEY.to_owned()),
    ];
    for (family, key, text) in good {
        Config::new(family).set(key, &text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    let bad = [
        (V09, "chain.p2p.persistent_peers", format!("{ID}:26656")),
        (V09, "chain.p2p.persistent_peers", format!("{}@h:1", &ID[..39])),
        (V09, "chain.p2p.persistent_peers", format!("{ID}@h:1,")),
        (V09, "chain.p2p.persistent_peers", format!("{KEY}@h:1")),
        (V09, "chain.p2p.unconditional_peer_ids", format!("{ID}@h:1")),
        (V010, "p2p.bootnodes", format!("{ID}@h:1")),
        (V010, "p2p.bootnodes", format!("{KEY}@h")),
        (V010, "p2p.bootnodes", format!("{KEY}@h:0")),
        (V010, "p2p.bootnodes", KEY.to_owned()),
        (V010, "p2p.whitelist", format!("{KEY}@h:1")),
        (V010, "p2p.whitelist", "02ab#secp256k1".to_owned()),
    ];
    for (family, key, text) in bad {
        let error = Config::new(family).set(key, &text).unwrap_err().to_string();
        assert!(error.starts_with(key), "{text}: {error}");
    }
}

#[test]
fn addresses_are_written_in_one_way_and_hostile_ones_are_none() {
    for (family, given, written) in [
        (V09, format!("tcp://{}@Host.Example:26656", ID.to_uppercase()), format!("{ID}@Host.Example:26656")),
        (V09, format!("{ID}@[0:0::1]:7"), format!("{ID}@[::1]:7")),
        (V010, format!("{KEY}@10.0.0.5:06600"), format!("{KEY}@10.0.0.5:6600")),
        (V010, format!("{KEY}@kwil_node-1:6600"), format!("{KEY}@kwil_node-1:6600")),
    ] {
        assert_eq!(peer(family, &given).to_string(), written);
    }
    let hosts = [
        "",
        "a\"b",
        "a'b",
        "a b",
        "a\nb",
        "a,b",
        "a]b",
        "[::1",
        "::1",
        "a@b",
        "a/b",
        "a#b",
        "a\\b",
        "$(x)",
        "é.example",
        "0.0.0.0",
        "[::]",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
        "[fe80::1]",
        "[fe80::1%eth0]",
        "1.2.3",
        "256.1.1.1",
        "010.0.0.1",
        "a..b",
        ".",
    ];
    for host in hosts {
        assert!(PeerAddress::parse(V010, &format!("{KEY}@{host}:6600")).is_err(), "{host:?}");
    }
    assert!(PeerAddress::parse(V010, &format!("{KEY}@{}:1", "a.".repeat(200))).is_err());
    for port in ["0", "65536", "", "+1", "-1", " 1", "1x"] {
        assert!(PeerAddress::parse(V010, &format!("{KEY}@h:{port}")).is_err(), "{port:?}");
    }
}

#[test]
fn a_config_says_where_its_node_is_and_whom_it_dials() {
    let read = |text: &str| PeerSettings::parse(text).unwrap();
    let v09 = |more: &str| read(&format!("[app]\nhostname = 'node.example'\n[chain.p2p]\n{more}\n"));
    let own = |settings: PeerSettings| settings.own_place().cloned();
    let listen = "listen_addr = 'tcp://0.0.0.0:27000'\n";
    assert_eq!(own(v09(&format!("{listen}external_address = 'tcp://1.2.3.4:5'"))).as_deref(), Some("1.2.3.4:5"));
    assert_eq!(own(v09(listen)).as_deref(), Some("node.example:27000"));
    assert_eq!(own(v09("listen_addr = 'tcp://10.0.0.7:27000'")).as_deref(), Some("10.0.0.7:27000"));
    let listed = v09(&format!("persistent_peers = '{ID}@h:1, nonsense'\nseeds = '{OTHER}@s:2'"));
    assert_eq!(listed.dials, [peer(V09, &format!("{ID}@h:1")), peer(V09, &format!("{OTHER}@s:2"))]);
    let v010 = |more: &str| read(&format!("[p2p]\n{more}\n"));
    assert_eq!(own(v010("external_address = 'k.example'")).as_deref(), Some("k.example:6600"));
    assert_eq!(own(v010("external_address = 'k.example:7'\nlisten = '0.0.0.0:1'")).as_deref(), Some("k.example:7"));
    assert_eq!(own(v010("listen = '0.0.0.0:6601'")), None);
    assert_eq!(v010("listen = '0.0.0.0:6601'").port, Some(6601));
    assert_eq!(v010("").port, Some(6600));
    assert_eq!(v010(&format!("bootnodes = ['{KEY}@h:1', 3]")).dials, [peer(V010, &format!("{KEY}@h:1"))]);
    assert_eq!(read(&Config::new(V09).to_text()), PeerSettings { port: Some(26656), ..PeerSettings::default() });
}

#[test]
fn each_once_a_few_for_each_node_and_its_own_machine_last() {
    let mut peers = vec![peer(V09, &format!("{ID}@a:1"))];
    let more = ["b:1", "a:1", "127.0.0.1:1", "c:1", "d:1", "e:1"];
    add_peers(&mut peers, more.iter().map(|place| peer(V09, &format!("{ID}@{place}"))));
    let places: Vec<String> = peers.iter().map(PeerAddress::place).collect();
    assert_eq!(places, ["a:1", "b:1", "c:1", "d:1"]);
    let mut peers = Vec::new();
    add_peers(&mut peers, [peer(V09, &format!("{ID}@127.0.0.1:1")), peer(V09, &format!("{OTHER}@localhost:1"))]);
    assert_eq!(peers.len(), 2, "on one machine they are all that there is");
    let flood = (0..10_000).map(|n| peer(V09, &format!("{n:040x}@h:1")));
    add_peers(&mut peers, flood);
    assert_eq!(peers.len(), PEERS_IN_CONFIG_MAX);
}

#[test]
fn peers_are_added_to_a_file_that_is_there() {
    let everyone = PeerFilter { own: OTHER.to_owned(), validators: None };
    let new = || [peer(V09, &format!("{ID}@h:1")), peer(V09, &format!("{OTHER}@me:1"))];
    let text = "# mine\n[chain.p2p]\npersistent_peers = \"\" # nobody yet\npex = true\n[app]\npg_db_port = 5\n";
    let added = with_peers(text, &everyone, new()).unwrap().unwrap();
    assert_eq!(added, text.replace("\"\"", &format!("\"{ID}@h:1\"")), "not itself, and nothing else changes");
    assert_eq!(with_peers(&added, &everyone, new()).unwrap(), None);
    let handmade = "[db]\n[p2p]\nbootnodes = [\n  'nonsense', # why\n]\n";
    let added = with_peers(handmade, &everyone, [peer(V010, &format!("{KEY}@h:1"))]);
    assert!(added.is_err(), "a list that kwild refuses is not made longer");
    let nothing = with_peers("[db]\n", &everyone, [peer(V010, &format!("{KEY}@h:1"))]).unwrap().unwrap();
    assert_eq!(PeerSettings::parse(&nothing).unwrap().dials, [peer(V010, &format!("{KEY}@h:1"))]);
    assert_eq!(
        with_peers("[app]\n[chain.p2p]\npersistent_peers = 3\n", &everyone, new()).unwrap_err().to_string(),
        "config.toml: chain.p2p.persistent_peers is not a string"
    );
    let known = PeerFilter { own: OTHER.to_owned(), validators: Some(vec![]) };
    assert_eq!(with_peers(text, &known, new()).unwrap(), None, "no validator of the genesis");
}

proptest! {
    #[test]
    fn whatever_is_an_address_is_one_of_few_letters_and_survives_the_file(
        host in any::<String>(), more in "[a-zA-Z0-9.\\-_:\\[\\]]{0,40}", port in any::<u16>(),
    ) {
        for (family, id) in [(V09, ID), (V010, KEY)] {
            for host in [&host, &more] {
                let Ok(address) = PeerAddress::parse(family, &format!("{id}@{host}:{port}")) else { continue };
                let text = address.to_string();
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_#@[]".contains(&b)), "{text}");
                prop_assert_eq!(&PeerAddress::parse(family, &text).unwrap(), &address);
                let mut config = Config::new(family);
                config.set_peers_at(peers_key(family), std::slice::from_ref(&address));
                let written = config.to_text();
                prop_assert!(database_settings(&written).is_ok());
                prop_assert_eq!(PeerSettings::parse(&written).unwrap().dials, vec![address]);
            }
        }
    }
}
