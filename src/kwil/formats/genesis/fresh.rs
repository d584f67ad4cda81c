//! The genesis of a network that begins without a snapshot's history: Kwil's defaults, and what the operator says.
//! The bytes are those of Kwil's own `setup init`, `setup genesis` and `setup testnet`.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use rand::{CryptoRng, Rng};

use super::{Genesis, GenesisError, NamedValidator, check_chain_id, refuse, v09, v010};
use crate::{
    base::Sha256Hash,
    formats::{
        Family, Validator,
        duration::GoDuration,
        key::{KeyError, KeyType, PublicKey},
    },
};

/// v0.10's chain id where none is given.
pub const V010_CHAIN_ID: &str = "kwil-testnet";
/// What each validator of a network with gas gets from Kwil's `setup init`: ten thousand coins of 18 digits.
pub const GAS_BALANCE: &str = "10000000000000000000000";

/// When a join request ends: v0.9 counts blocks, v0.10 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// v0.9: after so many blocks.
    Blocks(i64),
    /// v0.10: after this time.
    Time(GoDuration),
}

impl Expiry {
    /// Reads the text as the family writes it: `100800` or `168h0m0s`.
    ///
    /// # Errors
    /// When the text is the other family's, or neither's.
    pub fn parse(family: Family, text: &str) -> Result<Self, GenesisError> {
        let wrong = |what: String| GenesisError::Field { path: "join_expiry".into(), what };
        match family {
            Family::V09 => text
                .parse()
                .map(Expiry::Blocks)
                .map_err(|_| wrong(format!("{text:?} is no number of blocks, as v0.9 counts it (such as 100800)"))),
            Family::V010 => GoDuration::parse(text)
                .map(Expiry::Time)
                .map_err(|error| wrong(format!("{error}; v0.10 wants a time such as 168h or 1h30m"))),
        }
    }
}

/// A balance that a new network begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The account: v0.9 any text (hex, by custom), v0.10 hex; `0x` and forty digits are an Ethereum address.
    pub id: String,
    /// The type of the account's key; `None` in v0.9, and for an address with `0x`, whose key is secp256k1.
    pub key_type: Option<KeyType>,
    /// The balance as a decimal number of any size.
    pub amount: String,
}

/// The parts of a new genesis, to be filled in and built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The family of the genesis.
    pub family: Family,
    /// The network's chain id.
    pub chain_id: String,
    /// v0.9's instant at which the network begins, in RFC 3339 as [`go_time`] writes it; v0.10 ignores it.
    pub genesis_time_rfc3339: String,
    /// The first block's number in v0.9, the number before it in v0.10; `None` is Kwil's default (v0.9: 1, v0.10: 0).
    pub initial_height: Option<i64>,
    /// SHA-256 of the uncompressed text of the snapshot that the network begins with; `None` where it has none.
    pub state_hash: Option<Sha256Hash>,
    /// The validators; in v0.9 those without a name get `validator-N`, by their index.
    pub validators: Vec<NamedValidator>,
    /// v0.10's validator who proposes blocks; `None` is the first. Without validators the leader becomes one, of power
    /// 1.
    pub leader: Option<PublicKey>,
    /// v0.10's user who owns and administers the database; `None` is the leader's user.
    pub db_owner: Option<String>,
    /// The accounts that are credited when the chain begins.
    pub alloc: Vec<Balance>,
    /// v0.9's forks: the height at which each name is activated.
    pub forks: BTreeMap<String, i64>,
    /// Whether transactions cost gas.
    pub gas: bool,
    /// Bytes of the largest block; `None` is Kwil's default.
    pub max_block_size: Option<i64>,
    /// How long a validator's request to join stays open; `None` is Kwil's default.
    pub join_expiry: Option<Expiry>,
    /// v0.9: how many blocks a resolution can be voted on; `None` is Kwil's default.
    pub vote_expiry: Option<i64>,
    /// The most votes in one transaction; `None` is Kwil's default.
    pub max_votes_per_tx: Option<i64>,
    /// The key `maa_activation_height` of TRUF's fork; 0 is not written.
    pub maa_activation_height: i64,
}

impl Fresh {
    /// Kwil's defaults for a network of this chain id, without validators; only v0.9 uses the time.
    pub fn new(family: Family, chain_id: impl Into<String>, genesis_time_rfc3339: impl Into<String>) -> Self {
        Fresh {
            family,
            chain_id: chain_id.into(),
            genesis_time_rfc3339: genesis_time_rfc3339.into(),
            initial_height: None,
            state_hash: None,
            validators: Vec::new(),
            leader: None,
            db_owner: None,
            alloc: Vec::new(),
            forks: BTreeMap::new(),
            gas: false,
            max_block_size: None,
            join_expiry: None,
            vote_expiry: None,
            max_votes_per_tx: None,
            maa_activation_height: 0,
        }
    }

