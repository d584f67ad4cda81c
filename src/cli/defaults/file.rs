//! What stands in a `regenesis.toml`, each key judged against the program's own definition of its flags.

use clap::{Arg, ArgAction, Command, error::ErrorKind};
use kwil_formats::base::text::nearest;
use toml_edit::{Document, Item, Key, TableLike, Value};

use super::{Refusal, SWARM_HEADING, is_called};

/// Keys of one file.
const SETTINGS_MAX: usize = 256;
/// Values of one key.
const VALUES_MAX: usize = 256;
/// The name of the section about flags of every command that fetches or serves.
const SWARM: &str = "swarm";

/// Which commands a key is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Section {
    /// Flags that every command has.
    All,
    /// Flags of every command that fetches or serves.
    Swarm,
    /// One command, by its words.
    Command(Vec<String>),
}

impl Section {
    /// Whether it speaks of this flag of this command.
    pub(super) fn holds(&self, path: &[String], arg: &Arg) -> bool {
        match self {
            Section::All => arg.is_global_set(),
            // Who only asks how a swarm stands shares neither port nor page with the node that works here.
            Section::Swarm => {
                let only_asks = matches!(path.first().map(String::as_str), Some("status" | "wait"));
                arg.get_help_heading() == Some(SWARM_HEADING) && !only_asks
            }
            Section::Command(words) => words == path,
        }
    }

    /// What is said of fewer commands goes before what is said of more.
    pub(super) fn depth(&self) -> usize {
        match self {
            Section::All => 0,
            Section::Swarm => 1,
            Section::Command(words) => 1 + words.len(),
        }
    }

    /// As it stands in a file.
    pub(in crate::cli) fn name(&self) -> String {
        match self {
            Section::All => String::new(),
            Section::Swarm => format!("[{SWARM}]"),
            Section::Command(words) => format!("[{}]", words.join(".")),
        }
    }
}

/// One key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Setting {
    /// Where it stands.
    pub(in crate::cli) section: Section,
    /// The flag's name.
    pub(in crate::cli) flag: String,
    /// As they would be typed; `true` or `false` of a flag without a value.
    pub(in crate::cli) values: Vec<String>,
    /// The key's line.
    pub(in crate::cli) line: usize,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(in crate::cli) struct DefaultsFile {
    pub(in crate::cli) settings: Vec<Setting>,
}

/// What is wrong, in which line, and what is done about it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) next: Option<String>,
}

/// Reads a file's text.
pub(super) fn parse(text: &str, program: &Command) -> Result<DefaultsFile, Wrong> {
    let document = Document::parse(text).map_err(|e| Wrong {
        line: line_at(text, e.span().map(|span| span.start)),
        what: e.message().lines().collect::<Vec<_>>().join(", "),
        next: Some("it is TOML: flag = \"value\", under the name of its command in brackets".to_owned()),
    })?;
    let mut reading = Reading { text, program, settings: Vec::new() };
    reading.table(document.as_table(), &[])?;
    Ok(DefaultsFile { settings: reading.settings })
}

/// The line of a byte, from 1.
fn line_at(text: &str, at: Option<usize>) -> usize {
    let at = at.unwrap_or(0).min(text.len());
    1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
}

struct Reading<'a> {
    text: &'a str,
    program: &'a Command,
    settings: Vec<Setting>,
}

