//! Chunks that are larger than what is read, sent and written of them at once.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use regenesis::{
    base::{Progress, task::CancellationToken},
    store::{Disk, FileSystem, OpenDisk, PIECE_BYTES, PrivateDirectory, Stamp, Store},
    swarm::short_peer,
};

use super::world::*;

const LARGE: usize = 4 * PIECE_BYTES;

#[tokio::test(flavor = "multi_thread")]
async fn large_chunks_come_from_several_and_who_sends_wrong_ones_is_named() {
    let world = World::of_chunks(24, LARGE);
    let liar = liar(&world, world.config(TCP, &[])).await;
    let first = seed(&world, world.config(TCP, &[])).await;
    let second = seed(&world, world.config(QUIC, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let connect = [&liar, &first, &second].map(|seed| seed.address.clone());
    let got = within(fetch(&world, world.config(TCP, &connect), dir.path(), now())).await.unwrap();
    let others = [&first, &second].map(|seed| short_peer(&seed.id));
    assert!(got.warnings.iter().any(|warning| warning.contains(&short_peer(&liar.id))), "{:?}", got.warnings);
    assert!(got.warnings.iter().all(|warning| others.iter().all(|id| !warning.contains(id))), "{:?}", got.warnings);
}

/// A file that somebody writes to while a chunk of it is sent: as soon as its second piece is read, its last byte is another one.
struct WrittenTo {
    armed: Arc<AtomicBool>,
    chunk: u64,
}

struct WrittenToFile {
    file: Box<dyn Disk>,
    path: PathBuf,
    armed: Arc<AtomicBool>,
    chunk: u64,
}

impl OpenDisk for WrittenTo {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Disk>> {
        let (file, path) = (FileSystem.open(path)?, path.to_owned());
        Ok(Box::new(WrittenToFile { file, path, armed: self.armed.clone(), chunk: self.chunk }))
    }

    fn create(&self, path: &Path, size_bytes: u64) -> io::Result<Box<dyn Disk>> {
        FileSystem.create(path, size_bytes)
    }
}

impl Disk for WrittenToFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let begins = self.chunk * LARGE as u64;
        if offset == begins + PIECE_BYTES as u64 && self.armed.swap(false, Ordering::SeqCst) {
            let file = fs::OpenOptions::new().read(true).write(true).open(&self.path)?;
            let (mut byte, last) = ([0], begins + LARGE as u64 - 1);
            file.read_exact_at(&mut byte, last)?;
            file.write_all_at(&[!byte[0]], last)?;
            file.set_modified(std::time::UNIX_EPOCH)?;
        }
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.file.stamp()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_written_to_while_it_is_sent_is_the_owners_error_and_no_lie() {
    let world = World::of_chunks(12, LARGE);
    let armed = Arc::new(AtomicBool::new(false));
    let mut edited = seed_with(&world, world.config(TCP, &[]), |dir| {
        let private = PrivateDirectory::lock(dir).unwrap();
        let disks = WrittenTo { armed: armed.clone(), chunk: 5 };
        let silent = Progress::silent();
        let opened = Store::open(dir, &private, world.contents(), &disks, &silent, &CancellationToken::new()).unwrap();
        assert!(opened.have.is_full());
        armed.store(true, Ordering::SeqCst);
        Arc::into_inner(opened.store).expect("ours alone")
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = world.config(TCP, std::slice::from_ref(&edited.address));
    let (told, is_told) = tokio::sync::oneshot::channel::<()>();
    within(async {
        let fetching = fetch(&world, config, dir.path(), async {
            let _ = is_told.await;
        });
        let helping = async {
            says(&mut edited.handle, &["snapshot.sql.gz is not the file that was signed: chunk 5 differs"]).await;
            // Only now there is one that has it.
            let whole = seed(&world, world.config(TCP, std::slice::from_ref(&edited.address))).await;
            let _ = told.send(());
            whole
        };
        let (got, _whole) = tokio::join!(fetching, helping);
        let got = got.unwrap();
        let id = short_peer(&edited.id);
        assert!(got.warnings.iter().all(|warning| !warning.contains(&id)), "{:?}", got.warnings);
    })
    .await;
}
