//! Signs the files of a snapshot directory, and checks a manifest with the files it names.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kwil_formats::{
    dump::digest::TextDigest,
    formats::{
        Family, GENESIS_FILE_NAME, Validator,
        config::{PeerAddress, add_peers},
        genesis::Genesis,
        key::{PrivateKey, PublicKey},
    },
    judge::collation::Collation,
};
use rand::TryRngCore;
use zeroize::Zeroizing;

use super::{source::Source, state::StateDirectory};
use crate::{
    base::{
        Context, Error, Next, Notice, Progress, Result, Sha256Hash, clock, durable, files::read_bounded, limits,
        task::CancellationToken, text,
    },
    manifest::{
        Artifact, ArtifactDescription, ArtifactHasher, ArtifactName, Attestations, Layout, MANIFEST_FILE_NAME,
        Manifest, Network, SignedManifest, StateDigest, Threshold, Ticket, TrustPolicy, TrustRules, VerifiedManifest,
        genesis_validators,
    },
    setup,
    snapshot::{
        SnapshotFacts,
        digest::{Digest as StateDigestOf, check_signed, spill_directory},
        read_snapshot,
    },
    store::PrivateDirectory,
};

/// What the lead decides when it signs.
#[derive(Debug, Clone)]
pub struct SignOptions {
    /// `None`: one more than the last, and at least the time.
    pub sequence: Option<u64>,
    /// After this time the manifest is refused; `None`: never.
    pub expires: Option<Duration>,
    /// Whose signatures make the manifest count.
    pub threshold: Threshold,
    /// Who may sign beside the lead, where not the old network's power counts.
    pub cosigners: Vec<PublicKey>,
    /// What the old network must have said; `None`: what it itself needed to go on, where it had more than one validator.
    pub attestations: Option<Attestations>,
    /// Makes a new manifest even where nothing changed.
    pub supersede: bool,
    /// Validators of the old network with their power, where the lead knows them.
    pub old_validators: Vec<Validator>,
    /// The key that led the old network (v0.10), where the lead knows it; `None`: as the new genesis has it.
    pub old_leader: Option<PublicKey>,
    /// The old chain id, where the lead knows it.
    pub old_chain_id: Option<String>,
    /// Last block of the old chain; `None`: as the snapshot's last line has it.
    pub height: Option<i64>,
    /// Digest the state, so that validators can compare it with their own databases.
    pub digest: bool,
    /// The validators that the state had, where the lead has them from its database; otherwise the genesis'.
    pub state_validators: Vec<Validator>,
    /// Major versions of the server and of pg_dump, where the lead knows them.
    pub majors: Option<(u32, u32)>,
    /// Where nodes of the new network are dialled, as the lead says it: `id@host:port`.
    pub node_addresses: Vec<String>,
    /// What the old root says of itself and its peers, in the same form; only validators of the new genesis are taken.
    pub old_addresses: Vec<String>,
    /// How the old database orders text, where the lead knows it.
    pub collation: Option<Collation>,
}

impl Default for SignOptions {
    fn default() -> Self {
        SignOptions {
            sequence: None,
            expires: None,
            threshold: Threshold::Count(1),
            cosigners: Vec::new(),
            attestations: None,
            supersede: false,
            old_validators: Vec::new(),
            old_leader: None,
            old_chain_id: None,
            height: None,
            digest: true,
            state_validators: Vec::new(),
            majors: None,
            node_addresses: Vec::new(),
            old_addresses: Vec::new(),
            collation: None,
        }
    }
}

/// What signing made, or found unchanged.
#[derive(Debug, Clone)]
pub struct SignedDirectory {
    /// `manifest.regenesis`.
    pub path: PathBuf,
    /// What lies in it.
    pub manifest: SignedManifest,
    /// Nothing had changed: it is the one that was there.
    pub reused: bool,
    /// The snapshot that it describes, as it was written or read just now.
    pub snapshot: SnapshotFacts,
}

impl SignedDirectory {
    /// A ticket that identifies the manifest: no address, no secret. Those who serve add theirs.
    pub fn ticket(&self) -> Ticket {
        ticket(&self.manifest)
    }
}

