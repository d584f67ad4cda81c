//! Bytes that come on the lines of each peer, counted below encryption and frames: a frame of 256 KiB is given out when all of it is here,
//! and on a line of a few kilobytes a second that is half a minute in which nothing else shows that the line is not dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
};

use libp2p::{PeerId, core::ConnectedPoint};

use super::outlet::Line;

/// Lines whose peer is not known yet, and those of each peer.
#[derive(Debug, Default)]
struct Known {
    new: HashMap<ConnectedPoint, Weak<Line>>,
    of_peer: HashMap<PeerId, Vec<Weak<Line>>>,
}

/// The counters; as many as there are connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Known>>);

impl Lines {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counter of a new connection.
    pub(super) fn begin(&self, point: &ConnectedPoint) -> Arc<Line> {
        let line = Arc::<Line>::default();
        let mut known = self.known();
        known.new.retain(|_, line| line.strong_count() > 0);
        known.new.insert(point.clone(), Arc::downgrade(&line));
        line
    }

    /// The peer of a connection is known.
    pub(super) fn belongs_to(&self, point: &ConnectedPoint, peer: PeerId) {
        let mut known = self.known();
        let Some(line) = known.new.remove(point) else { return };
        known.of_peer.retain(|_, lines| {
            lines.retain(|line| line.strong_count() > 0);
            !lines.is_empty()
        });
        known.of_peer.entry(peer).or_default().push(line);
    }

    /// Bytes that have come on the open lines of a peer; 0 where its transport has no frames.
    pub(super) fn bytes(&self, peer: &PeerId) -> u64 {
        let known = self.known();
        let lines = known.of_peer.get(peer).into_iter().flatten().filter_map(Weak::upgrade);
        lines.map(|line| line.came.load(Ordering::Relaxed)).sum()
    }

    /// How many bytes of chunks are best given to the lines of a peer at once; none where its transport has no frames.
    pub(super) fn frame_bytes(&self, peer: &PeerId) -> Option<usize> {
        let known = self.known();
        let lines = known.of_peer.get(peer).into_iter().flatten().filter_map(Weak::upgrade);
        lines.map(|line| line.frame_bytes()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_peer_count_as_long_as_they_are_open() {
        let lines = Lines::default();
        let point = |port: u16| ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(),
        };
        let peer = PeerId::random();
        let (first, second) = (lines.begin(&point(2)), lines.begin(&point(3)));
        first.came.fetch_add(5, Ordering::Relaxed);
        assert_eq!(lines.bytes(&peer), 0);
        lines.belongs_to(&point(2), peer);
        lines.belongs_to(&point(3), peer);
        second.came.fetch_add(7, Ordering::Relaxed);
        assert_eq!(lines.bytes(&peer), 12);
        drop(first);
        assert_eq!(lines.bytes(&peer), 7);
        drop(second);
        lines.belongs_to(&point(9), peer);
        let line = lines.begin(&point(4));
        lines.belongs_to(&point(4), PeerId::random());
        assert_eq!(lines.known().of_peer.len(), 1, "closed ones are forgotten");
        drop(line);
    }
}
