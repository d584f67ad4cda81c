//! Deflate data written symbol by symbol, with every fault that a code, a block or a number can have.

use super::{Random, TEXT_BYTES_MAX};

/// A number beyond the faults that a dynamic block's header can be given: none of them.
const NO_FAULT: usize = 99;

/// Writes bits into bytes: numbers from their lowest bit on, codes from their highest.
#[derive(Default)]
pub(in crate::snapshot) struct BitWriter {
    bytes: Vec<u8>,
    free: u32,
}

impl BitWriter {
    pub(in crate::snapshot) fn number(&mut self, value: usize, bits: u32) {
        let mut written = 0;
        while written < bits {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let now = self.free.min(bits - written);
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> written & ((1 << now) - 1)) << (8 - self.free)) as u8;
            self.free -= now;
            written += now;
        }
    }

    fn code(&mut self, (code, bits): (u32, u8)) {
        if bits > 0 {
            self.number((code.reverse_bits() >> (32 - bits)) as usize, u32::from(bits));
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.free = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub(in crate::snapshot) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The code, with its bits, of each symbol of which these are the codes' lengths, as far as they mean any.
fn canonical_codes(lengths: &[u8]) -> Vec<(u32, u8)> {
    let mut next = [0_u32; 17];
    for bits in lengths.iter().filter(|bits| **bits > 0) {
        next[usize::from(*bits) + 1] += 1;
    }
    for bits in 1..next.len() {
        next[bits] = (next[bits - 1] + next[bits]) << 1;
    }
    // Of each length, the first code is twice what the shorter ones leave off at.
    let mut code = |bits: u8| {
        let code = &mut next[usize::from(bits)];
        *code += 1;
        (*code - 1, bits)
    };
    lengths.iter().map(|bits| if *bits == 0 { (0, 0) } else { code(*bits) }).collect()
}

/// Lengths of a complete code of about `words` of the symbols below `end`,
/// among them those of `always`; none is longer than `longest` bits.
fn complete(random: &Random, end: usize, words: usize, longest: u8, always: &[usize]) -> Vec<u8> {
    let mut symbols: Vec<usize> = always.to_vec();
    for _ in symbols.len()..words.max(2) {
        let symbol = random.below(end);
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    if symbols.len() < 2 {
        symbols.push(usize::from(symbols[0] == 0));
    }
    let mut leaves = vec![1_u8, 1];
    while leaves.len() < symbols.len() {
        let at = random.below(leaves.len());
        if leaves[at] < longest {
            leaves[at] += 1;
            leaves.push(leaves[at]);
        }
    }
    let mut lengths = vec![0; end];
    symbols.iter().zip(leaves).for_each(|(symbol, leaf)| lengths[*symbol] = leaf);
    lengths
}

/// The smallest length (of symbols from 257 on) or distance that a symbol means, and the bits of the number behind it.
fn with_number(symbol: usize, of_lengths: bool) -> (usize, u32) {
    let (steps, first) = if of_lengths { (4, 3) } else { (2, 1) };
    match symbol {
        28 if of_lengths => (258, 0),
        _ if symbol < 2 * steps => (first + symbol, 0),
        _ => {
            let bits = symbol / steps - 1;
            (first + ((steps + symbol % steps) << bits), bits as u32)
        }
    }
}

/// Deflate data, and the text that a reader finds in them who minds nothing.
#[derive(Default)]
pub(in crate::snapshot) struct Deflate {
    pub(in crate::snapshot) bits: BitWriter,
    pub(in crate::snapshot) text: Vec<u8>,
}

impl Deflate {
    fn stored(&mut self, random: &Random) {
        let bytes = random.one_of(&[0, 1, random.below(40), random.below(400)]);
        let text: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
        let wrong = if random.one_in(4) { 1 << random.below(16) } else { 0 };
        let said = if random.one_in(8) { bytes + random.below(300) } else { bytes };
        self.bits.bytes(&[(said as u16).to_le_bytes(), (!(said as u16) ^ wrong).to_le_bytes()].concat());
        self.bits.bytes(&text);
        self.text.extend(text);
    }

    /// Writes a block's symbols with these codes; if `odd`, some that mean nothing, or lead out of the text.
    fn symbols(&mut self, random: &Random, litlen: &[u8], dist: &[u8], odd: bool) {
        let (litlen_codes, dist_codes) = (canonical_codes(litlen), canonical_codes(dist));
        let used = |lengths: &[u8]| (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect::<Vec<_>>();
        let (litlens, dists) = (used(litlen), used(dist));
        for _ in 0..random.below(60) {
            if litlens.is_empty() || self.text.len() > TEXT_BYTES_MAX {
                break;
            }
            let symbol = random.one_of(&litlens);
            match symbol {
                0..256 => self.text.push(symbol as u8),
                256 => continue,
                286.. if !odd => continue,
                _ => {}
            }
            if symbol < 256 {
                self.bits.code(litlen_codes[symbol]);
                continue;
            }
            // A distance that is right, or nearly, or any; of an empty code any bits.
            let (length_base, length_bits) = with_number((symbol - 257).min(28), true);
            let near: Vec<usize> =
                dists.iter().copied().filter(|d| with_number(*d, false).0 <= self.text.len()).collect();
            let from = if odd && random.one_in(4) { &dists } else { &near };
            if from.is_empty() && !(odd && random.one_in(3)) {
                continue;
            }
            let length_more = random.below(1 << length_bits);
            self.bits.code(litlen_codes[symbol]);
            self.bits.number(length_more, length_bits);
            let dist = if from.is_empty() { 0 } else { random.one_of(from) };
            let (base, bits) = with_number(dist.min(29), false);
            let room = self.text.len().saturating_sub(base) + usize::from(odd && random.one_in(4));
            let more = random.below((room + 1).min(1 << bits));
            match dist_codes.get(dist).filter(|(_, bits)| *bits > 0) {
                // The bit that is no code.
                Some((_, 1)) if odd && dists.len() == 1 && random.one_in(2) => self.bits.number(1, 1),
                Some(code) => self.bits.code(*code),
                None => self.bits.number(random.below(2), 1),
            }
            self.bits.number(more, bits);
            for _ in 0..length_base + length_more {
                let byte = self.text.len().checked_sub(base + more).map_or(0, |at| self.text[at]);
                self.text.push(byte);
            }
        }
        match litlen_codes.get(256).filter(|(_, bits)| *bits > 0) {
            Some(end) if !(odd && random.one_in(30)) => self.bits.code(*end),
            _ => {}
        }
    }

    fn fixed(&mut self, random: &Random, odd: bool) {
        let mut litlen = [8; 288];
        litlen[144..256].fill(9);
        litlen[256..280].fill(7);
        self.symbols(random, &litlen, &[5; 32], odd);
    }

    fn dynamic(&mut self, random: &Random, odd: bool) {
        // One fault in a header, mostly: another would hide it.
        let fault = if odd { random.below(16) } else { NO_FAULT };
        let (words, dist_words) = (2 + random.below(40), 1 + random.below(8));
        let mut litlen = complete(random, 286, words, 15, &[256, random.one_of(&[10, 65, 257, 260])]);
        let mut dist = complete(random, 30, dist_words, 15, &[0]);
        match fault {
            0 => dist.resize(31 + random.below(2), 0),
            1 => dist = complete(random, 32, 4 + dist_words, 15, &[30 + random.below(2)]),
            2 => litlen.resize(287 + random.below(2), 0),
            3 => litlen = complete(random, 288, words, 15, &[256, 286 + random.below(2)]),
            4 => litlen[256] = 0,
            // Too few codes, or too many.
            5 | 6 => {
                let code = if fault == 5 { &mut litlen } else { &mut dist };
                let at = random.below(code.len().min(256));
                code[at] = if code[at] > 0 {
                    random.one_of(&[0, code[at] + 1, code[at] - 1])
                } else {
                    1 + random.below(15) as u8
                };
                code[at] = code[at].min(15);
            }
            7 => dist = vec![0; 1 + random.below(30)],
            8 => {
                dist = vec![0; 30];
                dist[random.below(30)] = random.one_of(&[1, 1, 1, 2, 15]);
            }
            9 => {
                litlen = vec![0; 257 + random.below(29)];
                litlen[random.one_of(&[256, 256, 65])] = random.one_of(&[1, 1, 2, 15]);
            }
            _ => {}
        }
        if random.one_in(2) {
            let last =
                |code: &[u8], least| code.iter().rposition(|bits| *bits > 0).map_or(least, |at| at + 1).max(least);
            let (litlens, dists) = (last(&litlen, 257), last(&dist, 1));
            if fault > 4 {
                litlen.truncate(litlens);
                dist.truncate(dists);
            }
        }
        self.header(random, &litlen, &dist, fault);
        self.symbols(random, &litlen, &dist, odd);
    }

    fn header(&mut self, random: &Random, litlen: &[u8], dist: &[u8], fault: usize) {
        let lengths = [litlen, dist].concat();
        // Runs, some of them over the border between the two codes.
        let mut written: Vec<(usize, usize, u32)> = Vec::new();
        let mut at = 0;
        while at < lengths.len() {
            let run = lengths[at..].iter().take_while(|bits| **bits == lengths[at]).count();
            let fits = |random: &Random, least: usize, most: usize| least + random.below(run.min(most) - least + 1);
            let (symbol, times) = match lengths[at] {
                0 if run >= 11 && !random.one_in(9) => (18, fits(random, 11, 138)),
                0 if run >= 3 && !random.one_in(9) => (17, fits(random, 3, 10)),
                bits if at > 0 && bits == lengths[at - 1] && run >= 3 && random.one_in(2) => (16, fits(random, 3, 6)),
                bits => (usize::from(bits), 1),
            };
            written.push(match symbol {
                16 => (16, times - 3, 2),
                17 => (17, times - 3, 3),
                18 => (18, times - 11, 7),
                _ => (symbol, 0, 0),
            });
            at += times;
        }
        match fault {
            // A repeat of nothing; a run past the end.
            10 => written.insert(0, (16, random.below(4), 2)),
            11 => written.push((random.one_of(&[16, 17, 18]), 0, 0)),
            _ => {}
        }
        if fault == 11
            && let Some(last) = written.last_mut()
        {
            *last = (last.0, random.below(4), [2, 3, 7][last.0 - 16]);
        }
        let mut always: Vec<usize> = written.iter().map(|(symbol, ..)| *symbol).collect();
        always.sort_unstable();
        always.dedup();
        let mut of_lengths = complete(random, 19, always.len(), 7, &always);
        match fault {
            12 | 13 => {
                let at = random.below(19);
                of_lengths[at] = if of_lengths[at] > 0 { of_lengths[at] - 1 } else { 1 + random.below(7) as u8 };
            }
            14 => of_lengths = vec![0; 19],
            15 => {
                of_lengths = vec![0; 19];
                of_lengths[random.one_of(&[0, 1, 8, 18])] = random.one_of(&[1, 1, 7]);
            }
            _ => {}
        }
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let said = ORDER.iter().rposition(|symbol| of_lengths[*symbol] > 0).map_or(4, |at| (at + 1).max(4));
        self.bits.number(litlen.len() - 257, 5);
        self.bits.number(dist.len() - 1, 5);
        self.bits.number(said - 4, 4);
        ORDER[..said].iter().for_each(|symbol| self.bits.number(usize::from(of_lengths[*symbol]), 3));
        let codes = canonical_codes(&of_lengths);
        for (symbol, more, bits) in written {
            self.bits.code(codes[symbol]);
            self.bits.number(more, bits);
        }
    }

    /// One dynamic block with these codes and literals, and its end, if there is a code for that.
    pub(in crate::snapshot) fn literals(litlen: &[u8], dist: &[u8], literals: &[u8]) -> Self {
        let mut deflate = Deflate::default();
        deflate.bits.number(0b101, 3);
        deflate.header(&Random::new(1), litlen, dist, NO_FAULT);
        let codes = canonical_codes(litlen);
        literals.iter().for_each(|literal| deflate.bits.code(codes[usize::from(*literal)]));
        deflate.bits.code(codes[256]);
        deflate.text.extend_from_slice(literals);
        deflate
    }

    /// One to three blocks; if `odd`, one of them has faults.
    pub(in crate::snapshot) fn blocks(random: &Random, odd: bool) -> Self {
        let mut deflate = Deflate::default();
        let blocks = 1 + random.below(3);
        // Which one has the fault.
        let odd_block = if odd { random.below(blocks) } else { usize::MAX };
        for block in 0..blocks {
            let (last, odd) = (block + 1 == blocks, block == odd_block);
            let last = last ^ (odd && random.one_in(40));
            deflate.bits.number(usize::from(last), 1);
            let kind = if odd { random.one_of(&[0, 1, 1, 2, 2, 2, 2, 2, 2, 3]) } else { random.below(3) };
            deflate.bits.number(kind, 2);
            match kind {
                0 if odd => deflate.stored(random),
                0 => {
                    let text: Vec<u8> = (0..random.below(50)).map(|_| random.below(256) as u8).collect();
                    let length = text.len() as u16;
                    deflate.bits.bytes(&[length.to_le_bytes(), (!length).to_le_bytes()].concat());
                    deflate.bits.bytes(&text);
                    deflate.text.extend(text);
                }
                1 => deflate.fixed(random, odd),
                2 => deflate.dynamic(random, odd),
                _ => deflate.bits.number(random.below(1 << 16), 16),
            }
        }
        deflate
    }
}
