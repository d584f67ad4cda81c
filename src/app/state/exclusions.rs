//! What is remembered of validators whose access was taken back: a file for each of them and manifest.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kwil_formats::formats::key::PublicKey;

use super::{StateDirectory, read_evidence};
use crate::{
    base::{Context, Result, durable, limits},
    manifest::{Evidence, evidence::Exclusion},
};

const BEGIN: &str = "exclusion-";

fn name(exclusion: &Exclusion) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(exclusion.head().manifest_id().as_bytes()).update(exclusion.validator().to_string().as_bytes());
    format!("{BEGIN}{}.evidence", &hasher.finalize().to_hex()[..32])
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).or_failed(|| format!("cannot read {}", directory.display())),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BEGIN)))
        .filter(|path| path.extension().is_some_and(|end| end == "evidence"))
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Option<Exclusion>> {
    Ok(match read_evidence(path)? {
        Some(Evidence::Exclusion(exclusion)) => Some(exclusion),
        _ => None,
    })
}

impl StateDirectory {
    /// The validators that have lost access to swarms of this lead and network, as far as is remembered.
    ///
    /// # Errors
    /// When the directory cannot be read, or what is remembered is damaged.
    pub fn exclusions(&self, chain_id: &str, lead: &PublicKey) -> Result<Vec<Exclusion>> {
        let paths = paths(&self.network(chain_id, lead))?;
        let read = paths.iter().take(limits::EXCLUSIONS_MAX).map(|path| read(path));
        read.filter_map(Result::transpose).collect()
    }
}

/// Keeps one in the directory of its network, whose lock is held; gives where it is, `None` where there are too many of its manifest.
pub(super) fn keep(directory: &Path, exclusion: &Exclusion) -> Result<Option<PathBuf>> {
    let path = directory.join(name(exclusion));
    let there = paths(directory)?;
    if !path.exists() && there.len() >= limits::EXCLUSIONS_MAX {
        // Those of other manifests are of no use any more.
        let manifest = exclusion.head().manifest_id();
        let is_other =
            |path: &&PathBuf| read(path).is_ok_and(|one| one.is_none_or(|one| one.head().manifest_id() != manifest));
        match there.iter().find(is_other) {
            Some(other) => fs::remove_file(other).or_failed(|| format!("cannot remove {}", other.display()))?,
            None => return Ok(None),
        }
    }
    let says_more = |there: &Exclusion| exclusion.head().signers().count() > there.head().signers().count();
    if read(&path)?.as_ref().is_none_or(says_more) {
        durable::write_atomically(&path, &Evidence::Exclusion(exclusion.clone()).to_bytes(), 0o600)?;
    }
    Ok(Some(path))
}
