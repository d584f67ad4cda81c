//! Whole swarms of equal nodes: who sends what, leavers, silent ones.

use super::*;

pub(super) const CHUNK: u64 = 1000;
pub(super) const HOUR: Time = Duration::from_secs(3600);

/// What holds at every node after everything that happens.
pub(super) fn check(s: &Scheduler, world: &World) {
    for (chunk, from) in &s.in_flight {
        assert!(!s.have.contains(*chunk), "chunk {chunk} is had and in flight");
        assert!(!from.is_empty() && from.len() <= 3, "chunk {chunk} in flight from {from:?}");
    }
    let (mut suggested, mut waiting, mut counting) = (0, 0, 0);
    for (id, peer) in &s.peers {
        assert!(peer.asked.keys().all(|c| peer.has.contains(*c)), "peer {id} is asked for what it has not");
        assert!(peer.handed.len() <= SENDING_MAX);
        assert!(peer.wanted.len() <= REQUESTED_MAX && peer.owed.len() <= OWED_MAX);
        assert!(peer.receiving.len() <= world.lines.len() + 64, "{:?}", peer.receiving);
        assert!(peer.coming.keys().all(|c| !peer.has.contains(*c)), "peer {id} is to get what it has");
        assert!(peer.unheard <= peer.suggested && peer.counting <= peer.on_line.len() as u32);
        // Whatever the sockets take, little is on a line that nobody has said to have.
        assert!(peer.on_line.len() as u32 <= 2 + 2 * s.width.most(), "{:?}", peer.on_line);
        (suggested, waiting, counting) = (suggested + peer.suggested, waiting + peer.waiting, counting + peer.counting);
    }
    assert_eq!((s.suggestions, s.waiting, s.width.under_way()), (suggested, waiting, counting));
    assert!(s.suggestions - s.unheard <= 4 * s.width.most() && s.first_to.len() == s.soles.len());
    assert!(s.in_flight.len() as u32 <= s.intake.most() + 64);
}

/// Nodes on lines of these uplinks in bytes a second; the first `seeds` have everything.
pub(super) fn world(chunks: u32, ups: &[f64], seeds: usize, rng_seed: u64) -> World {
    with_lines(chunks, ups.iter().copied().map(Line::up).collect(), seeds, rng_seed)
}

pub(super) fn with_lines(chunks: u32, lines: Vec<Line>, seeds: usize, rng_seed: u64) -> World {
    let latency = Duration::from_millis(1);
    World {
        chunks,
        chunk_size_bytes: CHUNK,
        window_bytes: 64 * CHUNK,
        lines,
        seeds,
        latency,
        socket_bytes: CHUNK / 2,
        machine: None,
        rng_seed,
    }
}

