//! Deflate data (RFC 1951) of one block that repeats nothing: each byte of the text is a word of one Huffman code.
//!
//! Hashes, keys and signatures are noise in few digits. Who looks there for what was written before finds four or five
//! equal digits by chance nearly everywhere, but to point at them takes more bits than the digits take themselves, and
//! more time, both to write and to read.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::read::LENGTHS_ORDER;

/// Symbols of the code: the bytes and the end of the block.
const SYMBOLS: usize = 257;
/// The symbol that ends the block.
const END: usize = 256;
/// Bits that a word takes at most. Deflate allows 15; readers find
/// short ones at once, and four of these fit between two steps of the writer.
const WORD_BITS_MAX: u8 = 12;
/// Bits that a word of the code may take in which a block says the lengths of its words.
const LENGTH_WORD_BITS_MAX: u8 = 7;
/// The lengths of the words for distances. None is used; two of one bit are a code that every reader takes.
const DISTANCE_WORDS: [u8; 2] = [1, 1];

/// The best Huffman code for the bytes of a text.
pub(super) struct LiteralCode {
    counts: [u32; SYMBOLS],
    words: Words<SYMBOLS>,
}

impl LiteralCode {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut counts = [0; SYMBOLS];
        counts[..END].copy_from_slice(&count(text));
        counts[END] = 1;
        LiteralCode { words: Words::of(&counts, WORD_BITS_MAX), counts }
    }

    /// Bytes that the text takes, without the beginning of the block, which says the code.
    pub(super) fn bytes(&self) -> usize {
        let bits = self.counts.iter().zip(&self.words.bits).map(|(count, bits)| *count as usize * usize::from(*bits));
        bits.sum::<usize>().div_ceil(8)
    }

    /// Writes the text, of which this is the code, as deflate data to the beginning of `out`; gives their bytes.
    /// `None` where they do not fit with eight bytes to spare, or there is nothing in the text.
    pub(super) fn write(&self, text: &[u8], out: &mut [u8]) -> Option<usize> {
        if text.is_empty() {
            return None;
        }
        let mut bits = Bits { out, at: 0, waiting: 0, count: 0 };
        self.write_beginning(&mut bits)?;
        let mut fours = text.chunks_exact(4);
        for four in &mut fours {
            for byte in four {
                bits.add(self.words.word(usize::from(*byte)));
            }
            bits.write()?;
        }
        for symbol in fours.remainder().iter().map(|byte| usize::from(*byte)).chain([END]) {
            bits.add(self.words.word(symbol));
            bits.write()?;
        }
        Some(bits.at + usize::from(bits.count > 0))
    }

    /// The last block of its data, a dynamic one, and the lengths of its words.
    fn write_beginning(&self, bits: &mut Bits<'_>) -> Option<()> {
        let said = runs(self.words.bits.iter().chain(&DISTANCE_WORDS).copied());
        let mut counts = [0; LENGTHS_ORDER.len()];
        said.iter().for_each(|run| counts[run.symbol] += 1);
        let words = Words::of(&counts, LENGTH_WORD_BITS_MAX);
        let in_order = LENGTHS_ORDER.map(|symbol| words.bits[usize::from(symbol)]);
        let last = in_order.iter().rposition(|bits| *bits > 0)?.max(3);
        bits.add((0b101, 3));
        bits.add((SYMBOLS as u32 - 257, 5));
        bits.add((DISTANCE_WORDS.len() as u32 - 1, 5));
        bits.add((last as u32 - 3, 4));
        bits.write()?;
        for length in &in_order[..=last] {
            bits.add((u32::from(*length), 3));
            bits.write()?;
        }
        for run in said {
            bits.add(words.word(run.symbol));
            bits.add(run.more);
            bits.write()?;
        }
        Some(())
    }
}

