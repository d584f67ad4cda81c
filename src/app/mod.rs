//! The use cases: each joins rooms into what one command does; prints nothing.

pub mod attest;
pub mod check;
pub mod clean;
pub mod confirm;
pub mod cosign;
pub mod demo;
pub mod drill;
pub mod fetch;
pub mod files;
pub mod genesis;
pub mod join;
mod kept;
pub mod manifest;
pub mod meet;
pub mod node;
mod node_database;
pub mod peers;
pub mod publish;
pub mod rehearse;
pub mod setup;
mod short;
pub mod source;
pub mod state;
pub mod testnet;
pub mod voices;
