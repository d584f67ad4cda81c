//! Progress as typed items: rooms report them, the command line draws them, tests look at them.

use std::{fmt, sync::Arc};

/// One thing worth telling while work goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A new step of the work begins; its name in words.
    Step(String),
    /// Something worth a line of its own, in words.
    Note(String),
    /// Something that the operator should look at, in words.
    Warning(String),
    /// How far the task of this name is, in bytes.
    Bytes {
        /// Name of the task, such as `snapshot` or `fetch`.
        task: &'static str,
        /// Bytes that are done so far.
        done: u64,
        /// Bytes that there will be in all; `None` while that is not known.
        total: Option<u64>,
        /// A short addition in words, such as "3 peers"; may be empty.
        detail: String,
    },
    /// The task of this name is over: its bar goes away.
    Done(&'static str),
}

/// Where progress items go. Cheap to clone; clones send to the same place.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Item) + Send + Sync>);

impl Progress {
    /// Sends every item to `sink`.
    pub fn new(sink: impl Fn(Item) + Send + Sync + 'static) -> Self {
        Progress(Arc::new(sink))
    }

    /// A progress whose items nobody looks at.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Sends any item.
    pub fn item(&self, item: Item) {
        (self.0)(item);
    }

    /// Tells that a new step begins.
    pub fn step(&self, text: impl Into<String>) {
        self.item(Item::Step(text.into()));
    }

    /// Tells something worth a line of its own.
    pub fn note(&self, text: impl Into<String>) {
        self.item(Item::Note(text.into()));
    }

    /// Tells the operator something to look at.
    pub fn warning(&self, text: impl Into<String>) {
        self.item(Item::Warning(text.into()));
    }

    /// Tells how far a task is, in bytes; see [`Item::Bytes`].
    pub fn bytes(&self, task: &'static str, done: u64, total: Option<u64>, detail: impl Into<String>) {
        self.item(Item::Bytes { task, done, total, detail: detail.into() });
    }

    /// Tells that a task is over, so that its bar goes away.
    pub fn done(&self, task: &'static str) {
        self.item(Item::Done(task));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
