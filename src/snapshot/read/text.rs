//! The text inside a snapshot file, in pieces and in order, for everyone who reads one. In goes any reader, out come
//! pieces.
//!
//! Members of our own form (`gzip.rs`) say how long they are, so they are read whole and inflated on several threads.
//! From the first that is not what it says, or is a stranger's, the rest of the file is read as a stream instead
//! (`stream.rs`): there stands what zcat and kwild make of it, text or error. Nothing that a file says is believed
//! before it is proved, and memory is bounded by the constants here.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Cursor, Read},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

#[cfg(feature = "isal")]
use super::inflate::by_isal;
use super::{
    inflate::Inflater,
    piece::{PiecePool, TextPiece},
    stream::{MemberStream, Place},
};
use crate::snapshot::gzip::{BLOCK_BYTES, GZIP_MAGIC, HEADER_BYTES, TRAILER_BYTES, member_length};

/// Bytes that are read at once, and bytes of a piece that a stream gives out.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// Bytes of text of a member that may be inflated in memory: as much as members of ours hold.
const MEMBER_TEXT_BYTES_MAX: usize = BLOCK_BYTES;
/// Bytes that such a member itself may take, with some room for text that does not compress.
const MEMBER_BYTES_MAX: usize = MEMBER_TEXT_BYTES_MAX + (64 << 10);
/// Bytes, of the file or of the text, up to which small members are inflated together as one batch.
const BATCH_BYTES: usize = 512 << 10;
/// Inflating threads at most: two keep up with one that hashes.
const THREADS_MAX: usize = 4;
/// Batches that may be on their way beyond one for each inflating thread.
const BATCHES_WAITING: usize = 1;

/// Reads a snapshot file, gzip or plain, piece by piece.
pub(in crate::snapshot) struct TextReader<R> {
    state: State<R>,
    gzip: bool,
}

enum State<R> {
    Members(Members<R>),
    Stream(Box<Stream<R>>),
    Plain(Source<R>),
    Ended,
}

/// The file from its first byte on: the bytes that were looked at, then the rest.
type Source<R> = io::Chain<Cursor<Vec<u8>>, BufReader<R>>;
/// The file from a member on: the bytes that were read ahead, then the rest.
type Stream<R> = MemberStream<io::Chain<Cursor<Vec<u8>>, Source<R>>>;

impl<R: Read> TextReader<R> {
    /// A reader that stands at the file's first byte.
    pub(in crate::snapshot) fn new(reader: R) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
        let mut beginning = Vec::new();
        (&mut reader).take(GZIP_MAGIC.len() as u64).read_to_end(&mut beginning)?;
        let gzip = beginning == GZIP_MAGIC;
        let reader = Cursor::new(beginning).chain(reader);
        let state = if gzip { State::Members(Members::new(reader)) } else { State::Plain(reader) };
        Ok(TextReader { state, gzip })
    }

    /// Whether the file begins as a gzip file does; what does not is its own text.
    pub(super) fn is_gzip(&self) -> bool {
        self.gzip
    }

    /// The next piece of text, which may be empty; `None` at the end,
    /// to which everything before it has then been proved to lead.
    pub(in crate::snapshot) fn next_piece(&mut self) -> io::Result<Option<TextPiece>> {
        let ended = match &mut self.state {
            State::Ended => return Ok(None),
            State::Plain(reader) => return Ok(piece_of(reader)?.map(TextPiece::from)),
            State::Stream(stream) => return Ok(stream.next_piece()?.map(TextPiece::from)),
            State::Members(members) => {
                members.read_ahead();
                match members.inflated() {
                    Some((text, None)) => return Ok(Some(text)),
                    Some((text, Some(rest))) => {
                        self.read_as_stream(rest)?;
                        return Ok(Some(text));
                    }
                    None => members.next.take(),
                }
            }
        };
        match ended {
            Some(Next::Failed(e)) => {
                self.state = State::Ended;
                Err(e)
            }
            Some(Next::Stranger(rest)) => {
                self.read_as_stream(rest)?;
                self.next_piece()
            }
            _ => {
                self.state = State::Ended;
                Ok(None)
            }
        }
    }

    /// Goes on as a stream: first with these bytes, then with those that were read ahead, then with the reader's.
    fn read_as_stream(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        let State::Members(members) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(()) };
        for ahead in &members.line {
            ahead.batch.iter().for_each(|member| bytes.extend_from_slice(&member.bytes));
        }
        match members.next {
            Some(Next::Member(Member { bytes: more, .. }) | Next::Stranger(more)) => bytes.extend_from_slice(&more),
            Some(Next::Failed(e)) => return Err(e),
            Some(Next::End) | None => {}
        }
        let reader = Cursor::new(bytes).chain(members.reader);
        self.state = State::Stream(Box::new(MemberStream::new(reader, members.place)));
        Ok(())
    }
}

