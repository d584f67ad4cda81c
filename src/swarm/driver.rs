//! The task that owns the swarm: `select` waits, `apply` changes state and waits for nobody.

mod chunks;
mod members;
mod statements;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, Stream, Swarm, swarm::SwarmEvent};
use libp2p_stream::IncomingStreams;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::sleep_until,
};

use super::{
    BULK_PROTOCOL, Command, Config, Content, Event, PeerTotal, SESSION_PROTOCOL, Sink, Status,
    book::{self, Book},
    handshake::{Membership, Role},
    session::{Counters, Report, Session},
    transport::{self, Behaviour},
    wire::Message,
};
use crate::{
    base::{
        Context, Error, Result, clock,
        limits::{HANDSHAKE_FAILURE_PENALTY, HANDSHAKES_MAX},
        text,
    },
    schedule::{Input, Scheduler},
    store::Outcome,
};

const TICK: Duration = Duration::from_millis(100);
/// How long peers have to hear a goodbye.
const GOODBYE_TIME: Duration = Duration::from_millis(300);
/// How often an unreachable swarm is told of.
const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a member may take to send the manifest before another one is asked.
const MANIFEST_TIME: Duration = Duration::from_secs(10);
/// Control messages kept from members that spoke before the manifest was known.
const EARLY_MESSAGES_MAX: usize = 256;

/// A handshake's end.
struct Met {
    peer: PeerId,
    role: Role,
    /// Where the peer was when it began: it may be gone by the end.
    address: Multiaddr,
    result: std::result::Result<Stream, String>,
    /// The address may be trying secrets.
    suspicious: bool,
    /// The other side broke off, which is its own affair.
    quiet: bool,
    /// A member says that the swarm now serves another manifest than our ticket names.
    stale: bool,
}

/// What is served and filled, once the manifest is known.
struct Active {
    content: Content,
    scheduler: Scheduler,
}

enum Happening {
    Swarm(SwarmEvent<super::transport::BehaviourEvent>),
    SessionStream(PeerId, Stream),
    BulkStream(PeerId, Stream),
    Met(Met),
    Report(Report),
    Outcome(Outcome),
    Command(Option<Command>),
    Tick,
}

/// See the module.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    us: PeerId,
    membership: Arc<Membership>,
    allow: HashSet<PeerId>,
    peers_max: usize,
    began: Instant,
    next_tick: Duration,
    book: Book,
    own_addresses: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    sessions: BTreeMap<u64, Session>,
    by_peer: HashMap<PeerId, u64>,
    next_session: u64,
    /// Connected peers: where they are, and until when they must have proved membership.
    connected: HashMap<PeerId, (Multiaddr, Option<Duration>)>,
    meeting: HashSet<PeerId>,
    handshakes: Arc<Semaphore>,
    banned: HashSet<PeerId>,
    known_members: HashSet<PeerId>,
    /// Peers of the ticket that serve another manifest now.
    stale: HashSet<PeerId>,
    failures: HashMap<IpAddr, (u32, Duration)>,
    totals: BTreeMap<PeerId, (String, Arc<Counters>)>,
    early: Vec<(u64, Message)>,
    /// Session streams that were seen before the event of their connection.
    early_streams: Vec<(PeerId, Stream)>,
    manifest_asked: Option<(u64, Duration)>,
    /// The session that was asked last: the next one gets its turn.
    manifest_last: u64,
    active: Option<Active>,
    /// What validators have said, as the application knows it; every new member is told.
    statements: Vec<Vec<u8>>,
    unreachable_since: Option<Duration>,
    sessions_in: IncomingStreams,
    bulk_in: IncomingStreams,
    met: (mpsc::Sender<Met>, mpsc::Receiver<Met>),
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    events: mpsc::Sender<Event>,
    outbox: VecDeque<Event>,
    status: watch::Sender<Status>,
}

