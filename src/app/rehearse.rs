//! Rehearsing kwild's restore: the snapshot's text goes through psql into a database of our own, as it will on every
//! validator's machine, and what the server would not take is told before anyone is harmed by it.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use kwil_formats::{
    dump::scan::ScanReport,
    formats::{Family, genesis::Genesis},
    judge::rehearsal::FailedStatement,
};
use serde::Serialize;

use super::files::read_manifest;
use crate::{
    base::{
        Advice, Blake3Hash, Context, Error, Next, Notice, Progress, Result, Sha256Hash, task::CancellationToken, text,
    },
    database::{
        RehearsalDatabase, Settings,
        scratch::{self, Scratch, ScratchOptions},
    },
    manifest::Manifest,
    snapshot::{
        self,
        digest::{Digest, TableDigest},
    },
};

mod load;

use load::{Loaded, Read};

/// The major version of PostgreSQL that kwild starts on; it takes no other.
const SERVER_MAJOR: u32 = 16;
/// Environment variables that kwild's psql obeys and the rehearsal's does not.
const OBEYED: [&str; 5] = ["PGCLIENTENCODING", "PGOPTIONS", "PGDATABASE", "PGSERVICE", "PSQLRC"];

/// What is rehearsed, and where.
#[derive(Debug)]
pub struct RehearseOptions {
    /// The snapshot file, gzip or plain.
    pub snapshot: PathBuf,
    /// The genesis that must pin the snapshot; `None`: that is not checked.
    pub genesis: Option<PathBuf>,
    /// A manifest, or its directory, whose state hash and row counts are compared; `None`: they are not.
    pub manifest: Option<PathBuf>,
    /// The server to restore on.
    pub server: RehearsalServer,
}

/// The server that a rehearsal uses.
#[derive(Debug, Clone)]
pub enum RehearsalServer {
    /// One of our own, that is gone afterwards.
    ThrowAway,
    /// This one and no other; the database that the settings name is not looked at.
    Named(Settings),
    /// This one, because kwild will restore on it or on its like; where no database can be made there, a throw-away one.
    Preferred(Settings),
}

/// What a rehearsal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// Nothing failed but what fails in every restore, and every row is there.
    pub ok: bool,
    /// The family of the snapshot.
    pub family: Family,
    /// SHA-256 of the uncompressed text.
    pub state_hash: Sha256Hash,
    /// The server that was used, as host and port; `None`: a throw-away one.
    pub server: Option<String>,
    /// The version of the server that was used, in its own words, such as `16.9 (Debian 16.9-1)`.
    pub server_version: String,
    /// The number of tables that have a COPY block in the file, with or without rows.
    pub tables: u64,
    /// The number of rows that the file holds.
    pub rows: u64,
    /// The number of rows that were restored; 0 where the guard ended the restore.
    pub restored_rows: u64,
    /// Statements that failed, in the text's order.
    pub failed: Vec<FailedStatement>,
    /// The number of failures beyond those listed.
    pub failed_more: u64,
    /// The text has the guard: what fails ends the restore, and nothing of `kwild_voting` is there then.
    pub guarded: bool,
    /// Tables with other rows than they should have; empty where the guard ended the restore.
    pub differs: Vec<RowsDiffer>,
    /// Parts of the schema, in words, that are not as the file makes them.
    pub schema_differs: Vec<String>,
    /// Sentences on what is worth knowing of the rehearsal.
    pub notes: Vec<String>,
}

/// A table with other rows than it should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowsDiffer {
    /// The table's name as `schema.table`.
    pub table: String,
    /// The number of rows in the file; `None`: the file has no such table.
    pub file: Option<u64>,
    /// The number of rows that the manifest counts; `None`: there is no manifest, or it has no such table.
    pub manifest: Option<u64>,
    /// The number of rows after the restore; `None`: the table was not made.
    pub restored: Option<u64>,
    /// Whether the rows are as many, but with other contents.
    pub other_contents: bool,
}

impl Rehearsed {
    /// The failed statements that do not fail in every restore.
    pub fn unexpected(&self) -> impl Iterator<Item = &FailedStatement> {
        self.failed.iter().filter(|failed| !failed.expected)
    }

    /// Whether the guard ended the restore.
    pub fn is_stopped(&self) -> bool {
        self.guarded && self.unexpected().next().is_some()
    }

