//! COPY: only from the text's own lines, only into a table of this file, once, and with its columns.

use super::*;

#[test]
fn from_a_program() {
    refused("COPY s.t (a, \"B c\") FROM PROGRAM 'id';", "COPY other");
    refused("COPY s.t FROM PROGRAM 'id';", "COPY other");
    refused("copy s.t (a, \"B c\") from program $$id$$;", "COPY other");
}

#[test]
fn to_a_program() {
    refused("COPY s.t (a, \"B c\") TO PROGRAM 'sh';", "COPY other");
    refused("COPY (SELECT 1) TO PROGRAM 'sh';", "COPY other");
}

#[test]
fn from_a_file() {
    refused("COPY s.t (a, \"B c\") FROM '/etc/passwd';", "COPY other");
    refused("COPY s.t (a, \"B c\") FROM \"stdin\";", "COPY other");
}

#[test]
fn to_a_file_or_stdout() {
    refused("COPY s.t (a, \"B c\") TO '/tmp/x';", "COPY other");
    refused("COPY s.t (a, \"B c\") TO stdout;", "COPY other");
    refused("COPY (SELECT 1) TO '/tmp/x';", "COPY other");
}

#[test]
fn with_options() {
    refused("COPY s.t (a, \"B c\") FROM stdin WITH (FORMAT csv);", "COPY other");
    refused("COPY s.t (a, \"B c\") FROM stdin CSV;", "COPY other");
    refused("COPY s.t (a, \"B c\") FROM stdin WHERE true;", "COPY other");
    refused("COPY BINARY s.t FROM stdin;", "COPY other");
}

#[test]
fn twice_into_one_table() {
    refused("COPY s.t (a, \"B c\") FROM stdin;\n\\.", "come twice");
}

#[test]
fn into_a_table_that_is_not_made() {
    refused("COPY s.missing (a) FROM stdin;\nDROP TABLE x;\n\\.", "does not make");
    refused("COPY \"S\".t (a, \"B c\") FROM stdin;\n\\.", "does not make");
    refused("COPY s.\"T\" (a, \"B c\") FROM stdin;\n\\.", "does not make");
}

#[test]
fn into_a_catalogue() {
    refused("COPY pg_catalog.pg_authid (rolname) FROM stdin;\n\\.", "does not make");
    refused("COPY information_schema.x (a) FROM stdin;\n\\.", "does not make");
}

#[test]
fn into_a_view_a_sequence_or_a_type() {
    refused("CREATE VIEW info.v AS SELECT 1;\nCOPY info.v (a) FROM stdin;\n\\.", "does not make");
    refused("CREATE SEQUENCE s.q;\nCOPY s.q (a) FROM stdin;\n\\.", "does not make");
    refused("CREATE TYPE s.e AS ENUM ('A');\nCOPY s.e (a) FROM stdin;\n\\.", "does not make");
}

#[test]
fn without_a_schema() {
    refused("COPY t (a, \"B c\") FROM stdin;\n\\.", "COPY other");
    refused("COPY s.s.t (a) FROM stdin;\n\\.", "COPY other");
}

#[test]
fn with_other_columns() {
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u (a) FROM stdin;\n\\.", "columns are not");
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u (b, a) FROM stdin;\n\\.", "columns are not");
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u FROM stdin;\n\\.", "columns are not");
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u (a, b, b) FROM stdin;\n\\.", "columns are not");
    refused("CREATE TABLE s.u (a text);\nCOPY s.u (\"A\") FROM stdin;\n\\.", "columns are not");
}

#[test]
fn with_a_column_that_is_a_word_of_sql() {
    refused("CREATE TABLE s.u (\"user\" text);\nCOPY s.u (user) FROM stdin;\nDROP TABLE x;\n\\.", "word of SQL");
    refused("CREATE TABLE s.\"table\" (a text);\nCOPY s.table (a) FROM stdin;\nDROP TABLE x;\n\\.", "word of SQL");
}

#[test]
fn after_privileges() {
    refused(
        "CREATE TABLE s.u (a text);\nREVOKE ALL ON TABLE s.u FROM kwild;\nCOPY s.u (a) FROM stdin;\nDROP TABLE x;\n\\.",
        "come after privileges",
    );
}

/// The small snapshot up to its first rows, so that both tables are still empty.
fn head() -> &'static str {
    SMALL.split("COPY kwild_voting").next().unwrap()
}

const COPY: &str = "COPY s.t (a, \"B c\") FROM stdin;\n";

#[track_caller]
fn refused_rows(rows: &[u8], want: &str) {
    let head = format!("{}{COPY}", head());
    let text = [head.as_bytes(), rows].concat();
    refused_text(&text, head.len()..text.len(), want);
}

