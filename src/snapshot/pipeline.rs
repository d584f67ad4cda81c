//! The pipeline: in goes a dump's text from a [`Source`], out come a file of gzip members and what became of the text.
//!
//! Threads of [`Job::run`]: a *reader* filters the text, cuts it into blocks of [`BLOCK_BYTES`] and hashes it;
//! *compressors* turn blocks into members; the *writer*, which is the caller's thread, writes the members and hashes
//! the file. Two listeners hear the same blocks: a *scanner*, the statement check that every validator will apply, and
//! a *digester*, if a digest is asked for. [`Job::digest_with`] has a reader and a digester only, and no file.
//!
//! Invariant: a block takes its place in the line before a compressor gets it, so that members are written in the
//! text's order whoever is first; the line has room for [`BLOCKS_WAITING`] blocks more than there are compressors and
//! every other queue has a bound, so that memory does not grow with the database.
//!
//! 1. The reader takes a piece, filters it, and for each whole block: hash, place in the line, order, listeners.
//! 2. A compressor takes the next order and puts its members, or its error, into that block's place.
//! 3. The writer waits for the first place in the line, writes what comes there, and goes to the next one.
//!
//! Good end: the source is over, the filter writes the last lines, the reader lets go of all queues, and everybody ends
//! behind it. Errors: whoever fails lets go of its queue, which ends the others with [`stopped`]; the writer's error is
//! told first, then the digester's, then the reader's (source or filter). What the scanner finds is no error here, but
//! part of [`Written`]. Interruption: nothing here looks for one; the owner of the source ends it, and that is the
//! reader's error. The file is neither synced nor named here: its [`super::part::Part`] removes it unless the caller
//! finishes it.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use kwil_formats::dump::{
    digest::TextDigest,
    filter::{DumpFilter, FilterReport},
    scan::{ScanError, ScanReport},
};
use sha2::{Digest, Sha256};

use super::{
    digest::{StateDigester, digest_pieces},
    gzip::{BLOCK_BYTES, Compression, MemberWriter},
    read::{Listeners, scan_pieces},
    source::Source,
};
use crate::{
    base::{Context, Error, Kind, Next, Progress, Result, Sha256Hash, durable},
    manifest::{ArtifactDescription, ArtifactHasher, Layout},
};

/// The part of the text (0 to 1) that must be written before its whole size is estimated.
const ESTIMATED_FROM: f64 = 0.01;
/// Blocks that may wait in the line beyond one for each compressor.
const BLOCKS_WAITING: usize = 2;
/// Compressing threads at most: one thread hashes what they compress, so that more would only take memory.
pub(crate) const JOBS_MAX: usize = 16;
/// Compressing threads that are started unasked at most.
const JOBS_DEFAULT_MAX: usize = 8;

/// Threads that compress, and connections that read, where nobody says how many: one for each processor, at most eight.
pub(crate) fn jobs_default() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(JOBS_DEFAULT_MAX)
}

/// What became of a dump that was written into a file.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) report: FilterReport,
    pub(crate) state_hash: Sha256Hash,
    /// Bytes of the text, uncompressed.
    pub(crate) bytes: u64,
    /// Bytes of the file, compressed.
    pub(crate) file_bytes: u64,
    /// What the text holds, or why `snapshot verify` and every join will refuse it.
    pub(crate) scan: Result<ScanReport, ScanError>,
    /// The state's digest, without the validators; `None` where it was not asked for.
    pub(crate) digest: Option<TextDigest>,
    /// The file's own hashes and chunks for a manifest; `None` where they were not asked for.
    pub(crate) description: Option<ArtifactDescription>,
}

/// A dump that is to be written into a file, or only digested.
pub(crate) struct Job<'a, S> {
    /// Where the dump's text comes from.
    pub(crate) source: S,
    pub(crate) filter: DumpFilter,
    /// Height that the closing UPDATE takes off the resolutions'
    /// expiry; `None`: the text ends with an UPDATE of its own.
    pub(crate) height: Option<i64>,
    pub(crate) compression: Compression,
    /// Compressing threads, from 1 to [`JOBS_MAX`]; others are taken for the nearest of these.
    pub(crate) jobs: usize,
    /// Directory for the hashes of a digest that are too many to hold in memory; `None`: no digest is made.
    pub(crate) spill: Option<PathBuf>,
    /// Whether the file is hashed, too, as a manifest describes it.
    pub(crate) describe: bool,
    pub(crate) progress: &'a Progress,
}

