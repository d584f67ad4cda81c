//! Messages as bytes and back. The only file that names the generated wire types; every length is checked before memory
//! is taken for it, every field before it is believed.

use std::{io, net::IpAddr, ops::Range, sync::Arc};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message as _;

use crate::base::limits::{
    CONTROL_MESSAGE_SIZE_BYTES_MAX, MANIFEST_SIZE_BYTES_MAX, PEER_EXCHANGE_ADDRESSES_MAX, STATEMENT_SIZE_BYTES_MAX,
    STATEMENTS_IN_MESSAGE_MAX,
};

mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/regenesis.wire.v1.rs"));
}

use generated::control::Message as Kind;

/// Chunks of one artifact: its place in the manifest and the indexes.
pub(super) type ArtifactRange = (u32, Range<u32>);

/// What members say on the session stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    ManifestRequest,
    /// `None`: has none yet. Shared: however often a member asks, its replies wait as one.
    Manifest(Option<Arc<Vec<u8>>>),
    Haves(Vec<ArtifactRange>),
    Credit(u32),
    Request(Vec<ArtifactRange>),
    Cancel(Vec<ArtifactRange>),
    Refusal(Vec<ArtifactRange>),
    Peers(Vec<String>),
    /// Of validators, as signed.
    Statements(Vec<Vec<u8>>),
    /// Where the sender sees us.
    Seen(IpAddr),
    Goodbye(String),
    /// Said by a newer minor version: understood by nobody here and harmless.
    Unknown,
}

/// A chunk's announcement on a bulk stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) artifact: u32,
    pub(super) index: u32,
    pub(super) size_bytes: u32,
    pub(super) credited: bool,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Reads one length-prefixed message, if it is at most as long as `limit` says for its length; `None` at the end of the stream.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    limit: impl FnOnce(usize) -> usize,
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
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &impl prost::Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await
}

fn array32(bytes: &[u8]) -> io::Result<[u8; 32]> {
    bytes.try_into().map_err(|_| invalid("a handshake value has the wrong length"))
}

/// Sends our nonce.
pub(super) async fn write_hello(stream: &mut (impl AsyncWrite + Unpin), nonce: &[u8; 32]) -> io::Result<()> {
    write_frame(stream, &generated::Hello { nonce: nonce.to_vec() }).await?;
    stream.flush().await
}

/// Reads the other side's nonce.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<[u8; 32]>> {
    let Some(frame) = read_frame(stream, |_| 64).await? else { return Ok(None) };
    let hello = generated::Hello::decode(&frame[..]).map_err(|_| invalid("the first message is no greeting"))?;
    array32(&hello.nonce).map(Some)
}

/// Sends our proof: membership, manifest.
pub(super) async fn write_proof(stream: &mut (impl AsyncWrite + Unpin), proof: &[[u8; 32]; 2]) -> io::Result<()> {
    let message = generated::Proof { membership: proof[0].to_vec(), manifest: proof[1].to_vec() };
    write_frame(stream, &message).await?;
    stream.flush().await
}

/// Reads the other side's proof.
pub(super) async fn read_proof(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<[[u8; 32]; 2]>> {
    let Some(frame) = read_frame(stream, |_| 128).await? else { return Ok(None) };
    let proof = generated::Proof::decode(&frame[..]).map_err(|_| invalid("the second message is no proof"))?;
    Ok(Some([array32(&proof.membership)?, array32(&proof.manifest)?]))
}

fn to_ranges(ranges: Vec<ArtifactRange>) -> Vec<generated::ChunkRange> {
    ranges
        .into_iter()
        .map(|(artifact, r)| generated::ChunkRange { artifact, first: r.start, count: r.end - r.start })
        .collect()
}

fn from_ranges(ranges: Vec<generated::ChunkRange>) -> io::Result<Vec<ArtifactRange>> {
    ranges
        .into_iter()
        .map(|r| {
            let end = r.first.checked_add(r.count).ok_or_else(|| invalid("a chunk range overflows"))?;
            Ok((r.artifact, r.first..end))
        })
        .collect()
}

/// Sends a control message.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: Message) -> io::Result<()> {
    let kind = match message {
        Message::ManifestRequest => Kind::ManifestRequest(generated::ManifestRequest {}),
        Message::Manifest(bytes) => Kind::ManifestReply(generated::ManifestReply {
            signed_manifest: bytes.map_or_else(Vec::new, Arc::unwrap_or_clone),
        }),
        Message::Haves(r) => Kind::Haves(generated::Haves { ranges: to_ranges(r) }),
        Message::Credit(chunks) => Kind::Credit(generated::Credit { chunks }),
        Message::Request(r) => Kind::Request(generated::Request { ranges: to_ranges(r) }),
        Message::Cancel(r) => Kind::Cancel(generated::Cancel { ranges: to_ranges(r) }),
        Message::Refusal(r) => Kind::Refusal(generated::Refusal { ranges: to_ranges(r), reason: String::new() }),
        Message::Peers(addresses) => Kind::Peers(generated::Peers { addresses }),
        Message::Statements(signed_statements) => Kind::Statements(generated::Statements { signed_statements }),
        Message::Seen(ip) => Kind::Seen(generated::Seen {
            ip: match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            },
        }),
        Message::Goodbye(reason) => Kind::Goodbye(generated::Goodbye { reason }),
        Message::Unknown => return Ok(()),
    };
    write_frame(stream, &generated::Control { message: Some(kind) }).await?;
    stream.flush().await
}