impl Reading<'_> {
    /// Reads the table of the command with these words; of no command at the top.
    fn table(&mut self, table: &dyn TableLike, words: &[String]) -> Result<(), Wrong> {
        let command = words.iter().try_fold(self.program, |command, word| command.find_subcommand(word));
        for (name, item) in table.iter() {
            let key = table.key(name);
            let line = line_at(self.text, key.and_then(Key::span).or_else(|| item.span()).map(|span| span.start));
            let wrong = |what: String, next: Option<String>| Wrong { line, what, next };
            let section = match (words, command) {
                ([], _) => Section::All,
                ([word], None) if word == SWARM => Section::Swarm,
                _ => Section::Command(words.to_vec()),
            };
            match item.as_table_like() {
                Some(below) if is_section(command, words, name) => {
                    self.table(below, &[words, &[name.to_owned()]].concat())?;
                }
                Some(_) if Refusal::of(name).is_none() => return Err(self.no_section(line, command, name)),
                _ => self.setting((section, line), command, name, item).map_err(|(what, next)| wrong(what, next))?,
            }
            if self.settings.len() > SETTINGS_MAX {
                return Err(wrong(format!("more than {SETTINGS_MAX} keys"), None));
            }
        }
        Ok(())
    }

    fn no_section(&self, line: usize, command: Option<&Command>, name: &str) -> Wrong {
        let commands = command.into_iter().flat_map(Command::get_subcommands).map(Command::get_name);
        let near = nearest(name, commands.chain([SWARM]));
        Wrong {
            line,
            what: format!("there is no command {name}{}", meant(near)),
            next: Some("`regenesis --help` lists the commands".to_owned()),
        }
    }

    fn setting(
        &mut self,
        (section, line): (Section, usize),
        command: Option<&Command>,
        name: &str,
        item: &Item,
    ) -> Result<(), (String, Option<String>)> {
        if let Some(refusal) = Refusal::of(name) {
            return Err(refused(name, refusal));
        }
        let words = match &section {
            Section::Command(words) => words.clone(),
            // Any command that has the flags tells how they are written.
            Section::Swarm => vec!["seed".to_owned()],
            Section::All => Vec::new(),
        };
        let command = match section {
            Section::Swarm => self.program.find_subcommand("seed"),
            _ => command,
        };
        let Some(command) = command else { return Err((format!("there is no command {}", words.join(" ")), None)) };
        let belongs = |arg: &&Arg| match section {
            Section::Command(_) => true,
            _ => section.holds(&words, arg),
        };
        let arg = command.get_arguments().filter(belongs).find(|arg| is_called(arg, name));
        // Flags of every command may be set for one of them alone.
        let arg = arg.or_else(|| self.program.get_arguments().find(|arg| arg.is_global_set() && is_called(arg, name)));
        let arg = match (arg, &section) {
            (Some(arg), Section::Swarm) if arg.is_global_set() => return Err(elsewhere(name, "at the top")),
            (Some(arg), _) => arg,
            (None, _) => return Err(self.no_flag(&section, command, name)),
        };
        let values = values_of(arg, item).map_err(|what| (format!("{name}: {what}"), None))?;
        if values.iter().any(|value| holds_secret(value)) {
            return Err(refused(name, Refusal::Secret));
        }
        self.check(&words, arg, &values).map_err(|what| (format!("{name}: {what}"), None))?;
        self.settings.push(Setting { section, flag: name.to_owned(), values, line });
        Ok(())
    }

    fn no_flag(&self, section: &Section, command: &Command, name: &str) -> (String, Option<String>) {
        let of_all = self.program.get_arguments().filter(|arg| arg.is_global_set());
        let known = command.get_arguments().filter(|arg| *section != Section::Swarm || section.holds(&[], arg));
        let known = known.chain(of_all).filter_map(Arg::get_long).filter(|long| Refusal::of(long).is_none());
        let near = nearest(name, known);
        if near.is_none() && *section == Section::All {
            let has = |sub: &&Command| sub.get_arguments().any(|arg| is_called(arg, name));
            let owner = self.program.get_subcommands().find(has);
            if let Some(owner) = owner {
                return elsewhere(name, &format!("under [{}], or another command that has it", owner.get_name()));
            }
        }
        let of = match section {
            Section::All => "that every command has".to_owned(),
            Section::Swarm => "of the swarm".to_owned(),
            Section::Command(words) => format!("of {}", words.join(" ")),
        };
        (format!("there is no flag {name} {of}{}", meant(near)), None)
    }

    /// Whether the program takes these values of this flag.
    fn check(&self, words: &[String], arg: &Arg, values: &[String]) -> Result<(), String> {
        let Some(long) = arg.get_long().filter(|_| arg.get_action().takes_values()) else { return Ok(()) };
        let typed = values.iter().map(|value| format!("--{long}={value}"));
        let line = ["regenesis".to_owned()].into_iter().chain(words.iter().cloned()).chain(typed);
        match self.program.clone().try_get_matches_from(line) {
            Err(e) if matches!(e.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) => {
                let said = e.to_string();
                let first = said.lines().next().unwrap_or_default();
                Err(first.trim_start_matches("error: ").to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a table of this name, in that of the command with these words, is about a command or about the swarm.
fn is_section(command: Option<&Command>, words: &[String], name: &str) -> bool {
    let is_command = command.is_some_and(|command| command.get_subcommands().any(|sub| sub.get_name() == name));
    is_command || (words.is_empty() && name == SWARM)
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

fn elsewhere(name: &str, place: &str) -> (String, Option<String>) {
    (format!("{name} does not belong here"), Some(format!("write it {place}")))
}

/// A ticket lets in whoever has it; a connection's text may have its password in it.
fn holds_secret(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value.contains("regenesis1") || value.contains("password=") || value.contains("-----begin")
}

fn refused(name: &str, refusal: Refusal) -> (String, Option<String>) {
    let (why, next) = match refusal {
        Refusal::Secret => (
            "a secret never stands in this file",
            "passwords belong into PGPASSWORD, ~/.pgpass or --password-file, tickets into a file for --ticket-file; take it out, and \
             change it if others could read it here",
        ),
        Refusal::Program => {
            ("what starts a program stands on the command line only", "take it out, and give it where it is meant")
        }
        Refusal::Rule => {
            ("what lifts a safety rule is said anew each time", "take it out, and give the flag when it is meant")
        }
        Refusal::Kwil => (
            "it is a key of kwild's own configuration",
            "it belongs into the node's config.toml, or on the command line of join and setup init",
        ),
        Refusal::OneRun => ("it is of one run only", "take it out"),
    };
    (format!("{name}: {why}"), Some(next.to_owned()))
}

/// The values as they would be typed.
fn values_of(arg: &Arg, item: &Item) -> Result<Vec<String>, String> {
    let Some(value) = item.as_value() else { return Err("expected a value, not a table".to_owned()) };
    let takes_many =
        matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    match (value, arg.get_action().takes_values()) {
        (Value::Boolean(flag), false) => Ok(vec![flag.value().to_string()]),
        (_, false) => Err("expected true or false".to_owned()),
        (Value::Array(all), true) if takes_many && (1..=VALUES_MAX).contains(&all.len()) => {
            all.iter().map(plain).collect()
        }
        (Value::Array(_), true) if takes_many => Err(format!("expected one to {VALUES_MAX} values")),
        (one, true) => plain(one).map(|one| vec![one]),
    }
}

fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        Value::Float(number) => Ok(number.value().to_string()),
        Value::Datetime(time) => Ok(time.value().to_string()),
        Value::Boolean(_) => Err("expected a value in quotes, not true or false".to_owned()),
        Value::Array(_) | Value::InlineTable(_) => Err("expected one value in quotes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Program, values};

    fn read(text: &str) -> Result<DefaultsFile, Wrong> {
        parse(text, &values::expand_paths(Program::command()))
    }

    #[test]
    fn flags_of_all_of_the_swarm_and_of_one_command_are_read() {
        let text = "log-format = \"json\"\n[swarm]\nmax-peers = 7\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n\n[join]\nwait = 'quorum'\n\
            create-db = true\n[snapshot.create]\njobs = 2\nquiet = true\n";
        let file = read(text).unwrap();
        let told: Vec<_> = file
            .settings
            .iter()
            .map(|s| format!("{} {} = {} @{}", s.section.name(), s.flag, s.values.join(" "), s.line))
            .collect();
        assert_eq!(
            told,
            [
                " log-format = json @1",
                "[swarm] max-peers = 7 @3",
                "[swarm] listen = /ip4/127.0.0.1/tcp/0 @4",
                "[join] wait = quorum @7",
                "[join] create-db = true @8",
                "[snapshot.create] jobs = 2 @10",
                "[snapshot.create] quiet = true @11",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_was_meant() {
        for (text, line, what) in [
            ("[join]\n\nwiat = \"quorum\"", 3, "there is no flag wiat of join; did you mean wait?"),
            (
                "log-fromat = \"json\"",
                1,
                "there is no flag log-fromat that every command has; did you mean log-format?",
            ),
            ("\n[swram]\nlisten = []", 2, "there is no command swram; did you mean swarm?"),
            ("[snapshot.craete]\njobs = 1", 1, "there is no command craete; did you mean create?"),
            ("[swarm]\ndir = \"x\"", 2, "there is no flag dir of the swarm"),
            ("upload-limit = \"1M\"", 1, "upload-limit does not belong here"),
            ("[swarm]\nquiet = true", 2, "quiet does not belong here"),
            ("[swarm]\nupload-limit = \"fast\"", 2, "upload-limit: invalid value 'fast'"),
            ("[swarm]\nmax-peers = \"many\"", 2, "max-peers: invalid value 'many'"),
            ("[join]\nwait = true", 2, "wait: expected a value in quotes"),
            ("[join]\nwait = [\"quorum\", \"everyone\"]", 2, "wait: expected one value"),
            ("[swarm]\nlisten = []", 2, "listen: expected one to 256 values"),
            ("[join]\ncreate-db = \"yes\"", 2, "create-db: expected true or false"),
            ("[join]\nwait = \"quorum", 2, ""),
            ("[join]\nwait = \"quorum\"\nwait = \"everyone\"", 3, ""),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.line == line && wrong.what.starts_with(what), "{text}: {wrong:?}");
        }
        let many: String = (0..=SETTINGS_MAX).map(|n| format!("[c{n}]\n")).collect();
        assert!(read(&many).is_err());
    }

    #[test]
    fn secrets_programs_and_what_lifts_a_rule_are_refused() {
        for (text, what) in [
            ("[publish]\npassword = \"hunter2\"", "password: a secret never stands in this file"),
            ("ticket = \"regenesis1abc\"", "ticket: a secret"),
            ("[swarm]\nconnect = [\"regenesis1qqqq\"]", "connect: a secret"),
            ("[publish]\ndbname = \"host=h password=hunter2\"", "dbname: a secret"),
            ("[join]\nthen = [\"kwild\"]", "then: what starts a program"),
            ("[join]\nforce = true", "force: what lifts a safety rule"),
            ("[swarm]\nallow-rollback = 7", "allow-rollback: what lifts a safety rule"),
            ("[join]\ndb.pass = \"hunter2\"", "db: "),
            ("[join]\n\"db.pass\" = \"hunter2\"", "db.pass: a secret"),
            ("[join]\n\"db.host\" = \"h\"", "db.host: it is a key of kwild's own"),
            ("config = \"x\"", "config: it is of one run"),
        ] {
            let wrong = read(text).unwrap_err();
            let begins = wrong.what.starts_with(what) || what == "db: " && wrong.what.contains("db");
            assert!(begins && !wrong.what.contains("hunter2") && wrong.next.is_some(), "{text}: {wrong:?}");
        }
    }
}
