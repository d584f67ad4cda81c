//! The store on good, full, torn and edited disks.

mod harm;

use std::sync::atomic::{AtomicUsize, Ordering};

use self::harm::Watched;
use super::{contents::tests::describe, *};
use crate::{
    base::{Kind, limits::CHUNK_SIZE_BYTES_MIN},
    manifest::chunk::ChunkError,
};

const CHUNK: usize = CHUNK_SIZE_BYTES_MIN as usize;

fn data(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8 ^ salt).collect()
}

fn cut(contents: &Contents, files: &[&[u8]], chunk: u32) -> Vec<u8> {
    let (artifact, index) = contents.locate(chunk).unwrap();
    let layout = contents.files()[artifact].layout;
    let at = layout.offset(index) as usize;
    files[artifact][at..at + layout.len(index)].to_vec()
}

struct Fixture {
    dir: tempfile::TempDir,
    genesis: Vec<u8>,
    snapshot: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        Fixture { dir: tempfile::tempdir().unwrap(), genesis: data(900, 1), snapshot: data(CHUNK * 5 + 77, 2) }
    }

    fn contents(&self) -> Contents {
        describe(&[("genesis.json", &self.genesis), ("snapshot.sql.gz", &self.snapshot)])
    }

    fn chunk(&self, chunk: u32) -> Vec<u8> {
        cut(&self.contents(), &[&self.genesis, &self.snapshot], chunk)
    }

    fn open(&self, disks: &dyn OpenDisk) -> Result<(PrivateDirectory, Opened)> {
        let private = PrivateDirectory::lock(self.dir.path())?;
        let opened = Store::open(
            self.dir.path(),
            &private,
            self.contents(),
            disks,
            &Progress::silent(),
            &CancellationToken::new(),
        )?;
        Ok((private, opened))
    }

    /// Gives the writer these chunks and waits for every outcome.
    fn put(&self, disks: &dyn OpenDisk, chunks: &[(u32, Vec<u8>)]) -> (Vec<Outcome>, Result<Arc<Store>>) {
        let (_private, opened) = self.open(disks).unwrap();
        let (tx, mut rx) = tokio::sync::mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        let queue = writer.queue();
        for (chunk, data) in chunks {
            let _ = queue.blocking_send(Untrusted::whole(9, *chunk, data.clone()));
        }
        drop(queue);
        let store = writer.stop();
        let mut outcomes = Vec::new();
        while let Some(outcome) = rx.blocking_recv() {
            outcomes.push(outcome);
        }
        (outcomes, store)
    }
}

#[test]
fn chunks_in_any_order_make_the_files() {
    let f = Fixture::new();
    let (_private, opened) = f.open(&FileSystem).unwrap();
    assert!(opened.have.is_empty());
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    let writer = Writer::start(opened, tx).unwrap();
    for chunk in [3, 0, 6, 1, 5, 2, 4] {
        writer.queue().blocking_send(Untrusted::whole(1, chunk, f.chunk(chunk))).unwrap();
        assert!(matches!(rx.blocking_recv(), Some(Outcome::Stored { source: 1, .. })));
    }
    let store = writer.finish().unwrap();
    assert_eq!(fs::read(f.dir.path().join("genesis.json")).unwrap(), f.genesis);
    assert_eq!(fs::read(f.dir.path().join("snapshot.sql.gz")).unwrap(), f.snapshot);
    assert_eq!(store.read(6).unwrap(), f.chunk(6));
    assert!(!f.dir.path().join("snapshot.sql.gz.part").exists());
}

#[test]
fn a_wrong_chunk_is_named_with_its_source_and_not_written() {
    let f = Fixture::new();
    let mut bad = f.chunk(2);
    bad[100] ^= 1;
    let (outcomes, store) = f.put(&FileSystem, &[(2, bad), (3, f.chunk(3)[1..].to_vec())]);
    assert!(store.is_ok());
    assert!(matches!(outcomes[0], Outcome::Bad { source: 9, chunk: 2, error: ChunkError::Id { .. } }));
    assert!(matches!(outcomes[1], Outcome::Bad { source: 9, chunk: 3, error: ChunkError::Length { .. } }));
    let (_p, again) = f.open(&FileSystem).unwrap();
    assert!(again.have.is_empty());
}

