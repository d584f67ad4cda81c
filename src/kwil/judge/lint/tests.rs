use std::{collections::BTreeSet, fs, path::Path};

use super::*;

fn data(path: &str) -> String {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"));
    fs::read_to_string(data.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const V09: &str = "v0.9/worlds/quartet/kwil-admin/genesis.json";
const V010: &str = "v0.10/worlds/quartet/kwild-snapshot/genesis.json";
const TRUF_SOLO: &str = "truf/worlds/solo/kwild-snapshot/genesis.json";

fn report(family: Family) -> ScanReport {
    ScanReport {
        family,
        tables: 1,
        rows: 0,
        table_rows: [("kwild_voting.votes".to_owned(), 2), ("kwild_voting.resolutions".to_owned(), 3)].into(),
        height: Some(314),
        schemas: BTreeSet::new(),
        voters_rows: 0,
        tables_without_rows: Vec::new(),
        guarded: true,
    }
}

fn facts(genesis: &str, change: impl FnOnce(&mut LintedSnapshot, &mut ScanReport)) -> LintedSnapshot {
    let genesis = Genesis::parse(data(genesis).as_bytes()).unwrap();
    let mut report = report(genesis.family());
    let contents = Contents {
        state_hash: genesis.state_hash().unwrap(),
        scan: Err(ScanError { line: 0, statement: String::new(), reason: String::new() }),
        restrict: false,
        mistaken: Vec::new(),
    };
    let mut facts = LintedSnapshot { name: "s.sql.gz".into(), packing: Packing::Gzip, contents: Ok(contents) };
    change(&mut facts, &mut report);
    if let Ok(contents) = &mut facts.contents
        && contents.scan == Err(ScanError { line: 0, statement: String::new(), reason: String::new() })
    {
        contents.scan = Ok(report);
    }
    facts
}

fn scan_error(facts: &mut LintedSnapshot, statement: &str, reason: &str) {
    let error = ScanError { line: 7, statement: statement.to_owned(), reason: reason.to_owned() };
    facts.contents.as_mut().unwrap().scan = Err(error);
}

#[test]
fn a_snapshot_that_does_not_fit_is_told() {
    type Change<'a> = &'a dyn Fn(&mut LintedSnapshot, &mut ScanReport);
    type Case<'a> = (&'a str, Option<Build>, Change<'a>, Level, &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (V09, None, &|_, r| r.guarded = false, Level::Note, "votes", "s.sql.gz"),
        (V09, None, &|_, r| r.guarded = false, Level::Warning, "unguarded", "s.sql.gz"),
        (V09, None, &|f, _| f.name = "s.sql".into(), Level::Warning, "snapshot-name", "s.sql"),
        (V09, None, &|f, _| f.name = "s.GZ".into(), Level::Warning, "snapshot-name", "s.GZ"),
        (V09, None, &|f, _| f.packing = Packing::Plain, Level::Error, "snapshot-name", "s.sql.gz"),
        (V09, None, &|f, _| f.packing = Packing::Other("zstd"), Level::Error, "snapshot-compression", "s.sql.gz"),
        (V09, None, &|f, _| f.contents = Err("cut".into()), Level::Error, "snapshot-damaged", "s.sql.gz"),
        (
            V09,
            None,
            &|f, _| f.contents.as_mut().unwrap().state_hash = Sha256Hash::from_bytes([1; 32]),
            Level::Error,
            "snapshot-hash",
            "app_hash",
        ),
        (
            V010,
            None,
            &|f, _| f.contents.as_mut().unwrap().state_hash = Sha256Hash::from_bytes([1; 32]),
            Level::Error,
            "snapshot-hash",
            "state_hash",
        ),
        (V09, None, &|f, _| f.contents.as_mut().unwrap().restrict = true, Level::Note, "restrict", "s.sql.gz"),
        (
            V09,
            None,
            &|f, _| scan_error(f, "COPY kwild_voting.voters", "the voters table holds rows: they would stay"),
            Level::Error,
            "voters-rows",
            "s.sql.gz",
        ),
        (
            V09,
            None,
            &|f, _| scan_error(f, "", "no schema kwild_voting is made: this is no Kwil snapshot"),
            Level::Error,
            "no-voting-schema",
            "s.sql.gz",
        ),
        (
            V09,
            None,
            &|f, _| scan_error(f, "CREATE SCHEMA kwild_chain;", "x"),
            Level::Error,
            "private-schema",
            "s.sql.gz",
        ),
        (V09, None, &|f, _| scan_error(f, "CREATE DATABASE x;", "x"), Level::Error, "snapshot-statement", "s.sql.gz"),
        (V09, None, &|_, r| r.family = Family::V010, Level::Error, "family-mismatch", "s.sql.gz"),
        (V09, None, &|_, r| r.height = None, Level::Warning, "no-height-line", "s.sql.gz"),
        (V09, None, &|_, r| r.height = Some(0), Level::Warning, "initial-height", "initial_height"),
        (V010, None, &|_, r| r.height = Some(0), Level::Warning, "empty-chain", "s.sql.gz"),
        (
            TRUF_SOLO,
            Some(Build::Upstream),
            &|_, r| {
                r.table_rows.insert("kwil_erc20_meta.transaction_history".into(), 0);
            },
            Level::Error,
            "truf-snapshot",
            "s.sql.gz",
        ),
        (
            TRUF_SOLO,
            None,
            &|_, r| {
                r.table_rows.insert("kwil_erc20_meta.transaction_history".into(), 0);
            },
            Level::Note,
            "truf-snapshot",
            "s.sql.gz",
        ),
        (
            TRUF_SOLO,
            Some(Build::Truf),
            &|_, r| {
                r.table_rows.insert("kwil_erc20_meta.transaction_history".into(), 0);
            },
            Level::Note,
            "maa-lost",
            "maa_activation_height",
        ),
    ];
    for (path, build, change, level, code, wanted) in cases {
        let facts = facts(path, change);
        let options = LintOptions { build: *build, ..LintOptions::default() };
        let findings = lint_pair(data(path).as_bytes(), &options, &facts).findings;
        let is_it = |f: &Finding| f.level == *level && f.code == *code && f.path.as_deref() == Some(*wanted);
        assert!(findings.iter().any(is_it), "{code}: {findings:#?}");
    }
}

#[test]
fn heights_that_do_not_go_together_are_told() {
    let check = |path: &str, first: i64, height: i64, pending: u64| {
        let text = data(path);
        let from = if path == V010 { "\"initial_height\": 0" } else { "\"initial_height\": 1" };
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, &format!("\"initial_height\": {first}"), 1);
        let facts = facts(path, |_, report| {
            report.height = Some(height);
            report.table_rows = [("kwild_voting.resolutions".to_owned(), pending)].into();
        });
        lint_pair(text.as_bytes(), &LintOptions::default(), &facts)
            .findings
            .iter()
            .map(|f| (f.level, f.code))
            .collect::<Vec<_>>()
    };
    assert_eq!(check(V09, 1, 314, 3), []);
    assert_eq!(check(V09, 315, 0, 3), []);
    assert_eq!(check(V09, 315, 314, 3), [(Level::Error, "expiry-twice")]);
    assert_eq!(check(V09, 315, 314, 0), [(Level::Note, "expiry-twice")]);
    assert_eq!(check(V09, 400, 314, 0), [(Level::Warning, "initial-height"), (Level::Note, "expiry-twice")]);
    assert_eq!(check(V010, 0, 76, 1), []);
    assert_eq!(check(V010, 76, 76, 1), []);
    assert_eq!(check(V010, 77, 76, 1), [(Level::Warning, "initial-height")]);
}

#[test]
fn a_hash_of_the_wrong_thing_is_named() {
    let wanted = Genesis::parse(data(V010).as_bytes()).unwrap().state_hash().unwrap();
    let facts = facts(V010, |facts, _| {
        let contents = facts.contents.as_mut().unwrap();
        contents.state_hash = Sha256Hash::from_bytes([1; 32]);
        contents.mistaken = vec![(wanted, "the hash of the compressed file")];
    });
    let options = LintOptions::default();
    let findings = lint_pair(data(V010).as_bytes(), &options, &facts).findings;
    assert!(findings[0].text.contains("the hash of the compressed file"), "{findings:?}");
    // A genesis that pins nothing is an error where a snapshot is given.
    let mut value: serde_json::Value = serde_json::from_str(&data(V010)).unwrap();
    value.as_object_mut().unwrap().remove("state_hash");
    let findings = lint_pair(value.to_string().as_bytes(), &options, &facts).findings;
    assert_eq!((findings[0].level, findings[0].code), (Level::Error, "no-state-hash"));
}
