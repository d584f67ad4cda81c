//! `setup restore --dry-run`: kwild's restore, rehearsed.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Session, database::DatabaseArgs};
use crate::{
    app::rehearse::{RehearsalServer, RehearseOptions, Rehearsed, rehearse},
    base::{Error, Result, text},
};

/// Flags of `setup restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "kwild runs psql without stopping at errors: a statement that fails is passed over in silence, and its rows\n\
    are gone. This runs the same in a database that it makes and drops, and names everything that fails. No existing\n\
    database is touched. Best on the server that the new node will use, which the database flags name (--from-root: that of a\n\
    node's root). Without them a throw-away server is started, where PostgreSQL is installed.\n\n\
    Exit 0: nothing failed but what fails in every restore; 3: rows or definitions would be lost.\n\n\
    Examples:\n  \
    regenesis setup restore --dry-run -s network_snapshot/snapshot.sql.gz -g network_snapshot/genesis.json --from-root ~/.kwild\n  \
    regenesis setup restore --dry-run -s snapshot.sql.gz --manifest . --host db.example --user postgres"
)]
pub(crate) struct RestoreArgs {
    /// Rehearse; there is no other way: kwild itself restores, when it starts
    #[arg(long)]
    dry_run: bool,
    /// The snapshot, gzip or plain SQL
    #[arg(short, long, value_name = "FILE")]
    snapshot: PathBuf,
    /// Its genesis: the snapshot must have the hash that it pins
    #[arg(short, long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// A manifest or its directory: hash and rows of every table are compared
    #[arg(long, value_name = "M")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    server: DatabaseArgs,
}

#[derive(Serialize)]
struct RestoreResult(Rehearsed);

impl fmt::Display for RestoreResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rehearsed { ok, family, state_hash, server_version, tables, rows, restored_rows, failed, .. } = &self.0;
        if *ok {
            writeln!(f, "kwild would restore all of this snapshot.")?;
        } else {
            writeln!(f, "kwild would NOT restore all of this snapshot, and would not say so.")?;
        }
        writeln!(f, "  family      {family}")?;
        writeln!(f, "  state hash  {state_hash}")?;
        let place =
            self.0.server.as_deref().map_or_else(|| "a throw-away one".to_owned(), |place| format!("at {place}"));
        writeln!(f, "  server      PostgreSQL {server_version}, {place}")?;
        writeln!(f, "  data        {} in {}", text::count(*rows, "row"), text::count(*tables, "table"))?;
        writeln!(f, "  restored    {}", text::count(*restored_rows, "row"))?;
        for table in &self.0.differs {
            writeln!(f, "LOST {table}")?;
        }
        for part in &self.0.schema_differs {
            writeln!(f, "SCHEMA {}", text::escape(part))?;
        }
        for failed in failed {
            let word = if failed.expected { "expected" } else { "FAILED" };
            writeln!(f, "{word} line {}: {}", failed.line, failed.statement)?;
            let code = failed.sqlstate.as_ref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
            writeln!(f, "    {}{code}", failed.message)?;
            if failed.expected && !failed.statement.starts_with('\\') {
                writeln!(f, "    in every restore with votes: the voters come from the genesis; harmless")?;
            }
            if failed.more > 0 {
                writeln!(
                    f,
                    "    and {} after it, of the same statement or of its rows",
                    text::count(failed.more, "failure")
                )?;
            }
        }
        if self.0.is_stopped() {
            writeln!(f, "psql stopped there and loaded nothing: kwild would end, and begin anew at its next start")?;
        }
        if self.0.failed_more > 0 {
            writeln!(f, "and {} more", text::count(self.0.failed_more, "failure"))?;
        }
        for note in &self.0.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl RestoreArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        if !self.dry_run {
            return Err(Error::usage("setup restore only rehearses: it needs --dry-run")
                .hint("kwild itself restores the snapshot when it first starts on a root that `setup init` made"));
        }
        let server = match self.server.is_given() {
            true => RehearsalServer::Named(self.server.resolve(&session.progress)?.settings),
            false => RehearsalServer::ThrowAway,
        };
        let options =
            RehearseOptions { snapshot: self.snapshot, genesis: self.genesis, manifest: self.manifest, server };
        let rehearsed = rehearse(options, &session.progress, &session.cancel).await?;
        let verdict = rehearsed.check();
        let result = RestoreResult(rehearsed);
        match verdict {
            Ok(()) => session.output.result(&result),
            Err(e) => session.output.result_with_error(&result, e),
        }
    }
}
