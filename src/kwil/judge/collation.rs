//! How a database orders text, and whether two of them do it alike. kwild's statements have no COLLATE, so two nodes whose
//! databases order text differently part at the first block whose result depends on an order; nothing in kwild compares it.

use serde::{Deserialize, Serialize};

use super::quote::{identifier, literal, shell_word};
use crate::base::{Advice, Finding, Level, Next, text::escape};

/// The longest value of a locale, and the longest name of a table that is kept.
const VALUE_BYTES_MAX: usize = 128;
/// See [`VALUE_BYTES_MAX`].
const NAME_BYTES_MAX: usize = 200;
/// Rules of an ICU collation; nobody's are longer.
const RULES_BYTES_MAX: usize = 1024;
/// Tables with a key of text that are named; the rest is counted.
pub const TEXT_KEY_TABLES_MAX: usize = 16;

/// How a database orders text, as its server says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collation {
    /// The encoding of the database's text, such as `UTF8`.
    pub encoding: String,
    /// `libc` or `icu`.
    pub provider: String,
    /// LC_COLLATE.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// ICU's locale; empty with libc.
    pub icu_locale: String,
    /// ICU's rules; mostly empty.
    pub icu_rules: String,
    /// The version that the library gives its collation; empty where it has none.
    pub version: String,
    /// The server's major version.
    pub server_major: u32,
    /// How many tables have a key of text.
    pub text_keys: u32,
    /// The first ones' names.
    pub text_key_tables: Vec<String>,
}

/// `C.UTF-8`, `C.utf8`: the same.
fn plain_name(locale: &str) -> String {
    let name: String = locale.chars().filter(|c| c.is_ascii_alphanumeric() || ".@".contains(*c)).collect();
    name.to_ascii_lowercase()
}

/// Orders by the code points of UTF-8 and nothing else.
fn is_code_points(locale: &str) -> bool {
    matches!(plain_name(locale).as_str(), "c" | "posix" | "c.utf8")
}

impl Collation {
    /// Whether every value is one that a server says, and none is long: a stranger's are written into statements, commands
    /// and messages.
    pub fn is_plain(&self) -> bool {
        let locale = |text: &String, max: usize| {
            text.len() <= max && text.chars().all(|c| !c.is_control() && !"'\"\\`$;".contains(c))
        };
        let plain = [&self.encoding, &self.provider, &self.collate, &self.ctype, &self.icu_locale, &self.version];
        plain.iter().all(|text| locale(text, VALUE_BYTES_MAX))
            // Rules of ICU quote with what would harm elsewhere; they are told of, and written nowhere.
            && self.icu_rules.len() <= RULES_BYTES_MAX
            && matches!(self.provider.as_str(), "libc" | "icu")
            && self.text_key_tables.len() <= TEXT_KEY_TABLES_MAX
            && self.text_key_tables.iter().all(|name| name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control))
    }

    /// What decides the order of texts, in words.
    pub fn words(&self) -> String {
        let rules = if self.icu_rules.is_empty() { "" } else { ", with rules of its own" };
        let version =
            if self.version.is_empty() { String::new() } else { format!(", version {}", escape(&self.version)) };
        match self.provider.as_str() {
            "icu" => format!("ICU {}{rules}{version}", escape(&self.icu_locale)),
            _ if self.collate == self.ctype => format!("{} (libc{version})", escape(&self.collate)),
            _ => format!("{}, letters as in {} (libc{version})", escape(&self.collate), escape(&self.ctype)),
        }
    }

    /// Whether ORDER BY means the same in both.
    fn orders_as(&self, other: &Self) -> bool {
        if self.provider != other.provider {
            return false;
        }
        if self.provider == "icu" {
            let tag = |text: &str| text.replace('_', "-").to_ascii_lowercase();
            return tag(&self.icu_locale) == tag(&other.icu_locale) && self.icu_rules == other.icu_rules;
        }
        let same = |one: &str, other: &str| plain_name(one) == plain_name(other);
        same(&self.collate, &other.collate) || is_code_points(&self.collate) && is_code_points(&other.collate)
    }

    /// Whether letters are the same in both: upper, lower, patterns.
    fn spells_as(&self, other: &Self) -> bool {
        self.provider == "icu" || plain_name(&self.ctype) == plain_name(&other.ctype)
    }

    /// The tables whose keys are texts, in words.
    fn tables(&self) -> String {
        let named: Vec<String> = self.text_key_tables.iter().take(5).map(|name| escape(name)).collect();
        let more = (self.text_keys as usize).saturating_sub(named.len());
        match (named.is_empty(), more) {
            (true, _) => "no table has a key of text".to_owned(),
            (false, 0) => format!("tables with a key of text: {}", named.join(", ")),
            (false, more) => format!("tables with a key of text: {} and {more} more", named.join(", ")),
        }
    }

    /// The clauses of CREATE DATABASE that make one like this; values are quoted.
    fn create_clauses(&self) -> String {
        let mut clauses =
            format!("ENCODING 'UTF8' LOCALE_PROVIDER {}", if self.provider == "icu" { "icu" } else { "libc" });
        if self.provider == "icu" {
            clauses.push_str(&format!(" ICU_LOCALE {}", literal(&self.icu_locale)));
            if !self.icu_rules.is_empty() {
                clauses.push_str(&format!(" ICU_RULES {}", literal(&self.icu_rules)));
            }
        }
        clauses.push_str(&format!(" LC_COLLATE {} LC_CTYPE {}", literal(&self.collate), literal(&self.ctype)));
        clauses
    }

    /// The same as flags of `createdb`, each with its value.
    fn create_flags(&self) -> Vec<(&'static str, &str)> {
        let mut flags = vec![("--encoding", "UTF8")];
        if self.provider == "icu" {
            flags.push(("--locale-provider", "icu"));
            flags.push(("--icu-locale", &self.icu_locale));
            if !self.icu_rules.is_empty() {
                flags.push(("--icu-rules", &self.icu_rules));
            }
        } else {
            flags.push(("--locale-provider", "libc"));
        }
        flags.extend([("--lc-collate", self.collate.as_str()), ("--lc-ctype", self.ctype.as_str())]);
        flags
    }
}

