//! Texts with functions, defaults, checks and indexes of many forms, hostile parts among them: what the check lets pass is
//! restored and every function called, and nothing of the server may show that only its administrator can reach.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use regenesis::database::scratch::{Scratch, ScratchOptions};

use super::fuzz::{Numbers, corpus};
use super::{guarded, scan};

/// What must never be seen: it stands in a file, in names of the catalogue, in a setting, and in another schema's table.
const CANARY: &str = "tweetytweet";

/// Fields of dotted names: columns, names of functions that reach out, and types.
const FIELDS: &[&str] = &[
    "a",
    "a",
    "n",
    "v",
    "q",
    "w",
    "lo_import",
    "lo_import",
    "pg_read_file",
    "pg_read_file",
    "pg_ls_dir",
    "pg_stat_file",
    "lo_get",
    "\"lo_import\"",
    "LO_IMPORT",
    "U&\"lo_\\0069mport\"",
    "text",
    "length",
    "lower",
    "ctid",
    "xmin",
    "tableoid",
    "regclass",
    "regrole",
    "xml",
    "current_setting",
];
/// Functions that show by a dotted name.
const THEMES: &[&str] = &["lo_import", "pg_read_file", "\"pg_read_file\"", "v"];
/// Names of what a query reads.
const ALIASES: &[&str] = &["q", "q", "r", "w", "t", "g", "lo_import", "pg_read_file"];

/// Parts that reach out, of the type text.
const HOSTILE: &[&str] = &[
    "pg_read_file(PATH)",
    "pg_catalog.pg_read_file(PATH)",
    "\"pg_read_file\"(PATH)",
    "PG_READ_FILE(PATH)",
    "encode(pg_read_binary_file(PATH), 'escape')",
    "lo_import(PATH)::text",
    "lo_export(1, MARK)::text",
    "(SELECT string_agg(x, '') FROM pg_ls_dir('.') AS x)",
    "pg_stat_file(PATH)::text",
    "current_setting('canary.x')",
    "set_config('search_path', 'x', false)",
    "(SELECT string_agg(rolname, ' ') FROM pg_authid)",
    "(SELECT string_agg(rolname, ' ') FROM pg_catalog.pg_roles)",
    "(SELECT string_agg(a, ' ') FROM ds_y.t)",
    "(SELECT max(relname::text) FROM pg_class)",
    "(SELECT string_agg(table_name, ' ') FROM information_schema.tables)",
    "(TABLE pg_authid LIMIT 1)::text",
    "16385::regrole::text",
    "10::oid::regrole::text",
    "16384::regclass::text",
    "(SELECT string_agg(q::regclass::text, ' ') FROM generate_series(16384, 16500) AS q)",
    "query_to_xml('SELECT rolname FROM pg_authid', true, true, '')::text",
    "table_to_xml('pg_authid', true, true, '')::text",
    "database_to_xml(true, true, '')::text",
    "xmlparse(DOCUMENT '<a/>')::text",
    "XMLELEMENT(NAME a, 'x')::text",
    "public.dblink('hostaddr=127.0.0.1 port=ITSPORT', 'SELECT 1')::text",
    "dblink_connect('hostaddr=127.0.0.1 port=ITSPORT')",
    "CURRENT_USER::text",
    "version()",
    "now()::text",
    "(PATH::text).lo_import::text",
    "(ARRAY[PATH])[1].lo_import",
    "ROW(PATH).f1",
    "(q).lo_import::text",
    "pg_get_functiondef(1)",
    "obj_description(1)",
    "txid_current()::text",
    "pg_reload_conf()::text",
    "has_table_privilege('pg_authid', 'SELECT')::text",
    "col_description(1, 1)",
    "pg_relation_filepath('pg_class')",
    "inet_server_port()::text",
    "to_regrole('CANARY')::text",
    "format_type(16385, 1)",
    "ts_stat('SELECT 1')::text",
    "json_populate_record(NULL::pg_authid, '{}')::text",
    "pg_typeof(PATH)::text",
    "quote_literal(PATH) || pg_backend_pid()",
    "convert_from(pg_read_binary_file(PATH), 'UTF8')",
    "format('%s', pg_ls_dir('.'))",
    "lower(pg_read_file(PATH))",
];

