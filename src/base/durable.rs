//! The one place that makes files durable: temporary name in the same directory, write, sync, rename, sync the
//! directory. Nobody else calls rename or fsync.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use nix::fcntl::{Flock, FlockArg};

use super::{Context, Error, Result};

/// Suffix of a file that is not yet complete.
pub const PART_SUFFIX: &str = ".part";

/// Name of the directory, with mode 0700, beside files that are
/// served or fetched: identity, swarm secret, journal and lock.
pub const PRIVATE_DIRECTORY_NAME: &str = ".regenesis";
/// Name of the lock file in the private directory: one process works on a directory at a time.
pub const LOCK_FILE_NAME: &str = "lock";
/// Name of the file in the private directory with the swarm's secret: 32 bytes, mode 0600.
pub const SECRET_FILE_NAME: &str = "secret";

/// The path of an unfinished `path`: `FILE.part` beside `FILE`.
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART_SUFFIX);
    PathBuf::from(name)
}

/// Replaces `path` by `bytes` with the given mode: after a crash there is the old file or the new one, never a mixture.
///
/// # Errors
/// When the directory cannot be written or the disk is full; nothing is left under the final name.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_whole(path, bytes, |part| create_new(part, mode))
}

/// [`write_atomically`] onto a medium, whose file system may know no modes; the file is for whoever gets the medium.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_on_medium(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, |part| {
        remove_if_there(part)?;
        OpenOptions::new().write(true).create_new(true).open(part)
    })
}

fn write_whole(path: &Path, bytes: &[u8], create: impl FnOnce(&Path) -> io::Result<File>) -> Result<()> {
    let part = part_path(path);
    let written = (|| {
        let mut file = create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(e) = written {
        let _ = fs::remove_file(&part);
        return Err(Error::failed(format!("cannot write {}", path.display())).because(e));
    }
    rename(&part, path)
}

/// Creates a file anew with exactly this mode, so that it is
/// private from its first byte on. What stood there is removed.
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    // A left-over of a crash may have another mode or be a link: never write through it.
    remove_if_there(path)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Creates `path` anew for writing with exactly this mode, for a file that is renamed when it is complete.
pub fn create_part(path: &Path, mode: u32) -> Result<File> {
    create_new(path, mode).or_failed(|| format!("cannot create {}", path.display()))
}

/// Gives a complete, synced file or directory its final name and makes the name durable.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).or_failed(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    sync_directory(parent(to))
}

/// Waits until a file's bytes and length are on the disk; `path` is what an error calls the file.
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    sync_data(file).or_failed(|| format!("cannot sync {}", path.display()))
}

/// [`sync_file`] for callers that look at the system's error themselves.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Bytes that are written before the disk is asked to take them.
const EARLY_SYNC_BYTES: u64 = 64 << 20;

/// Lets the disk take a large file while it is still written, on a thread of its own, so that the last sync is short.
/// Whether all went well is for that last sync to say.
#[derive(Debug)]
pub struct EarlySync {
    full: SyncSender<()>,
    unsynced_bytes: u64,
}

impl EarlySync {
    /// Begins for a file that is about to be written.
    ///
    /// # Errors
    /// When the file's descriptor cannot be doubled, or the system gives no thread.
    pub fn of(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (full, to_sync) = sync_channel::<()>(1);
        thread::Builder::new().name("early-sync".to_owned()).spawn(move || {
            for () in to_sync {
                let _ = sync_data(&file);
            }
        })?;
        Ok(EarlySync { full, unsynced_bytes: 0 })
    }

    /// Says that this many bytes more were written; asks the disk to take them once they are many.
    pub fn written(&mut self, bytes: usize) {
        self.unsynced_bytes += bytes as u64;
        if self.unsynced_bytes >= EARLY_SYNC_BYTES && self.full.try_send(()).is_ok() {
            self.unsynced_bytes = 0;
        }
    }
}

/// Lets the system forget what it has in memory of a part of a file that was synced, so that the next reading asks the disk. An empty
/// part is the whole file.
pub fn forget_cached(file: &File, part: &Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        let place = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        // Where the system does not take the advice, its memory is read, which is no less than others do.
        let _ = nix::fcntl::posix_fadvise(file, place(part.start), place(part.end - part.start), advice);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, part);
}

/// Tells the system that a part of a file is read next, so that the disk gives it while something else is done.
pub fn read_ahead(file: &File, part: &Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_WILLNEED;
        let place = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let _ = nix::fcntl::posix_fadvise(file, place(part.start), place(part.end - part.start), advice);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, part);
}

/// Makes the names in a directory durable, by syncing the directory.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|d| d.sync_all()).or_failed(|| format!("cannot sync directory {}", path.display()))
}

/// The directory that holds `path`; `.` for a name without a directory.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Makes a directory and its parents, all that are missing with `mode`; does nothing where it is there.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .or_failed(|| format!("cannot make directory {}", path.display()))
}

/// The bits that this process's umask takes away from the mode of every new file.
#[allow(clippy::useless_conversion, reason = "a mode has 16 bits on other systems")]
pub fn umask() -> u32 {
    // Reading it by the system call changes it for a moment, for all threads.
    let told = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    told.unwrap_or_else(|| {
        let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        nix::sys::stat::umask(old);
        u32::from(old.bits())
    })
}

