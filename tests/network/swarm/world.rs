//! A snapshot that is none, but has chunks; nodes of the library that serve and fetch it; disks that lie.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use regenesis::{
    base::{Blake3Hash, Error, Notice, Progress, Result, limits, task::CancellationToken},
    manifest::{ChunkSet, Layout, chunk_id},
    store::{
        ArtifactFile, Contents, Disk, FileSystem, OpenDisk, Opened, Outcome, PrivateDirectory, Stamp, Store, Writer,
    },
    swarm::{self, Allow, Charter, Config, Content, Event, Handle, Identity, PeerTotal, RateLimits, Sink},
};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::hostile::{self, Membership, wire};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const CHUNK: usize = limits::CHUNK_SIZE_BYTES_MIN as usize;
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const CHAIN_ID: &str = "kwil-2";
pub(crate) const SECRET: [u8; 32] = [42; 32];

/// A snapshot that is no snapshot, but has chunks.
pub(crate) struct World {
    pub(crate) genesis: Vec<u8>,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) manifest: Arc<Vec<u8>>,
    pub(crate) chunk_bytes: usize,
}

impl World {
    pub(crate) fn new(chunks: usize) -> Self {
        Self::of_chunks(chunks, CHUNK)
    }

    /// A world of so many chunks of so many bytes.
    pub(crate) fn of_chunks(chunks: usize, chunk_bytes: usize) -> Self {
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
            snapshot: noise(chunk_bytes * chunks - 9),
            manifest: Arc::new(b"what was signed".to_vec()),
            chunk_bytes,
        }
    }

    pub(crate) fn id(&self) -> Blake3Hash {
        Blake3Hash::from_bytes(*blake3::hash(self.manifest.as_slice()).as_bytes())
    }

    pub(crate) fn charter(&self) -> Charter {
        Charter { manifest: self.manifest.clone(), genesis: Arc::new(self.genesis.clone()) }
    }

    pub(crate) fn contents(&self) -> Contents {
        let files = [("genesis.json", &self.genesis), ("snapshot.sql.gz", &self.snapshot)]
            .map(|(name, data)| {
                let layout = Layout::new(data.len() as u64, self.chunk_bytes as u64).unwrap();
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

    pub(crate) fn write(&self, dir: &Path) {
        std::fs::write(dir.join("genesis.json"), &self.genesis).unwrap();
        std::fs::write(dir.join("snapshot.sql.gz"), &self.snapshot).unwrap();
    }

    pub(crate) fn config(&self, listen: &str, connect: &[String]) -> Config {
        Config {
            identity: Identity::generate(),
            manifest_id: self.id(),
            secret: Some(Zeroizing::new(SECRET)),
            listen: vec![listen.to_owned()],
            optional_listen: Vec::new(),
            external: Vec::new(),
            connect: connect.to_vec(),
            allow: Allow::default(),
            bindings: Vec::new(),
            new_chain_id: CHAIN_ID.to_owned(),
            peers_max: 16,
            relay_via: Vec::new(),
            lan: false,
            dht: None,
            rate_limits: RateLimits::default(),
        }
    }
}

impl Membership for World {
    fn manifest_id(&self) -> Blake3Hash {
        self.id()
    }

    fn secret(&self) -> [u8; 32] {
        SECRET
    }
}

/// Announces a chunk of the snapshot; `request` 0 answers none.
pub(crate) async fn offer(bulk: &mut libp2p::Stream, index: u32, request: u64) -> io::Result<()> {
    hostile::write(bulk, &wire::Offer { artifact: 1, index, size_bytes: CHUNK as u32, request }).await
}

/// Reads right while it is checked and wrong afterwards: one bit of every chunk.
pub(crate) struct LyingDisk(Arc<AtomicBool>);
pub(crate) struct LyingFile(Box<dyn Disk>, Arc<AtomicBool>);

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
    fn stamp(&self) -> io::Result<Stamp> {
        self.0.stamp()
    }
}

pub(crate) struct Seed {
    pub(crate) handle: Handle,
    pub(crate) address: String,
    pub(crate) id: String,
    pub(crate) _dir: TempDir,
}

pub(crate) async fn listening(handle: &mut Handle) -> String {
    loop {
        match handle.event().await.expect("the node runs") {
            Event::Listening(address) => return address,
            _ => continue,
        }
    }
}

/// A seed that can be connected to and does not serve yet.
pub(crate) struct WaitingSeed {
    pub(crate) seed: Seed,
    pub(crate) store: Arc<Store>,
}

impl WaitingSeed {
    pub(crate) async fn begin(self, world: &World) -> Seed {
        let WaitingSeed { seed, store } = self;
        let have = ChunkSet::full(store.contents().chunk_count());
        let content = Content { store, have, charter: world.charter(), sink: None };
        seed.handle.activate(content).await.unwrap();
        seed
    }
}

pub(crate) async fn waiting_seed_with(
    world: &World,
    config: Config,
    store: impl FnOnce(&Path) -> Store,
) -> WaitingSeed {
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let id = config.identity.peer_id();
    let store = Arc::new(store(dir.path()));
    let mut handle = swarm::start(config).await.unwrap();
    let address = listening(&mut handle).await;
    WaitingSeed { seed: Seed { handle, address, id, _dir: dir }, store }
}

pub(crate) async fn waiting_seed(world: &World, config: Config) -> WaitingSeed {
    let open = |dir: &Path| Store::open_complete(dir, world.contents()).unwrap();
    waiting_seed_with(world, config, open).await
}

pub(crate) async fn seed_with(world: &World, config: Config, store: impl FnOnce(&Path) -> Store) -> Seed {
    waiting_seed_with(world, config, store).await.begin(world).await
}

pub(crate) async fn seed(world: &World, config: Config) -> Seed {
    waiting_seed(world, config).await.begin(world).await
}

pub(crate) async fn liar(world: &World, config: Config) -> Seed {
    seed_with(world, config, |dir| {
        let lies = Arc::new(AtomicBool::new(false));
        let private = PrivateDirectory::lock(dir).unwrap();
        let Opened { store, have, .. } = Store::open(
            dir,
            &private,
            world.contents(),
            &LyingDisk(lies.clone()),
            &Progress::silent(),
            &CancellationToken::new(),
        )
        .unwrap();
        assert!(have.is_full());
        lies.store(true, Ordering::SeqCst);
        Arc::into_inner(store).expect("ours alone")
    })
    .await
}

/// Everything a fetcher heard and got.
pub(crate) struct Fetched {
    pub(crate) warnings: Vec<String>,
    pub(crate) totals: Vec<PeerTotal>,
}

/// Fetches as the application does: manifest first, then the chunks; then stays until `stay` ends.
pub(crate) async fn fetch(
    world: &World,
    config: Config,
    dir: &Path,
    stay: impl Future<Output = ()>,
) -> Result<Fetched> {
    fetch_told(world, config, dir, stay, &Semaphore::new(0)).await
}

/// [`fetch`] that adds a permit for every session.
pub(crate) async fn fetch_told(
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
            Event::Charter { peer, charter } => {
                if Blake3Hash::from_bytes(*blake3::hash(&charter.manifest).as_bytes()) != world.id() {
                    handle.blame(&peer, "it sent another manifest").await?;
                    continue;
                }
                let private = PrivateDirectory::lock(dir)?;
                let opened = open(world, dir, &private)?;
                let (store, have) = (opened.store.clone(), opened.have.clone());
                let (tx, outcomes) = tokio::sync::mpsc::channel::<Outcome>(64);
                let started = Writer::start(opened, tx)?;
                let sink = Some(Sink { buffers: started.buffers(), queue: started.queue(), outcomes });
                handle.activate(Content { store, have, charter, sink }).await?;
                writer = Some((started, private));
            }
            Event::Warning(notice) => warnings.push(notice.text),
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

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("in time")
}

pub(crate) async fn now() {}

/// The store of a directory that is filled.
pub(crate) fn open(world: &World, dir: &Path, private: &PrivateDirectory) -> Result<Opened> {
    Store::open(dir, private, world.contents(), &FileSystem, &Progress::silent(), &CancellationToken::new())
}

/// The first thing the node says that has these words in it.
pub(crate) async fn says(handle: &mut Handle, words: &[&str]) -> String {
    let mut heard = Vec::new();
    let said = async {
        loop {
            match handle.event().await.expect("the node runs") {
                Event::Note(text) | Event::Warning(Notice { text, .. }) => {
                    if words.iter().all(|word| text.contains(word)) {
                        return text;
                    }
                    heard.push(text);
                }
                _ => {}
            }
        }
    };
    match tokio::time::timeout(LIMIT, said).await {
        Ok(text) => text,
        Err(_) => panic!("nobody said {words:?}; said was {heard:#?}"),
    }
}

/// Waits for the manifest and begins to fetch; the fetch goes on as long as what is given back lives.
pub(crate) async fn start_fetch(world: &World, handle: &mut Handle, dir: &Path) -> (Writer, PrivateDirectory) {
    loop {
        if let Event::Charter { charter, .. } = handle.event().await.expect("the node runs") {
            let private = PrivateDirectory::lock(dir).unwrap();
            let opened = open(world, dir, &private).unwrap();
            let (store, have) = (opened.store.clone(), opened.have.clone());
            let (tx, outcomes) = tokio::sync::mpsc::channel(64);
            let writer = Writer::start(opened, tx).unwrap();
            let sink = Some(Sink { buffers: writer.buffers(), queue: writer.queue(), outcomes });
            handle.activate(Content { store, have, charter, sink }).await.unwrap();
            return (writer, private);
        }
    }
}
