//! The have-journal: which chunks are on disk, written only after they are.
//!
//! A header, then records of 16 bytes, appended:
//!
//! | bytes | header | record |
//! |---|---|---|
//! | 0..4 | `RGJ1` | kind: 1 written, 2 synced, 3 closed |
//! | 4..8 | | first chunk, u32 LE; of a closed journal the stamps of the files, 8 bytes |
//! | 8..12 | | number of chunks, u32 LE |
//! | 12..16 | | CRC-32 of the manifest id and bytes 0..12 |
//! | 4..36 | manifest id | |
//!
//! *Written* chunks were verified and handed to the system, but may not have survived a power cut: they are hashed
//! again. *Synced* ones are trusted if the journal was *closed* after them and its files have not been touched since; after a kill,
//! a crash or a copy to another disk they are hashed, too: the journal does not know what became of the files. Reading stops at
//! the first record that does not check: what follows a torn write means nothing.

use std::ops::Range;

use crate::{base::Blake3Hash, manifest::ChunkSet};

const MAGIC: [u8; 4] = *b"RGJ1";
/// Bytes of the header.
pub(super) const HEADER_SIZE_BYTES: usize = 36;
const RECORD_SIZE_BYTES: usize = 16;

/// How sure a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Handed to the system.
    Written = 1,
    /// The chunk is on the disk, synced.
    Synced = 2,
}

const CLOSED: u8 = 3;

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries {
    /// Chunks that were written and are to be hashed again.
    pub(super) written: ChunkSet,
    /// Chunks that are trusted where the files are as they were when the journal was closed.
    pub(super) synced: ChunkSet,
    /// Stamps of the files when it was closed; nothing was written after that.
    pub(super) closed: Option<[u8; 8]>,
    /// Bytes that were understood: the place to go on writing.
    pub(super) valid_bytes: usize,
}

/// A new journal's first bytes.
pub(super) fn header(manifest_id: &Blake3Hash) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_SIZE_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(manifest_id.as_bytes());
    out
}

/// One record.
pub(super) fn record(manifest_id: &Blake3Hash, kind: Kind, chunks: &Range<u32>) -> [u8; RECORD_SIZE_BYTES] {
    let mut out = [0; RECORD_SIZE_BYTES];
    out[0] = kind as u8;
    out[4..8].copy_from_slice(&chunks.start.to_le_bytes());
    out[8..12].copy_from_slice(&(chunks.end - chunks.start).to_le_bytes());
    let crc = checksum(manifest_id, &out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The last record of a node that ended in order.
pub(super) fn closed(manifest_id: &Blake3Hash, stamps: [u8; 8]) -> [u8; RECORD_SIZE_BYTES] {
    let mut out = [0; RECORD_SIZE_BYTES];
    out[0] = CLOSED;
    out[4..12].copy_from_slice(&stamps);
    let crc = checksum(manifest_id, &out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn checksum(manifest_id: &Blake3Hash, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(manifest_id.as_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Reads a journal of `manifest_id` over `count` chunks; `None` if it belongs to something else.
pub(super) fn read(bytes: &[u8], manifest_id: &Blake3Hash, count: u32) -> Option<Entries> {
    if !bytes.starts_with(&header(manifest_id)) {
        return None;
    }
    let mut entries = Entries {
        written: ChunkSet::empty(count),
        synced: ChunkSet::empty(count),
        closed: None,
        valid_bytes: HEADER_SIZE_BYTES,
    };
    for record in bytes[HEADER_SIZE_BYTES..].chunks_exact(RECORD_SIZE_BYTES) {
        let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let (first, n) = (word(4), word(8));
        if word(12) != checksum(manifest_id, &record[..12]) {
            break;
        }
        entries.closed = None;
        if record[0] == CLOSED {
            let mut stamps = [0; 8];
            stamps.copy_from_slice(&record[4..12]);
            entries.closed = Some(stamps);
            entries.valid_bytes += RECORD_SIZE_BYTES;
            continue;
        }
        let Some(end) = first.checked_add(n).filter(|end| *end <= count) else { break };
        match record[0] {
            1 => entries.written.insert_range(first..end),
            2 => entries.synced.insert_range(first..end),
            _ => break,
        }
        entries.valid_bytes += RECORD_SIZE_BYTES;
    }
    for chunk in entries.synced.iter().collect::<Vec<_>>() {
        entries.written.remove(chunk);
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Blake3Hash = Blake3Hash::from_bytes([3; 32]);

    fn journal(records: &[(Kind, Range<u32>)]) -> Vec<u8> {
        let mut bytes = header(&ID);
        for (kind, range) in records {
            bytes.extend_from_slice(&record(&ID, *kind, range));
        }
        bytes
    }

    #[test]
    fn synced_chunks_are_no_longer_merely_written() {
        let bytes = journal(&[(Kind::Written, 0..5), (Kind::Synced, 0..3), (Kind::Written, 9..10)]);
        let entries = read(&bytes, &ID, 10).unwrap();
        assert_eq!(entries.synced.ranges(), [0..3]);
        assert_eq!(entries.written.ranges(), [3..5, 9..10]);
        assert_eq!(entries.valid_bytes, bytes.len());
    }

    #[test]
    fn a_journal_is_closed_only_by_its_last_record() {
        let mut bytes = journal(&[(Kind::Synced, 0..3)]);
        assert_eq!(read(&bytes, &ID, 10).unwrap().closed, None);
        bytes.extend(closed(&ID, [9; 8]));
        let entries = read(&bytes, &ID, 10).unwrap();
        assert_eq!((entries.closed, entries.synced.ranges()), (Some([9; 8]), vec![0..3]));
        bytes.extend(record(&ID, Kind::Written, &(3..4)));
        assert_eq!(read(&bytes, &ID, 10).unwrap().closed, None);
    }

    #[test]
    fn a_journal_of_another_manifest_says_nothing() {
        let bytes = journal(&[(Kind::Synced, 0..3)]);
        assert_eq!(read(&bytes, &Blake3Hash::from_bytes([4; 32]), 10), None);
        assert_eq!(read(b"", &ID, 10), None);
    }

    #[test]
    fn a_range_beyond_the_artifact_ends_the_reading() {
        let bytes = journal(&[(Kind::Synced, 0..3), (Kind::Synced, 8..11), (Kind::Synced, 5..6)]);
        assert_eq!(read(&bytes, &ID, 10).unwrap().synced.ranges(), [0..3]);
    }

    proptest! {
        /// A torn or damaged journal never claims a chunk that an intact prefix does not.
        #[test]
        fn damage_only_loses(cut in 0usize..200, flip in 0usize..200, bit in 0u8..8) {
            let whole = journal(&[(Kind::Written, 0..4), (Kind::Synced, 0..4), (Kind::Synced, 6..8), (Kind::Written, 8..9)]);
            let mut bytes = whole[..cut.min(whole.len())].to_vec();
            if flip < bytes.len() { bytes[flip] ^= 1 << bit; }
            if let Some(entries) = read(&bytes, &ID, 10) {
                let honest = read(&whole, &ID, 10).unwrap();
                for c in entries.synced.iter() { prop_assert!(honest.synced.contains(c)); }
            }
        }
    }
}
