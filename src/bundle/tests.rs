use proptest::prelude::*;

use super::{
    index::{DataFile, Index, IndexError, OtherVolume},
    plan::{Room, deal, files},
};
use crate::{
    base::Blake3Hash,
    manifest::{ChunkSet, DecodeError, Layout, ranges},
    store::{ArtifactFile, Contents},
};

const CHUNK: u64 = 256 << 10;

fn contents(sizes: [u64; 2]) -> Contents {
    let file = |size: u64| {
        let layout = Layout::new(size, CHUNK).unwrap();
        let chunk_ids = vec![Blake3Hash::from_bytes([1; 32]); layout.chunk_count() as usize];
        ArtifactFile { name: String::new(), layout, chunk_ids }
    };
    Contents::new(Blake3Hash::from_bytes([9; 32]), sizes.map(file).to_vec())
}

fn chunks(count: u32) -> impl Strategy<Value = ChunkSet> {
    proptest::collection::vec(any::<bool>(), count as usize).prop_map(move |bits| {
        let mut set = ChunkSet::empty(count);
        bits.iter().zip(0..).filter(|(bit, _)| **bit).for_each(|(_, chunk)| _ = set.insert(chunk));
        set
    })
}

fn index(contents: &Contents, chunks: &ChunkSet) -> Index {
    Index {
        manifest_id: contents.manifest_id(),
        set: [3; 8],
        number: 2,
        files: files(contents, chunks, 7 * CHUNK),
        others: vec![
            OtherVolume { number: 1, chunks: ranges([0, 1, 5]) },
            OtherVolume { number: 9, chunks: Vec::new() },
        ],
        key_mark: chunks.contains(3).then_some([8; 8]),
    }
}

proptest! {
    #[test]
    fn an_index_is_read_as_it_was_written_and_otherwise_not_at_all(
        set in chunks(41),
        flipped in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let contents = contents([700, 40 * CHUNK - 9]);
        let index = index(&contents, &set);
        let bytes = index.to_bytes();
        prop_assert_eq!(Index::decode(&bytes), Ok(index.clone()));
        prop_assert_eq!(index.check(&contents), Ok(()));
        prop_assert_eq!(index.chunks(41), set);
        let mut changed = bytes.clone();
        changed[flipped.index(bytes.len())] ^= 1 << bit;
        prop_assert!(Index::decode(&changed).is_err());
        let cut = flipped.index(bytes.len());
        prop_assert!(Index::decode(&bytes[..cut]).is_err());
    }

    #[test]
    fn strange_bytes_are_no_index(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Index::decode(&bytes).is_err());
    }

    #[test]
    fn every_chunk_is_dealt_once_and_no_volume_is_fuller_than_its_room(
        set in chunks(101),
        rooms in proptest::collection::vec((0..40_u64, 1..3_u64), 0..6),
    ) {
        let contents = contents([900, 100 * CHUNK - 1]);
        let rooms: Vec<Room> = rooms
            .into_iter()
            .map(|(chunks, clusters)| Room { bytes: chunks * CHUNK + 500, cluster_bytes: clusters * 4096 })
            .collect();
        let (dealt, rest) = deal(&contents, &set, &rooms);
        let mut all = rest.clone();
        for (volume, room) in dealt.iter().zip(&rooms) {
            prop_assert!(volume.iter().all(|chunk| !all.contains(chunk)), "twice");
            all.insert_all(volume);
            let files = files(&contents, volume, 9 * CHUNK);
            let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
            prop_assert!(volume.is_empty() || bytes <= room.bytes);
            prop_assert!(files.iter().all(|file| file.size_bytes <= 9 * CHUNK));
            prop_assert_eq!(files.iter().flat_map(DataFile::iter).collect::<Vec<_>>(), volume.iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(all, set);
        // What found no room did not because there was none: the last volume takes no further chunk.
        if let (Some(first), Some(room), Some(volume)) = (rest.iter().next(), rooms.last(), dealt.last()) {
            let mut more = volume.clone();
            more.insert(first);
            let bytes: u64 = more.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum();
            prop_assert!(bytes + 3 * room.cluster_bytes > room.bytes);
        }
    }
}

#[test]
fn an_index_that_lies_is_found_out() {
    let contents = contents([700, 40 * CHUNK - 9]);
    let good = index(&contents, &ChunkSet::full(41));
    let check = |change: &dyn Fn(&mut Index)| {
        let mut bad = good.clone();
        change(&mut bad);
        Index::decode(&bad.to_bytes()).map(|index| index.check(&contents))
    };
    assert_eq!(check(&|_| {}), Ok(Ok(())));
    let length = check(&|index| index.files[1].size_bytes += 1);
    assert_eq!(length, Ok(Err(IndexError::Length { file: 1, said: 7 * CHUNK + 1, have: 7 * CHUNK })));
    assert!(length.unwrap().unwrap_err().to_string().contains("data0001.bin"));
    let other = Blake3Hash::from_bytes([8; 32]);
    assert_eq!(check(&|index| index.manifest_id = other), Ok(Err(IndexError::OtherManifest(other))));
    assert_eq!(check(&|index| index.files[6].chunks = vec![36..42]), Ok(Err(IndexError::NoSuchChunk)));
    assert_eq!(check(&|index| index.others[0].chunks = vec![40..42]), Ok(Err(IndexError::NoSuchChunk)));
    assert_eq!(
        check(&|index| index.files[0].chunks = vec![0..2, 3..4]),
        Err(rule("files", "their chunks do not ascend"))
    );
    assert_eq!(check(&|index| index.files.truncate(1)), Ok(Ok(())));
    let mixed = check(&|index| {
        index.files.truncate(1);
        index.files[0].chunks = vec![0..2];
    });
    assert_eq!(mixed, Ok(Err(IndexError::MixedFile)));
    for ranges in [vec![1..1], vec![1..2, 2..3], vec![5..6, 1..2]] {
        let bad = check(&|index| index.files[0].chunks.clone_from(&ranges));
        assert!(bad.is_err(), "{ranges:?}");
    }
    assert!(check(&|index| index.number = 0).is_err() && check(&|index| index.number = 10_000).is_err());
    assert!(check(&|index| index.others[0].number = 2).is_err(), "its own number");
    assert!(check(&|index| index.others.swap(0, 1)).is_err());
    // A small file that would be a large list.
    let many = (0..40_000).map(|n| 2 * n..2 * n + 1).collect::<Vec<_>>();
    let full = check(&|index| index.others.iter_mut().for_each(|other| other.chunks.clone_from(&many)));
    assert_eq!(full, Err(rule("chunks", "too many ranges")));
}

fn rule(field: &'static str, problem: &'static str) -> DecodeError {
    DecodeError::Rule { field, problem }
}
