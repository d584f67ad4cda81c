//! The v0.9 genesis, from and to JSON, and the parameters of a v0.9 database. It is read as Go's lenient reader does:
//! unknown keys vanish, missing keys are zero.

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    GenesisError, GenesisOptions, genesis_key,
    read::{self, field, wrong},
};
use crate::formats::{
    Validator,
    json::{Json, fold, object},
    key::{KeyType, PublicKey},
};

/// Go's standard decoder does not look at the unused bits of the last digit.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What Go writes for a time that was never set.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// Bytes of the largest block that CometBFT takes.
pub(super) const BLOCK_SIZE_BYTES_MAX: i64 = 104_857_600;
/// The largest sum of the validators' powers that CometBFT takes.
pub(super) const TOTAL_POWER_MAX: i64 = i64::MAX / 8;

/// genesis.json of v0.9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The instant at which the network begins, in RFC 3339, the same text on every node.
    pub genesis_time: String,
    /// The network's chain id; kwild takes 1 to 50 bytes.
    pub chain_id: String,
    /// The first block's number; 0 means 1.
    pub initial_height: i64,
    /// SHA-256 of the snapshot's uncompressed text, base64 in the file; `None` where nothing is pinned.
    pub app_hash: Option<Vec<u8>>,
    /// Balances to add when the chain begins: decimal amounts of any size by account; `None` is `null` in the file.
    pub alloc: BTreeMap<String, Option<String>>,
    /// The forks: the height at which each name is activated; `None` is `null` in the file.
    pub activations: Option<BTreeMap<String, i64>>,
    /// The consensus parameters; kwild panics where they are `None`.
    pub consensus_params: Option<ConsensusParams>,
    /// The validators.
    pub validators: Vec<GenesisValidator>,
}

/// A validator's entry in the file, whose key is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GenesisValidator {
    /// Public key, hex in the file.
    pub pub_key: Vec<u8>,
    /// Voting power.
    pub power: i64,
    /// The validator's name, such as `validator-0`.
    pub name: String,
}

/// The object `consensus_params`, section by section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsensusParams {
    /// `block.max_bytes`: bytes of the largest block; -1 is CometBFT's largest.
    pub block_max_bytes: i64,
    /// `block.max_gas`: CometBFT's gas of a block; -1 is no limit.
    pub block_max_gas: i64,
    /// `block.abci_max_bytes`, a flag of Kwil's.
    pub block_abci_max_bytes: bool,
    /// `evidence.max_age_num_blocks`: how many blocks evidence of misbehaviour counts.
    pub evidence_max_age_num_blocks: i64,
    /// `evidence.max_age_duration`: how many nanoseconds evidence of misbehaviour counts.
    pub evidence_max_age_duration: i64,
    /// `evidence.max_bytes`: bytes of evidence in one block, no more than the block's.
    pub evidence_max_bytes: i64,
    /// `validator.pub_key_types`: the curves of validators' keys; `None` is `null` in the file.
    pub validator_pub_key_types: Option<Vec<String>>,
    /// `validator.join_expiry`: how many blocks a validator's request to join stays open.
    pub validator_join_expiry: i64,
    /// `votes.vote_expiry`: how many blocks a resolution can be voted on.
    pub votes_vote_expiry: i64,
    /// `votes.max_votes_per_tx`: the most votes in one transaction.
    pub votes_max_votes_per_tx: i64,
    /// `abci.vote_extensions_enable_height`: the block from which CometBFT has vote extensions; 0 is never.
    pub abci_vote_extensions_enable_height: i64,
    /// `migration.start_height`: the block at which a zero-downtime migration begins; 0 is none and is not written.
    pub migration_start_height: i64,
    /// `migration.end_height`: the block at which a zero-downtime migration ends; 0 is none and is not written.
    pub migration_end_height: i64,
    /// `without_gas_costs`: whether transactions are free.
    pub without_gas_costs: bool,
}

impl ConsensusParams {
    /// The parameters of a genesis that Kwil's own tools write.
    pub fn kwil_defaults() -> Self {
        ConsensusParams {
            block_max_bytes: 6_291_456,
            block_max_gas: -1,
            block_abci_max_bytes: false,
            evidence_max_age_num_blocks: 100_000,
            evidence_max_age_duration: 172_800_000_000_000,
            evidence_max_bytes: 1_048_576,
            validator_pub_key_types: Some(vec!["ed25519".into()]),
            validator_join_expiry: 100_800,
            votes_vote_expiry: 14_400,
            votes_max_votes_per_tx: 100,
            abci_vote_extensions_enable_height: 0,
            migration_start_height: 0,
            migration_end_height: 0,
            without_gas_costs: true,
        }
    }

