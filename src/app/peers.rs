//! A validator among the others: it says where its kwild is, hears where theirs are, and its root's config.toml names whom to
//! dial. Without that a network of several stays at its first height, however good its roots are.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join_all;
use kwil_formats::formats::{
    Family,
    config::{PeerAddress, PeerFilter, PeerSettings, parse_place},
    genesis::Genesis,
    key::{PrivateKey, PublicKey},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{node::Node, short};
use crate::{
    base::{Error, Notice, Progress, Result, limits, text},
    manifest::{Roster, Word, statement::Stage},
    setup::{self, PeersInRoot},
};

/// How long a name may take to be found.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(2);
/// Statements that we make about our own place: it seldom changes more than once.
const STATEMENTS_OWN_MAX: u32 = 8;

/// Those that kwild can take. v0.10's asks for the address of every name when it starts and ends where it finds none, so that
/// one name of a stranger would keep a node from starting; v0.9's passes over it.
pub async fn that_resolve(family: Family, peers: &[PeerAddress], progress: &Progress) -> Vec<PeerAddress> {
    let found = join_all(peers.iter().map(|peer| async move {
        if family == Family::V09 || peer.ip().is_some() {
            return true;
        }
        let looked = timeout(LOOKUP_TIME_MAX, tokio::net::lookup_host((peer.host(), peer.port()))).await;
        looked.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
    }))
    .await;
    let (good, bad): (Vec<_>, Vec<_>) = peers.iter().zip(found).partition(|(_, found)| *found);
    for (peer, _) in bad {
        progress.warning(format!(
            "{peer} is left out of config.toml: this machine does not find its name, and kwild would not start on it"
        ));
    }
    good.into_iter().map(|(peer, _)| peer.clone()).collect()
}

/// The other validators, as far as they are known.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PeersOf {
    /// Whom config.toml makes the node dial.
    pub dials: Vec<PeerAddress>,
    /// Validators of the genesis beside this node.
    pub others: usize,
    /// Those of them that have no address in config.toml.
    pub without_address: Vec<PublicKey>,
}

impl PeersOf {
    /// What a config.toml's peers come to for this node.
    pub fn new(genesis: &Genesis, own: &PublicKey, dials: Vec<PeerAddress>) -> Self {
        let family = genesis.family();
        let mut others: Vec<PublicKey> =
            genesis.validators().unwrap_or_default().into_iter().map(|validator| validator.key).collect();
        others.retain(|key| key != own);
        let known: BTreeSet<&str> = dials.iter().map(PeerAddress::id).collect();
        let without_address =
            others.iter().filter(|key| !known.contains(key.node_id(family).as_str())).copied().collect();
        PeersOf { others: others.len(), without_address, dials }
    }

    /// Whether the node would stay alone.
    pub fn is_alone(&self) -> bool {
        self.others > 0 && self.dials.is_empty()
    }

    /// Whom the node dials, in words, for a line of its own.
    pub fn words(&self) -> String {
        if self.others == 0 {
            return "this node is the only validator: nobody to dial".to_owned();
        }
        let known = self.others - self.without_address.len();
        let mut words = format!("config.toml names {known} of {}", text::count(self.others as u64, "other validator"));
        let missing: Vec<String> = self.without_address.iter().take(4).map(short::key).collect();
        if !missing.is_empty() {
            let more = if self.without_address.len() > missing.len() { " …" } else { "" };
            words.push_str(&format!("; not yet: {}{more}", missing.join(", ")));
        }
        words
    }
}

/// A root whose validator takes part.
#[derive(Debug)]
pub struct Company {
    root: PathBuf,
    family: Family,
    key: PrivateKey,
    kwild_version: Option<String>,
    filter: PeerFilter,
    /// Where the operator says that its kwild is.
    given: Vec<String>,
    settings: PeerSettings,
    /// The root was made just now.
    is_new: bool,
    /// Statements that were made.
    statements: u32,
    heard: Vec<PeerAddress>,
    dials: Vec<PeerAddress>,
    peers: PeersOf,
    genesis: Genesis,
    /// It is told once why nothing can be written.
    complained: bool,
}

