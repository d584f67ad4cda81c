use std::{fs, io::Read, path::Path};

use super::*;
use crate::base::Kind;
use flate2::read::MultiGzDecoder;

mod attacks;
mod bodies;
mod commands;
mod copy;
mod dumps;
mod fields;
mod functions;
mod guard;
mod mutations;
mod order;
mod privileges;
mod quoting;
mod reader;
mod roles;
mod soup;
mod statements;
mod tables;
mod views;

fn scan(text: &[u8], cut: usize) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    for piece in text.chunks(cut) {
        scanner.push(piece)?;
    }
    scanner.finish()
}

/// Every snapshot that real Kwil made, but for the one of the odd database.
fn recorded() -> Vec<(String, Vec<u8>)> {
    fn walk(at: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                walk(&path, found);
            } else if name.ends_with("snapshot.sql.gz") && !name.contains("odd-database") {
                found.push((name, unzip(&path)));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")), &mut found);
    assert_eq!(found.len(), 16);
    found
}

/// pg_dump's own text of every recorded network, but for the one of the odd database: with the blank lines of its bodies.
fn raw_dumps() -> Vec<(String, Vec<u8>)> {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"));
    let mut found = Vec::new();
    for world in [
        "v0.9/worlds/solo/kwil-admin",
        "v0.9/worlds/quartet/kwil-admin",
        "v0.10/worlds/solo",
        "v0.10/worlds/quartet",
        "truf/worlds/solo",
        "truf/worlds/quartet",
        "truf/worlds/maa_long",
    ] {
        for entry in fs::read_dir(data.join(world)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("pg_dump.raw") {
                found.push((path.display().to_string(), unzip(&path)));
            }
        }
    }
    assert!(found.len() > 10);
    found
}

fn unzip(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text
}

const SMALL: &str = "CREATE SCHEMA info;\nCREATE SCHEMA kwild_accts;\nCREATE SCHEMA kwild_engine;\n\
    CREATE SCHEMA kwild_voting;\nCREATE SCHEMA s;\n\
    CREATE TABLE kwild_voting.voters (\n    id bytea NOT NULL,\n    name bytea NOT NULL,\n    power bigint NOT NULL\n);\n\
    CREATE TABLE s.t (\n    a text DEFAULT 'x; \\! ls\n'::text NOT NULL,\n    \"B c\" numeric(10,2)\n);\n\
    COPY kwild_voting.voters (id, name, power) FROM stdin;\n\\.\n\
    COPY s.t (a, \"B c\") FROM stdin;\n\\\\! ls\t1\n; DROP TABLE x;\t\\N\n\\.\n";
const END: &str = "UPDATE kwild_voting.resolutions SET expiration = expiration-42;\n";

#[test]
fn every_recorded_snapshot_passes() {
    for (name, text) in recorded() {
        let report = scan(&text, 1 << 16).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.family, if name.contains("/v0.9/") { Family::V09 } else { Family::V010 }, "{name}");
        assert!(report.height.is_some_and(|h| h > 0));
        assert!(report.tables > 5 && report.rows > 5);
        assert_eq!(report.tables_without_rows, Vec::<String>::new(), "{name}");
        for cut in [1, 7, 1000] {
            assert_eq!(scan(&text, cut).unwrap(), report, "{name}");
        }
    }
}

#[test]
fn a_small_snapshot_is_counted() {
    let report = scan(format!("{SMALL}{END}").as_bytes(), 3).unwrap();
    assert_eq!((report.tables, report.rows, report.height), (2, 2, Some(42)));
    assert_eq!(report.table_rows["s.t"], 2);
    assert_eq!(scan(SMALL.as_bytes(), 100).unwrap().height, None);
}