    /// Adds a validator of power 1, as `setup init` and `setup testnet` do with the nodes they make.
    pub fn validator(&mut self, key: PublicKey) {
        self.validators.push(NamedValidator { validator: Validator { key, power: 1 }, name: None });
    }

    /// Turns gas on and gives every validator a balance, as Kwil's `setup init` does when asked for gas. Kwil's v0.10
    /// writes the account's id where its key type belongs, so that no node can start; here stands the key type.
    pub fn fund_validators(&mut self) {
        self.gas = true;
        self.alloc.extend(self.validators.iter().map(|NamedValidator { validator, .. }| Balance {
            id: validator.key.to_hex(),
            key_type: Some(validator.key.key_type()),
            amount: GAS_BALANCE.to_owned(),
        }));
    }

    /// The genesis of these parts.
    ///
    /// # Errors
    /// When it has a value or a key that no node of the family could take.
    pub fn build(&self) -> Result<Genesis, GenesisError> {
        check_chain_id(self.family, &self.chain_id)?;
        for (index, NamedValidator { validator, .. }) in self.validators.iter().enumerate() {
            if validator.power == 0 {
                return refuse(
                    "validators",
                    format!("validator {index} has power {}, but it must be at least 1", validator.power),
                );
            }
            if self.validators[..index].iter().any(|other| other.validator.key == validator.key) {
                return refuse("validators", format!("{} is there twice", validator.key));
            }
        }
        for (path, value) in [
            ("max_block_size", self.max_block_size),
            ("vote_expiry", self.vote_expiry),
            ("max_votes_per_tx", self.max_votes_per_tx),
        ] {
            if let Some(value) = value.filter(|value| *value <= 0) {
                return refuse(path, format!("{value}, but it must be greater than 0"));
            }
        }
        if let Some(height) = self.initial_height.filter(|height| *height < 0) {
            return refuse("initial_height", format!("{height}, but it must not be negative"));
        }
        let mut genesis = match self.family {
            Family::V09 => Genesis::V09(self.v09()?),
            Family::V010 => Genesis::V010(self.v010()?),
        };
        if let Some(hash) = self.state_hash {
            genesis.set_state_hash(hash);
        }
        if let Some(height) = self.initial_height {
            genesis.set_initial_height(height);
        }
        Ok(genesis)
    }

    fn v09(&self) -> Result<v09::Genesis, GenesisError> {
        v09::check_time(&self.genesis_time_rfc3339)?;
        for (path, given, wanted) in [
            ("leader", self.leader.is_some(), "a leader"),
            ("db_owner", self.db_owner.is_some(), "an owner"),
            ("maa_activation_height", self.maa_activation_height != 0, "TRUF's activation height"),
        ] {
            if given {
                return refuse(path, format!("a v0.9 genesis has no place for {wanted}"));
            }
        }
        let mut validators = Vec::with_capacity(self.validators.len());
        for (index, validator) in self.validators.iter().enumerate() {
            let kind = validator.validator.key.key_type();
            if kind != KeyType::Ed25519 {
                return refuse("validators", format!("validator {index}: {}", KeyError::FamilyCannotHold(kind)));
            }
            validators.push(v09::GenesisValidator {
                pub_key: validator.validator.key.bytes().to_vec(),
                power: validator.validator.signed_power(),
                name: validator.name.clone().unwrap_or_else(|| format!("validator-{index}")),
            });
        }
        let mut params = v09::ConsensusParams { without_gas_costs: !self.gas, ..v09::ConsensusParams::kwil_defaults() };
        let set = |into: &mut i64, value: Option<i64>| *into = value.unwrap_or(*into);
        set(&mut params.block_max_bytes, self.max_block_size);
        set(&mut params.votes_vote_expiry, self.vote_expiry);
        set(&mut params.votes_max_votes_per_tx, self.max_votes_per_tx);
        match self.join_expiry {
            None => {}
            Some(Expiry::Blocks(blocks)) if blocks > 0 => params.validator_join_expiry = blocks,
            Some(_) => return refuse("join_expiry", "v0.9 wants a number of blocks, greater than 0"),
        }
        let mut alloc = BTreeMap::new();
        for balance in &self.alloc {
            let amount = balance.checked_amount()?;
            if alloc.insert(balance.id.clone(), Some(amount)).is_some() {
                return refuse("alloc", format!("{} is there twice", crate::base::text::escape(&balance.id)));
            }
        }
        Ok(v09::Genesis {
            genesis_time: self.genesis_time_rfc3339.clone(),
            chain_id: self.chain_id.clone(),
            initial_height: 1,
            app_hash: None,
            alloc,
            activations: (!self.forks.is_empty()).then(|| self.forks.clone()),
            consensus_params: Some(params),
            validators,
        })
    }

