//! Definitions that pg_dump prints: they pass, and the server makes them.

use std::fmt::Write;

use super::{all_or_nothing, clear, database, guarded, scan, server};

const HEAD: &str = "CREATE SCHEMA ds_x;\nCREATE TYPE ds_x.e AS ENUM (\n    'A',\n    'b c'\n);\n";

/// A column of each type.
const COLUMNS: &[(&str, &str)] = &[
    ("c_s", "smallint"),
    ("c_i", "integer"),
    ("c_l", "bigint"),
    ("c_n", "numeric(10,2)"),
    ("c_m", "numeric"),
    ("c_t", "text"),
    ("c_b", "bytea"),
    ("c_o", "boolean"),
    ("c_u", "uuid"),
    ("c_e", "ds_x.e"),
    ("c_x", "public.uint256"),
    ("c_ai", "integer[]"),
    ("c_an", "numeric(10,2)[]"),
    ("c_at", "text[]"),
    ("c_ae", "ds_x.e[]"),
    ("c_ax", "public.uint256[]"),
];
/// Expressions as pg_dump prints what Kwil's engines write; each must pass.
const PRINTED: &[&str] = &[
    "(c_l > 0)",
    "(c_n >= (0)::numeric)",
    "(c_t = lower(c_t))",
    "((c_l >= 1) AND (c_l <= 5))",
    "(((c_l >= 1) AND (c_l <= 5)) AND (c_l <> ALL (ARRAY[(2)::bigint, (3)::bigint])))",
    "(c_t = ANY (ARRAY['x'::text, 'y'::text]))",
    "((c_n)::numeric(5,1) >= 0.5)",
    "((COALESCE(c_n, (0)::numeric) >= (0)::numeric) AND (GREATEST(c_n, (1)::numeric(78,0)) > LEAST(c_n, (2)::numeric)))",
    "(NULLIF(c_n, (3)::numeric) IS DISTINCT FROM (4)::numeric)",
    "(NOT (c_n IS DISTINCT FROM (9)::numeric))",
    "((- c_n) < (0)::numeric)",
    "((c_n % (2)::numeric) = (1)::numeric)",
    "((c_l)::double precision ^ (2)::double precision) > (1)::double precision",
    "((((c_l)::numeric - c_n) > (2)::numeric) AND ((c_l / 2) = 1))",
    "(lpad(c_t, 5, 'x'::text) = 'y'::text)",
    "(format('%s-%s'::text, c_t, 'x') = 'z'::text)",
    "(encode(c_b, 'hex'::text) = 'aa'::text)",
    "(\"left\"(c_t, 1) = 'x'::text)",
    "((c_l)::text = '5'::text)",
    "(NOT ((c_t = 'a'::text) OR (c_t = 'b'::text)))",
    "((c_t IS NOT NULL) AND (c_o IS NOT TRUE) AND (NOT c_o))",
    "(c_u = ANY ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[]))",
    "((array_length(c_at, 1) < 5) AND (c_at[1] = 'x'::text) AND (c_at[1:2] = '{x,y}'::text[]))",
    "((POSITION(('\\x00'::bytea) IN (c_b)) > 0) AND (octet_length(c_b) = 3))",
    "((c_t ~~ 'a%'::text) OR (c_t !~~* '_b'::text) OR ((c_t || 'z'::text) <> 'b'::text))",
    "(SUBSTRING(c_t FROM 1 FOR 2) = 'x'::text)",
    "(TRIM(BOTH FROM c_t) = ''::text)",
    "(TRIM(LEADING 'x'::text FROM c_t) = 'q'::text)",
    "(OVERLAY(c_t PLACING 'x'::text FROM 1 FOR 2) = 'y'::text)",
    "(POSITION(('a'::text) IN (c_t)) > 1)",
    "\nCASE\n    WHEN (c_i > 5) THEN true\n    ELSE false\nEND",
    "(\nCASE c_l\n    WHEN 1 THEN 'a'::text\n    WHEN 2 THEN 'b'::text\n    ELSE NULL::text\nEND = 'a'::text)",
    "(c_e = 'b c'::ds_x.e)",
    "(c_e = ANY (ARRAY['A'::ds_x.e, 'b c'::ds_x.e]))",
    "((c_x)::numeric > (0)::numeric)",
    "(ARRAY[]::text[] = c_at)",
    "(c_i = '-5'::integer)",
    "(length(c_t) <= 40)",
    "(c_at @> ARRAY['a'::text])",
    "((c_at || 'x'::text) <> '{}'::text[])",
    "((c_ai[c_l] > 0) AND ((c_x)::numeric = ((5)::public.uint256)::numeric))",
    "((c_n >= 0.5::numeric(5,2)) AND (abs((c_x)::numeric) > (1)::numeric) AND ((COALESCE(c_x, c_x))::numeric > (0)::numeric))",
    "(array_append(c_at, 'x'::text) <> '{\"a b\",NULL,c}'::text[])",
];

