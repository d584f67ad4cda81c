//! Chunk ids: BLAKE3 subtree chaining values that merge to the root that `b3sum` prints. Bytes are untrusted until
//! a [`ChunkVerifier`] has made a [`VerifiedChunk`] of them.

use std::fmt;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::{Digest, Sha256};

use super::layout::{ChunkIndex, Layout};
use crate::base::{Blake3Hash, Sha256Hash, limits::CHUNK_SIZE_BYTES_MIN};

/// The id of one chunk: the chaining value of its subtree, or the root where it is the only chunk.
/// `data` must have the chunk's length.
pub fn chunk_id(layout: &Layout, index: ChunkIndex, data: &[u8]) -> Blake3Hash {
    debug_assert_eq!(data.len(), layout.len(index));
    let mut hasher = ChunkHasher::new(layout, index);
    hasher.update(data);
    hasher.finish()
}

/// The id of one chunk whose bytes come in pieces.
#[derive(Debug)]
pub struct ChunkHasher {
    hasher: blake3::Hasher,
    is_only: bool,
}

impl ChunkHasher {
    /// Begins a chunk of that layout.
    pub fn new(layout: &Layout, index: ChunkIndex) -> Self {
        let mut hasher = blake3::Hasher::new();
        // The place is part of the id, so a chunk cannot be moved.
        hasher.set_input_offset(layout.offset(index));
        ChunkHasher { hasher, is_only: layout.chunk_count() == 1 }
    }

    /// Takes the next bytes, which must come to the chunk's length in the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The id of what came.
    pub fn finish(&self) -> Blake3Hash {
        Blake3Hash::from_bytes(match self.is_only {
            true => *self.hasher.finalize().as_bytes(),
            false => self.hasher.finalize_non_root(),
        })
    }
}

/// The artifact's root, from all its chunk ids.
///
/// # Panics
/// When there are not as many ids as the layout has chunks; readers of a manifest check that first.
pub fn merge(layout: &Layout, ids: &[Blake3Hash]) -> Blake3Hash {
    assert_eq!(ids.len(), layout.chunk_count() as usize, "one id a chunk");
    if let [only] = ids { *only } else { merge_root(ids) }
}

/// The root above at least two subtrees.
fn merge_root(subtrees: &[Blake3Hash]) -> Blake3Hash {
    let (left, right) = subtrees.split_at(left_count(subtrees.len()));
    let root = merge_subtrees_root(&merge_subtree(left), &merge_subtree(right), Mode::Hash);
    Blake3Hash::from_bytes(*root.as_bytes())
}

fn merge_subtree(ids: &[Blake3Hash]) -> ChainingValue {
    if let [only] = ids {
        return *only.as_bytes();
    }
    let (left, right) = ids.split_at(left_count(ids.len()));
    merge_subtrees_non_root(&merge_subtree(left), &merge_subtree(right), Mode::Hash)
}

/// BLAKE3's tree leans left: the left side is the largest power of two that leaves something for the right.
fn left_count(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// A chunk all of whose bytes were seen and have the manifest's id. Only these count as stored and are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedChunk {
    index: ChunkIndex,
}

impl VerifiedChunk {
    /// The place of the chunk in its artifact.
    pub fn index(&self) -> ChunkIndex {
        self.index
    }
}

/// Bytes that are not the chunk they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are more or fewer than the chunk has.
    #[error("chunk {index} has {got} bytes, not {expected}")]
    Length {
        /// Which chunk it should be.
        index: ChunkIndex,
        /// The chunk's length in bytes.
        expected: usize,
        /// The number of bytes that came.
        got: usize,
    },
    /// The bytes are as many as the chunk's, but others.
    #[error("chunk {index} has id {got}, not {expected}")]
    Id {
        /// Which chunk it should be.
        index: ChunkIndex,
        /// The id in the manifest.
        expected: Blake3Hash,
        /// The id of what came.
        got: Blake3Hash,
    },
}

impl ChunkError {
    /// Which chunk it should have been.
    pub fn index(&self) -> ChunkIndex {
        match self {
            ChunkError::Length { index, .. } | ChunkError::Id { index, .. } => *index,
        }
    }
}

/// Proves that bytes, which come in pieces, are the chunk that the manifest names.
#[derive(Debug)]
pub struct ChunkVerifier {
    index: ChunkIndex,
    id: Blake3Hash,
    /// `None` where the index is of another layout: then nothing is this chunk.
    len: Option<usize>,
    got: usize,
    hasher: ChunkHasher,
}

impl ChunkVerifier {
    /// For the chunk of this layout that has this id.
    pub fn new(layout: &Layout, id: &Blake3Hash, index: ChunkIndex) -> Self {
        let len = layout.index(index.get()).map(|index| layout.len(index));
        ChunkVerifier { index, id: *id, len, got: 0, hasher: ChunkHasher::new(layout, index) }
    }

