//! What runs that were killed have left: roots that were being made, files that were being fetched. Each of them is held by a
//! lock while somebody works on it; what nobody holds can go, and costs no more than what a run would have to do again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kwil_formats::formats::Family;
use serde::Serialize;

use super::node;
use crate::{
    base::{
        Context, Error, Kind, Result,
        durable::{self, LOCK_FILE_NAME, PRIVATE_DIRECTORY_NAME},
    },
    manifest::ArtifactName,
    setup::{STAGING_LOCK_NAME, STAGING_SUFFIX},
};

/// The most entries of one directory that are looked at: more than anybody keeps side by side.
const ENTRIES_MAX: usize = 10_000;

/// One thing that was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Where.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What was found, and whether it is gone.
#[derive(Debug, Clone, Serialize)]
pub struct Cleaned {
    /// Everything that nobody holds.
    pub left: Vec<Left>,
    /// It was removed.
    pub removed: bool,
    /// What a process works on, which stays.
    pub held: Vec<PathBuf>,
}

/// Looks into directories, and one level below, for unfinished roots and for files that were not fetched to their end;
/// removes those that nobody holds if `remove`. What is left of a fetch's journal does no harm: it speaks of files by their
/// stamps.
///
/// # Errors
/// When a directory cannot be read, or something cannot be removed.
pub fn clean(directories: &[PathBuf], remove: bool) -> Result<Cleaned> {
    let mut found = Vec::new();
    for directory in directories {
        found.extend(unfinished(directory)?);
    }
    found.sort();
    found.dedup();
    let mut cleaned = Cleaned { left: Vec::new(), removed: remove, held: Vec::new() };
    for path in found {
        let Some(_locks) = take_locks(&path)? else {
            cleaned.held.push(path);
            continue;
        };
        let bytes = bytes_below(&path);
        if remove {
            let gone = if is_directory(&path) { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.or_failed(|| format!("cannot remove {}", path.display()))?;
            durable::sync_directory(durable::parent(&path))?;
        }
        cleaned.left.push(Left { path, bytes });
    }
    Ok(cleaned)
}

/// Unfinished roots beside a new one that nobody works on; what cannot be looked at is passed over.
pub fn left_beside(root: &Path, own: &Path) -> Vec<PathBuf> {
    let mut found = entries_of(durable::parent(root)).unwrap_or_default();
    found.retain(|path| is_staging(path) && path != own && matches!(take_locks(path), Ok(Some(_))));
    found
}

/// Unfinished roots in a directory: beside where they will stand, or inside of them.
fn unfinished(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = partial_files(directory);
    for path in entries_of(directory)? {
        let inside = path.join(STAGING_SUFFIX);
        if is_directory(&path) && !is_staging(&path) {
            found.extend(partial_files(&path));
        }
        if is_staging(&path) {
            found.push(path);
        } else if is_directory(&inside) {
            found.push(inside);
        }
    }
    Ok(found)
}

/// Files of a directory that a fetch into it has not completed.
fn partial_files(directory: &Path) -> Vec<PathBuf> {
    if !is_directory(&directory.join(PRIVATE_DIRECTORY_NAME)) {
        return Vec::new();
    }
    let names = [Family::V09, Family::V010].into_iter().flat_map(|family| {
        [ArtifactName::Genesis, ArtifactName::Snapshot].map(|name| node::artifact_name(name, family, false))
    });
    let paths = names.map(|name| durable::part_path(&directory.join(name)));
    paths.filter(|path| fs::symlink_metadata(path).is_ok_and(|data| data.is_file())).collect()
}

fn entries_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read directory {}", directory.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).or_failed(cannot)?.take(ENTRIES_MAX) {
        all.push(entry.or_failed(cannot)?.path());
    }
    Ok(all)
}

/// A link is never followed: what it leads to was not made here.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
}

fn is_staging(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with('.') && name.ends_with(STAGING_SUFFIX) && is_directory(path)
}