#[test]
fn the_odd_databases_settings_are_refused() {
    let path =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/v0.10/odd-database/kwild-snapshot.sql.gz"));
    let error = scan(&unzip(path), 1 << 16).unwrap_err();
    assert_eq!(error.line, 1);
    assert!(error.statement.starts_with("ALTER DATABASE k10_odd CONNECTION LIMIT"), "{error}");
    let error = Error::from(error);
    assert_eq!(error.kind(), Kind::Verify);
    assert!(error.advice().is_some());
}

/// Refuses the statement behind a small snapshot, for this reason, however the text is cut, and before the end as after it.
#[track_caller]
fn refused(statement: &str, want: &str) {
    let text = format!("{SMALL}{statement}\n{END}");
    let error = refused_text(text.as_bytes(), SMALL.len()..(SMALL.len() + statement.len() + 2), want);
    assert!(error.line > SMALL.lines().count() as u64, "{statement}: {error}");
    assert!(scan(format!("{SMALL}{END}{statement}\n").as_bytes(), 64).is_err(), "{statement}");
}

const SMALL_V09: &str = "CREATE SCHEMA ds_x;\nCREATE SCHEMA ds_y;\nCREATE SCHEMA kwild_accts;\nCREATE SCHEMA kwild_internal;\n\
    CREATE SCHEMA kwild_voting;\n";
const END_V09: &str = "CREATE TABLE ds_x.t (\n    a text,\n    n bigint\n);\nCOPY ds_x.t (a, n) FROM stdin;\n\\.\n";

/// Refuses the function in a small snapshot of v0.9 for this reason.
#[track_caller]
fn refused_v09(statement: &str, want: &str) {
    let text = format!("{SMALL_V09}{statement}\n{END_V09}{END}");
    refused_text(text.as_bytes(), SMALL_V09.len()..(SMALL_V09.len() + 3), want);
}

/// Passes the function in a small snapshot of v0.9.
#[track_caller]
fn passes_v09(statement: &str) {
    let text = format!("{SMALL_V09}{statement}\n{END_V09}{END}");
    scan(text.as_bytes(), usize::MAX).unwrap_or_else(|e| panic!("{statement}: {e}"));
}

/// Refuses the text for this reason, also when it is cut at any of the places or after every byte.
#[track_caller]
fn refused_text(text: &[u8], cuts: std::ops::Range<usize>, want: &str) -> ScanError {
    let error = scan(text, usize::MAX).expect_err(&String::from_utf8_lossy(text));
    assert!(error.reason.contains(want), "{error}");
    // How much of a bad line is shown may depend on the cut, the verdict not.
    let same = |other: ScanError| assert_eq!((other.line, other.reason), (error.line, error.reason.clone()));
    same(scan(text, 1).unwrap_err());
    for cut in cuts {
        let mut scanner = StatementScanner::new();
        let pieces = scanner.push(&text[..cut]).and_then(|()| scanner.push(&text[cut..]));
        same(pieces.and_then(|()| scanner.finish()).unwrap_err());
    }
    error
}

/// Passes the statements behind a small snapshot, however the text is cut.
#[track_caller]
fn passes(statements: &str) -> ScanReport {
    let text = format!("{SMALL}{statements}\n{END}");
    let report = scan(text.as_bytes(), usize::MAX).unwrap_or_else(|e| panic!("{statements}: {e}"));
    assert_eq!(scan(text.as_bytes(), 1).unwrap(), report);
    report
}

#[test]
fn columns_are_counted() {
    let head = SMALL.split("COPY s.t").next().unwrap();
    let line = head.lines().count() as u64 + 3;
    for (rows, good) in
        [("", true), ("a\tb\n", true), ("a\\tb\tc\n", true), ("ab\n", false), ("a\tb\tc\n", false), ("\n", false)]
    {
        for cut in 1..9 {
            let text = format!("{head}COPY s.t (a, \"B c\") FROM stdin;\nx\ty\n{rows}\\.\n{END}");
            match scan(text.as_bytes(), cut) {
                Ok(_) => assert!(good, "{rows}"),
                Err(e) => assert!(!good && e.line == line && e.reason.contains("columns"), "{rows}: {e}"),
            }
        }
    }
}

