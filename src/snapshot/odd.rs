//! Makes gzip files for tests, most of them wrong: deflate data written symbol by symbol with every fault that a code,
//! a block or a number can have, real ones with bits turned, and members put together in every way that a file can be.
//! Their trailers are those of the text that a lenient reader finds, so that no checksum hides how lenient a reader is.

mod deflate;

use std::cell::Cell;

pub(super) use self::deflate::{BitWriter, Deflate};
use libdeflater::Decompressor;

use super::gzip::{Compression, GZIP_MAGIC, HEADER, HEADER_BYTES, MemberWriter, PLAIN_HEADER_BYTES, TRAILER_BYTES};

/// Bytes of the text of a wrong file, at most.
const TEXT_BYTES_MAX: usize = 1 << 16;

/// A small generator of numbers, which gives the same ones on every machine.
pub(super) struct Random(Cell<u64>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True once in `of` times, on average.
    pub(super) fn one_in(&self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn one_of<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Text of rows such as a snapshot has, of this many bytes.
pub(super) fn rows(random: &Random, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 80);
    while text.len() < bytes {
        let number = random.next();
        text.extend(format!("{}\t\\\\x{number:x}\trow {} of text\t\\N\n", number % 1000, number % 7).bytes());
    }
    text.truncate(bytes);
    text
}

/// Makes gzip files, most of them wrong.
pub(super) struct Maker {
    random: Random,
    decompressor: Decompressor,
    place: Vec<u8>,
    /// Deflate data and text of the member that was made last; the
    /// next one may hold them again, mostly with the other header.
    again: Option<(Vec<u8>, Vec<u8>)>,
    /// Texts and their deflate data, as real compressors write them.
    real: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Maker {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        let mut real = Vec::new();
        for bytes in (0..50).flat_map(|_| [0, 1, random.below(60), random.below(700)]) {
            let text = rows(&random, bytes);
            let data = match random.below(3) {
                0 => {
                    let mut data = Vec::with_capacity(text.len() + 1000);
                    let level = flate2::Compression::new(random.below(10) as u32);
                    let mut deflate = flate2::Compress::new(level, false);
                    deflate.compress_vec(&text, &mut data, flate2::FlushCompress::Finish).unwrap();
                    data
                }
                by => {
                    let compression = if by == 1 { Compression::Fast } else { Compression::Small };
                    let member = MemberWriter::new(compression).member(&text).unwrap();
                    member[HEADER_BYTES..member.len() - TRAILER_BYTES].to_vec()
                }
            };
            real.push((text, data));
        }
        Maker { random, decompressor: Decompressor::new(), place: vec![0; TEXT_BYTES_MAX], again: None, real }
    }

    /// Deflate data of any kind, and the text that their trailer shall describe.
    pub(super) fn data(&mut self) -> (Vec<u8>, Vec<u8>) {
        let random = &self.random;
        let (mut data, mut text) = match random.below(8) {
            0..4 => {
                let odd = !random.one_in(6);
                let Deflate { bits, text } = Deflate::blocks(random, odd);
                (bits.finish(), text)
            }
            kind => {
                let (text, mut data) = random.one_of(&self.real);
                // Most bits of a small member are its header's.
                for _ in 0..if kind > 4 { 1 + random.below(2) } else { 0 } {
                    let at = random.below(data.len());
                    data[at] ^= 1 << random.below(8);
                }
                (data, text)
            }
        };
        match random.below(40) {
            0 => data.truncate(random.below(data.len() + 1)),
            1 => data.extend((0..1 + random.below(9)).map(|_| random.below(256) as u8)),
            2 => data.extend([0; 3]),
            _ => {}
        }
        // libdeflate minds little.
        if let Ok(bytes) = self.decompressor.deflate_decompress(&data, &mut self.place) {
            text = self.place[..bytes].to_vec();
        }
        (data, text)
    }

    /// A member with any header, right or wrong.
    fn member(&mut self) -> Vec<u8> {
        let again = self.again.take();
        let is_again = again.is_some();
        let (data, text) = again.unwrap_or_else(|| self.data());
        if !is_again {
            self.again = Some((data.clone(), text.clone()));
        }
        let random = &self.random;
        let with = |header: &[u8]| [header, &data, &trailer(&text)].concat();
        let mut member = if is_again ^ random.one_in(4) { plain(&data, &text) } else { ours(&data, &text) };
        match random.below(40) {
            // Time, hint and system mean nothing in the plain header.
            0 => (4..10).for_each(|at| member[at] = random.below(256) as u8),
            1 => member[3] ^= 1 << random.below(8),
            2 => member[2] = random.below(256) as u8,
            3 => {
                let at = random.below(member.len().min(HEADER_BYTES));
                member[at] ^= 1 << random.below(8);
            }
            4 => {
                let at = member.len() - 1 - random.below(TRAILER_BYTES);
                member[at] ^= 1 << random.below(8);
            }
            // Headers that are right, and refused all the same.
            5 => {
                let flag = random.one_of(&[0x08, 0x10, 0x18_u8]);
                member = with(&[&flagged(flag)[..], &b"a.sql\0".repeat(flag.count_ones() as usize)].concat());
            }
            6 => {
                let sum = (crc32fast::hash(&flagged(2)) as u16).to_le_bytes();
                member = with(&[&flagged(2)[..], &sum].concat());
            }
            7 => {
                let extra = random.one_of(&[&b""[..], b"KS\x04\0", b"KS\x04\0\0\0\0\0KS\0\0", b"XX\x04\0\x40\0\0\0"]);
                member = with(&[&flagged(4)[..], &(extra.len() as u16).to_le_bytes(), extra].concat());
            }
            _ => {}
        }
        member
    }

    /// A file that begins as a gzip file does, whatever follows.
    pub(super) fn file(&mut self) -> Vec<u8> {
        let mut file = Vec::new();
        for _ in 0..self.random.one_of(&[1, 1, 1, 1, 2, 3]) {
            file.extend(self.member());
        }
        match self.random.below(60) {
            0 => file.truncate(self.random.below(file.len() + 1)),
            1 => file.extend(vec![0; 1 + self.random.below(600)]),
            2 => file.extend((0..1 + self.random.below(30)).map(|_| self.random.below(256) as u8)),
            // A member of ours that claims what follows it, with the first one's trailer or the other's at its end.
            3 => {
                let last = file[file.len().saturating_sub(TRAILER_BYTES)..].to_vec();
                file.extend(self.member());
                if self.random.one_in(2) {
                    file.extend(last);
                }
                if file.starts_with(&HEADER) && file.len() >= HEADER_BYTES {
                    let length = file.len() as u32;
                    file[HEADER.len()..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
                }
            }
            4 => {
                let at = self.random.below(file.len());
                file[at] ^= 1 << self.random.below(8);
            }
            _ => {}
        }
        file.splice(..file.len().min(2), GZIP_MAGIC);
        file
    }
}

fn trailer(text: &[u8]) -> [u8; TRAILER_BYTES] {
    (u64::from(crc32fast::hash(text)) | (text.len() as u64) << 32).to_le_bytes()
}

/// A plain gzip header with these flags.
fn flagged(flags: u8) -> [u8; PLAIN_HEADER_BYTES] {
    [0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255]
}

/// A member with a plain header around these deflate data, and a trailer for the text.
pub(super) fn plain(data: &[u8], text: &[u8]) -> Vec<u8> {
    [&flagged(0)[..], data, &trailer(text)].concat()
}

/// A member with our own header around these deflate data, and a trailer for the text.
pub(super) fn ours(data: &[u8], text: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + data.len() + TRAILER_BYTES) as u32;
    [&HEADER, &length.to_le_bytes()[..], data, &trailer(text)].concat()
}
