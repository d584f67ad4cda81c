//! Messages as bytes and back. The only file that names the generated wire types; every length is checked before memory
//! is taken for it, every field before it is believed.

use std::{
    io,
    net::IpAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message as _;

use super::Charter;
use crate::base::limits::{
    BINDINGS_SHOWN_MAX, CONTROL_MESSAGE_SIZE_BYTES_MAX, EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX, GENESIS_SIZE_BYTES_MAX,
    MANIFEST_SIZE_BYTES_MAX, PEERS_MESSAGE_ADDRESSES_MAX, RANGES_MAX, STATEMENT_SIZE_BYTES_MAX,
    STATEMENTS_IN_MESSAGE_MAX,
};

mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/regenesis.wire.v1.rs"));
}

use generated::control::Message as Kind;

/// Chunks of one artifact: its place in the manifest and the indexes.
pub(super) type ArtifactRange = (u32, Range<u32>);

/// A proof of membership, and which run of a node gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) membership: [u8; 32],
    pub(super) manifest: [u8; 32],
    pub(super) instance: [u8; 16],
}

/// Why a session ends, as far as the receiver does something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// For the reason in words.
    Other,
    /// Another node with the receiver's key is here and alive.
    IdentityInUse,
    /// The receiver is a member, but one that is not let in.
    NotLetIn,
}

/// What members say on the session stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    ManifestRequest,
    /// `None`: has none yet.
    Manifest(Option<Charter>),
    Ready,
    /// Ascending.
    Haves(Vec<ArtifactRange>),
    /// Ascending.
    Lost(Vec<ArtifactRange>),
    /// In the order in which they would come.
    Suggestion(Vec<ArtifactRange>),
    /// Ascending.
    Decline {
        ranges: Vec<ArtifactRange>,
        full: bool,
    },
    Request(u64, Vec<ArtifactRange>),
    /// Ascending.
    Cancel(Vec<ArtifactRange>),
    /// Ascending.
    Refusal {
        request: u64,
        ranges: Vec<ArtifactRange>,
    },
    Peers(Vec<String>),
    /// What validators have signed.
    Statements(Vec<Vec<u8>>),
    /// What is known against a manifest.
    Evidence(Vec<u8>),
    /// Where the sender sees us.
    Seen(IpAddr),
    Complaint {
        artifact: u32,
        index: u32,
    },
    Goodbye {
        reason: String,
        why: Parting,
    },
    /// A sign of life, or what a newer version says: understood by nobody here and harmless.
    Nothing,
}

/// A chunk's announcement on a bulk stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) artifact: u32,
    pub(super) index: u32,
    pub(super) size_bytes: u32,
    pub(super) request: u64,
}

/// Bytes read at a time, so that a slow line shows that it is none that is dead.
const PIECE_SIZE_BYTES: usize = 64 << 10;

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// What a message takes on the line beside its own bytes, at the most: its length, a header of the multiplexer, and two records of TLS.
const CARRIER_BYTES: u64 = 64;

/// Reads one length-prefixed message, if it is at most as long as `limit` says for its length; `None` at the end of the stream.
///
/// Memory is taken as the bytes come, each of which is counted, with those that carried them.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    limit: impl FnOnce(usize) -> usize,
    heard: &AtomicU64,
) -> io::Result<Option<Vec<u8>>> {
    let mut len: usize = 0;
    for shift in 0..=4 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        len |= usize::from(byte[0] & 0x7f) << (7 * shift);
        if byte[0] & 0x80 == 0 {
            break;
        }
        if shift == 4 {
            return Err(invalid("a message is longer than the protocol allows"));
        }
    }
    if len > limit(len) {
        return Err(invalid("a message is longer than the protocol allows"));
    }
    heard.fetch_add(CARRIER_BYTES, Ordering::Relaxed);
    let mut bytes = Vec::new();
    let mut done = 0;
    while done < len {
        if done == bytes.len() {
            bytes.resize(len.min(done + PIECE_SIZE_BYTES), 0);
        }
        let n = stream.read(&mut bytes[done..]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard.fetch_add(n as u64, Ordering::Relaxed);
        done += n;
    }
    Ok(Some(bytes))
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &impl prost::Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await
}

fn array<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.try_into().map_err(|_| invalid("a handshake value has the wrong length"))
}

