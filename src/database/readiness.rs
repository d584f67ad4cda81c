//! A look at the server and the database that a new node will use: in go settings, out come facts for
//! `kwil/judge/readiness.rs`, all of them read, none of them judged.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kwil_formats::judge::readiness::{Access, Database, OtherDatabase, Role, Schema, Server, Setting};
use tokio_postgres::{Client, Row, types::ToSql};

use super::{
    collation,
    connect::{Connection, is_missing_database, words},
    live::IS_CLIENT,
    pooler,
    settings::Settings,
};
use crate::base::{Error, Result};

/// Databases that are there on every server, asked where the node's own does not exist; tried in this order.
pub(super) const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// How long all questions together may take, after the connection stands.
const QUERIES_TIME_MAX: Duration = Duration::from_secs(10);

const SETTINGS: &str = "SELECT name, coalesce(setting, ''), coalesce(source, ''), context = 'postmaster', pending_restart \
     FROM pg_catalog.pg_settings WHERE name IN ('synchronous_commit', 'fsync', 'max_connections', 'wal_level', \
     'max_wal_senders', 'max_replication_slots', 'max_prepared_transactions', 'wal_sender_timeout', 'array_nulls', \
     'standard_conforming_strings', 'transform_null_equals', 'backslash_quote', 'lo_compat_privileges', \
     'session_replication_role', 'default_transaction_read_only', 'server_version', 'server_version_num', 'data_directory', 'max_wal_size')";
const STANDBY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
const ROLE: &str = "SELECT rolsuper, rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user";
const DATABASE: &str = "SELECT pg_catalog.pg_encoding_to_char(encoding)::text, CASE WHEN datname = current_database() THEN \
     pg_catalog.pg_database_size(oid) ELSE 0 END FROM pg_catalog.pg_database WHERE datname = $1";
const SCHEMAS: &str = "SELECT n.nspname::text, (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid \
     AND c.relkind IN ('r', 'v', 'm', 'S', 'p', 'f') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) \
     FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1";
const EXTENSIONS: &str =
    "SELECT name::text FROM pg_catalog.pg_available_extensions WHERE name IN ('uuid-ossp', 'pgcrypto')";
const ICU: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_collation WHERE collprovider = 'i')";
const PREPARED: &str = "SELECT database::text, gid FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 100";
const SLOTS: &str = "SELECT slot_name::text FROM pg_catalog.pg_replication_slots \
     WHERE database = $1 AND slot_name LIKE 'kwild%' ORDER BY 1";
const SESSIONS: &str = "SELECT count(*) FILTER (WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()), count(*) \
     FROM pg_catalog.pg_stat_activity WHERE ";
const OTHERS: &str = "SELECT d.datname::text, r.rolname = current_user, \
     (SELECT count(*) FROM pg_catalog.pg_replication_slots s WHERE s.database = d.datname AND s.slot_name LIKE 'kwild%'), \
     (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.xact_start IS NOT NULL), \
     (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.application_name = 'psql' \
         AND a.state = 'active') \
     FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
     WHERE d.datname <> $1 AND NOT d.datistemplate AND d.datname <> 'postgres' ORDER BY 1";

/// Looks at the server and the node's database; writes nothing. Connecting may take `connect_time_max`. What fails is
/// part of the answer ([`Access::Refused`] and [`Access::Pooler`], with the reason in words).
pub async fn look(settings: &Settings, connect_time_max: Duration) -> Access {
    let (connection, there) = match connect(settings, connect_time_max).await {
        Ok(found) => found,
        Err(e) => {
            return match pooler::behind_pooler(&e) {
                Some(behind) => Access::Pooler { why: e.chain(), behind },
                None => Access::Refused(e.chain()),
            };
        }
    };
    let asked = tokio::time::timeout(QUERIES_TIME_MAX, ask_server(&connection.client, settings, there)).await;
    match asked {
        Ok(Ok(server)) => Access::Asked(Box::new(server)),
        Ok(Err(e)) => Access::Refused(format!(
            "Postgres at {} lets this role in, but does not answer it: {}",
            settings.place(),
            words(&e)
        )),
        Err(_) => Access::Refused(format!(
            "Postgres at {} took more than {QUERIES_TIME_MAX:?} to say how it is set up",
            settings.place()
        )),
    }
}

