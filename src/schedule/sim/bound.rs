//! The earliest end that lines allow, were chunks a fluid, and which of them it is that allows no earlier one.

use super::{Line, World};

/// What allows no earlier end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The seeds' lines together: each chunk has to leave them once.
    Seeds,
    /// The downlink of one node, by its place among the lines.
    Downlink(usize),
    /// All uplinks together.
    Uplinks,
    /// The machine that all nodes are on.
    Machine,
}

/// The earliest end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// When.
    pub seconds: f64,
    /// Why not earlier.
    pub limit: Limit,
    /// Chunks that leave the seeds in the best case, over the number of chunks: what the receivers' uplinks do not carry in that time.
    pub seed_copies: f64,
}

impl Bound {
    /// `max(F/u_seeds, F/d_min, N·F/(u_seeds + Σu))`, each node counted from when it comes; those that leave early are left out.
    pub fn of(world: &World) -> Self {
        let size = f64::from(world.chunks) * world.chunk_size_bytes as f64;
        let awake = |l: &Line| l.stops.map_or(1.0, |(p, s)| 1.0 - s.as_secs_f64() / p.as_secs_f64());
        let seeds = &world.lines[..world.seeds];
        let stays = |(_, l): &(usize, &Line)| l.leaves.is_none();
        let fetchers: Vec<(usize, &Line)> = world.lines.iter().enumerate().skip(world.seeds).filter(stays).collect();
        let from_seeds: f64 = seeds.iter().map(|l| l.up * awake(l)).sum();
        let ups: f64 = fetchers.iter().map(|(_, l)| l.up * awake(l)).sum();
        let copies = fetchers.len() as f64;
        let mut bound = (size / from_seeds, Limit::Seeds);
        let mut at_least = |seconds: f64, limit: Limit| {
            if seconds > bound.0 {
                bound = (seconds, limit);
            }
        };
        at_least(copies * size / (from_seeds + ups), Limit::Uplinks);
        for (node, line) in &fetchers {
            at_least(line.joins.as_secs_f64() + size / (line.down * awake(line)), Limit::Downlink(*node));
        }
        if let Some(rate) = world.machine {
            at_least(copies * size / rate, Limit::Machine);
        }
        let (seconds, limit) = bound;
        Bound { seconds, limit, seed_copies: (copies - ups * seconds / size).max(1.0) }
    }
}
