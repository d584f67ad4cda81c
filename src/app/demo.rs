//! A whole migration on this machine: a throw-away Postgres with a recorded network, the lead and the other validators
//! as processes of their own on loopback, and a root for each in the end. Nothing is left running, and no file unless
//! asked for.

mod compare;
mod member;
mod world;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kwil_formats::formats::{Family, GENESIS_FILE_NAME, config::PeerAddress, genesis::Genesis, key::PrivateKey};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use self::{
    compare::Root,
    member::{Guardian, Member, Talk},
    world::World,
};
use crate::{
    base::{
        Context, Error, Next, Progress, Result, Sha256Hash, clock, durable,
        task::CancellationToken,
        text::{self, megabytes_per_second},
    },
    database::scratch::{Scratch, ScratchOptions},
    setup::{key_file_name, start_command},
};

/// The fewest validators of a demo: the lead and one that fetches from it.
pub const VALIDATORS_MIN: usize = 2;
/// The most validators of a demo. The recorded networks have four; those beyond are nodes that follow.
pub const VALIDATORS_MAX: usize = 16;

/// The name of the old network's database in the throw-away Postgres.
const OLD_DATABASE: &str = "kwild";
/// The name of an empty database there, which stands for each new node's own.
const NEW_DATABASE: &str = "kwild_new";
/// How long a validator waits for a byte before it gives up, as `--timeout` takes it.
const FETCH_TIMEOUT: &str = "5m";

/// What the demo is asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The number of processes in the swarm, the lead included.
    pub validators: usize,
    /// How many bytes the compressed snapshot shall have, about, for which rows are added; `None` adds none.
    pub size_bytes: Option<u64>,
    /// The families whose recorded networks are moved, in this order.
    pub families: Vec<Family>,
    /// The directory in which all files stay to be looked at; `None`: they are removed.
    pub keep: Option<PathBuf>,
}

/// What a demo did.
#[derive(Debug, Clone, Serialize)]
pub struct Demonstration {
    /// The migrations, one for each family.
    pub families: Vec<Migration>,
    /// Seconds until everything was done.
    pub seconds: f64,
    /// The directory of the files; `None` where they were removed.
    pub kept: Option<PathBuf>,
}

/// What the move of one network came to.
#[derive(Debug, Clone, Serialize)]
pub struct Migration {
    /// The network's family.
    pub family: Family,
    /// The chain id of the recorded network.
    pub old_chain_id: String,
    /// The chain id of the new network.
    pub chain_id: String,
    /// The snapshot's state hash (SHA-256 of the uncompressed text), the same for everyone.
    pub state_hash: Sha256Hash,
    /// Bytes of the genesis and the compressed snapshot, which every validator but the lead fetched.
    pub bytes: u64,
    /// Seconds from the start of the first process to the last root.
    pub seconds: f64,
    /// What each validator has in the end, the lead first.
    pub validators: Vec<DemoValidator>,
}

/// What one validator has in the end.
#[derive(Debug, Clone, Serialize)]
pub struct DemoValidator {
    /// The validator's name, such as `validator 2`.
    pub who: String,
    /// Whether it is the lead, who published.
    pub lead: bool,
    /// Seconds: of the lead until it served, of the others until the root was complete.
    pub seconds: f64,
    /// Bytes that came from peers.
    pub received_bytes: u64,
    /// The rate of the fetch in megabytes (10^6 bytes) a second; null for the lead.
    pub megabytes_per_second: Option<f64>,
    /// The number of peers that gave something; 0 for the lead.
    pub sources: usize,
    /// The state hash that this validator's own check gave.
    pub state_hash: Sha256Hash,
    /// The node's root.
    pub root: PathBuf,
    /// The node id by which peers name the node.
    pub node_id: String,
    /// The exact command that would start the node.
    pub next: String,
}

