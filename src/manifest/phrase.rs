//! Six words that two people read to each other, to hear whether they have tickets of one manifest, lead and rules.

use bip39::Language;

use super::{Ticket, wire};

/// How many words a phrase has: 66 bits, which nobody finds a second ticket for while a call lasts.
const WORDS: usize = 6;
/// Each word stands for so many bits: the list has 2048 of them.
const BITS_PER_WORD: usize = 11;
/// What keeps this derivation apart from every other use of BLAKE3.
const CONTEXT: &str = "regenesis 2026-11 phrase of a ticket v1";

/// The phrase of what a ticket names: network, manifest, lead and rules. Addresses and the secret have no part in it, so that
/// every ticket of one manifest has the same one, whoever gave it out.
pub fn of_ticket(ticket: &Ticket) -> String {
    let named = Ticket { secret: None, addresses: Vec::new(), ..ticket.clone() };
    let hash = blake3::derive_key(CONTEXT, &wire::encode_ticket(&named));
    let words = Language::English.word_list();
    let word = |index: usize| {
        let bit = |at: usize| usize::from(hash[at / 8] >> (7 - at % 8) & 1);
        let first = index * BITS_PER_WORD;
        words[(first..first + BITS_PER_WORD).fold(0, |number, at| number << 1 | bit(at))]
    };
    (0..WORDS).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::Blake3Hash,
        manifest::{Attestations, TrustRules},
    };
    use kwil_formats::formats::key::{KeyType, PrivateKey};

    fn ticket() -> Ticket {
        let lead = PrivateKey::from_seed(KeyType::Ed25519, &[5; 32]).unwrap().public();
        Ticket {
            new_chain_id: "net-2".to_owned(),
            manifest_id: Blake3Hash::from_bytes([7; 32]),
            lead,
            policy: TrustRules::lead_alone(lead),
            secret: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn all_tickets_of_a_manifest_have_one_phrase_and_other_ones_another() {
        let phrase = of_ticket(&ticket());
        assert_eq!(phrase.split(' ').count(), WORDS);
        let with_way =
            Ticket { secret: Some([3; 32].into()), addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()], ..ticket() };
        assert_eq!(of_ticket(&with_way), phrase);
        let other = PrivateKey::from_seed(KeyType::Ed25519, &[6; 32]).unwrap().public();
        let rules = TrustRules { attestations: Attestations::Count(1), ..ticket().policy };
        for changed in [
            Ticket { new_chain_id: "net-3".to_owned(), ..ticket() },
            Ticket { manifest_id: Blake3Hash::from_bytes([8; 32]), ..ticket() },
            Ticket { lead: other, policy: TrustRules::lead_alone(other), ..ticket() },
            Ticket { policy: rules, ..ticket() },
        ] {
            assert_ne!(of_ticket(&changed), phrase);
        }
    }
}
