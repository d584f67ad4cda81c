//! What a config.toml says about the start of its node: where it listens, what it runs, and what its kwild would refuse.

use toml_edit::{DocumentMut, Item, Value};

use super::{ConfigError, PeerSettings, database_settings};
use crate::formats::Family;

/// Below these, keys are free in v0.10.
const FREE_SECTIONS: [&str; 2] = ["extensions.", "erc20_bridge."];

/// A place where the node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The key that says it.
    pub key: &'static str,
    /// `host:port`, or the path of a unix socket.
    pub address: String,
}

/// What a start depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSettings {
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// The pg_dump that it asks for its version.
    pub pg_dump: String,
    /// It does not ask.
    pub skip_dependency_verification: bool,
    /// It looks for a snapshot at peers first.
    pub state_sync: bool,
    /// A password stands in the file.
    pub has_secret: bool,
    /// Some keys are those of TRUF's fork.
    pub truf: bool,
    /// v0.10: keys that no kwild of the family knows, which it refuses.
    pub unknown: Vec<String>,
    /// Whom it dials, and where it is.
    pub peers: PeerSettings,
}

impl StartSettings {
    /// Kwil's defaults.
    pub fn defaults(family: Family) -> Self {
        Self::read(family, &DocumentMut::new())
    }

    /// Reads a config.toml; what is not there has Kwil's default.
    ///
    /// # Errors
    /// As [`database_settings`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // Says where it is no TOML.
        let family = database_settings(text)?.family;
        let document = text.parse().map_err(|_| ConfigError::NotKwil)?;
        Ok(Self::read(family, &document))
    }

    fn read(family: Family, document: &DocumentMut) -> Self {
        let find = |key: &str| {
            key.split('.').try_fold(document.as_item(), |item, part| item.get(part)).and_then(Item::as_value)
        };
        let text = |key: &str, default: &str| find(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        let switch = |key: &str, default: bool| find(key).and_then(Value::as_bool).unwrap_or(default);
        let places: &[(&'static str, &str)] = match family {
            Family::V09 => &[
                ("app.jsonrpc_listen_addr", "0.0.0.0:8484"),
                ("app.admin_listen_addr", "/tmp/kwild.socket"),
                ("chain.rpc.listen_addr", "tcp://127.0.0.1:26657"),
                ("chain.p2p.listen_addr", "tcp://0.0.0.0:26656"),
            ],
            Family::V010 => {
                &[("rpc.listen", "0.0.0.0:8484"), ("p2p.listen", "0.0.0.0:6600"), ("admin.listen", "/tmp/kwild.socket")]
            }
        };
        let mut listeners = Vec::new();
        for (key, default) in places {
            if *key == "admin.listen" && !switch("admin.enable", true) {
                continue;
            }
            let address = text(key, default);
            let address =
                address.strip_prefix("tcp://").or_else(|| address.strip_prefix("unix://")).unwrap_or(&address);
            listeners.push(Listener { key, address: address.to_owned() });
        }
        let v010 = family == Family::V010;
        let mut all = Vec::new();
        collect_set_keys(document.as_item(), "", &mut all);
        let known = |key: &String| super::find(family, key);
        let is_truf = |key: &String| known(key).is_some_and(|key| key.truf_only);
        let free = |key: &String| FREE_SECTIONS.iter().any(|section| format!("{key}.").starts_with(section));
        let secrets = ["app.pg_db_pass", "app.admin_pass", "db.pass", "admin.pass"];
        StartSettings {
            listeners,
            pg_dump: if v010 { text("pg_dump_path", "pg_dump") } else { "pg_dump".to_owned() },
            skip_dependency_verification: v010 && switch("skip_dependency_verification", false),
            state_sync: switch(if v010 { "state_sync.enable" } else { "chain.statesync.enable" }, false),
            has_secret: secrets.iter().any(|key| !text(key, "").is_empty()),
            truf: v010 && all.iter().any(is_truf),
            unknown: if v010 {
                all.into_iter().filter(|key| known(key).is_none() && !free(key)).collect()
            } else {
                Vec::new()
            },
            peers: PeerSettings::read(family, document),
        }
    }
}

/// Every key with a value, as `section.key`.
fn collect_set_keys(item: &Item, path: &str, found: &mut Vec<String>) {
    let Some(table) = item.as_table_like() else { return };
    for (key, value) in table.iter() {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if value.is_table_like() {
            collect_set_keys(value, &path, found);
        } else {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(settings: &StartSettings) -> Vec<&str> {
        settings.listeners.iter().map(|listener| listener.address.as_str()).collect()
    }

    #[test]
    fn defaults_are_kwils() {
        let v09 = StartSettings::defaults(Family::V09);
        assert_eq!(addresses(&v09), ["0.0.0.0:8484", "/tmp/kwild.socket", "127.0.0.1:26657", "0.0.0.0:26656"]);
        let v010 = StartSettings::defaults(Family::V010);
        assert_eq!(addresses(&v010), ["0.0.0.0:8484", "0.0.0.0:6600", "/tmp/kwild.socket"]);
        for (family, text) in [
            (Family::V09, include_str!("../../../../tests/data/v0.9/setup-init/default-config.kv")),
            (Family::V010, include_str!("../../../../tests/data/v0.10/init/default.config.kv.txt")),
        ] {
            assert_eq!(StartSettings::parse(text).unwrap(), StartSettings::defaults(family), "{family}");
        }
    }

    #[test]
    fn a_recorded_config_is_read() {
        let settings =
            StartSettings::parse(include_str!("../../../../tests/data/v0.10/restart/solo/config.kv.txt")).unwrap();
        assert_eq!(addresses(&settings), ["127.0.0.1:18488", "127.0.0.1:16604", "BASE/worlds/solo2.sock"]);
        assert!(settings.has_secret && !settings.truf && settings.unknown.is_empty(), "{settings:?}");
    }

    #[test]
    fn unknown_keys_and_trufs() {
        let settings = StartSettings::parse(
            "pg_dump_path = '/x'\nskip_dependency_verification = true\n[db]\nhots = 'h'\n[p2p.blacklist]\nenable = true\n\
             [extensions.erc20]\na = 1\n[admin]\nenable = false\n[mempool]\nmax_tx_bytes = 1\n[state_sync]\nenable = true\n",
        )
        .unwrap();
        assert_eq!(settings.unknown, ["db.hots", "mempool.max_tx_bytes"]);
        assert!(settings.truf && settings.skip_dependency_verification && settings.state_sync);
        assert_eq!(settings.pg_dump, "/x");
        assert_eq!(settings.listeners.len(), 2);
        assert!(StartSettings::parse("[app]\nnonsense = 1\n").unwrap().unknown.is_empty());
        assert!(StartSettings::parse("x").is_err());
    }
}
