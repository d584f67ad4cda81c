//! Strangers at the door: incoming connections that have not proved membership yet. Places are counted for each address, each range
//! of addresses and all together; nobody is turned away for want of one, but whoever has kept a place waiting longest makes room.
//! So silent sockets, half-open handshakes and connections without a session hold nobody up, and those behind one address with an
//! attacker get in as well.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use tokio::time::{Sleep, sleep};

use super::{book, outlet::Line};
use crate::base::{
    clock,
    limits::{STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX, STRANGERS_PER_RANGE_MAX},
};

/// So long a connection that made room is kept without a word before it is closed: whoever opens a new one for each that is closed is as
/// slow as that.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// Connections kept so; more are closed at once.
const CLOSING_MAX: usize = 256;
/// This part of its patience after a step a stranger counts as one who goes on.
const FRESH: f64 = 0.25;

/// How far a stranger has come, and how long it may take for the next step before others go before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Has sent nothing.
    Silent,
    /// Has sent something.
    Spoke,
    /// Is encrypted: its peer id is known.
    Connected,
    /// Has opened a session and is proving membership.
    Meeting,
}

impl Stage {
    fn patience(self) -> Duration {
        match self {
            Stage::Silent => Duration::from_secs(1),
            Stage::Spoke => Duration::from_secs(4),
            Stage::Connected => Duration::from_secs(2),
            Stage::Meeting => Duration::from_secs(10),
        }
    }
}

/// The range that an address is counted in: a neighbourhood that one party may own.
pub(super) fn range(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

/// A stranger's place.
#[derive(Debug)]
struct Place {
    address: IpAddr,
    stage: Stage,
    since: Duration,
}

impl Place {
    /// How much of its patience the place has used.
    fn waited(&self, now: Duration) -> f64 {
        now.saturating_sub(self.since).as_secs_f64() / self.stage.patience().as_secs_f64()
    }

    /// Whether it goes before another one: who has just taken a step stays longer than who has taken none, however many of those come.
    fn goes_before(&self, other: &Place, now: Duration) -> std::cmp::Ordering {
        let fresh = |place: &Place| place.stage != Stage::Silent && place.waited(now) < FRESH;
        fresh(other).cmp(&fresh(self)).then(self.waited(now).total_cmp(&other.waited(now)))
    }
}

/// The places of strangers; time comes in as an argument.
#[derive(Debug, Default)]
struct Places(HashMap<ConnectionId, Place>);

impl Places {
    /// Takes a newcomer in; gives who has to go for it.
    fn enter(&mut self, id: ConnectionId, address: IpAddr, now: Duration) -> Option<ConnectionId> {
        self.0.insert(id, Place { address, stage: Stage::Silent, since: now });
        let of_address = |p: &Place| p.address == address;
        let of_range = |p: &Place| range(p.address) == range(address);
        let count = |of: &dyn Fn(&Place) -> bool| self.0.values().filter(|p| of(p)).count();
        let victim = if count(&of_address) > STRANGERS_PER_ADDRESS_MAX {
            self.longest(&of_address, id, now)
        } else if count(&of_range) > STRANGERS_PER_RANGE_MAX {
            self.longest(&of_range, id, now)
        } else if self.0.len() > STRANGERS_MAX {
            self.longest(&|_: &Place| true, id, now)
        } else {
            None
        };
        if let Some(victim) = victim {
            self.0.remove(&victim);
        }
        victim
    }

    fn longest(&self, of: &dyn Fn(&Place) -> bool, newcomer: ConnectionId, now: Duration) -> Option<ConnectionId> {
        let others = self.0.iter().filter(|(id, place)| **id != newcomer && of(place));
        others.max_by(|a, b| a.1.goes_before(b.1, now)).map(|(id, _)| *id)
    }

    fn advance(&mut self, id: ConnectionId, stage: Stage, now: Duration) {
        if let Some(place) = self.0.get_mut(&id).filter(|place| place.stage != stage) {
            (place.stage, place.since) = (stage, now);
        }
    }
}

/// What is known of a connection while it is below the encryption: whether it spoke, and whether it is to end.
#[derive(Debug, Default)]
struct Watch {
    spoke: AtomicBool,
    ended: AtomicBool,
    waker: AtomicWaker,
}

impl Watch {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn ended() -> Arc<Self> {
        Arc::new(Watch { ended: AtomicBool::new(true), ..Watch::default() })
    }
}

/// Local and remote address of a connection.
type Ends = (Multiaddr, Multiaddr);

/// The watches of strangers' connections, for the transport to find.
#[derive(Debug, Clone, Default)]
pub(super) struct Watches {
    open: Arc<Mutex<HashMap<Ends, Arc<Watch>>>>,
    closing: Arc<AtomicUsize>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Ends, Arc<Watch>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A raw connection with its watch, if it is an incoming one.
    pub(super) fn watch<S>(&self, stream: S, point: &ConnectedPoint, line: Arc<Line>) -> Watched<S> {
        let watch = match point {
            ConnectedPoint::Dialer { .. } => None,
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                let known = self.lock().get(&(local_addr.clone(), send_back_addr.clone())).cloned();
                // It had to make room before it began.
                Some(known.unwrap_or_else(Watch::ended))
            }
        };
        Watched { stream, line, watch, end: End::Open, closing: self.closing.clone() }
    }
}