/// Runs the demo.
///
/// # Errors
/// When there is no Postgres, a process fails, or hashes or roots are not equal. Nothing is left running then either.
pub async fn run(options: DemoOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Demonstration> {
    if !(VALIDATORS_MIN..=VALIDATORS_MAX).contains(&options.validators) {
        return Err(Error::usage(format!("the demo takes {VALIDATORS_MIN} to {VALIDATORS_MAX} validators")));
    }
    let began = clock::now();
    let place = Place::new(options.keep.as_deref())?;
    let mut families = Vec::new();
    for family in &options.families {
        let directory = place.path().join(family.to_string());
        durable::create_directory(&directory, 0o700)?;
        let mut migrating = Migrating {
            world: world::world(*family),
            directory,
            talk: Talk::new(progress.clone()),
            progress: progress.clone(),
            members: Vec::new(),
        };
        let done = migrating.run(&options, cancel).await;
        families.push(done?);
    }
    let kept = place.close()?;
    Ok(Demonstration { families, seconds: clock::now().duration_since(began).as_secs_f64(), kept })
}

/// Where the demo's files are.
#[derive(Debug)]
enum Place {
    Kept(PathBuf),
    Temporary {
        directory: TempDir,
        /// Removes the directory should this process be killed.
        _guardian: Guardian,
    },
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(keep) = keep else {
            let what = || format!("cannot make a directory in {}", std::env::temp_dir().display());
            let directory = tempfile::Builder::new().prefix("regenesis-demo-").tempdir().or_failed(what)?;
            let _guardian = Guardian::of_directory(directory.path())?;
            return Ok(Place::Temporary { directory, _guardian });
        };
        let keep = std::path::absolute(keep).or_failed(|| "cannot find the current directory")?;
        durable::create_directory(&keep, 0o700)?;
        let what = || format!("cannot read {}", keep.display());
        if fs::read_dir(&keep).or_failed(what)?.next().is_some() {
            return Err(Error::refused(format!("{} is not empty", keep.display())).hint(Next::KeepNewDirectory));
        }
        Ok(Place::Kept(keep))
    }

    fn path(&self) -> &Path {
        match self {
            Place::Kept(path) => path,
            Place::Temporary { directory, .. } => directory.path(),
        }
    }

    fn close(self) -> Result<Option<PathBuf>> {
        match self {
            Place::Kept(path) => Ok(Some(path)),
            Place::Temporary { directory, .. } => {
                directory.close().or_failed(|| "cannot remove the demo's temporary directory")?;
                Ok(None)
            }
        }
    }
}

/// What is read of `publish`'s result.
#[derive(Debug, Deserialize)]
struct Published {
    ticket: String,
}

/// What is read of `setup init`'s result.
#[derive(Debug, Deserialize)]
struct Initialised {
    root: PathBuf,
    chain_id: String,
    state_hash: Sha256Hash,
    node_id: String,
}

/// What is read of `join`'s result.
#[derive(Debug, Deserialize)]
struct Joined {
    root: PathBuf,
    state_hash: Sha256Hash,
    node_id: String,
    bytes: u64,
    received_bytes: u64,
    fetch_seconds: f64,
    seconds: f64,
    sources: usize,
    next: Vec<String>,
}

/// One family's migration, and the processes that it has started.
#[derive(Debug)]
struct Migrating {
    world: World,
    directory: PathBuf,
    talk: Talk,
    progress: Progress,
    members: Vec<Member>,
}

impl Migrating {
    async fn run(&mut self, options: &DemoOptions, cancel: &CancellationToken) -> Result<Migration> {
        let old_chain_id = Genesis::parse(self.world.genesis)?.chain_id().to_owned();
        // A server that is half made is not left alone: this part ends by itself.
        let scratch = self.old_network(&old_chain_id, options.size_bytes, cancel).await?;
        let done = tokio::select! {
            done = self.migrate(options, old_chain_id, &scratch) => done,
            () = cancel.cancelled() => Err(interrupted()),
        };
        // The processes go before the server that they use.
        let stopped = self.stop().await;
        let gone = match Arc::try_unwrap(scratch) {
            Ok(scratch) => blocking(move || scratch.stop()).await,
            Err(_) => Ok(()),
        };
        let done = done?;
        stopped.and(gone).map(|()| done)
    }

