//! The v0.10 genesis, TRUF's too, from and to JSON, and the parameters of a v0.10 database. Unknown keys are refused at
//! the top, in `alloc` and in `migration`, tolerated inside `leader` and validators, because that is where kwild has
//! decoders of its own.

use super::{
    GenesisError, GenesisOptions, genesis_key,
    read::{self, field, wrong},
};
use crate::formats::{
    Validator,
    duration::GoDuration,
    json::{Json, fold, object},
    key::{KeyType, PublicKey, eip55},
};

/// genesis.json of v0.10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The network's chain id.
    pub chain_id: String,
    /// The number before the first block's.
    pub initial_height: i64,
    /// The user who owns and administers the database: an EIP-55 address, or a public key in hex.
    pub db_owner: String,
    /// The validators; `null` and an empty list are kept apart, as Kwil does.
    pub validators: Option<Vec<GenesisValidator>>,
    /// SHA-256 of the snapshot's uncompressed text, hex in the file; empty where nothing is pinned.
    pub state_hash: Vec<u8>,
    /// Balances to add when the chain begins.
    pub alloc: Vec<Alloc>,
    /// `migration.start_height`: the block at which a zero-downtime migration begins; 0 is none.
    pub migration_start_height: i64,
    /// `migration.end_height`: the block at which a zero-downtime migration ends; 0 is none.
    pub migration_end_height: i64,
    /// The validator who proposes blocks; `None` where the file names none, which kwild refuses.
    pub leader: Option<PublicKey>,
    /// Bytes of the largest block.
    pub max_block_size: i64,
    /// How long a validator's request to join stays open.
    pub join_expiry: GoDuration,
    /// Whether transactions are free.
    pub disabled_gas_costs: bool,
    /// The most votes in one transaction.
    pub max_votes_per_tx: i64,
    /// The key `maa_activation_height` of TRUF's fork; other builds refuse it, so 0 is not written.
    pub maa_activation_height: i64,
}

/// A validator's entry in the file, checked only by [`super::Genesis::check`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GenesisValidator {
    /// Public key, hex in the file.
    pub pubkey: Vec<u8>,
    /// The type of the key as the file has it: `ed25519` or `secp256k1`.
    pub kind: String,
    /// Voting power.
    pub power: i64,
}

/// A balance to add when the chain begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alloc {
    /// The account's identifier; twenty bytes are an Ethereum address.
    pub id: Vec<u8>,
    /// The type of the account's key as the file has it: `ed25519` or `secp256k1`.
    pub key_type: String,
    /// The balance as a decimal number of any size; `None` is `null` in the file.
    pub amount: Option<String>,
}

impl Genesis {
    /// A genesis with all fields zero, as Go has them before it reads.
    fn zero() -> Self {
        Genesis {
            chain_id: String::new(),
            initial_height: 0,
            db_owner: String::new(),
            validators: None,
            state_hash: Vec::new(),
            alloc: Vec::new(),
            migration_start_height: 0,
            migration_end_height: 0,
            leader: None,
            max_block_size: 0,
            join_expiry: GoDuration(0),
            disabled_gas_costs: false,
            max_votes_per_tx: 0,
            maa_activation_height: 0,
        }
    }

    /// A genesis of this leader and the parameters that Kwil's own tools write, all else empty.
    pub(super) fn kwil_defaults(leader: PublicKey) -> Self {
        Genesis {
            leader: Some(leader),
            max_block_size: 6_291_456,
            join_expiry: GoDuration::from_hours(168),
            disabled_gas_costs: true,
            max_votes_per_tx: 200,
            ..Genesis::zero()
        }
    }

