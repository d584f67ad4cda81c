//! Roles, databases, servers and settings: nothing outside the database's own schemas.

use super::*;

#[test]
fn a_role_made_changed_or_dropped() {
    refused("CREATE ROLE x SUPERUSER;", "role");
    refused("CREATE USER x;", "role");
    refused("CREATE GROUP x;", "no statement");
    refused("ALTER ROLE x SUPERUSER;", "role");
    refused("ALTER USER x PASSWORD 'y';", "role");
    refused("ALTER ROLE ALL SET search_path = x;", "role");
    refused("DROP ROLE x;", "no statement");
    refused("DROP USER x;", "no statement");
    refused("DROP OWNED BY x;", "no statement");
    refused("REASSIGN OWNED BY x TO y;", "no statement");
}

#[test]
fn a_role_given_to_a_role() {
    refused("GRANT pg_execute_server_program TO x;", "role");
    refused("GRANT a, b TO x WITH ADMIN OPTION;", "role");
    refused("REVOKE a FROM x;", "role");
    refused("GRANT \"SELECT\" TO x;", "role");
}

#[test]
fn a_database() {
    refused("CREATE DATABASE x;", "database");
    refused("ALTER DATABASE x SET a = 'b';", "database");
    refused("ALTER DATABASE x OWNER TO y;", "database");
    refused("DROP DATABASE x;", "no statement");
    refused("GRANT CONNECT ON DATABASE x TO y;", "database");
    refused("COMMENT ON DATABASE x IS 'y';", "no statement");
}

#[test]
fn a_tablespace() {
    refused("CREATE TABLESPACE x LOCATION '/tmp';", "no statement");
    refused("ALTER TABLESPACE x RENAME TO y;", "no statement");
    refused("DROP TABLESPACE x;", "no statement");
    refused("CREATE TABLE s.u (a text) TABLESPACE x;", "more follows");
}

#[test]
fn an_extension_or_language() {
    refused("CREATE EXTENSION dblink;", "extension");
    refused("CREATE EXTENSION IF NOT EXISTS file_fdw;", "extension");
    refused("ALTER EXTENSION dblink UPDATE;", "no statement");
    refused("DROP EXTENSION dblink;", "no statement");
    refused("CREATE LANGUAGE c;", "language");
    refused("CREATE TRUSTED LANGUAGE x;", "no statement");
}

#[test]
fn a_foreign_server() {
    refused("CREATE SERVER x FOREIGN DATA WRAPPER y;", "no statement");
    refused("ALTER SERVER x OPTIONS (a 'b');", "no statement");
    refused("DROP SERVER x;", "no statement");
    refused("CREATE FOREIGN DATA WRAPPER x;", "no statement");
    refused("CREATE FOREIGN TABLE s.u (a text) SERVER x;", "no statement");
    refused("CREATE USER MAPPING FOR x SERVER y;", "role");
    refused("IMPORT FOREIGN SCHEMA x FROM SERVER y INTO s;", "no statement");
}

#[test]
fn a_trigger() {
    refused("CREATE TRIGGER t BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();", "trigger");
    refused("CREATE CONSTRAINT TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();", "no statement");
    refused("ALTER TRIGGER t ON s.t RENAME TO u;", "no statement");
    refused("DROP TRIGGER t ON s.t;", "no statement");
    refused("ALTER TABLE ONLY s.t DISABLE TRIGGER ALL;", "none of pg_dump");
    refused("CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f();", "event trigger");
    refused("ALTER EVENT TRIGGER t DISABLE;", "no statement");
    refused("DROP EVENT TRIGGER t;", "no statement");
}

#[test]
fn a_rule_or_policy() {
    refused("CREATE RULE r AS ON INSERT TO s.t DO NOTHING;", "rule");
    refused("DROP RULE r ON s.t;", "no statement");
    refused("CREATE POLICY p ON s.t;", "no statement");
    refused("ALTER TABLE ONLY s.t ENABLE ROW LEVEL SECURITY;", "none of pg_dump");
    refused("ALTER TABLE s.t FORCE ROW LEVEL SECURITY;", "none of pg_dump");
}

#[test]
fn a_publication_or_subscription() {
    refused("CREATE PUBLICATION p FOR ALL TABLES;", "no statement");
    refused("ALTER PUBLICATION p ADD TABLE s.t;", "no statement");
    refused("DROP PUBLICATION p;", "no statement");
    refused("CREATE SUBSCRIPTION x CONNECTION 'y' PUBLICATION z;", "no statement");
}

#[test]
fn settings() {
    refused("ALTER SYSTEM SET archive_command = 'id';", "settings");
    refused("ALTER SYSTEM RESET ALL;", "settings");
    refused("SET session_replication_role = replica;", "setting");
    refused("SET standard_conforming_strings = off;", "setting");
    refused("SET ROLE x;", "setting");
    refused("RESET ALL;", "no statement");
    refused("SELECT pg_catalog.set_config('search_path', '', false);", "set_config");
    refused("DISCARD ALL;", "no statement");
}

#[test]
fn code_and_libraries() {
    refused("DO $$begin end$$;", "runs code");
    refused("DO LANGUAGE plpgsql $$begin end$$;", "runs code");
    refused("LOAD '/tmp/x.so';", "no statement");
    refused("CALL s.f();", "no statement");
    refused("EXECUTE p;", "no statement");
    refused("PREPARE p AS SELECT 1;", "no statement");
    refused("CREATE ACCESS METHOD x TYPE INDEX HANDLER y;", "no statement");
    refused("CREATE TRANSFORM FOR x LANGUAGE y (FROM SQL WITH FUNCTION z);", "no statement");
}

#[test]
fn messages_to_others() {
    refused("LISTEN x;", "no statement");
    refused("NOTIFY x, 'y';", "no statement");
    refused("UNLISTEN *;", "no statement");
}
