//! The dump filter against recordings of real Kwil binaries.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use kwil_formats::{
    dump::{
        filter::{DumpFilter, FilterReport, LineRules, Omitted},
        guard::{self, Arranger},
        scan::StatementScanner,
    },
    formats::Family,
};
use serde_json::Value;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn unzip(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    text
}

/// Family, raw dump, and the directory and name of the file that Kwil made of the same database.
const RECORDINGS: [(Family, &str, &str); 15] = {
    use Family::{V09, V010};
    [
        (V09, "v0.9/worlds/solo/kwil-admin/pg_dump.raw.sql.gz", "v0.9/worlds/solo/kwil-admin"),
        (V09, "v0.9/worlds/solo/kwil-admin/pg_dump.raw.pg16-dump17.sql.gz", "v0.9/worlds/solo/kwil-admin"),
        (V09, "v0.9/worlds/solo/kwil-admin/pg_dump.raw.pg17-dump17.sql.gz", "v0.9/worlds/solo/kwil-admin"),
        (V09, "v0.9/worlds/quartet/kwil-admin/pg_dump.raw.sql.gz", "v0.9/worlds/quartet/kwil-admin"),
        (V010, "v0.10/worlds/solo/pg_dump.raw.pg16-dump16.sql.gz", "v0.10/worlds/solo/kwild-snapshot"),
        (V010, "v0.10/worlds/solo/pg_dump.raw.pg16-dump17.sql.gz", "v0.10/worlds/solo/kwild-snapshot"),
        (V010, "v0.10/worlds/solo/pg_dump.raw.pg17-dump17.sql.gz", "v0.10/worlds/solo/kwild-snapshot"),
        (V010, "v0.10/worlds/solo/pg_dump.raw.pg15-dump15.sql.gz", "v0.10/worlds/solo/kwild-snapshot.pg15-dump15"),
        (V010, "v0.10/worlds/quartet/pg_dump.raw.pg16-dump16.sql.gz", "v0.10/worlds/quartet/kwild-snapshot"),
        (V010, "v0.10/worlds/quartet/pg_dump.raw.pg16-dump17.sql.gz", "v0.10/worlds/quartet/kwild-snapshot"),
        (V010, "v0.10/worlds/quartet/pg_dump.raw.pg17-dump17.sql.gz", "v0.10/worlds/quartet/kwild-snapshot"),
        (
            V010,
            "v0.10/worlds/quartet/pg_dump.raw.pg15-dump15.sql.gz",
            "v0.10/worlds/quartet/kwild-snapshot.pg15-dump15",
        ),
        (V010, "truf/worlds/solo/pg_dump.raw.pg16-dump16.sql.gz", "truf/worlds/solo/kwild-snapshot"),
        (V010, "truf/worlds/quartet/pg_dump.raw.pg16-dump16.sql.gz", "truf/worlds/quartet/kwild-snapshot"),
        (V010, "truf/worlds/maa_long/pg_dump.raw.pg16-dump16.sql.gz", "truf/worlds/maa_long/kwild-snapshot"),
    ]
};

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

fn is_restrict(line: &[u8]) -> bool {
    line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ")
}

/// In the order of a guarded text.
fn arranged(text: &[u8]) -> Vec<u8> {
    let (mut arranger, mut first, mut last) = (Arranger::default(), Vec::new(), Vec::new());
    arranger.push(text, &mut first, &mut last).unwrap();
    arranger.finish().unwrap();
    first.extend(last);
    first
}

fn filter(family: Family, rules: LineRules, dump: &[u8], height: i64, cut: usize) -> (Vec<u8>, FilterReport) {
    let ordered = (rules == LineRules::Faithful).then(|| arranged(dump));
    let dump = ordered.as_deref().unwrap_or(dump);
    let mut filter = DumpFilter::new(family, rules);
    let mut out = Vec::new();
    for piece in dump.chunks(cut) {
        filter.push(piece, &mut out).unwrap();
    }
    let report = filter.finish(height, &mut out).unwrap();
    (out, report)
}

fn height_of(snapshot: &[u8]) -> i64 {
    let last = String::from_utf8_lossy(lines(snapshot).pop().unwrap()).into_owned();
    last.trim_end().trim_end_matches(';').rsplit_once("expiration-").unwrap().1.parse().unwrap()
}

#[test]
fn every_recorded_dump_is_used() {
    fn walk(at: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.file_name().unwrap().to_string_lossy().starts_with("pg_dump.raw.")
                && path.extension().is_some_and(|e| e == "gz")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&data(""), &mut found);
    found.sort();
    let mut used: Vec<PathBuf> = RECORDINGS.iter().map(|(_, raw, _)| data(raw)).collect();
    used.sort();
    assert_eq!(found, used);
}

#[test]
fn compat_gives_kwils_bytes() {
    for (family, raw, kwil) in RECORDINGS {
        let expected = unzip(&data(kwil).join(family.snapshot_file_name()));
        let height = height_of(&expected);
        let want: Vec<&[u8]> = lines(&expected).into_iter().filter(|l| !is_restrict(l)).collect();
        let dump = unzip(&data(raw));
        for cut in [1 << 20, 4093, 17] {
            let (got, _) = filter(family, LineRules::Compat, &dump, height, cut);
            let got = lines(&got);
            if let Some(at) = (0..got.len().max(want.len())).find(|i| got.get(*i) != want.get(*i)) {
                let show = |l: Option<&&[u8]>| l.map(|l| String::from_utf8_lossy(l).into_owned());
                panic!("{raw} line {}: {:?} instead of {:?}", at + 1, show(got.get(at)), show(want.get(at)));
            }
        }
    }
}

