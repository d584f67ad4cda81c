//! Measures parity alone, on data in memory: made, and used to restore what is lost. `scripts/bench.sh media` runs it.

use std::{collections::HashMap, time::Duration};

use regenesis::{
    base::{Blake3Hash, Result, clock, task::CancellationToken},
    bundle::parity::{Members, Shape, ShardSink, Stripes, Take, make, restore},
    manifest::ChunkSet,
};

const CHUNK_BYTES: usize = 512 << 10;
const CHUNKS: u32 = 500;
const ROUNDS: usize = 5;

/// Volumes in memory. Of the shards only those are kept that are to be used.
struct Set {
    chunks: Vec<Vec<u8>>,
    shards: HashMap<(usize, u32), Vec<u8>>,
    ids: HashMap<(usize, u32), Blake3Hash>,
}

impl Members for Set {
    fn chunk(&mut self, chunk: u32, at: usize, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(&self.chunks[chunk as usize][at..at + into.len()]);
        Ok(())
    }

    fn shard(&mut self, volume: usize, stripe: u32, at: usize, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(&self.shards[&(volume, stripe)][at..at + into.len()]);
        Ok(())
    }
}

impl ShardSink for Set {
    fn piece(&mut self, volume: usize, stripe: u32, at: usize, bytes: &[u8]) -> Result<()> {
        let shard = self.shards.entry((volume, stripe)).or_default();
        shard.truncate(at);
        shard.extend_from_slice(bytes);
        Ok(())
    }

    fn stripe(&mut self, stripe: u32, ids: &[Blake3Hash]) -> Result<()> {
        self.ids.extend(ids.iter().enumerate().map(|(volume, id)| ((volume, stripe), *id)));
        Ok(())
    }
}

/// Compares what is restored with what was lost.
struct Compared<'a> {
    chunks: &'a [Vec<u8>],
    spare: Vec<Vec<u8>>,
    restored: &'a mut u32,
}

impl Take for Compared<'_> {
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(len);
        buffer
    }

    fn chunk(&mut self, chunk: u32, data: Vec<u8>) -> Result<bool> {
        let is_it = data == self.chunks[chunk as usize];
        *self.restored += u32::from(is_it);
        self.spare.push(data);
        Ok(is_it)
    }
}

/// Bytes that differ from place to place.
fn chunk(number: u32) -> Vec<u8> {
    let mut out = vec![0; CHUNK_BYTES];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn speed(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn words(what: &str, mut speeds: Vec<f64>) {
    let each = speeds.iter().map(|speed| format!("{speed:.0}")).collect::<Vec<_>>().join(" ");
    speeds.sort_by(f64::total_cmp);
    let median = speeds[speeds.len() / 2];
    show(&format!("{what}: {median:.0} MB of data a second ({each})"));
}

#[allow(clippy::print_stdout)] // what a bench prints is what it is for
fn show(line: &str) {
    println!("{line}");
}

fn measure(data: usize, parity: usize) -> Result<()> {
    let shape = Shape::new(data, parity).expect("within the bounds");
    let each = CHUNKS / data as u32;
    let volumes: Vec<_> = (0..data as u32).map(|volume| vec![volume * each..(volume + 1) * each]).collect();
    let count = each * data as u32;
    let stripes = Stripes::new(&volumes, count).expect("no chunk stands in two places");
    let chunks: Vec<Vec<u8>> = (0..count).map(chunk).collect();
    let bytes = count as usize * CHUNK_BYTES;
    let mut source = Set { chunks, shards: HashMap::new(), ids: HashMap::new() };
    let mut set = Set { chunks: Vec::new(), shards: HashMap::new(), ids: HashMap::new() };
    let len = |_| CHUNK_BYTES;
    let go_on = CancellationToken::new();
    let mut speeds = Vec::new();
    // Once more than is counted: the tables of the code are made once, and so is room for the shards.
    for _ in 0..=ROUNDS {
        let began = clock::now();
        make(shape, &stripes, 0, &len, &mut source, &mut set, &go_on)?;
        speeds.push(speed(bytes, clock::now() - began));
    }
    words(&format!("parity {data} + {parity}, made"), speeds.split_off(1));
    // As many volumes with data are lost as there are with parity.
    let mut have = ChunkSet::full(count);
    (0..parity as u32 * each).for_each(|chunk| _ = have.remove(chunk));
    let lost = (count - have.count()) as usize;
    let ids = std::mem::take(&mut set.ids);
    let id = |volume, stripe| ids.get(&(volume, stripe)).copied();
    std::mem::swap(&mut source.shards, &mut set.shards);
    let originals = source.chunks.clone();
    let (mut speeds, mut restored) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let began = clock::now();
        let mut take = Compared { chunks: &originals, spare: Vec::new(), restored: &mut restored };
        restore(shape, &stripes, &have, &len, &id, &mut source, &mut take, &go_on)?;
        speeds.push(speed(bytes, clock::now() - began));
    }
    assert_eq!(restored as usize, lost * ROUNDS, "what is restored is what was lost");
    words(&format!("parity {data} + {parity}, {parity} volumes restored"), speeds);
    Ok(())
}

fn main() -> Result<()> {
    show(&format!("{CHUNKS} chunks of {} KiB in memory, {ROUNDS} rounds", CHUNK_BYTES >> 10));
    [(10, 2), (2, 2), (50, 10)].into_iter().try_for_each(|(data, parity)| measure(data, parity))
}
