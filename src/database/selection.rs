//! Which schemas pg_dump is told to dump, and which tables of them it is not: in go a cut's facts, out come flags and
//! perhaps a file. An operating system bounds a program's arguments, and a v0.9 network has a schema for every dataset.

use std::io::Write;

use tempfile::NamedTempFile;

use super::cut::Facts;
use crate::base::{Context, Error, Next, Result};

/// Bytes that the selection may take of pg_dump's arguments. Linux allows arguments and environment a quarter of the
/// stack's limit: 2 MiB as a rule, 128 KiB at least.
const ARGUMENTS_BYTES_MAX: usize = 96 << 10;
/// Bytes that each argument takes beside its own text.
const ARGUMENT_BYTES: usize = 16;
/// From this major version on pg_dump takes a file that says what is to be dumped (`--filter`).
const MAJOR_OF_FILTER_FILES: u32 = 17;

/// Flags, and a file if they are too many, that tell pg_dump what to dump.
#[derive(Debug)]
pub(super) struct Selection {
    /// Each a flag and its pattern; Kwil's own schemas come first. Empty where the file says everything.
    pub(super) arguments: Vec<[String; 2]>,
    /// A file for `--filter` with the same selection, where it does not fit into the arguments; deleted when dropped.
    pub(super) file: Option<NamedTempFile>,
}

impl Selection {
    /// The selection of a cut's schemas without its unlogged tables.
    pub(super) fn of(facts: &Facts, pg_dump_major: u32) -> Result<Self> {
        Selection::new(&facts.schemas, &facts.other_schemas, &facts.unlogged, pg_dump_major)
    }

    /// The selection of `schemas` without the tables `left_out`; `others` is every other schema but PostgreSQL's own.
    /// An error where the list fits neither into arguments nor, with a pg_dump before 17, into a file.
    pub(super) fn new(
        schemas: &[String],
        others: &[String],
        left_out: &[(String, String)],
        pg_dump_major: u32,
    ) -> Result<Self> {
        let flag = |flag: &str, pattern: String| [flag.to_owned(), pattern];
        let tables =
            || left_out.iter().map(|(schema, name)| flag("-T", format!("{}.{}", quoted(schema), quoted(name))));
        let by_name = || schemas.iter().map(|schema| flag("--schema", quoted(schema)));
        let arguments: Vec<[String; 2]> = by_name().chain(tables()).collect();
        if fits_in_arguments(&arguments) {
            return Ok(Selection { arguments, file: None });
        }
        // All but the others, whose names are few as a rule: for pg_dump that is also quicker than thousands of patterns.
        let others = others.iter().map(|schema| flag("--exclude-schema", quoted(schema)));
        let all = [flag("--schema", "*".to_owned()), flag("--exclude-schema", "pg_*".to_owned())];
        let arguments: Vec<[String; 2]> = all.into_iter().chain(others).chain(tables()).collect();
        if fits_in_arguments(&arguments) {
            return Ok(Selection { arguments, file: None });
        }
        if pg_dump_major < MAJOR_OF_FILTER_FILES {
            return Err(Error::failed("the database has more schemas than pg_dump can be told of")
                .hint(Next::PgDumpWithFilterFile));
        }
        let mut lines = String::new();
        for schema in schemas {
            lines.push_str(&format!("include schema {}\n", quoted(schema)));
        }
        for (schema, name) in left_out {
            lines.push_str(&format!("exclude table {}.{}\n", quoted(schema), quoted(name)));
        }
        let what = || "cannot write the list of schemas for pg_dump";
        let mut file = tempfile::Builder::new().prefix("regenesis-").tempfile().or_failed(what)?;
        file.write_all(lines.as_bytes()).or_failed(what)?;
        Ok(Selection { arguments: Vec::new(), file: Some(file) })
    }
}

/// Whether the flags with their patterns take at most [`ARGUMENTS_BYTES_MAX`].
fn fits_in_arguments(arguments: &[[String; 2]]) -> bool {
    let bytes = arguments.iter().flatten().map(|argument| argument.len() + ARGUMENT_BYTES);
    bytes.sum::<usize>() <= ARGUMENTS_BYTES_MAX
}

/// A name as a pattern that matches it alone: within double quotes neither case nor wildcards count.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i:056}")).collect()
    }

    fn said(selection: &Selection) -> Vec<String> {
        selection.arguments.iter().map(|argument| argument.join(" ")).collect()
    }

    #[test]
    fn few_schemas_are_named_one_by_one() {
        let tables = [("sh\"op".to_owned(), "Ca*che".to_owned())];
        let selection = Selection::new(&["main".to_owned(), "sh\"op".to_owned()], &names("o", 9), &tables, 16).unwrap();
        assert_eq!(said(&selection), ["--schema \"main\"", "--schema \"sh\"\"op\"", "-T \"sh\"\"op\".\"Ca*che\""]);
        assert!(selection.file.is_none());
    }

    #[test]
    fn many_schemas_are_all_but_the_others() {
        for major in [15, 17] {
            let others = ["public".to_owned(), "Kwil".to_owned()];
            let tables = [("a".to_owned(), "b".to_owned())];
            let selection = Selection::new(&names("ds_x", 100_000), &others, &tables, major).unwrap();
            assert_eq!(
                said(&selection),
                [
                    "--schema *",
                    "--exclude-schema pg_*",
                    "--exclude-schema \"public\"",
                    "--exclude-schema \"Kwil\"",
                    "-T \"a\".\"b\""
                ]
            );
        }
    }

    #[test]
    fn many_of_both_go_into_a_file_where_pg_dump_reads_one() {
        let (schemas, others) = (names("ds_\"", 26_000), names("o", 26_000));
        let tables = [("a".to_owned(), "b c".to_owned())];
        let selection = Selection::new(&schemas, &others, &tables, 17).unwrap();
        assert!(selection.arguments.is_empty());
        let text = std::fs::read_to_string(selection.file.unwrap().path()).unwrap();
        assert_eq!(text.lines().count(), 26_001);
        assert!(text.starts_with("include schema \"ds_\"\"000"), "{}", &text[..80]);
        assert!(text.ends_with("exclude table \"a\".\"b c\"\n"));
        let e = Selection::new(&schemas, &others, &tables, 16).unwrap_err();
        assert!(e.advice().unwrap().names(&crate::base::Next::PgDumpWithFilterFile), "{e}");
    }
}
