//! Texts written against a statement check, by kind. What cannot be refused by its tree alone is in `tests/server/scan`.

use super::*;

/// Refuses the statements in the body of a function with some variables.
#[track_caller]
fn refused_body(statements: &str, want: &str) {
    refused_v09(&function("t text;\nr RECORD;", statements), want);
}

#[track_caller]
fn passes_body(statements: &str) {
    passes_v09(&function("t text;\nn bigint;\nr RECORD;\nu public.uint256;\nv uint256[];", statements));
}

fn function(declare: &str, statements: &str) -> String {
    format!(
        "CREATE FUNCTION ds_x.f(a text, b bigint, _dbid text, _procedure text) RETURNS void\n    LANGUAGE plpgsql\n    AS $$\n\
         #variable_conflict use_column\nDECLARE\n{declare}\nBEGIN\n{statements}\nEND;\n$$;"
    )
}

#[test]
fn a_carriage_return_ends_a_comment() {
    refused_body("-- nothing\rCOPY (SELECT 1) TO PROGRAM 'id';", "CopyStmt in a body");
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n-- x\rCOPY (SELECT 1) TO PROGRAM 'id';\nEND;\n$$;",
        "CopyStmt in a body",
    );
    passes_body("t := 'a';\r\nt := 'b'; -- c\rt := 'd';");
}

#[test]
fn a_dotted_name_that_calls_a_function() {
    for body in [
        "SELECT q.lo_import INTO t FROM unnest(ARRAY['/etc/passwd'::text]) AS q;",
        "SELECT unnest.lo_import INTO t FROM unnest(ARRAY['/etc/passwd'::text]);",
        "SELECT q.pg_read_file INTO t FROM ds_x.t JOIN unnest(ARRAY[a]) AS q ON true;",
        "SELECT (SELECT q.lo_import) INTO t FROM unnest(ARRAY[a]) AS q;",
        "SELECT x INTO t FROM unnest(ARRAY[a]) AS q, unnest(ARRAY[q.lo_import]) AS x;",
        "SELECT q.lo_import INTO t FROM upper(a) AS q;",
        "SELECT x.y INTO t FROM unnest(ARRAY[a]) AS q(z), unnest(ARRAY[a]) AS x(z);",
        "DELETE FROM ds_x.t USING unnest(ARRAY[a]) AS q WHERE q.lo_import IS NULL;",
        "UPDATE ds_x.t SET a = q.lo_import FROM unnest(ARRAY[a]) AS q;",
    ] {
        refused_body(body, "which may call the function");
    }
    refused_body("t := ('/etc/passwd'::text).lo_import;", "a field of a value");
    refused_body("t := (a).pg_read_file;", "a field of a value");
    refused_body("t := (SELECT 'x'::text).lo_import;", "a field of a value");
    // Of a table it must be a column, and of a function a field, that the text declares, even if only further down.
    refused_body("SELECT t.missing INTO t FROM ds_x.t;", "nothing declares");
    refused_body("SELECT z.lo_import INTO t FROM ds_x.t AS z;", "nothing declares");
    refused_body("SELECT q.lo_import INTO t FROM ds_x.g() AS q;", "nothing declares");
    refused_body("SELECT ds_x.t.lo_import INTO t FROM ds_x.t;", "nothing declares");
    refused_body(
        "INSERT INTO ds_x.t (a) VALUES (a) ON CONFLICT (a) DO UPDATE SET a = excluded.lo_import;",
        "nothing declares",
    );
    passes_body("SELECT t.a, z.n INTO t, n FROM ds_x.t JOIN ds_x.t AS z ON z.n = t.n WHERE ds_x.t.a = a;");
    passes_body("SELECT q.q, w.x INTO t, n FROM unnest(ARRAY[a]) AS q, unnest(ARRAY[b]) AS w(x);");
    passes_body("FOR r IN SELECT a, count(*) AS date FROM ds_x.t GROUP BY a LOOP t := r.a; n := r.date; END LOOP;");
    passes_v09(&format!(
        "{}\nCREATE FUNCTION ds_x.g() RETURNS TABLE(note text)\n    LANGUAGE plpgsql\n    AS $$\nBEGIN\nRETURN QUERY SELECT a FROM ds_x.t;\nEND;\n$$;",
        function("t text;", "SELECT q.note INTO t FROM ds_x.g() AS q;")
    ));
}

