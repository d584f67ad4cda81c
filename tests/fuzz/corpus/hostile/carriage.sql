CREATE SCHEMA ds_x;
CREATE SCHEMA ds_y;
CREATE FUNCTION ds_x.f(a text) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $_$BEGIN -- xPERFORM lo_import(PATH);
END;$_$;
CREATE TABLE ds_x.t (
    a text,
    n bigint
);
CREATE TABLE ds_y.t (
    a text
);
