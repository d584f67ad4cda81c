//! `setup genesis` and `setup genesis-hash`: with the flags and outputs of both families' own tools.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use kwil_formats::formats::{
    Family,
    genesis::{Fresh, edit::entry},
    key::PublicKey,
};
use serde::{Serialize, Serializer};

use super::{
    Session,
    genesis_values::{self, balance, join_expiry},
};
use crate::{
    app::genesis as use_case,
    base::{Context, Error, Notice, Result, Sha256Hash, text},
};

/// What `setup genesis` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "The family follows from the flags: --leader and the other flags of v0.10 make a v0.10 genesis, all else\n\
    one of v0.9; --family says it outright.\n\n\
    Examples:\n  regenesis setup genesis --chain-id net-1 --validator node0:HEX:1 --out DIR\n  \
    regenesis setup genesis --leader HEX#secp256k1 --validator HEX#secp256k1:1 --join-expiry 72h --out DIR"
)]
pub(crate) struct GenesisArgs {
    /// Directory for genesis.json
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// v0.9 or v0.10 [default: as the flags say]
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    /// The network's id [default: v0.9 a fresh one, v0.10 kwil-testnet]
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Validator: v0.9 NAME:HEX:POWER, v0.10 HEX#TYPE:POWER (repeatable)
    #[arg(long = "validator", value_name = "VALIDATOR", value_delimiter = ',')]
    validators: Vec<String>,
    /// Balance: ACCOUNT:AMOUNT, in v0.10 0xADDRESS:AMOUNT or HEX#TYPE:AMOUNT (repeatable)
    #[arg(long = "alloc", value_name = "ALLOC", value_delimiter = ',')]
    allocs: Vec<String>,
    /// Until a join request ends: v0.9 a number of blocks, v0.10 a time such as 168h
    #[arg(long, value_name = "EXPIRY", allow_hyphen_values = true)]
    join_expiry: Option<String>,
    /// Votes in one transaction
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_votes_per_tx: Option<i64>,
    /// Bytes of a block (v0.9 also: --max-bytes-per-block)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_block_size: Option<i64>,
    /// As --max-block-size, v0.9's spelling
    #[arg(long, value_name = "N", hide = true, conflicts_with = "max_block_size", allow_hyphen_values = true)]
    max_bytes_per_block: Option<i64>,
    /// v0.9: transactions cost gas
    #[arg(long)]
    with_gas_costs: bool,
    /// v0.10: transactions cost gas
    #[arg(long)]
    with_gas: bool,
    /// v0.9: blocks until a resolution ends
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    vote_expiry: Option<i64>,
    /// v0.9: fork, as NAME:HEIGHT (repeatable)
    #[arg(long = "fork", value_name = "FORK")]
    forks: Vec<String>,
    /// Snapshot that the network begins with; its hash goes into the genesis
    #[arg(long, value_name = "FILE")]
    genesis_state: Option<PathBuf>,
    /// v0.10: who proposes blocks, as HEX#TYPE; without validators it is the only one
    #[arg(long, value_name = "KEY")]
    leader: Option<PublicKey>,
    /// v0.10: who administers [default: the leader's user]
    #[arg(long, value_name = "USER")]
    db_owner: Option<String>,
    /// TRUF's fork of v0.10
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    maa_activation_height: Option<i64>,
    /// v0.9: the instant the network begins [default: now]
    #[arg(long, value_name = "RFC3339")]
    genesis_time: Option<String>,
}

