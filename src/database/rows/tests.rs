//! Faults at every step of every worker, with servers that are made up; nothing of it may hang.

use std::{
    io,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    task::{self, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    super::{
        lookout::Lookout,
        scratch::{Scratch, ScratchOptions},
        settings::PartialSettings,
    },
    worker::Opener,
    *,
};
use crate::base::{Kind as ErrorKind, clock};

#[test]
fn a_table_that_is_written_in_another_way_is_found_by_its_first_rows() {
    let server = Scratch::start(ScratchOptions::default()).unwrap();
    server.query("postgres", "CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), (NULL)").unwrap();
    let copy = Copy::read("COPY public.t (a) TO stdout;");
    let size = TableSize { is_heap: true, pages: 1, bytes: 8192, rows: 2 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = server.settings("postgres");
        let mut wire = open_connection(&settings, &[]).await.map_err(|lost| lost.explain(&settings, "t")).unwrap();
        for (kind, same) in [(Kind::Text, true), (Kind::Bytea, false)] {
            let found = writes_the_same(&mut wire, &copy, size, 15, &[kind]).await;
            assert_eq!(found.map_err(|lost| lost.explain(&settings, "t")).unwrap(), same);
        }
        // What is no form at all is an error; the connection says so.
        let e = writes_the_same(&mut wire, &copy, size, 15, &[Kind::Text, Kind::Text]).await.err().unwrap();
        let e = e.explain(&settings, "t");
        assert!(e.chain().contains("another number of columns"), "{}", e.chain());
    });
}

/// How many connections bring rows at once, each number in turn.
const CONNECTIONS: [usize; 4] = [1, 2, 3, 4];
/// Faults of a kind with so many connections, at the most.
const FAULTS_MAX: usize = 45;
const STATEMENTS: usize = 12;
const ROWS: usize = 80;
/// How long one run may take. Whole runs take a few milliseconds.
const WATCHDOG: Duration = Duration::from_secs(30);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The server refuses the statement, as it does where a page is damaged or a query was cancelled.
    Refused,
    /// The session was ended by an administrator; another one can be had.
    Terminated,
    /// The same, and no other can be had.
    ServerGone,
    /// The connection breaks without a word.
    Broken,
    /// What comes is no protocol.
    Nonsense,
    /// The worker's task is ended from outside.
    Aborted,
    /// The worker's task panics.
    Panicked,
    /// A row is too long to be loaded again.
    LongRow,
    /// Whoever reads the rows lets go of them.
    ReaderGone,
    /// What brings the rows is dropped, as where a signal ends it all.
    Dropped,
}

const FAULTS: [Fault; 9] = [
    Fault::Refused,
    Fault::Terminated,
    Fault::ServerGone,
    Fault::Broken,
    Fault::Nonsense,
    Fault::Aborted,
    Fault::Panicked,
    Fault::ReaderGone,
    Fault::Dropped,
];

impl Fault {
    /// Another connection is had, and the work goes on.
    fn is_mended(self) -> bool {
        matches!(self, Fault::Terminated | Fault::Broken | Fault::Nonsense)
    }

    /// It happens where a worker reads from its server or writes to it.
    fn is_servers(self) -> bool {
        !matches!(self, Fault::Aborted | Fault::LongRow | Fault::ReaderGone | Fault::Dropped)
    }
}

/// One run: which fault, at which step of all workers together, and of how many.
struct Run {
    fault: Fault,
    at: usize,
    connections: usize,
    /// Every other server says nothing any more once it has happened.
    silent: bool,
    steps: AtomicUsize,
    happened: AtomicBool,
    servers: AtomicUsize,
}

impl Run {
    /// Counts a step; true where the fault is to be.
    fn step(&self) -> bool {
        let due = self.steps.fetch_add(1, Ordering::SeqCst) == self.at;
        if due {
            self.happened.store(true, Ordering::SeqCst);
        }
        due
    }

    fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }
}

/// A server at the other end of a connection; the statements it knows are numbers.
struct Server {
    run: Arc<Run>,
    asked: Vec<u8>,
    says: Vec<u8>,
    gone: bool,
    /// The fault was here: it goes on talking.
    faulty: bool,
    reads: usize,
}

impl Server {
    fn connect(run: &Arc<Run>) -> Wire {
        run.servers.fetch_add(1, Ordering::SeqCst);
        let run = run.clone();
        let server = Server { run, asked: Vec::new(), says: Vec::new(), gone: false, faulty: false, reads: 0 };
        Wire::new(Box::new(server))
    }

    fn say(&mut self, letter: u8, body: &[u8]) {
        self.says.push(letter);
        self.says.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        self.says.extend_from_slice(body);
    }

    fn refuse(&mut self, severity: &str, code: &str, words: &str) {
        let body = format!("S{severity}\0C{code}\0M{words}\0\0");
        self.say(b'E', body.as_bytes());
    }

