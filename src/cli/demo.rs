//! `demo`: a whole migration on this machine.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use kwil_formats::formats::Family;

use super::{Session, values::Size, words::demo::Teller};
use crate::{
    app::demo::{self, DemoOptions, NODES_MAX, NODES_MIN},
    base::Result,
};

/// The recorded networks that `demo` moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Families {
    Both,
    #[value(name = "v0.9")]
    V09,
    #[value(name = "v0.10")]
    V010,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs a PostgreSQL server on this machine (Debian, Ubuntu: apt-get install postgresql), but no \
    running one:\nthe demo starts its own, as another user where it is called by root, and removes it afterwards.\n\n\
    Examples:\n  \
    regenesis demo --family v0.10\n  \
    regenesis demo --air-gap\n  \
    regenesis demo --kwild ./kwild --kwild09 ./kwild-0.9 --pg-bin /usr/lib/postgresql/16/bin"
)]
pub(crate) struct DemoArgs {
    /// Nodes of the new network, the lead's included; beyond four they are nodes that follow
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(NODES_MIN as i64..=NODES_MAX as i64))]
    validators: u8,
    /// Add rows until the snapshot has about this size, such as 256M [default: the network as it was recorded]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Which recorded network: v0.9, v0.10, or both in turn
    #[arg(long, value_enum, default_value_t = Families::Both, hide_possible_values = true, value_name = "both|v0.9|v0.10")]
    family: Families,
    /// Keep snapshot, manifest and roots in this new directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A real kwild of v0.10: it is started on all roots of that family, and each node is confirmed
    #[arg(long, value_name = "PATH")]
    kwild: Option<PathBuf>,
    /// A real kwild of v0.9, for that family
    #[arg(long, value_name = "PATH")]
    kwild09: Option<PathBuf>,
    /// Over an air gap: two media of which one is lost, an island of three validators, and a list of what is missing that is read out
    #[arg(long, conflicts_with_all = ["kwild", "kwild09"])]
    air_gap: bool,
    /// Directory of the PostgreSQL server's programs [default: with a kwild version 16, else the newest installed]
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
}

impl DemoArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let families = match self.family {
            Families::Both => vec![Family::V09, Family::V010],
            Families::V09 => vec![Family::V09],
            Families::V010 => vec![Family::V010],
        };
        let options = DemoOptions {
            nodes: usize::from(self.validators),
            size_bytes: self.size.map(|size| size.0),
            families,
            keep: self.keep,
            kwild_v09: self.kwild09,
            kwild_v010: self.kwild,
            air_gap: self.air_gap,
            binaries: self.pg_bin,
        };
        let teller = Teller::new(session.progress.clone());
        let tell: demo::Tell = Arc::new(move |told| teller.tell(told));
        let shown = demo::run(options, tell, &session.progress, &session.cancel).await?;
        session.output.result(&shown)
    }
}