    async fn migrate(&mut self, options: &DemoOptions, old_chain_id: String, scratch: &Scratch) -> Result<Migration> {
        let family = self.world.family;
        let genesis = self.directory.join("old-genesis.json");
        durable::write_atomically(&genesis, self.world.genesis, 0o644)?;
        let began = clock::now();

        let lead = self.name(0);
        self.progress.step(format!(
            "{family}: {lead} takes a snapshot of its database, signs the manifest and serves (as `publish` does)"
        ));
        let key = self.key(0)?;
        let snapdir = self.home(0)?.join("network_snapshot");
        let mut publish = arguments(["publish", "--dbname", OLD_DATABASE, "--host", "127.0.0.1", "--user", "postgres"]);
        publish.extend(arguments(["--port", &scratch.port().to_string(), "--listen", "/ip4/127.0.0.1/tcp/0"]));
        for (flag, path) in [("--genesis", &genesis), ("--key", &key), ("--snapdir", &snapdir)] {
            publish.extend([flag.into(), path.into()]);
        }
        publish.extend(["--state-dir".into(), self.home(0)?.join("state").into()]);
        if options.validators < self.world.keys.len() {
            // Those who are not here cannot confirm anything.
            publish.extend(arguments(["--attestations", &options.validators.to_string()]));
        }
        // The recordings have no old root, whose config.toml would say it.
        for number in 0..options.validators.min(self.world.keys.len()) {
            publish.extend(["--node-address".into(), self.node_address(number)?.into()]);
        }
        let Published { ticket } = self.start(0, &publish, true)?.result().await?;
        let published_seconds = clock::now().duration_since(began).as_secs_f64();

        let others = options.validators - 1;
        self.progress.step(format!(
            "{family}: {} at once fetch from the lead and from each other, check, and set their roots up (as `join` does)",
            text::count(others as u64, "more validator")
        ));
        for number in 1..options.validators {
            let mut join = arguments(["join", &ticket, "--linger", "1h", "--timeout", FETCH_TIMEOUT]);
            join.extend(arguments(["--listen", "/ip4/127.0.0.1/tcp/0", "--root-dir"]));
            join.extend([self.root(number)?.into(), "--state-dir".into(), self.home(number)?.join("state").into()]);
            match number < self.world.keys.len() {
                true => {
                    join.extend(["--key-file".into(), self.key(number)?.into()]);
                    join.extend(arguments(["--old-dbname", OLD_DATABASE, "--old-host", "127.0.0.1"]));
                    join.extend(arguments(["--old-port", &scratch.port().to_string(), "--old-user", "postgres"]));
                }
                false => join.extend(arguments(["--new-key", "--follow"])),
            }
            join.extend(self.configuration(number, scratch));
            // One of them speaks for all: they do the same at the same time.
            self.start(number, &join, number == 1)?;
        }
        let mut joined: Vec<Joined> = Vec::new();
        for number in 1..options.validators {
            joined.push(self.members[number].result().await?);
        }
        self.talk.fetched();

        self.progress.step(format!("{family}: {lead} sets its own root up from its own files (as `setup init` does)"));
        let own = self.lead_root(&key, &snapdir, scratch).await?;
        let seconds = clock::now().duration_since(began).as_secs_f64();

        self.progress.step(format!("{family}: comparing state hashes and roots"));
        self.check(&own, &joined)?;
        let mut validators = vec![DemoValidator {
            who: lead,
            lead: true,
            seconds: published_seconds,
            received_bytes: 0,
            megabytes_per_second: None,
            sources: 0,
            state_hash: own.state_hash,
            next: start_command(family, &own.root),
            root: own.root,
            node_id: own.node_id,
        }];
        let bytes = joined.first().map_or(0, |one| one.bytes);
        for (index, one) in joined.into_iter().enumerate() {
            validators.push(DemoValidator {
                who: self.name(index + 1),
                lead: false,
                seconds: one.seconds,
                received_bytes: one.received_bytes,
                megabytes_per_second: Some(megabytes_per_second(one.received_bytes, one.fetch_seconds)),
                sources: one.sources,
                state_hash: one.state_hash,
                next: one.next.last().cloned().unwrap_or_else(|| start_command(family, &one.root)),
                root: one.root,
                node_id: one.node_id,
            });
        }
        let state_hash = own.state_hash;
        Ok(Migration { family, old_chain_id, chain_id: own.chain_id, state_hash, bytes, seconds, validators })
    }

