//! The rules inside the lead's signature: who must have signed, and what the old network must have said.

use std::{fmt, str::FromStr};

use kwil_formats::formats::{Validator, key::PublicKey};
use serde::{Serialize, Serializer};

use super::{DecodeError, Manifest, strictly_sorted};
use crate::base::{limits, text};

/// Who must have signed the manifest, and what validators of the old network must attest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRules {
    /// The key of the lead, who made the snapshot.
    pub lead: PublicKey,
    /// Whose signatures make the manifest count.
    pub threshold: Threshold,
    /// The keys that may sign beside the lead's, sorted; none where the old network's validators do.
    pub cosigners: Vec<PublicKey>,
    /// What must be attested before a root is set up.
    pub attestations: Attestations,
}

impl TrustRules {
    /// The lead alone, no attestations.
    pub fn lead_alone(lead: PublicKey) -> Self {
        TrustRules { lead, threshold: Threshold::Count(1), cosigners: Vec::new(), attestations: Attestations::None }
    }

    pub(super) fn check(&self, old_validators: &[Validator]) -> Result<(), DecodeError> {
        self.check_signers()?;
        if matches!(self.threshold, Threshold::PowerOver { .. }) {
            let rule = |problem| Err(DecodeError::Rule { field: "trust.threshold", problem });
            if old_validators.is_empty() {
                return rule("by the old network's power, but no validators of it are named");
            }
            if old_validators.len() > limits::SIGNATURES_MAX - 1 {
                return rule("by the old network's power, but it has more validators than may sign");
            }
        }
        self.attestations.check(old_validators)
    }

    pub(super) fn check_signers(&self) -> Result<(), DecodeError> {
        let rule = |field, problem| Err(DecodeError::Rule { field, problem });
        if !strictly_sorted(&self.cosigners, PublicKey::cmp) {
            return Err(DecodeError::NotSorted("trust.cosigners"));
        }
        if self.cosigners.len() > limits::COSIGNERS_MAX {
            return rule("trust.cosigners", "too many");
        }
        if self.cosigners.contains(&self.lead) {
            return rule("trust.cosigners", "the lead is among them");
        }
        match self.threshold {
            Threshold::Count(n) if n == 0 || n as usize > 1 + self.cosigners.len() => {
                rule("trust.threshold", "not from 1 to the number of lead and co-signers")
            }
            Threshold::PowerOver { numerator, denominator } if numerator >= denominator => {
                rule("trust.threshold", "not a fraction below 1: it could never be met")
            }
            Threshold::PowerOver { .. } if !self.cosigners.is_empty() => {
                rule("trust.cosigners", "named, but the old network's validators sign by their power")
            }
            _ => Ok(()),
        }
    }
}

/// Whose signatures make a manifest count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many distinct keys of lead and co-signers.
    Count(u32),
    /// Validators of the old network with more than `numerator / denominator` of its power, by the manifest's own list.
    PowerOver {
        /// What stands above the line, less than the denominator.
        numerator: u32,
        /// What stands below the line, more than 0.
        denominator: u32,
    },
}

impl Threshold {
    /// Who signs, in words.
    pub fn words(&self) -> String {
        match self {
            Threshold::Count(n) => format!("{} of lead and co-signers", text::count(u64::from(*n), "signature")),
            Threshold::PowerOver { numerator, denominator } => {
                format!("signatures of old validators with more than {numerator}/{denominator} of the old power")
            }
        }
    }
}

impl fmt::Display for Threshold {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::Count(n) => write!(f, "{n}"),
            Threshold::PowerOver { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Threshold::Count(n) => serializer.serialize_u32(*n),
            Threshold::PowerOver { .. } => serializer.collect_str(self),
        }
    }
}

/// The error of a text that is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no threshold: give a number of signatures, or a fraction of the old network's power such as 2/3", text::escape(.0))]
pub struct ThresholdTextError(String);

impl FromStr for Threshold {
    type Err = ThresholdTextError;

