//! Dotted names in bodies that would call a function, and other ways to reach what no body may.

use super::*;

/// A function `f` with this body beside another one.
fn with(other: &str, body: &str) -> String {
    format!(
        "{other}\nCREATE FUNCTION ds_x.f() RETURNS SETOF text LANGUAGE plpgsql AS $$DECLARE r record; BEGIN {body} END$$;"
    )
}

const READS: &str = "RETURN QUERY SELECT q.lo_import::text FROM ds_x.g('/etc/hostname') AS q;";

#[test]
fn an_argument_that_takes_many_is_no_field() {
    refused_v09(
        &with(
            "CREATE FUNCTION ds_x.g(VARIADIC lo_import text[]) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN lo_import[1]; END$$;",
            READS,
        ),
        // The library cannot read such a function; without that its argument would still be no field.
        "VARIADIC",
    );
}

#[test]
fn a_field_of_one_of_two_functions_of_a_name_is_none() {
    refused_v09(
        &with(
            "CREATE FUNCTION ds_x.g() RETURNS TABLE(lo_import text) LANGUAGE plpgsql AS $$BEGIN RETURN; END$$;\n\
             CREATE FUNCTION ds_x.g(a text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN a; END$$;",
            READS,
        ),
        "names the field lo_import, which nothing declares",
    );
}

#[test]
fn what_raise_prints() {
    refused_v09(&with("", "RAISE NOTICE '%', pg_read_file('/etc/hostname');"), "a call of the function pg_read_file");
}

#[test]
fn variables_of_the_catalogues_types() {
    for kind in
        ["regclass", "regrole", "pg_catalog.regproc", "pg_authid", "pg_catalog.pg_authid", "xml", "ds_y.t", "refcursor"]
    {
        refused_v09(
            &format!(
                "CREATE FUNCTION ds_x.f() RETURNS text LANGUAGE plpgsql AS $$DECLARE x {kind}; BEGIN x := '10'; RETURN x; END$$;"
            ),
            "the type",
        );
    }
}
