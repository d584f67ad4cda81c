//! Lines on which a chunk takes long, and sockets that take many of them at once: what is on the way is known by what arrives, and nothing
//! is decided by seconds.

use super::{swarms::HOUR, *};

/// Swarms of a kind: uplinks in turn, over the lead's.
struct Kind {
    name: &'static str,
    ups: &'static [f64],
    /// What a chunk takes on the lead's line.
    chunks_s: &'static [f64],
    /// How many times the bound the end may be, where the sockets keep little, and where they keep much.
    late: (f64, f64),
}

const KINDS: [Kind; 4] = [
    Kind { name: "even", chunks_s: &[0.02, 0.2, 1.0], ups: &[1.0], late: (1.1, 1.45) },
    Kind { name: "slow lead", chunks_s: &[0.02, 0.2, 1.0], ups: &[4.0], late: (1.1, 1.2) },
    Kind { name: "uneven", chunks_s: &[0.02, 0.2, 1.0], ups: &[0.25, 1.0, 4.0], late: (1.2, 2.0) },
    Kind { name: "uneven, fast lead", chunks_s: &[0.02, 0.2], ups: &[0.0625, 0.25, 1.0], late: (1.35, 2.0) },
];
/// Of a mebibyte, as those of five gigabytes are.
const CHUNK_BYTES: u64 = 1 << 20;

fn world(kind: &Kind, nodes: usize, chunks: u32, chunk_s: f64, latency_ms: u64, socket_bytes: u64) -> World {
    let lead = CHUNK_BYTES as f64 / chunk_s;
    let others = (0..nodes).map(|n| Line::up(lead * kind.ups[n % kind.ups.len()]));
    World {
        chunks,
        chunk_size_bytes: CHUNK_BYTES,
        window_bytes: 64 << 20,
        lines: std::iter::once(Line::up(lead)).chain(others).collect(),
        seeds: 1,
        latency: Duration::from_millis(latency_ms),
        socket_bytes,
        machine: None,
        rng_seed: 3,
    }
}

fn ends_near_the_bound(nodes: usize, chunks: u32, latencies_ms: &[u64]) {
    for kind in &KINDS {
        for (socket_bytes, late) in [(256 << 10, kind.late.0), (4 << 20, kind.late.1)] {
            for chunk_s in kind.chunks_s.iter().copied() {
                for latency_ms in latencies_ms.iter().copied() {
                    // Where chunks are fast many are gone before anything is known, and one on the slowest line takes as long as many.
                    let chunks = if chunk_s < 0.1 || kind.ups[0] < 0.1 { chunks * 3 } else { chunks };
                    let world = world(kind, nodes, chunks, chunk_s, latency_ms, socket_bytes);
                    let bound = Bound::of(&world);
                    // What waits on both ends of the run: one chunk after the other to each at first, and some ways.
                    let ends = (12 + nodes) as f64 * chunk_s / kind.ups[0].min(1.0) + 0.5;
                    let mut run = Run::new(world);
                    run.runs(|_| {});
                    let (end, sent) = (run.now.as_secs_f64(), run.sent_by(0));
                    let said = format!(
                        "{}, {nodes} nodes, {chunk_s} s a chunk, {latency_ms} ms, {socket_bytes} bytes: {end:.1} s of {:.1}, {sent:.2} of {:.2}",
                        kind.name, bound.seconds, bound.seed_copies
                    );
                    assert!(end <= bound.seconds * late + ends && run.now < HOUR, "{said}");
                    assert!(sent <= bound.seed_copies * late + 0.1 + nodes as f64 / f64::from(chunks), "{said}");
                    let twice: u64 = run.nodes.iter().map(|n| n.received_twice).sum();
                    let endgame = 2 * nodes as u64 * u64::from(6 + chunks / 100);
                    assert!(twice <= endgame, "{said}: {twice} came twice");
                }
            }
        }
    }
}

#[test]
fn four_end_near_the_bound_however_slow_the_lines_and_large_the_sockets() {
    ends_near_the_bound(4, 240, &[1, 20]);
}

#[test]
fn sixteen_end_near_the_bound_however_slow_the_lines_and_large_the_sockets() {
    ends_near_the_bound(16, 160, &[20]);
}

#[test]
fn many_end_near_the_bound_on_slow_lines() {
    for (nodes, chunks, chunk_s, late) in [(50, 150, 1.0, 1.1), (32, 240, 6.7, 1.15)] {
        let world = world(&KINDS[0], nodes, chunks, chunk_s, 20, 256 << 10);
        let bound = Bound::of(&world);
        let mut run = Run::new(world);
        run.runs(|_| {});
        // The last of them gets its first chunk when the lead has sent each of the others one.
        let (end, first) = (run.now.as_secs_f64(), (nodes + 12) as f64 * chunk_s);
        assert!(end <= bound.seconds * late + first, "{nodes} nodes, {chunk_s} s: {end:.1} s of {:.1}", bound.seconds);
    }
}

#[test]
fn a_lead_whose_line_drops_to_a_tenth_for_a_while_is_as_fast_as_before_when_it_is_back() {
    let even = world(&KINDS[0], 4, 400, 0.1, 20, 256 << 10);
    let mut whole = Run::new(even.clone());
    whole.runs(|_| {});
    let mut slow = even;
    slow.lines[0].changes = Some((Duration::from_secs(20), slow.lines[0].up / 10.0));
    let mut run = Run::new(slow);
    let back = Duration::from_secs(40);
    run.runs(|run| {
        if run.now >= back && run.nodes[0].line.changes.take().is_some() {
            assert!(run.nodes[0].sent < 260, "{}", run.nodes[0].sent);
        }
    });
    // Two of these twenty seconds were not lost.
    let late = run.now.as_secs_f64() - whole.now.as_secs_f64();
    assert!((16.0..21.0).contains(&late), "{:?} after {:?}", run.now, whole.now);
}