    pub(super) fn from_json(value: &Json) -> Result<Self, GenesisError> {
        let mut genesis = Genesis::zero();
        for (key, value) in read::object("genesis", value)? {
            match fold(key).as_str() {
                "chain_id" => read::string("chain_id", value, &mut genesis.chain_id)?,
                "initial_height" => read::int("initial_height", value, &mut genesis.initial_height)?,
                "db_owner" => read::string("db_owner", value, &mut genesis.db_owner)?,
                "validators" => genesis.validators = read_validators(value)?,
                "state_hash" => match value {
                    Json::Null => genesis.state_hash = Vec::new(),
                    Json::String(text) => genesis.state_hash = read::hex("state_hash", text)?,
                    _ => return wrong("state_hash", value, "a hex string"),
                },
                "alloc" => genesis.alloc = read_alloc(value)?,
                "migration" => {
                    for (key, value) in read::object("migration", value)? {
                        match fold(key).as_str() {
                            "start_height" => {
                                read::int("migration.start_height", value, &mut genesis.migration_start_height)?;
                            }
                            "end_height" => {
                                read::int("migration.end_height", value, &mut genesis.migration_end_height)?;
                            }
                            _ => return Err(GenesisError::UnknownField(format!("migration.{key}"))),
                        }
                    }
                }
                "leader" => genesis.leader = Some(read_leader(value)?),
                "max_block_size" => read::int("max_block_size", value, &mut genesis.max_block_size)?,
                "join_expiry" => genesis.join_expiry = read_duration("join_expiry", value)?,
                "disabled_gas_costs" => {
                    read::bool("disabled_gas_costs", value, &mut genesis.disabled_gas_costs)?;
                }
                "max_votes_per_tx" => read::int("max_votes_per_tx", value, &mut genesis.max_votes_per_tx)?,
                "maa_activation_height" => {
                    read::int("maa_activation_height", value, &mut genesis.maa_activation_height)?;
                }
                _ => return Err(GenesisError::UnknownField(key.clone())),
            }
        }
        Ok(genesis)
    }

    pub(super) fn to_json(&self) -> Json {
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut add = |key: &str, value: Json| entries.push((key.to_owned(), value));
        add("chain_id", self.chain_id.as_str().into());
        add("initial_height", self.initial_height.into());
        add("db_owner", self.db_owner.as_str().into());
        add(
            "validators",
            self.validators.as_ref().map_or(Json::Null, |validators| {
                let one = |validator: &GenesisValidator| {
                    object([
                        ("pubkey", hex::encode(&validator.pubkey).into()),
                        ("type", validator.kind.as_str().into()),
                        ("power", validator.power.into()),
                    ])
                };
                Json::Array(validators.iter().map(one).collect())
            }),
        );
        if !self.state_hash.is_empty() {
            add("state_hash", hex::encode(&self.state_hash).into());
        }
        if !self.alloc.is_empty() {
            let one = |alloc: &Alloc| {
                object([
                    ("id", alloc.id_text().into()),
                    ("key_type", alloc.key_type.as_str().into()),
                    ("amount", alloc.amount.as_ref().map_or(Json::Null, |n| Json::Number(n.clone()))),
                ])
            };
            add("alloc", Json::Array(self.alloc.iter().map(one).collect()));
        }
        add(
            "migration",
            object([
                ("start_height", self.migration_start_height.into()),
                ("end_height", self.migration_end_height.into()),
            ]),
        );
        add(
            "leader",
            self.leader.as_ref().map_or(Json::Null, |leader| {
                object([("type", leader.key_type().to_string().into()), ("key", leader.to_hex().into())])
            }),
        );
        add("max_block_size", self.max_block_size.into());
        add("join_expiry", self.join_expiry.to_string().into());
        add("disabled_gas_costs", self.disabled_gas_costs.into());
        add("max_votes_per_tx", self.max_votes_per_tx.into());
        if self.maa_activation_height != 0 {
            add("maa_activation_height", self.maa_activation_height.into());
        }
        Json::Object(entries)
    }

    pub(super) fn validators(&self) -> Result<Vec<Validator>, GenesisError> {
        let entries = self.validators.as_deref().unwrap_or_default();
        let one = |(index, entry): (usize, &GenesisValidator)| {
            Validator::new(entry.key(index)?, entry.power).map_err(|error| GenesisError::Power { index, error })
        };
        entries.iter().enumerate().map(one).collect()
    }

