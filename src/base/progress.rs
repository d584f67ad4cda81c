//! Progress as typed items. Rooms report, the command line draws, tests look at the items.

use std::{fmt, sync::Arc};

/// One thing worth telling while work goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A new step begins, in words.
    Step(String),
    /// Something worth a line of its own.
    Note(String),
    /// Something the operator should look at.
    Warning(String),
    /// How far the named task is; `total` when it is known.
    Bytes {
        /// What is counted, such as `snapshot` or `fetch`.
        task: &'static str,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all.
        total: Option<u64>,
        /// A short addition such as "3 peers".
        detail: String,
    },
    /// The named task is over: its bar goes away.
    Done(&'static str),
}

/// Where items go. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Item) + Send + Sync>);

impl Progress {
    /// Sends every item to `sink`.
    pub fn new(sink: impl Fn(Item) + Send + Sync + 'static) -> Self {
        Progress(Arc::new(sink))
    }

    /// Nobody looks.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Reports any item.
    pub fn item(&self, item: Item) {
        (self.0)(item);
    }

    /// Begins a step.
    pub fn step(&self, text: impl Into<String>) {
        self.item(Item::Step(text.into()));
    }

    /// Says something.
    pub fn note(&self, text: impl Into<String>) {
        self.item(Item::Note(text.into()));
    }

    /// Warns.
    pub fn warning(&self, text: impl Into<String>) {
        self.item(Item::Warning(text.into()));
    }

    /// Tells how far a task is.
    pub fn bytes(&self, task: &'static str, done: u64, total: Option<u64>, detail: impl Into<String>) {
        self.item(Item::Bytes { task, done, total, detail: detail.into() });
    }

    /// Ends a task's bar.
    pub fn done(&self, task: &'static str) {
        self.item(Item::Done(task));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
