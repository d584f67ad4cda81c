//! The database that a new root's node will use: what is in it now, and what its operator does about that.

use std::path::{Path, PathBuf};

use kwil_formats::{
    formats::{
        Family,
        config::{self, CONFIG_FILE_NAME},
    },
    judge::collation::Collation,
};

use crate::{
    base::{Advice, Context, Error, Next, Progress, Result, text},
    database::{PartialSettings, Settings, Target},
    setup,
};

/// The database that a root's config.toml names.
#[derive(Debug)]
pub(super) struct NodeDatabase {
    /// What is in it, in words.
    pub(super) words: String,
    root: PathBuf,
    family: Family,
    /// What is in it; `None` where it was not or could not be looked at.
    target: Option<Target>,
    /// The command that makes it; `None` where its settings cannot be read.
    createdb: Option<String>,
}

impl NodeDatabase {
    /// Looks at it; a node's state in it is warned of. `like` is how the old network's database orders text, where that is
    /// known.
    pub(super) async fn look(family: Family, root: &Path, like: Option<&Collation>, progress: &Progress) -> Self {
        let settings = match settings_of(root) {
            Ok(settings) => settings,
            Err(e) => {
                return Self::unknown(family, root, &format!("not looked at: {}", text::escape(&e.chain())), like);
            }
        };
        let place = place_of(&settings);
        let target = Target::look(&settings).await;
        let words = match &target {
            Ok(Target::Empty) => format!("{place} is there and empty of Kwil's state"),
            Ok(Target::Missing) => format!("{place} does not exist yet: create it, empty"),
            Ok(Target::HoldsState) if setup::holds_blocks(root) => format!("{place} holds this node's state"),
            Ok(Target::HoldsState) => {
                progress.warning(format!(
                    "the database {place} ALREADY HOLDS a node's state (perhaps the OLD network's). kwild would start on that \
                     state and ignore the snapshot without a word"
                ));
                format!("{place} ALREADY HOLDS a node's state: do not start kwild on it")
            }
            Err(e) => format!("{place} could not be looked at: {}", text::escape(&e.chain())),
        };
        let createdb = Some(settings.new_database(like).createdb());
        NodeDatabase { words, root: root.to_owned(), family, target: target.ok(), createdb }
    }

    /// The same where nobody looks; `why` says so in words.
    pub(super) fn unknown(family: Family, root: &Path, why: &str, like: Option<&Collation>) -> Self {
        let createdb = settings_of(root).ok().map(|settings| settings.new_database(like).createdb());
        NodeDatabase { words: why.to_owned(), root: root.to_owned(), family, target: None, createdb }
    }

    /// Whether kwild can load a snapshot into it, or has done so.
    pub(super) fn is_ready(&self) -> bool {
        self.target == Some(Target::Empty) || self.target == Some(Target::HoldsState) && setup::holds_blocks(&self.root)
    }

    /// Whether kwild would take a state for its own that is another node's.
    pub(super) fn is_anothers(&self) -> bool {
        self.target == Some(Target::HoldsState) && !setup::holds_blocks(&self.root)
    }

    /// Whether nobody knows what is in it.
    pub(super) fn is_unknown(&self) -> bool {
        self.target.is_none()
    }

    /// The command that makes it, where it is or may be missing.
    pub(super) fn createdb(&self) -> Option<&str> {
        self.createdb.as_deref().filter(|_| matches!(self.target, Some(Target::Missing) | None))
    }

    /// What is to be done about it before kwild is started; `None`: nothing.
    pub(super) fn advice(&self) -> Option<Advice> {
        let config = self.root.join(CONFIG_FILE_NAME).display().to_string();
        let key = match self.family {
            Family::V09 => "[app] pg_db_name",
            Family::V010 => "[db] dbname",
        };
        match (self.target, self.createdb()) {
            (Some(Target::HoldsState), _) if self.is_anothers() => {
                let root = setup::shell_path(&self.root);
                Some(Next::NameDatabaseInConfig { key, config, root }.into())
            }
            (Some(Target::Missing), Some(createdb)) => Some(createdb.to_owned().into()),
            (None, createdb) => {
                let made = createdb.map(|line| format!("; this makes it: {line}")).unwrap_or_default();
                Some(format!("see that the database named by {key} in {config} exists and is empty{made}").into())
            }
            _ => None,
        }
    }
}

/// A database's name and server, in words.
fn place_of(settings: &Settings) -> String {
    format!("\"{}\" at {}:{}", text::escape(&settings.dbname), settings.host, settings.port)
}

/// The settings of the database that a root's config.toml names.
fn settings_of(root: &Path) -> Result<Settings> {
    let path = root.join(CONFIG_FILE_NAME);
    let text = setup::read_config(&path)?;
    let database =
        config::database_settings(&text).map_err(Error::from).or_failed(|| format!("cannot use {}", path.display()))?;
    PartialSettings::from(database).complete(None, |_| {})
}
