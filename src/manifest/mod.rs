//! PURE: the signed manifest: layout, canonical bytes, signatures, trust rules, ticket.

pub mod chunk;
pub mod layout;
