//! The flags of every command that enters a swarm, and `seed` and `fetch`.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    Session,
    manifest::StateArgs,
    ticket::TicketArgs,
    values::{Allowed, HostPort, Rate, Size},
    words,
};
use crate::{
    app::{
        fetch::{self, Complete, FetchOptions, RelayEnds},
        meet::WaitFor,
        node::SwarmOptions,
        page::PageOptions,
        state::StateDirectory,
    },
    base::{Blake3Hash, Error, Result, Sha256Hash, files::read_bounded, limits, text},
    manifest::{ArtifactName, Ticket, VerifiedManifest, phrase},
    setup,
    swarm::RateLimits,
};

/// How to enter the swarm.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Swarm")]
pub(crate) struct SwarmArgs {
    /// Address to listen on (repeatable) [default: TCP and QUIC on port 6690 of every interface]
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Address under which others reach this node, if it stands behind a translator (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    external_address: Vec<String>,
    /// Member to connect to beside the ticket's, /p2p/ID included (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    connect: Vec<String>,
    /// Key of this node in the swarm [default: made once and kept in .regenesis/ beside the files]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Open the swarm: whoever knows the manifest's id may come in, without the ticket's secret
    #[arg(long)]
    public: bool,
    /// Find members on the local network, whatever their addresses, and let them find this node (IPv4)
    #[arg(long)]
    lan: bool,
    /// Find members in BitTorrent's distributed hash table, wherever they are, and let them find this node. Its nodes see this machine's
    /// address, and neither for which network nor for which swarm
    #[arg(long)]
    dht: bool,
    /// Node of a distributed hash table of your own, by which it is entered instead of the one that everyone uses (repeatable)
    #[arg(long, value_name = "HOST:PORT", requires = "dht")]
    dht_node: Vec<HostPort>,
    /// Member that others reach when they cannot reach this node, such as a `relay`, /p2p/ID included (repeatable): this node keeps
    /// connected to it, what it serves goes through there, and its tickets name that member, too
    #[arg(long, value_name = "MULTIADDR")]
    relay_via: Vec<String>,
    /// Let only these in: a peer id, nodes that show to be a validator's with this public key (HEX or HEX#TYPE), or `validators`, those of
    /// everyone whom the manifest lists; the ticket's own peers always (repeatable) [default: every member]
    #[arg(long, value_name = "PEER|VALIDATOR|validators")]
    allow: Vec<Allowed>,
    /// Signed word of a validator that this node is its own, as `key bind` wrote it, for members that let only such in (repeatable)
    #[arg(long, value_name = "FILE")]
    binding: Vec<PathBuf>,
    /// Members connected at once
    #[arg(long, value_name = "N", default_value_t = limits::PEERS_MAX)]
    max_peers: usize,
    /// Send chunks no faster than this, to all members together, in bits a second, such as 100M (megabits) [default: no limit]
    #[arg(long, value_name = "RATE")]
    upload_limit: Option<Rate>,
    /// Read chunks no faster than this, from all members together, in bits a second, such as 100M (megabits) [default: no limit]
    #[arg(long, value_name = "RATE")]
    download_limit: Option<Rate>,
    /// Give up (exit 5) when no byte has come for this long, or when others were waited for so long, such as 30m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Show a live page of how it stands, and numbers for machines (/metrics, /api/v1/status), on this address; on another one
    /// than of this machine itself (127.0.0.1) for those who have its token
    #[arg(long, value_name = "ADDR:PORT")]
    status_addr: Option<SocketAddr>,
    /// Run this program, with its arguments up to a `;` and no shell, for each event, which it reads as JSON: complete, distinct, ready,
    /// quorum, dissent, stalled, evidence
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, value_terminator = ";")]
    on_event: Vec<OsString>,
    /// Statement of an old validator to pass on, as `snapshot attest` wrote it (repeatable)
    #[arg(long = "attestation", value_name = "FILE")]
    statements: Vec<PathBuf>,
}

