//! What `setup confirm` found, signed with the node's own key and told to the swarm: that the started node holds what was signed,
//! or which parts it holds otherwise. Nothing in the chain itself would tell the others.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kwil_formats::judge::confirm::Verdict;

use super::{
    confirm::{Conclusion, Confirmed},
    fetch::{self, Signed},
    kept::KeptStatements,
    node::{IDENTITY_NAME, Node, OWN_STATEMENT_NAME, STATEMENTS_NAME, SwarmOptions},
    state::StateDirectory,
};
use crate::{
    base::{
        Error, Kind, Progress, Result, clock,
        durable::{self, PRIVATE_DIRECTORY_NAME},
        files::read_bounded,
        limits,
        task::CancellationToken,
    },
    manifest::{
        Roster, Ticket, Word,
        statement::{DifferingPart, Stage},
    },
    setup,
    store::PrivateDirectory,
    swarm::Identity,
};

/// How long somebody is looked for.
const SEARCH_TIME: Duration = Duration::from_secs(5);
/// How long a node stays once somebody is there: a member is told after it has said that it knows the manifest.
const STAY_TIME: Duration = Duration::from_millis(1500);

/// Whom a signed finding reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The process that serves the root passes it on.
    ByProcess,
    /// A member of the swarm has it.
    Swarm,
    /// Nobody was there; it is kept, and passed on when the root is served again.
    Kept,
}

/// Signs what was found of the node in this root, and tells it. `None`: there is nothing to say, or nobody whose word counts: the
/// root was not joined, its key is no validator's, or it is not clear what was found.
///
/// # Errors
/// When the root's files cannot be read, or its manifest counts no more.
pub async fn tell(
    root: &Path,
    found: &Confirmed,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Option<Told>> {
    let Some((stage, differs)) = finding(found) else { return Ok(None) };
    let private = root.join(PRIVATE_DIRECTORY_NAME);
    let Some(ticket) = fetch::kept_ticket(&private)? else { return Ok(None) };
    let Some(signed) = fetch::known_manifest(root, &ticket, state)? else { return Ok(None) };
    let manifest = &signed.manifest;
    let key_path = root.join(setup::key_file_name(manifest.manifest().network.family));
    let (key, _) = setup::read_key_file(&key_path)?;

    let mut roster = Roster::new(manifest.id(), manifest.manifest());
    roster.take(KeptStatements::new(private.join(STATEMENTS_NAME)).read());
    roster.take(own_statement(&private).into_iter().collect());
    let before = roster.word_of(&key.public());
    let (kwild_version, places) = before.map(|word| (word.kwild_version, word.places)).unwrap_or_default();
    let word = Word { stage, kwild_version, places, differs };
    let identity = read_bounded(&private.join(IDENTITY_NAME), limits::KEY_FILE_SIZE_BYTES_MAX, "swarm identity");
    let identity = identity.and_then(|bytes| Identity::from_bytes(&bytes)).ok();
    let vouch = |message: &[u8]| identity.as_ref().and_then(|identity| identity.sign(message));
    if let Some(statement) = roster.say(&key, &word, clock::unix_seconds(), vouch) {
        durable::write_atomically(&private.join(OWN_STATEMENT_NAME), &statement, 0o600)?;
    } else if roster.word_of(&key.public()).is_none() {
        return Ok(None);
    }
    match PrivateDirectory::lock(root) {
        Ok(private) => visit(&private, &ticket, &signed, state, progress, cancel).await.map(Some),
        Err(error) if error.kind() == Kind::Refused => Ok(Some(Told::ByProcess)),
        Err(error) => Err(error),
    }
}

/// The stage, and the parts that differ; `None` where what was found says neither one nor the other.
fn finding(found: &Confirmed) -> Option<(Stage, Vec<DifferingPart>)> {
    if found.ok {
        return Some((Stage::Confirmed, Vec::new()));
    }
    let damaged = found.of(Verdict::Damage).take(limits::DIFFERING_PARTS_MAX);
    let parts: Vec<DifferingPart> =
        damaged.map(|part| DifferingPart::new(&part.name, part.rows.unwrap_or_default())).collect();
    match found.outcome {
        Conclusion::OrdersOtherwise => Some((Stage::Differs, vec![DifferingPart::new(DifferingPart::COLLATION, 0)])),
        Conclusion::Damaged | Conclusion::NotRestored if !parts.is_empty() => Some((Stage::Differs, parts)),
        _ => None,
    }
}

/// The statement that this root's own validator made last by itself, if there is one.
pub(super) fn own_statement(private: &Path) -> Option<Vec<u8>> {
    let path: PathBuf = private.join(OWN_STATEMENT_NAME);
    read_bounded(&path, limits::STATEMENT_SIZE_BYTES_MAX, "own statement").ok()
}

/// Is a member of the swarm for a moment, and leaves the statement there.
async fn visit(
    private: &PrivateDirectory,
    ticket: &Ticket,
    signed: &Signed,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Told> {
    progress.step("telling the swarm");
    let mut node = Node::start(private, ticket, &SwarmOptions::default(), state, &Progress::silent()).await?;
    let visited = async {
        node.watch(signed).await?;
        let began = clock::now();
        let mut met = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Err(Error::interrupted("while the swarm was told")),
                heard = node.next() => drop(heard?),
            }
            let now = clock::now();
            if node.status().peers > 0 {
                met = met.or(Some(now));
            }
            match met {
                Some(met) if now.duration_since(met) >= STAY_TIME => return Ok(Told::Swarm),
                None if now.duration_since(began) >= SEARCH_TIME => return Ok(Told::Kept),
                _ => {}
            }
        }
    };
    let visited = visited.await;
    node.stop().await;
    visited
}
