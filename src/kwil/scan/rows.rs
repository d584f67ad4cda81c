//! COPY rows, checked as they pass and never held.

use memchr::{memchr, memchr2_iter};

/// The end of a block and what was in it.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: u64,
    /// What was read of the line when the text was cut, as far as it matters.
    line: LineState,
    /// A backslash was the last byte: its letter comes next.
    escape: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// At a line's first byte.
    #[default]
    Start,
    Dot,
    Row,
}

impl Rows {
    /// Takes data; the answer is where the block ends.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut row_start = 0;
        let mut from = 0;
        if self.escape {
            let Some(&letter) = data.first() else { return Ok(None) };
            self.escape = false;
            self.letter(letter)?;
            from = 1;
        }
        if self.line == LineState::Dot {
            match data.get(from) {
                None => return Ok(None),
                Some(b'\n') => return Ok(Some(from + 1)),
                Some(_) => return Err("text follows the end of a COPY block on its line"),
            }
        }
        let mut escaped_until = from;
        for at in memchr2_iter(b'\n', b'\\', data) {
            if at < escaped_until {
                continue;
            }
            if data[at] == b'\n' {
                check_carriage_return(&data[row_start..at])?;
                self.rows += 1;
                self.line = LineState::Start;
                row_start = at + 1;
                continue;
            }
            if at > row_start {
                self.line = LineState::Row;
            }
            match data.get(at + 1) {
                None => self.escape = true,
                Some(&letter) => {
                    self.letter(letter)?;
                    if self.line == LineState::Dot {
                        match data.get(at + 2) {
                            None => return Ok(None),
                            Some(b'\n') => return Ok(Some(at + 3)),
                            Some(_) => return Err("text follows the end of a COPY block on its line"),
                        }
                    }
                }
            }
            escaped_until = at + 2;
        }
        check_carriage_return(&data[row_start..])?;
        if row_start < data.len() && !(self.escape && row_start + 1 == data.len()) {
            self.line = LineState::Row;
        }
        Ok(None)
    }

    /// The byte after a backslash, as pg_dump writes them.
    fn letter(&mut self, letter: u8) -> Result<(), &'static str> {
        match (self.line, letter) {
            (LineState::Start, b'.') => self.line = LineState::Dot,
            (_, b'\\' | b'N' | b'b' | b'f' | b'n' | b'r' | b't' | b'v') => self.line = LineState::Row,
            _ => return Err("a backslash in a row that pg_dump does not write"),
        }
        Ok(())
    }
}

fn check_carriage_return(data: &[u8]) -> Result<(), &'static str> {
    if memchr(b'\r', data).is_some() { Err("a carriage return stands in a row") } else { Ok(()) }
}

/// Rows whose number of columns is counted.
#[derive(Debug)]
pub(super) struct Columns {
    tabs_wanted: usize,
    tabs: usize,
    pub(super) rows: u64,
}

impl Columns {
    /// For rows of that many columns.
    pub(super) fn new(columns: usize) -> Self {
        Columns { tabs_wanted: columns.saturating_sub(1), tabs: 0, rows: 0 }
    }

    /// Takes data that [`Rows`] took, without the line that ends the block. A tab inside a value is written `\t`.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<(), &'static str> {
        for at in memchr2_iter(b'\n', b'\t', data) {
            if data[at] == b'\t' {
                self.tabs += 1;
                continue;
            }
            if self.tabs != self.tabs_wanted {
                return Err("a row has not as many columns as its COPY names");
            }
            self.tabs = 0;
            self.rows += 1;
        }
        Ok(())
    }
}

/// UTF-8 across cuts.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    partial: Vec<u8>,
}

impl Utf8 {
    pub(super) fn take(&mut self, mut data: &[u8]) -> Result<(), &'static str> {
        const BAD: &str = "text that is not UTF-8";
        if memchr(0, data).is_some() {
            return Err("a zero byte");
        }
        while !self.partial.is_empty() {
            let Some((&next, rest)) = data.split_first() else { return Ok(()) };
            self.partial.push(next);
            data = rest;
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(e) if e.error_len().is_some() => return Err(BAD),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(data) {
            Ok(_) => Ok(()),
            Err(e) if e.error_len().is_some() => Err(BAD),
            Err(e) => {
                self.partial.extend_from_slice(&data[e.valid_up_to()..]);
                Ok(())
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}
