//! Makes the root as planned: put it together in a staging directory, check the snapshot while it is copied, sync, then
//! give the final names.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kwil_formats::formats::{
    Family, GENESIS_FILE_NAME, GENESIS_STATE_FILE_NAME,
    config::{CONFIG_FILE_NAME, Config},
    genesis::Genesis,
};

use super::{
    CheckSnapshot, GenesisAtHand, GenesisSource, InitOptions, Initialised, NewGenesis, SnapshotSource,
    key::{self, NodeKey},
    key_file_name,
    node_config::Built,
    plan::{self, Plan, Way},
    snapshot,
};
use crate::{
    base::{Context, Error, Kind, Next, Result, durable},
    snapshot::CompleteSnapshot,
};

/// The lock in an unfinished root.
pub const STAGING_LOCK_NAME: &str = ".lock";
pub(super) const KEY_MODE: u32 = 0o600;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a root as [`InitOptions`] say; `check` is the snapshot's check.
///
/// # Errors
/// When anything is not as kwild needs it, or the place is taken; then nothing stands under the root's name that was not
/// there before.
pub fn init(options: &InitOptions, check: CheckSnapshot<'_>) -> Result<Initialised> {
    init_sharing(options, check, durable::share_blocks)
}

/// [`init`], where `share` says how a file's blocks are shared.
pub(super) fn init_sharing(
    options: &InitOptions,
    check: CheckSnapshot<'_>,
    share: snapshot::ShareBlocks,
) -> Result<Initialised> {
    let root = std::path::absolute(&options.root).or_failed(|| "cannot find the current directory")?;
    if root.to_str().is_none() {
        return Err(Error::usage(format!("the root {} has a name that is not UTF-8", root.display()))
            .hint("choose a name of letters that everybody can read; programs and messages have to name it"));
    }
    let plan = plan::plan(&root, plan::look(&root)?)?;

    // Everything that can be refused without touching the disk is refused first.
    let at_hand = options.genesis.read()?;
    let family = at_hand.family();
    if let Some(wanted) = options.family.filter(|wanted| *wanted != family) {
        return Err(Error::refused(format!("the genesis is of {family}, not of {wanted}"))
            .hint("a snapshot of one family cannot be loaded by the other: take the genesis that belongs to it"));
    }
    let key = key::load(&root, family, &options.key)?;
    let public_key = key.key.public();
    let (source, genesis) = match at_hand {
        GenesisAtHand::Read(bytes, genesis) => (Source::Bytes(bytes), *genesis),
        GenesisAtHand::New(new) => (Source::New(new), (new.make)(&public_key, None)?),
    };
    check_genesis(&genesis, options)?;
    // A wrong value is told before the snapshot is read.
    let Built { mut config, settings } = options.config.build(&genesis, &public_key)?;
    if options.snapshot.is_some() {
        config.set_genesis_state(GENESIS_STATE_FILE_NAME);
    }

    let in_place = matches!(options.snapshot, Some(SnapshotSource::Complete(_)));
    let new_above = plan::missing_above(&plan.staging);
    let undo = |staged: bool| {
        // What was fetched stays; what was copied is made anew.
        if staged && !in_place {
            let _ = remove_if_there(&plan.staging);
        }
        for directory in &new_above {
            let _ = fs::remove_dir(directory);
        }
    };
    let made = Staging::open(&plan, in_place).inspect_err(|_| undo(false))?;
    let plan = plan_under_lock(&root, &plan).inspect_err(|_| undo(true))?;
    let new_genesis = matches!(source, Source::New(_));
    let peers = config.peers();
    let parts = Parts { source, genesis, key: &key, config };
    let (genesis, snapshot) = parts.fill(&made.path, options, check, share).inspect_err(|_| undo(true))?;
    made.finish(&root, &plan)?;
    if key.file.is_none() {
        key::tighten(&root.join(key_file_name(family)), &options.progress);
    }

    Ok(Initialised {
        files: listing(&root)?,
        root,
        family,
        chain_id: genesis.chain_id().to_owned(),
        state_hash: genesis.state_hash(),
        node_id: public_key.node_id(family),
        validator: Initialised::seat(&genesis, &public_key)?,
        public_key,
        snapshot,
        new_genesis,
        peers,
        settings,
    })
}

