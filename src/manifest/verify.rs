//! Verification in numbered steps, each with its own error. Only this file makes a [`VerifiedManifest`].

use std::fmt;

use kwil_formats::formats::{
    Validator,
    genesis::{Genesis, GenesisError},
    key::PublicKey,
};

use super::{
    ArtifactName, DecodeError, Evidence, Manifest, SignedManifest, Signers, Weight, chunk, signed::SignerError,
};
use crate::base::{
    Advice, Blake3Hash, Error, Next, Sha256Hash, limits,
    text::{self, escape},
};

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// 1. Not larger than any manifest.
    Size,
    /// 2. Strictly readable.
    Decode,
    /// 3. Every signature holds, and one is by a pinned key.
    Signature,
    /// 4. As many distinct keys, or as much of the old power, as the manifest's own rules ask for.
    Threshold,
    /// 5. The manifest and network that were asked for.
    Network,
    /// 6. Neither older than what was seen, nor from the future, nor one of two with the same number.
    Sequence,
    /// 7. Not expired.
    Expiry,
    /// 8. Chunk ids merge to the roots.
    Chunks,
    /// 9. The genesis is the manifest's, parses, and kwild would start on it.
    Genesis,
    /// 10. The genesis pins the state hash and says what the manifest says.
    State,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 10] = [
        Step::Size,
        Step::Decode,
        Step::Signature,
        Step::Threshold,
        Step::Network,
        Step::Sequence,
        Step::Expiry,
        Step::Chunks,
        Step::Genesis,
        Step::State,
    ];

    /// The number of the step, counted from 1.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// The name of the step, as operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Step::Size => "size caps",
            Step::Decode => "decoding",
            Step::Signature => "signature by a pinned key",
            Step::Threshold => "threshold of distinct keys",
            Step::Network => "network",
            Step::Sequence => "sequence",
            Step::Expiry => "not expired",
            Step::Chunks => "chunk ids merge to roots",
            Step::Genesis => "genesis parses and lints",
            Step::State => "genesis pins the state hash",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({})", self.number(), self.name())
    }
}

/// What the reader knows before the manifest comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustPolicy {
    /// Pinned keys: one of them must have signed. From the ticket or `--trust`.
    pub keys: Vec<PublicKey>,
    /// The manifest that was asked for, if one was.
    pub manifest_id: Option<Blake3Hash>,
    /// The new chain id that was asked for, if one was.
    pub chain_id: Option<String>,
    /// The newest manifest seen of this network and lead.
    pub highest_sequence_seen: Option<(u64, Blake3Hash)>,
    /// What is known against manifests of this lead and network.
    pub evidence: Vec<Evidence>,
    /// The operator takes the manifest of this sequence although a newer one was seen.
    pub allowed_rollback: Option<u64>,
    /// A manifest that still lacks signatures is taken, as a proposal: step 4 is looked at again before anything is set up.
    pub proposals: bool,
}

