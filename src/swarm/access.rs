//! Who may take a seat: by peer id, by the validators that members show to be theirs, and not while one is kept out.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use kwil_formats::formats::key::PublicKey;
use libp2p::PeerId;

/// Validators that are kept out at once, at most: more than any network has.
const BANNED_MAX: usize = 512;

/// Whom the operator lets in; nobody is named: every member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// These peer ids.
    pub peers: Vec<String>,
    /// Nodes of these validators.
    pub validators: BTreeSet<PublicKey>,
    /// Nodes of every validator that the manifest lists, of the old network and of the new one.
    pub listed: bool,
}

impl Allow {
    /// Whether every member is let in.
    pub fn is_everyone(&self) -> bool {
        *self == Self::default()
    }
}

/// What the application knows about validators, once it knows the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Those of both networks, as the manifest lists them.
    pub listed: BTreeSet<PublicKey>,
    /// Those whose nodes are not let in any more.
    pub barred: BTreeSet<PublicKey>,
}

/// The rules, and what they are applied to.
#[derive(Debug, Default)]
pub(super) struct Access {
    peers: HashSet<PeerId>,
    allow: Allow,
    standing: Option<Standing>,
    /// Validators that are kept out, and until when.
    banned: BTreeMap<PublicKey, Duration>,
}

impl Access {
    pub(super) fn new(allow: Allow) -> Self {
        Access { peers: allow.peers.iter().filter_map(|peer| peer.parse().ok()).collect(), allow, ..Access::default() }
    }

    /// Whether the operator named this peer.
    pub(super) fn names(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    pub(super) fn set_standing(&mut self, standing: Standing) {
        self.standing = Some(standing);
    }

    /// Keeps the nodes of this validator out.
    pub(super) fn ban(&mut self, validator: PublicKey, until: Duration, now: Duration) {
        self.banned.retain(|_, until| now < *until);
        if self.banned.len() < BANNED_MAX || self.banned.contains_key(&validator) {
            self.banned.insert(validator, until);
        }
    }

    /// Whether a peer that has shown to be these validators' may take a seat; else why not, in words for both sides. `pinned`: the ticket
    /// or a flag has its address.
    pub(super) fn judge(
        &self,
        peer: &PeerId,
        pinned: bool,
        validators: &[PublicKey],
        now: Duration,
    ) -> Result<(), String> {
        if let Some(key) = validators.iter().find(|key| self.banned.get(key).is_some_and(|until| now < *until)) {
            return Err(format!("another node of validator {} was banned not long ago", key.short()));
        }
        let is_barred = |key: &&PublicKey| self.standing.as_ref().is_some_and(|s| s.barred.contains(key));
        if let Some(key) = validators.iter().find(is_barred) {
            return Err(format!("the lead has taken the access of validator {} back", key.short()));
        }
        if pinned || self.allow.is_everyone() || self.peers.contains(peer) {
            return Ok(());
        }
        let is_listed = |key: &PublicKey| self.standing.as_ref().is_some_and(|s| s.listed.contains(key));
        if validators.iter().any(|key| self.allow.validators.contains(key) || (self.allow.listed && is_listed(key))) {
            return Ok(());
        }
        let allowed = match (&self.allow, &self.standing) {
            (Allow { listed: true, .. }, None) => {
                "only validators are let in here, and who they are is not known here yet: it is tried again later"
            }
            (Allow { listed: true, .. }, _) => "only validators of the manifest are let in here",
            (Allow { validators, .. }, _) if !validators.is_empty() => "only some validators are let in here",
            _ => "only some peers are let in here",
        };
        Err(match validators {
            [] => format!("{allowed}, and this node has not shown whose it is"),
            [first, ..] => format!("{allowed}, and {} is none of them", first.short()),
        })
    }
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::key::{KeyType, PrivateKey};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap().public()
    }

    fn standing(barred: &[u8]) -> Standing {
        Standing { listed: [key(1), key(2)].into(), barred: barred.iter().map(|seed| key(*seed)).collect() }
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn who_is_let_in() {
        let (peer, named) = (PeerId::random(), PeerId::random());
        let may = |access: &Access, peer: &PeerId, keys: &[PublicKey]| access.judge(peer, false, keys, NOW);
        let everyone = Access::default();
        assert!(may(&everyone, &peer, &[]).is_ok() && may(&everyone, &peer, &[key(9)]).is_ok());
        let mut listed = Access::new(Allow { listed: true, peers: vec![named.to_string()], ..Allow::default() });
        let unknown = may(&listed, &peer, &[key(1)]).unwrap_err();
        assert!(unknown.contains("not known here yet"), "{unknown}");
        assert!(listed.judge(&peer, true, &[], NOW).is_ok(), "the ticket's peer");
        listed.set_standing(standing(&[]));
        assert!(may(&listed, &peer, &[key(1)]).is_ok() && may(&listed, &peer, &[key(9), key(2)]).is_ok());
        assert!(may(&listed, &named, &[]).is_ok());
        let nobody = may(&listed, &peer, &[]).unwrap_err();
        assert!(nobody.contains("has not shown whose it is"), "{nobody}");
        let stranger = may(&listed, &peer, &[key(9)]).unwrap_err();
        assert!(stranger.contains(&key(9).short()), "{stranger}");
        let some = Access::new(Allow { validators: [key(1)].into(), ..Allow::default() });
        assert!(may(&some, &peer, &[key(1)]).is_ok() && may(&some, &peer, &[key(2)]).is_err());
    }

    #[test]
    fn who_is_barred_or_banned_comes_in_by_no_way() {
        let (first, second) = (PeerId::random(), PeerId::random());
        let mut access = Access::new(Allow { peers: vec![second.to_string()], ..Allow::default() });
        access.set_standing(standing(&[2]));
        for pinned in [true, false] {
            let why = access.judge(&second, pinned, &[key(2)], NOW).unwrap_err();
            assert!(why.contains("taken the access"), "{why}");
        }
        access.ban(key(1), NOW + Duration::from_secs(60), NOW);
        for peer in [&first, &second] {
            assert!(access.judge(peer, true, &[key(1)], NOW).is_err(), "whatever its identity");
        }
        assert!(access.judge(&second, false, &[key(1)], NOW + Duration::from_secs(60)).is_ok(), "not for ever");
        for n in 0..BANNED_MAX as u32 + 50 {
            let seed = *blake3::hash(&n.to_be_bytes()).as_bytes();
            let other = PrivateKey::from_seed(KeyType::Ed25519, &seed).unwrap().public();
            access.ban(other, NOW + Duration::from_secs(60), NOW);
        }
        assert!(access.banned.len() <= BANNED_MAX);
    }
}
