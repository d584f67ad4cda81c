//! One network's move, step by step, as its people would do it: each step is this program as a process of its own.

use std::{
    ffi::OsString,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use kwil_formats::formats::{
    GENESIS_FILE_NAME, GENESIS_STATE_FILE_NAME,
    config::{CONFIG_FILE_NAME, PeerAddress, PeerSettings},
    genesis::Genesis,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    DemoNode, DemoOptions, Migration, Tell, blocking, compare, interrupted,
    kwild::Kwilds,
    member::{Member, Talk},
    nodes::Nodes,
    told::{Checked, Confirmed, Rehearsal, Snapshot, Told},
};
use crate::{
    base::{
        Error, Next, Progress, Result, Sha256Hash, clock, durable,
        task::CancellationToken,
        text::{self, megabytes_per_second},
    },
    database::scratch::{Scratch, ScratchOptions},
    manifest::Tally,
    setup::{self, key_file_name},
};

/// The name of the old network's database in the throw-away Postgres.
const OLD_DATABASE: &str = "kwild";
/// How long a node waits for a byte, or for the others, before it gives up.
const JOIN_TIMEOUT: &str = "5m";
/// Where each process of the swarm listens.
pub(super) const LISTEN: &str = "/ip4/127.0.0.1/tcp/0";
/// What kwild demands of a server beside what a throw-away one has.
const SERVER_SETTINGS: [(&str, &str); 7] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("max_wal_senders", "40"),
    ("max_replication_slots", "40"),
    ("max_prepared_transactions", "200"),
    ("max_connections", "300"),
    ("wal_sender_timeout", "0"),
];

/// What is read of a ticket's making.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    pub(super) ticket: String,
}

/// What is read of `join`'s result.
#[derive(Debug, Deserialize)]
pub(super) struct Joined {
    root: PathBuf,
    chain_id: String,
    state_hash: Sha256Hash,
    node_id: String,
    bytes: u64,
    received_bytes: u64,
    fetch_seconds: f64,
    seconds: f64,
    sources: usize,
    attestations: Tally,
}

/// What is read of a digest that was compared.
#[derive(Debug, Deserialize)]
struct Digested {
    state_digest: String,
    comparison: Comparison,
}

#[derive(Debug, Deserialize)]
struct Comparison {
    equal: bool,
}

/// One network's move, and the processes that it has started.
pub(super) struct Migrating {
    pub(super) nodes: Nodes,
    pub(super) kwild: Option<PathBuf>,
    /// Where processes find other programs.
    pub(super) path: OsString,
    pub(super) talk: Talk,
    pub(super) progress: Progress,
    pub(super) tell: Tell,
    pub(super) members: Vec<Member>,
    pub(super) kwilds: Kwilds,
}

impl Migrating {
    pub(super) async fn run(&mut self, options: &DemoOptions, cancel: &CancellationToken) -> Result<Migration> {
        let old_chain_id = Genesis::parse(self.nodes.world.genesis)?.chain_id().to_owned();
        // A server that is half made is not left alone: this part ends by itself.
        let scratch = self.old_network(&old_chain_id, options, cancel).await?;
        let done = tokio::select! {
            done = self.migrate(old_chain_id, options.air_gap, &scratch) => done,
            () = cancel.cancelled() => Err(interrupted()),
        };
        // The processes go before the server that they use.
        let stopped = self.kwilds.stop().await.and(self.stop().await);
        let gone = match Arc::try_unwrap(scratch) {
            Ok(scratch) => blocking(move || scratch.stop()).await,
            Err(_) => Ok(()),
        };
        let done = done?;
        stopped.and(gone).map(|()| done)
    }

    async fn migrate(&mut self, old_chain_id: String, air_gap: bool, scratch: &Arc<Scratch>) -> Result<Migration> {
        if air_gap {
            return self.migrate_over_a_gap(old_chain_id, scratch).await;
        }
        let began = clock::now();
        let snapdir = self.nodes.home(0)?.join("network_snapshot");
        self.take_snapshot(&snapdir, scratch).await?;
        self.rehearse(&snapdir, scratch).await?;
        let ticket = self.publish(&snapdir).await?;
        self.ask_first(&ticket, scratch).await?;
        let joined = self.join(&ticket, scratch).await?;
        self.check().await?;
        let heights = match self.kwild.clone() {
            Some(program) => {
                self.kwilds.run(&program, &self.path, &self.nodes, scratch, &*self.tell).await?;
                self.confirm().await?
            }
            None => {
                self.compare(scratch).await?;
                vec![None; self.nodes.count()]
            }
        };
        self.sum_up((old_chain_id, snapdir), joined, heights, began)
    }

