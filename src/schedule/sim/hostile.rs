//! A third of the members does harm: the others have everything in little more than the time that they take alone.

use super::{swarms::*, *};

/// A lead and eight others on equal lines, on which a chunk takes a tenth of a second, and `evil` that do this on fast ones, until all are done.
/// Nobody remarks anything of an honest one.
fn beside(harm: Harm, evil: usize, chunks: u32, rng_seed: u64) -> Run {
    let mut lines = vec![Line::up(1e4); 9];
    lines.resize(9 + evil, Line { harm: Some(harm), ..Line::up(1e5) });
    let mut swarm = Run::new(with_lines(chunks, lines, 1, rng_seed));
    swarm.runs(|_| {});
    assert!(swarm.nodes.iter().flat_map(|node| &node.remarked).all(|id| *id >= 9), "{harm:?}");
    swarm
}

#[test]
fn who_gives_or_takes_nothing_is_told_of_by_everyone_and_nobody_else_is() {
    for harm in [Harm::Deaf, Harm::Takes, Harm::Silent] {
        let swarm = beside(harm, 4, 240, 1);
        for (n, node) in swarm.nodes[..9].iter().enumerate() {
            // A lead takes nothing, so that it sees nobody who sends nothing.
            let sees = n > 0 || harm != Harm::Silent;
            let mut remarked = node.remarked.clone();
            remarked.sort_unstable();
            assert_eq!(remarked, if sees { vec![9, 10, 11, 12] } else { vec![] }, "{harm:?}, node {n}");
        }
    }
}

/// Times the time that the others take alone.
fn ratio(harm: Harm, chunks: u32, rng_seed: u64) -> f64 {
    let seconds = |evil| beside(harm, evil, chunks, rng_seed).now.as_secs_f64();
    seconds(4) / seconds(0)
}

#[test]
fn who_answers_nothing_costs_the_others_little() {
    for seed in 0..3 {
        let ratio = ratio(Harm::Deaf, 120, seed);
        assert!(ratio < 1.15, "seed {seed}: {ratio}");
    }
}

#[test]
fn who_takes_and_never_says_that_it_has_costs_the_others_little() {
    for seed in 0..3 {
        // Each node gives each of them two chunks until it is known for that, which is much where there are few.
        let (few, many) = (ratio(Harm::Takes, 120, seed), ratio(Harm::Takes, 480, seed));
        assert!(few < 1.45 && many < 1.15, "seed {seed}: {few} {many}");
    }
}

#[test]
fn who_sends_noise_under_a_new_name_each_time_costs_the_others_little() {
    for seed in 0..3 {
        let ratio = ratio(Harm::Noise, 120, seed);
        assert!(ratio < 1.25, "seed {seed}: {ratio}");
        let swarm = beside(Harm::Noise, 4, 120, seed);
        // Not nearly as much as they would send, who are as good as always there.
        let noise: u64 = swarm.nodes[9..].iter().map(|node| node.sent).sum();
        assert!(noise < 120 * 4, "seed {seed}: {noise}");
    }
}
