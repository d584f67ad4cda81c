//! What an operator does after a join: by the database that the new node will use, the key, and whom the node dials.

use std::path::Path;

use kwil_formats::formats::{Family, config::CONFIG_FILE_NAME};

use super::{super::peers::PeersOf, preflight};
use crate::{
    base::{Advice, Next, Progress, text},
    database::Target,
    manifest::Manifest,
    setup,
};

/// What is in the database that the new node will use, and how one is made.
pub(super) struct DatabaseSeen {
    /// The answer in words.
    pub(super) words: String,
    /// What is in it; `None` where it could not be looked at.
    target: Option<Target>,
    /// The command that makes it; none where its settings cannot be read.
    createdb: Option<String>,
}

impl DatabaseSeen {
    pub(super) async fn look(root: &Path, manifest: &Manifest, progress: &Progress) -> Self {
        let settings = match preflight::settings_of(root) {
            Ok(settings) => settings,
            Err(e) => {
                let words = format!("not looked at: {}", text::escape(&e.chain()));
                return DatabaseSeen { words, target: None, createdb: None };
            }
        };
        let place = format!("\"{}\" at {}:{}", text::escape(&settings.dbname), settings.host, settings.port);
        let target = Target::look(&settings).await;
        let words = match &target {
            Ok(Target::Empty) => format!("{place} is there and empty of Kwil's state"),
            Ok(Target::Missing) => format!("{place} does not exist yet: create it, empty"),
            Ok(Target::HoldsState) if has_started(root) => format!("{place} holds this node's state"),
            Ok(Target::HoldsState) => {
                progress.warning(format!(
                    "the database {place} ALREADY HOLDS a node's state (perhaps the OLD network's). kwild would start on that \
                     state and ignore the snapshot without a word"
                ));
                format!("{place} ALREADY HOLDS a node's state: do not start kwild on it")
            }
            Err(e) => format!("{place} could not be looked at: {}", text::escape(&e.chain())),
        };
        DatabaseSeen { words, target: target.ok(), createdb: Some(preflight::createdb(&settings, manifest)) }
    }

    pub(super) fn is_ready(&self, root: &Path) -> bool {
        self.target == Some(Target::Empty) || self.target == Some(Target::HoldsState) && has_started(root)
    }
}

/// Whether kwild has run on this root.
fn has_started(root: &Path) -> bool {
    setup::holds_blocks(root)
}

/// What is to be done with a finished root, in order; the last line starts kwild, unless that would go wrong for certain.
pub(super) struct NextSteps<'a> {
    pub(super) family: Family,
    pub(super) root: &'a Path,
    pub(super) peers: &'a PeersOf,
    pub(super) database: &'a DatabaseSeen,
    pub(super) is_validator: bool,
    pub(super) follow: bool,
}

impl NextSteps<'_> {
    /// Whether the key votes or need not, and the database is none that kwild would take for its own.
    pub(super) fn may_start(&self) -> bool {
        let votes = self.is_validator || self.follow;
        votes && (self.database.target != Some(Target::HoldsState) || has_started(self.root))
    }

    pub(super) fn advice(&self) -> Vec<Advice> {
        let mut next: Vec<Advice> = Vec::new();
        let config = self.root.join(CONFIG_FILE_NAME);
        let key = match self.family {
            Family::V09 => "[app] pg_db_name",
            Family::V010 => "[db] dbname",
        };
        if !self.is_validator && !self.follow {
            next.push(Next::VoteOrFollow.into());
        }
        if self.peers.is_alone() && !has_started(self.root) {
            next.push(Next::WaitForQuorum.into());
        }
        match (self.database.target, &self.database.createdb) {
            (Some(Target::HoldsState), _) if !has_started(self.root) => {
                let (config, root) = (config.display().to_string(), setup::shell_path(self.root));
                next.push(Next::NameDatabaseInConfig { key, config, root }.into());
            }
            (Some(Target::Missing), Some(createdb)) => next.push(createdb.clone().into()),
            (None, createdb) => {
                let made = createdb.as_ref().map(|line| format!("; this makes it: {line}")).unwrap_or_default();
                let config = config.display();
                next.push(format!("see that the database named by {key} in {config} exists and is empty{made}").into());
            }
            _ => {}
        }
        if self.may_start() {
            next.push(setup::start_command(self.family, self.root).into());
        }
        next
    }
}