impl SwarmArgs {
    /// # Errors
    /// When the file of a statement cannot be read, or there is no such program for events.
    pub(crate) fn options(self, session: &Session) -> Result<SwarmOptions> {
        session.tell_events(self.on_event)?;
        let read = |path: &PathBuf| read_bounded(path, limits::STATEMENT_SIZE_BYTES_MAX, "statement");
        let read_binding = |path: &PathBuf| read_bounded(path, limits::STATEMENT_SIZE_BYTES_MAX, "binding");
        Ok(SwarmOptions {
            statements: self.statements.iter().map(read).collect::<Result<_>>()?,
            listen: self.listen,
            external: self.external_address,
            connect: self.connect,
            identity: self.identity,
            public: self.public,
            lan: self.lan,
            dht: self.dht.then(|| self.dht_node.iter().map(ToString::to_string).collect()),
            relay_via: self.relay_via,
            allow: Allowed::together(self.allow),
            bindings: self.binding.iter().map(read_binding).collect::<Result<_>>()?,
            own_keys: Vec::new(),
            peers_max: self.max_peers.max(1),
            rate_limits: RateLimits {
                upload: self.upload_limit.map(Rate::bytes_per_second),
                download: self.download_limit.map(Rate::bytes_per_second),
            },
            timeout: self.timeout,
            board: session.board.clone(),
            page: self.status_addr.map(|address| PageOptions { address, words: words::advice }),
        })
    }
}

/// How long a node goes on serving others after its own work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linger {
    None,
    For(Duration),
}

impl Linger {
    pub(crate) fn duration(self) -> Duration {
        match self {
            Linger::None => Duration::ZERO,
            Linger::For(duration) => duration,
        }
    }
}

impl std::str::FromStr for Linger {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Linger::None),
            other => humantime::parse_duration(other)
                .map(Linger::For)
                .map_err(|e| format!("{e}: write none or a duration such as 10m or 2h")),
        }
    }
}

/// Flags of `seed`.
#[derive(Debug, Args)]
pub(crate) struct SeedArgs {
    /// Directory with genesis, snapshot and manifest: of a publish, a finished fetch, or a root that join made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

/// When a command that serves ends by itself.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UntilArgs {
    /// End when every chunk is with two others, when the manifest has its signatures, when enough old validators have confirmed the state, when enough validators
    /// are ready to make blocks, or when all are [default: when it is stopped]
    #[arg(long, value_enum, value_name = "distinct|signed|attested|quorum|everyone", hide_possible_values = true)]
    until: Option<Until>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    Distinct,
    Signed,
    Attested,
    Quorum,
    Everyone,
}

impl From<Until> for WaitFor {
    fn from(until: Until) -> Self {
        match until {
            Until::Distinct => WaitFor::Distinct,
            Until::Signed => WaitFor::Signed,
            Until::Attested => WaitFor::Attested,
            Until::Quorum => WaitFor::Quorum,
            Until::Everyone => WaitFor::Everyone,
        }
    }
}

impl SeedArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let state = self.seen.state()?;
        let (options, progress, cancel) = (self.swarm.options(session)?, &session.progress, &session.cancel);
        let serving = tokio::select! {
            () = cancel.cancelled() => return Err(fetch::interrupted()),
            serving = fetch::seed(&self.dir, None, &options, &state, progress, cancel) => serving?,
        };
        serve(serving, self.until, session).await
    }
}

/// Prints the ticket, which is the only thing on stdout, and serves until it is so or a signal comes.
pub(crate) async fn serve(serving: fetch::Serving, until: UntilArgs, session: &Session) -> Result<()> {
    session.output.result(&TicketResult::new(&serving.ticket, serving.manifest.id())?)?;
    session.service.is_ready();
    let key = setup::key_file_name(serving.manifest.manifest().network.family);
    session.progress.note(format!(
        "serving; give the ticket to the validators, over a channel you trust. Stop with Ctrl-C\n\
         its six words, to be read out over the phone: {}\n\
         each of them saves it in a file and runs:\n  \
         regenesis join --ticket-file ticket.txt --root-dir ~/.kwild-new --key-file ~/.kwild/{key}",
        phrase::of_ticket(&serving.ticket)
    ));
    serving.run(until.until.map(WaitFor::from), &session.progress, &session.cancel).await
}

#[derive(Debug, Serialize)]
struct TicketResult {
    ticket: String,
    manifest_id: Blake3Hash,
    chain_id: String,
    addresses: Vec<String>,
    phrase: String,
}

