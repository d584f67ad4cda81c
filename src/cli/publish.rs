//! `publish`: snapshot, sign and serve; with `--dir`: sign and serve files that are there already.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{
    Session,
    database::DatabaseArgs,
    manifest::SignFlags,
    snapshot::CreateFlags,
    swarm::{self, SwarmArgs, UntilArgs},
};
use crate::{
    app::{fetch, files::read_private_key, publish, rehearse::RehearsalServer},
    base::{Error, Result},
};

/// Flags of `publish`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the ticket, alone on stdout, when serving begins; serves until it is stopped or --until is so.\n\n\
    Examples:\n  \
    regenesis publish --dbname kwild --user kwild --key lead.key --snapdir ./network_snapshot --from-root ~/.kwild\n  \
    regenesis publish --dir ./network_snapshot --key lead.key      (after editing genesis.json)"
)]
pub(crate) struct PublishArgs {
    /// Private key of the lead, in either family's form; `regenesis key gen ed25519 -o lead.key` makes one
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign and serve the genesis.json and snapshot in this directory instead of taking a new snapshot
    #[arg(long, value_name = "DIR", conflicts_with_all = ["snapdir", "family", "chain_id",
        "genesis_time", "keep_height", "template", "compress", "jobs", "kwil_compat", "allow_live", "no_digest", "pg_dump",
        "force", "max_row_size"])]
    dir: Option<PathBuf>,
    /// Directory for the new snapshot, its genesis.json and the manifest
    #[arg(long, value_name = "DIR", default_value = "kwild-snaps")]
    snapdir: PathBuf,
    /// Before anything is signed, restore the snapshot as kwild would, into a database of its own on the server that the
    /// database flags name, or else on a throw-away one; refuse what would lose rows
    #[arg(long)]
    rehearse: bool,
    #[command(flatten)]
    sign: SignFlags,
    #[command(flatten)]
    create: CreateFlags,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

impl PublishArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        // Whatever is wrong with the key is said before the snapshot is taken.
        let key = read_private_key(&self.key)?;
        let (options, state) = (self.sign.options(), self.sign.state()?);
        let (progress, cancel) = (&session.progress, &session.cancel);
        let (directory, signed) = match self.dir {
            Some(dir) => {
                let root = self.database.old_root();
                if self.rehearse {
                    let server = match self.database.is_given() {
                        true => RehearsalServer::Preferred(self.database.resolve(progress)?.settings),
                        false => RehearsalServer::ThrowAway,
                    };
                    publish::rehearse(&dir, server, progress, cancel).await?;
                } else if self.database.names_a_server() {
                    return Err(Error::usage("--dir signs what is there already, and reads no database")
                        .hint("leave the database flags out; with --rehearse they name the server to rehearse on"));
                }
                let old = publish::OldNetwork { genesis: self.create.old_genesis()?, root };
                let options = old.tell(options, progress)?;
                let signed = publish::sign_directory(&dir, None, &key, &options, &state, progress, cancel)?;
                (dir, signed)
            }
            None => {
                let snapdir = self.snapdir;
                let resolved = self.database.resolve(progress)?;
                let old_root = resolved.root.map(|root| root.directory);
                let create = self.create.options(snapdir.clone(), resolved.genesis)?;
                let lead = publish::Lead { key: &key, state: &state, rehearse: self.rehearse };
                let (created, signed) = publish::from_database(
                    &resolved.settings,
                    create,
                    options,
                    lead,
                    old_root.as_deref(),
                    progress,
                    cancel,
                )
                .await?;
                progress.note(created.to_string());
                (snapdir, signed)
            }
        };
        let known = Some(&signed.snapshot);
        let mut swarm = self.swarm.options(session)?;
        swarm.own_keys.push(Arc::new(key));
        let serving = fetch::seed(&directory, known, &swarm, &state, progress, cancel).await?;
        swarm::serve(serving, self.until, session).await
    }
}
