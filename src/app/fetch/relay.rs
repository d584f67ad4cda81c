//! Relaying: everything that a ticket names is fetched and served on, by a machine that is no validator. Chunks are proved by the
//! manifest's ids, and that is all a relay needs to know of them: whoever sets a root up checks the text.

use super::{Check, FetchOptions, Fetching, ask, begin, keep_ticket};
use crate::{
    app::{
        meet::{self, WaitFor},
        node::Node,
    },
    base::{Kind, Next, Notice, Progress, Result, limits, task::CancellationToken, text},
    manifest::{Ticket, VerifiedManifest},
    store::{FileSystem, PrivateDirectory},
};

/// When a relay ends by itself.
#[derive(Debug, Clone, Copy)]
pub struct RelayEnds {
    /// When the swarm has come so far.
    pub until: Option<WaitFor>,
    /// When so many bytes of chunks were sent.
    pub sent: Option<u64>,
}

/// Fetches what is missing and serves it meanwhile and afterwards, until one of its ends or until a signal comes; once everything is here
/// both are good ends. `tell` hears the ticket that leads here, as soon as the manifest is known.
///
/// # Errors
/// As [`super::fetch`], but for the snapshot's text, which is not read.
pub async fn relay(
    options: FetchOptions,
    ends: RelayEnds,
    tell: impl FnOnce(&Ticket, &VerifiedManifest) -> Result<()>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let (private, mut node) = begin(&options, progress).await?;
    let limit = ends.sent.map(|bytes| (bytes, node.handle().has_sent(bytes)));
    let stopped = cancel;
    let cancel = &cancel.child_token();
    let relayed = async {
        let ticket = ticket_of(&mut node, &options.ticket, &private).await?;
        if let Some(address) = ticket.addresses.first() {
            let text = format!("this relay is at {address}");
            progress.note(Notice::from(text).next(Next::ConnectToRelay));
        }
        let signed = ask((&mut node, &private), &options, &|_, _| Ok(None), progress, cancel).await?;
        tell(&ticket, &signed.manifest)?;
        let fetching = Fetching::of(&options, &signed, &private, &FileSystem, progress, cancel);
        let unread = |_: &_, _| Check { task: tokio::spawn(async { Ok(()) }), words: None };
        fetching.run(&mut node, unread).await?;
        progress.note("everything is here, as it was signed: serving others");
        meet::serve_until(&mut node, (ends.until, options.swarm.timeout), &options.directory, progress, cancel).await
    };
    let (relayed, limit) = until_limit(relayed, limit, cancel).await;
    node.stop().await;
    let Some(bytes) = limit.filter(|_| !stopped.is_cancelled()) else { return relayed };
    progress.note(format!("{} were sent to others, as much as this relay was allowed: it ends", text::bytes(bytes)));
    // Whatever it still waited for, it was told to end then.
    match relayed {
        Err(error) if !matches!(error.kind(), Kind::Interrupted(_)) => Err(error),
        _ => Ok(()),
    }
}

/// Works until the limit is reached, and then has the work end as after a signal; gives the limit if that was so.
async fn until_limit<T>(
    work: impl Future<Output = T>,
    limit: Option<(u64, impl Future<Output = ()>)>,
    cancel: &CancellationToken,
) -> (T, Option<u64>) {
    tokio::pin!(work);
    let Some((bytes, reached)) = limit else { return (work.await, None) };
    tokio::select! {
        done = &mut work => (done, None),
        () = reached => {
            cancel.cancel();
            (work.await, Some(bytes))
        }
    }
}

/// The ticket that leads here first, and then where the given one led: whoever has it finds the others, too.
async fn ticket_of(node: &mut Node, given: &Ticket, private: &PrivateDirectory) -> Result<Ticket> {
    let mut ticket = node.ticket(given).await?;
    let others: Vec<String> =
        given.addresses.iter().filter(|address| !ticket.addresses.contains(address)).cloned().collect();
    ticket.addresses.extend(others);
    ticket.addresses.truncate(limits::TICKET_ADDRESSES_MAX);
    keep_ticket(private, &ticket)?;
    Ok(ticket)
}
