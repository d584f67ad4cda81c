//! The task that owns the swarm: `select` waits, `apply` changes state and waits for nobody.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm,
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{
        DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use libp2p_stream::IncomingStreams;
use rand::RngCore;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep_until, timeout},
};

use super::{
    BULK_PROTOCOL, Command, Config, Content, Event, PeerTotal, SESSION_PROTOCOL, Sink, Status,
    book::{self, Book},
    handshake::{HandshakeError, Membership, Role},
    session::{self, Counters, Report, SendJob, Session, Verdict},
    transport::{self, Behaviour},
    wire::{ArtifactRange, Message, Offer},
};
use crate::{
    base::{
        Context, Error, Result, clock,
        limits::{HANDSHAKE_FAILURE_PENALTY, HANDSHAKE_FAILURES_MAX, HANDSHAKE_TIME_MAX, HANDSHAKES_MAX, WINDOW_BYTES},
        text,
    },
    schedule::{self, Effect, Expect, Input, Scheduler},
    store::Outcome,
};

const TICK: Duration = Duration::from_millis(100);
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
    result: std::result::Result<Stream, String>,
    /// The address may be trying secrets.
    suspicious: bool,
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
    failures: HashMap<IpAddr, (u32, Duration)>,
    totals: BTreeMap<PeerId, (String, Arc<Counters>)>,
    early: Vec<(u64, Message)>,
    manifest_asked: Option<(u64, Duration)>,
    /// The session that was asked last: the next one gets its turn.
    manifest_last: u64,
    active: Option<Active>,
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
            failures: HashMap::new(),
            totals: BTreeMap::new(),
            early: Vec::new(),
            manifest_asked: None,
            manifest_last: 0,
            active: None,
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
            Happening::Command(_) => {}
            Happening::Tick => self.tick(),
        }
    }

    // ---- connections ----

    fn swarm_event(&mut self, event: SwarmEvent<super::transport::BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let told = address.clone().with(Protocol::P2p(self.us));
                if !self.own_addresses.contains(&told) {
                    self.own_addresses.push(told.clone());
                }
                self.outbox.push_back(Event::Listening(told.to_string()));
            }
            SwarmEvent::ListenerError { error, .. } => {
                self.outbox.push_back(Event::Warning(format!("a listener failed: {error}")));
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => self.connection_up(peer_id, &endpoint),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.connected.remove(&peer_id);
                if let Some(id) = self.by_peer.get(&peer_id).copied() {
                    self.end_session(id, "the connection was lost");
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.dial_failed(&peer, &error),
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!("incoming connection from {send_back_addr} failed: {error}");
            }
            _ => {}
        }
    }

    fn connection_up(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let now = self.now();
        let address = endpoint.get_remote_address().clone();
        let unwelcome = self.banned.contains(&peer)
            || (!self.allow.is_empty() && endpoint.is_listener() && !self.allow.contains(&peer))
            || (endpoint.is_listener() && self.kept_out(&peer, &address));
        if unwelcome {
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let proven = self.by_peer.contains_key(&peer);
        let deadline = (!proven).then_some(now + HANDSHAKE_TIME_MAX);
        self.connected.entry(peer).or_insert((address, deadline));
        if endpoint.is_dialer() && !proven && self.meeting.insert(peer) {
            self.meet_as_dialler(peer);
        }
    }

    /// Whether the address has failed too often of late. Members that were in before are not held up by it.
    fn kept_out(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let now = self.now();
        !self.known_members.contains(peer)
            && book::ip(address)
                .and_then(|ip| self.failures.get(&ip))
                .is_some_and(|(n, last)| *n >= HANDSHAKE_FAILURES_MAX && now < *last + HANDSHAKE_FAILURE_PENALTY)
    }

    fn dial_failed(&mut self, peer: &PeerId, error: &DialError) {
        match error {
            DialError::Transport(tries) => {
                for (address, error) in tries {
                    let why = innermost(error);
                    self.book.failed(peer, &address.to_string(), why);
                }
            }
            DialError::WrongPeerId { obtained, address } => {
                let why = format!("another node answers there, {obtained}: the ticket is older than its identity");
                self.book.failed(peer, &address.to_string(), why);
            }
            DialError::LocalPeerId { .. } => self.book.forget(peer),
            DialError::DialPeerConditionFalse(_) | DialError::Aborted => {}
            other => {
                let why = innermost(other);
                self.book.failed(peer, "", why);
            }
        }
    }

    // ---- membership ----

    fn meet_as_dialler(&mut self, peer: PeerId) {
        let mut control = self.swarm.behaviour().streams.new_control();
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        tokio::spawn(async move {
            let work = async {
                let mut stream =
                    control.open_stream(peer, SESSION_PROTOCOL).await.map_err(|e| session::open_failure(&e))?;
                match membership.run(&mut stream, Role::Dialler, us, peer, nonce).await {
                    Ok(()) => Ok(stream),
                    Err(e) => Err(dialler_words(&e)),
                }
            };
            let result = timeout(HANDSHAKE_TIME_MAX, work)
                .await
                .unwrap_or_else(|_| Err("it did not finish the handshake in time".to_owned()));
            let _ = met.send(Met { peer, role: Role::Dialler, result, suspicious: false }).await;
        });
    }

    fn meet_as_listener(&mut self, peer: PeerId, mut stream: Stream) {
        if self.banned.contains(&peer) || !self.connected.contains_key(&peer) {
            return;
        }
        // Too many at once: the stranger may try again.
        let Ok(permit) = self.handshakes.clone().try_acquire_owned() else { return };
        let (membership, us, met, nonce) = (self.membership.clone(), self.us, self.met.0.clone(), nonce());
        tokio::spawn(async move {
            let _permit = permit;
            let run = membership.run(&mut stream, Role::Listener, us, peer, nonce);
            let (result, suspicious) = match timeout(HANDSHAKE_TIME_MAX, run).await {
                Ok(Ok(())) => (Ok(stream), false),
                Ok(Err(e)) => {
                    let suspicious = matches!(e, HandshakeError::WrongSecret);
                    let words = match e {
                        HandshakeError::OtherManifest => {
                            "it has a ticket of another manifest: give it the current ticket".to_owned()
                        }
                        other => other.to_string(),
                    };
                    (Err(words), suspicious)
                }
                Err(_) => (Err("it did not finish the handshake in time".to_owned()), true),
            };
            let _ = met.send(Met { peer, role: Role::Listener, result, suspicious }).await;
        });
    }

    fn met(&mut self, Met { peer, role, result, suspicious }: Met) {
        if role == Role::Dialler {
            self.meeting.remove(&peer);
        }
        let address = self.connected.get(&peer).map(|(a, _)| a.clone());
        match result {
            Ok(stream) => self.begin_session(peer, role, stream),
            Err(why) => {
                let at = address.as_ref().map_or_else(String::new, ToString::to_string);
                if suspicious && let Some(ip) = address.as_ref().and_then(book::ip) {
                    let now = self.now();
                    let entry = self.failures.entry(ip).or_insert((0, now));
                    *entry = if now > entry.1 + HANDSHAKE_FAILURE_PENALTY { (1, now) } else { (entry.0 + 1, now) };
                }
                if role == Role::Dialler {
                    self.book.failed(&peer, &with_peer(&at, peer), why.clone());
                }
                if !self.by_peer.contains_key(&peer) {
                    let _ = self.swarm.disconnect_peer_id(peer);
                    if at.is_empty() {
                        // It left by itself.
                        tracing::debug!("no session with {peer}: {why}");
                    } else {
                        self.outbox.push_back(Event::Warning(format!("no session with {peer} at {at}: {why}")));
                    }
                }
            }
        }
    }

    fn begin_session(&mut self, peer: PeerId, role: Role, stream: Stream) {
        let dialler = if role == Role::Dialler { self.us } else { peer };
        if self.banned.contains(&peer) {
            return;
        }
        if let Some(old) = self.by_peer.get(&peer).copied() {
            // Both sides may dial at once. Both keep the session that the smaller peer id opened.
            let preferred = self.us.min(peer);
            let old_dialler = self.sessions.get(&old).map(|s| s.dialler);
            if old_dialler != Some(dialler) && dialler != preferred {
                return;
            }
            self.end_session(old, "a newer session took its place");
        }
        if self.sessions.len() >= self.peers_max {
            self.outbox.push_back(Event::Note(format!("{peer} was turned away: as many peers as allowed are here")));
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let id = self.next_session;
        self.next_session += 1;
        let address = match self.connected.get_mut(&peer) {
            Some((address, deadline)) => {
                *deadline = None;
                address.clone()
            }
            None => return,
        };
        let total = self.totals.entry(peer).or_default();
        total.0 = address.to_string();
        let control = self.swarm.behaviour().streams.new_control();
        let session = Session::start(id, peer, dialler, stream, control, total.1.clone(), self.reports.0.clone());
        self.known_members.insert(peer);
        self.book.reached(&peer);
        self.unreachable_since = None;
        let local = book::is_loopback(&address);
        let mut addresses: Vec<String> = self
            .external
            .iter()
            .cloned()
            .map(|a| with_peer_id(a, self.us))
            .chain(self.own_addresses.iter().filter(|a| local || !book::is_loopback(a)).cloned())
            .map(|a| a.to_string())
            .collect();
        addresses.extend(self.book.to_tell(&peer, local));
        session.say(Message::Peers(addresses));
        self.sessions.insert(id, session);
        self.by_peer.insert(peer, id);
        self.outbox.push_back(Event::Note(format!("connected to {peer} at {address}")));
        self.input(Input::Connected(id));
        self.ask_for_manifest();
    }

    fn end_session(&mut self, id: u64, why: &str) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let peer = session.peer;
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        self.early.retain(|(from, _)| *from != id);
        if self.manifest_asked.is_some_and(|(asked, _)| asked == id) {
            self.manifest_asked = None;
        }
        self.input(Input::Gone(id));
        self.outbox.push_back(Event::Note(format!("session with {peer} ended: {}", text::escape(why))));
    }

    /// Ends a session and its connection.
    fn drop_peer(&mut self, id: u64, why: &str) {
        let peer = self.sessions.get(&id).map(|s| s.peer);
        self.end_session(id, why);
        if let Some(peer) = peer.filter(|p| !self.by_peer.contains_key(p)) {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn ban(&mut self, peer: PeerId, reason: &str) {
        if !self.banned.insert(peer) {
            return;
        }
        let at = self.totals.get(&peer).map_or("", |t| &t.0);
        self.outbox.push_back(Event::Warning(format!("peer {peer} at {at} was dropped and banned: {reason}")));
        self.book.forget(&peer);
        if let Some(id) = self.by_peer.get(&peer).copied() {
            self.end_session(id, reason);
        }
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    // ---- messages ----

    fn report(&mut self, report: Report) {
        match report {
            Report::Message(id, message) => self.message(id, message),
            Report::Offer(id, offer, reply) => {
                let verdict = self.offered(id, offer);
                if matches!(verdict, Verdict::Break) {
                    self.drop_peer(id, "it sent a chunk that was not asked for");
                }
                let _ = reply.send(verdict);
            }
            Report::Sent(id, chunk) => self.input(Input::Sent(id, chunk)),
            Report::Skipped(id, chunk) => self.input(Input::Duplicate(id, chunk)),
            Report::Broken(error) => self.outbox.push_back(Event::Failed(error)),
            Report::Ended(id, why) => self.drop_peer(id, &why),
        }
    }

    fn offered(&mut self, id: u64, offer: Offer) -> Verdict {
        let now = self.now();
        let Some(active) = &mut self.active else { return Verdict::Break };
        let contents = active.content.store.contents();
        let Some(chunk) = contents.number(offer.artifact, offer.index) else { return Verdict::Break };
        if contents.chunk_len(chunk) != offer.size_bytes as usize {
            return Verdict::Break;
        }
        match (active.scheduler.offered(now, id, chunk, offer.credited), &active.content.sink) {
            (Expect::Wanted, Some(sink)) => Verdict::Take(chunk, sink.queue.clone()),
            (Expect::HadAlready, _) | (Expect::Wanted, None) => Verdict::Skip(chunk),
            (Expect::Unasked, _) => Verdict::Break,
        }
    }

    fn message(&mut self, id: u64, message: Message) {
        let Some(session) = self.sessions.get(&id) else { return };
        let peer = session.peer;
        match message {
            Message::ManifestRequest => {
                let manifest = self.active.as_ref().map(|a| a.content.manifest.clone());
                session.say(Message::Manifest(manifest));
            }
            Message::Manifest(None) => {
                if self.manifest_asked.is_some_and(|(asked, _)| asked == id) {
                    // It will have one soon; another member is asked first.
                    self.manifest_asked = None;
                }
            }
            Message::Manifest(Some(bytes)) => {
                if self.active.is_none() && self.manifest_asked.is_some_and(|(asked, _)| asked == id) {
                    self.outbox.push_back(Event::Manifest { peer: peer.to_string(), bytes });
                }
            }
            Message::Peers(addresses) => self.peers_told(peer, &addresses),
            Message::Goodbye(reason) => self.drop_peer(id, &format!("it said goodbye: {reason}")),
            Message::Unknown => {}
            other if self.active.is_none() => {
                if self.early.len() < EARLY_MESSAGES_MAX {
                    self.early.push((id, other));
                } else {
                    self.drop_peer(id, "it says too much before the manifest is known");
                }
            }
            Message::Haves(r) => self.ranges_input(id, r, Input::Haves),
            Message::Request(r) => self.ranges_input(id, r, Input::Requested),
            Message::Cancel(r) => self.ranges_input(id, r, Input::Cancelled),
            Message::Refusal(r) => self.ranges_input(id, r, Input::Refused),
            Message::Credit(n) => self.input(Input::Credited(id, n)),
        }
    }

    fn peers_told(&mut self, from: PeerId, addresses: &[String]) {
        let now = self.now();
        let observed = self.connected.get(&from).and_then(|(a, _)| book::ip(a));
        let mut new = Vec::new();
        for text in addresses {
            let Some((peer, address)) = book::parse(text) else { continue };
            if self.banned.contains(&peer) {
                continue;
            }
            let mut candidates = vec![address.clone()];
            // Behind a translator a member does not know its own address, but we see it.
            if let (true, Some(ip)) = (peer == from, observed.filter(|ip| !ip.is_loopback())) {
                let host = Protocol::from(ip);
                candidates.push(address.replace(0, |_| Some(host)).unwrap_or(address));
            }
            for address in candidates {
                if self.book.add(peer, address.clone(), false, now) {
                    new.push(address);
                }
            }
            // Of two that hear of each other at the same time, the smaller id dials.
            if peer < self.us {
                self.book.wait(&peer, now + Duration::from_secs(3));
            }
        }
        if new.is_empty() {
            return;
        }
        for session in self.sessions.values().filter(|s| s.peer != from) {
            let local = self.connected.get(&session.peer).is_some_and(|(a, _)| book::is_loopback(a));
            let told: Vec<String> =
                new.iter().filter(|a| local || !book::is_loopback(a)).map(ToString::to_string).collect();
            if !told.is_empty() {
                session.say(Message::Peers(told));
            }
        }
    }

    fn ranges_input(&mut self, id: u64, ranges: Vec<ArtifactRange>, input: fn(u64, Vec<Range<u32>>) -> Input) {
        let Some(active) = &self.active else { return };
        let contents = active.content.store.contents();
        let mut numbers = Vec::with_capacity(ranges.len());
        for (artifact, range) in ranges {
            let bounds = (contents.number(artifact, range.start), range.end.checked_sub(1));
            let last = bounds.1.and_then(|last| contents.number(artifact, last));
            match (bounds.0, last) {
                (Some(first), Some(last)) if first <= last => numbers.push(first..last + 1),
                _ => return self.drop_peer(id, "it names chunks that do not exist"),
            }
        }
        self.input(input(id, numbers));
    }

    fn ask_for_manifest(&mut self) {
        if self.active.is_some() || self.manifest_asked.is_some() {
            return;
        }
        let now = self.now();
        let next = self.sessions.range(self.manifest_last + 1..).next().or_else(|| self.sessions.iter().next());
        if let Some((id, session)) = next
            && session.say(Message::ManifestRequest)
        {
            self.manifest_asked = Some((*id, now));
            self.manifest_last = *id;
        }
    }

    // ---- chunks ----

    fn activate(&mut self, content: Content) {
        let chunk_size = content.store.contents().chunk_size_bytes();
        let mut seed = [0; 12];
        rand::rng().fill_bytes(&mut seed);
        let (a, b) = seed.split_at(8);
        let rng_seed = u64::from_le_bytes(a.try_into().unwrap_or_default());
        // A lone seed deals in the file's order, so that verified prefixes grow.
        let deal_from = if content.sink.is_none() { 0 } else { u32::from_le_bytes(b.try_into().unwrap_or_default()) };
        let scheduler = Scheduler::new(content.have.clone(), chunk_size, WINDOW_BYTES, deal_from, rng_seed);
        self.active = Some(Active { content, scheduler });
        self.manifest_asked = None;
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.input(Input::Connected(id));
        }
        for (id, message) in std::mem::take(&mut self.early) {
            self.message(id, message);
        }
        self.publish_status();
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        if let Some(active) = &mut self.active {
            active.scheduler.handle(now, input);
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { source, chunk } => self.input(Input::Stored(source, chunk)),
            Outcome::Bad { source, chunk, error } => {
                // The session may be over already; the chunk is then free again.
                if let Some(peer) = self.sessions.get(&source).map(|s| s.peer) {
                    self.ban(peer, &format!("it sent a wrong chunk: {error}"));
                } else {
                    tracing::debug!("a wrong chunk {chunk} from a session that is over: {error}");
                }
            }
            Outcome::Failed(error) => self.outbox.push_back(Event::Failed(error)),
        }
    }

    fn run_effects(&mut self) {
        while let Some(effect) = self.active.as_mut().and_then(|a| a.scheduler.poll_effect()) {
            let Some(active) = &self.active else { return };
            let contents = active.content.store.contents();
            let (id, message) = match effect {
                Effect::Request(id, chunks) => {
                    // In the scheduler's order: each its own range unless they follow on each other.
                    let mut ranges: Vec<Range<u32>> = Vec::new();
                    for chunk in chunks {
                        match ranges.last_mut() {
                            Some(last) if last.end == chunk => last.end += 1,
                            _ => ranges.push(chunk..chunk + 1),
                        }
                    }
                    (id, Message::Request(to_wire(contents, &ranges)))
                }
                Effect::Cancel(id, chunks) => (id, Message::Cancel(to_wire(contents, &schedule::ranges(chunks)))),
                Effect::Grant(id, n) => (id, Message::Credit(n)),
                Effect::Tell(id, ranges) => (id, Message::Haves(to_wire(contents, &ranges))),
                Effect::Announce(ranges) => {
                    let wire = to_wire(contents, &ranges);
                    let behind: Vec<u64> = self
                        .sessions
                        .iter()
                        .filter(|(_, s)| !s.say(Message::Haves(wire.clone())))
                        .map(|(id, _)| *id)
                        .collect();
                    for id in behind {
                        self.drop_peer(id, "it does not read what it is told");
                    }
                    continue;
                }
                Effect::Send { peer: id, chunk, credited } => {
                    let Some((artifact, index)) = contents.locate(chunk) else { continue };
                    let size_bytes = contents.chunk_len(chunk) as u32;
                    let offer = Offer { artifact: artifact as u32, index: index.get(), size_bytes, credited };
                    let job = SendJob { chunk, offer, store: active.content.store.clone() };
                    if self.sessions.get(&id).is_some_and(|s| !s.send(job)) {
                        self.drop_peer(id, "its line is stuck");
                    }
                    continue;
                }
                Effect::Drop(id, why) => {
                    self.drop_peer(id, why);
                    continue;
                }
                Effect::Complete => {
                    if let Some(active) = &mut self.active {
                        // The writer can end once nobody can give it more.
                        active.content.sink = None;
                    }
                    self.publish_status();
                    self.outbox.push_back(Event::Complete);
                    continue;
                }
                Effect::EveryChunkOut => {
                    self.outbox.push_back(Event::EveryChunkOut);
                    continue;
                }
            };
            if self.sessions.get(&id).is_some_and(|s| !s.say(message)) {
                self.drop_peer(id, "it does not read what it is told");
            }
        }
    }

    // ---- time ----

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

    fn dial_due(&mut self, now: Duration) {
        if self.sessions.len() >= self.peers_max {
            return;
        }
        let (by_peer, banned, meeting, connected) = (&self.by_peer, &self.banned, &self.meeting, &self.connected);
        let busy = |peer: &PeerId| {
            by_peer.contains_key(peer)
                || banned.contains(peer)
                || meeting.contains(peer)
                || connected.contains_key(peer)
        };
        for (peer, addresses) in self.book.due(now, busy) {
            let options = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                self.dial_failed(&peer, &error);
            }
        }
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
        // Long enough for the words to leave, short enough for an impatient operator.
        let until = tokio::time::Instant::from_std(clock::now() + Duration::from_millis(200));
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                _ = self.swarm.select_next_some() => {}
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

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    rand::rng().fill_bytes(&mut nonce);
    nonce
}

fn dialler_words(error: &HandshakeError) -> String {
    match error {
        HandshakeError::OtherManifest => {
            "the ticket is stale: this swarm now serves another manifest; ask the lead for the current ticket"
                .to_owned()
        }
        HandshakeError::Rejected => {
            "wrong secret: it does not take our proof, so the ticket is of another swarm; ask the lead for the ticket"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn with_peer_id(address: Multiaddr, peer: PeerId) -> Multiaddr {
    if address.iter().any(|p| matches!(p, Protocol::P2p(_))) { address } else { address.with(Protocol::P2p(peer)) }
}

fn with_peer(address: &str, peer: PeerId) -> String {
    address.parse::<Multiaddr>().map_or_else(|_| address.to_owned(), |a| with_peer_id(a, peer).to_string())
}

/// The cause at the bottom of a chain: "connection refused" rather than four layers around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    text::escape(&cause.to_string())
}

/// Splits chunk numbers into ranges of one artifact each.
fn to_wire(contents: &crate::store::Contents, ranges: &[Range<u32>]) -> Vec<ArtifactRange> {
    let mut out = Vec::with_capacity(ranges.len());
    for range in ranges {
        for (artifact, _) in contents.files().iter().enumerate() {
            let chunks = contents.chunks_of(artifact);
            let (start, end) = (range.start.max(chunks.start), range.end.min(chunks.end));
            if start < end {
                out.push((artifact as u32, start - chunks.start..end - chunks.start));
            }
        }
    }
    out
}
