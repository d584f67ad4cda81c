//! A member that speaks the protocol as `proto/README.md` tells it, over an ordinary libp2p with its own TLS and yamux, and does with
//! its session what it likes. `scripts/bench/evil.rs` stands on it, too.

use std::{io, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, identity::Keypair, multiaddr::Protocol, swarm::SwarmEvent,
};
use regenesis::base::Blake3Hash;
use tokio::task::JoinHandle;

/// How long the node may take to say what it is listened for.
const HEARING_TIME: Duration = Duration::from_secs(60);

/// What a member of a swarm knows.
pub(crate) trait Membership {
    fn manifest_id(&self) -> Blake3Hash;
    fn secret(&self) -> [u8; 32];
}

pub(crate) mod wire {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/regenesis.wire.v1.rs"));
}

pub(crate) use wire::control::Message as Say;

const SESSION: StreamProtocol = StreamProtocol::new("/regenesis/1/session");
const BULK: StreamProtocol = StreamProtocol::new("/regenesis/1/bulk");

/// A connection to a node, with the transport's proof of who is who and nothing else.
pub(crate) struct Visitor {
    pub(crate) us: PeerId,
    pub(crate) them: PeerId,
    control: libp2p_stream::Control,
    task: JoinHandle<()>,
}

impl Visitor {
    pub(crate) async fn connect(address: &str, key: Keypair) -> io::Result<Self> {
        Self::connect_and(address, key, true).await
    }