/// Why a manifest is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Step 1: it is larger than any manifest.
    #[error("it has {size} bytes; at most {max} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most bytes that are read.
        max: usize,
    },
    /// Step 2: it cannot be read.
    #[error("{0}")]
    Decode(DecodeError),
    /// Step 3: signed by someone who may not.
    #[error("{0} signed it, but is neither its lead nor one of its co-signers")]
    ForeignSigner(PublicKey),
    /// Step 3: a signature that does not hold.
    #[error("the signature by {0} does not hold: the manifest was changed after it was signed")]
    BadSignature(PublicKey),
    /// Step 3: by others than those the reader trusts.
    #[error("it is signed by {}, not by the pinned {}", keys(signers), keys(pinned))]
    NotPinned {
        /// Keys the reader pins.
        pinned: Vec<PublicKey>,
        /// Keys that signed.
        signers: Vec<PublicKey>,
    },
    /// Step 4: too few distinct keys have signed it.
    #[error("it lacks signatures of distinct keys: it has {0}")]
    Threshold(Weight),
    /// Step 5: another manifest.
    #[error("it is manifest {got}, not {expected}")]
    OtherManifest {
        /// The id of the manifest that was asked for.
        expected: Blake3Hash,
        /// The id of the manifest that came.
        got: Blake3Hash,
    },
    /// Step 5: another network.
    #[error("it is for network {}, not {}", escape(got), escape(expected))]
    OtherNetwork {
        /// The chain id that was asked for.
        expected: String,
        /// The chain id of the manifest.
        got: String,
    },
    /// Step 6: older than what was seen.
    #[error("its sequence {got} is lower than {seen}, which was seen before: a rollback")]
    Rollback {
        /// The highest sequence that was seen before.
        seen: u64,
        /// The manifest's sequence.
        got: u64,
    },
    /// Step 6: from the future.
    #[error("its sequence {sequence} is more than a day ahead of this machine's clock, which says {}", text::time(*.now))]
    FarFuture {
        /// The manifest's sequence.
        sequence: u64,
        /// The reader's clock, in UNIX seconds.
        now: u64,
    },
    /// Step 6: two manifests with one number.
    #[error(
        "the lead {lead} signed two different manifests with sequence {sequence}, {first} and {second}: neither is good"
    )]
    Equivocation {
        /// The lead who signed both.
        lead: PublicKey,
        /// The sequence of both.
        sequence: u64,
        /// The id of the one that was seen before.
        first: Blake3Hash,
        /// The id of the one that came.
        second: Blake3Hash,
    },
    /// Step 6: one of two with the same number, as was found out earlier.
    #[error("the lead {lead} signed two different manifests with sequence {sequence}: neither is good")]
    KnownEquivocation {
        /// The lead who signed both.
        lead: PublicKey,
        /// The sequence of both.
        sequence: u64,
    },
    /// Step 6: the lead has signed a newer one.
    #[error("the lead has signed a newer manifest, {newer} with sequence {sequence}: this one counts no more")]
    Superseded {
        /// The id of the newer one.
        newer: Blake3Hash,
        /// Its sequence.
        sequence: u64,
        /// The sequence of the old one.
        got: u64,
    },
    /// Step 6: those who signed it have taken it back.
    #[error("it was revoked by {}", keys(by))]
    Revoked {
        /// Who revoked it.
        by: Vec<PublicKey>,
    },
    /// Step 7: it has expired.
    #[error("it expired at {} (UNIX time {not_after}; now {now})", text::time(*not_after))]
    Expired {
        /// The last UNIX second at which it could be used.
        not_after: u64,
        /// The reader's clock, in UNIX seconds.
        now: u64,
    },
    /// Step 8: the chunk ids of an artifact do not merge to its root.
    #[error("the chunk ids of the {artifact} merge to {got}, not to its root {expected}")]
    Chunks {
        /// The artifact whose ids they are.
        artifact: ArtifactName,
        /// The artifact's root in the manifest.
        expected: Blake3Hash,
        /// The root to which the ids merge.
        got: Blake3Hash,
    },
    /// Step 9: another file.
    #[error("the genesis file has BLAKE3 {got}, not {expected}: it is not the manifest's")]
    OtherGenesis {
        /// The BLAKE3 hash in the manifest.
        expected: Blake3Hash,
        /// The BLAKE3 hash of the file that came.
        got: Blake3Hash,
    },
    /// Step 9: kwild would not start on it.
    #[error("the genesis cannot be used")]
    Genesis(#[source] Box<GenesisError>),
    /// Step 10: the genesis pins nothing.
    #[error("the genesis pins no state hash; the manifest says {0}")]
    NotPinning(Sha256Hash),
    /// Step 10: the genesis pins another state.
    #[error("the genesis pins state hash {got}, the manifest says {expected}")]
    StateHash {
        /// The state hash in the manifest.
        expected: Sha256Hash,
        /// The state hash that the genesis pins.
        got: Sha256Hash,
    },
    /// Step 10: the genesis says something else.
    #[error("the {what} of the genesis is not the manifest's: {genesis} there, {manifest} here")]
    Disagrees {
        /// What differs, in words.
        what: &'static str,
        /// What the manifest has.
        manifest: String,
        /// What the genesis has.
        genesis: String,
    },
}