impl Driver {
    pub(super) fn new(config: Config, events: mpsc::Sender<Event>, status: watch::Sender<Status>) -> Result<Self> {
        let mut swarm = transport::swarm(&config.identity.0, config.peers_max)?;
        let us = *swarm.local_peer_id();
        for address in &config.listen {
            let parsed: Multiaddr = address.parse().map_err(|_| Error::usage(format!("{address} is no address")))?;
            swarm.listen_on(parsed).or_failed(|| format!("cannot listen on {address}"))?;
        }
        for address in &config.optional_listen {
            if let Ok(parsed) = address.parse::<Multiaddr>()
                && let Err(e) = swarm.listen_on(parsed)
            {
                tracing::debug!("not listening on {address}: {e}");
            }
        }
        let mut book = Book::new(us);
        for address in &config.connect {
            let Some((peer, address)) = book::parse(address) else {
                return Err(Error::usage(format!("{} is no address of a member", text::escape(address))));
            };
            book.add(peer, address, true, Duration::ZERO);
        }
        let parse_all = |texts: &[String]| texts.iter().filter_map(|t| t.parse().ok()).collect();
        let control = swarm.behaviour().streams.new_control();
        let accept = |protocol| control.clone().accept(protocol).or_failed(|| "cannot accept streams");
        let membership = match &config.secret {
            Some(secret) => Membership::with_secret(secret, config.manifest_id),
            None => Membership::public(config.manifest_id),
        };
        Ok(Driver {
            us,
            membership: Arc::new(membership),
            allow: config.allow.iter().filter_map(|p| p.parse().ok()).collect(),
            peers_max: config.peers_max,
            began: clock::now(),
            next_tick: TICK,
            book,
            own_addresses: Vec::new(),
            external: parse_all(&config.external),
            sessions: BTreeMap::new(),
            by_peer: HashMap::new(),
            next_session: 1,
            connected: HashMap::new(),
            meeting: HashSet::new(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            banned: HashSet::new(),
            known_members: HashSet::new(),
            stale: HashSet::new(),
            failures: HashMap::new(),
            totals: BTreeMap::new(),
            early: Vec::new(),
            early_streams: Vec::new(),
            manifest_asked: None,
            manifest_last: 0,
            active: None,
            statements: Vec::new(),
            unreachable_since: None,
            sessions_in: accept(SESSION_PROTOCOL)?,
            bulk_in: accept(BULK_PROTOCOL)?,
            met: mpsc::channel(HANDSHAKES_MAX),
            reports: mpsc::channel(1024),
            events,
            outbox: VecDeque::new(),
            status,
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

    async fn select(&mut self, commands: &mut mpsc::Receiver<Command>) -> Happening {
        let tick_at = tokio::time::Instant::from_std(self.began + self.next_tick);
        let outcome = async {
            match self.active.as_mut().and_then(|a| a.content.sink.as_mut()) {
                Some(Sink { outcomes, .. }) => outcomes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => Happening::Command(command),
            Some((peer, stream)) = self.sessions_in.next() => Happening::SessionStream(peer, stream),
            Some((peer, stream)) = self.bulk_in.next() => Happening::BulkStream(peer, stream),
            Some(met) = self.met.1.recv() => Happening::Met(met),
            Some(outcome) = outcome => Happening::Outcome(outcome),
            Some(report) = self.reports.1.recv() => Happening::Report(report),
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
                if let Some(session) = self.by_peer.get(&peer).and_then(|id| self.sessions.get_mut(id)) {
                    session.receive(stream);
                }
            }
            Happening::Met(met) => self.met(met),
            Happening::Report(report) => self.report(report),
            Happening::Outcome(outcome) => self.outcome(outcome),
            Happening::Command(Some(Command::Activate(content))) => self.activate(content),
            Happening::Command(Some(Command::Deactivate(done))) => {
                // Readers of bulk streams hold ends of the writer's queue: their sessions go with it.
                for id in self.sessions.keys().copied().collect::<Vec<_>>() {
                    self.drop_peer(id, "this node stops");
                }
                self.active = None;
                let _ = done.send(());
            }
            Happening::Command(Some(Command::Blame(peer, reason))) => {
                if let Ok(peer) = peer.parse() {
                    self.ban(peer, &reason);
                }
            }
            Happening::Command(Some(Command::Tell { all, new })) => self.tell_statements(all, new),
            Happening::Command(_) => {}
            Happening::Tick => self.tick(),
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        self.next_tick = now + TICK;
        let progress: Vec<(u64, u64)> =
            self.sessions.iter().map(|(id, s)| (*id, s.counters.received.load(Ordering::Relaxed))).collect();
        for (id, total) in progress {
            self.input(Input::Progress(id, total));
        }
        self.input(Input::Tick);
        let late: Vec<PeerId> = self
            .connected
            .iter()
            .filter(|(_, (_, deadline))| deadline.is_some_and(|d| now > d + Duration::from_secs(1)))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in late {
            let at = self.connected.remove(&peer).map(|(a, _)| a.to_string()).unwrap_or_default();
            self.outbox.push_back(Event::Warning(format!(
                "{peer} at {at} connected but did not prove that it is a member: a stranger, or another version of \
                 regenesis"
            )));
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        if self.manifest_asked.is_some_and(|(_, since)| now > since + MANIFEST_TIME) {
            self.manifest_asked = None;
        }
        self.ask_for_manifest();
        self.dial_due(now);
        let incomplete = self.active.as_ref().is_none_or(|a| a.content.sink.is_some());
        if self.sessions.is_empty() && incomplete {
            let since = *self.unreachable_since.get_or_insert(now);
            if now >= since + UNREACHABLE_INTERVAL {
                self.unreachable_since = Some(now);
                self.outbox.push_back(Event::Unreachable(self.book.failures()));
            }
        } else {
            self.unreachable_since = None;
        }
        self.failures.retain(|_, (_, last)| now < *last + HANDSHAKE_FAILURE_PENALTY);
        self.publish_status();
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
            session.say(Message::Goodbye("the operator stopped it".to_owned()));
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
