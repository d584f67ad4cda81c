//! The whole way with real processes, real Postgres and real sockets, and what bad input gets on it.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod common;
mod edits;
mod lead;
mod peers;
mod preflight;
mod resume;
mod roots;
mod strangers;
mod whole;
