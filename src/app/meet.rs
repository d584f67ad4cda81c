//! Waiting for others: until every chunk is out, until enough validators are ready, until all are; and the certificate that
//! is kept then.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kwil_formats::formats::Validator;
use serde::Serialize;
use tokio::time::sleep;

use super::{
    fetch::{self, Signed},
    node::{Node, SwarmOptions},
    short,
    signatures::Signatures,
    state::StateDirectory,
    visit::visit,
    voices::Voices,
};
use crate::{
    base::{
        Advice, Blake3Hash, Error, Kind, Next, Notice, Progress, Result, clock,
        durable::{self, PRIVATE_DIRECTORY_NAME},
        task::CancellationToken,
        text,
    },
    manifest::{Evidence, Roster, Ticket, Verdict, VerifiedManifest, certificate::CERTIFICATE_FILE_NAME},
    store::PrivateDirectory,
};

/// Between two looks whether a directory is still served by another process.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What an operator waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Every chunk is with two other members: any one node may leave.
    Distinct,
    /// Enough have signed the manifest, so that roots may be set up from it.
    Signed,
    /// Enough validators of the old network have found the signed state in their own databases.
    Attested,
    /// So many validators are ready that they make blocks: more than two thirds of the power, and the leader.
    Quorum,
    /// Every validator of the genesis is ready.
    Everyone,
}

impl WaitFor {
    /// Whether it is so, as far as this node has heard.
    pub fn is_met(self, node: &Node) -> bool {
        match (self, node.roster()) {
            (WaitFor::Distinct, _) => node.is_every_chunk_out(),
            (WaitFor::Signed, _) => node.is_signed(),
            (WaitFor::Attested, _) => node.voices().is_some_and(|voices| voices.verdict() == Verdict::Met),
            (WaitFor::Quorum, Some(roster)) => roster.is_quorum(),
            (WaitFor::Everyone, Some(roster)) => roster.missing().next().is_none(),
            (_, None) => false,
        }
    }

    /// What is still waited for, in words.
    pub fn words(self, node: &Node) -> String {
        match (self, node.roster()) {
            (WaitFor::Distinct, _) => {
                let members = text::count(node.status().peers as u64, "member");
                format!("waiting until every chunk is with two others; {members} here")
            }
            (WaitFor::Signed, _) => {
                let words = node.signatures().map_or_else(|| "none is known yet".to_owned(), Signatures::words);
                format!("waiting until the co-signers have signed the manifest: {words}")
            }
            (WaitFor::Attested, _) => {
                let words = node.voices().map_or_else(|| "none is known yet".to_owned(), Voices::words);
                format!("waiting until the old network's validators confirm the state: {words}")
            }
            (_, Some(roster)) => ready_words(roster),
            (_, None) => "waiting for the validators".to_owned(),
        }
    }
}

/// Who is ready and who is not, in a line.
pub fn ready_words(roster: &Roster) -> String {
    let (ready, missing) = (roster.ready().count(), roster.missing().count());
    let all = text::count((ready + missing) as u64, "validator");
    if missing == 0 {
        return format!("all {all} ready");
    }
    let names: Vec<String> = roster.missing().take(4).map(|validator| short::key(&validator.key)).collect();
    let more = if missing > names.len() { " …" } else { "" };
    format!("{ready} of {all} ready; waiting for {}{more}", names.join(", "))
}

/// Waits until it is so, while the node runs; `each_turn` is done before each look.
///
/// # Errors
/// [`Kind::GaveUp`] when `give_up` has passed since `began`, [`Kind::Interrupted`] after a signal; both say that the work can
/// be taken up again. Refused when so many old validators dissent that nobody may set a root up.
pub(super) async fn wait_until(
    node: &mut Node,
    wait: WaitFor,
    (began, give_up): (Instant, Option<Duration>),
    progress: &Progress,
    cancel: &CancellationToken,
    mut each_turn: impl AsyncFnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    let again = "run the same command again: it goes on waiting";
    let advice = match wait {
        WaitFor::Attested => Advice::from(Next::WaitForAttestations),
        WaitFor::Signed => Advice::from(Next::CosignInSwarm),
        WaitFor::Distinct | WaitFor::Quorum | WaitFor::Everyone => again.into(),
    };
    let mut told = None;
    loop {
        each_turn(node).await?;
        // Who only serves a manifest that has its signatures serves it to those as well who are to see the dissent.
        if wait == WaitFor::Signed && wait.is_met(node) {
            break;
        }
        check_not_denied(node).await?;
        if wait.is_met(node) {
            break;
        }
        let words = wait.words(node);
        if let Some(limit) = give_up.filter(|limit| clock::now().duration_since(began) >= *limit) {
            let what = format!("after {} of waiting: {words}", humantime::format_duration(limit));
            return Err(Error::new(Kind::GaveUp, what).hint(advice));
        }
        if told.as_ref() != Some(&words) {
            progress.step(words.clone());
            told = Some(words);
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Error::interrupted("while waiting for others").hint(again)),
            heard = node.next() => drop(heard?),
        }
    }
    // Whoever hears it only through this node hears it before it goes.
    node.pass_on().await
}

