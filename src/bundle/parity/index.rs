//! What a volume with parity says of itself and of its set.

use std::ops::Range;

use super::{Shape, ShapeError, Stripes, StripesError, wire};
use crate::{
    base::{Blake3Hash, limits},
    manifest::DecodeError,
};

/// What `parity.bin` of a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityIndex {
    /// Whose chunks.
    pub manifest_id: Blake3Hash,
    /// Which export: all its volumes have the same.
    pub set: [u8; 8],
    /// The chunks of each data volume, in the order in which it holds them.
    pub data: Vec<Vec<Range<u32>>>,
    /// How many volumes hold parity.
    pub parity_count: usize,
    /// Which of them this one is, counted from 0.
    pub parity_number: usize,
    /// The id of this volume's shard of each stripe.
    pub shard_ids: Vec<Blake3Hash>,
}

/// Why an index of parity cannot be one of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParityIndexError {
    /// It names another manifest.
    #[error("it belongs to another migration: its manifest is {0}")]
    OtherManifest(Blake3Hash),
    /// Its numbers of volumes are none that parity is made of.
    #[error("its index cannot be: {0}")]
    Shape(#[from] ShapeError),
    /// Its volumes are no set of this manifest.
    #[error("its index cannot be: {0}")]
    Stripes(#[from] StripesError),
    /// It says that it is a volume of parity that there is not.
    #[error("its index says that it is parity {number} of {count}, counted from 0")]
    Number {
        /// Which one it says that it is.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// It has not one id for each stripe.
    #[error("its index has ids of {got} shards, and its volumes make {expected} stripes")]
    ShardCount {
        /// How many ids it has.
        got: usize,
        /// How many stripes there are.
        expected: u32,
    },
}

impl ParityIndex {
    /// Reads `parity.bin`, strictly.
    ///
    /// # Errors
    /// When the bytes are damaged, or are not what this program writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::PARITY_INDEX_SIZE_BYTES_MAX {
            return Err(DecodeError::TooLarge { size: bytes.len(), max: limits::PARITY_INDEX_SIZE_BYTES_MAX });
        }
        wire::decode(bytes)
    }

    /// The bytes of `parity.bin`.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Whether it can be what it says, by a manifest of `chunk_count` chunks; gives the set's shape and stripes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, manifest_id: &Blake3Hash, chunk_count: u32) -> Result<(Shape, Stripes), ParityIndexError> {
        if self.manifest_id != *manifest_id {
            return Err(ParityIndexError::OtherManifest(self.manifest_id));
        }
        let shape = Shape::new(self.data.len(), self.parity_count)?;
        let stripes = Stripes::new(&self.data, chunk_count)?;
        if self.parity_number >= self.parity_count {
            return Err(ParityIndexError::Number { number: self.parity_number, count: self.parity_count });
        }
        if self.shard_ids.len() != stripes.count() as usize {
            return Err(ParityIndexError::ShardCount { got: self.shard_ids.len(), expected: stripes.count() });
        }
        Ok((shape, stripes))
    }

    /// Whether both are of one set, and say the same of it.
    pub fn is_of_one_set(&self, other: &ParityIndex) -> bool {
        let of_set = |index: &ParityIndex| (index.manifest_id, index.set, index.parity_count);
        of_set(self) == of_set(other) && self.data == other.data
    }
}

/// Where the shards of a parity volume lie: one after the other, nothing between them, in files of a bounded size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFiles {
    /// For each file its first stripe, and its size in bytes.
    files: Vec<(u32, u64)>,
    /// Where each stripe's shard begins in its file.
    offsets: Vec<u64>,
}

impl ShardFiles {
    /// The files of a parity volume of this set, none above `max` bytes, which is more than a shard has.
    pub fn new(stripes: &Stripes, chunk_len: &dyn Fn(u32) -> usize, max: u64) -> Self {
        let mut files: Vec<(u32, u64)> = Vec::new();
        let mut offsets = Vec::with_capacity(stripes.count() as usize);
        for stripe in 0..stripes.count() {
            let len = stripes.shard_len(stripe, chunk_len) as u64;
            match files.last_mut().filter(|(_, size)| size + len <= max) {
                Some((_, size)) => {
                    offsets.push(*size);
                    *size += len;
                }
                None => {
                    files.push((stripe, len));
                    offsets.push(0);
                }
            }
        }
        ShardFiles { files, offsets }
    }

