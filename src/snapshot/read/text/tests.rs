use std::io::Write;

use flate2::{Compression as Level, bufread::MultiGzDecoder, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::snapshot::{
    gzip::{Compression, MemberWriter},
    read::stream::Unlike,
};

fn ours(text: &[u8]) -> Vec<u8> {
    MemberWriter::new(Compression::Fast).member(text).unwrap()
}

fn strangers(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A member of ours whose length covers another whole member inside, and whose trailer is the first one's.
fn hiding(text: &[u8], hidden: &[u8]) -> Vec<u8> {
    let mut file = ours(text);
    let trailer = file[file.len() - TRAILER_BYTES..].to_vec();
    file.extend(strangers(hidden));
    file.extend(trailer);
    with_length(file)
}

/// As [`hiding`], without the trailer that shows where the first text ends: only libdeflate could take the last one for
/// it.
fn hiding_untold(text: &[u8], hidden: &[u8]) -> Vec<u8> {
    let mut file = ours(text);
    let trailer = file.split_off(file.len() - TRAILER_BYTES);
    file.extend_from_slice(hidden);
    file.extend(trailer);
    with_length(file)
}

/// Writes the member's length into its header.
fn with_length(mut member: Vec<u8>) -> Vec<u8> {
    let length = (member.len() as u32).to_le_bytes();
    member[16..HEADER_BYTES].copy_from_slice(&length);
    member
}

fn saying(mut member: Vec<u8>, length: u32, text_bytes: u32) -> Vec<u8> {
    member[16..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let at = member.len() - 4;
    member[at..].copy_from_slice(&text_bytes.to_le_bytes());
    member
}

/// Everything, as the reader under test and as flate2 alone have it.
fn both(file: &[u8]) -> (io::Result<Vec<u8>>, io::Result<Vec<u8>>) {
    let mut text = Vec::new();
    let mut read = || -> io::Result<()> {
        let mut reader = TextReader::new(file)?;
        while let Some(piece) = reader.next_piece()? {
            text.extend_from_slice(&piece);
        }
        Ok(())
    };
    let read = read().map(|()| text);
    let mut plain = Vec::new();
    let plain = MultiGzDecoder::new(file).read_to_end(&mut plain).map(|_| plain);
    (read, plain)
}

fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

fn rows(from: usize, bytes: usize) -> Vec<u8> {
    (from..).flat_map(|i| format!("{i}\trow {}\n", i * i).into_bytes()).take(bytes).collect()
}

#[derive(Debug, Clone)]
enum Part {
    Ours(Vec<u8>),
    Strangers(Vec<u8>),
    Hiding(Vec<u8>, Vec<u8>),
    HidingUntold(Vec<u8>, Vec<u8>),
    Liar(Vec<u8>, u32, u32),
    Garbage(Vec<u8>),
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Part::Ours(text) => ours(text),
            Part::Strangers(text) => strangers(text),
            Part::Hiding(text, hidden) => hiding(text, hidden),
            Part::HidingUntold(text, hidden) => hiding_untold(text, hidden),
            Part::Liar(text, length, text_bytes) => saying(ours(text), *length, *text_bytes),
            Part::Garbage(bytes) => bytes.clone(),
        }
    }
}

fn part() -> impl Strategy<Value = Part> {
    let text = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            (0..9_usize, 0..200_000_usize).prop_map(|(from, bytes)| rows(from, bytes)),
        ]
    };
    let number = || prop_oneof![0..300_u32, any::<u32>(), Just(u32::MAX), Just(1 << 20), Just(28)];
    prop_oneof![
        12 => text().prop_map(Part::Ours),
        2 => text().prop_map(Part::Strangers),
        1 => (text(), text()).prop_map(|(text, hidden)| Part::Hiding(text, hidden)),
        1 => (text(), text()).prop_map(|(text, hidden)| Part::HidingUntold(text, hidden)),
        1 => (text(), number(), number()).prop_map(|(text, length, bytes)| Part::Liar(text, length, bytes)),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Part::Garbage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn the_text_or_the_error_is_what_a_plain_reader_has(
        parts in proptest::collection::vec(part(), 1..9),
        cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
        flip in proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), 0..8_u32)),
    ) {
        let mut file: Vec<u8> = parts.iter().flat_map(Part::bytes).collect();
        if let Some((at, bit)) = flip && !file.is_empty() {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len() + 1));
        }
        // What is no gzip file from its first byte is its own text.
        prop_assume!(file.starts_with(&GZIP_MAGIC));
        let (read, plain) = both(&file);
        match (read, plain) {
            (Ok(read), Ok(plain)) => prop_assert!(read == plain),
            // Plainly it may be read, or not; others would do otherwise.
            (Err(read), _) if Unlike::of(&read).is_some() => {}
            (Err(read), Err(plain)) => prop_assert_eq!(is_cut(&read), is_cut(&plain)),
            (read, plain) => prop_assert!(false, "{:?}, but plainly {:?}", read.map(|t| t.len()), plain.map(|t| t.len())),
        }
    }
}