impl Run {
    /// Runs until everyone that is still here has everything, with a look at each tick. Nobody honest is accused on the way.
    pub(super) fn runs(&mut self, mut each_tick: impl FnMut(&mut Run)) {
        while !self.is_over() {
            assert!(
                self.now < HOUR,
                "not finished: {:?}",
                self.nodes.iter().map(|n| n.scheduler.have().count()).collect::<Vec<_>>()
            );
            if self.step() {
                each_tick(self);
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let honest = |(peer, _): &&(PeerId, &str)| self.nodes[*peer as usize].line.harm.is_none();
            let accused = node.dropped.iter().find(honest);
            assert!(accused.is_none(), "node {i} accuses an honest one: {accused:?}");
        }
    }

    pub(super) fn sent_by(&self, node: usize) -> f64 {
        self.nodes[node].sent as f64 / f64::from(self.world.chunks)
    }

    pub(super) fn sent_in_all(&self) -> f64 {
        (0..self.nodes.len()).map(|n| self.sent_by(n)).sum()
    }
}

#[test]
fn one_fetcher_gets_everything_once() {
    let mut swarm = Run::new(world(500, &[1e5, 1e5], 1, 1));
    swarm.runs(|_| {});
    assert!(swarm.sent_by(0) <= 1.0, "{}", swarm.sent_by(0));
    // 500 kB at 100 kB/s.
    assert!(swarm.now < Duration::from_millis(5600), "{:?}", swarm.now);
}

#[test]
fn three_fetchers_serve_each_other() {
    for seed in 0..10 {
        let mut swarm = Run::new(world(500, &[1e5; 4], 1, seed));
        swarm.runs(|_| {});
        assert!(swarm.sent_by(0) <= 1.5, "seed {seed}: {}", swarm.sent_by(0));
        assert!(swarm.sent_in_all() <= 3.1, "seed {seed}: duplicates, {}", swarm.sent_in_all());
        assert!(swarm.now < Duration::from_millis(8500), "seed {seed}: {:?}", swarm.now);
    }
}

#[test]
fn three_fetchers_on_one_machine_serve_each_other() {
    for (seed, rate) in (0..20).flat_map(|seed| [2e4, 1e5, 1e6].map(|rate| (seed, rate))) {
        // As the test of real nodes has it: no line is slower than another, and what one does the others wait for.
        let mut swarm = Run::new(World { machine: Some(rate), ..world(200, &[1e6; 4], 1, seed) });
        swarm.runs(|_| {});
        assert!(swarm.sent_by(0) <= 2.0, "seed {seed}, {rate} bytes/s: {}", swarm.sent_by(0));
        assert!(swarm.sent_in_all() <= 3.1, "seed {seed}, {rate} bytes/s: {}", swarm.sent_in_all());
    }
}

#[test]
fn first_copies_leave_the_seed_once() {
    for seed in 0..10 {
        // The seed's line is the bottleneck, as a lead's mostly is.
        let mut swarm = Run::new(world(500, &[2e4, 1e5, 1e5, 1e5, 1e5], 1, seed));
        swarm.runs(|_| {});
        assert!(swarm.sent_by(0) <= 1.06, "seed {seed}: {} copies left the seed", swarm.sent_by(0));
        assert!(swarm.now < Duration::from_secs(29), "seed {seed}: {:?}", swarm.now);
    }
}

#[test]
fn several_seeds_share_the_work() {
    for seed in 0..10 {
        let mut swarm = Run::new(world(400, &[1e5, 1e5, 1e5], 2, seed));
        swarm.runs(|_| {});
        assert!(swarm.sent_by(0) > 0.3 && swarm.sent_by(1) > 0.3, "{} {}", swarm.sent_by(0), swarm.sent_by(1));
        assert!(swarm.sent_in_all() <= 1.05, "{}", swarm.sent_in_all());
    }
}

#[test]
fn the_swarm_ends_without_the_seed_once_every_chunk_is_out() {
    for seed in 0..10 {
        let mut lines = [5e4, 1e5, 1e5, 1e5].map(Line::up).to_vec();
        // The others have everything long before this one.
        lines[3].down = 2e4;
        let mut swarm = Run::new(with_lines(300, lines, 1, seed));
        swarm.runs(|s| {
            if s.nodes[0].every_chunk_out && !s.nodes[0].gone {
                s.leave(0);
            }
        });
        assert!(
            swarm.nodes[0].gone,
            "seed {seed}: {:?} {:?}",
            swarm.now,
            swarm.nodes.iter().map(|n| (n.finished, n.sent)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_fetcher_that_leaves_in_the_middle_holds_nobody_up() {
    for seed in 0..10 {
        let mut swarm = Run::new(world(300, &[5e4, 1e5, 1e5, 1e5], 1, seed));
        swarm.runs(|s| {
            if s.now > Duration::from_secs(2) && !s.nodes[2].gone {
                s.leave(2);
            }
        });
        assert!(swarm.now < Duration::from_secs(20), "{:?}", swarm.now);
    }
}

#[test]
fn a_peer_that_takes_requests_and_sends_nothing_delays_but_does_not_stop() {
    for seed in 0..5 {
        let mut swarm = Run::new(world(300, &[1e5, 1e5, 1e5], 1, seed));
        swarm.runs(|s| {
            if s.now > Duration::from_secs(1) {
                s.nodes[2].line.harm = Some(Harm::Silent);
            }
            // The silent one need not finish: its own requests are served by the others.
        });
        assert!(swarm.nodes[1].finished.is_some());
        assert!(swarm.now < Duration::from_secs(40), "{:?}", swarm.now);
    }
}

#[test]
fn a_dead_connection_is_given_up_so_that_a_new_one_can_be_made() {
    let mut swarm = Run::new(world(50, &[1e5, 1e5], 1, 1));
    swarm.nodes[0].line.harm = Some(Harm::Silent);
    // The only source never sends: the time limit of the run is not reached, because the node gives it up.
    let mut dropped_at = None;
    for tick in 0..3200u32 {
        swarm.now = TICK * tick;
        if swarm.nodes[1].dropped.is_empty() {
            while let Some(event) = swarm.queue.pop() {
                if let (What::Haves(r), 1) = (event.what, event.to) {
                    swarm.feed(1, Input::Haves(0, r.to_vec()));
                }
            }
            swarm.feed(1, Input::Tick);
        } else {
            dropped_at.get_or_insert(swarm.now);
        }
    }
    let at = dropped_at.expect("given up");
    // Each time twice as long.
    assert!(at > STALL * 31 && at < STALL * 32, "{at:?}");
}