/// Whole statements of a body that reach out.
const HOSTILE_STATEMENTS: &[&str] = &[
    "COPY ds_x.t FROM PATH;",
    "COPY ds_x.t TO PROGRAM 'touch MARKFILE';",
    "-- x\rCOPY ds_x.t FROM PATH;\n",
    "EXECUTE 'COPY ds_x.t FROM PROGRAM ''touch MARKFILE''';",
    "EXECUTE format('SELECT lo_import(%L)', PATH);",
    "EXECUTE format('SELECT * FROM ds_%I.%I(); SELECT lo_import(%L)', a, a, PATH);",
    "EXECUTE format('SELECT * FROM ds_%I.%I($1)', 'x', 'g') INTO x USING lo_import(PATH);",
    "EXECUTE format('SELECT * FROM ds_%I.%I($1)', 'x', 'g') INTO x USING a;",
    "EXECUTE format('SELECT ds_%I.%I($1)', 'y', 'leak') INTO x USING a;",
    "SET LOCAL search_path = pg_catalog;",
    "SET ROLE postgres;",
    "PERFORM lo_import(PATH);",
    "CREATE TABLE ds_x.z AS SELECT * FROM pg_authid;",
    "DO $x$BEGIN PERFORM lo_import(PATH); END$x$;",
    "INSERT INTO ds_x.t (a) SELECT rolname FROM pg_authid;",
    "INSERT INTO ds_y.t (a) VALUES (a);",
    "UPDATE pg_authid SET rolname = 'x';",
    "DELETE FROM ds_y.t;",
    "LOAD PATH;",
    "NOTIFY x;",
    "GET DIAGNOSTICS x = PG_CONTEXT;",
    "CALL ds_x.p();",
    "ALTER SYSTEM SET archive_command = 'touch MARKFILE';",
    "OPEN c FOR SELECT 1;",
    "SELECT a INTO STRICT x FROM pg_file_settings;",
    "TRUNCATE ds_y.t;",
    "MERGE INTO ds_x.t AS q USING pg_authid AS r ON true WHEN NOT MATCHED THEN INSERT (a) VALUES (r.rolname);",
    "BEGIN PERFORM lo_import(PATH); END;",
    "WITH w AS (INSERT INTO ds_y.t (a) VALUES ('x') RETURNING a) SELECT w.a INTO x FROM w;",
];

/// Types of variables and arguments.
const TYPES: &[&str] = &[
    "text",
    "text",
    "text",
    "text",
    "text[]",
    "bigint",
    "numeric(10,2)",
    "bytea",
    "uuid",
    "uint256",
    "public.uint256",
    "record",
    "regclass",
    "regrole",
    "pg_authid",
    "ds_x.t",
    "ds_y.t",
    "xml",
    "oid",
    "name",
];

/// Texts from numbers.
struct Texts<'n> {
    numbers: &'n mut Numbers,
    /// One part in so many is hostile.
    one_in: usize,
    /// A field that this text names often: what is declared in one place is then used in another.
    theme: &'static str,
    /// What may be named by a dotted name, the innermost query's last.
    aliases: Vec<String>,
}

