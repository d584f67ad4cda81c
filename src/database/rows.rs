//! The rows of a cut, read over several connections at once and handed out in pg_dump's order.
//!
//! The statements stand in one order; each connection takes the next one and fills its queue, and the queues are emptied
//! one after the other. Each queue has a bound in bytes, so a connection that is ahead waits. Any failure of any
//! connection ends all of them, and the rows with it.

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
    proxy::Session,
    settings::Settings,
    skeleton::Skeleton,
    wire::{Came, Wire},
};
use crate::base::{Error, Progress, Result, limits::COPY_ROW_SIZE_BYTES_MAX, text};
use lost::Lost;
use order::{Message, Order, Place};
use worker::{Form, Statement, Workers};

/// Rows handed over at once.
const BATCH_BYTES: usize = 128 << 10;
/// Rows that wait in all queues together.
const QUEUED_BYTES: usize = 4 << 20;
/// Statements that may be open beside those that the connections read.
const STATEMENTS_AHEAD: usize = 1;
/// Small tables are read as text: that takes one statement fewer.
const BINARY_BYTES_MIN: u64 = 1 << 20;
/// When a session is lost on which rows do not come, those on which they do have so long to say why in better words.
const LAST_WORDS: Duration = Duration::from_secs(2);

const AGAIN: &str = "is the server still running? the snapshot can simply be made again";

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

/// The rows of a skeleton's tables.
#[derive(Debug)]
pub struct Rows {
    tables: Vec<Table>,
    order: Arc<Order>,
    places: mpsc::Receiver<Place>,
    current: Option<Place>,
    /// Statements whose place has not been said yet.
    statements_left: usize,
}

/// The connections that bring rows, and pg_dump's session with its locks. Dropping it ends them, and the rows with an
/// error.
pub struct Connections {
    _workers: Vec<AbortOnDropHandle<()>>,
    order: Arc<Order>,
    session: Session,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// Waits for the work that reads the rows, and ends it when a session is lost without which they are not those of the
    /// cut: the cut's own, or the one that holds the locks.
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

    /// Everything was read: lets go of the locks in order.
    ///
    /// # Errors
    /// When they were lost before, so that a table may have been emptied while its rows were read.
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
    /// Reads the tables' sizes and opens the connections. The cut must stay open until all are read.
    ///
    /// # Errors
    /// When no connection can be had.
    pub async fn start(cut: &Cut, skeleton: Skeleton, options: ReadOptions, progress: &Progress) -> Result<Opened> {
        let doing = || "look at the tables whose rows are to be read".to_owned();
        cut.lookout().over(doing, Self::prepare(cut, skeleton, options, progress)).await?
    }

    async fn prepare(cut: &Cut, skeleton: Skeleton, options: ReadOptions, progress: &Progress) -> Result<Opened> {
        let Skeleton { text, copies, sets, session } = skeleton;
        let copies: Vec<Copy> = copies.iter().map(|statement| Copy::read(statement)).collect();
        let sizes = sizes(cut, &copies).await?;
        let kinds = kinds(cut, &copies).await?;
        let settings = cut.settings();
        let mut preparation = sets;
        preparation.extend(cut.session_settings());
        preparation.push("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
        preparation.push(format!("SET TRANSACTION SNAPSHOT '{}'", cut.snapshot_id()));
        let mut first = open(settings, &preparation).await.map_err(|lost| lost.explain(settings, "the rows"))?;
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
        let statements_left = statements.len();
        let open_max = wires.len() + STATEMENTS_AHEAD;
        let (order, places) = Order::new(table_of, open_max);
        let settings = settings.clone();
        let again = settings.clone();
        let workers = Arc::new(Workers {
            settings,
            open: Box::new(move || {
                let (settings, preparation) = (again.clone(), preparation.clone());
                Box::pin(async move { open(&settings, &preparation).await })
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
        Ok(Opened { text, rows, connections })
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

impl Drop for Rows {
    /// Nobody reads any more: whoever brings rows need not wait for the server.
    fn drop(&mut self) {
        self.order.fail(Error::failed("nobody reads the rows any more"));
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

/// A connection that is part of the cut.
async fn open(settings: &Settings, preparation: &[String]) -> Result<Wire, Lost> {
    let failed = |failure: Failure| if failure.is_limit() { Lost::Limit(failure) } else { Lost::Open(failure) };
    let mut wire = Wire::open(settings).await.map_err(failed)?;
    for sql in preparation {
        wire.execute(sql).await?;
    }
    Ok(wire)
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
