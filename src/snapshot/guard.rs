//! A file of Kwil's own tools, with the guard put around its text: in go a snapshot and its genesis, out come a guarded
//! snapshot, made in one pass, and a genesis that pins the new text.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf, absolute},
};

use kwil_formats::{
    dump::{
        filter::DumpFilter,
        guard::{Arranger, PROLOGUE, is_guarded},
    },
    formats::{Family, GENESIS_FILE_NAME, genesis::Genesis},
};
use serde::Serialize;
use tempfile::SpooledTempFile;

use super::{
    gzip::{BLOCK_BYTES, Compression, MemberWriter},
    part::Part,
    pipeline::{JOBS_MAX, Job, Written, jobs_default},
    read::{Pieces, ReadOptions, SnapshotText, TextPiece},
    source::{Piece, Source},
    verify::{VerifyOptions, pinned_by, read_genesis, verify_reader},
};
use crate::base::{
    Advice, Context, Error, Next, Progress, Result, Sha256Hash, durable, files::read_bounded, limits, text,
};

/// Bytes of `kwild_voting`'s text that wait in memory for the end of everything else; more waits on the disk.
const LAST_IN_MEMORY_BYTES: usize = 4 << 20;
/// Bytes of that text that are read back at once.
const READ_BYTES: usize = 128 << 10;

/// How and where a file gets its guard.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// Directory for the new snapshot and genesis; it is made if it is missing.
    pub directory: PathBuf,
    /// Whether the file is to be made fast or to be small.
    pub compression: Compression,
    /// Threads that compress, at most 16; `None`: one for each processor, at most eight.
    pub jobs: Option<usize>,
    /// Whether files of the same name are replaced instead of refused.
    pub force: bool,
    /// The bounds of the pass over the file.
    pub read: ReadOptions,
}

/// A guarded snapshot and its genesis, as `snapshot guard` tells them.
#[derive(Debug, Clone, Serialize)]
pub struct Guarded {
    /// Path of the new snapshot file.
    pub snapshot: PathBuf,
    /// Path of the new genesis file.
    pub genesis: PathBuf,
    /// Whether the network is of v0.9 or v0.10.
    pub family: Family,
    /// SHA-256 of the new uncompressed text, which the new genesis pins.
    pub state_hash: Sha256Hash,
    /// Whether the file had the guard already; its text was then copied as it is.
    pub guarded: bool,
    /// Bytes of the new uncompressed text.
    pub bytes: u64,
    /// Bytes of the new compressed file.
    pub file_bytes: u64,
    /// Tables that the text makes.
    pub tables: u64,
    /// Rows in the text's COPY blocks.
    pub rows: u64,
    /// What of the old text is not in the new one, in words.
    pub left_out: Vec<String>,
}

