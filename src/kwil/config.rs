//! config.toml of both families: rendered with Kwil's own keys and defaults in Kwil's order, with the values an operator
//! gave put in; and read just enough to find an old node's database.

mod start;

use std::{collections::BTreeMap, str::FromStr};

use toml_edit::{Array, DocumentMut, Item, Value};
use zeroize::Zeroizing;

use super::Family;
use crate::base::{Error, text::escape};

pub use start::{Listener, StartSettings};

/// The configuration file's name in a root.
pub const CONFIG_FILE_NAME: &str = "config.toml";

/// What Kwil's `setup init` of each family writes, comments left out. A test compares it with the recordings.
const V09_DEFAULTS: &str = include_str!("config/v09.toml");
const V010_DEFAULTS: &str = include_str!("config/v010.toml");

/// Keys that kwild takes but does not write by default, with the value that stands for their type.
const V09_MORE: &[(&str, &str)] = &[
    ("app.admin_pass", "''"),
    ("app.db_max_connections", "24"),
    ("app.profile_mode", "''"),
    ("app.profile_file", "''"),
    ("chain.p2p.handshake_timeout", "'20s'"),
    ("chain.p2p.dial_timeout", "'3s'"),
    ("instrumentation.prometheus", "false"),
    ("instrumentation.prometheus_listen_addr", "''"),
    ("instrumentation.max_open_connections", "1"),
];
const V010_MORE: &[(&str, &str)] = &[("profile_mode", "''"), ("profile_file", "''")];

/// A value or a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key in this family.
    #[error("{family} has no configuration key {}", escape(.key))]
    UnknownKey {
        /// Of the configuration.
        family: Family,
        /// As `section.key`.
        key: String,
    },
    /// The text does not fit the key's type.
    #[error("{key}: {} is not {wanted}", escape(.value))]
    Value {
        /// As `section.key`.
        key: String,
        /// What was given.
        value: String,
        /// What the key takes.
        wanted: &'static str,
    },
    /// A config.toml that is no TOML. The text is not quoted: it may hold a password.
    #[error("config.toml is no valid TOML{}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Toml {
        /// Where, from 1.
        line: Option<usize>,
    },
    /// TOML without any section of either family.
    #[error("config.toml is of neither family: it has no [app] (v0.9) and no [db] (v0.10)")]
    NotKwil,
    /// A key of another type than expected.
    #[error("config.toml: {key} is not {wanted}")]
    Type {
        /// As `section.key`.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        match error {
            ConfigError::UnknownKey { .. } => Error::usage(text)
                .hint("each family has flags of its own; --family and the genesis say which one this is"),
            ConfigError::Value { .. } => Error::usage(text).hint("write the value as Kwil's own command takes it"),
            _ => Error::verify(text)
                .hint("give the root directory of the old node, with the config.toml that kwild runs on"),
        }
    }
}

/// A configuration being made.
#[derive(Debug, Clone)]
pub struct Config {
    family: Family,
    document: DocumentMut,
}

/// Every key of the family that a flag can set, as `section.key`, and whether it is a switch.
pub fn keys(family: Family) -> Vec<(String, bool)> {
    let (document, more) = defaults(family);
    let mut found = Vec::new();
    collect(document.as_item(), "", &mut found);
    found.extend(more.iter().map(|(key, value)| ((*key).to_owned(), *value == "false")));
    found
}

/// Whether the key holds a list.
pub fn is_list(family: Family, key: &str) -> bool {
    Config::new(family).get(key).is_some_and(Value::is_array)
}

fn collect(item: &Item, path: &str, found: &mut Vec<(String, bool)>) {
    let Some(table) = item.as_table_like() else { return };
    for (key, value) in table.iter() {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Item::Value(value) if !value.is_inline_table() => found.push((path, value.is_bool())),
            other => collect(other, &path, found),
        }
    }
}

fn defaults(family: Family) -> (DocumentMut, &'static [(&'static str, &'static str)]) {
    let (text, more) = match family {
        Family::V09 => (V09_DEFAULTS, V09_MORE),
        Family::V010 => (V010_DEFAULTS, V010_MORE),
    };
    (text.parse().expect("the built-in defaults are TOML, as a test shows"), more)
}

impl Config {
    /// Kwil's defaults.
    pub fn new(family: Family) -> Self {
        Config { family, document: defaults(family).0 }
    }