type Block = Arc<Vec<u8>>;
/// A block on its way to a compressing thread, and the place in which its members are awaited.
type Order = (Block, SyncSender<Result<Vec<u8>>>);
/// The line: the places of the blocks' members, in the text's order.
type Line = SyncSender<Receiver<Result<Vec<u8>>>>;

/// The error of a thread whose queue was let go of by another one; that one's own error says why.
fn queue_closed() -> Error {
    Error::failed("the snapshot was not finished")
}

fn cannot_write(path: &Path, e: std::io::Error) -> Error {
    Error::failed(format!("cannot write {}", path.display())).because(e).hint(Next::RoomOrChooseSnapdir)
}

/// Adds to a digest's error that the snapshot can be made without the digest.
fn without_digest(e: Error) -> Error {
    if e.kind() == Kind::Verify && e.advice().is_some() { e.or_hint(Next::WithoutDigest) } else { e }
}

impl<S: Source + Send> Job<'_, S> {
    /// Writes the members into `file`; `path` is what messages call it. Blocking; the file is not yet synced.
    pub(crate) fn run(self, file: &File, path: &Path) -> Result<Written> {
        let jobs = self.jobs.clamp(1, JOBS_MAX);
        let compression = self.compression;
        let mut describing = self.describe.then(ArtifactHasher::default);
        let (orders, take_order) = sync_channel::<Order>(1);
        // Theirs alone: where all of them have ended, nobody waits for one to take an order.
        let take_order = Arc::new(Mutex::new(take_order));
        let (line, in_order) = sync_channel::<Receiver<Result<Vec<u8>>>>(jobs + BLOCKS_WAITING);
        thread::scope(|scope| {
            for _ in 0..jobs {
                let take_order = take_order.clone();
                scope.spawn(move || compress(&take_order, compression));
            }
            drop(take_order);
            let mut listeners = Listeners::new(scope);
            let scanner = listeners.add(scan_pieces)?;
            let spill = self.spill.clone();
            let digester = spill.map(|spill| {
                // A digest that fails ends the work, because it was asked for.
                listeners.add_needed(move |pieces| digest_pieces(pieces, StateDigester::new(&spill)))
            });
            let digester = digester.transpose()?;
            let reader = scope.spawn(move || {
                let to_file = Some(ToFile { hash: Sha256::new(), orders: &orders, line: &line });
                self.read(to_file, listeners)
            });
            let mut file_bytes = 0;
            let written: Result<()> = (|| {
                let mut early_sync = durable::EarlySync::of(file).map_err(|e| cannot_write(path, e))?;
                for member in &in_order {
                    let member = member.recv().map_err(|_| queue_closed())??;
                    (&*file).write_all(&member).map_err(|e| cannot_write(path, e))?;
                    file_bytes += member.len() as u64;
                    if let Some(hasher) = &mut describing {
                        hasher.update(&member);
                    }
                    early_sync.written(member.len());
                }
                Ok(())
            })();
            // Ends the reader where writing failed, before it is waited for.
            drop(in_order);
            let read = reader.join().map_err(|_| queue_closed());
            // The reader only says "stopped" when writing failed: that error is the real one.
            written?;
            // And also "stopped" when the digester did.
            let digester = digester.map(|heard| heard.end()?).transpose().map_err(without_digest)?;
            let Text { report, state_hash, bytes } = read??;
            let scan = scanner.end()?;
            let digest = digester.map(StateDigester::finish_text).transpose().map_err(without_digest)?;
            let description = describing.map(|hasher| describe(hasher, path)).transpose()?;
            Ok(Written { report, state_hash, bytes, file_bytes, scan, digest, description })
        })
    }

    /// Gives the text to a digester and no file. The digester comes
    /// back and is still to be finished; so does the filter's report.
    pub(crate) fn digest_with(self, digester: StateDigester) -> Result<(FilterReport, StateDigester)> {
        thread::scope(|scope| {
            let mut listeners = Listeners::new(scope);
            let digester = listeners.add_needed(move |pieces| digest_pieces(pieces, digester))?;
            let read = self.read(None, listeners);
            let digester = digester.end()??;
            Ok((read?.report, digester))
        })
    }

    fn read(mut self, to_file: Option<ToFile<'_>>, listeners: Listeners<'_, '_, Vec<u8>>) -> Result<Text> {
        let mut out = Out { block: Vec::new(), bytes: 0, to_file, listeners };
        while let Some(piece) = self.source.next()? {
            self.filter.push(piece.as_ref(), &mut out.block)?;
            if out.block.len() >= BLOCK_BYTES {
                out.send_whole_blocks()?;
                // Little has been seen at first: an estimate from it would jump.
                let part = self.source.part_done().filter(|part| *part > ESTIMATED_FROM);
                let total = part.map(|part| (out.bytes as f64 / part) as u64);
                self.progress.bytes("snapshot", out.bytes, total, self.source.detail(self.filter.rows()));
            }
        }
        let report = match self.height {
            Some(height) => self.filter.finish(height, &mut out.block)?,
            None => self.filter.finish_snapshot(&mut out.block)?,
        };
        out.send_whole_blocks()?;
        let rest = std::mem::take(&mut out.block);
        if !rest.is_empty() {
            out.send(rest)?;
        }
        self.progress.done("snapshot");
        let hash = out.to_file.map_or_else(Sha256::new, |to_file| to_file.hash);
        Ok(Text { report, state_hash: Sha256Hash::from_bytes(hash.finalize().into()), bytes: out.bytes })
    }
}

