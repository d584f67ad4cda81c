//! The task that owns the swarm: `select` waits, `apply` changes state and waits for nobody.

mod access;
mod chunks;
mod connections;
mod elsewhere;
mod evidence;
mod members;
mod relays;
mod statements;
mod view;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kwil_formats::formats::key::PublicKey;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm,
    multiaddr::Protocol,
    swarm::{ConnectionId, SwarmEvent},
};
use libp2p_stream::IncomingStreams;
use rand::RngCore;
use tokio::{
    sync::{Semaphore, mpsc, watch as status_watch},
    time::sleep_until,
};

use self::watch::Quiet;
use super::{
    BULK_PROTOCOL, Command, Config, Content, Event, PeerTotal, SESSION_PROTOCOL, Sink, Status, ToldEvidence,
    access::Access,
    book::{self, Book},
    dht::{Dht, Found},
    handshake::{Instance, Membership, Role},
    introduction::{Introducer, Shown},
    lan::{self, Lan},
    lines::Lines,
    names::Names,
    session::{Counters, Report, Session},
    throttle::Throttles,
    transport::{self, Behaviour},
    wire::{Message, Parting},
};
use crate::{
    base::{
        Context, Error, Next, Result, clock,
        limits::{REMEMBERED_PEERS_MAX, STRANGERS_MAX},
        task::Tasks,
        text,
    },
    schedule::{Parts, Scheduler},
    store::Outcome,
};

const TICK: Duration = Duration::from_millis(100);
/// Chunks that others complain of that are looked at at once; others are made sure of before they next leave.
const LOOKS_MAX: usize = 2;
/// How long peers have to hear a goodbye.
const GOODBYE_TIME: Duration = Duration::from_millis(300);
/// Peers of whom is remembered whose they are.
const SHOWN_BEFORE_MAX: usize = REMEMBERED_PEERS_MAX;
/// Events that wait for the application beside those it must hear.
const WAITING_WORDS_MAX: usize = 256;

/// A handshake's end.
struct Met {
    peer: PeerId,
    role: Role,
    /// Where the peer was when it began: it may be gone by the end.
    address: Multiaddr,
    result: std::result::Result<(Stream, Instance, Shown), String>,
    /// The peer may be trying secrets.
    suspicious: bool,
    /// The other side broke off, which is its own affair.
    quiet: bool,
    /// A member says that the swarm now serves another manifest than our ticket names.
    stale: bool,
    /// What a member that speaks of another manifest tells of it.
    evidence: Option<Vec<u8>>,
}

/// What is served and filled, once the manifest is known.
struct Active {
    content: Content,
    scheduler: Scheduler,
    /// This node only hears what others have and say: it neither fetches nor serves.
    watches: bool,
}

/// A connected peer.
struct Connected {
    address: Multiaddr,
    /// Until when it must have proved membership.
    deadline: Option<Duration>,
    /// Its connections, the oldest first, and whether we dialled.
    links: Vec<(ConnectionId, bool)>,
}

/// A peer that is kept out.
struct Ban {
    until: Duration,
    /// How often it was banned.
    times: u32,
}

enum Happening {
    Swarm(SwarmEvent<super::transport::BehaviourEvent>),
    SessionStream(PeerId, Stream),
    BulkStream(PeerId, Stream),
    Met(Met),
    Report(Report),
    Outcome(Outcome),
    /// A member has said on the local network where it is.
    Near(PeerId, Vec<Multiaddr>),
    /// What the distributed hash table says.
    Elsewhere(Found),
    Command(Option<Command>),
    Tick,
}

