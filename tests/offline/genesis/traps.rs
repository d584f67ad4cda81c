use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use kwil_formats::formats::genesis::lint::{ALL, find};

struct Row {
    here: String,
    tests: String,
}

/// The table of traps.
fn table() -> BTreeMap<u8, Row> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traps.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, here, tests] = cells[..] else { panic!("{line}") };
        let Ok(number) = number.parse() else { continue };
        let row = Row { here: here.to_owned(), tests: tests.to_owned() };
        assert!(rows.insert(number, row).is_none(), "{number} twice");
    }
    rows
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Names of all functions in these sources that are tests.
fn tests() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                take(&fs::read_to_string(path).unwrap(), found);
            }
        }
    }
    fn take(text: &str, found: &mut BTreeSet<String>) {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let name =
                line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            match name {
                Some(name) if is_test => {
                    found.insert(name.to_owned());
                    is_test = false;
                }
                Some(_) => is_test = false,
                None => is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test"),
            }
        }
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for directory in ["src", "tests"] {
        walk(&root.join(directory), &mut found);
    }
    found
}

#[test]
fn every_trap_has_its_row_and_every_row_its_tests() {
    let (table, tests) = (table(), tests());
    let numbers: Vec<u8> = table.keys().copied().collect();
    assert_eq!(numbers, (1..=45).collect::<Vec<u8>>());
    for (number, row) in &table {
        let named = quoted(&row.tests);
        assert_eq!(named.is_empty(), row.tests == "not tested", "{number}: {}", row.tests);
        for name in named {
            assert!(tests.contains(name), "{number}: no test {name}");
        }
    }
    assert!(!tests.contains("a_test_that_nobody_wrote"));
}

#[test]
fn the_table_and_the_codes_name_each_other() {
    let table = table();
    for (number, row) in &table {
        let linted = row.here.split("linted").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
        for name in quoted(linted) {
            let code = find(name).unwrap_or_else(|| panic!("{number}: no code {name}"));
            assert!(code.traps.contains(number), "{name} does not know trap {number}");
        }
    }
    for code in ALL {
        for trap in code.traps {
            assert!(quoted(&table[trap].here).contains(&code.name), "trap {trap} does not name {}", code.name);
        }
    }
}