#[test]
fn the_head_of_a_body() {
    for declare in [
        "r record := pg_read_file('x');",
        "t text DEFAULT pg_read_file('x');",
        "t text = 'x';",
        "c CURSOR FOR SELECT 1;",
        "t ds_x.u%TYPE;",
        "t ALIAS FOR $1;",
        "t text COLLATE \"C\";",
        "<<l>> t text;",
    ] {
        refused_v09(&function(declare, "NULL;"), "DECLARE");
    }
    let plain = function("t text;", "NULL;");
    for (option, want) in [
        ("#option dump", "before the body's BEGIN"),
        ("#print_strict_params on", "before the body's BEGIN"),
        ("#variable_conflict use_column\n#option dump", "before the body's BEGIN"),
        ("/* x */ #option dump", "before the body's BEGIN"),
        ("-- x\r#option dump", "before the body's BEGIN"),
    ] {
        refused_v09(&plain.replace("#variable_conflict use_column", option), want);
    }
    refused_body("DECLARE z record := pg_read_file(a); BEGIN NULL; END;", "a block inside of a block");
    refused_body("BEGIN NULL; EXCEPTION WHEN others THEN NULL; END;", "a block inside of a block");
}

#[test]
fn a_body_outside_of_its_own_schema() {
    for body in [
        "DELETE FROM kwild_voting.voters;",
        "INSERT INTO ds_y.t VALUES (1);",
        "UPDATE kwild_accts.accounts SET balance = '1';",
        "DELETE FROM kwild_internal.kwil_schemas;",
        "INSERT INTO t VALUES (1);",
        "WITH t AS (SELECT 1) DELETE FROM t;",
    ] {
        refused_body(body, "writes outside of its own schema");
    }
    for body in [
        "SELECT x INTO t FROM ds_y.u;",
        "SELECT name INTO t FROM kwild_voting.voters;",
        "SELECT name INTO t FROM kwild_internal.procedures;",
        "DELETE FROM ds_x.t USING ds_y.u;",
        "SELECT a INTO t FROM ds_x.t WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_authid);",
    ] {
        refused_body(body, "outside of the function's own schema");
    }
    refused_body("PERFORM ds_y.g();", "a call of the function ds_y.g");
    refused_body("PERFORM kwild_voting.insert_resolution(NULL, NULL, NULL, NULL, NULL);", "a call of the function");
}

#[test]
fn names_of_with_hide_tables_only_where_they_reach() {
    refused_body("SELECT rolname INTO t FROM pg_authid;", "without a schema");
    refused_body("WITH pg_authid AS (SELECT * FROM pg_authid) SELECT 1 INTO t FROM pg_authid;", "without a schema");
    refused_body("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT 1 INTO t FROM x;", "without a schema");
    refused_body("SELECT (WITH pg_authid AS (SELECT 1) SELECT 1) INTO t FROM pg_authid;", "without a schema");
    refused_body("WITH x AS (DELETE FROM ds_x.t RETURNING a) SELECT a INTO t FROM x;", "WITH a statement");
    passes_body("WITH pg_class AS (SELECT a FROM ds_x.t) SELECT a INTO t FROM pg_class;");
    passes_body("WITH x AS (SELECT 1 AS k), y AS (SELECT k FROM x) SELECT y.k INTO n FROM y;");
    passes_body(
        "WITH RECURSIVE x AS (SELECT 1 AS k UNION ALL SELECT k + 1 FROM x WHERE k < 9) SELECT max(k) INTO n FROM x;",
    );
}

