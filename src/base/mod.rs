//! What every room stands on: errors, ids, limits, durable file writes, time, tasks, progress.
//! Knows nothing of Kwil, Postgres or libp2p.

pub mod clock;
pub mod durable;
pub mod error;
pub mod files;
pub mod finding;
pub mod ids;
pub mod limits;
pub mod progress;
pub mod task;
pub mod text;

pub use error::{Context, Error, Kind, Result};
pub use finding::{Finding, Level};
pub use ids::{Blake3Hash, Sha256Hash};
pub use progress::Progress;
