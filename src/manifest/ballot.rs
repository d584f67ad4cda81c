//! What the validators of the old network say of the state that the lead signed, by their own signed words, and what that
//! comes to under the manifest's rule.

use std::{collections::BTreeMap, fmt};

use kwil_formats::formats::{
    Validator,
    key::{PrivateKey, PublicKey},
};
use serde::{Deserialize, Serialize};

use super::{
    Attestations, Manifest,
    statement::{Attestation, DifferingPart},
};
use crate::base::{
    Blake3Hash,
    limits::{STATEMENTS_OF_VALIDATOR_MAX, UNIX_SECONDS_MAX},
    text,
};

/// What the statements come to under the manifest's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Enough validators agree: roots may be set up.
    Met,
    /// Not enough have said so yet, but they still can.
    Open,
    /// So many dissent that the rule cannot be met any more, unless some of them take it back.
    Lost,
}

/// What one validator of the old network says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "vote", rename_all = "kebab-case")]
pub enum Vote {
    /// It signed the manifest as its lead, and said nothing else.
    Signed,
    /// Its own database gives the digest that was signed.
    Agrees {
        /// The last block in that database.
        height: i64,
    },
    /// Its own database gives another digest.
    Dissents {
        /// The last block in that database.
        height: i64,
        /// The first parts that differ.
        differs: Vec<DifferingPart>,
    },
    /// Nothing yet.
    Silent,
}

impl Vote {
    /// Whether it counts for what was signed.
    pub fn agrees(&self) -> bool {
        matches!(self, Vote::Signed | Vote::Agrees { .. })
    }

    /// Whether it counts against what was signed.
    pub fn dissents(&self) -> bool {
        matches!(self, Vote::Dissents { .. })
    }
}

/// One validator of the old network, and its word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voice {
    /// Who.
    #[serde(flatten)]
    pub validator: Validator,
    /// What it says.
    #[serde(flatten)]
    pub vote: Vote,
}

/// How many validators of the old network have said what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Validators of the old network, as the manifest names them.
    pub validators: usize,
    /// Those that found the signed state in their own databases, or signed the manifest as its lead.
    pub agree: usize,
    /// Those whose own databases hold another state.
    pub dissent: usize,
    /// The power of those that agree.
    pub power: u128,
    /// The power of those that dissent.
    pub power_against: u128,
    /// The power of all.
    pub power_of_all: u128,
}

