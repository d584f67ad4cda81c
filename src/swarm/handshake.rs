//! Membership: both sides prove that they know the swarm's secret before anything else is said.
//!
//! `key = BLAKE3-derive-key(context, secret)`, and each proof is
//! `BLAKE3-keyed(key, label ‖ role ‖ len(dialler) dialler ‖ len(listener) listener ‖ nonce of the dialler ‖ nonce of the
//! listener [‖ manifest id])`. The peer ids are those that the transport has authenticated, so a proof cannot be passed on
//! by someone in the middle; role and nonces make it useless at any other time. The listener proves nothing to someone who
//! has not proved first. Compared in constant time; one try a connection; ten seconds for all of it.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::wire::{self, Proof};
use crate::base::Blake3Hash;

const SECRET_CONTEXT: &str = "regenesis 2026 swarm membership v1, key from the ticket's secret";
const LAN_CONTEXT: &str = "regenesis 2026 swarm membership v1, key of what members say to a local network";
const DHT_CONTEXT: &str = "regenesis 2026 swarm membership v1, keys of what members keep in a distributed hash table";
const PUBLIC_CONTEXT: &str = "regenesis 2026 swarm membership v1, public swarm, key from the manifest id";

/// What members of a swarm share.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Membership {
    key: [u8; 32],
    #[zeroize(skip)]
    manifest_id: Blake3Hash,
    /// Which run of this node it is.
    #[zeroize(skip)]
    instance: Instance,
}

/// Random, one for each run of a node: two nodes with one copied key are told apart by it.
pub(super) type Instance = [u8; 16];

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Membership({})", self.manifest_id.short())
    }
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Dialler,
    Listener,
}

/// Why a peer is no member.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("it does not know this swarm's secret")]
    WrongSecret,
    #[error("it closed the connection when we proved our membership: its secret is another one than our ticket's")]
    Rejected,
    #[error("it is a member, but speaks of another manifest than this one")]
    OtherManifest,
    #[error("it broke off the handshake")]
    Broken(#[source] io::Error),
}

impl Membership {
    /// A private swarm's.
    pub(super) fn with_secret(secret: &[u8; 32], manifest_id: Blake3Hash, instance: Instance) -> Self {
        Membership { key: blake3::derive_key(SECRET_CONTEXT, secret), manifest_id, instance }
    }

    /// A public swarm's: whoever has the ticket's manifest id may come in.
    pub(super) fn public(manifest_id: Blake3Hash, instance: Instance) -> Self {
        Membership { key: blake3::derive_key(PUBLIC_CONTEXT, manifest_id.as_bytes()), manifest_id, instance }
    }