    fn answer(&mut self, statement: &str) {
        let statement: usize = statement.parse().unwrap();
        self.say(b'H', b"\0\0\0");
        for row in rows(statement) {
            self.say(b'd', row.as_bytes());
        }
        self.say(b'c', b"");
        self.say(b'C', b"COPY 1\0");
        self.say(b'Z', b"T");
    }

    /// Counts a step; what the fault does to it.
    fn step(&mut self) -> io::Result<()> {
        if !self.run.fault.is_servers() || !self.run.step() {
            return Ok(());
        }
        self.faulty = true;
        // What is left begins with a message: pieces are given out whole.
        self.says.clear();
        match self.run.fault {
            Fault::Refused => {
                self.refuse("ERROR", "XX001", "invalid page in block 7");
                self.say(b'Z', b"E");
            }
            Fault::Terminated | Fault::ServerGone => {
                self.refuse("FATAL", "57P01", "terminating connection due to administrator command");
                self.gone = true;
            }
            // Without the message of a panic that nobody awaits.
            Fault::Panicked => std::panic::resume_unwind(Box::new(())),
            Fault::Nonsense => self.says = b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            _ => return Err(io::ErrorKind::ConnectionReset.into()),
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        self.run.silent && self.run.happened() && !self.faulty
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run.servers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncWrite for Server {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.step()?;
        self.asked.extend_from_slice(bytes);
        if let Some(statement) = self.asked.get(5..self.asked.len() - 1).filter(|_| self.asked.ends_with(b"\0")) {
            let statement = String::from_utf8(statement.to_vec()).unwrap();
            self.asked.clear();
            if !self.faulty {
                self.answer(&statement);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Server {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.step()?;
        if self.is_silent() {
            return Poll::Pending;
        }
        self.reads += 1;
        // Every now and then nothing has come yet.
        if self.reads.is_multiple_of(3) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Whole messages, few at a time.
        let mut n = 0;
        while n < 500 {
            let Some(head) = self.says.get(n..n + 5) else { break };
            n += 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        }
        let n = n.min(self.says.len()).min(into.remaining());
        if n == 0 && !self.gone {
            return Poll::Pending;
        }
        into.put_slice(&self.says[..n]);
        self.says.drain(..n);
        Poll::Ready(Ok(()))
    }
}

fn table(statement: usize) -> usize {
    statement / 2
}

fn rows(statement: usize) -> impl Iterator<Item = String> {
    (0..ROWS).map(move |row| format!("{statement}\t{row}\t{}\n", "x".repeat(row % 40)))
}

/// A worker that may be ended whenever it is to go on.
struct Watched {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    run: Arc<Run>,
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        // Before it works: a worker that has ended is one to whom nothing happens.
        if self.run.fault == Fault::Aborted && self.run.step() {
            self.work = None;
        }
        self.work.as_mut().map_or(Poll::Ready(()), |work| work.as_mut().poll(cx))
    }
}

/// What the reader got: each table's rows, or why not.
type Read = Result<Vec<u8>>;

/// Starts everything as [`Rows::prepare`] does, and reads all of it on a thread of its own.
async fn read_with(run: Arc<Run>) -> Read {
    let settings = PartialSettings::default().complete(None, |_| {}).unwrap();
    let lookout = Arc::new(Lookout::new(&settings, "nobody".to_owned(), &Progress::silent()));
    let table_of: Vec<usize> = (0..STATEMENTS).map(table).collect();
    let (order, places) = Order::new(table_of.clone(), run.connections + STATEMENTS_AHEAD);
    let statement = |n: usize| Statement { name: format!("shop.t{}", table(n)), text: n.to_string(), kinds: None };
    let again = run.clone();
    let open: Opener = Box::new(move || {
        let run = again.clone();
        Box::pin(async move {
            match run.fault {
                Fault::ServerGone => Err(Lost::Broken("connection refused".to_owned())),
                _ => Ok(Server::connect(&run)),
            }
        })
    });
    let workers = Arc::new(Workers {
        settings,
        open,
        statements: (0..STATEMENTS).map(statement).collect(),
        order: order.clone(),
        batch_bytes: 300,
        queue_bytes: 500,
        row_bytes_max: if run.fault == Fault::LongRow { 40 } else { 1000 },
        lost: AtomicU32::new(0),
        lookout,
    });
    let start = |_| {
        let work = Box::pin(workers.clone().work(Server::connect(&run)));
        AbortOnDropHandle::new(tokio::spawn(Watched { work: Some(work), run: run.clone() }))
    };
    let handles: Vec<_> = (0..run.connections).map(start).collect();
    let handles = Arc::new(Mutex::new(handles));
    drop(workers);
    let tables: Vec<Table> = (0..=table(STATEMENTS - 1))
        .map(|n| Table { name: format!("shop.t{n}"), head: None, size_bytes: 0, rows_estimate: 0 })
        .collect();
    let mut rows = Rows { tables, order, places, current: None, statements_left: STATEMENTS };
    let (reader, held) = (run.clone(), handles.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for table in 0..rows.tables().len() {
            while let Some(batch) = rows.read(table)? {
                all.extend_from_slice(batch.as_ref());
                match reader.fault {
                    Fault::ReaderGone if reader.step() => {
                        return Err(Error::new(ErrorKind::Interrupted(2), "the reader's own"));
                    }
                    Fault::Dropped if reader.step() => held.lock().unwrap().clear(),
                    _ => {}
                }
            }
        }
        rows.finish()?;
        Ok(all)
    });
    let read = read.await.unwrap();
    // What was dropped, ended or finished has let go of its connection.
    let handles = std::mem::take(&mut *handles.lock().unwrap());
    for handle in handles {
        let _ = handle.await;
    }
    read
}

/// A run under the watchdog; whether its fault came, and what was read.
fn watched(
    runtime: &tokio::runtime::Runtime,
    fault: Fault,
    at: usize,
    connections: usize,
    silent: bool,
) -> (bool, Read) {
    let what = format!("{fault:?} at step {at} of {connections} connections, silent: {silent}");
    let run = Arc::new(Run {
        fault,
        at,
        connections,
        silent,
        steps: AtomicUsize::new(0),
        happened: AtomicBool::new(false),
        servers: AtomicUsize::new(0),
    });
    let (done, watch) = std_mpsc::channel();
    let work = read_with(run.clone());
    runtime.spawn(async move { done.send(work.await) });
    let read = watch.recv_timeout(WATCHDOG);
    let read = read.unwrap_or_else(|e| panic!("{what}: hangs ({e})"));
    // A worker whose handle was dropped ends a moment later.
    let began = clock::now();
    while run.servers.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < WATCHDOG, "{what}: a connection is left");
        std::thread::yield_now();
    }
    (run.happened(), read)
}

#[test]
fn a_fault_at_any_step_of_any_worker_ends_all_of_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let whole: Vec<u8> = (0..STATEMENTS).flat_map(rows).flat_map(String::into_bytes).collect();
    let mut counted = Vec::new();
    for (fault, connections) in FAULTS.into_iter().flat_map(|fault| CONNECTIONS.map(|connections| (fault, connections)))
    {
        // Servers that never speak again are no hang of ours where the work is to go on.
        for silent in [false, true].into_iter().filter(|silent| !(*silent && fault.is_mended())) {
            let mut happened = 0;
            let mut missed = 0;
            // Every step at first, where the workers are not yet in step; then further and further apart.
            let mut at = 0;
            while missed < 3 && happened < FAULTS_MAX {
                match watched(&runtime, fault, at, connections, silent) {
                    (false, _) => missed += 1,
                    (true, read) => {
                        happened += 1;
                        judge(fault, at, silent, read, &whole);
                    }
                }
                at += 1 + happened / 12;
            }
            counted.push((fault, connections, happened));
        }
    }
    let all: usize = counted.iter().map(|(_, _, n)| n).sum();
    // How often a worker is to go on is chance, but for the first time.
    let enough = |fault, connections| if fault == Fault::Aborted { connections } else { 10 };
    let each = counted.iter().all(|(fault, connections, n)| *n >= enough(*fault, *connections));
    assert!(all >= 1000 && each, "only {all} faults came: {counted:?}");
}