/// What follows where the old network's database is `old` and the new node's `new`; nothing where they order text alike.
pub fn compare(old: &Collation, new: &Collation, dbname: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let dbname = escape(dbname);
    let mut say = |level, text: String, fix: Advice| found.push(Finding::new(level, "collation", text).fix(fix));
    if !old.orders_as(new) {
        let text = format!(
            "the database {dbname} orders text by {}, the old network's by {}: ORDER BY gives other rows here than on the \
             other nodes, and this node parts from them without a word",
            new.words(),
            old.words()
        );
        say(Level::Error, text, Next::DatabaseLikeOld.into());
    } else if !old.spells_as(new) {
        let text = format!(
            "the database {dbname} knows letters as {}, the old network's as {}: upper, lower and patterns give other texts \
             here than on the other nodes",
            escape(&new.ctype),
            escape(&old.ctype)
        );
        say(Level::Error, text, Next::DatabaseLikeOld.into());
    } else if !old.version.is_empty() && !new.version.is_empty() && old.version != new.version {
        let text = format!(
            "the database {dbname} orders text by {}, the old network's by {}: the same locale of another version may put \
             some texts in another order ({})",
            new.words(),
            old.words(),
            old.tables()
        );
        let fix = Advice::from("give every node the same version of the system's libraries");
        say(Level::Warning, text, fix.and(Next::CompareNodes));
    }
    found
}

/// The database that a new node is to use: by its settings, and ordered as the old network's where that is known.
#[derive(Debug, Clone, Copy)]
pub struct NewDatabase<'a> {
    /// The host of its server, or the directory of its socket.
    pub host: &'a str,
    /// The port of its server.
    pub port: u16,
    /// The role of the node, which is to own it.
    pub user: &'a str,
    /// Its name.
    pub dbname: &'a str,
    /// How the old network's database orders text.
    pub like: Option<&'a Collation>,
}

