//! Huffman codes of deflate (RFC 1951): how a block says them, which of them zlib and Go both take, and the tables in
//! which they are looked up.

use super::{Bits, CODE_BITS_SHIFT, COUNT_SHIFT, KIND_END, KIND_LENGTH, KIND_WRONG};

/// Bits that a code may have at most.
const CODE_BITS_MAX: usize = 15;
/// Symbols (literals, the end and lengths) for which a dynamic block may have codes.
const LITLEN_CODES_MAX: usize = 286;
/// Symbols of distances for which a dynamic block may have codes.
const DIST_CODES_MAX: usize = 30;
/// Symbols for which the fixed code of literals and lengths has codes; the last two mean nothing.
const FIXED_LITLEN_CODES: usize = 288;
/// Symbols for which the fixed code of distances has codes; the last two mean nothing.
const FIXED_DIST_CODES: usize = 32;
/// The symbol of literals and lengths that ends a block.
const END: usize = 256;
/// The order in which a dynamic block says the lengths of the code in which its two codes' lengths are written.
pub(in crate::snapshot) const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Of the symbols after the end's: the smallest length each means, and the bits of the number that is added to it.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// Of the symbols of distances: the smallest distance each means, and the bits of the number that is added to it.
const DISTANCES: [(u16, u8); DIST_CODES_MAX] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// A table's entry for a literal, the end or a length whose code has `bits` bits.
pub(super) fn litlen_entry(symbol: u16, bits: u32) -> u32 {
    match symbol {
        0..256 => u32::from(symbol) << 8 | 1 << COUNT_SHIFT | bits,
        256 => KIND_END | bits,
        _ => match LENGTHS.get(usize::from(symbol) - END - 1) {
            Some((base, more)) => {
                KIND_LENGTH | bits << CODE_BITS_SHIFT | u32::from(*base) << 8 | (bits + u32::from(*more))
            }
            None => KIND_WRONG | bits,
        },
    }
}

/// A table's entry for a distance whose code has `bits` bits; 0 for a symbol that means nothing.
pub(super) fn dist_entry(symbol: u16, bits: u32) -> u32 {
    let entry = DISTANCES.get(usize::from(symbol));
    entry.map_or(0, |(base, more)| u32::from(*base) << 16 | bits << 8 | (bits + u32::from(*more)))
}

/// The bits of each symbol's code, for both codes of a block; 0 where a symbol has no code.
pub(super) struct Lengths {
    bits: [u8; FIXED_LITLEN_CODES + FIXED_DIST_CODES],
    litlens: usize,
    dists: usize,
}

impl Lengths {
    pub(super) fn fixed() -> Self {
        let mut bits = [8; FIXED_LITLEN_CODES + FIXED_DIST_CODES];
        bits[144..256].fill(9);
        bits[256..280].fill(7);
        bits[FIXED_LITLEN_CODES..].fill(5);
        Lengths { bits, litlens: FIXED_LITLEN_CODES, dists: FIXED_DIST_CODES }
    }

    /// Reads a dynamic block's lengths, from behind the block's type on; `None` where zlib or Go would refuse them.
    pub(super) fn read(data: &mut Bits<'_>) -> Option<Self> {
        let (litlens, dists) = (data.take(5) as usize + 257, data.take(5) as usize + 1);
        let of_lengths = data.take(4) as usize + 4;
        if litlens > LITLEN_CODES_MAX || dists > DIST_CODES_MAX {
            return None;
        }
        let mut code_bits = [0; ORDER.len()];
        for symbol in &ORDER[..of_lengths] {
            data.refill();
            code_bits[usize::from(*symbol)] = data.take(3) as u8;
        }
        let mut code = Code::new();
        // Go takes a single word here, zlib does not.
        let Completeness::Complete = code.set(&code_bits)? else { return None };
        let mut table = [0; 1 << 7];
        code.fill(&mut table, 7, |symbol, bits| u32::from(symbol) << 8 | bits);
        let mut bits = [0; FIXED_LITLEN_CODES + FIXED_DIST_CODES];
        let mut at = 0;
        while at < litlens + dists {
            data.refill();
            let entry = table[data.peek(7) as usize];
            data.skip(entry & 7);
            let (value, times) = match entry >> 8 {
                16 => (*bits.get(at.checked_sub(1)?)?, 3 + data.take(2)),
                17 => (0, 3 + data.take(3)),
                18 => (0, 11 + data.take(7)),
                value => (value as u8, 1),
            };
            let end = at + times as usize;
            bits[..litlens + dists].get_mut(at..end)?.fill(value);
            at = end;
        }
        (bits[END] > 0).then_some(Lengths { bits, litlens, dists })
    }

