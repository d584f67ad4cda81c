//! `.regenesis/` in the directory that is filled or served: 0700, locked, holds identity, secret and journal.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::base::{
    Context, Result,
    durable::{self, LOCK_FILE_NAME, PRIVATE_DIRECTORY_NAME},
};

/// The locked private directory of one data directory.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    _lock: durable::Lock,
}

impl PrivateDirectory {
    /// Makes it if needed and takes its lock.
    ///
    /// # Errors
    /// Refused, with the other process named, when it is locked.
    pub fn lock(data_directory: &Path) -> Result<Self> {
        let path = data_directory.join(PRIVATE_DIRECTORY_NAME);
        durable::create_directory(data_directory, 0o755)?;
        durable::create_directory(&path, 0o700)?;
        let lock =
            durable::Lock::acquire(&path.join(LOCK_FILE_NAME), &format!("directory {}", data_directory.display()))?;
        Ok(PrivateDirectory { path, _lock: lock })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a small file, if it is there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).or_failed(|| format!("cannot read {}", path.display())),
        }
    }

    /// Replaces a small file, private.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        durable::write_atomically(&self.file(name), bytes, 0o600)
    }

    /// Forgets a small file.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).or_failed(|| format!("cannot remove {}", self.file(name).display()))
            }
            _ => Ok(()),
        }
    }
}