#[test]
fn what_was_synced_is_trusted_and_what_was_only_written_is_hashed_again() {
    let f = Fixture::new();
    let (outcomes, _) = f.put(&FileSystem, &[(0, f.chunk(0)), (1, f.chunk(1)), (4, f.chunk(4))]);
    assert_eq!(outcomes.len(), 3);
    let journal = f.dir.path().join(".regenesis/journal");
    {
        let (_p, again) = f.open(&FileSystem).unwrap();
        assert_eq!(again.have.ranges(), [0..2, 4..5]);
        assert_eq!(again.rehashed_bytes, 0);
        assert_eq!(again.resumed_bytes, 900 + 2 * CHUNK as u64);
    }
    // As after a power cut: chunk 4 is only known to have been written, chunk 1's bytes never reached the disk.
    let id = f.contents().manifest_id();
    let mut bytes = journal::header(&id);
    for range in [0..1, 1..2, 4..5] {
        bytes.extend_from_slice(&journal::record(&id, journal::Kind::Written, &range));
    }
    fs::write(&journal, bytes).unwrap();
    let part = fs::OpenOptions::new().write(true).open(f.dir.path().join("snapshot.sql.gz.part")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&part, &[0; 4096], 0).unwrap();
    let (_p, again) = f.open(&FileSystem).unwrap();
    assert_eq!(again.have.ranges(), [0..1, 4..5]);
    assert_eq!(again.rehashed_bytes, 900 + 2 * CHUNK as u64);
}

#[test]
fn a_lost_journal_costs_a_hash_and_no_fetch() {
    let f = Fixture::new();
    let _ = f.put(&FileSystem, &[(0, f.chunk(0)), (2, f.chunk(2))]);
    fs::remove_file(f.dir.path().join(".regenesis/journal")).unwrap();
    let (_p, again) = f.open(&FileSystem).unwrap();
    assert_eq!(again.have.ranges(), [0..1, 2..3]);
}

#[test]
fn a_second_process_on_the_directory_is_refused() {
    let f = Fixture::new();
    let _held = f.open(&FileSystem).unwrap();
    let e = f.open(&FileSystem).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.chain().contains("in use by process"), "{}", e.chain());
}

#[test]
fn a_foreign_file_under_a_final_name_is_not_overwritten() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), b"mine").unwrap();
    let e = f.open(&FileSystem).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert_eq!(fs::read(f.dir.path().join("genesis.json")).unwrap(), b"mine");
    let same_size = vec![0; 900];
    fs::write(f.dir.path().join("genesis.json"), &same_size).unwrap();
    let e = f.open(&FileSystem).unwrap_err();
    assert!(e.chain().contains("chunk 0 differs"), "{}", e.chain());
}

#[test]
fn an_edited_file_is_the_seeders_own_error() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    let prove = |store: Store| store.prove(&Progress::silent(), &CancellationToken::new());
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    assert_eq!(store.read(3).unwrap(), f.chunk(3));
    // Edited while it is being served.
    let mut edited = f.snapshot.clone();
    edited.push(0);
    fs::write(f.dir.path().join("snapshot.sql.gz"), &edited).unwrap();
    let e = Error::from(store.read(3).unwrap_err());
    assert!(e.chain().contains("changed while it was being served"), "{}", e.chain());
    // Edited before: one bit of the right length.
    edited.pop();
    edited[CHUNK * 3] ^= 4;
    fs::write(f.dir.path().join("snapshot.sql.gz"), &edited).unwrap();
    let e = prove(Store::open_complete(f.dir.path(), f.contents()).unwrap()).unwrap_err();
    assert_eq!(e.kind(), Kind::Verify);
    assert!(e.chain().contains("chunk 3 differs"), "{}", e.chain());
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    prove(Store::open_complete(f.dir.path(), f.contents()).unwrap()).unwrap();
}

#[test]
fn a_check_of_complete_files_can_be_interrupted() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let e = store.prove(&Progress::silent(), &cancel).unwrap_err();
    assert!(matches!(e.kind(), Kind::Interrupted(_)));
    assert_eq!(store.read(3).unwrap(), f.chunk(3));
}

