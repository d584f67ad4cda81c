//! libp2p: transport, membership, sessions, chunk streams. The only place that names it.
//!
//! In: a ticket's secret and addresses, and later a store. Out: [`Event`]s and a [`Status`]. One task, the driver, owns
//! the libp2p swarm and the scheduler: it selects what happened and applies it without waiting for anyone. A peer is a
//! stranger until its handshake holds; a stranger hears nothing (`handshake.rs`). Every byte that comes in is
//! [`crate::store::Untrusted`] until the store's writer has proved its chunk id.

mod access;
mod book;
mod budget;
mod dht;
mod door;
mod driver;
mod handshake;
mod inlet;
mod introduction;
mod lan;
mod lines;
mod muxer;
mod names;
mod ours;
mod outlet;
mod session;
mod throttle;
mod tls;
mod transport;
mod view;
mod wire;

use std::sync::Arc;

use kwil_formats::formats::key::PublicKey;
use libp2p::{Multiaddr, PeerId, StreamProtocol, identity::Keypair};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

pub use self::{
    access::{Allow, Standing},
    names::{short_peer, short_place},
    throttle::RateLimits,
    view::{MemberView, View, Viewer},
};
use crate::{
    base::{Blake3Hash, Context, Error, Notice, Result},
    manifest::ChunkSet,
    store::{Buffers, Contents, Outcome, Store, Untrusted},
};

const SESSION_PROTOCOL: StreamProtocol = StreamProtocol::new("/regenesis/1/session");
const BULK_PROTOCOL: StreamProtocol = StreamProtocol::new("/regenesis/1/bulk");

/// The port that seeds listen on unless told otherwise.
pub const DEFAULT_PORT: u16 = 6690;

/// A node's key in the swarm. Kept with the data it serves, so that tickets stay good.
#[derive(Clone)]
pub struct Identity(Keypair);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

impl Identity {
    /// A new one.
    pub fn generate() -> Self {
        Identity(Keypair::generate_ed25519())
    }

    /// The bytes to keep, 0600.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.0.to_protobuf_encoding().map(Zeroizing::new).or_failed(|| "cannot encode the swarm identity")
    }

    /// Reads kept bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Keypair::from_protobuf_encoding(bytes).map(Identity).or_failed(|| "the swarm identity file is damaged")
    }

    /// The peer id, as others see it.
    pub fn peer_id(&self) -> String {
        self.0.public().to_peer_id().to_string()
    }

    /// Its public key, and what it signs with it; `None` for a key that is not ed25519.
    pub fn sign(&self, message: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
        let key = self.0.public().try_into_ed25519().ok()?.to_bytes();
        Some((key, self.0.sign(message).ok()?))
    }
}

/// How a node enters a swarm.
#[derive(Debug)]
pub struct Config {
    /// Its key.
    pub identity: Identity,
    /// Which manifest the swarm is about.
    pub manifest_id: Blake3Hash,
    /// The swarm's secret; `None` for a public swarm.
    pub secret: Option<Zeroizing<[u8; 32]>>,
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses to listen on where the machine has that family of addresses.
    pub optional_listen: Vec<String>,
    /// Addresses under which others reach us, if we cannot see them ourselves.
    pub external: Vec<String>,
    /// Multiaddresses with peer ids to connect to.
    pub connect: Vec<String>,
    /// More of these, through which others reach this node when they cannot reach it: it is said when one of them is missing.
    pub relay_via: Vec<String>,
    /// Find members on the local network, and be found there.
    pub lan: bool,
    /// Find members in BitTorrent's distributed hash table, and be found there: through these of its nodes, as `HOST:PORT`, or through
    /// those that everyone uses; `None`: not at all.
    pub dht: Option<Vec<String>>,
    /// Who may come in.
    pub allow: Allow,
    /// Signed bindings that say whose this node is, which every member is shown.
    pub bindings: Vec<Vec<u8>>,
    /// The chain id of the new network, for which a binding may be.
    pub new_chain_id: String,
    /// Members connected at once.
    pub peers_max: usize,
    /// How fast chunks may go out and come in.
    pub rate_limits: RateLimits,
}

/// What members that ask are given first: by it they judge whether they fetch anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charter {
    /// The signed manifest.
    pub manifest: Arc<Vec<u8>>,
    /// The genesis that it names.
    pub genesis: Arc<Vec<u8>>,
}

