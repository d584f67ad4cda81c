//! Statements that no dump holds at all.

use super::*;

#[test]
fn rows_by_other_means() {
    refused("INSERT INTO s.t VALUES (1);", "no statement");
    refused("DELETE FROM s.t;", "no statement");
    refused("MERGE INTO s.t USING s.t ON true WHEN MATCHED THEN DELETE;", "no statement");
    refused("WITH x AS (DELETE FROM s.t RETURNING 1) SELECT 1;", "no statement");
    refused("TABLE s.t;", "no statement");
    refused("VALUES (1);", "no statement");
}

#[test]
fn queries() {
    refused("SELECT pg_read_file('/etc/passwd');", "query");
    refused("SELECT 1;", "query");
    refused("SELECT pg_catalog.pg_read_file('/etc/passwd');", "pg_read_file");
    refused("SELECT pg_catalog.lo_import('/etc/passwd');", "lo_import");
    refused("SELECT pg_catalog.lo_export(1, '/tmp/x');", "lo_export");
    refused("SELECT pg_catalog.lo_create('1'), 2;", "more follows");
    refused("SELECT pg_catalog.lo_create(pg_read_file('x'));", "literal");
    refused("SELECT pg_catalog.lo_unlink(1);", "lo_unlink");
    refused("SELECT pg_catalog.\"lo_import\"('x');", "lo_import");
    refused("SELECT \"pg_catalog\".lo_import('x');", "query");
}

#[test]
fn large_objects_with_more_than_their_data() {
    refused("BEGIN;\nSELECT pg_catalog.lo_open('1', pg_read_file('x'));\nCOMMIT;", "expected");
    refused("BEGIN;\nSELECT pg_catalog.lowrite(0, pg_read_file('x'));\nCOMMIT;", "literal");
    refused("BEGIN;\nSELECT pg_catalog.lo_get(1);\nCOMMIT;", "lo_get");
}

#[test]
fn maintenance() {
    refused("VACUUM;", "no statement");
    refused("ANALYZE s.t;", "no statement");
    refused("CLUSTER;", "no statement");
    refused("REINDEX DATABASE x;", "no statement");
    refused("CHECKPOINT;", "no statement");
    refused("LOCK TABLE s.t;", "no statement");
    refused("REFRESH MATERIALIZED VIEW s.m;", "no statement");
    refused("EXPLAIN ANALYZE SELECT 1;", "no statement");
    refused("COMMENT ON TABLE s.t IS 'x';", "no statement");
    refused("SECURITY LABEL ON TABLE s.t IS 'x';", "no statement");
}

#[test]
fn nothing_at_all() {
    refused(";", "no statement");
    refused("(SELECT 1);", "no statement");
    refused("1;", "no statement");
    refused("'x';", "no statement");
    refused("$$x$$;", "no statement");
    refused("\"DROP\" TABLE x;", "no statement");
}
