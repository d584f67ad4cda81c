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

use futures::{FutureExt, StreamExt, future::Fuse};
use tempfile::SpooledTempFile;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_postgres::{Client, Row, error::SqlState};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect::{Failure, Io, dial_for_rows, explain_query, words},
    copy::{Copy, RANGE_BYTES, TableSize},
    cut::Cut,
    dump::Skeleton,
    proxy::Session,
    settings::Settings,
};
use crate::base::{Error, Progress, Result, text, text::escape};

/// Rows handed over at once.
const BATCH_BYTES: usize = 128 << 10;
/// Rows that wait in all queues together.
const QUEUED_BYTES: usize = 6 << 20;
/// A connection that has brought this much since it last had nothing is left alone for a moment, so that more comes at once.
const PAUSE_AFTER_BYTES: usize = 4 << 10;
const PAUSE: Duration = Duration::from_millis(1);
/// Batches that wait in one queue; the bytes are the bound that is met first.
const QUEUED_BATCHES: usize = 64;
/// Statements that may be ahead of the connections.
const STATEMENTS_AHEAD: usize = 1;
/// Connections that may be made again after they were lost.
const LOST_MAX: u32 = 3;

/// How rows are read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Connections; fewer where the server allows no more.
    pub connections: usize,
    /// Bytes of a table that one statement reads.
    pub range_bytes: u64,
}

