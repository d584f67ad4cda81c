//! `bundle`: a migration on removable media, for places where no wire goes, and the small way back.

mod keys;
mod label;
mod missing;
mod statements;

use std::{
    io::{self, BufRead, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use clap::{Args, Subcommand};
use kwil_formats::formats::key::PublicKey;
use zeroize::Zeroizing;

pub(crate) use self::keys::MediaKeyArgs;
use super::{
    Session,
    swarm::SeenArgs,
    ticket::TicketArgs,
    values::Size,
    words::bundle::{self as words, ExportResult, ImportResult, VerifyResult},
};
use crate::{
    app::bundle::{self, ExportOptions, ImportOptions, NextMedium},
    base::{Context, Error, Kind, Next, Progress, Result, files::read_bounded, limits, task::CancellationToken, text},
    bundle::AgeKey,
    manifest::TrustPolicy,
};

/// How often it is looked whether a signal came, while somebody is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Subcommands of `bundle`.
#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Write what a directory has onto media, each a volume that says what it holds
    Export(ExportArgs),
    /// Take what media hold into a directory: any volumes in any order, beside what is there
    Import(ImportArgs),
    /// Read every byte of media and compare it with what was signed
    Verify(VerifyArgs),
    /// Print a sheet for the courier: which volume holds what, the six words, and what is done at the other end
    Label(label::LabelArgs),
    /// Write what a directory lacks: as a small file, as lines to type or read out, or as a code to photograph
    Missing(missing::MissingArgs),
    /// Carry what validators have signed out of a directory and into one, so that it is known where nobody hears the others
    Statements(statements::StatementsArgs),
}

/// Flags of `bundle export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each volume has the manifest, the genesis, what validators have signed, its part of the chunks, an index, a README.txt for \
    whoever finds it and verify.sh, which checks it without this program. A run that was interrupted goes on when the same command is \
    given again. No medium has the swarm's secret unless --with-secret says so.\n\n\
    Examples:\n  regenesis bundle export --dir ./network_snapshot --to /media/stick1 /media/stick2\n  \
    regenesis bundle export --dir ./network_snapshot --to /media/stick --volume-size 64G\n  \
    regenesis bundle export --dir ./network_snapshot --to /media/stick --passphrase-file -"
)]
pub(crate) struct ExportArgs {
    /// Directory of a publish, a fetch, an import or a join; one that is still being filled gives what is there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directories of the mounted media, written at the same time; when they are full and this is a terminal, further media are asked
    /// for in the place of the last one
    #[arg(long, value_name = "DIR", num_args = 1.., required = true)]
    to: Vec<PathBuf>,
    /// Bytes that one volume may take, such as 64G [default: what is free]
    #[arg(long, value_name = "SIZE")]
    volume_size: Option<Size>,
    /// Make the last K directories volumes with parity: any K of all volumes may then be lost, broken or late. All media have to be
    /// mounted at the same time
    #[arg(long, value_name = "K", default_value_t = 0, hide_default_value = true)]
    parity: usize,
    /// Write only what this list lacks, which `bundle missing` made on the other side: a file, or its lines as they were typed; - reads
    /// it from stdin
    #[arg(long, value_name = "FILE")]
    missing_from: Option<PathBuf>,
    /// Encrypt for the holder of this key of age (repeatable): chunks, manifest, genesis and what validators signed are for nobody else. The
    /// label, the manifest's id and its six words stay readable
    #[arg(long, value_name = "AGE1…")]
    encrypt_to: Vec<AgeKey>,
    /// Encrypt with the passphrase in the first line of this file; - asks for it on the terminal or reads it from stdin
    #[arg(long, value_name = "FILE", conflicts_with = "encrypt_to")]
    passphrase_file: Option<PathBuf>,
    /// Write the ticket with the swarm's secret, too: whoever has the medium may enter the swarm
    #[arg(long)]
    with_secret: bool,
    #[command(flatten)]
    seen: SeenArgs,
}

