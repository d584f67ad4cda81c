//! A short-lived member of a swarm, with a place of its own that goes away with it: for who asks or waits, and fetches nothing.

use super::{
    fetch::{self, Signed},
    node::{Node, SwarmOptions},
    state::StateDirectory,
};
use crate::{
    base::{Context, Progress, Result, task::CancellationToken},
    manifest::Ticket,
    store::PrivateDirectory,
};

/// Enters the ticket's swarm, asks for what was signed, does `work` with it, and leaves.
///
/// # Errors
/// As [`fetch::ask_for_manifest`]; those of the work.
pub(super) async fn visit<T>(
    ticket: &Ticket,
    (swarm, state): (&SwarmOptions, &StateDirectory),
    progress: &Progress,
    cancel: &CancellationToken,
    work: impl AsyncFnOnce(&mut Node, Signed) -> Result<T>,
) -> Result<T> {
    let place =
        tempfile::tempdir().or_failed(|| format!("cannot make a directory in {}", std::env::temp_dir().display()))?;
    let private = PrivateDirectory::lock(place.path())?;
    let mut node = Node::start(&private, ticket, swarm, state, progress).await?;
    let done = async {
        let signed = fetch::manifest_from_peers(&mut node, ticket, state, swarm.timeout, progress, cancel).await?;
        work(&mut node, signed).await
    };
    let done = done.await;
    node.stop().await;
    done
}