/// Sends our nonce.
pub(super) async fn write_hello(stream: &mut (impl AsyncWrite + Unpin), nonce: &[u8; 32]) -> io::Result<()> {
    write_frame(stream, &generated::Hello { nonce: nonce.to_vec() }).await?;
    stream.flush().await
}

/// Reads the other side's nonce.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<[u8; 32]>> {
    let Some(frame) = read_frame(stream, |_| 64, &AtomicU64::new(0)).await? else { return Ok(None) };
    let hello = generated::Hello::decode(&frame[..]).map_err(|_| invalid("the first message is no greeting"))?;
    array(&hello.nonce).map(Some)
}

/// Sends our proof.
pub(super) async fn write_proof(stream: &mut (impl AsyncWrite + Unpin), proof: &Proof) -> io::Result<()> {
    let message = generated::Proof {
        membership: proof.membership.to_vec(),
        manifest: proof.manifest.to_vec(),
        instance: proof.instance.to_vec(),
    };
    write_frame(stream, &message).await?;
    stream.flush().await
}

/// Reads the other side's proof.
pub(super) async fn read_proof(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Proof>> {
    let Some(frame) = read_frame(stream, |_| 128, &AtomicU64::new(0)).await? else { return Ok(None) };
    let proof = generated::Proof::decode(&frame[..]).map_err(|_| invalid("the second message is no proof"))?;
    Ok(Some(Proof {
        membership: array(&proof.membership)?,
        manifest: array(&proof.manifest)?,
        instance: array(&proof.instance)?,
    }))
}

/// Sends the bindings that say whose we are.
pub(super) async fn write_introduction(stream: &mut (impl AsyncWrite + Unpin), bindings: &[Vec<u8>]) -> io::Result<()> {
    write_frame(stream, &generated::Introduction { bindings: bindings.to_vec() }).await?;
    stream.flush().await
}

/// Reads what the other side shows of whose it is, unjudged; `None` at the end of the stream.
pub(super) async fn read_introduction(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<Vec<u8>>>> {
    const LIMIT: usize = BINDINGS_SHOWN_MAX * (STATEMENT_SIZE_BYTES_MAX + 8);
    let Some(frame) = read_frame(stream, |_| LIMIT, &AtomicU64::new(0)).await? else { return Ok(None) };
    let introduction =
        generated::Introduction::decode(&frame[..]).map_err(|_| invalid("the third message is no introduction"))?;
    let all = introduction.bindings;
    if all.len() > BINDINGS_SHOWN_MAX || all.iter().any(|one| one.len() > STATEMENT_SIZE_BYTES_MAX) {
        return Err(invalid("it shows more bindings than the protocol allows"));
    }
    Ok(Some(all))
}

fn to_ranges(ranges: Vec<ArtifactRange>) -> Vec<generated::ChunkRange> {
    ranges
        .into_iter()
        .map(|(artifact, r)| generated::ChunkRange { artifact, first: r.start, count: r.end - r.start })
        .collect()
}

/// Reads at most [`RANGES_MAX`] ranges, none of which may be empty.
fn from_ranges(ranges: Vec<generated::ChunkRange>) -> io::Result<Vec<ArtifactRange>> {
    if ranges.len() > RANGES_MAX {
        return Err(invalid("a message names more ranges of chunks than the protocol allows"));
    }
    ranges
        .into_iter()
        .map(|r| match r.first.checked_add(r.count) {
            Some(end) if r.count > 0 => Ok((r.artifact, r.first..end)),
            _ => Err(invalid("a range of chunks is empty or overflows")),
        })
        .collect()
}

/// [`from_ranges`] that ascend and do not touch each other: so many cost no more than the chunks there are.
fn from_ascending(ranges: Vec<generated::ChunkRange>) -> io::Result<Vec<ArtifactRange>> {
    let ranges = from_ranges(ranges)?;
    let ascend = ranges.windows(2).all(|pair| {
        let ((a, first), (b, second)) = (&pair[0], &pair[1]);
        a < b || (a == b && first.end < second.start)
    });
    if ascend { Ok(ranges) } else { Err(invalid("ranges of chunks do not ascend")) }
}

/// Sends a control message.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: Message) -> io::Result<()> {
    let kind = match message {
        Message::Manifest(Some(charter)) => return write_charter(stream, &charter).await,
        Message::Manifest(None) => Some(Kind::ManifestReply(generated::ManifestReply::default())),
        Message::ManifestRequest => Some(Kind::ManifestRequest(generated::ManifestRequest {})),
        Message::Ready => Some(Kind::Ready(generated::Ready {})),
        Message::Haves(r) => Some(Kind::Haves(generated::Haves { ranges: to_ranges(r) })),
        Message::Lost(r) => Some(Kind::Lost(generated::Lost { ranges: to_ranges(r) })),
        Message::Suggestion(r) => Some(Kind::Suggestion(generated::Suggestion { ranges: to_ranges(r) })),
        Message::Decline { ranges, full } => {
            Some(Kind::Decline(generated::Decline { ranges: to_ranges(ranges), full }))
        }
        Message::Request(id, r) => Some(Kind::Request(generated::Request { id, ranges: to_ranges(r) })),
        Message::Cancel(r) => Some(Kind::Cancel(generated::Cancel { ranges: to_ranges(r) })),
        Message::Refusal { request, ranges } => {
            Some(Kind::Refusal(generated::Refusal { request, ranges: to_ranges(ranges) }))
        }
        Message::Peers(addresses) => Some(Kind::Peers(generated::Peers { addresses })),
        Message::Complaint { artifact, index } => Some(Kind::Complaint(generated::Complaint { artifact, index })),
        Message::Goodbye { reason, why } => Some(Kind::Goodbye(generated::Goodbye {
            reason,
            identity_in_use: why == Parting::IdentityInUse,
            not_let_in: why == Parting::NotLetIn,
        })),
        Message::Statements(signed_statements) => Some(Kind::Statements(generated::Statements { signed_statements })),
        Message::Evidence(evidence) => Some(Kind::Evidence(generated::Evidence { evidence })),
        Message::Seen(ip) => Some(Kind::Seen(generated::Seen {
            ip: match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            },
        })),
        Message::Nothing => None,
    };
    write_frame(stream, &generated::Control { message: kind }).await?;
    stream.flush().await
}