/// See the module.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    lines: Lines,
    us: PeerId,
    membership: Arc<Membership>,
    introducer: Arc<Introducer>,
    access: Access,
    peers_max: usize,
    throttles: Arc<Throttles>,
    began: Instant,
    next_tick: Duration,
    book: Book,
    /// Members on the local network, where they are looked for.
    lan: Option<Lan>,
    /// Members anywhere, where they are looked for, and what is known of that.
    dht: Option<Dht>,
    elsewhere: elsewhere::Elsewhere,
    relays: Vec<relays::Relay>,
    /// How many chunks that others complain of are looked at at once.
    looks: Arc<Semaphore>,
    /// How many lines told of members that come and go since when.
    noted: (u32, Duration),
    own_addresses: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    sessions: BTreeMap<u64, Session>,
    by_peer: HashMap<PeerId, u64>,
    next_session: u64,
    connected: HashMap<PeerId, Connected>,
    /// Dials under way, so that a failure is known to be of which address.
    dialling: HashMap<ConnectionId, (PeerId, Multiaddr)>,
    /// Peers whose handshake goes on: as dialler, as listener.
    meeting: HashSet<PeerId>,
    listening_to: HashSet<PeerId>,
    banned: HashMap<PeerId, Ban>,
    /// Whose peers are, or were, as they have shown.
    shown_before: HashMap<PeerId, Vec<PublicKey>>,
    /// Peers that have been members; not for ever.
    known_members: HashSet<PeerId>,
    /// Peers of the ticket that serve another manifest now.
    stale: HashSet<PeerId>,
    /// Peers that failed to prove membership: how often, and when last.
    failures: HashMap<PeerId, (u32, Duration)>,
    totals: BTreeMap<PeerId, (String, Arc<Counters>)>,
    /// Sessions that end: what is said last is still being written.
    leaving: Vec<(PeerId, Tasks, Duration)>,
    /// Connections that end in the same way.
    closing: Vec<(ConnectionId, Tasks, Duration)>,
    /// Sessions that ended lately.
    ended: VecDeque<(u64, PeerId)>,
    /// What went to and came from peers that are no longer remembered.
    forgotten: Counters,
    /// Which chunks came from whom, as far as there is room.
    parts: BTreeMap<PeerId, Parts>,
    /// Session streams that were seen before the event of their connection, and when.
    early_streams: Vec<(PeerId, Stream, Duration)>,
    /// Members that were asked for the manifest, and when.
    manifest_asked: BTreeMap<u64, Duration>,
    /// Whose manifest the application is looking at.
    manifest_judged: Option<PeerId>,
    active: Option<Active>,
    /// What validators have said, as the application knows it; every new member is told.
    statements: Vec<Vec<u8>>,
    /// What every new member is told against manifests.
    evidence: ToldEvidence,
    unreachable_since: Option<Duration>,
    /// Since when what is missing is with nobody who is here, and when that was last said.
    nowhere: (Option<Duration>, Option<Duration>),
    /// Addresses that others are still to be told of, and when they were last told some.
    news: Vec<(PeerId, String)>,
    news_at: Duration,
    damaged: u32,
    quiet: Quiet,
    /// By which names peers are told.
    names: Names,
    sessions_in: IncomingStreams,
    bulk_in: IncomingStreams,
    met: (mpsc::Sender<Met>, mpsc::Receiver<Met>),
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    events: mpsc::Sender<Event>,
    outbox: VecDeque<Event>,
    status: status_watch::Sender<Status>,
}

/// Listens on every address that was asked for, which must succeed, and on the optional ones as far as the machine lets us.
fn listen(swarm: &mut Swarm<Behaviour>, config: &Config) -> Result<()> {
    for address in &config.listen {
        let parsed: Multiaddr = address.parse().map_err(|_| Error::usage(format!("{address} is no address")))?;
        require_free(&parsed)?;
        swarm.listen_on(parsed).or_failed(|| format!("cannot listen on {address}"))?;
    }
    for address in &config.optional_listen {
        if let Ok(parsed) = address.parse::<Multiaddr>()
            && let Err(e) = swarm.listen_on(parsed)
        {
            tracing::debug!("not listening on {address}: {e}");
        }
    }
    Ok(())
}