/// How often each byte is there.
fn count(text: &[u8]) -> [u32; 256] {
    // Equal bytes that follow each other would wait for one another in a single table.
    let mut tables = [[0_u32; 256]; 4];
    let mut fours = text.chunks_exact(4);
    for four in &mut fours {
        for (table, byte) in tables.iter_mut().zip(four) {
            table[usize::from(*byte)] += 1;
        }
    }
    fours.remainder().iter().for_each(|byte| tables[0][usize::from(*byte)] += 1);
    std::array::from_fn(|byte| tables.iter().map(|table| table[byte]).sum())
}

/// What a block says of the lengths of its words: one of them, or a number of zeros.
struct Run {
    symbol: usize,
    /// The number behind the symbol's word, and its bits.
    more: (u32, u32),
}

fn runs(lengths: impl Iterator<Item = u8>) -> Vec<Run> {
    let lengths = lengths.collect::<Vec<_>>();
    let mut runs = Vec::new();
    for equal in lengths.chunk_by(|a, b| a == b) {
        let length = usize::from(equal[0]);
        let mut left = equal.len();
        while left > 0 {
            let (taken, run) = match left {
                11.. if length == 0 => (left.min(138), Run { symbol: 18, more: (left.min(138) as u32 - 11, 7) }),
                3.. if length == 0 => (left, Run { symbol: 17, more: (left as u32 - 3, 3) }),
                _ => (1, Run { symbol: length, more: (0, 0) }),
            };
            runs.push(run);
            left -= taken;
        }
    }
    runs
}

/// The words of a canonical Huffman code.
struct Words<const N: usize> {
    /// Bits of each symbol's word; 0 where a symbol has none.
    bits: [u8; N],
    /// The words, their first bit lowest.
    words: [u16; N],
}

impl<const N: usize> Words<N> {
    /// The best code for symbols that are there so often, of at least two of them, among those whose words are not too long.
    fn of(counts: &[u32; N], bits_max: u8) -> Self {
        let mut counts = *counts;
        let bits = loop {
            let bits = best_bits(&counts);
            if bits.iter().all(|bits| *bits <= bits_max) {
                break bits;
            }
            // Frequent symbols and rare ones come nearer to each other, and so do their words' lengths.
            counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
        };
        let mut words = [0; N];
        let mut next = 0_u16;
        for length in 1..=bits_max {
            next <<= 1;
            for (word, _) in words.iter_mut().zip(&bits).filter(|(_, bits)| **bits == length) {
                *word = next.reverse_bits() >> (16 - length);
                next += 1;
            }
        }
        Words { bits, words }
    }

    /// A symbol's word and its bits.
    #[inline(always)]
    fn word(&self, symbol: usize) -> (u32, u32) {
        (u32::from(self.words[symbol]), u32::from(self.bits[symbol]))
    }
}

/// The bits of each symbol's word in the best code of any length, which is found by joining the two rarest over and over.
fn best_bits<const N: usize>(counts: &[u32; N]) -> [u8; N] {
    let mut rarest = BinaryHeap::new();
    // The symbols come first, then what was joined; each knows what it was joined into.
    let mut joined_into = vec![0; N];
    for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        rarest.push(Reverse((u64::from(*count), symbol)));
    }
    while let Some(Reverse((first, a))) = rarest.pop() {
        let Some(Reverse((second, b))) = rarest.pop() else { break };
        let both = joined_into.len();
        (joined_into[a], joined_into[b]) = (both, both);
        joined_into.push(0);
        rarest.push(Reverse((first + second, both)));
    }
    let mut depths = vec![0_u8; joined_into.len()];
    for at in (0..joined_into.len()).rev().filter(|at| joined_into[*at] > 0) {
        depths[at] = depths[joined_into[at]] + 1;
    }
    std::array::from_fn(|symbol| depths[symbol])
}

/// Writes bit by bit, each byte from its lowest bit on.
struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    waiting: u64,
    count: u32,
}

