//! COPY: only from the text's own lines, only into a table of this file, once, and with its columns.

use super::*;

#[test]
fn from_a_program() {
    refused(
        "COPY s.t (a, \"B c\") FROM PROGRAM 'id';",
        "CopyStmt with is_program is no part of any CopyStmt of a Kwil dump",
    );
    refused("COPY s.t FROM PROGRAM 'id';", "CopyStmt with is_program is no part of any CopyStmt of a Kwil dump");
    refused(
        "copy s.t (a, \"B c\") from program $$id$$;",
        "CopyStmt with is_program is no part of any CopyStmt of a Kwil dump",
    );
}

#[test]
fn to_a_program() {
    refused("COPY s.t (a, \"B c\") TO PROGRAM 'sh';", "CopyStmt with is_from");
    refused("COPY (SELECT 1) TO PROGRAM 'sh';", "CopyStmt with is_from");
}

#[test]
fn from_a_file() {
    refused(
        "COPY s.t (a, \"B c\") FROM '/etc/passwd';",
        "CopyStmt with filename is no part of any CopyStmt of a Kwil dump",
    );
    refused("COPY s.t (a, \"B c\") FROM \"stdin\";", "syntax error at or near \"\"stdin\"\"");
}

#[test]
fn to_a_file_or_stdout() {
    refused("COPY s.t (a, \"B c\") TO '/tmp/x';", "CopyStmt with is_from");
    refused("COPY s.t (a, \"B c\") TO stdout;", "CopyStmt with is_from");
    refused("COPY (SELECT 1) TO '/tmp/x';", "CopyStmt with is_from");
}

#[test]
fn with_options() {
    refused(
        "COPY s.t (a, \"B c\") FROM stdin WITH (FORMAT csv);",
        "CopyStmt with options is no part of any CopyStmt of a Kwil dump",
    );
    refused("COPY s.t (a, \"B c\") FROM stdin CSV;", "CopyStmt with options is no part of any CopyStmt of a Kwil dump");
    refused(
        "COPY s.t (a, \"B c\") FROM stdin WHERE true;",
        "CopyStmt with where_clause is no part of any CopyStmt of a Kwil dump",
    );
    refused("COPY BINARY s.t FROM stdin;", "CopyStmt with options is no part of any CopyStmt of a Kwil dump");
}

#[test]
fn twice_into_one_table() {
    refused("COPY s.t (a, \"B c\") FROM stdin;\n\\.", "rows for s.t come twice");
}

#[test]
fn into_a_table_that_is_not_made() {
    refused("COPY s.missing (a) FROM stdin;\nDROP TABLE x;\n\\.", "s.missing is no table that this file makes");
    refused("COPY \"S\".t (a, \"B c\") FROM stdin;\n\\.", "S.t, which stands in a schema that this file does not make");
    refused("COPY s.\"T\" (a, \"B c\") FROM stdin;\n\\.", "s.T is no table that this file makes");
}

#[test]
fn into_a_catalogue() {
    refused(
        "COPY pg_catalog.pg_authid (rolname) FROM stdin;\n\\.",
        "pg_catalog.pg_authid, which stands in a schema that this file does",
    );
    refused(
        "COPY information_schema.x (a) FROM stdin;\n\\.",
        "information_schema.x, which stands in a schema that this file does",
    );
}

#[test]
fn into_a_view_a_sequence_or_a_type() {
    refused(
        "CREATE VIEW info.v AS SELECT 1;\nCOPY info.v (a) FROM stdin;\n\\.",
        "a view info.v that no version of Kwil makes",
    );
    refused("CREATE SEQUENCE s.q;\nCOPY s.q (a) FROM stdin;\n\\.", "s.q is no table that this file makes");
    refused("CREATE TYPE s.e AS ENUM ('A');\nCOPY s.e (a) FROM stdin;\n\\.", "s.e is no table that this file makes");
}

#[test]
fn without_a_schema() {
    refused("COPY t (a, \"B c\") FROM stdin;\n\\.", "t without a schema");
    refused("COPY s.s.t (a) FROM stdin;\n\\.", "RangeVar with catalogname is no part of any CopyStmt of a Kwil dump");
}

#[test]
fn with_other_columns() {
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u (a) FROM stdin;\n\\.", "the columns are not those of s.u");
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u (b, a) FROM stdin;\n\\.", "the columns are not those of s.u");
    refused("CREATE TABLE s.u (a text, b text);\nCOPY s.u FROM stdin;\n\\.", "the columns are not those of s.u");
    refused(
        "CREATE TABLE s.u (a text, b text);\nCOPY s.u (a, b, b) FROM stdin;\n\\.",
        "the columns are not those of s.u",
    );
    refused("CREATE TABLE s.u (a text);\nCOPY s.u (\"A\") FROM stdin;\n\\.", "the columns are not those of s.u");
}

#[test]
fn with_a_column_that_is_a_word_of_sql() {
    refused(
        "CREATE TABLE s.u (\"user\" text);\nCOPY s.u (user) FROM stdin;\nDROP TABLE x;\n\\.",
        "syntax error at or near \"user\"",
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
        let error = scan(text.as_bytes(), 64).unwrap_err();
        assert!(
            ["voters table holds rows", "follows the end", "backslash in a row", "carriage return"]
                .iter()
                .any(|want| error.reason.contains(want)),
            "{error}"
        );
        refused_text(text.as_bytes(), head.len()..text.len(), "");
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
    refused_rows(b"x\t1\r\n\\.\n", "carriage return");
    refused_rows(b"x\0\t1\n\\.\n", "zero byte");
    refused_rows(b"x\t\xc3\n\\.\n", "UTF-8");
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
