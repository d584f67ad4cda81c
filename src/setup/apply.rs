//! Makes the root as planned: stage, check while copying, sync, then the final names.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzEncoder};
use rand::{TryRngCore, rngs::OsRng};

use super::{
    CheckSnapshot, InitOptions, Initialised, KeySource, SnapshotSource, configuration, in_file, key_file_name,
    plan::{self, Plan, Way},
    read_limited,
};
use crate::{
    base::{Context, Error, Kind, Result, durable, limits, task::CancellationToken},
    kwil::{
        Family, GENESIS_FILE_NAME, GENESIS_STATE_FILE_NAME,
        config::CONFIG_FILE_NAME,
        genesis::Genesis,
        key::{KeyType, PrivateKey},
    },
};

const LOCK_FILE_NAME: &str = ".lock";
const KEY_MODE: u32 = 0o600;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a root.
///
/// # Errors
/// When anything is not as kwild needs it, or the place is taken; then nothing stands under the root's name that was not
/// there before.
pub fn init(options: &InitOptions, check: CheckSnapshot<'_>) -> Result<Initialised> {
    let root = std::path::absolute(&options.root).or_failed(|| "cannot find the current directory")?;
    let plan = plan::plan(&root, plan::look(&root)?)?;

    // Everything that can be refused without touching the disk is refused first.
    let (genesis_bytes, genesis) = options.genesis.read()?;
    let family = genesis.family();
    check_genesis(&genesis, options)?;
    // A wrong value is told before the snapshot is read.
    configuration(family, options)?;
    let key = load_key(&root, family, &options.key)?;

    let in_place = matches!(options.snapshot, Some(SnapshotSource::Verified(_)));
    let made = Staging::open(&plan, in_place)?;
    if let Err(error) = fill(&made.path, genesis_bytes, &genesis, &key, options, check) {
        // What was fetched stays; what was copied is made anew.
        if !in_place {
            let _ = remove(&made.path);
        }
        return Err(error);
    }
    made.finish(&root, &plan)?;
    if key.file.is_none() {
        tighten(&root.join(key_file_name(family)), options)?;
    }

    let public_key = key.key.public();
    Ok(Initialised {
        files: listing(&root)?,
        root,
        family,
        chain_id: genesis.chain_id().to_owned(),
        state_hash: genesis.state_hash(),
        node_id: public_key.node_id(family),
        validator: Initialised::seat(&genesis, &public_key)?,
        public_key,
    })
}

/// Puts everything into the staging directory.
fn fill(
    staging: &Path,
    genesis_bytes: Vec<u8>,
    genesis: &Genesis,
    key: &NodeKey,
    options: &InitOptions,
    check: CheckSnapshot<'_>,
) -> Result<()> {
    let family = genesis.family();
    let config = configuration(family, options)?;
    match &options.snapshot {
        Some(SnapshotSource::File(source)) => copy_snapshot(source, staging, genesis, options, check)?,
        Some(SnapshotSource::Verified(name)) => adopt_snapshot(&staging.join(name), staging)?,
        None => {}
    }
    if family == Family::V09 {
        for directory in ["abci", "abci/data"] {
            durable::create_directory(&staging.join(directory), DIRECTORY_MODE)?;
        }
    }
    let there = fs::read(staging.join(GENESIS_FILE_NAME)).is_ok_and(|bytes| bytes == genesis_bytes);
    if there {
        let path = staging.join(GENESIS_FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(FILE_MODE))
            .or_failed(|| format!("cannot set the mode of {}", path.display()))?;
    } else {
        // Kwil's v0.9 copies the bytes, its v0.10 writes them anew.
        let bytes = if family == Family::V09 { genesis_bytes } else { genesis.to_bytes() };
        durable::write_atomically(&staging.join(GENESIS_FILE_NAME), &bytes, FILE_MODE)?;
    }
    if let Some(bytes) = &key.file {
        durable::write_atomically(&staging.join(key_file_name(family)), bytes, KEY_MODE)?;
    }
    // A password in it is nobody else's business.
    let mode = if config.has_secret() { KEY_MODE } else { FILE_MODE };
    durable::write_atomically(&staging.join(CONFIG_FILE_NAME), config.to_text().as_bytes(), mode)?;
    if options.cancel.is_cancelled() {
        return Err(interrupted());
    }
    Ok(())
}

fn check_genesis(genesis: &Genesis, options: &InitOptions) -> Result<()> {
    let family = genesis.family();
    if let Some(wanted) = options.family.filter(|wanted| *wanted != family) {
        return Err(Error::refused(format!("the genesis is of {family}, not of {wanted}"))
            .hint("a snapshot of one family cannot be loaded by the other: take the genesis that belongs to it"));
    }
    genesis.check()?;
    match (&options.snapshot, genesis.state_hash()) {
        (Some(_), None) => Err(Error::refused(
            "the genesis pins no state hash: kwild would silently ignore the snapshot and start an empty chain",
        )
        .hint("take the genesis that was made with this snapshot, or write the hash into it")),
        (None, Some(hash)) => {
            Err(Error::refused(format!("the genesis pins the snapshot with state hash {hash}, but none is given"))
                .hint("give it with --genesis-state; kwild does not start without it"))
        }
        _ => Ok(()),
    }
}

