//! Recorded snapshots that were changed: what still passes holds statements of the grammar only, and the cut does not
//! matter.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

/// A small recording of each family.
fn texts() -> &'static [Vec<u8>; 3] {
    static TEXTS: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"));
        [
            "v0.9/worlds/solo/kwil-admin/kwildb-snapshot.sql.gz",
            "v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz",
            "truf/worlds/solo/kwild-snapshot/snapshot.sql.gz",
        ]
        .map(|path| unzip(&data.join(path)))
    })
}

#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Delete(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    /// A line that begins with the text.
    InsertLine(prop::sample::Index, &'static str),
    CopyLine(prop::sample::Index, prop::sample::Index),
    SwapLines(prop::sample::Index, prop::sample::Index),
}

const WORDS: &[&str] = &[
    "\\! id",
    "\\.",
    "\\.\n",
    "\\i x",
    "\\gexec",
    "\\",
    "`id`",
    "'",
    "''",
    "\"",
    "$$",
    "$_$",
    "$",
    ";",
    ";\n",
    "(",
    ")",
    "[",
    "--",
    "/*",
    "*/",
    "E'",
    "U&'",
    ":x",
    ":'x'",
    "\r",
    "\r\n",
    "\0",
    "\u{feff}",
    "\u{a0}",
    "\n",
    "\t",
    " PROGRAM 'id' ",
    " FROM stdin;\n",
    " DROP TABLE x; ",
    " COPY ",
    " DO ",
    " EXECUTE ",
    " pg_read_file('x') ",
    " lo_import('x') ",
    " SECURITY DEFINER ",
    " BEGIN ",
    " END ",
    " CREATE ",
    " ALTER ",
    " user ",
    " c ",
    "\\restrict a\n",
    "::bigint",
    "::text",
];

const LINES: &[&str] = &[
    "\\! id",
    "\\.",
    "\\restrict abc",
    "DROP TABLE x;",
    "DO $$begin end$$;",
    "COPY x FROM PROGRAM 'id';",
    "-- x",
    "",
    ";",
    "'",
    "/*",
    "$$",
    "CREATE ROLE x;",
    "UPDATE kwild_voting.resolutions SET expiration = expiration-1;",
    "SELECT 1;",
    "BEGIN;",
    "COMMIT;",
    "CREATE SCHEMA x;",
    "LANGUAGE c",
    "\\connect x",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (at(), 1usize..40).prop_map(|(at, length)| Change::Delete(at, length)),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, word)| Change::Insert(at, word)),
        (at(), prop::sample::select(LINES)).prop_map(|(at, line)| Change::InsertLine(at, line)),
        (at(), at()).prop_map(|(from, to)| Change::CopyLine(from, to)),
        (at(), at()).prop_map(|(a, b)| Change::SwapLines(a, b)),
    ]
}

fn apply(text: &mut Vec<u8>, change: &Change) {
    let lines = |text: &[u8]| text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    match change {
        Change::Flip(at, byte) => {
            let at = at.index(text.len());
            text[at] ^= *byte;
        }
        Change::Delete(at, length) => {
            let at = at.index(text.len());
            text.drain(at..(at + length).min(text.len()));
        }
        Change::Insert(at, word) => {
            let at = at.index(text.len());
            text.splice(at..at, word.bytes());
        }
        Change::InsertLine(at, line) => {
            let mut lines = lines(text);
            lines.insert(at.index(lines.len()), format!("{line}\n").into_bytes());
            *text = lines.concat();
        }
        Change::CopyLine(from, to) => {
            let mut lines = lines(text);
            let line = lines[from.index(lines.len())].clone();
            lines.insert(to.index(lines.len()), line);
            *text = lines.concat();
        }
        Change::SwapLines(a, b) => {
            let mut lines = lines(text);
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
            *text = lines.concat();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_passes_holds_nothing_foreign_and_cuts_do_not_matter(
        which in 0usize..3, changes in prop::collection::vec(change(), 1..4), cut in 1usize..5000, at in any::<prop::sample::Index>(),
    ) {
        let mut text = texts()[which].clone();
        for change in &changes {
            apply(&mut text, change);
        }
        let whole = scan(&text, usize::MAX);
        let place = at.index(text.len());
        let mut scanner = StatementScanner::new();
        let halves = scanner.push(&text[..place]).and_then(|()| scanner.push(&text[place..])).and_then(|()| scanner.finish());
        for other in [scan(&text, cut), halves] {
            match (&whole, other) {
                (Ok(whole), Ok(other)) => prop_assert_eq!(whole, &other),
                (Err(_), Err(_)) => {}
                (whole, other) => prop_assert!(false, "{whole:?} {other:?}"),
            }
        }
        if whole.is_ok() {
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(reader::foreign(&text), None);
        }
    }
}
