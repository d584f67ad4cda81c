//! Disks that are full or broken, and files that somebody touches while they are filled.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
};

use super::*;

/// What happens before a place of a disk is read or written: an error is what comes of it.
type Before = Arc<dyn Fn(Range<u64>) -> io::Result<()> + Send + Sync>;

/// A disk on which something happens before it is read or written.
pub(super) struct Watched {
    disk: Box<dyn Disk>,
    read: Before,
    write: Before,
}

impl Watched {
    pub(super) fn new(disk: Box<dyn Disk>, read: Before, write: Before) -> Self {
        Watched { disk, read, write }
    }
}

impl Disk for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (self.read)(offset..offset + buf.len() as u64)?;
        self.disk.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        (self.write)(offset..offset + buf.len() as u64)?;
        self.disk.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
    fn stamp(&self) -> io::Result<Stamp> {
        self.disk.stamp()
    }
}

/// Opens such disks for incomplete files of one name, or of any.
struct Watching {
    name: Option<&'static str>,
    read: Before,
    write: Before,
}

impl OpenDisk for Watching {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Disk>> {
        FileSystem.open(path)
    }
    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn Disk>> {
        let disk = FileSystem.create(path, size)?;
        if self.name.is_some_and(|name| path.file_stem() != Some(name.as_ref())) {
            return Ok(disk);
        }
        Ok(Box::new(Watched::new(disk, self.read.clone(), self.write.clone())))
    }
}

/// It takes so many bytes and no more.
fn full_disk(bytes: i64) -> Watching {
    let left = AtomicI64::new(bytes);
    let write = move |place: Range<u64>| {
        let bytes = (place.end - place.start) as i64;
        match left.fetch_sub(bytes, Ordering::SeqCst) < bytes {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    };
    Watching { name: None, read: Arc::new(|_| Ok(())), write: Arc::new(write) }
}

/// It does not give the byte at one place of the snapshot while that is bad, which ends when it is written; counts how often it is.
fn bad_sector(at: u64, bad: &Arc<AtomicBool>, written: &Arc<AtomicUsize>) -> Watching {
    let (is_bad, mended, counted) = (bad.clone(), bad.clone(), written.clone());
    let read = move |place: Range<u64>| match place.contains(&at) && is_bad.load(Ordering::SeqCst) {
        true => Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32)),
        false => Ok(()),
    };
    let write = move |place: Range<u64>| {
        if place.contains(&at) {
            mended.store(false, Ordering::SeqCst);
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    };
    Watching { name: Some("snapshot.sql.gz"), read: Arc::new(read), write: Arc::new(write) }
}

#[test]
fn a_disk_that_fills_pauses_with_a_clear_error_and_goes_on_later() {
    let f = Fixture::new();
    let disk = full_disk(2 * CHUNK as i64 + 1000);
    let (outcomes, store) = f.put(&disk, &[(0, f.chunk(0)), (1, f.chunk(1)), (2, f.chunk(2)), (3, f.chunk(3))]);
    let stored = outcomes.iter().filter(|o| matches!(o, Outcome::Stored { .. })).count();
    assert_eq!(stored, 3);
    let Some(Outcome::Failed(e)) = outcomes.iter().find(|o| matches!(o, Outcome::Failed(_))) else {
        panic!("no failure told: {outcomes:?}")
    };
    assert!(e.chain().contains("is full"), "{}", e.chain());
    assert!(format!("{:?}", e.advice()).contains("goes on where it stopped"));
    assert_eq!(store.unwrap_err().kind(), Kind::Failed);
    let (_p, again) = f.open(&FileSystem).unwrap();
    assert_eq!(again.have.ranges(), [0..3]);
}