    /// How many bytes it has taken.
    pub fn taken(&self) -> usize {
        self.got
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When these are more than the chunk has.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        let got = self.got.saturating_add(bytes.len());
        if self.len.is_none_or(|len| got > len) {
            return Err(self.has_length(got));
        }
        self.got = got;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Whether all that came is the chunk.
    ///
    /// # Errors
    /// When length or id differ.
    pub fn finish(&self) -> Result<VerifiedChunk, ChunkError> {
        let ChunkVerifier { index, id: expected, .. } = *self;
        if self.len != Some(self.got) {
            return Err(self.has_length(self.got));
        }
        let got = self.hasher.finish();
        if got == expected { Ok(VerifiedChunk { index }) } else { Err(ChunkError::Id { index, expected, got }) }
    }

    fn has_length(&self, got: usize) -> ChunkError {
        ChunkError::Length { index: self.index, expected: self.len.unwrap_or(0), got }
    }
}

/// What a manifest says about one artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactDescription {
    /// The size in bytes, and how it is cut into chunks.
    pub layout: Layout,
    /// BLAKE3 of the file.
    pub root: Blake3Hash,
    /// SHA-256 of the file.
    pub sha256: Sha256Hash,
    /// The ids of the chunks, in the file's order.
    pub chunk_ids: Vec<Blake3Hash>,
}

/// A file that is not as long as it was said to be: it changed while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file was {expected} bytes long when it was opened, but {got} were read: it changed meanwhile")]
pub struct SizeError {
    /// The size in bytes that was said at the beginning.
    pub expected: u64,
    /// Bytes that came; where more came than expected, at least as many.
    pub got: u64,
}

/// Bytes of a leaf: the smallest chunk. Larger ones are made of whole leaves, so their ids follow from the leaves' and what
/// size of chunk an artifact gets may be decided when its length is known.
const LEAF_BYTES: u64 = CHUNK_SIZE_BYTES_MIN;

/// Describes an artifact in one pass over its bytes, whose number need not be known before; keeps 32 bytes for each 256 KiB.
pub struct ArtifactHasher {
    /// Bytes taken so far.
    taken: u64,
    /// The hash of the bytes behind the last closed leaf.
    current: blake3::Hasher,
    leaves: Vec<Blake3Hash>,
    sha256: Sha256,
}

impl Default for ArtifactHasher {
    fn default() -> Self {
        ArtifactHasher { taken: 0, current: blake3::Hasher::new(), leaves: Vec::new(), sha256: Sha256::new() }
    }
}

impl ArtifactHasher {
    /// Takes the next bytes, cut anywhere.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            // A leaf is closed by what follows it: one that is alone is the artifact's root.
            let filled = self.taken - self.leaves.len() as u64 * LEAF_BYTES;
            if filled == LEAF_BYTES {
                self.leaves.push(Blake3Hash::from_bytes(self.current.finalize_non_root()));
                self.current = blake3::Hasher::new();
                self.current.set_input_offset(self.taken);
                continue;
            }
            let take = rest.len().min(usize::try_from(LEAF_BYTES - filled).unwrap_or(usize::MAX));
            self.current.update(&rest[..take]);
            self.taken += take as u64;
            rest = &rest[take..];
        }
    }

    /// How many bytes were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Ends the artifact, in this layout.
    ///
    /// # Errors
    /// When other than the layout's number of bytes came.
    pub fn finish(mut self, layout: Layout) -> Result<ArtifactDescription, SizeError> {
        if self.taken != layout.size_bytes() {
            return Err(SizeError { expected: layout.size_bytes(), got: self.taken });
        }
        let chunk_ids = if self.leaves.is_empty() {
            vec![Blake3Hash::from_bytes(*self.current.finalize().as_bytes())]
        } else {
            self.leaves.push(Blake3Hash::from_bytes(self.current.finalize_non_root()));
            if layout.chunk_count() == 1 {
                vec![merge_root(&self.leaves)]
            } else {
                let leaves_of_chunk = usize::try_from(layout.chunk_size_bytes() / LEAF_BYTES).unwrap_or(1);
                let id = |leaves: &[Blake3Hash]| Blake3Hash::from_bytes(merge_subtree(leaves));
                self.leaves.chunks(leaves_of_chunk).map(id).collect()
            }
        };
        let root = merge(&layout, &chunk_ids);
        let sha256 = Sha256Hash::from_bytes(self.sha256.finalize().into());
        Ok(ArtifactDescription { layout, root, sha256, chunk_ids })
    }
}

