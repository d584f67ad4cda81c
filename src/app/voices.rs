//! What the old network's validators say while a node runs: their statements are judged, told to the operator by name, and
//! passed on; this node's own is one of them.

use kwil_formats::formats::key::PublicKey;

use super::{
    attest::{Attesting, Compared, OwnWord},
    short,
};
use crate::{
    base::{Blake3Hash, Error, Next, Notice, Progress, Result, text},
    manifest::{Attestations, Ballot, Manifest, Tally, Verdict, Voice, Vote, statement::DifferingPart},
};

/// Validators that one line names; of more it gives the number.
const NAMES_SHOWN: usize = 4;
/// Parts that one line names of a dissent.
const PARTS_SHOWN: usize = 3;

/// The old network's validators, and what a node has told of them.
#[derive(Debug)]
pub struct Voices {
    ballot: Ballot,
    /// Rows of each part as they were signed.
    signed_rows: Vec<(String, u64)>,
    /// As the operator was told.
    told: Vec<Voice>,
    /// This node's own comparison, as long as nobody has taken its end.
    own: Option<Attesting>,
    /// What came of it, as long as this node runs.
    own_word: Option<OwnWord>,
}

impl Voices {
    /// The voices about a manifest with this id; nobody but its lead has said anything.
    pub fn new(id: Blake3Hash, manifest: &Manifest) -> Self {
        let ballot = Ballot::new(id, manifest);
        let tables = manifest.state_digest.iter().flat_map(|digest| &digest.tables);
        Voices {
            told: ballot.voices(),
            signed_rows: tables.map(|table| (table.name.clone(), table.rows)).collect(),
            ballot,
            own: None,
            own_word: None,
        }
    }

    /// What the statements come to.
    pub fn verdict(&self) -> Verdict {
        self.ballot.verdict()
    }

    /// What each old validator says.
    pub(super) fn voices(&self) -> Vec<Voice> {
        self.ballot.voices()
    }

    /// Whether this key's word counts.
    pub(super) fn is_elector(&self, key: &PublicKey) -> bool {
        self.ballot.is_elector(key)
    }

    /// What is needed, in words.
    pub(super) fn rule(&self) -> String {
        match self.ballot.rule() {
            Attestations::LeaderAndMajority { leader } => {
                format!("the old leader {} and more than half of the old power", short::key(leader))
            }
            rule => rule.to_string(),
        }
    }

    /// Every statement that is known.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.ballot.statements()
    }

    /// Judges statements, tells what is new, and gives those that are to be passed on.
    pub fn take(&mut self, all: &[Vec<u8>], progress: &Progress) -> Vec<Vec<u8>> {
        let kept = self.ballot.take(all);
        if !kept.is_empty() {
            self.tell(progress);
        }
        kept
    }

    /// This node compares, too.
    pub fn compare(&mut self, own: Attesting) {
        self.own = Some(own);
    }

    /// This node's own statement, as soon as it is there, where it has not said that already. Later on another word of the same
    /// validator stands, for its operator may have compared a better database elsewhere; but not one from the future: a clock was
    /// wrong, and the word would stand for ever.
    pub fn own_statement(&mut self, now_unix_seconds: u64) -> Option<Vec<u8>> {
        let new = self.own.as_mut().and_then(Attesting::take_word);
        let is_new = new.is_some();
        self.own_word = new.or(self.own_word.take());
        let OwnWord { statement, key } = self.own_word.as_ref()?;
        if !is_new && !self.ballot.is_ahead(&key.public(), now_unix_seconds) {
            return None;
        }
        self.ballot.sign(statement, key, now_unix_seconds)
    }

    /// Whether this node's own comparison has ended, or there is none.
    pub fn is_compared(&self) -> bool {
        self.own.as_ref().is_none_or(Attesting::is_finished)
    }

    /// What this node's own comparison came to; `None` where there was none, or it was taken.
    ///
    /// # Errors
    /// When the comparison failed.
    pub async fn compared(&mut self) -> Result<Option<Compared>> {
        match self.own.take() {
            Some(own) => own.compared().await.map(Some),
            None => Ok(None),
        }
    }

    /// How many have said what.
    pub fn tally(&self) -> Tally {
        self.ballot.tally()
    }

    /// Who has to say something, in words; `None` where nobody has to.
    pub fn rule_words(&self) -> Option<String> {
        if *self.ballot.rule() == Attestations::None {
            return None;
        }
        Some(format!("attestations needed before a root is set up: {}; {}", self.rule(), self.words()))
    }

    /// Where it stands, in words.
    pub fn words(&self) -> String {
        let voices = self.ballot.voices();
        let names = |of: &dyn Fn(&Vote) -> bool| {
            text::first_few(voices.iter().filter(|voice| of(&voice.vote)).map(name), NAMES_SHOWN)
        };
        let tally = self.tally();
        let mut words = tally.to_string();
        if tally.dissent > 0 {
            words.push_str(&format!(": {}", names(&Vote::dissents)));
        }
        if tally.agree + tally.dissent < tally.validators && self.verdict() == Verdict::Open {
            words.push_str(&format!("; waiting for {}", names(&|vote| *vote == Vote::Silent)));
        }
        words
    }

    /// The error of a rule that cannot be met any more: who dissents, and in what.
    pub fn lost(&self) -> Error {
        let dissents: Vec<String> = self.ballot.voices().iter().filter_map(|voice| self.dissent_words(voice)).collect();
        let dissents: String = dissents.iter().map(|words| format!("\n  {words}")).collect();
        Error::refused(format!(
            "nobody may set a root up from this manifest: it needs the word of {}, and cannot get it any more:{dissents}",
            self.ballot.rule()
        ))
        .hint(Next::SettleDissent)
    }

    fn tell(&mut self, progress: &Progress) {
        let (voices, words) = (self.ballot.voices(), self.words());
        for voice in voices.iter().filter(|voice| !self.told.contains(voice)) {
            match self.dissent_words(voice) {
                Some(dissent) => {
                    progress.warning(Notice::from(format!("DISSENT: {dissent}; {words}")).next(Next::SettleDissent));
                }
                None => {
                    let who = name(voice);
                    let height = match voice.vote {
                        Vote::Agrees { height } => format!(" (height {height})"),
                        _ => String::new(),
                    };
                    progress
                        .note(format!("attested: {who} finds the signed state in its own database{height}; {words}"));
                }
            }
        }
        self.told = voices;
    }

    /// The parts in which a validator's own state differs, each in words.
    pub(super) fn differing(&self, voice: &Voice) -> Vec<String> {
        let Vote::Dissents { differs, .. } = &voice.vote else { return Vec::new() };
        let part = |part: &DifferingPart| {
            let signed = self.signed_rows.iter().find(|(table, _)| *table == part.name).map(|(_, rows)| *rows);
            let shown = text::escape(&part.name);
            match signed {
                Some(rows) if rows != part.rows => format!("{shown} ({} there, {rows} signed)", part.rows),
                Some(rows) => format!("{shown} (other rows, {rows} of them)"),
                None => shown,
            }
        };
        differs.iter().map(part).collect()
    }

    fn dissent_words(&self, voice: &Voice) -> Option<String> {
        let Vote::Dissents { height, .. } = &voice.vote else { return None };
        let differs = self.differing(voice);
        let parts = match differs.is_empty() {
            true => "it does not say where".to_owned(),
            false => format!("in {}", text::first_few(differs, PARTS_SHOWN)),
        };
        Some(format!("{} has another state in its own database at height {height}: {parts}", name(voice)))
    }
}

