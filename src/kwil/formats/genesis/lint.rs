//! Takes the bytes of a genesis file and gives everything that is wrong with it, or will surprise: all of it at once,
//! also where the file cannot be read strictly. What kwild refuses at start ([`super::Genesis::check`]) is the first
//! error among the same rules.

pub(crate) mod codes;
mod keys;
#[cfg(test)]
mod tests;
mod v010;
mod v09;

use std::{collections::BTreeSet, str::FromStr};

pub use codes::{ALL, Code, find};

use super::{Genesis, GenesisError, V09_CHAIN_ID_SIZE_BYTES_MAX, family_of};
use crate::{
    base::{Finding, Level, limits, text::escape},
    formats::{
        Family,
        json::{Json, fold},
        key::PublicKey,
    },
};

/// The most findings that are listed: more than anybody mends at once, and a bound on what a stranger's file can cause.
const FINDINGS_MAX: usize = 200;

/// Which kwild the genesis is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Any kwild 0.9.
    V09,
    /// A kwild 0.10 or later as Kwil published it.
    Upstream,
    /// TRUF's fork of 0.10; it calls itself 0.10, too.
    Truf,
}

impl Build {
    /// The family whose formats it reads.
    pub fn family(self) -> Family {
        match self {
            Build::V09 => Family::V09,
            Build::Upstream | Build::Truf => Family::V010,
        }
    }
}

impl FromStr for Build {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_start_matches('v');
        let of = |version: &str| number == version || number.starts_with(&format!("{version}."));
        match text {
            _ if text.to_ascii_lowercase().contains("truf") => Ok(Build::Truf),
            "main" => Ok(Build::Upstream),
            _ if of("0.9") => Ok(Build::V09),
            _ if of("0.10") => Ok(Build::Upstream),
            _ => Err("expected a version such as 0.9.4 or 0.10.1, or truf for TRUF's fork".to_owned()),
        }
    }
}

/// What the caller knows beside the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct LintOptions {
    /// The family that the genesis must be of; `None` takes either.
    pub family: Option<Family>,
    /// The kwild that will read the genesis; `None` where it is not known.
    pub build: Option<Build>,
    /// The present time in UNIX seconds, so that a genesis time in the future is told; `None` tells none.
    pub now_unix_seconds: Option<u64>,
}

/// What lint found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linted {
    /// The family of the file; `None` where it cannot be told.
    pub family: Option<Family>,
    /// The findings, the worst first, in the order they were met within a level; 201 at most.
    pub findings: Vec<Finding>,
}

/// Lints the bytes of a genesis file.
pub fn lint(bytes: &[u8], options: &LintOptions) -> Linted {
    lint_with(bytes, options, |_, _| {})
}

/// What [`lint`] finds, and what `further` finds about a genesis that can be read.
pub(crate) fn lint_with(
    bytes: &[u8],
    options: &LintOptions,
    further: impl FnOnce(&Genesis, &mut Vec<Finding>),
) -> Linted {
    let mut found = Vec::new();
    let family = lint_values(bytes, options, further, &mut found);
    found.sort_by_key(|finding| finding.level);
    let mut seen = BTreeSet::new();
    found.retain(|finding| seen.insert((finding.code, finding.path.clone(), finding.text.clone())));
    if found.len() > FINDINGS_MAX {
        found.truncate(FINDINGS_MAX);
        found.push(codes::MORE.note("genesis", format!("only the first {FINDINGS_MAX} findings are listed")));
    }
    Linted { family, findings: found }
}