    fn read(&mut self, value: &Json) -> Result<(), GenesisError> {
        for (key, value) in read::object("consensus_params", value)? {
            let section = fold(key);
            if section == "without_gas_costs" {
                read::bool("consensus_params.without_gas_costs", value, &mut self.without_gas_costs)?;
                continue;
            }
            if !["block", "evidence", "validator", "votes", "abci", "migration"].contains(&section.as_str()) {
                continue;
            }
            for (key, value) in read::object(&format!("consensus_params.{section}"), value)? {
                let key = fold(key);
                let path = format!("consensus_params.{section}.{key}");
                let into = match (section.as_str(), key.as_str()) {
                    ("block", "max_bytes") => &mut self.block_max_bytes,
                    ("block", "max_gas") => &mut self.block_max_gas,
                    ("evidence", "max_age_num_blocks") => &mut self.evidence_max_age_num_blocks,
                    ("evidence", "max_age_duration") => &mut self.evidence_max_age_duration,
                    ("evidence", "max_bytes") => &mut self.evidence_max_bytes,
                    ("validator", "join_expiry") => &mut self.validator_join_expiry,
                    ("votes", "vote_expiry") => &mut self.votes_vote_expiry,
                    ("votes", "max_votes_per_tx") => &mut self.votes_max_votes_per_tx,
                    ("abci", "vote_extensions_enable_height") => &mut self.abci_vote_extensions_enable_height,
                    ("migration", "start_height") => &mut self.migration_start_height,
                    ("migration", "end_height") => &mut self.migration_end_height,
                    ("block", "abci_max_bytes") => {
                        read::bool(&path, value, &mut self.block_abci_max_bytes)?;
                        continue;
                    }
                    ("validator", "pub_key_types") => {
                        self.validator_pub_key_types = read_strings(&path, value)?;
                        continue;
                    }
                    _ => continue,
                };
                read::int(&path, value, into)?;
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Json {
        let types = match &self.validator_pub_key_types {
            None => Json::Null,
            Some(types) => Json::Array(types.iter().map(|t| t.as_str().into()).collect()),
        };
        let migration = [("start_height", self.migration_start_height), ("end_height", self.migration_end_height)]
            .into_iter()
            .filter(|(_, height)| *height != 0)
            .map(|(key, height)| (key.to_owned(), height.into()))
            .collect();
        object([
            (
                "block",
                object([
                    ("max_bytes", self.block_max_bytes.into()),
                    ("max_gas", self.block_max_gas.into()),
                    ("abci_max_bytes", self.block_abci_max_bytes.into()),
                ]),
            ),
            (
                "evidence",
                object([
                    ("max_age_num_blocks", self.evidence_max_age_num_blocks.into()),
                    ("max_age_duration", self.evidence_max_age_duration.into()),
                    ("max_bytes", self.evidence_max_bytes.into()),
                ]),
            ),
            ("validator", object([("pub_key_types", types), ("join_expiry", self.validator_join_expiry.into())])),
            (
                "votes",
                object([
                    ("vote_expiry", self.votes_vote_expiry.into()),
                    ("max_votes_per_tx", self.votes_max_votes_per_tx.into()),
                ]),
            ),
            ("abci", object([("vote_extensions_enable_height", self.abci_vote_extensions_enable_height.into())])),
            ("migration", Json::Object(migration)),
            ("without_gas_costs", self.without_gas_costs.into()),
        ])
    }
}

fn read_strings(path: &str, value: &Json) -> Result<Option<Vec<String>>, GenesisError> {
    if *value == Json::Null {
        return Ok(None);
    }
    let mut strings = Vec::new();
    for item in read::array(path, value)? {
        let mut text = String::new();
        read::string(path, item, &mut text)?;
        strings.push(text);
    }
    Ok(Some(strings))
}

impl Genesis {
    pub(super) fn from_json(value: &Json) -> Result<Self, GenesisError> {
        let mut genesis = Genesis {
            genesis_time: ZERO_TIME.to_owned(),
            chain_id: String::new(),
            initial_height: 0,
            app_hash: None,
            alloc: BTreeMap::new(),
            activations: None,
            consensus_params: None,
            validators: Vec::new(),
        };
        for (key, value) in read::object("genesis", value)? {
            match fold(key).as_str() {
                "genesis_time" => {
                    read::string("genesis_time", value, &mut genesis.genesis_time)?;
                    check_time(&genesis.genesis_time)?;
                }
                "chain_id" => read::string("chain_id", value, &mut genesis.chain_id)?,
                "initial_height" => read::int("initial_height", value, &mut genesis.initial_height)?,
                "app_hash" => genesis.app_hash = read_base64("app_hash", value)?,
                "alloc" => {
                    for (account, amount) in read::object("alloc", value)? {
                        let path = format!("alloc.{account}");
                        genesis.alloc.insert(account.clone(), read::big(&path, amount)?);
                    }
                }
                "activations" => {
                    if *value == Json::Null {
                        genesis.activations = None;
                        continue;
                    }
                    let forks = genesis.activations.get_or_insert_default();
                    for (fork, height) in read::object("activations", value)? {
                        read::int(&format!("activations.{fork}"), height, forks.entry(fork.clone()).or_default())?;
                    }
                }
                "consensus_params" => {
                    if *value == Json::Null {
                        genesis.consensus_params = None;
                    } else {
                        genesis.consensus_params.get_or_insert_default().read(value)?;
                    }
                }
                "validators" => genesis.validators = read_validators(value)?,
                // Go's decoder ignores what it does not know, and so does kwild.
                _ => {}
            }
        }
        Ok(genesis)
    }

    pub(super) fn to_json(&self) -> Json {
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut add = |key: &str, value: Json| entries.push((key.to_owned(), value));
        add("genesis_time", self.genesis_time.as_str().into());
        add("chain_id", self.chain_id.as_str().into());
        add("initial_height", self.initial_height.into());
        add("app_hash", self.app_hash.as_ref().map_or(Json::Null, |hash| BASE64.encode(hash).into()));
        if !self.alloc.is_empty() {
            let amount = |amount: &Option<String>| amount.as_ref().map_or(Json::Null, |n| Json::Number(n.clone()));
            add("alloc", Json::Object(self.alloc.iter().map(|(id, n)| (id.clone(), amount(n))).collect()));
        }
        let forks = self.activations.as_ref();
        add(
            "activations",
            forks.map_or(Json::Null, |forks| {
                Json::Object(forks.iter().map(|(fork, height)| (fork.clone(), (*height).into())).collect())
            }),
        );
        add("consensus_params", self.consensus_params.as_ref().map_or(Json::Null, ConsensusParams::to_json));
        if !self.validators.is_empty() {
            let one = |validator: &GenesisValidator| {
                object([
                    ("pub_key", hex::encode(&validator.pub_key).into()),
                    ("power", validator.power.into()),
                    ("name", validator.name.as_str().into()),
                ])
            };
            add("validators", Json::Array(self.validators.iter().map(one).collect()));
        }
        Json::Object(entries)
    }

    pub(super) fn validators(&self) -> Result<Vec<Validator>, GenesisError> {
        let one = |(index, entry): (usize, &GenesisValidator)| {
            let key = genesis_key(index, KeyType::Ed25519, &entry.pub_key)?;
            Validator::new(key, entry.power).map_err(|error| GenesisError::Power { index, error })
        };
        self.validators.iter().enumerate().map(one).collect()
    }

    pub(super) fn for_snapshot(
        voters: &[(PublicKey, i64)],
        parameters: &Parameters,
        options: &GenesisOptions,
    ) -> Result<Self, GenesisError> {
        check_time(&options.genesis_time_rfc3339)?;
        let mut params = ConsensusParams::kwil_defaults();
        if !options.template {
            parameters.carry_into(&mut params);
        }
        let validators = voters.iter().enumerate().map(|(index, (key, power))| GenesisValidator {
            pub_key: key.bytes().to_vec(),
            power: *power,
            name: format!("validator-{index}"),
        });
        Ok(Genesis {
            genesis_time: options.genesis_time_rfc3339.clone(),
            chain_id: options.chain_id.clone(),
            initial_height: 1,
            app_hash: None,
            // Balances are in the snapshot; an alloc would be added on top of them.
            alloc: BTreeMap::new(),
            activations: None,
            consensus_params: Some(params),
            validators: validators.collect(),
        })
    }
}

fn read_base64(path: &str, value: &Json) -> Result<Option<Vec<u8>>, GenesisError> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => {
            // Go's decoder skips line breaks.
            let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            match BASE64.decode(text) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) => field(path, format!("no base64 with padding: {e}")),
            }
        }
        _ => wrong(path, value, "a base64 string"),
    }
}

