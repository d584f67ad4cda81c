//! One member's session: four tasks around two streams, and what the driver needs to talk to them.
//!
//! The tasks may wait for the driver; the driver never waits for a task: it drops a peer whose queue is full.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWriteExt,
    io::{ReadHalf, WriteHalf},
};
use libp2p::{PeerId, Stream};
use tokio::sync::{mpsc, oneshot};

use super::wire::{self, Message, Offer};
use crate::{
    base::{
        Error,
        limits::CONTROL_QUEUE_MESSAGES,
        task::{CancellationToken, Tasks},
    },
    store::{Buffers, Store, Untrusted},
};

/// Bytes read or written between two looks at the counters.
const SLICE_SIZE_BYTES: usize = 256 << 10;

/// Bytes of chunks that went to and came from a peer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// What a task tells the driver.
#[derive(Debug)]
pub(super) enum Report {
    /// The member said something.
    Message(u64, Message),
    /// The member begins a chunk; the reply says what to do with it.
    Offer(u64, Offer, oneshot::Sender<Verdict>),
    /// A chunk has left.
    Sent(u64, u32),
    /// A chunk was read and dropped.
    Skipped(u64, u32),
    /// Our own files cannot be read any more.
    Broken(Error),
    /// The session is over.
    Ended(u64, String),
}

/// What to do with an offered chunk.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Read it and hand it to the writer.
    Take(u32, mpsc::Sender<Untrusted>, Arc<Buffers>),
    /// Read and drop it.
    Skip(u32),
    /// It was never asked for.
    Break,
}

/// A chunk to send.
#[derive(Debug)]
pub(super) struct SendJob {
    pub(super) chunk: u32,
    pub(super) offer: Offer,
    pub(super) store: Arc<Store>,
}

/// Whether a member owes us an answer to the request for its manifest: one at a time, and nothing that is not an answer.
#[derive(Debug, Default)]
struct ManifestRequest(AtomicBool);

impl ManifestRequest {
    /// True where the request is to be sent: the member owes no answer yet.
    fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// True where what came is the answer.
    fn answered(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A proven member.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    /// Who opened the connection: decides which of two sessions stays.
    pub(super) dialler: PeerId,
    pub(super) counters: Arc<Counters>,
    /// Bytes of statements that it has passed on.
    pub(super) statement_bytes: usize,
    control: mpsc::Sender<Message>,
    asked: Arc<ManifestRequest>,
    sends: mpsc::Sender<SendJob>,
    reports: mpsc::Sender<Report>,
    id: u64,
    tasks: Tasks,
}

impl Session {
    /// Starts the tasks on a stream whose handshake is done.
    pub(super) fn start(
        id: u64,
        peer: PeerId,
        dialler: PeerId,
        stream: Stream,
        bulk: libp2p_stream::Control,
        counters: Arc<Counters>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let mut tasks = Tasks::new(CancellationToken::new());
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE_MESSAGES);
        let (sends, send_queue) = mpsc::channel(8);
        let (read, write) = stream.split();
        let asked = Arc::new(ManifestRequest::default());
        let (tell, request) = (reports.clone(), asked.clone());
        tasks.spawn("session-read", async move {
            let why = match read_messages(id, read, &request, &tell).await {
                Ok(()) => "it closed the session".to_owned(),
                Err(e) => e.to_string(),
            };
            let _ = tell.send(Report::Ended(id, why)).await;
            Ok(())
        });
        let tell = reports.clone();
        tasks.spawn("session-write", async move {
            if let Err(e) = write_messages(write, control_queue).await {
                let _ = tell.send(Report::Ended(id, e.to_string())).await;
            }
            Ok(())
        });
        let (tell, count) = (reports.clone(), counters.clone());
        tasks.spawn("bulk-send", async move {
            if let Err(e) = send_chunks(id, peer, bulk, send_queue, &count, &tell).await {
                let _ = tell.send(Report::Ended(id, e.to_string())).await;
            }
            Ok(())
        });
        Session { peer, dialler, counters, statement_bytes: 0, control, asked, sends, reports, id, tasks }
    }

    /// Queues a message; false when the peer does not keep up.
    pub(super) fn say(&self, message: Message) -> bool {
        self.control.try_send(message).is_ok()
    }

    /// Queues the request for its manifest, unless an answer to an earlier one is still to come; false when the peer does not
    /// keep up.
    pub(super) fn ask_for_manifest(&self) -> bool {
        !self.asked.begin() || self.say(Message::ManifestRequest)
    }

    /// Queues a chunk; false when the queue is full.
    pub(super) fn send(&self, job: SendJob) -> bool {
        self.sends.try_send(job).is_ok()
    }

