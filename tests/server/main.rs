//! What needs a PostgreSQL server. Each part starts throw-away servers of its own.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod common;
mod machine;
mod scan;
mod setup;
mod snapshot;
#[path = "../common/wait.rs"]
mod wait;
