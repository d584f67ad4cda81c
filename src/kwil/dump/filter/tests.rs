use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn run(rules: LineRules, dump: &str, cut: usize) -> Result<(String, FilterReport), FilterError> {
    let mut filter = DumpFilter::new(Family::V010, rules);
    let mut out = Vec::new();
    for piece in dump.as_bytes().chunks(cut) {
        filter.push(piece, &mut out)?;
    }
    let report = filter.finish(42, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), report))
}

fn faithful(dump: &str) -> (String, FilterReport) {
    let whole = run(LineRules::Faithful, dump, usize::MAX).unwrap();
    for cut in [1, 2, 3, 7, 64] {
        assert_eq!(run(LineRules::Faithful, dump, cut).unwrap(), whole, "cut {cut}");
    }
    whole
}

fn compat(dump: &str) -> Result<(String, FilterReport), FilterError> {
    let whole = run(LineRules::Compat, dump, usize::MAX);
    for cut in [1, 2, 3, 7, 64] {
        let cut = run(LineRules::Compat, dump, cut);
        assert_eq!(cut.is_ok(), whole.is_ok());
        if let (Ok(cut), Ok(whole)) = (cut, &whole) {
            assert_eq!(cut, *whole);
        }
    }
    whole
}

const UPDATE: &str = "UPDATE kwild_voting.resolutions SET expiration = expiration-42;\n";

/// What the faithful rules make of statements that pass.
fn guarded(statements: &str) -> String {
    format!("{}{statements}{UPDATE}{}", guard::PROLOGUE, guard::EPILOGUE)
}

/// The statements between the guard's lines.
fn inside(text: &str) -> &str {
    text.strip_prefix(guard::PROLOGUE).unwrap().strip_suffix(guard::EPILOGUE).unwrap()
}

#[test]
fn the_published_vector() {
    let dump = "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n\
        SELECT pg_catalog.set_config('search_path', '', false);\n\
        CREATE DATABASE demo WITH TEMPLATE = template0;\n\\connect demo\nSET row_security = off;\n\
        CREATE SCHEMA kwild_voting;\n\n-- c\n\
        CREATE TABLE kwild_voting.voters (\n    id bytea NOT NULL,\n    name bytea NOT NULL,\n    power bigint NOT NULL\n);\n\
        COPY kwild_voting.voters (id, name, power) FROM stdin;\n\
        \\\\x9184e6ff80ac5534bc2255f5089986a2\t\\\\x03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\t1\n\
        \\.\nSELECT pg_catalog.setval(1,2,true);\nALTER TABLE ONLY kwild_voting.voters\n    \
        ADD CONSTRAINT voters_pkey PRIMARY KEY (id);\n";
    let (text, faithful) = faithful(dump);
    for (text, report) in [(inside(&text).to_owned(), faithful), compat(dump).unwrap()] {
        assert_eq!(text.len(), 384);
        assert_eq!(
            hex::encode(Sha256::digest(&text)),
            "f73933c28eaf8f9cad08df8a237ea8febe81010e8f08898e59f572cd6cfa5d7b"
        );
        assert_eq!(report.voters.len(), 1);
        assert_eq!(report.voters[0].power, 1);
        assert_eq!(report.voters[0].name.len(), 32);
        assert_eq!((report.tables, report.rows), (1, 0));
    }
}

const ROWS: &str = "CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\n\n  \n-- no comment\nCOPY s.x (a) FROM stdin;\n-\n \\\\.\n\u{2003}\n\
    SET x\n\\\\restrict abc\n\u{2003}--x\n\u{e9}\n\\.\n\nCOPY s.u (a) FROM stdin;\n\\.\n";

#[test]
fn every_row_passes() {
    let (text, report) = faithful(ROWS);
    assert_eq!(text, guarded(&ROWS.replace("\\.\n\nCOPY", "\\.\nCOPY")));
    assert_eq!((report.rows, report.tables), (11, 2));
    assert_eq!(report.rescued_rows, BTreeMap::from([("s.t".to_owned(), 5)]));
}

#[test]
fn compat_loses_what_kwil_loses() {
    let (text, report) = compat(ROWS).unwrap();
    let want = "CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\nCOPY s.x (a) FROM stdin;\n-\n \\\\.\nSET x\n\\\\restrict abc\n\
        \u{e9}\n\\.\nCOPY s.u (a) FROM stdin;\n\\.\n";
    assert_eq!(text, format!("{want}{UPDATE}"));
    assert_eq!(report.rows, 6);
    assert!(report.rescued_rows.is_empty());
}