/// Looks at the root's place again under the lock: another run may have made the root since the plan.
fn plan_under_lock(root: &Path, plan: &Plan) -> Result<Plan> {
    let now = plan::plan(root, plan::look(root)?)?;
    if now.staging == plan.staging {
        return Ok(now);
    }
    Err(Error::refused(format!("{} has just been made by someone else", root.display()))
        .hint("look at it, then try again"))
}

/// Where the genesis in [`Parts`] comes from.
enum Source<'a> {
    /// The operator's genesis, which has these bytes.
    Bytes(Vec<u8>),
    New(&'a NewGenesis),
}

/// What the root is put together of.
struct Parts<'a> {
    source: Source<'a>,
    genesis: Genesis,
    key: &'a NodeKey,
    config: Config,
}

impl Parts<'_> {
    /// Puts everything into the staging directory; gives back the
    /// genesis, which then pins the snapshot, and that snapshot.
    fn fill(
        mut self,
        staging: &Path,
        options: &InitOptions,
        check: CheckSnapshot<'_>,
        share: snapshot::ShareBlocks,
    ) -> Result<(Genesis, Option<CompleteSnapshot>)> {
        let family = self.genesis.family();
        let allowed = !durable::umask();
        let file_mode = FILE_MODE & allowed;
        let complete = match &options.snapshot {
            Some(SnapshotSource::File(source)) => {
                let text = snapshot::copy(source, staging, file_mode, &self.genesis, options, check, share)?;
                if let Source::New(new) = self.source {
                    self.genesis = (new.make)(&self.key.key.public(), Some(text.state_hash()))?;
                }
                Some(text)
            }
            Some(SnapshotSource::Complete(there)) => Some(snapshot::adopt(there, staging, file_mode, &self.genesis)?),
            None => None,
        };
        if family == Family::V09 {
            for directory in ["abci", "abci/data"] {
                durable::create_directory(&staging.join(directory), DIRECTORY_MODE)?;
            }
        }
        let path = staging.join(GENESIS_FILE_NAME);
        let given = match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::New(_) => None,
        };
        if given.is_some_and(|bytes| fs::read(&path).is_ok_and(|old| old == *bytes)) {
            fs::set_permissions(&path, fs::Permissions::from_mode(file_mode))
                .or_failed(|| format!("cannot set the mode of {}", path.display()))?;
        } else {
            // Kwil's v0.9 copies the bytes, its v0.10 writes them anew.
            let bytes = given.filter(|_| family == Family::V09).cloned().unwrap_or_else(|| self.genesis.to_bytes());
            write_synced(&path, &bytes, file_mode)?;
        }
        if let Some(bytes) = &self.key.file {
            write_synced(&staging.join(key_file_name(family)), bytes, KEY_MODE)?;
        }
        // A password in it is nobody else's business.
        let mode = if self.config.has_secret() { KEY_MODE } else { file_mode };
        write_synced(&staging.join(CONFIG_FILE_NAME), self.config.to_text().as_bytes(), mode)?;
        if options.cancel.is_cancelled() {
            return Err(interrupted());
        }
        Ok((self.genesis, complete.map(|text| CompleteSnapshot::new(GENESIS_STATE_FILE_NAME, text))))
    }
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    durable::write_atomically(path, bytes, mode).map_err(|e| e.hint("free some space or choose a root on another disk"))
}

