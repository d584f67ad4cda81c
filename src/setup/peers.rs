//! Whom a root's node dials: read from its config.toml, and more of them written there later.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use kwil_formats::formats::config::{
    self, CONFIG_FILE_NAME, ConfigError, Difference, PeerAddress, PeerFilter, PeerSettings,
};
use zeroize::Zeroizing;

use super::{in_file, key_file_name, look, read_config, read_key_file};
use crate::base::{Context, Error, Result, durable};

/// The peers in a root's config.toml.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeersInRoot {
    /// Whom the node dials, itself not among them.
    pub dials: Vec<PeerAddress>,
    /// How many of them were added just now.
    pub added: usize,
}

/// Adds peers to a root's config.toml; all else in it stays as it is. Nothing is written where there is nothing to add.
///
/// # Errors
/// When the file cannot be read or written, or is another user's: a new file in its place would not be.
pub fn merge_peers(root: &Path, filter: &PeerFilter, new: &[PeerAddress]) -> Result<PeersInRoot> {
    let path = root.join(CONFIG_FILE_NAME);
    let cannot = |e: ConfigError| in_file(&path, e);
    let before = read_config(&path)?;
    let dials = |text: &str| -> Result<Vec<PeerAddress>> {
        let mut all = PeerSettings::parse(text).map_err(cannot)?.dials;
        all.retain(|peer| !filter.is_own(peer));
        Ok(all)
    };
    let known = dials(&before)?;
    let Some(text) = config::with_peers(&before, filter, new.iter().cloned()).map_err(cannot)? else {
        return Ok(PeersInRoot { dials: known, added: 0 });
    };
    let text = Zeroizing::new(text);
    replace_config(&path, &text).map_err(|e| {
        let told: Vec<String> = new.iter().filter(|peer| filter.takes(peer)).map(ToString::to_string).collect();
        e.hint(format!("add to it what others say of themselves: {}", told.join(", ")))
    })?;
    let now = dials(&text)?;
    Ok(PeersInRoot { added: now.len().saturating_sub(known.len()), dials: now })
}

/// Writes a root's config.toml anew, with the mode it had.
fn replace_config(path: &Path, text: &str) -> Result<()> {
    let data = fs::symlink_metadata(path).or_failed(|| format!("cannot look at {}", path.display()))?;
    if !data.is_file() || data.uid() != nix::unistd::geteuid().as_raw() {
        return Err(Error::refused(format!("{} is a link or another user's, and stays as it is", path.display()))
            .hint("run this as the user whose file it is"));
    }
    durable::write_atomically(path, text.as_bytes(), data.permissions().mode() & 0o777)
}

/// What flags say otherwise than a root's config.toml; `apply` writes it there.
///
/// # Errors
/// When the file cannot be read or written, or a flag's value is not of its kind.
pub fn change_config(root: &Path, flags: &[(String, String)], apply: bool) -> Result<Vec<Difference>> {
    let path = root.join(CONFIG_FILE_NAME);
    let before = read_config(&path)?;
    let (text, differences) = config::with_values(&before, flags)?;
    let text = Zeroizing::new(text);
    if apply && !differences.is_empty() {
        replace_config(&path, &text)?;
    }
    Ok(differences)
}

/// Where an old root's config.toml says that its own node and its peers are.
///
/// # Errors
/// When there is no config.toml that can be read.
pub fn addresses_in_root(root: &Path) -> Result<Vec<PeerAddress>> {
    let path = root.join(CONFIG_FILE_NAME);
    let text = read_config(&path)?;
    let settings = PeerSettings::parse(&text).map_err(|e| in_file(&path, e))?;
    let database = config::database_settings(&text).map_err(|e| in_file(&path, e))?;
    let key_file = database.private_key_path.as_deref().unwrap_or(key_file_name(database.family));
    let mut found = Vec::new();
    // Nobody else needs the address of a node whose key is not there.
    if let (Some(place), Ok((key, _))) = (settings.own_place(), read_key_file(&look::inside(root, key_file))) {
        found.extend(PeerAddress::of_key(database.family, &key.public(), place));
    }
    config::add_peers(&mut found, settings.dials);
    Ok(found)
}
