//! What a DBA tuned on one machine: storage parameters, statistics, storage and compression of columns. It changes no row
//! and no rule of a table, and is left out of a snapshot: other machines are tuned by others.

use std::ops::Range;

use crate::dump::{
    sql::{Line, Statement},
    token::{Token, Tokens, qualified_name},
};

/// What is left of a statement without what was tuned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untuned {
    /// The statement as it is: nothing was tuned.
    Same,
    /// Nothing: the statement only tuned.
    Nothing {
        /// The table or index that was tuned.
        object: String,
    },
    /// This text, with its lines.
    Less {
        /// The table or index that was tuned.
        object: String,
        text: Vec<u8>,
        lines: Vec<Line>,
    },
}

/// Takes out of a statement what was tuned.
pub(super) fn untuned(statement: &Statement<'_>) -> Untuned {
    let Ok(text) = std::str::from_utf8(statement.text) else { return Untuned::Same };
    if !may_be_tuned(text) {
        return Untuned::Same;
    }
    let mut reader = Tokens::new(text);
    let mut tokens = Vec::new();
    let mut ends = Vec::new();
    while let Some(token) = reader.next() {
        // What the strict reader stops at is judged elsewhere.
        let Ok(token) = token else { return Untuned::Same };
        tokens.push(token);
        ends.push(reader.position());
    }
    if is_tuning(&tokens) {
        return Untuned::Nothing { object: object_name(&tokens) };
    }
    let Some(options) = options_range(&tokens) else { return Untuned::Same };
    let cut = ends[options.start - 1]..ends[options.end - 1];
    let (text, lines) = without_range(statement, &cut);
    Untuned::Less { object: object_name(&tokens), text, lines }
}