/// Sends manifest and genesis from where they lie: they are large, and many may ask at once.
async fn write_charter(stream: &mut (impl AsyncWrite + Unpin), charter: &Charter) -> io::Result<()> {
    use prost::encoding::{WireType, encode_key, encode_varint};
    let Charter { manifest, genesis } = charter;
    let [first, second] = [(1, manifest), (2, genesis)].map(|(field, bytes)| {
        let mut head = Vec::new();
        encode_key(field, WireType::LengthDelimited, &mut head);
        encode_varint(bytes.len() as u64, &mut head);
        head
    });
    let (mut middle, mut outer) = (Vec::new(), Vec::new());
    let length = first.len() + manifest.len() + second.len() + genesis.len();
    encode_key(2, WireType::LengthDelimited, &mut middle);
    encode_varint(length as u64, &mut middle);
    encode_varint((middle.len() + length) as u64, &mut outer);
    stream.write_all(&[outer, middle, first].concat()).await?;
    stream.write_all(manifest).await?;
    stream.write_all(&second).await?;
    stream.write_all(genesis).await?;
    stream.flush().await
}

/// Reads a control message, and says how many bytes it had; `None` when the other side has closed the stream. Manifest and
/// genesis come only where `wants_manifest`. Each byte that comes is added to `heard`.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    wants_manifest: impl FnOnce() -> bool,
    heard: &AtomicU64,
) -> io::Result<Option<(Message, usize)>> {
    let limit = |size| {
        if size > CONTROL_MESSAGE_SIZE_BYTES_MAX && wants_manifest() {
            MANIFEST_SIZE_BYTES_MAX + GENESIS_SIZE_BYTES_MAX + 64
        } else {
            CONTROL_MESSAGE_SIZE_BYTES_MAX
        }
    };
    let Some(frame) = read_frame(stream, limit, heard).await? else { return Ok(None) };
    let size = frame.len();
    if size > CONTROL_MESSAGE_SIZE_BYTES_MAX {
        // Not decoded as what any other message might be: a list of as many bytes takes far more memory.
        let reply = only_field(&frame, 2).ok_or_else(|| invalid("a message is longer than the protocol allows"))?;
        let reply =
            generated::ManifestReply::decode(reply).map_err(|_| invalid("a manifest's message is not readable"))?;
        return Ok(Some((from_reply(reply)?, size)));
    }
    let control = generated::Control::decode(&frame[..]).map_err(|_| invalid("a message is not readable"))?;
    let message = match control.message {
        Some(Kind::ManifestReply(m)) => from_reply(m)?,
        Some(Kind::ManifestRequest(_)) => Message::ManifestRequest,
        Some(Kind::Ready(_)) => Message::Ready,
        Some(Kind::Haves(m)) => Message::Haves(from_ascending(m.ranges)?),
        Some(Kind::Lost(m)) => Message::Lost(from_ascending(m.ranges)?),
        Some(Kind::Suggestion(m)) => Message::Suggestion(from_ranges(m.ranges)?),
        Some(Kind::Decline(m)) => Message::Decline { ranges: from_ascending(m.ranges)?, full: m.full },
        Some(Kind::Request(m)) => Message::Request(m.id, from_ranges(m.ranges)?),
        Some(Kind::Cancel(m)) => Message::Cancel(from_ascending(m.ranges)?),
        Some(Kind::Refusal(m)) => Message::Refusal { request: m.request, ranges: from_ascending(m.ranges)? },
        Some(Kind::Peers(m)) if m.addresses.len() > PEERS_MESSAGE_ADDRESSES_MAX => {
            return Err(invalid("it names more addresses than the protocol allows"));
        }
        Some(Kind::Peers(m)) => Message::Peers(m.addresses),
        Some(Kind::Statements(m)) => {
            let all = &m.signed_statements;
            if all.len() > STATEMENTS_IN_MESSAGE_MAX || all.iter().any(|s| s.len() > STATEMENT_SIZE_BYTES_MAX) {
                return Err(invalid("a peer passes on more statements than the protocol allows"));
            }
            Message::Statements(m.signed_statements)
        }
        Some(Kind::Evidence(m)) if m.evidence.len() > EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX => {
            return Err(invalid("a peer tells longer evidence than the protocol allows"));
        }
        Some(Kind::Evidence(m)) => Message::Evidence(m.evidence),
        Some(Kind::Seen(m)) => match (<[u8; 4]>::try_from(&m.ip[..]), <[u8; 16]>::try_from(&m.ip[..])) {
            (Ok(ip), _) => Message::Seen(IpAddr::from(ip)),
            (_, Ok(ip)) => Message::Seen(IpAddr::from(ip).to_canonical()),
            _ => return Err(invalid("a peer sees us at what is no address")),
        },
        Some(Kind::Complaint(m)) => Message::Complaint { artifact: m.artifact, index: m.index },
        Some(Kind::Goodbye(m)) => Message::Goodbye {
            reason: m.reason,
            why: match (m.identity_in_use, m.not_let_in) {
                (true, _) => Parting::IdentityInUse,
                (false, true) => Parting::NotLetIn,
                (false, false) => Parting::Other,
            },
        },
        None => Message::Nothing,
    };
    Ok(Some((message, size)))
}