    /// As `--threshold` is typed: `3`, `2/3`.
    fn from_str(typed: &str) -> Result<Self, ThresholdTextError> {
        let error = || ThresholdTextError(typed.chars().take(40).collect());
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| error());
        match typed.split_once('/') {
            Some((above, below)) => match (number(above)?, number(below)?) {
                (numerator, denominator) if numerator < denominator => {
                    Ok(Threshold::PowerOver { numerator, denominator })
                }
                _ => Err(error()),
            },
            None => number(typed).and_then(|n| if n == 0 { Err(error()) } else { Ok(Threshold::Count(n)) }),
        }
    }
}

/// What signatures come to under a manifest's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// What the rules ask for.
    pub needed: Threshold,
    /// Distinct keys that may sign and have.
    pub signatures: usize,
    /// What those of them that are old validators vote with.
    pub power: u64,
    /// What all old validators vote with.
    pub power_of_all: u64,
}

impl Weight {
    /// Whether the manifest counts by them.
    pub fn is_enough(&self) -> bool {
        match self.needed {
            Threshold::Count(n) => self.signatures >= n as usize,
            Threshold::PowerOver { numerator, denominator } => {
                u128::from(self.power) * u128::from(denominator) > u128::from(self.power_of_all) * u128::from(numerator)
            }
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weight { needed, signatures, power, power_of_all } = self;
        match needed {
            Threshold::Count(n) => write!(f, "{signatures} of {n} signatures"),
            Threshold::PowerOver { .. } => write!(
                f,
                "{} with power {power} of {power_of_all}, more than {needed} needed",
                text::count(*signatures as u64, "signature")
            ),
        }
    }
}

impl Manifest {
    /// Whether this key may sign the manifest: the lead's, a co-signer's, or where the old network's power counts, an old
    /// validator's.
    pub fn may_sign(&self, key: &PublicKey) -> bool {
        let TrustRules { lead, threshold, cosigners, .. } = &self.trust;
        key == lead
            || match threshold {
                Threshold::Count(_) => cosigners.contains(key),
                Threshold::PowerOver { .. } => self.old_validators.iter().any(|validator| validator.key == *key),
            }
    }

    /// The keys that may sign beside the lead's.
    pub fn cosigners(&self) -> impl Iterator<Item = &PublicKey> {
        let TrustRules { lead, threshold, cosigners, .. } = &self.trust;
        let by_power = matches!(threshold, Threshold::PowerOver { .. });
        let validators = self.old_validators.iter().filter(move |_| by_power).map(|validator| &validator.key);
        cosigners.iter().chain(validators).filter(move |key| *key != lead)
    }

    /// What signatures of these keys come to, each of which stands there once.
    pub fn weigh<'a>(&self, signers: impl Iterator<Item = &'a PublicKey>) -> Weight {
        let power_of = |key: &PublicKey| self.old_validators.iter().find(|v| v.key == *key).map_or(0, |v| v.power);
        let (mut signatures, mut power) = (0, 0);
        for key in signers.filter(|key| self.may_sign(key)) {
            signatures += 1;
            power += power_of(key);
        }
        let power_of_all = self.old_validators.iter().map(|validator| validator.power).sum();
        Weight { needed: self.trust.threshold, signatures, power, power_of_all }
    }
}

/// What validators of the old network must have said before a root is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestations {
    /// Nothing: the state is the lead's word alone. Said aloud to everyone.
    None,
    /// More than `numerator / denominator` of the old power.
    PowerOver {
        /// What stands above the line, less than the denominator.
        numerator: u32,
        /// What stands below the line, more than 0.
        denominator: u32,
    },
    /// So many validators, whatever their power.
    Count(u32),
    /// The old leader and more than half of the old power: what v0.10 itself needs to go on.
    LeaderAndMajority {
        /// The old network's leader, one of its validators.
        leader: PublicKey,
    },
}