#[test]
fn voters_are_the_validators_of_kwils_genesis() {
    for (family, raw, kwil) in RECORDINGS {
        let genesis: Value = serde_json::from_slice(&fs::read(data(kwil).join("genesis.json")).unwrap()).unwrap();
        let (_, report) = filter(family, LineRules::Faithful, &unzip(&data(raw)), 1, 1 << 16);
        let want: Vec<(String, i64)> = genesis["validators"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| {
                let key = v["pub_key"].as_str().or(v["pubkey"].as_str()).unwrap();
                let (prefix, key) = match v["type"].as_str() {
                    None => ("", key),
                    Some("secp256k1") => ("00000000", key),
                    Some("ed25519") => ("01000000", key),
                    Some(other) => panic!("key type {other}"),
                };
                (format!("{prefix}{}", key.to_lowercase()), v["power"].as_i64().unwrap())
            })
            .collect();
        let got: Vec<(String, i64)> = report.voters.iter().map(|v| (hex::encode(&v.name), v.power)).collect();
        assert!(!got.is_empty());
        assert_eq!(got, want, "{raw}");
        assert!(report.voters.iter().all(|v| v.id.len() == 16));
    }
}

#[test]
fn faithful_is_compat_plus_what_it_rescued() {
    let mut rescued_any = false;
    for (family, raw, _) in RECORDINGS {
        let dump = unzip(&data(raw));
        let (faithful, report) = filter(family, LineRules::Faithful, &dump, 7, 1000);
        let (compat, kwil) = filter(family, LineRules::Compat, &dump, 7, 1000);
        let rescued_rows: u64 = report.rescued_rows.values().sum();
        let rescued_lines: u64 = report.rescued_lines.values().sum();
        assert_eq!(report.rows, kwil.rows + rescued_rows, "{raw}");
        assert_eq!(report.tables, kwil.tables);
        // TRUF's sentry sequence: six lines of its creation and one setval.
        let sentry = if raw.starts_with("truf/") { 7 } else { 0 };
        let more = (rescued_rows + rescued_lines) as usize + lines(guard::PROLOGUE.as_bytes()).len() + 1;
        // The key of votes takes two lines.
        let key = 2 * report.omitted.get(&Omitted::VotesKey).copied().unwrap_or(0) as usize;
        assert!(report.omitted.keys().all(|omitted| *omitted == Omitted::VotesKey), "{:?}", report.omitted);
        assert_eq!(lines(&faithful).len() + sentry + key, lines(&compat).len() + more, "{raw}");
        assert!(!String::from_utf8_lossy(&faithful).contains("sentry_seq"));
        rescued_any |= rescued_lines > 0;
    }
    assert!(rescued_any, "v0.9 function bodies hold blank lines");
}

#[test]
fn what_the_filter_writes_passes_the_statement_scanner() {
    for (family, raw, _) in RECORDINGS {
        let dump = unzip(&data(raw));
        for rules in [LineRules::Faithful, LineRules::Compat] {
            let (text, filtered) = filter(family, rules, &dump, 7, 1 << 16);
            let mut scanner = StatementScanner::new();
            scanner.push(&text).unwrap_or_else(|e| panic!("{raw}: {e}"));
            let scanned = scanner.finish().unwrap_or_else(|e| panic!("{raw}: {e}"));
            assert_eq!((scanned.family, scanned.height), (family, Some(7)), "{raw}");
            assert_eq!(scanned.guarded, rules == LineRules::Faithful, "{raw}");
            assert_eq!(scanned.rows, filtered.rows, "{raw}");
            assert_eq!(scanned.table_rows.len() as u64, filtered.tables, "{raw}");
        }
    }
}

#[test]
fn a_snapshot_of_kwils_own_tool_gets_the_guard_that_ours_has() {
    for (family, raw, kwil) in RECORDINGS {
        let kwils = unzip(&data(kwil).join(family.snapshot_file_name()));
        let mut filter = DumpFilter::of_snapshot(family);
        let mut text = Vec::new();
        filter.push(&arranged(&kwils), &mut text).unwrap();
        let report = filter.finish_snapshot(&mut text).unwrap();
        assert!(report.voters.is_empty());
        let mut scanner = StatementScanner::new();
        scanner.push(&text).unwrap_or_else(|e| panic!("{kwil}: {e}"));
        assert!(scanner.finish().unwrap().guarded);
        // Where Kwil's tool lost nothing it is our own text.
        let (ours, made) = filter_of(family, raw, height_of(&kwils));
        if made.rescued_rows.is_empty() && made.rescued_lines.is_empty() && !raw.contains("dump17") {
            assert!(text == ours, "{raw}");
        }
    }
}

fn filter_of(family: Family, raw: &str, height: i64) -> (Vec<u8>, FilterReport) {
    filter(family, LineRules::Faithful, &unzip(&data(raw)), height, 1 << 16)
}