/// Flags of `bundle import`.
#[derive(Debug, Args)]
#[command(
    after_help = "A medium that is damaged, incomplete or of another migration is named, and the others are used. What is lacking \
    afterwards is said by the labels of the volumes that hold it (exit 5); the same command with those goes on, and so does \
    `regenesis fetch` with the same directory.\n\n\
    Examples:\n  regenesis bundle import /media/stick1 /media/stick2 --dir ./relay\n  \
    regenesis bundle import /media/stick1 --dir ./relay --ticket-file ticket.txt\n  \
    regenesis bundle import /media/stick1 /media/stick2 --dir ./island --in-place"
)]
pub(crate) struct ImportArgs {
    /// Directories of the mounted media
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Where the files go
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Leave the chunks on the media, which have to hold all of them: `regenesis seed` then serves them from there, as long as the media
    /// stay mounted where they are
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    word: WordArgs,
    #[command(flatten)]
    keys: MediaKeyArgs,
    #[command(flatten)]
    seen: SeenArgs,
}

/// Flags of `bundle verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Where all media are of one manifest it is also said what they lack together, and whether parity on them makes that good or \
    which volumes do: as an import of them would say it. A medium that is not what was signed is exit 3, also where parity suffices; media that \
    are sound and not all of their set are no failure.\n\n\
    Examples:\n  regenesis bundle verify /media/stick1 /media/stick2"
)]
pub(crate) struct VerifyArgs {
    /// Directories of the mounted media
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    #[command(flatten)]
    word: WordArgs,
    #[command(flatten)]
    keys: MediaKeyArgs,
}

/// Whose word is taken for a manifest that lies on a medium.
#[derive(Debug, Args)]
pub(crate) struct WordArgs {
    /// Key that must have signed the manifest, as HEX#TYPE; one of several suffices (repeatable)
    #[arg(long, value_name = "PUB")]
    trust: Vec<PublicKey>,
    /// File with the lead's ticket, which names the manifest; one that only identifies will do
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
}

impl WordArgs {
    /// # Errors
    /// When the ticket cannot be read.
    pub(crate) fn policy(self) -> Result<Option<TrustPolicy>> {
        let ticket = TicketArgs { ticket: None, ticket_file: self.ticket_file }.read_if_given()?;
        let mut policy = ticket.as_ref().map(ImportOptions::trust_of);
        if !self.trust.is_empty() {
            policy.get_or_insert_default().keys.extend(self.trust);
        }
        Ok(policy)
    }
}

impl BundleCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            BundleCommand::Export(args) => args.run(session).await,
            BundleCommand::Import(args) => args.run(session).await,
            BundleCommand::Verify(args) => args.run(session).await,
            BundleCommand::Label(args) => args.run(session),
            BundleCommand::Missing(args) => args.run(session),
            BundleCommand::Statements(args) => args.run(session),
        }
    }
}

impl ExportArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let missing = self.missing_from.map(|path| read_list(&path)).transpose()?;
        let options = ExportOptions {
            missing,
            seal: keys::seal_to(self.encrypt_to, self.passphrase_file.as_deref(), session)?,
            parity: self.parity,
            directory: self.dir,
            to: self.to,
            volume_bytes: self.volume_size.map(|size| size.0),
            with_secret: self.with_secret,
            state: self.seen.state()?,
        };
        let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
        let (progress, cancel) = (session.progress.clone(), session.cancel.clone());
        let work = tokio::task::spawn_blocking(move || {
            let ask = |next: &NextMedium<'_>| ask_for_medium(next, &progress, &cancel);
            let ask: bundle::Ask<'_> = &ask;
            bundle::export(&options, &words::papers, asks.then_some(ask), &progress, &cancel)
        });
        let exported = work.await.or_failed(|| "the export panicked")??;
        let left = exported.left_bytes;
        let result = ExportResult(exported);
        match left {
            0 => session.output.result(&result),
            left => {
                // One that was whole before takes nothing more.
                let is_whole = |volume: &bundle::ExportedVolume| volume.kept_bytes == volume.bytes;
                let why = match result.0.volumes.iter().all(is_whole) {
                    true => "the directories hold whole volumes already",
                    false => "the media are full",
                };
                let text = format!("{why}: {} found no room", text::bytes(left));
                session.output.result_with_error(&result, Error::failed(text).hint(Next::MoreMedia))
            }
        }
    }
}

