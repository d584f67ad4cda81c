//! An old node's settings in the new node's config.toml: what is carried over, what is not, and why. Every key of the old
//! file is told of, once.

use std::path::Path;

use serde::Serialize;
use toml_edit::{Item, Table, Value};

use super::{Config, ConfigError, Key, Kind, family_of_document, key, parse, peers_key, value};
use crate::{
    base::{Next, text::escape},
    formats::Family,
};

/// What became of an old setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It stands in the new file.
    Carried,
    /// A flag says otherwise.
    Flag,
    /// It is Kwil's default, in the old file as in the new one.
    Default,
    /// It does not stand in the new file.
    Dropped,
    /// The old file is of the other family, and nothing is translated.
    ByHand,
}

/// One key of the old file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key's full name, as `section.key`.
    pub key: String,
    /// What became of it.
    pub fate: Fate,
    /// Its value as the new file has it, else as the old one had it; left out where it is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it is not carried over, or what to think of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the operator may do about it; `None` where nothing is advised.
    #[serde(skip)]
    pub next: Option<Next>,
}

/// What an old config.toml gives to a new one.
#[derive(Debug, Clone)]
pub struct CarryOver {
    /// The family of the old file.
    pub family: Family,
    /// The old file has keys that only TRUF's fork knows.
    pub truf: bool,
    /// Every key of the old file, in its order.
    pub settings: Vec<Setting>,
    carried: Vec<Carried>,
}

