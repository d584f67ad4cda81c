//! What every room stands on: errors, findings, ids, bounds, and text for people. Knows nothing of Kwil.

pub mod error;
pub mod finding;
pub mod ids;
pub mod limits;
pub mod text;

pub use error::{Context, Error, Kind, Result};
pub use finding::{Finding, Level};
pub use ids::{Blake3Hash, Sha256Hash};
