//! Publishing: database -> snapshot -> manifest, ready to be seeded.

use std::path::{Path, PathBuf};

use kwil_formats::formats::{GENESIS_FILE_NAME, genesis::Genesis, key::PrivateKey};

use super::{
    manifest::{self, SignOptions, SignedDirectory},
    rehearse::{self, RehearsalServer, RehearseOptions},
    source::{self, Source},
    state::StateDirectory,
};
use crate::{
    base::{Error, Kind, Next, Progress, Result, task::CancellationToken, text},
    database::Settings,
    manifest::genesis_validators,
    setup,
    snapshot::{self, CreateOptions, Created, SnapshotFacts},
};

/// What an operator names of the old network where its database is not asked.
#[derive(Debug, Default)]
pub struct OldNetwork {
    /// Its genesis.
    pub genesis: Option<Genesis>,
    /// The root of one of its nodes, whose genesis it is where none is named.
    pub root: Option<PathBuf>,
}

impl OldNetwork {
    /// Puts what it tells into what is to be signed.
    ///
    /// # Errors
    /// When the genesis has a validator whose key is none.
    pub fn tell(self, mut sign: SignOptions, progress: &Progress) -> Result<SignOptions> {
        let genesis = match (self.genesis, &self.root) {
            (Some(genesis), _) => Some(genesis),
            (None, Some(root)) if root.join(GENESIS_FILE_NAME).exists() => {
                Some(snapshot::read_genesis(&root.join(GENESIS_FILE_NAME))?)
            }
            (None, _) => None,
        };
        if let Some(genesis) = genesis {
            sign.old_chain_id = Some(genesis.chain_id().to_owned());
            sign.old_validators = genesis_validators(&genesis)?;
            sign.old_leader = genesis.leader().copied();
        }
        sign.old_addresses = source::addresses(self.root.as_deref(), progress);
        Ok(sign)
    }
}

/// Who signs, and how sure the lead wants to be.
#[derive(Debug, Clone, Copy)]
pub struct Lead<'a> {
    /// Signs the manifest.
    pub key: &'a PrivateKey,
    /// Where the newest manifest of each network is remembered.
    pub state: &'a StateDirectory,
    /// Restore the snapshot before it is signed.
    pub rehearse: bool,
}

/// Takes a snapshot of the old database and signs it.
///
/// # Errors
/// As [`snapshot::create`], [`rehearse()`] and [`manifest::sign`]; a snapshot that was made stays when a later step fails.
pub async fn from_database(
    settings: &Settings,
    mut create: CreateOptions,
    mut sign: SignOptions,
    lead: Lead<'_>,
    old_root: Option<&Path>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Created, SignedDirectory)> {
    if create.kwil_compat {
        return Err(
            Error::usage("Kwil's own bytes have no guard, so every join would refuse them").hint(Next::NotKwilsBytes)
        );
    }
    create.describe = true;
    let snapdir = create.snapdir.clone();
    progress.step("taking a snapshot of the old database");
    let created = snapshot::create(settings, create, progress, cancel.clone()).await.map_err(|e| {
        if e.advice().is_some() && e.kind() == Kind::Refused && snapdir.join(GENESIS_FILE_NAME).exists() {
            e.or_hint(Next::ServeDirectory { directory: setup::shell_path(&snapdir) })
        } else {
            e
        }
    })?;
    if lead.rehearse {
        rehearse(&snapdir, RehearsalServer::Preferred(settings.clone()), progress, cancel).await?;
    }
    // The snapshot's genesis holds the validators that the old database had in its last block.
    let genesis = snapshot::read_genesis(&created.genesis)?;
    sign.old_validators = genesis_validators(&genesis)?;
    sign.state_validators = sign.old_validators.clone();
    sign.old_leader = genesis.leader().copied();
    sign.digest = created.state_digest.is_some();
    sign.majors = Some((created.server_major, created.dump_major));
    sign.old_chain_id = created.old_chain_id.clone();
    sign.height = Some(created.height);
    let source = remember_source(settings, old_root, &created, progress).await?;
    sign.collation = source.collation.clone();
    sign.old_addresses = source.node_addresses(created.family).iter().map(ToString::to_string).collect();
    let written = created.file.as_ref();
    let signed = sign_directory(&snapdir, written, lead.key, &sign, lead.state, progress, cancel)
        .map_err(|e| e.or_hint(Next::GoOnWithDirectory { directory: setup::shell_path(&snapdir) }))?;
    Ok((created, signed))
}

/// Keeps what a new snapshot's database and the old root tell of the old network, for whoever signs it.
///
/// # Errors
/// When the new genesis cannot be read.
pub async fn remember_source(
    settings: &Settings,
    old_root: Option<&Path>,
    created: &Created,
    progress: &Progress,
) -> Result<Source> {
    let genesis = snapshot::read_genesis(&created.genesis)?;
    let validators = genesis_validators(&genesis)?;
    let majors = (created.server_major, created.dump_major);
    let mut source = Source::of(settings, old_root, progress).await;
    source.old_leader = genesis.leader().copied();
    let source = source.about(created.state_hash, created.old_chain_id.clone(), &validators, majors);
    source.keep(progress);
    Ok(source)
}

/// Restores the snapshot in a directory as kwild would, in a database of its own on the server.
///
/// # Errors
/// `Kind::Verify` when rows would be lost, with what failed.
pub async fn rehearse(
    directory: &Path,
    server: RehearsalServer,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let genesis = directory.join(GENESIS_FILE_NAME);
    let family = snapshot::read_genesis(&genesis)?.family();
    let options = RehearseOptions {
        snapshot: directory.join(family.snapshot_file_name()),
        genesis: Some(genesis),
        manifest: None,
        server,
    };
    let rehearsed = rehearse::rehearse(options, progress, cancel).await.map_err(|e| {
        if e.advice().is_some() && e.kind() == Kind::Failed { e.or_hint(Next::RehearseElsewhere) } else { e }
    })?;
    rehearsed.check().map_err(|e| {
        let why = e.chain();
        Error::verify(format!("nothing was signed or served: {why}"))
            .hint(Next::ShowRehearsal { snapshot: setup::shell_path(&directory.join(family.snapshot_file_name())) })
    })?;
    let place =
        rehearsed.server.as_deref().map_or("a throw-away server".to_owned(), |place| format!("the server at {place}"));
    progress.note(format!(
        "rehearsed: psql restored all {} of {} on {place}, PostgreSQL {}",
        text::count(rehearsed.restored_rows, "row"),
        text::count(rehearsed.tables, "table"),
        rehearsed.server_version
    ));
    rehearsed.notes.iter().for_each(|note| progress.note(note.clone()));
    Ok(())
}

/// Signs files that are there already, such as an edited genesis. `written`: what is known of a snapshot that was just written.
///
/// # Errors
/// As [`manifest::sign`].
pub fn sign_directory(
    directory: &Path,
    written: Option<&SnapshotFacts>,
    key: &PrivateKey,
    options: &SignOptions,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<SignedDirectory> {
    let signed =
        tokio::task::block_in_place(|| manifest::sign(directory, written, key, options, state, progress, cancel))?;
    let words = if signed.reused { "nothing changed: the manifest is the one that was there" } else { "signed" };
    progress.note(format!("{words}: {}", signed.path.display()));
    Ok(signed)
}
