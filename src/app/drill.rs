//! Predicts a run from declared lines: the scheduler of real nodes over simulated ones, the bound that the lines allow, and what would
//! move it.

use serde::Serialize;

use crate::{
    base::{
        Error, Result,
        limits::{CHUNK_COUNT_WANTED, CHUNK_SIZE_BYTES_MAX, CHUNK_SIZE_BYTES_MIN, WINDOW_BYTES},
        task::CancellationToken,
    },
    schedule::{
        Time,
        sim::{Bound, Limit, Line, Run, World},
    },
};

/// Nodes of one drill, with the seeds.
pub const NODES_MAX: usize = 512;
/// Chunks that are simulated at the most: of a larger file the first, with what everyone does in as much less time, and what that takes counts
/// as often as such a part goes into the file. What the end takes beyond the bound is then a little too long, and never too short.
const CHUNKS_MAX: u64 = 1536;
/// What is simulated ends after so many times the bound.
const LATE: u32 = 20;
/// What the socket of a connection, and the frames before it, hold of what has not left.
const SOCKET_BYTES: u64 = 256 << 10;
/// Seconds that a message takes.
const LATENCY: Time = Time::from_millis(20);

/// One node and its line, in bits a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What the operators call it.
    pub name: String,
    /// It has everything when it comes.
    pub seed: bool,
    /// What it sends.
    pub up: f64,
    /// What it receives.
    pub down: f64,
    /// Seconds after which it comes.
    pub joins: f64,
    /// Seconds after which it leaves.
    pub leaves: Option<f64>,
}

/// What is to be predicted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every node.
    pub links: Vec<Link>,
    /// How large the files are.
    pub size_bytes: u64,
    /// What chance begins with.
    pub rng_seed: u64,
}

/// Why the end comes no earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum LimitedBy {
    /// The uplinks of those that have everything at the beginning.
    Seeds(Vec<String>),
    /// The downlink of one node.
    Downlink(String),
    /// All uplinks together.
    Uplinks,
}

/// What would change the end, or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WhatIf {
    /// One more seed with such a line.
    SecondSeed {
        /// The bound with it.
        bound_s: f64,
    },
    /// That node's uplink, which is much slower than others', were as fast as the one in the middle.
    Uplink {
        /// Whose.
        name: String,
        /// Bits a second.
        up: f64,
        /// The bound with it.
        bound_s: f64,
    },
    /// Without that node, whose downlink is the slowest.
    Without {
        /// Whom.
        name: String,
        /// When the others could end.
        bound_s: f64,
    },
}

/// What became of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// Which.
    pub name: String,
    /// When it has everything; none: it leaves before.
    pub finish_s: Option<f64>,
    /// What it sends, over the files' size.
    pub sent_copies: f64,
}

/// A run that was predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// How large the files are.
    pub size_bytes: u64,
    /// How many chunks they have, and the size of each in bytes.
    pub chunks: u64,
    /// See [`Self::chunks`].
    pub chunk_size_bytes: u64,
    /// How many of them were simulated.
    pub simulated_chunks: u32,
    /// Seconds before which no swarm ends.
    pub bound_s: f64,
    /// Seconds until everyone that stays has everything.
    pub finish_s: f64,
    /// The one over the other.
    pub ratio: f64,
    /// What the seeds send until every chunk is out once, over the files' size.
    pub seed_copies: f64,
    /// What they send in all, over the files' size, and what the best swarm needs of them.
    pub seed_copies_in_all: f64,
    /// See [`Self::seed_copies_in_all`].
    pub seed_copies_needed: f64,
    /// When every chunk is with somebody else, so that the seeds may leave if they must.
    pub out_s: Option<f64>,
    /// Why it ends no earlier.
    pub limited_by: LimitedBy,
    /// What would move that.
    pub what_if: Vec<WhatIf>,
    /// Everyone but the seeds, the first to end first.
    pub peers: Vec<Peer>,
}

