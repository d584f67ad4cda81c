//! `snapshot create`, `snapshot verify` and `snapshot guard`; `snapshot digest` stands in its own file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kwil_formats::formats::{GENESIS_FILE_NAME, genesis::Genesis};

use super::{
    Session,
    attest::AttestArgs,
    database::DatabaseArgs,
    digest::DigestArgs,
    values::{FamilyChoice, Size},
    words::snapshot::VerifyResult,
};
use crate::{
    app::publish,
    base::{Context, Result, durable, limits::SNAPSHOT_TEXT_BYTES_MAX},
    snapshot::{self, Compression, CreateOptions, GuardOptions, ReadOptions, VerifyOptions, digest::spill_directory},
};

/// Make and check snapshots
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Make a snapshot of a stopped node's database, and the new network's genesis beside it
    Create(Box<CreateArgs>),
    /// Check a snapshot against its genesis: state hash, and that it holds nothing but a Kwil dump's statements
    Verify(VerifyArgs),
    /// Put the guard around a snapshot of Kwil's own tools: psql then loads all of it or nothing
    Guard(GuardArgs),
    /// Digest the state of a database or a snapshot: equal for nodes in the same state, in whatever order their rows lie
    Digest(Box<DigestArgs>),
    /// Sign, as a validator of the old network, whether its own database holds the state that the lead signed
    Attest(Box<AttestArgs>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressChoice {
    Fast,
    Small,
}

impl From<CompressChoice> for Compression {
    fn from(choice: CompressChoice) -> Self {
        match choice {
            CompressChoice::Fast => Compression::Fast,
            CompressChoice::Small => Compression::Small,
        }
    }
}

/// Flags of `snapshot create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Directory for the snapshot and its genesis.json
    #[arg(long, value_name = "DIR", default_value = "kwild-snaps")]
    snapdir: PathBuf,
    #[command(flatten)]
    flags: CreateFlags,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What a new snapshot is to be like; also part of `publish`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Snapshot")]
pub(crate) struct CreateFlags {
    /// Which formats the network has: auto, v0.9 or v0.10
    #[arg(long, default_value = "auto", value_name = "FAMILY")]
    family: FamilyChoice,
    /// Id of the new network [default: the old id with its number raised; a fresh one if the old is not known]
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Genesis of the old network, where there is no --from-root
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// When the new network begins, RFC 3339 (v0.9 only) [default: now]
    #[arg(long, value_name = "TIME")]
    genesis_time: Option<String>,
    /// Go on counting blocks where the old network stopped
    #[arg(long)]
    keep_height: bool,
    /// Write the genesis exactly as Kwil's tool does: its default parameters instead of the old network's
    #[arg(long)]
    template: bool,
    /// Small takes two to four times as long and saves six to nine percent
    #[arg(long, value_enum, default_value_t = CompressChoice::Fast, hide_possible_values = true, value_name = "fast|small")]
    compress: CompressChoice,
    /// Connections that read and threads that compress, at most 16 [default: one for each processor, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Kwil's own line rules, with the rows and lines they lose, and no guard: for comparison
    #[arg(long)]
    kwil_compat: bool,
    /// Go on although kwild seems to be running, or was stopped in the middle of a block
    #[arg(long)]
    allow_live: bool,
    /// Leave out the state digest: faster, but validators cannot confirm the state from their own databases
    #[arg(long)]
    no_digest: bool,
    /// The pg_dump to run [default: the best one on PATH or among the installed versions]
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// Accepted for Kwil's sake; rows may have any size
    #[arg(long, value_name = "BYTES", hide = true)]
    max_row_size: Option<String>,
}

/// Flags of `snapshot verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The snapshot, gzip or plain SQL text
    file: PathBuf,
    /// The genesis it belongs to [default: genesis.json beside it]
    #[arg(long, short, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Also ask for the closing UPDATE, digest the state, compare with the manifest beside the
    /// file, and list the rows of every table
    #[arg(long)]
    deep: bool,
    /// Compare text and rows with this manifest, or the one in this directory
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Refuse a file that unpacks to more than this, such as 200G
    #[arg(long, value_name = "SIZE")]
    max_bytes: Option<Size>,
}

