//! Bodies of functions: nothing that only the server's administrator may do.

use super::*;

#[test]
fn copy_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN COPY ds_x.t TO PROGRAM 'id'; END$$;",
        "CopyStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN IF true THEN COPY ds_x.t FROM '/etc/passwd'; END IF; END$$;",
        "CopyStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN <<l>> COPY ds_x.t TO PROGRAM 'id'; END$$;",
        "syntax error at or near \"COPY\"",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN x := 1; -- y\n copy ds_x.t to program 'id'; END$$;",
        "\"x\" is not a known variable",
    );
}

#[test]
fn roles_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN x; ALTER ROLE a SUPERUSER; END$$;",
        "syntax error at or near \"x\"",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE ROLE a; END$$;",
        "CreateRoleStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP OWNED BY a; END$$;",
        "DropOwnedStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN GRANT a TO b; END$$;",
        "GrantRoleStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET ROLE x; END$$;",
        "VariableSetStmt with is_local",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET SESSION AUTHORIZATION x; END$$;",
        "VariableSetStmt with is_local",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN RESET ROLE; END$$;",
        "VariableSetStmt with",
    );
}

#[test]
fn settings_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET search_path = x; END$$;",
        "VariableSetStmt with is_local",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET LOCAL search_path = x; END$$;",
        "a change of the setting search_path",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('search_path', 'x', false); END$$;",
        "a call of the function set_config",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config(x, 'y', false); END$$;",
        "a call of the function set_config",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM \"set_config\"('role', 'y', false); END$$;",
        "a call of the function set_config",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER SYSTEM SET archive_command = 'id'; END$$;",
        "AlterSystemStmt in a body",
    );
}

#[test]
fn text_run_as_sql() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP TABLE x'; END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE x; END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP' || ' TABLE x'; END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('DROP TABLE %I', x); END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN FOR r IN EXECUTE x LOOP END LOOP; END$$;",
        "loop variable of loop over rows must be a record variable or list of",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN RETURN QUERY EXECUTE x; END$$;",
        "cannot use RETURN QUERY in a non-SETOF function",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN OPEN c FOR EXECUTE x; END$$;",
        "\"c\" is not a known variable",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM query_to_xml('DROP TABLE x', true, true, ''); END$$;",
        "a call of the function query_to_xml",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PREPARE p AS SELECT 1; END$$;",
        "PrepareStmt in a body",
    );
}

#[test]
fn text_added_to_kwils_own_form() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1)', a, b) || '; DROP TABLE x'; END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1); DROP TABLE x', a, b); END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1, %s)', a, b, c); END$$;",
        "a body that runs a text as SQL",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1)' || x, a, b); END$$;",
        "a body that runs a text as SQL",
    );
}

#[test]
fn files_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_read_file('x'); END$$;",
        "a call of the function pg_read_file",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_catalog.pg_read_binary_file('x'); END$$;",
        "a call of the function pg_catalog.pg_read_binary_file",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM \"pg_read_file\"('x'); END$$;",
        "a call of the function pg_read_file",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM PG_READ_FILE('x'); END$$;",
        "a call of the function pg_read_file",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM lo_import('/etc/passwd'); END$$;",
        "a call of the function lo_import",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM lo_export(1, '/tmp/x'); END$$;",
        "a call of the function lo_export",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_ls_dir('/'); END$$;",
        "a call of the function pg_ls_dir",
    );
}

#[test]
fn other_servers_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM dblink('host=x', 'SELECT 1'); END$$;",
        "a call of the function dblink",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM dblink_exec('x'); END$$;",
        "a call of the function dblink_exec",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM public.dblink_connect('x'); END$$;",
        "a call of the function public.dblink_connect",
    );
}

#[test]
fn the_catalogue_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN UPDATE pg_catalog.pg_authid SET rolsuper = true; END$$;",
        "a body that writes outside of its own schema",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN UPDATE pg_authid SET rolsuper = true; END$$;",
        "a body that writes outside of its own schema",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN DELETE FROM \"pg_proc\"; END$$;",
        "a body that writes outside of its own schema",
    );
}

#[test]
fn code_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN DO $x$begin end$x$; END$$;",
        "PLpgSQL_stmt_call in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN x := $x$begin end$x$; END$$;",
        "\"x\" is not a known variable",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN CALL ds_y.f(); END$$;",
        "PLpgSQL_stmt_call in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN LOAD '/tmp/x.so'; END$$;",
        "LoadStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN NOTIFY x; END$$;",
        "NotifyStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN LISTEN x; END$$;",
        "ListenStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN TRUNCATE kwild_voting.voters; END$$;",
        "TruncateStmt in a body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;",
        "PLpgSQL_stmt_commit in a body",
    );
}

#[test]
fn a_comment_that_readers_cut_in_different_ways() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN -- '\n COPY ds_x.t TO PROGRAM 'id'; -- '\n END$$;",
        "CopyStmt in a body",
    );
}

#[test]
fn a_unicode_name_in_a_body() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM U&\"pg\\005fread_file\"('x'); END$$;",
        "a call of the function pg_read_file",
    );
}

#[test]
fn kwils_own_functions_pass() {
    passes_v09(
        "CREATE FUNCTION ds_x.f(a text, OUT b text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $_$\n\
         DECLARE x text; -- a comment; with 'a quote\nBEGIN\n  x := 'DROP TABLE x; COPY';\n  b := x;\n  RETURN;\nEND;\n$_$;",
    );
    passes_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$DECLARE x text; BEGIN \
         EXECUTE format('SELECT * FROM ds_%I.%I($1, $2)', a, b) INTO x USING c, d; SET LOCAL ctx.x = 'y'; END$$;",
    );
}
