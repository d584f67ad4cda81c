//! `genesis set`: takes a genesis and the changes that an operator asks for, checks each against what the family can
//! express and kwild accepts, and gives the changed genesis and what became of each value.

#[cfg(test)]
mod tests;
mod value;

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{Genesis, NamedValidator, lint::startup_faults, v09, v010};
use crate::{
    base::{Advice, Error, Next, text::escape},
    formats::{
        Family, Validator,
        key::{KeyError, KeyType, PublicKey},
    },
};
use value::{full_name, positive_power};

/// One change that an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Gives a key another value; typed as `KEY=VALUE`.
    Set {
        /// The key, such as `initial_height`.
        key: String,
        /// Its new value, as typed.
        value: String,
    },
    /// Adds the validator typed as `[NAME:]KEY:POWER`; only v0.9 takes a name.
    AddValidator(String),
    /// Removes the validator of this key, or of this name in v0.9.
    RemoveValidator(String),
    /// Gives a validator another power; typed as `KEY:POWER`.
    SetPower(String),
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Edit::Set { key: key.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("expected KEY=VALUE, such as initial_height=195391".to_owned()),
        }
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The key is not known, or the text is no value of it.
    Usage {
        /// What is wrong with the change.
        what: String,
        /// What the operator types instead.
        advice: Advice,
    },
    /// The family cannot express the change, or no kwild would start on what comes out.
    Refused {
        /// Why the change is refused.
        what: String,
        /// What the operator does instead.
        advice: Advice,
    },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Usage { what, .. } | EditError::Refused { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for EditError {}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Usage { what, advice } => Error::usage(what).hint(advice),
            EditError::Refused { what, advice } => Error::refused(what).hint(advice),
        }
    }
}

fn wrong_usage<T>(what: impl Into<String>, advice: impl Into<Advice>) -> Result<T, EditError> {
    Err(EditError::Usage { what: what.into(), advice: advice.into() })
}

fn refused<T>(what: impl Into<String>, advice: impl Into<Advice>) -> Result<T, EditError> {
    Err(EditError::Refused { what: what.into(), advice: advice.into() })
}

/// What became of one value of the genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where the value stands, such as `consensus_params.block.max_bytes`, or `validator KEY`.
    pub path: String,
    /// The value before, as JSON (or `power N`); `None` where there was nothing.
    pub old: Option<String>,
    /// The value after, as JSON (or `power N`); `None` where nothing is left.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
        write!(f, "{}: {} -> {}", self.path, shown(&self.old), shown(&self.new))
    }
}

