CREATE SCHEMA ds_x;
CREATE SCHEMA ds_y;
CREATE FUNCTION ds_x.f(a text) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $_$DECLARE x regrole; n bigint; BEGIN FOR n IN 16384..16400 LOOP x := n::int4; RETURN NEXT x::text; END LOOP; END;$_$;
CREATE TABLE ds_x.t (
    a text,
    n bigint
);
CREATE TABLE ds_y.t (
    a text
);
