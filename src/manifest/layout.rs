//! All chunk arithmetic: how a size is cut into chunks, where each one lies and how long it is.

use std::fmt;

use crate::base::{limits, text};

/// An index that exists in the layout it was made by. Only [`Layout`] makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    /// The chunk's number, counted from 0.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkIndex({})", self.0)
    }
}

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A size and chunk size that are no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The chunk size in bytes is no power of two, or outside the bounds.
    #[error(
        "the chunk size is {0} bytes, not a power of two from {min} to {max}",
        min = text::bytes(limits::CHUNK_SIZE_BYTES_MIN),
        max = text::bytes(limits::CHUNK_SIZE_BYTES_MAX)
    )]
    ChunkSize(u64),
    /// More chunks than a manifest can hold.
    #[error(
        "{} in chunks of {} are more than the {max} chunks that a manifest holds",
        text::bytes(*size_bytes), text::bytes(*chunk_size_bytes), max = limits::CHUNK_COUNT_MAX
    )]
    TooManyChunks {
        /// The size of the artifact in bytes.
        size_bytes: u64,
        /// The size of its chunks in bytes.
        chunk_size_bytes: u64,
    },
}

/// How an artifact is cut: aligned chunks of one power-of-two size, the last one shorter. Never without a chunk: an
/// empty file has one of no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    size_bytes: u64,
    chunk_size_bytes: u64,
}

impl Layout {
    /// The layout of `size_bytes` in chunks of `chunk_size_bytes`.
    ///
    /// # Errors
    /// When the chunk size is not a power of two within the limits, or there would be too many chunks.
    pub fn new(size_bytes: u64, chunk_size_bytes: u64) -> Result<Self, LayoutError> {
        let bounds = limits::CHUNK_SIZE_BYTES_MIN..=limits::CHUNK_SIZE_BYTES_MAX;
        if !chunk_size_bytes.is_power_of_two() || !bounds.contains(&chunk_size_bytes) {
            return Err(LayoutError::ChunkSize(chunk_size_bytes));
        }
        if size_bytes.div_ceil(chunk_size_bytes) > u64::from(limits::CHUNK_COUNT_MAX) {
            return Err(LayoutError::TooManyChunks { size_bytes, chunk_size_bytes });
        }
        Ok(Layout { size_bytes, chunk_size_bytes })
    }

    /// The layout that a new manifest gives an artifact: the largest chunks that still make at least
    /// [`limits::CHUNK_COUNT_WANTED`] of them, where the size allows.
    ///
    /// # Errors
    /// When the artifact is larger than a manifest can describe (512 GiB).
    pub fn for_size(size_bytes: u64) -> Result<Self, LayoutError> {
        let wanted = (size_bytes / limits::CHUNK_COUNT_WANTED).max(1);
        let power_of_two = 1 << wanted.ilog2();
        Self::new(size_bytes, power_of_two.clamp(limits::CHUNK_SIZE_BYTES_MIN, limits::CHUNK_SIZE_BYTES_MAX))
    }

    /// The size of the artifact in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The size in bytes of every chunk but the last, which may be shorter.
    pub const fn chunk_size_bytes(&self) -> u64 {
        self.chunk_size_bytes
    }

    /// How many chunks there are; at least one.
    pub fn chunk_count(&self) -> u32 {
        let count = self.size_bytes.div_ceil(self.chunk_size_bytes).max(1);
        u32::try_from(count).expect("bounded when the layout was made")
    }

    /// The index of chunk `number`, if there is such a chunk.
    pub fn index(&self, number: u32) -> Option<ChunkIndex> {
        (number < self.chunk_count()).then_some(ChunkIndex(number))
    }

    /// Every index, in the file's order.
    pub fn indexes(&self) -> impl DoubleEndedIterator<Item = ChunkIndex> + ExactSizeIterator + use<> {
        (0..self.chunk_count()).map(ChunkIndex)
    }

