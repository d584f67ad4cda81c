//! From a database to a snapshot directory: in go settings and what the operator wants, out come the snapshot file and
//! the genesis beside it, both named only when both are whole.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf, absolute},
    time::{Duration, UNIX_EPOCH},
};

use kwil_formats::{
    dump::filter::{DumpFilter, LineRules},
    formats::{
        Family, GENESIS_FILE_NAME, Validator, VoterRow,
        genesis::{self, Difference, Genesis, GenesisOptions, NetworkState, Parameters, next_chain_id},
    },
};

use super::{
    described::SnapshotFacts,
    gzip::Compression,
    part::Part,
    pipeline::{JOBS_MAX, Job, Written, jobs_default},
    source::SplicedDump,
};
use crate::{
    base::{
        Blake3Hash, Context, Error, Next, Notice, Progress, Result, Sha256Hash, clock, durable,
        task::CancellationToken, text,
    },
    database::{Cut, CutOptions, Facts, PgDump, RowOptions, Settings},
    manifest::genesis_validators,
};
use serde::Serialize;

/// Tables with tuned storage that a note lists; of more it gives the number.
const TUNED_SHOWN: usize = 10;

/// What the operator wants of a new snapshot and its genesis.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Directory for the snapshot file and the genesis; it is made if it is missing.
    pub snapdir: PathBuf,
    /// The family (v0.9 or v0.10) that the operator expects; `None`: whichever the database's schemas show.
    pub family: Option<Family>,
    /// Whether the file is to be made fast or to be small.
    pub compression: Compression,
    /// Threads that compress, at most 16; `None`: one for each processor, at most eight.
    pub jobs: Option<usize>,
    /// Whether Kwil's own line rules apply, with the lines that they lose and without a guard; for comparison.
    pub kwil_compat: bool,
    /// Whether the genesis has the default parameters that Kwil's own tool writes, instead of the old network's.
    pub template: bool,
    /// Chain id of the new network; `None`: the successor of the old one, or a fresh one where that is not known.
    pub chain_id: Option<String>,
    /// The old network's genesis, for its chain id; `None` where it is not known.
    pub old_genesis: Option<Genesis>,
    /// v0.9: when the new network begins, in RFC 3339; `None`: at the time of the call. Without effect in v0.10.
    pub genesis_time: Option<String>,
    /// Whether the new network's block numbers go on where the old network's stopped.
    pub keep_height: bool,
    /// Whether to go on, with a warning, although there are signs that kwild is at work.
    pub allow_live: bool,
    /// The pg_dump to run; `None`: the best one on the machine.
    pub pg_dump: Option<PathBuf>,
    /// How rows are read; `None`: over as many connections as there are threads that compress.
    pub read: Option<RowOptions>,
    /// Whether files of the same name are replaced instead of refused.
    pub force: bool,
    /// Whether the state is digested while it streams by.
    pub digest: bool,
    /// Whether the file is hashed while it is written, so that it can be signed and served without being read again.
    pub describe: bool,
}

impl CreateOptions {
    /// The defaults of `snapshot create`, for this directory.
    pub fn new(snapdir: impl Into<PathBuf>) -> Self {
        CreateOptions {
            snapdir: snapdir.into(),
            family: None,
            compression: Compression::Fast,
            jobs: None,
            kwil_compat: false,
            template: false,
            chain_id: None,
            old_genesis: None,
            genesis_time: None,
            keep_height: false,
            allow_live: false,
            pg_dump: None,
            read: None,
            force: false,
            digest: true,
            describe: false,
        }
    }
}

