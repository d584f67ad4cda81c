//! `snapshot create` and `snapshot verify` on a real Postgres, with the real binary.

mod connection;
mod faults;
mod parallel;
mod support;
mod worlds;
