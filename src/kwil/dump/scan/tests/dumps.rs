//! Dumps as Kwil could make them, of random tables, rows and bodies: each passes.

use proptest::prelude::*;

use super::*;

const TYPES: &[&str] =
    &["bigint", "boolean", "bytea", "integer", "numeric(78,0)", "numeric(20,5)", "smallint", "text", "uuid", "s.e"];

/// Words of bodies, none of which does what only the server's administrator may.
const BODY: &[&str] = &[
    "BEGIN",
    "END",
    "IF",
    "THEN",
    "ELSE",
    "LOOP",
    "RETURN",
    "NEXT",
    "QUERY",
    "SELECT",
    "INSERT",
    "INTO",
    "UPDATE",
    "DELETE",
    "FROM",
    "WHERE",
    "x",
    "_out_1",
    ":=",
    "=",
    "(",
    ")",
    ";",
    ";\n",
    ",",
    "'it''s; \\! x' ,",
    "'DROP TABLE x' ,",
    "-- DROP; '\n",
    "1",
    "2.5",
    "s.t",
    "::text",
    "$1",
    "||",
    "lower(",
    "RAISE",
    "EXCEPTION",
    "'%' ,",
    "\"Quoted; name\"",
    "\n\n",
    "\t",
    "\r\n",
    "FOUND",
    "NULL",
    "e'\\'; x' ,",
];

#[derive(Debug, Clone)]
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Option<String>>>,
}

fn table() -> impl Strategy<Value = Table> {
    let value =
        prop::option::weighted(0.9, prop_oneof![any::<String>(), "[\\\\\\t\\r\\n.;'\"$! -]{0,6}", "\\\\[.!Nt]{1,3}"]);
    prop::collection::vec(prop::sample::select(TYPES), 0..6).prop_flat_map(move |columns| {
        let row = prop::collection::vec(value.clone(), columns.len());
        prop::collection::vec(row, 0..6).prop_map(move |rows| Table { columns: columns.clone(), rows })
    })
}

/// As COPY writes text.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\0' => {}
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            other => out.push(other),
        }
    }
    out
}

fn dump(tables: &[Table]) -> String {
    let mut text = "CREATE SCHEMA ds_x;\nCREATE SCHEMA kwild_voting;\nCREATE SCHEMA kwild_internal;\n"
        .replace("ds_x", "kwild_engine");
    text.push_str("CREATE SCHEMA s;\nCREATE TYPE s.e AS ENUM (\n    'A',\n    'B'\n);\n");
    for (at, table) in tables.iter().enumerate() {
        let columns: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(n, kind)| format!("    c{n} {kind}{}", if n % 2 == 0 { " NOT NULL" } else { "" }))
            .collect();
        text.push_str(&format!("CREATE TABLE s.\"Table {at}\" (\n{}\n);\n", columns.join(",\n")));
    }
    for (at, table) in tables.iter().enumerate() {
        let names: Vec<String> = (0..table.columns.len()).map(|n| format!("c{n}")).collect();
        let names = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
        text.push_str(&format!("COPY s.\"Table {at}\" {names} FROM stdin;\n"));
        for row in &table.rows {
            let row: Vec<String> = row.iter().map(|v| v.as_deref().map_or("\\N".to_owned(), escaped)).collect();
            text.push_str(&format!("{}\n", row.join("\t")));
        }
        text.push_str("\\.\n");
    }
    text.push_str(END);
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_dump_of_kwils_form_passes(
        tables in prop::collection::vec(table(), 0..5),
        cut in 1usize..200,
    ) {
        let text = dump(&tables);
        let report = scan(text.as_bytes(), cut);
        prop_assert!(report.is_ok(), "{}\n{:?}", text, report);
        let report = report.unwrap();
        let rows: usize = tables.iter().map(|t| t.rows.len()).sum();
        prop_assert_eq!((report.tables, report.rows), (tables.len() as u64, rows as u64));
        prop_assert_eq!(reader::foreign(&text), None);
    }

    /// A body of any words is read or refused, and never more than the statement that it stands in.
    #[test]
    fn a_body_of_any_words_is_one_statement(words in prop::collection::vec(prop::sample::select(BODY), 0..40)) {
        let function = format!(
            "CREATE FUNCTION ds_x.f(a text) RETURNS void\n    LANGUAGE plpgsql\n    AS $_$BEGIN\n{}\nEND;$_$;\n", words.join(" ")
        );
        let text = format!("{SMALL_V09}{function}{END_V09}{END}");
        match scan(text.as_bytes(), 1000) {
            Ok(report) => prop_assert_eq!(report.tables, 1),
            Err(e) => prop_assert_eq!(e.line, SMALL_V09.lines().count() as u64 + 1),
        }
    }
}
