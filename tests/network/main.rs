//! What needs sockets: the swarm itself, migrations over it with the real program, and the demo.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod common;
mod demo;
mod migration;
mod swarm;
#[path = "../common/wait.rs"]
mod wait;
