//! Quotes, comments and blanks: whatever two readers could cut in different ways.

use super::*;

#[test]
fn escape_strings() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT E'x';", "a quoted text with a prefix");
    refused(
        "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT e'x\\'; DROP TABLE x; --';",
        "a quoted text with a prefix",
    );
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT E'x\\''\n'y';", "a quoted text with a prefix");
    refused("CREATE TYPE s.e AS ENUM (E'\\xff');", "a quoted text with a prefix");
}

#[test]
fn unicode_strings_and_names() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT U&'x';", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT U&'\\0027' UESCAPE '!';", "a quoted text with a prefix");
    refused("CREATE TABLE s.U&\"x\" (a text);", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT u&'x'::text;", "a quoted text with a prefix");
}

#[test]
fn strings_with_other_prefixes() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT B'1';", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT X'1F';", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT N'x';", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1E'x';", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT x'1'::text;", "a quoted text with a prefix");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT _utf8'x';", "a quoted text with a prefix");
}

#[test]
fn strings_one_after_the_other() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x' 'y'::text;", "syntax error at or near \"'y'\"");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x' -- '\n'y'::text;", "a comment");
}

#[test]
fn a_backslash_before_a_quote_escapes_nothing() {
    refused(
        "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x\\'; DROP TABLE x; --'::text;",
        "text follows a statement on its line",
    );
}

#[test]
fn a_literal_that_does_not_end() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x;", "the text ends inside a line or statement");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x''::text;", "the text ends inside a line or statement");
}

#[test]
fn a_name_that_does_not_end_or_is_empty() {
    refused("GRANT SELECT ON TABLE s.t TO \"x;", "the text ends inside a line or statement");
    refused("GRANT SELECT ON TABLE s.t TO \"\";", "zero-length delimited identifier at or near \"\"\"\"");
}

#[test]
fn dollar_quotes_outside_functions() {
    refused("GRANT SELECT ON TABLE s.t TO x$$;$$;", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x$y;", "a dollar sign in a word");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $1;", "a dollar sign that opens no body");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1$$;$$;", "text follows a statement on its line");
}

#[test]
fn dollar_tags_inside_each_other() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $a$ $b$ $a$; DROP TABLE x; $b$ $a$;",
        "text follows a statement on its line",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $a$ $A$;\n DROP TABLE x; $a$ $A$;",
        "the text ends inside a line or statement",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$ $x$ $$;$x$;",
        "text follows a statement on its line",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $é$ x $é$;",
        "a dollar sign that opens no body",
    );
}

#[test]
fn line_comments() {
    refused("-- a comment", "a comment, or an empty line in the guard");
    refused("GRANT SELECT ON TABLE s.t TO x; -- y", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x -- y\n;", "a comment");
    refused("GRANT SELECT ON TABLE s.t TO x --;\n;", "a comment");
    refused("GRANT SELECT --'\nON TABLE s.t TO x;--'", "text follows a statement on its line");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5--'\n;", "a comment");
}

#[test]
fn block_comments() {
    refused("/* a comment */", "a comment, or an empty line in the guard");
    refused("GRANT SELECT /* y */ ON TABLE s.t TO x;", "a comment");
    refused("/* /* */ */", "a comment, or an empty line in the guard");
    refused("/* /* */ DROP TABLE x; */", "a comment, or an empty line in the guard");
    refused("GRANT SELECT ON TABLE s.t TO x /* ' */;", "a comment");
    refused("GRANT SELECT ON TABLE s.t TO x/*;*/;", "a comment");
    refused("/* */ GRANT SELECT ON TABLE s.t TO x;", "a statement that begins with no word");
}

#[test]
fn a_comment_begun_by_operators() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 +-- x\n5;", "a comment");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 */* x */5;", "a comment");
    refused("UPDATE kwild_voting.resolutions SET expiration = expiration--1;", "a comment");
}

#[test]
fn a_comment_that_hides_a_quote() {
    refused(
        "/* ' */ ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '*/ x'::text;",
        "a statement that begins with no word",
    );
    refused("-- '\nDROP TABLE x; -- '", "a comment, or an empty line in the guard");
}

#[test]
fn semicolons_in_parentheses() {
    refused("CREATE INDEX i ON s.t USING btree (a;);", "a semicolon in parentheses");
    refused("CREATE INDEX i ON s.t USING btree (a; DROP TABLE x;);", "a semicolon in parentheses");
    refused("CREATE TABLE s.u (a text;\nDROP TABLE x;);", "a semicolon in parentheses");
}

