//! `bundle label`: the courier's sheet.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{MediaKeyArgs, WordArgs};
use crate::{
    app::bundle::{self, Sheet},
    base::{Result, durable},
    cli::{Session, swarm::SeenArgs, words::sheet},
};

/// Flags of `bundle label`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  regenesis bundle label /media/stick1 /media/stick2\n  \
    regenesis bundle label /media/stick1 --html -o sheet.html")]
pub(crate) struct LabelArgs {
    /// Directories of the mounted media; one of them knows the labels of the others
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// As a page to print from a browser
    #[arg(long)]
    html: bool,
    /// Where it is written; without this it is printed
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    word: WordArgs,
    #[command(flatten)]
    keys: MediaKeyArgs,
    #[command(flatten)]
    seen: SeenArgs,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    sheet: Sheet,
    /// The file that was written.
    file: Option<PathBuf>,
    #[serde(skip)]
    body: String,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "written: {}", file.display()),
            None => f.write_str(&self.body),
        }
    }
}

impl LabelArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let (trust, keys) = (self.word.policy()?, self.keys.read(session)?);
        let sheet = bundle::sheet(&self.from, trust.as_ref(), &keys, &self.seen.state()?, &session.progress)?;
        let body = if self.html { sheet::html(&sheet) } else { sheet::text(&sheet) };
        if let Some(path) = &self.out {
            durable::write_atomically(path, body.as_bytes(), 0o644)?;
        }
        session.output.result(&Shown { sheet, file: self.out, body })
    }
}
