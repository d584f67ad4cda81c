//! Definitions that the scanner lets rows follow: the server must make every one.

use std::fmt::Write;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{database, scan, server};

const HEAD: &str =
    "CREATE SCHEMA ds_x;\nCREATE SCHEMA kwild_voting;\nCREATE TYPE ds_x.e AS ENUM (\n    'A',\n    'b c'\n);\n";

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
/// Those that stand third.
const THIRD: &[(&str, &str)] = &[("c_i", "integer"), ("c_t", "text"), ("c_b", "bytea")];

const FUNCTIONS: &str = "abs ascii bit_count bit_length btrim cbrt ceil ceiling char_length character_length chr decode div \
    encode exp factorial floor gcd gen_random_uuid get_bit get_byte initcap lcm \"left\" length ln log log10 lower lpad \
    ltrim md5 min_scale mod octet_length \"overlay\" \"position\" power regexp_count regexp_like regexp_replace \
    regexp_substr repeat replace reverse \"right\" round rpad rtrim scale set_bit set_byte sha224 sha256 sha384 sha512 sign \
    split_part sqrt starts_with strpos substr \"substring\" to_hex translate trim_scale trunc upper array_length array_lower \
    array_upper array_ndims cardinality array_append array_remove array_prepend array_cat array_replace array_position \
    array_to_string trim_array concat concat_ws format COALESCE GREATEST LEAST NULLIF";

const OPERATORS: &str = "!~ !~* !~~ !~~* # % & * + - / << >> ^ ^@ | || ~ ~* ~~ ~~* < <= <> = > >= && @> <@";

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
    ("uuid", "gen_random_uuid()"),
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

fn table(name: &str, columns: &str, constraints: &str, names: &str, row: &str) -> String {
    format!(
        "CREATE TABLE ds_x.{name} (\n{columns}{constraints}\n);\nCOPY ds_x.{name} ({names}) FROM stdin;\n{row}\n\\.\n"
    )
}

/// A table with a column of each type, checks, and a row of nulls.
fn checked(name: &str, checks: &[String]) -> String {
    let used: Vec<&(&str, &str)> = COLUMNS
        .iter()
        .filter(|(column, _)| checks.len() > 1 || *column == "c_s" || checks[0].contains(column))
        .collect();
    let columns: Vec<String> = used.iter().map(|(name, kind)| format!("    {name} {kind}")).collect();
    let names: Vec<&str> = used.iter().map(|(name, _)| *name).collect();
    let mut constraints = String::new();
    for (at, check) in checks.iter().enumerate() {
        write!(constraints, ",\n    CONSTRAINT k{at} CHECK ({check})").unwrap();
    }
    table(name, &columns.join(",\n"), &constraints, &names.join(", "), &vec!["\\N"; used.len()].join("\t"))
}

fn passes(text: &str) -> bool {
    scan(&format!("{HEAD}{text}")).is_ok()
}

/// Restores a text that the scanner passes: no table may be missing, no row be read as a statement.
fn restore(tables: &[String]) {
    let text = format!("{HEAD}{}", tables.concat());
    scan(&text).unwrap_or_else(|e| panic!("{e}"));
    let db = database();
    let said = server().restore(&db, text.as_bytes()).unwrap();
    // A row of nulls may well break a check.
    let bad = |l: &&str| (l.contains("ERROR") && !l.contains("violates check")) || l.contains("invalid command");
    let wrong: Vec<&str> = said.lines().filter(bad).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let made = server().query(&db, "SELECT count(*) FROM pg_tables WHERE schemaname = 'ds_x'").unwrap();
    assert_eq!(made.trim(), tables.len().to_string());
}

/// Restores checks, many to a table.
fn restore_checks(checks: &[String]) {
    let tables: Vec<String> =
        checks.chunks(40).enumerate().map(|(at, checks)| checked(&format!("t{at}"), checks)).collect();
    restore(&tables);
}