#[test]
fn parentheses_that_do_not_match() {
    refused("CREATE INDEX i ON s.t USING btree a);", "a parenthesis that nothing opened");
    refused("CREATE INDEX i ON s.t USING btree (a));", "a parenthesis that nothing opened");
    refused("CREATE INDEX i ON s.t USING btree (a[1);", "syntax error at or near \")\"");
}

#[test]
fn two_statements_on_a_line() {
    refused("GRANT SELECT ON TABLE s.t TO x; DROP TABLE y;", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x;;", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x;x", "text follows a statement on its line");
}

#[test]
fn carriage_returns() {
    refused("GRANT SELECT ON TABLE s.t TO x\r;", "the byte 0x0d outside quotes");
    refused("GRANT SELECT ON TABLE s.t TO x;\r", "text after the statement's end");
    refused("GRANT\rSELECT ON TABLE s.t TO x;", "the byte 0x0d outside quotes");
    refused("\r", "a comment, or an empty line in the guard");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5\r\n;", "the byte 0x0d outside quotes");
}

#[test]
fn blanks_outside_ascii() {
    refused("GRANT\u{a0}SELECT ON TABLE s.t TO x;", "the byte 0xc2 outside quotes");
    refused("GRANT SELECT ON TABLE s.t TO \u{2028}x;", "the byte 0xe2 outside quotes");
    refused("\u{a0}", "a statement that begins with no word");
    refused("GRANT SELECT ON TABLE s.t TO é;", "the byte 0xc3 outside quotes");
    refused("GRANT\u{b}SELECT ON TABLE s.t TO x;", "the byte 0x0b outside quotes");
    refused("GRANT\u{c}SELECT ON TABLE s.t TO x;", "the byte 0x0c outside quotes");
}

#[test]
fn a_byte_order_mark() {
    refused("\u{feff}GRANT SELECT ON TABLE s.t TO x;", "a statement that begins with no word");
    refused("GRANT \u{feff}SELECT ON TABLE s.t TO x;", "the byte 0xef outside quotes");
}

#[test]
fn zero_bytes() {
    refused("GRANT SELECT ON TABLE s.t TO \0x;", "a zero byte");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'a\0b'::text;", "a zero byte");
    refused("\0", "a statement that begins with no word");
}

#[test]
fn operators_that_psql_may_cut_elsewhere() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 @-- 5\n;", "a comment");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1.5.5;", "syntax error at or near \".5\"");
    refused(
        "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1e;",
        "trailing junk after numeric literal at or near \"1e\"",
    );
}

#[test]
fn text_that_is_not_utf8() {
    for (bytes, want) in [
        (&b"GRANT SELECT ON TABLE s.t TO \xff;\n"[..], "outside quotes"),
        (b"ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '\xc3'::text;\n", "UTF-8"),
        (b"ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '\xed\xa0\x80'::text;\n", "UTF-8"),
        // The bytes of an overlong quote.
        (b"ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x\xc0\xa7'::text;\n", "UTF-8"),
    ] {
        let text = [SMALL.as_bytes(), bytes].concat();
        refused_text(&text, SMALL.len()..text.len(), want);
    }
}

#[test]
fn a_byte_order_mark_at_the_very_beginning() {
    let text = format!("\u{feff}{SMALL}");
    assert_eq!(refused_text(text.as_bytes(), 0..10, "begins with no word").line, 1);
}

#[test]
fn a_statement_longer_than_any_dump_writes() {
    for (begin, byte) in [
        ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '", b'x'),
        ("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '", b'\n'),
        ("", b' '),
        ("GRANT ", b'x'),
    ] {
        let piece = vec![byte; 1 << 16];
        let mut scanner = StatementScanner::new();
        scanner.push(SMALL.as_bytes()).unwrap();
        scanner.push(begin.as_bytes()).unwrap();
        let pushed = (0..).find_map(|n| scanner.push(&piece).err().map(|e| (n, e)));
        let (pieces, error) = pushed.unwrap();
        assert!(pieces <= 256, "{pieces}");
        assert_eq!(error.reason, "a statement is longer than 16 MiB");
        assert_eq!(error.line, SMALL.lines().count() as u64 + 1);
        assert!(error.statement.len() < 200);
    }
}

#[test]
fn literals_hold_anything() {
    passes("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'it''s $$ -- /* \"; \\'::text;");
    passes("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'COPY s.t FROM stdin;\n\\.\n\u{e9}\u{2028}\r'::text;");
    // Backslashes stand for themselves: kwild wants servers so, and psql asks the server.
    passes("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x\\''::text;\nDROP TABLE x;\n--';");
    passes("GRANT SELECT ON TABLE s.t TO \"x;\n\\! id -- \"\"'$$\";");
}