fn check_genesis(genesis: &Genesis, options: &InitOptions) -> Result<()> {
    genesis.check()?;
    match (&options.snapshot, genesis.state_hash()) {
        // It will pin the snapshot.
        (Some(_), None) if matches!(options.genesis, GenesisSource::New(_)) => Ok(()),
        (Some(_), None) => Err(Error::refused(
            "the genesis pins no state hash: kwild would silently ignore the snapshot and start an empty chain",
        )
        .hint("take the genesis that was made with this snapshot, or write the hash into it")),
        (None, Some(hash)) => {
            Err(Error::refused(format!("the genesis pins the snapshot with state hash {hash}, but none is given"))
                .hint(Next::GiveSnapshot))
        }
        _ => Ok(()),
    }
}

/// The staging directory, which is being filled and locked, so that no other process fills it at the same time.
struct Staging {
    path: PathBuf,
    lock: durable::Lock,
}

impl Staging {
    fn open(plan: &Plan, keep: bool) -> Result<Self> {
        let path = plan.staging.clone();
        let parent = durable::parent(&path);
        let advise = |e: Error| e.hint("choose a root where this user may write, on a disk that can be written");
        durable::create_directory(parent, DIRECTORY_MODE).map_err(advise)?;
        if fs::symlink_metadata(&path).is_ok_and(|data| !data.is_dir()) {
            return Err(Error::refused(format!("{} is in the way and is no directory", path.display()))
                .hint("remove it, then try again"));
        }
        let fresh = !path.exists();
        durable::create_directory(&path, 0o700).map_err(advise)?;
        let what = format!("the unfinished root {}", path.display());
        let lock = durable::Lock::acquire(&path.join(STAGING_LOCK_NAME), &what).map_err(|e| {
            if e.kind() != Kind::Failed {
                return e;
            }
            // Nobody else's: whoever is at work has the lock.
            if fresh {
                let _ = remove_if_there(&path);
            }
            advise(e)
        })?;
        if !keep {
            // What a killed run left.
            for entry in fs::read_dir(&path).or_failed(|| format!("cannot read directory {}", path.display()))? {
                let entry = entry.or_failed(|| format!("cannot read directory {}", path.display()))?;
                if entry.file_name() != STAGING_LOCK_NAME {
                    remove_if_there(&entry.path())?;
                }
            }
        }
        Ok(Staging { path, lock })
    }

    /// Syncs everything and gives it its final name, in the way that the plan says.
    fn finish(self, root: &Path, plan: &Plan) -> Result<()> {
        for directory in ["abci/data", "abci", ""] {
            let directory = self.path.join(directory);
            if directory.is_dir() {
                durable::sync_directory(&directory)?;
            }
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(DIRECTORY_MODE & !durable::umask()))
            .or_failed(|| format!("cannot set the mode of {}", self.path.display()))?;
        // The lock goes last: without it another run would take these files for what a killed one left.
        match &plan.way {
            Way::Whole => {
                // Whoever made the root meanwhile keeps it: rename would replace an empty directory.
                if fs::symlink_metadata(root).is_ok() {
                    return Err(Error::refused(format!("{} has just been made by someone else", root.display()))
                        .hint("look at it, then try again"));
                }
                durable::rename(&self.path, root)?;
                remove_if_there(&root.join(STAGING_LOCK_NAME))?;
                durable::sync_directory(root)?;
            }
            Way::MoveIn { leftovers } => {
                for name in leftovers {
                    remove_if_there(&root.join(name))?;
                }
                for entry in fs::read_dir(&self.path).or_failed(|| format!("cannot read {}", self.path.display()))? {
                    let name = entry.or_failed(|| format!("cannot read {}", self.path.display()))?.file_name();
                    if name != GENESIS_FILE_NAME && name != STAGING_LOCK_NAME {
                        durable::rename(&self.path.join(&name), &root.join(&name))?;
                    }
                }
                durable::rename(&self.path.join(GENESIS_FILE_NAME), &root.join(GENESIS_FILE_NAME))?;
                // The root is complete. Another run may just have come to look into this directory, and takes it away.
                let _ = remove_if_there(&self.path);
                durable::sync_directory(root)?;
            }
        }
        drop(self.lock);
        Ok(())
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
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

pub(super) fn interrupted() -> Error {
    Error::interrupted("before the root was made").hint("run the same command again")
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