/// What was made, as `snapshot create` tells it in words and as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The two lines that Kwil's own tool prints of the files it made.
    pub logs: [String; 2],
    /// Path of the snapshot file, absolute.
    pub snapshot: PathBuf,
    /// Path of the genesis file, absolute.
    pub genesis: PathBuf,
    /// Whether the network is of v0.9 or v0.10.
    pub family: Family,
    /// SHA-256 of the uncompressed text, which the genesis pins.
    pub state_hash: Sha256Hash,
    /// Height of the old network's last block that is in the snapshot.
    pub height: i64,
    /// Bytes of the uncompressed text.
    pub bytes: u64,
    /// Bytes of the compressed file.
    pub file_bytes: u64,
    /// Digest of the state in whatever order its rows lie; `None` (in JSON null) where it was left out.
    pub state_digest: Option<Blake3Hash>,
    /// Digest of the parsed statements that make the schema; `None` (in JSON null) where the digests were left out.
    pub schema_digest: Option<Blake3Hash>,
    /// Major version of the server that was read.
    pub server_major: u32,
    /// Major version of the pg_dump that wrote the statements.
    pub dump_major: u32,
    /// COPY blocks in the text, one for each table, the emptied one of the voters included.
    pub tables: u64,
    /// Rows in the text's COPY blocks.
    pub rows: u64,
    /// Rows in the text that Kwil's own tool would have dropped.
    pub rescued_rows: u64,
    /// Rows that Kwil's own tool would have dropped, by table.
    pub rescued_tables: BTreeMap<String, u64>,
    /// Lines of literals and function bodies that Kwil's own tool would have dropped, by object.
    pub rescued_lines: BTreeMap<String, u64>,
    /// Validators in the genesis, which were the rows of the voters' table.
    pub validators: u64,
    /// Chain id of the old network; `None` where it is not known.
    pub old_chain_id: Option<String>,
    /// Chain id of the new network.
    pub chain_id: String,
    /// Whether the genesis has the old network's parameters; false: Kwil's defaults.
    pub parameters_carried_over: bool,
    /// The old network's parameters that differ from those that Kwil's own tool would write.
    pub differs_from_template: Vec<Difference>,
    /// The validators of the genesis: each public key as `hex#type`, and its voting power.
    pub validator_powers: Vec<Validator>,
    /// Why `snapshot verify` and every join will refuse the snapshot; `None` where they will take it.
    pub refusal: Option<String>,
    /// Whether the text has the guard, by which psql loads all of it or nothing.
    pub guarded: bool,
    /// What a manifest says of the file; `None` where that was not asked for, or the text would be refused.
    #[serde(skip)]
    pub file: Option<SnapshotFacts>,
    /// Seconds that everything took.
    pub seconds: f64,
}

/// Makes a snapshot file and its genesis. Either both files are there afterwards, or neither.
///
/// # Errors
/// When the database, pg_dump or the disk fails; `Kind::Refused` on a live node and on files that are there already;
/// `Kind::Interrupted` when `cancel` is cancelled.
pub async fn create(
    settings: &Settings,
    options: CreateOptions,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<Created> {
    // Whatever is waited for, a signal ends it; what was begun goes away as it is dropped: the transaction, pg_dump, and
    // with its text the writing thread, whose file has no name any more.
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(interrupted()),
        created = make_snapshot(settings, options, progress) => created,
    }
}

fn interrupted() -> Error {
    Error::interrupted("while making the snapshot").hint("run the command again; nothing half-made was left")
}

