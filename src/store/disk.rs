//! The few file operations the store needs, so that tests can put a failing disk underneath.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

/// What tells that somebody wrote to a file, or put another one in its place. The time of change cannot be set back by
/// whoever edits a file; that of modification can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Length.
    pub size_bytes: u64,
    inode: u64,
    /// Some name leads to it: it was not removed, nor was another file given its only name.
    is_named: bool,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub fn of(data: &Metadata) -> Self {
        Stamp {
            size_bytes: data.len(),
            inode: data.ino(),
            is_named: data.nlink() > 0,
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// Whether it is the same file and of the same length, whatever was written to it since. Some network file systems number a file anew
    /// whenever it is looked up: there its times must do, which are the same for two files that were written at one moment.
    pub(super) fn is_same_file(&self, other: &Stamp) -> bool {
        let times = |stamp: &Stamp| (stamp.is_named, stamp.modified, stamp.changed);
        self.size_bytes == other.size_bytes && (self.inode == other.inode || times(self) == times(other))
    }

    /// The stamp of what is of that size and cannot be seen to change.
    pub(super) fn of_nothing_that_changes(size_bytes: u64) -> Self {
        Stamp { size_bytes, inode: 0, is_named: true, modified: (0, 0), changed: (0, 0) }
    }

    /// The stamp as bytes, for a digest over several stamps.
    pub(super) fn to_bytes(self) -> [u8; 48] {
        let mut out = [0; 48];
        let numbers = [self.size_bytes, self.inode].into_iter();
        let times = [self.modified.0, self.modified.1, self.changed.0, self.changed.1];
        let all = numbers.map(u64::to_le_bytes).chain(times.into_iter().map(i64::to_le_bytes));
        for (place, bytes) in out.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&bytes);
        }
        out
    }
}

/// A file of fixed size, read and written at places. Sync, because it is used on threads of its own.
pub trait Disk: Send + Sync {
    /// Fills `buf` from `offset`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Differs when someone has edited the file.
    fn stamp(&self) -> io::Result<Stamp>;
}

/// Opens files. The product has one of these; tests wrap it.
pub trait OpenDisk: Send + Sync {
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Disk>>;
    /// Opens or makes a file for reading and writing, of that size, its space taken.
    fn create(&self, path: &Path, size_bytes: u64) -> io::Result<Box<dyn Disk>>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl OpenDisk for FileSystem {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path)?))
    }

    fn create(&self, path: &Path, size_bytes: u64) -> io::Result<Box<dyn Disk>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A link planted under this name must not send our bytes elsewhere.
            .custom_flags(NO_FOLLOW)
            .open(path)?;
        if file.metadata()?.len() != size_bytes {
            file.set_len(size_bytes)?;
        }
        preallocate(&file, size_bytes)?;
        Ok(Box::new(file))
    }
}

const NO_FOLLOW: i32 = nix::fcntl::OFlag::O_NOFOLLOW.bits();

/// Takes the space now, so that a full disk shows before hours of fetching.
#[cfg(target_os = "linux")]
fn preallocate(file: &File, size_bytes: u64) -> io::Result<()> {
    use nix::{errno::Errno, fcntl::FallocateFlags};
    let Ok(len) = i64::try_from(size_bytes) else { return Err(io::ErrorKind::FileTooLarge.into()) };
    if len == 0 {
        return Ok(());
    }
    match nix::fcntl::fallocate(file.as_fd(), FallocateFlags::empty(), 0, len) {
        // Not every file system can; the length alone must do there.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn preallocate(_file: &File, _size_bytes: u64) -> io::Result<()> {
    Ok(())
}

impl Disk for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        crate::base::durable::sync_data(self)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.metadata()?))
    }
}
