//! Views: in `info`, and only functions that compute.

use super::*;

#[test]
fn a_view_with_functions_that_do_more_than_compute() {
    refused("CREATE VIEW info.v AS SELECT pg_read_file('/etc/passwd');", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v AS SELECT dblink('x'::text);", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v AS SELECT lo_import('x'::text);", "a view info.v that no version of Kwil makes");
    refused(
        "CREATE VIEW info.v AS SELECT \"set_config\"('a', 'b', false);",
        "a view info.v that no version of Kwil makes",
    );
    refused(
        "CREATE VIEW info.v AS SELECT query_to_xml('x', true, true, '');",
        "a view info.v that no version of Kwil makes",
    );
    refused("CREATE VIEW info.v AS SELECT x.lower('a');", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v AS SELECT pg_catalog.pg_ls_dir('x');", "a view info.v that no version of Kwil makes");
}

#[test]
fn a_view_that_writes() {
    refused(
        "CREATE VIEW info.v AS WITH x AS (DELETE FROM s.t RETURNING 1) SELECT 1;",
        "a view info.v that no version of Kwil makes",
    );
    refused("CREATE VIEW info.v AS SELECT 1 INTO s.x;", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v AS TABLE s.t;", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v AS VALUES (1);", "a view info.v that no version of Kwil makes");
}

#[test]
fn a_view_elsewhere_or_of_another_kind() {
    refused("CREATE VIEW s.v AS SELECT 1;", "a view s.v that no version of Kwil makes");
    refused("CREATE OR REPLACE VIEW info.v AS SELECT 1;", "a view info.v that no version of Kwil makes");
    refused("CREATE VIEW info.v WITH (security_barrier) AS SELECT 1;", "a view info.v that no version of Kwil makes");
    refused("CREATE MATERIALIZED VIEW s.m AS SELECT 1;", "CreateTableAsStmt is no statement of a Kwil dump");
    refused("CREATE TEMP VIEW v AS SELECT 1;", "a view .v that no version of Kwil makes");
    refused("CREATE RECURSIVE VIEW v (a) AS SELECT 1;", "a view .v that no version of Kwil makes");
}

#[test]
fn a_view_over_the_servers_secrets() {
    for table in
        ["pg_catalog.pg_authid", "pg_shadow", "\"pg_shadow\"", "pg_user_mappings", "pg_hba_file_rules", "pg_settings"]
    {
        refused(&format!("CREATE VIEW info.v AS SELECT * FROM {table};"), "that no version of Kwil makes");
    }
    refused(
        "CREATE VIEW info.v AS SELECT * FROM information_schema.user_mapping_options;",
        "a view info.v that no version of Kwil makes",
    );
}
