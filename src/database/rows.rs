//! The rows of a cut, read over several connections at once and handed out in pg_dump's order.
//!
//! The statements stand in one order; each connection takes the next one and fills its queue, and the queues are emptied
//! one after the other. Each queue has a bound in bytes, so a connection that is ahead waits.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tempfile::SpooledTempFile;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    binary::{Kind, Malformed, TextWriter},
    columns::{kinds, sizes},
    connect::{Failure, explain_refusal},
    copy::{Copy, Format, RANGE_BYTES, TableSize},
    cut::Cut,
    proxy::Session,
    settings::Settings,
    skeleton::Skeleton,
    wire::{Came, Refusal, Wire, WireError},
};
use crate::base::{Error, Progress, Result, text, text::escape};

/// Rows handed over at once.
const BATCH_BYTES: usize = 128 << 10;
/// Rows that wait in all queues together.
const QUEUED_BYTES: usize = 4 << 20;
/// A connection that has brought this much since it last had nothing is left alone for a moment, so that more comes at once.
const PAUSE_AFTER_BYTES: usize = 4 << 10;
const PAUSE: Duration = Duration::from_millis(1);
/// Batches that wait in one queue; the bytes are the bound that is met first.
const QUEUED_BATCHES: usize = 64;
/// Statements that may be ahead of the connections.
const STATEMENTS_AHEAD: usize = 1;
/// Small tables are read as text: that takes one statement fewer.
const BINARY_BYTES_MIN: u64 = 1 << 20;
/// Connections that may be made again after they were lost.
const LOST_MAX: u32 = 3;

/// How rows are read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Connections; fewer where the server allows no more.
    pub connections: usize,
    /// Bytes of a table that one statement reads.
    pub range_bytes: u64,
    /// Tables that take at least this much are read in binary form, where all their types are known.
    pub binary_bytes_min: u64,
}

impl ReadOptions {
    /// The usual ranges.
    pub fn new(connections: usize) -> Self {
        ReadOptions { connections, range_bytes: RANGE_BYTES, binary_bytes_min: BINARY_BYTES_MIN }
    }
}

/// A table whose rows are to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its qualified name.
    pub name: String,
    /// How its COPY statement begins, up to the columns; none where a query stands in the table's place.
    pub head: Option<String>,
    /// Bytes it takes on the server's disk, its TOAST table included.
    pub size_bytes: u64,
    /// Rows as the server last counted them; 0 where it never did.
    pub rows_estimate: u64,
}

/// Text of rows, each with its line end; a long one may be cut.
#[derive(Debug)]
pub struct Batch {
    rows: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Batch {
    fn as_ref(&self) -> &[u8] {
        &self.rows
    }
}

#[derive(Debug)]
enum Message {
    Batch(Batch),
    End,
}

/// A statement that a connection has taken: the table it belongs to, and where its rows come.
type Taken = (usize, mpsc::Receiver<Message>);

/// The rows of a skeleton's tables.
#[derive(Debug)]
pub struct Rows {
    tables: Vec<Table>,
    order: mpsc::Receiver<Taken>,
    current: Option<Taken>,
    /// Statements whose place has not been said yet.
    statements_left: usize,
    failure: Arc<FirstFailure>,
}

/// The connections that bring rows, and pg_dump's session with its locks. Dropping it ends them, and the rows with an
/// error.
pub struct Connections {
    _workers: Vec<AbortOnDropHandle<()>>,
    session: Session,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// Everything was read: lets go of the locks in order.
    pub async fn end(self) {
        self.session.end().await;
    }
}

/// What the connections have in common.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// Makes a connection one of this cut.
    preparation: Vec<String>,
    statements: Vec<Statement>,
    next: AsyncMutex<Next>,
    queue_bytes: usize,
    lost: AtomicU32,
    failure: Arc<FirstFailure>,
}

/// The next statement, and where its place in the order is said; gone when there is none.
#[derive(Debug)]
struct Next {
    statement: usize,
    order: Option<mpsc::Sender<Taken>>,
}

/// The first failure ends all; others come because of it.
#[derive(Debug, Default)]
struct FirstFailure {
    happened: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl FirstFailure {
    fn set(&self, error: Error) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.happened() {
            *first = Some(error);
            self.happened.store(true, Ordering::Release);
        }
    }

    fn happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    /// It can be told once.
    fn take(&self) -> Error {
        let first = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| Error::failed("a connection's task ended early"))
    }
}