impl TicketResult {
    fn new(ticket: &Ticket, manifest_id: Blake3Hash) -> Result<Self> {
        Ok(TicketResult {
            ticket: ticket.to_text()?,
            manifest_id,
            chain_id: ticket.new_chain_id.clone(),
            addresses: ticket.addresses.clone(),
            phrase: phrase::of_ticket(ticket),
        })
    }
}

impl fmt::Display for TicketResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ticket)
    }
}

/// Flags of `fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Where the files go
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
}

/// Flags of every command that fetches from a swarm: which one, how, and how long it stays.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    ticket: TicketArgs,
    /// File of this machine, or directory with a snapshot, whose chunks need not be fetched where they are those of the manifest: an
    /// own copy, an older download (repeatable)
    #[arg(long, value_name = "PATH")]
    reuse: Vec<PathBuf>,
    /// How long to serve others afterwards
    #[arg(long, value_name = "none|DURATION", default_value = "10m")]
    linger: Linger,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

/// What manifests were seen before, and whether an older one may be used.
#[derive(Debug, Args)]
pub(crate) struct SeenArgs {
    /// Take the manifest with this number although a newer one of this network was seen
    #[arg(long, value_name = "SEQ")]
    allow_rollback: Option<u64>,
    #[command(flatten)]
    state: StateArgs,
}

impl SeenArgs {
    /// The state directory, with what the operator allows.
    pub(crate) fn state(&self) -> Result<StateDirectory> {
        Ok(self.state.open()?.allowing_rollback(self.allow_rollback))
    }
}

impl SourceArgs {
    /// The ticket; an error where it leads nowhere, because it has no secret or no address.
    pub(crate) fn ticket(&self) -> Result<Ticket> {
        read_ticket(&self.ticket, &self.swarm)
    }

    /// The ticket, which may only identify.
    pub(crate) fn any_ticket(&self) -> Result<Ticket> {
        self.ticket.read()
    }

    /// What of this machine need not be fetched.
    pub(crate) fn reuse(&self) -> Vec<PathBuf> {
        self.reuse.clone()
    }

    pub(crate) fn swarm(&self, session: &Session) -> Result<SwarmOptions> {
        self.swarm.clone().options(session)
    }

    pub(crate) fn state(&self) -> Result<StateDirectory> {
        self.seen.state()
    }

    /// How long others are served afterwards, which is also told.
    pub(crate) fn linger(&self, session: &Session) -> Duration {
        tell_linger(self.linger, session);
        self.linger.duration()
    }
}

impl FetchArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let options = FetchOptions {
            directory: self.dir,
            in_root: false,
            ticket: self.source.ticket()?,
            reuse: self.source.reuse(),
            swarm: self.source.swarm(session)?,
            state: self.source.state()?,
        };
        let (progress, cancel, give_up) = (&session.progress, &session.cancel, options.swarm.timeout);
        let complete = fetch::fetch(options, &|_, _| Ok(None), progress, cancel).await?;
        let complete = complete.signed(give_up, progress, cancel).await?;
        session.output.result(&FetchResult::new(&complete))?;
        complete.linger(Some(self.source.linger(session)), &session.cancel).await
    }
}

/// Flags of `relay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs no database, no kwild and no key, and does not read the snapshot's text: each chunk is proved by the manifest, and \
    whoever sets a root up checks the rest. It serves what it has while it still fetches. The ticket on stdout names this machine first.\n\n\
    Examples:\n  regenesis relay --ticket-file ticket.txt --dir ./relay\n  \
    regenesis relay --ticket-file ticket.txt --dir ./relay --external-address /ip4/203.0.113.5/tcp/6690 --until everyone"
)]
pub(crate) struct RelayArgs {
    /// Where the files go
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    ticket: TicketArgs,
    /// File of this machine, or directory with a snapshot, whose chunks need not be fetched where they are those of the manifest
    /// (repeatable)
    #[arg(long, value_name = "PATH")]
    reuse: Vec<PathBuf>,
    #[command(flatten)]
    until: UntilArgs,
    /// End when so many bytes of chunks were sent to others in all, such as 500G: for a machine whose traffic is counted
    #[arg(long, value_name = "SIZE")]
    relay_limit: Option<Size>,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

impl RelayArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let options = FetchOptions {
            directory: self.dir,
            in_root: false,
            ticket: read_ticket(&self.ticket, &self.swarm)?,
            reuse: self.reuse,
            swarm: self.swarm.options(session)?,
            state: self.seen.state()?,
        };
        let tell = |ticket: &Ticket, manifest: &VerifiedManifest| {
            session.output.result(&TicketResult::new(ticket, manifest.id())?)?;
            session.progress.note("validators who cannot reach the lead take the ticket above in the place of theirs");
            Ok(())
        };
        let ends =
            RelayEnds { until: self.until.until.map(WaitFor::from), sent: self.relay_limit.map(|Size(bytes)| bytes) };
        fetch::relay(options, ends, tell, &session.progress, &session.cancel).await
    }
}

