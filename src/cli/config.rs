//! `config show`: which value a flag has when it is not typed, and where that comes from.

use std::{env, fmt, path::PathBuf};

use clap::{Arg, Args, Command, CommandFactory, Subcommand};
use serde::Serialize;

use super::{
    Program, Session,
    defaults::{self, Defaults},
    values,
};
use crate::base::{Error, Result, text};

/// Commands about defaults.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List what files and variables say; of one command, every flag with its value and where that comes from
    Show(ShowArgs),
}

/// Flags of `config show`.
#[derive(Debug, Args)]
#[command(
    after_help = "A value that is not typed comes from a variable (REGENESIS_UPLOAD_LIMIT for --upload-limit), else from \
    regenesis.toml, else it is the default. The file is looked for as $XDG_CONFIG_HOME/regenesis/regenesis.toml (~/.config), then as \
    /etc/regenesis/regenesis.toml, never in the current directory; --config FILE names another, and --config /dev/null none.\n\n\
    log-format = \"json\"           # a flag of every command\n\n\
    [swarm]                       # flags of every command that fetches or serves\n\
    upload-limit = \"100M\"\n\
    status-addr = \"127.0.0.1:9184\"\n\n\
    [join]                        # flags of one command, which go before the others\n\
    from-root = \"/var/lib/kwild\"\n\
    wait = \"quorum\"\n\n\
    Example:\n  regenesis config show join"
)]
pub(crate) struct ShowArgs {
    /// A command, such as join, or snapshot create
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl ConfigCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let ConfigCommand::Show(args) = self;
        let program = defaults::with_variables(values::expand_paths(Program::command()));
        let shown = match args.command.is_empty() {
            true => Shown::all(&session.defaults, &program),
            false => Shown::of_command(&session.defaults, &program, &args.command)?,
        };
        session.output.result(&shown)
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    files: Vec<Looked>,
    values: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Looked {
    path: PathBuf,
    is_there: bool,
}

/// One flag.
#[derive(Debug, Serialize)]
struct Row {
    /// Its section in a file, or its command; empty for flags of every command.
    of: String,
    flag: String,
    /// Null where it has none.
    value: Option<String>,
    source: String,
}

impl Shown {
    fn new(defaults: &Defaults, values: Vec<Row>) -> Self {
        let looked = |(path, file): &(PathBuf, Option<_>)| Looked { path: path.clone(), is_there: file.is_some() };
        Shown { files: defaults.looked.iter().map(looked).collect(), values }
    }

    /// What stands in files and variables.
    fn all(defaults: &Defaults, program: &Command) -> Self {
        let mut values = Vec::new();
        collect_variables(program, &mut values);
        values.extend(defaults.settings().map(|(path, setting)| Row {
            of: setting.section.name(),
            flag: setting.flag.clone(),
            value: Some(setting.values.join(", ")),
            source: format!("{}, line {}", path.display(), setting.line),
        }));
        Shown::new(defaults, values)
    }

    /// Every flag of one command.
    fn of_command(defaults: &Defaults, program: &Command, words: &[String]) -> Result<Self> {
        let command = words.iter().try_fold(program, |command, word| {
            command.find_subcommand(word).ok_or_else(|| {
                Error::usage(format!("there is no command {}", text::escape(&words.join(" "))))
                    .hint("`regenesis --help` lists the commands, and `regenesis snapshot --help` those of one word")
            })
        })?;
        let of_all = program.get_arguments().filter(|arg| arg.is_global_set());
        let own = command.get_arguments().filter(|arg| !arg.is_global_set());
        let own = own.filter(|arg| (arg.get_long().is_some() && !arg.is_hide_set()) || arg.get_env().is_some());
        let rows = own.chain(of_all.filter(|arg| !arg.is_hide_set())).map(|arg| row(defaults, words, arg));
        Ok(Shown::new(defaults, rows.collect()))
    }
}

fn row(defaults: &Defaults, words: &[String], arg: &Arg) -> Row {
    let (value, source) = match (variable(arg), defaults.of(words, arg)) {
        (Some((name, value)), _) => (Some(value), format!("variable {name}")),
        (None, Some((path, setting))) => {
            (Some(setting.values.join(", ")), format!("{}, line {}", path.display(), setting.line))
        }
        (None, None) => match arg.get_default_values() {
            [] => (None, "not set".to_owned()),
            values => {
                let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
                (Some(values.join(", ")), "default".to_owned())
            }
        },
    };
    Row { of: words.join(" "), flag: name_of(arg), value, source }
}

fn name_of(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().to_string(), str::to_owned)
}

/// The variable that gives the flag's value, and that value, unless it is a secret.
fn variable(arg: &Arg) -> Option<(String, String)> {
    let name = arg.get_env()?.to_string_lossy().into_owned();
    let value = env::var_os(&name)?;
    let shown = if arg.is_hide_env_values_set() { "…".to_owned() } else { value.to_string_lossy().into_owned() };
    Some((name, shown))
}

/// Every variable that is set, once.
fn collect_variables(command: &Command, rows: &mut Vec<Row>) {
    for arg in command.get_arguments() {
        let Some((name, value)) = variable(arg) else { continue };
        let source = format!("variable {name}");
        if rows.iter().all(|row| row.source != source) {
            rows.push(Row { of: String::new(), flag: name_of(arg), value: Some(value), source });
        }
    }
    command.get_subcommands().for_each(|sub| collect_variables(sub, rows));
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            let state = if file.is_there { "read" } else { "not there" };
            writeln!(f, "{}  {state}", text::escape(&file.path.to_string_lossy()))?;
        }
        let named =
            |row: &Row| if row.of.starts_with('[') { format!("{} {}", row.of, row.flag) } else { row.flag.clone() };
        let width = self.values.iter().map(|row| named(row).chars().count()).max().unwrap_or(0);
        for row in &self.values {
            let value = row.value.as_deref().map_or_else(|| "-".to_owned(), text::escape);
            writeln!(f, "{:width$}  {value}  ({})", named(row), text::escape(&row.source))?;
        }
        if self.values.is_empty() {
            writeln!(f, "nothing is set: every flag that is not typed has its default")?;
        }
        Ok(())
    }
}
