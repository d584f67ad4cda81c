//! A set of chunks in few bits. Three codings are tried, and the shortest is written:
//!
//! * 0, *bits*: one for each chunk. It bounds what every other pattern may take.
//! * 1, *Rice*: the lengths of runs, in turn of chunks that are there and of chunks that are lacking. Best for holes at random.
//! * 2, *Golomb–exponential*: the same lengths where a few are long among many that are short, as after a medium with bad spots.
//!
//! The first byte has the coding in its upper two bits. Codings 1 and 2 have a parameter of five bits for each kind of run in the ten bits
//! after these two; coding 0 has zeros there, up to the next whole byte. The first run is of chunks that are there and may be empty; every other
//! one has a chunk at least, so one less than its length is written. They end where the chunks end.

use crate::manifest::ChunkSet;

/// Bits that say which coding.
const KIND_BITS: u32 = 2;
/// Bits of each parameter.
const PARAMETER_BITS: u32 = 5;
/// A larger parameter than any run's length has bits.
const PARAMETER_MAX: u32 = 18;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    /// Both parameters: for runs that are there, and for runs that are lacking.
    Rice([u32; 2]),
    Exponential([u32; 2]),
}

/// Writes `set` behind `bytes`.
pub(super) fn encode(set: &ChunkSet, bytes: &mut Vec<u8>) {
    let runs = runs(set);
    let best = |bits: fn(u32, u32) -> u64| {
        let kind = |lacking: usize| {
            let total = |k| runs.iter().skip(lacking).step_by(2).map(|run| bits(*run, k)).sum::<u64>();
            (0..=PARAMETER_MAX).map(|k| (total(k), k)).min().unwrap_or_default()
        };
        let ((there, k), (lacking, l)) = (kind(0), kind(1));
        (there + lacking, [k, l])
    };
    let (rice_bits, rice) = best(rice_bits);
    let (exponential_bits, exponential) = best(exponential_bits);
    // Both have their parameters before them, which end within the byte that `Bits` fills up.
    let head = u64::from(2 * PARAMETER_BITS + KIND_BITS);
    let sizes = [
        (u64::from(set.len()) + 8, Kind::Bits),
        (head + rice_bits, Kind::Rice(rice)),
        (head + exponential_bits, Kind::Exponential(exponential)),
    ];
    // The first of equal ones, so that there is one way to write a set.
    let kind = sizes.into_iter().min_by_key(|(bits, _)| *bits).map_or(Kind::Bits, |(_, kind)| kind);
    let mut writer = Writer { bytes, free: 0 };
    match kind {
        Kind::Bits => {
            writer.number(0, 8);
            (0..set.len()).for_each(|chunk| writer.number(u32::from(set.contains(chunk)), 1));
        }
        Kind::Rice(parameters) => {
            writer.number(1, KIND_BITS);
            writer.runs(&runs, parameters, Writer::rice);
        }
        Kind::Exponential(parameters) => {
            writer.number(2, KIND_BITS);
            writer.runs(&runs, parameters, Writer::exponential);
        }
    }
}

/// Reads a set of `count` chunks that takes all of `bytes`; bits that fill up the last byte are zeros.
pub(super) fn decode(bytes: &[u8], count: u32) -> Option<ChunkSet> {
    let mut reader = Reader { bytes, at: 0 };
    let mut set = ChunkSet::empty(count);
    let kind = reader.number(KIND_BITS)?;
    match kind {
        0 => {
            if reader.number(8 - KIND_BITS)? != 0 {
                return None;
            }
            for chunk in 0..count {
                if reader.number(1)? == 1 {
                    set.insert(chunk);
                }
            }
        }
        1 | 2 => {
            let parameters = [reader.number(PARAMETER_BITS)?, reader.number(PARAMETER_BITS)?];
            if parameters.iter().any(|k| *k > PARAMETER_MAX) {
                return None;
            }
            let (mut at, mut is_lacking, mut shortest) = (0, false, 0);
            while at < count {
                let k = parameters[usize::from(is_lacking)];
                let less = if kind == 1 { reader.rice(k, count)? } else { reader.exponential(k, count)? };
                let end = at.checked_add(less)?.checked_add(shortest).filter(|end| *end <= count)?;
                if is_lacking {
                    set.insert_range(at..end);
                }
                (at, is_lacking, shortest) = (end, !is_lacking, 1);
            }
        }
        _ => return None,
    }
    Some(set)
}

/// For each run one less than its length, and the length itself for the first.
fn runs(set: &ChunkSet) -> Vec<u32> {
    let mut runs = Vec::new();
    let mut at = 0;
    for range in set.ranges() {
        runs.push(if runs.is_empty() { range.start } else { range.start - at - 1 });
        runs.push(range.end - range.start - 1);
        at = range.end;
    }
    if at < set.len() {
        runs.push(set.len() - at - u32::from(!runs.is_empty()));
    }
    runs
}

/// How many bits a number takes in coding 1: ones for what is above the parameter's bits, a zero, and those bits.
fn rice_bits(number: u32, k: u32) -> u64 {
    u64::from(number >> k) + 1 + u64::from(k)
}

/// How many bits a number takes in coding 2: how long the number above the parameter's bits is, in ones and a zero; that number without
/// its first bit; and the parameter's bits.
fn exponential_bits(number: u32, k: u32) -> u64 {
    let above = (number >> k) + 1;
    u64::from(2 * above.ilog2() + 1 + k)
}

/// Bits, the first one in each byte's highest place.
struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    /// Places of the last byte that are free.
    free: u32,
}

impl Writer<'_> {
    /// The lowest `bits` bits of a number, the highest first.
    fn number(&mut self, number: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((number >> bit & 1) as u8) << self.free;
            }
        }
    }

    fn runs(&mut self, runs: &[u32], parameters: [u32; 2], write: fn(&mut Self, u32, u32)) {
        parameters.iter().for_each(|k| self.number(*k, PARAMETER_BITS));
        for (at, run) in runs.iter().enumerate() {
            write(self, *run, parameters[at % 2]);
        }
    }

    fn ones(&mut self, count: u32) {
        (0..count).for_each(|_| self.number(1, 1));
        self.number(0, 1);
    }

    fn rice(&mut self, number: u32, k: u32) {
        self.ones(number >> k);
        self.number(number, k);
    }

    fn exponential(&mut self, number: u32, k: u32) {
        let above = (number >> k) + 1;
        self.ones(above.ilog2());
        self.number(above, above.ilog2());
        self.number(number, k);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |number, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(number << 1 | u32::from(bit))
        })
    }

    /// How many ones stand before the next zero; nothing when they are more than `max`.
    fn ones(&mut self, max: u32) -> Option<u32> {
        let mut count = 0;
        while self.number(1)? == 1 {
            count += 1;
            if count > max {
                return None;
            }
        }
        Some(count)
    }

    fn rice(&mut self, k: u32, max: u32) -> Option<u32> {
        let above = self.ones(max >> k)?;
        Some(above << k | self.number(k)?)
    }

    fn exponential(&mut self, k: u32, max: u32) -> Option<u32> {
        let bits = self.ones((max >> k).saturating_add(1).ilog2())?;
        let above = (1 << bits | self.number(bits)?) - 1;
        Some(above << k | self.number(k)?)
    }
}
