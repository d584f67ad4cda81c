//! Views: in `info`, and only functions that compute.

use super::*;

#[test]
fn a_view_with_functions_that_do_more_than_compute() {
    refused("CREATE VIEW info.v AS SELECT pg_read_file('/etc/passwd');", "pg_read_file");
    refused("CREATE VIEW info.v AS SELECT dblink('x'::text);", "dblink");
    refused("CREATE VIEW info.v AS SELECT lo_import('x'::text);", "lo_import");
    refused("CREATE VIEW info.v AS SELECT \"set_config\"('a', 'b', false);", "set_config");
    refused("CREATE VIEW info.v AS SELECT query_to_xml('x', true, true, '');", "query_to_xml");
    refused("CREATE VIEW info.v AS SELECT x.lower('a');", "lower");
    refused("CREATE VIEW info.v AS SELECT pg_catalog.pg_ls_dir('x');", "pg_ls_dir");
}

#[test]
fn a_view_that_writes() {
    refused("CREATE VIEW info.v AS WITH x AS (DELETE FROM s.t RETURNING 1) SELECT 1;", "DELETE");
    refused("CREATE VIEW info.v AS SELECT 1 INTO s.x;", "INTO");
    refused("CREATE VIEW info.v AS TABLE s.t;", "no query");
    refused("CREATE VIEW info.v AS VALUES (1);", "no query");
}

#[test]
fn a_view_elsewhere_or_of_another_kind() {
    refused("CREATE VIEW s.v AS SELECT 1;", "info only");
    refused("CREATE OR REPLACE VIEW info.v AS SELECT 1;", "no statement");
    refused("CREATE VIEW info.v WITH (security_barrier) AS SELECT 1;", "expected AS");
    refused("CREATE MATERIALIZED VIEW s.m AS SELECT 1;", "materialized");
    refused("CREATE TEMP VIEW v AS SELECT 1;", "no statement");
    refused("CREATE RECURSIVE VIEW v (a) AS SELECT 1;", "no statement");
}

#[test]
fn a_view_over_the_servers_secrets() {
    for table in
        ["pg_catalog.pg_authid", "pg_shadow", "\"pg_shadow\"", "pg_user_mappings", "pg_hba_file_rules", "pg_settings"]
    {
        refused(&format!("CREATE VIEW info.v AS SELECT * FROM {table};"), "of the server's catalogue");
    }
    refused(
        "CREATE VIEW info.v AS SELECT * FROM information_schema.user_mapping_options;",
        "of the server's catalogue",
    );
    passes(
        "CREATE VIEW info.v AS SELECT x.relname FROM (pg_class x JOIN pg_catalog.pg_attribute a ON ((x.oid = a.attrelid)));",
    );
}
