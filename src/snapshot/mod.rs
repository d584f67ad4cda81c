//! The pipeline database -> filter -> hash -> parallel gzip -> file, and the one-pass check of such a file. In go a
//! database or a file, out come a snapshot directory or a verdict; nothing here talks to a network or sets up a root.

mod create;
mod deep;
mod described;
pub mod digest;
mod facts;
mod guard;
mod gzip;
mod hash_log;
mod literals;
#[cfg(test)]
mod odd;
mod part;
mod pipeline;
pub mod read;
mod sorter;
mod source;
mod verify;

pub use create::{CreateOptions, Created, create};
pub use deep::ManifestFile;
pub use described::{SnapshotFacts, read_snapshot};
pub use facts::facts;
pub use guard::{GuardOptions, Guarded, guard};
pub use gzip::Compression;
pub use read::ReadOptions;
pub use verify::{
    CheckedText, CompleteSnapshot, Verified, VerifyOptions, check_pinned, old_height, read_genesis, require_guard,
    verify, verify_for_new_genesis, verify_reader,
};