    pub(super) fn for_snapshot(
        voters: &[(PublicKey, i64)],
        parameters: &Parameters,
        owner: &str,
        options: &GenesisOptions,
    ) -> Self {
        let validators: Vec<GenesisValidator> = voters
            .iter()
            .map(|(key, power)| GenesisValidator {
                pubkey: key.bytes().to_vec(),
                kind: key.key_type().to_string(),
                power: *power,
            })
            .collect();
        let mut genesis = Genesis {
            chain_id: options.chain_id.clone(),
            db_owner: owner.to_owned(),
            validators: (!validators.is_empty()).then_some(validators),
            // Balances are in the snapshot; an alloc would be added on top of them.
            ..Genesis::kwil_defaults(parameters.leader)
        };
        if !options.template {
            genesis.max_block_size = parameters.max_block_size;
            genesis.join_expiry = parameters.join_expiry;
            genesis.disabled_gas_costs = parameters.disabled_gas_costs;
            genesis.max_votes_per_tx = parameters.max_votes_per_tx;
            genesis.maa_activation_height = parameters.maa_activation_height;
        }
        genesis
    }
}

impl GenesisValidator {
    /// The key of the validator at this index.
    pub(super) fn key(&self, index: usize) -> Result<PublicKey, GenesisError> {
        let kind: KeyType = self.kind.parse().map_err(|error: crate::formats::key::KeyError| GenesisError::Field {
            path: format!("validators[{index}].type"),
            what: error.to_string(),
        })?;
        genesis_key(index, kind, &self.pubkey)
    }
}

impl Alloc {
    /// The account as Kwil writes it: EIP-55 for twenty bytes, hex otherwise.
    pub fn id_text(&self) -> String {
        match <&[u8; 20]>::try_from(self.id.as_slice()) {
            Ok(address) => eip55(address),
            Err(_) => hex::encode(&self.id),
        }
    }
}

fn read_duration(path: &str, value: &Json) -> Result<GoDuration, GenesisError> {
    match value {
        Json::String(text) => GoDuration::parse(text).or_else(|e| field(path, e.to_string())),
        _ => wrong(path, value, "a duration in quotes, such as \"168h0m0s\""),
    }
}

fn read_leader(value: &Json) -> Result<PublicKey, GenesisError> {
    let (mut kind, mut bytes) = (String::new(), Vec::new());
    for (key, value) in read::object("leader", value)? {
        match fold(key).as_str() {
            "type" => read::string("leader.type", value, &mut kind)?,
            "key" => match value {
                Json::Null => {}
                Json::String(text) => bytes = read::hex("leader.key", text)?,
                _ => return wrong("leader.key", value, "a hex string"),
            },
            _ => {}
        }
    }
    let kind = kind.parse().or_else(|e: crate::formats::key::KeyError| field("leader.type", e.to_string()))?;
    PublicKey::new(kind, &bytes).or_else(|e| field("leader.key", e.to_string()))
}

fn read_validators(value: &Json) -> Result<Option<Vec<GenesisValidator>>, GenesisError> {
    if *value == Json::Null {
        return Ok(None);
    }
    let mut validators = Vec::new();
    for (index, item) in read::array("validators", value)?.iter().enumerate() {
        let mut validator = GenesisValidator::default();
        let path = |key: &str| format!("validators[{index}].{key}");
        for (key, value) in read::object(&format!("validators[{index}]"), item)? {
            match fold(key).as_str() {
                "pubkey" => match value {
                    Json::Null => {}
                    Json::String(text) => validator.pubkey = read::hex(&path("pubkey"), text)?,
                    _ => return wrong(&path("pubkey"), value, "a hex string"),
                },
                "type" => read::string(&path("type"), value, &mut validator.kind)?,
                "power" => read::int(&path("power"), value, &mut validator.power)?,
                _ => {}
            }
        }
        validators.push(validator);
    }
    Ok(Some(validators))
}