#[derive(Debug)]
struct Statement {
    table: usize,
    name: String,
    text: String,
    /// Where the rows come in binary form: how they are written.
    kinds: Option<Arc<[Kind]>>,
}

impl Rows {
    /// Reads the tables' sizes and opens the connections. The cut must stay open until all are read.
    ///
    /// # Errors
    /// When no connection can be had.
    pub async fn start(cut: &Cut, skeleton: Skeleton, options: ReadOptions, progress: &Progress) -> Result<Opened> {
        let Skeleton { text, copies, sets, session } = skeleton;
        let copies: Vec<Copy> = copies.iter().map(|statement| Copy::read(statement)).collect();
        let sizes = sizes(cut, &copies).await?;
        let kinds = kinds(cut, &copies).await?;
        let settings = cut.settings();
        let mut preparation = sets;
        preparation.push("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
        preparation.push(format!("SET TRANSACTION SNAPSHOT '{}'", cut.snapshot_id()));
        let mut first = open(settings, &preparation).await.map_err(|lost| lost.explain(settings, "the rows"))?;
        let major = cut.facts().server_major;
        let mut statements = Vec::new();
        for (table, ((copy, size), kinds)) in copies.iter().zip(&sizes).zip(kinds).enumerate() {
            let mut kinds = kinds.filter(|_| size.bytes >= options.binary_bytes_min);
            if let Some(known) = &kinds {
                let same = writes_the_same(&mut first, copy, *size, major, known).await;
                if !same.map_err(|lost| lost.explain(settings, copy.name()))? {
                    kinds = None;
                }
            }
            let kinds: Option<Arc<[Kind]>> = kinds.map(Into::into);
            let format = if kinds.is_some() { Format::Binary } else { Format::Text };
            for text in copy.ranges(*size, major, options.range_bytes, format) {
                statements.push(Statement { table, name: copy.name().to_owned(), text, kinds: kinds.clone() });
            }
        }
        let tables = copies.iter().zip(&sizes).map(|(copy, size)| Table {
            name: copy.name().to_owned(),
            head: copy.table.is_some().then(|| copy.head().to_owned()),
            size_bytes: size.bytes,
            rows_estimate: size.rows,
        });
        let tables = tables.collect();
        let wanted = options.connections.clamp(1, statements.len().max(1));
        let mut wires = vec![first];
        while wires.len() < wanted {
            match open(settings, &preparation).await {
                Ok(opened) => wires.push(opened),
                Err(Lost::Limit(_)) => {
                    progress.warning(format!(
                        "the server has no more than {} left: the rows are read over as many",
                        text::count(wires.len() as u64, "connection")
                    ));
                    break;
                }
                Err(lost) => return Err(lost.explain(settings, "the rows")),
            }
        }
        let (say_order, order) = mpsc::channel(STATEMENTS_AHEAD);
        let statements_left = statements.len();
        let failure = Arc::new(FirstFailure::default());
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            preparation,
            statements,
            next: AsyncMutex::new(Next { statement: 0, order: Some(say_order) }),
            queue_bytes: QUEUED_BYTES / (wires.len() + STATEMENTS_AHEAD),
            lost: AtomicU32::new(0),
            failure: failure.clone(),
        });
        let workers = wires.into_iter().map(|wire| AbortOnDropHandle::new(tokio::spawn(shared.clone().work(wire))));
        let workers = workers.collect();
        let rows = Rows { tables, order, current: None, statements_left, failure };
        Ok(Opened { text, rows, connections: Connections { _workers: workers, session } })
    }

    /// The tables, in pg_dump's order.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The next rows of a table, none at its end. Tables are read in order, each to its end. Blocking.
    ///
    /// # Errors
    /// When a connection failed; its reason.
    pub fn read(&mut self, table: usize) -> Result<Option<Batch>> {
        loop {
            if self.failure.happened() {
                return Err(self.failure.take());
            }
            let Some((of, queue)) = &mut self.current else {
                if self.statements_left == 0 {
                    return Ok(None);
                }
                let taken = self.order.blocking_recv().ok_or_else(|| self.failure.take())?;
                self.statements_left -= 1;
                self.current = Some(taken);
                continue;
            };
            if *of != table {
                return Ok(None);
            }
            match queue.blocking_recv() {
                Some(Message::Batch(batch)) => return Ok(Some(batch)),
                Some(Message::End) => self.current = None,
                None => return Err(self.failure.take()),
            }
        }
    }

    /// The text has no place for more.
    ///
    /// # Errors
    /// When rows are left that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        if self.current.is_some() || self.statements_left > 0 {
            return Err(Error::failed("rows are left that belong nowhere in pg_dump's text"));
        }
        Ok(())
    }
}

