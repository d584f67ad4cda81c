//! `manifest sign`, `manifest show`, `manifest verify`.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use kwil_formats::{
    formats::{GENESIS_FILE_NAME, Validator, config::PeerAddress, genesis::Genesis, key::PublicKey},
    judge::collation::Collation,
};
use serde::Serialize;

use super::{Session, cosign::CosignArgs, revoke::RevokeArgs, ticket::TicketArgs};
use crate::{
    app::{
        files::read_private_key,
        manifest::{self as use_case, Checked, NO_ATTESTATIONS, SignOptions, SignedDirectory},
        publish,
        state::StateDirectory,
    },
    base::{Blake3Hash, Error, Result, Sha256Hash, files::read_bounded, limits, text},
    manifest::{ArtifactName, Attestations, MANIFEST_FILE_NAME, SignedManifest, Step, Threshold, TrustPolicy},
};

/// Commands about the manifest.
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Sign the genesis and snapshot of a directory
    Sign(Box<SignArgs>),
    /// Add a co-signer's signature to a manifest that its lead has signed
    Cosign(Box<CosignArgs>),
    /// Take a manifest back: it counts no more once as many have signed that as it needed
    Revoke(RevokeArgs),
    /// Say in words what a manifest says; nothing is verified
    Show(ShowArgs),
    /// Check a manifest step by step, and the files it names
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Directory with genesis.json and the snapshot; manifest.regenesis is written there
    #[arg(long, value_name = "DIR", default_value = "kwild-snaps")]
    snapdir: PathBuf,
    /// Private key of the lead, in either family's form
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Genesis of the old network: its chain id and validators go into the manifest
    #[arg(long, value_name = "FILE")]
    old_genesis: Option<PathBuf>,
    /// Root of a node of the old network: its genesis, unless that is named, and where its nodes are go into the manifest
    #[arg(long, value_name = "DIR")]
    from_root: Option<PathBuf>,
    /// Last block of the old chain [default: as the snapshot says]
    #[arg(long, value_name = "N")]
    height: Option<i64>,
    /// Leave out the state digest: validators cannot confirm the state from their own databases
    #[arg(long)]
    no_digest: bool,
    #[command(flatten)]
    flags: SignFlags,
}

/// What the lead decides when it signs; also part of `publish`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifest")]
pub(crate) struct SignFlags {
    /// Number of the manifest; later ones replace earlier ones [default: one more than the last, at least the UNIX time]
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Refused after this time, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// How many distinct keys of lead and co-signers must have signed; or as a fraction: validators of the old network with more
    /// than that part of its power, and no co-signers are named
    #[arg(long, value_name = "N|2/3", default_value = "1")]
    threshold: Threshold,
    /// Key that may sign beside the lead, as HEX#TYPE (repeatable)
    #[arg(long = "cosigner", value_name = "PUB")]
    cosigners: Vec<PublicKey>,
    /// What validators of the old network must confirm, from their own databases, before anyone sets a root up [default: what
    /// the old network needed to go on, where it had several validators]
    #[arg(long, value_name = "none|majority|2/3|N")]
    attestations: Option<Attestations>,
    /// Where a node of the new network is dialled, as its family writes it: v0.9 NODEID@HOST:PORT, v0.10 HEX#TYPE@HOST:PORT
    /// (repeatable) [default: what the old root's config.toml says of itself and of its peers]
    #[arg(long = "node-address", value_name = "ID@HOST:PORT")]
    node_addresses: Vec<String>,
    /// Sign again even where nothing changed; the new manifest replaces the old one
    #[arg(long)]
    supersede: bool,
    #[command(flatten)]
    state: StateArgs,
}

impl SignFlags {
    /// The options, before anything is known of the old network.
    pub(crate) fn options(&self) -> SignOptions {
        SignOptions {
            sequence: self.sequence,
            expires: self.expires,
            threshold: self.threshold,
            cosigners: self.cosigners.clone(),
            attestations: self.attestations.clone(),
            supersede: self.supersede,
            node_addresses: self.node_addresses.clone(),
            ..SignOptions::default()
        }
    }

    /// The directory where the highest sequence of each network is remembered.
    pub(crate) fn state(&self) -> Result<StateDirectory> {
        self.state.open()
    }
}

