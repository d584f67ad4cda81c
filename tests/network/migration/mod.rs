//! The whole way with real processes, real Postgres and real sockets, and what bad input gets on it.

mod attest;
mod bindings;
mod browser;
mod cosign;
mod edits;
mod elsewhere;
mod faces;
mod gap;
mod lan;
mod lead;
mod media;
mod monitor;
mod outside;
mod page;
mod peers;
mod preflight;
mod ready;
mod relay;
mod report;
mod resume;
mod reuse;
mod roots;
mod status;
mod strangers;
mod tell;
mod terminal;
mod whole;

use std::path::Path;

use crate::common::{Party, Process, server};

/// A lead with `lead.key` that publishes a database of the server.
fn publish(lead: &Party, dbname: &str, genesis: &Path, more: &[&str]) -> Process {
    let port = server().port().to_string();
    let database = ["--host", "127.0.0.1", "--port", &port, "--user", "postgres", "--dbname", dbname];
    let files = ["--key", "lead.key", "--snapdir", "snaps", "--genesis", genesis.to_str().unwrap()];
    lead.swarm(&[&["publish"], &database[..], &files, more].concat())
}
