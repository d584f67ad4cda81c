//! Texts of words that mean something to psql, to the server's lexer or to us, in any order; some of whole statements.

use super::Numbers;

/// Words of a soup.
pub(crate) const WORDS: &[&str] = &[
    ";",
    ";",
    ";\n",
    ";\n",
    ";\n",
    "\n",
    " ",
    " ",
    " ",
    "\t",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "'",
    "'",
    "''",
    "\"",
    "\"",
    "\"\"",
    "$$",
    "$$",
    "$a$",
    "$a$",
    "$b$",
    "$1",
    "$",
    "$a",
    "a$",
    "$é$",
    "\\",
    "\\\\",
    "\\'",
    "\\;",
    "\\.",
    "\\.\n",
    "\n\\.\n",
    "\\! id",
    "\\g",
    "\\gexec",
    "\\set x y\n",
    "--",
    "-- x\n",
    "--x\r",
    "-",
    "/*",
    "*/",
    "/",
    "*",
    "/* x */",
    "/* /* */ */",
    ":",
    "::",
    "::text",
    ":x",
    ":'x'",
    ":\"x\"",
    ":{?x}",
    ":5",
    "[1:2]",
    "[:x]",
    ":=",
    "=>",
    "E'",
    "e'",
    "E'\\''",
    "N'",
    "X'",
    "B'",
    "U&'",
    "u&\"",
    "U&\"x\" UESCAPE '!'",
    "xE'",
    "CREATE",
    "create",
    "CREATE FUNCTION",
    "CREATE OR REPLACE FUNCTION",
    "CREATE PROCEDURE",
    "OR",
    "REPLACE",
    "FUNCTION",
    "PROCEDURE",
    "BEGIN",
    "begin",
    "BEGIN ATOMIC",
    "END",
    "end",
    "CASE",
    "\"BEGIN\"",
    "TABLE",
    "SELECT",
    "SELECT 1",
    "COPY",
    "COPY s.t (a) FROM stdin;\n",
    "COPY s.t (a) FROM stdin;",
    "FROM",
    "stdin",
    "INSERT",
    "DO",
    "x",
    "é",
    "a\u{a0}b",
    "\u{feff}",
    "\u{2028}",
    "_",
    "1",
    "0",
    "1e5",
    "0x1F",
    "1_0",
    "1x",
    ".5",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{c}",
    "\0",
    "\u{7f}",
    "\u{1}",
    "`id`",
    "+",
    "=",
    "<",
    "@",
    "!",
    "~",
    "#",
    "%",
    "^",
    "&",
    "|",
    "?",
    "<<",
    ">>",
    "||",
    "help",
    "quit",
    "exit",
    "\\q",
    "\\q\n",
    "abc\n",
    "1\n",
    "\\N\n",
    "x'y\"z;\n",
    "PGDMP",
];

/// Parts of statements that pass, so that a change to them often passes too.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT 'a;b' || \"c;d\" || 'it''s'",
    "SELECT (a, b), (c)",
    "CREATE TABLE s.t (\n    a text DEFAULT 'x; \\! ls\n'::text NOT NULL,\n    \"B;c\" numeric(10,2)\n)",
    "CREATE FUNCTION s.f(a text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN 'x;' || a; END;$$",
    "CREATE FUNCTION s.f() RETURNS text AS $_$\nDECLARE x text; -- it's\nBEGIN $$ ; END; \\q $_$",
    "CREATE OR REPLACE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1;'",
    "CREATE FUNCTION s.f() RETURNS int LANGUAGE sql RETURN CASE WHEN true THEN 1 END",
    "CREATE PROCEDURE p() LANGUAGE plpgsql AS $a$ BEGIN END; $a$",
    "CREATE VIEW s.v AS SELECT a[1:2], b::text FROM s.t",
    "ALTER TABLE ONLY s.t ADD CONSTRAINT k CHECK ((a > 5))",
    "SELECT 'é', \"ü\"",
    "SELECT 'a'\n'b'",
    "SELECT $x$ $$ ; $y$ $x$, 5",
    "UPDATE s.t SET a = a-42",
    "CREATE INDEX i ON s.t USING btree (a)",
    "SELECT 1 - -1, 2 -(-3), 4 / (5)",
    "SELECT '\\'",
    "SELECT '\\', ';', \"\\\"",
    "COPY begin.end (a) FROM 'x'",
];

/// Rows of a block.
const ROWS: &[&str] = &[
    "",
    "a\n",
    "a\nb\n",
    "\\N\n",
    "\\\\.\n",
    "it's \"x\" $$ ; -- /*\n",
    "\n",
    "x\\.\n",
    " \\.\n",
    "\\.x\n",
    "\\\\! id\n",
    "a\\nb\n",
];

/// A text.
pub(crate) fn soup(numbers: &mut Numbers) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..=numbers.below(3) {
        match numbers.below(8) {
            0 => {
                for _ in 0..=numbers.below(12) {
                    text.push_str(numbers.pick(WORDS));
                    if numbers.below(2) == 0 {
                        text.push(' ');
                    }
                }
            }
            1 => {
                text.push_str("COPY s.t (a) FROM stdin;\n");
                for _ in 0..numbers.below(3) {
                    text.push_str(numbers.pick(ROWS));
                }
                text.push_str("\\.\n");
            }
            // A statement with words put into it.
            kind => {
                let mut statement = numbers.pick(STATEMENTS).to_owned();
                for _ in 0..if kind < 4 { 0 } else { 1 + numbers.below(3) } {
                    let mut at = numbers.below(statement.len() + 1);
                    while !statement.is_char_boundary(at) {
                        at -= 1;
                    }
                    statement.insert_str(at, numbers.pick(WORDS));
                }
                text.push_str(&statement);
                text.push_str(";\n");
            }
        }
    }
    text.into_bytes()
}
