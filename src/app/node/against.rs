//! What is known against the manifest that a node uses: that its lead has signed another one with the same number, or a newer one,
//! or that it was revoked. It comes from members and from what this machine remembers, which other processes add to; whatever ends
//! the manifest is remembered, told to the members, and ends the work.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use kwil_formats::formats::key::PublicKey;

use crate::{
    app::state::StateDirectory,
    base::{Blake3Hash, Error, clock, limits},
    manifest::{
        Equivocation, Evidence, SignedManifest, Ticket, VerifyError, evidence::Exclusion, verify::check_evidence,
    },
    swarm::{Standing, ToldEvidence},
};

/// Evidence that is kept until the manifest is known that it may be about.
const EARLY_MAX: usize = 8;

/// What a node knows against its manifest.
#[derive(Debug)]
pub(super) struct Against {
    state: StateDirectory,
    /// The manifest, once it is known.
    used: Option<(SignedManifest, Blake3Hash)>,
    chain_id: String,
    lead: PublicKey,
    /// Evidence about this lead and network, heard before the manifest was known.
    early: Vec<Evidence>,
    /// That the manifest was issued, for members that speak of another one.
    issue: Option<Vec<u8>>,
    /// What ends the manifest, at most one of each kind, and where it is kept.
    ending: Vec<(Evidence, Option<PathBuf>)>,
    /// Whose access to the swarm was taken back.
    excluded: BTreeMap<PublicKey, Exclusion>,
    /// Those of them of whom the operator and the swarm have not heard.
    new_excluded: Vec<PublicKey>,
    /// The members have not been told all of it.
    untold: bool,
}

impl Against {
    pub(super) fn new(ticket: &Ticket, state: &StateDirectory) -> Self {
        Against {
            state: state.clone(),
            used: None,
            chain_id: ticket.new_chain_id.clone(),
            lead: ticket.lead,
            early: Vec::new(),
            issue: None,
            ending: Vec::new(),
            excluded: BTreeMap::new(),
            new_excluded: Vec::new(),
            untold: false,
        }
    }

    /// From now on this manifest is used.
    pub(super) fn uses(&mut self, signed: SignedManifest) {
        let id = signed.id();
        self.issue = Evidence::issue_of(&signed).map(|issue| issue.to_bytes());
        self.used = Some((signed, id));
        self.untold = true;
        for evidence in std::mem::take(&mut self.early) {
            self.weigh(evidence);
        }
    }

    /// Enough have signed the manifest that is used: it is remembered, and whoever uses an older one is told of it.
    pub(super) fn counts(&mut self, signed: &SignedManifest) {
        if let Err(e) = self.state.remember(&signed.to_bytes()) {
            tracing::warn!("the manifest is not remembered: {}", e.chain());
        }
        self.uses(signed.clone());
    }

    /// Keys of this machine are about to sign the manifest.
    ///
    /// # Errors
    /// Where they have signed another one of its number, or a newer one; when the state cannot be read or written.
    pub(super) fn signs(&self, signed: &SignedManifest) -> Result<(), Error> {
        self.state.remember_signing(signed)
    }

