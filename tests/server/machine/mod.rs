//! `setup check` and `setup testnet` as an operator runs them: the real program, a real Postgres, real roots.

mod check;
mod testnet;
