//! A node of ours in a swarm: its identity and port, kept with the data; what happens to it, told as progress.

mod address_wait;
mod against;
mod bindings;
mod said;
mod signed;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kwil_formats::formats::{
    Family, GENESIS_STATE_FILE_NAME,
    key::{PrivateKey, PublicKey},
};
use tokio::time::timeout;

use self::{address_wait::AddressWait, against::Against};
use super::{
    identity,
    kept::KeptStatements,
    page::{Page, PageOptions},
    state::StateDirectory,
    status::{Board, Reporter},
    voices::Voices,
};
use crate::{
    base::{
        Context, Error, Kind, Next, Notice, Progress, Result, clock, durable, limits, task::CancellationToken, text,
    },
    manifest::{ArtifactName, Manifest, Roster, Ticket, VerifiedManifest},
    store::{ArtifactFile, Contents, PrivateDirectory},
    swarm::{self, Allow, Charter, DEFAULT_PORT, Event, Handle, Identity, PeerTotal, RateLimits, Standing, Status},
};

pub(super) const IDENTITY_NAME: &str = "identity";
const PORT_NAME: &str = "port";
pub(super) const STATEMENTS_NAME: &str = "statements";
/// What this root's validator has signed beside a running node, for it to pass on.
pub(super) const OWN_STATEMENT_NAME: &str = "own-statement";
/// The ticket that leads into the swarm of the directory, for whoever comes by it later on this machine.
pub(super) const TICKET_NAME: &str = "ticket";
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How a node enters a swarm, as the operator says it.
#[derive(Debug, Clone)]
pub struct SwarmOptions {
    /// Multiaddresses to listen on; empty: the documented port on every interface, TCP and QUIC.
    pub listen: Vec<String>,
    /// Addresses under which others reach this node, if it cannot see them itself.
    pub external: Vec<String>,
    /// Members to connect to beside the ticket's.
    pub connect: Vec<String>,
    /// The node's key file; `None`: kept with the data.
    pub identity: Option<PathBuf>,
    /// Whoever knows the manifest id may come in.
    pub public: bool,
    /// Find members on the local network, and be found there.
    pub lan: bool,
    /// Find members in BitTorrent's distributed hash table, and be found there: through these of its nodes, as `HOST:PORT`, or through
    /// those that everyone uses; `None`: not at all.
    pub dht: Option<Vec<String>>,
    /// Members that others reach when they cannot reach this node: it keeps connected to them, and its tickets name them.
    pub relay_via: Vec<String>,
    /// Who may come in.
    pub allow: Allow,
    /// Signed bindings that say whose this node is, as files held them.
    pub bindings: Vec<Vec<u8>>,
    /// Keys of validators whose this node is, too, because it holds them.
    pub own_keys: Vec<Arc<PrivateKey>>,
    /// Members connected at once.
    pub peers_max: usize,
    /// How fast chunks may go out and come in.
    pub rate_limits: RateLimits,
    /// Gives up when no byte has come for this long; `None`: never.
    pub timeout: Option<Duration>,
    /// Signed statements of validators that are passed on, as files held them.
    pub statements: Vec<Vec<u8>>,
    /// Where the node writes down how it stands, for those who ask.
    pub board: Board,
    /// Where the node shows how it stands to browsers and other programs; `None`: nowhere.
    pub page: Option<PageOptions>,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        SwarmOptions {
            listen: Vec::new(),
            external: Vec::new(),
            connect: Vec::new(),
            identity: None,
            public: false,
            lan: false,
            dht: None,
            relay_via: Vec::new(),
            allow: Allow::default(),
            bindings: Vec::new(),
            own_keys: Vec::new(),
            peers_max: limits::PEERS_MAX,
            rate_limits: RateLimits::default(),
            timeout: None,
            statements: Vec::new(),
            board: Board::default(),
            page: None,
        }
    }
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    /// Where it listens, peer id included.
    addresses: Vec<String>,
    external: Vec<String>,
    /// Members through whom others reach this node.
    relay_via: Vec<String>,
    /// Heard while the node was starting.
    early: VecDeque<Heard>,
    progress: Progress,
    /// What validators say, once the manifest is known.
    roster: Option<Roster>,
    /// What validators of the old network say, once the manifest is known.
    voices: Option<Voices>,
    /// Statements that the operator gave, until the manifest is known.
    given: Vec<Vec<u8>>,
    /// Every chunk is with two others.
    is_every_chunk_out: bool,
    /// Statements that the members are still to be told.
    untold: Vec<Vec<u8>>,
    kept: KeptStatements,
    /// Who has signed the manifest.
    known: signed::Known,
    /// What is known against the manifest.
    against: Against,
    /// Where what this root's validator signs beside this process is found, and when that was last looked for.
    private: PathBuf,
    looked_aside: Option<Instant>,
    /// Where members see this node, and who sees it there.
    seen: BTreeMap<IpAddr, BTreeSet<String>>,
    /// This node's own, which says of which validator it is.
    identity: Identity,
    /// Validators' nodes, by their peer ids, and what they are called.
    names: BTreeMap<String, String>,
    /// Members that have shown whose they are.
    bound: BTreeMap<String, PublicKey>,
    /// Whose node this one shows to be.
    own: Vec<PublicKey>,
    /// What the swarm was told of validators.
    standing: Option<Standing>,
    board: Board,
    reporter: Reporter,
    page: Option<Page>,
}

