//! Who of the new network's validators is ready, by their own signed words, and where each one's kwild can be dialled.

use std::collections::BTreeMap;

use kwil_formats::formats::{
    Family, Validator,
    config::PeerAddress,
    key::{KeyType, PrivateKey, PublicKey},
};

use super::{
    ArtifactName, Certificate, Manifest,
    certificate::{is_over_two_thirds, power},
    statement::{DifferingPart, Readiness, Stage, SwarmIdentity},
};
use crate::base::{
    Blake3Hash, Sha256Hash,
    limits::{STATEMENT_SIZE_BYTES_MAX, STATEMENTS_OF_VALIDATOR_MAX, UNIX_SECONDS_MAX},
};

/// What one validator said last.
#[derive(Debug, Clone)]
struct Said {
    bytes: Vec<u8>,
    statement: Readiness,
    /// Statements of it that were taken.
    taken: u32,
}

/// What a validator says of itself when it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// How far it is.
    pub stage: Stage,
    /// The version of the kwild that will run, as [`Readiness::is_version`] takes it.
    pub kwild_version: Option<String>,
    /// Where its kwild is reached, each `host:port`.
    pub places: Vec<String>,
    /// What its database has otherwise than was signed, where the stage says so.
    pub differs: Vec<DifferingPart>,
}

/// The validators of a manifest's new network, and what each of them said last. Bounded by the manifest: whoever is no
/// validator there is not heard, and each one only a few times.
#[derive(Debug, Clone)]
pub struct Roster {
    manifest_id: Blake3Hash,
    genesis_sha256: Sha256Hash,
    family: Family,
    validators: Vec<Validator>,
    leader: Option<PublicKey>,
    said: BTreeMap<PublicKey, Said>,
}

impl Roster {
    /// The roster of a manifest with this id, on which nobody has said anything yet.
    pub fn new(manifest_id: Blake3Hash, manifest: &Manifest) -> Self {
        Roster {
            manifest_id,
            genesis_sha256: manifest.artifact(ArtifactName::Genesis).sha256,
            family: manifest.network.family,
            validators: manifest.new_validators.clone(),
            leader: manifest.new_leader,
            said: BTreeMap::new(),
        }
    }

    /// The key that leads the new network; `None` where it has no leader.
    pub fn leader(&self) -> Option<&PublicKey> {
        self.leader.as_ref()
    }

    /// Whether the new genesis names this key.
    pub fn is_validator(&self, key: &PublicKey) -> bool {
        self.validators.iter().any(|validator| validator.key == *key)
    }

    /// Judges statements that somebody passed on, and keeps those that are new and hold. Gives the ones kept.
    pub fn take(&mut self, all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        all.into_iter().filter(|bytes| self.take_one(bytes)).collect()
    }

    fn take_one(&mut self, bytes: &[u8]) -> bool {
        // What is known already, and what is said of something else, costs no signature's check.
        if self.said.values().any(|said| said.bytes == bytes) || !Readiness::is_one(bytes) {
            return false;
        }
        let Ok(signed) = Readiness::verify(bytes) else { return false };
        let (signer, statement) = (signed.signer, signed.statement);
        if statement.manifest_id != self.manifest_id
            || statement.genesis_sha256 != self.genesis_sha256
            || !self.is_validator(&signer)
        {
            return false;
        }
        let taken = match self.said.get(&signer) {
            Some(before) if before.statement.created_unix_seconds >= statement.created_unix_seconds => return false,
            Some(before) if before.taken >= STATEMENTS_OF_VALIDATOR_MAX => return false,
            Some(before) => before.taken + 1,
            None => 1,
        };
        self.said.insert(signer, Said { bytes: bytes.to_vec(), statement, taken });
        true
    }

