//! Members of a swarm that do one kind of harm to everyone they hear of, as long as they run: `evil KIND TICKET MANIFEST`. MANIFEST is
//! the file manifest.regenesis that the ticket names. Each prints under which peer ids it came. `scripts/bench.sh evil` runs them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use futures::AsyncWriteExt;
use libp2p::identity::Keypair;
use regenesis::{
    base::{Blake3Hash, Error, Result},
    manifest::{ArtifactName, SignedManifest, Ticket},
};
use tokio::{sync::mpsc, time::sleep};

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/network/swarm/hostile.rs"]
mod hostile;

use hostile::{Hostile, Membership, Say, Visitor, range, wire};

/// Where the snapshot stands in a manifest, after the genesis.
const SNAPSHOT: u32 = 1;
/// Addresses that one of them remembers.
const ADDRESSES_MAX: usize = 64;
/// How long it leaves a node alone that has ended its session.
const PAUSE_TIME: Duration = Duration::from_millis(100);
/// What the slow one sends at a time, and how often.
const TRICKLE: (usize, Duration) = (500, Duration::from_millis(250));
/// Chunks that one asks for or suggests at a time: as many as the protocol allows.
const AT_ONCE_MAX: u32 = 256;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Suggests everything and sends noise.
    Noise,
    /// The same, under a new name after each session.
    NoiseRenamed,
    /// Suggests everything, and sends nothing that it is asked for.
    Silent,
    /// Suggests everything, and sends it at two kilobytes a second.
    Trickle,
    /// Suggests everything, and refuses each time.
    Refuser,
    /// Takes what is suggested to it, and tells nobody that it has it.
    Taker,
    /// Asks for everything, gets it, and asks again under another name.
    Glutton,
    /// Asks for everything and reads nothing of it.
    Unread,
    /// Says more than anyone can hear.
    Flood,
    /// Names addresses of strangers.
    Strangers,
    /// Comes, proves that it is a member, and goes, without a pause.
    Churn,
    /// Sends what nobody asked it for, under a new name after each session.
    Unasked,
}

const KINDS: [(&str, Kind); 12] = [
    ("noise", Kind::Noise),
    ("noise-renamed", Kind::NoiseRenamed),
    ("silent", Kind::Silent),
    ("trickle", Kind::Trickle),
    ("refuser", Kind::Refuser),
    ("taker", Kind::Taker),
    ("glutton", Kind::Glutton),
    ("unread", Kind::Unread),
    ("flood", Kind::Flood),
    ("strangers", Kind::Strangers),
    ("churn", Kind::Churn),
    ("unasked", Kind::Unasked),
];

impl Kind {
    /// It comes under a new name each time.
    fn is_renamed(self) -> bool {
        matches!(self, Kind::NoiseRenamed | Kind::Glutton | Kind::Flood | Kind::Churn | Kind::Unasked)
    }

    fn suggests_everything(self) -> bool {
        matches!(self, Kind::Noise | Kind::NoiseRenamed | Kind::Silent | Kind::Trickle | Kind::Refuser)
    }
}

/// What it knows of the swarm.
struct Swarm {
    manifest_id: Blake3Hash,
    secret: [u8; 32],
    chunks: u32,
    chunk_sizes: Vec<u32>,
}

impl Membership for Swarm {
    fn manifest_id(&self) -> Blake3Hash {
        self.manifest_id
    }

    fn secret(&self) -> [u8; 32] {
        self.secret
    }
}

#[tokio::main]
async fn main() {
    if let Err(e) = run().await {
        eprintln!("error: {e}");
        std::process::exit(2);
    }
}