/// Lets `to`, an empty file, share the blocks of `from`, where the file system can do that: at once, and what is later
/// written to one of them does not show in the other. False: it cannot, and `to` is still empty.
pub fn share_blocks(from: &File, to: &File) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::ioctl_ficlone(to, from).is_ok();
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// An exclusive lock on a file, held until this is dropped. It ends with the process, also after `kill -9`.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock, or says at once that another process has it; `what` names for the message what is locked.
    ///
    /// # Errors
    /// [`super::Kind::Refused`] when another process holds it, with that process's id; when the file cannot be opened
    /// or locked.
    pub fn acquire(path: &Path, what: &str) -> Result<Self> {
        let file = Self::open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut locked) => {
                let pid = std::process::id().to_string();
                locked
                    .set_len(0)
                    .and_then(|()| locked.write_all(pid.as_bytes()))
                    .or_failed(|| "cannot write lock file")?;
                Ok(Lock { _file: locked })
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let holder = fs::read_to_string(path).unwrap_or_default();
                let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
                Err(Error::refused(format!("{what} is in use by {holder}"))
                    .hint("wait for it or stop it; two processes must not work on one directory"))
            }
            Err((_, errno)) => Err(Error::failed(format!("cannot lock {}", path.display())).because(errno)),
        }
    }

    /// Takes the lock, waiting until whoever has it lets go; for files that are held for an instant only.
    pub fn wait(path: &Path) -> Result<Self> {
        match Flock::lock(Self::open(path)?, FlockArg::LockExclusive) {
            Ok(locked) => Ok(Lock { _file: locked }),
            Err((_, errno)) => Err(Error::failed(format!("cannot lock {}", path.display())).because(errno)),
        }
    }

    /// The process that holds the lock, as the system tells it; `None`: nobody does, or the system does not say. Nothing is locked to
    /// find that out.
    pub fn holder(path: &Path) -> Option<u32> {
        let inode = fs::metadata(path).ok()?.ino();
        let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`: some file systems have another device there than a file's data tells.
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let holds = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(4).is_some_and(|word| *word == pid.to_string())
                && words.get(5).and_then(|word| word.rsplit(':').next()).is_some_and(|word| *word == inode.to_string())
        };
        locks.lines().any(holds).then_some(pid)
    }

    fn open(path: &Path) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .or_failed(|| format!("cannot open lock file {}", path.display()))
    }
}

/// Bytes that an ordinary user can still write on the file system of `path`, or of its nearest parent that exists.
pub fn free_space(path: &Path) -> Result<u64> {
    space(path).map(|(free, _)| free)
}

/// Free bytes, as [`free_space`] gives them, and the bytes in which the file system deals them out.
pub fn space(path: &Path) -> Result<(u64, u64)> {
    let mut existing = path;
    while !existing.exists() {
        existing = parent(existing);
    }
    let stat =
        nix::sys::statvfs::statvfs(existing).or_failed(|| format!("cannot read free space of {}", path.display()))?;
    // Field widths differ between platforms.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    let (blocks, size) = (stat.blocks_available() as u64, stat.fragment_size() as u64);
    Ok((blocks * size, size))
}

/// Fails when fewer than `needed` bytes are free where `path` is or will be; `what` names what needs them.
pub fn require_space(path: &Path, needed: u64, what: &str) -> Result<()> {
    let free = free_space(path)?;
    if free < needed {
        return Err(Error::failed(format!(
            "{what} needs {} in {}, but only {} are free",
            super::text::bytes(needed),
            path.display(),
            super::text::bytes(free)
        ))
        .hint("free some space or choose a directory on another disk"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_atomically_sets_mode_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "old").unwrap();
        write_atomically(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!part_path(&path).exists());
    }

    #[test]
    fn blocks_are_shared_or_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("from"), "text").unwrap();
        let from = File::open(dir.path().join("from")).unwrap();
        let to = File::create(dir.path().join("to")).unwrap();
        let expected = if share_blocks(&from, &to) { "text" } else { "" };
        assert_eq!(fs::read_to_string(dir.path().join("to")).unwrap(), expected);
        // Never from a file to one that cannot be written.
        assert!(!share_blocks(&to, &from));
    }

    #[test]
    fn the_umask_is_what_new_files_lack() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        OpenOptions::new().write(true).create_new(true).mode(0o777).open(&path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o777 & !umask());
    }

    #[test]
    fn write_atomically_does_not_follow_a_planted_link() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = dir.path().join("out");
        std::os::unix::fs::symlink(&victim, part_path(&path)).unwrap();
        write_atomically(&path, b"data", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn second_lock_is_refused_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, "directory x").unwrap();
        let refused = Lock::acquire(&path, "directory x").unwrap_err();
        assert_eq!(refused.kind(), crate::base::Kind::Refused);
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        Lock::acquire(&path, "directory x").unwrap();
    }

    #[test]
    fn more_than_the_disk_holds_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/yet/there");
        assert!(require_space(&path, u64::MAX, "the snapshot").is_err());
        require_space(&path, 1, "the snapshot").unwrap();
    }
}
