//! What a demo tells while it goes on: facts, step by step, which the command line puts into words.

use kwil_formats::formats::{Family, config::PeerAddress};
use serde::Deserialize;

use crate::{base::Sha256Hash, manifest::Tally};

/// One step of a demo, or what came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A network begins to move: its database is in a throw-away Postgres.
    OldNetwork {
        /// Its family.
        family: Family,
        /// Its chain id.
        chain_id: String,
        /// The version of the throw-away server.
        server_version: String,
    },
    /// The lead begins to take the snapshot.
    TakingSnapshot,
    /// The snapshot is there.
    Snapshot(Snapshot),
    /// The lead begins to rehearse the restore.
    Rehearsing,
    /// The rehearsal lost nothing.
    Rehearsed(Rehearsal),
    /// The lead begins to sign and to serve.
    Publishing,
    /// The lead serves.
    Ticket(String),
    /// The lead begins to sign, and does not serve.
    Signing,
    /// The lead begins to write media.
    Exporting,
    /// Media are written.
    Exported(Exported),
    /// One of the media was spoilt on the way.
    MediumLost,
    /// The island begins to take media in.
    Importing {
        /// Nothing was taken before.
        first: bool,
    },
    /// What the media gave.
    Imported(Imported),
    /// The island begins to list what it lacks.
    AskingWhatIsMissing,
    /// The list that is read out over the phone.
    Missing(Missing),
    /// The lead's side begins to write what the list lacks.
    ExportingMissing,
    /// The island's validators begin to join in a swarm of their own.
    Island,
    /// What they have signed begins to be carried back.
    CarryingBack,
    /// It is known on the lead's side.
    Carried(Carried),
    /// The lead's own validator begins to join.
    Rejoining,
    /// A validator begins to ask what would be wrong.
    Asking {
        /// The validator.
        who: String,
    },
    /// What it was told.
    Preflight(Checked),
    /// Everyone begins to join.
    Joining {
        /// How many there are.
        nodes: usize,
        /// Whether they wait for each other.
        wait: bool,
    },
    /// Every root is there, and all are equal but for key, ports and peers.
    Joined {
        /// The state hash that everyone's own check gave.
        state_hash: Sha256Hash,
        /// Bytes that each one fetched.
        bytes: u64,
        /// What the old network's validators found in their own databases.
        attestations: Tally,
    },
    /// Whom each node's config.toml names.
    Peers(Vec<(String, Vec<PeerAddress>)>),
    /// Each one begins to look whether kwild can start.
    Checking,
    /// Whether it can on one root.
    Check {
        /// The node.
        who: String,
        /// What was found.
        checked: Checked,
    },
    /// Real kwild are started, one on each root.
    Starting {
        /// The kwild.
        program: String,
        /// Each restores its snapshot alone first.
        one_by_one: bool,
    },
    /// The height of each node; `None` before its first block.
    Heights(Vec<Option<i64>>),
    /// Each one begins to ask whether its node holds what was signed.
    Confirming,
    /// One does.
    Confirmed {
        /// The node.
        who: String,
        /// What was compared.
        confirmed: Confirmed,
    },
    /// No kwild is at hand: the old network's state and a file that was fetched begin to be compared.
    Comparing {
        /// Whose file it is.
        who: String,
    },
    /// They are equal.
    Equal {
        /// The digest of both.
        state_digest: String,
    },
}

/// What is read of the result of making a snapshot.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    /// The last block in it.
    pub height: i64,
    /// Its tables.
    pub tables: u64,
    /// Its rows.
    pub rows: u64,
    /// Bytes of the compressed file.
    pub file_bytes: u64,
    /// The new network's id.
    pub chain_id: String,
    /// Its validators.
    pub validators: u64,
}

/// What is read of the result of an export.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Exported {
    /// The volumes.
    pub volumes: Vec<ExportedVolume>,
}

/// One volume of an export.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExportedVolume {
    /// Its label.
    pub label: String,
    /// Bytes of chunks on it.
    pub bytes: u64,
}

/// What is read of the result of an import.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Imported {
    /// Everything is there and checked.
    pub complete: bool,
    /// Chunks that are there.
    pub have_chunks: u32,
    /// Chunks in all.
    pub chunks: u32,
    /// Labels of the volumes that are needed.
    pub needed: Vec<String>,
}

/// What is read of a list of what is missing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Missing {
    /// How many chunks are missing.
    pub missing_chunks: u32,
    /// The list, as lines that can be read out.
    pub lines: Vec<String>,
}

/// What is read of statements that were carried.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Carried {
    /// How many statements are known now.
    pub statements: u64,
    /// Validators that are ready.
    pub ready: u64,
    /// What the old network's validators say.
    pub attested: Tally,
}

/// What is read of the result of a rehearsal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Rehearsal {
    /// Whether nothing was lost.
    pub ok: bool,
    /// The version of the server.
    pub server_version: String,
    /// Tables of the file.
    pub tables: u64,
    /// Rows that are there after the restore.
    pub restored_rows: u64,
}

/// What is read of the result of a check.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Checked {
    /// Whether kwild would start, and start right.
    pub ok: bool,
    /// Everything that was looked at.
    pub checks: Vec<Line>,
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// `ok`, `error`, `warning` or `note`.
    pub level: String,
    /// What was seen.
    pub text: String,
}

/// What is read of the result of a confirmation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Confirmed {
    /// Whether the node holds what was signed.
    pub ok: bool,
    /// Its height.
    pub height: i64,
    /// Every table, and what is none.
    pub tables: Vec<ConfirmedPart>,
}

/// A part of a node's state that was compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConfirmedPart {
    /// What it was found to be.
    pub verdict: String,
    /// The number of its rows.
    pub rows: Option<u64>,
}