struct NodeKey {
    key: PrivateKey,
    /// What to write; None when the file is already in the root.
    file: Option<zeroize::Zeroizing<Vec<u8>>>,
}

/// Says what is wrong with a node's key for a root of this family, before anything is made.
///
/// # Errors
/// When the key cannot be read, is of the other family, or the root holds another one.
pub fn check_key(root: &Path, family: Family, key: &KeySource) -> Result<()> {
    load_key(root, family, key).map(drop)
}

fn load_key(root: &Path, family: Family, source: &KeySource) -> Result<NodeKey> {
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
        .hint("choose a new root and give the right key with --key-file"));
    }
    let read = |path: &Path| -> Result<PrivateKey> {
        let bytes = zeroize::Zeroizing::new(read_limited(path, limits::KEY_FILE_SIZE_BYTES_MAX, "key")?);
        let (key, form) = PrivateKey::parse_file(&bytes).map_err(|e| in_file(path, e))?;
        if form.family() != family {
            let hint = match form.family() {
                Family::V09 => {
                    "v0.10 takes the same digits as {\"key\":\"DIGITS\",\"type\":\"ed25519\"}; a new key: `regenesis key gen -o FILE`"
                }
                Family::V010 => {
                    "v0.9 takes an ed25519 key as 128 hex digits; a new one: `regenesis key gen --family v0.9 -o FILE`"
                }
            };
            return Err(Error::refused(format!(
                "{} is a key file of {}, but the genesis is of {family}",
                path.display(),
                form.family()
            ))
            .hint(hint));
        }
        if family == Family::V09 && key.key_type() != KeyType::Ed25519 {
            return Err(crate::kwil::key::KeyError::FamilyCannotHold(key.key_type()).into());
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
                    .hint("leave --key-file out to use the one in the root, or choose another root"));
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

/// The directory being filled; another process cannot fill it at the same time.
struct Staging {
    path: PathBuf,
    lock: durable::Lock,
}

impl Staging {
    fn open(plan: &Plan, keep: bool) -> Result<Self> {
        let path = plan.staging.clone();
        let parent = durable::parent(&path);
        durable::create_directory(parent, DIRECTORY_MODE)?;
        if fs::symlink_metadata(&path).is_ok_and(|data| !data.is_dir()) {
            return Err(Error::refused(format!("{} is in the way and is no directory", path.display()))
                .hint("remove it, then try again"));
        }
        durable::create_directory(&path, 0o700)?;
        let lock =
            durable::Lock::acquire(&path.join(LOCK_FILE_NAME), &format!("the unfinished root {}", path.display()))?;
        if !keep {
            // What a killed run left.
            for entry in fs::read_dir(&path).or_failed(|| format!("cannot read directory {}", path.display()))? {
                let entry = entry.or_failed(|| format!("cannot read directory {}", path.display()))?;
                if entry.file_name() != LOCK_FILE_NAME {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(Staging { path, lock })
    }

    /// Syncs everything and gives it its final name.
    fn finish(self, root: &Path, plan: &Plan) -> Result<()> {
        for directory in ["abci/data", "abci", ""] {
            let directory = self.path.join(directory);
            if directory.is_dir() {
                durable::sync_directory(&directory)?;
            }
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(DIRECTORY_MODE))
            .or_failed(|| format!("cannot set the mode of {}", self.path.display()))?;
        remove(&self.path.join(LOCK_FILE_NAME))?;
        match &plan.way {
            Way::Whole => {
                // Whoever made the root meanwhile keeps it: rename would replace an empty directory.
                if fs::symlink_metadata(root).is_ok() {
                    return Err(Error::refused(format!("{} has just been made by someone else", root.display()))
                        .hint("look at it, then try again"));
                }
                durable::rename(&self.path, root)?;
            }
            Way::MoveIn { leftovers } => {
                for name in leftovers {
                    remove(&root.join(name))?;
                }
                for entry in fs::read_dir(&self.path).or_failed(|| format!("cannot read {}", self.path.display()))? {
                    let name = entry.or_failed(|| format!("cannot read {}", self.path.display()))?.file_name();
                    if name != GENESIS_FILE_NAME {
                        durable::rename(&self.path.join(&name), &root.join(&name))?;
                    }
                }
                durable::rename(&self.path.join(GENESIS_FILE_NAME), &root.join(GENESIS_FILE_NAME))?;
                remove(&self.path)?;
                durable::sync_directory(root)?;
            }
        }
        drop(self.lock);
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot remove {}", path.display())).because(e))
        }
        _ => Ok(()),
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted(2), "interrupted before the root was made").hint("run the same command again")
}

/// Opens the operator's snapshot; plain SQL comes out compressed, since kwild takes the name's word for it.
fn open_snapshot(source: &Path) -> Result<(Box<dyn Read>, u64)> {
    let unreadable = || format!("cannot read the snapshot {}", source.display());
    let hint = |e: Error| e.hint("check the path and that this user may read it");
    let mut file = File::open(source).or_failed(unreadable).map_err(hint)?;
    let data = file.metadata().or_failed(unreadable)?;
    if !data.is_file() {
        return Err(hint(Error::failed(format!("the snapshot {} is no file", source.display()))));
    }
    let mut magic = Vec::new();
    (&mut file).take(2).read_to_end(&mut magic).or_failed(unreadable)?;
    file.rewind().or_failed(unreadable)?;
    match magic.as_slice() {
        [] => Err(Error::verify(format!("the snapshot {} is empty", source.display()))
            .hint("copy it again from where it came from")),
        [0x1f, 0x8b] => Ok((Box::new(file), data.len())),
        _ => Ok((Box::new(GzEncoder::new(io::BufReader::new(file), Compression::default())), data.len())),
    }
}

/// One pass: each byte is checked and written.
fn copy_snapshot(
    source: &Path,
    staging: &Path,
    genesis: &Genesis,
    options: &InitOptions,
    check: CheckSnapshot<'_>,
) -> Result<()> {
    let (reader, size_bytes) = open_snapshot(source)?;
    durable::require_space(staging, size_bytes, "the snapshot")?;
    options.progress.step(format!("copying and checking {}", source.display()));
    let target = staging.join(GENESIS_STATE_FILE_NAME);
    let part = durable::part_path(&target);
    let file = durable::create_part(&part, FILE_MODE)?;
    let mut copy = Watched { reader, copy: Some(file), cancel: &options.cancel, failed: None };
    let checked = check(&mut copy, genesis);
    // The check may stop early, but never well before the end.
    let rest = if checked.is_ok() { io::copy(&mut copy, &mut io::sink()) } else { Ok(0) };
    copy.verdict(checked, rest, source, &part)?;
    durable::sync_file(copy.copy.as_ref().expect("made above"), &part)?;
    durable::rename(&part, &target)
}

/// The snapshot already lies in the staging directory and was checked by whoever put it there.
fn adopt_snapshot(source: &Path, staging: &Path) -> Result<()> {
    let file = File::open(source).or_failed(|| format!("cannot read the snapshot {}", source.display()))?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
        .or_failed(|| format!("cannot set the mode of {}", source.display()))?;
    durable::sync_file(&file, source)?;
    let target = staging.join(GENESIS_STATE_FILE_NAME);
    if source == target { Ok(()) } else { durable::rename(source, &target) }
}

/// A reader that copies what is read, and knows why it failed.
struct Watched<'a> {
    reader: Box<dyn Read>,
    copy: Option<File>,
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
        if let Some(copy) = &mut self.copy
            && let Err(e) = copy.write_all(&buffer[..count])
        {
            self.failed = Some(Failure::Write(e));
            return Err(io::Error::other("cannot write the copy"));
        }
        Ok(count)
    }
}

impl Watched<'_> {
    /// The check's word, unless the disk or a signal is what really failed.
    fn verdict(&mut self, checked: Result<()>, rest: io::Result<u64>, source: &Path, target: &Path) -> Result<()> {
        match self.failed.take() {
            Some(Failure::Cancelled) => Err(interrupted()),
            Some(Failure::Read(e)) => {
                Err(Error::failed(format!("cannot read the snapshot {}", source.display())).because(e))
            }
            Some(Failure::Write(e)) => Err(Error::failed(format!("cannot write {}", target.display()))
                .because(e)
                .hint("free some space or choose a root on another disk")),
            None => {
                checked?;
                match rest {
                    Ok(0) => Ok(()),
                    Ok(count) => {
                        Err(Error::verify(format!("{count} bytes follow the snapshot in {}", source.display()))
                            .hint("the file was appended to: copy it again from where it came from"))
                    }
                    Err(e) => Err(Error::failed(format!("cannot read the snapshot {}", source.display())).because(e)),
                }
            }
        }
    }
}

/// A key that was there before stays as it is, but not for others to read.
fn tighten(path: &Path, options: &InitOptions) -> Result<()> {
    let data = fs::metadata(path).or_failed(|| format!("cannot look at {}", path.display()))?;
    let mode = data.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(KEY_MODE))
            .or_failed(|| format!("cannot set the mode of {}", path.display()))?;
        options.progress.note(format!("{} was readable by others (mode {mode:o}); it is 600 now", path.display()));
    }
    Ok(())
}

fn listing(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).or_failed(|| format!("cannot read {}", root.display()))? {
        names.push(
            entry.or_failed(|| format!("cannot read {}", root.display()))?.file_name().to_string_lossy().into_owned(),
        );
    }
    names.sort();
    Ok(names)
}