/// A validator as people tell it from others, with its power.
fn name(voice: &Voice) -> String {
    format!("{}… (power {})", short::key(&voice.validator.key), voice.validator.power)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kwil_formats::formats::{
        Validator,
        key::{KeyType, PrivateKey},
    };

    use super::*;
    use crate::{
        base::progress::Item,
        manifest::{SignedManifest, statement::Attestation},
    };

    #[test]
    fn who_says_what_is_told_by_name_and_a_dissent_with_its_tables() {
        let keys: Vec<PrivateKey> =
            (1..=3).map(|seed| PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap()).collect();
        let golden = include_bytes!("../../tests/vectors/manifest/good.regenesis");
        let mut manifest = SignedManifest::decode(golden).unwrap().manifest().clone();
        manifest.old_validators = keys.iter().map(|key| Validator { key: key.public(), power: 1 }).collect();
        manifest.trust.attestations = Attestations::Count(3);
        let id = Blake3Hash::from_bytes([1; 32]);
        let mut voices = Voices::new(id, &manifest);
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = told.clone();
        let progress = Progress::new(move |item| match item {
            Item::Note(notice) | Item::Warning(notice) => sink.lock().unwrap().push(notice.text.clone()),
            _ => {}
        });
        let digest = manifest.state_digest.as_ref().unwrap();
        let said = |key: &PrivateKey, state_digest, differs| {
            Attestation { manifest_id: id, state_digest, height: 7, created_unix_seconds: 1, differs }.sign(key)
        };
        voices.take(&[said(&keys[0], digest.digest, vec![])], &progress);
        let table = &digest.tables[0];
        let differs = vec![DifferingPart::new(&table.name, table.rows + 1)];
        voices.take(&[said(&keys[1], Blake3Hash::from_bytes([3; 32]), differs)], &progress);
        let told = told.lock().unwrap();
        assert!(told[0].contains(&keys[0].public().to_string()[..8]) && told[0].contains("1 of 3"), "{}", told[0]);
        let words = format!("{} ({} there, {} signed)", table.name, table.rows + 1, table.rows);
        assert!(told[1].starts_with("DISSENT") && told[1].contains(&words), "{}", told[1]);
        assert_eq!(voices.verdict(), Verdict::Lost);
        // The second one's clock goes right again, and so does its database.
        let statement = Attestation {
            manifest_id: id,
            state_digest: digest.digest,
            height: 7,
            created_unix_seconds: 0,
            differs: vec![],
        };
        voices.own_word = Some(OwnWord { statement, key: Arc::new(keys[1].clone()) });
        assert_eq!(voices.own_statement(1), None, "who said the other word may know better");
        let taken_back = voices.own_statement(0).expect("a word from the future does not stand");
        assert_eq!(Voices::new(id, &manifest).take(&[taken_back], &Progress::silent()).len(), 1);
        assert!(voices.lost().chain().contains(&words), "{}", voices.lost().chain());
    }
}
