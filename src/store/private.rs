//! `.regenesis/` in the directory that is filled or served: 0700, locked, holds identity, secret and journal.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::base::{
    Context, Error, Kind, Result,
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
        durable::create_directory(&path, 0o700).map_err(|e| can_write(&path, e))?;
        keep_private(data_directory, &path)?;
        let lock =
            durable::Lock::acquire(&path.join(LOCK_FILE_NAME), &format!("directory {}", data_directory.display()))
                .map_err(|e| can_write(&path, e))?;
        Ok(PrivateDirectory { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a small file, if it is there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.file(name);
        // A pipe would keep its reader waiting for ever.
        if path.metadata().is_ok_and(|data| !data.is_file()) {
            return Err(Error::refused(format!("{} is no file", path.display())).hint("move it away"));
        }
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

/// A place that cannot be written has a way round.
fn can_write(path: &Path, error: Error) -> Error {
    if error.kind() == Kind::Refused || error.advice().is_some() {
        return error;
    }
    error.hint(format!(
        "a node keeps its identity, its secret and a lock in {}: from media that cannot be written, copy the directory to a disk \
         and use the copy",
        path.display()
    ))
}

/// Secrets are written here: into a directory of ours, or of whoever owns the data, and of nobody else.
fn keep_private(data_directory: &Path, path: &Path) -> Result<()> {
    let look = |path: &Path| fs::symlink_metadata(path).or_failed(|| format!("cannot look at {}", path.display()));
    let data = look(path)?;
    let refuse = |what: &str| {
        Err(Error::refused(format!("{} {what}", path.display()))
            .hint("somebody else may have put it there: look at it, remove it, and run the same command again"))
    };
    if !data.is_dir() {
        return refuse("is a link or a file, not a directory of this program");
    }
    let owner =
        fs::metadata(data_directory).or_failed(|| format!("cannot look at {}", data_directory.display()))?.uid();
    if data.uid() != nix::unistd::geteuid().as_raw() && data.uid() != owner {
        return refuse("belongs to another user");
    }
    if data.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .or_failed(|| format!("cannot make {} private", path.display()))?;
    }
    Ok(())
}