/// What a step of waiting brought.
#[derive(Debug)]
pub enum Heard {
    /// See [`Event::Charter`].
    Charter {
        /// Who sent it.
        peer: String,
        /// What it sent.
        charter: Charter,
    },
    /// Every chunk is stored.
    Complete,
    /// Whether every chunk is with two others.
    EveryChunkOut(bool),
    /// Time passed, or something that was told already.
    Nothing,
}

impl Node {
    /// Starts a node for the data whose private directory this is.
    ///
    /// # Errors
    /// When an address is wrong or taken.
    pub async fn start(
        private: &PrivateDirectory,
        ticket: &Ticket,
        options: &SwarmOptions,
        state: &StateDirectory,
        progress: &Progress,
    ) -> Result<Self> {
        for address in options.listen.iter().chain(&options.external) {
            swarm::check_address(address, false)?;
        }
        for address in options.connect.iter().chain(&options.relay_via) {
            swarm::check_address(address, true)?;
        }
        let (listen, optional_listen) = listen_addresses(private, options, progress)?;
        let identity = own_identity(private, options)?;
        if let Some(own) =
            options.relay_via.iter().find(|relay| relay.ends_with(&format!("/p2p/{}", identity.peer_id())))
        {
            return Err(Error::usage(format!("the relay {own} is this node itself")).hint(Next::OtherRelay));
        }
        let shown = bindings::shown(&identity, ticket, options)?;
        let config = swarm::Config {
            identity: identity.clone(),
            manifest_id: ticket.manifest_id,
            secret: ticket.secret.clone(),
            listen,
            optional_listen,
            external: options.external.clone(),
            connect: ticket.addresses.iter().chain(&options.connect).cloned().collect(),
            relay_via: options.relay_via.clone(),
            lan: options.lan,
            dht: options.dht.clone(),
            allow: options.allow.clone(),
            bindings: shown.clone(),
            new_chain_id: ticket.new_chain_id.clone(),
            peers_max: options.peers_max,
            rate_limits: options.rate_limits,
        };
        let kept = KeptStatements::new(private.file(STATEMENTS_NAME));
        let handle = swarm::start(config).await?;
        let board = options.board.clone();
        // Who only watches works in no directory that anybody would name.
        let served = (!board.only_watches()).then(|| private.path());
        board.begins(identity.peer_id(), served.map(durable::parent));
        let reporter = Reporter::start(&board, handle.viewer(), served.map(Path::to_owned), progress);
        let page = match options.page {
            Some(page) => Some(Page::of_node(page, private, &board, reporter.watch(), progress).await?),
            None => None,
        };
        Ok(Node {
            handle,
            board,
            reporter,
            page,
            addresses: Vec::new(),
            external: options.external.clone(),
            relay_via: options.relay_via.clone(),
            early: VecDeque::new(),
            progress: progress.clone(),
            roster: None,
            voices: None,
            given: options.statements.clone(),
            is_every_chunk_out: false,
            untold: Vec::new(),
            kept,
            known: signed::Known::default(),
            against: Against::new(ticket, state),
            private: private.path().to_owned(),
            looked_aside: None,
            seen: BTreeMap::new(),
            identity,
            names: BTreeMap::new(),
            bound: BTreeMap::new(),
            own: bindings::validators(&shown),
            standing: None,
        })
    }

