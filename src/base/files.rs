//! Small files, read whole with a bound on their size.

use std::{fs::File, io::Read, path::Path};

use super::{Context, Error, Result, text};

/// The bytes of a whole file, at most `max` of them; `what` names the kind of file for messages.
///
/// # Errors
/// `Kind::Verify` when the file is larger than `max`, which no file of its kind is; `Kind::Failed` when it cannot be
/// read or is a directory.
pub fn read_bounded(path: &Path, max: usize, what: &str) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read the {what} {}", path.display());
    let hint = |e: Error| e.hint("check the path, and that this user may read the file");
    let file = File::open(path).or_failed(cannot).map_err(hint)?;
    let data = file.metadata().or_failed(cannot).map_err(hint)?;
    if data.is_dir() {
        return Err(
            Error::failed(format!("{} is a directory, not the {what}", path.display())).hint("name the file inside it")
        );
    }
    // Large enough at once: growing would leave copies of a secret behind.
    let size = usize::try_from(data.len()).unwrap_or(usize::MAX).min(max);
    let mut bytes = Vec::with_capacity(size + 64);
    // One byte more than allowed tells a full file from a too large one, whatever its metadata say.
    file.take(max as u64 + 1).read_to_end(&mut bytes).or_failed(cannot).map_err(hint)?;
    if bytes.len() > max {
        let limit = text::bytes(max as u64);
        return Err(Error::verify(format!("{} is larger than {limit}: it is no {what}", path.display()))
            .hint(format!("give the path of the {what}")));
    }
    Ok(bytes)
}

/// [`read_bounded`] of a file in a directory of ours: what is no file there would keep its reader waiting for ever.
///
/// # Errors
/// As [`read_bounded`]; `Kind::Refused` when it is a pipe, a device or a socket.
pub fn read_regular(path: &Path, max: usize, what: &str) -> Result<Vec<u8>> {
    if path.metadata().is_ok_and(|data| !data.is_file() && !data.is_dir()) {
        let text = format!("{} is no file, where the {what} should be", path.display());
        return Err(Error::refused(text).hint("move it away"));
    }
    read_bounded(path, max, what)
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
        let error = read_bounded(dir.path(), 3, "manifest").unwrap_err();
        assert!(error.chain().contains("is a directory, not the manifest"), "{}", error.chain());
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("thing");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let error = read_regular(&path, 3, "manifest").unwrap_err();
        assert!(error.kind() == Kind::Refused && error.chain().contains("is no file"), "{}", error.chain());
    }
}
