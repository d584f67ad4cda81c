//! What validators say while a node runs: those of the new network that they are ready, those of the old one whether the
//! signed state is theirs. The node judges it, keeps it, passes it on, and says its own.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use kwil_formats::formats::key::PrivateKey;

use super::{Node, STATEMENTS_NAME};
use crate::{
    app::{
        attest::{Attesting, Compared},
        fetch::Signed,
        kept, short,
        signatures::Signatures,
        status::Shown,
        tell,
        voices::Voices,
    },
    base::{Kind, Next, Notice, Result, clock, durable, text},
    manifest::{Roster, SignedManifest, Tally, VerifiedManifest, Word, statement::Stage},
    swarm::Content,
};

/// Time between two looks at what other processes have found out.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Node {
    /// Listens from now on to what validators of this manifest's two networks say, and passes on what the operator gave.
    pub fn hear_validators(&mut self, manifest: &VerifiedManifest) {
        self.against.uses(manifest.signed().clone());
        self.board.is_about(manifest);
        let mut roster = Roster::new(manifest.id(), manifest.manifest());
        let mut voices = Voices::new(manifest.id(), manifest.manifest());
        // What this node heard before it was stopped the last time; others may come who have heard nothing.
        let before = self.kept.read();
        self.untold.extend(voices.take(&before, &self.progress));
        self.begin_signatures(manifest, &before);
        self.untold.extend(roster.take(before));
        self.roster = Some(roster);
        self.looked_aside = None;
        let given = std::mem::take(&mut self.given);
        let kept = voices.take(&given, &self.progress);
        if kept.len() < given.len() {
            let text =
                "a statement that was given is no attestation by a validator of the old network about this manifest";
            self.progress.warning(text);
        }
        self.untold.extend(kept);
        self.voices = Some(voices);
        let (peer, own) = (self.identity.peer_id(), self.own.clone());
        self.bound(peer, &own);
        self.write_down();
    }

    /// What was heard is written down for those who ask how it stands.
    pub(super) fn write_down(&self) {
        if let (Some(roster), Some(voices), Some(signatures)) = (&self.roster, &self.voices, self.signatures()) {
            self.board.heard(roster, voices, signatures, &self.nodes());
        }
    }

    /// Tells the members what is known against this manifest, which was refused: they may not know it.
    ///
    /// # Errors
    /// When the node ended.
    pub async fn tell_against(&mut self, refused: SignedManifest) -> Result<()> {
        self.against.uses(refused);
        self.require_manifest().await.or_else(|e| if e.kind() == Kind::Failed { Err(e) } else { Ok(()) })
    }

    /// Looks once more whether the manifest counts: before what cannot be taken back.
    ///
    /// # Errors
    /// When it counts no more; when the node ended.
    pub async fn require_manifest(&mut self) -> Result<()> {
        self.against.look();
        self.check_manifest().await
    }

    /// Tells the members what is known against the manifest.
    ///
    /// # Errors
    /// When the manifest counts no more; when the node ended.
    pub(super) async fn check_manifest(&mut self) -> Result<()> {
        if let Some(told) = self.against.untold() {
            // Whoever waits for something else beside this may drop it here: then it stays untold.
            self.handle.tell_evidence(told).await?;
            self.against.was_told();
        }
        self.against.check().inspect_err(|e| self.board.show(&Shown::Against(&e.chain())))
    }

    /// Looks, when the last look is some time ago, at what other processes of this machine have found out: what speaks against the
    /// manifest, and what this root's validator has signed.
    pub(super) fn look_aside(&mut self) {
        if self.looked_aside.is_some_and(|at| clock::now().duration_since(at) < LOOK_INTERVAL) {
            return;
        }
        self.looked_aside = Some(clock::now());
        self.against.look();
        if self.roster.is_some() {
            let mut aside = kept::carried(&self.private);
            aside.extend(tell::own_statement(&self.private));
            self.take_statements(None, aside);
            self.look_at_manifest_file();
        }
    }

    /// Takes what validators of both networks and those who sign the manifest say, as this member passes it on.
    pub(super) fn take_statements(&mut self, from: Option<&str>, all: Vec<Vec<u8>>) {
        self.take_signatures(from, &all);
        let attested = self.voices.as_mut().map(|voices| voices.take(&all, &self.progress)).unwrap_or_default();
        if !attested.is_empty() {
            self.untold.extend(attested);
            self.write_down();
        }
        self.take_readiness(all);
    }

    /// Takes what validators of the new network say of themselves, and tells what of it concerns everyone.
    fn take_readiness(&mut self, all: Vec<Vec<u8>>) {
        let Some(roster) = &mut self.roster else { return };
        let new = roster.take(all);
        for (validator, word) in new.iter().filter_map(|bytes| roster.word_in(bytes)) {
            let name = format!("{} (power {})", short::key(&validator.key), validator.power);
            match word.stage {
                Stage::RootReady => {}
                Stage::Confirmed => self.progress.note(format!(
                    "confirmed: the started node of {name} holds what was signed; {} so far",
                    text::count(roster.confirmed() as u64, "node")
                )),
                Stage::Differs => {
                    let parts = text::first_few(word.differs.iter().map(|part| text::escape(&part.name)), 6);
                    let words = format!("ALARM: the started node of {name} does NOT hold what was signed: {parts}");
                    self.progress.warning(Notice::from(words).next(Next::StopDifferingNode));
                }
            }
        }
        if !new.is_empty() {
            self.untold.extend(new);
            self.write_down();
        }
    }

    /// Goes on as a member that hears what the others have and say, and neither fetches nor serves.
    ///
    /// # Errors
    /// When the node ended.
    pub async fn watch(&mut self, signed: &Signed) -> Result<()> {
        self.board.doing("looking on");
        self.hear_validators(&signed.manifest);
        let contents = super::contents(&signed.manifest, false);
        self.handle.activate(Content::watching(contents, signed.charter())).await
    }

    /// Compares the old node's database meanwhile, and says what comes of it.
    pub fn attest(&mut self, attesting: Attesting) {
        if let Some(voices) = &mut self.voices {
            voices.compare(attesting);
        }
    }

    /// What validators of the old network have said so far.
    pub fn voices(&self) -> Option<&Voices> {
        self.voices.as_ref()
    }

    /// How many of them have said what; before the manifest is known there are none.
    pub fn tally(&self) -> Tally {
        self.voices.as_ref().map(Voices::tally).unwrap_or_default()
    }

    /// Waits for this node's own comparison, if there is one, and serves meanwhile; its statement was passed on by then.
    ///
    /// # Errors
    /// When the node ended; inside, when the comparison failed.
    pub async fn own_comparison(&mut self) -> Result<Result<Option<Compared>>> {
        while self.voices.as_ref().is_some_and(|voices| !voices.is_compared()) {
            self.next().await?;
        }
        self.say_own();
        self.pass_on().await?;
        Ok(match &mut self.voices {
            Some(voices) => voices.compared().await,
            None => Ok(None),
        })
    }

    /// The directory that this node serves stands under another name now.
    pub fn moved_to(&mut self, private: PathBuf) {
        self.kept.move_to(private.join(STATEMENTS_NAME));
        self.private.clone_from(&private);
        self.board.moved(durable::parent(&private));
        self.reporter.moved(private);
    }

    fn say_own(&mut self) {
        let Some(voices) = &mut self.voices else { return };
        let own: Vec<Vec<u8>> = voices.own_statement(clock::unix_seconds()).into_iter().collect();
        self.untold.extend(voices.take(&own, &self.progress));
        if !own.is_empty() {
            self.write_down();
        }
    }

    /// What validators have said so far.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// Whether every chunk is with two other members, as they say.
    pub fn is_every_chunk_out(&self) -> bool {
        self.is_every_chunk_out
    }

    /// Says, as the validator with this key, that it is ready; whether there was anything to say: not where it is no
    /// validator, or has said just that.
    pub fn say_ready(&mut self, key: &PrivateKey, word: &Word) -> bool {
        let vouch = |message: &[u8]| self.identity.sign(message);
        let statement = self.roster.as_mut().and_then(|roster| roster.say(key, word, clock::unix_seconds(), vouch));
        let is_new = statement.is_some();
        self.untold.extend(statement);
        if is_new {
            self.write_down();
        }
        is_new
    }

    /// Where members see this node, best first: what others can dial, then where most see it.
    pub fn seen_at(&self) -> Vec<IpAddr> {
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort_by_key(|(ip, by)| (ip.is_loopback(), std::cmp::Reverse(by.len())));
        seen.into_iter().map(|(ip, _)| *ip).collect()
    }

    /// Tells the members what is new. Whoever comes later hears all of it.
    ///
    /// # Errors
    /// When the node ended.
    pub async fn pass_on(&mut self) -> Result<()> {
        self.say_own();
        self.tell_whose().await?;
        let Some(roster) = self.roster.as_ref().filter(|_| !self.untold.is_empty()) else {
            self.kept.write_if_due();
            return Ok(());
        };
        let attested = self.voices.iter().flat_map(Voices::statements);
        let signed = self.signatures().map(Signatures::statements).unwrap_or_default();
        let all: Vec<Vec<u8>> = roster.statements().into_iter().chain(attested).chain(signed).collect();
        self.kept.write_soon(&all);
        // Whoever waits for something else beside this may drop it at any await: what was not handed over stays untold.
        self.handle.tell(all, self.untold.clone()).await?;
        self.untold.clear();
        Ok(())
    }
}