#[test]
fn rows_that_do_not_end() {
    refused_rows(b"x\t1\n", "inside a COPY block");
    refused_rows(b"x\t1", "inside a COPY block");
    refused_rows(b"", "inside a COPY block");
    refused_rows(b"\\.", "inside a COPY block");
}

#[test]
fn a_backslash_that_pg_dump_does_not_write() {
    for row in ["\\! id", "x\\.", "x\t\\.\t", "\\i x", "\\x41", "\\101", "\\ ", "\\\n"] {
        refused_rows(format!("{row}\n\\.\n").as_bytes(), "backslash in a row");
    }
}

#[test]
fn text_after_the_end_of_rows() {
    refused_rows(b"\\.x\n\\.\n", "follows the end");
    refused_rows(b"\\. \n", "follows the end");
    refused_rows(b"\\.;\n", "follows the end");
    refused_rows(b"\\.\\! id\n", "follows the end");
}

#[test]
fn text_after_the_end_of_no_rows() {
    let head = format!("{}COPY kwild_voting.voters (id, name, power) FROM stdin;\n", head());
    for end in ["\\.x\n", "\\. \n", "\\.\r\n", "\n\\.\n", "\\\n", "x\n\\.\n"] {
        let text = format!("{head}{end}");
        refused_text(text.as_bytes(), head.len()..text.len(), "voters table holds rows");
    }
}

#[test]
fn rows_for_voters() {
    let head = format!("{}COPY kwild_voting.voters (id, name, power) FROM stdin;\n", head());
    let text = format!("{head}x\ty\t1\n\\.\n");
    refused_text(text.as_bytes(), head.len()..text.len(), "voters table holds rows");
    scan(format!("{head}\\.\n").as_bytes(), 1).unwrap();
}

#[test]
fn bytes_that_no_row_holds() {
    refused_rows(b"x\r\n\\.\n", "carriage return");
    refused_rows(b"x\0\t1\n\\.\n", "zero byte");
    refused_rows(b"\xc3\n\\.\n", "UTF-8");
    refused_rows(b"\xff\t1\n\\.\n", "UTF-8");
    refused_rows(b"\xed\xa0\x80\t1\n\\.\n", "UTF-8");
    refused_rows(b"\xc0\xaf\t1\n\\.\n", "UTF-8");
}

#[test]
fn rows_that_look_like_statements_are_data() {
    let rows = "DROP TABLE x;\t1\n\\\\! id\t2\n'\t3\n$$\t4\n/*\t5\n-- \t6\n\\\\.\t7\nCOPY s.t (a) FROM stdin;\t8\n";
    let report = scan(format!("{}{COPY}{rows}\\.\n{END}", head()).as_bytes(), 1).unwrap();
    assert_eq!(report.table_rows["s.t"], 8);
}

#[test]
fn rows_for_a_table_that_the_server_may_not_make() {
    for definition in ["CHECK ((a > 5))", "CHECK (missing(a))", "CHECK ((public.digest(a, a) IS NULL))"] {
        let head = format!("CREATE TABLE s.u (a text, CONSTRAINT c {definition});\nCOPY s.u (a) FROM stdin;\n");
        let text = format!("{SMALL}{head}x\n\\.\n");
        if let Ok(report) = scan(format!("{SMALL}{head}\\.\n").as_bytes(), 1) {
            assert_eq!(report.table_rows["s.u"], 0);
            let from = SMALL.len() + head.len();
            let error = refused_text(text.as_bytes(), from..text.len(), "would read them as statements");
            assert_eq!(error.line, SMALL.lines().count() as u64 + 2);
        } else {
            // Refused for what it calls, with rows or without.
            assert!(definition.contains("missing"));
        }
    }
}

#[test]
fn a_default_that_comes_later_counts_too() {
    let change = "ALTER TABLE ONLY s.u ALTER COLUMN a SET DEFAULT 12345;";
    let head = format!("CREATE TABLE s.u (a smallint, b numeric(3,0));\n{change}\n");
    passes(&format!("{head}COPY s.u (a, b) FROM stdin;\n1\t2\n\\."));
    for bad in ["a SET DEFAULT 70000", "b SET DEFAULT 12345", "a SET DEFAULT (1 / 0)"] {
        let head = head.replace("a SET DEFAULT 12345", bad);
        refused(&format!("{head}COPY s.u (a, b) FROM stdin;\n1\t2\n\\."), "would read them as statements");
    }
}

#[test]
fn a_row_of_any_length_passes_in_pieces() {
    let mut scanner = StatementScanner::new();
    scanner.push(format!("{}{COPY}", head()).as_bytes()).unwrap();
    let piece = [b'x'; 1 << 16];
    for _ in 0..300 {
        scanner.push(&piece).unwrap();
    }
    scanner.push(b"\t1\n\\.\n").unwrap();
    assert_eq!(scanner.finish().unwrap().rows, 1);
}
