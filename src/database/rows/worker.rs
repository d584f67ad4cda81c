//! One worker: a connection's task that takes the next statement and fills its queue, over and over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kwil_formats::dump::row_length::{RowLengths, TOO_LONG};
use tokio::sync::{Semaphore, mpsc};

use super::{
    super::{
        binary::{Kind, TextWriter},
        lookout::Lookout,
        settings::Settings,
        wire::{Came, Wire},
    },
    Batch,
    lost::Lost,
    order::{Ends, Message, Order},
};
use crate::base::{Error, Result, text::escape};

/// A connection that has brought more than this many bytes since it last had
/// nothing to read pauses for [`PAUSE`], so that more bytes come at once.
const PAUSE_AFTER_BYTES: usize = 4 << 10;
const PAUSE: Duration = Duration::from_millis(1);
/// Connections that may be made anew after they broke, over all workers and statements of a cut.
const LOST_MAX: u32 = 3;

/// Makes a further connection that is part of the cut.
pub(super) type Opener =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Wire, Lost>> + Send>> + Send + Sync + 'static>;

/// A statement that reads a table's rows, or a range of them.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) text: String,
    /// How the columns of a statement in binary form are written as text; `None` where the rows come as text.
    pub(super) kinds: Option<Arc<[Kind]>>,
}

/// What all workers of a cut share.
pub(super) struct Workers {
    pub(super) settings: Settings,
    pub(super) open: Opener,
    pub(super) statements: Vec<Statement>,
    pub(super) order: Arc<Order>,
    /// Bytes of text that make a batch.
    pub(super) batch_bytes: usize,
    /// Bytes of text that may wait in one statement's queue.
    pub(super) queue_bytes: usize,
    /// Bytes that the text of a row may have, its line end included; a longer one is an error.
    pub(super) row_bytes_max: u64,
    /// Connections that broke so far; beyond [`LOST_MAX`] none is made anew.
    pub(super) lost: AtomicU32,
    pub(super) lookout: Arc<Lookout>,
}

impl Workers {
    /// Takes statements until there are no more, or something
    /// failed anywhere; a task that is ended early fails the order.
    pub(super) fn work(self: Arc<Self>, wire: Wire) -> impl Future<Output = ()> + Send + 'static {
        // From here on: a task may be ended before it has begun.
        let ends = Ends::of(&self.order);
        async move {
            tokio::select! {
                biased;
                // Lets go of whatever it has in hand: its queue above all.
                () = self.order.end() => {}
                () = self.take_statements(wire) => {}
            }
            ends.well();
        }
    }

    async fn take_statements(&self, mut wire: Wire) {
        while let Some((statement, queue)) = self.order.take().await {
            let Some(statement) = self.statements.get(statement) else { return };
            if let Err(e) = self.read(&mut wire, statement, &queue).await {
                return self.order.fail(e);
            }
            if queue.send(Message::End).await.is_err() {
                return;
            }
        }
    }

    /// Reads a statement to its end over `wire`; where that breaks,
    /// a new connection takes its place, if one may be made.
    async fn read(&self, wire: &mut Wire, statement: &Statement, queue: &mpsc::Sender<Message>) -> Result<()> {
        let room = Arc::new(Semaphore::new(self.queue_bytes));
        let mut delivered = Delivered { bytes: 0, rows: RowLengths::up_to(self.row_bytes_max) };
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
            match (self.open)().await {
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
        delivered: &mut Delivered,
    ) -> Result<(), Lost> {
        let mut form = Form::new(statement.kinds.as_deref());
        let mut skip = delivered.bytes;
        let mut came = 0;
        let new_batch = || Vec::with_capacity(self.batch_bytes + self.batch_bytes / 4);
        let mut batch: Vec<u8> = new_batch();
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
                            let doing = || format!("read {}", statement.name);
                            self.lookout.over(doing, wire.fill()).await.map_err(Lost::Endless)??
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
            if batch.len() >= self.batch_bytes || (is_end && !batch.is_empty()) {
                let long = |column: String| Lost::TooLong(too_long(&statement.name, &column));
                delivered.rows.push(&batch).map_err(long)?;
                delivered.bytes += batch.len() as u64;
                let full = std::mem::replace(&mut batch, new_batch());
                let bytes = u32::try_from(full.len().min(self.queue_bytes)).unwrap_or(u32::MAX);
                let room = room.clone().acquire_many_owned(bytes).await.map_err(|_| Lost::Unwanted)?;
                let message = Message::Batch(Batch { rows: full, _room: room });
                queue.send(message).await.map_err(|_| Lost::Unwanted)?;
            }
            if is_end {
                return form.finish();
            }
        }
    }
}

/// What of a statement's rows was handed over: bytes of text, and how long the row is that they end in.
struct Delivered {
    bytes: u64,
    rows: RowLengths,
}

fn too_long(table: &str, column: &str) -> Error {
    Error::failed(format!("a row of {} {TOO_LONG}: the one that begins with {}", escape(table), escape(column)))
        .hint("shorten or delete that row, or its long value, in the old network, and make the snapshot again")
}

/// How the bytes of a statement's rows become text: copied, or written from the binary form.
pub(super) enum Form<'a> {
    Text,
    Binary(TextWriter<'a>),
}

impl<'a> Form<'a> {
    pub(super) fn new(kinds: Option<&'a [Kind]>) -> Self {
        kinds.map_or(Form::Text, |kinds| Form::Binary(TextWriter::new(kinds)))
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Lost> {
        match self {
            Form::Text => out.extend_from_slice(bytes),
            Form::Binary(writer) => writer.push(bytes, out).map_err(Lost::Malformed)?,
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), Lost> {
        match self {
            Form::Text => Ok(()),
            Form::Binary(writer) => writer.finish().map_err(Lost::Malformed),
        }
    }
}