    /// Refuses a snapshot whose restore would lose something.
    ///
    /// # Errors
    /// `Kind::Verify` with the first failure.
    pub fn check(&self) -> Result<()> {
        const KEEP: &str = "do not give it out";
        if self.ok {
            return Ok(());
        }
        let mut parts = Vec::new();
        if self.is_stopped() {
            let failed = self.unexpected().next().map(|f| format!("line {}: {}: {}", f.line, f.statement, f.message));
            return Err(Error::verify(format!(
                "kwild would not restore this snapshot, and end: {}; psql stopped there and nothing was loaded",
                failed.unwrap_or_default()
            ))
            .hint(Advice::from(KEEP).and(Next::MakeSnapshotAnew)));
        }
        if let Some(table) = self.differs.first() {
            let more = self.differs.len() - 1;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            parts.push(format!("{table}{more}"));
        }
        parts.extend(self.schema_differs.first().cloned());
        if let Some(failed) = self.unexpected().next() {
            parts.push(format!("line {}: {}: {}", failed.line, failed.statement, failed.message));
        }
        Err(Error::verify(format!("kwild would not restore all of this snapshot: {}", parts.join("; ")))
            .hint(Advice::from(KEEP).and(Next::MakeSnapshotAnew)))
    }
}

impl std::fmt::Display for RowsDiffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = text::escape(&self.table);
        if self.other_contents {
            return write!(f, "{name}: rows with other contents than in the file");
        }
        match self.restored {
            Some(rows) => write!(f, "{name}: {} restored", text::count(rows, "row"))?,
            None => write!(f, "{name}: the table was not made")?,
        }
        match self.file {
            Some(rows) => write!(f, ", {rows} in the file")?,
            None => write!(f, ", not in the file")?,
        }
        match self.manifest {
            Some(rows) if self.file != Some(rows) => write!(f, ", {rows} in the manifest"),
            _ => Ok(()),
        }
    }
}

/// Loads the file in the pass that checks it: every statement before psql has it, the hash (where a genesis or manifest is
/// given) at its end. Then compares what was restored, row by row. What was made is gone afterwards, however it ends.
///
/// # Errors
/// As [`crate::snapshot::verify`]; when there is no server, or it fails (`Kind::Failed`). Failing statements are no error here:
/// [`Rehearsed::check`].
pub async fn rehearse(options: RehearseOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Rehearsed> {
    let wanted = Wanted::read(&options)?;
    if cancel.is_cancelled() {
        return Err(interrupted());
    }
    let Place { database, throw_away } = Place::find(&options.server, progress).await?;
    progress.step(format!("Restoring into the database {} at {}", database.name(), database.settings().place()));
    let loaded = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(interrupted()),
        loaded = load_and_compare(&database, &options, &wanted, progress, cancel) => loaded,
    };
    let server = Server {
        place: throw_away.is_none().then(|| {
            let settings = database.settings();
            format!("{}:{}", text::escape(&settings.host), settings.port)
        }),
        major: database.server_major(),
        version: database.server_version().to_owned(),
    };
    let removed = database.remove().await;
    // Also when the restore failed, nothing may be left; its own error matters more.
    let loaded = match (loaded, removed) {
        (Err(e), Err(left)) => {
            progress.warning(Notice { text: left.chain(), next: left.advice().cloned() });
            return Err(e);
        }
        (loaded, Ok(())) => loaded?,
        (Ok(_), Err(left)) => return Err(left),
    };
    if let Some(scratch) = throw_away {
        tokio::task::spawn_blocking(|| scratch.stop())
            .await
            .or_failed(|| "the throw-away server was not stopped")??;
    }
    judge(&wanted, loaded, server)
}

/// An empty database to restore into, and the server it is on where that is our own.
struct Place {
    database: RehearsalDatabase,
    throw_away: Option<Scratch>,
}

impl Place {
    async fn find(server: &RehearsalServer, progress: &Progress) -> Result<Self> {
        match server {
            RehearsalServer::ThrowAway => Place::throw_away(progress).await,
            RehearsalServer::Named(settings) => Place::on(settings).await,
            RehearsalServer::Preferred(settings) => match Place::on(settings).await {
                Err(e) if scratch::is_possible() => {
                    progress.note(format!("rehearsed on a throw-away server instead: {}", e.chain()));
                    Place::throw_away(progress).await
                }
                found => found,
            },
        }
    }

    async fn on(settings: &Settings) -> Result<Self> {
        Ok(Place { database: RehearsalDatabase::make(settings).await?, throw_away: None })
    }