/// Tells that the command's work is done and how long it goes on serving others.
fn tell_linger(linger: Linger, session: &Session) {
    if let Linger::For(duration) = linger {
        let shown = humantime::format_duration(duration);
        session.progress.note(format!("serving others for {shown} more (--linger); Ctrl-C ends it"));
    }
}

/// Reads the ticket; an error where it leads nowhere, because it has no secret or no address.
pub(crate) fn read_ticket(args: &TicketArgs, swarm: &SwarmArgs) -> Result<Ticket> {
    let mut ticket = args.read()?;
    if swarm.public {
        ticket.secret = None;
    } else if ticket.secret.is_none() && !ticket.addresses.is_empty() {
        // Whoever serves a public swarm gives out tickets without a secret.
        return Ok(ticket);
    } else if ticket.secret.is_none() {
        return Err(Error::usage("this ticket only identifies a manifest: it has no secret and leads nowhere")
            .hint("ask the lead for the ticket that `regenesis publish` or `regenesis seed` printed"));
    }
    let other_ways = [&swarm.connect, &swarm.relay_via].iter().any(|ways| !ways.is_empty()) || swarm.lan || swarm.dht;
    if ticket.addresses.is_empty() && !other_ways {
        return Err(Error::usage("this ticket has no address")
            .hint("ask the lead for the ticket that `regenesis seed` printed, give an address with --connect, or look for members on this \
                   network with --lan, or anywhere with --dht where they use it, too"));
    }
    Ok(ticket)
}

#[derive(Debug, Serialize)]
struct FetchResult {
    dir: PathBuf,
    genesis: PathBuf,
    snapshot: PathBuf,
    manifest_id: Blake3Hash,
    chain_id: String,
    state_hash: Sha256Hash,
    bytes: u64,
    received_bytes: u64,
    resumed_bytes: u64,
    sources: usize,
    seconds: f64,
}

impl FetchResult {
    fn new(complete: &Complete) -> Self {
        let manifest = complete.manifest.manifest();
        FetchResult {
            dir: complete.directory.clone(),
            genesis: complete.artifact(ArtifactName::Genesis, false),
            snapshot: complete.artifact(ArtifactName::Snapshot, false),
            manifest_id: complete.manifest.id(),
            chain_id: manifest.network.new_chain_id.clone(),
            state_hash: manifest.state_hash,
            bytes: manifest.size_bytes(),
            received_bytes: complete.received_bytes,
            resumed_bytes: complete.resumed_bytes,
            sources: complete.sources,
            seconds: complete.seconds,
        }
    }
}

impl fmt::Display for FetchResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "fetched and verified {} in {:.1} s from {}",
            text::bytes(self.bytes),
            self.seconds,
            text::count(self.sources as u64, "peer")
        )?;
        if self.resumed_bytes > 0 {
            writeln!(f, "  not fetched again  {}", text::bytes(self.resumed_bytes))?;
        }
        writeln!(f, "  genesis     {}", self.genesis.display())?;
        writeln!(f, "  snapshot    {}", self.snapshot.display())?;
        writeln!(f, "  state hash  {}", self.state_hash)?;
        writeln!(f, "  manifest    {}", self.manifest_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linger_takes_none_and_durations() {
        assert_eq!("none".parse(), Ok(Linger::None));
        assert_eq!("90s".parse(), Ok(Linger::For(Duration::from_secs(90))));
        assert!("soon".parse::<Linger>().is_err());
    }
}
