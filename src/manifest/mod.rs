//! PURE: the signed manifest: layout, canonical bytes, signatures, trust rules, ticket.

pub mod chunk;
pub mod layout;

pub use chunk::{VerifiedChunk, chunk_id, verify_chunk};
pub use layout::{ChunkIndex, Layout};