/// What became of the text, as the reader saw it.
struct Text {
    report: FilterReport,
    /// SHA-256 of the text; without meaning where the text does not go into a file.
    state_hash: Sha256Hash,
    bytes: u64,
}

struct Out<'a, 'scope, 'env> {
    block: Vec<u8>,
    bytes: u64,
    to_file: Option<ToFile<'a>>,
    listeners: Listeners<'scope, 'env, Vec<u8>>,
}

/// The way of the blocks into the file.
struct ToFile<'a> {
    hash: Sha256,
    orders: &'a SyncSender<Order>,
    line: &'a Line,
}

impl Out<'_, '_, '_> {
    fn send_whole_blocks(&mut self) -> Result<()> {
        while self.block.len() >= BLOCK_BYTES {
            let mut block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 4);
            block.extend_from_slice(&self.block[BLOCK_BYTES..]);
            std::mem::swap(&mut block, &mut self.block);
            block.truncate(BLOCK_BYTES);
            self.send(block)?;
        }
        Ok(())
    }

    fn send(&mut self, block: Vec<u8>) -> Result<()> {
        self.bytes += block.len() as u64;
        let block = Arc::new(block);
        if let Some(to_file) = &mut self.to_file {
            to_file.send(block.clone())?;
        }
        if self.listeners.give(&block) { Ok(()) } else { Err(queue_closed()) }
    }
}

impl ToFile<'_> {
    fn send(&mut self, block: Block) -> Result<()> {
        self.hash.update(&*block);
        let (done, member) = sync_channel(1);
        // The place in the line first: its bound is the bound on blocks in memory.
        self.line.send(member).map_err(|_| queue_closed())?;
        self.orders.send((block, done)).map_err(|_| queue_closed())
    }
}

/// What a manifest says of the file, in the layout of chunks that a new manifest gives a file of its size.
fn describe(hasher: ArtifactHasher, path: &Path) -> Result<ArtifactDescription> {
    let cannot = || format!("{} cannot be described by a manifest", path.display());
    let layout = Layout::for_size(hasher.taken()).or_verify(cannot)?;
    hasher.finish(layout).or_verify(cannot)
}