    /// Sets `section.key` from the text of a flag; lists are separated by commas.
    ///
    /// # Errors
    /// When the family has no such key, or the text is not of its type.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let unknown = || ConfigError::UnknownKey { family: self.family, key: key.to_owned() };
        let old = self.get(key).cloned().or_else(|| {
            let (_, more) = defaults(self.family);
            more.iter().find(|(name, _)| *name == key).and_then(|(_, value)| Value::from_str(value).ok())
        });
        let new = typed(key, &old.ok_or_else(unknown)?, text)?;
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = self.document.as_table_mut();
        for part in section.split('.').filter(|part| !part.is_empty()) {
            table = table
                .entry(part)
                .or_insert_with(toml_edit::table)
                .as_table_mut()
                .ok_or_else(|| ConfigError::UnknownKey { family: self.family, key: key.to_owned() })?;
        }
        match table.get_mut(name) {
            // Keeps the key's place and the blank before it.
            Some(item) => *item = Item::Value(new),
            None => {
                table.insert(name, Item::Value(new));
            }
        }
        Ok(())
    }

    /// Names the snapshot inside the root, relative, so that the root can be moved.
    pub fn set_genesis_state(&mut self, name: &str) {
        let key = match self.family {
            Family::V09 => "app.genesis_state",
            Family::V010 => "genesis_state",
        };
        self.set(key, name).expect("both families have the key");
    }

    /// Whether a password stands in it.
    pub fn has_secret(&self) -> bool {
        ["app.pg_db_pass", "app.admin_pass", "db.pass", "admin.pass"]
            .iter()
            .any(|key| self.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.document.to_string())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(self.document.as_item(), |item, part| item.get(part))?.as_value()
    }
}