/// As many bytes as the reader has, up to [`PIECE_BYTES`]; `None` at its end.
fn piece_of(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    piece.truncate(filled);
    Ok((filled > 0).then_some(piece))
}

/// A whole member of our own form, and the number of bytes that it says its text has.
struct Member {
    bytes: Vec<u8>,
    text_bytes: usize,
}

type Batch = Arc<Vec<Member>>;

/// What became of a batch: the text of its first members, up to the first one that is not what it says.
struct Inflated {
    text: TextPiece,
    /// The number of members whose text that is.
    members: usize,
}

/// What comes next in the file, once it was read.
enum Next {
    Member(Member),
    /// What is not a member of ours, or not a whole one: the bytes of it that were read.
    Stranger(Vec<u8>),
    End,
    Failed(io::Error),
}

/// A batch in the file's order that is being inflated, and where its text is awaited.
struct Ahead {
    batch: Batch,
    inflated: Receiver<Inflated>,
}

/// A file of members of our own form, read ahead and inflated on several threads.
struct Members<R> {
    reader: Source<R>,
    /// The place behind the members whose text was given out.
    place: Place,
    /// What was read, but is not yet in a batch.
    next: Option<Next>,
    /// The batches that are being inflated, in the file's order.
    line: VecDeque<Ahead>,
    threads: Option<Threads>,
    pool: PiecePool,
}

impl<R: Read> Members<R> {
    fn new(reader: Source<R>) -> Self {
        Members {
            reader,
            place: Place::default(),
            next: None,
            line: VecDeque::new(),
            threads: None,
            pool: PiecePool::default(),
        }
    }

    /// Reads batches ahead until all threads have work and some
    /// batches wait; threads are started where a second batch comes.
    fn read_ahead(&mut self) {
        loop {
            let window = self.threads.as_ref().map_or(1, |threads| threads.handles.len() + BATCHES_WAITING);
            if self.line.len() >= window {
                return;
            }
            let Some(batch) = self.next_batch() else { return };
            let (done, inflated) = sync_channel(1);
            self.line.push_back(Ahead { batch: batch.clone(), inflated });
            if self.threads.is_none() && !matches!(self.next, Some(Next::Member(_))) {
                // Threads would have nothing else to do.
                let _ = done.send(inflate(&mut Inflater::new(), &batch, &self.pool));
                return;
            }
            self.threads.get_or_insert_with(|| Threads::start(&self.pool)).inflate(batch, done);
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Vec::new();
        let (mut bytes, mut text_bytes) = (0, 0);
        loop {
            let next = self.next.take().unwrap_or_else(|| read_next(&mut self.reader));
            match next {
                Next::Member(member)
                    if batch.is_empty()
                        || (bytes + member.bytes.len() <= BATCH_BYTES
                            && text_bytes + member.text_bytes <= BATCH_BYTES) =>
                {
                    bytes += member.bytes.len();
                    text_bytes += member.text_bytes;
                    batch.push(member);
                }
                other => {
                    self.next = Some(other);
                    return (!batch.is_empty()).then(|| Arc::new(batch));
                }
            }
        }
    }

    /// The text of the next batch in the file's order, waiting for it; with it the bytes of its members that are not
    /// what they say. `None` where no batch is left.
    fn inflated(&mut self) -> Option<(TextPiece, Option<Vec<u8>>)> {
        let Ahead { batch, inflated } = self.line.pop_front()?;
        // A thread that is gone has proved nothing.
        let Inflated { text, members } =
            inflated.recv().unwrap_or(Inflated { text: TextPiece::from(Vec::new()), members: 0 });
        self.place.members += members as u64;
        self.place.bytes += batch[..members].iter().map(|member| member.bytes.len() as u64).sum::<u64>();
        let rest: Vec<&[u8]> = batch[members..].iter().map(|member| member.bytes.as_slice()).collect();
        Some((text, (!rest.is_empty()).then(|| rest.concat())))
    }
}

fn read_next(reader: &mut impl Read) -> Next {
    let mut bytes = Vec::new();
    if let Err(e) = reader.take(HEADER_BYTES as u64).read_to_end(&mut bytes) {
        return Next::Failed(e);
    }
    if bytes.is_empty() {
        return Next::End;
    }
    let Some(length) = member_length(&bytes).filter(|length| *length <= MEMBER_BYTES_MAX) else {
        return Next::Stranger(bytes);
    };
    bytes.reserve_exact(length - HEADER_BYTES);
    match reader.take((length - HEADER_BYTES) as u64).read_to_end(&mut bytes) {
        Err(e) => return Next::Failed(e),
        Ok(_) if bytes.len() < length => return Next::Stranger(bytes),
        Ok(_) => {}
    }
    let said = bytes.last_chunk().map_or(u32::MAX, |last| u32::from_le_bytes(*last));
    match usize::try_from(said) {
        Ok(text_bytes) if text_bytes <= MEMBER_TEXT_BYTES_MAX => Next::Member(Member { bytes, text_bytes }),
        _ => Next::Stranger(bytes),
    }
}

type Order = (Batch, SyncSender<Inflated>);

/// The inflating threads, which end when this is dropped.
struct Threads {
    orders: Option<SyncSender<Order>>,
    handles: Vec<JoinHandle<()>>,
    pool: PiecePool,
}

impl Threads {
    fn start(pool: &PiecePool) -> Self {
        let (orders, take_order) = sync_channel::<Order>(THREADS_MAX + BATCHES_WAITING);
        let take_order = Arc::new(Mutex::new(take_order));
        let wanted = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let handles = (0..wanted).map_while(|_| {
            let (take_order, pool) = (take_order.clone(), pool.clone());
            thread::Builder::new().name("inflate".to_owned()).spawn(move || inflate_orders(&take_order, &pool)).ok()
        });
        Threads { handles: handles.collect(), orders: Some(orders), pool: pool.clone() }
    }

