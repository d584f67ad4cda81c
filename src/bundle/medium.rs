//! A directory that a stranger may have filled: only regular files in it are opened, by names of ours, and read with a bound.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use nix::fcntl::OFlag;

use super::seal::{DataKey, SEALED_NAME, Unseal};
use crate::base::{limits, text};

/// Names of a directory that are looked through for one in other letters.
const NAMES_MAX: usize = 1 << 20;
/// Characters of the longest name of ours.
const NAME_CHARS_MAX: usize = 32;

/// What is wrong with a file of a medium; it has words of its own, and the work goes on with other media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A directory that is read.
#[derive(Debug, Clone)]
pub struct Medium {
    directory: PathBuf,
    /// What was sealed on it, by name.
    sealed: Arc<BTreeMap<String, Vec<u8>>>,
    key: Option<DataKey>,
    /// Our names in other letters, as FAT may give them; looked for once, when one is not found as it is written.
    in_other_letters: OnceLock<BTreeMap<String, Vec<PathBuf>>>,
}

impl Medium {
    /// The directory, which must be there.
    ///
    /// # Errors
    /// When it is not, or is none.
    pub fn open(directory: &Path) -> Result<Self, Trouble> {
        let shown = directory.display();
        match fs::metadata(directory) {
            Err(e) => Err(Trouble(format!("cannot look at {shown}: {e}"))),
            Ok(data) if !data.is_dir() => Err(Trouble(format!("{shown} is not a directory"))),
            Ok(_) => Ok(Medium {
                directory: directory.to_owned(),
                sealed: Arc::default(),
                key: None,
                in_other_letters: OnceLock::new(),
            }),
        }
    }

    /// [`Medium::open`], and what is encrypted on it is opened with these keys.
    ///
    /// # Errors
    /// Also when they are none of its keys, or what is sealed was damaged.
    pub fn open_with(directory: &Path, keys: &Unseal) -> Result<Self, Trouble> {
        let medium = Medium::open(directory)?;
        let Some(sealed) = medium.read(SEALED_NAME, limits::BUNDLE_SEALED_SIZE_BYTES_MAX)? else { return Ok(medium) };
        let (key, files) = keys.open(&sealed).map_err(|e| Trouble(e.to_string()))?;
        Ok(Medium { sealed: files, key: Some(key), ..medium })
    }

    /// The key of its chunks, where it is encrypted.
    pub fn key(&self) -> Option<&DataKey> {
        self.key.as_ref()
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens a regular file of this name; `None` where there is none.
    ///
    /// # Errors
    /// When something else stands under the name, or it stands there twice in other letters.
    pub fn file(&self, name: &str) -> Result<Option<File>, Trouble> {
        self.path(name)?.map(|path| open_regular(&path, name)).transpose()
    }

    /// Where a file of this name is, whatever it is; `None` where there is none.
    ///
    /// # Errors
    /// When it stands there twice in other letters, or cannot be looked at.
    pub fn path(&self, name: &str) -> Result<Option<PathBuf>, Trouble> {
        let path = self.directory.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(Some(path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.other_letters(name),
            Err(e) => Err(Trouble(format!("cannot look at {name}: {e}"))),
        }
    }

    /// A whole small file; `None` where there is none. What is sealed goes before what stands beside it.
    ///
    /// # Errors
    /// As [`Medium::file`]; when it is larger than `max` or cannot be read.
    pub fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Trouble> {
        if let Some(bytes) = self.sealed.get(name) {
            return match bytes.len() <= max {
                true => Ok(Some(bytes.clone())),
                false => Err(Trouble(format!("{name} is larger than {}", text::bytes(max as u64)))),
            };
        }
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(max as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Trouble(format!("{name} cannot be read: {e}")))?;
        if bytes.len() > max {
            return Err(Trouble(format!("{name} is larger than {}", text::bytes(max as u64))));
        }
        Ok(Some(bytes))
    }

    /// The one path whose name differs from ours by capital letters only.
    fn other_letters(&self, name: &str) -> Result<Option<PathBuf>, Trouble> {
        let found = self.in_other_letters.get_or_init(|| {
            let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
            let entries = fs::read_dir(&self.directory).into_iter().flatten().take(NAMES_MAX);
            for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(name) = name.filter(|name| name.is_ascii() && name.len() <= NAME_CHARS_MAX) else { continue };
                let lower = name.to_ascii_lowercase();
                if lower != name {
                    found.entry(lower).or_default().push(path);
                }
            }
            found
        });
        match found.get(name).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([path]) => Ok(Some(path.clone())),
            Some(_) => Err(Trouble(format!("{name} stands there twice, in other letters"))),
        }
    }
}

/// Opens what must be a regular file, without waiting for anything and without following a link; `name` is what it is called.
///
/// # Errors
/// When it is something else, or cannot be opened.
pub fn open_regular(path: &Path, name: &str) -> Result<File, Trouble> {
    let cannot = |e: io::Error| Trouble(format!("{name} cannot be opened: {e}"));
    // Looked at first: opening a device may do something.
    require_regular(&fs::symlink_metadata(path).map_err(cannot)?, name)?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(cannot)?;
    require_regular(&file.metadata().map_err(cannot)?, name)?;
    Ok(file)
}

fn require_regular(data: &fs::Metadata, name: &str) -> Result<(), Trouble> {
    let kind = data.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Trouble(format!("{name} is {what}, not a file")))
}
