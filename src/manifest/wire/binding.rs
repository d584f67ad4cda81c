//! The bytes of a binding.

use super::{super::binding::Binding, DecodeError, KeyType, PublicKey, Result, decode_strictly, encode, proto};
use crate::base::limits;

pub(in super::super) fn encode_binding(binding: &Binding) -> Vec<u8> {
    encode(&proto::Binding {
        node_key: binding.node.bytes().to_vec(),
        created_unix_seconds: binding.created_unix_seconds,
        not_after_unix_seconds: binding.not_after_unix_seconds,
        new_chain_id: binding.new_chain_id.clone().unwrap_or_default(),
    })
}

pub(in super::super) fn decode_binding(payload: &[u8]) -> Result<Binding> {
    let raw: proto::Binding = decode_strictly(payload, "binding")?;
    if raw.not_after_unix_seconds < raw.created_unix_seconds || raw.not_after_unix_seconds > limits::UNIX_SECONDS_MAX {
        let problem = "before the binding was made, or after the year 9999";
        return Err(DecodeError::Rule { field: "not_after_unix_seconds", problem });
    }
    let node = PublicKey::new(KeyType::Ed25519, &raw.node_key)
        .map_err(|problem| DecodeError::Key { field: "node_key", problem })?;
    let binding = Binding {
        node,
        created_unix_seconds: raw.created_unix_seconds,
        not_after_unix_seconds: raw.not_after_unix_seconds,
        new_chain_id: Some(raw.new_chain_id).filter(|id| !id.is_empty()),
    };
    binding.check_chain_id()?;
    Ok(binding)
}