fn lint_values(
    bytes: &[u8],
    options: &LintOptions,
    look_further: impl FnOnce(&Genesis, &mut Vec<Finding>),
    found: &mut Vec<Finding>,
) -> Option<Family> {
    if bytes.len() > limits::GENESIS_SIZE_BYTES_MAX {
        found.push(codes::SIZE.error("genesis", GenesisError::Large(bytes.len()).to_string()));
        return None;
    }
    let (value, rest) = match Json::read_first(bytes) {
        Ok(read) => read,
        Err(error) => {
            found.push(codes::JSON.error(format!("line {}", error.line), error.what));
            return None;
        }
    };
    let asked = options.family.or(options.build.map(Build::family));
    let family = match (family_of(&value), asked) {
        (Ok(family), _) => family,
        (Err(GenesisError::NotGenesis), Some(asked)) => asked,
        (Err(error), _) => {
            found.push(codes::NOT_GENESIS.error("genesis", error.to_string()));
            return None;
        }
    };
    if let Some(asked) = asked.filter(|asked| *asked != family) {
        found.push(
            codes::OTHER_FAMILY
                .error("genesis", format!("this is a genesis of {family}, but one of {asked} was asked for")),
        );
    }
    if !rest.trim_ascii().is_empty() {
        found.push(match family {
            Family::V09 => {
                codes::TRAILING_TEXT.error("genesis", "more text follows the object, and kwild refuses the file")
            }
            Family::V010 => {
                codes::TRAILING_TEXT.warning("genesis", "more text follows the object; kwild never reads it")
            }
        });
    }
    keys::look(family, &value, found);
    let mut faults = Vec::new();
    let sound = sound_part(family, &value, &mut Path::default(), &mut faults);
    let genesis = sound.and_then(|sound| read(family, &sound).ok());
    if genesis.is_none() && faults.is_empty() {
        // Each part can be read by itself, but not the whole.
        faults.extend(read(family, &value).err().map(|error| keys::finding(&error, &value)));
    }
    if let Some(genesis) = genesis {
        let mut further = startup_faults(&genesis);
        match &genesis {
            Genesis::V09(genesis) => v09::advise(genesis, options, &mut further),
            Genesis::V010(genesis) => v010::advise(genesis, options, &mut further),
        }
        look_further(&genesis, &mut further);
        // The worst of them are kept where there are too many.
        further.sort_by_key(|finding| finding.level);
        further.truncate(2 * FINDINGS_MAX);
        // What cannot be read is not also missing.
        let known: Vec<&str> = faults.iter().filter_map(|fault: &Finding| fault.path.as_deref()).collect();
        further.retain(|finding| {
            finding.path.as_deref().is_none_or(|path| !known.iter().any(|at| explains_path(at, path)))
        });
        faults.extend(further);
    }
    found.append(&mut faults);
    Some(family)
}

/// Whether a fault at one path explains one at another.
fn explains_path(at: &str, path: &str) -> bool {
    let below = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    below(at, path) || below(path, at)
}

fn read(family: Family, value: &Json) -> Result<Genesis, GenesisError> {
    Ok(match family {
        Family::V09 => Genesis::V09(super::v09::Genesis::from_json(value)?),
        Family::V010 => Genesis::V010(super::v010::Genesis::from_json(value)?),
    })
}

/// Where a value stands in the file: the steps to it from the top.
#[derive(Debug, Default)]
struct Path(Vec<Step>);

#[derive(Debug)]
enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    /// A genesis of nothing but this value in its place; an element of an array is the first there.
    fn around(&self, value: &Json) -> Json {
        self.0.iter().rev().fold(value.clone(), |inner, step| match step {
            Step::Key(key) => Json::Object(vec![(key.clone(), inner)]),
            Step::Item(_) => Json::Array(vec![inner]),
        })
    }

    /// An error of a value read alone, which speaks of element 0, with the index that the element has in the file.
    fn corrected(&self, error: GenesisError) -> GenesisError {
        let index = self.0.iter().find_map(|step| match step {
            Step::Item(index) => Some(*index),
            Step::Key(_) => None,
        });
        let Some(index) = index else { return error };
        let at = |path: String| path.replacen("[0]", &format!("[{index}]"), 1);
        match error {
            GenesisError::Field { path, what } => GenesisError::Field { path: at(path), what },
            GenesisError::UnknownField(path) => GenesisError::UnknownField(at(path)),
            other => other,
        }
    }
}