#[test]
fn a_hostile_statement_is_refused_at_every_line_of_a_recording() {
    let (_, text) = recorded().into_iter().find(|(n, _)| n.contains("v0.10/worlds/quartet/kwild-snapshot/")).unwrap();
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    let mut in_copy = false;
    for (at, line) in lines.iter().enumerate() {
        // At a statement's begin, where the line is not inside a block.
        if !in_copy && line[0].is_ascii_uppercase() {
            let hostile: [&[u8]; 2] = [b"DROP TABLE x;\n", b"\\! id\n"];
            for hostile in hostile {
                let changed = [&lines[..at], &[hostile], &lines[at..]].concat().concat();
                let inside_body = std::str::from_utf8(&lines[..at].concat()).unwrap().matches("$$").count() % 2 == 1;
                assert!(inside_body || scan(&changed, 1 << 20).is_err(), "line {}", at + 1);
            }
        }
        in_copy = line.starts_with(b"COPY ") || (in_copy && *line != b"\\.\n");
    }
}

#[test]
fn the_verdict_does_not_depend_on_the_cut() {
    let text = format!("{SMALL}{END}");
    let report = scan(text.as_bytes(), usize::MAX).unwrap();
    for cut in 0..text.len() {
        let mut scanner = StatementScanner::new();
        scanner.push(&text.as_bytes()[..cut]).unwrap();
        scanner.push(&text.as_bytes()[cut..]).unwrap();
        assert_eq!(scanner.finish().unwrap(), report, "{cut}");
        // A text that ends there is refused or ends between statements.
        assert!(scan(&text.as_bytes()[..cut], 64).is_err() || text.as_bytes()[cut - 1] == b'\n');
    }
}

/// Every statement of a text, by its tree.
fn trees(text: &[u8]) -> Vec<tree::Node> {
    struct Trees(Vec<tree::Node>, Vec<u8>);
    impl Sink for Trees {
        type Error = ScanError;

        fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
            Ok(())
        }

        fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), ScanError> {
            Ok(())
        }

        fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, ScanError> {
            let text = std::str::from_utf8(statement.text).unwrap();
            self.0.push(tree::parse(text.trim_end(), tree::Mode::Statement).unwrap());
            self.1.clear();
            Ok(if text.starts_with("COPY ") { Follows::CopyData } else { Follows::Statement })
        }

        fn data(&mut self, _: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, ScanError> {
            let before = self.1.len();
            self.1.extend_from_slice(data);
            let end = if self.1.starts_with(b"\\.\n") {
                Some(0)
            } else {
                memchr::memmem::find(&self.1, b"\n\\.\n").map(|at| at + 1)
            };
            Ok(end.map(|at| at + 3 - before))
        }
    }
    let mut trees = Trees(Vec::new(), Vec::new());
    Splitter::new().push(text, &mut trees, &mut Vec::new()).unwrap();
    trees.0
}

/// What Kwil made in every recording, in the form of each version that dumped it.
#[test]
fn the_known_things_are_those_of_the_recordings() {
    let mut found = BTreeSet::new();
    for (file, text) in recorded().into_iter().chain(raw_dumps()) {
        let family = if file.contains("/v0.9/") { Family::V09 } else { Family::V010 };
        for node in trees(&text) {
            if let Some(what) = known::kwils_own(&node, family) {
                let (_, name) = what.split_once(' ').unwrap();
                found.insert(format!("{} {name}", node.hash()));
            }
        }
    }
    let mut sorted: Vec<&str> = found.iter().map(String::as_str).collect();
    sorted.sort_by_key(|line| line.split_once(' ').map(|(hash, name)| (name.to_owned(), hash.to_owned())));
    let listed: Vec<&str> = include_str!("known.txt").lines().collect();
    assert!(listed == sorted, "known.txt should be:\n{}", sorted.join("\n"));
}
