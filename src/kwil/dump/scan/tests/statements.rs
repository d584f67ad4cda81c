//! Statements that no dump holds at all.

use super::*;

#[test]
fn rows_by_other_means() {
    refused("INSERT INTO s.t VALUES (1);", "InsertStmt is no statement of a Kwil dump");
    refused("DELETE FROM s.t;", "DeleteStmt is no statement of a Kwil dump");
    refused("MERGE INTO s.t USING s.t ON true WHEN MATCHED THEN DELETE;", "MergeStmt is no statement of a Kwil dump");
    refused("WITH x AS (DELETE FROM s.t RETURNING 1) SELECT 1;", "a query other than pg_dump's own");
    refused("TABLE s.t;", "a query other than pg_dump's own");
    refused("VALUES (1);", "a query other than pg_dump's own");
}

#[test]
fn queries() {
    refused("SELECT pg_read_file('/etc/passwd');", "a query other than pg_dump's own");
    refused("SELECT 1;", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.pg_read_file('/etc/passwd');", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.lo_import('/etc/passwd');", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.lo_export(1, '/tmp/x');", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.lo_create('1'), 2;", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.lo_create(pg_read_file('x'));", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.lo_unlink(1);", "a query other than pg_dump's own");
    refused("SELECT pg_catalog.\"lo_import\"('x');", "a query other than pg_dump's own");
    refused("SELECT \"pg_catalog\".lo_import('x');", "a query other than pg_dump's own");
}

#[test]
fn large_objects_with_more_than_their_data() {
    refused(
        "BEGIN;\nSELECT pg_catalog.lo_open('1', pg_read_file('x'));\nCOMMIT;",
        "TransactionStmt is no statement of a Kwil dump",
    );
    refused(
        "BEGIN;\nSELECT pg_catalog.lowrite(0, pg_read_file('x'));\nCOMMIT;",
        "TransactionStmt is no statement of a Kwil dump",
    );
    refused("BEGIN;\nSELECT pg_catalog.lo_get(1);\nCOMMIT;", "TransactionStmt is no statement of a Kwil dump");
}

#[test]
fn maintenance() {
    refused("VACUUM;", "VacuumStmt is no statement of a Kwil dump");
    refused("ANALYZE s.t;", "VacuumStmt is no statement of a Kwil dump");
    refused("CLUSTER;", "ClusterStmt is no statement of a Kwil dump");
    refused("REINDEX DATABASE x;", "ReindexStmt is no statement of a Kwil dump");
    refused("CHECKPOINT;", "CheckPointStmt is no statement of a Kwil dump");
    refused("LOCK TABLE s.t;", "LockStmt is no statement of a Kwil dump");
    refused("REFRESH MATERIALIZED VIEW s.m;", "RefreshMatViewStmt is no statement of a Kwil dump");
    refused("EXPLAIN ANALYZE SELECT 1;", "ExplainStmt is no statement of a Kwil dump");
    refused("COMMENT ON TABLE s.t IS 'x';", "CommentStmt is no statement of a Kwil dump");
    refused("SECURITY LABEL ON TABLE s.t IS 'x';", "SecLabelStmt is no statement of a Kwil dump");
}

#[test]
fn nothing_at_all() {
    refused(";", "a statement that begins with no word");
    refused("(SELECT 1);", "a statement that begins with no word");
    refused("1;", "a statement that begins with no word");
    refused("'x';", "a statement that begins with no word");
    refused("$$x$$;", "a statement that begins with no word");
    refused("\"DROP\" TABLE x;", "a statement that begins with no word");
}
