CREATE SCHEMA ds_x;
CREATE SCHEMA kwild_accts;
CREATE SCHEMA kwild_internal;
CREATE SCHEMA kwild_voting;
CREATE FUNCTION ds_x._fp_f(_dbid text, _procedure text) RETURNS text
    LANGUAGE plpgsql
    AS $_$DECLARE x text; BEGIN SET LOCAL ctx.foreign_caller = 'x'; EXECUTE format('SELECT * FROM ds_%I.%I()', _dbid, _procedure) INTO x; PERFORM set_config('ctx.foreign_caller', x, true); RETURN x; END; $_$;
CREATE TABLE ds_x.t (
    a text,
    n bigint DEFAULT 5,
    CONSTRAINT k CHECK ((length(a) < 9))
);
COPY ds_x.t (a, n) FROM stdin;
\.
CREATE INDEX i ON ds_x.t USING btree (lower(a));
UPDATE kwild_voting.resolutions SET expiration = expiration-42;