/// A raw connection whose bytes are counted, and that can be ended from outside, at any step of its set-up.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    /// Counts the bytes that come.
    line: Arc<Line>,
    watch: Option<Arc<Watch>>,
    end: End,
    closing: Arc<AtomicUsize>,
}

/// How near its end a connection is.
#[derive(Debug)]
enum End {
    Open,
    /// The socket is kept open until this sleep ends.
    Closing(Pin<Box<Sleep>>),
    Closed,
}

impl<S> Watched<S> {
    /// Ready while the connection may go on, and with an error at its end.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(watch) = &self.watch else { return Poll::Ready(Ok(())) };
        watch.waker.register(cx.waker());
        if !watch.ended.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        if matches!(self.end, End::Open) {
            let full = self.closing.fetch_add(1, Ordering::AcqRel) >= CLOSING_MAX;
            self.end = End::Closing(Box::pin(sleep(if full { Duration::ZERO } else { CLOSING_TIME })));
        }
        if let End::Closing(time) = &mut self.end {
            ready!(time.as_mut().poll(cx));
            self.closing.fetch_sub(1, Ordering::AcqRel);
            self.end = End::Closed;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "others came who said more")))
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        if matches!(self.end, End::Closing(_)) {
            self.closing.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.look(cx))?;
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(n @ 1..)) = &read {
            self.line.came.fetch_add(*n as u64, Ordering::Relaxed);
            if let Some(watch) = &self.watch {
                watch.spoke.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.look(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.look(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A stranger's connection.
#[derive(Debug)]
struct Stranger {
    ends: Ends,
    watch: Arc<Watch>,
    peer: Option<PeerId>,
}

/// Keeps the places; see the module.
#[derive(Debug, Default)]
pub(super) struct Door {
    watches: Watches,
    places: Places,
    strangers: HashMap<ConnectionId, Stranger>,
    /// Connections to close, for those that cannot be ended from below.
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl Door {
    pub(super) fn new(watches: Watches) -> Self {
        Door { watches, ..Door::default() }
    }

    fn now() -> Duration {
        clock::since_start()
    }

    /// The peer has opened a session stream.
    pub(super) fn meeting(&mut self, peer: &PeerId) {
        let now = Self::now();
        for (id, _) in self.strangers.iter().filter(|(_, s)| s.peer.as_ref() == Some(peer)) {
            self.places.advance(*id, Stage::Meeting, now);
        }
    }

    /// The peer is a member: its connections take no places any more.
    pub(super) fn proven(&mut self, peer: &PeerId) {
        let ids: Vec<_> =
            self.strangers.iter().filter(|(_, s)| s.peer.as_ref() == Some(peer)).map(|(id, _)| *id).collect();
        for id in ids {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: ConnectionId) -> Option<Stranger> {
        self.places.0.remove(&id);
        let stranger = self.strangers.remove(&id)?;
        self.watches.lock().remove(&stranger.ends);
        Some(stranger)
    }

    fn enter(&mut self, id: ConnectionId, ends: Ends, address: IpAddr) {
        let now = Self::now();
        // What has happened below since.
        for (id, stranger) in self.strangers.iter().filter(|(_, s)| s.peer.is_none()) {
            if stranger.watch.spoke.load(Ordering::Relaxed) {
                self.places.advance(*id, Stage::Spoke, now);
            }
        }
        let watch = Arc::<Watch>::default();
        self.watches.lock().insert(ends.clone(), watch.clone());
        self.strangers.insert(id, Stranger { ends, watch, peer: None });
        if let Some(victim) = self.places.enter(id, address, now)
            && let Some(stranger) = self.leave(victim)
        {
            stranger.watch.end();
            if let Some(peer) = stranger.peer {
                self.closing.push_back((peer, victim));
            }
        }
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if let Some(address) = book::ip(remote) {
            self.enter(id, (local.clone(), remote.clone()), address);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.strangers.get_mut(&id) {
            Some(stranger) => stranger.peer = Some(peer),
            // It had to make room while it was set up.
            None => return Err(ConnectionDenied::new(io::Error::from(io::ErrorKind::ConnectionAborted))),
        }
        self.places.advance(id, Stage::Connected, Self::now());
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.leave(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, id)) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) })
            }
            // Only what the swarm tells puts something there, and then it asks again.
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn silent_sockets_make_room_and_a_newcomer_from_elsewhere_is_untouched() {
        let mut places = Places::default();
        assert_eq!(places.enter(id(0), ip("10.0.0.1"), at(0)), None);
        for n in 1..1000 {
            let gone = places.enter(id(n), ip("10.9.0.2"), at(n as u64));
            assert_eq!(gone, n.checked_sub(STRANGERS_PER_ADDRESS_MAX).filter(|n| *n > 0).map(id));
        }
        assert!(places.0.contains_key(&id(0)));
        assert_eq!(places.0.len(), STRANGERS_PER_ADDRESS_MAX + 1);
    }

    #[test]
    fn who_goes_on_stays_among_silent_ones_behind_the_same_address() {
        let mut places = Places::default();
        for n in 1..=STRANGERS_PER_ADDRESS_MAX {
            places.enter(id(n), ip("10.9.0.2"), at(0));
        }
        // The honest one: steps of 50 ms each, while sockets are opened as fast as they are closed.
        places.enter(id(0), ip("10.9.0.2"), at(100));
        let mut next = 1000;
        for (ms, stage) in [(101, Stage::Spoke), (150, Stage::Connected), (200, Stage::Meeting), (1000, Stage::Meeting)]
        {
            places.advance(id(0), stage, at(ms));
            for _ in 0..200 {
                places.enter(id(next), ip("10.9.0.2"), at(ms + 1));
                next += 1;
            }
            assert!(places.0.contains_key(&id(0)), "{stage:?}");
        }
    }

    #[test]
    fn strangers_that_connect_and_open_no_session_go_before_those_that_do() {
        let mut places = Places::default();
        for n in 1..=STRANGERS_PER_ADDRESS_MAX {
            places.enter(id(n), ip("10.9.0.2"), at(0));
            places.advance(id(n), Stage::Connected, at(10));
        }
        places.enter(id(0), ip("10.9.0.2"), at(2000));
        places.advance(id(0), Stage::Connected, at(2050));
        places.advance(id(0), Stage::Meeting, at(2060));
        for n in 0..40 {
            let gone = places.enter(id(1000 + n), ip("10.9.0.2"), at(3000));
            assert!(gone.is_some_and(|gone| gone != id(0)));
        }
    }

    #[test]
    fn a_range_and_all_ranges_together_are_bounded() {
        let mut places = Places::default();
        for n in 0..5000usize {
            let [a, b] = (n as u16).to_be_bytes();
            places.enter(id(n), IpAddr::from([10, 1, a % 2, b]), at(n as u64));
        }
        assert!(places.0.len() <= 2 * STRANGERS_PER_RANGE_MAX, "{}", places.0.len());
        for n in 5000..9000usize {
            let [a, b] = (n as u16).to_be_bytes();
            places.enter(id(n), IpAddr::from([10, a, b, 1]), at(n as u64));
        }
        assert!(places.0.len() <= STRANGERS_MAX);
        assert_eq!(range(ip("2001:db8:1:2::3")), range(ip("2001:db8:1:ffff::1")));
        assert_eq!(range(ip("::ffff:10.0.0.7")), range(ip("10.0.0.9")));
    }
}
