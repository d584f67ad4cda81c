//! Values of files as the defaults of the flags that were not given, so that everything else about a flag stays as it is: its
//! form, whom it excludes, and that what is typed wins.

use std::path::Path;

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::{Defaults, Setting};
use crate::base::{Error, Result};

/// The command line with no flag required, for a first look at what is given.
pub(in crate::cli) fn without_demands(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| arg.required(false));
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_demands))
}

/// A value that a file gives to a flag of the command that runs.
struct Chosen<'a> {
    arg: &'a Arg,
    /// The command's words; none for a flag of every command.
    words: &'a [String],
    path: &'a Path,
    setting: &'a Setting,
}

impl Defaults {
    /// The command line with what the files say as defaults of the command that runs. What is typed, or stands in a variable, also
    /// keeps away what a file says of a flag that cannot be given together with it.
    ///
    /// # Errors
    /// When the files give two flags that exclude each other.
    pub(in crate::cli) fn apply(&self, program: Command, given: &ArgMatches) -> Result<Command> {
        let (mut words, mut matches, mut leaf) = (Vec::new(), given, &program);
        while let Some((name, below)) = matches.subcommand() {
            let Some(sub) = leaf.find_subcommand(name) else { break };
            words.push(name.to_owned());
            (matches, leaf) = (below, sub);
        }
        let of_all = program.get_arguments().filter(|arg| arg.is_global_set());
        let own = leaf.get_arguments().filter(|arg| !arg.is_global_set());
        let all: Vec<(&Arg, &[String])> =
            of_all.map(|arg| (arg, &[][..])).chain(own.map(|arg| (arg, &words[..]))).collect();
        let mut chosen: Vec<Chosen<'_>> = Vec::new();
        for (arg, at) in &all {
            let excluded = |other: &Arg| excludes(&program, leaf, arg, other) && is_given(matches, other);
            if is_given(matches, arg) || all.iter().any(|(other, _)| excluded(other)) {
                continue;
            }
            let Some((path, setting)) = self.of(&words, arg) else { continue };
            let one = Chosen { arg, words: at, path, setting };
            if let Some(other) = chosen.iter().find(|other| is_on(other) && excludes(&program, leaf, arg, other.arg))
                && is_on(&one)
            {
                return Err(exclude_each_other(other, &one));
            }
            chosen.push(one);
        }
        let values: Vec<_> = chosen
            .iter()
            .map(|one| (one.words.to_vec(), one.arg.get_id().clone(), one.setting.values.clone()))
            .collect();
        Ok(values.into_iter().fold(program, |program, (words, id, values)| {
            at(program, &words, &|command| {
                command.mut_arg(id.as_str(), |arg| arg.default_values(values.clone()).required(false))
            })
        }))
    }
}

/// A flag without a value that is said to be false is not given.
fn is_on(chosen: &Chosen<'_>) -> bool {
    chosen.arg.get_action().takes_values() || chosen.setting.values.iter().any(|value| value == "true")
}

fn exclude_each_other(one: &Chosen<'_>, other: &Chosen<'_>) -> Error {
    let place = |chosen: &Chosen<'_>| {
        format!("{} ({}, line {})", chosen.setting.flag, chosen.path.display(), chosen.setting.line)
    };
    Error::usage(format!("{} cannot be given together with {}", place(one), place(other))).hint("take one of them out")
}

fn is_given(matches: &ArgMatches, arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// Whether one of the two cannot be given with the other.
fn excludes(program: &Command, leaf: &Command, one: &Arg, other: &Arg) -> bool {
    let conflicts = |arg: &Arg, with: &Arg| {
        let of = if arg.is_global_set() { program } else { leaf };
        of.get_arg_conflicts_with(arg).iter().any(|other| other.get_id() == with.get_id())
    };
    one.get_id() != other.get_id() && (conflicts(one, other) || conflicts(other, one))
}

/// The program with something changed in the command that has these words.
fn at(command: Command, words: &[String], change: &dyn Fn(Command) -> Command) -> Command {
    match words {
        [] => change(command),
        [first, rest @ ..] => command.mut_subcommand(first, |sub| at(sub, rest, change)),
    }
}