/// Puts the guard around a snapshot's text and pins the new text in a copy of the genesis. Either both files are there
/// afterwards, or neither. Blocking.
///
/// # Errors
/// As [`super::verify()`]; `Kind::Refused` where files are there already, or a file would be replaced by itself.
pub fn guard(file: &Path, genesis: &Path, options: &GuardOptions, progress: &Progress) -> Result<Guarded> {
    let genesis_bytes = read_bounded(genesis, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    let old = Genesis::parse(&genesis_bytes)?;
    pinned_by(&old)?;
    let directory = absolute(&options.directory).or_failed(|| "cannot tell the current directory")?;
    let target = Target {
        snapshot: directory.join(old.family().snapshot_file_name()),
        genesis: directory.join(GENESIS_FILE_NAME),
    };
    target.check_existing([file, genesis], options.force)?;
    let had_guard = begins_guarded(file)?;
    let is_new = !directory.exists();
    durable::create_directory(&directory, 0o755)?;
    let made = || -> Result<Guarded> {
        let size = fs::metadata(file).or_failed(|| format!("cannot read {}", file.display()))?.len();
        durable::require_space(&directory, size, "the guarded snapshot")?;
        let part = Part::create(&target.snapshot)?;
        let made = if had_guard {
            progress.step("Copying and checking the snapshot, which has the guard already");
            copy(file, genesis, &part, options, progress)?
        } else {
            progress.step("Checking the snapshot and putting the guard around it");
            write_guarded(file, &old, &part, options, progress)?
        };
        let bytes = if had_guard { genesis_bytes.clone() } else { Genesis::repin(&genesis_bytes, made.state_hash)? };
        let genesis_part = Part::create(&target.genesis)?;
        genesis_part.file().write_all(&bytes).or_failed(|| format!("cannot write {}", target.genesis.display()))?;
        genesis_part.sync()?;
        part.sync()?;
        // An old genesis goes first, so that it never stands beside a snapshot not its own.
        match fs::remove_file(&target.genesis) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot replace {}", target.genesis.display())).because(e));
            }
            _ => {}
        }
        part.finish()?;
        if let Err(e) = genesis_part.finish() {
            let _ = fs::remove_file(&target.snapshot);
            return Err(e);
        }
        Ok(Guarded { snapshot: target.snapshot.clone(), genesis: target.genesis.clone(), guarded: had_guard, ..made })
    };
    made().inspect_err(|_| {
        if is_new {
            let _ = fs::remove_dir(&directory);
        }
    })
}

/// The paths of the new pair.
struct Target {
    snapshot: PathBuf,
    genesis: PathBuf,
}

impl Target {
    fn check_existing(&self, read: [&Path; 2], force: bool) -> Result<()> {
        for path in [&self.snapshot, &self.genesis] {
            let Ok(metadata) = fs::symlink_metadata(path) else { continue };
            if metadata.is_dir() {
                return Err(Error::failed(format!("{} is a directory", path.display())).hint(Next::ChooseOutput));
            }
            let real = fs::canonicalize(path).ok();
            if real.is_some() && read.iter().any(|read| fs::canonicalize(read).ok() == real) {
                return Err(
                    Error::refused(format!("{} would be replaced by itself", path.display())).hint(Next::ChooseOutput)
                );
            }
            if !force {
                return Err(
                    Error::refused(format!("{} exists already", path.display())).hint(Next::ChooseOutputOrReplace)
                );
            }
        }
        Ok(())
    }
}

/// Whether the text in a file begins with the guard. What is wrong with the file is said when it is read as a whole.
fn begins_guarded(file: &Path) -> Result<bool> {
    Ok(is_guarded(&SnapshotText::open(file)?.beginning(PROLOGUE.len())))
}

/// Copies a guarded file (plain text is compressed) and checks the copy.
fn copy(file: &Path, genesis: &Path, part: &Part, options: &GuardOptions, progress: &Progress) -> Result<Guarded> {
    let cannot_write = || format!("cannot write {}", part.part().display());
    let mut from = File::open(file).or_failed(|| format!("cannot open {}", file.display()))?;
    let mut magic = [0; 2];
    let gzip = from.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    from.rewind().or_failed(|| format!("cannot read {}", file.display()))?;
    if gzip {
        io::copy(&mut from, &mut part.file()).or_failed(cannot_write)?;
    } else {
        let mut writer = MemberWriter::new(options.compression);
        let mut block = Vec::new();
        loop {
            block.clear();
            let n = (&mut from).take(BLOCK_BYTES as u64).read_to_end(&mut block);
            if n.or_failed(|| format!("cannot read {}", file.display()))? == 0 {
                break;
            }
            part.file().write_all(&writer.member(&block)?).or_failed(cannot_write)?;
        }
    }
    let genesis = read_genesis(genesis)?;
    let copy = File::open(part.part()).or_failed(|| format!("cannot read {}", part.part().display()))?;
    let verify = VerifyOptions { read: options.read.clone(), ..VerifyOptions::default() };
    let verified = verify_reader(copy, &genesis, &verify, progress)?;
    Ok(Guarded {
        snapshot: PathBuf::new(),
        genesis: PathBuf::new(),
        family: verified.family,
        state_hash: verified.state_hash,
        guarded: true,
        bytes: verified.bytes,
        file_bytes: fs::metadata(part.part()).or_failed(cannot_write)?.len(),
        tables: verified.tables,
        rows: verified.rows,
        left_out: Vec::new(),
    })
}

