//! regenesis moves a Kwil network to a new genesis, peer-to-peer.
//!
//! The way of the data, each arrow one type, a later stage never calling an earlier one:
//!
//! ```text
//! database -> snapshot -> manifest -> swarm | bundle -> store -> setup
//! ```
//!
//! | room | what it does | who it may call |
//! |---|---|---|
//! | [`base`] | hashes and ids, limits, errors, durable writes, clock, tasks | nothing of ours |
//! | [`kwil_formats`] | PURE, a package of its own: both families' formats, the text of a dump, judgements | nothing of ours |
//! | [`manifest`] | PURE: layout, canonical bytes, signatures, trust, ticket | `base`, `kwil_formats` |
//! | [`schedule`] | PURE: who sends which chunk to whom, and a simulator of that | `base`, `manifest` |
//! | [`database`] | Postgres: one consistent cut, and pg_dump | pure rooms |
//! | [`snapshot`] | database -> filter -> hash -> gzip -> file, and back for verification | `database`, pure rooms |
//! | [`store`] | chunks on disk, the have-journal, resume | pure rooms |
//! | [`bundle`] | removable media: volumes, their index, what is found on them, parity over them | `store`, pure rooms |
//! | [`swarm`] | libp2p: the only place that names it | `schedule`, `store`, pure rooms |
//! | [`setup`] | plan and apply a node root | `snapshot` (verification), pure rooms |
//! | [`app`] | the use cases: publish, fetch, join, demo | all of the above |
//! | [`cli`] | arguments in, words out | `app` and all of the above |
//!
//! PURE means: no IO, no clock, no async, no randomness but what is given in. `tests/offline/layers.rs` reads the sources and
//! fails where a room names what it must not.

pub mod app;
pub mod base;
pub mod bundle;
pub mod cli;
pub mod database;
pub mod manifest;
pub mod schedule;
pub mod setup;
pub mod snapshot;
pub mod store;
pub mod swarm;