#[test]
fn text_hidden_inside_a_member_is_not_passed_over() {
    let (read, plain) = both(&[hiding(b"seen\n", b"hidden\n"), ours(b"end\n")].concat());
    // A plain reader finds the last trailer where a member should begin.
    assert!(read.is_err() && plain.is_err());
    let (read, plain) = both(&[hiding_untold(b"seen\n", b"hidden\n"), ours(b"end\n")].concat());
    assert!(read.is_err() && plain.is_err());
    // The same bytes that are whole members to a plain reader.
    let mut file = [ours(b"seen\n"), strangers(b"hidden\n"), strangers(b"")].concat();
    let length = (file.len() as u32).to_le_bytes();
    file[16..HEADER_BYTES].copy_from_slice(&length);
    assert_eq!(
        both(&file).0.unwrap_err().to_string(),
        format!(
            "member 1, at byte 0 of the file says that it is {} bytes long, but is {}",
            file.len(),
            ours(b"seen\n").len()
        )
    );
}

#[test]
fn plain_text_is_its_own_text() {
    for text in [&b""[..], b"\x1f", b"x", &rows(0, 3 * PIECE_BYTES)] {
        let mut reader = TextReader::new(text).unwrap();
        assert!(!reader.is_gzip());
        let mut read = Vec::new();
        while let Some(piece) = reader.next_piece().unwrap() {
            read.extend_from_slice(&piece);
        }
        assert!(read == text);
    }
}

/// Gives one byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut out[..1])
    }
}

#[test]
fn a_file_that_comes_in_drops_is_the_same() {
    let file = [ours(b"one\n"), ours(b""), strangers(b"two\n"), ours(b"three\n")].concat();
    let mut reader = TextReader::new(Drops(&file)).unwrap();
    let mut read = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, b"one\ntwo\nthree\n");
}

#[test]
fn a_reader_that_fails_is_the_error() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let member = ours(b"row\n");
    for beginning in [&member[..], &member[..10], &strangers(b"row\n")[..12]] {
        let mut reader = TextReader::new(beginning.chain(Fails)).unwrap();
        let error = loop {
            match reader.next_piece() {
                Ok(piece) => assert!(piece.is_some(), "ended well"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.to_string(), "the disk is gone");
    }
}

#[test]
fn what_a_file_says_is_not_allocated() {
    // Four GiB of member, four GiB of text, and a file that ends at once.
    for (length, text_bytes) in [(u32::MAX, 5), (29, u32::MAX), (u32::MAX, u32::MAX)] {
        let file = saying(ours(b"text\n"), length, text_bytes);
        let mut reader = Members::new(Cursor::new(Vec::new()).chain(BufReader::new(file.as_slice())));
        let Next::Stranger(bytes) = read_next(&mut reader.reader) else { panic!("believed") };
        assert!(bytes.capacity() < 1000, "{}", bytes.capacity());
    }
    // A length that is allowed costs no more than that length.
    let file = saying(ours(b"text\n"), MEMBER_BYTES_MAX as u32, 5);
    let Next::Stranger(bytes) = read_next(&mut file.as_slice()) else { panic!("believed") };
    assert!(bytes.capacity() <= MEMBER_BYTES_MAX);
}

#[test]
fn millions_of_tiny_members_are_read_in_batches() {
    let one = ours(b"r");
    let file = one.repeat(200_000);
    let mut reader = TextReader::new(file.as_slice()).unwrap();
    let (mut pieces, mut bytes) = (0, 0);
    while let Some(piece) = reader.next_piece().unwrap() {
        pieces += 1;
        bytes += piece.len();
    }
    assert_eq!(bytes, 200_000);
    assert!(pieces <= file.len() / BATCH_BYTES + 2, "{pieces} pieces");
}
