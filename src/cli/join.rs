//! `join`: fetch, verify, set the root up, serve others for a while.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use kwil_formats::formats::{Family, key::PublicKey};

use super::{
    Session,
    bundle::MediaKeyArgs,
    config_flags::ConfigFlags,
    database::OldDatabaseArgs,
    setup_init::OldConfig,
    swarm::SourceArgs,
    words::{check::CheckResult, root::JoinResult},
};
use crate::{
    app::{
        attest::OldNode,
        bundle::JoinMedia,
        check,
        files::read_private_key,
        join::{self, JoinOptions, OldState, Program},
        meet::WaitFor,
        peers,
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
    /// The kwild that will run here: it is asked for its version, which the other validators are told
    #[arg(long, value_name = "PATH")]
    kwild: Option<PathBuf>,
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
    /// The key that the validator had in the old network [default: the key in the old root, else the node's key]
    #[arg(long, value_name = "FILE")]
    old_key_file: Option<PathBuf>,
    /// Do not compare the old node's database with what was signed, and attest nothing
    #[arg(long, conflicts_with_all = ["OldDatabaseArgs", "old_key_file", "despite_dissent"])]
    no_attest: bool,
    /// Take what the lead changed in the genesis: validators, owner, parameters
    #[arg(long)]
    accept_genesis_change: bool,
    /// Set the root up although this node's own old database holds another state, where enough others agree
    #[arg(long)]
    despite_dissent: bool,
    #[command(flatten)]
    old: OldDatabaseArgs,
    /// Start this program once the others of --wait are ready, such as kwild with its arguments; the last flag, for all that
    /// follows it is the program's. No shell reads it. It gets the signals that this process gets, its output goes to
    /// stderr, and its exit code is this command's; others are served meanwhile
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, requires = "wait", conflicts_with = "check")]
    then: Vec<OsString>,
    /// Directories of mounted media to take the chunks from first; what they lack comes from the swarm, if the ticket leads into one.
    /// The ticket may be one that only identifies, or --trust names the lead's key
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with = "check")]
    media: Vec<PathBuf>,
    /// With --media, in the place of a ticket: key that must have signed the manifest, as HEX#TYPE (repeatable)
    #[arg(long, value_name = "PUB", requires = "media", conflicts_with_all = ["TicketArgs", "check"])]
    trust: Vec<PublicKey>,
    #[command(flatten)]
    media_keys: MediaKeyArgs,
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
        let program = Program { argv: self.then, stdout: std::io::stderr().into() };
        if !program.argv.is_empty() {
            program.check()?;
        }
        let key = match self.key_file {
            Some(path) => KeySource::File(path),
            None if self.new_key => KeySource::New,
            None if setup::key_in_root(&root) => KeySource::InRoot,
            None => {
                return Err(Error::usage("no node key is given")
                    .hint("give the validator's key with --key-file FILE, or --new-key for a node that has none yet"));
            }
        };
        let old_state = OldState {
            accept_genesis_change: self.accept_genesis_change,
            despite_dissent: self.despite_dissent,
            ..match self.no_attest {
                true => OldState::default(),
                false => old_state(self.old, self.from_root.clone(), self.old_key_file, &key, &root, session)?,
            }
        };
        let (config, all_peers) = (self.config, self.all_peers);
        let old = self.from_root.map(|root| OldConfig::read(&root)).transpose()?;
        let old_database = old.as_ref().map(OldConfig::database).transpose()?;
        let state = self.source.state()?;
        let media = match self.media.is_empty() {
            true => None,
            false => {
                let given = if self.trust.is_empty() { Some(self.source.any_ticket()?) } else { None };
                Some(JoinMedia::look(&self.media, given, self.trust, &self.media_keys.read(session)?, &state)?)
            }
        };
        let options = JoinOptions {
            ticket: match &media {
                Some(media) => media.ticket().clone(),
                None => self.source.ticket()?,
            },
            root,
            key,
            config: Box::new(move |family| {
                let flags = config.values(family)?;
                let old = old.as_ref().map(|old| old.carry_over(family, &flags)).transpose()?;
                Ok(NodeConfig { flags, truf: false, old, peers: Vec::new(), all_peers })
            }),
            swarm: self.source.swarm(session)?,
            state,
            node_address: self.node_address.iter().map(|text| peers::check_place(text)).collect::<Result<_>>()?,
            kwild: self.kwild,
            wait: self.wait.map(|wait| match wait {
                Wait::Quorum => WaitFor::Quorum,
                Wait::Everyone => WaitFor::Everyone,
            }),
            create_database: self.create_db,
            follow: self.follow,
            reconfigure: self.reconfigure,
            old_database,
            old: old_state,
            reuse: self.source.reuse(),
            media,
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
        if program.argv.is_empty() {
            return joining.linger(self.source.linger(session), &session.cancel).await;
        }
        if !joined.may_start {
            joining.leave().await;
            return Err(Error::refused("the program is not started: what kwild would start on is not right yet")
                .hint("do what is said above, then run the same command again"));
        }
        let (linger, signal) = (self.source.linger(session), || session.signal());
        let code = joining.run_program(program, linger, signal, &session.cancel).await?;
        session.end_with(code);
        Ok(())
    }
}

/// The old node's database and key, as far as flags and roots name them. The usual place of a node's database is looked at,
/// too, where nothing is named.
fn old_state(
    database: OldDatabaseArgs,
    from_root: Option<PathBuf>,
    key_file: Option<PathBuf>,
    node_key: &KeySource,
    root: &Path,
    session: &Session,
) -> Result<OldState> {
    let database = database.database(None);
    let named = database.is_given() || key_file.is_some();
    // A root that these flags name stands before the one whose settings are carried over.
    let old_root = database.old_root().or(from_root);
    let database = database.with_root(old_root.clone());
    let in_root = |root: &Path| {
        let names = [Family::V09, Family::V010].map(setup::key_file_name);
        names.iter().map(|name| root.join(name)).find(|path| path.exists())
    };
    let path = match (key_file, node_key) {
        (Some(path), _) => Some(path),
        (None, key) => old_root.as_deref().and_then(in_root).or_else(|| match key {
            KeySource::File(path) => Some(path.clone()),
            KeySource::InRoot => in_root(root),
            KeySource::New => None,
        }),
    };
    let found = !named && old_root.is_none();
    if path.is_none() && found {
        return Ok(OldState::default());
    }
    let key = path.map(|path| read_private_key(&path).map(Arc::new)).transpose()?;
    let settings = match database.resolve(&session.progress) {
        Ok(resolved) => resolved.settings,
        // Settings that nobody gave for this purpose end nothing.
        Err(_) if found => return Ok(OldState::default()),
        Err(error) => return Err(error),
    };
    Ok(OldState { node: Some(OldNode { settings, key, pg_dump: None, found }), named, ..OldState::default() })
}
