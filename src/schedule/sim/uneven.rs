//! Receivers that differ: what the first seed has to send, and how near the end is to what the lines allow.

use super::{swarms::*, *};

const UP: f64 = 1e5;
const CHUNKS: u32 = 600;
/// A small artifact: over before much is measured.
const FEW: u32 = 200;

/// Who receives, and over what.
struct Case {
    name: &'static str,
    chunks: u32,
    seed: Line,
    fetchers: Vec<Line>,
    machine: Option<f64>,
    /// How many times the bound the end may be.
    late: f64,
}

impl Case {
    fn new(name: &'static str, fetchers: Vec<Line>) -> Self {
        Case { name, chunks: CHUNKS, seed: Line::up(UP), fetchers, machine: None, late: 1.15 }
    }

    fn world(&self, seed: u64) -> World {
        let lines: Vec<Line> = std::iter::once(&self.seed).chain(&self.fetchers).cloned().collect();
        World { machine: self.machine, ..with_lines(self.chunks, lines, 1, seed) }
    }

    /// Copies that left the seed, copies that left anyone per receiver, seconds until the end.
    fn run(&self, seed: u64) -> (f64, f64, f64) {
        let mut swarm = Run::new(self.world(seed));
        swarm.runs(|_| {});
        (swarm.sent_by(0), swarm.sent_in_all() / self.fetchers.len() as f64, swarm.now.as_secs_f64())
    }
}

fn downs(downs: &[f64]) -> Vec<Line> {
    downs.iter().map(|d| Line { down: d * UP, ..Line::up(UP) }).collect()
}