impl Texts<'_> {
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.numbers.pick(from)
    }

    fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n)
    }

    fn field(&mut self) -> &'static str {
        if self.below(2) == 0 { self.theme } else { self.pick(FIELDS) }
    }

    /// An expression of the type text; `query`: where a query may stand.
    fn text(&mut self, depth: usize, query: bool) -> String {
        if self.below(self.one_in) == 0 {
            return self.pick(HOSTILE).to_owned();
        }
        let d = depth.saturating_sub(1);
        match if depth == 0 { self.below(5) } else { self.below(if query { 20 } else { 14 }) } {
            0 => "PATH".to_owned(),
            1 => "'x'::text".to_owned(),
            2 => "a".to_owned(),
            3 | 4 => self.dotted(query),
            5 => format!("({} || {})", self.text(d, query), self.text(d, query)),
            6 => format!(
                "{}({})",
                self.pick(&["lower", "btrim", "md5", "pg_catalog.upper", "concat", "reverse"]),
                self.text(d, query)
            ),
            7 => format!(
                "CASE WHEN {} = {} THEN {} ELSE {} END",
                self.text(0, query),
                self.text(d, query),
                self.text(d, query),
                self.text(d, query)
            ),
            8 => format!("COALESCE({}, {})", self.text(d, query), self.text(d, query)),
            9 => format!("(ARRAY[{}])[1]", self.text(d, query)),
            10 => format!("format('%s', {})", self.text(d, query)),
            11 => format!(
                "({})::{}",
                self.text(d, query),
                self.pick(&["text", "varchar", "text", "regclass", "name", "xml"])
            ),
            12 => format!("encode(convert_to({}, 'UTF8'), 'escape')", self.text(d, query)),
            13 => format!("NULLIF({}, 'y')", self.text(d, query)),
            14 | 15 => format!("ds_x.{}({})", self.pick(&["g", "g", "h", "f"]), self.text(d, query)),
            16 => format!("array_to_string(ARRAY({}), ',')", self.query(d)),
            _ => format!("({} LIMIT 1)", self.query(d)),
        }
    }

    fn dotted(&mut self, query: bool) -> String {
        if !query || self.aliases.is_empty() {
            return "a".to_owned();
        }
        let alias = match self.below(4) {
            0 => self.pick(ALIASES).to_owned(),
            _ => {
                let at = self.below(self.aliases.len());
                self.aliases[at].clone()
            }
        };
        let field = self.field();
        match self.below(8) {
            0 => format!("({alias}).{field}::text"),
            1 => format!("ds_x.{alias}.{field}::text"),
            2 => format!("{alias}::text"),
            _ => format!("{alias}.{field}::text"),
        }
    }

    /// What a query reads; its names are noted.
    fn from(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        let alias = self.pick(ALIASES);
        let columns = match self.below(5) {
            0 => format!("({})", self.field()),
            _ => String::new(),
        };
        let item = match if depth == 0 { self.below(9) } else { self.below(14) } {
            0 | 1 => "ds_x.t".to_owned(),
            2 | 3 => format!("unnest(ARRAY[{}])", self.text(0, true)),
            4 | 7 | 8 => format!("ds_x.{}({})", self.pick(&["g", "h"]), self.text(0, true)),
            5 => format!("COALESCE({}, 'x')", self.text(0, true)),
            6 => self
                .pick(&[
                    "w",
                    "pg_authid",
                    "ds_y.t",
                    "CAST(PATH AS text)",
                    "current_setting('ctx.x')",
                    "generate_series(1, 2)",
                ])
                .to_owned(),
            9 => format!("({})", self.query(d)),
            10 => format!("LATERAL ({})", self.query(d)),
            11 => format!("ROWS FROM (unnest(ARRAY[{}]))", self.text(d, true)),
            12 => format!("string_to_table({}, ',')", self.text(d, true)),
            _ => {
                let (left, right) = (self.from(d), self.from(d));
                return format!("{left} {} {right}", self.pick(&["CROSS JOIN", "NATURAL JOIN"]));
            }
        };
        let ordinal = if self.below(20) == 0 { " WITH ORDINALITY" } else { "" };
        let as_alias = match self.below(12) {
            0 => String::new(),
            _ => {
                self.aliases.push(alias.to_owned());
                format!(" AS {alias}{columns}")
            }
        };
        format!("{item}{ordinal}{as_alias}")
    }

    fn query(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        let outside = self.aliases.len();
        let with = if self.below(5) == 0 {
            format!("WITH {}w AS ({}) ", self.pick(&["", "RECURSIVE "]), self.query(d.min(1)))
        } else {
            String::new()
        };
        let from = if depth == 0 { "ds_x.t AS q".to_owned() } else { self.from(d) };
        let more = if self.below(4) == 0 { format!(", {}", self.from(d)) } else { String::new() };
        if depth == 0 {
            self.aliases.push("q".to_owned());
        }
        let star = self.aliases.last().cloned().unwrap_or_default();
        let target = match self.below(10) {
            0 => format!("{star}.*"),
            1 => format!("string_agg({}, ',' ORDER BY {})", self.text(d, true), self.text(0, true)),
            2 => format!(
                "first_value({}) OVER (PARTITION BY {} ORDER BY {})",
                self.text(d, true),
                self.text(0, true),
                self.text(0, true)
            ),
            _ => self.text(d, true),
        };
        let label = match self.below(3) {
            0 => format!(" AS {}", self.field()),
            _ => String::new(),
        };
        let filter = match self.below(6) {
            0 => format!(" WHERE {} IS NOT NULL", self.text(d, true)),
            1 => format!(" WHERE EXISTS ({})", self.query(d.min(1))),
            2 => format!(" ORDER BY {}", self.text(d, true)),
            3 => format!(" GROUP BY {} HAVING {} <> 'x'", self.text(0, true), self.text(d, true)),
            _ => String::new(),
        };
        let union =
            if self.below(8) == 0 { format!(" UNION ALL SELECT {}", self.text(0, false)) } else { String::new() };
        self.aliases.truncate(outside);
        format!("{with}SELECT {target}{label} FROM {from}{more}{filter}{union}")
    }

    fn statement(&mut self) -> String {
        if self.below(self.one_in) == 0 {
            return self.pick(HOSTILE_STATEMENTS).to_owned();
        }
        self.aliases.clear();
        match self.below(20) {
            // One dotted name of one thing.
            14.. => {
                let depth = self.below(2);
                let from = self.from(depth);
                format!("RETURN QUERY SELECT {} FROM {from};", self.dotted(true))
            }
            0 => format!("x := {};", self.text(3, true)),
            1 => format!("SELECT ({} LIMIT 1) INTO x;", self.query(3)),
            2 => {
                let query = self.query(3);
                self.aliases = vec!["r".to_owned()];
                format!("FOR r IN {query} LOOP x := {}; RETURN NEXT x; END LOOP;", self.text(1, true))
            }
            3 => format!(
                "INSERT INTO ds_x.t AS q (a) VALUES ({}) ON CONFLICT (n) DO UPDATE SET a = {} RETURNING q.{} INTO x;",
                self.text(2, true),
                self.text(1, true),
                self.field()
            ),
            4 => {
                let from = self.from(2);
                format!(
                    "UPDATE ds_x.t SET a = {} FROM {from} WHERE {} IS NOT NULL;",
                    self.text(1, true),
                    self.text(1, true)
                )
            }
            5 => {
                let from = self.from(2);
                format!("DELETE FROM ds_x.t USING {from} WHERE {} = 'never';", self.text(1, true))
            }
            6 => format!("RAISE NOTICE '%', {};", self.text(2, true)),
            7 => format!(
                "IF {} IS NULL THEN x := {}; ELSE RETURN NEXT {}; END IF;",
                self.text(2, true),
                self.text(1, true),
                self.text(2, true)
            ),
            8 => format!("FOREACH x IN ARRAY ARRAY[{}] LOOP RETURN NEXT x; END LOOP;", self.text(2, true)),
            9 => format!("PERFORM set_config('ctx.x', {}, true);", self.text(2, true)),
            10 => format!("l[length({})] := {};", self.text(1, true), self.text(1, true)),
            11 => format!(
                "FOR i IN 1..length({}) LOOP x := x; EXIT WHEN {} IS NOT NULL; END LOOP;",
                self.text(1, true),
                self.text(0, true)
            ),
            12 => format!("PERFORM {};", self.text(3, true)),
            _ => format!("RETURN QUERY {};", self.query(3)),
        }
    }

    /// A helper whose result other bodies read by a dotted name.
    fn helper(&mut self, name: &str) -> String {
        let field = self.field();
        let (arguments, returns) = match self.below(12) {
            0 | 10 | 11 => ("a text".to_owned(), "text".to_owned()),
            1 => (format!("a text, OUT {field} text"), "text".to_owned()),
            2 => ("a text".to_owned(), format!("TABLE({field} text)")),
            3 => (format!("VARIADIC {field} text[]"), "text".to_owned()),
            4 => (format!("INOUT {field} text"), "text".to_owned()),
            5 => (format!("a text, OUT {field} text, OUT v text"), "record".to_owned()),
            6 => ("a text".to_owned(), "SETOF text".to_owned()),
            7 => (String::new(), format!("TABLE({field} text)")),
            8 => (format!("a bigint, OUT {field} text"), "text".to_owned()),
            _ => ("a bigint".to_owned(), format!("TABLE({field} text, v text)")),
        };
        let body = match returns.as_str() {
            "text" if arguments == "a text" => "RETURN a;".to_owned(),
            "text" if arguments.starts_with("VARIADIC") => "RETURN PATH;".to_owned(),
            "SETOF text" => "RETURN NEXT a;".to_owned(),
            returns if returns.starts_with("TABLE") => format!("{field} := PATH; RETURN NEXT;"),
            _ => format!("{field} := PATH;"),
        };
        format!(
            "CREATE FUNCTION ds_x.{name}({arguments}) RETURNS {returns}\n    LANGUAGE plpgsql\n    AS $_$BEGIN {body} END;$_$;\n"
        )
    }

    fn whole(&mut self) -> String {
        let mut text = String::from("CREATE SCHEMA ds_x;\nCREATE SCHEMA ds_y;\n");
        text.push_str(&self.helper("g"));
        for name in ["g", "h"] {
            if self.below(2) == 0 {
                text.push_str(&self.helper(name));
            }
        }
        let option = self.pick(&["", "", "\n#variable_conflict use_column\n"]);
        let kind = if self.below(3) == 0 { self.pick(TYPES) } else { "text" };
        let mut body = format!("{option}DECLARE r RECORD; x text; l text[]; v {kind};\nBEGIN\n");
        for _ in 0..=self.below(2) {
            body.push_str(&self.statement());
            body.push('\n');
        }
        text.push_str(&format!(
            "CREATE FUNCTION ds_x.f(a text) RETURNS SETOF text\n    LANGUAGE plpgsql\n    AS $_${body}RETURN NEXT x; RETURN NEXT v::text; END;$_$;\n"
        ));
        let mut more = String::new();
        if self.below(4) == 0 {
            more.push_str(&format!(",\n    d text DEFAULT {}", self.text(2, false)).replace(" a ", " 'x' "));
        }
        if self.below(4) == 0 {
            more.push_str(&format!(",\n    CONSTRAINT k CHECK (({} IS NOT NULL))", self.text(2, false)));
        }
        text.push_str(&format!("CREATE TABLE ds_x.t (\n    a text,\n    n bigint{more}\n);\n"));
        text.push_str("CREATE TABLE ds_y.t (\n    a text\n);\n");
        if self.below(4) == 0 {
            text.push_str(&format!("CREATE INDEX i ON ds_x.t USING btree (({}));\n", self.text(2, false)));
        }
        if self.below(30) == 0 {
            text.push_str(&format!("CREATE VIEW ds_x.v AS {};\n", self.query(2)));
        }
        text
    }
}

