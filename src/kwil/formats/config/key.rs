//! Every key of config.toml that a flag can set, with the kind of its value.

use std::sync::LazyLock;

use toml_edit::{DocumentMut, Item, Value};

use crate::formats::{Family, duration::GoDuration};

/// What Kwil's `setup init` of each family writes, comments left out. A test compares it with the recordings.
const V09_DEFAULTS: &str = include_str!("v09.toml");
const V010_DEFAULTS: &str = include_str!("v010.toml");
/// The defaults of TRUF's fork: v0.10's, with the keys that only the fork knows.
const TRUF_DEFAULTS: &str = include_str!("truf.toml");

/// Keys that kwild takes but does not write by default, with the value that stands for their kind.
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
/// Tables of names and texts, empty by default.
const V010_MAPS: &[&str] = &["erc20_bridge.rpc", "erc20_bridge.block_sync_chuck_size", "erc20_bridge.signer"];
const TRUF_MAPS: &[&str] = &["erc20_bridge.start_block"];

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A port, written as text.
    Port,
    /// A Go duration, written as text.
    Duration,
    /// A whole number.
    Whole,
    /// A number, perhaps with a fraction.
    Number,
    /// True or false.
    Switch,
    /// A list of texts.
    List,
    /// A table of names and texts.
    Map,
}

/// A key of config.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key's full name, as `section.key`.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Upstream's kwild refuses a file with it.
    pub truf_only: bool,
}

impl Key {
    /// The flag of Kwil's commands that sets it, without the dashes in front.
    pub fn flag(&self) -> String {
        self.name.to_lowercase().replace('_', "-")
    }

    /// Whether nobody else may read its value.
    pub fn is_secret(&self) -> bool {
        let last = self.name.rsplit('.').next().unwrap_or_default();
        // Addresses of providers have the operator's token in them.
        matches!(last, "pass" | "pg_db_pass" | "admin_pass") || self.kind == Kind::Map
    }
}

/// Every key of the family, TRUF's among v0.10's, in the order of the file.
pub fn keys(family: Family) -> &'static [Key] {
    static V09: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = of_document(&defaults(Family::V09, false));
        keys.extend(keys_of(V09_MORE));
        keys
    });
    static V010: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let upstream = of_document(&defaults(Family::V010, false));
        let mut keys = of_document(&defaults(Family::V010, true));
        for key in &mut keys {
            key.truf_only = !upstream.iter().any(|other| other.name == key.name);
        }
        keys.extend(keys_of(V010_MORE));
        for (maps, truf_only) in [(V010_MAPS, false), (TRUF_MAPS, true)] {
            keys.extend(maps.iter().map(|name| Key { name: (*name).to_owned(), kind: Kind::Map, truf_only }));
        }
        keys
    });
    match family {
        Family::V09 => &V09,
        Family::V010 => &V010,
    }
}

/// The key of this name.
pub fn find(family: Family, name: &str) -> Option<&'static Key> {
    keys(family).iter().find(|key| key.name == name)
}

/// The file as Kwil's own command writes it.
pub(super) fn defaults(family: Family, truf: bool) -> DocumentMut {
    let text = match (family, truf) {
        (Family::V09, _) => V09_DEFAULTS,
        (Family::V010, false) => V010_DEFAULTS,
        (Family::V010, true) => TRUF_DEFAULTS,
    };
    text.parse().expect("the built-in defaults are TOML, as a test shows")
}

fn keys_of(list: &[(&str, &str)]) -> impl Iterator<Item = Key> {
    list.iter().map(|(name, value)| {
        let value: Value = value.parse().expect("the built-in defaults are TOML, as a test shows");
        Key { name: (*name).to_owned(), kind: kind(name, &value), truf_only: false }
    })
}

fn of_document(document: &DocumentMut) -> Vec<Key> {
    fn collect(item: &Item, path: &str, found: &mut Vec<Key>) {
        let Some(table) = item.as_table_like() else { return };
        for (name, value) in table.iter() {
            let name = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match value {
                Item::Value(value) => found.push(Key { kind: kind(&name, value), name, truf_only: false }),
                other => collect(other, &name, found),
            }
        }
    }
    let mut found = Vec::new();
    collect(document.as_item(), "", &mut found);
    found
}

/// The kind that a default value shows.
fn kind(name: &str, value: &Value) -> Kind {
    match value {
        // v0.9 writes 10, and means a number that may have a fraction.
        _ if name.ends_with("challenge_rate_limit") => Kind::Number,
        // Both families write ports as text and fail on a wrong one only when they start.
        Value::String(_) if name.ends_with("port") => Kind::Port,
        Value::String(text) if GoDuration::parse(text.value()).is_ok() => Kind::Duration,
        Value::String(_) => Kind::Text,
        Value::Integer(_) => Kind::Whole,
        Value::Float(_) => Kind::Number,
        Value::Boolean(_) => Kind::Switch,
        _ => Kind::List,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_kwils_flags() {
        let flags = include_str!("../../../../tests/data/truf/flags.tsv");
        let upstream = include_str!("../../../../tests/data/v0.10/flags.tsv");
        let mut seen = 0;
        for line in flags.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let ["setup init", "local", _, flag, wanted, ..] = columns[..] else { continue };
            let Some(key) = keys(Family::V010).iter().find(|key| format!("--{}", key.flag()) == flag) else {
                assert!(!flag.contains('.'), "{flag} sets no key");
                continue;
            };
            let kind = match wanted {
                "bool" => Kind::Switch,
                "strings" => Kind::List,
                "duration" => Kind::Duration,
                "int" | "uint" => Kind::Whole,
                "float" => Kind::Number,
                "stringToString" => Kind::Map,
                _ if flag == "--db.port" => Kind::Port,
                _ => Kind::Text,
            };
            assert_eq!(key.kind, kind, "{flag}");
            assert_eq!(key.truf_only, !upstream.contains(&format!("\t{flag}\t")), "{flag}");
            seen += 1;
        }
        assert_eq!(seen, keys(Family::V010).len(), "every key has a flag of Kwil's");

        let flags = include_str!("../../../../tests/data/v0.9/help/flags.md");
        let init = flags.split("## setup init").nth(1).unwrap().split("## setup genesis").next().unwrap();
        let mut seen = 0;
        for line in init.lines().filter_map(|line| line.strip_prefix("| --")) {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let Some(key) = keys(Family::V09).iter().find(|key| key.flag() == columns[0]) else {
                assert!(!columns[0].contains('.'), "--{} sets no key", columns[0]);
                continue;
            };
            let kind = match columns[2] {
                "bool" => Kind::Switch,
                "strings" => Kind::List,
                "duration" => Kind::Duration,
                "int" | "uint" | "uint32" => Kind::Whole,
                "float" => Kind::Number,
                _ if columns[0].ends_with("pg-db-port") => Kind::Port,
                // The recorded help has no type where the text of the help names a word.
                _ if columns[0] == "log.retain-max-rolls" => Kind::Whole,
                _ => Kind::Text,
            };
            assert_eq!(key.kind, kind, "{}", columns[0]);
            seen += 1;
        }
        assert_eq!(seen, keys(Family::V09).len(), "every key has a flag of Kwil's");
    }
}