    /// Reads chunks from a bulk stream that the peer opened.
    pub(super) fn receive(&mut self, stream: Stream) {
        let (id, tell, count) = (self.id, self.reports.clone(), self.counters.clone());
        self.tasks.spawn("bulk-receive", async move {
            if let Err(e) = receive_chunks(id, stream, &count, &tell).await {
                let _ = tell.send(Report::Ended(id, e.to_string())).await;
            }
            Ok(())
        });
    }
}

async fn read_messages(
    id: u64,
    mut stream: ReadHalf<Stream>,
    asked: &ManifestRequest,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    while let Some(message) = wire::read_message(&mut stream, || asked.is_open()).await? {
        if matches!(message, Message::Manifest(_)) && !asked.answered() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it sent a manifest that nobody asked for"));
        }
        if reports.send(Report::Message(id, message)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn write_messages(mut stream: WriteHalf<Stream>, mut queue: mpsc::Receiver<Message>) -> io::Result<()> {
    while let Some(message) = queue.recv().await {
        let last = matches!(message, Message::Goodbye(_));
        wire::write_message(&mut stream, message).await?;
        if last {
            break;
        }
    }
    stream.close().await
}

async fn send_chunks(
    id: u64,
    peer: PeerId,
    mut bulk: libp2p_stream::Control,
    mut jobs: mpsc::Receiver<SendJob>,
    counters: &Counters,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    let mut stream: Option<Stream> = None;
    let mut buffer = Vec::new();
    while let Some(SendJob { chunk, offer, store }) = jobs.recv().await {
        let mut data = std::mem::take(&mut buffer);
        let read = tokio::task::spawn_blocking(move || store.read_into(chunk, &mut data).map(|()| data));
        let data = match read.await.map_err(io::Error::other)? {
            Ok(data) => data,
            Err(e) => {
                let _ = reports.send(Report::Broken(e)).await;
                return Ok(());
            }
        };
        let stream = match &mut stream {
            Some(open) => open,
            none => none.insert(bulk.open_stream(peer, super::BULK_PROTOCOL).await.map_err(io::Error::other)?),
        };
        wire::write_offer(stream, offer).await?;
        for slice in data.chunks(SLICE_SIZE_BYTES) {
            stream.write_all(slice).await?;
            counters.sent.fetch_add(slice.len() as u64, Ordering::Relaxed);
        }
        stream.flush().await?;
        buffer = data;
        if reports.send(Report::Sent(id, chunk)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn receive_chunks(
    id: u64,
    mut stream: Stream,
    counters: &Counters,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    while let Some(offer) = wire::read_offer(&mut stream).await? {
        let (reply, verdict) = oneshot::channel();
        if reports.send(Report::Offer(id, offer, reply)).await.is_err() {
            return Ok(());
        }
        // The driver has checked the length against the manifest before anything is allocated for it.
        match verdict.await {
            Ok(Verdict::Take(chunk, writer, buffers)) => {
                let mut data = buffers.take(offer.size_bytes as usize);
                read_counted(&mut stream, &mut data, counters).await?;
                if writer.send(Untrusted { source: id, chunk, data }).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Verdict::Skip(chunk)) => {
                let mut slice = vec![0; SLICE_SIZE_BYTES.min(offer.size_bytes as usize)];
                let mut left = offer.size_bytes as usize;
                while left > 0 {
                    let n = left.min(slice.len());
                    read_counted(&mut stream, &mut slice[..n], counters).await?;
                    left -= n;
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

async fn read_counted(stream: &mut (impl AsyncRead + Unpin), data: &mut [u8], counters: &Counters) -> io::Result<()> {
    for slice in data.chunks_mut(SLICE_SIZE_BYTES) {
        stream.read_exact(slice).await?;
        counters.received.fetch_add(slice.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Says why a session cannot begin, in the words of an operator.
pub(super) fn open_failure(error: &libp2p_stream::OpenStreamError) -> String {
    match error {
        libp2p_stream::OpenStreamError::UnsupportedProtocol(_) => {
            "it does not speak version 1 of regenesis's protocol: it runs another version of regenesis, or is no \
             regenesis at all"
                .to_owned()
        }
        other => format!("no session could be opened: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::ManifestRequest;

    #[test]
    fn a_member_owes_one_answer_however_often_it_is_asked() {
        let request = ManifestRequest::default();
        assert!(!request.answered(), "nobody asked");
        assert!(request.begin());
        // On a slow line it is asked again before it has answered: a second request would make its second answer a fault.
        assert!(!request.begin() && request.is_open());
        assert!(request.answered());
        assert!(!request.answered() && !request.is_open());
        assert!(request.begin());
    }
}
