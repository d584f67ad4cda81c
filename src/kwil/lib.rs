//! The files of a Kwil network, v0.9 and v0.10: what they are, what they may hold, and what they say.
//!
//! PURE: bytes and facts in, bytes and judgements out. This package opens no file, reads no clock, and makes no randomness
//! of its own.
//!
//! | room | what it does | which rooms it may call |
//! |---|---|---|
//! | [`base`] | errors, findings, hashes, bounds, text for people | none |
//! | [`formats`] | genesis, config.toml, keys, JSON as Go reads it | `base` |
//! | [`dump`] | the text of a database: splitting, filter, guard, statement check, digest | `base`, `formats` |
//! | [`judge`] | readiness of a node, rehearsal and confirmation of a restore | `base`, `formats`, `dump` |

pub mod base;
pub mod dump;
pub mod formats;
pub mod judge;