/// Waits until enough have signed the manifest, while the node serves.
///
/// # Errors
/// As [`wait_until`].
pub(super) async fn wait_signed(
    node: &mut Node,
    give_up: Option<Duration>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    wait_until(node, WaitFor::Signed, (clock::now(), give_up), progress, cancel, async |_| Ok(())).await
}

/// Refuses a state that so many old validators deny that nobody may set a root up: also where others are ready, nothing may be
/// started on it. Whoever hears of the dissent only through this node hears it before it goes.
async fn check_not_denied(node: &mut Node) -> Result<()> {
    let Some(error) = node.voices().filter(|voices| voices.verdict() == Verdict::Lost).map(Voices::lost) else {
        return Ok(());
    };
    node.pass_on().await?;
    Err(error)
}

/// Where a certificate is kept beside the files of a directory.
pub fn certificate_path(directory: &Path) -> PathBuf {
    directory.join(PRIVATE_DIRECTORY_NAME).join(CERTIFICATE_FILE_NAME)
}

/// Writes the certificate where there is a quorum; gives whether there was one.
///
/// # Errors
/// When the file cannot be written.
pub fn write_certificate(path: &Path, node: &Node) -> Result<bool> {
    match node.roster().and_then(Roster::certificate) {
        Some(certificate) => {
            durable::write_atomically(path, &Evidence::Certificate(certificate).to_bytes(), 0o600).map(|()| true)
        }
        None => Ok(false),
    }
}

/// How to wait.
#[derive(Debug)]
pub struct WaitOptions {
    /// How to enter the swarm; its timeout bounds the whole wait.
    pub swarm: SwarmOptions,
    /// Where the highest sequence seen is kept.
    pub state: StateDirectory,
    /// For what.
    pub wait: WaitFor,
    /// Where the certificate goes, once there is a quorum.
    pub certificate: Option<PathBuf>,
}

/// What was waited for, and how it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Waited {
    /// Which manifest.
    pub manifest_id: Blake3Hash,
    /// Id of the new network.
    pub chain_id: String,
    /// Whether every chunk is with two other members.
    pub every_chunk_out: bool,
    /// Whether enough validators are ready to make blocks.
    pub quorum: bool,
    /// Validators that are ready.
    pub ready: Vec<Validator>,
    /// Validators that are not.
    pub missing: Vec<Validator>,
    /// The certificate, where one was written.
    pub certificate: Option<PathBuf>,
    /// How long it took.
    pub seconds: f64,
}

