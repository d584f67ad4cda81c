//! The rules inside the lead's signature: who must have signed, and what the old network must have said.

use std::{fmt, str::FromStr};

use kwil_formats::formats::{Validator, key::PublicKey};

use super::{DecodeError, strictly_sorted};
use crate::base::{limits, text};

/// Who must have signed the manifest, and what validators of the old network must attest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRules {
    /// The key of the lead, who made the snapshot.
    pub lead: PublicKey,
    /// How many distinct keys of lead and co-signers must have signed.
    pub threshold: u32,
    /// The keys that may sign beside the lead's, sorted.
    pub cosigners: Vec<PublicKey>,
    /// What must be attested before a root is set up.
    pub attestations: Attestations,
}

impl TrustRules {
    /// The lead alone, no attestations.
    pub fn lead_alone(lead: PublicKey) -> Self {
        TrustRules { lead, threshold: 1, cosigners: Vec::new(), attestations: Attestations::None }
    }

    /// Whether this key may sign the manifest.
    pub fn may_sign(&self, key: &PublicKey) -> bool {
        *key == self.lead || self.cosigners.contains(key)
    }

    pub(super) fn check(&self, old_validators: &[Validator]) -> Result<(), DecodeError> {
        self.check_signers()?;
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
        if self.threshold == 0 || self.threshold as usize > 1 + self.cosigners.len() {
            return rule("trust.threshold", "not from 1 to the number of lead and co-signers");
        }
        Ok(())
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