/// The rows, and the text they belong into.
#[derive(Debug)]
pub struct Opened {
    /// pg_dump's text without rows.
    pub text: SpooledTempFile,
    /// The rows.
    pub rows: Rows,
    /// What brings them.
    pub connections: Connections,
}

/// Why a connection or statement failed.
enum Lost {
    /// The server has no connection left.
    Limit(Failure),
    /// It could not be made.
    Open(Failure),
    /// It broke, in these words: a new one may do.
    Broken(String),
    /// The server refused the statement.
    Refused(Refusal),
    /// What came is not what the form says.
    Malformed(Malformed),
    /// Nobody reads any more.
    Unwanted,
}

impl From<WireError> for Lost {
    fn from(e: WireError) -> Self {
        match e {
            WireError::Broken(words) => Lost::Broken(words),
            WireError::Refused(refusal) => Lost::Refused(refusal),
        }
    }
}

impl Lost {
    fn explain(self, settings: &Settings, what: &str) -> Error {
        let what = escape(what);
        match self {
            Lost::Limit(failure) | Lost::Open(failure) => failure.explain(settings),
            Lost::Refused(Refusal { code, words }) => {
                explain_refusal(Some(&code), words, &format!("read {what}"), settings)
            }
            Lost::Broken(words) => Error::failed(format!("lost the connection to Postgres while reading {what}"))
                .because(words)
                .hint("is the server still running? the snapshot can simply be made again"),
            Lost::Malformed(why) => Error::failed(format!("cannot read {what}"))
                .because(format!("the server sent {why}"))
                .hint("is this PostgreSQL's own server, 15 or newer?"),
            Lost::Unwanted => Error::failed(format!("reading {what} was stopped")),
        }
    }
}

/// A connection that is part of the cut.
async fn open(settings: &Settings, preparation: &[String]) -> Result<Wire, Lost> {
    let failed = |failure: Failure| if failure.is_limit() { Lost::Limit(failure) } else { Lost::Open(failure) };
    let mut wire = Wire::open(settings).await.map_err(failed)?;
    for sql in preparation {
        wire.execute(sql).await?;
    }
    Ok(wire)
}

/// Takes the bytes of a statement's rows and appends text to `out`.
enum Form<'a> {
    Text,
    Binary(TextWriter<'a>),
}

