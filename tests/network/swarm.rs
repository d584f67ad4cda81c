//! Real nodes on loopback: fetching, sharing, lying, strangers, other versions. No fixed ports, one outer time limit.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use regenesis::{
    base::{Blake3Hash, Error, Progress, Result, limits},
    manifest::{Layout, chunk_id},
    schedule::ChunkSet,
    store::{ArtifactFile, Contents, Disk, FileSystem, OpenDisk, Opened, Outcome, PrivateDirectory, Store, Writer},
    swarm::{self, Config, Content, Event, Handle, Identity, PeerTotal, Sink},
};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(60);
const CHUNK: usize = limits::CHUNK_SIZE_BYTES_MIN as usize;
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const SECRET: [u8; 32] = [42; 32];

/// A snapshot that is no snapshot, but has chunks.
struct World {
    genesis: Vec<u8>,
    snapshot: Vec<u8>,
    manifest: Arc<Vec<u8>>,
}

impl World {
    fn new(chunks: usize) -> Self {
        let mut state = 0x9e37_79b9_u64;
        let mut noise = |len: usize| {
            (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect::<Vec<u8>>()
        };
        World {
            genesis: noise(700),
            snapshot: noise(CHUNK * chunks - 9),
            manifest: Arc::new(b"what was signed".to_vec()),
        }
    }

    fn id(&self) -> Blake3Hash {
        Blake3Hash::from_bytes(*blake3::hash(self.manifest.as_slice()).as_bytes())
    }

    fn contents(&self) -> Contents {
        let files = [("genesis.json", &self.genesis), ("snapshot.sql.gz", &self.snapshot)]
            .map(|(name, data)| {
                let layout = Layout::new(data.len() as u64, limits::CHUNK_SIZE_BYTES_MIN).unwrap();
                let chunk_ids = layout
                    .indexes()
                    .map(|i| {
                        let at = layout.offset(i) as usize;
                        chunk_id(&layout, i, &data[at..at + layout.len(i)])
                    })
                    .collect();
                ArtifactFile { name: name.to_owned(), layout, chunk_ids }
            })
            .to_vec();
        Contents::new(self.id(), files)
    }

    fn write(&self, dir: &Path) {
        std::fs::write(dir.join("genesis.json"), &self.genesis).unwrap();
        std::fs::write(dir.join("snapshot.sql.gz"), &self.snapshot).unwrap();
    }

    fn config(&self, listen: &str, connect: &[String]) -> Config {
        Config {
            identity: Identity::generate(),
            manifest_id: self.id(),
            secret: Some(Zeroizing::new(SECRET)),
            listen: vec![listen.to_owned()],
            optional_listen: Vec::new(),
            external: Vec::new(),
            connect: connect.to_vec(),
            allow: Vec::new(),
            peers_max: 16,
        }
    }
}

/// Reads right while it is checked and wrong afterwards: one bit of every chunk.
struct LyingDisk(Arc<AtomicBool>);
struct LyingFile(Box<dyn Disk>, Arc<AtomicBool>);

impl OpenDisk for LyingDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(LyingFile(FileSystem.open(path)?, self.0.clone())))
    }
    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn Disk>> {
        FileSystem.create(path, size)
    }
}

impl Disk for LyingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buf, offset)?;
        if self.1.load(Ordering::SeqCst) && buf.len() > 1000 {
            buf[999] ^= 0x10;
        }
        Ok(())
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn stamp(&self) -> io::Result<(u64, SystemTime)> {
        self.0.stamp()
    }
}

struct Seed {
    handle: Handle,
    address: String,
    id: String,
    _dir: TempDir,
}

async fn listening(handle: &mut Handle) -> String {
    loop {
        match handle.event().await.expect("the node runs") {
            Event::Listening(address) => return address,
            _ => continue,
        }
    }
}

/// A seed that can be connected to and does not serve yet.
struct WaitingSeed {
    seed: Seed,
    store: Arc<Store>,
}

impl WaitingSeed {
    async fn begin(self, world: &World) -> Seed {
        let WaitingSeed { seed, store } = self;
        let have = ChunkSet::full(store.contents().chunk_count());
        let content = Content { store, have, manifest: world.manifest.clone(), sink: None };
        seed.handle.activate(content).await.unwrap();
        seed
    }
}

