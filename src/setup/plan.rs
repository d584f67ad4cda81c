//! What is to be done with the directory where a root shall be, and why. Looks, decides, changes nothing.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use kwil_formats::formats::{Family, GENESIS_FILE_NAME, GENESIS_STATE_FILE_NAME, config::CONFIG_FILE_NAME};

use super::key_file_name;
use crate::base::{Context, Error, Result, durable};

/// End of the staging directory's name: behind a dot and the root's name
/// beside a root that does not exist yet; alone inside a root that does.
pub const STAGING_SUFFIX: &str = ".regenesis-part";

/// What stands in the place where the root shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// There is nothing of that name.
    Nothing,
    /// A directory that is empty but for key files and what a killed run of ours left, if anything.
    Usable {
        /// Names of files that a killed run had already moved into the root.
        leftovers: Vec<OsString>,
    },
    /// Something that is no directory: a file, a device.
    NoDirectory,
    /// A link that leads nowhere.
    DeadLink,
    /// A directory with something else in it, such as what has this name.
    Foreign(OsString),
}

/// How the finished files come to their final names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// The staging directory is renamed to the root in one step.
    Whole,
    /// The root stays (it may be a mount point) and the files are moved into
    /// it, the genesis last: without it no kwild of either family starts.
    MoveIn {
        /// Names in the root that are removed first: a killed run of ours left them.
        leftovers: Vec<OsString>,
    },
}

/// Where the files of a root are made, and how they come to their final names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) staging: PathBuf,
    pub(super) way: Way,
}

/// The directory in which a root is put together: beside a root that does not exist yet, inside one that does.
///
/// # Errors
/// When an existing root must not be touched.
pub fn staging_directory(root: &Path) -> Result<PathBuf> {
    Ok(plan(root, look(root)?)?.staging)
}

/// Whether a root is still being made in this directory.
pub fn is_staging(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(STAGING_SUFFIX.as_bytes()))
}

/// The root that is being made in a directory; where none is, the directory itself.
pub fn root_of(directory: &Path) -> PathBuf {
    let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { return directory.to_owned() };
    match name.strip_suffix(STAGING_SUFFIX) {
        Some("") => durable::parent(directory).to_owned(),
        Some(root) => directory.with_file_name(root.strip_prefix('.').unwrap_or(root)),
        None => directory.to_owned(),
    }
}

/// Decides from what was found in the root's place; an error where that must not be touched.
pub(super) fn plan(root: &Path, found: Found) -> Result<Plan> {
    let shown = root.display();
    match found {
        Found::Nothing => {
            let name = root.file_name().ok_or_else(|| {
                Error::usage(format!("{shown} cannot be a root directory")).hint("name a new directory")
            })?;
            let mut staging = OsString::from(".");
            staging.push(name);
            staging.push(STAGING_SUFFIX);
            Ok(Plan { staging: durable::parent(root).join(staging), way: Way::Whole })
        }
        Found::Usable { leftovers } => Ok(Plan { staging: root.join(STAGING_SUFFIX), way: Way::MoveIn { leftovers } }),
        Found::NoDirectory => Err(Error::refused(format!("{shown} exists and is no directory"))
            .hint("choose another root, or move that file away")),
        Found::DeadLink => Err(Error::refused(format!("{shown} is a link that leads nowhere"))
            .hint("make the directory that it should lead to, remove the link, or choose another root")),
        Found::Foreign(name) => Err(Error::refused(format!(
            "{shown} already holds {:?}: an existing root is never overwritten",
            name.to_string_lossy()
        ))
        .hint("choose a new root, or empty this one (a node key alone may stay in it)")),
    }
}

/// The directories above the staging directory that are not there yet, the deepest first.
pub(super) fn missing_above(staging: &Path) -> Vec<PathBuf> {
    let above = staging.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
    above.take_while(|path| fs::symlink_metadata(path).is_err()).map(Path::to_owned).collect()
}

/// Looks at the place where the root shall be.
pub(super) fn look(root: &Path) -> Result<Found> {
    match fs::metadata(root) {
        Ok(data) if data.is_dir() => {}
        Ok(_) => return Ok(Found::NoDirectory),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let dangling = fs::symlink_metadata(root).is_ok();
            return Ok(if dangling { Found::DeadLink } else { Found::Nothing });
        }
        Err(e) => {
            return Err(Error::failed(format!("cannot look at {}", root.display()))
                .because(e)
                .hint("choose a root below directories that this user may enter"));
        }
    }
    let unreadable = || format!("cannot read directory {}", root.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(root).or_failed(unreadable)? {
        names.push(entry.or_failed(unreadable)?.file_name());
    }
    names.sort();
    let is = |name: &OsString, texts: &[&str]| texts.iter().any(|text| name == text);
    let keys = [key_file_name(Family::V09), key_file_name(Family::V010)];
    let interrupted = names.iter().any(|name| is(name, &[STAGING_SUFFIX]));
    let mut leftovers = Vec::new();
    for name in names {
        // A fresh volume has this directory of its file system's, which nobody may look into.
        let of_volume = is(&name, &["lost+found"]) && root.join(&name).is_dir();
        if of_volume || is(&name, &keys) || is(&name, &[STAGING_SUFFIX]) {
            continue;
        }
        // Only a run of ours that was killed while moving has both its staging directory and some of these; it had no
        // genesis yet, for that one is moved last.
        let ours = interrupted && is(&name, &[CONFIG_FILE_NAME, GENESIS_STATE_FILE_NAME, "abci"]);
        if !ours {
            return Ok(Found::Foreign(name));
        }
        leftovers.push(name);
    }
    debug_assert!(!leftovers.iter().any(|name| name == GENESIS_FILE_NAME));
    Ok(Found::Usable { leftovers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_which_a_root_is_made_is_known_by_the_name_of_that_root() {
        let root = |directory: &str| root_of(Path::new(directory)).to_str().unwrap().to_owned();
        assert_eq!(root("/a/.new.regenesis-part"), "/a/new");
        assert_eq!(root("/a/new/.regenesis-part"), "/a/new");
        assert_eq!(root("/a/new"), "/a/new");
        assert!(is_staging(Path::new("/a/.new.regenesis-part")) && !is_staging(Path::new("/a/.new")));
    }
}
