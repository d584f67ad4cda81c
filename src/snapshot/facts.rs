//! What a snapshot file is, whatever it is, for `genesis lint`: in goes a path, out come how it is packed, its hash,
//! its statements, and, where the hash is not the one wanted, which other hash was taken for it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use kwil_formats::judge::lint::{Contents, LintedSnapshot, Packing};
use sha2::{Digest, Sha256};

use super::read::{ReadOptions, SnapshotText, TextReader};
use crate::base::{Context, Error, Kind, Progress, Result, Sha256Hash};

/// The first bytes of files in other packings than gzip, and the packing's name.
const OTHERS: [(&[u8], &str); 6] = [
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PGDMP", "pg_dump custom-format"),
];

/// Reads the file to its end and says what it is; `wanted` is the state hash that a genesis pins. Blocking.
///
/// # Errors
/// When it cannot be opened or read, or the work is cancelled; what is wrong with its contents is part of the facts.
pub fn facts(
    path: &Path,
    wanted: Option<Sha256Hash>,
    options: &ReadOptions,
    progress: &Progress,
) -> Result<LintedSnapshot> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).or_failed(|| format!("cannot open {}", path.display()))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Error::failed(format!("{} is a directory", path.display()))
            .hint("name the snapshot file in it (kwildb-snapshot.sql.gz or snapshot.sql.gz)"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut beginning = Vec::new();
    (&mut file).take(8).read_to_end(&mut beginning).or_failed(cannot)?;
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        let contents = Err(format!("is a {what} file"));
        return Ok(LintedSnapshot { name, packing: Packing::Other(what), contents });
    }
    file.seek(SeekFrom::Start(0)).or_failed(cannot)?;
    let packing = if beginning.starts_with(&[0x1f, 0x8b]) { Packing::Gzip } else { Packing::Plain };
    if beginning.is_empty() {
        return Ok(LintedSnapshot { name, packing, contents: Err("is empty".to_owned()) });
    }
    let read = SnapshotText::new(&mut file)
        .and_then(|text| text.read(options, |bytes| progress.bytes("verify", bytes, None, "")));
    progress.done("verify");
    let contents = match read {
        Ok(read) => {
            let mistaken = match wanted {
                Some(wanted) if wanted != read.state_hash => look_alike_hashes(&mut file).or_failed(cannot)?,
                _ => Vec::new(),
            };
            let restrict = begins_with_restrict(&mut file).or_failed(cannot)?;
            Ok(Contents { state_hash: read.state_hash, scan: read.scan, restrict, mistaken })
        }
        Err(error) if error.kind() == Kind::Verify => Err(error.chain()),
        Err(error) => return Err(error),
    };
    Ok(LintedSnapshot { name, packing, contents })
}

fn begins_with_restrict(file: &mut File) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    Ok(TextReader::new(file)?.next_piece()?.is_some_and(|piece| piece.starts_with(b"\\restrict ")))
}

/// Hashes that are easily taken for the state hash, each with the words for what it is.
fn look_alike_hashes(file: &mut File) -> std::io::Result<Vec<(Sha256Hash, &'static str)>> {
    let finish = |hash: Sha256| Sha256Hash::from_bytes(hash.finalize().into());
    file.seek(SeekFrom::Start(0))?;
    let mut of_file = Sha256::new();
    std::io::copy(file, &mut of_file)?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = TextReader::new(file)?;
    // A last line is the rest behind the last but one line feed: never much more than a piece.
    let (mut without_last, mut as_crlf, mut kept) = (Sha256::new(), Sha256::new(), Vec::<u8>::new());
    while let Some(piece) = reader.next_piece()? {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', rest)) => {
                    as_crlf.update(rest);
                    as_crlf.update(b"\r\n");
                }
                _ => as_crlf.update(line),
            }
        }
        kept.extend_from_slice(&piece);
        let end = kept.strip_suffix(b"\n").unwrap_or(&kept);
        if let Some(at) = memchr::memrchr(b'\n', end) {
            without_last.update(&kept[..=at]);
            kept.drain(..=at);
        }
    }
    Ok(vec![
        (finish(of_file), "the hash of the compressed file, not of its text"),
        (finish(without_last), "the hash of the text without its last line, which names the old height"),
        (finish(as_crlf), "the hash of the text with CR LF at the end of its lines"),
    ])
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::PathBuf};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn data(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
    }

    const SNAPSHOT: &str = "v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz";

    fn text() -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(File::open(data(SNAPSHOT)).unwrap()).read_to_end(&mut text).unwrap();
        text
    }

    fn look(path: &Path, wanted: Option<Sha256Hash>) -> LintedSnapshot {
        facts(path, wanted, &ReadOptions::default(), &Progress::silent()).unwrap()
    }

    fn hash(bytes: &[u8]) -> Sha256Hash {
        Sha256Hash::from_bytes(Sha256::digest(bytes).into())
    }

    #[test]
    fn gzip_and_plain_text_have_one_hash() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("s.sql");
        fs::write(&plain, text()).unwrap();
        let (a, b) = (look(&data(SNAPSHOT), None), look(&plain, None));
        assert_eq!((a.packing, b.packing), (Packing::Gzip, Packing::Plain));
        let (a, b) = (a.contents.unwrap(), b.contents.unwrap());
        assert_eq!((a.state_hash, b.state_hash), (hash(&text()), hash(&text())));
        assert_eq!(a.scan.unwrap().height, Some(268));
        assert!(!b.restrict && b.mistaken.is_empty());
    }

    #[test]
    fn the_wrong_things_hashes_are_found() {
        let (file, text) = (fs::read(data(SNAPSHOT)).unwrap(), text());
        let last = text[..text.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        let crlf = String::from_utf8(text.clone()).unwrap().replace('\n', "\r\n");
        for wrong in [hash(&file), hash(&text[..last]), hash(crlf.as_bytes())] {
            let contents = look(&data(SNAPSHOT), Some(wrong)).contents.unwrap();
            assert!(contents.mistaken.iter().any(|(hash, _)| *hash == wrong));
        }
        assert_eq!(look(&data(SNAPSHOT), Some(hash(&text))).contents.unwrap().mistaken, []);
    }

    #[test]
    fn other_packings_and_damage_are_facts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sql.gz");
        let file = fs::read(data(SNAPSHOT)).unwrap();
        for (bytes, what) in [
            (b"\x28\xb5\x2f\xfdrest".to_vec(), "zstd"),
            (b"\xfd7zXZ\0rest".to_vec(), "xz"),
            (b"BZh9rest".to_vec(), "bzip2"),
            (b"PGDMPrest".to_vec(), "custom"),
            (Vec::new(), "empty"),
            (file[..file.len() - 40].to_vec(), "cut off"),
            ([file.clone(), vec![0; 16]].concat(), "zero bytes follow"),
            ([file.clone(), b"rest".to_vec()].concat(), "is no gzip member"),
        ] {
            fs::write(&path, bytes).unwrap();
            let why = look(&path, None).contents.unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
        }
        let restrict = [b"\\restrict abc\n".to_vec(), text()].concat();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&restrict).unwrap();
        fs::write(&path, gzip.finish().unwrap()).unwrap();
        assert!(look(&path, None).contents.unwrap().restrict);
        let error = facts(dir.path(), None, &ReadOptions::default(), &Progress::silent()).unwrap_err();
        assert!(error.chain().contains("is a directory"), "{}", error.chain());
        assert!(facts(&dir.path().join("none"), None, &ReadOptions::default(), &Progress::silent()).is_err());
    }
}
