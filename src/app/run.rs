//! What a run was like, told afterwards: each node keeps a run log beside its files, and a report puts the logs of several nodes on one
//! line of time.
//!
//! A log holds ids, names and numbers, and what validators said; never an address, a ticket, a secret, a key or a path.

mod keeper;
mod log;
pub mod report;

pub(super) use self::keeper::Keeper;
pub use self::log::{Happened, What};

/// The log's name in the private directory.
pub(super) const LOG_NAME: &str = "run.log";
/// The log of the migration before, or one that could not be read.
const OLD_LOG_NAME: &str = "run.log.old";
