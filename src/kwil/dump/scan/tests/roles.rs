//! Roles, databases, servers and settings: nothing outside the database's own schemas.

use super::*;

#[test]
fn a_role_made_changed_or_dropped() {
    refused("CREATE ROLE x SUPERUSER;", "CreateRoleStmt is no statement of a Kwil dump");
    refused("CREATE USER x;", "CreateRoleStmt is no statement of a Kwil dump");
    refused("CREATE GROUP x;", "CreateRoleStmt is no statement of a Kwil dump");
    refused("ALTER ROLE x SUPERUSER;", "AlterRoleStmt is no statement of a Kwil dump");
    refused("ALTER USER x PASSWORD 'y';", "AlterRoleStmt is no statement of a Kwil dump");
    refused("ALTER ROLE ALL SET search_path = x;", "AlterRoleSetStmt is no statement of a Kwil dump");
    refused("DROP ROLE x;", "DropRoleStmt is no statement of a Kwil dump");
    refused("DROP USER x;", "DropRoleStmt is no statement of a Kwil dump");
    refused("DROP OWNED BY x;", "DropOwnedStmt is no statement of a Kwil dump");
    refused("REASSIGN OWNED BY x TO y;", "ReassignOwnedStmt is no statement of a Kwil dump");
}

#[test]
fn a_role_given_to_a_role() {
    refused("GRANT pg_execute_server_program TO x;", "GrantRoleStmt is no statement of a Kwil dump");
    refused("GRANT a, b TO x WITH ADMIN OPTION;", "GrantRoleStmt is no statement of a Kwil dump");
    refused("REVOKE a FROM x;", "GrantRoleStmt is no statement of a Kwil dump");
    refused("GRANT \"SELECT\" TO x;", "GrantRoleStmt is no statement of a Kwil dump");
}

#[test]
fn a_database() {
    refused("CREATE DATABASE x;", "CreatedbStmt is no statement of a Kwil dump");
    refused("ALTER DATABASE x SET a = 'b';", "AlterDatabaseSetStmt is no statement of a Kwil dump");
    refused("ALTER DATABASE x OWNER TO y;", "AlterOwnerStmt is no statement of a Kwil dump");
    refused("DROP DATABASE x;", "DropdbStmt is no statement of a Kwil dump");
    refused("GRANT CONNECT ON DATABASE x TO y;", "privileges in x, which this file does not make");
    refused("COMMENT ON DATABASE x IS 'y';", "CommentStmt is no statement of a Kwil dump");
}

#[test]
fn a_tablespace() {
    refused("CREATE TABLESPACE x LOCATION '/tmp';", "CreateTableSpaceStmt is no statement of a Kwil dump");
    refused("ALTER TABLESPACE x RENAME TO y;", "RenameStmt is no statement of a Kwil dump");
    refused("DROP TABLESPACE x;", "DropTableSpaceStmt is no statement of a Kwil dump");
    refused(
        "CREATE TABLE s.u (a text) TABLESPACE x;",
        "CreateStmt with tablespacename is no part of any CreateStmt of a Kwil",
    );
}

#[test]
fn an_extension_or_language() {
    refused("CREATE EXTENSION dblink;", "CreateExtensionStmt is no statement of a Kwil dump");
    refused("CREATE EXTENSION IF NOT EXISTS file_fdw;", "CreateExtensionStmt is no statement of a Kwil dump");
    refused("ALTER EXTENSION dblink UPDATE;", "AlterExtensionStmt is no statement of a Kwil dump");
    refused("DROP EXTENSION dblink;", "DropStmt is no statement of a Kwil dump");
    refused("CREATE LANGUAGE c;", "CreateExtensionStmt is no statement of a Kwil dump");
    refused("CREATE TRUSTED LANGUAGE x;", "CreateExtensionStmt is no statement of a Kwil dump");
}

#[test]
fn a_foreign_server() {
    refused("CREATE SERVER x FOREIGN DATA WRAPPER y;", "CreateForeignServerStmt is no statement of a Kwil dump");
    refused("ALTER SERVER x OPTIONS (a 'b');", "AlterForeignServerStmt is no statement of a Kwil dump");
    refused("DROP SERVER x;", "DropStmt is no statement of a Kwil dump");
    refused("CREATE FOREIGN DATA WRAPPER x;", "CreateFdwStmt is no statement of a Kwil dump");
    refused("CREATE FOREIGN TABLE s.u (a text) SERVER x;", "CreateForeignTableStmt is no statement of a Kwil dump");
    refused("CREATE USER MAPPING FOR x SERVER y;", "CreateUserMappingStmt is no statement of a Kwil dump");
    refused("IMPORT FOREIGN SCHEMA x FROM SERVER y INTO s;", "ImportForeignSchemaStmt is no statement of a Kwil dump");
}