    fn inflate(&self, batch: Batch, done: SyncSender<Inflated>) {
        match &self.orders {
            Some(orders) if !self.handles.is_empty() => {
                // A thread that is gone leaves its batch unproved, and the file is read as a stream.
                let _ = orders.send((batch, done));
            }
            // No thread could be started.
            _ => {
                let _ = done.send(inflate(&mut Inflater::new(), &batch, &self.pool));
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.orders = None;
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

fn inflate_orders(take_order: &Mutex<Receiver<Order>>, pool: &PiecePool) {
    let mut inflater = Inflater::new();
    loop {
        let Ok(Ok((batch, done))) = take_order.lock().map(|queue| queue.recv()) else { return };
        let inflated = inflate(&mut inflater, &batch, pool);
        drop(batch);
        // Nobody waits any more: the next order's end says so too.
        let _ = done.send(inflated);
    }
}

fn inflate(inflater: &mut Inflater, batch: &[Member], pool: &PiecePool) -> Inflated {
    let mut text = pool.piece(batch.iter().map(|member| member.text_bytes).sum());
    let mut at = 0;
    for (members, member) in batch.iter().enumerate() {
        let place = &mut text[at..at + member.text_bytes];
        if !inflate_member(inflater, &member.bytes, place) {
            text.truncate(at);
            return Inflated { text, members };
        }
        at += member.text_bytes;
    }
    Inflated { text, members: batch.len() }
}

/// Inflates a member into `place`; true if it is one deflate stream from
/// its header to its trailer, and both numbers in the trailer are right.
fn inflate_member(inflater: &mut Inflater, bytes: &[u8], place: &mut [u8]) -> bool {
    #[cfg(feature = "isal")]
    if by_isal(bytes, HEADER_BYTES, place) {
        return true;
    }
    let Some((data, trailer)) = bytes[HEADER_BYTES..].split_last_chunk::<TRAILER_BYTES>() else { return false };
    inflater.inflate(data, place)
        && u64::from_le_bytes(*trailer) == u64::from(crc32fast::hash(place)) | (place.len() as u64) << 32
}

#[cfg(test)]
mod others;

#[cfg(test)]
mod tests;
