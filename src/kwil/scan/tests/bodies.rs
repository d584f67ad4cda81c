//! Bodies of functions: nothing that only the server's administrator may do.

use super::*;

#[test]
fn copy_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN COPY s.t TO PROGRAM 'id'; END$$;",
        "runs COPY",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN IF true THEN COPY s.t FROM '/etc/passwd'; END IF; END$$;",
        "runs COPY",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN <<l>> COPY s.t TO PROGRAM 'id'; END$$;",
        "runs COPY",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN x := 1; -- y\n copy s.t to program 'id'; END$$;",
        "runs COPY",
    );
}

#[test]
fn roles_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN x; ALTER ROLE a SUPERUSER; END$$;",
        "runs ALTER",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE ROLE a; END$$;",
        "runs CREATE",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP OWNED BY a; END$$;",
        "runs DROP",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN GRANT a TO b; END$$;",
        "runs GRANT",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET ROLE x; END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET SESSION AUTHORIZATION x; END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN RESET ROLE; END$$;",
        "runs RESET",
    );
}

#[test]
fn settings_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET search_path = x; END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET LOCAL search_path = x; END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('search_path', 'x', false); END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config(x, 'y', false); END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM \"set_config\"('role', 'y', false); END$$;",
        "setting",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER SYSTEM SET archive_command = 'id'; END$$;",
        "runs ALTER",
    );
}

#[test]
fn text_run_as_sql() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP TABLE x'; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE x; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP' || ' TABLE x'; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('DROP TABLE %I', x); END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN FOR r IN EXECUTE x LOOP END LOOP; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN RETURN QUERY EXECUTE x; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN OPEN c FOR EXECUTE x; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM query_to_xml('DROP TABLE x', true, true, ''); END$$;",
        "query_to_xml",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PREPARE p AS SELECT 1; END$$;",
        "runs PREPARE",
    );
}

#[test]
fn text_added_to_kwils_own_form() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1)', a, b) || '; DROP TABLE x'; END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1); DROP TABLE x', a, b); END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1, %s)', a, b, c); END$$;",
        "text as SQL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SELECT * FROM ds_%I.%I($1)' || x, a, b); END$$;",
        "text as SQL",
    );
}

#[test]
fn files_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_read_file('x'); END$$;",
        "pg_read_file",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_catalog.pg_read_binary_file('x'); END$$;",
        "catalogue",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM \"pg_read_file\"('x'); END$$;",
        "pg_read_file",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM PG_READ_FILE('x'); END$$;",
        "pg_read_file",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM lo_import('/etc/passwd'); END$$;",
        "lo_import",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM lo_export(1, '/tmp/x'); END$$;",
        "lo_export",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_ls_dir('/'); END$$;",
        "pg_ls_dir",
    );
}

#[test]
fn other_servers_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM dblink('host=x', 'SELECT 1'); END$$;",
        "dblink",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM dblink_exec('x'); END$$;",
        "dblink_exec",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM public.dblink_connect('x'); END$$;",
        "dblink_connect",
    );
}

#[test]
fn the_catalogue_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN UPDATE pg_catalog.pg_authid SET rolsuper = true; END$$;",
        "catalogue",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN UPDATE pg_authid SET rolsuper = true; END$$;",
        "pg_authid",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN DELETE FROM \"pg_proc\"; END$$;",
        "pg_proc",
    );
}

#[test]
fn code_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN DO $x$begin end$x$; END$$;",
        "runs DO",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN x := $x$begin end$x$; END$$;",
        "another dollar-quoted",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN CALL s.f(); END$$;",
        "runs CALL",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN LOAD '/tmp/x.so'; END$$;",
        "runs LOAD",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN NOTIFY x; END$$;",
        "runs NOTIFY",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN LISTEN x; END$$;",
        "runs LISTEN",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN TRUNCATE kwild_voting.voters; END$$;",
        "runs TRUNCATE",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;",
        "runs COMMIT",
    );
}

#[test]
fn a_comment_that_readers_cut_in_different_ways() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN /* x */ NULL; END$$;",
        "comment of several lines",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN /* /* */ COPY s.t TO PROGRAM 'id'; */ END$$;",
        "comment of several lines",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN -- '\n COPY s.t TO PROGRAM 'id'; -- '\n END$$;",
        "runs COPY",
    );
}

#[test]
fn a_unicode_name_in_a_body() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM U&\"pg\\005fread_file\"('x'); END$$;",
        "Unicode",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM u&'x'; END$$;",
        "Unicode",
    );
}

#[test]
fn kwils_own_functions_pass() {
    passes(
        "CREATE FUNCTION kwild_engine.format_type(a text, OUT b text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $_$\n\
         DECLARE x text; -- a comment; with 'a quote\nBEGIN\n  x := 'DROP TABLE x; COPY';\n  RETURN x;\nEND;\n$_$;",
    );
    passes(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql AS $$BEGIN \
         EXECUTE format('SELECT * FROM ds_%I.%I($1, $2)', a, b) INTO x USING c, d; SET LOCAL ctx.x = 'y'; END$$;",
    );
}
