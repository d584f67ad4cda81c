//! kwild's variables: what `KWILD_…` in its environment says wins over config.toml, and nothing in the file shows it.

use super::{ConfigError, family_of_document, keys, parse, put_value, value};
use crate::formats::Family;

/// A variable that overrules the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// Its name.
    pub variable: String,
    /// The key in whose place it stands, as `section.key`.
    pub key: String,
    /// Why kwild would not take its value.
    pub problem: Option<String>,
}

/// What every variable of kwild's begins with.
const PREFIX: &str = "KWILD_";

/// A config.toml as kwild takes it in an environment, and the variables that change it.
///
/// # Errors
/// When the text is no TOML, or of neither family.
pub fn with_environment(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(String, Vec<Overruled>), ConfigError> {
    let mut document = parse(text)?;
    let family = family_of_document(&document)?;
    let mut overruled = Vec::new();
    for key in keys(family) {
        let name = format!("{PREFIX}{}", key.name.to_ascii_uppercase().replace('.', "_"));
        // v0.10 looks for the name in small letters, which the keys with capitals have not.
        if family == Family::V010 && key.name.bytes().any(|b| b.is_ascii_uppercase()) {
            continue;
        }
        let Some(given) = variable(&name).filter(|given| family == Family::V010 || !given.is_empty()) else { continue };
        let set = value::from_text(family, key, &given).and_then(|item| put_value(&mut document, &key.name, item));
        let problem = set.err().map(|e| e.to_string());
        overruled.push(Overruled { variable: name, key: key.name.clone(), problem });
    }
    Ok((document.to_string(), overruled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::config::database_settings;

    #[test]
    fn variables_win_over_the_file_of_either_family() {
        let with = |text: &str, given: &[(&str, &str)]| {
            let find = |name: &str| given.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            with_environment(text, find).unwrap()
        };
        let (text, overruled) = with(
            "[db]\ndbname = 'new'\n",
            &[
                ("KWILD_DB_DBNAME", "old"),
                ("KWILD_DB_PORT", "many"),
                ("KWILD_GENESIS_STATE", ""),
                ("KWILD_ROOT", "x"),
                ("KWILD_MEMPOOL_MAXTXBYTES", "1"),
            ],
        );
        assert_eq!(database_settings(&text).unwrap().dbname, "old");
        let seen: Vec<(&str, &str, bool)> =
            overruled.iter().map(|o| (o.variable.as_str(), o.key.as_str(), o.problem.is_some())).collect();
        assert_eq!(
            seen,
            [
                ("KWILD_GENESIS_STATE", "genesis_state", false),
                ("KWILD_DB_PORT", "db.port", true),
                ("KWILD_DB_DBNAME", "db.dbname", false)
            ]
        );
        let (text, overruled) =
            with("[app]\npg_db_name = 'new'\n", &[("KWILD_APP_PG_DB_NAME", "old"), ("KWILD_APP_HOSTNAME", "")]);
        assert_eq!((database_settings(&text).unwrap().dbname.as_str(), overruled.len()), ("old", 1));
        assert_eq!(with("[app]\n", &[]), ("[app]\n".to_owned(), vec![]));
    }
}