#[test]
fn statements_and_queries_that_no_procedure_has() {
    for (body, want) in [
        ("SELECT a INTO t FROM ds_x.t FOR UPDATE;", "locking_clause"),
        ("SELECT a INTO t FROM ds_x.t TABLESAMPLE system (1);", "RangeTableSample"),
        ("SELECT x INTO t FROM json_table('[]', '$' COLUMNS (x text));", "JsonTable"),
        ("SELECT xmlparse(content '<a/>') INTO t;", "XmlExpr"),
        ("SELECT x INTO t FROM ROWS FROM (upper(a), lower(a)) AS x;", "several functions"),
        ("SELECT x INTO t FROM upper(a) AS (x text);", "coldeflist"),
        ("MERGE INTO ds_x.t USING (SELECT 1) q ON true WHEN MATCHED THEN DELETE;", "MergeStmt"),
        ("LOCK TABLE ds_x.t;", "LockStmt"),
        ("GET DIAGNOSTICS t = ROW_COUNT;", "PLpgSQL_stmt_getdiag"),
        ("ASSERT true;", "PLpgSQL_stmt_assert"),
        ("LOOP EXIT; END LOOP;", "PLpgSQL_stmt_loop"),
        ("RAISE EXCEPTION 'x' USING MESSAGE = pg_read_file(a);", "options"),
        ("t := current_user;", "SqlvalueFunction"),
        ("t := a OPERATOR(ds_y.||) a;", "the operator"),
        ("t := 'x'::regclass;", "the type regclass"),
        ("t := b'1';", "constant"),
        ("SET ctx.signer = 'x';", "is_local"),
        ("SET LOCAL search_path = 'x';", "search_path"),
        ("t := current_setting('data_directory');", "current_setting"),
        ("t := current_setting(a);", "current_setting"),
        ("PERFORM set_config(a, a, true);", "set_config"),
    ] {
        refused_body(body, want);
    }
    for body in [
        "PERFORM 1; COPY ds_x.t FROM '/etc/passwd';",
        "RAISE NOTICE '%', pg_read_file(a);",
        "IF pg_sleep(9) IS NULL THEN NULL; END IF;",
        "SELECT a INTO t FROM ds_x.t ORDER BY pg_read_file(a);",
        "SELECT a INTO t FROM ds_x.t LIMIT (SELECT pg_sleep(9));",
        "SELECT a INTO t FROM ds_x.t, pg_ls_dir('.') AS l;",
        "SELECT a INTO t FROM ds_x.t GROUP BY a HAVING pg_read_file(a) IS NULL;",
        "SELECT count(*) FILTER (WHERE pg_read_file(a) IS NULL) INTO n FROM ds_x.t;",
        "SELECT sum(n) OVER (PARTITION BY pg_read_file(a)) INTO n FROM ds_x.t;",
        "SELECT DISTINCT ON (pg_read_file(a)) a INTO t FROM ds_x.t;",
        "SELECT a INTO t FROM ds_x.t WHERE a IN (SELECT pg_read_file(a));",
        "INSERT INTO ds_x.t (a) VALUES (a) ON CONFLICT (a) DO UPDATE SET a = pg_read_file(a);",
        "INSERT INTO ds_x.t (a) VALUES (a) RETURNING pg_read_file(a) INTO t;",
        "FOR r IN SELECT pg_read_file(a) LOOP NULL; END LOOP;",
        "FOREACH t IN ARRAY ARRAY[pg_read_file(a)] LOOP NULL; END LOOP;",
        "FOR n IN 1..pg_sleep(1) LOOP NULL; END LOOP;",
        "t := a[pg_sleep(1)];",
        "t := CASE WHEN true THEN pg_read_file(a) END;",
    ] {
        refused_body(body, "");
    }
}

#[test]
fn what_kwils_generator_writes_passes() {
    for body in [
        "EXECUTE format('SELECT * FROM ds_%I.%I($1, $2)', _dbid, _procedure) INTO t USING a, b;",
        "FOR r IN EXECUTE format('SELECT * FROM ds_%I.%I($1)', _dbid, _procedure) USING b LOOP t := r.x; END LOOP;",
        "SET LOCAL ctx.foreign_caller = 'x';\nPERFORM set_config('ctx.foreign_caller', t, true);",
        "IF b > 0 THEN PERFORM error(format('no %s'::TEXT, b::TEXT)); ELSIF b < 0 THEN t := upper(a) || '!'; ELSE NULL; END IF;",
        "FOREACH t IN ARRAY ARRAY['a', 'b'] LOOP CONTINUE; END LOOP;\nPERFORM ds_x.g(a);",
        "FOR n IN 1..10 LOOP EXIT WHEN n > 3; END LOOP;",
        "INSERT INTO ds_x.t (a, n) VALUES (a, b) ON CONFLICT (a) DO UPDATE SET n = excluded.n;",
        "t := 'COPY x FROM PROGRAM'; -- DROP TABLE x\nv[1] := u; u := v[1];",
        "SELECT DISTINCT a INTO t FROM ds_x.t WHERE n BETWEEN 1 AND 2 OR a LIKE 'x%' OR a IS NOT DISTINCT FROM 'y';",
        "SELECT a INTO t FROM ds_x.t WHERE (a, n) IN (SELECT a, n FROM ds_x.t UNION SELECT 'x', 1) LIMIT 1::INT8 OFFSET 2;",
        "RETURN;",
    ] {
        passes_body(body);
    }
}

