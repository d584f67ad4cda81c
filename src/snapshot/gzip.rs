//! The file's form: independent gzip members of one block each, so that they can be made and read in parallel and are
//! still one standard `.gz` for zcat, Go and kwild.
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

use crate::base::{Error, Result};

/// Text in one member.
pub(crate) const BLOCK_BYTES: usize = 512 << 10;
const HEADER_BYTES: usize = 20;
const TRAILER_BYTES: usize = 8;
const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'K', b'S', 4, 0];

/// How much work goes into a small file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Fast; about five percent larger than gzip's default.
    #[default]
    Fast,
    /// Slower; smaller than gzip's default.
    Small,
}

impl Compression {
    fn level(self) -> i32 {
        match self {
            Compression::Fast => 1,
            Compression::Small => 6,
        }
    }
}

/// Makes members; one for each thread.
pub(crate) struct MemberWriter(Compressor);

impl MemberWriter {
    pub(crate) fn new(compression: Compression) -> Self {
        let level = CompressionLvl::new(compression.level()).expect("levels 1 and 6 exist");
        MemberWriter(Compressor::new(level))
    }

    /// One block as one member.
    pub(crate) fn member(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        let too_large = || Error::failed("a block is too large for a gzip member");
        let bound = self.0.deflate_compress_bound(block.len());
        let mut out = vec![0; HEADER_BYTES + bound + TRAILER_BYTES];
        out[..16].copy_from_slice(&HEADER);
        let n = self
            .0
            .deflate_compress(block, &mut out[HEADER_BYTES..HEADER_BYTES + bound])
            .map_err(|_| Error::failed("cannot compress a block"))?;
        out.truncate(HEADER_BYTES + n);
        out.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
        out.extend_from_slice(&u32::try_from(block.len()).map_err(|_| too_large())?.to_le_bytes());
        let length = u32::try_from(out.len()).map_err(|_| too_large())?;
        out[16..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    proptest::proptest! {
        #[test]
        fn members_one_after_the_other_are_one_gzip_file(
            blocks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..3000), 1..5),
            small in proptest::bool::ANY,
        ) {
            let compression = if small { Compression::Small } else { Compression::Fast };
            let mut writer = MemberWriter::new(compression);
            let mut file = Vec::new();
            let mut starts = Vec::new();
            for block in &blocks {
                starts.push(file.len());
                file.extend(writer.member(block).unwrap());
            }
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(file.as_slice()).read_to_end(&mut text).unwrap();
            proptest::prop_assert_eq!(text, blocks.concat());
            // The lengths in the extra fields lead from member to member.
            let mut at = 0;
            for start in starts {
                proptest::prop_assert_eq!(at, start);
                at += u32::from_le_bytes(file[start + 16..start + 20].try_into().unwrap()) as usize;
            }
            proptest::prop_assert_eq!(at, file.len());
        }
    }
}