#[test]
fn what_pg_dump_prints_passes_and_the_server_makes_it() {
    let mut tables = Vec::new();
    for (at, check) in PRINTED.iter().enumerate() {
        let text = checked(&format!("check{at}"), &[(*check).to_owned()]);
        scan(&format!("{HEAD}{text}")).unwrap_or_else(|e| panic!("{check}: {e}"));
        tables.push(text);
    }
    for (at, (kind, value)) in DEFAULTS.iter().enumerate() {
        let text = table(&format!("default{at}"), &format!("    a {kind} DEFAULT {value}"), "", "a", "\\N");
        scan(&format!("{HEAD}{text}")).unwrap_or_else(|e| panic!("{kind} {value}: {e}"));
        tables.push(text);
    }
    restore(&tables);
}

#[test]
fn the_server_knows_every_function_that_passes() {
    let mut arguments: Vec<Vec<&str>> = vec![vec![]];
    let mut found = Vec::new();
    for _ in 0..3 {
        arguments = arguments
            .iter()
            .flat_map(|list| {
                // Few functions take three, and none of them numbers but integers.
                let columns = if list.len() < 2 { COLUMNS } else { THIRD };
                columns.iter().map(|(column, _)| [list.as_slice(), &[*column]].concat())
            })
            .collect();
        for name in FUNCTIONS.split_ascii_whitespace() {
            for list in &arguments {
                // What a function of three arguments takes, its form of two or one takes too, but for these.
                if list.len() == 3
                    && !matches!(
                        name,
                        "replace"
                            | "split_part"
                            | "translate"
                            | "lpad"
                            | "\"substring\""
                            | "set_byte"
                            | "array_replace"
                    )
                {
                    continue;
                }
                let check = format!("({name}({}) IS NULL)", list.join(", "));
                if passes(&checked("t", std::slice::from_ref(&check))) {
                    found.push(check);
                }
            }
        }
    }
    for call in [
        "regexp_replace(c_t, c_t, c_t)",
        "regexp_replace(c_t, c_t, c_t, c_t)",
        "regexp_count(c_t, c_t, c_i)",
        "regexp_count(c_t, c_t, c_i, c_t)",
        "regexp_like(c_t, c_t, c_t)",
        "regexp_substr(c_t, c_t, c_i)",
        "regexp_substr(c_t, c_t, c_i, c_i)",
        "regexp_substr(c_t, c_t, c_i, c_i, c_t)",
        "regexp_substr(c_t, c_t, c_i, c_i, c_t, c_i)",
        "set_bit(c_b, c_l, c_i)",
        "\"overlay\"(c_t, c_t, c_i)",
        "\"overlay\"(c_t, c_t, c_i, c_i)",
        "\"overlay\"(c_b, c_b, c_i)",
        "\"overlay\"(c_b, c_b, c_i, c_i)",
        "substr(c_t, c_i, c_i)",
        "substr(c_b, c_i, c_i)",
        "rpad(c_t, c_i, c_t)",
        "array_to_string(c_at, c_t, c_t)",
        "gen_random_uuid()",
        "round((c_i)::double precision)",
        "power((c_i)::double precision, (c_l)::double precision)",
    ] {
        let check = format!("({call} IS NULL)");
        assert!(passes(&checked("t", std::slice::from_ref(&check))), "{check}");
        found.push(check);
    }
    assert!(found.len() > 400, "only {}", found.len());
    // One that takes only nulls is null, and a check that is not false holds.
    let checks: Vec<String> = found.iter().map(|check| format!("({check} IS NOT NULL)")).collect();
    restore_checks(&checks);
}

#[test]
fn the_server_knows_every_operator_and_cast_that_passes() {
    let mut found = Vec::new();
    let mut keep = |check: String| {
        if passes(&checked("t", std::slice::from_ref(&check))) {
            found.push(check);
        }
    };
    for (left, _) in COLUMNS {
        for (right, kind) in COLUMNS {
            for operator in OPERATORS.split_ascii_whitespace() {
                keep(format!("((({left} {operator} {right}) IS NULL) IS NOT NULL)"));
                keep(format!("((({operator} {right}) IS NULL) IS NOT NULL)"));
            }
            keep(format!("((({left} = ANY ({right})) IS NULL) IS NOT NULL)"));
            keep(format!("((({left})::{kind} IS NULL) IS NOT NULL)"));
            keep(format!("(({left} IS DISTINCT FROM {right}) IS NOT NULL)"));
        }
        keep(format!("((({left})::double precision IS NULL) IS NOT NULL)"));
        keep(format!("((((c_i)::double precision + ({left})::double precision) IS NULL) IS NOT NULL)"));
        keep(format!("(({left}[1] IS NULL) IS NOT NULL)"));
        keep(format!("(({left}[1:2] IS NULL) IS NOT NULL)"));
        keep(format!("((ARRAY[{left}] IS NULL) IS NOT NULL)"));
        keep(format!("((ARRAY[{left}] = ARRAY[{left}]) IS NOT NULL)"));
        keep(format!("((ARRAY[{left}][1] = {left}) IS NOT NULL)"));
        keep(format!("(((ARRAY[{left}])[1] IS NULL) IS NOT NULL)"));
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 400, "only {}", found.len());
    restore_checks(&found);
}

