//! What the work of a node writes down about itself as it goes: cheap copies behind one lock, which nobody holds for longer than a copy
//! takes. Who asks how it stands reads here and never stops the work.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use kwil_formats::formats::key::PublicKey;
use zeroize::Zeroizing;

use super::{
    Attestations, Elector, Network, Readiness, Role, Seat, Signatures, Signer, VALIDATORS_LISTED_MAX, Work,
    watchers::{Shown, Watchers},
};
use crate::{
    app::{short, signatures, voices::Voices},
    base::{Progress, clock, progress::Item, text},
    manifest::{Manifest, Roster, Standing, Verdict, VerifiedManifest, Vote, statement::Stage},
    setup,
};

/// Lines of the log that are kept.
const LOG_LINES_MAX: usize = 40;
/// Lines of one notice that are kept.
const NOTICE_LINES_MAX: usize = 4;

/// What the work of a node writes down. Clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    known: Arc<Mutex<Known>>,
    watchers: Arc<Watchers>,
}

/// What is known beside what the swarm's driver knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) role: Option<Role>,
    pub(super) began: Option<Instant>,
    pub(super) doing: String,
    pub(super) work: BTreeMap<&'static str, (u64, Option<u64>)>,
    pub(super) log: VecDeque<String>,
    hidden: Vec<Zeroizing<String>>,
    pub(super) peer: Option<String>,
    pub(super) directory: Option<PathBuf>,
    pub(super) network: Option<Network>,
    pub(super) text_bytes: u64,
    pub(super) signatures: Option<Signatures>,
    pub(super) attestations: Option<Attestations>,
    pub(super) readiness: Option<Readiness>,
    /// Nodes of validators by their peer ids: what they are called, and their keys.
    pub(super) names: BTreeMap<String, (String, String)>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Board")
    }
}

impl Board {
    /// The board of a command that has this part in a swarm.
    pub fn new(role: Role) -> Self {
        let board = Board::default();
        board.known().role = Some(role);
        board
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what is written here.
    pub(super) fn read(&self) -> Known {
        self.known().clone()
    }

    /// Whether the node only watches, and has no files of its own.
    pub(in crate::app) fn only_watches(&self) -> bool {
        self.known().role.is_none_or(|role| role == Role::Watch)
    }

    /// Shows what comes to be known to `watcher` as well, from now on. It must return at once.
    pub fn watch(&self, watcher: impl Fn(&Shown<'_>) + Send + Sync + 'static) {
        self.watchers.add(watcher);
    }

    /// Shows something to all watchers.
    pub(in crate::app) fn show(&self, shown: &Shown<'_>) {
        self.watchers.show(shown);
    }

    /// A progress that is written down here, too: the step that goes on, how far work is that is done beside the transfer, and the last
    /// lines that were told.
    pub fn tap(&self, progress: &Progress) -> Progress {
        let (board, inner) = (self.clone(), progress.clone());
        Progress::new(move |item| {
            board.saw(&item);
            inner.item(item);
        })
    }

    fn saw(&self, item: &Item) {
        match item {
            Item::Step(words) => {
                let mut known = self.known();
                known.doing = text::escape(words);
                known.log(words);
            }
            Item::Note(notice) => self.known().log(&notice.text),
            Item::Warning(notice) => self.known().log(&format!("warning: {}", notice.text)),
            // How the transfer goes is known better from the swarm.
            Item::Bytes { task: "fetch" | "serve", .. } => {}
            Item::Bytes { task, done, total, .. } => _ = self.known().work.insert(task, (*done, *total)),
            Item::Done(task) => _ = self.known().work.remove(task),
        }
    }

    /// What is never to stand in a line that is kept.
    pub(in crate::app) fn hide(&self, secret: &str) {
        self.known().hidden.push(Zeroizing::new(secret.to_owned()));
    }

    /// What goes on now, in words.
    pub(in crate::app) fn doing(&self, words: &str) {
        self.known().doing = words.to_owned();
    }

    /// Work of this name is over.
    pub(in crate::app) fn ended(&self, work: &str) {
        self.known().work.remove(work);
    }

    /// A node begins with the files of a directory, where it has some.
    pub(in crate::app) fn begins(&self, peer: String, directory: Option<&Path>) {
        let mut known = self.known();
        known.began = Some(clock::now());
        known.peer = Some(peer);
        // By the name that people know: the root that is made there.
        known.directory = directory.map(setup::root_of);
    }

    /// The node's files stand under another name now.
    pub(in crate::app) fn moved(&self, directory: &Path) {
        self.known().directory = Some(directory.to_owned());
    }

    /// The manifest is known.
    pub(in crate::app) fn is_about(&self, manifest: &VerifiedManifest) {
        let mut known = self.known();
        known.network = Some(Network::new(manifest.id().to_string(), manifest.manifest()));
        known.text_bytes = manifest.manifest().text_size_bytes;
    }

    /// What validators, and those who sign the manifest, have said so far.
    pub(in crate::app) fn heard(
        &self,
        roster: &Roster,
        voices: &Voices,
        signed: &signatures::Signatures,
        nodes: &BTreeMap<String, PublicKey>,
    ) {
        let signed = Signatures::of(signed);
        let (readiness, attestations) = (Readiness::of(roster), Attestations::of(voices));
        let names = nodes
            .iter()
            .map(|(peer, key)| (peer.clone(), (format!("validator {}", short::key(key)), key.to_string())))
            .collect();
        let mut known = self.known();
        known.names = names;
        known.signatures = Some(signed);
        (known.readiness, known.attestations) = (Some(readiness.clone()), Some(attestations.clone()));
        let (network, role) = (known.network.clone(), known.role);
        drop(known);
        self.show(&Shown::Heard {
            attestations: &attestations,
            readiness: &readiness,
            network: network.as_ref(),
            role,
        });
    }
}

impl Known {
    fn log(&mut self, words: &str) {
        for line in words.lines().filter(|line| !line.trim().is_empty()).take(NOTICE_LINES_MAX) {
            if self.log.len() >= LOG_LINES_MAX {
                self.log.pop_front();
            }
            let time = text::time(clock::unix_seconds());
            let line = self.hidden.iter().fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), "…"));
            self.log.push_back(format!("{time} {}", text::escape(&line)));
        }
    }

    pub(super) fn work(&self) -> Vec<Work> {
        let of = |(name, (done, total)): (&&'static str, &(u64, Option<u64>))| {
            let total = total.or((*name == "verify" && self.text_bytes > 0).then_some(self.text_bytes));
            Work { name: (*name).to_owned(), done: *done, total }
        };
        self.work.iter().map(of).collect()
    }

    /// What was fetched, or is served, is still being checked.
    pub(super) fn checks(&self) -> bool {
        self.work.keys().any(|work| matches!(*work, "verify" | "check"))
    }
}

