use std::{fs, io};

use sha2::{Digest, Sha256};

use super::*;
use crate::base::Kind;

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
    let options = VerifyOptions {
        read: ReadOptions { max_bytes: 3 << 20, ..ReadOptions::default() },
        ..VerifyOptions::default()
    };
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
    assert!(e.advice().unwrap().names(&crate::base::Next::MoreTextBytes), "{e}");
}

fn member(text: &[u8]) -> Vec<u8> {
    crate::snapshot::gzip::MemberWriter::new(Default::default()).member(text).unwrap()
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
    let options = VerifyOptions {
        read: ReadOptions { max_bytes: 3 << 20, ..ReadOptions::default() },
        ..VerifyOptions::default()
    };
    for (length, text_bytes) in
        [(whole, 5), (whole, 0), (whole, 1 << 20), (whole, u32::MAX), (u32::MAX, 5), (28, 5), (0, 5), (whole - 1, 5)]
    {
        let file = [member(&text()[..1000]), liar(&bomb, length, text_bytes), member(b"more\n")].concat();
        let e = verify_reader(file.as_slice(), &genesis(), &options, &Progress::silent()).unwrap_err();
        assert_eq!(e.kind(), Kind::Verify, "{length} {text_bytes}: {}", e.chain());
        assert!(e.advice().unwrap().names(&crate::base::Next::MoreTextBytes), "{length} {text_bytes}: {e}");
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
    options.read.cancel.cancel();
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
