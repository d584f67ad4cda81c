//! A node's uplink: its connections share it fairly, and each has a socket in front of it that takes bytes long before they leave.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::Time;

/// What one connection has to send.
#[derive(Debug, Default)]
struct Connection {
    /// Chunks that were handed over, the first partly gone: which, and where each ends in all bytes of the connection.
    chunks: VecDeque<(Cargo, f64)>,
    /// Of those, how many the socket has taken whole.
    taken: usize,
    /// Bytes that have left, as of the last time it was looked, and all that were handed over.
    gone: f64,
    handed: f64,
    /// While it sends: what the line had given to each connection when it began, less what had left of this one then.
    began: Option<f64>,
    /// The receiver's line is behind: nothing leaves.
    held: bool,
    /// The session is over.
    parted: bool,
    /// When the last word leaves.
    last_word: Time,
}

/// A chunk on its way, and the request that it answers.
pub(super) type Cargo = (u32, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Uplink {
    rate: f64,
    socket_bytes: f64,
    connections: Vec<Connection>,
    /// Connections that send, by what the line will have given to each when their first chunk is gone.
    sends: BTreeSet<(Bytes, u32)>,
    /// What the line has given to each connection that always had something to send, and when that was.
    given: f64,
    at: Time,
    /// Counts changes: what was foreseen before one is not true after it.
    pub(super) change: u64,
}

/// A count of bytes in order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bytes(f64);

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Uplink {
    pub(super) fn new(rate: f64, socket_bytes: u64, nodes: usize) -> Self {
        Uplink {
            rate,
            socket_bytes: socket_bytes as f64,
            connections: (0..nodes).map(|_| Connection::default()).collect(),
            sends: BTreeSet::new(),
            given: 0.0,
            at: Time::ZERO,
            change: 0,
        }
    }

    fn advance(&mut self, now: Time) {
        if !self.sends.is_empty() {
            self.given += now.saturating_sub(self.at).as_secs_f64() * self.rate / self.sends.len() as f64;
        }
        self.at = now;
    }

    /// From now on the line has another rate.
    pub(super) fn set_rate(&mut self, now: Time, rate: f64) {
        if rate != self.rate {
            self.advance(now);
            self.rate = rate;
            self.change += 1;
        }
    }

    /// When the next chunk has left, if nothing changes before.
    pub(super) fn next_departure(&self) -> Option<Time> {
        let (Bytes(given), _) = self.sends.first()?;
        let seconds = (given - self.given).max(0.0) * self.sends.len() as f64 / self.rate;
        Some(self.at + Duration::from_secs_f64(seconds) + Duration::from_nanos(1))
    }

    fn begin(&mut self, to: u32) {
        let Some(connection) = self.connections.get_mut(to as usize) else { return };
        if connection.held || connection.began.is_some() {
            return;
        }
        if let Some((_, end)) = connection.chunks.front() {
            let began = self.given - connection.gone;
            connection.began = Some(began);
            self.sends.insert((Bytes(began + end), to));
            self.change += 1;
        }
    }

    fn end(&mut self, to: u32) {
        let Some(connection) = self.connections.get_mut(to as usize) else { return };
        if let (Some(began), Some((_, end))) = (connection.began.take(), connection.chunks.front()) {
            self.sends.remove(&(Bytes(began + end), to));
            connection.gone = self.given - began;
            self.change += 1;
        }
    }

    /// A chunk is handed to the socket; gives those that it has taken since it was last looked.
    pub(super) fn hand(&mut self, now: Time, to: u32, cargo: Cargo, bytes: f64) -> Vec<u32> {
        self.advance(now);
        let Some(connection) = self.connections.get_mut(to as usize) else { return Vec::new() };
        connection.handed += bytes;
        connection.chunks.push_back((cargo, connection.handed));
        let taken = self.take(to);
        self.begin(to);
        taken
    }

    /// The chunks that the socket has taken since it was last looked.
    fn take(&mut self, to: u32) -> Vec<u32> {
        let Some(connection) = self.connections.get_mut(to as usize) else { return Vec::new() };
        let gone = connection.began.map_or(connection.gone, |began| self.given - began);
        let fits = |(_, end): &&(Cargo, f64)| end - gone <= self.socket_bytes;
        let waiting = connection.chunks.iter().skip(connection.taken);
        let taken: Vec<u32> = waiting.take_while(fits).map(|((chunk, _), _)| *chunk).collect();
        connection.taken += taken.len();
        taken
    }

    /// The next chunk that has left by now, to whom, and those that the socket has taken because of it.
    pub(super) fn depart(&mut self, now: Time) -> Option<(u32, Cargo, Vec<u32>)> {
        self.advance(now);
        let (due, to) = self.sends.first().copied()?;
        if due.0 > self.given {
            return None;
        }
        self.sends.remove(&(due, to));
        self.change += 1;
        let connection = self.connections.get_mut(to as usize)?;
        let (cargo, end) = connection.chunks.pop_front()?;
        let was_taken = connection.taken > 0;
        connection.taken = connection.taken.saturating_sub(1);
        connection.gone = end;
        match (connection.began, connection.chunks.front()) {
            (Some(began), Some((_, next))) => {
                self.sends.insert((Bytes(began + next), to));
            }
            _ => connection.began = None,
        }
        let mut taken = self.take(to);
        if !was_taken {
            taken.insert(0, cargo.0);
        }
        Some((to, cargo, taken))
    }

    /// The receiver's line is behind, or no longer.
    pub(super) fn hold(&mut self, now: Time, to: u32, held: bool) {
        self.advance(now);
        if held {
            self.end(to);
        }
        if let Some(connection) = self.connections.get_mut(to as usize) {
            connection.held = held;
        }
        self.begin(to);
    }

    /// When a word leaves that is said now: after what the socket has taken before it.
    pub(super) fn word(&mut self, now: Time, to: u32) -> Time {
        self.advance(now);
        let shares = self.sends.len().max(1) as f64;
        let Some(connection) = self.connections.get_mut(to as usize) else { return now };
        let gone = connection.began.map_or(connection.gone, |began| self.given - began);
        let before = (connection.handed - gone).clamp(0.0, self.socket_bytes);
        let leaves = now + Duration::from_secs_f64(before * shares / self.rate);
        connection.last_word = connection.last_word.max(leaves);
        connection.last_word
    }

    /// Whom bytes are on their way to.
    pub(super) fn sends(&self) -> Vec<u32> {
        let sends = |c: &Connection| c.began.is_some() || (c.held && !c.chunks.is_empty());
        (0u32..).zip(&self.connections).filter(|(_, c)| sends(c)).map(|(to, _)| to).collect()
    }

    /// Whether the session with that one goes on.
    pub(super) fn is_connected(&self, to: u32) -> bool {
        self.connections.get(to as usize).is_some_and(|c| !c.parted)
    }

    /// A session with that one begins.
    pub(super) fn meet(&mut self, to: u32) {
        if let Some(connection) = self.connections.get_mut(to as usize) {
            connection.parted = false;
        }
    }

    /// The other side is gone, with what was to be sent to it.
    pub(super) fn forget(&mut self, now: Time, to: u32) {
        self.advance(now);
        self.end(to);
        if let Some(connection) = self.connections.get_mut(to as usize) {
            *connection = Connection { parted: true, ..Connection::default() };
        }
    }
}