fn read_alloc(value: &Json) -> Result<Vec<Alloc>, GenesisError> {
    if *value == Json::Null {
        return Ok(Vec::new());
    }
    let mut allocs = Vec::new();
    for (index, item) in read::array("alloc", value)?.iter().enumerate() {
        let mut alloc = Alloc::default();
        let path = |key: &str| format!("alloc[{index}].{key}");
        for (key, value) in read::object(&format!("alloc[{index}]"), item)? {
            match fold(key).as_str() {
                "id" => {
                    let mut text = String::new();
                    read::string(&path("id"), value, &mut text)?;
                    // Only an address of twenty bytes may carry 0x.
                    let digits = if text.len() == 42 { text.strip_prefix("0x").unwrap_or(&text) } else { &text };
                    alloc.id = read::hex(&path("id"), digits)?;
                }
                "key_type" => read::string(&path("key_type"), value, &mut alloc.key_type)?,
                "amount" => alloc.amount = read::big(&path("amount"), value)?,
                _ => return Err(GenesisError::UnknownField(path(key))),
            }
        }
        allocs.push(alloc);
    }
    Ok(allocs)
}

/// v0.10's network parameters, the one row of `kwild_chain.params`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The validator who proposes blocks.
    pub leader: PublicKey,
    /// Bytes of the largest block.
    pub max_block_size: i64,
    /// How long a validator's request to join stays open.
    pub join_expiry: GoDuration,
    /// Whether transactions are free.
    pub disabled_gas_costs: bool,
    /// The most votes in one transaction.
    pub max_votes_per_tx: i64,
    /// The parameter `maa_activation_height` of TRUF's fork; 0 where there is none.
    pub maa_activation_height: i64,
    /// The state of a zero-downtime migration, such as `NoActiveMigration`; empty where there is none.
    pub migration_status: String,
    /// The names of keys that this reader does not know and therefore does not carry over.
    pub unknown: Vec<String>,
}

impl Parameters {
    /// The parameters of the JSON object that the table's one row holds.
    ///
    /// # Errors
    /// When the text is no such object, or names no leader.
    pub fn from_json(text: &[u8]) -> Result<Self, GenesisError> {
        let bad = |what: String| GenesisError::Parameter { name: "kwild_chain.params".into(), what };
        let (value, rest) = Json::read_first(text).map_err(|e| bad(e.to_string()))?;
        if !rest.trim_ascii().is_empty() {
            return Err(bad("there is more text after the object".into()));
        }
        let mut fields = Genesis::zero();
        let (mut migration_status, mut unknown) = (String::new(), Vec::new());
        for (key, value) in read::object("params", &value)? {
            match fold(key).as_str() {
                "leader" => fields.leader = Some(read_leader(value)?),
                "max_block_size" => read::int("max_block_size", value, &mut fields.max_block_size)?,
                "join_expiry" => fields.join_expiry = read_duration("join_expiry", value)?,
                "disabled_gas_costs" => read::bool("disabled_gas_costs", value, &mut fields.disabled_gas_costs)?,
                "max_votes_per_tx" => read::int("max_votes_per_tx", value, &mut fields.max_votes_per_tx)?,
                "maa_activation_height" => {
                    read::int("maa_activation_height", value, &mut fields.maa_activation_height)?;
                }
                "migration_status" => read::string("migration_status", value, &mut migration_status)?,
                _ => unknown.push(key.clone()),
            }
        }
        Ok(Parameters {
            leader: fields.leader.ok_or_else(|| bad("it names no leader".into()))?,
            max_block_size: fields.max_block_size,
            join_expiry: fields.join_expiry,
            disabled_gas_costs: fields.disabled_gas_costs,
            max_votes_per_tx: fields.max_votes_per_tx,
            maa_activation_height: fields.maa_activation_height,
            migration_status,
            unknown,
        })
    }
}
