use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use kwil_formats::formats::{config::database_settings, key::PrivateKey};
use sha2::{Digest, Sha256};

use super::*;
use crate::base::{Context, Kind};

const TEXT: &[u8] = b"CREATE SCHEMA kwild_voting;\nUPDATE something;\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn hash_of(text: &[u8]) -> Sha256Hash {
    Sha256Hash::from_bytes(Sha256::digest(text).into())
}

/// What the real check does for these tests: the hash of the gunzipped text.
fn check(file: &mut dyn Read, genesis: &Genesis) -> Result<CheckedText> {
    let mut text = Vec::new();
    MultiGzDecoder::new(std::io::BufReader::new(file)).read_to_end(&mut text).or_verify(|| "not a whole gzip file")?;
    let hash = hash_of(&text);
    if genesis.state_hash().is_none_or(|pinned| pinned == hash) {
        Ok(CheckedText::unchecked(hash))
    } else {
        Err(Error::verify("wrong state hash"))
    }
}

fn recording(family: Family, what: &str) -> PathBuf {
    let name = match (family, what) {
        (Family::V09, "genesis") => "v0.9/worlds/quartet/kwil-admin/genesis.json",
        (Family::V09, _) => "v0.9/worlds/quartet/keys/node0.private_key",
        (Family::V010, "genesis") => "v0.10/worlds/quartet/kwild-snapshot/genesis.json",
        (Family::V010, _) => "v0.10/worlds/quartet/nodekey.node0.json",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A directory with a genesis that pins `TEXT`, its snapshot and a key.
struct World {
    dir: tempfile::TempDir,
    family: Family,
}

impl World {
    fn new(family: Family) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut genesis = Genesis::parse(&fs::read(recording(family, "genesis")).unwrap()).unwrap();
        genesis.set_state_hash(hash_of(TEXT));
        fs::write(dir.path().join("genesis.json"), genesis.to_bytes()).unwrap();
        fs::write(dir.path().join("s.sql.gz"), gzip(TEXT)).unwrap();
        fs::copy(recording(family, "key"), dir.path().join("key")).unwrap();
        World { dir, family }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> InitOptions {
        InitOptions {
            root: self.path("root"),
            genesis: GenesisSource::File(self.path("genesis.json")),
            snapshot: Some(SnapshotSource::File(self.path("s.sql.gz"))),
            key: KeySource::File(self.path("key")),
            config: NodeConfig::default(),
            family: None,
            progress: Progress::silent(),
            cancel: CancellationToken::new(),
        }
    }

    fn key_name(&self) -> &'static str {
        key_file_name(self.family)
    }

    /// Fails, and the root is not there.
    fn refused(&self, options: &InitOptions) -> Error {
        let error = init(options, &check).unwrap_err();
        assert!(!options.root.join("genesis.json").exists(), "{error}");
        assert!(error.advice().is_some() || error.kind() == Kind::Verify, "{error:?}");
        error
    }
}

const FAMILIES: [Family; 2] = [Family::V09, Family::V010];

/// `mode path` of everything below a directory.
fn tree(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777;
            found.push(format!("{mode:o} {}", path.strip_prefix(root).unwrap().display()));
            if path.is_dir() {
                walk(&path, root, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort_by(|a, b| a[4..].cmp(&b[4..]));
    found
}

#[test]
fn a_root_is_as_kwils_own_command_leaves_it() {
    for family in FAMILIES {
        let world = World::new(family);
        let made = init(&world.options(), &check).unwrap();
        let root = world.path("root");
        let listing = match family {
            Family::V09 => include_str!("../../tests/data/v0.9/worlds/solo/restart/listing-after-init.txt"),
            Family::V010 => include_str!("../../tests/data/v0.10/restart/solo/root.after-init.tree.txt"),
        };
        let recorded: Vec<&str> =
            listing.lines().filter_map(|line| line.rsplit(' ').next()).filter(|n| !n.is_empty()).collect();
        let ours = tree(&root);
        let names: Vec<&str> = ours.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(names, recorded);
        // Recorded but for the unsafe ones: the key is private, the configuration no program.
        let key = format!("600 {}", world.key_name());
        let mut modes = vec!["644 config.toml", "644 genesis-state.sql.gz", "644 genesis.json", &key];
        if family == Family::V09 {
            modes.splice(0..0, ["755 abci", "755 abci/data"]);
        }
        assert_eq!(ours, modes);
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read(root.join("genesis-state.sql.gz")).unwrap(), gzip(TEXT));
        assert_eq!(fs::read(root.join("genesis.json")).unwrap(), fs::read(world.path("genesis.json")).unwrap());
        let config = fs::read_to_string(root.join("config.toml")).unwrap();
        let settings = database_settings(&config).unwrap();
        assert_eq!((settings.family, settings.genesis_state.as_str()), (family, "genesis-state.sql.gz"));
        let seat = made.validator.clone().unwrap();
        let total = if family == Family::V09 { 5 } else { 4 };
        assert_eq!((seat.power, seat.total_power, seat.leader), (1, total, family == Family::V010));
        assert_eq!(made.state_hash, Some(hash_of(TEXT)));
        assert!(made.to_string().contains(&made.node_id));
        // Nothing beside the root.
        assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 4);
    }
}

#[test]
fn flags_reach_the_config_and_a_password_makes_it_private() {
    let world = World::new(Family::V010);
    let mut options = world.options();
    options.config.flags = vec![("db.dbname".into(), "it's \\ \"ключ\"".into()), ("db.pass".into(), "p".into())];
    init(&options, &check).unwrap();
    let path = world.path("root/config.toml");
    let settings = database_settings(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(settings.dbname, "it's \\ \"ключ\"");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn roots_with_odd_names() {
    for name in ["it's", "a\"b", "a\\b", "a b", "ä 日本", "a\tb", "deep/er/root", ".hidden", "trailing/"] {
        let world = World::new(Family::V010);
        let mut options = world.options();
        options.root = world.dir.path().join(name);
        let made = init(&options, &check).unwrap();
        assert!(made.root.join("config.toml").exists(), "{name}");
        if name == "it's" {
            assert!(made.start_command().ends_with("/it'\\''s'"), "{}", made.start_command());
        }
    }
}

#[test]
fn plain_sql_is_compressed() {
    let world = World::new(Family::V09);
    fs::write(world.path("s.sql"), TEXT).unwrap();
    let mut options = world.options();
    options.snapshot = Some(SnapshotSource::File(world.path("s.sql")));
    init(&options, &check).unwrap();
    let mut text = Vec::new();
    MultiGzDecoder::new(fs::File::open(world.path("root/genesis-state.sql.gz")).unwrap())
        .read_to_end(&mut text)
        .unwrap();
    assert_eq!(text, TEXT);
}

#[test]
fn a_new_key_is_of_the_familys_kind() {
    for family in FAMILIES {
        let world = World::new(family);
        let mut options = world.options();
        options.key = KeySource::New;
        let made = init(&options, &check).unwrap();
        let bytes = fs::read(world.path("root").join(world.key_name())).unwrap();
        let (key, form) = PrivateKey::parse_file(&bytes).unwrap();
        assert_eq!((key.public(), form.family()), (made.public_key, family));
        assert_eq!(made.validator, None);
        assert!(made.to_string().contains("no validator"));
    }
}

#[test]
fn a_root_with_only_the_key_is_filled_and_the_key_made_private() {
    for family in FAMILIES {
        let world = World::new(family);
        let root = world.path("root");
        fs::create_dir(&root).unwrap();
        let key = root.join(world.key_name());
        fs::copy(world.path("key"), &key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(key_in_root(&root));
        let mut options = world.options();
        options.key = KeySource::InRoot;
        let before = fs::read(&key).unwrap();
        let made = init(&options, &check).unwrap();
        assert!(made.validator.is_some());
        assert_eq!(fs::read(&key).unwrap(), before);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(tree(&root).len(), if family == Family::V09 { 6 } else { 4 });
    }
}

#[test]
fn an_empty_root_is_filled() {
    let world = World::new(Family::V010);
    fs::create_dir(world.path("root")).unwrap();
    init(&world.options(), &check).unwrap();
    assert_eq!(tree(&world.path("root")).len(), 4);
}

#[test]
fn a_root_that_is_in_use_is_refused() {
    for (what, name) in [("a node", "config.toml"), ("a finished root", "genesis.json"), ("blocks", "blockstore")] {
        let world = World::new(Family::V010);
        fs::create_dir(world.path("root")).unwrap();
        fs::write(world.path("root").join(name), "precious").unwrap();
        let error = init(&world.options(), &check).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{what}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read(world.path("root").join(name)).unwrap(), b"precious");
    }
    let world = World::new(Family::V010);
    fs::write(world.path("root"), "a file").unwrap();
    assert_eq!(init(&world.options(), &check).unwrap_err().kind(), Kind::Refused);
    let world = World::new(Family::V010);
    std::os::unix::fs::symlink("/nowhere/at/all", world.path("root")).unwrap();
    assert_eq!(init(&world.options(), &check).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn what_does_not_fit_together_is_refused_before_anything_is_made() {
    for family in FAMILIES {
        let other = if family == Family::V09 { Family::V010 } else { Family::V09 };
        let world = World::new(family);
        let set = |change: &dyn Fn(&mut InitOptions)| {
            let mut options = world.options();
            change(&mut options);
            world.refused(&options)
        };
        let error = set(&|options| options.family = Some(other));
        assert_eq!((error.kind(), error.to_string().contains(&other.to_string())), (Kind::Refused, true), "{error}");
        let error = set(&|options| options.key = KeySource::File(recording(other, "key")));
        assert_eq!((error.kind(), error.to_string().contains("key file of")), (Kind::Refused, true), "{error}");
        let error = set(&|options| options.key = KeySource::File(world.path("none")));
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.key = KeySource::InRoot);
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.key = KeySource::File(world.path("s.sql.gz")));
        assert_eq!(error.kind(), Kind::Verify, "{error}");
        let error = set(&|options| options.genesis = GenesisSource::File(world.path("none")));
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.genesis = GenesisSource::File(world.path("s.sql.gz")));
        assert_eq!((error.kind(), error.to_string().contains("no JSON")), (Kind::Verify, true), "{error}");
        let error = set(&|options| options.genesis = GenesisSource::File(world.dir.path().to_owned()));
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.snapshot = None);
        assert_eq!((error.kind(), error.to_string().contains("none is given")), (Kind::Refused, true), "{error}");
        let error = set(&|options| options.snapshot = Some(SnapshotSource::File(world.path("none"))));
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.snapshot = Some(SnapshotSource::File(world.dir.path().to_owned())));
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        let error = set(&|options| options.config.flags = vec![("no.such_key".into(), "1".into())]);
        assert_eq!(error.kind(), Kind::Usage, "{error}");

        let mut genesis = Genesis::parse(&fs::read(world.path("genesis.json")).unwrap()).unwrap();
        match &mut genesis {
            Genesis::V09(genesis) => genesis.app_hash = None,
            Genesis::V010(genesis) => genesis.state_hash.clear(),
        }
        let error = set(&|options| options.genesis = GenesisSource::Bytes(genesis.to_bytes()));
        assert_eq!((error.kind(), error.to_string().contains("pins no state hash")), (Kind::Refused, true), "{error}");
        genesis.set_state_hash(hash_of(TEXT));
        genesis.set_initial_height(-1);
        let error = set(&|options| options.genesis = GenesisSource::Bytes(genesis.to_bytes()));
        assert_eq!((error.kind(), error.to_string().contains("initial_height")), (Kind::Refused, true), "{error}");
    }
}

