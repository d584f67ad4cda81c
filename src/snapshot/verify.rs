//! The one-pass check of a snapshot: unpack, hash, and read every statement. The same for `snapshot verify`, `join` and
//! `setup init`. Unpacking, hashing and reading run on a thread each.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use kwil_formats::{
    dump::{
        digest::TextDigest,
        scan::{STACK_BYTES, ScanError, ScanReport, StatementScanner},
    },
    formats::{Family, genesis::Genesis},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    deep::{self, Described},
    digest::{StateDigester, take_pieces, validators_of},
    piece::TextPiece,
    stream::Unlike,
    text::TextReader,
};
use crate::base::{
    Blake3Hash, Context, Error, Finding, Kind, Level, Progress, Result, Sha256Hash,
    files::read_bounded,
    limits::{GENESIS_SIZE_BYTES_MAX, SNAPSHOT_TEXT_BYTES_MAX},
    task::CancellationToken,
    text,
};

/// Pieces of text waiting for a thread; each is at most one MiB.
const PIECES_WAITING: usize = 3;

/// How a snapshot is checked.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// List every table with its rows in the result, ask for the closing UPDATE, and compare with
    /// the manifest beside the file.
    pub deep: bool,
    /// The manifest to compare with, or its directory.
    pub manifest: Option<PathBuf>,
    /// Uncompressed text beyond which the file is refused.
    pub max_bytes: u64,
    /// Ends the check.
    pub cancel: CancellationToken,
    /// Also digest the state; here wait hashes that are too many to hold.
    pub spill: Option<PathBuf>,
    /// Refuse a text without the guard; otherwise that is a finding.
    pub guarded_only: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions {
            deep: false,
            manifest: None,
            max_bytes: SNAPSHOT_TEXT_BYTES_MAX,
            cancel: CancellationToken::new(),
            spill: None,
            guarded_only: false,
        }
    }
}

/// A snapshot that passed.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Always true: what does not pass is an error.
    pub ok: bool,
    /// Which formats.
    pub family: Family,
    /// SHA-256 of the text.
    pub state_hash: Sha256Hash,
    /// What the genesis pins: the same.
    pub expected: Sha256Hash,
    /// Height in the last line, if there is one.
    pub height: Option<i64>,
    /// Of the text.
    pub bytes: u64,
    /// COPY blocks.
    pub tables: u64,
    /// COPY rows.
    pub rows: u64,
    /// Rows of every table; only where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_rows: Option<BTreeMap<String, u64>>,
    /// Whether psql loads all of it or nothing.
    pub guarded: bool,
    /// What is worth knowing.
    pub findings: Vec<Finding>,
    /// The state's digest with the genesis' validators; only where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<Blake3Hash>,
    /// What it was made from.
    #[serde(skip)]
    pub digest: Option<TextDigest>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The snapshot is what its genesis pins, and holds nothing but a Kwil dump's statements.")?;
        writeln!(f, "  family      {}", self.family)?;
        writeln!(f, "  state hash  {}", self.state_hash)?;
        if let Some(digest) = self.state_digest {
            writeln!(f, "  digest      {digest}")?;
        }
        if let Some(height) = self.height {
            writeln!(f, "  height      {height}")?;
        }
        writeln!(f, "  text        {} in {} bytes", text::bytes(self.bytes), self.bytes)?;
        writeln!(f, "  data        {} in {}", text::count(self.rows, "row"), text::count(self.tables, "table"))?;
        for (table, rows) in self.table_rows.iter().flatten() {
            writeln!(f, "    {rows:>12}  {}", text::escape(table))?;
        }
        for finding in &self.findings {
            writeln!(f, "{}: {}", finding.level, finding.text)?;
        }
        Ok(())
    }
}

/// Reads a genesis file, with a bound on its size.
///
/// # Errors
/// When it cannot be read, or is no genesis.
pub fn read_genesis(path: &Path) -> Result<Genesis> {
    Ok(Genesis::parse(&read_bounded(path, GENESIS_SIZE_BYTES_MAX, "genesis")?)?)
}

