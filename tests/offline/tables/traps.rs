//! The table of traps, its tests and the codes of `genesis lint`.

use std::collections::BTreeMap;

use kwil_formats::formats::genesis::lint::{ALL, find};

use super::{quoted, rows, tests};

struct Row {
    here: String,
    tests: String,
}

/// The table of traps.
fn table() -> BTreeMap<u8, Row> {
    let mut table = BTreeMap::new();
    for cells in rows("tests/traps.md") {
        let [number, _, here, tests] = &cells[..] else { panic!("{cells:?}") };
        let Ok(number) = number.parse() else { continue };
        let row = Row { here: here.clone(), tests: tests.clone() };
        assert!(table.insert(number, row).is_none(), "{number} twice");
    }
    table
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