/// What must show when a text reaches out: a file, a program's mark, a port, names and values.
struct Place {
    directory: tempfile::TempDir,
    port: u16,
    /// Connections to it.
    calls: Arc<AtomicUsize>,
    server: Scratch,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("scan").tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(directory.path().join("file"), CANARY).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        // Until this process ends. Who connects is counted and cut off.
        thread::spawn(move || {
            while listener.accept().is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let options = ScratchOptions {
            parameters: vec![("canary.x".to_owned(), CANARY.to_owned())],
            ..ScratchOptions::default()
        };
        let server = Scratch::start(options).unwrap();
        Place { directory, port, calls, server }
    }

    fn database(&self) -> &'static str {
        self.server.create_database("d").unwrap();
        let setup = format!(
            "CREATE ROLE {CANARY}; CREATE TABLE public.{CANARY} (a text); CREATE EXTENSION dblink; CREATE EXTENSION pgcrypto; \
             CREATE DOMAIN public.uint256 AS numeric(78,0) CHECK (VALUE >= 0) CHECK (scale(VALUE) = 0)"
        );
        self.server.query("d", &setup).unwrap();
        "d"
    }

    /// The places where a text means them.
    fn fill(&self, text: &str) -> String {
        let file = self.directory.path().join("file").display().to_string();
        let mark = self.directory.path().join("mark").display().to_string();
        let port = self.port.to_string();
        text.replace("PATH", &format!("'{file}'"))
            .replace("MARKFILE", &mark)
            .replace("MARK", &format!("'{mark}'"))
            .replace("ITSPORT", &port)
            .replace("CANARY", CANARY)
    }

