//! Whose a member is: once both sides have proved membership, and before anything else, each shows the bindings that its validators have
//! signed. What does not hold is passed over, with the reason kept for whoever is not let in because of it.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use kwil_formats::formats::key::PublicKey;
use libp2p::PeerId;

use super::{handshake::HandshakeError, wire};
use crate::{base::clock, manifest::Binding};

/// What this node shows, and the network in whose swarm it is shown.
#[derive(Debug)]
pub(super) struct Introducer {
    pub(super) bindings: Vec<Vec<u8>>,
    pub(super) new_chain_id: String,
}

/// Whose a member is, as it has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) validators: Vec<PublicKey>,
    /// Why the first binding that does not count does not.
    pub(super) fault: Option<String>,
}

impl Introducer {
    /// Shows ours on a stream whose handshake is done, and judges what the other side shows.
    pub(super) async fn exchange(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        them: &PeerId,
    ) -> Result<Shown, HandshakeError> {
        let broken = HandshakeError::Broken;
        wire::write_introduction(stream, &self.bindings).await.map_err(broken)?;
        match wire::read_introduction(stream).await.map_err(broken)? {
            Some(bindings) => Ok(self.judge(&bindings, them, clock::unix_seconds())),
            None => Err(broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn judge(&self, bindings: &[Vec<u8>], them: &PeerId, now_unix_seconds: u64) -> Shown {
        let (peer, mut shown) = (them.to_string(), Shown::default());
        for bytes in bindings {
            match Binding::of_node(bytes, &peer, &self.new_chain_id, now_unix_seconds) {
                Ok(validator) if shown.validators.contains(&validator) => {}
                Ok(validator) => shown.validators.push(validator),
                Err(e) => _ = shown.fault.get_or_insert_with(|| e.to_string()),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, future::join};
    use kwil_formats::formats::key::{KeyType, PrivateKey};
    use libp2p::identity::Keypair;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;
    use crate::manifest::BindingError;

    fn validator(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyType::Secp256k1, &[seed; 32]).unwrap()
    }

    fn bound(node: &Keypair, seed: u8, until: u64) -> Vec<u8> {
        let key = node.public().try_into_ed25519().unwrap().to_bytes();
        let binding = Binding {
            node: PublicKey::new(KeyType::Ed25519, &key).unwrap(),
            created_unix_seconds: 0,
            not_after_unix_seconds: until,
            new_chain_id: None,
        };
        binding.sign(&validator(seed)).unwrap()
    }

    fn introducer(bindings: Vec<Vec<u8>>) -> Introducer {
        Introducer { bindings, new_chain_id: "kwil-2".to_owned() }
    }

    #[test]
    fn each_hears_whose_the_other_is_and_nobody_shows_what_is_anothers() {
        let [one, other] = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let ids = [one.public().to_peer_id(), other.public().to_peer_id()];
        let last = crate::base::limits::UNIX_SECONDS_MAX;
        let mine = bound(&one, 1, last);
        // The other one shows what it heard from the first, one that is over, and its own twice.
        let own = bound(&other, 2, last);
        let shown = [introducer(vec![mine.clone()]), introducer(vec![mine, bound(&other, 3, 5), own.clone(), own])];
        let (a, b) = tokio::io::duplex(4096);
        let (of_other, of_one) = block_on(join(
            async {
                let mut stream = a.compat();
                shown[0].exchange(&mut stream, &ids[1]).await
            },
            async {
                let mut stream = b.compat();
                shown[1].exchange(&mut stream, &ids[0]).await
            },
        ));
        let (of_one, of_other) = (of_one.unwrap(), of_other.unwrap());
        assert_eq!(of_one, Shown { validators: vec![validator(1).public()], fault: None });
        assert_eq!(of_other.validators, [validator(2).public()]);
        assert_eq!(of_other.fault, Some(BindingError::OtherNode(ids[0].to_string()).to_string()));
    }
}