    /// The key of what members of this manifest's swarm say to a whole local network.
    pub(super) fn lan_key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(LAN_CONTEXT);
        hasher.update(&self.key).update(self.manifest_id.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// A key for what members of this manifest's swarm keep in a distributed hash table.
    pub(super) fn dht_key(&self, purpose: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(DHT_CONTEXT);
        hasher.update(&self.key).update(self.manifest_id.as_bytes()).update(purpose);
        *hasher.finalize().as_bytes()
    }

    fn proof(&self, role: Role, peers: &[PeerId; 2], nonces: &[[u8; 32]; 2]) -> Proof {
        let transcript = |label: &[u8]| {
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            hasher.update(label).update(&[match role {
                Role::Dialler => 1,
                Role::Listener => 2,
            }]);
            for peer in peers {
                let bytes = peer.to_bytes();
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
            }
            hasher.update(&nonces[0]).update(&nonces[1]);
            hasher
        };
        let mut manifest = transcript(b"manifest");
        manifest.update(self.manifest_id.as_bytes());
        Proof {
            membership: *transcript(b"membership").finalize().as_bytes(),
            manifest: *manifest.finalize().as_bytes(),
            instance: self.instance,
        }
    }

    fn check(&self, got: &Proof, expected: &Proof) -> Result<Instance, HandshakeError> {
        let member = got.membership.ct_eq(&expected.membership);
        let manifest = got.manifest.ct_eq(&expected.manifest);
        if !bool::from(member) {
            Err(HandshakeError::WrongSecret)
        } else if !bool::from(manifest) {
            Err(HandshakeError::OtherManifest)
        } else {
            Ok(got.instance)
        }
    }

    /// Runs the handshake on a fresh stream, and says which run of the other node it is. `nonce` must be new and random.
    pub(super) async fn run(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        role: Role,
        us: PeerId,
        them: PeerId,
        nonce: [u8; 32],
    ) -> Result<Instance, HandshakeError> {
        let broken = HandshakeError::Broken;
        let closed = || HandshakeError::Broken(io::ErrorKind::UnexpectedEof.into());
        wire::write_hello(stream, &nonce).await.map_err(broken)?;
        let theirs = wire::read_hello(stream).await.map_err(broken)?.ok_or_else(closed)?;
        let (peers, nonces) = match role {
            Role::Dialler => ([us, them], [nonce, theirs]),
            Role::Listener => ([them, us], [theirs, nonce]),
        };
        let of_dialler = self.proof(Role::Dialler, &peers, &nonces);
        let of_listener = self.proof(Role::Listener, &peers, &nonces);
        match role {
            Role::Dialler => {
                wire::write_proof(stream, &of_dialler).await.map_err(broken)?;
                match wire::read_proof(stream).await {
                    Ok(Some(proof)) => self.check(&proof, &of_listener),
                    // It has seen our proof and went away without a word: that is how a no looks.
                    Ok(None) => Err(HandshakeError::Rejected),
                    Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(broken(e)),
                    Err(_) => Err(HandshakeError::Rejected),
                }
            }
            Role::Listener => {
                let proof = wire::read_proof(stream).await.map_err(broken)?.ok_or_else(closed)?;
                let checked = self.check(&proof, &of_dialler);
                // A member with an old ticket may learn that it is old; a stranger learns nothing.
                if !matches!(checked, Err(HandshakeError::WrongSecret)) {
                    wire::write_proof(stream, &of_listener).await.map_err(broken)?;
                }
                checked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, executor::block_on, future::join};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([1; 32]);

    fn with_secret(secret: [u8; 32], id: Blake3Hash) -> Membership {
        Membership::with_secret(&secret, id, [7; 16])
    }

    type Met = Result<Instance, HandshakeError>;

    fn meet(dialler: &Membership, listener: &Membership) -> (Met, Met) {
        let (a, b) = tokio::io::duplex(4096);
        let (pa, pb) = (PeerId::random(), PeerId::random());
        block_on(join(
            async {
                let mut s = a.compat();
                dialler.run(&mut s, Role::Dialler, pa, pb, [1; 32]).await
            },
            async {
                let mut s = b.compat();
                listener.run(&mut s, Role::Listener, pb, pa, [2; 32]).await
            },
        ))
    }

    #[test]
    fn members_of_one_manifest_meet() {
        let (d, l) = meet(&with_secret([5; 32], ID), &Membership::with_secret(&[5; 32], ID, [8; 16]));
        assert_eq!(d.unwrap(), [8; 16]);
        assert_eq!(l.unwrap(), [7; 16]);
    }

    #[test]
    fn a_wrong_secret_is_told_apart_from_a_stale_ticket() {
        let (d, l) = meet(&with_secret([6; 32], ID), &with_secret([5; 32], ID));
        assert!(matches!(d, Err(HandshakeError::Rejected)), "{d:?}");
        assert!(matches!(l, Err(HandshakeError::WrongSecret)), "{l:?}");
        let old = Blake3Hash::from_bytes([2; 32]);
        let (d, l) = meet(&with_secret([5; 32], old), &with_secret([5; 32], ID));
        assert!(matches!(d, Err(HandshakeError::OtherManifest)), "{d:?}");
        assert!(matches!(l, Err(HandshakeError::OtherManifest)), "{l:?}");
    }

    #[test]
    fn a_public_swarm_is_not_a_private_one() {
        let (d, l) = meet(&Membership::public(ID, [7; 16]), &with_secret(*ID.as_bytes(), ID));
        assert!(d.is_err() && l.is_err());
        let (d, l) = meet(&Membership::public(ID, [7; 16]), &Membership::public(ID, [7; 16]));
        assert!(d.is_ok() && l.is_ok());
    }

    #[test]
    fn a_stranger_hears_a_nonce_and_nothing_else() {
        let (a, b) = tokio::io::duplex(4096);
        let listener = with_secret([5; 32], ID);
        let (pa, pb) = (PeerId::random(), PeerId::random());
        let (heard, l) = block_on(join(
            async {
                let mut s = a.compat();
                wire::write_hello(&mut s, &[9; 32]).await.unwrap();
                let proof = Proof { membership: [0; 32], manifest: [0; 32], instance: [0; 16] };
                wire::write_proof(&mut s, &proof).await.unwrap();
                let mut heard = Vec::new();
                s.read_to_end(&mut heard).await.unwrap();
                heard
            },
            async {
                let mut s = b.compat();
                listener.run(&mut s, Role::Listener, pb, pa, [2; 32]).await
            },
        ));
        assert!(matches!(l, Err(HandshakeError::WrongSecret)));
        // One greeting: a length, a field tag, a length and the nonce.
        assert_eq!(heard.len(), 35, "{heard:?}");
        assert_eq!(&heard[3..], [2; 32]);
    }

    #[test]
    fn a_proof_cannot_be_reflected() {
        let m = with_secret([5; 32], ID);
        let peers = [PeerId::random(), PeerId::random()];
        let nonces = [[1; 32], [2; 32]];
        assert_ne!(m.proof(Role::Dialler, &peers, &nonces), m.proof(Role::Listener, &peers, &nonces));
        let swapped = [peers[1], peers[0]];
        assert_ne!(m.proof(Role::Dialler, &peers, &nonces), m.proof(Role::Dialler, &swapped, &nonces));
    }
}