    /// The recorded network's database in a Postgres of our own, grown if that was asked for.
    async fn old_network(
        &self,
        chain_id: &str,
        size_bytes: Option<u64>,
        cancel: &CancellationToken,
    ) -> Result<Arc<Scratch>> {
        let (family, progress) = (self.world.family, self.progress.clone());
        progress.step(format!("{family}: starting a throw-away Postgres with the recorded network {chain_id}"));
        let dump = self.world.database;
        let scratch = blocking(move || {
            let scratch = Scratch::start(ScratchOptions::default())?;
            scratch.load(OLD_DATABASE, dump)?;
            scratch.create_database(NEW_DATABASE)?;
            Ok(Arc::new(scratch))
        })
        .await?;
        let Some(size_bytes) = size_bytes else { return Ok(scratch) };
        // Postgres holds the data, its log, and the snapshots of everyone.
        durable::require_space(&self.directory, size_bytes.saturating_mul(8), "the demo")?;
        progress.step(format!("{family}: adding rows until a snapshot has about {}", text::bytes(size_bytes)));
        let batches = self.world.growth(size_bytes);
        let count = batches.len() as u64;
        for (done, batch) in batches.into_iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let server = scratch.clone();
            blocking(move || server.query(OLD_DATABASE, &batch)).await?;
            progress.bytes("grow", size_bytes * (done as u64 + 1) / count, Some(size_bytes), "");
        }
        progress.done("grow");
        Ok(scratch)
    }

    /// Makes the lead's root, from the files that the lead has already.
    async fn lead_root(&mut self, key: &Path, snapdir: &Path, scratch: &Scratch) -> Result<Initialised> {
        let mut init = arguments(["setup", "init"]);
        for (flag, path) in [
            ("--root-dir", self.root(0)?),
            ("--genesis", snapdir.join(GENESIS_FILE_NAME)),
            ("--genesis-state", snapdir.join(self.world.family.snapshot_file_name())),
            ("--key-file", key.to_owned()),
            ("--manifest", snapdir.to_owned()),
        ] {
            init.extend([flag.into(), path.into()]);
        }
        init.extend(self.configuration(0, scratch));
        let mut member = Member::start(format!("{}'s setup init", self.name(0)), &init, &self.talk, false)?;
        let made = member.result().await;
        member.stop().await?;
        made
    }

    /// Checks that everyone has the same state, and roots that are equal but for key and ports.
    fn check(&self, own: &Initialised, joined: &[Joined]) -> Result<()> {
        let differs = joined.iter().enumerate().find(|(_, one)| one.state_hash != own.state_hash);
        if let Some((index, one)) = differs {
            let (lead, other) = (self.name(0), self.name(index + 1));
            let what = format!("{other} has state hash {}, but {lead} has {}", one.state_hash, own.state_hash);
            return Err(Error::verify(what).hint("this should never happen: please report it"));
        }
        let paths = std::iter::once(&own.root).chain(joined.iter().map(|one| &one.root));
        let roots: Vec<Root> = paths
            .enumerate()
            .map(|(n, path)| Root { name: self.name(n), path: path.clone(), own: self.addresses(n) })
            .collect();
        compare::compare(&roots, key_file_name(self.world.family))
    }

    /// Starts a process that goes on serving.
    fn start(&mut self, number: usize, arguments: &[OsString], aloud: bool) -> Result<&mut Member> {
        let index = self.members.len();
        self.members.push(Member::start(self.name(number), arguments, &self.talk, aloud)?);
        Ok(&mut self.members[index])
    }

    /// Ends every process.
    async fn stop(&mut self) -> Result<()> {
        self.talk.end();
        let mut outcome = Ok(());
        // The lead last: the others take leave of it.
        for mut member in self.members.drain(..).rev() {
            let name = member.name.clone();
            match member.stop().await {
                Ok(status) if status.success() || outcome.is_err() => {}
                Ok(status) => outcome = Err(Error::failed(format!("{name} did not end cleanly: {status}"))),
                Err(e) => outcome = Err(e),
            }
        }
        outcome
    }

    fn name(&self, number: usize) -> String {
        match number {
            0 => "validator 0 (lead)".to_owned(),
            n if n < self.world.keys.len() => format!("validator {n}"),
            n => format!("follower {n}"),
        }
    }

    /// The directory of one validator, which is made where it is missing.
    fn home(&self, number: usize) -> Result<PathBuf> {
        let path = self.directory.join(format!("node{number}"));
        durable::create_directory(&path, 0o700)?;
        Ok(path)
    }

    fn root(&self, number: usize) -> Result<PathBuf> {
        Ok(self.home(number)?.join("root"))
    }

    /// Writes a validator's recorded key as its operator would have it, and gives the file's path.
    fn key(&self, number: usize) -> Result<PathBuf> {
        let path = self.home(number)?.join(key_file_name(self.world.family));
        durable::write_atomically(&path, self.world.keys[number], 0o600)?;
        Ok(path)
    }

    /// Where a recorded validator's new node listens, as its peers dial it.
    fn node_address(&self, number: usize) -> Result<String> {
        let family = self.world.family;
        let (key, _) = PrivateKey::parse_file(self.world.keys[number])?;
        let place = self.addresses(number).swap_remove(0).1;
        let address = PeerAddress::of_key(family, &key.public(), place.trim_start_matches("tcp://"));
        address.map(|address| address.to_string()).or_failed(|| "the demo's own address is none")
    }

    /// Addresses that nodes on one machine cannot share, as key and value of the configuration.
    fn addresses(&self, number: usize) -> Vec<(String, String)> {
        let port = |base: usize| format!("127.0.0.1:{}", base + 10 * number);
        let pairs = match self.world.family {
            Family::V09 => vec![
                ("chain.p2p.listen-addr", format!("tcp://{}", port(26656))),
                ("chain.rpc.listen-addr", format!("tcp://{}", port(26657))),
                ("app.jsonrpc-listen-addr", port(8484)),
                ("app.admin-listen-addr", port(8485)),
            ],
            Family::V010 => vec![("p2p.listen", port(6600)), ("rpc.listen", port(8484)), ("admin.listen", port(8485))],
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Configuration flags of one node, in Kwil's spelling.
    fn configuration(&self, number: usize, scratch: &Scratch) -> Vec<OsString> {
        let names = match self.world.family {
            Family::V09 => ["app.pg-db-host", "app.pg-db-port", "app.pg-db-user", "app.pg-db-name"],
            Family::V010 => ["db.host", "db.port", "db.user", "db.dbname"],
        };
        let values =
            ["127.0.0.1".to_owned(), scratch.port().to_string(), "postgres".to_owned(), NEW_DATABASE.to_owned()];
        let database = names.into_iter().map(str::to_owned).zip(values);
        let all = database.chain(self.addresses(number));
        all.flat_map(|(key, value)| [format!("--{key}").into(), value.into()]).collect()
    }
}

fn interrupted() -> Error {
    Error::interrupted("in the middle of the demo")
}

fn arguments<const N: usize>(texts: [&str; N]) -> Vec<OsString> {
    texts.into_iter().map(OsString::from).collect()
}

/// Runs work that blocks on a thread that is not one of the runtime's own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_failed(|| "a part of the demo panicked")?
}
