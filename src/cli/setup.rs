//! `setup …`: everything about a node's root and the machine it starts on.

use clap::Subcommand;

use super::{
    Session,
    setup_check::CheckArgs,
    setup_confirm::ConfirmArgs,
    setup_genesis::{GenesisArgs, GenesisHashArgs},
    setup_init::InitArgs,
    setup_restore::RestoreArgs,
    setup_testnet::TestnetArgs,
};
use crate::base::Result;

/// Roots of nodes
#[derive(Debug, Subcommand)]
pub(crate) enum SetupCommand {
    /// Makes a node's root from genesis and snapshot, checked before anything stands under its final name
    Init(Box<InitArgs>),
    /// Rehearses kwild's restore in a database of its own: what would fail, which rows would vanish
    Restore(Box<RestoreArgs>),
    /// Compares a started node's database with what was signed: the only proof that its data is right
    Confirm(Box<ConfirmArgs>),
    /// Makes a new genesis from Kwil's defaults and flags
    Genesis(Box<GenesisArgs>),
    /// Hashes a snapshot as a genesis pins it, and writes the hash into one
    GenesisHash(GenesisHashArgs),
    /// Says whether this machine is ready for kwild: server, database, root, programs, ports, disk
    Check(Box<CheckArgs>),
    /// Makes the roots of a whole network on this machine, new or from a snapshot, to rehearse a migration
    Testnet(Box<TestnetArgs>),
}

impl SetupCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            SetupCommand::Init(args) => args.run(session).await,
            SetupCommand::Restore(args) => args.run(session).await,
            SetupCommand::Confirm(args) => args.run(session).await,
            SetupCommand::Genesis(args) => args.run(session).await,
            SetupCommand::GenesisHash(args) => args.run(session).await,
            SetupCommand::Check(args) => args.run(session).await,
            SetupCommand::Testnet(args) => args.run(session).await,
        }
    }
}
