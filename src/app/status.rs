//! Who has how much, who has confirmed, who is ready, when it ends and on whom that hangs: one value, taken once a second while a node
//! runs, for whoever asks. It is a copy: nobody who reads it holds up the transfer.
//!
//! Everything in it is bounded, and every text that a stranger could have chosen has been made harmless to show. Nothing in it is secret:
//! no ticket, key or password ever enters.

pub mod address;
pub mod ask;
mod board;
mod directory;
mod estimate;
mod sample;
mod socket;
mod step;
mod watchers;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(super) use self::directory::{place_of, what_is_there};
pub use self::{
    board::Board,
    estimate::{By, Estimate, Limit},
    sample::Reporter,
    watchers::Shown,
};
use crate::base::Advice;

/// The form of [`Status`]; a reader refuses one that it does not know.
pub const VERSION: u32 = 1;
/// Validators that are listed of either network; of more their number is told.
pub const VALIDATORS_LISTED_MAX: usize = 256;

/// What a node knows of itself and of its swarm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// See [`VERSION`].
    pub version: u32,
    /// When it was taken, in UNIX seconds.
    pub unix_seconds: u64,
    /// A node is running; otherwise this is what its directory says of itself.
    pub running: bool,
    /// The node.
    pub node: Own,
    /// Which migration it is about; null before the manifest is known.
    pub network: Option<Network>,
    /// How the chunks are spread; null before the manifest is known.
    pub chunks: Option<Chunks>,
    /// What is on its way on media, as far as the directory knows of any; a node looks every few seconds.
    pub on_media: OnMedia,
    /// Who is here.
    pub members: Vec<Member>,
    /// Who is kept out for having sent wrong bytes or broken the protocol.
    pub kept_out: Vec<String>,
    /// Who has signed the manifest; null before it is known.
    pub signatures: Option<Signatures>,
    /// What validators of the old network say; null before the manifest is known.
    pub attestations: Option<Attestations>,
    /// Which validators of the new network are ready; null before the manifest is known.
    pub readiness: Option<Readiness>,
    /// When it ends, and on whom that hangs.
    pub estimate: Estimate,
    /// The last things that the node told its operator, the oldest first.
    pub log: Vec<String>,
}

/// What a node does in a swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It made and signed the snapshot, and serves it.
    Publish,
    /// It serves files that were there.
    Seed,
    /// It fetches files and serves them.
    Fetch,
    /// It fetches files and serves them on, as no validator.
    Relay,
    /// It becomes a validator's root.
    Join,
    /// It only hears what the others have and say.
    #[default]
    Watch,
}

/// The node that was asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// What it does; null where that is not known.
    pub role: Option<Role>,
    /// Its process; null where none runs.
    pub pid: Option<u32>,
    /// Its id in the swarm.
    pub peer: Option<String>,
    /// The validator whose node it is, as both have signed; null where it is none, or nothing was signed yet.
    pub name: Option<String>,
    /// That validator's key.
    pub validator: Option<String>,
    /// Its files; null for one that has none.
    pub directory: Option<PathBuf>,
    /// What it is doing, in words.
    pub doing: String,
    /// How long it has been running.
    pub seconds: u64,
    /// Bytes of chunks that are stored, each proved.
    pub have_bytes: u64,
    /// Bytes of all chunks; 0 before the manifest is known.
    pub total_bytes: u64,
    /// It has, and has checked, all that it serves or fetches.
    pub complete: bool,
    /// Bytes of the work that is done beside the transfer, such as the check of the text.
    pub work: Vec<Work>,
    /// Chunk bytes that it sent.
    pub sent_bytes: u64,
    /// Chunk bytes that it received.
    pub received_bytes: u64,
    /// Bytes that leave in a second.
    pub out_rate: u64,
    /// Bytes that come in a second.
    pub in_rate: u64,
    /// No byte has come for so long, though some are missing; null where bytes come or none are missing.
    pub stalled_seconds: Option<u64>,
    /// While nobody is here: where it looked, and why that failed.
    pub tried: Vec<Tried>,
}

/// How far some work is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// Its name, such as `check` or `verify`.
    pub name: String,
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all; null where that is not known.
    pub total: Option<u64>,
}

/// A place where somebody was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// Host and port.
    pub place: String,
    /// Why nobody was reached.
    pub why: String,
}

/// Which migration it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Which formats.
    pub family: String,
    /// The old network's id; null where the lead did not know it.
    pub old_chain_id: Option<String>,
    /// The new network's id.
    pub chain_id: String,
    /// The old network's last block.
    pub height: i64,
    /// The manifest.
    pub manifest_id: String,
    /// Its number.
    pub sequence: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// How the chunks are spread over the nodes that this one sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chunks {
    /// Chunks in all.
    pub count: u32,
    /// Those that one node has and no other: a first copy of them has still to go out.
    pub single: u32,
    /// Those that fewer than two nodes beside this one have.
    pub thin: u32,
    /// Each is with two others: any one node may leave, also the lead.
    pub out: bool,
    /// The chunks in order, some to a digit: how many ninths of them this node has.
    pub own_map: String,
    /// The same, with how many other nodes have the one that fewest have; 9 is nine or more.
    pub others_map: String,
}