/// Predicts it.
///
/// # Errors
/// When the plan has no seed or nobody who fetches, a line that carries nothing, or when it is cancelled.
pub fn predict(plan: &Plan, cancel: &CancellationToken) -> Result<Prediction> {
    let mut links = plan.links.clone();
    // Seeds first, as the simulator has them; their order stays.
    links.sort_by_key(|link| !link.seed);
    check(&links, plan.size_bytes)?;
    let Part { world, parts } = part(&links, plan.size_bytes, plan.rng_seed);
    let bound = Bound::of(&world);
    let (simulated_chunks, chunk_size_bytes) = (world.chunks, world.chunk_size_bytes);
    let (chunks, seeds) = (f64::from(simulated_chunks), world.seeds);
    let mut run = Run::new(world);
    let latest = Time::from_secs_f64(bound.seconds) * LATE + Time::from_secs(60);
    while !run.is_over() {
        if run.step() && cancel.is_cancelled() {
            return Err(Error::interrupted("while the drill ran"));
        }
        if run.now() > latest {
            return Err(Error::failed(
                "the swarm does not end: what somebody lacks left with a node before it was passed on",
            )
            .hint("let a seed stay until every chunk is out, or until everyone has everything"));
        }
    }
    let of_all = |at: Time| at.as_secs_f64() * parts;
    let finish_s = of_all(run.nodes.iter().filter_map(|n| n.finished).max().unwrap_or_default());
    let bound_s = bound.seconds * parts;
    let of_seeds =
        |sent: fn(&crate::schedule::sim::Node) -> u64| run.nodes[..seeds].iter().map(sent).sum::<u64>() as f64;
    let mut peers: Vec<Peer> = links[seeds..]
        .iter()
        .zip(&run.nodes[seeds..])
        .map(|(link, node)| Peer {
            name: link.name.clone(),
            finish_s: node.finished.map(of_all),
            sent_copies: node.sent as f64 / chunks,
        })
        .collect();
    peers.sort_by(|a, b| a.finish_s.unwrap_or(f64::MAX).total_cmp(&b.finish_s.unwrap_or(f64::MAX)));
    Ok(Prediction {
        size_bytes: plan.size_bytes,
        chunks: plan.size_bytes.div_ceil(chunk_size_bytes),
        chunk_size_bytes,
        simulated_chunks,
        bound_s,
        finish_s,
        ratio: finish_s / bound_s,
        seed_copies: of_seeds(|n| n.sent_before_out) / chunks,
        seed_copies_in_all: of_seeds(|n| n.sent) / chunks,
        seed_copies_needed: bound.seed_copies,
        out_s: run.out_at.map(of_all),
        limited_by: limited_by(&links, &bound),
        what_if: what_if(&links, plan.size_bytes, &bound),
        peers,
    })
}

/// When it ends at the earliest, in seconds, and why no earlier; without a run.
///
/// # Errors
/// When the plan has no seed or nobody who fetches, or a line that carries nothing.
pub fn bound(plan: &Plan) -> Result<(f64, LimitedBy)> {
    let mut links = plan.links.clone();
    links.sort_by_key(|link| !link.seed);
    check(&links, plan.size_bytes)?;
    let Part { world, parts } = part(&links, plan.size_bytes, plan.rng_seed);
    let bound = Bound::of(&world);
    Ok((bound.seconds * parts, limited_by(&links, &bound)))
}

fn limited_by(links: &[Link], bound: &Bound) -> LimitedBy {
    match bound.limit {
        Limit::Seeds => LimitedBy::Seeds(links.iter().filter(|l| l.seed).map(|l| l.name.clone()).collect()),
        Limit::Downlink(node) => LimitedBy::Downlink(links[node].name.clone()),
        Limit::Uplinks | Limit::Machine => LimitedBy::Uplinks,
    }
}

fn check(links: &[Link], size_bytes: u64) -> Result<()> {
    let seeds = links.iter().filter(|l| l.seed).count();
    if size_bytes == 0 {
        return Err(Error::usage("there is nothing to send: the size is 0"));
    }
    if seeds == 0 || seeds == links.len() {
        return Err(Error::usage("a drill needs a node that has the files and one that fetches them"));
    }
    if links.len() > NODES_MAX {
        return Err(Error::usage(format!("{} nodes: a drill takes {NODES_MAX} at the most", links.len())));
    }
    match links.iter().find(|l| !(l.up >= 1000.0 && l.down >= 1000.0)) {
        Some(link) => {
            Err(Error::usage(format!("the line of {} carries next to nothing: less than 1 kbit/s", link.name)))
        }
        None => Ok(()),
    }
}

