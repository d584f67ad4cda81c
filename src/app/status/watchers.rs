//! Who is shown what a node's board comes to know, at once: the service manager's line, and programs for events.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Attestations, Network, Readiness, Role, Status};

/// What a watcher is shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// How it stands, once a second.
    Sample(&'a Status),
    /// What validators have said so far, whenever one of them has said something.
    Heard {
        /// Those of the old network.
        attestations: &'a Attestations,
        /// Those of the new network.
        readiness: &'a Readiness,
        /// Which migration it is about, where that is known.
        network: Option<&'a Network>,
        /// What the node does.
        role: Option<Role>,
    },
    /// Why the manifest counts no more.
    Against(&'a str),
}

/// Must return at once, and never block.
type Watcher = Arc<dyn Fn(&Shown<'_>) + Send + Sync>;

/// All of them.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Vec<Watcher>>);

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchers")
    }
}

impl Watchers {
    pub(super) fn add(&self, watcher: impl Fn(&Shown<'_>) + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(watcher));
    }

    pub(super) fn show(&self, shown: &Shown<'_>) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().for_each(|watcher| watcher(shown));
    }
}