/// What media carry, as the commands that wrote, read or asked for them noted it in the directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnMedia {
    /// Chunks that are lacking here and are on volumes that are known.
    pub coming_chunks: u32,
    /// Bytes of them.
    pub coming_bytes: u64,
    /// Labels of those volumes, up to a number.
    pub coming: Vec<String>,
    /// Chunks that are lacking here and were in the last list of what is missing.
    pub asked_chunks: u32,
    /// Bytes of them.
    pub asked_bytes: u64,
    /// When that list was made, in UNIX seconds; null where nothing of it is lacking any more.
    pub asked_unix_seconds: Option<u64>,
    /// Volumes that were written from here.
    pub written_volumes: u32,
    /// Bytes of chunks on them.
    pub written_bytes: u64,
    /// When the last of them was written, in UNIX seconds; null where none was.
    pub written_unix_seconds: Option<u64>,
    /// Their labels, up to a number.
    pub written: Vec<String>,
}

/// One member that is here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// By what name people know it: the validator's, or else the end of its id.
    pub name: String,
    /// Its id in the swarm.
    pub peer: String,
    /// The key of the validator whose node it is, as both have signed; null where that is not told.
    pub validator: Option<String>,
    /// Its validator's power in the new network; null where it is none.
    pub power: Option<u64>,
    /// Where it is seen.
    pub place: String,
    /// Chunks that it says it has.
    pub chunks: u32,
    /// Bytes that it gains in a second, from anybody.
    pub rate: u64,
    /// Bytes that go to it in a second.
    pub out_rate: u64,
    /// Bytes that come from it in a second.
    pub in_rate: u64,
    /// Bytes that went to it.
    pub sent_bytes: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// Milliseconds from a request of ours to its chunk; null where none came yet.
    pub answer_ms: Option<u64>,
    /// Until it has everything, at its rate; null where it has, or where that is not known.
    pub seconds: Option<u64>,
    /// It has verified everything and its root is ready, as its validator signed.
    pub ready: bool,
}

/// Who has signed the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signatures {
    /// What is needed, as `--threshold` takes it: a number of signatures, or a part of the old network's power.
    pub needed: String,
    /// Enough have signed; before, nobody sets a root up.
    pub enough: bool,
    /// Signatures that are there.
    pub signatures: usize,
    /// The old power of those who signed.
    pub power: u64,
    /// The old power of all.
    pub power_of_all: u64,
    /// How it stands, in words.
    pub words: String,
    /// The lead, and each who may sign beside it, up to a number.
    pub signers: Vec<Signer>,
}

/// One who may sign the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signer {
    /// Its key, shortened.
    pub name: String,
    /// Its key.
    pub key: String,
    /// `signed`, `refuses`, or `silent`.
    pub said: String,
    /// Why it refuses; null where it does not.
    pub reason: Option<String>,
}

/// What the old network's validators say of the state that was signed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attestations {
    /// What is needed, in words.
    pub rule: String,
    /// `met`, `open`, or `lost`: it cannot be met any more.
    pub verdict: String,
    /// Validators of the old network.
    pub validators: usize,
    /// Those that agree.
    pub agree: usize,
    /// Those that hold another state.
    pub dissent: usize,
    /// The power of those that agree.
    pub power: u64,
    /// The power of all.
    pub power_of_all: u64,
    /// Each of them, up to a number.
    pub voices: Vec<Elector>,
}

/// One validator of the old network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elector {
    /// Its key, shortened.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Its power.
    pub power: u64,
    /// `signed` (as the lead), `agrees`, `dissents`, or `silent`.
    pub vote: String,
    /// The last block in its database; null where it has not said.
    pub height: Option<i64>,
    /// The tables and other parts in which its state differs.
    pub differs: Vec<String>,
}

/// Which of the new network's validators are ready.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Readiness {
    /// Enough are, so that the network makes blocks.
    pub quorum: bool,
    /// How many are.
    pub ready: usize,
    /// How many have started, and found that their nodes hold what was signed.
    pub confirmed: usize,
    /// How many there are.
    pub validators: usize,
    /// The power of those that are.
    pub power: u64,
    /// The power of all; more than two thirds of it must be ready.
    pub power_of_all: u64,
    /// Each of them, up to a number.
    pub seats: Vec<Seat>,
}

/// One validator of the new network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seat {
    /// Its key, shortened.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Its power.
    pub power: u64,
    /// It leads the new network.
    pub leader: bool,
    /// It is ready, and has not found since that its node holds something else.
    pub ready: bool,
    /// How far it is, as it signed: `root-ready`, `confirmed`, or `differs`; null: it has said nothing.
    pub stage: Option<String>,
    /// What its started node has otherwise than was signed.
    pub differs: Vec<String>,
    /// The version of the kwild that will run there; null where it does not say.
    pub kwild_version: Option<String>,
}

/// A status with what its operator does next, in words: what is told outside.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    /// How it stands.
    #[serde(flatten)]
    pub status: &'a Status,
    /// What the operator does next.
    pub next: String,
}

impl<'a> Told<'a> {
    /// A status, with its next step in these words.
    pub fn new(status: &'a Status, words: impl FnOnce(&Advice) -> String) -> Self {
        Told { status, next: words(&status.next()) }
    }
}

impl Chunks {
    /// How many chunks have left the one node that had them.
    pub fn first_copies(&self) -> u32 {
        self.count - self.single
    }
}

impl Readiness {
    /// Those that are not ready.
    pub fn missing(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| !seat.ready)
    }

    /// Those whose started nodes do not hold what was signed.
    pub fn differing(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.stage.as_deref() == Some("differs"))
    }
}