/// Where the highest sequences are remembered.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Where the newest manifest of each network is remembered [default: the XDG state directory]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// Opens the directory where the highest sequence of each network is remembered.
    pub(crate) fn open(&self) -> Result<StateDirectory> {
        StateDirectory::new(self.state_dir.as_deref())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The manifest, or the directory it lies in
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The manifest, or the directory it lies in
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Key that must have signed, as HEX#TYPE; one of several suffices (repeatable)
    #[arg(long, value_name = "PUB")]
    trust: Vec<PublicKey>,
    #[command(flatten)]
    ticket: TicketArgs,
    /// Chain id that the new network must have
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Checks genesis and snapshot in this directory, too
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Checks this genesis
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Checks this snapshot
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

impl ManifestCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        // Hashing a snapshot takes long: the signal handlers run on.
        match self {
            ManifestCommand::Sign(args) => tokio::task::block_in_place(|| sign(&args, session)),
            ManifestCommand::Cosign(args) => args.run(session).await,
            ManifestCommand::Revoke(args) => args.run(session),
            ManifestCommand::Show(args) => show_manifest(args, session),
            ManifestCommand::Verify(args) => tokio::task::block_in_place(|| verify(args, session)),
        }
    }
}

fn sign(args: &SignArgs, session: &Session) -> Result<()> {
    let key = read_private_key(&args.key)?;
    let old = match &args.old_genesis {
        None => None,
        Some(path) => Some(
            Genesis::parse(&read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "old genesis")?).map_err(Error::from)?,
        ),
    };
    let old = publish::OldNetwork { genesis: old, root: args.from_root.clone() };
    let options = old.tell(args.flags.options(), &session.progress)?;
    let options = SignOptions { height: args.height, digest: !args.no_digest, ..options };
    let state = args.flags.state()?;
    let signed = use_case::sign(&args.snapdir, None, &key, &options, &state, &session.progress, &session.cancel)?;
    if signed.manifest.manifest().trust.attestations == Attestations::None {
        session.progress.note(NO_ATTESTATIONS);
    }
    session.output.result(&SignResult::new(&signed)?)
}

#[derive(Debug, Serialize)]
struct SignResult {
    manifest: PathBuf,
    id: Blake3Hash,
    ticket: String,
    sequence: u64,
    reused: bool,
}

impl SignResult {
    fn new(signed: &SignedDirectory) -> Result<Self> {
        Ok(SignResult {
            manifest: signed.path.clone(),
            id: signed.manifest.id(),
            ticket: signed.ticket().to_text()?,
            sequence: signed.manifest.manifest().sequence,
            reused: signed.reused,
        })
    }
}

impl fmt::Display for SignResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.reused { "unchanged" } else { "signed" };
        writeln!(f, "{what}: {}", self.manifest.display())?;
        writeln!(f, "id        {}", self.id)?;
        writeln!(f, "sequence  {}", self.sequence)?;
        writeln!(f, "ticket    {}", self.ticket)?;
        writeln!(f, "          (identifies the manifest only; `regenesis seed` prints the one to join with)")
    }
}

/// The bytes of a manifest's file, also when the directory that holds it was named.
fn read_manifest(path: &Path) -> Result<Vec<u8>> {
    let path = if path.is_dir() { path.join(MANIFEST_FILE_NAME) } else { path.to_owned() };
    read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")
}

fn show_manifest(args: ShowArgs, session: &Session) -> Result<()> {
    let bytes = read_manifest(&args.manifest)?;
    let signed = SignedManifest::decode(&bytes).map_err(|e| Error::from(crate::manifest::VerifyError::Decode(e)))?;
    session.output.result(&ShowResult::new(&signed))
}

#[derive(Debug, Serialize)]
struct ArtifactShown {
    name: ArtifactName,
    file: &'static str,
    size_bytes: u64,
    root: Blake3Hash,
    sha256: Sha256Hash,
    chunk_size_bytes: u64,
    chunks: u32,
}

#[derive(Debug, Serialize)]
struct SignatureShown {
    key: PublicKey,
    role: &'static str,
}

#[derive(Debug, Serialize)]
struct ShowResult {
    id: Blake3Hash,
    family: String,
    old_chain_id: Option<String>,
    new_chain_id: String,
    height: i64,
    sequence: u64,
    created_unix_seconds: u64,
    not_after_unix_seconds: Option<u64>,
    supersedes: Option<Blake3Hash>,
    artifacts: Vec<ArtifactShown>,
    state_hash: Sha256Hash,
    text_size_bytes: u64,
    state_digest: Option<Blake3Hash>,
    schema_digest: Option<Blake3Hash>,
    tables: usize,
    old_validators: Vec<Validator>,
    new_validators: Vec<Validator>,
    node_addresses: Vec<PeerAddress>,
    collation: Option<Collation>,
    lead: PublicKey,
    threshold: Threshold,
    cosigners: Vec<PublicKey>,
    attestations: String,
    signatures: Vec<SignatureShown>,
    signatures_hold: bool,
}