/// Each of both is within its own bound.
fn from_reply(reply: generated::ManifestReply) -> io::Result<Message> {
    let generated::ManifestReply { signed_manifest, genesis } = reply;
    if signed_manifest.len() > MANIFEST_SIZE_BYTES_MAX || genesis.len() > GENESIS_SIZE_BYTES_MAX {
        return Err(invalid("a manifest or a genesis is longer than the protocol allows"));
    }
    let charter = Charter { manifest: Arc::new(signed_manifest), genesis: Arc::new(genesis) };
    Ok(Message::Manifest(Some(charter).filter(|charter| !charter.manifest.is_empty())))
}

/// What a message holds that is one field, of this number and with a length, and nothing else.
fn only_field(mut message: &[u8], field: u32) -> Option<&[u8]> {
    let key = prost::encoding::decode_key(&mut message).ok()?;
    let length = prost::encoding::decode_varint(&mut message).ok()?;
    (key == (field, prost::encoding::WireType::LengthDelimited) && length == message.len() as u64).then_some(message)
}

/// Announces a chunk; its bytes follow.
pub(super) async fn write_offer(stream: &mut (impl AsyncWrite + Unpin), offer: Offer) -> io::Result<()> {
    let Offer { artifact, index, size_bytes, request } = offer;
    write_frame(stream, &generated::Offer { artifact, index, size_bytes, request }).await
}

