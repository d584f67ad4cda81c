CREATE SCHEMA ds_x;
CREATE SCHEMA ds_y;
CREATE FUNCTION ds_x.g(a text, OUT lo_import text) RETURNS text
    LANGUAGE plpgsql
    AS $_$BEGIN lo_import := a; END;$_$;
CREATE FUNCTION ds_x.f(a text) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $_$BEGIN RETURN QUERY SELECT q.lo_import::text FROM ds_x.g(PATH) AS q; END;$_$;
CREATE TABLE ds_x.t (
    a text,
    n bigint
);
CREATE TABLE ds_y.t (
    a text
);
