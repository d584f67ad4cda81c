//! What is kept of a state beside its digest: the sorted hashes of every row, by which two states tell how many rows of
//! a table are missing in the other one.

use std::{cmp::Ordering, sync::Arc};

use kwil_formats::judge::confirm::StateFacts;

use super::super::hash_log::HashLog;
use crate::base::Result;

/// What is known of a state beyond its digest: every row's hash, and the facts that its text tells.
#[derive(Debug)]
pub struct Witness {
    log: Arc<HashLog>,
    /// The facts that the state's text tells.
    pub facts: StateFacts,
}

impl Witness {
    pub(super) fn new(log: Arc<HashLog>, facts: StateFacts) -> Self {
        Witness { log, facts }
    }

    /// The numbers of a table's rows that are here and not there, and
    /// there and not here; equal rows count as often as they come.
    ///
    /// # Errors
    /// When the hashes cannot be read back.
    pub fn compare(&self, there: &Witness, table: &str) -> Result<(u64, u64)> {
        let (mut ours, mut theirs) = (self.log.rows(table), there.log.rows(table));
        let (mut only_here, mut only_there) = (0, 0);
        let (mut a, mut b) = (ours.next()?, theirs.next()?);
        loop {
            match (a, b) {
                (None, None) => return Ok((only_here, only_there)),
                (Some(x), Some(y)) if x.cmp(&y) == Ordering::Equal => (a, b) = (ours.next()?, theirs.next()?),
                (Some(x), Some(y)) if x < y => (only_here, a) = (only_here + 1, ours.next()?),
                (Some(_), None) => (only_here, a) = (only_here + 1, ours.next()?),
                (_, Some(_)) => (only_there, b) = (only_there + 1, theirs.next()?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::digest::StateDigester;

    fn witness(rows: &[&str]) -> Witness {
        let spill = tempfile::tempdir().unwrap();
        let mut digester = StateDigester::witnessing(spill.path()).unwrap();
        let text = format!("CREATE SCHEMA kwild_voting;\nCOPY a.t (x) FROM stdin;\n{}\\.\n", rows.concat());
        digester.push(text.as_bytes()).unwrap();
        digester.finish_witnessed().unwrap().1
    }

    #[test]
    fn rows_are_counted_on_both_sides() {
        let here = witness(&["1\n", "2\n", "2\n", "3\n"]);
        assert_eq!(here.compare(&witness(&["3\n", "2\n", "1\n", "2\n"]), "a.t").unwrap(), (0, 0));
        assert_eq!(here.compare(&witness(&["1\n", "2\n", "4\n", "5\n", "6\n"]), "a.t").unwrap(), (2, 3));
        assert_eq!(here.compare(&witness(&[]), "a.t").unwrap(), (4, 0));
        assert_eq!(witness(&[]).compare(&here, "a.t").unwrap(), (0, 4));
        assert_eq!(here.compare(&here, "no.table").unwrap(), (0, 0));
    }

    #[test]
    fn more_rows_than_are_read_at_once() {
        let many: Vec<String> = (0..5000).map(|n| format!("{n}\n")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(witness(&all).compare(&witness(&all[7..]), "a.t").unwrap(), (7, 0));
        assert_eq!(witness(&all[9..]).compare(&witness(&all), "a.t").unwrap(), (0, 9));
    }
}