impl Driver {
    pub(super) fn new(
        config: Config,
        events: mpsc::Sender<Event>,
        status: status_watch::Sender<Status>,
    ) -> Result<Self> {
        let (mut swarm, lines) = transport::swarm(&config.identity.0)?;
        let us = *swarm.local_peer_id();
        listen(&mut swarm, &config)?;
        let mut book = Book::new(us);
        for address in config.connect.iter().chain(&config.relay_via) {
            let Some((peer, address)) = book::parse(address) else {
                return Err(Error::usage(format!("{} is no address of a member", text::escape(address))));
            };
            book.add(peer, address, true, Duration::ZERO);
        }
        let parse_all = |texts: &[String]| texts.iter().filter_map(|t| t.parse().ok()).collect();
        let control = swarm.behaviour().streams.new_control();
        let accept = |protocol| control.clone().accept(protocol).or_failed(|| "cannot accept streams");
        let mut instance = [0; 16];
        rand::rng().fill_bytes(&mut instance);
        let membership = match &config.secret {
            Some(secret) => Membership::with_secret(secret, config.manifest_id, instance),
            None => Membership::public(config.manifest_id, instance),
        };
        let lan = match config.lan.then(|| Lan::new(lan::Key::of(&membership), us)).transpose() {
            Ok(lan) => lan,
            Err(e) => return Err(Error::failed("the local network cannot be listened to").because(e)),
        };
        let relays = config
            .relay_via
            .iter()
            .filter_map(|text| book::parse(text).map(|(peer, _)| relays::Relay::new(peer, text.clone())));
        let relays = relays.collect();
        let dht = config.dht.map(|bootstrap| Dht::start(&membership, us, bootstrap));
        Ok(Driver {
            us,
            membership: Arc::new(membership),
            introducer: Arc::new(Introducer { bindings: config.bindings, new_chain_id: config.new_chain_id }),
            access: Access::new(config.allow),
            peers_max: config.peers_max,
            throttles: Arc::new(Throttles::new(config.rate_limits)),
            began: clock::now(),
            next_tick: TICK,
            book,
            lan,
            dht,
            elsewhere: elsewhere::Elsewhere::default(),
            relays,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            noted: (0, Duration::ZERO),
            own_addresses: Vec::new(),
            external: parse_all(&config.external),
            sessions: BTreeMap::new(),
            by_peer: HashMap::new(),
            next_session: 1,
            connected: HashMap::new(),
            dialling: HashMap::new(),
            meeting: HashSet::new(),
            listening_to: HashSet::new(),
            banned: HashMap::new(),
            shown_before: HashMap::new(),
            known_members: HashSet::new(),
            stale: HashSet::new(),
            failures: HashMap::new(),
            totals: BTreeMap::new(),
            leaving: Vec::new(),
            closing: Vec::new(),
            ended: VecDeque::new(),
            forgotten: Counters::default(),
            parts: BTreeMap::new(),
            early_streams: Vec::new(),
            manifest_asked: BTreeMap::new(),
            manifest_judged: None,
            active: None,
            statements: Vec::new(),
            evidence: ToldEvidence::default(),
            unreachable_since: None,
            nowhere: (None, None),
            news: Vec::new(),
            news_at: Duration::ZERO,
            damaged: 0,
            quiet: Quiet::default(),
            names: Names::default(),
            sessions_in: accept(SESSION_PROTOCOL)?,
            bulk_in: accept(BULK_PROTOCOL)?,
            met: mpsc::channel(STRANGERS_MAX),
            reports: mpsc::channel(1024),
            events,
            outbox: VecDeque::new(),
            status,
            lines,
            swarm,
        })
    }

