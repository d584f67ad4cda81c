//! Small files of the operator, read with a bound.

use std::{fs::File, io::Read, path::Path};

use zeroize::Zeroizing;

use crate::{
    base::{Context, Error, Result, limits, text},
    kwil::key::{KeyFileForm, PrivateKey},
    manifest::{MANIFEST_FILE_NAME, Manifest, SignedManifest},
};

/// A whole file of at most `max` bytes.
///
/// # Errors
/// When it cannot be read, or is larger than what it should be ever is.
pub fn read_bounded(path: &Path, max: usize, what: &str) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read the {what} {}", path.display());
    let file = File::open(path).or_failed(cannot)?;
    // Large enough at once: growing would leave copies of a secret behind.
    let size = file.metadata().map_or(0, |data| usize::try_from(data.len()).unwrap_or(usize::MAX)).min(max);
    let mut bytes = Vec::with_capacity(size + 64);
    // One byte more than allowed tells a full file from a too large one, whatever its metadata say.
    file.take(max as u64 + 1).read_to_end(&mut bytes).or_failed(cannot)?;
    if bytes.len() > max {
        let limit = text::bytes(max as u64);
        return Err(Error::verify(format!("{} is larger than {limit}: it is no {what}", path.display()))
            .hint(format!("give the path of the {what}")));
    }
    Ok(bytes)
}

/// A node's or lead's private key, in either family's form.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn read_private_key(path: &Path) -> Result<PrivateKey> {
    read_key_file(path).map(|(key, _)| key)
}

/// As [`read_private_key`], and which family's form the file has.
///
/// # Errors
/// As [`read_private_key`].
pub fn read_key_file(path: &Path) -> Result<(PrivateKey, KeyFileForm)> {
    let text = Zeroizing::new(read_bounded(path, limits::KEY_FILE_SIZE_BYTES_MAX, "key file").map_err(|e| {
        let hint = e.advice().unwrap_or("check the path, and that this user may read the file").to_owned();
        e.hint(hint)
    })?);
    match PrivateKey::parse_file(&text) {
        Ok(read) => Ok(read),
        Err(problem) => {
            let explained = Error::from(problem);
            let hint = explained.advice().unwrap_or("give a key file").to_owned();
            Err(Error::verify(format!("{} holds no key", path.display())).because(explained).hint(hint))
        }
    }
}

/// A manifest, or the one in a directory. Who signed it is the question of `manifest verify`.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
    let path = if path.is_dir() { path.join(MANIFEST_FILE_NAME) } else { path.to_owned() };
    let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
    let signed = SignedManifest::decode(&bytes)
        .or_verify(|| format!("{} is no manifest", path.display()))
        .map_err(|e| e.hint(format!("give the {MANIFEST_FILE_NAME} that the lead signed, or its directory")))?;
    Ok(signed.manifest().clone())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::Kind;

    #[test]
    fn a_file_that_is_too_large_or_absent_is_said_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("thing");
        assert_eq!(read_bounded(&path, 3, "manifest").unwrap_err().kind(), Kind::Failed);
        fs::write(&path, "abc").unwrap();
        assert_eq!(read_bounded(&path, 3, "manifest").unwrap(), b"abc");
        fs::write(&path, "abcd").unwrap();
        let error = read_bounded(&path, 3, "manifest").unwrap_err();
        assert!(error.chain().contains("thing is larger than 3 B: it is no manifest"), "{}", error.chain());
    }

    #[test]
    fn what_is_no_key_is_not_echoed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "s3cr3t but no key").unwrap();
        let error = read_private_key(&path).unwrap_err();
        assert!(error.chain().contains("holds no key") && !error.chain().contains("s3cr3t"), "{}", error.chain());
        assert!(error.advice().is_some());
    }
}
