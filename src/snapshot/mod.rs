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
mod inflate;
#[cfg(test)]
mod odd;
mod part;
mod piece;
mod pipeline;
mod sorter;
mod source;
mod stream;
mod text;
mod verify;

pub use create::{CreateOptions, Created, create};
pub use described::{SnapshotFacts, read_snapshot};
pub use facts::facts;
pub use guard::{GuardOptions, Guarded, guard};
pub use gzip::Compression;
pub use piece::TextPiece;
pub use verify::{
    TextFacts, Verified, VerifyOptions, check_pinned, each_piece, hash_reader, read_file, read_genesis, read_gzip,
    require_guard, verify, verify_reader,
};
