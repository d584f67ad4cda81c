//! Whose a node of the swarm is: a validator says it once, with a key that then stays offline, and the node shows it to each member
//! that it meets. It counts only from that node itself, whose peer id the transport has proved, so nobody says it of another's node.

use kwil_formats::formats::key::{PrivateKey, PublicKey};

use super::{
    check_chain_id,
    statement::{Signed, StatementError, sign, verify},
    wire,
};
use crate::base::text;

/// A validator says that a node of the swarm is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The node's ed25519 key, of which its peer id is made.
    pub node: PublicKey,
    /// When it was said, in UNIX seconds.
    pub created_unix_seconds: u64,
    /// The UNIX second after which it counts no more.
    pub not_after_unix_seconds: u64,
    /// The chain id of the new network in whose swarm alone it counts; `None`: in any.
    pub new_chain_id: Option<String>,
}

/// Why a binding does not say whose a node is, although its signature holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// It is no binding, or its signature does not hold.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// It is about another node than the one that shows it.
    #[error("it is about another node, {0}")]
    OtherNode(String),
    /// It is for the swarm of another network.
    #[error("it is for the swarm of another network, {}", text::escape(.0))]
    OtherNetwork(String),
    /// Its time is over.
    #[error("it ended at {}, and this machine's clock says {}", text::time(*.end), text::time(*.now))]
    Over {
        /// Its last second.
        end: u64,
        /// This machine's time.
        now: u64,
    },
}

impl Binding {
    const DOMAIN: &[u8] = b"regenesis/binding/v1\0";

    /// Signs it; the bytes are what a file holds and what members are shown.
    ///
    /// # Errors
    /// When a reader would refuse it: an end before its beginning, a chain id that is none, a node's key that is not ed25519.
    pub fn sign(&self, key: &PrivateKey) -> Result<Vec<u8>, StatementError> {
        let payload = wire::encode_binding(self);
        wire::decode_binding(&payload)?;
        Ok(sign(Self::DOMAIN, &payload, key))
    }

    /// Reads one, and who signed it.
    ///
    /// # Errors
    /// When it is none, or its signature does not hold.
    pub fn verify(bytes: &[u8]) -> Result<Signed<Self>, StatementError> {
        let (payload, signer) = verify(Self::DOMAIN, bytes)?;
        Ok(Signed { statement: wire::decode_binding(&payload)?, signer })
    }

    /// Whose the node with this peer id is, as these bytes say that it shows, in the swarm of this new network.
    ///
    /// # Errors
    /// Why they do not say it.
    pub fn of_node(
        bytes: &[u8],
        peer_id: &str,
        new_chain_id: &str,
        now_unix_seconds: u64,
    ) -> Result<PublicKey, BindingError> {
        let Signed { statement, signer } = Self::verify(bytes)?;
        if statement.node.peer_id() != peer_id {
            return Err(BindingError::OtherNode(statement.node.peer_id()));
        }
        if let Some(other) = statement.new_chain_id.filter(|id| id != new_chain_id) {
            return Err(BindingError::OtherNetwork(other));
        }
        let end = statement.not_after_unix_seconds;
        if now_unix_seconds > end {
            return Err(BindingError::Over { end, now: now_unix_seconds });
        }
        Ok(signer)
    }

    pub(super) fn check_chain_id(&self) -> Result<(), super::DecodeError> {
        self.new_chain_id.as_deref().map_or(Ok(()), |id| check_chain_id("new_chain_id", id))
    }
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::key::KeyType;

    use super::*;
    use crate::{
        base::limits::UNIX_SECONDS_MAX,
        manifest::statement::{Attestation, Readiness},
    };

    const NOW: u64 = 1_800_000_000;
    const CHAIN: &str = "kwil-2";

    fn key(kind: KeyType, seed: u8) -> PrivateKey {
        PrivateKey::from_seed(kind, &[seed; 32]).unwrap()
    }

    fn node(seed: u8) -> PublicKey {
        key(KeyType::Ed25519, seed).public()
    }