#[test]
fn keys_in_the_root_are_never_replaced() {
    let world = World::new(Family::V010);
    let root = world.path("root");
    fs::create_dir(&root).unwrap();
    let mine = PrivateKey::from_seed(kwil_formats::formats::key::KeyType::Secp256k1, &[5; 32]).unwrap();
    let bytes = mine.to_file(Family::V010).unwrap();
    fs::write(root.join("nodekey.json"), &bytes).unwrap();
    for key in [KeySource::New, KeySource::File(world.path("key"))] {
        let mut options = world.options();
        options.key = key;
        assert_eq!(world.refused(&options).kind(), Kind::Refused);
        assert_eq!(fs::read(root.join("nodekey.json")).unwrap(), bytes.as_slice());
    }
    fs::rename(root.join("nodekey.json"), root.join("private_key")).unwrap();
    let error = world.refused(&world.options());
    assert!(error.to_string().contains("is a key of v0.9"), "{error}");
}

/// What was checked is what is written: nobody reads the source a second time.
#[test]
fn a_snapshot_is_read_once() {
    for plain in [false, true] {
        let world = World::new(Family::V010);
        let source = world.path("s.sql.gz");
        if plain {
            fs::write(&source, TEXT).unwrap();
        }
        let changing = |file: &mut dyn Read, genesis: &Genesis| {
            let text = check(file, genesis)?;
            fs::write(&source, "changed, now that it was read").unwrap();
            Ok(text)
        };
        init(&world.options(), &changing).unwrap();
        let file = fs::File::open(world.path("root/genesis-state.sql.gz")).unwrap();
        let mut text = Vec::new();
        MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
        assert_eq!(text, TEXT);
    }
}

