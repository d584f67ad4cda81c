//! Quotes, comments and blanks: whatever two readers could cut in different ways.

use super::*;

#[test]
fn escape_strings() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT E'x';", "escapes");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT e'x\\'; DROP TABLE x; --';", "escapes");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT E'x\\''\n'y';", "escapes");
    refused("CREATE TYPE s.e AS ENUM (E'\\xff');", "escapes");
}

#[test]
fn unicode_strings_and_names() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT U&'x';", "Unicode");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT U&'\\0027' UESCAPE '!';", "Unicode");
    refused("CREATE TABLE s.U&\"x\" (a text);", "Unicode");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT u&'x'::text;", "Unicode");
}

#[test]
fn strings_with_other_prefixes() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT B'1';", "before a quote");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT X'1F';", "before a quote");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT N'x';", "before a quote");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1E'x';", "number");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT x'1'::text;", "before a quote");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT _utf8'x';", "before a quote");
}

#[test]
fn strings_one_after_the_other() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x'\n'y'::text;", "one after the other");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x' 'y'::text;", "one after the other");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x' -- '\n'y'::text;", "comment");
}

#[test]
fn a_backslash_before_a_quote_escapes_nothing() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x\\'; DROP TABLE x; --'::text;", "follows a statement");
}

#[test]
fn a_literal_that_does_not_end() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x;", "inside a line");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x''::text;", "inside a line");
}

#[test]
fn a_name_that_does_not_end_or_is_empty() {
    refused("GRANT SELECT ON TABLE s.t TO \"x;", "inside a line");
    refused("GRANT SELECT ON TABLE s.t TO \"\";", "name is empty");
}

#[test]
fn dollar_quotes_outside_functions() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $$x$$;", "dollar-quoted");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $a$x$a$::text;", "dollar-quoted");
    refused("GRANT SELECT ON TABLE s.t TO x$$;$$;", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x$y;", "dollar");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT $1;", "dollar");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1$$;$$;", "follows a statement");
}

#[test]
fn dollar_tags_inside_each_other() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $a$ $b$ $a$; DROP TABLE x; $b$ $a$;",
        "follows a statement",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $a$ $A$;\n DROP TABLE x; $a$ $A$;",
        "inside a line",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$ $x$ $$;$x$;",
        "follows a statement",
    );
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $é$ x $é$;", "dollar");
}

#[test]
fn line_comments() {
    refused("-- a comment", "comment");
    refused("GRANT SELECT ON TABLE s.t TO x; -- y", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x -- y\n;", "comment");
    refused("GRANT SELECT ON TABLE s.t TO x --;\n;", "comment");
    refused("GRANT SELECT --'\nON TABLE s.t TO x;--'", "follows a statement");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5--'\n;", "comment");
}

#[test]
fn block_comments() {
    refused("/* a comment */", "comment");
    refused("GRANT SELECT /* y */ ON TABLE s.t TO x;", "comment");
    refused("/* /* */ */", "comment");
    refused("/* /* */ DROP TABLE x; */", "comment");
    refused("GRANT SELECT ON TABLE s.t TO x /* ' */;", "comment");
    refused("GRANT SELECT ON TABLE s.t TO x/*;*/;", "comment");
    refused("/* */ GRANT SELECT ON TABLE s.t TO x;", "comment");
}

#[test]
fn a_comment_begun_by_operators() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 +-- x\n5;", "comment");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 */* x */5;", "comment");
    refused("UPDATE kwild_voting.resolutions SET expiration = expiration--1;", "comment");
}

#[test]
fn a_comment_that_hides_a_quote() {
    refused("/* ' */ ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT '*/ x'::text;", "comment");
    refused("-- '\nDROP TABLE x; -- '", "comment");
}

#[test]
fn semicolons_in_parentheses() {
    refused("CREATE INDEX i ON s.t USING btree (a;);", "semicolon");
    refused("CREATE INDEX i ON s.t USING btree (a; DROP TABLE x;);", "semicolon");
    refused("CREATE TABLE s.u (a text;\nDROP TABLE x;);", "semicolon");
}

#[test]
fn parentheses_that_do_not_match() {
    refused("CREATE INDEX i ON s.t USING btree a);", "expected something in parentheses");
    refused("CREATE INDEX i ON s.t USING btree (a));", "more follows");
    refused("CREATE INDEX i ON s.t USING btree (a[1);", "parentheses do not match");
}

#[test]
fn two_statements_on_a_line() {
    refused("GRANT SELECT ON TABLE s.t TO x; DROP TABLE y;", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x;;", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x;x", "follows a statement");
}

#[test]
fn carriage_returns() {
    refused("GRANT SELECT ON TABLE s.t TO x\r;", "carriage return");
    refused("GRANT SELECT ON TABLE s.t TO x;\r", "carriage return");
    refused("GRANT\rSELECT ON TABLE s.t TO x;", "carriage return");
    refused("\r", "comment or stray");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5\r\n;", "carriage return");
}

#[test]
fn blanks_outside_ascii() {
    refused("GRANT\u{a0}SELECT ON TABLE s.t TO x;", "outside ASCII");
    refused("GRANT SELECT ON TABLE s.t TO \u{2028}x;", "outside ASCII");
    refused("\u{a0}", "outside ASCII");
    refused("GRANT SELECT ON TABLE s.t TO é;", "outside ASCII");
    refused("GRANT\u{b}SELECT ON TABLE s.t TO x;", "no dump holds");
    refused("GRANT\u{c}SELECT ON TABLE s.t TO x;", "no dump holds");
}

#[test]
fn a_byte_order_mark() {
    refused("\u{feff}GRANT SELECT ON TABLE s.t TO x;", "outside ASCII");
    refused("GRANT \u{feff}SELECT ON TABLE s.t TO x;", "outside ASCII");
}

#[test]
fn zero_bytes() {
    refused("GRANT SELECT ON TABLE s.t TO \0x;", "zero byte");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'a\0b'::text;", "zero byte");
    refused("\0", "zero byte");
}

#[test]
fn operators_that_psql_may_cut_elsewhere() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 5 @-- 5\n;", "comment");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1.5.5;", "number");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1e;", "number");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 0x1F;", "number");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 1_000;", "number");
}

#[test]
fn text_that_is_not_utf8() {
    for (bytes, want) in [
        (&b"GRANT SELECT ON TABLE s.t TO \xff;\n"[..], "UTF-8"),
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
    assert_eq!(refused_text(text.as_bytes(), 0..10, "outside ASCII").line, 1);
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
