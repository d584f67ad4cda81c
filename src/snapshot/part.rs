//! A file in the making: `FILE.part`, private and locked. It gets its final name when it is finished, and is removed
//! otherwise.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::base::{Context, Error, Next, Result, durable};

const MODE: u32 = 0o600;

/// An open `FILE.part`. Dropping it unfinished removes it.
#[derive(Debug)]
pub(crate) struct Part {
    file: Flock<File>,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Part {
    /// Begins the file that shall be called `path`, in place of what a killed process left of it.
    ///
    /// # Errors
    /// `Kind::Refused` when another process is writing the same file; when it cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let part = durable::part_path(path);
        let busy = || {
            Error::refused(format!("{} is being written by another process", part.display()))
                .hint(Next::WaitOrChooseSnapdir)
        };
        if let Ok(existing) = File::open(&part)
            && Flock::lock(existing, FlockArg::LockExclusiveNonblock).is_err()
        {
            return Err(busy());
        }
        let file = durable::create_part(&part, MODE)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| busy())?;
        Ok(Part { file, part, path: path.to_owned(), finished: false })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The path of the unfinished file, `FILE.part`.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Makes the file's bytes durable, so that only its name is missing.
    pub(crate) fn sync(&self) -> Result<()> {
        durable::sync_file(&self.file, &self.part)
    }

    /// Gives the file its final name, durably. A file of that name is replaced. `Kind::Refused` where somebody has put
    /// another file into this one's place.
    pub(crate) fn finish(mut self) -> Result<()> {
        let ours = self.file.metadata().or_failed(|| format!("cannot look at {}", self.part.display()))?;
        let there = fs::metadata(&self.part).or_failed(|| format!("{} has gone", self.part.display()))?;
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            self.finished = true; // It is not ours to remove.
            return Err(Error::refused(format!("{} was replaced by another process", self.part.display()))
                .hint("run one snapshot create at a time in one directory"));
        }
        durable::rename(&self.part, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::base::Kind;

    #[test]
    fn an_unfinished_file_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.sql.gz");
        drop(Part::create(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_one_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.sql.gz");
        let part = Part::create(&path).unwrap();
        part.file().write_all(b"x").unwrap();
        assert!(!path.exists());
        part.sync().unwrap();
        part.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_writer_is_refused_and_a_dead_ones_leftover_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.sql.gz");
        fs::write(durable::part_path(&path), "left over").unwrap();
        let first = Part::create(&path).unwrap();
        let e = Part::create(&path).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        first.finish().unwrap();
    }

    #[test]
    fn a_file_that_was_exchanged_gets_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.sql.gz");
        let part = Part::create(&path).unwrap();
        fs::remove_file(part.part()).unwrap();
        fs::write(part.part(), "someone else's").unwrap();
        let other = part.part().to_owned();
        assert_eq!(part.finish().unwrap_err().kind(), Kind::Refused);
        assert!(other.exists() && !path.exists());
    }
}