impl Tally {
    fn of(voices: &[Voice]) -> Self {
        let mut tally = Tally { validators: voices.len(), ..Tally::default() };
        for Voice { validator, vote } in voices {
            let power = u128::from(validator.power);
            tally.power_of_all += power;
            if vote.agrees() {
                tally.agree += 1;
                tally.power += power;
            } else if vote.dissents() {
                tally.dissent += 1;
                tally.power_against += power;
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { validators, agree, dissent, power, power_of_all, .. } = self;
        if *validators == 0 {
            return f.write_str("the lead's word alone: the manifest names no validators of the old network");
        }
        let all = text::count(*validators as u64, "old validator");
        write!(f, "{agree} of {all} agree, with power {power} of {power_of_all}")?;
        if *dissent > 0 { write!(f, "; {dissent} DISSENT") } else { Ok(()) }
    }
}

/// What one validator said last.
#[derive(Debug, Clone)]
struct Said {
    created_unix_seconds: u64,
    bytes: Vec<u8>,
    vote: Vote,
    /// Statements of it that were taken.
    taken: u32,
}

impl Said {
    /// What makes one statement count before another: later; said at the same time, a dissent; else the smaller bytes. So
    /// everybody who hears the same statements, in whatever order, keeps the same one.
    fn rank(&self) -> (u64, bool, std::cmp::Reverse<&[u8]>) {
        (self.created_unix_seconds, self.vote.dissents(), std::cmp::Reverse(&self.bytes))
    }
}

/// The validators of a manifest's old network, and what each of them said last. Bounded by the manifest: whoever is no
/// validator there is not heard, and each one only a few times.
#[derive(Debug, Clone)]
pub struct Ballot {
    manifest_id: Blake3Hash,
    state_digest: Option<Blake3Hash>,
    rule: Attestations,
    lead: PublicKey,
    validators: Vec<Validator>,
    said: BTreeMap<PublicKey, Said>,
}

impl Ballot {
    /// The ballot about a manifest with this id whose signatures hold; nobody but its lead has said anything yet.
    pub fn new(manifest_id: Blake3Hash, manifest: &Manifest) -> Self {
        Ballot {
            manifest_id,
            state_digest: manifest.state_digest.as_ref().map(|digest| digest.digest),
            rule: manifest.trust.attestations.clone(),
            lead: manifest.trust.lead,
            validators: manifest.old_validators.clone(),
            said: BTreeMap::new(),
        }
    }

    /// What must be attested.
    pub fn rule(&self) -> &Attestations {
        &self.rule
    }

    /// Whether this key's word counts.
    pub fn is_elector(&self, key: &PublicKey) -> bool {
        self.validators.iter().any(|validator| validator.key == *key)
    }

    /// Judges statements that somebody passed on, and keeps those that hold and count before what is known. Gives the ones
    /// kept.
    pub fn take(&mut self, all: &[Vec<u8>]) -> Vec<Vec<u8>> {
        all.iter().filter(|bytes| self.take_one(bytes)).cloned().collect()
    }

    fn take_one(&mut self, bytes: &[u8]) -> bool {
        // What is known already, and what is said of something else, costs no signature's check.
        if self.said.values().any(|said| said.bytes == bytes) || !Attestation::is_one(bytes) {
            return false;
        }
        let Ok(signed) = Attestation::verify(bytes) else { return false };
        let statement = signed.statement;
        if statement.manifest_id != self.manifest_id || !self.is_elector(&signed.signer) {
            return false;
        }
        let (created_unix_seconds, vote) = (statement.created_unix_seconds, self.vote_in(&statement));
        let mut new = Said { created_unix_seconds, bytes: bytes.to_vec(), vote, taken: 1 };
        if let Some(before) = self.said.get(&signed.signer) {
            if before.rank() >= new.rank() || before.taken >= STATEMENTS_OF_VALIDATOR_MAX {
                return false;
            }
            new.taken += before.taken;
        }
        self.said.insert(signed.signer, new);
        true
    }

    fn vote_in(&self, statement: &Attestation) -> Vote {
        let Attestation { state_digest, height, differs, .. } = statement;
        match Some(*state_digest) == self.state_digest && differs.is_empty() {
            true => Vote::Agrees { height: *height },
            false => Vote::Dissents { height: *height, differs: differs.clone() },
        }
    }

    /// What this key says, signed so that it counts before what it said last: that may have been dated by a clock that was
    /// ahead. None: the key has no voice, has said just that already, or would not be heard any more.
    pub fn sign(&self, own: &Attestation, key: &PrivateKey, now_unix_seconds: u64) -> Option<Vec<u8>> {
        let public = key.public();
        let before = self.said.get(&public);
        let is_said = |said: &Said| said.vote == self.vote_in(own) || said.taken >= STATEMENTS_OF_VALIDATOR_MAX;
        if !self.is_elector(&public) || before.is_some_and(is_said) {
            return None;
        }
        let earliest = before.map_or(0, |said| said.created_unix_seconds + 1);
        let created_unix_seconds = now_unix_seconds.min(UNIX_SECONDS_MAX).max(earliest);
        let said = Attestation { created_unix_seconds, ..own.clone() };
        (created_unix_seconds <= UNIX_SECONDS_MAX).then(|| said.sign(key))
    }

    /// Whether this key's last word is dated later than now.
    pub fn is_ahead(&self, key: &PublicKey, now_unix_seconds: u64) -> bool {
        self.said.get(key).is_some_and(|said| said.created_unix_seconds > now_unix_seconds)
    }

    /// Every statement that is known, the last one of each validator.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.said.values().map(|said| said.bytes.clone()).collect()
    }

    /// Every validator of the old network with its word, in the manifest's order.
    pub fn voices(&self) -> Vec<Voice> {
        let vote = |key: &PublicKey| match self.said.get(key) {
            Some(said) => said.vote.clone(),
            None if *key == self.lead => Vote::Signed,
            None => Vote::Silent,
        };
        let voice = |validator: &Validator| Voice { vote: vote(&validator.key), validator: *validator };
        self.validators.iter().map(voice).collect()
    }

    /// How many have said what.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.voices())
    }

