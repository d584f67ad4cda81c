use flate2::{Decompress, FlushDecompress, Status};

use super::*;
use crate::snapshot::odd::{BitWriter, Deflate, Maker};

/// Two literals and the end, of two bits and one.
fn litlen() -> Vec<u8> {
    let mut lengths = vec![0; 257];
    (lengths[65], lengths[66], lengths[256]) = (2, 2, 1);
    lengths
}

/// The code with other bits for a symbol.
fn with(mut lengths: Vec<u8>, symbol: usize, bits: u8) -> Vec<u8> {
    lengths.resize(lengths.len().max(symbol + 1), 0);
    lengths[symbol] = bits;
    lengths
}

fn literals(litlen: &[u8], dist: &[u8]) -> Vec<u8> {
    Deflate::literals(litlen, dist, b"ABBA").bits.finish()
}

/// The fixed code's bits, written after a block's first three.
fn fixed(symbols: &[(u32, u32)]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.number(0b011, 3);
    for (code, length) in symbols {
        bits.number((code.reverse_bits() >> (32 - length)) as usize, *length);
    }
    bits.finish()
}

/// Whether zlib-rs takes the data to their last byte.
fn zlib(data: &[u8], place: &mut [u8]) -> bool {
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress(data, place, FlushDecompress::Finish);
    status.is_ok_and(|status| status == Status::StreamEnd)
        && inflate.total_in() == data.len() as u64
        && inflate.total_out() == place.len() as u64
}

#[track_caller]
fn taken(data: &[u8], text: &[u8]) {
    let (mut place, mut other) = (vec![0; text.len()], vec![0; text.len()]);
    assert!(Inflater::new().inflate(data, &mut place) && place == text, "{data:02x?}");
    assert!(zlib(data, &mut other) && other == text, "{data:02x?}");
}

/// However long the text might be.
#[track_caller]
fn refused(data: &[u8]) {
    for bytes in 0..600 {
        let mut place = vec![0; bytes];
        assert!(!Inflater::new().inflate(data, &mut place), "{data:02x?} as {place:02x?}");
    }
}

const END: (u32, u32) = (0, 7);
/// The literal A.
const A: (u32, u32) = (0x30 + 65, 8);
/// A length of 3.
const THREE: (u32, u32) = (1, 7);

#[test]
fn thirty_distance_codes_and_286_others_are_the_most() {
    for (dists, litlens) in [(2, 257), (29, 257), (30, 257), (30, 286)] {
        let litlen = with(litlen(), litlens - 1, if litlens > 257 { 0 } else { 1 });
        taken(&literals(&litlen, &with(vec![1, 1], dists - 1, u8::from(dists == 2))), b"ABBA");
    }
    for (dists, litlens) in [(31, 257), (32, 257), (2, 287), (2, 288)] {
        let litlen = with(litlen(), litlens - 1, if litlens > 257 { 0 } else { 1 });
        refused(&literals(&litlen, &with(vec![1, 1], dists - 1, u8::from(dists == 2))));
    }
}

#[test]
fn codes_with_too_few_or_too_many_words() {
    // Complete, one word of one bit, or none at all.
    for dist in [vec![1, 1], vec![1], vec![0, 0, 1], vec![0]] {
        taken(&literals(&litlen(), &dist), b"ABBA");
    }
    for dist in [vec![2], vec![1, 2], vec![2, 2, 2], vec![1, 1, 1], vec![0, 15], vec![1, 2, 2, 15]] {
        refused(&literals(&litlen(), &dist));
    }
    for litlen in [
        with(litlen(), 65, 3),
        with(litlen(), 65, 1),
        with(litlen(), 67, 15),
        with(litlen(), 256, 0),
        with(with(litlen(), 256, 0), 67, 1),
        vec![0; 257],
    ] {
        refused(&Deflate::literals(&litlen, &[1, 1], b"BB").bits.finish());
    }
    // Nothing but the end.
    let end = with(vec![0; 257], 256, 1);
    taken(&Deflate::literals(&end, &[0], b"").bits.finish(), b"");
    refused(&Deflate::literals(&with(vec![0; 257], 256, 2), &[0], b"").bits.finish());
}

#[test]
fn the_fixed_codes_words_without_a_meaning() {
    taken(&fixed(&[A, THREE, (0, 5), END]), b"AAAA");
    for symbol in [0b1100_0110, 0b1100_0111] {
        refused(&fixed(&[A, (symbol, 8), (0, 5), END]));
    }
    for distance in [30, 31] {
        refused(&fixed(&[A, THREE, (distance, 5), END]));
    }
}

#[test]
fn what_stands_before_the_text_is_too_far_back() {
    refused(&fixed(&[THREE, (0, 5), END]));
    refused(&fixed(&[A, THREE, (1, 5), END]));
    taken(&fixed(&[A, A, THREE, (1, 5), END]), b"AAAAA");
}

#[test]
fn stored_blocks_and_reserved_ones() {
    taken(&[1, 2, 0, 0xfd, 0xff, b'h', b'i'], b"hi");
    taken(&[0, 1, 0, 0xfe, 0xff, b'h', 1, 0, 0, 0xff, 0xff], b"h");
    for wrong in [&[1, 2, 0, 0xfd, 0xfe, b'h', b'i'][..], &[1, 2, 0, 0xfd, 0xff, b'h'], &[1, 2, 0], &[7, 0, 0], &[]] {
        refused(wrong);
    }
}

#[test]
fn bytes_behind_the_end_and_missing_ones() {
    let whole = literals(&litlen(), &[1, 1]);
    taken(&whole, b"ABBA");
    refused(&[&whole[..], &[0]].concat());
    (0..whole.len()).for_each(|cut| refused(&whole[..cut]));
}

#[test]
fn any_data_are_taken_as_zlib_takes_them() {
    let (mut taken, mut refused) = (0, 0);
    let mut inflater = Inflater::new();
    let mut maker = Maker::new(7);
    for _ in 0..4000 {
        let (data, text) = maker.data();
        for bytes in [text.len(), text.len() + 1, text.len().saturating_sub(1)] {
            let (mut place, mut other) = (vec![0; bytes], vec![0; bytes]);
            let right = zlib(&data, &mut other);
            assert_eq!(inflater.inflate(&data, &mut place), right, "{data:02x?}");
            assert!(!right || place == other, "{data:02x?}");
            if right { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 800 && refused > 800, "{taken} taken, {refused} refused");
}

#[cfg(feature = "isal")]
#[test]
fn what_is_given_to_isal_is_taken_as_strictly() {
    use crate::snapshot::odd::ours;

    let mut taken = 0;
    let mut inflater = Inflater::new();
    let mut maker = Maker::new(8);
    for _ in 0..8000 {
        let (data, text) = maker.data();
        let (mut place, mut other) = (vec![0; text.len()], vec![0; text.len()]);
        if by_isal(&ours(&data, &text), crate::snapshot::gzip::HEADER_BYTES, &mut place) {
            assert!(inflater.inflate(&data, &mut other) && place == other && other == text, "{data:02x?}");
            taken += 1;
        }
    }
    assert!(taken > 100, "{taken}");
}