    fn v010(&self) -> Result<v010::Genesis, GenesisError> {
        if !self.forks.is_empty() {
            return refuse("activations", "a v0.10 genesis has no place for forks");
        }
        if self.vote_expiry.is_some() {
            return refuse("vote_expiry", "a v0.10 genesis has no place for it");
        }
        let Some(leader) = self.leader.or_else(|| self.validators.first().map(|named| named.validator.key)) else {
            return refuse("leader", "a v0.10 network must have one");
        };
        let entry = |key: &PublicKey, power| v010::GenesisValidator {
            pubkey: key.bytes().to_vec(),
            kind: key.key_type().to_string(),
            power,
        };
        let mut validators: Vec<_> =
            self.validators.iter().map(|v| entry(&v.validator.key, v.validator.signed_power())).collect();
        if validators.is_empty() {
            validators.push(entry(&leader, 1));
        } else if self.validators.iter().all(|named| named.validator.key != leader) {
            return refuse("leader", format!("{leader} is not among the validators"));
        }
        let mut genesis = v010::Genesis::kwil_defaults(leader);
        genesis.chain_id = self.chain_id.clone();
        genesis.db_owner = self.db_owner.clone().unwrap_or_else(|| leader.user_identifier());
        genesis.validators = Some(validators);
        genesis.alloc = self.alloc.iter().map(Balance::v010).collect::<Result<_, _>>()?;
        genesis.disabled_gas_costs = !self.gas;
        genesis.max_block_size = self.max_block_size.unwrap_or(genesis.max_block_size);
        genesis.max_votes_per_tx = self.max_votes_per_tx.unwrap_or(genesis.max_votes_per_tx);
        genesis.maa_activation_height = self.maa_activation_height;
        match self.join_expiry {
            None => {}
            Some(Expiry::Time(time)) if time.0 > 0 => genesis.join_expiry = time,
            Some(_) => return refuse("join_expiry", "v0.10 wants a time greater than 0, such as 168h0m0s"),
        }
        Ok(genesis)
    }
}

impl Balance {
    /// The balance of an account that is typed as `ID`, or with its key's type as `ID#TYPE`.
    ///
    /// # Errors
    /// When there is no such type; account and amount are looked at by [`Fresh::build`].
    pub fn new(account: &str, amount: &str) -> Result<Self, KeyError> {
        let (id, key_type) = match account.split_once('#') {
            Some((id, kind)) => (id, Some(kind.parse()?)),
            None => (account, None),
        };
        Ok(Balance { id: id.to_owned(), key_type, amount: amount.to_owned() })
    }

    /// The amount without leading zeros; an error where it is no plain decimal number.
    pub(super) fn checked_amount(&self) -> Result<String, GenesisError> {
        let digits = self.amount.trim_start_matches('0');
        if self.amount.is_empty() || !self.amount.bytes().all(|b| b.is_ascii_digit()) {
            return refuse(
                "alloc",
                format!("{:?} is no amount: plain digits, not negative", crate::base::text::escape(&self.amount)),
            );
        }
        Ok(if digits.is_empty() { "0".to_owned() } else { digits.to_owned() })
    }

    pub(super) fn v010(&self) -> Result<v010::Alloc, GenesisError> {
        let (digits, key_type) = match (self.id.strip_prefix("0x"), self.key_type) {
            (Some(digits), kind) if digits.len() == 40 => (digits, kind.unwrap_or(KeyType::Secp256k1)),
            (None, Some(kind)) => (self.id.as_str(), kind),
            _ => {
                return refuse(
                    "alloc",
                    format!(
                        "{:?} is no account: 0x and forty digits, or HEX#TYPE",
                        crate::base::text::escape(&self.id)
                    ),
                );
            }
        };
        match hex::decode(digits) {
            Ok(id) if !id.is_empty() => {
                Ok(v010::Alloc { id, key_type: key_type.to_string(), amount: Some(self.checked_amount()?) })
            }
            _ => refuse("alloc", format!("{:?} is no hex text", crate::base::text::escape(&self.id))),
        }
    }
}

/// A chain id as Kwil's v0.9 makes one where none is given: letters and digits, a letter first.
pub fn chain_id(random: &mut impl CryptoRng) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut pick = |n: usize| char::from(LETTERS[random.random_range(..n)]);
    let first = pick(26);
    let rest: String = (0..7).map(|_| pick(LETTERS.len())).collect();
    format!("kwil-chain-{first}{rest}")
}

/// A time since 1970 in RFC 3339 as Go writes it: nine digits of a second at most, no trailing zero.
pub fn go_time(since_1970: Duration) -> String {
    // RFC 3339 ends with the year 9999.
    let since_1970 = since_1970.min(Duration::from_secs(253_402_300_799));
    let text = humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since_1970).to_string();
    let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}
