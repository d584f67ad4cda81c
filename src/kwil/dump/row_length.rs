//! Takes COPY rows in pieces, and refuses one whose text is too long. PostgreSQL can hold a row whose text nobody can
//! write or read: a COPY line is put together in one buffer, and that has an end.

use memchr::{memchr, memrchr};

use crate::base::limits::COPY_ROW_SIZE_BYTES_MAX;

/// Bytes of a row's beginning that a message shows: its key stands there as a rule.
const SHOWN_BYTES: usize = 48;

/// What a message says of a row that is too long.
pub const TOO_LONG: &str =
    "takes 1 GiB of text or more, which no PostgreSQL can load or dump (the limit is 1073741823 bytes)";

/// Measures rows as they come in pieces, without a look at each row.
#[derive(Debug)]
pub struct RowLengths {
    max: u64,
    /// How many bytes of the open row have come and, beside it, the row's beginning.
    open: u64,
    head: Vec<u8>,
}

impl Default for RowLengths {
    fn default() -> Self {
        RowLengths::up_to(COPY_ROW_SIZE_BYTES_MAX)
    }
}

impl RowLengths {
    /// A watch with a limit in bytes on a row's text, its line end included.
    pub fn up_to(max: u64) -> Self {
        RowLengths { max, open: 0, head: Vec::new() }
    }

    /// Takes any piece of rows.
    ///
    /// # Errors
    /// When a row is too long: the beginning of its first column.
    pub fn push(&mut self, rows: &[u8]) -> Result<(), String> {
        // A row that begins and ends within a piece is as long as that at most.
        let piece_bytes = usize::try_from(self.max).unwrap_or(usize::MAX).max(1);
        rows.chunks(piece_bytes).try_for_each(|piece| self.piece(piece))
    }

    fn piece(&mut self, rows: &[u8]) -> Result<(), String> {
        let Some(first) = memchr(b'\n', rows) else { return self.go_on(rows) };
        self.go_on(&rows[..=first])?;
        self.open = 0;
        self.head.clear();
        let last = memrchr(b'\n', rows).unwrap_or(first);
        self.go_on(&rows[last + 1..])
    }

    fn go_on(&mut self, row: &[u8]) -> Result<(), String> {
        let room = SHOWN_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(&row[..row.len().min(room)]);
        self.open += row.len() as u64;
        if self.open <= self.max {
            return Ok(());
        }
        let column = self.head.split(|b| matches!(b, b'\t' | b'\n')).next().unwrap_or_default();
        Err(String::from_utf8_lossy(column).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::sql::{Follows, Sink, SplitError, Splitter, Statement};

    #[test]
    fn a_row_at_the_limit_is_taken_and_one_byte_more_is_not_wherever_it_is_cut() {
        let text = b"1\tab\n22\tabcdef\n333\tabc\n";
        for cut in 0..text.len() {
            let mut lengths = RowLengths::up_to(10);
            lengths.push(&text[..cut]).unwrap();
            lengths.push(&text[cut..]).unwrap();
            let mut lengths = RowLengths::up_to(9);
            let found = lengths.push(&text[..cut]).and_then(|()| lengths.push(&text[cut..]));
            assert_eq!(found, Err("22".to_owned()), "{cut}");
        }
    }

    /// Takes rows and keeps nothing.
    struct Nobody;

    impl Sink for Nobody {
        type Error = SplitError;

        fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), SplitError> {
            Ok(())
        }

        fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), SplitError> {
            Ok(())
        }

        fn statement(&mut self, _: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, SplitError> {
            Ok(Follows::CopyData)
        }

        fn data(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, SplitError> {
            Ok(None)
        }
    }

    #[test]
    fn whoever_reads_a_text_refuses_such_a_row_with_its_table_and_line() {
        let mut splitter = Splitter::new();
        let mut push = |text: &[u8]| splitter.push(text, &mut Nobody, &mut Vec::new());
        push(b"COPY shop.customers (id, photo) FROM stdin;\n1\tx\nthe key\t").unwrap();
        let piece = vec![b'a'; 1 << 20];
        // A little less than the limit, then the rest.
        for _ in 0..(1 << 10) - 1 {
            push(&piece).unwrap();
        }
        push(&piece[..(1 << 20) - 2 - "the key\t".len()]).unwrap();
        let e = push(b"\n").unwrap_err();
        assert_eq!((e.line, e.reason), (3, TOO_LONG));
        assert!(e.text.contains("shop.customers") && e.text.ends_with("begins with the key"), "{}", e.text);
    }

    #[test]
    fn no_piece_is_too_large_to_be_measured() {
        let mut lengths = RowLengths::up_to(3);
        lengths.push(&b"ab\n".repeat(10)).unwrap();
        assert!(lengths.push(b"a\nabc\n").is_err());
    }
}