const VOTERS_LINE: &str = "COPY kwild_voting.voters (id, name, power) FROM stdin;";

#[test]
fn a_row_like_the_voters_header_is_a_row() {
    let dump = format!("CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\n{VOTERS_LINE}\na\tb\t1\n\\.\n");
    let (text, report) = faithful(&dump);
    assert_eq!(text, guarded(&dump));
    assert!(report.voters.is_empty());
    assert!(matches!(compat(&dump), Err(FilterError::Forgery { line: 3, place: "a row of a table", .. })));
}

#[test]
fn compat_refuses_every_look_alike() {
    for dump in [
        "CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\n \u{3000}COPY kwild_voting.votersFROM stdin;\n\\.\n".to_owned(),
        format!(
            "CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\nCOPY kwild_voting.voters{}FROM stdin;\n\\.\n",
            "x".repeat(500)
        ),
        format!("CREATE TABLE s.t (\n a text DEFAULT 'x\n{VOTERS_LINE}\n'::text\n);\n"),
        format!("CREATE FUNCTION s.f() RETURNS void\n AS $$\n{VOTERS_LINE}\n$$;\n"),
        format!("CREATE TABLE s.\"a\n{VOTERS_LINE}\n\" (\n);\n"),
        "CREATE SCHEMA s;\nCOPY kwild_voting.voters_old (id, name, power) FROM stdin;\n\\.\n".to_owned(),
    ] {
        let error = compat(&dump).unwrap_err();
        assert!(matches!(error, FilterError::Forgery { .. }), "{dump}\n{error}");
        assert_eq!(Error::from(error).kind(), Kind::Refused);
        faithful(&dump);
    }
    // Not a look-alike: Kwil asks for both marks.
    compat("CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\nCOPY kwild_voting.voters TO stdout;\n\\.\n").unwrap();
}

#[test]
fn literals_and_bodies_pass_whole() {
    let dump = concat!(
        "CREATE SCHEMA s;\n",
        "CREATE TABLE s.t (\n    a text DEFAULT 'x\n\n-- y\nCOPY s.t (a) FROM stdin;\n\\.\nSET z; it''s\n'::text,\n",
        "    b text DEFAULT E'\\'\n-- still\n\\\\'::text,\n    \"q\n\n--;\"\"\n\" text\n);\n",
        "CREATE FUNCTION s.f() RETURNS void\n    LANGUAGE plpgsql\n    AS $_$\n\n-- c\n$$;\n\\connect x\n$_$;\n",
    );
    let (text, report) = faithful(dump);
    assert_eq!(text, guarded(dump));
    assert_eq!(report.rescued_lines, BTreeMap::from([("s.t".to_owned(), 5), ("s.f".to_owned(), 2)]));
    assert_eq!((report.tables, report.rows), (0, 0));
}

#[test]
fn a_literal_after_a_word_that_ends_in_e_has_no_escapes() {
    let dump = "CREATE SCHEMA s;\nCREATE TABLE s.t (a text CHECK (a LIKE'\\'));\n\nCREATE SCHEMA z;\n";
    assert_eq!(faithful(dump).0, guarded(&dump.replace("\n\n", "\n")));
}

#[test]
fn blank_and_comment_lines_between_statements_go() {
    let dump = "CREATE SCHEMA s;\n\n-- it's a \"comment\" $$\n/* and /* one */ more; */\nCREATE TABLE s.t (\n\n  -- ';\n  a text\n);\n";
    assert_eq!(faithful(dump).0, guarded("CREATE SCHEMA s;\nCREATE TABLE s.t (\n  a text\n);\n"));
}

#[test]
fn nothing_about_the_database_or_the_token_stays() {
    let dump = "\\restrict abc\nSET a = 1;\nCREATE DATABASE x;\n\\unrestrict abc\n\\connect x\n\\restrict abc\n\
        ALTER DATABASE x CONNECTION LIMIT = 77;\nALTER DATABASE x SET a TO 'b\n\nCREATE SCHEMA bad;\n';\n\
        COMMENT ON DATABASE x IS 'y';\nSECURITY LABEL FOR \"a b\" ON DATABASE x IS 'y';\n\\connect x\nSET b = 1;\n\
        CREATE SCHEMA s;\nREVOKE CONNECT,TEMPORARY ON DATABASE x FROM PUBLIC;\nGRANT CONNECT ON DATABASE \"a\nb\" TO y;\n\
        GRANT SELECT ON TABLE s.database TO y;\n\\unrestrict abc\n";
    let want = format!("CREATE SCHEMA s;\nGRANT SELECT ON TABLE s.database TO y;\n{UPDATE}");
    let (text, report) = faithful(dump);
    assert_eq!(text, guarded("CREATE SCHEMA s;\n"));
    assert_eq!(report.omitted, BTreeMap::from([(Omitted::Privileges, 1)]));
    assert_eq!(compat(dump).unwrap().0, want);
}

