//! The order of the statements between the workers who bring rows and the one reader, and the first failure. What each
//! of them does stands at the top of `rows.rs`.
//!
//! Nobody waits here with something in hand that another one needs. A lock is held only to note a place and never
//! across a wait; a place is said before its rows are waited for, into a queue that has room for every place that may
//! be open; and the first failure ends all of them, whatever each is waiting for, which lets go of every queue.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Batch;
use crate::base::{Error, task::CancellationToken};

/// Batches that may wait in one statement's queue; the bound in bytes is met first, unless batches are small.
const QUEUED_BATCHES: usize = 64;

/// What comes in a statement's queue: its batches in order, then the word that all its rows were there.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    End,
}

/// A statement that was taken: the index of its table, and the queue in which its rows come.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) table: usize,
    pub(super) rows: mpsc::Receiver<Message>,
    /// One of the places of [`Order`]; dropping it, when the rows are read, lets another statement be taken.
    _place: OwnedSemaphorePermit,
}

/// What the workers share: who takes which statement, how many may be open, and the first failure of any of them.
#[derive(Debug)]
pub(super) struct Order {
    /// The index of each statement's table, by the statement's number.
    tables: Vec<usize>,
    next: Mutex<Next>,
    /// Permits for open statements: taken, and not yet read to their end.
    places: Arc<Semaphore>,
    failure: FirstFailure,
}

/// The number of the statement that is taken next, and the channel in which its place is announced to the reader;
/// `None` when there are no more statements or something failed.
#[derive(Debug)]
struct Next {
    statement: usize,
    order: Option<mpsc::Sender<Place>>,
}

/// The first failure, which ends everything; later ones come because of it and are not kept.
#[derive(Debug, Default)]
struct FirstFailure {
    happened: AtomicBool,
    error: Mutex<Option<Error>>,
    ends: CancellationToken,
}

impl Order {
    /// An order over statements, given by their tables, of which at most `open_max` (at least 1) are open at once. The
    /// receiver gets their places in that order.
    pub(super) fn new(tables: Vec<usize>, open_max: usize) -> (Arc<Self>, mpsc::Receiver<Place>) {
        let (order, places) = mpsc::channel(open_max.max(1));
        let order = Order {
            tables,
            next: Mutex::new(Next { statement: 0, order: Some(order) }),
            places: Arc::new(Semaphore::new(open_max.max(1))),
            failure: FirstFailure::default(),
        };
        (Arc::new(order), places)
    }

    /// The number of the next statement, and the queue for its rows; `None` when there are no more or nobody reads
    /// them. Waits while as many statements are open as may be.
    pub(super) async fn take(&self) -> Option<(usize, mpsc::Sender<Message>)> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        let (queue, rows) = mpsc::channel(QUEUED_BATCHES);
        let mut next = self.next();
        let statement = next.statement;
        let Some(&table) = self.tables.get(statement) else {
            next.order = None;
            return None;
        };
        // There is room for as many as there are places.
        next.order.as_ref()?.try_send(Place { table, rows, _place: place }).ok()?;
        next.statement += 1;
        Some((statement, queue))
    }

    /// Ends all workers for this reason, unless something failed before; then only the earlier reason is kept.
    pub(super) fn fail(&self, error: Error) {
        {
            let mut first = self.failure.error.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.failed() {
                *first = Some(error);
                self.failure.happened.store(true, Ordering::Release);
            }
        }
        self.failure.ends.cancel();
        self.next().order = None;
    }

    pub(super) fn failed(&self) -> bool {
        self.failure.happened.load(Ordering::Acquire)
    }

    /// Waits until something has failed.
    pub(super) async fn end(&self) {
        self.failure.ends.cancelled().await;
    }

    /// The first failure. It is told once; a later call, or one without a failure, gets a general error.
    pub(super) fn reason(&self) -> Error {
        let first = self.failure.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(ended_early)
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended_early() -> Error {
    Error::failed("a connection's task ended early").hint("the snapshot can simply be made again")
}

/// Fails the order when it is dropped before [`Ends::well`]: a worker that is aborted or panics brings no more rows.
#[derive(Debug)]
pub(super) struct Ends(Option<Arc<Order>>);

impl Ends {
    pub(super) fn of(order: &Arc<Order>) -> Self {
        Ends(Some(order.clone()))
    }

    /// Says that the worker has ended as it should; dropping it then fails nothing.
    pub(super) fn well(mut self) {
        self.0 = None;
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(order) = &self.0 {
            order.fail(ended_early());
        }
    }
}