impl ShowResult {
    fn new(signed: &SignedManifest) -> Self {
        let manifest = signed.manifest();
        let network = &manifest.network;
        let artifact = |a: &crate::manifest::Artifact| ArtifactShown {
            name: a.name,
            file: a.name.file_name(network.family),
            size_bytes: a.layout.size_bytes(),
            root: a.root,
            sha256: a.sha256,
            chunk_size_bytes: a.layout.chunk_size_bytes(),
            chunks: a.layout.chunk_count(),
        };
        let role = |key: &PublicKey| match key {
            key if *key == manifest.trust.lead => "lead",
            key if manifest.may_sign(key) => "co-signer",
            _ => "stranger",
        };
        ShowResult {
            id: signed.id(),
            family: network.family.to_string(),
            old_chain_id: network.old_chain_id.as_deref().map(text::escape),
            new_chain_id: text::escape(&network.new_chain_id),
            height: network.height,
            sequence: manifest.sequence,
            created_unix_seconds: manifest.created_unix_seconds,
            not_after_unix_seconds: manifest.not_after_unix_seconds,
            supersedes: manifest.supersedes,
            artifacts: manifest.artifacts.iter().map(artifact).collect(),
            state_hash: manifest.state_hash,
            text_size_bytes: manifest.text_size_bytes,
            state_digest: manifest.state_digest.as_ref().map(|d| d.digest),
            schema_digest: manifest.state_digest.as_ref().map(|d| d.schema_digest),
            tables: manifest.state_digest.as_ref().map_or(0, |d| d.tables.len()),
            old_validators: manifest.old_validators.clone(),
            new_validators: manifest.new_validators.clone(),
            node_addresses: manifest.node_addresses.clone(),
            collation: manifest.collation.clone(),
            lead: manifest.trust.lead,
            threshold: manifest.trust.threshold,
            cosigners: manifest.trust.cosigners.clone(),
            attestations: manifest.trust.attestations.to_string(),
            signatures: signed.signatures().iter().map(|s| SignatureShown { key: s.key, role: role(&s.key) }).collect(),
            signatures_hold: signed.signers().is_ok(),
        }
    }
}

fn validators(f: &mut fmt::Formatter<'_>, what: &str, validators: &[Validator]) -> fmt::Result {
    let total: u64 = validators.iter().map(|v| v.power).sum();
    writeln!(f, "\n{what}: {} with power {total}", text::count(validators.len() as u64, "validator"))?;
    for v in validators {
        let share = v.power as f64 * 100.0 / total.max(1) as f64;
        writeln!(f, "  {}  power {} ({share:.1}%)", v.key, v.power)?;
    }
    Ok(())
}

impl fmt::Display for ShowResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "manifest    {}", self.id)?;
        let old = self.old_chain_id.as_deref().unwrap_or("(old chain id not known)");
        writeln!(f, "network     {old} -> {} ({}), at height {}", self.new_chain_id, self.family, self.height)?;
        writeln!(f, "sequence    {}, made {}", self.sequence, text::time(self.created_unix_seconds))?;
        match self.not_after_unix_seconds {
            Some(t) => writeln!(f, "expires     {}", text::time(t))?,
            None => writeln!(f, "expires     never")?,
        }
        if let Some(id) = self.supersedes {
            writeln!(f, "replaces    {id}")?;
        }
        writeln!(f, "state hash  {} ({} of text)", self.state_hash, text::bytes(self.text_size_bytes))?;
        match self.state_digest {
            Some(digest) => writeln!(f, "digest      {digest} over {}", text::count(self.tables as u64, "table"))?,
            None => writeln!(f, "digest      none: validators cannot compare it with their own databases")?,
        }
        for a in &self.artifacts {
            let chunks = text::count(u64::from(a.chunks), "chunk");
            let chunk_size = text::bytes(a.chunk_size_bytes);
            writeln!(f, "\n{}", a.file)?;
            writeln!(
                f,
                "  size      {} bytes ({}), {chunks} of {chunk_size}",
                a.size_bytes,
                text::bytes(a.size_bytes)
            )?;
            writeln!(f, "  BLAKE3    {}", a.root)?;
            writeln!(f, "  SHA-256   {}", a.sha256)?;
        }
        validators(f, "new network", &self.new_validators)?;
        if self.old_validators.is_empty() {
            writeln!(f, "\nold network: validators not named")?;
        } else {
            validators(f, "old network", &self.old_validators)?;
        }
        match self.node_addresses.as_slice() {
            [] => writeln!(f, "\nno node's address is named")?,
            all => {
                writeln!(f, "\nnodes are dialled at")?;
                for address in all {
                    writeln!(f, "  {address}")?;
                }
            }
        }
        match &self.collation {
            Some(collation) => writeln!(
                f,
                "\nthe old database orders text by {} (encoding {}, PostgreSQL {})",
                collation.words(),
                text::escape(&collation.encoding),
                collation.server_major
            )?,
            None => writeln!(f, "\nhow the old database orders text is not known")?,
        }
        writeln!(f, "\ntrust")?;
        writeln!(f, "  lead        {}", self.lead)?;
        for key in &self.cosigners {
            writeln!(f, "  co-signer   {key}")?;
        }
        writeln!(f, "  needs       {}", self.threshold.words())?;
        for s in &self.signatures {
            writeln!(f, "  signed by   {} ({})", s.key, s.role)?;
        }
        if !self.signatures_hold {
            writeln!(f, "  NOT EVERY SIGNATURE HOLDS: this manifest was changed after it was signed")?;
        }
        match self.attestations.as_str() {
            "none" => writeln!(f, "  {NO_ATTESTATIONS}")?,
            rule => writeln!(f, "  attestations needed: {rule}")?,
        }
        writeln!(f, "\nNothing was verified: `regenesis manifest verify` does that.")
    }
}