    /// Says of the validator with this key that it is ready. None: it is no validator, or has said just that already, in an
    /// earlier run perhaps, as others remember it.
    /// `vouch` is how this node of the swarm signs that it is the validator's; `None` of it: that is not told.
    pub fn say(
        &mut self,
        key: &PrivateKey,
        word: &Word,
        now_unix_seconds: u64,
        vouch: impl FnOnce(&[u8]) -> Option<([u8; 32], Vec<u8>)>,
    ) -> Option<Vec<u8>> {
        let own = key.public();
        if !self.is_validator(&own) || self.word_of(&own).is_some_and(|said| said == *word) {
            return None;
        }
        // Two in one second are still one after the other, and the clock may have been set back since the last one.
        let before = self.said.get(&own).map(|said| said.statement.created_unix_seconds.saturating_add(1));
        let vouched = vouch(&SwarmIdentity::message(self.manifest_id, &own));
        let mut statement = Readiness {
            swarm: vouched.map(|(key, signature)| SwarmIdentity { key, signature }),
            manifest_id: self.manifest_id,
            genesis_sha256: self.genesis_sha256,
            stage: word.stage,
            kwild_version: word.kwild_version.clone(),
            places: word.places.clone(),
            differs: word.differs.clone(),
            created_unix_seconds: now_unix_seconds.max(before.unwrap_or(0)).min(UNIX_SECONDS_MAX),
        };
        let mut bytes = statement.sign(key);
        // One differing part at least says what it is about.
        while bytes.len() > STATEMENT_SIZE_BYTES_MAX
            && (statement.places.pop().is_some() || (statement.differs.len() > 1 && statement.differs.pop().is_some()))
        {
            bytes = statement.sign(key);
        }
        self.said.insert(own, Said { bytes: bytes.clone(), statement, taken: 1 });
        Some(bytes)
    }

    /// What the validator with this key said last.
    pub fn word_of(&self, key: &PublicKey) -> Option<Word> {
        let statement = &self.said.get(key)?.statement;
        let Readiness { stage, kwild_version, places, differs, .. } = statement.clone();
        Some(Word { stage, kwild_version, places, differs })
    }