    /// The ticket that brings others here: with the secret and the addresses that others can use. Waits until the node
    /// knows where it listens.
    ///
    /// # Errors
    /// When it listens nowhere, or the ticket would be longer than a reader takes.
    pub async fn ticket(&mut self, ticket: &Ticket) -> Result<Ticket> {
        let mut wait = AddressWait::new(clock::now());
        while let Some(left) = wait.left(clock::now())
            && let Ok(Some(event)) = timeout(left, self.handle.event()).await
        {
            if matches!(event, Event::Listening(_)) {
                wait.heard_one(clock::now());
            }
            match self.hear(event)? {
                Heard::Nothing => {}
                heard => self.early.push_back(heard),
            }
        }
        if self.addresses.is_empty() {
            return Err(Error::failed("this node listens nowhere, so nobody can fetch from it").hint(Next::GiveListen));
        }
        let peer = self.addresses.first().and_then(|a| a.rsplit_once("/p2p/")).map(|(_, peer)| peer);
        let mut addresses: Vec<String> = self
            .external
            .iter()
            .map(|a| match peer {
                Some(peer) if !a.contains("/p2p/") => format!("{a}/p2p/{peer}"),
                _ => a.clone(),
            })
            .chain(self.relay_via.iter().cloned())
            .collect();
        let mut reachable: Vec<String> = self.addresses.iter().filter(|a| !is_local(a)).cloned().collect();
        if reachable.is_empty() && addresses.is_empty() {
            reachable = self.addresses.clone();
        }
        // A ticket takes few addresses, and whoever has it tries them in its order.
        swarm::sort_addresses(&mut reachable);
        reachable.retain(|address| !addresses.contains(address));
        addresses.extend(reachable);
        addresses.truncate(limits::TICKET_ADDRESSES_MAX);
        let ticket = Ticket { addresses, ..ticket.clone() };
        ticket.to_text()?;
        Ok(ticket)
    }

    /// The address that is of most use to others.
    fn shown_address(&self) -> Option<&String> {
        self.addresses.iter().min_by_key(|a| (is_local(a), a.contains("/quic")))
    }

    /// The swarm's end, for activating and blaming.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What tells others how the node stands.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Where the node stands.
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// Waits for something that needs a decision, at most a moment; the rest becomes progress.
    ///
    /// # Errors
    /// When the manifest counts no more, our disk failed, or the node ended.
    pub async fn next(&mut self) -> Result<Heard> {
        self.blame_liars().await?;
        self.pass_on().await?;
        self.look_aside();
        self.check_manifest().await?;
        if let Some(heard) = self.early.pop_front() {
            return Ok(heard);
        }
        match timeout(PROGRESS_INTERVAL, self.handle.event()).await {
            Err(_) => Ok(Heard::Nothing),
            Ok(Some(event)) => self.hear(event),
            Ok(None) => Err(Error::failed("the swarm has stopped")),
        }
    }

    fn hear(&mut self, event: Event) -> Result<Heard> {
        match event {
            Event::Listening(address) => {
                if !self.addresses.contains(&address) {
                    self.addresses.push(address);
                }
            }
            Event::Note(text) => self.progress.note(text),
            Event::Warning(text) => self.progress.warning(text),
            Event::Unreachable(tried) => self.progress.warning(unreachable(&tried)),
            Event::Charter { peer, charter } => return Ok(Heard::Charter { peer, charter }),
            Event::Stale => {
                return Err(Error::verify("the ticket is stale: everyone it names now serves another manifest")
                    .hint("ask the lead for the current ticket; what was fetched stays"));
            }
            Event::Complete => return Ok(Heard::Complete),
            Event::EveryChunkOut(out) => {
                self.is_every_chunk_out = out;
                return Ok(Heard::EveryChunkOut(out));
            }
            Event::Failed(error) => return Err(error),
            Event::Statements { peer, all } => self.take_statements(Some(&peer), all),
            Event::Bound { peer, validators } => self.bound(peer, &validators),
            Event::Evidence(bytes) => self.against.hear(&bytes),
            Event::Seen { peer, ip } => {
                // Each member's last word; an address that nobody sees any more is none.
                self.seen.values_mut().for_each(|by| _ = by.remove(&peer));
                self.seen.retain(|_, by| !by.is_empty());
                if !ip.is_unspecified() && self.seen.len() < limits::SEEN_ADDRESSES_MAX {
                    self.seen.entry(ip).or_default().insert(peer);
                }
            }
        }
        Ok(Heard::Nothing)
    }

