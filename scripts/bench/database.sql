-- Grows a recorded v0.9 network to a plausible large one: many small tables, one dominating, all of Kwil's types.
-- :scale is how many thousand rows the dominating table has; 1000 of them are about 250 MB of snapshot text.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT 'ds_' || dbid AS schema FROM kwild_internal.kwil_schemas ORDER BY dbid LIMIT 1 \gset
SET search_path = :"schema", public;
SELECT setseed(0.5);

-- Words follow no pattern that is shorter than deflate's window, as people's own text does not.
CREATE TEMPORARY TABLE words AS
  SELECT i AS n, substr(translate(md5(i::text), '0123456789', 'ghiklmnopr'), 1, 2 + i % 9) AS w FROM generate_series(0, 3999) i;
CREATE TEMPORARY TABLE sentences AS
  SELECT picked.n, string_agg(w, ' ') || '.' AS s
  FROM (SELECT n, (random() ^ 3 * 3999)::int AS word FROM generate_series(0, 49999) n, generate_series(1, 6 + n % 9)) picked
  JOIN words ON words.n = picked.word GROUP BY 1;
CREATE UNIQUE INDEX ON sentences (n);
ANALYZE sentences;

CREATE TABLE bench_events (id uuid PRIMARY KEY, stream text NOT NULL, value numeric(36,18), height bigint NOT NULL, ts bigint NOT NULL);
INSERT INTO bench_events SELECT md5(i::text)::uuid, 'st' || md5((i % 5000)::text), (random() * 100000)::numeric(36,18),
  i / 40, 1700000000 + i * 7 FROM generate_series(1, :scale * 1000) i;

CREATE TABLE bench_posts (id uuid PRIMARY KEY, author text NOT NULL, body text, tags text[], score integer);
INSERT INTO bench_posts SELECT md5('p' || i)::uuid, md5((i % 900)::text),
  a.s || ' ' || b.s || E'\n' || c.s || ' ' || a.s, ARRAY['t' || i % 50, 'u' || i % 7], (i % 1000)::integer
  FROM generate_series(1, :scale * 300::bigint) i
  JOIN sentences a ON a.n = i * 7919 % 50000 JOIN sentences b ON b.n = i * 104729 % 50000 JOIN sentences c ON c.n = i * 31 % 50000;

CREATE TABLE bench_logs (id bigint PRIMARY KEY, entry text NOT NULL, amount numeric(78,0));
INSERT INTO bench_logs SELECT i, '{"op":"' || (ARRAY['mint', 'burn', 'transfer'])[1 + (i % 3)::integer] || '","from":"0x' || md5('f' || i % 3000)
  || '","memo":"' || s.s || '"}', (random() * 1e15)::numeric(78,0) * 1000000007
  FROM generate_series(1, :scale * 180::bigint) i JOIN sentences s ON s.n = i * 6151 % 50000;

CREATE TABLE bench_credentials (id uuid PRIMARY KEY, secret bytea NOT NULL, issued boolean);
INSERT INTO bench_credentials SELECT md5('c' || i)::uuid, decode(md5(i::text) || md5('x' || i) || md5('y' || i), 'hex'), i % 2 = 0
  FROM generate_series(1, :scale * 60) i;

SELECT format('CREATE TABLE bench_small_%1$s (id integer PRIMARY KEY, name text, weight numeric(20,4), flag boolean);
  INSERT INTO bench_small_%1$s SELECT i, ''name '' || i * %1$s, i * 1.5, i %% 3 = 0 FROM generate_series(1, %2$s) i', n, (n % 40) * 10)
  FROM generate_series(1, 300) n \gexec
VACUUM ANALYZE;