impl Bits<'_> {
    #[inline(always)]
    fn add(&mut self, (number, bits): (u32, u32)) {
        self.waiting |= u64::from(number) << self.count;
        self.count += bits;
    }

    /// Writes the whole bytes of what waits; `None` where there is no room for eight.
    #[inline(always)]
    fn write(&mut self) -> Option<()> {
        *self.out.get_mut(self.at..)?.first_chunk_mut()? = self.waiting.to_le_bytes();
        self.at += (self.count / 8) as usize;
        self.waiting >>= self.count & !7;
        self.count &= 7;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use proptest::prelude::*;

    use super::*;

    fn written(text: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 2 * text.len() + 400];
        let bytes = LiteralCode::of(text).write(text, &mut out).unwrap();
        out.truncate(bytes);
        out
    }

    #[track_caller]
    fn reads_back(text: &[u8]) {
        let data = written(text);
        let mut reader = DeflateDecoder::new(&data[..]);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == text);
        assert_eq!(reader.total_in(), data.len() as u64);
    }

    /// Texts in which byte `n` is there `count(n)` times.
    fn with_counts(count: impl Fn(u8) -> usize) -> Vec<u8> {
        (0..=255).flat_map(|byte| vec![byte; count(byte)]).collect()
    }

    #[test]
    fn texts_of_one_byte_and_of_all() {
        for text in [&b"a"[..], b"\0", b"\xff\xff", b"ab", b"aaaaaaab"] {
            reads_back(text);
        }
        reads_back(&with_counts(|_| 1));
        reads_back(&with_counts(|_| 300));
        reads_back(&with_counts(|byte| usize::from(byte) % 2));
        reads_back(&with_counts(|byte| usize::from(byte % 7 == 3) * usize::from(byte)));
    }

    #[test]
    fn no_word_is_too_long_where_some_bytes_are_rare() {
        let mut fibonacci = vec![1, 1];
        (2..28).for_each(|at| fibonacci.push(fibonacci[at - 1] + fibonacci[at - 2]));
        let text = with_counts(|byte| fibonacci.get(usize::from(byte)).copied().unwrap_or(0));
        let code = LiteralCode::of(&text);
        assert_eq!(code.words.bits.iter().max(), Some(&WORD_BITS_MAX));
        reads_back(&text);
    }

    #[test]
    fn it_takes_as_much_as_it_says_and_what_says_the_code() {
        for text in [&b"to be or not to be"[..], &with_counts(usize::from)] {
            let (said, written) = (LiteralCode::of(text).bytes(), written(text).len());
            assert!((said..said + 200).contains(&written), "{said} said, {written} written");
        }
    }

    #[test]
    fn hexadecimal_noise_takes_half_a_byte_a_digit() {
        let mut hash = blake3::Hasher::new().finalize_xof();
        let mut noise = vec![0; 100_000];
        hash.fill(&mut noise);
        let text = hex::encode(noise);
        // One digit in sixteen shares its place with the end of the block, and takes a bit more.
        assert!(written(text.as_bytes()).len() < 102_000);
    }

    #[test]
    fn nothing_is_written_where_there_is_no_room_or_no_text() {
        let text = b"to be or not to be";
        let needed = written(text).len() + 8;
        for bytes in 0..needed {
            let mut out = vec![0; bytes];
            if let Some(taken) = LiteralCode::of(text).write(text, &mut out) {
                assert_eq!(out[..taken], written(text));
            }
        }
        assert!(LiteralCode::of(text).write(text, &mut vec![0; needed]).is_some());
        assert!(LiteralCode::of(text).write(text, &mut [0; 12]).is_none());
        assert!(LiteralCode::of(b"").write(b"", &mut [0; 100]).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in proptest::collection::vec(any::<u8>(), 1..5000)) {
            reads_back(&text);
        }

        #[test]
        fn any_mixture_of_rare_bytes_and_frequent_ones_is_read_back(
            counts in proptest::collection::vec((any::<u8>(), 0..12_u32), 1..40),
        ) {
            let text = counts.iter().flat_map(|(byte, power)| vec![*byte; 1 << power]).collect::<Vec<_>>();
            reads_back(&text);
        }
    }
}
