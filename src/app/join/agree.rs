//! Nobody has to believe the lead: before a root is set up, enough validators of the old network must have found the signed
//! state in their own databases, and this node's own one must not hold another.

use std::{sync::Arc, time::Duration};

use kwil_formats::formats::{genesis::Genesis, key::PrivateKey};

use crate::{
    app::{
        attest::{self, Attesting, Compared, OldNode},
        meet::{self, WaitFor},
        node::Node,
    },
    base::{Error, Kind, Next, Notice, Progress, Result, clock, task::CancellationToken, text},
    manifest::{VerifiedManifest, statement::DifferingPart},
};

/// How a join takes part in judging the state that was signed.
#[derive(Debug, Clone, Default)]
pub struct OldState {
    /// The old node's database and key; `None`: this node says nothing.
    pub node: Option<OldNode>,
    /// The operator named the database: where it cannot be compared, the join ends.
    pub named: bool,
    /// What the lead changed in the genesis is taken.
    pub accept_genesis_change: bool,
    /// The root is set up although this node's own old database holds another state, where enough others agree.
    pub despite_dissent: bool,
}

/// Begins to compare the old database, where this node has one. It is compared also where the manifest does not name the
/// node's key: a lead that names false validators is found out by those whose databases have others.
///
/// # Errors
/// Refused where the operator named a database, and nothing can be compared with it.
pub(super) fn begin(
    old: &OldState,
    manifest: &VerifiedManifest,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Option<Attesting>> {
    let Some(node) = &old.node else { return Ok(None) };
    if manifest.manifest().state_digest.is_none() {
        let text =
            "the lead signed no digest of the state, so that this node's old database cannot be compared with it";
        if node.found {
            progress.warning(Notice::from(text).next(Next::AskForDigest));
            return Ok(None);
        }
        return Err(Error::refused(text).hint(Next::AskForDigest).or_hint(Next::AttestNothing));
    }
    // What it reads is told at its end; meanwhile the fetch has the screen.
    Ok(Some(Attesting::start(node.clone(), manifest, &Progress::silent(), cancel)))
}

/// What a join needs to know before it may set its root up.
pub(super) struct Agreeing<'a> {
    pub(super) old: &'a OldState,
    /// The genesis that was signed, where what the lead changed in it was not judged before the fetch.
    pub(super) genesis: Option<&'a Genesis>,
    pub(super) give_up: Option<Duration>,
    /// Keys of this machine, which sign the manifest where it names them and nothing speaks against it.
    pub(super) own_keys: &'a [Arc<PrivateKey>],
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
}

impl Agreeing<'_> {
    /// Waits until this node has compared its old database, enough have signed the manifest, and enough validators have said that they
    /// agree. Where nothing speaks against it, this node's own keys sign. The node serves meanwhile.
    ///
    /// # Errors
    /// Refused when the rule cannot be met any more or the genesis has changes that nobody accepted; `Kind::Verify` when this
    /// node's own database holds another state; `Kind::GaveUp`, `Kind::Interrupted`. What was fetched stays.
    pub(super) async fn agree(&self, node: &mut Node) -> Result<()> {
        let own = self.own(node).await?;
        let dissents = own.as_ref().is_some_and(|own| !own.agrees);
        if let (Some(own), Some(genesis)) = (own.as_ref().filter(|own| own.agrees), self.genesis) {
            attest::check_genesis(genesis, &own.network, self.old.accept_genesis_change, self.progress)?;
        }
        match dissents {
            false => node.sign_manifest(self.own_keys).await?,
            true => node.say_refusal(self.own_keys, "its own old database holds another state").await,
        }
        if !dissents || self.old.despite_dissent {
            meet::wait_signed(node, self.give_up, self.progress, self.cancel).await?;
        }
        // Who counts is then the lead's invention, and nobody has to be waited for.
        let is_false = |own: &Compared| own.parts.iter().any(|part| part.name == DifferingPart::VALIDATORS);
        if !own.as_ref().is_some_and(is_false) || self.old.despite_dissent {
            let until = (clock::now(), self.give_up);
            meet::wait_until(node, WaitFor::Attested, until, self.progress, self.cancel, async |_| Ok(())).await?;
        }
        if dissents && !self.old.despite_dissent {
            let tally = node.tally();
            return Err(Error::verify(format!(
                "this node's own old database holds another state than the one that was signed; of the others: {tally}"
            ))
            .hint(Next::OwnDissent));
        }
        Ok(())
    }

    /// What the comparison of this node's own old database came to, where there was one.
    async fn own(&self, node: &mut Node) -> Result<Option<Compared>> {
        if node.voices().is_some_and(|voices| !voices.is_compared()) {
            self.progress.step("comparing the old node's database with what was signed");
        }
        let compared = tokio::select! {
            () = self.cancel.cancelled() => return Err(interrupted()),
            compared = node.own_comparison() => compared?,
        };
        let compared = match compared {
            Ok(compared) => compared,
            Err(error) if self.old.named || matches!(error.kind(), Kind::Interrupted(_)) => return Err(error),
            Err(error) => {
                let text =
                    "the old node's database was not compared with what was signed, and this node attests nothing";
                self.progress.warning(Notice::of(text, &error).next(Next::NameOldState));
                None
            }
        };
        let Some(compared) = compared else { return Ok(None) };
        if self.is_another_network(&compared) {
            let text = "the database at the usual place holds another network's state: this node attests nothing";
            self.progress.warning(Notice::from(text).next(Next::NameOldState));
            return Ok(None);
        }
        if compared.agrees {
            self.progress
                .note(format!("this node's old database holds the state that was signed{}", height(&compared)));
        } else {
            let differs = compared.differs.iter().map(|words| text::escape(words));
            let text = format!(
                "this node's own old database holds ANOTHER state than the one that was signed{}: {}",
                height(&compared),
                text::first_few(differs, 8)
            );
            self.progress.warning(Notice::from(text).next(Next::SettleDissent));
        }
        Ok(Some(compared))
    }

    /// Nobody named the database, and it is not that of the old network: its state says nothing.
    fn is_another_network(&self, compared: &Compared) -> bool {
        self.old.node.as_ref().is_some_and(|old| old.found) && !compared.agrees && !compared.is_ours
    }
}

/// The height of the old database, where it is another than the manifest's.
fn height(compared: &Compared) -> String {
    if compared.height == compared.manifest_height {
        return String::new();
    }
    format!(" (its last block is {}, the manifest's {})", compared.height, compared.manifest_height)
}

fn interrupted() -> Error {
    Error::interrupted("while waiting for the old network's validators")
        .hint("run the same command again: what was fetched stays")
}