impl Company {
    /// The company of a finished root, which may have been made just now. `given` is where the operator says that this node is reached, `kwild_version` what
    /// will run there.
    ///
    /// # Errors
    /// When the root's files cannot be read.
    pub fn new(
        root: &Path,
        is_new: bool,
        given: &[String],
        kwild_version: Option<String>,
        all_peers: bool,
    ) -> Result<Self> {
        let (_, genesis) = setup::read_genesis(&root.join(kwil_formats::formats::GENESIS_FILE_NAME))?;
        let family = genesis.family();
        let (key, _) = setup::read_key_file(&root.join(setup::key_file_name(family)))?;
        let config = setup::read_config(&root.join(kwil_formats::formats::config::CONFIG_FILE_NAME))?;
        let filter = PeerFilter::new(&genesis, &key.public(), all_peers);
        let dials = setup::merge_peers(root, &filter, &[])?.dials;
        Ok(Company {
            root: root.to_owned(),
            family,
            kwild_version,
            given: given.to_vec(),
            settings: PeerSettings::parse(&config).map_err(Error::from)?,
            is_new,
            statements: 0,
            heard: Vec::new(),
            peers: PeersOf::new(&genesis, &key.public(), dials.clone()),
            dials,
            filter,
            key,
            genesis,
            complained: false,
        })
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The others, as config.toml has them now.
    pub fn peers(&self) -> &PeersOf {
        &self.peers
    }

    /// Says where this node's kwild is, if that is new, and writes into config.toml where others' are, if that is new.
    ///
    /// # Errors
    /// When the swarm has ended.
    pub async fn update(&mut self, node: &mut Node, progress: &Progress) -> Result<()> {
        let places = own_addresses(&self.given, &self.settings, &node.seen_at());
        // What was found since the root was made goes on to hold; a root that was just made begins anew.
        let (stage, differs) = match node.roster().and_then(|roster| roster.word_of(&self.key.public())) {
            Some(word) if self.statements > 0 || !self.is_new => (word.stage, word.differs),
            _ => (Stage::RootReady, Vec::new()),
        };
        let word = Word { stage, kwild_version: self.kwild_version.clone(), places, differs };
        if self.statements < STATEMENTS_OWN_MAX && node.say_ready(&self.key, &word) {
            self.statements += 1;
        }
        node.pass_on().await?;
        let heard = node.roster().map(Roster::addresses).unwrap_or_default();
        if heard == self.heard {
            return Ok(());
        }
        let new: Vec<PeerAddress> = heard
            .iter()
            .filter(|peer| self.filter.takes(peer) && !self.heard.contains(peer) && !self.dials.contains(peer))
            .cloned()
            .collect();
        self.heard = heard;
        if new.is_empty() {
            return Ok(());
        }
        let new = that_resolve(self.family, &new, progress).await;
        match setup::merge_peers(&self.root, &self.filter, &new) {
            Ok(PeersInRoot { dials, added }) => {
                self.dials.clone_from(&dials);
                self.peers = PeersOf::new(&self.genesis, &self.key.public(), dials);
                if added > 0 {
                    progress.note(format!("peers: {}", self.peers.words()));
                }
            }
            // The root is complete all the same.
            Err(e) if !self.complained => {
                self.complained = true;
                progress.warning(Notice::of("others' addresses are not in config.toml", &e));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Where others reach this node's kwild: where the operator says; else what its configuration advertises; else where it
/// listens, and where the members see this machine, at the port that kwild listens on.
fn own_addresses(given: &[String], settings: &PeerSettings, seen: &[IpAddr]) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    if let Some(external) = &settings.external {
        return vec![external.clone()];
    }
    let local =
        |place: &String| place.starts_with("127.") || place.starts_with("[::1]") || place.starts_with("localhost:");
    // Where kwild listens for this machine alone, nobody finds it where the machine is seen.
    let seen = if settings.listens.as_ref().is_some_and(local) { &[] } else { seen };
    let at = |ip: &IpAddr| settings.port.map(|port| SocketAddr::new(*ip, port).to_string());
    let all: Vec<String> = settings.listens.iter().cloned().chain(seen.iter().filter_map(at)).collect();
    let mut places: Vec<String> = Vec::new();
    for place in all {
        let Ok((host, port)) = parse_place(&place) else { continue };
        let place = format!("{host}:{port}");
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.iter().any(|place| !local(place)) {
        places.retain(|place| !local(place));
    }
    places.truncate(limits::PEER_ADDRESSES_EACH_MAX);
    places
}

/// A `host:port` as an operator gives it.
///
/// # Errors
/// Usage, with an example.
pub fn check_place(text: &str) -> Result<String> {
    parse_place(text.trim()).map(|(host, port)| format!("{host}:{port}")).map_err(|e| {
        Error::usage(format!("{}: {e}", text::escape(text)))
            .hint("write it like 203.0.113.5:6600 or node.example.org:26656: where others reach this node's kwild")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(external: Option<&str>, listens: Option<&str>, port: Option<u16>) -> PeerSettings {
        PeerSettings { dials: vec![], external: external.map(str::to_owned), listens: listens.map(str::to_owned), port }
    }

    #[test]
    fn where_a_node_says_that_it_is() {
        let seen = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let open = settings(None, None, Some(6600));
        assert_eq!(
            own_addresses(&[], &open, &seen(&["1.2.3.4", "2001:db8::1"])),
            ["1.2.3.4:6600", "[2001:db8::1]:6600"]
        );
        assert_eq!(own_addresses(&[], &open, &seen(&["127.0.0.1"])), ["127.0.0.1:6600"], "all on one machine");
        assert_eq!(own_addresses(&[], &open, &seen(&["127.0.0.1", "10.0.0.1"])), ["10.0.0.1:6600"]);
        assert!(own_addresses(&[], &open, &[]).is_empty());
        let local = settings(None, Some("127.0.0.1:7000"), Some(7000));
        assert_eq!(own_addresses(&[], &local, &seen(&["127.0.0.1"])), ["127.0.0.1:7000"]);
        assert_eq!(own_addresses(&[], &local, &seen(&["10.0.0.1"])), ["127.0.0.1:7000"], "nobody is let in there");
        let told = settings(Some("k.example:1"), None, Some(6600));
        assert_eq!(own_addresses(&[], &told, &seen(&["1.2.3.4"])), ["k.example:1"]);
        assert_eq!(own_addresses(&["me.example:5".to_owned()], &told, &seen(&["1.2.3.4"])), ["me.example:5"]);
        let many: Vec<IpAddr> = (1..100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        assert_eq!(own_addresses(&[], &open, &many).len(), limits::PEER_ADDRESSES_EACH_MAX);
        assert!(own_addresses(&[], &settings(None, None, None), &many).is_empty(), "a port that nobody knows");
        assert!(own_addresses(&[], &open, &seen(&["fe80::1", "0.0.0.0", "ff02::1"])).is_empty());
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_keeps_no_v0_10_node_from_starting() {
        const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";
        let peer = |place: &str| PeerAddress::parse(Family::V010, &format!("{KEY}@{place}")).unwrap();
        let peers = [peer("10.0.0.1:6600"), peer("nobody.invalid:6600"), peer("localhost:1")];
        let good = that_resolve(Family::V010, &peers, &Progress::silent()).await;
        assert_eq!(good, [peers[0].clone(), peers[2].clone()]);
        assert_eq!(that_resolve(Family::V09, &peers, &Progress::silent()).await.len(), 3);
    }
}
