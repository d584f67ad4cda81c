//! `setup testnet`: the roots of a whole network on this machine, new or from a snapshot.

use std::{net::Ipv4Addr, path::PathBuf};

use clap::Args;
use kwil_formats::formats::{Family, genesis::Fresh};

use super::{
    Session,
    config_flags::LongConfigFlags,
    genesis_values::{self, balance, join_expiry},
};
use crate::{
    app::testnet::{self, Beginning, TestnetOptions},
    base::{Error, Result},
    setup::{
        self,
        testnet::{Hosts, Layout},
    },
};

/// What `setup testnet` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Every node has ports and a database of its own, so that all can run on this machine (Kwil's own command gives\n\
    them one database, and in v0.10 the same ports unless told). With --genesis and --genesis-state the network\n\
    begins with a real network's state: a rehearsal of its migration, with validators of its own.\n\n\
    Configuration flags of setup init, such as --db.port or --app.pg-db-port, are taken for every node.\n\n\
    Examples:\n  regenesis setup testnet -v 4 -o ./net --db.pass kwild\n  \
    regenesis setup testnet -v 4 -o ./rehearsal -g network_snapshot/genesis.json -s network_snapshot/snapshot.sql.gz"
)]
pub(crate) struct TestnetArgs {
    /// Nodes that are validators
    #[arg(short = 'v', long, visible_alias = "vals", value_name = "N", default_value_t = 3)]
    validators: usize,
    /// Nodes that are none
    #[arg(short = 'n', long, visible_alias = "non-vals", value_name = "N", default_value_t = 0)]
    non_validators: usize,
    /// Directory of the nodes' roots; must not be there yet, or be empty
    #[arg(short = 'o', long, visible_alias = "out-dir", value_name = "DIR", default_value = ".testnet")]
    output_dir: PathBuf,
    /// The genesis of a real network: everything is taken from it but name and validators
    #[arg(short = 'g', long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The snapshot that this genesis pins, gzip or plain SQL
    #[arg(short = 's', long, value_name = "FILE", requires = "genesis")]
    genesis_state: Option<PathBuf>,
    /// The manifest signed for this genesis, which tells how databases order text [default: the one beside --genesis, else
    /// what was kept when the snapshot was made here]
    #[arg(long, value_name = "FILE", requires = "genesis")]
    manifest: Option<PathBuf>,
    /// v0.9 or v0.10 [default: that of --genesis, else v0.10]
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    /// The network's id [default: kwil-testnet in v0.10, a fresh one in v0.9; with --genesis its own and -testnet]
    #[arg(short = 'c', long, value_name = "ID")]
    chain_id: Option<String>,
    /// Port of the first node for its peers; v0.9 counts down from it, v0.10 up [default: 26656, 6600]
    #[arg(short = 'p', long, visible_alias = "port", value_name = "PORT")]
    p2p_port: Option<u16>,
    /// v0.10: each node has ports of its own also with --hostnames, and a Postgres server of its own, at 5432, 5433 …
    #[arg(short = 'u', long)]
    unique_ports: bool,
    /// What the nodes' directories are called, before their number
    #[arg(long, value_name = "NAME", default_value = "node", value_parser = directory_name)]
    node_dir_prefix: String,
    /// What the nodes' databases are called, before their number
    #[arg(long, value_name = "NAME", default_value = "kwild")]
    database_prefix: String,
    /// One host name for each node, which then run on machines of their own
    #[arg(short = 'H', long, value_name = "NAME,NAME…", value_delimiter = ',')]
    hostnames: Vec<String>,
    /// Host names made from the node's number: what stands before it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["hostnames", "starting_ip"])]
    hostname_prefix: Option<String>,
    /// … and behind it
    #[arg(long, value_name = "TEXT", requires = "hostname_prefix")]
    hostname_suffix: Option<String>,
    /// Address of the first node; the others count up (Kwil's v0.9 begins at 172.10.100.2, here all are on this machine)
    #[arg(long, value_name = "IPV4", conflicts_with = "hostnames")]
    starting_ip: Option<Ipv4Addr>,
    /// v0.9: time between blocks
    #[arg(short = 'i', long, value_name = "TIME")]
    block_interval: Option<String>,
    /// Until a join request ends: v0.9 a number of blocks, v0.10 a time such as 168h
    #[arg(long, value_name = "EXPIRY")]
    join_expiry: Option<String>,
    /// Transactions cost gas; v0.9 gives each validator a balance
    #[arg(long, visible_alias = "with-gas")]
    gas: bool,
    /// Balance: v0.9 ACCOUNT=AMOUNT, v0.10 0xADDRESS:AMOUNT or HEX#TYPE:AMOUNT (repeatable)
    #[arg(long, value_name = "ALLOC", value_delimiter = ',')]
    alloc: Vec<String>,
    /// v0.10: who administers [default: the first node's user]
    #[arg(long, value_name = "USER")]
    db_owner: Option<String>,
    /// Bytes of a block
    #[arg(long, value_name = "N")]
    max_block_size: Option<i64>,
    /// Votes in one transaction
    #[arg(long, value_name = "N")]
    max_votes_per_tx: Option<i64>,
    /// TRUF's fork of v0.10
    #[arg(long, value_name = "N")]
    maa_activation_height: Option<i64>,
    /// v0.9: nodes keep snapshots of their own
    #[arg(long)]
    snaps: bool,
    /// v0.9: how many
    #[arg(long, value_name = "N", requires = "snaps")]
    max_snaps: Option<u64>,
    /// v0.9: every so many blocks
    #[arg(long, value_name = "N", requires = "snaps")]
    snap_heights: Option<u64>,
    /// Nodes let in only validators and the nodes of this network
    #[arg(short = 'm', long)]
    private: bool,
    /// Nodes do not tell each other of further nodes
    #[arg(long)]
    no_pex: bool,
    #[command(flatten)]
    config: LongConfigFlags,
}

