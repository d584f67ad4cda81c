//! The rows of a cut, read over several connections at once and handed out in pg_dump's order. In go the cut and
//! pg_dump's `COPY` statements, out come batches of text for one blocking reader.
//!
//! Parties: *workers*, one task for each connection, bring rows; one *reader*, on a blocking thread, calls
//! [`Rows::read`]; [`Connections::over`] watches the two sessions without which the rows are not the cut's; `Order` is
//! what they share. A statement waits (its number is still to come), is open (a worker has taken it), or is read to its
//! end.
//!
//! Invariant: statements are taken and emptied in one and the same order; at most [`STATEMENTS_AHEAD`] more are open
//! than there are connections; and the queues of all open ones hold about [`QUEUED_BYTES`] at most, whatever the
//! tables' sizes.
//!
//! 1. [`Rows::start`] reads sizes and column types, opens the connections, and cuts large tables into ranges of pages.
//! 2. A worker waits for a free place, takes the next statement, and announces its queue to the reader (`Order::take`).
//! 3. It fills that queue with batches and waits while the queue is full; a last message says that all rows were there.
//! 4. The reader empties the queue, frees the place, and goes to the queue that was announced next. A table is over
//!    where the next statement is another table's.
//! 5. A connection that breaks is made anew in the same cut: the same rows come again, and what was delivered is
//!    skipped. All connections together may break three times.
//!
//! Good end: no statement is left, [`Rows::finish`] finds none unread, and [`Connections::end`] finds the locks still
//! held. Error of a worker, a lost session, a reader that is dropped: `Order::fail` keeps the first error and ends all
//! workers, whose queues end with them; the reader gets that error. Interruption: dropping [`Connections`] aborts the
//! workers, and a worker that is dropped unfinished fails the order in the same way, so that the reader's thread ends,
//! too.

mod lost;
mod order;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tempfile::SpooledTempFile;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    binary::Kind,
    columns::{kinds, sizes},
    connect::Failure,
    copy::{Copy, Format, RANGE_BYTES, TableSize},
    cut::Cut,
    proxy::PgDumpSession,
    settings::Settings,
    skeleton::Skeleton,
    wire::{Came, Wire},
};
use crate::base::{Error, Progress, Result, limits::COPY_ROW_SIZE_BYTES_MAX, text};
use lost::Lost;
use order::{Message, Order, Place};
use worker::{Form, Statement, Workers};

/// Bytes of row text that a worker collects before it hands them over as one batch.
const BATCH_BYTES: usize = 128 << 10;
/// Bytes of row text that may wait in all queues together.
const QUEUED_BYTES: usize = 4 << 20;
/// Statements that may be open beside one for each connection, so that a worker need not wait for the reader.
const STATEMENTS_AHEAD: usize = 1;
/// Tables of fewer bytes on the server's disk are read as text: checking the binary form takes statements of its own.
const BINARY_BYTES_MIN: u64 = 1 << 20;
/// How long sessions that still bring rows may take to give a better reason when another needed session is lost.
const LAST_WORDS: Duration = Duration::from_secs(2);

const AGAIN: &str = "is the server still running? the snapshot can simply be made again";

/// How rows are read.
#[derive(Debug, Clone, Copy)]
pub struct RowOptions {
    /// Connections to open, at least one; fewer where the server allows no more or there are fewer statements.
    pub connections: usize,
    /// Bytes on the server's disk that one statement reads of a table; a larger table is read by several.
    pub range_bytes: u64,
    /// Bytes on the server's disk from which on a table is read in binary form, where all its column types are known.
    pub binary_bytes_min: u64,
}

impl RowOptions {
    /// Options for this many connections, with the default size of a range and the default bound for the binary form.
    pub fn new(connections: usize) -> Self {
        RowOptions { connections, range_bytes: RANGE_BYTES, binary_bytes_min: BINARY_BYTES_MIN }
    }
}

