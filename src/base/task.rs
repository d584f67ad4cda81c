//! Tasks are born here: each has a name in the log, ends with its token, and belongs to a set that can be waited for.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
pub use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Result;

/// How long nobody is let in after the system could not do it.
const REST: Duration = Duration::from_millis(100);

/// Serves whoever comes, each in a task of its own, for ever: one more than `max` takes the place of the one that came first, so that who
/// says nothing keeps nobody out. Dropping it ends all of them.
pub async fn serve_each<S, F>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    max: usize,
    mut serve: impl FnMut(S) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut clients, mut open) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let stream = match poll_fn(&mut accept).await {
            Ok(stream) => stream,
            Err(e) => {
                tracing::debug!("nobody can be let in now: {e}");
                sleep(REST).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        open.retain(|client| !client.is_finished());
        if open.len() >= max
            && let Some(first) = open.pop_front()
        {
            first.abort();
        }
        open.push_back(clients.spawn(serve(stream)));
    }
}

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
