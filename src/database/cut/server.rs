//! The queries that tell what the server says of itself, and of others who are connected to it.

use super::{
    super::{
        connect::explain_query,
        live::{IS_CLIENT, Lag, LiveSign},
    },
    WATCH_CLIENTS,
    reader::Reader,
};
use crate::base::{Error, Next, Result, text::escape};

impl Reader<'_> {
    /// Begins the cut's transaction under this application name; true where the server, while it waits for a lock,
    /// looks whether we are still there.
    pub(super) async fn begin(&self, name: &str) -> Result<bool> {
        // A cut of a large database outlives any such limit of the role or the server; not every version has each.
        // An empty search path: nobody's objects stand in for the system's.
        const PREPARE: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN \
             ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'); \
             SELECT pg_catalog.set_config('search_path', '', false)";
        // Apart from the above: several statements sent at once are a transaction of their own.
        const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let named = format!("SET application_name = '{name}'");
        // From 14 on, where the server's system can.
        let watches_clients = self.client.batch_execute(WATCH_CLIENTS).await.is_ok();
        for sql in [&named, PREPARE, BEGIN] {
            let done = self.client.batch_execute(sql).await;
            done.map_err(|e| explain_query(e, "open a consistent cut", self.settings))?;
        }
        Ok(watches_clients)
    }

    /// The server's major version, and its version in its own
    /// words; an error where the database's encoding is not UTF8.
    pub(super) async fn server(&self) -> Result<(u32, String)> {
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
            .hint(Next::IsItTheDatabase));
        }
        let number: u32 = number.parse().map_err(|_| Error::failed(format!("cannot {DOING}: {}", escape(&number))))?;
        Ok((number / 10_000, escape(&version)))
    }

    /// A sign, with how far the server is behind, where it is a standby of another one; else `None`.
    pub(super) async fn standby(&self, height: i64) -> Result<Option<LiveSign>> {
        const DOING: &str = "ask whether the server is a standby";
        if !self.one::<bool>("pg_catalog.pg_is_in_recovery()", DOING).await? {
            return Ok(None);
        }
        let sql = "SELECT extract(epoch FROM pg_catalog.clock_timestamp() - \
             pg_catalog.pg_last_xact_replay_timestamp())::bigint, pg_catalog.pg_wal_lsn_diff( \
             pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::bigint";
        let rows = self.rows(sql, DOING).await?;
        let lag = match rows.first() {
            Some(row) => Lag { seconds: self.get(row, 0, DOING)?, bytes: self.get(row, 1, DOING)? },
            None => Lag::default(),
        };
        Ok(Some(LiveSign::Standby { height, lag }))
    }

    /// kwild's replication slots and all prepared transactions in this database, each as a sign.
    pub(super) async fn live_signs(&self) -> Result<Vec<LiveSign>> {
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

    /// Sessions of others in this database, by role and program, made harmless to show; a stopped kwild has none.
    pub(super) async fn other_sessions(&self) -> Result<Vec<String>> {
        const DOING: &str = "look for other sessions";
        // Who may not see a session's role sees that it is there.
        let sql = format!(
            "SELECT coalesce(usename::text, 'another role') || CASE WHEN coalesce(application_name, '') = '' THEN '' \
             ELSE ' (' || application_name || ')' END FROM pg_catalog.pg_stat_activity \
             WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() \
             AND {IS_CLIENT} ORDER BY 1"
        );
        Ok(self.names(&sql, DOING).await?.iter().map(|name| escape(name)).collect())
    }
}