#[test]
fn complete_files_are_checked_chunk_by_chunk_as_they_are_read() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    let mut damaged = f.snapshot.clone();
    damaged[CHUNK * 3] ^= 4;
    fs::write(f.dir.path().join("snapshot.sql.gz"), &damaged).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    for chunk in 0..f.contents().chunk_count() {
        for _ in 0..2 {
            match store.read(chunk) {
                Ok(data) => assert_eq!(data, f.chunk(chunk)),
                Err(e) => {
                    let e = Error::from(e);
                    assert_eq!((chunk, e.kind()), (f.contents().chunks_of(1).start + 3, Kind::Verify));
                    assert!(e.chain().contains("chunk 3 differs"), "{}", e.chain());
                }
            }
        }
    }
    let damaged_chunk = f.contents().chunks_of(1).start + 3;
    assert!(store.read(damaged_chunk).is_err());
    // A file that is shorter than what was written is said at once.
    damaged.pop();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &damaged).unwrap();
    assert!(Store::open_complete(f.dir.path(), f.contents()).unwrap_err().chain().contains("bytes, not"));
}

#[test]
fn a_chunk_is_read_in_parts_and_made_sure_of_at_its_beginning() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    let (chunk, mut scratch) = (f.chunk(1), Scratch::default());
    let mut read = |at: usize, len: usize| {
        let mut part = vec![0; len];
        store.read_part(1, at, &mut part, &mut scratch).map(|()| part)
    };
    for (at, len) in [(0, 100), (100, 1000), (chunk.len() - 1, 1), (0, chunk.len())] {
        assert_eq!(read(at, len).unwrap(), chunk[at..at + len]);
    }
    assert!(read(0, chunk.len() + 1).is_err() && read(chunk.len() - 1, 2).is_err());
    write_at(&f.dir.path().join("snapshot.sql.gz"), 500, &[chunk[500] ^ 1]);
    store.doubt(1);
    assert!(matches!(read(0, 10), Err(ReadError::Chunk(_))));
}

#[test]
fn a_chunk_comes_in_pieces_and_is_proved_at_their_end() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    let read = |buffer: usize| {
        let (mut buffer, mut all) = (vec![0; buffer], Vec::new());
        let ended = store.read_pieces(1, &mut buffer, |at, piece| {
            assert_eq!(at, all.len());
            all.extend_from_slice(piece);
            Ok::<_, Error>(())
        });
        (all, ended)
    };
    let chunk = f.chunk(1);
    for buffer in [1000, chunk.len() - 1, chunk.len(), chunk.len() + 1] {
        let (all, ended) = read(buffer);
        assert!(all == chunk && ended.is_ok(), "{buffer}");
    }
    // Its last bytes are others, and the file looks as before.
    let last = chunk.len() as u64 - 1;
    write_at(&f.dir.path().join("snapshot.sql.gz"), last, &[chunk[last as usize] ^ 1]);
    let (all, ended) = read(1000);
    assert!(all != chunk && all.len() == chunk.len());
    assert_eq!(ended.unwrap_err().kind(), crate::base::Kind::Verify);
    // Whoever takes them ends it.
    let mut taken = 0;
    let ended = store.read_pieces(1, &mut [0; 1000], |_, piece| {
        taken += piece.len();
        Err(Error::failed("enough"))
    });
    assert!(taken == 1000 && ended.unwrap_err().chain().contains("enough"));
}