    /// [`Visitor::connect`]; it reads the chunks that it is sent, or leaves them where they are.
    pub(crate) async fn connect_and(address: &str, key: Keypair, reads: bool) -> io::Result<Self> {
        let address: Multiaddr = address.parse().unwrap();
        let Some(Protocol::P2p(them)) = address.iter().last() else { panic!("{address} names no peer") };
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(libp2p::tcp::Config::default(), libp2p::tls::Config::new, libp2p::yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        let us = *swarm.local_peer_id();
        let mut control = swarm.behaviour().new_control();
        let mut bulk = control.accept(BULK).unwrap();
        swarm.dial(address).map_err(io::Error::other)?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        let task = tokio::spawn(async move {
            let read_all = async {
                let mut unread = Vec::new();
                while let Some((_, mut stream)) = bulk.next().await {
                    if !reads {
                        unread.push(stream);
                        continue;
                    }
                    let mut bytes = vec![0; 1 << 16];
                    while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
                }
            };
            let run = async {
                loop {
                    swarm.next().await;
                }
            };
            tokio::join!(read_all, run);
        });
        Ok(Visitor { us, them, control, task })
    }

    pub(crate) async fn open(&mut self, protocol: StreamProtocol) -> io::Result<Stream> {
        self.control.open_stream(self.them, protocol).await.map_err(io::Error::other)
    }

    pub(crate) async fn open_session(&mut self) -> io::Result<Stream> {
        self.open(SESSION).await
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A member: it has proved that it knows the secret.
pub(crate) struct Hostile {
    pub(crate) visitor: Visitor,
    pub(crate) session: Stream,
}

impl Hostile {
    /// Dials the node and proves membership.
    pub(crate) async fn enter(address: &str, world: &impl Membership) -> Self {
        Self::enter_as(address, world, Keypair::generate_ed25519()).await
    }

    pub(crate) async fn enter_as(address: &str, world: &impl Membership, key: Keypair) -> Self {
        Self::enter_with(address, world, key, Vec::new()).await
    }

    /// [`Hostile::enter_as`], and it shows these bindings.
    pub(crate) async fn enter_with(
        address: &str,
        world: &impl Membership,
        key: Keypair,
        bindings: Vec<Vec<u8>>,
    ) -> Self {
        let visitor = Visitor::connect(address, key).await.unwrap();
        Self::proved(visitor, world, bindings).await.unwrap()
    }

    /// Proves over a connection that it is a member.
    pub(crate) async fn proved(
        mut visitor: Visitor,
        world: &impl Membership,
        bindings: Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        let mut session = visitor.open_session().await?;
        prove(&mut session, world, world.secret(), visitor.us, visitor.them).await?;
        introduce(&mut session, bindings).await?;
        Ok(Hostile { visitor, session })
    }

    /// [`Hostile::enter`], and both sides know the manifest.
    pub(crate) async fn enter_ready(address: &str, world: &impl Membership) -> Self {
        let mut hostile = Self::enter(address, world).await;
        hostile.say(Say::Ready(wire::Ready {})).await.unwrap();
        hostile.hears(|said| matches!(said, Say::Ready(_))).await;
        hostile
    }

    pub(crate) fn id(&self) -> String {
        self.visitor.us.to_string()
    }

    pub(crate) async fn say(&mut self, message: Say) -> io::Result<()> {
        write(&mut self.session, &wire::Control { message: Some(message) }).await
    }

    /// It gets the manifest: it is let in, and stays so.
    pub(crate) async fn gets_the_manifest(mut self) {
        self.say(Say::ManifestRequest(wire::ManifestRequest {})).await.unwrap();
        self.hears(|said| matches!(said, Say::ManifestReply(_))).await;
    }

    /// Says that it has every chunk of the snapshot, artifact 1.
    pub(crate) async fn says_it_has(&mut self, chunks: std::ops::Range<u32>) {
        let ranges = vec![range(1, chunks)];
        self.say(Say::Haves(wire::Haves { ranges })).await.unwrap();
    }

    /// The next thing that the node says; `None` when it has ended the session.
    pub(crate) async fn hear(&mut self) -> Option<Say> {
        loop {
            let control: wire::Control = read(&mut self.session).await.ok()?;
            if let Some(message) = control.message {
                return Some(message);
            }
        }
    }

    /// Listens until the node says such a thing.
    pub(crate) async fn hears(&mut self, such: impl Fn(&Say) -> bool) -> Say {
        let heard = async {
            loop {
                let said = self.hear().await.expect("the session goes on");
                if such(&said) {
                    return said;
                }
            }
        };
        tokio::time::timeout(HEARING_TIME, heard).await.expect("in time")
    }

    /// Listens until it is asked for chunks: the request's id and the chunks of the snapshot.
    pub(crate) async fn is_asked(&mut self) -> (u64, Vec<u32>) {
        match self.hears(|said| matches!(said, Say::Request(_))).await {
            Say::Request(wire::Request { id, ranges }) => {
                (id, ranges.iter().flat_map(|r| r.first..r.first + r.count).collect())
            }
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) async fn bulk(&mut self) -> io::Result<Stream> {
        self.visitor.open(BULK).await
    }
}

pub(crate) fn range(artifact: u32, chunks: std::ops::Range<u32>) -> wire::ChunkRange {
    wire::ChunkRange { artifact, first: chunks.start, count: chunks.len() as u32 }
}

/// The handshake of a dialler.
pub(crate) async fn prove(
    session: &mut Stream,
    world: &impl Membership,
    secret: [u8; 32],
    us: PeerId,
    them: PeerId,
) -> io::Result<()> {
    let nonce = [7; 32];
    write(session, &wire::Hello { nonce: nonce.to_vec() }).await?;
    let theirs: wire::Hello = read(session).await?;
    let key = blake3::derive_key("regenesis 2026 swarm membership v1, key from the ticket's secret", &secret);
    let proof = |label: &[u8], last: &[u8]| {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(label).update(&[1]);
        for peer in [us, them] {
            let bytes = peer.to_bytes();
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        hasher.update(&nonce).update(&theirs.nonce).update(last);
        hasher.finalize().as_bytes().to_vec()
    };
    let (membership, manifest) = (proof(b"membership", &[]), proof(b"manifest", world.manifest_id().as_bytes()));
    write(session, &wire::Proof { membership, manifest, instance: vec![9; 16] }).await?;
    read::<wire::Proof>(session).await.map(drop)
}

/// What both sides say after the handshake: whose they are.
pub(crate) async fn introduce(session: &mut Stream, bindings: Vec<Vec<u8>>) -> io::Result<wire::Introduction> {
    write(session, &wire::Introduction { bindings }).await?;
    read(session).await
}

pub(crate) async fn write(stream: &mut Stream, message: &impl prost::Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await?;
    stream.flush().await
}

pub(crate) async fn read<M: prost::Message + Default>(stream: &mut Stream) -> io::Result<M> {
    let mut len = 0usize;
    for shift in 0.. {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 0x7f) << (7 * shift);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    M::decode(&bytes[..]).map_err(io::Error::other)
}
