//! Attesting: a validator of the old network compares what the lead signed with its own old database, and says in a signed
//! statement whether they agree.

use std::{path::PathBuf, sync::Arc};

use kwil_formats::formats::{
    GENESIS_FILE_NAME,
    genesis::{Change, Genesis, NetworkState},
    key::{PrivateKey, PublicKey},
};
use serde::Serialize;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    base::{
        Blake3Hash, Context, Error, Next, Progress, Result, clock, durable, files::read_bounded, limits,
        task::CancellationToken, text,
    },
    database::Settings,
    manifest::{
        MANIFEST_FILE_NAME, Manifest, SignedManifest, VerifiedManifest, VerifyError,
        statement::{Attestation, DifferingPart},
    },
    snapshot::{
        self,
        digest::{DatabaseDigestOptions, OldNetworkState, Other, read_old_network},
    },
};

/// The old node's database, and the key of its validator.
#[derive(Debug, Clone)]
pub struct OldNode {
    /// The old node's database.
    pub settings: Settings,
    /// The validator's key in the old network; `None`: what is found is not signed.
    pub key: Option<Arc<PrivateKey>>,
    /// The pg_dump to run; `None`: the best one that is installed.
    pub pg_dump: Option<PathBuf>,
    /// Nobody named the database: it was looked for where a node's database usually is.
    pub found: bool,
}

/// What the comparison of an old database with a manifest came to.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Whether the database holds the state that was signed.
    pub agrees: bool,
    /// The digest of the database's state.
    pub state_digest: Blake3Hash,
    /// The last block in the database.
    pub height: i64,
    /// The last block that the manifest names.
    pub manifest_height: i64,
    /// What differs, in words, one entry for each part.
    pub differs: Vec<String>,
    /// What is worth knowing, but is no difference.
    pub notes: Vec<String>,
    /// The parts that differ, as the statement names them.
    #[serde(skip)]
    pub parts: Vec<DifferingPart>,
    /// Validators, parameters and owner of the old network, from which a genesis follows.
    #[serde(skip)]
    pub network: NetworkState,
    /// Whether the old network that the database holds is this node's own: its key is a validator there.
    #[serde(skip)]
    pub is_ours: bool,
}

impl Compared {
    fn new(found: OldNetworkState, old: &OldNode, manifest: &Manifest, signed: &Other) -> Result<Self> {
        let OldNetworkState { digest, network } = found;
        if digest.family != manifest.network.family {
            return Err(Error::usage(format!(
                "the old node's database is of family {}, and the manifest is about a network of {}",
                digest.family, manifest.network.family
            ))
            .hint(Next::NameOldDatabase));
        }
        let comparison = digest.compare(signed, true, "your database", "the manifest");
        let parts = match &manifest.state_digest {
            Some(signed) => digest.differing_parts(signed, &manifest.old_validators),
            None => Vec::new(),
        };
        Ok(Compared {
            agrees: parts.is_empty(),
            state_digest: digest.state_digest,
            height: network.height,
            manifest_height: manifest.network.height,
            differs: comparison.differs,
            notes: comparison.notes,
            parts,
            is_ours: old.key.as_ref().is_some_and(|key| digest.validators.iter().any(|v| v.key == key.public())),
            network,
        })
    }

    /// The statement about the manifest with this id, said at this time.
    pub fn statement(&self, manifest_id: Blake3Hash, created_unix_seconds: u64) -> Attestation {
        let mut differs = self.parts.clone();
        differs.truncate(limits::DIFFERING_PARTS_MAX);
        Attestation { manifest_id, state_digest: self.state_digest, height: self.height, created_unix_seconds, differs }
    }
}

/// What a new genesis has otherwise than the old network, in words of several lines; `None`: nothing.
///
/// # Errors
/// When the genesis is of another family than the network.
pub fn changes_in_words(genesis: &Genesis, old: &NetworkState) -> Result<Option<(Vec<Change>, String)>> {
    const SHOWN: usize = 12;
    let changes = genesis.changes(old)?;
    if changes.is_empty() {
        return Ok(None);
    }
    let lines = changes.iter().take(SHOWN).map(|change| format!("\n  {}", text::escape(&change.to_string())));
    let more = changes.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let words = format!("the new genesis has otherwise than the old network:{}{more}", lines.collect::<String>());
    Ok(Some((changes, words)))
}

/// Refuses a genesis in which the lead changed something of the old network, unless the operator takes that; gives what was
/// changed.
///
/// # Errors
/// Refused, with every change in words.
pub fn check_genesis(
    genesis: &Genesis,
    old: &NetworkState,
    accepted: bool,
    progress: &Progress,
) -> Result<Vec<Change>> {
    match changes_in_words(genesis, old)? {
        None => Ok(Vec::new()),
        Some((changes, words)) if accepted => {
            progress.note(words);
            Ok(changes)
        }
        Some((_, words)) => Err(Error::refused(words).hint(Next::AcceptGenesisChange)),
    }
}

