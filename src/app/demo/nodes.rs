//! The nodes of a demo: their names, their directories and keys, and what their configuration says.

use std::{ffi::OsString, net::TcpListener, ops::Range, path::PathBuf};

use kwil_formats::formats::Family;
use rand::{Rng, distr::Uniform};

use super::{compare::Root, world::World};
use crate::{
    base::{Context, Error, Result, durable},
    setup::key_file_name,
};

/// How the names of the databases begin that the new nodes get in the throw-away Postgres; their number follows.
const NEW_DATABASE: &str = "kwild_new";

/// Ports below those that systems give to programs that ask for any port, and above those that services have.
const PORTS: Range<u16> = 20_000..32_000;
/// Ports that are tried before none is said to be free.
const PORT_TRIES: usize = 1000;

/// The nodes of one network.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) world: World,
    directory: PathBuf,
    /// Addresses that nodes on one machine cannot share, of each node, as key and value of the configuration.
    addresses: Vec<Vec<(&'static str, String)>>,
    /// Blocks come as fast as a viewer wants to see them.
    quick: bool,
}

/// A port that no program has, and that the system gives to none which asks for any port: a node listens on it only later, and
/// until then nobody holds it.
fn free_listener() -> Result<TcpListener> {
    let ports = Uniform::try_from(PORTS).or_failed(|| "no port may be chosen")?;
    let mut tried = rand::rng().sample_iter(ports).take(PORT_TRIES);
    let free = tried.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    free.ok_or_else(|| Error::failed("no port is free on 127.0.0.1"))
}

impl Nodes {
    /// Nodes with free ports, whose files are in the directory.
    pub(super) fn new(world: World, directory: PathBuf, count: usize, quick: bool) -> Result<Self> {
        let keys: &[&'static str] = match world.family {
            Family::V09 => {
                &["chain.p2p.listen-addr", "chain.rpc.listen-addr", "app.jsonrpc-listen-addr", "app.admin-listen-addr"]
            }
            Family::V010 => &["p2p.listen", "rpc.listen", "admin.listen"],
        };
        // All are held until all are chosen: then no two are the same.
        let mut held = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..count {
            let mut of_node = Vec::new();
            for key in keys {
                let listener = free_listener()?;
                let place = listener.local_addr().or_failed(|| "no port is free on 127.0.0.1")?;
                held.push(listener);
                let scheme = if key.starts_with("chain.") { "tcp://" } else { "" };
                of_node.push((*key, format!("{scheme}{place}")));
            }
            addresses.push(of_node);
        }
        Ok(Nodes { world, directory, addresses, quick })
    }

    pub(super) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// Where the files of all are.
    pub(super) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    pub(super) fn is_validator(&self, number: usize) -> bool {
        number < self.world.keys.len()
    }

    pub(super) fn name(&self, number: usize) -> String {
        match number {
            0 => "validator 0 (lead)".to_owned(),
            n if self.is_validator(n) => format!("validator {n}"),
            n => format!("follower {n}"),
        }
    }

    /// The directory of one node, which is made where it is missing.
    pub(super) fn home(&self, number: usize) -> Result<PathBuf> {
        let path = self.directory.join(format!("node{number}"));
        durable::create_directory(&path, 0o700)?;
        Ok(path)
    }

    pub(super) fn root(&self, number: usize) -> Result<PathBuf> {
        Ok(self.home(number)?.join("root"))
    }

    /// What of the root is its own, for a comparison.
    pub(super) fn own(&self, number: usize) -> Result<Root> {
        let mut own: Vec<(String, String)> =
            self.addresses[number].iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        own.push(("the database's name".to_owned(), self.database(number)));
        Ok(Root { name: self.name(number), path: self.root(number)?, own })
    }

    /// Writes a validator's recorded key as its operator would have it, and gives the file's path.
    pub(super) fn key(&self, number: usize) -> Result<PathBuf> {
        let path = self.home(number)?.join(key_file_name(self.world.family));
        durable::write_atomically(&path, self.world.keys[number], 0o600)?;
        Ok(path)
    }

    /// The name of a new node's database.
    pub(super) fn database(&self, number: usize) -> String {
        format!("{NEW_DATABASE}{number}")
    }

    /// Configuration flags of one node, in Kwil's spelling.
    pub(super) fn configuration(&self, number: usize, port: u16) -> Vec<OsString> {
        let (names, quick): (_, &[(&str, &str)]) = match self.world.family {
            Family::V09 => (
                ["app.pg-db-host", "app.pg-db-port", "app.pg-db-user", "app.pg-db-name"],
                &[("chain.consensus.timeout-commit", "500ms")],
            ),
            Family::V010 => (
                ["db.host", "db.port", "db.user", "db.dbname"],
                &[("consensus.propose-timeout", "500ms"), ("consensus.empty-block-timeout", "1s")],
            ),
        };
        let values = ["127.0.0.1".to_owned(), port.to_string(), "postgres".to_owned(), self.database(number)];
        let quick = quick.iter().filter(|_| self.quick).map(|(key, value)| (*key, (*value).to_owned()));
        let all = names.into_iter().zip(values).chain(quick).chain(self.addresses[number].iter().cloned());
        all.flat_map(|(key, value)| [format!("--{key}").into(), value.into()]).collect()
    }
}
