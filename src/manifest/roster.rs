//! Who of the new network's validators is ready, by their own signed words, and where each one's kwild can be dialled.

use std::collections::BTreeMap;

use kwil_formats::formats::{
    Family, Validator,
    config::PeerAddress,
    key::{KeyType, PrivateKey, PublicKey},
};

use super::{
    Manifest,
    statement::{Readiness, SwarmIdentity},
};
use crate::base::{Blake3Hash, limits::STATEMENTS_OF_VALIDATOR_MAX};

/// What one validator said last.
#[derive(Debug, Clone)]
struct Said {
    created_unix_seconds: u64,
    bytes: Vec<u8>,
    places: Vec<String>,
    /// The key of its node in the swarm.
    node: Option<[u8; 32]>,
    /// Statements of it that were taken.
    taken: u32,
}

/// The validators of a manifest's new network, and what each of them said last. Bounded by the manifest: whoever is no
/// validator there is not heard, and each one only a few times.
#[derive(Debug, Clone)]
pub struct Roster {
    manifest_id: Blake3Hash,
    family: Family,
    validators: Vec<Validator>,
    said: BTreeMap<PublicKey, Said>,
}

impl Roster {
    /// The roster of a manifest with this id, on which nobody has said anything yet.
    pub fn new(manifest_id: Blake3Hash, manifest: &Manifest) -> Self {
        Roster {
            manifest_id,
            family: manifest.network.family,
            validators: manifest.new_validators.clone(),
            said: BTreeMap::new(),
        }
    }

    fn is_validator(&self, key: &PublicKey) -> bool {
        self.validators.iter().any(|validator| validator.key == *key)
    }

    /// Judges statements that somebody passed on, and keeps those that are new and hold. Gives the ones kept.
    pub fn take(&mut self, all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        all.into_iter().filter(|bytes| self.take_one(bytes)).collect()
    }

    fn take_one(&mut self, bytes: &[u8]) -> bool {
        // What is known already costs no signature's check.
        if self.said.values().any(|said| said.bytes == bytes) {
            return false;
        }
        let Ok(signed) = Readiness::verify(bytes) else { return false };
        if signed.statement.manifest_id != self.manifest_id || !self.is_validator(&signed.signer) {
            return false;
        }
        let Readiness { created_unix_seconds, places, swarm, .. } = signed.statement;
        let taken = match self.said.get(&signed.signer) {
            Some(before) if before.created_unix_seconds >= created_unix_seconds => return false,
            Some(before) if before.taken >= STATEMENTS_OF_VALIDATOR_MAX => return false,
            Some(before) => before.taken + 1,
            None => 1,
        };
        let node = swarm.map(|swarm| swarm.key);
        self.said.insert(signed.signer, Said { created_unix_seconds, bytes: bytes.to_vec(), places, node, taken });
        true
    }

    /// Says that the validator with this key is ready, where its kwild is, and which node of the swarm is its own, which signs
    /// that with `vouch`. None: it is no validator.
    pub fn say(
        &mut self,
        key: &PrivateKey,
        places: Vec<String>,
        now_unix_seconds: u64,
        vouch: impl FnOnce(&[u8]) -> Option<([u8; 32], Vec<u8>)>,
    ) -> Option<Vec<u8>> {
        let own = key.public();
        let before = self.said.get(&own).map(|said| said.created_unix_seconds);
        // Two in one second are still one after the other.
        let created_unix_seconds = now_unix_seconds.max(before.map_or(0, |before| before.saturating_add(1)));
        let manifest_id = self.manifest_id;
        let vouched = vouch(&SwarmIdentity::message(manifest_id, &own));
        let swarm = vouched.map(|(key, signature)| SwarmIdentity { key, signature });
        let node = swarm.as_ref().map(|swarm| swarm.key);
        let bytes = Readiness { manifest_id, created_unix_seconds, places: places.clone(), swarm }.sign(key);
        self.is_validator(&own).then(|| {
            self.said.insert(own, Said { created_unix_seconds, bytes: bytes.clone(), places, node, taken: 1 });
            bytes
        })
    }

