//! One consistent cut: a REPEATABLE READ READ ONLY transaction whose exported snapshot every fact and pg_dump's text
//! come from. It stays open until pg_dump has begun with it and is asked for the height once more at the end.

use std::collections::BTreeSet;

use tokio_postgres::{Client, Row, types::FromSql};

use super::{
    connect::{Connection, explain_query},
    live::LiveSign,
    settings::Settings,
};
use crate::{
    base::{Error, Progress, Result, text::escape},
    kwil::Family,
};

/// Schemas of a node's own, which never go into a snapshot.
const PRIVATE_SCHEMAS: [&str; 6] =
    ["kwild_chain", "kwild_events", "kwild_peers", "kwild_migrations", "public", "information_schema"];
/// kwild's bookkeeping table, left out as Kwil leaves it out.
pub(crate) const SENTRY_TABLE: &str = "kwild_internal.sentry";

/// What decides how a cut is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CutOptions {
    /// The family the operator expects; otherwise it is found by looking.
    pub family: Option<Family>,
    /// Go on although kwild seems to be at work.
    pub allow_live: bool,
}

/// The network's parameters as the database holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredParameters {
    /// Rows of `kwild_chain.consensus_params`: name and value.
    V09(Vec<(String, Vec<u8>)>),
    /// The JSON object of `kwild_chain.params`.
    V010(Vec<u8>),
}

/// What the cut tells about the network. Voters are not here: they come out of the dump itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Which formats apply.
    pub family: Family,
    /// Last committed block.
    pub height: i64,
    /// Application hash of that block.
    pub app_hash: Option<Vec<u8>>,
    /// Parameters, undecoded.
    pub parameters: StoredParameters,
    /// v0.10: who owns the database.
    pub owner: Option<String>,
    /// Schemas that the snapshot carries, in Kwil's order: its own, then those of the catalogue.
    pub schemas: Vec<String>,
    /// Major version of the server.
    pub server_major: u32,
    /// Version of the server as it says it.
    pub server_version: String,
    /// Bytes that the tables of these schemas take on the server's disk.
    pub tables_size_bytes: u64,
}

/// An open cut. Dropping it ends the transaction.
#[derive(Debug)]
pub struct Cut {
    connection: Connection,
    settings: Settings,
    allow_live: bool,
    snapshot_id: String,
    facts: Facts,
}

impl Cut {
    /// Connects, opens the transaction and reads the facts. Warnings go to `progress`.
    ///
    /// # Errors
    /// When the database cannot be reached or read, is none of Kwil's, or (`Kind::Refused`) kwild is at work on it.
    pub async fn open(settings: &Settings, options: CutOptions, progress: &Progress) -> Result<Self> {
        let connection = Connection::open(settings).await?;
        let read = Reader { client: &connection.client, settings };
        read.begin().await?;
        let (server_major, server_version) = read.server().await?;
        let family = read.family(options.family).await?;
        let (height, app_hash, chain_sign) = read.chain(family).await?;
        for sign in read.live_signs().await?.into_iter().chain(chain_sign) {
            allow(&sign, options.allow_live, progress)?;
        }
        let others = read.other_sessions().await?;
        if !others.is_empty() {
            progress.note(format!(
                "Others are connected to this database, which is no matter as long as none of them is kwild: {}",
                others.join(", ")
            ));
        }
        let (schemas, warnings) = read.schemas(family).await?;
        for warning in warnings {
            progress.warning(warning);
        }
        let parameters = read.parameters(family).await?;
        let owner = read.owner(family).await?;
        let tables_size_bytes = read.tables_size_bytes(&schemas).await?;
        let snapshot_id: String = read.one("pg_catalog.pg_export_snapshot()", "open a consistent cut").await?;
        let facts = Facts {
            family,
            height,
            app_hash,
            parameters,
            owner,
            schemas,
            server_major,
            server_version,
            tables_size_bytes,
        };
        Ok(Cut { snapshot_id, facts, settings: settings.clone(), allow_live: options.allow_live, connection })
    }

