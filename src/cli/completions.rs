//! `completions`: what a shell completes of the command line.

use std::fmt;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot::{Bash, Fish, Zsh, generate};
use serde::Serialize;

use super::{Program, Session};
use crate::base::Result;

/// Flags of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Installed by hand (the Debian package brings them along), once the directory is there (mkdir -p):\n  \
    regenesis completions bash > ~/.local/share/bash-completion/completions/regenesis\n  \
    regenesis completions zsh > ~/.zfunc/_regenesis      (fpath+=~/.zfunc before compinit in ~/.zshrc)\n  \
    regenesis completions fish > ~/.config/fish/completions/regenesis.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell: bash, zsh or fish
    #[arg(value_enum, hide_possible_values = true)]
    shell: Shell,
}

/// A shell that can complete our command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionsArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        session.output.result(&Completions { script: script(self.shell) })
    }
}

#[derive(Debug, Serialize)]
struct Completions {
    script: String,
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}

fn script(shell: Shell) -> String {
    let (mut program, mut script) = (Program::command(), Vec::new());
    let name = program.get_name().to_owned();
    match shell {
        Shell::Bash => generate(Bash, &mut program, name, &mut script),
        Shell::Zsh => generate(Zsh, &mut program, name, &mut script),
        Shell::Fish => generate(Fish, &mut program, name, &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_every_command_and_its_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            let program = Program::command();
            for command in program.get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?} lacks {}", command.get_name());
            }
            assert!(script.contains("upload-limit") && script.contains("ticket-file"), "{shell:?}");
        }
    }
}
