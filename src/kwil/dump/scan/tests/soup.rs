//! Random tokens: nothing that passes holds a statement outside the grammar, by another reader's account.

use proptest::prelude::*;

use super::*;

const TOKENS: &[&str] = &[
    "CREATE",
    "TABLE",
    "ALTER",
    "DROP",
    "COPY",
    "GRANT",
    "REVOKE",
    "SELECT",
    "DO",
    "ROLE",
    "SCHEMA",
    "INDEX",
    "VIEW",
    "FUNCTION",
    "TYPE",
    "ON",
    "TO",
    "FROM",
    "stdin",
    "PROGRAM",
    "s.t",
    "s.u",
    "info.v",
    "x",
    "a",
    "\"B c\"",
    "(",
    ")",
    "(a text)",
    "(a, \"B c\")",
    ",",
    ";",
    ";\n",
    "\n",
    "\\.",
    "\\! id",
    "\\restrict a\n",
    "'x'",
    "'",
    "$$",
    "$$x$$",
    "--",
    "/*",
    "*/",
    "E'",
    "AS",
    "SELECT 1",
    "LANGUAGE",
    "sql",
    "c",
    "BEGIN",
    "COMMIT",
    "USING",
    "btree",
    "UPDATE",
    "kwild_voting.resolutions",
    "SET",
    "expiration",
    "=",
    "-",
    "1",
    "pg_catalog",
    ".",
    "setval",
    "USAGE",
    "\r",
    ":x",
];

/// Statements that pass by themselves, so that some soups do.
const STATEMENTS: &[&str] = &[
    "GRANT SELECT ON TABLE s.t TO x;\n",
    "CREATE TABLE s.u (a text);\n",
    "CREATE VIEW info.v AS SELECT 1;\n",
    "CREATE INDEX i ON s.t USING btree (a);\n",
    "CREATE SEQUENCE s.q;\n",
    "\\restrict abc\n",
    "\n",
    "SELECT pg_catalog.lo_create('1');\n",
    "UPDATE kwild_voting.resolutions SET expiration = expiration-42;\n",
    "REVOKE ALL ON TABLE s.t FROM",
    "GRANT SELECT ON TABLE s.t TO ",
    "CREATE VIEW info.w AS SELECT ",
    "CREATE INDEX j ON s.t USING btree (",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_foreign_passes(
        parts in prop::collection::vec(prop_oneof![3 => prop::sample::select(STATEMENTS), 1 => prop::sample::select(TOKENS)], 1..12),
        glue in prop::sample::select(&["", " "][..]),
    ) {
        let text = format!("{SMALL}{}\n", parts.join(glue));
        let whole = scan(text.as_bytes(), usize::MAX);
        prop_assert_eq!(whole.is_ok(), scan(text.as_bytes(), 1).is_ok());
        if whole.is_ok() {
            prop_assert_eq!(reader::foreign(&text), None);
        }
    }

    #[test]
    fn tokens_alone_pass_only_as_statements_of_the_grammar(tokens in prop::collection::vec(prop::sample::select(TOKENS), 1..25)) {
        let text = format!("{SMALL}{}\n", tokens.join(" "));
        if scan(text.as_bytes(), 7).is_ok() {
            prop_assert_eq!(reader::foreign(&text), None);
        }
    }
}