/// The directory of the server's data on this machine; `None` when the server is on another one or does not show it.
pub fn local_data_directory(settings: &Settings, server: &Server) -> Option<PathBuf> {
    let loopback =
        settings.host.parse::<IpAddr>().map_or(settings.host == "localhost", |address| address.is_loopback());
    let path = server.data_directory.as_ref().filter(|_| loopback || settings.is_socket())?;
    Some(PathBuf::from(path)).filter(|path| Path::new(path).exists())
}

/// A connection to the node's database, and `true`; or, where
/// that does not exist, one to another database, and `false`.
async fn connect(settings: &Settings, time_max: Duration) -> Result<(Connection, bool)> {
    let attempt = async {
        let missing = match Connection::open(settings).await {
            Ok(connection) => return Ok((connection, true)),
            Err(e) if is_missing_database(&e) => e,
            Err(e) => return Err(e),
        };
        for dbname in MAINTENANCE {
            let other = Settings { dbname: dbname.to_owned(), ..settings.clone() };
            if let Ok(connection) = Connection::open(&other).await {
                return Ok((connection, false));
            }
        }
        Err(missing)
    };
    tokio::time::timeout(time_max, attempt).await.unwrap_or_else(|_| {
        Err(Error::failed(format!("Postgres at {} does not answer: waited {time_max:?}", settings.place())))
    })
}

async fn ask_server(client: &Client, settings: &Settings, there: bool) -> Result<Server, tokio_postgres::Error> {
    // Of this transaction only: what kwild's own connections would inherit is asked for below.
    client.batch_execute("BEGIN READ ONLY").await?;
    let dbname = &settings.dbname;
    let template = "template1".to_owned();
    let own: [&(dyn ToSql + Sync); 1] = [dbname];
    let sessions = format!("{SESSIONS}{IS_CLIENT}");
    let described: [&(dyn ToSql + Sync); 1] = [if there { dbname } else { &template }];
    // Sent at once: one way to the server and back, or two.
    let (values, standby, collation, role, database, schemas, extensions, icu, prepared, slots, sessions, others) = tokio::try_join!(
        client.query(SETTINGS, &[]),
        client.query_one(STANDBY, &[]),
        collation::ask(client),
        client.query_one(ROLE, &[]),
        client.query_one(DATABASE, &described),
        client.query(SCHEMAS, &[]),
        client.query(EXTENSIONS, &[]),
        client.query_one(ICU, &[]),
        client.query(PREPARED, &[]),
        client.query(SLOTS, &own),
        client.query_one(&sessions, &own),
        client.query(OTHERS, &own),
    )?;
    let number = |row: &Row, column: usize| row.get::<_, i64>(column).max(0) as u64;
    let all: std::collections::BTreeMap<String, Setting> = values
        .iter()
        .map(|row| {
            let setting = Setting { value: row.get(1), source: row.get(2), restart: row.get(3), pending: row.get(4) };
            (row.get::<_, String>(0), setting)
        })
        .collect();
    let value = |name: &str| all.get(name).map(|setting| setting.value.clone());
    let encoding: String = database.get(0);
    Ok(Server {
        version: value("server_version_num").and_then(|text| text.parse().ok()).unwrap_or(0),
        version_text: value("server_version").unwrap_or_default(),
        standby: standby.get(0),
        role: Role { superuser: role.get(0), replication: role.get(1) },
        database: if there {
            Database::There {
                encoding,
                size_bytes: number(&database, 1),
                schemas: schemas
                    .iter()
                    .map(|row| Schema { name: row.get(0), relations: number(row, 1) })
                    .filter(|schema| schema.name != "public" || schema.relations > 0)
                    .collect(),
                slots: slots.iter().map(|row| row.get(0)).collect(),
                sessions: number(&sessions, 0),
                collation: Some(Box::new(collation)),
            }
        } else {
            Database::Missing { template_encoding: encoding }
        },
        extensions: extensions.iter().map(|row| row.get(0)).collect(),
        icu: icu.get(0),
        prepared: prepared.iter().map(|row| (row.get(0), row.get(1))).collect(),
        others: others
            .iter()
            .map(|row| OtherDatabase {
                name: row.get(0),
                same_owner: row.get(1),
                slots: number(row, 2),
                transactions: number(row, 3),
                restores: number(row, 4),
            })
            .collect(),
        data_directory: value("data_directory").filter(|path| !path.is_empty()),
        connections: number(&sessions, 1),
        settings: all,
    })
}