fn read_validators(value: &Json) -> Result<Vec<GenesisValidator>, GenesisError> {
    if *value == Json::Null {
        return Ok(Vec::new());
    }
    let mut validators = Vec::new();
    for (index, item) in read::array("validators", value)?.iter().enumerate() {
        let mut validator = GenesisValidator::default();
        let path = |key: &str| format!("validators[{index}].{key}");
        for (key, value) in read::object(&path(""), item)? {
            match fold(key).as_str() {
                "pub_key" => match value {
                    Json::String(text) => validator.pub_key = read::hex(&path("pub_key"), text)?,
                    _ => return wrong(&path("pub_key"), value, "a hex string"),
                },
                "power" => read::int(&path("power"), value, &mut validator.power)?,
                "name" => read::string(&path("name"), value, &mut validator.name)?,
                _ => {}
            }
        }
        validators.push(validator);
    }
    Ok(validators)
}

/// Checks that a genesis time is RFC 3339 as Go reads it: a T, seconds, any fraction, `Z` or an offset.
pub(super) fn check_time(text: &str) -> Result<(), GenesisError> {
    let ok = || -> Option<()> {
        let (date, rest) = text.split_at_checked(19)?;
        let template = "dddd-dd-ddTdd:dd:dd";
        let fits = |c: char, t: char| if t == 'd' { c.is_ascii_digit() } else { c == t };
        if !date.chars().zip(template.chars()).all(|(c, t)| fits(c, t)) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| date[range].parse::<u32>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&day) || number(11..13)? > 23 || number(14..16)? > 59 || number(17..19)? > 59 {
            return None;
        }
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => {
                let end = fraction.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
                &fraction[end..]
            }
            None => rest,
        };
        let offset = |text: &str| text.len() == 6 && text.chars().zip("+dd:dd".chars()).all(|(c, t)| fits(c, t));
        (rest == "Z" || offset(rest) || rest.starts_with('-') && offset(&rest.replacen('-', "+", 1))).then_some(())
    };
    match ok() {
        Some(()) => Ok(()),
        None => field(
            "genesis_time",
            format!("{:?} is no time such as 2026-11-22T10:16:52Z", crate::base::text::escape(text)),
        ),
    }
}