/// Reads the file once: each piece is hashed and checked as it
/// is, put in the guard's order, and written with the guard.
fn write_guarded(
    file: &Path,
    genesis: &Genesis,
    part: &Part,
    options: &GuardOptions,
    progress: &Progress,
) -> Result<Guarded> {
    let old = SnapshotText::open(file)?;
    let behind = tempfile::spooled_tempfile_in(LAST_IN_MEMORY_BYTES, durable::parent(part.part()));
    let write = |pieces| {
        let job = Job {
            source: ArrangedText { pieces, arranger: Some(Arranger::default()), behind, last: Vec::new() },
            filter: DumpFilter::of_snapshot(genesis.family()),
            height: None,
            compression: options.compression,
            jobs: options.jobs.unwrap_or_else(jobs_default).min(JOBS_MAX),
            spill: None,
            describe: false,
            progress,
        };
        let written = job.run(part.file(), part.part());
        progress.done("snapshot");
        written
    };
    // What the file is counts more than what became of it, because it says more.
    let (read, written) = old.read_heard(&options.read, |_| {}, Some(write))?;
    read.pinned_by(genesis)?;
    let written = written.ok_or_else(|| Error::failed("the guarded snapshot was not written"))??;
    let Written { report, state_hash, bytes, file_bytes, scan, .. } = written;
    let scan = scan.map_err(|e| {
        Error::from(e).hint(Advice::from("the file cannot be given the guard").and(Next::MakeSnapshotAnew))
    })?;
    if !report.voters.is_empty() {
        return Err(Error::verify("the snapshot holds rows of kwild_voting.voters, which belong into the genesis"));
    }
    Ok(Guarded {
        snapshot: PathBuf::new(),
        genesis: PathBuf::new(),
        family: scan.family,
        state_hash,
        guarded: false,
        bytes,
        file_bytes,
        tables: scan.tables,
        rows: scan.rows,
        left_out: report.omitted_notes().collect(),
    })
}

/// A text that comes in pieces, put in the guard's order: what
/// of `kwild_voting` comes early waits until all else is over.
struct ArrangedText {
    pieces: Pieces<TextPiece>,
    /// Puts the text in order; `None` once the text is over.
    arranger: Option<Arranger>,
    /// What waits for the end of all else.
    behind: SpooledTempFile,
    /// What the arranger has just put last.
    last: Vec<u8>,
}

impl Source for ArrangedText {
    fn next(&mut self) -> Result<Option<Piece>> {
        let cannot_keep = || "cannot keep a part of the snapshot in the directory that it is written to";
        while let Some(arranger) = &mut self.arranger {
            let Some(piece) = self.pieces.next() else {
                if let Some(arranger) = self.arranger.take() {
                    arranger.finish()?;
                }
                self.behind.rewind().or_failed(cannot_keep)?;
                break;
            };
            let mut first = Vec::with_capacity(piece.len());
            arranger.push(&piece, &mut first, &mut self.last)?;
            self.behind.write_all(&self.last).or_failed(cannot_keep)?;
            self.last.clear();
            if !first.is_empty() {
                return Ok(Some(Piece::Text(first)));
            }
        }
        let mut piece = Vec::new();
        let n = (&mut self.behind).take(READ_BYTES as u64).read_to_end(&mut piece).or_failed(cannot_keep)?;
        Ok((n > 0).then_some(Piece::Text(piece)))
    }

    fn part_done(&self) -> Option<f64> {
        None
    }

    fn detail(&self, rows: u64) -> String {
        text::count(rows, "row")
    }
}
