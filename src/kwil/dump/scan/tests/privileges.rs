//! GRANT and REVOKE: on what this file makes.

use super::*;

#[test]
fn on_what_this_file_does_not_make() {
    refused(
        "GRANT SELECT ON TABLE pg_catalog.pg_authid TO x;",
        "pg_catalog.pg_authid, which stands in a schema that this file does",
    );
    refused("GRANT USAGE ON SCHEMA public TO x;", "privileges in public, which this file does not make");
    refused("GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO x;", "GrantStmt with objtype");
    refused(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO x;",
        "privileges in public, which this file does not make",
    );
    refused("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x;", "privileges in every schema");
}

#[test]
fn on_what_is_not_in_a_schema() {
    refused("GRANT USAGE ON LANGUAGE c TO x;", "privileges in c, which this file does not make");
    refused("GRANT USAGE ON FOREIGN SERVER x TO y;", "privileges in x, which this file does not make");
    refused("GRANT CREATE ON TABLESPACE x TO y;", "privileges in x, which this file does not make");
    refused("GRANT SET ON PARAMETER x TO y;", "privileges in x, which this file does not make");
    refused("GRANT SELECT ON LARGE OBJECT 1 TO x;", "GrantStmt with objtype");
    refused("GRANT SELECT ON ALL TABLES IN SCHEMA s TO x;", "GrantStmt with targtype");
}

#[test]
fn with_more_than_a_role() {
    refused(
        "GRANT SELECT ON TABLE s.t TO x GRANTED BY y;",
        "GrantStmt with grantor is no part of any GrantStmt of a Kwil dump",
    );
    refused("REVOKE SELECT ON TABLE s.t FROM x CASCADE;", "GrantStmt with behavior");
    refused("GRANT SELECT ON TABLE s.t TO user;", "syntax error at or near \"user\"");
    refused("GRANT SELECT ON TABLE s.t;", "syntax error at or near \";\"");
}

#[test]
fn pg_dumps_own_privileges_pass() {
    passes(
        "REVOKE ALL ON TABLE s.t FROM x;\nGRANT SELECT,INSERT ON TABLE s.t TO PUBLIC;\nGRANT SELECT(a) ON TABLE s.t TO \"user\";\n\
         GRANT USAGE ON SCHEMA s TO x WITH GRANT OPTION;\n\
         ALTER DEFAULT PRIVILEGES FOR ROLE kwild IN SCHEMA s GRANT SELECT ON TABLES TO x;",
    );
}