    async fn throw_away(progress: &Progress) -> Result<Self> {
        progress.step("Starting a throw-away PostgreSQL");
        let started = tokio::task::spawn_blocking(|| Scratch::start(ScratchOptions::default())).await;
        let scratch = started
            .or_failed(|| "the throw-away server was not started")?
            .map_err(|e| e.hint(Next::InstallOrNameServer))?;
        let database = RehearsalDatabase::make(&scratch.settings("postgres")).await?;
        Ok(Place { database, throw_away: Some(scratch) })
    }
}

/// The server that was used.
struct Server {
    /// Host and port; `None`: a throw-away one.
    place: Option<String>,
    major: u32,
    version: String,
}

fn interrupted() -> Error {
    Error::interrupted("during the rehearsal; its database is gone")
}

/// What the snapshot file must be, as far as it is given.
struct Wanted {
    genesis: Option<Genesis>,
    manifest: Option<Manifest>,
}

impl Wanted {
    fn read(options: &RehearseOptions) -> Result<Self> {
        let genesis = options.genesis.as_deref().map(snapshot::read_genesis).transpose()?;
        Ok(Wanted { genesis, manifest: options.manifest.as_deref().map(read_manifest).transpose()? })
    }

    /// Refuses another file than the genesis and the manifest name.
    fn check(&self, read: &Read, file: &Path) -> Result<()> {
        if let Some(genesis) = &self.genesis {
            snapshot::check_pinned(read.state_hash, &read.report, genesis)?;
        }
        match &self.manifest {
            Some(manifest) if manifest.state_hash != read.state_hash => Err(Error::verify(format!(
                "{} is not the manifest's snapshot: its state hash is {}, not {}",
                file.display(),
                read.state_hash,
                manifest.state_hash
            ))
            .hint(Next::SignedSnapshot)),
            _ => Ok(()),
        }
    }
}

/// What the server has after the restore.
struct Restored {
    loaded: Loaded,
    /// The digest of tables and schema; `None` where a statement failed that should not, or a number of rows is wrong.
    digest: Option<Digest>,
}

