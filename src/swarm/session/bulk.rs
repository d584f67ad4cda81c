//! The streams that chunks go through, one at a time on each, no faster than this node's operator allows.
//!
//! Nothing here holds up a control message: those have a stream of their own and pass no throttle. A chunk that is not to be read yet
//! stays in the sockets, and its sender waits, just as for a disk that is slow.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use libp2p_stream::OpenStreamError;
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{BULK_PROTOCOL, lines::Lines, throttle::Throttles, wire},
    Counters, Report, SendJob, Signs, Verdict,
};
use crate::store::{Arrival, PIECE_BYTES, ReadError, Scratch, Untrusted};

/// What the chunks of a member go through.
#[derive(Debug, Clone)]
pub(in crate::swarm) struct Bulk {
    pub(in crate::swarm) counters: Arc<Counters>,
    /// This node's, of all members together.
    pub(in crate::swarm) throttles: Arc<Throttles>,
    /// How much their lines take at once.
    pub(in crate::swarm) lines: Lines,
}

/// Opens a stream, again and again where it was not agreed on in the ten seconds that libp2p waits: a line that is full and loses much is
/// slow for longer. Whether it is dead is judged by the bytes that come, and then the session ends, and this with it.
async fn while_slow<T, F>(mut open: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = Result<T, OpenStreamError>>,
{
    loop {
        match open().await {
            Ok(stream) => return Ok(stream),
            Err(OpenStreamError::Io(e)) if e.kind() == io::ErrorKind::TimedOut => {}
            Err(e) => return Err(io::Error::other(e)),
        }
    }
}

pub(super) async fn send_chunks(
    id: u64,
    peer: PeerId,
    control: libp2p_stream::Control,
    bulk: &Bulk,
    mut jobs: mpsc::Receiver<SendJob>,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    let mut stream: Option<Stream> = None;
    let mut kept = (Vec::new(), Scratch::default());
    let upload = &bulk.throttles.upload;
    while let Some(SendJob { chunk, offer, store }) = jobs.recv().await {
        let (len, mut at) = (offer.size_bytes as usize, 0);
        loop {
            let (mut data, mut scratch) = std::mem::take(&mut kept);
            let store = store.clone();
            let read = tokio::task::spawn_blocking(move || {
                data.resize(PIECE_BYTES.min(len - at), 0);
                store.read_part(chunk, at, &mut data, &mut scratch).map(|()| (data, scratch))
            });
            kept = match read.await.map_err(io::Error::other)? {
                Ok(read) => read,
                Err(ReadError::Chunk(e)) => {
                    let _ = reports.send(Report::Damaged(Some(id), chunk, e)).await;
                    match at {
                        // Others of the same file may be sound.
                        0 => break,
                        // A part of it has left, and was right: the rest would be a lie.
                        _ => return Err(io::Error::other("a chunk of ours was damaged while it was sent")),
                    }
                }
                Err(ReadError::File(e)) => {
                    let _ = reports.send(Report::Broken(e)).await;
                    return Ok(());
                }
            };
            let stream = match &mut stream {
                Some(open) => open,
                none => {
                    let open = || {
                        let mut control = control.clone();
                        async move { control.open_stream(peer, BULK_PROTOCOL).await }
                    };
                    none.insert(while_slow(open).await?)
                }
            };
            if at == 0 {
                wire::write_offer(stream, offer).await?;
            }
            let slice_size = upload.slice_size_bytes().min(bulk.lines.frame_bytes(&peer).unwrap_or(usize::MAX));
            for slice in kept.0.chunks(slice_size) {
                upload.pass(slice.len()).await;
                stream.write_all(slice).await?;
                if upload.is_limited() {
                    // What waits in a buffer until the next slice would come in one piece, late.
                    stream.flush().await?;
                }
                bulk.counters.sent.fetch_add(slice.len() as u64, Ordering::Relaxed);
            }
            at += kept.0.len();
            if at == len {
                stream.flush().await?;
                if reports.send(Report::Sent(id, chunk)).await.is_err() {
                    return Ok(());
                }
                break;
            }
        }
    }
    Ok(())
}

pub(super) async fn receive_chunks(
    id: u64,
    mut stream: Stream,
    bulk: &Bulk,
    signs: &Signs,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    let slice_size = bulk.throttles.download.slice_size_bytes();
    while let Some(offer) = wire::read_offer(&mut stream).await? {
        let (reply, verdict) = oneshot::channel();
        let verdict = {
            let _held = HeldUp::begin(signs);
            if reports.send(Report::Offer(id, offer, reply)).await.is_err() {
                return Ok(());
            }
            verdict.await
        };
        // The driver has checked the length against the manifest before anything is allocated for it.
        match verdict {
            Ok(Verdict::Take(chunk, writer, buffers)) => {
                let arrival = Arrival::new(id, chunk);
                let (mut left, mut is_taken) = (offer.size_bytes as usize, true);
                loop {
                    let mut data = buffers.take(left.min(PIECE_BYTES));
                    fill(&mut stream, &mut data, left.min(PIECE_BYTES), bulk, signs).await?;
                    left -= data.len();
                    let is_last = left == 0;
                    if is_taken {
                        let _held = HeldUp::begin(signs);
                        is_taken = writer.send(Untrusted { arrival: arrival.clone(), data, is_last }).await.is_ok();
                    }
                    if is_last {
                        break;
                    }
                }
                // Everything may have come from elsewhere meanwhile. What comes after it on this stream is no less welcome for that.
                if !is_taken && reports.send(Report::Spare(id, chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Verdict::Skip(chunk)) => {
                let mut slice = vec![0; slice_size.min(offer.size_bytes as usize)];
                let mut left = offer.size_bytes as usize;
                while left > 0 {
                    let n = left.min(slice.len());
                    left -= read_some(&mut stream, &mut slice[..n], bulk, signs).await?;
                }
                if reports.send(Report::Skipped(id, chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Verdict::Break) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Reads so many bytes. The room for them is made as they come: who announces a chunk and sends none of it costs nothing.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    data: &mut Vec<u8>,
    len: usize,
    bulk: &Bulk,
    signs: &Signs,
) -> io::Result<()> {
    let slice_size = bulk.throttles.download.slice_size_bytes();
    let mut done = 0;
    while done < len {
        if done == data.len() {
            data.resize(len.min(done + slice_size), 0);
        }
        done += read_some(stream, &mut data[done..], bulk, signs).await?;
    }
    Ok(())
}

/// Reads what is there: on a slow line much less than a chunk, and each byte shows that it is not dead. Nothing more is read before
/// this node may read on, which is no fault of the member's.
async fn read_some(
    stream: &mut (impl AsyncRead + Unpin),
    data: &mut [u8],
    bulk: &Bulk,
    signs: &Signs,
) -> io::Result<usize> {
    let n = stream.read(data).await?;
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bulk.counters.received.fetch_add(n as u64, Ordering::Relaxed);
    signs.received.fetch_add(n as u64, Ordering::Relaxed);
    if bulk.throttles.download.is_limited() {
        let _held = HeldUp::begin(signs);
        bulk.throttles.download.pass(n).await;
    }
    Ok(n)
}

/// A stream that waits for us, as long as it lives.
struct HeldUp<'a>(&'a Signs);

impl<'a> HeldUp<'a> {
    fn begin(signs: &'a Signs) -> Self {
        signs.held_up.fetch_add(1, Ordering::Relaxed);
        HeldUp(signs)
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        self.0.held_up.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of openings that end like that, one after the other, and how many there were.
    async fn opened(mut ends: Vec<Result<(), io::ErrorKind>>) -> (io::Result<()>, usize) {
        let mut tries = 0;
        ends.reverse();
        let result = while_slow(|| {
            tries += 1;
            let end = ends.pop().unwrap();
            std::future::ready(end.map_err(|kind| OpenStreamError::Io(kind.into())))
        });
        (result.await, tries)
    }

    #[tokio::test]
    async fn a_stream_that_a_slow_line_has_no_time_for_is_opened_again_and_one_that_is_refused_is_not() {
        const SLOW: Result<(), io::ErrorKind> = Err(io::ErrorKind::TimedOut);
        let (result, tries) = opened([vec![SLOW; 20], vec![Ok(())]].concat()).await;
        assert!(result.is_ok() && tries == 21);
        let (result, tries) = opened(vec![SLOW, Err(io::ErrorKind::ConnectionReset), Ok(())]).await;
        assert!(result.is_err() && tries == 2);
    }
}