    /// What was read.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Name of the exported snapshot, for pg_dump.
    pub fn snapshot_id(&self) -> &str {
        &self.snapshot_id
    }

    /// Asks within the cut.
    pub(super) fn client(&self) -> &Client {
        &self.connection.client
    }

    /// How the database was reached.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends the transaction and looks once more whether kwild was at work meanwhile.
    ///
    /// # Errors
    /// `Kind::Refused` when it was and that is not allowed; or the connection is gone.
    pub async fn finish(self, progress: &Progress) -> Result<()> {
        let read = Reader { client: &self.connection.client, settings: &self.settings };
        const END: &str = "end the consistent cut";
        read.client.batch_execute("COMMIT").await.map_err(|e| explain_query(e, END, read.settings))?;
        let (height, ..) = read.chain(self.facts.family).await?;
        let moved =
            (height != self.facts.height).then_some(LiveSign::HeightMoved { from: self.facts.height, to: height });
        for sign in read.live_signs().await?.into_iter().chain(moved) {
            allow(&sign, self.allow_live, progress)?;
        }
        Ok(())
    }
}

fn allow(sign: &LiveSign, allow_live: bool, progress: &Progress) -> Result<()> {
    if !allow_live {
        return Err(Error::refused(sign.to_string()).hint(sign.remedy()));
    }
    progress.warning(format!("{sign}; the old network may go on past this snapshot"));
    Ok(())
}

/// The queries, each with the words for its failure.
struct Reader<'a> {
    client: &'a Client,
    settings: &'a Settings,
}