#[test]
fn what_is_of_one_machine_or_fails_in_every_restore_stays_out_by_default_only() {
    let schemas = "CREATE SCHEMA kwild_internal;\nCREATE SCHEMA kwild_voting;\n";
    let others = "ALTER DEFAULT PRIVILEGES FOR ROLE x IN SCHEMA s GRANT SELECT ON TABLES TO y;\nREVOKE ALL ON SCHEMA s FROM y;\n\
        GRANT SELECT(a),UPDATE(b) ON TABLE s.t TO y;\nSELECT pg_catalog.lo_create('16');\n\
        ALTER LARGE OBJECT 16 OWNER TO y;\nBEGIN;\nSELECT pg_catalog.lo_open('16', 131072);\n\
        SELECT pg_catalog.lowrite(0, '\\x00');\nSELECT pg_catalog.lo_close(0);\nCOMMIT;\n";
    let key = "ALTER TABLE ONLY kwild_voting.votes\n    ADD CONSTRAINT votes_voter_id_fkey FOREIGN KEY (voter_id) REFERENCES \
        kwild_voting.voters(id) ON DELETE CASCADE;\n";
    let other_key = "ALTER TABLE ONLY kwild_voting.votes\n    ADD CONSTRAINT votes_resolution_id_fkey FOREIGN KEY (resolution_id) \
        REFERENCES kwild_voting.resolutions(id) ON DELETE CASCADE;\n";
    for (row, kept_key) in [("1\n", ""), ("", key)] {
        let votes = format!("COPY kwild_voting.votes (voter_id) FROM stdin;\n{row}\\.\n");
        let dump = format!("{schemas}{others}{votes}{key}{other_key}");
        let (text, report) = faithful(&dump);
        let schemas = "CREATE SCHEMA IF NOT EXISTS kwild_internal;\nCREATE SCHEMA kwild_voting;\n";
        assert_eq!(text, guarded(&format!("{schemas}{votes}{kept_key}{other_key}")));
        let mut omitted = BTreeMap::from([(Omitted::Privileges, 3), (Omitted::LargeObjects, 7)]);
        if !row.is_empty() {
            omitted.insert(Omitted::VotesKey, 1);
        }
        assert_eq!(report.omitted, omitted);
        assert_eq!(report.omitted_notes().count(), omitted.len());
        assert_eq!(compat(&dump).unwrap().0, format!("{dump}{UPDATE}"));
        // It goes through once more as it is.
        let mut again = DumpFilter::of_snapshot(Family::V010);
        let mut out = Vec::new();
        again.push(inside(&text).as_bytes(), &mut out).unwrap();
        assert!(again.finish_snapshot(&mut out).unwrap().omitted.is_empty());
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn many_relations_come_in_batches_and_kwild_voting_in_the_last_one() {
    let table = |schema: &str, n: usize| format!("CREATE TABLE {schema}.t{n} (\n    a bigint\n);\n");
    let tables: Vec<String> = (0..2500).map(|n| table("s", n)).collect();
    let last: String = (0..1200).map(|n| table("kwild_voting", n)).collect();
    let last = format!("CREATE SCHEMA kwild_voting;\n{last}");
    let dump = format!("CREATE SCHEMA s;\n{}{last}", tables.concat());
    // Each counts with its TOAST table, and their schema once.
    let max = (guard::BATCH_RELATIONS_MAX - 1) / 2;
    let batches: Vec<String> = tables.chunks(max).map(<[String]>::concat).collect();
    let want = format!("CREATE SCHEMA s;\n{}{last}", batches.join(guard::NEXT_BATCH));
    // Not printed where it differs: it is long.
    assert!(run(LineRules::Faithful, &dump, 1 << 16).unwrap().0 == guarded(&want));
    assert!(!compat(&dump).unwrap().0.contains("BEGIN"));
}

#[test]
fn the_order_an_operator_gave_a_table_stays_out_by_default_only() {
    let dump = "CREATE TABLE a.t (\n    cluster text\n);\nALTER TABLE a.t CLUSTER ON t_pkey;\nALTER TABLE ONLY a.t REPLICA \
        IDENTITY FULL;\n";
    let (before, after) = dump.split_once("ALTER TABLE a.t CLUSTER ON t_pkey;\n").unwrap();
    assert_eq!(faithful(dump).0, guarded(&format!("{before}{after}")));
    assert_eq!(compat(dump).unwrap().0, format!("{dump}{UPDATE}"));
}

#[test]
fn the_sentry_sequence_stays_out_by_default_only() {
    let dump = "CREATE SCHEMA kwild_internal;\nCREATE SEQUENCE kwild_internal.sentry_seq\n    START WITH 1\n    CACHE 1;\n\
        SELECT pg_catalog.setval('kwild_internal.sentry_seq', 5, true);\n\
        SELECT pg_catalog.setval('kwild_internal.sentry_seq2', 5, true);\n\
        GRANT USAGE ON SEQUENCE kwild_internal.sentry_seq TO x;\n";
    let want = "CREATE SCHEMA IF NOT EXISTS kwild_internal;\n\
        SELECT pg_catalog.setval('kwild_internal.sentry_seq2', 5, true);\n";
    assert_eq!(faithful(dump).0, guarded(want));
    assert_eq!(compat(dump).unwrap().0, format!("{dump}{UPDATE}"));
}

#[test]
fn compat_refuses_to_tear_a_literal_open() {
    for dump in [
        "CREATE TABLE s.t (\n a text DEFAULT 'x\n-- '::text,\n b text\n);\n",
        "CREATE FUNCTION s.f() AS $$\nx\n--$$;\n",
        "CREATE TABLE s.t (\n a text DEFAULT 'x\n-- ', b text DEFAULT '\n);'\n);\n",
    ] {
        assert!(matches!(compat(dump), Err(FilterError::TornLiteral { .. })), "{dump}");
        assert_eq!(faithful(dump).0, guarded(dump));
    }
}

#[test]
fn what_is_no_dump_is_refused_by_name() {
    for (dump, want) in [
        ("CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\nx\n", "inside a COPY block"),
        ("CREATE SCHEMA s;\nCREATE TABLE s.t (\n", "inside a line or statement"),
        ("CREATE SCHEMA s", "inside a line or statement"),
        ("CREATE SCHEMA s; DROP SCHEMA s;\n", "line 1 of the dump: text follows a statement"),
        ("CREATE SCHEMA s;\n\\connect y\n", "line 2 of the dump: a psql command"),
        ("\\! ls\n", "a psql command"),
        ("CREATE SCHEMA s;\nCOPY s.t FROM '/etc/passwd';\n", "another form"),
        ("CREATE SCHEMA s;\nCOPY s.t (a) FROM PROGRAM 'ls';\n", "another form"),
    ] {
        for rules in [LineRules::Faithful, LineRules::Compat] {
            let error = run(rules, dump, 5).unwrap_err().to_string();
            assert!(error.contains(want), "{dump}: {error}");
        }
    }
    let twice = format!("CREATE SCHEMA s;\n{VOTERS_LINE}\n\\.\n{VOTERS_LINE}\n\\.\n");
    assert!(run(LineRules::Faithful, &twice, 9).unwrap_err().to_string().contains("appears twice"));
}

#[test]
fn a_chain_without_blocks_is_refused_unless_kwils_bytes_are_wanted() {
    let mut out = Vec::new();
    let error = DumpFilter::new(Family::V09, LineRules::Faithful).finish(-1, &mut out).unwrap_err();
    assert_eq!(error, FilterError::NoBlocks { height: -1 });
    assert!(out.is_empty());
    DumpFilter::new(Family::V09, LineRules::Compat).finish(-1, &mut out).unwrap();
    assert!(out.ends_with(b"expiration--1;\n"));
    assert!(DumpFilter::new(Family::V09, LineRules::Compat).finish(-2, &mut out).is_err());
}

#[test]
fn a_statement_without_end_is_bounded() {
    let mut filter = DumpFilter::new(Family::V010, LineRules::Faithful);
    let mut out = Vec::new();
    filter.push(b"CREATE TABLE s.t (a text DEFAULT '", &mut out).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let error = (0..20).find_map(|_| filter.push(&piece, &mut out).err()).unwrap();
    assert!(error.to_string().contains("16 MiB"));
}

#[test]
fn a_huge_row_is_not_held() {
    for rules in [LineRules::Faithful, LineRules::Compat] {
        let mut filter = DumpFilter::new(Family::V010, rules);
        let mut out = Vec::new();
        filter.push(b"CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\n", &mut out).unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            out.clear();
            filter.push(&piece, &mut out).unwrap();
            assert_eq!(out.len(), piece.len());
        }
        filter.push(b"\n\\.\n", &mut out).unwrap();
        assert_eq!(filter.finish(1, &mut out).unwrap().rows, 1);
    }
}

/// Text full of what the rules look for.
fn nasty_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\n".to_owned()),
        Just("--".to_owned()),
        Just("\\.".to_owned()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("$$".to_owned()),
        Just(";".to_owned()),
        Just("/*".to_owned()),
        Just("SET ".to_owned()),
        Just(VOTERS_LINE.to_owned()),
        Just("COPY a.b (c) FROM stdin;".to_owned()),
        Just("\u{3000}".to_owned()),
        Just(" ".to_owned()),
        "[a-z\\\\]{0,5}",
    ];
    prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat())
}

