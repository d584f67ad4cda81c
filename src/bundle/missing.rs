//! The way back over an air gap: which chunks a directory lacks, so small that it fits on a note, into a QR code, or into a telephone call.
//!
//! ```text
//! offset  bytes  what
//! 0       1      the number of the format, 1
//! 1       8      the first bytes of the manifest's id
//! 9       1–3    how many chunks the manifest has, as a LEB128 number
//! then           the set, as `code` writes it, filled up with zero bits to whole bytes
//! last 4  4      the first bytes of BLAKE3 over "regenesis/missing/v1\0" and everything before them
//! ```
//!
//! Nothing hangs on who wrote it: whoever answers it exports chunks that the manifest signs, and whoever makes a list up gets some more or some
//! fewer of them. So eight bytes of the id are enough: they tell one migration from another.

mod code;
mod letters;
mod lines;
mod pixels;
mod qr;

pub use letters::Slip;
pub use lines::{LinesError, from_lines, to_lines};
pub use pixels::as_png;
pub use qr::{Fit, Picture, QrError, pictures, svg};

use crate::{
    base::{Blake3Hash, limits},
    manifest::ChunkSet,
};

const FORMAT: u8 = 1;
const DOMAIN: &[u8] = b"regenesis/missing/v1\0";
const ID_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are no list of what is missing from this migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MissingError {
    /// Fewer or more bytes than any list has.
    #[error("a list of what is missing has {min} to {max} bytes, and this has {0}", min = SIZE_BYTES_MIN, max = limits::MISSING_SIZE_BYTES_MAX)]
    Size(usize),
    /// Made by a newer program, or no list at all.
    #[error(
        "its format has the number {0}, and this program reads number {FORMAT}: it was made by a newer regenesis, or is something else"
    )]
    Format(u8),
    /// Bytes were changed or cut.
    #[error("it was damaged: its checksum does not fit")]
    Checksum,
    /// It belongs to another manifest.
    #[error("it was made for another migration: its manifest's id begins with {}", hex::encode(.0))]
    OtherManifest([u8; ID_BYTES]),
    /// It is of a manifest with another number of chunks.
    #[error("it says that there are {got} chunks, and the manifest has {expected}")]
    ChunkCount {
        /// What it says.
        got: u64,
        /// What the manifest has.
        expected: u32,
    },
    /// The set itself cannot be, or would be written otherwise.
    #[error("its set of chunks is not as this program writes it")]
    Set,
}

/// Format, id, count, the byte that says which coding, and the checksum.
const SIZE_BYTES_MIN: usize = 1 + ID_BYTES + 1 + 1 + CHECKSUM_BYTES;

/// The list that says that `lacking` is not there of the manifest.
pub fn encode(manifest_id: &Blake3Hash, lacking: &ChunkSet) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&manifest_id.as_bytes()[..ID_BYTES]);
    push_number(&mut bytes, lacking.len());
    code::encode(lacking, &mut bytes);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Reads a list that must be of this manifest with so many chunks; only bytes that [`encode`] writes are taken.
///
/// # Errors
/// What is wrong with it. No more memory is taken than a set of `chunk_count` takes.
pub fn decode(bytes: &[u8], manifest_id: &Blake3Hash, chunk_count: u32) -> Result<ChunkSet, MissingError> {
    if !(SIZE_BYTES_MIN..=limits::MISSING_SIZE_BYTES_MAX).contains(&bytes.len()) {
        return Err(MissingError::Size(bytes.len()));
    }
    if bytes[0] != FORMAT {
        return Err(MissingError::Format(bytes[0]));
    }
    let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if checksum(content) != *sum {
        return Err(MissingError::Checksum);
    }
    let (id, rest) = content[1..].split_at(ID_BYTES);
    if id != &manifest_id.as_bytes()[..ID_BYTES] {
        return Err(MissingError::OtherManifest(id.try_into().map_err(|_| MissingError::Set)?));
    }
    let (got, rest) = take_number(rest).ok_or(MissingError::Set)?;
    if got != u64::from(chunk_count) {
        return Err(MissingError::ChunkCount { got, expected: chunk_count });
    }
    let lacking = code::decode(rest, chunk_count).ok_or(MissingError::Set)?;
    // One way to say each set: what is typed off a screen is what was on it.
    if encode(manifest_id, &lacking) != bytes {
        return Err(MissingError::Set);
    }
    Ok(lacking)
}

/// Whether a file begins as a list does, rather than as text that was typed.
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < b'\t')
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::Hasher::new().update(DOMAIN).update(content).finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}

fn push_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    const BYTES_MAX: usize = 5;
    let end = bytes.iter().take(BYTES_MAX).position(|byte| byte & 0x80 == 0)?;
    let number = bytes[..=end].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
    Some((number, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests;
