//! What is said to be defended, and the tests that are said to show it.

use std::path::Path;

use super::{quoted, rows, tests};

#[test]
fn every_attack_is_stopped_by_something_that_a_test_or_file_shows() {
    let (rows, tests) = (rows(".github/SECURITY.md"), tests());
    let attacks: Vec<_> = rows.iter().filter(|row| row.len() == 3 && !quoted(&row[2]).is_empty()).collect();
    assert!(attacks.len() > 20, "{}", attacks.len());
    for row in attacks {
        for name in quoted(&row[2]) {
            // A file is named as a path, or by its name where the tests of a row stand in it.
            let is_file = name.ends_with(".rs");
            let is_there = match name.contains('/') {
                true => Path::new(env!("CARGO_MANIFEST_DIR")).join(name).is_file(),
                false => is_file || tests.contains(name),
            };
            assert!(is_there, "{}: no {name}", row[0]);
        }
    }
}