impl Genesis {
    /// Makes all changes or none, and says what they were.
    ///
    /// # Errors
    /// When a key is not known, a value is none, or kwild would not start on what comes out; faults that were there before
    /// do not stand in the way.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Change>, EditError> {
        let mut edited = self.clone();
        let mut seen: Vec<String> = Vec::new();
        for edit in edits {
            match edit {
                Edit::Set { key, value } => {
                    let name = full_name(self.family(), key).map_or_else(|| key.clone(), str::to_owned);
                    if seen.contains(&name) {
                        return wrong_usage(format!("{} is set twice", escape(&name)), "say once what it shall be");
                    }
                    seen.push(name);
                    edited.set(key, value)?;
                }
                Edit::AddValidator(text) => edited.add_validator(text)?,
                Edit::RemoveValidator(text) => edited.remove_validator(text)?,
                Edit::SetPower(text) => edited.set_power(text)?,
            }
        }
        edited.is_no_worse_than(self)?;
        let changes = self.changes_to(&edited);
        *self = edited;
        Ok(changes)
    }

    /// Refuses a genesis with a fault that stops kwild and that was not there before.
    fn is_no_worse_than(&self, before: &Genesis) -> Result<(), EditError> {
        let known: Vec<&str> = startup_faults(before).iter().map(|fault| fault.code).collect();
        if let (Genesis::V010(_), Some(leader), Ok(validators)) = (self, self.leader(), self.validators())
            && !known.contains(&"leader-not-validator")
            && !validators.is_empty()
            && validators.iter().all(|validator| validator.key != *leader)
        {
            let was = before.validators().is_ok_and(|all| all.iter().any(|validator| validator.key == *leader));
            return if was {
                refused(
                    format!("{leader} is the leader, and cannot be removed from the validators"),
                    Next::ChooseLeader,
                )
            } else {
                refused(format!("leader: {leader} is not among the validators"), Next::ChooseLeader)
            };
        }
        for fault in startup_faults(self) {
            let before = startup_faults(before);
            if before.iter().any(|old| (old.code, &old.path) == (fault.code, &fault.path)) {
                continue;
            }
            let path = fault.path.unwrap_or_default();
            return refused(format!("{path}: {}", fault.text), fault.fix.unwrap_or(Next::Mend(fault.code).into()));
        }
        let powers = match self {
            Genesis::V09(genesis) => genesis.validators.iter().map(|v| v.power).collect::<Vec<_>>(),
            Genesis::V010(genesis) => genesis.validators.iter().flatten().map(|v| v.power).collect(),
        };
        let sum = powers.iter().try_fold(0_i64, |sum, power| sum.checked_add(*power));
        if sum.is_none() {
            return refused(
                "the validators' powers add up to more than 63 bits hold",
                "use small powers: only their ratio counts",
            );
        }
        Ok(())
    }

    fn changes_to(&self, edited: &Genesis) -> Vec<Change> {
        // An empty map is null in the file.
        let some = |text: String| (!text.is_empty() && text != "null").then_some(text);
        let mut changes: Vec<Change> = edited
            .differences(self)
            .into_iter()
            .filter(|difference| !difference.path.starts_with("validators."))
            .map(|difference| Change {
                path: difference.path,
                old: some(difference.other),
                new: some(difference.value),
            })
            .filter(|change| change.old != change.new)
            .collect();
        // By key, not by place: whoever follows a removed validator is still the same.
        let (old, new) = (self.powers(), edited.powers());
        let power =
            |list: &[(String, i64)], key: &str| list.iter().find(|(k, _)| k == key).map(|(_, p)| format!("power {p}"));
        let keys =
            old.iter().chain(new.iter().filter(|(key, _)| old.iter().all(|(k, _)| k != key))).map(|(key, _)| key);
        changes.extend(keys.filter(|key| power(&old, key) != power(&new, key)).map(|key| Change {
            path: format!("validator {key}"),
            old: power(&old, key),
            new: power(&new, key),
        }));
        changes
    }

    /// The validators' keys as they are shown, also broken ones, with their powers.
    fn powers(&self) -> Vec<(String, i64)> {
        match self {
            Genesis::V09(genesis) => genesis.validators.iter().map(|v| (hex::encode(&v.pub_key), v.power)).collect(),
            Genesis::V010(genesis) => genesis
                .validators
                .iter()
                .flatten()
                .map(|v| (format!("{}#{}", hex::encode(&v.pubkey), escape(&v.kind)), v.power))
                .collect(),
        }
    }

    fn add_validator(&mut self, text: &str) -> Result<(), EditError> {
        let NamedValidator { validator, name } = entry(self.family(), text)?;
        let (key, power) = (validator.key, validator.signed_power());
        if self.position(&key).is_some() {
            return refused(format!("{key} is a validator already"), Next::SetPower);
        }
        match self {
            Genesis::V09(genesis) => {
                let name = name.unwrap_or_else(|| format!("validator-{}", genesis.validators.len()));
                genesis.validators.push(v09::GenesisValidator { pub_key: key.bytes().to_vec(), power, name });
            }
            Genesis::V010(genesis) => genesis.validators.get_or_insert_default().push(v010::GenesisValidator {
                pubkey: key.bytes().to_vec(),
                kind: key.key_type().to_string(),
                power,
            }),
        }
        Ok(())
    }

    fn remove_validator(&mut self, text: &str) -> Result<(), EditError> {
        let index = self.find(text)?;
        match self {
            Genesis::V09(genesis) => {
                genesis.validators.remove(index);
            }
            Genesis::V010(genesis) => {
                genesis.validators.get_or_insert_default().remove(index);
            }
        }
        Ok(())
    }

    fn set_power(&mut self, text: &str) -> Result<(), EditError> {
        let Some((who, power)) = text.rsplit_once(':') else {
            return wrong_usage(format!("{:?} is no KEY:POWER", escape(text)), Next::PowerText);
        };
        let power = positive_power(power)?;
        let index = self.find(who)?;
        match self {
            Genesis::V09(genesis) => genesis.validators[index].power = power,
            Genesis::V010(genesis) => genesis.validators.get_or_insert_default()[index].power = power,
        }
        Ok(())
    }

    fn position(&self, key: &PublicKey) -> Option<usize> {
        match self {
            Genesis::V09(genesis) => genesis.validators.iter().position(|v| v.pub_key == key.bytes()),
            Genesis::V010(genesis) => genesis
                .validators
                .iter()
                .flatten()
                .position(|v| v.pubkey == key.bytes() && v.kind == key.key_type().to_string()),
        }
    }

    /// The index of the validator of this key or name; one whose key is broken is found by its hex text.
    fn find(&self, who: &str) -> Result<usize, EditError> {
        let digits = who.split('#').next().unwrap_or_default().to_ascii_lowercase();
        let found: Vec<usize> = match self {
            Genesis::V09(genesis) => (genesis.validators.iter().enumerate())
                .filter(|(_, v)| hex::encode(&v.pub_key) == digits || !v.name.is_empty() && v.name == who)
                .map(|(index, _)| index)
                .collect(),
            Genesis::V010(genesis) => (genesis.validators.iter().flatten().enumerate())
                .filter(|(_, v)| {
                    hex::encode(&v.pubkey) == digits && who.split_once('#').is_none_or(|(_, kind)| kind == v.kind)
                })
                .map(|(index, _)| index)
                .collect(),
        };
        match found.as_slice() {
            [index] => Ok(*index),
            [] => wrong_usage(format!("{:?} is no validator of this genesis", escape(who)), Next::ShowGenesis),
            _ => wrong_usage(format!("{:?} are several validators", escape(who)), "name one by its key"),
        }
    }
}