    /// What the move came to.
    pub(super) fn sum_up(
        &self,
        (old_chain_id, snapdir): (String, PathBuf),
        joined: Vec<Joined>,
        heights: Vec<Option<i64>>,
        began: Instant,
    ) -> Result<Migration> {
        let seconds = clock::now().duration_since(began).as_secs_f64();
        let first = joined.first().ok_or_else(|| Error::failed("nobody joined"))?;
        let (chain_id, state_hash, bytes) = (first.chain_id.clone(), first.state_hash, first.bytes);
        let nodes = joined.into_iter().zip(heights).enumerate().map(|(number, (one, height))| DemoNode {
            who: self.nodes.name(number),
            lead: number == 0,
            seconds: one.seconds,
            received_bytes: one.received_bytes,
            megabytes_per_second: megabytes_per_second(one.received_bytes, one.fetch_seconds),
            sources: one.sources,
            state_hash: one.state_hash,
            root: one.root,
            node_id: one.node_id,
            height,
        });
        let nodes = nodes.collect();
        let family = self.nodes.world.family;
        Ok(Migration { family, old_chain_id, chain_id, state_hash, bytes, seconds, snapdir, nodes })
    }

    /// The recorded network's database in a Postgres of our own, grown if that was asked for.
    async fn old_network(
        &self,
        chain_id: &str,
        options: &DemoOptions,
        cancel: &CancellationToken,
    ) -> Result<Arc<Scratch>> {
        let (family, dump) = (self.nodes.world.family, self.nodes.world.database);
        let parameters = SERVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let made = ScratchOptions { binaries: options.binaries.clone(), parameters, ..ScratchOptions::default() };
        let (scratch, server_version) = blocking(move || {
            let scratch = Scratch::start(made)?;
            scratch.load(OLD_DATABASE, dump)?;
            let version = scratch.query(OLD_DATABASE, "SHOW server_version")?.trim().to_owned();
            Ok((Arc::new(scratch), version))
        })
        .await?;
        (self.tell)(Told::OldNetwork { family, chain_id: chain_id.to_owned(), server_version });
        let Some(size_bytes) = options.size_bytes else { return Ok(scratch) };
        // Postgres holds the data, its log, and the snapshots of everyone.
        durable::require_space(self.nodes.directory(), size_bytes.saturating_mul(8), "the demo")?;
        self.progress.step(format!("adding rows until a snapshot has about {}", text::bytes(size_bytes)));
        let batches = self.nodes.world.growth(size_bytes);
        let count = batches.len() as u64;
        for (done, batch) in batches.into_iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let server = scratch.clone();
            blocking(move || server.query(OLD_DATABASE, &batch)).await?;
            self.progress.bytes("grow", size_bytes * (done as u64 + 1) / count, Some(size_bytes), "");
        }
        self.progress.done("grow");
        Ok(scratch)
    }

    /// Gives what it says of the snapshot.
    pub(super) async fn take_snapshot(&self, snapdir: &Path, scratch: &Scratch) -> Result<Snapshot> {
        (self.tell)(Told::TakingSnapshot);
        let genesis = self.nodes.directory().join("old-genesis.json");
        durable::write_atomically(&genesis, self.nodes.world.genesis, 0o644)?;
        let mut create = arguments(["snapshot", "create", "--dbname", OLD_DATABASE]);
        create.extend(server(scratch));
        create.extend(["--genesis".into(), genesis.into(), "--snapdir".into(), snapdir.into()]);
        let made: Snapshot = self.once(0, "snapshot", &create).await?;
        (self.tell)(Told::Snapshot(made.clone()));
        Ok(made)
    }

    async fn rehearse(&self, snapdir: &Path, scratch: &Scratch) -> Result<()> {
        (self.tell)(Told::Rehearsing);
        let mut rehearse = arguments(["setup", "restore", "--dry-run", "--snapshot"]);
        rehearse.extend([snapdir.join(self.nodes.world.family.snapshot_file_name()).into(), "--genesis".into()]);
        rehearse.push(snapdir.join(GENESIS_FILE_NAME).into());
        rehearse.extend(server(scratch));
        let rehearsed: Rehearsal = self.once(0, "rehearsal", &rehearse).await?;
        if !rehearsed.ok {
            return Err(never("the rehearsal lost something"));
        }
        (self.tell)(Told::Rehearsed(rehearsed));
        Ok(())
    }

    /// Starts the lead's process that serves; gives the file that holds the ticket.
    async fn publish(&mut self, snapdir: &Path) -> Result<PathBuf> {
        (self.tell)(Told::Publishing);
        let mut publish = arguments(["publish", "--listen", LISTEN]);
        let key = self.nodes.key(0)?;
        let state = self.nodes.home(0)?.join("state");
        for (flag, path) in [("--dir", snapdir), ("--key", &key), ("--state-dir", &state)] {
            publish.extend([flag.into(), path.into()]);
        }
        if self.nodes.count() < self.nodes.world.keys.len() {
            // Those who are not here cannot confirm anything.
            publish.extend(arguments(["--attestations", &self.nodes.count().to_string()]));
        }
        let Published { ticket } = self.start(0, &publish)?.result().await?;
        let file = self.nodes.directory().join("ticket.txt");
        durable::write_atomically(&file, format!("{ticket}\n").as_bytes(), 0o600)?;
        (self.tell)(Told::Ticket(ticket));
        Ok(file)
    }

    /// What everyone who joins says.
    pub(super) fn join_arguments(&self, number: usize, ticket: &Path, scratch: &Scratch) -> Result<Vec<OsString>> {
        let mut join = arguments(["join", "--listen", LISTEN, "--timeout", JOIN_TIMEOUT]);
        let state = self.nodes.home(number)?.join(if number == 0 { "state-of-root" } else { "state" });
        let root = self.nodes.root(number)?;
        for (flag, path) in [("--ticket-file", ticket), ("--root-dir", &root), ("--state-dir", &state)] {
            join.extend([flag.into(), path.into()]);
        }
        match self.nodes.is_validator(number) {
            true => {
                join.extend(["--key-file".into(), self.nodes.key(number)?.into()]);
                // Each compares what the lead signed with the old network's state; here all of them have one database.
                join.extend(arguments(["--old-dbname", OLD_DATABASE, "--old-host", "127.0.0.1"]));
                join.extend(arguments(["--old-port", &scratch.port().to_string(), "--old-user", "postgres"]));
            }
            false => join.extend(arguments(["--new-key", "--follow"])),
        }
        join.extend(self.nodes.configuration(number, scratch.port()));
        Ok(join)
    }

    /// One validator asks before it fetches anything.
    async fn ask_first(&self, ticket: &Path, scratch: &Scratch) -> Result<()> {
        (self.tell)(Told::Asking { who: self.nodes.name(1) });
        let mut ask = self.join_arguments(1, ticket, scratch)?;
        ask.extend(arguments(["--check", "--create-db"]));
        let found: Checked = self.once(1, "preflight", &ask).await?;
        found.checks.iter().for_each(|line| self.talk.known(&line.text));
        (self.tell)(Told::Preflight(found));
        Ok(())
    }

    async fn join(&mut self, ticket: &Path, scratch: &Scratch) -> Result<Vec<Joined>> {
        let (count, validators) = (self.nodes.count(), self.nodes.world.keys.len());
        // Who is not in the demo is never ready.
        let wait = count >= validators;
        (self.tell)(Told::Joining { nodes: count, wait });
        let first = self.members.len();
        for number in 0..count {
            let mut join = self.join_arguments(number, ticket, scratch)?;
            join.extend(arguments(["--create-db", "--linger", "1h"]));
            if wait {
                join.extend(arguments(["--wait", "everyone"]));
            }
            self.start(number, &join)?;
        }
        let mut joined: Vec<Joined> = Vec::new();
        for member in &mut self.members[first..] {
            joined.push(member.result().await?);
        }
        self.talk.fetched();
        self.tell_joined(&joined)?;
        Ok(joined)
    }

    /// Everyone has the same, and knows the others.
    pub(super) fn tell_joined(&self, joined: &[Joined]) -> Result<()> {
        let count = self.nodes.count();
        let state_hash = joined[0].state_hash;
        if let Some(number) = joined.iter().position(|one| one.state_hash != state_hash) {
            return Err(never(&format!("{} has another state hash than the others", self.nodes.name(number))));
        }
        let roots: Vec<_> = (0..count).map(|number| self.nodes.own(number)).collect::<Result<_>>()?;
        compare::compare(&roots, key_file_name(self.nodes.world.family))?;
        let attestations = joined[0].attestations.clone();
        (self.tell)(Told::Joined { state_hash, bytes: joined[0].bytes, attestations });
        let peers: Vec<_> =
            (0..count).map(|number| Ok((self.nodes.name(number), self.peers(number)?))).collect::<Result<_>>()?;
        (self.tell)(Told::Peers(peers));
        Ok(())
    }

    /// Whom a node's config.toml makes it dial.
    fn peers(&self, number: usize) -> Result<Vec<PeerAddress>> {
        let config = setup::read_config(&self.nodes.root(number)?.join(CONFIG_FILE_NAME))?;
        Ok(PeerSettings::parse(&config)?.dials)
    }

    pub(super) async fn check(&self) -> Result<()> {
        (self.tell)(Told::Checking);
        for number in 0..self.nodes.count() {
            let mut check = arguments(["setup", "check", "--root-dir"]);
            check.push(self.nodes.root(number)?.into());
            if let Some(kwild) = &self.kwild {
                check.extend(["--kwild".into(), kwild.into()]);
            }
            let checked: Checked = self.once(number, "setup check", &check).await?;
            let refused = (!checked.ok).then(|| checked.checks.iter().find(|line| line.level == "error")).flatten();
            let refused = refused.map(|line| line.text.clone());
            (self.tell)(Told::Check { who: self.nodes.name(number), checked });
            // Without a kwild it is a picture: the server that is installed need not be one that kwild takes.
            if let (Some(why), Some(_)) = (refused, &self.kwild) {
                return Err(Error::failed("kwild would not start here").because(why).hint(Next::PostgresOfKwild));
            }
        }
        Ok(())
    }

    /// Compares each running node with what was signed; gives their heights.
    async fn confirm(&self) -> Result<Vec<Option<i64>>> {
        (self.tell)(Told::Confirming);
        let mut heights = Vec::new();
        for number in 0..self.nodes.count() {
            let mut confirm = arguments(["setup", "confirm", "--root-dir"]);
            confirm.push(self.nodes.root(number)?.into());
            let confirmed: Confirmed = self.once(number, "setup confirm", &confirm).await?;
            if !confirmed.ok {
                return Err(never(&format!("the node of {} does not hold what was signed", self.nodes.name(number))));
            }
            heights.push(Some(confirmed.height));
            (self.tell)(Told::Confirmed { who: self.nodes.name(number), confirmed });
        }
        Ok(heights)
    }

    /// Without a kwild: compares what came with what the old network had.
    pub(super) async fn compare(&self, scratch: &Scratch) -> Result<()> {
        let last = self.nodes.count() - 1;
        (self.tell)(Told::Comparing { who: self.nodes.name(last) });
        let mut old = arguments(["snapshot", "digest", "--dbname", OLD_DATABASE]);
        old.extend(server(scratch));
        let digest: serde_json::Value = self.once(0, "digest", &old).await?;
        let file = self.nodes.directory().join("old-digest.json");
        durable::write_atomically(&file, digest.to_string().as_bytes(), 0o644)?;
        let (root, mut new) = (self.nodes.root(last)?, arguments(["snapshot", "digest"]));
        new.push(root.join(GENESIS_STATE_FILE_NAME).into());
        new.extend(["--genesis".into(), root.join(GENESIS_FILE_NAME).into(), "--compare".into(), file.into()]);
        let digested: Digested = self.once(last, "digest", &new).await?;
        if !digested.comparison.equal {
            return Err(never("what was fetched is not the old network's state"));
        }
        (self.tell)(Told::Equal { state_digest: digested.state_digest });
        Ok(())
    }

    /// Runs a process to its end and gives its result, also where that is a refusal.
    pub(super) async fn once<T: DeserializeOwned + Debug>(
        &self,
        number: usize,
        what: &str,
        arguments: &[OsString],
    ) -> Result<T> {
        let name = format!("the {what} of {}", self.nodes.name(number));
        let mut member = Member::start(name, arguments, &self.path, &self.talk)?;
        let result = member.result().await;
        member.end().await?;
        result
    }

    /// Starts a process that goes on serving.
    pub(super) fn start(&mut self, number: usize, arguments: &[OsString]) -> Result<&mut Member> {
        let index = self.members.len();
        self.members.push(Member::start(self.nodes.name(number), arguments, &self.path, &self.talk)?);
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
}

/// What should never happen in a demo.
pub(super) fn never(what: &str) -> Error {
    Error::verify(what).hint(Next::ReportDemo)
}

/// The flags that lead to the throw-away server.
fn server(scratch: &Scratch) -> Vec<OsString> {
    let port = scratch.port().to_string();
    arguments(["--host", "127.0.0.1", "--port", &port, "--user", "postgres"])
}

pub(super) fn arguments<const N: usize>(texts: [&str; N]) -> Vec<OsString> {
    texts.into_iter().map(OsString::from).collect()
}

/// The search path with a directory before everything else.
pub(super) fn path_with(directory: Option<&Path>) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = directory.into_iter().map(Path::to_owned).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or(path)
}
