//! The order of the statements between those who bring rows and the one who reads them, and the first failure.
//!
//! Nobody waits here with something in hand that another one needs. A lock is held only to note a place and never across
//! a wait; a place is said before its rows are waited for, into a queue that has room for every place that may be open;
//! and the first failure ends all of them, whatever each is waiting for, which lets go of every queue.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Batch;
use crate::base::{Error, task::CancellationToken};

/// Batches that wait in one queue; the bytes are the bound that is met first.
const QUEUED_BATCHES: usize = 64;

/// What comes in a queue.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    End,
}

/// A statement that was taken: the table it belongs to, and where its rows come.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) table: usize,
    pub(super) rows: mpsc::Receiver<Message>,
    /// Gives the place to another statement once the rows are read.
    _place: OwnedSemaphorePermit,
}

/// What those who bring rows have in common.
#[derive(Debug)]
pub(super) struct Order {
    /// The table of each statement.
    tables: Vec<usize>,
    next: Mutex<Next>,
    /// Statements that may be open: taken, and not yet read to their end.
    places: Arc<Semaphore>,
    failure: FirstFailure,
}

/// The next statement, and where its place is said; gone when there is none.
#[derive(Debug)]
struct Next {
    statement: usize,
    order: Option<mpsc::Sender<Place>>,
}

/// The first failure ends all; others come because of it.
#[derive(Debug, Default)]
struct FirstFailure {
    happened: AtomicBool,
    error: Mutex<Option<Error>>,
    ends: CancellationToken,
}

impl Order {
    /// Statements by their tables, of which so many may be open at once; the places come in order.
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

    /// The next statement, and the queue for its rows; none when there are no more, or nobody reads them.
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

    /// Ends all for this reason, unless there was one before.
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

    /// Comes when something failed.
    pub(super) async fn end(&self) {
        self.failure.ends.cancelled().await;
    }

    /// The first failure. It can be told once.
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

/// Whoever is dropped before it has ended, by whatever, ends all: nobody waits for its rows.
#[derive(Debug)]
pub(super) struct Ends(Option<Arc<Order>>);

impl Ends {
    pub(super) fn of(order: &Arc<Order>) -> Self {
        Ends(Some(order.clone()))
    }

    /// It has ended as it should.
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