/// Reads a chunk's announcement; `None` when the other side has closed the stream.
pub(super) async fn read_offer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Offer>> {
    let Some(frame) = read_frame(stream, |_| 64, &AtomicU64::new(0)).await? else { return Ok(None) };
    let generated::Offer { artifact, index, size_bytes, request } =
        generated::Offer::decode(&frame[..]).map_err(|_| invalid("a chunk's announcement is not readable"))?;
    Ok(Some(Offer { artifact, index, size_bytes, request }))
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn charter(manifest: usize, genesis: usize) -> Charter {
        Charter { manifest: Arc::new(vec![7; manifest]), genesis: Arc::new(vec![8; genesis]) }
    }

    fn read(bytes: Vec<u8>, wants_manifest: bool) -> io::Result<Option<Message>> {
        let heard = AtomicU64::new(0);
        let read = block_on(read_message(&mut Cursor::new(bytes), || wants_manifest, &heard))?;
        Ok(read.map(|(message, _)| message))
    }

    fn written(message: Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        block_on(write_message(&mut bytes, message)).unwrap();
        bytes
    }

    #[test]
    fn messages_survive_the_wire() {
        for message in [
            Message::ManifestRequest,
            Message::Manifest(None),
            Message::Manifest(Some(charter(100, 20))),
            Message::Manifest(Some(charter(300_000, 200))),
            Message::Manifest(Some(charter(100, 300_000))),
            Message::Ready,
            Message::Haves(vec![(0, 0..1), (1, 5..2000), (1, 2001..2002)]),
            Message::Lost(vec![(1, 3..4)]),
            Message::Suggestion(vec![(1, 3..4), (0, 0..1)]),
            Message::Decline { ranges: vec![(0, 0..1), (1, 3..4)], full: true },
            Message::Request(9, vec![(1, 3..4), (0, 0..1)]),
            Message::Cancel(vec![(1, 3..4)]),
            Message::Refusal { request: 9, ranges: vec![(1, 3..9)] },
            Message::Peers(vec!["/ip4/127.0.0.1/tcp/1".into()]),
            Message::Complaint { artifact: 1, index: 7 },
            Message::Goodbye { reason: "done".into(), why: Parting::IdentityInUse },
            Message::Goodbye { reason: "done".into(), why: Parting::NotLetIn },
            Message::Nothing,
            Message::Statements(vec![vec![1; 200]; STATEMENTS_IN_MESSAGE_MAX]),
            Message::Seen("10.0.0.5".parse().unwrap()),
            Message::Seen("2001:db8::5".parse().unwrap()),
        ] {
            assert_eq!(read(written(message.clone()), true).unwrap(), Some(message));
        }
    }

    #[test]
    fn a_long_message_is_refused_before_it_is_read() {
        // A length of 2^34 and nothing behind it: an error at once, not memory for it.
        let e = read(vec![0x80, 0x80, 0x80, 0x80, 0x40], true).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData);
        let haves = (0..50_000).map(|i| (1, 2 * i..2 * i + 1)).collect();
        assert!(read(written(Message::Haves(haves)), true).is_err());
    }

    #[test]
    fn ranges_ascend_do_not_touch_and_are_few() {
        let told = |ranges: &[ArtifactRange]| read(written(Message::Haves(ranges.to_vec())), false);
        assert!(told(&[(0, 3..4), (0, 5..6), (1, 0..1)]).is_ok());
        for bad in
            [&[(0, 3..4), (0, 4..6)][..], &[(0, 3..6), (0, 5..8)], &[(0, 5..6), (0, 3..4)], &[(1, 0..1), (0, 0..1)]]
        {
            assert!(told(bad).is_err(), "{bad:?}");
            assert!(read(written(Message::Cancel(bad.to_vec())), false).is_err(), "{bad:?}");
            assert!(read(written(Message::Lost(bad.to_vec())), false).is_err(), "{bad:?}");
            let refusal = Message::Refusal { request: 1, ranges: bad.to_vec() };
            assert!(read(written(refusal), false).is_err(), "{bad:?}");
            // What is wanted is wanted in an order.
            assert!(read(written(Message::Request(1, bad.to_vec())), false).is_ok());
        }
        let ranges = |n: u32| (0..n).map(|i| (1, 2 * i..2 * i + 1)).collect::<Vec<_>>();
        assert!(told(&ranges(RANGES_MAX as u32)).is_ok());
        assert!(told(&ranges(RANGES_MAX as u32 + 1)).is_err());
        assert!(read(written(Message::Request(1, ranges(RANGES_MAX as u32 + 1))), false).is_err());
        assert!(told(&[(0, 3..3)]).is_err(), "an empty one");
    }

    #[test]
    fn as_many_ranges_as_are_allowed_fit_a_message() {
        let widest = |i: u32| (1, (1 << 30) + 2 * i..(1 << 30) + 2 * i + 1);
        let ranges: Vec<ArtifactRange> = (0..RANGES_MAX as u32).map(widest).collect();
        for message in [Message::Haves(ranges.clone()), Message::Request(u64::MAX, ranges)] {
            assert!(written(message).len() < CONTROL_MESSAGE_SIZE_BYTES_MAX);
        }
    }

    #[test]
    fn a_manifest_that_nobody_asked_for_is_refused_before_it_is_read() {
        let mut bytes = written(Message::Manifest(Some(charter(300_000, 10))));
        bytes.truncate(10);
        assert_eq!(read(bytes, false).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_manifest_is_written_as_the_messages_say() {
        let reply = generated::ManifestReply { signed_manifest: vec![7; 300], genesis: vec![8; 200] };
        let control = generated::Control { message: Some(Kind::ManifestReply(reply)) };
        assert_eq!(written(Message::Manifest(Some(charter(300, 200)))), control.encode_length_delimited_to_vec());
    }

    #[test]
    fn a_genesis_longer_than_any_is_refused() {
        let bytes = written(Message::Manifest(Some(charter(10, GENESIS_SIZE_BYTES_MAX + 1))));
        assert_eq!(read(bytes, true).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_list_behind_a_manifest_is_refused() {
        let reply =
            Kind::ManifestReply(generated::ManifestReply { signed_manifest: vec![7; 300_000], genesis: Vec::new() });
        let mut message = generated::Control { message: Some(reply) }.encode_to_vec();
        let haves = Kind::Haves(generated::Haves { ranges: vec![generated::ChunkRange::default(); 100] });
        message.extend(generated::Control { message: Some(haves) }.encode_to_vec());
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend(message);
        assert_eq!(read(bytes, true).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn many_or_long_statements_and_what_is_no_address_are_refused() {
        let refused = |message: Message| {
            assert!(read(written(message), true).is_err());
        };
        refused(Message::Statements(vec![vec![]; STATEMENTS_IN_MESSAGE_MAX + 1]));
        refused(Message::Statements(vec![vec![0; STATEMENT_SIZE_BYTES_MAX + 1]]));
        let seen = generated::Control { message: Some(Kind::Seen(generated::Seen { ip: vec![1; 5] })) };
        let bytes = seen.encode_length_delimited_to_vec();
        assert!(read(bytes, true).is_err());
    }

    #[test]
    fn an_introduction_is_short() {
        let read = |bindings: &[Vec<u8>]| {
            let mut bytes = Vec::new();
            block_on(write_introduction(&mut bytes, bindings)).unwrap();
            block_on(read_introduction(&mut Cursor::new(bytes)))
        };
        let most = vec![vec![7; STATEMENT_SIZE_BYTES_MAX]; BINDINGS_SHOWN_MAX];
        assert_eq!(read(&most).unwrap(), Some(most));
        assert!(read(&vec![vec![]; BINDINGS_SHOWN_MAX + 1]).is_err());
        assert!(read(&[vec![7; STATEMENT_SIZE_BYTES_MAX + 1]]).is_err());
        assert!(read(&vec![vec![7; STATEMENT_SIZE_BYTES_MAX]; 1000]).is_err());
        assert_eq!(read(&[]).unwrap(), Some(vec![]));
        assert_eq!(block_on(read_introduction(&mut Cursor::new(vec![]))).unwrap(), None);
    }

    #[test]
    fn an_overflowing_range_is_refused() {
        let range = generated::ChunkRange { artifact: 0, first: u32::MAX, count: 2 };
        let control =
            generated::Control { message: Some(Kind::Request(generated::Request { id: 1, ranges: vec![range] })) };
        let bytes = control.encode_length_delimited_to_vec();
        assert!(read(bytes, true).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(bytes.clone(), true);
            let _ = block_on(read_offer(&mut Cursor::new(bytes.clone())));
            let _ = block_on(read_proof(&mut Cursor::new(bytes.clone())));
            let _ = block_on(read_hello(&mut Cursor::new(bytes.clone())));
            let _ = block_on(read_introduction(&mut Cursor::new(bytes)));
        }
    }
}
