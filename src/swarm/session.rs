//! One member's session: four tasks around two streams, and what the driver needs to talk to them.
//!
//! The tasks may wait for the driver; the driver never waits for a task: it drops a peer whose queue is full. A member has few
//! reports with the driver at a time, so that one who talks much is served in its turn and no sooner.

mod bulk;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    io::{ReadHalf, WriteHalf},
};
use libp2p::{PeerId, Stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

pub(super) use self::bulk::Bulk;
use super::Charter;
use super::{
    budget::{self, Budget},
    handshake::Instance,
    introduction::Shown,
    wire::{self, Message, Offer},
};
use crate::{
    base::{
        Error, clock,
        limits::{BULK_STREAMS_MAX, CONTROL_QUEUE_BYTES, CONTROL_QUEUE_MESSAGES},
        task::{CancellationToken, Tasks},
    },
    manifest::ChunkSet,
    store::{Buffers, ReadError, Store, Untrusted},
};

/// Messages of one member that are with the driver at a time.
const MESSAGES_WITH_DRIVER: usize = 2;
/// A member that has nothing to say says so this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// So many bytes beside messages, within so long, are no mere headers of frames and signs of life of the multiplexer.
const CHUNK_SIGN_BYTES: u64 = 512;
/// See [`CHUNK_SIGN_BYTES`].
const CHUNK_SIGN_TIME: Duration = Duration::from_secs(10);
/// Requests for the manifest that a member may have open: it may ask again as soon as it has the end of a reply, which we may not have
/// noticed yet.
const MANIFEST_REQUESTS_MAX: usize = 2;
/// Times that a member is sent the manifest in one session.
const MANIFESTS_MAX: u32 = 3;

/// Bytes of chunks that went to and came from a peer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// What the tasks of a session count for the driver.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Bytes of control messages that came, with what carried them.
    pub(super) heard: AtomicU64,
    /// Bytes of chunks that came in this session.
    pub(super) received: AtomicU64,
    /// Streams whose bytes wait for us: for our disk, or for the driver.
    pub(super) held_up: AtomicUsize,
}

/// How many bytes beside messages had come on a line, and when, when they were last looked at anew.
#[derive(Debug)]
struct ChunkSigns {
    bytes: u64,
    since: Duration,
}

impl ChunkSigns {
    /// Whether they have become so many more since, in so short a time, that there are bytes of chunks among them.
    fn come(&mut self, bytes: u64, now: Duration) -> bool {
        let come = bytes >= self.bytes + CHUNK_SIGN_BYTES;
        if come || bytes < self.bytes || now > self.since + CHUNK_SIGN_TIME {
            *self = ChunkSigns { bytes, since: now };
        }
        come
    }
}

/// What a task tells the driver.
#[derive(Debug)]
pub(super) enum Report {
    /// The member said something; the permit lets it say more.
    Message(u64, Message, OwnedSemaphorePermit),
    /// The member begins a chunk; the reply says what to do with it.
    Offer(u64, Offer, oneshot::Sender<Verdict>),
    /// A chunk has left.
    Sent(u64, u32),
    /// A chunk was read and dropped.
    Skipped(u64, u32),
    /// A chunk came when nothing was to be written any more.
    Spare(u64, u32),
    /// A chunk of ours is not what was signed, or cannot be read; where it was to go to.
    Damaged(Option<u64>, u32, Error),
    /// Our own files cannot be read any more.
    Broken(Error),
    /// The session is over.
    Ended(u64, String),
    /// The member broke the protocol.
    Fault(u64, String),
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

/// How much of what waits to be written there is.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Replies with a manifest, or saying that there is none.
    manifests: AtomicUsize,
}