#[test]
fn a_chunk_on_a_medium_is_read_and_made_sure_of_once_while_its_parts_are_read_in_order() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    let medium = f.dir.path().join("medium");
    fs::write(&medium, &f.snapshot).unwrap();
    let piece = Piece { path: medium.clone(), at: 0, bytes: f.snapshot.len() as u64 };
    let mut store = Store::open_lent(f.dir.path(), f.contents(), vec![None, Some(vec![piece])]).unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let pieces = store.slots[1].lent.clone().unwrap();
    let counted = reads.clone();
    store.slots[1].disk = Box::new(Watched::new(
        Box::new(pieces),
        Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }),
        Arc::new(|_| Ok(())),
    ));
    let count = || reads.swap(0, Ordering::Relaxed);
    let mut scratch = Scratch::default();
    let mut read = |chunk: u32, at: usize, len: usize| {
        let mut part = vec![0; len];
        store.read_part(chunk, at, &mut part, &mut scratch).map(|()| part)
    };
    for chunk in [1, 2] {
        let expected = f.chunk(chunk);
        for at in (0..expected.len()).step_by(16 << 10) {
            let len = (16 << 10).min(expected.len() - at);
            assert!(read(chunk, at, len).unwrap() == expected[at..at + len]);
        }
        assert_eq!(count(), 1, "chunk {chunk} is read once");
    }
    // Only one chunk is kept, and one that is begun anew is made sure of anew.
    read(1, 100, 10).unwrap();
    read(1, 0, 10).unwrap();
    assert_eq!(count(), 2);
    // What somebody writes to the medium meanwhile is given to nobody, and is found when the chunk is begun again.
    let good = f.chunk(1);
    write_at(&medium, 500, &[good[500] ^ 1]);
    assert!(read(1, 400, 200).unwrap() == good[400..600]);
    let named = |read: std::result::Result<Vec<u8>, ReadError>| {
        let chain = Error::from(read.unwrap_err()).chain();
        assert!(chain.contains(&medium.display().to_string()), "{chain}");
    };
    named(read(1, 0, 10));
    named(read(1, 400, 200));
    write_at(&medium, 500, &[good[500]]);
    assert!(read(1, 400, 200).unwrap() == good[400..600]);
    // A medium that is gone is named, and serves again once it is back.
    let away = f.dir.path().join("away");
    fs::rename(&medium, &away).unwrap();
    named(read(2, 0, 10));
    fs::rename(&away, &medium).unwrap();
    assert!(read(2, 0, 10).unwrap() == f.chunk(2)[..10]);
}

#[test]
fn a_planted_link_is_not_written_through() {
    let f = Fixture::new();
    let victim = f.dir.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    std::os::unix::fs::symlink(&victim, f.dir.path().join("snapshot.sql.gz.part")).unwrap();
    assert!(f.open(&FileSystem).is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn more_than_the_disk_holds_is_said_before_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let free = crate::base::durable::free_space(dir.path()).unwrap();
    let layout = crate::manifest::Layout::new(free + (1 << 30), crate::base::limits::CHUNK_SIZE_BYTES_MAX).unwrap();
    let ids = vec![crate::base::Blake3Hash::from_bytes([0; 32]); layout.chunk_count() as usize];
    let file = ArtifactFile { name: "snapshot.sql.gz".into(), layout, chunk_ids: ids };
    let contents = Contents::new(crate::base::Blake3Hash::from_bytes([1; 32]), vec![file]);
    let private = PrivateDirectory::lock(dir.path()).unwrap();
    let e = Store::open(dir.path(), &private, contents, &FileSystem, &Progress::silent(), &CancellationToken::new())
        .unwrap_err();
    assert!(e.chain().contains("needs"), "{}", e.chain());
    assert!(!dir.path().join("snapshot.sql.gz.part").exists());
}

#[test]
fn a_file_is_read_in_order_while_its_chunks_come_in_any() {
    let f = Fixture::new();
    let (_private, opened) = f.open(&FileSystem).unwrap();
    let mut reader = ArtifactReader::new(opened.store.clone(), opened.frontier.clone(), 1);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        io::Read::read_to_end(&mut reader, &mut all).map(|_| all)
    });
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    let writer = Writer::start(opened, tx).unwrap();
    for chunk in [6, 2, 0, 1, 5, 4, 3] {
        writer.queue().blocking_send(Untrusted::whole(1, chunk, f.chunk(chunk))).unwrap();
        rx.blocking_recv().unwrap();
    }
    assert!(reading.join().unwrap().unwrap() == f.snapshot);
    writer.finish().unwrap();
}