impl ReadOptions {
    /// The usual ranges.
    pub fn new(connections: usize) -> Self {
        ReadOptions { connections, range_bytes: RANGE_BYTES }
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

/// Rows, each with its line end.
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
        let mut statements = Vec::new();
        for (table, (copy, size)) in copies.iter().zip(&sizes).enumerate() {
            for text in copy.ranges(*size, cut.facts().server_major, options.range_bytes) {
                statements.push(Statement { table, name: copy.name().to_owned(), text });
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
        let mut preparation = sets;
        preparation.push("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
        preparation.push(format!("SET TRANSACTION SNAPSHOT '{}'", cut.snapshot_id()));
        let settings = cut.settings();
        let mut clients = Vec::new();
        for _ in 0..wanted {
            match open(settings, &preparation).await {
                Ok(opened) => clients.push(opened),
                Err(Lost::Limit(_)) if !clients.is_empty() => {
                    progress.warning(format!(
                        "the server has no more than {} left: the rows are read over as many",
                        text::count(clients.len() as u64, "connection")
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
            queue_bytes: QUEUED_BYTES / (clients.len() + STATEMENTS_AHEAD),
            lost: AtomicU32::new(0),
            failure: failure.clone(),
        });
        let workers =
            clients.into_iter().map(|worker| AbortOnDropHandle::new(tokio::spawn(shared.clone().work(worker))));
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

/// What the catalogue says about the tables of these statements.
async fn sizes(cut: &Cut, copies: &[Copy]) -> Result<Vec<TableSize>> {
    const DOING: &str = "read the tables' sizes";
    const SQL: &str = "SELECT coalesce(c.relkind = 'r' AND a.amname = 'heap', false), \
         coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::bigint, \
         coalesce(pg_catalog.pg_table_size(c.oid), 0), coalesce(c.reltuples, 0)::bigint \
         FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS t (name, number) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.name) \
         LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam ORDER BY t.number";
    let names: Vec<Option<&str>> = copies.iter().map(|copy| copy.table.as_deref()).collect();
    let explain = |e| explain_query(e, DOING, cut.settings());
    let rows = cut.client().query(SQL, &[&names]).await.map_err(explain)?;
    let number = |row: &Row, column| row.try_get(column).map(|n: i64| u64::try_from(n).unwrap_or(0)).map_err(explain);
    rows.iter()
        .map(|row| {
            let is_heap = row.try_get(0).map_err(explain)?;
            Ok(TableSize { is_heap, pages: number(row, 1)?, bytes: number(row, 2)?, rows: number(row, 3)? })
        })
        .collect()
}

/// A connection that is part of the cut.
type Worker = (Client, Fuse<Io>);

/// Why a connection or statement failed.
enum Lost {
    /// The server has no connection left.
    Limit(Failure),
    /// It could not be made.
    Open(Failure),
    /// It broke: a new one may do.
    Broken(tokio_postgres::Error),
    /// The server refused the statement.
    Refused(tokio_postgres::Error),
    /// Nobody reads any more.
    Unwanted,
}

impl Lost {
    fn of(e: tokio_postgres::Error) -> Self {
        let ended = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::IDLE_SESSION_TIMEOUT];
        let broken = match e.code() {
            Some(code) => ended.contains(code),
            None => true,
        };
        if broken { Lost::Broken(e) } else { Lost::Refused(e) }
    }

    fn explain(self, settings: &Settings, what: &str) -> Error {
        let what = escape(what);
        match self {
            Lost::Limit(failure) | Lost::Open(failure) => failure.explain(settings),
            Lost::Refused(e) => explain_query(e, &format!("read {what}"), settings),
            Lost::Broken(e) => Error::failed(format!("lost the connection to Postgres while reading {what}"))
                .because(words(&e))
                .hint("is the server still running? the snapshot can simply be made again"),
            Lost::Unwanted => Error::failed(format!("reading {what} was stopped")),
        }
    }
}

async fn open(settings: &Settings, preparation: &[String]) -> Result<Worker, Lost> {
    let (client, io) = dial_for_rows(settings)
        .await
        .map_err(|failure| if failure.is_limit() { Lost::Limit(failure) } else { Lost::Open(failure) })?;
    let mut io = io.fuse();
    for sql in preparation {
        drive(&mut io, client.batch_execute(sql)).await.map_err(Lost::of)?;
    }
    Ok((client, io))
}

/// Runs a request and the connection's bytes in one task: a batch of rows crosses no thread on its way.
async fn drive<T>(io: &mut Fuse<Io>, request: impl Future<Output = T>) -> T {
    tokio::pin!(request);
    loop {
        tokio::select! {
            biased;
            done = &mut request => return done,
            // The request then fails by itself.
            () = &mut *io => {}
        }
    }
}

/// What a request gives without waiting, the bytes that have come included.
fn at_hand<T>(io: &mut Fuse<Io>, mut request: impl Future<Output = T> + Unpin) -> Option<T> {
    if let Some(done) = (&mut request).now_or_never() {
        return Some(done);
    }
    let _ = (&mut *io).now_or_never();
    request.now_or_never()
}

impl Shared {
    async fn work(self: Arc<Self>, mut worker: Worker) {
        while let Some((statement, queue)) = self.take().await {
            if let Err(e) = self.read(&mut worker, statement, &queue).await {
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
    async fn read(&self, worker: &mut Worker, statement: &Statement, queue: &mpsc::Sender<Message>) -> Result<()> {
        let room = Arc::new(Semaphore::new(self.queue_bytes));
        let mut delivered = 0;
        loop {
            let failed = match self.copy(worker, statement, queue, &room, &mut delivered).await {
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
                Ok(opened) => *worker = opened,
                // What broke the first one is the reason.
                Err(_) => return Err(error),
            }
        }
    }

    async fn copy(
        &self,
        (client, io): &mut Worker,
        statement: &Statement,
        queue: &mpsc::Sender<Message>,
        room: &Arc<Semaphore>,
        delivered: &mut u64,
    ) -> Result<(), Lost> {
        let rows = drive(io, client.copy_out(statement.text.as_str())).await.map_err(Lost::of)?;
        tokio::pin!(rows);
        let mut skip = *delivered;
        let mut came = 0;
        let mut batch: Vec<u8> = Vec::with_capacity(BATCH_BYTES);
        loop {
            let row = match at_hand(io, rows.next()) {
                Some(row) => row,
                None => {
                    // The server sends 8 KiB at a time: waking for each costs more than the rows themselves.
                    if std::mem::take(&mut came) > PAUSE_AFTER_BYTES {
                        tokio::time::sleep(PAUSE).await;
                    }
                    drive(io, rows.next()).await
                }
            };
            let row = row.transpose().map_err(Lost::of)?;
            came += row.as_ref().map_or(0, |row| row.len());
            if let Some(row) = &row {
                // A row is delivered whole or not at all.
                if skip > 0 {
                    skip = skip.saturating_sub(row.len() as u64);
                    continue;
                }
                batch.extend_from_slice(row);
            }
            if batch.len() >= BATCH_BYTES || (row.is_none() && !batch.is_empty()) {
                *delivered += batch.len() as u64;
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_BYTES));
                let bytes = u32::try_from(full.len().min(self.queue_bytes)).unwrap_or(u32::MAX);
                let permit = room.clone().acquire_many_owned(bytes).await.map_err(|_| Lost::Unwanted)?;
                let message = Message::Batch(Batch { rows: full, _room: permit });
                queue.send(message).await.map_err(|_| Lost::Unwanted)?;
            }
            if row.is_none() {
                return Ok(());
            }
        }
    }
}