async fn run() -> Result<()> {
    let usage = || Error::usage("usage: evil KIND TICKET MANIFEST");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds its own.
    let [kind, ticket, manifest, ..] = &arguments[..] else { return Err(usage()) };
    let (_, kind) = KINDS.into_iter().find(|(name, _)| name == kind).ok_or_else(usage)?;
    let ticket: Ticket = ticket.parse()?;
    let bytes = std::fs::read(manifest).map_err(|e| Error::failed(format!("{manifest}: {e}")))?;
    let signed = SignedManifest::decode(&bytes).map_err(|e| Error::verify(e.to_string()))?;
    let layout = &signed.manifest().artifact(ArtifactName::Snapshot).layout;
    let swarm = Arc::new(Swarm {
        manifest_id: signed.id(),
        secret: **ticket.secret.as_ref().ok_or_else(usage)?,
        chunks: layout.chunk_count(),
        chunk_sizes: layout.indexes().map(|index| layout.len(index) as u32).collect(),
    });
    let key = Keypair::generate_ed25519();
    let (hear, mut heard) = mpsc::channel(ADDRESSES_MAX);
    let mut known = HashSet::new();
    for address in &ticket.addresses {
        let _ = hear.try_send(address.clone());
    }
    while let Some(address) = heard.recv().await {
        if known.len() < ADDRESSES_MAX && known.insert(address.clone()) {
            tokio::spawn(harm(kind, address, key.clone(), swarm.clone(), hear.clone()));
        }
    }
    Ok(())
}

/// Does harm to one node, again and again.
async fn harm(kind: Kind, address: String, mut key: Keypair, swarm: Arc<Swarm>, hear: mpsc::Sender<String>) {
    let mut named = HashSet::new();
    loop {
        if kind.is_renamed() {
            key = Keypair::generate_ed25519();
        }
        let id = key.public().to_peer_id();
        if named.len() < 1000 && named.insert(id) {
            println!("{id}");
        }
        // Whatever ends it: it comes again.
        let _ = session(kind, &address, key.clone(), &swarm, &hear).await;
        if kind != Kind::Churn {
            sleep(PAUSE_TIME).await;
        }
    }
}