/// Where blocks can be shared nothing is written, and what is checked is the copy.
#[test]
fn a_shared_snapshot_is_checked_in_its_place() {
    let world = World::new(Family::V010);
    let good = |mut from: &fs::File, mut to: &fs::File| {
        std::io::copy(&mut from, &mut to).unwrap();
        true
    };
    apply::init_sharing(&world.options(), &check, good).unwrap();
    assert_eq!(fs::read(world.path("root/genesis-state.sql.gz")).unwrap(), gzip(TEXT));
    // Somebody wrote to the source meanwhile: the copy has that, and it is found.
    let world = World::new(Family::V010);
    let other = |_: &fs::File, mut to: &fs::File| {
        to.write_all(&gzip(b"another text")).unwrap();
        true
    };
    let error = apply::init_sharing(&world.options(), &check, other).unwrap_err();
    assert_eq!((error.kind(), world.path("root").exists()), (Kind::Verify, false));
    // Plain SQL cannot be shared: it is compressed.
    let world = World::new(Family::V010);
    fs::write(world.path("s.sql.gz"), TEXT).unwrap();
    apply::init_sharing(&world.options(), &check, |_, _| panic!("plain SQL is shared")).unwrap();
}

/// A genesis of this family that is made with the root.
fn new_genesis(family: Family) -> GenesisSource {
    use kwil_formats::formats::genesis::Fresh;
    GenesisSource::New(NewGenesis::new(family, move |key, state_hash| {
        let mut fresh = Fresh::new(family, "fresh-1", "2026-11-22T13:21:22Z");
        fresh.validator(*key);
        fresh.state_hash = state_hash;
        Ok(fresh.build()?)
    }))
}

