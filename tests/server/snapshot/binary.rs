//! Rows that come in binary form: the same bytes as pg_dump's own text.

use std::fs;

use regenesis::{
    base::{Progress, task::CancellationToken},
    database::{
        RowOptions,
        scratch::{Scratch, ScratchOptions},
    },
    snapshot::{CreateOptions, create},
};

use super::{
    parallel::{expected, noting_pg_dump, same_text},
    support::{Place, data, database, server, unzip},
    worlds::WORLDS,
};

/// Values of every type that is known, the odd ones above all; and tables that have to be read as text.
const KINDS: &str = r#"
CREATE SCHEMA kinds;
SET search_path = kinds;
CREATE FUNCTION letters(i int) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(chr(CASE WHEN (i * 31 + n * 7) % 5 = 0 THEN 1 + (i + n) % 31 ELSE 32 + (i * 13 + n * 17) % 900 END), '')
  FROM generate_series(1, i % 90) n $$;
CREATE DOMAIN uint256 AS numeric(78, 0) CHECK (VALUE >= 0);
CREATE TABLE integers (a smallint, b int, c bigint, d bool);
INSERT INTO integers VALUES (-32768, -2147483648, -9223372036854775808, true), (32767, 2147483647, 9223372036854775807, false),
  (0, 0, 0, NULL), (NULL, NULL, NULL, NULL), (-1, -1, -1, true);
INSERT INTO integers SELECT i, i * 7919, i::bigint * 7919 * 104729 * (CASE i % 2 WHEN 0 THEN 1 ELSE -1 END), i % 3 = 0
  FROM generate_series(1, 3000) i;
