//! The new node's config.toml: Kwil's defaults, what an old node had, what flags say, and whom the node dials.

use kwil_formats::formats::{
    Family,
    config::{self, CarryOver, Config, PeerAddress, PeerFilter, Setting},
    genesis::Genesis,
    key::PublicKey,
};

use crate::base::{Next, Result, text};

/// v0.9's other list of nodes to dial, which are asked for more.
const SEEDS: &str = "chain.p2p.seeds";

/// What the new config.toml holds beyond Kwil's defaults; flags win over what an old node has.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    /// Values of flags as (`section.key`, text).
    pub flags: Vec<(String, String)>,
    /// Kwil's defaults are those of TRUF's fork.
    pub truf: bool,
    /// What an old node's file gives.
    pub old: Option<CarryOver>,
    /// Whom to dial beside those that flags and the old file name: from a manifest, from a swarm.
    pub peers: Vec<PeerAddress>,
    /// Peers that are no validators in the genesis are taken, too.
    pub all_peers: bool,
}

/// A configuration, and what became of an old node's settings.
pub(super) struct Built {
    pub(super) config: Config,
    pub(super) settings: Vec<Setting>,
}

impl NodeConfig {
    /// Says what is wrong with it for this family, before anything is made.
    ///
    /// # Errors
    /// When the family has no such key, or the key takes no such value.
    pub fn check(&self, family: Family) -> Result<()> {
        self.for_family(family, false).map(drop)
    }

    /// What the file will say, but for peers.
    ///
    /// # Errors
    /// As [`NodeConfig::check`].
    pub fn draft(&self, family: Family) -> Result<Config> {
        Ok(self.for_family(family, false)?.0)
    }

    /// The configuration, and the lists of peers that the old node's file gave.
    fn for_family(&self, family: Family, truf: bool) -> Result<(Config, [Vec<PeerAddress>; 2])> {
        let of_truf = |name: &str| config::find(family, name).is_some_and(|key| key.truf_only);
        let old = self.old.as_ref().filter(|old| old.family == family);
        let truf =
            truf || self.truf || old.is_some_and(|old| old.truf) || self.flags.iter().any(|(name, _)| of_truf(name));
        let mut config = if family == Family::V010 && truf { Config::truf() } else { Config::new(family) };
        if let Some(old) = old {
            old.apply(&mut config)?;
        }
        let listed = [config.peers_at(config::peers_key(family)), config.peers_at(SEEDS)];
        for (key, value) in &self.flags {
            config.set(key, value)?;
        }
        Ok((config, listed))
    }

    fn given(&self, key: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The configuration of the node with this key on this genesis.
    pub(super) fn build(&self, genesis: &Genesis, own: &PublicKey) -> Result<Built> {
        // Upstream's kwild refuses such a genesis, so this node's is TRUF's.
        let truf = matches!(genesis, Genesis::V010(genesis) if genesis.maa_activation_height != 0);
        let (mut config, [old, seeds]) = self.for_family(genesis.family(), truf)?;
        let mut settings = self.old.as_ref().map(|old| old.settings.clone()).unwrap_or_default();
        let filter = PeerFilter::new(genesis, own, self.all_peers);
        let key = config::peers_key(genesis.family());

        let mut peers = Vec::new();
        let more = old.iter().chain(&self.peers).filter(|peer| filter.takes(peer));
        config::add_peers(&mut peers, more.cloned());
        match self.given(key) {
            // What an operator wrote stands as it is written, and first.
            Some(given) if !given.is_empty() => {
                let written = config.peers_at(key);
                let added: Vec<String> =
                    peers.iter().filter(|peer| !written.contains(peer)).map(ToString::to_string).collect();
                if !added.is_empty() {
                    config.set(key, &format!("{given},{}", added.join(",")))?;
                }
            }
            _ if peers.is_empty() && old.is_empty() => {}
            _ => config.set_peers_at(key, &peers),
        }
        if self.given(SEEDS).is_none() && !seeds.is_empty() {
            let kept: Vec<PeerAddress> = seeds.iter().filter(|peer| filter.takes(peer)).cloned().collect();
            config.set_peers_at(SEEDS, &kept);
        }
        for (key, listed) in [(key, &old), (SEEDS, &seeds)] {
            let others: Vec<&PeerAddress> =
                listed.iter().filter(|peer| !filter.takes(peer) && !filter.is_own(peer)).collect();
            if let (Some(setting), Some(first)) = (settings.iter_mut().find(|s| s.key == key), others.first()) {
                setting.next = Some(Next::AllPeers);
                setting.why = Some(format!(
                    "without {}, such as {first}, which the new genesis does not have as validators",
                    text::count(others.len() as u64, "node")
                ));
            }
        }
        Ok(Built { config, settings })
    }
}