/// Compares an old node's database with what a manifest signs. The database may be live or stopped: one cut is read.
///
/// # Errors
/// Refused where the manifest signs no digest; when the database or pg_dump fails. A state that differs is no error here.
pub async fn compare(
    old: &OldNode,
    manifest: &Manifest,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Compared> {
    let Some(signed) = Other::of_manifest(manifest) else {
        return Err(Error::refused("the lead signed no digest of the state, so that nobody can compare it")
            .hint(Next::AskForDigest));
    };
    let options = DatabaseDigestOptions { pg_dump: old.pg_dump.clone(), ..DatabaseDigestOptions::default() };
    let found = read_old_network(&old.settings, options, progress, cancel.clone()).await?;
    Compared::new(found, old, manifest, &signed)
}

/// Refuses a key that has no voice in the old network.
///
/// # Errors
/// Refused, with who has one.
pub fn check_elector(manifest: &Manifest, key: &PublicKey) -> Result<()> {
    if manifest.old_validators.iter().any(|validator| validator.key == *key) {
        return Ok(());
    }
    let count = manifest.old_validators.len() as u64;
    Err(Error::refused(format!(
        "the key {key} is no validator of the old network, which the manifest says has {}: its word would not count",
        text::count(count, "validator")
    ))
    .hint(Next::OldKey))
}

/// What a validator's own database says, before it is signed: what the validator said last, which the date must be later than,
/// is for those to know who hear it.
#[derive(Debug)]
pub struct OwnWord {
    /// What is to be signed, but for its date.
    pub statement: Attestation,
    /// By this key.
    pub key: Arc<PrivateKey>,
}

/// A comparison that goes on while other work does.
#[derive(Debug)]
pub struct Attesting {
    task: JoinHandle<Result<Compared>>,
    /// What there is to say, as soon as it is known; `None` once it was taken, or where there will be nothing.
    said: Option<oneshot::Receiver<OwnWord>>,
}

impl Attesting {
    /// Begins to compare, and has something to say of what comes of it where the manifest names the key as an old validator's. Of a database that
    /// nobody named, a difference is no statement unless the key votes in it: it may be another network's.
    pub fn start(
        old: OldNode,
        manifest: &VerifiedManifest,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Attesting {
        let (sender, said) = oneshot::channel();
        let (id, manifest) = (manifest.id(), manifest.manifest().clone());
        let (progress, cancel) = (progress.clone(), cancel.clone());
        let task = tokio::spawn(async move {
            let compared = compare(&old, &manifest, &progress, &cancel).await?;
            let elector = old.key.as_ref().filter(|key| check_elector(&manifest, &key.public()).is_ok());
            if let Some(key) = elector.filter(|_| compared.agrees || !old.found || compared.is_ours) {
                let own = OwnWord { statement: compared.statement(id, clock::unix_seconds()), key: key.clone() };
                // Nobody waits for it any more where the node has ended.
                let _ = sender.send(own);
            }
            Ok(compared)
        });
        Attesting { task, said: Some(said) }
    }

    /// What there is to say, once, as soon as it is known.
    pub fn take_word(&mut self) -> Option<OwnWord> {
        let taken = self.said.as_mut()?.try_recv();
        if !matches!(taken, Err(oneshot::error::TryRecvError::Empty)) {
            self.said = None;
        }
        taken.ok()
    }

    /// Whether the comparison has come to its end.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// What the comparison came to.
    ///
    /// # Errors
    /// As [`compare`].
    pub async fn compared(mut self) -> Result<Compared> {
        (&mut self.task).await.or_failed(|| "the comparison with the old database ended")?
    }
}

impl Drop for Attesting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What `snapshot attest` is told.
#[derive(Debug)]
pub struct AttestOptions {
    /// The old node's database.
    pub old: OldNode,
    /// The validator's key in the old network.
    pub key: Arc<PrivateKey>,
    /// The manifest, or the directory in which it lies with its genesis.
    pub manifest: PathBuf,
    /// What the lead changed in the genesis is taken.
    pub accept_genesis_change: bool,
    /// Where the statement goes; `None`: a name of its own in the working directory.
    pub out: Option<PathBuf>,
}

/// A comparison that was signed.
#[derive(Debug, Clone, Serialize)]
pub struct Attested {
    /// What it came to.
    #[serde(flatten)]
    pub compared: Compared,
    /// What it is about.
    pub manifest_id: Blake3Hash,
    /// Whose word the manifest is.
    pub lead: PublicKey,
    /// Whose word the statement is.
    pub signer: PublicKey,
    /// What the lead changed of the old network in the genesis; `None` where no genesis lies beside the manifest.
    pub genesis_changes: Option<Vec<Change>>,
    /// The file of the signed statement.
    pub attestation: PathBuf,
}

/// Compares an old database with a manifest on this machine, and writes the signed statement, be it a dissent.
///
/// # Errors
/// When the manifest's signatures do not hold, the key is no validator of the old network, or the genesis has changes that
/// nobody accepted; as [`compare`]. A state that differs is no error here.
pub async fn attest(options: AttestOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Attested> {
    let AttestOptions { old, key, manifest: path, accept_genesis_change, out } = options;
    let path = if path.is_dir() { path.join(MANIFEST_FILE_NAME) } else { path };
    let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    let (manifest, signer) = (signed.manifest(), key.public());
    let lead = manifest.trust.lead;
    if !signed.signers().is_ok_and(|signers| signers.keys().any(|key| *key == lead)) {
        return Err(Error::verify(format!("{} is not signed by its lead", path.display())).hint(Next::WholeManifest));
    }
    check_elector(manifest, &signer)?;
    let compared = compare(&old, manifest, progress, cancel).await?;
    let genesis = durable::parent(&path).join(GENESIS_FILE_NAME);
    let genesis_changes = match genesis.exists() {
        true => {
            let genesis = snapshot::read_genesis(&genesis)?;
            Some(check_genesis(&genesis, &compared.network, accept_genesis_change, progress)?)
        }
        false => None,
    };
    let statement = compared.statement(signed.id(), clock::unix_seconds());
    let attestation = out.unwrap_or_else(|| default_name(&signer));
    durable::write_atomically(&attestation, &statement.sign(&key), 0o644)?;
    Ok(Attested { manifest_id: signed.id(), compared, lead, signer, genesis_changes, attestation })
}

/// The name that a statement's file gets where none is given.
fn default_name(key: &PublicKey) -> PathBuf {
    let short: String = key.to_string().chars().take(8).collect();
    format!("attestation-{short}.regenesis").into()
}
