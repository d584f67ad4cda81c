//! Values as the families' tools write them, and texts and values of other files turned into them.

use std::{collections::BTreeMap, fmt::Write};

use toml_edit::{Item, Table, Value};

use super::{ConfigError, Key, Kind, peers};
use crate::formats::{Family, duration::GoDuration};

/// Tables whose keys are extensions' own.
pub(super) const FREE_TABLES: [&str; 2] = ["app.extensions", "extensions"];

/// Something given for a key, whatever it came from.
enum Given {
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// The value that a flag's text is.
pub(super) fn from_text(family: Family, key: &Key, text: &str) -> Result<Item, ConfigError> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let given = match key.kind {
        Kind::List => Given::List(parts().map(str::to_owned).collect()),
        Kind::Map => {
            let mut map = BTreeMap::new();
            for part in parts() {
                let (name, value) = part
                    .split_once('=')
                    .filter(|(name, _)| !name.is_empty())
                    .ok_or_else(|| wrong_value(key, text, "a list such as name=text,name=text"))?;
                map.insert(name.to_owned(), value.to_owned());
            }
            Given::Map(map)
        }
        _ => Given::Text(text.to_owned()),
    };
    build(family, key, given)
}

/// The value that another file's value is, where its type is a near one.
pub(super) fn from_item(family: Family, key: &Key, item: &Item) -> Result<Item, ConfigError> {
    let told = |value: &Value| match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(switch) => Some(switch.value().to_string()),
        _ => None,
    };
    let unfit = || wrong_value(key, "its value", wanted_form(key.kind));
    let given = match (key.kind, item) {
        (Kind::Map, item) => {
            let table = item.as_table_like().ok_or_else(unfit)?;
            let entry = |(name, item): (&str, &Item)| Some((name.to_owned(), told(item.as_value()?)?));
            Given::Map(table.iter().map(entry).collect::<Option<_>>().ok_or_else(unfit)?)
        }
        (Kind::List, Item::Value(Value::Array(list))) => {
            Given::List(list.iter().map(told).collect::<Option<_>>().ok_or_else(unfit)?)
        }
        (Kind::List, Item::Value(Value::String(text))) => return from_text(family, key, text.value()),
        (_, item) => Given::Text(item.as_value().and_then(told).ok_or_else(unfit)?),
    };
    build(family, key, given)
}

fn wanted_form(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Port => "a port number",
        Kind::Duration => "a duration such as 1m30s or 500ms, not negative",
        Kind::Whole => "a whole number, not negative",
        Kind::Number => "a number, not negative",
        Kind::Switch => "true or false",
        Kind::List => "a list of texts",
        Kind::Map => "a table of texts",
    }
}

fn wrong_value(key: &Key, value: &str, wanted: &'static str) -> ConfigError {
    let value = if key.is_secret() { "its value" } else { value };
    ConfigError::Value { key: key.name.clone(), value: value.to_owned(), wanted }
}

fn build(family: Family, key: &Key, given: Given) -> Result<Item, ConfigError> {
    Ok(Item::Value(match given {
        Given::List(list) => {
            peers::check(family, key, &list)?;
            let texts: Vec<String> = list.iter().map(|text| quoted(family, text)).collect();
            literal(&format!("[{}]", texts.join(", ")))
        }
        Given::Map(map) => {
            let mut table = Table::new();
            for (name, text) in map {
                table.insert(&name, Item::Value(literal(&quoted(family, &text))));
            }
            return Ok(Item::Table(table));
        }
        Given::Text(text) => {
            let unfit = |_| wrong_value(key, &text, wanted_form(key.kind));
            match key.kind {
                Kind::Port => {
                    text.parse::<u16>().map_err(|_| unfit(()))?;
                    literal(&quoted(family, &text))
                }
                Kind::Duration => {
                    let duration = GoDuration::parse(&text).ok().filter(|d| d.0 >= 0).ok_or_else(|| unfit(()))?;
                    // Found by kwild when it starts, after a failed start has made a database.
                    if key.name == "consensus.propose_timeout" && duration.0 < 500_000_000 {
                        return Err(wrong_value(key, &text, "at least 500ms, which kwild asks for"));
                    }
                    literal(&quoted(family, &duration.to_string()))
                }
                Kind::Whole => Value::from(text.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(|| unfit(()))?),
                Kind::Number => {
                    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
                    let number = number.ok_or_else(|| unfit(()))?;
                    // v0.9 writes 10 where v0.10 writes 10.0.
                    match family {
                        Family::V09 if number.fract() == 0.0 && number < 1e15 => Value::from(number as i64),
                        _ => Value::from(number),
                    }
                }
                Kind::Switch => Value::from(text.parse::<bool>().map_err(|_| unfit(()))?),
                _ => {
                    if key.kind == Kind::Text {
                        let list: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
                        peers::check(family, key, if text.is_empty() { &[] } else { &list })?;
                    }
                    literal(&quoted(family, &text))
                }
            }
        }
    }))
}

fn literal(text: &str) -> Value {
    text.parse().expect("a value written by the rules of TOML is TOML, as a property test shows")
}

/// A text between quotation marks, as the family's own tool writes it, but for v0.9's, which escapes nothing and so
/// writes files that cannot be read.
fn quoted(family: Family, text: &str) -> String {
    let control = |c: char| c != '\t' && c.is_ascii_control();
    if family == Family::V010 && !text.contains(|c| c == '\'' || control(c)) {
        return format!("'{text}'");
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if control(c) => write!(out, "\\u{:04X}", u32::from(c)).expect("a String takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_kwilds_are() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/data/v0.10/init/cases.json")).unwrap();
        let mut seen = 0;
        for (name, case) in cases.as_object().unwrap() {
            if !name.starts_with("root_name") {
                continue;
            }
            let args: Vec<&str> = case["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
            let root = args[args.iter().position(|arg| *arg == "-r").unwrap() + 1];
            let line = case["config"].as_str().unwrap().lines().find(|line| line.starts_with("genesis_state")).unwrap();
            let path = format!("{root}/genesis-state.sql.gz");
            assert_eq!(format!("genesis_state = {}", quoted(Family::V010, &path)), line, "{name}");
            seen += 1;
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn v09_texts_can_be_read_again() {
        assert_eq!(quoted(Family::V09, "we\"ird\\name"), r#""we\"ird\\name""#);
        assert_eq!(quoted(Family::V09, "a'b\tc\u{7f}"), "\"a'b\\tc\\u007F\"");
    }
}