fn verify(args: VerifyArgs, session: &Session) -> Result<()> {
    let bytes = read_manifest(&args.manifest)?;
    let mut policy = TrustPolicy { keys: args.trust, chain_id: args.chain_id, ..TrustPolicy::default() };
    if let Some(ticket) = args.ticket.read_if_given()? {
        policy.keys.push(ticket.lead);
        policy.manifest_id = Some(ticket.manifest_id);
        policy.chain_id.get_or_insert(ticket.new_chain_id);
    }
    if policy.keys.is_empty() {
        return Err(Error::usage("whose signature is to be trusted?").hint(
            "give --ticket-file FILE with the lead's ticket, or --trust HEX#TYPE with its key as the lead told you",
        ));
    }
    let (mut genesis, mut snapshot) = (args.genesis, args.snapshot);
    if let Some(dir) = &args.dir {
        genesis.get_or_insert_with(|| dir.join(GENESIS_FILE_NAME));
        // The name depends on the family, which an unreadable manifest does not tell: the steps below say so.
        if let Ok(signed) = SignedManifest::decode(&bytes) {
            let name = ArtifactName::Snapshot.file_name(signed.manifest().network.family);
            snapshot.get_or_insert_with(|| dir.join(name));
        }
    }
    let checked = use_case::verify(
        &bytes,
        &policy,
        genesis.as_deref(),
        snapshot.as_deref(),
        &args.state.open()?,
        &session.progress,
        &session.cancel,
    )?;
    session.output.result(&VerifyResult::new(&checked))
}

#[derive(Debug, Serialize)]
struct StepShown {
    number: usize,
    name: &'static str,
    /// Whether the step passed; `None` (in JSON null) where the file that it needs was not given.
    ok: Option<bool>,
}

#[derive(Debug, Serialize)]
struct VerifyResult {
    ok: bool,
    id: Blake3Hash,
    chain_id: String,
    steps: Vec<StepShown>,
    genesis: Option<PathBuf>,
    snapshot: Option<PathBuf>,
    attestations: String,
}

impl VerifyResult {
    fn new(checked: &Checked) -> Self {
        let step = |step: Step| {
            let needs_genesis = matches!(step, Step::Genesis | Step::State);
            let ok = (!needs_genesis || checked.genesis.is_some()).then_some(true);
            StepShown { number: step.number(), name: step.name(), ok }
        };
        VerifyResult {
            ok: true,
            id: checked.manifest.id(),
            chain_id: text::escape(&checked.manifest.manifest().network.new_chain_id),
            steps: Step::ALL.into_iter().map(step).collect(),
            genesis: checked.genesis.clone(),
            snapshot: checked.snapshot.clone(),
            attestations: checked.manifest.manifest().trust.attestations.to_string(),
        }
    }
}

impl fmt::Display for VerifyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let word = if step.ok.is_some() { "ok" } else { "not checked: give --dir or --genesis" };
            writeln!(f, "{:2}  {:27} {word}", step.number, step.name)?;
        }
        match &self.snapshot {
            Some(path) => writeln!(f, "    {:27} ok: {}", "snapshot has its hashes", path.display())?,
            None => writeln!(f, "    {:27} not checked: give --dir or --snapshot", "snapshot has its hashes")?,
        }
        if self.attestations == "none" {
            writeln!(f, "{NO_ATTESTATIONS}")?;
        }
        writeln!(f, "ok: manifest {} for network {}", self.id, self.chain_id)
    }
}