/// Checks a snapshot file against a genesis file. Blocking.
///
/// # Errors
/// `Kind::Verify` with both hashes, or with the line and the statement that no Kwil dump has; `Kind::Failed` when a file
/// cannot be read.
pub fn verify(snapshot: &Path, genesis: &Path, options: &VerifyOptions, progress: &Progress) -> Result<Verified> {
    let genesis = read_genesis(genesis)?;
    let file = fs::File::open(snapshot).or_failed(|| format!("cannot open {}", snapshot.display()))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Error::failed(format!("{} is a directory", snapshot.display()))
            .hint("name the snapshot file in it (kwildb-snapshot.sql.gz or snapshot.sql.gz)"));
    }
    let reader = TextReader::new(file).or_failed(|| format!("cannot read {}", snapshot.display()))?;
    let gzip = reader.is_gzip();
    // kwild decides by the name, and reads the wrong bytes where it does not fit.
    let named_gzip = snapshot.extension() == Some(OsStr::new("gz"));
    if named_gzip && !gzip {
        return Err(Error::verify(format!("{} is named .gz but is no gzip file", snapshot.display()))
            .hint("fetch it again; plain SQL text must have a name that ends in .sql"));
    }
    let manifest = match &options.manifest {
        None if options.deep => deep::beside(snapshot),
        named => named.clone(),
    };
    let manifest = manifest.map(|path| Described::read(&path)).transpose()?;
    let mut verified = verify_text(reader, &genesis, manifest.as_ref(), options, progress)?;
    if gzip && !named_gzip {
        verified.findings.push(Finding::new(Level::Warning, "name", format!(
                "{} is a gzip file, but kwild unpacks only a file whose name ends in .gz: rename it before kwild reads it",
                snapshot.display()
            )));
    }
    Ok(verified)
}