/// Flags of `snapshot guard`.
#[derive(Debug, Args)]
#[command(after_help = "The new pair has another state hash than the old one: every node of the network must use it.")]
pub(crate) struct GuardArgs {
    /// The snapshot, gzip or plain SQL text
    file: PathBuf,
    /// The genesis it belongs to [default: genesis.json beside it]
    #[arg(long, short, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Directory for the new pair [default: guarded, beside the file]
    #[arg(long = "out", short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Small takes two to four times as long and saves six to nine percent
    #[arg(long, value_enum, default_value_t = CompressChoice::Fast, hide_possible_values = true, value_name = "fast|small")]
    compress: CompressChoice,
    /// Threads that compress, at most 16 [default: one for each processor, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Refuse a file that unpacks to more than this, such as 200G
    #[arg(long, value_name = "SIZE")]
    max_bytes: Option<Size>,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

impl SnapshotCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            SnapshotCommand::Create(args) => args.run(session).await,
            SnapshotCommand::Verify(args) => args.run(session).await,
            SnapshotCommand::Guard(args) => args.run(session).await,
            SnapshotCommand::Digest(args) => args.run(session).await,
            SnapshotCommand::Attest(args) => args.run(session).await,
        }
    }
}

impl CreateArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let resolved = self.database.resolve(&session.progress)?;
        let options = self.flags.options(self.snapdir, resolved.genesis)?;
        let created = snapshot::create(&resolved.settings, options, &session.progress, session.cancel.clone()).await?;
        let old_root = resolved.root.as_ref().map(|root| root.directory.as_path());
        publish::remember_source(&resolved.settings, old_root, &created, &session.progress).await?;
        session.output.result(&created)
    }
}

impl CreateFlags {
    /// The old network's genesis, where it is named.
    pub(crate) fn old_genesis(&self) -> Result<Option<Genesis>> {
        self.genesis.clone().map(|path| snapshot::read_genesis(&path)).transpose()
    }

    /// The options for a directory; `of_old_root` is the genesis that `--from-root` found.
    pub(crate) fn options(self, snapdir: PathBuf, of_old_root: Option<Genesis>) -> Result<CreateOptions> {
        let old_genesis = match self.genesis {
            Some(path) => Some(snapshot::read_genesis(&path)?),
            None => of_old_root,
        };
        Ok(CreateOptions {
            family: self.family.0,
            compression: self.compress.into(),
            jobs: self.jobs.map(usize::from),
            kwil_compat: self.kwil_compat,
            template: self.template,
            chain_id: self.chain_id,
            old_genesis,
            genesis_time: self.genesis_time,
            keep_height: self.keep_height,
            allow_live: self.allow_live,
            pg_dump: self.pg_dump,
            read: None,
            force: self.force,
            digest: !self.no_digest,
            ..CreateOptions::new(snapdir)
        })
    }
}

fn read_options(max_bytes: Option<Size>, session: &Session) -> ReadOptions {
    ReadOptions { max_bytes: max_bytes.map_or(SNAPSHOT_TEXT_BYTES_MAX, |size| size.0), cancel: session.cancel.clone() }
}

impl GuardArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let beside = |name: &str| durable::parent(&self.file).join(name);
        let genesis = self.genesis.clone().unwrap_or_else(|| beside(GENESIS_FILE_NAME));
        let options = GuardOptions {
            directory: self.out.clone().unwrap_or_else(|| beside("guarded")),
            compression: self.compress.into(),
            jobs: self.jobs.map(usize::from),
            force: self.force,
            read: read_options(self.max_bytes, session),
        };
        let (file, progress) = (self.file, session.progress.clone());
        let guarded = tokio::task::spawn_blocking(move || snapshot::guard(&file, &genesis, &options, &progress))
            .await
            .or_failed(|| "the work ended unexpectedly")??;
        session.output.result(&guarded)
    }
}

impl VerifyArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let genesis = self.genesis.unwrap_or_else(|| durable::parent(&self.file).join(GENESIS_FILE_NAME));
        let options = VerifyOptions {
            deep: self.deep,
            manifest: self.manifest,
            read: read_options(self.max_bytes, session),
            spill: self.deep.then(spill_directory),
            ..VerifyOptions::default()
        };
        let (file, progress) = (self.file, session.progress.clone());
        let verified = tokio::task::spawn_blocking(move || snapshot::verify(&file, &genesis, &options, &progress))
            .await
            .or_failed(|| "the check ended unexpectedly")??;
        session.output.result(&VerifyResult::of(&verified))
    }
}