#[derive(Debug, Clone)]
enum Carried {
    Key(String, Item),
    /// An extension's own: the table that it stands in, and its name there.
    Free(&'static str, String, Item),
}

/// Old settings that the new network must not have, and why.
const DROPPED: [(&str, &str); 12] = [
    ("app.genesis_state", SNAPSHOT),
    ("genesis_state", SNAPSHOT),
    ("app.private_key_path", "the new root has the key file in its usual place"),
    ("migration.enable", RUNNING),
    ("migration.from", RUNNING),
    ("migrations.enable", RUNNING),
    ("migrations.migrate_from", RUNNING),
    ("chain.statesync.enable", SYNC),
    ("chain.statesync.rpc_servers", SYNC),
    ("state_sync.enable", SYNC),
    ("state_sync.trusted_providers", SYNC),
    ("checkpoint.height", CHECKPOINT),
];
const SNAPSHOT: &str = "it names the old network's snapshot";
const RUNNING: &str = "it belongs to Kwil's own migration between running networks";
const SYNC: &str = "the new node begins with the snapshot; syncing from the old network's nodes would fail";
const CHECKPOINT: &str = "it is a block of the old network";

/// Carried over, but to be looked at.
const NOTED: [(&str, &str); 7] = [
    ("app.pg_db_name", DATABASE),
    ("db.dbname", DATABASE),
    ("chain.p2p.persistent_peers", PEERS),
    ("chain.p2p.seeds", PEERS),
    ("chain.p2p.whitelist_peers", PEERS),
    ("p2p.bootnodes", PEERS),
    ("p2p.whitelist", PEERS),
];
const DATABASE: &str =
    "the OLD node's database: kwild ignores the snapshot while it holds a state; name a new one, or empty it first";
const PEERS: &str = "right as far as these nodes join the new network with the same keys";

/// Files that a node reads from its root.
const FILES: [&str; 2] = ["app.admin_tls_cert_file", "app.admin_tls_key_file"];

/// Reads an old node's config.toml and decides about each of its keys. `given` are the keys that flags set, and their values.
///
/// # Errors
/// When the text is no config.toml of either family. What one key holds is never an error: it is told.
pub fn carry_over(
    text: &str,
    old_root: &Path,
    family: Family,
    given: &[(String, String)],
) -> Result<CarryOver, ConfigError> {
    let document = parse(text)?;
    let old = family_of_document(&document)?;
    let mut leaves = Vec::new();
    flatten_keys(document.as_item(), "", old, &mut leaves);
    let truf = leaves.iter().any(|(name, _)| key::find(old, name).is_some_and(|key| key.truf_only));
    let defaults = if truf { Config::truf() } else { Config::new(old) };
    let mut carry = CarryOver { family: old, truf, settings: Vec::new(), carried: Vec::new() };
    for (name, item) in leaves {
        if let Some((table, name)) = in_free_table(&name) {
            carry.free(table, name, item, family);
            continue;
        }
        let Some(key) = key::find(old, &name) else {
            let why = match old {
                Family::V09 => "v0.9 has no such key, and its kwild ignores it",
                Family::V010 => "v0.10 has no such key, and its kwild refuses it",
            };
            carry.tell(escape(&name), Fate::Dropped, None, Some(why));
            continue;
        };
        let shown = shown_value(key, item);
        let new = match value::from_item(old, key, item) {
            Ok(new) => new,
            Err(error) => {
                carry.tell(name, Fate::Dropped, None, Some(&error.to_string()));
                continue;
            }
        };
        if defaults.item(&name).is_some_and(|default| same_value(default, &new)) {
            carry.tell(name, Fate::Default, None, None);
        } else if old != family {
            carry.tell(name, Fate::ByHand, shown, None);
        } else if let Some(flag) = by_flag(given, &name).filter(|_| name != peers_key(family)) {
            // What stands in the new file is the flag's; the old value is told beside it.
            let was = shown.map(|old| format!("the old node has {old}"));
            let secret = key.is_secret() || flag.contains("://") && flag.contains('@');
            carry.tell(name, Fate::Flag, (!secret).then(|| escape(flag)), was.as_deref());
        } else if let Some(why) = why_not_carried(key, &new, old_root) {
            carry.tell(name, Fate::Dropped, shown, Some(&why));
        } else {
            let note = NOTED.iter().find(|(noted, _)| *noted == name).map(|(_, why)| *why);
            carry.tell(name.clone(), Fate::Carried, shown, note);
            carry.carried.push(Carried::Key(name, new));
        }
    }
    Ok(carry)
}

impl CarryOver {
    /// Puts what is carried over into a new configuration of the same family.
    ///
    /// # Errors
    /// When the new configuration is of the other family.
    pub fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        for carried in &self.carried {
            match carried {
                Carried::Key(name, item) => config.set_item(name, item)?,
                Carried::Free(table, name, item) => {
                    config.section(table)?.insert(name, item.clone());
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, key: String, fate: Fate, value: Option<String>, why: Option<&str>) {
        self.settings.push(Setting { key, fate, value, why: why.map(str::to_owned), next: None });
    }

    /// An extension's own settings: whatever they are, they are the operator's.
    fn free(&mut self, table: &'static str, name: &str, item: &Item, family: Family) {
        let fate = if self.family == family { Fate::Carried } else { Fate::ByHand };
        self.tell(escape(&format!("{table}.{name}")), fate, None, None);
        if fate == Fate::Carried {
            self.carried.push(Carried::Free(table, name.to_owned(), without_decoration(item)));
        }
    }
}

/// The value that a flag gives to a key; the last one counts.
fn by_flag<'a>(given: &'a [(String, String)], name: &str) -> Option<&'a str> {
    given.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Every key with its value; tables of texts and what extensions have stay whole.
fn flatten_keys<'a>(item: &'a Item, path: &str, family: Family, found: &mut Vec<(String, &'a Item)>) {
    let Some(table) = item.as_table_like() else { return };
    for (name, item) in table.iter() {
        let name = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let map = key::find(family, &name).is_some_and(|key| key.kind == Kind::Map);
        if map && item.as_table_like().is_some_and(|table| table.is_empty()) {
            continue;
        }
        if map || in_free_table(&name).is_some() || !item.is_table_like() {
            found.push((name, item));
        } else {
            flatten_keys(item, &name, family, found);
        }
    }
}

/// The extensions' table that a key stands in, and the rest of its name.
fn in_free_table(name: &str) -> Option<(&'static str, &str)> {
    value::FREE_TABLES.iter().find_map(|table| Some((*table, name.strip_prefix(table)?.strip_prefix('.')?)))
}

/// Why a setting must not stand in the new file.
fn why_not_carried(key: &Key, item: &Item, old_root: &Path) -> Option<String> {
    if key.name == "checkpoint.hash" {
        return Some(CHECKPOINT.to_owned());
    }
    if let Some((_, why)) = DROPPED.iter().find(|(name, _)| *name == key.name) {
        return Some((*why).to_owned());
    }
    let texts: Vec<&str> = match item.as_value() {
        Some(Value::String(text)) => vec![text.value()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let inside = |text: &&str| {
        let path = Path::new(text);
        path.is_absolute() && path.starts_with(old_root)
            || FILES.contains(&key.name.as_str()) && path.is_relative() && !text.starts_with('~')
    };
    texts
        .iter()
        .any(inside)
        .then(|| format!("it names a file in the old root, which is not copied: copy it, then give --{}", key.flag()))
}

/// The value as the old file has it, unless it is a secret.
fn shown_value(key: &Key, item: &Item) -> Option<String> {
    // Addresses may hold a name and a password, too.
    let text = item.as_value().filter(|_| !key.is_secret())?.clone().decorated("", "").to_string();
    (!text.contains("://") || !text.contains('@')).then(|| escape(&text))
}

fn same_value(one: &Item, other: &Item) -> bool {
    match (one.as_value(), other.as_value()) {
        (Some(one), Some(other)) => {
            one.clone().decorated("", "").to_string().replace('"', "'")
                == other.clone().decorated("", "").to_string().replace('"', "'")
        }
        _ => false,
    }
}

/// A copy that brings neither comments nor its place in the old file along.
fn without_decoration(item: &Item) -> Item {
    match item {
        Item::Value(value) => Item::Value(value.clone().decorated(" ", "")),
        Item::Table(table) => {
            let mut copy = Table::new();
            for (name, item) in table.iter() {
                copy.insert(name, without_decoration(item));
            }
            Item::Table(copy)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::config::{database_settings, keys};

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";

    fn carried(text: &str, family: Family, given: &[(String, String)]) -> (CarryOver, String) {
        let carry = carry_over(text, Path::new("/old/root"), family, given).unwrap();
        let mut config = if carry.truf { Config::truf() } else { Config::new(family) };
        if carry.family == family {
            carry.apply(&mut config).unwrap();
        }
        (carry, config.to_text().to_string())
    }

    fn fate(carry: &CarryOver, key: &str) -> (Fate, Option<String>) {
        let mut found = carry.settings.iter().filter(|setting| setting.key == key);
        let one = found.next().unwrap_or_else(|| panic!("{key} is not told of"));
        assert!(found.next().is_none(), "{key} is told of twice");
        (one.fate, one.why.clone())
    }

    #[test]
    fn an_operators_settings_go_over_and_the_old_networks_do_not() {
        let old = format!(
            "genesis_state = '/old/root/genesis-state.sql.gz'\nsurprise = 1\n[db]\nhost = \"10.0.0.1\"\nport = 5433\nuser = 'kwild'\n\
             pass = 'hunter2'\ndbname = 'old'\n[p2p]\nbootnodes = ['{KEY}@h:6600']\nprivate = true\nlisten = 5\n\
             [log]\noutput = ['stdout', '/old/root/x.log']\n[state_sync]\nenable = true\n[checkpoint]\nheight = 7\nhash = 'ab'\n\
             [extensions.mine] # mine\nurl = 'u'\n[extensions.mine.deep]\nn = 1\n[erc20_bridge.rpc]\nsepolia = 'wss://token'\n\
             [erc20_bridge.signer]\n[consensus]\npropose_timeout = '1s'\n"
        );
        let (carry, text) = carried(&old, Family::V010, &[("p2p.private".to_owned(), "false".to_owned())]);
        for (key, wanted, why) in [
            ("genesis_state", Fate::Dropped, "snapshot"),
            ("surprise", Fate::Dropped, "refuses it"),
            ("db.host", Fate::Carried, ""),
            ("db.port", Fate::Carried, ""),
            ("db.user", Fate::Default, ""),
            ("db.pass", Fate::Carried, ""),
            ("db.dbname", Fate::Carried, "OLD node's database"),
            ("p2p.bootnodes", Fate::Carried, "same keys"),
            ("p2p.private", Fate::Flag, "the old node has true"),
            ("p2p.listen", Fate::Carried, ""),
            ("log.output", Fate::Dropped, "--log.output"),
            ("state_sync.enable", Fate::Dropped, "begins with the snapshot"),
            ("checkpoint.height", Fate::Dropped, "block of the old network"),
            ("checkpoint.hash", Fate::Dropped, "block of the old network"),
            ("extensions.mine", Fate::Carried, ""),
            ("erc20_bridge.rpc", Fate::Carried, ""),
            ("consensus.propose_timeout", Fate::Default, ""),
        ] {
            let (fate, told) = fate(&carry, key);
            assert_eq!(fate, wanted, "{key}");
            assert!(told.unwrap_or_default().contains(why), "{key}");
        }
        assert_eq!(carry.settings.len(), 17);
        let by_flag = carry.settings.iter().find(|setting| setting.key == "p2p.private").unwrap();
        assert_eq!(by_flag.value.as_deref(), Some("false"), "the flag's value, not the old one");
        for line in ["host = '10.0.0.1'", "port = '5433'", "pass = 'hunter2'", "[extensions.mine]\nurl = 'u'"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("[extensions.mine.deep]\nn = 1") && text.contains("sepolia = 'wss://token'"), "{text}");
        assert!(!text.contains("surprise") && !text.contains("old/root") && text.contains("height = 0"), "{text}");
        let told = serde_json::to_string(&carry.settings).unwrap();
        assert!(!told.contains("hunter2") && !told.contains("token"), "{told}");
        // What was written is a file that can be carried over again, with the same result.
        let (_, again) = carried(&text, Family::V010, &[]);
        assert_eq!(again, text);
    }

    #[test]
    fn v09_settings_go_over() {
        let id = "56475aa75463474c0285df5dbf2bcab73da65135";
        let old = format!(
            "[app]\nprivate_key_path = '/keys/k'\npg_db_port = 5433\nadmin_tls_cert_file = 'rpc.cert'\nhostname = \"a\\\"b\"\nnope = 1\n\
             [app.extensions.x]\na = 'b'\n[chain.p2p]\npersistent_peers = '{id}@h:1'\nseeds = 'nonsense'\npex = false\n\
             [chain.statesync]\nenable = true\n[migration]\nenable = true\n[instrumentation]\nprometheus = true\n"
        );
        let (carry, text) = carried(&old, Family::V09, &[]);
        assert_eq!(fate(&carry, "app.private_key_path").0, Fate::Dropped);
        assert_eq!(fate(&carry, "app.admin_tls_cert_file").0, Fate::Dropped);
        assert!(fate(&carry, "app.nope").1.unwrap().contains("ignores it"));
        assert!(fate(&carry, "chain.p2p.seeds").1.unwrap().contains("nonsense is not a peer such as"));
        assert_eq!(fate(&carry, "chain.statesync.enable").0, Fate::Dropped);
        assert_eq!(fate(&carry, "migration.enable").0, Fate::Dropped);
        for line in [
            "pg_db_port = \"5433\"",
            "hostname = \"a\\\"b\"",
            "pex = false",
            "[app.extensions.x]\na = 'b'",
            "prometheus = true",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains(&format!("persistent_peers = \"{id}@h:1\"")));
        assert!(text.contains("private_key_path = \"private_key\""));
    }

    #[test]
    fn across_families_everything_is_left_to_the_operator() {
        let old =
            "[app]\npg_db_port = '5433'\npg_db_pass = 'hunter2'\npg_db_user = 'kwild'\n[app.extensions.x]\na = 1\n";
        let (carry, text) = carried(old, Family::V010, &[]);
        assert_eq!(text, *Config::new(Family::V010).to_text());
        assert_eq!(fate(&carry, "app.pg_db_port").0, Fate::ByHand);
        assert_eq!(fate(&carry, "app.pg_db_user").0, Fate::Default);
        assert_eq!(fate(&carry, "app.extensions.x").0, Fate::ByHand);
        assert!(!serde_json::to_string(&carry.settings).unwrap().contains("hunter2"));
        assert!(carry.apply(&mut Config::new(Family::V010)).is_ok(), "there is nothing to apply");
    }

    #[test]
    fn trufs_keys_make_trufs_file() {
        let (carry, text) = carried("[db]\nport = '1'\n[block_sync]\nidle_timeout = '1s'\n", Family::V010, &[]);
        assert!(carry.truf);
        assert!(text.contains("idle_timeout = '1s'") && text.contains("[p2p.blacklist]"), "{text}");
        // A recorded file of Kwil's own is all defaults but for what was set.
        let recorded = include_str!("../../../../tests/data/v0.10/restart/solo/config.kv.txt");
        let (carry, _) = carried(recorded, Family::V010, &[]);
        let carried: Vec<&str> =
            carry.settings.iter().filter(|s| s.fate == Fate::Carried).map(|s| s.key.as_str()).collect();
        assert_eq!(
            carried,
            [
                "p2p.listen",
                "consensus.propose_timeout",
                "consensus.empty_block_timeout",
                "db.port",
                "db.pass",
                "db.dbname",
                "rpc.listen",
                "admin.listen"
            ]
        );
        assert!(!carry.truf);
    }

    #[test]
    fn keys_without_a_name_are_refused() {
        // Older readers of TOML took these for a fault of their own, and ended the process.
        for text in ["==a\n.=", "{\n={[]}\n.="] {
            let e = carry_over(text, Path::new("/old"), Family::V09, &[]).unwrap_err();
            assert!(matches!(e, ConfigError::Toml { .. }), "{e:?}");
        }
    }

    /// A text that is a value of this kind.
    fn fitting(kind: Kind, text: &str, number: u16) -> String {
        match kind {
            Kind::Port => number.to_string(),
            Kind::Duration => format!("{}s", u32::from(number) + 1),
            Kind::Whole | Kind::Number => number.to_string(),
            Kind::Switch => (number < 1000).to_string(),
            Kind::List => "one,two".to_owned(),
            Kind::Map => "a=b".to_owned(),
            Kind::Text => text.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn every_key_is_told_of_once_and_what_is_carried_is_the_same(
            picks in proptest::collection::btree_map(0_usize..200, (any::<String>(), any::<u16>(), any::<bool>()), 1..12),
            family in prop_oneof![Just(Family::V09), Just(Family::V010)],
        ) {
            let mut old = if family == Family::V09 { Config::new(family) } else { Config::truf() };
            let mut given = Vec::new();
            let mut set = Vec::new();
            for (index, (text, number, by_flag)) in picks {
                let Some(key) = keys(family).get(index % keys(family).len()) else { continue };
                // Whatever is no peer is refused already.
                if old.set(&key.name, &fitting(key.kind, &text, number)).is_ok() {
                    set.push(key);
                    if by_flag {
                        given.push((key.name.clone(), String::new()));
                    }
                }
            }
            let text = old.to_text();
            let (carry, new) = carried(&text, family, &given);
            for key in set {
                let (fate, _) = fate(&carry, &key.name);
                let there = old.item(&key.name).unwrap();
                let mut read: toml_edit::DocumentMut = new.parse().unwrap();
                let now = key.name.split('.').try_fold(read.as_item_mut(), |item, part| item.get_mut(part));
                match fate {
                    Fate::Carried | Fate::Default => {
                        let now = now.unwrap();
                        prop_assert!(same_value(there, now) || key.kind == Kind::Map, "{}: {there} {now}", key.name);
                    }
                    Fate::Flag => prop_assert!(given.iter().any(|(name, _)| *name == key.name)),
                    Fate::Dropped => prop_assert!(now.is_none_or(|now| !same_value(there, now)), "{}", key.name),
                    Fate::ByHand => prop_assert!(false, "same family"),
                }
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "[\\[\\]a-z0-9.= '\"\n{},#]{0,80}") {
            let _ = carry_over(&text, Path::new("/old"), Family::V09, &[]);
            let _ = carry_over(&format!("[db]\n{text}"), Path::new("/old"), Family::V010, &[]);
            let _ = database_settings(&text);
        }
    }
}