/// Checks a snapshot, gzip or plain, that comes from any reader. Blocking.
///
/// # Errors
/// As [`verify`].
pub fn verify_reader(
    reader: impl Read,
    genesis: &Genesis,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Verified> {
    let reader = TextReader::new(reader).or_failed(|| "cannot read the snapshot")?;
    let manifest = options.manifest.as_ref().map(|path| Described::read(path)).transpose()?;
    verify_text(reader, genesis, manifest.as_ref(), options, progress)
}

fn verify_text(
    reader: TextReader<impl Read>,
    genesis: &Genesis,
    manifest: Option<&Described>,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Verified> {
    let expected = pinned_by(genesis)?;
    let read = read_text(reader, options, |bytes| progress.bytes("verify", bytes, None, ""))?;
    progress.done("verify");
    if read.state_hash != expected {
        return Err(mismatch(read.state_hash, expected, read.scan.err()));
    }
    let report = read.scan?;
    belongs(&report, genesis.family())?;
    if options.guarded_only {
        require_guard(&report)?;
    }
    let digest = read.digest.transpose()?;
    let mut findings = findings(&report);
    if options.deep {
        findings.extend(deep::is_complete(&report)?);
    }
    if let Some(manifest) = manifest {
        findings.push(manifest.compare(read.state_hash, read.bytes, &report, digest.as_ref())?);
    }
    let height = height(&report, genesis);
    let state_digest = match &digest {
        Some(text) => Some(text.state_digest(&validators_of(genesis)?)),
        None => None,
    };
    Ok(Verified {
        ok: true,
        family: report.family,
        state_hash: read.state_hash,
        expected,
        height,
        state_digest,
        digest,
        bytes: read.bytes,
        tables: report.tables,
        rows: report.rows,
        guarded: report.guarded,
        findings,
        table_rows: options.deep.then_some(report.table_rows),
    })
}

/// What the genesis pins.
pub(super) fn pinned_by(genesis: &Genesis) -> Result<Sha256Hash> {
    genesis.state_hash().ok_or_else(|| {
        Error::verify("the genesis pins no state hash, so no snapshot belongs to it")
            .hint("use the genesis that was made with the snapshot")
    })
}

/// Refuses a text that is not the one that the genesis pins.
///
/// # Errors
/// `Kind::Verify` with both hashes, or when it is of another family.
pub fn check_pinned(state_hash: Sha256Hash, report: &ScanReport, genesis: &Genesis) -> Result<()> {
    let expected = pinned_by(genesis)?;
    if state_hash != expected {
        return Err(mismatch(state_hash, expected, None));
    }
    belongs(report, genesis.family())
}

/// The text is not what the genesis pins; perhaps also none of a Kwil dump.
pub(super) fn mismatch(state_hash: Sha256Hash, expected: Sha256Hash, why: Option<ScanError>) -> Error {
    let error = Error::verify(format!("the snapshot's state hash is {state_hash}, but the genesis pins {expected}"))
        .hint("one of the two is not the file it should be: fetch both again from where they came from");
    match why {
        None => error,
        Some(why) => error.because(why),
    }
}

/// Refuses a text that psql would load in part where a statement fails.
///
/// # Errors
/// `Kind::Verify` where it has no guard.
pub fn require_guard(report: &ScanReport) -> Result<()> {
    if report.guarded {
        return Ok(());
    }
    Err(Error::verify(format!("the snapshot {UNGUARDED}")).hint(
        "put the guard around it with `regenesis snapshot guard FILE --genesis GENESIS -o DIR`, and use that pair on every \
         node; where a manifest describes it, the lead does so and signs the new pair",
    ))
}

/// What an unguarded text is.
const UNGUARDED: &str = "has no guard: kwild's psql would pass over a statement that fails, and kwild would start without its \
     rows";

/// Whether a text whose every statement may be run is one that a genesis of this family may pin.
pub(super) fn belongs(report: &ScanReport, family: Family) -> Result<()> {
    if report.family != family {
        return Err(Error::verify(format!("the snapshot is of family {}, its genesis of {family}", report.family))
            .hint("use the genesis that was made with the snapshot"));
    }
    if report.voters_rows > 0 {
        return Err(Error::verify(format!(
            "the snapshot holds {} of kwild_voting.voters, which belong into the genesis",
            text::count(report.voters_rows, "row")
        ))
        .hint("do not use this snapshot: validators of the old network would stay in the new one"));
    }
    Ok(())
}

/// Checks the statements of a snapshot that a new genesis of this family shall pin, and gives the state hash to pin.
/// Blocking.
///
/// # Errors
/// As [`verify`], but for the hash.
pub fn hash_reader(
    reader: impl Read,
    family: Family,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Sha256Hash> {
    let read = read_gzip(reader, options, |bytes| progress.bytes("verify", bytes, None, ""))?;
    progress.done("verify");
    let report = read.scan?;
    belongs(&report, family)?;
    if options.guarded_only {
        require_guard(&report)?;
    }
    Ok(read.state_hash)
}

/// The old network's last block. A v0.9 network that goes on counting takes nothing off in its last line; there the
/// genesis says it.
fn height(report: &ScanReport, genesis: &Genesis) -> Option<i64> {
    match (report.family, report.height) {
        (Family::V09, Some(0)) if genesis.initial_height() > 1 => Some(genesis.initial_height() - 1),
        (_, height) => height,
    }
}

fn findings(report: &ScanReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if report.height.is_none() {
        findings.push(Finding::new(
            Level::Warning,
            "no-height",
            "the last line, which lowers the resolutions' expiry by the height, is missing: pending resolutions would \
             expire late",
        ));
    }
    if !report.guarded {
        findings.push(Finding::new(
            Level::Warning,
            "unguarded",
            format!("the snapshot {UNGUARDED}: `regenesis snapshot guard` puts one around it; join and setup init take no other"),
        ));
    }
    let votes = report.table_rows.get("kwild_voting.votes").copied().unwrap_or(0);
    if votes > 0 && !report.guarded {
        findings.push(Finding::new(
            Level::Note,
            "votes",
            format!(
                "kwild_voting.votes has {}, so the constraint votes_voter_id_fkey cannot be made again: expected, harmless",
                text::count(votes, "row")
            ),
        ));
    }
    findings
}

/// What a pass over a snapshot's text tells.
#[derive(Debug)]
pub struct TextFacts {
    /// SHA-256 of the text.
    pub state_hash: Sha256Hash,
    /// Its length.
    pub bytes: u64,
    /// Its statements, or the first that does not belong.
    pub scan: Result<ScanReport, ScanError>,
    /// Its digest, or why it has none; where it was asked for.
    pub digest: Option<Result<TextDigest>>,
}

/// Reads a snapshot file, which must be gzip, to its end: hash and statements of its text. `progress` hears how much text
/// there was so far. Blocking.
///
/// # Errors
/// `Kind::Verify` when it is no whole gzip file, `Kind::Failed` when it cannot be read.
pub fn read_gzip(reader: impl Read, options: &VerifyOptions, progress: impl FnMut(u64)) -> Result<TextFacts> {
    let reader = TextReader::new(reader).or_failed(|| "cannot read the snapshot")?;
    if !reader.is_gzip() {
        return Err(Error::verify("the snapshot does not begin as a gzip file does"));
    }
    read_text(reader, options, progress)
}

/// [`read_gzip`], of plain text, too. Blocking.
///
/// # Errors
/// As [`read_gzip`].
pub(super) fn read_either(reader: impl Read, options: &VerifyOptions, progress: impl FnMut(u64)) -> Result<TextFacts> {
    read_text(text_of(reader)?, options, progress)
}

/// Reads a snapshot file that no genesis is given for, gzip or plain, to its end. Blocking.
///
/// # Errors
/// As [`read_gzip`], but for plain text.
pub fn read_file(path: &Path, options: &VerifyOptions, progress: impl FnMut(u64)) -> Result<TextFacts> {
    read_either(open(path)?, options, progress)
}

/// Gives a snapshot's text piece by piece until there is no more, or nobody takes it. Blocking.
///
/// # Errors
/// As [`read_file`].
pub fn each_piece(path: &Path, options: &VerifyOptions, mut give: impl FnMut(Arc<TextPiece>) -> bool) -> Result<()> {
    let mut taken = true;
    let done = unpack(
        &mut text_of(open(path)?)?,
        options,
        |_| {},
        |piece| {
            taken = give(piece);
            taken
        },
    );
    if taken { done.map(drop) } else { Ok(()) }
}

pub(super) fn open(path: &Path) -> Result<fs::File> {
    let file = fs::File::open(path).or_failed(|| format!("cannot open {}", path.display()));
    file.map_err(|e| e.hint("check the path, and that this user may read the file"))
}

pub(super) fn text_of<R: Read>(reader: R) -> Result<TextReader<R>> {
    let text = TextReader::new(reader).or_failed(|| "cannot read the snapshot");
    text.map_err(|e| e.hint("check that it is a file, and that this user may read it"))
}

type Piece = Arc<TextPiece>;

fn read_text(
    mut reader: TextReader<impl Read>,
    options: &VerifyOptions,
    progress: impl FnMut(u64),
) -> Result<TextFacts> {
    thread::scope(|scope| {
        let (to_hash, hashed) = queue();
        let (to_scan, scanned) = queue();
        let hashing = scope.spawn(move || {
            let mut hash = Sha256::new();
            for piece in hashed {
                hash.update(&*piece);
            }
            Sha256Hash::from_bytes(hash.finalize().into())
        });
        let scanning = thread::Builder::new().stack_size(STACK_BYTES);
        let scanning = scanning.spawn_scoped(scope, move || scan_pieces(&scanned));
        let scanning = scanning.or_failed(|| "cannot start a thread for the statement check")?;
        let (to_digest, digesting) = match &options.spill {
            None => (None, None),
            Some(spill) => {
                let (to_digest, digested) = queue();
                (
                    Some(to_digest),
                    Some(
                        thread::Builder::new()
                            .stack_size(STACK_BYTES)
                            .spawn_scoped(scope, move || {
                                take_pieces(&digested, StateDigester::new(spill))?.finish_text()
                            })
                            .or_failed(|| "cannot start a thread for the digest")?,
                    ),
                )
            }
        };
        let bytes = unpack(&mut reader, options, progress, |piece| {
            // The scanner lets go at its first finding; the hash is still wanted.
            let _ = to_scan.send(piece.clone());
            // So may the digester.
            if let Some(to_digest) = &to_digest {
                let _ = to_digest.send(piece.clone());
            }
            to_hash.send(piece).is_ok()
        });
        drop((to_hash, to_scan, to_digest));
        let gone = || Error::failed("a thread of the check ended early");
        let state_hash = hashing.join().map_err(|_| gone())?;
        let scan = scanning.join().map_err(|_| gone())?;
        let digest = digesting.map(|thread| thread.join().map_err(|_| gone())).transpose()?;
        Ok(TextFacts { state_hash, bytes: bytes?, scan, digest })
    })
}

fn queue() -> (SyncSender<Piece>, Receiver<Piece>) {
    sync_channel(PIECES_WAITING)
}

/// Checks the statements of the pieces that come, until there are no more. It lets go at its first finding.
pub(super) fn scan_pieces<P: AsRef<[u8]>>(pieces: &Receiver<Arc<P>>) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    for piece in pieces {
        scanner.push((*piece).as_ref())?;
    }
    scanner.finish()
}

/// Reads everything there is and gives it out in pieces; says how much it was.
pub(super) fn unpack(
    reader: &mut TextReader<impl Read>,
    options: &VerifyOptions,
    mut progress: impl FnMut(u64),
    mut give: impl FnMut(Piece) -> bool,
) -> Result<u64> {
    let mut bytes = 0;
    loop {
        if options.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted(2), "interrupted while the snapshot was read"));
        }
        let Some(piece) = reader.next_piece().map_err(|e| unpack_error(e, bytes))? else { return Ok(bytes) };
        bytes += piece.len() as u64;
        if bytes > options.max_bytes {
            return Err(Error::verify(format!("the snapshot unpacks to more than {} bytes", options.max_bytes))
                .hint("a real one this large needs a higher --max-bytes"));
        }
        if !give(Arc::new(piece)) {
            return Err(Error::failed("a thread of the check ended early"));
        }
        progress(bytes);
    }
}

