//! What we accept, every other reader reads to the same bytes; what zlib or Go refuse, we refuse.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use sha2::{Digest, Sha256};

use super::super::stream::Unlike;
use super::TextReader;
use crate::snapshot::odd::Maker;

const SEEDS: u64 = 40;
const FILES_OF_SEED: usize = 2_500;
const FILES: usize = SEEDS as usize * FILES_OF_SEED;
/// zlib reads each file member by member; what is no member is an error.
const PYTHON: &str = "
import hashlib, struct, sys, zlib
cases, verdicts = sys.stdin.buffer, sys.stdout.buffer
while head := cases.read(4):
    rest, text = cases.read(struct.unpack('<I', head)[0]), b''
    try:
        while rest:
            inflate = zlib.decompressobj(31)
            text += inflate.decompress(rest)
            if not inflate.eof: raise zlib.error('cut off')
            rest = inflate.unused_data
        verdicts.write(b'\\1' + hashlib.sha256(text).digest())
    except zlib.error:
        verdicts.write(bytes(33))
";

/// The text's hash, if there is a text.
type Verdict = Option<[u8; 32]>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ours {
    Text([u8; 32]),
    Unlike,
    Damaged,
}

fn ours(file: &[u8]) -> Ours {
    let mut hash = Sha256::new();
    let mut reader = TextReader::new(file).unwrap();
    assert!(reader.is_gzip());
    loop {
        match reader.next_piece() {
            Ok(Some(piece)) => hash.update(&*piece),
            Ok(None) => return Ours::Text(hash.finalize().into()),
            Err(e) if Unlike::of(&e).is_some() => return Ours::Unlike,
            Err(_) => return Ours::Damaged,
        }
    }
}

/// Makes files and reads them, by as many threads as there are processors.
fn made_and_read() -> (Vec<Vec<u8>>, Vec<Ours>) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // The files are the same on every machine.
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let of_seed = |seed: &u64| {
        let mut maker = Maker::new(*seed);
        (0..FILES_OF_SEED).map(move |_| maker.file()).map(|file| (ours(&file), file)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let parts = seeds.chunks(seeds.len().div_ceil(threads));
        let makers: Vec<_> =
            parts.map(|seeds| scope.spawn(move || seeds.iter().flat_map(of_seed).collect::<Vec<_>>())).collect();
        makers.into_iter().flat_map(|maker| maker.join().unwrap()).map(|(ours, file)| (file, ours)).unzip()
    })
}

fn framed(files: &[Vec<u8>]) -> Vec<u8> {
    files.iter().flat_map(|file| [&(file.len() as u32).to_le_bytes()[..], file].concat()).collect()
}

fn unframed(mut frames: &[u8]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    while let Some((length, rest)) = frames.split_first_chunk() {
        let (file, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        files.push(file.to_vec());
        frames = rest;
    }
    files
}

fn verdicts(bytes: &[u8]) -> Vec<Verdict> {
    let verdicts = bytes.chunks(33);
    verdicts.map(|verdict| (verdict[0] == 1).then(|| verdict[1..].try_into().unwrap())).collect()
}

/// What a program prints that is fed with these bytes.
fn fed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    let output = command.stdin(Stdio::from(file)).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Go's compress/gzip, where there is Go.
fn go(input: &[u8]) -> Option<Vec<Verdict>> {
    let is_here = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    is_here.then(|| verdicts(&fed(Command::new("go").arg("run").arg(tests().join("gzip/read.go")), input)))
}

#[track_caller]
fn compare(name: &str, files: &[Vec<u8>], ours: &[Ours], theirs: &[Verdict]) {
    assert_eq!(files.len(), theirs.len());
    for ((file, ours), theirs) in files.iter().zip(ours).zip(theirs) {
        // What we refuse, others may read, and each in its own way.
        if let Ours::Text(hash) = ours {
            assert!(*theirs == Some(*hash), "{name} reads otherwise what we accept: {}", hex::encode(file));
        }
    }
}

#[test]
fn what_we_accept_zlib_zcat_and_go_read_to_the_same_bytes() {
    let (files, ours) = made_and_read();
    let input = framed(&files);
    let (go, zlib) = thread::scope(|scope| {
        let zlib = scope.spawn(|| verdicts(&fed(Command::new("python3").args(["-c", PYTHON]), &input)));
        (go(&input), zlib.join().unwrap())
    });
    compare("zlib", &files, &ours, &zlib);
    match &go {
        Some(go) => compare("Go", &files, &ours, go),
        None => skipped("there is no go here, so its verdicts on a thousand recorded files must do"),
    }
    // Nothing is called damaged that others read.
    for ((file, _), zlib) in files.iter().zip(&ours).zip(&zlib).filter(|((_, ours), _)| **ours == Ours::Damaged) {
        assert!(zlib.is_none(), "we call damaged what zlib reads: {}", hex::encode(file));
    }
    // zcat at one go: gzip files one after the other are a gzip file.
    let accepted = files.iter().zip(&ours).filter(|(_, ours)| matches!(ours, Ours::Text(_)));
    let accepted: Vec<u8> = accepted.flat_map(|(file, _)| file).copied().collect();
    let hash = Sha256::digest(fed(&mut Command::new("zcat"), &accepted));
    assert!(self::ours(&accepted) == Ours::Text(hash.into()));
    // There was something to see.
    let count = |kind: fn(&Ours) -> bool| ours.iter().filter(|ours| kind(ours)).count();
    let [texts, unlike, damaged] =
        [count(|ours| matches!(ours, Ours::Text(_))), count(|o| *o == Ours::Unlike), count(|o| *o == Ours::Damaged)];
    assert!(texts.min(unlike).min(damaged) > FILES / 10, "{texts} texts, {unlike} unlike, {damaged} damaged");
}

#[test]
fn what_go_said_of_recorded_files_holds() {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        File::open(tests().join("data/gzip").join(name)).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let files = unframed(&read("files"));
    let go = verdicts(&read("go"));
    let ours: Vec<Ours> = files.iter().map(|file| ours(file)).collect();
    compare("Go", &files, &ours, &go);
    let refused = go.iter().filter(|go| go.is_none()).count();
    assert!(refused > 500 && files.len() - refused > 500, "{refused} of {}", files.len());
}

#[expect(clippy::print_stderr, reason = "whoever reads a test's log shall know what it did not try")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