#[test]
fn a_bad_sector_of_an_incomplete_file_is_fetched_again_and_written_anew() {
    let f = Fixture::new();
    let (outcomes, _) = f.put(&FileSystem, &[(1, f.chunk(1)), (2, f.chunk(2)), (3, f.chunk(3))]);
    assert_eq!(outcomes.len(), 3);
    // Killed: nothing vouches for what is there, and all of it is looked at.
    fs::remove_file(f.dir.path().join(".regenesis").join(JOURNAL_NAME)).unwrap();
    let (bad, written) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let disk = bad_sector(CHUNK as u64 + 100, &bad, &written);
    let (private, opened) = f.open(&disk).unwrap();
    assert_eq!(opened.have.iter().collect::<Vec<_>>(), [1, 3]);
    drop((private, opened));
    let (outcomes, _) = f.put(&disk, &[(2, f.chunk(2))]);
    assert!(matches!(outcomes[..], [Outcome::Stored { chunk: 2, .. }]), "{outcomes:?}");
    assert!(!bad.load(Ordering::SeqCst) && written.load(Ordering::SeqCst) == 1);
}

#[test]
fn what_the_disk_does_not_give_any_more_is_written_anew_when_it_comes_again() {
    let f = Fixture::new();
    let (bad, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let disk = bad_sector(CHUNK as u64 + 100, &bad, &written);
    let (_private, opened) = f.open(&disk).unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    let store = opened.store.clone();
    let writer = Writer::start(opened, tx).unwrap();
    let queue = writer.queue();
    for times in 1..=2 {
        // In two pieces, so that it is written as it comes.
        let chunk = f.chunk(2);
        let (first, last) = chunk.split_at(chunk.len() / 2);
        let arrival = Arrival::new(9, 2);
        for (data, is_last) in [(first, false), (last, true)] {
            queue.blocking_send(Untrusted { arrival: arrival.clone(), data: data.to_vec(), is_last }).unwrap();
        }
        assert!(matches!(rx.blocking_recv(), Some(Outcome::Stored { chunk: 2, .. })));
        assert_eq!(written.load(Ordering::SeqCst), times);
        bad.store(true, Ordering::SeqCst);
        assert!(matches!(store.read(2), Err(ReadError::Chunk(_))));
    }
    drop(queue);
    let _ = writer.stop();
}

#[test]
fn a_file_that_is_cut_replaced_or_removed_while_it_is_filled_gets_no_name_and_takes_nobodys() {
    let cut = |part: &Path| fs::File::options().write(true).open(part).unwrap().set_len(10).unwrap();
    let replace = |part: &Path| {
        let copy = part.with_extension("copy");
        fs::copy(part, &copy).unwrap();
        fs::rename(copy, part).unwrap();
    };
    let remove = |part: &Path| fs::remove_file(part).unwrap();
    let link = |part: &Path| {
        let moved = part.with_extension("moved");
        fs::rename(part, &moved).unwrap();
        std::os::unix::fs::symlink(moved, part).unwrap();
    };
    type Harm<'a> = (&'a dyn Fn(&Path), &'a str);
    let harms: [Harm<'_>; 5] = [
        (&cut, "moved, replaced or cut"),
        (&replace, "moved, replaced or cut"),
        (&remove, "moved, replaced or cut"),
        (&link, "moved, replaced or cut"),
        (&|part| fs::write(part.with_extension(""), "hello").unwrap(), "has appeared"),
    ];
    for (harm, words) in harms {
        let f = Fixture::new();
        let (_private, opened) = f.open(&FileSystem).unwrap();
        let (tx, mut rx) = tokio::sync::mpsc::channel(64);
        let writer = Writer::start(opened, tx).unwrap();
        let queue = writer.queue();
        let name = f.dir.path().join("snapshot.sql.gz");
        queue.blocking_send(Untrusted::whole(9, 1, f.chunk(1))).unwrap();
        assert!(matches!(rx.blocking_recv(), Some(Outcome::Stored { chunk: 1, .. })));
        harm(&durable::part_path(&name));
        for chunk in (0..f.contents().chunk_count()).filter(|chunk| *chunk != 1) {
            let _ = queue.blocking_send(Untrusted::whole(9, chunk, f.chunk(chunk)));
        }
        drop(queue);
        let ended = writer.finish().map(drop).expect_err(words).chain();
        assert!(ended.contains(words), "{ended}");
        assert!(fs::read(&name).is_err() || fs::read(&name).unwrap() == b"hello", "{words}");
    }
}