fn unpack_error(e: io::Error, at: u64) -> Error {
    if let Some(unlike) = Unlike::of(&e) {
        let what = format!("the snapshot is no gzip file that every reader reads alike: {unlike}");
        return Error::verify(what).hint(Unlike::REMEDY);
    }
    let what = match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("the snapshot is cut off after {at} bytes of text"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("the snapshot is damaged: no valid gzip after {at} bytes of text")
        }
        _ => return Error::failed("cannot read the snapshot").because(e),
    };
    Error::verify(what).because(e).hint("fetch the snapshot again from where it came from")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
    }

    const SNAPSHOT: &str = "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz";

    fn genesis() -> Genesis {
        read_genesis(&data("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap()
    }

    fn check(bytes: &[u8]) -> Result<Verified> {
        verify_reader(bytes, &genesis(), &VerifyOptions::default(), &Progress::silent())
    }

    fn file() -> Vec<u8> {
        fs::read(data(SNAPSHOT)).unwrap()
    }

    fn text() -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(file().as_slice()).read_to_end(&mut text).unwrap();
        text
    }

    #[track_caller]
    fn refused(bytes: &[u8], words: &str) {
        let e = check(bytes).unwrap_err();
        assert_eq!(e.kind(), Kind::Verify, "{}", e.chain());
        assert!(e.chain().contains(words), "{}", e.chain());
    }

    #[test]
    fn kwils_own_snapshot_passes_gzip_or_plain_or_in_many_members() {
        let verified = check(&file()).unwrap();
        assert_eq!(verified.state_hash, genesis().state_hash().unwrap());
        assert_eq!(verified.family, Family::V010);
        assert!(verified.ok && verified.rows > 10 && verified.height.is_some());
        let text = text();
        assert_eq!(check(&text).unwrap().bytes, text.len() as u64);
        let members: Vec<u8> = text.chunks(1000).flat_map(member).collect();
        assert_eq!(check(&members).unwrap().bytes, text.len() as u64);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let file = file();
        // The header's time and OS bytes mean nothing; everything else does.
        for at in (10..file.len()).step_by(97) {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            let e = check(&flipped).unwrap_err();
            assert_eq!(e.kind(), Kind::Verify, "byte {at}: {}", e.chain());
        }
    }

    #[test]
    fn a_changed_text_is_refused_with_both_hashes() {
        let mut text = text();
        let at = text.len() / 2;
        text[at] = text[at].wrapping_add(1);
        let changed = Sha256Hash::from_bytes(Sha256::digest(&text).into());
        refused(&text, &changed.to_string());
        refused(&text, &genesis().state_hash().unwrap().to_string());
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_is_cut() {
        let file = file();
        for at in (2..file.len()).step_by(131).chain([file.len() - 1, file.len() - 8]) {
            refused(&file[..at], "cut off");
        }
        let text = text();
        refused(&text[..text.len() - 1], "state hash");
        refused(b"", "state hash");
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        for tail in [&[0; 16][..], b"text", b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08\x00"] {
            let mut longer = file();
            longer.extend_from_slice(tail);
            let e = check(&longer).unwrap_err();
            assert_eq!(e.kind(), Kind::Verify, "{tail:?}: {}", e.chain());
        }
    }

    #[test]
    fn another_networks_genesis_is_refused() {
        let other = read_genesis(&data("v0.10/worlds/solo/kwild-snapshot/genesis.json")).unwrap();
        let e = verify_reader(file().as_slice(), &other, &VerifyOptions::default(), &Progress::silent()).unwrap_err();
        assert_eq!(e.kind(), Kind::Verify);
        assert!(e.to_string().contains(&other.state_hash().unwrap().to_string()), "{e}");
        let v09 = read_genesis(&data("v0.9/worlds/solo/kwil-admin/genesis.json")).unwrap();
        let e = verify_reader(file().as_slice(), &v09, &VerifyOptions::default(), &Progress::silent()).unwrap_err();
        assert_eq!(e.kind(), Kind::Verify);
    }

    #[test]
    fn a_file_that_unpacks_for_ever_is_stopped() {
        let member = member(&vec![b'\n'; 1 << 20]);
        let options = VerifyOptions { max_bytes: 3 << 20, ..VerifyOptions::default() };
        struct Endless(Vec<u8>, usize);
        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let n = out.len().min(self.0.len() - self.1);
                out[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
                self.1 = (self.1 + n) % self.0.len();
                Ok(n)
            }
        }
        let e = verify_reader(Endless(member, 0), &genesis(), &options, &Progress::silent()).unwrap_err();
        assert_eq!(e.kind(), Kind::Verify);
        assert!(e.advice().unwrap().contains("--max-bytes"), "{e}");
    }

    fn member(text: &[u8]) -> Vec<u8> {
        super::super::gzip::MemberWriter::new(Default::default()).member(text).unwrap()
    }

    /// A member of ours that says it is this long and holds this much text.
    fn liar(text: &[u8], length: u32, text_bytes: u32) -> Vec<u8> {
        let mut member = member(text);
        member[16..20].copy_from_slice(&length.to_le_bytes());
        let at = member.len() - 4;
        member[at..].copy_from_slice(&text_bytes.to_le_bytes());
        member
    }

    #[test]
    fn members_that_lie_about_their_text_are_stopped_or_refused() {
        let bomb = vec![b'\n'; 8 << 20];
        let whole = member(&bomb).len() as u32;
        let options = VerifyOptions { max_bytes: 3 << 20, ..VerifyOptions::default() };
        for (length, text_bytes) in [
            (whole, 5),
            (whole, 0),
            (whole, 1 << 20),
            (whole, u32::MAX),
            (u32::MAX, 5),
            (28, 5),
            (0, 5),
            (whole - 1, 5),
        ] {
            let file = [member(&text()[..1000]), liar(&bomb, length, text_bytes), member(b"more\n")].concat();
            let e = verify_reader(file.as_slice(), &genesis(), &options, &Progress::silent()).unwrap_err();
            assert_eq!(e.kind(), Kind::Verify, "{length} {text_bytes}: {}", e.chain());
            assert!(e.advice().unwrap().contains("--max-bytes"), "{length} {text_bytes}: {e}");
            refused(&file, "damaged");
        }
    }

    #[test]
    fn a_lie_about_a_members_length_is_refused() {
        let text = text();
        for length in [0, 27, 28, 100, 1 << 20, (1 << 31) - 1, u32::MAX] {
            let lie = liar(&text, length, text.len() as u32);
            refused(&lie, &format!("says that it is {length} bytes long, but is {}", lie.len()));
        }
    }

    #[test]
    fn a_member_for_each_byte_is_only_slow() {
        let text = text();
        let file: Vec<u8> = text.chunks(1).flat_map(member).collect();
        assert_eq!(check(&file).unwrap().bytes, text.len() as u64);
        let empty = [member(b"").repeat(100_000), file].concat();
        assert_eq!(check(&empty).unwrap().bytes, text.len() as u64);
    }

    #[test]
    fn a_packed_file_inside_a_packed_file_is_no_text() {
        refused(&member(&file()), "state hash");
        refused(&member(&member(&vec![0; 8 << 20])), "state hash");
    }

    #[test]
    fn a_cancelled_check_ends() {
        let options = VerifyOptions::default();
        options.cancel.cancel();
        let e = verify_reader(file().as_slice(), &genesis(), &options, &Progress::silent()).unwrap_err();
        assert!(matches!(e.kind(), Kind::Interrupted(_)));
    }

    #[test]
    fn the_name_must_say_what_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let genesis = data("v0.10/worlds/quartet/kwild-snapshot/genesis.json");
        let run = |path: &Path| verify(path, &genesis, &VerifyOptions::default(), &Progress::silent());
        let plain = dir.path().join("s.sql.gz");
        fs::write(&plain, text()).unwrap();
        assert!(run(&plain).unwrap_err().to_string().contains("named .gz"));
        let gzip = dir.path().join("s.sql");
        fs::write(&gzip, file()).unwrap();
        assert!(run(&gzip).unwrap().findings.iter().any(|finding| finding.code == "name"));
        assert!(run(dir.path()).unwrap_err().to_string().contains("is a directory"));
    }
}
