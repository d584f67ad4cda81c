//! `genesis show | set | lint`, `setup genesis` and `setup genesis-hash`, as an operator runs them.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "these commands need neither a swarm nor a server")]
mod common;
mod lint;
mod set;
mod setup;
mod show;
mod traps;
