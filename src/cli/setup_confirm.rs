//! `setup confirm`: does the new node hold what was signed?

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use kwil_formats::{formats::GENESIS_FILE_NAME, judge::confirm::Verdict};
use serde::Serialize;

use super::{
    Session,
    database::{DatabaseArgs, Resolved},
    manifest::StateArgs,
    words::finding::FindingResult,
};
use crate::{
    app::{
        confirm::{Conclusion, ConfirmOptions, Confirmed, SnapshotFile, confirm},
        files::read_manifest,
        state::StateDirectory,
        tell::{Told, tell},
    },
    base::{Notice, Result, durable, text},
    manifest::MANIFEST_FILE_NAME,
};

/// Parts of the state that are named in words for each verdict; JSON has all of them.
const PARTS_SHOWN_MAX: usize = 40;

/// Flags of `setup confirm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Blocks and app hashes prove nothing about the data: a node that restored nothing shows the same ones. This reads\n\
    the new node's database, running or stopped, and compares it table by table with what was signed. What kwild itself\n\
    rewrites when it starts is told apart. As long as no transaction has been made (no account's nonce moved), every other\n\
    difference is damage; run it before the network is opened to users.\n\n\
    With the root, its own genesis-state file is used, checked against the hash that was signed; with it, rows are compared\n\
    one by one, and not only tables.\n\n\
    What is found is signed with the root's key, as the word of its validator, and told to the swarm (--no-tell: it is not).\n\n\
    Exit 0: the data is what was signed; 3: it is not, or that cannot be told; the tables are named.\n\n\
    Examples:\n  \
    regenesis setup confirm --root-dir ~/.kwild-new --manifest network_snapshot\n  \
    regenesis setup confirm snapshot.sql.gz --genesis genesis.json --dbname kwild_new"
)]
pub(crate) struct ConfirmArgs {
    /// The snapshot that the node began with [default: the one in the root, or beside the manifest]
    file: Option<PathBuf>,
    /// The genesis [default: the root's, or genesis.json beside the snapshot or the manifest]
    #[arg(short, long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The signed manifest, or its directory [default: the one in the root, if it has one]
    #[arg(long, value_name = "M")]
    manifest: Option<PathBuf>,
    /// Root of the NEW node: its config.toml says where its database is (the same as --from-root)
    #[arg(short, long, value_name = "DIR", conflicts_with = "from_root")]
    root_dir: Option<PathBuf>,
    /// Tables that transactions may have changed are listed, and are no failure
    #[arg(long)]
    allow_transactions: bool,
    /// The pg_dump to run [default: the best one on PATH or among the installed versions]
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    /// Sign nothing, and do not tell the swarm what was found
    #[arg(long)]
    no_tell: bool,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What the confirmation found, with the findings' fixes in words.
#[derive(Serialize)]
struct ConfirmResult {
    #[serde(flatten)]
    confirmed: Confirmed,
    collation: Vec<FindingResult>,
}

impl fmt::Display for ConfirmResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confirmed = &self.confirmed;
        let words = match confirmed.outcome {
            Conclusion::AsSigned => "This node holds what was signed.",
            Conclusion::AsSignedAndMore => "This node holds what was signed, and what transactions added since.",
            Conclusion::NotRestored => "The snapshot was NOT restored: this node's chain began empty.",
            Conclusion::Damaged => "This node does NOT hold what was signed.",
            Conclusion::OrdersOtherwise => {
                "This node holds what was signed, but it ORDERS TEXT OTHERWISE than the others."
            }
            Conclusion::Unconfirmed => "NOT confirmed: transactions or damage changed signed rows.",
        };
        writeln!(f, "{words}")?;
        writeln!(f, "  family        {}", confirmed.family)?;
        writeln!(f, "  height        {}", confirmed.height)?;
        match confirmed.transactions {
            Some(n) => writeln!(f, "  transactions  {n} since the genesis")?,
            None => writeln!(f, "  transactions  not known")?,
        }
        let by = match confirmed.compared {
            "rows" => "every row of the snapshot",
            _ => "the digests in the manifest",
        };
        writeln!(f, "  compared      {by}")?;
        // What is none of the tables has a name without a dot.
        let equal = confirmed.of(Verdict::Equal).filter(|part| part.name.contains('.'));
        let (tables, rows) = equal.fold((0, 0), |(n, rows), part| (n + 1, rows + part.rows.unwrap_or(0)));
        writeln!(f, "  equal         {} with {}", text::count(tables, "table"), text::count(rows, "row"))?;
        for (verdict, word) in [
            (Verdict::Damage, "DAMAGE"),
            (Verdict::Unclear, "UNCLEAR"),
            (Verdict::Grown, "more"),
            (Verdict::Kwild, "kwild"),
        ] {
            for part in confirmed.of(verdict).take(PARTS_SHOWN_MAX) {
                writeln!(f, "{word} {}: {}", text::escape(&part.name), part.text)?;
            }
            let more = confirmed.of(verdict).count().saturating_sub(PARTS_SHOWN_MAX);
            if more > 0 {
                writeln!(f, "{word} and {more} more; --output json names all")?;
            }
        }
        for finding in &self.collation {
            writeln!(f, "{}: {}", finding.level, finding.text)?;
            if let Some(fix) = &finding.fix {
                writeln!(f, "  fix: {fix}")?;
            }
        }
        for note in &confirmed.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

/// Signs what was found with the root's key and tells the others; what was found stays what it is where that fails.
async fn tell_swarm(root: &Path, found: &Confirmed, state: &StateDirectory, session: &Session) {
    let progress = &session.progress;
    match tell(root, found, state, progress, &session.cancel).await {
        Ok(None) => {}
        Ok(Some(Told::ByProcess)) => progress.note("signed; the process that serves this root tells the others"),
        Ok(Some(Told::Swarm)) => progress.note("signed, and told to the swarm"),
        Ok(Some(Told::Kept)) => {
            progress.note("signed; nobody of the swarm is there, and who serves this root later tells it")
        }
        Err(e) => progress.warning(Notice::of("the others were not told what was found", &e)),
    }
}

impl ConfirmArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let Resolved { settings, root, .. } = self.database.with_root(self.root_dir).resolve(&session.progress)?;
        let in_root = root.as_ref().map(|root| root.directory.join(MANIFEST_FILE_NAME)).filter(|path| path.is_file());
        let manifest = self.manifest.or(in_root);
        let (snapshot, genesis) = match (self.file, &root, &manifest) {
            (Some(file), ..) => {
                let beside = durable::parent(&file).join(GENESIS_FILE_NAME);
                (Some(SnapshotFile::Named(file)), beside)
            }
            (None, Some(root), _) => {
                (root.genesis_state.clone().map(SnapshotFile::Found), root.directory.join(GENESIS_FILE_NAME))
            }
            (None, None, Some(path)) => {
                let directory = if path.is_dir() { path.clone() } else { durable::parent(path).to_owned() };
                let family = read_manifest(path)?.network.family;
                let file = directory.join(family.snapshot_file_name());
                (Some(SnapshotFile::Found(file)), directory.join(GENESIS_FILE_NAME))
            }
            (None, None, None) => (None, PathBuf::from(GENESIS_FILE_NAME)),
        };
        let beside = (snapshot.is_some() || root.is_some()).then_some(genesis).filter(|path| path.is_file());
        let options = ConfirmOptions {
            settings,
            manifest,
            snapshot,
            genesis: self.genesis.or(beside),
            pg_dump: self.pg_dump,
            allow_transactions: self.allow_transactions,
        };
        let confirmed = confirm(options, &session.progress, &session.cancel).await?;
        if let Some(root) = root.filter(|_| !self.no_tell) {
            tell_swarm(&root.directory, &confirmed, &self.state.open()?, session).await;
        }
        let verdict = confirmed.check();
        let result = ConfirmResult { collation: FindingResult::all(&confirmed.collation), confirmed };
        match verdict {
            Ok(()) => session.output.result(&result),
            Err(e) => session.output.result_with_error(&result, e),
        }
    }
}