/// The size of the chunks that a manifest of files of this size has.
fn chunk_size_bytes(size_bytes: u64) -> u64 {
    let wanted = (size_bytes / CHUNK_COUNT_WANTED).max(1).next_power_of_two() / 2;
    wanted.clamp(CHUNK_SIZE_BYTES_MIN, CHUNK_SIZE_BYTES_MAX)
}

/// What is simulated, and how many such parts there are: a whole file has one.
struct Part {
    world: World,
    parts: f64,
}

fn part(links: &[Link], size_bytes: u64, rng_seed: u64) -> Part {
    let chunk_size_bytes = chunk_size_bytes(size_bytes).min(size_bytes);
    let of_file = size_bytes.div_ceil(chunk_size_bytes);
    let chunks = of_file.min(CHUNKS_MAX);
    let parts = of_file as f64 / chunks as f64;
    let line = |link: &Link| Line {
        joins: Time::from_secs_f64(link.joins / parts),
        leaves: link.leaves.map(|leaves| Time::from_secs_f64(leaves / parts)),
        down: link.down / 8.0,
        ..Line::up(link.up / 8.0)
    };
    let world = World {
        chunks: chunks as u32,
        chunk_size_bytes,
        window_bytes: WINDOW_BYTES,
        lines: links.iter().map(line).collect(),
        seeds: links.iter().filter(|l| l.seed).count(),
        latency: LATENCY,
        socket_bytes: SOCKET_BYTES,
        machine: None,
        rng_seed,
    };
    Part { world, parts }
}