impl NewDatabase<'_> {
    /// The statement that makes it.
    pub fn statement(&self) -> String {
        let clauses = self.like.map_or_else(|| format!("ENCODING {}", literal("UTF8")), Collation::create_clauses);
        let (dbname, user) = (identifier(self.dbname), identifier(self.user));
        format!("CREATE DATABASE {dbname} OWNER {user} TEMPLATE template0 {clauses};")
    }

    /// The command that makes it, for a shell.
    pub fn createdb(&self) -> String {
        let port = self.port.to_string();
        let mut words = vec!["createdb", "--host", self.host, "--port", &port, "--username", self.user];
        words.extend(["--owner", self.user, "--template", "template0"]);
        match self.like {
            Some(like) => words.extend(like.create_flags().into_iter().flat_map(|(flag, value)| [flag, value])),
            None => words.extend(["--encoding", "UTF8"]),
        }
        // A name may begin like a flag.
        words.extend(["--", self.dbname]);
        words.into_iter().map(shell_word).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libc(collate: &str, version: &str) -> Collation {
        Collation {
            encoding: "UTF8".into(),
            provider: "libc".into(),
            collate: collate.into(),
            ctype: collate.into(),
            version: version.into(),
            server_major: 16,
            text_keys: 7,
            text_key_tables: ["a.b", "a.c", "a.d", "a.e", "a.f", "a.g"].map(str::to_owned).to_vec(),
            ..Collation::default()
        }
    }

    fn icu(locale: &str) -> Collation {
        Collation { provider: "icu".into(), icu_locale: locale.into(), ..libc("C.UTF-8", "153") }
    }

    fn one(old: &Collation, new: &Collation) -> Option<(Level, String)> {
        let found = compare(old, new, "kwild");
        assert!(found.len() < 2);
        found.into_iter().next().map(|finding| (finding.level, finding.text))
    }

    #[test]
    fn another_order_is_an_error_and_another_version_a_warning() {
        assert_eq!(one(&libc("C.UTF-8", ""), &libc("C.utf8", "")), None);
        assert_eq!(one(&icu("en-US"), &icu("en_us")), None);
        for (old, new) in [
            (libc("C.UTF-8", ""), libc("en_US.UTF-8", "2.36")),
            (libc("C.UTF-8", ""), icu("en-US")),
            (icu("en-US"), icu("de-AT")),
            (libc("en_US.UTF-8", ""), libc("en_US.ISO-8859-1", "")),
        ] {
            let (level, text) = one(&old, &new).expect("they differ");
            assert_eq!(level, Level::Error);
            assert!(text.contains(&old.words()) && text.contains(&new.words()), "{text}");
        }
        // In both the order is that of code points; what a letter is differs.
        let (level, text) = one(&libc("C.UTF-8", ""), &libc("C", "")).expect("they differ");
        assert!(level == Level::Error && text.contains("upper, lower"), "{text}");
        let (level, text) = one(&libc("en_US.UTF-8", "2.31"), &libc("en_US.UTF-8", "2.36")).expect("they differ");
        assert!(level == Level::Warning && text.contains("a.f and 2 more") && text.contains("2.31"), "{text}");
        assert_eq!(
            one(&libc("en_US.UTF-8", "2.31"), &libc("en_US.UTF-8", "")),
            None,
            "nothing says that it is another"
        );
        let rules = Collation { icu_rules: "&a < b".into(), ..icu("en-US") };
        assert_eq!(one(&rules, &icu("en-US")).map(|(level, _)| level), Some(Level::Error));
    }

    #[test]
    fn what_makes_one_like_it() {
        assert_eq!(
            icu("en-US").create_clauses(),
            "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        );
        assert_eq!(
            libc("C", "").create_flags(),
            [("--encoding", "UTF8"), ("--locale-provider", "libc"), ("--lc-collate", "C"), ("--lc-ctype", "C")]
        );
        let hostile = Collation { icu_rules: "x'; DROP".into(), ..icu("en") };
        assert!(hostile.create_clauses().contains("ICU_RULES 'x''; DROP'"));
    }

    #[test]
    fn only_plain_values_are_taken() {
        assert!(libc("en_US.UTF-8@euro", "2.36").is_plain() && icu("und-u-ks-level2").is_plain());
        for bad in ["a'b", "a\nb", "a\"b", "a\\b", "$(x)", &"a".repeat(129)] {
            assert!(!libc(bad, "").is_plain() && !icu(bad).is_plain() && !libc("C", bad).is_plain(), "{bad:?}");
        }
        assert!(!Collation { provider: "builtin".into(), ..libc("C", "") }.is_plain());
        assert!(!Collation { text_key_tables: vec!["a".into(); 17], ..libc("C", "") }.is_plain());
        assert!(!Collation { icu_rules: "x".repeat(2000), ..icu("en") }.is_plain());
    }
}