/// Defaults that pg_dump prints.
const DEFAULTS: &[(&str, &str)] = &[
    ("bigint", "0"),
    ("bigint", "'-5'::integer"),
    ("bigint", "'-9223372036854775808'::bigint"),
    ("numeric(10,2)", "'-1.5'::numeric"),
    ("numeric(10,2)", "12345678.99"),
    ("numeric(78,0)", "0"),
    ("numeric(3,3)", "0.125"),
    ("numeric(3,3)", "0"),
    ("text[]", "ARRAY['a'::text, 'b'::text]"),
    ("bigint[]", "ARRAY[(1)::bigint, (2)::bigint]"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
    ("uuid[]", "'{}'::uuid[]"),
    ("bytea", "'\\x00ff'::bytea"),
    ("boolean", "true"),
    ("text", "'it''s \\n'::text"),
    ("text", "NULL::text"),
    ("text", "(''::text || lower('X'::text))"),
    ("ds_x.e", "'b c'::ds_x.e"),
    ("public.uint256", "0"),
    ("public.uint256", "'115792089237316195423570985008687907853269984665640564039457584007913129639935'::numeric"),
    ("smallint", "32767"),
    ("integer", "(7)::bigint"),
    ("public.uint256", "(5)::public.uint256"),
    ("public.uint256", "('5'::numeric)::public.uint256"),
    ("numeric(5,2)", "100.50::numeric(5,2)"),
    ("numeric(5,2)", "(- 1.5::numeric(5,2))"),
    ("bigint", "(- (5)::bigint)"),
    ("bigint", "('-5'::integer)::bigint"),
    ("numeric(5,2)", "(- ((1.5::numeric(5,2))::text)::numeric)"),
    ("numeric", "1.5::numeric(10,2)"),
    ("uuid", "('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::text)::uuid"),
    ("boolean", "(NOT true)"),
    ("bigint", "(5 + 5)"),
    ("smallint", "(- (5 * (7)::smallint))"),
];

fn table(name: &str, columns: &str, constraints: &str, names: &str) -> String {
    format!("CREATE TABLE ds_x.{name} (\n{columns}{constraints}\n);\nCOPY ds_x.{name} ({names}) FROM stdin;\n\\.\n")
}

/// A table with a column of each type that the check names.
fn checked(name: &str, check: &str) -> String {
    let used: Vec<_> = COLUMNS.iter().filter(|(column, _)| *column == "c_s" || check.contains(column)).collect();
    let mut columns = String::new();
    for (name, kind) in &used {
        writeln!(columns, "    {name} {kind},").unwrap();
    }
    let names: Vec<&str> = used.iter().map(|(name, _)| *name).collect();
    table(name, &columns, &format!("    CONSTRAINT k CHECK ({check})"), &names.join(", "))
}

#[test]
fn what_pg_dump_prints_passes_and_the_server_makes_it() {
    let checks = PRINTED.iter().enumerate().map(|(at, check)| (*check, checked(&format!("check{at}"), check)));
    let defaults = DEFAULTS.iter().enumerate().map(|(at, (kind, value))| {
        (*value, table(&format!("default{at}"), &format!("    a {kind} DEFAULT {value}"), "", "a"))
    });
    let tables: Vec<_> = checks.chain(defaults).collect();
    let refused: Vec<String> = tables
        .iter()
        .filter_map(|(what, text)| {
            scan(&guarded(&format!("{HEAD}{text}"))).err().map(|e| format!("{what}: {}", e.reason))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let db = database();
    let text: String = tables.iter().map(|(_, text)| text.as_str()).collect();
    let whole = guarded(&format!("{HEAD}{text}"));
    assert!(scan(&whole).is_ok_and(|report| report.tables == tables.len() as u64));
    assert!(all_or_nothing(&db, &whole));
    let made = server().query(&db, "SELECT count(*) FROM pg_tables WHERE schemaname = 'ds_x'").unwrap();
    assert_eq!(made.trim(), tables.len().to_string());
    // The values of the defaults are such as their columns have.
    for at in 0..DEFAULTS.len() {
        server().query(&db, &format!("INSERT INTO ds_x.default{at} DEFAULT VALUES")).unwrap();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The check does not let it pass.
    Refused,
    /// The server takes it.
    Made,
    /// The server does not, and nothing is left.
    Nothing,
}
use Outcome::{Made, Nothing, Refused};

/// What stands before and after the statement.
type Around = (&'static str, &'static str);
const V010: Around = (
    "CREATE SCHEMA kwild_accts;\nCREATE SCHEMA kwild_engine;\nCREATE SCHEMA s;\n\
     CREATE TABLE s.t (\n    a text DEFAULT 'x'::text NOT NULL,\n    \"B c\" numeric(10,2)\n);\n\
     COPY s.t (a, \"B c\") FROM stdin;\nx\t1\n\\.\n",
    "",
);
const V09: Around = (
    "CREATE SCHEMA ds_x;\nCREATE SCHEMA ds_y;\nCREATE SCHEMA kwild_accts;\n",
    "CREATE TABLE ds_x.t (\n    a text,\n    n bigint\n);\nCOPY ds_x.t (a, n) FROM stdin;\n\\.\n",
);

/// Statements that a check of every expression would refuse, and what becomes of them. A value may differ between versions of
/// the server only where that is said.
const UNPROVED: &[(Around, &str, Outcome)] = &[
    (V09, "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN /* x */ NULL; END$$;", Made),
    (
        V09,
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN /* /* */ COPY ds_x.t TO PROGRAM 'id'; */ END$$;",
        Made,
    ),
    (V09, "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM u&'x'; END$$;", Made),
    (V010, "CREATE TABLE s.\"table\" (a text);\nCOPY s.table (a) FROM stdin;\nDROP TABLE x;\n\\.", Made),
    (
        V010,
        "CREATE TABLE s.u (a text);\nREVOKE ALL ON TABLE s.u FROM kwild;\nCOPY s.u (a) FROM stdin;\nDROP TABLE x;\n\\.",
        Refused,
    ),
    (V09, "CREATE FUNCTION ds_y.f() RETURNS void LANGUAGE plpgsql AS $$begin end$$;", Made),
    (V010, "GRANT SELECT ON TABLE s.t TO x, y;", Refused),
    (V010, "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x'\n'y'::text;", Made),
    (V010, "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $$x$$;", Made),
    (V010, "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $a$x$a$::text;", Made),
    (V010, "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 0x1F;", Refused),
    (V010, "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1_000;", Refused),
    (V010, "CREATE INDEX t ON s.t USING btree (a);", Nothing),
    (V010, "ALTER TABLE ONLY s.t ADD CONSTRAINT t PRIMARY KEY (a);", Nothing),
    (V010, "CREATE SEQUENCE s.t;", Nothing),
    (V010, "CREATE TYPE s.t AS ENUM ('A');", Nothing),
    (V010, "CREATE INDEX u ON s.t USING btree (a);\nCREATE TABLE s.u (a text);", Nothing),
    (V010, "CREATE TABLE s.u (a text, a text);", Nothing),
    (V010, "CREATE TABLE s.u (a text, A text);", Nothing),
    (V010, "CREATE TABLE s.u (ctid text);", Nothing),
    (V010, "CREATE TABLE s.u (xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx text);", Made),
    (V010, "CREATE TABLE s.u (a text(5));", Nothing),
    (V010, "CREATE TABLE s.u (a text[][]);", Made),
    (V010, "CREATE TABLE s.u (a text[3]);", Made),
    (V010, "CREATE TABLE s.u (a numeric(2000,0));", Nothing),
    (V010, "CREATE TABLE s.u (a numeric(0,0));", Nothing),
    (V010, "CREATE TABLE s.u (a numeric(10,-1001));", Nothing),
    (V010, "CREATE TABLE s.u (a numeric(1e2));", Nothing),
    (V010, "CREATE TABLE s.u (a bigint DEFAULT 'x'::bigint);", Nothing),
    (V010, "CREATE TABLE s.u (a smallint DEFAULT '70000'::smallint);", Nothing),
    (V010, "CREATE TABLE s.u (a uuid DEFAULT 'x'::uuid);", Nothing),
    (V010, "CREATE TABLE s.u (a bytea DEFAULT '\\x0'::bytea);", Nothing),
    (V010, "CREATE TABLE s.u (a boolean DEFAULT 'x'::boolean);", Nothing),
    (V010, "CREATE TABLE s.u (a text[] DEFAULT '{a'::text[]);", Nothing),
    (V010, "CREATE TABLE s.u (a integer[] DEFAULT '{1,x}'::integer[]);", Nothing),
    (V010, "CREATE TYPE s.e AS ENUM ('A');\nCREATE TABLE s.u (a s.e DEFAULT 'B'::s.e);", Nothing),
    (V010, "CREATE TABLE s.u (a text, CONSTRAINT c CHECK ((a > missing)));", Nothing),
    (V010, "CREATE TABLE s.u (a text DEFAULT a);", Nothing),
    (V010, "CREATE TABLE s.u (a text, CONSTRAINT c CHECK (true), CONSTRAINT c CHECK (true));", Nothing),
    (V010, "CREATE TYPE s.e AS ENUM ('A', 'A');", Nothing),
    (V010, "CREATE TYPE s.e AS ENUM ('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx');", Nothing),
];

#[test]
fn what_is_not_proved_is_made_or_leaves_nothing() {
    let db = database();
    let mut wrong = Vec::new();
    for (around, statement, want) in UNPROVED {
        let text = guarded(&format!("{}{statement}\n{}", around.0, around.1));
        let outcome = match scan(&text) {
            Err(_) => Refused,
            Ok(_) if all_or_nothing(&db, &text) => Made,
            Ok(_) => Nothing,
        };
        clear(&db);
        if outcome != *want {
            wrong.push(format!("{statement}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
