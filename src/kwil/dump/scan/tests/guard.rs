//! The guard: psql stops at the first failing statement and loads all or nothing, and nothing in the text can change that.

use super::*;
use crate::dump::guard::{EPILOGUE, NEXT_BATCH, PROLOGUE};

const REST: &str = "CREATE SCHEMA info;\nCREATE SCHEMA kwild_engine;\nCREATE SCHEMA IF NOT EXISTS kwild_internal;\nCREATE SCHEMA s;\n\
    CREATE TABLE s.t (\n    a text\n);\nCOPY s.t (a) FROM stdin;\nx\n\\.\n";
const VOTING_PART: &str = "CREATE SCHEMA kwild_voting;\nCREATE TABLE kwild_voting.voters (\n    id bytea NOT NULL\n);\n\
    COPY kwild_voting.voters (id) FROM stdin;\n\\.\n";

fn guarded(batches: &[&str]) -> String {
    format!("{PROLOGUE}{}{EPILOGUE}", batches.join(NEXT_BATCH))
}

#[track_caller]
fn refused_guarded(text: &str, want: &str) {
    refused_text(text.as_bytes(), text.len() - 3..text.len(), want);
}

#[test]
fn a_guarded_text_is_told_from_another() {
    let report = scan(guarded(&[REST, &format!("{VOTING_PART}{END}")]).as_bytes(), 1).unwrap();
    assert!(report.guarded);
    assert_eq!((report.tables, report.rows, report.height), (2, 1, Some(42)));
    assert!(scan(guarded(&[&format!("{REST}{VOTING_PART}{END}")]).as_bytes(), 64).unwrap().guarded);
    assert!(!scan(format!("{SMALL}{END}").as_bytes(), 64).unwrap().guarded);
}

#[test]
fn a_guard_that_is_not_whole() {
    let text = guarded(&[&format!("{REST}{VOTING_PART}")]);
    for (number, line) in PROLOGUE.lines().enumerate() {
        let without = text.replacen(&format!("{line}\n"), "", 1);
        assert!(scan(without.as_bytes(), 64).is_err(), "line {number}: {line}");
        let doubled = text.replacen(&format!("{line}\n"), &format!("{line}\n{line}\n"), 1);
        assert!(scan(doubled.as_bytes(), 64).is_err(), "line {number}: {line}");
    }
    for (from, to) in [
        ("ON_ERROR_STOP on", "ON_ERROR_STOP off"),
        ("ON_ERROR_STOP on", "ON_ERROR_STOP on "),
        ("ON_ERROR_STOP on\n", "ON_ERROR_STOP on\n\n"),
        ("ON_ERROR_STOP on\n", "ON_ERROR_STOP on\r\n"),
        ("statement_timeout = 0", "statement_timeout = 1"),
        ("BEGIN;", "BEGIN ;"),
        ("BEGIN;", "begin;"),
    ] {
        refused_guarded(&text.replacen(from, to, 1), "");
    }
}

#[test]
fn nothing_between_the_guards_lines_can_turn_it_off() {
    for line in [
        "\\set ON_ERROR_STOP off",
        "\\set ON_ERROR_STOP on",
        "\\unset ON_ERROR_STOP",
        "\\set AUTOCOMMIT off",
        "\\restrict abc",
        "\\unrestrict abc",
        "SET statement_timeout = 1;",
        "SET client_encoding = 'LATIN1';",
        "RESET ALL;",
        "COMMIT;",
        "ROLLBACK;",
        "END;",
        "ABORT;",
        "SAVEPOINT x;",
        "BEGIN;",
        "PREPARE TRANSACTION 'x';",
        "COMMIT AND CHAIN;",
        "SELECT pg_catalog.set_config('search_path', 's', false);",
    ] {
        refused_guarded(&guarded(&[&format!("{REST}{line}\n{VOTING_PART}")]), "");
        refused_guarded(&guarded(&[&format!("{REST}{VOTING_PART}{line}\n")]), "");
    }
}

#[test]
fn what_tells_an_initialised_database_comes_last() {
    refused_guarded(
        &guarded(&[VOTING_PART, "CREATE TABLE kwild_voting.x (\n    a text\n);\n"]),
        "after that of kwild_voting",
    );
    refused_guarded(&guarded(&[REST]), "no Kwil snapshot");
    refused_guarded(&guarded(&[REST, VOTING_PART, END]), "after that of kwild_voting");
}

#[test]
fn a_guarded_text_that_was_cut() {
    let text = guarded(&[REST, VOTING_PART]);
    let mut good = 0;
    for (at, _) in text.match_indices('\n') {
        good += usize::from(scan(&text.as_bytes()[..=at], 4096).is_ok());
    }
    assert_eq!(good, 1, "only the whole text passes");
    refused_guarded(&format!("{text}COMMIT;\n"), "after the guard's COMMIT");
    refused_guarded(&format!("{text}\n"), "empty line");
    refused_guarded(&format!("{text}\\! id\n"), "after the guard's COMMIT");
}

#[test]
fn privileges_stand_in_no_guarded_text() {
    refused_guarded(
        &guarded(&[REST, &format!("{VOTING_PART}GRANT SELECT ON TABLE s.t TO x;\n")]),
        "one machine's roles",
    );
    refused_guarded(
        &guarded(&[REST, &format!("{VOTING_PART}ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO x;\n")]),
        "one machine's roles",
    );
}