impl<'a> Form<'a> {
    fn new(kinds: Option<&'a [Kind]>) -> Self {
        kinds.map_or(Form::Text, |kinds| Form::Binary(TextWriter::new(kinds)))
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Lost> {
        match self {
            Form::Text => out.extend_from_slice(bytes),
            Form::Binary(writer) => writer.push(bytes, out).map_err(Lost::Malformed)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Lost> {
        match self {
            Form::Text => Ok(()),
            Form::Binary(writer) => writer.finish().map_err(Lost::Malformed),
        }
    }
}

/// All rows of a small statement.
async fn read_all(wire: &mut Wire, statement: &str, kinds: Option<&[Kind]>) -> Result<Vec<u8>, Lost> {
    let mut form = Form::new(kinds);
    let mut rows = Vec::new();
    wire.query(statement).await?;
    loop {
        match wire.next()? {
            Came::Data(bytes) => form.push(bytes, &mut rows)?,
            Came::Nothing => wire.fill().await.map(drop)?,
            Came::End => break,
        }
    }
    form.finish()?;
    Ok(rows)
}

/// Whether the text that is made here of a table's first rows is the server's own.
async fn writes_the_same(
    wire: &mut Wire,
    copy: &Copy,
    size: TableSize,
    major: u32,
    kinds: &[Kind],
) -> Result<bool, Lost> {
    let statement = |format| copy.first_page(size, major, format);
    let (Some(text), Some(binary)) = (statement(Format::Text), statement(Format::Binary)) else { return Ok(false) };
    let same = read_all(wire, &text, None).await? == read_all(wire, &binary, Some(kinds)).await?;
    if !same {
        tracing::warn!("the server writes {} in another way than is known here: it is read as text", copy.name());
    }
    Ok(same)
}

impl Shared {
    async fn work(self: Arc<Self>, mut wire: Wire) {
        while let Some((statement, queue)) = self.take().await {
            if let Err(e) = self.read(&mut wire, statement, &queue).await {
                self.failure.set(e);
                // Who waits for the next statement's place is told.
                self.next.lock().await.order = None;
                return;
            }
            if queue.send(Message::End).await.is_err() {
                return;
            }
        }
    }

    /// The next statement, with its place in the order.
    async fn take(&self) -> Option<(&Statement, mpsc::Sender<Message>)> {
        let mut next = self.next.lock().await;
        let Some(statement) = self.statements.get(next.statement) else {
            next.order = None;
            return None;
        };
        let (queue, rows) = mpsc::channel(QUEUED_BATCHES);
        next.order.as_ref()?.send((statement.table, rows)).await.ok()?;
        next.statement += 1;
        Some((statement, queue))
    }

    /// Reads a statement to its end; a connection that breaks is made again a few times.
    async fn read(&self, wire: &mut Wire, statement: &Statement, queue: &mpsc::Sender<Message>) -> Result<()> {
        let room = Arc::new(Semaphore::new(self.queue_bytes));
        let mut delivered = 0;
        loop {
            let failed = match self.copy(wire, statement, queue, &room, &mut delivered).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let again = matches!(failed, Lost::Broken(_)) && self.lost.fetch_add(1, Ordering::Relaxed) < LOST_MAX;
            let error = failed.explain(&self.settings, &statement.name);
            if !again {
                return Err(error);
            }
            // The same cut gives the same rows in the same order: those that were delivered are skipped.
            tracing::debug!("connecting again: {}", error.chain());
            match open(&self.settings, &self.preparation).await {
                Ok(opened) => *wire = opened,
                // What broke the first one is the reason.
                Err(_) => return Err(error),
            }
        }
    }

    async fn copy(
        &self,
        wire: &mut Wire,
        statement: &Statement,
        queue: &mpsc::Sender<Message>,
        room: &Arc<Semaphore>,
        delivered: &mut u64,
    ) -> Result<(), Lost> {
        let mut form = Form::new(statement.kinds.as_deref());
        let mut skip = *delivered;
        let mut came = 0;
        let mut batch: Vec<u8> = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4);
        wire.query(&statement.text).await?;
        loop {
            let is_end = match wire.next()? {
                Came::Data(bytes) => {
                    form.push(bytes, &mut batch)?;
                    false
                }
                Came::End => true,
                Came::Nothing => {
                    came += match wire.fill_now() {
                        Some(read) => read?,
                        None => {
                            // The server sends 8 KiB at a time: waking for each costs more than the rows themselves.
                            if std::mem::take(&mut came) > PAUSE_AFTER_BYTES {
                                tokio::time::sleep(PAUSE).await;
                            }
                            wire.fill().await?
                        }
                    };
                    continue;
                }
            };
            if skip > 0 && !batch.is_empty() {
                let again = usize::try_from(skip).unwrap_or(usize::MAX).min(batch.len());
                batch.drain(..again);
                skip -= again as u64;
            }
            if batch.len() >= BATCH_BYTES || (is_end && !batch.is_empty()) {
                *delivered += batch.len() as u64;
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4));
                let bytes = u32::try_from(full.len().min(self.queue_bytes)).unwrap_or(u32::MAX);
                let permit = room.clone().acquire_many_owned(bytes).await.map_err(|_| Lost::Unwanted)?;
                let message = Message::Batch(Batch { rows: full, _room: permit });
                queue.send(message).await.map_err(|_| Lost::Unwanted)?;
            }
            if is_end {
                return form.finish();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::scratch::{Scratch, ScratchOptions},
        *,
    };

    #[test]
    fn a_table_that_is_written_in_another_way_is_found_by_its_first_rows() {
        let server = Scratch::start(ScratchOptions::default()).unwrap();
        server.query("postgres", "CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), (NULL)").unwrap();
        let copy = Copy::read("COPY public.t (a) TO stdout;");
        let size = TableSize { is_heap: true, pages: 1, bytes: 8192, rows: 2 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = server.settings("postgres");
            let mut wire = open(&settings, &[]).await.map_err(|lost| lost.explain(&settings, "t")).unwrap();
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
}
