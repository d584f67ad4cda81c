//! `join`: fetch, verify, set the root up, serve others for a while.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    Session,
    config_flags::ConfigFlags,
    setup_init::OldConfig,
    swarm::SourceArgs,
    words::{check::CheckResult, root::JoinResult},
};
use crate::{
    app::{
        check,
        join::{self, JoinOptions},
        peers::{self, WaitFor},
    },
    base::{Error, Next, Result},
    setup::{self, KeySource, NodeConfig},
};

/// Flags of `join`.
#[derive(Debug, Args)]
#[command(after_help = "Every configuration flag of Kwil's `setup init` is taken too, such as --db.dbname or \
    --app.pg-db-name; --help lists them all.\n\n\
    Example:\n  regenesis join --ticket-file ticket.txt --root-dir ~/.kwild-new --key-file ./nodekey.json --db.dbname kwild_new")]
pub(crate) struct JoinArgs {
    /// The root to make; an existing one must be empty or hold only the node's key
    #[arg(short = 'r', long = "root-dir", visible_alias = "root", value_name = "DIR")]
    root: PathBuf,
    /// The node's key file [default: the key in the root]
    #[arg(short = 'k', long, value_name = "FILE", conflicts_with = "new_key")]
    key_file: Option<PathBuf>,
    /// Make a new node key
    #[arg(long)]
    new_key: bool,
    /// The old node's root: its settings are carried over into the new config.toml
    #[arg(long, value_name = "DIR")]
    from_root: Option<PathBuf>,
    /// Where other validators reach this node's kwild (repeatable); they write it into their config.toml [default: what
    /// config.toml advertises, else where the swarm sees this machine, at kwild's port for peers]
    #[arg(long, value_name = "HOST:PORT")]
    node_address: Vec<String>,
    /// Also dial nodes that the manifest or the old root names and that are no validators in the genesis
    #[arg(long)]
    all_peers: bool,
    /// Wait until the other validators are ready, too: enough of them to make blocks, or everyone; their addresses go into
    /// config.toml as they come
    #[arg(long, value_enum, value_name = "quorum|everyone", hide_possible_values = true)]
    wait: Option<Wait>,
    /// Only judge what can be judged before the fetch (key, database, root, disk, ports), then end: exit 4 where something is
    /// wrong; nothing is made
    #[arg(long, conflicts_with = "wait")]
    check: bool,
    /// Make the new node's database where it is missing: empty, and ordered as the old network's
    #[arg(long)]
    create_db: bool,
    /// On a finished root: write what the configuration flags say into its config.toml
    #[arg(long)]
    reconfigure: bool,
    /// The node shall only follow: a key that is no validator is right
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Whom to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wait {
    Quorum,
    Everyone,
}

impl JoinArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let root = self.root;
        let key = match self.key_file {
            Some(path) => KeySource::File(path),
            None if self.new_key => KeySource::New,
            None if setup::key_in_root(&root) => KeySource::InRoot,
            None => {
                return Err(Error::usage("no node key is given")
                    .hint("give the validator's key with --key-file FILE, or --new-key for a node that has none yet"));
            }
        };
        let (config, all_peers) = (self.config, self.all_peers);
        let old = self.from_root.map(|root| OldConfig::read(&root)).transpose()?;
        let old_database = old.as_ref().map(OldConfig::database).transpose()?;
        let options = JoinOptions {
            ticket: self.source.ticket()?,
            root,
            key,
            config: Box::new(move |family| {
                let flags = config.values(family)?;
                let old = old.as_ref().map(|old| old.carry_over(family, &flags)).transpose()?;
                Ok(NodeConfig { flags, truf: false, old, peers: Vec::new(), all_peers })
            }),
            swarm: self.source.swarm(),
            state: self.source.state()?,
            node_address: self.node_address.iter().map(|text| peers::check_place(text)).collect::<Result<_>>()?,
            wait: self.wait.map(|wait| match wait {
                Wait::Quorum => WaitFor::Quorum,
                Wait::Everyone => WaitFor::Everyone,
            }),
            create_database: self.create_db,
            follow: self.follow,
            reconfigure: self.reconfigure,
            old_database,
        };
        if self.check {
            let readiness = join::preflight(options, &session.progress, &session.cancel).await?;
            let result = CheckResult::of(&readiness);
            return match readiness.ok {
                true => session.output.result(&result),
                false => {
                    session.output.result_with_error(&result, check::refusal(&readiness, Next::PutErrorsRightFirst))
                }
            };
        }
        let (joined, joining) = join::join(options, &session.progress, &session.cancel).await?;
        session.output.result(&JoinResult::of(&joined))?;
        joining.linger(self.source.linger(session), &session.cancel).await
    }
}
