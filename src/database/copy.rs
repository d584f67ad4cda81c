//! A COPY statement of pg_dump's, and how a large table's is cut into ranges of pages. In goes the statement, out come
//! statements that give the same rows in the same order.

use std::fmt::Write;

/// Bytes of a table on the server's disk that one statement reads, unless the caller says otherwise.
pub(crate) const RANGE_BYTES: u64 = 4 << 20;
/// The first major version that reads only the pages of a range;
/// servers before it read the whole table for every range.
const MAJOR_OF_TID_RANGE_SCANS: u32 = 14;

/// How each COPY statement of pg_dump's ends.
const TAIL: &str = " TO stdout;";
const BINARY_TAIL: &str = " TO stdout (FORMAT binary);";

/// The form in which the server sends rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    fn tail(self) -> &'static str {
        match self {
            Format::Text => TAIL,
            Format::Binary => BINARY_TAIL,
        }
    }
}

/// A COPY statement of pg_dump's that reads the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// The statement as pg_dump wrote it.
    pub(super) statement: String,
    /// The table's qualified name, quoted as SQL wants it; `None` where a query stands in its place.
    pub(super) table: Option<String>,
    /// The columns' list without its parentheses; empty where the statement names none.
    pub(super) columns: String,
}

/// What the catalogue says about the size of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TableSize {
    /// Whether it is an ordinary table in the heap, whose rows have a place on a page.
    pub(super) is_heap: bool,
    /// Pages of the table on the server's disk, its TOAST table not included.
    pub(super) pages: u64,
    /// Bytes of the table on the server's disk, its TOAST table included.
    pub(super) bytes: u64,
    /// Rows of the table as the server last estimated them.
    pub(super) rows: u64,
}

impl Copy {
    pub(super) fn read(statement: &str) -> Self {
        let parts = statement.strip_prefix("COPY ").and_then(|s| s.strip_suffix(TAIL)).unwrap_or_default();
        let (table, columns) = split_name(parts);
        // A query (a foreign table's) is left as it is.
        let simple = columns.is_empty() || (columns.starts_with('(') && columns.ends_with(')'));
        let table = (!table.is_empty() && simple).then(|| table.to_owned());
        let columns = columns.trim_start_matches('(').trim_end_matches(')').to_owned();
        Copy { statement: statement.to_owned(), table, columns }
    }

    /// The statement up to and including the columns.
    pub(super) fn head(&self) -> &str {
        self.statement.strip_suffix(TAIL).unwrap_or(&self.statement)
    }

    /// What messages call the table: its name, or the statement where a query stands in its place.
    pub(super) fn name(&self) -> &str {
        self.table.as_deref().unwrap_or(&self.statement)
    }

    /// The statements whose rows, one after the other, are those of this one; none for a table without pages.
    pub(super) fn ranges(&self, size: TableSize, server_major: u32, range_bytes: u64, format: Format) -> Vec<String> {
        let whole = || vec![format!("{}{}", self.head(), format.tail())];
        let Some(table) = &self.table else { return vec![self.statement.clone()] };
        if !size.is_heap {
            return whole();
        }
        if size.pages == 0 {
            return Vec::new();
        }
        let page_bytes = (size.bytes / size.pages).max(1);
        let pages = (range_bytes / page_bytes).max(1);
        if server_major < MAJOR_OF_TID_RANGE_SCANS || size.pages <= pages {
            return whole();
        }
        let mut statements = Vec::new();
        let mut from = 0;
        while from < size.pages {
            let mut text = format!("COPY (SELECT {} FROM ONLY {table} WHERE ctid >= '({from},0)'", self.columns);
            from += pages;
            // Open at the end: the size was read after the snapshot was taken, and that is enough, but not at once.
            if from < size.pages {
                let _ = write!(text, " AND ctid < '({from},0)'");
            }
            text.push(')');
            text.push_str(format.tail());
            statements.push(text);
        }
        statements
    }

    /// The statement for the rows of a table's first page; `None`
    /// where rows have no pages or the server reads no ranges.
    pub(super) fn first_page(&self, size: TableSize, server_major: u32, format: Format) -> Option<String> {
        let table = self.table.as_ref().filter(|_| size.is_heap && server_major >= MAJOR_OF_TID_RANGE_SCANS)?;
        let tail = format.tail();
        Some(format!("COPY (SELECT {} FROM ONLY {table} WHERE ctid < '(1,0)'){tail}", self.columns))
    }
}

/// A qualified name at the text's beginning, quoted or not, and what follows it without blanks around it.
fn split_name(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b' ' | b'(' if !quoted => return (&text[..at], text[at..].trim()),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAP: TableSize = TableSize { is_heap: true, pages: 10, bytes: 10 * 8192, rows: 100 };

    #[test]
    fn a_large_table_is_cut_into_ranges_that_cover_it() {
        let copy = Copy::read("COPY a.\"b (c) TO\" (x, \"y)\") TO stdout;");
        assert_eq!(copy.table.as_deref(), Some("a.\"b (c) TO\""));
        assert_eq!(
            copy.ranges(HEAP, 16, 4 * 8192, Format::Text),
            [
                "COPY (SELECT x, \"y)\" FROM ONLY a.\"b (c) TO\" WHERE ctid >= '(0,0)' AND ctid < '(4,0)') TO stdout;",
                "COPY (SELECT x, \"y)\" FROM ONLY a.\"b (c) TO\" WHERE ctid >= '(4,0)' AND ctid < '(8,0)') TO stdout;",
                "COPY (SELECT x, \"y)\" FROM ONLY a.\"b (c) TO\" WHERE ctid >= '(8,0)') TO stdout;",
            ]
        );
        assert_eq!(copy.ranges(HEAP, 16, 1, Format::Text).len(), 10, "a page at least");
    }

    #[test]
    fn what_has_no_pages_of_its_own_is_read_as_pg_dump_would() {
        let copy = Copy::read("COPY a.b (x) TO stdout;");
        assert_eq!(copy.ranges(HEAP, 13, 1, Format::Text), ["COPY a.b (x) TO stdout;"]);
        assert_eq!(copy.ranges(HEAP, 16, u64::MAX, Format::Text), ["COPY a.b (x) TO stdout;"]);
        assert_eq!(copy.ranges(TableSize { is_heap: false, ..HEAP }, 16, 1, Format::Text), ["COPY a.b (x) TO stdout;"]);
        let query = Copy::read("COPY (SELECT x FROM a.b ) TO stdout;");
        assert_eq!((query.table.clone(), query.ranges(HEAP, 16, 1, Format::Text).len()), (None, 1));
    }

    #[test]
    fn an_empty_table_needs_no_statement_and_one_without_columns_has_rows() {
        assert!(
            Copy::read("COPY a.b (x) TO stdout;")
                .ranges(TableSize { pages: 0, ..HEAP }, 16, 1, Format::Text)
                .is_empty()
        );
        let none = Copy::read("COPY a.b  TO stdout;");
        assert_eq!(none.table.as_deref(), Some("a.b"));
        assert_eq!(
            none.ranges(HEAP, 16, 9 * 8192, Format::Text)[1],
            "COPY (SELECT  FROM ONLY a.b WHERE ctid >= '(9,0)') TO stdout;"
        );
    }
}