/// The bound of other lines. That of the fluid, not another run: it says what a change can bring, and takes no time.
fn what_if(links: &[Link], size_bytes: u64, bound: &Bound) -> Vec<WhatIf> {
    let bound_of = |links: &[Link]| {
        let Part { world, parts } = part(links, size_bytes, 0);
        Bound::of(&world).seconds * parts
    };
    let seeds = links.iter().filter(|l| l.seed).count();
    let mut all = Vec::new();
    let mut more = links.to_vec();
    more.insert(seeds, Link { name: "a second seed".to_owned(), joins: 0.0, leaves: None, ..links[0].clone() });
    all.push(WhatIf::SecondSeed { bound_s: bound_of(&more) });
    if let Limit::Downlink(node) = bound.limit
        && links.len() > seeds + 1
    {
        let mut others = links.to_vec();
        let without = others.remove(node);
        all.push(WhatIf::Without { name: without.name, bound_s: bound_of(&others) });
    }
    let mut ups: Vec<f64> = links[seeds..].iter().map(|l| l.up).collect();
    ups.sort_by(f64::total_cmp);
    let middle = ups[ups.len() / 2];
    let slow = links.iter().enumerate().skip(seeds).min_by(|a, b| a.1.up.total_cmp(&b.1.up));
    if let Some((node, link)) = slow.filter(|(_, l)| l.up * 2.0 < middle) {
        let mut faster = links.to_vec();
        faster[node].up = middle;
        all.push(WhatIf::Uplink { name: link.name.clone(), up: link.up, bound_s: bound_of(&faster) });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, seed: bool, up: f64, down: f64) -> Link {
        Link { name: name.to_owned(), seed, up, down, joins: 0.0, leaves: None }
    }

    fn drill(links: Vec<Link>) -> Result<Prediction> {
        let plan = Plan { links, size_bytes: 64 << 20, rng_seed: 1 };
        predict(&plan, &CancellationToken::new())
    }

    #[test]
    fn a_lead_with_a_slow_line_is_what_limits_and_a_second_one_halves_it() {
        let mut links = vec![link("lead", true, 100e6, 1e9)];
        links.extend((1..=4).map(|i| link(&format!("v{i}"), false, 200e6, 1e9)));
        links[4].up = 10e6;
        let said = drill(links).unwrap();
        let bound = (64 << 20) as f64 * 8.0 / 100e6;
        assert!((said.bound_s - bound).abs() < 0.01 && said.ratio >= 1.0 && said.ratio < 1.25, "{said:?}");
        assert_eq!(said.limited_by, LimitedBy::Seeds(vec!["lead".to_owned()]));
        assert!(said.seed_copies < 1.1 && said.out_s.is_some_and(|at| at <= said.finish_s));
        let second = said
            .what_if
            .iter()
            .find_map(|w| if let WhatIf::SecondSeed { bound_s } = w { Some(*bound_s) } else { None });
        assert!(second.is_some_and(|s| (s - bound / 2.0).abs() < 0.01), "{:?}", said.what_if);
        // The slow uplink costs nobody anything.
        assert!(
            said.what_if
                .iter()
                .any(|w| matches!(w, WhatIf::Uplink { name, bound_s, .. } if name == "v4" && *bound_s == said.bound_s))
        );
        assert_eq!(said.peers.len(), 4);
        assert!(said.peers.is_sorted_by_key(|p| p.finish_s.map(|s| (s * 1000.0) as u64)));
    }

    #[test]
    fn a_slow_downlink_is_named() {
        let links = vec![link("lead", true, 1e9, 1e9), link("fast", false, 1e9, 1e9), link("slow", false, 1e9, 50e6)];
        let said = drill(links).unwrap();
        assert_eq!(said.limited_by, LimitedBy::Downlink("slow".to_owned()));
        assert!(said.what_if.iter().any(
            |w| matches!(w, WhatIf::Without { name, bound_s } if name == "slow" && *bound_s < said.bound_s / 2.0)
        ));
        assert_eq!(said.peers[0].name, "fast");
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        assert!(drill(vec![link("lead", true, 1e9, 1e9)]).is_err());
        assert!(drill(vec![link("lead", true, 1e9, 1e9), link("v", false, 0.0, 1e9)]).is_err());
        assert!(drill(vec![link("lead", true, 1e9, 1e9), link("v", false, f64::NAN, 1e9)]).is_err());
        // The only seed leaves before anything is out.
        let mut lead = link("lead", true, 1e6, 1e9);
        lead.leaves = Some(1.0);
        let e = drill(vec![lead, link("v", false, 1e9, 1e9)]).unwrap_err();
        assert!(e.chain().contains("does not end"), "{}", e.chain());
    }

    #[test]
    fn a_large_file_takes_no_more_chunks_than_are_simulated() {
        let links = [link("lead", true, 1e9, 1e9), link("v", false, 1e9, 1e9)];
        for size in [1, 300 << 10, 64 << 20, 50 << 30, 500 << 30] {
            let Part { world, parts } = part(&links, size, 1);
            assert!(u64::from(world.chunks) <= CHUNKS_MAX && world.chunks >= 1, "{size}: {}", world.chunks);
            assert!(u64::from(world.chunks) as f64 * world.chunk_size_bytes as f64 * parts >= size as f64);
            assert!(parts >= 1.0 && (size > 6 << 30 || parts == 1.0), "{size}: {parts}");
        }
    }

    #[test]
    fn a_part_of_a_large_file_says_how_long_the_whole_takes() {
        let mut links = vec![link("lead", true, 100e6, 1e9)];
        links.extend((1..=3).map(|i| link(&format!("v{i}"), false, 100e6, 1e9)));
        links[3].joins = 3600.0;
        let predict = |size_bytes| {
            let plan = Plan { links: links.clone(), size_bytes, rng_seed: 1 };
            predict(&plan, &CancellationToken::new()).unwrap()
        };
        let said = predict(50 << 30);
        let bound = (50u64 << 30) as f64 * 8.0 / 100e6;
        assert!((said.bound_s - bound).abs() < 1.0 && said.ratio < 1.35, "{said:?}");
        assert_eq!((said.chunks, said.chunk_size_bytes), (12_800, 4 << 20));
        assert!(said.peers.iter().all(|p| p.finish_s.is_some_and(|at| at > 3600.0)), "{:?}", said.peers);
        assert!(said.seed_copies >= 1.0 && said.seed_copies < 1.1, "{said:?}");
        let what_if = predict(40 << 30).what_if;
        assert!(matches!(what_if[0], WhatIf::SecondSeed { bound_s } if bound_s > 1000.0), "{what_if:?}");
    }
}