#[test]
fn a_new_genesis_pins_the_snapshot_and_seats_the_node() {
    for family in FAMILIES {
        for snapshot in [false, true] {
            let world = World::new(family);
            let mut options = world.options();
            options.genesis = new_genesis(family);
            options.key = KeySource::New;
            if !snapshot {
                options.snapshot = None;
            }
            let made = init(&options, &check).unwrap();
            let genesis = Genesis::parse(&fs::read(world.path("root/genesis.json")).unwrap()).unwrap();
            assert_eq!(genesis.state_hash(), snapshot.then(|| hash_of(TEXT)));
            assert_eq!(made.state_hash, genesis.state_hash());
            let seat = made.validator.clone().unwrap();
            assert_eq!((seat.power, seat.total_power, seat.leader), (1, 1, family == Family::V010));
            assert!(made.new_genesis && made.to_string().contains("give this very file to every other node"));
            let config = database_settings(&fs::read_to_string(world.path("root/config.toml")).unwrap()).unwrap();
            assert_eq!(config.genesis_state.is_empty(), !snapshot);
        }
        // What is no snapshot makes no genesis either.
        let world = World::new(family);
        let mut options = world.options();
        options.genesis = new_genesis(family);
        fs::write(world.path("s.sql.gz"), &gzip(TEXT)[..20]).unwrap();
        assert_eq!(world.refused(&options).kind(), Kind::Verify);
    }
}