/// The text as a value of the same type as `like`.
fn typed(key: &str, like: &Value, text: &str) -> Result<Value, ConfigError> {
    let wrong = |wanted| ConfigError::Value { key: key.to_owned(), value: text.to_owned(), wanted };
    Ok(match like {
        // Both families write ports as text and fail on a wrong one only when they start.
        Value::String(_) if key.ends_with("port") && text.parse::<u16>().is_err() => {
            return Err(wrong("a port number"));
        }
        Value::String(_) => Value::from(text),
        Value::Integer(_) => Value::from(text.parse::<i64>().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
            Value::from(number.ok_or_else(|| wrong("a number"))?)
        }
        Value::Boolean(_) => Value::from(text.parse::<bool>().map_err(|_| wrong("true or false"))?),
        _ => Value::Array(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect::<Array>()),
    })
}

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
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Toml {
        line: error.span().and_then(|span| text.get(..span.start)).map(|before| 1 + before.matches('\n').count()),
    })?;
    let root = document.as_item();
    let has = |names: &[&str]| names.iter().any(|name| root.get(name).is_some_and(Item::is_table_like));
    let family = match (has(&["app", "chain"]), has(&["db", "p2p", "consensus", "rpc", "store"])) {
        (true, _) => Family::V09,
        (false, true) => Family::V010,
        (false, false) => return Err(ConfigError::NotKwil),
    };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of `key = value`, quotes of either kind alike.
    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().replace('"', "'")).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn defaults_are_those_of_kwils_own_command() {
        let v09 = include_str!("../../tests/data/v0.9/setup-init/default-config.kv");
        let v010 = include_str!("../../tests/data/v0.10/init/default.config.kv.txt");
        assert_eq!(lines(&Config::new(Family::V09).to_text()), lines(v09));
        assert_eq!(lines(&Config::new(Family::V010).to_text()), lines(v010));
    }

    #[test]
    fn a_recorded_root_is_rendered_with_its_flags() {
        let mut config = Config::new(Family::V09);
        for (key, value) in [
            ("app.pg_db_port", "5519"),
            ("app.pg_db_pass", "kwild"),
            ("app.pg_db_name", "k9_solo2"),
            ("chain.consensus.timeout_commit", "700ms"),
        ] {
            config.set(key, value).unwrap();
        }
        assert!(config.has_secret());
        config.set_genesis_state("ROOT/genesis-state.sql.gz");
        let recorded = include_str!("../../tests/data/v0.9/worlds/solo/restart/config.kv");
        assert_eq!(lines(&config.to_text()), lines(recorded));

        let mut config = Config::new(Family::V010);
        for (key, value) in [
            ("rpc.listen", "127.0.0.1:18488"),
            ("p2p.listen", "127.0.0.1:16604"),
            ("admin.listen", "BASE/worlds/solo2.sock"),
            ("db.dbname", "k10_solo2"),
            ("db.port", "5536"),
            ("db.pass", "kwild"),
            ("consensus.propose_timeout", "500ms"),
            ("consensus.empty_block_timeout", "2s"),
        ] {
            config.set(key, value).unwrap();
        }
        config.set_genesis_state("BASE/worlds/solo2/genesis-state.sql.gz");
        let recorded = include_str!("../../tests/data/v0.10/restart/solo/config.kv.txt");
        assert_eq!(lines(&config.to_text()), lines(recorded));
    }

    #[test]
    fn every_type_can_be_set_and_nothing_else() {
        let mut config = Config::new(Family::V010);
        config.set("p2p.bootnodes", "ab#ed25519@10.0.0.5:6600, cd#secp256k1@h:1").unwrap();
        config.set("p2p.pex", "false").unwrap();
        config.set("rpc.challenge_rate_limit", "2.5").unwrap();
        config.set("mempool.MaxTxBytes", "5").unwrap();
        config.set("profile_mode", "cpu").unwrap();
        let text = config.to_text();
        for part in [
            "pex = false",
            "challenge_rate_limit = 2.5",
            "MaxTxBytes = 5",
            "profile_mode = \"cpu\"",
            "\"cd#secp256k1@h:1\"",
        ] {
            assert!(text.contains(part), "{part}: {}", *text);
        }
        for (key, value) in [
            ("p2p.pex", "yes"),
            ("mempool.max_size", "1.5"),
            ("rpc.challenge_rate_limit", "inf"),
            ("db.max_connections", ""),
        ] {
            assert!(matches!(config.set(key, value), Err(ConfigError::Value { .. })), "{key}");
        }
        for key in ["app.pg_db_host", "db", "db.", "", "mempool.max_tx_bytes"] {
            assert!(matches!(config.set(key, "1"), Err(ConfigError::UnknownKey { .. })), "{key}");
        }
        let mut config = Config::new(Family::V09);
        config.set("instrumentation.prometheus", "true").unwrap();
        assert!(config.to_text().contains("[instrumentation]\nprometheus = true"), "{}", *config.to_text());
        assert!(keys(Family::V09).contains(&("app.private_rpc".into(), true)));
        assert!(keys(Family::V010).contains(&("p2p.bootnodes".into(), false)));
    }

    #[test]
    fn recorded_configs_tell_their_database() {
        let v09 = database_settings(include_str!("../../tests/data/v0.9/worlds/solo/restart/config.kv")).unwrap();
        assert_eq!((v09.family, v09.port, v09.dbname.as_str()), (Family::V09, 5519, "k9_solo2"));
        assert_eq!(v09.password.as_ref().map(|p| p.as_str()), Some("kwild"));
        assert_eq!(v09.private_key_path.as_deref(), Some("private_key"));
        let v010 = database_settings(include_str!("../../tests/data/v0.10/restart/solo/config.kv.txt")).unwrap();
        assert_eq!((v010.family, v010.port, v010.dbname.as_str()), (Family::V010, 5536, "k10_solo2"));
        assert_eq!(v010.genesis_state, "BASE/worlds/solo2/genesis-state.sql.gz");
        let least = database_settings("[db]\nport = 6000\n").unwrap();
        assert_eq!((least.host.as_str(), least.port, least.user.as_str()), ("127.0.0.1", 6000, "kwild"));
        assert_eq!(least.password, None);
    }

    #[test]
    fn configs_that_tell_nothing() {
        let secret = "[db]\npass = 'hunter2\n";
        let error = database_settings(secret).unwrap_err();
        assert!(matches!(error, ConfigError::Toml { line: Some(_) }) && !error.to_string().contains("hunter2"));
        assert_eq!(database_settings(""), Err(ConfigError::NotKwil));
        assert_eq!(database_settings("[db]\nhost = 5"), Err(ConfigError::Type { key: "db.host", wanted: "a string" }));
        assert!(matches!(database_settings("[app]\npg_db_port = '99999'"), Err(ConfigError::Type { .. })));
    }

    proptest! {
        #[test]
        fn any_text_survives_the_quoting(text in any::<String>(), family in prop_oneof![Just(Family::V09), Just(Family::V010)]) {
            let mut config = Config::new(family);
            let key = match family { Family::V09 => "app.pg_db_name", Family::V010 => "db.dbname" };
            config.set(key, &text).unwrap();
            prop_assert_eq!(database_settings(&config.to_text()).unwrap().dbname, text);
        }
    }
}
