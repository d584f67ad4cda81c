//! Gzip members out of any reader, one after the other and of any length, without a thread: those of strangers, and
//! whatever in a file of ours is not right, of which this says what it is. In go bytes, out come pieces of text or an
//! error.
//!
//! The file that is accepted here is the file that every validator's reader has to read to the same bytes: Go's in
//! kwild, zcat in an operator's hands, zlib in a script. They differ in what else they accept: headers with names,
//! comments and checksums, zeros or other bytes behind the last member. So a member has one of two headers, ours
//! (`gzip.rs`) or the plain ten bytes that Go and `gzip -n` write, whose time, compression hint and system mean nothing
//! to any reader; and its data are inflated by flate2's zlib-rs, which refuses what zlib refuses.

use std::{
    fmt,
    io::{self, BufRead, Read},
};

use flate2::{Decompress, FlushDecompress, Status};

use super::text::PIECE_BYTES;
use crate::snapshot::gzip::{GZIP_MAGIC, HEADER, HEADER_BYTES, PLAIN_HEADER_BYTES, TRAILER_BYTES};

const METHOD_DEFLATE: u8 = 8;
const FLAG_EXTRA: u8 = 4;
/// Every optional part that a gzip header may flag, in words.
const FLAGS: [(u8, &str); 6] = [
    (0x01, "a mark that it is text (FTEXT)"),
    (0x02, "a checksum of the header (FHCRC)"),
    (FLAG_EXTRA, "an extra field in another form than regenesis writes (FEXTRA)"),
    (0x08, "a file name (FNAME)"),
    (0x10, "a comment (FCOMMENT)"),
    (0xe0, "flags that gzip has no meaning for"),
];

/// A place in the file where a member begins, or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The number of members before it.
    pub(super) members: u64,
    /// The number of the file's bytes before it.
    pub(super) bytes: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}, at byte {} of the file", self.members + 1, self.bytes)
    }
}

/// Something in a file that gzip readers do not all read alike, although nothing may be damaged.
#[derive(Debug)]
pub(super) struct Unlike {
    place: Place,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Zeros,
    NoMember,
    Method(u8),
    Flags(u8),
    Length { said: u64, is: u64 },
}

impl Unlike {
    /// Advice on how to make a file that is accepted out of the refused one.
    pub(super) const REMEDY: &str = "write it anew, which leaves its text and state hash as they are: \
                                     gunzip -c FILE | gzip -n > NEW.gz; or unpack it and give the plain .sql file";

    /// This refusal, if it is what the error holds.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { members, bytes } = self.place;
        match &self.found {
            Found::Zeros => write!(f, "zero bytes follow member {members}, from byte {bytes} of the file on"),
            Found::NoMember => {
                write!(f, "what follows member {members}, from byte {bytes} of the file on, is no gzip member")
            }
            Found::Method(method) => write!(f, "{} is compressed by method {method}, not by deflate", self.place),
            Found::Flags(flags) => {
                let found: Vec<&str> = FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, is)| *is).collect();
                write!(f, "{} has in its header {}", self.place, found.join(" and "))
            }
            Found::Length { said, is } => {
                write!(f, "{} says that it is {said} bytes long, but is {is}", self.place)
            }
        }
    }
}

impl std::error::Error for Unlike {}

/// Reads members from their place in the file to the file's end.
pub(super) struct MemberStream<R> {
    reader: R,
    /// Where the member begins that is being read, or the next one.
    place: Place,
    /// The member that is being read; `None` between two members.
    member: Option<Member>,
    inflater: Decompress,
}

/// A member that is being read.
struct Member {
    /// The bytes that its header says it has in all; `None` for a plain header, which says nothing.
    said: Option<u64>,
    /// The bytes of it that were read so far.
    bytes: u64,
    /// The checksum of its text so far.
    crc: crc32fast::Hasher,
    /// The bytes of its text so far, modulo 2^32, as its trailer has them.
    text_bytes: u32,
}

impl<R: BufRead> MemberStream<R> {
    /// A stream whose reader stands at the beginning of a member, which is at this place of the file.
    pub(super) fn new(reader: R, place: Place) -> Self {
        MemberStream { reader, place, member: None, inflater: Decompress::new(false) }
    }

