//! `setup check` and `setup testnet` as an operator runs them: the real program, a real Postgres, real roots.

mod check;
#[allow(dead_code, reason = "other binaries use the rest of it")]
#[path = "../common/mod.rs"]
mod common;
mod testnet;
