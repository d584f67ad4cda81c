//! What an existing config.toml says about the node's database.

use std::collections::BTreeMap;

use toml_edit::{Item, Value};
use zeroize::Zeroizing;

use super::{ConfigError, family_of_document, parse};
use crate::formats::Family;

/// What an old node's config.toml says about its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Which family the file is of.
    pub family: Family,
    /// Host name, address, or directory of a unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password, where one is set.
    pub password: Option<Zeroizing<String>>,
    /// Database.
    pub dbname: String,
    /// The snapshot that node began with; empty: none.
    pub genesis_state: String,
    /// v0.9: the key file's place.
    pub private_key_path: Option<String>,
}

/// Reads an existing config.toml of either family; keys that are not there have Kwil's defaults.
///
/// # Errors
/// When it is no TOML, of neither family, or a setting is of the wrong type.
pub fn database_settings(text: &str) -> Result<DatabaseSettings, ConfigError> {
    let document = parse(text)?;
    let root = document.as_item();
    let family = family_of_document(&document)?;
    let names: BTreeMap<&str, &'static str> = match family {
        Family::V09 => [
            ("host", "app.pg_db_host"),
            ("port", "app.pg_db_port"),
            ("user", "app.pg_db_user"),
            ("pass", "app.pg_db_pass"),
            ("dbname", "app.pg_db_name"),
            ("state", "app.genesis_state"),
        ]
        .into(),
        Family::V010 => [
            ("host", "db.host"),
            ("port", "db.port"),
            ("user", "db.user"),
            ("pass", "db.pass"),
            ("dbname", "db.dbname"),
            ("state", "genesis_state"),
        ]
        .into(),
    };
    let find = |key: &str| key.split('.').try_fold(root, |item, part| item.get(part)).and_then(Item::as_value);
    let string = |name: &str, default: &str| -> Result<String, ConfigError> {
        let key = names[name];
        match find(key) {
            None => Ok(default.to_owned()),
            Some(Value::String(text)) => Ok(text.value().clone()),
            Some(Value::Integer(number)) if name == "port" => Ok(number.value().to_string()),
            Some(_) => Err(ConfigError::Type { key, wanted: "a string" }),
        }
    };
    let port = string("port", "5432")?;
    let password = Zeroizing::new(string("pass", "")?);
    Ok(DatabaseSettings {
        family,
        host: string("host", "127.0.0.1")?,
        port: port.parse().map_err(|_| ConfigError::Type { key: names["port"], wanted: "a port number" })?,
        user: string("user", "kwild")?,
        password: (!password.is_empty()).then_some(password),
        dbname: string("dbname", "kwild")?,
        genesis_state: string("state", "")?,
        private_key_path: (family == Family::V09)
            .then(|| find("app.private_key_path").and_then(Value::as_str).unwrap_or("private_key").to_owned()),
    })
}
