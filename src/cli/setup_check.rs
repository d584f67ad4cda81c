//! `setup check`: is this machine ready for kwild?

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    Session,
    database::DatabaseArgs,
    values::{FamilyChoice, Size},
    words::check::CheckResult,
};
use crate::{
    app::{
        check::{self, CheckOptions},
        files::read_manifest,
    },
    base::{Context, Next, Result},
    manifest::MANIFEST_FILE_NAME,
    setup,
};

/// How long the server may take, unless it is said otherwise: the whole check takes less than two seconds.
const CONNECT_TIME_DEFAULT: &str = "1500ms";

/// What `setup check` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads only: nothing is changed on the server, in the root or anywhere else. Run it as the user that kwild\n\
    runs as, with kwild's environment. Exit 4 when kwild would not start, or start wrong.\n\n\
    Examples:\n  regenesis setup check -r ~/.kwild-new --kwild /usr/local/bin/kwild\n  \
    regenesis setup check --dbname kwild_new --size 10G --fix"
)]
pub(crate) struct CheckArgs {
    /// The node's root: its config.toml says where the database is and which ports are needed
    #[arg(short = 'r', long = "root-dir", visible_alias = "root", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Which family the node is of: auto, v0.9 or v0.10 [default: what the root says]
    #[arg(long, value_name = "FAMILY")]
    family: Option<FamilyChoice>,
    /// The kwild that is to run: it is asked for its version
    #[arg(long, value_name = "PATH")]
    kwild: Option<PathBuf>,
    /// Length of the snapshot's SQL, such as 10G [default: estimated from the root's snapshot]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// The manifest, or its directory: how the old network's database orders text [default: the one in the root]
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Prints the statements and commands that put things right; never runs them
    #[arg(long)]
    fix: bool,
    /// How long the database server may take to answer
    #[arg(long, value_name = "TIME", default_value = CONNECT_TIME_DEFAULT, value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl CheckArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let root = match self.root {
            None => None,
            Some(path) => {
                let path = std::path::absolute(&path).or_failed(|| "cannot find the current directory")?;
                let at = path.clone();
                let looked = tokio::task::spawn_blocking(move || setup::look(&at, |name| std::env::var(name).ok()))
                    .await
                    .or_failed(|| "the look at the root ended")?;
                Some((path, looked))
            }
        };
        // The one that `join` left in the root counts where none is named.
        let beside = root.as_ref().map(|(path, _)| path.join(MANIFEST_FILE_NAME)).filter(|path| path.is_file());
        let manifest = self.manifest.or(beside).map(|path| read_manifest(&path)).transpose()?;
        let collation = manifest.and_then(|manifest| manifest.collation);
        let config = root.as_ref().and_then(|(_, looked)| looked.database.clone());
        let settings = self.database.settings(config.map(Into::into), &session.progress)?;
        let options = CheckOptions {
            root,
            settings,
            family: self.family.and_then(|choice| choice.0),
            kwild: self.kwild,
            text_bytes: self.size.map(|size| size.0),
            connect_time_max: self.connect_timeout,
            fix: self.fix,
            collation,
            start: None,
            more: Vec::new(),
        };
        let readiness = check::check(options).await?;
        let result = CheckResult::of(&readiness);
        if readiness.ok {
            session.output.result(&result)
        } else {
            session.output.result_with_error(&result, check::refusal(&readiness, Next::PutErrorsRight))
        }
    }
}
