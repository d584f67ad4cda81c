//! `setup …`: everything about a node's root and the machine it starts on.

use clap::Subcommand;

use super::{Session, setup_check::CheckArgs, setup_init::InitArgs, setup_testnet::TestnetArgs};
use crate::base::Result;

/// Roots of nodes
#[derive(Debug, Subcommand)]
pub(crate) enum SetupCommand {
    /// Makes a node's root from genesis and snapshot, checked before anything stands under its final name
    Init(Box<InitArgs>),
    /// Says whether this machine is ready for kwild: server, database, root, programs, ports, disk
    Check(Box<CheckArgs>),
    /// Makes the roots of a whole network on this machine, new or from a snapshot, to rehearse a migration
    Testnet(Box<TestnetArgs>),
}

impl SetupCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            SetupCommand::Init(args) => args.run(session).await,
            SetupCommand::Check(args) => args.run(session).await,
            SetupCommand::Testnet(args) => args.run(session).await,
        }
    }
}