/// `[NAME:]KEY:POWER` with the key as the family writes it: v0.9 bare hex or `HEX#ed25519`, v0.10 `HEX#TYPE`.
///
/// # Errors
/// When the text has not this form, or the key is of a type that the family has not.
pub fn entry(family: Family, text: &str) -> Result<NamedValidator, EditError> {
    let form = match family {
        Family::V09 => "v0.9 takes [NAME:]HEX:POWER",
        Family::V010 => "v0.10 takes HEX#TYPE:POWER",
    };
    let Some((rest, power)) = text.rsplit_once(':') else {
        return wrong_usage(format!("{:?} names no power", escape(text)), form);
    };
    let (name, key) = match rest.rsplit_once(':') {
        Some((name, key)) => (Some(name.to_owned()), key),
        None => (None, rest),
    };
    if name.is_some() && family == Family::V010 {
        return wrong_usage("validators of v0.10 have no names", form);
    }
    let key = public_key(family, key)?;
    let power = positive_power(power)?.unsigned_abs();
    Ok(NamedValidator { validator: Validator { key, power }, name })
}

/// A validator's key as the family writes it.
fn public_key(family: Family, text: &str) -> Result<PublicKey, EditError> {
    let explain = |error: KeyError| EditError::Usage {
        what: format!("{:?}: {error}", escape(text)),
        advice: Next::CopyFromKeyInfo.into(),
    };
    let key = match (family, text.contains('#')) {
        (_, true) => text.parse().map_err(explain)?,
        (Family::V010, false) => {
            return wrong_usage(
                format!("{:?} does not say of which type the key is", escape(text)),
                "write it as HEX#ed25519 or HEX#secp256k1",
            );
        }
        (Family::V09, false) => {
            let bytes = hex::decode(text).or_else(|_| {
                wrong_usage(format!("{:?} is no hex text", escape(text)), "a v0.9 key has 64 hex digits")
            })?;
            if bytes.len() == 33 {
                PublicKey::new(KeyType::Secp256k1, &bytes).map_err(explain)?
            } else {
                PublicKey::new(KeyType::Ed25519, &bytes).map_err(explain)?
            }
        }
    };
    if family == Family::V09 && key.key_type() != KeyType::Ed25519 {
        return refused(format!("{key}: {}", KeyError::FamilyCannotHold(key.key_type())), Next::MakeEd25519Key);
    }
    Ok(key)
}
