//! COPY rows, checked as they pass and never held: as many columns as the COPY names, UTF-8, pg_dump's escapes only.

use memchr::{memchr, memchr2};

const BAD_UTF8: &str = "text that is not UTF-8";
const AFTER_END: &str = "text follows the end of a COPY block on its line";

/// What is wrong in a piece of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// An offset in the piece, in bytes, on the line that is at fault.
    pub(super) offset: usize,
    pub(super) reason: &'static str,
}

/// Checks and counts the rows of a block, and finds its end.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: u64,
    /// What was read of the line when the text was cut, as far as it matters.
    line: LineState,
    /// A backslash was the last byte: its letter comes next.
    escape: bool,
    /// Tabs between the values of the row so far.
    tabs: usize,
    tabs_wanted: usize,
    /// Whether no row may come.
    empty: bool,
    utf8: Utf8,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// A reader that waits for a line's first byte.
    #[default]
    Start,
    Dot,
    Row,
}

impl Rows {
    /// A block whose rows have so many columns.
    pub(super) fn new(columns: usize) -> Self {
        Rows { tabs_wanted: columns.saturating_sub(1), ..Rows::default() }
    }

    /// A block in which no row may come.
    pub(super) fn none() -> Self {
        Rows { empty: true, ..Rows::default() }
    }

    /// The number of rows that have ended.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes any piece of the block; the answer is the offset in it behind the block's end, or `None` before the end.
    ///
    /// # Errors
    /// With the offset of the first fault, wherever the data was cut on its line.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<Option<usize>, Fault> {
        let end = self.lines(data);
        let read = match &end {
            Ok(end) => &data[..end.unwrap_or(data.len())],
            Err(fault) => &data[..fault.offset],
        };
        self.bytes(read)?;
        if matches!(end, Ok(Some(_))) && !self.utf8.is_whole() {
            return Err(Fault { offset: 0, reason: BAD_UTF8 });
        }
        end
    }

    /// Refuses bytes that no row has: a carriage return, a zero byte, what is no UTF-8.
    fn bytes(&mut self, data: &[u8]) -> Result<(), Fault> {
        let first = memchr2(b'\r', 0, data).unwrap_or(data.len());
        self.utf8.take(&data[..first])?;
        match data.get(first) {
            Some(b'\r') => Err(Fault { offset: first, reason: "a carriage return stands in a row" }),
            Some(_) => Err(Fault { offset: first, reason: "a zero byte" }),
            None => Ok(()),
        }
    }

    fn lines(&mut self, data: &[u8]) -> Result<Option<usize>, Fault> {
        let fault = |offset| move |reason| Fault { offset, reason };
        let mut row_start = 0;
        let mut from = 0;
        if self.escape {
            let Some(&letter) = data.first() else { return Ok(None) };
            self.escape = false;
            self.letter(letter).map_err(fault(0))?;
            from = 1;
        }
        if self.line == LineState::Dot {
            match data.get(from) {
                None => return Ok(None),
                Some(b'\n') => return Ok(Some(from + 1)),
                Some(_) => return Err(fault(0)(AFTER_END)),
            }
        }
        // Most rows hold no backslash: their tabs are counted at once, which is several times faster than to stop at each.
        // Each is looked for behind the last one only, so that no text makes the search begin again and again.
        let next = |byte: u8, at: usize| memchr(byte, &data[at..]).map_or(data.len(), |n| at + n);
        let (mut backslash, mut line_end) = (next(b'\\', from), next(b'\n', from));
        while from < data.len() {
            if line_end < backslash {
                self.plain(&data[from..line_end]);
                self.end_row().map_err(fault(line_end))?;
                (row_start, from) = (line_end + 1, line_end + 1);
                line_end = next(b'\n', from);
                continue;
            }
            self.plain(&data[from..backslash]);
            if backslash == data.len() {
                break;
            }
            match data.get(backslash + 1) {
                None => self.escape = true,
                Some(&letter) => {
                    self.letter(letter).map_err(fault(backslash))?;
                    if self.line == LineState::Dot {
                        match data.get(backslash + 2) {
                            None => return Ok(None),
                            Some(b'\n') => return Ok(Some(backslash + 3)),
                            Some(_) => return Err(fault(backslash)(AFTER_END)),
                        }
                    }
                }
            }
            from = (backslash + 2).min(data.len());
            backslash = next(b'\\', from);
            if line_end < from {
                line_end = next(b'\n', from);
            }
        }
        if row_start < data.len() && !(self.escape && row_start + 1 == data.len()) {
            self.line = LineState::Row;
        }
        self.check_row().map_err(fault(row_start))?;
        Ok(None)
    }

    /// Takes values, or parts of them, without a backslash or line end.
    fn plain(&mut self, values: &[u8]) {
        if !values.is_empty() {
            self.line = LineState::Row;
            self.tabs += bytecount::count(values, b'\t');
        }
    }

    fn check_row(&self) -> Result<(), &'static str> {
        if self.empty && self.line == LineState::Row {
            return Err("the voters table holds rows: they would stay validators beside the genesis'");
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), &'static str> {
        self.line = LineState::Row;
        self.check_row()?;
        if self.tabs != self.tabs_wanted {
            return Err("a row has not as many columns as its COPY names");
        }
        self.line = LineState::Start;
        self.tabs = 0;
        self.rows += 1;
        Ok(())
    }

    /// Takes the byte after a backslash, which must be one that pg_dump writes there.
    fn letter(&mut self, letter: u8) -> Result<(), &'static str> {
        match (self.line, letter) {
            (LineState::Start, b'.') => self.line = LineState::Dot,
            (_, b'\\' | b'N' | b'b' | b'f' | b'n' | b'r' | b't' | b'v') => self.line = LineState::Row,
            _ => return Err("a backslash in a row that pg_dump does not write"),
        }
        Ok(())
    }
}

/// Checks that bytes are UTF-8, also where the end of a piece cuts a character.
#[derive(Debug, Default)]
struct Utf8 {
    partial: Vec<u8>,
}

impl Utf8 {
    fn take(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        let mut offset = 0;
        while !self.partial.is_empty() {
            let Some((&next, rest)) = data.split_first() else { return Ok(()) };
            self.partial.push(next);
            (data, offset) = (rest, offset + 1);
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(e) if e.error_len().is_some() => return Err(Fault { offset: 0, reason: BAD_UTF8 }),
                Err(_) => {}
            }
        }
        match simdutf8::compat::from_utf8(data) {
            Ok(_) => Ok(()),
            Err(e) if e.error_len().is_some() => Err(Fault { offset: offset + e.valid_up_to(), reason: BAD_UTF8 }),
            Err(e) => {
                self.partial.extend_from_slice(&data[e.valid_up_to()..]);
                Ok(())
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}
