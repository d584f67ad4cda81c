//! The certificate: by their own signatures, validators with more than two thirds of a new network's power are ready.

use kwil_formats::formats::{
    Family, Validator,
    genesis::{Genesis, GenesisError},
    key::PublicKey,
};
use sha2::{Digest, Sha256};

use super::{
    DecodeError,
    statement::{Readiness, Stage, StatementError},
    strictly_sorted,
};
use crate::base::{Blake3Hash, Error, Sha256Hash, limits, text};

/// The file's name in the private directory of whoever waited for it.
pub const CERTIFICATE_FILE_NAME: &str = "certificate.evidence";

/// Statements of validators that they are ready, as they lie in a file. Nothing of it is believed until it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The id of the manifest that every statement is about.
    pub manifest_id: Blake3Hash,
    /// SHA-256 of the genesis that every statement is about.
    pub genesis_sha256: Sha256Hash,
    /// The signed statements, sorted by who signed, each signer once.
    pub(super) statements: Vec<Vec<u8>>,
}

impl Certificate {
    /// The signed statements, of which nothing is checked here.
    pub fn into_statements(self) -> Vec<Vec<u8>> {
        self.statements
    }
}

/// Why a certificate certifies nothing.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is no statement in it, or they are not sorted, each signer once.
    #[error("the certificate's {0}")]
    Decode(DecodeError),
    /// A statement cannot be read, or its signature does not hold.
    #[error("a statement in the certificate: {0}")]
    Statement(StatementError),
    /// A statement is about another manifest than the certificate.
    #[error("the statement by {0} is about another manifest than the certificate")]
    OtherManifest(PublicKey),
    /// A statement is about another genesis than the certificate.
    #[error("the statement by {0} is about another genesis than the certificate")]
    OtherGenesis(PublicKey),
    /// The genesis that was given cannot be read.
    #[error("the genesis cannot be used")]
    Genesis(#[source] Box<GenesisError>),
    /// The certificate is of another network.
    #[error("the certificate is about the genesis with SHA-256 {expected}, not about this one, which has {got}")]
    WrongGenesis {
        /// What the certificate is about.
        expected: Sha256Hash,
        /// What was given.
        got: Sha256Hash,
    },
    /// Somebody who is no validator says that it is ready.
    #[error("{0} has signed, but is no validator of this genesis")]
    Foreign(PublicKey),
    /// A validator says that its node does not hold what was signed.
    #[error("{0} says that its node does not hold what was signed: that is no readiness")]
    Differs(PublicKey),
    /// Too little power is ready.
    #[error("validators with power {ready} of {total} are ready: that is not more than two thirds")]
    NotEnough {
        /// The power that is ready.
        ready: u128,
        /// All power.
        total: u128,
    },
    /// The leader is not ready, without which no block is made.
    #[error("the leader {0} is not among those that are ready, and the network makes no block without it")]
    NoLeader(PublicKey),
}

impl From<CertificateError> for Error {
    fn from(error: CertificateError) -> Self {
        let hint = match &error {
            CertificateError::Genesis(_) | CertificateError::WrongGenesis { .. } => {
                "give the genesis.json that the new network starts from, unchanged"
            }
            CertificateError::NotEnough { .. } | CertificateError::NoLeader(_) => {
                "wait until the others are ready, too, and take the certificate that is written then"
            }
            _ => "do not rely on it; ask whoever gave it for the file that was written in the first place",
        };
        match error {
            CertificateError::Genesis(source) => Error::verify("the genesis cannot be used").because(source).hint(hint),
            other => Error::verify(other.to_string()).hint(hint),
        }
    }
}

/// A validator that says it is ready, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Who, and with which power.
    pub validator: Validator,
    /// What it says.
    pub statement: Readiness,
}

/// A certificate whose every statement holds and is about one genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The manifest that all of them are about.
    pub manifest_id: Blake3Hash,
    /// SHA-256 of the genesis.
    pub genesis_sha256: Sha256Hash,
    /// The new network's family.
    pub family: Family,
    /// The new network's chain id.
    pub chain_id: String,
    /// The new network's leader, where the genesis names one.
    pub leader: Option<PublicKey>,
    /// Those that are ready, sorted by key.
    pub ready: Vec<Ready>,
    /// Those that have not said so, sorted by key.
    pub missing: Vec<Validator>,
}

/// The power of some validators together.
pub(super) fn power<'a>(validators: impl Iterator<Item = &'a Validator>) -> u128 {
    validators.map(|validator| u128::from(validator.power)).sum()
}