/// Expressions from bytes: mostly of fitting types, so that many pass.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        from[self.below(from.len())]
    }

    fn boolean(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        match if depth == 0 { self.below(3) } else { self.below(10) } {
            0 => "c_o".to_owned(),
            1 => "(c_t IS NULL)".to_owned(),
            2 => self.pick(&["true", "(NOT c_o)", "NULL::boolean", "(c_e = 'A'::ds_x.e)", "'t'::boolean"]).to_owned(),
            3 => format!("({} AND {})", self.boolean(d), self.boolean(d)),
            4 => format!("({} OR {} OR {})", self.boolean(d), self.boolean(d), self.boolean(d)),
            5 => {
                let operator = self.pick(&["<", "<=", "=", ">", ">=", "<>"]);
                format!("({} {operator} {})", self.number(d), self.number(d))
            }
            6 => {
                let operator = self.pick(&["=", "<>", "~~", "!~~*", "<", "~", "||", "+"]);
                format!("({} {operator} {})", self.text(d), self.text(d))
            }
            7 => format!("(NOT {})", self.boolean(d)),
            8 => format!("(CASE WHEN {} THEN {} ELSE {} END)", self.boolean(d), self.boolean(d), self.boolean(d)),
            _ => format!("({} = ANY (ARRAY[{}, {}]))", self.text(d), self.text(d), self.text(d)),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        match if depth == 0 { self.below(4) } else { self.below(11) } {
            0 => self.pick(&["c_s", "c_i", "c_l", "c_n", "c_m", "c_x"]).to_owned(),
            1 => self
                .pick(&["1", "2147483648", "0.5", "99999999999999999999", "'-7'::integer", "'1.25'::numeric"])
                .to_owned(),
            2 => self.pick(&["(5)::numeric", "(c_l)::numeric(12,3)", "(c_i)::bigint", "(c_o)::integer"]).to_owned(),
            3 => "array_length(c_at, 1)".to_owned(),
            4 | 5 => {
                let operator = self.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.number(d), self.number(d))
            }
            6 => format!("length({})", self.text(d)),
            7 => format!("(- {})", self.number(d)),
            8 => format!("abs({})", self.number(d)),
            9 => format!("({})::{}", self.number(d), self.pick(&["numeric", "bigint", "numeric(20,5)", "text"])),
            _ => format!("COALESCE({}, {})", self.number(d), self.number(d)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        match if depth == 0 { self.below(3) } else { self.below(9) } {
            0 => "c_t".to_owned(),
            1 => self.pick(&["'a'::text", "''::text", "'it''s; \\! x'::text", "'x'"]).to_owned(),
            2 => "c_at[1]".to_owned(),
            3 => format!("({} || {})", self.text(d), self.text(d)),
            4 => format!("({})::text", self.number(d)),
            5 => format!("lower({})", self.text(d)),
            6 => format!("SUBSTRING({} FROM 1 FOR 2)", self.text(d)),
            7 => format!("concat({}, {})", self.text(d), self.number(d)),
            _ => format!("TRIM(BOTH FROM {})", self.text(d)),
        }
    }
}

#[test]
fn the_server_makes_every_nested_check_that_passes() {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRunner::deterministic().new_rng());
    let bytes = prop::collection::vec(any::<u8>(), 200);
    let (mut found, mut refused) = (Vec::new(), 0);
    while found.len() < 1500 {
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        let check = Choices(bytes.iter()).boolean(4);
        let text = checked("t", std::slice::from_ref(&check));
        if passes(&text) {
            found.push(format!("(({check}) IS NULL) IS NOT NULL"));
        } else {
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
    restore_checks(&found);
}
