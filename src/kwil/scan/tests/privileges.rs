//! GRANT and REVOKE: on what this file makes.

use super::*;

#[test]
fn on_what_this_file_does_not_make() {
    refused("GRANT SELECT ON TABLE pg_catalog.pg_authid TO x;", "does not make");
    refused("GRANT USAGE ON SCHEMA public TO x;", "does not make");
    refused("GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO x;", "does not make");
    refused("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO x;", "does not make");
    refused("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x;", "expected IN SCHEMA");
}

#[test]
fn on_what_is_not_in_a_schema() {
    refused("GRANT USAGE ON LANGUAGE c TO x;", "expected");
    refused("GRANT USAGE ON FOREIGN SERVER x TO y;", "expected");
    refused("GRANT CREATE ON TABLESPACE x TO y;", "expected");
    refused("GRANT SET ON PARAMETER x TO y;", "unknown privilege");
    refused("GRANT SELECT ON LARGE OBJECT 1 TO x;", "expected");
    refused("GRANT SELECT ON ALL TABLES IN SCHEMA s TO x;", "expected");
}

#[test]
fn with_more_than_a_role() {
    refused("GRANT SELECT ON TABLE s.t TO x, y;", "more follows");
    refused("GRANT SELECT ON TABLE s.t TO x GRANTED BY y;", "more follows");
    refused("REVOKE SELECT ON TABLE s.t FROM x CASCADE;", "more follows");
    refused("GRANT SELECT ON TABLE s.t TO user;", "word of SQL");
    refused("GRANT SELECT ON TABLE s.t;", "expected TO or FROM");
}

#[test]
fn pg_dumps_own_privileges_pass() {
    passes(
        "REVOKE ALL ON TABLE s.t FROM x;\nGRANT SELECT,INSERT ON TABLE s.t TO PUBLIC;\nGRANT SELECT(a) ON TABLE s.t TO \"user\";\n\
         GRANT USAGE ON SCHEMA s TO x WITH GRANT OPTION;\n\
         ALTER DEFAULT PRIVILEGES FOR ROLE kwild IN SCHEMA s GRANT SELECT ON TABLES TO x;",
    );
}
