//! Small files of the operator, and what they say.

use std::path::{Path, PathBuf};

use kwil_formats::formats::key::PrivateKey;

use crate::{
    base::Result,
    manifest::{Manifest, SignedManifest, VerifyError},
    setup::read_key_file,
    snapshot::ManifestFile,
};

/// A node's or lead's private key, in either family's form.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn read_private_key(path: &Path) -> Result<PrivateKey> {
    read_key_file(path).map(|(key, _)| key)
}

/// A manifest or the one in a directory, with its path, for whoever puts a signature to it: those that are there hold.
///
/// # Errors
/// When it cannot be read or is none; `Kind::Verify` when a signature in it does not hold.
pub fn read_signed(path: &Path) -> Result<(PathBuf, SignedManifest)> {
    let file = ManifestFile::read(path)?;
    file.signed.signers().map_err(VerifyError::from)?;
    Ok((file.path, file.signed))
}

/// A manifest, or the one in a directory. Who signed it is the question of `manifest verify`.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
    Ok(ManifestFile::read(path)?.signed.manifest().clone())
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
