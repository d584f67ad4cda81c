//! How the connected database orders text, asked of its server in words that every version understands.

use kwil_formats::judge::collation::{Collation, TEXT_KEY_TABLES_MAX};
use serde_json::Value;
use tokio_postgres::Client;

use super::{connect::Connection, settings::Settings};
use crate::base::{Context, Result};

/// The row as an object: its columns are not the same in every version.
const DATABASE: &str = "SELECT pg_catalog.to_jsonb(d)::text, pg_catalog.pg_encoding_to_char(d.encoding)::text, \
     pg_catalog.current_setting('server_version_num'), d.oid FROM pg_catalog.pg_database d \
     WHERE d.datname = pg_catalog.current_database()";
/// The query for the version of a database's collation, which servers have from 15 on.
const VERSION: &str = "SELECT pg_catalog.pg_database_collation_actual_version($1)";
/// Keys of the database's own order, 100; users' tables before kwild's. Names longer than a manifest takes are counted only.
const TEXT_KEYS: &str = "SELECT n.nspname || '.' || c.relname, count(*) OVER () FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
     AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indexrelid WHERE i.indrelid = c.oid AND a.attcollation = 100) \
     ORDER BY n.nspname LIKE 'kwild%', 1 LIMIT 16";

/// Asks over a connection of its own.
///
/// # Errors
/// When the server cannot be reached or does not answer.
pub async fn look(settings: &Settings) -> Result<Collation> {
    let connection = Connection::open(settings).await?;
    ask(&connection.client).await.or_failed(|| "cannot ask how the database orders text")
}

/// Asks over this one.
pub(super) async fn ask(client: &Client) -> Result<Collation, tokio_postgres::Error> {
    let (row, keys) = tokio::try_join!(client.query_one(DATABASE, &[]), client.query(TEXT_KEYS, &[]))?;
    let columns: Value = serde_json::from_str(row.get(0)).unwrap_or_default();
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| columns.get(name).and_then(Value::as_str));
        found.unwrap_or_default().to_owned()
    };
    let number: u32 = row.get::<_, String>(2).parse().unwrap_or(0);
    let version = match number >= 150_000 {
        true => client.query_one(VERSION, &[&row.get::<_, u32>(3)]).await?.get::<_, Option<String>>(0),
        false => None,
    };
    let icu = text(&["datlocprovider"]) == "i";
    Ok(Collation {
        encoding: row.get(1),
        provider: if icu { "icu" } else { "libc" }.to_owned(),
        collate: text(&["datcollate"]),
        ctype: text(&["datctype"]),
        // 17 calls it otherwise.
        icu_locale: if icu { text(&["daticulocale", "datlocale"]) } else { String::new() },
        icu_rules: text(&["daticurules"]),
        version: version.unwrap_or_default(),
        server_major: number / 10_000,
        text_keys: keys.first().map_or(0, |row| u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX)),
        text_key_tables: keys.iter().map(|row| row.get(0)).take(TEXT_KEY_TABLES_MAX).collect(),
    })
}
