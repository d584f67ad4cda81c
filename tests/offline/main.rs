//! What needs neither a server nor a swarm: rules of the sources, digests and filters of recorded texts, and the real program on
//! files.

mod bind;
mod bundle;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod common;
mod defaults;
mod digest;
mod dump_filter;
mod evidence;
mod genesis;
mod layers;
mod manifest;
mod media;
mod plan;
mod setup_init;
mod shell;
mod spelled;
mod tables;