/// v0.9's network parameters, the rows of `kwild_chain.consensus_params`. A missing row means Kwil's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of the largest block.
    pub max_block_size: i64,
    /// How many blocks a validator's request to join stays open.
    pub join_expiry: i64,
    /// How many blocks a resolution can be voted on.
    pub vote_expiry: i64,
    /// The most votes in one transaction.
    pub max_votes_per_tx: i64,
    /// Whether transactions are free.
    pub disabled_gas_costs: bool,
    /// The state of a zero-downtime migration, such as `NoActiveMigration`; `None` where there is no such row.
    pub migration_status: Option<String>,
    /// The names of rows that this reader does not know and therefore does not carry over.
    pub unknown: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        let defaults = ConsensusParams::kwil_defaults();
        Parameters {
            max_block_size: defaults.block_max_bytes,
            join_expiry: defaults.validator_join_expiry,
            vote_expiry: defaults.votes_vote_expiry,
            max_votes_per_tx: defaults.votes_max_votes_per_tx,
            disabled_gas_costs: defaults.without_gas_costs,
            migration_status: None,
            unknown: Vec::new(),
        }
    }
}

impl Parameters {
    /// The parameters of the table's rows, each a (`param_name`, `param_value`).
    ///
    /// # Errors
    /// When a value has another length than its kind has.
    pub fn from_rows(rows: &[(String, Vec<u8>)]) -> Result<Self, GenesisError> {
        let mut parameters = Parameters::default();
        for (name, value) in rows {
            let wrong_length = |wanted: usize| GenesisError::Parameter {
                name: name.clone(),
                what: format!("{} bytes where {wanted} must stand", value.len()),
            };
            let number = || value.as_slice().try_into().map(i64::from_le_bytes).map_err(|_| wrong_length(8));
            match name.as_str() {
                "max_block_size" => parameters.max_block_size = number()?,
                "join_expiry" => parameters.join_expiry = number()?,
                "vote_expiry" => parameters.vote_expiry = number()?,
                "max_votes_per_tx" => parameters.max_votes_per_tx = number()?,
                "disabled_gas_costs" => match value.as_slice() {
                    [flag] => parameters.disabled_gas_costs = *flag != 0,
                    _ => return Err(wrong_length(1)),
                },
                "migration_status" => {
                    parameters.migration_status = Some(String::from_utf8_lossy(value).into_owned());
                }
                _ => parameters.unknown.push(name.clone()),
            }
        }
        Ok(parameters)
    }

    fn carry_into(&self, params: &mut ConsensusParams) {
        params.block_max_bytes = self.max_block_size;
        params.validator_join_expiry = self.join_expiry;
        params.votes_vote_expiry = self.vote_expiry;
        params.votes_max_votes_per_tx = self.max_votes_per_tx;
        params.without_gas_costs = self.disabled_gas_costs;
        // CometBFT refuses evidence larger than a block.
        if self.max_block_size > 0 {
            params.evidence_max_bytes = params.evidence_max_bytes.min(self.max_block_size);
        }
    }
}