    /// Every statement that is known, the last one of each validator.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.said.values().map(|said| said.bytes.clone()).collect()
    }

    /// Where validators say that their kwild is.
    pub fn addresses(&self) -> Vec<PeerAddress> {
        let of = |(key, said): (&PublicKey, &Said)| {
            let places = said.places.iter();
            places.filter_map(|place| PeerAddress::of_key(self.family, key, place).ok()).collect::<Vec<_>>()
        };
        self.said.iter().flat_map(of).collect()
    }

    /// The peer ids of nodes in the swarm, and whose they are, as both have signed.
    pub fn nodes(&self) -> impl Iterator<Item = (String, &PublicKey)> {
        let peer = |said: &Said| Some(PublicKey::new(KeyType::Ed25519, &said.node?).ok()?.peer_id());
        self.said.iter().filter_map(move |(key, said)| Some((peer(said)?, key)))
    }

    /// Validators that said they are ready.
    pub fn ready(&self) -> impl Iterator<Item = &Validator> {
        self.validators.iter().filter(|validator| self.said.contains_key(&validator.key))
    }

    /// Validators that have not said so.
    pub fn missing(&self) -> impl Iterator<Item = &Validator> {
        self.validators.iter().filter(|validator| !self.said.contains_key(&validator.key))
    }

    /// Whether more than two thirds of the power are ready, and the leader where the network has one: they make blocks.
    pub fn is_quorum(&self, leader: Option<&PublicKey>) -> bool {
        let power =
            |validators: &mut dyn Iterator<Item = &Validator>| validators.map(|v| u128::from(v.power)).sum::<u128>();
        let (ready, all) = (power(&mut self.ready()), power(&mut self.validators.iter()));
        ready * 3 > all * 2 && leader.is_none_or(|leader| !self.is_validator(leader) || self.said.contains_key(leader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
    }

    fn roster() -> Roster {
        let validators = (1..=4).map(|seed| Validator { key: key(seed).public(), power: 1 }).collect();
        Roster { manifest_id: ID, family: Family::V09, validators, said: BTreeMap::new() }
    }

    fn said(seed: u8, id: Blake3Hash, created_unix_seconds: u64, place: &str) -> Vec<u8> {
        let places = vec![place.to_owned()];
        Readiness { manifest_id: id, created_unix_seconds, places, swarm: None }.sign(&key(seed))
    }

    #[test]
    fn only_a_validators_newest_word_about_this_manifest_counts() {
        let mut roster = roster();
        let good = said(1, ID, 10, "a:1");
        let mut broken = good.clone();
        *broken.last_mut().unwrap() ^= 1;
        let strangers = vec![
            good.clone(),
            good.clone(),
            broken,
            said(9, ID, 10, "b:1"),
            said(2, Blake3Hash::from_bytes([8; 32]), 10, "b:1"),
            vec![],
            vec![0; 900],
        ];
        assert_eq!(roster.take(strangers), std::slice::from_ref(&good));
        assert_eq!(roster.take(vec![said(1, ID, 9, "old:1"), said(1, ID, 10, "other:1")]), Vec::<Vec<u8>>::new());
        assert_eq!(roster.addresses().iter().map(PeerAddress::place).collect::<Vec<_>>(), ["a:1"]);
        let newer = said(1, ID, 11, "c:1");
        assert_eq!(roster.take(vec![newer.clone()]), std::slice::from_ref(&newer));
        assert_eq!(roster.statements(), [newer]);
        for n in 0..10_000 {
            roster.take(vec![said(1, ID, 100 + n, "flood:1")]);
            if roster.said[&key(1).public()].taken == STATEMENTS_OF_VALIDATOR_MAX {
                break;
            }
        }
        assert!(roster.take(vec![said(1, ID, u64::MAX, "last:1")]).is_empty(), "not for ever");
    }

    #[test]
    fn ones_own_word_is_newer_than_the_last_and_only_validators_have_one() {
        let mut roster = roster();
        assert_eq!(roster.say(&key(9), vec![], 5, |_| None), None);
        let first = roster.say(&key(1), vec!["a:1".into()], 5, |_| None).unwrap();
        let node = key(7);
        let vouch = |message: &[u8]| Some((node.public().bytes().try_into().unwrap(), node.sign(message)));
        let second = roster.say(&key(1), vec!["b:1".into()], 5, vouch).unwrap();
        let mut other = self::roster();
        assert_eq!(other.take(vec![first, second.clone()]).len(), 2);
        assert_eq!(other.statements(), [second]);
        let nodes: Vec<_> = other.nodes().collect();
        assert_eq!(nodes, [(node.public().peer_id(), &key(1).public())]);
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds_and_the_leader() {
        let mut roster = roster();
        let ready = |roster: &mut Roster, seed| roster.say(&key(seed), vec![], 1, |_| None).unwrap();
        ready(&mut roster, 1);
        ready(&mut roster, 2);
        assert!(!roster.is_quorum(None));
        ready(&mut roster, 3);
        assert!(roster.is_quorum(None) && roster.is_quorum(Some(&key(1).public())));
        assert!(!roster.is_quorum(Some(&key(4).public())));
        assert_eq!(roster.missing().map(|v| v.key).collect::<Vec<_>>(), [key(4).public()]);
    }
}