#[test]
fn a_reader_learns_that_no_more_will_come() {
    let f = Fixture::new();
    let (_private, opened) = f.open(&FileSystem).unwrap();
    let mut reader = ArtifactReader::new(opened.store.clone(), opened.frontier.clone(), 1);
    let reading = std::thread::spawn(move || io::Read::read_to_end(&mut reader, &mut Vec::new()));
    let (tx, _rx) = tokio::sync::mpsc::channel(64);
    Writer::start(opened, tx).unwrap().stop().unwrap();
    assert!(reading.join().unwrap().unwrap_err().to_string().contains("before every chunk"));
}

/// Reads every chunk: which are right, which are not, and nothing in between.
fn damaged(store: &Store, f: &Fixture) -> Vec<u32> {
    let all = 0..f.contents().chunk_count();
    all.filter(|chunk| match store.read(*chunk) {
        Ok(data) => {
            assert!(data == f.chunk(*chunk), "chunk {chunk} is given out wrong");
            false
        }
        Err(ReadError::Chunk(_)) => true,
        Err(ReadError::File(e)) => panic!("{}", e.chain()),
    })
    .collect()
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, offset).unwrap();
}

#[test]
fn a_served_file_that_is_touched_is_looked_at_again_and_served_on() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    let path = f.dir.path().join("snapshot.sql.gz");
    fs::write(&path, &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    let file = fs::File::open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(damaged(&store, &f).is_empty());
}

#[test]
fn one_byte_changed_under_a_seed_is_found_before_it_is_sent_though_size_and_time_are_as_before() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    let path = f.dir.path().join("snapshot.sql.gz");
    fs::write(&path, &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    assert!(damaged(&store, &f).is_empty());
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    write_at(&path, 3 * CHUNK as u64 + 5, &[!f.snapshot[3 * CHUNK + 5]]);
    fs::File::open(&path).unwrap().set_modified(time).unwrap();
    let bad = f.contents().chunks_of(1).start + 3;
    assert_eq!(damaged(&store, &f), [bad], "the others are served");
    // Put right again.
    write_at(&path, 3 * CHUNK as u64 + 5, &[f.snapshot[3 * CHUNK + 5]]);
    assert!(damaged(&store, &f).is_empty());
}

#[test]
fn a_chunk_that_somebody_complains_of_is_looked_at() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    fs::write(f.dir.path().join("snapshot.sql.gz"), &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    store.doubt(2);
    assert_eq!(store.read(2).unwrap(), f.chunk(2));
}

/// A fetch that ended in order with chunks 0 to 4, and what then happened to its files.
fn resumed(change: impl FnOnce(&Path)) -> (ChunkSet, u64) {
    let f = Fixture::new();
    let chunks: Vec<(u32, Vec<u8>)> = (0..5).map(|chunk| (chunk, f.chunk(chunk))).collect();
    f.put(&FileSystem, &chunks).1.unwrap();
    change(f.dir.path());
    let (_private, opened) = f.open(&FileSystem).unwrap();
    for chunk in opened.have.iter() {
        assert!(opened.store.read(chunk).unwrap() == f.chunk(chunk), "chunk {chunk} is believed to be there");
    }
    (opened.have, opened.rehashed_bytes)
}

#[test]
fn what_a_file_does_not_hold_any_more_is_fetched_again_whatever_the_journal_says() {
    let part = |dir: &Path| dir.join("snapshot.sql.gz.part");
    let (have, rehashed) = resumed(|_| {});
    assert_eq!((have.count(), rehashed), (5, 0), "nothing has happened");
    // Cut off, as by a partial copy or a repaired file system.
    let (have, _) = resumed(|dir| {
        let file = fs::OpenOptions::new().write(true).open(part(dir)).unwrap();
        file.set_len(CHUNK as u64 + 100).unwrap();
    });
    assert_eq!(have.ranges(), [0..2]);
    // A byte changed, with the time set back.
    let (have, _) = resumed(|dir| {
        let time = fs::metadata(part(dir)).unwrap().modified().unwrap();
        write_at(&part(dir), 7, b"\xff");
        fs::File::open(part(dir)).unwrap().set_modified(time).unwrap();
    });
    assert_eq!(have.ranges(), [0..1, 2..5]);
    // Copied to another disk: all of it is there, and is looked at.
    let (have, rehashed) = resumed(|dir| {
        fs::copy(part(dir), dir.join("copy")).unwrap();
        fs::rename(dir.join("copy"), part(dir)).unwrap();
    });
    assert_eq!(have.count(), 5);
    assert!(rehashed > 0);
    // Gone.
    let (have, _) = resumed(|dir| fs::remove_file(part(dir)).unwrap());
    assert_eq!(have.ranges(), [0..1]);
}