/// Whether so much of all power makes blocks.
pub(super) fn is_over_two_thirds(ready: u128, total: u128) -> bool {
    ready * 3 > total * 2
}

impl Certificate {
    /// Judges the certificate by the bytes of a genesis file, which alone says who the validators are.
    ///
    /// # Errors
    /// The first fault that there is; whether enough are ready is asked of what is given back.
    pub fn judge(&self, genesis_bytes: &[u8]) -> Result<Certified, CertificateError> {
        let said = self.statements()?;
        let got = Sha256Hash::from_bytes(Sha256::digest(genesis_bytes).into());
        if got != self.genesis_sha256 {
            return Err(CertificateError::WrongGenesis { expected: self.genesis_sha256, got });
        }
        let unfit = |e| CertificateError::Genesis(Box::new(e));
        let genesis = Genesis::parse(genesis_bytes).map_err(unfit)?;
        let mut missing = super::genesis_validators(&genesis).map_err(unfit)?;
        let mut ready = Vec::with_capacity(said.len());
        for (signer, statement) in said {
            let Some(place) = missing.iter().position(|validator| validator.key == signer) else {
                return Err(CertificateError::Foreign(signer));
            };
            ready.push(Ready { validator: missing.remove(place), statement });
        }
        Ok(Certified {
            manifest_id: self.manifest_id,
            genesis_sha256: self.genesis_sha256,
            family: genesis.family(),
            chain_id: genesis.chain_id().to_owned(),
            leader: genesis.leader().copied(),
            ready,
            missing,
        })
    }

    /// Who says what: every signature holds, and all are about one manifest and one genesis.
    fn statements(&self) -> Result<Vec<(PublicKey, Readiness)>, CertificateError> {
        if self.statements.is_empty() {
            return Err(CertificateError::Decode(DecodeError::Missing("statements")));
        }
        if self.statements.len() > limits::CERTIFICATE_STATEMENTS_MAX {
            return Err(CertificateError::Decode(DecodeError::Rule { field: "statements", problem: "too many" }));
        }
        let mut said = Vec::with_capacity(self.statements.len());
        for bytes in &self.statements {
            let signed = Readiness::verify(bytes).map_err(CertificateError::Statement)?;
            if signed.statement.manifest_id != self.manifest_id {
                return Err(CertificateError::OtherManifest(signed.signer));
            }
            if signed.statement.genesis_sha256 != self.genesis_sha256 {
                return Err(CertificateError::OtherGenesis(signed.signer));
            }
            if signed.statement.stage == Stage::Differs {
                return Err(CertificateError::Differs(signed.signer));
            }
            said.push((signed.signer, signed.statement));
        }
        if !strictly_sorted(&said, |a, b| a.0.cmp(&b.0)) {
            return Err(CertificateError::Decode(DecodeError::NotSorted("statements")));
        }
        Ok(said)
    }
}

impl Certified {
    /// The power that is ready.
    pub fn ready_power(&self) -> u128 {
        power(self.ready.iter().map(|ready| &ready.validator))
    }

    /// All power of the network.
    pub fn total_power(&self) -> u128 {
        self.ready_power() + power(self.missing.iter())
    }

    /// When the last of those that are ready said so, in UNIX seconds by its own clock.
    pub fn last_unix_seconds(&self) -> u64 {
        self.ready.iter().map(|ready| ready.statement.created_unix_seconds).max().unwrap_or_default()
    }

    /// Whether they make blocks: more than two thirds of the power, and the leader where it is a validator.
    ///
    /// # Errors
    /// When they do not, with the reason.
    pub fn require_quorum(&self) -> Result<(), CertificateError> {
        let (ready, total) = (self.ready_power(), self.total_power());
        if !is_over_two_thirds(ready, total) {
            return Err(CertificateError::NotEnough { ready, total });
        }
        match self.leader.filter(|leader| self.missing.iter().any(|validator| validator.key == *leader)) {
            Some(leader) => Err(CertificateError::NoLeader(leader)),
            None => Ok(()),
        }
    }

    /// What is certified, in a clause.
    pub fn words(&self) -> String {
        format!(
            "{} with power {} of {} ready for {} ({})",
            text::count(self.ready.len() as u64, "validator"),
            self.ready_power(),
            self.total_power(),
            text::escape(&self.chain_id),
            self.family
        )
    }
}