#[test]
fn trufs_genesis_or_flag_makes_trufs_configuration() {
    let is_truf = |change: &dyn Fn(&World, &mut InitOptions)| {
        let world = World::new(Family::V010);
        let mut options = world.options();
        change(&world, &mut options);
        init(&options, &check).unwrap();
        fs::read_to_string(world.path("root/config.toml")).unwrap().contains("[block_sync]")
    };
    // TRUF's kwild takes upstream's keys, but not the other way round.
    assert!(!is_truf(&|_, _| {}));
    assert!(is_truf(&|_, options| options.config.truf = true));
    assert!(is_truf(&|_, options| options.config.flags = vec![("block_sync.idle_timeout".into(), "1s".into())]));
    assert!(is_truf(&|world, options| {
        let mut genesis = Genesis::parse(&fs::read(world.path("genesis.json")).unwrap()).unwrap();
        let Genesis::V010(inner) = &mut genesis else { panic!() };
        inner.maa_activation_height = 7;
        options.genesis = GenesisSource::Bytes(genesis.to_bytes());
    }));
}

#[test]
fn directories_that_a_failed_run_made_are_gone() {
    let world = World::new(Family::V010);
    fs::write(world.path("s.sql.gz"), gzip(b"another text")).unwrap();
    let mut options = world.options();
    options.root = world.path("deep/er/root");
    assert_eq!(world.refused(&options).kind(), Kind::Verify);
    assert!(!world.path("deep").exists());
    // But not those that were there.
    fs::create_dir(world.path("deep")).unwrap();
    assert_eq!(world.refused(&options).kind(), Kind::Verify);
    assert_eq!(fs::read_dir(world.path("deep")).unwrap().count(), 0);
}

#[test]
fn a_snapshot_that_is_not_the_pinned_one_leaves_nothing() {
    let truncated = gzip(TEXT)[..20].to_vec();
    let appended = [gzip(TEXT), b"more".to_vec()].concat();
    for bytes in [gzip(b"another text"), truncated, appended, b"plain, but another".to_vec(), Vec::new()] {
        let world = World::new(Family::V010);
        fs::write(world.path("s.sql.gz"), &bytes).unwrap();
        assert_eq!(world.refused(&world.options()).kind(), Kind::Verify);
        assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 3, "nothing but the world's own files");
        // The good file, then: what the failed run left is not in the way.
        fs::write(world.path("s.sql.gz"), gzip(TEXT)).unwrap();
        init(&world.options(), &check).unwrap();
        assert_eq!(tree(&world.path("root")).len(), 4);
    }
}

#[test]
fn a_check_that_stops_early_does_not_let_a_tail_through() {
    let world = World::new(Family::V010);
    let size = gzip(TEXT).len() as u64;
    fs::write(world.path("s.sql.gz"), [gzip(TEXT), b"tail".to_vec()].concat()).unwrap();
    let lazy = |file: &mut dyn Read, genesis: &Genesis| check(&mut file.take(size), genesis);
    let error = init(&world.options(), &lazy).unwrap_err();
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.to_string().contains("4 bytes follow"), "{error}");
}

#[test]
fn a_signal_leaves_no_root() {
    let world = World::new(Family::V010);
    let options = world.options();
    options.cancel.cancel();
    let error = init(&options, &check).unwrap_err();
    assert!(matches!(error.kind(), Kind::Interrupted(_)), "{error:?}");
    assert!(!options.root.exists());
}

#[test]
fn what_a_killed_run_left_is_recognised() {
    for family in FAMILIES {
        // Killed while staging beside a root that was not there.
        let world = World::new(family);
        let staging = staging_directory(&world.path("root")).unwrap();
        fs::create_dir(&staging).unwrap();
        for name in ["genesis.json", "genesis-state.sql.gz.part", ".lock", "junk"] {
            fs::write(staging.join(name), "half").unwrap();
        }
        fs::create_dir_all(staging.join("abci/data")).unwrap();
        init(&world.options(), &check).unwrap();
        assert!(!staging.exists());
        assert_eq!(tree(&world.path("root")).len(), if family == Family::V09 { 6 } else { 4 });

        // Killed while moving into a root that was there: all but the genesis had been moved.
        let world = World::new(family);
        let root = world.path("root");
        fs::create_dir(&root).unwrap();
        let staging = staging_directory(&root).unwrap();
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join("genesis.json"), "whole, but not moved yet").unwrap();
        fs::write(root.join("config.toml"), "old try").unwrap();
        fs::write(root.join("genesis-state.sql.gz"), "old try").unwrap();
        fs::create_dir_all(root.join("abci/data")).unwrap();
        if family == Family::V010 {
            fs::remove_dir_all(root.join("abci")).unwrap();
        }
        fs::copy(world.path("key"), root.join(world.key_name())).unwrap();
        let mut options = world.options();
        options.key = KeySource::InRoot;
        init(&options, &check).unwrap();
        assert_eq!(tree(&root).len(), if family == Family::V09 { 6 } else { 4 });
        assert_eq!(fs::read(root.join("genesis-state.sql.gz")).unwrap(), gzip(TEXT));
    }
}