    /// Whether anything was reached, and what.
    fn reached(&self, said: &str) -> Option<String> {
        if let Some(line) = said.lines().find(|line| line.contains(CANARY)) {
            return Some(format!("it says {line}"));
        }
        if fs::read_dir(self.directory.path()).unwrap().count() != 1 {
            return Some("a file was made".to_owned());
        }
        if self.calls.swap(0, Ordering::SeqCst) > 0 {
            return Some("the port was connected to".to_owned());
        }
        let objects = self.server.query("d", "SELECT count(*) FROM pg_largeobject_metadata").unwrap();
        (objects.trim() != "0").then(|| "a large object was made".to_owned())
    }

    /// Takes away what shows that something was reached.
    fn forget(&self) {
        let _ = fs::remove_file(self.directory.path().join("mark"));
        self.server.query("d", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata").unwrap();
        self.calls.store(0, Ordering::SeqCst);
    }

    /// Runs texts behind the guard, then calls what they made; gives all that was said. A text that fails does not end psql
    /// here, so that many go through one.
    fn run(&self, texts: &[String]) -> String {
        let drop =
            "SET client_min_messages = error; DROP SCHEMA IF EXISTS ds_x, ds_y, kwild_voting CASCADE; RESET ALL;\n";
        let mut all = String::new();
        for text in texts {
            all.push_str(&text.replace("\\set ON_ERROR_STOP on", "\\set ON_ERROR_STOP off"));
            all.push_str("RESET ALL; SET ctx.x = 'x'; SET statement_timeout = '2s';\n");
            // Not as it is: psql shows the line of a statement that fails.
            let hidden: String = CANARY.chars().rev().collect();
            all.push_str(&format!("INSERT INTO ds_y.t (a) VALUES (reverse('{hidden}'));\n"));
            all.push_str(
                "INSERT INTO ds_x.t (a, n) VALUES (PATH, 1);\nSELECT 'called', * FROM ds_x.f(PATH) LIMIT 100;\n",
            );
            all.push_str("SELECT * FROM ds_x.h(PATH) LIMIT 9;\nTABLE ds_x.t;\n");
            all.push_str(drop);
        }
        self.restore(&self.fill(&all))
    }

    fn restore(&self, text: &str) -> String {
        super::restore_on(&self.server, "d", text).1
    }
}

/// Texts of a run of psql.
const BATCH: usize = 100;

/// Runs all; where something is reached, each alone, to name it.
fn nothing_is_reached(place: &Place, texts: &[String]) -> usize {
    let mut called = 0;
    for batch in texts.chunks(BATCH) {
        let said = place.run(batch);
        called += said.lines().filter(|line| line.contains("called")).count();
        if place.reached(&said).is_none() {
            continue;
        }
        place.forget();
        for text in batch {
            let said = place.run(std::slice::from_ref(text));
            if let Some(what) = place.reached(&said) {
                panic!("{what}:\n{text}");
            }
        }
        panic!("reached by several texts together");
    }
    called
}

#[test]
fn what_passes_reaches_nothing() {
    let wanted = std::env::var("REGENESIS_FUZZ_TEXTS").map_or(400, |n| n.parse::<usize>().unwrap());
    let seed = std::env::var("REGENESIS_FUZZ_SEED").map_or(5, |n| n.parse().unwrap());
    let place = Place::new();
    place.database();
    let mut numbers = Numbers::new(seed);
    let (mut texts, mut refused) = (Vec::new(), 0);
    while texts.len() < wanted {
        let theme = numbers.pick(THEMES);
        let mut generator = Texts { numbers: &mut numbers, one_in: 60, theme, aliases: Vec::new() };
        let text = place.fill(&guarded(&generator.whole()));
        match scan(&text) {
            Ok(_) => texts.push(text),
            Err(_) => refused += 1,
        }
    }
    let called = nothing_is_reached(&place, &texts);
    assert!(refused > wanted / 4, "{refused}");
    // Enough of them run to their end for the rest to mean something.
    assert!(called > wanted / 10, "only {called} of {wanted} functions gave an answer; {refused} texts were refused");
}

/// The hostile parts do reach what they name where nothing checks them, and the check refuses each.
#[test]
fn what_is_hostile_is_seen_and_refused() {
    let place = Place::new();
    place.database();
    let mut seen = 0;
    for part in HOSTILE {
        let body = format!("DECLARE x text; BEGIN x := {part}; RETURN NEXT x; END;");
        let text = place.fill(&one_function(&body));
        assert!(scan(&text).is_err(), "{part}");
        let said = place.run(std::slice::from_ref(&text));
        if place.reached(&said).is_some() {
            seen += 1;
            place.forget();
        }
    }
    assert!(seen > 12, "only {seen} are seen");
}

fn one_function(body: &str) -> String {
    guarded(&format!(
        "CREATE SCHEMA ds_x;\nCREATE SCHEMA ds_y;\n\
         CREATE FUNCTION ds_x.f(a text) RETURNS SETOF text\n    LANGUAGE plpgsql\n    AS $_${body}$_$;\n\
         CREATE TABLE ds_x.t (\n    a text,\n    n bigint\n);\nCREATE TABLE ds_y.t (\n    a text\n);\n"
    ))
}

/// Texts that reached out once; those that pass now are run.
#[test]
fn what_once_reached_out_reaches_nothing() {
    let place = Place::new();
    place.database();
    let mut passed = Vec::new();
    for text in corpus("hostile") {
        let text = place.fill(&guarded(std::str::from_utf8(&text).unwrap()));
        if scan(&text).is_ok() {
            passed.push(text);
        }
    }
    nothing_is_reached(&place, &passed);
}
