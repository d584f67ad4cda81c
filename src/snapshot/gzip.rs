//! The file's form: independent gzip members, so that they can be made and read in parallel and are still one standard
//! `.gz` for zcat, Go and kwild.
//!
//! | bytes | what |
//! |---|---|
//! | 10 | gzip header: deflate, FEXTRA, no time, OS 255 |
//! | 2 | length of the extra field: 8 |
//! | 4 | subfield `KS`, its length 4 |
//! | 4 | length of the whole member, little-endian |
//! | … | deflate data |
//! | 8 | CRC-32 and length of the block, little-endian |

use libdeflater::{CompressionLvl, Compressor};

use super::literals::LiteralCode;
use crate::base::{Error, Result};

/// Bytes of text that are compressed as one block; no member of ours holds more.
pub(crate) const BLOCK_BYTES: usize = 512 << 10;
/// Bytes of text in one member by ISA-L, which makes one deflate block of so much as a rule. ISA-L can read such a
/// member again as strictly as others do (`inflate.rs`); longer members have several blocks, and are no smaller.
#[cfg(feature = "isal")]
const ISAL_MEMBER_TEXT_BYTES: usize = 128 << 10;
/// Bytes from the middle of a member's text that are compressed both ways, to find which way suits it: few, which tell most
/// texts from noise, and then as many as deflate can look back.
const SAMPLES_BYTES: [usize; 2] = [4 << 10, 32 << 10];
/// The part of a sample's bytes by which literals may take more: those of a whole member take less, as what is equal by
/// chance lies farther back there and costs more to point at.
const NOISE_GRACE: usize = 64;
/// The two bytes that every gzip file begins with.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes of the header of a member that is not ours: the plain gzip header, without optional fields.
pub(super) const PLAIN_HEADER_BYTES: usize = 10;
/// Bytes of the header of a member of ours, up to its deflate data.
pub(super) const HEADER_BYTES: usize = 20;
/// Bytes of a member's trailer, behind its deflate data: CRC-32 and length of its text.
pub(super) const TRAILER_BYTES: usize = 8;
/// The bytes that every member of ours begins with; its length follows.
pub(super) const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'K', b'S', 4, 0];

/// The bytes that a member of ours says it takes; `None` where these bytes do not begin such a member.
pub(super) fn member_length(header: &[u8]) -> Option<usize> {
    let (form, length) = header.split_at_checked(HEADER.len())?;
    let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
    (form == HEADER && length >= HEADER_BYTES + TRAILER_BYTES).then_some(length)
}

/// How much work goes into making a file small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Fast: by ISA-L where it is built in, else libdeflate's level 1, and noise in few digits as literals alone; at most a
    /// tenth larger than gzip's default.
    #[default]
    Fast,
    /// Slower: libdeflate's level 6; smaller than gzip's default.
    Small,
}

/// The library that compresses.
enum Backend {
    Libdeflate(Compressor),
    #[cfg(feature = "isal")]
    Isal,
}

impl Backend {
    fn new(compression: Compression) -> Self {
        match compression {
            #[cfg(feature = "isal")]
            Compression::Fast => Backend::Isal,
            #[cfg(not(feature = "isal"))]
            Compression::Fast => Self::libdeflate(1),
            Compression::Small => Self::libdeflate(6),
        }
    }

    fn libdeflate(level: i32) -> Self {
        Backend::Libdeflate(Compressor::new(CompressionLvl::new(level).expect("libdeflate has levels 1 to 12")))
    }

    /// Bytes that the deflate data of a block may take at most.
    fn bound(&mut self, block: &[u8]) -> usize {
        match self {
            Backend::Libdeflate(compressor) => compressor.deflate_compress_bound(block.len()),
            // What cannot be compressed is stored, in pieces of 64 KiB with five bytes each.
            #[cfg(feature = "isal")]
            Backend::Isal => block.len() + block.len() / 1024 + 64,
        }
    }

    /// Writes the block as raw deflate data at the beginning of
    /// `out` and gives its bytes; `None` where it does not fit.
    fn deflate(&mut self, block: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Backend::Libdeflate(compressor) => compressor.deflate_compress(block, out).ok(),
            // Level 3 saves two percent more and takes nearly twice as long.
            #[cfg(feature = "isal")]
            Backend::Isal => isal::compress_into(block, out, isal::CompressionLevel::One, isal::Codec::Deflate).ok(),
        }
    }
}