/// Reads a control message; `None` when the other side has closed the stream. A manifest comes only where `wants_manifest`.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    wants_manifest: impl FnOnce() -> bool,
) -> io::Result<Option<Message>> {
    let limit = |size| {
        if size > CONTROL_MESSAGE_SIZE_BYTES_MAX && wants_manifest() {
            MANIFEST_SIZE_BYTES_MAX + 64
        } else {
            CONTROL_MESSAGE_SIZE_BYTES_MAX
        }
    };
    let Some(frame) = read_frame(stream, limit).await? else { return Ok(None) };
    if frame.len() > CONTROL_MESSAGE_SIZE_BYTES_MAX {
        // Not decoded as what any other message might be: a list of as many bytes takes far more memory.
        let manifest = inside(&frame, 2).and_then(|reply| inside(reply, 1));
        let manifest = manifest.ok_or_else(|| invalid("a message is longer than the protocol allows"))?;
        return Ok(Some(Message::Manifest(Some(Arc::new(manifest.to_vec())))));
    }
    let control = generated::Control::decode(&frame[..]).map_err(|_| invalid("a message is not readable"))?;
    let message = match control.message {
        Some(Kind::ManifestReply(m)) => {
            return Ok(Some(Message::Manifest(Some(m.signed_manifest).filter(|b| !b.is_empty()).map(Arc::new))));
        }
        Some(Kind::ManifestRequest(_)) => Message::ManifestRequest,
        Some(Kind::Haves(m)) => Message::Haves(from_ranges(m.ranges)?),
        Some(Kind::Credit(m)) => Message::Credit(m.chunks),
        Some(Kind::Request(m)) => Message::Request(from_ranges(m.ranges)?),
        Some(Kind::Cancel(m)) => Message::Cancel(from_ranges(m.ranges)?),
        Some(Kind::Refusal(m)) => Message::Refusal(from_ranges(m.ranges)?),
        Some(Kind::Peers(m)) if m.addresses.len() > PEER_EXCHANGE_ADDRESSES_MAX => {
            return Err(invalid("a peer names more addresses than the protocol allows"));
        }
        Some(Kind::Peers(m)) => Message::Peers(m.addresses),
        Some(Kind::Goodbye(m)) => Message::Goodbye(m.reason),
        Some(Kind::Statements(m)) => {
            let all = &m.signed_statements;
            if all.len() > STATEMENTS_IN_MESSAGE_MAX || all.iter().any(|s| s.len() > STATEMENT_SIZE_BYTES_MAX) {
                return Err(invalid("a peer passes on more statements than the protocol allows"));
            }
            Message::Statements(m.signed_statements)
        }
        Some(Kind::Seen(m)) => match (<[u8; 4]>::try_from(&m.ip[..]), <[u8; 16]>::try_from(&m.ip[..])) {
            (Ok(ip), _) => Message::Seen(IpAddr::from(ip)),
            (_, Ok(ip)) => Message::Seen(IpAddr::from(ip).to_canonical()),
            _ => return Err(invalid("a peer sees us at what is no address")),
        },
        Some(Kind::Rate(_)) | None => Message::Unknown,
    };
    Ok(Some(message))
}

/// What a message holds that is one field, of this number and with a length, and nothing else.
fn inside(mut message: &[u8], field: u32) -> Option<&[u8]> {
    let key = prost::encoding::decode_key(&mut message).ok()?;
    let length = prost::encoding::decode_varint(&mut message).ok()?;
    (key == (field, prost::encoding::WireType::LengthDelimited) && length == message.len() as u64).then_some(message)
}

/// Announces a chunk; its bytes follow.
pub(super) async fn write_offer(stream: &mut (impl AsyncWrite + Unpin), offer: Offer) -> io::Result<()> {
    let Offer { artifact, index, size_bytes, credited } = offer;
    write_frame(stream, &generated::Offer { artifact, index, size_bytes, credited }).await
}

