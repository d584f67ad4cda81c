//! What every room stands on: errors, ids, limits, durable file writes, time, tasks, progress.
//! Knows nothing of Kwil, Postgres or libp2p.

pub mod clock;
pub mod durable;
pub mod files;
pub mod limits;
pub mod progress;
pub mod task;

pub use kwil_formats::base::{
    Advice, Blake3Hash, Context, Error, Finding, Kind, Level, Next, Result, Sha256Hash, error, finding, ids, text,
};
pub use progress::{Notice, Progress};