/// One session with one node, until one of both ends it.
async fn session(
    kind: Kind,
    address: &str,
    key: Keypair,
    swarm: &Arc<Swarm>,
    hear: &mpsc::Sender<String>,
) -> io::Result<()> {
    let visitor = Visitor::connect_and(address, key, kind != Kind::Unread).await?;
    let mut member = Hostile::proved(visitor, &**swarm, Vec::new()).await?;
    if kind == Kind::Churn {
        // It has heard of others before it goes.
        while let Some(said) = member.hear().await {
            if learns(&said, hear) {
                break;
            }
        }
        return Ok(());
    }
    member.say(Say::Ready(wire::Ready {})).await?;
    let everything = || vec![range(SNAPSHOT, 0..swarm.chunks)];
    let mut request = 0;
    let mut got_from = HashSet::new();
    let mut suggested = AT_ONCE_MAX;
    while let Some(said) = member.hear().await {
        learns(&said, hear);
        if kind.suggests_everything() && matches!(said, Say::Ready(_)) {
            member.say(Say::Haves(wire::Haves { ranges: everything() })).await?;
            member.say(suggestion(swarm, 0)).await?;
        }
        if kind.suggests_everything() && matches!(said, Say::Request(_) | Say::Decline(_)) {
            // What was suggested last may be under way from elsewhere: the next ones.
            member.say(suggestion(swarm, suggested)).await?;
            suggested += AT_ONCE_MAX;
        }
        match (kind, said) {
            (Kind::Noise | Kind::NoiseRenamed, Say::Request(asked)) => {
                sends(&mut member, swarm, &asked, usize::MAX, Duration::ZERO).await?;
            }
            (Kind::Trickle, Say::Request(asked)) => {
                let (bytes, pause) = TRICKLE;
                sends(&mut member, swarm, &asked, bytes, pause).await?;
            }
            (Kind::Refuser, Say::Request(wire::Request { id, mut ranges })) => {
                ranges.sort_by_key(|r| (r.artifact, r.first));
                let ranges = joined(ranges);
                member.say(Say::Refusal(wire::Refusal { request: id, ranges })).await?;
            }
            (Kind::Taker, Say::Suggestion(wire::Suggestion { ranges })) => {
                request += 1;
                member.say(Say::Request(wire::Request { id: request, ranges })).await?;
            }
            (Kind::Glutton | Kind::Unread, Say::Haves(wire::Haves { ranges })) => {
                for range in ranges {
                    for first in (range.first..range.first + range.count).step_by(AT_ONCE_MAX as usize) {
                        let count = AT_ONCE_MAX.min(range.first + range.count - first);
                        if got_from.len() as u32 + count <= AT_ONCE_MAX {
                            got_from.extend(first..first + count);
                            request += 1;
                            let ranges = vec![wire::ChunkRange { artifact: range.artifact, first, count }];
                            member.say(Say::Request(wire::Request { id: request, ranges })).await?;
                        }
                    }
                }
            }
            (Kind::Flood, Say::Ready(_)) => loop {
                let junk = vec![vec![1; 1000]; 8];
                member.say(Say::Statements(wire::Statements { signed_statements: junk })).await?;
                member.say(Say::Cancel(wire::Cancel { ranges: everything() })).await?;
            },
            (Kind::Strangers, Say::Ready(_)) => loop {
                let port = |n: u32| 20_000 + n % 20_000;
                let stranger = |n| {
                    format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", port(request as u32 * 50 + n), libp2p::PeerId::random())
                };
                let addresses = (0..50).map(stranger).collect();
                request += 1;
                member.say(Say::Peers(wire::Peers { addresses })).await?;
                sleep(Duration::from_millis(20)).await;
            },
            (Kind::Unasked, Say::Ready(_)) => {
                let asked = wire::Request { id: 1, ranges: everything() };
                sends(&mut member, swarm, &asked, usize::MAX, Duration::ZERO).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A suggestion of as many chunks as are allowed, from one on.
fn suggestion(swarm: &Swarm, from: u32) -> Say {
    let first = from % swarm.chunks;
    let ranges = vec![range(SNAPSHOT, first..swarm.chunks.min(first + AT_ONCE_MAX))];
    Say::Suggestion(wire::Suggestion { ranges })
}

/// Notes the addresses of other nodes; true where there were any.
fn learns(said: &Say, hear: &mpsc::Sender<String>) -> bool {
    let Say::Peers(wire::Peers { addresses }) = said else { return false };
    for address in addresses {
        let _ = hear.try_send(address.clone());
    }
    true
}

/// Sends noise for what was asked, so many bytes at a time.
async fn sends(
    member: &mut Hostile,
    swarm: &Swarm,
    asked: &wire::Request,
    bytes_max: usize,
    pause: Duration,
) -> io::Result<()> {
    let mut bulk = member.bulk().await?;
    let snapshot = asked.ranges.iter().filter(|range| range.artifact == SNAPSHOT);
    for index in snapshot.flat_map(|range| range.first..range.first + range.count) {
        let size_bytes = swarm.chunk_sizes[index as usize];
        let offer = wire::Offer { artifact: SNAPSHOT, index, size_bytes, request: asked.id };
        hostile::write(&mut bulk, &offer).await?;
        let noise = vec![0x5a; size_bytes as usize];
        for some in noise.chunks(bytes_max.min(noise.len())) {
            bulk.write_all(some).await?;
            bulk.flush().await?;
            sleep(pause).await;
        }
    }
    Ok(())
}

/// Ranges that touch become one.
fn joined(ranges: Vec<wire::ChunkRange>) -> Vec<wire::ChunkRange> {
    let mut joined: Vec<wire::ChunkRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.artifact == range.artifact && last.first + last.count == range.first => {
                last.count += range.count;
            }
            _ => joined.push(range),
        }
    }
    joined
}