impl GenesisArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let family = self.family()?;
        let mut fresh = self.fresh(family)?;
        if let Some(path) = self.genesis_state {
            let (progress, cancel) = (session.progress.clone(), session.cancel.clone());
            let hashed = tokio::task::spawn_blocking(move || use_case::state_hash(&path, &progress, &cancel));
            let (of, hash) = hashed.await.or_failed(|| "setup genesis ended")??;
            if of != family {
                return Err(Error::verify(format!("the snapshot is of family {of}, the genesis would be of {family}"))
                    .hint("the families' states never mix; give --family, or the flags of the snapshot's family"));
            }
            fresh.state_hash = Some(hash);
        }
        let (path, findings) = use_case::create(&fresh, &self.out)?;
        for finding in &findings {
            let at = finding.path.as_deref().unwrap_or("genesis");
            let text = format!("[{}] {at}: {}", finding.code, finding.text);
            session.progress.warning(Notice { text, next: finding.fix.clone() });
        }
        session.output.result(&Said(format!("Created genesis.json file at {}", path.display())))
    }

    /// The family that was told, else the one whose flags were given, else v0.9; `Kind::Usage` where flags contradict.
    fn family(&self) -> Result<Family> {
        let typed = |texts: &[String]| texts.iter().any(|text| text.contains('#'));
        let v010: Vec<&str> = [
            (self.leader.is_some(), "--leader"),
            (self.db_owner.is_some(), "--db-owner"),
            (self.with_gas, "--with-gas"),
            (self.max_block_size.is_some(), "--max-block-size"),
            (self.maa_activation_height.is_some(), "--maa-activation-height"),
            (typed(&self.validators), "--validator HEX#TYPE:POWER"),
            (typed(&self.allocs), "--alloc HEX#TYPE:AMOUNT"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect();
        let v09: Vec<&str> = [
            (self.with_gas_costs, "--with-gas-costs"),
            (self.vote_expiry.is_some(), "--vote-expiry"),
            (!self.forks.is_empty(), "--fork"),
            (self.max_bytes_per_block.is_some(), "--max-bytes-per-block"),
            (self.genesis_time.is_some(), "--genesis-time"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect();
        let wrong = |name: &str, family: Family| {
            Err(Error::usage(format!("{name} is no flag for a genesis of {family}"))
                .hint("leave it out, or give --family for the other one"))
        };
        match (self.family, v09.first(), v010.first()) {
            (None, Some(v09), Some(v010)) => Err(Error::usage(format!("{v09} is v0.9's, {v010} is v0.10's"))
                .hint("a genesis is of one family: leave one of the two out")),
            (Some(Family::V010), Some(name), _) if *name != "--max-bytes-per-block" => wrong(name, Family::V010),
            (Some(Family::V09), _, Some(name))
                if !matches!(*name, "--max-block-size" | "--with-gas") && !name.contains('#') =>
            {
                wrong(name, Family::V09)
            }
            (Some(family), _, _) => Ok(family),
            (None, _, Some(_)) => Ok(Family::V010),
            (None, _, None) => Ok(Family::V09),
        }
    }

    fn fresh(&self, family: Family) -> Result<Fresh> {
        let mut fresh = genesis_values::new(family, self.chain_id.as_deref());
        if let Some(time) = &self.genesis_time {
            fresh.genesis_time_rfc3339.clone_from(time);
        }
        for text in &self.validators {
            let validator = entry(family, text)?;
            if family == Family::V09 && validator.name.is_none() {
                return Err(Error::usage(format!("{:?} names no validator", text::escape(text)))
                    .hint("v0.9 takes NAME:HEX:POWER"));
            }
            fresh.validators.push(validator);
        }
        for text in &self.allocs {
            fresh.alloc.push(balance(family, &[':'], text)?);
        }
        fresh.forks = forks(&self.forks)?;
        if family == Family::V010 && self.leader.is_none() {
            return Err(
                Error::usage("a v0.10 genesis needs a leader").hint("give --leader HEX#TYPE: who proposes blocks")
            );
        }
        fresh.leader = self.leader;
        fresh.db_owner = self.db_owner.clone();
        fresh.gas = self.with_gas || self.with_gas_costs;
        fresh.max_block_size = self.max_block_size.or(self.max_bytes_per_block);
        fresh.max_votes_per_tx = self.max_votes_per_tx;
        fresh.vote_expiry = self.vote_expiry;
        fresh.maa_activation_height = self.maa_activation_height.unwrap_or(0);
        fresh.join_expiry = self.join_expiry.as_deref().map(|text| join_expiry(family, text)).transpose()?;
        Ok(fresh)
    }
}

fn forks(texts: &[String]) -> Result<BTreeMap<String, i64>> {
    let mut forks = BTreeMap::new();
    for text in texts {
        let parsed = text.split_once(':').and_then(|(name, height)| Some((name, height.parse::<i64>().ok()?)));
        match parsed {
            Some((name, height)) if !name.is_empty() && height >= 0 => forks.insert(name.to_owned(), height),
            _ => {
                return Err(Error::usage(format!("{:?} is no fork", text::escape(text)))
                    .hint("write it as NAME:HEIGHT, such as halt:195391"));
            }
        };
    }
    Ok(forks)
}

/// A result that is one sentence, in JSON a string, as Kwil's tools print it.
#[derive(Debug)]
struct Said(String);

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `setup genesis-hash` is told.
#[derive(Debug, Args)]
#[command(after_help = "Every statement of the snapshot is checked first: what is no Kwil dump has no state hash.\n\
    A database is hashed by making a snapshot of it: `regenesis snapshot create`.")]
pub(crate) struct GenesisHashArgs {
    /// The snapshot, gzip or plain SQL
    #[arg(short, long, value_name = "FILE", required_unless_present = "snapshot_file")]
    snapshot: Option<PathBuf>,
    /// Write the hash into this genesis
    #[arg(short, long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// As --snapshot, v0.10's form of the command
    #[arg(value_name = "SNAPSHOT", hide = true, conflicts_with = "snapshot")]
    snapshot_file: Option<PathBuf>,
    /// As --genesis, v0.10's form of the command
    #[arg(value_name = "GENESIS", hide = true, conflicts_with = "genesis")]
    genesis_file: Option<PathBuf>,
}

impl GenesisHashArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let snapshot = self.snapshot.or(self.snapshot_file).unwrap_or_default();
        let genesis = self.genesis.or(self.genesis_file);
        let (progress, cancel) = (session.progress.clone(), session.cancel.clone());
        let hashed = tokio::task::spawn_blocking(move || -> Result<HashResult> {
            let (family, hash) = use_case::state_hash(&snapshot, &progress, &cancel)?;
            let changed = match &genesis {
                Some(path) => Some(use_case::write_state_hash(path, family, hash, &progress)?),
                None => None,
            };
            Ok(HashResult::new(family, hash, genesis, changed))
        });
        session.output.result(&hashed.await.or_failed(|| "setup genesis-hash ended")??)
    }
}

#[derive(Debug, Serialize)]
struct HashResult {
    /// The hash in base64, under the key of v0.9's own tool.
    #[serde(rename = "Hash")]
    base64: String,
    /// The hash in base64, under the key of v0.10's own tool.
    genesis_hash: String,
    state_hash: Sha256Hash,
    family: Family,
    genesis: Option<PathBuf>,
    changed: Option<bool>,
}

impl HashResult {
    fn new(family: Family, hash: Sha256Hash, genesis: Option<PathBuf>, changed: Option<bool>) -> Self {
        let base64 = STANDARD.encode(hash.as_bytes());
        HashResult { genesis_hash: base64.clone(), base64, state_hash: hash, family, genesis, changed }
    }
}

impl fmt::Display for HashResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::V09 => writeln!(f, "App Hash: {}", self.base64)?,
            Family::V010 => writeln!(f, "Genesis App Hash: {}", self.base64)?,
        }
        writeln!(f, "in hex: {}", self.state_hash)?;
        match (&self.genesis, self.changed) {
            (Some(path), Some(true)) => writeln!(f, "written into {}", path.display()),
            (Some(path), _) => writeln!(f, "{} has it already", path.display()),
            (None, _) => Ok(()),
        }
    }
}