/// What pg_dump would write for the text as a COPY field.
fn copy_field(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        nasty_text()
            .prop_map(|t| format!("CREATE TABLE s.t (\n    a text DEFAULT '{}'::text\n);\n", t.replace('\'', "''"))),
        nasty_text().prop_map(|t| {
            format!(
                "CREATE TABLE s.t (\n    a text DEFAULT E'{}'::text\n);\n",
                t.replace('\\', "\\\\").replace('\'', "\\'")
            )
        }),
        nasty_text()
            .prop_map(|t| format!("ALTER TABLE ONLY s.\"x{}\" REPLICA IDENTITY FULL;\n", t.replace('"', "\"\""))),
        nasty_text().prop_map(|t| format!("CREATE FUNCTION s.f() RETURNS void\n    AS $_xq$ {t}$_xq$;\n")),
        prop::collection::vec(nasty_text(), 0..6).prop_map(|rows| {
            let rows: String = rows.iter().map(|r| copy_field(r) + "\n").collect();
            format!("COPY s.t (a) FROM stdin;\n{rows}\\.\n")
        }),
    ]
}

proptest! {
    #[test]
    fn every_byte_of_rows_and_literals_passes_however_cut(
        statements in prop::collection::vec(statement(), 0..12),
        cuts in prop::collection::vec(1usize..40, 1..50),
    ) {
        let text = format!("CREATE SCHEMA s;\n{}", statements.concat());
        // pg_dump's own blank and comment lines between the statements.
        let dump = format!("SET a = 1;\n\nCREATE SCHEMA s;\n\n{}", statements.join("\n--\n-- Name: x\n--\n\n"));
        let mut filter = DumpFilter::new(Family::V010, LineRules::Faithful);
        let mut out = Vec::new();
        let mut rest = dump.as_bytes();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            filter.push(piece, &mut out).unwrap();
            rest = after;
            if rest.is_empty() { break; }
        }
        let report = filter.finish(42, &mut out).unwrap();
        prop_assert_eq!(String::from_utf8(out).unwrap(), guarded(&text));
        prop_assert!(report.voters.is_empty());
        prop_assert_eq!(run(LineRules::Faithful, &dump, usize::MAX).unwrap().1, report);
    }

    #[test]
    fn compat_does_not_depend_on_cuts_and_rescues_are_its_losses(
        rows in prop::collection::vec(nasty_text(), 0..12),
        cut in 1usize..40,
    ) {
        let rows: String = rows.iter().map(|r| copy_field(r) + "\n").collect();
        let dump = format!("CREATE SCHEMA s;\nCOPY s.t (a) FROM stdin;\n{rows}\\.\n");
        let whole = run(LineRules::Compat, &dump, usize::MAX);
        let pieces = run(LineRules::Compat, &dump, cut);
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(&whole, &pieces);
            let report = run(LineRules::Faithful, &dump, cut).unwrap().1;
            let rescued: u64 = report.rescued_rows.values().sum();
            prop_assert_eq!(whole.1.rows + rescued, report.rows);
        }
    }

    #[test]
    fn no_input_panics(dump in nasty_text(), cut in 1usize..9) {
        for rules in [LineRules::Faithful, LineRules::Compat] {
            let _ = run(rules, &dump, cut);
        }
    }
}