impl fmt::Debug for ArtifactHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactHasher({} bytes)", self.taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{base::limits, manifest::layout::tests::interesting_sizes};

    const CHUNK: u64 = limits::CHUNK_SIZE_BYTES_MIN;

    fn bytes(size: u64) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8 ^ (i >> 13) as u8).collect()
    }

    fn describe(data: &[u8], piece: usize) -> ArtifactDescription {
        let mut hasher = ArtifactHasher::default();
        data.chunks(piece).for_each(|p| hasher.update(p));
        hasher.finish(Layout::for_size(data.len() as u64).unwrap()).unwrap()
    }

    #[test]
    fn root_is_what_b3sum_prints() {
        for size in interesting_sizes() {
            let data = bytes(size);
            let described = describe(&data, 70_001);
            assert_eq!(described.root.as_bytes(), blake3::hash(&data).as_bytes(), "size {size}");
            assert_eq!(described.sha256.as_bytes(), &<[u8; 32]>::from(Sha256::digest(&data)), "size {size}");
            assert_eq!(described.chunk_ids.len(), described.layout.chunk_count() as usize);
        }
    }

    #[test]
    fn larger_chunks_merge_to_the_same_root() {
        let sizes = [9 * (1 << 20) + 12_345, 8 << 20, 4 << 20, (3 << 20) + 1, 1 << 20, (256 << 10) + 1];
        let chunk_sizes = [256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
        for (size, chunk_size) in sizes.into_iter().flat_map(|size| chunk_sizes.map(|chunk| (size, chunk))) {
            let data = bytes(size);
            let layout = Layout::new(data.len() as u64, chunk_size).unwrap();
            let ids: Vec<_> = layout.indexes().map(|i| chunk_id(&layout, i, piece(&layout, i, &data))).collect();
            assert_eq!(merge(&layout, &ids).as_bytes(), blake3::hash(&data).as_bytes(), "{chunk_size}");
            let mut hasher = ArtifactHasher::default();
            data.chunks(70_001).for_each(|p| hasher.update(p));
            assert_eq!(hasher.finish(layout).unwrap().chunk_ids, ids, "{chunk_size}");
        }
    }

    fn piece<'a>(layout: &Layout, index: ChunkIndex, data: &'a [u8]) -> &'a [u8] {
        let start = layout.offset(index) as usize;
        &data[start..start + layout.len(index)]
    }

    fn verify<'a>(
        layout: &Layout,
        id: &Blake3Hash,
        index: ChunkIndex,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<VerifiedChunk, ChunkError> {
        let mut verifier = ChunkVerifier::new(layout, id, index);
        for piece in pieces {
            verifier.update(piece)?;
        }
        verifier.finish()
    }

    #[test]
    fn every_chunk_verifies_alone_and_only_in_its_place() {
        let data = bytes(4 * CHUNK + 77);
        let described = describe(&data, data.len());
        let layout = &described.layout;
        for index in layout.indexes() {
            let id = &described.chunk_ids[index.get() as usize];
            let good = piece(layout, index, &data).to_vec();
            for cut in [1000, good.len()] {
                assert_eq!(verify(layout, id, index, good.chunks(cut)).unwrap().index(), index);
            }

            let mut flipped = good.clone();
            *flipped.last_mut().unwrap() ^= 1;
            let error = verify(layout, id, index, flipped.chunks(70_001)).unwrap_err();
            assert!(matches!(error, ChunkError::Id { .. }) && error.index() == index, "{error}");

            let long = [&good[..], b"!"];
            for other in [&[&good[1..]][..], &[], &long] {
                let error = verify(layout, id, index, other.iter().copied()).unwrap_err();
                assert!(matches!(error, ChunkError::Length { .. }), "{error}");
            }
        }
        // The same bytes in another place are another chunk.
        let (first, second) = (layout.index(0).unwrap(), layout.index(1).unwrap());
        let moved = piece(layout, first, &data);
        assert!(verify(layout, &described.chunk_ids[0], second, [moved]).is_err());
    }

    #[test]
    fn an_index_of_another_layout_is_refused() {
        let (long, short) = (Layout::new(3 * CHUNK, CHUNK).unwrap(), Layout::new(CHUNK, CHUNK).unwrap());
        let foreign = long.index(2).unwrap();
        let id = Blake3Hash::from_bytes(*blake3::hash(b"").as_bytes());
        for pieces in [&[&b""[..]][..], &[b"x"]] {
            assert!(matches!(verify(&short, &id, foreign, pieces.iter().copied()), Err(ChunkError::Length { .. })));
        }
    }

    #[test]
    fn a_file_that_shrinks_or_grows_meanwhile_is_refused() {
        for (announced, came) in [(CHUNK, CHUNK - 1), (CHUNK, CHUNK + 1), (0, 1), (3 * CHUNK, 5 * CHUNK), (1, 0)] {
            let mut hasher = ArtifactHasher::default();
            hasher.update(&bytes(came));
            assert_eq!(
                hasher.finish(Layout::for_size(announced).unwrap()),
                Err(SizeError { expected: announced, got: came })
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn cuts_do_not_matter(size in 0..(3 * CHUNK), piece in 1_usize..300_000) {
            let data = bytes(size);
            let described = describe(&data, piece);
            prop_assert_eq!(&described, &describe(&data, usize::MAX));
            prop_assert_eq!(described.root, Blake3Hash::from_bytes(*blake3::hash(&data).as_bytes()));
        }
    }
}
