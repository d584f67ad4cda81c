//! What every room stands on: errors, findings, what a person does next, ids, bounds, and text for people. Knows nothing of
//! Kwil.

pub mod advice;
pub mod error;
pub mod finding;
pub mod ids;
pub mod limits;
pub mod next;
pub mod text;

pub use advice::Advice;
pub use error::{Context, Error, Kind, Result};
pub use finding::{Finding, Level};
pub use ids::{Blake3Hash, Sha256Hash};
pub use next::Next;
