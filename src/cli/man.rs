//! `man`: the manual pages, made from the commands themselves.

use std::{
    fmt, io,
    io::IsTerminal,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use serde::Serialize;

use super::{Program, Session};
use crate::base::{Context, Error, Result, durable};

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Read one without installing anything:\n  regenesis man | man -l -\n\n\
    Installed by hand (the Debian package brings them along):\n  regenesis man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write a page of every command into this directory, which is made if it is not there [default: the program's own page,
    /// on stdout]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match &self.directory {
            Some(directory) => session.output.result(&write_pages(directory)?),
            None if io::stdout().is_terminal() => {
                Err(Error::usage("a manual page is for the man program, and not to be read as it is")
                    .hint("`regenesis man | man -l -` shows it; with a directory all pages are written there"))
            }
            None => session.output.result(&Page { page: page(&Program::command())? }),
        }
    }
}

#[derive(Debug, Serialize)]
struct Page {
    page: String,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.page)
    }
}

#[derive(Debug, Serialize)]
struct Written {
    pages: Vec<PathBuf>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pages.iter().try_for_each(|page| writeln!(f, "{}", page.display()))
    }
}

/// Every page under its file's name. Nothing in them depends on the day or the machine.
fn pages() -> Result<Vec<(String, String)>> {
    let mut program = Program::command();
    // Gives every command the whole name that its page has.
    program.build();
    let mut pages = Vec::new();
    collect(&program, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), page(command)?));
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| collect(sub, pages))
}

fn page(command: &Command) -> Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).or_failed(|| "cannot make the manual page")?;
    String::from_utf8(text).or_failed(|| "the manual page is no text")
}

fn write_pages(directory: &Path) -> Result<Written> {
    durable::create_directory(directory, 0o755)?;
    let write = |(name, text): (String, String)| {
        let path = directory.join(name);
        durable::write_atomically(&path, text.as_bytes(), 0o644)?;
        Ok(path)
    };
    Ok(Written { pages: pages()?.into_iter().map(write).collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let pages = pages().unwrap();
        let of = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("no {name}")).1;
        assert!(of("regenesis.1").contains("peer\\-to\\-peer"));
        assert!(of("regenesis-publish.1").contains("\\-\\-status\\-addr"));
        assert!(of("regenesis-snapshot-create.1").contains("\\-\\-snapdir"));
        for command in Program::command().get_subcommands() {
            of(&format!("regenesis-{}.1", command.get_name()));
        }
    }
}
