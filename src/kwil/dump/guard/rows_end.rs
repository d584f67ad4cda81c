//! Finds where the rows of a COPY block end, without a look at each row.

use memchr::memmem;

/// The line that ends a block, behind a row's newline.
const END: &[u8] = b"\n\\.\n";

/// Finds the end of one COPY block that comes in any pieces.
#[derive(Debug)]
pub(crate) struct RowsEnd {
    /// The last bytes that were seen, where the end may have begun.
    tail: Vec<u8>,
}

impl Default for RowsEnd {
    fn default() -> Self {
        RowsEnd { tail: END[..1].to_vec() }
    }
}

impl RowsEnd {
    /// Takes any piece of the block; the answer is the offset in it behind the block's last line, or `None` before
    /// that.
    pub(crate) fn take(&mut self, data: &[u8]) -> Option<usize> {
        let kept = self.tail.len();
        // The end may lie across two pieces.
        let head = data.len().min(END.len());
        self.tail.extend_from_slice(&data[..head]);
        if let Some(at) = memmem::find(&self.tail, END) {
            return Some(at + END.len() - kept);
        }
        if let Some(at) = memmem::find(data, END) {
            return Some(at + END.len());
        }
        if data.len() > head {
            self.tail.clear();
            self.tail.extend_from_slice(&data[data.len() - head..]);
        }
        let excess = self.tail.len().saturating_sub(END.len() - 1);
        self.tail.drain(..excess);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_rows_are_cut() {
        for (text, want) in
            [("\\.\nx", 3), ("1\n\\.\n\\.\n", 5), ("\\..\n\\\\.\n2\\.\n\\.\n", 15), ("a\\.\nb\n\n\\.\nrest", 10)]
        {
            for pieces in 1..=text.len() {
                let mut end = RowsEnd::default();
                let mut at = 0;
                let found = text.as_bytes().chunks(pieces).find_map(|piece| {
                    let found = end.take(piece).map(|n| at + n);
                    at += piece.len();
                    found
                });
                assert_eq!(found, Some(want), "{text:?} in pieces of {pieces}");
            }
        }
        assert_eq!(RowsEnd::default().take(b"1\n2\n\\."), None);
    }
}
