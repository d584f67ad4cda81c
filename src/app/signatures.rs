//! Who has signed the manifest while a node runs: their signatures are judged, told to the operator by name, and passed on. Before
//! there are enough of them the manifest is a proposal, from which nobody sets a root up.

use super::short;
use crate::{
    base::{Next, Notice, Progress, text},
    manifest::{SignedManifest, Signing, Standing, Taken, VerifiedManifest},
};

/// Keys that one line names; of more it gives the number.
const NAMES_SHOWN: usize = 4;

/// The signatures of a manifest, and what a node has told of them.
#[derive(Debug)]
pub struct Signatures {
    signing: Signing,
    told: Standing,
}

impl Signatures {
    /// Those that the manifest came with.
    pub fn of(manifest: &VerifiedManifest) -> Self {
        let signing = Signing::of(manifest);
        Signatures { told: signing.standing(), signing }
    }

    /// Whether the manifest counts.
    pub fn is_enough(&self) -> bool {
        self.signing.is_enough()
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.signing.standing()
    }

    /// The manifest with all signatures that are known.
    pub fn signed(&self) -> &SignedManifest {
        self.signing.signed()
    }

    /// Every statement that is known.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.signing.statements()
    }

    /// Judges statements, tells what is new, and gives what came of them.
    pub fn take(&mut self, all: &[Vec<u8>], progress: &Progress) -> Taken {
        let taken = self.signing.take(all);
        self.tell(progress);
        taken
    }

    /// Changes what is known, tells what is new of it, and gives what came of it.
    pub(super) fn change<T>(&mut self, progress: &Progress, change: impl FnOnce(&mut Signing) -> T) -> T {
        let made = change(&mut self.signing);
        self.tell(progress);
        made
    }

    /// Where it stands, in words.
    pub fn words(&self) -> String {
        let Standing { weight, missing, refused, .. } = self.standing();
        let mut words = weight.to_string();
        if weight.is_enough() {
            return words;
        }
        if !missing.is_empty() {
            let names = text::first_few(missing.iter().map(|key| format!("{}…", short::key(key))), NAMES_SHOWN);
            words.push_str(&format!("; waiting for {names}"));
        }
        if !refused.is_empty() {
            let names = text::first_few(refused.iter().map(|(key, _)| format!("{}…", short::key(key))), NAMES_SHOWN);
            words.push_str(&format!("; REFUSED by {names}"));
        }
        words
    }

    fn tell(&mut self, progress: &Progress) {
        let (standing, words) = (self.standing(), self.words());
        for key in standing.signed.iter().filter(|key| !self.told.signed.contains(key)) {
            progress.note(format!("{}… has signed the manifest; {words}", short::key(key)));
        }
        for refused in standing.refused.iter().filter(|refused| !self.told.refused.contains(refused)) {
            let (key, reason) = refused;
            let text = format!("{}… REFUSES to sign the manifest: {}; {words}", short::key(key), text::escape(reason));
            progress.warning(Notice::from(text).next(Next::SettleRefusal));
        }
        if standing.weight.is_enough() && !self.told.weight.is_enough() {
            progress.note(format!("the manifest counts from now on: it has {}", standing.weight));
        }
        self.told = standing;
    }
}
