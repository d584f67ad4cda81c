//! Where a flag's value comes from when it is not typed: a variable `REGENESIS_…`, then `regenesis.toml`, then the default that
//! is built in. A file is strict (what it names must exist), bounded, and never a secret's place; it never starts a program and
//! never lifts a safety rule. It is looked for where only its owner or root can have put it, and never in the directory that the
//! program happens to be started in.

mod apply;
mod file;

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::{Arg, Command};
use nix::unistd::geteuid;

pub(super) use self::apply::without_demands;
use self::file::{DefaultsFile, Setting};
use super::values::home;
use crate::base::{Context, Error, Result, files::read_bounded, text};

/// The file's name, wherever it lies.
pub(super) const FILE_NAME: &str = "regenesis.toml";
/// What names the file instead of the places where it is looked for.
pub(super) const VARIABLE: &str = "REGENESIS_CONFIG";
/// Bytes of a file.
const SIZE_BYTES_MAX: usize = 64 << 10;
/// The machine's file.
const OF_MACHINE: &str = "/etc/regenesis/regenesis.toml";
/// The heading of the flags that every command has which enters a swarm.
const SWARM_HEADING: &str = "Swarm";

/// Why a flag is never taken from a file, nor from a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its value is a secret, or whoever has it can use it as one.
    Secret,
    /// It starts a program.
    Program,
    /// It lifts a safety rule.
    Rule,
    /// It sets a key of kwild's own configuration.
    Kwil,
    /// It names the file itself, or is of one run only.
    OneRun,
}

impl Refusal {
    /// Why a flag of this name is not taken; `None`: it is.
    pub(super) fn of(flag: &str) -> Option<Refusal> {
        match flag {
            "password" | "ticket" => Some(Refusal::Secret),
            "then" | "on-event" => Some(Refusal::Program),
            "accept-genesis-change"
            | "allow-live"
            | "allow-rollback"
            | "despite-dissent"
            | "force"
            | "no-attest"
            | "reconfigure"
            | "supersede"
            | "yes" => Some(Refusal::Rule),
            "config" | "help" | "version" => Some(Refusal::OneRun),
            _ if flag.ends_with("pass") || flag.ends_with("password") => Some(Refusal::Secret),
            _ if flag.contains('.') => Some(Refusal::Kwil),
            _ => None,
        }
    }
}

/// The name of the variable that gives a flag's value; `None` where only the command line does.
pub(super) fn variable_of(arg: &Arg) -> Option<String> {
    let flag = arg.get_long().filter(|flag| Refusal::of(flag).is_none())?;
    Some(format!("REGENESIS_{}", flag.to_ascii_uppercase().replace('-', "_")))
}

/// The command line, with a variable for every flag that may have one.
pub(super) fn with_variables(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match variable_of(&arg) {
        Some(variable) if arg.get_env().is_none() => arg.env(variable).hide_env(true),
        _ => arg,
    });
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_variables))
}

/// What was read beside the command line.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// Where a file was looked for, and what stands in it if one is there. What an earlier one says wins.
    pub(super) looked: Vec<(PathBuf, Option<DefaultsFile>)>,
}

impl Defaults {
    /// Reads the file that is named, or else those that lie where they are looked for.
    ///
    /// # Errors
    /// When a file cannot be read or used, or names what the program does not have.
    pub(super) fn read(named: Option<&Path>, program: &Command) -> Result<Self> {
        if let Some(path) = named {
            let file = read_file(path, program)?;
            return Ok(Defaults { looked: vec![(path.to_owned(), Some(file))] });
        }
        let look = |path: PathBuf| {
            let file = match is_there(&path)? {
                true => Some(read_file(&path, program)?),
                false => None,
            };
            Ok((path, file))
        };
        Ok(Defaults { looked: places().into_iter().map(look).collect::<Result<_>>()? })
    }

    /// What the files say, the one that wins first, with the path of its file.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&Path, &Setting)> {
        let files = self.looked.iter().filter_map(|(path, file)| Some((path, file.as_ref()?)));
        files.flat_map(|(path, file)| file.settings.iter().map(move |setting| (path.as_path(), setting)))
    }

    /// What the files say of a flag of a command, and in which of them: what stands under the command's own name goes before
    /// what is said of all.
    pub(super) fn of(&self, path: &[String], arg: &Arg) -> Option<(&Path, &Setting)> {
        self.looked.iter().find_map(|(at, file)| {
            let of_arg = |setting: &&Setting| is_called(arg, &setting.flag) && setting.section.holds(path, arg);
            let found = file.as_ref()?.settings.iter().filter(of_arg).max_by_key(|setting| setting.section.depth())?;
            Some((at.as_path(), found))
        })
    }
}

/// Whether a flag has this name.
fn is_called(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// Where files are looked for: the user's, then the machine's.
fn places() -> Vec<PathBuf> {
    let of_user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = of_user.or_else(|| home().filter(|home| home.is_absolute()).map(|home| home.join(".config")));
    let of_user = of_user.map(|directory| directory.join("regenesis").join(FILE_NAME));
    of_user.into_iter().chain([PathBuf::from(OF_MACHINE)]).collect()
}

/// Whether a file is there that counts: one that nobody but its owner, who is this user or root, could have written.
fn is_there(path: &Path) -> Result<bool> {
    let data = match std::fs::metadata(path) {
        Ok(data) => data,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        // A home that this user may not enter is somebody else's.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Ok(false),
        Err(e) => return Err(e).or_failed(|| format!("cannot look at {}", path.display())),
    };
    let shown = path.display();
    if data.uid() != 0 && data.uid() != geteuid().as_raw() {
        return Err(Error::usage(format!("{shown} belongs to another user, who could change what commands do"))
            .hint("if it is meant, name it with --config; --config /dev/null does without it"));
    }
    if data.mode() & 0o002 != 0 {
        return Err(Error::usage(format!("everyone may write {shown}, and so change what commands do"))
            .hint(format!("take that from the others: chmod o-w {}", crate::setup::shell_path(path))));
    }
    Ok(true)
}

fn read_file(path: &Path, program: &Command) -> Result<DefaultsFile> {
    let bytes = read_bounded(path, SIZE_BYTES_MAX, "file of defaults")?;
    let text = String::from_utf8(bytes).map_err(|_| Error::usage(format!("{} is no text", path.display())))?;
    file::parse(&text, program).map_err(|wrong| {
        let error = Error::usage(format!("{}, line {}: {}", path.display(), wrong.line, text::escape(&wrong.what)));
        match wrong.next {
            Some(next) => error.hint(next),
            None => error.hint("`regenesis config show COMMAND` lists the flags that a command has"),
        }
    })
}