/// Whether a statement may tune anything, by a quick look at its words: most statements do not.
fn may_be_tuned(text: &str) -> bool {
    let begins = ["CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "ALTER ", "CREATE STATISTICS"];
    begins.iter().any(|begin| text.starts_with(begin))
        && [" SET ", "WITH (", "STATISTICS"].iter().any(|word| text.contains(word))
}

/// Whether the whole statement only tunes.
fn is_tuning(tokens: &[Token<'_>]) -> bool {
    let [verb, kind, ..] = tokens else { return false };
    if kind.is("STATISTICS") {
        return verb.is("CREATE") || verb.is("ALTER");
    }
    if !verb.is("ALTER") || !(kind.is("TABLE") || kind.is("INDEX") || kind.is("MATERIALIZED")) {
        return false;
    }
    // ALTER TABLE [ONLY] name ALTER COLUMN name SET what; ALTER INDEX name ALTER COLUMN number SET STATISTICS what.
    let alter = tokens.iter().skip(2).position(|t| t.is("ALTER")).map(|at| at + 2);
    let Some([_, column, _, set, what, ..]) = alter.and_then(|at| tokens.get(at..)) else { return false };
    let tuned = ["STATISTICS", "STORAGE", "COMPRESSION"].iter().any(|word| what.is(word)) || what.is_symbol("(");
    column.is("COLUMN") && set.is("SET") && tuned
}

/// The tokens of `WITH (…)` in a statement that makes a table, an index or a constraint, outside of other parentheses;
/// `None` where there are none.
fn options_range(tokens: &[Token<'_>]) -> Option<Range<usize>> {
    let makes = match tokens {
        [create, kind, ..] if create.is("CREATE") => kind.is("TABLE") || kind.is("INDEX") || kind.is("UNIQUE"),
        [alter, table, rest @ ..] if alter.is("ALTER") && table.is("TABLE") => {
            rest.windows(2).any(|pair| pair[0].is("ADD") && pair[1].is("CONSTRAINT"))
        }
        _ => false,
    };
    if !makes {
        return None;
    }
    let mut depth = 0_usize;
    let mut begins = None;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
            if let Some(begins) = begins.filter(|_| depth == 0) {
                return Some(begins..at + 1);
            }
        } else if depth == 0 && token.is("WITH") && tokens.get(at + 1).is_some_and(|t| t.is_symbol("(")) && at > 0 {
            begins = Some(at);
        }
    }
    None
}

/// The statement's text without a range of its bytes, and where its lines begin then.
fn without_range(statement: &Statement<'_>, cut: &Range<usize>) -> (Vec<u8>, Vec<Line>) {
    let text = [&statement.text[..cut.start], &statement.text[cut.end..]].concat();
    let kept = statement.lines.iter().filter(|line| line.start <= cut.start || line.start > cut.end);
    let shifted =
        |line: &Line| Line { start: if line.start > cut.start { line.start - cut.len() } else { line.start }, ..*line };
    (text, kept.map(shifted).collect())
}

fn object_name(tokens: &[Token<'_>]) -> String {
    // CREATE INDEX name ON table: the table is what matters.
    let from = tokens.iter().position(|t| t.is("ON") || t.is("FROM")).map_or(0, |at| at + 1);
    let named = |from: usize| (from..tokens.len()).find_map(|at| qualified_name(&tokens[at..]));
    let is_index = matches!(tokens, [create, kind, ..] if create.is("CREATE") && !kind.is("TABLE"));
    let name = if is_index { named(from) } else { named(0) };
    name.map_or_else(|| "a table".to_owned(), |name| name.to_string())
}

#[cfg(test)]
mod tests {
    use crate::{
        dump::filter::{DumpFilter, FilterReport, LineRules},
        formats::Family,
    };

    fn filtered(statements: &str, rules: LineRules) -> (String, FilterReport) {
        let mut filter = DumpFilter::new(Family::V010, rules);
        let mut out = Vec::new();
        for byte in format!("CREATE SCHEMA shop;\n{statements}").as_bytes().chunks(1) {
            filter.push(byte, &mut out).unwrap();
        }
        let report = filter.finish(1, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        // Kwil's own rules write no guard.
        let text = text.strip_prefix(crate::dump::guard::PROLOGUE).unwrap_or(&text);
        let text = text.strip_prefix("CREATE SCHEMA shop;\n").unwrap();
        (text.split_once("UPDATE kwild_voting").unwrap().0.to_owned(), report)
    }

    #[test]
    fn what_pg_dump_writes_of_tuning_goes_and_the_rest_stays() {
        for (tuned, left, object) in [
            (
                "CREATE TABLE shop.orders (\n    id integer,\n    t timestamp(3) with time zone\n)\n\
                 WITH (fillfactor='80', autovacuum_enabled='off', toast.autovacuum_enabled='off');\n",
                "CREATE TABLE shop.orders (\n    id integer,\n    t timestamp(3) with time zone\n);\n",
                "shop.orders",
            ),
            (
                "CREATE UNIQUE INDEX \"an Index\" ON shop.orders USING btree (lower(id)) INCLUDE (t) WITH (fillfactor='70') \
                 WHERE (id > 3);\n",
                "CREATE UNIQUE INDEX \"an Index\" ON shop.orders USING btree (lower(id)) INCLUDE (t) WHERE (id > 3);\n",
                "shop.orders",
            ),
            (
                "ALTER TABLE ONLY shop.orders\n    ADD CONSTRAINT p PRIMARY KEY (id) WITH (fillfactor='70');\n",
                "ALTER TABLE ONLY shop.orders\n    ADD CONSTRAINT p PRIMARY KEY (id);\n",
                "shop.orders",
            ),
            ("ALTER TABLE ONLY shop.customers ALTER COLUMN name SET STATISTICS 500;\n", "", "shop.customers"),
            ("ALTER TABLE ONLY shop.customers ALTER COLUMN \"SET\" SET STORAGE EXTERNAL;\n", "", "shop.customers"),
            ("ALTER TABLE ONLY shop.customers ALTER COLUMN name SET COMPRESSION lz4;\n", "", "shop.customers"),
            ("ALTER TABLE ONLY shop.customers ALTER COLUMN name SET (n_distinct=5);\n", "", "shop.customers"),
            ("ALTER INDEX shop.i ALTER COLUMN 1 SET STATISTICS 7;\n", "", "shop.i"),
            ("CREATE STATISTICS shop.st ON id, name FROM shop.customers;\n", "", "shop.customers"),
            ("ALTER STATISTICS shop.st SET STATISTICS 9;\n", "", "shop.st"),
        ] {
            let (text, report) = filtered(tuned, LineRules::Faithful);
            assert_eq!(text, left, "{tuned}");
            assert_eq!(report.tuned.iter().collect::<Vec<_>>(), [object], "{tuned}");
            let (text, report) = filtered(tuned, LineRules::Compat);
            assert_eq!(text, tuned, "Kwil's own tool leaves it");
            assert!(report.tuned.is_empty());
        }
    }

    #[test]
    fn what_only_looks_like_tuning_stays() {
        for kept in [
            "CREATE TABLE shop.\"WITH (\" (\n    a text DEFAULT 'x WITH (fillfactor=7) SET '::text\n);\n",
            "CREATE TABLE shop.t (\n    a integer,\n    CONSTRAINT c CHECK (a > 0)\n)\nPARTITION BY RANGE (a);\n",
            "ALTER TABLE ONLY shop.t ALTER COLUMN a SET DEFAULT 3;\n",
            "ALTER TABLE ONLY shop.t ALTER COLUMN a SET NOT NULL;\n",
            "ALTER TABLE shop.t ALTER COLUMN a ADD GENERATED BY DEFAULT AS IDENTITY (\n    SEQUENCE NAME shop.s\n);\n",
            "ALTER TABLE ONLY shop.t REPLICA IDENTITY FULL;\n",
            "ALTER TABLE ONLY shop.t\n    ADD CONSTRAINT e EXCLUDE USING gist (a WITH =);\n",
            "CREATE VIEW shop.v WITH (security_barrier='true') AS\n SELECT t.a\n   FROM shop.t;\n",
            "CREATE FUNCTION shop.f() RETURNS void\n    LANGUAGE sql\n    AS $$ALTER TABLE a.b ALTER COLUMN c SET STATISTICS 3;$$;\n",
        ] {
            let (text, report) = filtered(kept, LineRules::Faithful);
            assert_eq!(text, kept);
            assert!(report.tuned.is_empty(), "{kept}");
        }
    }
}
