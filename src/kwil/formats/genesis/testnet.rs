//! Takes a network's genesis and gives the one that a rehearsal of it needs: everything as it is, but for the chain id
//! and who makes the blocks.

use super::{Genesis, GenesisError, check_chain_id, refuse, v09, v010};
use crate::formats::{
    Family,
    key::{KeyError, KeyType, PublicKey},
};

/// What a rehearsal adds to the network's chain id, so that a transaction signed for the one is not valid on the other.
const SUFFIX: &str = "-testnet";

impl Genesis {
    /// Puts these keys, each of power 1, in the place of the validators; the first one is v0.10's leader. The chain id is
    /// the given one, else the network's own with `-testnet` behind it.
    ///
    /// # Errors
    /// When there is no key, one that the family cannot hold, or the family allows no such chain id.
    pub fn for_testnet(mut self, keys: &[PublicKey], chain_id: Option<&str>) -> Result<Self, GenesisError> {
        let Some(first) = keys.first() else { return refuse("validators", "a network needs at least one") };
        let id = chain_id.map_or_else(|| format!("{}{SUFFIX}", self.chain_id()), str::to_owned);
        check_chain_id(self.family(), &id)?;
        self.set_chain_id(id);
        match &mut self {
            Genesis::V09(genesis) => {
                genesis.validators = Vec::with_capacity(keys.len());
                for (index, key) in keys.iter().enumerate() {
                    if key.key_type() != KeyType::Ed25519 {
                        return refuse("validators", KeyError::FamilyCannotHold(key.key_type()).to_string());
                    }
                    genesis.validators.push(v09::GenesisValidator {
                        pub_key: key.bytes().to_vec(),
                        power: 1,
                        name: format!("validator-{index}"),
                    });
                }
            }
            Genesis::V010(genesis) => {
                genesis.leader = Some(*first);
                let entry = |key: &PublicKey| v010::GenesisValidator {
                    pubkey: key.bytes().to_vec(),
                    kind: key.key_type().to_string(),
                    power: 1,
                };
                genesis.validators = Some(keys.iter().map(entry).collect());
            }
        }
        self.check()?;
        Ok(self)
    }
}

/// The curve of the key that a new node of the family gets.
pub fn key_type(family: Family) -> KeyType {
    match family {
        Family::V09 => KeyType::Ed25519,
        Family::V010 => KeyType::Secp256k1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::key::PrivateKey;

    fn keys(family: Family) -> Vec<PublicKey> {
        (1..4).map(|n| PrivateKey::from_seed(key_type(family), &[n; 32]).unwrap().public()).collect()
    }

    #[test]
    fn only_the_validators_and_the_name_are_replaced() {
        for (family, text) in [
            (Family::V09, include_str!("../../../../tests/data/v0.9/worlds/quartet/genesis.original.json")),
            (Family::V010, include_str!("../../../../tests/data/v0.10/worlds/quartet/kwild-snapshot/genesis.json")),
        ] {
            let old = Genesis::parse(text.as_bytes()).unwrap();
            let keys = keys(family);
            let new = old.clone().for_testnet(&keys, None).unwrap();
            let there: Vec<PublicKey> = new.validators().unwrap().into_iter().map(|v| v.key).collect();
            assert_eq!(there, keys);
            assert!(new.validators().unwrap().iter().all(|v| v.power == 1));
            assert_eq!(new.chain_id(), format!("{}-testnet", old.chain_id()));
            assert_eq!((new.state_hash(), new.initial_height()), (old.state_hash(), old.initial_height()));
            assert_eq!(new.leader(), (family == Family::V010).then_some(&keys[0]));
            let named = old.clone().for_testnet(&keys, Some("other")).unwrap();
            assert_eq!(named.chain_id(), "other");
            assert!(old.for_testnet(&[], None).is_err());
        }
    }

    #[test]
    fn what_the_family_cannot_hold_is_refused() {
        let old =
            Genesis::parse(include_bytes!("../../../../tests/data/v0.9/worlds/quartet/genesis.original.json")).unwrap();
        assert!(old.clone().for_testnet(&keys(Family::V010), None).is_err());
        let long = "x".repeat(51);
        assert!(old.for_testnet(&keys(Family::V09), Some(&long)).is_err());
    }
}
