//! What a node sees of its swarm, for people who ask. It is made when somebody asks, by the driver in its turn, and holds copies only.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Command;
use crate::schedule::{Parts, Spread};

/// The swarm as one node sees it at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Bytes of chunks that are stored.
    pub have_bytes: u64,
    /// Bytes of all chunks; 0 before the manifest is known.
    pub total_bytes: u64,
    /// The largest chunk's bytes.
    pub chunk_size_bytes: u64,
    /// Chunk bytes sent so far.
    pub sent_bytes: u64,
    /// Chunk bytes received so far.
    pub received_bytes: u64,
    /// Chunks are still to come.
    pub is_incomplete: bool,
    /// Nothing is fetched or served: it only sees what the others have.
    pub watches: bool,
    /// How the chunks are spread; nothing before the manifest is known.
    pub spread: Spread,
    /// Who is here, the oldest session first.
    pub members: Vec<MemberView>,
    /// Which chunks came from whom since the node began, each proved and stored; also from those who are gone.
    pub parts: Vec<(String, Parts)>,
    /// Who is kept out for a while, by the names that people know them by.
    pub kept_out: Vec<String>,
    /// While nobody is here: the first places that were tried, and why each failed.
    pub tried: Vec<(String, String)>,
}

/// One member that is here.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// Its peer id.
    pub peer: String,
    /// Host and port where it is seen.
    pub place: String,
    /// It knows the manifest and takes part.
    pub ready: bool,
    /// Chunks that it says it has.
    pub chunks: u32,
    /// Chunk bytes that went to it, all its sessions together.
    pub sent_bytes: u64,
    /// Chunk bytes that came from it.
    pub received_bytes: u64,
    /// The time from a request of ours to its chunk; `None` where none came yet.
    pub flight: Option<Duration>,
}

/// Asks a node what it sees. It does not keep the node running.
#[derive(Debug, Clone)]
pub struct Viewer(pub(super) mpsc::WeakSender<Command>);

impl Viewer {
    /// What the node sees now; `None` when it has ended.
    pub async fn view(&self) -> Option<View> {
        let (reply, view) = oneshot::channel();
        self.0.upgrade()?.send(Command::Look(reply)).await.ok()?;
        view.await.ok()
    }
}
