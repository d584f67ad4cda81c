//! Signs that a kwild still works on the database, or was stopped in the middle of a block.

use std::fmt;

/// One sign; its text says what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveSign {
    /// kwild's replication slot: it exists exactly while kwild is connected.
    ReplicationSlot(String),
    /// A block in flight, or one that a crash left behind.
    PreparedTransaction(String),
    /// v0.10: the last block was not finished.
    Dirty,
    /// v0.9: the one-byte application hash of a block that was not finished.
    UnfinishedAppHash,
    /// The height moved while the snapshot was made.
    HeightMoved {
        /// Height of the cut.
        from: i64,
        /// Height seen afterwards.
        to: i64,
    },
}

impl LiveSign {
    /// What ends the sign.
    pub fn remedy(&self) -> &'static str {
        match self {
            LiveSign::ReplicationSlot(_) | LiveSign::HeightMoved { .. } => {
                "halt the network, stop kwild, and run the command again (--allow-live goes on all the same)"
            }
            LiveSign::PreparedTransaction(_) | LiveSign::Dirty | LiveSign::UnfinishedAppHash => {
                "start kwild once more, stop it cleanly, and run the command again (--allow-live goes on all the same)"
            }
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
            LiveSign::HeightMoved { from, to } => {
                write!(f, "kwild is running: the height went from {from} to {to} meanwhile")
            }
        }
    }
}