#[test]
fn a_trigger() {
    refused(
        "CREATE TRIGGER t BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();",
        "CreateTrigStmt is no statement of a Kwil dump",
    );
    refused(
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();",
        "CreateTrigStmt is no statement of a Kwil dump",
    );
    refused("ALTER TRIGGER t ON s.t RENAME TO u;", "RenameStmt is no statement of a Kwil dump");
    refused("DROP TRIGGER t ON s.t;", "DropStmt is no statement of a Kwil dump");
    refused("ALTER TABLE ONLY s.t DISABLE TRIGGER ALL;", "AlterTableCmd with subtype");
    refused(
        "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f();",
        "CreateEventTrigStmt is no statement of a Kwil dump",
    );
    refused("ALTER EVENT TRIGGER t DISABLE;", "AlterEventTrigStmt is no statement of a Kwil dump");
    refused("DROP EVENT TRIGGER t;", "DropStmt is no statement of a Kwil dump");
}

#[test]
fn a_rule_or_policy() {
    refused("CREATE RULE r AS ON INSERT TO s.t DO NOTHING;", "RuleStmt is no statement of a Kwil dump");
    refused("DROP RULE r ON s.t;", "DropStmt is no statement of a Kwil dump");
    refused("CREATE POLICY p ON s.t;", "CreatePolicyStmt is no statement of a Kwil dump");
    refused("ALTER TABLE ONLY s.t ENABLE ROW LEVEL SECURITY;", "AlterTableCmd with subtype");
    refused("ALTER TABLE s.t FORCE ROW LEVEL SECURITY;", "AlterTableCmd with subtype");
}

#[test]
fn a_publication_or_subscription() {
    refused("CREATE PUBLICATION p FOR ALL TABLES;", "CreatePublicationStmt is no statement of a Kwil dump");
    refused("ALTER PUBLICATION p ADD TABLE s.t;", "AlterPublicationStmt is no statement of a Kwil dump");
    refused("DROP PUBLICATION p;", "DropStmt is no statement of a Kwil dump");
    refused(
        "CREATE SUBSCRIPTION x CONNECTION 'y' PUBLICATION z;",
        "CreateSubscriptionStmt is no statement of a Kwil dump",
    );
}

#[test]
fn settings() {
    refused("ALTER SYSTEM SET archive_command = 'id';", "AlterSystemStmt is no statement of a Kwil dump");
    refused("ALTER SYSTEM RESET ALL;", "AlterSystemStmt is no statement of a Kwil dump");
    refused("SET session_replication_role = replica;", "VariableSetStmt is no statement of a Kwil dump");
    refused("SET standard_conforming_strings = off;", "VariableSetStmt is no statement of a Kwil dump");
    refused("SET ROLE x;", "VariableSetStmt is no statement of a Kwil dump");
    refused("RESET ALL;", "VariableSetStmt is no statement of a Kwil dump");
    refused("SELECT pg_catalog.set_config('search_path', '', false);", "a query other than pg_dump's own");
    refused("DISCARD ALL;", "DiscardStmt is no statement of a Kwil dump");
}

#[test]
fn code_and_libraries() {
    refused("DO $$begin end$$;", "DoStmt is no statement of a Kwil dump");
    refused("DO LANGUAGE plpgsql $$begin end$$;", "DoStmt is no statement of a Kwil dump");
    refused("LOAD '/tmp/x.so';", "LoadStmt is no statement of a Kwil dump");
    refused("CALL s.f();", "CallStmt is no statement of a Kwil dump");
    refused("EXECUTE p;", "ExecuteStmt is no statement of a Kwil dump");
    refused("PREPARE p AS SELECT 1;", "PrepareStmt is no statement of a Kwil dump");
    refused("CREATE ACCESS METHOD x TYPE INDEX HANDLER y;", "CreateAmStmt is no statement of a Kwil dump");
    refused(
        "CREATE TRANSFORM FOR x LANGUAGE y (FROM SQL WITH FUNCTION z);",
        "CreateTransformStmt is no statement of a Kwil dump",
    );
}

#[test]
fn messages_to_others() {
    refused("LISTEN x;", "ListenStmt is no statement of a Kwil dump");
    refused("NOTIFY x, 'y';", "NotifyStmt is no statement of a Kwil dump");
    refused("UNLISTEN *;", "UnlistenStmt is no statement of a Kwil dump");
}