/// Turns blocks of text into gzip members; each thread has one of its own.
pub(crate) struct MemberWriter {
    backend: Backend,
    /// Whether noise is to be found here; libdeflate's level 6 finds it itself.
    finds_noise: bool,
}

impl MemberWriter {
    pub(crate) fn new(compression: Compression) -> Self {
        MemberWriter { backend: Backend::new(compression), finds_noise: compression == Compression::Fast }
    }

    /// Bytes of text that go into one member.
    fn member_text_bytes(&self) -> usize {
        match self.backend {
            Backend::Libdeflate(_) => BLOCK_BYTES,
            #[cfg(feature = "isal")]
            Backend::Isal => ISAL_MEMBER_TEXT_BYTES,
        }
    }

    /// One block as one or several members, of the length that can be read fastest.
    pub(crate) fn members(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        let (first, rest) = block.split_at(block.len().min(self.member_text_bytes()));
        let mut members = self.member(first)?;
        for text in rest.chunks(self.member_text_bytes()) {
            members.extend(self.member(text)?);
        }
        Ok(members)
    }

    /// One block as one member; an error where it is too long for a gzip member (4 GiB).
    pub(crate) fn member(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        let too_large = || Error::failed("a block is too large for a gzip member");
        let length_of_block = u32::try_from(block.len()).map_err(|_| too_large())?;
        let bound = self.backend.bound(block);
        let mut out = vec![0; HEADER_BYTES + bound + TRAILER_BYTES];
        out[..16].copy_from_slice(&HEADER);
        let place = &mut out[HEADER_BYTES..HEADER_BYTES + bound];
        let literals = if self.finds_noise && self.is_noise(block, place) {
            LiteralCode::of(block).write(block, place)
        } else {
            None
        };
        let n = literals
            .or_else(|| self.backend.deflate(block, place))
            .ok_or_else(|| Error::failed("cannot compress a block"))?;
        out.truncate(HEADER_BYTES + n);
        out.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
        out.extend_from_slice(&length_of_block.to_le_bytes());
        let length = u32::try_from(out.len()).map_err(|_| too_large())?;
        out[16..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(out)
    }

    /// Whether samples of the text take hardly more room as literals
    /// alone, which are faster to write and to read; `out` is overwritten.
    fn is_noise(&mut self, text: &[u8], out: &mut [u8]) -> bool {
        SAMPLES_BYTES.into_iter().all(|bytes| {
            let from = text.len().saturating_sub(bytes) / 2;
            // A text that is shorter than a sample is too short to gain anything.
            let Some(sample) = text.get(from..from + bytes) else { return false };
            let repeating = self.backend.deflate(sample, out);
            repeating.is_none_or(|repeating| LiteralCode::of(sample).bytes() <= repeating + repeating / NOISE_GRACE)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, process::Command};

    use proptest::prelude::*;

    use super::*;

    /// Every back end that is built in.
    fn writers() -> Vec<MemberWriter> {
        let of_choice = [Compression::Fast, Compression::Small].map(MemberWriter::new);
        of_choice
            .into_iter()
            .chain([true, false].map(|finds_noise| MemberWriter { backend: Backend::libdeflate(1), finds_noise }))
            .collect()
    }

    /// Bytes in which no compressor finds anything.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    /// Rows of a hash and a signature each, as COPY writes them.
    fn hashes(bytes: usize) -> Vec<u8> {
        let noise = noise(bytes);
        let rows = noise.chunks(96).enumerate().flat_map(|(i, noise)| {
            let (hash, signature) = noise.split_at(noise.len().min(32));
            format!("{i}\t\\\\x{}\t\\\\x{}\n", hex::encode(hash), hex::encode(signature)).into_bytes()
        });
        rows.take(bytes).collect()
    }

    fn rows(bytes: usize) -> Vec<u8> {
        let rows = (0..).flat_map(|i: u64| format!("{i}\t{:x}\ta row of text\n", i.wrapping_mul(i)).into_bytes());
        rows.take(bytes).collect()
    }

    fn odd_blocks() -> Vec<Vec<u8>> {
        vec![
            Vec::new(),
            b"x".to_vec(),
            noise(BLOCK_BYTES),
            rows(BLOCK_BYTES),
            Vec::new(),
            noise(65_535),
            noise(65_536),
            vec![0; BLOCK_BYTES],
            rows(BLOCK_BYTES + 1),
            hashes(BLOCK_BYTES),
            hashes(7),
            b"\n".to_vec(),
        ]
    }

    fn unzip(file: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn members_one_after_the_other_are_one_gzip_file(
            blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 1..5),
        ) {
            for mut writer in writers() {
                let mut file = Vec::new();
                let mut starts = Vec::new();
                for block in &blocks {
                    starts.push(file.len());
                    file.extend(writer.member(block).unwrap());
                }
                prop_assert_eq!(unzip(&file), blocks.concat());
                // The lengths in the extra fields lead from member to member.
                let mut at = 0;
                for start in starts {
                    prop_assert_eq!(at, start);
                    at += u32::from_le_bytes(file[start + 16..start + 20].try_into().unwrap()) as usize;
                }
                prop_assert_eq!(at, file.len());
            }
        }
    }

    #[test]
    fn the_systems_programs_read_odd_blocks_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd.gz");
        for mut writer in writers() {
            let members = odd_blocks().iter().flat_map(|block| writer.member(block).unwrap()).collect::<Vec<_>>();
            let text = odd_blocks().concat();
            assert!(unzip(&members) == text);
            fs::write(&path, &members).unwrap();
            let python = "import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())";
            for command in [&["zcat"][..], &["python3", "-c", python]] {
                let output = Command::new(command[0]).args(&command[1..]).arg(&path).output().unwrap();
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
                assert!(output.stdout == text, "{command:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_compressed_hardly_grows() {
        for mut writer in writers() {
            for bytes in [0, 1, 65_535, 65_536, BLOCK_BYTES] {
                let member = writer.member(&noise(bytes)).unwrap();
                assert!(member.len() <= bytes + bytes / 1024 + 64, "{bytes} bytes became {}", member.len());
            }
        }
    }

    #[test]
    fn a_block_becomes_members_that_are_read_again() {
        for mut writer in writers() {
            for bytes in [0, 1, 128 << 10, (128 << 10) + 1, BLOCK_BYTES] {
                let members = writer.members(&rows(bytes)).unwrap();
                assert!(unzip(&members) == rows(bytes));
                assert!(member_length(&members).is_some_and(|length| length <= members.len()));
            }
        }
    }

    #[cfg(feature = "isal")]
    #[test]
    fn a_member_is_one_deflate_block_where_isal_reads_it_again() {
        for text in [rows(BLOCK_BYTES), hashes(BLOCK_BYTES)] {
            let members = MemberWriter::new(Compression::Fast).members(&text).unwrap();
            let mut rest = members.as_slice();
            while let Some(length) = member_length(rest) {
                // The bit of a last block, and the two of a dynamic one.
                assert_eq!(rest[HEADER_BYTES] & 7, 0b101);
                rest = &rest[length..];
            }
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn noise_in_few_digits_takes_less_than_by_the_library_alone() {
        let text = hashes(BLOCK_BYTES);
        let mut fast = MemberWriter::new(Compression::Fast);
        let with_noise_found = fast.members(&text).unwrap().len();
        fast.finds_noise = false;
        let by_the_library = fast.members(&text).unwrap().len();
        assert!(with_noise_found < by_the_library, "{with_noise_found} and {by_the_library}");
    }

    #[test]
    fn what_repeats_itself_is_left_to_the_library() {
        for text in [rows(BLOCK_BYTES), vec![b'0'; BLOCK_BYTES], hashes(8 << 10).repeat(BLOCK_BYTES / (8 << 10))] {
            let mut fast = MemberWriter::new(Compression::Fast);
            let members = fast.members(&text).unwrap();
            fast.finds_noise = false;
            assert!(members == fast.members(&text).unwrap());
        }
    }

    #[test]
    fn text_gets_smaller() {
        for mut writer in writers() {
            let text = rows(BLOCK_BYTES);
            assert!(writer.member(&text).unwrap().len() * 2 < text.len());
        }
    }
}