fn keys(keys: &[PublicKey]) -> String {
    let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl VerifyError {
    /// Which step failed; those before it passed, those after it were not tried.
    pub fn step(&self) -> Step {
        match self {
            Self::TooLarge { .. } => Step::Size,
            Self::Decode(_) => Step::Decode,
            Self::ForeignSigner(_) | Self::BadSignature(_) | Self::NotPinned { .. } => Step::Signature,
            Self::Threshold(_) => Step::Threshold,
            Self::OtherManifest { .. } | Self::OtherNetwork { .. } => Step::Network,
            Self::Rollback { .. } | Self::FarFuture { .. } => Step::Sequence,
            Self::Equivocation { .. } | Self::KnownEquivocation { .. } => Step::Sequence,
            Self::Superseded { .. } | Self::Revoked { .. } => Step::Sequence,
            Self::Expired { .. } => Step::Expiry,
            Self::Chunks { .. } => Step::Chunks,
            Self::OtherGenesis { .. } | Self::Genesis(_) => Step::Genesis,
            Self::NotPinning(_) | Self::StateHash { .. } | Self::Disagrees { .. } => Step::State,
        }
    }

    fn advice(&self) -> Advice {
        let words = match self {
            Self::TooLarge { .. } => "this is no manifest; give the manifest.regenesis that the lead made",
            Self::Decode(DecodeError::Newer(_)) => "use the same version of regenesis as the lead",
            Self::Decode(_) => "the file is damaged or something else: fetch manifest.regenesis again",
            Self::ForeignSigner(_) | Self::BadSignature(_) => "do not use it; get the manifest from the lead again",
            Self::NotPinned { .. } => return Next::PinLead.into(),
            Self::Threshold(_) => return Next::Cosign.into(),
            Self::OtherManifest { .. } => "use the newest ticket of the lead",
            Self::OtherNetwork { .. } => "check which network this manifest is meant for",
            Self::Rollback { got, .. } => return Next::AllowRollback { sequence: *got }.into(),
            Self::FarFuture { .. } => "set this machine's clock: compare it with the lead's",
            Self::Equivocation { .. } | Self::KnownEquivocation { .. } => {
                "warn the other validators; the lead must sign again with a higher sequence and explain"
            }
            Self::Superseded { got, .. } => return Next::CurrentTicket { sequence: *got }.into(),
            Self::Revoked { .. } => {
                "ask the lead or a co-signer why, by another way than the ticket came; nothing may be set up from it"
            }
            Self::Expired { .. } => "ask the lead to sign again",
            Self::Chunks { .. } => "do not use it; the lead must sign again",
            Self::OtherGenesis { .. } => "use the genesis.json that came with the manifest",
            Self::Genesis(_) => "the lead must correct the genesis and sign again",
            Self::NotPinning(_) | Self::StateHash { .. } | Self::Disagrees { .. } => {
                "genesis and snapshot do not belong together: the lead must sign the right pair"
            }
        };
        words.into()
    }
}

impl From<SignerError> for VerifyError {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::Foreign(key) => VerifyError::ForeignSigner(key),
            SignerError::Bad(key) => VerifyError::BadSignature(key),
        }
    }
}

impl From<VerifyError> for Error {
    fn from(error: VerifyError) -> Self {
        let what = format!("the manifest fails {}: {error}", error.step());
        let advice = error.advice();
        let made = match error {
            VerifyError::Rollback { .. } | VerifyError::Superseded { .. } => Error::refused(what),
            VerifyError::Genesis(source) => Error::verify(what).because(source),
            _ => Error::verify(what),
        };
        made.hint(advice)
    }
}

/// A manifest that passed steps 1 to 8; step 4 may have been put off, see [`VerifiedManifest::is_proposal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedManifest {
    signed: SignedManifest,
    id: Blake3Hash,
    bytes: Vec<u8>,
    signers: Signers,
}

