//! What validators have said, kept beside the files that a node serves, so that it can tell others after it was started
//! again. It saves hearing it anew, nothing more: what cannot be read or written is only lost.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    base::{clock, durable, files::read_bounded, limits},
    manifest::statement,
};

/// Time between two writings: many statements come at once.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// What was carried into a directory beside what its node hears: only whoever carries writes it, so no node has to end for that.
pub(super) const CARRIED_NAME: &str = "carried-statements";
/// Held while that is written.
pub(super) const CARRIED_LOCK_NAME: &str = "carried-statements.lock";

/// What was carried to the node with this private directory, unjudged.
pub(super) fn carried(private: &Path) -> Vec<Vec<u8>> {
    read(&private.join(CARRIED_NAME))
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let bytes = read_bounded(path, limits::STATEMENTS_FILE_SIZE_BYTES_MAX, "list of statements");
    bytes.ok().and_then(|bytes| statement::from_file(&bytes).ok()).unwrap_or_default()
}

/// The file of the statements, and what is still to be written to it.
#[derive(Debug)]
pub(super) struct KeptStatements {
    path: PathBuf,
    statements: Vec<Vec<u8>>,
    dirty: bool,
    written_at: Option<Instant>,
}

impl KeptStatements {
    pub(super) fn new(path: PathBuf) -> Self {
        KeptStatements { path, statements: Vec::new(), dirty: false, written_at: None }
    }

    /// What was kept, and what was carried here, unjudged.
    pub(super) fn read(&self) -> Vec<Vec<u8>> {
        let mut all = read(&self.path);
        all.extend(carried(durable::parent(&self.path)));
        all
    }

    /// Keeps these in the place of those before; they are written at once, or a moment later where many come.
    pub(super) fn write_soon(&mut self, statements: &[Vec<u8>]) {
        if self.statements != statements {
            self.statements = statements.to_vec();
            self.dirty = true;
        }
        self.write_if_due();
    }

    /// Writes what waits, where the last writing is some time ago.
    pub(super) fn write_if_due(&mut self) {
        let is_due = self.written_at.is_none_or(|at| clock::now().duration_since(at) >= WRITE_INTERVAL);
        if self.dirty && is_due {
            self.write_now();
        }
    }

    /// Writes what waits.
    pub(super) fn write_now(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.written_at = Some(clock::now());
            if let Err(e) = durable::write_atomically(&self.path, &statement::to_file(&self.statements), 0o600) {
                tracing::debug!("statements are not kept: {}", e.chain());
            }
        }
    }

    /// The file has another place from now on.
    pub(super) fn move_to(&mut self, path: PathBuf) {
        self.path = path;
        self.dirty = !self.statements.is_empty();
        self.write_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut kept = KeptStatements::new(one.clone());
        assert!(kept.read().is_empty());
        kept.write_soon(&[vec![1]]);
        assert_eq!(KeptStatements::new(one.clone()).read(), [vec![1]]);
        kept.write_soon(&[vec![1], vec![2]]);
        kept.write_now();
        assert_eq!(KeptStatements::new(one.clone()).read(), [vec![1], vec![2]]);
        let carried = dir.path().join(CARRIED_NAME);
        std::fs::write(&carried, statement::to_file(&[vec![3]])).unwrap();
        assert_eq!(KeptStatements::new(one.clone()).read(), [vec![1], vec![2], vec![3]]);
        std::fs::remove_file(carried).unwrap();
        kept.move_to(two.clone());
        assert_eq!(KeptStatements::new(two).read(), [vec![1], vec![2]]);
        std::fs::write(&one, [255; 30]).unwrap();
        assert!(KeptStatements::new(one).read().is_empty());
    }
}
