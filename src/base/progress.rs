//! Progress as typed items: rooms report them, the command line draws them, tests look at them.

use std::{fmt, sync::Arc};

use super::{Advice, Error};

/// One thing worth telling while work goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A new step of the work begins; its name in words.
    Step(String),
    /// Something worth a line of its own.
    Note(Notice),
    /// Something that the operator should look at.
    Warning(Notice),
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

/// What is told, and what the operator may do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What was seen, in words.
    pub text: String,
    /// What the operator may do; `None` where nothing is advised.
    pub next: Option<Advice>,
}

impl Notice {
    /// This notice with what the operator may do.
    #[must_use]
    pub fn next(mut self, next: impl Into<Advice>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// An error as a notice: its causes and its advice, behind `what` and a colon.
    pub fn of(what: impl fmt::Display, error: &Error) -> Self {
        Notice { text: format!("{what}: {}", error.chain()), next: error.advice().cloned() }
    }
}

impl<T: Into<String>> From<T> for Notice {
    fn from(text: T) -> Self {
        Notice { text: text.into(), next: None }
    }
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
    pub fn note(&self, notice: impl Into<Notice>) {
        self.item(Item::Note(notice.into()));
    }

    /// Tells the operator something to look at.
    pub fn warning(&self, notice: impl Into<Notice>) {
        self.item(Item::Warning(notice.into()));
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