/// Steps 1 to 8: everything that can be said without the files.
///
/// # Errors
/// The first step that fails.
pub fn verify(bytes: &[u8], policy: &TrustPolicy, now_unix_seconds: u64) -> Result<VerifiedManifest, VerifyError> {
    // 1. Size caps.
    if bytes.len() > limits::MANIFEST_SIZE_BYTES_MAX {
        return Err(VerifyError::TooLarge { size: bytes.len(), max: limits::MANIFEST_SIZE_BYTES_MAX });
    }
    // 2. Decoding.
    let signed = SignedManifest::decode(bytes).map_err(VerifyError::Decode)?;
    let (manifest, id) = (signed.manifest(), signed.id());
    // 3. Signature by a pinned key.
    let signers = signed.signers()?;
    if !signers.keys().any(|key| policy.keys.contains(key)) {
        let signers = signers.keys().copied().collect();
        return Err(VerifyError::NotPinned { pinned: policy.keys.clone(), signers });
    }
    // 4. Threshold of distinct keys.
    if !signers.weight().is_enough() && !policy.proposals {
        return Err(VerifyError::Threshold(signers.weight()));
    }
    // 5. Network.
    check_network(manifest, id, policy)?;
    // 6. Sequence.
    check_sequence(manifest, id, policy, now_unix_seconds)?;
    // 7. Not expired.
    if let Some(not_after) = manifest.not_after_unix_seconds.filter(|t| *t < now_unix_seconds) {
        return Err(VerifyError::Expired { not_after, now: now_unix_seconds });
    }
    // 8. Chunk ids merge to roots.
    for artifact in &manifest.artifacts {
        let got = chunk::merge(&artifact.layout, &artifact.chunk_ids);
        if got != artifact.root {
            return Err(VerifyError::Chunks { artifact: artifact.name, expected: artifact.root, got });
        }
    }
    Ok(VerifiedManifest { signed, id, bytes: bytes.to_vec(), signers })
}

fn check_network(manifest: &Manifest, id: Blake3Hash, policy: &TrustPolicy) -> Result<(), VerifyError> {
    if let Some(expected) = &policy.chain_id
        && *expected != manifest.network.new_chain_id
    {
        let got = manifest.network.new_chain_id.clone();
        return Err(VerifyError::OtherNetwork { expected: expected.clone(), got });
    }
    match policy.manifest_id {
        Some(expected) if expected != id => Err(VerifyError::OtherManifest { expected, got: id }),
        _ => Ok(()),
    }
}

fn check_sequence(manifest: &Manifest, id: Blake3Hash, policy: &TrustPolicy, now: u64) -> Result<(), VerifyError> {
    let (lead, sequence) = (manifest.trust.lead, manifest.sequence);
    policy.evidence.iter().try_for_each(|evidence| check_evidence(manifest, id, evidence, policy.allowed_rollback))?;
    let seen = policy.highest_sequence_seen.map(|(seen, _)| seen);
    if let Some(seen) = seen.filter(|seen| *seen > sequence && policy.allowed_rollback != Some(sequence)) {
        return Err(VerifyError::Rollback { seen, got: sequence });
    }
    if let Some((_, first)) = policy.highest_sequence_seen.filter(|(seen, first)| *seen == sequence && *first != id) {
        return Err(VerifyError::Equivocation { lead, sequence, first, second: id });
    }
    if sequence > now.saturating_add(limits::SEQUENCE_AHEAD_MAX.as_secs()) {
        return Err(VerifyError::FarFuture { sequence, now });
    }
    Ok(())
}