async fn waiting_seed_with(world: &World, config: Config, store: impl FnOnce(&Path) -> Store) -> WaitingSeed {
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let id = config.identity.peer_id();
    let store = Arc::new(store(dir.path()));
    let mut handle = swarm::start(config).await.unwrap();
    let address = listening(&mut handle).await;
    WaitingSeed { seed: Seed { handle, address, id, _dir: dir }, store }
}

async fn waiting_seed(world: &World, config: Config) -> WaitingSeed {
    let open = |dir: &Path| Store::open_complete(dir, world.contents()).unwrap();
    waiting_seed_with(world, config, open).await
}

async fn seed_with(world: &World, config: Config, store: impl FnOnce(&Path) -> Store) -> Seed {
    waiting_seed_with(world, config, store).await.begin(world).await
}

async fn seed(world: &World, config: Config) -> Seed {
    waiting_seed(world, config).await.begin(world).await
}

async fn liar(world: &World, config: Config) -> Seed {
    seed_with(world, config, |dir| {
        let lies = Arc::new(AtomicBool::new(false));
        let private = PrivateDirectory::lock(dir).unwrap();
        let Opened { store, have, .. } =
            Store::open(dir, &private, world.contents(), &LyingDisk(lies.clone()), &Progress::silent()).unwrap();
        assert!(have.is_full());
        lies.store(true, Ordering::SeqCst);
        Arc::into_inner(store).expect("ours alone")
    })
    .await
}

/// Everything a fetcher heard and got.
struct Fetched {
    warnings: Vec<String>,
    totals: Vec<PeerTotal>,
}

/// Fetches as the application does: manifest first, then the chunks; then stays until `stay` ends.
async fn fetch(world: &World, config: Config, dir: &Path, stay: impl Future<Output = ()>) -> Result<Fetched> {
    fetch_told(world, config, dir, stay, &Semaphore::new(0)).await
}

/// [`fetch`] that adds a permit for every session.
async fn fetch_told(
    world: &World,
    config: Config,
    dir: &Path,
    stay: impl Future<Output = ()>,
    sessions: &Semaphore,
) -> Result<Fetched> {
    let mut handle = swarm::start(config).await?;
    let mut warnings = Vec::new();
    let mut writer = None;
    loop {
        match handle.event().await.expect("the node runs") {
            Event::Manifest { peer, bytes } => {
                if Blake3Hash::from_bytes(*blake3::hash(&bytes).as_bytes()) != world.id() {
                    handle.blame(&peer, "it sent another manifest").await?;
                    continue;
                }
                let private = PrivateDirectory::lock(dir)?;
                let opened = Store::open(dir, &private, world.contents(), &FileSystem, &Progress::silent())?;
                let (store, have) = (opened.store.clone(), opened.have.clone());
                let (tx, outcomes) = tokio::sync::mpsc::channel::<Outcome>(64);
                let started = Writer::start(opened, tx)?;
                let sink = Some(Sink { buffers: started.buffers(), queue: started.queue(), outcomes });
                handle.activate(Content { store, have, manifest: Arc::new(bytes), sink }).await?;
                writer = Some((started, private));
            }
            Event::Warning(text) => warnings.push(text),
            Event::Note(text) if text.starts_with("connected to") => sessions.add_permits(1),
            Event::Failed(error) => return Err(error),
            Event::Unreachable(tried) => return Err(Error::gave_up(format!("{tried:?} {warnings:?}"))),
            Event::Complete => break,
            _ => {}
        }
    }
    let (started, _private) = writer.expect("activated");
    tokio::task::spawn_blocking(|| started.finish()).await.unwrap()?;
    stay.await;
    let totals = handle.stop().await;
    assert_eq!(std::fs::read(dir.join("genesis.json")).unwrap(), world.genesis);
    assert!(std::fs::read(dir.join("snapshot.sql.gz")).unwrap() == world.snapshot, "the snapshot differs");
    Ok(Fetched { warnings, totals })
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("in time")
}

