//! The snapshot's way into the root: in goes the operator's file or a fetched one, out comes the root's own, checked
//! and copied in one pass, or with its blocks shared where the file system can.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use flate2::{Compression, read::GzEncoder};
use kwil_formats::formats::{GENESIS_STATE_FILE_NAME, genesis::Genesis};

use super::{CheckSnapshot, InitOptions, apply::interrupted};
use crate::{
    base::{Context, Error, Result, durable, task::CancellationToken},
    snapshot::{CheckedText, CompleteSnapshot},
};

/// Makes an empty file share another one's blocks, or says that it cannot.
pub(super) type ShareBlocks = fn(&File, &File) -> bool;

/// The operator's snapshot file, opened.
struct Source {
    file: File,
    size_bytes: u64,
    gzip: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let unreadable = || format!("cannot read the snapshot {}", path.display());
        let hint = |e: Error| e.hint("check the path and that this user may read it");
        // A pipe without a writer would hold everything up.
        let data = fs::metadata(path).or_failed(unreadable).map_err(hint)?;
        if !data.is_file() {
            return Err(hint(Error::failed(format!("the snapshot {} is no file", path.display()))));
        }
        let mut file = File::open(path).or_failed(unreadable).map_err(hint)?;
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).or_failed(unreadable)?;
        file.rewind().or_failed(unreadable)?;
        if magic.is_empty() {
            return Err(Error::verify(format!("the snapshot {} is empty", path.display()))
                .hint("copy it again from where it came from"));
        }
        Ok(Source { file, size_bytes: data.len(), gzip: magic == [0x1f, 0x8b] })
    }

    /// The file's bytes as gzip: plain SQL is compressed, because kwild decides by the name whether to unpack.
    fn reader(self) -> Box<dyn Read> {
        if self.gzip {
            Box::new(self.file)
        } else {
            Box::new(GzEncoder::new(io::BufReader::new(self.file), Compression::default()))
        }
    }
}

/// Reads the snapshot once: each byte is checked, and written into the staging directory unless its blocks are shared.
pub(super) fn copy(
    path: &Path,
    staging: &Path,
    mode: u32,
    genesis: &Genesis,
    options: &InitOptions,
    check: CheckSnapshot<'_>,
    share: ShareBlocks,
) -> Result<CheckedText> {
    let source = Source::open(path)?;
    let target = staging.join(GENESIS_STATE_FILE_NAME);
    let part = durable::part_path(&target);
    let file = durable::create_part(&part, mode)?;
    options.progress.step(format!("copying and checking {}", path.display()));
    let mut copy = if source.gzip && share(&source.file, &file) {
        // What is checked is the copy: nobody else can change that one meanwhile.
        let copy = File::open(&part).or_failed(|| format!("cannot read {}", part.display()))?;
        Watched { reader: Box::new(copy), copy: None, cancel: &options.cancel, failed: None }
    } else {
        durable::require_space(staging, source.size_bytes, "the snapshot")?;
        let unwritable = || format!("cannot write {}", part.display());
        let copy = file.try_clone().or_failed(unwritable)?;
        let early_sync = durable::EarlySync::of(&file).or_failed(unwritable)?;
        Watched { reader: source.reader(), copy: Some((copy, early_sync)), cancel: &options.cancel, failed: None }
    };
    let checked = check(&mut copy, genesis);
    // The check may stop early, but never well before the end.
    let rest = if checked.is_ok() { io::copy(&mut copy, &mut io::sink()) } else { Ok(0) };
    let text = copy.verdict(checked, rest, path, &part)?;
    durable::sync_file(&file, &part)?;
    durable::rename(&part, &target)?;
    Ok(text)
}

/// Gives a snapshot that already lies in the staging directory its mode and final name, if it is what the genesis pins.
pub(super) fn adopt(complete: &CompleteSnapshot, staging: &Path, mode: u32, genesis: &Genesis) -> Result<CheckedText> {
    if genesis.state_hash() != Some(complete.text().state_hash()) {
        return Err(Error::verify("the snapshot that was fetched is not the one that the genesis pins"));
    }
    let source = &staging.join(complete.file_name());
    let file = File::open(source).or_failed(|| format!("cannot read the snapshot {}", source.display()))?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .or_failed(|| format!("cannot set the mode of {}", source.display()))?;
    durable::sync_file(&file, source)?;
    let target = staging.join(GENESIS_STATE_FILE_NAME);
    if *source != target {
        durable::rename(source, &target)?;
    }
    Ok(complete.text())
}

/// A reader that copies what is read through it, and keeps the reason why it failed.
struct Watched<'a> {
    reader: Box<dyn Read>,
    copy: Option<(File, durable::EarlySync)>,
    cancel: &'a CancellationToken,
    failed: Option<Failure>,
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
    Cancelled,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            self.failed = Some(Failure::Cancelled);
            return Err(io::Error::other("interrupted"));
        }
        let count = match self.reader.read(buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                let told = io::Error::new(e.kind(), e.to_string());
                self.failed = Some(Failure::Read(e));
                return Err(told);
            }
        };
        if let Some((copy, early_sync)) = &mut self.copy {
            if let Err(e) = copy.write_all(&buffer[..count]) {
                self.failed = Some(Failure::Write(e));
                return Err(io::Error::other("cannot write the copy"));
            }
            early_sync.written(count);
        }
        Ok(count)
    }
}

impl Watched<'_> {
    /// The check's verdict, unless the disk or a signal is what really failed, or bytes follow the snapshot.
    fn verdict<T>(&mut self, checked: Result<T>, rest: io::Result<u64>, source: &Path, target: &Path) -> Result<T> {
        match self.failed.take() {
            Some(Failure::Cancelled) => Err(interrupted()),
            Some(Failure::Read(e)) => Err(unreadable(source, e)),
            Some(Failure::Write(e)) => Err(Error::failed(format!("cannot write {}", target.display()))
                .because(e)
                .hint("free some space or choose a root on another disk")),
            None => {
                let checked = checked?;
                match rest {
                    Ok(0) => Ok(checked),
                    Ok(count) => {
                        Err(Error::verify(format!("{count} bytes follow the snapshot in {}", source.display()))
                            .hint("the file was appended to: copy it again from where it came from"))
                    }
                    Err(e) => Err(unreadable(source, e)),
                }
            }
        }
    }
}

fn unreadable(source: &Path, e: io::Error) -> Error {
    Error::failed(format!("cannot read the snapshot {}", source.display()))
        .because(e)
        .hint("copy it again from where it came from, or look after the disk it lies on")
}
