//! What may come where: schemas first, the closing UPDATE last, and one family only.

use super::*;

#[test]
fn a_schema_after_the_first_object() {
    refused("CREATE SCHEMA later;", "a schema is made after the first object");
}

#[test]
fn another_update() {
    refused("UPDATE s.t SET a = '';", "an UPDATE other than the one that Kwil's tool ends a snapshot with");
    refused(
        "UPDATE kwild_voting.resolutions SET expiration = expiration-1 WHERE true;",
        "UpdateStmt with where_clause is no part of any UpdateStmt of a Kwil",
    );
    refused(
        "UPDATE kwild_voting.resolutions SET expiration = 1;",
        "an UPDATE other than the one that Kwil's tool ends a snapshot with",
    );
    refused(
        "UPDATE kwild_voting.resolutions SET expiration = expiration+1;",
        "an UPDATE other than the one that Kwil's tool ends a snapshot with",
    );
    refused(
        "UPDATE kwild_voting.resolutions SET expiration = expiration-1-1;",
        "an UPDATE other than the one that Kwil's tool ends a snapshot with",
    );
    refused(
        "UPDATE kwild_voting.resolutions SET expiration = expiration-99999999999999999999;",
        "an UPDATE other than the one that Kwil's tool ends a snapshot with",
    );
    refused(
        "UPDATE kwild_voting.voters SET power = power-1;",
        "an UPDATE other than the one that Kwil's tool ends a snapshot with",
    );
    refused("UPDATE ONLY kwild_voting.resolutions SET expiration = expiration-1;", "RangeVar with inh");
}

#[test]
fn a_transaction_for_more_than_large_objects() {
    refused("BEGIN;\nDROP TABLE s.t;", "TransactionStmt is no statement of a Kwil dump");
    refused("BEGIN;\nCOMMIT;\nROLLBACK;", "TransactionStmt is no statement of a Kwil dump");
    refused("BEGIN ISOLATION LEVEL SERIALIZABLE;", "TransactionStmt is no statement of a Kwil dump");
    refused("BEGIN;\nCREATE TABLE s.u (a text);\nCOMMIT;", "TransactionStmt is no statement of a Kwil dump");
    refused("BEGIN;\nCOPY s.t (a) FROM stdin;\n\\.\nCOMMIT;", "TransactionStmt is no statement of a Kwil dump");
    refused("BEGIN;\n\\restrict a\nCOMMIT;", "TransactionStmt is no statement of a Kwil dump");
    refused("START TRANSACTION;", "TransactionStmt is no statement of a Kwil dump");
    refused("COMMIT;", "TransactionStmt is no statement of a Kwil dump");
    refused("SAVEPOINT x;", "TransactionStmt is no statement of a Kwil dump");
}

#[test]
fn nothing_follows_the_closing_update() {
    for rest in
        [END, "GRANT SELECT ON TABLE s.t TO x;\n", "\\! id\n", "CREATE TABLE s.u (a text);\n", "-- x\n", "BEGIN;\n"]
    {
        let text = format!("{SMALL}{END}{rest}");
        refused_text(text.as_bytes(), SMALL.len()..text.len(), "");
    }
    let text = format!("{SMALL}{END}\\restrict abc\n");
    refused_text(text.as_bytes(), SMALL.len()..text.len(), "psql would run");
    scan(format!("{SMALL}{END}\n\n").as_bytes(), 1).unwrap();
}

#[test]
fn a_text_that_ends_in_the_middle() {
    for (rest, want) in [
        ("CREATE TABLE s.x (\n", "inside a line or statement"),
        ("GRANT SELECT ON TABLE s.t TO x", "inside a line or statement"),
        ("GRANT SELECT ON TABLE s.t TO x;", "inside a line or statement"),
        ("\\restrict a", "inside a line or statement"),
        ("UPDATE kwild_voting.resolutions SET expiration = expiration--1;\n", "inside a line or statement"),
    ] {
        let text = format!("{SMALL}{rest}");
        refused_text(text.as_bytes(), SMALL.len()..text.len(), want);
    }
}

#[test]
fn texts_that_are_no_snapshot() {
    for (text, want) in [
        ("", "no statement"),
        ("\n\n", "empty line"),
        ("CREATE SCHEMA s;\n", "no Kwil snapshot"),
        ("CREATE TABLE s.t (a text);\n", "no Kwil snapshot"),
        (END, "no Kwil snapshot"),
        ("\\restrict a\n", "no Kwil snapshot"),
    ] {
        refused_text(text.as_bytes(), 0..text.len(), want);
    }
    refused_text(b"\x1f\x8b\x08\x00", 0..4, "inside a line");
}

#[test]
fn schemas_that_no_snapshot_makes() {
    for schema in [
        "public",
        "pg_toast",
        "\"pg_x\"",
        "information_schema",
        "kwild_chain",
        "kwild_events",
        "kwild_peers",
        "kwild",
        "postgres",
    ] {
        refused_text(format!("CREATE SCHEMA {schema};\n").as_bytes(), 0..10, "does not belong");
    }
    for (statement, want) in [
        ("CREATE SCHEMA user;\n", "syntax error"),
        ("CREATE SCHEMA s AUTHORIZATION x;\n", "authrole"),
        ("CREATE SCHEMA IF NOT EXISTS s;\n", "be there already"),
        ("CREATE SCHEMA s CREATE TABLE t (a text);\n", "schema_elts"),
        ("CREATE SCHEMA s;\nCREATE SCHEMA S;\n", "made twice"),
    ] {
        refused_text(statement.as_bytes(), 0..statement.len(), want);
    }
}

#[test]
fn schemas_of_both_families() {
    // Without the engine's schema it is v0.9, which has no schemas of its users' naming.
    let text = SMALL.replace("CREATE SCHEMA kwild_engine;\n", "");
    assert!(scan(text.as_bytes(), 1).unwrap_err().reason.contains("none of Kwil v0.9"));
    // With it, a schema that looks like a v0.9 dataset is a v0.10 namespace, where functions are not made.
    let text = SMALL.replace("CREATE SCHEMA s;\n", "CREATE SCHEMA s;\nCREATE SCHEMA ds_x;\n");
    scan(text.as_bytes(), 1).unwrap();
    let function = "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;\n";
    assert!(scan(format!("{text}{function}").as_bytes(), 1).unwrap_err().reason.contains("no version of Kwil makes"));
    let v09 =
        "CREATE SCHEMA ds_x;\nCREATE SCHEMA kwild_accts;\nCREATE SCHEMA kwild_internal;\nCREATE SCHEMA kwild_voting;\n";
    scan(format!("{v09}{function}").as_bytes(), 1).unwrap();
    let engine = "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;\n";
    assert!(scan(format!("{v09}{engine}").as_bytes(), 1).unwrap_err().reason.contains("no version of Kwil makes"));
}

#[test]
fn one_nodes_own_table_of_truf() {
    let text = SMALL.replace("CREATE SCHEMA s;\n", "CREATE SCHEMA kwild_internal;\nCREATE SCHEMA s;\n");
    scan(text.as_bytes(), 1).unwrap();
    for (own, want) in [
        ("CREATE TABLE kwild_internal.sentry (seq bigint);\n", "one node's own table"),
        (
            "CREATE SEQUENCE kwild_internal.sentry_seq START WITH 1;\nSELECT nextval('kwild_internal.sentry_seq');\n",
            "a query",
        ),
    ] {
        assert!(scan(format!("{text}{own}").as_bytes(), 1).unwrap_err().reason.contains(want), "{own}");
    }
}