#[test]
fn a_killed_fetch_trusts_nothing_that_it_has_not_looked_at() {
    let f = Fixture::new();
    let journal = f.dir.path().join(".regenesis/journal");
    f.put(&FileSystem, &[(0, f.chunk(0)), (1, f.chunk(1))]).1.unwrap();
    // As if it had been killed: without its last record.
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 16]).unwrap();
    let (_private, opened) = f.open(&FileSystem).unwrap();
    assert_eq!((opened.have.count(), opened.rehashed_bytes), (2, 900 + CHUNK as u64));
}

#[test]
fn the_writer_ends_though_somebody_still_holds_an_end_of_its_queue() {
    let f = Fixture::new();
    let (_private, opened) = f.open(&FileSystem).unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    let writer = Writer::start(opened, tx).unwrap();
    let late = writer.queue();
    for chunk in 0..f.contents().chunk_count() {
        late.blocking_send(Untrusted::whole(1, chunk, f.chunk(chunk))).unwrap();
    }
    // What was taken in is written.
    writer.finish().unwrap();
    let mut stored = 0;
    while let Ok(Outcome::Stored { .. }) = rx.try_recv() {
        stored += 1;
    }
    assert_eq!(stored, f.contents().chunk_count());
    assert!(late.blocking_send(Untrusted::whole(1, 0, f.chunk(0))).is_err());
}

#[test]
fn the_hashing_of_a_resume_ends_with_a_signal() {
    let f = Fixture::new();
    f.put(&FileSystem, &[(0, f.chunk(0))]).1.unwrap();
    fs::remove_file(f.dir.path().join(".regenesis/journal")).unwrap();
    let private = PrivateDirectory::lock(f.dir.path()).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let opened =
        Store::open(f.dir.path(), &private, f.contents(), &FileSystem, &Progress::silent(), &cancel).unwrap_err();
    assert!(matches!(opened.kind(), Kind::Interrupted(_)));
}