    /// Every statement that is known, the last one of each validator.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.said.values().map(|said| said.bytes.clone()).collect()
    }

    /// Where validators say that their kwild is.
    pub fn addresses(&self) -> Vec<PeerAddress> {
        let of = |(key, said): (&PublicKey, &Said)| {
            let places = said.statement.places.iter();
            places.filter_map(|place| PeerAddress::of_key(self.family, key, place).ok()).collect::<Vec<_>>()
        };
        self.said.iter().flat_map(of).collect()
    }

    /// The peer ids of nodes in the swarm, and whose they are, as both have signed.
    pub fn nodes(&self) -> impl Iterator<Item = (String, &PublicKey)> {
        let peer = |said: &Said| {
            let node = said.statement.swarm.as_ref()?;
            Some(PublicKey::new(KeyType::Ed25519, &node.key).ok()?.peer_id())
        };
        self.said.iter().filter_map(move |(key, said)| Some((peer(said)?, key)))
    }

    /// Whose statement this is, and what it says, if it is the last one of a validator.
    pub fn word_in(&self, bytes: &[u8]) -> Option<(Validator, Word)> {
        let (key, _) = self.said.iter().find(|(_, said)| said.bytes == bytes)?;
        let validator = self.validators.iter().find(|validator| validator.key == *key)?;
        Some((*validator, self.word_of(key)?))
    }

    fn is_ready(&self, key: &PublicKey) -> bool {
        self.said.get(key).is_some_and(|said| said.statement.stage != Stage::Differs)
    }

    /// Validators that said they are ready, and not since then that their nodes hold something else.
    pub fn ready(&self) -> impl Iterator<Item = &Validator> {
        self.validators.iter().filter(|validator| self.is_ready(&validator.key))
    }

    /// Validators that have not said so.
    pub fn missing(&self) -> impl Iterator<Item = &Validator> {
        self.validators.iter().filter(|validator| !self.is_ready(&validator.key))
    }

    /// How many validators' nodes hold what was signed, as they found when kwild had started.
    pub fn confirmed(&self) -> usize {
        self.said.values().filter(|said| said.statement.stage == Stage::Confirmed).count()
    }

    /// Whether more than two thirds of the power are ready, and the leader where the network has one: they make blocks.
    pub fn is_quorum(&self) -> bool {
        let leader_waits = self.leader.is_some_and(|leader| self.is_validator(&leader) && !self.is_ready(&leader));
        is_over_two_thirds(power(self.ready()), power(self.validators.iter())) && !leader_waits
    }

    /// What proves to anyone who has the genesis that a quorum is ready; `None` while there is none.
    pub fn certificate(&self) -> Option<Certificate> {
        self.is_quorum().then(|| Certificate {
            manifest_id: self.manifest_id,
            genesis_sha256: self.genesis_sha256,
            statements: self.said.iter().filter(|(key, _)| self.is_ready(key)).map(|(_, s)| s.bytes.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);
    const GENESIS: Sha256Hash = Sha256Hash::from_bytes([6; 32]);

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
    }

    fn roster() -> Roster {
        let validators = (1..=4).map(|seed| Validator { key: key(seed).public(), power: 1 }).collect();
        Roster {
            manifest_id: ID,
            genesis_sha256: GENESIS,
            family: Family::V09,
            validators,
            leader: None,
            said: BTreeMap::new(),
        }
    }

    fn word(places: &[&str]) -> Word {
        let places = places.iter().map(|place| (*place).to_owned()).collect();
        Word { stage: Stage::RootReady, kwild_version: None, places, differs: vec![] }
    }

    fn said(seed: u8, id: Blake3Hash, created_unix_seconds: u64, place: &str) -> Vec<u8> {
        said_of(seed, id, GENESIS, created_unix_seconds, place)
    }

    fn said_of(seed: u8, id: Blake3Hash, genesis: Sha256Hash, created_unix_seconds: u64, place: &str) -> Vec<u8> {
        let Word { stage, kwild_version, places, differs } = word(&[place]);
        let (manifest_id, genesis_sha256, swarm) = (id, genesis, None);
        let said = Readiness {
            manifest_id,
            genesis_sha256,
            stage,
            kwild_version,
            places,
            created_unix_seconds,
            swarm,
            differs,
        };
        said.sign(&key(seed))
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
            said_of(2, ID, Sha256Hash::from_bytes([8; 32]), 10, "b:1"),
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
        assert!(roster.take(vec![said(1, ID, UNIX_SECONDS_MAX, "last:1")]).is_empty(), "not for ever");
    }

    #[test]
    fn ten_thousand_statements_of_one_member_cost_no_memory() {
        let mut roster = roster();
        let good = said(1, ID, 10, "a:1");
        let flood = (0..10_000_u32).map(|n| {
            let mut other = good.clone();
            let at = other.len() - 1 - n as usize % 64;
            other[at] ^= 1 + (n / 64) as u8;
            other
        });
        assert!(roster.take(flood.collect()).is_empty());
        assert!(roster.statements().is_empty() && roster.ready().next().is_none());
        assert_eq!(roster.take(vec![good]).len(), 1, "a validator is heard all the same");
    }

    #[test]
    fn ones_own_word_is_newer_than_the_last_and_only_validators_have_one() {
        let mut roster = roster();
        assert_eq!(roster.say(&key(9), &word(&[]), 5, |_| None), None);
        let first = roster.say(&key(1), &word(&["a:1"]), 5, |_| None).unwrap();
        assert_eq!(roster.say(&key(1), &word(&["a:1"]), 6, |_| None), None, "said already");
        let node = key(7);
        let vouch = |message: &[u8]| Some((node.public().bytes().try_into().unwrap(), node.sign(message)));
        let second = roster.say(&key(1), &word(&["b:1"]), 5, vouch).unwrap();
        let mut other = self::roster();
        assert_eq!(other.take(vec![first, second.clone()]).len(), 2);
        assert_eq!(other.statements(), [second]);
        let nodes: Vec<_> = other.nodes().collect();
        assert_eq!(nodes, [(node.public().peer_id(), &key(1).public())]);
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_locks_its_own_validator_not_out() {
        const NOW: u64 = 1_800_000_000;
        for ahead in [3600, 365 * 86_400, UNIX_SECONDS_MAX - NOW - 1] {
            let mut roster = roster();
            // What was said in an earlier run comes back from others.
            let early = said(1, ID, NOW + ahead, "old:1");
            assert_eq!(roster.take(vec![early.clone()]), std::slice::from_ref(&early));
            let word = word(&["new:1"]);
            let late = roster.say(&key(1), &word, NOW, |_| None).unwrap();
            let mut other = self::roster();
            assert_eq!(other.take(vec![early.clone()]).len(), 1);
            assert_eq!(other.take(vec![late.clone()]), std::slice::from_ref(&late));
            assert_eq!(other.word_of(&key(1).public()), Some(word));
            assert!(other.take(vec![early]).is_empty(), "a replay");
        }
        assert!(roster().take(vec![said(1, ID, UNIX_SECONDS_MAX + 1, "a:1")]).is_empty(), "no date");
    }

    #[test]
    fn what_is_said_is_never_larger_than_what_is_read() {
        let long = |n: u32| format!("{}{n}:6600", vec!["a".repeat(60); 4].join(".").split_off(1));
        let places: Vec<String> = (0..4).map(long).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let mut roster = roster();
        let bytes = roster.say(&key(1), &word(&places), 1, |_| None).unwrap();
        assert!(bytes.len() <= STATEMENT_SIZE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(self::roster().take(vec![bytes]).len(), 1);
    }

    #[test]
    fn who_holds_something_else_is_not_ready_and_certifies_nothing() {
        let mut roster = roster();
        for seed in 1..=3 {
            roster.say(&key(seed), &word(&[]), 1, |_| None).unwrap();
        }
        let confirmed = Word { stage: Stage::Confirmed, ..word(&[]) };
        roster.say(&key(1), &confirmed, 2, |_| None).unwrap();
        assert!(roster.is_quorum() && roster.confirmed() == 1);
        // As long names as there can be.
        let parts = (0..6).map(|n| DifferingPart::new(&format!("{n}{}", "x".repeat(200)), n)).collect::<Vec<_>>();
        let places: Vec<String> = (0..4).map(|n| format!("{}.example:{n}", "a".repeat(60))).collect();
        let differs = Word { stage: Stage::Differs, differs: parts, places, ..word(&[]) };
        let bytes = roster.say(&key(2), &differs, 3, |_| Some(([1; 32], vec![2; 64]))).unwrap();
        assert!(bytes.len() <= STATEMENT_SIZE_BYTES_MAX, "{}", bytes.len());
        let (validator, told) = roster.word_in(&bytes).unwrap();
        assert!(validator.key == key(2).public() && told.stage == Stage::Differs && !told.differs.is_empty());
        assert!(!roster.is_quorum() && roster.certificate().is_none());
        assert_eq!(roster.ready().map(|v| v.key).collect::<Vec<_>>(), [key(1).public(), key(3).public()]);
        assert!(roster.missing().any(|v| v.key == key(2).public()));
        // Made anew, it is ready again.
        roster.say(&key(2), &word(&[]), 4, |_| None).unwrap();
        assert!(roster.is_quorum());
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds_and_the_leader() {
        let mut roster = roster();
        let ready = |roster: &mut Roster, seed| roster.say(&key(seed), &word(&[]), 1, |_| None).unwrap();
        ready(&mut roster, 1);
        ready(&mut roster, 2);
        assert!(!roster.is_quorum() && roster.certificate().is_none());
        ready(&mut roster, 3);
        assert!(roster.is_quorum() && roster.certificate().is_some());
        let led_by = |seed: u8| Roster { leader: Some(key(seed).public()), ..roster.clone() };
        assert!(led_by(1).is_quorum() && led_by(9).is_quorum(), "also where the leader is no validator");
        assert!(!led_by(4).is_quorum() && led_by(4).certificate().is_none());
        assert_eq!(roster.missing().map(|v| v.key).collect::<Vec<_>>(), [key(4).public()]);
    }
}
