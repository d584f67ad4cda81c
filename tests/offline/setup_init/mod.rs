//! `setup init`, `key gen` and `key info` by the real program: beside every recording of Kwil's own commands, and under
//! faults.

mod carry;
mod faults;
mod keys;
mod recordings;
mod recordings_v09;