async fn load_and_compare(
    database: &RehearsalDatabase,
    options: &RehearseOptions,
    wanted: &Wanted,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Restored> {
    let loaded = load::load(database, &options.snapshot, progress, cancel).await?;
    wanted.check(&loaded.read, &options.snapshot)?;
    let (report, votes) = (&loaded.read.report, votes_of(&loaded.read.report));
    let (failed, more) = loaded.complaints.by_statement(&loaded.read.outline, votes);
    let whole = more == 0
        && failed.iter().all(|failed| failed.expected)
        && tables_that_differ(report, &loaded.rows, wanted.manifest.as_ref()).is_empty();
    let digest = if whole { Some(load::restored(database, report, progress, cancel).await?) } else { None };
    Ok(Restored { loaded, digest })
}

fn votes_of(report: &ScanReport) -> u64 {
    report.table_rows.get("kwild_voting.votes").copied().unwrap_or(0)
}

fn judge(wanted: &Wanted, restored: Restored, server: Server) -> Result<Rehearsed> {
    let Restored { loaded, digest } = restored;
    let report = &loaded.read.report;
    let (failed, failed_more) = loaded.complaints.by_statement(&loaded.read.outline, votes_of(report));
    // A server in need is no fault of the file's.
    if let Some(failure) = failed.iter().find(|f| is_the_servers(f.sqlstate.as_deref())) {
        let hint = match failure.sqlstate.as_deref() {
            Some("53100") => "its disk is full: make room there or use another server, and run the rehearsal again",
            _ => "see the server's log, and run the rehearsal again",
        };
        return Err(Error::failed("the server could not go on, so the rehearsal says nothing about the snapshot")
            .because(format!("line {}: {}", failure.line, failure.message))
            .hint(hint));
    }
    let stopped = report.guarded && (failed_more > 0 || failed.iter().any(|f| !f.expected));
    // What is there is the server's remains, not what kwild would have.
    let mut differs =
        if stopped { Vec::new() } else { tables_that_differ(report, &loaded.rows, wanted.manifest.as_ref()) };
    let mut schema_differs = Vec::new();
    if let Some(restored) = &digest {
        let file = Digest::new(&loaded.read.digest, &[]);
        differs.extend(other_contents(&file, restored));
        schema_differs = file.schema_differences(restored, "the file", "the database");
    }
    let ok = differs.is_empty() && schema_differs.is_empty() && failed_more == 0 && failed.iter().all(|f| f.expected);
    let known = |table: &&String| report.table_rows.contains_key(*table);
    let restored_rows =
        if stopped { 0 } else { loaded.rows.keys().filter(known).map(|table| loaded.rows[table]).sum() };
    Ok(Rehearsed {
        ok,
        family: report.family,
        state_hash: loaded.read.state_hash,
        server: server.place,
        server_version: server.version,
        tables: report.table_rows.len() as u64,
        rows: report.rows,
        restored_rows,
        failed,
        failed_more,
        guarded: report.guarded,
        differs,
        schema_differs,
        notes: notes(server.major),
    })
}

/// Whether the server is in trouble, by the SQLSTATE's class: insufficient resources, operator intervention, system
/// error.
fn is_the_servers(sqlstate: Option<&str>) -> bool {
    sqlstate.is_some_and(|code| ["53", "57", "58"].iter().any(|class| code.starts_with(class)))
}

fn tables_that_differ(
    report: &ScanReport,
    restored: &BTreeMap<String, u64>,
    manifest: Option<&Manifest>,
) -> Vec<RowsDiffer> {
    let signed: BTreeMap<&str, u64> = manifest
        .and_then(|manifest| manifest.state_digest.as_ref())
        .map(|digest| digest.tables.iter().map(|t| (&*t.name, t.rows)).collect())
        .unwrap_or_default();
    let mut names: Vec<&str> = report.table_rows.keys().map(String::as_str).chain(signed.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let mut differs = Vec::new();
    for table in names {
        let file = report.table_rows.get(table).copied();
        let manifest = signed.get(table).copied();
        let rows = restored.get(table).copied();
        if rows != file || manifest.is_some_and(|manifest| Some(manifest) != file) {
            differs.push(RowsDiffer { table: table.to_owned(), file, manifest, restored: rows, other_contents: false });
        }
    }
    differs
}

/// The tables whose rows are not the same in the file and after the restore, although they are as many.
fn other_contents(file: &Digest, restored: &Digest) -> Vec<RowsDiffer> {
    let digests: BTreeMap<&str, Blake3Hash> = restored.tables.iter().map(|t| (&*t.name, t.digest)).collect();
    let differs = file.tables.iter().filter(|table| digests.get(&*table.name) != Some(&table.digest));
    let differ = |table: &TableDigest| RowsDiffer {
        table: table.name.clone(),
        file: Some(table.rows),
        manifest: None,
        restored: Some(table.rows),
        other_contents: true,
    };
    differs.map(differ).collect()
}

/// A note for each way in which kwild's own restore on this machine may go otherwise.
fn notes(server_major: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if server_major != SERVER_MAJOR {
        notes.push(format!("rehearsed on PostgreSQL {server_major}; kwild starts on {SERVER_MAJOR} only"));
    }
    let psqlrc = env::home_dir().map(|home| home.join(".psqlrc")).filter(|path| path.exists());
    if let Some(path) = psqlrc {
        notes.push(format!("kwild's psql obeys {}, the rehearsal's does not", path.display()));
    }
    for name in OBEYED.iter().filter(|name| env::var_os(name).is_some()) {
        notes.push(format!("kwild's psql would obey {name} if it is set where kwild starts, the rehearsal's does not"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{ReadOptions, read::SnapshotText};

    #[test]
    fn only_the_server_is_to_blame_for_its_own_troubles() {
        assert!(is_the_servers(Some("53100")) && is_the_servers(Some("57P01")) && is_the_servers(Some("58030")));
        assert!(!is_the_servers(Some("23503")) && !is_the_servers(Some("42P01")) && !is_the_servers(None));
    }

    #[test]
    fn every_table_is_counted_against_all_that_is_known() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz");
        let text = SnapshotText::open(&path).unwrap();
        let mut snapshot = text.read(&ReadOptions::default(), |_| {}).unwrap().scan.unwrap();
        let mut restored = snapshot.table_rows.clone();
        assert_eq!(tables_that_differ(&snapshot, &restored, None), []);
        restored.remove("notes.pages");
        restored.insert("ledger.accts".to_owned(), 79);
        restored.insert("public.other".to_owned(), 5);
        snapshot.table_rows.insert("notes.pages".to_owned(), 4);
        let words: Vec<String> =
            tables_that_differ(&snapshot, &restored, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            ["ledger.accts: 79 rows restored, 80 in the file", "notes.pages: the table was not made, 4 in the file"]
        );
    }
}