async fn now() {}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetcher_gets_every_byte_over_tcp() {
    let world = World::new(40);
    let seed = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let got =
        within(fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    assert_eq!(got.totals.len(), 1);
    assert_eq!(got.totals[0].received_bytes, size, "each chunk comes once");
    assert_eq!(got.totals[0].peer, seed.id);
    let sent = seed.handle.stop().await;
    assert_eq!(sent[0].sent_bytes, size);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetcher_gets_every_byte_over_quic() {
    let world = World::new(20);
    let seed = seed(&world, world.config(QUIC, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    assert!(seed.address.contains("quic-v1"));
    within(fetch(&world, world.config(QUIC, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_fetchers_serve_each_other() {
    let world = Arc::new(World::new(200));
    let seed = waiting_seed(&world, world.config(TCP, &[])).await;
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let sessions = Arc::new(Semaphore::new(0));
    let mut fetchers = Vec::new();
    for _ in 0..3 {
        let (world, address, barrier, sessions) =
            (world.clone(), seed.seed.address.clone(), barrier.clone(), sessions.clone());
        fetchers.push(tokio::spawn(async move {
            let dir = tempfile::tempdir().unwrap();
            let stay = async {
                barrier.wait().await;
            };
            fetch_told(&world, world.config(TCP, &[address]), dir.path(), stay, &sessions).await.unwrap()
        }));
    }
    // All at once, and everyone knows everyone: what one has before the others come, they may fetch from the seed again.
    let everyone = within(sessions.acquire_many(3 * 3)).await.expect("open");
    drop(everyone);
    let seed = seed.begin(&world).await;
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    let mut sent_by_fetchers = 0;
    for fetcher in fetchers {
        // Every byte was compared there.
        let got = within(fetcher).await.unwrap();
        assert!(got.totals.len() > 1, "fetchers find each other through the seed: {:?}", got.totals);
        let received: u64 = got.totals.iter().map(|t| t.received_bytes).sum();
        assert!(received >= size, "{received} of {size} bytes came: {:?}", got.totals);
        sent_by_fetchers += got.totals.iter().map(|t| t.sent_bytes).sum::<u64>();
    }
    let sent: u64 = seed.handle.stop().await.iter().map(|t| t.sent_bytes).sum();
    // How many copies leave the seed is for the machine to decide here; the simulation holds the scheduler to it.
    assert!(sent >= size, "every chunk comes from the seed at first, but it sent {sent} of {size} bytes");
    assert!(sent_by_fetchers > 0, "the fetchers sent each other nothing");
    assert!(sent < size * 3, "a copy for each fetcher left the seed: {sent} bytes, {size} each");
    assert!(sent + sent_by_fetchers >= size * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_flips_one_bit_is_named_and_dropped_and_the_rest_comes_from_another() {
    let world = World::new(30);
    let honest = waiting_seed(&world, world.config(TCP, &[])).await;
    let honest_id = honest.seed.id.clone();
    let liar = liar(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let connect = [liar.address.clone(), honest.seed.address.clone()];
    let begin = async {
        // Were it faster than the liar, there would be no lie.
        while liar.handle.status().sent_bytes < CHUNK as u64 {
            tokio::task::yield_now().await;
        }
        honest.begin(&world).await
    };
    let (got, _honest) =
        within(async { tokio::join!(fetch(&world, world.config(TCP, &connect), dir.path(), now()), begin) }).await;
    let got = got.unwrap();
    let named = got.warnings.iter().find(|w| w.contains("wrong chunk")).expect("a warning");
    assert!(named.contains(&liar.id) && named.contains("banned"), "{named}");
    assert!(!got.warnings.iter().any(|w| w.contains(&honest_id)), "{:?}", got.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_the_secret_gets_nothing() {
    let world = World::new(4);
    let mut seed = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = world.config(TCP, std::slice::from_ref(&seed.address));
    config.secret = Some(Zeroizing::new([1; 32]));
    let mut stranger = swarm::start(config).await.unwrap();
    let warning = within(async {
        loop {
            match stranger.event().await.unwrap() {
                Event::Manifest { .. } => panic!("a stranger got the manifest"),
                Event::Warning(text) => return text,
                _ => {}
            }
        }
    })
    .await;
    assert!(warning.contains("wrong secret"), "{warning}");
    let told = within(async {
        loop {
            if let Event::Warning(text) = seed.handle.event().await.unwrap() {
                return text;
            }
        }
    })
    .await;
    assert!(told.contains("does not know this swarm's secret"), "{told}");
    assert!(stranger.stop().await.is_empty());
    assert!(seed.handle.stop().await.is_empty(), "no byte went to a stranger");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_ticket_has_its_own_sentence() {
    let (old, new) = (World::new(2), World { manifest: Arc::new(b"signed later".to_vec()), ..World::new(2) });
    let seed = seed(&new, new.config(TCP, &[])).await;
    let mut stale = swarm::start(old.config(TCP, std::slice::from_ref(&seed.address))).await.unwrap();
    let warning = within(async {
        loop {
            match stale.event().await.unwrap() {
                Event::Manifest { .. } => panic!("another swarm's manifest"),
                Event::Warning(text) => return text,
                _ => {}
            }
        }
    })
    .await;
    assert!(warning.contains("the ticket is stale"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_swarm_needs_no_secret() {
    let world = World::new(3);
    let public = |connect: &[String]| Config { secret: None, ..world.config(TCP, connect) };
    let seed = seed(&world, public(&[])).await;
    let dir = tempfile::tempdir().unwrap();
    within(fetch(&world, public(std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_peers_come_in() {
    let world = World::new(3);
    let friend = Identity::generate();
    let config = Config { allow: vec![friend.peer_id()], ..world.config(TCP, &[]) };
    let seed = seed(&world, config).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { identity: friend, ..world.config(TCP, std::slice::from_ref(&seed.address)) };
    within(fetch(&world, config, dir.path(), now())).await.unwrap();
    let mut other = swarm::start(world.config(TCP, std::slice::from_ref(&seed.address))).await.unwrap();
    within(async {
        loop {
            match other.event().await.unwrap() {
                Event::Manifest { .. } => panic!("not allowed, but served"),
                Event::Warning(_) | Event::Unreachable(_) => return,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_names_each_address_and_its_cause() {
    let world = World::new(2);
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", Identity::generate().peer_id());
    let dir = tempfile::tempdir().unwrap();
    let result = within(fetch(&world, world.config(TCP, std::slice::from_ref(&address)), dir.path(), now())).await;
    let Err(error) = result else { panic!("fetched from nobody") };
    let text = error.chain();
    assert!(text.contains(&address) && text.to_lowercase().contains("refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_vanishes_in_the_middle_is_replaced_by_another() {
    let world = World::new(200);
    let first = seed(&world, world.config(TCP, &[])).await;
    let second = seed(&world, world.config(TCP, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let config = world.config(TCP, &[first.address.clone(), second.address.clone()]);
    let vanish = async {
        // As soon as something has left the first one.
        while first.handle.status().sent_bytes == 0 {
            tokio::task::yield_now().await;
        }
        drop(first.handle);
    };
    let (got, ()) = within(async { tokio::join!(fetch(&world, config, dir.path(), now()), vanish) }).await;
    got.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_where_it_stopped() {
    let world = World::new(60);
    let dir = tempfile::tempdir().unwrap();
    // A first fetch that is cut off: half of the chunks are written by hand.
    {
        let private = PrivateDirectory::lock(dir.path()).unwrap();
        let opened = Store::open(dir.path(), &private, world.contents(), &FileSystem, &Progress::silent()).unwrap();
        let contents = world.contents();
        let (tx, mut outcomes) = tokio::sync::mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        for chunk in 1..31 {
            let (_, index) = contents.locate(chunk).unwrap();
            let layout = contents.files()[1].layout;
            let at = layout.offset(index) as usize;
            let data = world.snapshot[at..at + layout.len(index)].to_vec();
            let untrusted = regenesis::store::Untrusted { source: 0, chunk, data };
            writer.queue().send(untrusted).await.unwrap();
            outcomes.recv().await.unwrap();
        }
        tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
    }
    let seed = seed(&world, world.config(TCP, &[])).await;
    let got =
        within(fetch(&world, world.config(TCP, std::slice::from_ref(&seed.address)), dir.path(), now())).await.unwrap();
    let size = (world.genesis.len() + world.snapshot.len()) as u64;
    assert_eq!(got.totals[0].received_bytes, size - 30 * CHUNK as u64);
}