impl Backlog {
    fn add(&self, message: &Message) {
        self.bytes.fetch_add(budget::weight(message), Ordering::AcqRel);
        if matches!(message, Message::Manifest(_)) {
            self.manifests.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn remove(&self, weight: usize, manifest: bool) {
        self.bytes.fetch_sub(weight, Ordering::AcqRel);
        if manifest {
            self.manifests.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A proven member.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    /// Who opened the connection: decides which of two sessions stays.
    pub(super) dialler: PeerId,
    /// Which run of the peer's node it is.
    pub(super) instance: Instance,
    /// Whose it is, as it has shown.
    pub(super) shown: Shown,
    bulk: Bulk,
    pub(super) signs: Arc<Signs>,
    /// What was counted when it last was heard, and when that was.
    pub(super) last_heard: (u64, Duration),
    chunk_signs: ChunkSigns,
    /// The peer says that it knows the manifest.
    pub(super) ready: bool,
    /// It has sent the manifest.
    pub(super) got_manifest: bool,
    /// When it last said that it has none.
    pub(super) had_no_manifest: Option<Duration>,
    /// Chunks that were sent to it, and that it has not complained of.
    pub(super) sent: Option<ChunkSet>,
    /// Addresses under which it can be reached, as it says and as we believe.
    pub(super) addresses: Vec<String>,
    manifests_given: u32,
    /// How often it was asked for the manifest.
    pub(super) manifest_asks: u32,
    /// Bytes of statements that it has passed on.
    pub(super) statement_bytes: usize,
    /// Pieces of evidence that it has told.
    pub(super) evidence: u32,
    control: mpsc::Sender<Message>,
    backlog: Arc<Backlog>,
    asked: Arc<ManifestRequest>,
    sends: mpsc::Sender<SendJob>,
    reports: mpsc::Sender<Report>,
    bulk_streams: Arc<Semaphore>,
    id: u64,
    writing: Tasks,
    tasks: Tasks,
}

/// Who is on the other side of a stream whose handshake is done.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) dialler: PeerId,
    pub(super) instance: Instance,
    pub(super) shown: Shown,
}

impl Session {
    /// Starts the tasks on a stream whose handshake is done.
    pub(super) fn start(
        id: u64,
        member: Member,
        stream: Stream,
        streams: libp2p_stream::Control,
        bulk: Bulk,
        reports: mpsc::Sender<Report>,
        now: Duration,
    ) -> Self {
        let peer = member.peer;
        let mut tasks = Tasks::new(CancellationToken::new());
        let mut writing = Tasks::new(CancellationToken::new());
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE_MESSAGES);
        let (sends, send_queue) = mpsc::channel(8);
        let (read, write) = stream.split();
        let asked = Arc::new(ManifestRequest::default());
        let signs = Arc::new(Signs::default());
        let backlog = Arc::new(Backlog::default());
        let (tell, request, count) = (reports.clone(), asked.clone(), signs.clone());
        tasks.spawn("session-read", async move {
            let report = match read_messages(id, read, &request, &count, &tell).await {
                Ok(()) => Report::Ended(id, "it closed the session".to_owned()),
                Err(e) => ended(id, &e),
            };
            let _ = tell.send(report).await;
            Ok(())
        });
        let (tell, queued) = (reports.clone(), backlog.clone());
        writing.spawn("session-write", async move {
            if let Err(e) = write_messages(write, control_queue, &queued).await {
                let _ = tell.send(Report::Ended(id, in_words(&e))).await;
            }
            Ok(())
        });
        let (tell, sending) = (reports.clone(), bulk.clone());
        tasks.spawn("bulk-send", async move {
            if let Err(e) = bulk::send_chunks(id, peer, streams, &sending, send_queue, &tell).await {
                let _ = tell.send(Report::Ended(id, in_words(&e))).await;
            }
            Ok(())
        });
        Session {
            peer,
            dialler: member.dialler,
            instance: member.instance,
            shown: member.shown,
            bulk,
            signs,
            last_heard: (0, now),
            chunk_signs: ChunkSigns { bytes: 0, since: now },
            ready: false,
            got_manifest: false,
            had_no_manifest: None,
            sent: None,
            addresses: Vec::new(),
            manifests_given: 0,
            manifest_asks: 0,
            statement_bytes: 0,
            evidence: 0,
            control,
            backlog,
            asked,
            sends,
            reports,
            bulk_streams: Arc::new(Semaphore::new(BULK_STREAMS_MAX)),
            id,
            writing,
            tasks,
        }
    }

    /// Bytes of chunks that went to and came from the peer, in all its sessions.
    pub(super) fn counters(&self) -> &Counters {
        &self.bulk.counters
    }

    /// Queues a message; false when the peer does not keep up.
    pub(super) fn say(&self, message: Message) -> bool {
        if self.backlog.bytes.load(Ordering::Acquire) > CONTROL_QUEUE_BYTES {
            return false;
        }
        self.backlog.add(&message);
        self.control.try_send(message).is_ok()
    }

    /// Answers a request for the manifest.
    ///
    /// # Errors
    /// When the peer asks more than anybody needs to.
    pub(super) fn give_manifest(&mut self, charter: Option<Charter>) -> Result<bool, &'static str> {
        if self.backlog.manifests.load(Ordering::Acquire) >= MANIFEST_REQUESTS_MAX {
            return Err("it asks for the manifest again before it has read the reply");
        }
        self.manifests_given += u32::from(charter.is_some());
        if self.manifests_given > MANIFESTS_MAX {
            return Err("it asks for the manifest again and again");
        }
        Ok(self.say(Message::Manifest(charter)))
    }

    /// Queues the request for its manifest, unless an answer to an earlier one is still to come; false when the peer does not
    /// keep up.
    pub(super) fn ask_for_manifest(&mut self) -> bool {
        self.manifest_asks += 1;
        !self.asked.begin() || self.say(Message::ManifestRequest)
    }

    /// It owes us the manifest.
    pub(super) fn owes_manifest(&self) -> bool {
        self.asked.is_open()
    }

    /// Queues a chunk; false when the queue is full.
    pub(super) fn send(&self, job: SendJob) -> bool {
        self.sends.try_send(job).is_ok()
    }

    /// Reads chunks from a bulk stream that the peer opened; false when it has too many open.
    pub(super) fn receive(&mut self, stream: Stream) -> bool {
        let Ok(place) = self.bulk_streams.clone().try_acquire_owned() else { return false };
        let (id, tell) = (self.id, self.reports.clone());
        let (bulk, signs) = (self.bulk.clone(), self.signs.clone());
        self.tasks.spawn("bulk-receive", async move {
            let _place = place;
            if let Err(e) = bulk::receive_chunks(id, stream, &bulk, &signs, &tell).await {
                let _ = tell.send(ended(id, &e)).await;
            }
            Ok(())
        });
        true
    }

    /// Looks at a chunk of ours that the peer says came wrong: now if few are being looked at, or before it next leaves.
    pub(super) fn look_at(&mut self, store: Arc<Store>, chunk: u32, looks: &Arc<Semaphore>) {
        let tell = self.reports.clone();
        store.doubt(chunk);
        let Ok(look) = looks.clone().try_acquire_owned() else { return };
        self.tasks.spawn("look-at-chunk", async move {
            let read = tokio::task::spawn_blocking(move || {
                let _look = look;
                store.make_sure(chunk)
            });
            let read = read.await;
            let report = match read {
                Ok(Err(ReadError::Chunk(e))) => Report::Damaged(None, chunk, e),
                Ok(Err(ReadError::File(e))) => Report::Broken(e),
                _ => return Ok(()),
            };
            let _ = tell.send(report).await;
            Ok(())
        });
    }

    /// Whether bytes of a chunk may have come since this was last asked, of all that came on its line: what it says does not count, so that
    /// nobody keeps us waiting by talking.
    pub(super) fn chunks_come(&mut self, line: u64, now: Duration) -> bool {
        self.chunk_signs.come(line.saturating_sub(self.signs.heard.load(Ordering::Relaxed)), now)
    }

    /// When a byte last came from it, of all that came on its line.
    pub(super) fn last_heard(&mut self, line: u64, now: Duration) -> Duration {
        let said = self.signs.heard.load(Ordering::Relaxed) + self.signs.received.load(Ordering::Relaxed);
        let total = said + line;
        if total != self.last_heard.0 {
            self.last_heard = (total, now);
        }
        self.last_heard.1
    }

    /// Ends everything but the writing of what is to be said last; that ends when the tasks that are given back are dropped.
    pub(super) fn part(self, words: Vec<Message>) -> Tasks {
        for message in words {
            let _ = self.say(message);
        }
        self.writing
    }
}

/// What the end of a stream tells of its member.
fn ended(id: u64, error: &io::Error) -> Report {
    match error.kind() {
        io::ErrorKind::InvalidData => Report::Fault(id, error.to_string()),
        _ => Report::Ended(id, in_words(error)),
    }
}

/// An error of a stream, without the numbers by which the multiplexer knows connection and stream.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split_once(": ").filter(|(numbers, _)| {
        numbers
            .split_once('/')
            .is_some_and(|(of, n)| [of, n].iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit())))
    });
    words.map_or(text.clone(), |(_, words)| format!("the {words}"))
}