    /// What the statements come to.
    pub fn verdict(&self) -> Verdict {
        let voices = self.voices();
        let Tally { validators, agree, dissent, power, power_against, power_of_all } = Tally::of(&voices);
        let possible = power_of_all - power_against;
        let over = |part: u128, numerator: u32, denominator: u32| {
            part * u128::from(denominator) > power_of_all * u128::from(numerator)
        };
        let (met, can_be) = match &self.rule {
            Attestations::None => (true, true),
            Attestations::PowerOver { numerator, denominator } => {
                (over(power, *numerator, *denominator), over(possible, *numerator, *denominator))
            }
            Attestations::Count(needed) => {
                let needed = *needed as usize;
                (agree >= needed, validators - dissent >= needed)
            }
            Attestations::LeaderAndMajority { leader } => {
                let of_leader = voices.iter().find(|voice| voice.validator.key == *leader).map(|voice| &voice.vote);
                let agrees = of_leader.is_some_and(Vote::agrees);
                let dissents = of_leader.is_none_or(Vote::dissents);
                (agrees && over(power, 1, 2), !dissents && over(possible, 1, 2))
            }
        };
        match (met, can_be) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Open,
            (false, false) => Verdict::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::key::KeyType;

    use super::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);
    const DIGEST: Blake3Hash = Blake3Hash::from_bytes([8; 32]);
    const OTHER: Blake3Hash = Blake3Hash::from_bytes([9; 32]);

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()
    }

    /// Four validators with power 1; the lead is none of them.
    fn ballot(rule: Attestations) -> Ballot {
        let validators = (1..=4).map(|seed| Validator { key: key(seed).public(), power: 1 }).collect();
        Ballot {
            manifest_id: ID,
            state_digest: Some(DIGEST),
            rule,
            lead: key(9).public(),
            validators,
            said: BTreeMap::new(),
        }
    }

    fn said(seed: u8, state_digest: Blake3Hash, created_unix_seconds: u64) -> Vec<u8> {
        let said = Attestation { manifest_id: ID, state_digest, height: 5, created_unix_seconds, differs: vec![] };
        said.sign(&key(seed))
    }

    fn two_thirds() -> Attestations {
        Attestations::PowerOver { numerator: 2, denominator: 3 }
    }

    #[test]
    fn one_of_four_may_dissent_and_two_may_not() {
        let mut ballot = ballot(two_thirds());
        assert_eq!(ballot.take(&[said(1, DIGEST, 1), said(2, OTHER, 1)]).len(), 2);
        assert_eq!(ballot.verdict(), Verdict::Open);
        ballot.take(&[said(3, DIGEST, 1), said(4, DIGEST, 1)]);
        assert_eq!(ballot.verdict(), Verdict::Met);
        ballot.take(&[said(4, OTHER, 2)]);
        assert_eq!(ballot.verdict(), Verdict::Lost, "2 of 4 agree");
        ballot.take(&[said(4, DIGEST, 3)]);
        assert_eq!(ballot.verdict(), Verdict::Met, "it took it back");
    }

    #[test]
    fn only_an_old_validators_word_about_this_manifest_counts() {
        let mut ballot = ballot(two_thirds());
        let mut broken = said(1, DIGEST, 1);
        *broken.last_mut().unwrap() ^= 1;
        let elsewhere = Attestation {
            manifest_id: OTHER,
            state_digest: DIGEST,
            height: 5,
            created_unix_seconds: 1,
            differs: vec![],
        };
        let strangers = [said(7, DIGEST, 1), broken, elsewhere.sign(&key(1)), vec![], vec![0; 900]];
        assert_eq!(ballot.take(&strangers), Vec::<Vec<u8>>::new());
        let parted = Attestation {
            manifest_id: ID,
            state_digest: DIGEST,
            height: 5,
            created_unix_seconds: 1,
            differs: vec![DifferingPart::new(DifferingPart::DEFINITIONS, 0)],
        };
        ballot.take(&[parted.sign(&key(1))]);
        assert!(
            ballot.voices()[ballot.validators.iter().position(|v| v.key == key(1).public()).unwrap()].vote.dissents()
        );
    }

    #[test]
    fn the_order_in_which_statements_are_heard_decides_nothing() {
        let all = [said(1, DIGEST, 5), said(1, OTHER, 5), said(1, DIGEST, 4), said(1, OTHER, 3)];
        for first in 0..all.len() {
            for second in 0..all.len() {
                let mut ballot = ballot(two_thirds());
                ballot.take(&[all[first].clone(), all[second].clone()]);
                ballot.take(&all);
                assert_eq!(ballot.statements(), [all[1].clone()], "{first} {second}");
            }
        }
    }

    #[test]
    fn the_leads_signature_is_its_word_until_it_says_another() {
        let mut ballot = ballot(Attestations::Count(1));
        assert_eq!(ballot.verdict(), Verdict::Open);
        ballot.lead = key(1).public();
        assert_eq!(ballot.verdict(), Verdict::Met);
        ballot.take(&[said(1, OTHER, 1)]);
        assert_eq!(ballot.verdict(), Verdict::Open);
        ballot.take(&[said(2, OTHER, 1), said(3, OTHER, 1), said(4, OTHER, 1)]);
        assert_eq!(ballot.verdict(), Verdict::Lost);
    }

    #[test]
    fn the_old_leader_must_agree_where_the_rule_says_so() {
        let leader = key(2).public();
        let mut ballot = ballot(Attestations::LeaderAndMajority { leader });
        ballot.take(&[said(1, DIGEST, 1), said(3, DIGEST, 1), said(4, DIGEST, 1)]);
        assert_eq!(ballot.verdict(), Verdict::Open);
        ballot.take(&[said(2, DIGEST, 1)]);
        assert_eq!(ballot.verdict(), Verdict::Met);
        ballot.take(&[said(2, OTHER, 2)]);
        assert_eq!(ballot.verdict(), Verdict::Lost);
    }

    #[test]
    fn one_validator_cannot_be_heard_for_ever() {
        let mut ballot = ballot(two_thirds());
        let taken = (0..10_000).filter(|n| ballot.take(&[said(1, DIGEST, *n)]).len() == 1).count();
        assert_eq!(taken, STATEMENTS_OF_VALIDATOR_MAX as usize);
        let own = own(OTHER);
        assert_eq!(ballot.sign(&own, &key(1), 20_000), None, "it would not be heard");
        assert!(ballot.sign(&own, &key(2), 20_000).is_some(), "the others are");
    }

    fn own(state_digest: Blake3Hash) -> Attestation {
        Attestation { manifest_id: ID, state_digest, height: 5, created_unix_seconds: 0, differs: vec![] }
    }

    #[test]
    fn a_dissent_that_a_clock_a_year_ahead_has_dated_can_be_taken_back() {
        const NOW: u64 = 1_800_000_000;
        for ahead in [3600, 365 * 86_400, UNIX_SECONDS_MAX - NOW - 1] {
            let early = said(1, OTHER, NOW + ahead);
            let mut here = ballot(two_thirds());
            assert_eq!(here.take(std::slice::from_ref(&early)).len(), 1);
            assert!(here.is_ahead(&key(1).public(), NOW) && !here.is_ahead(&key(2).public(), NOW));
            assert!(
                here.take(&[said(1, DIGEST, NOW)]).is_empty(),
                "dated by the right clock it would be the older word"
            );
            let late = here.sign(&own(DIGEST), &key(1), NOW).unwrap();
            assert_eq!(here.take(std::slice::from_ref(&late)).len(), 1);
            // In whatever order others hear the two.
            for all in [[early.clone(), late.clone()], [late.clone(), early.clone()]] {
                let mut there = ballot(two_thirds());
                there.take(&all);
                assert_eq!(there.statements(), std::slice::from_ref(&late));
                assert_eq!((there.tally().agree, there.tally().dissent), (1, 0));
            }
        }
        // A clock that was set back by a year says nothing that is older than its last word.
        let mut here = ballot(two_thirds());
        here.take(&[said(1, OTHER, NOW)]);
        let late = here.sign(&own(DIGEST), &key(1), NOW - 365 * 86_400).unwrap();
        assert_eq!(here.take(&[late]).len(), 1);
        assert!(ballot(two_thirds()).take(&[said(1, DIGEST, UNIX_SECONDS_MAX + 1)]).is_empty(), "no date");
        here = ballot(two_thirds());
        here.take(&[said(1, OTHER, UNIX_SECONDS_MAX)]);
        assert_eq!(here.sign(&own(DIGEST), &key(1), NOW), None, "there is no later date");
    }

    #[test]
    fn what_was_said_is_not_said_again_and_strangers_say_nothing() {
        let mut ballot = ballot(two_thirds());
        assert_eq!(ballot.sign(&own(DIGEST), &key(9), 10), None, "it has no voice");
        let first = ballot.sign(&own(DIGEST), &key(1), 10).unwrap();
        assert_eq!(ballot.take(&[first]).len(), 1);
        assert_eq!(ballot.sign(&own(DIGEST), &key(1), 20), None);
        assert!(ballot.sign(&own(OTHER), &key(1), 20).is_some(), "another state is another word");
    }
}