impl Network {
    pub(super) fn new(manifest_id: String, manifest: &Manifest) -> Self {
        let network = &manifest.network;
        Network {
            family: network.family.to_string(),
            old_chain_id: network.old_chain_id.as_deref().map(text::escape),
            chain_id: text::escape(&network.new_chain_id),
            height: network.height,
            manifest_id,
            sequence: manifest.sequence,
            bytes: manifest.size_bytes(),
        }
    }
}

impl Signatures {
    fn of(all: &signatures::Signatures) -> Self {
        let Standing { weight, signed, missing, refused } = all.standing();
        let signer = |key: &PublicKey, said: &str, reason: Option<&String>| Signer {
            name: short::key(key),
            key: key.to_string(),
            said: said.to_owned(),
            reason: reason.map(|reason| text::escape(reason)),
        };
        // Those that are waited for are told first, so that none of them is left out of a long list.
        let refused = refused.iter().map(|(key, reason)| signer(key, "refuses", Some(reason)));
        let missing = missing.iter().map(|key| signer(key, "silent", None));
        let signers = refused.chain(missing).chain(signed.iter().map(|key| signer(key, "signed", None)));
        Signatures {
            needed: weight.needed.to_string(),
            enough: weight.is_enough(),
            signatures: weight.signatures,
            power: weight.power,
            power_of_all: weight.power_of_all,
            words: all.words(),
            signers: signers.take(VALIDATORS_LISTED_MAX).collect(),
        }
    }

    /// Those who have not signed, where more must.
    pub(super) fn lacking(&self) -> Vec<String> {
        let lacking = self.signers.iter().filter(|signer| !self.enough && signer.said != "signed");
        lacking.map(|signer| signer.name.clone()).collect()
    }
}

impl Attestations {
    pub(super) fn of(voices: &Voices) -> Self {
        let tally = voices.tally();
        let power = |power: u128| u64::try_from(power).unwrap_or(u64::MAX);
        let elector = |voice: &crate::manifest::Voice| {
            let (vote, height) = match &voice.vote {
                Vote::Signed => ("signed", None),
                Vote::Agrees { height } => ("agrees", Some(*height)),
                Vote::Dissents { height, .. } => ("dissents", Some(*height)),
                Vote::Silent => ("silent", None),
            };
            Elector {
                name: short::key(&voice.validator.key),
                key: voice.validator.key.to_string(),
                power: voice.validator.power,
                vote: vote.to_owned(),
                height,
                differs: voices.differing(voice),
            }
        };
        Attestations {
            rule: voices.rule(),
            verdict: match voices.verdict() {
                Verdict::Met => "met",
                Verdict::Open => "open",
                Verdict::Lost => "lost",
            }
            .to_owned(),
            validators: tally.validators,
            agree: tally.agree,
            dissent: tally.dissent,
            power: power(tally.power),
            power_of_all: power(tally.power_of_all),
            voices: voices.voices().iter().take(VALIDATORS_LISTED_MAX).map(elector).collect(),
        }
    }