/// A ticket that identifies the manifest: no address, no secret.
pub fn ticket(signed: &SignedManifest) -> Ticket {
    let manifest = signed.manifest();
    Ticket {
        new_chain_id: manifest.network.new_chain_id.clone(),
        manifest_id: signed.id(),
        lead: manifest.trust.lead,
        policy: manifest.trust.clone(),
        secret: None,
        addresses: Vec::new(),
    }
}

/// The warning that everyone gets where a manifest asks for no attestation.
pub const NO_ATTESTATIONS: &str =
    "ATTESTATIONS: NONE. No validator of the old network has to confirm this state: it is the lead's word alone";

/// Signs genesis and snapshot in `dir`, and makes the swarm's secret if there is none. `written`: what is known of a snapshot
/// that was just written there; otherwise the file is read.
///
/// # Errors
/// When a file is missing or no snapshot, when the genesis does not pin it, or when the directory is in use.
pub fn sign(
    dir: &Path,
    written: Option<&SnapshotFacts>,
    key: &PrivateKey,
    options: &SignOptions,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<SignedDirectory> {
    let genesis_path = dir.join(GENESIS_FILE_NAME);
    let genesis_bytes = read_bounded(&genesis_path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")
        .map_err(|e| e.hint(Next::GiveSnapdir))?;
    let genesis = Genesis::parse(&genesis_bytes)?;
    genesis.check()?;
    let private = PrivateDirectory::lock(dir)?;

    let snapshot_path = dir.join(genesis.family().snapshot_file_name());
    let snapshot = match written {
        Some(written) => written.clone(),
        None => {
            progress.step("reading the snapshot");
            let spill = options.digest.then_some(dir);
            read_snapshot(&snapshot_path, None, spill, progress, cancel)?
        }
    };
    check_pins(&genesis, &genesis_path, snapshot.state_hash)?;
    if !snapshot.guarded {
        return Err(unguarded(&snapshot_path, &genesis_path));
    }

    let options = &with_source(options, &Source::read(snapshot.state_hash), genesis.family());
    let height = options.height.or(snapshot.height).ok_or_else(|| {
        Error::verify(format!("{} does not say at which height it was made", snapshot_path.display()))
            .hint(Next::MakeSnapshotOrHeight)
    })?;
    let now = clock::unix_seconds();
    let genesis_file = describe(&genesis_bytes)?;
    let mut candidate = candidate(&genesis, genesis_file, &snapshot, height, key.public(), options, now)?;
    candidate.node_addresses = node_addresses(&genesis, options, progress)?;
    let path = dir.join(MANIFEST_FILE_NAME);
    let seen = state.seen(&candidate.network.new_chain_id, &key.public())?;
    let there = manifest_there(&path, &candidate, progress)?;
    // The old network is the same one, also where the new one's id was edited.
    let before = there.as_ref().map(SignedManifest::manifest).filter(|m| m.state_hash == candidate.state_hash);
    if let Some(before) = before {
        carry_over(&mut candidate, before, options);
    }
    let leader = old_leader(options, before).or_else(|| genesis.leader().copied());
    set_rule(&mut candidate, options, leader.as_ref(), snapshot.digest.is_some(), progress);
    if let Some(text) = &snapshot.digest {
        candidate.state_digest = Some(state_digest(text, options, &candidate, before));
    }
    let existing = there.filter(|there| there.manifest().network.new_chain_id == candidate.network.new_chain_id);
    if let Some(existing) = &existing
        && !options.supersede
        && is_unchanged(existing.manifest(), &candidate, options, now)
        && seen.highest().is_none_or(|highest| highest <= existing.manifest().sequence)
        && !seen.evidence.iter().any(|known| known.ends(existing.manifest(), existing.id()))
    {
        swarm_secret(&private)?;
        state.remember(&existing.to_bytes())?;
        tell_lacking(existing, progress);
        return Ok(SignedDirectory { path, manifest: existing.clone(), reused: true, snapshot });
    }
    let last = existing.as_ref().map(|e| e.manifest().sequence).max(seen.highest());
    candidate.sequence = next_sequence(options.sequence, last, now)?;
    candidate.supersedes = existing.as_ref().map(SignedManifest::id);
    let signed = candidate.sign(key).map_err(|e| {
        Error::usage("this manifest would be refused by everyone").because(e).hint("correct the flags named there")
    })?;
    swarm_secret(&private)?;
    let bytes = signed.to_bytes();
    durable::write_atomically(&path, &bytes, 0o644)?;
    state.remember(&bytes)?;
    tell_lacking(&signed, progress);
    Ok(SignedDirectory { path, manifest: signed, reused: false, snapshot })
}

/// Says that others must sign, too, where they must.
fn tell_lacking(signed: &SignedManifest, progress: &Progress) {
    let weight = signed.signers().ok().map(|signers| signers.weight());
    if let Some(weight) = weight.filter(|weight| !weight.is_enough()) {
        let text = format!("the manifest has {weight}: co-signers must sign it, too");
        progress.warning(Notice::from(text).next(Next::Cosign));
    }
}

/// What an earlier manifest of the same text knew of the old network and is not told now, as with `publish --dir` after a
/// genesis was edited.
fn carry_over(candidate: &mut Manifest, before: &Manifest, options: &SignOptions) {
    if candidate.network.old_chain_id.is_none() {
        candidate.network.old_chain_id = before.network.old_chain_id.clone();
    }
    if candidate.old_validators.is_empty() {
        candidate.old_validators = before.old_validators.clone();
    }
    if options.height.is_none() {
        candidate.network.height = before.network.height;
    }
    if candidate.node_addresses.is_empty() {
        candidate.node_addresses = before.node_addresses.clone();
    }
    if candidate.collation.is_none() {
        candidate.collation = before.collation.clone();
    }
}

/// The lead's options, filled with what was kept beside the snapshot where the lead says nothing now.
fn with_source(options: &SignOptions, source: &Source, family: Family) -> SignOptions {
    let mut options = options.clone();
    options.old_chain_id = options.old_chain_id.or_else(|| source.old_chain_id.clone());
    // Those of the database itself: an old genesis has the ones that the network began with.
    if !source.old_validators().is_empty() {
        options.old_validators = source.old_validators().to_vec();
        options.old_leader = source.old_leader;
    }
    options.majors = options.majors.or(source.majors);
    options.collation = options.collation.or_else(|| source.collation.clone());
    if options.old_addresses.is_empty() {
        options.old_addresses = source.node_addresses(family).iter().map(ToString::to_string).collect();
    }
    options
}

/// What is signed, as far as genesis, snapshot and options say it, without sequence and digest.
fn candidate(
    genesis: &Genesis,
    genesis_file: ArtifactDescription,
    snapshot: &SnapshotFacts,
    height: i64,
    lead: PublicKey,
    options: &SignOptions,
    now: u64,
) -> Result<Manifest> {
    let mut candidate = Manifest {
        network: Network {
            family: genesis.family(),
            old_chain_id: options.old_chain_id.clone(),
            new_chain_id: genesis.chain_id().to_owned(),
            height,
        },
        sequence: 0,
        created_unix_seconds: now,
        not_after_unix_seconds: options.expires.map(|e| now.saturating_add(e.as_secs())),
        artifacts: vec![
            Artifact::new(ArtifactName::Genesis, genesis_file),
            Artifact::new(ArtifactName::Snapshot, snapshot.description.clone()),
        ],
        state_hash: snapshot.state_hash,
        text_size_bytes: snapshot.text_size_bytes,
        state_digest: None,
        old_validators: sorted(&options.old_validators),
        new_validators: genesis_validators(genesis)?,
        trust: TrustRules {
            lead,
            threshold: options.threshold,
            cosigners: options.cosigners.clone(),
            attestations: Attestations::None,
        },
        supersedes: None,
        node_addresses: Vec::new(),
        collation: options.collation.clone(),
        new_leader: genesis.leader().copied(),
    };
    candidate.trust.cosigners.sort();
    candidate.trust.cosigners.dedup();
    Ok(candidate)
}

/// Where the new network's nodes are: as the lead says; what an old root said only of validators of the new genesis.
fn node_addresses(genesis: &Genesis, options: &SignOptions, progress: &Progress) -> Result<Vec<PeerAddress>> {
    let family = genesis.family();
    let ids: Vec<String> = genesis.validators()?.iter().map(|validator| validator.key.node_id(family)).collect();
    let is_validator = |peer: &PeerAddress| ids.iter().any(|id| id == peer.id());
    let mut given = Vec::new();
    for text in &options.node_addresses {
        let peer = PeerAddress::parse(family, text.trim()).map_err(|e| {
            let example = match family {
                Family::V09 => "56475aa75463474c0285df5dbf2bcab73da65135@203.0.113.5:26656",
                Family::V010 => "02ab…#secp256k1@203.0.113.5:6600",
            };
            Error::usage(format!("{} is no node's address: {e}", text::escape(text)))
                .hint(format!("write it like {example}"))
        })?;
        if !is_validator(&peer) {
            let text = format!("{peer} is no validator of the new genesis: joins leave it out");
            progress.warning(Notice::from(text).next(Next::AllPeers));
        }
        given.push(peer);
    }
    let old = options.old_addresses.iter().filter_map(|text| PeerAddress::parse(family, text).ok());
    let mut all = Vec::new();
    add_peers(&mut all, given.into_iter().chain(old.filter(is_validator)));
    all.sort();
    if ids.len() > 1 && all.is_empty() {
        let text = "the manifest names no node's address: the validators hear each other's while they join";
        progress.note(Notice::from(text).next(Next::NameNodeAddress));
    }
    Ok(all)
}

/// Who led the old network, as far as the lead knows or an earlier manifest of the same text said: the new genesis may name another.
fn old_leader(options: &SignOptions, before: Option<&Manifest>) -> Option<PublicKey> {
    let in_rule = |manifest: &Manifest| match manifest.trust.attestations {
        Attestations::LeaderAndMajority { leader } => Some(leader),
        _ => None,
    };
    options.old_leader.or_else(|| before.and_then(in_rule))
}

/// Puts in what must be attested, as the lead says it or as the old network was.
fn set_rule(
    candidate: &mut Manifest,
    options: &SignOptions,
    leader: Option<&PublicKey>,
    is_digested: bool,
    progress: &Progress,
) {
    candidate.trust.attestations = match &options.attestations {
        Some(rule) => rule.clone(),
        None => attestations_of(candidate, leader, is_digested),
    };
    if candidate.trust.attestations == Attestations::None && candidate.old_validators.len() != 1 {
        progress.warning(NO_ATTESTATIONS);
    }
}

/// What the old network itself needed to go on: v0.9 more than two thirds of the power, v0.10 its leader and more than half.
/// Nothing where it had one validator, is not known, or nobody could compare the state.
fn attestations_of(candidate: &Manifest, leader: Option<&PublicKey>, is_digested: bool) -> Attestations {
    let old = &candidate.old_validators;
    if old.len() < 2 || !is_digested {
        return Attestations::None;
    }
    match (candidate.network.family, leader) {
        (Family::V09, _) => Attestations::PowerOver { numerator: 2, denominator: 3 },
        (Family::V010, Some(leader)) if old.iter().any(|validator| validator.key == *leader) => {
            Attestations::LeaderAndMajority { leader: *leader }
        }
        (Family::V010, _) => Attestations::PowerOver { numerator: 1, denominator: 2 },
    }
}

/// The digest of the text with the validators that the state had: those of the database it came from, else those of the old
/// network as far as they are known, else those of the genesis.
fn state_digest(
    text: &TextDigest,
    options: &SignOptions,
    candidate: &Manifest,
    before: Option<&Manifest>,
) -> StateDigest {
    let signed = before.and_then(|m| m.state_digest.as_ref());
    let old = &candidate.old_validators;
    let validators = match (options.state_validators.as_slice(), old.as_slice()) {
        ([], []) => &candidate.new_validators,
        ([], _) => old,
        (_, _) => &options.state_validators,
    };
    let known = signed.map(|signed| (signed.server_major, signed.dump_major)).filter(|majors| *majors != (0, 0));
    let mut digest = StateDigestOf::new(text, validators);
    (digest.server_major, digest.dump_major) = options.majors.or(known).unzip();
    digest.to_manifest()
}

fn sorted(validators: &[Validator]) -> Vec<Validator> {
    let mut sorted = validators.to_vec();
    sorted.sort_by_key(|v| v.key);
    sorted
}

fn describe(bytes: &[u8]) -> Result<ArtifactDescription> {
    let layout = Layout::for_size(bytes.len() as u64).or_verify(|| "the genesis cannot be described")?;
    let mut hasher = ArtifactHasher::default();
    hasher.update(bytes);
    hasher.finish(layout).or_failed(|| "the genesis cannot be described")
}

fn check_pins(genesis: &Genesis, path: &Path, state_hash: Sha256Hash) -> Result<()> {
    let says = match genesis.state_hash() {
        Some(pinned) if pinned == state_hash => return Ok(()),
        Some(pinned) => format!("pins state hash {pinned}"),
        None => "pins no state hash".to_owned(),
    };
    Err(Error::verify(format!("{} {says}, but the snapshot beside it has {state_hash}", path.display()))
        .hint(Next::PairOfOneSnapshot))
}

/// Nobody could join on it.
fn unguarded(snapshot: &Path, genesis: &Path) -> Error {
    Error::verify(format!("{} has no guard, so every join would refuse it", snapshot.display()))
        .hint(Next::GuardSnapshot { snapshot: setup::shell_path(snapshot), genesis: setup::shell_path(genesis) })
}

/// The manifest of the same lead that lies there. That of another network is not continued, but tells of the old one; another
/// lead's says nothing that this lead would sign, and an unreadable one is replaced.
fn manifest_there(path: &Path, candidate: &Manifest, progress: &Progress) -> Result<Option<SignedManifest>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
    match SignedManifest::decode(&bytes) {
        Err(e) => progress.warning(format!("{} cannot be read and is replaced: {e}", path.display())),
        Ok(existing) if existing.signers().is_err() => {
            progress.warning(format!("{} has a signature that does not hold and is replaced", path.display()));
        }
        Ok(existing) => {
            let (network, trust) = (&existing.manifest().network, &existing.manifest().trust);
            let is_ours = trust.lead == candidate.trust.lead;
            if !is_ours || network.new_chain_id != candidate.network.new_chain_id {
                progress.warning(format!(
                    "{} was for network {} by {} and is replaced",
                    path.display(),
                    text::escape(&network.new_chain_id),
                    trust.lead
                ));
            }
            return Ok(is_ours.then_some(existing));
        }
    }
    Ok(None)
}

/// Whether signing `candidate` would say nothing that `existing` does not.
fn is_unchanged(existing: &Manifest, candidate: &Manifest, options: &SignOptions, now: u64) -> bool {
    let lifetime = existing.not_after_unix_seconds.map(|t| t.saturating_sub(existing.created_unix_seconds));
    let same = Manifest {
        sequence: existing.sequence,
        created_unix_seconds: existing.created_unix_seconds,
        not_after_unix_seconds: existing.not_after_unix_seconds,
        supersedes: existing.supersedes,
        ..candidate.clone()
    };
    same == *existing
        && lifetime == options.expires.map(|e| e.as_secs())
        && existing.not_after_unix_seconds.is_none_or(|t| t > now)
        && options.sequence.is_none_or(|s| s == existing.sequence)
}

/// `max(last + 1, UNIX seconds)`, or the one asked for.
fn next_sequence(asked: Option<u64>, last: Option<u64>, now: u64) -> Result<u64> {
    let after_last = last.map_or(0, |l| l.saturating_add(1));
    let sequence = asked.unwrap_or(after_last.max(now));
    if sequence < after_last {
        return Err(Error::refused(format!(
            "sequence {sequence} is not above {}, which was signed before",
            after_last - 1
        ))
        .hint(Next::LeaveSequenceOut));
    }
    if sequence > now.saturating_add(limits::SEQUENCE_AHEAD_MAX.as_secs()) {
        return Err(Error::refused(format!("sequence {sequence} is more than a day ahead of this machine's clock"))
            .hint(Next::SequenceNearNow));
    }
    Ok(sequence)
}

/// The swarm's secret of a directory: made once, used again by every later seed.
///
/// # Errors
/// When it cannot be read or made, or is damaged.
pub fn swarm_secret(private: &PrivateDirectory) -> Result<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    if let Some(bytes) = private.read(durable::SECRET_FILE_NAME)?.map(Zeroizing::new) {
        if bytes.len() != secret.len() {
            let path = private.file(durable::SECRET_FILE_NAME);
            return Err(Error::verify(format!("the swarm secret {} is damaged", path.display()))
                .hint("remove it to get a new one; tickets given out before then no longer open the swarm"));
        }
        secret.copy_from_slice(&bytes);
    } else {
        rand::rngs::OsRng.try_fill_bytes(&mut *secret).or_failed(|| "the system gives no randomness")?;
        private.write(durable::SECRET_FILE_NAME, &*secret)?;
    }
    Ok(secret)
}

