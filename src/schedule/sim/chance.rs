//! Swarms of every kind, as chance makes them: they end, accuse nobody honest, send little twice, and go the same way each time.

use proptest::prelude::*;

use super::{swarms::*, *};

/// A node's line: kinds of uplink and downlink, when it comes, leaves and changes, whether it sleeps now and then.
type Kind = (usize, usize, u64, Option<u64>, Option<u64>, bool);

fn kinds() -> impl Strategy<Value = Kind> {
    let sometimes = |range: std::ops::Range<u64>| prop_oneof![3 => Just(None), 1 => range.prop_map(Some)];
    let comes = prop_oneof![2 => Just(0u64), 1 => 0..8000u64];
    (0..4usize, 0..4usize, comes, sometimes(500..9000), sometimes(500..6000), prop::bool::weighted(0.15))
}

fn line((up, down, joins, leaves, drops, sleeps): Kind, seed: bool) -> Line {
    let up = [1e4, 5e4, 1e5, 4e5][up];
    let ms = Duration::from_millis;
    Line {
        down: [3e4, 2e5, 1e6, f64::INFINITY][down],
        joins: if seed { Time::ZERO } else { ms(joins) },
        // A seed stays, so that each chunk stays with somebody.
        leaves: leaves.filter(|_| !seed).map(|stays| ms(joins + stays)),
        changes: drops.map(|at| (ms(at), up / 10.0)),
        stops: sleeps.then_some((ms(1700), ms(600))),
        ..Line::up(up)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_swarm_ends_and_accuses_nobody(
        chunks in 1u32..160,
        seeds in prop::collection::vec(kinds(), 1..3),
        fetchers in prop::collection::vec(kinds(), 1..9),
        latency_ms in 0u64..60,
        rng_seed: u64,
    ) {
        let count = seeds.len();
        let lines: Vec<Line> = seeds.into_iter().map(|k| line(k, true)).chain(fetchers.into_iter().map(|k| line(k, false))).collect();
        let latency = Duration::from_millis(latency_ms);
        let world = World { latency, ..with_lines(chunks, lines, count, rng_seed) };
        let mut first = Run::new(world.clone());
        // `runs` looks at every node after everything that happens, and at whom they accuse.
        first.runs(|_| {});
        let twice: u64 = first.nodes.iter().map(|n| n.received_twice).sum();
        let all = u64::from(chunks) * first.nodes.len() as u64;
        prop_assert!(twice <= all / 10 + 16, "{twice} of {all} chunks came twice");
        for node in first.nodes.iter().filter(|n| !n.gone) {
            prop_assert!(node.scheduler.have().is_full());
        }
        let mut second = Run::new(world);
        second.runs(|_| {});
        let end = |run: &Run| (run.now, run.nodes.iter().map(|n| (n.sent, n.finished)).collect::<Vec<_>>());
        prop_assert_eq!(end(&first), end(&second));
    }
}

#[test]
fn a_line_that_drops_to_a_tenth_costs_what_it_costs_and_no_more() {
    for seed in 0..5 {
        let mut lines = vec![Line::up(1e5); 7];
        // The one that is given most of the first copies becomes slow when half of them are out.
        lines[1].up = 4e5;
        lines[1].changes = Some((Duration::from_secs(5), 4e4));
        let mut run = Run::new(with_lines(1000, lines, 1, seed));
        run.runs(|_| {});
        // Ten seconds is what the seed's line alone takes; the others pass on enough without the one.
        assert!(run.now < Duration::from_millis(11_500), "seed {seed}: {:?}", run.now);
        assert!(run.sent_by(0) < 1.2 && run.sent_in_all() <= 6.1, "{} {}", run.sent_by(0), run.sent_in_all());
    }
}

#[test]
fn even_and_uneven_swarms_end_near_the_bound() {
    let kinds: [(&[f64], f64, f64); 3] =
        [(&[1.0], 1.0, 1.05), (&[0.25, 1.0, 4.0], 1.0, 1.2), (&[0.25, 1.0, 4.0], 4.0, 1.2)];
    for (ups, lead, late) in kinds {
        for nodes in [4, 16] {
            let fetchers = (0..nodes).map(|n| Line::up(1e5 * ups[n % ups.len()]));
            let lines = std::iter::once(Line::up(1e5 * lead)).chain(fetchers).collect();
            let world = with_lines(1000, lines, 1, 7);
            let bound = Bound::of(&world);
            let mut run = Run::new(world);
            run.runs(|_| {});
            let (ratio, sent) = (run.now.as_secs_f64() / bound.seconds, run.sent_by(0));
            assert!(ratio <= late, "{ups:?}, lead {lead}, {nodes} nodes: {ratio}");
            assert!(
                sent <= bound.seed_copies * late + 0.02,
                "{ups:?}, lead {lead}, {nodes} nodes: {sent} of {}",
                bound.seed_copies
            );
            let twice = run.nodes.iter().map(|n| n.received_twice).sum::<u64>();
            assert!(twice <= 10 * nodes as u64, "{ups:?}, lead {lead}, {nodes} nodes: {twice} came twice");
        }
    }
}
