//! config.toml of both families: rendered with Kwil's own keys and defaults in Kwil's order, with the values an operator
//! gave put in; an old node's settings carried over; and read just enough to find an old node's database.

mod carry;
mod change;
mod database;
mod environment;
mod key;
mod peers;
mod start;
mod value;

use toml_edit::{DocumentMut, Item, Table};
use zeroize::Zeroizing;

pub use carry::{CarryOver, Fate, Setting, carry_over};
pub use change::{Difference, with_values};
pub use database::{DatabaseSettings, database_settings};
pub use environment::{Overruled, with_environment};
pub use key::{Key, Kind, find, keys};
pub use peers::{PeerAddress, PeerError, PeerFilter, PeerSettings, add_peers, parse_place, peers_key, with_peers};
pub use start::{Listener, StartSettings};

use super::Family;
use crate::base::{Error, Next, text::escape};

/// The configuration file's name in a root.
pub const CONFIG_FILE_NAME: &str = "config.toml";

/// A value or a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The family has no key of this name.
    #[error("{family} has no configuration key {}", escape(.key))]
    UnknownKey {
        /// The family of the configuration.
        family: Family,
        /// The key's full name, as `section.key`.
        key: String,
    },
    /// The text does not fit the key's kind.
    #[error("{key}: {} is not {wanted}", escape(.value))]
    Value {
        /// The key's full name, as `section.key`.
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
        /// The key's full name, as `section.key`.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        match error {
            ConfigError::UnknownKey { .. } => Error::usage(text).hint(Next::FlagsOfFamily),
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

impl Config {
    /// Kwil's defaults.
    pub fn new(family: Family) -> Self {
        Config { family, document: key::defaults(family, false) }
    }

    /// The defaults of TRUF's fork of v0.10: more keys, which upstream's kwild refuses.
    pub fn truf() -> Self {
        Config { family: Family::V010, document: key::defaults(Family::V010, true) }
    }

    /// Sets `section.key` from the text of a flag; lists are separated by commas, tables are `name=text,name=text`.
    ///
    /// # Errors
    /// When the family has no such key, or the text is not of its kind.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let key = self.key(name)?;
        let item = value::from_text(self.family, key, text)?;
        self.put_value(key, item)
    }

    /// Sets `section.key` from another file's value, whose type may be a near one, such as a port that is a number.
    pub(super) fn set_item(&mut self, name: &str, item: &Item) -> Result<(), ConfigError> {
        let key = self.key(name)?;
        let item = value::from_item(self.family, key, item)?;
        self.put_value(key, item)
    }

    fn key(&self, name: &str) -> Result<&'static Key, ConfigError> {
        key::find(self.family, name)
            .ok_or_else(|| ConfigError::UnknownKey { family: self.family, key: name.to_owned() })
    }

    fn put_value(&mut self, key: &Key, new: Item) -> Result<(), ConfigError> {
        let (section, name) = key.name.rsplit_once('.').unwrap_or(("", &key.name));
        let table = self.section(section)?;
        match (table.get_mut(name), new) {
            (Some(Item::Table(old)), Item::Table(new)) => {
                for (name, item) in new {
                    old.insert(&name, item);
                }
            }
            // Keeps the key's place and the blank before it.
            (Some(item), new) => *item = new,
            (None, new) => {
                table.insert(name, new);
            }
        }
        Ok(())
    }

    /// The table of a section, made where it is not there.
    fn section(&mut self, section: &str) -> Result<&mut Table, ConfigError> {
        let family = self.family;
        let mut table = self.document.as_table_mut();
        for part in section.split('.').filter(|part| !part.is_empty()) {
            table = table
                .entry(part)
                .or_insert_with(toml_edit::table)
                .as_table_mut()
                .ok_or_else(|| ConfigError::UnknownKey { family, key: section.to_owned() })?;
        }
        Ok(table)
    }

    /// Names the snapshot inside the root, relative, so that the root can be moved.
    pub fn set_genesis_state(&mut self, name: &str) {
        let key = match self.family {
            Family::V09 => "app.genesis_state",
            Family::V010 => "genesis_state",
        };
        self.set(key, name).expect("both families have the key");
    }

    /// Whether a password, or what may be one, stands in it.
    pub fn has_secret(&self) -> bool {
        let filled = |name: &str| self.item(name).and_then(Item::as_table_like).is_some_and(|table| !table.is_empty());
        keys(self.family).iter().filter(|key| key.is_secret()).any(|key| match self.item(&key.name) {
            Some(Item::Value(value)) => value.as_str().is_some_and(|text| !text.is_empty()),
            _ => filled(&key.name),
        }) || value::FREE_TABLES.iter().any(|name| filled(name))
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.document.to_string())
    }

    fn item(&self, name: &str) -> Option<&Item> {
        name.split('.').try_fold(self.document.as_item(), |item, part| item.get(part))
    }
}

