//! Commands of this program inside texts for people: whether each can be run as it stands there. The tests ask it of
//! every advice, of help, of the guide and of the README.

use clap::{
    Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Program, values};

/// What the program is called on a command line.
const NAME: &str = "regenesis";

/// The commands of this program in `text` that it would not take, and why.
///
/// A command is what stands between backquotes, or on an indented line of its own, and begins with the program's name. A
/// command's bare name, without any argument, need only exist: a text may speak of it.
#[doc(hidden)]
pub fn misspelt(text: &str) -> Vec<String> {
    let wrong = |line: String| wrong_in(&line).map(|why| format!("{line}: {why}"));
    commands_in(text).into_iter().filter_map(wrong).collect()
}

/// The flags in an advice, outside of other programs' commands between backquotes, that no command of this program has.
#[doc(hidden)]
pub fn unknown_flags(advice: &str) -> Vec<String> {
    let mut known = Vec::new();
    collect_flags(&values::expand_paths(Program::command()), &mut known);
    let own = advice.split('`').enumerate().filter(|(i, part)| i % 2 == 0 || of_this_program(part));
    let words = own.flat_map(|(_, part)| part.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.')));
    let flags = words.filter_map(|word| word.strip_prefix("--")).map(|flag| flag.trim_end_matches(['.', '-']));
    flags.filter(|flag| !flag.is_empty() && !known.iter().any(|k| k == flag)).map(str::to_owned).collect()
}

fn collect_flags(command: &Command, flags: &mut Vec<String>) {
    for argument in command.get_arguments() {
        flags.extend(argument.get_long_and_visible_aliases().into_iter().flatten().map(str::to_owned));
    }
    flags.extend(["help", "version"].map(str::to_owned));
    command.get_subcommands().for_each(|sub| collect_flags(sub, flags));
}

fn of_this_program(command: &str) -> bool {
    command == NAME || command.starts_with(&format!("{NAME} "))
}

/// The command lines of this program in a text, each on one line.
fn commands_in(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    // A line that ends in a backslash goes on in the next one.
    let mut parts = text.split("\\\n");
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        joined.truncate(joined.trim_end().len());
        joined.push(' ');
        joined.push_str(part.trim_start());
    }
    for line in joined.lines() {
        // Behind a prompt such as `lead$` or `#`.
        let block = line.strip_prefix("  ").map(str::trim_start).unwrap_or_default();
        let block = block.split_once("$ ").map_or(block, |(_, command)| command.trim_start());
        if of_this_program(block) {
            commands.push(block.to_owned());
        }
        commands.extend(line.split('`').skip(1).step_by(2).filter(|span| of_this_program(span)).map(str::to_owned));
    }
    commands
}

/// Why the program would not take this command.
fn wrong_in(line: &str) -> Option<String> {
    let words = words_of(line);
    let program = values::expand_paths(Program::command());
    let mut command = &program;
    let mut path = 1;
    while let Some(sub) = words.get(path).and_then(|word| command.find_subcommand(word)) {
        command = sub;
        path += 1;
    }
    if path == words.len() {
        return None;
    }
    let error = program.clone().try_get_matches_from(&words).err()?;
    // HEX, KEY:POWER: a word that stands for a value of another form.
    let invalid = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if error.kind() == ErrorKind::ValueValidation => value.as_str(),
        _ => "",
    };
    let stands_for_one = invalid
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .is_some_and(|word| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase()));
    let first = error.to_string().lines().take(3).collect::<Vec<_>>().join(" ");
    (error.use_stderr() && !stands_for_one).then_some(first)
}

/// A command line's words as a shell takes them, so far as texts for people use it: quotes; and what follows two blanks, or the
/// sign of a comment, a redirection or another command is not of the command.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut before = 'r';
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '#' | '>' | '<' | '|' | ';' | '&') if before == ' ' => break,
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
        before = c;
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_where_they_stand() {
        let text = "run `regenesis clean DIR` (`psql --list`)\n  lead$       regenesis key gen  # once\n    regenesis a \\\n   b\nregenesis is";
        assert_eq!(commands_in(text), ["regenesis clean DIR", "regenesis key gen  # once", "regenesis a b"]);
        assert_eq!(words_of("regenesis a 'b c' --d \"\"  # e"), ["regenesis", "a", "b c", "--d", ""]);
        assert_eq!(words_of("regenesis a (b) > c"), ["regenesis", "a", "(b)"]);
    }

    #[test]
    fn what_the_program_does_not_take_is_told() {
        assert_eq!(misspelt("`regenesis clean DIR --yes`, `regenesis setup init`"), [""; 0]);
        assert_eq!(misspelt("`regenesis clean --no-such-flag`").len(), 1);
        assert_eq!(misspelt("`regenesis unclean`").len(), 1);
        assert_eq!(misspelt("  regenesis join --root-dir\n").len(), 1);
        assert_eq!(unknown_flags("give --root-dir, `psql --list`, or --chain-ID."), ["chain-ID"]);
    }
}