    /// Runs until told to stop or until the handle is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            match self.select(&mut commands).await {
                Happening::Command(None) => return,
                Happening::Command(Some(Command::Stop(reply))) => {
                    self.say_goodbye().await;
                    let _ = reply.send(self.peer_totals());
                    return;
                }
                happening => self.apply(happening),
            }
            self.run_effects();
            while let Some(event) = self.outbox.pop_front() {
                if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                    self.outbox.push_front(event);
                    break;
                }
            }
        }
    }

    fn now(&self) -> Duration {
        clock::now().duration_since(self.began)
    }

    /// The next thing that happened. Whatever has more to say waits its turn: which of those that are ready comes first is chance, and
    /// the tick, which comes ten times a second, goes before all of them.
    async fn select(&mut self, commands: &mut mpsc::Receiver<Command>) -> Happening {
        if self.now() >= self.next_tick {
            return Happening::Tick;
        }
        let tick_at = tokio::time::Instant::from_std(self.began + self.next_tick);
        let outcome = async {
            match self.active.as_mut().and_then(|a| a.content.sink.as_mut()) {
                Some(Sink { outcomes, .. }) => outcomes.recv().await,
                None => std::future::pending().await,
            }
        };
        let near = async {
            match &mut self.lan {
                Some(lan) => lan.hear().await,
                None => std::future::pending().await,
            }
        };
        let elsewhere = async {
            match &mut self.dht {
                Some(dht) => dht.found().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => Happening::Command(command),
            Some((peer, stream)) = self.sessions_in.next() => Happening::SessionStream(peer, stream),
            Some((peer, stream)) = self.bulk_in.next() => Happening::BulkStream(peer, stream),
            Some(met) = self.met.1.recv() => Happening::Met(met),
            Some(outcome) = outcome => Happening::Outcome(outcome),
            Some(report) = self.reports.1.recv() => Happening::Report(report),
            (peer, addresses) = near => Happening::Near(peer, addresses),
            found = elsewhere => Happening::Elsewhere(found),
            () = sleep_until(tick_at) => Happening::Tick,
            event = self.swarm.select_next_some() => Happening::Swarm(event),
        }
    }

    fn apply(&mut self, happening: Happening) {
        match happening {
            Happening::Swarm(event) => self.swarm_event(event),
            Happening::SessionStream(peer, stream) => self.meet_as_listener(peer, stream),
            Happening::BulkStream(peer, stream) => {
                // From a stranger it is dropped unread.
                if let Some(id) = self.by_peer.get(&peer).copied()
                    && self.sessions.get_mut(&id).is_some_and(|session| !session.receive(stream))
                {
                    self.fault(id, "it opens more streams than the protocol allows");
                }
            }
            Happening::Met(met) => self.met(met),
            Happening::Report(report) => self.report(report),
            Happening::Outcome(outcome) => self.outcome(outcome),
            Happening::Near(peer, addresses) => self.is_near(peer, addresses),
            Happening::Elsewhere(found) => self.heard_elsewhere(found),
            Happening::Command(Some(Command::Activate(content))) => self.activate(content),
            Happening::Command(Some(Command::Deactivate(done))) => {
                // What is on its way is of no use any more.
                for id in self.sessions.keys().copied().collect::<Vec<_>>() {
                    self.drop_peer(id, "this node stops");
                }
                self.active = None;
                let _ = done.send(());
            }
            Happening::Command(Some(Command::Blame(peer, reason))) => {
                if let Ok(peer) = peer.parse() {
                    self.manifest_judged.take_if(|judged| *judged == peer);
                    self.ban(peer, &reason, Vec::new());
                }
            }
            Happening::Command(Some(Command::Tell { all, new })) => self.tell_statements(all, new),
            Happening::Command(Some(Command::TellEvidence(told))) => self.tell_evidence(told),
            Happening::Command(Some(Command::Name(peer, name))) => self.name(peer, name),
            Happening::Command(Some(Command::Stand(standing))) => self.stand(standing),
            Happening::Command(Some(Command::Look(reply))) => {
                let _ = reply.send(self.view());
            }
            Happening::Command(_) => {}
            Happening::Tick => self.tick(),
        }
    }

    /// Whether chunks are still to come.
    fn is_incomplete(&self) -> bool {
        self.active.as_ref().is_none_or(|a| a.content.sink.is_some())
    }

    /// Whether this node is of no use without others.
    fn needs_others(&self) -> bool {
        self.is_incomplete() || self.active.as_ref().is_some_and(|a| a.watches)
    }

    /// Hands an event to the application. Words are left out where too many wait already: whoever makes them must not fill our memory.
    fn tell(&mut self, event: Event) {
        let words = matches!(event, Event::Note(_) | Event::Warning(_) | Event::Unreachable(_));
        if words && self.outbox.len() >= WAITING_WORDS_MAX {
            tracing::debug!("left out: {event:?}");
            return;
        }
        self.outbox.push_back(event);
    }

    fn publish_status(&self) {
        let mut status = Status { peers: self.sessions.len(), ..Status::default() };
        if self.sessions.is_empty() {
            status.unreachable = self.book.failures();
        }
        if let Some(active) = &self.active {
            let contents = active.content.store.contents();
            status.total_bytes = contents.size_bytes();
            let have = active.scheduler.have();
            status.have_bytes = if have.is_full() {
                status.total_bytes
            } else {
                have.iter().map(|c| contents.chunk_len(c) as u64).sum()
            };
            status.seeds = active.scheduler.seeds();
        }
        status.sent_bytes = self.forgotten.sent.load(Ordering::Relaxed);
        status.received_bytes = self.forgotten.received.load(Ordering::Relaxed);
        for (_, counters) in self.totals.values() {
            status.sent_bytes += counters.sent.load(Ordering::Relaxed);
            let received = counters.received.load(Ordering::Relaxed);
            status.received_bytes += received;
            status.sources += usize::from(received > 0);
        }
        self.status.send_replace(status);
    }

    async fn say_goodbye(&mut self) {
        for session in self.sessions.values() {
            let reason = "its work is done, or it was stopped".to_owned();
            session.say(Message::Goodbye { reason, why: Parting::Other });
        }
        // Whoever hears it hangs up; who does not is not waited for.
        let until = tokio::time::Instant::from_std(clock::now() + GOODBYE_TIME);
        while !self.connected.is_empty() {
            tokio::select! {
                () = sleep_until(until) => return,
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } = event {
                        self.connected.remove(&peer_id);
                    }
                }
            }
        }
    }

    fn peer_totals(&self) -> Vec<PeerTotal> {
        self.totals
            .iter()
            .map(|(peer, (address, counters))| PeerTotal {
                peer: peer.to_string(),
                address: address.clone(),
                sent_bytes: counters.sent.load(Ordering::Relaxed),
                received_bytes: counters.received.load(Ordering::Relaxed),
            })
            .collect()
    }
}

/// Refuses a TCP port that somebody listens on: the transport would share it without a word, and the system would deal connections to
/// either.
fn require_free(address: &Multiaddr) -> Result<()> {
    let mut parts = address.iter();
    let (ip, port) = match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => (ip.into(), port),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Tcp(port))) => (ip.into(), port),
        _ => return Ok(()),
    };
    match std::net::TcpListener::bind(SocketAddr::new(ip, port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Error::failed(format!("port {port} is taken: another program listens on {address}"))
                .hint(Next::ChooseListen))
        }
        Err(e) => Err(e).or_failed(|| format!("cannot listen on {address}")),
    }
}
