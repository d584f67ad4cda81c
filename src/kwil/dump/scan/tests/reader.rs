//! A second reader of SQL text, simple and written apart from the scanner: which statements psql would send.

/// The kinds of statements that a Kwil dump consists of, by their first words.
const KINDS: &[&str] = &[
    "ALTER DEFAULT",
    "ALTER SEQUENCE",
    "ALTER TABLE",
    "BEGIN",
    "COMMIT",
    "COPY",
    "CREATE FUNCTION",
    "CREATE INDEX",
    "CREATE SCHEMA",
    "CREATE SEQUENCE",
    "CREATE TABLE",
    "CREATE TYPE",
    "CREATE UNIQUE",
    "CREATE VIEW",
    "GRANT",
    "REVOKE",
    "SELECT pg_catalog",
    "UPDATE kwild_voting",
];

/// First words of each statement and psql command of the text; rows are passed over.
pub(super) fn statements(text: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([' ', '\n', '\t']);
        if rest.is_empty() {
            return found;
        }
        let end = if rest.starts_with('\\') { rest.find('\n').unwrap_or(rest.len()) } else { statement_end(rest) };
        let (statement, after) = rest.split_at(end);
        found.push(statement.to_owned());
        rest = after;
        // Lines may end within it, as everywhere between words.
        let words = statement.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
        if words.starts_with("COPY ") && words.ends_with("FROM STDIN;") {
            let at = after.find("\n\\.\n").map_or(after.len(), |at| at + 4);
            rest = &after[at..];
        }
    }
}

/// Where the statement's semicolon stands: outside quotes, bodies and parentheses.
fn statement_end(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(letter) = text[at..].chars().next() {
        let after = &text[at + letter.len_utf8()..];
        let skipped = match letter {
            '\'' | '"' => after.find(letter).map(|end| end + 1),
            '$' => after.find('$').and_then(|tag| {
                let delimiter = &text[at..at + tag + 2];
                after[tag + 1..].find(delimiter).map(|end| tag + 1 + end + delimiter.len())
            }),
            _ => Some(0),
        };
        at += letter.len_utf8();
        match (letter, skipped) {
            (_, None) => return text.len(),
            (';', _) if depth == 0 => return at,
            ('(', _) => depth += 1,
            (')', _) => depth -= 1,
            (_, Some(length)) => at += length,
        }
    }
    text.len()
}

/// The first statement that no dump holds.
pub(super) fn foreign(text: &str) -> Option<String> {
    statements(text).into_iter().find(|statement| {
        if statement.starts_with('\\') {
            return !(statement.starts_with("\\restrict ") || statement.starts_with("\\unrestrict "));
        }
        let head: String = statement
            .split(['\n', ' ', '\t', '.', ';'])
            .filter(|w| !w.is_empty())
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let known = |kind: &&str| {
            head.get(..kind.len()).is_some_and(|h| h.eq_ignore_ascii_case(kind))
                && head[kind.len()..].chars().next().is_none_or(|c| c == ' ')
        };
        !KINDS.iter().any(known)
    })
}

#[test]
fn the_reader_tells_statements_apart() {
    let text = "CREATE TABLE s.t (a text DEFAULT '; DROP'::text);\nCOPY s.t (a) FROM stdin;\nDROP; x\n\\.\n\\restrict a\nDROP TABLE x;\n";
    let kinds: Vec<String> = statements(text).iter().map(|s| s[..4].to_owned()).collect();
    assert_eq!(kinds, ["CREA", "COPY", "\\res", "DROP"]);
    assert_eq!(foreign(text).unwrap(), "DROP TABLE x;");
    assert_eq!(foreign("COPY\ns.t (a) FROM\n stdin;\nDROP; x\n\\.\nBEGIN;"), None);
    assert_eq!(
        foreign("SELECT pg_catalog.setval('a', 1, true);\nSELECT pg_read_file('x');").unwrap(),
        "SELECT pg_read_file('x');"
    );
    assert_eq!(foreign("CREATE FUNCTION a.b() AS $_$ x; $$ ; $_$;\nGRANT a ON TABLE b TO c;"), None);
}
