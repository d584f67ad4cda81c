//! The queries that tell what the database says of the network: each gives one fact of the cut, or an error that says
//! what it was to be read for.

use std::collections::BTreeSet;

use kwil_formats::formats::{Family, VoterRow};
use tokio_postgres::{Client, Row, types::FromSql};

use super::{
    super::{connect::explain_query, live::LiveSign, settings::Settings},
    SENTRY_TABLE, StoredParameters,
};
use crate::base::{Error, Next, Result, limits::VOTERS_MAX, text::escape};

/// Schemas of the node or the server, which never go into a snapshot, whatever Kwil's catalogue lists.
const PRIVATE_SCHEMAS: [&str; 6] =
    ["kwild_chain", "kwild_events", "kwild_peers", "kwild_migrations", "public", "information_schema"];
/// Schemas of Kwil's own that a snapshot carries, of both families.
const KWIL_SCHEMAS: [&str; 4] = ["kwild_voting", "kwild_accts", "kwild_engine", "kwild_internal"];

/// Asks the database, within the cut; `doing` is in each case the clause for the words of a failure.
pub(super) struct Reader<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a Settings,
}

impl Reader<'_> {
    pub(super) async fn rows(&self, sql: &str, doing: &str) -> Result<Vec<Row>> {
        self.client.query(sql, &[]).await.map_err(|e| explain_query(e, doing, self.settings))
    }

    /// The value of one column of a row.
    pub(super) fn get<'r, T: FromSql<'r>>(&self, row: &'r Row, column: usize, doing: &str) -> Result<T> {
        row.try_get(column).map_err(|e| explain_query(e, doing, self.settings))
    }

    /// The value of an SQL expression.
    pub(super) async fn one<T: for<'r> FromSql<'r>>(&self, expression: &str, doing: &str) -> Result<T> {
        let rows = self.rows(&format!("SELECT {expression}"), doing).await?;
        let row = rows.first().ok_or_else(|| Error::failed(format!("cannot {doing}: no row came back")))?;
        self.get(row, 0, doing)
    }

    /// The family that the schemas show; `Kind::Refused` where another one is expected, an error where there are none.
    pub(super) async fn family(&self, expected: Option<Family>) -> Result<Family> {
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
                .hint(Next::NameDatabaseOrRoot));
            }
        };
        match expected {
            Some(family) if family != found => {
                Err(Error::refused(format!("the database is of family {found}, not {family} as was said"))
                    .hint(Next::LeaveFamilyOut))
            }
            _ => Ok(found),
        }
    }

    /// The last block's height and application hash, and a sign if they say that a block was not finished. A chain without a
    /// block has the height 0 where that is taken, and is an error otherwise.
    pub(super) async fn chain(
        &self,
        family: Family,
        before_blocks: bool,
    ) -> Result<(i64, Option<Vec<u8>>, Option<LiveSign>)> {
        const DOING: &str = "read the chain's height";
        let columns = match family {
            Family::V09 => "height, app_hash, false",
            Family::V010 => "height, app_hash, dirty",
        };
        let rows = self.rows(&format!("SELECT {columns} FROM kwild_chain.chain LIMIT 2"), DOING).await?;
        let row = match rows.as_slice() {
            [row] => row,
            [] if before_blocks => return Ok((0, None, None)),
            [] => {
                return Err(Error::failed("the chain has no height: kwild_chain.chain is empty")
                    .hint(Next::NameDatabaseThatRan));
            }
            _ => {
                return Err(Error::failed("kwild_chain.chain has more than one row")
                    .hint("the database is damaged; use another node's"));
            }
        };
        let height: i64 = self.get(row, 0, DOING)?;
        let app_hash: Option<Vec<u8>> = self.get(row, 1, DOING)?;
        let dirty: Option<bool> = self.get(row, 2, DOING)?;
        if height < 0 && before_blocks {
            return Ok((0, app_hash, None));
        }
        if height < 0 {
            return Err(Error::failed(format!("the chain's height is {height}")).hint(Next::NameDatabaseThatRan));
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

    /// The schemas to dump in Kwil's order, all others but PostgreSQL's own, and warnings about schemas that Kwil's
    /// catalogue lists and that are not there.
    pub(super) async fn schemas(&self, family: Family) -> Result<(Vec<String>, Vec<String>, Vec<String>)> {
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
        let mut seen: BTreeSet<String> = own.iter().map(|name| (*name).to_owned()).collect();
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
            } else if seen.insert(name.clone()) {
                schemas.push(name);
            }
        }
        let dumped: BTreeSet<&String> = schemas.iter().collect();
        let others =
            existing.iter().filter(|name| !dumped.contains(name) && !name.starts_with("pg_")).cloned().collect();
        Ok((schemas, others, warnings))
    }

    pub(super) async fn names(&self, sql: &str, doing: &str) -> Result<Vec<String>> {
        self.rows(sql, doing).await?.iter().map(|row| self.get(row, 0, doing)).collect()
    }

    pub(super) async fn parameters(&self, family: Family) -> Result<StoredParameters> {
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

    pub(super) async fn voters(&self) -> Result<Vec<VoterRow>> {
        const DOING: &str = "read the network's validators";
        let sql = format!("SELECT id, name, power FROM kwild_voting.voters ORDER BY id LIMIT {}", VOTERS_MAX + 1);
        let rows = self.rows(&sql, DOING).await?;
        if rows.len() > VOTERS_MAX {
            return Err(Error::failed(format!("kwild_voting.voters has more than {VOTERS_MAX} rows"))
                .hint("no network has so many validators; see that the right database is named"));
        }
        let voter = |row: &Row| {
            let (id, name, power) = (self.get(row, 0, DOING)?, self.get(row, 1, DOING)?, self.get(row, 2, DOING)?);
            Ok(VoterRow { id, name, power })
        };
        rows.iter().map(voter).collect()
    }

    pub(super) async fn owner(&self, family: Family) -> Result<Option<String>> {
        const DOING: &str = "read the database's owner";
        if family == Family::V09 {
            return Ok(None);
        }
        let sql = "SELECT u.user_identifier FROM kwild_engine.user_roles u \
                   JOIN kwild_engine.roles r ON r.id = u.role_id WHERE r.name = 'owner' ORDER BY u.id LIMIT 1";
        Ok(self.names(sql, DOING).await?.into_iter().next())
    }

    /// Tables without a log in these schemas, and the sequences that belong to them, by schema and name. PostgreSQL
    /// empties such tables after a crash and replicates them to nobody, so that their rows are no state of the network.
    pub(super) async fn unlogged(&self, schemas: &[String]) -> Result<Vec<(String, String)>> {
        const DOING: &str = "look for unlogged tables";
        let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname::text = ANY ($1) \
             AND (c.relkind IN ('r', 'p', 'S') AND c.relpersistence = 'u' OR c.relkind = 'S' AND EXISTS ( \
             SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid \
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid \
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') \
             AND t.relpersistence = 'u')) ORDER BY 1, 2";
        let explain = |e| explain_query(e, DOING, self.settings);
        let rows = self.client.query(sql, &[&schemas]).await.map_err(explain)?;
        let mut found = Vec::new();
        for row in &rows {
            let (schema, name): (String, String) = (self.get(row, 0, DOING)?, self.get(row, 1, DOING)?);
            // Left out in any case.
            if format!("{schema}.{name}") == SENTRY_TABLE {
                continue;
            }
            if KWIL_SCHEMAS.contains(&schema.as_str()) {
                return Err(Error::failed(format!("{schema}.{} is an unlogged table of Kwil's own", escape(&name)))
                    .hint(
                        "somebody changed it: use another node's database, or ALTER TABLE … SET LOGGED and try again",
                    ));
            }
            found.push((schema, name));
        }
        Ok(found)
    }

    pub(super) async fn tables_size_bytes(&self, schemas: &[String]) -> Result<u64> {
        const DOING: &str = "estimate the snapshot's size";
        let sql = "SELECT coalesce(sum(pg_catalog.pg_table_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname::text = ANY ($1) AND c.relkind IN ('r', 'm')";
        let row = self.client.query_one(sql, &[&schemas]).await.map_err(|e| explain_query(e, DOING, self.settings))?;
        Ok(u64::try_from(self.get::<i64>(&row, 0, DOING)?).unwrap_or(0))
    }
}