    /// Serves until `until` passes or a signal comes; both are good ends.
    ///
    /// # Errors
    /// When our files cannot be read any more.
    pub async fn serve(&mut self, until: Option<Duration>, cancel: &CancellationToken) -> Result<()> {
        let began = clock::now();
        self.tell_where();
        loop {
            if until.is_some_and(|limit| clock::now().duration_since(began) >= limit) {
                return Ok(());
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                heard = self.next() => self.tell_served(&heard?),
            }
        }
    }

    /// Says where others find this node.
    pub fn tell_where(&self) {
        self.board.doing("serving");
        if let Some(address) = self.shown_address() {
            self.progress.note(format!("others reach this node at {address}"));
        }
    }

    /// Says what became of a step of serving.
    pub fn tell_served(&self, heard: &Heard) {
        if let Heard::EveryChunkOut(out) = heard {
            self.progress.note(if *out {
                "every chunk is with two others, as they say: the swarm can finish without this node"
            } else {
                "not every chunk is with two others any more: the swarm needs this node again"
            });
        }
        let status = self.status();
        let detail = text::count(status.peers as u64, "peer");
        self.progress.bytes("serve", status.sent_bytes, None, detail);
    }

    /// Serves until other work is done, and gives its result.
    ///
    /// # Errors
    /// When our files cannot be read any more.
    pub async fn serve_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                heard = self.next() => { heard?; }
            }
        }
    }

    /// Ends the node and says what went to and came from whom.
    pub async fn stop(mut self) -> Vec<PeerTotal> {
        self.progress.done("serve");
        self.kept.write_now();
        self.reporter.finish().await;
        let told = async {
            if let Some(page) = &self.page {
                page.is_told().await;
            }
        };
        let (totals, ()) = tokio::join!(self.handle.stop(), told);
        for total in totals.iter().filter(|t| t.sent_bytes + t.received_bytes > 0) {
            self.progress.note(format!(
                "{} at {}: sent {}, received {}",
                self.names
                    .get(&total.peer)
                    .cloned()
                    .unwrap_or_else(|| format!("peer {}", swarm::short_peer(&total.peer))),
                swarm::short_place(&total.address),
                text::bytes(total.sent_bytes),
                text::bytes(total.received_bytes)
            ));
        }
        totals
    }
}

/// Whether nobody reaches it but this machine, or neighbours who know through which interface.
fn is_local(address: &str) -> bool {
    ["/ip4/127.", "/ip4/169.254.", "/ip6/::1/", "/ip6/fe80:"].iter().any(|prefix| address.starts_with(prefix))
}

/// Each address and why it failed, for people.
pub fn unreachable(tried: &[(String, String)]) -> Notice {
    if tried.is_empty() {
        return Notice::from("nobody can be reached: the ticket has no address").next(Next::AddAddress);
    }
    let mut text = String::from("nobody can be reached yet; tried:");
    for (address, why) in tried {
        // One host and port may be tried over both transports.
        let over = if address.contains("/quic") { " (QUIC)" } else { "" };
        let place = if address.is_empty() { "(no address)".to_owned() } else { swarm::short_place(address) };
        text.push_str(&format!("\n  {place}{over}: {why}"));
    }
    text.into()
}

/// Watches that bytes keep coming.
#[derive(Debug)]
pub struct Patience {
    limit: Option<Duration>,
    last_bytes: u64,
    since: std::time::Instant,
}

impl Patience {
    /// Gives up after `limit` without a byte.
    pub fn new(limit: Option<Duration>) -> Self {
        Patience { limit, last_bytes: 0, since: clock::now() }
    }

