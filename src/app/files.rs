//! Small files of the operator, and what they say.

use std::path::Path;

use kwil_formats::formats::key::PrivateKey;

use crate::{
    base::{Context, Result, files::read_bounded, limits},
    manifest::{MANIFEST_FILE_NAME, Manifest, SignedManifest},
    setup::read_key_file,
};

/// A node's or lead's private key, in either family's form.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn read_private_key(path: &Path) -> Result<PrivateKey> {
    read_key_file(path).map(|(key, _)| key)
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