fn stopping(n: usize, period_ms: u64, stopped_ms: u64) -> Vec<Line> {
    (0..n as u64)
        .map(|i| {
            // Each at other times.
            let period = Duration::from_millis(period_ms + 130 * i);
            Line { stops: Some((period, Duration::from_millis(stopped_ms))), ..Line::up(UP) }
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let slow_first: Vec<f64> = (0..16).map(|i| [0.3, 0.5, 1.0, 4.0][i % 4]).collect();
    let mut late = downs(&[4.0, 4.0, 4.0]);
    late[2].joins = Duration::from_secs(8);
    let mut one_stops = stopping(3, 1500, 900);
    (one_stops[0].stops, one_stops[1].stops) = (None, None);
    let mut one_fast = [1.0; 16];
    one_fast[0] = 10.0;
    let fast = |n| vec![Line::up(UP * 20.0); n];
    let machine = |name, fetchers: Vec<Line>, rate| Case {
        seed: Line::up(UP * 20.0),
        machine: Some(rate),
        ..Case::new(name, fetchers)
    };
    let mut uneven_machine = fast(3);
    uneven_machine[1].stops = Some((Duration::from_millis(1300), Duration::from_millis(600)));
    uneven_machine[2].stops = Some((Duration::from_millis(1700), Duration::from_millis(1100)));
    vec![
        Case::new("two fast, one slow", downs(&[4.0, 4.0, 0.4])),
        Case::new("one fast, two slow", downs(&[4.0, 0.4, 0.4])),
        Case::new("all slower than the seed", downs(&[0.8, 0.4, 0.3])),
        Case::new("two, one slow", downs(&[4.0, 0.3])),
        Case::new("one of three comes late", late),
        Case { late: 1.25, ..Case::new("one stops and goes", one_stops) },
        Case { late: 2.1, ..Case::new("three stop and go", stopping(3, 1500, 700)) },
        Case { late: 1.6, ..Case::new("eight stop and go", stopping(8, 1500, 700)) },
        Case::new("sixteen of four kinds", downs(&slow_first)),
        machine("three on one machine", fast(3), UP * 2.0),
        Case { late: 1.5, ..machine("three on one machine, two of them uneven", uneven_machine.clone(), UP * 2.0) },
        Case { chunks: FEW, ..machine("few chunks, three on one machine", fast(3), UP * 2.0) },
        Case {
            chunks: FEW,
            ..machine("few chunks, three uneven ones on one machine", uneven_machine.clone(), UP * 2.0)
        },
        Case {
            chunks: FEW,
            ..machine("few chunks, three uneven ones on a fast machine", uneven_machine.clone(), UP * 8.0)
        },
        Case { chunks: FEW, ..Case::new("few chunks, one fast, two slow", downs(&[4.0, 0.4, 0.4])) },
        Case {
            chunks: FEW,
            seed: Line::up(UP * 10.0),
            ..Case::new("few chunks, fast seed, one fast", downs(&[10.0, 1.0, 1.0]))
        },
        Case { seed: Line::up(UP * 10.0), ..Case::new("fast seed, one fast", downs(&[10.0, 1.0, 1.0])) },
        Case {
            seed: Line::up(UP * 10.0),
            ..Case::new("fast seed, one fast, seven slow", downs(&[10.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.8]))
        },
        Case {
            chunks: FEW * 2,
            seed: Line::up(UP * 10.0),
            ..Case::new(
                "few chunks, fast seed, one fast, seven slow",
                downs(&[10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            )
        },
        Case { seed: Line::up(UP * 10.0), ..Case::new("fast seed, one fast, fifteen slow", downs(&one_fast)) },
        Case::new("slow uplinks", vec![Line::up(UP / 4.0); 3]),
        Case::new("slower uplinks", vec![Line::up(UP / 10.0); 4]),
        machine("six on one machine", fast(6), UP * 2.0),
    ]
}

#[test]
fn the_first_seed_is_spared_by_uneven_receivers() {
    for case in cases() {
        // What the receivers' own uplinks cannot carry in time is the seed's to send.
        let bound = Bound::of(&case.world(0));
        for seed in 0..2 {
            let (copies, all, end) = case.run(seed);
            let said = format!("{}, seed {seed}: {copies:.2} copies, {all:.2} in all, {end:.1} s", case.name);
            // Where a receiver's downlink is what all wait for, the seed's line costs nobody anything.
            let spared = matches!(bound.limit, Limit::Seeds | Limit::Uplinks);
            assert!(!spared || copies <= bound.seed_copies * case.late + 0.1, "{said}");
            assert!(all <= 1.03, "{said}");
            // Two seconds are waited for others before the seed is asked again.
            assert!(end <= bound.seconds * case.late + 2.0, "{said} of {:.1}", bound.seconds);
        }
    }
}

#[test]
fn a_peer_that_is_complete_first_and_then_dies_silently_holds_nobody_up() {
    for seed in 0..2 {
        let mut lines = downs(&[10.0, 10.0, 1.0, 1.0]);
        lines[0].up = UP * 10.0;
        let mut swarm = Run::new(with_lines(CHUNKS, lines, 1, seed));
        let mut died = None;
        swarm.runs(|s| {
            if s.nodes[1].finished.is_some() {
                s.nodes[1].line.harm = Some(Harm::Silent);
                died.get_or_insert((s.now, s.nodes[2].scheduler.have().count()));
            }
        });
        let (died, had) = died.expect("the fast one is first");
        assert!(had < CHUNKS, "{had}");
        let end = swarm.now.as_secs_f64();
        assert!(end <= 17.0 + STALL.as_secs_f64(), "seed {seed}: died at {died:?}, ended at {end} s");
        assert!(swarm.nodes[2].dropped.len() + swarm.nodes[3].dropped.len() <= 2);
    }
}

#[test]
fn a_slow_seed_is_helped_by_another() {
    for seed in 0..2 {
        let mut swarm = Run::new(world(400, &[2e4, 1e5, 1e5], 2, seed));
        swarm.runs(|_| {});
        // 400 kB at 120 kB/s; at 100 kB/s it would be four seconds.
        assert!(swarm.now < Duration::from_millis(3900), "seed {seed}: {:?}", swarm.now);
        assert!(swarm.sent_by(0) > 0.1 && swarm.sent_in_all() <= 1.02, "{}", swarm.sent_by(0));
    }
}