CREATE TABLE texts (id int, t text, v varchar(500), c char(7), j json);
INSERT INTO texts VALUES (1, '', '', '', '{}'), (2, '\.', '\N', '\', '[1,  2, "\n"]'), (3, E'\b\t\n\v\f\r\\', E'\x01\x1f\x7f', 'ä', 'null'),
  (4, 'NULL', 'null', 'a b c', '"é\\u0000"'), (5, NULL, NULL, NULL, NULL), (6, E'\\.\n', E'\r', '  x', '1e3'), (7, '🦀', 'ü', 'ñ', '1');
INSERT INTO texts SELECT i, letters(i), left(letters(i + 1), 500), left(letters(i + 2), 7), to_json(letters(i)) FROM generate_series(8, 3000) i;
CREATE TABLE bytes (id uuid, b bytea);
INSERT INTO bytes VALUES ('00000000-0000-0000-0000-000000000000', ''), ('ffffffff-ffff-ffff-ffff-ffffffffffff', '\x00'), (NULL, NULL),
  ('01234567-89ab-cdef-0123-456789abcdef', '\x0123456789abcdef5c5c0a');
INSERT INTO bytes SELECT md5(i::text)::uuid, decode(repeat(md5(i::text), i % 40), 'hex') FROM generate_series(1, 3000) i;
CREATE TABLE numerics (id int, n numeric, s numeric(36, 18), u uint256, w numeric(1000, 500));
INSERT INTO numerics (id, n) SELECT 0, v::numeric FROM unnest(ARRAY['0', '-0', '0.0', '0.0000000', '1', '-1', '10', '9999', '10000',
  '99999999', '100000000', '0.1', '0.01', '0.001', '0.0001', '0.00001', '-0.00000000000000000001', '1.10', '1.1000000', '123456789.987654321',
  'NaN', 'Infinity', '-Infinity', '1e100', '1e-100', '-1e1000', '12345678901234567890123456789012345678901234567890.5', '0.10000', '10000.00001',
  '1e131071', '1e-16383', '5000', '-0.5000', '00012.500']) v;
INSERT INTO numerics SELECT i, (random() * 10.0 ^ (i % 40 - 20))::numeric, (i * 7919)::numeric / (1 + i % 97), power(2::numeric, i % 256),
  (i::numeric / 3) ^ (i % 9) FROM generate_series(1, 3000) i;
INSERT INTO numerics SELECT i, round((i * 104729)::numeric / 1000, i % 12), -0.000000000000000001, 0, -i FROM generate_series(1, 500) i;
CREATE TABLE arrays (id int, t text[], i bigint[], b bytea[], u uuid[], n numeric(30, 5)[], d uint256[], f bool[]);
INSERT INTO arrays (id, t) VALUES (1, '{}'), (2, NULL), (3, ARRAY[NULL, 'NULL', 'null', 'nULLs', '']), (4, ARRAY['a b', 'a,b', '{', '}', '"', '\', E'\\"']),
  (5, ARRAY[E'\t', E'\n', E'\r', E'\v', E'\f', E'\b', E'\x01', 'é', '🦀']), (6, ARRAY[['a', 'b'], ['c', NULL]]),
  (7, '[0:1]={a,b}'), (8, '[-2:-1][3:4]={{a,b},{c,d}}'), (9, ARRAY[[['x']], [['y']]]), (10, ARRAY['\.', '\N', ' ', ' a', 'a ']),
  (11, '[5:5]={"x y"}');
INSERT INTO arrays SELECT i, ARRAY[letters(i), letters(i + 1), NULL], ARRAY[i, NULL, -i], ARRAY[decode(md5(i::text), 'hex'), '', NULL],
  ARRAY[md5(i::text)::uuid], ARRAY[i::numeric / 7, NULL, 0], ARRAY[i, 0]::uint256[], ARRAY[true, NULL, false] FROM generate_series(12, 3000) i;
CREATE TABLE long_values (id int, t text, b bytea, n numeric, z text);
INSERT INTO long_values SELECT i, repeat(E'back\\slash\ttab\nline ' || i, 60000), decode(repeat(md5(i::text), 30000), 'hex'), i, 'after'
  FROM generate_series(1, 3) i;
INSERT INTO long_values VALUES (4, NULL, decode(repeat('5c', 700000), 'hex'), NULL, NULL), (5, repeat('\', 300000), NULL, 0.5, ''), (6, 'short', '', 1, NULL);
CREATE TABLE long_arrays (id int, a text[]);
INSERT INTO long_arrays SELECT i, array_agg(letters(n)) FROM generate_series(1, 2) i, generate_series(1, 20000) n GROUP BY i;
CREATE TABLE "quoted ""names""" ("a, b" int, "c)" text);
INSERT INTO "quoted ""names""" SELECT i, letters(i) FROM generate_series(1, 2000) i;
CREATE TABLE holes (a int, gone int, b text, twice int GENERATED ALWAYS AS (a * 2) STORED, c bigint);
INSERT INTO holes (a, b, c) SELECT i, letters(i), -i FROM generate_series(1, 3000) i;
ALTER TABLE holes DROP COLUMN gone;
DELETE FROM holes WHERE a % 4 = 0;
CREATE TYPE mood AS ENUM ('good', 'bad\');
CREATE TABLE others (id int, t timestamptz, j jsonb, f float8, m mood, d date[], r int4range);
INSERT INTO others SELECT i, '2024-03-31 00:30:00+00'::timestamptz + i * interval '1 hour', json_build_object('i', i)::jsonb, i / 3.0, 'bad\',
  ARRAY['2024-01-01'::date + i], int4range(i, i + 5) FROM generate_series(1, 3000) i;
ANALYZE;
"#;

/// Those of which every column has a known type.
const KNOWN: [&str; 10] = [
    "kinds.integers",
    "kinds.texts",
    "kinds.bytes",
    "kinds.numerics",
    "kinds.arrays",
    "kinds.long_values",
    "kinds.long_arrays",
    "kinds.\"quoted \"\"names\"\"\"",
    "kinds.holes",
    "kwild_accts.accounts",
];

/// A snapshot whose rows come in binary form wherever they can, in ranges of one page; compared with plain pg_dump's.
fn is_plain_pg_dumps(server: &Scratch, db: &str, connections: usize) {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut options = CreateOptions::new(&place.snapdir);
    options.pg_dump = Some(noting_pg_dump(&place, server).into());
    options.read = Some(RowOptions { connections, range_bytes: 1, binary_bytes_min: 1 });
    let settings = server.settings(db);
    let created = runtime.block_on(create(&settings, options, &Progress::silent(), CancellationToken::new())).unwrap();
    let ours = unzip(&fs::read(created.snapshot).unwrap());
    same_text(&ours, &expected(&place, server, created.family, created.height), db);
}

#[test]
fn every_kind_of_value_is_written_as_the_server_writes_it() {
    let parameters = vec![("log_statement".to_owned(), "all".to_owned())];
    let server = Scratch::start(ScratchOptions { parameters, ..ScratchOptions::default() }).unwrap();
    server.load("kinds", &unzip(&fs::read(data("v0.10/worlds/solo/database.sql.gz")).unwrap())).unwrap();
    server
        .query("kinds", &format!("INSERT INTO kwild_engine.namespaces (name, type) VALUES ('kinds', 'USER'); {KINDS}"))
        .unwrap();
    is_plain_pg_dumps(&server, "kinds", 3);
    let log = fs::read_to_string(server.socket_directory().join("log")).unwrap();
    let binary = |table: &str| {
        let (from, range) = (format!(" FROM ONLY {table} WHERE ctid >= "), ") TO stdout (FORMAT binary)");
        log.lines().any(|line| line.contains(&from) && line.contains(range))
            || log.lines().any(|line| line.contains(&format!("COPY {table} (")) && line.ends_with("(FORMAT binary);"))
    };
    for table in KNOWN {
        assert!(binary(table), "{table} was not read in binary form");
    }
    assert!(!binary("kinds.others"));
}

#[test]
fn every_recorded_world_gives_the_same_bytes_in_binary_form() {
    let restarted = (0..5).flat_map(|n| {
        ["v0.10/worlds/restarted", "v0.10/worlds/restarted/killed"].map(|dir| format!("{dir}/node{n}.database.sql.gz"))
    });
    let mut paths: Vec<String> = WORLDS.iter().map(|world| world.database.to_owned()).chain(restarted).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        is_plain_pg_dumps(server(), &database(&path), 2);
    }
}
