//! Asking how a migration stands: the node that works in a directory, the directory itself where none does, or a swarm, as a member of it
//! that fetches nothing.

use std::{path::Path, time::Duration};

use tokio::time::sleep;

use super::{
    Status,
    address::{self, Address},
    directory::{on_media, place_of, status_of},
    socket::{self, Answer},
};
use crate::{
    app::{
        fetch::Signed,
        node::{Node, SwarmOptions},
        state::StateDirectory,
        visit::visit,
    },
    base::{Error, Progress, Result, clock, durable::PRIVATE_DIRECTORY_NAME, task::CancellationToken},
    manifest::Ticket,
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// So long a swarm is looked at before it is told how it stands, where its members go on coming.
const SETTLED_MAX: Duration = Duration::from_secs(10);
/// No new member, and no new word of one, for so long: who is to be seen is seen.
const SETTLED: Duration = Duration::from_secs(3);

/// What is done with each status; false: enough has been seen.
pub type Show<'a> = &'a mut (dyn FnMut(&Status) -> Result<bool> + Send);

/// How the node that works in a directory stands, or what the directory says of itself.
///
/// # Errors
/// When nothing of a migration is there, or the node does not answer.
pub async fn of_directory(directory: &Path) -> Result<Status> {
    let place = place_of(directory);
    match socket::ask(&place.join(PRIVATE_DIRECTORY_NAME)).await? {
        Answer::Status(status) => Ok(Status { on_media: on_media(&place), ..*status }),
        Answer::Nobody { stale } => status_of(&place, stale),
    }
}

/// How the node with this status address stands.
///
/// # Errors
/// When it cannot be reached, or does not answer as a node does.
pub async fn of_address(address: &Address) -> Result<Status> {
    address::ask(address).await
}

/// The same again and again, over restarts of the node, until it is enough or a signal comes.
///
/// # Errors
/// As `look`, such as [`of_directory`], at the first look; what fails later is told by the next look.
pub async fn watch(look: impl AsyncFn() -> Result<Status>, cancel: &CancellationToken, show: Show<'_>) -> Result<()> {
    let mut status = look().await?;
    while show(&status)? {
        let next = async {
            sleep(INTERVAL).await;
            look().await
        };
        status = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            next = next => match next {
                Ok(next) => next,
                // A node that is being started again, or ends: what was seen stays, and its time tells how old it is.
                Err(error) => {
                    tracing::debug!("{}", error.chain());
                    continue;
                }
            }
        };
    }
    Ok(())
}

/// How to look at a swarm.
#[derive(Debug)]
pub struct ObserveOptions {
    /// How to enter it; its timeout bounds the search for somebody.
    pub swarm: SwarmOptions,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
    /// Go on until it is enough, or a signal comes; otherwise look once, when who is there has been seen.
    pub watch: bool,
}

/// Looks at the ticket's swarm as a member that fetches nothing.
///
/// # Errors
/// [`crate::base::Kind::GaveUp`] when nobody is reached in time; as [`crate::app::fetch::ask_for_manifest`].
pub async fn observe(
    ticket: &Ticket,
    options: ObserveOptions,
    progress: &Progress,
    cancel: &CancellationToken,
    show: Show<'_>,
) -> Result<()> {
    visit(ticket, (&options.swarm, &options.state), progress, cancel, async |node: &mut Node, signed: Signed| {
        node.watch(&signed).await?;
        match options.watch {
            true => follow(node, cancel, show).await,
            false => {
                settle(node, cancel).await?;
                show(&node.reporter().status()).map(|_| ())
            }
        }
    })
    .await
}

async fn follow(node: &mut Node, cancel: &CancellationToken, show: Show<'_>) -> Result<()> {
    let mut latest = node.reporter().watch();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            heard = node.next() => drop(heard?),
        }
        if latest.has_changed().unwrap_or(false) {
            let status = latest.borrow_and_update().clone();
            if !show(&status)? {
                return Ok(());
            }
        }
    }
}

/// Waits until who is to be seen has been seen: a member comes some time after another one told of it.
async fn settle(node: &mut Node, cancel: &CancellationToken) -> Result<()> {
    let (began, mut latest) = (clock::now(), node.reporter().watch());
    let picture = |status: &Status| {
        let members: Vec<_> = status.members.iter().map(|member| (member.peer.clone(), member.chunks > 0)).collect();
        let attested = status.attestations.as_ref().map(|all| all.agree + all.dissent);
        (members, attested, status.readiness.as_ref().map(|all| all.ready))
    };
    let (mut seen, mut since) = (picture(&latest.borrow()), began);
    loop {
        tokio::select! {
            () = cancel.cancelled() => {
                return Err(Error::interrupted("while the swarm was looked at").hint("run the same command again"));
            }
            heard = node.next() => drop(heard?),
        }
        let now = clock::now();
        if latest.has_changed().unwrap_or(false) {
            let new = picture(&latest.borrow_and_update());
            if new != seen {
                (seen, since) = (new, now);
            }
        }
        if now.duration_since(since) >= SETTLED || now.duration_since(began) >= SETTLED_MAX {
            return Ok(());
        }
    }
}
