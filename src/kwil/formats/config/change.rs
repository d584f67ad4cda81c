//! Flags against a config.toml that is there: which of them say something else, and the file with what they say.

use toml_edit::Item;

use super::{Config, ConfigError, family_of_document, key, parse, peers, put_value, value};

/// A key that a flag would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key's full name, as `section.key`.
    pub key: String,
    /// What the file has, as it is written there; None: nothing, or a secret.
    pub there: Option<String>,
    /// What the flag says; None: a secret.
    pub flag: Option<String>,
}

/// The file with what flags say, everything else as it was, and what that changes. Peers are added, never taken away.
///
/// # Errors
/// When the text is no config.toml, a flag is of the other family, or its value is not of its kind.
pub fn with_values(text: &str, flags: &[(String, String)]) -> Result<(String, Vec<Difference>), ConfigError> {
    let mut document = parse(text)?;
    let family = family_of_document(&document)?;
    let mut differences = Vec::new();
    for (name, given) in flags {
        let key = key::find(family, name).ok_or_else(|| ConfigError::UnknownKey { family, key: name.clone() })?;
        let there = peers::item_at(&document, name).cloned();
        let mut item = value::from_text(family, key, given)?;
        if name == peers::peers_key(family) {
            let mut all = peers::texts(there.as_ref());
            let new: Vec<String> = peers::texts(Some(&item)).into_iter().filter(|peer| !all.contains(peer)).collect();
            if new.is_empty() {
                continue;
            }
            all.extend(new);
            item = value::from_text(family, key, &all.join(","))?;
        }
        // What is not there has Kwil's default.
        let default = Config::new(family).item(name).cloned();
        if there.as_ref().or(default.as_ref()).is_some_and(|there| same_value(there, &item)) {
            continue;
        }
        let shown = |item: &Item| item.as_value().filter(|_| !key.is_secret()).map(plain_text);
        differences.push(Difference {
            key: name.clone(),
            there: there.as_ref().and_then(shown),
            flag: (!key.is_secret()).then(|| given.clone()),
        });
        put_value(&mut document, name, item)?;
    }
    Ok((document.to_string(), differences))
}

fn plain_text(value: &toml_edit::Value) -> String {
    value.clone().decorated("", "").to_string()
}

fn same_value(one: &Item, other: &Item) -> bool {
    match (one.as_value(), other.as_value()) {
        (Some(one), Some(other)) => plain_text(one).replace('"', "'") == plain_text(other).replace('"', "'"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_differs_is_told_and_changed() {
        const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";
        let file = format!(
            "# mine\n[db]\ndbname = \"a\" # why\nport = '5432'\npass = 'x'\n[p2p]\nbootnodes = ['{KEY}@h:1']\n"
        );
        let same = flags(&[
            ("db.dbname", "a"),
            ("db.port", "5432"),
            ("db.host", "127.0.0.1"),
            ("p2p.bootnodes", &format!("{KEY}@h:1")),
        ]);
        assert_eq!(with_values(&file, &same).unwrap(), (file.clone(), vec![]));
        let other = flags(&[
            ("db.dbname", "b"),
            ("db.pass", "hunter2"),
            ("p2p.bootnodes", &format!("{KEY}@g:1")),
            ("rpc.private", "true"),
        ]);
        let (text, differences) = with_values(&file, &other).unwrap();
        let keys: Vec<&str> = differences.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(keys, ["db.dbname", "db.pass", "p2p.bootnodes", "rpc.private"]);
        assert_eq!(differences[0].there.as_deref(), Some("\"a\""));
        assert_eq!((&differences[1].there, &differences[1].flag), (&None, &None), "a secret");
        for part in
            ["# mine", "dbname = 'b' # why", "port = '5432'", &format!("['{KEY}@h:1', '{KEY}@g:1']"), "private = true"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(with_values(&text, &other).unwrap().1, [], "it is there now");
        assert!(with_values(&file, &flags(&[("app.hostname", "x")])).is_err());
        assert!(with_values(&file, &flags(&[("db.port", "x")])).is_err());
    }
}