fn compress(take_order: &Mutex<Receiver<Order>>, compression: Compression) {
    let mut writer = MemberWriter::new(compression);
    loop {
        let Ok(order) = take_order.lock().map(|queue| queue.recv()) else { return };
        let Ok((block, done)) = order else { return };
        // Nobody waits any more: the next order's end says so too.
        let _ = done.send(writer.members(&block));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use super::{super::digest::spill_directory, *};
    use crate::snapshot::source::Piece;
    use kwil_formats::{dump::filter::LineRules, formats::Family};

    const DUMP: &str = "CREATE SCHEMA kwild_voting;\nCREATE TABLE kwild_voting.voters (\n    id bytea NOT NULL,\n    \
        name bytea NOT NULL,\n    power bigint NOT NULL\n);\nCOPY kwild_voting.voters (id, name, power) FROM stdin;\n\
        \\\\x9184e6ff80ac5534bc2255f5089986a2\t\\\\x03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\t1\n\
        \\.\n";

    /// Pieces from a closure.
    struct Pieces<F>(F);

    impl<F: FnMut() -> Result<Option<Vec<u8>>>> Source for Pieces<F> {
        fn next(&mut self) -> Result<Option<Piece>> {
            Ok((self.0)()?.map(Piece::Text))
        }

        fn part_done(&self) -> Option<f64> {
            None
        }

        fn detail(&self, _: u64) -> String {
            String::new()
        }
    }

    fn whole(text: &str) -> impl Source + Send + use<> {
        let mut text = Some(text.as_bytes().to_vec());
        Pieces(move || Ok(text.take()))
    }

    fn job<S: Source + Send>(source: S, progress: &Progress) -> Job<'_, S> {
        Job {
            source,
            filter: DumpFilter::new(Family::V09, LineRules::Faithful),
            height: Some(42),
            compression: Compression::Fast,
            jobs: 3,
            spill: Some(std::env::temp_dir()),
            describe: true,
            progress,
        }
    }

    fn grown_dump(rows: usize) -> String {
        let mut text = format!("{DUMP}COPY ds_x.t (a, b) FROM stdin;\n");
        for i in 0..rows {
            text.push_str(&format!("{i}\t{}\n", "x".repeat(i % 200)));
        }
        text.push_str("\\.\n");
        text
    }

    #[test]
    fn the_file_unpacks_to_the_text_that_was_hashed() {
        let text = grown_dump(40_000);
        let progress = Progress::silent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gz");
        let file = File::create(&path).unwrap();
        let written = job(whole(&text), &progress).run(&file, &path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked.len() > 3 * BLOCK_BYTES, "several members");
        assert_eq!(written.bytes, unpacked.len() as u64);
        assert_eq!(written.file_bytes, bytes.len() as u64);
        assert_eq!(written.state_hash.as_bytes(), Sha256::digest(&unpacked).as_slice());
        assert!(unpacked.ends_with(b"\\.\nUPDATE kwild_voting.resolutions SET expiration = expiration-42;\nCOMMIT;\n"));
        assert_eq!(written.report.voters.len(), 1);
    }

    #[test]
    fn a_dump_that_ends_badly_is_its_sources_error() {
        let progress = Progress::silent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gz");
        let file = File::create(&path).unwrap();
        let mut front = Some(DUMP.as_bytes()[..DUMP.len() / 2].to_vec());
        let source = Pieces(move || match front.take() {
            Some(front) => Ok(Some(front)),
            None => Err(Error::failed("the server ended the connection")),
        });
        let e = job(source, &progress).run(&file, &path).unwrap_err();
        assert_eq!(e.to_string(), "the server ended the connection");
    }

    #[test]
    fn a_file_that_cannot_be_written_ends_an_endless_dump() {
        let progress = Progress::silent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gz");
        fs::write(&path, "").unwrap();
        let read_only = File::open(&path).unwrap();
        let mut head = Some(format!("{DUMP}COPY ds_x.t (a, b) FROM stdin;\n").into_bytes());
        let endless = Pieces(move || Ok(head.take().or_else(|| Some(b"1\tx\n".repeat(10_000)))));
        let e = job(endless, &progress).run(&read_only, &path).unwrap_err();
        assert!(e.to_string().contains("out.gz"), "{e}");
    }

    #[test]
    fn a_state_without_a_digest_ends_an_endless_dump_and_says_the_way_on() {
        let progress = Progress::silent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gz");
        let file = File::create(&path).unwrap();
        let text = || {
            let mut head = Some(format!("{DUMP}COPY kwild_engine.roles (id, name) FROM stdin;\n").into_bytes());
            Pieces(move || Ok(head.take().or_else(|| Some(b"7\tx\n".repeat(1000)))))
        };
        let e = job(text(), &progress).run(&file, &path).unwrap_err();
        assert!(e.chain().contains("the id 7 appears twice"), "{}", e.chain());
        assert!(e.advice().unwrap().names(&crate::base::Next::WithoutDigest), "{e:?}");
        let e = job(text(), &progress).digest_with(StateDigester::new(&spill_directory())).unwrap_err();
        assert!(e.chain().contains("the id 7 appears twice"), "{}", e.chain());
    }

    #[test]
    fn a_dump_is_digested_alike_with_and_without_a_file() {
        let text = grown_dump(40_000);
        let progress = Progress::silent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gz");
        let file = File::create(&path).unwrap();
        let written = job(whole(&text), &progress).run(&file, &path).unwrap();
        let (report, digester) =
            job(whole(&text), &progress).digest_with(StateDigester::new(&spill_directory())).unwrap();
        let digest = digester.finish_text().unwrap();
        assert_eq!(Some(&digest), written.digest.as_ref());
        assert_eq!(report, written.report);
        assert_eq!(digest.tables[0].rows, 40_000);
    }
}