#[track_caller]
fn judge(fault: Fault, at: usize, silent: bool, read: Read, whole: &[u8]) {
    let what = format!("{fault:?} at step {at}, silent: {silent}");
    match read {
        // Where another connection can be had, or all was read before.
        Ok(all) => assert!(all == whole, "{what}: other rows came"),
        Err(e) => {
            let chain = e.chain();
            match fault {
                Fault::Refused => {
                    assert!(chain.contains("shop.t") && chain.contains("invalid page"), "{what}: {chain}")
                }
                Fault::ServerGone => {
                    assert!(chain.contains("shop.t") && chain.contains("administrator command"), "{what}: {chain}");
                }
                Fault::Broken | Fault::Nonsense | Fault::Terminated => {
                    assert!(chain.contains("shop.t"), "{what}: {chain}")
                }
                Fault::LongRow => panic!("{what}: no step of its own"),
                Fault::ReaderGone => assert_eq!(chain, "the reader's own", "{what}"),
                Fault::Aborted | Fault::Panicked | Fault::Dropped => {
                    assert!(chain.contains("ended early"), "{what}: {chain}");
                }
            }
        }
    }
}

#[test]
fn a_row_that_nobody_can_load_is_named() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = |fault| watched(&runtime, fault, usize::MAX, 3, false).1;
    let e = run(Fault::LongRow).unwrap_err();
    assert!(e.chain().starts_with("a row of shop.t"), "{}", e.chain());
    assert!(e.chain().contains("1073741823 bytes"), "{}", e.chain());
    assert!(format!("{:?}", e.advice()).contains("shorten"), "{e:?}");
}
