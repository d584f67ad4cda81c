//! Takes a text's statements in order, and tells before which of them a new batch must begin, because the batch would
//! touch more relations than a server's lock table takes.

use std::collections::BTreeSet;

use super::{
    super::token::{Token, qualified_name},
    BATCH_RELATIONS_MAX, LAST_SCHEMA,
};

/// How many relations the last batch keeps room for in `kwild_voting`: Kwil makes some twenty tables and indexes there.
const LAST_SCHEMA_RELATIONS: usize = 100;

/// The relations that the current batch has touched.
///
/// Every qualified name counts as a relation, also where it is a type's or a function's: a batch that ends early costs
/// nothing, one that ends late fails. A table that is made counts with its TOAST table and its schema. So no batch takes more
/// than about 2,000 locks; a server that lets in 50 clients, which is what kwild demands at least, has room for 3,300.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    touched: BTreeSet<String>,
    /// The last schema is made: no other batch may begin.
    is_last: bool,
}

impl Batches {
    /// Notes a statement, and says whether a new batch begins before it.
    pub(crate) fn next(&mut self, tokens: &[Token<'_>]) -> bool {
        if self.is_last {
            return false;
        }
        let names = names_in(tokens);
        self.is_last = matches!(tokens, [create, schema, rest @ ..] if create.is("CREATE") && schema.is("SCHEMA")
            && rest.iter().any(|token| token.name().is_some_and(|name| name == LAST_SCHEMA)));
        let room = if self.is_last { LAST_SCHEMA_RELATIONS } else { 0 };
        let fresh = names.iter().filter(|name| !self.touched.contains(*name)).count();
        let is_full = !self.touched.is_empty() && self.touched.len() + fresh + room > BATCH_RELATIONS_MAX;
        if is_full {
            self.touched.clear();
        }
        self.touched.extend(names);
        is_full
    }
}

/// The qualified names of a statement, and the index or constraint that it makes.
fn names_in(tokens: &[Token<'_>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        match qualified_name(&tokens[at..]) {
            Some(name) => {
                names.insert(name.to_string());
                // `schema.table.column`
                at += if tokens.get(at + 3).is_some_and(|token| token.is_symbol(".")) { 5 } else { 3 };
            }
            None => at += 1,
        }
    }
    if let [create, table, rest @ ..] = tokens
        && create.is("CREATE")
        && table.is("TABLE")
        && let Some(name) = qualified_name(rest)
    {
        // No relation can be called so.
        names.insert(format!("{name}\nTOAST"));
        names.insert(format!("{}\n", name.schema));
    }
    let is_index =
        matches!(tokens, [create, word, ..] if create.is("CREATE") && (word.is("INDEX") || word.is("UNIQUE")));
    let made = tokens.windows(2).find(|pair| pair[0].is("CONSTRAINT") || (is_index && pair[0].is("INDEX")));
    if let (Some([_, name]), true) = (made, is_index || tokens.first().is_some_and(|token| token.is("ALTER"))) {
        // No schema can be called so: it is none of the names above.
        let of = names.first().cloned().unwrap_or_default();
        names.insert(format!("{of}\n{}", name.name().unwrap_or_default()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{super::super::token::Tokens, *};

    fn tokens(text: &str) -> Vec<Token<'_>> {
        Tokens::new(text).map_while(Result::ok).collect()
    }

    fn count(text: &str) -> usize {
        names_in(&tokens(text)).len()
    }

    #[test]
    fn a_table_counts_once_and_each_index_beside_it() {
        assert_eq!(count("CREATE TABLE a.t (b bigint);"), 3);
        assert_eq!(count("CREATE VIEW a.v AS SELECT 1;"), 1);
        assert_eq!(count("ALTER TABLE ONLY a.t ADD CONSTRAINT t_pkey PRIMARY KEY (b);"), 2);
        assert_eq!(count("CREATE UNIQUE INDEX i ON a.t USING btree (b);"), 2);
        assert_eq!(count("ALTER TABLE ONLY a.t ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES a.u(b);"), 3);
        assert_eq!(count("ALTER SEQUENCE a.s OWNED BY a.t.b;"), 2);
        assert_eq!(count("COPY a.t (b) FROM stdin;"), 1);
        assert_eq!(count("CREATE SCHEMA a;"), 0);
    }

    #[test]
    fn a_batch_ends_before_it_has_too_many() {
        let mut batches = Batches::default();
        let full: Vec<usize> = (0..2 * BATCH_RELATIONS_MAX + 2)
            .filter(|n| batches.next(&tokens(&format!("CREATE VIEW a.v{n} AS SELECT 1;"))))
            .collect();
        assert_eq!(full, [BATCH_RELATIONS_MAX, 2 * BATCH_RELATIONS_MAX]);
        // Known ones cost nothing.
        assert!((0..5000).all(|_| !batches.next(&tokens("COPY a.v2001 (b) FROM stdin;"))));
    }

    #[test]
    fn the_last_schema_is_never_parted() {
        for before in [0, 10, BATCH_RELATIONS_MAX - LAST_SCHEMA_RELATIONS, BATCH_RELATIONS_MAX - 1] {
            let mut batches = Batches::default();
            assert!((0..before).all(|n| !batches.next(&tokens(&format!("CREATE VIEW a.v{n} AS SELECT 1;")))));
            let begins = batches.next(&tokens("CREATE SCHEMA kwild_voting;"));
            assert_eq!(begins, before > BATCH_RELATIONS_MAX - LAST_SCHEMA_RELATIONS, "{before}");
            let more = |n| tokens_of_table(n, &mut batches);
            assert!((0..3000).map(more).all(|begins| !begins));
        }
    }

    fn tokens_of_table(n: usize, batches: &mut Batches) -> bool {
        batches.next(&tokens(&format!("CREATE TABLE kwild_voting.t{n} (b bigint);")))
    }
}
