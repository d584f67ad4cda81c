//! A look at a root that is there: facts for the machine check. Reads, changes nothing.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use kwil_formats::{
    formats::{
        Family, GENESIS_FILE_NAME, GENESIS_STATE_FILE_NAME,
        config::{self, CONFIG_FILE_NAME, DatabaseSettings, Overruled, StartSettings},
        genesis::Genesis,
        key::{PrivateKey, PublicKey},
    },
    judge::readiness::{Peers, Reach, Root, RootConfig, RootGenesis, RootKey, RootState},
};
use nix::unistd::{AccessFlags, access};
use zeroize::Zeroizing;

use super::{Initialised, key_file_name, read_config, read_genesis};
use crate::base::{Error, files::read_bounded, limits};

/// Bytes of a snapshot's text that are unpacked at most to see how well it is packed.
const SAMPLE_BYTES: u64 = 8 << 20;

/// What was seen in a node's root.
#[derive(Debug)]
pub struct Looked {
    /// The facts for the judgement whether the node can start.
    pub root: Root,
    /// The root's family, by its genesis, else by its config.toml; `None` where neither tells.
    pub family: Option<Family>,
    /// Whether the root is one of TRUF's fork of v0.10.
    pub truf: bool,
    /// Whether the root holds blocks, so that its node has started before.
    pub started: bool,
    /// Where the node's database is, by its config.toml; `None` where that cannot be read.
    pub database: Option<DatabaseSettings>,
    /// The settings on which the node's start depends; `None` where its config.toml cannot be read.
    pub start: Option<StartSettings>,
    /// Bytes of the text of the root's snapshot, estimated from its beginning; `None` where there is none to read.
    pub text_bytes: Option<u64>,
    /// Variables that stand in the place of its config.toml's keys.
    pub overruled: Vec<Overruled>,
    /// Its node and the others, where its genesis was read; nobody was dialled.
    pub peers: Option<Peers>,
}

/// Looks at a root of either family as kwild takes it in an environment; `variable` gives the value of one of its variables.
pub fn look(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Looked {
    let shown = path.display().to_string();
    let none = |why: String| Looked {
        root: Root::Bad { path: shown.clone(), why },
        family: None,
        truf: false,
        started: false,
        database: None,
        start: None,
        text_bytes: None,
        overruled: Vec::new(),
        peers: None,
    };
    match fs::metadata(path) {
        Ok(data) if !data.is_dir() => return none("it is no directory".to_owned()),
        Err(e) => return none(e.to_string()),
        Ok(_) => {}
    }
    if let Err(e) = fs::read_dir(path) {
        return none(format!("this user may not look into it ({e})"));
    }
    let ConfigSeen { config, database, start, overruled } = look_at_config(&path.join(CONFIG_FILE_NAME), variable);
    let genesis_path = path.join(GENESIS_FILE_NAME);
    let genesis =
        if genesis_path.exists() { Some(read_genesis(&genesis_path).map(|(_, genesis)| genesis)) } else { None };
    let read = genesis.as_ref().and_then(|read| read.as_ref().ok());
    let config_family = database.as_ref().map(|database| database.family);
    let family = read.map(Genesis::family).or(config_family);
    // Where the genesis is missing or of nobody knows which family, the key file's name still says it.
    let key_family = family
        .unwrap_or_else(|| if path.join(key_file_name(Family::V09)).exists() { Family::V09 } else { Family::V010 });
    let named = database.as_ref().map_or("", |database| database.genesis_state.as_str());
    let (state, text_bytes) = look_at_state(path, named);
    let key_path = database.as_ref().and_then(|database| database.private_key_path.as_deref());
    let (key, own) = look_at_key(&inside(path, key_path.unwrap_or(key_file_name(key_family))), key_family, read);
    let peers = read.map(|genesis| peers(genesis, own.as_ref(), start.as_ref()));
    let truf = start.as_ref().is_some_and(|start| start.truf)
        || matches!(read, Some(Genesis::V010(genesis)) if genesis.maa_activation_height != 0);
    Looked {
        root: Root::There {
            path: shown,
            writable: access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
            config,
            genesis: match &genesis {
                None => RootGenesis::Missing,
                Some(Err(e)) => RootGenesis::Bad(e.chain()),
                Some(Ok(genesis)) => RootGenesis::Good {
                    family: genesis.family(),
                    chain_id: genesis.chain_id().to_owned(),
                    state_hash: genesis.state_hash().map(|hash| hash.to_string()),
                    wrong: genesis.check().err().map(|e| Error::from(e).chain()),
                },
            },
            state,
            key,
        },
        family,
        truf,
        started: holds_blocks(path),
        database,
        start,
        text_bytes,
        overruled,
        peers,
    }
}

/// The other validators, and whom the node dials.
fn peers(genesis: &Genesis, own: Option<&PublicKey>, start: Option<&StartSettings>) -> Peers {
    let family = genesis.family();
    let own = own.map(|key| key.node_id(family));
    let others = genesis.validators().unwrap_or_default().into_iter().map(|validator| validator.key.node_id(family));
    let dials = start.map(|start| start.peers.dials.clone()).unwrap_or_default();
    Peers {
        others: others.filter(|id| Some(id) != own.as_ref()).collect(),
        dials: dials
            .into_iter()
            .filter(|peer| Some(peer.id()) != own.as_deref())
            .map(|peer| (peer, Reach::Untried))
            .collect(),
    }
}

/// A path that a config.toml names: `~/` is the home directory, other relative paths begin at the root.
pub(super) fn inside(root: &Path, named: &str) -> PathBuf {
    match named.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => root.join(named),
    }
}