#[test]
fn rules_that_kwil_does_not_make() {
    let accounts = "CREATE TABLE kwild_accts.accounts (\n    identifier bytea NOT NULL,\n    nonce bigint NOT NULL";
    passes(&format!("{accounts}\n);"));
    refused(
        &format!("{accounts},\n    CONSTRAINT z CHECK ((nonce < '-5'::integer))\n);"),
        "that no version of Kwil makes",
    );
    refused(&format!("{accounts} DEFAULT 5\n);"), "that no version of Kwil makes");
    let table = format!("{accounts}\n);\n");
    for rule in [
        "ALTER TABLE ONLY kwild_accts.accounts ADD CONSTRAINT z UNIQUE (nonce);",
        "ALTER TABLE ONLY kwild_accts.accounts ADD CONSTRAINT z CHECK ((nonce > 5)) NOT VALID;",
        "ALTER TABLE ONLY kwild_accts.accounts ALTER COLUMN nonce SET DEFAULT 1;",
        "ALTER TABLE ONLY kwild_accts.accounts ADD CONSTRAINT z FOREIGN KEY (nonce) REFERENCES s.t(a);",
        "CREATE INDEX z ON kwild_accts.accounts USING btree (((1 / nonce)));",
        "CREATE UNIQUE INDEX z ON kwild_accts.accounts USING btree (nonce);",
    ] {
        refused(&format!("{table}{rule}"), "that no version of Kwil makes");
    }
    passes(&format!("{table}ALTER TABLE ONLY kwild_accts.accounts REPLICA IDENTITY FULL;"));
}

#[test]
fn keys_before_the_rows() {
    let table = "CREATE TABLE s.u (\n    a text\n);\n";
    let rows = "COPY s.u (a) FROM stdin;\nx\n\\.";
    for rule in [
        "ALTER TABLE ONLY s.u ADD CONSTRAINT k PRIMARY KEY (a);",
        "CREATE UNIQUE INDEX i ON s.u USING btree (a);",
        "CREATE INDEX i ON s.u USING btree (lower(a));",
        "ALTER TABLE s.u ADD CONSTRAINT c CHECK ((a > 'x'::text)) NOT VALID;",
    ] {
        refused(&format!("{table}{rule}\n{rows}"), "after its keys");
        passes(&format!("{table}{rows}\n{rule}"));
    }
}