/// Which family's kwild reads such a file.
///
/// # Errors
/// When it is no TOML, or of neither family.
pub fn family_of(text: &str) -> Result<Family, ConfigError> {
    family_of_document(&parse(text)?)
}

/// Puts a value in the place of a file's, whose blanks and comments stay; sections that are not there are made.
fn put_value(document: &mut DocumentMut, name: &str, item: Item) -> Result<(), ConfigError> {
    let unfit = || ConfigError::Value {
        key: name.to_owned(),
        value: "its section".to_owned(),
        wanted: "a table, which it must be in config.toml",
    };
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    let mut table = document.as_item_mut();
    for part in section.split('.').filter(|part| !part.is_empty()) {
        if table.get(part).is_none() {
            table.as_table_like_mut().ok_or_else(unfit)?.insert(part, toml_edit::table());
        }
        table = table.get_mut(part).ok_or_else(unfit)?;
    }
    let table = table.as_table_like_mut().ok_or_else(unfit)?;
    match (table.get_mut(last), item) {
        (Some(Item::Value(old)), Item::Value(mut new)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        (_, item) => {
            table.insert(last, item);
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<DocumentMut, ConfigError> {
    text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Toml {
        line: error.span().and_then(|span| text.get(..span.start)).map(|before| 1 + before.matches('\n').count()),
    })
}

fn family_of_document(document: &DocumentMut) -> Result<Family, ConfigError> {
    let has = |names: &[&str]| names.iter().any(|name| document.get(name).is_some_and(Item::is_table_like));
    match (has(&["app", "chain", "instrumentation"]), has(&["db", "p2p", "consensus", "rpc", "store", "admin"])) {
        (true, _) => Ok(Family::V09),
        (false, true) => Ok(Family::V010),
        (false, false) if document.contains_key("genesis_state") => Ok(Family::V010),
        (false, false) => Err(ConfigError::NotKwil),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml_edit::Value;

    use super::*;

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";

    /// Lines of `key = value`, quotes of either kind alike.
    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().replace('"', "'")).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn defaults_are_those_of_kwils_own_command() {
        let v09 = include_str!("../../../tests/data/v0.9/setup-init/default-config.kv");
        let v010 = include_str!("../../../tests/data/v0.10/init/default.config.kv.txt");
        assert_eq!(lines(&Config::new(Family::V09).to_text()), lines(v09));
        assert_eq!(lines(&Config::new(Family::V010).to_text()), lines(v010));
        let truf = include_str!("../../../tests/data/truf/init/default.config.kv.txt");
        assert_eq!(lines(&Config::truf().to_text()), lines(truf));
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
        let recorded = include_str!("../../../tests/data/v0.9/worlds/solo/restart/config.kv");
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
        let recorded = include_str!("../../../tests/data/v0.10/restart/solo/config.kv.txt");
        assert_eq!(lines(&config.to_text()), lines(recorded));
    }

    #[test]
    fn every_type_can_be_set_and_nothing_else() {
        let mut config = Config::new(Family::V010);
        config.set("p2p.bootnodes", &format!("{KEY}@10.0.0.5:6600, {KEY}@h:1")).unwrap();
        config.set("erc20_bridge.rpc", "sepolia=wss://x/y,main=z=1").unwrap();
        config.set("erc20_bridge.rpc", "q=1").unwrap();
        config.set("consensus.empty_block_timeout", "90s").unwrap();
        config.set("p2p.pex", "false").unwrap();
        config.set("rpc.challenge_rate_limit", "2.5").unwrap();
        config.set("mempool.MaxTxBytes", "5").unwrap();
        config.set("profile_mode", "cpu").unwrap();
        let text = config.to_text();
        for part in [
            "pex = false",
            "challenge_rate_limit = 2.5",
            "MaxTxBytes = 5",
            "profile_mode = 'cpu'",
            "empty_block_timeout = '1m30s'",
            "[erc20_bridge.rpc]\nmain = 'z=1'\nsepolia = 'wss://x/y'\nq = '1'\n",
            &format!("bootnodes = ['{KEY}@10.0.0.5:6600', '{KEY}@h:1']"),
        ] {
            assert!(text.contains(part), "{part}: {}", *text);
        }
        for (key, value) in [
            ("p2p.pex", "yes"),
            ("mempool.max_size", "1.5"),
            ("rpc.challenge_rate_limit", "inf"),
            ("db.max_connections", ""),
            ("db.max_connections", "-1"),
            ("db.read_timeout", "45"),
            ("db.port", "65536"),
            ("erc20_bridge.rpc", "x"),
            ("erc20_bridge.rpc", "=x"),
            ("consensus.propose_timeout", "499ms"),
        ] {
            assert!(matches!(config.set(key, value), Err(ConfigError::Value { .. })), "{key}");
        }
        for key in ["app.pg_db_host", "db", "db.", "", "mempool.max_tx_bytes", "erc20_bridge", "extensions.x"] {
            assert!(matches!(config.set(key, "1"), Err(ConfigError::UnknownKey { .. })), "{key}");
        }
        let mut config = Config::new(Family::V09);
        config.set("instrumentation.prometheus", "true").unwrap();
        assert!(config.to_text().contains("[instrumentation]\nprometheus = true"), "{}", *config.to_text());
        config.set("app.challenge_rate_limit", "2.5").unwrap();
        config.set("chain.consensus.timeout_commit", "1500ms").unwrap();
        assert!(config.to_text().contains("challenge_rate_limit = 2.5"), "{}", *config.to_text());
        assert!(config.to_text().contains("timeout_commit = \"1.5s\""), "{}", *config.to_text());
        config.set("app.challenge_rate_limit", "12").unwrap();
        assert!(config.to_text().contains("challenge_rate_limit = 12\n"), "{}", *config.to_text());
    }

    #[test]
    fn recorded_configs_tell_their_database() {
        let v09 = database_settings(include_str!("../../../tests/data/v0.9/worlds/solo/restart/config.kv")).unwrap();
        assert_eq!((v09.family, v09.port, v09.dbname.as_str()), (Family::V09, 5519, "k9_solo2"));
        assert_eq!(v09.password.as_ref().map(|p| p.as_str()), Some("kwild"));
        assert_eq!(v09.private_key_path.as_deref(), Some("private_key"));
        let v010 = database_settings(include_str!("../../../tests/data/v0.10/restart/solo/config.kv.txt")).unwrap();
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
        fn any_text_survives_the_quoting(
            text in prop_oneof![any::<String>(), "[a'\"\\\\ \t\n\r\u{0}-\u{20}\u{7f}äю日]{0,20}"],
            family in prop_oneof![Just(Family::V09), Just(Family::V010)],
        ) {
            let mut config = Config::new(family);
            let (key, list) = match family {
                Family::V09 => ("app.pg_db_name", "log.output_paths"),
                Family::V010 => ("db.dbname", "log.output"),
            };
            config.set(key, &text).unwrap();
            config.set(list, &text).unwrap();
            let written = config.to_text();
            prop_assert_eq!(family_of(&written).unwrap(), family);
            let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
            let read: DocumentMut = written.parse().unwrap();
            let read: Vec<&str> = list
                .split('.')
                .try_fold(read.as_item(), |item, part| item.get(part))
                .and_then(Item::as_array)
                .map(|list| list.iter().filter_map(Value::as_str).collect())
                .unwrap();
            prop_assert_eq!(read, parts);
            prop_assert_eq!(database_settings(&written).unwrap().dbname, text);
        }
    }
}