/// A part of step 6, which holds as long as a manifest is used: nothing that has become known ends it. What is newer may be passed
/// over by an operator who allows the manifest of `allowed_rollback` by its sequence.
///
/// # Errors
/// What is known against it.
pub fn check_evidence(
    manifest: &Manifest,
    id: Blake3Hash,
    evidence: &Evidence,
    allowed_rollback: Option<u64>,
) -> Result<(), VerifyError> {
    if !evidence.ends(manifest, id) {
        return Ok(());
    }
    let got = manifest.sequence;
    match evidence {
        Evidence::Equivocation(proof) if proof.sequence() == got => {
            Err(VerifyError::KnownEquivocation { lead: *proof.lead(), sequence: got })
        }
        Evidence::Revocation(revoked) => Err(VerifyError::Revoked { by: revoked.signers().copied().collect() }),
        Evidence::Issue(other) if other.sequence() == got => {
            let (lead, first) = (manifest.trust.lead, other.manifest_id());
            Err(VerifyError::Equivocation { lead, sequence: got, first, second: id })
        }
        _ if allowed_rollback == Some(got) => Ok(()),
        Evidence::Equivocation(proof) => Err(VerifyError::Rollback { seen: proof.sequence(), got }),
        Evidence::Issue(newer) => {
            Err(VerifyError::Superseded { newer: newer.manifest_id(), sequence: newer.sequence(), got })
        }
        Evidence::Certificate(_) | Evidence::Exclusion(_) => Ok(()),
    }
}

impl VerifiedManifest {
    /// What the manifest says.
    pub fn manifest(&self) -> &Manifest {
        self.signed.manifest()
    }

    /// Whether it lacks signatures that its rules ask for, and was taken all the same.
    pub fn is_proposal(&self) -> bool {
        !self.signers.weight().is_enough()
    }

    /// The manifest with its signatures.
    pub fn signed(&self) -> &SignedManifest {
        &self.signed
    }

    /// The manifest's id.
    pub fn id(&self) -> Blake3Hash {
        self.id
    }

    /// The bytes that were verified, to be passed on unchanged.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who signed it.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Steps 9 and 10: the genesis is the manifest's, kwild would start on it, and it says what the manifest says.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn check_genesis(&self, genesis_bytes: &[u8]) -> Result<Genesis, VerifyError> {
        let expected = self.manifest().artifact(ArtifactName::Genesis).root;
        let got = Blake3Hash::from_bytes(*blake3::hash(genesis_bytes).as_bytes());
        if got != expected {
            return Err(VerifyError::OtherGenesis { expected, got });
        }
        // 9. Genesis parses and lints.
        let genesis = Genesis::parse(genesis_bytes).map_err(|e| VerifyError::Genesis(Box::new(e)))?;
        genesis.check().map_err(|e| VerifyError::Genesis(Box::new(e)))?;
        // 10. Genesis pins the same state hash.
        check_state(self.manifest(), &genesis)?;
        Ok(genesis)
    }
}

fn check_state(manifest: &Manifest, genesis: &Genesis) -> Result<(), VerifyError> {
    let expected = manifest.state_hash;
    match genesis.state_hash() {
        None => return Err(VerifyError::NotPinning(expected)),
        Some(got) if got != expected => return Err(VerifyError::StateHash { expected, got }),
        Some(_) => {}
    }
    let agree = |what, manifest: String, genesis: String| match manifest == genesis {
        true => Ok(()),
        false => Err(VerifyError::Disagrees { what, manifest: escape(&manifest), genesis: escape(&genesis) }),
    };
    agree("family", manifest.network.family.to_string(), genesis.family().to_string())?;
    agree("chain id", manifest.network.new_chain_id.clone(), genesis.chain_id().to_owned())?;
    let leader = |key: Option<&PublicKey>| key.map_or_else(|| "none".to_owned(), ToString::to_string);
    agree("leader", leader(manifest.new_leader.as_ref()), leader(genesis.leader()))?;
    let validators = super::genesis_validators(genesis).map_err(|e| VerifyError::Genesis(Box::new(e)))?;
    let list = |validators: &[Validator]| {
        let each: Vec<_> = validators.iter().map(|v| format!("{} with power {}", v.key, v.power)).collect();
        each.join(", ")
    };
    if validators != manifest.new_validators {
        // Which one differs says more than two long lists.
        let only = |a: &[Validator], b: &[Validator]| {
            let rest: Vec<_> = a.iter().filter(|v| !b.contains(v)).copied().collect();
            if rest.is_empty() { "nothing more".to_owned() } else { escape(&list(&rest)) }
        };
        return Err(VerifyError::Disagrees {
            what: "validator set",
            manifest: only(&manifest.new_validators, &validators),
            genesis: only(&validators, &manifest.new_validators),
        });
    }
    Ok(())
}