/// The value without the parts that the family's reader refuses, each of which is a finding.
fn sound_part(family: Family, value: &Json, path: &mut Path, faults: &mut Vec<Finding>) -> Option<Json> {
    if faults.len() > FINDINGS_MAX {
        return None;
    }
    let alone = |path: &Path| read(family, &path.around(value)).map_err(|error| path.corrected(error));
    // Most parts are sound as they are.
    let error = match alone(path) {
        Ok(_) => return Some(value.clone()),
        Err(error) => error,
    };
    // A leader is one thing: its type decides about its key.
    let whole = path.0.last().is_some_and(|step| matches!(step, Step::Key(key) if fold(key) == "leader"));
    let before = faults.len();
    let parts = match value {
        Json::Object(entries) if !whole => Json::Object(
            entries
                .iter()
                .filter_map(|(key, value)| {
                    path.0.push(Step::Key(key.clone()));
                    let part = sound_part(family, value, path, faults);
                    path.0.pop();
                    part.map(|part| (key.clone(), part))
                })
                .collect(),
        ),
        // Only validators and allocs are lists of things with names.
        Json::Array(items) if items.iter().any(|item| matches!(item, Json::Object(_))) => Json::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    path.0.push(Step::Item(index));
                    let part = sound_part(family, item, path, faults);
                    path.0.pop();
                    // Those behind it keep their places.
                    part.unwrap_or_else(|| Json::Object(Vec::new()))
                })
                .collect(),
        ),
        _ => {
            faults.push(keys::finding(&error, value));
            return None;
        }
    };
    if faults.len() == before {
        faults.push(keys::finding(&error, value));
        return None;
    }
    Some(parts)
}

/// What kwild refuses at start, and what would fork the network at once, in the order in which it is worth mending.
pub(super) fn startup_faults(genesis: &Genesis) -> Vec<Finding> {
    let mut found = Vec::new();
    chain_id(genesis, &mut found);
    match genesis {
        Genesis::V09(genesis) => v09::startup(genesis, &mut found),
        Genesis::V010(genesis) => v010::startup(genesis, &mut found),
    }
    if genesis.initial_height() < 0 {
        let text = format!("{}, but must not be negative", genesis.initial_height());
        found.push(codes::INITIAL_HEIGHT.error("initial_height", text));
    }
    let mut keys: Vec<(usize, PublicKey)> = match genesis {
        Genesis::V09(genesis) => genesis.validators.iter().enumerate().filter_map(v09::key).collect(),
        Genesis::V010(genesis) => {
            genesis.validators.iter().flatten().enumerate().filter_map(|(i, v)| Some((i, v.key(i).ok()?))).collect()
        }
    };
    keys.sort_by_key(|(index, key)| (*key, *index));
    for pair in keys.windows(2).filter(|pair| pair[0].1 == pair[1].1) {
        let text = format!("{} is there twice", pair[0].1);
        found.push(codes::VALIDATOR_TWICE.error(format!("validators[{}]", pair[1].0), text));
    }
    found
}

fn chain_id(genesis: &Genesis, found: &mut Vec<Finding>) {
    let (family, id) = (genesis.family(), genesis.chain_id());
    let text = match family {
        Family::V09 if id.is_empty() || id.len() > V09_CHAIN_ID_SIZE_BYTES_MAX => {
            format!("{} characters, but must have 1 to 50", id.len())
        }
        Family::V010 if id.is_empty() => {
            "is empty: it is part of the protocol names, so nodes of any network would mix".to_owned()
        }
        _ => return,
    };
    found.push(codes::CHAIN_ID.error("chain_id", text));
}

/// Adds what kwild does not check and concerns genesis files of both families.
fn advise_all(genesis: &Genesis, found: &mut Vec<Finding>) {
    let id = genesis.chain_id();
    if id.trim() != id || id.chars().any(char::is_control) {
        let text = format!("{:?} has blanks or control characters at its ends or in it", escape(id));
        found.push(codes::CHAIN_ID.warning("chain_id", text));
    }
    let hash = match genesis {
        Genesis::V09(_) => "app_hash",
        Genesis::V010(_) => "state_hash",
    };
    let (missing, allots) = match genesis {
        Genesis::V09(genesis) => (genesis.app_hash.as_ref().is_none_or(Vec::is_empty), !genesis.alloc.is_empty()),
        Genesis::V010(genesis) => (genesis.state_hash.is_empty(), !genesis.alloc.is_empty()),
    };
    if missing {
        found.push(codes::NO_STATE_HASH.warning(hash, "is not set: a snapshot would be ignored without a word"));
    } else if allots {
        let text = "balances are allotted on top of those in the snapshot";
        found.push(codes::ALLOC.warning("alloc", text));
    }
}

/// The worst level among the findings; `None` where there is none.
pub fn worst(findings: &[Finding]) -> Option<Level> {
    findings.iter().map(|finding| finding.level).min()
}