#[test]
fn a_private_directory_that_is_a_link_is_refused_and_an_open_one_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join(".regenesis")).unwrap();
    let e = PrivateDirectory::lock(dir.path()).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(fs::read_dir(dir.path().join("elsewhere")).unwrap().next().is_none());
    fs::remove_file(dir.path().join(".regenesis")).unwrap();
    fs::create_dir(dir.path().join(".regenesis")).unwrap();
    fs::set_permissions(dir.path().join(".regenesis"), fs::Permissions::from_mode(0o755)).unwrap();
    let _held = PrivateDirectory::lock(dir.path()).unwrap();
    assert_eq!(fs::metadata(dir.path().join(".regenesis")).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Copies of chunks that come piece by piece, as their tests give them.
struct Coming {
    store: Arc<Store>,
    arrivals: arrivals::Arrivals,
}

impl Coming {
    fn new(f: &Fixture) -> (PrivateDirectory, Self) {
        let (private, opened) = f.open(&FileSystem).unwrap();
        let arrivals = arrivals::Arrivals::new(opened.have, private.path().to_owned());
        (private, Coming { store: opened.store, arrivals })
    }

    fn piece(&mut self, arrival: &Arc<Arrival>, data: &[u8], is_last: bool) -> Option<Outcome> {
        let piece = Untrusted { arrival: arrival.clone(), data: data.to_vec(), is_last };
        self.arrivals.take(&self.store, &piece).unwrap()
    }

    /// What stands where the chunk belongs, whatever it is.
    fn stands(&self, chunk: u32) -> Vec<u8> {
        let place = self.store.place(chunk).unwrap();
        let mut data = vec![0; place.len()];
        place.read(0, &mut data).unwrap();
        data
    }
}

#[test]
fn a_chunk_in_pieces_counts_when_its_last_one_has_proved_it() {
    let f = Fixture::new();
    let (_private, mut coming) = Coming::new(&f);
    let chunk = f.chunk(2);
    let arrival = Arrival::new(7, 2);
    let (head, tail) = chunk.split_at(1000);
    assert!(coming.piece(&arrival, head, false).is_none());
    assert!(coming.stands(2)[..1000] == *head, "nothing waits in memory for the rest");
    assert!(matches!(coming.piece(&arrival, tail, true), Some(Outcome::Stored { source: 7, chunk: 2 })));
    assert!(coming.stands(2) == chunk);
    // Wrong in its last byte, too short, too long: its source is named, and the next one's copy is taken.
    let mut wrong = f.chunk(3);
    *wrong.last_mut().unwrap() ^= 1;
    let long = [f.chunk(3), vec![1]].concat();
    for bad in [&wrong[..], &f.chunk(3)[1..], &long] {
        let arrival = Arrival::new(8, 3);
        assert!(coming.piece(&arrival, &bad[..1000], false).is_none());
        let outcome = coming.piece(&arrival, &bad[1000..], true);
        assert!(matches!(outcome, Some(Outcome::Bad { source: 8, chunk: 3, .. })), "{outcome:?}");
    }
    let arrival = Arrival::new(9, 3);
    assert!(coming.piece(&arrival, &f.chunk(3)[..1000], false).is_none());
    assert!(matches!(coming.piece(&arrival, &f.chunk(3)[1000..], true), Some(Outcome::Stored { source: 9, .. })));
    assert!(coming.stands(3) == f.chunk(3));
}

#[test]
fn who_trickles_or_lies_about_a_chunk_neither_holds_up_nor_spoils_the_copy_of_another() {
    let f = Fixture::new();
    let (_private, mut coming) = Coming::new(&f);
    let chunk = f.chunk(2);
    let (slow, fast) = (Arrival::new(1, 2), Arrival::new(2, 2));
    assert!(coming.piece(&slow, &[0xee; 5000], false).is_none());
    for part in chunk[..chunk.len() - 77].chunks(70_001) {
        assert!(coming.piece(&fast, part, false).is_none());
    }
    assert!(coming.stands(2)[..5000] == [0xee; 5000], "one writes there at a time");
    let outcome = coming.piece(&fast, &chunk[chunk.len() - 77..], true);
    assert!(matches!(outcome, Some(Outcome::Stored { source: 2, chunk: 2 })));
    assert!(coming.stands(2) == chunk);
    // Who was overtaken writes nothing any more, and is still found out.
    let rest = vec![0xee; chunk.len() - 5000];
    assert!(coming.piece(&slow, &rest[1..], false).is_none());
    assert!(matches!(coming.piece(&slow, &rest[..1], true), Some(Outcome::Bad { source: 1, chunk: 2, .. })));
    assert!(coming.stands(2) == chunk);
    // A chunk in one piece overtakes, too.
    let (slow, chunk) = (Arrival::new(1, 4), f.chunk(4));
    assert!(coming.piece(&slow, &[0xee; 5000], false).is_none());
    assert!(coming.piece(&Arrival::new(3, 4), &chunk, true).is_some());
    assert!(coming.piece(&slow, &rest, true).is_some());
    assert!(coming.stands(4) == chunk);
    // Who was asked before another one's copy was proved spoils nothing, whether it comes in one piece or not.
    let late = Arrival::new(4, 4);
    assert!(coming.piece(&late, &[0xee; 5000], false).is_none());
    assert!(coming.stands(4) == chunk);
    assert!(matches!(coming.piece(&late, &rest, true), Some(Outcome::Bad { source: 4, .. })));
    assert!(coming.stands(4) == chunk);
    // A chunk that was damaged is written anew, once a copy of it is proved.
    let place = coming.store.place(4).unwrap();
    coming.store.write(&place, 9000, &[chunk[9000] ^ 1]).unwrap();
    coming.store.doubt(4);
    assert!(coming.store.read(4).is_err());
    let again = Arrival::new(5, 4);
    assert!(coming.piece(&again, &chunk[..5000], false).is_none());
    assert!(coming.piece(&again, &chunk[5000..], true).is_some());
    assert!(coming.store.read(4).unwrap() == chunk);
    // Who is gone holds no place.
    let gone = Arrival::new(1, 5);
    coming.piece(&gone, &[0xee; 5000], false);
    drop(gone);
    let next = Arrival::new(2, 5);
    coming.piece(&next, &f.chunk(5)[..5000], false);
    assert!(coming.stands(5)[..5000] == f.chunk(5)[..5000]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn copies_in_any_order_of_their_pieces_leave_each_chunk_right_that_one_good_copy_brought(
        // Chunk, whether it is good, whether its source falls silent, size of its pieces.
        copies in proptest::collection::vec((1_u32..4, proptest::bool::ANY, proptest::bool::ANY, 20_000_usize..300_000), 1..7),
        turns in proptest::collection::vec(0_usize..7, 0..120),
    ) {
        let f = Fixture::new();
        let (_private, mut coming) = Coming::new(&f);
        let mut under_way: Vec<_> = copies
            .iter()
            .enumerate()
            .map(|(source, (chunk, good, _, size))| {
                let mut data = f.chunk(*chunk);
                data[source] ^= u8::from(!good);
                let pieces: Vec<Vec<u8>> = data.chunks(*size).map(<[u8]>::to_vec).collect();
                Some((Arrival::new(source as u64, *chunk), pieces.into_iter().peekable()))
            })
            .collect();
        let mut stored = std::collections::BTreeSet::new();
        // In that order, and then whoever has not fallen silent, to its end.
        let ends = (0..copies.len()).filter(|n| !copies[*n].2).flat_map(|n| std::iter::repeat_n(n, 20));
        for n in turns.iter().map(|n| n % copies.len()).chain(ends) {
            let Some((arrival, pieces)) = &mut under_way[n] else { continue };
            let Some(piece) = pieces.next() else { continue };
            let is_last = pieces.peek().is_none();
            let outcome = coming.piece(arrival, &piece, is_last);
            let (chunk, good, ..) = copies[n];
            match outcome {
                None => proptest::prop_assert!(!is_last),
                Some(Outcome::Stored { source, chunk: c }) => {
                    proptest::prop_assert!(is_last && good && (source, c) == (n as u64, chunk));
                    stored.insert(chunk);
                }
                Some(Outcome::Bad { source, .. }) => proptest::prop_assert!(is_last && !good && source == n as u64),
                Some(Outcome::Failed(e)) => panic!("{}", e.chain()),
            }
            if is_last {
                under_way[n] = None;
            }
            for chunk in &stored {
                proptest::prop_assert!(coming.stands(*chunk) == f.chunk(*chunk), "chunk {} is spoilt", chunk);
            }
        }
        for (chunk, ..) in copies.iter().filter(|(_, good, silent, _)| *good && !silent) {
            proptest::prop_assert!(stored.contains(chunk));
        }
    }
}

#[test]
fn a_chunk_in_parts_is_made_sure_of_before_the_first_is_given_and_when_the_file_is_touched_between_two() {
    let f = Fixture::new();
    fs::write(f.dir.path().join("genesis.json"), &f.genesis).unwrap();
    let path = f.dir.path().join("snapshot.sql.gz");
    fs::write(&path, &f.snapshot).unwrap();
    let store = Store::open_complete(f.dir.path(), f.contents()).unwrap();
    let (chunk, mut scratch) = (f.chunk(1), Scratch::default());
    let mut read = |at: usize| {
        let mut part = vec![0; 1000];
        store.read_part(1, at, &mut part, &mut scratch).map(|()| part)
    };
    assert_eq!(read(0).unwrap(), chunk[..1000]);
    // Touched, and as it was: it is given on.
    fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(read(2000).unwrap(), chunk[2000..3000]);
    // Written to between two parts: no part of it is given any more, not even a right one.
    write_at(&path, 9000, &[chunk[9000] ^ 1]);
    assert!(matches!(read(3000), Err(ReadError::Chunk(_))));
    assert!(matches!(read(0), Err(ReadError::Chunk(_))));
    write_at(&path, 9000, &[chunk[9000]]);
    assert_eq!(read(0).unwrap(), chunk[..1000]);
}
