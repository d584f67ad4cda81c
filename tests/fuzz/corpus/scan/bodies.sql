CREATE SCHEMA ds_x;
CREATE SCHEMA kwild_accts;
CREATE SCHEMA kwild_internal;
CREATE SCHEMA kwild_voting;
CREATE FUNCTION ds_x.g(a text, OUT b text) RETURNS text
    LANGUAGE plpgsql
    AS $_$
#variable_conflict use_column
DECLARE
r RECORD;
x text[];
BEGIN
FOR r IN WITH w AS (SELECT t.a FROM ds_x.t) SELECT w.a, q.b FROM w, ds_x.g('x') AS q WHERE w.a = ANY (x) LOOP
b := r.a; RETURN; END LOOP;
IF a IS NULL THEN PERFORM error('x'); END IF;
INSERT INTO ds_x.t (a) VALUES (a) ON CONFLICT (a) DO UPDATE SET a = excluded.a;
END;
$_$;
CREATE TABLE ds_x.t (
    a text,
    n bigint DEFAULT 5,
    CONSTRAINT k CHECK ((length(a) < 9))
);
COPY ds_x.t (a, n) FROM stdin;
\.
CREATE INDEX i ON ds_x.t USING btree (lower(a));
UPDATE kwild_voting.resolutions SET expiration = expiration-42;