    /// Old validators that have said nothing, where more of them must.
    pub(super) fn silent(&self) -> Vec<String> {
        let silent = self.voices.iter().filter(|voice| self.verdict == "open" && voice.vote == "silent");
        silent.map(|voice| voice.name.clone()).collect()
    }

    /// Old validators that hold another state, where the rule cannot be met any more.
    pub(super) fn lost(&self) -> Vec<String> {
        let against = self.voices.iter().filter(|voice| self.verdict == "lost" && voice.vote == "dissents");
        against.map(|voice| voice.name.clone()).collect()
    }
}

impl Readiness {
    pub(super) fn of(roster: &Roster) -> Self {
        let power = |power: u128| u64::try_from(power).unwrap_or(u64::MAX);
        let (ready, missing) = (roster.ready(), roster.missing());
        let sum = |validators: &mut dyn Iterator<Item = u64>| power(validators.map(u128::from).sum());
        let seat = |validator: &kwil_formats::formats::Validator| {
            let word = roster.word_of(&validator.key);
            let differs = word.iter().flat_map(|word| &word.differs).map(|part| text::escape(&part.name));
            Seat {
                ready: word.as_ref().is_some_and(|word| word.stage != Stage::Differs),
                differs: differs.collect(),
                name: short::key(&validator.key),
                key: validator.key.to_string(),
                power: validator.power,
                leader: roster.leader() == Some(&validator.key),
                stage: word.as_ref().map(|word| word.stage.to_string()),
                kwild_version: word.and_then(|word| word.kwild_version).as_deref().map(text::escape),
            }
        };
        let all = || roster.ready().chain(roster.missing());
        Readiness {
            quorum: roster.is_quorum(),
            ready: ready.count(),
            confirmed: roster.confirmed(),
            validators: all().count(),
            power: sum(&mut roster.ready().map(|validator| validator.power)),
            power_of_all: sum(&mut all().map(|validator| validator.power)),
            // Those that are waited for are told first, so that none of them is left out of a long list.
            seats: missing.chain(roster.ready()).take(VALIDATORS_LISTED_MAX).map(seat).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_none_of_them_drives_a_terminal() {
        let board = Board::new(Role::Fetch);
        let progress = board.tap(&Progress::silent());
        progress.step("fetching");
        progress.note("a\u{1b}[2J\u{202e}b\nsecond line");
        progress.warning("x".repeat(10 << 20));
        for n in 0..100 {
            progress.note(format!("line {n}"));
        }
        let known = board.read();
        assert_eq!((known.doing.as_str(), known.log.len()), ("fetching", LOG_LINES_MAX));
        assert!(known.log.back().unwrap().ends_with("Z line 99"), "{:?}", known.log.back());
        board.tap(&Progress::silent()).note("a\u{1b}[2J\u{202e}b\nsecond line");
        let known = board.read();
        let lines: Vec<&String> = known.log.iter().rev().take(2).collect();
        assert!(lines[0].ends_with(" second line") && lines[1].ends_with(" a\\u{1b}[2J\\u{202e}b"), "{lines:?}");
        assert!(known.log.iter().all(|line| line.len() < 1000));
    }

    #[test]
    fn what_is_hidden_stands_in_no_line() {
        let board = Board::default();
        board.hide("0123abcd");
        board.tap(&Progress::silent()).note("http://192.0.2.1/?token=0123abcd");
        let line = board.read().log.pop_back().unwrap();
        assert!(line.ends_with("http://192.0.2.1/?token=…"), "{line}");
    }

    #[test]
    fn work_beside_the_transfer_is_told_until_it_is_done() {
        let board = Board::default();
        let progress = board.tap(&Progress::silent());
        progress.bytes("fetch", 1, Some(2), "");
        progress.bytes("verify", 3, None, "");
        board.known().text_bytes = 9;
        let known = board.read();
        assert_eq!(known.work(), [Work { name: "verify".to_owned(), done: 3, total: Some(9) }]);
        assert!(known.checks() && board.only_watches());
        progress.done("verify");
        assert!(!board.read().checks() && board.read().work().is_empty());
    }
}
