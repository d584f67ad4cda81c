//! Inflates one deflate stream (RFC 1951) that lies in memory, into a place of its text's length, and is exactly as
//! strict as the strictest of the readers that a snapshot meets: what zlib or Go refuse is refused here.
//!
//! Fast inflaters are not: libdeflate takes 31 and 32 distance codes, 287 and 288 others, the words of the fixed code
//! that mean nothing, and any bits for a code that has one word or none; ISA-L takes codes that are not complete. A
//! text that only we can read is cut off or refused on every other validator's machine. This one is about as fast as
//! libdeflate, and knows where the data ended.

mod code;
#[cfg(test)]
mod tests;

pub(in crate::snapshot) use code::ORDER as LENGTHS_ORDER;
use code::{Code, Completeness, Lengths, dist_entry, litlen_entry};
#[cfg(feature = "isal")]
use memchr::memmem;

#[cfg(feature = "isal")]
use crate::snapshot::gzip::TRAILER_BYTES;

/// Bits of the input that index the table of literals and lengths; three such lookups and the longest length take at
/// most the 56 bits that a refill brings.
const LITLEN_BITS: u32 = 12;
/// Bits of the input that index the table of distances.
const DIST_BITS: u32 = 10;
/// Mask of every entry: the bits that its code takes, together with those of the number behind the code.
const USED: u32 = 63;
/// Shift, in an entry of literals, to their number (1 to 3). The
/// literals themselves follow from the entry's second byte on.
const COUNT_SHIFT: u32 = 6;
const COUNT: u32 = 3;
/// Shift, in an entry of a length, to the bits of its code alone. The smallest length follows from the second byte on.
const CODE_BITS_SHIFT: u32 = 20;
const LENGTH: u32 = 0x1ff;
/// Mask of what an entry without literals is; an entry that is
/// none of these has a code longer than the table's bits, or none.
const KIND: u32 = 3 << 24;
const KIND_LENGTH: u32 = 1 << 24;
const KIND_END: u32 = 2 << 24;
const KIND_WRONG: u32 = 3 << 24;
/// Bytes of an earlier text that are copied at once, where there is room.
const STEP_BYTES: usize = 16;

