//! The node's key on its way into the root: read, told apart, and never replaced by another one.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use kwil_formats::formats::{
    Family,
    key::{KeyError, KeyFileForm, KeyType, PrivateKey},
};
use rand::{TryRngCore, rngs::OsRng};
use zeroize::Zeroizing;

use super::{KeySource, apply::KEY_MODE, key_file_name};
use crate::base::{Error, Next, Progress, Result, files::read_bounded, limits};

/// The key that the node will have, and the file to write for it.
pub(super) struct NodeKey {
    pub(super) key: PrivateKey,
    /// Bytes of the key file to write; `None` when the file is already in the root.
    pub(super) file: Option<Zeroizing<Vec<u8>>>,
}

/// Checks a node's key for a root of this family, before anything is made.
///
/// # Errors
/// When the key cannot be read, is of the other family (`Kind::Refused`), or the root holds another one
/// (`Kind::Refused`).
pub fn check_key(root: &Path, family: Family, key: &KeySource) -> Result<()> {
    load(root, family, key).map(drop)
}

/// The family whose node reads this key file; `None` where no key file can be read, or the key is to be a new one.
pub fn family_of_key(root: &Path, key: &KeySource) -> Option<Family> {
    let found = |family: &Family| root.join(key_file_name(*family)).exists();
    match key {
        KeySource::File(path) => read_key_file(path).ok().map(|(_, form)| form.family()),
        KeySource::InRoot => [Family::V09, Family::V010].into_iter().find(found),
        KeySource::New => None,
    }
}

/// Reads a private key, and which family's form its file has.
///
/// # Errors
/// `Kind::Verify` when the file holds no key; `Kind::Failed` when it cannot be read.
pub fn read_key_file(path: &Path) -> Result<(PrivateKey, KeyFileForm)> {
    let text = Zeroizing::new(read_bounded(path, limits::KEY_FILE_SIZE_BYTES_MAX, "key file")?);
    PrivateKey::parse_file(&text).map_err(|problem| {
        let explained = Error::from(problem);
        let advice = explained.advice().cloned().unwrap_or(Next::NodeKeyFile.into());
        Error::verify(format!("{} holds no key", path.display())).because(explained).hint(advice)
    })
}

pub(super) fn load(root: &Path, family: Family, source: &KeySource) -> Result<NodeKey> {
    let in_root = root.join(key_file_name(family));
    let other = match family {
        Family::V09 => Family::V010,
        Family::V010 => Family::V09,
    };
    let foreign = root.join(key_file_name(other));
    if foreign.exists() {
        return Err(Error::refused(format!(
            "{} is a key of {other}, but the genesis is of {family}",
            foreign.display()
        ))
        .hint(Next::RightKey));
    }
    let read = |path: &Path| -> Result<PrivateKey> {
        let (key, form) = read_key_file(path)?;
        if form.family() != family {
            let next = match form.family() {
                Family::V09 => Next::KeyOfV010,
                Family::V010 => Next::KeyOfV09,
            };
            return Err(Error::refused(format!(
                "{} is a key file of {}, but the genesis is of {family}",
                path.display(),
                form.family()
            ))
            .hint(next));
        }
        if family == Family::V09 && key.key_type() != KeyType::Ed25519 {
            return Err(KeyError::FamilyCannotHold(key.key_type()).into());
        }
        Ok(key)
    };
    match source {
        KeySource::InRoot => Ok(NodeKey { key: read(&in_root)?, file: None }),
        KeySource::File(path) => {
            let key = read(path)?;
            if in_root.exists() {
                if read(&in_root)?.public() != key.public() {
                    return Err(Error::refused(format!(
                        "{} already holds another key than {}",
                        root.display(),
                        path.display()
                    ))
                    .hint(Next::KeyOfRoot));
                }
                return Ok(NodeKey { key, file: None });
            }
            let file = key.to_file(family)?;
            Ok(NodeKey { key, file: Some(file) })
        }
        KeySource::New => {
            if in_root.exists() {
                return Err(Error::refused(format!(
                    "{} already holds a key: a new one would take its place",
                    root.display()
                ))
                .hint("use the key in the root, or choose another root"));
            }
            let kind = if family == Family::V09 { KeyType::Ed25519 } else { KeyType::Secp256k1 };
            let key = PrivateKey::generate(kind, &mut OsRng.unwrap_err());
            let file = key.to_file(family)?;
            Ok(NodeKey { key, file: Some(file) })
        }
    }
}

/// A key that was there before is not for others to read, as Kwil's own tool sees to it. One that somebody put there from
/// elsewhere, by a mount or a link, stays as it is: its mode is that of a file outside.
pub(super) fn tighten(path: &Path, progress: &Progress) {
    let mode = fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o7777);
    if mode & 0o077 == 0 {
        return;
    }
    let shown = super::shell_path(path);
    let from_elsewhere = fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink()) || is_mounted(path);
    if !from_elsewhere && fs::set_permissions(path, fs::Permissions::from_mode(KEY_MODE)).is_ok() {
        progress.note(format!("{} was readable by others (mode {mode:o}); it is 600 now", path.display()));
    } else {
        progress.warning(format!(
            "others can read the node's key {shown} (mode {mode:o}), and it is left so: chmod 600 the file that stands behind it"
        ));
    }
}

/// Whether a file was mounted just there, as containers get their secrets.
fn is_mounted(path: &Path) -> bool {
    let (Ok(path), Ok(table)) = (fs::canonicalize(path), fs::read("/proc/self/mountinfo")) else { return false };
    let path = path.as_os_str().as_encoded_bytes();
    table.split(|b| *b == b'\n').any(|line| {
        let place = line.split(|b| *b == b' ').nth(4);
        place.is_some_and(|place| unescape(place) == path)
    })
}

/// A path of the kernel's table, where blanks stand as three digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_linked_there_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (key, link) = (dir.path().join("key"), dir.path().join("link"));
        fs::write(&key, "k").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&key, &link).unwrap();
        let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        tighten(&link, &Progress::silent());
        assert_eq!(mode(), 0o644);
        tighten(&key, &Progress::silent());
        assert_eq!(mode(), 0o600);
        assert!(is_mounted(Path::new("/proc")) && !is_mounted(&key));
        assert_eq!(unescape(br"/a\040b\134"), b"/a b\\");
    }
}