#[test]
fn someone_elses_staging_is_not_touched() {
    let world = World::new(Family::V010);
    let staging = staging_directory(&world.path("root")).unwrap();
    fs::create_dir(&staging).unwrap();
    let held = crate::base::durable::Lock::acquire(&staging.join(".lock"), "x").unwrap();
    fs::write(staging.join("half"), "work of another process").unwrap();
    let error = init(&world.options(), &check).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(staging.join("half").exists());
    drop(held);
    fs::remove_dir_all(&staging).unwrap();
    std::os::unix::fs::symlink(world.dir.path(), &staging).unwrap();
    assert_eq!(init(&world.options(), &check).unwrap_err().kind(), Kind::Refused);
    assert!(world.path("genesis.json").exists());
}

#[test]
fn a_root_made_meanwhile_is_not_replaced() {
    let world = World::new(Family::V010);
    let options = world.options();
    let made = AtomicBool::new(false);
    let slow = |file: &mut dyn Read, genesis: &Genesis| {
        made.store(true, Ordering::SeqCst);
        fs::create_dir(&options.root).unwrap();
        check(file, genesis)
    };
    let error = init(&options, &slow).unwrap_err();
    assert!(made.load(Ordering::SeqCst));
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(fs::read_dir(&options.root).unwrap().count(), 0);
}

#[test]
fn a_snapshot_fetched_into_the_staging_directory_becomes_the_root() {
    for exists in [false, true] {
        for family in FAMILIES {
            let world = World::new(family);
            let root = world.path("root");
            if exists {
                fs::create_dir(&root).unwrap();
            }
            let staging = staging_directory(&root).unwrap();
            fs::create_dir_all(staging.join(".regenesis")).unwrap();
            fs::write(staging.join(".regenesis/journal"), "have").unwrap();
            fs::write(staging.join(family.snapshot_file_name()), gzip(TEXT)).unwrap();
            fs::copy(world.path("genesis.json"), staging.join("genesis.json")).unwrap();
            let mut options = world.options();
            options.snapshot = Some(SnapshotSource::Complete(CompleteSnapshot::new(
                family.snapshot_file_name(),
                CheckedText::unchecked(hash_of(TEXT)),
            )));
            options.genesis = GenesisSource::File(staging.join("genesis.json"));
            init(&options, &check).unwrap();
            assert!(!staging.exists());
            assert!(!root.join(family.snapshot_file_name()).exists() && root.join(".regenesis/journal").exists());
            assert_eq!(fs::read(root.join("genesis-state.sql.gz")).unwrap(), gzip(TEXT));
            assert_eq!(tree(&root).len(), if family == Family::V09 { 8 } else { 6 });
        }
    }
}

#[test]
fn another_snapshot_than_the_genesis_pins_is_not_adopted() {
    for family in FAMILIES {
        let world = World::new(family);
        let staging = staging_directory(&world.path("root")).unwrap();
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join("other.sql.gz"), gzip(b"another text")).unwrap();
        let mut options = world.options();
        let other = CheckedText::unchecked(hash_of(b"another text"));
        options.snapshot = Some(SnapshotSource::Complete(CompleteSnapshot::new("other.sql.gz", other)));
        let error = init(&options, &check).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify, "{}", error.chain());
        assert!(!world.path("root").exists() && staging.join("other.sql.gz").exists());
    }
}