/// A table whose rows are to come, as pg_dump and the server's catalogue describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The table's qualified name as SQL quotes it, for messages;
    /// the whole statement where a query stands in its place.
    pub name: String,
    /// The table's COPY statement up to and including the columns; `None` where a query stands in the table's place.
    pub head: Option<String>,
    /// Bytes it takes on the server's disk, its TOAST table included.
    pub size_bytes: u64,
    /// Rows as the server last estimated them, for progress only; 0 where it never did.
    pub rows_estimate: u64,
}

/// Text of rows in COPY's text format, each with its line end; a long row may be cut anywhere.
#[derive(Debug)]
pub struct Batch {
    rows: Vec<u8>,
    /// Permits for the batch's bytes in its queue; dropping the batch gives them back.
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Batch {
    fn as_ref(&self) -> &[u8] {
        &self.rows
    }
}

/// The rows of a skeleton's tables, for the one reader that takes them in order. Dropping it ends the workers.
#[derive(Debug)]
pub struct Rows {
    tables: Vec<Table>,
    order: Arc<Order>,
    places: mpsc::Receiver<Place>,
    current: Option<Place>,
    /// Statements whose queue the reader has not been given yet.
    statements_left: usize,
}

/// The connections that bring rows, and pg_dump's session with its locks.
/// Dropping this ends them; the reader then gets an error instead of more rows.
pub struct Connections {
    _workers: Vec<AbortOnDropHandle<()>>,
    order: Arc<Order>,
    session: PgDumpSession,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// Waits for `work`, which reads the rows, and ends the rows with an error when a session is lost without which
    /// they are not those of the cut: the cut's own, or pg_dump's, which holds the locks.
    pub async fn over<T>(&mut self, cut: &Cut, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let lost = async {
            let lost = tokio::select! {
                words = self.session.lost() => locks_lost().because(words),
                words = cut.lost() => Error::failed("lost the session that holds the consistent cut").because(words),
            };
            tokio::time::sleep(LAST_WORDS).await;
            lost.hint(AGAIN)
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            lost = lost => self.order.fail(lost),
        }
        work.await
    }

    /// Ends pg_dump's transaction, which lets go of the locks, after all rows were read.
    ///
    /// # Errors
    /// When that session was lost before: a table may then have been emptied (TRUNCATE) while its rows were read.
    pub async fn end(mut self, cut: &Cut) -> Result<()> {
        let doing = || "let go of the locks".to_owned();
        let ended = cut.lookout().over(doing, self.session.execute("COMMIT")).await?;
        ended.map_err(|e| locks_lost().because(e.into_words()).hint(AGAIN))?;
        self.session.end().await;
        Ok(())
    }
}

fn locks_lost() -> Error {
    Error::failed("lost pg_dump's session, which holds the locks")
}

impl Rows {
    /// Prepares the statements and opens the connections. The cut must stay open until all rows are read.
    ///
    /// # Errors
    /// When the catalogue cannot be read, no connection can be opened, or a wait for a lock would never end. Where only
    /// the server's limit is met, fewer connections and a warning are the answer.
    pub async fn start(cut: &Cut, skeleton: Skeleton, options: RowOptions, progress: &Progress) -> Result<OpenedRows> {
        let doing = || "look at the tables whose rows are to be read".to_owned();
        cut.lookout().over(doing, Self::prepare(cut, skeleton, options, progress)).await?
    }