/// What a config.toml says, with the environment.
struct ConfigSeen {
    config: RootConfig,
    database: Option<DatabaseSettings>,
    start: Option<StartSettings>,
    overruled: Vec<Overruled>,
}

fn look_at_config(path: &Path, variable: impl Fn(&str) -> Option<String>) -> ConfigSeen {
    let without = |config| ConfigSeen { config, database: None, start: None, overruled: Vec::new() };
    if !path.exists() {
        return without(RootConfig::Missing);
    }
    let bad = |why: String| without(RootConfig::Bad(why));
    let text = match read_config(path) {
        Ok(text) => text,
        Err(e) => return bad(e.chain()),
    };
    let read = config::with_environment(&text, variable).and_then(|(taken, overruled)| {
        let taken = Zeroizing::new(taken);
        // A password in the environment is none in the file.
        let mut start = StartSettings::parse(&taken)?;
        start.has_secret = StartSettings::parse(&text)?.has_secret;
        Ok((config::database_settings(&taken)?, start, overruled))
    });
    let (database, start, overruled) = match read {
        Ok(read) => read,
        Err(e) => return bad(e.to_string()),
    };
    let config = RootConfig::Good {
        family: database.family,
        mode: fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o7777),
        has_secret: start.has_secret,
        unknown: start.unknown.clone(),
    };
    ConfigSeen { config, database: Some(database), start: Some(start), overruled }
}

fn look_at_state(root: &Path, named: &str) -> (RootState, Option<u64>) {
    if named.is_empty() {
        return (RootState::NotNamed { lies_there: root.join(GENESIS_STATE_FILE_NAME).exists() }, None);
    }
    let path = inside(root, named);
    let shown = path.display().to_string();
    match sample_file(&path) {
        Ok((size_bytes, gzip, text_bytes)) => (RootState::File { path: shown, size_bytes, gzip }, text_bytes),
        Err(e) => (RootState::Bad { path: shown, why: e.to_string() }, None),
    }
}

/// The file's bytes, whether it is gzip, and about how many bytes its text has (`None` where it cannot be unpacked).
fn sample_file(path: &Path) -> std::io::Result<(u64, bool, Option<u64>)> {
    let mut file = File::open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut magic = Vec::new();
    (&mut file).take(2).read_to_end(&mut magic)?;
    let size_bytes = data.len();
    if size_bytes == 0 {
        return Err(std::io::Error::other("it is empty"));
    }
    if magic != [0x1f, 0x8b] {
        return Ok((size_bytes, false, Some(size_bytes)));
    }
    let mut packed = Counted { inner: File::open(path)?, count: 0 };
    let read = std::io::copy(&mut MultiGzDecoder::new(&mut packed).take(SAMPLE_BYTES), &mut std::io::sink());
    // What is wrong inside is for `snapshot verify`.
    let text_bytes = read.ok().filter(|_| packed.count > 0).map(|text| {
        if text < SAMPLE_BYTES {
            text
        } else {
            (u128::from(size_bytes) * u128::from(text) / u128::from(packed.count)).min(u128::from(u64::MAX)) as u64
        }
    });
    Ok((size_bytes, true, text_bytes))
}

struct Counted {
    inner: File,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

fn look_at_key(path: &Path, family: Family, genesis: Option<&Genesis>) -> (RootKey, Option<PublicKey>) {
    let shown = path.display().to_string();
    let bad = |why: String| (RootKey::Bad { path: shown.clone(), why }, None);
    if !path.exists() {
        return bad("there is no such file".to_owned());
    }
    let bytes = match read_bounded(path, limits::KEY_FILE_SIZE_BYTES_MAX, "key file") {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => return bad(e.chain()),
    };
    let key = match PrivateKey::parse_file(&bytes) {
        Ok((key, form)) if form.family() == family => key,
        Ok((_, form)) => return bad(format!("it is a key file of {}, not of {family}", form.family())),
        Err(e) => return bad(e.to_string()),
    };
    let seat = genesis.and_then(|genesis| Initialised::seat(genesis, &key.public()).ok().flatten());
    let good = RootKey::Good {
        mode: fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o7777),
        path: shown,
        seat: seat.map(|seat| {
            let part = if seat.leader { "the leader" } else { "a validator" };
            format!("{part} in the genesis, with power {} of {}", seat.power, seat.total_power)
        }),
    };
    (good, Some(key.public()))
}

/// Whether kwild has run on a root: both families keep their blocks in it.
pub fn holds_blocks(root: &Path) -> bool {
    ["blockstore", "abci/data"]
        .iter()
        .any(|name| fs::read_dir(root.join(name)).is_ok_and(|mut entries| entries.next().is_some()))
}