    /// The chunk that holds the byte at `offset`, if the artifact is that long.
    pub fn index_at(&self, offset: u64) -> Option<ChunkIndex> {
        if offset >= self.size_bytes {
            return None;
        }
        u32::try_from(offset / self.chunk_size_bytes).ok().and_then(|n| self.index(n))
    }

    /// The byte of the artifact at which the chunk begins.
    pub fn offset(&self, index: ChunkIndex) -> u64 {
        u64::from(index.0) * self.chunk_size_bytes
    }

    /// How many bytes the chunk has; 0 for an index of another, longer layout.
    pub fn len(&self, index: ChunkIndex) -> usize {
        let left = self.size_bytes.saturating_sub(self.offset(index));
        usize::try_from(left.min(self.chunk_size_bytes)).expect("a chunk is at most 4 MiB")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sizes around every edge of BLAKE3's and our own chunks.
    pub(crate) fn interesting_sizes() -> Vec<u64> {
        let chunk = limits::CHUNK_SIZE_BYTES_MIN;
        let mut sizes = vec![0, 1, 1023, 1024, 1025, 3 * chunk + 5, 17 * chunk + 1023];
        for n in [1, 2, 3, 4, 5, 7, 8, 9] {
            sizes.extend([n * chunk - 1, n * chunk, n * chunk + 1]);
        }
        sizes
    }

    #[test]
    fn an_empty_file_has_one_empty_chunk() {
        let layout = Layout::for_size(0).unwrap();
        assert_eq!(layout.chunk_count(), 1);
        let only = layout.index(0).unwrap();
        assert_eq!((layout.offset(only), layout.len(only)), (0, 0));
        assert_eq!(layout.index(1), None);
        assert_eq!(layout.index_at(0), None);
    }

    #[test]
    fn chunk_size_follows_the_rule() {
        const GIB: u64 = 1 << 30;
        let rule = |size| Layout::for_size(size).unwrap().chunk_size_bytes() >> 10;
        assert_eq!(rule(0), 256);
        assert_eq!(rule(2000 * (256 << 10)), 256);
        assert_eq!(rule(2000 * (512 << 10) - 1), 256);
        assert_eq!(rule(2000 * (512 << 10)), 512);
        assert_eq!(rule(GIB), 512);
        assert_eq!(rule(2 * GIB), 1024);
        assert_eq!(rule(10 * GIB), 4096);
        assert_eq!(rule(500_000_000_000), 4096);
    }

    #[test]
    fn bad_layouts_are_refused() {
        for chunk_size in [0, 1, 1024, (256 << 10) - 1, 300_000, 8 << 20, u64::MAX] {
            assert_eq!(Layout::new(10, chunk_size), Err(LayoutError::ChunkSize(chunk_size)));
        }
        let most = u64::from(limits::CHUNK_COUNT_MAX) << 18;
        assert_eq!(Layout::new(most, 256 << 10).unwrap().chunk_count(), limits::CHUNK_COUNT_MAX);
        assert!(matches!(Layout::new(most + 1, 256 << 10), Err(LayoutError::TooManyChunks { .. })));
        assert!(matches!(Layout::for_size(u64::MAX), Err(LayoutError::TooManyChunks { .. })));
    }

    proptest! {
        #[test]
        fn chunks_tile_the_artifact(size in 0_u64..(600 << 20)) {
            let layout = Layout::for_size(size).unwrap();
            let mut end = 0;
            for index in layout.indexes() {
                prop_assert_eq!(layout.offset(index), end);
                prop_assert_eq!(layout.index(index.get()), Some(index));
                end += layout.len(index) as u64;
                if layout.len(index) > 0 {
                    prop_assert_eq!(layout.index_at(end - 1), Some(index));
                }
            }
            prop_assert_eq!(end, size);
            prop_assert_eq!(layout.index(layout.chunk_count()), None);
        }

        #[test]
        fn there_are_enough_chunks_where_the_size_allows(size in (2000_u64 * (256 << 10))..(1 << 39)) {
            prop_assert!(u64::from(Layout::for_size(size).unwrap().chunk_count()) >= limits::CHUNK_COUNT_WANTED);
        }
    }
}
