//! Tasks are born here: each has a name in the log, ends with its token, and belongs to a set that can be waited for.

use std::{future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};
pub use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Result;

/// The tasks of one owner. Dropping the set aborts them.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<()>,
    cancel: CancellationToken,
}

impl Tasks {
    /// An empty set whose tasks end with `cancel`.
    pub fn new(cancel: CancellationToken) -> Self {
        Tasks { set: JoinSet::new(), cancel }
    }

    /// The token that ends all tasks of the set when it is cancelled.
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Starts a task, which ends with the set's token; its error goes to the log under this name.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = Result<()>> + Send + 'static) {
        let cancel = self.cancel.clone();
        let run = async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                done = work => if let Err(e) = done {
                    tracing::debug!("{name} ended: {}", e.chain());
                },
            }
        };
        self.set.spawn(run.instrument(tracing::debug_span!("task", name)));
        // Finished tasks leave the set, so that it does not grow with every peer that came and went.
        while self.set.try_join_next().is_some() {}
    }

    /// Cancels the set's token and waits for all tasks, at most `limit`; then aborts those that are left.
    pub async fn stop(mut self, limit: Duration) {
        self.cancel.cancel();
        let _ = timeout(limit, async { while self.set.join_next().await.is_some() {} }).await;
        self.set.abort_all();
    }
}