impl Attestations {
    fn check(&self, old_validators: &[Validator]) -> Result<(), DecodeError> {
        let problem = match self {
            Attestations::None => return Ok(()),
            _ if old_validators.is_empty() => "needs attestations, but names no validators of the old network",
            Attestations::PowerOver { numerator, denominator } if numerator >= denominator => {
                "not a fraction below 1: it could never be met"
            }
            Attestations::Count(0) => "a count of 0; say none",
            Attestations::Count(n) if *n as usize > old_validators.len() => "more than there are old validators",
            Attestations::LeaderAndMajority { leader } if old_validators.iter().all(|v| v.key != *leader) => {
                "the old leader is not among the old validators"
            }
            _ => return Ok(()),
        };
        Err(DecodeError::Rule { field: "trust.attestations", problem })
    }
}

impl fmt::Display for Attestations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attestations::None => f.write_str("none"),
            Attestations::PowerOver { numerator: 1, denominator: 2 } => f.write_str("more than half of the old power"),
            Attestations::PowerOver { numerator, denominator } => {
                write!(f, "more than {numerator}/{denominator} of the old power")
            }
            Attestations::Count(n) => write!(f, "{} of the old network", text::count(u64::from(*n), "validator")),
            Attestations::LeaderAndMajority { leader } => {
                write!(f, "the old leader {leader} and more than half of the old power")
            }
        }
    }
}

/// The error of a text that is no attestation rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no attestation rule: give none, majority, a fraction such as 2/3, or a number of validators", text::escape(.0))]
pub struct AttestationsTextError(String);

impl FromStr for Attestations {
    type Err = AttestationsTextError;

    /// As `--attestations` is typed: `none`, `majority`, `2/3`, `3`.
    fn from_str(typed: &str) -> Result<Self, AttestationsTextError> {
        let error = || AttestationsTextError(typed.chars().take(40).collect());
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| error());
        Ok(match typed.split_once('/') {
            _ if typed == "none" => Attestations::None,
            _ if typed == "majority" => Attestations::PowerOver { numerator: 1, denominator: 2 },
            Some((above, below)) => {
                let (numerator, denominator) = (number(above)?, number(below)?);
                if numerator >= denominator {
                    return Err(error());
                }
                Attestations::PowerOver { numerator, denominator }
            }
            None => match number(typed)? {
                0 => return Err(error()),
                n => Attestations::Count(n),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_read_as_typed() {
        for typed in ["1", "3", "2/3", "0/1"] {
            assert_eq!(typed.parse::<Threshold>().unwrap().to_string(), typed);
        }
        assert_eq!(serde_json::to_string(&Threshold::Count(2)).unwrap(), "2");
        assert_eq!(serde_json::to_string(&"2/3".parse::<Threshold>().unwrap()).unwrap(), "\"2/3\"");
        for bad in ["", "0", "3/3", "1/0", "-1", "2/3/4", "all", "99999999999"] {
            assert!(bad.parse::<Threshold>().unwrap_err().to_string().contains("no threshold"), "{bad}");
        }
    }

    #[test]
    fn a_fraction_is_passed_and_not_only_reached() {
        let weight = |power, power_of_all| {
            let needed = Threshold::PowerOver { numerator: 2, denominator: 3 };
            Weight { needed, signatures: 1, power, power_of_all }.is_enough()
        };
        assert!(weight(3, 4) && weight(1, 1) && weight(u64::MAX, u64::MAX));
        assert!(!weight(2, 3) && !weight(2, 4) && !weight(0, 0));
    }

    #[test]
    fn rules_read_as_typed() {
        let parse = |t: &str| t.parse::<Attestations>();
        assert_eq!(parse("none"), Ok(Attestations::None));
        assert_eq!(parse("majority").unwrap().to_string(), "more than half of the old power");
        assert_eq!(parse("2/3").unwrap().to_string(), "more than 2/3 of the old power");
        assert_eq!(parse("1").unwrap().to_string(), "1 validator of the old network");
        for bad in ["", "0", "3/3", "1/0", "-1", "2/3/4", "all", "99999999999"] {
            assert!(parse(bad).unwrap_err().to_string().contains("no attestation rule"), "{bad}");
        }
    }
}
