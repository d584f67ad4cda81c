//! Flags of Kwil's `setup init` about a genesis that it makes itself, of both families.

use clap::Args;
use kwil_formats::formats::{
    Family,
    genesis::{Fresh, Genesis, edit::entry},
    key::PublicKey,
};

use super::genesis_values::{self, balance, join_expiry};
use crate::{
    base::{Error, Result, Sha256Hash},
    setup::NewGenesis,
};

/// What a new genesis holds beyond Kwil's defaults and this node.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "New genesis (without --genesis)")]
pub(crate) struct GenesisFlags {
    /// The network's id [default: v0.9 a fresh one, v0.10 kwil-testnet]
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Until a join request ends: v0.9 a number of blocks, v0.10 a time such as 168h
    #[arg(long, value_name = "BLOCKS|TIME", allow_hyphen_values = true)]
    join_expiry: Option<String>,
    /// Transactions cost gas; every validator gets a balance (v0.9: --gas, v0.10: --with-gas)
    #[arg(long = "with-gas", visible_alias = "gas")]
    gas: bool,
    /// A balance: v0.9 ACCOUNT=AMOUNT, v0.10 ID#TYPE:AMOUNT or 0xADDRESS:AMOUNT
    #[arg(long, value_name = "BALANCE", value_delimiter = ',')]
    alloc: Vec<String>,
    /// v0.10: a validator as KEY#TYPE:POWER [default: the leader]
    #[arg(long, value_name = "VALIDATOR", value_delimiter = ',')]
    validator: Vec<String>,
    /// v0.10: who proposes blocks, as KEY#TYPE [default: this node]
    #[arg(long, value_name = "KEY")]
    leader: Option<String>,
    /// v0.10: who administers the database [default: this node]
    #[arg(long, value_name = "OWNER")]
    db_owner: Option<String>,
    /// v0.10: bytes of a block
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    max_block_size: Option<i64>,
    /// v0.10: votes in one transaction
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_votes_per_tx: Option<i64>,
    /// TRUF's fork: from this height on it counts
    #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true)]
    maa_activation_height: Option<i64>,
}

impl GenesisFlags {
    /// The name of the first flag that was given, `None` if none was.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let given = [
            ("--chain-id", self.chain_id.is_some()),
            ("--join-expiry", self.join_expiry.is_some()),
            ("--with-gas", self.gas),
            ("--alloc", !self.alloc.is_empty()),
            ("--validator", !self.validator.is_empty()),
            ("--leader", self.leader.is_some()),
            ("--db-owner", self.db_owner.is_some()),
            ("--max-block-size", self.max_block_size.is_some()),
            ("--max-votes-per-tx", self.max_votes_per_tx.is_some()),
            ("--maa-activation-height", self.maa_activation_height.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// How the genesis is made that the flags ask for, for whatever key the node gets.
    ///
    /// # Errors
    /// `Kind::Usage` when a flag's text is not what it must be.
    pub(crate) fn new_genesis(&self, family: Family) -> Result<NewGenesis> {
        let mut fresh = self.fresh(family)?;
        let leader = self.leader.as_deref().map(|text| text.parse::<PublicKey>().map_err(|e| bad_value("--leader", e)));
        fresh.leader = leader.transpose()?;
        let gas = self.gas;
        // The same twice: once for a look beforehand, once with the snapshot's hash.
        Ok(NewGenesis::new(family, move |key, state_hash| of_node(&fresh, gas, key, state_hash)))
    }

    fn fresh(&self, family: Family) -> Result<Fresh> {
        let mut fresh = genesis_values::new(family, self.chain_id.as_deref());
        fresh.join_expiry = self.join_expiry.as_deref().map(|text| join_expiry(family, text)).transpose()?;
        let sign = match family {
            Family::V09 => '=',
            Family::V010 => ':',
        };
        for text in &self.alloc {
            fresh.alloc.push(balance(family, &[sign], text)?);
        }
        for text in &self.validator {
            // Both families' as v0.10 writes it.
            fresh.validators.push(entry(Family::V010, text).map_err(|e| bad_value("--validator", e))?);
        }
        fresh.db_owner.clone_from(&self.db_owner);
        fresh.max_block_size = self.max_block_size;
        fresh.max_votes_per_tx = self.max_votes_per_tx;
        fresh.maa_activation_height = self.maa_activation_height.unwrap_or(0);
        Ok(fresh)
    }
}

/// The genesis of a network that begins with this node: its key is the leader or the only validator, unless flags say
/// otherwise.
fn of_node(fresh: &Fresh, gas: bool, key: &PublicKey, state_hash: Option<Sha256Hash>) -> Result<Genesis> {
    let mut fresh = fresh.clone();
    fresh.state_hash = state_hash;
    if fresh.family == Family::V010 {
        let leader = *fresh.leader.get_or_insert(*key);
        fresh.db_owner.get_or_insert_with(|| key.user_identifier());
        if fresh.validators.is_empty() {
            fresh.validator(leader);
        }
    } else if fresh.validators.is_empty() {
        fresh.validator(*key);
    }
    if gas {
        fresh.fund_validators();
    }
    fresh.build().map_err(|e| {
        let told = e.to_string();
        Error::usage(told).hint("correct the flag; `regenesis setup init --help` says what each one takes")
    })
}

fn bad_value(flag: &str, why: impl std::fmt::Display) -> Error {
    Error::usage(format!("{flag}: {why}")).hint("`regenesis setup init --help` says what each flag takes")
}