/// Inflates deflate streams one after the other; its tables are used again.
pub(super) struct Inflater {
    litlen: Code,
    dist: Code,
    /// The table with one literal, length or end of block in an entry: the one that the entry's index bits begin with.
    singles: Box<[u32; 1 << LITLEN_BITS]>,
    /// The same table, but with as many literals in an entry (up to three) as its index bits hold.
    litlens: Box<[u32; 1 << LITLEN_BITS]>,
    dists: Box<[u32; 1 << DIST_BITS]>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Inflater {
            litlen: Code::new(),
            dist: Code::new(),
            singles: Box::new([0; 1 << LITLEN_BITS]),
            litlens: Box::new([0; 1 << LITLEN_BITS]),
            dists: Box::new([0; 1 << DIST_BITS]),
        }
    }

    /// Inflates `data` into `place`; true if the data are one whole
    /// deflate stream, to their last byte, whose text fills the place.
    pub(super) fn inflate(&mut self, data: &[u8], place: &mut [u8]) -> bool {
        self.inflate_blocks(data, place) == Some((data.len(), place.len()))
    }

    /// The bytes of the data that the stream takes, and the bytes of its text; `None` where the stream is not right.
    fn inflate_blocks(&mut self, data: &[u8], place: &mut [u8]) -> Option<(usize, usize)> {
        let mut bits = Bits::new(data);
        let mut at = 0;
        loop {
            bits.refill();
            let last = bits.take(1) == 1;
            at = match bits.take(2) {
                0 => copy_stored_block(&mut bits, place, at)?,
                1 => {
                    self.set(&Lengths::fixed())?;
                    self.block(&mut bits, place, at)?
                }
                2 => {
                    let lengths = Lengths::read(&mut bits)?;
                    self.set(&lengths)?;
                    self.block(&mut bits, place, at)?
                }
                _ => return None,
            };
            if last {
                return Some((bits.place()?, at));
            }
        }
    }

    /// Makes the tables of a block's two codes; `None` where zlib or Go would refuse a code.
    fn set(&mut self, lengths: &Lengths) -> Option<()> {
        match self.litlen.set(lengths.litlen())? {
            Completeness::Complete | Completeness::OneWord => {}
            Completeness::Empty => return None,
        }
        self.dist.set(lengths.dist())?;
        self.litlen.fill(&mut *self.singles, LITLEN_BITS, litlen_entry);
        self.dist.fill(&mut *self.dists, DIST_BITS, dist_entry);
        for (at, entry) in self.litlens.iter_mut().enumerate() {
            *entry = self.singles[at];
            if *entry >> COUNT_SHIFT & COUNT == 0 {
                continue;
            }
            for count in 2..=3 {
                let used = *entry & USED;
                let next = self.singles[at >> used];
                if next >> COUNT_SHIFT & COUNT == 0 || used + (next & USED) > LITLEN_BITS {
                    break;
                }
                let literals = *entry & !0xff | (next >> 8 & 0xff) << (8 * count);
                *entry = literals | count << COUNT_SHIFT | (used + (next & USED));
            }
        }
        Some(())
    }

    /// Inflates one block from `from` on, up to the block's end; gives how far `place` is filled then.
    fn block(&self, state: &mut Bits<'_>, place: &mut [u8], from: usize) -> Option<usize> {
        // A copy can stay in registers.
        let mut bits = *state;
        let mut at = from;
        bits.refill();
        let mut entry = self.litlens[bits.peek(LITLEN_BITS) as usize];
        loop {
            let mut lookups = 1;
            loop {
                let count = entry >> COUNT_SHIFT & COUNT;
                if count == 0 {
                    break;
                }
                bits.skip(entry & USED);
                let literals = entry >> 8;
                if lookups == 3 {
                    bits.refill();
                    lookups = 0;
                }
                lookups += 1;
                entry = self.litlens[bits.peek(LITLEN_BITS) as usize];
                at = put_literals(place, at, literals, count)?;
            }
            if entry & KIND == 0 {
                let (symbol, used) = self.litlen.find(bits.bits)?;
                entry = litlen_entry(symbol, used);
                if entry >> COUNT_SHIFT & COUNT > 0 {
                    bits.skip(used);
                    bits.refill();
                    at = put_literals(place, at, entry >> 8, 1)?;
                    entry = self.litlens[bits.peek(LITLEN_BITS) as usize];
                    continue;
                }
            }
            let length = (entry >> 8 & LENGTH) + bits.number(entry & USED, entry >> CODE_BITS_SHIFT & 15);
            bits.skip(entry & USED);
            match entry & KIND {
                KIND_LENGTH => {}
                KIND_END => {
                    *state = bits;
                    return Some(at);
                }
                _ => return None,
            }
            bits.refill();
            let mut dist = self.dists[bits.peek(DIST_BITS) as usize];
            if dist == 0 {
                let (symbol, used) = self.dist.find(bits.bits)?;
                dist = dist_entry(symbol, used);
                if dist == 0 {
                    return None;
                }
            }
            let distance = (dist >> 16) + bits.number(dist & USED, dist >> 8 & 15);
            bits.skip(dist & USED);
            // The next lookup need not wait for the copy.
            bits.refill();
            entry = self.litlens[bits.peek(LITLEN_BITS) as usize];
            at = repeat(place, at, distance as usize, length as usize)?;
        }
    }
}

/// Whether ISA-L inflated a gzip member whose data begin at `data_at`, read it as everybody does, and found its trailer
/// right. False says nothing of the member.
#[cfg(feature = "isal")]
pub(super) fn by_isal(member: &[u8], data_at: usize, place: &mut [u8]) -> bool {
    // What ISA-L takes and others refuse are codes that are not complete. They can only be seen in the first block: where the
    // next one begins, only who inflates knows.
    if !member.get(data_at..).is_some_and(is_one_complete_block) {
        return false;
    }
    let text_bytes = isal::decompress_into(member, place, isal::Codec::Gzip);
    if !text_bytes.is_ok_and(|bytes| bytes == place.len()) {
        return false;
    }
    // ISA-L found a right trailer where the data ended, but does not say where that was. It was at the member's end if such a
    // trailer stands nowhere before it; otherwise more text might follow inside the member.
    let (rest, trailer) = member.split_at(member.len().saturating_sub(TRAILER_BYTES));
    memmem::find(member, trailer) == Some(rest.len())
}

