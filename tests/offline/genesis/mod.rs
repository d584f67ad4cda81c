//! `genesis show | set | lint`, `setup genesis` and `setup genesis-hash`, as an operator runs them.

mod lint;
mod set;
mod setup;
mod show;