/// Reads a chunk's announcement; `None` when the other side has closed the stream.
pub(super) async fn read_offer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Offer>> {
    let Some(frame) = read_frame(stream, |_| 64).await? else { return Ok(None) };
    let generated::Offer { artifact, index, size_bytes, credited } =
        generated::Offer::decode(&frame[..]).map_err(|_| invalid("a chunk's announcement is not readable"))?;
    Ok(Some(Offer { artifact, index, size_bytes, credited }))
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn round_trip(message: Message) -> Message {
        let mut bytes = Vec::new();
        block_on(write_message(&mut bytes, message)).unwrap();
        block_on(read_message(&mut Cursor::new(bytes), || true)).unwrap().unwrap()
    }

    #[test]
    fn messages_survive_the_wire() {
        for message in [
            Message::ManifestRequest,
            Message::Manifest(None),
            Message::Manifest(Some(Arc::new(vec![7; 300_000]))),
            Message::Haves(vec![(0, 0..1), (1, 5..2000)]),
            Message::Credit(64),
            Message::Request(vec![(1, 3..4)]),
            Message::Cancel(vec![(1, 3..4)]),
            Message::Refusal(vec![(1, 3..9)]),
            Message::Peers(vec!["/ip4/127.0.0.1/tcp/1".into()]),
            Message::Goodbye("done".into()),
            Message::Statements(vec![vec![1; 200]; 100]),
            Message::Seen("10.0.0.5".parse().unwrap()),
            Message::Seen("2001:db8::5".parse().unwrap()),
        ] {
            assert_eq!(round_trip(message.clone()), message);
        }
    }

    #[test]
    fn a_long_message_is_refused_before_it_is_read() {
        // A length of 2^34 and nothing behind it: an error at once, not memory for it.
        let mut stream = Cursor::new(vec![0x80, 0x80, 0x80, 0x80, 0x40]);
        let e = block_on(read_message(&mut stream, || true)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData);
        let haves = vec![(1, 3..4); 100_000];
        let mut bytes = Vec::new();
        block_on(write_message(&mut bytes, Message::Haves(haves))).unwrap();
        assert!(block_on(read_message(&mut Cursor::new(bytes), || true)).is_err());
    }

    #[test]
    fn a_manifest_that_nobody_asked_for_is_refused_before_it_is_read() {
        let mut bytes = Vec::new();
        block_on(write_message(&mut bytes, Message::Manifest(Some(Arc::new(vec![7; 300_000]))))).unwrap();
        bytes.truncate(10);
        let e = block_on(read_message(&mut Cursor::new(bytes), || false)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_list_behind_a_manifest_is_refused() {
        let reply = Kind::ManifestReply(generated::ManifestReply { signed_manifest: vec![7; 300_000] });
        let mut message = generated::Control { message: Some(reply) }.encode_to_vec();
        let haves = Kind::Haves(generated::Haves { ranges: vec![generated::ChunkRange::default(); 100] });
        message.extend(generated::Control { message: Some(haves) }.encode_to_vec());
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend(message);
        let e = block_on(read_message(&mut Cursor::new(bytes), || true)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn many_or_long_statements_and_what_is_no_address_are_refused() {
        let refused = |message: Message| {
            let mut bytes = Vec::new();
            block_on(write_message(&mut bytes, message)).unwrap();
            assert!(block_on(read_message(&mut Cursor::new(bytes), || true)).is_err());
        };
        refused(Message::Statements(vec![vec![]; STATEMENTS_IN_MESSAGE_MAX + 1]));
        refused(Message::Statements(vec![vec![0; STATEMENT_SIZE_BYTES_MAX + 1]]));
        let seen = generated::Control { message: Some(Kind::Seen(generated::Seen { ip: vec![1; 5] })) };
        let bytes = seen.encode_length_delimited_to_vec();
        assert!(block_on(read_message(&mut Cursor::new(bytes), || true)).is_err());
    }

    #[test]
    fn an_overflowing_range_is_refused() {
        let range = generated::ChunkRange { artifact: 0, first: u32::MAX, count: 2 };
        let control = generated::Control { message: Some(Kind::Request(generated::Request { ranges: vec![range] })) };
        let bytes = control.encode_length_delimited_to_vec();
        assert!(block_on(read_message(&mut Cursor::new(bytes), || true)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = block_on(read_message(&mut Cursor::new(bytes.clone()), || true));
            let _ = block_on(read_offer(&mut Cursor::new(bytes.clone())));
            let _ = block_on(read_proof(&mut Cursor::new(bytes.clone())));
            let _ = block_on(read_hello(&mut Cursor::new(bytes)));
        }
    }
}