async fn make_snapshot(settings: &Settings, options: CreateOptions, progress: &Progress) -> Result<Created> {
    let began = clock::now();
    let snapdir = absolute(&options.snapdir).or_failed(|| "cannot tell the current directory")?;
    progress.step(format!("Reading the database \"{}\" at {}", text::escape(&settings.dbname), settings.place()));
    let cut_options = CutOptions { family: options.family, allow_live: options.allow_live, before_blocks: false };
    let cut = Cut::open(settings, cut_options, progress).await?;
    let facts = cut.facts().clone();
    let plan = Plan::new(&options, &facts, &snapdir, progress)?;
    let program = PgDump::find(options.pg_dump.as_deref(), facts.server_major).await?;
    tell_source(&facts, &program, progress);
    plan.check_existing(options.force)?;
    check_space(&facts, &snapdir, progress)?;
    let directory = Directory::make(&snapdir)?;
    let part = Part::create(&plan.snapshot)?;

    progress.step("Writing the snapshot");
    let written = write_text(&cut, &program, &part, &options, progress).await?;
    // After this nothing is asked of the database any more.
    cut.finish(progress).await?;
    let genesis = plan.genesis(&facts, &written)?;
    if let Err(fault) = genesis.check() {
        progress.warning(format!("kwild will not start on this genesis: {fault}; correct it before it is signed"));
    }
    let differs_from_template = plan.differs_from_template(&facts, &written)?;
    let validator_powers = genesis.validators()?;
    plan.put_in_place(part, &genesis)?;
    directory.keep();

    let facts_of_file = SnapshotFacts::of_written(&written);
    let Written { report, state_hash, bytes, file_bytes, scan, digest, .. } = written;
    let refusal = scan.err();
    for note in report.omitted_notes() {
        progress.note(note);
    }
    let validators = genesis_validators(&genesis)?;
    if !report.tuned.is_empty() {
        progress.note(format!(
            "Left out, since it changes no row: storage parameters, statistics and storage that somebody had set for {}",
            text::first_few(&report.tuned, TUNED_SHOWN)
        ));
    }
    if let Some(refusal) = &refusal {
        progress.warning(format!(
            "snapshot verify, and with it every join, will refuse this snapshot, since the database holds what a Kwil \
             network does not make: {refusal}"
        ));
    }
    Ok(Created {
        logs: [
            format!("Snapshot created at: {}, Total bytes written: {bytes}", plan.snapshot.display()),
            format!("Genesis config created at: {}, Genesis hash: {state_hash}", plan.genesis.display()),
        ],
        snapshot: plan.snapshot,
        genesis: plan.genesis,
        family: facts.family,
        state_hash,
        height: facts.height,
        bytes,
        file_bytes,
        state_digest: digest.as_ref().map(|digest| digest.state_digest(&validators)),
        schema_digest: digest.as_ref().map(|digest| digest.schema_digest),
        server_major: facts.server_major,
        dump_major: program.major(),
        tables: report.tables,
        rows: report.rows,
        rescued_rows: report.rescued_rows.values().sum(),
        rescued_tables: report.rescued_rows,
        rescued_lines: report.rescued_lines,
        validators: report.voters.len() as u64,
        old_chain_id: plan.old_chain_id,
        chain_id: plan.genesis_options.chain_id,
        parameters_carried_over: !options.template,
        differs_from_template,
        validator_powers,
        refusal: refusal.map(|refusal| refusal.to_string()),
        guarded: !options.kwil_compat,
        file: facts_of_file,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Tells what the snapshot is made of, and by which program.
fn tell_source(facts: &Facts, program: &PgDump, progress: &Progress) {
    progress.note(format!(
        "{} network at height {}, {} schemas; PostgreSQL {}, pg_dump {}",
        facts.family,
        facts.height,
        facts.schemas.len(),
        facts.server_version,
        program.version()
    ));
    if facts.family == Family::V09 {
        progress.note(format!(
            "A halted v0.9 network makes empty blocks until its nodes are stopped, so other nodes may have stopped at \
             another height than {}: their state is the same, and everyone continues from this snapshot",
            facts.height
        ));
    }
}

/// What is settled of the genesis and the files' places before the first byte is written.
struct Plan {
    snapshot: PathBuf,
    genesis: PathBuf,
    old_chain_id: Option<String>,
    parameters: Parameters,
    genesis_options: GenesisOptions,
}

impl Plan {
    fn new(options: &CreateOptions, facts: &Facts, snapdir: &Path, progress: &Progress) -> Result<Self> {
        let family = facts.family;
        if let Some(old) = &options.old_genesis
            && old.family() != family
        {
            return Err(Error::refused(format!(
                "the old genesis is of family {}, but the database of {family}",
                old.family()
            ))
            .hint("name the genesis and the database of the same node"));
        }
        if options.genesis_time.is_some() && family == Family::V010 {
            progress.warning(
                Notice::from("the genesis time has no effect: a v0.10 genesis holds none")
                    .next(Next::LeaveGenesisTimeOut),
            );
        }
        let old_chain_id = options.old_genesis.as_ref().map(|g| g.chain_id().to_owned());
        let chain_id = new_chain_id(options.chain_id.as_deref(), old_chain_id.as_deref(), progress)?;
        let genesis_time_rfc3339 = match &options.genesis_time {
            Some(time) => time.clone(),
            None => {
                let now = UNIX_EPOCH + Duration::from_secs(clock::unix_seconds());
                humantime::format_rfc3339_seconds(now).to_string()
            }
        };
        let parameters = facts.parameters.decode()?;
        let plan = Plan {
            snapshot: snapdir.join(family.snapshot_file_name()),
            genesis: snapdir.join(GENESIS_FILE_NAME),
            old_chain_id,
            parameters,
            genesis_options: GenesisOptions {
                chain_id,
                genesis_time_rfc3339,
                keep_height: options.keep_height,
                template: options.template,
            },
        };
        // A chain id, time or owner that cannot be used is said now, not after hours of dumping.
        let state = plan.state(facts, Vec::new());
        Genesis::for_snapshot(&state, Sha256Hash::from_bytes([0; 32]), &plan.genesis_options)?;
        Ok(plan)
    }

    fn state(&self, facts: &Facts, voters: Vec<VoterRow>) -> NetworkState {
        NetworkState {
            family: facts.family,
            height: facts.height,
            voters,
            parameters: self.parameters.clone(),
            owner: facts.owner.clone(),
        }
    }

    fn genesis(&self, facts: &Facts, written: &Written) -> Result<Genesis> {
        let state = self.state(facts, written.report.voters.clone());
        Ok(Genesis::for_snapshot(&state, written.state_hash, &self.genesis_options)?)
    }

    /// The parameters in which the genesis with the old network's differs from the one with Kwil's defaults.
    fn differs_from_template(&self, facts: &Facts, written: &Written) -> Result<Vec<Difference>> {
        let state = self.state(facts, written.report.voters.clone());
        let [carried, template] = [false, true].map(|template| {
            let options = GenesisOptions { template, ..self.genesis_options.clone() };
            Genesis::for_snapshot(&state, written.state_hash, &options)
        });
        Ok(carried?.differences(&template?))
    }

    /// Writes the genesis beside the whole snapshot and gives both their names: both are there afterwards, or neither.
    fn put_in_place(&self, part: Part, genesis: &Genesis) -> Result<()> {
        let genesis_part = Part::create(&self.genesis)?;
        genesis_part
            .file()
            .write_all(&genesis.to_bytes())
            .or_failed(|| format!("cannot write {}", self.genesis.display()))?;
        genesis_part.sync()?;
        part.sync()?;
        // From here on both are whole. An old genesis goes first, so that it never stands beside a snapshot not its own.
        match fs::remove_file(&self.genesis) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot replace {}", self.genesis.display())).because(e));
            }
            _ => {}
        }
        part.finish()?;
        genesis_part.finish().inspect_err(|_| _ = fs::remove_file(&self.snapshot))
    }

    fn check_existing(&self, force: bool) -> Result<()> {
        for path in [&self.snapshot, &self.genesis] {
            let Ok(metadata) = fs::symlink_metadata(path) else { continue };
            if metadata.is_dir() {
                return Err(Error::failed(format!("{} is a directory", path.display())).hint(Next::ChooseSnapdir));
            }
            if !force {
                return Err(
                    Error::refused(format!("{} exists already", path.display())).hint(Next::ChooseSnapdirOrReplace)
                );
            }
        }
        Ok(())
    }
}

fn new_chain_id(given: Option<&str>, old: Option<&str>, progress: &Progress) -> Result<String> {
    match (given, old) {
        (Some(given), Some(old)) if given == old => {
            Err(Error::refused(format!("the new chain id is the old one: \"{}\"", text::escape(old)))
                .hint("a new network needs a new chain id, or its nodes and transactions mix with the old one's"))
        }
        (Some(given), _) => Ok(given.to_owned()),
        (None, Some(old)) => next_chain_id(old).ok_or_else(|| {
            Error::usage(format!("the old chain id \"{}\" has no successor of the same form", text::escape(old)))
                .hint(Next::GiveChainId)
        }),
        (None, None) => {
            let id = genesis::fresh::chain_id(&mut rand::rng());
            let text = format!("the old chain id is not known, so the new network is called {id}");
            progress.warning(Notice::from(text).next(Next::CarryChainIdOn));
            Ok(id)
        }
    }
}

/// Refuses a disk that is too small, and tells the room: text compresses to a third of what the tables take, and to the
/// same only where they hold random bytes.
fn check_space(facts: &Facts, snapdir: &Path, progress: &Progress) -> Result<()> {
    let tables = facts.tables_size_bytes;
    let free = durable::free_space(snapdir)?;
    durable::require_space(snapdir, tables / 2, "the snapshot")?;
    progress.note(format!(
        "The tables take {} on the server; the snapshot usually takes a third of that, {} are free",
        text::bytes(tables),
        text::bytes(free)
    ));
    if free < tables {
        progress.warning("the disk may become full if the tables hold random bytes; nothing is left then");
    }
    Ok(())
}

/// The snapshot directory; dropping it removes it again if it was made here and is empty.
struct Directory(Option<PathBuf>);

impl Directory {
    fn make(path: &Path) -> Result<Self> {
        let is_new = !path.exists();
        durable::create_directory(path, 0o755)?;
        Ok(Directory(is_new.then(|| path.to_owned())))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Runs pg_dump, opens the connections that bring the rows, and runs the pipeline. Dropping the future ends them all.
async fn write_text(
    cut: &Cut,
    program: &PgDump,
    part: &Part,
    options: &CreateOptions,
    progress: &Progress,
) -> Result<Written> {
    let facts = cut.facts();
    let jobs = options.jobs.unwrap_or_else(jobs_default).min(JOBS_MAX);
    let read = options.read.unwrap_or(RowOptions::new(jobs));
    // The connections stay in this frame: dropping the future ends them, and with them the text.
    let rules = if options.kwil_compat { LineRules::Compat } else { LineRules::Faithful };
    let (source, mut connections) = SplicedDump::open(cut, program, read, rules, progress).await?;
    let (family, compression) = (facts.family, options.compression);
    // A v0.9 network that goes on counting must not take the height off its resolutions' expiry.
    let height = if options.keep_height && family == Family::V09 { 0 } else { facts.height };
    let file = part.file().try_clone().or_failed(|| "cannot write the snapshot")?;
    let (path, reporter) = (part.part().to_owned(), progress.clone());
    let filter = DumpFilter::new(family, rules);
    let describe = options.describe;
    // On the disk that was chosen for something large.
    let spill = options.digest.then(|| durable::parent(&path).to_owned());
    let work = tokio::task::spawn_blocking(move || {
        Job { source, filter, height: Some(height), compression, jobs, spill, describe, progress: &reporter }
            .run(&file, &path)
    });
    let done = connections.over(cut, work).await;
    progress.done("snapshot");
    let written = done.or_failed(|| "the snapshot's writer ended unexpectedly")??;
    connections.end(cut).await?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn the_new_chain_id_is_never_the_old_one() {
        let silent = Progress::silent();
        let e = new_chain_id(Some("net-1"), Some("net-1"), &silent).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert_eq!(new_chain_id(None, Some("net-1"), &silent).unwrap(), "net-2");
        assert_eq!(new_chain_id(Some("other"), Some("net-1"), &silent).unwrap(), "other");
    }

    #[test]
    fn a_fresh_chain_id_has_kwils_form_and_is_said_aloud() {
        use std::sync::{Arc, Mutex};
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let progress = Progress::new(move |item| sink.lock().unwrap().push(format!("{item:?}")));
        let id = new_chain_id(None, None, &progress).unwrap();
        let tail = id.strip_prefix("kwil-chain-").unwrap();
        assert_eq!(tail.len(), 8);
        assert!(tail.starts_with(|c: char| c.is_ascii_lowercase()), "{id}");
        assert!(tail.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{id}");
        assert!(said.lock().unwrap()[0].contains("CarryChainIdOn"));
    }

    #[test]
    fn a_new_directory_goes_with_a_failure_but_not_one_that_holds_something() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("snaps");
        drop(Directory::make(&path).unwrap());
        assert!(!path.exists());
        let directory = Directory::make(&path).unwrap();
        fs::write(path.join("other"), "x").unwrap();
        drop(directory);
        assert!(path.exists());
    }
}