/// What `verify` found, beyond that every step passed.
#[derive(Debug)]
pub struct Checked {
    /// The manifest.
    pub manifest: VerifiedManifest,
    /// The genesis that was checked, if one was given.
    pub genesis: Option<PathBuf>,
    /// The snapshot that was checked, if one was given.
    pub snapshot: Option<PathBuf>,
}

/// Checks a manifest step by step; steps 9 and 10 and the snapshot where their files are given.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn verify(
    bytes: &[u8],
    policy: &TrustPolicy,
    genesis: Option<&Path>,
    snapshot: Option<&Path>,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Checked> {
    let verified = state.verify(bytes, policy, clock::unix_seconds())?;
    if let Some(path) = genesis {
        verified.check_genesis(&read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?)?;
    }
    if let Some(path) = snapshot {
        check_snapshot(&verified, path, progress, cancel)?;
    }
    let path = |p: Option<&Path>| p.map(Path::to_owned);
    Ok(Checked { manifest: verified, genesis: path(genesis), snapshot: path(snapshot) })
}

fn check_snapshot(
    verified: &VerifiedManifest,
    path: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let manifest = verified.manifest();
    let artifact = manifest.artifact(ArtifactName::Snapshot);
    let wrong = |what: &str, got: String, expected: String| {
        Err(Error::verify(format!(
            "{} is not the manifest's snapshot: its {what} is {got}, not {expected}",
            path.display()
        ))
        .hint("fetch it again, or give the file that belongs to this manifest"))
    };
    let size = std::fs::metadata(path).or_failed(|| format!("cannot read the snapshot {}", path.display()))?.len();
    if size != artifact.layout.size_bytes() {
        return wrong("size", format!("{size} bytes"), artifact.layout.size_bytes().to_string());
    }
    let spill = spill_directory();
    let spill = manifest.state_digest.as_ref().map(|_| &*spill);
    let facts = read_snapshot(path, Some(artifact.layout), spill, progress, cancel)?;
    if facts.description.root != artifact.root {
        return wrong("BLAKE3", facts.description.root.to_string(), artifact.root.to_string());
    }
    if facts.description.sha256 != artifact.sha256 {
        return wrong("SHA-256", facts.description.sha256.to_string(), artifact.sha256.to_string());
    }
    if facts.state_hash != manifest.state_hash {
        return wrong("state hash", facts.state_hash.to_string(), manifest.state_hash.to_string());
    }
    if facts.text_size_bytes != manifest.text_size_bytes {
        return wrong("text size", facts.text_size_bytes.to_string(), manifest.text_size_bytes.to_string());
    }
    match &facts.digest {
        Some(text) => check_signed(text, manifest),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