/// Words that a lexer, psql or a catalogue could take for its own: a user's name is a name, whatever it spells.
#[test]
fn names_of_catalogues_keywords_and_commands_are_data() {
    let words = [
        "pg_class",
        "pg_authid",
        "pg_read_file",
        "stdin",
        "stdout",
        "copy",
        "program",
        "voters",
        "select",
        "table",
        "user",
        "begin",
        "commit",
        "end",
        "case",
        "set",
        "restrict",
        "unrestrict",
        "connect",
        "gexec",
        "lo_import",
        "excluded",
        "new",
        "old",
        "current_user",
        "default",
        "check",
        "null",
        "true",
        "json_table",
        "xmlparse",
        "do",
        "execute",
        "format",
        "information_schema",
        "pg_catalog",
        "public",
        "kwild_voting",
        "kwild_engine",
        "nocase",
        "uint256",
        "ctid",
        "merge",
        "a b",
        "a;b",
        "a\nb",
        "a'b",
        "a\"b",
        "$$",
        "--",
        "/*",
        "\\.",
        "\\! id",
        ":x",
        "ü",
        "COPY x FROM stdin;",
    ];
    let quoted = |word: &str| format!("\"{}\"", word.replace('"', "\"\""));
    for word in words {
        // pg_dump writes unreserved words without quotes.
        let plain = [
            "pg_class",
            "pg_authid",
            "pg_read_file",
            "stdin",
            "stdout",
            "copy",
            "program",
            "voters",
            "begin",
            "commit",
            "set",
            "restrict",
            "excluded",
            "new",
            "old",
            "lo_import",
            "execute",
            "format",
            "merge",
            "public",
            "do2",
        ];
        let spellings = [Some(quoted(word)), plain.contains(&word).then(|| word.to_owned())];
        for name in spellings.into_iter().flatten() {
            passes(&format!(
                "CREATE TYPE s.{name} AS ENUM (\n    '{label}'\n);\nCREATE TABLE s.{name} (\n    {name} text DEFAULT '{label}'::text \
                 NOT NULL,\n    k bigint,\n    CONSTRAINT {name} CHECK ((length({name}) > 1))\n);\nALTER TABLE ONLY s.{name} REPLICA \
                 IDENTITY FULL;\nCOPY s.{name} ({name}, k) FROM stdin;\nx\t1\n\\.\nALTER TABLE ONLY s.{name}\n    ADD CONSTRAINT \
                 {name} PRIMARY KEY ({name});\nCREATE INDEX {name} ON s.{name} USING btree (lower({name}));",
                label = word.replace('\'', "''"),
            ));
            // psql looks for the end of a function that is called so in a way of its own.
            if name == "begin" {
                continue;
            }
            passes_v09(&format!(
                "CREATE FUNCTION ds_x.{name}() RETURNS TABLE({name} text)\n    LANGUAGE plpgsql\n    AS $_$\n#variable_conflict \
                 use_column\nBEGIN\nRETURN QUERY SELECT z.{name} FROM ds_x.{name} AS z WHERE {name} IS NOT NULL ORDER BY \
                 {name};\nINSERT INTO ds_x.{name} ({name}) VALUES ('x');\nUPDATE ds_x.{name} SET {name} = 'y';\nEND;\n$_$;\nCREATE \
                 TABLE ds_x.{name} (\n    {name} text\n);\nCOPY ds_x.{name} ({name}) FROM stdin;\n\\."
            ));
        }
    }
    for namespace in ["copy", "select", "pgx", "stdin", "kwild_x", "ds_old", "restrict", "user", "catalog", "gexec"] {
        let text = SMALL.replace("CREATE SCHEMA s;\n", &format!("CREATE SCHEMA s;\nCREATE SCHEMA \"{namespace}\";\n"));
        scan(format!("{text}CREATE TABLE \"{namespace}\".t (\n    a text\n);\n{END}").as_bytes(), 64).unwrap();
    }
}

#[test]
fn nesting_of_any_depth_and_kind_is_an_error_or_read() {
    for (open, middle, close) in [
        ("(", "a", ")"),
        ("abs(", "a", ")"),
        ("ARRAY[", "1", "]"),
        ("CASE WHEN ", "true", " THEN true END"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("", "1", " + 1"),
        ("", "a", " || a"),
        ("", "a", "::text"),
        ("", "a", "[1]"),
        ("", "true", " IS NULL"),
        ("", "true", " AND true"),
        ("", "a", " COLLATE \"C\""),
        ("a = ANY (", "a", ")"),
        ("COALESCE(", "a", ")"),
    ] {
        for times in [40, 300, 450, 1900, 3990, 19_000, 100_000] {
            let deep = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
            let table = format!("CREATE TABLE s.u (a text, CONSTRAINT c CHECK (({deep})));");
            let result = scan(format!("{SMALL}{table}\n{END}").as_bytes(), 1 << 16);
            assert!(times > 40 || result.is_ok(), "{open}{middle}{close}: {result:?}");
            assert!(times < 100_000 || result.is_err(), "{open}{middle}{close}");
        }
    }
    for (open, close) in [("(SELECT ", ")"), ("ARRAY[", "]"), ("(", ")")] {
        for times in [15, 200, 490, 2000, 100_000] {
            let deep = format!("{}1{}", open.repeat(times), close.repeat(times));
            let text = format!("{SMALL_V09}{}\n{END_V09}{END}", function("t text;", &format!("t := {deep};")));
            let result = scan(text.as_bytes(), 1 << 16);
            assert!(times > 15 || result.is_ok(), "{open}{close}: {result:?}");
            assert!(times < 100_000 || result.is_err(), "{open}{close}");
        }
    }
    for times in [20, 1000, 1300, 30_000] {
        let deep = format!("{}NULL;{}", "IF true THEN ".repeat(times), " END IF;".repeat(times));
        let text = format!("{SMALL_V09}{}\n{END_V09}{END}", function("t text;", &deep));
        let result = scan(text.as_bytes(), 1 << 16);
        assert_eq!(result.is_ok(), times == 20, "{result:?}");
    }
}
