//! `key peer`, `key bind`, `key binding`: who a node is in the swarm, and whose.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};

use super::Session;
use crate::{
    app::{
        bind::{self, Bound},
        files::read_private_key,
        identity::{self, Known, NodeOf},
    },
    base::{Result, text},
};

/// What `key peer` is told.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("node").required(true).args(["dir", "root_dir", "identity"]),
    after_help = "A node keeps its identity with the files that it serves. This makes it where there is none yet, so that a validator can \
    bind it before the night.\n\n\
    Examples:\n  regenesis key peer --dir ./network_snapshot\n  regenesis key peer --root-dir ~/.kwild-new\n  \
    regenesis key peer --identity node.identity   one to be given to a command with --identity"
)]
pub(crate) struct PeerArgs {
    /// The directory that is served, fetched or relayed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The root that a join makes, or has made
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// A file for --identity
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl PeerArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let of = match (self.dir, self.root_dir, self.identity) {
            (Some(directory), ..) => NodeOf::Directory(directory),
            (None, Some(root), _) => NodeOf::Root(root),
            (None, None, file) => NodeOf::File(file.expect("clap requires one of the three")),
        };
        session.output.result(&identity::known(&of)?)
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer_id)
    }
}

/// What `key bind` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "The key stays where it is: only the file that is written goes to the node's machine, which shows it to every \
    member that it meets. It says nothing but whose that node is; whoever copies it can do nothing with it.\n\n\
    Examples:\n  regenesis key bind --key-file ./private_key --peer 12D3KooW… -o node.binding\n  \
    regenesis relay --ticket-file ticket.txt --dir ./relay --binding node.binding"
)]
pub(crate) struct BindArgs {
    /// The validator's key file, of either family
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Peer id of the node, as `key peer` prints it
    #[arg(long, value_name = "ID")]
    peer: String,
    /// Chain id of the new network in whose swarm alone it counts [default: in any]
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// How long it counts, such as 30d
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Where it goes
    #[arg(short = 'o', long, value_name = "FILE")]
    out: PathBuf,
}

impl BindArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let key = read_private_key(&self.key_file)?;
        session.output.result(&bind::bind(&key, &self.peer, self.chain_id, self.expires, &self.out)?)
    }
}

/// What `key binding` is told.
#[derive(Debug, Args)]
pub(crate) struct BindingArgs {
    /// The file that `key bind` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl BindingArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        session.output.result(&bind::read(&self.file)?)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "node       {}", self.peer_id)?;
        writeln!(f, "is of      {}", self.validator)?;
        let network = self.new_chain_id.as_deref().map_or_else(|| "any".to_owned(), text::escape);
        writeln!(f, "network    {network}")?;
        writeln!(f, "signed     {}", text::time(self.created_unix_seconds))?;
        let over = if self.is_over { ", which HAS PASSED" } else { "" };
        writeln!(f, "until      {}{over}", text::time(self.not_after_unix_seconds))?;
        write!(f, "file       {}", self.binding.display())
    }
}