/// A list of what is missing, and how it is called.
fn read_list(path: &Path) -> Result<(String, Vec<u8>)> {
    if path != Path::new("-") {
        let bytes = read_bounded(path, limits::MISSING_TEXT_SIZE_BYTES_MAX, "list of what is missing")?;
        return Ok((path.display().to_string(), bytes));
    }
    let mut bytes = Vec::new();
    let stdin = io::stdin().lock().take(limits::MISSING_TEXT_SIZE_BYTES_MAX as u64);
    { stdin }.read_to_end(&mut bytes).or_failed(|| "cannot read the list from stdin")?;
    Ok(("what was typed".to_owned(), bytes))
}

/// Asks on the terminal for the next medium; an answer that begins with q, and the end of the input, are a no.
fn ask_for_medium(next: &NextMedium<'_>, progress: &Progress, cancel: &CancellationToken) -> Result<bool> {
    progress.note(words::next_medium(next));
    let line = typed_line(limits::MEDIA_KEY_FILE_SIZE_BYTES_MAX, cancel).ok_or_else(|| {
        Error::interrupted("while a medium was asked for").hint("run the same command again: it goes on")
    })?;
    Ok(!line.is_empty() && !line.trim_start().starts_with(['q', 'Q']))
}

/// A line from stdin, with what ends it; nothing at the end of the input, `None` after a signal.
fn typed_line(max: usize, cancel: &CancellationToken) -> Option<Zeroizing<String>> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut line = Zeroizing::new(String::new());
        let read = io::stdin().lock().take(max as u64).read_line(&mut line);
        let _ = sender.send(read.map(|_| line).unwrap_or_default());
    });
    loop {
        match lines.recv_timeout(LOOK_INTERVAL) {
            Ok(line) => return Some(line),
            Err(RecvTimeoutError::Disconnected) => return Some(Zeroizing::default()),
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl ImportArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let options = ImportOptions {
            from: self.from,
            directory: self.dir,
            trust: self.word.policy()?,
            keys: self.keys.read(session)?,
            state: self.seen.state()?,
            in_place: self.in_place,
        };
        let imported = bundle::import(options, &session.progress, &session.cancel).await?;
        let result = ImportResult(imported);
        match result.error() {
            None => session.output.result(&result),
            Some(error) => session.output.result_with_error(&result, error),
        }
    }
}

impl VerifyArgs {
    async fn run(self, session: &Session) -> Result<()> {
        let (trust, from, keys) = (self.word.policy()?, self.from, self.keys.read(session)?);
        let (progress, cancel) = (session.progress.clone(), session.cancel.clone());
        let work =
            tokio::task::spawn_blocking(move || bundle::verify(&from, trust.as_ref(), &keys, &progress, &cancel));
        let verified = work.await.or_failed(|| "the check panicked")??;
        let bad = verified.media.iter().filter(|medium| !medium.ok).count();
        let next = if verified.suffice() { Next::ImportAllTheSame } else { Next::ExportAgain };
        let result = VerifyResult(verified);
        match bad {
            0 => session.output.result(&result),
            bad => {
                let text = format!(
                    "{} not what was signed",
                    if bad == 1 { "1 medium is".to_owned() } else { format!("{bad} media are") }
                );
                session.output.result_with_error(&result, Error::new(Kind::Verify, text).hint(next))
            }
        }
    }
}