    /// A member tells this; most of what strangers to the truth can say does not even decode.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        match Evidence::decode(bytes) {
            Ok(evidence) => self.weigh(evidence),
            Err(e) => tracing::debug!("what a member tells as evidence is none: {e}"),
        }
    }

    /// Looks at what this machine remembers.
    pub(super) fn look(&mut self) {
        match self.state.evidence(&self.chain_id, &self.lead) {
            Ok(known) => known.into_iter().for_each(|evidence| self.weigh(evidence)),
            // Verification has read it before, and says what is wrong with it.
            Err(e) => tracing::debug!("what is remembered cannot be read: {}", e.chain()),
        }
        match self.state.exclusions(&self.chain_id, &self.lead) {
            Ok(known) => known.into_iter().for_each(|exclusion| self.exclude(exclusion)),
            Err(e) => tracing::debug!("who was excluded cannot be read: {}", e.chain()),
        }
    }

    /// Keeps a validator out, where enough of those have said so who may.
    fn exclude(&mut self, exclusion: Exclusion) {
        let counts = self.used.as_ref().is_some_and(|(signed, id)| exclusion.counts(signed.manifest(), *id));
        let (validator, has_place) = (*exclusion.validator(), self.excluded.len() < limits::EXCLUSIONS_MAX);
        if !counts || !has_place || self.excluded.contains_key(&validator) {
            return;
        }
        if let Err(e) = self.state.keep(&Evidence::Exclusion(exclusion.clone())) {
            tracing::warn!("that a validator was excluded is not kept: {}", e.chain());
        }
        self.excluded.insert(validator, exclusion);
        self.new_excluded.push(validator);
        self.untold = true;
    }

    /// Whose access was taken back since this was last asked.
    pub(super) fn take_excluded(&mut self) -> Vec<PublicKey> {
        std::mem::take(&mut self.new_excluded)
    }

    /// Who the manifest's validators are, and who of them is not let in; `None` before it is known.
    pub(super) fn standing(&self) -> Option<Standing> {
        let manifest = self.used.as_ref()?.0.manifest();
        let listed = manifest.old_validators.iter().chain(&manifest.new_validators).map(|validator| validator.key);
        Some(Standing { listed: listed.collect(), barred: self.excluded.keys().copied().collect::<BTreeSet<_>>() })
    }

    fn weigh(&mut self, evidence: Evidence) {
        if evidence.subject() != Some((self.chain_id.as_str(), &self.lead)) || is_far_future(&evidence) {
            return;
        }
        let Some((signed, id)) = &self.used else {
            if self.early.len() < EARLY_MAX && !self.early.contains(&evidence) {
                self.early.push(evidence);
            }
            return;
        };
        if let Evidence::Exclusion(exclusion) = evidence {
            return self.exclude(exclusion);
        }
        if !evidence.ends(signed.manifest(), *id) {
            return;
        }
        // Another manifest with our number: together with ours that is the proof.
        let evidence = match &evidence {
            Evidence::Issue(head) => Equivocation::beside(signed, head).map(Evidence::Equivocation).unwrap_or(evidence),
            _ => evidence,
        };
        let is_like = |known: &Evidence| std::mem::discriminant(known) == std::mem::discriminant(&evidence);
        if self.ending.iter().any(|(known, _)| is_like(known) && !evidence.says_more_than(known)) {
            return;
        }
        self.ending.retain(|(known, _)| !is_like(known));
        let kept = self.state.keep(&evidence).unwrap_or_else(|e| {
            tracing::warn!("evidence against the manifest is not kept: {}", e.chain());
            None
        });
        self.ending.push((evidence, kept));
        self.untold = true;
    }

    /// What the members are still to be told: that the manifest was issued, and what ends it. Not what the operator passes over: others
    /// may be meant to do so, too.
    pub(super) fn untold(&self) -> Option<ToldEvidence> {
        let ending = self.ending.iter().map(|(evidence, _)| evidence).filter(|one| self.check_one(one).is_err());
        let excluded = self.excluded.values().map(|exclusion| Evidence::Exclusion(exclusion.clone()).to_bytes());
        let all = || ending.map(Evidence::to_bytes).chain(excluded).collect();
        self.untold.then(|| ToldEvidence { issue: self.issue.clone(), against: all() })
    }

    /// The members were told all of it.
    pub(super) fn was_told(&mut self) {
        self.untold = false;
    }

    fn check_one(&self, evidence: &Evidence) -> Result<(), VerifyError> {
        match &self.used {
            Some((signed, id)) => check_evidence(signed.manifest(), *id, evidence, self.state.allowed_rollback()),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Why the manifest counts no more.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.ending.iter().try_for_each(|(evidence, kept)| {
            self.check_one(evidence).map_err(|e| match kept {
                Some(path) => Error::from(e).or_hint(format!("the proof is kept in {}", path.display())),
                None => e.into(),
            })
        })
    }
}

/// A number that no lead can have given yet says nothing: a wrong clock must not end what is good.
fn is_far_future(evidence: &Evidence) -> bool {
    let latest = clock::unix_seconds().saturating_add(limits::SEQUENCE_AHEAD_MAX.as_secs());
    matches!(evidence, Evidence::Issue(_)) && evidence.sequence().is_some_and(|sequence| sequence > latest)
}