    fn binding() -> Binding {
        Binding {
            node: node(5),
            created_unix_seconds: NOW,
            not_after_unix_seconds: NOW + 86_400,
            new_chain_id: Some(CHAIN.to_owned()),
        }
    }

    #[test]
    fn golden_bytes_do_not_change() {
        let bytes = binding().sign(&key(KeyType::Secp256k1, 9)).unwrap();
        assert_eq!(hex::encode(bytes), hex::encode(include_bytes!("../../tests/vectors/evidence/node.binding")));
    }

    #[test]
    fn a_node_is_whose_the_binding_says_with_either_curve_and_no_byte_can_change() {
        for kind in [KeyType::Ed25519, KeyType::Secp256k1] {
            let validator = key(kind, 9);
            let bytes = binding().sign(&validator).unwrap();
            let whose = |bytes: &[u8]| Binding::of_node(bytes, &node(5).peer_id(), CHAIN, NOW);
            assert_eq!(whose(&bytes), Ok(validator.public()));
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 1;
                assert!(whose(&other).is_err(), "byte {i}");
                assert!(whose(&bytes[..i]).is_err(), "cut at {i}");
            }
            assert!(whose(&[&bytes[..], &bytes[..]].concat()).is_err(), "twice");
            assert!(whose(&vec![0; 5000]).is_err());
        }
    }

    #[test]
    fn it_counts_from_its_own_node_in_its_own_network_and_until_its_end() {
        let bytes = binding().sign(&key(KeyType::Ed25519, 9)).unwrap();
        let of = |peer: &PublicKey, chain: &str, now| Binding::of_node(&bytes, &peer.peer_id(), chain, now);
        assert_eq!(of(&node(6), CHAIN, NOW), Err(BindingError::OtherNode(node(5).peer_id())));
        assert_eq!(of(&node(5), "kwil-3", NOW), Err(BindingError::OtherNetwork(CHAIN.to_owned())));
        // A clock that is an hour or a year behind harms nothing; one that is ahead of the end is named with its time.
        for now in [NOW - 365 * 86_400, NOW - 3600, NOW + 3600, NOW + 86_400] {
            assert!(of(&node(5), CHAIN, now).is_ok(), "{now}");
        }
        let late = of(&node(5), CHAIN, NOW + 365 * 86_400).unwrap_err();
        assert!(late.to_string().contains("this machine's clock says"), "{late}");
        let anywhere = Binding { new_chain_id: None, ..binding() }.sign(&key(KeyType::Ed25519, 9)).unwrap();
        assert!(Binding::of_node(&anywhere, &node(5).peer_id(), "kwil-3", NOW).is_ok());
    }

    #[test]
    fn what_a_reader_would_refuse_is_not_signed() {
        let refused = |binding: Binding| binding.sign(&key(KeyType::Ed25519, 9)).is_err();
        assert!(refused(Binding { not_after_unix_seconds: NOW - 1, ..binding() }));
        assert!(refused(Binding { not_after_unix_seconds: UNIX_SECONDS_MAX + 1, ..binding() }));
        assert!(refused(Binding { new_chain_id: Some("a\nb".to_owned()), ..binding() }));
        assert!(refused(Binding { new_chain_id: Some("x".repeat(1000)), ..binding() }));
        assert!(refused(Binding { node: key(KeyType::Secp256k1, 5).public(), ..binding() }));
    }

    #[test]
    fn it_is_never_taken_for_another_statement() {
        let validator = key(KeyType::Ed25519, 9);
        let bytes = binding().sign(&validator).unwrap();
        assert!(Attestation::verify(&bytes).is_err() && Readiness::verify(&bytes).is_err());
        assert!(!crate::manifest::statement::is_one(&bytes));
        // The same payload, signed in another domain.
        let elsewhere = sign(b"regenesis/readiness/v1\0", &wire::encode_binding(&binding()), &validator);
        assert_eq!(Binding::verify(&elsewhere), Err(StatementError::Signature(validator.public())));
    }
}
