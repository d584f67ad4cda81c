//! `snapshot create`, `snapshot verify`, `snapshot guard` and `snapshot digest` on a real Postgres, with the real binary.

mod binary;
mod connection;
mod digest;
mod faults;
mod guard;
mod libpq;
mod parallel;
mod sources;
mod support;
mod waits;
mod worlds;