impl Reader<'_> {
    async fn begin(&self) -> Result<()> {
        // A cut of a large database outlives any such limit of the role or the server; not every version has each.
        // An empty search path: nobody's objects stand in for the system's.
        const PREPARE: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN \
             ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'); \
             SELECT pg_catalog.set_config('search_path', '', false)";
        // Apart from the above: several statements sent at once are a transaction of their own.
        const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        for sql in [PREPARE, BEGIN] {
            let done = self.client.batch_execute(sql).await;
            done.map_err(|e| explain_query(e, "open a consistent cut", self.settings))?;
        }
        Ok(())
    }

    async fn rows(&self, sql: &str, doing: &str) -> Result<Vec<Row>> {
        self.client.query(sql, &[]).await.map_err(|e| explain_query(e, doing, self.settings))
    }

    /// One column of one row.
    fn get<'r, T: FromSql<'r>>(&self, row: &'r Row, column: usize, doing: &str) -> Result<T> {
        row.try_get(column).map_err(|e| explain_query(e, doing, self.settings))
    }

    /// The value of an expression.
    async fn one<T: for<'r> FromSql<'r>>(&self, expression: &str, doing: &str) -> Result<T> {
        let rows = self.rows(&format!("SELECT {expression}"), doing).await?;
        let row = rows.first().ok_or_else(|| Error::failed(format!("cannot {doing}: no row came back")))?;
        self.get(row, 0, doing)
    }

    async fn server(&self) -> Result<(u32, String)> {
        const DOING: &str = "read the server's version";
        let number: String = self.one("pg_catalog.current_setting('server_version_num')", DOING).await?;
        let version: String = self.one("pg_catalog.current_setting('server_version')", DOING).await?;
        let encoding: String = self.one("pg_catalog.current_setting('server_encoding')", DOING).await?;
        if encoding != "UTF8" {
            return Err(Error::failed(format!(
                "the database \"{}\" has the encoding {}, not UTF8",
                escape(&self.settings.dbname),
                escape(&encoding)
            ))
            .hint("Kwil networks run on UTF8 databases only; is --dbname the right one?"));
        }
        let number: u32 = number.parse().map_err(|_| Error::failed(format!("cannot {DOING}: {}", escape(&number))))?;
        Ok((number / 10_000, escape(&version)))
    }

    async fn family(&self, expected: Option<Family>) -> Result<Family> {
        const DOING: &str = "look for Kwil's schemas";
        let engine: bool =
            self.one("EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'kwild_engine')", DOING).await?;
        let schemas: bool = self
            .one(
                "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'kwild_internal' AND c.relname = 'kwil_schemas')",
                DOING,
            )
            .await?;
        let found = match (engine, schemas) {
            (true, _) => Family::V010,
            (false, true) => Family::V09,
            (false, false) => {
                return Err(Error::failed(format!(
                    "the database \"{}\" at {} holds no Kwil schemas",
                    escape(&self.settings.dbname),
                    self.settings.place()
                ))
                .hint("name the old node's database with --dbname, or its root with --from-root"));
            }
        };
        match expected {
            Some(family) if family != found => {
                Err(Error::refused(format!("the database is of family {found}, not {family} as --family says"))
                    .hint("leave --family out, or name the right database"))
            }
            _ => Ok(found),
        }
    }

    /// Height, application hash, and what they say about an unfinished block.
    async fn chain(&self, family: Family) -> Result<(i64, Option<Vec<u8>>, Option<LiveSign>)> {
        const DOING: &str = "read the chain's height";
        let columns = match family {
            Family::V09 => "height, app_hash, false",
            Family::V010 => "height, app_hash, dirty",
        };
        let rows = self.rows(&format!("SELECT {columns} FROM kwild_chain.chain LIMIT 2"), DOING).await?;
        let row = match rows.as_slice() {
            [row] => row,
            [] => {
                return Err(Error::failed("the chain has no height: kwild_chain.chain is empty")
                    .hint("no block was ever committed here; name the database of a node that ran with --dbname"));
            }
            _ => {
                return Err(Error::failed("kwild_chain.chain has more than one row")
                    .hint("the database is damaged; use another node's"));
            }
        };
        let height: i64 = self.get(row, 0, DOING)?;
        let app_hash: Option<Vec<u8>> = self.get(row, 1, DOING)?;
        let dirty: Option<bool> = self.get(row, 2, DOING)?;
        if height < 0 {
            return Err(Error::failed(format!("the chain's height is {height}"))
                .hint("no block was ever committed here; name the database of a node that ran with --dbname"));
        }
        let sign = if dirty == Some(true) {
            Some(LiveSign::Dirty)
        } else if family == Family::V09 && app_hash.as_deref() == Some(&[0x42]) {
            Some(LiveSign::UnfinishedAppHash)
        } else {
            None
        };
        Ok((height, app_hash, sign))
    }

    async fn live_signs(&self) -> Result<Vec<LiveSign>> {
        const DOING: &str = "look for a running kwild";
        let slots = self
            .rows(
                "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE \
                 database = pg_catalog.current_database() AND pg_catalog.starts_with(slot_name::text, 'kwild_repl') \
                 ORDER BY 1",
                DOING,
            )
            .await?;
        let prepared = self
            .rows(
                "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY 1",
                DOING,
            )
            .await?;
        let mut signs = Vec::new();
        for row in &slots {
            signs.push(LiveSign::ReplicationSlot(escape(&self.get::<String>(row, 0, DOING)?)));
        }
        for row in &prepared {
            signs.push(LiveSign::PreparedTransaction(escape(&self.get::<String>(row, 0, DOING)?)));
        }
        Ok(signs)
    }

    /// Sessions of others in this database, by role and program; a stopped kwild has none.
    async fn other_sessions(&self) -> Result<Vec<String>> {
        const DOING: &str = "look for other sessions";
        // Who may not see a session's role sees that it is there.
        let sql = "SELECT coalesce(usename::text, 'another role') || CASE WHEN coalesce(application_name, '') = '' THEN '' \
             ELSE ' (' || application_name || ')' END FROM pg_catalog.pg_stat_activity \
             WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() \
             AND backend_type IN ('client backend', 'walsender') ORDER BY 1";
        Ok(self.names(sql, DOING).await?.iter().map(|name| escape(name)).collect())
    }

    /// The schemas to dump, and what the operator should know about those that are not there.
    async fn schemas(&self, family: Family) -> Result<(Vec<String>, Vec<String>)> {
        const DOING: &str = "read Kwil's catalogue of schemas";
        let (own, catalogue): (&[&str], _) = match family {
            Family::V09 => (
                &["kwild_voting", "kwild_accts", "kwild_internal"],
                "SELECT 'ds_' || dbid FROM kwild_internal.kwil_schemas ORDER BY dbid COLLATE \"C\"",
            ),
            Family::V010 => (
                &["kwild_voting", "kwild_accts", "kwild_engine", "kwild_internal"],
                "SELECT name FROM kwild_engine.namespaces ORDER BY name COLLATE \"C\"",
            ),
        };
        let listed = self.names(catalogue, DOING).await?;
        let existing: BTreeSet<String> =
            self.names("SELECT nspname::text FROM pg_catalog.pg_namespace", DOING).await?.into_iter().collect();
        let mut schemas = Vec::new();
        let mut warnings = Vec::new();
        for name in own {
            // A v0.10 node can lack kwild_internal only in a damaged database; pg_dump would pass over it in silence.
            if !existing.contains(*name) {
                return Err(Error::failed(format!("the schema {name} is missing"))
                    .hint("the database is damaged or half restored; use another node's"));
            }
            schemas.push((*name).to_owned());
        }
        for name in listed {
            if PRIVATE_SCHEMAS.contains(&name.as_str()) || name.starts_with("pg_") {
                return Err(Error::refused(format!(
                    "Kwil's catalogue lists \"{}\", a schema that must not leave this node",
                    escape(&name)
                ))
                .hint("the catalogue was changed by hand; use another node's database"));
            }
            if !existing.contains(&name) {
                warnings.push(format!(
                    "Kwil's catalogue lists \"{}\", but no schema has exactly that name: it is not in the snapshot",
                    escape(&name)
                ));
            } else if !schemas.contains(&name) {
                schemas.push(name);
            }
        }
        Ok((schemas, warnings))
    }

    async fn names(&self, sql: &str, doing: &str) -> Result<Vec<String>> {
        self.rows(sql, doing).await?.iter().map(|row| self.get(row, 0, doing)).collect()
    }

    async fn parameters(&self, family: Family) -> Result<StoredParameters> {
        const DOING: &str = "read the network's parameters";
        match family {
            Family::V09 => {
                let rows = self
                    .rows("SELECT param_name, param_value FROM kwild_chain.consensus_params ORDER BY 1", DOING)
                    .await?;
                let mut parameters = Vec::new();
                for row in &rows {
                    let value: Option<Vec<u8>> = self.get(row, 1, DOING)?;
                    parameters.push((self.get(row, 0, DOING)?, value.unwrap_or_default()));
                }
                Ok(StoredParameters::V09(parameters))
            }
            Family::V010 => {
                let rows = self.rows("SELECT params FROM kwild_chain.params LIMIT 2", DOING).await?;
                match rows.as_slice() {
                    [row] => Ok(StoredParameters::V010(self.get(row, 0, DOING)?)),
                    rows => Err(Error::failed(format!(
                        "kwild_chain.params has {} instead of one row",
                        if rows.is_empty() { "no" } else { "more" }
                    ))
                    .hint("the leader and the parameters cannot be read; use another node's database")),
                }
            }
        }
    }

    async fn owner(&self, family: Family) -> Result<Option<String>> {
        const DOING: &str = "read the database's owner";
        if family == Family::V09 {
            return Ok(None);
        }
        let sql = "SELECT u.user_identifier FROM kwild_engine.user_roles u \
                   JOIN kwild_engine.roles r ON r.id = u.role_id WHERE r.name = 'owner' ORDER BY u.id LIMIT 1";
        Ok(self.names(sql, DOING).await?.into_iter().next())
    }

    async fn tables_size_bytes(&self, schemas: &[String]) -> Result<u64> {
        const DOING: &str = "estimate the snapshot's size";
        let sql = "SELECT coalesce(sum(pg_catalog.pg_table_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname::text = ANY ($1) AND c.relkind IN ('r', 'm')";
        let row = self.client.query_one(sql, &[&schemas]).await.map_err(|e| explain_query(e, DOING, self.settings))?;
        Ok(u64::try_from(self.get::<i64>(&row, 0, DOING)?).unwrap_or(0))
    }
}