/// What a node serves and fills.
#[derive(Debug)]
pub struct Content {
    /// The files.
    pub store: Arc<Store>,
    /// What is there.
    pub have: ChunkSet,
    /// For members that ask.
    pub charter: Charter,
    /// Where fetched chunks go, and their outcomes come back; `None` for a seed, and for who only watches.
    pub sink: Option<Sink>,
}

impl Content {
    /// Of a member that knows the manifest, hears what others have and say, and neither fetches nor serves.
    pub fn watching(contents: Contents, charter: Charter) -> Self {
        let have = ChunkSet::empty(contents.chunk_count());
        Content { store: Arc::new(Store::absent(contents)), have, charter, sink: None }
    }

    fn is_watching(&self) -> bool {
        self.sink.is_none() && !self.have.is_full()
    }
}

/// The way to the store's writer and back.
#[derive(Debug)]
pub struct Sink {
    /// Buffers for chunks, given back by the writer.
    pub buffers: Arc<Buffers>,
    /// Chunks to verify and write.
    pub queue: mpsc::Sender<Untrusted>,
    /// What became of them.
    pub outcomes: mpsc::Receiver<Outcome>,
}

/// What the application hears.
#[derive(Debug)]
pub enum Event {
    /// The node can be reached here.
    Listening(String),
    /// A member sent what it says are manifest and genesis. Check them; then [`Handle::activate`] or [`Handle::blame`].
    Charter {
        /// Who sent them.
        peer: String,
        /// What it sent.
        charter: Charter,
    },
    /// Something worth a line.
    Note(String),
    /// Something the operator should look at.
    Warning(Notice),
    /// Nobody has been reached for a while: each address and why it failed.
    Unreachable(Vec<(String, String)>),
    /// Every peer of the ticket is a member and says that it serves another manifest now.
    Stale,
    /// Every chunk is stored.
    Complete,
    /// Whether every chunk is with two others: told by who fetches nothing, when it becomes true and when it ends being so.
    EveryChunkOut(bool),
    /// Our disk failed; nothing more is fetched.
    Failed(Error),
    /// Members pass on what validators are said to have signed; nothing of it is checked.
    Statements {
        /// Who passed them on.
        peer: String,
        /// The statements.
        all: Vec<Vec<u8>>,
    },
    /// A member tells what it knows against a manifest; nothing of it is checked.
    Evidence(Vec<u8>),
    /// A member has shown whose it is, by bindings that hold.
    Bound {
        /// The member.
        peer: String,
        /// Whose it is.
        validators: Vec<PublicKey>,
    },
    /// A member says where it sees us.
    Seen {
        /// Who says so.
        peer: String,
        /// Our address, as it sees it.
        ip: std::net::IpAddr,
    },
}

/// Where the node stands.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Bytes of chunks that are stored.
    pub have_bytes: u64,
    /// Bytes of all chunks; 0 before the manifest is known.
    pub total_bytes: u64,
    /// Members connected.
    pub peers: usize,
    /// Members among these that have everything.
    pub seeds: usize,
    /// Members that have given something.
    pub sources: usize,
    /// Chunk bytes sent so far.
    pub sent_bytes: u64,
    /// Chunk bytes received so far.
    pub received_bytes: u64,
    /// While nobody is connected: each address and why it failed.
    pub unreachable: Vec<(String, String)>,
}

/// What went to and came from one peer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PeerTotal {
    /// Its id.
    pub peer: String,
    /// Where it was last seen.
    pub address: String,
    /// Chunk bytes sent to it.
    pub sent_bytes: u64,
    /// Chunk bytes received from it.
    pub received_bytes: u64,
}

/// Evidence that a node tells, as its bytes.
#[derive(Debug, Default, Clone)]
pub struct ToldEvidence {
    /// That this node's manifest was issued: for members that speak of another one.
    pub issue: Option<Vec<u8>>,
    /// What ends this node's manifest: for every member.
    pub against: Vec<Vec<u8>>,
}

enum Command {
    Activate(Content),
    Deactivate(oneshot::Sender<()>),
    Blame(String, String),
    Tell { all: Vec<Vec<u8>>, new: Vec<Vec<u8>> },
    TellEvidence(ToldEvidence),
    Name(PeerId, String),
    Stand(Standing),
    Look(oneshot::Sender<View>),
    Stop(oneshot::Sender<Vec<PeerTotal>>),
}

/// The application's end of a node. Dropping it ends the node.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    status: watch::Receiver<Status>,
}