/// Reads the beginning of a directory's name: no path, and no dot in front.
fn directory_name(text: &str) -> Result<String, String> {
    if text.contains(['/', '\0']) || text.starts_with('.') {
        return Err("expected the beginning of a directory's name, without / and no dot in front".to_owned());
    }
    Ok(text.to_owned())
}

impl TestnetArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let given = match &self.genesis {
            Some(path) => Some(setup::read_genesis(path)?.1),
            None => None,
        };
        let family = given.as_ref().map(|genesis| genesis.family()).or(self.family).unwrap_or(Family::V010);
        if let Some(wanted) = self.family.filter(|wanted| *wanted != family) {
            return Err(Error::refused(format!("the genesis is of {family}, not of {wanted}"))
                .hint("leave --family out, or take the genesis that belongs to it"));
        }
        self.refuse_other_family(family)?;
        let config = self.config_of(family)?;
        if config.iter().any(|(key, _)| key.ends_with("pass")) {
            session.progress.warning("a password on the command line can be seen by every user of this machine");
        }
        let layout = self.layout(family);
        let collation = match (&self.genesis, &given) {
            (Some(path), Some(genesis)) => testnet::old_collation(path, genesis, self.manifest.as_deref())?,
            _ => None,
        };
        let beginning = match given {
            Some(genesis) => {
                self.refuse_beside_genesis()?;
                Beginning::Genesis { genesis: Box::new(genesis), chain_id: self.chain_id, snapshot: self.genesis_state }
            }
            None => Beginning::Fresh(Box::new(self.fresh(family)?)),
        };
        let options = TestnetOptions {
            output: self.output_dir,
            validators: self.validators,
            non_validators: self.non_validators,
            layout,
            beginning,
            fund_validators: self.gas && family == Family::V09,
            config,
            collation,
            progress: session.progress.clone(),
            cancel: session.cancel.clone(),
        };
        session.output.result(&testnet::testnet(options).await?)
    }

    /// Refuses flags that this family's own command of Kwil does not have.
    fn refuse_other_family(&self, family: Family) -> Result<()> {
        let of_v09 = [(self.block_interval.is_some(), "--block-interval"), (self.snaps, "--snaps")];
        let of_v010 = [
            (self.unique_ports, "--unique-ports"),
            (self.db_owner.is_some(), "--db-owner"),
            (self.maa_activation_height.is_some(), "--maa-activation-height"),
        ];
        let others: &[(bool, &str)] = match family {
            Family::V09 => &of_v010,
            Family::V010 => &of_v09,
        };
        match others.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Error::usage(format!("{flag} is no flag of {family}, of which this network is"))
                .hint("leave it out, or choose the family with --family")),
            None => Ok(()),
        }
    }

    /// Refuses flags that say what an existing genesis says already.
    fn refuse_beside_genesis(&self) -> Result<()> {
        let flags = [
            (self.join_expiry.is_some(), "--join-expiry"),
            (self.gas, "--gas"),
            (!self.alloc.is_empty(), "--alloc"),
            (self.db_owner.is_some(), "--db-owner"),
            (self.max_block_size.is_some(), "--max-block-size"),
            (self.max_votes_per_tx.is_some(), "--max-votes-per-tx"),
            (self.maa_activation_height.is_some(), "--maa-activation-height"),
        ];
        match flags.iter().find(|(given, _)| *given) {
            Some((_, flag)) => {
                Err(Error::usage(format!("{flag} changes nothing beside --genesis, which says it already"))
                    .hint("leave it out, or edit a copy of the genesis first"))
            }
            None => Ok(()),
        }
    }

    fn layout(&self, family: Family) -> Layout {
        let hosts = match (&self.hostname_prefix, self.starting_ip) {
            (Some(prefix), _) => Hosts::Numbered(prefix.clone(), self.hostname_suffix.clone().unwrap_or_default()),
            (None, Some(first)) => Hosts::From(first),
            (None, None) if !self.hostnames.is_empty() => Hosts::Names(self.hostnames.clone()),
            (None, None) => Hosts::Here,
        };
        Layout {
            family,
            hosts,
            unique_ports: self.unique_ports,
            p2p_port: self.p2p_port,
            directory_prefix: self.node_dir_prefix.clone(),
            database_prefix: self.database_prefix.clone(),
        }
    }

    /// Keys of config.toml, with their values, that all nodes share.
    fn config_of(&self, family: Family) -> Result<Vec<(String, String)>> {
        let mut config = self.config.0.values(family)?;
        let mut set = |key: &str, value: String| config.push((key.to_owned(), value));
        let (private, pex) = match family {
            Family::V09 => ("chain.p2p.private_mode", "chain.p2p.pex"),
            Family::V010 => ("p2p.private", "p2p.pex"),
        };
        if self.private {
            set(private, "true".to_owned());
        }
        if self.no_pex {
            set(pex, "false".to_owned());
        }
        if let Some(interval) = &self.block_interval {
            set("chain.consensus.timeout_commit", interval.clone());
        }
        if self.snaps {
            set("app.snapshots.enable", "true".to_owned());
            set("app.snapshots.max_snapshots", self.max_snaps.unwrap_or(3).to_string());
            set("app.snapshots.recurring_height", self.snap_heights.unwrap_or(10_000).to_string());
        }
        Ok(config)
    }

    /// What the genesis of a new network holds, by the flags.
    fn fresh(&self, family: Family) -> Result<Fresh> {
        let mut fresh = genesis_values::new(family, self.chain_id.as_deref());
        fresh.gas = self.gas;
        fresh.db_owner = self.db_owner.clone();
        fresh.max_block_size = self.max_block_size;
        fresh.max_votes_per_tx = self.max_votes_per_tx;
        fresh.maa_activation_height = self.maa_activation_height.unwrap_or(0);
        fresh.join_expiry = self.join_expiry.as_deref().map(|text| join_expiry(family, text)).transpose()?;
        let signs: &[char] = match family {
            Family::V09 => &['='],
            Family::V010 => &[':', '='],
        };
        fresh.alloc = self.alloc.iter().map(|text| balance(family, signs, text)).collect::<Result<_>>()?;
        Ok(fresh)
    }
}
