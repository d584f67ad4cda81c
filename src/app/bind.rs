//! Binding a node of the swarm to a validator: a statement that is signed once, where the validator's key is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kwil_formats::formats::key::{KeyType, PrivateKey, PublicKey};
use serde::Serialize;

use crate::{
    base::{Error, Next, Result, clock, durable, files::read_bounded, limits},
    manifest::{Binding, statement::StatementError},
};

/// A binding, as a file holds it.
#[derive(Debug, Clone, Serialize)]
pub struct Bound {
    /// The file.
    pub binding: PathBuf,
    /// Whose node it is.
    pub validator: PublicKey,
    /// The node's peer id.
    pub peer_id: String,
    /// The chain id of the new network in whose swarm alone it counts; null: in any.
    pub new_chain_id: Option<String>,
    /// When it was signed.
    pub created_unix_seconds: u64,
    /// Until when it counts.
    pub not_after_unix_seconds: u64,
    /// Whether that has passed, by this machine's clock.
    pub is_over: bool,
}

impl Bound {
    fn new(path: &Path, binding: &Binding, validator: PublicKey) -> Self {
        Bound {
            binding: path.to_owned(),
            validator,
            peer_id: binding.node.peer_id(),
            new_chain_id: binding.new_chain_id.clone(),
            created_unix_seconds: binding.created_unix_seconds,
            not_after_unix_seconds: binding.not_after_unix_seconds,
            is_over: clock::unix_seconds() > binding.not_after_unix_seconds,
        }
    }
}

/// Signs that the node with this peer id is the validator's of this key, for `lasts` from now.
///
/// # Errors
/// Usage where the peer id or the chain id is none; when the file cannot be written.
pub fn bind(
    key: &PrivateKey,
    peer_id: &str,
    new_chain_id: Option<String>,
    lasts: Duration,
    out: &Path,
) -> Result<Bound> {
    let told = |e: kwil_formats::formats::key::KeyError| Error::usage(e.to_string()).hint(Next::PrintPeerId);
    let node = PublicKey::from_peer_id(peer_id).map_err(told)?;
    if node.key_type() != KeyType::Ed25519 {
        return Err(Error::usage(format!("{peer_id} is the peer id of no node of a swarm: their keys are ed25519"))
            .hint(Next::PrintPeerId));
    }
    if node == key.public() {
        return Err(Error::usage(
            "this is the peer id of the validator's own key, by which kwild is known; a node of the swarm has another",
        )
        .hint(Next::PrintPeerId));
    }
    let now = clock::unix_seconds();
    let end = now.saturating_add(lasts.as_secs()).min(limits::UNIX_SECONDS_MAX);
    let binding = Binding { node, created_unix_seconds: now, not_after_unix_seconds: end, new_chain_id };
    let bytes = binding.sign(key).map_err(|e| {
        Error::usage(format!("this cannot be signed: {e}")).hint("give the chain id as the new genesis has it, or none")
    })?;
    durable::write_atomically(out, &bytes, 0o644)?;
    Ok(Bound::new(out, &binding, key.public()))
}

/// What a file of a binding says.
///
/// # Errors
/// `Kind::Verify` where it holds none, or its signature does not hold.
pub fn read(path: &Path) -> Result<Bound> {
    let bytes = read_bounded(path, limits::STATEMENT_SIZE_BYTES_MAX, "binding")?;
    let signed = Binding::verify(&bytes).map_err(|e: StatementError| {
        Error::verify(format!("{} holds no binding: {e}", path.display()))
            .hint("give the whole file, as it was written where the validator's key is")
    })?;
    Ok(Bound::new(path, &signed.statement, signed.signer))
}