    /// The size of each file in bytes.
    pub fn sizes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.files.iter().map(|(_, size)| *size)
    }

    /// The stripes whose shards lie in a file.
    pub fn stripes(&self, file: usize) -> std::ops::Range<u32> {
        let all = self.offsets.len() as u32;
        let first = |file: usize| self.files.get(file).map_or(all, |(first, _)| *first);
        first(file)..first(file + 1)
    }

    /// The length of a stripe's shard.
    pub fn shard_bytes(&self, stripe: u32) -> u64 {
        let Some((file, offset)) = self.place(stripe) else { return 0 };
        let end = self.place(stripe + 1).filter(|(next, _)| *next == file).map(|(_, offset)| offset);
        end.unwrap_or(self.files[file].1) - offset
    }

    /// The file that holds a stripe's shard, and where it begins there.
    pub fn place(&self, stripe: u32) -> Option<(usize, u64)> {
        let offset = *self.offsets.get(stripe as usize)?;
        let file = self.files.partition_point(|(first, _)| *first <= stripe).checked_sub(1)?;
        Some((file, offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MANIFEST: Blake3Hash = Blake3Hash::from_bytes([7; 32]);

    fn index() -> ParityIndex {
        ParityIndex {
            manifest_id: MANIFEST,
            set: [3; 8],
            data: vec![vec![0..4, 6..9], vec![4..6, 9..12]],
            parity_count: 2,
            parity_number: 1,
            shard_ids: (0..7).map(|n| Blake3Hash::from_bytes([n; 32])).collect(),
        }
    }

    #[test]
    fn it_says_again_what_it_said() {
        let bytes = index().to_bytes();
        let again = ParityIndex::decode(&bytes).unwrap();
        assert_eq!(again, index());
        let (shape, stripes) = again.check(&MANIFEST, 12).unwrap();
        assert_eq!((shape.data(), shape.parity(), stripes.count()), (2, 2, 7));
    }

    #[test]
    fn bit_rot_anywhere_is_found() {
        let bytes = index().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut rotten = bytes.clone();
                rotten[at] ^= 1 << bit;
                assert!(ParityIndex::decode(&rotten).is_err(), "bit {bit} of byte {at}");
            }
            assert!(ParityIndex::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let huge = vec![0; limits::PARITY_INDEX_SIZE_BYTES_MAX + 1];
        assert!(matches!(ParityIndex::decode(&huge), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn one_that_lies_is_refused_by_what_it_lies_about() {
        let refused = |change: &dyn Fn(&mut ParityIndex)| {
            let mut index = index();
            change(&mut index);
            ParityIndex::decode(&index.to_bytes()).unwrap().check(&MANIFEST, 12).unwrap_err()
        };
        let other = Blake3Hash::from_bytes([8; 32]);
        assert_eq!(refused(&|i| i.manifest_id = other), ParityIndexError::OtherManifest(other));
        assert!(matches!(refused(&|i| i.parity_count = 0), ParityIndexError::Shape(ShapeError::None { .. })));
        assert!(matches!(refused(&|i| i.parity_count = 249), ParityIndexError::Shape(ShapeError::TooMany { .. })));
        assert!(matches!(refused(&|i| i.parity_count = u32::MAX as usize), ParityIndexError::Shape(_)));
        assert!(matches!(refused(&|i| i.data.clear()), ParityIndexError::Shape(ShapeError::None { .. })));
        assert!(matches!(refused(&|i| i.data[1] = vec![0..1]), ParityIndexError::Stripes(StripesError::Twice { .. })));
        assert!(matches!(
            refused(&|i| i.data[1] = vec![12..13]),
            ParityIndexError::Stripes(StripesError::Range { .. })
        ));
        assert_eq!(refused(&|i| i.parity_number = 2), ParityIndexError::Number { number: 2, count: 2 });
        let too_few = |i: &mut ParityIndex| i.shard_ids.truncate(6);
        assert_eq!(refused(&too_few), ParityIndexError::ShardCount { got: 6, expected: 7 });
        let too_many = |i: &mut ParityIndex| i.shard_ids.push(MANIFEST);
        assert_eq!(refused(&too_many), ParityIndexError::ShardCount { got: 8, expected: 7 });
    }

    #[test]
    fn volumes_of_one_set_agree_in_all_but_their_number_and_shards() {
        let changed = |change: &dyn Fn(&mut ParityIndex)| {
            let mut index = index();
            change(&mut index);
            index
        };
        let sister = changed(&|i| (i.parity_number, i.shard_ids) = (0, Vec::new()));
        assert!(sister.is_of_one_set(&index()));
        for other in [
            changed(&|i| i.set = [4; 8]),
            changed(&|i| i.manifest_id = Blake3Hash::from_bytes([8; 32])),
            changed(&|i| i.parity_count = 3),
            changed(&|i| i.data.swap(0, 1)),
        ] {
            assert!(!other.is_of_one_set(&index()), "{other:?}");
        }
    }

    #[test]
    fn the_largest_index_can_be_read() {
        // One data volume with every chunk that there can be, and as many ranges as a set may have.
        let count = limits::CHUNK_COUNT_MAX * 2;
        let step = count / limits::SET_RANGES_MAX as u32;
        let ranges = (0..limits::SET_RANGES_MAX as u32).map(|n| n * step..(n + 1) * step).collect();
        let shard_ids = vec![MANIFEST; count as usize];
        let index = ParityIndex { data: vec![ranges], shard_ids, ..index() };
        let bytes = index.to_bytes();
        assert!(bytes.len() <= limits::PARITY_INDEX_SIZE_BYTES_MAX, "{} bytes", bytes.len());
        ParityIndex::decode(&bytes).unwrap().check(&MANIFEST, count).unwrap();
    }

    proptest! {
        #[test]
        fn shards_lie_one_after_the_other(lens in proptest::collection::vec(1..400_usize, 1..60), max in 448..3000_u64) {
            let count = lens.len() as u32;
            let half = count.div_ceil(2);
            let halves = [vec![0..half], if half < count { vec![half..count] } else { Vec::new() }];
            let stripes = Stripes::new(&halves, count).unwrap();
            let len = |chunk: u32| lens[chunk as usize];
            let files = ShardFiles::new(&stripes, &len, max);
            let mut ends = vec![0; files.sizes().len()];
            let mut before = 0;
            for stripe in 0..stripes.count() {
                let (file, offset) = files.place(stripe).unwrap();
                prop_assert!(file >= before, "files follow each other");
                before = file;
                prop_assert_eq!(offset, ends[file]);
                ends[file] += stripes.shard_len(stripe, &len) as u64;
            }
            prop_assert_eq!(&ends, &files.sizes().collect::<Vec<_>>());
            prop_assert!(ends.iter().all(|size| (1..=max).contains(size)));
            prop_assert_eq!(files.place(stripes.count()), None);
        }
    }
}