async fn read_messages(
    id: u64,
    mut stream: ReadHalf<Stream>,
    asked: &ManifestRequest,
    signs: &Signs,
    reports: &mpsc::Sender<Report>,
) -> io::Result<()> {
    let mut budget = Budget::new(clock::since_start());
    let turns = Arc::new(Semaphore::new(MESSAGES_WITH_DRIVER));
    while let Some((message, size)) = wire::read_message(&mut stream, || asked.is_open(), &signs.heard).await? {
        if matches!(message, Message::Manifest(_)) && !asked.answered() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it sent a manifest that nobody asked for"));
        }
        let wait = budget.spend(budget::cost(&message, size), clock::since_start());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if message == Message::Nothing {
            continue;
        }
        let Ok(turn) = turns.clone().acquire_owned().await else { break };
        if reports.send(Report::Message(id, message, turn)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn write_messages(
    mut stream: WriteHalf<Stream>,
    mut queue: mpsc::Receiver<Message>,
    backlog: &Backlog,
) -> io::Result<()> {
    loop {
        let message = match timeout(SIGN_OF_LIFE, queue.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(_) => {
                wire::write_message(&mut stream, Message::Nothing).await?;
                continue;
            }
        };
        let (weight, manifest) = (budget::weight(&message), matches!(message, Message::Manifest(_)));
        let last = matches!(message, Message::Goodbye { .. });
        wire::write_message(&mut stream, message).await?;
        backlog.remove(weight, manifest);
        if last {
            break;
        }
    }
    stream.close().await
}

/// Says why a session cannot begin, in the words of an operator.
pub(super) fn open_failure(error: &libp2p_stream::OpenStreamError) -> String {
    match error {
        libp2p_stream::OpenStreamError::UnsupportedProtocol(_) => {
            "it does not speak version 1 of regenesis's protocol: it runs another version of regenesis, or is no \
             regenesis at all"
                .to_owned()
        }
        libp2p_stream::OpenStreamError::Io(e) => {
            tracing::debug!("no session: {e}");
            "it closed the connection before a session could begin: it may be full, or be ending".to_owned()
        }
        other => format!("no session could be opened: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::{CHUNK_SIGN_BYTES, CHUNK_SIGN_TIME, ChunkSigns, ManifestRequest, in_words};

    #[test]
    fn an_operator_is_not_told_the_numbers_of_streams() {
        let words = |text: &str| in_words(&io::Error::new(io::ErrorKind::WriteZero, text.to_owned()));
        assert_eq!(words("00000001/2: connection is closed"), "the connection is closed");
        assert_eq!(words("it sent 1/2: no number"), "it sent 1/2: no number");
        assert_eq!(words("deadline has elapsed"), "deadline has elapsed");
    }

    #[test]
    fn signs_of_life_are_no_chunk_however_many_there_are() {
        let mut signs = ChunkSigns { bytes: 0, since: Duration::ZERO };
        let (mut bytes, mut now) = (0, Duration::ZERO);
        // A ping and a header of a frame now and then, for an hour.
        while now < Duration::from_secs(3600) {
            (bytes, now) = (bytes + 60, now + Duration::from_secs(5));
            assert!(!signs.come(bytes, now), "{now:?}");
        }
        // 100 bytes a second are a slow line.
        let ticks = (1..=200).filter(|tick| signs.come(bytes + 10 * tick, now + Duration::from_millis(100 * tick)));
        assert_eq!(ticks.count(), 3);
        // A message was counted as more than it took.
        assert!(!signs.come(0, now) && signs.come(CHUNK_SIGN_BYTES, now + CHUNK_SIGN_TIME));
    }

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