    async fn prepare(cut: &Cut, skeleton: Skeleton, options: RowOptions, progress: &Progress) -> Result<OpenedRows> {
        let Skeleton { text, copies, sets, session } = skeleton;
        let copies: Vec<Copy> = copies.iter().map(|statement| Copy::read(statement)).collect();
        let sizes = sizes(cut, &copies).await?;
        let kinds = kinds(cut, &copies).await?;
        let settings = cut.settings();
        let mut preparation = sets;
        preparation.extend(cut.session_settings());
        preparation.push("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
        preparation.push(format!("SET TRANSACTION SNAPSHOT '{}'", cut.snapshot_id()));
        let mut first =
            open_connection(settings, &preparation).await.map_err(|lost| lost.explain(settings, "the rows"))?;
        let major = cut.facts().server_major;
        let mut statements = Vec::new();
        let mut table_of = Vec::new();
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
                statements.push(Statement { name: copy.name().to_owned(), text, kinds: kinds.clone() });
                table_of.push(table);
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
            match open_connection(settings, &preparation).await {
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
        let statements_left = statements.len();
        let open_max = wires.len() + STATEMENTS_AHEAD;
        let (order, places) = Order::new(table_of, open_max);
        let settings = settings.clone();
        let again = settings.clone();
        let workers = Arc::new(Workers {
            settings,
            open: Box::new(move || {
                let (settings, preparation) = (again.clone(), preparation.clone());
                Box::pin(async move { open_connection(&settings, &preparation).await })
            }),
            statements,
            order: order.clone(),
            batch_bytes: BATCH_BYTES,
            queue_bytes: QUEUED_BYTES / open_max,
            row_bytes_max: COPY_ROW_SIZE_BYTES_MAX,
            lost: AtomicU32::new(0),
            lookout: cut.lookout(),
        });
        let start = |wire| AbortOnDropHandle::new(tokio::spawn(workers.clone().work(wire)));
        let connections =
            Connections { _workers: wires.into_iter().map(start).collect(), order: order.clone(), session };
        let rows = Rows { tables, order, places, current: None, statements_left };
        Ok(OpenedRows { text, rows, connections })
    }

    /// The tables, in pg_dump's order.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The next rows of the table with this index, `None` at its
    /// end. Tables are read in order, each to its end. Blocking.
    ///
    /// # Errors
    /// When a connection failed: the first failure, which is told once.
    pub fn read(&mut self, table: usize) -> Result<Option<Batch>> {
        loop {
            if self.order.failed() {
                return Err(self.order.reason());
            }
            let Some(place) = &mut self.current else {
                if self.statements_left == 0 {
                    return Ok(None);
                }
                let place = self.places.blocking_recv().ok_or_else(|| self.order.reason())?;
                self.statements_left -= 1;
                self.current = Some(place);
                continue;
            };
            if place.table != table {
                return Ok(None);
            }
            match place.rows.blocking_recv() {
                Some(Message::Batch(batch)) => return Ok(Some(batch)),
                Some(Message::End) => self.current = None,
                None => return Err(self.order.reason()),
            }
        }
    }

    /// Says that pg_dump's text is over and has no place for more rows.
    ///
    /// # Errors
    /// When statements are left whose rows nobody asked for.
    pub fn finish(&self) -> Result<()> {
        if self.current.is_some() || self.statements_left > 0 {
            return Err(Error::failed("rows are left that belong nowhere in pg_dump's text"));
        }
        Ok(())
    }
}

impl Drop for Rows {
    /// Ends the workers: whoever brings rows need not wait for the server.
    fn drop(&mut self) {
        self.order.fail(Error::failed("nobody reads the rows any more"));
    }
}

/// What [`Rows::start`] gives: pg_dump's text, and the rows that belong into it.
#[derive(Debug)]
pub struct OpenedRows {
    /// pg_dump's text, with `COPY … FROM stdin;` and `\.` for each table and no rows between them.
    pub text: SpooledTempFile,
    /// The rows of these tables, in the text's order.
    pub rows: Rows,
    /// The connections that bring the rows; they must be kept until all rows are read.
    pub connections: Connections,
}

/// A connection inside the cut: logged in, pg_dump's `SET`s repeated, and the exported snapshot taken.
async fn open_connection(settings: &Settings, preparation: &[String]) -> Result<Wire, Lost> {
    let failed = |failure: Failure| if failure.is_limit() { Lost::Limit(failure) } else { Lost::Open(failure) };
    let mut wire = Wire::open(settings).await.map_err(failed)?;
    for sql in preparation {
        wire.execute(sql).await?;
    }
    Ok(wire)
}

/// All rows of a statement as text; only for statements whose rows fit into memory.
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

/// Whether the text made here of the binary rows on a table's first page is the server's own text of them.
/// False, too, where a first page cannot be asked for.
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