/// Whether the data begin with their last block, and that is a dynamic one whose codes are both complete.
#[cfg(feature = "isal")]
fn is_one_complete_block(data: &[u8]) -> bool {
    let mut bits = Bits::new(data);
    bits.refill();
    let lengths = if bits.take(3) == 0b101 { Lengths::read(&mut bits) } else { None };
    let is_complete = |lengths: &[u8]| matches!(Code::new().set(lengths), Some(Completeness::Complete));
    lengths.is_some_and(|lengths| is_complete(lengths.litlen()) && is_complete(lengths.dist()))
}

/// Reads deflate data bit by bit, each byte from its lowest bit on.
#[derive(Clone, Copy)]
struct Bits<'a> {
    data: &'a [u8],
    next: usize,
    bits: u64,
    /// The number of low bits in `bits` that are to be read; above them may stand what the next refill brings again.
    count: u32,
    /// Zero bytes that were taken in place of bytes behind the data's end.
    beyond: usize,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Bits { data, next: 0, bits: 0, count: 0, beyond: 0 }
    }

    /// Fills `bits` so that at least 56 bits can be read; behind the data's end they are zeros.
    #[inline(always)]
    fn refill(&mut self) {
        match self.data.get(self.next..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => {
                self.bits |= u64::from_le_bytes(*bytes) << self.count;
                self.next += ((63 - self.count) / 8) as usize;
                self.count |= 56;
            }
            None => self.refill_at_end(),
        }
    }

    #[cold]
    #[inline(never)]
    fn refill_at_end(&mut self) {
        while self.count < 56 {
            match self.data.get(self.next) {
                Some(byte) => {
                    self.bits |= u64::from(*byte) << self.count;
                    self.next += 1;
                }
                None => self.beyond += 1,
            }
            self.count += 8;
        }
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> u32 {
        (self.bits & ((1 << count) - 1)) as u32
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }

    fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// The number behind a code, of the `used` bits that both take together, without the code's own.
    #[inline(always)]
    fn number(&self, used: u32, code_bits: u32) -> u32 {
        ((self.bits & ((1 << used) - 1)) >> code_bits) as u32
    }

    /// The index of the first byte of which no bit was read; `None` if bits behind the data's end were read.
    fn place(&self) -> Option<usize> {
        (self.next + self.beyond).checked_sub((self.count / 8) as usize).filter(|at| *at <= self.data.len())
    }
}

fn copy_stored_block(bits: &mut Bits<'_>, place: &mut [u8], at: usize) -> Option<usize> {
    bits.skip(bits.count % 8);
    bits.refill();
    let length = bits.take(16);
    if bits.take(16) != length ^ 0xffff {
        return None;
    }
    let (from, length) = (bits.place()?, length as usize);
    place.get_mut(at..at + length)?.copy_from_slice(bits.data.get(from..from + length)?);
    *bits = Bits { next: from + length, ..Bits::new(bits.data) };
    Some(at + length)
}

/// Writes up to three literals at `at`, and what stands behind them there is overwritten later.
#[inline(always)]
fn put_literals(place: &mut [u8], at: usize, literals: u32, count: u32) -> Option<usize> {
    match place.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        Some(four) => *four = literals.to_le_bytes(),
        None => put_at_end(place, at, literals, count)?,
    }
    Some(at + count as usize)
}

#[cold]
#[inline(never)]
fn put_at_end(place: &mut [u8], at: usize, literals: u32, count: u32) -> Option<()> {
    let count = count as usize;
    place.get_mut(at..at + count)?.copy_from_slice(&literals.to_le_bytes()[..count]);
    Some(())
}

/// Writes again `length` bytes of the text that begin `distance` bytes before `at`; gives where they end.
#[inline(always)]
fn repeat(place: &mut [u8], at: usize, distance: usize, length: usize) -> Option<usize> {
    let (from, end) = (at.checked_sub(distance)?, at + length);
    if distance < STEP_BYTES || end + STEP_BYTES > place.len() {
        return repeat_bytes(place, from, at, end);
    }
    let mut done = 0;
    while done < length {
        place.copy_within(from + done..from + done + STEP_BYTES, at + done);
        done += STEP_BYTES;
    }
    Some(end)
}

fn repeat_bytes(place: &mut [u8], from: usize, at: usize, end: usize) -> Option<usize> {
    let (distance, place) = (at - from, place.get_mut(from..end)?);
    match (distance, place.split_first_mut()) {
        (1, Some((byte, rest))) => rest.fill(*byte),
        _ => (distance..place.len()).for_each(|at| place[at] = place[at - distance]),
    }
    Some(end)
}
