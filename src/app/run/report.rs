//! What a run was like, put together from the logs of the nodes that took part: each node's line, who got what from whom, when every chunk
//! had left the lead, what happened, how long it took, and how long it had to take on lines as they showed themselves.

mod lines;
mod read;

use serde::Serialize;

pub use self::read::{DIRECTORIES_MAX, of_directories};
use super::What;
use crate::app::{
    drill::{LimitedBy, Link, Plan, Prediction},
    status::Role,
};

/// A run. Times are seconds after its beginning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The new network's id.
    pub chain_id: String,
    /// The manifest that it was about.
    pub manifest_id: String,
    /// Bytes of all chunks.
    pub size_bytes: u64,
    /// Chunks in all.
    pub chunks: u32,
    /// When it began, in UNIX milliseconds, by the clocks of the machines.
    pub began_ms: u64,
    /// How long the logs go.
    pub seconds: f64,
    /// How the transfer went.
    pub transfer: Transfer,
    /// Every node: those that had everything first, then those that had it next.
    pub nodes: Vec<Node>,
    /// Which part of the chunks had left the node that had them first; nothing where no log of such a node is there.
    pub first_copies: Vec<(f64, f64)>,
    /// When every chunk was with two others, so that the lead could have left.
    pub out_s: Option<f64>,
    /// When enough validators were ready.
    pub quorum_s: Option<f64>,
    /// Who sent how much to whom, the most first.
    pub sent: Vec<Sent>,
    /// What happened.
    pub events: Vec<Event>,
    /// Members and events that the logs had no room for.
    pub left_out: u64,
    /// What the simulator says of such a run, where it was asked.
    pub prediction: Option<Prediction>,
}

/// How the transfer went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Transfer {
    /// When the first that lacked something was there.
    pub begins_s: f64,
    /// How long it took from then until the last of those that got everything had it; null where nobody did.
    pub took_s: Option<f64>,
    /// Nodes that lacked something, and those of them that got everything.
    pub fetched: usize,
    /// See [`Self::fetched`].
    pub complete: usize,
    /// Seconds before which no swarm ends on lines that carry what these have shown; null where they have shown too little.
    pub bound_s: Option<f64>,
    /// What it took over that; null where the last only came late.
    pub ratio: Option<f64>,
    /// Why it could not end earlier; null where the last only came late.
    pub limited_by: Option<LimitedBy>,
    /// Who got everything last, and why it was the last.
    pub last: Option<Last>,
}

/// Who was last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Last {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why a node was the last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Why {
    /// It came late.
    Late {
        /// So long after the first.
        seconds: f64,
    },
    /// It got nothing for a while.
    Stalled {
        /// So long in all.
        seconds: f64,
    },
    /// Its line carried less than others'.
    Line {
        /// Bits a second at most.
        bits: f64,
    },
    /// The others ended with it.
    Together,
    /// It went on, and got its part later than the others.
    Later,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Node {
    /// Its id in the swarm.
    pub peer: String,
    /// By what name people know it.
    pub name: String,
    /// What it did; null where its log is not there.
    pub role: Option<Role>,
    /// Its own log tells of it; otherwise what it said to others.
    pub has_log: bool,
    /// It had everything when it came.
    pub seed: bool,
    /// Seconds and the part of all bytes that it had, 0 to 1.
    pub line: Vec<(f64, f64)>,
    /// When it had everything; null: it never had, or always.
    pub finish_s: Option<f64>,
    /// When nothing came though something was missing.
    pub stalls: Vec<(f64, f64)>,
    /// When its validator was ready, as it signed.
    pub ready_s: Option<f64>,
    /// When its validator had attested, and whether it holds the same state.
    pub attested: Option<(f64, bool)>,
    /// Chunk bytes that it sent and received, as far as the logs tell.
    pub sent_bytes: u64,
    /// See [`Self::sent_bytes`].
    pub received_bytes: u64,
    /// The most that its line has carried for three seconds, in bits a second; null where that is not known.
    pub up: Option<f64>,
    /// See [`Self::up`].
    pub down: Option<f64>,
}

/// What went from one node to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Who sent, by name.
    pub from: String,
    /// Its id in the swarm.
    pub from_peer: String,
    /// To whom.
    pub to: String,
    /// Its id in the swarm.
    pub to_peer: String,
    /// How much.
    pub bytes: u64,
    /// Which chunks, as the log of who got them tells, in order; nothing where that log is not there.
    pub parts: Vec<Part>,
}

/// Chunks that follow on each other, of which some or all came from one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// How many of them came from it.
    pub chunks: u32,
}

impl Part {
    /// Every one of them came from it.
    pub fn is_whole(&self) -> bool {
        u64::from(self.chunks) > u64::from(self.last.saturating_sub(self.first))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub s: f64,
    /// Whose log tells it, by name.
    pub seen_by: String,
    /// What.
    pub what: What,
    /// To whom; empty: to the node whose log it is, or to all.
    pub who: String,
    /// More of it, in words.
    pub text: String,
}

impl Report {
    /// The same run for the simulator, on lines that carry what these have shown; `None` where they have shown too little.
    pub fn plan(&self) -> Option<Plan> {
        // Who came with a part of it, or went without all of it, had another run.
        let whole = |node: &&Node| node.seed || node.finish_s.is_some();
        let nodes: Vec<&Node> = self.nodes.iter().filter(whole).collect();
        let resumed = nodes.iter().any(|node| !node.seed && node.line.first().is_none_or(|(_, part)| *part > LITTLE));
        if resumed || !nodes.iter().any(|node| node.seed) || nodes.iter().all(|node| node.seed) {
            return None;
        }
        let down_max = nodes.iter().filter_map(|node| node.down).reduce(f64::max)?;
        let links = nodes.iter().map(|node| {
            let joins = node.line.first().map_or(0.0, |(s, _)| (s - self.transfer.begins_s).max(0.0));
            Some(Link {
                name: node.name.clone(),
                seed: node.seed,
                // Who was asked for nothing has shown nothing; a line that carries next to nothing changes no bound.
                up: node.up.unwrap_or(0.0).max(if node.seed { 0.0 } else { LEAST_BITS }),
                down: if node.seed { down_max } else { node.down? },
                joins: if node.seed { 0.0 } else { joins },
                leaves: None,
            })
        });
        let links: Vec<Link> = links.collect::<Option<_>>()?;
        links.iter().all(|link| link.up >= LEAST_BITS && link.down >= LEAST_BITS).then_some(Plan {
            links,
            size_bytes: self.size_bytes,
            rng_seed: 1,
        })
    }
}

/// Who has no more than this part of the whole at first came with nothing: the genesis comes with the manifest.
const LITTLE: f64 = 0.1;
/// Bits a second that a drill takes for a line at the least.
const LEAST_BITS: f64 = 1000.0;