    pub(super) fn litlen(&self) -> &[u8] {
        &self.bits[..self.litlens]
    }

    pub(super) fn dist(&self) -> &[u8] {
        &self.bits[self.litlens..self.litlens + self.dists]
    }
}

/// How complete a code is that zlib and Go both take for a block.
pub(super) enum Completeness {
    /// Whatever bits come, they begin with a code.
    Complete,
    /// One symbol, whose code is the bit 0; the bit 1 is no code.
    OneWord,
    /// No symbol has a code.
    Empty,
}

/// A canonical Huffman code, by its lengths and symbols.
pub(super) struct Code {
    /// The number of symbols whose code has as many bits as the index says.
    counts: [u16; CODE_BITS_MAX + 1],
    /// The symbols in the order of their codes.
    symbols: [u16; FIXED_LITLEN_CODES],
}

impl Code {
    pub(super) fn new() -> Self {
        Code { counts: [0; CODE_BITS_MAX + 1], symbols: [0; FIXED_LITLEN_CODES] }
    }

    /// Takes the bits of each symbol's code; `None` where zlib or
    /// Go would refuse such a code: too many codes, or too few.
    pub(super) fn set(&mut self, lengths: &[u8]) -> Option<Completeness> {
        self.counts.fill(0);
        for bits in lengths {
            *self.counts.get_mut(usize::from(*bits))? += 1;
        }
        self.counts[0] = 0;
        let mut free = 1_i32;
        let mut next = [0; CODE_BITS_MAX + 1];
        let mut symbols = 0;
        for (bits, count) in self.counts.iter().enumerate().skip(1) {
            free = 2 * free - i32::from(*count);
            if free < 0 {
                return None;
            }
            next[bits] = symbols;
            symbols += usize::from(*count);
        }
        for (symbol, bits) in lengths.iter().enumerate().filter(|(_, bits)| **bits > 0) {
            let at = &mut next[usize::from(*bits)];
            self.symbols[*at] = symbol as u16;
            *at += 1;
        }
        match (free, symbols) {
            (0, _) => Some(Completeness::Complete),
            (_, 0) => Some(Completeness::Empty),
            (_, 1) if self.counts[1] == 1 => Some(Completeness::OneWord),
            _ => None,
        }
    }

    /// Fills a table of 2^`table_bits` entries: an entry wherever
    /// the index begins with a symbol's code, zero elsewhere.
    pub(super) fn fill(&self, table: &mut [u32], table_bits: u32, entry: impl Fn(u16, u32) -> u32) {
        table.fill(0);
        let mut symbols = self.symbols.iter();
        let mut code = 0_u32;
        for (bits, count) in (1..=table_bits).zip(&self.counts[1..]) {
            for symbol in symbols.by_ref().take(usize::from(*count)) {
                let entry = entry(*symbol, bits);
                let mut at = (code.reverse_bits() >> (32 - bits)) as usize;
                while let Some(place) = table.get_mut(at) {
                    *place = entry;
                    at += 1 << bits;
                }
                code += 1;
            }
            code <<= 1;
        }
    }

    /// The symbol with whose code `data` begins, and the bits of that code; found without a table, for long codes.
    #[cold]
    #[inline(never)]
    pub(super) fn find(&self, mut data: u64) -> Option<(u16, u32)> {
        let (mut code, mut first, mut before) = (0_u32, 0, 0);
        for (bits, count) in (1..).zip(&self.counts[1..]) {
            code |= data as u32 & 1;
            data >>= 1;
            let count = u32::from(*count);
            if code < first + count {
                return Some((*self.symbols.get((before + code - first) as usize)?, bits));
            }
            before += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}
