//! `clean`: what killed runs have left.

use std::path::PathBuf;

use clap::Args;

use super::Session;
use crate::{
    app::clean,
    base::{Context, Result},
};

/// Flags of `clean`.
#[derive(Debug, Args)]
#[command(
    after_help = "A join or fetch that was killed goes on where it stopped when it is given again: clean away only what is not wanted.\n\n\
    Example:\n  regenesis clean ~            (lists)\n  regenesis clean ~ --yes      (removes)"
)]
pub(crate) struct CleanArgs {
    /// Directories in which roots were being made or files fetched
    #[arg(value_name = "DIR", default_value = ".")]
    directories: Vec<PathBuf>,
    /// Remove what nobody works on
    #[arg(long)]
    yes: bool,
}

impl CleanArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        if let Some(missing) = self.directories.iter().find(|path| !path.is_dir()) {
            return Err(clean::no_directory(missing));
        }
        let work = move || clean::clean(&self.directories, self.yes);
        let cleaned = tokio::task::spawn_blocking(work).await.or_failed(|| "cleaning ended unexpectedly")??;
        session.output.result(&cleaned)
    }
}