/// The locks of an unfinished root, or of the directory that a file is fetched into; None: a process has one of them.
fn take_locks(path: &Path) -> Result<Option<Vec<durable::Lock>>> {
    let mut locks = Vec::new();
    let path = if is_directory(path) { path } else { durable::parent(path) };
    for lock in [path.join(STAGING_LOCK_NAME), path.join(PRIVATE_DIRECTORY_NAME).join(LOCK_FILE_NAME)] {
        if !lock.exists() {
            continue;
        }
        match durable::Lock::acquire(&lock, &path.display().to_string()) {
            Ok(lock) => locks.push(lock),
            Err(e) if e.kind() == Kind::Refused => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Ok(Some(locks))
}

fn bytes_below(path: &Path) -> u64 {
    if !is_directory(path) {
        return fs::symlink_metadata(path).map_or(0, |data| data.len());
    }
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().take(ENTRIES_MAX);
    below(path)
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => below(&entry.path()).filter_map(|e| e.metadata().ok()).map(|d| d.len()).sum(),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The error of a place that is none.
pub fn no_directory(path: &Path) -> Error {
    Error::usage(format!("there is no directory {}", path.display()))
        .hint("name directories in which roots were being made or files fetched")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_not_fetched_to_their_end_are_found_and_nothing_else_of_theirs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("files");
        let private = files.join(PRIVATE_DIRECTORY_NAME);
        fs::create_dir_all(&private).unwrap();
        let part = files.join("snapshot.sql.gz.part");
        for path in [&part, &files.join("genesis.json"), &files.join("notes.part"), &private.join(LOCK_FILE_NAME)] {
            fs::write(path, [0; 1000]).unwrap();
        }
        // Of another program's directory, and of one that somebody works on, nothing goes.
        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("snapshot.sql.gz.part"), "").unwrap();
        let lock = durable::Lock::acquire(&private.join(LOCK_FILE_NAME), "it").unwrap();
        let look = |place: &Path, remove| clean(&[place.to_owned()], remove).unwrap();
        assert_eq!(look(dir.path(), true).held, std::slice::from_ref(&part));
        drop(lock);
        for place in [dir.path(), &files] {
            assert_eq!(look(place, false).left, [Left { path: part.clone(), bytes: 1000 }]);
        }
        look(dir.path(), true);
        assert!(!part.exists() && look(dir.path(), false).left.is_empty());
        assert!(files.join("genesis.json").exists() && files.join("notes.part").exists());
        assert!(foreign.join("snapshot.sql.gz.part").exists());
    }

    #[test]
    fn only_what_nobody_holds_is_removed_and_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join(PRIVATE_DIRECTORY_NAME)).unwrap();
            fs::write(path.join("genesis-state.sql.gz.part"), [0; 1000]).unwrap();
            fs::write(path.join(PRIVATE_DIRECTORY_NAME).join(LOCK_FILE_NAME), "").unwrap();
            path
        };
        let (left, held) = (make(".one.regenesis-part"), make(".two.regenesis-part"));
        let inside = make("volume/.regenesis-part");
        let other = make("precious");
        let lock = durable::Lock::acquire(&held.join(PRIVATE_DIRECTORY_NAME).join(LOCK_FILE_NAME), "it").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join(".link.regenesis-part")).unwrap();
        let look = |remove| clean(&[dir.path().to_owned()], remove).unwrap();
        let seen = look(false);
        assert_eq!(seen.left.iter().map(|l| l.path.clone()).collect::<Vec<_>>(), [left.clone(), inside.clone()]);
        assert!(seen.left[0].bytes >= 1000 && left.exists());
        assert_eq!(seen.held, std::slice::from_ref(&held));
        assert_eq!(
            left_beside(&dir.path().join("new"), &dir.path().join(".new.regenesis-part")),
            std::slice::from_ref(&left)
        );
        look(true);
        assert!(!left.exists() && !inside.exists() && held.exists() && other.exists());
        drop(lock);
        look(true);
        assert!(!held.exists() && look(false).left.is_empty());
    }
}