    /// As much text as there is, up to [`PIECE_BYTES`]; `None` at the file's end.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut filled = 0;
        while filled < piece.len() && (self.member.is_some() || self.begin()?) {
            filled += self.inflate(&mut piece[filled..])?;
        }
        piece.truncate(filled);
        Ok((filled > 0).then_some(piece))
    }

    /// Reads a member's header; false at the file's end, where there is no further member.
    fn begin(&mut self) -> io::Result<bool> {
        let mut header = self.read_up_to(PLAIN_HEADER_BYTES)?;
        if header.is_empty() {
            return Ok(false);
        }
        if !header.iter().zip(GZIP_MAGIC).all(|(byte, magic)| *byte == magic) {
            let zeros = header.iter().all(|byte| *byte == 0);
            return Err(self.unlike(if zeros { Found::Zeros } else { Found::NoMember }));
        }
        let &[_, _, method, flags, ..] = header.as_slice() else { return self.cut_off() };
        if method != METHOD_DEFLATE {
            return Err(self.unlike(Found::Method(method)));
        }
        if flags & !FLAG_EXTRA != 0 {
            return Err(self.unlike(Found::Flags(flags)));
        }
        let said = if flags == 0 {
            if header.len() < PLAIN_HEADER_BYTES {
                return self.cut_off();
            }
            None
        } else {
            header.extend(self.read_up_to(HEADER_BYTES - PLAIN_HEADER_BYTES)?);
            if header.iter().zip(HEADER).any(|(byte, ours)| *byte != ours) {
                return Err(self.unlike(Found::Flags(flags)));
            }
            let Some(length) = header.get(HEADER.len()..).and_then(|rest| rest.first_chunk()) else {
                return self.cut_off();
            };
            Some(u64::from(u32::from_le_bytes(*length)))
        };
        self.inflater.reset(false);
        let bytes = header.len() as u64;
        self.member = Some(Member { said, bytes, crc: crc32fast::Hasher::new(), text_bytes: 0 });
        Ok(true)
    }

    /// Inflates some of the member's text into `out` and gives its bytes; ends the member where its data end.
    fn inflate(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(member) = &mut self.member else { return Ok(0) };
        let data = match self.reader.fill_buf() {
            // Whoever wants text asks again.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(0),
            data => data?,
        };
        let is_end = data.is_empty();
        let (taken, given) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self.inflater.decompress(data, out, FlushDecompress::None);
        let taken = (self.inflater.total_in() - taken) as usize;
        let given = (self.inflater.total_out() - given) as usize;
        self.reader.consume(taken);
        member.bytes += taken as u64;
        member.crc.update(&out[..given]);
        member.text_bytes = member.text_bytes.wrapping_add(given as u32);
        match status {
            Ok(Status::StreamEnd) => self.end()?,
            Ok(_) if taken > 0 || given > 0 => {}
            Ok(_) if is_end => self.cut_off()?,
            Ok(_) => return Err(self.damaged("its data lead nowhere")),
            Err(e) => return Err(self.damaged(e.message().unwrap_or("its data are no deflate data"))),
        }
        Ok(given)
    }

    /// Reads the member's trailer and checks the text's checksum and
    /// length, and the member's length where its header says it.
    fn end(&mut self) -> io::Result<()> {
        let Some(Member { said, bytes, crc, text_bytes }) = self.member.take() else { return Ok(()) };
        let trailer = self.read_up_to(TRAILER_BYTES)?;
        let Ok(trailer) = <[u8; TRAILER_BYTES]>::try_from(trailer) else { return self.cut_off() };
        let trailer = u64::from_le_bytes(trailer);
        if trailer as u32 != crc.finalize() {
            return Err(self.damaged("its text has another checksum than its trailer"));
        }
        if (trailer >> 32) as u32 != text_bytes {
            return Err(self.damaged("its text has another length than its trailer"));
        }
        let is = bytes + TRAILER_BYTES as u64;
        if let Some(said) = said.filter(|said| *said != is) {
            return Err(self.unlike(Found::Length { said, is }));
        }
        self.place = Place { members: self.place.members + 1, bytes: self.place.bytes + is };
        Ok(())
    }

    fn read_up_to(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read = Vec::with_capacity(bytes);
        (&mut self.reader).take(bytes as u64).read_to_end(&mut read)?;
        Ok(read)
    }

    fn cut_off<T>(&self) -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends in {}", self.place)))
    }

    fn unlike(&self, found: Found) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Unlike { place: self.place, found })
    }

    fn damaged(&self, why: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::Kind,
        snapshot::{
            odd::{ours, plain},
            read::{ReadOptions, SnapshotText},
        },
    };

    /// A stored block.
    fn data(text: &[u8]) -> Vec<u8> {
        let length = text.len() as u16;
        [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), text].concat()
    }

    fn one() -> Vec<u8> {
        plain(&data(b"one\n"), b"one\n")
    }

    fn two() -> Vec<u8> {
        ours(&data(b"two\n"), b"two\n")
    }

    fn flagged(flags: u8, more: &[u8]) -> Vec<u8> {
        [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], more, &one()[10..]].concat()
    }

    fn read(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = MemberStream::new(file, Place::default());
        let mut text = Vec::new();
        while let Some(piece) = stream.next_piece()? {
            text.extend(piece);
        }
        Ok(text)
    }

    #[test]
    fn both_headers_are_read_and_what_means_nothing_may_be_anything() {
        let mut other = one();
        other[4..10].copy_from_slice(&[1, 2, 3, 4, 2, 3]);
        assert_eq!(read(&[one(), two(), plain(&data(b""), b""), other].concat()).unwrap(), b"one\ntwo\none\n");
        let mut marked = two();
        marked[9] = 3;
        assert!(Unlike::of(&read(&marked).unwrap_err()).is_some(), "ours has one form");
    }

    #[test]
    fn what_readers_do_not_read_alike_is_told_with_its_place() {
        let with = |file: Vec<u8>| [one(), file].concat();
        let name = flagged(8, b"network.sql\0");
        for (file, words) in [
            (name.clone(), "member 1, at byte 0 of the file has in its header a file name (FNAME)"),
            (with(name), "member 2, at byte 27 of the file has in its header a file name (FNAME)"),
            (with(flagged(0x18, b"a\0b\0")), "a file name (FNAME) and a comment (FCOMMENT)"),
            (with(flagged(1, b"")), "a mark that it is text (FTEXT)"),
            (with(flagged(2, b"\0\0")), "a checksum of the header (FHCRC)"),
            (with(flagged(4, b"\x02\0ab")), "an extra field in another form than regenesis writes (FEXTRA)"),
            (with(flagged(0x40, b"")), "flags that gzip has no meaning for"),
            (with(vec![0; 512]), "zero bytes follow member 1, from byte 27 of the file on"),
            (with(b"trailing".to_vec()), "what follows member 1, from byte 27 of the file on, is no gzip member"),
            (
                with(vec![0x1f, 0x8b, 7, 0]),
                "member 2, at byte 27 of the file is compressed by method 7, not by deflate",
            ),
        ] {
            let error = read(&file).unwrap_err();
            assert!(Unlike::of(&error).unwrap().to_string().contains(words), "{error}, not {words}");
        }
        for length in [0_u32, 27, 36, 38, u32::MAX] {
            let mut file = two();
            file[HEADER.len()..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
            let words = format!("member 1, at byte 0 of the file says that it is {length} bytes long, but is 37");
            assert_eq!(read(&file).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn what_is_damaged_is_told_with_its_place() {
        for at in 0..two().len() {
            let error = read(&[one(), two()[..at].to_vec()].concat());
            match at {
                0 => assert_eq!(error.unwrap(), b"one\n"),
                _ => {
                    let error = error.unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {at}");
                    assert_eq!(error.to_string(), "the file ends in member 2, at byte 27 of the file");
                }
            }
        }
        for (at, words) in [(20, "invalid"), (29, "checksum"), (35, "length")] {
            let mut file = two();
            file[at] ^= 6;
            let error = read(&file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let (place, why) = ("member 1, at byte 0 of the file: ", error.to_string());
            assert!(why.starts_with(place) && why.contains(words) && Unlike::of(&error).is_none(), "{why}");
        }
    }

    #[test]
    fn the_next_step_is_told() {
        let file = flagged(8, b"network.sql\0");
        let text = SnapshotText::gzip(file.as_slice()).unwrap();
        let error = text.read(&ReadOptions::default(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        assert!(
            error.chain().contains("file name (FNAME)")
                && error.advice().is_some_and(|advice| format!("{advice:?}").contains("gunzip -c FILE | gzip -n"))
        );
    }
}