/// Waits as a member of the ticket's swarm that fetches nothing.
///
/// # Errors
/// As [`fetch::ask_for_manifest`]; [`Kind::GaveUp`] after the timeout.
pub async fn wait(
    ticket: &Ticket,
    options: WaitOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Waited> {
    wait_since(clock::now(), ticket, &options, progress, cancel).await
}

async fn wait_since(
    began: Instant,
    ticket: &Ticket,
    options: &WaitOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Waited> {
    visit(ticket, (&options.swarm, &options.state), progress, cancel, async |node: &mut Node, signed: Signed| {
        node.watch(&signed).await?;
        let until = (began, options.swarm.timeout);
        wait_until(node, options.wait, until, progress, cancel, async |_| Ok(())).await?;
        result_of(node, &signed.manifest, options.certificate.clone(), began)
    })
    .await
}

/// Waits with the files of a directory: serves them meanwhile, or, where another process does so already, as one more
/// member of its swarm; when that process ends, this one serves on.
///
/// # Errors
/// As [`wait`] and [`fetch::seed`].
pub async fn wait_with(
    directory: &Path,
    options: WaitOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Waited> {
    let began = clock::now();
    fetch::require_directory(directory)?;
    while let Err(error) = PrivateDirectory::lock(directory).map(drop) {
        let kept = match error.kind() {
            Kind::Refused => fetch::kept_ticket(&directory.join(PRIVATE_DIRECTORY_NAME))?,
            _ => None,
        };
        let Some(ticket) = kept else { return Err(error) };
        let ends = cancel.child_token();
        let waiting = wait_since(began, &ticket, &options, progress, &ends);
        tokio::pin!(waiting);
        tokio::select! {
            waited = &mut waiting => return waited,
            () = is_free(directory) => {}
        }
        // It says goodbye first, and may have heard by now what it waits for.
        ends.cancel();
        match waiting.await {
            Err(error) if matches!(error.kind(), Kind::Interrupted(_)) && !cancel.is_cancelled() => {}
            waited => return waited,
        }
        progress.note(format!("the process that served {} has ended: this one serves it now", directory.display()));
    }
    let serving = fetch::seed(directory, None, &options.swarm, &options.state, progress, cancel).await?;
    let waits = async |node: &mut Node, manifest: &VerifiedManifest| {
        node.tell_where();
        wait_until(node, options.wait, (began, options.swarm.timeout), progress, cancel, async |_| Ok(())).await?;
        result_of(node, manifest, options.certificate, began)
    };
    serving.serve_while(waits).await
}

/// Waits until no process serves the directory.
async fn is_free(directory: &Path) {
    while PrivateDirectory::lock(directory).is_err() {
        sleep(LOOK_INTERVAL).await;
    }
}

/// Serves until it is so or a signal comes, which are both good ends; without `until`, until a signal comes. Says who has still to
/// sign the manifest and who is ready, and keeps the certificate in `directory` once there is a quorum.
///
/// # Errors
/// [`Kind::GaveUp`] when the manifest still lacks signatures after `give_up`. Refused, where something is waited for, when so many old
/// validators dissent that nobody may set a root up; when the node ended or the certificate cannot be written.
pub(super) async fn serve_until(
    node: &mut Node,
    (until, give_up): (Option<WaitFor>, Option<Duration>),
    directory: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    node.tell_where();
    if !node.is_signed() {
        let words = node.signatures().map(Signatures::words).unwrap_or_default();
        let text = format!("this manifest is a PROPOSAL: nobody sets a root up before it has its signatures; {words}");
        progress.warning(Notice::from(text).next(Next::CosignInSwarm));
        match wait_signed(node, give_up, progress, cancel).await {
            Err(error) if matches!(error.kind(), Kind::Interrupted(_)) => return Ok(()),
            signed => signed?,
        }
        node.tell_where();
    }
    let mut told = None;
    loop {
        let words = node.roster().filter(|roster| roster.ready().next().is_some()).map(ready_words);
        if words != told {
            let quorum = write_certificate(&certificate_path(directory), node)?;
            let more = if quorum { ": enough to make blocks" } else { "" };
            progress.note(format!("{}{more}", words.as_deref().unwrap_or_default()));
            told = words;
        }
        if let Some(until) = until {
            check_not_denied(node).await?;
            if until.is_met(node) {
                // Whoever hears it only through this node hears it before it goes.
                return node.pass_on().await;
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            heard = node.next() => node.tell_served(&heard?),
        }
    }
}

fn result_of(node: &Node, manifest: &VerifiedManifest, certificate: Option<PathBuf>, began: Instant) -> Result<Waited> {
    let certificate = match certificate {
        Some(path) => write_certificate(&path, node)?.then_some(path),
        None => None,
    };
    let roster = node.roster();
    let validators = |of: fn(&Roster) -> Vec<Validator>| roster.map(of).unwrap_or_default();
    Ok(Waited {
        manifest_id: manifest.id(),
        chain_id: manifest.manifest().network.new_chain_id.clone(),
        every_chunk_out: node.is_every_chunk_out(),
        quorum: roster.is_some_and(Roster::is_quorum),
        ready: validators(|roster| roster.ready().copied().collect()),
        missing: validators(|roster| roster.missing().copied().collect()),
        certificate,
        seconds: clock::now().duration_since(began).as_secs_f64(),
    })
}
