//! Signs that a kwild still works on the database or was stopped in the middle of a block, with the words for what was
//! seen and what to do.

use std::fmt;

use crate::base::{Next, text};

/// SQL condition for the sessions in `pg_stat_activity` that are clients. Without `pg_read_all_stats` a role does not
/// see what another role's session is, only that it is there and whose.
pub(super) const IS_CLIENT: &str =
    "(backend_type IN ('client backend', 'walsender') OR backend_type IS NULL AND usesysid IS NOT NULL)";

/// How far a standby is behind its primary, as far as the standby can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Seconds since the last transaction that it replayed was
    /// committed; `None` where it replayed none since its start.
    pub seconds: Option<i64>,
    /// Bytes of the log received and not yet replayed; `None` where it receives nothing.
    pub bytes: Option<i64>,
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            Some(seconds) => write!(
                f,
                "the last transaction it replayed is {} old",
                text::count(seconds.max(0).unsigned_abs(), "second")
            )?,
            None => f.write_str("it has replayed no transaction since it started")?,
        }
        match self.bytes {
            Some(bytes) => {
                write!(f, ", {} of what it received are not replayed", text::bytes(bytes.max(0).unsigned_abs()))
            }
            None => f.write_str(", and it receives nothing from a primary"),
        }
    }
}

/// One sign that kwild is at work or stopped inside a block; its `Display` says what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveSign {
    /// kwild's replication slot with this name: it exists exactly while kwild is connected.
    ReplicationSlot(String),
    /// A prepared transaction with this id: a block in flight, or one that a crash left behind.
    PreparedTransaction(String),
    /// v0.10: the last block was not finished; `kwild_chain.chain` is marked dirty.
    Dirty,
    /// v0.9: the last block was not finished; its application hash is the one byte 0x42.
    UnfinishedAppHash,
    /// The server is a replica; of its primary, and of a kwild on that, nothing can be seen here.
    Standby {
        /// Height of the last block in the cut.
        height: i64,
        /// How far the replica is behind.
        lag: Lag,
    },
    /// The height moved while the snapshot was made: kwild is at work.
    HeightMoved {
        /// Height of the last block in the cut.
        from: i64,
        /// Height of the last block after the cut was read.
        to: i64,
    },
}

impl LiveSign {
    /// What ends the sign.
    pub fn remedy(&self) -> Next {
        match self {
            LiveSign::ReplicationSlot(_) | LiveSign::HeightMoved { .. } => Next::HaltNetwork,
            LiveSign::Standby { .. } => Next::ReadPrimary,
            LiveSign::PreparedTransaction(_) | LiveSign::Dirty | LiveSign::UnfinishedAppHash => Next::StopCleanly,
        }
    }
}

impl fmt::Display for LiveSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveSign::ReplicationSlot(name) => write!(f, "kwild is running: its replication slot {name} exists"),
            LiveSign::PreparedTransaction(gid) => {
                write!(f, "a block is in flight or was cut off by a crash: prepared transaction {gid}")
            }
            LiveSign::Dirty => f.write_str("the last block was not finished: kwild_chain.chain is marked dirty"),
            LiveSign::UnfinishedAppHash => {
                f.write_str("the last block was not finished: its application hash is still the mark 42")
            }
            LiveSign::Standby { height, lag } => {
                write!(
                    f,
                    "the server is a standby (a replica), whose primary may run, and kwild on it: here the height is {height}, \
                     {lag}"
                )
            }
            LiveSign::HeightMoved { from, to } => {
                write!(f, "kwild is running: the height went from {from} to {to} meanwhile")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_says_how_far_it_is_behind() {
        let sign = |seconds, bytes| LiveSign::Standby { height: 7, lag: Lag { seconds, bytes } }.to_string();
        assert!(sign(Some(1), Some(0)).ends_with(
            "the height is 7, the last transaction it replayed is 1 second old, 0 B of what it received are not replayed"
        ));
        assert!(sign(None, None).contains("no transaction since it started, and it receives nothing from a primary"));
    }
}