    /// # Errors
    /// [`Kind::GaveUp`] when the limit has passed.
    pub fn check(&mut self, status: &Status) -> Result<()> {
        if status.received_bytes != self.last_bytes {
            self.last_bytes = status.received_bytes;
            self.since = clock::now();
        }
        let waited = clock::now().duration_since(self.since);
        match self.limit {
            Some(limit) if waited >= limit => {
                let limit = humantime::format_duration(limit);
                let what = if status.peers == 0 {
                    format!("no peer was reached for {limit}; {}", unreachable(&status.unreachable).text)
                } else {
                    format!("no byte came for {limit} from {}", text::count(status.peers as u64, "peer"))
                };
                Err(Error::new(Kind::GaveUp, what).hint(
                    "check the addresses above and that the lead still serves, then run the same command again: it \
                     goes on where it stopped",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// A line on how a fetch goes.
pub fn tell_progress(progress: &Progress, status: &Status) {
    if status.total_bytes == 0 {
        return;
    }
    let detail = match (status.peers, status.unreachable.as_slice()) {
        (0, []) => "looking for peers".to_owned(),
        (0, tried) => {
            format!("trying {}", text::first_few(tried.iter().map(|(address, _)| swarm::short_place(address)), 2))
        }
        (peers, _) => {
            format!("{}, {}", text::count(peers as u64, "peer"), text::count(status.seeds as u64, "seed"))
        }
    };
    progress.bytes("fetch", status.have_bytes, Some(status.total_bytes), detail);
}

fn own_identity(private: &PrivateDirectory, options: &SwarmOptions) -> Result<Identity> {
    match &options.identity {
        Some(path) => identity::from_file(path),
        None => identity::kept(private),
    }
}

/// Where to listen: what the operator says, or the port this directory had before, or the documented one; another only
/// if that is taken.
fn listen_addresses(
    private: &PrivateDirectory,
    options: &SwarmOptions,
    progress: &Progress,
) -> Result<(Vec<String>, Vec<String>)> {
    if !options.listen.is_empty() {
        return Ok((options.listen.clone(), Vec::new()));
    }
    let kept: Option<u16> =
        private.read(PORT_NAME)?.and_then(|b| String::from_utf8(b).ok()).and_then(|t| t.trim().parse().ok());
    let wanted = kept.unwrap_or(DEFAULT_PORT);
    let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok();
    let port = if free(wanted) {
        wanted
    } else {
        let listener = TcpListener::bind(("0.0.0.0", 0)).or_failed(|| "no port is free")?;
        let port = listener.local_addr().or_failed(|| "no port is free")?.port();
        let text = format!("port {wanted} is taken, listening on {port} instead");
        progress.warning(Notice::from(text).next(Next::OpenPortOrChoose { port }));
        port
    };
    if kept != Some(port) {
        private.write(PORT_NAME, port.to_string().as_bytes())?;
    }
    let both = |host: &str| vec![format!("/{host}/tcp/{port}"), format!("/{host}/udp/{port}/quic-v1")];
    Ok((both("ip4/0.0.0.0"), both("ip6/::")))
}

/// The manifest's artifacts under the names they have in `directory`: those of a snapshot directory, or those of a node
/// root that was set up from it.
pub fn contents(manifest: &VerifiedManifest, in_root: bool) -> Contents {
    let family = manifest.manifest().network.family;
    let files = manifest
        .manifest()
        .artifacts
        .iter()
        .map(|artifact| ArtifactFile {
            name: artifact_name(artifact.name, family, in_root).to_owned(),
            layout: artifact.layout,
            chunk_ids: artifact.chunk_ids.clone(),
        })
        .collect();
    Contents::new(manifest.id(), files)
}

/// A file's name, by artifact and kind of directory.
pub fn artifact_name(name: ArtifactName, family: Family, in_root: bool) -> &'static str {
    match name {
        ArtifactName::Snapshot if in_root => GENESIS_STATE_FILE_NAME,
        other => other.file_name(family),
    }
}

/// Whether `directory` is a node root rather than a snapshot directory.
pub fn is_root(directory: &Path) -> bool {
    directory.join("config.toml").exists() || directory.join(GENESIS_STATE_FILE_NAME).exists()
}

/// What a manifest is about, in lines for the operator.
pub fn manifest_words(manifest: &Manifest, now_unix_seconds: u64) -> Vec<String> {
    let network = &manifest.network;
    let from = network.old_chain_id.as_deref().map_or_else(String::new, |old| format!("{} -> ", text::escape(old)));
    let what = format!(
        "manifest {}: {} network {from}{}, height {}, {} in {} chunks",
        manifest.sequence,
        network.family,
        text::escape(&network.new_chain_id),
        network.height,
        text::bytes(manifest.size_bytes()),
        manifest.chunk_count()
    );
    let signed = text::time(manifest.created_unix_seconds);
    let ago = text::about(now_unix_seconds.saturating_sub(manifest.created_unix_seconds));
    let end = manifest.not_after_unix_seconds.map_or_else(
        || "does not expire".to_owned(),
        |end| format!("expires in {}, at {}", text::about(end.saturating_sub(now_unix_seconds)), text::time(end)),
    );
    vec![what, format!("signed {ago} ago, at {signed}; {end}")]
}