/// Starts a node.
///
/// # Errors
/// When an address is not understood or cannot be listened on.
pub async fn start(config: Config) -> Result<Handle> {
    let (commands, command_queue) = mpsc::channel(8);
    let (event_queue, events) = mpsc::channel(256);
    let (status_sender, status) = watch::channel(Status::default());
    let driver = driver::Driver::new(config, event_queue, status_sender)?;
    tokio::spawn(driver.run(command_queue));
    Ok(Handle { commands, events, status })
}

impl Handle {
    /// The next event; `None` when the node has ended.
    pub async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Where the node stands now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until so many bytes of chunks have gone out; for ever, where the node ends before.
    pub fn has_sent(&self, bytes: u64) -> impl Future<Output = ()> + use<> {
        let mut status = self.status.clone();
        async move {
            if status.wait_for(|status| status.sent_bytes >= bytes).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// What asks the node what it sees of the swarm.
    pub fn viewer(&self) -> Viewer {
        Viewer(self.commands.downgrade())
    }

    /// Gives the node something to serve and fill.
    pub async fn activate(&self, content: Content) -> Result<()> {
        self.command(Command::Activate(content)).await
    }

    /// Takes back what [`Handle::activate`] gave: nothing more is stored or served.
    pub async fn deactivate(&self) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.command(Command::Deactivate(reply)).await?;
        done.await.map_err(|_| Error::failed("the swarm has stopped"))
    }

    /// Ends the session with a peer that lied, for good.
    pub async fn blame(&self, peer: &str, reason: &str) -> Result<()> {
        self.command(Command::Blame(peer.to_owned(), reason.to_owned())).await
    }

    /// Tells every member of `new` statements, and members that come later of `all`.
    pub async fn tell(&self, all: Vec<Vec<u8>>, new: Vec<Vec<u8>>) -> Result<()> {
        self.command(Command::Tell { all, new }).await
    }

    /// Tells this evidence in the place of what was told before: to the members at once, and to those that come later.
    pub async fn tell_evidence(&self, told: ToldEvidence) -> Result<()> {
        self.command(Command::TellEvidence(told)).await
    }

    /// Calls a peer by this name, from now on, in all that is told of it.
    pub async fn name(&self, peer: &str, name: String) -> Result<()> {
        match peer.parse() {
            Ok(peer) => self.command(Command::Name(peer, name)).await,
            Err(_) => Ok(()),
        }
    }

    /// Judges from now on by this who may be here; who may not any more has to go.
    pub async fn stand(&self, standing: Standing) -> Result<()> {
        self.command(Command::Stand(standing)).await
    }

    /// Says goodbye, ends the node and tells what went to and came from whom.
    pub async fn stop(self) -> Vec<PeerTotal> {
        let (reply, totals) = oneshot::channel();
        if self.command(Command::Stop(reply)).await.is_err() {
            return Vec::new();
        }
        totals.await.unwrap_or_default()
    }

    async fn command(&self, command: Command) -> Result<()> {
        self.commands.send(command).await.map_err(|_| Error::failed("the swarm has stopped"))
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Activate(_) => "Activate",
            Command::Deactivate(_) => "Deactivate",
            Command::Blame(..) => "Blame",
            Command::Tell { .. } => "Tell",
            Command::TellEvidence(_) => "TellEvidence",
            Command::Name(..) => "Name",
            Command::Stand(_) => "Stand",
            Command::Look(_) => "Look",
            Command::Stop(_) => "Stop",
        })
    }
}

/// Sorts this node's addresses, the most useful to others first, and leaves out those that lead only into this machine, unless
/// there are no others. What is no address stays where it is.
pub fn sort_addresses(texts: &mut Vec<String>) {
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts.iter() {
        let Ok(address) = text.parse() else { return };
        addresses.push(address);
    }
    ours::sort(&mut addresses);
    *texts = addresses.iter().map(ToString::to_string).collect();
}

/// Checks an address as an operator gives it.
///
/// # Errors
/// Usage, with an example.
pub fn check_address(text: &str, with_peer: bool) -> Result<()> {
    let good = if with_peer { book::parse(text).is_some() } else { text.parse::<Multiaddr>().is_ok() };
    if good {
        return Ok(());
    }
    let example = if with_peer { "/ip4/203.0.113.5/tcp/6690/p2p/12D3KooW…" } else { "/ip4/0.0.0.0/tcp/6690" };
    Err(Error::usage(format!("{} is not an address", crate::base::text::escape(text)))
        .hint(format!("write it like {example}")))
}
