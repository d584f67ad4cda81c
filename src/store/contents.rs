//! What a directory is to hold: the manifest's artifacts under their file names, their chunks numbered through.

use crate::{
    base::Blake3Hash,
    manifest::{ChunkIndex, Layout},
};

/// One artifact as a file.
#[derive(Debug, Clone)]
pub struct ArtifactFile {
    /// Its final name in the directory.
    pub name: String,
    /// How it is cut.
    pub layout: Layout,
    /// A chunk id for every chunk.
    pub chunk_ids: Vec<Blake3Hash>,
}

/// The artifacts of one manifest. Chunks are numbered through all of them, in the manifest's order.
#[derive(Debug, Clone)]
pub struct Contents {
    manifest_id: Blake3Hash,
    files: Vec<ArtifactFile>,
    /// Number of each artifact's first chunk.
    firsts: Vec<u32>,
    count: u32,
}

impl Contents {
    /// Numbers the chunks of `files`, which belong to the manifest with that id.
    ///
    /// # Panics
    /// When a file has not one id a chunk: a verified manifest always has.
    pub fn new(manifest_id: Blake3Hash, files: Vec<ArtifactFile>) -> Self {
        let mut firsts = Vec::with_capacity(files.len());
        let mut count = 0;
        for file in &files {
            assert_eq!(file.chunk_ids.len(), file.layout.chunk_count() as usize, "one id a chunk of {}", file.name);
            firsts.push(count);
            count += file.layout.chunk_count();
        }
        Contents { manifest_id, files, firsts, count }
    }

    /// Which manifest this is.
    pub fn manifest_id(&self) -> Blake3Hash {
        self.manifest_id
    }

    /// The artifacts.
    pub fn files(&self) -> &[ArtifactFile] {
        &self.files
    }

    /// Chunks in all.
    pub fn chunk_count(&self) -> u32 {
        self.count
    }

    /// Bytes in all.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.layout.size_bytes()).sum()
    }

    /// Size of the largest chunk.
    pub fn chunk_size_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.layout.chunk_size_bytes().min(f.layout.size_bytes())).max().unwrap_or(1).max(1)
    }

    /// Artifact and index of a chunk number.
    pub fn locate(&self, chunk: u32) -> Option<(usize, ChunkIndex)> {
        let artifact = self.firsts.partition_point(|first| *first <= chunk).checked_sub(1)?;
        Some((artifact, self.files[artifact].layout.index(chunk - self.firsts[artifact])?))
    }

    /// Number of a chunk that a peer names by artifact and index.
    pub fn number(&self, artifact: u32, index: u32) -> Option<u32> {
        let file = self.files.get(artifact as usize)?;
        file.layout.index(index).map(|i| self.firsts[artifact as usize] + i.get())
    }

    /// Bytes of a chunk; 0 for one that does not exist.
    pub fn chunk_len(&self, chunk: u32) -> usize {
        self.locate(chunk).map_or(0, |(artifact, index)| self.files[artifact].layout.len(index))
    }

    /// The id of a chunk.
    pub fn chunk_id(&self, artifact: usize, index: ChunkIndex) -> &Blake3Hash {
        &self.files[artifact].chunk_ids[index.get() as usize]
    }

    /// The chunk numbers of an artifact.
    pub fn chunks_of(&self, artifact: usize) -> std::ops::Range<u32> {
        self.firsts[artifact]..self.firsts[artifact] + self.files[artifact].layout.chunk_count()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::manifest::chunk_id;

    /// Contents that describe these bytes, cut in the smallest chunks.
    pub(in crate::store) fn describe(files: &[(&str, &[u8])]) -> Contents {
        let files = files
            .iter()
            .map(|(name, data)| {
                let layout = Layout::new(data.len() as u64, crate::base::limits::CHUNK_SIZE_BYTES_MIN).unwrap();
                let chunk_ids = layout
                    .indexes()
                    .map(|i| {
                        let at = layout.offset(i) as usize;
                        chunk_id(&layout, i, &data[at..at + layout.len(i)])
                    })
                    .collect();
                ArtifactFile { name: (*name).to_owned(), layout, chunk_ids }
            })
            .collect();
        Contents::new(Blake3Hash::from_bytes([7; 32]), files)
    }

    #[test]
    fn numbers_and_places_agree() {
        let big = vec![1; (256 << 10) * 3 + 5];
        let contents = describe(&[("a", b"x"), ("b", &big), ("c", b"")]);
        assert_eq!(contents.chunk_count(), 1 + 4 + 1);
        for chunk in 0..contents.chunk_count() {
            let (artifact, index) = contents.locate(chunk).unwrap();
            assert_eq!(contents.number(artifact as u32, index.get()), Some(chunk));
            assert!(contents.chunks_of(artifact).contains(&chunk));
        }
        assert_eq!(contents.locate(6), None);
        assert_eq!(contents.number(1, 4), None);
        assert_eq!(contents.number(3, 0), None);
        assert_eq!(contents.chunk_len(4), 5);
        assert_eq!(contents.size_bytes(), big.len() as u64 + 1);
    }
}
